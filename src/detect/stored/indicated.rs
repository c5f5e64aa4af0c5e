//! Names, addresses and fingerprints of the inventory that are indicators.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::policy::{Day, Policy, Subject, Target};
use crate::time::Timestamp;
use crate::x509::Sha256;

use super::super::alerts::past::Past;
use super::super::case::quoted;
use super::super::catalogue::{INDICATOR_MATCH, Severity};
use super::super::finding::{AlertId, Cause, Finding, Point};
use super::super::knowledge::Knowledge;
use super::super::listed::told;
use super::super::lists::List;
use super::super::sighting::HostKey;
use super::{LATE, TOLD, ToldAt, at, second, shown};

/// The address of an end that is not stored.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
/// Servers of a place that are named.
const SERVERS: usize = 4;

/// An indicator of a name, an address or a fingerprint that is in the inventory.
#[derive(Clone, Debug)]
pub struct Indicated {
    /// Which it is.
    pub indicator: Indicator,
    /// Which list, and what it says.
    pub source: String,
    /// Where, the last use first.
    pub places: Vec<Place>,
    /// Handshakes whose client and host are not kept.
    pub elsewhere: u64,
}

/// An indicator that may be looked up in the inventory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Indicator {
    /// `name`, `address`, `ja3` or `ja4`.
    pub kind: &'static str,
    /// As the list has it.
    pub value: String,
    /// Place of its list among those that are loaded, and the line.
    line: (usize, usize),
}

/// Where an indicator was seen.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// What exactly was found: a name, an address, a fingerprint.
    pub found: String,
    /// What clients asked for.
    pub host: Option<HostKey>,
    /// Servers, as far as certificates were seen there.
    pub servers: Vec<IpAddr>,
    /// The client, where it is one, or its fingerprint.
    pub client: Option<IpAddr>,
    /// The certificate that has the name, or that the client showed: its subject and digest.
    pub certificate: Option<(Arc<str>, Sha256)>,
    /// First and last time; `None` where it is not stored.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Handshakes.
    pub count: u64,
    /// Different clients, about; `None` where it is not stored.
    pub clients: Option<u64>,
    /// The alert about another indicator, the JA3 of the same hellos, tells of it.
    pub told_by_ja3: bool,
}

impl Knowledge {
    /// The indicator that is this name.
    pub fn indicated_name(&self, name: &str) -> Option<(Indicator, String)> {
        self.indicators.iter().enumerate().find_map(|(number, named)| {
            let (pattern, entry) = named.list.names.find(name)?;
            let indicator = Indicator { kind: "name", value: pattern.to_string(), line: (number, entry.line) };
            Some((indicator, told(&named.name, entry)))
        })
    }

    /// The indicator that this address is, or that it lies in.
    pub fn indicated_address(&self, address: IpAddr) -> Option<(Indicator, String)> {
        self.indicators.iter().enumerate().find_map(|(number, named)| {
            let (network, entry) = named.list.addresses.find(address)?;
            let indicator = Indicator { kind: "address", value: network.to_string(), line: (number, entry.line) };
            Some((indicator, told(&named.name, entry)))
        })
    }

    /// The indicator that this fingerprint is; `kind`: `ja3` or `ja4`.
    pub fn indicated_fingerprint(&self, kind: &'static str, value: &str) -> Option<(Indicator, String)> {
        self.indicators.iter().enumerate().find_map(|(number, named)| {
            let (value, entry) = named.list.fingerprint(value)?;
            let indicator = Indicator { kind, value: value.to_owned(), line: (number, entry.line) };
            Some((indicator, told(&named.name, entry)))
        })
    }

    /// Whether there are indicators of names, of addresses and of fingerprints.
    pub fn indicates(&self) -> [bool; 3] {
        let any = |has: fn(&List) -> bool| self.indicators.iter().any(|named| has(&named.list));
        [
            any(|list| !list.names.is_empty()),
            any(|list| !list.addresses.is_empty()),
            any(|list| !list.fingerprints.is_empty()),
        ]
    }
}

impl Place {
    /// In words: what, where, how often, when, by how many.
    pub fn text(&self) -> String {
        let certificate = self.certificate.as_ref().map(|(subject, _)| quoted(subject));
        let mut text = match (&self.host, self.client, &certificate) {
            (_, Some(client), Some(subject)) => format!("client {client} with the certificate of {subject}"),
            (Some(host), Some(client), None) => format!("client {client} with {}", shown(host)),
            (Some(host), ..) => shown(host),
            _ => self.found.clone(),
        };
        let named = self.host.as_ref().is_some_and(|host| host.server_name().is_some());
        let mut word = " at ";
        for server in self.servers.iter().take(if named { SERVERS } else { 0 }) {
            text.push_str(&format!("{word}{server}"));
            word = ", ";
        }
        let more = self.servers.len().saturating_sub(SERVERS);
        if more > 0 {
            text.push_str(&format!(" and {more} more"));
        }
        if let Some(subject) = certificate.filter(|_| self.client.is_none()) {
            text.push_str(&format!(" by the certificate of {subject}, which has the name {}", quoted(&self.found)));
        }
        match self.span {
            Some((first, last)) => {
                let times = if self.count == 1 { "once".to_owned() } else { format!("{} times", self.count) };
                text.push_str(&format!(", {times}, {} to {}", second(first), second(last)));
            }
            None => text.push_str(", without a certificate: when is not stored"),
        }
        match self.clients {
            Some(1) => text.push_str(", one client"),
            Some(clients) => text.push_str(&format!(", about {clients} clients")),
            None => {}
        }
        text
    }

    /// It is enough for an alert: a name that only the certificate has, though the client asked for another, is not (one
    /// certificate may name many hosts), nor is what is not known to have happened at a time.
    fn alerts(&self) -> bool {
        let by_certificate = self.client.is_none() && self.certificate.is_some();
        let asked = self.host.as_ref().is_some_and(|host| host.server_name().is_some());
        self.span.is_some() && !(by_certificate && asked) && !self.told_by_ja3
    }

    /// Causes that alerts on the wire would have.
    fn on_the_wire(&self, kind: &str) -> Vec<AlertId> {
        let Some(host) = &self.host else { return Vec::new() };
        let text = host.text();
        // Stored names do not tell that they were outer names.
        let hosts = [format!("ech:{text}"), text];
        hosts.iter().map(|host| cause(host, (kind, &self.found)).alert_id()).collect()
    }

    fn target(&self) -> Target<'_> {
        Target {
            name: self.host.as_ref().and_then(HostKey::server_name),
            address: self.servers.first().copied().unwrap_or(NOBODY),
            port: self.host.as_ref().map_or(0, |host| host.port),
        }
    }

    /// Line of the suppression that silences it. One for certain clients holds where the client is known.
    fn suppressed(&self, policy: &Policy) -> Option<usize> {
        let subject = Subject {
            rule: INDICATOR_MATCH.known(),
            client: self.client.unwrap_or(NOBODY),
            target: self.target(),
            client_key: None,
            day: self.span.map(|(_, last)| Day::of(last)),
        };
        policy.suppression_for(&subject).map(|suppression| suppression.line)
    }
}

fn cause(host: &str, (kind, value): (&str, &str)) -> Cause {
    Cause::Subject { rule: INDICATOR_MATCH.id, host: host.into(), parts: [kind.to_owned(), value.to_owned()].into() }
}

/// How grave an indicator of this kind is, as on the wire.
fn severity(kind: &str) -> Severity {
    if matches!(kind, "ja3" | "ja4") { Severity::Low } else { Severity::Medium }
}

/// The alerts about them, one for each indicator, without what `told` knows of.
pub(super) fn past(
    indicated: Vec<Indicated>,
    policy: &Policy,
    told: &impl Fn(&AlertId, &str) -> Option<ToldAt>,
) -> Vec<Past> {
    if !policy.is_enabled(&INDICATOR_MATCH.known()) {
        return Vec::new();
    }
    let mut past = Vec::new();
    for mut one in indicated {
        one.places.retain(|place| {
            let is_new = |id: &AlertId| {
                let last = place.span.map(|(_, last)| last);
                told(id, INDICATOR_MATCH.id).is_none_or(|(_, told)| last.is_some_and(|last| told.plus(LATE) < last))
            };
            place.alerts() && place.on_the_wire(one.indicator.kind).iter().all(is_new)
        });
        let Some(alert) = alert(&one, policy) else { continue };
        let before = told(&alert.head.cause.alert_id(), INDICATOR_MATCH.id);
        if before.is_none_or(|(first, last)| first > alert.first || last.plus(LATE) < alert.last) {
            past.push(alert);
        }
    }
    past
}

/// Handshakes of clients that showed certificates, which their fingerprints count once more, as far as both are kept.
fn twice(places: &[&Place]) -> u64 {
    let mut clients: BTreeMap<IpAddr, [u64; 2]> = BTreeMap::new();
    for (client, place) in places.iter().filter_map(|place| Some((place.client?, place))) {
        let [shown, said] = clients.entry(client).or_default();
        let count = if place.certificate.is_some() { shown } else { said };
        *count = count.saturating_add(place.count);
    }
    clients.values().map(|[shown, said]| *shown.min(said)).fold(0, u64::saturating_add)
}

fn alert(one: &Indicated, policy: &Policy) -> Option<Past> {
    let loud: Vec<&Place> = one.places.iter().filter(|place| place.suppressed(policy).is_none()).collect();
    let suppressed_by =
        if loud.is_empty() { one.places.first().and_then(|place| place.suppressed(policy)) } else { None };
    let places = if loud.is_empty() { one.places.iter().collect() } else { loud };
    let latest = *places.first()?;
    let spans = || places.iter().filter_map(|place| place.span);
    let first = spans().map(|(first, _)| first).min()?;
    let last = spans().map(|(_, last)| last).max()?;
    let more = match places.len().saturating_sub(1) {
        0 => String::new(),
        1 => ", and at one more place".to_owned(),
        more => format!(", and at {more} more places"),
    };
    let Indicator { kind, value, .. } = &one.indicator;
    let message = format!(
        "The {kind} {} is now an indicator ({}) and was seen: {}{more}.",
        quoted(value),
        one.source,
        latest.text()
    );
    let cause = cause("", (kind, value));
    let mut finding = Finding::new(&INDICATOR_MATCH, cause, at(first), message);
    let host = |place: &Place| place.host.as_ref().map_or_else(|| place.found.clone(), shown);
    finding.host = host(latest).into();
    finding.severity = places
        .iter()
        .map(|place| policy.severity_for(&INDICATOR_MATCH.known(), &place.target()).unwrap_or_else(|| severity(kind)))
        .max()?;
    finding.suppressed_by = suppressed_by;
    let evidence = &mut finding.evidence;
    evidence.pro.push(Point { id: kind, text: one.source.clone(), observed: Some(value.clone()), ..Point::default() });
    for place in places.iter().take(TOLD) {
        let observed = Some(place.found.clone());
        evidence.pro.push(Point { id: "seen", text: place.text(), observed, ..Point::default() });
    }
    let more = places.len().saturating_sub(TOLD);
    if more > 0 {
        let text = format!("{more} more places: tlswatch inventory audit-lists names them");
        evidence.pro.push(Point { id: "seen", text, ..Point::default() });
    }
    if one.elsewhere > 0 {
        let text = format!("{} more handshakes: with which clients and hosts is not kept", one.elsewhere);
        evidence.pro.push(Point { id: "seen", text, ..Point::default() });
    }
    evidence.verdict = "seen before this list was loaded".to_owned();
    let mut clients: Vec<IpAddr> = places.iter().filter_map(|place| place.client).collect();
    clients.sort_unstable();
    clients.dedup();
    Some(Past {
        hosts: places.iter().filter(|place| place.host.is_some()).map(|place| host(place).into()).collect(),
        clients,
        count: places
            .iter()
            .map(|place| place.count)
            .fold(one.elsewhere, u64::saturating_add)
            .saturating_sub(twice(&places)),
        head: finding,
        first,
        last,
    })
}
