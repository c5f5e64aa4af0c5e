//! The reader: frames to the flow table, and what matters to the workers. It alone decodes and keeps the clock.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::capture::{Next, Source};
use crate::config::Limits;
use crate::event::Places;
use crate::flow::{FlowRef, FlowTable, SegmentIn};
use crate::packet::flow_packet::tags;
use crate::packet::{Checksum, ChecksumMode, Decoder, Encapsulation, FlowPacket, Frame, Transport};
use crate::pipeline::PipelineError;
use crate::pipeline::clock::{Clock, Tick};
use crate::pipeline::dispatch::Dispatch;
use crate::pipeline::worker::PACKET_ORDINAL;
use crate::stats::Stats;
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
    /// Time of the first and the latest packet.
    pub span: Option<(Timestamp, Timestamp)>,
    known: (u32, u32),
    /// Counters of the reader; those of the source come on top.
    pub stats: Stats,
    /// Frames whose decoding panicked.
    pub panics: Vec<u64>,
    /// The frame that is being decoded, else 0: tells a panic of the decoder from others.
    decoding: u64,
}

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
            span: None,
            known: (u32::MAX, u32::MAX),
            stats: Stats::default(),
            panics: Vec::new(),
            decoding: 0,
        }
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
        self.stats.add(source.stats());
        Ok(clock)
    }

    fn frames(
        &mut self,
        source: &mut impl Source,
        dispatch: &mut impl Dispatch,
        (places, progress): (&Places, &mut impl FnMut(&dyn Source)),
    ) -> Result<(), PipelineError> {
        loop {
            match source.next()? {
                Next::Frame(frame) => {
                    let place = (frame.file, frame.interface);
                    self.frame(&frame, dispatch);
                    if place != self.known {
                        self.known = place;
                        name_place(source, place, places);
                    }
                    if dispatch.is_full() || self.frames >= ROUND_FRAMES {
                        self.round(dispatch)?;
                        progress(source);
                    }
                }
                Next::Idle(now) => {
                    self.clock.idle(now);
                    self.round(dispatch)?;
                    progress(source);
                }
                Next::End => return Ok(()),
            }
        }
    }

    fn round(&mut self, dispatch: &mut impl Dispatch) -> Result<(), PipelineError> {
        self.frames = 0;
        let upto = Order { clock: self.clock.now(), frame: self.last, ordinal: u32::MAX };
        dispatch.round(upto, &mut self.decided)?;
        for flow in self.decided.drain(..) {
            self.table.decided(flow);
        }
        Ok(())
    }

    #[inline(always)]
    fn frame(&mut self, frame: &Frame<'_>, dispatch: &mut impl Dispatch) {
        self.frames += 1;
        self.last = frame.sequence;
        let usual = self.clock.advance(frame.timestamp, frame.time_known);
        self.decoding = frame.sequence;
        let glance = if usual && self.glances { FlowPacket::glance(frame) } else { None };
        self.decoding = 0;
        if let Some(packet) = glance
            && self.table.passes(&packet, self.clock.now())
        {
            let (first, last) = self.span.unwrap_or((frame.timestamp, frame.timestamp));
            self.span = Some((first.min(frame.timestamp), last.max(frame.timestamp)));
            match packet.key.transport() {
                Transport::Tcp => self.stats.decode_tcp += 1,
                Transport::Udp => self.stats.decode_udp += 1,
            }
            return;
        }
        self.frame_that_matters((frame, usual), dispatch);
    }

    /// A frame that begins or ends something, or of which only decoding can tell.
    #[inline(never)]
    fn frame_that_matters(&mut self, (frame, usual): (&Frame<'_>, bool), dispatch: &mut impl Dispatch) {
        let ticked = if usual {
            Tick { time_known: true, confirmed: None }
        } else {
            self.clock.tick(frame.timestamp, frame.time_known, &mut self.stats)
        };
        if let Some(jump) = ticked.confirmed {
            for flow in jump {
                self.table.touch(flow, self.clock.now());
                dispatch.touch(flow, self.clock.now());
            }
        }
        if ticked.time_known {
            let (first, last) = self.span.unwrap_or((frame.timestamp, frame.timestamp));
            self.span = Some((first.min(frame.timestamp), last.max(frame.timestamp)));
        }
        let moment = Moment {
            order: Order { clock: self.clock.now(), frame: frame.sequence, ordinal: PACKET_ORDINAL },
            timestamp: frame.timestamp,
            time_known: ticked.time_known,
            frame: frame.number,
            file: frame.file,
            interface: frame.interface,
        };
        let Self { decoder, table, clock, stats, checksums, decoding, .. } = self;
        *decoding = frame.sequence;
        if let Some(packet) = FlowPacket::glance(frame).filter(|_| self.glances) {
            *decoding = 0;
            match packet.key.transport() {
                Transport::Tcp => stats.decode_tcp += 1,
                Transport::Udp => stats.decode_udp += 1,
            }
            let mut follow = Follow { table, clock, stats, checksums: *checksums };
            follow.packet(&packet, (&moment, || tags(frame)), dispatch);
            return;
        }
        let packet = decoder.decode(frame, stats);
        *decoding = 0;
        let Some(packet) = packet else { return };
        let mut follow = Follow { table, clock, stats, checksums: *checksums };
        follow.packet(&FlowPacket::of(&packet), (&moment, || packet.encapsulation), dispatch);
    }
}

/// The parts of the reader that a packet touches; apart from the decoder, which the packet may borrow from.
struct Follow<'a> {
    table: &'a mut FlowTable,
    clock: &'a mut Clock,
    stats: &'a mut Stats,
    checksums: ChecksumMode,
}

impl Follow<'_> {
    #[inline]
    fn packet(
        &mut self,
        packet: &FlowPacket<'_>,
        (moment, encapsulation): (&Moment, impl FnOnce() -> Encapsulation),
        dispatch: &mut impl Dispatch,
    ) {
        let action = self.table.observe(packet, moment.order.clock, self.stats);
        let before = Order { ordinal: 0, ..moment.order };
        if let Some(ended) = action.ended {
            let end = if ended.expired { HandshakeEnd::Timeout } else { HandshakeEnd::Superseded };
            dispatch.end(ended.flow, before, end);
        }
        if let Some(evicted) = action.evicted {
            dispatch.end(evicted, before, HandshakeEnd::Evicted);
        }
        let Some(flow) = action.flow else { return };
        if self.clock.is_suspect() {
            self.clock.remember(flow);
        }
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
        let checksum = if off { packet.checksum } else { packet.verify_checksum() };
        let segment = SegmentIn {
            direction: packet.direction,
            sequence: packet.sequence,
            flags: packet.flags,
            ip_id: packet.ip_id,
            snapped: packet.missing,
            bad_checksum: checksum == Checksum::Bad,
            seen: action.seen,
            at: *moment,
            payload: packet.payload,
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
