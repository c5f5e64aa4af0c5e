//! Scenes for the checks: each rule with one that fires and one that is near and does not.

use std::sync::Arc;

use num_bigint_dig::BigUint;
use rcgen::{
    CertificateParams, CertificateRevocationListParams, ExtendedKeyUsagePurpose, KeyIdMethod, KeyUsagePurpose,
    RevocationReason, RevokedCertParams, SerialNumber,
};
use sha2::Digest as _;

use super::alerts::When;
use super::catalogue::{Effect, Severity};
use super::crl::Crl;
use super::finding::Finding;
use super::judge::{Afterthought, Judge};
use super::knowledge::{Knowledge, NamedList};
use super::lists::List;
use super::observation::{KeyExchangeVerdict, Observation};
use super::proof::KeyExchangeFault;
use super::testing::{Ca, DAY, Plan, START, Scene, ids, key, of, parse};
use crate::policy::Policy;
use crate::time::Timestamp;
use crate::tls::fingerprint::ja3::ja3;
use crate::tls::fingerprint::ja4::ja4;
use crate::tls::{Alert, KeyExchange, KeyShare, ServerKeyExchange};
use crate::x509::chain::SignatureMemo;
use crate::x509::{Certificate, Sha256};

pub(super) const WWW: (&str, &str) = ("www.example.com", "203.0.113.10");
pub(super) const HOME: (&str, &str) = ("www.example.com", "10.9.0.9");
pub(super) const NONE: [&str; 0] = [];

/// A judge without detectors, and what it knows.
pub(super) struct Bench {
    pub(super) scene: Scene,
    pub(super) knowledge: Knowledge,
}

impl Bench {
    pub(super) fn new(roots: &[&Ca]) -> Self {
        let scene = Scene::new(roots);
        let knowledge = Knowledge { anchors: Arc::clone(&scene.anchors), ..Knowledge::default() };
        Self { scene, knowledge }
    }

    pub(super) fn policy(mut self, text: &str) -> Self {
        let known = super::catalogue::known_rules();
        self.knowledge.policy = Policy::parse(&format!("version = 1\n{text}"), &known).unwrap();
        self
    }

    /// Its anchors are Mozilla's.
    pub(super) fn public(mut self) -> Self {
        self.knowledge.builtin = (*self.scene.anchors).clone();
        self
    }

    pub(super) fn at(mut self, now: i64) -> Self {
        self.scene.now = now;
        self
    }

    pub(super) fn handshake(&mut self, (name, server): (&str, &str), chain: &[Arc<Certificate>]) -> Observation {
        let mut observation = self.scene.handshake("10.1.0.1", server, chain);
        observation.handshake.client_hello.as_mut().unwrap().server_name = Some(name.as_bytes().into());
        observation
    }

    pub(super) fn judge(self) -> Judge {
        Judge::new(Arc::new(self.knowledge), Arc::new(SignatureMemo::new(1 << 20)), (1 << 20, true))
    }

    pub(super) fn findings(mut self, place: (&str, &str), chain: &[Arc<Certificate>]) -> Vec<Finding> {
        let observation = self.handshake(place, chain);
        self.judge().observe(&observation, Timestamp(0))
    }

    /// Findings of a handshake that `change` made special.
    pub(super) fn changed(
        mut self,
        place: (&str, &str),
        chain: &[Arc<Certificate>],
        change: impl FnOnce(&mut Observation),
    ) -> Vec<Finding> {
        let mut observation = self.handshake(place, chain);
        change(&mut observation);
        self.judge().observe(&observation, Timestamp(0))
    }
}

pub(super) fn named(list: List) -> Vec<NamedList> {
    vec![NamedList { name: "list".to_owned(), list }]
}

pub(super) fn how(findings: &[Finding], id: &str) -> Option<(Severity, Effect)> {
    let found = findings.iter().find(|finding| finding.rule.id.ends_with(id))?;
    Some((found.severity, found.effect))
}

pub(super) fn spki(certificate: &Certificate) -> String {
    certificate.facts.as_deref().unwrap().spki_sha256.to_string()
}

#[test]
fn a_good_certificate_is_no_finding() {
    let ca = Ca::new("Root");
    let chain = ca.chain(&Plan::of(&["www.example.com"]));
    assert_eq!(ids(&Bench::new(&[&ca]).findings(WWW, &chain)), NONE);
    assert_eq!(ids(&Bench::new(&[&ca]).findings(HOME, &chain)), NONE);
}

#[test]
fn expired_expiring_and_early() {
    let ca = Ca::new("Root");
    let begin = START - 100 * DAY;
    let chain = ca.chain(&Plan::of(&["www.example.com"]).dates(begin, START + 100 * DAY));
    let at = |now, place| Bench::new(&[&ca]).at(now).findings(place, &chain);
    let after = |days, place| at(START + days * DAY, place);
    assert_eq!(how(&after(101, HOME), "CERT-001"), Some((Severity::Medium, Effect::Alert)));
    assert_eq!(how(&after(101, WWW), "CERT-001"), Some((Severity::Low, Effect::Alert)));
    assert_eq!(how(&after(99, HOME), "CERT-002"), Some((Severity::Medium, Effect::Alert)));
    assert_eq!(how(&after(80, HOME), "CERT-002"), Some((Severity::Low, Effect::Alert)));
    assert_eq!(how(&after(80, WWW), "CERT-002"), Some((Severity::Low, Effect::Mark)));
    assert_eq!(ids(&after(69, HOME)), NONE);
    // Five minutes are a matter of clocks.
    assert_eq!(ids(&at(begin - 299, HOME)), NONE);
    assert_eq!(ids(&at(begin - 301, HOME)), ["CERT-003"]);
    let owned = "[[host]]\nmatch = [\"www.example.com\"]\nowner = \"me\"\n";
    let findings = Bench::new(&[&ca]).policy(owned).at(START + 101 * DAY).findings(WWW, &chain);
    assert_eq!(how(&findings, "CERT-001"), Some((Severity::High, Effect::Alert)));
    // Short lives have their own limit.
    let chain = ca.chain(&Plan::of(&["www.example.com"]).dates(START, START + 6 * DAY));
    assert_eq!(ids(&Bench::new(&[&ca]).at(START + 4 * DAY).findings(HOME, &chain)), NONE);
    assert_eq!(ids(&Bench::new(&[&ca]).at(START + 5 * DAY).findings(HOME, &chain)), ["CERT-002"]);
}

#[test]
fn other_names_count_when_the_client_goes_on_or_at_the_third_time() {
    let ca = Ca::new("Root");
    let chain = ca.chain(&Plan::of(&["www.example.org"]));
    assert_eq!(ids(&Bench::new(&[&ca]).findings(WWW, &chain)), ["CERT-004"]);
    let mut bench = Bench::new(&[&ca]);
    let mut observation = bench.handshake(WWW, &chain);
    observation.handshake.established = Some(false);
    let mut judge = bench.judge();
    let found = [(); 4].map(|()| judge.observe(&observation, Timestamp(0)).len());
    assert_eq!(found, [0, 0, 1, 1]);
    let wildcard = ca.chain(&Plan::of(&["*.example.com"]));
    assert_eq!(ids(&Bench::new(&[&ca]).findings(WWW, &wildcard)), NONE);
    assert_eq!(ids(&Bench::new(&[&ca]).findings(("a.b.example.com", WWW.1), &wildcard)), ["CERT-004"]);
}

#[test]
fn untrusted_and_self_signed() {
    let ca = Ca::new("Private");
    let chain = ca.chain(&Plan::of(&["www.example.com"]));
    assert_eq!(how(&Bench::new(&[]).findings(HOME, &chain), "CERT-005"), Some((Severity::Low, Effect::Alert)));
    assert_eq!(how(&Bench::new(&[]).findings(WWW, &chain), "CERT-005"), Some((Severity::Low, Effect::Mark)));
    let internal = format!("[[internal_ca]]\nname = \"P\"\nspki = [\"{}\"]\n", spki(&ca.certificate));
    assert_eq!(ids(&Bench::new(&[]).policy(&internal).findings(HOME, &chain)), NONE);
    let own = Plan::of(&["www.example.com"]).self_signed();
    assert_eq!(ids(&Bench::new(&[]).findings(HOME, &own)), ["CERT-006"]);
    assert_eq!(how(&Bench::new(&[]).findings(WWW, &own), "CERT-006"), Some((Severity::Low, Effect::Mark)));
}

#[test]
fn an_issuer_that_comes_later_completes_the_chain() {
    let (root, namesake) = (Ca::new("Root"), Ca::new("Root"));
    let leaf = root.leaf(&Plan::of(&["www.example.com"]));
    let mut bench = Bench::new(&[]);
    let first = bench.handshake(HOME, &[Arc::clone(&leaf)]);
    let stranger = bench.handshake(HOME, &[Arc::clone(&leaf), Arc::clone(&namesake.certificate)]);
    let second = bench.handshake(HOME, &[leaf, Arc::clone(&root.certificate)]);
    let mut judge = bench.judge();
    let finding = judge.observe(&first, Timestamp(0)).remove(0);
    assert_eq!((finding.rule.id, judge.completed()), ("TLSW-CERT-005", vec![]));
    judge.observe(&stranger, Timestamp(0));
    assert_eq!(judge.completed(), []);
    let later = judge.observe(&second, Timestamp(0)).remove(0);
    assert_eq!(judge.completed(), [(finding.cause.alert_id(), Afterthought::Unite(later.cause.alert_id()))]);
}

#[test]
fn as_it_happens_an_open_chain_waits_for_its_issuer() {
    let (root, namesake) = (Ca::new("Root"), Ca::new("Root"));
    let leaf = root.leaf(&Plan::of(&["www.example.com"]));
    let at = |seconds| Timestamp::new(seconds, 0);
    for trusted in [true, false] {
        let mut bench = Bench::new(&[]);
        let alone = bench.handshake(HOME, &[Arc::clone(&leaf)]);
        let stranger = bench.handshake(("www.example.net", HOME.1), &[Arc::clone(&namesake.certificate)]);
        let issuer = bench.handshake(("www.example.org", HOME.1), &[Arc::clone(&root.certificate)]);
        if trusted {
            let internal = format!("[[internal_ca]]\nname = \"P\"\nspki = [\"{}\"]\n", spki(&root.certificate));
            bench = bench.policy(&internal);
        }
        let mut judge = bench.judge();
        judge.hold_open_chains(When::AtOnce);
        let told = |findings: &[Finding]| findings.iter().filter(|one| one.rule.id.ends_with("CERT-005")).count();
        assert_eq!(told(&judge.observe(&alone, at(0))), 0);
        assert_eq!(told(&judge.observe(&alone, at(1))), 0);
        assert_eq!(told(&judge.observe(&stranger, at(2))), 0);
        assert_eq!(told(&judge.advance(at(899))), 0);
        let later = judge.observe(&issuer, at(899));
        if trusted {
            assert_eq!((told(&later), told(&judge.advance(at(2_000))), told(&judge.finish())), (0, 0, 0));
            continue;
        }
        assert_eq!(told(&later), 2);
        let first = later.iter().find(|one| one.rule.id.ends_with("CERT-005")).unwrap();
        assert_eq!(first.cause, super::finding::Cause::IssuerKey(root.certificate.facts.as_ref().unwrap().spki_sha256));
        assert_eq!(first.observation.as_ref().unwrap().handshake.first.order, alone.handshake.first.order);
    }
    // Nobody shows the issuer: told when the time is over, or at the end; `hold = 0` never waits.
    for (policy, wanted) in [("", [0, 1, 0]), ("[rules.untrusted-issuer]\nhold = \"0s\"\n", [1, 0, 0])] {
        let mut bench = Bench::new(&[]).policy(policy);
        let alone = bench.handshake(HOME, &[Arc::clone(&leaf)]);
        let mut judge = bench.judge();
        judge.hold_open_chains(When::AtOnce);
        let found = [judge.observe(&alone, at(0)).len(), judge.advance(at(900)).len(), judge.finish().len()];
        assert_eq!(found, wanted, "{policy}");
    }
    let mut bench = Bench::new(&[]);
    let alone = bench.handshake(HOME, &[leaf]);
    let mut judge = bench.judge();
    judge.hold_open_chains(When::AtOnce);
    assert_eq!(judge.observe(&alone, at(0)).len(), 0);
    assert!(judge.finish()[0].message.ends_with(", which was not seen."));
    let mut judge = Bench::new(&[]).judge();
    judge.hold_open_chains(When::AtEnd);
    let found = [judge.observe(&alone, at(0)).len(), judge.advance(at(1 << 30)).len(), judge.finish().len()];
    assert_eq!(found, [0, 0, 1]);
}

#[test]
fn a_flood_of_namesakes_hides_no_intermediate() {
    let ca = Ca::new("Root");
    let made = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2026, 1, 1), rcgen::date_time_ymd(2027, 1, 1));
        params
    };
    let below = key();
    let certificate = parse(made("Intermediate").signed_by(&below, &ca.issuer).unwrap().der());
    let intermediate = Ca { issuer: rcgen::Issuer::new(made("Intermediate"), below), certificate };
    let leaf = intermediate.leaf(&Plan::of(&["www.example.com"]));
    let evil = Plan::of(&["www.example.net"]).self_signed();
    let flood: Vec<_> = std::iter::once(Arc::clone(&evil[0]))
        .chain((0..80).map(|_| parse(made("Intermediate").self_signed(&key()).unwrap().der())))
        .collect();
    // A trusted path vouches for the intermediate, or the key of an internal CA does: one above it, or its own.
    let internal = |ca: &Certificate| format!("[[internal_ca]]\nname = \"P\"\nspki = [\"{}\"]\n", spki(ca));
    let whole = [&leaf, &intermediate.certificate, &ca.certificate].map(Arc::clone);
    for (roots, policy, shown) in [
        (&[&ca][..], String::new(), &whole[..]),
        (&[], internal(&ca.certificate), &whole),
        (&[], internal(&intermediate.certificate), &whole[..2]),
    ] {
        let mut bench = Bench::new(roots).policy(&policy);
        let whole = bench.handshake(HOME, shown);
        let enemy = bench.handshake(("www.example.net", "203.0.113.66"), &flood);
        let short = bench.handshake(HOME, &[Arc::clone(&leaf)]);
        let mut judge = bench.judge();
        assert_eq!(ids(&judge.observe(&whole, Timestamp(0))), NONE);
        judge.observe(&enemy, Timestamp(0));
        assert_eq!(ids(&judge.observe(&short, Timestamp(0))), NONE, "{policy}");
    }
}

#[test]
fn a_signature_that_is_not_the_issuers() {
    let ca = Ca::new("Root");
    let leaf = ca.leaf(&Plan::of(&["www.example.com"]));
    let mut der = leaf.der.to_vec();
    // The last octet of the signature.
    *der.last_mut().unwrap() ^= 1;
    let chain = [parse(&der), Arc::clone(&ca.certificate)];
    assert_eq!(how(&Bench::new(&[&ca]).findings(WWW, &chain), "CERT-007"), Some((Severity::High, Effect::Alert)));
    // A namesake's key that is not meant accuses nobody.
    let chain = [leaf, Arc::clone(&Ca::new("Root").certificate)];
    assert_eq!(how(&Bench::new(&[]).findings(WWW, &chain), "CERT-007"), None);
}

#[test]
fn broken_hashes_count_on_leaves_not_on_who_signs_himself() {
    let path = format!("{}/tests/data/x509/rsa2048-sha1.der", env!("CARGO_MANIFEST_DIR"));
    let own = parse(&std::fs::read(path).unwrap());
    assert_eq!(how(&Bench::new(&[]).findings(HOME, &[own]), "CERT-008"), None);
    let mut leaf = (*Ca::new("Root").leaf(&Plan::of(&["www.example.com"]))).clone();
    leaf.facts.as_mut().unwrap().signature_oid = "1.2.840.113549.1.1.5".to_owned();
    let findings = Bench::new(&[]).findings(HOME, &[Arc::new(leaf)]);
    assert_eq!(how(&findings, "CERT-008"), Some((Severity::Medium, Effect::Alert)));
}

#[test]
fn validity_has_limits_by_day_of_issue() {
    let ca = Ca::new("Root");
    // 2026-03-15.
    let step = 1_773_532_800;
    for (from, days, fires) in
        [(step, 200, false), (step, 201, true), (step - 1, 201, false), (step - 1, 398, false), (step - 1, 399, true)]
    {
        let chain = ca.chain(&Plan::of(&["www.example.com"]).dates(from, from + days * DAY));
        let found = Bench::new(&[&ca]).public().at(from + DAY).findings(HOME, &chain);
        assert_eq!(how(&found, "CERT-009").is_some(), fires, "{from} {days}");
        // A root that the owner named counts as public, unless its key is an internal CA's.
        let added = |policy: &str| Bench::new(&[&ca]).policy(policy).at(from + DAY).findings(HOME, &chain);
        assert_eq!(how(&added(""), "CERT-009").is_some(), fires);
        let internal = format!("[[internal_ca]]\nname = \"P\"\nspki = [\"{}\"]\n", spki(&ca.certificate));
        assert_eq!(how(&added(&internal), "CERT-009"), None);
    }
    let chain = Ca::new("Private").chain(&Plan::of(&["www.example.com"]).dates(START - DAY, START + 900 * DAY));
    assert_eq!(how(&Bench::new(&[]).findings(HOME, &chain), "CERT-009"), None);
    let house = "[rules.\"TLSW-CERT-009\"]\nprivate_days = 825\n";
    assert!(how(&Bench::new(&[]).policy(house).findings(HOME, &chain), "CERT-009").is_some());
}

#[test]
fn usage() {
    let ca = Ca::new("Root");
    let made = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = CertificateParams::new(vec!["www.example.com".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "www.example.com");
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2026, 2, 1), rcgen::date_time_ymd(2026, 6, 1));
        change(&mut params);
        ids(&Bench::new(&[&ca]).findings(HOME, &[parse(params.signed_by(&key(), &ca.issuer).unwrap().der())]))
    };
    assert_eq!(made(&|_| ()), NONE);
    assert_eq!(made(&|params| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained)), ["CERT-010"]);
    assert_eq!(made(&|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]), ["CERT-010"]);
    assert_eq!(made(&|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]), NONE);
    assert_eq!(made(&|params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature]), NONE);
}

#[test]
fn timestamps_of_public_certificates() {
    let ca = Ca::new("Root");
    let chain = ca.chain(&Plan::of(&["www.example.com"]));
    let with = |builtin: bool, asked: bool, change: &dyn Fn(&mut Observation)| {
        let bench = Bench::new(&[&ca]);
        let bench = if builtin { bench.public() } else { bench };
        let findings = bench.changed(WWW, &chain, |one| {
            one.handshake.client_hello.as_mut().unwrap().signed_certificate_timestamp = asked;
            change(one);
        });
        ids(&findings)
    };
    assert_eq!(with(true, true, &|_| ()), ["CERT-011"]);
    assert_eq!(with(false, true, &|_| ()), NONE);
    assert_eq!(with(true, false, &|_| ()), NONE);
    assert_eq!(with(true, true, &|one| one.handshake.server_hello.as_mut().unwrap().scts = Some(0..4)), NONE);
    assert_eq!(with(true, true, &|one| one.handshake.ocsp_response = Some(Box::new([0x30]))), NONE);
}

#[test]
fn lists_of_certificates_keys_and_serials() {
    let ca = Ca::new("Root");
    let chain = ca.chain(&Plan::of(&["www.example.com"]));
    let (sha256, key, other) = (chain[0].sha256.to_string(), spki(&chain[0]), "ab".repeat(32));
    let serial = &chain[0].facts.as_deref().unwrap().serial;
    let serial: String = serial.iter().map(|octet| format!("{octet:02x}")).collect();
    let with = |fill: &dyn Fn(&mut Knowledge)| {
        let mut bench = Bench::new(&[&ca]);
        fill(&mut bench.knowledge);
        bench.findings(WWW, &chain)
    };
    let blocked = |list: fn(&str) -> List, text: &str| ids(&with(&|known| known.blocklists = named(list(text))));
    assert_eq!(blocked(List::certificates, &sha256), ["CERT-014"]);
    assert_eq!(blocked(List::keys, &key), ["CERT-014"]);
    assert_eq!(blocked(List::certificates, &other), NONE);
    assert_eq!(blocked(List::serials, &format!("{serial} CN=Root")), ["CERT-013"]);
    assert_eq!(blocked(List::serials, &format!("{serial} CN=Other")), NONE);
    assert_eq!(ids(&with(&|known| known.compromised = named(List::keys(&key)))), ["KEY-006"]);
    assert_eq!(ids(&with(&|known| known.compromised = named(List::keys(&other)))), NONE);
    let indicated = |text: &str| {
        let findings = with(&|known| known.indicators = named(List::indicators(text)));
        how(&findings, "CERT-040").map(|(severity, _)| severity)
    };
    assert_eq!(indicated(&format!("certificate {sha256} bad")), Some(Severity::High));
    assert_eq!(indicated("name www.example.com"), Some(Severity::Medium));
    assert_eq!(indicated("address 203.0.113.0/24"), Some(Severity::Medium));
    assert_eq!(indicated(&format!("certificate {other}\nname example.com\naddress 203.0.114.0/24")), None);
}

#[test]
fn versions_and_ciphers() {
    let ca = Ca::new("Root");
    let chain = ca.chain(&Plan::of(&["www.example.com"]));
    let chosen = |place, version: u16, cipher: u16| {
        let findings = Bench::new(&[&ca]).changed(place, &chain, |one| {
            let hello = one.handshake.server_hello.as_mut().unwrap();
            (hello.legacy_version, hello.cipher_suite) = (version, Some(cipher));
        });
        findings
            .iter()
            .map(|finding| (finding.rule.id.trim_start_matches("TLSW-"), finding.severity))
            .collect::<Vec<_>>()
    };
    assert_eq!(chosen(HOME, 0x0303, 0xc02b), []);
    assert_eq!(chosen(HOME, 0x0300, 0xc02b), [("CRYP-001", Severity::High)]);
    assert_eq!(chosen(WWW, 0x0300, 0xc02b), [("CRYP-001", Severity::Low)]);
    assert_eq!(chosen(HOME, 0x0302, 0xc02b), [("CRYP-001", Severity::Low)]);
    assert_eq!(chosen(HOME, 0x0303, 0x003b), [("CRYP-002", Severity::High)]);
    assert_eq!(chosen(HOME, 0x0303, 0x0005), [("CRYP-002", Severity::Medium)]);
    assert_eq!(chosen(HOME, 0x0303, 0x002f), [("CRYP-002", Severity::Low)]);
    // Export strength that nobody offered is grave everywhere.
    assert_eq!(chosen(WWW, 0x0303, 0x0003), [("CRYP-002", Severity::Critical)]);
}

#[test]
fn groups_and_shares() {
    let ca = Ca::new("Root");
    let group = |prime: &[u8], generator: u8, public: u8| {
        let end = prime.len();
        let findings = Bench::new(&[&ca]).changed(HOME, &[], |one| {
            one.handshake.server_key_exchange = Some(Box::new(ServerKeyExchange {
                params: [prime, &[generator, public]].concat().into(),
                kind: KeyExchange::Dhe { prime: 0..end, generator: end..end + 1, public: end + 1..end + 2 },
                ..ServerKeyExchange::default()
            }));
        });
        how(&findings, "CRYP-004").map(|(severity, _)| severity)
    };
    assert_eq!(group(&[0xff; 256], 2, 9), None);
    assert_eq!(group(&[0xff; 255], 2, 9), Some(Severity::Medium));
    assert_eq!(group(&[0xff; 127], 2, 9), Some(Severity::High));
    assert_eq!(group(&[0xfe; 256], 2, 9), Some(Severity::Critical));
    assert_eq!(group(&[0xff; 256], 1, 9), Some(Severity::Critical));
    assert_eq!(group(&[0xff; 256], 2, 0), Some(Severity::Critical));
    for (group, marked) in [(0x11ec, true), (29, false)] {
        let findings = Bench::new(&[&ca]).changed(HOME, &[], |one| {
            one.handshake.server_hello.as_mut().unwrap().key_share = Some(KeyShare { group, public: 0..0 });
        });
        assert_eq!(how(&findings, "CRYP-011"), marked.then_some((Severity::Low, Effect::Mark)));
    }
}

#[test]
fn weak_keys() {
    let mut leaf = (*Ca::new("Root").leaf(&Plan::of(&["www.example.com"]))).clone();
    let mut with = |place, bits: usize, last: u8, exponent: &[u8]| {
        let key = &mut leaf.facts.as_mut().unwrap().key;
        key.kind = crate::x509::KeyKind::Rsa;
        key.bits = u32::try_from(bits).unwrap();
        // No square, no product of close primes: the octets count down.
        key.modulus = (0..bits / 8).map(|place| 0xff - u8::try_from(place * 7 % 100).unwrap()).collect();
        *key.modulus.last_mut().unwrap() = last;
        key.exponent = exponent.into();
        how(&Bench::new(&[]).findings(place, &[Arc::new(leaf.clone())]), "CRYP-003").map(|(severity, _)| severity)
    };
    assert_eq!(with(HOME, 2_048, 0x0b, &[1, 0, 1]), None);
    assert_eq!(with(HOME, 2_040, 0x0b, &[1, 0, 1]), Some(Severity::Medium));
    assert_eq!(with(WWW, 2_040, 0x0b, &[1, 0, 1]), Some(Severity::Low));
    assert_eq!(with(WWW, 1_016, 0x0b, &[1, 0, 1]), Some(Severity::High));
    assert_eq!(with(WWW, 2_048, 0x0a, &[1, 0, 1]), Some(Severity::High));
    assert_eq!(with(HOME, 2_048, 0x0b, &[1]), Some(Severity::High));
    assert_eq!(with(HOME, 2_048, 0x0b, &[3]), Some(Severity::Low));
}

#[test]
fn wrong_signatures_and_what_they_leak() {
    let ca = Ca::new("Root");
    let chain = ca.chain(&Plan::of(&["www.example.com"]));
    let verdict = |key_exchange, alert: Option<u8>| {
        Bench::new(&[&ca]).changed(WWW, &chain, |one| {
            one.key_exchange = key_exchange;
            let direction = one.handshake.client.unwrap();
            one.handshake.alerts.extend(alert.map(|description| Alert { direction, level: 2, description }));
        })
    };
    let bad = |fault| KeyExchangeVerdict::Bad { fault, signed: Sha256([1; 32]) };
    assert_eq!(ids(&verdict(KeyExchangeVerdict::Good, None)), NONE);
    assert_eq!(ids(&verdict(KeyExchangeVerdict::Unknown("x"), None)), NONE);
    let altered = verdict(bad(KeyExchangeFault::None), Some(51));
    assert_eq!(ids(&altered), ["CRYP-005"]);
    assert!(altered[0].message.contains("altered"), "{}", altered[0].message);
    let leaked = verdict(bad(KeyExchangeFault::Leaked(Sha256([2; 32]))), None);
    assert_eq!(ids(&leaked), ["CRYP-005", "CRYP-006"]);
    assert_eq!(leaked[0].cause, leaked[1].cause);
}

#[test]
fn what_the_policy_asks_of_a_host() {
    let (ca, other) = (Ca::new("Root"), Ca::new("Other"));
    let chain = ca.chain(&Plan::of(&["www.example.com"]).dates(START - DAY, START + 80 * DAY));
    let (leaf, mine, theirs) = (chain[0].sha256.to_string(), spki(&ca.certificate), spki(&other.certificate));
    let with = |line: &str| {
        let policy = format!("[[host]]\nmatch = [\"www.example.com\"]\n{line}\n");
        ids(&Bench::new(&[&ca, &other]).policy(&policy).findings(WWW, &chain))
    };
    for (fires, near, id) in [
        (format!("issuers = [\"{theirs}\"]"), format!("issuers = [\"{mine}\"]"), "POL-001"),
        ("issuer_names = [\"CN=Other\"]".to_owned(), "issuer_names = [\"CN=Root\"]".to_owned(), "POL-001"),
        (format!("certificates = [\"{theirs}\"]"), format!("certificates = [\"{leaf}\"]"), "POL-002"),
        ("key_types = [\"rsa\"]".to_owned(), "key_types = [\"ec\"]".to_owned(), "POL-003"),
        ("min_version = \"1.3\"".to_owned(), "min_version = \"1.2\"".to_owned(), "POL-004"),
        ("places = [\"198.51.100.0/24\"]".to_owned(), "places = [\"203.0.113.0/24\"]".to_owned(), "POL-005"),
        ("max_days = 80".to_owned(), "max_days = 81".to_owned(), "POL-007"),
    ] {
        assert_eq!(with(&fires), [id], "{fires}");
        assert_eq!(with(&near), NONE, "{near}");
    }
}

#[test]
fn certificates_in_the_owners_file() {
    let ca = Ca::new("Root");
    let chain = ca.chain(&Plan::of(&["www.example.com"]));
    let other = [7; 32];
    let policy = "[[host]]\nmatch = [\"www.example.com\"]\ncertificates_file = \"export.json\"\n";
    for (listed, expected) in [(chain[0].sha256.0, &[][..]), (other, &["POL-002"])] {
        let mut bench = Bench::new(&[&ca]).policy(policy);
        let line = bench.knowledge.policy.hosts[0].line;
        bench.knowledge.certificates.insert(line, [listed].into());
        assert_eq!(ids(&bench.findings(WWW, &chain)), expected);
    }
}

#[test]
fn operators_that_caa_names() {
    let made = |organization: &str| {
        let key = key();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, organization);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = parse(params.self_signed(&key).unwrap().der());
        Ca { issuer: rcgen::Issuer::new(params, key), certificate }
    };
    for (organization, domain, allowed) in [
        ("Let's Encrypt", "letsencrypt.org", true),
        ("Internet Security Research Group", "letsencrypt.org", true),
        ("DigiCert Inc", "letsencrypt.org", false),
        ("Example Trust Services", "example.com", true),
        ("Another Operator", "example.com", false),
    ] {
        let ca = made(organization);
        let chain = ca.chain(&Plan::of(&["www.example.com"]));
        let policy = format!("[[host]]\nmatch = [\"www.example.com\"]\ncaa = [\"{domain}\"]\n");
        let found = Bench::new(&[&ca]).policy(&policy).findings(WWW, &chain);
        assert_eq!(how(&found, "POL-001").is_none(), allowed, "{organization} {domain}");
    }
}

#[test]
fn a_key_kept_at_renewal() {
    let ca = Ca::new("Root");
    let (same, new) = (Arc::new(key()), Arc::new(key()));
    let chain = |key| ca.chain(&Plan::of(&["www.example.com"]).keyed(key));
    let (first, second, third) = (chain(&same), chain(&same), chain(&new));
    let policy = "[[host]]\nmatch = [\"www.example.com\"]\nkey_reuse = false\n";
    for (next, expected) in [(&second, &["POL-003"][..]), (&third, &[]), (&first, &[])] {
        let mut bench = Bench::new(&[&ca]).policy(policy);
        let (before, after) = (bench.handshake(WWW, &first), bench.handshake(WWW, next));
        let mut judge = bench.judge();
        assert_eq!(ids(&judge.observe(&before, Timestamp(0))), NONE);
        assert_eq!(ids(&judge.observe(&after, Timestamp(0))), expected);
    }
}

#[test]
fn kinds_of_cas() {
    let ca = Ca::new("Root");
    let internal = ca.chain(&Plan::of(&["wiki.corp.lab"]));
    assert_eq!(ids(&Bench::new(&[&ca]).public().findings(("wiki.corp.lab", HOME.1), &internal)), ["POL-006"]);
    // A root that the owner named counts as public, until the policy says whose it is.
    assert_eq!(ids(&Bench::new(&[&ca]).findings(("wiki.corp.lab", HOME.1), &internal)), ["POL-006"]);
    let policy =
        format!("[[internal_ca]]\nname = \"P\"\nspki = [\"{}\"]\nnames = [\"*.corp.lab\"]\n", spki(&ca.certificate));
    assert_eq!(ids(&Bench::new(&[&ca]).policy(&policy).findings(("wiki.corp.lab", HOME.1), &internal)), NONE);
    let with = |name: &str| {
        let chain = ca.chain(&Plan::of(&[name]));
        ids(&Bench::new(&[]).policy(&policy).findings((name, HOME.1), &chain))
    };
    assert_eq!((with("wiki.corp.lab"), with("www.example.com")), (vec![], vec!["POL-006"]));
}

#[test]
fn the_policy_has_the_last_word() {
    let chain = Ca::new("Private").chain(&Plan::of(&["www.example.com"]));
    let with = |policy: &str| Bench::new(&[]).policy(policy).findings(HOME, &chain);
    assert_eq!(with("[rules.\"TLSW-CERT-005\"]\nenabled = false\n").len(), 0);
    assert_eq!(with("[[severity]]\nrule = \"TLSW-CERT-005\"\nset = 99\n")[0].severity, Severity::Critical);
    let silenced = with("[[suppress]]\nrule = \"untrusted-issuer\"\npermanent = true\nreason = \"lab\"\n");
    assert!(silenced[0].suppressed_by.is_some());
    assert_eq!(with("profile = \"quiet\"\n")[0].effect, Effect::Mark);
}

#[test]
fn the_policy_has_its_word_by_name_and_address() {
    let ca = Ca::new("Private");
    for (asked, hosts, others) in [
        ("www.example.com", &["www.example.com", "*.example.com", "10.0.0.0/8", "*"][..], &["example.com"][..]),
        // Who names no host is known by the address.
        ("", &["10.9.0.9", "10.9.0.9:443", "*"], &["www.example.com", "10.9.0.8"]),
    ] {
        let chain = ca.chain(&Plan::of(&["www.example.com"]));
        let found = |policy: &str| {
            Bench::new(&[]).policy(policy).changed(HOME, &chain, |observation| {
                let name = (!asked.is_empty()).then(|| asked.as_bytes().into());
                observation.handshake.client_hello.as_mut().unwrap().server_name = name;
            })
        };
        for (host, applies) in hosts.iter().map(|host| (host, true)).chain(others.iter().map(|host| (host, false))) {
            let severity = found(&format!("[[severity]]\nrule = \"TLSW-CERT-005\"\nhost = \"{host}\"\nset = 99\n"));
            assert_eq!(how(&severity, "CERT-005").unwrap().0 == Severity::Critical, applies, "{asked} {host}");
            let quiet =
                found(&format!("[[suppress]]\nrule = \"*\"\nhost = \"{host}\"\npermanent = true\nreason = \"lab\"\n"));
            assert_eq!(quiet[0].suppressed_by.is_some(), applies, "{asked} {host}");
        }
    }
}

#[test]
fn revoked_by_a_list_that_the_issuer_signed() {
    let (ca, namesake) = (Ca::new("Root"), Ca::new("Root"));
    let chain = ca.chain(&Plan::of(&["www.example.com"]));
    let serial = chain[0].facts.as_deref().unwrap().serial.to_vec();
    let entry = |serial: &[u8], reason| RevokedCertParams {
        serial_number: SerialNumber::from_slice(serial),
        revocation_time: rcgen::date_time_ymd(2026, 2, 1),
        reason_code: Some(reason),
        invalidity_date: None,
    };
    // The scene is on 2026-03-01.
    let listed = |signer: &Ca, next_month: u8, revoked: RevokedCertParams| {
        let list = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2026, 2, 2),
            next_update: rcgen::date_time_ymd(2026, next_month, 20),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let mut bench = Bench::new(&[&ca]);
        bench.knowledge.crls = Crl::read(list.signed_by(&signer.issuer).unwrap().der()).unwrap();
        let found = bench.findings(WWW, &chain);
        found
            .iter()
            .map(|one| (one.rule.id.trim_start_matches("TLSW-"), one.severity, one.confidence < 90))
            .collect::<Vec<_>>()
    };
    let superseded = || entry(&serial, RevocationReason::Superseded);
    assert_eq!(listed(&ca, 3, superseded()), [("CERT-013", Severity::High, false)]);
    let stolen = entry(&serial, RevocationReason::KeyCompromise);
    assert_eq!(listed(&ca, 3, stolen), [("CERT-013", Severity::Critical, false)]);
    assert_eq!(listed(&ca, 2, superseded()), [("CERT-013", Severity::High, true)], "out of date");
    assert_eq!(listed(&ca, 3, entry(&[7], RevocationReason::Superseded)), [], "another certificate");
    assert_eq!(listed(&namesake, 3, superseded()), [], "not the issuer's signature");
    assert_eq!(listed(&Ca::new("Other"), 3, superseded()), [], "another issuer");
}

#[test]
fn a_name_of_the_certificate_counts_where_the_client_named_no_host() {
    let ca = Ca::new("Root");
    let chain = ca.chain(&Plan::of(&["www.example.com"]));
    let of_certificate = " (a name of its certificate)";
    let told = |change: fn(&mut Observation)| {
        let mut bench = Bench::new(&[&ca]);
        bench.knowledge.indicators = named(List::indicators("name www.example.com"));
        let findings = bench.changed(WWW, &chain, change);
        let found = of(&findings, "CERT-040")?;
        let (message, evidence) = (&found.message, &found.evidence.pro[0].text);
        assert_eq!(
            message.contains(&format!("'www.example.com'{of_certificate} is")),
            evidence.ends_with(of_certificate)
        );
        Some(evidence.ends_with(of_certificate))
    };
    assert_eq!(told(|_| {}), Some(false), "the client asked for it");
    let nameless = |one: &mut Observation| one.handshake.client_hello.as_mut().unwrap().server_name = None;
    assert_eq!(told(nameless), Some(true));
    let other = |one: &mut Observation| {
        one.handshake.client_hello.as_mut().unwrap().server_name = Some(b"api.example.com".as_slice().into());
    };
    assert_eq!(told(other), None, "one certificate may name many hosts");
    assert_eq!(told(|one| one.handshake.client_hello = None), None, "what was not captured may have named any");
}

#[test]
fn indicators_of_every_kind_match_what_they_name() {
    let ca = Ca::new("Root");
    let chain = ca.chain(&Plan::of(&["www.example.com"]));
    let facts = chain[0].facts.as_deref().unwrap();
    let serial: String = facts.serial.iter().map(|octet| format!("{octet:02x}")).collect();
    let observation = Bench::new(&[&ca]).handshake(WWW, &chain);
    let hello = observation.handshake.client_hello.as_deref().unwrap();
    let (ja3, ja4) = (ja3(hello), ja4(hello, observation.handshake.protocol));
    let indicated = |text: &str| {
        let mut bench = Bench::new(&[&ca]);
        bench.knowledge.indicators = named(List::indicators(text));
        how(&bench.findings(WWW, &chain), "CERT-040").map(|(severity, _)| severity)
    };
    for (kind, value, severity) in [
        ("certificate", chain[0].sha256.to_string(), Severity::High),
        ("key", facts.spki_sha256.to_string(), Severity::High),
        ("serial", serial, Severity::High),
        ("ja3", ja3, Severity::Low),
        ("ja4", ja4, Severity::Low),
    ] {
        assert_eq!(indicated(&format!("{kind} {value}")), Some(severity), "{kind}");
        let (start, last) = value.split_at(value.len() - 1);
        let near = if last.eq_ignore_ascii_case("a") { "b" } else { "a" };
        assert_eq!(indicated(&format!("{kind} {start}{near}")), None, "near {kind}");
    }
    // Lists are read without regard to capital letters, and ALPN may have some.
    let mut bench = Bench::new(&[&ca]);
    let mut capital = bench.handshake(WWW, &chain);
    let hello = capital.handshake.client_hello.as_mut().unwrap();
    hello.alpn = vec![b"H2".as_slice().into()].into();
    let ja4 = crate::tls::fingerprint::ja4::ja4(hello, crate::tls::Protocol::Tls);
    assert!(ja4.contains("H2_"), "{ja4}");
    bench.knowledge.indicators = named(List::indicators(&format!("ja4 {ja4}")));
    assert!(how(&bench.judge().observe(&capital, Timestamp(0)), "CERT-040").is_some());
}

/// Primes of 256 bits: 2^256 - 189, 2^256 - 357, 2^256 - 435.
const PRIMES: [u32; 3] = [189, 357, 435];

fn prime(below: u32) -> BigUint {
    (BigUint::from(1_u32) << 256) - below
}

/// A leaf with another RSA modulus; the key's hash follows it.
fn with_modulus(leaf: &Certificate, modulus: &BigUint) -> Arc<Certificate> {
    let mut leaf = leaf.clone();
    let facts = leaf.facts.as_mut().unwrap();
    facts.key.kind = crate::x509::KeyKind::Rsa;
    facts.key.modulus = modulus.to_bytes_be().into();
    facts.key.bits = u32::try_from(modulus.bits()).unwrap();
    facts.key.exponent = Box::new([1, 0, 1]);
    facts.spki_sha256 = Sha256(sha2::Sha256::digest(&facts.key.modulus).into());
    Arc::new(leaf)
}

#[test]
fn keys_that_anybody_can_factor() {
    let leaf = Ca::new("Root").leaf(&Plan::of(&["www.example.com"]));
    let with = |modulus: &BigUint| {
        let findings = Bench::new(&[]).findings(WWW, &[with_modulus(&leaf, modulus)]);
        let of_keys = ids(&findings).into_iter().filter(|id| matches!(*id, "CRYP-008" | "CRYP-009"));
        of_keys.collect::<Vec<_>>()
    };
    assert_eq!(with(&(prime(PRIMES[0]) * prime(PRIMES[1]))), ["CRYP-009"]);
    let far = (BigUint::from(1_u32) << 255) - 19_u32;
    assert_eq!(with(&(prime(PRIMES[0]) * far)), NONE);
    // Modulo each odd prime up to 167 a power of 65537, as the chips of CVE-2017-15361 make them.
    let is_prime = |number: &u32| (2..*number).all(|divisor| !number.is_multiple_of(divisor));
    let product = (3_u32..168).filter(is_prime).fold(BigUint::from(2_u32), |product, prime| product * prime);
    let power = BigUint::from(65_537_u32).modpow(&BigUint::from(4_711_u32), &product);
    let form = (BigUint::from(99_991_u32) << 400) * &product + power;
    assert_eq!(with(&form), ["CRYP-008"]);
    assert_eq!(with(&(form + 4_u32)), NONE);
}

#[test]
fn primes_that_two_keys_share() {
    let leaf = Ca::new("Root").leaf(&Plan::of(&["www.example.com"]));
    let far = (BigUint::from(1_u32) << 255) - 19_u32;
    let [first, second, third] = PRIMES.map(prime);
    let shared = [&first * &far, &second * &far];
    for (moduli, guilty) in
        [(shared.clone(), 2), ([&first * &far, &second * &third], 0), ([&first * &far, &first * &far], 0)]
    {
        let mut bench = Bench::new(&[]);
        let observations = moduli.map(|modulus| bench.handshake(WWW, &[with_modulus(&leaf, &modulus)]));
        let mut judge = bench.judge();
        for observation in &observations {
            judge.observe(observation, Timestamp(0));
        }
        let found = judge.finish();
        assert_eq!((found.len(), found.iter().all(|one| one.rule.id == "TLSW-KEY-007")), (guilty, true));
        assert!(found.iter().all(|one| one.evidence.proofs.len() == 1), "the other one");
    }
}

#[test]
fn internal_names_and_addresses_of_public_cas() {
    let ca = Ca::new("Root");
    let with = |name: &str| {
        let chain = ca.chain(&Plan::of(&["www.example.com", name]));
        ids(&Bench::new(&[&ca]).public().findings(WWW, &chain))
    };
    for name in ["10.1.2.3", "192.168.0.1", "fd00::1", "127.0.0.1", "mail", "nas.lan"] {
        assert_eq!(with(name), ["POL-006"], "{name}");
    }
    for name in ["203.0.113.9", "2001:db8::1", "172.32.0.1", "mail.example.com"] {
        assert_eq!(with(name), NONE, "{name}");
    }
    // A private CA may sign what it likes.
    let chain = ca.chain(&Plan::of(&["www.example.com", "10.1.2.3"]));
    assert_eq!(how(&Bench::new(&[]).findings(WWW, &chain), "POL-006"), None);
}
