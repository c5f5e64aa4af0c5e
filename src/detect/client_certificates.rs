//! Certificates of clients: where, with what and by whom they are used (CERT-030 to 034).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::catalogue::{
    CLIENT_CERT_NEW_LOCATION, CLIENT_CERT_NEW_SOFTWARE, CLIENT_CERT_REVOKED_OR_EXPIRED, CLIENT_CERT_TWO_PLACES,
    CLIENT_CERT_UNEXPECTED_ISSUER, Effect, Rule, Severity,
};
use super::finding::{Cause, Finding, Point, Seen};
use super::hosts::backing::{Backing, ClientUse};
use super::hosts::presented::{clipped, short_name};
use super::hosts::report::{Place, client_text};
use super::listed::{Lists, in_crl, since};
use super::memory::Memory;
use super::observation::ClientProof;
use super::policy_rules::listed;
use super::sighting::{HostKey, Sighting};
use crate::policy::{Attribute, Cidr};
use crate::time::{NANOS_PER_SECOND, Span, Timestamp};
use crate::x509::judge::ProblemKind;
use crate::x509::{Certificate, Facts, Sha256};

/// Client keys remembered.
const MAX_KEYS: usize = 100_000;
/// Prefixes remembered of one key.
const MAX_PLACES: usize = 8;
/// Prefixes from which on a key roams.
const ROAMING: usize = 4;
/// Kinds of software remembered of one key.
const MAX_SOFTWARE: usize = 4;
/// Servers whose client issuers are remembered.
const MAX_SERVERS: usize = 20_000;
/// Client issuers remembered of one server.
const MAX_ISSUERS: usize = 8;
/// Handshakes and time after which the client issuers of a server are known.
const SERVER_HANDSHAKES: u32 = 30;
const DAY: Span = Span::seconds(86_400);
const THREE_DAYS: Span = Span::seconds(3 * 86_400);

/// The rules and their memory: about 500 octets for a key.
#[derive(Debug)]
pub struct ClientCertificates {
    keys: Memory<Sha256, Usage>,
    servers: Memory<HostKey, Accepted>,
    /// Uses in earlier runs of keys that were not seen yet in this one.
    past: HashMap<Sha256, Vec<ClientUse>>,
}

#[derive(Clone, Debug)]
struct Usage {
    first: Timestamp,
    last: Timestamp,
    uses: u32,
    places: Vec<Spot>,
    software: Vec<Software>,
}

/// A prefix that a key was used from.
#[derive(Clone, Copy, Debug)]
struct Spot {
    network: Cidr,
    first: Timestamp,
    last: Timestamp,
    uses: u32,
    /// It was there before the key was known, or for long enough since.
    known: bool,
}

#[derive(Clone, Debug)]
struct Software {
    /// JA4.
    fingerprint: Box<str>,
    /// It appeared in a known place after the key was known; an update if no other is seen again.
    update: bool,
}

#[derive(Clone, Debug)]
struct Accepted {
    first: Timestamp,
    count: u32,
    issuers: Vec<KnownIssuer>,
}

/// An issuer of client certificates. Clients need not send their CA.
#[derive(Clone, Copy, Debug)]
struct KnownIssuer {
    /// Of its name and key identifier.
    name: Sha256,
    /// Its key, once it was seen.
    key: Option<Sha256>,
}

impl Accepted {
    /// Whether it accepted this issuer before. One that was known by its name is known by its key from then on, and where no
    /// key was seen the name is enough.
    fn knows(&mut self, issuer: KnownIssuer) -> bool {
        let Some(key) = issuer.key else { return self.issuers.iter().any(|known| known.name == issuer.name) };
        if self.issuers.iter().any(|known| known.key == Some(key)) {
            return true;
        }
        let named = self.issuers.iter_mut().find(|known| known.name == issuer.name && known.key.is_none());
        named.map(|known| known.key = Some(key)).is_some()
    }
}

/// One use of a key.
struct Use<'a> {
    sighting: &'a Sighting<'a>,
    leaf: &'a Arc<Certificate>,
    facts: &'a Facts,
    place: Place,
    established: bool,
}

impl Default for ClientCertificates {
    fn default() -> Self {
        Self { keys: Memory::new(MAX_KEYS), servers: Memory::new(MAX_SERVERS), past: HashMap::new() }
    }
}

impl ClientCertificates {
    /// Knows from here where keys were used in earlier runs.
    pub fn set_backing(&mut self, backing: &dyn Backing) {
        for one in backing.client_uses() {
            if self.past.len() < MAX_KEYS || self.past.contains_key(&one.key) {
                self.past.entry(one.key).or_default().push(one);
            }
        }
    }

    /// How many entries were forgotten.
    pub fn forgotten(&self) -> u64 {
        self.keys.forgotten().saturating_add(self.servers.forgotten())
    }

    /// Takes note of a handshake.
    pub fn observe(&mut self, sighting: &Sighting<'_>, findings: &mut Vec<Finding>) {
        let Some(leaf) = sighting.observation.client_chain.first() else { return };
        let Some(facts) = leaf.facts.as_deref() else { return };
        let used = Use { sighting, leaf, facts, place: Place::of(sighting), established: is_established(sighting) };
        findings.extend(used.revoked().or_else(|| used.expired()));
        findings.extend(self.issuer(&used));
        self.usage(&used, findings);
    }

    fn usage(&mut self, used: &Use<'_>, findings: &mut Vec<Finding>) {
        let sighting = used.sighting;
        let clock = sighting.clock;
        let client = used.place.ends.client.address;
        let place = network(client);
        let least = sighting.policy.number(&CLIENT_CERT_NEW_LOCATION.known(), "uses");
        let key = used.facts.spki_sha256;
        let past = &mut self.past;
        let (usage, _) =
            self.keys.entry(&key, || Usage::of_past(past.remove(&key).unwrap_or_default(), (clock, least)));
        let Some(usage) = usage else { return };
        let known = i64::from(usage.uses) >= least && usage.last.since(usage.first) >= THREE_DAYS;
        let roaming = usage.places.len() > ROAMING;
        let new_place = !usage.places.iter().any(|spot| spot.network == place && spot.known);
        let allowed = used.allowed();
        let outside = match allowed {
            Some(allowed) => !allowed,
            None => known && !roaming && new_place,
        };
        let mut told = Vec::new();
        if outside {
            told.push(used.new_location(usage, allowed.is_some()));
        }
        if used.established {
            let window = Span::seconds(sighting.policy.number(&CLIENT_CERT_TWO_PLACES.known(), "window"));
            let others = usage.places.iter();
            let others = others.filter(|spot| spot.network != place && clock.since(spot.last) <= window);
            let other = others.min_by_key(|spot| !spot.known);
            if known && !roaming && new_place && allowed != Some(true) {
                told.extend(other.map(|other| used.two_places(other)));
            }
            if let Some(kind) = sighting.client_kind {
                told.extend(usage.software(used, &kind.ja4, (known, outside)));
            }
            usage.note(place, clock, (known, least));
        }
        share_evidence(&mut told);
        findings.append(&mut told);
    }

    fn issuer(&mut self, used: &Use<'_>) -> Option<Finding> {
        if !used.established {
            return None;
        }
        let sighting = used.sighting;
        let path = sighting.client.and_then(|chain| chain.report.paths.first());
        let above = path.and_then(|path| path.certificates.get(1)).and_then(|one| one.facts.as_deref());
        let issuer = KnownIssuer { name: Sha256(sha2_of(used.facts)), key: above.map(|facts| facts.spki_sha256) };
        let fresh = || Accepted { first: sighting.clock, count: 0, issuers: Vec::new() };
        let (server, _) = self.servers.entry(sighting.host, fresh);
        let server = server?;
        let known = server.count >= SERVER_HANDSHAKES && sighting.clock.since(server.first) >= DAY;
        server.count = server.count.saturating_add(1);
        if server.knows(issuer) {
            return None;
        }
        let before = server.count.saturating_sub(1);
        // A server that accepts many issuers has no stable set.
        let stable = server.issuers.len() < MAX_ISSUERS;
        if stable {
            server.issuers.push(issuer);
        }
        if !known || !stable {
            return None;
        }
        let cause = used.cause(&CLIENT_CERT_UNEXPECTED_ISSUER, vec![issuer.key.unwrap_or(issuer.name).to_string()]);
        let what = format!(
            "with a certificate from \"{}\", an issuer that it never accepted",
            clipped(&used.facts.issuer.text)
        );
        let mut finding = used.finding(&CLIENT_CERT_UNEXPECTED_ISSUER, cause, &what);
        let others = server.issuers.len().saturating_sub(1);
        let issuers = if others == 1 { "issuer" } else { "issuers" };
        let text = format!("client certificates of {others} other {issuers} accepted {before} times before");
        let point = Point::new("issuer", text).observed(clipped(&used.facts.issuer.text));
        finding.evidence.pro.push(point.expected("one of the issuers that it accepted before"));
        Some(finding)
    }
}

impl Usage {
    fn new(clock: Timestamp) -> Self {
        Self { first: clock, last: clock, uses: 0, places: Vec::new(), software: Vec::new() }
    }

    /// What earlier runs stored of a key: how it stood at the end of them.
    fn of_past(mut past: Vec<ClientUse>, (clock, least): (Timestamp, i64)) -> Self {
        past.retain(|one| one.first < clock);
        past.sort_by_key(|one| (one.first, one.address));
        let mut usage = Self::new(past.first().map_or(clock, |one| one.first));
        let mut spots: Vec<Spot> = Vec::new();
        for one in &past {
            let last = one.last.min(clock);
            usage.uses = usage.uses.saturating_add(one.count);
            usage.last = usage.last.max(last);
            let place = network(one.address);
            match spots.iter_mut().find(|spot| spot.network == place) {
                Some(spot) => {
                    spot.uses = spot.uses.saturating_add(one.count);
                    spot.last = spot.last.max(last);
                }
                None => spots.push(Spot { network: place, first: one.first, last, uses: one.count, known: true }),
            }
        }
        let all = spots.clone();
        for spot in &mut spots {
            // As it was when the place was new: of the uses elsewhere so many as fall before it.
            let before = all.iter().filter(|other| other.first < spot.first).map(|other| other.uses_before(spot.first));
            let key_was_known = before.sum::<i64>() >= least && spot.first.since(usage.first) >= THREE_DAYS;
            let lasts = i64::from(spot.uses) >= least && spot.last.since(spot.first) >= THREE_DAYS;
            spot.known = !key_was_known || lasts;
        }
        spots.sort_by_key(|spot| std::cmp::Reverse(spot.last));
        spots.truncate(MAX_PLACES);
        usage.places = spots;
        usage
    }

    fn note(&mut self, place: Cidr, clock: Timestamp, (known, least): (bool, i64)) {
        self.uses = self.uses.saturating_add(1);
        self.last = self.last.max(clock);
        if let Some(spot) = self.places.iter_mut().find(|spot| spot.network == place) {
            spot.uses = spot.uses.saturating_add(1);
            spot.last = clock;
            // A move that lasts is no theft.
            spot.known |= i64::from(spot.uses) >= least && clock.since(spot.first) >= THREE_DAYS;
            return;
        }
        if self.places.len() >= MAX_PLACES {
            let oldest = self.places.iter().enumerate().min_by_key(|(_, spot)| spot.last).map(|(index, _)| index);
            oldest.map(|oldest| self.places.remove(oldest));
        }
        self.places.push(Spot { network: place, first: clock, last: clock, uses: 1, known: !known });
    }

    fn software(&mut self, used: &Use<'_>, fingerprint: &str, (known, new_place): (bool, bool)) -> Option<Finding> {
        let seen = self.software.iter().find(|software| *software.fingerprint == *fingerprint);
        if let Some(is_update) = seen.map(|seen| seen.update) {
            // The old one is still there: what looked like an update was none.
            let newer = self.software.iter_mut().find(|software| software.update).filter(|_| !is_update)?;
            newer.update = false;
            let newer = newer.fingerprint.clone();
            return Some(used.new_software(&newer, (Severity::Medium, &self.software)));
        }
        // Nothing is known of the software of earlier runs: none of it is new.
        let steady = (1..=2).contains(&self.software.len());
        if self.software.len() >= MAX_SOFTWARE {
            self.software.remove(0);
        }
        let told = known && steady;
        self.software.push(Software { fingerprint: fingerprint.into(), update: told && !new_place });
        if !told {
            return None;
        }
        let severity = if new_place { Severity::High } else { Severity::Medium };
        let mut finding = used.new_software(fingerprint, (severity, &self.software));
        if !new_place {
            finding.effect = Effect::Mark;
        }
        Some(finding)
    }
}

impl Spot {
    /// About how many of its uses were before a time, as if they had come evenly.
    fn uses_before(&self, at: Timestamp) -> i64 {
        let whole = self.last.since(self.first).nanos().max(1);
        let part = at.since(self.first).nanos().clamp(0, whole);
        let uses = i128::from(self.uses) * i128::from(part) / i128::from(whole);
        i64::try_from(uses).unwrap_or(i64::MAX)
    }
}

impl Use<'_> {
    /// Whether the policy allows this place; `None` where it says nothing.
    fn allowed(&self) -> Option<bool> {
        let entry = self.entry()?;
        let client = self.place.ends.client.address;
        (!entry.allowed_from.is_empty()).then(|| entry.allowed_from.iter().any(|network| network.contains(client)))
    }

    fn entry(&self) -> Option<&crate::policy::ClientCertificate> {
        let name = &self.facts.subject;
        self.sighting.policy.client_certificate_for(&self.facts.spki_sha256.0, |attribute| match attribute {
            Attribute::CommonName => &name.common_names,
            Attribute::Organization => &name.organizations,
            Attribute::OrganizationalUnit => &name.organizational_units,
            Attribute::Country => &name.countries,
            Attribute::Locality => &name.localities,
            Attribute::State => &name.states,
            Attribute::Email => &name.emails,
        })
    }

    fn cause(&self, rule: &'static Rule, mut parts: Vec<String>) -> Cause {
        parts.insert(0, self.facts.spki_sha256.to_string());
        Cause::Subject { rule: rule.id, host: self.place.host.clone(), parts: parts.into() }
    }

    /// Of the rules that tell that somebody else may hold the key: it is one cause wherever it is used from there.
    fn stolen(&self) -> Cause {
        let network = network(self.place.ends.client.address);
        let parts = [self.facts.spki_sha256.to_string(), network.to_string()].into();
        Cause::Subject { rule: CLIENT_CERT_NEW_LOCATION.id, host: Arc::default(), parts }
    }

    fn finding(&self, rule: &'static Rule, cause: Cause, what: &str) -> Finding {
        let message = format!(
            "Client {} used the client certificate of \"{}\" at {} {what}.",
            client_text(self.place.ends.client.address),
            short_name(&self.facts.subject),
            self.place.host
        );
        let mut finding = self.place.plain(rule, cause, message);
        finding.certificate = Some(Arc::clone(self.leaf));
        let chain_status = self.sighting.client.map_or("unparsable", |chain| chain.judgement.reason());
        let (sha256, spki) = (self.leaf.sha256, self.facts.spki_sha256);
        finding.evidence.observed = Some(Seen { sha256, spki, sct: None, chain_status });
        finding
    }

    fn new_location(&self, usage: &Usage, by_policy: bool) -> Finding {
        let network = network(self.place.ends.client.address);
        let own = usage.places.iter().find(|spot| spot.network == network).map_or(0, |spot| spot.uses);
        let elsewhere = usage.uses.saturating_sub(own);
        let what = match own {
            _ if by_policy => format!("from {network}, where the policy does not allow it"),
            0 => format!("from {network}, where it was never used in {elsewhere} uses before"),
            1 => format!("from {network}, where only 1 of {} uses before was", usage.uses),
            _ => format!("from {network}, where only {own} of {} uses before were", usage.uses),
        };
        let mut finding = self.finding(&CLIENT_CERT_NEW_LOCATION, self.stolen(), &what);
        if self.entry().is_some_and(|entry| entry.sensitive) {
            finding.severity = Severity::High;
        }
        if !self.established {
            finding.severity = Severity::Low;
            finding.evidence.contra.push(Point {
                id: "tried",
                text: "the handshake was not established: a try".to_owned(),
                ..Point::default()
            });
        }
        let others = usage.places.iter().filter(|spot| spot.network != network);
        let mut others: Vec<&Spot> = others.collect();
        others.sort_by_key(|spot| (std::cmp::Reverse(spot.uses), spot.network));
        let places = if others.len() == 1 { "place" } else { "places" };
        let text = format!("{elsewhere} uses from {} other {places}", others.len());
        // Not where it was used for the first time just before.
        others.retain(|spot| spot.known);
        let known = others.iter().map(|spot| spot.network.to_string()).collect::<Vec<_>>().join(", ");
        let expected = match self.entry().filter(|_| by_policy) {
            Some(entry) => listed(entry.allowed_from.iter().map(Cidr::to_string)),
            None => known,
        };
        finding.evidence.pro.push(Point::new("place", text).observed(network).expected(expected));
        finding
    }

    fn two_places(&self, other: &Spot) -> Finding {
        let seconds = self.sighting.clock.since(other.last).nanos().max(0) / NANOS_PER_SECOND;
        let what = format!("{seconds} s after it was used from {}", other.network);
        let mut finding = self.finding(&CLIENT_CERT_TWO_PLACES, self.stolen(), &what);
        let here = network(self.place.ends.client.address);
        let text = format!("two places within {seconds} s, {} uses from {} before", other.uses, other.network);
        finding.evidence.pro.push(Point::new("places", text).observed(here).expected(other.network));
        finding
    }

    fn new_software(&self, fingerprint: &str, (severity, before): (Severity, &[Software])) -> Finding {
        let what = format!("with other software than before (JA4 {fingerprint})");
        let mut finding = self.finding(&CLIENT_CERT_NEW_SOFTWARE, self.stolen(), &what);
        finding.severity = severity;
        let known: Vec<&str> = before.iter().map(|one| &*one.fingerprint).filter(|one| *one != fingerprint).collect();
        let text = "a JA4 that this certificate was not used with";
        finding.evidence.pro.push(Point::new("software", text).observed(fingerprint).expected(known.join(", ")));
        finding
    }

    /// In a CRL of its issuer or in a list, whether the server accepted it or not.
    fn revoked(&self) -> Option<Finding> {
        let sighting = self.sighting;
        let path = sighting.client.and_then(|judged| judged.report.paths.first());
        let in_crl = sighting.at.zip(path).and_then(|(at, path)| in_crl(sighting.knowledge, &path.certificates, at));
        let by_crl = in_crl.zip(sighting.at).map(|((facts, standing), at)| {
            let own = facts.spki_sha256 == self.facts.spki_sha256 && facts.serial == self.facts.serial;
            let what = if own { "that was" } else { "under a CA that was" };
            let since = since(&standing, at);
            (format!("{what} {since}"), "by a CRL".to_owned(), format!("a CRL: {since}"))
        });
        let by_list = || {
            let lists = Lists::of(sighting);
            let source = lists.serial(self.facts).or_else(|| lists.hash(self.leaf, self.facts))?;
            Some((source.kind.words(""), source.text.clone(), source.text))
        };
        let (what, source, text) = by_crl.or_else(by_list)?;
        let cause = self.cause(&CLIENT_CERT_REVOKED_OR_EXPIRED, Vec::new());
        let accepted = if self.established { "accepted it" } else { "did not go on" };
        let what = format!("{what} ({source}), and the server {accepted}");
        let mut finding = self.finding(&CLIENT_CERT_REVOKED_OR_EXPIRED, cause, &what);
        finding.severity = Severity::High;
        finding.evidence.pro.push(Point { id: "revoked", text, ..Point::default() });
        Some(finding)
    }

    fn expired(&self) -> Option<Finding> {
        let judged = self.sighting.client?;
        let expired = |kind| kind == ProblemKind::Expired;
        let leaf = judged.judgement.problems.iter().any(|problem| problem.depth == 0 && expired(problem.kind));
        let owners = self.facts.issuer.organizations.iter().chain(&self.facts.issuer.common_names);
        let device = owners.into_iter().any(|owner| owner.starts_with("Apple") || owner.starts_with("Microsoft"));
        if !leaf || !self.established || device {
            return None;
        }
        let until = self.facts.not_after.map(|at| Timestamp::new(at.seconds(), 0).rfc3339().to_string());
        let until: String = until.unwrap_or_default().chars().take(10).collect();
        let cause = self.cause(&CLIENT_CERT_REVOKED_OR_EXPIRED, Vec::new());
        let what = format!("though it expired on {until}, and the server accepted it");
        let mut finding = self.finding(&CLIENT_CERT_REVOKED_OR_EXPIRED, cause, &what);
        let point = Point::new("validity", "the server accepted it after its end");
        let seen = self.sighting.at.map(|at| at.to_string()).unwrap_or_default();
        finding.evidence.pro.push(point.observed(seen).expected(format!("not after {until}")));
        Some(finding)
    }
}

/// What several rules say of one use stands in the alert that they are told with, whichever of them heads it.
fn share_evidence(told: &mut [Finding]) {
    let points: Vec<(&'static str, Vec<Point>)> =
        told.iter().map(|finding| (finding.rule.id, finding.evidence.pro.clone())).collect();
    for finding in told {
        let others = points.iter().filter(|(rule, _)| *rule != finding.rule.id).flat_map(|(_, points)| points);
        finding.evidence.pro.extend(others.cloned());
    }
}

/// The server accepted the certificate: the handshake came to its end, and the client holds the key as far as can be
/// told.
fn is_established(sighting: &Sighting<'_>) -> bool {
    sighting.observation.handshake.established == Some(true) && sighting.observation.client_proof != ClientProof::Bad
}

/// /24 or /48.
fn network(address: IpAddr) -> Cidr {
    let address = address.to_canonical();
    Cidr::of(address, if address.is_ipv4() { 24 } else { 48 })
}

fn sha2_of(facts: &Facts) -> [u8; 32] {
    use sha2::Digest as _;
    let mut hash = sha2::Sha256::new();
    hash.update(facts.issuer.normalized.as_bytes());
    hash.update(facts.authority_key_identifier.as_deref().unwrap_or_default());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
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
            let found = world.used("10.2.0.22");
            assert_eq!(of(&found, "CERT-031").is_some(), fires);
            let Some(found) = of(&found, "CERT-031") else { continue };
            assert!(found.message.contains("600 s after it was used from 10.1.0.0/24"), "{}", found.message);
            let point = &found.evidence.pro[0];
            let sides = (point.observed.as_deref(), point.expected.as_deref());
            assert_eq!(sides, (Some("10.2.0.0/24"), Some("10.1.0.0/24")));
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
}
