//! Replays the corpora of fuzz/ through the functions that the fuzz targets call.
#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;

type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 7] = [
    ("capture", tlswatch::fuzz::capture),
    ("certificate", tlswatch::fuzz::certificate),
    ("client_hello", tlswatch::fuzz::client_hello),
    ("decode", tlswatch::fuzz::decode),
    ("observer", tlswatch::fuzz::observer),
    ("pipeline", tlswatch::fuzz::pipeline),
    ("tcp_half", tlswatch::fuzz::tcp_half),
];

#[test]
fn every_target_has_its_file_and_its_corpus() {
    let names = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        entries.map(|name| name.trim_end_matches(".rs").to_owned()).collect()
    };
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("fuzz/fuzz_targets"), targets);
    assert_eq!(names("fuzz/corpus"), targets);
    let manifest = fs::read_to_string("fuzz/Cargo.toml").unwrap();
    for name in targets {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        assert!(!names(&format!("fuzz/corpus/{name}")).is_empty());
    }
}

#[test]
fn corpora_hold_the_invariants() {
    for (name, target) in TARGETS {
        for entry in fs::read_dir(format!("fuzz/corpus/{name}")).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            target(&bytes);
            // And cut, and with a bit turned, at a few places.
            for at in (0..bytes.len()).step_by((bytes.len() / 8).max(1)) {
                target(&bytes[..at]);
                let mut turned = bytes.clone();
                turned[at] ^= 0x41;
                target(&turned);
            }
        }
    }
}
