//! What one run learns of hosts, the next one knows.

#![expect(clippy::unwrap_used, reason = "the helpers of these tests fail like the tests")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// True traffic for two days, then a proxy that makes certificates of its own.
const CAPTURE: &str = "mitm-product-fortigate.pcap";
/// Between the two.
const NOON: &str = "2026-11-21T12:00:00Z";

fn tlswatch(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tlswatch"));
    command.args(arguments).env_remove("TLSWATCH_INVENTORY").stdin(Stdio::null()).output().unwrap()
}

fn capture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps").join(name)
}

fn read(arguments: &[&str]) -> Vec<Value> {
    let capture = capture(CAPTURE);
    let all = [&["read", capture.to_str().unwrap(), "--quiet", "-o", "-"], arguments].concat();
    let output = tlswatch(&all);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let events = String::from_utf8(output.stdout).unwrap();
    events.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The alert about an unexpected certificate of this host.
fn unexpected<'a>(events: &'a [Value], host: &str) -> Option<&'a Value> {
    events.iter().find(|event| {
        let names = event["tlswatch"]["alert"]["hosts"]["names"].as_array();
        event["rule"]["id"] == "TLSW-MITM-002" && names.is_some_and(|names| names.iter().any(|name| name == host))
    })
}

/// Support of each host's record.
fn support(inventory: &Path) -> Vec<(String, u64)> {
    let connection = rusqlite::Connection::open(inventory).unwrap();
    let mut statement = connection.prepare("SELECT key, record FROM baseline ORDER BY key, port").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?))).unwrap();
    rows.map(|row| {
        let (key, record) = row.unwrap();
        let record: Value = serde_json::from_slice(&record).unwrap();
        (key, record["support"].as_u64().unwrap())
    })
    .collect()
}

#[test]
fn what_was_learned_is_known_in_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let inventory = folder.path().join("inventory");
    let path = inventory.to_str().unwrap();
    let host = "login.example.net:443";
    // The second half alone knows nothing better.
    let alone = read(&["--from", NOON]);
    let before = unexpected(&alone, host).map_or(0, |alert| known(alert));
    read(&["--to", NOON, "--inventory", path]);
    let learned = support(&inventory);
    assert!(learned.iter().all(|(_, support)| *support > 0) && !learned.is_empty());
    let bytes = std::fs::read(&inventory).unwrap();
    let with_baseline = read(&["--from", NOON, "--baseline", path]);
    assert_eq!(std::fs::read(&inventory).unwrap(), bytes);
    let with_inventory = read(&["--from", NOON, "--inventory", path]);
    for events in [&with_baseline, &with_inventory] {
        let alert = unexpected(events, host).unwrap();
        assert!(known(alert) > before, "{alert:#}");
        let since = alert["tlswatch"]["alert"]["evidence"]["baseline"]["since"].as_str().unwrap();
        assert!(since < NOON, "{since}");
    }
    assert_ne!(support(&inventory), learned);
}

fn known(alert: &Value) -> u64 {
    alert["tlswatch"]["alert"]["evidence"]["baseline"]["support"].as_u64().unwrap_or(0)
}

#[test]
fn a_capture_read_again_adds_no_support() {
    let folder = tempfile::tempdir().unwrap();
    let inventory = folder.path().join("inventory");
    let path = inventory.to_str().unwrap();
    let first = read(&["--inventory", path]);
    let learned = support(&inventory);
    let again = read(&["--inventory", path]);
    assert_eq!(support(&inventory), learned);
    let alert = |events| unexpected(events, "login.example.net:443").unwrap()["tlswatch"]["alert"]["id"].clone();
    assert_eq!(alert(&first), alert(&again));
    read(&["--inventory", path, "--again"]);
    let doubled: Vec<_> = learned.iter().map(|(host, support)| (host.clone(), support * 2)).collect();
    assert_eq!(support(&inventory), doubled);
}
