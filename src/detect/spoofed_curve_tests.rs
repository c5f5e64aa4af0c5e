//! A CA whose public point somebody else has on a curve of his own (CVE-2020-0601): to clients that compare points only, what he
//! signs is signed by that CA.

use std::sync::Arc;

use rcgen::PublicKeyData as _;

use super::alerts::When;
use super::catalogue::Severity;
use super::finding::Finding;
use super::judge::Judge;
use super::judge_tests::{Bench, NONE, WWW};
use super::testing::{Ca, Plan, ids, key, of, parse};
use super::watch::Watch;
use crate::x509::Certificate;
use crate::x509::der::{self, Reader};

type Chain = Vec<Arc<Certificate>>;

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = match u16::try_from(content.len()).unwrap() {
        short @ 0..0x80 => vec![u8::try_from(short).unwrap()],
        long => [&[0x82][..], &long.to_be_bytes()].concat(),
    };
    [&[tag][..], &length, &content].concat()
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |octet: u8| u8::try_from(char::from(octet).to_digit(16).unwrap()).unwrap();
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// ECParameters of P-256 (RFC 3279 section 2.3.5) with this generator, and one octet of b changed by `fault`.
fn parameters(generator: &[u8], fault: u8) -> Vec<u8> {
    let prime = hex("00ffffffff00000001000000000000000000000000ffffffffffffffffffffffff");
    let a = hex("ffffffff00000001000000000000000000000000fffffffffffffffffffffffc");
    let mut b = hex("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b");
    b[31] ^= fault;
    let order = hex("00ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
    let field = tlv(0x30, &[&tlv(6, &[&hex("2a8648ce3d0101")]), &tlv(2, &[&prime])]);
    let curve = tlv(0x30, &[&tlv(4, &[&a]), &tlv(4, &[&b])]);
    tlv(0x30, &[&tlv(2, &[&[1]]), &field, &curve, &tlv(4, &[generator]), &tlv(2, &[&order]), &tlv(2, &[&[1]])])
}

/// The generator of P-256.
fn genuine_generator() -> Vec<u8> {
    hex("046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
         4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5")
}

/// The same point in its short form.
fn compressed(point: &[u8]) -> Vec<u8> {
    let x = &point[1..33];
    [&[2 + (point[64] & 1)][..], x].concat()
}

fn point_of(certificate: &Certificate) -> Vec<u8> {
    certificate.facts.as_deref().unwrap().key.bytes.to_vec()
}

/// A certificate with another key in it, of this point on these parameters. Nothing verifies its signature.
fn with_key(certificate: &Certificate, (parameters, point): (&[u8], &[u8])) -> Arc<Certificate> {
    let algorithm = tlv(0x30, &[&[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1], parameters]);
    let spki = tlv(0x30, &[&algorithm, &tlv(3, &[&[0], point])]);
    let mut outer = Reader::new(&certificate.der).tagged(der::SEQUENCE).unwrap().reader();
    let fields: Vec<&[u8]> = outer.element().unwrap().reader().map(|field| field.whole).collect();
    let tbs: Vec<&[u8]> =
        fields.iter().enumerate().map(|(at, whole)| if at == 6 { &spki[..] } else { whole }).collect();
    let rest: Vec<&[u8]> = outer.map(|element| element.whole).collect();
    let made = parse(&tlv(0x30, &[&tlv(0x30, &tbs), rest[0], rest[1]]));
    assert_eq!(made.facts.as_deref().unwrap().key.curve.as_deref(), Some("explicit"));
    made
}

/// A forged CA of this name, and what it signed.
fn forgery((name, authority): (&str, bool), key: (&[u8], &[u8])) -> Chain {
    let forger = Ca::new(name);
    let leaf = forger.leaf(&Plan { authority, ..Plan::of(&[WWW.0]) });
    vec![leaf, with_key(&forger.certificate, key)]
}

fn judge(roots: &[&Ca]) -> Judge {
    let bench = Bench::new(roots);
    let anchors = Arc::clone(&bench.knowledge.anchors);
    let mut judge = bench.judge();
    judge.hold_open_chains(When::AtEnd);
    judge.add(Box::new(Watch::new(anchors, 1_000)));
    judge
}

/// What is found of these chains, each at a host.
fn found(roots: &[&Ca], shown: &[(&str, &[Arc<Certificate>])]) -> Vec<Finding> {
    let (mut judge, mut bench) = (judge(roots), Bench::new(&[]));
    let mut found = Vec::new();
    for (host, chain) in shown {
        bench.scene.now += 60;
        let observation = bench.handshake((host, "203.0.113.10"), chain);
        found.extend(judge.observe(&observation, observation.handshake.first.order.clock));
    }
    found.extend(judge.finish());
    found
}

fn assert_spoofed(found: &[Finding], root: &Ca) {
    let told = of(found, "MITM-005").unwrap();
    assert_eq!((told.severity, told.confidence), (Severity::Critical, 99), "{}", told.message);
    let name = "the public key of \"Public Root\" on curve parameters of its own: whoever chose them can sign with it.";
    assert!(told.message.ends_with(name), "{}", told.message);
    let proof = &told.evidence.proofs[0];
    let genuine = root.certificate.facts.as_deref().unwrap();
    assert_eq!((told.evidence.proofs.len(), proof.id), (1, "P4"));
    assert_eq!(proof.expected.as_deref(), Some(&*format!("sha256:{} of CN=Public Root", genuine.spki_sha256)));
    // One cause with whatever else is said of who signed.
    for other in found.iter().filter(|one| ["CERT-005", "MITM-002"].iter().any(|id| one.rule.id.ends_with(id))) {
        assert_eq!(other.cause, told.cause, "{}", other.message);
    }
}

#[test]
fn a_point_on_a_curve_of_ones_own_is_a_forgery() {
    let root = Ca::new("Public Root");
    let point = point_of(&root.certificate);
    let standard = genuine_generator();
    let other = key().der_bytes().to_vec();
    // The generator is the point itself or another one, the curve another, the point in another form.
    for (parameters, point) in [
        (parameters(&point, 0), point.clone()),
        (parameters(&other, 0), point.clone()),
        (parameters(&standard, 1), point.clone()),
        (parameters(&compressed(&point), 0), compressed(&point)),
    ] {
        for name in ["Public Root", "Another Name"] {
            for authority in [true, false] {
                let forged = forgery((name, authority), (&parameters, &point));
                assert_spoofed(&found(&[&root], &[(WWW.0, &forged)]), &root);
            }
        }
    }
}

#[test]
fn the_same_key_in_other_words_is_no_forgery() {
    let root = Ca::new("Public Root");
    let point = point_of(&root.certificate);
    let standard = genuine_generator();
    for generator in [standard.clone(), compressed(&standard)] {
        let again = with_key(&root.certificate, (&parameters(&generator, 0), &point));
        let genuine = [root.leaf(&Plan::of(&[WWW.0])), again];
        assert_eq!(ids(&found(&[&root], &[(WWW.0, &genuine)])), NONE);
    }
    // Nor is another point, or its mirror image, on whatever curve; nor parameters that are none.
    let mut mirrored = compressed(&point);
    mirrored[0] ^= 1;
    let other = key().der_bytes().to_vec();
    for (parameters, point) in [
        (parameters(&other, 0), &other),
        (parameters(&point, 0), &mirrored),
        (vec![5, 0], &point),
        (vec![0x30, 0], &point),
    ] {
        let forged = forgery(("Another Name", true), (&parameters, point));
        assert!(of(&found(&[&root], &[(WWW.0, &forged)]), "MITM-005").is_none());
    }
}

/// Where the chain is trusted all the same, nobody was deceived by what was appended to it.
#[test]
fn what_a_trusted_chain_brings_along_is_not_asked() {
    let root = Ca::new("Public Root");
    let point = point_of(&root.certificate);
    let spoof = with_key(&root.certificate, (&parameters(&point, 0), &point));
    let chain = [root.leaf(&Plan::of(&[WWW.0])), spoof];
    assert_eq!(ids(&found(&[&root], &[(WWW.0, &chain)])), NONE);
}

/// The key of a CA that is learned counts as that of a root, and also if it is learned later.
#[test]
fn the_key_of_a_learned_ca_is_spoofed_too() {
    let root = Ca::new("Upper Root");
    let issuing = root.intermediate("Public Root");
    let point = point_of(&issuing.certificate);
    let forged = forgery(("Another Name", true), (&parameters(&point, 0), &point));
    let genuine = issuing.chain(&Plan::of(&["mail.example.net"]));
    let (one, other): (&str, &str) = (WWW.0, "mail.example.net");
    for shown in [[(other, &genuine[..]), (one, &forged[..])], [(one, &forged[..]), (other, &genuine[..])]] {
        let found = found(&[&root], &shown);
        assert_spoofed(&found, &issuing);
        assert_eq!(of(&found, "MITM-005").unwrap().host.split(':').next(), Some(one));
    }
    // A private CA that nobody vouches for is nobody.
    assert!(of(&found(&[], &[(other, &genuine), (one, &forged)]), "MITM-005").is_none());
}
