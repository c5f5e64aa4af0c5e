//! Room for new causes. What is remembered is bounded, and neither time nor a flood of small matters may keep grave ones
//! out: what was told and is over leaves first, then what is suppressed, then what is less grave than what comes.

use std::collections::BTreeSet;

use super::{Alert, Alerts, CauseKey};
use crate::detect::catalogue::Severity;
use crate::detect::observation::Observation;
use crate::time::Timestamp;

/// One of so many causes leaves at once at most: looking for them costs a look at all.
const LEAVING: usize = 16;

/// Bytes of handshakes that alerts hold. Beyond, an alert tells what its finding knows: ends, frame, a certificate of usual
/// size.
pub(super) const BYTES: usize = 512 << 20;
/// A certificate that is held beyond that, up to twice as many bytes.
pub(super) const USUAL: usize = 64 << 10;

/// Whether anybody is told of it, and how grave it is.
pub(super) type Grade = (bool, Severity);

/// What was found when all causes were looked at and none could leave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Full {
    /// None is less grave.
    grade: Grade,
    /// None is over before.
    until: Timestamp,
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

    /// Whether there is room for a new cause of this grade, now that others have left for it.
    pub(super) fn has_room(&mut self, grade: Grade, clock: Timestamp) -> bool {
        if self.causes.len() < self.capacity {
            self.full = None;
            return true;
        }
        if self.full.is_some_and(|full| grade <= full.grade && clock < full.until) {
            return false;
        }
        let mut leaving = BTreeSet::new();
        let mut until = Timestamp::MAX;
        for (key, alert) in &self.causes {
            let ends = alert
                .told
                .filter(|told| alert.count <= told.count && alert.braked.is_none())
                .map(|told| told.window_ends);
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
            until = until.min(ends.filter(|ends| *ends > clock).unwrap_or(Timestamp::MAX));
        }
        if leaving.is_empty() {
            self.full = Some(Full { grade, until });
            return false;
        }
        self.full = None;
        leaving.into_iter().for_each(|(_, _, _, key)| self.leave(&key));
        true
    }

    fn leave(&mut self, key: &CauseKey) {
        let Some(alert) = self.causes.remove(key) else { return };
        self.held.0 = self.held.0.saturating_sub(alert.held);
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

    /// Its head is new: what it holds of the handshake counts among what all hold, or is dropped.
    pub(super) fn hold(&mut self, (held, most): &mut (usize, usize)) {
        *held = held.saturating_sub(self.held);
        self.held = self.weight();
        if held.saturating_add(self.held) > *most {
            self.observation = None;
            self.head.observation = None;
            let room = most.saturating_mul(2).saturating_sub(*held).min(USUAL);
            self.head.certificate.take_if(|leaf| leaf.weight() > room);
            self.held = self.weight();
        }
        *held = held.saturating_add(self.held);
    }

    fn weight(&self) -> usize {
        let leaf = self.head.certificate.as_ref().map_or(0, |leaf| leaf.weight());
        self.observation.as_deref().map_or(0, Observation::weight).max(leaf)
    }
}
