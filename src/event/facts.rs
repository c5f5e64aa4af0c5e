//! The `tlswatch` object of handshake events: facts beyond ECS.

use std::sync::Arc;

use crate::detect::observation::Observation;
use crate::packet::Layer;
use crate::tls::{
    CertificateForm, CertificateList, CertificateRequest, ClientHello, Handshake, HandshakeEnd, KeyExchange, Protocol,
    ServerHello, ServerKeyExchange,
};
use crate::x509::Certificate;
use crate::x509::name::distinguished_name;

use super::context::Context;
use super::json::{UPPER, Writer, key, push_hex, push_number};
use super::kinds::{ClientKind, Kinds, ServerKind};
use super::tls::{Common, complete, fatal_alert, hash_text, leaf_text, vlans};
use super::wire;

/// Most names of accepted CAs that an event lists.
const AUTHORITIES: usize = 64;

/// Writes the members of `tlswatch`.
pub(super) fn handshake(
    w: &mut Writer<'_>,
    observation: &Observation,
    (kinds, names): (Kinds<'_>, &Common<'_>),
    context: &Context,
) {
    let handshake = &*observation.handshake;
    w.object(key!("client"), |w| client(w, observation, (kinds, names)));
    w.object(key!("server"), |w| server(w, observation, kinds));
    w.flag(key!("hello_retry"), handshake.hello_retry_request.is_some());
    let client = handshake.client;
    w.appended("alerts", handshake.alerts.iter().copied(), |out, alert| {
        let side = if client.is_none_or(|client| client == alert.direction) { "client" } else { "server" };
        wire::push_alert(out, side, alert);
    });
    w.texts("anomalies", handshake.anomalies.iter().map(|anomaly| anomaly.name()));
    w.plain(key!("resumption"), resumption(handshake).unwrap_or_default());
    w.plain("failure", failure(handshake).unwrap_or_default());
    if !observation.connection.encapsulation.is_empty() {
        tunnel(w, observation);
    }
    w.piece(r#","frames":{"first":"#);
    w.with(|out| push_number(out, handshake.first.frame));
    w.piece(r#","last":"#);
    w.with(|out| push_number(out, handshake.last.frame));
    if handshake.last.file != handshake.first.file {
        w.text("last_file", context.places.file(handshake.last.file).as_deref().unwrap_or_default());
    }
    if complete(observation) {
        w.piece(r#"},"complete":true"#);
    } else {
        w.piece(r#"},"complete":false"#);
    }
    if !handshake.first.time_known {
        w.boolean("time_known", false);
    }
    if observation.connection.duplicate_packets > 0 {
        w.number("duplicate_packets", observation.connection.duplicate_packets);
    }
    match handshake.record_version {
        0 => {}
        0x0301 if handshake.protocol == Protocol::Tls => w.piece(r#","record_version":"1.0""#),
        0x0303 if handshake.protocol == Protocol::Tls => w.piece(r#","record_version":"1.2""#),
        version => w.append("record_version", |out| wire::push_version(out, version, handshake.protocol)),
    }
    if let Some(draft) = handshake.server_hello.as_deref().and_then(ServerHello::draft) {
        w.append("version_draft", |out| wire::push_version(out, draft, handshake.protocol));
    }
    if handshake.ordinal > 0 {
        w.number("ordinal", handshake.ordinal);
    }
    if let Some(rtt) = observation.connection.syn_rtt.and_then(|rtt| u64::try_from(rtt).ok()) {
        w.number(key!("syn_rtt"), rtt);
    }
}

/// Two tags have their place in `network`; what is deeper is named here.
fn tunnel(w: &mut Writer<'_>, observation: &Observation) {
    let mut tags = vlans(&observation.connection).count().min(2);
    let layers = observation.connection.encapsulation.iter().filter(|layer| {
        let placed = matches!(layer, Layer::Vlan(_)) && tags > 0;
        tags -= usize::from(placed);
        !placed
    });
    w.appended("tunnel", layers, wire::push_layer);
}

/// Writes the chains of both sides: all that an alert repeats of the facts of its handshake.
pub(super) fn chains(w: &mut Writer<'_>, observation: &Observation) {
    w.object("client", |w| chain(w, &observation.client_chain, None));
    w.object("server", |w| chain(w, &observation.server_chain, None));
}

/// Whether the connection itself ended the handshake, not the capture or a limit.
pub(super) fn ended_by_peer(end: HandshakeEnd) -> bool {
    match end {
        HandshakeEnd::Alert | HandshakeEnd::Fin | HandshakeEnd::Reset | HandshakeEnd::Timeout => true,
        HandshakeEnd::Done | HandshakeEnd::Evicted | HandshakeEnd::EndOfCapture | HandshakeEnd::Superseded => false,
    }
}

/// `tlswatch.resumption`: by what the session was resumed.
fn resumption(handshake: &Handshake) -> Option<&'static str> {
    if handshake.resumed != Some(true) {
        return None;
    }
    if handshake.version() == Some(0x0304) {
        return Some("psk");
    }
    // RFC 5077 section 3.4: with a ticket the client makes up a session id, which the server echoes too.
    let ticket = handshake
        .client_hello
        .as_deref()
        .is_some_and(|hello| hello.session_ticket.as_ref().is_some_and(|range| !range.is_empty()));
    Some(if ticket { "ticket" } else { "session_id" })
}

/// `tlswatch.failure`: why a handshake was not established.
fn failure(handshake: &Handshake) -> Option<&'static str> {
    if handshake.established == Some(true) {
        return None;
    }
    if fatal_alert(handshake) {
        return Some("fatal_alert");
    }
    match handshake.end {
        HandshakeEnd::Alert => Some("fatal_alert"),
        HandshakeEnd::Fin => Some("closed"),
        HandshakeEnd::Reset => Some("reset"),
        HandshakeEnd::Timeout => Some("timeout"),
        HandshakeEnd::Evicted => Some("evicted"),
        HandshakeEnd::EndOfCapture => Some("end_of_capture"),
        HandshakeEnd::Superseded => Some("superseded"),
        HandshakeEnd::Done => None,
    }
}

fn client(w: &mut Writer<'_>, observation: &Observation, (kinds, names): (Kinds<'_>, &Common<'_>)) {
    let handshake = &*observation.handshake;
    if let (Some(hello), Some(kind)) = (handshake.client_hello.as_deref(), kinds.client) {
        client_hello(w, hello, (kind, names));
    }
    let key_exchange_seen = handshake.server_certificates.is_some() && handshake.complete;
    if handshake.certificate_request.is_some() || key_exchange_seen {
        w.boolean(key!("certificate_requested"), handshake.certificate_request.is_some());
    }
    if let Some(signature) = handshake.certificate_verify.as_deref().and_then(|verify| verify.signature_algorithm) {
        w.append(key!("certificate_verify_algorithm"), |out| wire::push_signature(out, signature));
    }
    chain(w, &observation.client_chain, handshake.client_certificates.as_ref());
}

/// Most of it is the same for all hellos of one kind.
fn client_hello(w: &mut Writer<'_>, hello: &ClientHello, (kind, names): (&ClientKind, &Common<'_>)) {
    w.members(&kind.offers);
    session_id_length(w, hello.session_id.len());
    w.flag(key!("ticket"), hello.session_ticket.is_some());
    w.count(key!("ticket_length"), hello.session_ticket.as_ref().map_or(0, ExactSizeIterator::len));
    w.flag(key!("psk"), !hello.psk_identities.is_empty());
    w.count(key!("psk_identities"), hello.psk_identities.len());
    w.members(&kind.modes);
    // A host name is told as it is.
    if let Some(name) = hello.server_name.as_deref().filter(|name| names.domain.is_none() && needs_hex(name)) {
        w.hex_lower("server_name_hex", name);
    }
    w.members(&kind.extras);
}

/// 32 in nearly all hellos.
fn session_id_length(w: &mut Writer<'_>, length: usize) {
    if length == 32 {
        w.piece(r#","session_id_length":32"#);
    } else {
        w.count(key!("session_id_length"), length);
    }
}

/// The text of the event does not give back these bytes.
fn needs_hex(name: &[u8]) -> bool {
    // Most names are plain; without an early end the loop runs over many bytes at a time.
    let plain = name.iter().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~'));
    !plain && std::str::from_utf8(name).map_or(true, |name| name.chars().any(char::is_control))
}

fn server(w: &mut Writer<'_>, observation: &Observation, kinds: Kinds<'_>) {
    let handshake = &*observation.handshake;
    if let (Some(hello), Some(kind)) = (handshake.server_hello.as_deref(), kinds.server) {
        server_hello(w, hello, handshake, kind);
    }
    if let Some(retry) = handshake.hello_retry_request.as_deref() {
        if let Some(share) = &retry.key_share {
            w.append("hello_retry_group", |out| wire::push_group(out, share.group));
        }
        w.flag("ech", retry.encrypted_client_hello);
    }
    if let Some(exchange) = handshake.server_key_exchange.as_deref() {
        w.object(key!("key_exchange"), |w| key_exchange(w, exchange));
    }
    if !kinds.request.is_empty() {
        w.object("certificate_request", |w| w.members(kinds.request));
    }
    w.flag(key!("ocsp_stapled"), handshake.ocsp_response.is_some());
    if let Some((lifetime, length)) = handshake.new_session_ticket {
        w.object(key!("new_session_ticket"), |w| {
            w.number(key!("lifetime"), lifetime);
            w.number(key!("length"), length);
        });
    }
    chain(w, &observation.server_chain, handshake.server_certificates.as_ref());
}

fn server_hello(w: &mut Writer<'_>, hello: &ServerHello, handshake: &Handshake, kind: &ServerKind) {
    w.members(&kind.answers);
    session_id_length(w, hello.session_id.len());
    w.flag(key!("ticket"), hello.session_ticket || handshake.new_session_ticket.is_some());
    w.flag(key!("psk"), hello.selected_psk.is_some());
    if hello.compression_method != 0 {
        w.append("compression_method", |out| {
            wire::push_small(out, hello.compression_method, wire::compression_method);
        });
    }
    w.flag(key!("sct"), hello.scts.as_ref().is_some_and(|range| !range.is_empty()));
}

fn key_exchange(w: &mut Writer<'_>, exchange: &ServerKeyExchange) {
    match &exchange.kind {
        KeyExchange::Ecdhe { group, .. } => {
            w.members(r#","type":"ecdhe""#);
            w.append(key!("group"), |out| wire::push_group(out, *group));
        }
        KeyExchange::Dhe { prime, .. } => {
            w.text(key!("type"), "dhe");
            w.count(key!("bits"), exchange.params.get(prime.clone()).map_or(0, bits));
        }
        KeyExchange::Rsa { modulus, .. } => {
            w.text(key!("type"), "rsa_export");
            w.count(key!("bits"), exchange.params.get(modulus.clone()).map_or(0, bits));
        }
        KeyExchange::Other => w.text(key!("type"), "other"),
    }
    if let Some(signature) = exchange.signature_algorithm {
        w.append(key!("signature_algorithm"), |out| wire::push_signature(out, signature));
    }
    w.flag("anonymous", exchange.signature.is_empty() && exchange.kind != KeyExchange::Other);
}

/// Length of a big-endian number in bits.
fn bits(number: &[u8]) -> usize {
    let mut rest = number;
    while let Some((first, tail)) = rest.split_first() {
        if *first != 0 {
            let leading = usize::try_from(first.leading_zeros()).unwrap_or(0);
            return rest.len().saturating_mul(8).saturating_sub(leading);
        }
        rest = tail;
    }
    0
}

/// Members of `certificate_request`.
pub(super) fn certificate_request(w: &mut Writer<'_>, request: &CertificateRequest) {
    w.appended("types", request.certificate_types.iter().copied(), |out, kind| {
        wire::push_small(out, kind, wire::certificate_type);
    });
    w.appended("signature_algorithms", request.signature_algorithms.iter().copied(), wire::push_signature);
    w.texts("authorities", request.authorities.iter().take(AUTHORITIES).map(|der| authority(der)));
    w.number("authority_count", request.authority_count);
}

/// The name of an accepted CA (RFC 4514, most specific RDN first), or its DER in hexadecimal where it does not parse.
fn authority(der: &[u8]) -> String {
    distinguished_name(der).unwrap_or_else(|| {
        let mut out = Vec::new();
        push_hex(&mut out, der, UPPER);
        String::from_utf8(out).unwrap_or_default()
    })
}

/// The hashes of a chain in wire order, the leaf's key, and what a Certificate message held instead.
fn chain(w: &mut Writer<'_>, chain: &[Arc<Certificate>], list: Option<&CertificateList>) {
    if let Some(leaf) = chain.first() {
        w.items(key!("chain"), |out| {
            for certificate in chain {
                out.extend_from_slice(hash_text(certificate));
            }
        });
        if let Some(key) = &leaf_text(leaf).key {
            w.with(|out| out.extend_from_slice(key));
        }
    }
    let Some(list) = list else { return };
    match list.form {
        CertificateForm::X509 => {}
        CertificateForm::Compressed(algorithm) => {
            w.append("certificate_compressed", |out| wire::push_compression(out, algorithm));
        }
        CertificateForm::RawPublicKey => w.text("certificate_form", "raw_public_key"),
        CertificateForm::OpenPgp => w.text("certificate_form", "openpgp"),
    }
    w.flag(key!("certificate_empty"), list.ranges.is_empty());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_named_or_kept_as_they_are() {
        let attribute = |kind: u8, value: &[u8]| {
            let mut der = vec![0x06, 3, 0x55, 4, kind, 0x0c, u8::try_from(value.len()).unwrap()];
            der.extend_from_slice(value);
            [vec![0x31, u8::try_from(der.len()).unwrap() + 2, 0x30, u8::try_from(der.len()).unwrap()], der].concat()
        };
        let rdns = [attribute(6, b"US"), attribute(3, b"a,b")].concat();
        let name = [vec![0x30, u8::try_from(rdns.len()).unwrap()], rdns].concat();
        assert_eq!(authority(&name), "CN=a\\,b,C=US");
        for end in 0..name.len() {
            assert_eq!(authority(&name[..end]).len(), 2 * end);
        }
    }

    #[test]
    fn bits_skip_leading_zeros() {
        assert_eq!(bits(&[]), 0);
        assert_eq!(bits(&[0, 0]), 0);
        assert_eq!(bits(&[0, 0x7f, 0xff]), 15);
        assert_eq!(bits(&[0x80; 128]), 1024);
    }
}
