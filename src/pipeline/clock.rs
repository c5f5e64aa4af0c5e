//! The capture's clock: the running maximum of packet times, guarded against single wild ones.

use crate::flow::FlowRef;
use crate::stats::Stats;
use crate::time::{Span, Timestamp};

/// Frames that may confirm a jump.
const WITNESSES: u8 = 16;

/// Of these, how many must agree.
const NEEDED: u8 = 3;

/// The clock of one reader.
#[derive(Debug)]
pub struct Clock {
    now: Option<Timestamp>,
    limit: Span,
    suspect: Option<Suspect>,
}

/// A frame far ahead of the clock, not yet believed.
#[derive(Debug)]
struct Suspect {
    agreed: u8,
    seen: u8,
    earliest: Timestamp,
    flows: Vec<FlowRef>,
}

/// What a frame did to the clock.
#[derive(Debug, Default)]
pub struct Tick {
    /// The frame's time may be used.
    pub time_known: bool,
    /// The clock jumped: flows that were seen while the jump was in doubt.
    pub confirmed: Option<Vec<FlowRef>>,
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

    /// Whether a jump is in doubt.
    pub fn is_suspect(&self) -> bool {
        self.suspect.is_some()
    }

    /// A flow was seen while a jump is in doubt.
    pub fn remember(&mut self, flow: FlowRef) {
        if let Some(suspect) = &mut self.suspect
            && !suspect.flows.contains(&flow)
        {
            suspect.flows.push(flow);
        }
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

    /// A frame of this time.
    pub fn tick(&mut self, time: Timestamp, known: bool, stats: &mut Stats) -> Tick {
        if !known {
            // The source counts them.
            self.now.get_or_insert(time);
            return Tick::default();
        }
        let Some(now) = self.now else {
            self.now = Some(time);
            return Tick { time_known: true, confirmed: None };
        };
        let wild = time.since(now) > self.limit;
        if !wild && self.suspect.is_none() {
            if time > now {
                self.now = Some(time);
            }
            return Tick { time_known: true, confirmed: None };
        }
        self.doubt(time, wild, stats)
    }

    #[cold]
    fn doubt(&mut self, time: Timestamp, wild: bool, stats: &mut Stats) -> Tick {
        if !wild && self.now.is_some_and(|now| time > now) {
            self.now = Some(time);
        }
        let Some(suspect) = &mut self.suspect else {
            self.suspect = Some(Suspect { agreed: 0, seen: 0, earliest: time, flows: Vec::new() });
            stats.capture_time_jump += 1;
            return Tick::default();
        };
        suspect.seen += 1;
        if wild {
            suspect.agreed += 1;
            suspect.earliest = suspect.earliest.min(time);
        }
        if suspect.agreed >= NEEDED {
            let flows = std::mem::take(&mut suspect.flows);
            self.now = Some(time.max(suspect.earliest));
            stats.capture_time_jump = stats.capture_time_jump.saturating_sub(1);
            self.suspect = None;
            return Tick { time_known: true, confirmed: Some(flows) };
        }
        if suspect.seen >= WITNESSES {
            self.suspect = None;
        }
        Tick { time_known: !wild, confirmed: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(times: &[i64]) -> (Timestamp, u64) {
        let mut clock = Clock::new(Span::seconds(3_600));
        let mut stats = Stats::default();
        for seconds in times {
            clock.tick(Timestamp::new(*seconds, 0), true, &mut stats);
        }
        (clock.now(), stats.capture_time_jump)
    }

    #[test]
    fn clock_never_goes_back() {
        assert_eq!(run(&[100, 90, 101]), (Timestamp::new(101, 0), 0));
    }

    #[test]
    fn one_wild_time_is_not_believed() {
        let mut times = vec![100, 1_000_000];
        times.extend(101..130);
        assert_eq!(run(&times), (Timestamp::new(129, 0), 1));
    }

    #[test]
    fn jump_that_others_confirm_is_believed() {
        assert_eq!(run(&[100, 1_000_000, 1_000_001, 1_000_002, 1_000_003]), (Timestamp::new(1_000_003, 0), 0));
    }
}
