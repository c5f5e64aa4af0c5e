//! Handshakes of the same certificates at the same place, collapsed in memory until they are written.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use crate::detect::alerts::Alert;
use crate::detect::client_kind::ClientKind;
use crate::detect::observation::Observation;
use crate::detect::sighting::HostKey;
use crate::event::{AlertView, Role, Side};
use crate::packet::{Endpoint, Transport};
use crate::sink::{About, Event, Lost, Sink, SinkError};
use crate::time::Timestamp;
use crate::tls::fingerprint::memo::{KindMemo, client_kind};
use crate::x509::{Certificate, Sha256};

use super::parts::{Counted, number};
use super::prints::Prints;
use super::sketch::Sketch;
use super::writer::Order;
use super::{Inventory, Named, StoredAlert};

/// Bytes of DER after which a batch is written: certificates dominate what it holds.
const BATCH_BYTES: usize = 16 << 20;

/// Things with numbers, in the order in which they came.
#[derive(Debug)]
pub(super) struct Ordered<K, V> {
    numbers: HashMap<K, u32>,
    pub(super) entries: Vec<(K, V)>,
}

impl<K, V> Default for Ordered<K, V> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), entries: Vec::new() }
    }
}

impl<K: Hash + Eq + Clone, V> Ordered<K, V> {
    /// Number and value of `key`, made by `make` when it is new.
    pub(super) fn entry(&mut self, key: K, make: impl FnOnce() -> V) -> (u32, Option<&mut V>) {
        let next = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        let number = *self.numbers.entry(key.clone()).or_insert(next);
        if number == next {
            self.entries.push((key, make()));
        }
        (number, usize::try_from(number).ok().and_then(|at| self.entries.get_mut(at)).map(|(_, value)| value))
    }
}

/// First and last time and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) count: i64,
}

impl Span {
    pub(super) fn of(at: Timestamp) -> Self {
        Self { first: at, last: at, count: 0 }
    }

    pub(super) fn add(&mut self, at: Timestamp) {
        self.first = self.first.min(at);
        self.last = self.last.max(at);
        self.count = self.count.saturating_add(1);
    }

    /// Of both.
    pub(super) fn with(self, other: Self) -> Self {
        let count = self.count.saturating_add(other.count);
        Self { first: self.first.min(other.first), last: self.last.max(other.last), count }
    }
}

/// Where a server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) server: Endpoint,
    pub(super) transport: Transport,
    pub(super) virtual_network: u32,
}

/// What is asked for at a port: number of the name, port, transport.
pub(super) type Host = (u32, u16, Transport);

/// Numbers of certificate, place and name, and the role as stored.
pub(super) type SightingKey = (u32, u32, u32, u8);

/// What is written in one transaction.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) certificates: Ordered<Sha256, (Arc<Certificate>, Option<Span>)>,
    pub(super) places: Ordered<Place, ()>,
    pub(super) names: Ordered<Box<str>, ()>,
    pub(super) sightings: Ordered<SightingKey, (Span, Sketch)>,
    pub(super) hosts: Ordered<Host, Span>,
    pub(super) changes: Ordered<(u32, u32), Span>,
    pub(super) clients: Ordered<(u32, IpAddr), Span>,
    pub(super) prints: Prints,
    /// Span of all packets in it.
    pub(super) span: Option<Span>,
    handshakes: usize,
    bytes: usize,
}

impl Batch {
    /// Adds a handshake; `kind`: of its client, where fingerprints are kept.
    pub(super) fn add(&mut self, observation: &Observation, kind: Option<&ClientKind>) {
        let at = time_of(observation);
        self.handshakes += 1;
        touch(&mut self.span, at);
        let ends = &observation.ends;
        let place = Place { server: ends.server, transport: ends.transport, virtual_network: ends.virtual_network };
        let (place, _) = self.places.entry(place, || ());
        let (name, _) = self.names.entry(host_name(observation), || ());
        let (host, span) = self.hosts.entry((name, ends.server.port, ends.transport), || Span::of(at));
        if let Some(span) = span {
            span.add(at);
        }
        if let Some(kind) = kind {
            self.prints.add(kind, (ends.client.address, host), at);
        }
        for (side, chain) in [(Side::Server, &observation.server_chain), (Side::Client, &observation.client_chain)] {
            for (position, certificate) in chain.iter().enumerate() {
                let number = self.certificate(certificate, at);
                let key = (number, place, name, role_number(side, Role::of(certificate, position)));
                if let (_, Some((span, clients))) = self.sightings.entry(key, || (Span::of(at), Sketch::new())) {
                    span.add(at);
                    clients.add(ends.client.address);
                }
                let span = match (position, side) {
                    (0, Side::Server) => self.changes.entry((host, number), || Span::of(at)).1,
                    (0, Side::Client) => self.clients.entry((number, ends.client.address), || Span::of(at)).1,
                    _ => None,
                };
                if let Some(span) = span {
                    span.add(at);
                }
            }
        }
    }

    fn certificate(&mut self, certificate: &Arc<Certificate>, at: Timestamp) -> u32 {
        let bytes = &mut self.bytes;
        let (number, entry) = self.certificates.entry(certificate.sha256, || {
            *bytes = bytes.saturating_add(certificate.der.len());
            (Arc::clone(certificate), None)
        });
        if let Some((_, span)) = entry {
            touch(span, at);
        }
        number
    }

    pub(super) fn handshakes(&self) -> usize {
        self.handshakes
    }

    /// Bytes that it holds, about.
    pub(super) fn weight(&self) -> usize {
        let rows = self.sightings.entries.len().saturating_add(self.hosts.entries.len());
        self.bytes.saturating_mul(2).saturating_add(rows.saturating_mul(256))
    }

    /// Whether it is time to write it.
    fn is_full(&self, handshakes: usize) -> bool {
        self.handshakes >= handshakes || self.bytes >= BATCH_BYTES
    }
}

fn touch(span: &mut Option<Span>, at: Timestamp) {
    span.get_or_insert_with(|| Span::of(at)).add(at);
}

/// Time of a handshake; where its packet has none, the capture's clock.
fn time_of(observation: &Observation) -> Timestamp {
    let first = observation.handshake.first;
    if first.time_known { first.timestamp } else { first.order.clock }
}

/// Longest name that is kept (RFC 1035 section 2.3.4 allows 253 characters).
const NAME_BYTES: usize = 255;

/// The name that the client asked for, in lower case, or `ip:ADDRESS`.
///
/// A client may write anything there. What is no name of a host has its octets but letters, digits, `.`, `-` and `_`
/// written as `%20`: it must not be taken for the host of an address (`ip:10.0.0.1`), nor for several.
fn host_name(observation: &Observation) -> Box<str> {
    if let Some(name) = HostKey::of(observation).server_name() {
        return name.into();
    }
    let hello = observation.handshake.client_hello.as_deref();
    let raw = hello.and_then(|hello| hello.server_name.as_deref()).unwrap_or_default();
    let raw = raw.strip_suffix(b".").unwrap_or(raw);
    let is_address = std::str::from_utf8(raw).is_ok_and(|text| text.parse::<IpAddr>().is_ok());
    // An address is no name either (RFC 6066 section 3): the server's own says where it is.
    if raw.iter().all(|octet| *octet == b'.') || is_address {
        return format!("ip:{}", observation.ends.server.address).into();
    }
    let mut name = String::with_capacity(NAME_BYTES);
    for octet in raw {
        let plain = octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'_');
        let room = NAME_BYTES.saturating_sub(name.len());
        if room < if plain { 1 } else { 3 } {
            break;
        }
        if plain {
            name.push(char::from(octet.to_ascii_lowercase()));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(name, "%{octet:02x}");
        }
    }
    name.into()
}

/// What kind of client it is; `None` without a ClientHello.
fn kind_of(observation: &Observation, known: &mut KindMemo<ClientKind>) -> Option<Arc<ClientKind>> {
    if let Some(gist) = &observation.gist {
        return gist.client_kind.clone();
    }
    let hello = observation.handshake.client_hello.as_deref()?;
    let protocol = observation.handshake.protocol;
    let make = || {
        let kind = ClientKind::of(hello, protocol);
        let bytes = size_of::<ClientKind>() + kind.ja4.len() + kind.ja3.len();
        (kind, bytes)
    };
    Some(known.get(|kind| client_kind(kind, hello, protocol), make))
}

/// `role.id`.
fn role_number(side: Side, role: Role) -> u8 {
    let role = match role {
        Role::Leaf => 0,
        Role::Intermediate => 1,
        Role::Root => 2,
        Role::Other => 3,
    };
    match side {
        Side::Server => role,
        Side::Client => role + 4,
    }
}

/// The sink of an [`Inventory`].
#[derive(Debug)]
pub struct Gather {
    inventory: Arc<Inventory>,
    batch: Batch,
    /// Handshakes of a batch.
    handshakes: usize,
    /// What was counted before.
    counted: Arc<Counted>,
    /// Captures of the run of which only a part is read, by file, and the handshakes of the batch.
    parts: HashMap<u32, (Sha256, Vec<u64>)>,
    /// Somebody else commits, when there is more to come.
    uncommitted: bool,
    /// Live: the capture's clock moves so far on before a batch is written.
    every: Option<crate::time::Span>,
    /// Live: the clock when the batch was first seen to hold something.
    began: Option<Timestamp>,
    /// Kinds of clients, where nobody has made them out; `None`: fingerprints are not kept.
    kinds: Option<KindMemo<ClientKind>>,
}

impl Gather {
    /// Writes into `inventory` whenever this many handshakes have come.
    pub fn new(inventory: Arc<Inventory>, handshakes: usize) -> Self {
        // Lists that come later find nothing in what ends with the process.
        let kinds = inventory.in_file.then(KindMemo::default);
        Self {
            inventory,
            kinds,
            batch: Batch::default(),
            handshakes: handshakes.max(1),
            counted: Arc::default(),
            parts: HashMap::new(),
            uncommitted: false,
            every: None,
            began: None,
        }
    }

    /// Leaves out handshakes that are counted already.
    #[must_use]
    pub fn without(mut self, counted: Arc<Counted>) -> Self {
        self.counted = counted;
        self
    }

    /// Only a part of these captures is read, given by file: notes which handshakes were counted.
    #[must_use]
    pub fn of_parts(mut self, captures: HashMap<u32, Sha256>) -> Self {
        self.parts = captures.into_iter().map(|(file, capture)| (file, (capture, Vec::new()))).collect();
        self
    }

    /// Leaves it to others to commit: what belongs together is not complete with the last event.
    #[must_use]
    pub fn uncommitted(mut self) -> Self {
        self.uncommitted = true;
        self
    }

    /// Writes when the capture's clock has moved on so far, whether anything comes or not, or a batch is full, and at the
    /// end: for a network that is watched, where a flush follows every few packets.
    #[must_use]
    pub fn at_leisure(mut self, every: crate::time::Span) -> Self {
        self.every = Some(every);
        self
    }

    /// Keeps an alert as it was last told, with what earlier runs know of it; those that the policy silences are not told,
    /// and of captures that were read before all is there.
    fn alert(&self, AlertView { alert, .. }: &AlertView<'_>, line: &[u8]) -> Result<(), SinkError> {
        let Some(total) = alert.total().filter(|_| !alert.suppressed) else { return Ok(()) };
        let stored = StoredAlert {
            id: alert.id.to_string(),
            first: total.first,
            last: total.last,
            count: total.count,
            severity: total.severity.number(),
            json: String::from_utf8_lossy(line).trim_end().to_owned(),
        };
        self.inventory.put_alert(stored, about(alert)).map_err(SinkError::from)
    }

    fn send(&mut self) -> Result<(), SinkError> {
        self.began = None;
        if self.batch.handshakes == 0 {
            return Ok(());
        }
        self.inventory.send(Order::Batch(Box::new(std::mem::take(&mut self.batch))))?;
        for (capture, handshakes) in self.parts.values_mut().filter(|(_, handshakes)| !handshakes.is_empty()) {
            self.inventory.send(Order::Part(*capture, std::mem::take(handshakes)))?;
        }
        Ok(())
    }
}

/// What an alert is about, as it is stored.
pub(super) fn about(alert: &Alert) -> Vec<(Named, String)> {
    let hosts = alert.hosts.iter().map(|host| (Named::Host, host.to_string()));
    let clients = alert.clients.iter().map(|client| (Named::Client, client.to_string()));
    let rules = alert.rules.iter().map(|rule| (Named::Rule, (*rule).to_owned()));
    let full = [(alert.hosts.is_full(), Named::Host), (alert.clients.is_full(), Named::Client)];
    let more = full.iter().filter(|(full, _)| *full).map(|(_, kind)| (Named::More, kind.name().to_owned()));
    hosts.chain(clients).chain(rules).chain(more).collect()
}

impl Sink for Gather {
    fn write(&mut self, event: &Event<'_>) -> Result<(), SinkError> {
        // A handshake carries its certificates; their own events come only once.
        if let About::Handshake(observation) = event.about
            && !self.counted.has(Some(&observation.ends), &observation.handshake.first)
        {
            let kind = self.kinds.as_mut().and_then(|known| kind_of(observation, known));
            self.batch.add(observation, kind.as_deref());
            let first = &observation.handshake.first;
            if let Some((_, handshakes)) = self.parts.get_mut(&first.file) {
                handshakes.push(number(&observation.ends, first));
            }
            if self.batch.is_full(self.handshakes) {
                self.send()?;
            }
        }
        if let About::Alert(view) = event.about {
            self.alert(view, event.line)?;
        }
        Ok(())
    }

    fn tick(&mut self, clock: Timestamp) -> Result<(), SinkError> {
        let Some(every) = self.every.filter(|_| self.batch.handshakes > 0) else { return Ok(()) };
        let began = *self.began.get_or_insert(clock);
        if clock.since(began).nanos() >= every.0 { self.send() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        if self.every.is_some() {
            return Ok(());
        }
        self.send()?;
        if self.uncommitted { Ok(()) } else { self.inventory.commit().map_err(SinkError::from) }
    }

    fn lost(&self) -> Lost {
        Lost { inventory: self.inventory.lost(), ..Lost::default() }
    }
}

impl Drop for Gather {
    fn drop(&mut self) {
        // Whoever waits for the inventory to be complete is told of a writer that failed.
        let _ = self.send();
    }
}
