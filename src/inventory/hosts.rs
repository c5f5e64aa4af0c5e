//! The baselines of detection, kept in an inventory.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::Value;

use crate::detect::alerts::Alert;
use crate::detect::alerts::kept::{Before, Line};
use crate::detect::finding::AlertId;
use crate::detect::hosts::backing::{Backing, ClientUse, Edit, ToldBefore};
use crate::detect::hosts::record::HostRecord;
use crate::detect::observation::Ends;
use crate::detect::sighting::HostKey;
use crate::policy::Severity;
use crate::time::{Moment, Timestamp};
use crate::x509::Sha256;

use super::{Counted, CountedAlert, Inventory, InventoryError, Named, StoredAlert, gather};

/// An [`Inventory`] behind the memory of hosts.
#[derive(Debug)]
pub struct Baselines {
    inventory: Arc<Inventory>,
    /// What is counted in it already.
    counted: Arc<Counted>,
    /// The last certificate that was there before the run: what the run itself writes is not known from before.
    newest: i64,
    /// The edit by hand that was heeded last.
    heeded: AtomicI64,
}

impl Baselines {
    /// Reads from and writes to `inventory`, in which `counted` is counted already.
    pub fn new(inventory: Arc<Inventory>, counted: Arc<Counted>) -> Self {
        let newest = inventory.store().newest_certificate().unwrap_or_else(|error| {
            inventory.fail(&error);
            0
        });
        let heeded = inventory.store().newest_edit().unwrap_or_else(|error| {
            inventory.fail(&error);
            0
        });
        Self { inventory, counted, newest, heeded: heeded.into() }
    }

    fn note<T: Default>(&self, done: Result<T, InventoryError>) -> T {
        done.unwrap_or_else(|error| {
            self.inventory.fail(&error);
            T::default()
        })
    }
}

/// What the line said that was written last.
fn line_of(alert: &StoredAlert) -> Option<Line> {
    let event: Value = serde_json::from_str(&alert.json).ok()?;
    let told = event.pointer("/tlswatch/alert")?;
    let hosts = told.pointer("/hosts/count").and_then(Value::as_u64).unwrap_or(0);
    let last = Timestamp::parse(told.get("last_seen")?.as_str()?)?;
    Some(Line { count: told.get("count")?.as_u64()?, hosts: usize::try_from(hosts).unwrap_or(usize::MAX), last })
}

impl Backing for Baselines {
    fn read(&self, key: &HostKey) -> Option<HostRecord> {
        let read = || {
            let Some(bytes) = self.inventory.baseline(key)? else { return Ok(None) };
            // The name in the record decides where it is found again: one that somebody else put there is of no use.
            let record = HostRecord::from_bytes(&bytes).filter(|record| record.key() == *key);
            let Some(mut record) = record else { return Ok(None) };
            record.accept_all(&self.inventory.accepted(key)?);
            Ok(Some(record))
        };
        self.note(read())
    }

    fn accepted(&self, key: &HostKey) -> Vec<Sha256> {
        self.note(self.inventory.accepted(key))
    }

    fn edits(&self) -> Vec<Edit> {
        let edits = self.note(self.inventory.store().edits(self.heeded.load(Ordering::Relaxed)));
        if let Some((number, _)) = edits.last() {
            self.heeded.store(*number, Ordering::Relaxed);
        }
        edits.into_iter().map(|(_, edit)| edit).collect()
    }

    fn forget(&self, key: &HostKey) {
        self.note(self.inventory.forget_baseline(key));
    }

    fn public_domains(&self) -> Vec<u64> {
        self.note(self.inventory.public_domains())
    }

    fn client_uses(&self) -> Vec<ClientUse> {
        self.note(self.inventory.client_uses())
    }

    fn write(&self, record: &HostRecord) {
        self.note(self.inventory.put_baseline(&record.key(), &record.to_bytes(), Timestamp(record.last)));
    }

    fn is_whole(&self) -> bool {
        self.inventory.lost() == 0
    }

    fn flush(&self) {
        self.note(self.inventory.hand_over());
    }

    fn finish(&self) {
        self.note(self.inventory.begin());
    }

    fn expire(&self, before: Timestamp) {
        self.note(self.inventory.expire(before));
    }

    fn was_read(&self, ends: Option<&Ends>, moment: &Moment) -> bool {
        self.counted.has(ends, moment)
    }

    fn told(&self, id: &AlertId) -> Option<ToldBefore> {
        let alert = self.note(self.inventory.alert(&id.to_string()))?;
        let severity = Severity::of_number(i64::from(alert.severity))?;
        Some(ToldBefore { first: alert.first, last: alert.last, count: alert.count, severity })
    }

    fn about(&self, id: &AlertId) -> Before {
        let id = id.to_string();
        let Some(alert) = self.note(self.inventory.alert(&id)) else { return Before::default() };
        let [hosts, clients, rules] = [Named::Host, Named::Client, Named::Rule].map(|named| {
            let known = self.inventory.about(&id, named);
            self.note(known)
        });
        Before {
            hosts: hosts.0.into_iter().map(Arc::from).collect(),
            clients: clients.0.iter().filter_map(|client| client.parse().ok()).collect(),
            rules: rules.0,
            more: (hosts.1, clients.1),
            line: line_of(&alert),
        }
    }

    fn counted(&self, alert: &Alert, lists: bool) {
        let Some(total) = alert.total() else { return };
        let about = if lists { gather::about(alert) } else { Vec::new() };
        self.note(self.inventory.put_counted(CountedAlert { id: alert.id.to_string(), total, about }));
    }

    fn knows(&self, certificate: &Sha256) -> bool {
        self.inventory.has_certificate(certificate, self.newest).unwrap_or_else(|error| {
            self.inventory.fail(&error);
            false
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::alerts::{AlertStatus, Alerts, When};
    use crate::detect::catalogue::EXPIRED;
    use crate::detect::finding::{Cause, Finding};
    use crate::packet::{Endpoint, Transport};
    use crate::time::Order;

    fn at(second: i64) -> Timestamp {
        Timestamp::new(second, 0)
    }

    /// A finding at a host of this number, about a client of this number.
    fn take(alerts: &mut Alerts, (host, client): (u8, u8), second: i64) -> Option<AlertStatus> {
        let order = Order { clock: at(second), ..Order::default() };
        let moment = Moment { order, timestamp: at(second), time_known: true, ..Moment::default() };
        let mut finding = Finding::new(&EXPIRED, Cause::LeafKey(Sha256([7; 32])), moment, String::new());
        finding.host = format!("h{host}:443").into();
        let end = |address: [u8; 4], port| Endpoint { address: address.into(), port };
        let (client, server) = (end([10, 0, 0, client], 1), end([10, 1, 0, host], 443));
        finding.ends = Some(Ends { client, server, transport: Transport::Tcp, virtual_network: 0 });
        alerts.take(&finding, || None, at(second)).map(|(_, status)| status)
    }

    #[test]
    fn a_crash_costs_ten_seconds_of_an_alert_and_the_next_run_knows_the_rest() {
        let inventory = Arc::new(Inventory::in_memory().unwrap());
        let run = || {
            let baselines = Baselines::new(Arc::clone(&inventory), Arc::default());
            Alerts::new(When::AtOnce).remembering(Some(Arc::new(baselines)))
        };
        let mut alerts = run();
        assert_eq!(take(&mut alerts, (1, 1), 100), Some(AlertStatus::New));
        let alert = alerts.iter().next().unwrap();
        let (id, total) = (alert.id.to_string(), alert.total().unwrap());
        let told = |count| {
            let line = r#"{"count":1,"hosts":{"count":1},"last_seen":"1970-01-01T00:01:40.000000000Z"}"#;
            let json = format!("{{\"tlswatch\":{{\"alert\":{line}}}}}");
            StoredAlert { id: id.clone(), first: at(100), last: total.last, count, severity: 47, json }
        };
        inventory.put_alert(told(1), gather::about(alert)).unwrap();
        alerts.save(at(100));
        for (number, second) in [(2, 101), (3, 102), (3, 103)] {
            assert_eq!(take(&mut alerts, (number, number), second), None);
        }
        let stored = || {
            inventory.commit().unwrap();
            let about = |named| inventory.about(&id, named).unwrap().0.len();
            let alert = inventory.alert(&id).unwrap().unwrap();
            assert_eq!(alert.json, told(1).json, "the line stays");
            ((alert.count, alert.last.seconds()), about(Named::Host), about(Named::Client))
        };
        alerts.save(at(109));
        assert_eq!(stored(), ((1, 100), 1, 1));
        alerts.save(at(110));
        assert_eq!(stored(), ((4, 103), 3, 3));
        // Only the number, where nothing else is new.
        take(&mut alerts, (3, 3), 111);
        alerts.save(at(121));
        assert_eq!(stored(), ((5, 111), 3, 3));
        // And now it is gone, before it told of four of the five.
        let mut alerts = run();
        assert_eq!(take(&mut alerts, (1, 4), 200), None);
        let alert = alerts.iter().next().unwrap();
        assert_eq!((alert.count, alert.hosts.len(), alert.clients.len()), (6, 3, 4));
        assert_eq!((alert.first_seen, alert.last_seen), (at(100), at(200)));
        // The window began when it was told.
        assert!(alerts.advance(at(86_499)).is_empty());
        assert_eq!(alerts.advance(at(86_500)).len(), 1);
        alerts.save(at(90_000));
        alerts.save(at(90_010));
        assert_eq!(stored(), ((5, 111), 3, 3), "what is told is kept with its line");
    }
}
