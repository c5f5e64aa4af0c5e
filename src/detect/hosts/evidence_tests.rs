//! Evidence as it comes about: what the detector itself finds out and hands to the score.

use std::sync::Arc;

use super::hold::Held;
use super::score::Others;
use super::tests::{HOST, World, points, world};
use super::*;
use crate::detect::catalogue::Severity;
use crate::detect::observation::Observation;
use crate::detect::testing::{Ca, DAY, Plan, START, Scene, ids, key, of};
use crate::direction::Direction;
use crate::x509::Certificate;

/// Points of the last case of the host.
fn last(world: &World) -> Vec<&'static str> {
    let case = world.hosts.cases(HOST).last().unwrap();
    points(case).into_iter().map(|(id, _)| id).collect()
}

fn moved(world: &mut World) -> Vec<Arc<Certificate>> {
    let other = Ca::new("Other Public Root");
    Arc::make_mut(&mut world.scene.anchors).add(Arc::clone(&other.certificate));
    other.chain(&Plan::of(&[HOST, "example.com"]))
}

#[test]
fn a_client_refuses_what_is_new() {
    use crate::tls::Alert;
    for (description, refused) in [(48, true), (45, false)] {
        let mut world = world(1).0;
        let chain = moved(&mut world);
        let mut observation = world.scene.handshake("10.0.0.1", "203.0.113.10", &chain);
        let alert = Alert { direction: Direction::LowToHigh, level: 2, description };
        observation.handshake.alerts = vec![alert];
        world.scene.show(&mut world.hosts, HOST, &observation);
        world.end();
        assert_eq!(last(&world).contains(&"H15"), refused);
    }
}

/// A CA change in mid-life with a logged certificate, as detections count it: 15 + 15 - 20 with the log's key, else -10.
#[test]
fn a_timestamp_counts_twice_as_much_when_a_known_log_signed_it() {
    use rcgen::PublicKeyData as _;
    for (knows_log, trusted, wanted) in
        [(true, true, Some(("B7", -20))), (false, true, Some(("B7", -10))), (true, false, None)]
    {
        let mut world = world(1).0;
        let (other, log) = (Ca::new("Other Public Root"), key());
        if trusted {
            Arc::make_mut(&mut world.scene.anchors).add(Arc::clone(&other.certificate));
        }
        if knows_log {
            assert!(world.scene.knowledge.logs.add(&log.subject_public_key_info(), None));
        }
        let above = other.certificate.facts.as_deref().unwrap().spki_sha256;
        let plan = Plan::of(&[HOST, "example.com"]).params();
        let leaf = crate::x509::sct::tests::logged(&plan, (&key(), &other.issuer, &above), (&log, 1_700_000_000_000));
        world.serve("10.0.0.1", &[Arc::new(leaf), Arc::clone(&other.certificate)]);
        world.end();
        let case = world.hosts.cases(HOST).last().unwrap();
        let found = points(case).into_iter().find(|(id, _)| *id == "B7");
        assert_eq!(found, wanted);
        if let Some((_, points)) = wanted {
            assert_eq!(case.score, 30 + points);
        }
    }
}

#[test]
fn a_certificate_known_from_other_hosts() {
    for (clients, known) in [(3, true), (2, false)] {
        let mut world = world(1).0;
        let chain = moved(&mut world);
        for client in 1..=clients {
            let client = format!("10.5.{client}.1");
            assert!(world.scene.serve(&mut world.hosts, ("example.com", &client), &chain).is_empty());
        }
        world.serve("10.0.0.1", &chain);
        world.end();
        let last = last(&world);
        assert_eq!(last.contains(&"B6"), known, "{last:?}");
    }
}

#[test]
fn an_issuer_known_from_other_hosts() {
    for (public, elsewhere, new) in [(false, true, false), (false, false, true), (true, false, false)] {
        let mut world = world(1).0;
        let other = Ca::new("Other Root");
        if public {
            Arc::make_mut(&mut world.scene.anchors).add(Arc::clone(&other.certificate));
        }
        if elsewhere {
            let chain = other.chain(&Plan::of(&["wiki.example"]));
            world.scene.serve(&mut world.hosts, ("wiki.example", "10.0.0.1"), &chain);
        }
        world.serve("10.0.0.1", &other.chain(&Plan::of(&[HOST, "example.com"])));
        world.end();
        let last = last(&world);
        assert!(last.contains(&"H2a") && last.contains(&"H2b") == new, "{last:?}");
    }
}

#[test]
fn the_policy_allows_an_issuer_that_signed() {
    for (theirs, allowed) in [(true, true), (false, false)] {
        let mut world = world(1).0;
        let chain = moved(&mut world);
        let issuer = if theirs { &chain[1] } else { &world.public.certificate };
        let spki = issuer.facts.as_deref().unwrap().spki_sha256;
        world.scene.policy(&format!("version = 1\n[[host]]\nmatch = [\"{HOST}\"]\nissuers = [\"{spki}\"]\n"));
        let found = world.serve("10.0.0.1", &chain);
        assert_eq!(of(&found, "MITM-001").is_none(), allowed);
        world.end();
        assert_eq!(last(&world).contains(&"B9"), allowed);
    }
}

#[test]
fn an_issuer_that_only_seems_to_have_signed_allows_nothing() {
    let mut world = world(1).0;
    let spki = world.public.certificate.facts.as_deref().unwrap().spki_sha256;
    world.scene.policy(&format!("version = 1\n[[host]]\nmatch = [\"{HOST}\"]\nissuers = [\"{spki}\"]\n"));
    // The genuine CA is appended to a chain that it did not sign.
    let mut forged = Ca::new("Proxy CA").chain(&Plan::of(&[HOST]));
    forged.push(Arc::clone(&world.public.certificate));
    assert!(of(&world.serve("10.0.0.1", &forged), "MITM-001").is_some());
    world.end();
    assert!(!last(&world).contains(&"B9"));
}

#[test]
fn what_was_expected_is_named() {
    let (mut world, _) = world(1);
    let chain = Ca::new("Proxy CA").chain(&Plan::of(&[HOST]));
    let case = world.score(&chain, Others::default(), false);
    let point = case.pro.iter().find(|point| point.id == "H2a").unwrap();
    assert_eq!(point.expected.as_deref(), Some("CN=Public Root"));
    assert_eq!(point.observed.as_deref(), Some("CN=Proxy CA"));
    // One that calls itself the same is told apart by its key.
    let chain = Ca::new("Public Root").chain(&Plan::of(&[HOST]));
    let case = world.score(&chain, Others::default(), false);
    let point = case.pro.iter().find(|point| point.id == "H2a").unwrap();
    let values = [&point.observed, &point.expected].map(|value| value.clone().unwrap());
    assert!(values.iter().all(|value| value.starts_with("CN=Public Root (identified by ")), "{values:?}");
    assert_ne!(values[0], values[1]);
}

#[test]
fn an_own_key_alone_is_high_and_any_other_proof_critical() {
    let (mut world, _) = world(1);
    let renewed = world.public.chain(&Plan::of(&[HOST, "example.com"]));
    let observation = world.scene.handshake("10.9.9.9", "203.0.113.10", &renewed);
    let memo = SignatureMemo::new(1 << 16);
    let new = world.scene.with(HOST, &observation, |sighting| Presented::of(sighting, &memo)).unwrap();
    let host = HostKey { name: HOST.to_owned(), port: 443 };
    for (proof, severity) in [("P2", Severity::High), ("P3", Severity::Critical), ("P4", Severity::Critical)] {
        let case = score::judge(&score::Question {
            host: HOST.into(),
            record: world.hosts.table.get(&host).unwrap(),
            new: &new,
            at: Timestamp::new(world.scene.now, 0),
            seconds: Some(world.scene.now),
            others: Others::default(),
            network: score::Network::default(),
            circumstances: score::Circumstances::default(),
            proofs: vec![Point { id: proof, ..Point::default() }],
            offline: true,
            thresholds: (40, 70),
        });
        assert!(case.score < 40);
        assert_eq!(case.severity, Some(severity), "{proof}");
    }
}

#[test]
fn short_serial_numbers_and_the_same_issuer_are_no_copy() {
    let first = |serial: &[u8]| Plan { serial: serial.to_vec(), ..Plan::of(&[HOST, "example.com"]) };
    let second = |serial: &[u8]| first(serial).dates(START - 3 * DAY - 5, START + 50 * DAY + 7);
    for (serial, copied) in [(&[0x11; 16][..], true), (&[0x11; 4], false)] {
        let public = Ca::new("Public Root");
        let mut scene = Scene::new(&[&public]);
        let mut hosts = Hosts::new(Arc::clone(&scene.anchors), 10);
        scene.serve(&mut hosts, (HOST, "10.0.0.1"), &public.chain(&first(serial)));
        let forged = Ca::new("Proxy CA").chain(&second(serial));
        let found = scene.serve(&mut hosts, (HOST, "10.0.0.2"), &forged);
        assert_eq!(of(&found, "MITM-004").is_some(), copied, "{serial:?}");
    }
    // A private CA whose servers send the leaf alone: who issued it is told by the identifier.
    let private = Ca::new("Private");
    let mut scene = Scene::new(&[]);
    let mut hosts = Hosts::new(Arc::clone(&scene.anchors), 10);
    let plan = first(&[0x11; 16]);
    scene.serve(&mut hosts, (HOST, "10.0.0.1"), &private.chain(&plan));
    assert_eq!(ids(&scene.serve(&mut hosts, (HOST, "10.0.0.2"), &[private.leaf(&plan)])), [] as [&str; 0]);
    let other = Ca::new("Private");
    let found = scene.serve(&mut hosts, (HOST, "10.0.0.3"), &[other.leaf(&plan)]);
    assert!(of(&found, "MITM-004").is_some(), "another key of that name");
}

#[test]
fn only_valid_public_paths_teach_who_a_ca_is() {
    // Learned: an intermediate of a public path. A namesake of it did not sign what it claims.
    let root = Ca::new("Public Root");
    let made = |days: i64| {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "Intermediate");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let day = |at: i64| rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(at.try_into().unwrap());
        (params.not_before, params.not_after) = (day(START - 100 * DAY), day(START + days * DAY));
        let key = key();
        let certificate = crate::detect::testing::parse(params.signed_by(&key, &root.issuer).unwrap().der());
        Ca { issuer: rcgen::Issuer::new(params, key), certificate }
    };
    for (days, learned) in [(100, true), (-50, false)] {
        let intermediate = made(days);
        let mut scene = Scene::new(&[&root]);
        let mut hosts = Hosts::new(Arc::clone(&scene.anchors), 10);
        let chain = intermediate.chain(&Plan::of(&["www.example.org"]));
        scene.serve(&mut hosts, ("www.example.org", "10.0.0.1"), &chain);
        let claims = Ca::new("Intermediate").leaf(&Plan::of(&[HOST]));
        let found = scene.serve(&mut hosts, (HOST, "10.0.0.2"), &[claims]);
        assert_eq!(of(&found, "MITM-005").is_some(), learned);
    }
}

#[test]
fn a_key_that_turns_up_elsewhere_while_a_case_is_held() {
    for (same, wanted) in [(true, true), (false, false)] {
        let mut world = world(1).0;
        let shared = Arc::new(key());
        let chain = Ca::new("Proxy CA").chain(&Plan::of(&[HOST]).keyed(&shared));
        world.serve("10.9.9.9", &chain);
        let told = if same { chain[0].facts.as_deref().unwrap().spki_sha256 } else { Sha256([9; 32]) };
        world.hosts.note_shared_key(&told);
        world.end();
        assert_eq!(last(&world).contains(&"H10"), wanted);
    }
}

#[test]
fn others_count_within_the_hour() {
    let run = |pause: i64| {
        let (mut world, chain) = world(6);
        let forged = Ca::new("Proxy CA").chain(&Plan::of(&[HOST]));
        world.serve("10.9.9.9", &forged);
        world.scene.now += pause;
        // A second subnet gets it: only one is what H6 asks for, if it was in time.
        let observation: Observation = world.scene.handshake("10.8.8.8", "203.0.113.10", &forged);
        world.scene.show(&mut world.hosts, HOST, &observation);
        world.serve("10.0.1.1", &chain);
        world.end();
        last(&world)
    };
    assert!(!run(60).contains(&"H6"), "two subnets within the hour");
    assert!(run(60).contains(&"H5"));
    assert!(run(7_300).contains(&"H6"), "the second subnet came too late");
}

/// What the others got counts as far as the first hour goes: afterwards it says nothing about the moment.
#[test]
fn the_expected_certificate_counts_within_the_hour() {
    for (pause, counts) in [(3_600, true), (3_601, false)] {
        let (mut world, chain) = world(6);
        // Nobody was there in the hours before.
        world.scene.now += DAY / 4;
        world.serve("10.9.9.9", &Ca::new("Proxy CA").chain(&Plan::of(&[HOST])));
        world.scene.now += pause;
        for client in 0..6 {
            world.serve(&format!("10.0.{}.{}", client % 3, client + 1), &chain);
        }
        world.end();
        assert_eq!(last(&world).contains(&"H6"), counts, "{pause}");
    }
}

#[test]
fn live_a_case_waits_while_more_handshakes_may_decide_it() {
    // Medium: held for a quarter of an hour. High: nothing can be added to it, and it is told at once.
    for (named, score, at_once) in [(false, 30, false), (true, 90, true)] {
        let (mut world, _) = world(6);
        world.scene.policy("version = 1\n[rules.\"TLSW-MITM-002\"]\nmedium = 30\n");
        world.scene.now += DAY / 4;
        world.scene.offline = false;
        let chain = if named { Ca::new("Proxy CA").chain(&Plan::of(&[HOST])) } else { moved(&mut world) };
        let first = world.serve("10.9.9.9", &chain);
        assert_eq!(ids(&first) == ["MITM-002"], at_once, "{score}");
        let later = world.scene.advance(&mut world.hosts, 901);
        assert_eq!(ids(&later) == ["MITM-002"], !at_once, "{score}");
        assert_eq!(first.iter().chain(&later).next().unwrap().evidence.score, Some(score));
    }
}

#[test]
fn a_case_is_open_until_its_evidence_is_in() {
    let (mut world, _) = world(1);
    let chain = Ca::new("Proxy CA").chain(&Plan::of(&[HOST]));
    let observation = world.scene.handshake("10.9.9.9", "203.0.113.10", &chain);
    let memo = SignatureMemo::new(1 << 16);
    let ask = |sighting: &Sighting<'_>| {
        Held::new(sighting, Presented::clone(&Presented::of(sighting, &memo).unwrap()), vec![])
    };
    let held = world.scene.with(HOST, &observation, ask);
    let case = world.score(&chain, Others::default(), false);
    let with = |severity: Option<Severity>, proofs: &[&'static str], known: &[&'static str]| {
        let points = |ids: &[&'static str]| ids.iter().map(|id| Point { id, ..Point::default() }).collect::<Vec<_>>();
        let (contra, pro) = known.iter().partition::<Vec<_>, _>(|id| id.starts_with('B'));
        held.is_open(&Case {
            score: if severity.is_some() { 40 } else { 10 },
            pending: 14,
            severity,
            proofs: points(proofs),
            pro: points(&pro),
            contra: points(&contra),
            ..case.clone()
        })
    };
    for (severity, open) in [
        (None, false),
        (Some(Severity::Low), true),
        (Some(Severity::Medium), true),
        (Some(Severity::High), false),
        (Some(Severity::Critical), false),
    ] {
        assert_eq!(with(severity, &[], &[]), open, "{severity:?}");
    }
    let small = Case { score: 10, severity: None, pro: vec![], contra: vec![], ..case.clone() };
    for (pending, open) in [(14, false), (15, true)] {
        assert_eq!(held.is_open(&Case { pending, ..small.clone() }), open, "{pending}");
    }
    let medium = Some(Severity::Medium);
    assert!(!with(medium, &["P2"], &[]), "proofs need no company");
    for (known, open) in
        [(&["H1", "B2"][..], true), (&["B4"], false), (&["H5"], true), (&["H6"], true), (&["H5", "H6"], false)]
    {
        assert_eq!(with(medium, &[], known), open, "{known:?}");
    }
}

#[test]
fn an_own_key_on_a_host_of_ours_that_was_never_seen_may_be_home_made() {
    let forged = || {
        let own = Arc::new(key());
        let home = Ca::with_key("Home", rcgen::KeyPair::try_from(own.serialize_der()).unwrap());
        home.leaf(&Plan::of(&["wiki.lan", HOST]).keyed(&own))
    };
    for (host, known, severity) in
        [("wiki.lan", false, Severity::Medium), ("wiki.lan", true, Severity::High), (HOST, false, Severity::High)]
    {
        let mut scene = Scene::new(&[]);
        let mut hosts = Hosts::new(Arc::clone(&scene.anchors), 10);
        if known {
            scene.serve(&mut hosts, (host, "10.0.0.1"), &Ca::new("CA").chain(&Plan::of(&[host])));
        }
        let found = scene.serve(&mut hosts, (host, "10.0.0.1"), &[forged()]);
        assert_eq!(of(&found, "MITM-003").unwrap().severity, severity, "{host} {known}");
    }
}

#[test]
fn only_the_expected_certificate_is_served_on() {
    for (renewed, counts) in [(true, false), (false, true)] {
        let (mut world, chain) = world(6);
        world.serve("10.9.9.9", &Ca::new("Proxy CA").chain(&Plan::of(&[HOST])));
        // A renewal is accepted at once; it was not what the host served before.
        let next = if renewed { world.public.chain(&Plan::of(&[HOST, "example.com"])) } else { chain };
        world.serve("10.0.0.1", &next);
        world.end();
        let case = world.hosts.cases(HOST).last().unwrap();
        assert_eq!(points(case).iter().any(|(id, _)| *id == "H5"), counts);
    }
}

#[test]
fn clients_count_in_the_first_hour() {
    for (pause, counts) in [(60, true), (3_700, false)] {
        let mut world = world(3).0;
        let chain = Ca::new("Proxy CA").chain(&Plan::of(&[HOST]));
        for client in ["10.9.1.1", "10.9.2.1", "10.9.3.1"] {
            world.serve(client, &chain);
            world.scene.now += if client == "10.9.2.1" { pause } else { 60 };
        }
        world.end();
        assert_eq!(last(&world).contains(&"B4"), counts);
    }
}

#[test]
fn victims_are_no_clients_of_the_baseline() {
    for forged in [true, false] {
        let (mut world, genuine) = world(6);
        let chain = if forged { Ca::new("Proxy CA").chain(&Plan::of(&[HOST])) } else { genuine };
        for client in ["10.9.9.9", "10.9.8.8"] {
            world.serve(client, &chain);
        }
        let record = world.hosts.table().iter().next().unwrap();
        let clients = record.known_host(Timestamp::new(world.scene.now, 0)).clients;
        assert_eq!(clients, if forged { 6 } else { 8 });
    }
}

/// A full sketch tells that there were many, and no number of them.
#[test]
fn more_clients_than_are_told_apart_are_no_number() {
    for (clients, wanted) in [(300_u32, false), (8_000, true)] {
        let (mut world, genuine) = world(6);
        let record = |world: &World| world.hosts.table().iter().next().unwrap().clone();
        for client in 0..clients {
            world.serve(&format!("10.5.{}.{}", client / 250, client % 250), &genuine);
        }
        let known = record(&world).known_host(Timestamp::new(world.scene.now, 0));
        assert_eq!(known.clients_more, wanted, "{clients}");
        assert!(if wanted { known.clients == 1_536 } else { known.clients.abs_diff(306) < 40 }, "{}", known.clients);
        let text = crate::detect::why_not::describe(&record(&world));
        assert!(text.contains(if wanted { "more than 1536 clients" } else { "about " }), "{text}");
    }
}

/// A new generation of a CA has the name of the old one.
#[test]
fn issuers_of_one_name_are_one_line_with_their_number() {
    let (mut world, _) = world(6);
    for generation in ["Public Root", "Public Root", "Another Root"] {
        let ca = Ca::new(generation);
        Arc::make_mut(&mut world.scene.anchors).add(Arc::clone(&ca.certificate));
        world.serve("10.0.0.1", &ca.chain(&Plan::of(&[HOST])));
    }
    world.end();
    let text = crate::detect::why_not::describe(world.hosts.table().iter().next().unwrap());
    let issuers: Vec<&str> =
        text.lines().filter_map(|line| line.trim().strip_prefix("issuer")).map(str::trim).collect();
    assert_eq!(issuers, ["CN=Public Root (3 of this name)", "CN=Another Root"]);
}
