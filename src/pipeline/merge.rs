//! The reports of all workers in one order.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::pipeline::worker::Report;
use crate::time::Order;

/// Holds what came too early; gives it in order.
///
/// Each worker says up to which place it has given everything. What lies before the smallest of these places may leave.
#[derive(Debug)]
pub struct Merge {
    heap: BinaryHeap<Reverse<ByOrder>>,
    watermarks: Vec<Order>,
    peak: usize,
}

#[derive(Debug)]
struct ByOrder(Report);

impl Merge {
    /// For this many workers.
    pub fn new(workers: usize) -> Self {
        Self { heap: BinaryHeap::new(), watermarks: vec![Order::default(); workers], peak: 0 }
    }

    /// Takes a report.
    pub fn push(&mut self, report: Report) {
        self.heap.push(Reverse(ByOrder(report)));
        self.peak = self.peak.max(self.heap.len());
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

    /// The next report that nothing can come before any more.
    pub fn pop_ready(&mut self) -> Option<Report> {
        let safe = self.watermarks.iter().min()?;
        if self.heap.peek()?.0.0.order > *safe {
            return None;
        }
        self.heap.pop().map(|Reverse(ByOrder(report))| report)
    }

    /// Most reports that were held at once.
    pub fn peak(&self) -> usize {
        self.peak
    }
}

impl PartialEq for ByOrder {
    fn eq(&self, other: &Self) -> bool {
        self.0.order == other.0.order
    }
}

impl Eq for ByOrder {}

impl PartialOrd for ByOrder {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByOrder {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.order.cmp(&other.0.order)
    }
}
