//! The rules of docs/ARCHITECTURE.md, as tests over the text of the source.
#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Words that everybody may use.
const WORDS: &[&str] = &["time", "stats", "config", "policy", "direction", "text", "prefetch"];

/// What each module may use besides the words and itself; `*` is everything.
const LAYERS: &[(&str, &[&str])] = &[
    ("direction", &[]),
    ("time", &[]),
    ("text", &[]),
    ("stats", &[]),
    ("config", &[]),
    ("policy", &[]),
    ("prefetch", &[]),
    ("packet", &[]),
    ("tls", &[]),
    ("x509", &[]),
    ("session", &["tls"]),
    ("flow", &["packet", "session", "tls"]),
    ("detect", &["flow", "session", "packet", "tls", "x509"]),
    ("event", &["detect", "flow", "session", "packet", "tls", "x509"]),
    ("sink", &["event", "detect", "flow", "session", "packet", "tls", "x509"]),
    ("report", &["event", "detect", "flow", "session", "packet", "tls", "x509"]),
    ("inventory", &["event", "detect", "flow", "session", "packet", "tls", "x509", "sink"]),
    ("capture", &["packet"]),
    ("pipeline", &["*"]),
    ("cli", &["*"]),
    ("fuzz", &["*"]),
    ("lib", &[]),
    ("main", &["*"]),
];

/// Most lines of code of one file, without tests, comments and blank lines.
const FILE_LINES: usize = 800;

/// Files that are tables.
const TABLES: &[&str] = &["src/tls/names.rs"];

/// Files with state that threads share, and what the state is. None of it holds an order.
const SHARED_STATE: &[(&str, &str)] = &[
    ("src/x509/", "memos of pure functions of the certificate's bytes"),
    ("src/event/context.rs", "names of files and interfaces, told before their first frame"),
    (
        "src/detect/knowledge.rs",
        "memos of pure functions of certificates and lists, and CAs that signed a list, noted by the one thread that judges",
    ),
    ("src/detect/memory.rs", "the seed of hashes, drawn once"),
    ("src/detect/sighting.rs", "what the one thread that judges does not have to ask again"),
    ("src/inventory/", "what the writing thread has not committed yet, read back in the one thread that judges"),
    (
        "src/sink/",
        "whether standard output was there at the start, and whether the reader of a pipe is gone, which ends the run",
    ),
    (
        "src/capture/",
        "bytes read so far, for the progress bar; the signal that ends a live capture; whether a lease is held",
    ),
    ("src/cli/", "what the summary shows after the run; signals; which lists were applied to the inventory"),
    ("src/pipeline/correlator.rs", "bytes of reports in flight, which slow the reader down and nothing else"),
    ("src/detect/knowledge.rs", "memos of pure functions of certificate revocation lists"),
    ("src/inventory/", "the connection to the file, records on their way to it, and why writing failed"),
    ("src/pipeline/spent.rs", "reports on their way back to be freed, whose content never shows"),
    ("src/stats.rs", "counters that a running sensor is asked for"),
];

/// A source file: its path, the module it belongs to, and its text up to its tests.
struct Source {
    path: String,
    module: String,
    code: String,
}

fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, ending, found);
        } else if path.to_str().unwrap().ends_with(ending) {
            found.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    files(Path::new("src"), ".rs", &mut paths);
    paths.sort();
    assert!(paths.len() > 60);
    paths
        .into_iter()
        .map(|path| path.to_str().unwrap().to_owned())
        .map(|path| {
            let inside = path.strip_prefix("src/").unwrap();
            let module = inside.split(['/', '.']).next().unwrap().to_owned();
            let text = fs::read_to_string(&path).unwrap();
            let only_tests = path.ends_with("/tests.rs") || path.contains("/tests/") || is_test_module(&path);
            let code = if only_tests { "" } else { text.split("#[cfg(test)]\nmod tests").next().unwrap() };
            Source { path, module, code: code.to_owned() }
        })
        .collect()
}

/// Whether the parent declares this file under `#[cfg(test)]`.
fn is_test_module(path: &str) -> bool {
    let path = Path::new(path);
    let name = path.file_stem().unwrap().to_str().unwrap();
    let folder = path.parent().unwrap();
    let parents = [folder.join("mod.rs"), folder.join("lib.rs"), folder.with_extension("rs")];
    parents.iter().filter_map(|parent| fs::read_to_string(parent).ok()).any(|text| {
        ["mod", "pub mod", "pub(crate) mod", "pub(super) mod"]
            .iter()
            .any(|visibility| text.contains(&format!("#[cfg(test)]\n{visibility} {name};")))
    })
}

/// Lines of code, without comments.
fn code_lines(code: &str) -> impl Iterator<Item = &str> {
    code.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"))
}

/// Modules named behind `crate::` anywhere in the code, also in braces: `use crate::{time, tls::Anomaly}`.
fn modules_used(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let code: String = code_lines(code).map(|line| format!("{line}\n")).collect();
    for (at, _) in code.match_indices("crate::") {
        let rest = code.split_at(at + "crate::".len()).1;
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if let Some(list) = rest.strip_prefix('{') {
            let (mut depth, mut name, mut fresh) = (0, String::new(), true);
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        used.insert(std::mem::take(&mut name));
                        fresh = true;
                    }
                    ':' => fresh = false,
                    c if depth == 0 && fresh && is_name(c) => name.push(c),
                    _ => {}
                }
            }
            used.insert(name);
        } else {
            used.insert(rest.chars().take_while(|c| is_name(*c)).collect());
        }
    }
    used.retain(|name| !name.is_empty());
    used
}

#[test]
fn uses_are_found_in_every_form() {
    let code = "use crate::time::Span;\n// crate::no\nuse crate::{tls::{Anomaly, x}, x509};\nlet x = crate::flow::y();";
    assert_eq!(modules_used(code).into_iter().collect::<Vec<_>>(), ["flow", "time", "tls", "x509"]);
}

#[test]
fn layers_know_only_what_lies_below() {
    let mut wrong = Vec::new();
    for source in sources() {
        let Some((_, below)) = LAYERS.iter().find(|(module, _)| *module == source.module) else {
            wrong.push(format!("{}: module `{}` has no place in the table", source.path, source.module));
            continue;
        };
        let is_word = WORDS.contains(&source.module.as_str());
        for used in modules_used(&source.code) {
            let used = used.as_str();
            let known = LAYERS.iter().any(|(module, _)| *module == used);
            // Words know only `time`, in which their numbers are counted.
            let word = WORDS.contains(&used) && (!is_word || used == "time");
            let allowed = used == source.module || word || below.contains(&"*") || below.contains(&used);
            if known && !allowed {
                wrong.push(format!("{}: `{}` must not know `{used}`", source.path, source.module));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_short() {
    for source in sources() {
        let lines = code_lines(&source.code).count();
        assert!(lines <= FILE_LINES || TABLES.contains(&source.path.as_str()), "{}: {lines} lines", source.path);
    }
}

#[test]
fn the_core_asks_no_clock() {
    for source in sources().iter().filter(|source| !source.path.starts_with("src/capture/live")) {
        for line in code_lines(&source.code) {
            let asks = line.contains("SystemTime::now") || line.contains("Instant::now");
            assert!(!asks, "{}: {line}", source.path);
        }
    }
}

#[test]
fn no_shared_map_holds_an_order() {
    for source in sources() {
        let shares = ["DashMap", "Mutex", "RwLock", "Atomic", "static mut", "thread_local!"];
        let found = code_lines(&source.code).find(|line| shares.iter().any(|word| line.contains(word)));
        let listed = SHARED_STATE.iter().any(|(place, _)| source.path.starts_with(place));
        assert!(found.is_none() || listed, "{}: {}", source.path, found.unwrap_or_default());
    }
}

#[test]
fn only_event_serialises() {
    // What x509 renders is a memo of a certificate's fields, which event splices into its lines; a host's record is what the
    // inventory keeps of its baseline.
    let may = |source: &&Source| {
        let stored = ["src/x509/json.rs", "src/detect/hosts/record.rs"];
        ["event", "inventory"].contains(&source.module.as_str()) || stored.contains(&source.path.as_str())
    };
    for source in sources().iter().filter(|source| !may(source)) {
        let found = code_lines(&source.code).find(|line| line.contains("Serialize"));
        assert!(found.is_none(), "{}: {}", source.path, found.unwrap_or_default());
    }
}

#[test]
fn the_reader_is_the_only_decoder() {
    for source in sources() {
        let may = source.module == "packet" || source.module == "fuzz" || source.path == "src/pipeline/reader.rs";
        let decodes =
            [" Decoder::new", "packet::Decoder::new", "FlowPacket::glance"].iter().any(|way| source.code.contains(way));
        assert!(may || !decodes, "{}", source.path);
    }
}

#[test]
fn the_end_is_a_closed_channel() {
    for source in sources().iter().filter(|source| source.module == "pipeline") {
        for word in ["AtomicBool", "Shutdown", "Terminate", "unbounded"] {
            assert!(!source.code.contains(word), "{}: {word}", source.path);
        }
    }
}

#[test]
fn every_dependency_says_why_it_is_there() {
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    // One sentence stands for the three curves.
    let with_the_line_before = ["p384", "p521"];
    let mut section = "";
    let mut before = "";
    let mut count = 0;
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.contains("dependencies") && line.contains(" = ") && !line.starts_with('#') {
            let name = line.split(" = ").next().unwrap();
            assert!(before.starts_with("# ") || with_the_line_before.contains(&name), "{name} has no reason");
            count += 1;
        }
        before = line;
    }
    assert!(count > 20);
}

#[test]
fn nothing_is_left_for_later() {
    let mut paths = Vec::new();
    for folder in ["src", "tests", "benches", "docs", "fuzz", "pcaps/scripts"] {
        for ending in [".rs", ".md", ".toml", ".py", ".sh"] {
            if Path::new(folder).exists() {
                files(Path::new(folder), ending, &mut paths);
            }
        }
    }
    paths.extend(["README.md", "Makefile", "Cargo.toml"].map(PathBuf::from));
    for path in paths.iter().filter(|path| !path.components().any(|part| part.as_os_str() == "target")) {
        let text = fs::read_to_string(path).unwrap();
        // Written in halves, so that this file is not found.
        for word in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:"), concat!("#[ign", "ore")] {
            assert!(!text.contains(word), "{}: {word}", path.display());
        }
    }
}
