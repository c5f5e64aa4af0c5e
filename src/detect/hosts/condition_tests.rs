//! Conditions that would stay unseen if they were negated: what becomes a baseline, what a case tells, who is told.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyIdMethod};

use super::score::Others;
use super::tests::{HOST, world};
use super::*;
use crate::detect::testing::{Ca, DAY, Plan, START, Scene, key, of, parse};
use crate::direction::Direction;
use crate::tls::Alert;
use crate::x509::Certificate;

const VICTIM: &str = "10.7.7.7";

fn key_of(host: &str) -> HostKey {
    HostKey { name: host.to_owned(), port: 443 }
}

/// Hosts with the roots of a scene.
fn started(roots: &[&Ca]) -> (Scene, Hosts) {
    let scene = Scene::new(roots);
    let hosts = Hosts::new(Arc::clone(&scene.anchors), 100);
    (scene, hosts)
}

fn clients(found: &[Finding]) -> Vec<String> {
    let mut clients: Vec<_> = found.iter().map(|one| one.ends.unwrap().client.address.to_string()).collect();
    clients.sort();
    clients.dedup();
    clients
}

fn standing(hosts: &Hosts, leaf: &Certificate) -> Option<Standing> {
    hosts.table.get(&key_of(HOST))?.certificate(&leaf.sha256).map(|known| known.standing)
}

/// One that bears name and key identifier of a CA whose key it has not.
fn impostor(of: &Ca) -> Ca {
    let facts = of.certificate.facts.as_deref().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, facts.subject.common_names[0].as_str());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_identifier_method = KeyIdMethod::PreSpecified(facts.subject_key_identifier.as_deref().unwrap().to_vec());
    let key = key();
    let certificate = parse(params.self_signed(&key).unwrap().der());
    Ca { issuer: rcgen::Issuer::new(params, key), certificate }
}

#[test]
fn a_case_says_what_kind_of_renewal_it_is_and_that_a_host_is_learned() {
    let mut world = world(1).0;
    let shared = Arc::new(key());
    let first = world.public.chain(&Plan::of(&[HOST, "example.com"]).keyed(&shared));
    world.serve("10.0.0.1", &first);
    world.end();
    let moved = Ca::new("Other Public Root");
    Arc::make_mut(&mut world.scene.anchors).add(Arc::clone(&moved.certificate));
    let plan = || Plan::of(&[HOST, "example.com"]);
    for (chain, verdict) in [
        (moved.chain(&plan().keyed(&shared)), "renewal with the same key"),
        (world.public.chain(&plan()), "renewal by the same issuer"),
        (moved.chain(&plan().dates(START - 5 * DAY - 77, START + 85 * DAY)), "unusual"),
    ] {
        let mut case = world.score(&chain, Others::default(), false);
        assert_eq!(case.verdict(), verdict);
        for learning in [true, false] {
            case.learning = learning;
            assert_eq!(case.text().contains("still being learned"), learning);
        }
    }
}

#[test]
fn the_kind_of_change_is_that_of_the_certificate_it_is_asked_for() {
    let kind = |renewed: bool, asked: bool| {
        let mut world = world(1).0;
        let plan = Plan::of(&[HOST, "example.com"]);
        let chain = if renewed { world.public.chain(&plan) } else { Ca::new("Proxy CA").chain(&plan) };
        world.serve("10.0.0.1", &chain);
        world.end();
        world.hosts.take_rotation(&if asked { chain[0].sha256 } else { Sha256([9; 32]) })
    };
    assert_eq!(kind(true, true), Some("rotation_same_issuer"));
    assert_eq!(kind(true, false), None);
    assert_eq!(kind(false, true), None, "what is suspected did not come into the baseline");
}

#[test]
fn a_better_certificate_is_a_change_of_public_issuer_only_where_it_is_public() {
    for (ours, kind) in [(false, Some("issuer_change_public")), (true, None)] {
        let ca = Ca::new("New CA");
        let (mut scene, mut hosts) = started(&[&ca]);
        if ours {
            let spki = ca.certificate.facts.as_deref().unwrap().spki_sha256;
            scene.policy(&format!("version = 1\n[[internal_ca]]\nname = \"ours\"\nspki = [\"{spki}\"]\n"));
        }
        scene.serve(&mut hosts, (HOST, "10.0.0.1"), &Ca::new("Old CA").chain(&Plan::of(&[HOST])));
        let better = ca.chain(&Plan::of(&[HOST]));
        scene.serve(&mut hosts, (HOST, "10.0.0.1"), &better);
        assert_eq!(hosts.take_rotation(&better[0].sha256), kind);
    }
}

/// An interception product is no baseline, though it comes first; one that the owner names as the own CA is.
#[test]
fn a_product_that_comes_first_is_not_expected() {
    for ours in [false, true] {
        let (mut scene, mut hosts) = started(&[]);
        let product = Ca::new("FortiGate CA");
        if ours {
            let spki = product.certificate.facts.as_deref().unwrap().spki_sha256;
            scene.policy(&format!("version = 1\n[[internal_ca]]\nname = \"ours\"\nspki = [\"{spki}\"]\n"));
        }
        let chain = product.chain(&Plan::of(&[HOST]));
        let found = scene.serve(&mut hosts, (HOST, VICTIM), &chain);
        assert_eq!(of(&found, "MITM-006").is_some(), !ours);
        assert_eq!(standing(&hosts, &chain[0]), Some(if ours { Standing::Accepted } else { Standing::Suspect }));
    }
}

/// The administration of a gateway, or its VPN, is called by address and shows the certificate that it was sold with.
#[test]
fn a_product_that_shows_its_own_certificate_intercepts_nobody() {
    let product = Ca::new("FortiGate CA");
    let named = |name: &str, organization| {
        let mut plan = Plan { organization, ..Plan::of(&[name]) };
        plan.names.clear();
        plan
    };
    let address = "ip:203.0.113.10";
    for (host, plan, severity) in [
        (address, named("FWF60E4Q16012050", Some("Fortinet")), Severity::Low),
        (HOST, named("FWF60E4Q16012050", Some("Fortinet")), Severity::Medium),
        (address, named("FWF60E4Q16012050", Some("Example")), Severity::Medium),
        (address, named("FWF60E4Q16012050", Some("Cisco Umbrella")), Severity::Medium),
        (address, named(HOST, Some("Fortinet")), Severity::Medium),
        (address, Plan { organization: Some("Fortinet"), ..Plan::of(&["203.0.113.10"]) }, Severity::Medium),
    ] {
        let (mut scene, mut hosts) = started(&[]);
        let found = scene.serve(&mut hosts, (host, VICTIM), &product.chain(&plan));
        let told = of(&found, "MITM-006").unwrap();
        assert_eq!(told.severity, severity, "{host} {} {:?}", plan.common_name, plan.organization);
        let own = severity == Severity::Low;
        assert_eq!(told.message.contains("for the product itself as it seems"), own);
        assert_eq!(told.evidence.contra.iter().any(|point| point.id == "own_certificate"), own);
    }
}

/// Section 3.3 of the catalogue: 14 days, five clients, two subnets, a public root.
#[test]
fn what_many_get_for_long_from_a_public_ca_is_believed() {
    let believed = |days: i64, clients: u8, subnets: u8, public: bool| {
        let (mut world, expected) = world(6);
        world.scene.policy("version = 1\n[rules.\"TLSW-MITM-002\"]\nmedium = 25\n");
        let moved = Ca::new("Other Root");
        if public {
            Arc::make_mut(&mut world.scene.anchors).add(Arc::clone(&moved.certificate));
        }
        let chain = moved.chain(&Plan::of(&[HOST, "example.com"]));
        let mut found = Vec::new();
        for client in 0..clients {
            found.extend(world.serve(&format!("10.20.{}.{}", client % subnets, client + 1), &chain));
        }
        found.extend(world.serve("10.0.0.1", &expected));
        found.extend(world.end());
        assert!(of(&found, "MITM-002").is_some());
        assert_eq!(standing(&world.hosts, &chain[0]), Some(Standing::Suspect));
        world.scene.now += days * DAY;
        let mut found = world.serve("10.20.0.1", &chain);
        found.extend(world.end());
        let is_believed = standing(&world.hosts, &chain[0]) == Some(Standing::Accepted);
        assert_eq!(of(&found, "MITM-002").is_none(), is_believed);
        is_believed
    };
    assert!(believed(14, 5, 2, true));
    assert!(!believed(13, 5, 2, true), "too short");
    assert!(!believed(14, 4, 2, true), "too few clients");
    assert!(!believed(14, 5, 1, true), "one subnet");
    assert!(!believed(14, 5, 2, false), "no public root");
}

/// The chain of a handshake that came before was found to claim a CA that did not sign it: the next client is told too.
#[test]
fn every_client_of_an_impostor_is_told() {
    let public = Ca::new("Public Root");
    let (scene, mut hosts) = started(&[&public]);
    let mut scene = scene;
    let chain = impostor(&public).chain(&Plan::of(&[HOST]));
    let at = Some(crate::time::ValidityTime(scene.now));
    let known = scene.judged(&chain, (at, Some(HOST)), crate::x509::judge::Purpose::Server).unwrap();
    for client in ["10.7.7.7", "10.7.7.8", "10.7.7.9"] {
        let observation = scene.handshake(client, "203.0.113.10", &chain);
        let mut found = Vec::new();
        scene.with_judged((HOST, &observation), Some(&known), |sighting| hosts.observe(sighting, &mut found));
        assert_eq!(clients(&found), [client]);
        assert_eq!(of(&found, "MITM-005").unwrap().severity, Severity::Critical);
    }
}

#[test]
fn who_signed_is_said_to_be_trusted_not_trusted_or_unverified() {
    let (public, private) = (Ca::new("Public Root"), Ca::new("Private CA"));
    for (sent, kind) in [(2, "\"CN=Private CA\" (not trusted)"), (1, "\"CN=Private CA\" (unverified)")] {
        let (mut scene, mut hosts) = started(&[&public]);
        scene.serve(&mut hosts, (HOST, "10.0.0.1"), &public.chain(&Plan::of(&[HOST])));
        let chain = private.chain(&Plan::of(&[HOST]));
        scene.serve(&mut hosts, (HOST, VICTIM), &chain[..sent]);
        let found = scene.finish(&mut hosts);
        let message = &of(&found, "MITM-002").unwrap().message;
        assert!(message.contains(kind), "{message}");
    }
}

/// Names are the alternative ones; only where there are none, the common name (RFC 6125 section 6.4.4).
#[test]
fn copies_are_told_by_names_or_by_the_common_name_alone() {
    let copied = |alternative: bool, [genuine, copy]: [&str; 2]| {
        let public = Ca::new("Public Root");
        let (mut scene, mut hosts) = started(&[&public]);
        let chain = |ca: &Ca, name: &str, from: i64| {
            let names: &[&str] = if alternative { &[HOST] } else { &[] };
            let mut params =
                CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
            let plan = Plan { common_name: name.to_owned(), serial: vec![0x11; 16], ..Plan::of(&[HOST]) };
            let made = plan.dates(from, START + 50 * DAY).params();
            params.distinguished_name = made.distinguished_name;
            (params.not_before, params.not_after) = (made.not_before, made.not_after);
            params.serial_number = made.serial_number;
            params.use_authority_key_identifier_extension = true;
            vec![parse(params.signed_by(&key(), &ca.issuer).unwrap().der()), Arc::clone(&ca.certificate)]
        };
        scene.serve(&mut hosts, (HOST, "10.0.0.1"), &chain(&public, genuine, START - 9 * DAY));
        let found = scene.serve(&mut hosts, (HOST, VICTIM), &chain(&Ca::new("Proxy CA"), copy, START - DAY));
        of(&found, "MITM-004").is_some()
    };
    assert!(copied(false, [HOST, HOST]));
    assert!(!copied(false, [HOST, "mail.example.com"]));
    assert!(copied(true, [HOST, "Example Inc."]), "its alternative names are the same");
}

/// What comes first, and is the forgery, tells as much as one that comes second.
#[test]
fn the_client_that_got_the_forgery_first_refused_it() {
    for (description, refused) in [(Some(48), true), (Some(45), false), (None, false)] {
        let public = Ca::new("Public Root");
        let (mut scene, mut hosts) = started(&[&public]);
        let forged = Ca::new("Proxy CA").chain(&Plan::of(&[HOST]));
        let mut first = scene.handshake(VICTIM, "203.0.113.10", &forged);
        let alert = |description| Alert { direction: Direction::LowToHigh, level: 2, description };
        first.handshake.alerts = description.into_iter().map(alert).collect();
        scene.show(&mut hosts, HOST, &first);
        let genuine = public.chain(&Plan::of(&[HOST]));
        for number in 0..24 {
            scene.now += 20;
            scene.serve(&mut hosts, (HOST, &format!("10.{}.0.{}", number % 3, number % 6)), &genuine);
        }
        let found = scene.finish(&mut hosts);
        let evidence = &of(&found, "MITM-002").unwrap().evidence;
        assert_eq!(evidence.pro.iter().any(|point| point.id == "H15"), refused);
    }
}

/// So many handshakes of six clients in three subnets, a pause between each two.
fn serve_others(
    scene: &mut Scene,
    hosts: &mut Hosts,
    (handshakes, pause): (usize, i64),
    at: (&str, &[Arc<Certificate>]),
) {
    let (server, chain) = at;
    for number in 0..handshakes {
        scene.now += pause;
        let observation = scene.handshake(&format!("10.{}.0.{}", number % 3, number % 6), server, chain);
        scene.show(hosts, HOST, &observation);
    }
}

const SERVER: &str = "203.0.113.10";
const OTHER_SERVER: &str = "198.51.100.10";

/// A copy is expected no more, though it is not known who got it; what copied nothing stays.
#[test]
fn a_copy_of_an_earlier_run_is_doubted() {
    for (copies, newer) in [(true, false), (false, false), (false, true)] {
        let public = Ca::new("Public Root");
        let (mut scene, mut before) = started(&[&public]);
        let genuine = Plan::of(&[HOST]);
        let genuine = if newer { genuine.dates(START + 10, START + 90 * DAY) } else { genuine };
        let mut forged = Plan::of(&[HOST]);
        if copies {
            forged.serial.clone_from(&genuine.serial);
        }
        let forged = Ca::new("Proxy CA").chain(&forged);
        scene.serve(&mut before, (HOST, VICTIM), &forged);
        let mut hosts = if newer { before } else { Hosts::new(Arc::clone(&scene.anchors), 100) };
        if !newer {
            hosts.restore(before_of(&mut scene, &forged));
        }
        scene.now += 60;
        let found = scene.serve(&mut hosts, (HOST, "10.0.0.1"), &public.chain(&genuine));
        assert_eq!(of(&found, "MITM-004").is_some(), copies);
        let wanted = if copies { Standing::Suspect } else { Standing::Accepted };
        assert_eq!(standing(&hosts, &forged[0]), Some(wanted), "{copies} {newer}");
    }
}

/// The baseline of an earlier run in which the victim got this.
fn before_of(scene: &mut Scene, chain: &[Arc<Certificate>]) -> HostRecord {
    let mut hosts = Hosts::new(Arc::clone(&scene.anchors), 100);
    scene.serve(&mut hosts, (HOST, VICTIM), chain);
    hosts.table.iter().next().unwrap().clone()
}

/// Two backends of which one is not renewed yet look alike, unless the host is well known.
#[test]
fn what_comes_again_from_another_server_counts_at_hosts_that_are_known() {
    for (handshakes, pause, told) in [(12, 20, false), (40, DAY / 10, true)] {
        let public = Ca::new("Public Root");
        let (mut scene, mut hosts) = started(&[&public]);
        let (forged, genuine) = (Ca::new("Proxy CA").chain(&Plan::of(&[HOST])), public.chain(&Plan::of(&[HOST])));
        scene.serve(&mut hosts, (HOST, VICTIM), &forged);
        serve_others(&mut scene, &mut hosts, (handshakes, pause), (OTHER_SERVER, &genuine));
        assert!(scene.finish(&mut hosts).is_empty());
        scene.serve(&mut hosts, (HOST, VICTIM), &forged);
        serve_others(&mut scene, &mut hosts, (1, 20), (SERVER, &genuine));
        let found = scene.finish(&mut hosts);
        assert_eq!(of(&found, "MITM-002").is_some(), told, "{handshakes}");
        assert!(!told || clients(&found) == [VICTIM]);
    }
}

/// The CA above a leaf that came alone is seen.
fn complete(scene: &mut Scene, hosts: &mut Hosts, (leaf, ca): (&Arc<Certificate>, &Ca)) {
    let issuer = &leaf.facts.as_deref().unwrap().issuer.normalized;
    let waiting = hosts.lacking(issuer, None).unwrap();
    let whole = [Arc::clone(leaf), Arc::clone(&ca.certificate)];
    let at = Some(crate::time::ValidityTime(scene.now));
    let judged = scene.judged(&whole, (at, Some(HOST)), crate::x509::judge::Purpose::Server).unwrap();
    hosts.complete(&waiting, &judged, &scene.knowledge);
}

/// Nobody whom the proxy may intercept is told, and where nobody else got its certificate, it never was one of the host.
#[test]
fn who_may_be_intercepted_does_not_count_once_the_proxy_is_known() {
    for (seen, others) in [(false, true), (true, true), (true, false)] {
        let (public, proxy) = (Ca::new("Public Root"), Ca::new("Proxy CA"));
        let (mut scene, mut hosts) = started(&[&public]);
        let spki = proxy.certificate.facts.as_deref().unwrap().spki_sha256;
        let policy = format!(
            "version = 1\n[[interception]]\nname = \"ours\"\nspki = [\"{spki}\"]\nclients = [\"10.2.0.0/16\"]\nmode = \"authorised\"\n"
        );
        scene.policy(&policy);
        scene.knowledge.policy = std::mem::take(&mut scene.policy);
        scene.policy(&policy);
        let forged = proxy.leaf(&Plan::of(&[HOST]));
        let alone = [Arc::clone(&forged)];
        for client in [Some("10.2.9.9"), others.then_some("10.6.0.9")].into_iter().flatten() {
            scene.serve(&mut hosts, (HOST, client), &alone);
        }
        if seen {
            complete(&mut scene, &mut hosts, (&forged, &proxy));
        }
        let wanted = (!seen || others).then_some(Standing::Accepted);
        assert_eq!(standing(&hosts, &forged), wanted);
        serve_others(&mut scene, &mut hosts, (24, 20), (SERVER, &public.chain(&Plan::of(&[HOST]))));
        let found = scene.finish(&mut hosts);
        let wanted: &[&str] = match (seen, others) {
            (true, true) => &["10.6.0.9"],
            (true, false) => &[],
            (false, _) => &["10.2.9.9", "10.6.0.9"],
        };
        assert_eq!(clients(&found), wanted, "{seen} {others}");
    }
}

/// A leaf that came alone is trusted after all. What replaced it tells nothing against it any more; where it came second, it is
/// judged as what it is. What else is held of the host stays.
#[test]
fn a_case_of_what_turns_out_to_be_trusted() {
    for first in [true, false] {
        let (public, other) = (Ca::new("Public Root"), Ca::new("Other Public Root"));
        let (mut scene, mut hosts) = started(&[&public, &other]);
        let issuer = other.intermediate("Other Public CA");
        let (leaf, expected) = (issuer.leaf(&Plan::of(&[HOST])), public.chain(&Plan::of(&[HOST])));
        let alone = [Arc::clone(&leaf)];
        if first {
            scene.serve(&mut hosts, (HOST, VICTIM), &alone);
        }
        serve_others(&mut scene, &mut hosts, (9, 20), (SERVER, &expected));
        scene.serve(&mut hosts, (HOST, VICTIM), &alone);
        scene.serve(&mut hosts, (HOST, "10.8.8.8"), &Ca::new("Proxy CA").chain(&Plan::of(&[HOST])));
        assert_eq!(standing(&hosts, &leaf), Some(Standing::Held));
        complete(&mut scene, &mut hosts, (&leaf, &issuer));
        serve_others(&mut scene, &mut hosts, (1, 20), (SERVER, &expected));
        assert_eq!(standing(&hosts, &leaf), Some(if first { Standing::Accepted } else { Standing::Held }));
        let mut found = scene.finish(&mut hosts);
        found.retain(|one| one.rule.id.ends_with("MITM-002"));
        assert_eq!(clients(&found), if first { vec!["10.8.8.8"] } else { vec![VICTIM, "10.8.8.8"] });
        for one in found {
            let lost_trust = one.evidence.pro.iter().any(|point| point.id == "H1");
            assert_eq!(lost_trust, one.ends.unwrap().client.address.to_string() == "10.8.8.8");
        }
    }
}

/// The certificate that a held one copies comes second: whoever got the copy is told, whether it comes again or not.
#[test]
fn what_is_held_is_found_to_be_a_copy() {
    for (again, same) in [(true, true), (false, true), (true, false), (false, false)] {
        let (mut world, _) = world(6);
        let genuine = Plan::of(&[HOST, "example.com"]);
        let mut copy = Plan::of(&[HOST, "example.com"]);
        if same {
            copy.serial.clone_from(&genuine.serial);
        }
        let copy = Ca::new("Proxy CA").chain(&copy);
        assert!(world.serve(VICTIM, &copy).is_empty());
        // It has a twin of another CA: that is the same copy.
        let twin = Ca::new("Other Public Root");
        Arc::make_mut(&mut world.scene.anchors).add(Arc::clone(&twin.certificate));
        let mut found = world.serve("10.0.0.1", &world.public.chain(&genuine));
        found.extend(world.serve("10.0.0.1", &twin.chain(&genuine)));
        if again {
            found.extend(world.serve(VICTIM, &copy));
        }
        found.extend(world.end());
        assert_eq!(of(&found, "MITM-004").is_some(), same, "{again}");
        assert_eq!(clients(&found), [VICTIM]);
        let case = of(&found, "MITM-002").unwrap();
        assert_eq!(case.severity, if same { Severity::Critical } else { Severity::High }, "{again}");
        assert_eq!(case.evidence.proofs.len(), usize::from(same), "{again}");
    }
}

/// The policy is read again while a case is held: what it pins from then on is a proof for the case, too.
#[test]
fn a_proof_that_comes_while_a_case_is_held_counts() {
    for pinned in [true, false] {
        let (mut world, expected) = world(6);
        let forged = Ca::new("Proxy CA").chain(&Plan::of(&[HOST]));
        assert!(world.serve(VICTIM, &forged).is_empty());
        if pinned {
            let spki = expected[0].facts.as_deref().unwrap().spki_sha256;
            world.scene.policy(&format!("version = 1\n[[host]]\nmatch = [\"{HOST}\"]\npins = [\"{spki}\"]\n"));
        }
        for _ in 0..2 {
            assert_eq!(of(&world.serve(VICTIM, &forged), "MITM-001").is_some(), pinned);
        }
        let found = world.end();
        let case = of(&found, "MITM-002").unwrap();
        assert_eq!(case.severity, if pinned { Severity::Critical } else { Severity::High });
        assert_eq!(case.evidence.proofs.len(), usize::from(pinned));
    }
}

/// The CA that is named may have a key that we cannot use: whether the leaf signed itself is asked all the same.
#[test]
fn an_issuer_of_an_unknown_curve_hides_no_own_key() {
    for curve in ["brainpoolP256r1", "secp256r1"] {
        let (mut scene, mut hosts) = started(&[]);
        let own = Arc::new(key());
        let proxy = Ca::with_key("Proxy CA", rcgen::KeyPair::try_from(own.serialize_der()).unwrap());
        let mut shown = Certificate::clone(&Ca::new("Proxy CA").certificate);
        shown.facts.as_mut().unwrap().key.curve = Some(curve.to_owned());
        let found =
            scene.serve(&mut hosts, (HOST, VICTIM), &[proxy.leaf(&Plan::of(&[HOST]).keyed(&own)), Arc::new(shown)]);
        assert!(of(&found, "MITM-003").is_some(), "{curve}");
    }
}

/// How a host answers is known by many handshakes: one that was answered otherwise, or many kinds of clients that came once
/// each, do not make it forgotten.
#[test]
fn habits_outlast_what_comes_once() {
    let mut record = HostRecord::new(&key_of(HOST), Timestamp(0));
    let answer = |kind, stack| record::Answer { stack: Some((kind, stack)), times: None };
    (0..12).for_each(|_| record.note_answer(answer(1, 7)));
    assert!(record.is_other_stack(answer(1, 8)));
    record.note_answer(answer(1, 8));
    assert!(record.is_other_stack(answer(1, 8)) && !record.is_other_stack(answer(1, 7)));
    for kind in 2..100 {
        record.note_answer(answer(kind, 7));
        assert_eq!(record.stacks.len(), usize::try_from(kind).unwrap().min(record::MAX_STACKS));
    }
    assert!(record.is_other_stack(answer(1, 8)));
    // What was no habit is forgotten at once: the host answers so from now on.
    record.note_answer(answer(99, 8));
    (0..9).for_each(|_| record.note_answer(answer(99, 8)));
    assert!(record.is_other_stack(answer(99, 7)));
}

/// An issuer is known for as long as a certificate of it is accepted.
#[test]
fn issuers_go_with_the_last_of_their_certificates() {
    for doubted in [true, false] {
        let (mut scene, mut hosts) = started(&[]);
        let ca = Ca::new("Private CA");
        let leaves = [(); 2].map(|()| ca.chain(&Plan::of(&[HOST])));
        for chain in &leaves {
            scene.serve(&mut hosts, (HOST, "10.0.0.1"), chain);
            scene.finish(&mut hosts);
        }
        let record = hosts.table.get_mut(&key_of(HOST)).unwrap();
        assert_eq!((record.accepted().count(), record.issuers.len()), (2, 1));
        for (left, chain) in [1, 0].into_iter().zip(&leaves) {
            if doubted {
                record.doubt(&chain[0].sha256, Standing::Suspect);
            } else {
                record.forget(&chain[0].sha256);
            }
            assert_eq!((record.accepted().count(), record.issuers.len()), (left, left));
        }
    }
}

/// Who accepts a certificate accepts its issuer: once, and no more issuers are kept than there is room for.
#[test]
fn an_accepted_certificate_brings_its_issuer_once() {
    let (mut world, _) = world(1);
    for number in 0..10_usize {
        let ca = Ca::new(&format!("Private CA {number}"));
        // All of them have room in one record.
        let chains: Vec<_> = (0..if number < 4 { 2 } else { 1 }).map(|_| ca.chain(&Plan::of(&[HOST]))).collect();
        for chain in &chains {
            world.serve("10.0.0.1", chain);
            world.end();
            assert_eq!(standing(&world.hosts, &chain[0]), Some(Standing::Suspect));
        }
        for chain in &chains {
            assert!(world.hosts.accept(&key_of(HOST), &chain[0].sha256));
            let record = world.hosts.table.get(&key_of(HOST)).unwrap();
            assert_eq!(record.issuers.len(), (number + 2).min(record::MAX_ISSUERS));
            let issuer = ca.certificate.facts.as_deref().unwrap().spki_sha256;
            assert!(record.issuers.iter().any(|known| known.key == issuer.0));
        }
    }
}
