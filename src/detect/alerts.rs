//! Alerts: the findings of one cause, counted, with the gravest rule at their head.
//!
//! At the end of a capture each cause is one alert. As it happens, the first sight is told at once, a higher severity at
//! once too, and what came after that when the window is over.

mod capped;
pub mod past;

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

pub use capped::Capped;

/// Causes that are remembered; beyond, findings of new causes are only counted.
const CAUSES: usize = 50_000;
/// Causes whose ids are remembered.
const IDS: usize = 8_192;
/// Hosts, clients and handshakes that one alert tells apart; beyond, its numbers are lower bounds.
const KEPT: usize = 4_096;
/// Handshakes that one alert names.
const SAMPLES: usize = 10;
/// Alerts of one rule in a minute, as it happens.
const ALERTS_A_MINUTE: u32 = 100;
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
    /// Handshakes that were counted: the first ones, and the last.
    counted: Vec<Order>,
    last_counted: Option<Order>,
    told: Option<Told>,
    /// What earlier runs told of it.
    earlier: Option<ToldBefore>,
    /// Count and first time begin with those of earlier runs.
    goes_on: bool,
    /// Handshakes that no earlier run has read.
    fresh: u64,
    /// Rule and host of the head are among those of the alert.
    noted: bool,
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
    /// Findings of causes beyond `CAUSES`.
    pub overflow: u64,
    /// Lines that the brake of a rule held back.
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
    brakes: BTreeMap<&'static str, (i64, u32)>,
    /// Told causes of which there is more to tell, by the end of their window.
    waiting: BTreeSet<(Timestamp, CauseKey)>,
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
        finding: Finding,
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
        let key = (self.id(&finding), suppressed);
        let full = self.causes.len() >= CAUSES;
        let backing = self.backing.as_deref();
        let old = backing.is_some_and(|backing| backing.was_read(finding.ends.as_ref(), &finding.moment));
        match self.causes.get_mut(&key) {
            Some(alert) => alert.take((finding, old), observation),
            None if full => {
                self.counts.overflow += 1;
                return None;
            }
            None => {
                let earlier = backing.filter(|_| !suppressed).and_then(|backing| backing.told(&key.0));
                let mut alert = Alert::new(key, (finding, old), observation());
                alert.earlier = earlier;
                if self.when == When::AtOnce && !old {
                    alert.go_on(clock);
                }
                self.causes.insert(key, Box::new(alert));
            }
        }
        if self.when == When::AtEnd {
            return None;
        }
        let alert = self.causes.get(&key)?;
        let status = match alert.told {
            None => alert.first_status(),
            Some(told) if alert.severity > told.severity => AlertStatus::Escalated,
            Some(told) => {
                if alert.count > told.count {
                    self.waiting.insert((told.window_ends, key));
                }
                return None;
            }
        };
        self.tell(key, clock).then_some((key, status))
    }

    /// Causes of which there is more to tell, since their window is over.
    pub fn advance(&mut self, clock: Timestamp) -> Vec<CauseKey> {
        let mut due = Vec::new();
        while let Some((_, key)) = self.waiting.first().copied().filter(|(ends, _)| *ends <= clock) {
            self.waiting.pop_first();
            due.push(key);
        }
        due.sort_unstable();
        due.into_iter().filter(|key| self.tell(*key, clock)).collect()
    }

    /// What is left to tell at the end of the input, in order of first sight.
    pub fn finish(&mut self) -> Vec<(CauseKey, AlertStatus)> {
        let due = self.causes.iter().filter_map(|(key, alert)| match alert.told {
            None => Some((alert.first_seen, *key, alert.first_status())),
            Some(told) => (alert.count > told.count).then_some((alert.first_seen, *key, AlertStatus::Update)),
        });
        let mut due: Vec<_> = due.collect();
        due.sort_by_key(|(first_seen, key, _)| (*first_seen, *key));
        due.into_iter().map(|(_, key, status)| (key, status)).collect()
    }

    /// A rule does not hold for a cause after all. An alert that nothing else holds for is gone.
    pub fn retract(&mut self, id: AlertId, rule: &'static str) {
        for key in [(id, false), (id, true)] {
            let Some(alert) = self.causes.get_mut(&key).filter(|alert| alert.told.is_none()) else { continue };
            alert.rules.remove(rule);
            alert.noted = false;
            if alert.rules.is_empty() {
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
                Some(alert) => alert.absorb(*moved),
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

    fn id(&mut self, finding: &Finding) -> AlertId {
        if let Some(id) = finding.id.or_else(|| self.ids.get(&finding.cause).copied()) {
            return id;
        }
        let id = finding.cause.alert_id();
        self.ids.insert(finding.cause.clone(), id);
        id
    }

    /// Notes that the cause is told now, unless the brake of its rule holds.
    fn tell(&mut self, key: CauseKey, clock: Timestamp) -> bool {
        let Some(alert) = self.causes.get_mut(&key) else { return false };
        let minute = clock.nanos().div_euclid(60 * NANOS_PER_SECOND);
        let brake = self.brakes.entry(alert.head.rule.id).or_insert((minute, 0));
        if brake.0 != minute {
            *brake = (minute, 0);
        }
        brake.1 = brake.1.saturating_add(1);
        let window_ends = clock.plus(alert.window());
        if let Some(told) = alert.told {
            self.waiting.remove(&(told.window_ends, key));
        }
        alert.told = Some(Told { severity: alert.severity, count: alert.count, window_ends });
        if brake.1 > ALERTS_A_MINUTE {
            self.counts.braked += 1;
            return false;
        }
        true
    }
}

impl Alert {
    fn new((id, suppressed): CauseKey, (finding, old): (Finding, bool), observation: Option<Arc<Observation>>) -> Self {
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
            counted: Vec::new(),
            last_counted: None,
            told: None,
            earlier: None,
            goes_on: false,
            fresh: 0,
            noted: false,
            head: finding.clone(),
        };
        alert.count_in(&finding, old);
        alert
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

    /// As it happens: an earlier run told of the cause, and this one goes on from there. Within the window it is only
    /// counted.
    fn go_on(&mut self, clock: Timestamp) {
        let Some(earlier) = self.earlier.filter(|earlier| earlier.first <= clock) else { return };
        let window_ends = earlier.last.plus(self.window());
        if clock < window_ends {
            self.told = Some(Told { severity: earlier.severity, count: earlier.count, window_ends });
        }
        self.goes_on = true;
        self.count = self.count.saturating_add(earlier.count);
        self.first_seen = self.first_seen.min(earlier.first);
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

    fn window(&self) -> Span {
        if self.head.rule.category == Category::Mitm { MITM_WINDOW } else { WINDOW }
    }

    fn take(&mut self, (finding, old): (Finding, bool), observation: impl FnOnce() -> Option<Arc<Observation>>) {
        self.count_in(&finding, old);
        if finding.precedence() < self.head.precedence() {
            self.head = finding;
            self.observation = observation();
        }
    }

    fn absorb(&mut self, other: Self) {
        self.noted = false;
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

    fn count_in(&mut self, finding: &Finding, old: bool) {
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
            self.hosts.insert(Arc::clone(&finding.host));
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
        if self.counted.len() < KEPT {
            self.counted.insert(place, order);
        }
        self.count = self.count.saturating_add(1);
        self.fresh = self.fresh.saturating_add(u64::from(!old));
        if let Some(ends) = finding.ends {
            self.clients.insert(ends.client.address);
            if self.samples.len() < SAMPLES {
                self.samples.push(Sample { ends, frame: finding.moment.frame });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::{EXPIRED, LEAF_SIGNED_BY_OWN_KEY, NEW_INTERCEPTION_CA, Rule, UNTRUSTED_ISSUER};
    use super::super::finding::Cause;
    use super::*;
    use crate::detect::hosts::record::HostRecord;
    use crate::detect::sighting::HostKey;
    use crate::time::Moment;
    use crate::x509::Sha256;

    /// A finding about an issuer's key at this second, in a frame of its own.
    fn finding(rule: &'static Rule, key: u8, second: i64) -> Finding {
        let timestamp = Timestamp::new(second, 0);
        let order = Order { clock: timestamp, frame: u64::try_from(second).unwrap(), ordinal: 0 };
        let moment = Moment { order, timestamp, time_known: true, ..Moment::default() };
        let mut finding = Finding::new(rule, Cause::IssuerKey(Sha256([key; 32])), moment, format!("{key} {second}"));
        finding.host = format!("h{second}:443").into();
        finding
    }

    fn take(alerts: &mut Alerts, finding: Finding) -> Option<AlertStatus> {
        let clock = finding.moment.timestamp;
        alerts.take(finding, || None, clock).map(|(_, status)| status)
    }

    #[test]
    fn a_rule_that_was_taken_back_can_hold_again() {
        let (mut alerts, first) = (Alerts::new(When::AtEnd), finding(&UNTRUSTED_ISSUER, 1, 1));
        take(&mut alerts, first.clone());
        take(&mut alerts, finding(&EXPIRED, 1, 2));
        alerts.retract(first.cause.alert_id(), UNTRUSTED_ISSUER.id);
        take(&mut alerts, first);
        assert!(alerts.iter().all(|alert| alert.rules.contains(UNTRUSTED_ISSUER.id)));
    }

    #[test]
    fn a_handshake_counts_once_however_late_its_findings_come() {
        let mut alerts = Alerts::new(When::AtEnd);
        for second in [1, 2, 3] {
            take(&mut alerts, finding(&LEAF_SIGNED_BY_OWN_KEY, 1, second));
        }
        for second in [2, 1, 4] {
            take(&mut alerts, finding(&UNTRUSTED_ISSUER, 1, second));
        }
        assert_eq!(alerts.iter().next().unwrap().count, 4);
        take(&mut alerts, finding(&UNTRUSTED_ISSUER, 2, 4));
        let ids: Vec<AlertId> = [1, 2].map(|key| Cause::IssuerKey(Sha256([key; 32])).alert_id()).into();
        alerts.unite(ids[1], ids[0]);
        assert_eq!(alerts.iter().map(|alert| alert.count).collect::<Vec<_>>(), [4]);
    }

    /// What earlier runs told; file 7 was read by them.
    #[derive(Debug)]
    struct Earlier(Vec<(AlertId, ToldBefore)>);

    impl Backing for Earlier {
        fn read(&self, _: &HostKey) -> Option<HostRecord> {
            None
        }

        fn write(&self, _: &HostRecord) {}

        fn was_read(&self, _: Option<&Ends>, moment: &Moment) -> bool {
            moment.file == 7
        }

        fn told(&self, id: &AlertId) -> Option<ToldBefore> {
            self.0.iter().find(|(known, _)| known == id).map(|(_, told)| *told)
        }
    }

    fn after(when: When, [first, last]: [i64; 2], severity: Severity) -> Alerts {
        let id = Cause::IssuerKey(Sha256([1; 32])).alert_id();
        let told = ToldBefore { first: Timestamp::new(first, 0), last: Timestamp::new(last, 0), count: 5, severity };
        Alerts::new(when).remembering(Some(Arc::new(Earlier(vec![(id, told)]))))
    }

    #[test]
    fn a_restart_does_not_alert_again() {
        let mut alerts = after(When::AtOnce, [10, 1_000], Severity::Critical);
        // Within the hour of the window it only counts.
        assert_eq!(take(&mut alerts, finding(&LEAF_SIGNED_BY_OWN_KEY, 1, 2_000)), None);
        assert_eq!(take(&mut alerts, finding(&LEAF_SIGNED_BY_OWN_KEY, 2, 2_001)), Some(AlertStatus::New));
        assert!(alerts.advance(Timestamp::new(4_599, 0)).is_empty());
        assert_eq!(alerts.advance(Timestamp::new(4_600, 0)).len(), 1);
        let alert = alerts.iter().find(|alert| alert.earlier.is_some()).unwrap();
        assert_eq!((alert.count, alert.first_seen), (6, Timestamp::new(10, 0)));
        let total = alert.total().unwrap();
        assert_eq!((total.first.seconds(), total.last.seconds(), total.count), (10, 2_000, 6));
        // After it, more of the same is told at once.
        let mut alerts = after(When::AtOnce, [10, 1_000], Severity::Critical);
        assert_eq!(take(&mut alerts, finding(&LEAF_SIGNED_BY_OWN_KEY, 1, 9_000)), Some(AlertStatus::Update));
        // Something graver too, whenever it comes.
        let mut alerts = after(When::AtOnce, [10, 1_000], Severity::Low);
        assert_eq!(take(&mut alerts, finding(&LEAF_SIGNED_BY_OWN_KEY, 1, 1_001)), Some(AlertStatus::Escalated));
        // What came before the earlier run is no part of it.
        let mut alerts = after(When::AtOnce, [10, 1_000], Severity::Critical);
        assert_eq!(take(&mut alerts, finding(&LEAF_SIGNED_BY_OWN_KEY, 1, 5)), Some(AlertStatus::New));
    }

    #[test]
    fn a_capture_tells_its_alerts_whatever_was_told_before() {
        let status = |mut alerts: Alerts, finding: Finding| {
            take(&mut alerts, finding);
            let due = alerts.finish();
            let total = alerts.iter().next().unwrap().total().map(|total| total.count);
            (due[0].1, alerts.iter().next().unwrap().count, total)
        };
        let later = || finding(&LEAF_SIGNED_BY_OWN_KEY, 1, 2_000);
        let at_end = |severity| after(When::AtEnd, [10, 1_000], severity);
        assert_eq!(status(at_end(Severity::Critical), later()), (AlertStatus::Update, 1, Some(6)));
        assert_eq!(status(at_end(Severity::Low), later()), (AlertStatus::Escalated, 1, Some(6)));
        // The same capture again: the same line again, and nothing to remember.
        for when in [When::AtEnd, When::AtOnce] {
            let mut again = finding(&LEAF_SIGNED_BY_OWN_KEY, 1, 10);
            again.moment.file = 7;
            let mut alerts = after(when, [10, 10], Severity::Critical);
            let told = take(&mut alerts, again);
            assert_eq!(told, (when == When::AtOnce).then_some(AlertStatus::New));
            let alert = alerts.iter().next().unwrap();
            assert_eq!((alert.count, alert.total()), (1, None));
        }
    }

    #[test]
    fn one_cause_is_one_alert_headed_by_the_gravest() {
        let mut alerts = Alerts::new(When::AtEnd);
        for finding in [
            finding(&UNTRUSTED_ISSUER, 1, 9),
            finding(&LEAF_SIGNED_BY_OWN_KEY, 1, 9),
            finding(&NEW_INTERCEPTION_CA, 1, 12),
            finding(&EXPIRED, 2, 5),
        ] {
            assert_eq!(take(&mut alerts, finding), None);
        }
        let due = alerts.finish();
        let told: Vec<&Alert> = due.iter().map(|(key, _)| alerts.get(key).unwrap()).collect();
        assert!(due.iter().all(|(_, status)| *status == AlertStatus::New));
        assert_eq!(told.iter().map(|alert| alert.head.rule.id).collect::<Vec<_>>(), ["TLSW-CERT-001", "TLSW-MITM-007"]);
        let alert = told[1];
        assert_eq!(
            alert.rules.iter().copied().collect::<Vec<_>>(),
            ["TLSW-CERT-005", "TLSW-MITM-003", "TLSW-MITM-007"]
        );
        // Two handshakes, though three findings.
        assert_eq!((alert.count, alert.hosts.len(), alert.severity), (2, 2, Severity::High));
        assert_eq!((alert.first_seen, alert.last_seen), (Timestamp::new(9, 0), Timestamp::new(12, 0)));
    }

    #[test]
    fn told_at_once_then_escalated_then_updated() {
        let mut alerts = Alerts::new(When::AtOnce);
        assert_eq!(take(&mut alerts, finding(&UNTRUSTED_ISSUER, 1, 10)), Some(AlertStatus::New));
        assert_eq!(take(&mut alerts, finding(&UNTRUSTED_ISSUER, 1, 11)), None);
        assert_eq!(take(&mut alerts, finding(&LEAF_SIGNED_BY_OWN_KEY, 1, 12)), Some(AlertStatus::Escalated));
        assert_eq!(take(&mut alerts, finding(&UNTRUSTED_ISSUER, 1, 13)), None);
        // The head is about interception now: one hour.
        assert_eq!(alerts.advance(Timestamp::new(3_611, 0)), []);
        assert_eq!(alerts.advance(Timestamp::new(3_612, 0)).len(), 1);
        assert_eq!(alerts.advance(Timestamp::new(3_613, 0)), []);
        assert_eq!(alerts.finish(), []);
        take(&mut alerts, finding(&UNTRUSTED_ISSUER, 1, 3_614));
        assert_eq!(alerts.finish().iter().map(|(_, status)| *status).collect::<Vec<_>>(), [AlertStatus::Update]);
    }

    #[test]
    fn windows_end_one_by_one_and_what_is_told_waits_no_longer() {
        let mut alerts = Alerts::new(When::AtOnce);
        let keys = |due: Vec<CauseKey>| due.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        let id = |key| Cause::IssuerKey(Sha256([key; 32])).alert_id();
        for (key, second) in [(1, 10), (2, 20), (3, 30), (1, 40), (2, 50)] {
            take(&mut alerts, finding(&EXPIRED, key, second));
        }
        let day = 86_400;
        assert_eq!(keys(alerts.advance(Timestamp::new(day + 9, 999_999_999))), []);
        assert_eq!(keys(alerts.advance(Timestamp::new(day + 10, 0))), [id(1)]);
        // Of the third nothing more came; the second is told by its severity before its window ends.
        assert_eq!(take(&mut alerts, finding(&LEAF_SIGNED_BY_OWN_KEY, 2, day + 11)), Some(AlertStatus::Escalated));
        assert_eq!(keys(alerts.advance(Timestamp::new(day + 100, 0))), []);
        // More of it comes when its window is long over.
        take(&mut alerts, finding(&EXPIRED, 3, 3 * day));
        assert_eq!(keys(alerts.advance(Timestamp::new(3 * day, 0))), [id(3)]);
        assert_eq!(keys(alerts.advance(Timestamp::new(9 * day, 0))), []);
        assert_eq!(alerts.finish(), []);
    }

    #[test]
    fn only_what_heads_its_cause_is_wanted() {
        let mut alerts = Alerts::new(When::AtEnd);
        let mut wants = |rule, suppressed, effect| {
            let mut one = finding(rule, 1, 1);
            one.suppressed_by = suppressed;
            one.effect = effect;
            let wanted = alerts.wants(&mut one);
            take(&mut alerts, one);
            wanted
        };
        assert!(!wants(&UNTRUSTED_ISSUER, None, Effect::Mark));
        assert!(wants(&UNTRUSTED_ISSUER, None, Effect::Alert));
        assert!(!wants(&UNTRUSTED_ISSUER, None, Effect::Alert));
        assert!(wants(&LEAF_SIGNED_BY_OWN_KEY, None, Effect::Alert));
        assert!(!wants(&UNTRUSTED_ISSUER, None, Effect::Alert));
        assert!(wants(&UNTRUSTED_ISSUER, Some(3), Effect::Alert));
        assert!(!wants(&UNTRUSTED_ISSUER, Some(3), Effect::Alert));
    }

    #[test]
    fn the_brake_counts_what_it_holds_back() {
        let mut alerts = Alerts::new(When::AtOnce);
        let told = (0..150).filter(|key| take(&mut alerts, finding(&EXPIRED, *key, 60)).is_some()).count();
        assert_eq!((told, alerts.counts.braked), (100, 50));
        assert_eq!(take(&mut alerts, finding(&EXPIRED, 200, 120)), Some(AlertStatus::New));
    }

    #[test]
    fn suppressed_findings_stay_apart_and_marks_only_count() {
        let mut alerts = Alerts::new(When::AtEnd);
        let mut silenced = finding(&EXPIRED, 1, 1);
        silenced.suppressed_by = Some(7);
        take(&mut alerts, silenced);
        take(&mut alerts, finding(&EXPIRED, 1, 2));
        let mut mark = finding(&EXPIRED, 1, 3);
        mark.effect = Effect::Mark;
        take(&mut alerts, mark);
        assert_eq!(
            alerts.iter().map(|alert| (alert.suppressed, alert.count)).collect::<Vec<_>>(),
            [(false, 1), (true, 1)]
        );
        assert_eq!((alerts.counts.findings, alerts.counts.marks, alerts.counts.suppressed), (3, 1, 1));
    }

    #[test]
    fn causes_unite_and_rules_are_taken_back() {
        let mut alerts = Alerts::new(When::AtEnd);
        take(&mut alerts, finding(&UNTRUSTED_ISSUER, 1, 5));
        take(&mut alerts, finding(&UNTRUSTED_ISSUER, 2, 3));
        take(&mut alerts, finding(&EXPIRED, 3, 4));
        take(&mut alerts, finding(&UNTRUSTED_ISSUER, 3, 4));
        let id = |key| Cause::IssuerKey(Sha256([key; 32])).alert_id();
        alerts.unite(id(1), id(2));
        alerts.retract(id(3), UNTRUSTED_ISSUER.id);
        let united = alerts.get(&(id(2), false)).unwrap();
        assert_eq!((united.count, united.first_seen, &*united.head.message), (2, Timestamp::new(3, 0), "2 3"));
        assert_eq!(alerts.get(&(id(3), false)).unwrap().rules.len(), 1);
        alerts.retract(id(2), UNTRUSTED_ISSUER.id);
        assert_eq!(alerts.iter().count(), 1);
    }
}
