//! What was seen and where, in one SQLite file: certificates, keys, places, and what detection remembers of hosts.
//!
//! [`Inventory`] writes, through a thread of its own; [`Store`] is the open file and answers questions.
//! docs/INVENTORY.md describes the tables.

mod answer;
mod audit;
mod digest;
mod edits;
mod export;
mod gather;
mod hosts;
mod indicated;
mod layout;
mod listed;
mod owners;
mod parts;
mod patience;
mod prints;
mod query;
mod replay;
mod schema;
mod sketch;
mod store;
mod timeline;
mod untouched;
mod writer;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use crate::detect::hosts::backing::{ClientUse, ToldBefore};
use crate::detect::sighting::HostKey;
use crate::time::Timestamp;

pub use answer::{Answer, Cell, Rows};
pub use audit::Effort;
pub use gather::Gather;
pub use hosts::Baselines;
pub use listed::{Applied, Found};
pub use owners::OwnersError;
pub use parts::Counted;
use patience::Patience;
pub use query::{Filter, Question};
pub use replay::stand_in;
pub use store::Store;
use writer::{Order, Remembered};

/// Handshakes of a batch unless told otherwise: some seconds of a busy link.
pub const BATCH_HANDSHAKES: usize = 100_000;

/// Batches that may wait for the disk; then the run waits too.
const QUEUE: usize = 2;

/// Host records that are handed to the writer together.
const RECORDS: usize = 256;

/// How often somebody who waits for the writer looks whether it still runs.
const LOOK_UP: Duration = Duration::from_millis(10);

/// Hosts whose records are looked at for domains with a public certificate, the last seen.
const PUBLIC_DOMAINS: u32 = 250_000;

/// Pairs of a client's key and an address that are taken into a run, the last used.
const CLIENT_USES: u32 = 100_000;

/// Why an inventory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InventoryError {
    /// The file is a database of something else, or no database.
    #[error("not an inventory of tlswatch")]
    Foreign,
    /// There is no such file.
    #[error("no such file")]
    Missing,
    /// It is a folder.
    #[error("a folder and no inventory")]
    Folder,
    /// It cannot be made, or not be looked at.
    #[error(transparent)]
    File(#[from] io::Error),
    /// A later version of the program made it.
    #[error("made by a later version (schema {version}, this program knows {known})")]
    Newer {
        /// Schema of the file.
        version: i32,
        /// Schema of this program.
        known: i32,
    },
    /// An older version made it; to be changed, or too large to be copied, it has to be brought up to date.
    #[error("made by an older version (schema {version}): open it once for writing")]
    Older {
        /// Schema of the file.
        version: i32,
    },
    /// SQLite or the disk failed.
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    /// The writer failed before: its words.
    #[error("{0}")]
    Writer(String),
}

impl From<InventoryError> for crate::sink::SinkError {
    fn from(error: InventoryError) -> Self {
        Self::Write(io::Error::other(format!("inventory: {error}")))
    }
}

/// A host record on its way to the disk; `None`: forgotten.
#[derive(Clone, Debug)]
struct Pending {
    record: Option<Arc<[u8]>>,
    /// Tells a later value of the same host.
    version: u64,
}

/// Host records that are not yet certain to be in the file.
#[derive(Debug, Default)]
struct Unwritten {
    records: HashMap<HostKey, Pending>,
    unsent: Vec<Remembered>,
    version: u64,
    /// Captures that were noted as read before they were noted here.
    known: Vec<crate::x509::Sha256>,
}

impl Unwritten {
    /// This value of a host is no longer on its way.
    fn wrote(&mut self, key: &HostKey, version: u64) {
        if self.records.get(key).is_some_and(|pending| pending.version == version) {
            self.records.remove(key);
        }
    }
}

/// An inventory that is written to.
#[derive(Debug)]
pub struct Inventory {
    store: Arc<Store>,
    in_file: bool,
    /// Another inventory that is only read (`--baseline`).
    base: Option<Store>,
    orders: Option<Sender<Order>>,
    writer: Option<JoinHandle<()>>,
    failure: Arc<Mutex<Option<String>>>,
    patience: Arc<Patience>,
    unwritten: Arc<Mutex<Unwritten>>,
}

impl Inventory {
    /// Opens the file, made if there is none, and brought up to date if it is of an older version.
    ///
    /// # Errors
    /// When it is no inventory or cannot be opened.
    pub fn open(path: &Path) -> Result<Self, InventoryError> {
        // Two connections, so that questions see the last committed state and do not wait for the writer.
        let writing = Arc::new(Store::open(path)?);
        let mut opened = Self::start(writing, Arc::new(Store::open(path)?))?;
        opened.in_file = true;
        Ok(opened)
    }

    /// An inventory that ends with the process.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn in_memory() -> Result<Self, InventoryError> {
        let store = Arc::new(Store::in_memory()?);
        Self::start(Arc::clone(&store), store)
    }

    fn start(writing: Arc<Store>, store: Arc<Store>) -> Result<Self, InventoryError> {
        let (orders, queue) = bounded(QUEUE);
        let failure = Arc::new(Mutex::new(None));
        let unwritten = Arc::new(Mutex::new(Unwritten::default()));
        let patience = Arc::new(Patience::default());
        let writer = writer::Writer::new(writing, Arc::clone(&unwritten), Arc::clone(&patience));
        let told = Arc::clone(&failure);
        let thread = std::thread::Builder::new().name("inventory".to_owned()).spawn(move || {
            if let Err(error) = writer.run(&queue) {
                *lock(&told) = Some(error.to_string());
            }
        });
        let thread = thread.map_err(|error| InventoryError::Writer(error.to_string()))?;
        let (orders, writer) = (Some(orders), Some(thread));
        Ok(Self { store, in_file: false, base: None, orders, writer, failure, patience, unwritten })
    }

    /// Live: a file that cannot be written is told with `tell` and tried again until the end, when it is a failure.
    pub fn bear(&self, tell: fn(&str)) {
        self.patience.bear(tell);
    }

    /// Handshakes, baselines and alerts that could not be written and had no room to wait.
    pub fn lost(&self) -> u64 {
        self.patience.lost()
    }

    /// Reads host records from `base` too, which stays as it is.
    #[must_use]
    pub fn with_base(mut self, base: Store) -> Self {
        self.base = Some(base);
        self
    }

    /// What is committed, for questions.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The record of a host: the last one put, whether it is written yet or not.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn baseline(&self, key: &HostKey) -> Result<Option<Arc<[u8]>>, InventoryError> {
        if let Some(pending) = lock(&self.unwritten).records.get(key) {
            return Ok(pending.record.clone().filter(|record| !record.is_empty()));
        }
        let found = match (self.store.baseline(key)?, &self.base) {
            (None, Some(base)) => base.baseline(key)?,
            (found, _) => found,
        };
        Ok(found.filter(|record| !record.is_empty()))
    }

    /// Whether a capture of this content was read to its end before, into this inventory or the other one.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn has_capture(&self, digest: &crate::x509::Sha256) -> Result<bool, InventoryError> {
        Ok(self.store.has_capture(digest)? || self.base.as_ref().map_or(Ok(false), |base| base.has_capture(digest))?)
    }

    /// Captures that begin with these frames and were read to their end, into this inventory and, if so wanted, the other one.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn contents(&self, beginning: &crate::x509::Sha256, base: bool) -> Result<Vec<Content>, InventoryError> {
        let mut found = self.store.contents(beginning)?;
        if let Some(base) = self.base.as_ref().filter(|_| base) {
            found.extend(base.contents(beginning)?);
        }
        Ok(found)
    }

    /// Whether a certificate is in this inventory, and not later than number `newest`, or in the other one.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn has_certificate(&self, sha256: &crate::x509::Sha256, newest: i64) -> Result<bool, InventoryError> {
        let in_base = || self.base.as_ref().map_or(Ok(false), |base| base.has_certificate(sha256, i64::MAX));
        Ok(self.store.has_certificate(sha256, newest)? || in_base()?)
    }

    /// Certificates that a person accepted for a host.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn accepted(&self, key: &HostKey) -> Result<Vec<crate::x509::Sha256>, InventoryError> {
        let mut accepted = self.store.accepted(key)?;
        if let Some(base) = &self.base {
            accepted.extend(base.accepted(key)?);
        }
        Ok(accepted)
    }

    /// Domains of hosts that were seen with a certificate of a public CA, hashed, here or in the other inventory.
    fn public_domains(&self) -> Result<Vec<u64>, InventoryError> {
        let mut found = self.store.public_domains(PUBLIC_DOMAINS)?;
        if let Some(base) = &self.base {
            found.extend(base.public_domains(PUBLIC_DOMAINS)?);
        }
        Ok(found)
    }

    /// From where keys of clients were used, here or in the other inventory.
    fn client_uses(&self) -> Result<Vec<ClientUse>, InventoryError> {
        let mut found = self.store.client_uses(CLIENT_USES)?;
        if let Some(base) = &self.base {
            found.extend(base.client_uses(CLIENT_USES)?);
        }
        Ok(found)
    }

    /// Keeps the record of a host (an empty one counts as none); `last_seen` is packet time. Waits when the disk is slower.
    ///
    /// # Errors
    /// When the writer failed.
    pub fn put_baseline(&self, key: &HostKey, record: &[u8], last_seen: Timestamp) -> Result<(), InventoryError> {
        self.remember(key, Some(record.into()), last_seen)
    }

    /// Forgets a host.
    ///
    /// # Errors
    /// When the writer failed.
    pub fn forget_baseline(&self, key: &HostKey) -> Result<(), InventoryError> {
        // An empty record hides the one that cannot be removed.
        self.remember(key, self.base.as_ref().map(|_| Arc::from([])), Timestamp::default())
    }

    fn remember(&self, key: &HostKey, record: Option<Arc<[u8]>>, last_seen: Timestamp) -> Result<(), InventoryError> {
        let ready = {
            let mut unwritten = lock(&self.unwritten);
            unwritten.version += 1;
            let version = unwritten.version;
            unwritten.records.insert(key.clone(), Pending { record: record.clone(), version });
            unwritten.unsent.push(Remembered { key: key.clone(), record, last_seen, version });
            (unwritten.unsent.len() >= RECORDS).then(|| std::mem::take(&mut unwritten.unsent))
        };
        // Not under the lock: the writer takes it to commit.
        ready.map_or(Ok(()), |records| self.send(Order::Records(records)))
    }

    /// Numbers of the handshakes of a capture that were counted while only a part of it was read, into this inventory and,
    /// if so wanted, the other one; `None` when there are more than are held in memory.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn counted(&self, digest: &crate::x509::Sha256, base: bool) -> Result<Option<HashSet<u64>>, InventoryError> {
        let Some(mut counted) = self.store.counted(digest)? else { return Ok(None) };
        if let Some(base) = self.base.as_ref().filter(|_| base) {
            let Some(others) = base.counted(digest)? else { return Ok(None) };
            counted.extend(others);
        }
        Ok(Some(counted))
    }

    /// An alert that an earlier run told, into this inventory or the other one.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn alert(&self, id: &str) -> Result<Option<StoredAlert>, InventoryError> {
        match (self.store.alert(id)?, &self.base) {
            (None, Some(base)) => base.alert(id),
            (found, _) => Ok(found),
        }
    }

    /// Hands over the records that wait for company.
    fn hand_over(&self) -> Result<(), InventoryError> {
        let records = std::mem::take(&mut lock(&self.unwritten).unsent);
        if records.is_empty() { Ok(()) } else { self.send(Order::Records(records)) }
    }

    /// What comes from now on until [`commit`](Self::commit) is in the file as a whole or not at all. Not for an inventory in
    /// memory, whose only connection is not kept from those who ask.
    fn begin(&self) -> Result<(), InventoryError> {
        if self.in_file { self.send(Order::Begin) } else { Ok(()) }
    }

    /// Forgets hosts that were last seen before this time.
    fn expire(&self, before: Timestamp) -> Result<(), InventoryError> {
        self.send(Order::Expire(before))
    }

    /// Keeps an alert, so that its cause is not told again; what it is about comes to what earlier runs knew.
    ///
    /// # Errors
    /// When the writer failed.
    pub fn put_alert(&self, alert: StoredAlert, about: Vec<(Named, String)>) -> Result<(), InventoryError> {
        self.send(Order::Alert(Box::new((alert, about))))
    }

    /// Keeps what was counted of an alert since it was told; its line stays.
    ///
    /// # Errors
    /// When the writer failed.
    pub fn put_counted(&self, counted: CountedAlert) -> Result<(), InventoryError> {
        self.send(Order::Counted(Box::new(counted)))
    }

    /// What an alert is about that an earlier run told, here or in the other inventory, and whether there was more.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn about(&self, id: &str, named: Named) -> Result<(Vec<String>, bool), InventoryError> {
        match &self.base {
            Some(base) if self.store.alert(id)?.is_none() => base.about(id, named),
            _ => self.store.about(id, named),
        }
    }

    /// Notes that a capture was read to its end.
    ///
    /// # Errors
    /// When the writer failed.
    pub fn put_capture(&self, capture: Capture) -> Result<(), InventoryError> {
        self.send(Order::Capture(Box::new(capture)))
    }

    /// Captures given to [`put_capture`](Self::put_capture) that were there already when the note was committed: read
    /// before, or meanwhile by somebody else.
    pub fn known_captures(&self) -> Vec<crate::x509::Sha256> {
        lock(&self.unwritten).known.clone()
    }

    /// Waits until everything given so far is committed.
    ///
    /// # Errors
    /// When the writer failed.
    pub fn commit(&self) -> Result<(), InventoryError> {
        if lock(&self.failure).is_some() {
            return Err(self.failed());
        }
        self.hand_over()?;
        let (tell, told) = bounded(1);
        self.send(Order::Commit(tell))?;
        let ended = || self.writer.as_ref().is_none_or(JoinHandle::is_finished);
        loop {
            match told.recv_timeout(LOOK_UP) {
                Ok(()) => return Ok(()),
                // An order may stay in a queue whose reader has just gone: then nobody ever answers it.
                Err(RecvTimeoutError::Timeout) if !ended() => {}
                Err(_) => break,
            }
        }
        // It is on its way out, and says why at the end.
        while !ended() {
            std::thread::sleep(LOOK_UP);
        }
        Err(self.failed())
    }

    fn send(&self, order: Order) -> Result<(), InventoryError> {
        let orders = self.orders.as_ref().ok_or_else(|| self.failed())?;
        orders.send(order).map_err(|_| self.failed())
    }

    /// Keeps the first error of somebody who cannot give it back himself: [`commit`](Self::commit) does.
    fn fail(&self, error: &InventoryError) {
        lock(&self.failure).get_or_insert_with(|| error.to_string());
    }

    /// Why the writer is gone.
    fn failed(&self) -> InventoryError {
        let said = lock(&self.failure).clone();
        InventoryError::Writer(said.unwrap_or_else(|| "the writer is gone".to_owned()))
    }
}

impl Drop for Inventory {
    fn drop(&mut self) {
        // A writer that failed has said so before.
        let _ = self.hand_over();
        self.orders = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// An alert as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAlert {
    /// Key of de-duplication, hexadecimal.
    pub id: String,
    /// First packet time.
    pub first: Timestamp,
    /// Last packet time.
    pub last: Timestamp,
    /// How often it was found.
    pub count: u64,
    /// 21, 47, 73 or 99.
    pub severity: u8,
    /// The event.
    pub json: String,
}

/// What was counted of an alert that was told.
#[derive(Clone, Debug)]
pub struct CountedAlert {
    /// Key of de-duplication, hexadecimal.
    pub id: String,
    /// Times, number and severity over all runs.
    pub total: ToldBefore,
    /// What it is about, if that is more than what is stored.
    pub about: Vec<(Named, String)>,
}

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// A server, `name:port`.
    Host,
    /// Address of a client.
    Client,
    /// Id of a rule that holds for it.
    Rule,
    /// The kind of which there are more than are kept.
    More,
}

impl Named {
    /// As it stands in table `alert_about`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Client => "client",
            Self::Rule => "rule",
            Self::More => "more",
        }
    }
}

/// A capture as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Digest of the file.
    pub digest: crate::x509::Sha256,
    /// Path at the time it was read.
    pub path: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// What it has in common with its copies in other formats; `None` where no frames can be read.
    pub content: Option<Content>,
}

/// What is in a capture file of whatever format, compressed or not: its frames as bytes (`capture::Packets`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// SHA-256 of the first bytes.
    pub beginning: crate::x509::Sha256,
    /// How many there are, if that is known.
    pub bytes: Option<u64>,
    /// The file is a classic one (pcap) without compression.
    pub plain: bool,
}

/// The content of a mutex; a thread that panicked with it left it whole, for nothing here is changed in two steps.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
