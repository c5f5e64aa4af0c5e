//! Room for new causes. What is remembered is bounded, and neither time nor a flood of small matters may keep grave ones
//! out: what was told and is over leaves first, then what is suppressed, then what is less grave than what comes. Of what is
//! as grave, some of the rule that has most leaves, where it has more than twice as much.

use std::collections::{BTreeMap, BTreeSet};

use super::{Alert, Alerts, CauseKey};
use crate::detect::catalogue::Severity;
use crate::detect::observation::Observation;
use crate::time::Timestamp;

/// One of so many causes leaves at once at most: looking for them costs a look at all.
const LEAVING: usize = 16;

/// Bytes of handshakes and evidence that alerts hold. Beyond, an alert tells what its finding knows: ends, frame, a
/// certificate and evidence of usual size.
pub(super) const BYTES: usize = 512 << 20;
/// A certificate, or evidence, that is held beyond that, up to twice as many bytes. Of other evidence the first point is left.
pub(super) const USUAL: usize = 64 << 10;

/// Whether anybody is told of it, and how grave it is.
pub(super) type Grade = (bool, Severity);

/// What was found when all causes were looked at and none could leave.
#[derive(Clone, Debug)]
pub(super) struct Full {
    /// None is less grave.
    grade: Grade,
    /// None is over before.
    until: Timestamp,
    /// No rule has far more of that grade than these.
    rules: BTreeSet<&'static str>,
}

/// Alerts that were told and have left.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gone {
    number: u64,
    gravest: Option<Severity>,
}

impl Alerts {
    /// Gravest severity of all alerts that no suppression silences.
    pub fn gravest(&self) -> Option<Severity> {
        let here = self.causes.values().filter(|alert| !alert.suppressed).map(|alert| alert.severity).max();
        here.max(self.gone.gravest)
    }

    /// Alerts that no suppression silences.
    pub fn number(&self) -> u64 {
        let here = self.causes.values().filter(|alert| !alert.suppressed).count();
        self.gone.number.saturating_add(u64::try_from(here).unwrap_or(u64::MAX))
    }

    /// Whether there is room for a new cause of this grade and rule, now that others have left for it.
    pub(super) fn has_room(&mut self, (grade, rule): (Grade, &'static str), clock: Timestamp) -> bool {
        if self.causes.len() < self.capacity {
            self.full = None;
            return true;
        }
        let known = self.full.as_ref().filter(|full| clock < full.until && grade <= full.grade);
        if known.is_some_and(|full| grade < full.grade || full.rules.contains(rule)) {
            return false;
        }
        let mut leaving = BTreeSet::new();
        let mut until = Timestamp::MAX;
        for (key, alert) in &self.causes {
            let ends = alert.told.filter(|_| !alert.is_pending()).map(|told| told.window_ends);
            let is_over = ends.is_some_and(|ends| ends <= clock);
            if is_over || alert.grade() < grade {
                // Of what is over the oldest; of what is not the least grave, and of that the latest.
                let age = if is_over { alert.last_seen.nanos() } else { -alert.first_seen.nanos().max(i64::MIN + 1) };
                let rank = if is_over { (false, Severity::Low) } else { alert.grade() };
                leaving.insert((!is_over, rank, age, *key));
                if leaving.len() > (self.capacity / LEAVING).max(1) {
                    leaving.pop_last();
                }
            }
            until = until.min(ends.unwrap_or(Timestamp::MAX));
        }
        let mut leaving: Vec<CauseKey> = leaving.into_iter().map(|(_, _, _, key)| key).collect();
        if leaving.is_empty() {
            leaving = self.of_greatest(grade, rule);
        }
        if leaving.is_empty() {
            let same = self.full.take().filter(|full| (full.grade, full.until) == (grade, until));
            let mut rules = same.map_or_else(BTreeSet::new, |full| full.rules);
            rules.insert(rule);
            self.full = Some(Full { grade, until, rules });
            return false;
        }
        self.full = None;
        leaving.iter().for_each(|key| self.leave(key));
        true
    }

    /// Of causes of this grade some of the rule that has most, where it has far more than this one: what was told before what
    /// was not, and the latest.
    fn of_greatest(&self, grade: Grade, rule: &'static str) -> Vec<CauseKey> {
        let alike = || self.causes.iter().filter(|(_, alert)| alert.grade() == grade);
        let mut numbers: BTreeMap<&'static str, usize> = BTreeMap::new();
        alike().for_each(|(_, alert)| *numbers.entry(alert.head.rule.id).or_default() += 1);
        let own = numbers.get(rule).copied().unwrap_or_default();
        let Some((greatest, number)) = numbers.into_iter().max_by_key(|(_, number)| *number) else { return Vec::new() };
        // What is nearly even stays so: else the two would take turns, and each turn costs a look at all.
        if number < 2 * own + 2 {
            return Vec::new();
        }
        let theirs = alike().filter(|(_, alert)| alert.head.rule.id == greatest);
        let mut theirs: Vec<_> =
            theirs.map(|(key, alert)| (alert.is_pending(), std::cmp::Reverse(alert.first_seen), *key)).collect();
        theirs.sort_unstable();
        theirs.truncate(((number - own) / 2).min((self.capacity / LEAVING).max(1)));
        theirs.into_iter().map(|(_, _, key)| key).collect()
    }

    fn leave(&mut self, key: &CauseKey) {
        let Some(alert) = self.causes.remove(key) else { return };
        self.held.0 = self.held.0.saturating_sub(alert.held);
        self.listed.0 = self.listed.0.saturating_sub(alert.listed());
        if let Some(at) = alert.waits_until() {
            self.waiting.remove(&(at, *key));
        }
        let told = alert.told.map_or(0, |told| told.count);
        // Nothing is said of what was not told.
        self.counts.overflow = self.counts.overflow.saturating_add(alert.count.saturating_sub(told));
        if alert.told.is_some() && !alert.suppressed {
            self.gone.number = self.gone.number.saturating_add(1);
            self.gone.gravest = self.gone.gravest.max(Some(alert.severity));
        }
    }
}

impl Alert {
    fn grade(&self) -> Grade {
        (!self.suppressed, self.severity)
    }

    /// There is something to tell of it.
    fn is_pending(&self) -> bool {
        self.braked.is_some() || self.told.is_none_or(|told| self.count > told.count)
    }

    /// Its head is new: what it holds of the handshake counts among what all hold, or is dropped.
    pub(super) fn hold(&mut self, (held, most): &mut (usize, usize)) {
        *held = held.saturating_sub(self.held);
        self.held = self.weight();
        if held.saturating_add(self.held) > *most {
            self.observation = None;
            self.head.observation = None;
            let room = most.saturating_mul(2).saturating_sub(*held).min(USUAL);
            self.head.certificate.take_if(|leaf| leaf.weight() > room);
            let leaf = self.head.certificate.as_ref().map_or(0, |leaf| leaf.weight());
            if self.head.evidence.weight() > room.saturating_sub(leaf) {
                self.head.evidence.shorten();
            }
            self.held = self.weight();
        }
        *held = held.saturating_add(self.held);
    }

    fn weight(&self) -> usize {
        let leaf = self.head.certificate.as_ref().map_or(0, |leaf| leaf.weight());
        let words = self.head.message.len().saturating_add(self.head.evidence.weight());
        self.observation.as_deref().map_or(0, Observation::weight).max(leaf).saturating_add(words)
    }
}
