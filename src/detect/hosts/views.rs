//! Who gets a certificate that only few get, beside another one of the same host: each client by name, so that it is known
//! whether one of them gets the other one too, however many others there are (MITM-008).
//!
//! A view begins when a second issuer's certificate comes. From then on each client of the few is listed, and marked when it
//! gets another one. Whether it did before is asked once, of sketch and filter of the other one ([`Crowds`]). Views are not
//! stored: one that begins with clients that it does not know has to go by the sketches for two hours.

use super::crowd::{Crowds, Owner};
use super::presented::Presented;
use super::record::{HostRecord, KnownCertificate};
use super::report::Place;
use super::sketch::{address_hash, estimate, is_marked, mark, subnet_hash};
use crate::detect::memory::Memory;
use crate::detect::sighting::{HostKey, Sighting};
use crate::time::{NANOS_PER_SECOND, Timestamp};
use crate::x509::Sha256;

/// Hosts with a view.
const MAX_HOSTS: usize = 4_096;
/// Clients of a view: two IPv4 subnets.
const MAX_CLIENTS: usize = 512;
/// Clients of all views.
const MAX_ALL: usize = 131_072;
/// Subnets of a minority, at most.
pub const MINORITY_SUBNETS: usize = 2;
/// Kinds of clients of a view, and subnets of its servers.
const MAX_KINDS: usize = 8;
/// Handshakes that wait to be told.
const MAX_PLACES: usize = 8;
/// Bytes of certificates that wait to be told.
const MAX_BYTES: usize = 8 << 20;
/// Clients of the majority before which nobody asks for more than that they fall apart.
const BUSY: u32 = 16;
/// A share of the clients with which roll-outs begin: one of 100. See [`wanted`].
const SHARE: u64 = 100;
/// Of fewer subnets nothing is told by counting them.
const LEAST_SUBNETS: u32 = 8;
/// So many clients are not in two of eight subnets by chance.
const TOGETHER: u32 = 6;
const HOUR: i64 = 3_600 * NANOS_PER_SECOND;

/// The views of all hosts.
#[derive(Debug)]
pub struct Views {
    hosts: Memory<HostKey, Vec<View>>,
    /// Who gets certificates that many get.
    pub crowds: Crowds,
    /// The last handshake was counted by an earlier run.
    pub is_old: bool,
    clients: usize,
    bytes: usize,
    refused: u64,
    /// The hour in which it was last looked for what is over.
    swept: i32,
}

/// Who gets one certificate of a host.
#[derive(Debug)]
pub struct View {
    leaf: Sha256,
    issuer: [u8; 32],
    /// The latest hour.
    hour: i32,
    /// From this hour on, all clients of it and the one before are listed.
    whole: i32,
    /// Of this and the last hour, in order.
    clients: Vec<Client>,
    /// How many came since the view began.
    came: u32,
    /// Their subnets, and whether there were more.
    subnets: Vec<u64>,
    spread: bool,
    /// Subnets of servers that have it.
    servers: Vec<u64>,
    /// Kinds of clients, and whether one of them got another certificate.
    kinds: Vec<(u64, bool)>,
    /// Sketches of clients that got another one of the same servers since the view began, and of their subnets.
    others: [u64; 16],
    other_subnets: [u64; 8],
    /// One of them was in the same subnet.
    mingled: bool,
    waiting: Option<Box<Waiting>>,
}

#[derive(Clone, Copy, Debug)]
struct Client {
    hash: u64,
    /// The hour in which it got this certificate last.
    seen: i32,
    /// The hour in which it got, or may have got, another one last, and which; 0: several.
    mixed: i32,
    other: u32,
}

/// What is told when there is enough evidence.
#[derive(Debug)]
pub struct Waiting {
    /// What the few got.
    pub new: Presented,
    /// Who and when.
    pub places: Vec<Place>,
}

/// How clients of a certificate and those of another one fall apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apart {
    /// They do not.
    No,
    /// As far as is known; more clients of the other one would tell.
    NotYet,
    /// They do.
    Yes,
}

impl Default for Views {
    fn default() -> Self {
        let hosts = Memory::new(MAX_HOSTS);
        Self { hosts, crowds: Crowds::default(), is_old: false, clients: 0, bytes: 0, refused: 0, swept: 0 }
    }
}

impl Views {
    /// Takes note of a handshake that is counted in the record. Says whether somebody waits for others of this host.
    pub fn note(&mut self, sighting: &Sighting<'_>, new: &Presented, record: &HostRecord) -> bool {
        let [_, _, ..] = record.certificates.as_slice() else { return false };
        let Some(known) = record.certificate(&new.leaf.sha256).filter(|_| !self.is_old) else { return false };
        let lately = sighting.clock.nanos().saturating_sub(2 * HOUR);
        if !record.certificates.iter().any(|other| other.issuer != known.issuer && other.last >= lately) {
            return false;
        }
        self.note_beside(sighting, known, record)
    }

    #[inline(never)]
    fn note_beside(&mut self, sighting: &Sighting<'_>, known: &KnownCertificate, record: &HostRecord) -> bool {
        let ends = &sighting.observation.ends;
        let (client, subnet) = (address_hash(ends.client.address), subnet_hash(ends.client.address));
        let kind = sighting.client_kind.map_or(0, |kind| kind.hash);
        let server = subnet_hash(ends.server.address);
        let is_few = known.is_within(MINORITY_SUBNETS);
        if self.clients >= MAX_ALL {
            self.sweep(known.hour);
        }
        if self.hosts.get_mut(sighting.host).is_none() {
            // Certificates of servers far apart are not compared, and anybody may have many hosts of two such.
            let mut others = record.certificates.iter().filter(|other| other.issuer != known.issuer);
            if !is_few || others.all(|other| other.servers & known.servers == 0) {
                return false;
            }
            let left = self.hosts.insert(sighting.host.clone(), Vec::new());
            for view in left.into_iter().flat_map(|(_, views)| views) {
                self.dismiss(&view);
            }
        }
        let Some(views) = self.hosts.get_mut(sighting.host) else { return false };
        let mut views = std::mem::take(views);
        let mut waits = false;
        for view in views.iter_mut().filter(|view| view.issuer != known.issuer) {
            let before = view.held();
            waits |= view.note_other(known, (client, subnet), (server, kind)) && view.waiting.is_some();
            self.recount(before, view.held());
        }
        let place = views.iter().position(|view| view.leaf.0 == known.sha256);
        match place {
            Some(place) if !is_few => self.dismiss(&views.swap_remove(place)),
            None if !is_few => {}
            place => {
                let place = place.unwrap_or_else(|| {
                    views.push(View::new(known));
                    views.len().saturating_sub(1)
                });
                if let Some(view) = views.get_mut(place) {
                    let before = view.held();
                    let room = MAX_ALL.saturating_sub(self.clients).saturating_add(before.0).min(MAX_CLIENTS);
                    let mixed = || may_have_another((record, known), (&self.crowds, sighting.name_hash), client);
                    view.note_place(known, subnet, (server, kind));
                    let noted = view.note_client(client, room, mixed);
                    self.recount(before, view.held());
                    self.refused = self.refused.saturating_add(u64::from(!noted));
                }
            }
        }
        views.retain(|view| {
            let is_kept = record.certificate(&view.leaf).is_some();
            if !is_kept {
                self.dismiss(view);
            }
            is_kept
        });
        if let Some(place) = self.hosts.get_mut(sighting.host) {
            *place = views;
        }
        waits
    }

    /// How many clients got a certificate in this and the last hour, and whether more than its sketch tells that.
    pub fn clients(&self, host: u64, known: &KnownCertificate, at: Timestamp) -> (u32, bool) {
        let sketched = estimate(&known.lately(at).clients);
        match self.crowds.clients(known, owner(host, known), hour_of(at)) {
            Some(counted) if counted >= BUSY => (counted, true),
            _ => (sketched, false),
        }
    }

    /// How the clients of a certificate (`few`) and those of another one of its host fall apart.
    pub fn apart(
        &self,
        host: &HostKey,
        (few, many): (&KnownCertificate, &KnownCertificate),
        (clients, lost, at): (u32, bool, Timestamp),
    ) -> Apart {
        let (few_lately, many_lately) = (few.lately(at), many.lately(at));
        let clean = few_lately.clients.iter().zip(many_lately.clients).all(|(left, right)| left & right == 0);
        let views = self.hosts.get(host);
        let view = views.and_then(|views| views.iter().find(|view| view.leaf.0 == few.sha256));
        let Some(view) = view else { return if clean && clients < BUSY { Apart::Yes } else { Apart::No } };
        if !clean && !view.is_clean(many, hour_of(at)) {
            return Apart::No;
        }
        let same_kind = few.rsa == many.rsa || view.kinds.iter().all(|(_, shared)| *shared);
        let confined = || view.is_confined(estimate(&few_lately.clients), (clients, estimate(&[many_lately.subnets])));
        let enough = clients < BUSY || (same_kind && (lost || confined()));
        if enough { Apart::Yes } else { Apart::NotYet }
    }

    /// A handshake of the few waits until there is more evidence.
    #[cold]
    pub fn wait(&mut self, sighting: &Sighting<'_>, new: &Presented) {
        let bytes = new.leaf.weight();
        if self.bytes.saturating_add(bytes) > MAX_BYTES {
            self.sweep(hour_of(sighting.clock));
        }
        let Some(views) = self.hosts.get_mut(sighting.host) else { return };
        let Some(view) = views.iter_mut().find(|view| view.leaf == new.leaf.sha256) else { return };
        match &mut view.waiting {
            Some(waiting) if waiting.places.len() < MAX_PLACES => waiting.places.push(Place::of(sighting)),
            None if self.bytes.saturating_add(bytes) <= MAX_BYTES => {
                self.bytes = self.bytes.saturating_add(bytes);
                view.waiting = Some(Box::new(Waiting { new: new.clone(), places: vec![Place::of(sighting)] }));
            }
            Some(_) | None => self.refused = self.refused.saturating_add(1),
        }
    }

    /// Takes out what waits of a host and need not wait any longer.
    #[cold]
    pub fn ready(&mut self, host: &HostKey, is_ready: impl Fn(&Self, &Presented) -> bool) -> Vec<Waiting> {
        let waits = |view: &View| view.waiting.as_ref().is_some_and(|waiting| is_ready(self, &waiting.new));
        let ready: Vec<usize> = self.hosts.get(host).map_or_else(Vec::new, |views| {
            views.iter().enumerate().filter(|(_, view)| waits(view)).map(|(place, _)| place).collect()
        });
        let Some(views) = self.hosts.get_mut(host) else { return Vec::new() };
        let taken: Vec<Waiting> =
            ready.iter().filter_map(|place| views.get_mut(*place)?.waiting.take()).map(|waiting| *waiting).collect();
        let freed: usize = taken.iter().map(|waiting| waiting.new.leaf.weight()).sum();
        self.bytes = self.bytes.saturating_sub(freed);
        taken
    }

    /// Hosts with a view, and clients of all views.
    pub fn held(&self) -> (usize, usize) {
        (self.hosts.len(), self.clients)
    }

    /// Bytes of certificates that wait.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.bytes
    }

    /// What there was no room for.
    pub fn forgotten(&self) -> u64 {
        self.hosts.forgotten().saturating_add(self.refused).saturating_add(self.crowds.forgotten())
    }

    fn dismiss(&mut self, view: &View) {
        self.recount(view.held(), (0, 0));
    }

    /// A view holds more or less than before.
    fn recount(&mut self, before: (usize, usize), now: (usize, usize)) {
        self.clients = self.clients.saturating_sub(before.0).saturating_add(now.0);
        self.bytes = self.bytes.saturating_sub(before.1).saturating_add(now.1);
    }

    /// There is no room: what is over leaves at hosts that were not seen since, once in an hour.
    #[cold]
    fn sweep(&mut self, hour: i32) {
        if hour == self.swept {
            return;
        }
        self.swept = hour;
        let (mut clients, mut bytes) = (0_usize, 0_usize);
        for view in self.hosts.values_mut().flatten() {
            view.turn(view.hour.max(hour));
            let held = view.held();
            (clients, bytes) = (clients.saturating_add(held.0), bytes.saturating_add(held.1));
        }
        (self.clients, self.bytes) = (clients, bytes);
    }
}

impl View {
    fn new(known: &KnownCertificate) -> Self {
        let first = u32::from(known.hour_counts[0]).saturating_add(known.hour_counts[1].into()) <= 1;
        Self {
            leaf: Sha256(known.sha256),
            issuer: known.issuer,
            hour: known.hour,
            whole: if first { known.hour } else { known.hour.saturating_add(2) },
            clients: Vec::new(),
            came: 0,
            subnets: Vec::new(),
            spread: false,
            servers: Vec::new(),
            kinds: Vec::new(),
            others: [0; 16],
            other_subnets: [0; 8],
            mingled: false,
            waiting: None,
        }
    }

    /// A client got another certificate. Whether that tells more than was known.
    fn note_other(
        &mut self,
        known: &KnownCertificate,
        (client, subnet): (u64, u64),
        (server, kind): (u64, u64),
    ) -> bool {
        self.turn(known.hour);
        let hour = self.hour;
        if let Ok(place) = self.clients.binary_search_by_key(&client, |known| known.hash) {
            self.clients.get_mut(place).into_iter().for_each(|client| client.mix(tag(known), hour));
        }
        self.kinds.iter_mut().filter(|(known, _)| *known == kind && kind != 0).for_each(|(_, shared)| *shared = true);
        if !self.servers.contains(&server) {
            return false;
        }
        self.mingled |= self.subnets.contains(&subnet);
        let before = self.others;
        mark(&mut self.others, client);
        mark(&mut self.other_subnets, subnet);
        self.others != before
    }

    /// Where a client is that got this certificate, and of which kind it is.
    fn note_place(&mut self, known: &KnownCertificate, subnet: u64, (server, kind): (u64, u64)) {
        self.turn(known.hour);
        if !self.subnets.contains(&subnet) {
            if self.subnets.len() < MINORITY_SUBNETS {
                self.subnets.push(subnet);
            } else {
                self.spread = true;
            }
        }
        if self.servers.len() < MAX_KINDS && !self.servers.contains(&server) {
            self.servers.push(server);
        }
        if self.kinds.len() < MAX_KINDS && self.kinds.iter().all(|(known, _)| *known != kind) {
            self.kinds.push((kind, false));
        }
    }

    /// A client got this certificate. Whether there was room for it.
    fn note_client(&mut self, client: u64, room: usize, mixed: impl FnOnce() -> Vec<(u32, i32)>) -> bool {
        let hour = self.hour;
        match self.clients.binary_search_by_key(&client, |known| known.hash) {
            Ok(place) => self.clients.get_mut(place).into_iter().for_each(|client| client.seen = hour),
            Err(place) if self.clients.len() < room => {
                let mut new = Client { hash: client, seen: hour, mixed: i32::MIN, other: 0 };
                mixed().into_iter().for_each(|(other, hour)| new.mix(other, hour));
                self.clients.insert(place, new);
                self.came = self.came.saturating_add(1);
            }
            Err(_) => {
                self.whole = hour.saturating_add(2);
                return false;
            }
        }
        true
    }

    /// Its clients, and the bytes that wait.
    fn held(&self) -> (usize, usize) {
        (self.clients.len(), self.waiting.as_ref().map_or(0, |waiting| waiting.new.leaf.weight()))
    }

    /// Clients that did not get it in this or the last hour are over.
    fn turn(&mut self, hour: i32) {
        if hour < self.hour.saturating_sub(1) {
            // An older capture.
            self.clients.clear();
            (self.hour, self.whole) = (hour, hour);
        }
        if hour > self.hour {
            self.clients.retain(|client| client.seen >= hour.saturating_sub(1));
            self.hour = hour;
        }
        if self.clients.is_empty() {
            // It begins anew, and nothing waits for it.
            self.waiting = None;
            (self.came, self.spread, self.mingled) = (0, false, false);
            (self.others, self.other_subnets) = ([0; 16], [0; 8]);
            self.subnets.clear();
            self.servers.clear();
            self.kinds.clear();
        }
    }

    /// None of its clients got this other one in this or the last hour, as far back as that is known.
    fn is_clean(&self, other: &KnownCertificate, hour: i32) -> bool {
        let since = hour.saturating_sub(1);
        let other = tag(other);
        hour >= self.whole
            && self
                .clients
                .iter()
                .filter(|client| client.seen >= since)
                .all(|client| client.mixed < since || (client.other != other && client.other != 0))
    }

    /// So many others came since it began that it is not just what a few get first.
    fn is_confined(&self, sketched: u32, (clients, subnets): (u32, u32)) -> bool {
        let own = u32::try_from(self.subnets.len()).unwrap_or(u32::MAX);
        let few = if self.hour >= self.whole { self.came } else { self.came.max(sketched) };
        let together = !self.mingled && self.came >= TOGETHER;
        !self.spread
            && (is_enough(estimate(&self.others), (few, clients))
                || (together && is_enough(estimate(&self.other_subnets), (own, subnets.max(LEAST_SUBNETS)))))
    }
}

impl Client {
    fn mix(&mut self, other: u32, hour: i32) {
        let is_recent = self.mixed >= hour.saturating_sub(1);
        self.other = if is_recent && self.other != other { 0 } else { other };
        self.mixed = self.mixed.max(hour);
    }
}

/// Which other certificates a client may have got in this or the last hour, and when.
fn may_have_another(
    (record, known): (&HostRecord, &KnownCertificate),
    (crowds, host): (&Crowds, u64),
    client: u64,
) -> Vec<(u32, i32)> {
    let others = record.certificates.iter().filter(|other| other.issuer != known.issuer);
    let hours = others.flat_map(|other| {
        let hour = |ago: i32| other.hour.saturating_sub(ago);
        other.hour_clients.iter().zip([hour(0), hour(1)]).map(move |(sketch, hour)| (other, sketch, hour))
    });
    let perhaps = hours.filter(|(other, sketch, hour)| {
        *hour >= known.hour.saturating_sub(1)
            && is_marked(*sketch, client)
            && crowds.may_have(other, owner(host, other), (client, *hour))
    });
    perhaps.map(|(other, _, hour)| (tag(other), hour)).collect()
}

/// Whether `others` clients beside `few` of which none got what those got tell that it is not for all: if one client of 100
/// got it by chance, so few of them would have it once in a hundred times at most. Where fewer clients are about, half of
/// them are enough beside one, and more beside more in the same measure.
fn is_enough(others: u32, (few, all): (u32, u32)) -> bool {
    let alone = wanted(1);
    let scale = u64::from(all / 2).clamp(1, alone);
    u64::from(others).saturating_mul(alone) >= wanted(few).saturating_mul(scale)
}

/// How many clients there must be, so that at least `few` of them got what one of 100 gets by chance, in 99 of 100 cases. The
/// quantile of a Poisson distribution, about.
fn wanted(few: u32) -> u64 {
    let few = u64::from(few.max(1));
    // few + 2.33 x the root of it + 1.3
    let tenths = few.saturating_mul(10).saturating_add((few.saturating_mul(543)).isqrt()).saturating_add(13);
    tenths.saturating_mul(SHARE) / 10
}

/// What filters know a certificate of a host by.
pub fn owner(host: u64, known: &KnownCertificate) -> Owner {
    (host, u64::from_be_bytes(*known.sha256.first_chunk().unwrap_or(&[0; 8])))
}

/// What clients know another certificate by; not 0.
fn tag(known: &KnownCertificate) -> u32 {
    u32::from_be_bytes(*known.sha256.first_chunk().unwrap_or(&[0; 4])) | 1
}

/// The hour of a time, counted from the epoch.
pub fn hour_of(at: Timestamp) -> i32 {
    i32::try_from(at.nanos().div_euclid(HOUR)).unwrap_or(0)
}
