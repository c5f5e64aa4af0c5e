//! Cases that wait for more evidence: what other clients get decides many of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Hints;
use super::case::Case;
use super::presented::Presented;
use super::record::HostRecord;
use super::report::Place;
use super::score::{Circumstances, Others};
use super::sketch::{address_hash, subnet_hash};
use super::split::{Scope, SplitView};
use super::witness::Witness;
use crate::detect::finding::Point;
use crate::detect::observation::Observation;
use crate::detect::sighting::{HostKey, Sighting};
use crate::policy::Severity;
use crate::time::{NANOS_PER_SECOND, Timestamp};
use crate::x509::Sha256;

/// Held cases of all hosts.
const MAX_HELD: usize = 8_192;
/// Held cases of one host.
const MAX_CASES: usize = 16;
/// Clients kept of a case.
const MAX_PLACES: usize = 64;
/// Handshakes of the host after which a case is decided.
const ENOUGH_HANDSHAKES: u32 = 20;
/// Bytes of first handshakes of held cases. Beyond, an alert tells what its finding knows: ends, certificate, frame.
const MAX_BYTES: usize = 32 << 20;
/// Bytes of a leaf whose case is held though its handshake is not.
const USUAL: usize = 64 << 10;
const HOUR: i64 = 3_600 * NANOS_PER_SECOND;

/// A case that is not decided.
#[derive(Clone, Debug)]
pub struct Held {
    /// The chain.
    pub new: Presented,
    /// Where it was first seen.
    pub place: Place,
    /// The first sight with each client.
    pub places: Vec<Place>,
    /// When it was first seen.
    pub at: Timestamp,
    /// The same in seconds, where the packet's time is known.
    pub seconds: Option<i64>,
    /// Proofs that held at first sight.
    pub proofs: Vec<Point>,
    /// A client refused it.
    pub refused: bool,
    /// The policy allows its issuer here.
    pub allowed: bool,
    /// What other rules found out.
    pub hints: Hints,
    /// What else came with the first handshake.
    pub circumstances: Circumstances,
    /// Captures, not live.
    pub offline: bool,
    /// It was accepted before the trusted certificate of the host came: without more evidence it is what that replaced.
    pub overturned: bool,
    /// It came again after that.
    pub returned: bool,
    /// Others got another certificate of the same server.
    pub split: Option<SplitView>,
    /// The first handshake; `None` where too much is held.
    pub observation: Option<Arc<Observation>>,
    /// Clients of the first hour, and their subnets.
    clients: BTreeSet<u64>,
    subnets: BTreeSet<u64>,
    /// Of these clients those that got the expected one of the same server later.
    back: BTreeSet<u64>,
    /// The certificate that was expected when it came.
    expected: Option<Sha256>,
    old: Others,
    handshakes: u32,
    until: Timestamp,
}

impl Held {
    /// A case that begins with this handshake.
    pub fn new(sighting: &Sighting<'_>, new: Presented, proofs: Vec<Point>) -> Self {
        let place = Place::of(sighting);
        let client = sighting.observation.ends.client.address;
        Self {
            new,
            places: vec![place.clone()],
            place,
            at: sighting.clock,
            seconds: sighting.at.map(|at| at.seconds()),
            proofs,
            refused: false,
            allowed: false,
            hints: Hints::default(),
            circumstances: Circumstances::default(),
            offline: sighting.offline,
            overturned: false,
            returned: false,
            split: None,
            observation: None,
            clients: BTreeSet::from([address_hash(client)]),
            subnets: BTreeSet::from([subnet_hash(client)]),
            back: BTreeSet::new(),
            expected: None,
            old: Others::default(),
            handshakes: 0,
            until: Timestamp::MAX,
        }
    }

    /// A case about a certificate that was accepted, and is not expected any more since the trusted one came. `same`: the
    /// same server has that one for others.
    pub fn overturned(
        sighting: &Sighting<'_>,
        (witness, trusted, same): (&Witness, &Sha256, bool),
        proofs: Vec<Point>,
    ) -> Self {
        let mut held = Self::new(sighting, witness.new.clone(), proofs);
        let first_hour = |place: &&Place| place.moment.order.clock.since(witness.at).nanos() <= HOUR;
        let clients = || witness.places.iter().filter(first_hour).map(|place| place.ends.client.address);
        held.clients = clients().map(address_hash).collect();
        held.subnets = clients().map(subnet_hash).collect();
        held.at = witness.at;
        held.seconds = witness.seconds.map(|at| at.seconds());
        held.place = witness.places.first().cloned().unwrap_or(held.place);
        held.places.clone_from(&witness.places);
        held.overturned = true;
        held.expected = Some(*trusted);
        held.old = Others { old_again: true, old_again_same_server: same, ..Others::default() };
        let handshake = &witness.observation.handshake;
        held.refused = handshake.alerts.iter().any(|alert| super::circumstances::is_refusal(alert, handshake.client));
        let is_scanner = |place: &Place| sighting.policy.is_scanner(place.ends.client.address);
        held.circumstances.scanner = held.places.iter().all(is_scanner);
        held
    }

    /// What other clients got, as far as it is known.
    pub fn others(&self) -> Others {
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let (new_clients, new_subnets) = (count(self.clients.len()), count(self.subnets.len()));
        Others { new_clients, new_subnets, back: count(self.back.len()), ..self.old }
    }

    /// What was expected instead.
    pub fn expected(&self) -> Option<Sha256> {
        self.expected
    }

    /// What it is compared with: whether that goes on to be served decides many cases.
    pub fn expect(&mut self, record: &HostRecord) {
        self.expected = record.expected(&self.new, self.seconds).map(|old| Sha256(old.sha256));
    }

    /// More handshakes of the host may change the verdict.
    pub fn is_open(&self, case: &Case) -> bool {
        let undecided = |id| !case.pro.iter().chain(&case.contra).any(|point: &Point| point.id == id);
        let between = case.is_doubtful() && case.severity < Some(Severity::High);
        case.proofs.is_empty() && between && undecided("B4") && (undecided("H5") || undecided("H6"))
    }

    /// What the others got until now.
    pub fn note_expected(&mut self, record: &HostRecord, at: Timestamp) {
        if at.since(self.at).nanos() > HOUR {
            return;
        }
        if let Some(old) = record.expected(&self.new, self.seconds) {
            let (clients, subnets) = old.recent(at);
            self.old.old_clients = self.old.old_clients.max(clients);
            self.old.old_subnets = self.old.old_subnets.max(subnets);
        }
    }

    /// The expected one is served.
    fn note_other(&mut self, sighting: &Sighting<'_>) {
        let ends = &sighting.observation.ends;
        self.old.old_again = true;
        if ends.server.address != self.place.ends.server.address {
            return;
        }
        self.old.old_again_same_server |= ends.client.address != self.place.ends.client.address;
        let client = address_hash(ends.client.address);
        if self.clients.contains(&client) {
            self.back.insert(client);
        }
    }

    fn note_again(&mut self, sighting: &Sighting<'_>) {
        self.returned = self.overturned;
        let place = Place::of(sighting);
        let client = place.ends.client.address;
        if sighting.clock.since(self.at).nanos() <= HOUR && self.clients.len() < MAX_PLACES {
            self.clients.insert(address_hash(client));
            self.subnets.insert(subnet_hash(client));
        }
        let known = self.places.iter().any(|other| other.ends.client.address == client);
        if !known && self.places.len() < MAX_PLACES {
            self.places.push(place);
        }
        self.refused |= super::circumstances::is_refused(sighting);
        self.circumstances.scanner &= sighting.policy.is_scanner(client);
        self.circumstances.no_choice &= super::circumstances::has_no_choice(sighting, &self.new);
    }
}

/// Held cases by host.
#[derive(Debug)]
pub struct Holding {
    hosts: BTreeMap<HostKey, Vec<Held>>,
    count: usize,
    bytes: usize,
    /// No case is due before.
    next: Timestamp,
}

impl Default for Holding {
    fn default() -> Self {
        Self { hosts: BTreeMap::new(), count: 0, bytes: 0, next: Timestamp::MAX }
    }
}

impl Holding {
    /// Holds a case until this time, in captures to their end. Gives it back where there is no room: then it is decided at
    /// once.
    pub fn insert(
        &mut self,
        (key, observation): (&HostKey, &Observation),
        mut held: Held,
        until: Timestamp,
    ) -> Option<Held> {
        if self.count >= MAX_HELD || self.hosts.get(key).is_some_and(|cases| cases.len() >= MAX_CASES) {
            return Some(held);
        }
        let weight = observation.weight();
        if held.new.leaf.weight() > USUAL && self.bytes.saturating_add(weight) > MAX_BYTES {
            return Some(held);
        }
        if !held.offline {
            held.until = until;
            self.next = self.next.min(held.until);
        }
        if self.bytes.saturating_add(weight) <= MAX_BYTES {
            self.bytes += weight;
            held.observation = Some(observation.kept());
        }
        self.count += 1;
        self.hosts.entry(key.clone()).or_default().push(held);
        None
    }

    /// The case of this certificate of this host.
    pub fn get_mut(&mut self, key: &HostKey, leaf: &Sha256) -> Option<&mut Held> {
        self.hosts.get_mut(key)?.iter_mut().find(|held| held.new.leaf.sha256 == *leaf)
    }

    /// Takes a case out.
    pub fn remove(&mut self, key: &HostKey, leaf: &Sha256) -> Option<Held> {
        let cases = self.hosts.get_mut(key)?;
        let place = cases.iter().position(|held| held.new.leaf.sha256 == *leaf)?;
        let held = cases.remove(place);
        if cases.is_empty() {
            self.hosts.remove(key);
        }
        self.count = self.count.saturating_sub(1);
        let freed = held.observation.as_deref().map_or(0, Observation::weight);
        self.bytes = self.bytes.saturating_sub(freed);
        Some(held)
    }

    /// Takes note of a handshake of a host with held cases.
    pub fn watch(&mut self, sighting: &Sighting<'_>, new: &Presented, record: Option<&HostRecord>) {
        let Some(cases) = self.hosts.get_mut(sighting.host) else { return };
        for held in cases {
            held.handshakes = held.handshakes.saturating_add(1);
            if held.new.leaf.sha256 == new.leaf.sha256 {
                held.note_again(sighting);
            } else if held.expected == Some(new.leaf.sha256) {
                held.note_other(sighting);
            }
            if let Some(record) = record {
                held.note_expected(record, sighting.clock);
            }
            let waits = held.new.is_trusted() && held.others().may_be_balanced();
            if !held.offline && held.handshakes >= ENOUGH_HANDSHAKES && !waits {
                held.until = sighting.clock;
                self.next = self.next.min(held.until);
            }
        }
    }

    /// Looks whether the clients of a held certificate fall apart from the others.
    pub fn note_split(&mut self, scope: &Scope<'_>, record: &HostRecord) {
        for held in self.hosts.get_mut(scope.host).into_iter().flatten() {
            held.split = held.split.or_else(|| scope.split(record, &held.new).ok().flatten());
        }
    }

    /// Takes out the cases that waited long enough.
    pub fn due(&mut self, clock: Timestamp) -> Vec<(HostKey, Held)> {
        if clock < self.next {
            return Vec::new();
        }
        let mut out = Vec::new();
        for (key, cases) in &mut self.hosts {
            let (due, waiting): (Vec<_>, _) = std::mem::take(cases).into_iter().partition(|held| held.until <= clock);
            *cases = waiting;
            out.extend(due.into_iter().map(|held| (key.clone(), held)));
        }
        self.hosts.retain(|_, cases| !cases.is_empty());
        self.count = self.count.saturating_sub(out.len());
        let freed = out.iter().filter_map(|(_, held)| held.observation.as_deref()).map(Observation::weight).sum();
        self.bytes = self.bytes.saturating_sub(freed);
        let open = self.hosts.values().flatten().map(|held| held.until);
        self.next = open.min().unwrap_or(Timestamp::MAX);
        out
    }

    /// Takes out all cases, in order of their hosts.
    pub fn take_all(&mut self) -> Vec<(HostKey, Held)> {
        (self.count, self.bytes) = (0, 0);
        self.next = Timestamp::MAX;
        let hosts = std::mem::take(&mut self.hosts);
        hosts.into_iter().flat_map(|(key, cases)| cases.into_iter().map(move |held| (key.clone(), held))).collect()
    }

    /// Drops the cases of a host that `gone` names, without a word.
    pub fn forget(&mut self, key: &HostKey, gone: impl Fn(&Sha256) -> bool) {
        let Some(cases) = self.hosts.get_mut(key) else { return };
        let (out, left): (Vec<_>, _) = std::mem::take(cases).into_iter().partition(|held| gone(&held.new.leaf.sha256));
        *cases = left;
        self.count = self.count.saturating_sub(out.len());
        let freed = out.iter().filter_map(|held| held.observation.as_deref()).map(Observation::weight).sum();
        self.bytes = self.bytes.saturating_sub(freed);
        if cases.is_empty() {
            self.hosts.remove(key);
        }
    }

    /// A leaf answers for unrelated names.
    pub fn note_portal(&mut self, leaf: &Sha256) {
        let cases = self.hosts.values_mut().flatten();
        cases.filter(|held| held.new.leaf.sha256 == *leaf).for_each(|held| held.hints.portal = true);
    }

    /// A key is in certificates of unrelated names.
    pub fn note_shared_key(&mut self, key: &Sha256) {
        let cases = self.hosts.values_mut().flatten();
        cases.filter(|held| held.new.spki == *key).for_each(|held| held.hints.key_elsewhere = true);
    }
}
