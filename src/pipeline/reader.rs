//! The reader: frames to the flow table, and what matters to the workers. It alone decodes and keeps the clock.

use std::collections::VecDeque;
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::capture::{Next, Run, Source};
use crate::config::Limits;
use crate::event::Places;
use crate::flow::table::{Action, Look};
use crate::flow::{FlowRef, FlowTable, SegmentIn};
use crate::packet::flow_packet::{Visitor, tags};
use crate::packet::{ChecksumMode, Decoder, Encapsulation, FlowPacket, Frame, PendingChecksum, Transport};
use crate::pipeline::PipelineError;
use crate::pipeline::clock::{Clock, Tick};
use crate::pipeline::dispatch::Dispatch;
use crate::pipeline::worker::PACKET_ORDINAL;
use crate::stats::{Counting, Demand, Stats};
use crate::time::{Moment, Order, Timestamp};
use crate::tls::HandshakeEnd;

/// Frames after which a round ends even if nothing mattered in them: the clock must go on.
const ROUND_FRAMES: u32 = 4_096;

/// The reader of one source.
#[derive(Debug)]
pub struct Reader {
    decoder: Decoder,
    checksums: ChecksumMode,
    /// Usual frames are not decoded: nobody asks for the checksums of all packets, which only the decoder looks at.
    glances: bool,
    table: FlowTable,
    clock: Clock,
    decided: Vec<FlowRef>,
    /// Frames since the last round.
    frames: u32,
    /// The last frame.
    last: u64,
    span: Extent,
    known: (u32, u32),
    /// Counters of the reader; those of the source come on top.
    pub stats: Stats,
    /// Frames whose decoding panicked.
    pub panics: Vec<u64>,
    /// The frame that is being decoded, else 0: tells a panic of the decoder from others.
    decoding: u64,
    /// The last demand for counters that was answered.
    answered: u64,
    /// Frames that wait until it is decided whether the clock jumped.
    waiting: VecDeque<Waiting>,
}

/// A frame that waits, with a copy of its bytes.
#[derive(Debug)]
struct Waiting {
    frame: Frame<'static>,
    data: Box<[u8]>,
}

/// Bytes of frames that may wait; with more it is decided by those that came.
const WAITING_BYTES: usize = 1 << 20;

impl Reader {
    /// A reader with an empty flow table; `seed` spreads flows over slots.
    pub fn new(limits: &Limits, checksums: ChecksumMode, seed: u64) -> Self {
        Self {
            decoder: Decoder::new(limits, checksums),
            checksums,
            glances: !matches!(checksums, ChecksumMode::All | ChecksumMode::Drop),
            table: FlowTable::new(limits, seed),
            clock: Clock::new(limits.time_jump),
            decided: Vec::new(),
            frames: 0,
            last: 0,
            span: Extent::default(),
            known: (u32::MAX, u32::MAX),
            stats: Stats::default(),
            panics: Vec::new(),
            decoding: 0,
            answered: 0,
            waiting: VecDeque::new(),
        }
    }

    /// Time of the first and the latest packet.
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let Extent { first, last } = self.span;
        (first <= last).then_some((first, last))
    }

    /// Reads the source to its end. Returns the clock at the end.
    ///
    /// # Errors
    /// When what takes the events is gone, or the source fails as a whole.
    pub fn run(
        &mut self,
        source: &mut impl Source,
        dispatch: &mut impl Dispatch,
        (places, mut progress): (&Places, impl FnMut(&dyn Source)),
    ) -> Result<Timestamp, PipelineError> {
        // A panic of the decoder costs one frame. Caught out here and not around each frame, it costs the others nothing.
        loop {
            let frames = AssertUnwindSafe(|| self.frames(source, dispatch, (places, &mut progress)));
            match catch_unwind(frames) {
                Ok(read) => break read?,
                Err(panic) if self.decoding == 0 => resume_unwind(panic),
                Err(_) => {
                    self.stats.decode_panic += 1;
                    if self.panics.len() < crate::pipeline::worker::PANICS_KEPT {
                        self.panics.push(self.decoding);
                    }
                    self.decoding = 0;
                }
            }
        }
        self.round(dispatch)?;
        progress(source);
        let clock = self.clock.now();
        self.table.finish(clock, &mut self.stats);
        self.decoder.finish(&mut self.stats);
        self.stats.add(source.stats());
        Ok(clock)
    }

    fn frames(
        &mut self,
        source: &mut impl Source,
        dispatch: &mut impl Dispatch,
        (places, progress): (&Places, &mut impl FnMut(&dyn Source)),
    ) -> Result<(), PipelineError> {
        if self.clock.is_decided() {
            // The decoder panicked with one that had waited.
            self.take_waiting(dispatch);
        }
        loop {
            if !dispatch.lend(source.pages()) {
                self.end_round(source, dispatch, (places, progress))?;
                continue;
            }
            if let Some(mut run) = source.run().filter(|run| run.place() == self.known) {
                self.run_of_frames(&mut run, dispatch);
                let taken = run.taken();
                if taken > 0 {
                    self.last = run.sequence();
                    self.frames = self.frames.saturating_add(u32::try_from(taken).unwrap_or(u32::MAX));
                    if dispatch.is_full() || self.frames >= ROUND_FRAMES {
                        self.end_round(source, dispatch, (places, progress))?;
                    }
                    continue;
                }
            }
            match source.next()? {
                Next::Frame(frame) => {
                    let place = (frame.file, frame.interface);
                    self.frames += 1;
                    self.last = frame.sequence;
                    self.frame(&frame, dispatch);
                    if place != self.known {
                        self.known = place;
                        name_place(source, place, places);
                    }
                    if dispatch.is_full() || self.frames >= ROUND_FRAMES {
                        self.end_round(source, dispatch, (places, progress))?;
                    }
                }
                Next::Idle(now) => {
                    self.clock.idle(now);
                    self.settle(dispatch);
                    self.tell(source, places.demand());
                    self.round(dispatch)?;
                    progress(source);
                }
                Next::End => {
                    self.settle(dispatch);
                    return Ok(());
                }
            }
        }
    }

    /// Takes frames until none is at hand or a round should end. A function of its own, so that all registers are there for
    /// what every packet pays.
    #[inline(never)]
    fn run_of_frames(&mut self, run: &mut Run<'_>, dispatch: &mut impl Dispatch) {
        for frame in run {
            if !self.frame(&frame, dispatch) && dispatch.is_full() {
                return;
            }
        }
    }

    /// Ends a round; that may have taken long.
    fn end_round(
        &mut self,
        source: &mut impl Source,
        dispatch: &mut impl Dispatch,
        (places, progress): (&Places, &mut impl FnMut(&dyn Source)),
    ) -> Result<(), PipelineError> {
        self.tell(source, places.demand());
        self.round(dispatch)?;
        progress(source);
        source.refresh();
        Ok(())
    }

    /// Tells the counters if they are asked for.
    fn tell(&mut self, source: &impl Source, demand: &Demand) {
        let asked = demand.asked();
        if asked > self.answered {
            self.answered = asked;
            let mut stats = self.stats.clone();
            stats.flow_open = stats.flows_left();
            stats.add(source.stats());
            demand.give(asked, Counting::Reader(self.span().unwrap_or_default()), stats);
        }
    }

    fn round(&mut self, dispatch: &mut impl Dispatch) -> Result<(), PipelineError> {
        self.frames = 0;
        let last = self.waiting.front().map_or(self.last, |first| first.frame.sequence.saturating_sub(1));
        let upto = Order { clock: self.clock.now(), frame: last, ordinal: u32::MAX };
        dispatch.round(upto, &mut self.decided)?;
        for flow in self.decided.drain(..) {
            self.table.decided(flow);
        }
        Ok(())
    }

    /// Takes a frame; `true` when it did not matter.
    #[inline(always)]
    fn frame(&mut self, frame: &Frame<'_>, dispatch: &mut impl Dispatch) -> bool {
        if self.glances && self.clock.advance(frame.timestamp, frame.time_known) {
            self.decoding = frame.sequence;
            let passing = Passing { reader: self, frame, dispatch };
            if let Some(passed) = FlowPacket::glance_for(frame, passing) {
                return passed;
            }
        }
        let frame = black_box(*frame);
        self.unusual_frame(&frame, dispatch);
        false
    }

    /// A frame that may begin or end something.
    #[inline(never)]
    fn frame_that_matters(&mut self, frame: &Frame<'_>, look: Look, dispatch: &mut impl Dispatch) {
        let Some(packet) = FlowPacket::glance(frame) else { return };
        let moment = self.moment(frame, true);
        let action = self.table.observe_again(look, (&packet, self.clock.now()), &mut self.stats);
        let Self { table, stats, checksums, .. } = self;
        let mut follow = Follow { table, stats, checksums: *checksums };
        follow.packet((&packet, action), (&moment, || tags(frame)), dispatch);
    }

    /// A frame of which only decoding can tell, or whose time is doubtful.
    #[inline(never)]
    fn unusual_frame(&mut self, frame: &Frame<'_>, dispatch: &mut impl Dispatch) {
        match self.clock.tick(frame.timestamp, frame.time_known) {
            Tick::Known => self.decode(frame, true, dispatch),
            Tick::Unknown => self.decode(frame, false, dispatch),
            Tick::Doubt => {
                self.waiting.push_back(Waiting::new(frame));
                if self.waiting.iter().map(|waiting| waiting.data.len()).sum::<usize>() > WAITING_BYTES {
                    self.clock.settle();
                }
                if self.clock.is_decided() {
                    self.take_waiting(dispatch);
                }
            }
        }
    }

    /// No frame comes that could tell whether the clock jumped.
    fn settle(&mut self, dispatch: &mut impl Dispatch) {
        self.clock.settle();
        self.take_waiting(dispatch);
    }

    /// Takes the frames that waited.
    fn take_waiting(&mut self, dispatch: &mut impl Dispatch) {
        while let Some(Waiting { frame, data }) = self.waiting.pop_front() {
            let tick = self.clock.recall(frame.timestamp, frame.time_known, &mut self.stats);
            self.decode(&Frame { data: &data, ..frame }, tick == Tick::Known, dispatch);
        }
        self.clock.go_on();
    }

    fn decode(&mut self, frame: &Frame<'_>, time_known: bool, dispatch: &mut impl Dispatch) {
        if time_known {
            self.span.add(frame.timestamp);
        }
        let moment = self.moment(frame, time_known);
        let Self { decoder, table, stats, checksums, decoding, .. } = self;
        *decoding = frame.sequence;
        let packet = decoder.decode(frame, stats);
        *decoding = 0;
        let Some(decoded) = packet else { return };
        let packet = FlowPacket::of(&decoded);
        let action = table.observe(&packet, moment.order.clock, stats);
        let mut follow = Follow { table, stats, checksums: *checksums };
        follow.packet((&packet, action), (&moment, || decoded.encapsulation), dispatch);
    }

    fn moment(&self, frame: &Frame<'_>, time_known: bool) -> Moment {
        Moment {
            order: Order { clock: self.clock.now(), frame: frame.sequence, ordinal: PACKET_ORDINAL },
            timestamp: frame.timestamp,
            time_known,
            frame: frame.number,
            file: frame.file,
            interface: frame.interface,
        }
    }
}

impl Waiting {
    fn new(frame: &Frame<'_>) -> Self {
        let Frame { sequence, number, file, interface, timestamp, time_known, link_type, original_len, data } = *frame;
        let frame =
            Frame { sequence, number, file, interface, timestamp, time_known, link_type, original_len, data: &[] };
        Self { frame, data: data.into() }
    }
}

/// Looks at a frame of which a glance told the packet; says whether it did not matter.
struct Passing<'a, 'f, D> {
    reader: &'a mut Reader,
    frame: &'a Frame<'f>,
    dispatch: &'a mut D,
}

impl<'p, D: Dispatch> Visitor<'p> for Passing<'_, '_, D> {
    type Answer = bool;

    #[inline(always)]
    fn visit(self, packet: FlowPacket<'p>) -> bool {
        let Self { reader, frame, dispatch } = self;
        reader.decoding = 0;
        reader.span.add(frame.timestamp);
        match packet.key.transport() {
            Transport::Tcp => reader.stats.decode_tcp += 1,
            Transport::Udp => reader.stats.decode_udp += 1,
        }
        let look = reader.table.look(&packet, reader.clock.now());
        if let Look::Passed = look {
            return true;
        }
        // A copy: what is lent must lie in memory, and for frames that pass nothing needs to. So the packet is looked at again.
        let frame = black_box(*frame);
        reader.frame_that_matters(&frame, look, dispatch);
        false
    }
}

/// From the smallest to the largest time.
#[derive(Clone, Copy, Debug)]
struct Extent {
    first: Timestamp,
    last: Timestamp,
}

impl Default for Extent {
    fn default() -> Self {
        Self { first: Timestamp::MAX, last: Timestamp::MIN }
    }
}

impl Extent {
    #[inline(always)]
    fn add(&mut self, time: Timestamp) {
        self.first = self.first.min(time);
        self.last = self.last.max(time);
    }
}

/// The parts of the reader that a packet touches; apart from the decoder, which the packet may borrow from.
struct Follow<'a> {
    table: &'a mut FlowTable,
    stats: &'a mut Stats,
    checksums: ChecksumMode,
}

impl Follow<'_> {
    #[inline]
    fn packet(
        &mut self,
        (packet, action): (&FlowPacket<'_>, Action),
        (moment, encapsulation): (&Moment, impl FnOnce() -> Encapsulation),
        dispatch: &mut impl Dispatch,
    ) {
        let before = Order { ordinal: 0, ..moment.order };
        if let Some(ended) = action.ended {
            let end = if ended.expired { HandshakeEnd::Timeout } else { HandshakeEnd::Superseded };
            dispatch.end(ended.flow, before, end);
        }
        if let Some(evicted) = action.evicted {
            dispatch.end(evicted, before, HandshakeEnd::Evicted);
        }
        let Some(flow) = action.flow else { return };
        if !action.forward {
            return;
        }
        if packet.key.transport() == Transport::Udp {
            // DTLS and QUIC are further variants of `Session`; until then no UDP flow is followed, so its first datagram decides
            // it. Not in its worker, whose answer would come after more datagrams or fewer.
            self.stats.flow_not_tls += 1;
            self.table.decided(flow);
            return;
        }
        if action.begin
            && let Some(beginning) = self.table.beginning(flow)
        {
            dispatch.begin(flow, &beginning, (encapsulation(), moment));
        }
        let off = self.checksums == ChecksumMode::Off;
        let checksum = if off { PendingChecksum::Known(packet.checksum) } else { packet.pending_checksum() };
        // The checksum is left to the worker, which looks at the payload anyway.
        let (bytes, header) = match checksum {
            PendingChecksum::Open(_) => (packet.transport, packet.transport.len().saturating_sub(packet.payload.len())),
            PendingChecksum::Known(_) => (packet.payload, 0),
        };
        let segment = SegmentIn {
            direction: packet.direction,
            sequence: packet.sequence,
            flags: packet.flags,
            ip_id: packet.ip_id,
            snapped: packet.missing,
            checksum,
            seen: action.seen,
            at: *moment,
            bytes,
            // A TCP header has 60 bytes at most.
            header: u8::try_from(header).unwrap_or(0),
        };
        if dispatch.segment(flow, &segment) {
            self.table.decided(flow);
        }
    }
}

fn name_place(source: &dyn Source, (file, interface): (u32, u32), places: &Places) {
    if let Some(path) = source.file_path(file) {
        places.name_file(file, path);
    }
    if let Some(name) = source.interface_name(file, interface) {
        places.name_interface(file, interface, name);
    }
}
