//! When connections are to be looked at again: by time, the earliest first.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::flow::FlowRef;
use crate::time::Timestamp;

/// Flows by the time at which they are due.
///
/// Nearly all are added in the order of their time, since the clock never goes back and the waits are constant: a queue for
/// each wait takes those, at the cost of a push. A heap takes the rest.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    queues: [VecDeque<(Timestamp, FlowRef)>; 2],
    heap: BinaryHeap<Reverse<(Timestamp, FlowRef)>>,
}

impl Deadlines {
    /// Adds a flow.
    pub(super) fn push(&mut self, due: Timestamp, flow: FlowRef) {
        let mut queues = self.queues.iter_mut();
        // The queue whose last entry is the nearest before this one keeps the other free for earlier times.
        let fits = |queue: &&mut VecDeque<(Timestamp, FlowRef)>| queue.back().is_none_or(|(last, _)| *last <= due);
        match queues.find(fits) {
            Some(queue) => queue.push_back((due, flow)),
            None => self.heap.push(Reverse((due, flow))),
        }
    }

    /// Takes the next flow that is due at `clock`.
    pub(super) fn pop_due(&mut self, clock: Timestamp) -> Option<FlowRef> {
        let [one, two] = &self.queues;
        let fronts = [one.front(), two.front(), self.heap.peek().map(|Reverse(entry)| entry)];
        let (at, (due, flow)) =
            (0..).zip(fronts).filter_map(|(at, front)| Some((at, *front?))).min_by_key(|(_, (due, _))| *due)?;
        if due > clock {
            return None;
        }
        match self.queues.get_mut::<usize>(at) {
            Some(queue) => {
                queue.pop_front();
            }
            None => {
                self.heap.pop();
            }
        }
        Some(flow)
    }

    /// Entries.
    pub(super) fn len(&self) -> usize {
        self.queues.iter().map(VecDeque::len).sum::<usize>() + self.heap.len()
    }

    /// Keeps the flows that `due` gives a time, at that time.
    pub(super) fn rebuild(&mut self, due: impl Fn(FlowRef) -> Option<Timestamp>) {
        let old = std::mem::take(self);
        let mut kept: Vec<_> =
            old.queues.into_iter().flatten().chain(old.heap.into_iter().map(|entry| entry.0)).collect();
        kept.retain_mut(|(at, flow)| {
            due(*flow).is_some_and(|due| {
                *at = due;
                true
            })
        });
        kept.sort_unstable();
        kept.dedup();
        self.queues = [kept.into(), VecDeque::new()];
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flow::FlowId;

    proptest! {
        #[test]
        fn all_that_is_due_comes_and_nothing_else(steps in proptest::collection::vec((0..50_i64, 0..4_u8), 1..200)) {
            let mut deadlines = Deadlines::default();
            let mut model: Vec<(Timestamp, FlowRef)> = Vec::new();
            let mut clock = 0;
            for (number, (step, kind)) in (0_u32..).zip(steps) {
                clock += step / 10;
                let flow = FlowRef { id: FlowId(number), generation: 0 };
                // Two constant waits, and now and then any time.
                let due = Timestamp(match kind {
                    0 => clock + 30,
                    1 => clock + 10,
                    _ => clock + step,
                });
                deadlines.push(due, flow);
                model.push((due, flow));
                if kind == 3 {
                    let mut came = Vec::new();
                    while let Some(flow) = deadlines.pop_due(Timestamp(clock)) {
                        came.push(flow);
                    }
                    let mut due: Vec<_> =
                        model.extract_if(.., |(due, _)| *due <= Timestamp(clock)).map(|(_, flow)| flow).collect();
                    came.sort_unstable();
                    due.sort_unstable();
                    prop_assert_eq!(came, due);
                    deadlines.rebuild(|flow| model.iter().find(|(_, known)| *known == flow).map(|(due, _)| *due));
                }
                prop_assert_eq!(deadlines.len(), model.len());
            }
        }
    }
}
