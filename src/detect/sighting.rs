//! What a detector is asked about: one handshake with everything that was already found out about it.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::detect::client_kind::ClientKind;
use crate::detect::finding::{AlertId, Cause, Finding};
use crate::detect::gist::Gist;
use crate::detect::hosts::Hosts;
use crate::detect::hosts::presented::Presented;
use crate::detect::keys::Outdated;
use crate::detect::knowledge::Knowledge;
use crate::detect::observation::{Ends, Observation};
use crate::detect::weak_rsa::WeakRsa;
use crate::policy::Policy;
use crate::time::{Timestamp, ValidityTime};
use crate::tls::{Handshake, Protocol, ServerHello};
use crate::x509::chain::{ChainReport, Ending, Path};
use crate::x509::judge::Judgement;
use crate::x509::roots::TrustAnchors;
use crate::x509::{Facts, Sha256};
use sha2::Digest as _;

/// One handshake on its way past the detectors, in capture order.
#[derive(Clone, Copy, Debug)]
pub struct Sighting<'a> {
    /// The handshake.
    pub observation: &'a Observation,
    /// Which host it was with.
    pub host: &'a HostKey,
    /// [`HostKey::text`] of it.
    pub host_text: &'a Arc<str>,
    /// [`stable_hash`](super::hosts::sketch::stable_hash) of its name.
    pub name_hash: u64,
    /// The capture's clock at its place: the time that memory ages by.
    pub clock: Timestamp,
    /// Packet time for rules about validity; `None` where the packet's time is not known.
    pub at: Option<ValidityTime>,
    /// The server's chain, judged at packet time; `None` without certificates.
    pub server: Option<&'a JudgedChain>,
    /// The client's chain.
    pub client: Option<&'a JudgedChain>,
    /// What is asked of its hellos.
    pub gist: &'a Gist,
    /// What kind of client it is; `None` without a ClientHello.
    pub client_kind: Option<&'a ClientKind>,
    /// What the owner allows.
    pub policy: &'a Policy,
    /// Lists, revocation lists, anchors.
    pub knowledge: &'a Knowledge,
    /// Reading captures, not watching: memory begins empty and trust on first use is all there is.
    pub offline: bool,
}

/// A chain with its verdict.
#[derive(Debug)]
pub struct JudgedChain {
    /// Paths and signatures; no time in it.
    pub report: ChainReport,
    /// Validity, name and usage at packet time.
    pub judgement: Judgement,
    /// Issuer and subject of the leaf differ, yet its own key signed it.
    pub signed_by_own_key: bool,
    /// What the rules about hosts ask of it, as far as it is the same in every handshake; made at its first use, for each
    /// that can be known of signed certificate timestamps; behind these, the same where no ClientHello was seen.
    pub presented: [OnceLock<Arc<Presented>>; 6],
    /// See [`cause`](Self::cause).
    pub cause: OnceLock<Option<Cause>>,
    /// Depth and hash function of the first weak signature on the best path; made at its first use.
    pub weak_signature: OnceLock<Option<(usize, &'static str)>>,
    /// What most checks ask of the leaf; made at its first use.
    pub leaf: OnceLock<LeafView>,
    /// Cause of CERT-002.
    pub expiring: OnceLock<Box<KnownCause>>,
    /// Cause of CERT-010 with the host that asked first.
    pub wrong_usage: OnceLock<Box<KnownCause>>,
    /// Cause of CERT-010 with the first CA that is misused.
    pub wrong_usage_of_ca: OnceLock<Box<KnownCause>>,
    /// How the leaf's RSA key can be factored; made at its first use.
    pub factorable: OnceLock<Option<WeakRsa>>,
    /// What does not have to be asked again.
    pub quiet: Quiet,
}

/// What most checks ask of a leaf, in one place: its facts are spread over much memory.
#[derive(Clone, Copy, Debug)]
pub struct LeafView {
    /// First moment of validity.
    pub not_before: Option<ValidityTime>,
    /// Last moment of validity.
    pub not_after: Option<ValidityTime>,
    /// `keyUsage`.
    pub key_usage: Option<u16>,
    /// `keyUsage` apart, something is wrong with what the chain is used for (CERT-010).
    pub misused: bool,
    /// Something is wrong with what a CA of the chain is used for (CERT-010).
    pub misused_ca: bool,
    /// Something is wrong with its key (CRYP-003).
    pub weak_key: bool,
    /// It holds signed certificate timestamps.
    pub scts: bool,
}

/// What findings of one rule about one chain of one host have in common.
#[derive(Debug)]
pub struct KnownCause {
    /// The host for people.
    pub host: Arc<str>,
    /// The cause.
    pub cause: Cause,
    /// Id of its alert.
    pub id: AlertId,
}

/// States of memories in which rules took note of a chain and nothing came of it, nor changed by it: where nothing that was
/// there changed since, nothing comes of it again.
///
/// A state is a count of changes plus one; 0 stands for none.
#[derive(Debug, Default)]
pub struct Quiet {
    /// Of [`CertificateKeys`](super::keys::CertificateKeys).
    pub keys: AtomicU64,
    /// Of the certificates of [`Nonces`](super::nonces::Nonces).
    pub nonces: AtomicU64,
    /// Of the CAs by which MITM-005 is asked.
    pub issuers: AtomicU64,
    /// Of the RSA keys that are tested at the end.
    pub moduli: AtomicU64,
    /// Of the issuers of accepted certificates.
    pub accepted: AtomicU64,
    /// Where the spread of its leaf stood last.
    leaf: AtomicU32,
}

impl Quiet {
    /// Where the spread of its leaf stood last.
    pub fn leaf_place(&self) -> u32 {
        self.leaf.load(Ordering::Relaxed)
    }

    /// It stands there now.
    pub fn set_leaf_place(&self, place: u32) {
        self.leaf.store(place, Ordering::Relaxed);
    }
}

/// Whether a rule was quiet in the state after this many changes.
pub fn was_quiet(state: &AtomicU64, changes: u64) -> bool {
    state.load(Ordering::Relaxed) == changes.saturating_add(1)
}

/// A rule was quiet in the state after this many changes.
pub fn note_quiet(state: &AtomicU64, changes: u64) {
    state.store(changes.saturating_add(1), Ordering::Relaxed);
}

impl JudgedChain {
    /// The path that was judged.
    pub fn path(&self) -> Option<&Path> {
        let chosen = &self.judgement.path;
        let same = |path: &&Path| path.certificates.iter().map(|one| one.sha256).eq(chosen.iter().copied());
        self.report.paths.iter().find(same).or_else(|| self.report.paths.first())
    }

    /// That path leads to a trust anchor, and nobody on it signed what it must not.
    pub fn is_anchored(&self) -> bool {
        self.judgement.ending == Ending::Anchor && self.path().is_some_and(Path::is_vouched)
    }

    /// What findings about this chain have in common: the issuer's key where a private one signed, the leaf's key where
    /// it signed itself, the issuer that the leaf claims where none is known to have signed. `None` for public chains.
    pub fn cause(&self) -> Option<Cause> {
        self.cause.get_or_init(|| self.make_cause()).clone()
    }

    fn make_cause(&self) -> Option<Cause> {
        let path = self.report.paths.first()?;
        let key = |depth: usize| Some(path.certificates.get(depth)?.facts.as_deref()?.spki_sha256);
        match path.ending {
            Ending::Anchor | Ending::AnchorUnverified if path.is_vouched() => None,
            _ if self.signed_by_own_key => Some(Cause::IssuerKey(key(0)?)),
            Ending::SelfSigned => Some(Cause::LeafKey(key(0)?)),
            Ending::BadSignature | Ending::Unparsable => None,
            _ => key(1).filter(|_| path.unverified.is_none_or(|(child, _)| child > 0)).map(Cause::IssuerKey).or_else(
                || {
                    let leaf = path.certificates.first()?;
                    Some(Cause::IssuerKey(claimed_issuer(leaf.facts.as_deref()?)))
                },
            ),
        }
    }
}

/// Stands for the key of an issuer that has not been seen: a hash of its name and key identifier as the child has them.
pub fn claimed_issuer(child: &Facts) -> Sha256 {
    let mut hash = sha2::Sha256::new();
    hash.update(b"claimed");
    hash.update(child.issuer.normalized.as_bytes());
    hash.update(child.authority_key_identifier.as_deref().unwrap_or_default());
    Sha256(hash.finalize().into())
}

/// Identity of a host: what its baseline is kept under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostKey {
    /// Lower-case server name, `ech:<outer name>` where an encrypted ClientHello may hide another, or `ip:<address>` without a name.
    pub name: String,
    /// Server port.
    pub port: u16,
}

impl HostKey {
    /// The host of a handshake.
    pub fn of(observation: &Observation) -> Self {
        Self::between(&observation.handshake, &observation.ends)
    }

    /// The host of a handshake between these ends.
    pub fn between(handshake: &Handshake, ends: &Ends) -> Self {
        let port = ends.server.port;
        let hello = handshake.client_hello.as_deref();
        let name = hello.and_then(|hello| hello.server_name.as_deref()).and_then(host_name);
        let name = match (name, may_hide_name(handshake)) {
            (Some(name), false) => name,
            (Some(name), true) => format!("ech:{name}"),
            (None, _) => Self::name_of(ends.server.address),
        };
        Self { name, port }
    }

    /// What stands for the name where a client gave none.
    pub fn name_of(server: IpAddr) -> String {
        match server {
            IpAddr::V4(address) => format!("ip:{address}"),
            IpAddr::V6(address) => format!("ip:[{address}]"),
        }
    }

    /// The server name, where there is one: also the outer one of an encrypted ClientHello.
    pub fn server_name(&self) -> Option<&str> {
        if self.name.starts_with("ip:") {
            return None;
        }
        Some(self.name.strip_prefix("ech:").unwrap_or(&self.name))
    }

    /// As [`Display`](fmt::Display) writes it.
    pub fn text(&self) -> String {
        let port = self.port.to_string();
        let mut text = String::with_capacity(self.name.len().saturating_add(port.len()).saturating_add(1));
        text.push_str(&self.name);
        text.push(':');
        text.push_str(&port);
        text
    }

    /// The name that certificates are measured against: none with an encrypted ClientHello, whose name is only the outer
    /// one.
    pub fn certain_name(&self) -> Option<&str> {
        self.server_name().filter(|_| !self.name.starts_with("ech:"))
    }
}

impl fmt::Display for HostKey {
    /// `login.example.com:443`, `ip:192.0.2.1:443`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// The server name may be only the outer one of an encrypted ClientHello. Most browsers send that extension always, filled
/// with nothing; a server that chose less than TLS 1.3 knows none (RFC 9849) and was asked for what stands there.
pub(super) fn may_hide_name(handshake: &Handshake) -> bool {
    let accepts = |hello: &ServerHello| match handshake.protocol {
        Protocol::Tls => hello.version() > 0x0303,
        Protocol::Dtls => hello.version() < 0xfefd,
        Protocol::Quic => true,
    };
    handshake.client_hello.as_deref().is_some_and(|hello| hello.encrypted_client_hello)
        && handshake.server_hello.as_deref().is_none_or(accepts)
}

/// The host name that raw octets of `server_name` hold, in lower case without trailing dot; `None` when they are no name
/// (RFC 1123 section 2.1 with underscores; an address is no name, RFC 6066 section 3).
fn host_name(raw: &[u8]) -> Option<String> {
    let raw = raw.strip_suffix(b".").unwrap_or(raw);
    if raw.len() > 253 {
        return None;
    }
    let mut name = String::with_capacity(raw.len());
    // Octets of the label so far, whether all of them are digits, and the last one.
    let (mut length, mut digits, mut last) = (0_usize, true, b'-');
    let is_label = |length: usize, last: u8| (1..=63).contains(&length) && last != b'-';
    for octet in raw.iter().copied() {
        match octet {
            b'.' if is_label(length, last) => (length, digits, last) = (0, true, b'-'),
            b'-' if length == 0 => return None,
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' => {
                length = length.saturating_add(1);
                digits &= octet.is_ascii_digit();
                last = octet;
            }
            _ => return None,
        }
        name.push(char::from(octet.to_ascii_lowercase()));
    }
    (is_label(length, last) && !digits).then_some(name)
}

/// A chain that is to be judged again.
#[derive(Clone, Debug)]
pub struct WaitingChain {
    /// What the detector knows it by.
    pub number: u64,
    /// The handshake that presented it.
    pub observation: Arc<Observation>,
    /// The name it is asked for.
    pub name: Option<String>,
    /// When.
    pub at: Option<ValidityTime>,
}

/// A rule with memory, or a family of them. Sees every handshake in capture order, in one thread.
pub trait Detector {
    /// Takes note of a handshake and says what is wrong with it.
    fn observe(&mut self, sighting: &Sighting<'_>, findings: &mut Vec<Finding>);

    /// The clock moved on: cases that were held for more evidence may be over.
    fn advance(&mut self, clock: Timestamp, policy: &Policy, findings: &mut Vec<Finding>);

    /// The capture is over: what is still held is decided.
    fn finish(&mut self, policy: &Policy, findings: &mut Vec<Finding>);

    /// Live: what was learned is kept, if that is due. Called also while no handshake comes.
    fn save(&mut self, _clock: Timestamp) {}

    /// There are other trust anchors from now on.
    fn renew(&mut self, _anchors: &Arc<TrustAnchors>) {}

    /// The chain with the least number above `after` that lacks an issuer of this name (normalised).
    fn next_waiting(&self, _issuer: &str, _after: Option<u64>) -> Option<WaitingChain> {
        None
    }

    /// A chain that waited was judged again.
    fn judged_again(&mut self, _waiting: &WaitingChain, _chain: &JudgedChain, _knowledge: &Knowledge) {}

    /// How many entries of its memory were forgotten for want of room.
    fn forgotten(&self) -> u64 {
        0
    }

    /// What it remembered of servers and compares no more, since later ones took its place.
    fn outdated(&self) -> Outdated {
        Outdated::default()
    }

    /// The known hosts, where they are its memory.
    fn known_hosts(&self) -> Option<&Hosts> {
        None
    }
}
