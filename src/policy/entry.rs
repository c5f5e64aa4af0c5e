//! What a policy consists of, as meant.

use super::digest::{CertificateHash, Digest};
use super::distinguished_name::NamePattern;
use super::network::Cidr;
use super::{Day, HostPattern, PolicyError, RulePattern, Severity};

/// How much is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Alerts from medium on.
    Quiet,
    /// The default.
    #[default]
    Balanced,
    /// Weak evidence too.
    Verbose,
}

impl Profile {
    pub(super) fn of_name(name: &str) -> Option<Self> {
        match name {
            "quiet" => Some(Self::Quiet),
            "balanced" => Some(Self::Balanced),
            "verbose" => Some(Self::Verbose),
            _ => None,
        }
    }
}

/// `[trust]`: anchors and lists. Paths are as given, relative to the policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// Whether Mozilla's roots that are built in are anchors.
    pub builtin_roots: bool,
    /// Files of PEM certificates that are anchors.
    pub roots: Vec<NamedFile>,
    /// Files or directories of CRLs.
    pub crls: Vec<NamedFile>,
    /// Lists of certificate transparency logs (JSON, version 3).
    pub ct_logs: Vec<NamedFile>,
    /// Lists of certificates.
    pub blocklists: Vec<ListFile>,
    /// Lists of keys that others know.
    pub compromised_keys: Vec<ListFile>,
}

impl Default for Trust {
    fn default() -> Self {
        Self {
            builtin_roots: true,
            roots: Vec::new(),
            crls: Vec::new(),
            ct_logs: Vec::new(),
            blocklists: Vec::new(),
            compromised_keys: Vec::new(),
        }
    }
}

/// A file that the policy names, and where it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// Key of the policy that names it.
    pub key: &'static str,
    /// Path as given.
    pub path: String,
    /// Line of the policy, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl NamedFile {
    /// What is wrong with it, as a mistake of the policy.
    pub fn wrong(&self, what: &str) -> PolicyError {
        PolicyError { line: self.line, column: self.column, message: format!("{}: {what}", self.key) }
    }
}

/// A list in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListFile {
    /// The file.
    pub file: NamedFile,
    /// What is in it.
    pub format: ListFormat,
}

/// Format of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListFormat {
    /// CSV of abuse.ch SSLBL: date, SHA-1, reason.
    Sslbl,
    /// SHA-1 or SHA-256 of certificates, one a line.
    Text,
    /// SHA-256 of SubjectPublicKeyInfo, one a line.
    Spki,
    /// Issuer and serial number, one pair a line.
    Serials,
    /// Block list of badkeys.
    Badkeys,
}

impl ListFormat {
    pub(super) const BLOCKLISTS: [Self; 4] = [Self::Sslbl, Self::Text, Self::Spki, Self::Serials];
    pub(super) const KEYS: [Self; 2] = [Self::Badkeys, Self::Spki];

    /// Its name in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sslbl => "sslbl",
            Self::Text => "text",
            Self::Spki => "spki",
            Self::Serials => "serials",
            Self::Badkeys => "badkeys",
        }
    }
}

/// `[[internal_ca]]`: a private PKI that is fine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalCa {
    /// What people call it.
    pub name: String,
    /// Its keys.
    pub spki: Vec<Digest>,
    /// The only names and addresses it may sign; empty means any.
    pub names: Vec<HostPattern>,
    /// Whom to ask.
    pub owner: Option<String>,
    /// Line of the entry.
    pub line: usize,
}

impl InternalCa {
    /// Whether it may sign this name or address (as text).
    pub fn allows(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|pattern| pattern.matches_name(name))
    }
}

/// `[[interception]]`: a proxy of the organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interception {
    /// What people call it.
    pub name: String,
    /// Keys of its CA; those of `ca` are added when its files are read: in each file of the CAs that issued no other one in it.
    pub spki: Vec<Digest>,
    /// Files with the certificates of its CA, so that signatures can be verified before a server sends them.
    pub ca: Vec<NamedFile>,
    /// Clients it may intercept; empty means all.
    pub clients: Vec<Cidr>,
    /// Line of the entry.
    pub line: usize,
}

/// `[[host]]`: what is expected of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostEntry {
    /// Hosts it is about.
    pub patterns: Vec<HostPattern>,
    /// Keys of which one must be in the chain.
    pub pins: Vec<Digest>,
    /// Keys of issuers of which one must be in the verified path.
    pub issuers: Vec<Digest>,
    /// Names of issuers of which one must be in the verified path.
    pub issuer_names: Vec<NamePattern>,
    /// Allowed CAs as CAA issuer domains (RFC 8659).
    pub caa: Vec<String>,
    /// The only leaves allowed, by SHA-256.
    pub certificates: Vec<Digest>,
    /// File of more of them, as given.
    pub certificates_file: Option<NamedFile>,
    /// Where the server may stand; empty means anywhere.
    pub places: Vec<Cidr>,
    /// Whose host it is.
    pub owner: Option<String>,
    /// Lowest version as on the wire (0x0303 is TLS 1.2).
    pub min_version: Option<u16>,
    /// Allowed application protocols; empty means any.
    pub alpn: Vec<String>,
    /// Allowed cipher suites by IANA name; empty means any.
    pub ciphers: Vec<String>,
    /// Allowed kinds of key: `rsa`, `ec`, `ed25519`, `ed448`; empty means any.
    pub key_types: Vec<String>,
    /// Fewest bits of an RSA modulus.
    pub min_rsa_bits: Option<u32>,
    /// Whether a renewal may keep the key.
    pub key_reuse: bool,
    /// Whether wildcard names are allowed.
    pub wildcards: bool,
    /// Longest validity in days.
    pub max_days: Option<u32>,
    /// Last day on which pins alert; afterwards they only mark.
    pub expires: Option<Day>,
    /// Line of the entry.
    pub line: usize,
}

impl HostEntry {
    /// Whether the entry has an owner or places: the host is ours.
    pub fn is_owned(&self) -> bool {
        self.owner.is_some() || !self.places.is_empty()
    }

    /// Whether pins still alert on this day.
    pub fn pins_alert(&self, day: Day) -> bool {
        self.expires.is_none_or(|last| day <= last)
    }
}

/// `[[client_certificate]]`: what is expected of a client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Which certificates.
    pub matches: ClientMatch,
    /// Where they may be used; empty means anywhere.
    pub allowed_from: Vec<Cidr>,
    /// Whether a theft would be worse than usual.
    pub sensitive: bool,
    /// Whom to ask.
    pub owner: Option<String>,
    /// Line of the entry.
    pub line: usize,
}

/// Which client certificates an entry is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientMatch {
    /// By key.
    Key(Digest),
    /// By subject.
    Subject(NamePattern),
}

/// `[[compromised]]`: what others know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compromised {
    /// Certificates.
    pub certificates: Vec<CertificateHash>,
    /// Keys.
    pub keys: Vec<Digest>,
    /// Issuer and content octets of the serial number.
    pub serials: Vec<(NamePattern, Vec<u8>)>,
    /// Why.
    pub reason: String,
    /// Line of the entry.
    pub line: usize,
}

/// `[[suppress]]`: findings that shall not alert. All conditions given must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppression {
    /// Rules.
    pub rule: RulePattern,
    /// Clients; empty means all.
    pub src: Vec<Cidr>,
    /// Servers; empty means all.
    pub dst: Vec<Cidr>,
    /// Hosts.
    pub host: Option<HostPattern>,
    /// Key of the client certificate.
    pub client_certificate: Option<Digest>,
    /// Last day on which it holds; `None` means for ever.
    pub until: Option<Day>,
    /// Why.
    pub reason: String,
    /// Line of the entry.
    pub line: usize,
}

/// `[[severity]]`: another severity for a rule, everywhere or for a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeverityOverride {
    /// Rules.
    pub rule: RulePattern,
    /// Hosts.
    pub host: Option<HostPattern>,
    /// The severity.
    pub set: Severity,
    /// Line of the entry.
    pub line: usize,
}
