//! Batches: what the reader hands to a worker for one round.

use std::sync::Arc;

use crate::capture::Pages;
use crate::direction::{Direction, PerDirection};
use crate::flow::history::Lasting;
use crate::flow::{Beginning, FlowRef, SegmentIn};
use crate::packet::{Checksum, Encapsulation, PendingChecksum, TcpFlags};
use crate::prefetch;
use crate::time::{Moment, Order, Timestamp};
use crate::tls::HandshakeEnd;

/// Everything of one round for one worker. The bytes of segments lie in pages of the capture file, or else in one allocation
/// that is used again.
///
/// Entries go from one processor to another, where each line of memory costs as much as reading a packet: so they are small,
/// and what is rare stands elsewhere.
#[derive(Debug, Default)]
pub struct Batch {
    entries: Vec<Entry>,
    beginnings: Vec<(FlowRef, Beginning, Encapsulation, Moment)>,
    ends: Vec<(FlowRef, Order, HandshakeEnd)>,
    /// Files and interfaces of the segments.
    places: Vec<Place>,
    arena: Vec<u8>,
    pages: Option<Arc<Pages>>,
    /// The capture's place at the end of the round; every deadline up to its clock is over.
    pub clock: Order,
    /// On the way back: flows whose packets need not come any more.
    pub decided: Vec<FlowRef>,
}

/// One entry; numbers are places in the lists beside.
#[derive(Debug)]
enum Entry {
    Segment(Segment),
    Begin(u32),
    End(u32),
}

/// A [`SegmentIn`] without what it has in common with its neighbours.
#[derive(Clone, Copy, Debug)]
struct Segment {
    clock: Timestamp,
    timestamp: Timestamp,
    flow: FlowRef,
    sequence: u32,
    snapped: u32,
    /// Frames since that of the first segment with the same place.
    frame: u32,
    /// Where its bytes begin in the pages or the arena, and how many they are.
    start: u32,
    length: u32,
    checksum: PendingChecksum,
    ip_id: Option<u16>,
    place: u16,
    header: u8,
    flags: TcpFlags,
    direction: Direction,
    seen: PerDirection<bool>,
    time_known: bool,
    in_pages: bool,
}

/// What neighbouring segments have in common.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Of the first: number in the run and in its file.
    first: (u64, u64),
    ordinal: u32,
    file: u32,
    interface: u32,
}

/// Who is told what a batch holds, in order.
pub trait Visitor {
    /// A connection begins.
    fn begin(&mut self, flow: FlowRef, beginning: &Beginning, about: (Encapsulation, &Moment));
    /// A TCP segment.
    fn segment(&mut self, flow: FlowRef, segment: &SegmentIn<'_>, lasting: Option<&dyn Lasting>);
    /// A connection is over.
    fn end(&mut self, flow: FlowRef, at: Order, end: HandshakeEnd);
}

impl Batch {
    /// Entries so far.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether bytes of its segments lie in pages.
    pub fn borrows(&self) -> bool {
        self.pages.is_some()
    }

    /// A connection begins.
    pub fn push_beginning(&mut self, (flow, beginning): (FlowRef, &Beginning), (about, at): (Encapsulation, &Moment)) {
        self.entries.push(Entry::Begin(short(self.beginnings.len())));
        self.beginnings.push((flow, *beginning, about, *at));
    }

    /// A connection is over.
    pub fn push_end(&mut self, flow: FlowRef, at: Order, end: HandshakeEnd) {
        self.entries.push(Entry::End(short(self.ends.len())));
        self.ends.push((flow, at, end));
    }

    /// Adds a segment. Its bytes are copied unless they lie in `pages`, which must be the same for all of a round.
    #[inline(always)]
    pub fn push_segment(&mut self, flow: FlowRef, segment: &SegmentIn<'_>, pages: Option<&Arc<Pages>>) {
        let SegmentIn { direction, sequence, flags, ip_id, snapped, checksum, seen, at, bytes, header } = *segment;
        let lent = pages.and_then(|pages| pages.place_of(bytes));
        if self.pages.is_none() {
            // Also where the bytes lie elsewhere: they may be a copy of what lies here.
            self.pages = pages.cloned();
        }
        let start = match lent {
            Some(start) => start,
            None => {
                self.arena.extend_from_slice(bytes);
                self.arena.len() - bytes.len()
            }
        };
        let (place, frame) = self.place(&at);
        if let Some(soon) = self.entries.spare_capacity_mut().get(AHEAD) {
            prefetch::to_write(soon);
        }
        self.entries.push(Entry::Segment(Segment {
            clock: at.order.clock,
            timestamp: at.timestamp,
            flow,
            sequence,
            snapped,
            frame,
            start: short(start),
            length: short(bytes.len()),
            checksum,
            ip_id,
            place,
            header,
            flags,
            direction,
            seen,
            time_known: at.time_known,
            in_pages: lent.is_some(),
        }));
    }

    /// Number of the place that the segment shares with the one before, or else of a new one; and frames since its first.
    fn place(&mut self, at: &Moment) -> (u16, u32) {
        let Moment { order: Order { frame: sequence, ordinal, .. }, frame, file, interface, .. } = *at;
        if let Some(last) = self.places.last() {
            let (first_sequence, first) = last.first;
            let since = sequence.wrapping_sub(first_sequence);
            let same = (last.ordinal, last.file, last.interface) == (ordinal, file, interface);
            if same
                && since == frame.wrapping_sub(first)
                && let Ok(since) = u32::try_from(since)
            {
                return (u16::try_from(self.places.len() - 1).unwrap_or(u16::MAX), since);
            }
        }
        self.places.push(Place { first: (sequence, frame), ordinal, file, interface });
        (u16::try_from(self.places.len() - 1).unwrap_or(u16::MAX), 0)
    }

    /// Whether no further segment fits in.
    pub fn is_full(&self) -> bool {
        self.arena.len() >= ARENA_BYTES || self.places.len() >= PLACES
    }

    /// Tells all entries in order.
    pub fn visit(&self, visitor: &mut impl Visitor) {
        match &self.pages {
            Some(pages) => pages.lend(|window| self.visit_with(window, Some(&Lent { window, pages }), visitor)),
            None => self.visit_with(&[], None, visitor),
        }
    }

    fn visit_with(&self, pages: &[u8], lent: Option<&Lent<'_>>, visitor: &mut impl Visitor) {
        let lasting = lent.map(|lent| -> &dyn Lasting { lent });
        for (number, entry) in self.entries.iter().enumerate() {
            // Another processor wrote these.
            if let Some(soon) = self.entries.get(number + 3 * AHEAD) {
                prefetch::line(soon);
            }
            // The reader looked at little of them, so they are far away.
            if let Some(Entry::Segment(soon)) = self.entries.get(number + AHEAD)
                && soon.in_pages
            {
                prefetch::bytes::<LINES>(pages, long(soon.start));
            }
            match entry {
                Entry::Segment(segment) => {
                    if let Some(whole) = self.segment(segment, pages) {
                        visitor.segment(segment.flow, &whole, lasting);
                    }
                }
                Entry::Begin(number) => {
                    if let Some((flow, beginning, about, at)) = self.beginnings.get(long(*number)) {
                        visitor.begin(*flow, beginning, (*about, at));
                    }
                }
                Entry::End(number) => {
                    if let Some((flow, at, end)) = self.ends.get(long(*number)) {
                        visitor.end(*flow, *at, *end);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn segment<'a>(&'a self, segment: &Segment, pages: &'a [u8]) -> Option<SegmentIn<'a>> {
        let place = self.places.get(usize::from(segment.place))?;
        let (sequence, number) = place.first;
        let since = u64::from(segment.frame);
        let from = if segment.in_pages { pages } else { &self.arena };
        let bytes = long(segment.start)..long(segment.start).saturating_add(long(segment.length));
        let mut whole = SegmentIn {
            direction: segment.direction,
            sequence: segment.sequence,
            flags: segment.flags,
            ip_id: segment.ip_id,
            snapped: segment.snapped,
            checksum: segment.checksum,
            seen: segment.seen,
            at: Moment {
                order: Order { clock: segment.clock, frame: sequence.wrapping_add(since), ordinal: place.ordinal },
                timestamp: segment.timestamp,
                time_known: segment.time_known,
                frame: number.wrapping_add(since),
                file: place.file,
                interface: place.interface,
            },
            bytes: from.get(bytes).unwrap_or_default(),
            header: segment.header,
        };
        if whole.bytes.len() < long(segment.length) {
            // The file was cut meanwhile.
            let lost = segment.length.saturating_sub(u32::from(segment.header));
            whole = SegmentIn {
                snapped: segment.snapped.saturating_add(lost),
                checksum: PendingChecksum::Known(Checksum::Unknown),
                header: 0,
                ..whole
            };
        }
        Some(whole)
    }

    /// Makes it empty; keeps a usual round's allocations.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.beginnings.clear();
        self.ends.clear();
        self.places.clear();
        self.pages = None;
        self.arena.clear();
        self.arena.shrink_to(ARENA_BYTES);
    }
}

/// A window of a file, and the file.
#[derive(Debug)]
pub struct Lent<'a> {
    /// The bytes of the window.
    pub window: &'a [u8],
    /// Where they came from.
    pub pages: &'a Pages,
}

impl Lasting for Lent<'_> {
    #[inline]
    fn place_of(&self, bytes: &[u8]) -> Option<u64> {
        let place = bytes.as_ptr().addr().checked_sub(self.window.as_ptr().addr())?;
        let inside = place.checked_add(bytes.len())? <= self.window.len();
        inside.then(|| self.pages.offset().saturating_add(u64::try_from(place).unwrap_or(u64::MAX)))
    }

    fn differs(&self, place: u64, bytes: &[u8]) -> bool {
        let here = place.checked_sub(self.pages.offset()).and_then(|place| usize::try_from(place).ok());
        let here = here.and_then(|place| self.window.get(place..)?.get(..bytes.len()));
        here.map_or_else(|| self.pages.differs(place, bytes), |here| here != bytes)
    }
}

/// How many entries ahead memory is asked for.
const AHEAD: usize = 6;

/// Lines of memory of a segment that are asked for.
const LINES: usize = 10;

/// Bytes of segments at which a round ends, and that an empty batch keeps.
const ARENA_BYTES: usize = 512 << 10;

/// Places at which a round ends.
const PLACES: usize = 1 << 15;

/// A round is far smaller than what would not fit.
fn short(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn long(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flow::FlowId;

    #[derive(Default)]
    struct Told(Vec<String>);

    impl Visitor for Told {
        fn begin(&mut self, flow: FlowRef, beginning: &Beginning, about: (Encapsulation, &Moment)) {
            self.0.push(format!("begin {flow:?} {beginning:?} {about:?}"));
        }

        fn segment(&mut self, flow: FlowRef, segment: &SegmentIn<'_>, _: Option<&dyn Lasting>) {
            self.0.push(format!("segment {flow:?} {segment:?}"));
        }

        fn end(&mut self, flow: FlowRef, at: Order, end: HandshakeEnd) {
            self.0.push(format!("end {flow:?} {at:?} {end:?}"));
        }
    }

    #[test]
    fn an_entry_is_a_line_of_memory() {
        assert!(size_of::<Entry>() <= 64, "{}", size_of::<Entry>());
    }

    prop_compose! {
        fn moment()(clock in 0_i64..9, frame in 0_u64..9, far in prop::option::of(any::<u64>()), number in 0_u64..9,
            ordinal in 0_u32..2, time_known in any::<bool>(), file in 0_u32..3, interface in 0_u32..2) -> Moment {
            Moment {
                order: Order { clock: Timestamp(clock), frame: far.unwrap_or(frame), ordinal },
                timestamp: Timestamp(clock * 7),
                time_known,
                frame: number,
                file,
                interface,
            }
        }
    }

    prop_compose! {
        fn segment()(at in moment(), numbers in any::<(u32, u8, u32, u16)>(), ip_id in any::<Option<u16>>(),
            known in any::<[bool; 4]>(), bytes in 0_usize..80) -> (SegmentIn<'static>, usize) {
            let (sequence, flags, snapped, sum) = numbers;
            let [up, open, low, high] = known;
            let pending = if open { PendingChecksum::Open(sum) } else { PendingChecksum::Known(Checksum::Good) };
            let segment = SegmentIn {
                direction: if up { Direction::LowToHigh } else { Direction::HighToLow },
                sequence,
                flags: TcpFlags(flags),
                ip_id,
                snapped,
                checksum: pending,
                seen: PerDirection { low_to_high: low, high_to_low: high },
                at,
                bytes: &[],
                header: u8::try_from(bytes / 2).unwrap(),
            };
            (segment, bytes)
        }
    }

    proptest! {
        #[test]
        fn what_comes_out_is_what_went_in(segments in prop::collection::vec(segment(), 0..40)) {
            let bytes: Vec<u8> = (0..80).collect();
            let mut batch = Batch::default();
            let flow = |number: usize| FlowRef { id: FlowId(u32::try_from(number).unwrap()), generation: 3 };
            let whole: Vec<_> = segments
                .iter()
                .map(|(segment, length)| SegmentIn { bytes: bytes.get(..*length).unwrap(), ..*segment })
                .collect();
            for (number, segment) in whole.iter().enumerate() {
                batch.push_segment(flow(number), segment, None);
                batch.push_end(flow(number), segment.at.order, HandshakeEnd::Timeout);
            }
            for _ in 0..2 {
                let mut told = Told::default();
                batch.visit(&mut told);
                let mut expected = Told::default();
                for (number, segment) in whole.iter().enumerate() {
                    expected.segment(flow(number), segment, None);
                    expected.end(flow(number), segment.at.order, HandshakeEnd::Timeout);
                }
                prop_assert_eq!(told.0, expected.0);
            }
            prop_assert_eq!(batch.len(), 2 * whole.len());
            batch.clear();
            prop_assert!(batch.is_empty() && !batch.borrows());
            let mut told = Told::default();
            batch.visit(&mut told);
            prop_assert!(told.0.is_empty());
        }
    }

    #[test]
    fn segments_whose_bytes_are_gone_are_gaps() {
        let mut batch = Batch::default();
        let at = Moment::default();
        let segment = SegmentIn {
            direction: Direction::LowToHigh,
            sequence: 1,
            flags: TcpFlags::default(),
            ip_id: None,
            snapped: 2,
            checksum: PendingChecksum::Open(1),
            seen: PerDirection::default(),
            at,
            bytes: &[1; 30],
            header: 20,
        };
        batch.push_segment(FlowRef { id: FlowId(1), generation: 1 }, &segment, None);
        batch.arena.truncate(29);
        let Some(Entry::Segment(first)) = batch.entries.first() else { panic!("no segment") };
        let segment = batch.segment(first, &[]).unwrap();
        assert_eq!((segment.payload(), segment.snapped, segment.header), (&[][..], 12, 0));
        assert_eq!(segment.checksum.verify(segment.bytes), Checksum::Unknown);
    }
}
