//! The forged certificate comes first, and what comes later tells of it.

use std::sync::Arc;

use super::tests::HOST;
use super::*;
use crate::detect::judge_tests::Bench;
use crate::detect::testing::{Ca, Plan, Scene, ids, key};
use crate::detect::undecided::tests::judged;
use crate::x509::Certificate;

const VICTIM: &str = "10.7.7.7";

/// Chains of a CA that is trusted, and of one that is not.
struct World {
    scene: Scene,
    hosts: Hosts,
    public: Ca,
    proxy: Ca,
}

impl World {
    fn new() -> Self {
        let public = Ca::new("Public Root");
        let scene = Scene::new(&[&public]);
        let hosts = Hosts::new(Arc::clone(&scene.anchors), 100);
        Self { scene, hosts, public, proxy: Ca::new("Proxy CA") }
    }

    fn serve(&mut self, client: &str, chain: &[Arc<Certificate>]) -> Vec<Finding> {
        self.scene.now += 20;
        self.scene.serve(&mut self.hosts, (HOST, client), chain)
    }

    /// So many handshakes of six clients in three subnets.
    fn serve_others(&mut self, handshakes: usize, chain: &[Arc<Certificate>]) -> Vec<Finding> {
        let client = |number: usize| format!("10.{}.0.{}", number % 3, number % 6);
        (0..handshakes).flat_map(|number| self.serve(&client(number), chain)).collect()
    }

    fn end(&mut self) -> Vec<Finding> {
        self.scene.finish(&mut self.hosts)
    }
}

fn clients(found: &[Finding]) -> Vec<String> {
    let mut clients: Vec<_> = found.iter().map(|one| one.ends.unwrap().client.address.to_string()).collect();
    clients.dedup();
    clients
}

#[test]
fn one_client_before_all_others() {
    for (others, rules) in [(24, vec!["MITM-002", "MITM-008"]), (9, vec![])] {
        let mut world = World::new();
        let forged = world.proxy.chain(&Plan::of(&[HOST]));
        let genuine = world.public.chain(&Plan::of(&[HOST]));
        assert!(world.serve(VICTIM, &forged).is_empty());
        assert!(world.serve_others(others, &genuine).is_empty());
        let found = world.end();
        assert_eq!(ids(&found), rules, "{others}");
        assert!(found.is_empty() || clients(&found) == [VICTIM]);
        assert!(found.first().is_none_or(|head| head.observation.is_some()));
    }
}

#[test]
fn it_comes_again() {
    for again in [true, false] {
        for live in [true, false] {
            let mut world = World::new();
            world.scene.offline = !live;
            let forged = world.proxy.chain(&Plan::of(&[HOST]));
            let genuine = world.public.chain(&Plan::of(&[HOST]));
            world.serve(VICTIM, &forged);
            assert!(world.serve_others(4, &genuine).is_empty());
            if again {
                assert!(world.serve(VICTIM, &forged).is_empty());
            }
            let found = if live { world.scene.advance(&mut world.hosts, 1_000) } else { world.end() };
            // A host that is still learned raises no alert by change alone, but does not believe it either.
            let rules = if again && !live { vec!["MITM-002"] } else { vec![] };
            assert_eq!(ids(&found), rules);
            assert!(found.is_empty() || clients(&found) == [VICTIM]);
            let record = world.hosts.table().iter().next().unwrap();
            let accepted: Vec<_> = record.accepted().map(|known| known.sha256).collect();
            assert!(accepted.contains(&genuine[0].sha256.0));
            assert_eq!(accepted.contains(&forged[0].sha256.0), !again);
            assert_eq!(record.issuers.len(), if again { 1 } else { 2 });
        }
    }
}

#[test]
fn it_comes_again_when_the_case_is_over() {
    for (again, read_again, told) in [(true, false, true), (false, false, false), (true, true, false)] {
        let mut world = World::new();
        let forged = world.proxy.chain(&Plan::of(&[HOST]));
        let genuine = world.public.chain(&Plan::of(&[HOST]));
        let begin = world.scene.now;
        world.serve(VICTIM, &forged);
        world.serve_others(4, &genuine);
        assert!(world.end().is_empty());
        let record = world.hosts.table().iter().next().unwrap();
        assert_eq!(record.accepted().count(), 2, "a better certificate, as hosts do");
        // A capture that is read again says nothing new.
        world.scene.now = if read_again { begin } else { world.scene.now + 3_600 };
        if again {
            world.serve(VICTIM, &forged);
        }
        world.serve_others(4, &genuine);
        let found = world.end();
        assert_eq!(ids(&found), if told { vec!["MITM-002"] } else { vec![] });
        assert!(!told || clients(&found) == [VICTIM]);
    }
}

#[test]
fn a_newer_certificate_was_not_there_to_be_served() {
    for (newer, told) in [(false, true), (true, false)] {
        let mut world = World::new();
        let forged = world.proxy.chain(&Plan::of(&[HOST]));
        let from = if newer { world.scene.now + 30 } else { world.scene.now - 30 };
        let genuine = world.public.chain(&Plan::of(&[HOST]).dates(from, from + 8_000_000));
        world.serve(VICTIM, &forged);
        world.serve_others(24, &genuine);
        let accused = world.end().iter().any(|finding| clients(std::slice::from_ref(finding)) == [VICTIM]);
        assert_eq!(accused, told);
    }
}

#[test]
fn a_trusted_one_after_days_of_an_untrusted_one_is_not_accused() {
    for newcomers in [1, 6] {
        let mut world = World::new();
        let former = world.proxy.chain(&Plan::of(&[HOST]));
        let better = world.public.chain(&Plan::of(&[HOST]));
        for _ in 0..5 {
            assert!(world.serve_others(12, &former).is_empty());
            world.scene.now += 86_400;
        }
        let mut found = Vec::new();
        for number in 0..newcomers {
            found.extend(world.serve(&format!("10.{}.1.{number}", 20 + number), &better));
        }
        if newcomers == 1 {
            found.extend(world.serve_others(12, &former));
        }
        found.extend(world.end());
        found.retain(|one| one.effect == crate::detect::catalogue::Effect::Alert);
        // All get it now: the host has a better certificate.
        assert_eq!(ids(&found), if newcomers == 1 { vec!["MITM-002", "MITM-008"] } else { vec![] });
        for one in &found {
            assert!(one.message.contains(" a certificate that is trusted from "), "{}", one.message);
            assert!(one.message.ends_with(", which is not."), "{}", one.message);
            assert!(one.evidence.contra.iter().any(|point| point.id == "B12"));
            assert!(["trusted, in place of one that was not", ""].contains(&one.evidence.verdict.as_str()));
            assert_eq!(one.evidence.next_steps.iter().filter(|step| step.contains("this client")).count(), 0);
        }
    }
}

#[test]
fn sslsplit_adds_the_name_asked_for() {
    for (added, told) in [(HOST, true), ("mail.example.com", false)] {
        let mut world = World::new();
        let genuine = Plan::of(&["*.example.com", "example.com"]);
        let mut copy = Plan::of(&["*.example.com", "example.com", added]);
        copy.serial.clone_from(&genuine.serial);
        let (forged, genuine) = (world.proxy.chain(&copy), world.public.chain(&genuine));
        assert!(world.serve(VICTIM, &forged).is_empty());
        let found = world.serve("10.1.0.1", &genuine);
        assert_eq!(ids(&found), if told { vec!["MITM-004"] } else { vec![] });
        assert!(!told || clients(&found) == [VICTIM]);
    }
}

#[test]
fn what_was_suspect_before_is_found_to_be_a_copy() {
    for (same, rules) in [(true, vec!["MITM-002", "MITM-004"]), (false, vec![])] {
        let mut world = World::new();
        let genuine = Plan::of(&[HOST]);
        let mut copy = Plan::of(&[HOST]);
        if same {
            copy.serial.clone_from(&genuine.serial);
        }
        // Name and key identifier of the trusted CA: there is nothing to compare with, and the proof is told.
        let trusted = world.public.certificate.facts.as_ref().unwrap();
        let identifier = trusted.subject_key_identifier.as_deref().unwrap().to_vec();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "Public Root");
        params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(identifier);
        world.proxy.issuer = rcgen::Issuer::new(params, key());
        let forged = [world.proxy.leaf(&copy)];
        assert_eq!(ids(&world.serve(VICTIM, &forged)), ["MITM-005"]);
        let genuine = world.public.chain(&genuine);
        let mut found = world.serve("10.1.0.1", &genuine);
        found.extend(world.end());
        assert_eq!(ids(&found), rules);
        assert!(!same || clients(&found) == [VICTIM]);
    }
}

#[test]
fn the_ca_that_did_not_sign_is_seen_later() {
    for honest in [false, true] {
        let mut world = World::new();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "Public Intermediate");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let (intermediate, other) = (key(), key());
        let certificate = params.signed_by(&intermediate, &world.public.issuer).unwrap();
        let certificate = crate::detect::testing::parse(certificate.der());
        let identifier = certificate.facts.as_ref().unwrap().subject_key_identifier.as_deref().unwrap().to_vec();
        params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(identifier);
        let signer = if honest { intermediate.serialize_der() } else { other.serialize_der() };
        let signer = rcgen::Issuer::new(params.clone(), rcgen::KeyPair::try_from(signer).unwrap());
        let ca = Ca { issuer: signer, certificate: Arc::clone(&certificate) };
        let claimed = [ca.leaf(&Plan::of(&[HOST]))];
        assert!(world.serve(VICTIM, &claimed).is_empty());
        let genuine = Ca { issuer: rcgen::Issuer::new(params, intermediate), certificate };
        let elsewhere = genuine.chain(&Plan::of(&["www.example.org"]));
        let found = world.scene.serve(&mut world.hosts, ("www.example.org", "10.1.0.1"), &elsewhere);
        assert_eq!(ids(&found), if honest { vec![] } else { vec!["MITM-005"] });
        assert!(honest || (clients(&found) == [VICTIM] && found[0].severity == Severity::Critical));
        let doubted = world.hosts.doubts(&HostKey { name: HOST.to_owned(), port: 443 }, &claimed[0].sha256);
        assert_eq!(doubted, !honest);
        // It is told once.
        assert!(world.scene.serve(&mut world.hosts, ("www.example.org", "10.1.0.2"), &elsewhere).is_empty());
    }
}

#[test]
fn all_who_claimed_a_ca_are_found_out_few_at_a_time() {
    let mut world = World::new();
    let genuine = world.public.intermediate("Public Intermediate");
    let liar = Ca::new("Public Intermediate");
    for number in 0..100 {
        let host = format!("www.host{number}.example");
        let claimed = [liar.leaf(&Plan::of(&[&host]))];
        assert!(world.scene.serve(&mut world.hosts, (&host, VICTIM), &claimed).is_empty());
    }
    let elsewhere = genuine.chain(&Plan::of(&["www.example.org"]));
    let is_one = |found: &Finding| found.rule.id.ends_with("MITM-005");
    let found = world.scene.serve(&mut world.hosts, ("www.example.org", "10.1.0.1"), &elsewhere);
    assert_eq!(found.iter().filter(|one| is_one(one)).count(), overturn::ACCUSED_AT_ONCE);
    let found = world.scene.serve(&mut world.hosts, ("www.example.org", "10.1.0.1"), &elsewhere);
    assert_eq!(found.iter().filter(|one| is_one(one)).count(), overturn::ACCUSED_AT_ONCE);
    let rest = world.end().iter().filter(|one| is_one(one)).count();
    assert_eq!((rest, world.hosts.unaccused), (100 - 2 * overturn::ACCUSED_AT_ONCE, 0));
}

#[test]
fn the_ca_of_a_proxy_that_may_intercept_is_seen_later() {
    let (public, proxy) = (Ca::new("Public Root"), Ca::new("Proxy CA"));
    let spki = proxy.certificate.facts.as_ref().unwrap().spki_sha256;
    let genuine = public.chain(&Plan::of(&[HOST]));
    let forged = proxy.chain(&Plan::of(&[HOST]));
    for (clients, alerts) in [("10.2.0.0/16", false), ("10.3.0.0/16", true)] {
        let policy = format!(
            "[[interception]]\nname = \"ours\"\nspki = [\"{spki}\"]\nclients = [\"{clients}\"]\nmode = \"authorised\"\n"
        );
        let mut shown = vec![(HOST, "10.1.0.1", genuine.clone()), (HOST, "10.1.0.2", genuine.clone())];
        shown.push((HOST, "10.2.0.9", forged[..1].to_vec()));
        shown.push(("www.example.org", "10.2.0.9", proxy.chain(&Plan::of(&["www.example.org"]))));
        let found = judged(Bench::new(&[&public]).policy(&policy), &shown);
        assert_eq!(ids(&found).contains(&"MITM-002"), alerts, "{:?}", ids(&found));
    }
}

#[test]
fn a_proxy_whose_ca_nobody_sends_is_told_from_one_that_takes_its_name() {
    let (proxy, namesake) = (Ca::new("Proxy CA"), Ca::new("Proxy CA"));
    let spki = proxy.certificate.facts.as_ref().unwrap().spki_sha256;
    let sites = ["google.com", "facebook.com", "amazon.com", "apple.com", "microsoft.com", "github.com"];
    let seen_of = |signer: &Ca, ca: bool, clients: &str| {
        let file = if ca { "ca = [\"proxy.pem\"]\n" } else { "" };
        let policy = format!(
            "[[interception]]\nname = \"ours\"\nspki = [\"{spki}\"]\n{file}clients = [\"{clients}\"]\nmode = \"authorised\"\n"
        );
        let mut bench = Bench::new(&[]).policy(&policy);
        bench.knowledge.proxies = if ca { vec![Arc::clone(&proxy.certificate)] } else { Vec::new() };
        let shown: Vec<_> = sites.map(|site| (site, "10.2.0.9", vec![signer.leaf(&Plan::of(&[site]))])).into();
        let found = judged(bench, &shown);
        found.into_iter().filter(|one| one.severity >= Severity::Medium).collect::<Vec<_>>()
    };
    // Its signature is verified at once, and that of the other is not its.
    assert!(seen_of(&proxy, true, "10.2.0.0/16").is_empty());
    for (signer, ca, clients, severity, open) in [
        (&namesake, true, "10.2.0.0/16", Severity::High, false),
        (&proxy, true, "10.3.0.0/16", Severity::High, false),
        (&proxy, false, "10.2.0.0/16", Severity::Medium, true),
        (&namesake, false, "10.2.0.0/16", Severity::Medium, true),
        (&namesake, false, "10.3.0.0/16", Severity::High, false),
    ] {
        let found = seen_of(signer, ca, clients);
        let told: Vec<_> = found.iter().filter(|one| one.rule.id.ends_with("MITM-007")).collect();
        assert!(!told.is_empty(), "{ca} {clients}: {:?}", ids(&found));
        for one in told {
            assert_eq!(one.severity, severity, "{ca} {clients}");
            assert_eq!(one.evidence.contra.iter().any(|point| point.id == "proxy"), open);
            assert_eq!(one.confidence <= 40, open);
        }
    }
}

#[test]
fn any_proxy_of_the_client_whose_ca_was_not_seen_may_be_the_one() {
    let (first, second) = (Ca::new("First Proxy CA"), Ca::new("Second Proxy CA"));
    let entry = |name: &str, ca: &Ca| {
        let spki = ca.certificate.facts.as_ref().unwrap().spki_sha256;
        format!("[[interception]]\nname = \"{name}\"\nspki = [\"{spki}\"]\nmode = \"authorised\"\n")
    };
    let (one, other) = (entry("one", &first), entry("other", &second));
    let sites = ["google.com", "facebook.com", "amazon.com", "apple.com", "microsoft.com", "github.com"];
    for (policy, open) in [(one.clone() + &other, true), (other + &one, true), (one, false)] {
        // The CA of the first is seen, that of the second never.
        let mut shown = vec![("www.example.org", "10.2.0.8", first.chain(&Plan::of(&["www.example.org"])))];
        shown.extend(sites.map(|site| (site, "10.2.0.9", vec![second.leaf(&Plan::of(&[site]))])));
        let found = judged(Bench::new(&[]).policy(&policy), &shown);
        let told = found.iter().find(|one| one.rule.id.ends_with("MITM-007")).unwrap();
        let point = told.evidence.contra.iter().find(|point| point.id == "proxy");
        assert_eq!(point.is_some_and(|point| point.text.contains("'other'")), open, "{policy}");
        assert_eq!(told.severity, if open { Severity::Medium } else { Severity::High }, "{policy}");
    }
}

/// A proxy with two CAs, of which one was seen: the other may be the one.
#[test]
fn each_ca_of_a_proxy_is_seen_or_not() {
    let (first, second) = (Ca::new("First Proxy CA"), Ca::new("Second Proxy CA"));
    let key = |ca: &Ca| ca.certificate.facts.as_ref().unwrap().spki_sha256;
    let sites = ["google.com", "facebook.com", "amazon.com", "apple.com", "microsoft.com", "github.com"];
    for (keys, file, open) in [
        (vec![key(&first), key(&second)], None, true),
        (vec![key(&first)], None, false),
        // The policy gives the certificate of one, and the key of the other.
        (vec![key(&first), key(&second)], Some(&first), true),
        (vec![key(&first), key(&second)], Some(&second), false),
    ] {
        let keys: Vec<String> = keys.iter().map(|key| format!("\"{key}\"")).collect();
        let ca = file.map_or("", |_| "ca = [\"proxy.pem\"]\n");
        let policy =
            format!("[[interception]]\nname = \"p\"\nspki = [{}]\n{ca}mode = \"authorised\"\n", keys.join(", "));
        let mut bench = Bench::new(&[]).policy(&policy);
        bench.knowledge.proxies = file.map(|ca| Arc::clone(&ca.certificate)).into_iter().collect();
        let mut shown = vec![("www.example.org", "10.2.0.8", first.chain(&Plan::of(&["www.example.org"])))];
        shown.extend(sites.map(|site| (site, "10.2.0.9", vec![second.leaf(&Plan::of(&[site]))])));
        let found = judged(bench, &shown);
        let told = found.iter().find(|one| one.rule.id.ends_with("MITM-007"));
        match file {
            Some(ca) if key(ca) == key(&second) => assert!(told.is_none(), "{:?}", ids(&found)),
            _ => {
                let told = told.unwrap();
                assert_eq!(told.evidence.contra.iter().any(|point| point.id == "proxy"), open, "{policy}");
            }
        }
    }
}

#[test]
fn a_trusted_certificate_that_came_alone_is_no_suspect() {
    let (public, other) = (Ca::new("Public Root"), Ca::new("Other CA"));
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "Public Intermediate");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let intermediate = key();
    let certificate = crate::detect::testing::parse(params.signed_by(&intermediate, &public.issuer).unwrap().der());
    let intermediate = Ca { issuer: rcgen::Issuer::new(params, intermediate), certificate };
    for (ca, alerts) in [(&intermediate, false), (&other, true)] {
        let alone = ca.chain(&Plan::of(&[HOST]))[..1].to_vec();
        let whole = intermediate.chain(&Plan::of(&[HOST]));
        let shown = [
            (HOST, "10.1.0.1", alone.clone()),
            (HOST, "10.1.0.2", whole.clone()),
            (HOST, "10.1.0.3", whole),
            (HOST, "10.1.0.1", alone),
        ];
        let found = judged(Bench::new(&[&public]), &shown);
        assert_eq!(ids(&found).contains(&"MITM-002"), alerts, "{:?}", ids(&found));
    }
}

/// One backend is not renewed yet, or a name has two views: nobody intercepts, though both certificates come again and again.
#[test]
fn two_backends_are_no_interception() {
    let (public, private) = (Ca::new("Public Root"), Ca::new("Corporate Root"));
    let (new, old) = (public.chain(&Plan::of(&[HOST])), private.chain(&Plan::of(&[HOST])));
    for public_ones in [1, 4, 6] {
        let clients: Vec<String> = (0..12).map(|number| format!("10.{}.0.9", 3 + number % 4)).collect();
        let shown: Vec<_> = clients
            .iter()
            .enumerate()
            .map(|(number, client)| {
                let is_public = number % 2 == 1 && number / 2 < public_ones;
                (HOST, client.as_str(), if is_public { new.clone() } else { old.clone() })
            })
            .collect();
        let found = judged(Bench::new(&[&public]), &shown);
        assert!(!ids(&found).contains(&"MITM-002"), "{public_ones}: {:?}", ids(&found));
    }
}
