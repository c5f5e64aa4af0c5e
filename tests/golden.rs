//! Every capture of the repository against its golden file, with one worker and with five.
//!
//! A new capture needs no code: `INSTA_UPDATE=always cargo test --test golden` writes its golden file; read it before it is
//! committed. Small captures are told in full detail; of larger ones, what is the same in every event is left out.
#![cfg(test)]

mod support;

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::path::Path;

use tlswatch::event::Detail;

use support::{captures, run_file, with_workers};

/// Captures up to this size are told in full detail.
const FULL: u64 = 12_000;

#[test]
fn every_capture_gives_its_golden_events() {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_snapshot_path("snapshots");
    let mut wrong = Vec::new();
    for path in captures() {
        let small = std::fs::metadata(&path).unwrap().len() <= FULL;
        let detail = if small { Detail::Full } else { Detail::Lean };
        let [one, five] = [1, 5].map(|workers| run_file(&path, &with_workers(workers), detail));
        assert!(one.output == five.output, "{}: workers show in the output", path.display());
        let lines: Vec<String> = one.lines().map(|line| if small { line.to_owned() } else { brief(line) }).collect();
        let same = std::panic::catch_unwind(AssertUnwindSafe(|| {
            settings.bind(|| insta::assert_snapshot!(stem(&path), lines.join("\n")));
        }));
        if same.is_err() {
            wrong.push(stem(&path));
        }
    }
    assert!(wrong.is_empty(), "differ from their golden files (printed above): {wrong:?}");
}

#[test]
fn every_golden_file_has_its_capture() {
    let captures: BTreeSet<String> = captures().iter().map(|path| stem(path)).collect();
    for entry in std::fs::read_dir("tests/snapshots").unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let stem = name.strip_suffix(".snap").unwrap_or_else(|| panic!("{name} is no golden file"));
        // Those of the inventory's answers belong to tests/inventory.rs.
        let of_answers = stem.starts_with("inventory__");
        assert!(of_answers || captures.contains(stem), "{name} has no capture in pcaps/");
    }
}

fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap().to_str().unwrap();
    name.split(".pcap").next().unwrap().to_owned()
}

/// An event without what every event of its kind says, and without what is derived from its other fields.
fn brief(line: &str) -> String {
    let mut event: serde_json::Value = serde_json::from_str(line).unwrap();
    let members = event.as_object_mut().unwrap();
    for name in ["ecs", "observer", "related", "log", "network", "message"] {
        members.remove(name);
    }
    let members = members["event"].as_object_mut().unwrap();
    for name in ["module", "provider", "category", "type", "kind", "start", "duration"] {
        members.remove(name);
    }
    event.to_string()
}
