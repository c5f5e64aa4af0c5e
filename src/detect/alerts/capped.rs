//! Sets with a bound: the hosts and the clients of an alert.

use std::collections::HashSet;
use std::hash::Hash;

use foldhash::fast::RandomState;

use super::KEPT;

/// A set with a bound: the first items that it was given.
#[derive(Clone, Debug)]
pub struct Capped<T> {
    items: HashSet<T, RandomState>,
    overflow: bool,
}

impl<T: Ord + Hash> Capped<T> {
    /// Adds an item, while there are fewer than `most`.
    pub(super) fn insert(&mut self, item: T, most: usize) {
        // While there is room one search does: most are new.
        if self.items.len() < most {
            self.items.insert(item);
        } else {
            self.overflow |= !self.items.contains(&item);
        }
    }

    /// Adds the items of another one.
    pub(super) fn absorb(&mut self, other: Self) {
        self.overflow |= other.overflow;
        // In order: which ones there is room for does not depend on chance.
        let mut items: Vec<T> = other.items.into_iter().collect();
        items.sort_unstable();
        items.into_iter().for_each(|item| self.insert(item, KEPT));
    }

    /// There were more, as others know.
    pub(super) fn note_more(&mut self, more: bool) {
        self.overflow |= more;
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let mut items: Vec<&T> = self.items.iter().collect();
        items.sort_unstable();
        items.into_iter()
    }

    /// How many; at least, when [`is_full`](Self::is_full).
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// There were more than are told apart.
    pub fn is_full(&self) -> bool {
        self.overflow
    }
}

impl<T> Default for Capped<T> {
    fn default() -> Self {
        Self { items: HashSet::default(), overflow: false }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn of(items: impl IntoIterator<Item = usize>) -> Capped<usize> {
        let mut set = Capped::default();
        items.into_iter().for_each(|item| set.insert(item, KEPT));
        set
    }

    #[test]
    fn the_first_are_kept_and_more_are_told() {
        let mut set = of((0..KEPT).rev());
        set.insert(7, KEPT);
        assert!(!set.is_full() && set.len() == KEPT);
        set.insert(KEPT, KEPT);
        assert!(set.is_full() && set.iter().copied().eq(0..KEPT));
    }

    /// Twice, with seeds of their own.
    #[test]
    fn what_is_absorbed_does_not_depend_on_chance() {
        for _ in 0..2 {
            let mut set = of(0..KEPT - 3);
            set.absorb(of((KEPT..2 * KEPT).rev()));
            assert!(set.is_full() && set.iter().copied().eq((0..KEPT - 3).chain(KEPT..KEPT + 3)));
        }
    }

    proptest::proptest! {
        #[test]
        fn in_order_and_each_once(items in proptest::collection::vec(0_usize..50, 0..100)) {
            let (set, model) = (of(items.iter().copied()), BTreeSet::from_iter(items));
            proptest::prop_assert!(set.iter().eq(&model));
            proptest::prop_assert_eq!((set.len(), set.is_empty()), (model.len(), model.is_empty()));
        }
    }
}
