//! Paths from a leaf to a trust anchor: found and verified without time, judged at a time.
//!
//! Certificates come in any order, with duplicates and strangers among them; issuers that were not sent are looked for
//! among the anchors and the CA certificates seen so far. All of it is the sender's choice, so the search has a budget
//! that counts every question asked, also those the memo answers: the result must not depend on what other workers did.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use dashmap::DashMap;

use super::judge::{self, Purpose};
use super::roots::{Pool, TrustAnchors, key_distance};
use super::signature::{Verdict, verify_certificate};
use super::{Certificate, Facts, Sha256};

/// Certificates of the longest path that is followed.
pub const MAX_DEPTH: usize = 8;
/// Complete paths that are kept for judging.
const MAX_PATHS: usize = 16;

/// Verdicts by (child, key of the issuer), shared by the workers. A pure function's memo: forgetting costs time only.
#[derive(Debug)]
pub struct SignatureMemo {
    verdicts: DashMap<(Sha256, Sha256), Verdict, foldhash::fast::RandomState>,
    limit: usize,
}

impl Default for SignatureMemo {
    /// For a few thousand verdicts.
    fn default() -> Self {
        Self::new(1 << 20)
    }
}

impl SignatureMemo {
    /// A memo of about `bytes` bytes.
    pub fn new(bytes: usize) -> Self {
        Self { verdicts: DashMap::default(), limit: (bytes / 160).max(16) }
    }

    /// The verdict on `child` under the key of `issuer`, remembered or found.
    pub fn verify(&self, child: &Certificate, issuer: &Facts) -> Verdict {
        let key = (child.sha256, issuer.spki_sha256);
        if let Some(known) = self.verdicts.get(&key) {
            return *known;
        }
        let verdict = verify_certificate(child, &issuer.key);
        if self.verdicts.len() >= self.limit {
            let victim = self.verdicts.iter().next().map(|entry| *entry.key());
            victim.and_then(|victim| self.verdicts.remove(&victim));
        }
        self.verdicts.insert(key, verdict);
        verdict
    }

    /// Verdicts held.
    pub fn len(&self) -> usize {
        self.verdicts.len()
    }

    /// Nothing is held.
    pub fn is_empty(&self) -> bool {
        self.verdicts.is_empty()
    }
}

/// Work that one chain may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Signatures asked for. rustls-webpki allows 100; a path of eight with cross-signed twins asks for about 30.
    pub signatures: u32,
    /// Certificates stepped on.
    pub steps: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self { signatures: 100, steps: 1_000 }
    }
}

/// Issuer and subject are one name and the own key verifies the signature (or, where it cannot be checked, the key
/// identifiers do not contradict). Equal names alone prove nothing.
pub fn is_self_signed(certificate: &Certificate, memo: &SignatureMemo) -> bool {
    let Some(facts) = certificate.facts.as_deref() else { return false };
    if facts.issuer.normalized != facts.subject.normalized {
        return false;
    }
    match memo.verify(certificate, facts) {
        Verdict::Good => true,
        Verdict::Bad => false,
        Verdict::Unknown(_) => names_own_key(facts) != Some(false),
    }
}

/// Issuer and subject differ, yet the own key made the signature: a forger's shortcut.
pub fn is_signed_by_own_key(certificate: &Certificate, memo: &SignatureMemo) -> bool {
    let Some(facts) = certificate.facts.as_deref() else { return false };
    facts.issuer.normalized != facts.subject.normalized
        && names_own_key(facts) != Some(false)
        && memo.verify(certificate, facts) == Verdict::Good
}

/// The authority key identifier is that of the own key; `None` when there is none.
fn names_own_key(facts: &Facts) -> Option<bool> {
    let authority = facts.authority_key_identifier.as_deref()?;
    Some(authority == facts.key_sha1 || facts.subject_key_identifier.as_deref() == Some(authority))
}

/// What chains are verified against.
#[derive(Clone, Copy, Debug)]
pub struct Verifier<'a> {
    /// Trust anchors.
    pub anchors: &'a TrustAnchors,
    /// CA certificates seen so far.
    pub pool: &'a Pool,
    /// Verdicts known.
    pub memo: &'a SignatureMemo,
    /// Work allowed.
    pub budget: Budget,
    /// What the chain is presented for.
    pub purpose: Purpose,
}

/// How a path ends; the more trustworthy the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ending {
    /// At a trust anchor, every signature good.
    Anchor,
    /// At a trust anchor, with a signature that could not be checked.
    AnchorUnverified,
    /// At a self-signed CA that is no anchor.
    PrivateRoot,
    /// The leaf is self-signed.
    SelfSigned,
    /// A signature is bad under a key that was presented for it or that is an anchor's.
    BadSignature,
    /// Longer than [`MAX_DEPTH`].
    TooLong,
    /// The budget ran out before a better path was found.
    Budget,
    /// At a certificate whose issuer has not been seen.
    Incomplete,
    /// The leaf does not parse, or there is none.
    Unparsable,
}

impl Ending {
    /// Stable name for events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Anchor => "trusted",
            Self::AnchorUnverified => "unverified",
            Self::BadSignature => "bad_signature",
            Self::PrivateRoot => "private_root",
            Self::SelfSigned => "self_signed",
            Self::Incomplete => "incomplete",
            Self::TooLong => "too_long",
            Self::Budget => "budget_exceeded",
            Self::Unparsable => "unparsable",
        }
    }
}

/// One path from the leaf on.
#[derive(Clone, Debug)]
pub struct Path {
    /// Leaf first.
    pub certificates: Vec<Arc<Certificate>>,
    /// How it ends.
    pub ending: Ending,
    /// With [`Ending::BadSignature`], the issuer whose key did not verify the last certificate.
    pub accused: Option<Arc<Certificate>>,
    /// First signature on the path that could not be checked: index of the child, and why.
    pub unverified: Option<(usize, &'static str)>,
    /// Certificates on it that were not presented but taken from the pool. Anyone can bring a twin of a CA (its name
    /// and key, another issuer) into the pool: such a path proves trust when it ends at an anchor, and little else.
    pub from_pool: usize,
    /// What it was presented for.
    pub purpose: Purpose,
    /// See [`vouched`](Self::vouched).
    vouched: OnceLock<usize>,
}

impl Path {
    fn new(certificates: Vec<Arc<Certificate>>, ending: Ending, purpose: Purpose) -> Self {
        let vouched = OnceLock::new();
        Self { certificates, ending, accused: None, unverified: None, from_pool: 0, purpose, vouched }
    }

    /// Who answers for the leaf: up to whoever signed what it must not (RFC 5280 section 6.1.4), for the CAs above have
    /// nothing to do with that. The owner of any certificate can sign another one, for whatever name.
    pub fn vouched(&self) -> &[Arc<Certificate>] {
        let end = *self.vouched.get_or_init(|| judge::vouched(self));
        self.certificates.get(..end).unwrap_or(&self.certificates)
    }

    /// All of it is [`vouched`](Self::vouched).
    pub fn is_vouched(&self) -> bool {
        self.vouched().len() == self.certificates.len()
    }

    /// Who answers for the leaf as far as signatures vouch for it: the issuer above one that could not be checked may have
    /// been put there by anybody.
    pub fn verified(&self) -> &[Arc<Certificate>] {
        let end = self.unverified.map_or(self.certificates.len(), |(child, _)| child.saturating_add(1));
        let vouched = self.vouched();
        vouched.get(..end).unwrap_or(vouched)
    }
}

/// What the signatures of a chain say; no time in it.
#[derive(Clone, Debug, Default)]
pub struct ChainReport {
    /// Paths found, the most trustworthy first; at least one.
    pub paths: Vec<Path>,
    /// Signature of each presented certificate under the key of the next one presented, where their names fit.
    pub presented: Vec<Option<Verdict>>,
    /// The budget ran out: there may be a better path.
    pub budget_exceeded: bool,
}

impl ChainReport {
    /// The best path's ending.
    pub fn ending(&self) -> Ending {
        self.paths.first().map_or(Ending::Unparsable, |path| path.ending)
    }

    /// The best path leads to an anchor, and nobody on it signed what he must not: there is no better one.
    pub fn is_anchored(&self) -> bool {
        self.paths.first().is_some_and(|path| path.ending == Ending::Anchor && path.is_vouched())
    }

    /// The issuer that the best path lacks, where it is incomplete: normalised name. `None` where all of it is known.
    pub fn missing_issuer(&self) -> Option<&str> {
        let path = self.paths.first().filter(|path| path.ending == Ending::Incomplete)?;
        let last = path.certificates.last()?.facts.as_deref()?;
        (last.issuer.normalized != last.subject.normalized).then_some(last.issuer.normalized.as_str())
    }

    /// An issuer was missing: worth asking again when a CA of that name appears. Normalised name of the issuer.
    pub fn missing_issuers(&self) -> impl Iterator<Item = &str> {
        let open = self.paths.iter().filter(|path| path.ending == Ending::Incomplete);
        let last = open.filter_map(|path| path.certificates.last()?.facts.as_deref());
        let issuers = last.map(|facts| (&facts.issuer.normalized, &facts.subject.normalized));
        issuers.filter(|(issuer, subject)| issuer != subject).map(|(issuer, _)| issuer.as_str())
    }
}

impl Verifier<'_> {
    /// Finds and verifies the paths of a chain as it was presented: leaf first, the rest in any order.
    ///
    /// The verdict comes from what was presented and from the anchors. What the pool adds, with a budget of its own, are
    /// paths to an anchor, and for an incomplete path who signed it: others fill the pool, and must not be able to make
    /// a chain look worse than it is.
    pub fn verify_chain(&self, presented: &[Arc<Certificate>]) -> ChainReport {
        let mut seen = HashSet::new();
        let unique: Vec<_> = presented.iter().filter(|certificate| seen.insert(certificate.sha256)).collect();
        let mut search = self.search(&unique, presented, false);
        if !self.pool.is_empty() {
            let open = search.report.paths.iter().map(|path| path.ending).min() == Some(Ending::Incomplete)
                && !search.report.budget_exceeded;
            let found = self.search(&unique, presented, true).report.paths;
            for path in found.into_iter().filter(|path| path.from_pool > 0 && path.unverified.is_none()) {
                match path.ending {
                    Ending::Anchor => search.keep(path),
                    // What a stranger's certificate leads to says nothing.
                    _ if open => search.keep(Path {
                        from_pool: path.from_pool,
                        ..Path::new(path.certificates, Ending::Incomplete, self.purpose)
                    }),
                    _ => {}
                }
            }
        }
        let adjacent = presented.windows(2).map(|pair| match pair {
            [child, issuer] => search.verdict_by_name(child, issuer),
            _ => None,
        });
        let links: Vec<_> = adjacent.collect();
        let mut report = search.report;
        report.presented = links;
        if report.paths.is_empty() || report.budget_exceeded {
            let ending = if report.budget_exceeded { Ending::Budget } else { Ending::Unparsable };
            let certificates = presented.first().cloned().into_iter().collect();
            report.paths.push(Path::new(certificates, ending, self.purpose));
        }
        report.paths.sort_by_key(rank);
        report
    }

    fn search<'a>(
        &'a self,
        unique: &[&'a Arc<Certificate>],
        presented: &[Arc<Certificate>],
        with_pool: bool,
    ) -> Search<'a, 'a> {
        let mut search = Search {
            verifier: self,
            presented: unique.to_vec(),
            with_pool,
            pooled: 0,
            left: self.budget,
            report: ChainReport::default(),
        };
        if let Some(leaf) = presented.first().filter(|leaf| leaf.facts.is_some()) {
            search.walk(&mut vec![Arc::clone(leaf)], None);
        }
        search
    }
}

/// The better path first. Among incomplete ones those that the pool made longer: they know who signed. One where somebody
/// signed what he must not is made by whoever wants to stand on it.
fn rank(path: &Path) -> (Ending, bool, bool, usize, usize) {
    let bare = path.ending == Ending::Incomplete && path.from_pool == 0;
    (path.ending, bare, !path.is_vouched(), path.from_pool, path.certificates.len())
}

struct Search<'a, 'b> {
    verifier: &'a Verifier<'b>,
    presented: Vec<&'a Arc<Certificate>>,
    /// Looks into the pool.
    with_pool: bool,
    /// Certificates of the pool on the path at hand.
    pooled: usize,
    left: Budget,
    report: ChainReport,
}

/// Where a candidate for an issuer comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Anchor,
    Presented,
    Pool,
}

impl Search<'_, '_> {
    fn walk(&mut self, path: &mut Vec<Arc<Certificate>>, unverified: Option<(usize, &'static str)>) {
        let Some(current) = path.last().cloned() else { return };
        let Some(facts) = current.facts.as_deref() else { return };
        if !self.spend_step() {
            return;
        }
        if self.verifier.anchors.is_anchor(&current) {
            let ending = if unverified.is_some() { Ending::AnchorUnverified } else { Ending::Anchor };
            return self.finish(path, ending, unverified);
        }
        let (mut followed, mut accused) = (false, None);
        if facts.issuer.normalized == facts.subject.normalized {
            if !self.spend_signature() {
                return;
            }
            if is_self_signed(&current, self.verifier.memo) {
                let ending = if path.len() == 1 { Ending::SelfSigned } else { Ending::PrivateRoot };
                return self.finish(path, ending, unverified);
            }
            // It says that it signed itself, and it did not.
            accused = (names_own_key(facts) == Some(true)).then(|| Arc::clone(&current));
        }
        for (source, candidate) in self.candidates(facts, path) {
            let Some(issuer) = candidate.facts.as_deref() else { continue };
            if !self.spend_signature() {
                return;
            }
            let unverified = match self.verifier.memo.verify(&current, issuer) {
                Verdict::Good => unverified,
                Verdict::Unknown(why) => unverified.or(Some((path.len() - 1, why))),
                Verdict::Bad => {
                    // Anyone can put a CA of any name into the pool, so a stranger from there accuses nobody. Key
                    // identifiers that differ say that another key of that name was meant.
                    if source != Source::Pool && key_distance(facts, &candidate) < 2 {
                        accused = accused.or(Some(candidate));
                    }
                    continue;
                }
            };
            followed = true;
            if path.len() >= MAX_DEPTH {
                self.finish(path, Ending::TooLong, unverified);
                continue;
            }
            let pooled = usize::from(source == Source::Pool);
            path.push(candidate);
            self.pooled += pooled;
            self.walk(path, unverified);
            self.pooled -= pooled;
            path.pop();
        }
        if !followed {
            let ending = if accused.is_some() { Ending::BadSignature } else { Ending::Incomplete };
            let path = Path::new(path.clone(), ending, self.verifier.purpose);
            self.keep(Path { accused, unverified, from_pool: self.pooled, ..path });
        }
    }

    /// Certificates whose subject is the issuer wanted, best fit first, none whose name and key the path has already.
    fn candidates(&self, child: &Facts, path: &[Arc<Certificate>]) -> Vec<(Source, Arc<Certificate>)> {
        let wanted = &child.issuer.normalized;
        let mut presented: Vec<_> = self
            .presented
            .iter()
            .filter(|other| other.facts.as_deref().is_some_and(|facts| facts.subject.normalized == *wanted))
            .copied()
            .collect();
        presented.sort_by_key(|candidate| key_distance(child, candidate));
        let anchors = self.verifier.anchors.issuers_of(child).into_iter().map(|found| (Source::Anchor, found));
        let pool = if self.with_pool { self.verifier.pool.issuers_of(child) } else { Vec::new() };
        let pool = pool.into_iter().map(|found| (Source::Pool, found));
        let mut seen: HashSet<Sha256> = HashSet::new();
        let on_path = |candidate: &Certificate| {
            let same =
                |a: &Facts, b: &Facts| a.spki_sha256 == b.spki_sha256 && a.subject.normalized == b.subject.normalized;
            path.iter().any(|step| match (step.facts.as_deref(), candidate.facts.as_deref()) {
                (Some(a), Some(b)) => same(a, b),
                _ => false,
            })
        };
        anchors
            .chain(presented.into_iter().map(|found| (Source::Presented, found)))
            .chain(pool)
            .filter(|(_, candidate)| seen.insert(candidate.sha256) && !on_path(candidate))
            .map(|(source, candidate)| (source, Arc::clone(candidate)))
            .collect()
    }

    fn verdict_by_name(&mut self, child: &Certificate, issuer: &Certificate) -> Option<Verdict> {
        let (child_facts, issuer_facts) = (child.facts.as_deref()?, issuer.facts.as_deref()?);
        if child_facts.issuer.normalized != issuer_facts.subject.normalized || !self.spend_signature() {
            return None;
        }
        Some(self.verifier.memo.verify(child, issuer_facts))
    }

    fn finish(&mut self, path: &[Arc<Certificate>], ending: Ending, unverified: Option<(usize, &'static str)>) {
        let path = Path::new(path.to_vec(), ending, self.verifier.purpose);
        self.keep(Path { unverified, from_pool: self.pooled, ..path });
    }

    /// Keeps a path; when there are many, the worst leaves, so that no number of dead ends hides a trusted path.
    fn keep(&mut self, path: Path) {
        self.report.paths.push(path);
        if self.report.paths.len() > MAX_PATHS {
            let worst = self.report.paths.iter().enumerate().max_by_key(|(_, path)| rank(path)).map(|(place, _)| place);
            worst.map(|place| self.report.paths.remove(place));
        }
    }

    fn spend_step(&mut self) -> bool {
        Self::spend(&mut self.left.steps, &mut self.report.budget_exceeded)
    }

    fn spend_signature(&mut self) -> bool {
        Self::spend(&mut self.left.signatures, &mut self.report.budget_exceeded)
    }

    fn spend(left: &mut u32, exceeded: &mut bool) -> bool {
        match left.checked_sub(1) {
            Some(rest) => *left = rest,
            None => *exceeded = true,
        }
        !*exceeded
    }
}
