//! The capture's clock: the running maximum of packet times, guarded against single wild ones.

use crate::stats::Stats;
use crate::time::{Span, Timestamp};

/// Frames that may confirm a jump.
const WITNESSES: usize = 16;

/// How many must agree on it, the first included.
const NEEDED: usize = 4;

/// The clock of one reader.
#[derive(Debug)]
pub struct Clock {
    now: Option<Timestamp>,
    limit: Span,
    suspect: Option<Suspect>,
}

/// A jump that is in doubt: frames wait until it is decided.
#[derive(Debug, Default)]
struct Suspect {
    /// Times of the frames far ahead of the clock.
    ahead: Vec<Timestamp>,
    /// Frames that wait, with these.
    waiting: usize,
    /// Up to where times are believed, once that is decided.
    believed: Option<Timestamp>,
}

impl Suspect {
    /// The earliest time that enough others agree with: they lie within `limit` behind it.
    fn agreed(&self, limit: Span) -> Option<Timestamp> {
        let agree = |first: Timestamp| {
            let near = |time: &&Timestamp| **time >= first && time.since(first) <= limit;
            self.ahead.iter().filter(near).count() >= NEEDED
        };
        self.ahead.iter().copied().filter(|first| agree(*first)).min()
    }

    /// The last time, if several frames wait and each lies ahead of the one before: so may the end of a capture that was put
    /// together from others.
    fn ascent(&self) -> Option<Timestamp> {
        let several = self.ahead.len() > 1 && self.ahead.len() == self.waiting && self.ahead.is_sorted();
        self.ahead.last().copied().filter(|_| several)
    }
}

/// What a frame's time is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// It may be used.
    Known,
    /// It may not.
    Unknown,
    /// Far ahead of the clock: the frame must wait for those behind it.
    Doubt,
}

impl Clock {
    /// A clock that believes jumps of at most `limit` at once.
    pub fn new(limit: Span) -> Self {
        Self { now: None, limit, suspect: None }
    }

    /// The clock; the epoch before the first frame.
    pub fn now(&self) -> Timestamp {
        self.now.unwrap_or_default()
    }

    /// Whether what waits can be taken now.
    pub fn is_decided(&self) -> bool {
        self.suspect.as_ref().is_some_and(|suspect| suspect.believed.is_some())
    }

    /// Live: no packet came; the time is at least `now`.
    pub fn idle(&mut self, now: Timestamp) {
        self.now = Some(self.now.map_or(now, |clock| clock.max(now)));
    }

    /// A frame of this time, if nothing about it is unusual; `false` leaves it to [`Clock::tick`].
    #[inline(always)]
    pub fn advance(&mut self, time: Timestamp, known: bool) -> bool {
        let Some(now) = &mut self.now else { return false };
        if !known || self.suspect.is_some() {
            return false;
        }
        if time > *now {
            if time.0.checked_sub(now.0).is_none_or(|ahead| Span(ahead) > self.limit) {
                return false;
            }
            *now = time;
        }
        true
    }

    /// A frame of this time. While frames wait ([`Tick::Doubt`]) it waits behind them.
    pub fn tick(&mut self, time: Timestamp, known: bool) -> Tick {
        if let Some(suspect) = &mut self.suspect {
            suspect.waiting += 1;
            if known && self.now.is_some_and(|now| time.since(now) > self.limit) {
                suspect.ahead.push(time);
            }
            if let Some(first) = suspect.agreed(self.limit) {
                suspect.believed = Some(first.plus(self.limit));
            } else if suspect.waiting > WITNESSES {
                suspect.believed = Some(Timestamp::MIN);
            }
            return Tick::Doubt;
        }
        if !known {
            // The source counts them.
            self.now.get_or_insert(time);
            return Tick::Unknown;
        }
        let now = *self.now.get_or_insert(time);
        if time.since(now) > self.limit {
            self.suspect = Some(Suspect { ahead: vec![time], waiting: 1, believed: None });
            return Tick::Doubt;
        }
        self.now = Some(now.max(time));
        Tick::Known
    }

    /// Decides now: there is nobody else to ask.
    pub fn settle(&mut self) {
        if let Some(suspect) = self.suspect.as_mut().filter(|suspect| suspect.believed.is_none()) {
            suspect.believed = Some(suspect.ascent().unwrap_or(Timestamp::MIN));
        }
    }

    /// A frame that waited, once that is decided.
    pub fn recall(&mut self, time: Timestamp, known: bool, stats: &mut Stats) -> Tick {
        let now = self.now();
        let believed = self.suspect.as_ref().and_then(|suspect| suspect.believed).unwrap_or(Timestamp::MIN);
        if !known {
            return Tick::Unknown;
        }
        if time.since(now) > self.limit && time > believed {
            stats.capture_time_jump += 1;
            return Tick::Unknown;
        }
        self.now = Some(now.max(time));
        Tick::Known
    }

    /// Nothing waits any more.
    pub fn go_on(&mut self) {
        self.suspect = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the clock stands at the end, how many times were not believed, and all that were.
    fn run(times: &[i64]) -> (Timestamp, u64, Vec<i64>) {
        let mut clock = Clock::new(Span::seconds(3_600));
        let (mut stats, mut waiting, mut known) = (Stats::default(), Vec::new(), Vec::new());
        for (number, seconds) in times.iter().enumerate() {
            let time = Timestamp::new(*seconds, 0);
            match clock.tick(time, true) {
                Tick::Known => known.push(*seconds),
                Tick::Unknown => {}
                Tick::Doubt => waiting.push(*seconds),
            }
            if number + 1 == times.len() {
                clock.settle();
            }
            if clock.is_decided() {
                for seconds in waiting.drain(..) {
                    if clock.recall(Timestamp::new(seconds, 0), true, &mut stats) == Tick::Known {
                        known.push(seconds);
                    }
                }
                clock.go_on();
            }
        }
        assert!(waiting.is_empty());
        (clock.now(), stats.capture_time_jump, known)
    }

    #[test]
    fn clock_never_goes_back() {
        assert_eq!(run(&[100, 90, 101]), (Timestamp::new(101, 0), 0, vec![100, 90, 101]));
    }

    #[test]
    fn one_wild_time_is_not_believed() {
        let mut times = vec![100, 1_000_000];
        times.extend(101..130);
        let (now, jumps, known) = run(&times);
        assert_eq!((now, jumps), (Timestamp::new(129, 0), 1));
        times.remove(1);
        assert_eq!(known, times, "all others are, in order");
        assert_eq!(run(&[100, 1_000_000]), (Timestamp::new(100, 0), 1, vec![100]), "nor one at the end");
    }

    #[test]
    fn jump_that_others_confirm_is_believed_from_its_first_frame_on() {
        let times = [100, 1_000_000, 101, 1_000_001, 1_000_002, 1_000_003, 1_000_004];
        assert_eq!(run(&times), (Timestamp::new(1_000_004, 0), 0, times.to_vec()));
        // What is left at the end need only agree.
        assert_eq!(
            run(&[100, 1_000_000, 1_000_001]),
            (Timestamp::new(1_000_001, 0), 0, vec![100, 1_000_000, 1_000_001])
        );
        assert_eq!(run(&[100, 1_000_000, 101, 1_000_001]).2, [100, 101]);
        assert_eq!(run(&[100, 1_000_000, 999_999]).2, [100]);
        assert_eq!(run(&[100, 1_000_000, 2_000_000, 2_000_000]).2, [100, 1_000_000, 2_000_000, 2_000_000]);
        let on_the_way = [100, 1_000_000, 2_000_000, 2_000_001, 2_000_002, 2_000_003, 2_000_004];
        assert_eq!(run(&on_the_way), (Timestamp::new(2_000_004, 0), 0, on_the_way.to_vec()));
    }

    #[test]
    fn a_wild_time_among_those_that_confirm_a_jump_is_not_believed() {
        let times = [100, 9_000_000, 1_000_000, 1_000_001, 8_000_000, 1_000_002, 1_000_003, 1_000_004];
        let expected = vec![100, 1_000_000, 1_000_001, 1_000_002, 1_000_003, 1_000_004];
        assert_eq!(run(&times), (Timestamp::new(1_000_004, 0), 2, expected));
    }

    #[test]
    fn live_the_time_of_day_decides() {
        let mut clock = Clock::new(Span::seconds(3_600));
        let mut stats = Stats::default();
        clock.tick(Timestamp::new(100, 0), true);
        assert_eq!(clock.tick(Timestamp::new(1_000_000, 0), true), Tick::Doubt);
        clock.idle(Timestamp::new(1_000_001, 0));
        clock.settle();
        assert_eq!(clock.recall(Timestamp::new(1_000_000, 0), true, &mut stats), Tick::Known);
    }
}
