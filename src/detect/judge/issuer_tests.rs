//! Issuers that come from the pool: what keeps a place there, and what is said when one comes late.

use std::sync::Arc;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose};

use super::Judge;
use crate::detect::alerts::When;
use crate::detect::catalogue::UNTRUSTED_ISSUER;
use crate::detect::finding::{Cause, Finding};
use crate::detect::judge_tests::{Bench, NONE, spki};
use crate::detect::testing::{Ca, Plan, ids, of};
use crate::detect::watch::Watch;
use crate::x509::Certificate;

/// More than the pool holds of one name.
const NAMESAKES: usize = 40;
const HOST: &str = "www.example.com";

fn judge(bench: Bench) -> Judge {
    let anchors = Arc::clone(&bench.knowledge.anchors);
    let mut judge = bench.judge();
    judge.hold_open_chains(When::AtEnd);
    judge.add(Box::new(Watch::new(anchors, 1_000)));
    judge
}

fn show(judge: &mut Judge, bench: &mut Bench, (host, chain): (&str, &[Arc<Certificate>])) -> Vec<Finding> {
    bench.scene.now += 1;
    let observation = bench.handshake((host, "203.0.113.10"), chain);
    judge.observe(&observation, observation.handshake.first.order.clock)
}

/// A leaf that no key identifier ties to its issuer.
fn untied(by: &Ca, host: &str) -> Arc<Certificate> {
    by.leaf(&Plan { authority: false, ..Plan::of(&[host]) })
}

fn key(ca: &Ca) -> crate::x509::Sha256 {
    ca.certificate.facts.as_ref().unwrap().spki_sha256
}

/// Somebody shows all of these.
fn shown_by_a_stranger(judge: &mut Judge, bench: &mut Bench, cas: &[&Ca]) -> Vec<Finding> {
    let mut chain = Ca::new("Other").chain(&Plan::of(&["other.example"]));
    chain.extend(cas.iter().map(|ca| Arc::clone(&ca.certificate)));
    show(judge, bench, ("other.example", &chain))
}

/// A CA that came between its namesakes, of which the pool holds few, is there again for all that waited for it.
#[test]
fn an_issuer_that_namesakes_pushed_out_is_put_back() {
    let root = Ca::new("Root");
    let late = root.intermediate("Late");
    let namesakes: Vec<Ca> = (0..NAMESAKES).map(|_| Ca::new("Late")).collect();
    let all: Vec<&Ca> = std::iter::once(&late).chain(&namesakes).collect();
    for trusted in [true, false] {
        let mut bench = Bench::new(&[]);
        let mut judge = judge(if trusted { Bench::new(&[&root]) } else { Bench::new(&[]) });
        let hosts: Vec<String> = (0..30).map(|number| format!("www.host{number}.example")).collect();
        for host in &hosts {
            assert_eq!(ids(&show(&mut judge, &mut bench, (host, &[untied(&late, host)]))), NONE, "it waits");
        }
        shown_by_a_stranger(&mut judge, &mut bench, &all);
        for _ in 0..NAMESAKES {
            show(&mut judge, &mut bench, ("other.example", &Ca::new("Other").chain(&Plan::of(&["other.example"]))));
        }
        let named = judge.pool.named(&late.certificate.facts.as_ref().unwrap().subject.normalized);
        assert!(named.len() < all.len());
        assert_eq!(judge.pool.is_proven(&late.certificate.sha256), trusted);
        assert!(named.iter().any(|one| one.sha256 == late.certificate.sha256));
        let found = judge.finish();
        let untrusted = found.iter().filter(|one| one.rule == &UNTRUSTED_ISSUER);
        let causes: Vec<&Cause> =
            untrusted.map(|one| &one.cause).filter(|cause| **cause == Cause::IssuerKey(key(&late))).collect();
        assert_eq!(causes.len(), if trusted { 0 } else { hosts.len() });
    }
}

/// The same where its turn does not come before the end.
#[test]
fn an_issuer_that_was_pushed_out_counts_at_the_end() {
    let lost = Ca::new("Lost");
    let late = Ca::new("Late");
    let namesakes: Vec<Ca> = (0..NAMESAKES).map(|_| Ca::new("Late")).collect();
    let all: Vec<&Ca> = [&lost, &late].into_iter().chain(&namesakes).collect();
    let mut bench = Bench::new(&[]);
    let mut judge = judge(Bench::new(&[]));
    for number in 0..150 {
        let host = format!("www.host{number}.example");
        show(&mut judge, &mut bench, (&host, &[untied(&lost, &host)]));
    }
    let host = "late.example";
    show(&mut judge, &mut bench, (host, &[untied(&late, host)]));
    shown_by_a_stranger(&mut judge, &mut bench, &all);
    let named = judge.pool.named(&late.certificate.facts.as_ref().unwrap().subject.normalized);
    assert!(named.iter().all(|one| one.sha256 != late.certificate.sha256), "it was pushed out");
    let found = judge.finish();
    let of_late = |one: &&Finding| one.rule == &UNTRUSTED_ISSUER && one.cause == Cause::IssuerKey(key(&late));
    assert_eq!(found.iter().filter(of_late).count(), 1);
}

/// Who has any certificate can make CAs without end: none of them keeps its place before others.
#[test]
fn only_what_cas_made_is_proven() {
    let root = Ca::new("Root");
    let stranger = root.intermediate_with("shop.example.net", |params| params.is_ca = IsCa::NoCa);
    let mail = root.intermediate_with("Mail CA", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection];
    });
    for (signer, proven) in [(&stranger, false), (&mail, false), (&root.intermediate("Upper CA"), true)] {
        let made = signer.intermediate("Issuing CA");
        let mut judge = judge(Bench::new(&[&root]));
        let mut bench = Bench::new(&[]);
        let mut chain = made.chain(&Plan::of(&[HOST]));
        chain.push(Arc::clone(&signer.certificate));
        show(&mut judge, &mut bench, (HOST, &chain));
        assert_eq!(judge.pool.is_proven(&made.certificate.sha256), proven);
        assert_eq!(judge.pool.is_proven(&signer.certificate.sha256), proven);
    }
}

/// A chain over who may not sign is judged again when a better path is known.
#[test]
fn a_path_over_who_may_not_sign_is_not_for_good() {
    let root = Ca::new("Root");
    let limited =
        |params: &mut CertificateParams| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let clients = root.intermediate_with("Issuing CA", limited);
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "Issuing CA");
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let twin = params.signed_by(clients.issuer.key(), &root.issuer).unwrap();
    let twin = Arc::new(Certificate::parse(twin.der()));
    let chain = clients.chain(&Plan::of(&[HOST]));
    let mut judge = judge(Bench::new(&[&root]));
    let mut bench = Bench::new(&[]);
    assert_eq!(ids(&show(&mut judge, &mut bench, (HOST, &chain))), ["CERT-010"]);
    let mut other = Ca::new("Other").chain(&Plan::of(&["other.example"]));
    other.push(twin);
    show(&mut judge, &mut bench, ("other.example", &other));
    assert_eq!(ids(&show(&mut judge, &mut bench, (HOST, &chain))), NONE);
}

/// What is said of a leaf that came alone is right when its issuer came: no CA for servers, though one that is trusted.
#[test]
fn a_late_issuer_that_may_not_sign_is_told_as_that() {
    let root = Ca::new("Root");
    let changes: [fn(&mut CertificateParams); 3] = [
        |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
        |params| params.key_usages = vec![KeyUsagePurpose::CrlSign],
        |_| (),
    ];
    for (change, may) in changes.into_iter().zip([false, false, true]) {
        let late = root.intermediate_with("Late", change);
        for internal in [false, true] {
            let policy = format!("[[internal_ca]]\nname = \"P\"\nspki = [\"{}\"]\n", spki(&root.certificate));
            let trusting = if internal { Bench::new(&[]).policy(&policy) } else { Bench::new(&[&root]) };
            let mut judge = judge(trusting);
            let mut bench = Bench::new(&[]);
            let host = "www.internal";
            assert_eq!(ids(&show(&mut judge, &mut bench, (host, &[late.leaf(&Plan::of(&[host]))]))), NONE);
            let cas = [&late, &root];
            let mut found = shown_by_a_stranger(&mut judge, &mut bench, &cas);
            found.extend(judge.finish());
            found.retain(|one| one.host.starts_with(host));
            let told = of(&found, "CERT-005");
            assert_eq!(told.is_some(), !may, "internal: {internal}");
            let Some(told) = told else { continue };
            let mut told = told.clone();
            told.complete();
            assert_eq!(told.cause, Cause::IssuerKey(key(&late)), "{internal} {}", told.message);
            let says =
                |text: &str| told.message.contains(text) || told.evidence.pro.iter().any(|one| one.text.contains(text));
            assert_eq!(says("may not sign it"), !internal, "{}", told.message);
            assert_eq!(says("no trust anchor") || says("no path leads"), internal, "{}", told.message);
        }
    }
}
