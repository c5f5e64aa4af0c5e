//! Facts of certificates: made by OpenSSL, made by hand, broken at every byte.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail by panicking")]

use proptest::prelude::*;
use tlswatch::x509::{AlternativeName, Certificate, Facts, KeyKind, Validation};

fn sample_bytes(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/data/x509/{name}.der", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn sample(name: &str) -> Facts {
    *Certificate::parse(&sample_bytes(name)).facts.expect("parses")
}

fn json(certificate: &Certificate) -> serde_json::Value {
    serde_json::from_str(&certificate.x509_json).expect("a complete object")
}

/// One DER value.
fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    match length {
        0..=127 => out.push(u8::try_from(length).unwrap()),
        128..=255 => out.extend([0x81, u8::try_from(length).unwrap()]),
        _ => {
            out.push(0x82);
            out.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    out.extend_from_slice(content);
    out
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    value(0x30, &parts.concat())
}

fn attribute(kind: &[u8], tag: u8, text: &[u8]) -> Vec<u8> {
    value(0x31, &sequence(&[value(0x06, kind), value(tag, text)]))
}

/// A hand-made certificate whose parts can be odd.
struct Handmade {
    version: Vec<u8>,
    serial: Vec<u8>,
    subject: Vec<u8>,
    times: [Vec<u8>; 2],
    extensions: Vec<Vec<u8>>,
}

impl Default for Handmade {
    fn default() -> Self {
        Self {
            version: value(0xa0, &[2, 1, 2]),
            serial: value(2, &[1]),
            subject: sequence(&[attribute(&[0x55, 4, 3], 0x0c, b"host.example")]),
            times: [value(0x17, b"240101000000Z"), value(0x17, b"250101000000Z")],
            extensions: Vec::new(),
        }
    }
}

impl Handmade {
    fn der(self) -> Vec<u8> {
        let algorithm = sequence(&[value(6, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11]), value(5, &[])]);
        let spki = sequence(&[sequence(&[value(6, &[0x2b, 0x65, 0x70])]), value(3, &[&[0][..], &[7; 32]].concat())]);
        let mut parts = vec![
            self.version,
            self.serial,
            algorithm.clone(),
            self.subject.clone(),
            sequence(&self.times),
            self.subject,
            spki,
        ];
        if !self.extensions.is_empty() {
            parts.push(value(0xa3, &sequence(&self.extensions)));
        }
        sequence(&[sequence(&parts), algorithm, value(3, &[0, 1, 2, 3])])
    }

    fn parse(self) -> Certificate {
        Certificate::parse(&self.der())
    }
}

fn extension(oid: &[u8], content: &[u8]) -> Vec<u8> {
    sequence(&[value(6, oid), value(4, content)])
}

#[test]
fn a_full_certificate_gives_all_its_facts() {
    let facts = sample("full");
    assert_eq!((facts.version, &*facts.serial), (3, &[0x12, 0x34][..]));
    assert_eq!(facts.subject.text, "CN=host.example,O=Test Widgets,C=DE");
    assert_eq!(facts.subject, facts.issuer);
    assert_eq!(facts.signature_algorithm, "SHA256-RSA");
    assert_eq!((facts.key.kind, facts.key.bits, facts.key.exponent_number()), (KeyKind::Rsa, 2048, Some(65_537)));
    let dns = |text: &str| AlternativeName::Dns(text.to_owned());
    assert_eq!(
        facts.alternative_names,
        [
            dns("host.example"),
            dns("*.wild.example"),
            AlternativeName::Ip("192.0.2.1".parse().unwrap()),
            AlternativeName::Ip("2001:db8::1".parse().unwrap()),
            AlternativeName::Email("a@host.example".to_owned()),
            AlternativeName::Uri("https://host.example/".to_owned()),
            AlternativeName::Other("registeredID:1.2.3.4".to_owned()),
            AlternativeName::Other("otherName:1.3.6.1.4.1.311.20.2.3".to_owned()),
            AlternativeName::Directory("O=Widgets\\, Inc.,CN=Directory Name".to_owned()),
        ]
    );
    assert_eq!(facts.basic_constraints, Some((false, None)));
    assert_eq!(facts.key_usage, Some(0b101));
    assert_eq!(facts.extended_key_usage.as_deref().unwrap(), ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]);
    assert_eq!(facts.subject_key_identifier.as_deref(), Some(&facts.key_sha1[..]));
    assert_eq!(facts.ocsp_urls, ["http://ocsp.example/"]);
    assert_eq!(facts.ca_issuer_urls, ["http://ca.example/ca.der"]);
    assert_eq!(facts.crl_urls, ["http://crl.example/a.crl", "http://crl.example/b.crl"]);
    assert_eq!(facts.policies, ["2.23.140.1.2.2", "1.2.3.4.5"]);
    assert_eq!(facts.validation, Some(Validation::OrganizationValidated));
    assert!(facts.must_staple && !facts.precertificate);
    assert!(facts.extensions.contains(&("2.5.29.15".to_owned(), true)));
    assert_eq!((facts.bad_extensions.len(), facts.oddities.len()), (0, 0));
}

#[test]
fn the_facts_of_a_ca_have_its_limits() {
    use tlswatch::x509::Subtree;

    let facts = sample("ca");
    assert_eq!(facts.basic_constraints, Some((true, Some(1))));
    assert_eq!(facts.key_usage, Some(0b110_0000));
    let constraints = facts.name_constraints.unwrap();
    assert_eq!(
        constraints.permitted,
        [
            Subtree::Dns("example".to_owned()),
            Subtree::Ip("192.0.2.0".parse().unwrap(), "255.255.255.0".parse().unwrap())
        ]
    );
    assert_eq!(constraints.excluded.len(), 2);
    assert!(matches!(&constraints.excluded[1], Subtree::Directory(name) if name.contains("widgets")));
}

#[test]
fn the_json_is_the_ecs_object() {
    let certificate = Certificate::parse(&sample_bytes("full"));
    let json = json(&certificate);
    assert_eq!(json["version_number"], "3");
    assert_eq!(json["serial_number"], "1234");
    assert_eq!(json["subject"]["distinguished_name"], "CN=host.example,O=Test Widgets,C=DE");
    assert_eq!(json["issuer"]["organization"], serde_json::json!(["Test Widgets"]));
    assert_eq!(json["public_key_algorithm"], "RSA");
    assert_eq!(json["public_key_size"], 2048);
    assert_eq!(json["public_key_exponent"], 65_537);
    assert_eq!(json["alternative_names"][2], "192.0.2.1");
    assert!(json["not_before"].as_str().unwrap().ends_with(".000Z"));
    assert!(json.get("public_key_curve").is_none());
}

#[test]
fn keys_and_algorithms_have_their_names() {
    for (name, algorithm, key, bits, curve) in [
        ("rsa512-md5", "MD5-RSA", "RSA", 512, None),
        ("rsa1031-sha256", "SHA256-RSA", "RSA", 1031, None),
        ("pss-sha1", "SHA1-RSAPSS", "RSA", 2048, None),
        ("pss-sha384", "SHA384-RSAPSS", "RSA", 2048, None),
        ("psskey", "SHA256-RSAPSS", "RSASSA-PSS", 2048, None),
        ("ec-P-256-sha1", "ECDSA-SHA1", "ECDSA", 256, Some("secp256r1")),
        ("ec-P-521-sha512", "ECDSA-SHA512", "ECDSA", 521, Some("secp521r1")),
        ("ec-secp256k1", "ECDSA-SHA256", "ECDSA", 256, Some("secp256k1")),
        ("ec-explicit", "ECDSA-SHA256", "ECDSA", 256, Some("explicit")),
        ("ed25519", "Ed25519", "Ed25519", 256, Some("ed25519")),
        ("ed448", "Ed448", "Ed448", 456, Some("ed448")),
        ("dsa", "DSA-SHA256", "DSA", 2048, None),
    ] {
        let facts = sample(name);
        let seen = (facts.signature_algorithm.as_str(), facts.key.algorithm_name(), facts.key.bits);
        assert_eq!((seen, facts.key.curve.as_deref()), ((algorithm, key, bits), curve), "{name}");
    }
    assert_eq!(sample("rsa-big-e").key.exponent_number(), Some(1_099_511_627_791));
}

#[test]
fn names_are_rfc_4514() {
    let facts = sample("names-bmp");
    assert_eq!(
        facts.subject.text,
        "serialNumber=HRB 123,DC=corp,UID=user7,emailAddress=admin@host.example,OU=two,OU=one,\
         CN=Größe\\, A\\+B \\<x\\>\\;,CN=first.example"
    );
    assert_eq!(facts.subject.common_names, ["first.example", "Größe, A+B <x>;"]);
    assert_eq!(facts.subject.organizational_units, ["one", "two"]);
    assert_eq!(facts.subject.emails, ["admin@host.example"]);
    assert_eq!(facts.oddities, ["zero_serial"]);
}

#[test]
fn attribute_types_without_a_name_come_as_der() {
    let of = |kind: &[u8]| {
        let subject = sequence(&[attribute(kind, 0x0c, b"zz")]);
        Handmade { subject, ..Handmade::default() }.parse().facts.unwrap().subject.text
    };
    assert_eq!(of(&[0x2a, 3, 4]), "1.2.3.4=#0C027A7A");
    assert_eq!(of(&[0x55, 4, 15]), "businessCategory=zz");
    assert_eq!(of(&[0x2b, 6, 1, 4, 1, 0x82, 0x37, 60, 2, 1, 3]), "jurisdictionC=zz");
}

#[test]
fn string_types_and_case_do_not_matter_in_comparison() {
    let of = |tag, text: &[u8]| {
        let subject = sequence(&[attribute(&[0x55, 4, 10], tag, text)]);
        Handmade { subject, ..Handmade::default() }.parse().facts.unwrap().subject
    };
    let plain = of(0x13, b"Widgets  Inc");
    assert_eq!(plain.normalized, of(0x0c, b" widgets inc ").normalized);
    assert_eq!(plain.normalized, of(0x1e, b"\0W\0I\0d\0g\0e\0t\0s\0 \0I\0n\0c").normalized);
    assert_ne!(plain.normalized, of(0x13, b"Widgets,Inc").normalized);
    assert_ne!(plain.der, of(0x0c, b"Widgets Inc").der);
    assert_eq!(of(0x04, b"\x01").text, "O=#040101");
}

#[test]
fn nul_and_controls_are_seen() {
    let names = sequence(&[value(0x82, b"good.example\0.evil.example"), value(0x86, b"\x1b[2J")]);
    let certificate = Handmade {
        subject: sequence(&[attribute(&[0x55, 4, 3], 0x0c, b"good.example\0.evil.example")]),
        extensions: vec![extension(&[0x55, 0x1d, 0x11], &names)],
        ..Handmade::default()
    }
    .parse();
    let facts = certificate.facts.as_ref().unwrap();
    assert_eq!(facts.subject.text, "CN=good.example\\x00.evil.example");
    assert_eq!(facts.subject.common_names, ["good.example\\x00.evil.example"]);
    assert_eq!(facts.alternative_names[0], AlternativeName::Dns("good.example\\x00.evil.example".to_owned()));
    assert_eq!(facts.alternative_names[1], AlternativeName::Uri("\\x1b[2J".to_owned()));
    assert!(facts.oddities.contains(&"nul_in_name"));
    assert!(!tlswatch::x509::name::matches_host(facts, "good.example"));
    assert!(!certificate.x509_json.contains("\\u00"));
}

#[test]
fn text_that_is_none_is_kept_and_told() {
    let names = sequence(&[value(0x82, b"caf\xe9.example")]);
    let of = |tag: u8, subject: &[u8], names: &[u8]| {
        let subject = sequence(&[attribute(&[0x55, 4, 3], tag, subject)]);
        let extensions = vec![extension(&[0x55, 0x1d, 0x11], names)];
        Handmade { subject, extensions, ..Handmade::default() }.parse().facts.unwrap()
    };
    let plain = sequence(&[value(0x82, b"plain.example")]);
    assert!(!of(0x0c, "café".as_bytes(), &plain).oddities.contains(&"malformed_string"));
    let facts = of(0x0c, b"caf\xe9", &plain);
    assert_eq!(facts.subject.common_names, ["café"]);
    assert!(facts.oddities.contains(&"malformed_string"));
    let facts = of(0x0c, b"cafe", &names);
    assert_eq!(facts.alternative_names[0], AlternativeName::Dns("café.example".to_owned()));
    assert!(facts.oddities.contains(&"malformed_string"));
}

#[test]
fn odd_serials_do_not_lose_the_certificate() {
    for (serial, shown, oddity) in [
        (value(2, &[0xff]), Some("-01"), Some("negative_serial")),
        (value(2, &[0]), Some("00"), Some("zero_serial")),
        (value(2, &[0, 0x80]), Some("80"), None),
        (value(2, &[0, 1]), Some("01"), Some("padded_serial")),
        (value(2, &[]), None, Some("empty_serial")),
        (Vec::new(), None, Some("absent_serial")),
        (value(2, &[0x80]), Some("-80"), Some("negative_serial")),
        // RFC 5280 section 4.1.2.2.
        (value(2, &[0x11; 20]), Some(&*"11".repeat(20)), None),
        (value(2, &[0x11; 21]), Some(&*"11".repeat(21)), Some("long_serial")),
        (value(2, &[0x11; 300]), Some(&*"11".repeat(300)), Some("long_serial")),
    ] {
        let certificate = Handmade { serial, ..Handmade::default() }.parse();
        let facts = certificate.facts.as_ref().unwrap();
        assert_eq!(json(&certificate).get("serial_number").and_then(|text| text.as_str()), shown);
        assert_eq!(facts.oddities.first().copied(), oddity, "{shown:?}");
        assert_eq!(facts.subject.text, "CN=host.example");
    }
    let facts = sample("v1-negative-serial");
    assert_eq!((facts.version, &*facts.serial), (1, &[0xfb][..]));
}

#[test]
fn times_of_every_form_are_read() {
    for (tag, text, shown) in [
        (0x17, &b"491231235959Z"[..], Some("2049-12-31T23:59:59.000Z")),
        (0x17, b"500101000000Z", Some("1950-01-01T00:00:00.000Z")),
        (0x17, b"2401010000Z", Some("2024-01-01T00:00:00.000Z")),
        (0x17, b"240101000000+0130", Some("2023-12-31T22:30:00.000Z")),
        (0x18, b"20240101000000Z", Some("2024-01-01T00:00:00.000Z")),
        (0x18, b"20240101000000-0500", Some("2024-01-01T05:00:00.000Z")),
        (0x18, b"20240101000000.123Z", Some("2024-01-01T00:00:00.000Z")),
        (0x18, b"20240101000000", Some("2024-01-01T00:00:00.000Z")),
        (0x18, b"99991231235959Z", Some("9999-12-31T23:59:59.000Z")),
        (0x18, b"00000101000000Z", Some("0000-01-01T00:00:00.000Z")),
        (0x18, b"19000229000000Z", None),
        (0x17, b"241301000000Z", None),
        (0x17, b"24010100000AZ", None),
        (0x17, b"", None),
        (0x17, b"240101000000Zx", None),
        (0x04, b"240101000000Z", None),
    ] {
        let times = [value(tag, text), value(0x17, b"300101000000Z")];
        let certificate = Handmade { times, ..Handmade::default() }.parse();
        let facts = certificate.facts.as_ref().unwrap();
        assert_eq!(facts.not_before.map(|time| time.to_string()).as_deref(), shown, "{text:?}");
        assert!(facts.not_after.is_some());
        assert_eq!(facts.oddities.contains(&"malformed_time"), shown.is_none());
    }
    let times = [value(0x17, b"250101000000Z"), value(0x17, b"240101000000Z")];
    assert_eq!(Handmade { times, ..Handmade::default() }.parse().facts.unwrap().oddities, ["reversed_validity"]);
}

#[test]
fn one_bad_extension_hides_no_other() {
    let facts = Handmade {
        extensions: vec![
            extension(&[0x55, 0x1d, 0x13], &[0x30, 0x05, 1]),
            extension(&[0x55, 0x1d, 0x11], &sequence(&[value(0x82, b"a.example")])),
            extension(&[0x55, 0x1d, 0x11], &sequence(&[value(0x82, b"b.example")])),
            extension(&[0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 3], &[5, 0]),
        ],
        ..Handmade::default()
    }
    .parse()
    .facts
    .unwrap();
    assert_eq!(facts.bad_extensions, ["2.5.29.19"]);
    assert_eq!(facts.alternative_names, [AlternativeName::Dns("a.example".to_owned())]);
    assert!(facts.precertificate && facts.oddities.contains(&"duplicate_extension"));
    assert_eq!(facts.extensions.len(), 4);
}

#[test]
fn a_hostile_list_is_cut_and_told() {
    let names = vec![value(0x82, b"a"); 20_000].concat();
    let facts =
        Handmade { extensions: vec![extension(&[0x55, 0x1d, 0x11], &value(0x30, &names))], ..Handmade::default() }
            .parse()
            .facts
            .unwrap();
    assert_eq!(facts.alternative_names.len(), 4_096);
    assert!(facts.oddities.contains(&"names_cut"));
}

#[test]
fn bytes_after_the_end_are_told() {
    let mut der = sample_bytes("full");
    der.extend(b"more");
    let certificate = Certificate::parse(&der);
    assert_eq!(certificate.facts.unwrap().oddities, ["trailing_data"]);
    assert_eq!(certificate.der.len(), der.len());
}

#[test]
fn hashes_are_there_whatever_the_bytes_are() {
    let certificate = Certificate::parse(b"abc");
    assert!(certificate.facts.is_none() && certificate.x509_json.is_empty());
    assert_eq!(certificate.sha256.to_string(), "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD");
    assert_eq!(certificate.md5[..4], [0x90, 0x01, 0x50, 0x98]);
    assert_eq!(certificate.sha1[..4], [0xa9, 0x99, 0x3e, 0x36]);
}

/// x509-parser reads the same from everything that it accepts.
#[test]
fn another_parser_agrees() {
    use x509_parser::prelude::FromDer;

    let mut compared = 0;
    for entry in std::fs::read_dir(format!("{}/tests/data/x509", env!("CARGO_MANIFEST_DIR"))).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "der") {
            continue;
        }
        let der = std::fs::read(&path).unwrap();
        let Ok((_, theirs)) = x509_parser::certificate::X509Certificate::from_der(&der) else { continue };
        let ours = Certificate::parse(&der).facts.unwrap();
        assert_eq!(ours.version, theirs.version().0 + 1);
        assert_eq!(&*ours.serial, theirs.raw_serial());
        assert_eq!(&*ours.subject.der, theirs.subject().as_raw());
        assert_eq!(&*ours.issuer.der, theirs.issuer().as_raw());
        assert_eq!(ours.not_before.unwrap().0, theirs.validity().not_before.timestamp());
        assert_eq!(ours.not_after.unwrap().0, theirs.validity().not_after.timestamp());
        assert_eq!(&der[ours.spki.clone()], theirs.public_key().raw);
        assert_eq!(&der[ours.tbs.clone()], theirs.tbs_certificate.as_ref());
        assert_eq!(&*ours.signature, &*theirs.signature_value.data);
        assert_eq!(ours.extensions.len(), theirs.extensions().len());
        compared += 1;
    }
    assert!(compared > 40);
}

#[test]
fn cut_at_every_byte_is_no_certificate_and_no_panic() {
    for name in ["full", "ca", "ec-P-521-sha512", "names-bmp", "psskey"] {
        let der = sample_bytes(name);
        for end in 0..der.len() {
            assert!(Certificate::parse(&der[..end]).facts.is_none());
        }
        assert!(Certificate::parse(&der).facts.is_some());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn mutations_never_panic(
        which in prop::sample::select(vec!["full", "ca", "ec-explicit", "names-bmp", "pss-sha384"]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut der = sample_bytes(which);
        for (place, byte) in changes {
            let place = place.index(der.len());
            der[place] = byte;
        }
        let certificate = Certificate::parse(&der);
        prop_assert_eq!(&*certificate.der, &der[..]);
        if let Some(facts) = &certificate.facts {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&certificate.x509_json).is_ok());
            prop_assert!(!certificate.x509_json.chars().any(char::is_control));
            prop_assert!(!facts.subject.text.chars().any(char::is_control));
            let memo = tlswatch::x509::chain::SignatureMemo::new(1 << 10);
            tlswatch::x509::chain::is_self_signed(&certificate, &memo);
        }
    }

    #[test]
    fn any_bytes_never_panic(der in prop::collection::vec(any::<u8>(), 0..300)) {
        let certificate = Certificate::parse(&der);
        prop_assert!(certificate.weight() >= der.len());
    }
}
