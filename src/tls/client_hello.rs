//! ClientHello: a total walk that reads what it can and notes what it cannot (RFC 8446 section 4.1.2).

use super::reader::{Fit, Reader};
use super::{Anomaly, ClientHello, Extension, FewBytes, KeyShare};
use smallvec::{Array, SmallVec};

/// Extensions that are read of one hello. Honest ones have 30; what is kept of each takes six times its least bytes.
const EXTENSIONS: usize = 1024;

/// Entries that are kept of the lists whose entries take much more room here than on the wire.
const LIST: usize = 256;

impl ClientHello {
    /// Reads the body of a ClientHello message (without its 4-byte header); never fails, but notes what contradicts itself.
    pub fn parse(body: &[u8], odd: &mut Vec<Anomaly>) -> Self {
        let mut hello = Self::default();
        hello.fill(body, odd);
        hello
    }

    /// Reads a CLIENT-HELLO of SSL 2 format, from its message type on (RFC 5246 appendix E.2).
    pub fn parse_ssl2(body: &[u8], odd: &mut Vec<Anomaly>) -> Self {
        let mut hello = Self::default();
        hello.fill_ssl2(body, odd);
        hello
    }

    /// Whether `legacy_version` is no version of SSL or TLS.
    pub(super) fn has_unknown_version(&self) -> bool {
        !self.ssl2_format && !matches!(self.legacy_version, 0x0300..=0x0304)
    }

    /// [`Self::parse`] into a hello where it is to stay.
    pub(super) fn fill(&mut self, body: &[u8], odd: &mut Vec<Anomaly>) {
        self.raw = body.into();
        if self.read(Reader::new(body), odd).is_none() {
            odd.push(Anomaly::MalformedClientHello);
        }
    }

    /// [`Self::parse_ssl2`] into a hello where it is to stay.
    pub(super) fn fill_ssl2(&mut self, body: &[u8], odd: &mut Vec<Anomaly>) {
        self.raw = body.into();
        self.ssl2_format = true;
        if self.read_ssl2(Reader::new(body)).is_none() {
            odd.push(Anomaly::MalformedClientHello);
        }
    }

    /// Bytes held, about.
    pub(super) fn memory(&self) -> usize {
        // Numbers take as much as on the wire, a list of byte strings an allocation for each.
        let places = spilled(&self.extensions, size_of::<Extension>())
            + spilled(&self.key_shares, size_of::<KeyShare>())
            + self.psk_identities.capacity() * size_of::<std::ops::Range<usize>>()
            + spilled(&self.alpn, 3 * size_of::<FewBytes>());
        size_of::<Self>() + 2 * self.raw.len() + places
    }

    fn read(&mut self, mut reader: Reader<'_>, odd: &mut Vec<Anomaly>) -> Option<()> {
        self.legacy_version = reader.u16()?;
        self.random = reader.array()?;
        let mut session_id = reader.vector8()?;
        if session_id.left() > 32 {
            odd.push(Anomaly::MalformedClientHello);
        }
        self.session_id = SmallVec::from_slice(session_id.rest());
        let length = reader.u16()?;
        let (mut suites, fit) = reader.lax_part(length.into());
        if !suites.left().is_multiple_of(2) {
            odd.push(Anomaly::OddCipherSuites);
        }
        self.cipher_suites = suites.numbers();
        if fit == Fit::Short {
            return None;
        }
        self.compression_methods = SmallVec::from_slice(reader.vector8()?.rest());
        if reader.is_empty() {
            return Some(());
        }
        let length = reader.u16()?;
        self.has_extensions = true;
        let (block, fit) = reader.lax_part(length.into());
        let whole = walk_extensions(block, odd, |extension, body, odd| {
            if self.extension(extension.kind, body, odd).is_none() {
                odd.push(Anomaly::MalformedExtension);
            }
            self.extensions.push(extension);
        });
        (whole.is_some() && fit == Fit::Whole && reader.is_empty()).then_some(())
    }

    fn extension(&mut self, kind: u16, mut body: Reader<'_>, odd: &mut Vec<Anomaly>) -> Option<()> {
        match kind {
            0 => self.read_server_name(body, odd),
            5 | 17 => self.status_request = true,
            10 => self.groups = numbers16(&mut body)?,
            11 => self.point_formats = SmallVec::from_slice(body.vector8()?.rest()),
            13 => self.signature_algorithms = numbers16(&mut body)?,
            16 => {
                let mut list = body.vector16()?;
                while !list.is_empty() && self.alpn.len() < LIST {
                    let name = list.vector8()?.rest();
                    if name.is_empty() {
                        odd.push(Anomaly::MalformedExtension);
                    }
                    self.alpn.push(SmallVec::from_slice(name));
                }
            }
            18 => self.signed_certificate_timestamp = true,
            27 => self.certificate_compression = numbers8(&mut body)?,
            35 => self.session_ticket = Some(body.rest_range()),
            // Drafts of TLS 1.3 before 23 sent key_share as 40.
            40 if self.key_shares.is_empty() => {
                let _draft = self.read_key_shares(body);
            }
            41 => {
                let mut identities = body.vector16()?;
                while !identities.is_empty() && self.psk_identities.len() < LIST {
                    let length = identities.u16()?;
                    self.psk_identities.push(identities.range(length.into())?);
                    identities.u32()?;
                }
            }
            42 => self.early_data = true,
            43 => self.supported_versions = numbers8(&mut body)?,
            45 => self.psk_modes = SmallVec::from_slice(body.vector8()?.rest()),
            51 => {
                self.key_shares.clear();
                self.read_key_shares(body)?;
            }
            0xfe08..=0xfe0d => self.encrypted_client_hello = true,
            _ => {}
        }
        Some(())
    }

    /// `server_name` (RFC 6066 section 3), read past wrong lengths: hiding the name must not be that easy.
    fn read_server_name(&mut self, mut body: Reader<'_>, odd: &mut Vec<Anomaly>) {
        let Some(length) = body.u16() else {
            odd.push(Anomaly::InvalidServerName);
            return;
        };
        let (mut list, fit) = body.lax_part(length.into());
        if fit == Fit::Short || !body.is_empty() || list.is_empty() {
            odd.push(Anomaly::InvalidServerName);
        }
        let mut names = 0_u32;
        while let Some(kind) = list.u8() {
            let Some(length) = list.u16() else {
                odd.push(Anomaly::InvalidServerName);
                break;
            };
            let (mut name, fit) = list.lax_part(length.into());
            if kind != 0 || fit == Fit::Short || name.is_empty() {
                odd.push(Anomaly::InvalidServerName);
            }
            if kind == 0 {
                names += 1;
                if self.server_name.is_none() {
                    self.server_name = Some(SmallVec::from_slice(name.rest()));
                } else {
                    names = names.max(2);
                }
            }
        }
        if names > 1 {
            odd.push(Anomaly::MultipleServerNames);
        }
    }

    fn read_key_shares(&mut self, mut body: Reader<'_>) -> Option<()> {
        let mut list = body.vector16()?;
        while !list.is_empty() && self.key_shares.len() < LIST {
            let group = list.u16()?;
            let length = list.u16()?;
            self.key_shares.push(KeyShare { group, public: list.range(length.into())? });
        }
        Some(())
    }

    fn read_ssl2(&mut self, mut reader: Reader<'_>) -> Option<()> {
        reader.u8()?;
        self.legacy_version = reader.u16()?;
        let suites = reader.u16()?;
        let session_id = reader.u16()?;
        let challenge = reader.u16()?;
        let (mut suites, fit) = reader.lax_part(suites.into());
        while let Some([first, high, low]) = suites.array() {
            if first == 0 {
                self.cipher_suites.push(u16::from_be_bytes([high, low]));
            }
        }
        if fit == Fit::Short {
            return None;
        }
        self.session_id = SmallVec::from_slice(reader.take(session_id.into())?);
        let challenge = reader.take(challenge.into())?;
        for (place, byte) in self.random.iter_mut().rev().zip(challenge.iter().rev()) {
            *place = *byte;
        }
        Some(())
    }
}

/// What a list holds outside of itself, at `each` bytes for an entry.
fn spilled<A: Array>(list: &SmallVec<A>, each: usize) -> usize {
    if list.spilled() { list.capacity() * each } else { 0 }
}

/// Walks a block of extensions; gives each to `each` with its body. `None` when the block ends inside an extension, whose remains
/// are given all the same.
pub(super) fn walk_extensions<'a>(
    mut block: Reader<'a>,
    odd: &mut Vec<Anomaly>,
    mut each: impl FnMut(Extension, Reader<'a>, &mut Vec<Anomaly>),
) -> Option<()> {
    let mut seen = Seen::default();
    for _ in 0..EXTENSIONS {
        if block.is_empty() {
            return Some(());
        }
        let [k0, k1, l0, l1] = block.array()?;
        let kind = u16::from_be_bytes([k0, k1]);
        let (body, fit) = block.lax_part(u16::from_be_bytes([l0, l1]).into());
        if seen.before(kind) {
            odd.push(Anomaly::DuplicateExtension);
        }
        each(Extension::at(kind, body.position(), body.left()), body, odd);
        if fit == Fit::Short {
            return None;
        }
    }
    block.is_empty().then_some(())
}

/// A list of two-byte numbers with two bytes of length.
pub(super) fn numbers16<A>(body: &mut Reader<'_>) -> Option<SmallVec<A>>
where
    A: Array<Item = u16> + AsMut<[u16]> + Default,
{
    let mut list = body.vector16()?;
    list.left().is_multiple_of(2).then(|| list.numbers())
}

fn numbers8<A>(body: &mut Reader<'_>) -> Option<SmallVec<A>>
where
    A: Array<Item = u16> + AsMut<[u16]> + Default,
{
    let mut list = body.vector8()?;
    list.left().is_multiple_of(2).then(|| list.numbers())
}

/// Which extension numbers were met: the low ones exactly, of the others the first [`Seen::OTHERS`].
struct Seen {
    low: [u64; 2],
    others: [u16; Self::OTHERS],
    count: usize,
}

impl Default for Seen {
    fn default() -> Self {
        Self { low: [0; 2], others: [0; Self::OTHERS], count: 0 }
    }
}

impl Seen {
    /// Bounds the search: no honest hello has more extensions above 127.
    const OTHERS: usize = 32;

    #[inline]
    fn before(&mut self, kind: u16) -> bool {
        if let Some(word) = self.low.get_mut(usize::from(kind >> 6)) {
            let bit = 1_u64 << (kind & 63);
            let before = *word & bit != 0;
            *word |= bit;
            return before;
        }
        let before = self.others.get(..self.count).is_some_and(|others| others.contains(&kind));
        if !before && let Some(place) = self.others.get_mut(self.count) {
            *place = kind;
            self.count += 1;
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_extensions_are_told_of_any_number() {
        let mut seen = Seen::default();
        for kind in [0, 63, 64, 127, 128, 0xfafa, u16::MAX] {
            assert!(!seen.before(kind), "{kind}");
            assert!(seen.before(kind), "{kind}");
        }
        for kind in 0x1000..0x1000 + 29 {
            assert!(!seen.before(kind), "{kind}");
        }
        assert!(seen.before(0x1000));
        assert!(!seen.before(0x2000), "no room is left");
        assert!(!seen.before(0x2000), "no room is left");
        assert!(seen.before(u16::MAX));
    }
}
