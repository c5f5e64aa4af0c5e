//! Reports that were written, on their way back to the worker that made them.
//!
//! A report is many small allocations. A thread that frees what another one allocated pays several times as much as the owner
//! does, and the owner must ask for new memory meanwhile (measured: a tenth of all time with two workers). And its line can be
//! rendered into again.

use std::sync::{Mutex, PoisonError};

use crate::pipeline::worker::Report;

/// Most bytes of reports that wait for one worker; what does not fit is freed by whoever has it.
const BYTES: usize = 4 << 20;

/// Longer lines are not kept: a few strange handshakes must not hold memory for good.
const LINE_BYTES: usize = 8 << 10;

/// Most empty lines that are kept: more than come in a round.
const LINES: usize = 256;

/// Spent reports, a list for each worker. What is in them never shows.
#[derive(Debug)]
pub struct Spent(Vec<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    reports: Vec<Report>,
    bytes: usize,
}

impl Spent {
    /// For so many workers.
    pub fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Mutex::default()).collect())
    }

    /// Gives back what `worker` made; `reports` is empty then.
    pub fn give(&self, worker: usize, reports: &mut Vec<Report>) {
        if let Some(waiting) = self.0.get(worker).filter(|_| !reports.is_empty()) {
            let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            while waiting.bytes < BYTES
                && let Some(report) = reports.pop()
            {
                waiting.bytes += report.bytes();
                waiting.reports.push(report);
            }
        }
        reports.clear();
    }

    /// What waits for `worker`.
    fn take(&self, worker: usize) -> Vec<Report> {
        let Some(waiting) = self.0.get(worker) else { return Vec::new() };
        std::mem::take(&mut *waiting.lock().unwrap_or_else(PoisonError::into_inner)).reports
    }
}

/// Emptied lines to render into again.
#[derive(Debug, Default)]
pub struct Lines(Vec<Vec<u8>>);

impl Lines {
    /// Takes back what waits for `worker`: frees it but for the lines.
    pub fn refill(&mut self, spent: &Spent, worker: usize) {
        self.0.extend(spent.take(worker).into_iter().map(emptied).filter(|line| line.capacity() <= LINE_BYTES));
        self.0.truncate(LINES);
    }

    /// A line to write to, empty.
    pub fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_default()
    }
}

fn emptied(report: Report) -> Vec<u8> {
    let mut line = report.line;
    line.clear();
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::testing::Scene;
    use crate::time::Order;

    fn report(line: usize) -> Report {
        let observation = Scene::new(&[]).handshake("192.0.2.1", "198.51.100.1", &[]);
        Report::new(0, (Order::default(), vec![b'x'; line]), Box::new(observation))
    }

    #[test]
    fn what_comes_back_is_empty_and_bounded() {
        let spent = Spent::new(2);
        let mut reports: Vec<_> = (0..LINES + 10).map(|_| report(100)).collect();
        spent.give(0, &mut reports);
        assert!(reports.is_empty());
        let mut lines = Lines::default();
        lines.refill(&spent, 1);
        assert!(lines.0.is_empty(), "of another worker");
        lines.refill(&spent, 0);
        assert_eq!(lines.0.len(), LINES);
        let line = lines.take();
        assert!(line.is_empty() && line.capacity() >= 100);
        spent.give(0, &mut vec![report(LINE_BYTES + 1), report(10)]);
        lines.0.clear();
        lines.refill(&spent, 0);
        assert_eq!(lines.0.len(), 1, "the long one is not kept");
    }

    #[test]
    fn reports_that_nobody_takes_back_are_freed() {
        let spent = Spent::new(1);
        for _ in 0..10 {
            let mut reports: Vec<_> = (0..100).map(|_| report(BYTES / 100)).collect();
            spent.give(0, &mut reports);
            assert!(reports.is_empty());
        }
        assert!(spent.take(0).iter().map(Report::bytes).sum::<usize>() < BYTES + BYTES / 50);
    }
}
