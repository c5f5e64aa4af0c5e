//! All hosts, bounded: the least recently seen leaves and is handed out to be stored.

use std::cell::Cell;

use hashbrown::HashTable;

use super::record::HostRecord;
use crate::detect::memory::seeded_hash;
use crate::detect::sighting::HostKey;
use crate::time::{NANOS_PER_SECOND, Timestamp};

/// Hosts remembered by default.
pub const MAX_HOSTS: usize = 200_000;
/// A host is kept this long after its last sight, in nanoseconds: 90 days.
pub const KEEP: i64 = 90 * 86_400 * NANOS_PER_SECOND;
/// No slot.
const NONE: u32 = u32::MAX;
/// Slots of one word of bits.
const WORD: usize = 64;

/// Baselines by host. A record is on the heap once; its key is inside.
#[derive(Clone, Debug)]
pub struct HostTable {
    index: HashTable<u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Least recently seen.
    oldest: u32,
    /// Most recently seen.
    newest: u32,
    /// Found last: one handshake asks for its host several times.
    found: Cell<u32>,
    /// One bit for each slot whose baseline may have changed since all were stored last.
    changed: Vec<u64>,
    capacity: usize,
    forgotten: u64,
}

#[derive(Clone, Debug)]
struct Slot {
    record: Option<Box<HostRecord>>,
    before: u32,
    after: u32,
}

impl HostTable {
    /// Holds at most `capacity` hosts.
    pub fn new(capacity: usize) -> Self {
        let most = usize::try_from(NONE).unwrap_or(usize::MAX);
        Self {
            index: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            oldest: NONE,
            newest: NONE,
            found: Cell::new(NONE),
            changed: Vec::new(),
            capacity: capacity.clamp(1, most),
            forgotten: 0,
        }
    }

    /// The baseline of a host.
    pub fn get(&self, key: &HostKey) -> Option<&HostRecord> {
        self.record(self.find(key)?)
    }

    /// The baseline of a host, to change it; this is no sight of it.
    pub fn get_mut(&mut self, key: &HostKey) -> Option<&mut HostRecord> {
        let slot = self.find(key)?;
        self.note(slot, true);
        self.slot_mut(slot)?.record.as_deref_mut()
    }

    /// The baseline of a host that is seen now, empty for a new one; and what had to leave for it.
    pub fn touch(&mut self, key: &HostKey, at: Timestamp) -> (Option<&mut HostRecord>, Option<Box<HostRecord>>) {
        let mut left = None;
        let slot = match self.find(key) {
            Some(slot) => {
                self.unlink(slot);
                slot
            }
            None => {
                left = self.make_room();
                self.place(Box::new(HostRecord::new(key, at)))
            }
        };
        self.link(slot);
        self.note(slot, true);
        (self.slot_mut(slot).and_then(|slot| slot.record.as_deref_mut()), left)
    }

    /// Puts a stored baseline back as the most recently seen, unchanged; one that is there stays. Returns what had to leave.
    pub fn restore(&mut self, record: Box<HostRecord>) -> Option<Box<HostRecord>> {
        if self.find(&record.key()).is_some() {
            return None;
        }
        let left = self.make_room();
        let slot = self.place(record);
        self.link(slot);
        left
    }

    /// Takes out one host that was not seen for 90 days, if there is one.
    pub fn expire(&mut self, clock: Timestamp) -> Option<Box<HostRecord>> {
        let last = self.record(self.oldest)?.last;
        (clock.nanos().saturating_sub(last) > KEEP).then(|| self.forget_oldest()).flatten()
    }

    /// Takes a host out.
    pub fn remove(&mut self, key: &HostKey) -> Option<Box<HostRecord>> {
        let slot = self.find(key)?;
        self.take(slot)
    }

    /// Hosts, the least recently seen first.
    pub fn iter(&self) -> impl Iterator<Item = &HostRecord> {
        std::iter::successors(Some(self.oldest).filter(|slot| *slot != NONE), |slot| {
            self.slot(*slot).map(|slot| slot.after).filter(|after| *after != NONE)
        })
        .filter_map(|slot| self.record(slot))
    }

    /// Baselines that may have changed since [`note_stored`](Self::note_stored).
    pub fn changed(&self) -> impl Iterator<Item = &HostRecord> {
        let words = (0_u32..).step_by(WORD).zip(&self.changed);
        let slots = words.flat_map(|(first, word)| {
            (0..u64::BITS).filter(move |bit| word >> bit & 1 == 1).map(move |bit| first | bit)
        });
        slots.filter_map(|slot| self.record(slot))
    }

    /// All baselines are stored as they are now.
    pub fn note_stored(&mut self) {
        self.changed.fill(0);
    }

    /// How many hosts there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// How many had to leave.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
            + self.changed.capacity() * size_of::<u64>()
            + self.index.capacity() * (size_of::<u32>() + 1)
            + self.iter().map(HostRecord::memory).sum::<usize>()
    }

    fn slot(&self, slot: u32) -> Option<&Slot> {
        self.slots.get(usize::try_from(slot).ok()?)
    }

    fn slot_mut(&mut self, slot: u32) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(slot).ok()?)
    }

    fn record(&self, slot: u32) -> Option<&HostRecord> {
        self.slot(slot)?.record.as_deref()
    }

    fn find(&self, key: &HostKey) -> Option<u32> {
        let same =
            |slot: &u32| self.record(*slot).is_some_and(|record| record.port == key.port && *record.name == *key.name);
        let found = self.found.get();
        if same(&found) {
            return Some(found);
        }
        let found = self.index.find(hash(&key.name, key.port), same).copied();
        self.found.set(found.unwrap_or(NONE));
        found
    }

    fn place(&mut self, record: Box<HostRecord>) -> u32 {
        let hashed = hash(&record.name, record.port);
        let filled = Slot { record: Some(record), before: NONE, after: NONE };
        let slot = match self.free.pop() {
            Some(slot) => {
                if let Some(place) = self.slot_mut(slot) {
                    *place = filled;
                }
                slot
            }
            None => {
                self.slots.push(filled);
                u32::try_from(self.slots.len().saturating_sub(1)).unwrap_or(NONE)
            }
        };
        let slots = &self.slots;
        self.index.insert_unique(hashed, slot, |slot| {
            let record = usize::try_from(*slot).ok().and_then(|slot| slots.get(slot)?.record.as_deref());
            record.map_or(0, |record| hash(&record.name, record.port))
        });
        slot
    }

    fn note(&mut self, slot: u32, changed: bool) {
        let Ok(word) = usize::try_from(slot / u64::BITS) else { return };
        if word >= self.changed.len() {
            self.changed.resize(word.saturating_add(1), 0);
        }
        if let Some(word) = self.changed.get_mut(word) {
            let bit = 1 << (slot % u64::BITS);
            *word = if changed { *word | bit } else { *word & !bit };
        }
    }

    fn make_room(&mut self) -> Option<Box<HostRecord>> {
        (self.index.len() >= self.capacity).then(|| self.forget_oldest()).flatten()
    }

    fn forget_oldest(&mut self) -> Option<Box<HostRecord>> {
        self.forgotten += 1;
        self.take(self.oldest)
    }

    fn take(&mut self, slot: u32) -> Option<Box<HostRecord>> {
        let hashed = self.record(slot).map(|record| hash(&record.name, record.port))?;
        if let Ok(entry) = self.index.find_entry(hashed, |other| *other == slot) {
            entry.remove();
        }
        self.unlink(slot);
        self.note(slot, false);
        self.free.push(slot);
        self.slot_mut(slot)?.record.take()
    }

    fn unlink(&mut self, slot: u32) {
        let Some((before, after)) = self.slot(slot).map(|slot| (slot.before, slot.after)) else { return };
        match self.slot_mut(before) {
            Some(neighbour) => neighbour.after = after,
            None => self.oldest = after,
        }
        match self.slot_mut(after) {
            Some(neighbour) => neighbour.before = before,
            None => self.newest = before,
        }
    }

    fn link(&mut self, slot: u32) {
        let newest = self.newest;
        if let Some(place) = self.slot_mut(slot) {
            (place.before, place.after) = (newest, NONE);
        }
        match self.slot_mut(newest) {
            Some(neighbour) => neighbour.after = slot,
            None => self.oldest = slot,
        }
        self.newest = slot;
    }
}

fn hash(name: &str, port: u16) -> u64 {
    seeded_hash(&(name, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> HostKey {
        HostKey { name: format!("host-{number}.example.com"), port: 443 }
    }

    #[test]
    fn least_recently_seen_leaves_and_comes_back() {
        let mut table = HostTable::new(2);
        table.touch(&key(1), Timestamp(1));
        table.touch(&key(2), Timestamp(2));
        table.touch(&key(1), Timestamp(3));
        let (record, left) = table.touch(&key(3), Timestamp(4));
        assert_eq!(record.unwrap().key(), key(3));
        let left = left.unwrap();
        assert_eq!((left.key(), table.len(), table.forgotten()), (key(2), 2, 1));
        let stored = HostRecord::from_bytes(&left.to_bytes()).unwrap();
        assert_eq!(stored, *left);
        let left = table.restore(Box::new(stored)).unwrap();
        assert_eq!(left.key(), key(1));
        assert_eq!(table.iter().map(HostRecord::key).collect::<Vec<_>>(), [key(3), key(2)]);
        assert!(table.get(&key(1)).is_none());
        assert!(HostRecord::from_bytes(b"{}").is_none());
    }

    #[test]
    fn hosts_expire_after_ninety_days() {
        let mut table = HostTable::new(9);
        table.touch(&key(1), Timestamp(0));
        assert!(table.expire(Timestamp(KEEP)).is_none());
        assert_eq!(table.expire(Timestamp(KEEP + 1)).unwrap().key(), key(1));
        assert!(table.is_empty() && table.expire(Timestamp::MAX).is_none());
    }

    proptest::proptest! {
        #[test]
        fn behaves_like_a_list(steps in proptest::collection::vec((0_usize..12, 0_u8..8), 0..200)) {
            let mut table = HostTable::new(5);
            let mut model: Vec<usize> = Vec::new();
            let mut changed = std::collections::BTreeSet::new();
            for (host, step) in steps {
                match step {
                    0 => {
                        let known = model.iter().position(|other| *other == host).map(|at| model.remove(at));
                        proptest::prop_assert_eq!(table.remove(&key(host)).is_some(), known.is_some());
                    }
                    1 => {
                        let known = table.get_mut(&key(host)).is_some();
                        proptest::prop_assert_eq!(known, model.contains(&host));
                        changed.extend(known.then_some(host));
                    }
                    2 => {
                        table.note_stored();
                        changed.clear();
                    }
                    3 => {
                        let stored = HostRecord::new(&key(host), Timestamp(0));
                        table.restore(Box::new(stored));
                        if !model.contains(&host) {
                            if model.len() == 5 {
                                model.remove(0);
                            }
                            model.push(host);
                        }
                    }
                    _ => {
                        changed.insert(host);
                        table.touch(&key(host), Timestamp(0));
                        model.retain(|other| *other != host);
                        if model.len() == 5 {
                            model.remove(0);
                        }
                        model.push(host);
                    }
                }
                changed.retain(|host| model.contains(host));
                let mut told: Vec<_> = table.changed().map(HostRecord::key).collect();
                told.sort_unstable();
                let mut due: Vec<_> = changed.iter().map(|host| key(*host)).collect();
                due.sort_unstable();
                proptest::prop_assert_eq!(told, due);
                let wanted: Vec<_> = model.iter().map(|host| key(*host)).collect();
                proptest::prop_assert_eq!(table.iter().map(HostRecord::key).collect::<Vec<_>>(), &*wanted);
            }
        }
    }
}
