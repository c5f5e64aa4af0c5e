//! Holds the code, docs/EVENTS.md, docs/events.schema.json and ECS to each other.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::stats::Stats;
use crate::tls::Anomaly;

use super::sample;

const DOCUMENT: &str = include_str!("../../docs/EVENTS.md");
const SCHEMA: &str = include_str!("../../docs/events.schema.json");
const ECS: &str = include_str!("../../tests/data/ecs_fields.csv");

/// Type and whether it is an array, by field.
type Fields<'a> = BTreeMap<&'a str, (&'a str, bool)>;

fn ecs() -> Fields<'static> {
    let lines = ECS.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let columns: Vec<_> = line.split(',').collect();
            (columns[0], (columns[1], columns[2] == "array"))
        })
        .collect()
}

/// The fields of `tlswatch` that the document describes.
fn documented() -> Fields<'static> {
    let rows = DOCUMENT.lines().filter(|line| line.starts_with("| `"));
    rows.filter_map(|line| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`');
        let ours = name.starts_with("tlswatch.") || name == "tls.client.ja4";
        (ours && cells.len() > 5).then_some((name, (cells[2], cells[3] == "array")))
    })
    .collect()
}

/// Every field that is no object, as (dotted name, value).
fn leaves(prefix: &str, value: &Value, found: &mut Vec<(String, Value)>) {
    match value {
        // Free in its form.
        _ if prefix == "tlswatch.alert.evidence" => found.push((prefix.to_owned(), value.clone())),
        Value::Object(members) => {
            for (key, member) in members {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                leaves(&name, member, found);
            }
        }
        _ => found.push((prefix.to_owned(), value.clone())),
    }
}

fn all_leaves() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (_, line) in sample::lines() {
        leaves("", &serde_json::from_str(&line).unwrap(), &mut found);
    }
    found
}

fn has_type(value: &Value, kind: &str) -> bool {
    match kind {
        "keyword" | "match_only_text" => value.as_str().is_some_and(|text| !text.is_empty()),
        "ip" => value.as_str().is_some_and(|text| text.parse::<std::net::IpAddr>().is_ok()),
        "date" => value.as_str().is_some_and(|text| text.ends_with('Z') && text.contains('T')),
        "boolean" => value.is_boolean(),
        "long" => value.as_i64().is_some(),
        "float" => value.is_number(),
        "object" => value.is_object(),
        other => panic!("type {other}"),
    }
}

/// The part of the schema that describes a field; every object on the way must forbid what it does not name.
fn described<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    name.split('.').try_fold(schema, |schema, part| {
        assert_eq!(schema["additionalProperties"], false, "schema of {name} above {part}");
        schema["properties"].get(part)
    })
}

#[test]
fn every_field_is_of_ecs_or_documented() {
    let (ecs, documented) = (ecs(), documented());
    for (name, value) in all_leaves() {
        if name.starts_with("tlswatch.stats.") {
            assert!(value.is_u64(), "{name}");
            continue;
        }
        let known = if name.starts_with("tlswatch.") { &documented } else { &ecs };
        let (kind, array) = *known.get(&*name).or_else(|| documented.get(&*name)).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(value.is_array(), array, "{name} array");
        let items = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
        assert!(!items.is_empty() && items.iter().all(|item| has_type(item, kind)), "{name} {kind}: {value}");
    }
}

#[test]
fn every_documented_field_is_in_the_code_and_the_schema() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let written: BTreeSet<_> = all_leaves().into_iter().map(|(name, _)| name).collect();
    let documented = documented();
    assert!(documented.len() > 100, "the table was not read");
    for (name, (kind, array)) in documented {
        assert!(written.contains(name), "{name} is documented, but no event has it");
        let part = described(&schema, name).unwrap_or_else(|| panic!("{name} is not in the schema"));
        assert_eq!(part["type"] == "array", array, "{name}");
        let plain = if array { &part["items"]["type"] } else { &part["type"] };
        let expected = match kind {
            "keyword" | "date" | "ip" => "string",
            "long" => "integer",
            other => other,
        };
        assert_eq!(plain, expected, "{name}");
    }
}

#[test]
fn every_field_is_in_the_schema() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    for (name, _) in all_leaves().iter().filter(|(name, _)| !name.starts_with("tlswatch.stats.")) {
        assert!(described(&schema, name).is_some(), "{name}");
    }
}

#[test]
fn every_event_has_what_the_schema_requires() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    for (dataset, line) in sample::lines() {
        let event: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["event"]["dataset"], dataset.name());
        for (part, required) in [("", &schema), ("event", &schema["properties"]["event"])] {
            let object = if part.is_empty() { &event } else { &event[part] };
            for name in required["required"].as_array().unwrap() {
                assert!(object.get(name.as_str().unwrap()).is_some(), "{part} {name}");
            }
        }
        let dataset = &schema["properties"]["event"]["properties"]["dataset"]["enum"];
        assert!(dataset.as_array().unwrap().contains(&event["event"]["dataset"]));
    }
}

#[test]
fn no_object_has_a_member_twice() {
    for (_, line) in sample::lines() {
        let value: Value = serde_json::from_str(&line).unwrap();
        // Members that serde_json dropped would make the line longer than what it writes again.
        let again = crate::text::printable_json(serde_json::to_string(&value).unwrap());
        assert_eq!(again.len() + 1, line.len());
    }
}

#[test]
fn every_counter_is_documented() {
    for (name, description) in Stats::descriptions() {
        let row = format!("| `{name}` | {} |", description.split_whitespace().collect::<Vec<_>>().join(" "));
        assert!(DOCUMENT.contains(&row), "{row}");
    }
}

#[test]
fn every_anomaly_is_documented() {
    for anomaly in Anomaly::ALL {
        let row = format!("| `{}` | {} |", anomaly.name(), anomaly.description());
        assert!(DOCUMENT.contains(&row), "{row}");
    }
}
