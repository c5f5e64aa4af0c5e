//! Alerts: the findings of one cause, counted, with the gravest rule at their head.
//!
//! At the end of a capture each cause is one alert. As it happens, the first sight is told at once, a higher severity at
//! once too, and what came after that when the window is over.

mod capped;
pub mod kept;
pub mod past;
mod room;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::time::{NANOS_PER_SECOND, Order, Span, Timestamp};

use super::catalogue::{Category, Effect, Severity};
use super::finding::{AlertId, Cause, Finding};
use super::hosts::backing::{Backing, ToldBefore};
use super::memory::Memory;
use super::observation::{Ends, Observation};
use kept::{Keeping, Kept};
use room::{BYTES, Full, Gone};

pub use capped::Capped;

/// Causes that are remembered; beyond, a new one is only counted where none that is over or less grave can leave for it.
const CAUSES: usize = 50_000;
/// Causes whose ids are remembered.
const IDS: usize = 8_192;
/// Hosts, clients and handshakes that one alert tells apart; beyond, its numbers are lower bounds.
const KEPT: usize = 4_096;
/// Hosts, clients and handshakes that all alerts tell apart together: some 64 MB. Beyond, an alert tells [`FEW`] of each.
const LISTED: usize = 2 << 20;
/// Hosts, clients and handshakes that an alert tells apart however many other alerts there are.
const FEW: usize = 16;
/// Handshakes that one alert names.
const SAMPLES: usize = 10;
/// Alerts of one rule in a minute, as it happens.
const ALERTS_A_MINUTE: u32 = 100;
/// Hosts of one interception that are told one by one as they come; from then on whenever there are twice as many.
const ONE_BY_ONE: usize = 4;
/// How long further findings of a cause are only counted: interception.
const MITM_WINDOW: Span = Span::seconds(3_600);
/// How long further findings of a cause are only counted: everything else.
const WINDOW: Span = Span::seconds(86_400);

/// One cause with everything that was found of it.
#[derive(Clone, Debug)]
pub struct Alert {
    /// `tlswatch.alert.id`.
    pub id: AlertId,
    /// The finding that heads it.
    pub head: Finding,
    /// Ids of all rules that hold.
    pub rules: BTreeSet<&'static str>,
    /// Gravest severity of all findings.
    pub severity: Severity,
    /// Handshakes with a finding.
    pub count: u64,
    /// Packet time of the first.
    pub first_seen: Timestamp,
    /// Packet time of the last.
    pub last_seen: Timestamp,
    /// Hosts.
    pub hosts: Capped<Arc<str>>,
    /// Clients.
    pub clients: Capped<IpAddr>,
    /// Some handshakes, the first ones.
    pub samples: Vec<Sample>,
    /// The handshake of the head.
    pub observation: Option<Arc<Observation>>,
    /// A suppression of the policy silences it.
    pub suppressed: bool,
    /// Bytes of what it holds of its handshake.
    held: usize,
    /// Handshakes that were counted: the first ones, and the last.
    counted: Vec<Order>,
    last_counted: Option<Order>,
    told: Option<Told>,
    /// The brake of its rule holds its next line until then; it was so grave when that was found.
    braked: Option<(Timestamp, Severity)>,
    /// What earlier runs told of it.
    earlier: Option<ToldBefore>,
    /// Count and first time begin with those of earlier runs.
    goes_on: bool,
    /// Handshakes that no earlier run has read.
    fresh: u64,
    /// Rule and host of the head are among those of the alert.
    noted: bool,
    /// How much of it the inventory has.
    kept: Kept,
}

/// A handshake that shows a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Client and server.
    pub ends: Ends,
    /// First frame, as Wireshark counts in that file.
    pub frame: u64,
}

/// What was last said about a cause.
#[derive(Clone, Copy, Debug)]
struct Told {
    severity: Severity,
    count: u64,
    hosts: usize,
    window_ends: Timestamp,
}

/// What a line says about its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertStatus {
    /// The first line of the cause.
    New,
    /// More of the same.
    Update,
    /// The severity rose.
    Escalated,
}

impl AlertStatus {
    /// Value of `tlswatch.alert.status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Update => "update",
            Self::Escalated => "escalated",
        }
    }
}

/// What became of findings that are no line of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Findings.
    pub findings: u64,
    /// Findings that mark and do not alert.
    pub marks: u64,
    /// Findings that a suppression silenced.
    pub suppressed: u64,
    /// Findings of causes for which there was no room.
    pub overflow: u64,
    /// Lines that the brake of a rule held back for a minute or more.
    pub braked: u64,
}

/// When alerts are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// At the end of the input, each cause once.
    #[default]
    AtEnd,
    /// As it happens.
    AtOnce,
}

/// Gathers findings by cause.
#[derive(Debug)]
pub struct Alerts {
    when: When,
    // Boxed: they are long, and a table is copied whenever it grows.
    causes: HashMap<CauseKey, Box<Alert>, FixedState>,
    /// Ids of causes that were asked for.
    ids: Memory<Cause, AlertId>,
    backing: Option<Arc<dyn Backing>>,
    /// Of rules, and of each apart what is suppressed.
    brakes: BTreeMap<(&'static str, bool), (i64, u32)>,
    /// Told causes of which there is more to tell, by the end of their window.
    waiting: BTreeSet<(Timestamp, CauseKey)>,
    /// No more causes than these.
    capacity: usize,
    full: Option<Full>,
    /// Bytes of handshakes that alerts hold, and how many they may.
    held: (usize, usize),
    /// Hosts, clients and handshakes that alerts tell apart, and how many they may.
    listed: (usize, usize),
    gone: Gone,
    keeping: Keeping,
    /// What became of findings.
    pub counts: Counts,
}

/// A cause, and whether it is the suppressed part of it.
pub type CauseKey = (AlertId, bool);

impl Default for Alerts {
    fn default() -> Self {
        Self {
            when: When::AtEnd,
            causes: HashMap::with_hasher(FixedState::with_seed(0)),
            ids: Memory::new(IDS),
            backing: None,
            brakes: BTreeMap::new(),
            waiting: BTreeSet::new(),
            capacity: CAUSES,
            full: None,
            held: (0, BYTES),
            listed: (0, LISTED),
            gone: Gone::default(),
            keeping: Keeping::default(),
            counts: Counts::default(),
        }
    }
}

impl Alerts {
    /// None yet.
    pub fn new(when: When) -> Self {
        Self { when, ..Self::default() }
    }

    /// Asks here what earlier runs told.
    #[must_use]
    pub fn remembering(mut self, backing: Option<Arc<dyn Backing>>) -> Self {
        self.backing = backing;
        self
    }

    /// Whether a finding will head its cause, so that its message is read.
    pub fn wants(&mut self, finding: &mut Finding) -> bool {
        if finding.effect == Effect::Mark {
            return false;
        }
        let id = self.id(finding);
        finding.id = Some(id);
        let known = self.causes.get(&(id, finding.suppressed_by.is_some()));
        known.is_none_or(|alert| finding.precedence() < alert.head.precedence())
    }

    /// Takes a finding in. Says what is to be told at once. `observation` is asked only where the finding heads its
    /// cause: most are only counted.
    pub fn take(
        &mut self,
        finding: &Finding,
        observation: impl FnOnce() -> Option<Arc<Observation>>,
        clock: Timestamp,
    ) -> Option<(CauseKey, AlertStatus)> {
        self.counts.findings += 1;
        if finding.effect == Effect::Mark {
            self.counts.marks += 1;
            return None;
        }
        let suppressed = finding.suppressed_by.is_some();
        self.counts.suppressed += u64::from(suppressed);
        let key = (self.id(finding), suppressed);
        let is_new = self.causes.len() >= self.capacity && !self.causes.contains_key(&key);
        let of = ((!suppressed, finding.severity), finding.rule.id);
        let full = is_new && !self.has_room(of, clock);
        let backing = self.backing.as_deref();
        let old = backing.is_some_and(|backing| backing.was_read(finding.ends.as_ref(), &finding.moment));
        let most = self.most();
        match self.causes.get_mut(&key) {
            Some(alert) => {
                let before = alert.listed();
                if alert.take((finding, old, most), observation) {
                    alert.hold(&mut self.held);
                }
                self.listed.0 = self.listed.0.saturating_add(alert.listed()).saturating_sub(before);
            }
            None if full => {
                self.counts.overflow += 1;
                return None;
            }
            None => {
                let earlier = backing.filter(|_| !suppressed).and_then(|backing| backing.told(&key.0));
                let mut alert = Alert::new(key, (finding, old), observation());
                alert.earlier = earlier;
                alert.hold(&mut self.held);
                if self.when == When::AtOnce && !old {
                    let before = || backing.map(|backing| backing.about(&key.0)).unwrap_or_default();
                    alert.go_on((clock, most), before);
                }
                self.listed.0 = self.listed.0.saturating_add(alert.listed());
                self.causes.insert(key, Box::new(alert));
                self.full = None;
            }
        }
        if self.when == When::AtEnd {
            return None;
        }
        let alert = self.causes.get(&key)?;
        let status = match alert.told {
            // What is graver now may have another rule at its head.
            _ if alert.braked.is_some_and(|(_, severity)| alert.severity <= severity) => return None,
            None => alert.first_status(),
            Some(told) if alert.severity > told.severity => AlertStatus::Escalated,
            Some(told) if alert.spreads(told) => AlertStatus::Update,
            Some(told) => {
                if alert.count > told.count {
                    self.waiting.insert((told.window_ends, key));
                }
                return None;
            }
        };
        self.tell(key, clock).then_some((key, status))
    }

    /// Causes of which there is more to tell, since their window is over or the brake of their rule let go; the gravest
    /// first, and of these the new ones in order of first sight.
    pub fn advance(&mut self, clock: Timestamp) -> Vec<(CauseKey, AlertStatus)> {
        let mut due = Vec::new();
        while let Some((_, key)) = self.waiting.first().copied().filter(|(ends, _)| *ends <= clock) {
            self.waiting.pop_first();
            let Some(alert) = self.causes.get(&key) else { continue };
            let status = match alert.told {
                None => alert.first_status(),
                Some(told) if alert.severity > told.severity => AlertStatus::Escalated,
                Some(_) => AlertStatus::Update,
            };
            // Not in order of ids: whoever makes new causes without end would keep one that is late in it waiting for ever.
            let rank = (Reverse(alert.severity), status == AlertStatus::Update, alert.first_seen);
            due.push((rank, key, status));
        }
        due.sort_unstable_by_key(|(rank, key, _)| (*rank, *key));
        let due = due.into_iter().map(|(_, key, status)| (key, status));
        due.filter(|(key, _)| self.tell(*key, clock)).collect()
    }

    /// What is left to tell at the end of the input, in order of first sight.
    pub fn finish(&mut self) -> Vec<(CauseKey, AlertStatus)> {
        let due = self.causes.iter().filter_map(|(key, alert)| match alert.told {
            None => Some((alert.first_seen, *key, alert.first_status())),
            Some(told) if alert.severity > told.severity => Some((alert.first_seen, *key, AlertStatus::Escalated)),
            Some(told) => (alert.count > told.count).then_some((alert.first_seen, *key, AlertStatus::Update)),
        });
        let mut due: Vec<_> = due.collect();
        due.sort_by_key(|(first_seen, key, _)| (*first_seen, *key));
        due.into_iter().map(|(_, key, status)| (key, status)).collect()
    }

    /// These are written now, as they stand: what the handshake at hand added after they were due is told with them.
    pub fn written(&mut self, due: &[(CauseKey, AlertStatus)]) {
        for (key, _) in due {
            let Some(alert) = self.causes.get_mut(key).filter(|alert| alert.braked.is_none()) else { continue };
            let (count, hosts) = (alert.count, alert.hosts.len());
            if let Some(told) = alert.told.as_mut().filter(|told| told.count < count) {
                self.waiting.remove(&(told.window_ends, *key));
                (told.count, told.hosts) = (count, hosts);
                alert.note_kept();
            }
        }
    }

    /// A rule does not hold for a cause after all. An alert that nothing else holds for is gone.
    pub fn retract(&mut self, id: AlertId, rule: &'static str) {
        for key in [(id, false), (id, true)] {
            let Some(alert) = self.causes.get_mut(&key).filter(|alert| alert.told.is_none()) else { continue };
            alert.rules.remove(rule);
            alert.noted = false;
            if alert.rules.is_empty() {
                self.held.0 = self.held.0.saturating_sub(alert.held);
                self.listed.0 = self.listed.0.saturating_sub(alert.listed());
                self.causes.remove(&key);
            }
        }
    }

    /// Two causes turned out to be one: `from` becomes part of `to`.
    pub fn unite(&mut self, from: AlertId, to: AlertId) {
        for suppressed in [false, true] {
            if self.causes.get(&(from, suppressed)).is_none_or(|alert| alert.told.is_some()) {
                continue;
            }
            let Some(mut moved) = self.causes.remove(&(from, suppressed)) else { continue };
            moved.id = to;
            match self.causes.get_mut(&(to, suppressed)) {
                Some(alert) => {
                    let before = alert.listed().saturating_add(moved.listed());
                    alert.absorb(*moved);
                    self.listed.0 = self.listed.0.saturating_add(alert.listed()).saturating_sub(before);
                }
                None => {
                    self.causes.insert((to, suppressed), moved);
                }
            }
        }
    }

    /// The alert of a cause.
    pub fn get(&self, key: &CauseKey) -> Option<&Alert> {
        self.causes.get(key).map(|alert| &**alert)
    }

    /// Alerts in order of their id.
    pub fn iter(&self) -> impl Iterator<Item = &Alert> {
        let mut alerts: Vec<_> = self.causes.iter().collect();
        alerts.sort_unstable_by_key(|(key, _)| **key);
        alerts.into_iter().map(|(_, alert)| &**alert)
    }

    /// How many hosts, clients and handshakes an alert may tell apart now.
    fn most(&self) -> usize {
        if self.listed.0 < self.listed.1 { KEPT } else { FEW }
    }

    fn id(&mut self, finding: &Finding) -> AlertId {
        if let Some(id) = finding.id.or_else(|| self.ids.get(&finding.cause).copied()) {
            return id;
        }
        let id = finding.cause.alert_id();
        self.ids.insert(finding.cause.clone(), id);
        id
    }

    /// Notes that the cause is told now, unless the brake of its rule holds: then it waits for the next minute.
    fn tell(&mut self, key: CauseKey, clock: Timestamp) -> bool {
        let Some(alert) = self.causes.get_mut(&key) else { return false };
        let minute = clock.nanos().div_euclid(60 * NANOS_PER_SECOND);
        let brake = self.brakes.entry((alert.head.rule.id, key.1)).or_insert((minute, 0));
        if brake.0 != minute {
            *brake = (minute, 0);
        }
        brake.1 = brake.1.saturating_add(1);
        let window_ends = clock.plus(alert.window());
        if let Some(at) = alert.waits_until() {
            self.waiting.remove(&(at, key));
        }
        let was_braked = alert.braked.take().is_some();
        if brake.1 > ALERTS_A_MINUTE {
            self.counts.braked += u64::from(!was_braked);
            let next = Timestamp::new(minute.saturating_add(1).saturating_mul(60), 0);
            alert.braked = Some((next, alert.severity));
            self.waiting.insert((next, key));
            return false;
        }
        let hosts = alert.hosts.len();
        alert.note_kept();
        alert.told = Some(Told { severity: alert.severity, count: alert.count, hosts, window_ends });
        true
    }
}

impl Alert {
    fn new(
        (id, suppressed): CauseKey,
        (finding, old): (&Finding, bool),
        observation: Option<Arc<Observation>>,
    ) -> Self {
        let mut alert = Self {
            id,
            rules: BTreeSet::new(),
            severity: finding.severity,
            count: 0,
            first_seen: finding.moment.timestamp,
            last_seen: finding.moment.timestamp,
            hosts: Capped::default(),
            clients: Capped::default(),
            samples: Vec::new(),
            observation,
            suppressed,
            held: 0,
            counted: Vec::new(),
            last_counted: None,
            told: None,
            braked: None,
            earlier: None,
            goes_on: false,
            fresh: 0,
            noted: false,
            kept: Kept::default(),
            head: finding.clone(),
        };
        alert.count_in(finding, old, FEW);
        alert
    }

    /// Hosts, clients and handshakes that it tells apart.
    fn listed(&self) -> usize {
        self.hosts.len().saturating_add(self.clients.len()).saturating_add(self.counted.len())
    }

    /// What is to be remembered of the cause over all runs; `None` when an earlier run has all of it.
    pub fn total(&self) -> Option<ToldBefore> {
        let now =
            ToldBefore { first: self.first_seen, last: self.last_seen, count: self.count, severity: self.severity };
        let Some(earlier) = self.earlier else { return Some(now) };
        (self.fresh > 0).then(|| ToldBefore {
            first: earlier.first.min(now.first),
            last: earlier.last.max(now.last),
            count: earlier.count.saturating_add(self.fresh),
            severity: earlier.severity.max(now.severity),
        })
    }

    /// How the first line of this run begins: the cause is new unless earlier runs told of earlier handshakes.
    fn first_status(&self) -> AlertStatus {
        match self.earlier {
            Some(earlier) if !self.goes_on && earlier.first >= self.first_seen => AlertStatus::New,
            Some(earlier) if self.severity > earlier.severity => AlertStatus::Escalated,
            Some(_) => AlertStatus::Update,
            None => AlertStatus::New,
        }
    }

    /// A grave interception reached hosts that nobody was told of, and so many that it cannot wait for the window's end:
    /// another host is another victim, and no more of the same.
    fn spreads(&self, told: Told) -> bool {
        let due = if told.hosts < ONE_BY_ONE { told.hosts.saturating_add(1) } else { told.hosts.saturating_mul(2) };
        self.severity >= Severity::High && self.head.rule.category == Category::Mitm && self.hosts.len() >= due
    }

    /// Where it stands among what waits, if it waits.
    fn waits_until(&self) -> Option<Timestamp> {
        self.braked.map(|(until, _)| until).or_else(|| self.told.map(|told| told.window_ends))
    }

    fn window(&self) -> Span {
        if self.head.rule.category == Category::Mitm { MITM_WINDOW } else { WINDOW }
    }

    /// Counts a finding; whether it heads the alert now.
    fn take(
        &mut self,
        (finding, old, most): (&Finding, bool, usize),
        observation: impl FnOnce() -> Option<Arc<Observation>>,
    ) -> bool {
        self.count_in(finding, old, most);
        let heads = finding.precedence() < self.head.precedence();
        if heads {
            self.head = finding.clone();
            self.observation = observation();
        }
        heads
    }

    fn absorb(&mut self, other: Self) {
        self.noted = false;
        self.held = self.held.saturating_add(other.held);
        self.rules.extend(other.rules);
        self.severity = self.severity.max(other.severity);
        let mut counted: BTreeSet<Order> = self.counted.drain(..).collect();
        let both = other.counted.iter().filter(|order| counted.contains(order)).count();
        let both = u64::try_from(both).unwrap_or(u64::MAX);
        self.count = self.count.saturating_add(other.count).saturating_sub(both);
        self.fresh = self.fresh.saturating_add(other.fresh).saturating_sub(both);
        counted.extend(other.counted);
        self.counted = counted.into_iter().collect();
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
        self.hosts.absorb(other.hosts);
        self.clients.absorb(other.clients);
        self.samples.extend(other.samples);
        self.samples.sort_by_key(|sample| sample.frame);
        self.samples.dedup();
        self.samples.truncate(SAMPLES);
        if (other.head.precedence(), other.head.moment.order) < (self.head.precedence(), self.head.moment.order) {
            (self.head, self.observation) = (other.head, other.observation);
        }
    }

    fn count_in(&mut self, finding: &Finding, old: bool, most: usize) {
        let again = |known: &Finding| std::ptr::eq(known.rule, finding.rule) && Arc::ptr_eq(&known.host, &finding.host);
        // Nearly always the rule and the host of the head.
        let is_head = again(&self.head);
        let is_known = self.noted && is_head;
        self.noted |= is_head;
        if !is_known {
            self.rules.insert(finding.rule.id);
        }
        self.severity = self.severity.max(finding.severity);
        let at = finding.moment.timestamp;
        self.first_seen = self.first_seen.min(at);
        self.last_seen = self.last_seen.max(at);
        if !is_known && !finding.host.is_empty() {
            self.hosts.insert(Arc::clone(&finding.host), most);
        }
        // Several rules may hold for one handshake, and what was held for more evidence comes after others.
        let order = finding.moment.order;
        // Most come in order.
        let place = match self.counted.last() {
            Some(last) if *last >= order => self.counted.binary_search(&order),
            _ => Err(self.counted.len()),
        };
        let Err(place) = place else { return };
        if self.last_counted == Some(order) {
            return;
        }
        self.last_counted = Some(order);
        if self.counted.len() < most {
            self.counted.insert(place, order);
        }
        self.count = self.count.saturating_add(1);
        self.fresh = self.fresh.saturating_add(u64::from(!old));
        if let Some(ends) = finding.ends {
            self.clients.insert(ends.client.address, most);
            if self.samples.len() < SAMPLES {
                self.samples.push(Sample { ends, frame: finding.moment.frame });
            }
        }
    }
}

#[cfg(test)]
mod tests;
