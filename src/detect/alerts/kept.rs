//! What becomes of alerts beyond the run: one that goes on where an earlier run ended says what that one knew, and what is
//! only counted until a window ends is kept meanwhile, so that a crash costs no more of it than of anything else.

use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;

use super::{Alert, Alerts, CauseKey, Told, When};
use crate::detect::catalogue::rule;
use crate::detect::hosts::SAVE_EVERY;
use crate::time::{Span, Timestamp};

/// Hosts, clients and alerts that are kept in one go; what is beyond comes with the next.
const AT_ONE_GO: usize = 16_384;

/// What earlier runs knew of a cause beyond its numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// Hosts.
    pub hosts: Vec<Arc<str>>,
    /// Clients.
    pub clients: Vec<IpAddr>,
    /// Ids of rules.
    pub rules: Vec<String>,
    /// Of hosts, and of clients, there were more.
    pub more: (bool, bool),
    /// The last line.
    pub line: Option<Line>,
}

/// What a line about a cause said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Handshakes.
    pub count: u64,
    /// Hosts.
    pub hosts: usize,
    /// Packet time of the last of them.
    pub last: Timestamp,
}

/// How much of an alert is kept.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kept {
    count: u64,
    listed: usize,
}

/// What is kept, and where to go on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Keeping {
    last: Option<Timestamp>,
    behind: Option<(Timestamp, CauseKey)>,
}

impl Alert {
    /// Adds what earlier runs knew of it.
    pub(super) fn recall(&mut self, before: Before, most: usize) {
        let Before { hosts, clients, rules, more, line: _ } = before;
        hosts.into_iter().for_each(|host| self.hosts.insert(host, most));
        clients.into_iter().for_each(|client| self.clients.insert(client, most));
        self.hosts.note_more(more.0);
        self.clients.note_more(more.1);
        // A rule that no longer exists is in no catalogue.
        self.rules.extend(rules.iter().filter_map(|id| rule(id)).map(|rule| rule.id));
    }

    /// As it happens: an earlier run told of the cause, and this one goes on from there. Within the window it is only
    /// counted.
    pub(super) fn go_on(&mut self, (clock, most): (Timestamp, usize), before: impl FnOnce() -> Before) {
        let Some(earlier) = self.earlier.filter(|earlier| earlier.first <= clock) else { return };
        let before = before();
        let hosts = before.hosts.len();
        let line = before.line.unwrap_or(Line { count: earlier.count, hosts, last: earlier.last });
        let window_ends = line.last.plus(self.window());
        if clock < window_ends {
            self.told = Some(Told { severity: earlier.severity, count: line.count, hosts: line.hosts, window_ends });
        }
        self.goes_on = true;
        self.count = self.count.saturating_add(earlier.count);
        self.first_seen = self.first_seen.min(earlier.first);
        self.severity = self.severity.max(earlier.severity);
        self.recall(before, most);
    }

    /// How many rows it takes to keep what came since it was kept last.
    fn unkept(&self) -> usize {
        let lists = if self.about() == self.kept.listed { 0 } else { self.about() };
        if self.suppressed || self.told.is_none() || self.count == self.kept.count {
            0
        } else {
            lists.saturating_add(1)
        }
    }

    fn about(&self) -> usize {
        self.hosts.len().saturating_add(self.clients.len()).saturating_add(self.rules.len())
    }

    /// All of it is kept.
    pub(super) fn note_kept(&mut self) {
        self.kept = Kept { count: self.count, listed: self.about() };
    }
}

impl Alerts {
    /// Live: what was only counted since it was told is kept, if that is due. It is told when its window ends.
    pub fn save(&mut self, clock: Timestamp) {
        let Some(backing) = self.backing.as_deref().filter(|_| self.when == When::AtOnce) else { return };
        let last = *self.keeping.last.get_or_insert(clock);
        if clock.since(last) < Span(SAVE_EVERY) {
            return;
        }
        self.keeping.last = Some(clock);
        let from = self.keeping.behind.take().map_or(Bound::Unbounded, Bound::Excluded);
        let mut room = AT_ONE_GO;
        for (ends, key) in self.waiting.range((from, Bound::Unbounded)) {
            let Some(alert) = self.causes.get_mut(key) else { continue };
            let rows = alert.unkept();
            if rows == 0 {
                continue;
            }
            backing.counted(alert, rows > 1);
            alert.note_kept();
            room = room.saturating_sub(rows);
            if room == 0 {
                self.keeping.behind = Some((*ends, *key));
                break;
            }
        }
    }
}
