//! A list that grows without leaving holes: the flows of one slot.
//!
//! All slots fill alike, so that their lists grow at about the same time. What a list leaves when it grows is too small for what
//! any of them needs next: lists in one piece took nearly twice what is in them, until the allocator gave pages back.

/// Elements that lie in one piece. As many flows as a quarter of a million in all slots: what most packets pay must not
/// depend on there being more.
const FIRST: usize = 1_024;

/// Elements of each further piece.
const PIECE: usize = 512;

/// Elements of which each keeps its place.
#[derive(Debug)]
pub(super) struct Entries<T> {
    first: Vec<T>,
    more: Vec<Vec<T>>,
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self { first: Vec::new(), more: Vec::new() }
    }
}

impl<T> Entries<T> {
    /// Elements.
    pub(super) fn len(&self) -> usize {
        let more = self.more.last().map_or(0, |last| (self.more.len() - 1) * PIECE + last.len());
        self.first.len() + more
    }

    /// The element at a place.
    #[inline(always)]
    pub(super) fn get(&self, at: usize) -> Option<&T> {
        if at < self.first.len() { self.first.get(at) } else { self.get_more(at) }
    }

    /// The element at a place.
    #[inline(always)]
    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        if at < self.first.len() { self.first.get_mut(at) } else { self.get_more_mut(at) }
    }

    /// Appends an element where at most `capacity` come.
    pub(super) fn push(&mut self, element: T, capacity: usize) {
        let length = self.len();
        if length < FIRST {
            if length == self.first.capacity() {
                // Grow by half, never beyond the bound.
                let more = (length / 2).max(16).min(capacity.min(FIRST).saturating_sub(length)).max(1);
                self.first.reserve_exact(more);
            }
            self.first.push(element);
            return;
        }
        if (length - FIRST).is_multiple_of(PIECE) {
            self.more.push(Vec::with_capacity(PIECE.min(capacity.saturating_sub(length)).max(1)));
        }
        if let Some(last) = self.more.last_mut() {
            last.push(element);
        }
    }

    #[inline]
    fn get_more(&self, at: usize) -> Option<&T> {
        let at = at.checked_sub(FIRST)?;
        self.more.get(at / PIECE)?.get(at % PIECE)
    }

    #[inline]
    fn get_more_mut(&mut self, at: usize) -> Option<&mut T> {
        let at = at.checked_sub(FIRST)?;
        self.more.get_mut(at / PIECE)?.get_mut(at % PIECE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_list() {
        for capacity in [1, 16, 100, FIRST - 1, FIRST, FIRST + 1, FIRST + 2 * PIECE + 7] {
            let mut entries = Entries::default();
            let mut room = 0;
            for at in 0..capacity {
                assert_eq!((entries.len(), entries.get(at)), (at, None));
                entries.push(at, capacity);
                let all = entries.first.capacity() + entries.more.iter().map(Vec::capacity).sum::<usize>();
                assert!(all <= capacity && all <= (at + 1) + (at / 2).max(16).max(PIECE), "{all} for {at}");
                assert!(all >= room);
                room = all;
            }
            for at in 0..capacity {
                *entries.get_mut(at).unwrap() += 1;
                assert_eq!(entries.get(at), Some(&(at + 1)));
            }
            assert!(entries.get_mut(capacity).is_none());
        }
    }

    #[test]
    fn what_is_there_does_not_move() {
        let mut entries = Entries::default();
        (0..FIRST + 1).for_each(|at| entries.push(at, usize::MAX));
        let places = [0, FIRST - 1, FIRST].map(|at| std::ptr::from_ref(entries.get(at).unwrap()));
        (0..5 * PIECE).for_each(|at| entries.push(at, usize::MAX));
        assert_eq!(places, [0, FIRST - 1, FIRST].map(|at| std::ptr::from_ref(entries.get(at).unwrap())));
    }
}
