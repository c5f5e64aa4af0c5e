//! Threads, channels, batches, order: from a source to the sinks.
//!
//! The reader ([`reader`]) runs in the calling thread. With one worker everything runs there, without channels; with more,
//! each worker has a thread and so has the correlator. The output is the same in every case.

pub mod batch;
pub mod clock;
pub mod correlator;
mod deadlines;
pub mod dispatch;
pub mod judgement;
pub mod merge;
pub mod reader;
pub mod spent;
pub mod worker;

use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::capture::{CaptureError, Source};
use crate::config::Limits;
use crate::detect::catalogue::Severity;
use crate::detect::observation::Observation;
use crate::event::Context;
use crate::packet::ChecksumMode;
use crate::sink::{Sink, SinkError};
use crate::stats::Stats;
use crate::time::{Order, Timestamp};
use crate::x509::cache::CertificateCache;

use batch::Batch;
use correlator::{Correlator, InFlight};
use dispatch::{Inline, Threads, work};
use judgement::{Judgement, Judging};
use reader::Reader;
use spent::Spent;
use worker::{Report, Shared, Worker};

/// How a run is done. None of it changes the output but `limits`, `checksums`, `selection` and the context.
#[derive(Debug)]
pub struct Options {
    /// Limits and timeouts.
    pub limits: Limits,
    /// What to do about transport checksums.
    pub checksums: ChecksumMode,
    /// Workers; with one, everything runs in the calling thread.
    pub workers: usize,
    /// Segments after which a round ends, times the number of workers.
    pub batch: usize,
    /// Rounds that the reader may be ahead of a worker.
    pub queue: usize,
    /// Spreads flows over slots: fixed offline, random live.
    pub seed: u64,
    /// Which handshakes are told.
    pub selection: Selection,
    /// Live: what a round gave is handed to the operating system at its end.
    pub flush_rounds: bool,
    /// How handshakes are judged; `None`: not at all.
    pub judging: Option<Judging>,
    /// For tests: workers sleep at random times, seeded by this.
    pub jitter: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            checksums: ChecksumMode::default(),
            workers: 1,
            batch: 256,
            queue: 8,
            seed: 0,
            selection: Selection::default(),
            flush_rounds: false,
            judging: None,
            jitter: None,
        }
    }
}

/// Which handshakes are told; an empty list means all.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Client or server address.
    pub hosts: Vec<IpAddr>,
    /// Server names, lower case; a leading dot or `*.` takes all names below.
    pub names: Vec<String>,
}

impl Selection {
    /// These addresses and names, the names as a user types them.
    pub fn new(hosts: &[IpAddr], names: &[String]) -> Self {
        let names = names.iter().map(|name| name.trim_end_matches('.').to_lowercase()).collect();
        Self { hosts: hosts.to_vec(), names }
    }

    /// Whether this handshake is told.
    pub fn takes(&self, observation: &Observation) -> bool {
        let ends = &observation.ends;
        let host = self.hosts.is_empty()
            || self.hosts.iter().any(|host| *host == ends.client.address || *host == ends.server.address);
        host && (self.names.is_empty() || self.names.iter().any(|wanted| names_match(wanted, observation)))
    }
}

fn names_match(wanted: &str, observation: &Observation) -> bool {
    let hello = observation.handshake.client_hello.as_deref();
    let Some(name) = hello.and_then(|hello| hello.server_name.as_deref()) else { return false };
    let name = String::from_utf8_lossy(name).to_lowercase();
    let name = name.trim_end_matches('.');
    match wanted.strip_prefix("*.").or_else(|| wanted.strip_prefix('.')) {
        Some(parent) => name.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.')),
        None => name == wanted,
    }
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// All counters.
    pub stats: Stats,
    /// Time of the first and the last packet; `None` when there was none with a time.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Frames at which a parser panicked (bugs to report).
    pub panics: Vec<u64>,
    /// Gravest severity of the alerts that no suppression silences.
    pub gravest: Option<Severity>,
    /// Why there is no alert about the host that was asked for ([`Judging::why_not`]).
    pub why_not: Option<String>,
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The source failed as a whole.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// A sink cannot go on.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// A worker ended before its time; the cause is another error or a bug.
    #[error("a worker ended early")]
    WorkerGone,
}

/// Runs `source` to its end and writes its events to `sinks`.
///
/// # Errors
/// When the source fails as a whole or a sink cannot go on; [`SinkError::Closed`] when the reader of a pipe is gone.
pub fn run<'a>(
    source: &mut impl Source,
    sinks: Vec<Box<dyn Sink + Send + 'a>>,
    (options, context): (&Options, Context),
    progress: impl FnMut(&dyn Source),
) -> Result<Outcome, PipelineError> {
    let workers = options.workers.max(1);
    let shared = Arc::new(Shared {
        certificates: CertificateCache::new(options.limits.memo_bytes),
        context,
        limits: options.limits.clone(),
        judged: options.judging.is_some(),
        proofs: options.judging.as_ref().is_some_and(|judging| judging.proofs),
        spent: Spent::new(workers),
    });
    let judgement = options.judging.as_ref().map(|judging| Judgement::new(judging, options.limits.memo_bytes));
    let mut correlator = Correlator::new(Arc::clone(&shared), (workers, judgement), (options.selection.clone(), sinks));
    correlator.flush_rounds = options.flush_rounds;
    let mut reader = Reader::new(&options.limits, options.checksums, options.seed);
    let mut outcome = Outcome::default();
    let (gone, mut correlator) = if workers == 1 && options.jitter.is_none() {
        let mut dispatch = Inline::new(Arc::clone(&shared), correlator, options.batch.max(1));
        let clock = reader.run(source, &mut dispatch, (shared.context.places(), progress))?;
        let (worker, correlator) = dispatch.finish(clock)?;
        (vec![worker], correlator)
    } else {
        threaded(&mut reader, (source, progress), (options, &shared), correlator)?
    };
    outcome.span = reader.span();
    outcome.stats = reader.stats;
    outcome.panics = reader.panics;
    for worker in gone {
        outcome.stats.add(&worker.stats);
        outcome.panics.extend(worker.panics);
    }
    let span = outcome.span.unwrap_or_default();
    let conclusion = correlator.conclude(span.1)?;
    (outcome.gravest, outcome.why_not) = (conclusion.gravest, conclusion.why_not);
    outcome.stats.add(&correlator.stats);
    correlator.finish(&outcome.stats, span)?;
    Ok(outcome)
}

/// What a worker sends to the correlator after each round.
struct Given {
    worker: usize,
    reports: Vec<Report>,
    /// `None`: the worker has ended.
    upto: Option<Order>,
}

/// A worker's way to the correlator.
struct Giving {
    give: Sender<Given>,
    in_flight: Arc<InFlight>,
}

impl Giving {
    /// `false` when nobody listens any more, after an error downstream.
    fn give(&self, given: Given) -> bool {
        self.in_flight.add(given.reports.iter().map(Report::bytes).sum());
        self.give.send(given).is_ok()
    }
}

/// Messages that may wait for the correlator.
const GIVEN: usize = 64;

fn threaded<'a>(
    reader: &mut Reader,
    (source, progress): (&mut impl Source, impl FnMut(&dyn Source)),
    (options, shared): (&Options, &Arc<Shared>),
    mut correlator: Correlator<'a>,
) -> Result<(Vec<Worker>, Correlator<'a>), PipelineError> {
    let queue = options.queue.max(1);
    let (give, given) = bounded::<Given>(GIVEN);
    let in_flight = correlator.in_flight();
    thread::scope(|scope| {
        let correlating = scope.spawn(move || {
            for Given { worker, reports, upto } in given {
                for report in reports {
                    correlator.push(report);
                }
                match upto {
                    Some(order) => correlator.advance(worker, order)?,
                    None => correlator.close(worker)?,
                }
            }
            Ok::<_, PipelineError>(correlator)
        });
        let mut lanes = Vec::new();
        let mut workers = Vec::new();
        // A clock for the workers' end: what the reader says last.
        let (tell_end, end) = bounded::<Timestamp>(options.workers);
        for number in 0..options.workers.max(1) {
            let (to, from) = bounded::<Batch>(queue);
            let (give_back, back) = bounded::<Batch>(queue + 1);
            for _ in 0..queue {
                // There is room for all of them.
                let _ = give_back.send(Batch::default());
            }
            lanes.push((to, back));
            let (give, shared, end) = (give.clone(), Arc::clone(shared), end.clone());
            let jitter = options.jitter.map(|seed| seed.wrapping_add(u64::try_from(number).unwrap_or(0)));
            let give = Giving { give, in_flight: Arc::clone(&in_flight) };
            workers.push(scope.spawn(move || one_worker((number, jitter), shared, (&from, &give_back, &end), &give)));
        }
        drop((give, end));
        let mut dispatch = Threads::new(lanes, options.batch.max(1), in_flight);
        let read = reader.run(source, &mut dispatch, (shared.context.places(), progress));
        if let Ok(clock) = &read {
            for _ in 0..options.workers.max(1) {
                let _ = tell_end.send(*clock);
            }
        }
        drop((dispatch, tell_end));
        let workers: Vec<Worker> = workers.into_iter().filter_map(|worker| worker.join().ok()).collect();
        let correlator = correlating.join().map_err(|_| PipelineError::WorkerGone)?;
        // The first cause is downstream: a sink that cannot go on ends the workers, and these the reader.
        let correlator = correlator?;
        read?;
        if workers.len() < options.workers.max(1) {
            return Err(PipelineError::WorkerGone);
        }
        Ok((workers, correlator))
    })
}

fn one_worker(
    (number, jitter): (usize, Option<u64>),
    shared: Arc<Shared>,
    (from, back, end): (&Receiver<Batch>, &Sender<Batch>, &Receiver<Timestamp>),
    giving: &Giving,
) -> Worker {
    let mut worker = Worker::new(number, shared);
    let mut state = jitter;
    let taken = work(&mut worker, (from, back), |worker, order| {
        sleep_sometimes(&mut state);
        let reports = std::mem::take(&mut worker.reports);
        giving.give(Given { worker: number, reports, upto: Some(order) })
    });
    // Otherwise the reader learns of it by this worker's end, so that must not wait for the reader.
    if !taken {
        return worker;
    }
    if let Ok(clock) = end.recv() {
        worker.finish(clock);
    }
    let reports = std::mem::take(&mut worker.reports);
    giving.give(Given { worker: number, reports, upto: None });
    worker
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
