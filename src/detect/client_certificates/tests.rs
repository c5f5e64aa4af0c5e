use super::*;
use crate::detect::testing::{Ca, DAY, Plan, START, Scene, ids, of};

const HOST: &str = "api.example.com";

struct World {
    scene: Scene,
    rules: ClientCertificates,
    ca: Ca,
    chain: Vec<Arc<Certificate>>,
}

impl World {
    /// A certificate used `uses` times from 10.1.0.11, a quarter of a day apart.
    fn new(uses: usize) -> Self {
        let ca = Ca::new("Client CA");
        let chain = ca.chain(&Plan::of(&["backup-7"]));
        let mut world = Self { scene: Scene::new(&[&ca]), rules: ClientCertificates::default(), ca, chain };
        for _ in 0..uses {
            assert!(world.used("10.1.0.11").is_empty());
            world.scene.now += DAY / 4;
        }
        world
    }

    fn used(&mut self, client: &str) -> Vec<Finding> {
        self.used_with(client, &|_| {})
    }

    fn used_with(&mut self, client: &str, change: &dyn Fn(&mut crate::tls::Handshake)) -> Vec<Finding> {
        let mut observation = self.scene.handshake(client, "203.0.113.10", &[]);
        observation.client_chain.clone_from(&self.chain);
        change(&mut observation.handshake);
        let mut findings = Vec::new();
        self.scene.with(HOST, &observation, |sighting| self.rules.observe(sighting, &mut findings));
        findings
    }
}

fn other_software(handshake: &mut crate::tls::Handshake) {
    handshake.client_hello.as_mut().unwrap().cipher_suites.push(0x1301);
}

#[test]
fn new_location_of_a_known_certificate() {
    let mut world = World::new(20);
    let found = world.used("10.2.0.22");
    assert_eq!((ids(&found), found[0].severity), (vec!["CERT-030"], Severity::Medium));
    assert!(found[0].message.contains("\"backup-7\"") && found[0].message.contains("10.2.0.0/24"));
    let point = &found[0].evidence.pro[0];
    assert_eq!(point.text, "20 uses from 1 other place");
    assert_eq!(point.expected.as_deref(), Some("10.1.0.0/24"));
    let observed = found[0].evidence.observed.as_ref().unwrap();
    assert_eq!((observed.sha256, observed.chain_status), (world.chain[0].sha256, "trusted"));
    world.scene.now += 601;
    assert!(world.used("10.1.0.99").is_empty(), "the same /24");
    assert_eq!(ids(&World::new(9).used("10.2.0.22")), [] as [&str; 0], "not known");
    let mut young = World::new(0);
    for _ in 0..20 {
        young.used("10.1.0.11");
    }
    assert!(young.used("10.2.0.22").is_empty(), "not three days");
    let found = World::new(20).used_with("10.2.0.22", &|handshake| handshake.established = Some(false));
    assert_eq!(found[0].severity, Severity::Low, "a try");
    let mut roaming = World::new(0);
    for client in 0..20 {
        roaming.used(&format!("10.{}.0.1", client % 5));
        roaming.scene.now += DAY / 4;
    }
    assert!(roaming.used("10.9.0.22").is_empty(), "it roams");
}

#[test]
fn a_theft_is_one_cause_with_all_that_speaks_for_it() {
    let mut world = World::new(20);
    world.used("10.1.0.11");
    let found = world.used_with("10.2.0.22", &other_software);
    assert_eq!(ids(&found), ["CERT-030", "CERT-031", "CERT-032"]);
    for one in &found {
        assert_eq!(one.cause, found[0].cause);
        let mut points: Vec<_> = one.evidence.pro.iter().map(|point| point.id).collect();
        points.sort_unstable();
        assert_eq!(points, ["place", "places", "software"]);
    }
    // The same at another host, and not from another place.
    let mut observation = world.scene.handshake("10.2.0.99", "203.0.113.11", &[]);
    observation.client_chain.clone_from(&world.chain);
    let mut elsewhere = Vec::new();
    world.scene.with("vpn.example.com", &observation, |sighting| world.rules.observe(sighting, &mut elsewhere));
    assert_eq!(elsewhere[0].cause, found[0].cause);
    assert_ne!(world.used("10.3.0.22")[0].cause, found[0].cause);
}

#[test]
fn policy_judges_without_history() {
    let mut world = World::new(1);
    world.scene.policy(
        "version = 1\n[[client_certificate]]\nmatch = { subject = \"CN=backup-*\" }\nallowed_from = [\"10.1.0.0/16\"]\nsensitive = true\n",
    );
    assert!(world.used("10.1.9.9").is_empty());
    let found = world.used("10.2.0.22");
    assert_eq!((ids(&found), found[0].severity), (vec!["CERT-030"], Severity::High));
}

#[test]
fn two_places_at_once() {
    for (pause, fires) in [(600, true), (601, false)] {
        let mut world = World::new(20);
        world.used("10.1.0.11");
        world.scene.now += pause;
        let found = world.used_with("10.2.0.22", &other_software);
        assert_eq!(of(&found, "CERT-031").is_some(), fires);
        let Some(found) = of(&found, "CERT-031") else { continue };
        assert!(found.message.contains("600 s after it was used from 10.1.0.0/24"), "{}", found.message);
        let point = &found.evidence.pro[0];
        let sides = (point.observed.as_deref(), point.expected.as_deref());
        assert_eq!(sides, (Some("10.2.0.0/24"), Some("10.1.0.0/24")));
    }
    // Who has the software of before may have moved, until the old place is seen again, at whatever time.
    for (before, after, fires) in [(600, DAY, true), (601, 601, false), (601, 600, true), (DAY, 1, true)] {
        let mut world = World::new(20);
        world.used("10.1.0.11");
        world.scene.now += before;
        let moved = world.used("10.2.0.22");
        assert_eq!(ids(&moved), ["CERT-030"], "{before}");
        world.scene.now += after;
        let found = world.used("10.1.0.11");
        assert_eq!(of(&found, "CERT-031").is_some(), fires, "{before} {after}");
        assert!(found.iter().all(|one| one.severity == Severity::High && one.cause == moved[0].cause));
        world.scene.now += 600;
        let again = world.used("10.2.0.22");
        assert!(of(&again, "CERT-031").is_some(), "the old place is in use");
        world.scene.now += 601;
        assert!(world.used("10.1.0.11").is_empty());
    }
    // Both places are old acquaintances.
    let mut pair = World::new(0);
    for round in 0..30 {
        pair.used(["10.1.0.11", "10.2.0.22"][round % 2]);
        pair.scene.now += if round % 2 == 0 { 60 } else { DAY / 4 };
    }
    pair.used("10.1.0.11");
    assert!(pair.used("10.2.0.22").is_empty());
}

#[test]
fn new_software() {
    let found = World::new(20).used_with("10.2.0.22", &other_software);
    let told = of(&found, "CERT-032").unwrap();
    assert_eq!(told.severity, Severity::High, "and a new place");
    let (observed, expected) = (&told.evidence.pro[0].observed, &told.evidence.pro[0].expected);
    assert!(observed.is_some() && expected.is_some() && observed != expected, "{:?}", told.evidence);
    let mut world = World::new(20);
    let found = world.used_with("10.1.0.11", &other_software);
    assert_eq!((ids(&found), found[0].effect), (vec!["CERT-032"], Effect::Mark));
    assert!(world.used_with("10.1.0.11", &other_software).is_empty());
    let found = world.used("10.1.0.11");
    assert_eq!((found[0].severity, found[0].effect), (Severity::Medium, Effect::Alert), "no update after all");
    assert!(World::new(5).used_with("10.1.0.11", &other_software).is_empty());
}

#[test]
fn revoked_whether_accepted_or_not() {
    let ca = Ca::new("CA");
    let chain = ca.chain(&Plan::of(&["lost"]));
    let facts = chain[0].facts.as_deref().unwrap();
    let (sha256, spki) = (chain[0].sha256, facts.spki_sha256);
    let number: String = facts.serial.iter().map(|octet| format!("{octet:02x}")).collect();
    for (inline, fires) in [
        (format!("certificates = [\"{sha256}\"]"), true),
        (format!("serials = [{{ issuer = \"CN=CA\", serial = \"{number}\" }}]"), true),
        (format!("serials = [{{ issuer = \"CN=Other\", serial = \"{number}\" }}]"), false),
        (format!("certificates = [\"{spki}\"]"), false),
    ] {
        for established in [true, false] {
            let mut world = World::new(0);
            world.chain.clone_from(&chain);
            world.scene.policy(&format!("version = 1\n[[compromised]]\n{inline}\nreason = \"lost\"\n"));
            let found = world.used_with("10.1.0.11", &|handshake| handshake.established = Some(established));
            let revoked = of(&found, "CERT-033").map(|one| one.severity);
            assert_eq!(revoked, fires.then_some(Severity::High), "{inline}");
            let words = "which the policy names as compromised (policy line 2: lost), and the server";
            assert!(of(&found, "CERT-033").is_none_or(|one| one.message.contains(words)), "{found:?}");
        }
    }
    let list = |signer: &Ca| {
        let list = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2026, 2, 2),
            next_update: rcgen::date_time_ymd(2026, 4, 2),
            crl_number: rcgen::SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: vec![rcgen::RevokedCertParams {
                serial_number: rcgen::SerialNumber::from_slice(&facts.serial),
                revocation_time: rcgen::date_time_ymd(2026, 2, 1),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        crate::detect::crl::Crl::read(list.signed_by(&signer.issuer).unwrap().der()).unwrap()
    };
    for (crls, fires) in [(list(&ca), true), (list(&Ca::new("CA")), false)] {
        let mut world = World::new(0);
        world.chain.clone_from(&chain);
        world.scene.knowledge.crls = crls;
        let found = world.used("10.1.0.11");
        assert_eq!(of(&found, "CERT-033").is_some(), fires);
        if let Some(one) = of(&found, "CERT-033") {
            assert!(
                one.message.contains("that was revoked on 2026-02-01 (by a CRL), and the server"),
                "{}",
                one.message
            );
        }
    }
}

#[test]
fn lists_that_revoke_nothing_do_not_say_so() {
    use crate::detect::knowledge::NamedList;
    use crate::detect::lists::List;
    let mut world = World::new(0);
    let facts = world.chain[0].facts.clone().unwrap();
    let number: String = facts.serial.iter().map(|octet| format!("{octet:02x}")).collect();
    for (list, words) in [
        (List::certificates(&world.chain[0].sha256.to_string()), "which stands in a block list (list line 1)"),
        (List::serials(&format!("{number} CN=Client CA")), "whose issuer and serial number stand in a list (list"),
    ] {
        world.scene.knowledge.blocklists = vec![NamedList { name: "list".to_owned(), list }];
        let found = world.used("10.1.0.11");
        let message = &of(&found, "CERT-033").unwrap().message;
        assert!(message.contains(words) && !message.contains("revoked"), "{message}");
    }
}

#[test]
fn expired_and_accepted() {
    for (until, established, organization, fires) in [
        (START - 5, true, "CA", true),
        (START + 5, true, "CA", false),
        (START - 5, false, "CA", false),
        (START - 5, true, "Apple iPhone Device CA", false),
    ] {
        let mut world = World::new(0);
        world.chain = Ca::new(organization).chain(&Plan::of(&["old"]).dates(START - DAY, until));
        let found = world.used_with("10.1.0.11", &|handshake| handshake.established = Some(established));
        assert_eq!(ids(&found) == ["CERT-033"], fires);
    }
}

#[test]
fn unexpected_issuer() {
    for (before, fires) in [(30, true), (29, false)] {
        let mut world = World::new(before);
        world.chain = Ca::new("Another CA").chain(&Plan::of(&["backup-8"]));
        assert_eq!(ids(&world.used("10.1.0.11")) == ["CERT-034"], fires);
        assert!(world.used("10.1.0.11").is_empty(), "once");
        world.chain = world.ca.chain(&Plan::of(&["backup-9"]));
        assert!(world.used("10.1.0.11").is_empty(), "the known issuer");
    }
}

/// A server that accepts what a root signed accepts each issuer below it.
#[test]
fn issuers_take_turns_below_one_root() {
    let (root, other) = (Ca::new("Root"), Ca::new("Root"));
    let below = ["mesh-1", "mesh-2"].map(|name| root.intermediate(name));
    let namesake = other.intermediate("mesh-2");
    for (next, with_root, fires) in
        [(&below[1], true, false), (&below[1], false, true), (&namesake, true, true), (&other, true, true)]
    {
        let mut world = World::new(0);
        let chain = |ca: &Ca, root: &Ca| {
            let mut chain = ca.chain(&Plan::of(&["pod"]));
            chain.extend(with_root.then(|| Arc::clone(&root.certificate)));
            chain
        };
        world.chain = chain(&below[0], &root);
        for _ in 0..40 {
            world.used("10.1.0.11");
            world.scene.now += DAY / 8;
        }
        let above = if std::ptr::eq(next, &below[1]) { &root } else { &other };
        world.chain = chain(next, above);
        assert_eq!(ids(&world.used("10.1.0.11")) == ["CERT-034"], fires, "{with_root}");
    }
}

/// Replicas have one certificate: which of their places is new says nothing of two at once.
#[test]
fn a_key_that_is_shared_is_in_two_places_all_the_time() {
    // The first in the second place was new there.
    for (together, fires) in [(10, true), (11, false)] {
        let mut world = World::new(0);
        for round in 0..24 {
            world.used("10.1.0.11");
            world.scene.now += if round < together { 60 } else { DAY / 4 };
            world.used("10.2.0.22");
            world.scene.now += DAY / 4;
        }
        world.used("10.1.0.11");
        let found = world.used_with("10.3.0.33", &other_software);
        assert!(of(&found, "CERT-030").is_some());
        assert_eq!(of(&found, "CERT-031").is_some(), fires, "{together}");
    }
}

/// What earlier runs stored.
#[derive(Debug)]
struct Before(Vec<ClientUse>);

impl Backing for Before {
    fn read(&self, _: &HostKey) -> Option<crate::detect::hosts::record::HostRecord> {
        None
    }

    fn write(&self, _: &crate::detect::hosts::record::HostRecord) {}

    fn client_uses(&self) -> Vec<ClientUse> {
        self.0.clone()
    }
}

#[test]
fn uses_of_earlier_runs_count() {
    let told = |past: &[(&str, i64, i64, u32)], client: &str| {
        let mut world = World::new(0);
        let key = world.chain[0].facts.as_deref().unwrap().spki_sha256;
        let at = |day: i64| Timestamp::new(world.scene.now + day * 86_400, 0);
        let one = |(address, first, last, count): &(&str, i64, i64, u32)| ClientUse {
            key,
            address: address.parse().unwrap(),
            first: at(*first),
            last: at(*last),
            count: *count,
        };
        let past = Before(past.iter().map(one).collect());
        world.rules.set_backing(&past);
        ids(&world.used(client))
    };
    let new = vec!["CERT-030"];
    assert_eq!(told(&[("10.0.0.1", -9, -1, 10)], "10.9.0.1"), new);
    assert_eq!(told(&[("10.0.0.1", -9, -1, 9)], "10.9.0.1"), [] as [&str; 0], "too few uses");
    assert_eq!(told(&[("10.0.0.1", -3, -1, 10)], "10.9.0.1"), [] as [&str; 0], "too short");
    assert_eq!(told(&[("10.0.0.1", -9, -1, 10)], "10.0.0.77"), [] as [&str; 0], "the same network");
    assert_eq!(told(&[("10.0.0.1", 0, 9, 10)], "10.9.0.1"), [] as [&str; 0], "nothing of now or later");
    // A place that came before the key was known is its own, one that came later only when it lasts.
    let home = ("10.0.0.1", -30, -1, 60);
    assert_eq!(told(&[home, ("10.9.0.1", -29, -1, 2)], "10.9.0.1"), [] as [&str; 0]);
    assert_eq!(told(&[home, ("10.9.0.1", -5, -4, 2)], "10.9.0.1"), new);
    assert_eq!(told(&[home, ("10.9.0.1", -5, -4, 20)], "10.9.0.1"), new, "many in a day");
    assert_eq!(told(&[home, ("10.9.0.1", -5, -1, 20)], "10.9.0.1"), [] as [&str; 0], "it lasts");
    let four = ["10.1.0.1", "10.2.0.1", "10.3.0.1", "10.4.0.1"].map(|address| (address, -30, -1, 9));
    assert_eq!(told(&[&[home][..], &four].concat(), "10.9.0.1"), [] as [&str; 0], "it roams");
}

/// Of a key that was used before and after the time at hand, the file does not tell when just before.
#[test]
fn uses_of_later_captures_are_not_near() {
    let mut world = World::new(0);
    let key = world.chain[0].facts.as_deref().unwrap().spki_sha256;
    let at = |day: i64| Timestamp::new(world.scene.now + day * 86_400, 0);
    let one = ClientUse { key, address: "10.1.0.11".parse().unwrap(), first: at(-20), last: at(9), count: 60 };
    world.rules.set_backing(&Before(vec![one]));
    assert_eq!(ids(&world.used("10.2.0.22")), ["CERT-030"]);
    world.scene.now += 9 * DAY;
    assert_eq!(ids(&world.used("10.1.0.11")), [] as [&str; 0]);
}

/// A laptop with two programs that use its certificate, of which one is updated from time to time.
#[test]
fn updates_of_one_of_two_programs() {
    fn version(number: u16) -> impl Fn(&mut crate::tls::Handshake) {
        move |handshake| handshake.client_hello.as_mut().unwrap().cipher_suites.push(0x1301 + number)
    }
    let mut world = World::new(2);
    let mut told = Vec::new();
    for number in 0..6 {
        for _ in 0..20 {
            told.extend(world.used_with("10.1.0.11", &version(number)));
            world.scene.now += 900;
            told.extend(world.used("10.1.0.11"));
            world.scene.now += DAY / 4;
        }
    }
    let alerts: Vec<&str> = told.iter().filter(|one| one.effect == Effect::Alert).map(|one| &*one.message).collect();
    assert_eq!((alerts.as_slice(), told.len()), (&[] as &[&str], 5));
    // What comes beside both is told, still after so many updates.
    world.used_with("10.1.0.11", &version(9));
    assert!(world.used_with("10.1.0.11", &version(5)).is_empty());
    assert_eq!(ids(&world.used("10.1.0.11")), ["CERT-032"]);
}

/// By name, by address, with and without a protocol: the same software.
#[test]
fn software_is_the_same_whomever_it_calls() {
    let mut world = World::new(20);
    let found = world.used_with("10.1.0.11", &|handshake| {
        let hello = handshake.client_hello.as_mut().unwrap();
        hello.server_name = Some(b"api.example.com".as_slice().into());
        hello.alpn.push(b"h2".as_slice().into());
        hello.extensions.extend([0, 16].map(|kind| crate::tls::Extension { kind, body: 0..0 }));
    });
    assert_eq!(ids(&found), [] as [&str; 0]);
    assert_eq!(ids(&world.used("10.1.0.11")), [] as [&str; 0]);
}
