//! Puts datagrams together from IP fragments (RFC 791 section 3.2, RFC 8200 section 4.5), within bounds.
//!
//! Fragments that overlap are an attack or a broken stack: hosts differ in what they make of them, so the datagram is
//! dropped (RFC 5722, RFC 8900). A fragment that comes twice, as a mirror of both sides gives it, is no overlap.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use foldhash::fast::RandomState;

use crate::config::Limits;
use crate::stats::Stats;
use crate::time::{Span, Timestamp};

use super::ip::FragmentHeader;
use super::walk::{IpFacts, Stop};

/// Bytes of the longest datagram (RFC 791 section 3.1).
const MAX_DATAGRAM: usize = 65_535;

/// Fragments of one datagram; of the smallest MTU that is in use (576), the longest has 120.
const MAX_PARTS: usize = 1_024;

/// Bytes of bookkeeping that count against the memory of the defragmenter, per datagram and per fragment.
const OVERHEAD: usize = 64;

/// A fragment as the walk met it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment<'a> {
    pub(super) ip: IpFacts,
    pub(super) header: FragmentHeader,
    pub(super) virtual_network: u32,
    pub(super) data: &'a [u8],
    pub(super) now: Timestamp,
}

/// What a whole datagram has from its first fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) protocol: u8,
    pub(super) hop_limit: u8,
}

/// Datagrams that wait for fragments.
#[derive(Debug)]
pub(super) struct Defragmenter {
    datagrams: HashMap<Key, Datagram, RandomState>,
    /// Keys with serial numbers, oldest first; entries of datagrams that are gone are passed over.
    queue: VecDeque<(Key, u64)>,
    serial: u64,
    bytes: usize,
    max_datagrams: usize,
    max_bytes: usize,
    timeout: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    id: u32,
    /// The protocol in IPv4; none in IPv6, where only the first fragment's counts.
    protocol: Option<u8>,
    virtual_network: u32,
}

#[derive(Debug)]
struct Datagram {
    serial: u64,
    since: Timestamp,
    /// Bytes as they came.
    bytes: Vec<u8>,
    /// Where they belong, in order of position.
    parts: Vec<Part>,
    /// Length of the whole, once the last fragment has come.
    total: Option<usize>,
    first: Option<Whole>,
    /// It had overlaps: what comes later is dropped too.
    poisoned: bool,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    /// Position in the datagram.
    start: usize,
    length: usize,
    /// Position in [`Datagram::bytes`].
    stored: usize,
}

/// What a fragment did to its datagram.
enum Fit {
    Kept,
    Repeated,
    Overlap,
}

impl Defragmenter {
    /// Without datagrams.
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            datagrams: HashMap::default(),
            queue: VecDeque::new(),
            serial: 0,
            bytes: 0,
            max_datagrams: limits.fragmented_datagrams.max(1),
            max_bytes: limits.fragment_bytes,
            timeout: limits.fragment_timeout,
        }
    }

    /// Takes a fragment. When it makes a datagram whole, this is written over `whole`; else it is
    /// `Err(Stop::Fragment)`.
    pub(super) fn add(
        &mut self,
        fragment: &Fragment<'_>,
        whole: &mut Vec<u8>,
        stats: &mut Stats,
    ) -> Result<Whole, Stop> {
        self.expire(fragment.now, stats);
        let FragmentHeader { offset, more, protocol, id } = fragment.header;
        let end = offset.saturating_add(fragment.data.len());
        if fragment.data.is_empty() || end > MAX_DATAGRAM || (more && !fragment.data.len().is_multiple_of(8)) {
            return Err(Stop::Malformed);
        }
        let key = Key {
            source: fragment.ip.source,
            destination: fragment.ip.destination,
            id,
            protocol: fragment.ip.id.map(|_| protocol),
            virtual_network: fragment.virtual_network,
        };
        if self.datagrams.get(&key).is_some_and(|datagram| self.is_over(datagram.since, fragment.now)) {
            self.give_up(&key, &mut stats.fragment_expired);
        }
        self.make_room(&key, fragment.data.len(), stats);
        let serial = self.serial;
        let datagram = self.datagrams.entry(key).or_insert_with(|| Datagram::new(serial, fragment.now));
        if datagram.serial == serial {
            self.serial += 1;
            self.queue.push_back((key, serial));
            self.bytes += OVERHEAD;
        }
        if datagram.poisoned {
            return Err(Stop::Fragment);
        }
        let before = datagram.cost();
        let fit = datagram.fit(fragment);
        self.bytes = (self.bytes + datagram.cost()).saturating_sub(before);
        match fit {
            Fit::Kept => {}
            Fit::Repeated => return Err(Stop::Fragment),
            Fit::Overlap => {
                stats.fragment_overlap += 1;
                return Err(Stop::Fragment);
            }
        }
        let Some(found) = datagram.whole_into(whole) else { return Err(Stop::Fragment) };
        self.remove(&key);
        stats.fragment_reassembled += 1;
        Ok(found)
    }

    /// Gives up what has waited too long. Packet times may jump back: then age is counted the other way, so that
    /// nothing waits for ever behind a wrong time.
    fn expire(&mut self, now: Timestamp, stats: &mut Stats) {
        while let Some((key, serial)) = self.queue.front().copied() {
            match self.datagrams.get(&key).filter(|datagram| datagram.serial == serial) {
                Some(datagram) if !self.is_over(datagram.since, now) => break,
                Some(_) => {
                    self.give_up(&key, &mut stats.fragment_expired);
                }
                None => {}
            }
            self.queue.pop_front();
        }
    }

    fn is_over(&self, since: Timestamp, now: Timestamp) -> bool {
        now.since(since).nanos().saturating_abs() > self.timeout.nanos()
    }

    /// Lets the oldest go until `length` bytes of the datagram `key` fit.
    fn make_room(&mut self, key: &Key, length: usize, stats: &mut Stats) {
        let is_new = !self.datagrams.contains_key(key);
        let needed = length + 2 * OVERHEAD;
        while (is_new && self.datagrams.len() >= self.max_datagrams) || self.bytes + needed > self.max_bytes {
            let Some((oldest, serial)) = self.queue.pop_front() else { break };
            if self.datagrams.get(&oldest).is_some_and(|datagram| datagram.serial == serial) {
                self.give_up(&oldest, &mut stats.fragment_evicted);
            }
        }
        // Finished datagrams leave their place in the queue behind; once they are the most, it is tidied up.
        if self.queue.len() > 2 * self.max_datagrams {
            let datagrams = &self.datagrams;
            self.queue.retain(|(key, serial)| datagrams.get(key).is_some_and(|datagram| datagram.serial == *serial));
        }
    }

    /// Removes a datagram that is not whole and counts it, unless it was counted when its fragments overlapped.
    fn give_up(&mut self, key: &Key, counter: &mut u64) {
        *counter += u64::from(self.datagrams.get(key).is_some_and(|datagram| !datagram.poisoned));
        self.remove(key);
    }

    /// Counts what is not whole at the end.
    pub(super) fn finish(&mut self, stats: &mut Stats) {
        let waiting = self.datagrams.values().filter(|datagram| !datagram.poisoned).count();
        stats.fragment_unfinished += u64::try_from(waiting).unwrap_or(u64::MAX);
        self.datagrams.clear();
        self.queue.clear();
        self.bytes = 0;
    }

    fn remove(&mut self, key: &Key) {
        if let Some(datagram) = self.datagrams.remove(key) {
            self.bytes = self.bytes.saturating_sub(datagram.cost() + OVERHEAD);
        }
    }
}

impl Datagram {
    fn new(serial: u64, since: Timestamp) -> Self {
        Self { serial, since, bytes: Vec::new(), parts: Vec::new(), total: None, first: None, poisoned: false }
    }

    fn cost(&self) -> usize {
        self.bytes.len() + self.parts.len() * OVERHEAD
    }

    /// Puts a fragment in its place.
    fn fit(&mut self, fragment: &Fragment<'_>) -> Fit {
        let start = fragment.header.offset;
        let length = fragment.data.len();
        let end = start + length;
        let place = self.parts.partition_point(|part| part.start < start);
        if let Some(same) = self.parts.get(place).filter(|part| part.start == start && part.length == length) {
            let stored = self.bytes.get(same.stored..same.stored + same.length);
            let agrees = fragment.header.more || self.total == Some(end);
            if stored == Some(fragment.data) && agrees {
                return Fit::Repeated;
            }
            return self.poison();
        }
        let before = place.checked_sub(1).and_then(|index| self.parts.get(index));
        let overlaps = before.is_some_and(|part| part.start + part.length > start)
            || self.parts.get(place).is_some_and(|part| part.start < end);
        let last = self.parts.last().map_or(0, |part| part.start + part.length);
        let past_end = match (self.total, fragment.header.more) {
            (Some(total), true) => end > total,
            (Some(_), false) => true,
            (None, true) => false,
            (None, false) => last > end,
        };
        if overlaps || past_end || self.parts.len() >= MAX_PARTS {
            return self.poison();
        }
        if !fragment.header.more {
            self.total = Some(end);
        }
        if start == 0 {
            self.first = Some(Whole { protocol: fragment.header.protocol, hop_limit: fragment.ip.hop_limit });
        }
        self.parts.insert(place, Part { start, length, stored: self.bytes.len() });
        self.bytes.extend_from_slice(fragment.data);
        Fit::Kept
    }

    fn poison(&mut self) -> Fit {
        self.poisoned = true;
        self.bytes = Vec::new();
        self.parts = Vec::new();
        Fit::Overlap
    }

    /// Writes the datagram out if nothing is missing.
    fn whole_into(&self, whole: &mut Vec<u8>) -> Option<Whole> {
        let first = self.first?;
        // Nothing overlaps and nothing lies past the end, so the length alone tells.
        if self.total? != self.bytes.len() {
            return None;
        }
        whole.clear();
        for part in &self.parts {
            whole.extend_from_slice(self.bytes.get(part.stored..part.stored + part.length)?);
        }
        Some(first)
    }
}
