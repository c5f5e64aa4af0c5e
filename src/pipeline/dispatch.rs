//! How the reader's decisions reach the workers: in the same thread, or in batches through channels.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use crate::capture::Pages;
use crate::flow::history::Lasting;
use crate::flow::{Beginning, FlowRef, SegmentIn};
use crate::packet::Encapsulation;
use crate::pipeline::PipelineError;
use crate::pipeline::batch::{Batch, Lent, Visitor};
use crate::pipeline::correlator::{Correlator, InFlight};
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
const REPORT_BYTES: usize = 32 << 20;

/// Longest wait of the reader for the sinks at the end of a round: they may be as slow as they like, but what is in flight
/// is bounded by the queues too.
const WAITS: u32 = 10_000;

/// Length of one wait.
const WAIT: Duration = Duration::from_micros(100);

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

/// Several workers, each in a thread of its own.
#[derive(Debug)]
pub struct Threads {
    lanes: Vec<Lane>,
    batch: usize,
    full: bool,
    /// Where the bytes of segments lie now.
    pages: Option<Arc<Pages>>,
    in_flight: Arc<InFlight>,
}

#[derive(Debug)]
struct Lane {
    to: Sender<Batch>,
    back: Receiver<Batch>,
    batch: Batch,
    /// Empty batches that came back already.
    spare: VecDeque<Batch>,
    /// Batches there are, without the one that is filled.
    batches: usize,
}

impl Threads {
    /// One lane per worker: where its batches go, and where they come back empty, all of which wait there now.
    pub fn new(lanes: Vec<(Sender<Batch>, Receiver<Batch>)>, batch: usize, in_flight: Arc<InFlight>) -> Self {
        let lanes = lanes.into_iter().map(|(to, back)| {
            let batches = back.len();
            Lane { to, back, batch: Batch::default(), spare: VecDeque::new(), batches }
        });
        Self { lanes: lanes.collect(), batch, full: false, pages: None, in_flight }
    }

    /// Too much is in flight: lets the workers do all they were given, and the sinks take what they made.
    #[cold]
    fn settle(&mut self) -> Result<(), PipelineError> {
        for lane in &mut self.lanes {
            while lane.spare.len() < lane.batches {
                lane.spare.push_back(lane.back.recv().map_err(|_| PipelineError::WorkerGone)?);
            }
        }
        for _ in 0..WAITS {
            if self.in_flight.bytes() < REPORT_BYTES {
                break;
            }
            thread::sleep(WAIT);
        }
        Ok(())
    }

    fn push(&mut self, flow: FlowRef, add: impl FnOnce(&mut Batch, Option<&Arc<Pages>>)) {
        let lanes = self.lanes.len().max(1);
        if let Some(lane) = self.lanes.get_mut(flow.id.slot() % lanes) {
            add(&mut lane.batch, self.pages.as_ref());
            self.full |= lane.batch.len() >= self.batch || lane.batch.is_full();
        }
    }
}

impl Dispatch for Threads {
    fn lend(&mut self, pages: Option<&Arc<Pages>>) -> bool {
        if self.pages.as_ref().map(Arc::as_ptr) == pages.map(Arc::as_ptr) {
            return true;
        }
        if self.lanes.iter().any(|lane| lane.batch.borrows()) {
            return false;
        }
        self.pages = pages.cloned();
        true
    }

    fn begin(&mut self, flow: FlowRef, beginning: &Beginning, (encapsulation, at): (Encapsulation, &Moment)) {
        self.push(flow, |batch, _| batch.push_beginning((flow, beginning), (encapsulation, at)));
    }

    fn segment(&mut self, flow: FlowRef, segment: &SegmentIn<'_>) -> bool {
        self.push(flow, |batch, pages| batch.push_segment(flow, segment, pages));
        false
    }

    fn end(&mut self, flow: FlowRef, at: Order, end: HandshakeEnd) {
        self.push(flow, |batch, _| batch.push_end(flow, at, end));
    }

    fn is_full(&self) -> bool {
        self.full
    }

    fn round(&mut self, clock: Order, decided: &mut Vec<FlowRef>) -> Result<(), PipelineError> {
        self.full = false;
        if self.in_flight.bytes() >= REPORT_BYTES {
            self.settle()?;
        }
        for lane in &mut self.lanes {
            lane.batch.clock = clock;
            // As many batches exist as the return queue holds, so giving one back never blocks a worker.
            // All that came back, for what it says: a flow that is decided must not be handed on until its batch is needed.
            lane.spare.extend(lane.back.try_iter());
            let mut next = match lane.spare.pop_back() {
                Some(next) => next,
                None => lane.back.recv().map_err(|_| PipelineError::WorkerGone)?,
            };
            decided.append(&mut next.decided);
            for spare in &mut lane.spare {
                decided.append(&mut spare.decided);
            }
            std::mem::swap(&mut lane.batch, &mut next);
            lane.to.send(next).map_err(|_| PipelineError::WorkerGone)?;
        }
        Ok(())
    }
}

/// Runs a worker until its lane is closed; `false` when nobody takes what it gives before that.
pub fn work(
    worker: &mut Worker,
    (from, back): (&Receiver<Batch>, &Sender<Batch>),
    mut give: impl FnMut(&mut Worker, Order) -> bool,
) -> bool {
    for mut batch in from {
        let mut decided = std::mem::take(&mut batch.decided);
        batch.visit(&mut Taking { worker, decided: &mut decided });
        let clock = batch.clock;
        worker.advance(clock.clock);
        worker.report();
        decided.dedup();
        batch.clear();
        batch.decided = decided;
        // The reader may be gone already, at the end: then nobody wants the batch back.
        let _ = back.send(batch);
        if !give(worker, clock) {
            return false;
        }
    }
    true
}

/// A worker that takes a batch.
struct Taking<'a> {
    worker: &'a mut Worker,
    decided: &'a mut Vec<FlowRef>,
}

impl Visitor for Taking<'_> {
    fn begin(&mut self, flow: FlowRef, beginning: &Beginning, about: (Encapsulation, &Moment)) {
        self.worker.begin(flow, beginning, about);
    }

    #[inline]
    fn segment(&mut self, flow: FlowRef, segment: &SegmentIn<'_>, lasting: Option<&dyn Lasting>) {
        if self.worker.segment(flow, segment, lasting) {
            self.decided.push(flow);
        }
    }

    fn end(&mut self, flow: FlowRef, at: Order, end: HandshakeEnd) {
        self.worker.end(flow, at, end);
    }
}
