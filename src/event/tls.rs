//! The `tlswatch.tls` event: one handshake.

use std::borrow::Cow;
use std::sync::Arc;

use crate::detect::observation::{Connection, Ends, Observation};
use crate::packet::community_id::{append_community_id, community_id_text};
use crate::packet::{Layer, Transport};
use crate::time::Moment;
use crate::tls::{Anomaly, Handshake, HandshakeEnd, KeyExchange, Protocol};
use crate::x509::{AlternativeName, Certificate, LeafText};

use super::context::{Context, Detail};
use super::id::EventId;
use super::json::{LOWER, UPPER, Writer, hex, key, push_hex, push_number};
use super::kinds::{ClientKind, Kinds, ServerKind};
use super::memo::{Memo, Place};
use super::wire::AddressText;
use super::{Dataset, ECS_VERSION, facts, wire};

/// Most host names that `related.hosts` lists.
const RELATED_HOSTS: usize = 32;

/// Appends the event of one handshake as one line.
///
/// Runs in a worker for every handshake, so nothing here builds a tree and nothing but the line allocates. What many
/// handshakes share comes from `memo`, which belongs to this thread and this context.
pub fn append_tls(out: &mut Vec<u8>, observation: &Observation, context: &Context, memo: &mut Memo) {
    let Memo { times, places, kinds, id } = memo;
    let handshake = &*observation.handshake;
    let names = Common::of(observation);
    let kinds = kinds.kinds(handshake, context.detail);
    let place = places.of(context, handshake.first);
    let id = EventId::new(id, &context.name, Dataset::Tls).handshake(observation).finish();
    let first = times.text(handshake.first.timestamp);
    out.reserve(expected_bytes(observation, context, (&kinds, place)));
    Writer::line(out, |w| {
        // What is always there is written in as few pieces as may be.
        w.piece(r#","@timestamp":""#);
        w.bytes(&first);
        w.members(&context.handshake.head);
        if handshake.established == Some(true) {
            w.piece(r#","outcome":"success""#);
        } else {
            w.plain("outcome", outcome(observation));
        }
        if handshake.first.time_known && handshake.last.time_known {
            w.piece(r#","start":""#);
            w.bytes(&first);
            w.piece(r#"","end":""#);
            w.bytes(&times.text(handshake.last.timestamp));
            w.piece("\"");
            let duration = handshake.last.timestamp.since(handshake.first.timestamp).nanos();
            if let Ok(duration) = u64::try_from(duration) {
                w.number(key!("duration"), duration);
            }
        }
        w.piece(r#","id":""#);
        w.bytes(&hex(&id, LOWER));
        w.piece("\"}");
        w.members(&place.observer);
        connection(w, observation, &names, context);
        w.object(key!("tls"), |w| tls(w, observation, (context.detail, None), (kinds, &names)));
        related(w, observation, &names, (kinds, context.detail));
        w.members(&place.log);
        w.object(key!("tlswatch"), |w| facts::handshake(w, observation, (kinds, &names), context));
    });
}

/// Bytes of what every line holds besides what is counted: names of members, times, addresses, numbers.
const OTHER_BYTES: usize = 1_536;

/// Bytes that the line of a handshake will take, hardly ever less: so that it is allocated once.
fn expected_bytes(observation: &Observation, context: &Context, (kinds, place): (&Kinds<'_>, &Place)) -> usize {
    let name = observation.handshake.client_hello.as_deref().and_then(|hello| hello.server_name.as_deref());
    let leaves = [observation.server_chain.first(), observation.client_chain.first()];
    let leaves = leaves.into_iter().flatten().map(|leaf| leaf_text(leaf).members.len() + LEAF_BYTES);
    OTHER_BYTES
        + context.handshake.head.len()
        + place.observer.len()
        + place.log.len()
        + 3 * name.map_or(0, <[u8]>::len)
        + kinds.client.map_or(0, ClientKind::bytes)
        + kinds.server.map_or(0, ServerKind::bytes)
        + kinds.request.len()
        + leaves.sum::<usize>()
        + (observation.server_chain.len() + observation.client_chain.len()) * 2 * HASH_BYTES
}

/// Bytes of the hash of a certificate in a list.
const HASH_BYTES: usize = 67;

/// Bytes of the other hashes of a leaf.
const LEAF_BYTES: usize = 43 + 81;

/// The members of `event` that are the same in every event of a handshake.
pub(super) fn event_of_handshake(w: &mut Writer<'_>) {
    event_head(w, Dataset::Tls, "tls-handshake");
    w.raw("category", r#"["network"]"#);
    w.raw("type", r#"["connection","protocol"]"#);
}

/// What one event tells more than once.
pub(super) struct Common<'a> {
    client: AddressText,
    /// `None` where it is the client's.
    other: Option<AddressText>,
    /// `server_name` where it is a valid host name.
    pub(super) domain: Option<Cow<'a, [u8]>>,
}

impl<'a> Common<'a> {
    pub(super) fn of(observation: &'a Observation) -> Self {
        let hello = observation.handshake.client_hello.as_deref();
        let (client, server) = (observation.ends.client.address, observation.ends.server.address);
        Self {
            client: AddressText::of(client),
            other: (server != client).then(|| AddressText::of(server)),
            domain: hello.and_then(|hello| hello.server_name.as_deref()).and_then(wire::host_name),
        }
    }

    fn server(&self) -> &AddressText {
        self.other.as_ref().unwrap_or(&self.client)
    }

    /// Both addresses, each once.
    fn addresses(&self) -> impl Iterator<Item = &AddressText> {
        std::iter::once(&self.client).chain(&self.other)
    }
}

/// `@timestamp` and `ecs`.
pub(super) fn begin(w: &mut Writer<'_>, at: Moment) {
    w.append("@timestamp", |out| at.timestamp.rfc3339().append_to(out));
    ecs(w);
}

/// `ecs`.
pub(super) fn ecs(w: &mut Writer<'_>) {
    w.object("ecs", |w| w.plain("version", ECS_VERSION));
}

/// What every `event` object begins with.
pub(super) fn event_head(w: &mut Writer<'_>, dataset: Dataset, action: &str) {
    w.plain(
        "kind",
        match dataset {
            Dataset::Tls | Dataset::Certificate => "event",
            Dataset::Alert => "alert",
            Dataset::Stats => "metric",
        },
    );
    w.plain("module", "tlswatch");
    w.plain("dataset", dataset.name());
    w.plain("provider", "tlswatch");
    w.plain("action", action);
}

/// `observer`, with the interface of the packet `at`.
pub(super) fn observer(w: &mut Writer<'_>, context: &Context, at: Option<Moment>) {
    let interface = at.and_then(|at| context.places.interface(at.file, at.interface));
    w.object("observer", |w| {
        w.members(&context.observer);
        w.object("ingress", |w| w.object("interface", |w| w.text("name", interface.as_deref().unwrap_or_default())));
    });
}

/// `log.file.path`.
pub(super) fn log(w: &mut Writer<'_>, context: &Context, at: Moment) {
    let file = context.places.file(at.file);
    w.object("log", |w| w.object("file", |w| w.text("path", file.as_deref().unwrap_or_default())));
}

/// `source`, `destination` and `network`.
pub(super) fn connection(w: &mut Writer<'_>, observation: &Observation, names: &Common<'_>, context: &Context) {
    let ends = &observation.ends;
    w.piece(r#","source":{"ip":""#);
    w.with(|out| names.client.push(out));
    w.piece(r#"","port":"#);
    w.with(|out| push_number(out, ends.client.port.into()));
    w.piece(r#"},"destination":{"ip":""#);
    w.with(|out| names.server().push(out));
    if ends.server.port == 443 {
        w.piece(r#"","port":443"#);
    } else {
        w.piece(r#"","port":"#);
        w.with(|out| push_number(out, ends.server.port.into()));
    }
    if let Some(domain) = &names.domain {
        w.piece(r#","domain":""#);
        w.bytes(domain);
        w.piece("\"");
    }
    let protocol = observation.handshake.protocol;
    if ends.client.address.is_ipv4() && ends.transport == Transport::Tcp && protocol == Protocol::Tls {
        // Nearly all: one piece up to the Community ID.
        w.piece(r#"},"network":{"type":"ipv4","transport":"tcp","protocol":"tls","iana_number":"6","community_id":""#);
    } else {
        w.piece(r#"},"network":{"type":"#);
        w.piece(if ends.client.address.is_ipv4() { r#""ipv4""# } else { r#""ipv6""# });
        w.plain("transport", ends.transport.name());
        w.plain("protocol", wire::network_protocol(protocol));
        w.append("iana_number", |out| push_number(out, u64::from(ends.transport.number())));
        w.piece(r#","community_id":""#);
    }
    w.bytes(&community_id_text([ends.client, ends.server], ends.transport, context.community_seed));
    w.piece("\"");
    if !observation.connection.encapsulation.is_empty() {
        let mut tags = vlans(&observation.connection);
        let mut tag = |w: &mut Writer<'_>| {
            if let Some(id) = tags.next() {
                w.object("vlan", |w| w.append("id", |out| push_number(out, u64::from(id))));
            }
        };
        tag(w);
        w.object("inner", tag);
    }
    w.piece("}");
}

/// What a finding knows of its handshake, where that is not kept: ends and certificate of the server.
pub(super) fn ends_alone(w: &mut Writer<'_>, (ends, leaf): (&Ends, Option<&Arc<Certificate>>), context: &Context) {
    let (client, server) = (ends.client.address.to_string(), ends.server.address.to_string());
    w.object("source", |w| {
        w.text("ip", &client);
        w.number("port", ends.client.port);
    });
    w.object("destination", |w| {
        w.text("ip", &server);
        w.number("port", ends.server.port);
    });
    w.object("network", |w| {
        w.text("type", if ends.client.address.is_ipv4() { "ipv4" } else { "ipv6" });
        w.text("transport", ends.transport.name());
        w.append("iana_number", |out| push_number(out, u64::from(ends.transport.number())));
        w.append("community_id", |out| {
            append_community_id(out, [ends.client, ends.server], ends.transport, context.community_seed);
        });
    });
    if let Some(certificate) = leaf {
        let chain = std::slice::from_ref(certificate);
        w.object("tls", |w| {
            w.object("server", |w| self::leaf(w, chain, (Detail::Standard, Some(certificate))));
        });
    }
    w.object("related", |w| w.texts("ip", std::iter::once(&client).chain((server != client).then_some(&server))));
}

/// `related`; the names of the certificate only in full detail.
pub(super) fn related(
    w: &mut Writer<'_>,
    observation: &Observation,
    names: &Common<'_>,
    (kinds, detail): (Kinds<'_>, Detail),
) {
    w.piece(r#","related":{"ip":[""#);
    w.with(|out| names.client.push(out));
    if let Some(server) = &names.other {
        w.piece(r#"",""#);
        w.with(|out| server.push(out));
    }
    w.piece(r#""]"#);
    let full = detail == Detail::Full;
    if let Some(leaf) = observation.server_chain.first().filter(|_| full) {
        w.appended("hosts", related_hosts(names, leaf), |out, name| out.extend_from_slice(name));
    } else if let Some(domain) = &names.domain {
        w.piece(r#","hosts":[""#);
        w.bytes(domain);
        w.piece(r#""]"#);
    }
    w.items(key!("hash"), |out| {
        let (server, client) = (observation.server_chain.as_slice(), observation.client_chain.as_slice());
        for chain in [server, client] {
            for certificate in chain {
                out.extend_from_slice(hash_text(certificate));
            }
        }
        for leaf in [server.first(), client.first()].into_iter().flatten() {
            out.extend_from_slice(&leaf_text(leaf).sha1);
        }
        out.extend_from_slice(kinds.client.map_or(&[], |client| client.hash.as_bytes()));
        out.extend_from_slice(kinds.server.map_or(&[], |server| server.hash.as_bytes()));
    });
    w.piece("}");
}

/// The name that the client asked for, and those of the certificate.
fn related_hosts<'a>(names: &'a Common<'_>, leaf: &'a Certificate) -> Vec<&'a [u8]> {
    let mut hosts: Vec<&[u8]> = names.domain.as_deref().into_iter().collect();
    for name in dns_names(leaf).map(str::as_bytes) {
        if hosts.len() < RELATED_HOSTS && wire::is_host_name(name) && !hosts.contains(&name) {
            hosts.push(name);
        }
    }
    hosts
}

/// `,"<sha256>"`: made once, for a network shows each certificate many times.
pub(super) fn hash_text(certificate: &Certificate) -> &[u8; HASH_BYTES] {
    certificate.event_hash.get_or_init(|| framed(b",\"", &certificate.sha256.0))
}

/// What events say of a leaf: made once.
pub(super) fn leaf_text(certificate: &Certificate) -> &LeafText {
    certificate.event_leaf.get_or_init(|| {
        let mut brief = 0;
        let members = Writer::fragment(|w| {
            leaf_members(w, certificate);
            w.with(|out| brief = out.len());
            w.raw("x509", &certificate.x509_json);
        });
        let key = certificate.facts.as_deref();
        Box::new(LeafText {
            members: members.into(),
            brief,
            sha1: framed(b",\"", &certificate.sha1),
            key: key.map(|facts| framed(b",\"spki_sha256\":\"", &facts.spki_sha256.0)),
        })
    })
}

/// `start`, the bytes in upper-case hexadecimal and a quotation mark, which are `N` bytes together.
fn framed<const N: usize>(start: &[u8], bytes: &[u8]) -> [u8; N] {
    let mut out = start.to_vec();
    push_hex(&mut out, bytes, UPPER);
    out.push(b'"');
    out.try_into().unwrap_or([b' '; N])
}

/// The VLAN ids of the first packet, outermost first.
pub(super) fn vlans(connection: &Connection) -> impl Iterator<Item = u16> + '_ {
    connection.encapsulation.iter().filter_map(|layer| match layer {
        Layer::Vlan(id) => Some(id),
        _ => None,
    })
}

/// Nothing of the clear handshake is missing, the connection is in the capture from its beginning, and both sides are.
pub(super) fn complete(observation: &Observation) -> bool {
    let (handshake, connection) = (&observation.handshake, &observation.connection);
    handshake.complete
        && !handshake.anomalies.iter().any(|anomaly| matches!(anomaly, Anomaly::MidStream | Anomaly::NoClientHello))
        && (connection.server_seen || handshake.server_progress.seen)
        && (connection.client_seen || handshake.client_progress.seen)
}

/// Whether a fatal alert was seen in clear.
pub(super) fn fatal_alert(handshake: &Handshake) -> bool {
    handshake.end == HandshakeEnd::Alert || handshake.alerts.iter().any(|alert| alert.level == 2)
}

/// `event.outcome`.
pub(super) fn outcome(observation: &Observation) -> &'static str {
    let handshake = &observation.handshake;
    match handshake.established {
        Some(true) => "success",
        Some(false) if fatal_alert(handshake) => "failure",
        Some(false) if complete(observation) && facts::ended_by_peer(handshake.end) => "failure",
        None if complete(observation) && broken_off(handshake) => "failure",
        _ => "unknown",
    }
}

/// One side closed or reset the connection after the ServerHello and before it could send its Finished: a client that does not
/// like the certificate often says no more than that.
fn broken_off(handshake: &Handshake) -> bool {
    let closed = matches!(handshake.end, HandshakeEnd::Fin | HandshakeEnd::Reset);
    let open = match handshake.version() {
        Some(0x0300..=0x0303) => {
            !(handshake.client_progress.change_cipher_spec && handshake.server_progress.change_cipher_spec)
        }
        Some(0x0304) => handshake.client_encrypted_lengths.is_empty(),
        _ => false,
    };
    closed && open
}

/// The `tls` object.
///
/// `shown` is a certificate that is given whole, where it is the leaf of a side.
fn tls(
    w: &mut Writer<'_>,
    observation: &Observation,
    (detail, shown): (Detail, Option<&Certificate>),
    (kinds, names): (Kinds<'_>, &Common<'_>),
) {
    let handshake = &*observation.handshake;
    match kinds.server {
        Some(server) => w.members(&server.choice),
        None => w.plain("version_protocol", wire::default_protocol(handshake.protocol)),
    }
    if let Some(group) = chosen_group(handshake) {
        w.append(key!("curve"), |out| wire::push_group(out, group));
    }
    w.members(kinds.server.map_or("", |server| &server.next_protocol));
    if let (Some(true), Some(false)) = (handshake.established, handshake.resumed) {
        w.piece(r#","established":true,"resumed":false"#);
    } else {
        if let Some(established) = handshake.established {
            w.boolean("established", established);
        }
        if let Some(resumed) = handshake.resumed {
            w.boolean(key!("resumed"), resumed);
        }
    }
    w.object(key!("client"), |w| {
        if let (Some(hello), Some(kind)) = (handshake.client_hello.as_deref(), kinds.client) {
            let name = hello.server_name.as_deref().unwrap_or_default();
            if names.domain.is_some() {
                // A host name needs no escaping.
                w.piece(r#","server_name":""#);
                w.bytes(name);
                w.piece("\"");
            } else {
                w.wire_text("server_name", name);
            }
            w.members(&kind.prints);
        }
        leaf(w, &observation.client_chain, (detail, shown));
    });
    w.object(key!("server"), |w| {
        w.members(kinds.server.map_or("", |server| &server.prints));
        leaf(w, &observation.server_chain, (detail, shown));
    });
}

/// The group of the key exchange: of the server's key share, else of its ServerKeyExchange.
pub(super) fn chosen_group(handshake: &Handshake) -> Option<u16> {
    let share = handshake.server_hello.as_deref().and_then(|hello| hello.key_share.as_ref());
    share.map(|share| share.group).or_else(|| match handshake.server_key_exchange.as_deref()?.kind {
        KeyExchange::Ecdhe { group, .. } => Some(group),
        _ => None,
    })
}

/// `tls.{client,server}`: what ECS says of the first certificate.
fn leaf(w: &mut Writer<'_>, chain: &[Arc<Certificate>], (detail, shown): (Detail, Option<&Certificate>)) {
    let Some(certificate) = chain.first() else { return };
    if shown.is_some_and(|shown| shown.sha256 == certificate.sha256) {
        w.append("certificate", |out| append_pem(out, &certificate.der));
    }
    let text = leaf_text(certificate);
    w.members(if detail == Detail::Lean { text.members.get(..text.brief).unwrap_or_default() } else { &text.members });
}

fn leaf_members(w: &mut Writer<'_>, certificate: &Certificate) {
    if let Some(facts) = certificate.facts.as_deref() {
        w.text("subject", &facts.subject.text);
        w.text("issuer", &facts.issuer.text);
        if let Some(time) = facts.not_before {
            w.display("not_before", time);
        }
        if let Some(time) = facts.not_after {
            w.display("not_after", time);
        }
    }
    hashes(w, certificate);
}

/// Appends PEM (RFC 7468), its line feeds as JSON has them.
fn append_pem(out: &mut Vec<u8>, der: &[u8]) {
    use base64::Engine as _;
    out.reserve(der.len() / 48 * (64 + LINE_FEED.len()) + 2 * 64);
    out.extend_from_slice(b"-----BEGIN CERTIFICATE-----\\n");
    // A line is 48 octets.
    let mut line = [0; 64];
    for octets in der.chunks(48) {
        let length = base64::engine::general_purpose::STANDARD.encode_slice(octets, &mut line).unwrap_or(0);
        out.extend_from_slice(line.get(..length).unwrap_or_default());
        out.extend_from_slice(LINE_FEED);
    }
    out.extend_from_slice(b"-----END CERTIFICATE-----\\n");
}

/// A line feed in JSON.
const LINE_FEED: &[u8] = b"\\n";

/// The `hash` object of a certificate.
pub(super) fn hashes(w: &mut Writer<'_>, certificate: &Certificate) {
    w.object("hash", |w| {
        w.hex_upper("md5", &certificate.md5);
        w.hex_upper("sha1", &certificate.sha1);
        w.hex_upper("sha256", &certificate.sha256.0);
    });
}

/// Writes the `tls` object of an alert, in less detail.
pub(super) fn tls_of_alert(
    w: &mut Writer<'_>,
    (observation, shown): (&Observation, Option<&Certificate>),
    (kinds, names): (Kinds<'_>, &Common<'_>),
) {
    w.object("tls", |w| tls(w, observation, (Detail::Standard, shown), (kinds, names)));
}

/// `related` of a certificate event.
pub(super) fn related_certificate(w: &mut Writer<'_>, names: &Common<'_>, certificate: &Certificate) {
    w.object("related", |w| {
        w.appended("ip", names.addresses(), |out, address| address.push(out));
        w.appended("hosts", &names.domain, |out, name| out.extend_from_slice(name));
        let hashes = [&certificate.sha256.0[..], &certificate.sha1[..]];
        w.appended("hash", hashes, |out, hash| push_hex(out, hash, UPPER));
    });
}

fn dns_names(certificate: &Certificate) -> impl Iterator<Item = &str> {
    certificate.facts.iter().flat_map(|facts| &facts.alternative_names).filter_map(|name| match name {
        AlternativeName::Dns(name) => Some(name.as_str()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::event::sample;
    use crate::tls::Alert;

    fn render(observation: &Observation, detail: Detail) -> Value {
        let context = Context::new(&super::super::Observer::default(), detail);
        context.places().name_file(0, "a.pcapng");
        context.places().name_interface(0, 1, "eth1");
        let mut out = Vec::new();
        append_tls(&mut out, observation, &context, &mut Memo::default());
        assert_eq!(out.last(), Some(&b'\n'));
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn one_line_of_everything() {
        let event = render(&sample::observation(), Detail::Full);
        assert_eq!(event["@timestamp"], "2024-06-01T05:55:05.298706000Z");
        assert_eq!(event["event"]["duration"], 48_639_000);
        assert_eq!(event["observer"]["ingress"]["interface"]["name"], "eth1");
        assert_eq!(event["log"]["file"]["path"], "a.pcapng");
        assert_eq!(event["network"]["community_id"], "1:xTq/3SA9xCPs1igWA1Cz5xhfXIY=");
        assert_eq!(event["network"]["vlan"]["id"], "100");
        assert_eq!(event["network"]["inner"]["vlan"]["id"], "200");
        assert_eq!(event["tlswatch"]["tunnel"], serde_json::json!(["vxlan:5001", "vlan:300"]));
        assert_eq!(event["tls"]["cipher"], "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
        assert_eq!(event["tls"]["version"], "1.3");
        assert_eq!(event["tls"]["curve"], "x25519");
        assert_eq!(event["tlswatch"]["version_draft"], "draft-28");
        assert_eq!(event["tlswatch"]["client"]["server_name_outer"], true);
        assert_eq!(event["tls"]["server"]["x509"]["serial_number"], "4A96");
        assert_eq!(event["tls"]["client"]["hash"]["sha1"], "33".repeat(20));
        assert_eq!(event["related"]["hosts"], serde_json::json!(["www.example.com", "mail.example.com"]));
    }

    #[test]
    fn a_line_is_allocated_once() {
        for detail in [Detail::Full, Detail::Standard, Detail::Lean] {
            let context = Context::new(&super::super::Observer::default(), detail);
            let (mut observation, mut memo) = (sample::observation(), Memo::default());
            // What is rare and long.
            observation.handshake.anomalies.clear();
            observation.handshake.alerts.clear();
            observation.handshake.certificate_request = None;
            observation.connection.encapsulation = Default::default();
            let kinds = memo.kinds.kinds(&observation.handshake, detail);
            let place = memo.places.of(&context, observation.handshake.first);
            let expected = expected_bytes(&observation, &context, (&kinds, place));
            let mut out = Vec::new();
            append_tls(&mut out, &observation, &context, &mut memo);
            assert_eq!(out.capacity(), expected, "{} bytes have not grown", out.len());
            assert!(expected < out.len() + 2 * OTHER_BYTES, "{expected} for {}", out.len());
        }
    }

    #[test]
    fn detail_levels_shed() {
        let observation = sample::observation();
        let standard = render(&observation, Detail::Standard);
        assert!(standard["tls"]["client"]["supported_ciphers"].is_null());
        assert!(standard["tlswatch"]["client"]["extensions"].is_null());
        assert!(standard["tlswatch"]["client"]["ja4_r"].is_null());
        assert!(standard["tls"]["server"]["x509"].is_object());
        let lean = render(&observation, Detail::Lean);
        assert!(lean["tls"]["server"]["x509"].is_null());
        assert!(lean["tls"]["server"]["subject"].is_string());
    }

    #[test]
    fn hostile_server_name_is_kept_but_is_no_domain() {
        let mut observation = sample::observation();
        let hello = observation.handshake.client_hello.as_mut().unwrap();
        hello.server_name = Some(b"good.com\0.evil\xff\x1b[2J".to_vec().into());
        let event = render(&observation, Detail::Full);
        assert!(event["destination"]["domain"].is_null());
        assert_eq!(event["tls"]["client"]["server_name"], "good.com\\x00.evil\u{fffd}\\x1b[2J");
        assert_eq!(event["tlswatch"]["client"]["server_name_hex"], "676f6f642e636f6d002e6576696cff1b5b324a");
    }

    #[test]
    fn pem_of_every_length_of_a_line() {
        use base64::Engine as _;
        for length in 0..200_usize {
            let der: Vec<u8> = (0..length).map(|place| u8::try_from(place * 7 % 256).unwrap()).collect();
            let body = base64::engine::general_purpose::STANDARD.encode(&der);
            let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
            let lines: String = lines.iter().map(|line| format!("{line}\\n")).collect();
            let mut out = Vec::new();
            append_pem(&mut out, &der);
            let expected = format!("-----BEGIN CERTIFICATE-----\\n{lines}-----END CERTIFICATE-----\\n");
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{length}");
        }
    }

    #[test]
    fn an_empty_observation_is_an_event() {
        let mut observation = sample::observation();
        *observation.handshake = Handshake::default();
        observation.server_chain.clear();
        observation.client_chain.clear();
        observation.connection = Connection::default();
        let event = render(&observation, Detail::Full);
        assert_eq!(event["event"]["outcome"], "unknown");
        assert_eq!(event["tlswatch"]["complete"], false);
        assert_eq!(event["tls"], serde_json::json!({"version_protocol": "tls"}));
    }

    #[test]
    fn outcome_of_each_end() {
        let mut observation = sample::observation();
        observation.handshake.alerts.clear();
        let mut check = |established, end, complete, expected| {
            observation.handshake.established = established;
            observation.handshake.end = end;
            observation.handshake.complete = complete;
            assert_eq!(outcome(&observation), expected, "{established:?} {end:?} {complete}");
        };
        check(Some(true), HandshakeEnd::Done, false, "success");
        check(Some(false), HandshakeEnd::Reset, true, "failure");
        check(Some(false), HandshakeEnd::Reset, false, "unknown");
        check(Some(false), HandshakeEnd::EndOfCapture, true, "unknown");
        check(Some(false), HandshakeEnd::Alert, false, "failure");
        check(None, HandshakeEnd::Reset, true, "failure");
        check(None, HandshakeEnd::Reset, false, "unknown");
        check(None, HandshakeEnd::Timeout, true, "unknown");
        observation.handshake.established = Some(false);
        observation.handshake.end = HandshakeEnd::Done;
        let direction = crate::direction::Direction::LowToHigh;
        observation.handshake.alerts = vec![Alert { direction, level: 2, description: 40 }];
        assert_eq!(outcome(&observation), "failure");
    }
}
