//! What client and server agreed on against what was offered (MITM-009, 010, 014, 015).

use std::fmt;
use std::sync::Arc;

use super::catalogue::{DOWNGRADE_SENTINEL, FALLBACK_SIGNAL, SERVER_CHOICE_NOT_OFFERED, Severity, VERSION_REGRESSION};
use super::finding::{Cause, Finding, Point, add};
use super::hosts::report::{Place, client_text};
use super::hosts::sketch::{address_hash, stable_hash_of, subnet_hash};
use super::memory::Memory;
use super::sighting::Sighting;
use crate::time::{NANOS_PER_SECOND, Timestamp};
use crate::tls::names;
use crate::tls::server_hello::HELLO_RETRY_RANDOM;
use crate::tls::{Alert, ClientHello, Handshake, HandshakeEnd, KeyExchange, Protocol, ServerHello, is_tls13_draft};

/// Wrong choices of one server that are named.
const NAMED_CHOICES: usize = 8;
/// Hosts whose sentinels are counted.
const MAX_SENTINELS: usize = 10_000;
/// Pairs of host and kind of client whose versions are remembered.
const MAX_KINDS: usize = 200_000;
/// Pairs of host and client that are remembered.
const MAX_TALKS: usize = 200_000;
/// Handshakes of TLS 1.3 from which a step back is one.
const STEADY: u32 = 50;
/// Subnets of servers that are remembered of one kind of client.
const SERVERS: usize = 8;
/// Steps back from which it is told.
const STEPS: u32 = 3;
/// Clients with the sentinel from which the server is said to be broken.
const BROKEN_FOR: usize = 3;
const SIGNALING_RENEGOTIATION: u16 = 0x00ff;
const SIGNALING_FALLBACK: u16 = 0x5600;

/// The rules about negotiation and their memory.
#[derive(Debug)]
pub struct Negotiation {
    sentinels: Memory<u64, Vec<u64>>,
    kinds: Memory<u64, Kind>,
    talks: Memory<u64, Talk>,
}

/// What a host speaks with one kind of client.
#[derive(Clone, Copy, Debug, Default)]
struct Kind {
    tls13: u32,
    steps: u32,
    servers: Servers,
}

/// Subnets of servers that spoke TLS 1.3 lately, each by a part of its hash, the latest first; 0 where there is none. Who moves
/// among more of them is asked only about the last.
#[derive(Clone, Copy, Debug, Default)]
struct Servers([u16; SERVERS]);

impl Servers {
    fn mark(&mut self, server: u16) {
        if self.0.first() != Some(&server) {
            let end = self.0.iter().position(|known| *known == server).unwrap_or(SERVERS - 1);
            if let Some(moved) = self.0.get_mut(..=end) {
                moved.rotate_right(1);
            }
            if let Some(first) = self.0.first_mut() {
                *first = server;
            }
        }
    }

    /// 16 bits of the hash of a server's subnet.
    fn part(sighting: &Sighting<'_>) -> u16 {
        let [.., one, other] = subnet_hash(sighting.observation.ends.server.address).to_be_bytes();
        u16::from_be_bytes([one, other]).max(1)
    }
}

/// What a host spoke with one client.
#[derive(Clone, Copy, Debug, Default)]
struct Talk {
    tls13: u32,
    broken: Option<Timestamp>,
}

impl Default for Negotiation {
    fn default() -> Self {
        Self { sentinels: Memory::new(MAX_SENTINELS), kinds: Memory::new(MAX_KINDS), talks: Memory::new(MAX_TALKS) }
    }
}

impl Negotiation {
    /// How many entries were forgotten.
    pub fn forgotten(&self) -> u64 {
        self.sentinels.forgotten().saturating_add(self.kinds.forgotten()).saturating_add(self.talks.forgotten())
    }

    /// Takes note of a handshake. `multi`: the host is known to have several certificates, maybe several operators.
    /// `doubted`: there is evidence against the certificate (MITM-002).
    pub fn observe(&mut self, sighting: &Sighting<'_>, (multi, doubted): (bool, bool), findings: &mut Vec<Finding>) {
        let handshake = &sighting.observation.handshake;
        let Some(offer) = handshake.client_hello.as_deref() else { return };
        if sighting.gist.odd_choice {
            add(findings, self.sentinel(sighting, offer));
            add(findings, not_offered(sighting, offer));
        }
        let host = host_hash(sighting);
        add(findings, self.regression(sighting, host, doubted).filter(|_| !multi));
        add(findings, self.fallback(sighting, host));
    }

    /// Whether MITM-014 may have anything to say of a handshake.
    pub fn may_regress(&self, sighting: &Sighting<'_>) -> bool {
        let old = sighting.gist.version.is_some_and(|version| version < 0x0304);
        let steady = || {
            let kind = sighting.client_kind.map(|kind| mixed(host_hash(sighting), kind.hash));
            kind.and_then(|kind| self.kinds.get(&kind)).is_some_and(|kind| kind.tls13 >= STEADY)
        };
        old && sighting.observation.handshake.protocol == Protocol::Tls && sighting.gist.offers_tls13 && steady()
    }

    fn sentinel(&mut self, sighting: &Sighting<'_>, offer: &ClientHello) -> Option<Finding> {
        let handshake = &sighting.observation.handshake;
        let hello = handshake.server_hello.as_deref()?;
        let offered = sentinel(handshake.protocol, offer, hello)?;
        let place = Place::of(sighting);
        let (clients, _) = self.sentinels.entry(&host_hash(sighting), Vec::new);
        let clients = clients?;
        let client = address_hash(place.ends.client.address);
        if handshake.established == Some(true) && !clients.contains(&client) && clients.len() < BROKEN_FOR {
            clients.push(client);
        }
        let what = if clients.len() >= BROKEN_FOR {
            "all clients go on, so the server or its balancer may be broken"
        } else {
            "somebody between may have rewritten the hello or ended TLS"
        };
        let parts = [client_text(place.ends.server.address)].into();
        let cause = Cause::Subject { rule: DOWNGRADE_SENTINEL.id, host: place.host.clone(), parts };
        let address = client_text(place.ends.client.address);
        let message = format!(
            "{} told client {address} in its random that the client offered less than {offered}, which it did offer: {what}.",
            place.host
        );
        let mut finding = place.plain(&DOWNGRADE_SENTINEL, cause, message);
        let refused =
            handshake.alerts.iter().any(|alert| handshake.client == Some(alert.direction) && alert.description == 47);
        if refused {
            finding.confidence = 99;
        }
        let version = hello.version();
        let proof = Point {
            id: "P6",
            points: 0,
            text: "the downgrade sentinel of RFC 8446 section 4.1.3".to_owned(),
            observed: Some(format!("{} with the sentinel", names::version_text(version))),
            expected: Some(offered.to_owned()),
        };
        finding.evidence.proofs.push(proof);
        Some(finding)
    }

    fn regression(&mut self, sighting: &Sighting<'_>, host: u64, doubted: bool) -> Option<Finding> {
        let handshake = &sighting.observation.handshake;
        let version = sighting.gist.version?;
        if handshake.protocol != Protocol::Tls || !sighting.gist.offers_tls13 {
            return None;
        }
        let key = mixed(host, sighting.client_kind?.hash);
        let (kind, _) = self.kinds.entry(&key, Kind::default);
        let kind = kind?;
        let server = Servers::part(sighting);
        if version >= 0x0304 {
            kind.tls13 = kind.tls13.saturating_add(1);
            kind.steps = 0;
            kind.servers.mark(server);
            return None;
        }
        let same_place = kind.servers.0.contains(&server);
        if version < 0x0300 || kind.tls13 < STEADY || !same_place {
            return None;
        }
        kind.steps = kind.steps.saturating_add(1);
        if kind.steps < STEPS && !doubted {
            return None;
        }
        let place = Place::of(sighting);
        let cause = Cause::Subject { rule: VERSION_REGRESSION.id, host: place.host.clone(), parts: Arc::default() };
        let message = format!(
            "{} spoke TLS 1.3 {} times with this kind of client and now chose {} for client {}.",
            place.host,
            kind.tls13,
            names::version_text(version),
            client_text(place.ends.client.address)
        );
        let mut finding = place.plain(&VERSION_REGRESSION, cause, message);
        finding.evidence.pro.push(Point {
            id: "version",
            points: 0,
            text: format!("{} handshakes in a row below TLS 1.3", kind.steps),
            observed: Some(names::version_text(version)),
            expected: Some("TLS 1.3".to_owned()),
        });
        Some(finding)
    }

    fn fallback(&mut self, sighting: &Sighting<'_>, host: u64) -> Option<Finding> {
        let handshake = &sighting.observation.handshake;
        let key = mixed(host, address_hash(sighting.observation.ends.client.address));
        let told = sighting.gist.fallback;
        let before = told.then(|| self.talks.get(&key).copied()).flatten().unwrap_or_default();
        let tls13 = sighting.gist.version == Some(0x0304);
        let broken =
            matches!(handshake.end, HandshakeEnd::Reset | HandshakeEnd::Timeout) && handshake.established != Some(true);
        // Anything else says nothing about a fallback to come.
        if tls13 || broken {
            let talk = self.talks.entry(&key, Talk::default).0?;
            talk.tls13 = talk.tls13.saturating_add(u32::from(tls13));
            talk.broken = if broken { Some(sighting.clock) } else { talk.broken };
        }
        if !told {
            return None;
        }
        let place = Place::of(sighting);
        let what = if refuses_fallback(handshake) {
            "and the server refused the fallback"
        } else {
            "and the server accepted it"
        };
        let cause = Cause::Subject {
            rule: FALLBACK_SIGNAL.id,
            host: place.host.clone(),
            parts: [client_text(place.ends.client.address)].into(),
        };
        let address = client_text(place.ends.client.address);
        let message =
            format!("Client {address} fell back to an older version with {} and said so, {what}.", place.host);
        let mut finding = place.plain(&FALLBACK_SIGNAL, cause, message);
        let version = sighting.gist.version.map(names::version_text);
        let (text, seen) = if refuses_fallback(handshake) {
            ("the server supports a newer version than the client offered", "inappropriate_fallback")
        } else {
            ("the client tried a newer version first and did not get through (RFC 7507)", "TLS_FALLBACK_SCSV")
        };
        let observed = version.map_or_else(|| seen.to_owned(), |version| format!("{seen} with {version}"));
        finding.evidence.pro.push(Point::new("fallback", text).observed(observed).expected("the newest version first"));
        if before.tls13 > 0 {
            finding.severity = Severity::Medium;
            let text = format!("{} handshakes of TLS 1.3 with this client before", before.tls13);
            finding.evidence.pro.push(Point { id: "version", text, ..Point::default() });
        }
        let recent = |at: &Timestamp| sighting.clock.since(*at).nanos() <= 30 * NANOS_PER_SECOND;
        if before.broken.filter(recent).is_some() {
            let text = "a handshake with this host was broken in the 30 seconds before".to_owned();
            finding.evidence.pro.push(Point { id: "broken", text, ..Point::default() });
        }
        Some(finding)
    }
}

/// The version that the client offered and the server's random denies.
fn sentinel(protocol: Protocol, offer: &ClientHello, hello: &ServerHello) -> Option<&'static str> {
    let tail: [u8; 8] = hello.random.last_chunk().copied()?;
    if hello.random == HELLO_RETRY_RANDOM || hello.ssl2_format || !tail.starts_with(b"DOWNGRD") {
        return None;
    }
    let last = tail.last().copied()?;
    let version = hello.version();
    let offers = |version| offer.supported_versions.contains(&version);
    match protocol {
        Protocol::Tls if offers(0x0304) && version <= 0x0303 && last <= 1 => Some("TLS 1.3"),
        Protocol::Tls if version <= 0x0302 && last == 0 && (offers(0x0303) || offer.legacy_version == 0x0303) => {
            Some("TLS 1.2")
        }
        // Versions of DTLS count down.
        Protocol::Dtls if offers(0xfefc) && version >= 0xfefd && last <= 1 => Some("DTLS 1.3"),
        _ => None,
    }
}

/// Whether MITM-009 or MITM-010 has anything to say of a handshake.
pub(super) fn is_odd_choice(handshake: &Handshake) -> bool {
    let hellos = handshake.client_hello.as_deref().zip(handshake.server_hello.as_deref());
    hellos.is_some_and(|(offer, hello)| {
        sentinel(handshake.protocol, offer, hello).is_some() || !wrong_choices(handshake, offer, hello).is_empty()
    })
}

/// Whether MITM-015 has anything to say of a handshake.
pub(super) fn signals_fallback(handshake: &Handshake) -> bool {
    let signals = |offer: &ClientHello| offer.cipher_suites.contains(&SIGNALING_FALLBACK);
    handshake.client_hello.as_deref().is_some_and(signals) || refuses_fallback(handshake)
}

/// inappropriate_fallback of the server (RFC 7507 section 3).
fn refuses_fallback(handshake: &Handshake) -> bool {
    let by_server = |alert: &Alert| handshake.client.is_some_and(|client| client != alert.direction);
    handshake.alerts.iter().any(|alert| by_server(alert) && alert.description == 86)
}

/// A choice of the server.
#[derive(Clone, Copy, Debug)]
enum Choice<'a> {
    Version(u16),
    CipherSuite(u16),
    Compression(u8),
    Extension(u16),
    Protocol(&'a [u8]),
    Group(u16),
    SessionId,
}

impl fmt::Display for Choice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(number) => write!(f, "version {number:#06x}"),
            Self::CipherSuite(number) => write!(f, "cipher suite {number:#06x}"),
            Self::Compression(number) => write!(f, "compression method {number}"),
            Self::Extension(number) => write!(f, "extension {number}"),
            Self::Protocol(name) => write!(f, "application protocol {}", String::from_utf8_lossy(name)),
            Self::Group(number) => write!(f, "group {number:#06x}"),
            Self::SessionId => f.write_str("another session id than it was sent"),
        }
    }
}

/// What the server chose that was not offered, where the hellos were seen whole.
fn wrong_choices<'a>(handshake: &'a Handshake, offer: &ClientHello, hello: &'a ServerHello) -> Vec<Choice<'a>> {
    if !handshake.complete || hello.ssl2_format || offer.ssl2_format || is_odd(handshake) {
        return Vec::new();
    }
    choices(handshake, offer, hello)
}

fn not_offered(sighting: &Sighting<'_>, offer: &ClientHello) -> Option<Finding> {
    let handshake = &sighting.observation.handshake;
    let hello = handshake.server_hello.as_deref()?;
    let choices = wrong_choices(handshake, offer, hello);
    if choices.is_empty() {
        return None;
    }
    let mut wrong: Vec<String> = choices.iter().take(NAMED_CHOICES).map(Choice::to_string).collect();
    let more = choices.len().saturating_sub(NAMED_CHOICES);
    if more > 0 {
        wrong.push(format!("and {more} more"));
    }
    let place = Place::of(sighting);
    let parts = [client_text(place.ends.server.address)].into();
    let cause = Cause::Subject { rule: SERVER_CHOICE_NOT_OFFERED.id, host: place.host.clone(), parts };
    let message = format!(
        "{} chose what client {} did not offer: {}.",
        place.host,
        client_text(place.ends.client.address),
        wrong.join(", ")
    );
    let mut finding = place.plain(&SERVER_CHOICE_NOT_OFFERED, cause, message);
    let points = wrong.into_iter().map(|text| {
        let point = Point::new("choice", "the server chose what the client did not offer").observed(text);
        point.expected("a choice from the client's offer (RFC 8446 section 4.1.3)")
    });
    finding.evidence.pro.extend(points);
    Some(finding)
}

/// The hellos themselves contradict each other's lengths: nothing follows from what was read.
fn is_odd(handshake: &Handshake) -> bool {
    use crate::tls::Anomaly::{
        ClientGap, MalformedClientHello, MalformedExtension, MalformedServerHello, MidStream, NoClientHello, OneSided,
        OverlapConflict, RepeatedClientHello, RepeatedServerHello, ServerGap,
    };
    handshake.anomalies.iter().any(|anomaly| {
        matches!(
            anomaly,
            ClientGap
                | ServerGap
                | MidStream
                | OneSided
                | OverlapConflict
                | NoClientHello
                | MalformedClientHello
                | MalformedServerHello
                | MalformedExtension
                | RepeatedClientHello
                | RepeatedServerHello
        )
    })
}

fn choices<'a>(handshake: &'a Handshake, offer: &ClientHello, hello: &'a ServerHello) -> Vec<Choice<'a>> {
    let mut wrong = Vec::new();
    let second = handshake.second_client_hello.as_deref();
    match hello.selected_version {
        // Servers of the drafts answered with their own draft's number, before draft 22 in the old field.
        Some(version) if is_tls13_draft(version) => {}
        None if is_tls13_draft(hello.legacy_version) && offer.supported_versions.contains(&hello.legacy_version) => {}
        Some(version) if !offer.supported_versions.contains(&version) => wrong.push(Choice::Version(version)),
        // An old server that does not know supported_versions may choose any version up to legacy_version.
        None if handshake.protocol == Protocol::Tls && hello.legacy_version > offer.legacy_version => {
            wrong.push(Choice::Version(hello.legacy_version));
        }
        _ => {}
    }
    if let Some(suite) = hello.cipher_suite.filter(|suite| !offer.cipher_suites.contains(suite)) {
        wrong.push(Choice::CipherSuite(suite));
    }
    if !offer.compression_methods.contains(&hello.compression_method) {
        wrong.push(Choice::Compression(hello.compression_method));
    }
    let in_hellos = || offer.extensions.iter().chain(second.into_iter().flat_map(|second| &second.extensions));
    // Most kinds are small numbers: which of these were sent is found out once.
    let low = in_hellos().fold(0_u64, |low, one| low | 1_u64.checked_shl(one.kind.into()).unwrap_or(0));
    let sent = |kind: u16| match 1_u64.checked_shl(kind.into()) {
        Some(bit) => low & bit != 0,
        None => in_hellos().any(|extension| extension.kind == kind),
    };
    // The cipher suite asks for it as the extension does (RFC 5746 section 3.3).
    let excepted = |kind: u16| kind == 0xff01 && offer.cipher_suites.contains(&SIGNALING_RENEGOTIATION);
    for extension in &hello.extensions {
        if !sent(extension.kind) && !excepted(extension.kind) {
            wrong.push(Choice::Extension(extension.kind));
        }
    }
    if let Some(protocol) = hello.alpn.as_ref().filter(|protocol| !offer.alpn.contains(protocol)) {
        wrong.push(Choice::Protocol(protocol));
    }
    let exchange = handshake.server_key_exchange.as_deref().map(|exchange| &exchange.kind);
    let group = match (hello.key_share.as_ref(), exchange) {
        (Some(share), _) => Some(share.group),
        (None, Some(KeyExchange::Ecdhe { group, .. })) if !offer.groups.is_empty() => Some(*group),
        _ => None,
    };
    if let Some(group) = group.filter(|group| !offer.groups.contains(group)) {
        wrong.push(Choice::Group(group));
    }
    let last = second.unwrap_or(offer);
    let echo = handshake.protocol == Protocol::Tls && hello.selected_version == Some(0x0304);
    if echo && hello.session_id != last.session_id {
        wrong.push(Choice::SessionId);
    }
    wrong
}

fn host_hash(sighting: &Sighting<'_>) -> u64 {
    mixed(sighting.name_hash, sighting.host.port.into())
}

fn mixed(left: u64, right: u64) -> u64 {
    // Both are hashes, or small: one round of MurmurHash3's finaliser keeps them apart. Nothing of this is stored.
    let mixed = left.rotate_left(32) ^ right.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}

/// How a server answers: version, cipher suite, group, extensions in order, application protocol, and whether it asked
/// for another hello.
pub fn stack_of(handshake: &Handshake, hello: &ServerHello) -> u64 {
    let group = match (hello.key_share.as_ref(), handshake.server_key_exchange.as_deref().map(|one| &one.kind)) {
        (Some(share), _) => share.group,
        (None, Some(KeyExchange::Ecdhe { group, .. })) => *group,
        _ => 0,
    };
    let retried = u16::from(handshake.hello_retry_request.is_some());
    let numbers = [hello.version(), hello.cipher_suite.unwrap_or(0), group, retried];
    let numbers = numbers.into_iter().chain(hello.extensions.iter().map(|extension| extension.kind));
    let octets = numbers.flat_map(u16::to_be_bytes);
    stable_hash_of(octets.chain(hello.alpn.as_deref().unwrap_or_default().iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::testing::{Scene, ids};
    use crate::direction::Direction;
    use crate::tls::{Alert, Anomaly, Extension, KeyShare};

    type Change<'a> = &'a dyn Fn(&mut ClientHello, &mut ServerHello);

    fn show(scene: &mut Scene, rules: &mut Negotiation, client: &str, change: Change<'_>) -> Vec<Finding> {
        show_all(scene, rules, client, &|handshake| {
            let mut offer = handshake.client_hello.take().unwrap();
            let mut hello = handshake.server_hello.take().unwrap();
            change(&mut offer, &mut hello);
            (handshake.client_hello, handshake.server_hello) = (Some(offer), Some(hello));
        })
    }

    fn show_all(
        scene: &mut Scene,
        rules: &mut Negotiation,
        client: &str,
        change: &dyn Fn(&mut Handshake),
    ) -> Vec<Finding> {
        let mut observation = scene.handshake(client, "203.0.113.10", &[]);
        change(&mut observation.handshake);
        let mut findings = Vec::new();
        let state = (false, false);
        scene.with("www.example.com", &observation, |sighting| rules.observe(sighting, state, &mut findings));
        findings
    }

    fn once(change: Change<'_>) -> Vec<&'static str> {
        ids(&show(&mut Scene::new(&[]), &mut Negotiation::default(), "10.0.0.1", change))
    }

    fn tail(hello: &mut ServerHello, last: u8) {
        hello.random[24..].copy_from_slice(&[0x44, 0x4f, 0x57, 0x4e, 0x47, 0x52, 0x44, last]);
    }

    #[test]
    fn sentinel_needs_a_better_offer() {
        for (offered, legacy, chosen, last, fires) in [
            (&[0x0304, 0x0303][..], 0x0303, 0x0303, 1, true),
            (&[0x0304, 0x0303], 0x0303, 0x0302, 0, true),
            (&[0x0304, 0x0303], 0x0303, 0x0303, 2, false),
            (&[], 0x0303, 0x0303, 1, false),
            (&[0x0303], 0x0303, 0x0303, 1, false),
            (&[], 0x0303, 0x0302, 0, true),
            (&[], 0x0303, 0x0302, 1, false),
            (&[], 0x0302, 0x0302, 0, false),
            (&[0x7f1c, 0x0303], 0x0303, 0x0303, 1, false),
            (&[0x0a0a, 0x0303], 0x0303, 0x0303, 1, false),
        ] {
            let found = once(&|offer, hello| {
                offer.supported_versions = offered.to_vec().into();
                (offer.legacy_version, hello.legacy_version) = (legacy, chosen);
                tail(hello, last);
            });
            assert_eq!(found == ["MITM-009"], fires, "{offered:x?} {legacy:x} {chosen:x} {last}");
        }
        let constant = once(&|offer, hello| {
            offer.supported_versions = vec![0x0304].into();
            hello.random = HELLO_RETRY_RANDOM;
        });
        assert!(constant.is_empty());
    }

    #[test]
    fn sentinel_for_everybody_is_a_broken_server() {
        let (mut scene, mut rules) = (Scene::new(&[]), Negotiation::default());
        let change: Change<'_> = &|offer, hello| {
            offer.supported_versions = vec![0x0304, 0x0303].into();
            tail(hello, 1);
        };
        for (client, broken) in [("10.0.0.1", false), ("10.0.0.2", false), ("10.0.0.2", false), ("10.0.0.3", true)] {
            let found = show(&mut scene, &mut rules, client, change);
            assert_eq!(found[0].message.contains("may be broken"), broken, "{client}");
        }
        let found = show_all(&mut scene, &mut rules, "10.0.0.9", &|handshake| {
            handshake.client_hello.as_mut().unwrap().supported_versions = vec![0x0304].into();
            tail(handshake.server_hello.as_mut().unwrap(), 1);
            handshake.alerts = vec![Alert { direction: Direction::LowToHigh, level: 2, description: 47 }];
        });
        assert_eq!(found[0].confidence, 99);
    }

    #[test]
    fn choices_must_be_offered() {
        let extension = |kind| Extension { kind, body: 0..0 };
        let cases: [(&str, Change<'_>, bool); 17] = [
            ("as offered", &|_, _| {}, false),
            ("cipher suite", &|_, hello| hello.cipher_suite = Some(0x009c), true),
            ("compression", &|_, hello| hello.compression_method = 1, true),
            ("higher version", &|_, hello| hello.legacy_version = 0x0304, true),
            ("lower version", &|_, hello| hello.legacy_version = 0x0301, false),
            ("selected version", &|_, hello| hello.selected_version = Some(0x0304), true),
            ("draft", &|_, hello| hello.selected_version = Some(0x7f0e), false),
            (
                "old draft",
                &|offer, hello| {
                    offer.supported_versions = vec![0x7f12, 0x0303].into();
                    hello.legacy_version = 0x7f12;
                },
                false,
            ),
            ("old draft not offered", &|_, hello| hello.legacy_version = 0x7f12, true),
            ("extension", &|_, hello| hello.extensions.push(extension(23)), true),
            (
                "extension sent",
                &|offer, hello| {
                    offer.extensions.push(extension(23));
                    hello.extensions.push(extension(23));
                },
                false,
            ),
            ("renegotiation_info", &|_, hello| hello.extensions.push(extension(0xff01)), true),
            (
                "renegotiation_info after the SCSV",
                &|offer, hello| {
                    offer.cipher_suites.push(0x00ff);
                    hello.extensions.push(extension(0xff01));
                },
                false,
            ),
            ("application protocol", &|_, hello| hello.alpn = Some(b"h2".as_slice().into()), true),
            (
                "group",
                &|offer, hello| {
                    offer.groups = vec![29].into();
                    hello.key_share = Some(KeyShare { group: 23, public: 0..0 });
                },
                true,
            ),
            (
                "session id",
                &|offer, hello| {
                    offer.supported_versions = vec![0x0304].into();
                    hello.selected_version = Some(0x0304);
                    offer.session_id = [1; 32].into();
                },
                true,
            ),
            ("session id of TLS 1.2", &|_, hello| hello.session_id = [1; 32].into(), false),
        ];
        for (name, change, fires) in cases {
            assert_eq!(once(change) == ["MITM-010"], fires, "{name}");
        }
        let wrong = |handshake: &mut Handshake| handshake.server_hello.as_mut().unwrap().cipher_suite = Some(1);
        let all = |change: &dyn Fn(&mut Handshake)| {
            ids(&show_all(&mut Scene::new(&[]), &mut Negotiation::default(), "10.0.0.1", change))
        };
        assert_eq!(all(&wrong), ["MITM-010"]);
        for lossy in [
            &|handshake: &mut Handshake| handshake.complete = false,
            &(|handshake: &mut Handshake| handshake.note(Anomaly::MalformedClientHello)) as &dyn Fn(&mut Handshake),
        ] {
            let found = all(&|handshake| {
                wrong(handshake);
                lossy(handshake);
            });
            assert!(found.is_empty());
        }
    }

    #[test]
    fn regression_after_fifty_handshakes() {
        let tls13: Change<'_> = &|offer, hello| {
            offer.supported_versions = vec![0x0304, 0x0303].into();
            hello.selected_version = Some(0x0304);
        };
        let tls12: Change<'_> = &|offer, _| offer.supported_versions = vec![0x0304, 0x0303].into();
        for (before, fires) in [(STEADY, true), (STEADY - 1, false)] {
            let (mut scene, mut rules) = (Scene::new(&[]), Negotiation::default());
            for _ in 0..before {
                assert!(show(&mut scene, &mut rules, "10.0.0.1", tls13).is_empty());
            }
            let steps: Vec<_> =
                (0..3).map(|_| ids(&show(&mut scene, &mut rules, "10.0.0.1", tls12)) == ["MITM-014"]).collect();
            assert_eq!(steps, [false, false, fires]);
            // Another kind of client, and one that offers less.
            let other: Change<'_> = &|offer, hello| {
                tls12(offer, hello);
                offer.cipher_suites.push(0x1301);
            };
            assert!(show(&mut scene, &mut rules, "10.0.0.1", other).is_empty());
            assert!(show(&mut scene, &mut rules, "10.0.0.1", &|_, _| {}).is_empty());
        }
    }

    /// A name that dozens of server subnets answer for: one that never spoke TLS 1.3 did not step back.
    #[test]
    fn a_step_back_is_one_of_the_same_place() {
        let serve = |(rules, server): (&mut Negotiation, &str), tls13: bool| {
            let mut scene = Scene::new(&[]);
            let mut observation = scene.handshake("10.0.0.1", server, &[]);
            observation.handshake.client_hello.as_mut().unwrap().supported_versions = vec![0x0304, 0x0303].into();
            observation.handshake.server_hello.as_mut().unwrap().selected_version = tls13.then_some(0x0304);
            let mut found = Vec::new();
            scene.with("www.example.com", &observation, |one| rules.observe(one, (false, false), &mut found));
            ids(&found) == ["MITM-014"]
        };
        for places in [1_u32, 4, 60] {
            let mut rules = Negotiation::default();
            for handshake in 0..120 {
                assert!(!serve((&mut rules, &format!("203.0.{}.10", handshake % places)), true));
            }
            let told = (0..150).filter(|other| serve((&mut rules, &format!("198.51.{other}.10")), false)).count();
            assert_eq!(told, 0, "{places}: others");
            // What it spoke with last, it spoke with now.
            let last = format!("203.0.{}.77", 119 % places);
            let told: Vec<bool> = (0..3).map(|_| serve((&mut rules, &last), false)).collect();
            assert_eq!(told, [false, false, true], "{places}");
        }
    }

    #[test]
    fn a_doubted_certificate_needs_one_step_and_hosts_with_several_none() {
        for ((multi, doubted), fires) in
            [((false, false), false), ((false, true), true), ((true, true), false), ((true, false), false)]
        {
            let (mut scene, mut rules) = (Scene::new(&[]), Negotiation::default());
            let mut last = Vec::new();
            for handshake in 0..=STEADY {
                let mut observation = scene.handshake("10.0.0.1", "203.0.113.10", &[]);
                observation.handshake.client_hello.as_mut().unwrap().supported_versions = vec![0x0304, 0x0303].into();
                let hello = observation.handshake.server_hello.as_mut().unwrap();
                hello.selected_version = (handshake < STEADY).then_some(0x0304);
                last.clear();
                let state = (multi, doubted);
                scene.with("www.example.com", &observation, |sighting| rules.observe(sighting, state, &mut last));
            }
            assert_eq!(ids(&last) == ["MITM-014"], fires, "{multi} {doubted}");
        }
    }

    #[test]
    fn fallback_is_told() {
        let (mut scene, mut rules) = (Scene::new(&[]), Negotiation::default());
        let fallback: Change<'_> = &|offer, _| offer.cipher_suites.push(SIGNALING_FALLBACK);
        let found = show(&mut scene, &mut rules, "10.0.0.1", fallback);
        assert_eq!((ids(&found), found[0].severity), (vec!["MITM-015"], Severity::Low));
        // Handshakes of TLS 1.2 before, none of them broken: neither graver nor explained.
        let found = show(&mut scene, &mut rules, "10.0.0.1", fallback);
        assert_eq!((found[0].severity, found[0].evidence.pro.len()), (Severity::Low, 1));
        show_all(&mut scene, &mut rules, "10.0.0.1", &|handshake| handshake.end = HandshakeEnd::Reset);
        let found = show(&mut scene, &mut rules, "10.0.0.1", fallback);
        assert_eq!(found[0].evidence.pro.len(), 1, "reset after the handshake was done");
        show(&mut scene, &mut rules, "10.0.0.1", &|offer, hello| {
            offer.supported_versions = vec![0x0304].into();
            hello.selected_version = Some(0x0304);
        });
        show_all(&mut scene, &mut rules, "10.0.0.1", &|handshake| {
            (handshake.end, handshake.established) = (HandshakeEnd::Reset, Some(false));
        });
        let found = show(&mut scene, &mut rules, "10.0.0.1", fallback);
        assert_eq!((found[0].severity, found[0].evidence.pro.len()), (Severity::Medium, 3));
        scene.now += 31;
        assert_eq!(show(&mut scene, &mut rules, "10.0.0.1", fallback)[0].evidence.pro.len(), 2);
        let alert = |direction| {
            move |handshake: &mut Handshake| handshake.alerts = vec![Alert { direction, level: 2, description: 86 }]
        };
        let found = show_all(&mut scene, &mut rules, "10.0.0.2", &alert(Direction::HighToLow));
        assert_eq!(ids(&found), ["MITM-015"]);
        assert!(show_all(&mut scene, &mut rules, "10.0.0.2", &alert(Direction::LowToHigh)).is_empty());
    }
}
