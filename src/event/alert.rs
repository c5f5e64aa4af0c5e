//! The `tlswatch.alert` event: the findings of one cause.

use std::collections::BTreeSet;

use crate::detect::alerts::{Alert, AlertStatus, Sample};
use crate::detect::catalogue::Rule;
use crate::detect::finding::{Evidence, KnownHost, Point, Seen};
use crate::detect::observation::Ends;
use crate::packet::community_id::append_community_id;
use crate::text::printable;

use super::Dataset;
use super::context::Context;
use super::id::EventId;
use super::json::{UPPER, Writer, push_hex, push_number, visible};
use super::memo::Memo;
use super::tls::{Common, begin, connection, ends_alone, event_head, log, observer, related, tls_of_alert};
use super::wire::AddressText;

/// Most hosts and clients that an alert lists; their number is beside the list.
const LISTED: usize = 50;

/// An alert as one line tells it.
#[derive(Clone, Copy, Debug)]
pub struct AlertView<'a> {
    /// The alert.
    pub alert: &'a Alert,
    /// What the line says about its cause.
    pub status: AlertStatus,
}

/// Appends the event of one alert as one line.
///
/// What many alerts share comes from `memo`, which is for alerts alone: they have a detail of their own.
pub fn append_alert(out: &mut Vec<u8>, view: &AlertView<'_>, context: &Context, memo: &mut Memo) {
    let Memo { kinds: memos, id: buffer, .. } = memo;
    let AlertView { alert, status } = *view;
    let (rule, head) = (alert.head.rule, &alert.head);
    let id = EventId::new(buffer, &context.name, Dataset::Alert)
        .part(&alert.id.0)
        .part(&[u8::from(alert.suppressed)])
        .part(status.name().as_bytes())
        .part(&alert.first_seen.nanos().to_be_bytes())
        .part(&alert.last_seen.nanos().to_be_bytes())
        .part(&alert.count.to_be_bytes())
        .finish();
    let mut at = head.moment;
    at.timestamp = alert.first_seen;
    let observation = alert.observation.as_deref();
    // For people: what a name in it hides is to be seen wherever the event is shown.
    let message = visible(&head.message);
    let message = printable(&message);
    Writer::line(out, |w| {
        begin(w, at);
        w.text("message", &message);
        w.object("event", |w| {
            event_head(w, Dataset::Alert, rule.slug);
            w.raw("category", r#"["network","intrusion_detection"]"#);
            w.raw("type", r#"["info"]"#);
            w.number("severity", alert.severity.number());
            w.number("risk_score", alert.severity.number());
            w.text("reason", &message);
            w.hex_lower("id", &id);
        });
        w.object("rule", |w| {
            w.text("id", rule.id);
            w.text("name", rule.name);
            w.text("category", rule.category.name());
            w.text("ruleset", crate::detect::catalogue::RULESET);
            w.text("version", rule.version);
            w.text("description", rule.description);
            w.text("reference", &rule.reference());
        });
        w.object("threat", |w| threat(w, alert));
        observer(w, context, Some(head.moment));
        if let Some(observation) = observation {
            let names = Common::of(observation);
            connection(w, observation, &names, context);
            let leaf = head.certificate.as_ref().or_else(|| observation.server_chain.first());
            let kinds = memos.kinds(&observation.handshake, super::Detail::Standard);
            tls_of_alert(w, (observation, leaf.map(|leaf| &**leaf)), (kinds, &names));
            related(w, observation, &names, (kinds, super::Detail::Standard));
            log(w, context, observation.handshake.first);
        } else if let Some(ends) = &head.ends {
            ends_alone(w, (ends, head.certificate.as_ref()), context);
            log(w, context, head.moment);
        }
        w.object("tlswatch", |w| {
            w.object("alert", |w| body(w, view, context));
            if let Some(observation) = observation {
                super::facts::chains(w, observation);
            }
        });
    });
}

fn threat(w: &mut Writer<'_>, alert: &Alert) {
    let techniques = alert.head.rule.techniques;
    if techniques.is_empty() {
        return;
    }
    w.text("framework", "MITRE ATT&CK");
    let tactics: BTreeSet<&str> = techniques.iter().flat_map(|technique| technique.tactics.iter().copied()).collect();
    w.object("tactic", |w| w.texts("name", tactics));
    w.object("technique", |w| {
        w.texts("id", techniques.iter().map(|technique| technique.id));
        w.texts("name", techniques.iter().map(|technique| technique.name));
        w.texts("reference", techniques.iter().map(|technique| technique.reference()));
    });
}

fn body(w: &mut Writer<'_>, view: &AlertView<'_>, context: &Context) {
    let AlertView { alert, status } = *view;
    let head = &alert.head;
    w.hex_lower("id", &alert.id.0);
    w.text("slug", head.rule.slug);
    w.text("category", head.rule.category.name());
    w.number("confidence", head.confidence);
    w.text("status", status.name());
    w.number("count", alert.count);
    w.append("first_seen", |out| alert.first_seen.rfc3339().append_to(out));
    w.append("last_seen", |out| alert.last_seen.rfc3339().append_to(out));
    w.texts("rules", alert.rules.iter().copied());
    w.object("hosts", |w| {
        w.count("count", alert.hosts.len());
        w.texts("names", alert.hosts.iter().take(LISTED));
        w.flag("more", alert.hosts.is_full());
    });
    w.object("clients", |w| {
        w.count("count", alert.clients.len());
        w.appended("ip", alert.clients.iter().take(LISTED), |out, address| AddressText::of(*address).push(out));
        w.flag("more", alert.clients.is_full());
    });
    w.appended("community_ids", &alert.samples, |out, sample: &Sample| {
        let ends = sample.ends;
        append_community_id(out, [ends.client, ends.server], ends.transport, context.community_seed);
    });
    w.numbers("frames", alert.samples.iter().map(|sample| sample.frame));
    if let Some(ends) = shown_ends(alert) {
        w.append("display_filter", |out| append_filter(out, &ends));
    }
    w.flag("suppressed", alert.suppressed);
    w.object("evidence", |w| evidence(w, &alert.head.evidence, alert.head.rule));
}

/// A display filter of Wireshark that shows the connection; empty where there is none.
pub fn display_filter(alert: &Alert) -> String {
    let mut out = Vec::new();
    if let Some(ends) = shown_ends(alert) {
        append_filter(&mut out, &ends);
    }
    String::from_utf8(out).unwrap_or_default()
}

/// Ends of the handshake that the line is about, be it decided later than others of the same cause.
fn shown_ends(alert: &Alert) -> Option<Ends> {
    alert.head.ends.or_else(|| alert.samples.first().map(|sample| sample.ends))
}

fn append_filter(out: &mut Vec<u8>, ends: &Ends) {
    let sides = [ends.client, ends.server];
    for side in sides {
        let protocol: &[u8] = if side.address.is_ipv4() { b"ip" } else { b"ipv6" };
        for piece in [protocol, b".addr == "] {
            out.extend_from_slice(piece);
        }
        AddressText::of(side.address).push(out);
        out.extend_from_slice(b" && ");
    }
    for (place, side) in sides.into_iter().enumerate() {
        let and: &[u8] = if place == 0 { b"" } else { b" && " };
        for piece in [and, ends.transport.name().as_bytes(), b".port == "] {
            out.extend_from_slice(piece);
        }
        push_number(out, side.port.into());
    }
}

/// `tlswatch.alert.evidence`.
fn evidence(w: &mut Writer<'_>, evidence: &Evidence, rule: &Rule) {
    w.text("verdict", &evidence.verdict);
    if let Some(score) = evidence.score {
        w.signed("score", score.into());
    }
    for (key, points) in [("proofs", &evidence.proofs), ("for", &evidence.pro), ("against", &evidence.contra)] {
        w.objects(key, points, point);
    }
    if let Some(known) = &evidence.baseline {
        w.object("baseline", |w| baseline(w, known));
    }
    if let Some(seen) = &evidence.observed {
        w.object("observed", |w| observed(w, seen));
    }
    // Where the case has none of its own, the rule has.
    if evidence.next_steps.is_empty() {
        w.texts("next_steps", [rule.remedy]);
    } else {
        w.texts("next_steps", &evidence.next_steps);
    }
}

fn point(w: &mut Writer<'_>, point: &Point) {
    w.text("id", point.id);
    if point.points != 0 {
        w.signed("points", point.points.into());
    }
    w.text("text", &point.text);
    w.text("observed", point.observed.as_deref().unwrap_or_default());
    w.text("expected", point.expected.as_deref().unwrap_or_default());
}

fn baseline(w: &mut Writer<'_>, known: &KnownHost) {
    w.number("support", known.support);
    if let Some(since) = known.since {
        w.append("since", |out| since.rfc3339().append_to(out));
    }
    w.number("clients", known.clients);
    w.flag("clients_more", known.clients_more);
    w.appended("certificates", &known.certificates, |out, sha256| push_hex(out, &sha256.0, UPPER));
    w.texts("issuers", &known.issuers);
    w.text("phase", known.phase);
}

fn observed(w: &mut Writer<'_>, seen: &Seen) {
    w.hex_upper("sha256", &seen.sha256.0);
    w.hex_upper("spki", &seen.spki.0);
    if let Some(sct) = seen.sct {
        w.boolean("sct", sct);
    }
    w.text("chain_status", seen.chain_status);
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::event::sample;

    #[test]
    fn a_filter_of_either_family_and_transport() {
        let mut alert = sample::alert(sample::observation());
        let ends = alert.head.ends.as_mut().unwrap();
        ends.client.address = "2001:db8::1".parse().unwrap();
        ends.transport = crate::packet::Transport::Udp;
        let text = "ipv6.addr == 2001:db8::1 && ip.addr == 17.248.236.64 && udp.port == 55349 && udp.port == 443";
        assert_eq!(display_filter(&alert), text);
        alert.head.ends = None;
        alert.samples.clear();
        assert_eq!(display_filter(&alert), "");
    }

    /// What another alert left behind does not show.
    #[test]
    fn a_memo_changes_nothing() {
        let (context, mut memo) = (Context::default(), Memo::default());
        for suite in [0x1301, 0x1302, 0x1301] {
            let mut observation = sample::observation();
            observation.handshake.server_hello.as_mut().unwrap().cipher_suite = Some(suite);
            let alert = sample::alert(observation);
            let view = AlertView { alert: &alert, status: AlertStatus::New };
            let (mut fresh, mut out) = (Vec::new(), Vec::new());
            append_alert(&mut fresh, &view, &context, &mut Memo::default());
            append_alert(&mut out, &view, &context, &mut memo);
            assert_eq!(out, fresh);
        }
    }

    #[test]
    fn an_alert_with_and_without_a_handshake() {
        let mut alert = sample::alert(sample::observation());
        let (context, mut memo) = (Context::default(), Memo::default());
        let mut out = Vec::new();
        append_alert(&mut out, &AlertView { alert: &alert, status: AlertStatus::New }, &context, &mut memo);
        let event: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(event["rule"]["reference"], "docs/RULES.md#tlsw-mitm-002");
        assert_eq!(event["message"], event["event"]["reason"]);
        assert_eq!(event["tlswatch"]["alert"]["evidence"]["score"], 75);
        assert_eq!(event["tlswatch"]["alert"]["clients"]["ip"][0], "10.84.1.49");
        assert_eq!(
            event["tlswatch"]["alert"]["display_filter"],
            "ip.addr == 10.84.1.49 && ip.addr == 17.248.236.64 && tcp.port == 55349 && tcp.port == 443"
        );
        assert_eq!(event["tlswatch"]["server"]["chain"][1], "22".repeat(32));
        assert!(event["tls"]["server"]["certificate"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----\n"));
        assert!(event["tls"]["client"]["supported_ciphers"].is_null());
        alert.head.message = "'a\u{202e}b\u{3164}\0\u{1b}' é".to_owned();
        alert.observation = None;
        out.clear();
        append_alert(&mut out, &AlertView { alert: &alert, status: AlertStatus::Update }, &context, &mut memo);
        let other: Value = serde_json::from_slice(&out).unwrap();
        for text in [&other["message"], &other["event"]["reason"]] {
            assert_eq!(text, r"'a\u{202e}b\u{3164}\x00\x1b' é");
        }
        // What the finding itself knows is still there.
        for pointer in [
            "/source/ip",
            "/source/port",
            "/destination/ip",
            "/destination/port",
            "/network/community_id",
            "/network/transport",
            "/tls/server/certificate",
            "/tls/server/hash/sha256",
            "/log/file/path",
            "/related/ip",
        ] {
            assert_eq!(other.pointer(pointer), event.pointer(pointer), "{pointer}");
        }
        assert!(other["tls"]["version"].is_null());
        alert.head.ends = None;
        out.clear();
        append_alert(&mut out, &AlertView { alert: &alert, status: AlertStatus::Update }, &context, &mut memo);
        let other: Value = serde_json::from_slice(&out).unwrap();
        assert!(other["source"].is_null());
        assert_ne!(event["event"]["id"], other["event"]["id"]);
    }
}
