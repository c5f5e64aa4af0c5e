//! The reports of all workers in one order.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};

use crate::pipeline::worker::Report;
use crate::time::Order;

/// What has a place in the order of the run.
pub trait Placed {
    /// Its place.
    fn place(&self) -> Order;
}

impl Placed for Report {
    fn place(&self) -> Order {
        self.order
    }
}

/// Holds what came too early; gives it in order.
///
/// Each worker says up to which place it has given everything. What lies before the smallest of these places may leave.
#[derive(Debug)]
pub struct Merge<R> {
    /// In order: nearly all reports of one worker come so.
    run: VecDeque<R>,
    /// What came behind its place.
    heap: BinaryHeap<Reverse<ByOrder<R>>>,
    watermarks: Vec<Order>,
    peak: usize,
}

#[derive(Debug)]
struct ByOrder<R>(R);

impl<R: Placed> Merge<R> {
    /// For this many workers.
    pub fn new(workers: usize) -> Self {
        Self { run: VecDeque::new(), heap: BinaryHeap::new(), watermarks: vec![Order::default(); workers], peak: 0 }
    }

    /// Takes a report.
    pub fn push(&mut self, report: R) {
        if self.run.back().is_none_or(|last| last.place() <= report.place()) {
            self.run.push_back(report);
        } else {
            self.heap.push(Reverse(ByOrder(report)));
        }
        self.peak = self.peak.max(self.run.len() + self.heap.len());
    }

    /// `worker` has given everything up to `order`.
    pub fn advance(&mut self, worker: usize, order: Order) {
        if let Some(watermark) = self.watermarks.get_mut(worker) {
            *watermark = order;
        }
    }

    /// `worker` will give nothing more.
    pub fn close(&mut self, worker: usize) {
        let last = Order { clock: crate::time::Timestamp::MAX, frame: u64::MAX, ordinal: u32::MAX };
        self.advance(worker, last);
    }

    /// Nothing comes before this place any more.
    pub fn safe(&self) -> Option<Order> {
        self.watermarks.iter().min().copied()
    }

    /// The next report that nothing can come before any more.
    pub fn pop_ready(&mut self) -> Option<R> {
        let safe = self.safe()?;
        let first = self.run.front().map(Placed::place);
        match self.heap.peek().map(|Reverse(ByOrder(report))| report.place()) {
            Some(late) if first.is_none_or(|first| late < first) => {
                let report = if late <= safe { self.heap.pop() } else { None };
                report.map(|Reverse(ByOrder(report))| report)
            }
            _ if first? <= safe => self.run.pop_front(),
            _ => None,
        }
    }

    /// Most reports that were held at once.
    pub fn peak(&self) -> usize {
        self.peak
    }
}

impl<R: Placed> PartialEq for ByOrder<R> {
    fn eq(&self, other: &Self) -> bool {
        self.0.place() == other.0.place()
    }
}

impl<R: Placed> Eq for ByOrder<R> {}

impl<R: Placed> PartialOrd for ByOrder<R> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<R: Placed> Ord for ByOrder<R> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.place().cmp(&other.0.place())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Placed for Order {
        fn place(&self) -> Order {
            *self
        }
    }

    fn place(frame: u64) -> Order {
        Order { frame, ..Order::default() }
    }

    proptest! {
        #[test]
        fn all_leave_in_order_and_none_too_early(workers in prop::collection::vec(prop::collection::vec(1_u64..40, 0..20), 1..4)) {
            let mut merge = Merge::new(workers.len());
            let mut left = Vec::new();
            // In each round every worker gives a part of its reports, in no order, and says how far it is.
            for round in (0..=40).step_by(8) {
                for (worker, frames) in workers.iter().enumerate() {
                    for frame in frames.iter().filter(|frame| (round..round + 8).contains(*frame)) {
                        merge.push(place(*frame));
                    }
                    merge.advance(worker, place(round + 7));
                    while let Some(report) = merge.pop_ready() {
                        prop_assert!(worker + 1 == workers.len() || report.frame < round);
                        left.push(report.frame);
                    }
                }
            }
            let mut expected: Vec<_> = workers.concat();
            expected.sort_unstable();
            prop_assert_eq!(left, expected);
            prop_assert!(merge.peak() <= workers.concat().len());
        }
    }

    #[test]
    fn what_is_not_sure_yet_waits() {
        let mut merge = Merge::new(2);
        for frame in [5, 3, 4] {
            merge.push(place(frame));
        }
        merge.advance(0, place(9));
        assert_eq!(merge.pop_ready(), None);
        merge.advance(1, place(4));
        assert_eq!([merge.pop_ready(), merge.pop_ready(), merge.pop_ready()], [Some(place(3)), Some(place(4)), None]);
        merge.close(1);
        assert_eq!(merge.pop_ready(), Some(place(5)));
        assert_eq!(merge.peak(), 3);
    }
}
