//! Batches: what the reader hands to a worker for one round.

use std::ops::Range;

use crate::flow::{Beginning, FlowRef, SegmentIn};
use crate::packet::Encapsulation;
use crate::time::{Moment, Order, Timestamp};
use crate::tls::HandshakeEnd;

/// Everything of one round for one worker. Payloads lie in one allocation that is used again.
#[derive(Debug, Default)]
pub struct Batch {
    entries: Vec<Entry>,
    arena: Vec<u8>,
    /// The capture's place at the end of the round; every deadline up to its clock is over.
    pub clock: Order,
    /// On the way back: flows whose packets need not come any more.
    pub decided: Vec<FlowRef>,
}

/// One entry of a batch.
#[derive(Debug)]
pub enum Entry {
    /// A connection begins.
    Begin(FlowRef, Box<Beginning>, Encapsulation, Moment),
    /// A TCP segment; its payload is a range of the arena.
    Segment(FlowRef, SegmentIn<'static>, Range<usize>),
    /// A connection is over.
    End(FlowRef, Order, HandshakeEnd),
    /// The clock jumped right after the connection's last packet.
    Touch(FlowRef, Timestamp),
}

impl Batch {
    /// Entries so far.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of payload so far.
    pub fn bytes(&self) -> usize {
        self.arena.len()
    }

    /// Adds an entry without payload.
    pub fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Adds a segment; its payload is copied.
    pub fn push_segment(&mut self, flow: FlowRef, segment: &SegmentIn<'_>) {
        let start = self.arena.len();
        self.arena.extend_from_slice(segment.payload);
        let SegmentIn { direction, sequence, flags, ip_id, snapped, bad_checksum, seen, at, payload: _ } = *segment;
        let segment = SegmentIn { direction, sequence, flags, ip_id, snapped, bad_checksum, seen, at, payload: &[] };
        self.entries.push(Entry::Segment(flow, segment, start..self.arena.len()));
    }

    /// The entries in order; segments with their payload.
    pub fn iter(&self) -> impl Iterator<Item = (&Entry, &[u8])> {
        self.entries.iter().map(|entry| {
            let payload = match entry {
                Entry::Segment(_, _, range) => self.arena.get(range.clone()).unwrap_or(&[]),
                _ => &[],
            };
            (entry, payload)
        })
    }

    /// Makes it empty; keeps a usual round's allocations.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.arena.clear();
        self.arena.shrink_to(ARENA_BYTES);
    }
}

/// Bytes of payload at which a round ends, and that an empty batch keeps.
pub const ARENA_BYTES: usize = 512 << 10;
