//! Certificates: the facts of one DER, immutable; chains and signatures.
//!
//! Pure: bytes in, facts out. Validity at a time, names and trust are judged elsewhere; nothing here asks for a time.

pub mod batch_gcd;
pub mod cache;
mod certificate;
pub mod chain;
pub mod coprime;
pub mod curve;
pub(crate) mod der;
mod extensions;
mod json;
pub mod judge;
pub mod key;
mod long_product;
pub mod long_root;
pub mod name;
pub mod roots;
pub mod rsa;
pub mod sct;
pub mod signature;
mod text;

use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use crate::time::ValidityTime;

/// Notes an oddity once.
fn note(oddities: &mut Vec<&'static str>, what: &'static str) {
    if !oddities.contains(&what) {
        oddities.push(what);
    }
}

/// A SHA-256 digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sha256(pub [u8; 32]);

impl Hash for Sha256 {
    /// Half of it: nobody makes two digests that begin alike for so long.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.0.first_chunk().map_or(0, |half| u128::from_le_bytes(*half)));
    }
}

impl std::fmt::Display for Sha256 {
    /// Upper-case hexadecimal, as ECS wants hashes of certificates.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digit = |value: u8| if value < 10 { b'0' + value } else { b'A' + (value - 10) };
        let mut text = [0; 64];
        for (to, byte) in text.chunks_exact_mut(2).zip(self.0) {
            to.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// One certificate as it was on the wire. A pure function of its DER; shared between handshakes.
#[derive(Clone, Debug, Default)]
pub struct Certificate {
    /// The bytes on the wire.
    pub der: Box<[u8]>,
    /// SHA-256 of `der`.
    pub sha256: Sha256,
    /// SHA-1 of `der`.
    pub sha1: [u8; 20],
    /// MD5 of `der`.
    pub md5: [u8; 16],
    /// What the bytes say; `None` when they do not parse as a certificate.
    pub facts: Option<Box<Facts>>,
    /// The `x509` object of events as JSON (rendered once per certificate; `{}`-free: a complete object), empty without facts.
    pub x509_json: Box<str>,
    /// What an event says of this certificate as a leaf, made by the event layer at its first use. A pure function of the
    /// certificate, so it does not matter who is first.
    pub event_leaf: std::sync::OnceLock<Box<LeafText>>,
    /// `,"<sha256>"`: what an event says of this certificate in a list, made likewise.
    pub event_hash: std::sync::OnceLock<[u8; 67]>,
    /// [`Certificate::weight`] where it is known; 0 where it is not.
    pub known_weight: usize,
    /// [`Certificate::authority`] where it is known.
    pub known_authority: Option<Authority>,
}

/// Whether a certificate is one of a CA, as far as it says so itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// No `basicConstraints` with cA, or nothing that parses.
    No,
    /// A CA that another name issued.
    Issued,
    /// A CA that names itself as its issuer.
    SelfIssued,
}

/// Texts of a certificate for events that show it as a leaf.
#[derive(Clone, Debug)]
pub struct LeafText {
    /// JSON members, each with its comma; `x509` is the last of them.
    pub members: Box<str>,
    /// Bytes of `members` before `x509`.
    pub brief: usize,
    /// `,"<sha1>"`.
    pub sha1: [u8; 43],
    /// The member `spki_sha256` with its comma; `None` without facts.
    pub key: Option<[u8; 81]>,
}

/// What a certificate says (RFC 5280).
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Version as people count: 1, 2 or 3.
    pub version: u32,
    /// Serial number: content octets as encoded, sign byte included; may be empty or far longer than 20 octets.
    pub serial: Box<[u8]>,
    /// Subject.
    pub subject: Name,
    /// Issuer.
    pub issuer: Name,
    /// First moment of validity; `None` where it does not parse.
    pub not_before: Option<ValidityTime>,
    /// Last moment of validity.
    pub not_after: Option<ValidityTime>,
    /// The key.
    pub key: PublicKey,
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub spki_sha256: Sha256,
    /// SHA-1 of the subjectPublicKey bits: what key identifiers usually are (RFC 5280 section 4.2.1.2 method 1).
    pub key_sha1: [u8; 20],
    /// Range of the TBSCertificate in the DER: the signed bytes.
    pub tbs: std::ops::Range<usize>,
    /// Range of the SubjectPublicKeyInfo in the DER.
    pub spki: std::ops::Range<usize>,
    /// OID of the signature algorithm, dotted.
    pub signature_oid: String,
    /// Parameters of the signature algorithm, DER (RSASSA-PSS has some), empty without.
    pub signature_parameters: Box<[u8]>,
    /// Name of the signature algorithm as Go's library has it (`SHA256-RSA`), or the OID.
    pub signature_algorithm: String,
    /// Signature bits.
    pub signature: Box<[u8]>,
    /// Subject alternative names in wire order.
    pub alternative_names: Vec<AlternativeName>,
    /// The directoryNames among them, normalised as [`Name::normalized`] is.
    pub alternative_directories: Vec<String>,
    /// `basicConstraints`: (cA, pathLenConstraint).
    pub basic_constraints: Option<(bool, Option<u32>)>,
    /// `keyUsage` bits as named by RFC 5280, bit 0 = digitalSignature.
    pub key_usage: Option<u16>,
    /// `extKeyUsage` OIDs, dotted.
    pub extended_key_usage: Option<Vec<String>>,
    /// `subjectKeyIdentifier`.
    pub subject_key_identifier: Option<Box<[u8]>>,
    /// `authorityKeyIdentifier.keyIdentifier`.
    pub authority_key_identifier: Option<Box<[u8]>>,
    /// `authorityKeyIdentifier.authorityCertSerialNumber`.
    pub authority_serial: Option<Box<[u8]>>,
    /// OCSP responders of `authorityInfoAccess`.
    pub ocsp_urls: Vec<String>,
    /// CA issuers of `authorityInfoAccess`.
    pub ca_issuer_urls: Vec<String>,
    /// `cRLDistributionPoints` URIs.
    pub crl_urls: Vec<String>,
    /// `certificatePolicies` OIDs, dotted.
    pub policies: Vec<String>,
    /// Validation level that the policies claim.
    pub validation: Option<Validation>,
    /// SCTs embedded in the certificate (RFC 6962).
    pub scts: Vec<Sct>,
    /// The poison extension of a precertificate (RFC 6962 section 3.1) is present.
    pub precertificate: bool,
    /// TLS feature "status_request" (RFC 7633): must staple.
    pub must_staple: bool,
    /// `nameConstraints`: permitted and excluded subtrees.
    pub name_constraints: Option<NameConstraints>,
    /// OIDs of all extensions in order, with their critical flag.
    pub extensions: Vec<(String, bool)>,
    /// OIDs of extensions that are known but did not parse.
    pub bad_extensions: Vec<String>,
    /// SHA-256 of the RSA modulus, made at its first use.
    pub modulus_sha256: std::sync::OnceLock<Sha256>,
    /// Stands for issuer and serial number, made at its first use.
    pub numbered: std::sync::OnceLock<[u8; 16]>,
    /// Oddities of the encoding: stable names such as `negative_serial`, `generalized_time_offset`.
    pub oddities: Vec<&'static str>,
}

/// A distinguished name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Name {
    /// DER of the whole Name: equal names of one encoder are equal bytes.
    pub der: Box<[u8]>,
    /// RFC 4514 string, most specific RDN first (reverse of the encoding), control characters escaped.
    pub text: String,
    /// Name normalised for comparison (RFC 5280 section 7.1): case folded, white space compressed, string types unified.
    pub normalized: String,
    /// commonName values in order of the encoding.
    pub common_names: Vec<String>,
    /// organizationName values.
    pub organizations: Vec<String>,
    /// organizationalUnitName values.
    pub organizational_units: Vec<String>,
    /// countryName values.
    pub countries: Vec<String>,
    /// localityName values.
    pub localities: Vec<String>,
    /// stateOrProvinceName values.
    pub states: Vec<String>,
    /// emailAddress values.
    pub emails: Vec<String>,
}

/// A subject alternative name (RFC 5280 section 4.2.1.6). Text has control characters and NUL escaped as `\x00`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlternativeName {
    /// dNSName.
    Dns(String),
    /// iPAddress of 4 or 16 octets.
    Ip(IpAddr),
    /// rfc822Name.
    Email(String),
    /// uniformResourceIdentifier.
    Uri(String),
    /// directoryName, RFC 4514.
    Directory(String),
    /// Any other kind, described (`otherName:1.3.6.1.4.1.311.20.2.3`, `registeredID:..`, malformed iPAddress as hex).
    Other(String),
}

/// `nameConstraints` (RFC 5280 section 4.2.1.10).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameConstraints {
    /// Permitted subtrees.
    pub permitted: Vec<Subtree>,
    /// Excluded subtrees.
    pub excluded: Vec<Subtree>,
}

/// One subtree of `nameConstraints`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subtree {
    /// dNSName suffix.
    Dns(String),
    /// Address and mask.
    Ip(IpAddr, IpAddr),
    /// rfc822Name host or mailbox.
    Email(String),
    /// directoryName prefix, normalised.
    Directory(String),
    /// Another kind.
    Other,
}

/// A signed certificate timestamp (RFC 6962 section 3.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sct {
    /// SHA-256 of the log's key.
    pub log_id: Sha256,
    /// Milliseconds since the epoch.
    pub timestamp_ms: u64,
}

/// Validation level that certificate policies claim (CA/Browser Forum OIDs 2.23.140.1.*).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// 2.23.140.1.2.1
    DomainValidated,
    /// 2.23.140.1.2.2
    OrganizationValidated,
    /// 2.23.140.1.2.3
    IndividualValidated,
    /// 2.23.140.1.1
    ExtendedValidation,
}

/// A public key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublicKey {
    /// Kind of key.
    pub kind: KeyKind,
    /// OID of the algorithm, dotted.
    pub oid: String,
    /// Size in bits: modulus of RSA, field of an elliptic curve, prime of DSA; 0 when unknown.
    pub bits: u32,
    /// Name of the curve (`secp256r1`, `x25519`), or its OID.
    pub curve: Option<String>,
    /// RSA modulus, big-endian without leading zeros.
    pub modulus: Box<[u8]>,
    /// RSA exponent, big-endian without leading zeros.
    pub exponent: Box<[u8]>,
    /// The exponent is negative: `exponent` has its octets as they are.
    pub negative_exponent: bool,
    /// subjectPublicKey bits.
    pub bytes: Box<[u8]>,
}

/// Kind of a public key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// rsaEncryption.
    Rsa,
    /// id-RSASSA-PSS.
    RsaPss,
    /// id-ecPublicKey.
    Ec,
    /// Ed25519.
    Ed25519,
    /// Ed448.
    Ed448,
    /// DSA.
    Dsa,
    /// Anything else; see the OID.
    #[default]
    Other,
}
