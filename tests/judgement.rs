//! What the captures of interceptions, misuse and ordinary change lead to: the rules that fire, and the silence.
#![cfg(test)]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use tlswatch::detect::alerts::When;
use tlswatch::detect::catalogue::known_rules;
use tlswatch::detect::knowledge::Knowledge;
use tlswatch::event::Detail;
use tlswatch::pipeline::Options;
use tlswatch::pipeline::judgement::Judging;
use tlswatch::policy::Policy;
use tlswatch::x509::roots::TrustAnchors;

use support::{Run, run_file};

const MEDIUM: u64 = 47;
const HIGH: u64 = 73;
const CRITICAL: u64 = 99;

/// Only the client that is attacked.
const VICTIM: &[&str] = &["10.2.0.22"];
const TWO: &[&str] = &["www.example.com", "login.example.net"];
const THREE: &[&str] = &["www.example.com", "login.example.net", "www.example.org"];
const SIX: &[&str] = &[
    "www.example.com",
    "login.example.net",
    "www.example.org",
    "www.example.de",
    "mail.example.edu",
    "shop.example.co.uk",
];
const PORTAL: &[&str] =
    &["www.example.com", "login.example.net", "www.example.org", "mail.example.edu", "shop.example.co.uk"];
const ADDRESSES: &[&str] = &["ip:203.0.113.10", "ip:203.0.113.11", "ip:203.0.113.12"];
const WWW: &[&str] = &["www.example.com"];
const API: &[&str] = &["api.example.com"];

/// Rules that one alert holds, its severity, hosts and clients.
type Expected = (&'static [&'static str], u64, &'static [&'static str], &'static [&'static str]);

/// Every alert that each capture leads to, the order aside.
const ATTACKS: &[(&str, &[Expected])] = &[
    ("demo", &[(&["KEY-001", "MITM-002", "MITM-003", "MITM-006", "MITM-007"], CRITICAL, SIX, VICTIM)]),
    ("mitm-mitmproxy", &[(&["KEY-001", "MITM-002", "MITM-003", "MITM-006", "MITM-007"], CRITICAL, SIX, VICTIM)]),
    ("mitm-mitmproxy-lossy", &[(&["KEY-001", "MITM-002", "MITM-003", "MITM-006", "MITM-007"], CRITICAL, SIX, VICTIM)]),
    (
        "mitm-sslsplit",
        &[(&["CRYP-003"], 21, THREE, VICTIM), (&["KEY-001", "MITM-002", "MITM-004"], CRITICAL, THREE, VICTIM)],
    ),
    (
        "mitm-sslsplit-server-side-only",
        &[(&["CRYP-003"], 21, ADDRESSES, VICTIM), (&["KEY-001", "MITM-002", "MITM-004"], CRITICAL, ADDRESSES, VICTIM)],
    ),
    ("mitm-squid", &[(&["KEY-001", "MITM-002", "MITM-003", "MITM-004"], CRITICAL, TWO, VICTIM)]),
    (
        "mitm-issuer-impersonation",
        &[
            (&["MITM-002", "MITM-005"], CRITICAL, WWW, VICTIM),
            (&["MITM-002", "MITM-005"], CRITICAL, &["login.example.net"], VICTIM),
        ],
    ),
    (
        "mitm-cloned-certificate",
        &[
            (&["MITM-002", "MITM-004"], CRITICAL, TWO, VICTIM),
            (&["CRYP-003"], 21, WWW, VICTIM),
            (&["CRYP-003"], 21, &["login.example.net"], VICTIM),
        ],
    ),
    (
        "mitm-bettercap",
        &[
            (&["MITM-002", "MITM-004"], CRITICAL, TWO, VICTIM),
            (&["CRYP-003"], 21, WWW, VICTIM),
            (&["CRYP-003"], 21, &["login.example.net"], VICTIM),
        ],
    ),
    ("mitm-version-regression", &[(&["MITM-014"], MEDIUM, WWW, &["10.2.0.21", "10.2.0.22"])]),
    ("key-server-random-reused", &[(&["KEY-005"], HIGH, WWW, &["10.1.0.13"])]),
    ("key-nonce-reused", &[(&["CRYP-007"], CRITICAL, WWW, &["10.1.0.13"])]),
    ("key-roca", &[(&["CRYP-008"], CRITICAL, &["smartcard.example.com"], BOTH)]),
    ("mitm-no-ca", &[(&["CERT-010", "MITM-002"], HIGH, TWO, VICTIM)]),
    ("mitm-product-fortigate", &[(&["MITM-002", "MITM-006"], HIGH, TWO, VICTIM)]),
    ("mitm-rejected", &[(&["MITM-002", "MITM-013"], HIGH, WWW, &["10.1.0.11", "10.2.0.21", "10.2.0.22"])]),
    ("mitm-split-view", &[(&["MITM-002", "MITM-008"], HIGH, WWW, VICTIM)]),
    ("mitm-downgrade", &[(&["MITM-009"], CRITICAL, WWW, VICTIM)]),
    ("mitm-downgrade-both-sides", &[(&["MITM-009"], CRITICAL, WWW, VICTIM)]),
    ("captive-portal", &[(&["MITM-031"], 21, PORTAL, VICTIM)]),
    (
        "key-shared",
        &[
            (&["KEY-001"], HIGH, THREE, &["10.1.0.11", "10.2.0.21"]),
            (&["KEY-002"], MEDIUM, &["shop.example.co.uk"], &["10.1.0.11", "10.2.0.21"]),
        ],
    ),
    ("key-ephemeral-reused", &[(&["KEY-003"], MEDIUM, WWW, &["10.1.0.11", "10.1.0.13", "10.2.0.21", "10.2.0.22"])]),
    (
        "key-weak",
        &[
            (&["KEY-007"], CRITICAL, &["shared-factor-1.example.com"], &["10.1.0.11"]),
            (&["KEY-007"], CRITICAL, &["shared-factor-2.example.com"], &["10.1.0.11"]),
            (&["CRYP-009"], CRITICAL, &["close-primes.example.com"], &["10.1.0.11", "10.2.0.21"]),
            (&["CRYP-003"], 21, &["exponent-3.example.com"], &["10.1.0.11", "10.2.0.21"]),
        ],
    ),
    ("client-cert-stolen", &[(&["CERT-030", "CERT-031", "CERT-032"], HIGH, API, VICTIM)]),
    ("rsa-fault", &[(&["CRYP-005", "CRYP-006"], CRITICAL, WWW, &["10.2.0.21"])]),
    ("damaged-signature", &[(&["CRYP-005"], HIGH, WWW, &["10.2.0.21"])]),
    (
        "cert-faults",
        &[
            (&["CERT-001"], 21, &["expired.example.com"], BOTH),
            (&["CERT-003"], 21, &["future.example.com"], BOTH),
            (&["CERT-004"], 21, &["wronghost.example.com"], BOTH),
            (&["CERT-008"], 21, &["sha1.example.com"], BOTH),
            (&["CERT-008"], 21, &["md5.example.com"], BOTH),
            (&["CERT-010"], 21, &["is-ca.example.com"], BOTH),
            (&["CERT-010"], 21, &["client-only.example.com"], BOTH),
            (&["CERT-007", "MITM-005"], CRITICAL, &["broken.example.com"], BOTH),
            (&["CRYP-003"], 21, &["rsa1024.example.com"], BOTH),
        ],
    ),
];
/// Alerts of cert-listed under pcaps/lists/policy.toml.
const LISTED: &[Expected] = &[
    (&["KEY-006"], CRITICAL, &["leaked.example.com"], BOTH),
    (&["KEY-006"], CRITICAL, &["badkey.example.com"], BOTH),
    (&["CERT-014"], CRITICAL, &["blocked.example.com"], BOTH),
    (&["CERT-013"], CRITICAL, &["stolen.example.com"], BOTH),
    (&["CERT-013"], HIGH, &["withdrawn.example.com"], BOTH),
];
const BOTH: &[&str] = &["10.1.0.11", "10.2.0.21"];

/// Rules that mark the certificate of a host in cert-faults instead of raising an alert.
const MARKS: &[(&str, &str)] = &[
    ("self-signed.example.com", "CERT-006"),
    ("untrusted.example.com", "CERT-005"),
    ("too-long.example.com", "CERT-009"),
];

/// Trust in the roots of the captures' public sites and in no others.
fn judged(workers: usize, policy: &str) -> Options {
    let mut anchors = TrustAnchors::default();
    assert!(anchors.add_file(&std::fs::read("pcaps/ca/public-roots.pem").unwrap()) >= 2);
    judged_by(anchors, workers, policy)
}

fn judged_by(anchors: TrustAnchors, workers: usize, policy: &str) -> Options {
    let policy = Policy::parse(policy, &known_rules()).unwrap();
    // In the captures they stand for Mozilla's.
    let builtin = anchors.clone();
    let knowledge = Knowledge { policy, anchors: Arc::new(anchors), builtin, ..Knowledge::default() };
    let judging = Judging {
        knowledge: Arc::new(knowledge),
        when: When::AtEnd,
        show_suppressed: false,
        offline: true,
        proofs: true,
        backing: None,
        renewal: None,
        past: Vec::new(),
        why_not: None,
    };
    Options { workers, judging: Some(judging), ..Options::default() }
}

fn path(name: &str) -> PathBuf {
    Path::new("pcaps").join(format!("{name}.pcap"))
}

fn read(name: &str) -> Run {
    run_file(&path(name), &judged(1, "version = 1\n"), Detail::Full)
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// Rules, severity, hosts and clients of an alert, as the table has them.
fn told(alert: &Value) -> (Vec<String>, u64, Vec<String>, Vec<String>) {
    let about = &alert["tlswatch"]["alert"];
    let rules = texts(&about["rules"]).iter().map(|id| id.trim_start_matches("TLSW-").to_owned()).collect();
    let hosts = texts(&about["hosts"]["names"]);
    let hosts = hosts.iter().map(|host| host.strip_suffix(":443").unwrap_or(host).to_owned()).collect();
    (rules, alert["event"]["severity"].as_u64().unwrap(), hosts, texts(&about["clients"]["ip"]))
}

fn expected((rules, severity, hosts, clients): &Expected) -> (Vec<String>, u64, Vec<String>, Vec<String>) {
    let sorted = |texts: &[&str]| {
        let mut texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        texts.sort();
        texts
    };
    (sorted(rules), *severity, sorted(hosts), sorted(clients))
}

/// Two CAs that nobody vouches for sign for one name in the same second, for RSA and for ECDSA.
#[test]
fn a_pair_of_certificates_that_nobody_trusts_is_at_most_medium() {
    for name in ["benign-rsa-and-ecdsa", "benign-rsa-and-ecdsa-lossy"] {
        let options = judged_by(TrustAnchors::default(), 1, "version = 1\n");
        let alerts: Vec<_> = run_file(&path(name), &options, Detail::Full).events("alert").iter().map(told).collect();
        assert_eq!(alerts.len(), 1, "{name}: {alerts:?}");
        assert_eq!(
            (&alerts[0].0, alerts[0].1),
            (&vec!["MITM-002".to_owned(), "MITM-004".to_owned()], MEDIUM),
            "{name}"
        );
    }
}

#[test]
fn every_attack_is_told_as_promised_and_nothing_beside_it() {
    let mut wrong = Vec::new();
    for (name, alerts) in ATTACKS {
        let run = read(name);
        let seen: Vec<String> =
            run.events("certificate").iter().map(|event| event["file"]["hash"].to_string()).collect();
        for alert in run.events("alert") {
            let about = &alert["tlswatch"]["alert"];
            for value in
                [&alert["source"]["ip"], &alert["destination"]["ip"], &about["display_filter"], &about["frames"][0]]
            {
                assert!(!value.is_null(), "{name}: {alert}");
            }
            let evidence = &about["evidence"];
            assert!(evidence["proofs"].is_array() || evidence["for"].is_array(), "{name}: {alert}");
            assert!(
                evidence["next_steps"].is_array() && texts(&evidence["next_steps"]).iter().all(|step| step.len() > 20)
            );
            assert!(alert["message"].as_str().unwrap().ends_with('.'), "{name}: {}", alert["message"]);
            // Who is named as source had the first frame, and the leaf is there wherever one was seen.
            let source = alert["source"]["ip"].as_str().unwrap();
            assert!(
                about["display_filter"].as_str().unwrap().contains(&format!("ip.addr == {source} ")),
                "{name}: {alert}"
            );
            let [client, server] = ["client", "server"].map(|side| alert["tls"][side]["certificate"].as_str());
            let pem = client.or(server).is_some_and(|pem| pem.starts_with("-----BEGIN CERTIFICATE-----"));
            assert!(pem || seen.is_empty(), "{name}: {alert}");
        }
        let mut found: Vec<_> = run.events("alert").iter().map(told).collect();
        let mut wanted: Vec<_> = alerts.iter().map(expected).collect();
        found.sort();
        wanted.sort();
        if found != wanted {
            wrong.push(format!("{name}\n found  {found:?}\n wanted {wanted:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn faults_of_hosts_that_are_not_ours_are_marks() {
    let run = read("cert-faults");
    for (host, rule) in MARKS {
        let named = |event: &&Value| texts(&event["file"]["x509"]["alternative_names"]).iter().any(|name| name == host);
        let events = run.events("certificate");
        let event = events.iter().find(named).unwrap_or_else(|| panic!("no certificate of {host}"));
        let marks = texts(&event["tlswatch"]["certificate"]["marks"]);
        assert!(marks.contains(&format!("TLSW-{rule}")), "{host}: {marks:?}");
    }
}

#[test]
fn each_certificate_is_new_once() {
    let new = |policy: &str| {
        let run = run_file(&path("benign-renewal-new-key"), &judged(1, policy), Detail::Full);
        let mark =
            |event: &Value| texts(&event["tlswatch"]["certificate"]["marks"]).contains(&"TLSW-CERT-017".to_owned());
        let events = run.events("certificate");
        (events.len(), events.iter().filter(|event| mark(event)).count())
    };
    let (events, marked) = new("version = 1\n");
    assert!(events >= 3 && events == marked, "{marked} of {events}");
    assert_eq!(new("version = 1\n[rules.\"TLSW-CERT-017\"]\nenabled = false\n"), (events, 0));
}

#[test]
fn a_renewal_is_a_mark() {
    let rotated = |name: &str| {
        let events = read(name).events("certificate");
        let changed = |event: &&Value| {
            let about = &event["tlswatch"]["certificate"];
            texts(&about["marks"]).contains(&"TLSW-CERT-018".to_owned()) && about["change"]["kind"].is_string()
        };
        events.iter().filter(changed).count()
    };
    assert_eq!((rotated("benign-renewal-new-key"), rotated("tls12-ecdhe-rsa2048")), (1, 0));
}

/// What pcaps/README.md says to expect of the captures that are not about single handshakes.
fn promised() -> BTreeMap<String, String> {
    let readme = std::fs::read_to_string("pcaps/README.md").unwrap();
    let (_, rows) = readme.split_once("\n## Attacks and misuse").unwrap();
    let rows = rows.lines().filter(|line| line.starts_with("| ") && line.contains(".pcap |"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        (cells[0].trim_end_matches(".pcap").to_owned(), cells[cells.len() - 2].to_owned())
    })
    .collect()
}

/// Ids of rules in a sentence: a number alone belongs to the category before it; those after "no" are not meant.
fn ids_in(text: &str) -> Vec<String> {
    let text = text.split("; neither").next().unwrap().split("; no KEY").next().unwrap();
    let mut category = "";
    let mut ids = Vec::new();
    for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-') {
        let (start, number) = word.split_once('-').unwrap_or((category, word));
        if number.len() == 3 && number.starts_with('0') && number.bytes().all(|byte| byte.is_ascii_digit()) {
            category = start;
            ids.push(format!("{start}-{number}"));
        }
    }
    ids
}

#[test]
fn the_list_of_captures_promises_what_is_tested() {
    let promised = promised();
    assert!(promised.len() > 50, "{promised:#?}");
    for (name, text) in &promised {
        let attack = ATTACKS.iter().chain([&("cert-listed", LISTED)]).find(|(attack, _)| attack == name);
        let quiet = text.starts_with("nothing of medium or higher") || text.starts_with("at most one medium");
        assert!(attack.is_some() != quiet, "{name}: {text}");
        let told = attack.iter().flat_map(|(_, alerts)| *alerts).flat_map(|(rules, ..)| *rules);
        let marked = MARKS.iter().filter(|_| name == "cert-faults").map(|(_, rule)| rule);
        let told: Vec<&str> = told.chain(marked).copied().collect();
        for rule in ids_in(text).iter().filter(|_| attack.is_some()) {
            assert!(told.contains(&rule.as_str()), "{name} promises {rule}");
        }
    }
    let files = std::fs::read_dir("pcaps").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    for file in files.filter(|file| ["mitm-", "key-", "cert-", "benign-"].iter().any(|start| file.starts_with(start))) {
        assert!(promised.contains_key(file.trim_end_matches(".pcap")), "{file}");
    }
}

/// The files that the policy names, read by the program itself.
#[test]
fn what_stands_in_lists_is_told() {
    let run = |policy: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tlswatch"));
        command.args(["read", "pcaps/cert-listed.pcap", "-o", "-", "--no-builtin-roots"]);
        let output = command.args(["--roots", "pcaps/ca/public-roots.pem"]).args(policy).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let events = String::from_utf8(output.stdout).unwrap();
        let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut alerts: Vec<_> =
            events.filter(|event| event["event"]["kind"] == "alert").map(|event| told(&event)).collect();
        alerts.sort();
        alerts
    };
    let mut wanted: Vec<_> = LISTED.iter().map(expected).collect();
    wanted.sort();
    assert_eq!(run(&["--policy", "pcaps/lists/policy.toml"]), wanted);
    assert_eq!(run(&[]), [], "nothing but the lists speaks against them");
}

#[test]
fn change_without_an_attack_is_quiet() {
    for (name, text) in promised() {
        if ATTACKS.iter().any(|(attack, _)| *attack == name) || name == "cert-listed" {
            continue;
        }
        let alerts = read(&name).events("alert");
        let grave: Vec<_> = alerts.iter().map(told).filter(|(_, severity, ..)| *severity >= MEDIUM).collect();
        if text.starts_with("nothing") {
            assert!(grave.is_empty(), "{name}: {grave:#?}");
            continue;
        }
        assert!(grave.len() <= 1, "{name}: {grave:#?}");
        for (rules, severity, hosts, _) in grave {
            assert_eq!((severity, hosts.len()), (MEDIUM, 1), "{name}: {rules:?}");
            assert!(rules.contains(&"MITM-002".to_owned()), "{name}: {rules:?}");
        }
    }
}

/// A policy that knows the private roots: what they sign is no alert at all.
fn known_private_roots() -> String {
    let roots = std::fs::read("pcaps/ca/private-roots.pem").unwrap();
    let roots: Vec<String> = tlswatch::x509::roots::pem(&roots)
        .iter()
        .map(|der| tlswatch::x509::Certificate::parse(der).facts.unwrap().spki_sha256.to_string())
        .map(|key| format!("\"{key}\""))
        .collect();
    assert!(roots.len() >= 2);
    format!("version = 1\n[[internal_ca]]\nname = \"ours\"\nspki = [{}]\n", roots.join(", "))
}

#[test]
fn private_roots_that_the_policy_knows_raise_nothing() {
    let policy = known_private_roots();
    for name in [
        "benign-private-pki",
        "benign-private-pki-lossy",
        "benign-private-pki-server-side-only",
        "benign-private-ca-change",
    ] {
        let run = run_file(&path(name), &judged(1, &policy), Detail::Full);
        let alerts: Vec<_> = run.events("alert").iter().map(told).collect();
        assert!(alerts.is_empty(), "{name}: {alerts:#?}");
        let without = read(name).events("alert");
        assert!(!without.is_empty(), "{name}: the policy changes nothing");
    }
}

#[test]
fn alerts_are_the_same_for_any_workers() {
    for (name, _) in ATTACKS {
        let lines = |options: &Options| {
            let run = run_file(&path(name), options, Detail::Full);
            let alerts = run.lines().filter(|line| line.contains("\"tlswatch.alert\"")).map(str::to_owned);
            alerts.collect::<Vec<String>>()
        };
        let one = lines(&judged(1, "version = 1\n"));
        assert!(!one.is_empty(), "{name}");
        for (workers, batch) in [(1, 1), (2, 7), (5, 256), (5, 1)] {
            let options = Options { batch, ..judged(workers, "version = 1\n") };
            assert_eq!(one, lines(&options), "{name}: {workers} workers, batches of {batch}");
        }
    }
}

#[test]
fn alerts_as_they_happen_end_where_those_at_the_end_do() {
    for (name, _) in ATTACKS {
        let mut options = judged(2, "version = 1\n");
        let at_end = run_file(&path(name), &options, Detail::Full).events("alert");
        options.judging.as_mut().unwrap().when = When::AtOnce;
        let at_once = run_file(&path(name), &options, Detail::Full).events("alert");
        let id = |alert: &Value| alert["tlswatch"]["alert"]["id"].as_str().unwrap().to_owned();
        let mut last: BTreeMap<String, &Value> = BTreeMap::new();
        for alert in &at_once {
            let status = alert["tlswatch"]["alert"]["status"].as_str().unwrap();
            assert_eq!(status == "new", last.insert(id(alert), alert).is_none(), "{name}: {alert:#}");
        }
        for alert in &at_end {
            let last = last.get(&id(alert)).unwrap_or_else(|| panic!("{name}: never told: {alert:#}"));
            assert_eq!(told(last).1, told(alert).1, "{name}");
            assert_eq!(last["tlswatch"]["alert"]["count"], alert["tlswatch"]["alert"]["count"], "{name}");
        }
    }
}
