//! Unknown CAs that sign for many domains (MITM-007), and certificates that answer for everything (MITM-031).

use std::sync::Arc;

use super::catalogue::{CAPTIVE_PORTAL, NEW_INTERCEPTION_CA};
use super::finding::{Cause, Finding, Point};
use super::hosts::backing::Backing;
use super::hosts::presented::Presented;
use super::hosts::report::{Place, some_names};
use super::hosts::sketch::{about, address_hash, estimate, mark, stable_hash};
use super::memory::Memory;
use super::observation::Observation;
use super::popular::is_popular;
use super::sighting::Sighting;
use crate::time::{Span, Timestamp};
use crate::x509::Sha256;

/// Domains known with a publicly trusted certificate.
const MAX_PUBLIC: usize = 500_000;
/// Untrusted issuers watched.
const MAX_ISSUERS: usize = 10_000;
/// Domains kept of one issuer.
const MAX_DOMAINS: usize = 64;
/// Pairs of client and leaf watched for a portal.
const MAX_PAIRS: usize = 50_000;
/// Places kept until there is enough to tell of.
const MAX_WAITING: usize = 64;
/// Leaves known as portals.
const MAX_PORTALS: usize = 4_096;
/// Domains of untrusted issuers that may become known as public.
const MAX_CLAIMED: usize = 50_000;
/// Issuers remembered of one such domain.
const MAX_CLAIMS: usize = 4;
/// Issuers that only lack domains known as public.
const MAX_PENDING: usize = 1_024;
/// Bytes of the handshake kept of one of them, at most, and of its certificate where many have larger ones.
const MAX_KEPT: usize = 32 << 10;
/// Bytes of certificates that are larger: whoever fills his with words is to be told of too.
const MAX_LARGE: usize = 16 << 20;

/// The rules about CAs and certificates that answer for many, and their memory.
#[derive(Debug)]
pub struct Interceptors {
    public: Memory<u64, ()>,
    issuers: Memory<Sha256, Signer>,
    /// Untrusted issuers that signed for a domain that was not known as public.
    claimed: Memory<u64, Vec<Sha256>>,
    /// Issuers that would be told of if more of their domains were known as public.
    pending: Memory<Sha256, Pending>,
    pairs: Memory<(u64, Sha256), Answers>,
    portals: Memory<Sha256, ()>,
    /// Knows domains of earlier runs; asked once, when a CA signs for so many that it matters.
    backing: Option<Arc<dyn Backing>>,
}

/// A handshake with an issuer of which too few domains were known as public.
#[derive(Clone, Debug)]
struct Pending {
    new: Presented,
    place: Place,
    /// `None` where it is too large.
    observation: Option<Arc<Observation>>,
}

/// Names that one leaf answered for one client.
#[derive(Clone, Debug, Default)]
struct Answers {
    /// The domains.
    domains: Domains,
    /// Where it answered before it was known for what it is.
    waiting: Vec<Place>,
}

/// Domains that were asked for lately.
#[derive(Clone, Debug, Default)]
struct Domains {
    /// In no order, each once; few.
    known: Vec<Domain>,
    /// None was asked for the last time before this.
    oldest: Option<Timestamp>,
    /// How often one came or went.
    changes: u64,
}

/// A domain that was asked for.
#[derive(Clone, Debug)]
struct Domain {
    /// Hash of the name: names lie all over the memory.
    hash: u64,
    last: Timestamp,
    popular: bool,
    name: Box<str>,
}

#[derive(Clone, Debug, Default)]
struct Signer {
    /// The domains.
    domains: Domains,
    clients: [u64; 8],
    keys: [u64; 2],
    /// Where it signed before it was known for what it is.
    waiting: Vec<Place>,
    /// The state in which too few of its domains were known as public, and how many were wanted.
    too_few: Option<(PublicState, u64, usize)>,
}

/// How many domains are known as public, and how many were forgotten.
type PublicState = (usize, u64);

impl Default for Interceptors {
    fn default() -> Self {
        Self {
            public: Memory::new(MAX_PUBLIC),
            issuers: Memory::new(MAX_ISSUERS),
            claimed: Memory::new(MAX_CLAIMED),
            pending: Memory::new(MAX_PENDING),
            pairs: Memory::new(MAX_PAIRS),
            portals: Memory::new(MAX_PORTALS),
            backing: None,
        }
    }
}

impl Interceptors {
    /// Asks here which domains earlier runs saw with a public certificate.
    pub fn set_backing(&mut self, backing: Arc<dyn Backing>) {
        self.backing = Some(backing);
    }

    /// How many entries were forgotten.
    pub fn forgotten(&self) -> u64 {
        let tables = [self.public.forgotten(), self.issuers.forgotten(), self.pairs.forgotten()];
        let waiting = [self.claimed.forgotten(), self.pending.forgotten()];
        tables.into_iter().chain(waiting).fold(0, u64::saturating_add)
    }

    /// Whether a leaf answers for names that are not its own.
    pub fn is_portal(&self, leaf: &Sha256) -> bool {
        self.portals.contains(leaf)
    }

    /// Takes note of a chain.
    pub fn observe(&mut self, sighting: &Sighting<'_>, new: &Presented, findings: &mut Vec<Finding>) {
        // Without a certain name nothing is known to match.
        let Some(domain) = new.domain.as_deref() else { return };
        match new.name_matches {
            Some(true) if new.public => {
                let known = stable_hash(domain.as_bytes());
                if !self.public.contains(&known) {
                    self.public.insert(known, ());
                    self.look_again(known, sighting, findings);
                }
            }
            Some(true) => findings.extend(self.signer(sighting, new, domain)),
            Some(false) => findings.extend(self.portal(sighting, new, domain)),
            None => {}
        }
    }

    fn signer(&mut self, sighting: &Sighting<'_>, new: &Presented, domain: &str) -> Vec<Finding> {
        if new.internal || new.self_signed || new.authorised.is_some() {
            return Vec::new();
        }
        let rule = NEW_INTERCEPTION_CA.known();
        let number = |name| usize::try_from(sighting.policy.number(&rule, name)).unwrap_or(usize::MAX);
        let window = Span::seconds(sighting.policy.number(&rule, "window"));
        let (signer, _) = self.issuers.entry(&new.issuer.key, Signer::default);
        let Some(signer) = signer else { return Vec::new() };
        let client = sighting.observation.ends.client.address;
        mark(&mut signer.clients, address_hash(client));
        mark(&mut signer.keys, stable_hash(&new.spki.0));
        let hash = stable_hash(domain.as_bytes());
        let is_new = signer.domains.remember((domain, hash), (sighting.clock, window));
        if is_new
            && !self.public.contains(&hash)
            && let (Some(issuers), _) = self.claimed.entry(&hash, Vec::new)
            && issuers.len() < MAX_CLAIMS
            && !issuers.contains(&new.issuer.key)
        {
            issuers.push(new.issuer.key);
        }
        let least = number("public");
        let few = signer.domains.known.len() < number("domains");
        if let Some(backing) = self.backing.take_if(|_| !few) {
            for domain in backing.public_domains() {
                self.public.entry(&domain, || ());
            }
        }
        let state = ((self.public.len(), self.public.forgotten()), signer.domains.changes, least);
        if few || signer.too_few == Some(state) || signer.domains.known_as_public(&self.public, least) < least {
            signer.too_few = Some(state).filter(|_| !few).or(signer.too_few);
            wait(&mut signer.waiting, sighting);
            if !few && !self.pending.contains(&new.issuer.key) && has_room(&self.pending, new) {
                self.pending.insert(new.issuer.key, Pending::of(sighting, new));
            }
            return Vec::new();
        }
        signer.findings(&self.public, (new, &Place::of(sighting)))
    }

    /// A domain is known as public from now on. That accuses who signed for it lately: years ago it may have been public by
    /// a root that is no anchor any more.
    fn look_again(&mut self, domain: u64, sighting: &Sighting<'_>, findings: &mut Vec<Finding>) {
        let Some(issuers) = self.claimed.get(&domain) else { return };
        let rule = NEW_INTERCEPTION_CA.known();
        let number = |name| usize::try_from(sighting.policy.number(&rule, name)).unwrap_or(usize::MAX);
        let window = Span::seconds(sighting.policy.number(&rule, "window"));
        for issuer in issuers.clone() {
            let Some(pending) = self.pending.get(&issuer) else { continue };
            let Some(signer) = self.issuers.get_mut(&issuer).filter(|signer| !signer.waiting.is_empty()) else {
                continue;
            };
            let few = signer.domains.known.len() < number("domains");
            let least = number("public");
            let last = signer.domains.known.iter().map(|domain| domain.last).max();
            let over = last.is_none_or(|last| sighting.clock.since(last) > window);
            if few || over || signer.domains.known_as_public(&self.public, least) < least {
                continue;
            }
            signer.waiting.retain(|place| place.moment.order != pending.place.moment.order);
            let mut told = signer.findings(&self.public, (&pending.new, &pending.place));
            if let Some(head) = told.first_mut() {
                head.observation.clone_from(&pending.observation);
            }
            findings.append(&mut told);
        }
    }

    fn portal(&mut self, sighting: &Sighting<'_>, new: &Presented, domain: &str) -> Vec<Finding> {
        let rule = CAPTIVE_PORTAL.known();
        let names = usize::try_from(sighting.policy.number(&rule, "names")).unwrap_or(usize::MAX);
        let window = Span::seconds(sighting.policy.number(&rule, "window"));
        let leaf = new.leaf.sha256;
        let client = address_hash(sighting.observation.ends.client.address);
        let (answers, _) = self.pairs.entry(&(client, leaf), Answers::default);
        let Some(Answers { domains, waiting }) = answers else { return Vec::new() };
        domains.remember((domain, stable_hash(domain.as_bytes())), (sighting.clock, window));
        if domains.known.len() < names {
            wait(waiting, sighting);
            return Vec::new();
        }
        let place = Place::of(sighting);
        let mut places = std::mem::take(waiting);
        places.retain(|earlier| sighting.clock.since(earlier.moment.order.clock) <= window);
        // The handshake at hand heads the alert.
        places.insert(0, place);
        let (asked, least) = (domains.names(), domains.at_least());
        if !self.portals.contains(&leaf) {
            self.portals.insert(leaf, ());
        }
        let what = format!(
            "the certificate of {}, as it did for {least}{} unrelated domains ({})",
            some_names(&new.names),
            asked.len(),
            some_names(&asked)
        );
        let point = Point {
            id: "domains",
            points: 0,
            text: format!("{least}{} unrelated domains, none of them in the certificate", asked.len()),
            observed: Some(some_names(&new.names)),
            expected: Some(some_names(&asked)),
        };
        let finding = |place: &Place| {
            let mut finding = place.finding((&CAPTIVE_PORTAL, Cause::LeafKey(new.spki)), &what, new);
            finding.evidence.pro.push(point.clone());
            finding
        };
        places.iter().map(finding).collect()
    }
}

/// What waits holds the certificate.
fn has_room(pending: &Memory<Sha256, Pending>, new: &Presented) -> bool {
    let weight = new.leaf.weight();
    let large = pending.iter().map(|(_, one)| one.new.leaf.weight()).filter(|weight| *weight > MAX_KEPT);
    weight <= MAX_KEPT || large.fold(weight, usize::saturating_add) <= MAX_LARGE
}

impl Pending {
    fn of(sighting: &Sighting<'_>, new: &Presented) -> Self {
        let observation = (sighting.observation.weight() <= MAX_KEPT).then(|| sighting.observation.kept());
        Self { new: new.clone(), place: Place::of(sighting), observation }
    }
}

impl Signer {
    /// What it signed, told at this place; and where it signed before.
    fn findings(&mut self, public: &Memory<u64, ()>, (new, place): (&Presented, &Place)) -> Vec<Finding> {
        let known = self.domains.known_as_public(public, usize::MAX);
        let domains = self.domains.names();
        let clients = estimate(&self.clients);
        let least = self.domains.at_least();
        let what = format!(
            "a certificate from {}, which signed for {least}{} domains ({}) and {} {}",
            new.issuer_phrase(),
            domains.len(),
            some_names(&domains),
            about(clients, 8),
            if clients == 1 { "client" } else { "clients" }
        );
        let mut finding = place.finding((&NEW_INTERCEPTION_CA, Cause::IssuerKey(new.issuer.key)), &what, new);
        let keys = estimate(&self.keys);
        let mut point = |id, text, observed| {
            finding.evidence.pro.push(Point { id, points: 0, text, observed, expected: None });
        };
        let listed: Vec<String> = domains.iter().take(10).cloned().collect();
        let more = domains.len().saturating_sub(listed.len());
        let listed = if more > 0 { format!("{} and {least}{more} more", listed.join(", ")) } else { listed.join(", ") };
        let text = format!("{least}{} unrelated domains, {least}{known} known as public", domains.len());
        point("domains", text, Some(listed));
        if keys == 1 {
            point("leaf_key", "all leaves have one key".to_owned(), Some(new.spki.to_string()));
        }
        let earlier = std::mem::take(&mut self.waiting).into_iter().map(|place| {
            // It had another leaf there.
            let earlier = place.finding((finding.rule, finding.cause.clone()), &what, new);
            Finding { certificate: None, evidence: finding.evidence.clone(), ..earlier }
        });
        let earlier: Vec<Finding> = earlier.collect();
        // The handshake whose certificate is known heads the alert.
        std::iter::once(finding).chain(earlier).collect()
    }
}

/// Keeps a place until there is enough to tell of.
fn wait(waiting: &mut Vec<Place>, sighting: &Sighting<'_>) {
    if waiting.len() < MAX_WAITING {
        waiting.push(Place::of(sighting));
    }
}

impl Domains {
    /// How many of them are known as public, counted up to `most`.
    fn known_as_public(&self, public: &Memory<u64, ()>, most: usize) -> usize {
        let is_public = |domain: &&Domain| domain.popular || public.contains(&domain.hash);
        self.known.iter().filter(is_public).take(most).count()
    }

    /// What is said before their number where more are not kept.
    fn at_least(&self) -> &'static str {
        if self.known.len() >= MAX_DOMAINS { "at least " } else { "" }
    }

    /// Their names in order.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.known.iter().map(|domain| domain.name.as_ref().to_owned()).collect();
        names.sort_unstable();
        names
    }

    /// Notes a domain with the hash of its name, and forgets those before the window; of too many the one not seen for the
    /// longest time. Says whether it was not there before.
    fn remember(&mut self, (name, hash): (&str, u64), (clock, window): (Timestamp, Span)) -> bool {
        let is_this = |known: &Domain| known.hash == hash && *known.name == *name;
        let is_due = self.oldest.is_some_and(|oldest| clock.since(oldest) > window);
        let was_known = is_due && self.known.iter().any(is_this);
        if is_due {
            self.known.retain(|known| clock.since(known.last) <= window);
            self.changes += 1;
            self.oldest = self.known.iter().map(|known| known.last).min();
        }
        self.oldest = self.oldest.map_or(Some(clock), |oldest| Some(oldest.min(clock)));
        if let Some(known) = self.known.iter_mut().find(|known| is_this(known)) {
            known.last = clock;
            return false;
        }
        self.add(Domain { hash, last: clock, popular: is_popular(name), name: name.into() });
        !was_known
    }

    #[cold]
    fn add(&mut self, domain: Domain) {
        if self.known.len() >= MAX_DOMAINS {
            let order = |(_, left): &(usize, &Domain), (_, right): &(usize, &Domain)| {
                (left.last, &left.name).cmp(&(right.last, &right.name))
            };
            if let Some((place, _)) = self.known.iter().enumerate().min_by(order) {
                self.known.swap_remove(place);
            }
        }
        self.changes += 1;
        self.known.push(domain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::testing::{Ca, DAY, Plan, Scene, ids};
    use crate::x509::chain::SignatureMemo;

    fn show(scene: &mut Scene, rules: &mut Interceptors, host: &str, (ca, name): (&Ca, &str)) -> Vec<Finding> {
        let observation = scene.handshake("10.0.0.1", "203.0.113.10", &ca.chain(&Plan::of(&[name])));
        shown(scene, rules, host, &observation)
    }

    fn shown(scene: &Scene, rules: &mut Interceptors, host: &str, observation: &Observation) -> Vec<Finding> {
        let mut findings = Vec::new();
        scene.with(host, observation, |sighting| {
            let new = Presented::of(sighting, &SignatureMemo::new(1 << 16)).unwrap();
            rules.observe(sighting, &new, &mut findings);
        });
        findings
    }

    const DOMAINS: [&str; 5] = ["www.google.com", "github.com", "www.example.org", "a.example.net", "b.example.edu"];

    #[test]
    fn five_domains_of_which_three_are_public() {
        let (public, proxy) = (Ca::new("Public Root"), Ca::new("Proxy"));
        let run = |history: &[&str], hosts: &[&str], pause: i64, policy: &str| {
            let mut scene = Scene::new(&[&public]);
            if !policy.is_empty() {
                scene.policy(policy);
            }
            let mut rules = Interceptors::default();
            for host in history {
                assert!(show(&mut scene, &mut rules, host, (&public, host)).is_empty());
            }
            let mut last = Vec::new();
            for host in hosts {
                scene.now += pause;
                last = show(&mut scene, &mut rules, host, (&proxy, host));
            }
            last
        };
        let found = run(&["a.example.net"], &DOMAINS, 1, "");
        assert_eq!((ids(&found), found.len()), (vec!["MITM-007"], 5), "those before too");
        assert_eq!(found[0].cause, Cause::IssuerKey(proxy.certificate.facts.as_ref().unwrap().spki_sha256));
        assert!(
            found[0].message.contains("5 domains (example.edu, example.net, example.org and 2 more)"),
            "{}",
            found[0].message
        );
        assert!(run(&[], &DOMAINS, 1, "").is_empty(), "two public ones");
        assert!(run(&["a.example.net"], &DOMAINS[..4], 1, "").is_empty(), "four domains");
        assert!(run(&["a.example.net"], &DOMAINS, DAY / 2, "").is_empty(), "too slow");
        let siblings = ["a.google.com", "b.google.com", "c.google.com", "d.google.com", "e.google.com"];
        assert!(run(&[], &siblings, 1, "").is_empty(), "one domain");
        let key = proxy.certificate.facts.as_ref().unwrap().spki_sha256;
        let ours = format!("version = 1\n[[internal_ca]]\nname = \"ours\"\nspki = [\"{key}\"]\n");
        assert!(run(&["a.example.net"], &DOMAINS, 1, &ours).is_empty(), "a CA of ours");
    }

    #[test]
    fn more_domains_than_are_kept_are_not_told_as_a_number() {
        let proxy = Ca::new("Proxy");
        for (count, wanted) in [(58, "signed for 63 domains ("), (80, "signed for at least 64 domains (")] {
            let (mut scene, mut rules) = (Scene::new(&[]), Interceptors::default());
            let mut found = Vec::new();
            let popular = ["google.com", "facebook.com", "amazon.com", "apple.com", "microsoft.com"];
            let names: Vec<String> = (0..count).map(|number| format!("www.example{number}.net")).collect();
            for name in names.iter().map(String::as_str).chain(popular) {
                found.extend(show(&mut scene, &mut rules, name, (&proxy, name)));
            }
            let last = found.last().unwrap();
            assert!(last.message.contains(wanted), "{}", last.message);
        }
    }

    #[test]
    fn domains_may_be_known_as_public_later() {
        let (public, proxy) = (Ca::new("Public Root"), Ca::new("Proxy"));
        for (later, pause, told) in
            [("a.example.net", DAY - 1, 5), ("a.example.com", DAY - 1, 0), ("a.example.net", DAY + 1, 0)]
        {
            let (mut scene, mut rules) = (Scene::new(&[&public]), Interceptors::default());
            for host in DOMAINS {
                assert!(show(&mut scene, &mut rules, host, (&proxy, host)).is_empty());
            }
            scene.now += pause;
            let found = show(&mut scene, &mut rules, later, (&public, later));
            assert_eq!(found.len(), told);
            assert!(found.iter().all(|one| one.ends.unwrap().client.address.to_string() == "10.0.0.1"));
            assert!(found.first().is_none_or(|head| head.certificate.is_some() && head.observation.is_some()));
            // It is told once, as soon as there are three.
            let found = show(&mut scene, &mut rules, "b.example.edu", (&public, "b.example.edu"));
            assert_eq!(found.len(), if pause < DAY { 5 - told } else { 0 });
        }
    }

    /// A proxy that fills its certificates with words waits like others, as long as those that do so are few.
    #[test]
    fn large_certificates_wait_too() {
        let public = Ca::new("Public Root");
        let (mut scene, mut rules) = (Scene::new(&[&public]), Interceptors::default());
        let mut sizes = Vec::new();
        for number in 0..50 {
            let proxy = Ca::new(&format!("Proxy {number}"));
            for host in DOMAINS {
                let plan = Plan { common_name: "x".repeat(60_000), ..Plan::of(&[host]) };
                let leaf = proxy.chain(&plan);
                sizes.push(leaf[0].weight());
                let observation = scene.handshake("10.0.0.1", "203.0.113.10", &leaf);
                shown(&scene, &mut rules, host, &observation);
            }
        }
        let kept = MAX_LARGE / sizes[0];
        assert!(sizes[0] > MAX_KEPT && kept > 10 && kept < 50, "{sizes:?}");
        assert_eq!(rules.pending.iter().count(), kept);
        let found = show(&mut scene, &mut rules, "a.example.net", (&public, "a.example.net"));
        assert_eq!(found.iter().filter(|one| one.certificate.is_some()).count(), MAX_CLAIMS);
    }

    #[test]
    fn one_certificate_for_three_domains() {
        let public = Ca::new("Public Root");
        let mut scene = Scene::new(&[&public]);
        let mut rules = Interceptors::default();
        let chain = public.chain(&Plan::of(&["portal.example"]));
        let mut get = |scene: &mut Scene, host: &str, client: &str| {
            let observation = scene.handshake(client, "203.0.113.10", &chain);
            !shown(scene, &mut rules, host, &observation).is_empty()
        };
        assert!(!get(&mut scene, "www.google.com", "10.0.0.1"));
        assert!(!get(&mut scene, "mail.google.com", "10.0.0.1"), "one domain");
        assert!(!get(&mut scene, "github.com", "10.0.0.1"));
        assert!(!get(&mut scene, "example.org", "10.0.0.2"), "another client");
        assert!(!get(&mut scene, "portal.example", "10.0.0.1"), "its own name");
        scene.now += 301;
        assert!(!get(&mut scene, "example.org", "10.0.0.1"), "too late");
        assert!(!get(&mut scene, "example.net", "10.0.0.1"));
        assert!(get(&mut scene, "example.edu", "10.0.0.1"));
        assert!(rules.is_portal(&chain[0].sha256));
    }
}
