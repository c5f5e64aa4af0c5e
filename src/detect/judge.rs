//! The judge: verifies chains, asks the checks and the detectors, applies the policy. One thread, capture order.

use std::cell::OnceCell;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use hashbrown::Equivalent;

use crate::policy::{Day, Policy, Profile, Subject, Target};
use crate::time::{Timestamp, ValidityTime};
use crate::x509::chain::{Budget, ChainReport, Ending, SignatureMemo, Verifier, is_signed_by_own_key};
use crate::x509::judge::{Purpose, Question, judge};
use crate::x509::roots::Pool;
use crate::x509::{Certificate, Sha256};

use super::alerts::When;
use super::case::{Case, validity_time};
use super::catalogue::{CAPTIVE_PORTAL, Effect, NAME_MISMATCH, UNTRUSTED_ISSUER};
use super::certificate;
use super::crypto::{self, CipherWeakness, Lasting};
use super::finding::{AlertId, Cause, Completion, Finding};
use super::gist::{Gist, HostMemo, KnownHost};
use super::hosts::Hosts;
use super::hosts::backing::Backing;
use super::keys::Outdated;
use super::knowledge::Knowledge;
use super::listed;
use super::memory::Memory;
use super::observation::Observation;
use super::open_chains::OpenChains;
use super::policy_rules;
use super::recent::{Judged, Recent};
use super::sighting::{Detector, HostKey, JudgedChain, Quiet, Sighting, note_quiet, was_quiet};
use super::weak_rsa::{self, WeakRsa};
use appeared::Appeared;

mod again;
mod appeared;
#[cfg(test)]
mod issuer_tests;
mod shared_factors;

/// Chains whose verdict is remembered.
const CHAINS: usize = 20_000;
/// Pairs of chain and name whose judgement is remembered.
const JUDGEMENTS: usize = 40_000;
/// Bytes of certificates that both hold. One may be as large as a message, and what was read of it several times that.
const HELD_BYTES: usize = 256 << 20;
/// Hosts whose mismatches are counted up to the third.
const MISMATCHES: usize = 20_000;
/// RSA keys whose weakness is remembered.
const KEYS: usize = 50_000;
/// Hosts of the policy whose last leaf is remembered.
const LEAVES: usize = 10_000;
/// Issuers that were not seen and may yet be.
const INCOMPLETE: usize = 4_096;
/// RSA keys that are tested for shared primes at the end, the latest; all of an inventory's are tested by
/// `inventory audit-keys`. The work grows with the square of their number.
const MODULI: usize = 4_000;
/// Bytes of a certificate whose key is tested for shared primes; usual ones have some ten thousand.
const MODULUS_BYTES: usize = 64 << 10;
const _: () = assert!(MODULI * MODULUS_BYTES <= HELD_BYTES, "they hold no more than all chains do");
/// Leaves whose mismatches are remembered, and alerts of each: a portal explains them.
const MISNAMED: usize = 4_096;
const MISNAMED_ALERTS: usize = 64;
/// Findings of one handshake that a list is kept for: all that are held of one cause may be told with it.
const SPARE: usize = 320;
/// Mismatches before an unfinished handshake counts.
const MISMATCHES_NEEDED: u8 = 3;

/// Verifies, checks and detects.
pub struct Judge {
    knowledge: Arc<Knowledge>,
    memo: Arc<SignatureMemo>,
    pool: Pool,
    /// Rises with every certificate that the pool takes in.
    generation: u64,
    chains: Memory<ChainKey, Chain>,
    judgements: Memory<(u64, Option<String>), Judged>,
    recent: Recent,
    /// Bytes of certificates that came into both since they were emptied last, and how many may.
    held: (usize, usize),
    next_chain: u64,
    mismatches: Memory<AlertId, u8>,
    /// Alerts about the names of a leaf.
    misnamed: Memory<Sha256, Misnamed>,
    keys: Memory<Sha256, Option<WeakRsa>>,
    ciphers: Memory<u16, Option<CipherWeakness>>,
    /// Hosts of handshakes that come without their gist.
    hosts: HostMemo,
    leaves: Leaves,
    /// One chain of each issuer that was not seen, by the cause of the alert about it.
    incomplete: Memory<Cause, Vec<Arc<Certificate>>>,
    /// Findings about such chains, where they wait.
    open: Option<OpenChains>,
    /// Findings of pins and allowed issuers about such chains, by leaf.
    undecided: OpenChains,
    when: When,
    /// The CAs that the last handshake brought.
    fresh: Vec<Arc<Certificate>>,
    /// CAs that chains may have waited for.
    appeared: Appeared,
    /// RSA moduli by key, with the finding to make where one shares a prime.
    moduli: Memory<Sha256, Finding>,
    detectors: Vec<Box<dyn Detector + Send>>,
    offline: bool,
    /// An empty list to write into.
    spare: Vec<Finding>,
    /// The knowledge once more, for the handshake at hand: counting who holds it would wait for all that was written.
    lent: Option<Arc<Knowledge>>,
    /// What earlier runs learned.
    backing: Option<Arc<dyn Backing>>,
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge")
            .field("pool", &self.pool.len())
            .field("detectors", &self.detectors.len())
            .finish_non_exhaustive()
    }
}

/// Number of a chain and the name it is asked for.
#[derive(Clone, Copy, Debug, Hash)]
struct ChainAndName<'a>(u64, Option<&'a str>);

impl Equivalent<(u64, Option<String>)> for ChainAndName<'_> {
    fn equivalent(&self, (number, name): &(u64, Option<String>)) -> bool {
        self.0 == *number && self.1 == name.as_deref()
    }
}

/// Leaf and key that hosts of the policy showed last.
type Leaves = Memory<HostKey, (Sha256, Sha256)>;

/// What a leaf was shown for that it does not name.
#[derive(Clone, Debug, Default)]
struct Misnamed {
    alerts: Vec<AlertId>,
    is_portal: bool,
}

/// What became of an alert, now that everything was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterthought {
    /// The rule does not hold after all.
    Retract(&'static str),
    /// It is a part of this alert.
    Unite(AlertId),
}

/// Certificates of a chain in wire order, and who presented it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ChainKey {
    certificates: Box<[Sha256]>,
    server: bool,
}

impl Hash for ChainKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.certificates.iter().for_each(|one| one.hash(state));
        self.server.hash(state);
    }
}

/// [`ChainKey`] of a chain at hand.
#[derive(Clone, Copy, Debug)]
struct ChainOf<'a>(&'a [Arc<Certificate>], bool);

impl Hash for ChainOf<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.iter().for_each(|one| one.sha256.hash(state));
        self.1.hash(state);
    }
}

impl Equivalent<ChainKey> for ChainOf<'_> {
    fn equivalent(&self, known: &ChainKey) -> bool {
        self.1 == known.server && self.0.iter().map(|one| &one.sha256).eq(known.certificates.iter())
    }
}

#[derive(Clone, Debug)]
struct Chain {
    number: u64,
    generation: u64,
    report: Arc<ChainReport>,
    signed_by_own_key: bool,
}

impl Judge {
    /// A judge without detectors.
    pub fn new(knowledge: Arc<Knowledge>, memo: Arc<SignatureMemo>, (pool_bytes, offline): (usize, bool)) -> Self {
        Self {
            memo,
            pool: pool_of(&knowledge, Pool::new(pool_bytes)),
            knowledge,
            generation: 0,
            chains: Memory::new(CHAINS),
            judgements: Memory::new(JUDGEMENTS),
            recent: Recent::default(),
            held: (0, HELD_BYTES),
            next_chain: 0,
            mismatches: Memory::new(MISMATCHES),
            misnamed: Memory::new(MISNAMED),
            keys: Memory::new(KEYS),
            ciphers: Memory::new(usize::from(u16::MAX)),
            hosts: HostMemo::default(),
            leaves: Memory::new(LEAVES),
            incomplete: Memory::new(INCOMPLETE),
            open: None,
            undecided: OpenChains::default(),
            when: When::AtEnd,
            fresh: Vec::new(),
            appeared: Appeared::default(),
            moduli: Memory::new(MODULI),
            detectors: Vec::new(),
            offline,
            spare: Vec::new(),
            lent: None,
            backing: None,
        }
    }

    /// Asks here which leaf a host of the policy showed last in earlier runs.
    pub fn set_backing(&mut self, backing: Arc<dyn Backing>) {
        self.backing = Some(backing);
    }

    /// Adds a detector; they are asked in this order.
    pub fn add(&mut self, detector: Box<dyn Detector + Send>) {
        self.detectors.push(detector);
    }

    /// Findings about chains whose issuer was not seen wait for it: to the end of the input, or where alerts are told
    /// as it happens, as long as the policy says.
    pub fn hold_open_chains(&mut self, when: When) {
        self.open = Some(OpenChains::default());
        self.when = when;
    }

    /// What is wrong with a handshake. `clock` is the capture's clock at its place.
    pub fn observe(&mut self, observation: &Observation, clock: Timestamp) -> Vec<Finding> {
        let mut findings = self.observe_briefly(observation, clock, &mut |_| true);
        findings.iter_mut().for_each(Finding::complete);
        findings
    }

    /// [`observe`](Self::observe) where only some findings are read: of those that are not `wanted`, message and evidence
    /// may be missing; others may have to be [completed](Finding::complete).
    pub fn observe_briefly(
        &mut self,
        observation: &Observation,
        clock: Timestamp,
        wanted: &mut dyn FnMut(&mut Finding) -> bool,
    ) -> Vec<Finding> {
        let fresh = OnceCell::new();
        let gist = observation.gist.as_ref().unwrap_or_else(|| {
            fresh.get_or_init(|| Gist::of(&observation.handshake, &observation.ends, (None, &mut self.hosts)))
        });
        let host = &gist.host.key;
        let at = validity_time(&observation.handshake.first);
        let knowledge = self.lent.take().unwrap_or_else(|| Arc::clone(&self.knowledge));
        let server = self.judged_with(&gist.host, (&observation.server_chain, at));
        let client = self.judged(&observation.client_chain, (None, at), Purpose::Client).map(|judged| judged.chain);
        let sighting = Sighting {
            observation,
            host,
            host_text: &gist.host.text,
            name_hash: gist.host.name_hash,
            clock,
            at,
            server: server.as_deref(),
            client: client.as_deref(),
            gist,
            client_kind: gist.client_kind.as_deref(),
            policy: &knowledge.policy,
            knowledge: &knowledge,
            offline: self.offline,
        };
        let mut findings = std::mem::take(&mut self.spare);
        let case = Case::new(&sighting, &knowledge, &gist.host);
        certificate::check(&case, &mut findings);
        let open = |chain: &&JudgedChain| chain.judgement.ending == Ending::Incomplete;
        let is_open = sighting.server.as_ref().is_some_and(open);
        let lasting = Lasting {
            factorable: server
                .as_deref()
                .and_then(|chain| *chain.factorable.get_or_init(|| weak_key(&mut self.keys, observation))),
            cipher: weak_cipher(&mut self.ciphers, gist.cipher),
        };
        crypto::check(&case, lasting, &mut findings);
        listed::check(&case, &mut findings);
        policy_rules::check(&case, last_leaf((&mut self.leaves, self.backing.as_deref()), &case), &mut findings);
        for detector in &mut self.detectors {
            detector.observe(&sighting, &mut findings);
        }
        self.note_modulus(&case);
        self.explain_mismatch(&case, &mut findings);
        findings.retain_mut(|finding| self.holds(finding, observation) && settle(finding, &knowledge.policy));
        if let Some(chain) = server.as_deref().filter(|_| is_open) {
            self.hold(chain, (&case, clock), &mut findings);
            self.hold_undecided(chain, (observation, clock), &mut findings);
            // Its issuer has only a name as yet.
            if let Some(claimed) = chain.cause()
                && findings.iter().any(|one| one.cause == claimed)
            {
                self.incomplete.entry(&claimed, || observation.server_chain.clone());
            }
        }
        for finding in &mut findings {
            // What needs no case can be written when the findings before it were counted: many of one cause come at once.
            if let Some(Completion::OfCase(write)) = finding.completion.take_if(|one| one.needs_case())
                && wanted(finding)
            {
                write(&case, finding);
            }
        }
        self.lent = Some(knowledge);
        // What waited is about earlier handshakes.
        let mut all = self.completed_by_fresh();
        if all.is_empty() {
            return findings;
        }
        all.append(&mut findings);
        all
    }

    /// Takes the emptied list of findings of a handshake back: most lists are as short as the one before.
    pub fn give_back(&mut self, mut list: Vec<Finding>) {
        list.clear();
        if list.capacity() > self.spare.capacity() && list.capacity() <= SPARE {
            self.spare = list;
        }
    }

    /// A certificate that answers for everything is one alert, not one for each name that it does not hold.
    fn explain_mismatch(&mut self, case: &Case<'_>, findings: &mut Vec<Finding>) {
        let portal = findings.iter().any(|finding| finding.rule == &CAPTIVE_PORTAL);
        let mismatch = findings.iter().find(|finding| finding.rule == &NAME_MISMATCH).map(|one| one.cause.alert_id());
        let Some((leaf, _)) = case.leaf().filter(|_| portal || mismatch.is_some()) else { return };
        let (Some(misnamed), _) = self.misnamed.entry(&leaf.sha256, Misnamed::default) else { return };
        misnamed.is_portal |= portal && self.knowledge.policy.is_enabled(&CAPTIVE_PORTAL.known());
        if misnamed.is_portal {
            findings.retain(|finding| finding.rule != &NAME_MISMATCH);
        } else if let Some(id) = mismatch
            && misnamed.alerts.len() < MISNAMED_ALERTS
            && !misnamed.alerts.contains(&id)
        {
            misnamed.alerts.push(id);
        }
    }

    /// The clock moved on.
    pub fn advance(&mut self, clock: Timestamp) -> Vec<Finding> {
        let mut findings = self.advance_briefly(clock);
        findings.iter_mut().for_each(Finding::complete);
        findings
    }

    /// [`advance`](Self::advance) where only some findings are read: those are to be [completed](Finding::complete).
    pub fn advance_briefly(&mut self, clock: Timestamp) -> Vec<Finding> {
        let mut findings = self.completed_by_time(clock);
        for detector in &mut self.detectors {
            detector.advance(clock, &self.knowledge.policy, &mut findings);
        }
        findings.retain_mut(|finding| settle(finding, &self.knowledge.policy));
        let due = self.open.as_mut().map(|open| open.due(clock)).unwrap_or_default();
        findings.extend(self.judge_again(due, true).into_iter().map(|one| *one));
        let due = self.undecided.due(clock);
        findings.extend(self.decide_again(due, true));
        findings
    }

    /// Live: what was learned is kept, if that is due.
    pub fn save(&mut self, clock: Timestamp) {
        self.detectors.iter_mut().for_each(|detector| detector.save(clock));
    }

    /// What became of alerts: of those about chains that were incomplete when they were judged, now that all CAs of the
    /// capture are known, and of those about the names of a portal.
    pub fn completed(&mut self) -> Vec<(AlertId, Afterthought)> {
        let waiting: Vec<_> =
            self.incomplete.iter().map(|(cause, presented)| (cause.alert_id(), presented.clone())).collect();
        let portals = self.misnamed.iter().filter(|(_, misnamed)| misnamed.is_portal);
        let explained = portals.flat_map(|(_, misnamed)| &misnamed.alerts);
        let mut completed: Vec<_> = explained.map(|id| (*id, Afterthought::Retract(NAME_MISMATCH.id))).collect();
        for (id, presented) in waiting {
            let Some(judged) = self.judged(&presented, (None, None), Purpose::Server) else { continue };
            match judged.chain.cause() {
                None => completed.push((id, Afterthought::Retract(UNTRUSTED_ISSUER.id))),
                Some(cause) if cause.alert_id() != id => {
                    completed.push((id, Afterthought::Unite(cause.alert_id())));
                }
                Some(_) => {}
            }
        }
        completed
    }

    /// Judges by another policy, other anchors and other lists from now on. What was learned of hosts stays.
    pub fn renew(&mut self, knowledge: Arc<Knowledge>) {
        self.chains = Memory::new(CHAINS);
        self.judgements = Memory::new(JUDGEMENTS);
        self.recent = Recent::default();
        for detector in &mut self.detectors {
            detector.renew(&knowledge.anchors);
        }
        for ca in &knowledge.proxies {
            if self.pool.add(ca) {
                self.generation += 1;
                if self.open.is_some() {
                    self.fresh.push(Arc::clone(ca));
                }
            }
            self.pool.prove(&ca.sha256);
        }
        knowledge.note_cas(&self.pool);
        self.knowledge = knowledge;
        self.lent = None;
    }

    /// How many entries of the detectors' memories were forgotten for want of room, and how many CAs were not compared
    /// with all chains that waited for an issuer of their name.
    pub fn forgotten(&self) -> u64 {
        self.detectors.iter().map(|detector| detector.forgotten()).fold(self.appeared.left(), u64::saturating_add)
    }

    /// What the detectors remembered of servers and compare no more.
    pub fn outdated(&self) -> Outdated {
        self.detectors.iter().map(|detector| detector.outdated()).fold(Outdated::default(), |sum, one| Outdated {
            ephemeral_keys: sum.ephemeral_keys.saturating_add(one.ephemeral_keys),
            randoms: sum.randoms.saturating_add(one.randoms),
        })
    }

    /// The known hosts.
    pub fn known_hosts(&self) -> Option<&Hosts> {
        self.detectors.iter().find_map(|detector| detector.known_hosts())
    }

    /// The capture is over.
    pub fn finish(&mut self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.finish_briefly().collect();
        findings.iter_mut().for_each(Finding::complete);
        findings
    }

    /// [`finish`](Self::finish) where only some findings are read: those are to be [completed](Finding::complete). They are
    /// given one by one: all that were held together are a few megabytes.
    pub fn finish_briefly(&mut self) -> impl Iterator<Item = Finding> + use<> {
        let mut findings = self.shared_factors();
        self.complete_at_end();
        for detector in &mut self.detectors {
            detector.finish(&self.knowledge.policy, &mut findings);
        }
        findings.retain_mut(|finding| settle(finding, &self.knowledge.policy));
        let open = self.open.as_ref().map(OpenChains::all).unwrap_or_default();
        let again = self.judge_again(open, true);
        let undecided = self.undecided.all();
        let decided = self.decide_again(undecided, true);
        findings.into_iter().chain(again.into_iter().map(|one| *one)).chain(decided)
    }

    /// A mismatch counts when the client went on, or at its third sight.
    fn holds(&mut self, finding: &Finding, observation: &Observation) -> bool {
        if finding.rule != &NAME_MISMATCH || observation.handshake.established == Some(true) {
            return true;
        }
        let id = finding.cause.alert_id();
        match self.mismatches.entry(&id, || 0) {
            (Some(count), _) => {
                *count = count.saturating_add(1);
                *count >= MISMATCHES_NEEDED
            }
            (None, _) => false,
        }
    }

    /// The chain that a host presented at a time.
    fn judged_with(
        &mut self,
        host: &Arc<KnownHost>,
        (presented, at): (&[Arc<Certificate>], Option<ValidityTime>),
    ) -> Option<Arc<JudgedChain>> {
        if presented.is_empty() {
            return None;
        }
        if let Some(known) = self.recent.get((presented, host), (self.generation, at)) {
            return Some(Arc::clone(known));
        }
        // An address is asked for only where the certificate names addresses: most certificates behind calls by address
        // are for names.
        let judged = self.judged(presented, (host.certain_name(), at), Purpose::Server)?;
        let chain = Arc::clone(&judged.chain);
        self.recent.insert((presented, host), judged);
        Some(chain)
    }

    fn judged(
        &mut self,
        presented: &[Arc<Certificate>],
        (name, at): (Option<&str>, Option<ValidityTime>),
        purpose: Purpose,
    ) -> Option<Judged> {
        if presented.is_empty() {
            return None;
        }
        let chain = self.chain(presented, purpose);
        if let Some(known) = self.judgements.get(&ChainAndName(chain.number, name))
            && known.generation == chain.generation
            && known.is_same_at(at)
        {
            return Some(known.clone());
        }
        let judgement = judge(&chain.report, Question { at, name, purpose });
        let (from, until) = at.map_or((None, None), |at| cell(&chain.report, at));
        let judged = JudgedChain {
            report: (*chain.report).clone(),
            judgement,
            signed_by_own_key: chain.signed_by_own_key,
            presented: Default::default(),
            cause: OnceLock::new(),
            weak_signature: OnceLock::new(),
            leaf: OnceLock::new(),
            expiring: OnceLock::new(),
            wrong_usage: OnceLock::new(),
            wrong_usage_of_ca: OnceLock::new(),
            factorable: OnceLock::new(),
            quiet: Quiet::default(),
        };
        if self.judgements.get(&ChainAndName(chain.number, name)).is_none() {
            self.hold_bytes(presented);
        }
        let timeless = at.is_none();
        let judged = Judged { generation: chain.generation, from, until, timeless, chain: Arc::new(judged) };
        self.judgements.insert((chain.number, name.map(str::to_owned)), judged.clone());
        Some(judged)
    }

    /// Chains are remembered: beyond what may be held all of them are verified anew when they are seen.
    fn hold_bytes(&mut self, presented: &[Arc<Certificate>]) {
        let bytes = presented.iter().map(|certificate| certificate.weight()).fold(0, usize::saturating_add);
        let (held, most) = self.held;
        self.held.0 = held.saturating_add(bytes);
        if self.held.0 > most {
            self.chains = Memory::new(CHAINS);
            self.judgements = Memory::new(JUDGEMENTS);
            self.held.0 = bytes;
        }
    }

    /// The verified chain, remembered or verified.
    fn chain(&mut self, presented: &[Arc<Certificate>], purpose: Purpose) -> Chain {
        let server = purpose == Purpose::Server;
        let known = self.chains.get(&ChainOf(presented, server));
        // What led to an anchor stays so; anything else may look better when the pool has grown.
        if let Some(known) = known
            && (known.generation == self.generation || known.report.is_anchored())
        {
            return known.clone();
        }
        let number = known.map(|known| known.number);
        if number.is_none() {
            for certificate in presented {
                if self.pool.add(certificate) {
                    self.generation += 1;
                    self.knowledge.note_ca(certificate);
                    if self.open.is_some() {
                        self.fresh.push(Arc::clone(certificate));
                    }
                }
            }
        }
        let verifier = Verifier {
            anchors: &self.knowledge.anchors,
            pool: &self.pool,
            memo: &self.memo,
            budget: Budget::default(),
            purpose,
        };
        let report = Arc::new(verifier.verify_chain(presented));
        prove(&report, (&mut self.pool, &self.knowledge.policy));
        let signed_by_own_key = presented.first().is_some_and(|leaf| is_signed_by_own_key(leaf, &self.memo));
        let number = number.unwrap_or_else(|| {
            self.hold_bytes(presented);
            self.next_chain += 1;
            self.next_chain
        });
        let chain = Chain { number, generation: self.generation, report, signed_by_own_key };
        let certificates = presented.iter().map(|certificate| certificate.sha256).collect();
        self.chains.insert(ChainKey { certificates, server }, chain.clone());
        chain
    }
}

/// With the CAs of proxies that may intercept: what they sign can be verified at once.
fn pool_of(knowledge: &Knowledge, mut pool: Pool) -> Pool {
    for ca in &knowledge.proxies {
        pool.add(ca);
        pool.prove(&ca.sha256);
    }
    knowledge.note_cas(&pool);
    pool
}

/// Tells the pool which certificates lead to an anchor or to a key of an internal CA.
fn prove(report: &ChainReport, (pool, policy): (&mut Pool, &Policy)) {
    for path in report.paths.iter().filter(|path| path.unverified.is_none()) {
        let internal = |one: &Arc<Certificate>| {
            one.facts.as_deref().is_some_and(|facts| policy.internal_ca_for(&facts.spki_sha256.0).is_some())
        };
        let good = match path.ending {
            // Who is no CA can make as many as he likes.
            Ending::Anchor if path.is_vouched() => path.certificates.len(),
            _ => path.vouched().iter().rposition(internal).map_or(0, |last| last.saturating_add(1)),
        };
        path.certificates.iter().take(good).skip(1).for_each(|ca| pool.prove(&ca.sha256));
    }
}

/// Whether the leaf's RSA key can be factored, remembered or tested.
fn weak_key(keys: &mut Memory<Sha256, Option<WeakRsa>>, observation: &Observation) -> Option<WeakRsa> {
    let facts = observation.server_chain.first()?.facts.as_deref()?;
    if facts.key.modulus.is_empty() {
        return None;
    }
    if let Some(known) = keys.get(&facts.spki_sha256) {
        return *known;
    }
    let weak = weak_rsa::test(&facts.key.modulus);
    keys.insert(facts.spki_sha256, weak);
    weak
}

/// How weak the chosen cipher suite is, remembered or looked up.
fn weak_cipher(ciphers: &mut Memory<u16, Option<CipherWeakness>>, cipher: Option<u16>) -> Option<CipherWeakness> {
    let number = cipher?;
    ciphers.entry(&number, || crypto::cipher_weakness(number)).0.copied().flatten()
}

/// Leaf and key that a host of the policy showed last, in this run or an earlier one; notes those of now.
fn last_leaf((leaves, backing): (&mut Leaves, Option<&dyn Backing>), case: &Case<'_>) -> Option<(Sha256, Sha256)> {
    case.entry?;
    let (leaf, facts) = case.leaf()?;
    let host = case.sighting.host;
    let (now, earlier) = ((leaf.sha256, facts.spki_sha256), || backing?.read(host)?.latest(case.sighting.clock));
    let (known, _) = leaves.entry(host, || earlier().unwrap_or(now));
    known.map(|known| std::mem::replace(known, now))
}

/// The span around `at` in which no certificate of any path becomes valid or expires.
fn cell(report: &ChainReport, at: ValidityTime) -> (Option<ValidityTime>, Option<ValidityTime>) {
    let (mut from, mut until) = (None, None);
    for facts in report.paths.iter().flat_map(|path| &path.certificates).filter_map(|one| one.facts.as_deref()) {
        let after = facts.not_after.map(|last| ValidityTime(last.seconds().saturating_add(1)));
        for edge in [facts.not_before, after].into_iter().flatten() {
            if edge <= at {
                from = from.max(Some(edge));
            } else {
                until = Some(until.map_or(edge, |until: ValidityTime| until.min(edge)));
            }
        }
    }
    (from, until)
}

/// The name in the text of a host; none where it was called by address.
pub(super) fn asked_for(host: &str) -> Option<&str> {
    let (name, _) = host.rsplit_once(':')?;
    (!name.starts_with("ip:")).then(|| name.strip_prefix("ech:").unwrap_or(name))
}

/// Lets the policy have its say; `false` when the rule does not run.
fn settle(finding: &mut Finding, policy: &Policy) -> bool {
    let known = finding.rule.known();
    if !policy.is_enabled(&known) {
        return false;
    }
    if policy.profile == Profile::Quiet || !policy.severities.is_empty() || !policy.suppressions.is_empty() {
        adjust(finding, policy);
    }
    true
}

/// Severity, suppression and effect by the policy.
fn adjust(finding: &mut Finding, policy: &Policy) {
    let known = finding.rule.known();
    let Some(ends) = finding.ends else { return };
    let target = Target { name: asked_for(&finding.host), address: ends.server.address, port: ends.server.port };
    if let Some(severity) = policy.severity_for(&known, &target) {
        finding.severity = severity;
    }
    let client_key = finding.certificate.as_ref().and_then(|certificate| certificate.facts.as_deref());
    let subject = Subject {
        rule: known,
        client: ends.client.address,
        target,
        client_key: client_key.map(|facts| &facts.spki_sha256.0),
        day: finding.moment.time_known.then(|| Day::of(finding.moment.timestamp)),
    };
    finding.suppressed_by = policy.suppression_for(&subject).map(|suppression| suppression.line);
    if policy.profile == Profile::Quiet && finding.severity < super::catalogue::Severity::Medium {
        finding.effect = Effect::Mark;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::judge_tests::Bench;
    use crate::detect::testing::{Ca, DAY, Plan, START, ids, parse};

    /// Certificates may be as large as a message: what is remembered of them is bounded in bytes too.
    #[test]
    fn chains_are_remembered_up_to_so_many_bytes() {
        let (ca, mut bench) = (Ca::new("Private"), Bench::new(&[]));
        let made = |number: usize| {
            let host = format!("h{number}.example.com");
            let plan = Plan { common_name: "x".repeat(5_000), ..Plan::of(&[&host]) };
            bench.handshake((&host, "10.9.0.9"), &ca.chain(&plan))
        };
        let shown: Vec<Observation> = (0..30).map(made).collect();
        let most = 20 * shown[0].server_chain.iter().map(|one| one.weight()).sum::<usize>();
        for most in [HELD_BYTES, most] {
            let mut judge = Bench::new(&[]).judge();
            judge.held.1 = most;
            for (number, one) in shown.iter().chain(&shown).enumerate() {
                assert_eq!(ids(&judge.observe(one, Timestamp(0))), ["CERT-005"], "{number}");
                assert!(judge.held.0 <= most);
            }
            assert_eq!(judge.chains.len() == 30, most == HELD_BYTES);
        }
    }

    /// Whoever reads it.
    #[test]
    fn a_chain_is_verified_once_and_judged_once_for_a_name_and_a_time() {
        let last = START + 10 * DAY;
        let chain = Ca::new("Root").chain(&Plan::of(&["www.example.com"]).dates(START, last));
        let again: Vec<_> = chain.iter().map(|one| parse(&one.der)).collect();
        let (www, mail) = (Some("www.example.com"), Some("mail.example.com"));
        for (name, [first, second], is_same) in [
            (www, [Some(START), Some(last)], true),
            (www, [Some(START - 1), Some(START)], false),
            (www, [Some(last), Some(last + 1)], false),
            (www, [None, None], true),
            (www, [None, Some(START)], false),
            (www, [Some(START), None], false),
            (mail, [Some(START), Some(START)], false),
            (None, [None, None], false),
        ] {
            let mut judge = Bench::new(&[]).judge();
            let mut judged = |chain: &[_], name, at: Option<i64>| {
                judge.judged(chain, (name, at.map(ValidityTime)), Purpose::Server).unwrap().chain
            };
            let (first, second) = (judged(&chain, www, first), judged(&again, name, second));
            assert_eq!(Arc::ptr_eq(&first, &second), is_same, "{name:?}");
            assert_eq!((judge.chains.len(), judge.next_chain), (1, 1));
            let bytes = chain.iter().map(|one| one.weight()).sum::<usize>();
            assert_eq!(judge.held.0, bytes * if name == www { 2 } else { 3 }, "of the chain and of each judgement");
        }
    }

    #[test]
    fn the_largest_list_that_is_no_waste_is_kept() {
        let mut judge = Bench::new(&[]).judge();
        for (given, kept) in [(8, 8), (4, 8), (SPARE, SPARE), (SPARE + 1, SPARE)] {
            judge.give_back(Vec::with_capacity(given));
            assert_eq!(judge.spare.capacity(), kept);
        }
    }

    #[test]
    fn an_address_is_no_name() {
        for (host, name) in [
            ("www.example.com:443", Some("www.example.com")),
            ("ech:www.example.com:443", Some("www.example.com")),
            ("ip:203.0.113.10:443", None),
            ("ip:2001:db8::1:443", None),
            ("", None),
        ] {
            assert_eq!(asked_for(host), name);
        }
    }
}
