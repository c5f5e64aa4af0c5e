//! Input in large blocks: what is not yet used up moves to the head of the buffer when more is read.

use std::io::{self, Read};

/// Bytes read at once: enough to make the calls cheap, little enough to leave the second-level cache to the flows.
pub(super) const BLOCK: usize = 128 << 10;
/// Bytes read at once to look at the first record of a file.
pub(super) const SMALL_BLOCK: usize = 64 << 10;

/// A reader with a buffer whose unused part is one slice.
///
/// ```text
///   0        start              end        buffer.len()
///   |  used   |  available       |  free    |
/// ```
pub(super) struct Blocks {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Position of `buffer[0]` in the stream.
    base: u64,
    ended: bool,
    failure: Option<io::Error>,
    input: Box<dyn Read + Send>,
    /// Bytes read at once.
    block: usize,
}

impl Blocks {
    /// A reader that reads `block` bytes at once.
    pub(super) fn new(input: Box<dyn Read + Send>, block: usize) -> Self {
        Self { buffer: vec![0; block], start: 0, end: 0, base: 0, ended: false, failure: None, input, block }
    }

    /// The bytes that are read and not used up.
    #[inline(always)]
    pub(super) fn available(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Uses up `length` bytes of what is available.
    #[inline(always)]
    pub(super) fn consume(&mut self, length: usize) {
        self.start = self.start.saturating_add(length).min(self.end);
    }

    /// The `length` bytes that end `behind` bytes before the first that is not used up; valid until the next `fill`.
    #[inline(always)]
    pub(super) fn used(&self, behind: usize, length: usize) -> &[u8] {
        let end = self.start.saturating_sub(behind);
        self.buffer.get(end.saturating_sub(length)..end).unwrap_or_default()
    }

    /// Position of the first available byte in the (decompressed) stream.
    pub(super) fn offset(&self) -> u64 {
        self.base.saturating_add(u64::try_from(self.start).unwrap_or(u64::MAX))
    }

    /// Reads until `need` bytes are available; `false` where the input ends or fails before. The caller bounds `need`.
    #[cold]
    #[inline(never)]
    pub(super) fn fill(&mut self, need: usize) -> bool {
        while self.end - self.start < need {
            if self.ended {
                return false;
            }
            self.make_room(need);
            let free = self.buffer.get_mut(self.end..).unwrap_or_default();
            match self.input.read(free) {
                Ok(0) => self.ended = true,
                Ok(length) => self.end = self.end.saturating_add(length).min(self.buffer.len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.ended = true;
                    self.failure = Some(error);
                }
            }
        }
        true
    }

    /// Uses up `length` bytes, also those not yet read; `false` where the input ends before.
    pub(super) fn skip(&mut self, mut length: u64) -> bool {
        loop {
            let here = self.end - self.start;
            match usize::try_from(length) {
                Ok(rest) if rest <= here => {
                    self.consume(rest);
                    return true;
                }
                _ => {
                    length = length.saturating_sub(u64::try_from(here).unwrap_or(u64::MAX));
                    self.consume(here);
                    if !self.fill(1) {
                        return false;
                    }
                }
            }
        }
    }

    /// Lets go of the input and of the buffer but for the last `keep` bytes that were used up; `input` goes on at
    /// [`Self::offset`] if there is more to read.
    pub(super) fn suspend(&mut self, keep: usize, input: Box<dyn Read + Send>) {
        let from = self.start.saturating_sub(keep);
        let to = if self.ended { self.end } else { self.start };
        let kept = self.buffer.get(from..to).unwrap_or_default().to_vec();
        self.base = self.base.saturating_add(u64::try_from(from).unwrap_or(0));
        self.start -= from;
        self.end = kept.len();
        self.buffer = kept;
        self.input = if self.ended { Box::new(io::empty()) } else { input };
    }

    /// Whether the input ended by an error that was not yet taken.
    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Why the input ended early, once.
    pub(super) fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    fn make_room(&mut self, need: usize) {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.base = self.offset();
            self.end -= self.start;
            self.start = 0;
        }
        let length = need.max(self.block);
        if self.buffer.len() < length {
            self.buffer.resize(length, 0);
        }
    }
}
