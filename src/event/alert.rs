//! The `tlswatch.alert` event: a finding.

use crate::detect::observation::Observation;
use crate::time::Timestamp;

use super::Dataset;
use super::context::Context;
use super::id::EventId;
use super::json::Writer;
use super::tls::{Common, begin, connection, event_head, log, observer, related, tls_of_alert};

/// What an alert line says about its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertStatus {
    /// The first line of the cause.
    New,
    /// More of the same.
    Update,
    /// The severity rose.
    Escalated,
}

impl AlertStatus {
    /// Value of `tlswatch.alert.status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Update => "update",
            Self::Escalated => "escalated",
        }
    }
}

/// A technique of MITRE ATT&CK with the tactic it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Technique<'a> {
    /// `threat.technique.id`.
    pub id: &'a str,
    /// `threat.technique.name`.
    pub name: &'a str,
    /// `threat.tactic.id`.
    pub tactic_id: &'a str,
    /// `threat.tactic.name`.
    pub tactic_name: &'a str,
}

/// All that an alert line shows.
#[derive(Clone, Copy, Debug)]
pub struct AlertView<'a> {
    /// Key of de-duplication, hexadecimal.
    pub id: &'a str,
    /// `rule.id` of the rule that heads the alert.
    pub rule_id: &'a str,
    /// `rule.name`.
    pub rule_name: &'a str,
    /// `rule.version`.
    pub rule_version: &'a str,
    /// `rule.description`.
    pub rule_description: &'a str,
    /// Usable in a policy file in place of the id.
    pub slug: &'a str,
    /// `mitm`, `key_reuse`, `certificate`, `crypto`, `policy`.
    pub category: &'a str,
    /// Every rule that holds for the cause.
    pub rules: &'a [&'a str],
    /// 21, 47, 73 or 99.
    pub severity: u8,
    /// 0 to 100.
    pub confidence: u8,
    /// One sentence.
    pub message: &'a str,
    /// What the line says about its cause.
    pub status: AlertStatus,
    /// How often it was found.
    pub count: u64,
    /// How many clients met it; 0 when that means nothing.
    pub clients: u64,
    /// First packet time.
    pub first_seen: Timestamp,
    /// Last packet time.
    pub last_seen: Timestamp,
    /// `threat.*`, where a technique fits.
    pub technique: Option<Technique<'a>>,
    /// A complete JSON object, escaped like everything else; empty without.
    pub evidence_json: &'a str,
    /// The handshake that shows it.
    pub observation: Option<&'a Observation>,
}

/// Appends the event of one alert as one line.
pub fn append_alert(out: &mut Vec<u8>, view: &AlertView<'_>, context: &Context) {
    let id = EventId::new(&context.name, Dataset::Alert)
        .part(view.id.as_bytes())
        .part(view.status.name().as_bytes())
        .part(&view.first_seen.nanos().to_be_bytes())
        .part(&view.last_seen.nanos().to_be_bytes())
        .part(&view.count.to_be_bytes())
        .finish();
    let mut at = view.observation.map(|observation| observation.handshake.first).unwrap_or_default();
    at.timestamp = view.first_seen;
    let place = view.observation.map(|observation| observation.handshake.first);
    Writer::line(out, |w| {
        begin(w, at);
        w.text("message", view.message);
        w.object("event", |w| {
            event_head(w, Dataset::Alert, view.slug);
            w.raw("category", r#"["network","intrusion_detection"]"#);
            w.raw("type", r#"["info"]"#);
            w.number("severity", view.severity);
            w.number("risk_score", view.severity);
            w.text("reason", view.message);
            w.hex_lower("id", &id);
        });
        w.object("rule", |w| {
            w.text("id", view.rule_id);
            w.text("name", view.rule_name);
            w.text("category", view.category);
            w.text("ruleset", "tlswatch");
            w.text("version", view.rule_version);
            w.text("description", view.rule_description);
            w.text("reference", &format!("docs/RULES.md#{}", view.rule_id.to_ascii_lowercase()));
        });
        if let Some(technique) = view.technique {
            w.object("threat", |w| threat(w, technique));
        }
        observer(w, context, place);
        if let Some(observation) = view.observation {
            let names = Common::of(observation);
            connection(w, observation, &names, context);
            let prints = tls_of_alert(w, observation, context);
            related(w, observation, &names, (&prints, super::Detail::Standard));
            log(w, context, observation.handshake.first);
        }
        w.object("tlswatch", |w| {
            w.object("alert", |w| alert(w, view));
            if let Some(observation) = view.observation {
                super::facts::chains(w, observation);
            }
        });
    });
}

fn threat(w: &mut Writer<'_>, technique: Technique<'_>) {
    w.text("framework", "MITRE ATT&CK");
    w.object("tactic", |w| {
        w.texts("id", [technique.tactic_id]);
        w.texts("name", [technique.tactic_name]);
    });
    w.object("technique", |w| {
        w.texts("id", [technique.id]);
        w.texts("name", [technique.name]);
    });
}

fn alert(w: &mut Writer<'_>, view: &AlertView<'_>) {
    w.text("id", view.id);
    w.text("slug", view.slug);
    w.text("category", view.category);
    w.number("confidence", view.confidence);
    w.text("status", view.status.name());
    w.number("count", view.count);
    w.append("first_seen", |out| view.first_seen.rfc3339().append_to(out));
    w.append("last_seen", |out| view.last_seen.rfc3339().append_to(out));
    w.texts("rules", view.rules);
    if view.clients > 0 {
        w.object("clients", |w| w.number("count", view.clients));
    }
    w.raw("evidence", view.evidence_json);
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::event::sample;

    #[test]
    fn an_alert_with_and_without_a_handshake() {
        let observation = sample::observation();
        let mut view = sample::alert(&observation);
        let context = Context::default();
        let mut out = Vec::new();
        append_alert(&mut out, &view, &context);
        let event: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(event["rule"]["reference"], "docs/RULES.md#tlsw-mitm-002");
        assert_eq!(event["message"], event["event"]["reason"]);
        assert_eq!(event["tlswatch"]["alert"]["evidence"]["score"], 75);
        assert_eq!(event["tlswatch"]["server"]["chain"][1], "22".repeat(32));
        assert!(event["tls"]["client"]["supported_ciphers"].is_null());
        view.observation = None;
        view.status = AlertStatus::Update;
        out.clear();
        append_alert(&mut out, &view, &context);
        let other: Value = serde_json::from_slice(&out).unwrap();
        assert!(other["source"].is_null());
        assert_ne!(event["event"]["id"], other["event"]["id"]);
    }
}
