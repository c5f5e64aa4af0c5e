//! Where the rules about hosts begin and end, to the second, the point and the handshake.

use std::sync::Arc;

use super::presented::strength;
use super::record::{Made, Phase};
use super::score::{Circumstances, Network, Others, Question, judge};
use super::tests::{HOST, World, points, world};
use super::*;
use crate::detect::catalogue::Severity;
use crate::detect::testing::{Ca, DAY, Plan, START, Scene, of};
use crate::x509::{KeyKind, PublicKey};

#[test]
fn a_score_is_medium_and_high_from_a_point_on() {
    let (mut world, _) = world(6);
    let chain = Ca::new("Proxy CA").chain(&Plan::of(&[HOST]));
    let observation = world.scene.handshake("10.9.9.9", "203.0.113.10", &chain);
    let memo = SignatureMemo::new(1 << 16);
    let new = world.scene.with(HOST, &observation, |sighting| Presented::of(sighting, &memo)).unwrap();
    let key = HostKey { name: HOST.to_owned(), port: 443 };
    let severity = |thresholds: (i32, i32)| {
        let case = judge(&Question {
            host: HOST.into(),
            record: world.hosts.table().get(&key).unwrap(),
            new: &new,
            at: Timestamp::new(world.scene.now, 0),
            seconds: Some(world.scene.now),
            others: Others::default(),
            network: Network::default(),
            circumstances: Circumstances::default(),
            proofs: Vec::new(),
            offline: true,
            thresholds,
        });
        (case.score, case.severity)
    };
    let (score, _) = severity((40, 70));
    for (thresholds, wanted) in [
        ((40, score), Severity::High),
        ((40, score + 1), Severity::Medium),
        ((score, 1_000), Severity::Medium),
        ((score + 1, 1_000), Severity::Low),
    ] {
        assert_eq!(severity(thresholds).1, Some(wanted), "{score} {thresholds:?}");
    }
}

#[test]
fn keys_are_as_strong_as_their_bits() {
    for (kind, bits, wanted) in [
        (KeyKind::Rsa, 1_023, 64),
        (KeyKind::Rsa, 1_024, 80),
        (KeyKind::RsaPss, 2_047, 80),
        (KeyKind::Dsa, 2_048, 112),
        (KeyKind::Ec, 222, 111),
        (KeyKind::Ec, 224, 112),
        (KeyKind::Ec, 521, 112),
    ] {
        assert_eq!(strength(&PublicKey { kind, bits, ..PublicKey::default() }), wanted, "{kind:?} {bits}");
    }
}

#[test]
fn a_leaf_is_made_with_its_issuer_within_ten_minutes() {
    let from = START - 30 * DAY;
    let ca = Ca::since("Proxy CA", from);
    for (later, made) in [
        (600, Made::WithIssuer),
        (601, Made::Otherwise),
        (-600, Made::WithIssuer),
        (-601, Made::Otherwise),
        (-DAY, Made::Otherwise),
        (-DAY - 1, Made::BeforeIssuer),
    ] {
        let chain = ca.chain(&Plan::of(&[HOST]).dates(from + later, START + 50 * DAY));
        let mut scene = Scene::new(&[]);
        let observation = scene.handshake("10.0.0.1", "203.0.113.10", &chain);
        let memo = SignatureMemo::new(1 << 16);
        let new = scene.with(HOST, &observation, |sighting| Presented::of(sighting, &memo)).unwrap();
        assert_eq!(new.made, made, "{later}");
    }
}

/// One client gets a chain that nobody trusts, then so many clients the genuine one (MITM-008).
fn is_split((clients, handshakes): (u8, u8), pause: i64) -> bool {
    let (mut world, chain): (World, _) = world(5);
    world.scene.now += 4 * 3_600;
    let forged = Ca::new("Proxy CA").chain(&Plan::of(&[HOST]).dates(START - 3 * DAY - 5, START + 80 * DAY));
    let mut found = world.serve("10.2.0.22", &forged);
    world.scene.now += pause;
    for handshake in 0..handshakes {
        let client = handshake % clients;
        found.extend(world.serve(&format!("10.0.{client}.{}", client + 1), &chain));
    }
    found.extend(world.end());
    of(&found, "MITM-008").is_some()
}

#[test]
fn a_majority_has_three_clients_and_ten_handshakes_in_the_hour() {
    for (majority, pause, fires) in [
        ((3, 10), 60, true),
        ((3, 9), 60, false),
        ((2, 10), 60, false),
        ((3, 10), 3_600, true),
        ((3, 10), 3_601, false),
    ] {
        assert_eq!(is_split(majority, pause), fires, "{majority:?} {pause}");
    }
}

#[test]
fn who_else_got_it_counts_for_an_hour() {
    for (pause, one_subnet) in [(3_600, false), (3_601, true)] {
        let (mut world, chain) = world(6);
        let forged = Ca::new("Proxy CA").chain(&Plan::of(&[HOST]));
        world.serve("10.9.9.9", &forged);
        world.scene.now += pause;
        world.serve("10.8.8.8", &forged);
        world.serve("10.0.1.1", &chain);
        world.end();
        let case = world.hosts.cases(HOST).last().unwrap();
        assert_eq!(points(case).iter().any(|(id, _)| *id == "H6"), one_subnet, "{pause}");
    }
}

#[test]
fn a_host_is_established_after_thirty_handshakes_and_a_day() {
    for (handshakes, clients, seconds, phase) in [
        (30, 3, DAY, Phase::Established),
        (29, 3, DAY, Phase::Learning),
        (30, 2, DAY, Phase::Learning),
        (30, 3, DAY - 1, Phase::Learning),
        (100, 1, DAY, Phase::Established),
        (99, 1, DAY, Phase::Learning),
    ] {
        let public = Ca::new("Public Root");
        let mut scene = Scene::new(&[&public]);
        let mut hosts = Hosts::new(Arc::clone(&scene.anchors), 100);
        let chain = public.chain(&Plan::of(&[HOST]));
        for handshake in 1..=handshakes {
            if handshake == handshakes {
                scene.now += seconds;
            }
            let client = format!("10.0.{}.1", handshake % clients);
            scene.serve(&mut hosts, (HOST, &client), &chain);
        }
        let record = hosts.table().iter().next().unwrap();
        assert_eq!(record.phase(Timestamp::new(scene.now, 0)), phase, "{handshakes} {clients} {seconds}");
    }
}

/// MITM-004: serial numbers that differ by less than 2^32.
#[test]
fn serial_numbers_are_near_up_to_a_limit() {
    let number = |low: u64| [&[0x11; 8][..], &low.to_be_bytes()].concat();
    let base = 0x2000_0000_0000_0000_u64;
    let limit = 1_u64 << 32;
    for (low, copied) in
        [(base + limit - 1, true), (base + limit, false), (base + 1 - limit, true), (base - limit, false), (base, true)]
    {
        let (public, proxy) = (Ca::new("Public Root"), Ca::new("Proxy CA"));
        let mut scene = Scene::new(&[&public]);
        let mut hosts = Hosts::new(Arc::clone(&scene.anchors), 10);
        let genuine = Plan { serial: number(base), ..Plan::of(&[HOST]) };
        scene.serve(&mut hosts, (HOST, "10.0.0.1"), &public.chain(&genuine));
        let copy = Plan { serial: number(low), ..Plan::of(&[HOST]) }.dates(START - 3 * DAY - 5, START + 50 * DAY + 7);
        let found = scene.serve(&mut hosts, (HOST, "10.0.0.2"), &proxy.chain(&copy));
        assert_eq!(of(&found, "MITM-004").is_some(), copied, "{low:x}");
    }
}

/// A certificate for another name comes to a host that is watched live.
fn held() -> (World, Vec<Arc<Certificate>>) {
    let (mut world, chain) = world(5);
    world.scene.offline = false;
    let other = Ca::new("Private").chain(&Plan::of(&["other.example.com"]).dates(START - 5, START + DAY * 30));
    assert!(world.serve("10.9.9.9", &other).is_empty());
    (world, chain)
}

#[test]
fn a_case_is_held_for_a_quarter_of_an_hour() {
    for (seconds, over) in [(899, false), (900, true)] {
        let (mut world, _) = held();
        let found = world.scene.advance(&mut world.hosts, seconds);
        assert_eq!(of(&found, "MITM-002").is_some(), over, "{seconds}");
    }
}

#[test]
fn twenty_handshakes_decide_a_case() {
    let (mut world, chain) = held();
    let told: Vec<bool> = (0..20)
        .map(|_| {
            let mut found = world.serve("10.0.0.1", &chain);
            found.extend(world.scene.advance(&mut world.hosts, 0));
            of(&found, "MITM-002").is_some()
        })
        .collect();
    assert_eq!(told.iter().position(|told| *told), Some(19));
}
