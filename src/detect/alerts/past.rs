//! Alerts about what earlier runs stored: there is no handshake at hand, but a cause, places and a count.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Alert, AlertStatus, Alerts, CAUSES, CauseKey, When};
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
        if self.causes.len() >= CAUSES && !self.causes.contains_key(&key) {
            self.counts.overflow += 1;
            return None;
        }
        head.moment.timestamp = first;
        let severity = head.severity;
        let earlier = self.backing.as_deref().filter(|_| !suppressed).and_then(|backing| backing.told(&key.0));
        let mut alert = Alert::new(key, (head, false), None);
        alert.earlier = earlier;
        alert.last_seen = last;
        alert.count = count.max(1);
        // What earlier runs told of it is among what is stored.
        alert.fresh = earlier.map_or(count, |earlier| count.saturating_sub(earlier.count)).max(1);
        hosts.iter().for_each(|host| alert.hosts.note(host));
        clients.iter().for_each(|client| alert.clients.note(client));
        match self.causes.get_mut(&key) {
            Some(known) => known.absorb(alert),
            None => {
                self.causes.insert(key, alert);
            }
        }
        if self.when == When::AtEnd {
            return None;
        }
        let known = self.causes.get(&key)?;
        let status = match known.told {
            None => known.first_status(),
            Some(told) if severity > told.severity => AlertStatus::Escalated,
            Some(_) => AlertStatus::Update,
        };
        self.tell(key, clock).then_some((key, status))
    }
}
