use std::sync::Arc;

use super::score::{Circumstances, Network, Others, Question, judge};
use super::*;
use crate::detect::catalogue::Effect;
use crate::detect::finding::Evidence;
use crate::detect::observation::Observation;
use crate::detect::testing::{Ca, DAY, Plan, START, Scene, ids, key, of};
use crate::x509::Certificate;

pub(super) const HOST: &str = "www.example.com";

pub(super) struct World {
    pub(super) scene: Scene,
    pub(super) public: Ca,
    pub(super) hosts: Hosts,
}

/// A host with a public certificate that `clients` clients got ten times each over two days.
pub(super) fn world(clients: u8) -> (World, Vec<Arc<Certificate>>) {
    world_with(clients, &Plan::of(&[HOST, "example.com"]))
}

fn world_with(clients: u8, plan: &Plan) -> (World, Vec<Arc<Certificate>>) {
    let public = Ca::new("Public Root");
    let mut scene = Scene::new(&[&public]);
    let mut hosts = Hosts::new(Arc::clone(&scene.anchors), 100);
    let chain = public.chain(plan);
    for round in 0..10 {
        for client in 0..clients {
            let client = format!("10.0.{}.{}", client % 3, client + 1);
            assert_eq!(ids(&scene.serve(&mut hosts, (HOST, &client), &chain)), [] as [&str; 0]);
        }
        if round < 9 {
            scene.now += DAY / 4;
        }
    }
    (World { scene, public, hosts }, chain)
}

impl World {
    pub(super) fn serve(&mut self, client: &str, chain: &[Arc<Certificate>]) -> Vec<Finding> {
        self.scene.serve(&mut self.hosts, (HOST, client), chain)
    }

    pub(super) fn end(&mut self) -> Vec<Finding> {
        self.scene.finish(&mut self.hosts)
    }

    /// The score of a chain, without proofs.
    pub(super) fn score(&mut self, chain: &[Arc<Certificate>], others: Others, verified_sct: bool) -> Case {
        let observation = self.scene.handshake("10.9.9.9", "203.0.113.10", chain);
        let memo = SignatureMemo::new(1 << 16);
        let new = self.scene.with(HOST, &observation, |sighting| Presented::of(sighting, &memo)).unwrap();
        let mut new = Presented::clone(&new);
        if verified_sct {
            new.sct = presented::SctEvidence::Verified;
        }
        let key = HostKey { name: HOST.to_owned(), port: 443 };
        judge(&Question {
            host: HOST.into(),
            record: self.hosts.table().get(&key).unwrap(),
            new: &new,
            at: Timestamp::new(self.scene.now, 0),
            seconds: Some(self.scene.now),
            others,
            network: Network { issuer_known: verified_sct, ..Network::default() },
            circumstances: Circumstances::default(),
            proofs: Vec::new(),
            offline: true,
            thresholds: (40, 70),
        })
    }
}

pub(super) fn points(case: &Case) -> Vec<(&'static str, i32)> {
    case.pro.iter().chain(&case.contra).map(|point| (point.id, point.points)).collect()
}

fn has(evidence: &Evidence, id: &str) -> bool {
    evidence.pro.iter().chain(&evidence.contra).chain(&evidence.proofs).any(|point| point.id == id)
}

#[test]
fn worked_interception_of_one_client() {
    let (mut world, _) = world(6);
    // A day ago to the second, as sslsplit writes it; a weaker key as RSA-1024 after P-256 is.
    let plan = Plan::of(&[HOST]).dates(world.scene.now - DAY, world.scene.now + 364 * DAY);
    let chain = Ca::new("Proxy CA").chain(&plan);
    let observation = world.scene.handshake("10.9.9.9", "203.0.113.10", &chain);
    let memo = SignatureMemo::new(1 << 16);
    let new = world.scene.with(HOST, &observation, |sighting| Presented::of(sighting, &memo)).unwrap();
    let mut new = Presented::clone(&new);
    new.strength = 80;
    let key = HostKey { name: HOST.to_owned(), port: 443 };
    let mut question = Question {
        host: HOST.into(),
        record: world.hosts.table().get(&key).unwrap(),
        new: &new,
        at: Timestamp::new(world.scene.now, 0),
        seconds: Some(world.scene.now),
        others: Others { new_clients: 1, new_subnets: 1, old_clients: 6, old_subnets: 3, ..Others::default() },
        network: Network::default(),
        circumstances: Circumstances::default(),
        proofs: Vec::new(),
        offline: true,
        thresholds: (40, 70),
    };
    let case = judge(&question);
    let wanted = [("H1", 50), ("H2a", 15), ("H2b", 10), ("H9", 10), ("H4", 15), ("H7", 10), ("H6", 20)];
    assert_eq!(points(&case), wanted);
    assert_eq!((case.score, case.severity, case.confidence), (130, Some(Severity::High), 95));
    for (proof, severity) in [("P2", Severity::Critical), ("P3", Severity::Critical)] {
        question.proofs = vec![Point { id: proof, ..Point::default() }];
        assert_eq!(judge(&question).severity, Some(severity));
    }
    assert!(case.text().contains("+50 H1"), "{}", case.text());
}

#[test]
fn worked_lab_pair_of_private_cas() {
    let (lab, other) = (Ca::new("Lab Root"), Ca::new("Other Root"));
    let scene = Scene::new(&[]);
    let hosts = Hosts::new(Arc::clone(&scene.anchors), 100);
    let mut world = World { scene, public: lab, hosts };
    let first = world.public.chain(&Plan::of(&[HOST]));
    assert!(world.serve("10.0.0.1", &first).is_empty());
    let second = other.chain(&Plan::of(&[HOST]));
    let case = world.score(&second, Others { new_clients: 1, new_subnets: 1, ..Others::default() }, false);
    assert_eq!(points(&case), [("H2a", 15), ("H2b", 10), ("H4", 15)]);
    assert_eq!((case.score, case.severity, case.confidence), (40, Some(Severity::Medium), 40));
    let minted = other.chain(&Plan::of(&[HOST]).dates(START - 2 * DAY, START + 365 * DAY));
    assert_eq!(world.score(&minted, Others::default(), false).score, 50);
    // And through the detector: one medium at the end of the capture.
    assert!(world.serve("10.0.0.1", &second).is_empty());
    let end = world.end();
    assert_eq!(ids(&end), ["MITM-002"]);
    assert_eq!((end[0].severity, end[0].evidence.score), (Severity::Medium, Some(40)));
    assert!(end[0].message.contains("www.example.com:443 gave client 10.0.0.1"), "{}", end[0].message);
    // The alert tells of the handshake that was held, with its whole chain.
    let held = end[0].observation.as_deref().unwrap();
    assert_eq!(held.handshake.first.order, end[0].moment.order);
    assert_eq!(held.server_chain.len(), second.len());
}

#[test]
fn handshakes_of_held_cases_are_bounded_in_bytes() {
    let mut world = world(1).0;
    // Four octets of a hello count for each of its own: eight cases fill the room, the ninth goes without.
    for case in 0..9_u8 {
        let chain = Ca::new(&format!("Proxy {case}")).chain(&Plan::of(&[HOST]));
        let mut observation = world.scene.handshake("10.9.9.9", "203.0.113.10", &chain);
        observation.handshake.client_hello.as_mut().unwrap().raw = vec![0; (1 << 20) - 4_096].into();
        assert!(world.scene.show(&mut world.hosts, HOST, &observation).is_empty());
    }
    // One with a certificate that is larger than usual is decided at once.
    let long = Plan { common_name: "x".repeat(20_000), ..Plan::of(&[HOST]) };
    assert_eq!(ids(&world.serve("10.9.9.9", &Ca::new("Long").chain(&long))), ["MITM-002"]);
    let found = world.end();
    let kept: Vec<bool> = found.iter().map(|finding| finding.observation.is_some()).collect();
    assert_eq!((found.len(), kept.iter().filter(|kept| **kept).count()), (9, 8));
    assert!(found.iter().all(|finding| finding.ends.is_some() && finding.certificate.is_some()));
    // What was told frees its room.
    let chain = Ca::new("Proxy").chain(&Plan::of(&[HOST]));
    world.serve("10.9.9.9", &chain);
    assert!(world.end()[0].observation.is_some());
}

#[test]
fn worked_renewal_by_the_same_ca() {
    // Two thirds of the life are over.
    let (mut world, _) = world_with(3, &Plan::of(&[HOST]).dates(START - 64 * DAY, START + 26 * DAY));
    let new = world.public.chain(&Plan::of(&[HOST]).dates(START, START + 90 * DAY));
    let case = world.score(&new, Others::default(), true);
    assert_eq!(points(&case), [("B2", -30), ("B3", -15), ("B7", -20)]);
    assert_eq!((case.severity, case.change_kind()), (None, "rotation_same_issuer"));
    assert!(world.serve("10.0.0.1", &new).is_empty() && world.end().is_empty());
}

#[test]
fn worked_change_of_ca_in_mid_life() {
    let other = Ca::new("Other Public Root");
    let (mut world, _) = world(3);
    Arc::make_mut(&mut world.scene.anchors).add(Arc::clone(&other.certificate));
    let new = other.chain(&Plan::of(&[HOST, "example.com"]).dates(START - 5 * DAY - 77, START + 85 * DAY));
    let case = world.score(&new, Others::default(), true);
    assert_eq!(points(&case), [("H2a", 15), ("H4", 15), ("B7", -20)]);
    assert_eq!((case.score, case.severity, case.change_kind()), (10, None, "issuer_change_public"));
    let hour_later = Others { new_clients: 3, new_subnets: 2, ..Others::default() };
    assert_eq!(world.score(&new, hour_later, true).score, -15);
}

#[test]
fn worked_pair_of_rsa_and_ecdsa() {
    let sibling = Ca::new("Sibling Root");
    let (mut world, _) = world(3);
    Arc::make_mut(&mut world.scene.anchors).add(Arc::clone(&sibling.certificate));
    // The first key counts as RSA.
    let host = HostKey { name: HOST.to_owned(), port: 443 };
    world.hosts.table.get_mut(&host).unwrap().certificates.iter_mut().for_each(|known| known.rsa = true);
    let new = sibling.chain(&Plan::of(&[HOST, "example.com"]));
    let again = Others { old_again: true, old_again_same_server: true, old_clients: 5, ..Others::default() };
    let case = world.score(&new, again, true);
    assert_eq!(points(&case), [("H2a", 15), ("H4", 15), ("B7", -20), ("B11", -30)]);
    assert_eq!(case.score + 30, 10);
}

#[test]
fn worked_device_that_renews_itself() {
    let device = || Plan::of(&["printer.lan"]).dates(START - 100 * DAY, START + 3_000 * DAY).self_signed();
    let mut scene = Scene::new(&[]);
    let mut hosts = Hosts::new(Arc::clone(&scene.anchors), 100);
    assert!(scene.serve(&mut hosts, ("printer.lan", "10.0.0.1"), &device()).is_empty());
    scene.offline = false;
    // Live, the host must be established first.
    let host = HostKey { name: "printer.lan".to_owned(), port: 443 };
    let record = hosts.table.get_mut(&host).unwrap();
    (record.support, record.first) = (100, record.first - 2 * DAY * crate::time::NANOS_PER_SECOND);
    let mut alerts = Vec::new();
    for _ in 0..4 {
        scene.now += DAY;
        alerts.extend(scene.serve(&mut hosts, ("printer.lan", "10.0.0.1"), &device()));
        alerts.extend(scene.advance(&mut hosts, 1_000));
    }
    // H2 25 + H4 15; from the third change within a month on it is volatile and silent.
    let scores: Vec<_> = alerts.iter().map(|alert| alert.evidence.score).collect();
    assert_eq!(scores, [Some(40), Some(40)]);
    assert_eq!(alerts[0].cause, alerts[1].cause, "one alert");
    assert_eq!(hosts.table.get(&host).unwrap().phase(Timestamp::new(scene.now, 0)).name(), "volatile");
}

/// A change of public CA, with one thing changed at a time: which points it brings.
#[test]
fn each_piece_of_evidence_counts_alone() {
    type Change<'a> = &'a dyn Fn(&mut HostRecord, &mut Presented, &mut Network);
    let other = Ca::new("Other Public Root");
    let (mut world, _) = world(3);
    Arc::make_mut(&mut world.scene.anchors).add(Arc::clone(&other.certificate));
    let chain = other.chain(&Plan::of(&[HOST, "example.com"]));
    let observation = world.scene.handshake("10.9.9.9", "203.0.113.10", &chain);
    let memo = SignatureMemo::new(1 << 16);
    let presented = world.scene.with(HOST, &observation, |sighting| Presented::of(sighting, &memo)).unwrap();
    let known = world.hosts.table.get(&HostKey { name: HOST.to_owned(), port: 443 }).unwrap();
    let changes: [(Option<(&str, i32)>, Change<'_>); 11] = [
        (None, &|_, _, _| {}),
        (Some(("H8", 20)), &|record, new, _| {
            record.certificates[0].sct = true;
            new.sct = presented::SctEvidence::Absent;
        }),
        // Whether there was none could not be seen.
        (None, &|record, _, _| record.certificates[0].sct = true),
        (Some(("B7", -10)), &|_, new, _| new.sct = presented::SctEvidence::Present),
        (Some(("H3", 10)), &|_, new, _| new.self_signed = true),
        (Some(("H10", 30)), &|_, _, network| network.key_elsewhere = true),
        (Some(("H15", 15)), &|_, _, network| network.refused = true),
        (Some(("B1", -60)), &|record, new, _| new.spki = Sha256(record.certificates[0].spki)),
        (Some(("B6", -20)), &|_, _, network| network.widely_seen = true),
        (Some(("B8", -30)), &|record, _, _| record.rotations = [record.last; 3]),
        (Some(("B9", -40)), &|_, _, network| network.issuer_allowed = true),
    ];
    for (wanted, change) in changes {
        let (mut record, mut new, mut network) = (known.clone(), Presented::clone(&presented), Network::default());
        change(&mut record, &mut new, &mut network);
        let case = judge(&Question {
            host: HOST.into(),
            record: &record,
            new: &new,
            at: Timestamp::new(world.scene.now, 0),
            seconds: Some(world.scene.now),
            others: Others::default(),
            network,
            circumstances: Circumstances::default(),
            proofs: Vec::new(),
            offline: true,
            thresholds: (40, 70),
        });
        let usual = [("H2a", 15), ("H4", 15)];
        let extra: Vec<_> = points(&case).into_iter().filter(|point| !usual.contains(point)).collect();
        assert_eq!(extra, wanted.into_iter().collect::<Vec<_>>());
        assert_eq!(case.score, 30 + wanted.map_or(0, |(_, points)| points));
    }
}

/// The same change of a public CA, though the former one is served on, with one circumstance at a time.
#[test]
fn each_circumstance_counts_alone() {
    let other = Ca::new("Other Public Root");
    let (mut world, _) = world(3);
    Arc::make_mut(&mut world.scene.anchors).add(Arc::clone(&other.certificate));
    let chain = other.chain(&Plan::of(&[HOST, "example.com"]));
    let observation = world.scene.handshake("10.9.9.9", "203.0.113.10", &chain);
    let memo = SignatureMemo::new(1 << 16);
    let new = world.scene.with(HOST, &observation, |sighting| Presented::of(sighting, &memo)).unwrap();
    let record = world.hosts.table.get(&HostKey { name: HOST.to_owned(), port: 443 }).unwrap();
    let none = Circumstances::default();
    for (wanted, circumstances) in [
        (None, none),
        (Some(("H12", 10)), Circumstances { other_stack: true, ..none }),
        (Some(("H14", 10)), Circumstances { slow: true, ..none }),
        (None, Circumstances { elsewhere: true, ..none }),
        (Some(("B10", -100)), Circumstances { scanner: true, ..none }),
        (Some(("B3", -15)), Circumstances { old_revoked: true, ..none }),
    ] {
        let case = judge(&Question {
            host: HOST.into(),
            record,
            new: &new,
            at: Timestamp::new(world.scene.now, 0),
            seconds: Some(world.scene.now),
            others: Others { old_again: true, old_again_same_server: true, ..Others::default() },
            network: Network::default(),
            circumstances,
            proofs: Vec::new(),
            offline: true,
            thresholds: (40, 70),
        });
        let usual = [("H2a", 15), ("H4", 15), ("H5", 20)];
        let extra: Vec<_> = points(&case).into_iter().filter(|point| !usual.contains(point)).collect();
        assert_eq!(extra, wanted.into_iter().collect::<Vec<_>>());
        assert_eq!(case.score, 50 + wanted.map_or(0, |(_, points)| points));
    }
}

/// What the first handshake with another certificate was like, by the points it brought.
fn extra(world: &mut World, change: &dyn Fn(&mut Observation)) -> Vec<&'static str> {
    let chain = Ca::new("Proxy").chain(&Plan::of(&[HOST]));
    let mut observation = world.scene.handshake("10.9.9.9", "203.0.113.10", &chain);
    change(&mut observation);
    world.scene.show(&mut world.hosts, HOST, &observation);
    let found = world.end();
    let evidence = &of(&found, "MITM-002").unwrap().evidence;
    let all = evidence.pro.iter().chain(&evidence.contra).map(|point| point.id);
    all.filter(|id| matches!(*id, "H12" | "H14" | "B3" | "B10")).collect()
}

#[test]
fn another_way_to_answer_the_same_kind_of_client() {
    type Change<'a> = &'a dyn Fn(&mut Observation);
    let other_cipher: Change<'_> = &|one| one.handshake.server_hello.as_mut().unwrap().cipher_suite = Some(0xc02f);
    let other_client: Change<'_> = &|one| {
        other_cipher(one);
        one.handshake.client_hello.as_mut().unwrap().cipher_suites.push(0x1301);
    };
    let cases: [(Change<'_>, &[&str]); 3] = [(&|_| (), &[]), (other_cipher, &["H12"]), (other_client, &[])];
    for (change, wanted) in cases {
        assert_eq!(extra(&mut world(3).0, change), wanted);
    }
    // Nine handshakes are no habit.
    let mut young = world(3).0;
    let host = HostKey { name: HOST.to_owned(), port: 443 };
    young.hosts.table.get_mut(&host).unwrap().stacks[0].count = 9;
    assert_eq!(extra(&mut young, other_cipher), [] as [&str; 0]);
    // An update of the server is learned.
    let (mut world, chain) = world(3);
    for _ in 0..30 {
        let mut observation = world.scene.handshake("10.0.0.1", "203.0.113.10", &chain);
        other_cipher(&mut observation);
        assert!(world.scene.show(&mut world.hosts, HOST, &observation).is_empty());
    }
    assert_eq!(extra(&mut world, &|_| ()), ["H12"]);
}

#[test]
fn an_answer_that_took_too_long() {
    const MS: i64 = 1_000_000;
    let timed = |answer: i64, round_trip: i64| {
        move |one: &mut Observation| {
            one.handshake.answered_after = Some(answer);
            one.connection.syn_rtt = Some(round_trip);
        }
    };
    for (usual, answer, wanted) in [
        (Some((2 * MS, 2 * MS)), 20 * MS, &["H14"][..]),
        (Some((2 * MS, 2 * MS)), 15 * MS, &[]),
        // Late by five times, but by less than five milliseconds.
        (Some((2 * MS / 10, 2 * MS / 10)), 4 * MS, &[]),
        (None, 400 * MS, &[]),
    ] {
        let (mut world, chain) = world(1);
        for _ in 0..6 {
            let mut observation = world.scene.handshake("10.0.0.1", "203.0.113.10", &chain);
            if let Some((answer, round_trip)) = usual {
                timed(answer, round_trip)(&mut observation);
            }
            world.scene.show(&mut world.hosts, HOST, &observation);
        }
        let round_trip = usual.map_or(2 * MS, |(_, round_trip)| round_trip);
        assert_eq!(extra(&mut world, &timed(answer, round_trip)), wanted, "{usual:?} {answer}");
    }
    // One slow answer in twenty changes nothing, hostile times are harmless.
    let mut answers = record::Answers::default();
    assert!(!answers.is_slow((i64::MAX, 1)));
    for times in [(i64::MAX, 0), (0, i64::MAX), (i64::MAX, i64::MAX), (0, 0)] {
        let mut record = HostRecord::new(&HostKey { name: HOST.to_owned(), port: 443 }, Timestamp(0));
        (0..600).for_each(|_| record.note_answer(record::Answer { stack: None, times: Some(times) }));
        record.answers.is_slow(times);
        answers = record.answers;
        assert!(answers.buckets.iter().map(|count| u32::from(*count)).sum::<u32>() > 100);
    }
    assert!(!answers.is_slow((0, 0)));
}

#[test]
fn what_only_our_scanner_got() {
    let scanners = "version = 1\nscanners = [\"10.9.9.9\"]\n";
    let forged = Ca::new("Proxy").chain(&Plan::of(&[HOST]));
    let mut world = world(3).0;
    world.scene.policy(scanners);
    assert!(world.serve("10.9.9.9", &forged).is_empty() && world.end().is_empty());
    // Others are not told that it is expected.
    assert_eq!(ids(&world.serve("10.9.9.8", &forged)), ["MITM-002"]);
    // The scanner is the first of several.
    let mut world = self::world(3).0;
    world.scene.policy(scanners);
    world.serve("10.9.9.9", &forged);
    assert_eq!(ids(&world.serve("10.9.9.8", &forged)), ["MITM-002"]);
    // Its renewals count like anybody's.
    let mut world = self::world(3).0;
    world.scene.policy(scanners);
    let renewed = world.public.chain(&Plan::of(&[HOST, "example.com"]));
    world.serve("10.9.9.9", &renewed);
    assert!(world.end().is_empty());
    let host = HostKey { name: HOST.to_owned(), port: 443 };
    let record = world.hosts.table.get(&host).unwrap();
    assert_eq!(record.certificate(&renewed[0].sha256).unwrap().standing, Standing::Accepted);
}

#[test]
fn a_revoked_certificate_is_replaced() {
    let (mut world, chain) = world(3);
    let serial = chain[0].facts.as_deref().unwrap().serial.to_vec();
    let list = rcgen::CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2026, 2, 2),
        next_update: rcgen::date_time_ymd(2026, 4, 2),
        crl_number: rcgen::SerialNumber::from_slice(&[1]),
        issuing_distribution_point: None,
        revoked_certs: vec![rcgen::RevokedCertParams {
            serial_number: rcgen::SerialNumber::from_slice(&serial),
            revocation_time: rcgen::date_time_ymd(2026, 2, 1),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&world.public.issuer).unwrap();
    assert_eq!(extra(&mut world, &|_| ()), [] as [&str; 0]);
    world.scene.knowledge.crls = crate::detect::crl::Crl::read(list.der()).unwrap();
    // Nobody looked yet whether the issuer signed it.
    assert_eq!(extra(&mut world, &|_| ()), [] as [&str; 0]);
    let issuer = world.public.certificate.facts.as_deref().unwrap();
    assert_eq!(world.scene.knowledge.crls_of(issuer).count(), 1);
    assert_eq!(extra(&mut world, &|_| ()), ["B3"]);
}

#[test]
fn pins_know_the_owners_file_and_caa_speaks_for_an_issuer() {
    let (mut world, chain) = world(1);
    let other = [7_u8; 32].map(|octet| format!("{octet:02x}")).concat();
    let pinned = format!(
        "version = 1\n[[host]]\nmatch = [\"{HOST}\"]\ncertificates = [\"{other}\"]\ncertificates_file = \"x.json\"\n"
    );
    world.scene.policy(&pinned);
    assert_eq!(ids(&world.serve("10.0.0.1", &chain)), ["MITM-001"]);
    let line = world.scene.policy.hosts[0].line;
    world.scene.knowledge.certificates.insert(line, [chain[0].sha256.0].into());
    assert_eq!(ids(&world.serve("10.0.0.1", &chain)), [] as [&str; 0]);

    let key = key();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "Example Trust");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = crate::detect::testing::parse(params.self_signed(&key).unwrap().der());
    let operator = Ca { issuer: rcgen::Issuer::new(params, key), certificate };
    let moved = operator.chain(&Plan::of(&[HOST, "example.com"]));
    for (domain, wanted) in [("example.org", &["B9"][..]), ("another.org", &[])] {
        let mut world = self::world(1).0;
        world.scene.policy(&format!("version = 1\n[[host]]\nmatch = [\"{HOST}\"]\ncaa = [\"{domain}\"]\n"));
        world.serve("10.0.0.1", &moved);
        world.end();
        let case = world.hosts.cases(HOST).next().unwrap();
        let favour: Vec<&str> = case.contra.iter().map(|point| point.id).filter(|id| *id == "B9").collect();
        assert_eq!(favour, wanted);
    }
}

#[test]
fn own_key_fires_and_a_ca_does_not() {
    let (mut world, _) = world(6);
    let forged_key = Arc::new(key());
    let proxy = Ca::with_key("mitm", rcgen::KeyPair::try_from(forged_key.serialize_der()).unwrap());
    let plan = Plan::of(&[HOST]).keyed(&forged_key);
    let found = world.serve("10.7.7.7", &[proxy.leaf(&plan)]);
    assert_eq!(ids(&found), ["MITM-003"]);
    assert_eq!(found[0].severity, Severity::High);
    assert_eq!(
        found[0].cause,
        Cause::IssuerKey(found[0].certificate.as_ref().unwrap().facts.as_ref().unwrap().spki_sha256)
    );
    let end = world.end();
    assert_eq!(ids(&end), ["MITM-002"]);
    assert_eq!(end[0].severity, Severity::Critical, "a proof and a score above 40");
    assert!(has(&end[0].evidence, "P2") && has(&end[0].evidence, "H1"));
    assert_eq!(end[0].cause, found[0].cause);
    // The same CA with a key of its own for the leaf: no proof.
    let near = world.serve("10.7.7.7", &[proxy.leaf(&Plan::of(&[HOST]))]);
    assert_eq!(ids(&near), [] as [&str; 0]);
    // Self-signed, equal names: nothing of that kind either.
    assert_eq!(ids(&world.serve("10.7.7.7", &Plan::of(&[HOST]).self_signed())), [] as [&str; 0]);
}

#[test]
fn own_key_of_an_unknown_internal_host_is_medium() {
    let mut scene = Scene::new(&[]);
    let mut hosts = Hosts::new(Arc::clone(&scene.anchors), 100);
    let shared = Arc::new(key());
    let ca = Ca::with_key("home-made", rcgen::KeyPair::try_from(shared.serialize_der()).unwrap());
    let found = scene.serve(&mut hosts, ("nas.lan", "10.0.0.1"), &[ca.leaf(&Plan::of(&["nas.lan"]).keyed(&shared))]);
    assert_eq!(found[0].severity, Severity::Medium);
    let found = scene.serve(&mut hosts, (HOST, "10.0.0.1"), &[ca.leaf(&Plan::of(&[HOST]).keyed(&shared))]);
    assert_eq!(found[0].severity, Severity::High);
}

#[test]
fn clones_fire_and_renewals_do_not() {
    let genuine = Plan::of(&[HOST, "example.com"]);
    let other = |serial: Vec<u8>, names: &[&str]| {
        let mut plan = Plan::of(names).dates(START - DAY - 5, START + 300 * DAY);
        plan.serial = serial;
        plan
    };
    let mut near_serial = genuine.serial.clone();
    near_serial.splice(12.., [1, 2, 3, 4]);
    let mut far_serial = genuine.serial.clone();
    far_serial[11] ^= 1;
    let both = [HOST, "example.com"];
    let same_dates = Plan::of(&both).dates(genuine.from, genuine.to);
    for (name, plan, fires) in [
        ("equal serial", other(genuine.serial.clone(), &both), true),
        ("near serial", other(near_serial, &both), true),
        ("far serial", other(far_serial, &both), false),
        ("one name more", other(genuine.serial.clone(), &[HOST, "example.com", "x.example.com"]), true),
        (
            "two names more",
            other(genuine.serial.clone(), &[HOST, "example.com", "x.example.com", "y.example.com"]),
            false,
        ),
        ("other names", other(genuine.serial.clone(), &[HOST, "example.org"]), false),
        ("equal dates", same_dates.clone(), true),
        ("one date", same_dates.clone().dates(genuine.from, genuine.to + 1), false),
    ] {
        let (mut world, _) = world_with(6, &genuine);
        let found = world.serve("10.7.7.7", &Ca::new("Proxy").chain(&plan));
        assert_eq!(of(&found, "MITM-004").is_some(), fires, "{name}");
        assert!(found.iter().all(|finding| finding.severity == Severity::Critical), "{name}");
    }
    // The same CA, or the same key, copies nothing.
    let (mut world, _) = world_with(6, &genuine);
    assert!(world.serve("10.7.7.7", &world.public.chain(&same_dates)).is_empty());
    // Whole days are a habit of CAs.
    let midnight = START - START % DAY;
    let days = |names: &[&str]| Plan::of(names).dates(midnight - 10 * DAY, midnight + 80 * DAY);
    let (mut world, _) = world_with(6, &days(&both));
    assert!(of(&world.serve("10.7.7.7", &Ca::new("Proxy").chain(&days(&both))), "MITM-004").is_none());
}

#[test]
fn genuine_certificate_after_its_clone_is_not_accused() {
    let public = Ca::new("Public Root");
    let mut scene = Scene::new(&[&public]);
    let mut hosts = Hosts::new(Arc::clone(&scene.anchors), 100);
    let genuine = Plan::of(&[HOST]);
    let proxy = Ca::new("Proxy");
    scene.serve(&mut hosts, (HOST, "10.7.7.7"), &proxy.chain(&genuine));
    let found = scene.serve(&mut hosts, (HOST, "10.0.0.1"), &public.chain(&genuine));
    let finding = of(&found, "MITM-004").unwrap();
    assert_eq!(finding.cause, Cause::IssuerKey(proxy.certificate.facts.as_ref().unwrap().spki_sha256));
    let found: Vec<Finding> = found.into_iter().chain(scene.finish(&mut hosts)).collect();
    assert_eq!(ids(&found), ["MITM-002", "MITM-004"]);
    for finding in found {
        assert_eq!(finding.ends.unwrap().client.address.to_string(), "10.7.7.7", "who got the copy");
        assert!(finding.observation.unwrap().server_chain[0].sha256 == finding.certificate.unwrap().sha256);
        let proof = &finding.evidence.proofs[0];
        assert_eq!(
            (proof.id, proof.observed.as_deref()),
            ("P3", Some(&*finding.evidence.observed.as_ref().unwrap().sha256.to_string()))
        );
    }
}

#[test]
fn impersonated_issuer_fires_and_an_honest_stranger_does_not() {
    let (mut world, _) = world(6);
    // The genuine CA's name under another key: the key identifier is the forger's own.
    let found = world.serve("10.7.7.7", &Ca::new("Public Root").chain(&Plan::of(&[HOST])));
    let finding = of(&found, "MITM-005").unwrap();
    assert_eq!(finding.severity, Severity::Medium, "the name alone");
    assert!(finding.message.contains("\"Public Root\""));
    assert!(ids(&world.serve("10.7.7.8", &Ca::new("Private Root").chain(&Plan::of(&[HOST])))).is_empty());
    // Name and key identifier of the genuine CA.
    let mut forged = Ca::new("Public Root");
    let genuine = world.public.certificate.facts.as_ref().unwrap();
    let identifier = genuine.subject_key_identifier.as_deref().unwrap().to_vec();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "Public Root");
    params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(identifier);
    forged.issuer = rcgen::Issuer::new(params, key());
    let found = world.serve("10.7.7.9", &[forged.leaf(&Plan::of(&[HOST]))]);
    assert_eq!(of(&found, "MITM-005").unwrap().severity, Severity::Critical);
    let end = world.end();
    let severity = |client: &str| {
        let found = end.iter().find(|finding| finding.ends.unwrap().client.address.to_string() == client);
        found.map(|finding| finding.severity)
    };
    assert_eq!(severity("10.7.7.9"), Some(Severity::Critical));
    assert_eq!(severity("10.7.7.8"), Some(Severity::High), "no proof against the stranger");
}

#[test]
fn product_fires_unless_authorised_or_public() {
    let (mut world, _) = world(6);
    let proxy = Ca::new("FortiGate CA");
    let found = world.serve("10.7.7.7", &proxy.chain(&Plan::of(&[HOST])));
    assert_eq!(ids(&found), ["MITM-006"]);
    assert_eq!(found[0].severity, Severity::Medium);
    let end = world.end();
    assert!(has(&of(&end, "MITM-002").unwrap().evidence, "H11"));
    let spki = proxy.certificate.facts.as_ref().unwrap().spki_sha256;
    let policy = format!(
        "version = 1\n[[interception]]\nname = \"ours\"\nspki = [\"{spki}\"]\nclients = [\"10.7.0.0/16\"]\nmode = \"authorised\"\n"
    );
    world.scene.policy(&policy);
    let found = world.serve("10.7.7.7", &proxy.chain(&Plan::of(&[HOST])));
    assert_eq!((ids(&found), found[0].effect), (vec!["MITM-006"], Effect::Mark));
    assert!(world.end().is_empty());
    // Another client is not covered.
    let found = world.serve("10.8.7.7", &proxy.chain(&Plan::of(&[HOST])));
    assert_eq!(found[0].effect, Effect::Alert);
    // The vendor's own site has a public certificate.
    let vendor = Ca::new("FortiGate CA");
    let mut scene = Scene::new(&[&vendor]);
    let mut hosts = Hosts::new(Arc::clone(&scene.anchors), 100);
    assert!(scene.serve(&mut hosts, (HOST, "10.0.0.1"), &vendor.chain(&Plan::of(&[HOST]))).is_empty());
}

#[test]
fn pins_hold_only_what_is_verified() {
    let (mut world, chain) = world(6);
    let text = |pin: &str, rest: &str| format!("version = 1\n[[host]]\nmatch = [\"{HOST}\"]\n{pin}\n{rest}\n");
    let pin_of = |one: &Certificate| format!("pins = [\"{}\"]", one.facts.as_ref().unwrap().spki_sha256);
    let forged = Ca::new("Proxy").leaf(&Plan::of(&[HOST]));
    for pin in [pin_of(&chain[0]), pin_of(&chain[1]), "issuer_names = [\"CN=Public Root\"]".to_owned()] {
        world.scene.policy(&text(&pin, ""));
        assert!(world.serve("10.0.0.1", &chain).is_empty(), "{pin}");
        // The genuine CA appended to a forged chain satisfies nothing.
        let found = world.serve("10.7.7.7", &[Arc::clone(&forged), Arc::clone(&chain[1])]);
        let finding = of(&found, "MITM-001").unwrap();
        assert_eq!((finding.severity, finding.effect), (Severity::Critical, Effect::Alert));
    }
    world.scene.policy(&text(&pin_of(&chain[0]), "expires = 2026-01-01"));
    let found = world.serve("10.7.7.7", &[forged]);
    assert_eq!(of(&found, "MITM-001").unwrap().effect, Effect::Mark);
}

#[test]
fn suspects_never_become_the_baseline() {
    let (mut world, chain) = world(6);
    let proxy = Ca::new("Proxy");
    let forged = proxy.chain(&Plan::of(&[HOST]).dates(START - DAY / 2, START + 100 * DAY));
    for client in 1..=4 {
        world.serve(&format!("10.7.{client}.7"), &forged);
    }
    world.serve("10.0.0.1", &chain);
    let end = world.end();
    assert_eq!(of(&end, "MITM-002").unwrap().severity, Severity::High);
    assert_eq!(end.len(), 4, "every client is told");
    assert!(has(&end[0].evidence, "H5"));
    // Afterwards it is still no baseline, and the genuine one is still silent.
    assert!(world.serve("10.0.0.1", &chain).is_empty());
    world.serve("10.7.1.7", &forged);
    assert_eq!(ids(&world.end()), [] as [&str; 0]);
    let host = HostKey { name: HOST.to_owned(), port: 443 };
    assert_eq!(world.hosts.table.get(&host).unwrap().known_host(Timestamp(0)).certificates.len(), 1);
    // Until somebody accepts it.
    assert!(world.hosts.accept(&host, &forged[0].sha256));
    assert!(world.serve("10.7.1.7", &forged).is_empty() && world.end().is_empty());
}

#[test]
fn live_cases_are_held_and_learning_hosts_are_silent() {
    let (lab, other) = (Ca::new("Lab Root"), Ca::new("Other Root"));
    let mut scene = Scene::new(&[]);
    scene.offline = false;
    let mut hosts = Hosts::new(Arc::clone(&scene.anchors), 100);
    let first = lab.chain(&Plan::of(&[HOST]));
    let second = other.chain(&Plan::of(&[HOST]));
    scene.serve(&mut hosts, (HOST, "10.0.0.1"), &first);
    scene.serve(&mut hosts, (HOST, "10.0.0.1"), &second);
    assert!(scene.advance(&mut hosts, 901).is_empty(), "one handshake is no baseline");
    let (mut world, _) = world(6);
    world.scene.offline = false;
    let third = Ca::new("Private").chain(&Plan::of(&["other.example.com"]).dates(START - 5, START + DAY * 30));
    assert!(world.serve("10.9.9.9", &third).is_empty(), "held: the name does not match");
    assert!(world.scene.advance(&mut world.hosts, 899).is_empty());
    let found = world.scene.advance(&mut world.hosts, 2);
    assert_eq!(ids(&found), ["MITM-002"]);
    assert!(has(&found[0].evidence, "H17"));
    assert!(world.scene.advance(&mut world.hosts, 9_000).is_empty(), "once");
}

/// Five clients get the genuine certificate three times each, another one gets its own.
fn split(minority: &[&str], trusted: bool, majority: u8) -> Vec<Finding> {
    let (mut world, chain) = world(5);
    world.scene.now += 4 * 3_600;
    let other = Ca::new("Other Root");
    if trusted {
        Arc::make_mut(&mut world.scene.anchors).add(Arc::clone(&other.certificate));
    }
    let names = if trusted { vec![HOST, "example.com"] } else { vec![HOST] };
    let second = other.chain(&Plan::of(&names).dates(START - 3 * DAY - 5, START + 80 * DAY));
    let mut found = Vec::new();
    for round in 0..3 {
        for client in 0..majority {
            found.extend(world.serve(&format!("10.0.{}.{}", client % 3, client + 1), &chain));
        }
        for client in minority {
            found.extend(world.serve(client, &second));
        }
        world.scene.now += 60 * round;
    }
    found.extend(world.end());
    found
}

#[test]
fn split_view_fires_only_where_clients_fall_apart() {
    let found = split(&["10.2.0.22"], false, 5);
    let finding = of(&found, "MITM-008").unwrap();
    assert_eq!((finding.severity, finding.effect), (Severity::High, Effect::Alert));
    assert!(matches!(finding.cause, Cause::IssuerKey(_)));
    assert!(of(&found, "MITM-002").is_some());
    assert!(of(&split(&["10.0.0.1"], false, 5), "MITM-008").is_none(), "a client got both");
    assert!(of(&split(&["10.2.0.1", "10.3.0.1", "10.4.0.1"], false, 5), "MITM-008").is_none(), "three subnets");
    assert!(of(&split(&["10.2.0.22"], false, 2), "MITM-008").is_none(), "no majority");
    let canary = split(&["10.2.0.22"], true, 5);
    assert_eq!(of(&canary, "MITM-008").unwrap().effect, Effect::Mark, "public, same names");
}
