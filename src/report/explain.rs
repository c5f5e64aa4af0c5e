//! An alert's event as text for a person. The event may come from anywhere: nothing in it can move the cursor.

use std::fmt::Write as _;

use serde_json::Value;

use crate::detect::catalogue::rule;
use crate::text::{columns, printable};

/// Entries of a list that are shown; how many more there are is said.
const LISTED: usize = 50;
/// Columns of the left one of two values side by side.
const COLUMN: usize = 50;
/// Columns of a text of several lines.
const PARAGRAPH: usize = 88;

/// Id of the alert that an event is about; `None` for other events.
pub fn alert_id(event: &Value) -> Option<&str> {
    if event.pointer("/event/dataset")?.as_str()? != "tlswatch.alert" {
        return None;
    }
    event.pointer("/tlswatch/alert/id")?.as_str()
}

/// The event of an alert in words.
pub fn explain(event: &Value) -> String {
    let mut page = Page::default();
    let alert = event.pointer("/tlswatch/alert").unwrap_or(&Value::Null);
    page.line(text(event, "/message"));
    page.line(String::new());
    page.entry("rule", format!("{} {}", text(event, "/rule/id"), text(event, "/rule/name")));
    let severity = event.pointer("/event/severity").and_then(Value::as_u64).map(severity_name).unwrap_or_default();
    page.entry("severity", severity.to_owned());
    page.entry("confidence", number(alert, "/confidence"));
    page.entry("alert", text(alert, "/id"));
    page.entry("rules", list(alert, "/rules", LISTED));
    page.entry("handshakes", number(alert, "/count"));
    page.entry("first", text(alert, "/first_seen"));
    page.entry("last", text(alert, "/last_seen"));
    for (title, [values, count, more]) in [
        ("hosts", ["/hosts/names", "/hosts/count", "/hosts/more"]),
        ("clients", ["/clients/ip", "/clients/count", "/clients/more"]),
    ] {
        let listed = list(alert, values, LISTED);
        let least = if alert.pointer(more).and_then(Value::as_bool) == Some(true) { "at least " } else { "" };
        let count = format!(" ({least}{})", number(alert, count));
        page.entry(title, if listed.is_empty() { listed } else { listed + &count });
    }
    evidence(&mut page, alert.get("evidence").unwrap_or(&Value::Null));
    advice(&mut page, event);
    page.entry("wireshark", text(alert, "/display_filter"));
    page.entry("frames", list(alert, "/frames", LISTED));
    page.entry("reference", text(event, "/rule/reference"));
    page.0
}

fn evidence(page: &mut Page, evidence: &Value) {
    page.line(String::new());
    page.entry("verdict", text(evidence, "/verdict"));
    page.entry("score", number(evidence, "/score"));
    for (title, key) in [("proof", "proofs"), ("for", "for"), ("against", "against")] {
        for point in array(evidence, key) {
            let points = point.get("points").and_then(Value::as_i64);
            let (id, what) = (text(point, "/id"), text(point, "/text"));
            // Only MITM-002 counts points.
            let (line, indent) = match points {
                Some(points) => (format!("{points:>+4} {id:<4} {what}"), 10),
                None => (format!("{id}: {what}"), 2),
            };
            page.entry(title, line);
            for side in ["observed", "expected"] {
                let value = text(point, &format!("/{side}"));
                page.entry("", prefixed(&format!("{:indent$}{side}  ", ""), value));
            }
        }
    }
    side_by_side(page, evidence);
    for (step, number) in array(evidence, "next_steps").iter().zip(1_u32..) {
        let title = if number == 1 { "next steps" } else { "" };
        page.paragraph(title, &format!("{number}. {}", step.as_str().unwrap_or_default()));
    }
}

/// What the catalogue says of the rule: the way on, where the evidence has none of its own, and innocent causes.
fn advice(page: &mut Page, event: &Value) {
    let Some(rule) = rule(&text(event, "/rule/id")) else { return };
    let steps = event.pointer("/tlswatch/alert/evidence/next_steps").and_then(Value::as_array);
    if steps.is_none_or(Vec::is_empty) {
        page.paragraph("next steps", rule.remedy);
    }
    page.paragraph("false alarm", rule.false_positives);
}

/// What was known and what came.
fn side_by_side(page: &mut Page, evidence: &Value) {
    let known = evidence.get("baseline").unwrap_or(&Value::Null);
    let seen = evidence.get("observed").unwrap_or(&Value::Null);
    if known.is_null() && seen.is_null() {
        return;
    }
    let of = |value: &Value, word: &str, pointer: &str| prefixed(word, text(value, pointer));
    let clients = match known.get("clients").and_then(Value::as_u64) {
        _ if known.get("clients_more").and_then(Value::as_bool) == Some(true) => "clients more than ",
        // By a sketch that tells so few apart.
        Some(0..=3) => "clients ",
        _ => "clients about ",
    };
    let left = [
        prefixed("handshakes ", number(known, "/support")),
        of(known, "since ", "/since"),
        prefixed(clients, number(known, "/clients")),
        of(known, "phase ", "/phase"),
        prefixed("certificate ", short(&list(known, "/certificates", 1))),
        prefixed("issuers ", list(known, "/issuers", LISTED)),
    ];
    let right = [
        of(seen, "path ", "/chain_status"),
        prefixed("certificate ", short(&text(seen, "/sha256"))),
        prefixed("key ", short(&text(seen, "/spki"))),
        prefixed("sct ", seen.get("sct").and_then(Value::as_bool).map(|sct| sct.to_string()).unwrap_or_default()),
    ];
    let left: Vec<String> = left.into_iter().filter(|text| !text.is_empty()).collect();
    let right: Vec<String> = right.into_iter().filter(|text| !text.is_empty()).collect();
    page.line(String::new());
    if left.is_empty() {
        page.entry("observed", right.join(", "));
        page.line(String::new());
        return;
    }
    page.entry("", format!("{:COLUMN$}  {}", "baseline", "observed"));
    for row in 0..left.len().max(right.len()) {
        let cell = |column: &[String]| column.get(row).map(|cell| printable(cell).into_owned()).unwrap_or_default();
        page.entry("", format!("{:COLUMN$}  {}", cell(&left), cell(&right)));
    }
    page.line(String::new());
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, text: String) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{}", printable(&text).trim_end());
    }

    /// A titled text of several lines.
    fn paragraph(&mut self, title: &str, text: &str) {
        let mut title = title;
        let mut row = String::new();
        for word in text.split_whitespace() {
            let word = &*printable(word);
            if columns(&row) + columns(word) >= PARAGRAPH {
                self.entry(title, std::mem::take(&mut row));
                title = "";
            }
            row.push_str(if row.is_empty() { "" } else { " " });
            row.push_str(word);
        }
        self.entry(title, row);
    }

    /// A titled line; none without a value.
    fn entry(&mut self, title: &str, value: String) {
        if !value.is_empty() {
            self.line(format!("{title:<11} {value}"));
        }
    }
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn number(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).filter(|value| value.is_number()).map(Value::to_string).unwrap_or_default()
}

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// At most `most` values of a list, and how many more there are.
fn list(value: &Value, pointer: &str, most: usize) -> String {
    let values = value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let shown = values.iter().take(most).map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned));
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if values.len() > most {
        let _ = write!(text, " and {} more", values.len().saturating_sub(most));
    }
    text
}

fn prefixed(word: &str, text: String) -> String {
    if text.is_empty() { text } else { format!("{word}{text}") }
}

/// The first 16 digits of a digest, and what follows it in a list.
fn short(text: &str) -> String {
    let (digest, rest) = text.split_once(' ').map_or((text, ""), |(digest, rest)| (digest, rest));
    let cut: String = digest.chars().take(16).collect();
    let more = if cut.len() < digest.len() { ".." } else { "" };
    format!("{cut}{more} {rest}").trim_end().to_owned()
}

fn severity_name(number: u64) -> &'static str {
    match number {
        0..=21 => "low",
        22..=47 => "medium",
        48..=73 => "high",
        _ => "critical",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_is_there_and_nothing_moves_the_cursor() {
        let event = json!({
            "message": "a\u{1b}[2J\u{202e}b",
            "event": {"dataset": "tlswatch.alert", "severity": 73},
            "rule": {"id": "TLSW-MITM-002", "name": "n\n", "reference": "docs"},
            "tlswatch": {"alert": {
                "id": "ab", "confidence": 90, "count": 6, "rules": ["x", "y"],
                "hosts": {"names": ["h\r"], "count": 9}, "frames": [1, 2], "display_filter": "ip.addr == 1",
                "evidence": {
                    "verdict": "forged", "score": 100,
                    "for": [{"id": "H4", "points": 15, "text": "t", "observed": "o\t", "expected": "e"}],
                    "against": [{"id": "B2", "points": -30, "text": "u"}],
                    "baseline": {"support": 17, "issuers": ["i\u{9b}"]}, "observed": {"sha256": "C".repeat(64), "sct": false},
                    "next_steps": ["call", "look"],
                },
            }},
        });
        assert_eq!(alert_id(&event), Some("ab"));
        let text = explain(&event);
        assert!(!text.chars().any(|one| (one.is_control() && one != '\n') || one == '\u{202e}'), "{text}");
        for part in [
            "a\\u{1b}[2J\\u{202e}b",
            "high",
            "+15 H4   t",
            " -30 B2   u",
            "observed  o\\u{9}",
            "handshakes 17",
            "issuers i\\u{9b}",
            "CCCCCCCCCCCCCCCC..",
            "1. call",
            "2. look",
            "ip.addr == 1",
            "1, 2",
            "h\\u{d} (9)",
            "sct false",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn where_the_evidence_has_no_next_steps_the_catalogue_has() {
        let event = json!({"rule": {"id": "TLSW-MITM-007"}, "tlswatch": {"alert": {"id": "ab"}}});
        let text = explain(&event);
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
        let rule = rule("TLSW-MITM-007").unwrap();
        for part in [rule.remedy, rule.false_positives] {
            assert!(words(&text).contains(&words(part)), "{text}");
        }
        assert!(text.lines().all(|line| columns(line) <= 12 + PARAGRAPH), "{text}");
    }

    #[test]
    fn wide_words_and_what_is_written_out_are_folded_by_their_columns() {
        for word in ["日本語の証明書 ", "a\u{202e}\u{202e}b "] {
            let text = explain(&json!({"tlswatch": {"alert": {"evidence": {"next_steps": [word.repeat(30)]}}}}));
            let longest = text.lines().map(columns).max().unwrap();
            assert!((PARAGRAPH - 20..=12 + PARAGRAPH).contains(&longest), "{longest}\n{text}");
        }
    }

    #[test]
    fn any_value_is_survived() {
        for event in
            [json!(null), json!([]), json!({"tlswatch": {"alert": {"evidence": {"for": 3, "next_steps": [1]}}}})]
        {
            assert_eq!(alert_id(&event), None);
            explain(&event);
        }
    }
}
