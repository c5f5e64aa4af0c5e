//! Who has the key of any certificate can sign another one, for any name. Some clients do not look whether the issuer is a
//! CA (CVE-2002-0862, CVE-2011-0228); nothing that is trusted above such an issuer answers for what it signs.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyUsagePurpose,
    NameConstraints, SanType,
};

use super::alerts::When;
use super::catalogue::{Effect, Severity};
use super::finding::{Cause, Finding};
use super::judge::Judge;
use super::judge_tests::{Bench, NONE, WWW, how, spki};
use super::observation::Observation;
use super::testing::{Ca, DAY, Plan, ids, of};
use super::watch::Watch;
use crate::x509::Certificate;
use crate::x509::chain::SignatureMemo;

const NAME: &str = WWW.0;
const VICTIM: &str = "10.7.7.7";

type Chain = Vec<Arc<Certificate>>;

/// The certificate of somebody's site, and the key with it.
fn stranger(root: &Ca) -> Ca {
    signer(root, |params| params.is_ca = IsCa::NoCa)
}

fn signer(root: &Ca, change: impl FnOnce(&mut CertificateParams)) -> Ca {
    root.intermediate_with("shop.example.net", |params| {
        params.subject_alt_names = vec![SanType::DnsName("shop.example.net".try_into().unwrap())];
        change(params);
    })
}

/// What a CA or who plays one made for this name, without the root.
fn chain(by: &Ca, name: &str) -> Chain {
    by.chain(&Plan::of(&[name]))
}

/// What is found of the last of these handshakes; twenty days before it comes the genuine chain, if there is one.
fn found((root, policy): (&Ca, &str), genuine: Option<&Chain>, forged: &[(&str, &Chain)]) -> Vec<Finding> {
    let mut bench = Bench::new(&[root]);
    if !policy.is_empty() {
        bench = bench.policy(policy);
    }
    let mut seen: Vec<Observation> = Vec::new();
    let mut show = |bench: &mut Bench, (name, client): (&str, &str), chain: &Chain| {
        bench.scene.now += 60;
        let mut observation = bench.handshake((name, WWW.1), chain);
        observation.ends.client.address = client.parse().unwrap();
        seen.push(observation);
    };
    for visit in 0..40 {
        if let Some(genuine) = genuine {
            show(&mut bench, (NAME, &format!("10.1.{}.{visit}", visit % 4)), genuine);
            bench.scene.now += DAY / 2;
        }
    }
    for (name, chain) in forged {
        show(&mut bench, (name, VICTIM), chain);
    }
    let mut judge = judge_of(bench);
    let mut found = Vec::new();
    for observation in &seen {
        let clock = observation.handshake.first.order.clock;
        found.extend(judge.advance(clock));
        found.extend(judge.observe(observation, clock));
    }
    found.extend(judge.finish());
    found.retain(|finding| finding.ends.is_none_or(|ends| ends.client.address.to_string() == VICTIM));
    found
}

fn judge_of(bench: Bench) -> Judge {
    let mut knowledge = bench.knowledge;
    knowledge.anchors = Arc::clone(&bench.scene.anchors);
    knowledge.builtin = (*bench.scene.anchors).clone();
    let watch = Watch::new(Arc::clone(&knowledge.anchors), 1_000);
    let mut judge = Judge::new(Arc::new(knowledge), Arc::new(SignatureMemo::new(1 << 20)), (1 << 20, true));
    judge.hold_open_chains(When::AtEnd);
    judge.add(Box::new(watch));
    judge
}

fn alerts(found: &[Finding]) -> Vec<&'static str> {
    let alerts: Vec<Finding> = found.iter().filter(|one| one.effect == Effect::Alert).cloned().collect();
    ids(&alerts)
}

#[test]
fn a_certificate_by_no_ca_is_a_forgery() {
    let root = Ca::new("Public Root");
    let forged = chain(&stranger(&root), NAME);
    let genuine = chain(&root.intermediate("Issuing CA"), NAME);
    let key = forged[1].facts.as_deref().unwrap().spki_sha256;
    for known in [None, Some(&genuine)] {
        let found = found((&root, ""), known, &[(NAME, &forged)]);
        let told = of(&found, "CERT-010").unwrap();
        assert_eq!((told.severity, told.effect), (Severity::High, Effect::Alert));
        assert_eq!(told.cause, Cause::IssuerKey(key), "one cause with all that this key signed");
        let end = "a chain with an issuer that may not sign it: 'CN=shop.example.net' is no CA.";
        assert!(told.message.ends_with(end), "{}", told.message);
        assert_eq!(told.evidence.proofs[0].id, "no_ca");
        // Where the genuine one is known, the change is told too, as that to an issuer that nobody trusts.
        let change = of(&found, "MITM-002");
        assert_eq!(change.is_some(), known.is_some());
        if let Some(change) = change {
            assert_eq!((change.severity, &change.cause), (Severity::High, &told.cause), "{}", change.message);
            assert!(change.evidence.pro.iter().any(|point| point.id == "H1"));
            assert!(change.message.contains("(not trusted)"), "{}", change.message);
        }
    }
    // A CA may.
    let other = chain(&signer(&root, |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)), NAME);
    assert_eq!(alerts(&found((&root, ""), Some(&genuine), &[(NAME, &other)])), NONE);
}

#[test]
fn a_ca_that_no_ca_made_is_none() {
    let root = Ca::new("Public Root");
    let stranger = stranger(&root);
    let made_up = stranger.intermediate("Issuing CA");
    let mut forged = chain(&made_up, NAME);
    forged.push(Arc::clone(&stranger.certificate));
    let genuine = chain(&root.intermediate("Issuing CA"), NAME);
    let found = found((&root, ""), Some(&genuine), &[(NAME, &forged)]);
    let key = made_up.certificate.facts.as_deref().unwrap().spki_sha256;
    for rule in ["CERT-010", "MITM-002"] {
        let told = of(&found, rule).unwrap();
        assert_eq!((told.severity, &told.cause), (Severity::High, &Cause::IssuerKey(key)), "{}", told.message);
    }
}

#[test]
fn what_ones_own_ca_did_not_allow_is_nobodys() {
    let root = Ca::new("Public Root");
    let genuine = chain(&root.intermediate("Issuing CA"), NAME);
    let subtrees = |names: &[&str]| names.iter().map(|name| GeneralSubtree::DnsName((*name).to_owned())).collect();
    let limited = |permitted: &[&str]| {
        let name_constraints =
            NameConstraints { permitted_subtrees: subtrees(permitted), excluded_subtrees: Vec::new() };
        signer(&root, |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.name_constraints = Some(name_constraints);
        })
    };
    let short = signer(&root, |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let usage = |purpose: KeyUsagePurpose| {
        signer(&root, |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![purpose];
        })
    };
    let below = short.intermediate("Lower CA");
    let mut long = chain(&below, NAME);
    long.push(Arc::clone(&short.certificate));
    for (forged, told) in [
        (chain(&limited(&["example.net"]), NAME), true),
        (chain(&limited(&["example.com"]), NAME), false),
        (long, true),
        (chain(&short, NAME), false),
        (chain(&usage(KeyUsagePurpose::CrlSign), NAME), true),
        (chain(&usage(KeyUsagePurpose::KeyCertSign), NAME), false),
    ] {
        let found = found((&root, ""), Some(&genuine), &[(NAME, &forged)]);
        let change = of(&found, "MITM-002").map(|change| change.severity);
        assert_eq!(change, told.then_some(Severity::High));
        // It may be a mistake of the CA: the chain is told for what it is.
        let usage = how(&found, "CERT-010").map(|(severity, _)| severity);
        assert_eq!(usage, told.then_some(Severity::Low));
    }
}

#[test]
fn what_the_policy_allows_ends_where_somebody_signed_who_must_not() {
    let root = Ca::new("Public Root");
    let genuine = root.intermediate("Issuing CA");
    let forged = {
        let stranger = stranger(&genuine);
        let mut chain = chain(&stranger, NAME);
        chain.push(Arc::clone(&genuine.certificate));
        chain
    };
    let own = spki(&genuine.certificate);
    let with = |policy: &str, shown: &Chain| alerts(&found((&root, policy), None, &[(NAME, shown)]));
    let entry = |line: &str| format!("[[host]]\nmatch = [\"{NAME}\"]\n{line}\n");
    for (line, rules) in [
        (entry(&format!("pins = [\"{own}\"]")), vec!["CERT-010", "MITM-001"]),
        (entry(&format!("issuers = [\"{own}\"]")), vec!["CERT-010", "MITM-001", "POL-001"]),
        (entry("issuer_names = [\"CN=Issuing CA\"]"), vec!["CERT-010", "MITM-001", "POL-001"]),
    ] {
        assert_eq!(with(&line, &forged), rules, "{line}");
        assert_eq!(with(&line, &chain(&genuine, NAME)), NONE, "{line}");
    }
}

#[test]
fn who_has_a_certificate_of_ones_own_ca_is_not_that_ca() {
    let private = Ca::new("Our Root");
    let policy = format!("[[internal_ca]]\nname = \"ours\"\nspki = [\"{}\"]\n", spki(&private.certificate));
    let elsewhere = Ca::new("Public Root");
    let with_root = |by: &Ca| {
        let mut chain = chain(by, NAME);
        chain.push(Arc::clone(&private.certificate));
        chain
    };
    let genuine = with_root(&private.intermediate("Issuing CA"));
    let forged = with_root(&stranger(&private));
    let told = found((&elsewhere, &policy), Some(&genuine), &[(NAME, &forged)]);
    assert_eq!(how(&told, "MITM-002").unwrap().0, Severity::High);
    assert!(of(&told, "CERT-005").is_some(), "nobody that is trusted signed it");
    // An own CA that does not say that it is one is sloppy, and known by its key.
    let sloppy = private.intermediate_with("Issuing CA", |params| params.is_ca = IsCa::ExplicitNoCa);
    let policy = format!("[[internal_ca]]\nname = \"ours\"\nspki = [\"{}\"]\n", spki(&sloppy.certificate));
    let told = found((&elsewhere, &policy), Some(&with_root(&sloppy)), &[(NAME, &with_root(&sloppy))]);
    assert!(of(&told, "CERT-005").is_none() && of(&told, "MITM-002").is_none());
    assert_eq!(how(&told, "CERT-010").unwrap().0, Severity::Low);
}

#[test]
fn a_forger_of_many_names_is_an_interception_ca() {
    let root = Ca::new("Public Root");
    let stranger = stranger(&root);
    let names = ["google.com", "facebook.com", "amazon.com", "apple.com", "microsoft.com", "example.com"];
    let chains: Vec<(&str, Chain)> = names.iter().map(|name| (*name, chain(&stranger, name))).collect();
    let forged: Vec<(&str, &Chain)> = chains.iter().map(|(name, chain)| (*name, chain)).collect();
    let found = found((&root, ""), None, &forged);
    let told = of(&found, "MITM-007").unwrap();
    assert_eq!(told.cause, of(&found, "CERT-010").unwrap().cause);
}

/// A CA for mail, say.
fn limited(root: &Ca, purposes: &[ExtendedKeyUsagePurpose]) -> Ca {
    root.intermediate_with("Mail CA", |params| params.extended_key_usages = purposes.to_vec())
}

/// What such a CA signs is told once, with all else that its key does.
#[test]
fn a_ca_that_is_not_for_servers_is_none_for_them() {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, EmailProtection, Other, ServerAuth};
    let root = Ca::new("Public Root");
    let genuine = chain(&root.intermediate("Issuing CA"), NAME);
    let mail = limited(&root, &[EmailProtection, ClientAuth]);
    let forged = chain(&mail, NAME);
    let key = forged[1].facts.as_deref().unwrap().spki_sha256;
    for known in [None, Some(&genuine)] {
        let found = found((&root, ""), known, &[(NAME, &forged)]);
        assert_eq!(found.iter().filter(|one| one.rule.id.ends_with("CERT-010")).count(), 1);
        let told = of(&found, "CERT-010").unwrap();
        assert_eq!((told.severity, told.effect), (Severity::High, Effect::Alert));
        assert_eq!(told.cause, Cause::IssuerKey(key));
        let end = "may not sign it: the extended key usage of 'CN=Mail CA' is not for servers.";
        assert!(told.message.ends_with(end), "{}", told.message);
        assert_eq!(told.evidence.proofs.iter().map(|point| point.id).collect::<Vec<_>>(), ["ca_purpose"]);
        let change = of(&found, "MITM-002");
        assert_eq!(change.is_some(), known.is_some());
        if let Some(change) = change {
            assert_eq!((change.severity, &change.cause), (Severity::High, &told.cause), "{}", change.message);
            assert!(change.message.contains("(not trusted)"), "{}", change.message);
        }
    }
    // A CA below it is no better; one that is for servers, too, in new or old words, is one.
    let below = mail.intermediate("Lower CA");
    let mut long = chain(&below, NAME);
    long.push(Arc::clone(&mail.certificate));
    let long = found((&root, ""), Some(&genuine), &[(NAME, &long)]);
    for rule in ["CERT-010", "MITM-002"] {
        let told = of(&long, rule).unwrap();
        let lower = below.certificate.facts.as_deref().unwrap().spki_sha256;
        assert_eq!((told.severity, &told.cause), (Severity::High, &Cause::IssuerKey(lower)), "{}", told.message);
    }
    for purposes in [
        vec![EmailProtection, ServerAuth],
        vec![Any],
        vec![Other(vec![2, 16, 840, 1, 113_730, 4, 1])],
        vec![ClientAuth, Other(vec![1, 3, 6, 1, 4, 1, 311, 10, 3, 3])],
    ] {
        let other = chain(&limited(&root, &purposes), NAME);
        assert_eq!(alerts(&found((&root, ""), Some(&genuine), &[(NAME, &other)])), NONE, "{purposes:?}");
    }
}

/// Whoever shows a certificate for mail as that of a server has forged none.
#[test]
fn a_leaf_that_is_not_for_servers_either_is_misused() {
    let root = Ca::new("Public Root");
    let mail = limited(&root, &[ExtendedKeyUsagePurpose::EmailProtection]);
    let mut params = Plan::of(&[NAME]).params();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection];
    let leaf = params.signed_by(&super::testing::key(), &mail.issuer).unwrap();
    let shown = vec![Arc::new(Certificate::parse(leaf.der())), Arc::clone(&mail.certificate)];
    let found = found((&root, ""), None, &[(NAME, &shown)]);
    let told: Vec<_> = found.iter().filter(|one| one.rule.id.ends_with("CERT-010")).collect();
    assert_eq!(told.iter().map(|one| one.severity).collect::<Vec<_>>(), [Severity::Low; 2], "the leaf and the CA");
    assert!(told.iter().all(|one| one.evidence.proofs.is_empty()));
}

#[test]
fn what_the_policy_allows_ends_at_a_ca_that_is_not_for_servers() {
    let root = Ca::new("Public Root");
    let upper = root.intermediate("Upper CA");
    let mail = limited(&upper, &[ExtendedKeyUsagePurpose::EmailProtection]);
    let mut forged = chain(&mail, NAME);
    forged.push(Arc::clone(&upper.certificate));
    let own = spki(&upper.certificate);
    let with = |policy: &str, shown: &Chain| alerts(&found((&root, policy), None, &[(NAME, shown)]));
    let entry = |line: &str| format!("[[host]]\nmatch = [\"{NAME}\"]\n{line}\n");
    for (line, rules) in [
        (entry(&format!("pins = [\"{own}\"]")), vec!["CERT-010", "MITM-001"]),
        (entry(&format!("issuers = [\"{own}\"]")), vec!["CERT-010", "MITM-001", "POL-001"]),
        (entry("issuer_names = [\"CN=Upper CA\"]"), vec!["CERT-010", "MITM-001", "POL-001"]),
        // Who names the CA itself knows what it is.
        (entry(&format!("pins = [\"{}\"]", spki(&mail.certificate))), vec!["CERT-010"]),
    ] {
        assert_eq!(with(&line, &forged), rules, "{line}");
        assert!(!with(&line, &chain(&upper, NAME)).contains(&"CERT-010"), "{line}");
    }
}

/// A private CA with the wrong purposes is sloppy, as one without the flag of a CA: low, and known by its key.
#[test]
fn ones_own_ca_with_the_wrong_purposes_is_sloppy() {
    let private = Ca::new("Our Root");
    let elsewhere = Ca::new("Public Root");
    let sloppy = limited(&private, &[ExtendedKeyUsagePurpose::ClientAuth]);
    let mut shown = chain(&sloppy, NAME);
    shown.push(Arc::clone(&private.certificate));
    for (key, untrusted) in [(spki(&private.certificate), true), (spki(&sloppy.certificate), false)] {
        let policy = format!("[[internal_ca]]\nname = \"ours\"\nspki = [\"{key}\"]\n");
        let told = found((&elsewhere, &policy), Some(&shown), &[(NAME, &shown)]);
        assert_eq!(of(&told, "CERT-005").is_some(), untrusted);
        assert!(of(&told, "MITM-002").is_none(), "it was always so");
        assert_eq!(how(&told, "CERT-010").unwrap().0, Severity::Low);
    }
}

/// Who forges with the key of a CA for mail is an interception CA as any other.
#[test]
fn a_ca_for_mail_that_signs_for_many_names_is_an_interception_ca() {
    let root = Ca::new("Public Root");
    let mail = limited(&root, &[ExtendedKeyUsagePurpose::EmailProtection]);
    let names = ["google.com", "facebook.com", "amazon.com", "apple.com", "microsoft.com", "example.com"];
    let chains: Vec<(&str, Chain)> = names.iter().map(|name| (*name, chain(&mail, name))).collect();
    let forged: Vec<(&str, &Chain)> = chains.iter().map(|(name, chain)| (*name, chain)).collect();
    let found = found((&root, ""), None, &forged);
    assert_eq!(of(&found, "MITM-007").unwrap().cause, of(&found, "CERT-010").unwrap().cause);
}
