//! Everything that depends on order: what was seen before, and the order of the output. In one thread at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::detect::catalogue::Severity;
use crate::detect::memory::Memory;
use crate::event::{self, AlertView, CertificateView, Role, Side, StatsView};
use crate::pipeline::judgement::{Due, Judgement};
use crate::pipeline::merge::Merge;
use crate::pipeline::worker::{Report, Shared};
use crate::pipeline::{PipelineError, Selection};
use crate::sink::{About, Event, Lost, Sink};
use crate::stats::Stats;
use crate::time::{Order, Timestamp};
use crate::x509::Sha256;

/// Certificates in a role that are remembered as told.
const TOLD: usize = 1_000_000;

/// Bytes of reports that workers have made and no sink has taken yet. The reader waits when they are too many.
#[derive(Debug, Default)]
pub struct InFlight {
    bytes: AtomicUsize,
}

impl InFlight {
    /// Bytes now.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    /// Reports of so many bytes were made.
    pub fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    fn subtract(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
    }
}

/// What judgement came to.
#[derive(Clone, Debug, Default)]
pub struct Conclusion {
    /// Gravest severity of the alerts that no suppression silences.
    pub gravest: Option<Severity>,
    /// Why there is no alert about the host that was asked for.
    pub why_not: Option<String>,
}

/// Puts the reports of all workers in order and hands their events to the sinks.
pub struct Correlator<'a> {
    shared: Arc<Shared>,
    merge: Merge<Report>,
    selection: Selection,
    sinks: Vec<Box<dyn Sink + Send + 'a>>,
    told: Memory<(Sha256, Side, Role), ()>,
    // Boxed: it is taken out and put back for every handshake.
    judgement: Option<Box<Judgement>>,
    line: Vec<u8>,
    /// What the lines of alerts have in common.
    alert_memo: event::Memo,
    /// Reports of each worker that were written and not given back yet.
    spent: Vec<Vec<Report>>,
    /// Whether sinks are flushed at the end of every round.
    pub flush_rounds: bool,
    in_flight: Arc<InFlight>,
    /// The last demand for counters that was answered, and how often counters were told.
    answered: u64,
    told_counters: u64,
    /// Counters of the correlator.
    pub stats: Stats,
}

impl std::fmt::Debug for Correlator<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Correlator")
            .field("merge", &self.merge)
            .field("sinks", &self.sinks.len())
            .finish_non_exhaustive()
    }
}

impl Drop for Correlator<'_> {
    fn drop(&mut self) {
        // Nobody takes them any more: the reader must not wait for that.
        self.in_flight.bytes.store(0, Ordering::Release);
    }
}

impl<'a> Correlator<'a> {
    /// For this many workers, with or without judgement; events go to `sinks`.
    pub fn new(
        shared: Arc<Shared>,
        (workers, judgement): (usize, Option<Judgement>),
        (selection, sinks): (Selection, Vec<Box<dyn Sink + Send + 'a>>),
    ) -> Self {
        Self {
            shared,
            merge: Merge::new(workers),
            selection,
            sinks,
            told: Memory::new(TOLD),
            judgement: judgement.map(Box::new),
            line: Vec::new(),
            alert_memo: event::Memo::default(),
            spent: (0..workers).map(|_| Vec::new()).collect(),
            flush_rounds: false,
            in_flight: Arc::default(),
            answered: 0,
            told_counters: 0,
            stats: Stats::default(),
        }
    }

    /// What of this correlator is in flight; whoever pushes a report has added its bytes.
    pub fn in_flight(&self) -> Arc<InFlight> {
        Arc::clone(&self.in_flight)
    }

    /// Takes a report of any worker, in any order.
    pub fn push(&mut self, report: Report) {
        self.merge.push(report);
    }

    /// `worker` has given everything up to `order`.
    ///
    /// # Errors
    /// When a sink cannot go on.
    pub fn advance(&mut self, worker: usize, order: Order) -> Result<(), PipelineError> {
        self.merge.advance(worker, order);
        self.release()?;
        if !self.flush_rounds {
            return Ok(());
        }
        if let Some(mut judgement) = self.judgement.take() {
            let mut due = judgement.save(order.clock);
            if let Some(safe) = self.merge.safe() {
                due.append(&mut judgement.advance(safe.clock));
            }
            self.alerts(&judgement, &due)?;
            self.judgement = Some(judgement);
        }
        let demand = self.shared.context.places().demand();
        if demand.asked() > self.answered
            && let Some((mut stats, span)) = demand.sum(&mut self.answered, self.spent.len())
        {
            self.count();
            stats.add(&self.stats);
            self.counters(&stats, span)?;
        }
        for sink in &mut self.sinks {
            sink.tick(order.clock)?;
        }
        self.flush()
    }

    /// `worker` will give nothing more.
    ///
    /// # Errors
    /// When a sink cannot go on.
    pub fn close(&mut self, worker: usize) -> Result<(), PipelineError> {
        self.merge.close(worker);
        self.release()
    }

    /// The input is over at `clock`: alerts are told, and how grave they are.
    ///
    /// # Errors
    /// When a sink cannot go on.
    pub fn conclude(&mut self, clock: Timestamp) -> Result<Conclusion, PipelineError> {
        let mut conclusion = Conclusion::default();
        if let Some(mut judgement) = self.judgement.take() {
            let due = judgement.finish(clock);
            self.alerts(&judgement, &due)?;
            conclusion = Conclusion { gravest: judgement.gravest(), why_not: judgement.why_not() };
            self.judgement = Some(judgement);
        }
        self.count();
        self.judgement = None;
        Ok(conclusion)
    }

    /// Counts what judgement and the sinks have counted so far.
    fn count(&mut self) {
        if let Some(judgement) = &self.judgement {
            judgement.count(&mut self.stats);
        }
        let lost = self.sinks.iter().map(|sink| sink.lost());
        let sum = lost.fold(Lost::default(), |sum, lost| Lost {
            handshakes: sum.handshakes + lost.handshakes,
            certificates: sum.certificates + lost.certificates,
            alerts: sum.alerts + lost.alerts,
            inventory: sum.inventory + lost.inventory,
        });
        self.stats.output_lost_handshakes = sum.handshakes;
        self.stats.output_lost_certificates = sum.certificates;
        self.stats.output_lost_alerts = sum.alerts;
        self.stats.output_lost_inventory = sum.inventory;
    }

    /// The last event of a run: all counters. Then everything is flushed.
    ///
    /// # Errors
    /// When a sink cannot go on.
    pub fn finish(&mut self, stats: &Stats, (start, end): (Timestamp, Timestamp)) -> Result<(), PipelineError> {
        self.counters(stats, (start, end))?;
        // One that cannot go on must not keep the others from their end.
        let finished: Vec<_> = self.sinks.iter_mut().map(|sink| sink.finish()).collect();
        Ok(finished.into_iter().collect::<Result<(), _>>()?)
    }

    fn counters(&mut self, stats: &Stats, (start, end): (Timestamp, Timestamp)) -> Result<(), PipelineError> {
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        let view = StatsView { stats, start, end, sequence: self.told_counters };
        event::append_stats(&mut line, &view, &self.shared.context);
        self.told_counters += 1;
        self.write(&line, About::Stats(stats))?;
        self.line = line;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), PipelineError> {
        for sink in &mut self.sinks {
            sink.flush()?;
        }
        Ok(())
    }

    fn release(&mut self) -> Result<(), PipelineError> {
        while let Some(report) = self.merge.pop_ready() {
            self.handshake(&report)?;
            self.in_flight.subtract(report.bytes());
            if let Some(spent) = self.spent.get_mut(report.worker) {
                spent.push(report);
            }
        }
        for (worker, spent) in self.spent.iter_mut().enumerate() {
            self.shared.spent.give(worker, spent);
        }
        Ok(())
    }

    fn handshake(&mut self, report: &Report) -> Result<(), PipelineError> {
        let observation = report.observation.as_ref();
        let selected = self.selection.takes(observation);
        if selected {
            self.write(&report.line, About::Handshake(observation))?;
        } else {
            self.stats.tls_unselected += 1;
        }
        let clock = report.order.clock;
        let mut judgement = self.judgement.take();
        let due = judgement.as_mut().map(|judgement| judgement.observe(observation, (clock, selected)));
        for (side, chain) in [(Side::Server, &observation.server_chain), (Side::Client, &observation.client_chain)] {
            for position in 0..chain.len() {
                if let Some(view) = CertificateView::first(observation, side, position).filter(|_| selected) {
                    self.certificate(&view, judgement.as_deref())?;
                }
            }
        }
        if let (Some(judgement), Some(due)) = (&judgement, &due) {
            self.alerts(judgement, due)?;
        }
        self.judgement = judgement;
        Ok(())
    }

    fn alerts(&mut self, judgement: &Judgement, due: &Due) -> Result<(), PipelineError> {
        for (key, status) in due {
            let Some(alert) = judgement.alerts.get(key) else { continue };
            let view = AlertView { alert, status: *status };
            let mut line = std::mem::take(&mut self.line);
            line.clear();
            event::append_alert(&mut line, &view, &self.shared.context, &mut self.alert_memo);
            self.write(&line, About::Alert(&view))?;
            self.line = line;
        }
        Ok(())
    }

    fn certificate(&mut self, view: &CertificateView<'_>, judgement: Option<&Judgement>) -> Result<(), PipelineError> {
        let key = (view.certificate.sha256, view.side, view.role);
        if self.told.contains(&key) {
            return Ok(());
        }
        self.told.insert(key, ());
        let (marks, change) = judgement.map_or((Vec::new(), None), |judgement| judgement.marks(&key.0));
        let view = CertificateView { marks: &marks, change, ..*view };
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        event::append_certificate(&mut line, &view, &self.shared.context);
        let written = self.write(&line, About::Certificate(&view));
        self.line = line;
        written
    }

    fn write(&mut self, line: &[u8], about: About<'_>) -> Result<(), PipelineError> {
        for sink in &mut self.sinks {
            sink.write(&Event { line, about })?;
        }
        Ok(())
    }
}
