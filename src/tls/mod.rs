//! TLS as an onlooker sees it: records, handshake messages, and what both ends said in clear.
//!
//! Pure: [`Observer`](observer::Observer) takes the bytes of both directions in order and gives one [`Handshake`] for each handshake. It knows
//! nothing of packets, of X.509 and of rules. Strange input is data: it becomes an [`Anomaly`].

use std::ops::Range;

use smallvec::SmallVec;

use crate::direction::Direction;
use crate::time::Moment;

pub mod anomaly;
pub mod certificate;
mod client_hello;
mod conversation;
pub mod fingerprint;
mod finished;
mod key_exchange;
mod message;
pub mod names;
pub mod observer;
pub mod probe;
mod reader;
mod record;
pub mod server_hello;
mod side;
mod transcript;

pub use anomaly::Anomaly;

/// What carried the handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TLS or SSL over TCP.
    #[default]
    Tls,
    /// DTLS over UDP.
    Dtls,
    /// TLS 1.3 inside QUIC.
    Quic,
}

/// Everything one handshake showed in clear. Both hellos of a HelloRetryRequest round belong to one handshake.
#[derive(Clone, Debug, Default)]
pub struct Handshake {
    /// What carried it.
    pub protocol: Protocol,
    /// Direction in which the client sends; `None` only while nothing told who is who.
    pub client: Option<Direction>,
    /// Number of the handshake on its connection, from 0.
    pub ordinal: u32,
    /// Packet with the first byte of the first handshake message.
    pub first: Moment,
    /// Packet with the last byte of the last handshake message (or alert) that belongs to it.
    pub last: Moment,
    /// Packet (or deadline) at which the handshake was over: the place of its event.
    pub ended: Moment,
    /// Why it was over.
    pub end: HandshakeEnd,
    /// The first ClientHello: the one that fingerprints are made of.
    pub client_hello: Option<Box<ClientHello>>,
    /// The ClientHello that answered a HelloRetryRequest.
    pub second_client_hello: Option<Box<ClientHello>>,
    /// The HelloRetryRequest (RFC 8446 section 4.1.4).
    pub hello_retry_request: Option<Box<ServerHello>>,
    /// The ServerHello.
    pub server_hello: Option<Box<ServerHello>>,
    /// Nanoseconds from the packet with the last byte of the first ClientHello to that with the first byte of the
    /// answer, a HelloRetryRequest or a ServerHello; `None` where a time is not known.
    pub answered_after: Option<i64>,
    /// Certificate message of the server, as seen in clear; `None` when there was none.
    pub server_certificates: Option<CertificateList>,
    /// Certificate message of the client; present and empty when the client had none to show.
    pub client_certificates: Option<CertificateList>,
    /// ServerKeyExchange (TLS 1.2 and older).
    pub server_key_exchange: Option<Box<ServerKeyExchange>>,
    /// CertificateRequest seen in clear.
    pub certificate_request: Option<Box<CertificateRequest>>,
    /// Stapled OCSP response (CertificateStatus), DER, first one.
    pub ocsp_response: Option<Box<[u8]>>,
    /// Signature of the client's CertificateVerify, with its algorithm (`None` before TLS 1.2).
    pub certificate_verify: Option<Box<CertificateVerify>>,
    /// Raw handshake messages (with their 4-byte headers) up to but without CertificateVerify, in the order of the
    /// transcript; kept only while a client certificate was asked for, at most 64 KiB.
    pub transcript: Option<Box<[u8]>>,
    /// Lifetime and length of the first NewSessionTicket seen in clear: (lifetime hint in seconds, ticket bytes).
    pub new_session_ticket: Option<(u32, u32)>,
    /// Alerts in clear, in order; at most [`Handshake::MAX_ALERTS`].
    pub alerts: Vec<Alert>,
    /// Oddities, each once, in order of first sight.
    pub anomalies: Vec<Anomaly>,
    /// What of the finish was seen, per side.
    pub client_progress: Progress,
    /// What of the finish was seen, per side.
    pub server_progress: Progress,
    /// TLS 1.2 and older: the server went to ChangeCipherSpec without Certificate or ServerHelloDone. TLS 1.3: it chose a PSK.
    /// `None` while no server hello was seen or the flight is incomplete.
    pub resumed: Option<bool>,
    /// Both sides' Finished are certain (see `reference` of `tls.established` in docs/EVENTS.md); `None` = cannot be told.
    pub established: Option<bool>,
    /// No byte of the clear handshake was missing: both directions from their start, no gap, nothing cut.
    pub complete: bool,
    /// Version in the record header of the first record of the ClientHello (0x0301 is usual), or of the server's first record.
    pub record_version: u16,
    /// TLS 1.3 only: lengths of the encrypted records from ServerHello to the client's first encrypted record, server side,
    /// at most 16, then the client's first two.
    pub encrypted_lengths: FewNumbers,
    /// TLS 1.3 only: lengths of the client's first encrypted records, at most 2.
    pub client_encrypted_lengths: FewNumbers,
}

impl Handshake {
    /// Most alerts that are remembered of one handshake.
    pub const MAX_ALERTS: usize = 10;

    /// A copy without the raw messages that are longest: transcript, stapled response, octets of certificates.
    pub fn slim(&self) -> Self {
        Self {
            protocol: self.protocol,
            client: self.client,
            ordinal: self.ordinal,
            first: self.first,
            last: self.last,
            ended: self.ended,
            end: self.end,
            client_hello: self.client_hello.clone(),
            second_client_hello: self.second_client_hello.clone(),
            hello_retry_request: self.hello_retry_request.clone(),
            server_hello: self.server_hello.clone(),
            answered_after: self.answered_after,
            server_certificates: self.server_certificates.as_ref().map(CertificateList::slim),
            client_certificates: self.client_certificates.as_ref().map(CertificateList::slim),
            server_key_exchange: self.server_key_exchange.clone(),
            certificate_request: self.certificate_request.clone(),
            ocsp_response: None,
            certificate_verify: self.certificate_verify.clone(),
            transcript: None,
            new_session_ticket: self.new_session_ticket,
            alerts: self.alerts.clone(),
            anomalies: self.anomalies.clone(),
            client_progress: self.client_progress,
            server_progress: self.server_progress,
            resumed: self.resumed,
            established: self.established,
            complete: self.complete,
            record_version: self.record_version,
            encrypted_lengths: self.encrypted_lengths.clone(),
            client_encrypted_lengths: self.client_encrypted_lengths.clone(),
        }
    }

    /// Notes an anomaly once.
    pub fn note(&mut self, anomaly: Anomaly) {
        if !self.anomalies.contains(&anomaly) {
            self.anomalies.push(anomaly);
        }
    }

    /// The version that the server chose (`0x0304` for TLS 1.3 and its drafts); `None` without a ServerHello.
    pub fn version(&self) -> Option<u16> {
        self.server_hello.as_ref().map(|hello| hello.version())
    }
}

/// Why a handshake was over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HandshakeEnd {
    /// Everything there is to see in clear was seen.
    #[default]
    Done,
    /// A fatal alert.
    Alert,
    /// The connection was closed in order.
    Fin,
    /// The connection was reset.
    Reset,
    /// Nothing came for too long.
    Timeout,
    /// Flow or memory limits.
    Evicted,
    /// The capture ended.
    EndOfCapture,
    /// A new handshake began on the same connection.
    Superseded,
}

/// What one side sent of the end of the handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// ChangeCipherSpec.
    pub change_cipher_spec: bool,
    /// TLS 1.2 and older: an encrypted handshake record after it (Finished).
    pub encrypted_handshake: bool,
    /// Application data records, capped at 255.
    pub application_data: u8,
    /// Any bytes at all of this side were seen.
    pub seen: bool,
    /// The side's bytes were seen from the beginning of the connection (SYN or the first record).
    pub from_start: bool,
}

/// Bytes of one extension: its number and where its body lies in the raw hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// ExtensionType.
    pub kind: u16,
    /// Range of the body in `raw`; narrow, since a hello has many of these.
    pub body: Range<u32>,
}

impl Extension {
    /// The extension `kind` whose body of `length` bytes begins at `start` of the raw hello.
    fn at(kind: u16, start: usize, length: usize) -> Self {
        // A hello has at most 64 KiB.
        let narrow = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        Self { kind, body: narrow(start)..narrow(start.saturating_add(length)) }
    }

    /// The body, out of the raw hello.
    pub fn body_in<'a>(&self, raw: &'a [u8]) -> Option<&'a [u8]> {
        raw.get(usize::try_from(self.body.start).ok()?..usize::try_from(self.body.end).ok()?)
    }
}

/// One entry of the `key_share` extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyShare {
    /// NamedGroup.
    pub group: u16,
    /// Range of the public value in `raw`; empty in a HelloRetryRequest.
    pub public: Range<usize>,
}

/// A session id: 32 bytes or none in honest hellos.
pub type SessionId = SmallVec<[u8; 32]>;

/// A list of one-byte codes that is short in honest hellos.
pub type FewBytes = SmallVec<[u8; 16]>;

/// A list of two-byte codes that is short in honest hellos.
pub type FewNumbers = SmallVec<[u16; 8]>;

/// A list of about a dozen two-byte codes in honest hellos.
pub type Numbers12 = SmallVec<[u16; 12]>;

/// A list of about twenty two-byte codes in honest hellos.
pub type Numbers20 = SmallVec<[u16; 20]>;

/// A host name: few are longer.
pub type NameBytes = SmallVec<[u8; 32]>;

/// A ClientHello (RFC 8446 section 4.1.2), also one in SSL 2 format.
#[derive(Clone, Debug, Default)]
pub struct ClientHello {
    /// Body of the message without the 4-byte header, as joined from records.
    pub raw: Box<[u8]>,
    /// It came in SSL 2 format (RFC 5246 appendix E.2).
    pub ssl2_format: bool,
    /// `legacy_version`.
    pub legacy_version: u16,
    /// `random`; shorter SSL 2 challenges are padded on the left with zeros.
    pub random: [u8; 32],
    /// `legacy_session_id`.
    pub session_id: SessionId,
    /// Cipher suites in order, GREASE included. SSL 2 ciphers (24 bits) only where their first byte is 0.
    pub cipher_suites: Numbers20,
    /// Compression methods.
    pub compression_methods: FewBytes,
    /// Extensions in wire order, GREASE included.
    pub extensions: SmallVec<[Extension; 18]>,
    /// An `extensions` block was present, maybe an empty one.
    pub has_extensions: bool,
    /// First `host_name` of `server_name`, raw bytes.
    pub server_name: Option<NameBytes>,
    /// `supported_versions`.
    pub supported_versions: FewNumbers,
    /// `supported_groups`.
    pub groups: Numbers12,
    /// `ec_point_formats`.
    pub point_formats: FewBytes,
    /// `signature_algorithms`.
    pub signature_algorithms: Numbers20,
    /// `key_share`.
    pub key_shares: SmallVec<[KeyShare; 2]>,
    /// `application_layer_protocol_negotiation`.
    pub alpn: SmallVec<[FewBytes; 2]>,
    /// Ranges in `raw` of the identities of `pre_shared_key`.
    pub psk_identities: Vec<Range<usize>>,
    /// `psk_key_exchange_modes`.
    pub psk_modes: FewBytes,
    /// Range in `raw` of the `session_ticket` extension (empty when the client only says it knows tickets).
    pub session_ticket: Option<Range<usize>>,
    /// `early_data` offered.
    pub early_data: bool,
    /// `encrypted_client_hello` present: the visible name is the outer one (or GREASE).
    pub encrypted_client_hello: bool,
    /// `compress_certificate` algorithms.
    pub certificate_compression: FewNumbers,
    /// `status_request` or `status_request_v2` present.
    pub status_request: bool,
    /// `signed_certificate_timestamp` present.
    pub signed_certificate_timestamp: bool,
}

/// A ServerHello or HelloRetryRequest (RFC 8446 section 4.1.3), also one of SSL 2.
#[derive(Clone, Debug, Default)]
pub struct ServerHello {
    /// Body of the message without the 4-byte header.
    pub raw: Box<[u8]>,
    /// It is an SSL 2 SERVER-HELLO.
    pub ssl2_format: bool,
    /// `legacy_version`.
    pub legacy_version: u16,
    /// `random`.
    pub random: [u8; 32],
    /// `legacy_session_id_echo`.
    pub session_id: SessionId,
    /// `cipher_suite`; `None` in SSL 2, which lists several.
    pub cipher_suite: Option<u16>,
    /// `legacy_compression_method`.
    pub compression_method: u8,
    /// Extensions in wire order.
    pub extensions: SmallVec<[Extension; 6]>,
    /// An `extensions` block was present.
    pub has_extensions: bool,
    /// `selected_version` of `supported_versions`, as sent (0x7f1c for draft 28).
    pub selected_version: Option<u16>,
    /// Group (and public value) of `key_share`.
    pub key_share: Option<KeyShare>,
    /// `selected_identity` of `pre_shared_key`.
    pub selected_psk: Option<u16>,
    /// ALPN protocol in clear.
    pub alpn: Option<FewBytes>,
    /// `session_ticket` present: a NewSessionTicket will follow.
    pub session_ticket: bool,
    /// `status_request` present: a CertificateStatus may follow.
    pub status_request: bool,
    /// Range in `raw` of the SCT list of the `signed_certificate_timestamp` extension.
    pub scts: Option<Range<usize>>,
    /// `encrypted_client_hello` present (a HelloRetryRequest may carry it).
    pub encrypted_client_hello: bool,
}

impl ServerHello {
    /// The version chosen: `0x0304` for TLS 1.3 and its drafts, else the number on the wire.
    pub fn version(&self) -> u16 {
        let chosen = self.selected_version.unwrap_or(self.legacy_version);
        if is_tls13_draft(chosen) { 0x0304 } else { chosen }
    }

    /// The draft of TLS 1.3 chosen, as the number on the wire.
    pub fn draft(&self) -> Option<u16> {
        Some(self.selected_version.unwrap_or(self.legacy_version)).filter(|version| is_tls13_draft(*version))
    }
}

/// Whether `version` is a draft of TLS 1.3: 0x7f00 to 0x7fff, Facebook's 0xfb17 and 0xfb1a, Google's 0x7e01 to 0x7e03 experiments.
pub fn is_tls13_draft(version: u16) -> bool {
    matches!(version, 0x7f00..=0x7fff | 0xfb17 | 0xfb1a | 0x7e01..=0x7e03)
}

/// The certificates of one Certificate message, DER as sent, in wire order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateList {
    /// All certificates, one after the other.
    pub bytes: Box<[u8]>,
    /// Where each lies in `bytes`.
    pub ranges: Vec<Range<usize>>,
    /// What the message held instead of X.509 certificates, or how it came.
    pub form: CertificateForm,
}

impl CertificateList {
    /// Each certificate in wire order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.ranges.iter().filter_map(|range| self.bytes.get(range.clone()))
    }

    fn slim(&self) -> Self {
        Self { bytes: Box::default(), ranges: Vec::new(), form: self.form }
    }
}

/// Form of a Certificate message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CertificateForm {
    /// X.509.
    #[default]
    X509,
    /// X.509, compressed (RFC 8879) with this algorithm.
    Compressed(u16),
    /// A raw public key (RFC 7250).
    RawPublicKey,
    /// OpenPGP (RFC 6091).
    OpenPgp,
}

/// ServerKeyExchange: the parameters and the signature over them (RFC 5246 section 7.4.3, RFC 8422 section 5.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerKeyExchange {
    /// The signed bytes: curve and point, or p, g and Ys.
    pub params: Box<[u8]>,
    /// What `params` holds.
    pub kind: KeyExchange,
    /// SignatureAndHashAlgorithm of TLS 1.2; `None` before.
    pub signature_algorithm: Option<u16>,
    /// The signature; empty for anonymous key exchange.
    pub signature: Box<[u8]>,
}

/// Parameters of a ServerKeyExchange; ranges lie in `params`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KeyExchange {
    /// Not understood (PSK, SRP, explicit curves..).
    #[default]
    Other,
    /// ECDHE with a named curve.
    Ecdhe {
        /// NamedGroup.
        group: u16,
        /// The server's public point.
        public: Range<usize>,
    },
    /// Finite-field DHE.
    Dhe {
        /// The prime.
        prime: Range<usize>,
        /// The generator.
        generator: Range<usize>,
        /// The server's public value.
        public: Range<usize>,
    },
    /// Export-grade RSA: modulus and exponent.
    Rsa {
        /// The temporary modulus.
        modulus: Range<usize>,
        /// The temporary exponent.
        exponent: Range<usize>,
    },
}

/// CertificateRequest (RFC 5246 section 7.4.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateRequest {
    /// ClientCertificateType values.
    pub certificate_types: Vec<u8>,
    /// Accepted signature algorithms (TLS 1.2).
    pub signature_algorithms: Vec<u16>,
    /// DER names of accepted CAs; at most 64 are kept.
    pub authorities: Vec<Box<[u8]>>,
    /// How many authorities the message named.
    pub authority_count: u32,
}

/// CertificateVerify of the client (TLS 1.2 and older).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateVerify {
    /// SignatureAndHashAlgorithm of TLS 1.2; `None` before.
    pub signature_algorithm: Option<u16>,
    /// The signature.
    pub signature: Box<[u8]>,
}

/// An alert in clear (RFC 8446 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Direction it was sent in.
    pub direction: Direction,
    /// 1 warning, 2 fatal.
    pub level: u8,
    /// AlertDescription.
    pub description: u8,
}

/// Whether `value` is a GREASE value of two bytes (RFC 8701): both bytes equal, low nibble 0xa.
pub fn is_grease(value: u16) -> bool {
    // One expression without branches, so that loops over lists become vector code.
    (value & 0x0f0f == 0x0a0a) & (value.swap_bytes() == value)
}

#[cfg(test)]
mod tests;
