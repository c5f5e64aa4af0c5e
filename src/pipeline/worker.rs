//! A worker: the connections of its slots, from segments to observations.
//!
//! It owns its slots: no lock, no atomics. A parser that panics costs one flow and a counter.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use crate::config::Limits;
use crate::detect::client_kind::ClientKind;
use crate::detect::gist::{Gist, HostMemo};
use crate::detect::observation::{ClientProof, Ends, KeyExchangeVerdict, Observation};
use crate::direction::Direction;
use crate::event::{self, Context};
use crate::flow::connection::{Connection, ConnectionFacts, at_deadline};
use crate::flow::history::Lasting;
use crate::flow::{Beginning, FlowRef, SegmentIn};
use crate::packet::Encapsulation;
use crate::packet::flow_key::SLOTS;
use crate::pipeline::deadlines::Deadlines;
use crate::pipeline::spent::{Lines, Spent};
use crate::stats::{Counting, Stats};
use crate::time::{Moment, Order, Span, Timestamp};
use crate::tls::{Anomaly, Handshake, HandshakeEnd};
use crate::x509::Certificate;
use crate::x509::cache::CertificateCache;

/// What a worker hands to the correlator: one handshake, its line already rendered.
#[derive(Debug)]
pub struct Report {
    /// Its place.
    pub order: Order,
    /// The `tlswatch.tls` line, newline included.
    pub line: Vec<u8>,
    /// The handshake.
    pub observation: Box<Observation>,
    /// Number of the worker that made it.
    pub worker: usize,
    bytes: usize,
}

impl Report {
    pub(super) fn new(worker: usize, (order, line): (Order, Vec<u8>), observation: Box<Observation>) -> Self {
        let mut report = Self { order, line, observation, worker, bytes: 0 };
        report.bytes = report.weigh();
        report
    }

    /// Bytes held, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn weigh(&self) -> usize {
        let observation = self.observation.as_ref();
        let handshake = &observation.handshake;
        let lists = [&handshake.server_certificates, &handshake.client_certificates];
        let lists = lists.into_iter().flatten().map(|list| list.bytes.len()).sum::<usize>();
        let chains = observation.server_chain.iter().chain(&observation.client_chain);
        let chains = chains.map(|certificate| certificate.weight()).sum::<usize>();
        size_of::<Observation>() + self.line.capacity() + lists + chains
    }
}

/// What all workers share: memos of pure functions and what rendering needs.
#[derive(Debug)]
pub struct Shared {
    /// Facts of certificates by their bytes.
    pub certificates: CertificateCache,
    /// What events are rendered with.
    pub context: Context,
    /// Limits.
    pub limits: Limits,
    /// Signatures in handshakes are verified.
    pub proofs: bool,
    /// Reports on their way back.
    pub spent: Spent,
    /// Handshakes are judged.
    pub judged: bool,
}

/// A worker.
#[derive(Debug)]
pub struct Worker {
    number: usize,
    shared: Arc<Shared>,
    slots: Vec<Slot>,
    deadlines: Deadlines,
    live: usize,
    memo: event::Memo,
    hosts: HostMemo,
    /// The kinds of client of the reports that are made at present.
    kinds: Vec<Option<Arc<ClientKind>>>,
    finished: Vec<Finished>,
    /// What is reported at present.
    observed: Vec<(Order, Box<Observation>)>,
    lines: Lines,
    /// The last demand for counters that was answered.
    answered: u64,
    /// Counters of this worker.
    pub stats: Stats,
    /// Handshakes since the last time they were taken, in no order; those that are finished but not reported yet come with
    /// [`Worker::report`].
    pub reports: Vec<Report>,
    /// Frames at which a parser panicked; at most [`PANICS_KEPT`].
    pub panics: Vec<u64>,
}

/// A handshake that is over, before it is reported.
#[derive(Debug)]
struct Finished {
    /// The place of what brought it to light, not where it ended: bytes that waited behind a gap are older than reports that
    /// have left already.
    order: Order,
    ends: Ends,
    connection: ConnectionFacts,
    handshake: Box<Handshake>,
}

/// Handshakes that are reported together. Reporting is much code that a segment does not need: done one by one, each would
/// push the other out of the instruction cache (measured: one miss in three).
const TOGETHER: usize = 32;

#[derive(Debug, Default)]
struct Slot {
    connections: Vec<Option<Box<Connection>>>,
    memory: usize,
}

/// Frame numbers of panics that are kept for the log.
pub const PANICS_KEPT: usize = 16;

/// Ordinals of what a packet itself gives begin here; what it ends before that comes first.
pub const PACKET_ORDINAL: u32 = 1_000;

/// Ordinals of what leaves for room in memory begin here.
const EVICTED_ORDINAL: u32 = 1 << 31;

impl Worker {
    /// A worker without connections; workers are numbered from 0.
    pub fn new(number: usize, shared: Arc<Shared>) -> Self {
        Self {
            number,
            shared,
            slots: (0..SLOTS).map(|_| Slot::default()).collect(),
            deadlines: Deadlines::default(),
            live: 0,
            memo: event::Memo::default(),
            hosts: HostMemo::default(),
            kinds: Vec::new(),
            finished: Vec::new(),
            observed: Vec::new(),
            lines: Lines::default(),
            answered: 0,
            stats: Stats::default(),
            reports: Vec::new(),
            panics: Vec::new(),
        }
    }

    /// A connection begins.
    pub fn begin(&mut self, flow: FlowRef, beginning: &Beginning, (encapsulation, at): (Encapsulation, &Moment)) {
        self.vacate(flow, Order { ordinal: 0, ..at.order });
        if self.deadlines.len() > 4 * self.live + 4_096 {
            self.compact_deadlines();
        }
        self.keep(flow, Box::new(Connection::new(beginning, (flow.generation, encapsulation), at)));
    }

    /// Takes a segment. `true` when the flow needs no more packets.
    pub fn segment(&mut self, flow: FlowRef, segment: &SegmentIn<'_>, lasting: Option<&dyn Lasting>) -> bool {
        self.report_if_many();
        self.expire_if_due(flow, segment.at.order.clock);
        let Some(slot) = self.slots.get_mut(flow.id.slot()) else { return true };
        let Some(place) = slot.connections.get_mut(flow.id.index()) else { return true };
        let Some(connection) = place.as_mut().filter(|connection| connection.generation() == flow.generation) else {
            return true;
        };
        let before = connection.counted;
        let (was_closing, was_late) = (connection.is_closing(), connection.is_late());
        let stats = &mut self.stats;
        let limits = &self.shared.limits;
        let outcome = catch_unwind(AssertUnwindSafe(|| connection.on_segment(segment, (limits, lasting), stats)));
        if outcome.is_err() {
            self.stats.flow_panic += 1;
            if self.panics.len() < PANICS_KEPT {
                self.panics.push(segment.at.order.frame);
            }
            *place = None;
            slot.memory = slot.memory.saturating_sub(before);
            self.live = self.live.saturating_sub(1);
            return true;
        }
        let mut place_of_report = segment.at.order;
        while let Some(handshake) = connection.take() {
            self.finished.push(Finished::new(connection, (handshake, place_of_report)));
            place_of_report.ordinal = place_of_report.ordinal.saturating_add(1);
        }
        if connection.is_done() {
            self.stats.tls_unread += u64::from(connection.is_unread());
            *place = None;
            slot.memory = slot.memory.saturating_sub(before);
            self.live = self.live.saturating_sub(1);
            return true;
        }
        connection.counted = connection.memory();
        slot.memory = (slot.memory + connection.counted).saturating_sub(before);
        let full = slot.memory > self.shared.limits.slot_memory;
        if connection.is_closing() && !was_closing || was_late {
            // Its deadline came nearer than the one that stands in the heap.
            self.deadlines.push(connection.deadline(limits), flow);
        }
        if full {
            self.make_room(flow.id.slot(), segment.at.order);
        }
        false
    }

    /// A connection is over.
    pub fn end(&mut self, flow: FlowRef, at: Order, end: HandshakeEnd) {
        self.report_if_many();
        self.expire_if_due(flow, at.clock);
        if let Some(connection) = self.remove(flow) {
            let at = Moment { order: at, ..*connection.last() };
            self.finish_connection(connection, end, &at);
        }
    }

    /// Everything up to `clock` was handed over: ends what is over by then.
    pub fn advance(&mut self, clock: Timestamp) {
        while let Some(flow) = self.deadlines.pop_due(clock) {
            self.expire_if_due(flow, clock);
            let limits = &self.shared.limits;
            if let Some(connection) = self.slots.get(flow.id.slot()).and_then(|slot| slot.get(flow)) {
                self.deadlines.push(connection.deadline(limits), flow);
            }
        }
    }

    /// The capture is over at `clock`.
    pub fn finish(&mut self, clock: Timestamp) {
        self.advance(clock);
        // Behind every place of the capture itself, so that no worker's last reports come before another's.
        let clock = clock.plus(Span(1));
        for slot in 0..self.slots.len() {
            let connections = self.slots.get_mut(slot).map(std::mem::take).unwrap_or_default();
            for connection in connections.connections.into_iter().flatten() {
                let at = at_deadline(connection.last(), clock);
                self.finish_connection(connection, HandshakeEnd::EndOfCapture, &at);
            }
        }
        self.live = 0;
        self.deadlines.clear();
        self.report();
    }

    /// Reports the handshakes that are over, and counters if they are asked for.
    pub fn report(&mut self) {
        let demand = self.shared.context.places().demand();
        let asked = demand.asked();
        if asked > self.answered {
            self.answered = asked;
            demand.give(asked, Counting::Worker(self.number), self.stats.clone());
        }
        self.reclaim();
        let first = self.reports.len();
        // Three passes, for the reason that reports are made together.
        let observed = self.finished.drain(..).map(|finished| finished.observe(&self.shared, &mut self.stats));
        self.observed.extend(observed);
        for (order, observation) in self.observed.drain(..) {
            let mut line = self.lines.take();
            event::append_tls(&mut line, &observation, &self.shared.context, &mut self.memo);
            if self.shared.judged {
                self.kinds.push(self.memo.client_kind().cloned());
            }
            self.reports.push(Report::new(self.number, (order, line), observation));
        }
        for (report, kind) in self.reports.iter_mut().skip(first).zip(self.kinds.drain(..)) {
            let observation = &mut report.observation;
            observation.gist = Some(Gist::of(&observation.handshake, &observation.ends, (kind, &mut self.hosts)));
        }
    }

    /// Frees the reports that came back.
    pub fn reclaim(&mut self) {
        self.lines.refill(&self.shared.spent, self.number);
    }

    /// Asked before a frame is taken, not behind it: only then is the name of every file known, also of the one that begins
    /// with it.
    fn report_if_many(&mut self) {
        if self.finished.len() >= TOGETHER {
            self.report();
        }
    }

    /// Connections whose handshake is open.
    pub fn live(&self) -> usize {
        self.live
    }

    fn expire_if_due(&mut self, flow: FlowRef, clock: Timestamp) {
        let limits = &self.shared.limits;
        let due = self
            .slots
            .get(flow.id.slot())
            .and_then(|slot| slot.get(flow))
            .map(|connection| connection.deadline(limits))
            .filter(|deadline| *deadline <= clock);
        if let Some(deadline) = due
            && let Some(connection) = self.remove(flow)
        {
            let at = at_deadline(connection.last(), deadline);
            let late = connection.goes_on(deadline);
            self.finish_connection(connection, HandshakeEnd::Timeout, &at);
            if let Some(late) = late {
                self.keep(flow, Box::new(late));
                self.expire_if_due(flow, clock);
            }
        }
    }

    /// Puts a connection in its place.
    fn keep(&mut self, flow: FlowRef, mut connection: Box<Connection>) {
        connection.counted = connection.memory();
        self.deadlines.push(connection.deadline(&self.shared.limits), flow);
        let Some(slot) = self.slots.get_mut(flow.id.slot()) else { return };
        if slot.connections.len() <= flow.id.index() {
            slot.connections.resize_with(flow.id.index() + 1, || None);
        }
        slot.memory += connection.counted;
        if let Some(place) = slot.connections.get_mut(flow.id.index()) {
            *place = Some(connection);
            self.live += 1;
        }
    }

    /// Makes room in a slot that is beyond its bound, until a sixteenth of the bound is free, so that the search for room is
    /// not repeated at every packet: first by what is dispensable, then by ending the least recently seen handshakes.
    fn make_room(&mut self, slot: usize, at: Order) {
        // What is over by now may still stand here until the round ends: when that is must not show.
        self.advance(at.clock);
        let enough = self.shared.limits.slot_memory - self.shared.limits.slot_memory / 16;
        let Some(found) = self.slots.get_mut(slot) else { return };
        if found.memory <= self.shared.limits.slot_memory {
            return;
        }
        found.trim();
        if found.memory <= enough {
            return;
        }
        let seen =
            |(index, connection): (usize, &Option<Box<Connection>>)| Some((connection.as_ref()?.last().order, index));
        let mut oldest: Vec<_> = found.connections.iter().enumerate().filter_map(seen).collect();
        oldest.sort_unstable();
        let mut ordinal = EVICTED_ORDINAL;
        for (_, index) in oldest {
            let Some(slot) = self.slots.get_mut(slot).filter(|slot| slot.memory > enough) else { return };
            let Some(mut connection) = slot.connections.get_mut(index).and_then(Option::take) else { return };
            slot.memory = slot.memory.saturating_sub(connection.counted);
            self.live = self.live.saturating_sub(1);
            self.stats.flow_memcap += u64::from(!connection.is_late());
            connection.note_anomaly(Anomaly::MemoryLimit);
            // All have the place of this packet, so each report needs an ordinal of its own.
            let at = Moment { order: Order { ordinal, ..at }, ..*connection.last() };
            ordinal = ordinal.saturating_add(self.finish_connection(connection, HandshakeEnd::Evicted, &at));
        }
    }

    /// Reports what is left of a connection; returns how many reports that gave.
    fn finish_connection(&mut self, mut connection: Box<Connection>, end: HandshakeEnd, at: &Moment) -> u32 {
        let stats = &mut self.stats;
        let limits = &self.shared.limits;
        let outcome = catch_unwind(AssertUnwindSafe(|| connection.finish(end, at, (limits, stats))));
        if outcome.is_err() {
            self.stats.flow_panic += 1;
            if self.panics.len() < PANICS_KEPT {
                self.panics.push(at.order.frame);
            }
            return 0;
        }
        let mut place = at.order;
        self.stats.tls_unread += u64::from(connection.is_unread());
        while let Some(handshake) = connection.take() {
            self.finished.push(Finished::new(&connection, (handshake, place)));
            place.ordinal = place.ordinal.saturating_add(1);
        }
        place.ordinal.saturating_sub(at.order.ordinal)
    }

    fn remove(&mut self, flow: FlowRef) -> Option<Box<Connection>> {
        let slot = self.slots.get_mut(flow.id.slot())?;
        let place = slot.connections.get_mut(flow.id.index())?;
        place.as_ref().filter(|connection| connection.generation() == flow.generation)?;
        let connection = place.take()?;
        slot.memory = slot.memory.saturating_sub(connection.counted);
        self.live = self.live.saturating_sub(1);
        Some(connection)
    }

    /// Frees the place of a flow that begins: the reader gave it away, so the time of what stands there is over. Nearly always
    /// this is known here too; not where the reader believed a forged end.
    fn vacate(&mut self, flow: FlowRef, at: Order) {
        let place = self.slots.get(flow.id.slot()).and_then(|slot| slot.connections.get(flow.id.index()));
        if let Some(old) = place.and_then(Option::as_deref) {
            self.end(FlowRef { generation: old.generation(), ..flow }, at, HandshakeEnd::Timeout);
        }
    }

    fn compact_deadlines(&mut self) {
        let limits = &self.shared.limits;
        let slots = &self.slots;
        self.deadlines.rebuild(|flow| {
            let connection = slots.get(flow.id.slot()).and_then(|slot| slot.get(flow));
            connection.map(|connection| connection.deadline(limits))
        });
    }
}

impl Slot {
    fn trim(&mut self) {
        for connection in self.connections.iter_mut().flatten() {
            connection.trim();
            let held = connection.memory();
            let before = std::mem::replace(&mut connection.counted, held);
            self.memory = (self.memory + connection.counted).saturating_sub(before);
        }
    }

    fn get(&self, flow: FlowRef) -> Option<&Connection> {
        self.connections
            .get(flow.id.index())?
            .as_deref()
            .filter(|connection| connection.generation() == flow.generation)
    }
}

impl Finished {
    fn new(connection: &Connection, (handshake, order): (Box<Handshake>, Order)) -> Self {
        let client = handshake.client.unwrap_or(Direction::LowToHigh);
        let key = connection.key();
        let ends = Ends {
            client: key.sender(client),
            server: key.receiver(client),
            transport: key.transport,
            virtual_network: key.virtual_network,
        };
        Self { order, ends, connection: connection.facts(client), handshake }
    }

    /// Makes an observation of the handshake.
    fn observe(self, shared: &Shared, stats: &mut Stats) -> (Order, Box<Observation>) {
        let Self { order, ends, connection, mut handshake } = self;
        let mut chain = |list: Option<&crate::tls::CertificateList>| {
            let parsed: Vec<_> = list
                .into_iter()
                .flat_map(crate::tls::CertificateList::iter)
                .map(|der| shared.certificates.get_or_parse(der))
                .collect();
            stats.tls_certificates += u64::try_from(parsed.len()).unwrap_or(0);
            stats.x509_unparsable +=
                u64::try_from(parsed.iter().filter(|certificate| certificate.facts.is_none()).count()).unwrap_or(0);
            parsed
        };
        let server_chain = chain(handshake.server_certificates.as_ref());
        let client_chain = chain(handshake.client_certificates.as_ref());
        if server_chain.iter().chain(&client_chain).any(|certificate| certificate.facts.is_none()) {
            handshake.note(Anomaly::UnparsableCertificate);
        }
        let (key_exchange, client_proof) = if shared.proofs {
            let leaf = |chain: &[Arc<Certificate>]| chain.first().cloned();
            let (server, client) = (leaf(&server_chain), leaf(&client_chain));
            (KeyExchangeVerdict::of(&handshake, server.as_deref()), ClientProof::of(&handshake, client.as_deref()))
        } else {
            Default::default()
        };
        let observation = Box::new(Observation {
            ends,
            connection,
            handshake,
            server_chain,
            client_chain,
            key_exchange,
            client_proof,
            gist: None,
            copy: OnceLock::new(),
        });
        count(&observation, stats);
        (order, observation)
    }
}

fn count(observation: &Observation, stats: &mut Stats) {
    let handshake = &observation.handshake;
    stats.tls_handshakes += 1;
    match observation.key_exchange {
        KeyExchangeVerdict::NotChecked => {}
        KeyExchangeVerdict::Good => stats.detect_key_exchange_good += 1,
        KeyExchangeVerdict::Bad { .. } => stats.detect_key_exchange_bad += 1,
        KeyExchangeVerdict::Unknown(_) => stats.detect_key_exchange_unknown += 1,
    }
    match observation.client_proof {
        ClientProof::NotChecked => {}
        ClientProof::Good => stats.detect_client_proof_good += 1,
        ClientProof::Bad => stats.detect_client_proof_bad += 1,
        ClientProof::Unknown(_) => stats.detect_client_proof_unknown += 1,
    }
    let by_version = match handshake.version() {
        Some(0x0002) => &mut stats.tls_version_ssl2,
        Some(0x0300) => &mut stats.tls_version_ssl3,
        Some(0x0301) => &mut stats.tls_version_1_0,
        Some(0x0302) => &mut stats.tls_version_1_1,
        Some(0x0303) => &mut stats.tls_version_1_2,
        Some(0x0304) => &mut stats.tls_version_1_3,
        _ => &mut stats.tls_version_unknown,
    };
    *by_version += 1;
    stats.tls_certificate_seen += u64::from(!observation.server_chain.is_empty());
    let hidden = handshake.version() == Some(0x0304) && observation.server_chain.is_empty();
    stats.tls_certificate_hidden += u64::from(hidden);
    stats.tls_resumed += u64::from(handshake.resumed == Some(true));
    stats.tls_one_sided += u64::from(!(observation.connection.client_seen && observation.connection.server_seen));
    stats.tls_incomplete += u64::from(!handshake.complete);
    let too_long = handshake.anomalies.contains(&Anomaly::MessageTooLong);
    stats.tls_message_too_long += u64::from(too_long);
}
