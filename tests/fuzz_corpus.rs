//! Replays the corpora of fuzz/ through the functions that the fuzz targets call.
#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;

type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 17] = [
    ("capture", tlswatch::fuzz::capture),
    ("certificate", tlswatch::fuzz::certificate),
    ("chain", tlswatch::fuzz::chain),
    ("client_hello", tlswatch::fuzz::client_hello),
    ("conversation", tlswatch::fuzz::conversation),
    ("crl", tlswatch::fuzz::crl),
    ("decode", tlswatch::fuzz::decode),
    ("factors", tlswatch::fuzz::factors),
    ("lists", tlswatch::fuzz::lists),
    ("message", tlswatch::fuzz::message),
    ("observer", tlswatch::fuzz::observer),
    ("pipeline", tlswatch::fuzz::pipeline),
    ("policy", tlswatch::fuzz::policy),
    ("roots", tlswatch::fuzz::roots),
    ("signature", tlswatch::fuzz::signature),
    ("tcp_half", tlswatch::fuzz::tcp_half),
    ("words", tlswatch::fuzz::words),
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

/// A seed that is thrown away at its first byte would leave what it stands for unfuzzed.
#[test]
fn every_seed_of_a_link_type_or_tunnel_is_decoded() {
    for entry in fs::read_dir("fuzz/corpus/decode").unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let (frames, packets) = tlswatch::fuzz::packets(&fs::read(&path).unwrap());
        let expected = match name.as_str() {
            "seed-fragments" => 2,
            "seed-fragments-overlap" => 0,
            _ => frames,
        };
        assert!(!name.starts_with("seed-") || packets == expected, "{name}: {packets} of {frames}");
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
