//! Chains that were judged lately, found by where they lie in memory: a chain that is seen again with its host costs one
//! look-up, and its certificates are not read for it.

use std::hash::BuildHasher as _;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::gist::KnownHost;
use super::sighting::JudgedChain;
use crate::time::ValidityTime;
use crate::x509::Certificate;

/// Places; what falls on the same one takes it.
const PLACES: usize = 4_096;

/// Bytes of certificates that are held. What would be more empties the memo, which costs nothing but time.
const BYTES: usize = 32 << 20;

/// A memo of judgements. What is not in it is found by its contents.
#[derive(Debug, Default)]
pub(super) struct Recent {
    places: Vec<Option<Box<Entry>>>,
    bytes: usize,
}

/// A chain with a host.
#[derive(Debug)]
struct Entry {
    host: Arc<KnownHost>,
    judged: Judged,
    /// Held, so that nothing else can lie there.
    presented: Box<[Arc<Certificate>]>,
    bytes: usize,
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
        let holds = || entry.judged.generation == generation || entry.judged.chain.report.is_anchored();
        (same && entry.judged.is_same_at(at) && holds()).then_some(&entry.judged.chain)
    }

    /// Remembers a judgement.
    pub(super) fn insert(&mut self, (presented, host): (&[Arc<Certificate>], &Arc<KnownHost>), judged: Judged) {
        let bytes = presented.iter().map(|certificate| certificate.weight()).sum::<usize>();
        if bytes > BYTES {
            return;
        }
        if self.places.is_empty() || self.bytes.saturating_add(bytes) > BYTES {
            *self = Self { places: (0..PLACES).map(|_| None).collect(), bytes: 0 };
        }
        if let Some(entry) = self.places.get_mut(place(presented, host)) {
            let new = Entry { host: Arc::clone(host), judged, presented: presented.into(), bytes };
            let before = entry.replace(Box::new(new)).map_or(0, |before| before.bytes);
            self.bytes = self.bytes.saturating_add(bytes).saturating_sub(before);
        }
    }
}

/// Chains of one leaf and host may take each other's place: they are few.
fn place(presented: &[Arc<Certificate>], host: &Arc<KnownHost>) -> usize {
    let leaf = presented.first().map_or(0, |leaf| Arc::as_ptr(leaf).addr());
    let hash = FixedState::with_seed(0).hash_one((leaf, Arc::as_ptr(host).addr()));
    usize::try_from(hash >> 32).unwrap_or(0) % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::gist::{Gist, HostMemo};
    use crate::detect::testing::{Ca, Plan, Scene, parse};
    use crate::x509::judge::Purpose;

    /// Certificates as large as messages may be hold no more memory than small ones.
    #[test]
    fn what_is_held_is_bounded() {
        let mut scene = Scene::new(&[]);
        let plain = scene.handshake("192.0.2.1", "203.0.113.10", &[]);
        let host = Gist::of(&plain.handshake, &plain.ends, (None, &mut HostMemo::default())).host;
        let chain = Ca::new("Root").chain(&Plan::of(&["www.example.com"]));
        let chain = Arc::new(scene.judged(&chain, (None, None), Purpose::Server).unwrap());
        let judged = Judged { generation: 1, from: None, until: None, timeless: true, chain };
        let mut recent = Recent::default();
        let held = |recent: &Recent| {
            let entries = recent.places.iter().flatten();
            entries.flat_map(|entry| &entry.presented).map(|certificate| certificate.weight()).sum::<usize>()
        };
        let mut found = 0;
        for number in 0..3 * BYTES / 256_000 {
            let large = [parse(&[number.to_le_bytes().as_slice(), &[0; 256_000]].concat())];
            recent.insert((&large, &host), judged.clone());
            found += usize::from(recent.get((&large, &host), (1, None)).is_some());
            assert_eq!(recent.bytes, held(&recent));
            assert!(recent.bytes <= BYTES, "{}", recent.bytes);
        }
        assert_eq!(found, 3 * BYTES / 256_000);
        let too_large = [parse(&vec![0; BYTES + 1])];
        recent.insert((&too_large, &host), judged.clone());
        assert!(recent.get((&too_large, &host), (1, None)).is_none());
    }
}
