//! What several test programs share: the captures of the repository, and runs of the pipeline in memory.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test program takes its own part of this")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers of tests are small")]

pub mod capture;
pub mod scene;
pub mod session;
pub mod tls;

use std::path::{Path, PathBuf};

use tlswatch::capture::{Files, Source};
use tlswatch::event::{Context, Detail, Observer};
use tlswatch::pipeline::{self, Options, Outcome};
use tlswatch::sink::Ndjson;

/// Every capture in `pcaps/`, by name, relative to the package.
pub fn captures() -> Vec<PathBuf> {
    let mut captures: Vec<PathBuf> = std::fs::read_dir("pcaps")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().contains(".pcap"))
        .collect();
    captures.sort();
    assert!(captures.len() > 50, "pcaps/ is nearly empty");
    captures
}

/// The events of a run, as bytes.
#[derive(Debug)]
pub struct Run {
    /// NDJSON.
    pub output: Vec<u8>,
    /// Counters and panics.
    pub outcome: Outcome,
}

impl Run {
    /// The lines.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        std::str::from_utf8(&self.output).unwrap().lines()
    }

    /// The events of a dataset (`tls`, `certificate`, `stats`), parsed.
    pub fn events(&self, dataset: &str) -> Vec<serde_json::Value> {
        let wanted = format!("tlswatch.{dataset}");
        self.lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .inspect(|event| assert_nothing_empty(event, "event"))
            .filter(|event| event["event"]["dataset"] == wanted)
            .collect()
    }
}

/// What is empty is left out of events (docs/EVENTS.md).
fn assert_nothing_empty(value: &serde_json::Value, place: &str) {
    use serde_json::Value;
    match value {
        Value::Object(members) => {
            assert!(!members.is_empty(), "{place} is empty");
            members.iter().for_each(|(name, member)| assert_nothing_empty(member, &format!("{place}.{name}")));
        }
        Value::Array(items) => {
            assert!(!items.is_empty(), "{place} is empty");
            items.iter().for_each(|item| assert_nothing_empty(item, place));
        }
        Value::String(text) => assert!(!text.is_empty(), "{place} is empty"),
        Value::Null => panic!("{place} is null"),
        Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Runs the whole pipeline over a source.
pub fn run_source(source: &mut dyn Source, options: &Options, detail: Detail) -> Run {
    let mut output = Vec::new();
    let context = Context::new(&Observer::default(), detail);
    let sink = Box::new(Ndjson::new(&mut output));
    let outcome = pipeline::run(&mut { source }, vec![sink], (options, context), |_| {}).unwrap();
    assert_eq!(outcome.panics, [0_u64; 0], "a parser panicked");
    Run { output, outcome }
}

/// Runs the whole pipeline over files.
pub fn run_files(paths: &[PathBuf], options: &Options, detail: Detail) -> Run {
    run_source(&mut Files::open(paths, Default::default()), options, detail)
}

/// Runs the whole pipeline over one file.
pub fn run_file(path: &Path, options: &Options, detail: Detail) -> Run {
    run_files(&[path.to_owned()], options, detail)
}

/// Runs the whole pipeline over a capture in memory, shown as `name`.
pub fn run_bytes(name: &str, capture: Vec<u8>, options: &Options) -> Run {
    let input = Box::new(std::io::Cursor::new(capture));
    run_source(&mut Files::from_reader(name, input, Default::default()), options, Detail::Full)
}

/// Options with this many workers.
pub fn with_workers(workers: usize) -> Options {
    Options { workers, ..Options::default() }
}
