//! What a sensor does while its inventory cannot be written: the disk is full, or somebody else holds the file. Neither ends
//! the capture: what was to be written waits within bounds and is tried again, what does not fit is dropped and counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use crossbeam_channel::{Receiver, after, select};

use super::writer::Order;
use super::{InventoryError, Unwritten, lock};

/// Bytes of orders that wait while the file cannot be written.
const HELD: usize = 64 << 20;

/// Between two tries.
const RETRY: Duration = Duration::from_secs(1);

/// How long another program that writes is waited for, where it can be tried again.
pub(super) const BUSY: Duration = Duration::from_millis(500);

/// Tries between two complaints about the same.
const SILENCE: u32 = 60;

/// How a writer bears failure: not at all, unless somebody is told of it.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// Tells the user a line.
    tell: OnceLock<fn(&str)>,
    /// Handshakes, baselines and alerts that were dropped.
    lost: AtomicU64,
}

impl Patience {
    pub(super) fn is_patient(&self) -> bool {
        self.tell.get().is_some()
    }

    /// From now on failures are told, and not the end.
    pub(super) fn bear(&self, tell: fn(&str)) {
        // Who was told first is told on.
        let _ = self.tell.set(tell);
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits for the next try and takes what comes meanwhile; `false` where there is none: somebody waits for the end, or
    /// what was to be written is no longer there.
    pub(super) fn wait(
        &self,
        (orders, taken, unwritten): (&Receiver<Order>, &mut Taken, &Mutex<Unwritten>),
        tries: u32,
        error: &InventoryError,
    ) -> bool {
        let Some(tell) = self.tell.get().filter(|_| taken.is_whole() && !taken.is_last()) else { return false };
        if tries.is_multiple_of(SILENCE) {
            tell(&format!("inventory: {error}; it is tried again, and what finds no room meanwhile is dropped"));
        }
        let next = after(RETRY);
        loop {
            select! {
                recv(next) -> _ => return true,
                recv(orders) -> order => match order {
                    Err(_) => return false,
                    Ok(order @ Order::Commit(_)) => {
                        taken.push(order);
                        return true;
                    }
                    Ok(order) if taken.has_room() => taken.push(order),
                    Ok(order) => self.drop(&order, unwritten),
                },
            }
        }
    }

    /// It was written in the end.
    pub(super) fn over(&self, tries: u32) {
        if let Some(tell) = self.tell.get().filter(|_| tries > 0) {
            tell("inventory: it can be written again");
        }
    }

    fn drop(&self, order: &Order, unwritten: &Mutex<Unwritten>) {
        if let Order::Records(records) = order {
            let mut unwritten = lock(unwritten);
            records.iter().for_each(|record| unwritten.wrote(&record.key, record.version));
        }
        let number = match order {
            Order::Batch(batch) => batch.handshakes(),
            Order::Records(records) => records.len(),
            Order::Alert(_) | Order::Counted(_) => 1,
            _ => 0,
        };
        self.lost.fetch_add(u64::try_from(number).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// The orders of a transaction, kept until it is committed where it may be tried again.
#[derive(Debug)]
pub(super) struct Taken {
    orders: Vec<Order>,
    keep: bool,
    /// All of them are here.
    whole: bool,
    bytes: usize,
    next: usize,
    number: usize,
}

impl Taken {
    pub(super) fn new(first: Order, keep: bool) -> Self {
        let bytes = first.weight();
        Self { orders: vec![first], keep, whole: true, bytes, next: 0, number: 0 }
    }

    pub(super) fn rewind(&mut self) {
        (self.next, self.number) = (0, 0);
    }

    /// How many were given since it was rewound.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// All that were given were written; this one is next.
    pub(super) fn go_on(&mut self, order: Order) {
        if !self.keep || self.bytes > HELD {
            self.orders.clear();
            (self.next, self.bytes, self.whole) = (0, 0, false);
        }
        self.push(order);
    }

    fn push(&mut self, order: Order) {
        self.bytes = self.bytes.saturating_add(order.weight());
        self.orders.push(order);
    }

    pub(super) fn next(&mut self) -> Option<&Order> {
        let order = self.orders.get(self.next)?;
        self.next = self.next.saturating_add(1);
        self.number = self.number.saturating_add(1);
        Some(order)
    }

    /// All of them were given.
    pub(super) fn is_through(&self) -> bool {
        self.next >= self.orders.len()
    }

    fn is_whole(&self) -> bool {
        self.whole
    }

    /// Somebody waits for them.
    pub(super) fn is_last(&self) -> bool {
        self.orders.iter().any(|order| matches!(order, Order::Commit(_)))
    }

    fn has_room(&self) -> bool {
        self.bytes < HELD
    }
}

impl Order {
    /// Bytes that it holds, about.
    fn weight(&self) -> usize {
        match self {
            Self::Batch(batch) => batch.weight(),
            Self::Records(records) => {
                records.iter().map(|one| one.record.as_ref().map_or(0, |record| record.len()).saturating_add(256)).sum()
            }
            Self::Alert(alert) => alert.0.json.len().saturating_add(alert.1.len().saturating_mul(64)),
            Self::Counted(counted) => counted.about.len().saturating_mul(64).saturating_add(256),
            Self::Part(_, handshakes) => handshakes.len().saturating_mul(8),
            Self::Capture(_) | Self::Expire(_) | Self::Begin | Self::Commit(_) => 256,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Inventory, Named, StoredAlert};
    use super::*;
    use crate::detect::sighting::HostKey;
    use crate::time::Timestamp;

    static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

    fn alert(number: u8, bytes: usize) -> StoredAlert {
        let (first, json) = (Timestamp(0), "x".repeat(bytes));
        StoredAlert { id: format!("{number:02x}"), first, last: first, count: 1, severity: 73, json }
    }

    fn until(what: impl Fn() -> bool) {
        let soon = (0..3_000).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            what()
        });
        assert!(soon);
    }

    #[test]
    fn a_file_that_cannot_be_written_for_a_while_costs_what_finds_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("i.db");
        let inventory = Inventory::open(&path).unwrap();
        inventory.bear(|line| lock(&TOLD).push(line.to_owned()));
        let other = rusqlite::Connection::open(&path).unwrap();
        let is_there = |number: u8| inventory.alert(&alert(number, 0).id).unwrap().is_some();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        inventory.put_alert(alert(0, 9), vec![(Named::Host, "a:443".to_owned())]).unwrap();
        until(|| !lock(&TOLD).is_empty());
        // Nobody waits for the file, however much there is.
        (1..20).for_each(|number| inventory.put_alert(alert(number, 8 << 20), Vec::new()).unwrap());
        let key = HostKey { name: "h.example".to_owned(), port: 443 };
        inventory.put_baseline(&key, b"record", Timestamp(1)).unwrap();
        inventory.hand_over().unwrap();
        until(|| inventory.lost() > 10);
        other.execute_batch("ROLLBACK").unwrap();
        until(|| is_there(0));
        inventory.commit().unwrap();
        let written = (0..20).filter(|number| is_there(*number)).count();
        let known = inventory.baseline(&key).unwrap().is_some();
        assert_eq!(u64::try_from(20 - written + usize::from(!known)).unwrap(), inventory.lost());
        assert!((8..12).contains(&written), "{written}");
        let told = std::mem::take(&mut *lock(&TOLD));
        assert!(
            told.len() == 2 && told[0].contains("locked; it is tried again") && told[1].contains("again"),
            "{told:?}"
        );
        // At the end there is no other try: it is waited for.
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        inventory.put_alert(alert(99, 9), Vec::new()).unwrap();
        let other = std::thread::spawn(move || {
            std::thread::sleep(3 * BUSY);
            other.execute_batch("ROLLBACK").unwrap();
        });
        inventory.commit().unwrap();
        assert!(is_there(99));
        other.join().unwrap();
    }
}
