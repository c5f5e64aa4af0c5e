//! What was stored before, looked up in the lists of today: "this key, now known stolen, was used here and here".

pub mod indicated;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::packet::{Endpoint, Transport};
use crate::policy::{CertificateHash, Day, Policy, Subject, Target};
use crate::time::{Moment, Order, Span, Timestamp, ValidityTime};
use crate::x509::{Certificate, Facts, Sha256};

use indicated::Indicated;

use super::alerts::past::Past;
use super::case::quoted;
use super::catalogue::{
    BLOCKLISTED, CLIENT_CERT_REVOKED_OR_EXPIRED, INDICATOR_MATCH, KNOWN_COMPROMISED_KEY, REVOKED_BY_CRL, Rule, Severity,
};
use super::crl::About;
use super::crl_signers::IssuedBy;
use super::finding::{AlertId, Cause, Finding, Point};
use super::knowledge::Knowledge;
use super::listed::{Kind, Lists, STALE_WORDS, reason, serial, since};
use super::lists::List;
use super::sighting::HostKey;

/// Places that an alert describes; the rest is counted.
const TOLD: usize = 10;
/// Clients that an alert names.
const CLIENTS: usize = 5;

/// What a list says of a stored certificate.
#[derive(Clone, Debug)]
pub struct Hit {
    /// The rule that alerts where it is seen on the wire.
    pub rule: &'static Rule,
    /// How grave it is.
    pub severity: Severity,
    /// Which list, and what it says.
    pub source: String,
    /// Name of the evidence.
    point: &'static str,
    /// What kind of list.
    kind: Option<Kind>,
    /// What the rule distinguishes by.
    parts: Vec<String>,
}

/// Where a stored certificate was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// What clients asked for.
    pub host: HostKey,
    /// Where the server listens.
    pub server: Endpoint,
    /// Over what.
    pub transport: Transport,
    /// First time.
    pub first: Timestamp,
    /// Last time.
    pub last: Timestamp,
    /// Handshakes.
    pub count: u64,
    /// Different clients, about.
    pub clients: u64,
}

/// A stored certificate that is listed, and where one side used it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The certificate.
    pub certificate: Arc<Certificate>,
    /// What the list says.
    pub hit: Hit,
    /// A client's chain held it.
    pub client: bool,
    /// Clients that used it as their own, wherever that was.
    pub owners: Vec<IpAddr>,
    /// Where, the last use first.
    pub uses: Vec<Use>,
}

/// What is known of a stored certificate without its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Digests<'a> {
    /// SHA-256 of the certificate.
    pub sha256: Sha256,
    /// SHA-1 of it.
    pub sha1: [u8; 20],
    /// SHA-256 of its key.
    pub spki: Option<Sha256>,
    /// Content octets of its serial number.
    pub serial: &'a [u8],
}

impl Knowledge {
    /// Whether there is anything that a certificate can be looked up in.
    pub fn has_lists(&self) -> bool {
        let lists = [&self.blocklists, &self.compromised, &self.indicators].into_iter().any(|lists| !lists.is_empty());
        lists || !self.badkeys.is_empty() || !self.crls.is_empty() || !self.policy.compromised.is_empty()
    }
}

/// What lists name, for a look that is short: there may be a million certificates. CRLs and badkeys' list aside.
#[derive(Debug)]
pub struct Wanted<'a> {
    knowledge: &'a Knowledge,
    serials: HashSet<&'a [u8]>,
}

impl<'a> Wanted<'a> {
    /// By these lists.
    pub fn new(knowledge: &'a Knowledge) -> Self {
        let lists = knowledge.blocklists.iter().flat_map(|named| &named.list.serials).map(|(_, serial, _)| &**serial);
        let entries = knowledge.policy.compromised.iter().flat_map(|entry| &entry.serials);
        let serials = lists.chain(entries.map(|(_, serial)| &**serial)).map(significant).collect();
        Self { knowledge, serials }
    }

    /// Whether a list may have something to say of a certificate.
    pub fn has(&self, one: &Digests<'_>) -> bool {
        let hashes = [CertificateHash::Sha256(one.sha256.0), CertificateHash::Sha1(one.sha1)];
        let knowledge = self.knowledge;
        let lists = [&knowledge.blocklists, &knowledge.compromised, &knowledge.indicators].into_iter().flatten();
        let in_list = |list: &List| {
            hashes.iter().any(|hash| list.certificates.contains_key(hash))
                || one.spki.is_some_and(|spki| list.keys.contains_key(&spki.0))
                || list.serial(one.serial).is_some()
        };
        self.serials.contains(significant(one.serial))
            || lists.map(|named| &named.list).any(in_list)
            || knowledge.policy.compromised.iter().any(|entry| {
                hashes.iter().any(|hash| entry.certificates.contains(hash))
                    || one.spki.is_some_and(|spki| entry.keys.contains(&spki.0))
            })
    }
}

/// How many clients a full sketch of the inventory tells, or one with a single free bit: 512 x ln(512).
pub const MANY_CLIENTS: u64 = 3_194;
/// How many there were then for certain: nineteen of twenty bits are set by so many.
const LEAST_CLIENTS: u64 = 1_536;

/// A serial number without leading zeros.
fn significant(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|octet| **octet == 0).count();
    serial.get(zeros..).unwrap_or_default()
}

/// Everything that the lists say of a certificate that was used at these times. `issuers` are CAs whose signature of it was
/// verified. Rules that are switched off say nothing.
pub fn hits(
    knowledge: &Knowledge,
    (certificate, issuers): (&Certificate, &[Arc<Certificate>]),
    (client, times): (bool, &[ValidityTime]),
) -> Vec<Hit> {
    let Some(facts) = certificate.facts.as_deref() else { return Vec::new() };
    let lists = Lists { knowledge, policy: &knowledge.policy };
    let mut hits = Vec::new();
    let spki = facts.spki_sha256.to_string();
    // What lists say of a client's certificate is one rule.
    let mut add =
        |rule: &'static Rule, (point, source, kind): (&'static str, String, Option<Kind>), parts: Vec<String>| {
            let is_known = rule == &KNOWN_COMPROMISED_KEY || rule == &INDICATOR_MATCH;
            let (rule, severity, parts) = if !client || is_known {
                (rule, rule.severity, parts)
            } else {
                (&CLIENT_CERT_REVOKED_OR_EXPIRED, Severity::High, vec![spki.clone()])
            };
            hits.push(Hit { rule, severity, source, point, kind, parts });
        };
    if let Some(source) = lists.key(facts) {
        add(&KNOWN_COMPROMISED_KEY, ("P5", source, None), Vec::new());
    }
    let mut compromise = false;
    if let Some((source, kind, is_compromise)) = in_crl(knowledge, (facts, issuers), times) {
        compromise = is_compromise;
        add(&REVOKED_BY_CRL, ("crl", source, Some(kind)), vec![serial(facts)]);
    } else if let Some(source) = lists.serial(facts) {
        add(&REVOKED_BY_CRL, ("list", source.text, Some(source.kind)), vec![serial(facts)]);
    }
    if let Some(source) = lists.hash(certificate, facts) {
        add(&BLOCKLISTED, ("list", source.text, Some(source.kind)), vec![certificate.sha256.to_string()]);
    }
    if let Some((point, source, value)) = lists.indicators(certificate).min() {
        add(&INDICATOR_MATCH, (point, source, None), vec![point.to_owned(), value]);
    }
    for hit in &mut hits {
        if hit.rule == &INDICATOR_MATCH {
            hit.severity = Severity::High;
        } else if hit.rule == &REVOKED_BY_CRL && compromise {
            hit.severity = Severity::Critical;
        }
    }
    // A client's certificate in several lists is told once.
    hits.dedup_by(|later, earlier| later.rule == earlier.rule && later.parts == earlier.parts);
    hits.retain(|hit| knowledge.policy.is_enabled(&hit.rule.known()));
    hits
}

/// What a CRL says of the last of these times at which it says something, and whether the key was compromised.
fn in_crl(
    knowledge: &Knowledge,
    (facts, issuers): (&Facts, &[Arc<Certificate>]),
    times: &[ValidityTime],
) -> Option<(String, Kind, bool)> {
    let mut times = times.iter().copied().collect::<BTreeSet<_>>().into_iter().rev();
    let (standing, at) = times.find_map(|at| {
        let mut issuers = issuers.iter().map(|issuer| IssuedBy { issuer, above: None });
        Some((issuers.find_map(|by| knowledge.revoked(by, facts, at))?, at))
    })?;
    let entry = standing.entry;
    let late = if standing.list.is_stale(at) { STALE_WORDS } else { "" };
    let text = format!("a CRL: {}, {}{late}", since(&standing, at), reason(entry.reason));
    let kind = if entry.is_permanent() { Kind::Crl } else { Kind::Hold };
    Some((text, kind, entry.is_compromise()))
}

impl Hit {
    /// The cause of the alert about all places: that of a key is the same wherever it is seen.
    fn cause(&self, certificate: &Facts, host: &str) -> Cause {
        if self.rule == &KNOWN_COMPROMISED_KEY {
            return Cause::LeafKey(certificate.spki_sha256);
        }
        Cause::Subject { rule: self.rule.id, host: host.into(), parts: self.parts.clone().into() }
    }

    /// What is to be said of the certificate, behind the word.
    fn words(&self) -> String {
        match self.kind {
            Some(kind) => kind.words("now "),
            None if self.rule == &KNOWN_COMPROMISED_KEY => "whose private key others are now known to have".to_owned(),
            None => "which is now an indicator".to_owned(),
        }
    }
}

impl Listed {
    /// Who did what with the certificate: a server used it, or a client showed it to one.
    fn deed(&self) -> &'static str {
        let is_ca = self.certificate.facts.as_deref().is_some_and(|facts| About::of(facts).is_ca);
        match (self.client, is_ca) {
            (false, _) => "used a certificate",
            (true, false) => "was shown a client certificate",
            (true, true) => "was shown a CA certificate of a client",
        }
    }
}

impl Use {
    /// In words: host, address, how often, when, by how many.
    pub fn text(&self) -> String {
        let server = format!("{}:{}", self.server.address.to_canonical(), self.server.port);
        let times = if self.count == 1 { "once".to_owned() } else { format!("{} times", self.count) };
        let by = match self.clients {
            1 => "one client".to_owned(),
            MANY_CLIENTS.. => format!("more than {LEAST_CLIENTS} clients"),
            clients => format!("about {clients} clients"),
        };
        format!("{} at {server}, {times}, {} to {}, {by}", shown(&self.host), second(self.first), second(self.last))
    }
}

/// A time for sentences, to the second.
fn second(at: Timestamp) -> String {
    let text = at.rfc3339().to_string();
    format!("{}Z", text.get(..19).unwrap_or(&text))
}

/// A stored host for people: what clients ask for may be anything.
fn shown(host: &HostKey) -> String {
    let HostKey { name, port } = host;
    if name.len() > 253 || name.contains(char::is_whitespace) {
        format!("{}:{port}", quoted(name))
    } else {
        host.text()
    }
}

/// First and last time that an alert told before.
pub type ToldAt = (Timestamp, Timestamp);

/// An alert that goes on is told again when a day is over: its last time may be so late.
const LATE: Span = Span::seconds(86_400);

/// The alerts about listed certificates and indicators: one for each key, certificate, name, address or fingerprint. What
/// `told` knows of is left out: it is asked for an alert and one of its rules, for one cause may have others.
pub fn past(
    (listed, indicated): (Vec<Listed>, Vec<Indicated>),
    policy: &Policy,
    told: impl Fn(&AlertId, &str) -> Option<ToldAt>,
) -> Vec<Past> {
    let mut causes: BTreeMap<AlertId, Vec<Listed>> = BTreeMap::new();
    for mut one in listed {
        let Some(facts) = one.certificate.facts.as_deref() else { continue };
        let (hit, cause) = (&one.hit, one.hit.cause(facts, ""));
        // The same was seen on the wire when the list was there.
        one.uses.retain(|place| {
            let id = hit.cause(facts, &place.host.text()).alert_id();
            id == cause.alert_id() || told(&id, hit.rule.id).is_none_or(|(_, last)| last.plus(LATE) < place.last)
        });
        if !one.uses.is_empty() {
            causes.entry(cause.alert_id()).or_default().push(one);
        }
    }
    let mut past: Vec<Past> = Vec::new();
    for (id, listed) in causes {
        let Some(one) = alert(&listed, policy) else { continue };
        if told(&id, one.head.rule.id).is_none_or(|(first, last)| first > one.first || last.plus(LATE) < one.last) {
            past.push(one);
        }
    }
    past.extend(indicated::past(indicated, policy, &told));
    past.sort_by_key(|one| (one.first, one.head.cause.alert_id()));
    past
}

/// The alert about one cause.
fn alert(listed: &[Listed], policy: &Policy) -> Option<Past> {
    let mut uses: Vec<(&Use, &Listed)> =
        listed.iter().flat_map(|one| one.uses.iter().map(move |place| (place, one))).collect();
    let key = |place: &Use| (place.host.clone(), place.server, place.transport == Transport::Udp);
    uses.sort_by_key(|(place, one)| (std::cmp::Reverse(place.last), key(place), one.certificate.sha256));
    let silenced = |(place, one): &(&Use, &Listed)| suppressed(policy, (place, one));
    let loud: Vec<(&Use, &Listed)> = uses.iter().copied().filter(|one| silenced(one).is_none()).collect();
    let suppressed_by = if loud.is_empty() { uses.first().and_then(silenced) } else { None };
    let uses = if loud.is_empty() { uses } else { loud };
    let (latest, one) = *uses.first()?;
    let first = uses.iter().map(|(place, _)| place.first).min()?;
    let last = uses.iter().map(|(place, _)| place.last).max()?;
    let facts = one.certificate.facts.as_deref()?;
    let more = match uses.len().saturating_sub(1) {
        0 => String::new(),
        1 => ", and at one more place".to_owned(),
        more => format!(", and at {more} more places"),
    };
    let message = format!(
        "{} at {}:{} {} {}, last on {}: {} of {}{more}.",
        shown(&latest.host),
        latest.server.address.to_canonical(),
        latest.server.port,
        one.deed(),
        one.hit.words(),
        second(latest.last),
        quoted(&one.hit.source),
        quoted(&facts.subject.text)
    );
    let mut finding = Finding::new(one.hit.rule, one.hit.cause(facts, ""), at(first), message);
    finding.host = shown(&latest.host).into();
    finding.severity = uses.iter().map(|(place, one)| severity(policy, (place, one))).max()?;
    finding.certificate = Some(Arc::clone(&one.certificate));
    finding.suppressed_by = suppressed_by;
    let list = Point {
        id: one.hit.point,
        text: one.hit.source.clone(),
        observed: Some(if one.hit.rule == &KNOWN_COMPROMISED_KEY {
            facts.spki_sha256.to_string()
        } else {
            one.certificate.sha256.to_string()
        }),
        ..Point::default()
    };
    if one.hit.rule == &KNOWN_COMPROMISED_KEY {
        finding.evidence.proofs.push(list);
    } else {
        finding.evidence.pro.push(list);
    }
    for (place, one) in uses.iter().take(TOLD) {
        let observed = Some(one.certificate.sha256.to_string());
        finding.evidence.pro.push(Point { id: "used", text: place.text(), observed, ..Point::default() });
    }
    let more = uses.len().saturating_sub(TOLD);
    if more > 0 {
        let text = format!("{more} more places: tlswatch inventory audit-lists names them");
        finding.evidence.pro.push(Point { id: "used", text, ..Point::default() });
    }
    let owners: BTreeSet<IpAddr> = uses.iter().flat_map(|(_, one)| one.owners.iter().copied()).collect();
    if !owners.is_empty() {
        let mut named: Vec<String> = owners.iter().take(CLIENTS).map(IpAddr::to_string).collect();
        let more = owners.len().saturating_sub(CLIENTS);
        named.extend((more > 0).then(|| format!("{more} more")));
        let text = format!("clients that used it as their own: {}", named.join(", "));
        finding.evidence.pro.push(Point { id: "clients", text, ..Point::default() });
    }
    finding.evidence.verdict = "used before this list was loaded".to_owned();
    Some(Past {
        hosts: uses.iter().map(|(place, _)| shown(&place.host).into()).collect(),
        clients: owners.into_iter().collect(),
        count: uses.iter().map(|(place, _)| place.count).fold(0, u64::saturating_add),
        head: finding,
        first,
        last,
    })
}

/// A moment that is known by its time only.
fn at(time: Timestamp) -> Moment {
    let order = Order { clock: time, ..Order::default() };
    Moment { order, timestamp: time, time_known: true, ..Moment::default() }
}

fn target<'a>(place: &'a Use) -> Target<'a> {
    Target { name: place.host.server_name(), address: place.server.address, port: place.host.port }
}

fn severity(policy: &Policy, (place, one): (&Use, &Listed)) -> Severity {
    policy.severity_for(&one.hit.rule.known(), &target(place)).unwrap_or(one.hit.severity)
}

/// Line of the suppression that silences this place. One for certain clients holds where all clients are known.
fn suppressed(policy: &Policy, (place, one): (&Use, &Listed)) -> Option<usize> {
    if policy.suppressions.is_empty() {
        return None;
    }
    let key = one.certificate.facts.as_deref().filter(|_| one.client).map(|facts| &facts.spki_sha256.0);
    let nobody = [IpAddr::from([0; 4])];
    let clients = if one.owners.is_empty() { &nobody[..] } else { &one.owners };
    let lines = clients.iter().map(|client| {
        let subject = Subject {
            rule: one.hit.rule.known(),
            client: *client,
            target: target(place),
            client_key: key,
            day: Some(Day::of(place.last)),
        };
        policy.suppression_for(&subject).map(|suppression| suppression.line)
    });
    lines.collect::<Option<Vec<usize>>>()?.first().copied()
}
