//! What a server presented, reduced to what baseline and score ask for; owned, so that a case can be held.

use std::sync::Arc;

use super::record::Made;
use super::sketch::stable_hash;
use crate::detect::finding::{Cause, Seen};
use crate::detect::interception_products::{Product, product_of};
use crate::detect::knowledge::Knowledge;
use crate::detect::sighting::{HostKey, JudgedChain, Sighting, claimed_issuer};
use crate::policy::{Policy, Target, registrable_domain};
use crate::x509::chain::{Ending, Path, SignatureMemo, is_self_signed};
use crate::x509::name::matches_host;
use crate::x509::signature::Verdict;
use crate::x509::{AlternativeName, Certificate, Facts, KeyKind, Name, PublicKey, Sha256};

/// Characters of a name in findings.
const MAX_TEXT: usize = 256;
/// Seconds that an installer takes to make a CA and what it signs.
const ONE_RUN: u64 = 600;
/// Seconds by which CAs date back what they sign.
const BACKDATED: i64 = 86_400;

/// A certificate chain in the light of its host.
#[derive(Clone, Debug)]
pub struct Presented {
    /// The leaf.
    pub leaf: Arc<Certificate>,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub spki: Sha256,
    /// Who issued it.
    pub issuer: Issuer,
    /// When, beside its issuer.
    pub made: Made,
    /// Its path ends at an anchor, and no key on it is an internal CA's.
    pub public: bool,
    /// A key on its path is an internal CA's, as far as signatures vouch for it.
    pub internal: bool,
    /// The proxy of the organisation that may intercept this client.
    pub authorised: Option<String>,
    /// Every signature on its path is good and nothing is wrong with it at packet time.
    pub valid: bool,
    /// Self-signed.
    pub self_signed: bool,
    /// Signed by its own key under another issuer's name.
    pub own_key: bool,
    /// Signed certificate timestamps.
    pub sct: SctEvidence,
    /// Whether it is for the name of the host; `None` without a name.
    pub name_matches: Option<bool>,
    /// Registrable domain of that name.
    pub domain: Option<Arc<str>>,
    /// Names in lower case, sorted, each once.
    pub names: Arc<[String]>,
    /// See [`super::record::KnownCertificate::serial`].
    pub serial: [u8; 20],
    /// Seconds since the epoch.
    pub not_before: i64,
    /// Seconds since the epoch.
    pub not_after: i64,
    /// Kind of key.
    pub kind: KeyKind,
    /// About bits of symmetric strength of the key.
    pub strength: u16,
    /// Size and kind of the key for people.
    pub key_text: Arc<str>,
    /// The interception product whose name it bears, where its path is not public.
    pub product: Option<&'static Product>,
    /// Outcome of path building.
    pub ending: Ending,
    /// `trusted`, or the most telling reason against the path.
    pub status: &'static str,
    /// The ClientHello was not seen: it may have asked this address for any name, and each is a host of its own.
    pub unasked: bool,
    /// Where it was not seen: upper halves of the hashes of names that hosts of this one may have in their certificates, in
    /// order. A proxy makes one for the very name that it was asked for, the server may have one for all below its parent.
    pub kin: Arc<[u32]>,
}

/// A chain that was judged, for a host.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The verdict.
    pub chain: &'a JudgedChain,
    /// Its certificates in wire order.
    pub presented: &'a [Arc<Certificate>],
    /// The host that presented it.
    pub host: &'a HostKey,
    /// What the owner allows.
    pub policy: &'a Policy,
}

/// Who issued a leaf, as far as it can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// SHA-256 of the key that verified the leaf; where no key did, of what the leaf claims (name and identifier).
    pub key: Sha256,
    /// A key verified the leaf.
    pub verified: bool,
    /// Hash of the authority key identifier; 0 without.
    pub authority: u64,
    /// Its name, or as much of it as is told.
    pub text: Arc<str>,
}

/// What is known of signed certificate timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SctEvidence {
    /// Whether there were any could not be seen.
    Unknown,
    /// There are none.
    Absent,
    /// There are some.
    Present,
    /// The signature of one in the certificate verified under the key of a log that the policy knows.
    Verified,
}

impl Presented {
    /// What the server of this handshake presented; `None` without a certificate that parses.
    pub fn of(sighting: &Sighting<'_>, memo: &SignatureMemo) -> Option<Arc<Self>> {
        let judged = sighting.server?;
        let facts = sighting.observation.server_chain.first()?.facts.as_deref()?;
        let sct = sct(sighting, facts);
        let unasked = sighting.observation.handshake.client_hello.is_none();
        let place: usize = match sct {
            SctEvidence::Unknown => 0,
            SctEvidence::Absent => 1,
            SctEvidence::Present | SctEvidence::Verified => 2,
        };
        let place = judged.presented.get(if unasked { place.saturating_add(3) } else { place })?;
        let lasting = match place.get() {
            Some(known) => known,
            None => {
                let judged = Asked {
                    chain: judged,
                    presented: &sighting.observation.server_chain,
                    host: sighting.host,
                    policy: sighting.policy,
                };
                let mut fresh = Self { sct, unasked, ..Self::lasting(&judged, memo)? };
                if unasked {
                    fresh.kin = kin(&fresh.names);
                }
                // The same in every handshake with this chain: a list beside the certificate is not verified. Nor is one by
                // anybody's CA, for which it would not count: a stranger could have us verify signatures without end.
                let logs = &sighting.knowledge.logs;
                if sct == SctEvidence::Present
                    && fresh.public
                    && fresh.issuer.verified
                    && logs.vouch_for(&fresh.leaf, &fresh.issuer.key)
                {
                    fresh.sct = SctEvidence::Verified;
                }
                place.get_or_init(|| Arc::new(fresh))
            }
        };
        if sighting.policy.interceptions.is_empty() {
            return Some(Arc::clone(lasting));
        }
        let client = sighting.observation.ends.client.address;
        let authorised = lasting.signers(judged).find_map(|key| sighting.policy.interception_for(&key.0, client));
        Some(match authorised.filter(|_| !is_of_browsers(judged, sighting.knowledge)) {
            Some(proxy) => Arc::new(Self { authorised: Some(proxy.name.clone()), ..Self::clone(lasting) }),
            None => Arc::clone(lasting),
        })
    }

    /// The same chain, judged again.
    pub fn again(&self, asked: &Asked<'_>, memo: &SignatureMemo) -> Option<Self> {
        let kin = Arc::clone(&self.kin);
        Some(Self { sct: self.sct, unasked: self.unasked, kin, ..Self::lasting(asked, memo)? })
    }

    /// Keys of the CAs on its path, as far as signatures vouch for them.
    pub fn signers<'a>(&self, judged: &'a JudgedChain) -> impl Iterator<Item = Sha256> + use<'a> {
        let path = judged.path();
        let keys = path.into_iter().flat_map(Path::verified).filter_map(|one| one.facts.as_deref());
        keys.skip(1).map(|facts| facts.spki_sha256).chain(self.issuer.verified.then_some(self.issuer.key))
    }

    /// What is the same in every handshake with this chain and name under this policy, whoever the client is.
    #[cold]
    fn lasting(asked: &Asked<'_>, memo: &SignatureMemo) -> Option<Self> {
        let judged = asked.chain;
        let leaf = asked.presented.first()?;
        let facts = leaf.facts.as_deref()?;
        let path = judged.path();
        let ending = judged.judgement.ending;
        let anchored = judged.is_anchored();
        let mut keys = path.iter().flat_map(|path| path.verified()).filter_map(|one| one.facts.as_deref());
        let internal = keys.any(|facts| asked.policy.internal_ca_for(&facts.spki_sha256.0).is_some());
        let (self_signed, own_key) = if anchored {
            (false, false)
        } else {
            (is_self_signed(leaf, memo), !is_by_another_key(facts, path) && is_own_key(leaf, facts, memo))
        };
        let chain = asked.presented.iter().filter_map(|one| one.facts.as_deref());
        let names = |facts: &'_ Facts| [product_of(&facts.issuer), product_of(&facts.subject)];
        let product = product_of(&facts.issuer).or_else(|| chain.skip(1).flat_map(names).flatten().next());
        let host_name = asked.host.certain_name();
        Some(Self {
            leaf: Arc::clone(leaf),
            spki: facts.spki_sha256,
            issuer: issuer_of(facts, path, self_signed || own_key),
            made: if self_signed { Made::WithIssuer } else { made(facts, path) },
            public: anchored && !internal,
            internal,
            authorised: None,
            valid: matches!(ending, Ending::Anchor | Ending::PrivateRoot) && judged.judgement.problems.is_empty(),
            self_signed,
            own_key,
            sct: SctEvidence::Unknown,
            name_matches: host_name.map(|name| matches_host(facts, name)),
            domain: host_name.and_then(registrable_domain).map(Arc::from),
            names: names_of(facts).into(),
            serial: serial(&facts.serial),
            not_before: facts.not_before.map_or(i64::MIN, |at| at.seconds()),
            not_after: facts.not_after.map_or(i64::MAX, |at| at.seconds()),
            kind: facts.key.kind,
            strength: strength(&facts.key),
            key_text: format!("{} {}", facts.key.algorithm_name(), facts.key.bits).into(),
            product: product.filter(|_| !anchored),
            ending,
            status: judged.judgement.reason(),
            unasked: false,
            kin: Arc::default(),
        })
    }

    /// By a public root or an internal CA.
    pub fn is_trusted(&self) -> bool {
        self.public || self.internal
    }

    /// It came with signed certificate timestamps.
    pub fn has_sct(&self) -> bool {
        matches!(self.sct, SctEvidence::Present | SctEvidence::Verified)
    }

    /// Hashes of its names.
    pub fn name_hashes(&self) -> Vec<u64> {
        self.names.iter().map(|name| stable_hash(name.as_bytes())).collect()
    }

    /// What findings about it have in common: the issuer's key that nobody trusts, else the leaf's key.
    pub fn cause(&self) -> Cause {
        if self.is_trusted() || self.self_signed {
            Cause::LeafKey(self.spki)
        } else {
            Cause::IssuerKey(self.issuer.key)
        }
    }

    /// For the evidence of an alert.
    pub fn seen(&self) -> Seen {
        let sct = match self.sct {
            SctEvidence::Unknown => None,
            SctEvidence::Absent => Some(false),
            SctEvidence::Present | SctEvidence::Verified => Some(true),
        };
        Seen { sha256: self.leaf.sha256, spki: self.spki, sct, chain_status: self.status }
    }

    /// `"CN=Proxy CA" (private)`, for sentences.
    pub fn issuer_phrase(&self) -> String {
        if self.self_signed {
            return "itself (self-signed)".to_owned();
        }
        let kind = match (self.public, self.internal) {
            (true, _) => "public",
            (_, true) => "internal CA",
            _ if self.issuer.verified => "not trusted",
            _ => "unverified",
        };
        format!("\"{}\" ({kind})", self.issuer.text)
    }
}

/// The host as the policy sees it.
pub fn target<'a>(sighting: &Sighting<'a>) -> Target<'a> {
    let name = sighting.host.name.as_str();
    let name = name.strip_prefix("ech:").unwrap_or(name);
    let server = sighting.observation.ends.server;
    Target {
        name: Some(name).filter(|name| !name.starts_with("ip:")),
        address: server.address,
        port: sighting.host.port,
    }
}

/// The host for people: `login.example.com:443`.
pub fn host_text(sighting: &Sighting<'_>) -> Arc<str> {
    Arc::clone(sighting.host_text)
}

/// The names of a leaf, lower case, sorted, each once: the alternative names, or the common names where there are none.
pub fn names_of(facts: &Facts) -> Vec<String> {
    let alternative = facts.alternative_names.iter().filter_map(|name| match name {
        AlternativeName::Dns(name) => Some(name.to_ascii_lowercase()),
        AlternativeName::Ip(address) => Some(address.to_string()),
        _ => None,
    });
    let mut names: Vec<_> = alternative.collect();
    if names.is_empty() {
        names.extend(facts.subject.common_names.iter().map(|name| name.to_ascii_lowercase()));
    }
    names.sort_unstable();
    names.dedup();
    names
}

fn parent_of(name: &str) -> &str {
    name.split_once('.').map_or("", |(_, parent)| parent)
}

fn kin(names: &[String]) -> Arc<[u32]> {
    let upper = |name: &str| u32::try_from(stable_hash(name.as_bytes()) >> 32).unwrap_or(0);
    let mut kin = Vec::with_capacity(3 * names.len());
    for name in names {
        kin.push(upper(name));
        match name.strip_prefix("*.") {
            Some(parent) => kin.extend([upper(parent), upper(&format!("www.{parent}"))]),
            // A server often has the one for all below a domain for the domain itself, too.
            None => kin.extend([format!("*.{name}"), format!("*.{}", parent_of(name))].map(|name| upper(&name))),
        }
    }
    kin.sort_unstable();
    kin.dedup();
    kin.into()
}

/// The short form of a name for sentences: its common name, else its organisation, else all of it.
pub fn short_name(name: &Name) -> &str {
    let first = name.common_names.first().or_else(|| name.organizations.first());
    clipped(first.map_or(name.text.as_str(), String::as_str))
}

/// What findings say of a name: it may be as long as a message, and many findings hold it.
pub fn clipped(text: &str) -> &str {
    text.char_indices().nth(MAX_TEXT).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// About bits of symmetric strength (NIST SP 800-57 part 1, table 2), as far as 112: everything above is usual, and
/// RSA-2048 beside P-256 says nothing.
pub fn strength(key: &PublicKey) -> u16 {
    let bits: u16 = match key.kind {
        KeyKind::Rsa | KeyKind::RsaPss | KeyKind::Dsa => match key.bits {
            0..=1023 => 64,
            1024..=2047 => 80,
            _ => 112,
        },
        KeyKind::Ec | KeyKind::Ed25519 | KeyKind::Ed448 => u16::try_from(key.bits / 2).unwrap_or(u16::MAX),
        KeyKind::Other => 112,
    };
    bits.min(112)
}

/// Issuer and subject differ, yet the leaf's own key made the signature. Key identifiers are not asked: who forges a
/// certificate may write any, and some CAs make them otherwise than by SHA-1.
fn is_own_key(leaf: &Certificate, facts: &Facts, memo: &SignatureMemo) -> bool {
    facts.issuer.normalized != facts.subject.normalized && memo.verify(leaf, facts) == Verdict::Good
}

/// A key that is not the leaf's own verified it: the own key need not be tried.
fn is_by_another_key(facts: &Facts, path: Option<&Path>) -> bool {
    let verified = path.filter(|path| path.unverified.is_none_or(|(child, _)| child > 0));
    let issuer = verified.and_then(|path| path.certificates.get(1)?.facts.as_deref());
    issuer.is_some_and(|issuer| {
        let (one, other) = (&issuer.key, &facts.key);
        match one.modulus.is_empty() || other.modulus.is_empty() {
            // A point has several encodings, each with a length of its own.
            true => one.kind != other.kind || (one.bytes.len() == other.bytes.len() && one.bytes != other.bytes),
            false => one.modulus != other.modulus,
        }
    })
}

/// It leads to one of Mozilla's roots: no proxy of the owner's is below one, whatever the policy says.
pub fn is_of_browsers(judged: &JudgedChain, knowledge: &Knowledge) -> bool {
    let root = judged.path().and_then(|path| path.certificates.last());
    judged.judgement.ending == Ending::Anchor && root.is_some_and(|root| knowledge.builtin.is_anchor(root))
}

/// The certificate whose key verified the leaf.
fn above(path: Option<&Path>) -> Option<&Facts> {
    path.filter(|path| path.unverified.is_none_or(|(child, _)| child > 0))?.certificates.get(1)?.facts.as_deref()
}

fn made(facts: &Facts, path: Option<&Path>) -> Made {
    let issuer = above(path).and_then(|issuer| issuer.not_before);
    let Some((leaf, issuer)) = facts.not_before.zip(issuer) else { return Made::Otherwise };
    match leaf.seconds().saturating_sub(issuer.seconds()) {
        later if later.unsigned_abs() <= ONE_RUN => Made::WithIssuer,
        later if later < -BACKDATED => Made::BeforeIssuer,
        _ => Made::Otherwise,
    }
}

fn issuer_of(facts: &Facts, path: Option<&Path>, own_key: bool) -> Issuer {
    let authority = facts.authority_key_identifier.as_deref().map_or(0, stable_hash);
    let text = clipped(&facts.issuer.text).into();
    let above = above(path);
    let verified = if own_key { Some(facts.spki_sha256) } else { above.map(|facts| facts.spki_sha256) };
    let key = verified.unwrap_or_else(|| claimed_issuer(facts));
    Issuer { key, verified: verified.is_some(), authority, text }
}

/// A list in the TLS extension counts; whether a staple holds one is not looked at, so a staple leaves it open.
fn sct(sighting: &Sighting<'_>, facts: &Facts) -> SctEvidence {
    let handshake = &sighting.observation.handshake;
    let known = sighting.server.and_then(|judged| judged.leaf.get()).map(|view| view.scts);
    let embedded = match known {
        Some(known) => known,
        None => !facts.scts.is_empty(),
    };
    if embedded || sighting.gist.scts {
        return SctEvidence::Present;
    }
    if sighting.gist.scts_offered && handshake.ocsp_response.is_none() {
        SctEvidence::Absent
    } else {
        SctEvidence::Unknown
    }
}

fn serial(octets: &[u8]) -> [u8; 20] {
    let mut out = [0; 20];
    out.iter_mut().rev().zip(octets.iter().rev()).for_each(|(to, from)| *to = *from);
    out
}
