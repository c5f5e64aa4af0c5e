//! Known hosts: what they presented before, and what to make of a certificate that is new.

pub mod backing;
pub mod case;
pub mod circumstances;
pub mod crowd;
pub mod forgery;
pub mod hold;
pub mod key_choice;
mod overturn;
pub mod presented;
pub mod record;
pub mod report;
pub mod score;
pub mod sketch;
pub mod split;
pub mod table;
pub mod views;
pub mod witness;

use std::collections::VecDeque;
use std::sync::Arc;

use super::catalogue::UNEXPECTED_CERTIFICATE;
use super::finding::{Cause, Finding, Point};
use super::knowledge::Knowledge;
use super::memory::Memory;
use super::observation::Observation;
use super::sighting::{Detector, HostKey, JudgedChain, Quiet, Sighting, WaitingChain, note_quiet, was_quiet};
use crate::policy::{Policy, Severity};
use crate::time::{Span, Timestamp};
use crate::x509::chain::{Path, SignatureMemo};
use crate::x509::roots::{Pool, TrustAnchors};
use crate::x509::{Certificate, Sha256};
use backing::{Backing, Edit};
use case::Case;
use circumstances::{answer, circumstances, is_refused, issuer_allowed};
use hold::{Held, Holding};
use presented::Presented;
use record::{HostRecord, Standing};
use sketch::{about, address_hash, estimate, mark, stable_hash, subnet_hash};
use split::Scope;
use table::{HostTable, KEEP};
use views::Views;
use witness::Witnesses;

/// Bytes of verdicts on signatures.
const MEMO_BYTES: usize = 8 << 20;
/// Bytes of CAs learned on trusted paths.
const LEARNED_BYTES: usize = 16 << 20;
/// Issuers of accepted certificates.
const MAX_NETWORK_ISSUERS: usize = 65_536;
/// Leaves whose spread over hosts is known.
const MAX_LEAVES: usize = 65_536;
/// Cases kept for `why-not`.
const MAX_CASES: usize = 4_096;
/// Records that wait for being stored.
const MAX_SPILLED: usize = 4_096;
/// Hosts without certificates that were asked for in vain.
const MAX_ABSENT: usize = 65_536;
/// Live: baselines are written after so much packet time: what is lost when the program ends early.
pub const SAVE_EVERY: i64 = 10 * crate::time::NANOS_PER_SECOND;
/// Live: packet time after which edits by hand are looked for. What a host shows between an edit that forgets it and the
/// look is forgotten with it: nothing tells which of it came first.
const LOOK_EVERY: i64 = SAVE_EVERY / 100;
/// Live: how often baselines that were not used for a long time are taken out of the file.
const EXPIRE_EVERY: i64 = 86_400 * crate::time::NANOS_PER_SECOND;
/// Packet time after which a suspect that many clients get and that has a public path is believed.
const BELIEVED_AFTER: i64 = 14 * 86_400 * crate::time::NANOS_PER_SECOND;

/// The rules about hosts that are known (MITM-001 to 006), and their memory.
#[derive(Debug)]
pub struct Hosts {
    anchors: Arc<TrustAnchors>,
    memo: SignatureMemo,
    table: HostTable,
    learned: Pool,
    /// How often the anchors or what was learned changed.
    changes: u64,
    issuers: Memory<Sha256, ()>,
    leaves: Memory<Sha256, Spread>,
    holding: Holding,
    /// Who gets what, where many do or two issuers' certificates are served.
    views: Views,
    /// First sights of what nobody trusts.
    witnesses: Witnesses,
    /// Hashes of names and key identifiers of CAs that became known, and the last chain that was asked about each.
    accusing: VecDeque<(u64, Option<u64>)>,
    /// Those about which not all chains were asked.
    unaccused: u64,
    /// The last certificate that took its place in a baseline without an alarm, and the kind of change.
    rotated: Option<(Sha256, &'static str)>,
    cases: Memory<HostKey, Case>,
    spilled: Vec<HostRecord>,
    unspilled: u64,
    backing: Option<Arc<dyn Backing>>,
    /// Hosts that the backing does not know; only those that show no certificate.
    absent: Memory<HostKey, ()>,
    /// Live: when baselines were last written.
    saved: Option<Timestamp>,
    /// Live: when old baselines were last taken out.
    expired: Option<Timestamp>,
    /// Live: when edits by hand were last looked for.
    looked: Option<Timestamp>,
    /// Hosts that were forgotten by hand and that had been seen since that.
    unlearned: u64,
}

/// Where a leaf was accepted.
#[derive(Clone, Copy, Debug, Default)]
struct Spread {
    hosts: [u64; 1],
    clients: [u64; 1],
}

/// What other rules found out about the leaf of this handshake.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hints {
    /// Its key is in certificates of unrelated names (KEY-001).
    pub key_elsewhere: bool,
    /// It answers for unrelated names of one client (MITM-031).
    pub portal: bool,
}

impl Hosts {
    /// With these trust anchors, for at most `capacity` hosts.
    pub fn new(anchors: Arc<TrustAnchors>, capacity: usize) -> Self {
        Self {
            anchors,
            memo: SignatureMemo::new(MEMO_BYTES),
            table: HostTable::new(capacity),
            learned: Pool::new(LEARNED_BYTES),
            changes: 0,
            issuers: Memory::new(MAX_NETWORK_ISSUERS),
            leaves: Memory::new(MAX_LEAVES),
            holding: Holding::default(),
            views: Views::default(),
            witnesses: Witnesses::default(),
            accusing: VecDeque::new(),
            unaccused: 0,
            rotated: None,
            cases: Memory::new(MAX_CASES),
            spilled: Vec::new(),
            unspilled: 0,
            backing: None,
            absent: Memory::new(MAX_ABSENT),
            saved: None,
            expired: None,
            looked: None,
            unlearned: 0,
        }
    }

    /// The baselines.
    pub fn table(&self) -> &HostTable {
        &self.table
    }

    /// Verdicts on signatures known.
    pub fn memo(&self) -> &SignatureMemo {
        &self.memo
    }

    /// Whether a host is in memory; if not, a stored baseline may be given back by [`restore`](Self::restore).
    pub fn knows(&self, key: &HostKey) -> bool {
        self.table.get(key).is_some()
    }

    /// Reads baselines from here at the first sight of a host, and writes them there when they leave memory and at the
    /// end.
    pub fn set_backing(&mut self, backing: Arc<dyn Backing>) {
        self.backing = Some(backing);
    }

    /// Trusts these from now on.
    pub fn renew(&mut self, anchors: &Arc<TrustAnchors>) {
        self.anchors = Arc::clone(anchors);
        self.changes += 1;
        self.heed_edits();
    }

    /// Does what persons did to stored baselines to those in memory too, before these take their place.
    fn heed_edits(&mut self) {
        let Some(backing) = self.backing.clone() else { return };
        for edit in backing.edits() {
            match edit {
                Edit::Accept(key) => {
                    let accepted = backing.accepted(&key);
                    self.holding.forget(&key, |leaf| accepted.contains(leaf));
                    if let Some(record) = self.table.get_mut(&key) {
                        record.accept_all(&accepted);
                    }
                }
                Edit::Forget(key) => {
                    self.holding.forget(&key, |_| true);
                    let since = self.looked.map_or(i64::MIN, Timestamp::nanos);
                    let seen = self.table.remove(&key).is_some_and(|record| record.last > since);
                    self.unlearned = self.unlearned.saturating_add(u64::from(seen));
                    backing.forget(&key);
                }
            }
        }
    }

    /// Puts the stored baseline of a host back that is seen now, if it is not in memory and there is one.
    pub fn recall(&mut self, sighting: &Sighting<'_>) {
        let Some(backing) = &self.backing else { return };
        let key = sighting.host;
        let bare = sighting.observation.server_chain.is_empty();
        if self.knows(key) || (bare && self.absent.contains(key)) {
            return;
        }
        match backing.read(key).filter(|record| sighting.clock.since(Timestamp(record.last)).nanos() <= KEEP) {
            Some(record) => self.restore(record),
            // With a certificate the host is in memory from now on.
            None if bare => {
                self.absent.insert(key.clone(), ());
            }
            None => {}
        }
    }

    /// Puts a stored baseline back.
    pub fn restore(&mut self, record: HostRecord) {
        for issuer in &record.issuers {
            self.issuers.insert(Sha256(issuer.key), ());
        }
        let left = self.table.restore(Box::new(record));
        self.spill(left);
    }

    /// Baselines that left memory since the last call, to be stored.
    pub fn take_spilled(&mut self) -> Vec<HostRecord> {
        std::mem::take(&mut self.spilled)
    }

    /// Baselines that left memory and that nobody took in time.
    pub fn lost(&self) -> u64 {
        self.unspilled
    }

    /// Believes a certificate of a host that raised suspicion (`tlswatch baseline accept`).
    pub fn accept(&mut self, key: &HostKey, sha256: &Sha256) -> bool {
        self.table.get_mut(key).is_some_and(|record| record.accept(sha256))
    }

    /// Forgets a host (`tlswatch baseline forget`).
    pub fn forget(&mut self, key: &HostKey) -> bool {
        self.table.remove(key).is_some()
    }

    /// Whether the certificate of this handshake is doubted: held or suspect.
    pub fn doubts(&self, key: &HostKey, leaf: &Sha256) -> bool {
        let known = self.table.get(key).and_then(|record| record.certificate(leaf));
        known.is_some_and(|known| known.standing != Standing::Accepted)
    }

    /// Whether a host has several certificates at once.
    pub fn is_multi(&self, key: &HostKey, at: Timestamp) -> bool {
        let record = self.table.get(key).filter(|record| record.certificates.len() > 1);
        record.is_some_and(|record| record.phase(at) == record::Phase::Multi)
    }

    /// The last case of each host of this name, alerting or not (`tlswatch why-not`).
    pub fn cases<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Case> {
        self.cases.iter().filter(move |(key, _)| key.name == name).map(|(_, case)| case)
    }

    /// Takes note of a handshake with a certificate and says what is wrong with it.
    pub fn observe_chain(
        &mut self,
        sighting: &Sighting<'_>,
        (new, hints): (&Presented, Hints),
        findings: &mut Vec<Finding>,
    ) {
        let question = forgery::Question {
            sighting,
            new,
            record: self.table.get(sighting.host),
            anchors: &self.anchors,
            learned: &self.learned,
            changes: self.changes,
            memo: &self.memo,
        };
        let before = findings.len();
        let proofs = forgery::examine(&question, findings);
        if new.authorised.is_some() {
            return;
        }
        if !new.is_trusted() {
            let claimed = overturn::claimed(findings.get(before..).unwrap_or_default());
            self.witnesses.note(sighting, (new, claimed));
        }
        let watched = self.table.get(sighting.host);
        self.holding.watch(sighting, new, watched);
        self.judge(sighting, (new, hints, proofs), findings);
        self.compare(sighting, new, findings);
        if new.is_trusted() {
            for ca in self.learn_cas(sighting, new) {
                self.accuse_of(&ca);
            }
        }
        if !self.accusing.is_empty() {
            self.go_on_accusing(overturn::ACCUSED_AT_ONCE, findings);
        }
        let expired = self.table.expire(sighting.clock);
        self.spill(expired);
        if !sighting.offline {
            self.save_changed(sighting.clock);
        }
    }

    /// Looks whether the clients of certificates of different issuers fall apart (MITM-008).
    #[inline]
    fn compare(&mut self, sighting: &Sighting<'_>, new: &Presented, findings: &mut Vec<Finding>) {
        let Some(record) = self.table.get(sighting.host).filter(|record| record.certificates.len() > 1) else { return };
        let waits = self.views.note(sighting, new, record);
        let scope = Scope::of(sighting, &self.views);
        self.holding.note_split(&scope, record);
        match scope.split(record, new) {
            Ok(Some(view)) => findings.push(view.finding(&report::Place::of(sighting), new)),
            Ok(None) => {}
            Err(split::TooEarly) => self.views.wait(sighting, new),
        }
        if waits {
            self.tell_waiting(sighting, findings);
        }
    }

    /// What waited for more clients of the majority is told or dropped.
    #[cold]
    fn tell_waiting(&mut self, sighting: &Sighting<'_>, findings: &mut Vec<Finding>) {
        let Some(record) = self.table.get(sighting.host) else { return };
        let split = |views: &Views, new: &Presented| Scope::of(sighting, views).split(record, new);
        for waiting in self.views.ready(sighting.host, |views, new| split(views, new).is_ok()) {
            let view = split(&self.views, &waiting.new).ok().flatten();
            // A case that is held tells all its clients when it is decided.
            let is_held = self.holding.get_mut(sighting.host, &waiting.new.leaf.sha256).is_some();
            if let Some(view) = view.filter(|_| !is_held) {
                findings.extend(waiting.places.iter().map(|place| view.finding(place, &waiting.new)));
            }
        }
    }

    fn judge(
        &mut self,
        sighting: &Sighting<'_>,
        (new, hints, proofs): (&Presented, Hints, Vec<Point>),
        findings: &mut Vec<Finding>,
    ) {
        let record = self.table.get(sighting.host);
        let has_accepted = |record: &HostRecord| record.accepted().next().is_some();
        let mut has_baseline = record.is_some_and(has_accepted);
        let standing = record.and_then(|record| record.certificate(&new.leaf.sha256)).map(|known| known.standing);
        let suspicious = !proofs.is_empty() || new.product.is_some_and(|_| !new.internal);
        if standing.is_none() && new.is_trusted() {
            self.overturn(sighting, new, findings);
            has_baseline = self.table.get(sighting.host).is_some_and(has_accepted);
        }
        // A person may have accepted it before anybody saw it.
        let by_hand =
            standing.is_none() && (has_baseline || suspicious) && self.is_accepted(sighting.host, &new.leaf.sha256);
        let standing = if by_hand { Some(Standing::Accepted) } else { standing };
        if (standing == Some(Standing::Accepted) || !has_baseline) && !suspicious {
            if standing.is_some() && !new.is_trusted() && self.returns(sighting, new, findings) {
                self.count(sighting, new, Standing::Held);
                return;
            }
            self.count(sighting, new, Standing::Accepted);
            return;
        }
        if standing == Some(Standing::Accepted) || !has_baseline {
            // Proofs speak for themselves; there is nothing to compare with.
            self.count(sighting, new, standing.unwrap_or(Standing::Suspect));
            return;
        }
        if standing == Some(Standing::Held)
            && let Some(held) = self.holding.get_mut(sighting.host, &new.leaf.sha256)
        {
            if held.proofs.is_empty() {
                held.proofs = proofs;
            }
            self.count(sighting, new, Standing::Held);
            self.release(sighting.clock, sighting.policy, findings);
            return;
        }
        let mut held = Held::new(sighting, new.clone(), proofs);
        held.hints = hints;
        held.refused = is_refused(sighting);
        held.allowed = issuer_allowed(sighting);
        if let Some(record) = self.table.get(sighting.host) {
            held.expect(record);
            held.note_expected(record, sighting.clock);
            held.circumstances = circumstances(sighting, (record, new));
        }
        if standing.is_none() && !new.is_trusted() && held.proofs.is_empty() {
            self.note_rotation(sighting, new);
        }
        let case = self.case_of(sighting.host, &held, sighting.policy);
        let mismatch = new.name_matches == Some(false) && held.proofs.is_empty();
        let doubtful = case.is_doubtful() && (sighting.offline || held.is_open(&case) || mismatch);
        let hold = sighting.policy.number(&UNEXPECTED_CERTIFICATE.known(), "hold");
        self.count(sighting, new, standing.unwrap_or(Standing::Held));
        let decided = if doubtful && (sighting.offline || hold > 0) && standing != Some(Standing::Suspect) {
            let until = held.at.plus(Span::seconds(hold));
            self.holding.insert((sighting.host, sighting.observation), held, until)
        } else {
            Some(held)
        };
        if let Some(held) = decided {
            self.decide((sighting.host, held), sighting.policy, findings);
        }
    }

    fn is_accepted(&self, key: &HostKey, leaf: &Sha256) -> bool {
        self.backing.as_ref().is_some_and(|backing| backing.accepted(key).contains(leaf))
    }

    /// One untrusted certificate took the place of another; a trusted host does not become volatile by forgeries.
    fn note_rotation(&mut self, sighting: &Sighting<'_>, new: &Presented) {
        let Some(record) = self.table.get_mut(sighting.host) else { return };
        if record.expected(new, None).is_some_and(|old| !old.trusted) {
            record.note_rotation(sighting.clock);
        }
    }

    /// The kind of change by which this certificate just came into the baseline of its host without an alarm (CERT-018).
    pub fn take_rotation(&mut self, leaf: &Sha256) -> Option<&'static str> {
        self.rotated.take().filter(|(rotated, _)| rotated == leaf).map(|(_, kind)| kind)
    }

    /// Counts the handshake in the baseline.
    fn count(&mut self, sighting: &Sighting<'_>, new: &Presented, standing: Standing) {
        let (record, left) = self.table.touch(sighting.host, sighting.clock);
        let ends = &sighting.observation.ends;
        if let Some(record) = record {
            let answer = answer(sighting);
            let kind = answer.stack.map_or(0, |(kind, _)| kind);
            let old = self.backing.as_ref().is_some_and(|backing| backing.is_old(sighting.observation));
            record.count(new, (ends, sighting.clock, kind.into()), (standing, !old));
            self.views.is_old = old;
            if let Some(known) = record.certificate_mut(&new.leaf.sha256).filter(|_| !old) {
                let owner = views::owner(sighting.name_hash, known);
                self.views.crowds.note(known, owner, address_hash(ends.client.address));
            }
            if standing == Standing::Accepted && !old {
                record.note_answer(answer);
            }
        }
        self.spill(left);
        if standing == Standing::Accepted {
            let quiet = sighting.server.map(|judged| &judged.quiet);
            self.spread(sighting.name_hash, (new, quiet), ends.client.address);
        }
    }

    fn spread(&mut self, name_hash: u64, (new, quiet): (&Presented, Option<&Quiet>), client: std::net::IpAddr) {
        let known = quiet.is_some_and(|quiet| was_quiet(&quiet.accepted, self.issuers.forgotten()));
        if !known && !self.issuers.contains(&new.issuer.key) {
            self.issuers.insert(new.issuer.key, ());
        }
        if let Some(quiet) = quiet.filter(|_| !known) {
            note_quiet(&quiet.accepted, self.issuers.forgotten());
        }
        let guess = quiet.map_or(0, Quiet::leaf_place);
        let (spread, place) = self.leaves.entry_near(&new.leaf.sha256, guess, Spread::default);
        if let Some(quiet) = quiet.filter(|_| place != guess) {
            quiet.set_leaf_place(place);
        }
        if let Some(spread) = spread {
            mark(&mut spread.hosts, name_hash);
            mark(&mut spread.clients, address_hash(client));
        }
    }

    fn case_of(&self, key: &HostKey, held: &Held, policy: &Policy) -> Case {
        let unknown = HostRecord::new(key, held.at);
        let rule = UNEXPECTED_CERTIFICATE.known();
        let points = |name| i32::try_from(policy.number(&rule, name)).unwrap_or(i32::MAX);
        let spread = self.leaves.get(&held.new.leaf.sha256);
        let mut others = held.others();
        let record = self.table.get(key).unwrap_or(&unknown);
        let known = record.certificate(&held.new.leaf.sha256);
        let theirs = record.accepted().filter(|one| one.sha256 != held.new.leaf.sha256.0);
        let servers = theirs.fold(0, |servers, one| servers | one.servers);
        let here = known.map_or_else(|| server_mark(&held.place), |known| known.servers);
        if let Some((clients, subnets)) =
            known.filter(|known| known.is_of_hour(held.at)).map(|known| known.recent(held.at))
        {
            others.new_clients = others.new_clients.max(clients);
            others.new_subnets = others.new_subnets.max(subnets);
        }
        score::judge(&score::Question {
            host: held.place.host.clone(),
            record,
            new: &held.new,
            at: held.at,
            seconds: held.seconds,
            others,
            network: score::Network {
                issuer_known: self.issuers.contains(&held.new.issuer.key),
                key_elsewhere: held.hints.key_elsewhere,
                widely_seen: spread.is_some_and(|spread| estimate(&spread.clients) >= 3),
                refused: held.refused,
                issuer_allowed: held.allowed,
            },
            circumstances: score::Circumstances { elsewhere: servers & here == 0, ..held.circumstances },
            proofs: held.proofs.clone(),
            offline: held.offline,
            thresholds: (points("medium"), points("high")),
        })
    }

    /// The end of a case: an alert, or the certificate belongs to the baseline.
    fn decide(&mut self, (key, held): (&HostKey, Held), policy: &Policy, findings: &mut Vec<Finding>) {
        let case = self.case_of(key, &held, policy);
        if held.overturned && !self.is_outweighed(key, &held) && held.split.is_none() && held.proofs.is_empty() {
            // The host has another certificate now, as hosts do.
            if let Some(record) = self.table.get_mut(key) {
                record.set_standing(&held.new, Standing::Accepted);
            }
            return;
        }
        // A portal's certificate is not for this name; one that is, is no portal here, whatever else it answered for.
        let portal = held.hints.portal && held.new.name_matches != Some(true);
        let alerts = case.alerts(policy.profile).filter(|_| !portal || !held.proofs.is_empty());
        // What a scanner got is no alert, and nothing that others should get either.
        let medium = policy.number(&UNEXPECTED_CERTIFICATE.known(), "medium");
        let excused = held.circumstances.scanner && i64::from(case.score.saturating_add(score::SCANNER)) >= medium;
        // Live: a host that is still learned tells nothing, but does not take just anything for its own.
        let lost = case.learning && case.severity >= Some(Severity::Medium) && case.has_lost_trust();
        let suspect = portal
            || excused
            || lost
            || !case.proofs.is_empty()
            || alerts.is_some_and(|severity| severity >= Severity::Medium);
        let believed = suspect && self.is_believed(key, &held);
        let standing = if suspect && !believed { Standing::Suspect } else { Standing::Accepted };
        if let Some(record) = self.table.get_mut(key) {
            record.set_standing(&held.new, standing);
        }
        if standing == Standing::Accepted {
            let name_hash = stable_hash(key.name.as_bytes());
            held.places.iter().for_each(|place| self.spread(name_hash, (&held.new, None), place.ends.client.address));
        }
        if let Some(view) = held.split {
            // Offline: while the majority was still thin, the minority was not told.
            let mut told: Vec<_> = held.places.iter().map(|place| view.finding(place, &held.new)).collect();
            bring_to_first(held.observation.as_ref(), &mut told);
            findings.extend(told);
        }
        if let Some(severity) = alerts.filter(|_| !believed) {
            findings.extend(report(&case, &held, severity));
        } else if standing == Standing::Accepted && case.has_baseline {
            self.rotated = Some((held.new.leaf.sha256, case.change_kind()));
        }
        self.cases.insert(key.clone(), case);
    }

    /// Seen for 14 days by five clients in two subnets, with a public path.
    fn is_believed(&self, key: &HostKey, held: &Held) -> bool {
        let known = self.table.get(key).and_then(|record| record.certificate(&held.new.leaf.sha256));
        held.proofs.is_empty()
            && held.new.public
            && known.is_some_and(|known| {
                known.last.saturating_sub(known.first) >= BELIEVED_AFTER
                    && estimate(&known.clients) >= 5
                    && estimate(&[known.subnets]) >= 2
            })
    }

    fn release(&mut self, clock: Timestamp, policy: &Policy, findings: &mut Vec<Finding>) {
        for (key, held) in self.holding.due(clock) {
            self.decide((&key, held), policy, findings);
        }
    }

    /// CAs that were not known before: those of valid public paths, and ours with what they signed.
    fn learn_cas(&mut self, sighting: &Sighting<'_>, new: &Presented) -> Vec<Arc<Certificate>> {
        let Some(judged) = sighting.server.filter(|judged| judged.judgement.problems.is_empty()) else {
            return Vec::new();
        };
        let path = judged.report.paths.first().map(Path::verified).unwrap_or_default();
        let is_ours = |ca: &Arc<Certificate>| {
            ca.facts.as_deref().is_some_and(|facts| sighting.policy.internal_ca_for(&facts.spki_sha256.0).is_some())
        };
        let known = if new.public { path.len() } else { path.iter().rposition(is_ours).map_or(0, |last| last + 1) };
        let cas = path.iter().take(known).skip(1);
        let fresh: Vec<_> = cas.filter(|ca| self.learned.add(ca)).cloned().collect();
        if new.public {
            // Theirs is the name too.
            fresh.iter().for_each(|ca| self.learned.prove(&ca.sha256));
        }
        self.changes += u64::try_from(fresh.len()).unwrap_or(u64::MAX);
        fresh
    }

    fn spill(&mut self, left: Option<Box<HostRecord>>) {
        let Some(record) = left else { return };
        if let Some(backing) = &self.backing {
            backing.write(&record);
        } else if self.spilled.len() < MAX_SPILLED {
            self.spilled.push(*record);
        } else {
            self.unspilled += 1;
        }
    }

    /// Live: writes the baselines that changed since the last time, so that little is lost when the program ends early.
    fn save_changed(&mut self, clock: Timestamp) {
        if self.backing.is_none() {
            return;
        }
        let saved = *self.saved.get_or_insert(clock);
        let is_due = clock.since(saved).nanos() >= SAVE_EVERY;
        if is_due || self.looked.is_none_or(|looked| clock.since(looked).nanos() >= LOOK_EVERY) {
            self.heed_edits();
            self.looked = Some(clock);
        }
        if !is_due {
            return;
        }
        self.store(true);
        let Some(backing) = &self.backing else { return };
        self.saved = Some(clock);
        let expired = *self.expired.get_or_insert(clock);
        if clock.since(expired).nanos() >= EXPIRE_EVERY {
            backing.expire(clock.plus(Span(-KEEP)));
            self.expired = Some(clock);
        }
        backing.flush();
    }

    /// All that was written is kept.
    fn is_whole(&self) -> bool {
        self.backing.as_ref().is_none_or(|backing| backing.is_whole())
    }

    /// Writes the baselines that changed, or all, one beside the other in the file: a hundred thousand in any order would
    /// each bring pages of their own.
    fn store(&mut self, changed: bool) {
        let Some(backing) = &self.backing else { return };
        let mut records: Vec<&HostRecord> =
            if changed { self.table.changed().collect() } else { self.table.iter().collect() };
        records.sort_unstable_by_key(|record| record.place());
        records.into_iter().for_each(|record| backing.write(record));
        self.table.note_stored();
    }

    /// Tells held cases that a leaf answers for unrelated names.
    pub fn note_portal(&mut self, leaf: &Sha256) {
        self.holding.note_portal(leaf);
    }

    /// Tells held cases that a key is in certificates of unrelated names.
    pub fn note_shared_key(&mut self, key: &Sha256) {
        self.holding.note_shared_key(key);
    }
}

impl Detector for Hosts {
    fn next_waiting(&self, issuer: &str, after: Option<u64>) -> Option<WaitingChain> {
        self.lacking(issuer, after)
    }

    fn judged_again(&mut self, waiting: &WaitingChain, chain: &JudgedChain, knowledge: &Knowledge) {
        self.complete(waiting, chain, knowledge);
    }

    fn observe(&mut self, sighting: &Sighting<'_>, findings: &mut Vec<Finding>) {
        self.recall(sighting);
        if let Some(new) = Presented::of(sighting, &self.memo) {
            self.observe_chain(sighting, (&new, Hints::default()), findings);
        }
    }

    fn advance(&mut self, clock: Timestamp, policy: &Policy, findings: &mut Vec<Finding>) {
        self.release(clock, policy, findings);
    }

    fn save(&mut self, clock: Timestamp) {
        self.save_changed(clock);
    }

    fn forgotten(&self) -> u64 {
        let views = self.views.forgotten().saturating_add(self.witnesses.forgotten());
        views.saturating_add(self.unaccused).saturating_add(self.unlearned)
    }

    fn finish(&mut self, policy: &Policy, findings: &mut Vec<Finding>) {
        self.heed_edits();
        let was_whole = self.is_whole();
        let mut changed = was_whole;
        if self.saved.is_some() {
            // Live: as at any other time, in many small transactions. What belongs together is what is decided only now.
            self.store(changed);
            changed = was_whole == self.is_whole();
        }
        if let Some(backing) = &self.backing {
            backing.finish();
        }
        self.go_on_accusing(overturn::ACCUSED_AT_END, findings);
        let left = u64::try_from(std::mem::take(&mut self.accusing).len()).unwrap_or(u64::MAX);
        self.unaccused = self.unaccused.saturating_add(left);
        for (key, held) in self.holding.take_all() {
            self.decide((&key, held), policy, findings);
        }
        self.store(changed);
        if let Some(backing) = &self.backing {
            backing.flush();
        }
    }
}

/// One finding for each client that got the certificate.
fn report(case: &Case, held: &Held, severity: Severity) -> Vec<Finding> {
    let new = &held.new;
    let cause = if new.is_trusted() || new.self_signed {
        // Whoever makes a certificate at each start has one cause, not one for each key.
        Cause::Subject { rule: UNEXPECTED_CERTIFICATE.id, host: case.host.clone(), parts: Arc::default() }
    } else {
        new.cause()
    };
    let until = case.expected_until.map(|at| Timestamp::new(at, 0).rfc3339().to_string());
    let until = until.as_deref().and_then(|text| text.get(..10)).map(|day| format!(", valid until {day}"));
    let expected = case.baseline.issuers.first().map_or("another issuer", String::as_str);
    let (trusted, untrusted) = if case.is_better() { (" that is trusted", ", which is not") } else { ("", "") };
    let until = format!("{}{untrusted}", until.unwrap_or_default());
    let others = match case.others.old_clients {
        0 => format!("instead of the expected one from \"{expected}\"{until}"),
        1 => format!("while one client got the one from \"{expected}\"{until}"),
        clients => format!("while {} clients got the one from \"{expected}\"{until}", about(clients, 2)),
    };
    let what = format!("a certificate{trusted} from {} {others}", new.issuer_phrase());
    let make = |place: &report::Place| {
        let mut finding = place.finding((&UNEXPECTED_CERTIFICATE, cause.clone()), &what, new);
        finding.severity = severity;
        finding.confidence = case.confidence;
        finding.evidence = case.evidence().into();
        finding
    };
    let mut findings: Vec<Finding> = held.places.iter().map(make).collect();
    bring_to_first(held.observation.as_ref(), &mut findings);
    findings
}

/// The first finding of a case brings the handshake along.
fn bring_to_first(observation: Option<&Arc<Observation>>, findings: &mut [Finding]) {
    if let Some(first) = findings.first_mut() {
        first.observation = observation.cloned();
    }
}

/// The server of a place as [`record::KnownCertificate::servers`] notes it.
fn server_mark(place: &report::Place) -> u64 {
    let mut servers = [0];
    mark(&mut servers, subnet_hash(place.ends.server.address));
    servers[0]
}

#[cfg(test)]
mod boundary_tests;
#[cfg(test)]
mod condition_tests;
#[cfg(test)]
mod copy_tests;
#[cfg(test)]
mod evidence_tests;
#[cfg(test)]
mod memory_tests;
#[cfg(test)]
mod move_tests;
#[cfg(test)]
mod overturn_tests;
#[cfg(test)]
mod split_tests;
#[cfg(test)]
mod tests;
