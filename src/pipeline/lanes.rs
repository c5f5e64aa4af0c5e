//! Several threads: lanes, and who works on them.
//!
//! Each lane has a queue of batches and a worker's state, which is with whoever works on it. There is one lane more than
//! threads. One is the reader's own: its worker takes what comes at once, without a batch. On the other lanes work the other
//! threads; each takes a lane for which something waits, and keeps it until its queue is empty. Should they have nothing to
//! do for half of the time, the reader only reads from then on, and its lane is one like the others until more waits there
//! than they can do. The reader takes a batch of another lane before it waits for anybody. So as many threads as processors
//! keep all of them busy, few segments go from one processor to another, and mostly the same one frees what was allocated
//! for a connection.
//!
//! Who has emptied a lane and sent its worker home takes the correlator, if nobody has it ([`Outlet`]): so no lane waits for a
//! sink. The reader does so only where it could not go on otherwise. What it gave itself is done a round later at the latest,
//! since every round gives something to every lane.
//!
//! A worker's state goes round: reader -> `ready` -> a thread -> `home` -> reader. Whoever fails drops what it holds, which
//! closes the lane, and the reader learns of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use crate::capture::{Pages, Source};
use crate::flow::history::Lasting;
use crate::flow::{Beginning, FlowRef, SegmentIn};
use crate::packet::Encapsulation;
use crate::pipeline::batch::{Batch, Lent, Visitor};
use crate::pipeline::correlator::Correlator;
use crate::pipeline::dispatch::{Dispatch, REPORT_BYTES};
use crate::pipeline::outlet::{Given, Outlet};
use crate::pipeline::reader::Reader;
use crate::pipeline::worker::{Shared, Worker};
use crate::pipeline::{Options, PipelineError};
use crate::time::{Moment, Order, Timestamp};
use crate::tls::HandshakeEnd;

/// Runs everything in so many threads as there are workers to be: this one reads, and all run workers and the correlator.
///
/// # Errors
/// When the source fails as a whole or a sink cannot go on.
pub(super) fn run<'a>(
    reader: &mut Reader,
    (source, progress): (&mut impl Source, impl FnMut(&dyn Source)),
    (options, shared): (&Options, &Arc<Shared>),
    correlator: Correlator<'a>,
) -> Result<(Vec<Worker>, Correlator<'a>), PipelineError> {
    let outlet = Outlet::new(correlator);
    let workers = thread::scope(|scope| {
        let mut threads = Threads::new(options, shared, &outlet);
        let others = (0..threads.others).map(|_| {
            let (ready, outlet) = (threads.ready.1.clone(), outlet.clone());
            scope.spawn(move || ready.into_iter().for_each(|work| run_worker(work, &outlet)))
        });
        let others: Vec<_> = others.collect();
        let read = reader.run(source, &mut threads, (shared.context.places(), progress));
        let workers = read.and_then(|clock| threads.finish(clock));
        // One that panicked has closed its lane, of which the reader knows.
        others.into_iter().for_each(|other| drop(other.join()));
        workers
    });
    // The first cause is downstream: a sink that cannot go on ends the workers, and these the reader.
    let correlator = outlet.end()?;
    Ok((workers?, correlator))
}

/// Lanes for so many threads, the reader's among them.
pub(super) fn count(threads: usize) -> usize {
    threads.max(1).saturating_add(1)
}

/// A worker, its end of the lane, and what is asked of it.
#[derive(Debug)]
struct Work<'a> {
    worker: Worker,
    number: usize,
    from: Receiver<Batch>,
    back: Sender<Batch>,
    home: Sender<Box<Self>>,
    outlet: Outlet<'a>,
    /// The capture ends at this time, once the queue is empty.
    end: Option<Timestamp>,
    jitter: Option<u64>,
}

/// Runs a worker until nothing waits for it, and sends it home; then does what waits for the correlator.
fn run_worker<'a>(mut work: Box<Work<'a>>, outlet: &Outlet<'a>) {
    while let Some(batch) = work.next() {
        if !work.take(batch) {
            return;
        }
    }
    if work.finish() {
        let home = work.home.clone();
        // The reader may be gone already, after an error.
        let _ = home.send(work);
        outlet.correlate();
    }
}

impl Work<'_> {
    fn next(&self) -> Option<Batch> {
        self.from.try_recv().ok()
    }

    /// Takes a batch; `false` when nobody takes what it gives.
    fn take(&mut self, mut batch: Batch) -> bool {
        let mut decided = std::mem::take(&mut batch.decided);
        batch.visit(&mut Taking { worker: &mut self.worker, decided: &mut decided });
        let clock = batch.clock;
        decided.dedup();
        batch.clear();
        batch.decided = decided;
        // The reader may be gone already, at the end: then nobody wants the batch back.
        let _ = self.back.send(batch);
        self.end_round(clock)
    }

    /// All up to `clock` was taken; `false` when nobody takes what the worker gives.
    fn end_round(&mut self, clock: Order) -> bool {
        self.worker.advance(clock.clock);
        self.worker.report();
        sleep_sometimes(&mut self.jitter);
        self.give(Some(clock))
    }

    /// Ends the worker, if the capture is over; `false` when nobody takes what it gives.
    fn finish(&mut self) -> bool {
        let Some(clock) = self.end else { return true };
        self.worker.finish(clock);
        self.give(None)
    }

    fn give(&mut self, upto: Option<Order>) -> bool {
        let reports = std::mem::take(&mut self.worker.reports);
        self.outlet.give(Given { worker: self.number, reports, upto })
    }
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

/// Up to a millisecond at every fourth call or so: shakes the order of threads in tests.
fn sleep_sometimes(state: &mut Option<u64>) {
    if let Some(state) = state {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if *state >> 62 == 0 {
            thread::sleep(Duration::from_micros(*state >> 33 & 0x3ff));
        }
    }
}

/// The reader's side of all lanes.
#[derive(Debug)]
struct Threads<'a> {
    lanes: Vec<Lane<'a>>,
    /// Workers for which something waits.
    ready: (Sender<Box<Work<'a>>>, Receiver<Box<Work<'a>>>),
    /// The reader's worker, while it takes at once what comes.
    own: Option<Box<Work<'a>>>,
    /// Segments of this round that it took.
    taken: usize,
    share: Share,
    /// Threads beside the reader's.
    others: usize,
    batch: usize,
    full: bool,
    /// Where the bytes of segments lie now.
    pages: Option<Arc<Pages>>,
    outlet: Outlet<'a>,
}

#[derive(Debug)]
struct Lane<'a> {
    to: Sender<Batch>,
    back: Receiver<Batch>,
    home: Receiver<Box<Work<'a>>>,
    /// The worker, while nobody has it.
    resting: Option<Box<Work<'a>>>,
    /// What is filled.
    batch: Batch,
    /// Empty batches that came back already.
    spare: VecDeque<Batch>,
    /// Batches there are, without the one that is filled.
    batches: usize,
}

impl Lane<'_> {
    /// Takes what came back.
    fn collect(&mut self) {
        self.spare.extend(self.back.try_iter());
        if let Ok(work) = self.home.try_recv() {
            self.resting = Some(work);
        }
    }

    /// Waits until something comes back.
    fn wait(&mut self) -> Result<(), PipelineError> {
        select! {
            recv(self.back) -> batch => self.spare.push_back(batch.map_err(|_| PipelineError::WorkerGone)?),
            recv(self.home) -> work => self.resting = Some(work.map_err(|_| PipelineError::WorkerGone)?),
        }
        Ok(())
    }
}

/// The lane on which the reader works.
const OWN: usize = 0;

/// Of so many flows for each other lane, [`OWN_FLOWS`] go to the reader's.
const FLOWS: usize = 4;

/// Fewer than for another lane, since the reader has to read besides: a quarter of all with two threads (measured: a third
/// took 4 % more time, a half 17 %).
const OWN_FLOWS: usize = 2;

/// Whether the reader works too, or only reads.
#[derive(Debug, Default)]
struct Share {
    only_reads: bool,
    /// Rounds that speak for the other way, less those that spoke against it.
    leaning: u32,
}

impl Share {
    /// A round ended, in which one of the others had nothing to do, or in which more waits for each than it can do.
    fn round(&mut self, idle: bool, plenty: bool) {
        let (toward, back) = if self.only_reads { (plenty, if idle { ROUNDS } else { 0 }) } else { (idle, 1) };
        self.leaning = if toward { self.leaning.saturating_add(1) } else { self.leaning.saturating_sub(back) };
        if self.leaning >= ROUNDS {
            *self = Self { only_reads: !self.only_reads, leaning: 0 };
        }
    }
}

/// Rounds of one kind, less those of the other, until the reader's lane changes hands: its worker's memory goes with it.
const ROUNDS: u32 = 32;

/// Batches that wait for each other thread when they have more than they can do.
const PLENTY: usize = 2;

/// Longest wait of the reader for the sinks at the end of a round: they may be as slow as they like, but what is in flight
/// is bounded by the queues too.
const WAITS: u32 = 10_000;

/// Length of one wait.
const WAIT: Duration = Duration::from_micros(100);

impl<'a> Threads<'a> {
    fn new(options: &Options, shared: &Arc<Shared>, outlet: &Outlet<'a>) -> Self {
        let (lanes, batches) = (count(options.workers), options.queue.max(1));
        let lane = |number: usize| {
            let ((to, from), (back, came_back)) = (bounded(batches), bounded(batches));
            let (home, came_home) = bounded(1);
            let work = Work {
                worker: Worker::new(number, Arc::clone(shared)),
                number,
                from,
                back,
                home,
                outlet: outlet.clone(),
                end: None,
                jitter: options.jitter.map(|seed| seed.wrapping_add(u64::try_from(number).unwrap_or(0))),
            };
            Lane {
                to,
                back: came_back,
                home: came_home,
                resting: Some(Box::new(work)),
                batch: Batch::default(),
                spare: (0..batches).map(|_| Batch::default()).collect(),
                batches,
            }
        };
        Self {
            lanes: (0..lanes).map(lane).collect(),
            ready: bounded(lanes),
            own: None,
            share: Share::default(),
            taken: 0,
            others: options.workers.saturating_sub(1).max(1),
            batch: options.batch.max(1),
            full: false,
            pages: None,
            outlet: outlet.clone(),
        }
    }

    #[inline(always)]
    fn push(&mut self, number: usize, add: impl FnOnce(&mut Batch, Option<&Arc<Pages>>)) {
        if let Some(lane) = self.lanes.get_mut(number) {
            add(&mut lane.batch, self.pages.as_ref());
            self.full |= lane.batch.len() >= self.batch || lane.batch.is_full();
        }
    }

    #[inline(always)]
    fn lane_of(&self, flow: FlowRef) -> usize {
        let others = self.lanes.len().saturating_sub(1).max(1);
        match (flow.id.slot() % others.saturating_mul(FLOWS)).checked_sub(OWN_FLOWS) {
            Some(number) => OWN + 1 + number % others,
            None => OWN,
        }
    }

    /// The worker, if it is the reader's and takes what comes at once.
    #[inline]
    fn at_once(&mut self, number: usize) -> Option<&mut Worker> {
        if number != OWN {
            return None;
        }
        self.own.as_mut().map(|work| &mut work.worker)
    }

    /// Hands the batch of a lane to its worker, and begins an empty one, of which there must be one.
    fn hand_over(&mut self, number: usize, clock: Order, decided: &mut Vec<FlowRef>) -> Result<(), PipelineError> {
        let Some(lane) = self.lanes.get_mut(number) else { return Ok(()) };
        let Some(mut next) = lane.spare.pop_back() else { return Ok(()) };
        lane.batch.clock = clock;
        // All that came back, for what it says: a flow that is decided must not be handed on until its batch is needed.
        decided.append(&mut next.decided);
        for spare in &mut lane.spare {
            decided.append(&mut spare.decided);
        }
        std::mem::swap(&mut lane.batch, &mut next);
        lane.to.send(next).map_err(|_| PipelineError::WorkerGone)?;
        if let Some(work) = lane.resting.take_if(|_| number != OWN) {
            self.rest(work)?;
        }
        Ok(())
    }

    /// Batches that wait in the lanes of others.
    fn waiting(&self) -> usize {
        self.lanes.iter().enumerate().filter(|(number, _)| *number != OWN).map(|(_, lane)| lane.to.len()).sum()
    }

    /// Lanes of others in which something is being done, or waits.
    fn busy(&self) -> usize {
        self.lanes.iter().enumerate().filter(|(number, lane)| *number != OWN && lane.resting.is_none()).count()
    }

    /// Takes a batch of the reader's own lane. `Ok(false)`: there is none, or another thread has the lane.
    fn work(&mut self) -> Result<bool, PipelineError> {
        let Some(work) = self.lanes.get_mut(OWN).and_then(|lane| lane.resting.as_mut()) else { return Ok(false) };
        let Some(batch) = work.next() else { return Ok(false) };
        if work.take(batch) { Ok(true) } else { Err(PipelineError::WorkerGone) }
    }

    /// Takes a batch of a lane that waits for a thread. `Ok(false)`: there is none.
    fn help(&mut self) -> Result<bool, PipelineError> {
        let Ok(mut work) = self.ready.1.try_recv() else { return Ok(false) };
        if work.end.is_some() {
            run_worker(work, &self.outlet);
            return Ok(true);
        }
        if let Some(batch) = work.next()
            && !work.take(batch)
        {
            return Err(PipelineError::WorkerGone);
        }
        self.rest(work)?;
        Ok(true)
    }

    /// Hands a worker that nobody has to the next thread, or keeps it while nothing waits for it.
    fn rest(&mut self, work: Box<Work<'a>>) -> Result<(), PipelineError> {
        if !work.from.is_empty() || work.end.is_some() {
            // There is room for all of them.
            return self.ready.0.send(work).map_err(|_| PipelineError::WorkerGone);
        }
        if let Some(lane) = self.lanes.get_mut(work.number) {
            lane.resting = Some(work);
        }
        Ok(())
    }

    /// Waits until a lane has `least` empty batches; meanwhile does what there is to do.
    fn wait_for(&mut self, number: usize, least: usize) -> Result<(), PipelineError> {
        loop {
            let Some(lane) = self.lanes.get_mut(number) else { return Ok(()) };
            lane.collect();
            if lane.spare.len() >= least {
                return Ok(());
            }
            // Should nobody have a lane that is full, it waits for a thread from now on.
            match lane.resting.take_if(|_| number != OWN) {
                Some(work) => self.rest(work)?,
                None if self.work()? || self.help()? => {}
                None => {
                    if let Some(lane) = self.lanes.get_mut(number) {
                        lane.wait()?;
                    }
                }
            }
        }
    }

    /// Too much is in flight: lets the workers do all they were given, and the sinks take what they made.
    #[cold]
    fn settle(&mut self) -> Result<(), PipelineError> {
        for number in 0..self.lanes.len() {
            let batches = self.lanes.get(number).map_or(0, |lane| lane.batches);
            self.wait_for(number, batches)?;
        }
        for _ in 0..WAITS {
            if self.outlet.correlate() || self.outlet.in_flight() < REPORT_BYTES {
                break;
            }
            thread::sleep(WAIT);
        }
        Ok(())
    }

    /// The capture ended at this time: lets the workers do all they were given, and end.
    fn finish(mut self, clock: Timestamp) -> Result<Vec<Worker>, PipelineError> {
        if let Some(work) = self.own.take() {
            self.rest(work)?;
        }
        for number in 0..self.lanes.len() {
            let batches = self.lanes.get(number).map_or(0, |lane| lane.batches);
            self.wait_for(number, batches)?;
            let Some(lane) = self.lanes.get_mut(number) else { continue };
            let resting = lane.resting.take();
            let mut work = match resting {
                Some(work) => work,
                None => lane.home.recv().map_err(|_| PipelineError::WorkerGone)?,
            };
            work.end = Some(clock);
            self.rest(work)?;
        }
        for work in self.ready.1.try_iter() {
            run_worker(work, &self.outlet);
        }
        let came_home =
            |lane: Lane<'_>| lane.home.recv().map(|work| work.worker).map_err(|_| PipelineError::WorkerGone);
        self.lanes.into_iter().map(came_home).collect()
    }
}

impl Dispatch for Threads<'_> {
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

    fn begin(&mut self, flow: FlowRef, beginning: &Beginning, about: (Encapsulation, &Moment)) {
        let lane = self.lane_of(flow);
        match self.at_once(lane) {
            Some(worker) => worker.begin(flow, beginning, about),
            None => self.push(lane, |batch, _| batch.push_beginning((flow, beginning), about)),
        }
    }

    #[inline(always)]
    fn segment(&mut self, flow: FlowRef, segment: &SegmentIn<'_>) -> bool {
        let lane = self.lane_of(flow);
        match &mut self.own {
            Some(work) if lane == OWN => {
                self.taken += 1;
                self.full |= self.taken >= self.batch;
                let lent = self.pages.as_deref().map(|pages| Lent { window: pages.bytes(), pages });
                work.worker.segment(flow, segment, lent.as_ref().map(|lent| -> &dyn Lasting { lent }))
            }
            _ => {
                self.push(lane, |batch, pages| batch.push_segment(flow, segment, pages));
                false
            }
        }
    }

    fn end(&mut self, flow: FlowRef, at: Order, end: HandshakeEnd) {
        let lane = self.lane_of(flow);
        match self.at_once(lane) {
            Some(worker) => worker.end(flow, at, end),
            None => self.push(lane, |batch, _| batch.push_end(flow, at, end)),
        }
    }

    fn is_full(&self) -> bool {
        self.full
    }

    fn round(&mut self, clock: Order, decided: &mut Vec<FlowRef>) -> Result<(), PipelineError> {
        (self.full, self.taken) = (false, 0);
        let own = self.own.take();
        let handed = if own.is_some() { OWN + 1 } else { OWN };
        if let Some(mut work) = own {
            if !work.end_round(clock) {
                return Err(PipelineError::WorkerGone);
            }
            self.rest(work)?;
        }
        self.lanes.iter_mut().for_each(Lane::collect);
        // Whether the others have something left, before they get more.
        self.share.round(self.busy() < self.others, self.waiting() >= self.others.saturating_mul(PLENTY));
        for number in handed..self.lanes.len() {
            self.wait_for(number, 1)?;
            self.hand_over(number, clock, decided)?;
        }
        if self.share.only_reads {
            if let Some(work) = self.lanes.get_mut(OWN).and_then(|lane| lane.resting.take()) {
                self.rest(work)?;
            }
        } else {
            while self.work()? {}
            self.own = self.lanes.get_mut(OWN).and_then(|lane| lane.resting.take());
        }
        if self.outlet.in_flight() >= REPORT_BYTES {
            self.settle()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::FlowId;

    fn threads(workers: usize, queue: usize) -> (Threads<'static>, Outlet<'static>) {
        let (outlet, shared) = Outlet::of(count(workers), Vec::new());
        let options = Options { workers, queue, ..Options::default() };
        (Threads::new(&options, &shared, &outlet), outlet)
    }

    fn end(threads: &mut Threads<'_>, slot: u32) {
        threads.end(FlowRef { id: FlowId(slot), generation: 0 }, Order::default(), HandshakeEnd::Timeout);
    }

    #[test]
    fn the_reader_alone_gets_everything_done() {
        // The other thread never comes, and what is given is more than may wait.
        for (workers, queue) in [(2, 1), (2, 4), (3, 2), (100, 1)] {
            let (mut threads, outlet) = threads(workers, queue);
            for round in 0..50 {
                (0..round).for_each(|slot| end(&mut threads, slot));
                threads.round(Order::default(), &mut Vec::new()).unwrap();
            }
            assert_eq!(threads.finish(Timestamp(9)).unwrap().len(), count(workers));
            outlet.end().unwrap();
        }
    }

    #[test]
    fn each_round_of_each_lane_is_given_and_the_end_last() {
        let (mut threads, outlet) = threads(2, 4);
        let desk = outlet.take_desk();
        for round in 0..9 {
            (0..round).for_each(|slot| end(&mut threads, slot));
            threads.round(Order::default(), &mut Vec::new()).unwrap();
        }
        threads.finish(Timestamp(9)).unwrap();
        let given = desk.given();
        for lane in 0..count(2) {
            let of_lane: Vec<_> = given.iter().filter(|given| given.worker == lane).collect();
            assert_eq!(of_lane.iter().filter(|given| given.upto.is_some()).count(), 9);
            assert!(of_lane.last().unwrap().upto.is_none(), "the end is last");
        }
    }

    #[test]
    fn a_lane_whose_worker_is_gone_ends_the_run() {
        for lost in [OWN, 1, 2] {
            let (mut threads, _outlet) = threads(2, 2);
            drop(threads.lanes[lost].resting.take());
            let rounds = (0..9).map(|_| threads.round(Order::default(), &mut Vec::new()));
            let ended = rounds.collect::<Result<Vec<_>, _>>();
            assert!(matches!(ended, Err(PipelineError::WorkerGone)), "{lost}: {ended:?}");
        }
        let (mut threads, _outlet) = threads(2, 2);
        drop(threads.lanes[1].resting.take());
        assert!(matches!(threads.finish(Timestamp(9)), Err(PipelineError::WorkerGone)));
    }

    #[test]
    fn nobody_who_takes_events_ends_the_run() {
        let (mut threads, outlet) = threads(2, 2);
        drop(outlet.take_desk());
        let rounds = (0..9).map(|_| threads.round(Order::default(), &mut Vec::new()));
        assert!(matches!(rounds.collect::<Result<Vec<_>, _>>(), Err(PipelineError::WorkerGone)));
        assert!(matches!(outlet.end(), Err(PipelineError::WorkerGone)), "and the cause is not known");
    }

    #[test]
    fn threads_without_work_get_the_readers_lane_until_they_have_plenty() {
        let (mut threads, outlet) = threads(2, 9);
        let round = |threads: &mut Threads<'_>| {
            end(threads, 0);
            assert_eq!(threads.lanes[OWN].batch.is_empty(), threads.own.is_some());
            threads.round(Order::default(), &mut Vec::new()).unwrap();
            threads.own.is_some()
        };
        let ready = |threads: &Threads<'static>| threads.ready.1.try_iter().collect::<Vec<_>>();
        for number in 1..=ROUNDS {
            assert_eq!(round(&mut threads), number < ROUNDS, "{number}");
            let ready = ready(&threads);
            assert_eq!(ready.iter().map(|work| work.number).collect::<Vec<_>>(), [1, 2]);
            ready.into_iter().for_each(|work| run_worker(work, &outlet));
        }
        assert!(!round(&mut threads));
        assert_eq!(ready(&threads).len(), 3, "now the reader only reads, and all wait for others");
        // These are gone with what waits in them: as if somebody did not come to an end.
        for lane in &mut threads.lanes {
            lane.resting = None;
        }
    }

    #[test]
    fn the_reader_works_again_when_the_others_cannot_do_all() {
        let (mut threads, outlet) = threads(2, 60);
        threads.share = Share { only_reads: true, leaning: 0 };
        let mut taken = Vec::new();
        for number in 0..40 {
            end(&mut threads, 0);
            threads.round(Order::default(), &mut Vec::new()).unwrap();
            if threads.own.is_some() {
                assert!(number >= ROUNDS && threads.lanes[OWN].to.is_empty(), "{number}");
                return;
            }
            let (own, others): (Vec<_>, Vec<_>) = threads.ready.1.try_iter().partition(|work| work.number == OWN);
            own.into_iter().for_each(|work| run_worker(work, &outlet));
            taken.extend(others);
        }
        panic!("it still only reads");
    }

    #[test]
    fn every_lane_gets_its_share_of_flows() {
        for workers in [2, 3, 4, 8, 64] {
            let (threads, _outlet) = threads(workers, 1);
            let mut flows = vec![0; count(workers)];
            for slot in 0..256 {
                flows[threads.lane_of(FlowRef { id: FlowId(slot), generation: 0 })] += 1;
            }
            let (own, others) = flows.split_first().unwrap();
            let (least, most) = (others.iter().min().unwrap(), others.iter().max().unwrap());
            assert!(0 < *own && own <= least && 3 * most <= 4 * least + 3, "{flows:?}");
        }
        let (threads, _outlet) = threads(256, 1);
        let lanes = (0..256).map(|slot| threads.lane_of(FlowRef { id: FlowId(slot), generation: 0 }));
        assert!(lanes.max().unwrap() < count(256), "more lanes than places");
    }

    #[test]
    fn the_reader_works_or_not_for_long() {
        let mut share = Share::default();
        for round in 0..1000 {
            share.round(round % 5 < 2, false);
            assert!(!share.only_reads, "idle for less than half of the time");
        }
        for round in 0..1000 {
            share.round(round % 5 < 3, false);
        }
        assert!(share.only_reads, "idle for more than half of the time");
        for round in 0..1000_u32 {
            let plenty = !round.is_multiple_of(ROUNDS);
            share.round(!plenty, plenty);
            assert!(share.only_reads, "one that was idle undoes what was plenty");
        }
        (0..ROUNDS).for_each(|_| share.round(false, true));
        assert!(!share.only_reads);
    }
}
