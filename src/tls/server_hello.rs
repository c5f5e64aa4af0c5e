//! ServerHello and HelloRetryRequest (RFC 8446 sections 4.1.3 and 4.1.4), their forms in drafts of TLS 1.3, and that of SSL 2.

use smallvec::SmallVec;

use super::client_hello::walk_extensions;
use super::reader::{Fit, Reader};
use super::{Anomaly, CertificateList, KeyShare, ServerHello};

/// The `random` that makes a ServerHello a HelloRetryRequest (RFC 8446 section 4.1.3).
pub const HELLO_RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

impl ServerHello {
    /// Reads the body of a ServerHello message (without its 4-byte header); never fails, but notes what contradicts itself.
    pub fn parse(body: &[u8], odd: &mut Vec<Anomaly>) -> Self {
        let mut hello = Self::default();
        hello.fill(body, odd);
        hello
    }

    /// Reads a HelloRetryRequest of the drafts up to 21, which was a message of its own (type 6).
    pub fn parse_draft_retry(body: &[u8], odd: &mut Vec<Anomaly>) -> Self {
        let mut hello = Self::default();
        hello.fill_draft_retry(body, odd);
        hello
    }

    /// Reads an SSL 2 SERVER-HELLO from its message type on, and the certificate in it.
    pub fn parse_ssl2(body: &[u8], odd: &mut Vec<Anomaly>) -> (Self, Ssl2Answer) {
        let mut hello = Self::default();
        let answer = hello.fill_ssl2(body, odd);
        (hello, answer)
    }

    /// [`Self::parse`] into a hello where it is to stay.
    pub(super) fn fill(&mut self, body: &[u8], odd: &mut Vec<Anomaly>) {
        self.raw = body.into();
        if self.read(Reader::new(body), odd).is_none() {
            odd.push(Anomaly::MalformedServerHello);
        }
    }

    /// [`Self::parse_draft_retry`] into a hello where it is to stay.
    pub(super) fn fill_draft_retry(&mut self, body: &[u8], odd: &mut Vec<Anomaly>) {
        self.raw = body.into();
        self.random = HELLO_RETRY_RANDOM;
        if self.read_draft_retry(Reader::new(body), odd).is_none() {
            odd.push(Anomaly::MalformedServerHello);
        }
    }

    /// [`Self::parse_ssl2`] into a hello where it is to stay.
    pub(super) fn fill_ssl2(&mut self, body: &[u8], odd: &mut Vec<Anomaly>) -> Ssl2Answer {
        self.raw = body.into();
        self.ssl2_format = true;
        let mut answer = Ssl2Answer::default();
        if self.read_ssl2(Reader::new(body), &mut answer).is_none() {
            odd.push(Anomaly::MalformedServerHello);
        }
        answer
    }

    /// Whether this is a HelloRetryRequest.
    pub fn is_hello_retry_request(&self) -> bool {
        self.random == HELLO_RETRY_RANDOM
    }

    fn read(&mut self, mut reader: Reader<'_>, odd: &mut Vec<Anomaly>) -> Option<()> {
        self.legacy_version = reader.u16()?;
        self.random = reader.array()?;
        // Drafts up to 21 left out the session id and the compression method.
        let short = matches!(self.legacy_version, 0x7f00..=0x7f15);
        if !short {
            let mut session_id = reader.vector8()?;
            if session_id.left() > 32 {
                odd.push(Anomaly::MalformedServerHello);
            }
            self.session_id = SmallVec::from_slice(session_id.rest());
        }
        self.cipher_suite = Some(reader.u16()?);
        if !short {
            self.compression_method = reader.u8()?;
        }
        self.read_extensions(reader, odd)
    }

    fn read_draft_retry(&mut self, mut reader: Reader<'_>, odd: &mut Vec<Anomaly>) -> Option<()> {
        self.legacy_version = reader.u16()?;
        if self.legacy_version >= 0x7f13 {
            self.cipher_suite = Some(reader.u16()?);
        }
        self.read_extensions(reader, odd)
    }

    fn read_extensions(&mut self, mut reader: Reader<'_>, odd: &mut Vec<Anomaly>) -> Option<()> {
        if reader.is_empty() {
            return Some(());
        }
        let length = reader.u16()?;
        self.has_extensions = true;
        let (block, fit) = reader.lax_part(length.into());
        let whole = walk_extensions(block, odd, |extension, body, odd| {
            if self.extension(extension.kind, body).is_none() {
                odd.push(Anomaly::MalformedExtension);
            }
            self.extensions.push(extension);
        });
        (whole.is_some() && fit == Fit::Whole && reader.is_empty()).then_some(())
    }

    fn extension(&mut self, kind: u16, mut body: Reader<'_>) -> Option<()> {
        match kind {
            5 | 17 => self.status_request = true,
            16 => self.alpn = Some(SmallVec::from_slice(body.vector16()?.vector8()?.rest())),
            18 => self.scts = Some(body.rest_range()),
            35 => self.session_ticket = true,
            // 40 is key_share in drafts of TLS 1.3 before 23.
            40 if self.key_share.is_none() => {
                let _draft = self.read_key_share(body);
            }
            41 => self.selected_psk = Some(body.u16()?),
            43 => self.selected_version = Some(body.u16()?),
            51 => self.read_key_share(body)?,
            0xfe08..=0xfe0d => self.encrypted_client_hello = true,
            _ => {}
        }
        Some(())
    }

    fn read_key_share(&mut self, mut body: Reader<'_>) -> Option<()> {
        let group = body.u16()?;
        let public = if body.is_empty() {
            body.range(0)?
        } else {
            let length = body.u16()?;
            body.range(length.into())?
        };
        self.key_share = Some(KeyShare { group, public });
        Some(())
    }

    fn read_ssl2(&mut self, mut reader: Reader<'_>, answer: &mut Ssl2Answer) -> Option<()> {
        reader.u8()?;
        answer.session_id_hit = reader.u8()? != 0;
        reader.u8()?;
        self.legacy_version = reader.u16()?;
        let certificate = reader.u16()?;
        let suites = reader.u16()?;
        let connection_id = reader.u16()?;
        let certificate = reader.take(certificate.into())?;
        if !certificate.is_empty() {
            let range = 0..certificate.len();
            answer.certificates =
                Some(CertificateList { bytes: certificate.into(), ranges: vec![range], ..Default::default() });
        }
        reader.take(suites.into())?;
        self.session_id = SmallVec::from_slice(reader.take(connection_id.into())?);
        Some(())
    }
}

/// What an SSL 2 SERVER-HELLO says besides its parameters.
#[derive(Clone, Debug, Default)]
pub struct Ssl2Answer {
    /// The server resumes a session.
    pub session_id_hit: bool,
    /// Its certificate.
    pub certificates: Option<CertificateList>,
}
