//! The reader: frames to the flow table, and what matters to the workers. It alone decodes and keeps the clock.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::capture::{Next, Source};
use crate::config::Limits;
use crate::event::Places;
use crate::flow::table::PacketIn;
use crate::flow::{FlowRef, FlowTable, SegmentIn};
use crate::packet::{self, Checksum, ChecksumMode, Decoder, FlowKey, Frame, Packet, TransportPayload};
use crate::pipeline::PipelineError;
use crate::pipeline::clock::Clock;
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
    table: FlowTable,
    clock: Clock,
    decided: Vec<FlowRef>,
    /// Frames since the last round.
    frames: u32,
    /// Place of the last frame.
    last: Order,
    /// Time of the first and the latest packet.
    pub span: Option<(Timestamp, Timestamp)>,
    known: (u32, u32),
    /// Counters of the reader; those of the source come on top.
    pub stats: Stats,
    /// Frames whose decoding panicked.
    pub panics: Vec<u64>,
}

impl Reader {
    /// A reader with an empty flow table; `seed` spreads flows over slots.
    pub fn new(limits: &Limits, checksums: ChecksumMode, seed: u64) -> Self {
        Self {
            decoder: Decoder::new(limits, checksums),
            checksums,
            table: FlowTable::new(limits, seed),
            clock: Clock::new(limits.time_jump),
            decided: Vec::new(),
            frames: 0,
            last: Order::default(),
            span: None,
            known: (u32::MAX, u32::MAX),
            stats: Stats::default(),
            panics: Vec::new(),
        }
    }

    /// Reads the source to its end. Returns the clock at the end.
    ///
    /// # Errors
    /// When what takes the events is gone, or the source fails as a whole.
    pub fn run(
        &mut self,
        source: &mut dyn Source,
        dispatch: &mut impl Dispatch,
        (places, mut progress): (&Places, impl FnMut(&dyn Source)),
    ) -> Result<Timestamp, PipelineError> {
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
                    self.last = Order { clock: self.clock.now(), ordinal: u32::MAX, ..self.last };
                    self.round(dispatch)?;
                    progress(source);
                }
                Next::End => break,
            }
        }
        self.round(dispatch)?;
        progress(source);
        let clock = self.clock.now();
        self.table.finish(clock, &mut self.stats);
        self.stats.add(source.stats());
        Ok(clock)
    }

    fn round(&mut self, dispatch: &mut impl Dispatch) -> Result<(), PipelineError> {
        self.frames = 0;
        dispatch.round(self.last, &mut self.decided)?;
        for flow in self.decided.drain(..) {
            self.table.decided(flow);
        }
        Ok(())
    }

    #[inline]
    fn frame(&mut self, frame: &Frame<'_>, dispatch: &mut impl Dispatch) {
        self.frames += 1;
        let ticked = self.clock.tick(frame.timestamp, frame.time_known, &mut self.stats);
        if let Some(jump) = ticked.confirmed {
            for flow in jump {
                self.table.touch(flow, self.clock.now());
                dispatch.touch(flow, self.clock.now());
            }
        }
        self.last = Order { clock: self.clock.now(), frame: frame.sequence, ordinal: u32::MAX };
        if ticked.time_known {
            let (first, last) = self.span.unwrap_or((frame.timestamp, frame.timestamp));
            self.span = Some((first.min(frame.timestamp), last.max(frame.timestamp)));
        }
        let (decoder, stats) = (&mut self.decoder, &mut self.stats);
        let decoded = catch_unwind(AssertUnwindSafe(move || {
            let (decoder, stats) = (decoder, stats);
            decoder.decode(frame, stats)
        }));
        let packet = match decoded {
            Ok(Some(packet)) => packet,
            Ok(None) => return,
            Err(_) => {
                self.stats.decode_panic += 1;
                if self.panics.len() < crate::pipeline::worker::PANICS_KEPT {
                    self.panics.push(frame.sequence);
                }
                return;
            }
        };
        let moment = Moment {
            order: Order { clock: self.clock.now(), frame: frame.sequence, ordinal: PACKET_ORDINAL },
            timestamp: frame.timestamp,
            time_known: ticked.time_known,
            frame: frame.number,
            file: frame.file,
            interface: frame.interface,
        };
        Follow { table: &mut self.table, clock: &mut self.clock, stats: &mut self.stats, checksums: self.checksums }
            .packet(&packet, &moment, dispatch);
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
    fn packet(&mut self, packet: &Packet<'_>, moment: &Moment, dispatch: &mut impl Dispatch) {
        let (key, direction) = FlowKey::of(packet);
        let clock = moment.order.clock;
        let (sequence, acknowledgment, flags, payload) = match packet.payload {
            TransportPayload::Tcp(segment) => {
                (segment.sequence, segment.acknowledgment, segment.flags, segment.payload)
            }
            TransportPayload::Udp(payload) => (0, 0, packet::TcpFlags::default(), payload),
        };
        let seen = PacketIn { key, direction, clock, sequence, acknowledgment, flags, payload_len: payload.len() };
        let action = self.table.observe(&seen, self.stats);
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
        if action.begin
            && let Some(beginning) = self.table.beginning(flow)
        {
            dispatch.begin(flow, &beginning, (packet.encapsulation, moment));
        }
        let done = match packet.payload {
            TransportPayload::Udp(_) => dispatch.datagram(flow),
            TransportPayload::Tcp(_) => {
                let checked = self.checksums == ChecksumMode::Off || packet.checksum != Checksum::Unknown;
                let checksum = if checked { packet.checksum } else { packet::verify_checksum(packet) };
                let segment = SegmentIn {
                    direction,
                    sequence,
                    flags,
                    ip_id: packet.ip_id,
                    snapped: packet.missing,
                    bad_checksum: checksum == Checksum::Bad,
                    seen: action.seen,
                    at: *moment,
                    payload,
                };
                dispatch.segment(flow, &segment)
            }
        };
        if done {
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
