//! Chains that were judged lately, found by where they lie in memory: a chain that is seen again with its host costs one
//! look-up, and its certificates are not read for it.

use std::hash::BuildHasher as _;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::gist::KnownHost;
use super::sighting::JudgedChain;
use crate::time::ValidityTime;
use crate::x509::Certificate;
use crate::x509::chain::Ending;

/// Places; what falls on the same one takes it.
const PLACES: usize = 4_096;

/// A memo of judgements. What is not in it is found by its contents.
#[derive(Debug, Default)]
pub(super) struct Recent {
    places: Vec<Option<Box<Entry>>>,
}

/// A chain with a host.
#[derive(Debug)]
struct Entry {
    host: Arc<KnownHost>,
    judged: Judged,
    /// Held, so that nothing else can lie there.
    presented: Box<[Arc<Certificate>]>,
}

/// A judgement with the span of time over which it is the same: from the first, before the second.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) generation: u64,
    pub(super) from: Option<ValidityTime>,
    pub(super) until: Option<ValidityTime>,
    pub(super) timeless: bool,
    pub(super) chain: Arc<JudgedChain>,
}

impl Judged {
    pub(super) fn is_same_at(&self, at: Option<ValidityTime>) -> bool {
        match at {
            None => self.timeless,
            Some(at) => {
                !self.timeless && self.from.is_none_or(|from| from <= at) && self.until.is_none_or(|until| at < until)
            }
        }
    }
}

impl Recent {
    /// What these certificates were judged as with this host, where that still holds. `generation`: that of the pool.
    pub(super) fn get(
        &self,
        (presented, host): (&[Arc<Certificate>], &Arc<KnownHost>),
        (generation, at): (u64, Option<ValidityTime>),
    ) -> Option<&Arc<JudgedChain>> {
        let entry = self.places.get(place(presented, host))?.as_deref()?;
        let same = Arc::ptr_eq(&entry.host, host)
            && entry.presented.len() == presented.len()
            && entry.presented.iter().zip(presented).all(|(known, one)| Arc::ptr_eq(known, one));
        // What led to an anchor stays so; anything else may look better when the pool has grown.
        let holds = || entry.judged.generation == generation || entry.judged.chain.report.ending() == Ending::Anchor;
        (same && entry.judged.is_same_at(at) && holds()).then_some(&entry.judged.chain)
    }

    /// Remembers a judgement.
    pub(super) fn insert(&mut self, (presented, host): (&[Arc<Certificate>], &Arc<KnownHost>), judged: Judged) {
        if self.places.is_empty() {
            self.places.resize_with(PLACES, || None);
        }
        if let Some(entry) = self.places.get_mut(place(presented, host)) {
            *entry = Some(Box::new(Entry { host: Arc::clone(host), judged, presented: presented.into() }));
        }
    }
}

/// Chains of one leaf and host may take each other's place: they are few.
fn place(presented: &[Arc<Certificate>], host: &Arc<KnownHost>) -> usize {
    let leaf = presented.first().map_or(0, |leaf| Arc::as_ptr(leaf).addr());
    let hash = FixedState::with_seed(0).hash_one((leaf, Arc::as_ptr(host).addr()));
    usize::try_from(hash >> 32).unwrap_or(0) % PLACES
}
