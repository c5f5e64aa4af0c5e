//! Classic capture files: a header of 24 bytes, then records (draft-ietf-opsawg-pcap).

use crate::packet::LinkType;
use crate::time::{NANOS_PER_SECOND, Timestamp};

use super::record::{Damage, MAX_RECORD, Parsed, Record, Word};

/// Bytes of the file header.
pub(super) const HEADER: usize = 24;

/// What the file header says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pcap {
    word: Word,
    /// Nanoseconds of one unit of the fraction.
    unit: i64,
    /// Bytes of a record header: 16, or 24 in modified files.
    record_header: usize,
    link_type: LinkType,
}

impl Pcap {
    /// Whether a file that begins so is of this format.
    pub(super) fn recognises(magic: [u8; 4]) -> bool {
        Self::of_magic(magic).is_some()
    }

    /// Reads the file header.
    pub(super) fn new(header: &[u8; HEADER]) -> Option<Self> {
        let (magic, _) = header.split_first_chunk::<4>()?;
        let mut pcap = Self::of_magic(*magic)?;
        let network = pcap.word.u32(header.last_chunk::<4>()?);
        // The upper half holds the length of the frame check sequence and reserved bits.
        pcap.link_type = LinkType(u16::try_from(network & 0xffff).unwrap_or(u16::MAX));
        Some(pcap)
    }

    /// The record at the head of `bytes`.
    #[inline(always)]
    pub(super) fn parse(&self, bytes: &[u8]) -> Parsed {
        let Some((header, _)) = bytes.split_first_chunk::<16>() else {
            return Parsed::Need(self.record_header);
        };
        let [s0, s1, s2, s3, f0, f1, f2, f3, c0, c1, c2, c3, o0, o1, o2, o3] = *header;
        let fields = [[s0, s1, s2, s3], [f0, f1, f2, f3], [c0, c1, c2, c3], [o0, o1, o2, o3]].map(u32::from_le_bytes);
        let [seconds, fraction, captured, original_len] = match self.word {
            Word::Little => fields,
            Word::Big => fields.map(u32::swap_bytes),
        };
        if captured > MAX_RECORD {
            return Parsed::Bad(Damage::TooLong { length: captured });
        }
        let Ok(length) = usize::try_from(captured) else {
            return Parsed::Bad(Damage::TooLong { length: captured });
        };
        let size = self.record_header + length;
        if bytes.len() < size {
            return Parsed::Need(size);
        }
        // 2^32 seconds and 2^32 microseconds fit.
        Parsed::Record(Record {
            size,
            behind: 0,
            length,
            timestamp: Timestamp(i64::from(seconds) * NANOS_PER_SECOND + i64::from(fraction) * self.unit),
            time_known: true,
            link_type: self.link_type,
            interface: 0,
            original_len,
        })
    }

    /// Bytes in front of the data of each record.
    pub(super) fn record_header(&self) -> u64 {
        u64::try_from(self.record_header).unwrap_or(0)
    }

    fn of_magic(magic: [u8; 4]) -> Option<Self> {
        const MICRO: u32 = 0xa1b2_c3d4;
        const NANO: u32 = 0xa1b2_3c4d;
        const MODIFIED: u32 = 0xa1b2_cd34;
        for word in [Word::Little, Word::Big] {
            let (unit, record_header) = match word.u32(&magic) {
                MICRO => (1_000, 16),
                NANO => (1, 16),
                MODIFIED => (1_000, 24),
                _ => continue,
            };
            return Some(Self { word, unit, record_header, link_type: LinkType::NULL });
        }
        None
    }
}
