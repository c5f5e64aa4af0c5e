//! A map with a bound: the oldest insertion leaves, and what was forgotten is counted.

use std::collections::VecDeque;
use std::hash::Hash;

use foldhash::fast::FixedState;
use hashbrown::{Equivalent, HashMap};

/// A bounded map. The seed of its hash is fixed: nothing that leaves depends on the order of buckets.
#[derive(Clone, Debug)]
pub struct Memory<K, V> {
    map: HashMap<K, V, FixedState>,
    order: VecDeque<K>,
    capacity: usize,
    forgotten: u64,
}

impl<K: Hash + Eq + Clone, V> Memory<K, V> {
    /// Holds at most `capacity` entries.
    pub fn new(capacity: usize) -> Self {
        Self {
            map: HashMap::with_hasher(FixedState::with_seed(0)),
            order: VecDeque::new(),
            capacity: capacity.max(1),
            forgotten: 0,
        }
    }

    /// The value of `key`.
    pub fn get<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<&V> {
        self.map.get(key)
    }

    /// The value of `key`, to change it.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.map.get_mut(key)
    }

    /// Whether `key` is known.
    pub fn contains(&self, key: &K) -> bool {
        self.map.contains_key(key)
    }

    /// Sets the value of `key`; returns what had to leave for it.
    pub fn insert(&mut self, key: K, value: V) -> Option<(K, V)> {
        if let Some(known) = self.map.get_mut(&key) {
            *known = value;
            return None;
        }
        let left = if self.map.len() >= self.capacity { self.forget_oldest() } else { None };
        self.order.push_back(key.clone());
        self.map.insert(key, value);
        left
    }

    /// The value of `key`, made by `make` when it is new; and whether it is new.
    pub fn entry(&mut self, key: &K, make: impl FnOnce() -> V) -> (Option<&mut V>, bool) {
        let new = !self.map.contains_key(key);
        if new {
            self.insert(key.clone(), make());
        }
        (self.map.get_mut(key), new)
    }

    /// Entries in order of insertion.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.order.iter().filter_map(|key| self.map.get_key_value(key))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// How many entries had to leave.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    fn forget_oldest(&mut self) -> Option<(K, V)> {
        let oldest = self.order.pop_front()?;
        self.forgotten += 1;
        self.map.remove_entry(&oldest)
    }
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
}
