//! How the reader's decisions reach the workers: in the same thread, or in batches through channels.

use std::sync::Arc;

use crate::capture::Pages;
use crate::flow::history::Lasting;
use crate::flow::{Beginning, FlowRef, SegmentIn};
use crate::packet::Encapsulation;
use crate::pipeline::PipelineError;
use crate::pipeline::batch::Lent;
use crate::pipeline::correlator::Correlator;
use crate::pipeline::worker::{Report, Shared, Worker};
use crate::time::{Moment, Order, Timestamp};
use crate::tls::HandshakeEnd;

/// Where the reader's decisions go. One implementation per way of running; the reader is the same code in both.
pub trait Dispatch {
    /// The pages in which the bytes of segments lie from now on, if they need not be copied. `false`: not yet, a round must
    /// end before.
    fn lend(&mut self, pages: Option<&Arc<Pages>>) -> bool;
    /// A connection begins.
    fn begin(&mut self, flow: FlowRef, beginning: &Beginning, about: (Encapsulation, &Moment));
    /// A segment of it; `true` when its flow needs no more of them.
    fn segment(&mut self, flow: FlowRef, segment: &SegmentIn<'_>) -> bool;
    /// A connection is over.
    fn end(&mut self, flow: FlowRef, at: Order, end: HandshakeEnd);
    /// Whether a round should end now.
    fn is_full(&self) -> bool;
    /// A round ends: everything up to `clock` was handed over. `decided` gets the flows that workers need no more of.
    ///
    /// # Errors
    /// When what takes the events is gone.
    fn round(&mut self, clock: Order, decided: &mut Vec<FlowRef>) -> Result<(), PipelineError>;
}

/// Bytes of reports in flight from which on the reader waits for the sinks.
pub const REPORT_BYTES: usize = 32 << 20;

/// One worker and the correlator in the reader's own thread.
#[derive(Debug)]
pub struct Inline<'a> {
    /// The worker.
    pub worker: Worker,
    correlator: Correlator<'a>,
    entries: usize,
    batch: usize,
    /// Reports of this round whose bytes were added, and their bytes.
    counted: (usize, usize),
    /// Where the bytes of segments lie now.
    pages: Option<Arc<Pages>>,
}

impl<'a> Inline<'a> {
    /// Rounds end after `batch` segments.
    pub fn new(shared: Arc<Shared>, correlator: Correlator<'a>, batch: usize) -> Self {
        Self { worker: Worker::new(0, shared), correlator, entries: 0, batch, counted: (0, 0), pages: None }
    }

    /// The capture is over: everything leaves.
    ///
    /// # Errors
    /// When what takes the events is gone.
    pub fn finish(mut self, clock: Timestamp) -> Result<(Worker, Correlator<'a>), PipelineError> {
        self.worker.finish(clock);
        self.give();
        self.correlator.close(0)?;
        Ok((self.worker, self.correlator))
    }

    fn give(&mut self) {
        self.count();
        self.correlator.in_flight().add(self.counted.1);
        self.counted = (0, 0);
        for report in self.worker.reports.drain(..) {
            self.correlator.push(report);
        }
    }

    fn count(&mut self) {
        let new = self.worker.reports.get(self.counted.0..).unwrap_or_default();
        self.counted.1 += new.iter().map(Report::bytes).sum::<usize>();
        self.counted.0 = self.worker.reports.len();
    }
}

impl Dispatch for Inline<'_> {
    fn lend(&mut self, pages: Option<&Arc<Pages>>) -> bool {
        if self.pages.as_ref().map(Arc::as_ptr) != pages.map(Arc::as_ptr) {
            self.pages = pages.cloned();
        }
        true
    }

    fn begin(&mut self, flow: FlowRef, beginning: &Beginning, about: (Encapsulation, &Moment)) {
        self.worker.begin(flow, beginning, about);
    }

    fn segment(&mut self, flow: FlowRef, segment: &SegmentIn<'_>) -> bool {
        self.entries += 1;
        let lent = self.pages.as_deref().map(|pages| Lent { window: pages.bytes(), pages });
        let done = self.worker.segment(flow, segment, lent.as_ref().map(|lent| -> &dyn Lasting { lent }));
        self.count();
        done
    }

    fn end(&mut self, flow: FlowRef, at: Order, end: HandshakeEnd) {
        self.worker.end(flow, at, end);
    }

    fn is_full(&self) -> bool {
        self.entries >= self.batch || self.counted.1 >= REPORT_BYTES
    }

    fn round(&mut self, clock: Order, _: &mut Vec<FlowRef>) -> Result<(), PipelineError> {
        self.entries = 0;
        self.worker.advance(clock.clock);
        self.worker.report();
        self.give();
        self.correlator.advance(0, clock)?;
        // At once, so that what comes next lies in memory that is still in the cache.
        self.worker.reclaim();
        Ok(())
    }
}
