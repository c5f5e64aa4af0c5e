//! What people are told: nothing that is false, and no more of what others wrote than they can read.

use std::sync::Arc;

use super::finding::{Finding, Point};
use super::judge_tests::{Bench, HOME, WWW, spki};
use super::testing::{Ca, Plan, Scene, of};
use super::watch::Watch;
use crate::tls::{Extension, KeyExchange, Protocol, ServerKeyExchange};
use crate::x509::KeyKind;

/// Octets of one text in the evidence.
const MOST: usize = 1_100;

fn point<'a>(found: &'a [Finding], id: &str) -> &'a Point {
    &of(found, id).unwrap().evidence.pro[0]
}

fn sides(point: &Point) -> (&str, &str) {
    (point.observed.as_deref().unwrap_or_default(), point.expected.as_deref().unwrap_or_default())
}

fn assert_short(finding: &Finding) {
    let evidence = &finding.evidence;
    for point in [&evidence.proofs, &evidence.pro, &evidence.contra].into_iter().flatten() {
        let texts = [Some(&point.text), point.observed.as_ref(), point.expected.as_ref()];
        let longest = texts.into_iter().flatten().map(String::len).max().unwrap();
        assert!(longest <= MOST, "{}: {} has {longest} octets", finding.rule.id, point.id);
    }
    assert!(finding.message.len() <= 2 * MOST, "{}", finding.rule.id);
}

/// Whoever makes a certificate chooses its names: 60,000 octets, if he likes.
#[test]
fn names_from_the_wire_are_clipped_in_evidence() {
    let (long, host) = ("x".repeat(60_000), "[[host]]\nmatch = [\"www.example.com\"]\n");
    let ca = Ca::new(&long);
    let internal =
        format!("[[internal_ca]]\nname = \"P\"\nspki = [\"{}\"]\nnames = [\"a.b\"]\n", spki(&ca.certificate));
    let of_many: Vec<String> = (0..5_000).map(|number| format!("{number}.example.net")).collect();
    let of_many: Vec<&str> = of_many.iter().map(String::as_str).collect();
    let plan = |names: &[&str]| Plan { common_name: long.clone(), ..Plan::of(names) };
    let mut seen = Vec::new();
    for (roots, policy, names) in [
        (
            &[&ca][..],
            format!("{host}issuers = [\"{}\"]\nplaces = [\"198.51.100.0/24\"]\n", spki(&Ca::new("A").certificate)),
            vec!["www.example.com"],
        ),
        (&[], internal, vec![long.as_str()]),
        (&[&ca], String::new(), of_many),
        (&[], String::new(), vec!["www.example.com"]),
    ] {
        for place in [HOME, WWW] {
            let found = Bench::new(roots).policy(&policy).findings(place, &ca.chain(&plan(&names)));
            found.iter().for_each(assert_short);
            seen.extend(found.iter().map(|finding| finding.rule.id));
        }
    }
    for id in ["POL-001", "POL-005", "POL-006", "CERT-004", "CERT-005"] {
        assert!(seen.iter().any(|seen| seen.ends_with(id)), "{id} {seen:?}");
    }
}

/// Clients with certificates at one server: whose, from where.
fn shown(clients: &[(&Ca, &Plan, &str)]) -> Vec<Vec<Finding>> {
    let server = Ca::new("Root").chain(&Plan::of(&["www.example.com"]));
    let mut bench = Bench::new(&[]);
    let mut all = Vec::new();
    for (ca, plan, client) in clients {
        bench.scene.now += 6 * 3_600;
        let mut observation = bench.handshake(WWW, &server);
        observation.ends.client.address = client.parse().unwrap();
        observation.client_chain = ca.chain(plan);
        all.push(observation);
    }
    let mut judge = bench.judge();
    judge.add(Box::new(Watch::new(Arc::clone(&Scene::new(&[]).anchors), 100)));
    all.iter().map(|one| judge.observe(one, one.handshake.first.order.clock)).collect()
}

#[test]
fn names_of_client_certificates_are_clipped_in_evidence() {
    let (usual, long) = (Ca::new("Usual"), Ca::new(&"x".repeat(60_000)));
    let plan = Plan::of(&["client"]);
    let mut clients = vec![(&usual, &plan, "10.1.0.1"); 40];
    clients.push((&long, &plan, "10.1.0.1"));
    let found = shown(&clients).pop().unwrap();
    let text = &point(&found, "CERT-034").text;
    assert_eq!(text, "client certificates of 1 other issuer accepted 40 times before");
    found.iter().for_each(assert_short);
}

/// A hello has room for 16,000 extensions that nobody offered.
#[test]
fn of_many_wrong_choices_some_are_named() {
    for (number, points, more) in [(3_u16, 3, ""), (8, 8, ""), (10_000, 9, ", and 9992 more.")] {
        let mut bench = Bench::new(&[]);
        let mut observation = bench.handshake(WWW, &[]);
        let hello = observation.handshake.server_hello.as_mut().unwrap();
        hello.extensions = (1_000..1_000 + number).map(|kind| Extension { kind, body: 0..0 }).collect();
        let mut judge = bench.judge();
        judge.add(Box::new(Watch::new(Arc::clone(&Scene::new(&[]).anchors), 100)));
        let found = judge.observe(&observation, observation.handshake.first.order.clock);
        let told = of(&found, "MITM-010").unwrap();
        assert_short(told);
        assert!(told.message.contains("extension 1000, extension 1001") && told.message.ends_with(more));
        assert_eq!(told.evidence.pro.len(), points);
    }
}

/// A second use from a new place is not the first one from there.
#[test]
fn uses_from_a_new_place_are_not_counted_as_uses_from_elsewhere() {
    let ca = Ca::new("Usual");
    let plan = Plan::of(&["client"]).keyed(&Arc::new(super::testing::key()));
    let mut clients = vec![(&ca, &plan, "10.1.0.1"); 20];
    clients.extend([(&ca, &plan, "10.2.0.1"); 2]);
    let mut found = shown(&clients);
    for (own, what) in [(1, "where only 1 of 21 uses before was"), (0, "where it was never used in 20 uses before")] {
        let told = found.pop().unwrap();
        let told = of(&told, "CERT-030").unwrap();
        assert!(told.message.contains(what), "{own}: {}", told.message);
        assert_eq!(told.evidence.pro[0].text, "20 uses from 1 other place");
    }
}

/// Where a thief was before is no place that is expected.
#[test]
fn only_known_places_are_expected() {
    let ca = Ca::new("Usual");
    let plan = Plan::of(&["client"]).keyed(&Arc::new(super::testing::key()));
    let mut clients = vec![(&ca, &plan, "10.1.0.1"); 20];
    clients.extend([(&ca, &plan, "10.2.0.1"), (&ca, &plan, "10.3.0.1")]);
    let found = shown(&clients).pop().unwrap();
    let point = point(&found, "CERT-030");
    assert_eq!((point.text.as_str(), sides(point)), ("21 uses from 2 other places", ("10.3.0.0/24", "10.1.0.0/24")));
}

#[test]
fn versions_of_dtls_are_compared_with_versions_of_dtls() {
    let policy = "[[host]]\nmatch = [\"www.example.com\"]\nmin_version = \"1.3\"\n";
    let chosen = |version: u16, protocol: Protocol| {
        Bench::new(&[]).policy(policy).changed(WWW, &[], |one| {
            one.handshake.protocol = protocol;
            one.handshake.server_hello.as_mut().unwrap().legacy_version = version;
        })
    };
    for (version, protocol, wanted) in [
        (0xfefd, Protocol::Dtls, ("DTLS 1.2", "DTLS 1.3 or newer")),
        (0xfeff, Protocol::Dtls, ("DTLS 1.0", "DTLS 1.3 or newer")),
        (0x0303, Protocol::Tls, ("TLS 1.2", "TLS 1.3 or newer")),
        (0x0302, Protocol::Tls, ("TLS 1.1", "TLS 1.3 or newer")),
    ] {
        assert_eq!(sides(point(&chosen(version, protocol), "POL-004")), wanted);
    }
}

/// A number that is no version is no better one.
#[test]
fn the_best_version_offered_is_one_that_there_is() {
    let offered = |protocol, [legacy, chosen]: [u16; 2], versions: &[u16]| {
        let found = Bench::new(&[]).changed(HOME, &[], |one| {
            one.handshake.protocol = protocol;
            let hello = one.handshake.client_hello.as_mut().unwrap();
            (hello.legacy_version, hello.supported_versions) = (legacy, versions.iter().copied().collect());
            one.handshake.server_hello.as_mut().unwrap().legacy_version = chosen;
        });
        point(&found, "CRYP-001").text.clone()
    };
    for (text, wanted) in [
        (offered(Protocol::Tls, [0x0303, 0x0301], &[0x0a0a, 0x0304, 0x0303]), "TLS 1.3"),
        (offered(Protocol::Tls, [0x0303, 0x0301], &[0xffff, 0x0304]), "TLS 1.3"),
        (offered(Protocol::Tls, [0x0303, 0x0301], &[0x7f1c, 0x0304]), "TLS 1.3"),
        (offered(Protocol::Tls, [0x0505, 0x0301], &[]), "version 0x0505"),
        (offered(Protocol::Tls, [0x0301, 0x0301], &[]), "TLS 1.0"),
        (offered(Protocol::Dtls, [0xfefd, 0xfeff], &[0x0001, 0xfefc]), "DTLS 1.3"),
        (offered(Protocol::Dtls, [0xfefd, 0xfeff], &[]), "DTLS 1.2"),
    ] {
        assert_eq!(text, format!("the best that the client offered is {wanted}"));
    }
}

/// A key of 2048 bits is not told as one with too few, nor a prime.
#[test]
fn what_is_expected_of_a_key_is_what_it_lacks() {
    let mut leaf = (*Ca::new("Root").leaf(&Plan::of(&["www.example.com"]))).clone();
    let mut rsa = |bits: u32, last: u8, exponent: &[u8]| {
        let key = &mut leaf.facts.as_mut().unwrap().key;
        (key.kind, key.bits, key.exponent) = (KeyKind::Rsa, bits, exponent.into());
        key.modulus = (0..bits / 8).map(|place| 0xff - u8::try_from(place * 7 % 100).unwrap()).collect();
        *key.modulus.last_mut().unwrap() = last;
        let found = Bench::new(&[]).findings(HOME, &[Arc::new(leaf.clone())]);
        point(&found, "CRYP-003").clone()
    };
    for (point, wanted) in [
        (rsa(1_024, 0x0b, &[1, 0, 1]), ("RSA with 1024 bits", "RSA with 2048 bits, or an elliptic curve of 256")),
        (rsa(2_048, 0x0a, &[1, 0, 1]), ("an even RSA modulus", "an odd modulus")),
        (rsa(2_048, 0x0b, &[3]), ("an unusual RSA exponent", "an exponent of 65537")),
        (rsa(2_048, 0x0b, &[1]), ("an RSA exponent that encrypts nothing", "an exponent of 65537")),
    ] {
        assert_eq!(sides(&point), wanted);
        assert_eq!(point.text.contains("less than"), wanted.0.contains("1024"), "{}", point.text);
    }
    let group = |prime: &[u8], public: u8| {
        let end = prime.len();
        let found = Bench::new(&[]).changed(HOME, &[], |one| {
            one.handshake.server_key_exchange = Some(Box::new(ServerKeyExchange {
                params: [prime, &[2, public]].concat().into(),
                kind: KeyExchange::Dhe { prime: 0..end, generator: end..end + 1, public: end + 1..end + 2 },
                ..ServerKeyExchange::default()
            }));
        });
        point(&found, "CRYP-004").clone()
    };
    assert_eq!(sides(&group(&[0xff; 127], 9)).1, "2048 bits or more (RFC 7919), or ECDHE");
    assert_eq!(sides(&group(&[0xfe; 256], 9)).1, "an odd prime of a group of RFC 7919, or ECDHE");
    assert_eq!(sides(&group(&[0xff; 256], 1)).1, "numbers between 1 and the prime less 1 (RFC 7919), or ECDHE");
}

/// As in CERT-004: the names of the certificate were seen, those that were asked for expected.
#[test]
fn a_portal_is_told_with_its_own_names_as_seen() {
    let ca = Ca::new("Public Root");
    let mut scene = Scene::new(&[&ca]);
    let mut watch = Watch::new(Arc::clone(&scene.anchors), 100);
    let portal = ca.chain(&Plan::of(&["portal.example"]));
    let mut found = Vec::new();
    for host in ["www.example.com", "www.example.net", "www.example.org"] {
        scene.now += 8;
        found.extend(scene.serve(&mut watch, (host, "10.2.0.22"), &portal));
    }
    assert_eq!(sides(point(&found, "MITM-031")), ("portal.example", "example.com, example.net, example.org"));
}

/// Some signatures cannot be checked: then nobody knows whose they are.
#[test]
fn a_self_signed_certificate_is_told_without_its_signature() {
    let leaf = &Plan::of(&["www.example.com"]).self_signed()[0];
    let mut facts = leaf.facts.as_deref().unwrap().clone();
    facts.signature_oid = "1.2.3.4".to_owned();
    let unknown = Arc::new(crate::x509::Certificate { facts: Some(facts.into()), ..(**leaf).clone() });
    for leaf in [Arc::clone(leaf), unknown] {
        let found = Bench::new(&[]).findings(HOME, &[leaf]);
        assert_eq!(point(&found, "CERT-006").text, "it names itself as its issuer, so nobody else vouches for it");
    }
}
