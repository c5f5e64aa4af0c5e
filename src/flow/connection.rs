//! One connection as its worker keeps it: both directions put in order, and what they carry.

use std::cmp::Reverse;

use crate::config::Limits;
use crate::direction::{Direction, PerDirection};
use crate::flow::history::Lasting;
use crate::flow::table::Beginning;
use crate::flow::tcp::{Oddity, Placed, SegmentMark, TcpHalf, TcpLimits};
use crate::packet::{Checksum, Encapsulation, FlowKey, PendingChecksum, TcpFlags};
use crate::session::Session;
use crate::stats::Stats;
use crate::time::{Moment, Order, Span, Timestamp};
use crate::tls::probe::{Probe, probe};
use crate::tls::{Anomaly, Handshake, HandshakeEnd};

/// A segment on its way to its connection.
#[derive(Clone, Copy, Debug)]
pub struct SegmentIn<'a> {
    /// Which way it goes.
    pub direction: Direction,
    /// Sequence number.
    pub sequence: u32,
    /// Control bits.
    pub flags: TcpFlags,
    /// Identification of the IPv4 header, to tell copies of one packet.
    pub ip_id: Option<u16>,
    /// Bytes of payload that the capture cut off.
    pub snapped: u32,
    /// What is known of the transport checksum.
    pub checksum: PendingChecksum,
    /// In which directions packets were seen so far.
    pub seen: PerDirection<bool>,
    /// Where it was captured.
    pub at: Moment,
    /// The payload, behind `header` bytes of transport header.
    pub bytes: &'a [u8],
    /// Bytes of transport header in `bytes`: all of it where the checksum is open, else it may be missing.
    pub header: u8,
}

impl<'a> SegmentIn<'a> {
    /// The payload.
    pub fn payload(&self) -> &'a [u8] {
        self.bytes.get(usize::from(self.header)..).unwrap_or_default()
    }
}

/// Facts of a connection below TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionFacts {
    /// Tunnels and tags of the first packet.
    pub encapsulation: Encapsulation,
    /// Copies of packets already seen (mirror of both sides).
    pub duplicate_packets: u32,
    /// Packets of the server were seen, if only acknowledgments.
    pub server_seen: bool,
    /// Packets of the client were seen, if only acknowledgments.
    pub client_seen: bool,
    /// Time from SYN to SYN-ACK in nanoseconds, where both were seen.
    pub syn_rtt: Option<i64>,
}

/// How long a packet may be captured behind one that was sent after it.
const OVERTAKEN: Span = Span::millis(200);

/// A connection whose handshake is not over.
#[derive(Debug)]
pub struct Connection {
    key: FlowKey,
    generation: u32,
    halves: PerDirection<TcpHalf>,
    session: Session,
    facts: ConnectionFacts,
    seen: PerDirection<bool>,
    /// The last packet that came here.
    last: Moment,
    closing: bool,
    closed: PerDirection<bool>,
    /// Who sent a reset that its receiver need not have taken, and when: it counts if its sender says nothing more.
    doubtful_reset: Option<Box<(Direction, Moment)>>,
    /// Nothing has come since the handshake before was given up.
    late: bool,
    /// What its owner has counted of [`Connection::memory`].
    pub counted: usize,
}

impl Connection {
    /// A connection that begins; `first` is the first packet that matters.
    pub fn new(beginning: &Beginning, (generation, encapsulation): (u32, Encapsulation), first: &Moment) -> Self {
        let mut halves = PerDirection::<TcpHalf>::default();
        let mut session = Session::default();
        for direction in Direction::BOTH {
            if let Some(initial) = *beginning.initial_sequences.of(direction) {
                halves.of_mut(direction).set_initial_sequence(initial);
                session.set_from_start(direction);
            }
        }
        Self {
            key: beginning.key,
            generation,
            halves,
            session,
            facts: ConnectionFacts { encapsulation, syn_rtt: beginning.syn_rtt, ..ConnectionFacts::default() },
            seen: PerDirection::default(),
            last: *first,
            closing: false,
            closed: PerDirection::default(),
            doubtful_reset: None,
            late: false,
            counted: 0,
        }
    }

    /// What comes of this connection after its handshake was given up at `deadline`, if anything: as if the capture began there.
    /// `None` where nothing has come since the last time.
    pub fn goes_on(&self, deadline: Timestamp) -> Option<Self> {
        let Self { key, generation, facts, last, .. } = self;
        let beginning = Beginning { key: *key, initial_sequences: PerDirection::default(), syn_rtt: facts.syn_rtt };
        let late = Self {
            late: true,
            ..Self::new(&beginning, (*generation, facts.encapsulation), &at_deadline(last, deadline))
        };
        (!self.late).then_some(late)
    }

    /// Whether nothing has come since the handshake before was given up.
    pub fn is_late(&self) -> bool {
        self.late
    }

    /// Both ends.
    pub fn key(&self) -> &FlowKey {
        &self.key
    }

    /// Which connection on its place in the table.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The last packet that came here.
    pub fn last(&self) -> &Moment {
        &self.last
    }

    /// When its handshake is given up if nothing more comes.
    pub fn deadline(&self, limits: &Limits) -> Timestamp {
        let wait = match (self.late, self.closing) {
            (true, _) => limits.late_wait,
            (_, true) => limits.closing_timeout,
            _ => limits.handshake_timeout,
        };
        self.last.order.clock.plus(wait)
    }

    /// Whether both sides have said that they are done, or one has broken off: its deadline is near.
    pub fn is_closing(&self) -> bool {
        self.closing
    }

    /// Facts below TLS, for the observation of a handshake whose client sends in `client`.
    pub fn facts(&self, client: Direction) -> ConnectionFacts {
        ConnectionFacts {
            client_seen: *self.seen.of(client),
            server_seen: *self.seen.of(client.reversed()),
            ..self.facts
        }
    }

    /// Takes a segment; its bytes and those of earlier ones may be `lasting`.
    pub fn on_segment(
        &mut self,
        segment: &SegmentIn<'_>,
        (limits, lasting): (&Limits, Option<&dyn Lasting>),
        stats: &mut Stats,
    ) {
        self.last = segment.at;
        self.late = false;
        self.seen = segment.seen;
        let (direction, payload) = (segment.direction, segment.payload());
        let half = self.halves.of_mut(direction);
        if segment.flags.has(TcpFlags::SYN) && !half.is_settled() {
            half.set_initial_sequence(segment.sequence);
            self.session.set_from_start(direction);
        }
        let mark = SegmentMark {
            sequence: segment.sequence,
            len: payload.len(),
            ip_id: segment.ip_id,
            flags: segment.flags.0,
        };
        // A SYN takes one sequence number; data on it follows.
        let sequence = segment.sequence.wrapping_add(u32::from(segment.flags.has(TcpFlags::SYN)));
        if half.is_copy(&mark, segment.at.timestamp) && !half.contradicts((sequence, payload), lasting) {
            self.facts.duplicate_packets = self.facts.duplicate_packets.saturating_add(1);
            stats.tcp_duplicate += 1;
            return;
        }
        let damaged = segment.checksum.verify(segment.bytes) == Checksum::Bad;
        if damaged {
            // What was known before was counted then.
            stats.decode_bad_checksum += u64::from(matches!(segment.checksum, PendingChecksum::Open(_)));
            self.session.note(Anomaly::BadChecksum);
        }
        let sent = u32::try_from(payload.len()).unwrap_or(u32::MAX).wrapping_add(segment.snapped);
        if segment.flags.has(TcpFlags::FIN) {
            half.note_fin(sequence.wrapping_add(sent));
        }
        if segment.flags.has(TcpFlags::SYN) && !half.is_settled() {
            // The other side spoke on its SYN, so this one comes after the beginning.
            half.set_initial_sequence(segment.sequence);
            self.session.set_from_start(direction);
        }
        let settled = half.is_settled();
        let (placed, mut odd) =
            half.place((sequence, payload), &segment.at, |bytes| matches!(probe(bytes), Probe::Tls | Probe::More));
        if odd != Oddity::default() {
            odd.conflict |= odd.retransmission && half.contradicts((sequence, payload), lasting);
            self.note(odd, stats);
        }
        if !settled && !matches!(placed, Placed::Stored) {
            self.session.note(Anomaly::MidStream);
        }
        if !matches!(placed, Placed::Old) && self.doubtful_reset.as_ref().is_some_and(|reset| reset.0 == direction) {
            self.forgive_reset();
        }
        if payload.is_empty() && !segment.flags.any(TcpFlags::RST | TcpFlags::SYN) {
            self.on_acknowledgment((direction, sequence), &segment.at);
        }
        if let Placed::Now(bytes) = placed {
            self.hand_on((direction, bytes, lasting), (&segment.at, limits), stats);
        }
        self.drain(direction, limits, stats);
        if segment.snapped > 0 {
            self.session.note(Anomaly::Snapped);
            let end = sequence.wrapping_add(sent);
            if let Some(missing) = self.halves.of_mut(direction).skip_to(end, segment.snapped) {
                self.session.on_gap(direction, u64::from(missing), &segment.at);
                self.drain(direction, limits, stats);
            }
        }
        while self.halves.of(direction).has_pending()
            && self.halves.of(direction).gap_is_due(segment.at.order.clock, &tcp_limits(limits))
            && !self.session.is_done()
        {
            stats.tcp_pending_full += u64::from(self.halves.of(direction).is_full(&tcp_limits(limits)));
            self.skip(direction, (&segment.at, limits), stats);
        }
        if segment.flags.has(TcpFlags::RST) {
            let (half, end) = (self.halves.of(direction), sequence.wrapping_add(sent));
            // What its receiver does not take ends nothing (RFC 5961), but the sensor may have missed what came before it. Not
            // so much: what lies far away counts when the handshake's time is over.
            self.closing |= !half.is_far(end);
            if damaged || !half.accepts_reset(end) {
                self.doubtful_reset.get_or_insert_with(|| Box::new((direction, segment.at)));
            } else {
                self.reset((direction, &segment.at), limits, stats);
            }
            return;
        }
        self.close(segment);
    }

    /// The connection is over: everything stored is handed on, over its gaps.
    pub fn finish(&mut self, end: HandshakeEnd, at: &Moment, (limits, stats): (&Limits, &mut Stats)) {
        if let Some(reset) = self.doubtful_reset.take() {
            let (direction, at) = *reset;
            self.reset((direction, &at), limits, stats);
        }
        self.drain_over_gaps(limits, stats);
        if self.session.finish(end, at) {
            stats.flow_not_tls += 1;
        }
    }

    /// The next finished handshake.
    pub fn take(&mut self) -> Option<Box<Handshake>> {
        self.session.take()
    }

    /// Whether nothing more will be looked for.
    pub fn is_done(&self) -> bool {
        self.session.is_done()
    }

    /// At its end: whether it began like TLS and no handshake tells of it.
    pub fn is_unread(&self) -> bool {
        self.session.is_unread()
    }

    /// Whether it is known to carry TLS.
    pub fn is_followed(&self) -> bool {
        self.session.is_followed()
    }

    /// Notes an anomaly.
    pub fn note_anomaly(&mut self, anomaly: Anomaly) {
        self.session.note(anomaly);
    }

    /// Frees what is not needed to read on: the bytes that later copies would be compared with.
    pub fn trim(&mut self) {
        self.halves.low_to_high.forget_history();
        self.halves.high_to_low.forget_history();
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        let reset = self.doubtful_reset.as_ref().map_or(0, |_| size_of::<(Direction, Moment)>());
        let halves = self.halves.low_to_high.memory() + self.halves.high_to_low.memory();
        size_of::<Self>() + self.session.memory() + halves + reset
    }

    /// Whoever has reset a connection acknowledges nothing more.
    fn on_acknowledgment(&mut self, (direction, sequence): (Direction, u32), at: &Moment) {
        let alive = self
            .doubtful_reset
            .as_ref()
            .is_some_and(|reset| reset.0 == direction && at.order.clock.since(reset.1.order.clock) > OVERTAKEN);
        if alive && self.halves.of(direction).is_alive(sequence) {
            self.forgive_reset();
        }
    }

    /// The sender of a doubtful reset goes on: it was not his.
    fn forgive_reset(&mut self) {
        self.doubtful_reset = None;
        self.closing = self.halves.low_to_high.has_fin() && self.halves.high_to_low.has_fin();
        self.session.note(Anomaly::ResetOutOfPlace);
    }

    fn note(&mut self, odd: Oddity, stats: &mut Stats) {
        stats.tcp_retransmission += u64::from(odd.retransmission);
        if odd.conflict {
            stats.tcp_overlap_conflict += 1;
            self.session.note(Anomaly::OverlapConflict);
        }
    }

    fn hand_on(
        &mut self,
        (direction, bytes, lasting): (Direction, &[u8], Option<&dyn Lasting>),
        (at, limits): (&Moment, &Limits),
        stats: &mut Stats,
    ) {
        if self.session.on_bytes(direction, bytes, (at, limits)) {
            stats.flow_not_tls += 1;
        }
        if !self.session.is_done() {
            self.halves.of_mut(direction).remember(bytes, self.session.is_opaque(), lasting);
        }
    }

    #[inline]
    fn drain(&mut self, direction: Direction, limits: &Limits, stats: &mut Stats) {
        while self.halves.of(direction).has_pending()
            && let Some((bytes, at)) = self.halves.of_mut(direction).next_stored()
        {
            self.hand_on((direction, &bytes, None), (&at, limits), stats);
        }
    }

    fn skip(&mut self, direction: Direction, (at, limits): (&Moment, &Limits), stats: &mut Stats) {
        let half = self.halves.of_mut(direction);
        let settled = half.is_settled();
        let Some(missing) = half.skip_gap() else { return };
        if !settled {
            self.session.note(Anomaly::MidStream);
        }
        if missing > 0 {
            stats.tcp_gap += 1;
            self.session.on_gap(direction, missing, at);
        }
        self.drain(direction, limits, stats);
    }

    /// Both directions may hold stored bytes: the one whose bytes were captured first goes first, so that a late hello
    /// still meets its answer in order.
    fn drain_over_gaps(&mut self, limits: &Limits, stats: &mut Stats) {
        loop {
            let next = Direction::BOTH
                .into_iter()
                .filter_map(|direction| Some((self.halves.of(direction).first_stored()?, direction)))
                .max_by_key(|(at, _)| Reverse(at.order));
            let Some((at, direction)) = next else { return };
            self.skip(direction, (&at, limits), stats);
        }
    }

    fn reset(&mut self, (direction, at): (Direction, &Moment), limits: &Limits, stats: &mut Stats) {
        if !self.session.is_done() {
            self.drain_over_gaps(limits, stats);
            self.session.on_close(direction, true, at);
        }
    }

    fn close(&mut self, segment: &SegmentIn<'_>) {
        if !(self.halves.low_to_high.has_fin() || self.halves.high_to_low.has_fin()) {
            return;
        }
        for direction in Direction::BOTH {
            if self.halves.of(direction).is_finished() && !*self.closed.of(direction) {
                *self.closed.of_mut(direction) = true;
                self.session.on_close(direction, false, &segment.at);
            }
        }
        self.closing |= self.halves.low_to_high.has_fin() && self.halves.high_to_low.has_fin();
    }
}

fn tcp_limits(limits: &Limits) -> TcpLimits {
    TcpLimits {
        pending_bytes: limits.pending_bytes,
        pending_segments: limits.pending_segments,
        gap_wait: limits.gap_wait,
    }
}

/// The place of something that happens at a deadline: after everything at that clock time that frames before it gave.
pub fn at_deadline(last: &Moment, deadline: Timestamp) -> Moment {
    Moment { order: Order { clock: deadline, frame: last.order.frame, ordinal: 0 }, ..*last }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Allocators round up to sizes that are an eighth or more apart: one byte beyond takes 128, uncounted.
    #[test]
    fn a_connection_fits_a_size_of_allocations() {
        assert!(size_of::<Connection>() <= 768, "{}", size_of::<Connection>());
    }
}
