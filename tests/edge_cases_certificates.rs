//! What other systems got wrong about certificates and events; tests/edge_cases.rs has the table.
#![cfg(test)]
#![allow(clippy::cast_possible_truncation, reason = "numbers of tests are small")]

mod support;

use std::fs;

use serde_json::Value;
use tlswatch::config::Limits;
use tlswatch::pipeline::Options;

use support::capture::to_pcapng;
use support::run_bytes;
use support::scene::*;
use support::session::*;
use support::tls::*;

fn with_dates(before: (i32, u8, u8), after: (i32, u8, u8)) -> Vec<u8> {
    let mut params = rcgen::CertificateParams::new(vec!["example.org".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(before.0, before.1, before.2);
    params.not_after = rcgen::date_time_ymd(after.0, after.1, after.2);
    self_signed(params)
}

#[test]
fn dates_of_every_kind() {
    for (before, after, shown) in [
        ((2024, 1, 1), (2024, 12, 31), ["2024-01-01T00:00:00.000Z", "2024-12-31T00:00:00.000Z"]),
        ((1950, 1, 1), (2049, 12, 31), ["1950-01-01T00:00:00.000Z", "2049-12-31T00:00:00.000Z"]),
        ((1960, 2, 29), (2050, 1, 1), ["1960-02-29T00:00:00.000Z", "2050-01-01T00:00:00.000Z"]),
        ((2030, 1, 1), (2020, 1, 1), ["2030-01-01T00:00:00.000Z", "2020-01-01T00:00:00.000Z"]),
        ((2000, 1, 1), (9999, 12, 31), ["2000-01-01T00:00:00.000Z", "9999-12-31T00:00:00.000Z"]),
    ] {
        let der = with_dates(before, after);
        let event = showing(&[&der]).one();
        let server = &event["tls"]["server"];
        assert_eq!([&server["not_before"], &server["not_after"]], shown, "{event:#}");
    }
}

#[test]
fn serial_numbers_of_every_kind() {
    let serial = |bytes: &[u8]| {
        let mut params = rcgen::CertificateParams::new(vec!["example.org".to_owned()]).unwrap();
        params.serial_number = Some(rcgen::SerialNumber::from_slice(bytes));
        let event = showing(&[&self_signed(params)]).one();
        event["tls"]["server"]["x509"]["serial_number"].as_str().unwrap().to_owned()
    };
    assert_eq!(serial(&[0x0b, 0xad]), "0BAD");
    assert_eq!(serial(&[0]), "00");
    assert_eq!(serial(&[0x7f; 40]), "7F".repeat(40));
    let negative = fs::read("tests/data/x509/v1-negative-serial.der").unwrap();
    let event = showing(&[&negative]).one();
    assert!(event["tls"]["server"]["x509"]["serial_number"].as_str().is_some_and(|serial| !serial.is_empty()));
}

#[test]
fn strings_of_every_kind() {
    let mut params = rcgen::CertificateParams::new(vec!["example.org".to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let evil = "safe\u{0}.evil\u{1b}[31m\u{7}\r\n\u{202e}";
    params.distinguished_name.push(rcgen::DnType::CommonName, evil);
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "Größe ✓");
    let run = showing(&[&self_signed(params)]).run();
    let text = String::from_utf8(run.output.clone()).unwrap();
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'));
    let event = &run.events("tls")[0];
    let subject = &event["tls"]["server"]["x509"]["subject"];
    let name = subject["common_name"][0].as_str().unwrap();
    assert!(name.starts_with("safe") && name.contains(".evil"), "{name:?}");
    assert!(!name.contains(|c: char| c.is_control()), "{name:?}");
    assert_eq!(subject["organization"][0], "Größe ✓");

    let bmp = fs::read("tests/data/x509/names-bmp.der").unwrap();
    let event = showing(&[&bmp]).one();
    assert!(event["tls"]["server"]["x509"]["subject"]["common_name"][0].is_string(), "{event:#}");
}

#[test]
fn what_is_empty_is_left_out() {
    let mut params = rcgen::CertificateParams::new(vec!["example.org".to_owned()]).unwrap();
    // RFC 5280 section 4.1.2.6 allows an empty subject; the issuer of a self-signed certificate is empty with it.
    params.distinguished_name = rcgen::DistinguishedName::new();
    let nameless = self_signed(params.clone());
    params.subject_alt_names = vec![rcgen::SanType::DnsName(String::new().try_into().unwrap())];
    params.distinguished_name.push(rcgen::DnType::CommonName, "");
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "Example");
    let unnamed = self_signed(params);
    let hello = ClientHello::default().with(16, &[0, 4, 0, 2, b'h', b'2']);
    let mut scene = Scene::new();
    scene.session(Connection::new(1), &hello, &[&nameless]);
    scene.session(Connection::new(2), &ClientHello::default().with(16, &[0, 1, 0]), &[&unnamed]);
    // Reading the events looks for what is empty in all of them.
    let run = scene.run();
    let (handshakes, certificates) = (run.events("tls"), run.events("certificate"));
    assert_eq!(handshakes[0]["tlswatch"]["client"]["alpn"], serde_json::json!(["h2"]));
    assert!(has(&handshakes[0], "malformed_extension"));
    assert!(handshakes[1]["tlswatch"]["client"].get("alpn").is_none());
    assert!(certificates[0]["file"]["x509"].get("subject").is_none());
    let subject = &certificates[1]["file"]["x509"]["subject"];
    assert_eq!(*subject, serde_json::json!({"distinguished_name": "O=Example,CN=", "organization": ["Example"]}));
    assert!(certificates[1]["file"]["x509"].get("alternative_names").is_none());
}

/// A client that does not like the certificate often just goes.
#[test]
fn a_handshake_that_is_broken_off_failed() {
    let flight = server_flight(&[&chain()]);
    let (hello, hello13) = (ClientHello::default().record(), ClientHello::tls13().record());
    let flight13 = [handshake(&[ServerHello::tls13().message()]), application_data(900)].concat();
    let finished = [client_finish(), application_data(50)].concat();
    for (parts, outcome) in [
        (vec![(Client, hello.clone()), (Server, flight.clone())], "failure"),
        (vec![(Client, hello.clone()), (Server, flight.clone()), (Client, client_finish())], "failure"),
        (vec![(Client, hello.clone()), (Server, flight.clone()), (Client, finished), (Server, finish())], "success"),
        (vec![(Client, hello13.clone()), (Server, flight13.clone())], "failure"),
        // An encrypted record may be the Finished or an alert.
        (vec![(Client, hello13), (Server, flight13), (Client, application_data(60))], "unknown"),
    ] {
        let event = talk(&parts).one();
        assert_eq!(event["event"]["outcome"], outcome, "{} parts: {event:#}", parts.len());
        // Nobody came to the end, but not by a fatal alert, which alone would say so for certain.
        assert_eq!(event["tls"].get("established").is_some(), outcome == "success");
    }
    // Without the end of the connection nothing is known.
    let mut scene = talk(&[(Client, hello), (Server, flight)]);
    scene.frames.truncate(scene.frames.len() - 3);
    assert_eq!(scene.one()["event"]["outcome"], "unknown");
}

#[test]
fn a_bad_certificate_hides_no_other() {
    let chain = chain();
    for bad in [&b"not DER at all"[..], &chain[..chain.len() / 2], &[0x30], &[]] {
        let run = showing(&[&chain, bad, &chain]).run();
        let event = &run.events("tls")[0];
        let hashes = texts(&event["tlswatch"]["server"]["chain"]);
        assert_eq!(hashes.first(), Some(&sha256(&chain).as_str()), "{event:#}");
        assert_eq!(hashes.last(), Some(&sha256(&chain).as_str()));
        if !bad.is_empty() {
            assert_eq!(hashes[1], sha256(bad));
            assert!(has(event, "unparsable_certificate"), "{event:#}");
        }
        assert_eq!(event["tls"]["server"]["x509"]["alternative_names"][0], "example.org");
        // In front as well: the leaf is reported by its hash.
        let event = showing(&[bad, &chain]).one();
        assert!(texts(&event["tlswatch"]["server"]["chain"]).contains(&sha256(&chain).as_str()), "{event:#}");
    }
}

#[test]
fn long_chains_are_told() {
    let chain = chain();
    let many = vec![chain.as_slice(); 60];
    let list = certificates(&many);
    assert!(list.len() > 16_384);
    let records: Vec<u8> = list.chunks(16_384).flat_map(|part| record(HANDSHAKE, part)).collect();
    let hello = handshake(&[ServerHello::default().message()]);
    let scene = talk(&[(Client, ClientHello::default().record()), (Server, [hello, records].concat())]);
    let event = scene.one();
    assert_eq!(texts(&event["tlswatch"]["server"]["chain"]).len(), Limits::default().chain_length);
    assert!(has(&event, "chain_too_long"), "{event:#}");
}

#[test]
fn only_cert_sign_makes_a_ca() {
    use rcgen::{BasicConstraints, IsCa, KeyUsagePurpose};
    let usages = |ca: IsCa, usages: &[KeyUsagePurpose]| {
        let mut params = rcgen::CertificateParams::new(vec!["example.org".to_owned()]).unwrap();
        params.is_ca = ca;
        params.key_usages = usages.to_vec();
        showing(&[&self_signed(params)]).run().events("certificate")[0]["tlswatch"]["certificate"].clone()
    };
    let ca = usages(IsCa::Ca(BasicConstraints::Unconstrained), &[KeyUsagePurpose::KeyCertSign]);
    assert_eq!(ca["is_ca"], true);
    assert_eq!(texts(&ca["key_usage"]), ["keyCertSign"]);
    let leaf = usages(IsCa::ExplicitNoCa, &[KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature]);
    assert_eq!(leaf["is_ca"], false);
    assert_eq!(texts(&leaf["key_usage"]), ["digitalSignature", "cRLSign"]);
}

#[test]
fn hashes_are_upper_case_without_colons() {
    let event = showing(&[&chain()]).one();
    let hash = &event["tls"]["server"]["hash"];
    for (name, length) in [("md5", 32), ("sha1", 40), ("sha256", 64)] {
        let text = hash[name].as_str().unwrap();
        assert_eq!(text.len(), length);
        assert!(text.bytes().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte)), "{text}");
    }
}

#[test]
fn a_certificate_is_told_once_and_referred_to() {
    let mut scene = Scene::new();
    for number in 0..5 {
        scene.session(Connection::new(number), &ClientHello::default(), &[&chain()]);
    }
    let run = scene.run();
    assert_eq!(run.events("certificate").len(), 1);
    let handshakes = run.events("tls");
    assert_eq!(handshakes.len(), 5);
    for event in handshakes {
        assert_eq!(texts(&event["tlswatch"]["server"]["chain"]), [sha256(&chain())]);
    }
}

#[test]
fn empty_is_absent() {
    let hello = ClientHello { extensions: Vec::new(), ..ClientHello::default() };
    let run = session(&hello).run();
    let text = String::from_utf8(run.output.clone()).unwrap();
    for empty in [":\"\"", ":[]", ":{}", ":null"] {
        assert!(!text.contains(empty), "{empty} in {text}");
    }
    assert_eq!(run.events("tls")[0]["tls"]["client"]["server_name"], Value::Null);
}

#[test]
fn secrets_of_a_capture_are_never_told() {
    let scene = session(&ClientHello::default());
    let mut pcapng = to_pcapng(&scene.frames);
    // A Decryption Secrets Block (type 10) with a TLS key log, right behind the section header.
    let secret = "CLIENT_RANDOM 5EC2E75EC2E7 DEADBEEFDEADBEEF";
    let mut body = 0x544c_534b_u32.to_be_bytes().to_vec();
    body.extend((secret.len() as u32).to_be_bytes());
    body.extend(secret.as_bytes());
    body.resize(body.len().next_multiple_of(4), 0);
    let length = (body.len() as u32 + 12).to_be_bytes();
    let block = [&10_u32.to_be_bytes()[..], &length, &body, &length].concat();
    pcapng.splice(28..28, block);
    let run = run_bytes("secrets.pcapng", pcapng, &Options::default());
    assert_eq!(run.outcome.stats.capture_secrets, 1);
    assert_eq!(run.events("tls").len(), 1);
    let text = String::from_utf8(run.output).unwrap().to_uppercase();
    for part in ["DEADBEEF", "5EC2E7", "CLIENT_RANDOM"] {
        assert!(!text.contains(part));
    }
}

#[test]
fn the_outer_name_is_marked() {
    let hello = ClientHello::tls13().with(0xfe0d, &[0, 0, 1, 0, 1, 7, 0, 2, 1, 1, 0, 2, 2, 2]);
    let event = session(&hello).one();
    assert_eq!(event["tlswatch"]["client"]["ech"], true);
    assert_eq!(event["tlswatch"]["client"]["server_name_outer"], true);
    let plain = session(&ClientHello::default()).one();
    assert_eq!(plain["tlswatch"]["client"]["server_name_outer"], Value::Null);
}
