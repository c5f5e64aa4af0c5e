//! Judgement inside the correlator: the judge, the alerts, and a guard around both.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::detect::alerts::past::Past;
use crate::detect::alerts::{AlertStatus, Alerts, CauseKey, When};
use crate::detect::catalogue::{Effect, NEW_CERTIFICATE, ROTATED_CERTIFICATE, Severity};
use crate::detect::finding::Finding;
use crate::detect::hosts::backing::Backing;
use crate::detect::judge::{Afterthought, Judge};
use crate::detect::knowledge::Knowledge;
use crate::detect::observation::Observation;
use crate::detect::watch::Watch;
use crate::detect::why_not::WhyNot;
use crate::stats::Stats;
use crate::time::Timestamp;
use crate::x509::Sha256;
use crate::x509::chain::SignatureMemo;

/// How handshakes are judged.
#[derive(Clone, Debug)]
pub struct Judging {
    /// Policy, anchors and lists.
    pub knowledge: Arc<Knowledge>,
    /// When alerts are told.
    pub when: When,
    /// Alerts that the policy silences are told too, and say so.
    pub show_suppressed: bool,
    /// Captures are read, not a network watched.
    pub offline: bool,
    /// Signatures in handshakes (ServerKeyExchange, client CertificateVerify) are verified.
    pub proofs: bool,
    /// Where baselines are kept beyond this run.
    pub backing: Option<Arc<dyn Backing>>,
    /// Asked before every handshake for another policy (live).
    pub renewal: Option<Arc<dyn Renewal>>,
    /// What is to be told of what earlier runs stored: lists that were loaded since name it.
    pub past: Vec<Past>,
    /// Name of a host about which [`Outcome::why_not`](crate::pipeline::Outcome::why_not) is asked.
    pub why_not: Option<String>,
}

/// Where another policy comes from while a network is watched.
pub trait Renewal: fmt::Debug + Send + Sync {
    /// What holds from now on, and what it has to say of what is stored; `None` while nothing changed.
    fn next(&self) -> Option<(Arc<Knowledge>, Vec<Past>)>;
}

/// Judges observations in order and gathers alerts.
#[derive(Debug)]
pub struct Judgement {
    judge: Judge,
    /// The alerts.
    pub alerts: Alerts,
    show_suppressed: bool,
    /// The policy leaves CERT-017 on.
    tells_new: bool,
    /// What earlier runs saw.
    backing: Option<Arc<dyn Backing>>,
    panics: u64,
    marks: Vec<Mark>,
    why_not: Option<WhyNot>,
    renewal: Option<Arc<dyn Renewal>>,
    /// Not told yet.
    past: Vec<Past>,
}

/// A rule that holds for a certificate and does not alert.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    certificate: Sha256,
    rule: &'static str,
    /// What kind of change it is, where the rule is about one.
    change: Option<String>,
}

/// Hosts whose baselines are in memory.
const KNOWN_HOSTS: usize = 200_000;

/// What is to be told.
pub type Due = Vec<(CauseKey, AlertStatus)>;

impl Judgement {
    /// Nothing seen yet. `memo_bytes` is the bound of each memo.
    pub fn new(judging: &Judging, memo_bytes: usize) -> Self {
        let memo = Arc::new(SignatureMemo::new(memo_bytes));
        let mut judge = Judge::new(Arc::clone(&judging.knowledge), memo, (memo_bytes / 2, judging.offline));
        judge.hold_open_chains(judging.when);
        let mut watch = Watch::new(Arc::clone(&judging.knowledge.anchors), KNOWN_HOSTS);
        if let Some(backing) = &judging.backing {
            watch.set_backing(Arc::clone(backing));
            judge.set_backing(Arc::clone(backing));
        }
        judge.add(Box::new(watch));
        Self {
            judge,
            alerts: Alerts::new(judging.when).remembering(judging.backing.clone()),
            show_suppressed: judging.show_suppressed,
            backing: judging.backing.clone(),
            tells_new: judging.knowledge.policy.is_enabled(&NEW_CERTIFICATE.known()),
            panics: 0,
            marks: Vec::new(),
            why_not: judging.why_not.as_deref().map(WhyNot::new),
            renewal: judging.renewal.clone(),
            past: judging.past.clone(),
        }
    }

    /// Judges one handshake. A panic costs its findings and is counted.
    pub fn observe(&mut self, observation: &Observation, (clock, selected): (Timestamp, bool)) -> Due {
        self.renew();
        let asked = self.why_not.is_some();
        let found = catch_unwind(AssertUnwindSafe(|| {
            let mut due = self.judge.advance_briefly(clock);
            let wanted = &mut |finding: &mut Finding| asked || self.alerts.wants(finding);
            let mut found = self.judge.observe_briefly(observation, clock, wanted);
            if due.is_empty() {
                return found;
            }
            due.append(&mut found);
            due
        }));
        let Ok(mut found) = found else {
            self.panics += 1;
            return Vec::new();
        };
        self.marks.clear();
        if let Some(why_not) = &mut self.why_not {
            why_not.observe(observation);
            found.iter_mut().for_each(Finding::complete);
            found.iter().for_each(|finding| why_not.found(finding));
        }
        let mut due = self.past(clock);
        due.extend(self.alerts.advance(clock));
        for finding in &mut found {
            if !selected {
                continue;
            }
            if finding.effect == Effect::Mark
                && let Some(certificate) = &finding.certificate
            {
                let change = (finding.rule == &ROTATED_CERTIFICATE).then(|| finding.evidence.verdict.clone());
                self.marks.push(Mark { certificate: certificate.sha256, rule: finding.rule.id, change });
            }
            // What waited for more evidence is about an earlier handshake.
            let kept = finding.observation.take();
            let is_this = finding.moment.order == observation.handshake.first.order;
            let observation = || kept.or_else(|| is_this.then(|| observation.kept()));
            if finding.is_brief() && self.alerts.wants(finding) {
                finding.complete();
            }
            due.extend(self.alerts.take(finding, observation, clock));
        }
        self.judge.give_back(found);
        self.shown(due)
    }

    /// What the last handshake that was judged says of a certificate without alerting: rules in order, and the kind of
    /// change. Asked once for each certificate and role, so the certificate is new.
    pub fn marks(&self, certificate: &Sha256) -> (Vec<&'static str>, Option<&str>) {
        let of_it = || self.marks.iter().filter(|mark| mark.certificate == *certificate);
        let mut rules: Vec<&'static str> = of_it().map(|mark| mark.rule).collect();
        let is_new = || !self.backing.as_ref().is_some_and(|backing| backing.knows(certificate));
        rules.extend((self.tells_new && is_new()).then_some(NEW_CERTIFICATE.id));
        rules.sort_unstable();
        rules.dedup();
        (rules, of_it().find_map(|mark| mark.change.as_deref()))
    }

    /// Live: what was learned is kept, if that is due; also while no handshake comes. Says what of the past is to be told.
    pub fn save(&mut self, clock: Timestamp) -> Due {
        self.renew();
        if catch_unwind(AssertUnwindSafe(|| self.judge.save(clock))).is_err() {
            self.panics += 1;
        }
        self.alerts.save(clock);
        let due = self.past(clock);
        self.shown(due)
    }

    /// Live: the clock moved on, and nothing comes before it any more. What waited for more evidence, or for the brake of its
    /// rule, is told also while no handshake comes.
    pub fn advance(&mut self, clock: Timestamp) -> Due {
        let Ok(found) = catch_unwind(AssertUnwindSafe(|| self.judge.advance_briefly(clock))) else {
            self.panics += 1;
            return Vec::new();
        };
        let mut due = self.alerts.advance(clock);
        self.take(found, &mut due, clock);
        self.shown(due)
    }

    /// Takes findings about earlier handshakes.
    fn take(&mut self, found: impl IntoIterator<Item = Finding>, due: &mut Due, clock: Timestamp) {
        for mut finding in found {
            let observation = finding.observation.take();
            if finding.is_brief() && self.alerts.wants(&mut finding) {
                finding.complete();
            }
            due.extend(self.alerts.take(&finding, || observation, clock));
        }
    }

    /// Live: takes another policy and other lists, if there are any.
    fn renew(&mut self) {
        if let Some((knowledge, past)) = self.renewal.as_ref().and_then(|renewal| renewal.next()) {
            self.judge.renew(knowledge);
            self.past.extend(past);
        }
    }

    /// What lists say of what is stored.
    fn past(&mut self, clock: Timestamp) -> Due {
        if self.past.is_empty() {
            return Due::new();
        }
        let past = std::mem::take(&mut self.past);
        past.into_iter().filter_map(|one| self.alerts.take_past(one, clock)).collect()
    }

    /// The input is over.
    pub fn finish(&mut self, clock: Timestamp) -> Due {
        let found = catch_unwind(AssertUnwindSafe(|| self.judge.finish_briefly()));
        self.panics += u64::from(found.is_err());
        let mut due = self.past(clock);
        let mut why_not = self.why_not.take();
        let found = found.into_iter().flatten().map(|mut finding| {
            if let Some(why_not) = &mut why_not {
                finding.complete();
                why_not.found(&finding);
            }
            finding
        });
        self.take(found, &mut due, clock);
        self.why_not = why_not;
        for (id, afterthought) in self.judge.completed() {
            match afterthought {
                Afterthought::Unite(other) => self.alerts.unite(id, other),
                Afterthought::Retract(rule) => self.alerts.retract(id, rule),
            }
        }
        due.extend(self.alerts.finish());
        self.shown(due)
    }

    /// Gravest severity of all alerts that no suppression silences.
    pub fn gravest(&self) -> Option<Severity> {
        self.alerts.gravest()
    }

    /// Why there is no alert about the host that was asked for.
    pub fn why_not(&self) -> Option<String> {
        self.why_not.as_ref().map(|why_not| why_not.text(self.judge.known_hosts(), Some(&self.alerts)))
    }

    /// Counts what became of findings.
    pub fn count(&self, stats: &mut Stats) {
        let counts = self.alerts.counts;
        stats.detect_findings = counts.findings;
        stats.detect_marks = counts.marks;
        stats.detect_suppressed = counts.suppressed;
        stats.detect_overflow = counts.overflow;
        stats.detect_braked = counts.braked;
        stats.detect_panic = self.panics;
        stats.detect_forgotten = self.judge.forgotten();
        let outdated = self.judge.outdated();
        stats.detect_outdated_ephemeral_keys = outdated.ephemeral_keys;
        stats.detect_outdated_randoms = outdated.randoms;
        stats.detect_alerts = self.alerts.number();
    }

    fn shown(&mut self, mut due: Due) -> Due {
        self.alerts.written(&due);
        due.retain(|((_, suppressed), _)| !suppressed || self.show_suppressed);
        if due.len() > 1 {
            once(&mut due);
        }
        due
    }
}

/// What one handshake makes new and then graver is told once, as it stands then: as new where it is, else by the last word.
#[cold]
fn once(due: &mut Due) {
    let mut told = BTreeMap::new();
    for (key, status) in &*due {
        let known = told.entry(*key).or_insert(*status);
        if *known != AlertStatus::New {
            *known = *status;
        }
    }
    due.retain_mut(|(key, status)| {
        told.remove(key).is_some_and(|known| {
            *status = known;
            true
        })
    });
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::detect::alerts::Alert;
    use crate::detect::finding::AlertId;
    use crate::detect::hosts::record::HostRecord;
    use crate::detect::observation::Ends;
    use crate::detect::sighting::HostKey;
    use crate::detect::testing::Ca;
    use crate::packet::{Endpoint, Transport};
    use crate::time::{Moment, Order};

    #[test]
    fn a_cause_is_told_once_in_one_go() {
        use AlertStatus::{Escalated, New, Update};
        let key = |number: u8| (AlertId([number; 16]), false);
        let mut due = vec![(key(1), New), (key(2), Update), (key(3), New), (key(1), Escalated), (key(2), Escalated)];
        once(&mut due);
        assert_eq!(due, [(key(1), New), (key(2), Escalated), (key(3), New)]);
    }

    fn judgement(backing: Option<Arc<dyn Backing>>) -> Judgement {
        let judging = Judging {
            knowledge: Arc::default(),
            when: When::AtOnce,
            show_suppressed: false,
            offline: false,
            proofs: false,
            backing,
            renewal: None,
            past: Vec::new(),
            why_not: None,
        };
        Judgement::new(&judging, 1 << 20)
    }

    /// A device of ours that signed its certificate itself: an alert of its own.
    fn shown(number: u8, (clock, device): (Timestamp, &Ca)) -> Observation {
        let at = |last: u8| Endpoint { address: [10, 9, 8, last].into(), port: 443 };
        let ends = Ends { client: at(200), server: at(number), transport: Transport::Tcp, virtual_network: 0 };
        let order = Order { clock, frame: number.into(), ordinal: 0 };
        let moment = Moment { order, timestamp: clock, time_known: true, ..Moment::default() };
        let mut observation = Observation::plain(ends, moment, [[number; 32], [number; 32]]);
        observation.server_chain = vec![device.certificate.clone()];
        observation
    }

    /// Counts what is kept.
    #[derive(Debug, Default)]
    struct Kept(AtomicUsize);

    impl Backing for Kept {
        fn read(&self, _: &HostKey) -> Option<HostRecord> {
            None
        }

        fn write(&self, _: &HostRecord) {}

        fn counted(&self, _: &Alert, _: bool) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn an_alert_is_kept_while_it_is_only_counted_and_no_line_comes_twice() {
        let (device, kept) = (Ca::new("Device"), Arc::new(Kept::default()));
        let mut judgement = judgement(Some(Arc::<Kept>::clone(&kept)));
        let at = |second: i64| Timestamp::new(1_770_000_000 + second, 0);
        let mut told = |second| judgement.observe(&shown(1, (at(second), &device)), (at(second), true)).len();
        assert_eq!([told(0), told(1)], [1, 0]);
        let mut kept_at = |second| {
            judgement.save(at(second));
            kept.0.load(Ordering::Relaxed)
        };
        assert_eq!([kept_at(2), kept_at(11), kept_at(12), kept_at(30)], [0, 0, 1, 1]);
        // The window of a day is over, and the handshake that shows it stands in the line.
        let late = 90_000;
        assert_eq!(judgement.observe(&shown(1, (at(late), &device)), (at(late), true)).len(), 1);
        assert!(judgement.advance(at(3 * late)).is_empty());
        assert!(judgement.finish(at(3 * late)).is_empty());
    }

    #[test]
    fn what_the_brake_held_is_told_while_no_handshake_comes() {
        let mut judgement = judgement(None);
        let clock = Timestamp::new(1_770_000_000, 0);
        let mut told = std::collections::BTreeSet::new();
        for number in 0..120_u8 {
            let observation = shown(number, (clock, &Ca::new(&format!("Device {number}"))));
            told.extend(judgement.observe(&observation, (clock, true)).into_iter().map(|(key, _)| key));
        }
        let all = judgement.alerts.iter().count();
        assert!(told.len() < all, "the brake of a rule lets 100 pass in a minute");
        assert!(judgement.advance(clock).is_empty());
        let later = judgement.advance(Timestamp::new(1_770_000_061, 0));
        told.extend(later.iter().map(|(key, _)| *key));
        assert_eq!(told.len(), all);
        assert!(later.iter().all(|(_, status)| *status == AlertStatus::New));
    }
}
