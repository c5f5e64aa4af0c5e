//! Alerts about what earlier runs stored: there is no handshake at hand, but a cause, places and a count.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Alert, AlertStatus, Alerts, CauseKey, When};
use crate::detect::finding::Finding;
use crate::time::Timestamp;

/// A cause with all that is known of it from before.
#[derive(Clone, Debug)]
pub struct Past {
    /// What heads the alert.
    pub head: Finding,
    /// Hosts.
    pub hosts: Vec<Arc<str>>,
    /// Clients, where they are known.
    pub clients: Vec<IpAddr>,
    /// First packet time.
    pub first: Timestamp,
    /// Last packet time.
    pub last: Timestamp,
    /// Handshakes.
    pub count: u64,
}

impl Alerts {
    /// Takes in what is known from before. Says what is to be told at once.
    pub fn take_past(&mut self, past: Past, clock: Timestamp) -> Option<(CauseKey, AlertStatus)> {
        self.counts.findings += 1;
        let Past { mut head, hosts, clients, first, last, count } = past;
        let suppressed = head.suppressed_by.is_some();
        self.counts.suppressed += u64::from(suppressed);
        let key = (self.id(&head), suppressed);
        if !self.causes.contains_key(&key) && !self.has_room(((!suppressed, head.severity), head.rule.id), clock) {
            self.counts.overflow += 1;
            return None;
        }
        head.moment.timestamp = first;
        let severity = head.severity;
        let backing = self.backing.as_deref().filter(|_| !suppressed);
        let earlier = backing.and_then(|backing| backing.told(&key.0));
        let before = backing.filter(|_| earlier.is_some()).map(|backing| backing.about(&key.0));
        let mut alert = Alert::new(key, (&head, false), None);
        alert.earlier = earlier;
        // None of the handshakes that it counts is at hand: another past of the same time is not the same one.
        alert.counted.clear();
        // Count and first time are those of all runs.
        alert.goes_on = earlier.is_some();
        alert.last_seen = last;
        alert.count = count.max(1);
        // What earlier runs told of it is among what is stored.
        alert.fresh = earlier.map_or(count, |earlier| count.saturating_sub(earlier.count)).max(1);
        let most = self.most();
        hosts.iter().for_each(|host| alert.hosts.insert(Arc::clone(host), most));
        clients.iter().for_each(|client| alert.clients.insert(*client, most));
        alert.recall(before.unwrap_or_default(), most);
        match self.causes.get_mut(&key) {
            Some(known) => {
                let before = known.listed();
                // What this run counted of the cause is stored as well.
                alert.count = count.saturating_sub(known.count);
                alert.fresh = alert.count;
                known.absorb(alert);
                self.listed.0 = self.listed.0.saturating_add(known.listed()).saturating_sub(before);
            }
            None => {
                self.listed.0 = self.listed.0.saturating_add(alert.listed());
                self.causes.insert(key, Box::new(alert));
            }
        }
        if self.when == When::AtEnd {
            return None;
        }
        let known = self.causes.get(&key)?;
        let status = match known.told {
            _ if known.braked.is_some_and(|(_, braked)| severity <= braked) => return None,
            None => known.first_status(),
            Some(told) if severity > told.severity => AlertStatus::Escalated,
            Some(_) => AlertStatus::Update,
        };
        self.tell(key, clock).then_some((key, status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::catalogue::{KNOWN_COMPROMISED_KEY, SELF_SIGNED, Severity};
    use crate::detect::finding::Cause;
    use crate::time::{Moment, Order};
    use crate::x509::Sha256;

    #[test]
    fn what_is_counted_already_is_counted_once() {
        let at = |second| Timestamp::new(second, 0);
        let cause = || Cause::LeafKey(Sha256([7; 32]));
        let finding = |second| {
            let order = Order { clock: at(second), ..Order::default() };
            let moment = Moment { order, timestamp: at(second), time_known: true, ..Moment::default() };
            Finding::new(&SELF_SIGNED, cause(), moment, String::new())
        };
        let past = || Past {
            head: Finding::new(&KNOWN_COMPROMISED_KEY, cause(), Moment::default(), "stolen".to_owned()),
            hosts: ["a:443", "b:443"].map(Arc::from).into(),
            clients: Vec::new(),
            first: at(5),
            last: at(40),
            count: 9,
        };
        for when in [When::AtEnd, When::AtOnce] {
            let mut alerts = Alerts::new(when);
            for second in [10, 20] {
                alerts.take(&finding(second), || None, at(second));
            }
            let told = alerts.take_past(past(), at(50));
            assert_eq!(told.map(|(_, status)| status), (when == When::AtOnce).then_some(AlertStatus::Escalated));
            let alert = alerts.iter().next().unwrap();
            assert_eq!((alert.count, alert.first_seen, alert.last_seen), (9, at(5), at(40)));
            assert_eq!((alert.severity, alert.head.message.as_str()), (Severity::Critical, "stolen"));
            assert_eq!((alert.hosts.len(), alert.rules.len()), (2, 2));
        }
        // With nothing before it is an alert of its own.
        let mut alerts = Alerts::new(When::AtOnce);
        assert_eq!(alerts.take_past(past(), at(50)).map(|(_, status)| status), Some(AlertStatus::New));
        assert!(alerts.finish().is_empty(), "told is told");
        // More of the same is stored when lists are read once more.
        for count in [9, 12] {
            let told = alerts.take_past(Past { count, ..past() }, at(60));
            assert_eq!(told.map(|(_, status)| status), Some(AlertStatus::Update));
            assert_eq!(alerts.iter().next().unwrap().count, count);
        }
    }

    #[test]
    fn what_is_known_already_needs_no_room() {
        let past = |key: u8, severity| Past {
            head: Finding {
                severity,
                ..Finding::new(
                    &KNOWN_COMPROMISED_KEY,
                    Cause::LeafKey(Sha256([key; 32])),
                    Moment::default(),
                    String::new(),
                )
            },
            hosts: Vec::new(),
            clients: Vec::new(),
            first: Timestamp::new(5, 0),
            last: Timestamp::new(40, 0),
            count: 9,
        };
        let mut alerts = Alerts { capacity: 2, ..Alerts::new(When::AtEnd) };
        for key in [1, 2, 3, 2] {
            alerts.take_past(past(key, Severity::High), Timestamp::new(50, 0));
        }
        assert_eq!((alerts.number(), alerts.counts.overflow), (2, 1));
        alerts.take_past(past(4, Severity::Critical), Timestamp::new(50, 0));
        assert_eq!((alerts.number(), alerts.gravest()), (2, Some(Severity::Critical)), "one left for it");
    }
}
