//! Frames that lie in memory one after the other.

use crate::packet::Frame;
use crate::prefetch;

use super::pcap::Pcap;
use super::record::Parsed;

/// How far ahead of a frame memory is asked for: three long frames, so that it has come when they are looked at (measured, from
/// 600 to 6,000 bytes). To follow the lengths of records instead was tried and cost more than it gained.
const AHEAD: usize = 4_600;

/// Lines of memory that are asked for there (measured: 2 are too few, more than 6 gain nothing).
const LINES: usize = 6;

/// The frames of a classic capture file that were read and not yet given, lent together: taking one is reading its header.
///
/// Ends in front of what is not plain: a record that is cut, damaged or not read yet. The source goes on behind the last frame
/// that was taken.
#[derive(Debug)]
pub struct Run<'a> {
    pcap: Pcap,
    /// Number of the file in the run of the program.
    file: u32,
    /// Frames before this run: of all files, and of this one.
    before: (u64, u64),
    rest: &'a [u8],
    taken: &'a mut Taken,
}

/// How far a run got.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken {
    /// Bytes of whole records.
    pub(super) bytes: usize,
    pub(super) frames: u64,
}

impl<'a> Run<'a> {
    pub(super) fn new((pcap, rest): (Pcap, &'a [u8]), (file, before): (u32, (u64, u64)), taken: &'a mut Taken) -> Self {
        Self { pcap, file, before, rest, taken }
    }

    /// File and interface of all its frames.
    pub fn place(&self) -> (u32, u32) {
        (self.file, 0)
    }

    /// Frames that were taken.
    pub fn taken(&self) -> u64 {
        self.taken.frames
    }

    /// Number of the last frame in the whole run of the program.
    pub fn sequence(&self) -> u64 {
        let (sequence, _) = self.before;
        sequence.wrapping_add(self.taken.frames)
    }
}

impl<'a> Iterator for Run<'a> {
    type Item = Frame<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Frame<'a>> {
        prefetch::bytes::<LINES>(self.rest, AHEAD);
        let Parsed::Record(record) = self.pcap.parse(self.rest) else { return None };
        let (bytes, rest) = self.rest.split_at_checked(record.size)?;
        let data = bytes.get(record.size.saturating_sub(record.length)..)?;
        self.rest = rest;
        // None of these comes near its bound; without a check they need not be worked out before someone asks.
        self.taken.bytes = self.taken.bytes.wrapping_add(record.size);
        self.taken.frames = self.taken.frames.wrapping_add(1);
        let (_, number) = self.before;
        Some(Frame {
            sequence: self.sequence(),
            number: number.wrapping_add(self.taken.frames),
            file: self.file,
            interface: record.interface,
            timestamp: record.timestamp,
            time_known: record.time_known,
            link_type: record.link_type,
            original_len: record.original_len,
            data,
        })
    }
}
