//! What is ordinary in a company and looks strange: read from a capture and live, nothing of it is medium or higher, but for
//! one medium of a host that changed its private CA or its self-signed certificate without a word.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::alerts::When;
use super::catalogue::{Effect, Severity};
use super::finding::Finding;
use super::judge_tests::Bench;
use super::observation::Observation;
use super::testing::{Ca, DAY, Plan, START, key};
use super::watch::Watch;
use crate::time::Timestamp;
use crate::x509::Certificate;

const HOUR: i64 = 3_600;

/// A network and what happens in it.
pub(super) struct Company {
    pub(super) bench: Bench,
    pub(super) seen: Vec<Observation>,
}

pub(super) type Chain = Vec<Arc<Certificate>>;

impl Company {
    pub(super) fn new(roots: &[&Ca], policy: &str) -> Self {
        let mut bench = Bench::new(roots);
        if !policy.is_empty() {
            bench = bench.policy(policy);
        }
        Self { bench, seen: Vec::new() }
    }

    pub(super) fn pass(&mut self, seconds: i64) {
        self.bench.scene.now += seconds;
    }

    /// A client gets a chain; a host that begins with `ip:` was asked for no name.
    pub(super) fn serve(&mut self, (host, server): (&str, &str), client: &str, chain: &Chain) -> &mut Observation {
        self.bench.scene.now += 7;
        let mut observation = self.bench.handshake((host, server), chain);
        observation.ends.client.address = client.parse().unwrap();
        if host.starts_with("ip:") {
            observation.handshake.client_hello.as_mut().unwrap().server_name = None;
        }
        self.seen.push(observation);
        self.seen.last_mut().unwrap()
    }

    /// What is medium or higher, by host and rule, from a capture or live.
    pub(super) fn told(&self, live: bool) -> Vec<Finding> {
        let mut bench = Bench { scene: super::testing::Scene::new(&[]), knowledge: Default::default() };
        bench.knowledge.anchors = Arc::clone(&self.bench.knowledge.anchors);
        bench.knowledge.builtin = (*bench.knowledge.anchors).clone();
        bench.knowledge.policy = self.bench.knowledge.policy.clone();
        let anchors = Arc::clone(&bench.knowledge.anchors);
        let memo = Arc::new(crate::x509::chain::SignatureMemo::new(1 << 20));
        let mut judge = super::judge::Judge::new(Arc::new(bench.knowledge), memo, (1 << 20, !live));
        judge.hold_open_chains(if live { When::AtOnce } else { When::AtEnd });
        judge.add(Box::new(Watch::new(anchors, 10_000)));
        let mut found = Vec::new();
        for one in &self.seen {
            let clock = one.handshake.first.order.clock;
            found.extend(judge.advance(clock));
            found.extend(judge.observe(one, clock));
        }
        if live {
            found.extend(judge.advance(Timestamp::new(self.bench.scene.now + DAY, 0)));
        }
        found.extend(judge.finish());
        found.retain(|one| one.effect == Effect::Alert && one.severity >= Severity::Medium);
        found
    }

    /// At most so many alerts of medium for each host, and none that is graver.
    pub(super) fn assert_quiet(&self, most: usize) {
        for live in [false, true] {
            let found = self.told(live);
            let mut alerts: BTreeMap<String, BTreeMap<_, String>> = BTreeMap::new();
            for one in &found {
                let of_host = alerts.entry(one.host.to_string()).or_default();
                let text = format!("{} {:?}: {}", one.rule.id, one.severity, one.message);
                of_host.entry(one.cause.alert_id().to_string()).or_insert(text);
            }
            let rules: std::collections::BTreeSet<_> =
                found.iter().map(|one| (one.severity, one.rule.id, &*one.host)).collect();
            assert!(found.iter().all(|one| one.severity == Severity::Medium), "live: {live}, {rules:?} {alerts:#?}");
            assert!(alerts.values().all(|host| host.len() <= most), "live: {live}, {alerts:#?}");
        }
    }
}

/// These are the owner's.
pub(super) fn internal(cas: &[&Ca]) -> String {
    let key = |ca: &&Ca| format!("\"{}\"", ca.certificate.facts.as_deref().unwrap().spki_sha256);
    let keys: Vec<String> = cas.iter().map(key).collect();
    format!("[[internal_ca]]\nname = \"ours\"\nspki = [{}]\n", keys.join(", "))
}

pub(super) fn place(number: i64) -> usize {
    usize::try_from(number).unwrap()
}

pub(super) fn client(number: i64) -> String {
    format!("10.{}.{}.{}", 1 + number % 3, number % 11, 10 + number % 97)
}

/// Certificates are renewed every six weeks before their end, with the same key.
#[test]
fn machines_renew_with_the_key_they_have() {
    for trusted in [true, false] {
        let ca = Ca::new("Corp Issuing CA");
        let mut company = Company::new(&[], &if trusted { internal(&[&ca]) } else { String::new() });
        for host in ["dc1.corp.example", "nps.corp.example"] {
            let own = Arc::new(key());
            for round in 0..4 {
                let from = company.bench.scene.now - HOUR;
                let chain = ca.chain(&Plan::of(&[host]).keyed(&own).dates(from, from + 365 * DAY));
                for visit in 0..40 {
                    company.serve((host, "10.0.0.5"), &client(visit + round), &chain);
                    company.pass(8 * DAY);
                }
            }
            company.bench.scene.now = START;
        }
        company.seen.sort_by_key(|one| one.handshake.first.order.clock);
        company.assert_quiet(0);
    }
}

/// Six-day certificates, each with a new key, by whichever of four intermediates.
#[test]
fn acme_with_six_days() {
    let root = Ca::new("Public Root");
    let below = ["E7", "E8", "R12", "R13"].map(|name| root.intermediate(name));
    let mut company = Company::new(&[&root], "");
    for round in 0..30 {
        let from = company.bench.scene.now - HOUR;
        let chain = below[place(round * 7 % 4)].chain(&Plan::of(&["shop.example.com"]).dates(from, from + 6 * DAY));
        for visit in 0..20 {
            company.serve(("shop.example.com", "203.0.113.10"), &client(visit * 3 + round), &chain);
            company.pass(3 * DAY / 20);
        }
    }
    company.assert_quiet(0);
}

/// A private root is replaced: the new one is signed by the old one for a while.
#[test]
fn a_private_root_rolls_over_with_cross_signatures() {
    for known in [[true, true], [true, false], [false, false]] {
        let (old, new) = (Ca::new("Corp Root G1"), Ca::new("Corp Root G2"));
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "Corp Root G2");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let cross = super::testing::parse(params.signed_by(new.issuer.key(), &old.issuer).unwrap().der());
        let (first, second) = (old.intermediate("Corp Issuing 1"), new.intermediate("Corp Issuing 2"));
        let roots: Vec<&Ca> =
            [&old, &new].into_iter().zip(known).filter(|(_, known)| *known).map(|(ca, _)| ca).collect();
        let mut company = Company::new(&[], &if roots.is_empty() { String::new() } else { internal(&roots) });
        let hosts = ["wiki.corp.example", "git.corp.example"];
        let before = hosts.map(|host| {
            let mut chain = first.chain(&Plan::of(&[host]).dates(START - 300 * DAY, START + 90 * DAY));
            chain.push(Arc::clone(&old.certificate));
            chain
        });
        let after = hosts.map(|host| {
            let mut chain = second.chain(&Plan::of(&[host]).dates(START + 40 * DAY, START + 400 * DAY));
            chain.push(Arc::clone(&cross));
            chain
        });
        for day in 0..100 {
            for (place, host) in hosts.into_iter().enumerate() {
                let chain = if day < 45 + 5 * i64::try_from(place).unwrap() { &before[place] } else { &after[place] };
                for visit in 0..4 {
                    company.serve((host, "10.0.0.8"), &client(day * 5 + visit), chain);
                }
            }
            company.pass(DAY);
        }
        // Whose root nobody knows: a change of a private CA.
        company.assert_quiet(if known[0] { 0 } else { 1 });
    }
}

/// Each pod has a certificate of an hour, and its own address, and both sides show one.
#[test]
fn a_service_mesh() {
    for (sni, rooted) in [(true, true), (true, false), (false, false)] {
        let root = Ca::new("cluster.local");
        let (mesh, next) = (root.intermediate("mesh-1"), root.intermediate("mesh-2"));
        let mut company = Company::new(&[], "");
        for hour in 0..60_i64 {
            let ca = if hour < 40 { &mesh } else { &next };
            for service in 0..3_i64 {
                let name = format!("svc{service}.prod.svc.cluster.local");
                let from = company.bench.scene.now - 60;
                let server = |pod: i64| format!("10.{}.{}.{}", 100 + pod % 4, (hour / 5 + pod) % 200, 5 + service);
                let chains: Vec<Chain> =
                    (0..2).map(|_| ca.chain(&Plan::of(&[name.as_str()]).dates(from, from + HOUR))).collect();
                for call in 0..6_i64 {
                    let address = server(call % 2);
                    let host = if sni { name.clone() } else { format!("ip:{address}") };
                    let mut client_chain = ca.chain(&Plan::of(&["client"]).dates(from, from + HOUR));
                    client_chain.extend(rooted.then(|| Arc::clone(&root.certificate)));
                    let from_pod = format!("10.{}.{}.77", 100 + call % 4, (hour / 3 + call) % 200);
                    let chain = &chains[place(call % 2)];
                    company.serve((&host, &address), &from_pod, chain).client_chain = client_chain;
                }
            }
            company.pass(HOUR - 200);
        }
        // Without the root nobody knows that the second issuer is no stranger.
        company.assert_quiet(if rooted { 0 } else { 1 });
    }
}

/// Nodes of one name with certificates of their own, of a private CA or of none.
#[test]
fn a_balancer_whose_nodes_have_certificates_of_their_own() {
    for (by_ca, sticky) in [(true, false), (true, true), (false, false), (false, true)] {
        let ca = Ca::new("Appliance CA");
        let plan = || Plan::of(&["vcenter.corp.example"]).dates(START - 100 * DAY, START + 700 * DAY);
        let nodes: Vec<Chain> = (0..4).map(|_| if by_ca { ca.chain(&plan()) } else { plan().self_signed() }).collect();
        let mut company = Company::new(&[], "");
        for visit in 0..300_i64 {
            let node = if sticky { (visit % 12) / 3 } else { visit * 7 % 4 };
            let chain = &nodes[place(node)];
            company.serve(("vcenter.corp.example", "10.0.0.20"), &client(visit % 12), chain);
            company.pass(HOUR / 2);
        }
        company.assert_quiet(if by_ca { 0 } else { 1 });
    }
}

/// Devices make a certificate whenever they start; they are asked for no name.
#[test]
fn printers_that_start_anew() {
    for named in [true, false] {
        let mut company = Company::new(&[], "");
        for day in 0..60_i64 {
            for printer in 0..5_i64 {
                let address = format!("10.0.9.{printer}");
                let name = format!("printer-{printer}.corp.example");
                let from = company.bench.scene.now - 30;
                if day % (5 + printer) == 0 {
                    let chain = Plan::of(&[&name]).dates(from, from + 3_650 * DAY).self_signed();
                    for visit in 0..5 {
                        let host = if named { name.clone() } else { format!("ip:{address}") };
                        company.serve((&host, &address), &client(visit + day), &chain);
                    }
                }
            }
            company.pass(DAY);
        }
        company.assert_quiet(1);
    }
}

/// One public certificate, and after a failover the self-signed one of the other device, for a quarter of an hour.
#[test]
fn a_gateway_that_fails_over() {
    let root = Ca::new("Public Root");
    let mut company = Company::new(&[&root], "");
    let host = "vpn.example.com";
    let first = root.chain(&Plan::of(&[host]));
    let second = root.chain(&Plan::of(&[host]).dates(START - 19 * DAY, START + 300 * DAY));
    for hour in 0..200_i64 {
        let chain = if (80..83).contains(&hour) || hour > 150 { &second } else { &first };
        for visit in 0..6 {
            company.serve((host, "203.0.113.40"), &format!("198.51.{}.{}", hour % 200, visit + 1), chain);
        }
        company.pass(HOUR);
    }
    company.assert_quiet(0);
}

/// A balancer's check asks for no name and gets the certificate that nobody else sees.
#[test]
fn health_checks_without_a_name() {
    let root = Ca::new("Public Root");
    let mut company = Company::new(&[&root], "");
    let host = "portal.example.com";
    let chain = root.chain(&Plan::of(&[host]));
    let default = Plan::of(&["ingress.local"]).dates(START - 50 * DAY, START + 315 * DAY).self_signed();
    for minute in 0..600_i64 {
        company.serve(("ip:10.0.0.30", "10.0.0.30"), "10.0.0.2", &default);
        company.serve((host, "10.0.0.30"), &client(minute), &chain);
        if minute % 50 == 0 {
            // Who knows the address alone.
            company.serve(("ip:10.0.0.30", "10.0.0.30"), &client(minute), &default);
        }
        company.pass(45);
    }
    company.assert_quiet(0);
}

/// Inside a name leads to a server of ours with a certificate of our CA, outside to a public one.
#[test]
fn one_name_with_two_faces() {
    let (root, ours) = (Ca::new("Public Root"), Ca::new("Corp CA"));
    let policy = internal(&[&ours]);
    // The policy names the CA, or `--roots` does.
    for (roots, policy) in [(&[&root][..], policy.as_str()), (&[&root, &ours], "")] {
        let host = "mail.example.com";
        let inside = ours.chain(&Plan::of(&[host]).dates(START - 90 * DAY, START + 600 * DAY));
        let outside = root.chain(&Plan::of(&[host]));
        for order in [0, 1] {
            let mut company = Company::new(roots, policy);
            for visit in 0..200_i64 {
                let laptop = visit % 10 == 0;
                let (server, chain) = if (visit + order) % 3 == 0 || laptop {
                    ("203.0.113.60", &outside)
                } else {
                    ("10.0.0.60", &inside)
                };
                company.serve((host, server), &client(visit), chain);
                company.pass(HOUR / 3);
            }
            company.assert_quiet(0);
        }
    }
}

/// Two companies merge, and a name is served by the CA of the one, then of the other, then of both.
#[test]
fn two_private_cas_after_a_merger() {
    let (one, other) = (Ca::new("Alpha Corp CA"), Ca::new("Beta GmbH CA"));
    let host = "intranet.corp.example";
    let alpha = one.chain(&Plan::of(&[host]).dates(START - 200 * DAY, START + 165 * DAY));
    let beta = other.chain(&Plan::of(&[host]).dates(START - 10 * DAY, START + 355 * DAY));
    let mut company = Company::new(&[], "");
    for day in 0..40_i64 {
        for visit in 0..10_i64 {
            let second = match day {
                0..10 => false,
                10..20 => visit % 3 == 0,
                20..30 => visit % 2 == 0,
                _ => true,
            };
            let (server, chain) = if second { ("10.8.0.9", &beta) } else { ("10.0.0.9", &alpha) };
            company.serve((host, server), &client(day + visit * 3), chain);
            company.pass(HOUR);
        }
        company.pass(14 * HOUR);
    }
    company.assert_quiet(1);
}

/// Partners' relays make their certificates as they like, and nobody checks them.
#[test]
fn mail_relays_with_certificates_of_their_own() {
    let mut company = Company::new(&[], "");
    for day in 0..50_i64 {
        for relay in 0..4_i64 {
            let host = format!("mx{relay}.partner{relay}.example.org");
            let server = format!("198.51.100.{relay}");
            let from = START + (day / (9 + relay)) * (9 + relay) * DAY - 100;
            let plan = Plan::of(&[&host]).dates(from, from + 365 * DAY);
            if day % (9 + relay) == 0 || company.seen.len() < 4 {
                let chain = plan.self_signed();
                for visit in 0..6_i64 {
                    company.serve((&host, &server), &format!("10.0.7.{}", 1 + visit % 2), &chain).ends.server.port = 25;
                    company.pass(HOUR);
                }
            }
        }
        company.pass(DAY - 20 * HOUR);
    }
    company.assert_quiet(1);
}

/// Laptops show their certificate from the office, from home and through a pool of addresses.
#[test]
fn laptops_that_move() {
    let (root, ours) = (Ca::new("Public Root"), Ca::new("Corp Device CA"));
    let mut company = Company::new(&[&root], "");
    let host = "gateway.example.com";
    let server = root.chain(&Plan::of(&[host]).dates(START - 10 * DAY, START + 300 * DAY));
    let laptops: Vec<Chain> =
        (0..12).map(|_| ours.chain(&Plan::of(&["laptop"]).dates(START - DAY, START + 300 * DAY))).collect();
    for day in 0..40_i64 {
        for (number, chain) in (0_i64..).zip(&laptops) {
            for (hour, address) in [
                (0, format!("10.1.{}.{}", number % 3, 20 + number)),
                (1, format!("10.1.{}.{}", (number + day) % 4, 20 + number)),
                (2, format!("10.200.{}.{}", (number + day * 3) % 16, 1 + day)),
                (3, format!("203.0.{}.9", 100 + number)),
            ] {
                if (day + hour) % 2 == 0 || hour == 0 {
                    company.serve((host, "203.0.113.80"), &address, &server).client_chain = chain.clone();
                }
            }
        }
        company.pass(DAY);
    }
    company.assert_quiet(0);
}

/// Replicas share one client certificate and move among nodes, each of which has a subnet of its own.
#[test]
fn replicas_that_share_a_client_certificate() {
    let (root, ours) = (Ca::new("Public Root"), Ca::new("Corp Client CA"));
    let mut company = Company::new(&[&root], "");
    let host = "api.example.com";
    let server = root.chain(&Plan::of(&[host]).dates(START - 10 * DAY, START + 300 * DAY));
    let shared = ours.chain(&Plan::of(&["exporter"]).dates(START - DAY, START + 300 * DAY));
    for minute in 0..3_000_i64 {
        // The third one is started on another node after some days.
        let nodes = if minute < 2_000 { [1, 2, 3] } else { [1, 2, 4] };
        let address = format!("10.40.{}.{}", nodes[place(minute % 3)], 5 + minute % 50);
        company.serve((host, "203.0.113.90"), &address, &server).client_chain = shared.clone();
        company.pass(200);
    }
    company.assert_quiet(1);
}

/// Of all this an attack is told: the scenes are no deafness.
#[test]
fn an_attack_among_all_that_is_told() {
    let root = Ca::new("Public Root");
    let mut company = Company::new(&[&root], "");
    let host = "shop.example.com";
    let genuine = root.chain(&Plan::of(&[host]));
    for visit in 0..60 {
        company.serve((host, "203.0.113.10"), &client(visit), &genuine);
        company.pass(HOUR);
    }
    company.assert_quiet(0);
    let forged = Ca::new("Proxy CA").chain(&Plan::of(&[host]).dates(company.bench.scene.now - HOUR, START + 300 * DAY));
    for visit in 0..3 {
        company.serve((host, "203.0.113.10"), "10.9.9.9", &forged);
        company.serve((host, "203.0.113.10"), &client(visit), &genuine);
    }
    for live in [false, true] {
        assert!(company.told(live).iter().any(|one| one.severity >= Severity::High), "{live}");
    }
}

/// Devices with certificates of their own get another address each day.
#[test]
fn addresses_that_move_among_devices() {
    for by_ca in [true, false] {
        let vendors = [Ca::new("Vendor A Device CA"), Ca::new("Vendor B Device CA")];
        let devices: Vec<Chain> = (0..10_usize)
            .map(|device| {
                let name = format!("device-{device}");
                let plan = Plan::of(&[&name]).dates(START - 400 * DAY, START + 3_000 * DAY);
                if by_ca { vendors[device % 2].chain(&plan) } else { plan.self_signed() }
            })
            .collect();
        let mut company = Company::new(&[], "");
        for day in 0..40_i64 {
            for (device, chain) in (0_i64..).zip(&devices) {
                let address = format!("10.0.5.{}", (device * 3 + day / 2 * (1 + device % 3)) % 10);
                for visit in 0..4 {
                    company.serve((&format!("ip:{address}"), &address), &client(device + visit), chain);
                }
            }
            company.pass(DAY);
        }
        company.assert_quiet(1);
    }
}

/// Peers of calls make a certificate for each call, both sides, and a relay stands for all of them.
#[test]
fn calls_through_a_relay() {
    let mut company = Company::new(&[], "");
    let mut mixer = Plan::of(&["mixer"]).self_signed();
    for call in 0..300_i64 {
        if call % 100 == 99 {
            mixer = Plan::of(&["mixer"]).self_signed();
        }
        let now = company.bench.scene.now;
        let own = |name: &str| Plan::of(&[name]).dates(now - DAY, now + 30 * DAY).self_signed();
        let (address, chain) =
            if call % 2 == 0 { ("203.0.113.70", mixer.clone()) } else { ("203.0.113.71", own("WebRTC")) };
        let seen = company.serve((&format!("ip:{address}"), address), &client(call), &chain);
        seen.client_chain = own("WebRTC");
        seen.handshake.protocol = crate::tls::Protocol::Dtls;
        seen.ends.transport = crate::packet::Transport::Udp;
        seen.ends.server.port = 3_478;
        company.pass(HOUR / 4);
    }
    company.assert_quiet(1);
}

/// Clusters are made anew under the same names, with CAs that all have one name.
#[test]
fn clusters_that_are_made_anew() {
    let mut company = Company::new(&[], "");
    for build in 0..6_i64 {
        for cluster in 0..3_i64 {
            let now = company.bench.scene.now;
            let ca = Ca::since("kubernetes", now - 120);
            let host = format!("api.cluster{cluster}.corp.example");
            let chain = ca.chain(&Plan::of(&[&host, "kubernetes"]).dates(now - 120, now + 365 * DAY));
            for visit in 0..20 {
                let shown = if visit % 2 == 0 { chain.clone() } else { chain[..1].to_vec() };
                company.serve((&host, &format!("10.6.{cluster}.1")), &client(visit * 5 + build), &shown);
                company.pass(HOUR);
            }
        }
        company.pass(9 * DAY);
    }
    company.assert_quiet(1);
}

/// Without a clock a device begins at the same second whenever it starts, and counts its certificates from there.
#[test]
fn devices_without_a_clock() {
    for own_ca in [true, false] {
        let mut company = Company::new(&[], "");
        for start in 0..8_i64 {
            let from = START - 3_000 * DAY + 31;
            let plan = Plan { serial: vec![1], ..Plan::of(&["camera.corp.example"]).dates(from, from + 7_300 * DAY) };
            let chain = if own_ca { Ca::since("Camera CA", from - 2).chain(&plan) } else { plan.self_signed() };
            for visit in 0..10 {
                company.serve(("camera.corp.example", "10.0.9.50"), &client(visit + start), &chain);
                company.pass(5 * HOUR);
            }
        }
        company.assert_quiet(1);
    }
}

/// The owner's proxy signs with an intermediate that changes each week, below the root that the policy names.
#[test]
fn a_proxy_of_ours_whose_intermediates_change() {
    let (root, proxy) = (Ca::new("Public Root"), Ca::new("Cloud Proxy Root"));
    let key = proxy.certificate.facts.as_deref().unwrap().spki_sha256;
    let policy = format!(
        "[[interception]]\nname = \"p\"\nspki = [\"{key}\"]\nclients = [\"10.0.0.0/8\"]\nmode = \"authorised\"\n"
    );
    let sites = ["www.example.com", "login.example.net", "www.example.org", "shop.example.co.uk", "mail.example.edu"];
    for seen in [true, false] {
        let mut company = Company::new(&[&root], &policy);
        let genuine = sites.map(|site| root.chain(&Plan::of(&[site])));
        for week in 0..6_i64 {
            let below = proxy.intermediate("Cloud Proxy Intermediate (t)");
            for hour in 0..24_i64 {
                for (place, site) in sites.into_iter().enumerate() {
                    let now = company.bench.scene.now;
                    let mut chain = below.chain(&Plan::of(&[site]).dates(now - DAY, now + 13 * DAY));
                    chain.extend((seen || hour == 0).then(|| Arc::clone(&proxy.certificate)));
                    company.serve((site, "203.0.113.10"), &client(hour * 3 + week), &chain);
                    // The proxy itself, and guests outside.
                    company.serve((site, "203.0.113.10"), "192.0.2.77", &genuine[place]);
                }
                company.pass(7 * HOUR);
            }
        }
        company.assert_quiet(0);
    }
}

/// Computers renew the certificates of their remote desktops each half year; nobody asks for a name.
#[test]
fn remote_desktops() {
    let mut company = Company::new(&[], "");
    for half in 0..5_i64 {
        let made: Vec<Chain> = (0..6)
            .map(|number| {
                let from = company.bench.scene.now - HOUR;
                Plan::of(&[&format!("PC-{number}.corp.example")]).dates(from, from + 190 * DAY).self_signed()
            })
            .collect();
        for day in 0..60_i64 {
            for (number, chain) in (0_i64..).zip(&made) {
                let address = format!("10.0.12.{number}");
                company.serve((&format!("ip:{address}"), &address), &client(day % 3 + number + half), chain);
                company.seen.last_mut().unwrap().ends.server.port = 3_389;
            }
            company.pass(3 * DAY);
        }
    }
    company.assert_quiet(1);
}

/// Two CDNs with CAs of their own and many places; the clients are sent to whichever is nearer at the moment.
#[test]
fn two_content_networks_with_many_places() {
    let roots = [Ca::new("Public Root A"), Ca::new("Public Root B")];
    let refs: Vec<&Ca> = roots.iter().collect();
    let mut company = Company::new(&refs, "");
    let host = "static.example.com";
    let chains: Vec<Chain> =
        roots.iter().flat_map(|root| (0..3).map(|_| root.chain(&Plan::of(&[host, "www.example.com"])))).collect();
    for visit in 0..900_i64 {
        let network = place((visit / 40 + visit % 5) % 2);
        let chain = &chains[network * 3 + place(visit % 3)];
        let server = format!("198.51.{}.{}", network * 100 + place(visit * 7 % 30), 1 + visit % 9);
        company.serve((host, &server), &client(visit * 5 % 61), chain);
        company.pass(400);
    }
    company.assert_quiet(0);
}

/// A dozen servers answer for one name, which is served in turn, and each is renewed in its own week.
#[test]
fn directory_servers_behind_the_name_of_the_domain() {
    for known in [true, false] {
        let ca = Ca::new("Corp Issuing CA");
        let mut company = Company::new(&[], &if known { internal(&[&ca]) } else { String::new() });
        let domain = "corp.example";
        let mut chains: Vec<Chain> = Vec::new();
        for week in 0..30_i64 {
            let now = company.bench.scene.now;
            for server in 0..12_i64 {
                if week == 0 || (week + server) % 13 == 0 {
                    let name = format!("dc{server}.corp.example");
                    let plan = Plan::of(&[&name, domain]).dates(now - HOUR, now + 365 * DAY);
                    let own = place(server);
                    if week == 0 { chains.push(ca.chain(&plan)) } else { chains[own] = ca.chain(&plan) }
                }
            }
            for visit in 0..60_i64 {
                let server = visit * 5 % 12;
                // Clients send the leaf's issuer along only sometimes: half of the servers send the leaf alone.
                let mut chain = chains[place(server)].clone();
                chain.truncate(if server % 2 == 0 { 2 } else { 1 });
                let seen = company.serve((domain, &format!("10.0.{}.10", server)), &client(visit * 7 + week), &chain);
                seen.ends.server.port = 636;
                company.pass(2 * HOUR);
            }
            company.pass(2 * DAY);
        }
        company.assert_quiet(0);
    }
}

/// Each branch has an appliance of the same name and address, with a certificate of its own.
#[test]
fn branches_with_the_same_name_and_address() {
    let mut company = Company::new(&[], "");
    let boxes: Vec<Chain> = (0..5)
        .map(|_| Plan::of(&["gateway.local"]).dates(START - 500 * DAY, START + 3_000 * DAY).self_signed())
        .collect();
    for visit in 0..400_i64 {
        let branch = visit * 3 % 5;
        let person = format!("10.{}.0.{}", 50 + branch, 1 + visit * 7 % 40);
        company.serve(("gateway.local", "192.168.1.1"), &person, &boxes[place(branch)]);
        company.pass(600);
    }
    company.assert_quiet(1);
}

/// Sensors that speak with a broker by client certificates of their own, renewed with a new key, from addresses that move.
#[test]
fn sensors_that_renew_their_client_certificates() {
    let (ours, things) = (Ca::new("Corp CA"), Ca::new("Things CA"));
    let mut company = Company::new(&[], &internal(&[&ours, &things]));
    let broker = ours.chain(&Plan::of(&["broker.corp.example"]).dates(START - 9 * DAY, START + 400 * DAY));
    let mut made: Vec<Chain> = Vec::new();
    for day in 0..60_i64 {
        let now = company.bench.scene.now;
        for thing in 0..15_i64 {
            let own = place(thing);
            if day == 0 || (day + thing) % 20 == 0 {
                let plan = Plan::of(&[&format!("thing-{thing}")]).dates(now - HOUR, now + 40 * DAY);
                let chain = things.chain(&plan);
                if day == 0 { made.push(chain) } else { made[own] = chain }
            }
            for _ in 0..2 {
                let address = format!("10.77.{}.{}", thing % 2, 1 + (thing * 5 + day) % 200);
                let chain = made[own].clone();
                company.serve(("broker.corp.example", "10.0.0.88"), &address, &broker).client_chain = chain;
            }
        }
        company.pass(DAY);
    }
    company.assert_quiet(0);
}
