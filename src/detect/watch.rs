//! All rules with memory as one detector: a chain is looked at once, and the rules tell each other what they found.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::case::quoted;
use super::catalogue::{CLIENTS_REJECT_CERTIFICATE, NEW_INTERCEPTION_CA, ROTATED_CERTIFICATE, Severity};
use super::client_certificates::ClientCertificates;
use super::finding::{Finding, Point};
use super::hosts::backing::Backing;
use super::hosts::presented::Presented;
use super::hosts::report::Reporter;
use super::hosts::{Hints, Hosts};
use super::interceptors::Interceptors;
use super::keys::{CertificateKeys, Ephemeral, Outdated};
use super::knowledge::Knowledge;
use super::negotiation::Negotiation;
use super::nonces::Nonces;
use super::rejections::Rejections;
use super::sighting::{Detector, JudgedChain, Sighting, WaitingChain};
use crate::policy::{Interception, Policy};
use crate::time::Timestamp;
use crate::x509::Sha256;
use crate::x509::roots::TrustAnchors;

/// How sure it is that a client is intercepted where a proxy that may do so may be the one.
const OPEN: u8 = 40;

/// The rules with memory.
#[derive(Debug)]
pub struct Watch {
    hosts: Hosts,
    keys: CertificateKeys,
    ephemeral: Ephemeral,
    interceptors: Interceptors,
    negotiation: Negotiation,
    nonces: Nonces,
    rejections: Rejections,
    clients: ClientCertificates,
    /// Keys of proxies of the policy whose CA was seen; no more than the policy has.
    proxies: BTreeSet<Sha256>,
}

impl Watch {
    /// With these trust anchors, for at most `hosts` hosts.
    pub fn new(anchors: Arc<TrustAnchors>, hosts: usize) -> Self {
        Self {
            hosts: Hosts::new(anchors, hosts),
            keys: CertificateKeys::default(),
            ephemeral: Ephemeral::default(),
            interceptors: Interceptors::default(),
            negotiation: Negotiation::default(),
            nonces: Nonces::default(),
            rejections: Rejections::default(),
            clients: ClientCertificates::default(),
            proxies: BTreeSet::new(),
        }
    }

    /// Knows from here what earlier runs learned, and keeps there what this one learns.
    pub fn set_backing(&mut self, backing: Arc<dyn Backing>) {
        self.clients.set_backing(&*backing);
        self.interceptors.set_backing(Arc::clone(&backing));
        self.hosts.set_backing(backing);
    }

    /// The known hosts.
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// The known hosts, to give back or take out baselines.
    pub fn hosts_mut(&mut self) -> &mut Hosts {
        &mut self.hosts
    }
}

impl Watch {
    /// Which CAs of the policy's proxies were seen: whoever claims to be one of these can be told from it.
    fn note_proxies(&mut self, sighting: &Sighting<'_>) {
        for proxy in &sighting.policy.interceptions {
            let chain = sighting.observation.server_chain.iter().skip(1);
            let keys = chain.filter_map(|one| one.facts.as_deref()).map(|facts| facts.spki_sha256);
            self.proxies.extend(keys.filter(|key| proxy.spki.contains(&key.0)));
        }
    }

    /// Where a proxy may intercept the client, only its key is known, and nobody knows who signed this: it may be the proxy,
    /// or whoever takes its name. Both are told, a level lower and with what is open.
    fn leave_open(&self, sighting: &Sighting<'_>, new: &Presented, (findings, before): (&mut [Finding], usize)) {
        let Sighting { policy, knowledge, .. } = sighting;
        if new.issuer.verified || policy.interceptions.is_empty() {
            return;
        }
        for finding in findings.iter_mut().skip(before) {
            let about = finding.rule == &NEW_INTERCEPTION_CA || finding.rule == &CLIENTS_REJECT_CERTIFICATE;
            // Of several CAs each may be the one.
            let unseen = |proxy: &&Interception| {
                let mut keys = proxy.spki.iter().map(|key| Sha256(*key));
                keys.any(|key| !self.proxies.contains(&key) && !knowledge.has_proxy(&key))
            };
            let proxy = finding.ends.and_then(|ends| policy.interceptions_of(ends.client.address).find(unseen));
            let Some(proxy) = proxy.filter(|_| about) else { continue };
            finding.severity = match finding.severity {
                Severity::Critical => Severity::High,
                Severity::High => Severity::Medium,
                Severity::Medium | Severity::Low => Severity::Low,
            };
            finding.confidence = finding.confidence.min(OPEN);
            let text = format!(
                "who signed it was not seen: it may be the proxy {}, which the policy authorises by a key alone",
                quoted(&proxy.name)
            );
            finding.evidence.contra.push(Point { id: "proxy", text, ..Point::default() });
            let step = "Give the certificates of the proxy's CAs as `ca` of its [[interception]]: then this is decided at once.";
            finding.evidence.next_steps.push(step.to_owned());
        }
    }
}

impl Detector for Watch {
    fn observe(&mut self, sighting: &Sighting<'_>, findings: &mut Vec<Finding>) {
        self.hosts.recall(sighting);
        // Asked before this handshake is counted, and only where the answer is.
        let multi = self.negotiation.may_regress(sighting) && self.hosts.is_multi(sighting.host, sighting.clock);
        self.ephemeral.observe(sighting, findings);
        self.nonces.observe(sighting, findings);
        self.clients.observe(sighting, findings);
        let new = Presented::of(sighting, self.hosts.memo());
        self.note_proxies(sighting);
        // What a proxy that may intercept signs, and who refuses it, is by order of the owner.
        let authorised = new.as_ref().is_some_and(|new| new.authorised.is_some());
        if let Some(new) = &new {
            let shared = if authorised { None } else { self.keys.observe(sighting, new, findings) };
            let before = findings.len();
            self.interceptors.observe(sighting, new, findings);
            self.leave_open(sighting, new, (findings, before));
            let portal = self.interceptors.is_portal(&new.leaf.sha256);
            if let Some(key) = shared {
                self.hosts.note_shared_key(&key);
            }
            if portal {
                self.hosts.note_portal(&new.leaf.sha256);
            }
            let hints = Hints { key_elsewhere: shared.is_some(), portal };
            self.hosts.observe_chain(sighting, (new, hints), findings);
            findings.extend(self.hosts.take_rotation(&new.leaf.sha256).map(|kind| rotation(sighting, new, kind)));
        }
        let doubted = new.as_ref().is_some_and(|new| self.hosts.doubts(sighting.host, &new.leaf.sha256));
        self.negotiation.observe(sighting, (multi || authorised, doubted), findings);
        if !authorised {
            let before = findings.len();
            self.rejections.observe(sighting, (new.as_deref(), doubted), findings);
            if let Some(new) = &new {
                self.leave_open(sighting, new, (findings, before));
            }
        }
    }

    fn advance(&mut self, clock: Timestamp, policy: &Policy, findings: &mut Vec<Finding>) {
        self.hosts.advance(clock, policy, findings);
    }

    fn finish(&mut self, policy: &Policy, findings: &mut Vec<Finding>) {
        self.hosts.finish(policy, findings);
    }

    fn save(&mut self, clock: Timestamp) {
        self.hosts.save(clock);
    }

    fn renew(&mut self, anchors: &Arc<TrustAnchors>) {
        self.hosts.renew(anchors);
    }

    fn next_waiting(&self, issuer: &str, after: Option<u64>) -> Option<WaitingChain> {
        self.hosts.next_waiting(issuer, after)
    }

    fn judged_again(&mut self, waiting: &WaitingChain, chain: &JudgedChain, knowledge: &Knowledge) {
        self.hosts.judged_again(waiting, chain, knowledge);
    }

    fn forgotten(&self) -> u64 {
        [
            self.hosts.table().forgotten(),
            self.hosts.forgotten(),
            self.keys.forgotten(),
            self.ephemeral.forgotten(),
            self.interceptors.forgotten(),
            self.negotiation.forgotten(),
            self.nonces.forgotten(),
            self.rejections.forgotten(),
            self.clients.forgotten(),
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }

    fn outdated(&self) -> Outdated {
        self.ephemeral.outdated()
    }

    fn known_hosts(&self) -> Option<&Hosts> {
        Some(&self.hosts)
    }
}

/// CERT-018.
fn rotation(sighting: &Sighting<'_>, new: &Presented, kind: &str) -> Finding {
    let what = format!("a certificate from {} after another one", new.issuer_phrase());
    let mut finding = Reporter::new(sighting, new).finding(&ROTATED_CERTIFICATE, new.cause(), what);
    finding.evidence.verdict = kind.to_owned();
    finding
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::catalogue::NEW_INTERCEPTION_CA;
    use crate::detect::finding::Cause;
    use crate::detect::testing::{Ca, DAY, Plan, START, Scene, ids, key, of};

    const SITES: [&str; 6] = [
        "www.example.com",
        "login.example.net",
        "www.example.org",
        "shop.example.co.uk",
        "mail.example.edu",
        "api.example.de",
    ];

    #[test]
    fn mitmproxy_on_six_hosts_is_one_cause() {
        let public = Ca::new("Public Root");
        let mut scene = Scene::new(&[&public]);
        let mut watch = Watch::new(Arc::clone(&scene.anchors), 100);
        for site in SITES {
            let chain = public.chain(&Plan::of(&[site]));
            for client in 1..=3 {
                let client = format!("10.1.{client}.1");
                assert!(scene.serve(&mut watch, (site, &client), &chain).is_empty());
            }
        }
        scene.now += DAY;
        let shared = Arc::new(key());
        let proxy = Ca::with_key("mitmproxy", rcgen::KeyPair::try_from(shared.serialize_der()).unwrap());
        let mut found = Vec::new();
        for site in SITES {
            let plan = Plan::of(&[site]).keyed(&shared).dates(scene.now - 2 * DAY, scene.now + 300 * DAY);
            let leaf = [proxy.leaf(&plan)];
            found.extend(scene.serve(&mut watch, (site, "10.2.0.22"), &leaf));
        }
        found.extend(scene.finish(&mut watch));
        assert_eq!(ids(&found), ["KEY-001", "MITM-002", "MITM-003", "MITM-006", "MITM-007"]);
        let spki = proxy.certificate.facts.as_ref().unwrap().spki_sha256;
        assert!(found.iter().all(|finding| finding.cause == Cause::IssuerKey(spki)));
        assert!(found.iter().all(|finding| finding.ends.unwrap().client.address.to_string() == "10.2.0.22"));
        let head = found.iter().min_by(|left, right| left.precedence().cmp(&right.precedence())).unwrap();
        assert_eq!(head.rule, &NEW_INTERCEPTION_CA);
        assert!(head.certificate.is_some(), "that of the handshake at hand");
    }

    #[test]
    fn a_proxy_that_may_intercept_is_only_marked() {
        use crate::detect::catalogue::Effect;
        use crate::direction::Direction;
        use crate::tls::Alert;
        let (public, shared) = (Ca::new("Public Root"), Arc::new(key()));
        let proxy = Ca::with_key("Proxy", rcgen::KeyPair::try_from(shared.serialize_der()).unwrap());
        let spki = proxy.certificate.facts.as_ref().unwrap().spki_sha256;
        for (clients, rules) in [
            ("10.2.0.0/16", vec!["MITM-006"]),
            ("10.3.0.0/16", vec!["KEY-001", "MITM-002", "MITM-003", "MITM-004", "MITM-013"]),
        ] {
            let mut scene = Scene::new(&[&public]);
            scene.policy(&format!(
                "version = 1\n[[interception]]\nname = \"ours\"\nspki = [\"{spki}\"]\nclients = [\"{clients}\"]\nmode = \"authorised\"\n"
            ));
            let mut watch = Watch::new(Arc::clone(&scene.anchors), 100);
            let mut found = Vec::new();
            for site in SITES.iter().take(3) {
                let plan = Plan::of(&[site]);
                scene.serve(&mut watch, (site, "10.1.0.1"), &public.chain(&plan));
                // It copies the dates and signs all leaves with its one key.
                let leaf = [proxy.leaf(&plan.keyed(&shared))];
                for client in 1..=3 {
                    let mut observation = scene.handshake(&format!("10.2.0.{client}"), "203.0.113.10", &leaf);
                    let alert = Alert { direction: Direction::LowToHigh, level: 2, description: 48 };
                    observation.handshake.alerts = vec![alert];
                    found.extend(scene.show(&mut watch, site, &observation));
                }
            }
            found.extend(scene.finish(&mut watch));
            assert_eq!(ids(&found), rules, "{clients}");
            assert!(rules.len() > 1 || found.iter().all(|finding| finding.effect == Effect::Mark));
        }
    }

    #[test]
    fn one_key_for_all_leaves_is_told_and_many_are_not() {
        for same in [true, false] {
            let mut scene = Scene::new(&[]);
            let mut watch = Watch::new(Arc::clone(&scene.anchors), 100);
            let (shared, proxy) = (Arc::new(key()), Ca::new("Proxy"));
            let mut found = Vec::new();
            // Popular names count as public without having been seen.
            for site in ["google.com", "facebook.com", "amazon.com", "apple.com", "microsoft.com"] {
                let plan = Plan::of(&[site]);
                let plan = if same { plan.keyed(&shared) } else { plan };
                found.extend(scene.serve(&mut watch, (site, "10.2.0.22"), &proxy.chain(&plan)));
            }
            let told = of(&found, "MITM-007").unwrap();
            assert_eq!(told.evidence.pro.iter().any(|point| point.id == "leaf_key"), same);
        }
    }

    #[test]
    fn portal_raises_no_case_per_host() {
        let public = Ca::new("Public Root");
        let mut scene = Scene::new(&[&public]);
        let mut watch = Watch::new(Arc::clone(&scene.anchors), 100);
        for site in SITES {
            assert!(scene.serve(&mut watch, (site, "10.1.0.1"), &public.chain(&Plan::of(&[site]))).is_empty());
        }
        let portal =
            Ca::new("Portal CA").chain(&Plan::of(&["portal.example"]).dates(START - DAY - 500, START + 50 * DAY));
        let mut found = Vec::new();
        for site in SITES.iter().take(5) {
            scene.now += 8;
            found.extend(scene.serve(&mut watch, (site, "10.2.0.22"), &portal));
        }
        found.extend(scene.finish(&mut watch));
        assert_eq!(ids(&found), ["MITM-031"]);
        // Two names are no portal: two cases.
        let mut watch = Watch::new(Arc::clone(&scene.anchors), 100);
        for site in SITES.iter().take(2) {
            scene.serve(&mut watch, (site, "10.1.0.1"), &public.chain(&Plan::of(&[site])));
            scene.serve(&mut watch, (site, "10.2.0.22"), &portal);
        }
        let found = scene.finish(&mut watch);
        assert_eq!((ids(&found), found.len()), (vec!["MITM-002"], 2));
        assert!(of(&found, "MITM-002").unwrap().message.contains("Portal CA"));
    }

    /// Fifty handshakes of TLS 1.3, then `old` of TLS 1.2 with this chain, all of one kind of client; the alerts about it.
    fn steps_back(scene: &mut Scene, watch: &mut Watch, old: usize, chain: &[Arc<crate::x509::Certificate>]) -> usize {
        let mut told = 0;
        for handshake in 0..50 + old {
            let shown = if handshake < 50 { &[] } else { chain };
            let mut observation = scene.handshake("10.0.0.1", "203.0.113.10", shown);
            observation.handshake.client_hello.as_mut().unwrap().supported_versions = vec![0x0304, 0x0303].into();
            let hello = observation.handshake.server_hello.as_mut().unwrap();
            hello.selected_version = (handshake < 50).then_some(0x0304);
            let found = scene.show(watch, SITES[0], &observation);
            told += usize::from(of(&found, "MITM-014").is_some());
        }
        told
    }

    #[test]
    fn a_host_with_several_certificates_may_speak_several_versions() {
        let public = Ca::new("Public Root");
        let chains: Vec<_> = (0..3).map(|_| public.chain(&Plan::of(&[SITES[0]]))).collect();
        for several in [1, 3] {
            let mut scene = Scene::new(&[&public]);
            let mut watch = Watch::new(Arc::clone(&scene.anchors), 100);
            // Each on several days, to several clients.
            for day in 0..4 {
                for (number, chain) in chains.iter().take(several).enumerate() {
                    scene.serve(&mut watch, (SITES[0], &format!("10.{number}.{day}.1")), chain);
                }
                scene.now += DAY / 2;
            }
            let told = steps_back(&mut scene, &mut watch, 3, &chains[0]);
            assert_eq!(told, usize::from(several == 1));
        }
    }

    #[test]
    fn one_step_back_is_enough_with_a_doubted_certificate() {
        let public = Ca::new("Public Root");
        let mut scene = Scene::new(&[&public]);
        let genuine = public.chain(&Plan::of(&[SITES[0]]));
        let forged = Ca::new("Proxy CA").chain(&Plan::of(&[SITES[0]]));
        for (chain, told) in [(&genuine, 0), (&forged, 1)] {
            let mut watch = Watch::new(Arc::clone(&scene.anchors), 100);
            assert!(scene.serve(&mut watch, (SITES[0], "10.1.0.1"), &genuine).is_empty());
            assert_eq!(steps_back(&mut scene, &mut watch, 1, chain), told);
            // Nothing doubts a host that was never seen.
            let mut fresh = Watch::new(Arc::clone(&scene.anchors), 100);
            assert_eq!(steps_back(&mut scene, &mut fresh, 1, chain), 0);
        }
    }
}
