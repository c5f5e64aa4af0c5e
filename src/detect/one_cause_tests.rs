//! What is wrong with a certificate is one cause at all hosts that show it or stand below it; what is wrong with its use at
//! a host is the host's own.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyUsagePurpose,
    NameConstraints,
};

use super::finding::Finding;
use super::judge_tests::{Bench, named};
use super::lists::List;
use super::testing::{Ca, DAY, Plan, START, ids};
use crate::time::Timestamp;
use crate::x509::Certificate;

const HOSTS: [(&str, &str); 3] =
    [("www.example.com", "203.0.113.10"), ("mail.example.net", "203.0.113.11"), ("wiki.example.org", "10.9.0.9")];

/// What is said of a rule at three hosts below the same CAs, each seen twice.
fn told(root: &Ca, issuer: &Ca, rule: &str) -> Vec<Finding> {
    told_by(Bench::new(&[root]), issuer, rule)
}

fn told_by(mut bench: Bench, issuer: &Ca, rule: &str) -> Vec<Finding> {
    let chains = HOSTS.map(|(name, _)| vec![issuer.leaf(&Plan::of(&[name])), Arc::clone(&issuer.certificate)]);
    let mut shown = Vec::new();
    for (place, chain) in HOSTS.iter().zip(&chains).chain(HOSTS.iter().zip(&chains)) {
        shown.push(bench.handshake(*place, chain));
    }
    let mut judge = bench.judge();
    let found = shown.iter().flat_map(|one| judge.observe(one, Timestamp(0)));
    found.filter(|finding| finding.rule.id.ends_with(rule)).collect()
}

/// The same alert at all hosts, which names this.
fn assert_one(found: &[Finding], named: &str) {
    assert_eq!(found.len(), 2 * HOSTS.len());
    let id = found.first().unwrap().cause.alert_id();
    for finding in found {
        assert_eq!(finding.cause.alert_id(), id, "{}", finding.message);
        assert!(finding.message.contains(named), "{}", finding.message);
        assert_eq!(finding.id.unwrap_or(id), id);
    }
    let hosts: std::collections::BTreeSet<_> = found.iter().map(|finding| &finding.host).collect();
    assert_eq!(hosts.len(), HOSTS.len(), "each finding names its host");
}

/// The leaf of all three hosts has this fault.
#[test]
fn a_leaf_of_many_hosts_is_one_cause() {
    let root = Ca::new("Root");
    let names = HOSTS.map(|(name, _)| name);
    for (rule, plan, per_host) in [
        ("CERT-001", Plan::of(&names).dates(START - 90 * DAY, START - DAY), false),
        ("CERT-002", Plan::of(&names).dates(START - 90 * DAY, START + DAY), false),
        ("CERT-003", Plan::of(&names).dates(START + DAY, START + 90 * DAY), false),
        ("CERT-004", Plan::of(&["other.example"]), true),
        ("CERT-009", Plan::of(&names).dates(START - DAY, START + 900 * DAY), false),
    ] {
        let chain = [root.leaf(&plan), Arc::clone(&root.certificate)];
        let mut bench = Bench::new(&[&root]);
        let shown = HOSTS.map(|place| bench.handshake(place, &chain));
        let mut judge = bench.judge();
        let found: Vec<_> = shown.iter().flat_map(|one| judge.observe(one, Timestamp(0))).collect();
        let causes: std::collections::BTreeSet<_> =
            found.iter().filter(|one| one.rule.id.ends_with(rule)).map(|one| one.cause.alert_id()).collect();
        assert_eq!(causes.len(), if per_host { HOSTS.len() } else { 1 }, "{rule}");
        assert_eq!(found.iter().filter(|one| one.rule.id.ends_with(rule)).count(), HOSTS.len(), "{rule}");
    }
}

fn changed(change: impl FnOnce(&mut CertificateParams)) -> (Ca, Ca) {
    let root = Ca::new("Root");
    let issuer = root.intermediate_with("Issuing CA", change);
    (root, issuer)
}

#[test]
fn a_ca_that_expired_is_one_cause() {
    let ended = rcgen::date_time_ymd(2026, 2, 28);
    let (root, issuer) = changed(|params| params.not_after = ended);
    assert_one(&told(&root, &issuer, "CERT-001"), "a certificate whose CA 'CN=Issuing CA' expired on 2026-02-28");
    assert_eq!(told(&root, &root.intermediate("Issuing CA"), "CERT-001").len(), 0);
}

#[test]
fn a_ca_that_may_not_sign_is_one_cause() {
    let (root, issuer) = changed(|params| params.key_usages = vec![KeyUsagePurpose::CrlSign]);
    assert_one(&told(&root, &issuer, "CERT-010"), "the key of 'CN=Issuing CA' is not for signing certificates");
    let (root, issuer) = changed(|params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign]);
    assert_eq!(told(&root, &issuer, "CERT-010").len(), 0);
}

#[test]
fn who_signs_without_being_a_ca_is_one_cause() {
    let (root, issuer) = changed(|params| params.is_ca = IsCa::ExplicitNoCa);
    assert_one(&told(&root, &issuer, "CERT-010"), "'CN=Issuing CA' is no CA");
}

#[test]
fn a_ca_below_a_path_length_constraint_is_one_cause() {
    let root = Ca::new("Root");
    for (length, fires) in [(0, true), (1, false)] {
        let upper = root.intermediate_with("Upper CA", |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(length));
        });
        let issuer = upper.intermediate("Issuing CA");
        let mut bench = Bench::new(&[&root]);
        let mut shown = Vec::new();
        for place in HOSTS {
            let leaf = issuer.leaf(&Plan::of(&[place.0]));
            let chain = [leaf, Arc::clone(&issuer.certificate), Arc::clone(&upper.certificate)];
            shown.push(bench.handshake(place, &chain));
        }
        let mut judge = bench.judge();
        let found: Vec<_> = shown.iter().flat_map(|one| judge.observe(one, Timestamp(0))).collect();
        assert_eq!(found.len(), if fires { HOSTS.len() } else { 0 });
        for finding in &found {
            assert_eq!(finding.cause, found[0].cause);
            let said = "more CAs follow than the path length constraint of 'CN=Upper CA' allows";
            assert!(finding.message.contains(said), "{}", finding.message);
        }
    }
}

#[test]
fn a_ca_beyond_its_names_or_purposes_is_one_cause() {
    let names = |domain: &str| NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName(domain.to_owned())],
        excluded_subtrees: Vec::new(),
    };
    let (root, issuer) = changed(|params| params.name_constraints = Some(names("internal.example")));
    assert_one(&told(&root, &issuer, "CERT-010"), "a name is outside of the name constraints of 'CN=Issuing CA'");
    let (root, issuer) = changed(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning]);
    assert_one(&told(&root, &issuer, "CERT-010"), "the extended key usage of 'CN=Issuing CA' is not for servers");
    let (root, issuer) = changed(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    assert_eq!(told(&root, &issuer, "CERT-010").len(), 0);
}

/// A fault of a leaf under a faulty CA is told beside that of the CA, each with its own cause.
#[test]
fn leaf_and_ca_are_told_apart() {
    let (root, issuer) = changed(|params| params.key_usages = vec![KeyUsagePurpose::CrlSign]);
    let mut params = Plan::of(&["www.example.com"]).params();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection];
    let leaf = params.signed_by(&super::testing::key(), &issuer.issuer).unwrap();
    let chain = [Arc::new(Certificate::parse(leaf.der())), Arc::clone(&issuer.certificate)];
    let found = Bench::new(&[&root]).findings(HOSTS[0], &chain);
    assert_eq!(ids(&found), ["CERT-010"]);
    let messages: Vec<_> = found.iter().map(|finding| finding.message.split(": ").last().unwrap()).collect();
    let said =
        ["the extended key usage is not for servers.", "the key of 'CN=Issuing CA' is not for signing certificates."];
    assert_eq!(messages, said);
    assert_ne!(found[0].cause, found[1].cause);
}

#[test]
fn a_ca_in_a_list_is_one_cause() {
    let (root, issuer) = changed(|_| ());
    let sha256 = issuer.certificate.sha256.to_string();
    let listed = |text: &str| {
        let mut bench = Bench::new(&[&root]);
        bench.knowledge.blocklists = named(List::certificates(text));
        bench
    };
    let found = told_by(listed(&format!("{sha256} stolen")), &issuer, "CERT-014");
    assert_one(&found, "a chain with the CA 'CN=Issuing CA', which stands in a block list: ");
    assert_eq!(told_by(listed(""), &issuer, "CERT-014").len(), 0);
}
