//! A client certificate that was made with the key of another one, and a server that does not look whether its issuer is a CA.

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa};

use super::*;
use crate::detect::testing::{Ca, Plan, Scene, ids, key, parse};

const HOST: &str = "api.example.com";
const NONE: [&str; 0] = [];

fn shown(
    scene: &mut Scene,
    rules: &mut ClientCertificates,
    chain: &[Arc<Certificate>],
    established: bool,
) -> Vec<Finding> {
    let mut observation = scene.handshake("10.1.0.11", "203.0.113.10", &[]);
    observation.client_chain = chain.to_vec();
    observation.handshake.established = Some(established);
    let mut findings = Vec::new();
    scene.with(HOST, &observation, |sighting| rules.observe(sighting, &mut findings));
    findings
}

/// What is found where this one signed for a client; the root comes along.
fn found((scene, by, root): (&mut Scene, &Ca, &Ca), established: bool) -> Vec<Finding> {
    let chain = [by.leaf(&Plan::of(&["admin"])), Arc::clone(&by.certificate), Arc::clone(&root.certificate)];
    shown(scene, &mut ClientCertificates::default(), &chain, established)
}

fn person(root: &Ca, change: impl FnOnce(&mut CertificateParams)) -> Ca {
    root.intermediate_with("clerk", |params| {
        params.is_ca = IsCa::NoCa;
        change(params);
    })
}

fn internal(root: &Ca) -> String {
    let key = root.certificate.facts.as_ref().unwrap().spki_sha256;
    format!("version = 1\n[[internal_ca]]\nname = \"ours\"\nspki = [\"{key}\"]\n")
}

#[test]
fn a_client_certificate_by_no_ca_is_a_forgery_where_it_is_accepted() {
    let root = Ca::new("Root");
    let clerk = person(&root, |_| ());
    // A root of browsers, another anchor, an own CA, nobody's.
    for (place, severity) in
        [Some(Severity::High), Some(Severity::Medium), Some(Severity::Medium), None].into_iter().enumerate()
    {
        let roots = [&root];
        let mut scene = Scene::new(if place < 2 { &roots } else { &[] });
        if place == 0 {
            scene.knowledge.builtin = (*scene.anchors).clone();
        }
        if place == 2 {
            scene.policy(&internal(&root));
        }
        let told = found((&mut scene, &clerk, &root), true);
        assert_eq!(told.first().map(|one| one.severity), severity, "{place}");
        assert_eq!(ids(&told), if severity.is_some() { vec!["CERT-034"] } else { vec![] });
        let Some(told) = told.first() else { continue };
        let said = "of \"admin\" at api.example.com:443 with a certificate below that of \"clerk\", who is no CA, and the server accepted it.";
        assert!(told.message.ends_with(said), "{}", told.message);
        let proofs: Vec<_> = told.evidence.proofs.iter().map(|point| (point.id, point.observed.clone())).collect();
        assert_eq!(proofs, [("no_ca", Some(clerk.certificate.sha256.to_string()))]);
        assert_eq!(ids(&found((&mut scene, &clerk, &root), false)), NONE, "it was not accepted");
        // Who has a CA certificate is one, whatever it is for: that is a matter between him and the server.
        assert_eq!(ids(&found((&mut scene, &root.intermediate("Client CA"), &root), true)), NONE);
        let servers = root.intermediate_with("Server CA", |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        });
        assert_eq!(ids(&found((&mut scene, &servers, &root), true)), NONE);
        // A CA that a person made is none.
        let made_up = clerk.intermediate("Client CA");
        let chain = [made_up.leaf(&Plan::of(&["admin"])), made_up.certificate, Arc::clone(&clerk.certificate)];
        let chain: Vec<_> = chain.into_iter().chain([Arc::clone(&root.certificate)]).collect();
        assert_eq!(ids(&shown(&mut scene, &mut ClientCertificates::default(), &chain, true)), ["CERT-034"]);
    }
}

/// A CA of one's own that does not say that it is one is known by its key.
#[test]
fn an_own_ca_without_the_flag_is_sloppy() {
    let root = Ca::new("Root");
    let sloppy = person(&root, |_| ());
    let mut scene = Scene::new(&[]);
    scene.policy(&internal(&sloppy));
    assert_eq!(ids(&found((&mut scene, &sloppy, &root), true)), NONE);
}

/// It is told once of a server: that one does not look.
#[test]
fn a_server_that_does_not_look_is_told_once() {
    let root = Ca::new("Root");
    let clerk = person(&root, |_| ());
    let (mut scene, mut rules) = (Scene::new(&[&root]), ClientCertificates::default());
    let chain = clerk.chain(&Plan::of(&["admin"]));
    assert_eq!(ids(&shown(&mut scene, &mut rules, &chain, true)), ["CERT-034"]);
    assert_eq!(ids(&shown(&mut scene, &mut rules, &chain, true)), NONE);
    let other = person(&root, |_| ()).chain(&Plan::of(&["admin"]));
    assert_eq!(ids(&shown(&mut scene, &mut rules, &other, true)), ["CERT-034"]);
}

/// RFC 3820: who has a certificate may sign one for a job that acts for him.
#[test]
fn a_proxy_certificate_is_no_forgery() {
    let root = Ca::new("Root");
    let clerk = person(&root, |_| ());
    for (proxy, told) in [(true, NONE.to_vec()), (false, vec!["CERT-034"])] {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "clerk");
        params.distinguished_name.push(rcgen::DnType::CustomDnType(vec![2, 5, 4, 3]), "3417");
        if proxy {
            let content = vec![0x30, 12, 0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 21, 1];
            let mut information = rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 14], content);
            information.set_criticality(true);
            params.custom_extensions.push(information);
        }
        let leaf = parse(params.signed_by(&key(), &clerk.issuer).unwrap().der());
        let chain = [leaf, Arc::clone(&clerk.certificate)];
        let mut scene = Scene::new(&[&root]);
        let mut found = shown(&mut scene, &mut ClientCertificates::default(), &chain, true);
        found.retain(|one| one.rule.id.ends_with("CERT-034"));
        assert_eq!(ids(&found), told);
    }
}

/// Who says only that the own CA certified it proves nothing: its signature cannot be checked.
#[test]
fn what_is_not_verified_up_to_the_own_ca_is_no_forgery() {
    let root = Ca::new("Root");
    let clerk = person(&root, |_| ());
    let mut scene = Scene::new(&[]);
    scene.policy(&internal(&root));
    let (known, unknown) = ([0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2], [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 0x7f]);
    let mut der = clerk.certificate.der.to_vec();
    for place in 0..der.len() - known.len() {
        if der[place..].starts_with(&known) {
            der[place..place + known.len()].copy_from_slice(&unknown);
        }
    }
    for (claimed, told) in [(parse(&clerk.certificate.der), vec!["CERT-034"]), (parse(&der), NONE.to_vec())] {
        let chain = [clerk.leaf(&Plan::of(&["admin"])), claimed, Arc::clone(&root.certificate)];
        assert_eq!(ids(&shown(&mut scene, &mut ClientCertificates::default(), &chain, true)), told);
    }
}
