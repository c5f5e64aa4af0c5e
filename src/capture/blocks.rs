//! Input in large blocks: what is not yet used up moves to the head of the buffer when more is read. Or a window of a file,
//! where that is possible.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::mapped::{Mapped, Pages};

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
    /// Takes the place of `buffer`.
    window: Option<Window>,
    /// A second handle of the input, if it may be mapped.
    mappable: Option<Mappable>,
    start: usize,
    end: usize,
    /// Position of the first byte of the buffer or window in the stream.
    base: u64,
    ended: bool,
    /// Where the input ended before somebody changed it.
    promised: u64,
    failure: Option<io::Error>,
    input: Box<dyn Read + Send>,
    /// Bytes read at once.
    block: usize,
}

/// A handle of the file that [`Blocks`] reads, and where to count what is read of it past the input.
pub(super) struct Mappable {
    pub(super) file: File,
    pub(super) progress: Arc<AtomicU64>,
    /// Bytes at its beginning that are in `progress` already.
    pub(super) counted: u64,
}

struct Window {
    mapped: Mapped,
    progress: Arc<AtomicU64>,
    /// Up to where bytes of the file are in `progress`.
    counted: u64,
}

impl Window {
    fn count_up_to(&mut self, end: u64) {
        self.progress.fetch_add(end.saturating_sub(self.counted), Ordering::Relaxed);
        self.counted = self.counted.max(end);
    }
}

impl Blocks {
    /// A reader that reads `block` bytes at once.
    pub(super) fn new(input: Box<dyn Read + Send>, block: usize) -> Self {
        Self {
            buffer: vec![0; block],
            window: None,
            mappable: None,
            start: 0,
            end: 0,
            base: 0,
            ended: false,
            promised: 0,
            failure: None,
            input,
            block,
        }
    }

    /// The bytes that are read and not used up.
    #[inline(always)]
    pub(super) fn available(&self) -> &[u8] {
        self.bytes().get(self.start..self.end).unwrap_or_default()
    }

    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        match &self.window {
            None => &self.buffer,
            Some(window) => window.mapped.bytes(),
        }
    }

    /// The window in which the available bytes lie, for other threads.
    #[inline]
    pub(super) fn pages(&self) -> Option<&Arc<Pages>> {
        self.window.as_ref().and_then(|window| window.mapped.pages())
    }

    /// The input is this file and nothing else, and will be read to its end without long pauses: it may be mapped.
    pub(super) fn map_rest(&mut self, mappable: Mappable) {
        self.mappable = Some(mappable);
    }

    /// To be called after every pause: a file that somebody waits for is read from now on, not mapped.
    pub(super) fn refresh(&mut self) {
        if self.window.as_ref().is_some_and(|window| !window.mapped.is_held()) {
            self.leave_window();
        }
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
        self.bytes().get(end.saturating_sub(length)..end).unwrap_or_default()
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
            if self.window.is_some() || self.mappable.is_some() {
                self.move_window(need);
                continue;
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
        let kept = self.bytes().get(from..to).unwrap_or_default().to_vec();
        (self.window, self.mappable) = (None, None);
        self.base = self.base.saturating_add(u64::try_from(from).unwrap_or(0));
        self.start -= from;
        self.end = kept.len();
        self.buffer = kept;
        self.input = if self.ended { Box::new(io::empty()) } else { input };
    }

    /// Whether the input ended before what it was said to hold: somebody cut it meanwhile.
    pub(super) fn is_shorter_than_it_was(&self) -> bool {
        self.ended && self.base_of_end() < self.promised
    }

    /// Whether the input ended by an error that was not yet taken.
    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Why the input ended early, once.
    pub(super) fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    /// Maps what comes next, or reads on where that is not possible.
    fn move_window(&mut self, need: usize) {
        let offset = self.offset();
        if let Some(Mappable { file, progress, counted }) = self.mappable.take() {
            let counted = counted.max(self.base_of_end());
            self.window = Mapped::new(file).map(|mapped| Window { mapped, progress, counted });
        }
        let Some(window) = &mut self.window else { return };
        // Twice over, as in `make_room`.
        if window.mapped.move_to(offset, need.saturating_mul(2)) || window.mapped.ends_at(offset) {
            self.buffer = Vec::new();
            (self.base, self.start, self.end) = (offset, 0, window.mapped.bytes().len());
            let end = offset.saturating_add(u64::try_from(self.end).unwrap_or(u64::MAX));
            window.count_up_to(end);
            self.ended = self.end < need && window.mapped.ends_at(end);
        }
        if self.end - self.start < need && !self.ended {
            // Somebody waits for the file, or it cannot be mapped.
            self.leave_window();
        }
    }

    /// Reads on from here, also what the window held already: it must not be touched any more.
    fn leave_window(&mut self) {
        let offset = self.offset();
        let Some(Window { mapped, progress, counted }) = self.window.take() else { return };
        (self.base, self.start, self.end) = (offset, 0, 0);
        // This is read again.
        progress.fetch_sub(counted.saturating_sub(offset), Ordering::Relaxed);
        let length = mapped.length();
        let mut file = mapped.into_file();
        if let Err(error) = file.seek(SeekFrom::Start(offset)) {
            self.ended = true;
            self.failure = Some(error);
        }
        self.promised = length;
        self.input = Box::new(Tap { input: Box::new(file), progress });
    }

    /// Position of the end of what is at hand in the stream.
    fn base_of_end(&self) -> u64 {
        self.base.saturating_add(u64::try_from(self.end).unwrap_or(u64::MAX))
    }

    /// Makes room for `need` bytes from the first that is not used up. More than a block is kept twice over: what asks for much
    /// ahead and uses up little must not move all of it each time.
    fn make_room(&mut self, need: usize) {
        if need > self.block && self.buffer.len().saturating_sub(self.start) >= need {
            return;
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.base = self.offset();
            self.end -= self.start;
            self.start = 0;
        }
        let length = if need > self.block { need.saturating_mul(2) } else { self.block };
        if self.buffer.len() < length {
            self.buffer.resize(length, 0);
        }
    }
}

/// Counts the bytes of the input for the display of progress.
pub(super) struct Tap {
    pub(super) input: Box<dyn Read + Send>,
    pub(super) progress: Arc<AtomicU64>,
}

impl Read for Tap {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        self.progress.fetch_add(u64::try_from(length).unwrap_or(0), Ordering::Relaxed);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file may claim large blocks that are none, one behind the other.
    #[test]
    fn asking_for_much_and_using_little_moves_little() {
        let mut blocks = Blocks::new(Box::new(io::repeat(0).take(8 << 20)), 64 << 10);
        let (mut moves, mut base) = (0, 0);
        for _ in 0..10_000 {
            assert!(blocks.fill(1 << 20));
            blocks.consume(36);
            moves += usize::from(blocks.base != base);
            base = blocks.base;
        }
        assert!(moves <= 1, "{moves}");
        assert_eq!(blocks.offset(), 360_000);
    }
}
