//! The baselines of detection, kept in an inventory.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::detect::finding::AlertId;
use crate::detect::hosts::backing::{Backing, ClientUse, Edit, ToldBefore};
use crate::detect::hosts::record::HostRecord;
use crate::detect::observation::Ends;
use crate::detect::sighting::HostKey;
use crate::policy::Severity;
use crate::time::{Moment, Timestamp};
use crate::x509::Sha256;

use super::{Counted, Inventory, InventoryError};

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

    fn knows(&self, certificate: &Sha256) -> bool {
        self.inventory.has_certificate(certificate, self.newest).unwrap_or_else(|error| {
            self.inventory.fail(&error);
            false
        })
    }
}
