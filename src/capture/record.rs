//! What both file formats share: the parsed head of a record, its damage, and byte order.

use crate::packet::LinkType;
use crate::time::Timestamp;

/// Bytes of the longest record: 256 KiB, the snap length of common tools. A longer one is damage.
pub(super) const MAX_RECORD: u32 = 256 << 10;

/// What stands at the head of the available bytes.
#[derive(Debug)]
pub(super) enum Parsed {
    /// A frame.
    Record(Record),
    /// Something else that was understood: use up so many bytes, which are all available.
    Other(usize),
    /// Something else that is not looked at: use up so many bytes, also those not yet read.
    Skip(u32),
    /// Not decidable before so many bytes are available.
    Need(usize),
    /// Not a record.
    Bad(Damage),
}

/// A frame inside the available bytes: `| size - behind - length | data: length | behind |`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    /// Bytes of the whole record.
    pub(super) size: usize,
    /// Bytes between the end of the data and the end of the record.
    pub(super) behind: usize,
    /// Bytes of the data.
    pub(super) length: usize,
    pub(super) timestamp: Timestamp,
    pub(super) time_known: bool,
    pub(super) link_type: LinkType,
    pub(super) interface: u32,
    pub(super) original_len: u32,
}

/// What is wrong at a place of a capture file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// The file ends inside a record.
    #[error("the file ends inside a record")]
    Cut,
    /// The file is shorter than it was when it was opened.
    #[error("the file was cut while it was read")]
    Shortened,
    /// A record claims more than 256 KiB, or a block more than any of its kind has.
    #[error("a record claims {length} bytes")]
    TooLong {
        /// The claim, in bytes.
        length: u32,
    },
    /// A block's length is too small for its type, or differs from its second copy.
    #[error("a block has an impossible length ({length})")]
    BlockLength {
        /// The claim, in bytes.
        length: u32,
    },
    /// A section header has an unknown byte-order magic.
    #[error("a section has no valid byte-order magic")]
    ByteOrder,
    /// A packet names an interface that no block describes.
    #[error("a packet names the unknown interface {interface}")]
    UnknownInterface {
        /// The identifier as written.
        interface: u32,
    },
    /// A packet claims more bytes than its block holds.
    #[error("a packet claims {length} bytes, more than its block holds")]
    PacketLength {
        /// The claim, in bytes.
        length: u32,
    },
    /// More interfaces than are remembered (65,536).
    #[error("too many interfaces")]
    TooManyInterfaces,
    /// The compressed stream is cut or corrupt; the offset is that in the decompressed stream.
    #[error("the compressed data is damaged: {reason}")]
    Compression {
        /// What the decoder said.
        reason: String,
    },
}

/// Byte order of a file or section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Little,
    Big,
}

impl Word {
    #[inline]
    pub(super) fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    #[inline]
    pub(super) fn u32(self, bytes: &[u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(*bytes),
            Self::Big => u32::from_be_bytes(*bytes),
        }
    }

    #[inline]
    pub(super) fn u64(self, bytes: [u8; 8]) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(bytes),
            Self::Big => u64::from_be_bytes(bytes),
        }
    }
}
