//! What becomes of baselines: how long they are kept, when they are written, how much room they take.

use std::sync::Arc;

use super::tests::{HOST, world};
use super::*;
use crate::detect::testing::{Ca, DAY, Plan, START, Scene};

/// One stored baseline, and what is written and asked of it.
#[derive(Debug, Default)]
struct Stored {
    record: std::sync::Mutex<Option<HostRecord>>,
    expired: std::sync::Mutex<Vec<Timestamp>>,
    accepted: std::sync::Mutex<Vec<Sha256>>,
    edits: std::sync::Mutex<Vec<Edit>>,
    asked: std::sync::Mutex<usize>,
    lost: std::sync::atomic::AtomicBool,
}

impl Backing for Stored {
    fn read(&self, key: &HostKey) -> Option<HostRecord> {
        *self.asked.lock().unwrap() += 1;
        self.record.lock().unwrap().clone().filter(|record| record.key() == *key)
    }

    fn accepted(&self, _: &HostKey) -> Vec<Sha256> {
        self.accepted.lock().unwrap().clone()
    }

    fn edits(&self) -> Vec<Edit> {
        std::mem::take(&mut self.edits.lock().unwrap())
    }

    fn is_whole(&self) -> bool {
        !self.lost.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn forget(&self, _: &HostKey) {
        *self.record.lock().unwrap() = None;
    }

    fn write(&self, record: &HostRecord) {
        *self.record.lock().unwrap() = Some(record.clone());
    }

    fn expire(&self, before: Timestamp) {
        self.expired.lock().unwrap().push(before);
    }
}

#[test]
fn a_baseline_is_kept_ninety_days_beyond_the_last_sight() {
    for (days, known) in [(89, true), (91, false)] {
        let public = Ca::new("Public Root");
        let mut scene = Scene::new(&[&public]);
        let stored = Arc::new(Stored::default());
        let run = |scene: &mut Scene| {
            let mut hosts = Hosts::new(Arc::clone(&scene.anchors), 100);
            hosts.set_backing(Arc::clone(&stored) as Arc<dyn Backing>);
            let chain = public.chain(&Plan::of(&[HOST]));
            scene.serve(&mut hosts, (HOST, "10.0.0.1"), &chain);
            scene.finish(&mut hosts);
            stored.record.lock().unwrap().clone().unwrap()
        };
        assert_eq!(run(&mut scene).support, 1);
        scene.now += days * DAY;
        let record = run(&mut scene);
        assert_eq!((record.support, record.certificates.len()), if known { (2, 2) } else { (1, 1) }, "{days} days");
    }
}

#[test]
fn live_baselines_are_written_every_ten_seconds_even_when_nothing_comes() {
    let public = Ca::new("Public Root");
    let mut scene = Scene::new(&[&public]);
    scene.offline = false;
    let stored = Arc::new(Stored::default());
    let mut hosts = Hosts::new(Arc::clone(&scene.anchors), 100);
    hosts.set_backing(Arc::clone(&stored) as Arc<dyn Backing>);
    let at = |second: i64| Timestamp::new(START + second, 0);
    hosts.save(at(-1));
    let chain = public.chain(&Plan::of(&[HOST]));
    scene.serve(&mut hosts, (HOST, "10.0.0.1"), &chain);
    hosts.save(at(8));
    assert!(stored.record.lock().unwrap().is_none());
    hosts.save(at(9));
    assert_eq!(stored.record.lock().unwrap().take().unwrap().support, 1);
    hosts.save(at(60));
    assert!(stored.record.lock().unwrap().is_none(), "nothing changed");
    // Once a day what is too old leaves the file.
    assert!(stored.expired.lock().unwrap().is_empty());
    hosts.save(at(DAY + 60));
    assert_eq!(*stored.expired.lock().unwrap(), [at(60 - 89 * DAY)]);
}

/// Not only sights change a baseline, and what did not change since is not written once more, unless some was lost.
#[test]
fn what_is_decided_by_time_is_written_like_what_was_seen() {
    for lost in [false, true] {
        let (mut world, _) = world(6);
        world.scene.offline = false;
        let stored = Arc::new(Stored::default());
        world.hosts.set_backing(Arc::clone(&stored) as Arc<dyn Backing>);
        let start = world.scene.now;
        let at = |second: i64| Timestamp::new(start + second, 0);
        world.hosts.save(at(-1));
        let plan = Plan::of(&["other.example.com"]).dates(START - 5, START + DAY * 30);
        let other = Ca::new("Private").chain(&plan);
        assert!(world.serve("10.9.9.9", &other).is_empty());
        let written = || {
            let record = stored.record.lock().unwrap().take();
            record.map(|record| record.certificate(&other[0].sha256).unwrap().standing)
        };
        world.hosts.save(at(20));
        assert_eq!(written(), Some(Standing::Held));
        world.hosts.save(at(40));
        assert_eq!(written(), None);
        assert_eq!(world.scene.advance(&mut world.hosts, 901).len(), 1);
        world.hosts.save(at(920));
        assert_eq!(written(), Some(Standing::Suspect));
        stored.lost.store(lost, std::sync::atomic::Ordering::Relaxed);
        world.scene.finish(&mut world.hosts);
        assert_eq!(written().is_some(), lost);
    }
}

/// What is written, in order, and where the end of the run began.
#[derive(Debug, Default)]
struct Written(std::sync::Mutex<Vec<String>>);

impl Backing for Written {
    fn read(&self, _: &HostKey) -> Option<HostRecord> {
        None
    }

    fn write(&self, record: &HostRecord) {
        self.0.lock().unwrap().push(record.key().name);
    }

    fn finish(&self) {
        self.0.lock().unwrap().push("finish".to_owned());
    }
}

#[test]
fn at_the_end_only_what_is_decided_then_is_one_piece() {
    for (live, expected) in [
        (true, ["a.example", "b.example", "c.example", "finish"].as_slice()),
        (false, &["finish", "a.example", "b.example", "c.example"]),
    ] {
        let public = Ca::new("Public Root");
        let mut scene = Scene::new(&[&public]);
        scene.offline = !live;
        let written = Arc::new(Written::default());
        let mut hosts = Hosts::new(Arc::clone(&scene.anchors), 100);
        hosts.set_backing(Arc::clone(&written) as Arc<dyn Backing>);
        if live {
            hosts.save(Timestamp::new(START - 1, 0));
        }
        for name in ["c.example", "a.example", "b.example"] {
            scene.serve(&mut hosts, (name, "10.0.0.1"), &public.chain(&Plan::of(&[name])));
        }
        scene.finish(&mut hosts);
        assert_eq!(*written.0.lock().unwrap(), expected, "live {live}");
    }
    // What is held until then is written with what comes of it.
    let (mut world, _) = world(6);
    world.scene.offline = false;
    let written = Arc::new(Written::default());
    world.hosts.set_backing(Arc::clone(&written) as Arc<dyn Backing>);
    world.hosts.save(Timestamp::new(world.scene.now - 1, 0));
    let plan = Plan::of(&["other.example.com"]).dates(START - 5, START + DAY * 30);
    assert!(world.serve("10.9.9.9", &Ca::new("Private").chain(&plan)).is_empty());
    world.scene.finish(&mut world.hosts);
    assert_eq!(*written.0.lock().unwrap(), [HOST, "finish", HOST]);
}

#[test]
fn what_is_forgotten_by_hand_is_learned_anew_at_once() {
    let public = Ca::new("Public Root");
    let mut scene = Scene::new(&[&public]);
    scene.offline = false;
    let stored = Arc::new(Stored::default());
    let mut hosts = Hosts::new(Arc::clone(&scene.anchors), 100);
    hosts.set_backing(Arc::clone(&stored) as Arc<dyn Backing>);
    let chain = public.chain(&Plan::of(&[HOST]));
    let key = HostKey { name: HOST.to_owned(), port: 443 };
    let at = |milliseconds: i64| Timestamp(Timestamp::new(START, 0).nanos() + milliseconds * 1_000_000);
    let support = |hosts: &Hosts| hosts.table.get(&key).map_or(0, |record| record.support);
    hosts.save(at(-1));
    scene.serve(&mut hosts, (HOST, "10.0.0.1"), &chain);
    hosts.save(at(20));
    stored.edits.lock().unwrap().push(Edit::Forget(key.clone()));
    hosts.save(at(98));
    assert_eq!((support(&hosts), hosts.forgotten()), (1, 0), "not looked for yet");
    hosts.save(at(99));
    assert_eq!((support(&hosts), hosts.forgotten()), (0, 1), "with what came meanwhile, which counts");
    // Long before baselines are written; and what was seen before the last look is no loss.
    scene.now += 1;
    scene.serve(&mut hosts, (HOST, "10.0.0.1"), &chain);
    hosts.save(at(1_100));
    stored.edits.lock().unwrap().push(Edit::Forget(key.clone()));
    hosts.save(at(1_200));
    assert_eq!((support(&hosts), hosts.forgotten()), (0, 1));
    scene.serve(&mut hosts, (HOST, "10.0.0.1"), &chain);
    hosts.save(at(10_000));
    assert_eq!((support(&hosts), stored.record.lock().unwrap().as_ref().map_or(0, |record| record.support)), (1, 1));
    // A run that looks at its end only.
    stored.edits.lock().unwrap().push(Edit::Forget(key.clone()));
    let mut hosts = Hosts::new(Arc::clone(&scene.anchors), 100);
    hosts.set_backing(Arc::clone(&stored) as Arc<dyn Backing>);
    scene.serve(&mut hosts, (HOST, "10.0.0.1"), &chain);
    scene.finish(&mut hosts);
    assert_eq!((hosts.forgotten(), stored.record.lock().unwrap().is_some()), (1, false));
}

#[test]
fn two_hundred_thousand_hosts_fit() {
    let public = Ca::new("A Public Certification Authority With A Long Name");
    let scene = Scene::new(&[&public]);
    let mut hosts = Hosts::new(Arc::clone(&scene.anchors), table::MAX_HOSTS);
    let mut scene = scene;
    let chains = [public.chain(&Plan::of(&[HOST])), public.chain(&Plan::of(&[HOST]))];
    scene.serve(&mut hosts, (HOST, "10.0.0.1"), &chains[0]);
    scene.serve(&mut hosts, (HOST, "10.0.0.1"), &chains[1]);
    let model = hosts.table.iter().next().unwrap().clone();
    assert_eq!((model.certificates.len(), model.issuers.len()), (2, 1));
    let one = model.memory();
    assert!(one < 1_024, "{one} bytes");
    for number in 0..table::MAX_HOSTS + 10 {
        let mut record = model.clone();
        record.name = format!("host-number-{number}.example.com").into();
        record.certificates.shrink_to_fit();
        record.issuers.shrink_to_fit();
        hosts.restore(record);
    }
    assert_eq!(hosts.table.len(), table::MAX_HOSTS);
    let all = hosts.table.memory();
    assert!(all < 250_000_000, "{all} bytes");
    assert!(!hosts.take_spilled().is_empty());
}

#[test]
fn a_certificate_accepted_before_it_is_shown_is_taken() {
    let (public, other) = (Ca::new("Public Root"), Ca::new("Somebody"));
    let (known, new) = (public.chain(&Plan::of(&[HOST])), other.chain(&Plan::of(&[HOST])));
    // `shown`: the host has a baseline when the person accepts; `by_hand`: it is the new one.
    for (shown, by_hand) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut scene = Scene::new(&[&public]);
        let record = HostRecord::new(&HostKey { name: HOST.to_owned(), port: 443 }, Timestamp::new(START, 0));
        let stored = Arc::new(Stored::default());
        let mut hosts = Hosts::new(Arc::clone(&scene.anchors), 100);
        let accepted = if by_hand { new[0].sha256 } else { Sha256([9; 32]) };
        *stored.record.lock().unwrap() = Some(record).filter(|_| shown);
        stored.accepted.lock().unwrap().push(accepted);
        hosts.set_backing(Arc::clone(&stored) as Arc<dyn Backing>);
        for client in ["10.0.0.1", "10.0.0.2", "10.0.1.3"] {
            assert!(scene.serve(&mut hosts, (HOST, client), &known).is_empty());
        }
        let mut found = scene.serve(&mut hosts, (HOST, "10.0.2.4"), &new);
        found.extend(scene.finish(&mut hosts));
        assert_eq!(found.iter().any(|one| one.rule == &UNEXPECTED_CERTIFICATE), !by_hand, "{shown}");
        let record = stored.record.lock().unwrap().clone().unwrap();
        let standing = record.certificate(&new[0].sha256).unwrap().standing;
        assert_eq!(standing == Standing::Accepted, by_hand);
        assert_eq!(record.support, 4);
    }
}

/// Of several cases of a host only that which a person accepted is dropped.
#[test]
fn what_is_accepted_while_it_is_held_leaves_the_other_cases() {
    let public = Ca::new("Public Root");
    let mut scene = Scene::new(&[&public]);
    let stored = Arc::new(Stored::default());
    let mut hosts = Hosts::new(Arc::clone(&scene.anchors), 100);
    hosts.set_backing(Arc::clone(&stored) as Arc<dyn Backing>);
    scene.serve(&mut hosts, (HOST, "10.0.0.1"), &public.chain(&Plan::of(&[HOST])));
    let ours = Ca::new("Ours").chain(&Plan::of(&[HOST]));
    scene.serve(&mut hosts, (HOST, "10.0.0.2"), &ours);
    scene.serve(&mut hosts, (HOST, "10.0.0.3"), &Ca::new("Not Ours").chain(&Plan::of(&[HOST])));
    stored.accepted.lock().unwrap().push(ours[0].sha256);
    stored.edits.lock().unwrap().push(Edit::Accept(HostKey { name: HOST.to_owned(), port: 443 }));
    let found = scene.finish(&mut hosts);
    let clients: Vec<_> = found.iter().map(|one| one.ends.unwrap().client.address.to_string()).collect();
    assert_eq!(clients, ["10.0.0.3"]);
}

/// The times of captures are no reason to write, to look for edits or to take baselines out of the file before the end.
#[test]
fn captures_change_the_file_at_their_end() {
    for offline in [true, false] {
        let public = Ca::new("Public Root");
        let mut scene = Scene::new(&[&public]);
        scene.offline = offline;
        let stored = Arc::new(Stored::default());
        let mut hosts = Hosts::new(Arc::clone(&scene.anchors), 100);
        hosts.set_backing(Arc::clone(&stored) as Arc<dyn Backing>);
        let chain = public.chain(&Plan::of(&[HOST]));
        for _ in 0..3 {
            scene.serve(&mut hosts, (HOST, "10.0.0.1"), &chain);
            scene.now += DAY;
        }
        assert_eq!(stored.record.lock().unwrap().is_none(), offline);
        assert_eq!(stored.expired.lock().unwrap().is_empty(), offline);
        scene.finish(&mut hosts);
        assert_eq!(stored.record.lock().unwrap().as_ref().unwrap().support, 3);
    }
}

/// A host that shows no certificate and has no baseline is looked up once; one that left memory is looked up again.
#[test]
fn hosts_without_certificates_are_asked_for_once() {
    let public = Ca::new("Public Root");
    let mut scene = Scene::new(&[&public]);
    let stored = Arc::new(Stored::default());
    let mut hosts = Hosts::new(Arc::clone(&scene.anchors), 1);
    hosts.set_backing(Arc::clone(&stored) as Arc<dyn Backing>);
    let show = |scene: &mut Scene, hosts: &mut Hosts, host: &str, chain: &[Arc<Certificate>]| {
        let observation = scene.handshake("10.0.0.1", "203.0.113.10", chain);
        scene.show(hosts, host, &observation);
        std::mem::take(&mut *stored.asked.lock().unwrap())
    };
    let chain = |host: &str| public.chain(&Plan::of(&[host]));
    assert_eq!(show(&mut scene, &mut hosts, "a.example", &[]), 1);
    assert_eq!(show(&mut scene, &mut hosts, "a.example", &[]), 0);
    assert_eq!(show(&mut scene, &mut hosts, HOST, &chain(HOST)), 1);
    assert_eq!(show(&mut scene, &mut hosts, HOST, &[]), 0, "it is known");
    assert_eq!(show(&mut scene, &mut hosts, "b.example", &chain("b.example")), 1);
    assert!(!hosts.knows(&HostKey { name: HOST.to_owned(), port: 443 }));
    show(&mut scene, &mut hosts, HOST, &[]);
    assert!(hosts.knows(&HostKey { name: HOST.to_owned(), port: 443 }), "what it showed was stored");
}
