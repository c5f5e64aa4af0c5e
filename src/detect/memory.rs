//! A map with a bound: the oldest insertion leaves, and what was forgotten is counted.

use std::hash::{BuildHasher as _, Hash};
use std::sync::LazyLock;

use foldhash::fast::RandomState;
use hashbrown::{Equivalent, HashTable};

/// A bounded map. Nothing that leaves depends on the order of buckets.
///
/// Entries stand in order of insertion and do not move when it grows: most are written once, one behind the other, and
/// hardly ever read again. What is searched is a small table of hashes.
#[derive(Clone, Debug)]
pub struct Memory<K, V> {
    index: HashTable<Place>,
    /// Entries, `CHUNK` to a chunk. When all places are taken, the oldest entry gives its place to the newest.
    chunks: Vec<Vec<(K, V)>>,
    /// Place of the oldest entry.
    oldest: u32,
    capacity: u32,
    forgotten: u64,
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Upper half of the hash of its key.
    hash: u32,
    place: u32,
}

/// Entries of a chunk.
const CHUNK: usize = 128;

impl<K: Hash + Eq, V> Memory<K, V> {
    /// Holds at most `capacity` entries.
    pub fn new(capacity: usize) -> Self {
        Self {
            index: HashTable::new(),
            chunks: Vec::new(),
            oldest: 0,
            capacity: u32::try_from(capacity).unwrap_or(u32::MAX).max(1),
            forgotten: 0,
        }
    }

    /// The value of `key`.
    pub fn get<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<&V> {
        let place = self.find(key, hash(key))?;
        self.at(place).map(|(_, value)| value)
    }

    /// The value of `key`, to change it.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = self.find(key, hash(key))?;
        self.at_mut(place).map(|(_, value)| value)
    }

    /// Whether `key` is known.
    pub fn contains(&self, key: &K) -> bool {
        self.find(key, hash(key)).is_some()
    }

    /// Sets the value of `key`; returns what had to leave for it.
    pub fn insert(&mut self, key: K, value: V) -> Option<(K, V)> {
        let hash = hash(&key);
        if let Some(known) = self.find(&key, hash).and_then(|place| self.at_mut(place)) {
            known.1 = value;
            return None;
        }
        self.add((key, value), hash).1
    }

    /// The value of `key`, made by `make` when it is new; and whether it is new.
    pub fn entry(&mut self, key: &K, make: impl FnOnce() -> V) -> (Option<&mut V>, bool)
    where
        K: Clone,
    {
        let hash = hash(key);
        let known = self.find(key, hash);
        let place = known.unwrap_or_else(|| self.add((key.clone(), make()), hash).0);
        (self.at_mut(place).map(|(_, value)| value), known.is_none())
    }

    /// [`entry`](Self::entry) of a key that may stand at `guess`, and where it does stand.
    pub fn entry_near(&mut self, key: &K, guess: u32, make: impl FnOnce() -> V) -> (Option<&mut V>, u32)
    where
        K: Clone,
    {
        let place = if self.at(guess).is_some_and(|(known, _)| known == key) {
            guess
        } else {
            let hash = hash(key);
            self.find(key, hash).unwrap_or_else(|| self.add((key.clone(), make()), hash).0)
        };
        (self.at_mut(place).map(|(_, value)| value), place)
    }

    /// Entries in order of insertion.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let oldest = usize::try_from(self.oldest).unwrap_or(0);
        let all = || self.chunks.iter().flatten();
        all().skip(oldest).chain(all().take(oldest)).map(|(key, value)| (key, value))
    }

    /// All values, to change them.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.chunks.iter_mut().flatten().map(|(_, value)| value)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// How many entries had to leave.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    fn find<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q, hash: u32) -> Option<u32> {
        let same =
            |entry: &Place| entry.hash == hash && self.at(entry.place).is_some_and(|(known, _)| key.equivalent(known));
        self.index.find(spread(hash), same).map(|entry| entry.place)
    }

    /// Adds an entry that is new; says where it stands, and what had to leave for it.
    fn add(&mut self, entry: (K, V), hash: u32) -> (u32, Option<(K, V)>) {
        let count = u32::try_from(self.len()).unwrap_or(u32::MAX);
        let (place, left) = if count < self.capacity { (self.append(entry, count), None) } else { self.replace(entry) };
        self.index.insert_unique(spread(hash), Place { hash, place }, |entry| spread(entry.hash));
        (place, left)
    }

    fn append(&mut self, entry: (K, V), count: u32) -> u32 {
        match self.chunks.last_mut().filter(|chunk| chunk.len() < CHUNK) {
            Some(chunk) => chunk.push(entry),
            None => {
                // The first chunk grows: many tables have few entries.
                let mut chunk = if self.chunks.is_empty() { Vec::new() } else { Vec::with_capacity(CHUNK) };
                chunk.push(entry);
                self.chunks.push(chunk);
            }
        }
        count
    }

    /// Puts an entry in the place of the oldest.
    fn replace(&mut self, entry: (K, V)) -> (u32, Option<(K, V)>) {
        let place = self.oldest;
        let left = self.at_mut(place).map(|known| std::mem::replace(known, entry));
        if let Some((key, _)) = &left {
            let hash = hash(key);
            if let Ok(found) = self.index.find_entry(spread(hash), |entry| entry.place == place) {
                found.remove();
            }
        }
        self.forgotten += 1;
        self.oldest = place.saturating_add(1) % self.capacity;
        (place, left)
    }

    fn at(&self, place: u32) -> Option<&(K, V)> {
        let place = usize::try_from(place).ok()?;
        self.chunks.get(place / CHUNK)?.get(place % CHUNK)
    }

    fn at_mut(&mut self, place: u32) -> Option<&mut (K, V)> {
        let place = usize::try_from(place).ok()?;
        self.chunks.get_mut(place / CHUNK)?.get_mut(place % CHUNK)
    }
}

/// A hash whose seed is drawn in each run: who chooses what is hashed can neither aim at one place of a table nor let two
/// things seem one. It is the same for all threads, and nothing that leaves depends on it.
pub(super) fn seeded_hash<Q: Hash + ?Sized>(key: &Q) -> u64 {
    static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::default);
    SEED.hash_one(key)
}

/// The half of a hash that is kept.
fn hash<Q: Hash + ?Sized>(key: &Q) -> u32 {
    u32::try_from(seeded_hash(key) >> 32).unwrap_or(0)
}

/// The table wants mixed bits at both ends.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_leaves_and_is_counted() {
        let mut memory = Memory::new(2);
        assert_eq!(memory.insert(1, 'a'), None);
        memory.insert(2, 'b');
        memory.insert(1, 'c');
        assert_eq!(memory.insert(3, 'd'), Some((1, 'c')));
        assert_eq!((memory.len(), memory.forgotten()), (2, 1));
        assert_eq!(memory.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [2, 3]);
    }

    proptest::proptest! {
        #[test]
        fn behaves_like_a_list(
            capacity in 0_usize..400,
            steps in proptest::collection::vec((0_u16..500, proptest::bool::ANY), 0..1_500),
        ) {
            let mut memory = Memory::new(capacity);
            let mut model: Vec<(u16, usize)> = Vec::new();
            let mut forgotten = 0;
            for (step, (key, entered)) in steps.into_iter().enumerate() {
                let known = model.iter().position(|(other, _)| *other == key);
                let (expected, value) = match known {
                    Some(at) if entered => (None, model[at].1),
                    Some(at) => {
                        model[at].1 = step;
                        (None, step)
                    }
                    None => {
                        let left = (model.len() == capacity.max(1)).then(|| model.remove(0));
                        forgotten += u64::from(left.is_some());
                        model.push((key, step));
                        (left, step)
                    }
                };
                if entered && key % 3 == 0 {
                    let (found, place) = memory.entry_near(&key, u32::from(key / 2), || step);
                    proptest::prop_assert_eq!(found.copied(), Some(value));
                    let (found, same) = memory.entry_near(&key, place, || 0);
                    proptest::prop_assert_eq!((found.copied(), same), (Some(value), place));
                } else if entered {
                    let (found, new) = memory.entry(&key, || step);
                    proptest::prop_assert_eq!((found.copied(), new), (Some(value), known.is_none()));
                } else {
                    proptest::prop_assert_eq!(memory.insert(key, step), expected);
                }
                proptest::prop_assert_eq!(memory.get(&key), Some(&value));
                proptest::prop_assert_eq!(memory.get_mut(&key).copied(), Some(value));
            }
            proptest::prop_assert_eq!(memory.iter().map(|(key, value)| (*key, *value)).collect::<Vec<_>>(), model.clone());
            proptest::prop_assert_eq!((memory.len(), memory.forgotten()), (model.len(), forgotten));
            for key in 0..500 {
                let known = model.iter().find(|(other, _)| *other == key).map(|(_, value)| value);
                proptest::prop_assert_eq!((memory.get(&key), memory.contains(&key)), (known, known.is_some()));
            }
        }
    }
}
