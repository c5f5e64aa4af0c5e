//! Where alerts begin and end, to the second, the bit and the handshake.

use std::sync::Arc;

use super::catalogue::{CAPTIVE_PORTAL, Effect, Severity};
use super::client_certificates::ClientCertificates;
use super::crypto::key_weakness;
use super::finding::Finding;
use super::judge_tests::{Bench, HOME, NONE, WWW, how};
use super::rejections::Rejections;
use super::testing::{Ca, DAY, Plan, START, Scene, ids, of};
use super::watch::Watch;
use crate::direction::Direction;
use crate::tls::Alert;
use crate::x509::{Certificate, Facts, KeyKind};

#[test]
fn a_certificate_expires_soon_from_a_second_on() {
    let ca = Ca::new("Root");
    let (low, medium) = (Some(Severity::Low), Some(Severity::Medium));
    for (lifetime, left, told) in [
        // Thirty days and seven.
        (200 * DAY, 30 * DAY, None),
        (200 * DAY, 30 * DAY - 1, low),
        (200 * DAY, 7 * DAY, low),
        (200 * DAY, 7 * DAY - 1, medium),
        (200 * DAY, 0, medium),
        // The last third, where that is less.
        (60 * DAY, 20 * DAY, None),
        (60 * DAY, 20 * DAY - 1, low),
        // The last fifth of ten days and less, and never more than low.
        (10 * DAY, 2 * DAY, None),
        (10 * DAY, 2 * DAY - 1, low),
        (10 * DAY + 3, 3 * DAY, medium),
        (10 * DAY, 3 * DAY, None),
    ] {
        let chain = ca.chain(&Plan::of(&[WWW.0]).dates(START - lifetime, START));
        let found = Bench::new(&[&ca]).at(START - left).findings(HOME, &chain);
        assert_eq!(how(&found, "CERT-002"), told.map(|severity| (severity, Effect::Alert)), "{lifetime} {left}");
        assert!(how(&found, "CERT-001").is_none());
    }
}

#[test]
fn a_certificate_is_early_or_over_by_a_second() {
    let ca = Ca::new("Root");
    let chain = ca.chain(&Plan::of(&[WWW.0]).dates(START, START + 200 * DAY));
    for (at, rules) in [
        (START - 301, &["CERT-003"][..]),
        (START - 300, &NONE),
        (START + 200 * DAY, &["CERT-002"]),
        (START + 200 * DAY + 1, &["CERT-001"]),
    ] {
        assert_eq!(ids(&Bench::new(&[&ca]).at(at).findings(HOME, &chain)), rules, "{at}");
    }
}

#[test]
fn a_public_certificate_is_valid_for_so_many_seconds() {
    let ca = Ca::since("Root", 1_500_000_000);
    for (from, days, before) in [
        (1_598_918_400, 398, None),
        (1_773_532_800, 200, Some(398)),
        (1_805_068_800, 100, Some(200)),
        (1_868_227_200, 47, Some(100)),
    ] {
        let told = |from: i64, lifetime: i64| {
            let chain = ca.chain(&Plan::of(&[WWW.0]).dates(from, from + lifetime));
            how(&Bench::new(&[&ca]).at(from + DAY).findings(HOME, &chain), "CERT-009").is_some()
        };
        assert_eq!([told(from, days * DAY), told(from, days * DAY + 1)], [false, true], "{days}");
        match before {
            Some(before) => {
                assert_eq!([told(from - 1, before * DAY), told(from - 1, before * DAY + 1)], [false, true], "{days}");
            }
            None => assert!(!told(from - 1, 900 * DAY)),
        }
    }
}

#[test]
fn certificates_are_logged_since_a_day() {
    // 2018-05-01.
    let since = 1_525_132_800;
    let ca = Ca::since("Root", since - 100 * DAY);
    for (from, fires) in [(since, true), (since - 1, false)] {
        let chain = ca.chain(&Plan::of(&[WWW.0]).dates(from, from + 90 * DAY));
        let found = Bench::new(&[&ca]).public().at(since + DAY).changed(WWW, &chain, |one| {
            one.handshake.client_hello.as_mut().unwrap().signed_certificate_timestamp = true;
        });
        assert_eq!(of(&found, "CERT-011").is_some(), fires);
    }
}

#[test]
fn keys_are_weak_below_so_many_bits() {
    let weakness = |kind, bits| {
        let mut facts = Facts::default();
        (facts.key.kind, facts.key.bits) = (kind, bits);
        (facts.key.modulus, facts.key.exponent) = ([0xff].into(), [1, 0, 1].into());
        key_weakness(&facts).map(|(severity, _, _)| severity)
    };
    let (high, medium) = (Some(Severity::High), Some(Severity::Medium));
    for (kind, bits, severity) in [
        (KeyKind::Rsa, 0, None),
        (KeyKind::Rsa, 1, high),
        (KeyKind::Rsa, 1_023, high),
        (KeyKind::Rsa, 1_024, medium),
        (KeyKind::Rsa, 2_047, medium),
        (KeyKind::RsaPss, 2_048, None),
        (KeyKind::Ec, 0, None),
        (KeyKind::Ec, 1, medium),
        (KeyKind::Ec, 223, medium),
        (KeyKind::Ec, 224, None),
    ] {
        assert_eq!(weakness(kind, bits), severity, "{kind:?} {bits}");
    }
    // An exponent of eight octets is one that some libraries take.
    for (octets, severity) in [(8, None), (9, Some(Severity::Low))] {
        let mut facts = Facts::default();
        (facts.key.kind, facts.key.bits) = (KeyKind::Rsa, 2_048);
        (facts.key.modulus, facts.key.exponent) = ([0xff].into(), vec![1; octets].into());
        assert_eq!(key_weakness(&facts).map(|(severity, _, _)| severity), severity, "{octets}");
    }
}

/// A scene with clients that take or refuse what a host shows (MITM-013).
struct Refusals {
    scene: Scene,
    rules: Rejections,
}

impl Refusals {
    fn new() -> Self {
        Self { scene: Scene::new(&[]), rules: Rejections::default() }
    }

    fn show(&mut self, client: u8, refused: bool) -> Vec<Finding> {
        let mut observation = self.scene.handshake(&format!("10.0.0.{client}"), "203.0.113.10", &[]);
        if refused {
            observation.handshake.alerts = vec![Alert { direction: Direction::LowToHigh, level: 2, description: 48 }];
        }
        let mut findings = Vec::new();
        self.scene.with(WWW.0, &observation, |sighting| self.rules.observe(sighting, (None, false), &mut findings));
        findings
    }

    /// What is told at the third of three clients.
    fn refused_by_three(&mut self) -> Vec<Finding> {
        let [one, two, three] = [1, 2, 3].map(|client| self.show(client, true));
        assert!(one.is_empty() && two.is_empty());
        three
    }
}

#[test]
fn refusals_lie_within_ten_minutes() {
    for (seconds, told) in [(600, 3), (601, 0)] {
        let mut world = Refusals::new();
        world.show(1, true);
        world.scene.now += 300;
        world.show(2, true);
        world.scene.now += seconds - 300;
        assert_eq!(world.show(3, true).len(), told, "{seconds}");
    }
    // Who refused before that is not told with those who are enough.
    let mut world = Refusals::new();
    world.show(1, true);
    world.scene.now += 601;
    assert!(world.show(2, true).is_empty() && world.show(3, true).is_empty());
    let clients = world.show(4, true).into_iter().map(|one| one.ends.unwrap().client.address.to_string());
    assert_eq!(clients.collect::<Vec<_>>(), ["10.0.0.4", "10.0.0.2", "10.0.0.3"]);
}

#[test]
fn refusals_are_usual_from_one_in_a_hundred_on() {
    for (others, fires) in [(297, false), (298, true)] {
        let mut world = Refusals::new();
        (0..3).for_each(|_| drop(world.show(9, true)));
        for other in 0..others {
            world.show(20 + u8::try_from(other % 200).unwrap(), false);
        }
        world.scene.now += 4_000;
        assert_eq!(!world.refused_by_three().is_empty(), fires, "{others}");
    }
}

#[test]
fn what_was_usual_is_halved_after_a_week() {
    for (seconds, text) in [(0, "1 of 3 handshakes before"), (1, "hardly a refusal is known from before")] {
        let mut world = Refusals::new();
        world.show(9, true);
        world.show(9, false);
        world.scene.now += DAY;
        world.show(8, false);
        world.scene.now += 6 * DAY + seconds;
        let found = world.refused_by_three();
        assert_eq!(found[0].evidence.pro[0].text, format!("refused by 3 clients; {text}"));
    }
}

/// A scene with clients that show certificates (CERT-030 to 034).
struct Clients {
    scene: Scene,
    rules: ClientCertificates,
}

impl Clients {
    fn new() -> Self {
        Self { scene: Scene::new(&[]), rules: ClientCertificates::default() }
    }

    fn show(&mut self, client: &str, chain: &[Arc<Certificate>]) -> Vec<Finding> {
        let mut observation = self.scene.handshake(client, "203.0.113.10", &[]);
        observation.client_chain = chain.to_vec();
        let mut findings = Vec::new();
        self.scene.with(WWW.0, &observation, |sighting| self.rules.observe(sighting, &mut findings));
        findings
    }
}

#[test]
fn a_client_certificate_is_known_after_ten_uses_and_three_days() {
    let chain = Ca::new("Client CA").chain(&Plan::of(&["backup-7"]));
    for (uses, seconds, fires) in [(10, 3 * DAY, true), (9, 3 * DAY, false), (10, 3 * DAY - 1, false)] {
        let mut world = Clients::new();
        for _ in 1..uses {
            world.show("10.1.0.11", &chain);
        }
        world.scene.now += seconds;
        world.show("10.1.0.11", &chain);
        world.scene.now += DAY;
        assert_eq!(of(&world.show("10.2.0.22", &chain), "CERT-030").is_some(), fires, "{uses} {seconds}");
    }
}

#[test]
fn a_client_certificate_roams_from_five_places_on() {
    let chain = Ca::new("Client CA").chain(&Plan::of(&["laptop-7"]));
    for (places, fires) in [(4, true), (5, false)] {
        let mut world = Clients::new();
        for visit in 0..20 {
            world.show(&format!("10.{}.0.1", visit % places), &chain);
            world.scene.now += DAY / 4;
        }
        assert_eq!(of(&world.show("10.9.0.22", &chain), "CERT-030").is_some(), fires, "{places}");
    }
}

#[test]
fn the_issuers_of_a_server_are_known_after_a_day() {
    let chain = Ca::new("Client CA").chain(&Plan::of(&["backup-7"]));
    let other = Ca::new("Another CA").chain(&Plan::of(&["backup-8"]));
    for (seconds, fires) in [(DAY, true), (DAY - 1, false)] {
        let mut world = Clients::new();
        for _ in 0..30 {
            world.show("10.1.0.11", &chain);
        }
        world.scene.now += seconds;
        assert_eq!(of(&world.show("10.1.0.11", &other), "CERT-034").is_some(), fires, "{seconds}");
    }
}

const SITES: [&str; 5] =
    ["www.example.com", "login.example.net", "www.example.org", "shop.example.co.uk", "mail.example.edu"];

/// Sites that are public or not, and somebody who signs for all of them (MITM-007).
struct Sites {
    scene: Scene,
    watch: Watch,
    public: Ca,
    proxy: Ca,
}

impl Sites {
    fn new() -> Self {
        let public = Ca::new("Public Root");
        let scene = Scene::new(&[&public]);
        let watch = Watch::new(Arc::clone(&scene.anchors), 100);
        Self { scene, watch, public, proxy: Ca::new("Proxy CA") }
    }

    fn serve(&mut self, site: &str, genuine: bool) -> Vec<Finding> {
        let by = if genuine { &self.public } else { &self.proxy };
        let chain = by.chain(&Plan::of(&[site]));
        let mut found = self.scene.serve(&mut self.watch, (site, "10.2.0.22"), &chain);
        found.retain(|one| one.rule.id.ends_with("MITM-007"));
        found
    }
}

#[test]
fn an_interception_ca_signs_for_five_domains_within_a_day() {
    for (sites, public, seconds, fires) in
        [(5, 5, DAY, true), (5, 5, DAY + 1, false), (4, 5, 60, false), (5, 3, 60, true), (5, 2, 60, false)]
    {
        let mut world = Sites::new();
        SITES.iter().take(public).for_each(|site| assert!(world.serve(site, true).is_empty()));
        let (last, first) = SITES[..sites].split_last().unwrap();
        first.iter().for_each(|site| assert!(world.serve(site, false).is_empty()));
        world.scene.now += seconds;
        assert_eq!(!world.serve(last, false).is_empty(), fires, "{sites} {public} {seconds}");
    }
}

#[test]
fn domains_turn_out_to_be_public_within_a_day() {
    for (seconds, fires) in [(DAY, true), (DAY + 1, false)] {
        let mut world = Sites::new();
        SITES.iter().for_each(|site| assert!(world.serve(site, false).is_empty()));
        world.scene.now += seconds;
        assert!(world.serve(SITES[0], true).is_empty() && world.serve(SITES[1], true).is_empty());
        assert_eq!(!world.serve(SITES[2], true).is_empty(), fires, "{seconds}");
    }
}

/// One certificate for three names within five minutes.
#[test]
fn a_portal_answers_for_three_domains_within_five_minutes() {
    for (seconds, told) in [(300, 3), (301, 0)] {
        let mut world = Sites::new();
        let portal = Ca::new("Portal CA").chain(&Plan::of(&["portal.example"]));
        let mut told_at = Vec::new();
        for (site, pause) in SITES.iter().zip([0, 0, seconds]) {
            world.scene.now += pause;
            let found = world.scene.serve(&mut world.watch, (site, "10.2.0.22"), &portal);
            told_at.push(found.iter().filter(|one| one.rule == &CAPTIVE_PORTAL).count());
        }
        assert_eq!(told_at, [0, 0, told], "{seconds}");
    }
}

#[test]
fn a_fallback_follows_within_half_a_minute() {
    use super::negotiation::Negotiation;
    use crate::tls::HandshakeEnd;
    for (seconds, explained) in [(30, true), (31, false)] {
        let (mut scene, mut rules) = (Scene::new(&[]), Negotiation::default());
        let mut found = Vec::new();
        for falls_back in [false, true] {
            let mut observation = scene.handshake("10.0.0.1", "203.0.113.10", &[]);
            let handshake = &mut observation.handshake;
            if falls_back {
                handshake.client_hello.as_mut().unwrap().cipher_suites.push(0x5600);
            } else {
                (handshake.end, handshake.established) = (HandshakeEnd::Reset, Some(false));
            }
            scene.with(WWW.0, &observation, |sighting| rules.observe(sighting, (false, false), &mut found));
            scene.now += seconds;
        }
        let broken = found.iter().flat_map(|one| &one.evidence.pro).any(|point| point.id == "broken");
        assert_eq!((found.is_empty(), broken), (false, explained), "{seconds}");
    }
}
