//! One direction of a TCP connection: segments in any order to bytes in order (RFC 9293 section 3.10.7.4).
//!
//! A segment in order is handed on where it lies; only what comes too early is stored. The first copy of a byte wins; a
//! later copy that differs is told. Nothing here knows what the bytes mean.

use crate::flow::history::{History, Lasting};
use crate::time::{Moment, Span, Timestamp};

/// Bounds of one direction.
#[derive(Clone, Copy, Debug)]
pub struct TcpLimits {
    /// Bytes stored out of order, per direction.
    pub pending_bytes: usize,
    /// Segments stored out of order, per direction.
    pub pending_segments: usize,
    /// How long a gap is waited for.
    pub gap_wait: Span,
}

/// Segments in front of which a direction without a SYN waits for an earlier one.
const UNSETTLED_SEGMENTS: usize = 3;

/// Furthest that a segment may lie ahead of what is expected; beyond, it belongs to another connection.
const WINDOW: u32 = 1 << 26;

/// What an allocation takes beyond its bytes, about: a byte alone must not count as one.
const ALLOCATION: usize = 24;

/// Recent segments that copies of a packet are told by.
const RECENT: usize = 4;

/// Two packets with all fields equal are copies of one (a mirror of both sides of a switch) when they are this close.
const COPY_WINDOW: Span = Span::millis(50);

/// One direction.
#[derive(Debug, Default)]
pub struct TcpHalf {
    /// Sequence number of the next byte to hand on; `None` until the beginning is known.
    next: Option<u32>,
    /// Sequence number right after the last byte, once a FIN was seen.
    end: Option<u32>,
    /// Stored segments by distance from `next` (or by arrival while it is unknown).
    pending: Vec<Stored>,
    pending_bytes: u32,
    /// When bytes were handed on last while segments were stored, else 0.
    moved: Timestamp,
    history: History,
    recent_at: u32,
    recent: [Recent; RECENT],
}

#[derive(Debug)]
struct Stored {
    sequence: u32,
    bytes: Box<[u8]>,
    at: Moment,
}

/// A segment that was seen, packed so that two words tell it from others.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    /// Sequence number and length.
    place: u64,
    /// IP identification and flags.
    kind: u64,
    at: Timestamp,
}

/// What became of a segment.
#[derive(Debug, PartialEq, Eq)]
pub enum Placed<'a> {
    /// These bytes come next: hand them on, [`TcpHalf::remember`] them, then drain [`TcpHalf::next_stored`] the same way.
    Now(&'a [u8]),
    /// Stored until what is missing comes.
    Stored,
    /// Nothing new.
    Old,
}

/// What was odd about a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Oddity {
    /// The very same packet again.
    pub duplicate: bool,
    /// Bytes that had been handed on before: whether they had other values, [`TcpHalf::contradicts`] tells.
    pub retransmission: bool,
    /// Bytes that had been stored before, with other values.
    pub conflict: bool,
}

impl TcpHalf {
    /// Sets the initial sequence number: the first byte follows it.
    pub fn set_initial_sequence(&mut self, initial: u32) {
        if self.next.is_none() {
            self.next = Some(initial.wrapping_add(1));
            self.sort();
        }
    }

    /// Whether the direction's beginning is known.
    pub fn is_settled(&self) -> bool {
        self.next.is_some()
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        let stored = self.pending.capacity() * size_of::<Stored>() + self.pending.len() * ALLOCATION;
        self.pending_bytes() + stored + self.history.memory()
    }

    /// Whether segments are stored.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether a FIN was seen and everything before it was handed on.
    pub fn is_finished(&self) -> bool {
        self.end.is_some() && self.end == self.next
    }

    /// Whether a FIN was seen, maybe ahead of missing bytes.
    pub fn has_fin(&self) -> bool {
        self.end.is_some()
    }

    /// Whether a reset with this sequence number is one that the receiver would take (RFC 5961 section 3.2): it stands right
    /// behind all bytes that were seen, stored ones and a FIN included. Where the beginning is not known, any may be.
    pub fn accepts_reset(&self, sequence: u32) -> bool {
        let Some(next) = self.next else { return true };
        let behind = |stored: &Stored| stored.sequence.wrapping_add(u32::try_from(stored.bytes.len()).unwrap_or(0));
        sequence == next
            || self.end.is_some_and(|end| sequence.wrapping_sub(end) <= 1)
            || self.pending.iter().any(|stored| sequence == behind(stored))
    }

    /// Whether no receiver would take a reset with this sequence number: it lies further ahead or behind than what the sensor
    /// may have missed of a handshake, or what its receiver's window holds.
    pub fn is_far(&self, sequence: u32) -> bool {
        self.next.is_some_and(|next| is_far(sequence, next))
    }

    /// Whether an acknowledgment without data has the sequence number of the next byte, or that of a keep-alive right before it
    /// (RFC 9293 section 3.8.4).
    pub fn is_alive(&self, sequence: u32) -> bool {
        self.next.is_some_and(|next| next.wrapping_sub(sequence) <= 1)
    }

    /// Whether this is the same packet as one just seen (equal sequence number, length, flags and IP identification).
    pub fn is_copy(&mut self, segment: &SegmentMark, at: Timestamp) -> bool {
        let length = u32::try_from(segment.len).unwrap_or(u32::MAX);
        let ip_id = segment.ip_id.map_or(1 << 16, u64::from);
        let mark = Recent {
            place: u64::from(segment.sequence) << 32 | u64::from(length),
            kind: ip_id << 8 | u64::from(segment.flags),
            at,
        };
        let copy = self.recent.iter().any(|seen| {
            seen.place == mark.place
                && seen.kind == mark.kind
                && seen.at != Timestamp::default()
                && mark.at.since(seen.at)
                    <= if segment.ip_id.is_some_and(|id| id != 0) { COPY_WINDOW } else { Span(100_000) }
                && seen.at.since(mark.at) <= COPY_WINDOW
        });
        let slot = usize::try_from(self.recent_at).unwrap_or(0) % RECENT;
        if let Some(slot) = self.recent.get_mut(slot) {
            *slot = mark;
        }
        self.recent_at = self.recent_at.wrapping_add(1);
        copy
    }

    /// Notes a FIN whose sequence number is `sequence` (after the payload of its segment).
    pub fn note_fin(&mut self, sequence: u32) {
        let plausible = self.next.is_none_or(|next| sequence.wrapping_sub(next) < WINDOW);
        if self.end.is_none() && plausible {
            self.end = Some(sequence);
        }
    }

    /// Places a segment. `begins` says whether bytes look like the beginning of something, asked only where no SYN told
    /// the beginning.
    pub fn place<'a>(
        &mut self,
        (sequence, payload): (u32, &'a [u8]),
        at: &Moment,
        begins: impl Fn(&[u8]) -> bool,
    ) -> (Placed<'a>, Oddity) {
        let mut odd = Oddity::default();
        if payload.is_empty() {
            return (Placed::Old, odd);
        }
        let Some(next) = self.next else {
            return (self.place_unsettled((sequence, payload), at, begins), odd);
        };
        let ahead = sequence.wrapping_sub(next);
        if ahead == 0 {
            let fresh = self.trim_at_end(next, payload);
            self.note_progress(at);
            self.move_on(fresh);
            return (if fresh.is_empty() { Placed::Old } else { Placed::Now(fresh) }, odd);
        }
        if ahead < WINDOW {
            odd.conflict = self.conflicts_with_pending(sequence, payload);
            self.store(sequence, payload, at);
            return (Placed::Stored, odd);
        }
        // The segment begins before what is expected. A keep-alive (one old byte) repeats nothing worth comparing.
        let behind = usize::try_from(next.wrapping_sub(sequence)).unwrap_or(usize::MAX);
        if behind > WINDOW as usize {
            return (Placed::Old, odd);
        }
        let fresh = payload.get(behind..).unwrap_or_default();
        let keep_alive = payload.len() <= 1;
        odd.retransmission = !keep_alive;
        let fresh = self.trim_at_end(next, fresh);
        if fresh.is_empty() {
            return (Placed::Old, odd);
        }
        self.note_progress(at);
        self.move_on(fresh);
        (Placed::Now(fresh), odd)
    }

    /// Keeps bytes that were just handed on, to compare later copies with. `opaque` says that nobody reads what follows them,
    /// of which less is kept. Apart from placing, since a segment that ends the observation needs not be remembered.
    pub fn remember(&mut self, bytes: &[u8], opaque: bool, lasting: Option<&dyn Lasting>) {
        if let Some(next) = self.next {
            self.history.remember((bytes, next), opaque, lasting);
        }
    }

    /// Whether a copy differs from what was handed on before and is remembered, or from what is stored.
    pub fn contradicts(&self, (sequence, payload): (u32, &[u8]), lasting: Option<&dyn Lasting>) -> bool {
        self.history.contradicts((sequence, payload), lasting) || self.conflicts_with_pending(sequence, payload)
    }

    /// The next stored bytes that are in order now, with the packet they came in.
    pub fn next_stored(&mut self) -> Option<(Box<[u8]>, Moment)> {
        loop {
            let next = self.next?;
            let first = self.pending.first()?;
            let behind = next.wrapping_sub(first.sequence);
            if behind >= WINDOW && first.sequence != next {
                return None; // still a gap
            }
            let stored = self.pending.remove(0);
            self.pending_bytes = self.pending_bytes.saturating_sub(length(&stored.bytes));
            let behind = usize::try_from(behind).unwrap_or(usize::MAX);
            let Some(fresh) = stored.bytes.get(behind..).filter(|fresh| !fresh.is_empty()) else { continue };
            let fresh = self.trim_at_end(next, fresh);
            if fresh.is_empty() {
                continue;
            }
            self.move_on(fresh);
            let bytes = if behind == 0 && fresh.len() == stored.bytes.len() { stored.bytes } else { fresh.into() };
            return Some((bytes, stored.at));
        }
    }

    /// Whether the gap in front of the stored segments has been waited for long enough. While bytes come in order nothing is
    /// missing yet: whoever puts a segment far ahead of the stream must not make it jump over what is on its way.
    pub fn gap_is_due(&self, clock: Timestamp, limits: &TcpLimits) -> bool {
        if self.next.is_none() {
            return self.pending.len() >= UNSETTLED_SEGMENTS;
        }
        self.is_full(limits)
            || (self.moved == Timestamp::default() || clock.since(self.moved) >= limits.gap_wait)
                && self.pending.iter().any(|stored| clock.since(stored.at.order.clock) >= limits.gap_wait)
    }

    /// Whether more is stored behind a gap than may be.
    pub fn is_full(&self, limits: &TcpLimits) -> bool {
        self.next.is_some()
            && (self.pending.len() >= limits.pending_segments || self.pending_bytes() >= limits.pending_bytes)
    }

    /// Gives up the bytes in front of the first stored segment: returns how many are missing (0 where only the
    /// beginning was unknown). `None` when nothing is stored.
    pub fn skip_gap(&mut self) -> Option<u64> {
        if self.next.is_none() {
            let first = self.pending.iter().map(|stored| stored.sequence).reduce(earlier)?;
            self.next = Some(first);
            self.sort();
            return Some(0);
        }
        let next = self.next?;
        let first = self.pending.first()?;
        let missing = first.sequence.wrapping_sub(next);
        if missing >= WINDOW {
            // Neither ahead nor behind: it belongs to another connection, or to none.
            let alien = self.pending.remove(0);
            self.pending_bytes = self.pending_bytes.saturating_sub(length(&alien.bytes));
            return Some(0);
        }
        self.next = Some(first.sequence);
        self.history.clear();
        Some(u64::from(missing))
    }

    /// The packet that the first stored segment came in.
    pub fn first_stored(&self) -> Option<Moment> {
        self.pending.first().map(|stored| stored.at)
    }

    /// The last `missing` bytes before `end` were sent but not captured: moves on to `end` when everything before them
    /// was handed on, and returns how many are missing.
    pub fn skip_to(&mut self, end: u32, missing: u32) -> Option<u32> {
        let rest = end.wrapping_sub(self.next?);
        if rest == 0 || rest > missing {
            return None;
        }
        self.next = Some(end);
        self.history.clear();
        Some(rest)
    }

    /// Frees everything.
    pub fn clear(&mut self) {
        self.pending = Vec::new();
        self.pending_bytes = 0;
        self.history.forget();
    }

    /// Frees what is only kept to compare later copies with.
    pub fn forget_history(&mut self) {
        self.history.forget();
    }

    fn place_unsettled<'a>(
        &mut self,
        (sequence, payload): (u32, &'a [u8]),
        at: &Moment,
        begins: impl Fn(&[u8]) -> bool,
    ) -> Placed<'a> {
        if self.pending.is_empty() && begins(payload) {
            self.next = Some(sequence);
            let fresh = self.trim_at_end(sequence, payload);
            self.move_on(fresh);
            return Placed::Now(fresh);
        }
        self.store(sequence, payload, at);
        if begins(payload) {
            let first = self.pending.iter().map(|stored| stored.sequence).reduce(earlier);
            if first == Some(sequence) {
                self.next = first;
                self.sort();
            }
        }
        Placed::Stored
    }

    /// What lies beyond a FIN is no data of this connection.
    fn trim_at_end<'a>(&self, from: u32, payload: &'a [u8]) -> &'a [u8] {
        let Some(end) = self.end else { return payload };
        let room = end.wrapping_sub(from);
        if room >= WINDOW {
            return &[];
        }
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        payload.get(..room.min(payload.len())).unwrap_or(&[])
    }

    fn pending_bytes(&self) -> usize {
        usize::try_from(self.pending_bytes).unwrap_or(usize::MAX)
    }

    fn note_progress(&mut self, at: &Moment) {
        if !self.pending.is_empty() {
            self.moved = at.order.clock;
        }
    }

    fn move_on(&mut self, bytes: &[u8]) {
        self.next = self.next.map(|next| next.wrapping_add(length(bytes)));
    }

    fn store(&mut self, sequence: u32, payload: &[u8], at: &Moment) {
        let stored = Stored { sequence, bytes: payload.into(), at: *at };
        // The first copy wins: behind those that begin at the same place.
        let place = match self.next {
            Some(next) => {
                let distance = sequence.wrapping_sub(next);
                self.pending.partition_point(|other| other.sequence.wrapping_sub(next) <= distance)
            }
            None => self.pending.len(),
        };
        let same = place.checked_sub(1).and_then(|before| self.pending.get(before));
        if same.is_some_and(|same| same.sequence == sequence && same.bytes.len() >= payload.len())
            && self.next.is_some()
        {
            return; // a copy must not grow the queue
        }
        self.pending_bytes = self.pending_bytes.saturating_add(length(payload));
        self.pending.insert(place, stored);
    }

    fn sort(&mut self) {
        if let Some(next) = self.next {
            self.pending.sort_by_key(|stored| {
                let distance = stored.sequence.wrapping_sub(next);
                // What begins before `next` is handed on (trimmed) first.
                if distance >= WINDOW { 0 } else { distance }
            });
        }
    }

    fn conflicts_with_pending(&self, sequence: u32, payload: &[u8]) -> bool {
        self.pending.iter().any(|stored| {
            let (first, second) = (stored.sequence.wrapping_sub(sequence), sequence.wrapping_sub(stored.sequence));
            let overlap = |at: u32, of: &[u8], other: &[u8]| {
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                of.get(at..).is_some_and(|tail| tail.iter().zip(other).any(|(one, two)| one != two))
            };
            if first < WINDOW {
                overlap(first, payload, &stored.bytes)
            } else {
                overlap(second, &stored.bytes, payload)
            }
        })
    }
}

/// What tells copies of a packet.
#[derive(Clone, Copy, Debug)]
pub struct SegmentMark {
    /// Sequence number.
    pub sequence: u32,
    /// Payload length in bytes.
    pub len: usize,
    /// Identification of the IPv4 header.
    pub ip_id: Option<u16>,
    /// Control bits.
    pub flags: u8,
}

/// Bytes of a segment, which are at most 65,535.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// Whether two sequence numbers are too far apart to belong to one handshake.
pub(super) fn is_far(one: u32, two: u32) -> bool {
    one.wrapping_sub(two) >= WINDOW && two.wrapping_sub(one) >= WINDOW
}

/// The earlier of two sequence numbers less than half the space apart.
fn earlier(one: u32, two: u32) -> u32 {
    if two.wrapping_sub(one) < 1 << 31 { one } else { two }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: TcpLimits = TcpLimits { pending_bytes: 256 << 10, pending_segments: 64, gap_wait: Span::seconds(5) };

    fn moment(frame: u64) -> Moment {
        Moment { order: crate::time::Order { frame, ..Default::default() }, frame, ..Moment::default() }
    }

    fn feed(half: &mut TcpHalf, segments: &[(u32, Vec<u8>)]) -> (Vec<u8>, bool) {
        let mut out = Vec::new();
        let mut conflict = false;
        for (index, (sequence, payload)) in segments.iter().enumerate() {
            let at = moment(index as u64);
            let (placed, odd) = half.place((*sequence, payload), &at, |_| true);
            conflict |= odd.conflict || odd.retransmission && half.contradicts((*sequence, payload), None);
            if let Placed::Now(bytes) = placed {
                half.remember(bytes, false, None);
                out.extend_from_slice(bytes);
            }
            while let Some((bytes, _)) = half.next_stored() {
                half.remember(&bytes, false, None);
                out.extend_from_slice(&bytes);
            }
        }
        (out, conflict)
    }

    #[test]
    fn sequence_numbers_wrap() {
        let mut half = TcpHalf::default();
        half.set_initial_sequence(u32::MAX - 2);
        let (out, _) = feed(&mut half, &[(1, b"de".to_vec()), (u32::MAX - 1, b"abc".to_vec())]);
        assert_eq!(out, b"abcde");
    }

    #[test]
    fn first_copy_wins_and_the_conflict_is_told() {
        let mut half = TcpHalf::default();
        half.set_initial_sequence(0);
        let (out, conflict) = feed(&mut half, &[(1, b"abc".to_vec()), (2, b"XXd".to_vec()), (5, b"e".to_vec())]);
        assert_eq!((out.as_slice(), conflict), (b"abcde".as_slice(), true));
    }

    #[test]
    fn keep_alive_is_no_conflict() {
        let mut half = TcpHalf::default();
        half.set_initial_sequence(0);
        let (out, conflict) = feed(&mut half, &[(1, b"abc".to_vec()), (3, vec![0]), (4, b"d".to_vec())]);
        assert_eq!((out.as_slice(), conflict), (b"abcd".as_slice(), false));
    }

    #[test]
    fn gap_is_skipped_and_counted() {
        let mut half = TcpHalf::default();
        half.set_initial_sequence(0);
        let (out, _) = feed(&mut half, &[(1, b"ab".to_vec()), (10, b"yz".to_vec())]);
        assert_eq!(out, b"ab");
        assert!(!half.gap_is_due(Timestamp(0), &LIMITS));
        assert!(half.gap_is_due(Timestamp(5_000_000_000), &LIMITS));
        assert_eq!(half.skip_gap(), Some(7));
        assert_eq!(half.next_stored().map(|(bytes, _)| bytes.into_vec()), Some(b"yz".to_vec()));
    }

    #[test]
    fn fin_ends_the_stream_and_bytes_beyond_it_are_dropped() {
        let mut half = TcpHalf::default();
        half.set_initial_sequence(0);
        half.note_fin(4);
        let (out, _) = feed(&mut half, &[(1, b"abcdef".to_vec())]);
        assert_eq!(out, b"abc");
        assert!(half.is_finished());
    }

    #[test]
    fn segments_from_nowhere_end_a_wait() {
        let mut half = TcpHalf::default();
        half.place((1 << 30, b"far"), &moment(1), |_| false);
        half.place((5, b"near"), &moment(2), |_| true);
        for _ in 0..4 {
            while half.next_stored().is_some() {}
            half.skip_gap();
        }
        assert!(!half.has_pending());
    }

    #[test]
    fn copies_do_not_grow_the_queue() {
        let mut half = TcpHalf::default();
        half.set_initial_sequence(0);
        for _ in 0..1_000 {
            half.place((10, b"abc"), &moment(1), |_| true);
        }
        assert_eq!(half.pending.len(), 1);
    }

    #[test]
    fn earlier_segment_may_come_later_without_a_syn() {
        let mut half = TcpHalf::default();
        let begins = |bytes: &[u8]| bytes.starts_with(b"a");
        assert_eq!(half.place((103, b"def"), &moment(1), begins).0, Placed::Stored);
        half.place((100, b"abc"), &moment(2), begins);
        let mut out = Vec::new();
        while let Some((bytes, _)) = half.next_stored() {
            out.extend_from_slice(&bytes);
        }
        assert_eq!(out, b"abcdef");
    }

    proptest! {
        #[test]
        fn any_cut_and_order_gives_the_stream(
            stream in proptest::collection::vec(any::<u8>(), 1..400),
            cuts in proptest::collection::vec((0usize..400, 1usize..80), 1..40),
            initial in any::<u32>(),
            seed in any::<u64>(),
        ) {
            let mut segments: Vec<(u32, Vec<u8>)> = Vec::new();
            let piece = |from: usize, to: usize| {
                (initial.wrapping_add(1).wrapping_add(u32::try_from(from).unwrap()), stream[from..to].to_vec())
            };
            for (from, len) in cuts {
                let from = from % stream.len();
                segments.push(piece(from, (from + len).min(stream.len())));
            }
            for from in (0..stream.len()).step_by(37) {
                segments.push(piece(from, (from + 37).min(stream.len())));
            }
            let mut state = seed | 1;
            for index in (1..segments.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                segments.swap(index, (state >> 33) as usize % (index + 1));
            }
            let mut half = TcpHalf::default();
            half.set_initial_sequence(initial);
            let (out, conflict) = feed(&mut half, &segments);
            prop_assert_eq!(out, stream);
            prop_assert!(!conflict);
            prop_assert!(!half.has_pending());
        }
    }
}
