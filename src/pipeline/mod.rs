//! Threads, channels, batches, order: from a source to the sinks.
//!
//! The reader ([`reader`]) runs in the calling thread. With one worker everything runs there, without channels; with more,
//! there are as many threads, the calling one among them, and each does what there is to do. The output is the same in every
//! case.

pub mod batch;
pub mod clock;
pub mod correlator;
mod deadlines;
pub mod dispatch;
pub mod judgement;
mod lanes;
pub mod merge;
mod outlet;
pub mod reader;
pub mod spent;
pub mod worker;

use std::net::IpAddr;
use std::sync::Arc;

use crate::capture::{CaptureError, Source};
use crate::config::Limits;
use crate::detect::catalogue::Severity;
use crate::detect::observation::Observation;
use crate::event::Context;
use crate::packet::ChecksumMode;
use crate::sink::{Sink, SinkError};
use crate::stats::Stats;
use crate::time::Timestamp;
use crate::x509::cache::CertificateCache;

use correlator::Correlator;
use dispatch::Inline;
use judgement::{Judgement, Judging};
use reader::Reader;
use spent::Spent;
use worker::Shared;

/// How a run is done. None of it changes the output but `limits`, `checksums`, `selection` and the context.
#[derive(Debug)]
pub struct Options {
    /// Limits and timeouts.
    pub limits: Limits,
    /// What to do about transport checksums.
    pub checksums: ChecksumMode,
    /// Threads that follow connections, the calling one among them; with one, everything runs in it.
    pub workers: usize,
    /// Segments for one lane after which a round ends.
    pub batch: usize,
    /// Rounds that the reader may be ahead of a lane.
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
            queue: 4,
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
    let inline = options.workers <= 1 && options.jitter.is_none();
    let workers = if inline { 1 } else { lanes::count(options.workers) };
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
    let (gone, mut correlator) = if inline {
        let mut dispatch = Inline::new(Arc::clone(&shared), correlator, options.batch.max(1));
        let clock = reader.run(source, &mut dispatch, (shared.context.places(), progress))?;
        let (worker, correlator) = dispatch.finish(clock)?;
        (vec![worker], correlator)
    } else {
        lanes::run(&mut reader, (source, progress), (options, &shared), correlator)?
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
