//! The way from the workers of several threads to the correlator, which goes to whoever has done something else.
//!
//! A thread of its own would be one more than there are processors, and what it reads would lie in the cache of another one:
//! a line is best written where it was made. So the correlator lies on a desk, with what waits for it, and the desk is with
//! one thread at a time. Nothing is left waiting: a thread that was refused the desk was refused by one that looks again
//! after it has put the desk back, and a thread that waits for room takes the desk as soon as nobody has it.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select};

use crate::pipeline::PipelineError;
use crate::pipeline::correlator::{Correlator, InFlight};
use crate::pipeline::worker::Report;
use crate::time::Order;

/// What a worker has to give after each round.
#[derive(Debug)]
pub(super) struct Given {
    /// Number of the worker.
    pub(super) worker: usize,
    /// What it made.
    pub(super) reports: Vec<Report>,
    /// It has given everything up to here. `None`: it has ended.
    pub(super) upto: Option<Order>,
}

/// Messages that may wait for the correlator.
const GIVEN: usize = 64;

/// The correlator, and what it is given. Without it nobody can give anything any more.
#[derive(Debug)]
struct Desk<'a> {
    given: Receiver<Given>,
    correlator: Result<Correlator<'a>, PipelineError>,
}

/// What came of taking the correlator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// What waited was done.
    Did,
    /// Another thread does it.
    Others,
    /// The correlator cannot go on.
    Over,
}

/// One end for each thread and each worker.
#[derive(Clone, Debug)]
pub(super) struct Outlet<'a> {
    give: Sender<Given>,
    /// The desk, while no thread has it.
    desk: (Sender<Box<Desk<'a>>>, Receiver<Box<Desk<'a>>>),
    in_flight: Arc<InFlight>,
}

impl<'a> Outlet<'a> {
    /// To this correlator.
    pub(super) fn new(correlator: Correlator<'a>) -> Self {
        let (give, given) = bounded(GIVEN);
        let desk = bounded(1);
        let in_flight = correlator.in_flight();
        let outlet = Self { give, desk, in_flight };
        outlet.put_back(Box::new(Desk { given, correlator: Ok(correlator) }));
        outlet
    }

    /// Bytes of reports that no sink has taken yet.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.bytes()
    }

    /// Gives what a worker made; `false` when nobody takes it any more. Should too much wait, it does what there is to do.
    pub(super) fn give(&self, given: Given) -> bool {
        self.in_flight.add(given.reports.iter().map(Report::bytes).sum());
        let mut given = given;
        loop {
            match self.give.try_send(given) {
                Ok(()) => return true,
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(back)) if self.correlate() => given = back,
                // Whoever has the desk makes room; but what fills that again may be the reader's, who does not look again.
                Err(TrySendError::Full(back)) => select! {
                    send(self.give, back) -> sent => return sent.is_ok(),
                    recv(self.desk.1) -> desk => {
                        if let Ok(desk) = desk {
                            self.take_turn(desk, self.give.len());
                        }
                        given = back;
                    }
                },
            }
        }
    }

    /// Lets the correlator do all that waits. `false`: another thread does so.
    pub(super) fn correlate(&self) -> bool {
        while !self.give.is_empty() {
            match self.correlate_some() {
                Turn::Did => {}
                Turn::Others => return false,
                // What waited may seem to wait still.
                Turn::Over => return true,
            }
        }
        true
    }

    /// Lets the correlator do what waits now, of what may become more all the time.
    fn correlate_some(&self) -> Turn {
        let waiting = self.give.len();
        if waiting == 0 {
            return Turn::Did;
        }
        let Ok(desk) = self.desk.1.try_recv() else { return Turn::Others };
        self.take_turn(desk, waiting)
    }

    fn take_turn(&self, mut desk: Box<Desk<'a>>, most: usize) -> Turn {
        let turn = desk.take(most);
        self.put_back(desk);
        turn
    }

    /// Everything was given: what is left of the correlator. No other thread may have an outlet.
    ///
    /// # Errors
    /// When a sink cannot go on, or a thread fell with the desk.
    pub(super) fn end(self) -> Result<Correlator<'a>, PipelineError> {
        self.correlate();
        let desk = self.desk.1.try_recv().map_err(|_| PipelineError::WorkerGone)?;
        desk.correlator
    }

    fn put_back(&self, desk: Box<Desk<'a>>) {
        // There is one desk, and room for it.
        let _ = self.desk.0.try_send(desk);
    }
}

impl Desk<'_> {
    /// Takes up to so many messages. If the correlator cannot go on, nobody can give anything from then on.
    fn take(&mut self, most: usize) -> Turn {
        let Ok(correlator) = &mut self.correlator else { return Turn::Over };
        for Given { worker, reports, upto } in self.given.try_iter().take(most) {
            for report in reports {
                correlator.push(report);
            }
            let taken = match upto {
                Some(order) => correlator.advance(worker, order),
                None => correlator.close(worker),
            };
            if let Err(error) = taken {
                self.correlator = Err(error);
                self.given = bounded(0).1;
                return Turn::Over;
            }
        }
        Turn::Did
    }
}

#[cfg(test)]
use {
    crate::config::Limits,
    crate::event::Context,
    crate::pipeline::{Selection, spent::Spent, worker::Shared},
    crate::x509::cache::CertificateCache,
};

#[cfg(test)]
impl<'a> Outlet<'a> {
    /// To a correlator of so many workers, without judgement; and what these share.
    pub(super) fn of(workers: usize, sinks: Vec<Box<dyn crate::sink::Sink + Send + 'a>>) -> (Self, Arc<Shared>) {
        let limits = Limits::default();
        let shared = Arc::new(Shared {
            certificates: CertificateCache::new(limits.memo_bytes),
            context: Context::default(),
            limits,
            proofs: false,
            spent: Spent::new(workers),
            judged: false,
        });
        let correlator = Correlator::new(Arc::clone(&shared), (workers, None), (Selection::default(), sinks));
        (Self::new(correlator), shared)
    }

    /// As if another thread had the desk.
    pub(super) fn take_desk(&self) -> TakenDesk<'a> {
        TakenDesk(self.desk.1.try_recv().unwrap())
    }
}

#[cfg(test)]
pub(super) struct TakenDesk<'a>(Box<Desk<'a>>);

#[cfg(test)]
impl TakenDesk<'_> {
    pub(super) fn given(&self) -> Vec<Given> {
        self.0.given.try_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::detect::testing::Scene;
    use crate::sink::{Event, Sink, SinkError};
    use crate::time::Timestamp;

    /// Hands on the lines it gets until it has had enough of them; sometimes slow.
    struct Lines {
        to: Sender<String>,
        room: usize,
        panics: bool,
    }

    impl Sink for Lines {
        fn write(&mut self, event: &Event<'_>) -> Result<(), SinkError> {
            if self.room == 0 {
                assert!(!self.panics);
                return Err(SinkError::Closed);
            }
            self.room -= 1;
            if self.room.is_multiple_of(50) {
                thread::sleep(Duration::from_millis(1));
            }
            self.to.send(String::from_utf8_lossy(event.line).into_owned()).unwrap();
            Ok(())
        }

        fn flush(&mut self) -> Result<(), SinkError> {
            Ok(())
        }
    }

    const WORKERS: usize = 3;
    const ROUNDS: u64 = 200;

    /// Each of three workers gives two hundred reports, in threads that correlate or not; what came out, whether all could
    /// give all, and how it ended.
    fn run(
        correlating: [bool; WORKERS],
        (room, panics): (usize, bool),
    ) -> (Vec<String>, bool, Result<(), PipelineError>) {
        let (to, lines) = bounded(WORKERS * 200);
        let (outlet, _) = Outlet::of(WORKERS, vec![Box::new(Lines { to, room, panics })]);
        let all = thread::scope(|scope| {
            let threads = correlating.into_iter().enumerate().map(|(worker, correlates)| {
                let outlet = outlet.clone();
                scope.spawn(move || {
                    let gave = (0..ROUNDS).all(|round| {
                        let order =
                            Order { clock: Timestamp(1), frame: round, ordinal: u32::try_from(worker).unwrap() };
                        let observation = Scene::new(&[]).handshake("192.0.2.1", "198.51.100.1", &[]);
                        let line = format!("{round:03} {worker}").into_bytes();
                        let reports = vec![Report::new(worker, (order, line), Box::new(observation))];
                        let gave = outlet.give(Given { worker, reports, upto: Some(order) });
                        if correlates {
                            outlet.correlate();
                        }
                        gave
                    });
                    let ended = outlet.give(Given { worker, reports: Vec::new(), upto: None });
                    if correlates {
                        outlet.correlate();
                    }
                    gave && ended
                })
            });
            let threads: Vec<_> = threads.collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or(false)).collect::<Vec<_>>()
        });
        let ended = outlet.end().map(drop);
        (lines.try_iter().collect(), all.into_iter().all(|all| all), ended)
    }

    #[test]
    fn all_that_is_given_comes_out_in_order_whoever_writes_it() {
        let expected: Vec<_> =
            (0..ROUNDS).flat_map(|round| (0..WORKERS).map(move |w| format!("{round:03} {w}"))).collect();
        for correlating in [[true; 3], [true, false, false], [false, true, true], [false; 3]] {
            let (lines, all, ended) = run(correlating, (usize::MAX, false));
            assert!(all && ended.is_ok(), "{correlating:?}: {ended:?}");
            assert_eq!(lines, expected, "{correlating:?}");
        }
    }

    #[test]
    fn who_waits_for_room_takes_a_desk_that_nobody_has() {
        let (outlet, _) = Outlet::of(1, Vec::new());
        let nothing = || Given { worker: 0, reports: Vec::new(), upto: Some(Order::default()) };
        let desk = outlet.take_desk();
        (0..GIVEN).for_each(|_| assert!(outlet.give(nothing())));
        let (to, gave) = bounded(1);
        let gave = thread::scope(|scope| {
            scope.spawn(|| to.send(outlet.give(nothing())).unwrap());
            thread::sleep(Duration::from_millis(50));
            // By one who does not look again, as the reader when what it gave itself has filled the queue.
            outlet.put_back(desk.0);
            let gave = gave.recv_timeout(Duration::from_secs(10));
            outlet.correlate();
            gave
        });
        assert_eq!(gave, Ok(true));
    }

    #[test]
    fn a_sink_that_cannot_go_on_ends_all_and_is_the_cause() {
        for (room, correlating) in [(0, [true; 3]), (77, [true; 3]), (100, [false; 3]), (3, [false, true, false])] {
            let (lines, all, ended) = run(correlating, (room, false));
            assert!(!all && matches!(ended, Err(PipelineError::Sink(SinkError::Closed))), "{room}: {ended:?}");
            assert_eq!(lines.len(), room);
        }
    }

    #[test]
    fn a_thread_that_falls_with_the_desk_ends_all() {
        let (lines, all, ended) = run([true; 3], (50, true));
        assert!(!all && matches!(ended, Err(PipelineError::WorkerGone)), "{ended:?}");
        assert_eq!(lines.len(), 50);
    }
}
