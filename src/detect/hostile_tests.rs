//! Scenes of an enemy who knows the rules, and of networks that only look like one.

use std::sync::Arc;

use super::catalogue::{Effect, Severity};
use super::finding::{Cause, Finding};
use super::judge_tests::Bench;
use super::testing::{Ca, DAY, Plan, START, Scene, key, of, parse};
use super::undecided::tests::judged;
use super::watch::Watch;
use crate::direction::Direction;
use crate::tls::Alert;
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

/// One certificate takes the place of the other, whoever comes first: no two views.
#[test]
fn a_host_that_changes_its_ca_splits_no_view() {
    let (public, one, two) = (Ca::new("Public Root"), Ca::new("One"), Ca::new("Two"));
    let device = || Plan::of(&[HOST]).self_signed();
    for (old, new, doubtful) in [
        (one.chain(&Plan::of(&[HOST])), two.chain(&Plan::of(&[HOST])), true),
        (device(), public.chain(&Plan::of(&[HOST])), false),
        (device(), device(), true),
    ] {
        for again in [false, true] {
            let mut scene = Scene::new(&[&public]);
            let mut watch = Watch::new(Arc::clone(&scene.anchors), 100);
            let mut found = Vec::new();
            let mut serve = |(net, chain): (u8, &[Arc<Certificate>]), count: u8| {
                for client in 0..count {
                    scene.now += 20;
                    let client = format!("10.{net}.{}.{client}", client % 4);
                    found.extend(scene.serve(&mut watch, (HOST, &client), chain));
                }
            };
            serve((0, &old), 12);
            serve((1, &new), 1);
            if again {
                serve((0, &old), 3);
            }
            serve((1, &new), 2);
            found.extend(scene.finish(&mut watch));
            assert_eq!(of(&found, "MITM-008").is_some(), again && doubtful, "{again}");
        }
    }
}

/// Last month's capture is read after this month's.
#[test]
fn what_came_later_is_not_expected_before() {
    let (public, one, two) = (Ca::new("Public Root"), Ca::new("One"), Ca::new("Two"));
    let before = Plan::of(&[HOST]).dates(START - 80 * DAY, START + 900 * DAY);
    let after = Plan::of(&[HOST]).dates(START - DAY / 3, START + 90 * DAY);
    for (old, new) in [
        (before.self_signed(), public.chain(&after)),
        (one.chain(&before), public.chain(&after)),
        (one.chain(&before), two.chain(&after)),
    ] {
        for days in [10, 0] {
            let mut scene = Scene::new(&[&public]);
            let mut watch = Watch::new(Arc::clone(&scene.anchors), 100);
            let mut found = Vec::new();
            for (chain, days) in [(&new, 0), (&old, days)] {
                scene.now = START - days * DAY;
                for _ in 0..3 {
                    scene.now += 20;
                    found.extend(scene.serve(&mut watch, (HOST, "10.0.0.1"), chain));
                }
            }
            found.extend(scene.finish(&mut watch));
            assert_eq!(of(&found, "MITM-002").is_some(), days == 0, "{days}");
        }
    }
}

/// Whoever has his certificate called a portal's may not use it for the host that it names.
#[test]
fn a_portal_explains_only_what_its_certificate_does_not_name() {
    let (public, enemy) = (Ca::new("Public Root"), Ca::new("Proxy"));
    let sites = ["www.example.org", "www.example.net", "shop.example.de"];
    for named in [HOST, "portal.example"] {
        let mut scene = Scene::new(&[&public]);
        let mut watch = Watch::new(Arc::clone(&scene.anchors), 100);
        let genuine = public.chain(&Plan::of(&[HOST]));
        (0..6).for_each(|client| drop(scene.serve(&mut watch, (HOST, &format!("10.0.0.{client}")), &genuine)));
        let forged = enemy.chain(&Plan::of(&[named]));
        let mut found = Vec::new();
        for site in sites.into_iter().chain([HOST]) {
            scene.now += 5;
            found.extend(scene.serve(&mut watch, (site, "10.9.0.9"), &forged));
        }
        found.extend(scene.finish(&mut watch));
        let high = ("MITM-002", Severity::High);
        assert_eq!(told(&found).contains(&high), named == HOST, "{:?}", told(&found));
        assert!(told(&found).contains(&("MITM-031", Severity::Low)));
    }
}

/// Only the servers' side was captured: an address serves many names, and each is a host of its own.
#[test]
fn names_that_nobody_was_seen_to_ask_for_are_no_change_of_the_host() {
    let (public, other) = (Ca::new("Public Root"), Ca::new("Other Public Root"));
    let plan = |name: &str| Plan::of(&[name]);
    for (name, same_host) in [("intern.example.net", false), (HOST, true)] {
        for second in [plan(name).self_signed(), other.chain(&plan(name)), Ca::new("Private").chain(&plan(name))] {
            for (trusted, first) in [(true, public.chain(&plan(HOST))), (false, Ca::new("Our CA").chain(&plan(HOST)))] {
                for swapped in [false, true] {
                    let (one, two) = if swapped { (&second, &first) } else { (&first, &second) };
                    let mut scene = Scene::new(&[&public, &other]);
                    let mut watch = Watch::new(Arc::clone(&scene.anchors), 100);
                    let mut found = Vec::new();
                    let mut serve = |client: &str, chain: &[Arc<Certificate>]| {
                        scene.now += 20;
                        let mut observation = scene.handshake(client, "203.0.113.10", chain);
                        observation.handshake.client_hello = None;
                        found.extend(scene.show(&mut watch, "ip:203.0.113.10", &observation));
                    };
                    for round in 0..20 {
                        serve(&format!("10.0.{}.{round}", round % 4), one);
                        if round > 9 {
                            serve("10.0.9.9", two);
                        }
                    }
                    found.extend(scene.finish(&mut watch));
                    let wanted = same_host && trusted && !swapped;
                    assert!(told(&found).is_empty() || same_host, "{swapped} {:?}", told(&found));
                    assert!(!told(&found).is_empty() || !wanted);
                }
            }
        }
    }
}

/// Of the names that both could be asked for by, one is enough, whatever else either is for.
#[test]
fn one_name_in_common_makes_one_host_of_an_address() {
    let (public, proxy) = (Ca::new("Public Root"), Ca::new("Private"));
    for (own, forged, same) in [
        (vec!["*.example.com", "example.com"], vec![HOST], true),
        (vec!["*.example.com"], vec!["example.com"], true),
        (vec![HOST], vec!["*.example.com"], true),
        (vec![HOST, "example.com", "img.example.com"], vec![HOST, "a.example.net", "b.example.org"], true),
        (vec!["www.example.com"], vec!["img.example.com"], false),
        (vec!["a.example"], vec!["b.example"], false),
    ] {
        let mut scene = Scene::new(&[&public]);
        let mut watch = Watch::new(Arc::clone(&scene.anchors), 100);
        let [genuine, forged_chain] =
            [(&public, &own), (&proxy, &forged)].map(|(ca, names)| ca.chain(&Plan::of(names)));
        let mut found = Vec::new();
        for round in 0..21 {
            scene.now += 20;
            let (client, chain) = if round == 15 { (9, &forged_chain) } else { (round % 4, &genuine) };
            let mut observation = scene.handshake(&format!("10.0.{client}.1"), "203.0.113.10", chain);
            observation.handshake.client_hello = None;
            found.extend(scene.show(&mut watch, "ip:203.0.113.10", &observation));
        }
        found.extend(scene.finish(&mut watch));
        assert_eq!(of(&found, "MITM-002").is_some(), same, "{own:?} {forged:?}");
    }
}

/// Live: what nobody trusts does not become usual for a host by coming early.
#[test]
fn a_host_that_is_learned_takes_no_certificate_that_lost_trust() {
    let (public, enemy, next) = (Ca::new("Public Root"), Ca::new("Proxy"), Ca::new("Next"));
    // A host of which nobody trusts anything learns what it has.
    for (trusted, genuine) in [(true, public.chain(&Plan::of(&[HOST]))), (false, next.chain(&Plan::of(&[HOST])))] {
        let mut scene = Scene::new(&[&public]);
        scene.offline = false;
        let mut watch = Watch::new(Arc::clone(&scene.anchors), 100);
        let forged = enemy.chain(&Plan::of(&[HOST]));
        for (rounds, silent) in [(20, true), (30, !trusted)] {
            let mut found = Vec::new();
            for round in 0..rounds {
                scene.now += 3_600;
                let client = format!("10.0.{}.{}", round % 4, round % 7);
                found.extend(scene.serve(&mut watch, (HOST, &client), &genuine));
            }
            found.extend(scene.serve(&mut watch, (HOST, "10.9.0.9"), &forged));
            found.extend(scene.advance(&mut watch, 1_000));
            assert_eq!(of(&found, "MITM-002").is_none(), silent, "{trusted} {rounds}");
        }
    }
}

/// A forger copies name and serial number; the CA gave that number once.
#[test]
fn who_takes_the_name_of_an_issuer_makes_it_repeat_no_serial_number() {
    let (public, enemy) = (Ca::new("Public Root"), Ca::new("Public Root"));
    let plan = Plan { authority: false, ..Plan::of(&[HOST]) };
    let (genuine, forged) = (public.chain(&plan), enemy.chain(&plan));
    let twin = public.chain(&Plan { names: vec!["www.example.org".to_owned()], ..plan.clone() });
    let alone = |chain: &[Arc<Certificate>]| chain[..1].to_vec();
    for (shown, wanted) in [
        (vec![&forged, &genuine], None),
        (vec![&genuine, &forged], None),
        (vec![&alone(&forged), &genuine], None),
        (vec![&genuine, &twin], Some(Severity::High)),
        (vec![&forged, &genuine, &twin], Some(Severity::High)),
        (vec![&alone(&forged), &genuine, &twin], Some(Severity::High)),
    ] {
        let shown: Vec<_> = shown.into_iter().map(|chain| (HOST, "10.1.0.1", chain.clone())).collect();
        let found = judged(Bench::new(&[&public]), &shown);
        assert_eq!(of(&found, "KEY-002").map(|one| one.severity), wanted);
    }
}

/// Most clients send their certificate alone, some their CA with it.
#[test]
fn a_client_that_sends_its_ca_brings_no_new_issuer() {
    let (ca, other) = (Ca::new("Client CA"), Ca::new("Other CA"));
    let server = Ca::new("Root").chain(&Plan::of(&[HOST]));
    for (last, told) in [(&ca, false), (&other, true)] {
        for sent in [1, 2] {
            let mut bench = Bench::new(&[]);
            let mut shown = Vec::new();
            for round in 0..40 {
                bench.scene.now += 3_600;
                let mut observation = bench.handshake((HOST, "203.0.113.10"), &server);
                let (ca, sent) = if round < 39 { (&ca, 1) } else { (last, sent) };
                observation.client_chain = ca.chain(&Plan::of(&[&format!("client-{round}")]))[..sent].to_vec();
                shown.push(observation);
            }
            let anchors = Arc::clone(&bench.knowledge.anchors);
            let mut judge = bench.judge();
            judge.add(Box::new(Watch::new(anchors, 100)));
            let found: Vec<Finding> =
                shown.iter().flat_map(|one| judge.observe(one, one.handshake.first.order.clock)).collect();
            assert_eq!(of(&found, "CERT-034").is_some(), told, "{sent}");
        }
    }
}

/// Names of CAs are nobody's own: who sends another CA of that name makes no strangers of clients that send none.
#[test]
fn a_ca_of_the_same_name_makes_no_new_issuer_of_the_known_one() {
    let [ca, twin, third] = ["Client CA"; 3].map(Ca::new);
    let server = Ca::new("Root").chain(&Plan::of(&[HOST]));
    // Which CA signed, how many certificates are sent, and whether that is told.
    for (last, wanted) in [
        (vec![(&twin, 2), (&ca, 1)], vec![]),
        (vec![(&twin, 2), (&ca, 1), (&twin, 1), (&twin, 2)], vec![]),
        // Of one name one key is known.
        (vec![(&twin, 2), (&third, 2), (&third, 1)], vec![1]),
        (vec![(&ca, 2), (&twin, 2), (&ca, 1)], vec![1]),
    ] {
        let mut bench = Bench::new(&[]);
        let mut shown = Vec::new();
        for (signed, sent) in std::iter::repeat_n((&ca, 1), 39).chain(last) {
            bench.scene.now += 3_600;
            let mut observation = bench.handshake((HOST, "203.0.113.10"), &server);
            let plan = Plan { authority: false, ..Plan::of(&[&format!("client-{}", shown.len())]) };
            observation.client_chain = signed.chain(&plan)[..sent].to_vec();
            shown.push(observation);
        }
        let mut judge = bench.judge();
        let anchors = Arc::clone(&Scene::new(&[]).anchors);
        judge.add(Box::new(Watch::new(anchors, 100)));
        let told = shown.iter().enumerate().filter(|(_, one)| {
            let found = judge.observe(one, one.handshake.first.order.clock);
            found.iter().any(|finding| finding.rule.id == "TLSW-CERT-034")
        });
        assert_eq!(told.map(|(number, _)| number - 39).collect::<Vec<_>>(), wanted);
    }
}

/// Anybody may write the name of a host of ours into a certificate of his own.
#[test]
fn a_certificate_that_only_names_our_host_was_not_carried_away() {
    let (ca, own) = (Ca::new("Root"), Plan::of(&["dev.example.org", HOST]));
    let place = format!("[[host]]\nmatch = [\"{HOST}\"]\nplaces = [\"192.0.2.0/24\"]\n");
    let chain = ca.chain(&own);
    let key = chain[0].facts.as_ref().unwrap().spki_sha256;
    for (host, roots, pins, chain, told) in [
        ("dev.example.org", &[][..], String::new(), own.self_signed(), false),
        ("dev.example.org", &[], String::new(), chain.clone(), false),
        ("dev.example.org", &[&ca], String::new(), chain.clone(), true),
        ("dev.example.org", &[], format!("pins = [\"{key}\"]\n"), chain, true),
        (HOST, &[], String::new(), own.self_signed(), true),
    ] {
        let found = judged(Bench::new(roots).policy(&format!("{place}{pins}")), &[(host, "10.1.0.1", chain)]);
        assert_eq!(of(&found, "POL-005").is_some(), told, "{host} {pins}");
    }
}

/// A leaf that names the key of this CA as its issuer's, and was signed by another one of its name.
fn claiming(ca: &Ca) -> Arc<Certificate> {
    let facts = ca.certificate.facts.as_ref().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, facts.subject.common_names[0].as_str());
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let identifier = facts.subject_key_identifier.as_deref().unwrap().to_vec();
    params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(identifier);
    let mut leaf = Plan::of(&[HOST]).params();
    leaf.use_authority_key_identifier_extension = true;
    parse(leaf.signed_by(&key(), &rcgen::Issuer::new(params, key())).unwrap().der())
}

/// An internal CA is a known issuer as a public one is, but others may bear its name.
#[test]
fn who_claims_the_key_of_our_ca_is_found_out() {
    let (ours, namesake) = (Ca::new("Our CA"), Ca::new("Our CA"));
    let internal = format!("[[internal_ca]]\nname = \"ours\"\nspki = [\"{}\"]\n", spki(&ours));
    let below = ours.intermediate("Issuing CA");
    for (policy, ca, forged, wanted) in [
        (&internal, &ours, claiming(&ours), Some(Severity::Critical)),
        (&internal, &ours, namesake.leaf(&Plan::of(&[HOST])), None),
        (&internal, &ours, ours.leaf(&Plan::of(&[HOST])), None),
        (&internal, &below, claiming(&below), None),
        (&String::new(), &ours, claiming(&ours), None),
    ] {
        let genuine = ("a.example.com", "10.1.0.1", ca.chain(&Plan::of(&["a.example.com"])));
        let forged = (HOST, "10.2.0.2", vec![forged]);
        for shown in [[genuine.clone(), forged.clone()], [forged, genuine]] {
            let found = judged(Bench::new(&[]).policy(policy), &shown);
            let found = of(&found, "MITM-005");
            assert_eq!(found.map(|one| one.severity), wanted);
            assert!(found.is_none_or(|one| one.ends.unwrap().client.address.to_string() == "10.2.0.2"));
        }
    }
}

/// Browsers send an encrypted ClientHello always, also to servers that know none.
#[test]
fn what_hides_no_name_hides_nobody() {
    let (public, proxy) = (Ca::new("Public Root"), Ca::new("Proxy"));
    let sites = ["www.google.com", "github.com", "www.facebook.com", "www.amazon.com", "www.microsoft.com"];
    for (encrypted, version, seen) in [(false, 0x0303, true), (true, 0x0303, true), (true, 0x0304, false)] {
        let mut bench = Bench::new(&[&public]);
        let mut shown: Vec<_> = sites.into_iter().map(|site| (site, proxy.chain(&Plan::of(&[site])))).collect();
        shown.push(("www.example.org", public.chain(&Plan::of(&[HOST]))));
        let made = shown.into_iter().map(|(site, chain)| {
            let mut one = bench.handshake((site, "203.0.113.10"), &chain);
            one.handshake.client_hello.as_mut().unwrap().encrypted_client_hello = encrypted;
            one.handshake.server_hello.as_mut().unwrap().selected_version = Some(version);
            one
        });
        let made: Vec<_> = made.collect();
        let anchors = Arc::clone(&bench.knowledge.anchors);
        let mut judge = bench.judge();
        judge.add(Box::new(Watch::new(anchors, 100)));
        let found: Vec<Finding> =
            made.iter().flat_map(|one| judge.observe(one, one.handshake.first.order.clock)).collect();
        assert_eq!(of(&found, "MITM-007").is_some(), seen, "{encrypted} {version:#x}");
        assert_eq!(of(&found, "CERT-004").is_some(), seen, "{encrypted} {version:#x}");
    }
}

/// Whether a name was hidden or not, it is one host whose version steps back.
#[test]
fn a_step_back_is_one_though_the_name_was_hidden_before() {
    let (mut bench, chain) = (Bench::new(&[]), Ca::new("Root").chain(&Plan::of(&[HOST])));
    let mut shown = Vec::new();
    for round in 0..54 {
        bench.scene.now += 60;
        let mut one = bench.handshake((HOST, "203.0.113.10"), if round < 50 { &[] } else { &chain });
        let hello = one.handshake.client_hello.as_mut().unwrap();
        hello.encrypted_client_hello = true;
        hello.supported_versions = vec![0x0304, 0x0303].into();
        if round < 50 {
            one.handshake.server_hello.as_mut().unwrap().selected_version = Some(0x0304);
        }
        shown.push(one);
    }
    let anchors = Arc::clone(&bench.knowledge.anchors);
    let mut judge = bench.judge();
    judge.add(Box::new(Watch::new(anchors, 100)));
    let found: Vec<Finding> =
        shown.iter().flat_map(|one| judge.observe(one, one.handshake.first.order.clock)).collect();
    let told = of(&found, "MITM-014").unwrap();
    assert_eq!(&*told.host, "www.example.com:443");
}

/// What was refused once is not what is refused for ever.
#[test]
fn refusals_of_another_certificate_are_another_cause() {
    let (public, proxy) = (Ca::new("Public Root"), Ca::new("Proxy"));
    let (forged, genuine) = (proxy.chain(&Plan::of(&[HOST])), public.chain(&Plan::of(&[HOST])));
    for (later, pause, same) in [
        (Some(&forged), 9_000, true),
        (Some(&genuine), 9_000, false),
        (Some(&genuine), 60, false),
        (None, 60, true),
        (None, 9_000, false),
    ] {
        let mut scene = Scene::new(&[&public]);
        let mut watch = Watch::new(Arc::clone(&scene.anchors), 100);
        // Nothing to compare with: what the rule about refusals says is of interest here.
        let mut refused = |scene: &mut Scene, client: &str, chain: &[Arc<Certificate>]| {
            let mut observation = scene.handshake(client, "203.0.113.10", chain);
            let alert = Alert { direction: Direction::LowToHigh, level: 2, description: 48 };
            observation.handshake.alerts = vec![alert];
            let found = scene.show(&mut watch, HOST, &observation);
            of(&found, "MITM-013").map(|one| one.cause.clone())
        };
        let cause = Cause::IssuerKey(proxy.certificate.facts.as_ref().unwrap().spki_sha256);
        assert_eq!(refused(&mut scene, "10.1.0.1", &forged), None);
        scene.now += pause;
        let chain = later.map_or(&[][..], |chain| chain);
        let found = [2, 3, 4].map(|client| refused(&mut scene, &format!("10.1.0.{client}"), chain));
        assert_eq!(found[2].as_ref() == Some(&cause), same, "{pause} {found:?}");
        assert!(found[2].is_some());
    }
}

/// Who got what in the hour is counted anew where a capture is older than what was read before it.
#[test]
fn views_split_in_an_older_capture_too() {
    let (public, enemy) = (Ca::new("Public Root"), Ca::new("Proxy"));
    let plan = |days: i64| Plan::of(&[HOST]).dates(START - days * DAY, START + 80 * DAY);
    let (genuine, forged) = (public.chain(&plan(10)), enemy.chain(&plan(11)));
    for (days, others) in [(0, 4), (30, 4), (30, 1)] {
        let mut scene = Scene::new(&[&public]);
        let mut watch = Watch::new(Arc::clone(&scene.anchors), 100);
        let mut found = Vec::new();
        let mut serve = |scene: &mut Scene, client: &str, chain: &[Arc<Certificate>]| {
            scene.now += 5;
            found.extend(scene.serve(&mut watch, (HOST, client), chain));
        };
        if days > 0 {
            scene.now = START + days * DAY;
            (0..20).for_each(|client| serve(&mut scene, &format!("10.0.{}.{client}", client % 4), &genuine));
            scene.now = START;
        }
        for _ in 0..6 {
            (0..others).for_each(|client| serve(&mut scene, &format!("10.1.{client}.1"), &genuine));
            serve(&mut scene, "10.2.0.22", &forged);
        }
        found.extend(scene.finish(&mut watch));
        // The twenty of a later day are no others of this hour.
        assert_eq!(of(&found, "MITM-008").is_some(), others == 4, "{days} {others}");
        let case = of(&found, "MITM-002").unwrap();
        assert!(case.evidence.pro.iter().all(|point| point.id != "H6"), "{days} {others}");
    }
}

/// Who writes a book into a certificate does not have it repeated in every finding.
#[test]
fn findings_tell_so_much_of_a_name() {
    let (public, long) = (Ca::new("Public Root"), "x".repeat(20_000));
    let enemy = Ca::new(&format!("Proxy {long}"));
    let mut plan = Plan::of(&[HOST, &format!("{long}.example.com")]);
    plan.common_name = long;
    let mut shown = vec![(HOST, "10.1.0.1", public.chain(&Plan::of(&[HOST]))); 3];
    shown.push((HOST, "10.2.0.2", enemy.chain(&plan)));
    let found = judged(Bench::new(&[&public]), &shown);
    assert!(of(&found, "MITM-002").is_some());
    for finding in found {
        let points = finding.evidence.pro.iter().chain(&finding.evidence.contra).chain(&finding.evidence.proofs);
        let texts = points.flat_map(|point| [Some(&point.text), point.observed.as_ref(), point.expected.as_ref()]);
        let longest = texts.flatten().chain([&finding.message]).map(String::len).max();
        assert!(longest < Some(2_000), "{}: {longest:?}", finding.rule.id);
    }
}

/// Who may intercept is a CA of the owner's. One that browsers trust signs for everybody: whatever the policy says, what it
/// signed is not authorised.
#[test]
fn a_public_ca_is_no_proxy_of_ours() {
    let (public, ours, other) = (Ca::new("Public Root"), Ca::new("Our Root"), Ca::new("Other Public Root"));
    let (private, below) = (ours.intermediate("Our Proxy"), other.intermediate("Public Issuer"));
    let sites = [HOST, "www.example.org", "www.example.net"];
    let genuine = sites.map(|site| (site, public.chain(&Plan::of(&[site]))));
    let shared = Arc::new(key());
    let found_with = |policy: &str, signer: &Ca, root: &Ca| {
        let mut shown: Vec<_> = genuine.iter().map(|(site, chain)| (*site, "10.1.0.1", chain.clone())).collect();
        shown.extend(sites.map(|site| {
            let mut chain = signer.chain(&Plan::of(&[site]).keyed(&shared));
            chain.push(Arc::clone(&root.certificate));
            (site, "10.2.0.2", chain)
        }));
        told(&judged(Bench::new(&[&public, &other]).public().policy(policy), &shown))
    };
    for (signer, root, alerts) in [(&private, &ours, false), (&below, &other, true)] {
        let without = found_with("", signer, root);
        assert!(!without.is_empty());
        for named in [signer, root] {
            let policy =
                format!("[[interception]]\nname = \"p\"\nspki = [\"{}\"]\nmode = \"authorised\"\n", spki(named));
            assert_eq!(found_with(&policy, signer, root), if alerts { without.clone() } else { Vec::new() });
        }
    }
}
