//! The index of one slot of the flow table: from the hash of a key to the place of its flow.
//!
//! Open addressing with linear probing, cells of eight bytes that hold half of the hash and the place, no tombstones. A
//! look-up reads one cache line where a table of control bytes and buckets reads two, and this is what every packet pays.

/// Cells of an index that holds anything.
const LEAST: usize = 16;

/// Places by hash.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// A power of two of cells, or none: `half of the hash << 32 | place + 1`, 0 where it is free.
    cells: Vec<u64>,
    live: usize,
}

impl Index {
    /// Entries.
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// The places that may have this hash.
    #[inline(always)]
    pub(super) fn places(&self, hash: u64) -> Places<'_> {
        let half = half(hash);
        let mask = self.cells.len().wrapping_sub(1);
        Places { cells: &self.cells, half, at: home(half, mask) }
    }

    /// Adds a place that is not in the index.
    pub(super) fn insert(&mut self, hash: u64, place: u32) {
        // At least a quarter stays free, so that searches are short and end.
        if self.live >= self.cells.len() / 4 * 3 {
            let cells = vec![0; (self.cells.len() * 2).max(LEAST)];
            for cell in std::mem::replace(&mut self.cells, cells) {
                if cell != 0 {
                    self.put(cell);
                }
            }
        }
        self.live += 1;
        self.put(half(hash) | (u64::from(place) + 1));
    }

    /// Removes a place.
    pub(super) fn remove(&mut self, hash: u64, place: u32) {
        let mask = self.cells.len().wrapping_sub(1);
        let wanted = half(hash) | (u64::from(place) + 1);
        let mut hole = home(wanted, mask);
        loop {
            match self.cells.get(hole) {
                Some(0) | None => return,
                Some(cell) if *cell == wanted => break,
                Some(_) => hole = (hole + 1) & mask,
            }
        }
        self.live = self.live.saturating_sub(1);
        // What was pushed on past the hole moves back into it.
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let Some(cell) = self.cells.get(at).copied().filter(|cell| *cell != 0) else { break };
            let pushed = at.wrapping_sub(home(cell, mask)) & mask;
            if pushed >= at.wrapping_sub(hole) & mask {
                self.set(hole, cell);
                hole = at;
            }
        }
        self.set(hole, 0);
    }

    fn put(&mut self, cell: u64) {
        let mask = self.cells.len().wrapping_sub(1);
        let mut at = home(cell, mask);
        while self.cells.get(at).is_some_and(|cell| *cell != 0) {
            at = (at + 1) & mask;
        }
        self.set(at, cell);
    }

    fn set(&mut self, at: usize, value: u64) {
        if let Some(cell) = self.cells.get_mut(at) {
            *cell = value;
        }
    }
}

/// Places with about the same hash. An iterator and no closure: it must be inlined where every packet passes.
#[derive(Debug)]
pub(super) struct Places<'a> {
    cells: &'a [u64],
    half: u64,
    at: usize,
}

impl Iterator for Places<'_> {
    type Item = u32;

    #[inline(always)]
    fn next(&mut self) -> Option<u32> {
        loop {
            let cell = *self.cells.get(self.at)?;
            if cell == 0 {
                return None;
            }
            self.at = (self.at + 1) & self.cells.len().wrapping_sub(1);
            if cell & HALF == self.half {
                return Some(place(cell));
            }
        }
    }
}

/// The bits of a cell that come from the hash.
const HALF: u64 = 0xffff_ffff_0000_0000;

/// The bits of the hash that an index uses; the highest 8 choose the slot.
#[inline(always)]
fn half(hash: u64) -> u64 {
    hash << 8 & HALF
}

/// Where the search for a cell with this half of a hash begins.
#[inline(always)]
fn home(cell: u64, mask: usize) -> usize {
    (cell >> 32) as usize & mask
}

#[inline(always)]
fn place(cell: u64) -> u32 {
    ((cell & !HALF) as u32).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_index_finds_nothing() {
        let mut index = Index::default();
        assert_eq!(index.places(7).next(), None);
        index.remove(7, 1);
        assert_eq!(index.len(), 0);
    }

    proptest! {
        /// Few distinct hashes, so that chains are long and run over the end.
        #[test]
        fn does_what_a_map_does(steps in proptest::collection::vec((any::<bool>(), 0..40_u32, 0..6_u64), 1..400)) {
            let mut index = Index::default();
            let mut model: HashMap<u32, u64> = HashMap::new();
            for (add, place, hash) in steps {
                let hash = hash.wrapping_mul(0x3fff_ff00_0000_0001) | hash << 30;
                if add {
                    model.entry(place).or_insert_with(|| {
                        index.insert(hash, place);
                        hash
                    });
                } else if let Some(hash) = model.remove(&place) {
                    index.remove(hash, place);
                }
                prop_assert_eq!(index.len(), model.len());
                for (place, hash) in &model {
                    prop_assert!(index.places(*hash).any(|found| found == *place));
                }
                prop_assert!(index.places(hash).all(|found| model.contains_key(&found)));
            }
        }
    }
}
