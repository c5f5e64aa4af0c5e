//! The baselines of detection, kept in an inventory.

use std::collections::HashSet;
use std::sync::Arc;

use crate::detect::hosts::backing::Backing;
use crate::detect::hosts::record::HostRecord;
use crate::detect::sighting::HostKey;
use crate::time::Timestamp;
use crate::x509::Sha256;

use super::Inventory;

/// An [`Inventory`] behind the memory of hosts.
#[derive(Debug)]
pub struct Baselines {
    inventory: Arc<Inventory>,
    /// Files of the run that were read before.
    old: HashSet<u32>,
    /// The last certificate that was there before the run: what the run itself writes is not known from before.
    newest: i64,
}

impl Baselines {
    /// Reads from and writes to `inventory`; handshakes of the files `old` of this run are counted in it already.
    pub fn new(inventory: Arc<Inventory>, old: HashSet<u32>) -> Self {
        let newest = inventory.store().newest_certificate().unwrap_or_else(|error| {
            inventory.fail(&error);
            0
        });
        Self { inventory, old, newest }
    }
}

impl Backing for Baselines {
    fn read(&self, key: &HostKey) -> Option<HostRecord> {
        let read = || {
            let Some(bytes) = self.inventory.baseline(key)? else { return Ok(None) };
            // The name in the record decides where it is found again: one that somebody else put there is of no use.
            let record = HostRecord::from_bytes(&bytes).filter(|record| record.key() == *key);
            let Some(mut record) = record else { return Ok(None) };
            for accepted in self.inventory.accepted(key)? {
                record.accept(&accepted);
            }
            Ok(Some(record))
        };
        read().unwrap_or_else(|error| {
            self.inventory.fail(&error);
            None
        })
    }

    fn write(&self, record: &HostRecord) {
        let written = self.inventory.put_baseline(&record.key(), &record.to_bytes(), Timestamp(record.last));
        if let Err(error) = written {
            self.inventory.fail(&error);
        }
    }

    fn is_old(&self, file: u32) -> bool {
        self.old.contains(&file)
    }

    fn knows(&self, certificate: &Sha256) -> bool {
        self.inventory.has_certificate(certificate, self.newest).unwrap_or_else(|error| {
            self.inventory.fail(&error);
            false
        })
    }
}
