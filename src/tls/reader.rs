//! A cursor over the bytes of one message that remembers where it is, so that ranges into the message can be kept.

use std::ops::Range;

use smallvec::{Array, SmallVec};

/// Reads forward through a part of a message; every step says `None` rather than read beyond the part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    /// What is not read yet.
    bytes: &'a [u8],
    /// Offset of `bytes` in the whole message.
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads all of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes not read yet.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len()
    }

    /// Nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Offset in the whole message.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// Range of the next `length` bytes in the whole message, which are then read.
    pub(crate) fn range(&mut self, length: usize) -> Option<Range<usize>> {
        let start = self.at;
        self.take(length)?;
        Some(start..self.at)
    }

    /// Range of everything that is left, which is then read.
    pub(crate) fn rest_range(&mut self) -> Range<usize> {
        let start = self.at;
        self.rest();
        start..self.at
    }

    /// The next `length` bytes.
    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        // An offset in a slice: no overflow.
        self.at = self.at.wrapping_add(length);
        Some(taken)
    }

    /// Everything that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        let rest = self.bytes;
        self.at = self.at.wrapping_add(rest.len());
        self.bytes = &[];
        rest
    }

    /// The next `N` bytes as an array.
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        self.at = self.at.wrapping_add(N);
        Some(*taken)
    }

    /// One byte.
    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Two bytes, most significant first.
    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// Three bytes, most significant first.
    pub(crate) fn u24(&mut self) -> Option<usize> {
        self.array::<3>().map(|[a, b, c]| usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c))
    }

    /// Four bytes, most significant first.
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// A reader of the next `length` bytes, which count as read here.
    pub(crate) fn part(&mut self, length: usize) -> Option<Self> {
        let at = self.at;
        Some(Self { bytes: self.take(length)?, at })
    }

    /// Like [`Self::part`], but takes what there is when `length` promises too much.
    pub(crate) fn lax_part(&mut self, length: usize) -> (Self, Fit) {
        let fit = if length > self.left() { Fit::Short } else { Fit::Whole };
        let at = self.at;
        let bytes = self.take(length).unwrap_or_else(|| self.rest());
        (Self { bytes, at }, fit)
    }

    /// A vector with one byte of length.
    pub(crate) fn vector8(&mut self) -> Option<Self> {
        let length = self.u8()?;
        self.part(length.into())
    }

    /// A vector with two bytes of length.
    pub(crate) fn vector16(&mut self) -> Option<Self> {
        let length = self.u16()?;
        self.part(length.into())
    }

    /// A vector with three bytes of length.
    pub(crate) fn vector24(&mut self) -> Option<Self> {
        let length = self.u24()?;
        self.part(length)
    }

    /// All whole two-byte numbers that are left.
    pub(crate) fn numbers<A>(&mut self) -> SmallVec<A>
    where
        A: Array<Item = u16> + AsMut<[u16]> + Default,
    {
        let (pairs, _) = self.rest().as_chunks::<2>();
        if pairs.len() > A::size() {
            return pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect::<Vec<_>>().into();
        }
        let mut numbers = A::default();
        for (place, pair) in numbers.as_mut().iter_mut().zip(pairs) {
            *place = u16::from_be_bytes(*pair);
        }
        SmallVec::from_buf_and_len(numbers, pairs.len())
    }
}

/// Whether a length fitted into what was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// All promised bytes are there.
    Whole,
    /// Fewer bytes are there than promised.
    Short,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_keep_their_place_in_the_message() {
        let mut reader = Reader::new(&[1, 0, 3, 7, 8, 9, 5]);
        assert_eq!(reader.u8(), Some(1));
        let mut part = reader.vector16().unwrap();
        assert_eq!(part.range(2), Some(3..5));
        assert_eq!(part.range(2), None);
        assert_eq!(part.rest(), [9]);
        assert_eq!(reader.rest(), [5]);
        assert!(reader.u8().is_none());
    }

    #[test]
    fn numbers_are_read_into_any_room() {
        for count in 0_u16..10 {
            let bytes: Vec<u8> = (0..count).flat_map(|number| (number + 0x0102).to_be_bytes()).chain([9]).collect();
            let wanted: Vec<u16> = (0..count).map(|number| number + 0x0102).collect();
            assert_eq!(Reader::new(&bytes).numbers::<[u16; 4]>().as_slice(), wanted);
        }
    }

    #[test]
    fn a_lax_part_stops_at_the_end() {
        let mut reader = Reader::new(&[1, 2]);
        let (mut part, fit) = reader.lax_part(9);
        assert_eq!((part.rest(), fit), (&[1, 2][..], Fit::Short));
    }
}
