//! What every event of a run has in common.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::stats::Demand;

use super::json::Writer;

/// How much a handshake event tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// Everything.
    #[default]
    Full,
    /// No lists of ciphers, extensions, groups and signature algorithms: the fingerprints stand for them.
    Standard,
    /// Nor the `x509` objects: the certificate event has them.
    Lean,
}

/// Who reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observer {
    /// `observer.name`, part of every `event.id`.
    pub name: String,
    /// `observer.hostname`, only live.
    pub hostname: Option<String>,
    /// `observer.version`.
    pub version: String,
}

impl Default for Observer {
    fn default() -> Self {
        Self { name: "tlswatch".to_owned(), hostname: None, version: env!("CARGO_PKG_VERSION").to_owned() }
    }
}

/// What every event of a run has in common; shared by the workers.
#[derive(Debug, Default)]
pub struct Context {
    /// Name of the observer.
    pub(super) name: String,
    /// Members of the `observer` object as JSON, rendered once.
    pub(super) observer: String,
    /// What every event of a handshake says.
    pub(super) handshake: HandshakeConstants,
    /// How much a handshake event tells.
    pub(super) detail: Detail,
    /// Seed of the Community ID.
    pub(super) community_seed: u16,
    /// Names of files and interfaces.
    pub(super) places: Places,
}

/// Members that are the same in every event of a handshake, rendered once.
#[derive(Debug)]
pub(super) struct HandshakeConstants {
    /// What comes behind its time, from the quotation mark that ends that to the first members of `event`.
    pub(super) head: String,
}

impl Default for HandshakeConstants {
    fn default() -> Self {
        let members = Writer::fragment(|w| {
            super::tls::ecs(w);
            w.object("event", super::tls::event_of_handshake);
        });
        // More members follow before the brace.
        Self { head: format!("\"{}", members.strip_suffix('}').unwrap_or_default()) }
    }
}

impl Context {
    /// The context of a run that `observer` reports on.
    pub fn new(observer: &Observer, detail: Detail) -> Self {
        let members = Writer::fragment(|w| {
            w.text("vendor", "tlswatch");
            w.text("product", "tlswatch");
            w.text("type", "sensor");
            w.text("version", &observer.version);
            w.text("name", &observer.name);
            w.text("hostname", observer.hostname.as_deref().unwrap_or_default());
        });
        Self { name: observer.name.clone(), observer: members, detail, ..Self::default() }
    }

    /// The same with another seed of the Community ID.
    #[must_use]
    pub fn with_community_seed(mut self, seed: u16) -> Self {
        self.community_seed = seed;
        self
    }

    /// The same with counters that may be asked for while the run goes on.
    #[must_use]
    pub fn with_demand(mut self, demand: Arc<Demand>) -> Self {
        self.places.demand = demand;
        self
    }

    /// Where file and interface names are kept; may be filled while the run goes on.
    pub fn places(&self) -> &Places {
        &self.places
    }
}

/// Names of capture files and of the interfaces in them.
///
/// A reader learns of a file or an interface before its first frame goes to a worker, so a look-up never comes too early. And
/// the counters that are asked for, which the reader tells the same way.
#[derive(Debug, Default)]
pub struct Places {
    demand: Arc<Demand>,
    files: RwLock<BTreeMap<u32, Arc<str>>>,
    interfaces: RwLock<BTreeMap<(u32, u32), Arc<str>>>,
    changes: AtomicUsize,
}

impl Places {
    /// Counters that somebody asks for.
    pub fn demand(&self) -> &Demand {
        &self.demand
    }

    /// Names the file of this index (`log.file.path`).
    pub fn name_file(&self, file: u32, path: &str) {
        self.files.write().unwrap_or_else(PoisonError::into_inner).insert(file, path.into());
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Names an interface of a file (`observer.ingress.interface.name`).
    pub fn name_interface(&self, file: u32, interface: u32, name: &str) {
        self.interfaces.write().unwrap_or_else(PoisonError::into_inner).insert((file, interface), name.into());
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// How often a name was given: what was looked up before still holds while this is the same.
    pub(super) fn changes(&self) -> usize {
        self.changes.load(Ordering::Acquire)
    }

    /// Path of a file.
    pub fn file(&self, file: u32) -> Option<Arc<str>> {
        self.files.read().unwrap_or_else(PoisonError::into_inner).get(&file).cloned()
    }

    /// Name of an interface.
    pub fn interface(&self, file: u32, interface: u32) -> Option<Arc<str>> {
        self.interfaces.read().unwrap_or_else(PoisonError::into_inner).get(&(file, interface)).cloned()
    }
}
