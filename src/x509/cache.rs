//! Memo of certificates: the same bytes are hashed, read and rendered once, whoever meets them.

use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;

use super::Certificate;

/// Certificates by their bytes, shared by the workers, bounded in bytes.
///
/// A pure function's memo: what it holds or forgets changes the cost of a run, never its results. So any entry may
/// leave for room, and two workers that meet a new certificate at once may both read it.
#[derive(Debug)]
pub struct CertificateCache {
    entries: DashMap<u64, Arc<Certificate>, BuildHasherDefault<Identity>>,
    seed: foldhash::quality::RandomState,
    bytes: AtomicUsize,
    limit: usize,
}

/// Last bytes of a certificate: most of the shortest signature that is in use.
const SIGNATURE: usize = 48;

/// Bytes that an entry costs beside its certificate.
const ENTRY_OVERHEAD: usize = 64;

impl CertificateCache {
    /// A memo that holds `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            entries: DashMap::default(),
            seed: foldhash::quality::RandomState::default(),
            bytes: AtomicUsize::new(0),
            limit,
        }
    }

    /// The certificate of these bytes, remembered or read.
    pub fn get_or_parse(&self, der: &[u8]) -> Arc<Certificate> {
        // The place is told by length and end, which is the signature; hashing all bytes costs more than comparing them.
        let hash = self.seed.hash_one((der.len(), der.last_chunk::<SIGNATURE>()));
        let Some(first) = self.entries.get(&hash).map(|found| Arc::clone(&found)) else {
            return self.parse(hash, der);
        };
        if *first.der == *der {
            return first;
        }
        // Made to end alike, or a one in very many. Those that come later have places told by all of their bytes: seeded,
        // so nobody can aim at one of them; and compared, so a collision costs time only.
        let hash = self.seed.hash_one(der);
        if let Some(found) = self.entries.get(&hash)
            && *found.der == *der
        {
            return Arc::clone(&found);
        }
        self.parse(hash, der)
    }

    fn parse(&self, hash: u64, der: &[u8]) -> Arc<Certificate> {
        let parsed = Arc::new(Certificate::parse(der));
        self.remember(hash, &parsed);
        parsed
    }

    /// Bytes held, about.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Certificates held.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Nothing is held.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn remember(&self, hash: u64, certificate: &Arc<Certificate>) {
        let weight = certificate.weight() + ENTRY_OVERHEAD;
        // One that takes a sixteenth of the room would push out hundreds of others.
        if weight > self.limit / 16 {
            return;
        }
        let held = self.bytes.fetch_add(weight, Ordering::Relaxed).saturating_add(weight);
        if held > self.limit {
            self.make_room();
        }
        if let Some(replaced) = self.entries.insert(hash, Arc::clone(certificate)) {
            self.bytes.fetch_sub(replaced.weight() + ENTRY_OVERHEAD, Ordering::Relaxed);
        }
    }

    fn make_room(&self) {
        while self.bytes.load(Ordering::Relaxed) > self.limit {
            // The guard of the iterator must be gone before the entry can be removed.
            let victim = self.entries.iter().next().map(|entry| *entry.key());
            let Some(victim) = victim else { return };
            if let Some((_, removed)) = self.entries.remove(&victim) {
                self.bytes.fetch_sub(removed.weight() + ENTRY_OVERHEAD, Ordering::Relaxed);
            }
        }
    }
}

/// Keys are hashes already.
#[derive(Clone, Copy, Debug, Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_are_read_once() {
        let cache = CertificateCache::new(1 << 20);
        let first = cache.get_or_parse(b"not a certificate");
        assert!(Arc::ptr_eq(&first, &cache.get_or_parse(b"not a certificate")));
        assert!(!Arc::ptr_eq(&first, &cache.get_or_parse(b"another one")));
        assert_eq!(cache.len(), 2);
        assert_eq!(first.sha256, Certificate::parse(b"not a certificate").sha256);
    }

    #[test]
    fn a_flood_stays_within_the_limit() {
        let limit = 256 << 10;
        let cache = CertificateCache::new(limit);
        for number in 0_u32..2_000 {
            let mut der = vec![0; 1_000];
            der.extend(number.to_be_bytes());
            cache.get_or_parse(&der);
            assert!(cache.bytes() <= limit);
        }
        assert!(cache.len() > 100, "the memo still remembers: {}", cache.len());
        let held: usize = cache.entries.iter().map(|entry| entry.weight() + ENTRY_OVERHEAD).sum();
        assert_eq!(held, cache.bytes());
    }

    #[test]
    fn what_ends_alike_is_told_apart_and_pushes_nobody_out() {
        let cache = CertificateCache::new(1 << 20);
        let of = |number: u8| [vec![number; 100], vec![7; 200]].concat();
        let first = cache.get_or_parse(&of(0));
        for _ in 0..2 {
            for number in 1..50 {
                assert_eq!(*cache.get_or_parse(&of(number)).der, *of(number));
                assert!(Arc::ptr_eq(&first, &cache.get_or_parse(&of(0))));
            }
            assert_eq!(cache.len(), 50);
        }
    }

    #[test]
    fn big_ones_are_not_kept() {
        let cache = CertificateCache::new(1 << 20);
        cache.get_or_parse(&vec![0; 200 << 10]);
        assert!(cache.is_empty());
    }

    #[test]
    fn many_threads_agree_on_the_count() {
        let cache = CertificateCache::new(64 << 10);
        std::thread::scope(|scope| {
            for worker in 0_u32..4 {
                let cache = &cache;
                scope.spawn(move || {
                    for number in 0_u32..500 {
                        let der = [worker.to_be_bytes(), (number % 200).to_be_bytes()].concat();
                        assert_eq!(*cache.get_or_parse(&der).der, *der);
                    }
                });
            }
        });
        let held: usize = cache.entries.iter().map(|entry| entry.weight() + ENTRY_OVERHEAD).sum();
        assert_eq!(held, cache.bytes());
        assert!(held <= 64 << 10);
    }
}
