//! What is in a capture file whatever its format: its frames, one after the other.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use super::blocks::BLOCK;
use super::file::{CaptureFile, Trouble};
use super::record::Record;

/// Bytes before each frame: time, link type, length on the wire, length.
const HEADER: usize = 20;

/// The frames of a file as bytes, the same for every format and compression: time in nanoseconds (i64), link type, length on
/// the wire, captured length (u32 each, all in network order), then the bytes of the frame. They end where the file does, or
/// where it cannot be read on.
pub struct Packets {
    file: CaptureFile,
    frame: Vec<u8>,
    given: usize,
}

/// Bytes of so many frames, `captured` bytes together, in [`Packets`].
pub(super) fn length_of(frames: u64, captured: u64) -> u64 {
    let header = u64::try_from(HEADER).unwrap_or(0);
    frames.saturating_mul(header).saturating_add(captured)
}

impl Packets {
    /// Those of this file.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn of(path: &Path) -> io::Result<Self> {
        let file = CaptureFile::new(Box::new(File::open(path)?), BLOCK, Arc::default());
        Ok(Self { file, frame: Vec::new(), given: 0 })
    }

    /// Whether what was read so far is that of a classic file without compression, in which there is nothing but frames.
    pub fn is_plain(&self) -> bool {
        self.file.is_plain()
    }

    /// The next frame; `false` at the end.
    fn advance(&mut self) -> bool {
        self.frame.clear();
        self.given = 0;
        loop {
            match self.file.advance() {
                Ok(Some(record)) => {
                    let Record { timestamp, link_type, original_len, length, .. } = record;
                    let words = [u32::from(link_type.0), original_len, u32::try_from(length).unwrap_or(u32::MAX)];
                    self.frame.extend(timestamp.nanos().to_be_bytes());
                    words.iter().for_each(|word| self.frame.extend(word.to_be_bytes()));
                    self.frame.extend_from_slice(self.file.data(&record));
                    return true;
                }
                Ok(None) | Err(Trouble::NotACapture | Trouble::Io(_)) => return false,
                Err(Trouble::Damaged(..)) => {}
            }
        }
    }
}

impl Read for Packets {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given >= self.frame.len() && !self.advance() {
            return Ok(0);
        }
        let mut rest = self.frame.get(self.given..).unwrap_or_default();
        let read = rest.read(buffer)?;
        self.given = self.given.saturating_add(read);
        Ok(read)
    }
}
