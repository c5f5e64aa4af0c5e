//! What was handed on of one direction lately, to compare later copies with.
//!
//! Nearly always no copy comes. So of bytes that can be read again later ([`Lasting`]) only the place is kept: to copy them
//! would be a tenth of all that a capture costs. What is counted of them is what a copy would take, and the list of places is
//! the same with copies, so that the bounds of memory work the same wherever the bytes came from.

use std::fmt::Debug;
use std::ops::Range;

/// Bytes handed on that are kept, per direction.
const BYTES: usize = 8 << 10;

/// The same of bytes that are encrypted and that nobody reads, behind those that came before: what is sent again is nearly
/// always what came last, and an older copy changes nothing that is told of the connection. To keep all of them would be most
/// of what a connection takes.
const OPAQUE: usize = 1 << 10;

/// Sizes of an allocation that holds a copy of all. The first is for what says too little to go on: a byte on each of many
/// connections must not take a thousand times as much.
const STEPS: [usize; 4] = [SHORT, 1 << 10, 5 << 10, MOST];

/// Bytes at which all but the last [`BYTES`] leave.
const MOST: usize = BYTES + BYTES / 2;

/// Shorter pieces are copied: their place takes as much.
const SHORT: usize = 64;

/// Where bytes lie that can be read again later.
pub trait Lasting: Debug {
    /// The place of `bytes`; `None` if they will not last.
    fn place_of(&self, bytes: &[u8]) -> Option<u64>;
    /// Whether other bytes than `bytes` lie at `place`; `false` if they did not last after all.
    fn differs(&self, place: u64, bytes: &[u8]) -> bool;
}

/// The bytes of one direction that were handed on last; and those that came before opaque ones.
#[derive(Debug, Default)]
pub struct History {
    /// The kept ones, then the last, in the order of the stream.
    pieces: Vec<Piece>,
    /// The bytes of pieces that do not last, one after the other.
    copies: Vec<u8>,
    /// Bytes of all pieces.
    length: usize,
    /// Bytes of an allocation that would hold a copy of all.
    room: usize,
    /// Sequence number right after the last byte.
    end: u32,
    /// How many bytes stay there whatever comes, and the sequence number right after them.
    kept: usize,
    kept_end: u32,
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    /// Where it lies, or [`COPIED`], or [`JOINED`].
    place: u64,
    length: usize,
}

/// The place of a piece whose bytes are the next of the copies.
const COPIED: u64 = u64::MAX;

/// The same of short ones, which are one piece together.
const JOINED: u64 = u64::MAX - 1;

impl Piece {
    fn is_copy(self) -> bool {
        self.place >= JOINED
    }

    /// What is left without the first `bytes`.
    fn behind(self, bytes: usize) -> Self {
        let place =
            if self.is_copy() { self.place } else { self.place.saturating_add(u64::try_from(bytes).unwrap_or(0)) };
        Self { place, length: self.length.saturating_sub(bytes) }
    }
}

impl History {
    /// Bytes that it counts as.
    pub fn memory(&self) -> usize {
        self.room + self.pieces.capacity() * size_of::<Piece>()
    }

    /// Frees everything.
    pub fn forget(&mut self) {
        *self = Self { end: self.end, ..Self::default() };
    }

    /// What follows does not come right after what is here.
    pub fn clear(&mut self) {
        self.pieces.clear();
        self.copies.clear();
        (self.length, self.kept) = (0, 0);
    }

    /// Appends bytes that end before the sequence number `end`. `opaque` says that nobody reads what follows them, of which
    /// less is kept.
    pub fn remember(&mut self, (bytes, end): (&[u8], u32), opaque: bool, lasting: Option<&dyn Lasting>) {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        if self.end != end.wrapping_sub(length) {
            self.clear();
        }
        self.end = end;
        if opaque && self.kept > 0 {
            let most = OPAQUE.max(self.room.saturating_sub(self.kept));
            self.append((bytes, lasting), [most, OPAQUE], &[self.kept.saturating_add(OPAQUE)]);
            return;
        }
        if self.kept > 0 {
            // What was opaque is over: what was kept before it does not end where the rest begins.
            self.remove(0, self.kept);
            self.kept = 0;
        }
        let opaque_room = [bytes.len().min(BYTES).saturating_add(self.length).saturating_add(OPAQUE)];
        let steps = if opaque { opaque_room.as_slice() } else { &STEPS };
        self.append((bytes, lasting), [MOST, BYTES], steps);
        if opaque {
            (self.kept, self.kept_end) = (self.length, end);
        }
    }

    /// Whether bytes that begin at `sequence` differ from what is remembered of them.
    pub fn contradicts(&self, (sequence, copy): (u32, &[u8]), lasting: Option<&dyn Lasting>) -> bool {
        let parts = [(0..self.kept, self.kept_end), (self.kept..self.length, self.end)];
        parts.into_iter().any(|(part, end)| {
            // Where the copy begins, counted like the bytes here.
            let begin = signed(part.end).saturating_sub(end.wrapping_sub(sequence).into());
            self.differs((begin, copy), &part, lasting)
        })
    }

    /// Whether `copy`, which begins at `begin`, differs from what it has in common with `part`.
    fn differs(&self, (begin, copy): (i64, &[u8]), part: &Range<usize>, lasting: Option<&dyn Lasting>) -> bool {
        let (mut piece_begin, mut copies) = (0_usize, self.copies.as_slice());
        self.pieces.iter().any(|piece| {
            let piece_end = piece_begin.saturating_add(piece.length);
            let common = part.start.max(piece_begin)..part.end.min(piece_end);
            let here =
                signed(common.start).max(begin)..signed(common.end).min(begin.saturating_add(signed(copy.len())));
            let [skipped, in_copy] = [signed(piece_begin), begin].map(|from| unsigned(here.start.saturating_sub(from)));
            let copy = copy.get(in_copy..).and_then(|copy| copy.get(..unsigned(here.end.saturating_sub(here.start))));
            let bytes = if piece.is_copy() { copies.split_off(..piece.length) } else { None };
            piece_begin = piece_end;
            let Some(copy) = copy.filter(|copy| !copy.is_empty()) else { return false };
            match bytes {
                Some(bytes) => bytes.get(skipped..).and_then(|bytes| bytes.get(..copy.len())) != Some(copy),
                None => lasting.is_some_and(|lasting| lasting.differs(piece.behind(skipped).place, copy)),
            }
        })
    }

    /// Appends behind what is kept. When that comes to more than `most`, the last `least` bytes are left.
    fn append(&mut self, (bytes, lasting): (&[u8], Option<&dyn Lasting>), [most, least]: [usize; 2], steps: &[usize]) {
        let last = bytes.get(bytes.len().saturating_sub(least)..).unwrap_or(bytes);
        let behind = self.length.saturating_sub(self.kept);
        let wanted = behind.saturating_add(last.len());
        if wanted > most || last.len() < bytes.len() {
            let surplus = wanted.saturating_sub(least).min(behind);
            self.remove(self.kept, surplus);
        }
        let wanted = self.length.saturating_add(last.len());
        if wanted > self.room {
            // In few steps, since each copies.
            self.room = steps.iter().copied().find(|step| *step >= wanted).unwrap_or(wanted);
        }
        self.length = wanted;
        let place = match lasting {
            _ if last.len() < SHORT => JOINED,
            Some(lasting) => lasting.place_of(last).unwrap_or(COPIED),
            None => COPIED,
        };
        let piece = Piece { place, length: last.len() };
        match self.pieces.last_mut() {
            Some(before) if place == JOINED && before.place == JOINED => {
                before.length = before.length.saturating_add(last.len());
            }
            _ => self.pieces.push(piece),
        }
        if piece.is_copy() {
            let length = self.copies.len();
            if self.copies.capacity().saturating_sub(length) < last.len() {
                let rest = self.room.saturating_sub(self.length.saturating_sub(last.len()));
                self.copies.reserve_exact(rest.max(last.len()));
            }
            self.copies.extend_from_slice(last);
        }
    }

    /// Takes `bytes` out, behind the first `from`, where a piece begins that is not a copy.
    fn remove(&mut self, from: usize, bytes: usize) {
        let upto = from.saturating_add(bytes);
        let (mut before, mut copied) = (0_usize, 0_usize);
        let Self { pieces, copies, .. } = self;
        pieces.retain_mut(|piece| {
            let [first, last] = [from, upto].map(|at| at.saturating_sub(before).min(piece.length));
            before = before.saturating_add(piece.length);
            let taken = last.saturating_sub(first);
            if piece.is_copy() {
                copies.drain(copied.saturating_add(first)..copied.saturating_add(last));
                piece.length = piece.length.saturating_sub(taken);
                copied = copied.saturating_add(piece.length);
            } else if taken > 0 {
                *piece = piece.behind(last);
            }
            piece.length > 0
        });
        self.length = self.length.saturating_sub(bytes);
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Zero for what is negative.
fn unsigned(bytes: i64) -> usize {
    usize::try_from(bytes).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same with a copy of all bytes, of which none is forgotten.
    #[derive(Default)]
    struct Copied {
        bytes: Vec<u8>,
        end: u32,
        kept: usize,
        kept_end: u32,
    }

    impl Copied {
        fn remember(&mut self, (bytes, end): (&[u8], u32), opaque: bool) {
            if self.end.wrapping_add(u32::try_from(bytes.len()).unwrap()) != end {
                self.bytes.clear();
                self.kept = 0;
            }
            self.end = end;
            if self.kept > 0 && !opaque {
                self.bytes.drain(..self.kept);
                self.kept = 0;
            }
            self.bytes.extend_from_slice(bytes);
            if self.kept == 0 && opaque {
                (self.kept, self.kept_end) = (self.bytes.len(), end);
            }
        }

        /// Which of the bytes that begin at `sequence` differ, counted from the end.
        fn contradicts(&self, sequence: u32, copy: &[u8]) -> impl Iterator<Item = usize> {
            let at = |place: usize| sequence.wrapping_add(u32::try_from(place).unwrap());
            let known = |end: u32, bytes: &[u8], sequence: u32| {
                let behind = usize::try_from(end.wrapping_sub(sequence)).unwrap();
                bytes.len().checked_sub(behind).and_then(|place| bytes.get(place).copied())
            };
            copy.iter()
                .enumerate()
                .filter_map(move |(place, byte)| {
                    let last = known(self.end, &self.bytes[self.kept..], at(place));
                    let kept = known(self.kept_end, &self.bytes[..self.kept], at(place));
                    [last, kept]
                        .into_iter()
                        .flatten()
                        .any(|known| known != *byte)
                        .then(|| usize::try_from(self.end.wrapping_sub(at(place))).unwrap())
                })
                .collect::<Vec<_>>()
                .into_iter()
        }
    }

    /// A file that holds the stream from `first` on.
    #[derive(Debug)]
    struct File<'a>(&'a [u8], u64);

    impl Lasting for File<'_> {
        fn place_of(&self, bytes: &[u8]) -> Option<u64> {
            let place = bytes.as_ptr().addr().checked_sub(self.0.as_ptr().addr())?;
            (place + bytes.len() <= self.0.len()).then(|| self.1 + place as u64)
        }

        fn differs(&self, place: u64, bytes: &[u8]) -> bool {
            let place = usize::try_from(place - self.1).unwrap();
            &self.0[place..place + bytes.len()] != bytes
        }
    }

    fn stream(length: usize) -> Vec<u8> {
        (0..length).map(|place| u8::try_from(place * 7 % 251).unwrap()).collect()
    }

    #[test]
    fn what_is_remembered_is_compared_wherever_copies_begin() {
        let stream = stream(20_000);
        let file = File(&stream, 5);
        for (lasting, opaque_from) in
            [None, Some(&file as &dyn Lasting)].into_iter().flat_map(|l| [0, 1, 2, 6, 99].map(|o| (l, o)))
        {
            let mut history = History::default();
            let (mut end, mut kept) = (0_usize, 0..0);
            for (number, length) in [500_usize, 1_460, 1, 1_460, 9_000, 700, 1_460, 64].into_iter().enumerate() {
                let sequence = |place: usize| u32::MAX.wrapping_add(u32::try_from(place).unwrap());
                let bytes = &stream[end..end + length];
                end += length;
                history.remember((bytes, sequence(end)), number >= opaque_from, lasting);
                if number == opaque_from {
                    kept = end.saturating_sub(BYTES)..end;
                }
                let lately = end.saturating_sub(if number > opaque_from { OPAQUE } else { BYTES })..end;
                assert!(history.memory() <= 3 * BYTES, "{} bytes", history.memory());
                for start in (0..end - 2).step_by(61) {
                    let mut copy = stream[start..].to_vec();
                    assert!(!history.contradicts((sequence(start), &copy), lasting), "{start}");
                    for place in [start, start + 1, start + 700, start + 2_000, end - 1] {
                        if kept.contains(&place) || lately.contains(&place) {
                            copy[place - start] ^= 0x80;
                            assert!(history.contradicts((sequence(start), &copy), lasting), "{place} from {start}");
                            copy[place - start] ^= 0x80;
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn memory_of_opaque_bytes_is_small_and_ends_with_them() {
        let mut history = History::default();
        let mut end = 0;
        let mut take = |history: &mut History, opaque| {
            end += 1_400;
            history.remember((&[7; 1_400], end), opaque, None);
            assert!(history.copies.capacity() <= history.memory());
            history.memory()
        };
        for _ in 0..20 {
            assert!(take(&mut history, true) <= 1_400 + OPAQUE + 4 * size_of::<Piece>());
        }
        // A handshake in clear begins on the same connection.
        assert!(take(&mut history, false) > 0);
        assert!(history.contradicts((20 * 1_400, &[8; 9]), None));
        assert!(!history.contradicts((0, &[8; 9]), None), "what was kept is forgotten");
    }

    #[test]
    fn the_list_of_places_counts() {
        let stream = stream(64 * SHORT);
        let file = File(&stream, 0);
        for lasting in [None, Some(&file as &dyn Lasting)] {
            let mut history = History::default();
            for (number, piece) in (1..).zip(stream.chunks(SHORT)) {
                history.remember((piece, number * u32::try_from(SHORT).unwrap()), false, lasting);
            }
            assert_eq!(history.pieces.len(), 64);
            assert!(history.memory() >= stream.len() + 64 * size_of::<Piece>());
            // One by one they are copied anyway, and need one place.
            let mut history = History::default();
            (1..=1_000).for_each(|end| history.remember((&[7], end), false, lasting));
            assert_eq!(history.pieces.capacity(), 4);
        }
    }

    #[test]
    fn what_was_not_remembered_is_not_compared() {
        let mut history = History::default();
        history.remember((&[1; 3], 4), false, None);
        history.remember((&[1; 3], 10), false, None);
        let conflict = |sequence, bytes: &[u8]| history.contradicts((sequence, bytes), None);
        assert!(!conflict(1, &[9; 6]), "the gap in memory hides what lies before it");
        assert!(!conflict(1, &[9, 9, 9, 9, 9, 9, 1, 1, 1]));
        assert!(conflict(1, &[9, 9, 9, 9, 9, 9, 1, 1, 9]));
        assert!(conflict(8, &[9, 1]));
        assert!(!conflict(10, &[9]));
    }

    #[test]
    fn bytes_that_did_not_last_contradict_nothing() {
        let stream = stream(300);
        let mut history = History::default();
        history.remember((&stream, 300), false, Some(&File(&stream, 0)));
        assert!(history.copies.is_empty());
        assert!(history.contradicts((0, &[9; 300]), Some(&File(&stream, 0))));
        assert!(!history.contradicts((0, &[9; 300]), None));
    }

    prop_compose! {
        fn step()(length in prop_oneof![1_usize..70, 1_usize..3_000, 7_000_usize..14_000], opaque in prop::bool::weighted(0.3),
            lasting in any::<bool>(), lost in prop::bool::weighted(0.05),
            copy in (0_usize..20_000, 1_usize..3_000, 0_usize..3_000)) -> (usize, [bool; 3], (usize, usize, usize)) {
            (length, [opaque, lasting, lost], copy)
        }
    }

    proptest! {
        /// Bytes that last or not, in pieces of any length, are compared like a copy of all; and count the same.
        #[test]
        fn places_say_what_copies_say(steps in prop::collection::vec(step(), 1..12), begin in any::<u32>()) {
            let stream = stream(200_000);
            let file = File(&stream, 1 << 40);
            let (mut history, mut plain, mut copied) = (History::default(), History::default(), Copied::default());
            let sequence = |place: usize| begin.wrapping_add(u32::try_from(place).unwrap());
            let (mut end, mut were_opaque) = (0, false);
            for (length, [opaque, lasting, lost], (back, copy_length, wrong)) in steps {
                end += if lost { 100 } else { 0 };
                let bytes = &stream[end..end + length];
                end += length;
                let place = lasting.then_some(&file as &dyn Lasting);
                history.remember((bytes, sequence(end)), opaque, place);
                plain.remember((bytes, sequence(end)), opaque, None);
                copied.remember((bytes, sequence(end)), opaque);
                prop_assert_eq!(history.memory(), plain.memory());
                prop_assert_eq!(history.pieces.iter().map(|piece| piece.length).sum::<usize>(), history.length);
                prop_assert!(history.copies.capacity() <= history.memory());
                prop_assert!(history.length <= history.memory());
                let from = end.saturating_sub(back);
                let mut copy = stream[from..from + copy_length].to_vec();
                copy[wrong % copy_length] ^= 1;
                let file: Option<&dyn Lasting> = Some(&file);
                let told = history.contradicts((sequence(from), &copy), file);
                prop_assert_eq!(told, plain.contradicts((sequence(from), &copy), None));
                // What it may have forgotten: the copy's wrong byte lies further behind than it must remember.
                let known: Vec<usize> = copied.contradicts(sequence(from), &copy).collect();
                prop_assert!(!told || !known.is_empty());
                were_opaque |= opaque;
                let lately = if were_opaque { OPAQUE } else { BYTES };
                prop_assert!(told || known.iter().all(|behind| *behind > lately), "{:?}", known);
            }
        }
    }
}
