//! The reader's table of flows: where a connection begins and ends, and which packets still matter.
//!
//! Everything here is a function of the packets and of packet time alone, so that it is the same for any number of
//! workers. 256 slots each have their own bound; what is evicted depends on the packets of that slot only.
//!
//! Each slot keeps one queue per class of flow (no payload / closing / UDP / doubted / payload) in order of entry. A flow that was
//! seen since it was queued goes to the back when its turn comes (second chance), so a packet touches no list.

use crate::config::Limits;
use crate::direction::{Direction, PerDirection};
use crate::packet::flow_key::{PackedKey, SLOTS, Seeds};
use crate::packet::{FlowKey, FlowPacket, TcpFlags, Transport};
use crate::stats::Stats;
use crate::time::{Span, Timestamp};

use super::end::End;
use super::entries::Entries;
use super::index::Index;
use super::tcp::is_far;

/// Identifies a flow while it lives: slot in the low 8 bits, index in the slot above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId(pub u32);

impl FlowId {
    fn new(slot: usize, index: u32) -> Self {
        Self(index << 8 | u32::try_from(slot & 0xff).unwrap_or(0))
    }

    /// The slot, 0 to 255.
    pub fn slot(self) -> usize {
        (self.0 & 0xff) as usize
    }

    /// The index in the slot.
    pub fn index(self) -> usize {
        (self.0 >> 8) as usize
    }
}

/// A flow and its generation: a late answer never touches a new connection on the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowRef {
    /// The place.
    pub id: FlowId,
    /// Which connection on that place.
    pub generation: u32,
}

/// What to do with a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Action {
    /// A connection that ended before this packet: tell its worker.
    pub ended: Option<Ended>,
    /// A connection that ended for room: tell its worker.
    pub evicted: Option<FlowRef>,
    /// The flow of the packet.
    pub flow: Option<FlowRef>,
    /// Its worker has not heard of it: send the beginning first.
    pub begin: bool,
    /// The packet matters to the worker.
    pub forward: bool,
    /// Packets were seen in (low to high, high to low) direction, this one included.
    pub seen: PerDirection<bool>,
}

/// A connection that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The flow.
    pub flow: FlowRef,
    /// It ended by time; else a new connection took its place.
    pub expired: bool,
}

/// What a look at a packet told.
#[derive(Clone, Copy, Debug)]
pub enum Look {
    /// It changes nothing but a time, which was noted.
    Passed,
    /// It may matter.
    Sight(Sight),
    /// The table must be swept first.
    Unknown,
}

/// Where the flow of a packet is, so that it need not be looked for again.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    hash: u64,
    found: Option<u32>,
}

/// What a worker must know at the beginning of a flow.
#[derive(Clone, Copy, Debug)]
pub struct Beginning {
    /// Both ends.
    pub key: FlowKey,
    /// Initial sequence numbers where a SYN was seen.
    pub initial_sequences: PerDirection<Option<u32>>,
    /// Time from SYN to SYN-ACK in nanoseconds.
    pub syn_rtt: Option<i64>,
}

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Class {
    NoPayload,
    Closing,
    Udp,
    /// It had payload, and a reset came of which only its sender's silence tells whether it ended the connection.
    Doubted,
    Payload,
}

/// Classes in the order in which they are evicted.
const CLASSES: [Class; 5] = [Class::NoPayload, Class::Closing, Class::Udp, Class::Doubted, Class::Payload];

/// One flow. What every packet touches comes first and fills one cache line.
#[derive(Debug)]
#[repr(C, align(64))]
struct Entry {
    key: PackedKey,
    last_seen: Timestamp,
    generation: u32,
    class: Class,
    state: u16,
    // Rarely touched.
    queued: Timestamp,
    syn_at: Timestamp,
    isn: [u32; 2],
    previous: u32,
    following: u32,
    syn_rtt: u32,
}

/// Bits of [`Entry::state`].
mod state {
    pub(super) const LIVE: u16 = 0x01;
    /// Shifted left by the direction's index.
    pub(super) const ISN_KNOWN: u16 = 0x02;
    pub(super) const SEEN: u16 = 0x08;
    pub(super) const FIN: u16 = 0x20;
    /// The worker has heard of it.
    pub(super) const BEGUN: u16 = 0x80;
    /// The worker needs no more of it.
    pub(super) const DECIDED: u16 = 0x100;
    /// A reset came while the worker needed packets of it, who may not believe it: acknowledgments matter.
    pub(super) const RESET: u16 = 0x200;
    /// A doubtful reset came. Shifted left by the direction's index.
    pub(super) const DOUBTED: u16 = 0x400;
}

/// A SYN that may begin a new connection on an open flow; it needs confirmation, since anybody can inject one.
#[derive(Clone, Copy, Debug)]
struct PendingSyn {
    flow: FlowRef,
    direction: Direction,
    sequence: u32,
    at: Timestamp,
}

#[derive(Debug, Default)]
struct Slot {
    index: Index,
    entries: Entries<Entry>,
    free: Vec<u32>,
    queues: [Queue; 5],
}

#[derive(Clone, Copy, Debug)]
struct Queue {
    head: u32,
    tail: u32,
    /// When the first of it was queued: at hand here, so that a sweep over what is not due touches no flow.
    since: Timestamp,
}

impl Default for Queue {
    fn default() -> Self {
        Self { head: NONE, tail: NONE, since: Timestamp::MAX }
    }
}

/// All flows.
#[derive(Debug)]
pub struct FlowTable {
    slots: Box<[Slot; SLOTS]>,
    seeds: Seeds,
    capacity: usize,
    timeouts: [Span; 5],
    pending_syns: Vec<PendingSyn>,
    next_sweep: Timestamp,
}

/// SYNs on open flows that wait for confirmation; the oldest leaves.
const PENDING_SYNS: usize = 1_024;

/// How long after its SYN a connection has not gone far.
const YOUNG: Span = Span::seconds(60);

/// Queued flows that get a second chance before one must leave.
const SECOND_CHANCES: usize = 8;

impl FlowTable {
    /// An empty table. `seed` spreads flows over the slots: fixed offline, random live, so that nobody can aim at a slot.
    pub fn new(limits: &Limits, seed: u64) -> Self {
        Self {
            slots: Box::new(std::array::from_fn(|_| Slot::default())),
            seeds: Seeds::new(seed),
            capacity: limits.flows_per_slot.clamp(1, 1 << 23),
            timeouts: [
                limits.half_open_timeout,
                limits.closing_timeout,
                limits.udp_timeout,
                limits.handshake_timeout,
                limits.idle_timeout.max(limits.handshake_timeout),
            ],
            pending_syns: Vec::new(),
            next_sweep: Timestamp::MIN,
        }
    }

    /// Takes note of a packet that was seen when the capture's clock stood at `clock`, and says what to do with it.
    pub fn observe(&mut self, packet: &FlowPacket<'_>, clock: Timestamp, stats: &mut Stats) -> Action {
        self.sweep(clock, stats);
        let hash = packet.key.hash(&self.seeds);
        let found = self.slots.get(slot_of(hash)).and_then(|slot| slot.find(hash, &packet.key));
        let mut action = Action::default();
        self.follow((hash, found), (packet, clock), (&mut action, stats));
        action
    }

    /// Whether the packet changes nothing but the time of the flow's last packet, which then is noted as
    /// [`FlowTable::observe`] would: nearly all packets belong to flows whose handshake is over, or acknowledge without
    /// saying anything.
    #[inline(always)]
    pub fn look(&mut self, packet: &FlowPacket<'_>, clock: Timestamp) -> Look {
        if clock >= self.next_sweep {
            return Look::Unknown;
        }
        let hash = packet.key.hash(&self.seeds);
        let Some(slot) = self.slots.get_mut(slot_of(hash)) else { return Look::Unknown };
        let found = slot.find(hash, &packet.key);
        let Some(entry) = found.and_then(|at| slot.entries.get_mut(at as usize)) else {
            return Look::Sight(Sight { hash, found });
        };
        let idle = packet.payload.is_empty();
        let settled = idle && entry.state & state::RESET == 0
            || (entry.state & state::DECIDED != 0 && !matches!(entry.class, Class::NoPayload | Class::Doubted));
        let seen = entry.state & state::SEEN << bit(packet.direction) != 0;
        let timeout = self.timeouts.get(entry.class.index()).copied().unwrap_or_default();
        if !settled
            || !seen
            || packet.flags.any(TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST)
            || !self.pending_syns.is_empty()
            || clock >= entry.last_seen.plus(timeout)
        {
            return Look::Sight(Sight { hash, found });
        }
        entry.last_seen = clock;
        Look::Passed
    }

    /// [`FlowTable::observe`] after [`FlowTable::look`] at the same packet and clock, with nothing in between.
    pub fn observe_again(
        &mut self,
        look: Look,
        (packet, clock): (&FlowPacket<'_>, Timestamp),
        stats: &mut Stats,
    ) -> Action {
        match look {
            Look::Sight(Sight { hash, found }) => {
                let mut action = Action::default();
                self.follow((hash, found), (packet, clock), (&mut action, stats));
                action
            }
            Look::Passed | Look::Unknown => self.observe(packet, clock, stats),
        }
    }

    /// Writes to `action`, which is the default one: returned, it would be copied while its parts are still being stored.
    fn follow(
        &mut self,
        (hash, found): (u64, Option<u32>),
        (packet, clock): (&FlowPacket<'_>, Timestamp),
        (action, stats): (&mut Action, &mut Stats),
    ) {
        let slot_number = slot_of(hash);
        let Some(slot) = self.slots.get_mut(slot_number) else { return };
        let mut index = found;
        if let Some(at) = found
            && slot.is_expired(at, clock, &self.timeouts)
        {
            if slot.has(at, state::BEGUN) {
                action.ended = slot.reference(slot_number, at).map(|flow| Ended { flow, expired: true });
            }
            slot.count_end(at, End::Expired, stats);
            slot.remove(at, &self.seeds);
            index = None;
        }
        let index = match index {
            Some(index) => index,
            None => {
                if slot.live() >= self.capacity {
                    action.evicted = slot.evict((slot_number, clock), &self.seeds, stats);
                }
                stats.flow_opened += 1;
                slot.insert(hash, (&packet.key, clock), self.capacity)
            }
        };
        if packet.flags.has(TcpFlags::SYN) {
            self.on_syn((slot_number, index), (packet, clock), (action, stats));
        } else if !self.pending_syns.is_empty() && self.confirms((slot_number, index), packet) {
            self.begin_again((slot_number, index), (packet, clock), (action, stats));
        }
        if let Some(slot) = self.slots.get_mut(slot_number) {
            slot.note((slot_number, index), (packet, clock), (action, stats));
        }
    }

    /// What a worker must know at the beginning of `flow`.
    pub fn beginning(&self, flow: FlowRef) -> Option<Beginning> {
        let entry = self.slots.get(flow.id.slot())?.entries.get(flow.id.index())?;
        let isn = |direction: Direction| {
            let known = entry.state & state::ISN_KNOWN << bit(direction) != 0;
            known.then(|| *entry.isn.get(usize::from(bit(direction))).unwrap_or(&0))
        };
        Some(Beginning {
            key: entry.key.unpack(),
            initial_sequences: PerDirection {
                low_to_high: isn(Direction::LowToHigh),
                high_to_low: isn(Direction::HighToLow),
            },
            syn_rtt: (entry.syn_rtt != NONE).then(|| i64::from(entry.syn_rtt)),
        })
    }

    /// The worker needs no more packets of `flow`: they cost a look-up from now on.
    pub fn decided(&mut self, flow: FlowRef) {
        if let Some(entry) = self.slots.get_mut(flow.id.slot()).and_then(|slot| slot.entries.get_mut(flow.id.index()))
            && entry.generation == flow.generation
        {
            entry.state |= state::DECIDED;
        }
    }

    /// The capture ended: every flow is counted, as expired where its time was over by `clock`, else as still open. The table
    /// is empty afterwards.
    pub fn finish(&mut self, clock: Timestamp, stats: &mut Stats) {
        for slot in self.slots.iter_mut() {
            for at in (0..slot.entries.len()).map(|at| u32::try_from(at).unwrap_or(NONE)) {
                if slot.has(at, state::LIVE) {
                    let expired = slot.is_expired(at, clock, &self.timeouts);
                    slot.count_end(at, if expired { End::Expired } else { End::Capture }, stats);
                }
            }
            *slot = Slot::default();
        }
    }

    /// Flows in the table.
    pub fn len(&self) -> usize {
        self.slots.iter().map(Slot::live).sum()
    }

    /// Whether the table is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Frees what is over, once per second of packet time. Only memory depends on it: an expired flow is also found by
    /// its next packet.
    #[inline]
    fn sweep(&mut self, clock: Timestamp, stats: &mut Stats) {
        if clock >= self.next_sweep {
            self.sweep_all(clock, stats);
        }
    }

    #[cold]
    fn sweep_all(&mut self, clock: Timestamp, stats: &mut Stats) {
        self.next_sweep = clock.plus(Span::seconds(1));
        // While one waits every packet takes the long way: a SYN that nobody answers must not keep it so.
        let [wait, ..] = self.timeouts;
        self.pending_syns.retain(|pending| clock < pending.at.plus(wait));
        for slot in self.slots.iter_mut() {
            slot.sweep(clock, (&self.timeouts, &self.seeds), stats);
        }
    }

    /// A SYN: sets the initial sequence number, begins a new connection, or waits for confirmation on an open flow.
    fn on_syn(
        &mut self,
        (slot_number, index): (usize, u32),
        (packet, clock): (&FlowPacket<'_>, Timestamp),
        (action, stats): (&mut Action, &mut Stats),
    ) {
        let Some(slot) = self.slots.get_mut(slot_number) else { return };
        let Some(entry) = slot.entries.get_mut(index as usize) else { return };
        let mask = state::ISN_KNOWN << bit(packet.direction);
        let known = entry.state & mask != 0;
        let place = usize::from(bit(packet.direction));
        let same = entry.isn.get(place).is_some_and(|isn| *isn == packet.sequence);
        if known && same && entry.class != Class::Closing {
            return;
        }
        let other = packet.direction.reversed();
        let other_isn = entry.isn.get(usize::from(bit(other))).copied().unwrap_or_default();
        let answers = packet.flags.has(TcpFlags::ACK)
            && entry.state & state::ISN_KNOWN << bit(other) != 0
            && packet.acknowledgment == other_isn.wrapping_add(1);
        if known && answers {
            // Another answer to the same SYN: the same connection seen behind a device that renumbers, or an injection.
            return;
        }
        if !known && entry.state & state::SEEN << bit(packet.direction) == 0 {
            entry.set_isn(packet, clock);
            return;
        }
        let payload = matches!(entry.class, Class::Payload | Class::Doubted | Class::Closing);
        if !payload && (!known || !packet.flags.has(TcpFlags::ACK)) {
            // Nothing was said yet: the first SYN, or the next attempt on a half-open flow.
            if known {
                entry.state &= !(state::ISN_KNOWN | state::ISN_KNOWN << 1);
                entry.syn_rtt = NONE;
            }
            entry.set_isn(packet, clock);
            return;
        }
        if !known && entry.is_answered_by(packet) {
            // The first SYN came with data (RFC 7413).
            entry.set_isn(packet, clock);
            return;
        }
        let closing = entry.class == Class::Closing;
        if closing || packet.flags.has(TcpFlags::ACK) && self.confirms((slot_number, index), packet) {
            self.begin_again((slot_number, index), (packet, clock), (action, stats));
            return;
        }
        let Some(flow) = self.slots.get(slot_number).and_then(|slot| slot.reference(slot_number, index)) else {
            return;
        };
        self.pending_syns.retain(|pending| pending.flow != flow || pending.direction != packet.direction);
        if self.pending_syns.len() >= PENDING_SYNS {
            self.pending_syns.remove(0);
        }
        self.pending_syns.push(PendingSyn { flow, direction: packet.direction, sequence: packet.sequence, at: clock });
    }

    /// Whether the packet confirms a remembered SYN: its SYN-ACK, or data right after it.
    fn confirms(&self, (slot_number, index): (usize, u32), packet: &FlowPacket<'_>) -> bool {
        let Some(flow) = self.slots.get(slot_number).and_then(|slot| slot.reference(slot_number, index)) else {
            return false;
        };
        self.pending_syns.iter().filter(|pending| pending.flow == flow).any(|pending| {
            let follows = pending.sequence.wrapping_add(1);
            let syn_ack = packet.flags.has(TcpFlags::SYN | TcpFlags::ACK)
                && pending.direction != packet.direction
                && packet.acknowledgment == follows;
            let data =
                pending.direction == packet.direction && !packet.payload.is_empty() && packet.sequence == follows;
            syn_ack || data
        })
    }

    /// Ends the connection on this place and begins the next one.
    fn begin_again(
        &mut self,
        (slot_number, index): (usize, u32),
        (packet, clock): (&FlowPacket<'_>, Timestamp),
        (action, stats): (&mut Action, &mut Stats),
    ) {
        let Some(slot) = self.slots.get_mut(slot_number) else { return };
        let Some(flow) = slot.reference(slot_number, index) else { return };
        slot.count_end(index, End::Superseded, stats);
        stats.flow_opened += 1;
        if slot.has(index, state::BEGUN) {
            action.ended = Some(Ended { flow, expired: false });
        }
        slot.unlink(index);
        slot.link(index, Class::NoPayload, clock);
        let Some(entry) = slot.entries.get_mut(index as usize) else { return };
        entry.generation = entry.generation.wrapping_add(1);
        entry.state = state::LIVE;
        entry.syn_rtt = NONE;
        for pending in self.pending_syns.iter().filter(|pending| pending.flow == flow) {
            entry.syn_at = pending.at;
            entry.state |= state::ISN_KNOWN << bit(pending.direction);
            if let Some(isn) = entry.isn.get_mut(usize::from(bit(pending.direction))) {
                *isn = pending.sequence;
            }
        }
        if packet.flags.has(TcpFlags::SYN) {
            entry.set_isn(packet, clock);
        }
        self.pending_syns.retain(|pending| pending.flow != flow);
    }
}

impl Entry {
    /// Whether this SYN-ACK answers the SYN of the other side, with all, some or none of the data on it.
    fn is_answered_by(&self, packet: &FlowPacket<'_>) -> bool {
        let other = packet.direction.reversed();
        let isn = self.isn.get(usize::from(bit(other))).copied().unwrap_or_default();
        let taken = packet.acknowledgment.wrapping_sub(isn.wrapping_add(1));
        self.state & state::ISN_KNOWN << bit(other) != 0
            && packet.flags.has(TcpFlags::SYN | TcpFlags::ACK)
            && taken <= u32::from(u16::MAX)
    }

    /// Whether no receiver takes this reset as long as the handshake lasts, by its sequence number alone. Asked without what
    /// workers know, of which there is more or less at this time.
    fn is_doubtful(&self, packet: &FlowPacket<'_>, clock: Timestamp) -> bool {
        let place = bit(packet.direction);
        let known = self.state & state::ISN_KNOWN << place != 0;
        let isn = self.isn.get(usize::from(place)).copied().unwrap_or_default();
        known && clock.since(self.syn_at) < YOUNG && is_far(packet.sequence, isn)
    }

    fn set_isn(&mut self, packet: &FlowPacket<'_>, clock: Timestamp) {
        let syn_ack = packet.flags.has(TcpFlags::SYN | TcpFlags::ACK);
        let other = self.state & state::ISN_KNOWN << bit(packet.direction.reversed()) != 0;
        if syn_ack && other {
            // None at all: who took the capture did not tell them apart.
            let rtt = u32::try_from(clock.since(self.syn_at).nanos()).ok().filter(|rtt| *rtt > 0);
            self.syn_rtt = rtt.unwrap_or(NONE);
        } else {
            self.syn_at = clock;
        }
        self.state |= state::ISN_KNOWN << bit(packet.direction);
        if let Some(isn) = self.isn.get_mut(usize::from(bit(packet.direction))) {
            *isn = packet.sequence;
        }
    }
}

impl Slot {
    #[inline(always)]
    fn find(&self, hash: u64, key: &PackedKey) -> Option<u32> {
        for at in self.index.places(hash) {
            if self.entries.get(at as usize)?.key == *key {
                return Some(at);
            }
        }
        None
    }

    fn live(&self) -> usize {
        self.index.len()
    }

    fn has(&self, at: u32, mask: u16) -> bool {
        self.entries.get(at as usize).is_some_and(|entry| entry.state & mask != 0)
    }

    fn reference(&self, slot: usize, at: u32) -> Option<FlowRef> {
        let entry = self.entries.get(at as usize)?;
        Some(FlowRef { id: FlowId::new(slot, at), generation: entry.generation })
    }

    fn is_expired(&self, at: u32, clock: Timestamp, timeouts: &[Span; 5]) -> bool {
        self.entries.get(at as usize).is_some_and(|entry| {
            let timeout = timeouts.get(entry.class.index()).copied().unwrap_or_default();
            clock >= entry.last_seen.plus(timeout)
        })
    }

    fn insert(&mut self, hash: u64, (key, clock): (&PackedKey, Timestamp), capacity: usize) -> u32 {
        let entry = Entry {
            key: *key,
            last_seen: clock,
            queued: clock,
            syn_at: clock,
            isn: [0; 2],
            generation: 0,
            previous: NONE,
            following: NONE,
            syn_rtt: NONE,
            class: Class::NoPayload,
            state: state::LIVE,
        };
        let at = match self.free.pop() {
            Some(at) => {
                if let Some(old) = self.entries.get_mut(at as usize) {
                    let generation = old.generation.wrapping_add(1);
                    *old = Entry { generation, ..entry };
                }
                at
            }
            None => {
                let at = self.entries.len();
                self.entries.push(entry, capacity);
                u32::try_from(at).unwrap_or(NONE)
            }
        };
        self.index.insert(hash, at);
        let class = if key.transport() == Transport::Udp { Class::Udp } else { Class::NoPayload };
        self.link(at, class, clock);
        at
    }

    /// Counts a flow that leaves, unless it was counted when it closed.
    fn count_end(&self, at: u32, end: End, stats: &mut Stats) {
        match self.entries.get(at as usize).map(|entry| entry.class) {
            None | Some(Class::Closing) => {}
            // Its sender said nothing more.
            Some(Class::Doubted) => stats.flow_closed += 1,
            Some(_) => *end.counter(stats) += 1,
        }
    }

    fn remove(&mut self, at: u32, seeds: &Seeds) {
        let Some(key) = self.entries.get(at as usize).map(|entry| entry.key) else { return };
        self.index.remove(key.hash(seeds), at);
        self.unlink(at);
        if let Some(entry) = self.entries.get_mut(at as usize) {
            entry.state = 0;
        }
        self.free.push(at);
    }

    /// Makes room: the flow that was seen longest ago, of the least valuable class that has one.
    fn evict(&mut self, (slot_number, clock): (usize, Timestamp), seeds: &Seeds, stats: &mut Stats) -> Option<FlowRef> {
        let class = CLASSES.into_iter().find(|class| self.head(*class) != NONE)?;
        for _ in 0..SECOND_CHANCES {
            let head = self.head(class);
            let seen_since = self.entries.get(head as usize).is_some_and(|entry| entry.last_seen > entry.queued);
            if !seen_since {
                break;
            }
            self.unlink(head);
            self.link(head, class, clock);
        }
        let head = self.head(class);
        let begun = self.has(head, state::BEGUN) && !self.has(head, state::DECIDED);
        let flow = self.reference(slot_number, head);
        self.count_end(head, End::Evicted, stats);
        self.remove(head, seeds);
        flow.filter(|_| begun)
    }

    fn sweep(&mut self, clock: Timestamp, (timeouts, seeds): (&[Span; 5], &Seeds), stats: &mut Stats) {
        for class in CLASSES {
            let timeout = timeouts.get(class.index()).copied().unwrap_or_default();
            while let Some(Queue { head, since, .. }) = self.queues.get(class.index()).copied() {
                if clock < since.plus(timeout) {
                    break;
                }
                let Some(entry) = self.entries.get(head as usize) else { break };
                if clock >= entry.last_seen.plus(timeout) {
                    self.count_end(head, End::Expired, stats);
                    self.remove(head, seeds);
                } else {
                    self.unlink(head);
                    self.link(head, class, clock);
                }
            }
        }
    }

    /// Updates the flow with a packet and says whether the packet matters.
    fn note(
        &mut self,
        (slot, at): (usize, u32),
        (packet, clock): (&FlowPacket<'_>, Timestamp),
        (action, stats): (&mut Action, &mut Stats),
    ) {
        let Some(entry) = self.entries.get_mut(at as usize) else { return };
        entry.last_seen = clock;
        let shift = bit(packet.direction);
        let first_sight = entry.state & state::SEEN << shift == 0;
        entry.state |= state::SEEN << shift;
        let seen = |direction: Direction| entry.state & state::SEEN << bit(direction) != 0;
        action.seen = PerDirection { low_to_high: seen(Direction::LowToHigh), high_to_low: seen(Direction::HighToLow) };
        action.flow = Some(FlowRef { id: FlowId::new(slot, at), generation: entry.generation });
        let mut class = entry.class;
        let over = packet.flags.any(TcpFlags::FIN | TcpFlags::RST);
        if packet.key.transport() == Transport::Tcp {
            if over && class != Class::Closing {
                entry.state |= if packet.flags.has(TcpFlags::FIN) { state::FIN << shift } else { 0 };
                let both = state::FIN | state::FIN << 1;
                let reset = packet.flags.has(TcpFlags::RST);
                let doubtful = reset && entry.is_doubtful(packet, clock);
                if reset && !doubtful || entry.state & both == both {
                    class = Class::Closing;
                } else if doubtful && matches!(class, Class::Payload | Class::Doubted) {
                    class = Class::Doubted;
                    entry.state |= state::DOUBTED << shift;
                }
                stats.flow_closed += u64::from(class == Class::Closing);
            } else if class == Class::Doubted
                && !packet.payload.is_empty()
                && entry.state & state::DOUBTED << shift != 0
            {
                // Whoever has reset a connection says nothing more in it.
                class = Class::Payload;
                entry.state &= !(state::DOUBTED | state::DOUBTED << 1);
            }
            if !packet.payload.is_empty() && class == Class::NoPayload {
                class = Class::Payload;
            }
        }
        let begun = entry.state & state::BEGUN != 0;
        // An acknowledgment alone tells the worker that the other side is there.
        let tells = over || first_sight || packet.flags.has(TcpFlags::SYN) || entry.state & state::RESET != 0;
        let matters = !packet.payload.is_empty() || (begun && tells);
        if packet.flags.has(TcpFlags::RST) && packet.key.transport() == Transport::Tcp {
            entry.state |= state::RESET;
        }
        action.forward = matters && !(begun && entry.state & state::DECIDED != 0);
        if action.forward && !begun {
            action.begin = true;
            entry.state |= state::BEGUN;
        }
        if entry.class != class {
            self.unlink(at);
            self.link(at, class, clock);
        }
    }

    fn head(&self, class: Class) -> u32 {
        self.queues.get(class.index()).map_or(NONE, |queue| queue.head)
    }

    fn link(&mut self, at: u32, class: Class, clock: Timestamp) {
        let Some(queue) = self.queues.get_mut(class.index()) else { return };
        let tail = queue.tail;
        queue.tail = at;
        if queue.head == NONE {
            queue.head = at;
            queue.since = clock;
        }
        if let Some(before) = self.entries.get_mut(tail as usize) {
            before.following = at;
        }
        if let Some(entry) = self.entries.get_mut(at as usize) {
            entry.previous = tail;
            entry.following = NONE;
            entry.class = class;
            entry.queued = clock;
        }
    }

    fn unlink(&mut self, at: u32) {
        let Some(entry) = self.entries.get(at as usize) else { return };
        let (class, previous, following) = (entry.class, entry.previous, entry.following);
        if let Some(before) = self.entries.get_mut(previous as usize) {
            before.following = following;
        }
        let mut next = Timestamp::MAX;
        if let Some(after) = self.entries.get_mut(following as usize) {
            after.previous = previous;
            next = after.queued;
        }
        if let Some(queue) = self.queues.get_mut(class.index()) {
            if queue.head == at {
                queue.head = following;
                queue.since = next;
            }
            if queue.tail == at {
                queue.tail = previous;
            }
        }
    }
}

impl Class {
    fn index(self) -> usize {
        match self {
            Self::NoPayload => 0,
            Self::Closing => 1,
            Self::Udp => 2,
            Self::Doubted => 3,
            Self::Payload => 4,
        }
    }
}

/// The highest bits of the hash choose the slot; the index in it uses others.
#[inline(always)]
fn slot_of(hash: u64) -> usize {
    let [slot, ..] = hash.to_be_bytes();
    usize::from(slot)
}

fn bit(direction: Direction) -> u16 {
    match direction {
        Direction::LowToHigh => 0,
        Direction::HighToLow => 1,
    }
}
