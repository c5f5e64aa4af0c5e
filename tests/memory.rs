//! What one run learns of hosts, the next one knows.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "the helpers of these tests fail like the tests"
)]

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
    let before = unexpected(&alone, host).map_or(0, known);
    read(&["--to", NOON, "--inventory", path]);
    let learned = support(&inventory);
    assert!(learned.iter().all(|(_, support)| *support > 0) && !learned.is_empty());
    let bytes = std::fs::read(&inventory).unwrap();
    let with_baseline = read(&["--from", NOON, "--baseline", path]);
    assert_eq!(std::fs::read(&inventory).unwrap(), bytes);
    // One that an older version made is as good, and stays as it is.
    let older = folder.path().join("older");
    std::fs::copy(&inventory, &older).unwrap();
    let older_tables = "DROP TABLE capture_frames; DROP TABLE alert_about; PRAGMA user_version = 4";
    rusqlite::Connection::open(&older).unwrap().execute_batch(older_tables).unwrap();
    let bytes = std::fs::read(&older).unwrap();
    let with_older = read(&["--from", NOON, "--baseline", older.to_str().unwrap()]);
    assert!(text(&["why-not", "login.example.net", "--inventory", older.to_str().unwrap()]).contains("phase"));
    assert_eq!(std::fs::read(&older).unwrap(), bytes);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing stands beside them");
    let with_inventory = read(&["--from", NOON, "--inventory", path]);
    for events in [&with_baseline, &with_older, &with_inventory] {
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

#[test]
fn a_part_of_a_capture_is_counted_once_and_does_not_stand_for_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    read(&["--inventory", whole.to_str().unwrap()]);
    let expected = (support(&whole), handshakes(&whole));
    let parts: [&[&[&str]]; 4] = [
        &[&["--to", NOON], &["--from", NOON]],
        &[&["--sni", "login.example.net"], &["--sni", "login.example.net"]],
        &[&["--host", "10.2.0.22"], &["--to", NOON], &["--host", "10.2.0.22", "--from", NOON]],
        &[&["-f", "host 10.2.0.22"], &["-f", "tcp port 443"]],
    ];
    for (number, parts) in parts.into_iter().enumerate() {
        let inventory = folder.path().join(number.to_string());
        let path = inventory.to_str().unwrap();
        for part in parts {
            read(&[&["--inventory", path], *part].concat());
        }
        let some = handshakes(&inventory);
        assert!(some > 0 && some <= expected.1, "{parts:?}");
        read(&["--inventory", path]);
        assert_eq!((support(&inventory), handshakes(&inventory)), expected, "{parts:?}");
        // Now it is known in full: no part adds anything.
        read(&["--inventory", path, "--to", NOON]);
        assert_eq!((support(&inventory), handshakes(&inventory)), expected, "{parts:?}");
    }
}

/// Handshakes that the inventory counts.
fn handshakes(inventory: &Path) -> i64 {
    let connection = rusqlite::Connection::open(inventory).unwrap();
    connection.query_row("SELECT sum(count) FROM host", [], |row| row.get(0)).unwrap()
}

#[test]
fn alerts_of_several_runs_are_one_and_no_run_is_silenced() {
    let folder = tempfile::tempdir().unwrap();
    let inventory = folder.path().join("inventory");
    let path = inventory.to_str().unwrap();
    let alerts = |events: &[Value]| -> Vec<(String, String, i64)> {
        let alerts = events.iter().filter(|event| event["event"]["kind"] == "alert");
        let word = |event: &Value, name: &str| event["tlswatch"]["alert"][name].as_str().unwrap().to_owned();
        let mut all: Vec<_> = alerts
            .map(|event| {
                let count = event["tlswatch"]["alert"]["count"].as_i64().unwrap();
                (word(event, "id"), word(event, "status"), count)
            })
            .collect();
        all.sort();
        all
    };
    let stored = || -> Vec<(String, i64)> {
        let connection = rusqlite::Connection::open(&inventory).unwrap();
        let mut statement = connection.prepare("SELECT id, count FROM alert ORDER BY id").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    };
    let first = alerts(&read(&["--inventory", path]));
    assert!(!first.is_empty() && first.iter().all(|(_, status, _)| status == "new"));
    let once: Vec<_> = first.iter().map(|(id, _, count)| (id.clone(), *count)).collect();
    assert_eq!(stored(), once);
    // The same capture: the same alerts, and nothing more to remember.
    for more in [&[][..], &["--stream"]] {
        let again = alerts(&read(&[&["--inventory", path], more].concat()));
        let of = |all: &[(String, String, i64)]| {
            let mut ids: Vec<_> = all.iter().map(|(id, ..)| id.clone()).collect();
            ids.dedup();
            ids
        };
        assert_eq!(of(&again), of(&first), "{more:?}");
        assert_eq!(stored(), once, "{more:?}");
    }
    // Counted once more because somebody wants it: the counts are added up.
    let twice = alerts(&read(&["--inventory", path, "--again"]));
    assert_eq!(twice.len(), first.len());
    let doubled: Vec<_> = once.iter().map(|(id, count)| (id.clone(), count * 2)).collect();
    assert_eq!(stored(), doubled);
    let (id, count) = &doubled[0];
    assert!(text(&["explain", id, "--inventory", path]).contains(&count.to_string()));
}

#[test]
fn alerts_are_explained_from_the_inventory_and_from_events() {
    let folder = tempfile::tempdir().unwrap();
    let (inventory, events) = (folder.path().join("inventory"), folder.path().join("events"));
    let (path, events_path) = (inventory.to_str().unwrap(), events.to_str().unwrap());
    let told = read(&["--inventory", path]);
    let lines: Vec<String> = told.iter().map(Value::to_string).collect();
    std::fs::write(&events, lines.join("\n")).unwrap();
    let alert = unexpected(&told, "login.example.net:443").unwrap();
    let id = alert["tlswatch"]["alert"]["id"].as_str().unwrap();
    let from_inventory = text(&["explain", id, "--inventory", path]);
    assert_eq!(from_inventory, text(&["explain", &id[..8], "--events", events_path]));
    for part in
        [alert["message"].as_str().unwrap(), "+15 H2a", "baseline", "next steps", "false alarm", "ip.addr == 10.2.0.22"]
    {
        assert!(from_inventory.contains(part), "{part}: {from_inventory}");
    }
    assert!(!tlswatch(&["explain", "0123456789", "--inventory", path]).status.success());
    let known = text(&["why-not", "login.example.net", "--inventory", path]);
    assert!(known.contains("phase") && known.contains(id), "{known}");
    assert!(text(&["baseline", "show", "login.example.net", "--inventory", path]).contains("suspect"));
}

#[test]
fn why_there_is_no_alert_is_said() {
    let capture = capture("benign-renewal-new-key.pcap");
    let said = text(&["why-not", "www.example.com", capture.to_str().unwrap()]);
    for part in ["18 handshakes, 18 with a certificate", "no alarm", "B3", "only marks", "phase"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = text(&["why-not", "no.example", capture.to_str().unwrap()]);
    assert!(said.contains("0 handshakes"), "{said}");
    assert!(!tlswatch(&["why-not", "www.example.com"]).status.success());
}

/// What one run saw of a cause is not lost when the next one sees more of it.
#[test]
fn an_alert_of_several_runs_names_the_hosts_of_all() {
    let folder = tempfile::tempdir().unwrap();
    let inventory = folder.path().join("inventory");
    let (path, capture) = (inventory.to_str().unwrap(), capture("demo.pcap"));
    let cut = "2026-11-21T22:12:30Z";
    let mut alerts = Vec::new();
    for part in [["--to", cut], ["--from", cut]] {
        let all = [&["read", capture.to_str().unwrap(), "--quiet", "-o", "-", "--inventory", path][..], &part].concat();
        let events = text(&all);
        let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let alert = events.rev().find(|event| event["event"]["kind"] == "alert").unwrap();
        let alert = &alert["tlswatch"]["alert"];
        alerts.push((alert["id"].as_str().unwrap().to_owned(), alert["hosts"]["count"].as_u64().unwrap()));
    }
    assert_eq!((alerts[0].0 == alerts[1].0, alerts[0].1, alerts[1].1), (true, 3, 3));
    let explained = text(&["explain", &alerts[0].0, "--inventory", path]);
    let hosts = explained.lines().find(|line| line.starts_with("hosts ")).unwrap();
    assert!(hosts.contains("www.example.com:443") && hosts.ends_with("(6)"), "{hosts}");
    for host in ["www.example.com", "www.example.de:443"] {
        let said = text(&["why-not", host, "--inventory", path]);
        assert!(said.contains(&format!("alert {}", alerts[0].0)), "{said}");
    }
    assert!(text(&["why-not", "www.example.com:444", "--inventory", path]).contains("no alert names it"));
}

#[test]
fn who_asks_about_an_address_hears_of_its_names() {
    let folder = tempfile::tempdir().unwrap();
    let inventory = folder.path().join("inventory");
    let (path, capture) = (inventory.to_str().unwrap(), capture("demo.pcap"));
    let capture = capture.to_str().unwrap();
    text(&["read", capture, "--quiet", "-o", "-", "--inventory", path]);
    let named = "asked there for login.example.net:443: ask about these";
    for host in ["203.0.113.11", "ip:203.0.113.11:443"] {
        let said = text(&["why-not", host, "--inventory", path]);
        assert!(said.contains(named) && !said.contains("nothing is known"), "{said}");
        let said = text(&["why-not", host, capture]);
        assert!(said.contains(named), "{said}");
    }
    let said = text(&["why-not", "203.0.113.250", "--inventory", path]);
    assert!(said.contains("nothing is known") && said.contains("no certificate from it was seen"), "{said}");
    // Captures say what became of it, too.
    let said = text(&["why-not", "login.example.net", capture]);
    assert!(said.lines().last().unwrap().starts_with("alert "), "{said}");
}

fn text(arguments: &[&str]) -> String {
    let output = tlswatch(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The same scorer as in the run that stored it, on what is stored.
#[test]
fn the_inventory_is_judged_again() {
    let folder = tempfile::tempdir().unwrap();
    let inventory = folder.path().join("inventory");
    let path = inventory.to_str().unwrap();
    let alert = unexpected(&read(&["--inventory", path]), "login.example.net:443").unwrap().clone();
    let said = text(&["why-not", "login.example.net", "--inventory", path]);
    let evidence = &alert["tlswatch"]["alert"]["evidence"];
    for part in ["judged again", "against the baseline without it", "MITM-002", "last unexpected certificate"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    for point in evidence["for"].as_array().unwrap() {
        let id = point["id"].as_str().unwrap();
        // Who else got what is only known while it happens.
        assert!(["H5", "H6"].contains(&id) || said.contains(&format!(" {id} ")), "{id}: {said}");
    }
    // Whoever stands for the clients is not one of them.
    let number = |before: &str| {
        let (_, rest) = said.split_once(before).unwrap();
        let (number, _) = rest.split_once(" clients").unwrap();
        number.rsplit(' ').next().unwrap().parse::<u32>().unwrap()
    };
    assert_eq!(number("with a certificate, "), number("  baseline   "), "{said}");
    assert!(said.contains("gave a client a certificate") && !said.contains("client 0."), "{said}");
    // A port is heard.
    assert_eq!(text(&["why-not", "login.example.net:443", "--inventory", path]), said);
    let other = text(&["why-not", "login.example.net:444", "--inventory", path]);
    assert!(other.contains("nothing is known of this host") && other.contains("no alert names it"), "{other}");
    // A policy that allows it is heard.
    let benign = folder.path().join("benign");
    let path = benign.to_str().unwrap();
    let capture = capture("benign-renewal-new-key.pcap");
    text(&["read", capture.to_str().unwrap(), "--quiet", "-o", "-", "--inventory", path]);
    let said = text(&["why-not", "www.example.com", "--inventory", path]);
    assert!(said.contains("no alarm") && said.contains("B3") && said.contains("no alert names it"), "{said}");
    // Without a baseline what came before stands for it.
    text(&["baseline", "forget", "www.example.com", "-i", path]);
    let said = text(&["why-not", "www.example.com", "--inventory", path]);
    assert!(said.contains("no baseline") && said.contains("presented before it") && said.contains("B3"), "{said}");
    assert!(text(&["why-not", "nowhere.example", "--inventory", path]).contains("nothing is known"));
}

#[test]
fn a_suggested_policy_is_a_good_one() {
    let folder = tempfile::tempdir().unwrap();
    let (inventory, policy) = (folder.path().join("inventory"), folder.path().join("policy.toml"));
    let path = inventory.to_str().unwrap();
    let capture = capture("benign-private-pki.pcap");
    text(&["read", capture.to_str().unwrap(), "--quiet", "-o", "-", "--inventory", path]);
    let suggested = text(&["policy", "suggest", "--inventory", path, "--handshakes", "1"]);
    assert!(suggested.contains("[[host]]") && suggested.contains("[[internal_ca]]"), "{suggested}");
    std::fs::write(&policy, &suggested).unwrap();
    text(&["policy", "check", policy.to_str().unwrap()]);
    let none = text(&["policy", "suggest", "--inventory", path, "--handshakes", "1000000"]);
    assert!(!none.contains("[[host]]") && none.contains("# left out: 3 hosts with fewer than 1000000"), "{none}");
}

/// What was seen is allowed: the names in the certificates of a private CA, too, that no client asked for.
#[test]
fn a_suggested_policy_is_silent_about_what_it_was_made_from() {
    for name in ["benign-private-pki", "benign-wildcard-many-hosts", "benign-no-sni", "ipv6"] {
        let folder = tempfile::tempdir().unwrap();
        let (inventory, policy) = (folder.path().join("inventory"), folder.path().join("policy.toml"));
        let (path, policy) = (inventory.to_str().unwrap(), policy.to_str().unwrap());
        let capture = capture(&format!("{name}.pcap"));
        let read = ["read", capture.to_str().unwrap(), "--quiet", "-o", "-"];
        text(&[&read[..], &["--inventory", path]].concat());
        let suggested = text(&["policy", "suggest", "--inventory", path, "--handshakes", "1"]);
        assert!(suggested.contains("[[internal_ca]]"), "{suggested}");
        std::fs::write(policy, &suggested).unwrap();
        let events = text(&[&read[..], &["--policy", policy]].concat());
        let of_policy =
            events.lines().find(|line| line.contains("\"dataset\":\"tlswatch.alert\"") && line.contains("TLSW-POL"));
        assert_eq!(of_policy, None, "{name}: {suggested}");
    }
}

#[test]
fn a_certificate_is_accepted_before_it_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let inventory = folder.path().join("inventory");
    let path = inventory.to_str().unwrap();
    let (split, roots) = (capture("mitm-split-view.pcap"), capture("ca/public-roots.pem"));
    let (split, roots) = (split.to_str().unwrap(), roots.to_str().unwrap());
    let run = |arguments: &[&str]| {
        // Up to the first sight of the other certificate, so that it is the one presented last.
        let fixed = ["read", split, "-q", "-o", "-", "--roots", roots, "--to", "2026-11-21T21:54:14Z"];
        let output = tlswatch(&[&fixed[..], arguments].concat());
        let events = String::from_utf8(output.stdout).unwrap();
        let mut events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        events.find(|event| event["rule"]["id"] == "TLSW-MITM-002")
    };
    let learn = ["read", split, "-q", "-o", "-", "--roots", roots, "--to", NOON, "--inventory", path];
    assert!(tlswatch(&learn).status.success());
    let alert = run(&["--from", NOON, "--baseline", path]).unwrap();
    let certificate = alert["tls"]["server"]["hash"]["sha256"].as_str().unwrap();
    let accept = |host: &str, certificate: &str| {
        let output = tlswatch(&["baseline", "accept", host, "--certificate", certificate, "-i", path]);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    // A few digits are not enough for one that nobody has shown.
    assert_eq!(accept("www.example.com", &certificate[..16]).0, Some(1));
    let colons: Vec<&str> = (0..32).map(|pair| &certificate[2 * pair..2 * pair + 2]).collect();
    let (code, words) = accept("www.example.com", &colons.join(":"));
    assert!(code == Some(0) && words.contains("has not shown it yet"), "{words}");
    let (code, words) = accept("www.example.cmo", certificate);
    assert!(code == Some(0) && words.contains("nothing is known of www.example.cmo"), "{words}");
    let shown = || String::from_utf8(tlswatch(&["baseline", "show", "www.example.com", "-i", path]).stdout).unwrap();
    assert!(shown().contains(" accepted, not shown yet\n"));
    let why = || {
        let why = tlswatch(&["why-not", "www.example.com", "--inventory", path, "--roots", roots]);
        String::from_utf8(why.stdout).unwrap()
    };
    for kept in ["--baseline", "--inventory"] {
        assert_eq!(run(&["--from", NOON, kept, path]), None, "{kept}");
    }
    assert!(shown().contains(&format!("{} accepted\n", certificate.to_lowercase())));
    let text = why();
    assert!(text.contains("a person accepted it") && !text.contains("TLSW-MITM-002"), "{text}");
    let connection = rusqlite::Connection::open(&inventory).unwrap();
    connection.execute("DELETE FROM accepted", []).unwrap();
    let text = why();
    assert!(!text.contains("a person accepted it") && text.contains("TLSW-MITM-002"), "{text}");
}

#[test]
fn what_rules_need_of_earlier_runs_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.toml");
    std::fs::write(&policy, "version = 1\n[[host]]\nmatch = [\"www.example.com\"]\nkey_reuse = false\n").unwrap();
    let (policy, roots) = (policy.to_str().unwrap(), capture("ca/public-roots.pem"));
    let rules = |name: &str, arguments: &[&str]| {
        let capture = capture(&format!("{name}.pcap"));
        let fixed = ["read", capture.to_str().unwrap(), "-q", "-o", "-", "--roots", roots.to_str().unwrap()];
        let output = tlswatch(&[&fixed[..], &["--policy", policy], arguments].concat());
        let events = String::from_utf8(output.stdout).unwrap();
        let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let alerts = events.filter(|event| event["event"]["kind"] == "alert");
        let mut rules: Vec<String> = alerts
            .flat_map(|alert| alert["tlswatch"]["alert"]["rules"].as_array().unwrap().clone())
            .map(|rule| rule.as_str().unwrap().trim_start_matches("TLSW-").to_owned())
            .collect();
        rules.sort();
        rules
    };
    for (name, middle, needed) in [
        // Domains that were seen with a public certificate.
        ("mitm-mitmproxy", NOON, "MITM-007"),
        // The key of the certificate before.
        ("benign-renewal-same-key", "2026-11-20T12:00:00Z", "POL-003"),
        // Where a client's certificate was used.
        ("client-cert-stolen", NOON, "CERT-030"),
        ("client-cert-stolen", NOON, "CERT-031"),
    ] {
        let inventory = folder.path().join(format!("{name} {needed}"));
        let path = inventory.to_str().unwrap();
        let whole = rules(name, &[]);
        let has = |rules: &[String]| rules.iter().any(|rule| rule == needed);
        assert!(has(&whole), "{name}: {whole:?}");
        assert!(!has(&rules(name, &["--from", middle])), "{name}: {needed} needs what was before");
        assert!(!has(&rules(name, &["--to", middle, "--inventory", path])), "{name}");
        for kept in ["--baseline", "--inventory"] {
            let later = rules(name, &["--from", middle, kept, path]);
            assert!(has(&later), "{name} {kept}: {later:?}");
            assert!(later.iter().all(|rule| whole.contains(rule)), "{name} {kept}: {later:?} of {whole:?}");
        }
        // Nothing of a capture is a predecessor of itself.
        let again = rules(name, &["--to", middle, "--inventory", path]);
        assert!(!has(&again), "{name}: {again:?}");
    }
}
