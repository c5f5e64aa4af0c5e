//! pcapng: sections, interfaces and packet blocks (draft-ietf-opsawg-pcapng).
//!
//! ```text
//!   type (4)  length (4)  body (length - 12, padded to 4)  length (4)
//! ```

use crate::packet::LinkType;
use crate::time::{NANOS_PER_SECOND, Timestamp};

use super::record::{Damage, MAX_RECORD, Parsed, Record, Word};

/// The type of a Section Header Block, the same in both byte orders.
pub(super) const SECTION: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// Key material that a capture file carries for its own packets (Decryption Secrets Block).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secrets {
    /// Format of `data`: 0x544c_534b is an NSS key log.
    pub kind: u32,
    /// The material, unparsed.
    pub data: Vec<u8>,
}

/// State of a pcapng file: the current section's byte order and all interfaces so far.
#[derive(Debug)]
pub(super) struct Pcapng {
    word: Word,
    interfaces: Vec<Interface>,
    /// Where the current section's interfaces begin in `interfaces`.
    section: usize,
    secrets: Vec<Secrets>,
    secrets_bytes: usize,
}

const INTERFACE_DESCRIPTION: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const NAME_RESOLUTION: u32 = 4;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
const DECRYPTION_SECRETS: u32 = 10;
const SECTION_HEADER: u32 = 0x0a0d_0d0a;

/// Bytes of the longest block with a packet, an interface or a section: a frame, its header and options.
const MAX_BLOCK: u32 = MAX_RECORD + (64 << 10);
/// Bytes of the longest Decryption Secrets Block that is kept, and of all of one file.
const MAX_SECRETS: usize = 16 << 20;
const MAX_SECRETS_BLOCK: u32 = 16 << 20;
/// Bytes of the longest block that is not looked at; Wireshark takes none that is longer.
const MAX_OTHER_BLOCK: u32 = 16 << 20;
/// Bytes of the longest block of secrets or names that is passed over unread: beyond, the length is damaged.
const MAX_SKIPPED: u32 = 256 << 20;
const MAX_INTERFACES: usize = 1 << 16;
/// Bytes of an interface name that are kept.
const MAX_NAME: usize = 256;

impl Pcapng {
    /// A file before its first section.
    pub(super) fn new() -> Self {
        Self { word: Word::Little, interfaces: Vec::new(), section: 0, secrets: Vec::new(), secrets_bytes: 0 }
    }

    /// Names of the interfaces, counted over all sections.
    pub(super) fn name(&self, interface: u32) -> Option<&str> {
        self.interfaces.get(usize::try_from(interface).ok()?)?.name.as_deref()
    }

    /// The names of all interfaces.
    pub(super) fn into_names(self) -> (Vec<Option<String>>, Vec<Secrets>) {
        (self.interfaces.into_iter().map(|interface| interface.name).collect(), self.secrets)
    }

    /// Decryption Secrets Blocks so far.
    pub(super) fn secrets(&self) -> &[Secrets] {
        &self.secrets
    }

    /// The block at the head of `bytes`.
    #[inline]
    pub(super) fn parse(&mut self, bytes: &[u8]) -> Parsed {
        let Some(head) = Head::read(bytes, self.word) else { return Parsed::Need(12) };
        if head.word.is_none() {
            return Parsed::Bad(Damage::ByteOrder);
        }
        let impossible = Parsed::Bad(Damage::BlockLength { length: head.length });
        if head.length < head.minimum() {
            return impossible;
        }
        if head.length > head.maximum() {
            let passed = matches!(head.kind, DECRYPTION_SECRETS | NAME_RESOLUTION) && head.length <= MAX_SKIPPED;
            let too_long = Parsed::Bad(Damage::TooLong { length: head.length });
            return if passed { Parsed::Skip(head.length) } else { too_long };
        }
        let Some(size) = head.size() else { return impossible };
        let Some(block) = bytes.get(..size) else { return Parsed::Need(size) };
        let word = head.word.unwrap_or(self.word);
        if block.last_chunk::<4>().map(|copy| word.u32(copy)) != Some(head.length) {
            return impossible;
        }
        let body = block.get(8..size - 4).unwrap_or_default();
        match head.kind {
            ENHANCED_PACKET => self.enhanced(body, size),
            SIMPLE_PACKET => self.simple(body, size),
            OBSOLETE_PACKET => self.obsolete(body, size),
            SECTION_HEADER => {
                self.word = word;
                self.section = self.interfaces.len();
                Parsed::Other(size)
            }
            INTERFACE_DESCRIPTION => self.describe(body, size),
            DECRYPTION_SECRETS => self.keep_secrets(body, size),
            _ => Parsed::Other(size),
        }
    }

    /// Whether a block of a known type with agreeing lengths stands at the head of `bytes`: where reading can go on
    /// after damage. `Err` asks for more bytes.
    pub(super) fn plausible(&self, bytes: &[u8]) -> Result<bool, usize> {
        let Some(head) = Head::read(bytes, self.word) else { return Err(12) };
        let Some(word) = head.word else { return Ok(false) };
        if !head.is_known() || head.length < head.minimum() || head.length > MAX_BLOCK.min(head.maximum()) {
            return Ok(false);
        }
        let Some(size) = head.size() else { return Ok(false) };
        let Some(block) = bytes.get(..size) else { return Err(size) };
        Ok(block.last_chunk::<4>().map(|copy| word.u32(copy)) == Some(head.length))
    }

    #[inline]
    fn enhanced(&self, body: &[u8], size: usize) -> Parsed {
        let Some((fields, rest)) = body.split_first_chunk::<20>() else {
            return Parsed::Bad(Damage::BlockLength { length: 0 });
        };
        let [interface, high, low, captured, original_len] = self.words(fields);
        let packet = Packet { interface, ticks: Some(high << 32 | low), captured, original_len };
        self.record(packet, rest.len(), size)
    }

    fn obsolete(&self, body: &[u8], size: usize) -> Parsed {
        let Some((fields, rest)) = body.split_first_chunk::<20>() else {
            return Parsed::Bad(Damage::BlockLength { length: 0 });
        };
        let [_, high, low, captured, original_len] = self.words(fields);
        let [a, b, ..] = *fields;
        let interface = u64::from(self.word.u16([a, b]));
        let packet = Packet { interface, ticks: Some(high << 32 | low), captured, original_len };
        self.record(packet, rest.len(), size)
    }

    fn simple(&self, body: &[u8], size: usize) -> Parsed {
        let Some((fields, rest)) = body.split_first_chunk::<4>() else {
            return Parsed::Bad(Damage::BlockLength { length: 0 });
        };
        let original_len = u64::from(self.word.u32(fields));
        let snap_length = match self.interfaces.get(self.section).map(|interface| interface.snap_length) {
            None | Some(0) => u64::MAX,
            Some(length) => u64::from(length),
        };
        // The captured length is not written: it is what the three bounds leave.
        let room = u64::try_from(rest.len()).unwrap_or(u64::MAX);
        let captured = original_len.min(snap_length).min(room);
        self.record(Packet { interface: 0, ticks: None, captured, original_len }, rest.len(), size)
    }

    #[inline]
    fn record(&self, packet: Packet, room: usize, size: usize) -> Parsed {
        let id = usize::try_from(packet.interface).unwrap_or(usize::MAX);
        let place = self.section.saturating_add(id);
        let Some(interface) = self.interfaces.get(place) else {
            let interface = u32::try_from(packet.interface).unwrap_or(u32::MAX);
            return Parsed::Bad(Damage::UnknownInterface { interface });
        };
        let length = usize::try_from(packet.captured).unwrap_or(usize::MAX);
        if length > room || packet.captured > u64::from(MAX_RECORD) {
            return Parsed::Bad(Damage::PacketLength { length: u32::try_from(packet.captured).unwrap_or(u32::MAX) });
        }
        Parsed::Record(Record {
            size,
            behind: room - length + 4,
            length,
            timestamp: packet.ticks.map_or(Timestamp(0), |ticks| interface.clock.timestamp(ticks)),
            time_known: packet.ticks.is_some(),
            link_type: interface.link_type,
            interface: u32::try_from(place).unwrap_or(u32::MAX),
            original_len: u32::try_from(packet.original_len).unwrap_or(u32::MAX),
        })
    }

    #[inline]
    fn words(&self, fields: &[u8; 20]) -> [u64; 5] {
        let [a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3, e0, e1, e2, e3] = *fields;
        [[a0, a1, a2, a3], [b0, b1, b2, b3], [c0, c1, c2, c3], [d0, d1, d2, d3], [e0, e1, e2, e3]]
            .map(|bytes| u64::from(self.word.u32(&bytes)))
    }

    fn describe(&mut self, body: &[u8], size: usize) -> Parsed {
        if self.interfaces.len() >= MAX_INTERFACES {
            return Parsed::Bad(Damage::TooManyInterfaces);
        }
        let Some(([l0, l1, _, _, s0, s1, s2, s3], options)) = body.split_first_chunk::<8>() else {
            return Parsed::Bad(Damage::BlockLength { length: 0 });
        };
        self.interfaces.push(Interface {
            link_type: LinkType(self.word.u16([*l0, *l1])),
            snap_length: self.word.u32(&[*s0, *s1, *s2, *s3]),
            clock: Clock::default(),
            name: None,
        });
        let word = self.word;
        if let Some(interface) = self.interfaces.last_mut() {
            interface.read_options(options, word);
        }
        Parsed::Other(size)
    }

    fn keep_secrets(&mut self, body: &[u8], size: usize) -> Parsed {
        if let Some(([k0, k1, k2, k3, l0, l1, l2, l3], rest)) = body.split_first_chunk::<8>() {
            let kind = self.word.u32(&[*k0, *k1, *k2, *k3]);
            let length = usize::try_from(self.word.u32(&[*l0, *l1, *l2, *l3])).unwrap_or(usize::MAX);
            let data = rest.get(..length.min(rest.len())).unwrap_or_default();
            let total = self.secrets_bytes.saturating_add(data.len()).saturating_add(size_of::<Secrets>());
            if total <= MAX_SECRETS {
                self.secrets_bytes = total;
                self.secrets.push(Secrets { kind, data: data.to_vec() });
            }
        }
        Parsed::Other(size)
    }
}

/// Type and length of a block.
struct Head {
    kind: u32,
    length: u32,
    /// `None`: a section header without a valid byte-order magic.
    word: Option<Word>,
}

impl Head {
    #[inline]
    fn read(bytes: &[u8], word: Word) -> Option<Self> {
        let ([k0, k1, k2, k3, l0, l1, l2, l3, magic @ ..], _) = bytes.split_first_chunk::<12>()?;
        let kind = word.u32(&[*k0, *k1, *k2, *k3]);
        let word = if kind == SECTION_HEADER { byte_order(*magic) } else { Some(word) };
        Some(Self { kind, length: word.map_or(0, |word| word.u32(&[*l0, *l1, *l2, *l3])), word })
    }

    /// Bytes of the whole block: old writers leave the padding out of the length.
    #[inline]
    fn size(&self) -> Option<usize> {
        usize::try_from(self.length).ok()?.checked_next_multiple_of(4)
    }

    fn is_known(&self) -> bool {
        matches!(
            self.kind,
            SECTION_HEADER
                | INTERFACE_DESCRIPTION
                | OBSOLETE_PACKET
                | SIMPLE_PACKET
                | NAME_RESOLUTION
                | INTERFACE_STATISTICS
                | ENHANCED_PACKET
                | DECRYPTION_SECRETS
        )
    }

    #[inline]
    fn minimum(&self) -> u32 {
        match self.kind {
            ENHANCED_PACKET | OBSOLETE_PACKET => 32,
            SIMPLE_PACKET => 16,
            SECTION_HEADER => 28,
            INTERFACE_DESCRIPTION | DECRYPTION_SECRETS => 20,
            _ => 12,
        }
    }

    #[inline]
    fn maximum(&self) -> u32 {
        match self.kind {
            DECRYPTION_SECRETS => MAX_SECRETS_BLOCK,
            NAME_RESOLUTION => MAX_OTHER_BLOCK,
            _ if self.is_known() => MAX_BLOCK,
            _ => MAX_OTHER_BLOCK,
        }
    }
}

fn byte_order(magic: [u8; 4]) -> Option<Word> {
    const MAGIC: u32 = 0x1a2b_3c4d;
    [Word::Little, Word::Big].into_iter().find(|word| word.u32(&magic) == MAGIC)
}

/// The fixed fields of a packet block.
#[derive(Clone, Copy)]
struct Packet {
    interface: u64,
    ticks: Option<u64>,
    captured: u64,
    original_len: u64,
}

#[derive(Debug)]
struct Interface {
    link_type: LinkType,
    snap_length: u32,
    clock: Clock,
    name: Option<String>,
}

impl Interface {
    /// Reads if_name (2), if_tsresol (9) and if_tsoffset (14); a malformed list ends there.
    fn read_options(&mut self, mut options: &[u8], word: Word) {
        while let Some(([k0, k1, l0, l1], rest)) = options.split_first_chunk::<4>() {
            let length = usize::from(word.u16([*l0, *l1]));
            let Some(value) = rest.get(..length) else { return };
            match (word.u16([*k0, *k1]), value) {
                (0, _) => return,
                (2, name) => self.name = interface_name(name),
                (9, [resolution]) => self.clock.resolution = Resolution::new(*resolution),
                (14, offset) => {
                    if let Ok(offset) = <[u8; 8]>::try_from(offset) {
                        self.clock.offset = word.u64(offset).cast_signed();
                    }
                }
                _ => {}
            }
            options = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

fn interface_name(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.get(..bytes.len().min(MAX_NAME)).unwrap_or_default();
    let name = String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned();
    (!name.is_empty()).then_some(name)
}

/// How an interface counts time.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    resolution: Resolution,
    /// Seconds to add (if_tsoffset).
    offset: i64,
}

/// How many nanoseconds one tick is (if_tsresol).
#[derive(Clone, Copy, Debug)]
enum Resolution {
    /// So many nanoseconds.
    Nanoseconds(u64),
    /// One of so many parts of a nanosecond.
    Parts(u128),
    /// 2^-n seconds.
    Binary(u32),
}

impl Default for Resolution {
    fn default() -> Self {
        Self::Nanoseconds(1_000)
    }
}

impl Resolution {
    fn new(option: u8) -> Self {
        let exponent = u32::from(option & 0x7f);
        if option & 0x80 != 0 {
            Self::Binary(exponent)
        } else if exponent <= 9 {
            Self::Nanoseconds(10_u64.pow(9 - exponent))
        } else {
            Self::Parts(10_u128.checked_pow(exponent - 9).unwrap_or(u128::MAX))
        }
    }
}

impl Clock {
    #[inline]
    fn timestamp(self, ticks: u64) -> Timestamp {
        if let (Resolution::Nanoseconds(unit), 0) = (self.resolution, self.offset)
            && let Some(nanos) = ticks.checked_mul(unit)
        {
            return Timestamp(i64::try_from(nanos).unwrap_or(i64::MAX));
        }
        self.wide(ticks)
    }

    /// The same in 128 bits; the largest product is below 2^95.
    #[cold]
    fn wide(self, ticks: u64) -> Timestamp {
        let ticks = u128::from(ticks);
        let nanos = match self.resolution {
            Resolution::Nanoseconds(unit) => ticks * u128::from(unit),
            Resolution::Parts(parts) => ticks / parts,
            Resolution::Binary(exponent) => (ticks * u128::from(NANOS_PER_SECOND.unsigned_abs())) >> exponent,
        };
        let offset = i128::from(self.offset) * i128::from(NANOS_PER_SECOND);
        let nanos = i128::try_from(nanos).unwrap_or(i128::MAX).saturating_add(offset);
        let bounded = nanos.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        Timestamp(i64::try_from(bounded).unwrap_or(i64::MAX))
    }
}
