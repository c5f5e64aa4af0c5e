//! Scenes of an enemy who knows the rules, and of networks that only look like one.

use std::sync::Arc;

use super::catalogue::{Effect, Severity};
use super::finding::Finding;
use super::judge_tests::Bench;
use super::testing::{Ca, Plan};
use super::undecided::tests::judged;
use crate::x509::Certificate;

const HOST: &str = "www.example.com";

fn spki(ca: &Ca) -> String {
    ca.certificate.facts.as_ref().unwrap().spki_sha256.to_string()
}

/// Rules that alert, with their severities.
fn told(found: &[Finding]) -> Vec<(&'static str, Severity)> {
    let alerts = found.iter().filter(|finding| finding.effect == Effect::Alert);
    let mut told: Vec<_> =
        alerts.map(|finding| (finding.rule.id.trim_start_matches("TLSW-"), finding.severity)).collect();
    told.sort_unstable();
    told.dedup();
    told
}

/// The same certificate, but nobody knows how it was signed.
fn unheard_of(certificate: &Certificate) -> Arc<Certificate> {
    let mut facts = certificate.facts.as_deref().unwrap().clone();
    facts.signature_oid = "1.2.3.4".to_owned();
    Arc::new(Certificate { facts: Some(facts.into()), ..certificate.clone() })
}

/// Anybody may send our CA behind his own leaf, and sign that so that nobody can check it.
#[test]
fn a_signature_that_cannot_be_checked_makes_nobody_ours() {
    let (public, ours, enemy) = (Ca::new("Public Root"), Ca::new("Our CA"), Ca::new("Our CA"));
    let internal = format!("[[internal_ca]]\nname = \"ours\"\nspki = [\"{}\"]\n", spki(&ours));
    let proxy = "clients = [\"10.0.0.0/8\"]\nmode = \"authorised\"\n";
    let proxy = format!("[[interception]]\nname = \"ours\"\nspki = [\"{}\"]\n{proxy}", spki(&ours));
    let genuine = public.chain(&Plan::of(&[HOST]));
    let leaf = enemy.leaf(&Plan::of(&[HOST]));
    let forged = [unheard_of(&leaf), Arc::clone(&ours.certificate)];
    for policy in [String::new(), format!("{internal}names = [\"*.corp.example\"]\n"), proxy] {
        let mut shown = vec![(HOST, "10.1.0.1", genuine.clone()); 6];
        shown.push((HOST, "10.2.0.2", forged.to_vec()));
        let found = judged(Bench::new(&[&public]).policy(&policy), &shown);
        assert_eq!(told(&found), [("MITM-002", Severity::High)], "{policy}");
    }
}
