//! A cursor over the bytes of one message that remembers where it is, so that ranges into the message can be kept.

use std::ops::Range;

/// Reads forward through a part of a message; every step says `None` rather than read beyond the part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    /// Reads all of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, end: bytes.len() }
    }

    /// Bytes not read yet.
    pub(crate) fn left(&self) -> usize {
        self.end.saturating_sub(self.at)
    }

    /// Nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.left() == 0
    }

    /// Offset in the whole message.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// Range of the next `length` bytes in the whole message, which are then read.
    pub(crate) fn range(&mut self, length: usize) -> Option<Range<usize>> {
        if length > self.left() {
            return None;
        }
        let start = self.at;
        self.at += length;
        Some(start..self.at)
    }

    /// The next `length` bytes.
    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let range = self.range(length)?;
        self.bytes.get(range)
    }

    /// Everything that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        self.take(self.left()).unwrap_or_default()
    }

    /// The next `N` bytes as an array.
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
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
        let range = self.range(length)?;
        Some(Self { bytes: self.bytes, at: range.start, end: range.end })
    }

    /// Like [`Self::part`], but takes what there is when `length` promises too much.
    pub(crate) fn lax_part(&mut self, length: usize) -> (Self, Fit) {
        let fit = if length > self.left() { Fit::Short } else { Fit::Whole };
        let range = self.range(length.min(self.left())).unwrap_or(self.at..self.at);
        (Self { bytes: self.bytes, at: range.start, end: range.end }, fit)
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
    pub(crate) fn numbers(&mut self) -> Vec<u16> {
        let (pairs, _) = self.rest().as_chunks::<2>();
        pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect()
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
    fn a_lax_part_stops_at_the_end() {
        let mut reader = Reader::new(&[1, 2]);
        let (mut part, fit) = reader.lax_part(9);
        assert_eq!((part.rest(), fit), (&[1, 2][..], Fit::Short));
    }
}
