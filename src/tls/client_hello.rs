//! ClientHello: a total walk that reads what it can and notes what it cannot (RFC 8446 section 4.1.2).

use super::reader::{Fit, Reader};
use super::{Anomaly, ClientHello, Extension, FewNumbers, KeyShare};
use smallvec::SmallVec;

/// Extensions that are read of one hello. Honest ones have 30; what is kept of each takes six times its least bytes.
const EXTENSIONS: usize = 1024;

/// Entries that are kept of the lists whose entries take much more room here than on the wire.
const LIST: usize = 256;

impl ClientHello {
    /// Reads the body of a ClientHello message (without its 4-byte header); never fails, but notes what contradicts itself.
    pub fn parse(body: &[u8], odd: &mut Vec<Anomaly>) -> Self {
        let mut hello = Self { raw: body.into(), ..Self::default() };
        if hello.read(Reader::new(body), odd).is_none() {
            odd.push(Anomaly::MalformedClientHello);
        }
        hello
    }

    /// Reads a CLIENT-HELLO of SSL 2 format, from its message type on (RFC 5246 appendix E.2).
    pub fn parse_ssl2(body: &[u8], odd: &mut Vec<Anomaly>) -> Self {
        let mut hello = Self { raw: body.into(), ssl2_format: true, ..Self::default() };
        if hello.read_ssl2(Reader::new(body)).is_none() {
            odd.push(Anomaly::MalformedClientHello);
        }
        hello
    }

    /// Bytes held, about.
    pub(super) fn memory(&self) -> usize {
        // Numbers take as much as on the wire, a list of byte strings an allocation for each.
        let places = self.extensions.capacity() * size_of::<Extension>()
            + self.key_shares.capacity() * size_of::<KeyShare>()
            + self.psk_identities.capacity() * size_of::<std::ops::Range<usize>>()
            + self.alpn.capacity() * 3 * size_of::<Box<[u8]>>();
        size_of::<Self>() + 2 * self.raw.len() + places
    }

    fn read(&mut self, mut reader: Reader<'_>, odd: &mut Vec<Anomaly>) -> Option<()> {
        self.legacy_version = reader.u16()?;
        self.random = reader.array()?;
        let mut session_id = reader.vector8()?;
        if session_id.left() > 32 {
            odd.push(Anomaly::MalformedClientHello);
        }
        self.session_id = session_id.rest().into();
        let length = reader.u16()?;
        let (mut suites, fit) = reader.lax_part(length.into());
        if !suites.left().is_multiple_of(2) {
            odd.push(Anomaly::OddCipherSuites);
        }
        self.cipher_suites = suites.numbers();
        if fit == Fit::Short {
            return None;
        }
        self.compression_methods = reader.vector8()?.rest().into();
        if reader.is_empty() {
            return Some(());
        }
        let length = reader.u16()?;
        self.has_extensions = true;
        let (block, fit) = reader.lax_part(length.into());
        self.extensions.reserve_exact(block.left().div_ceil(4).min(24));
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
            11 => self.point_formats = body.vector8()?.rest().into(),
            13 => self.signature_algorithms = numbers16(&mut body)?,
            16 => {
                let mut list = body.vector16()?;
                while !list.is_empty() && self.alpn.len() < LIST {
                    self.alpn.push(list.vector8()?.rest().into());
                }
            }
            18 => self.signed_certificate_timestamp = true,
            27 => self.certificate_compression = numbers8(&mut body)?,
            35 => self.session_ticket = Some(body.range(body.left())?),
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
            45 => self.psk_modes = body.vector8()?.rest().into(),
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
                    self.server_name = Some(name.rest().into());
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
        self.session_id = reader.take(session_id.into())?.into();
        let challenge = reader.take(challenge.into())?;
        for (place, byte) in self.random.iter_mut().rev().zip(challenge.iter().rev()) {
            *place = *byte;
        }
        Some(())
    }
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
        let kind = block.u16()?;
        let length = block.u16()?;
        let (body, fit) = block.lax_part(length.into());
        if seen.before(kind) {
            odd.push(Anomaly::DuplicateExtension);
        }
        let range = body.position()..body.position().saturating_add(body.left());
        each(Extension { kind, body: range }, body, odd);
        if fit == Fit::Short {
            return None;
        }
    }
    block.is_empty().then_some(())
}

/// A list of two-byte numbers with two bytes of length.
pub(super) fn numbers16(body: &mut Reader<'_>) -> Option<Vec<u16>> {
    let mut list = body.vector16()?;
    list.left().is_multiple_of(2).then(|| list.numbers())
}

fn numbers8(body: &mut Reader<'_>) -> Option<FewNumbers> {
    let mut list = body.vector8()?;
    let (pairs, rest) = list.rest().as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect())
}

/// Which extension numbers were met: the low ones exactly, of the others the first [`Seen::OTHERS`].
#[derive(Default)]
struct Seen {
    low: u128,
    others: SmallVec<[u16; Self::OTHERS]>,
}

impl Seen {
    /// Bounds the search: no honest hello has more extensions above 127.
    const OTHERS: usize = 32;

    fn before(&mut self, kind: u16) -> bool {
        if kind < 128 {
            let bit = 1_u128 << kind;
            let before = self.low & bit != 0;
            self.low |= bit;
            return before;
        }
        let before = self.others.contains(&kind);
        if !before && self.others.len() < Self::OTHERS {
            self.others.push(kind);
        }
        before
    }
}
