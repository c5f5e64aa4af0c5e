//! MITM-008 at hosts that many use: what is an attack on a few, and what is only how a new certificate is rolled out.

use super::*;
use crate::detect::sighting::JudgedChain;
use crate::detect::testing::{Ca, DAY, Plan, START, Scene, of};
use crate::time::ValidityTime;
use crate::x509::judge::Purpose;

const HOST: &str = "www.example.com";
const HOUR: i64 = 3_600;

/// A generator of numbers, the same on every machine.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 += 1;
        stable_hash(&self.0.to_be_bytes()) % most.max(1)
    }

    fn is(&mut self, thousandths: u64) -> bool {
        self.below(1_000) < thousandths
    }
}

/// Where clients are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Net {
    /// Nearly each in a subnet of its own.
    Wide,
    /// All in so many subnets.
    Local(u64),
    /// Half of all behind one address.
    Shared,
}

/// How the certificates are served.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    /// One of ten backends after the other, every ten minutes, for each connection any of them.
    Rolling,
    /// The same, but a client has its backend.
    RollingBound,
    /// One of a hundred connections for an hour, one of ten for an hour, then all.
    Canary,
    /// The same by clients.
    CanaryBound,
    /// The roll-out is over but for one backend of so many.
    Straggler(u64),
    /// One client, so many handshakes each time it comes, once.
    Victim(u64),
    /// One client that comes back every ten minutes.
    Returning,
    /// A subnet with so many clients, each of which comes once.
    Subnet(u64),
}

struct Crowd {
    scene: Scene,
    hosts: Hosts,
    chains: [(Vec<Arc<Certificate>>, JudgedChain); 2],
    chance: Chance,
    net: Net,
    /// Where the new certificate is served.
    place: &'static str,
    /// What gets the new certificate is another kind of client.
    old_kind: bool,
    found: usize,
}

impl Crowd {
    fn new(attack: bool, net: Net, seed: u64) -> Self {
        let (old, new) = (Ca::new("Old Root"), Ca::new("New Root"));
        let roots = [&old];
        let mut scene = Scene::new(if attack { &roots } else { &[] });
        scene.offline = false;
        let plan = |days: i64| Plan::of(&[HOST]).dates(START - days * DAY, START + 80 * DAY);
        let chains = [old.chain(&plan(20)), new.chain(&plan(3))].map(|chain| {
            let judged = scene.judged(&chain, (Some(ValidityTime(START)), Some(HOST)), Purpose::Server).unwrap();
            (chain, judged)
        });
        let hosts = Hosts::new(Arc::clone(&scene.anchors), 100);
        Self { scene, hosts, chains, chance: Chance(seed << 32), net, place: "203.0.113.10", old_kind: false, found: 0 }
    }

    fn serve(&mut self, client: &str, new: bool) {
        let (chain, judged) = &self.chains[usize::from(new)];
        let mut observation = self.scene.handshake(client, if new { self.place } else { "203.0.113.10" }, chain);
        if let Some(hello) = observation.handshake.client_hello.as_mut().filter(|_| new && self.old_kind) {
            hello.cipher_suites = vec![0xc02f].into();
        }
        let mut findings = Vec::new();
        let hosts = &mut self.hosts;
        self.scene.with_judged((HOST, &observation), Some(judged), |sighting| {
            hosts.observe(sighting, &mut findings);
        });
        findings.extend(self.scene.advance(&mut self.hosts, 0));
        self.found += usize::from(of(&findings, "MITM-008").is_some());
    }

    fn client(&mut self, number: u64) -> String {
        let hash = stable_hash(&number.to_be_bytes());
        match self.net {
            Net::Shared if self.chance.is(500) => "10.200.0.1".to_owned(),
            Net::Wide | Net::Shared => format!("10.{}.{}.{}", hash % 100, hash / 100 % 256, hash / 25_600 % 256),
            Net::Local(subnets) => format!("10.0.{}.{}", number % subnets, number / subnets % 250 + 1),
        }
    }

    /// `clients` of an hour make two handshakes each, for `hours`; `shape` is how those that come are served after the first
    /// two hours. Whether anything was told.
    fn play(mut self, (clients, hours): (u64, i64), shape: Shape) -> bool {
        let begin = START + 2 * HOUR;
        let mut next = self.scene.now;
        let mut attacked = 0;
        let pause = 3_600_000 / i64::try_from(clients).unwrap();
        let mut millis = self.scene.now * 1_000;
        while next < START + (2 + hours) * HOUR {
            millis += pause / 2 + i64::try_from(self.chance.below(u64::try_from(pause).unwrap())).unwrap();
            next = millis / 1_000;
            self.scene.now = next;
            let since = next - begin;
            // Half of them come again and again.
            let number = if self.chance.is(500) { self.chance.below(clients) } else { self.chance.below(1 << 40) };
            let client = self.client(number);
            for _ in 0..2 {
                let bound = stable_hash(client.as_bytes());
                let new = self.is_new(shape, (since, bound));
                self.serve(&client, new);
            }
            let due = match shape {
                Shape::Victim(_) => since > 1_200 && attacked < 1,
                Shape::Returning => since > 1_200 && since / 600 > attacked,
                Shape::Subnet(most) => since > 1_200 && attacked < i64::try_from(most).unwrap(),
                _ => false,
            };
            if due {
                let victim = match shape {
                    Shape::Subnet(_) => format!("10.150.0.{}", attacked + 1),
                    _ if matches!(self.net, Net::Local(_)) => "10.0.0.254".to_owned(),
                    _ => "10.150.0.1".to_owned(),
                };
                attacked = if shape == Shape::Returning { since / 600 } else { attacked + 1 };
                let times = if let Shape::Victim(times) = shape { times } else { 1 };
                (0..times).for_each(|_| self.serve(&victim, true));
            }
        }
        self.found > 0
    }

    fn is_new(&mut self, shape: Shape, (since, bound): (i64, u64)) -> bool {
        if since < 0 {
            return false;
        }
        let chance = self.chance.below(1_000);
        let done = u64::try_from(since / 600 + 1).unwrap();
        let hour = since / HOUR;
        let canary = [10, 100, 1_000][usize::try_from(hour.min(2)).unwrap()];
        match shape {
            Shape::Rolling => chance % 10 < done,
            Shape::RollingBound => bound % 10 < done,
            Shape::Canary => chance < canary,
            Shape::CanaryBound => bound % 1_000 < canary,
            Shape::Straggler(backends) => !chance.is_multiple_of(backends),
            Shape::Victim(_) | Shape::Returning | Shape::Subnet(_) => false,
        }
    }
}

const BENIGN: [Shape; 6] = [
    Shape::Rolling,
    Shape::RollingBound,
    Shape::Canary,
    Shape::CanaryBound,
    Shape::Straggler(50),
    Shape::Straggler(500),
];
const ATTACKS: [Shape; 4] = [Shape::Victim(1), Shape::Victim(3), Shape::Returning, Shape::Subnet(20)];

/// In how many of so many runs something is told. With more of them, the figures of docs/ARCHITECTURE.md.
fn told((net, shape): (Net, Shape), clients: u64, runs: u64) -> usize {
    (0..runs).filter(|seed| Crowd::new(ATTACKS.contains(&shape), net, *seed).play((clients, 3), shape)).count()
}

#[test]
fn a_few_among_many_clients_are_heard() {
    for net in [Net::Wide, Net::Local(20), Net::Shared] {
        for shape in ATTACKS {
            assert_eq!(told((net, shape), 500, 2), 2, "{net:?} {shape:?}");
        }
    }
    assert_eq!(told((Net::Local(2), Shape::Victim(1)), 400, 2), 2);
}

#[test]
fn roll_outs_to_many_clients_are_silent() {
    for net in [Net::Wide, Net::Local(2), Net::Shared] {
        for shape in BENIGN {
            assert_eq!(told((net, shape), 400, 2), 0, "{net:?} {shape:?}");
        }
    }
}

/// Five hundred clients in an hour, a victim, and two hundred more; `between`: what else happens.
fn attacked(mut crowd: Crowd, victim: &str, between: impl FnOnce(&mut Crowd)) -> Crowd {
    let mut clients = 0..;
    let mut come = |crowd: &mut Crowd, count: usize| {
        for number in clients.by_ref().take(count) {
            crowd.scene.now += 3;
            let client = crowd.client(number);
            (0..2).for_each(|_| crowd.serve(&client, false));
        }
    };
    come(&mut crowd, 500);
    between(&mut crowd);
    crowd.serve(victim, true);
    assert_eq!(crowd.found, 0, "one that is the first of many looks the same");
    come(&mut crowd, 300);
    assert_eq!(crowd.found, 0, "nor do 300 others tell");
    come(&mut crowd, 300);
    crowd
}

#[test]
fn a_client_that_gets_both_is_none_of_a_minority() {
    let wide = || Crowd::new(false, Net::Wide, 1);
    assert_eq!(attacked(wide(), "10.150.0.1", |_| {}).found, 1);
    let before = attacked(wide(), "10.150.0.1", |crowd| crowd.serve("10.150.0.1", false));
    assert_eq!(before.found, 0);
    let mut after = wide();
    after = attacked(after, "10.150.0.1", |_| {});
    assert_eq!(after.found, 1);
    // From then on each handshake of the few tells, until one of them gets what all get.
    after.serve("10.150.0.1", true);
    assert_eq!(after.found, 2);
    after.serve("10.150.0.1", false);
    (0..9).for_each(|_| after.serve("10.150.0.1", true));
    assert_eq!(after.found, 2);
    // Two hours later that is over.
    after.scene.now += 2 * HOUR;
    for number in 0..600 {
        let client = after.client(5_000 + number);
        after.serve(&client, false);
        after.serve("10.150.0.1", true);
    }
    assert!(after.found > 2);
}

#[test]
fn what_nobody_trusts_beside_what_is_trusted_need_not_wait() {
    for (trusted, told) in [(true, 1), (false, 0)] {
        let mut crowd = Crowd::new(trusted, Net::Wide, 1);
        for number in 0..500 {
            crowd.scene.now += 3;
            let client = crowd.client(number);
            crowd.serve(&client, false);
        }
        crowd.serve("10.150.0.1", true);
        assert_eq!(crowd.found, 0, "it may have replaced the other");
        crowd.scene.now += 3;
        let client = crowd.client(500);
        crowd.serve(&client, false);
        assert_eq!(crowd.found, told);
    }
}

#[test]
fn a_baseline_from_the_file_knows_no_crowd() {
    let key = HostKey { name: HOST.to_owned(), port: 443 };
    let crowd = attacked(Crowd::new(true, Net::Wide, 1), "10.150.0.1", |crowd| {
        let record = crowd.hosts.table.remove(&key).unwrap();
        crowd.hosts.restore(HostRecord::from_bytes(&record.to_bytes()).unwrap());
    });
    assert_eq!(crowd.found, 0, "it may be one of the many");
}

/// An old client gets the RSA certificate of a server that has one of each kind.
#[test]
fn pairs_of_rsa_and_ecdsa_are_not_compared_without_a_common_kind_of_client() {
    for (common, rsa) in [(false, true), (true, true), (false, false)] {
        let mut crowd = Crowd::new(false, Net::Wide, 1);
        let path = format!("{}/tests/data/x509/rsa2048-sha1.der", env!("CARGO_MANIFEST_DIR"));
        if rsa {
            let leaf = crate::detect::testing::parse(&std::fs::read(path).unwrap());
            let at = (Some(ValidityTime(START)), Some(HOST));
            let judged = crowd.scene.judged(&[Arc::clone(&leaf)], at, Purpose::Server).unwrap();
            crowd.chains[1] = (vec![leaf], judged);
        }
        crowd.old_kind = !common;
        let crowd = attacked(crowd, "10.150.0.1", |_| {});
        assert_eq!(crowd.found > 0, common || !rsa, "{common} {rsa}");
    }
}

/// A server elsewhere has it, which once had the other one too.
#[test]
fn clients_of_other_servers_are_no_majority() {
    for (place, told) in [("203.0.113.99", 1), ("198.51.100.10", 0)] {
        let mut crowd = Crowd::new(false, Net::Wide, 1);
        crowd.place = place;
        let crowd = attacked(crowd, "10.150.0.1", |crowd| {
            let (chain, judged) = &crowd.chains[0];
            let observation = crowd.scene.handshake("10.99.0.1", place, chain);
            let hosts = &mut crowd.hosts;
            crowd.scene.with_judged((HOST, &observation), Some(judged), |sighting| {
                hosts.observe(sighting, &mut Vec::new());
            });
        });
        assert_eq!(crowd.found, told, "{place}");
    }
}

#[test]
fn views_have_bounds_and_what_is_beyond_is_counted() {
    let mut crowd = Crowd::new(true, Net::Wide, 1);
    let crowd_at = |crowd: &mut Crowd, host: &str, (client, new): (&str, bool)| {
        let (chain, judged) = &crowd.chains[usize::from(new)];
        let observation = crowd.scene.handshake(client, "203.0.113.10", chain);
        let hosts = &mut crowd.hosts;
        crowd.scene.with_judged((host, &observation), Some(judged), |sighting| {
            hosts.observe(sighting, &mut Vec::new());
        });
    };
    let mut hosts = Hosts::new(Arc::clone(&crowd.scene.anchors), 10_000);
    std::mem::swap(&mut crowd.hosts, &mut hosts);
    // A network of one subnet has more clients than a view.
    crowd_at(&mut crowd, HOST, ("10.0.0.1", false));
    (0..600).for_each(|client| crowd_at(&mut crowd, HOST, (&format!("2001:db8::{client:x}"), true)));
    assert_eq!((crowd.hosts.views.held(), crowd.hosts.views.forgotten()), ((1, 512), 88));
    for number in 0..4_095 {
        let host = format!("host-{number}.example.com");
        crowd_at(&mut crowd, &host, ("10.0.0.1", false));
        crowd_at(&mut crowd, &host, ("10.0.0.2", true));
    }
    assert_eq!(crowd.hosts.views.held(), (4_096, 512 + 4_095));
    // Who did not come for two hours is over.
    crowd.scene.now += 3 * HOUR;
    crowd_at(&mut crowd, HOST, ("10.0.0.1", false));
    crowd_at(&mut crowd, HOST, ("2001:db8::1", true));
    crowd_at(&mut crowd, HOST, ("10.0.0.1", false));
    assert_eq!(crowd.hosts.views.held(), (4_096, 2 + 4_095), "one of each certificate");
    crowd.scene.now += 7_000;
    crowd_at(&mut crowd, HOST, ("10.0.0.1", false));
    assert_eq!(crowd.hosts.views.held(), (4_096, 1 + 4_095));
    // The oldest leaves with all that it held.
    crowd_at(&mut crowd, "one-more.example.com", ("10.0.0.1", false));
    crowd_at(&mut crowd, "one-more.example.com", ("10.0.0.2", true));
    assert_eq!((crowd.hosts.views.held(), crowd.hosts.views.forgotten()), ((4_096, 4_096), 89));
    // What gets wide is no view.
    (3..9).for_each(|net| crowd_at(&mut crowd, "one-more.example.com", (&format!("10.0.{net}.2"), true)));
    assert_eq!(crowd.hosts.views.held(), (4_096, 4_095));
}

/// What waits takes no room from others when its clients are gone, though its host is not seen again.
#[test]
fn what_waited_for_two_hours_waits_no_longer() {
    let (hosts, many) = (25, (0..4_000).map(|number| format!("{number}.example.com")).collect::<Vec<_>>());
    let mut crowd = Crowd::new(false, Net::Wide, 1);
    let chain = Ca::new("Large").chain(&Plan::of(&many.iter().map(String::as_str).collect::<Vec<_>>()));
    let judged = crowd.scene.judged(&chain, (Some(ValidityTime(START)), Some(HOST)), Purpose::Server).unwrap();
    assert!(chain[0].weight() * hosts > 8 << 20);
    crowd.chains[1] = (chain, judged);
    let serve = |crowd: &mut Crowd, host: &str, (client, new): (&str, bool)| {
        let (chain, judged) = &crowd.chains[usize::from(new)];
        let observation = crowd.scene.handshake(client, "203.0.113.10", chain);
        let hosts = &mut crowd.hosts;
        crowd.scene.with_judged((host, &observation), Some(judged), |sighting| {
            hosts.observe(sighting, &mut Vec::new());
        });
    };
    let attack = |crowd: &mut Crowd, host: &str| {
        (0..40).for_each(|number| serve(crowd, host, (&format!("10.{number}.0.1"), false)));
        serve(crowd, host, ("10.150.0.1", true));
    };
    (0..hosts).for_each(|number| attack(&mut crowd, &format!("host-{number}.example.com")));
    let refused = crowd.hosts.views.forgotten();
    assert!(refused > 0 && crowd.hosts.views.waiting() <= 8 << 20);
    crowd.scene.now += 3 * HOUR;
    attack(&mut crowd, "one-more.example.com");
    assert_eq!(crowd.hosts.views.forgotten(), refused);
    assert_eq!(crowd.hosts.views.waiting(), crowd.chains[1].0[0].weight());
    assert_eq!(crowd.hosts.views.held().1, 1, "nor do its clients");
}

/// Whoever asks two servers of others for a name of his own makes no view: enough of them would take the place of all.
#[test]
fn certificates_of_servers_far_apart_are_not_compared() {
    for (second, views) in [("203.0.113.99", 20), ("198.51.100.10", 0)] {
        let mut crowd = Crowd::new(false, Net::Wide, 1);
        for number in 0..20 {
            for (new, server) in [(false, "203.0.113.10"), (true, second)] {
                let (chain, judged) = &crowd.chains[usize::from(new)];
                let observation = crowd.scene.handshake("10.0.0.1", server, chain);
                let hosts = &mut crowd.hosts;
                crowd.scene.with_judged((&format!("{number}.example"), &observation), Some(judged), |sighting| {
                    hosts.observe(sighting, &mut Vec::new());
                });
            }
        }
        assert_eq!(crowd.hosts.views.held().0, views, "{second}");
    }
}

/// What is said of MITM-008 when a client comes.
fn told_of(crowd: &mut Crowd, client: &str, new: bool) -> Vec<Finding> {
    let (chain, judged) = &crowd.chains[usize::from(new)];
    let observation = crowd.scene.handshake(client, "203.0.113.10", chain);
    let (hosts, mut findings) = (&mut crowd.hosts, Vec::new());
    crowd.scene.with_judged((HOST, &observation), Some(judged), |sighting| hosts.observe(sighting, &mut findings));
    findings.retain(|finding| finding.rule.id.ends_with("MITM-008"));
    findings
}

/// How many get the other certificate is told by what counts them: sketches know a few, filters many.
#[test]
fn the_majority_is_counted() {
    for others in [12, 1_500] {
        let mut crowd = Crowd::new(true, Net::Wide, 1);
        for number in 0..others {
            let client = crowd.client(number);
            crowd.serve(&client, false);
        }
        crowd.serve("10.150.0.3", true);
        crowd.scene.now += 60;
        let client = crowd.client(1);
        crowd.serve(&client, false);
        let message = &told_of(&mut crowd, "10.150.0.3", true)[0].message;
        let told = message.split(" clients got another").next().unwrap().rsplit(' ').next().unwrap();
        let told: u64 = told.parse().unwrap();
        assert!(told.abs_diff(others) <= others / 10, "{message}");
    }
}

/// Eight handshakes of the few wait until it is clear that the others go on to get the former certificate; more are counted.
#[test]
fn all_who_waited_are_told() {
    for (victims, told, lost) in [(1, 1, 0), (2, 2, 0), (8, 8, 0), (10, 8, 2)] {
        let mut crowd = Crowd::new(true, Net::Wide, 1);
        for hour in 0..3 {
            crowd.scene.now = START + hour * HOUR;
            for number in 0..100 {
                let client = crowd.client(number);
                crowd.serve(&client, false);
            }
        }
        for number in 1..=victims {
            assert!(told_of(&mut crowd, &format!("10.150.0.{number}"), true).is_empty());
        }
        crowd.scene.now += 60;
        let client = crowd.client(1);
        let found = told_of(&mut crowd, &client, false);
        let clients: std::collections::BTreeSet<_> = found.iter().map(|one| one.ends.unwrap().client.address).collect();
        assert_eq!((clients.len(), crowd.hosts.views.forgotten()), (told, lost));
    }
}

/// Twenty clients of one subnet count as one where nobody else of it got the other certificate; else they are counted each.
#[test]
fn a_subnet_in_which_somebody_gets_the_other_certificate_is_no_place_of_its_own() {
    for mingled in [false, true] {
        let mut crowd = Crowd::new(false, Net::Wide, 1);
        for hour in 0..3 {
            crowd.scene.now = START + hour * HOUR;
            for number in 0..400 {
                let client = crowd.client(number);
                crowd.serve(&client, false);
            }
        }
        for victim in 1..=20 {
            crowd.serve(&format!("10.150.0.{victim}"), true);
        }
        crowd.scene.now += 60;
        if mingled {
            crowd.serve("10.150.0.200", false);
        }
        for number in 0..300 {
            let client = crowd.client(number);
            crowd.serve(&client, false);
        }
        assert_eq!(crowd.found > 0, !mingled);
    }
}

/// Who got the certificate of the majority, and another one besides, is none of a minority.
#[test]
fn a_client_that_gets_three_certificates_is_none_of_a_minority() {
    for (first, second) in [(true, false), (true, true), (false, false)] {
        let mut crowd = Crowd::new(true, Net::Wide, 1);
        for number in 0..40 {
            let client = crowd.client(number);
            crowd.serve(&client, false);
        }
        let third = Ca::new("Third Root").chain(&Plan::of(&[HOST]));
        if first {
            crowd.serve("10.150.0.3", false);
        }
        if second {
            crowd.scene.serve(&mut crowd.hosts, (HOST, "10.150.0.3"), &third);
        }
        crowd.serve("10.150.0.3", true);
        crowd.scene.now += 60;
        for number in 0..40 {
            let client = crowd.client(number);
            crowd.serve(&client, false);
        }
        crowd.serve("10.150.0.3", true);
        assert_eq!(crowd.found > 0, !first, "{second}");
    }
}

/// Where one kind of client that got the RSA certificate never gets the other one, it is no attack on the other kind either.
#[test]
fn all_kinds_of_clients_of_a_pair_must_be_common() {
    for both in [true, false] {
        let mut crowd = Crowd::new(false, Net::Wide, 1);
        let path = format!("{}/tests/data/x509/rsa2048-sha1.der", env!("CARGO_MANIFEST_DIR"));
        let leaf = crate::detect::testing::parse(&std::fs::read(path).unwrap());
        let at = (Some(ValidityTime(START)), Some(HOST));
        let judged = crowd.scene.judged(&[Arc::clone(&leaf)], at, Purpose::Server).unwrap();
        crowd.chains[1] = (vec![leaf], judged);
        let mut crowd = attacked(crowd, "10.150.0.1", |crowd| {
            crowd.serve("10.150.0.3", true);
            crowd.old_kind = !both;
        });
        for number in 2_000..2_300 {
            crowd.scene.now += 3;
            let client = crowd.client(number);
            crowd.serve(&client, false);
        }
        assert_eq!(crowd.found > 0, both);
    }
}
