//! Lists that are loaded later are applied to what was stored before.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of these tests fail like the tests")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// What the lists of pcaps/lists/policy.toml say of the hosts of cert-listed.pcap.
const LISTED: [(&str, u64, &str, &str); 5] = [
    ("TLSW-CERT-013", 73, "withdrawn.example.com:443", "cessationOfOperation"),
    ("TLSW-CERT-013", 99, "stolen.example.com:443", "keyCompromise"),
    ("TLSW-CERT-014", 99, "blocked.example.com:443", "Example C&C"),
    ("TLSW-KEY-006", 99, "badkey.example.com:443", "badkeys.dat"),
    ("TLSW-KEY-006", 99, "leaked.example.com:443", "found in a firmware image"),
];

fn pcaps(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps").join(name).to_str().unwrap().to_owned()
}

fn tlswatch(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tlswatch"));
    command.args(arguments).env_remove("TLSWATCH_INVENTORY").stdin(Stdio::null()).output().unwrap()
}

/// Alerts of a run that reads `capture` into the inventory.
fn read(capture: &str, inventory: &Path, arguments: &[&str]) -> Vec<Value> {
    let capture = pcaps(capture);
    let roots = pcaps("ca/public-roots.pem");
    let fixed = ["read", &capture, "-q", "-o", "-", "--no-builtin-roots", "--roots", &roots, "--inventory"];
    let output = tlswatch(&[&fixed[..], &[inventory.to_str().unwrap()], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let events = String::from_utf8(output.stdout).unwrap();
    let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.filter(|event| event["event"]["kind"] == "alert").collect()
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let inventory = folder.path().join("inventory");
    (folder, inventory)
}

/// Rule, severity and host, and what the evidence says, in order.
fn told(alerts: &[Value]) -> Vec<(String, u64, String, String)> {
    let mut told: Vec<_> = alerts
        .iter()
        .map(|alert| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let evidence = &alert["tlswatch"]["alert"]["evidence"];
            (
                text(&alert["rule"]["id"]),
                alert["event"]["severity"].as_u64().unwrap(),
                text(&alert["tlswatch"]["alert"]["hosts"]["names"][0]),
                evidence.to_string(),
            )
        })
        .collect();
    told.sort();
    told
}

#[test]
fn a_list_loaded_later_says_where_a_key_was_used() {
    let (_folder, inventory) = folder();
    let policy = pcaps("lists/policy.toml");
    assert!(read("cert-listed.pcap", &inventory, &[]).is_empty(), "nobody knew");
    for stream in [&[][..], &["--stream"]] {
        let copy = inventory.with_extension(stream.len().to_string());
        std::fs::copy(&inventory, &copy).unwrap();
        let arguments = [&["--policy", &policy][..], stream].concat();
        let alerts = read("ipv6.pcap", &copy, &arguments);
        let told = told(&alerts);
        assert_eq!(told.len(), LISTED.len(), "{told:#?}");
        for ((rule, severity, host, evidence), wanted) in told.iter().zip(LISTED) {
            assert_eq!((rule.as_str(), *severity, host.as_str()), (wanted.0, wanted.1, wanted.2));
            assert!(evidence.contains(wanted.3), "{evidence}");
            let name = host.trim_end_matches(":443");
            // Where, how often, and when.
            assert!(evidence.contains(&format!("{name}:443 at 203.0.113.9")), "{evidence}");
            assert!(evidence.contains(":443, 2 times, 2026-11-"), "{evidence}");
        }
        assert!(alerts.iter().all(|alert| alert["tlswatch"]["alert"]["count"] == 2), "handshakes, not places");
        // Told is told, by the same lists and by new ones that name the same.
        assert!(read("ipv6.pcap", &copy, &arguments).is_empty());
        let (lists, other) = (pcaps("lists"), copy.with_extension("toml"));
        let text = std::fs::read_to_string(&policy).unwrap();
        let text = ["public-a.crl", "sslbl.csv", "keys.txt", "badkeys.dat"]
            .iter()
            .fold(text, |text, name| text.replace(name, &format!("{lists}/{name}")));
        std::fs::write(&other, text).unwrap();
        assert!(read("ipv6.pcap", &copy, &["--policy", other.to_str().unwrap()]).is_empty());
    }
    // A run about other hosts has nothing to say of these.
    let copy = inventory.with_extension("some");
    std::fs::copy(&inventory, &copy).unwrap();
    assert!(read("ipv6.pcap", &copy, &["--policy", &policy, "--sni", "www.example.com"]).is_empty());
    assert_eq!(read("ipv6.pcap", &copy, &["--policy", &policy]).len(), LISTED.len());
}

#[test]
fn what_was_told_on_the_wire_is_not_told_from_the_inventory() {
    let (_folder, inventory) = folder();
    let policy = pcaps("lists/policy.toml");
    assert_eq!(read("cert-listed.pcap", &inventory, &["--policy", &policy]).len(), LISTED.len());
    assert!(read("ipv6.pcap", &inventory, &["--policy", &policy]).is_empty());
    // As after a crash: nobody noted which lists were applied.
    let connection = rusqlite::Connection::open(&inventory).unwrap();
    assert_eq!(connection.execute("DELETE FROM meta WHERE key = 'lists'", []).unwrap(), 1);
    drop(connection);
    assert!(read("ipv6.pcap", &inventory, &["--policy", &policy]).is_empty());
}

#[test]
fn an_alert_of_another_rule_about_the_same_key_hides_nothing() {
    let (folder, inventory) = folder();
    // A device with a certificate of its own: CERT-006 has its key for a cause, as KEY-006 has.
    let alerts = read("benign-self-signed-device.pcap", &inventory, &[]);
    let device = alerts.iter().find(|alert| alert["rule"]["id"] == "TLSW-CERT-006").unwrap();
    let connection = rusqlite::Connection::open(&inventory).unwrap();
    let digest = device["tls"]["server"]["hash"]["sha256"].as_str().unwrap();
    let sql = "SELECT lower(hex(spki_sha256)), (SELECT sum(count) FROM sighting WHERE certificate = certificate.id)
        FROM certificate JOIN key ON key.id = certificate.key WHERE hex(sha256) = ?";
    let (key, count): (String, u64) = connection
        .query_row(sql, [digest.to_uppercase()], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.try_into().unwrap())))
        .unwrap();
    drop(connection);
    let policy = folder.path().join("policy.toml");
    std::fs::write(&policy, format!("version = 1\n[[compromised]]\nkeys = [\"{key}\"]\nreason = \"stolen\"\n"))
        .unwrap();
    let policy = policy.to_str().unwrap();
    let told = read("ipv6.pcap", &inventory, &["--policy", policy]);
    assert_eq!(told.len(), 1, "{told:#?}");
    let alert = &told[0]["tlswatch"]["alert"];
    assert_eq!((&told[0]["rule"]["id"], &alert["count"]), (&"TLSW-KEY-006".into(), &count.into()));
    assert_eq!((&alert["status"], &alert["id"]), (&"escalated".into(), &device["tlswatch"]["alert"]["id"]));
    assert!(read("ipv6.pcap", &inventory, &["--policy", policy]).is_empty());
}

#[test]
fn the_policy_has_its_say() {
    let (folder, inventory) = folder();
    read("cert-listed.pcap", &inventory, &[]);
    let policy = folder.path().join("policy.toml");
    let key = "cf902fdc4d017773d08cd39e6950b804582c3f3749a689901002541a78a8b596";
    let compromised = format!("version = 1\n[[compromised]]\nkeys = [\"{key}\"]\nreason = \"stolen\"\n");
    for (more, severities) in [
        ("", &[99][..]),
        ("[rules.known-compromised-key]\nenabled = false\n", &[]),
        ("[[severity]]\nrule = \"TLSW-KEY-006\"\nhost = \"leaked.example.com\"\nset = 21\n", &[21]),
        ("[[suppress]]\nrule = \"*\"\nhost = \"leaked.example.com\"\npermanent = true\nreason = \"lab\"\n", &[]),
        ("[[suppress]]\nrule = \"*\"\nhost = \"other.example.com\"\npermanent = true\nreason = \"lab\"\n", &[99]),
    ] {
        std::fs::write(&policy, format!("{compromised}{more}")).unwrap();
        let copy = inventory.with_extension("copy");
        std::fs::copy(&inventory, &copy).unwrap();
        let alerts = read("ipv6.pcap", &copy, &["--policy", policy.to_str().unwrap()]);
        let told: Vec<_> = alerts.iter().map(|alert| alert["event"]["severity"].as_u64().unwrap()).collect();
        assert_eq!(told, severities, "{more}");
    }
}

#[test]
fn lists_are_a_question_that_needs_no_capture() {
    let (folder, inventory) = folder();
    read("cert-listed.pcap", &inventory, &[]);
    read("client-cert-stolen.pcap", &inventory, &[]);
    let inventory = inventory.to_str().unwrap();
    let ask = |arguments: &[&str]| {
        let output = tlswatch(&[&["inventory", "-i", inventory, "audit-lists", "--format", "csv"], arguments].concat());
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, rows, _) = ask(&["--policy", &pcaps("lists/policy.toml")]);
    assert_eq!((code, rows.lines().count()), (Some(0), 1 + LISTED.len()), "{rows}");
    for (rule, _, host, source) in LISTED {
        let host = host.trim_end_matches(":443");
        let row = rows.lines().find(|row| row.starts_with(rule) && row.contains(&format!(",{host},203.0.113.9")));
        assert!(row.is_some_and(|row| row.contains(source) && row.contains(",server,")), "{host}: {rows}");
    }
    let certificate: String = rusqlite::Connection::open(inventory)
        .unwrap()
        .query_row("SELECT sha256 FROM place WHERE side = 'client' AND role = 'leaf' LIMIT 1", [], |row| row.get(0))
        .unwrap();
    let indicators = folder.path().join("indicators");
    std::fs::write(&indicators, format!("certificate {certificate} ours\n")).unwrap();
    let (_, rows, _) = ask(&["--indicators", indicators.to_str().unwrap()]);
    let row = rows.lines().nth(1).unwrap();
    assert!(row.starts_with("TLSW-CERT-040,") && row.contains(",client,api.example.com,203.0.113.20,443,"), "{row}");
    assert_eq!(ask(&[]).0, Some(2), "no lists");
    assert_eq!(ask(&["--policy", &pcaps("lists/policy.toml"), "--host", "x"]).0, Some(2), "no filter");
    std::fs::write(&indicators, "name nowhere.example.com\n").unwrap();
    let (code, rows, words) = ask(&["--indicators", indicators.to_str().unwrap()]);
    assert_eq!((code, rows.lines().count(), words.contains("no list names anything")), (Some(0), 1, true));
}

#[test]
fn only_what_a_crl_says_is_called_revoked() {
    let (folder, inventory) = folder();
    read("client-cert-stolen.pcap", &inventory, &[]);
    read("cert-listed.pcap", &inventory, &[]);
    let connection = rusqlite::Connection::open(&inventory).unwrap();
    let sql = "SELECT sha256 FROM place WHERE side = ? AND role = 'leaf' AND host LIKE ? LIMIT 1";
    let of = |side: &str, host: &str| -> String { connection.query_row(sql, [side, host], |row| row.get(0)).unwrap() };
    let (client, server) = (of("client", "%"), of("server", "blocked.%"));
    drop(connection);
    let policy = folder.path().join("policy.toml");
    for (certificate, list) in [(&client, true), (&client, false), (&server, true), (&server, false)] {
        std::fs::write(folder.path().join("list"), format!("{certificate} bad\n")).unwrap();
        let text = if list {
            "version = 1\n[trust]\nblocklists = [{ path = \"list\", format = \"text\" }]\n".to_owned()
        } else {
            format!("version = 1\n[[compromised]]\ncertificates = [\"{certificate}\"]\nreason = \"bad\"\n")
        };
        std::fs::write(&policy, text).unwrap();
        let copy = inventory.with_extension("copy");
        std::fs::copy(&inventory, &copy).unwrap();
        let alerts = read("ipv6.pcap", &copy, &["--policy", policy.to_str().unwrap()]);
        let message = alerts[0]["message"].as_str().unwrap();
        let words = if list { "which now stands in a block list" } else { "which the policy now names as compromised" };
        let deed = if alerts[0]["rule"]["id"] == "TLSW-CERT-033" { "was shown a client" } else { "used a" };
        assert!(message.contains(&format!("{deed} certificate {words}, last on ")), "{message}");
        assert!(!message.contains("revoked"), "{message}");
    }
}

/// A capture without packets.
fn empty(folder: &tempfile::TempDir) -> String {
    let path = folder.path().join("empty.pcap");
    let header = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1];
    std::fs::write(&path, header.map(u32::to_le_bytes).concat()).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Alerts about a capture that is stored when the indicators come, and what audit-lists says.
fn indicated(capture: &str, indicators: &str) -> (Vec<Value>, Vec<String>) {
    let (folder, inventory) = folder();
    read(capture, &inventory, &[]);
    let list = folder.path().join("indicators");
    std::fs::write(&list, indicators).unwrap();
    let (list, empty) = (list.to_str().unwrap(), empty(&folder));
    let ask = ["inventory", "-i", inventory.to_str().unwrap(), "audit-lists", "--format", "csv", "--indicators", list];
    let output = tlswatch(&ask);
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let alerts = read(&empty, &inventory, &["--indicators", list]);
    let again = read(&empty, &inventory, &["--indicators", list]);
    assert!(again.is_empty(), "told is told: {again:#?}");
    (alerts, text.lines().skip(1).map(str::to_owned).collect())
}

#[test]
fn names_and_addresses_are_looked_up_in_what_is_stored() {
    let of = |alerts: &[Value]| -> Vec<String> {
        let each = alerts.iter().map(|alert| {
            assert_eq!((&alert["rule"]["id"], &alert["event"]["severity"]), (&"TLSW-CERT-040".into(), &47.into()));
            alert["message"].as_str().unwrap().to_owned()
        });
        each.collect()
    };
    let (alerts, rows) = indicated("cert-listed.pcap", "name sound.example.com C2\nname *.example.org\n");
    let was = "2 times, 2026-11-21T00:36:03Z to 2026-11-21T00:37:03Z, about 2 clients";
    let place = format!("sound.example.com:443 at 203.0.113.95, {was}");
    let told = "is now an indicator (indicators line 1, C2) and was seen:";
    assert_eq!(of(&alerts), [format!("The name 'sound.example.com' {told} {place}.")]);
    assert_eq!(alerts[0]["tlswatch"]["alert"]["count"], 2);
    assert!(alerts[0]["tlswatch"]["alert"]["evidence"].to_string().contains(&place));
    assert_eq!(rows.len(), 1, "{rows:#?}");
    assert!(rows[0].starts_with(
        "TLSW-CERT-040,\"indicators line 1, C2\",sound.example.com,,server,sound.example.com,203.0.113.95,443,"
    ));
    // One alert for each indicator, with all places.
    let (alerts, rows) = indicated("cert-listed.pcap", "name *.example.com\nname sound.example.com\n");
    assert_eq!((of(&alerts).len(), rows.len()), (1, 6));
    assert!(of(&alerts)[0].ends_with(", and at 5 more places."), "{alerts:#?}");
    assert_eq!(alerts[0]["tlswatch"]["alert"]["count"], 12);
    // By address of the server; and of the client, where it showed a certificate.
    let (alerts, rows) = indicated("cert-listed.pcap", "address 203.0.113.94/31\n");
    assert_eq!((of(&alerts).len(), rows.len()), (1, 2));
    assert!(of(&alerts)[0].contains(&place) && of(&alerts)[0].ends_with(", and at one more place."), "{alerts:#?}");
    let (alerts, rows) = indicated("client-cert-stolen.pcap", "address 10.2.0.22\n");
    assert_eq!((of(&alerts).len(), rows.len()), (1, 2));
    let client = "client 10.2.0.22 with the certificate of 'CN=backup-7.example.com,O=Example Corp'";
    assert!(alerts[0]["tlswatch"]["alert"]["evidence"].to_string().contains(client), "{alerts:#?}");
    let row = ",10.2.0.22,\"CN=backup-7.example.com,O=Example Corp\",client,,10.2.0.22,,2026-";
    assert!(rows.iter().any(|one| one.contains(row)), "{rows:#?}");
    // And with which host it spoke: the same handshakes.
    let row = ",10.2.0.22,,client,api.example.com,10.2.0.22,443,2026-";
    assert!(rows.iter().any(|one| one.contains(row)), "{rows:#?}");
    let counts: Vec<u64> = rows.iter().map(|row| row.split(',').rev().nth(3).unwrap().parse().unwrap()).collect();
    assert_eq!((&alerts[0]["tlswatch"]["alert"]["count"], counts[0]), (&counts[1].into(), counts[1]), "{rows:#?}");
}

#[test]
fn a_client_without_a_certificate_is_found_by_its_address() {
    let [_, _, client, host] = hello("tls13-p256.pcap");
    let (alerts, rows) = indicated("tls13-p256.pcap", &format!("address {client} C2\n"));
    assert_eq!((alerts.len(), rows.len()), (1, 1), "{rows:#?}");
    assert_eq!(alerts[0]["event"]["severity"], 47);
    let message = alerts[0]["message"].as_str().unwrap();
    let place = format!("(indicators line 1, C2) and was seen: client {client} with {host}:443, once, 2026-11-");
    assert!(message.contains(&place), "{message}");
    let row = format!("TLSW-CERT-040,\"indicators line 1, C2\",{client},,client,{host},{client},443,2026-11-");
    assert!(rows[0].starts_with(&row), "{rows:#?}");
    // What the wire told is told.
    let (folder, inventory) = folder();
    let list = folder.path().join("indicators");
    std::fs::write(&list, format!("address {client}\n")).unwrap();
    let arguments = ["--indicators", list.to_str().unwrap()];
    assert_eq!(read("tls13-p256.pcap", &inventory, &arguments).len(), 1);
    std::fs::write(&list, format!("address {client} again\n")).unwrap();
    assert!(read(&empty(&folder), &inventory, &arguments).is_empty());
    // Neighbours are not.
    let (alerts, rows) = indicated("tls13-p256.pcap", &format!("address {client}0\n"));
    assert!(alerts.is_empty() && rows[0].contains("no list names anything"), "{rows:#?}");
}

#[test]
fn without_a_certificate_a_name_is_known_and_an_address_without_time() {
    let (alerts, rows) = indicated("tls13-p256.pcap", "name www.example.org\n");
    assert_eq!((alerts.len(), rows.len()), (1, 1));
    assert!(alerts[0]["message"].as_str().unwrap().contains("was seen: www.example.org:443, once, 2026-11-"));
    let (alerts, rows) = indicated("tls13-p256.pcap", "address 203.0.113.10\n");
    assert!(alerts.is_empty(), "nobody knows when: {alerts:#?}");
    assert!(rows[0].ends_with(",server,ip:203.0.113.10,203.0.113.10,443,,,,,,"), "{rows:#?}");
    // Where the client asked for no name, the host is the address.
    let (alerts, rows) = indicated("tls13-no-sni.pcap", "address 203.0.113.10\n");
    assert_eq!((alerts.len(), rows.len()), (1, 1));
}

#[test]
fn names_in_certificates_count_where_the_client_named_none() {
    let (alerts, rows) = indicated("tls12-no-sni.pcap", "name www.example.org\n");
    assert_eq!((alerts.len(), rows.len()), (1, 1), "{alerts:#?}");
    let message = alerts[0]["message"].as_str().unwrap();
    let place =
        "ip:203.0.113.10:443 by the certificate of 'CN=www.example.org', which has the name 'www.example.org', once";
    assert!(message.contains(place), "{message}");
    // example.org is a name of the certificate that another name was asked for with.
    let (alerts, rows) = indicated("tls12-ecdhe-p256.pcap", "name example.org\n");
    assert_eq!((alerts.len(), rows.len()), (0, 1), "{alerts:#?} {rows:#?}");
    // On the wire the same.
    let (folder, _) = folder();
    let list = folder.path().join("indicators");
    std::fs::write(&list, "name example.org\nname www.example.org\n").unwrap();
    for (capture, fires) in [("tls12-no-sni.pcap", 1), ("tls12-ecdhe-p256.pcap", 1), ("tls13-no-sni.pcap", 0)] {
        let (other, inventory) = self::folder();
        let arguments = ["--indicators", list.to_str().unwrap()];
        let alerts = read(capture, &inventory, &arguments);
        let alerts = alerts.iter().filter(|alert| alert["rule"]["id"] == "TLSW-CERT-040").count();
        assert_eq!(alerts, fires, "{capture}");
        assert!(read(&empty(&other), &inventory, &arguments).is_empty(), "told on the wire");
    }
}

/// Fingerprints of the first hello of a capture, and by which client it was sent to which host.
fn hello(capture: &str) -> [String; 4] {
    let output = tlswatch(&["read", &pcaps(capture), "-q", "-o", "-"]);
    let events = String::from_utf8(output.stdout).unwrap();
    let mut events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let event = events.find(|event| event["event"]["action"] == "tls-handshake").unwrap();
    let client = &event["tls"]["client"];
    [&client["ja3"], &client["ja4"], &event["source"]["ip"], &client["server_name"]]
        .map(|value| value.as_str().unwrap().to_owned())
}

#[test]
fn fingerprints_are_looked_up_in_what_is_stored() {
    let [ja3, ja4, client, host] = hello("tls13-p256.pcap");
    for (kind, value) in [("ja3", &ja3), ("ja4", &ja4), ("JA4", &ja4.to_uppercase())] {
        let (alerts, rows) = indicated("tls13-p256.pcap", &format!("{kind} {value} C2\n"));
        assert_eq!((alerts.len(), rows.len()), (1, 1), "{rows:#?}");
        let alert = &alerts[0];
        assert_eq!((&alert["rule"]["id"], &alert["event"]["severity"]), (&"TLSW-CERT-040".into(), &21.into()));
        let (kind, value) = (kind.to_lowercase(), value.to_lowercase());
        let place = format!("client {client} with {host}:443, once, 2026-11-");
        let told = format!("The {kind} '{value}' is now an indicator (indicators line 1, C2) and was seen: {place}");
        let message = alert["message"].as_str().unwrap();
        assert!(message.starts_with(&told), "{message}");
        let alert = &alert["tlswatch"]["alert"];
        assert_eq!((&alert["count"], &alert["hosts"]["names"][0]), (&1.into(), &format!("{host}:443").into()));
        assert!(alert["evidence"].to_string().contains(&place), "{alert:#}");
        assert!(alert.to_string().contains(&format!("\"{client}\"")), "{alert:#}");
        let row = format!("TLSW-CERT-040,\"indicators line 1, C2\",{value},,client,{host},{client},443,2026-11-");
        assert!(rows[0].starts_with(&row), "{rows:#?}");
    }
    // What is nearly the same is another; a JA3 is no JA4.
    let other = |text: &str| text.replace(text.chars().last().unwrap(), if text.ends_with('0') { "1" } else { "0" });
    let near = format!("ja3 {}\nja4 {}\nname {ja3}\n", other(&ja3), other(&ja4));
    let (alerts, rows) = indicated("tls13-p256.pcap", &near);
    assert_eq!((alerts.len(), rows.len()), (0, 1), "{rows:#?}");
    assert!(rows[0].contains("no list names anything"), "{rows:#?}");
    // Both of one hello are one alert, as on the wire, and two rows.
    let both = format!("ja4 {ja4}\nja3 {ja3}\n");
    let (alerts, rows) = indicated("tls13-p256.pcap", &both);
    assert_eq!((alerts.len(), rows.len()), (1, 2), "{rows:#?}");
    assert!(alerts[0]["message"].as_str().unwrap().starts_with("The ja3 "), "{alerts:#?}");
    let (folder, inventory) = folder();
    let list = folder.path().join("indicators");
    std::fs::write(&list, both).unwrap();
    let arguments = ["--indicators", list.to_str().unwrap()];
    assert_eq!(read("tls13-p256.pcap", &inventory, &arguments).len(), 1);
    std::fs::write(&list, format!("ja3 {ja3}\nja4 {ja4}\n")).unwrap();
    assert!(read(&empty(&folder), &inventory, &arguments).is_empty(), "told on the wire");
}

#[test]
fn only_new_uses_of_a_fingerprint_are_told_again() {
    let [_, ja4, ..] = hello("tls13-p256.pcap");
    let (folder, inventory) = folder();
    let list = folder.path().join("indicators");
    std::fs::write(&list, format!("ja4 {ja4}\n")).unwrap();
    let arguments = ["--indicators", list.to_str().unwrap()];
    assert!(read("tls13-p256.pcap", &inventory, &[]).is_empty());
    // What is read and what another inventory has are two things.
    let other = inventory.with_extension("other");
    let base = [&arguments[..], &["--baseline", inventory.to_str().unwrap()]].concat();
    assert!(read(&empty(&folder), &other, &base).is_empty());
    let silent = folder.path().join("policy.toml");
    let text = "version = 1\n[[suppress]]\nrule = \"TLSW-CERT-040\"\nhost = \"www.example.org\"\npermanent = true\nreason = \"lab\"\n";
    std::fs::write(&silent, text).unwrap();
    let copy = inventory.with_extension("copy");
    std::fs::copy(&inventory, &copy).unwrap();
    let policy = [&arguments[..], &["--policy", silent.to_str().unwrap()]].concat();
    assert!(read(&empty(&folder), &copy, &policy).is_empty());
    assert_eq!(read(&empty(&folder), &inventory, &arguments).len(), 1);
    // The same lists: only the wire tells.
    assert!(read("tls12-ecdhe-p256.pcap", &inventory, &[]).is_empty());
    assert!(read(&empty(&folder), &inventory, &arguments).is_empty());
}

#[test]
fn an_older_inventory_has_fingerprints_of_what_is_read_from_now_on() {
    let [ja3, ..] = hello("tls13-p256.pcap");
    let (folder, inventory) = folder();
    read("tls13-p256.pcap", &inventory, &[]);
    let connection = rusqlite::Connection::open(&inventory).unwrap();
    let older = "DROP TABLE capture_frames; DROP TABLE alert_about; DROP TABLE fingerprint_use; DROP TABLE fingerprint;
        PRAGMA user_version = 3";
    connection.execute_batch(older).unwrap();
    let list = folder.path().join("indicators");
    std::fs::write(&list, format!("ja3 {ja3}\n")).unwrap();
    let ask = || {
        let path = inventory.to_str().unwrap();
        let output = tlswatch(&["inventory", "-i", path, "audit-lists", "--indicators", list.to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().matches("TLSW-CERT-040").count()
    };
    assert_eq!(ask(), 0);
    // A capture that was read adds nothing, unless that is wanted.
    read("tls13-p256.pcap", &inventory, &[]);
    assert_eq!(ask(), 0);
    read("tls13-p256.pcap", &inventory, &["--again"]);
    assert_eq!(ask(), 1);
    let count = "SELECT count || ' ' || (SELECT count FROM host) FROM fingerprint";
    let counted = || connection.query_row(count, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(counted(), "1 2");
    read("tls13-p256.pcap", &inventory, &[]);
    assert_eq!(counted(), "1 2");
}
