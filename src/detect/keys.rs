//! Keys, serial numbers and randoms in more places than one (KEY-001, 002, 003, 005).

use std::sync::Arc;

use sha2::Digest as _;

use super::catalogue::{
    EPHEMERAL_KEY_REUSE, ISSUER_SERIAL_COLLISION, SERVER_RANDOM_REUSE, SHARED_PUBLIC_KEY, Severity,
};
use super::finding::{Cause, Finding, Point, add};
use super::hosts::presented::{Presented, clipped, host_text};
use super::hosts::report::{Place, client_text, some_names};
use super::hosts::sketch::stable_hash;
use super::memory::Memory;
use super::sighting::{Sighting, note_quiet, was_quiet};
use crate::packet::Endpoint;
use crate::policy::registrable_domain;
use crate::time::{NANOS_PER_SECOND, Timestamp};
use crate::tls::{Handshake, KeyExchange};
use crate::x509::{Facts, Sha256};

/// Keys remembered.
const MAX_KEYS: usize = 100_000;
/// Certificates remembered of one key.
const MAX_USES: usize = 8;
/// Pairs of issuer and serial number remembered.
const MAX_SERIALS: usize = 200_000;
/// Servers whose ephemeral keys are remembered.
const MAX_SERVERS: usize = 50_000;
/// Ephemeral keys remembered of one server.
const MAX_EPHEMERAL: usize = 32;
/// Server randoms remembered.
const MAX_RANDOMS: usize = 500_000;

/// Which certificates have one key (KEY-001), and which one serial number (KEY-002).
#[derive(Debug)]
pub struct CertificateKeys {
    keys: Memory<Sha256, KeyUse>,
    serials: Memory<[u8; 16], Numbered>,
    /// Rises whenever an entry changes that was there: what is new is nothing that others asked for.
    edits: u64,
}

/// A certificate by its serial number.
#[derive(Clone, Debug)]
struct Numbered {
    certificate: Sha256,
    /// Hash of its TBSCertificate.
    contents: Sha256,
    /// The host that presented it.
    host: Arc<str>,
    /// See [`Issuer`](super::hosts::presented::Issuer): the key that verified it, or what it claims, and which of both.
    issuer: (Sha256, bool),
    public: bool,
}

#[derive(Clone, Debug, Default)]
struct KeyUse {
    uses: Vec<Use>,
    /// The key of a CA too.
    authority: bool,
    verdict: Option<Severity>,
}

#[derive(Clone, Debug)]
struct Use {
    sha256: Sha256,
    issuer: Sha256,
    public: bool,
    trusted: bool,
    organizations: Vec<u64>,
    common_names: Vec<u64>,
    names: Vec<u64>,
    domains: Vec<Box<str>>,
    /// Where it was first seen, until it was told.
    place: Option<Box<Place>>,
}

impl Default for CertificateKeys {
    fn default() -> Self {
        Self { keys: Memory::new(MAX_KEYS), serials: Memory::new(MAX_SERIALS), edits: 0 }
    }
}

impl CertificateKeys {
    /// How many keys, and how many serial numbers, were forgotten.
    pub fn forgotten(&self) -> u64 {
        self.keys.forgotten().saturating_add(self.serials.forgotten())
    }

    /// Takes note of a chain. Returns the leaf's key where it is found in certificates of unrelated names.
    pub fn observe(&mut self, sighting: &Sighting<'_>, new: &Presented, findings: &mut Vec<Finding>) -> Option<Sha256> {
        let quiet = sighting.server.map(|judged| &judged.quiet.keys);
        if quiet.is_some_and(|quiet| was_quiet(quiet, self.changes())) {
            return None;
        }
        let (before, found) = (self.state(), findings.len());
        let key = self.look(sighting, new, findings);
        if let Some(quiet) = quiet.filter(|_| key.is_none() && self.state() == before && findings.len() == found) {
            note_quiet(quiet, self.changes());
        }
        key
    }

    /// How often something changed that was there.
    fn changes(&self) -> u64 {
        self.edits.saturating_add(self.forgotten())
    }

    /// Equal as long as nothing changes and nothing is added.
    fn state(&self) -> (u64, usize, usize) {
        (self.changes(), self.keys.len(), self.serials.len())
    }

    fn look(&mut self, sighting: &Sighting<'_>, new: &Presented, findings: &mut Vec<Finding>) -> Option<Sha256> {
        let facts = new.leaf.facts.as_deref()?;
        self.observe_serial(sighting, (new, facts), findings);
        // A certificate that is sent twice is not the CA of itself.
        let above = sighting.observation.server_chain.iter().skip(1).filter(|one| one.sha256 != new.leaf.sha256);
        for ca in above.filter_map(|one| one.facts.as_deref()) {
            if ca.basic_constraints.is_some_and(|(is_ca, _)| is_ca) {
                let (entry, added) = self.keys.entry(&key_of(ca), KeyUse::default);
                if let Some(entry) = entry.filter(|entry| !entry.authority) {
                    self.edits += u64::from(!added);
                    entry.authority = true;
                    entry.judge();
                }
            }
        }
        let (entry, added) = self.keys.entry(&key_of(facts), KeyUse::default);
        let entry = entry?;
        if !entry.uses.iter().any(|one| one.sha256 == new.leaf.sha256) {
            self.edits += u64::from(!added);
            if entry.uses.len() >= MAX_USES {
                entry.uses.remove(0);
            }
            entry.uses.push(Use::of((new, facts), Place::of(sighting)));
            entry.judge();
        }
        let severity = entry.verdict?;
        let finding = entry.finding(&Place::of(sighting), new, severity);
        let other = |one: &mut Use| Some((one.sha256, one.place.take()?));
        let places: Vec<_> = entry.uses.iter_mut().filter_map(other).collect();
        let earlier = places.iter().filter(|(sha256, _)| *sha256 != new.leaf.sha256);
        // The handshake at hand heads the alert.
        findings.push(finding);
        findings.extend(earlier.map(|(_, place)| Finding {
            // It was another certificate of this key there.
            certificate: None,
            ..entry.finding(place, new, severity)
        }));
        Some(new.spki)
    }

    fn observe_serial(
        &mut self,
        sighting: &Sighting<'_>,
        (new, facts): (&Presented, &Facts),
        findings: &mut Vec<Finding>,
    ) {
        let zeros = facts.serial.iter().take_while(|octet| **octet == 0).count();
        let significant = facts.serial.get(zeros..).unwrap_or_default();
        let first = significant.first().copied();
        if significant.len() <= 2 || significant.iter().all(|octet| Some(*octet) == first) || facts.precertificate {
            return;
        }
        let key = *facts.numbered.get_or_init(|| numbered(facts, significant));
        let contents = || {
            let contents = new.leaf.der.get(facts.tbs.clone()).unwrap_or_default();
            Sha256(sha2::Sha256::digest(contents).into())
        };
        let numbered = || Numbered {
            certificate: new.leaf.sha256,
            contents: contents(),
            host: host_text(sighting),
            issuer: (new.issuer.key, new.issuer.verified),
            public: new.public,
        };
        let Some(other) = self.serials.get(&key) else {
            self.serials.insert(key, numbered());
            return;
        };
        if other.certificate == new.leaf.sha256 || other.contents == contents() {
            return;
        }
        // Who takes the name of an issuer, and a serial number of it, is not that issuer.
        if other.issuer.0 != new.issuer.key {
            if (new.public, new.issuer.verified) > (other.public, other.issuer.1) {
                self.edits = self.edits.saturating_add(1);
                self.serials.insert(key, numbered());
            }
            return;
        }
        let place = Place::of(sighting);
        let cause = Cause::Subject {
            rule: ISSUER_SERIAL_COLLISION.id,
            host: "".into(),
            parts: [facts.issuer.normalized.clone(), day(sighting.clock)].into(),
        };
        let what =
            format!("a certificate from {} whose serial number the one of {} has", new.issuer_phrase(), other.host);
        let mut finding = place.finding((&ISSUER_SERIAL_COLLISION, cause), &what, new);
        if new.public && other.public {
            finding.severity = Severity::High;
        }
        finding.evidence.pro.push(Point {
            id: "serial",
            points: 0,
            text: "one issuer, one serial number, two certificates".to_owned(),
            observed: Some(new.leaf.sha256.to_string()),
            expected: Some(other.certificate.to_string()),
        });
        findings.push(finding);
    }
}

impl Use {
    fn of((new, facts): (&Presented, &Facts), place: Place) -> Self {
        let hashes =
            |texts: &[String]| texts.iter().map(|text| stable_hash(text.to_lowercase().as_bytes())).take(4).collect();
        let domain = |name: &String| {
            let name = name.strip_prefix("*.").unwrap_or(name);
            Box::from(clipped(registrable_domain(name).unwrap_or(name)))
        };
        let mut domains: Vec<Box<str>> = new.names.iter().map(domain).collect();
        domains.sort_unstable();
        domains.dedup();
        domains.truncate(MAX_USES);
        Self {
            sha256: new.leaf.sha256,
            issuer: new.issuer.key,
            public: new.public,
            trusted: new.is_trusted(),
            organizations: hashes(&facts.subject.organizations),
            common_names: hashes(&facts.subject.common_names),
            names: new.name_hashes().into_iter().take(32).collect(),
            domains,
            place: Some(Box::new(place)),
        }
    }

    /// Different owners, or different issuers for different names.
    fn is_unrelated(&self, other: &Self) -> bool {
        let domains = disjoint(&self.domains, &other.domains);
        let subjects = if self.organizations.is_empty() || other.organizations.is_empty() {
            disjoint(&self.common_names, &other.common_names)
        } else {
            disjoint(&self.organizations, &other.organizations)
        };
        // Self-signed certificates have no issuer but their key, which is one here.
        (domains && subjects) || (self.issuer != other.issuer && domains && disjoint(&self.names, &other.names))
    }
}

fn disjoint<T: PartialEq>(left: &[T], right: &[T]) -> bool {
    !left.iter().any(|one| right.contains(one))
}

impl KeyUse {
    fn judge(&mut self) {
        let unrelated =
            self.uses.iter().enumerate().any(|(place, one)| {
                self.uses.iter().skip(place.saturating_add(1)).any(|other| one.is_unrelated(other))
            });
        let both = self.authority && !self.uses.is_empty();
        let private = self.uses.iter().all(|one| !one.trusted);
        self.verdict = if !unrelated && !both {
            None
        } else if private && self.domains().len() >= 3 {
            Some(Severity::High)
        } else if self.uses.iter().all(|one| one.public) {
            Some(Severity::Low)
        } else {
            Some(Severity::Medium)
        };
    }

    fn domains(&self) -> Vec<String> {
        let mut domains: Vec<String> =
            self.uses.iter().flat_map(|one| one.domains.iter().map(|domain| domain.to_string())).collect();
        domains.sort_unstable();
        domains.dedup();
        domains
    }

    fn finding(&self, place: &Place, new: &Presented, severity: Severity) -> Finding {
        // One untrusted CA that uses one key for all leaves is one cause with all else it does.
        let one_issuer = self.uses.iter().all(|one| one.issuer == new.issuer.key);
        let cause = if one_issuer && !new.self_signed { new.cause() } else { Cause::LeafKey(new.spki) };
        let domains = self.domains();
        let least = if self.uses.len() >= MAX_USES { "at least " } else { "" };
        let what = if self.authority {
            "a certificate whose key is also that of a CA".to_owned()
        } else {
            format!("a certificate whose key {least}{} certificates of {} have", self.uses.len(), some_names(&domains))
        };
        let mut finding = place.finding((&SHARED_PUBLIC_KEY, cause), &what, new);
        finding.severity = severity;
        let text = format!("{least}{} certificates of {least}{} domains have this key", self.uses.len(), domains.len());
        finding.evidence.pro.push(Point {
            id: "key",
            points: 0,
            text,
            observed: Some(domains.iter().take(10).map(|domain| clipped(domain)).collect::<Vec<_>>().join(", ")),
            expected: None,
        });
        finding
    }
}

/// What makes two keys one: an RSA modulus, else the SubjectPublicKeyInfo.
fn key_of(facts: &Facts) -> Sha256 {
    if facts.key.modulus.is_empty() {
        facts.spki_sha256
    } else {
        *facts.modulus_sha256.get_or_init(|| Sha256(sha2::Sha256::digest(&facts.key.modulus).into()))
    }
}

/// Stands for issuer and serial number.
fn numbered(facts: &Facts, significant: &[u8]) -> [u8; 16] {
    let mut hash = sha2::Sha256::new();
    let authority = facts.authority_key_identifier.as_deref().unwrap_or_default();
    for part in [facts.issuer.normalized.as_bytes(), authority, significant] {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    let digest: [u8; 32] = hash.finalize().into();
    digest.first_chunk().copied().unwrap_or_default()
}

/// What KEY-003 and KEY-005 remembered and compare no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outdated {
    /// Ephemeral keys of servers.
    pub ephemeral_keys: u64,
    /// Randoms of servers.
    pub randoms: u64,
}

/// Randoms and ephemeral keys that servers repeat (KEY-003, KEY-005).
#[derive(Debug)]
pub struct Ephemeral {
    servers: Memory<Endpoint, Values>,
    randoms: Memory<u64, Random>,
    /// Ephemeral keys that left for later ones of their server.
    replaced: u64,
}

/// Ephemeral keys of a server: the lower bits of their hashes, which are searched, and what is known of each.
#[derive(Clone, Debug, Default)]
struct Values {
    marks: [u16; MAX_EPHEMERAL],
    values: Vec<Value>,
    /// Place of the oldest when all are taken.
    oldest: usize,
}

#[derive(Clone, Copy, Debug)]
struct Value {
    hash: u64,
    client_random: u64,
    first: Timestamp,
    count: u32,
}

impl Values {
    fn find(&mut self, hash: u64) -> Option<&mut Value> {
        let mark = mark_of(hash);
        let marked = self.marks.iter().take(self.values.len()).enumerate().filter(|(_, known)| **known == mark);
        let mut places = marked.map(|(place, _)| place);
        let place = places.find(|place| self.values.get(*place).is_some_and(|value| value.hash == hash))?;
        self.values.get_mut(place)
    }

    /// Adds one that is new, in the place of the oldest where there is no other; whether one left for it.
    fn add(&mut self, value: Value) -> bool {
        let place = if self.values.len() < MAX_EPHEMERAL { self.values.len() } else { self.oldest };
        if let Some(mark) = self.marks.get_mut(place) {
            *mark = mark_of(value.hash);
        }
        let Some(known) = self.values.get_mut(place) else {
            self.values.push(value);
            return false;
        };
        *known = value;
        self.oldest = place.saturating_add(1) % MAX_EPHEMERAL;
        true
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower bits are wanted")]
fn mark_of(hash: u64) -> u16 {
    hash as u16
}

#[derive(Clone, Copy, Debug)]
struct Random {
    client_random: u64,
    server: Endpoint,
}

impl Default for Ephemeral {
    fn default() -> Self {
        Self { servers: Memory::new(MAX_SERVERS), randoms: Memory::new(MAX_RANDOMS), replaced: 0 }
    }
}

impl Ephemeral {
    /// How many servers were forgotten.
    pub fn forgotten(&self) -> u64 {
        self.servers.forgotten()
    }

    /// What is compared no more: only the latest keys of a server are, and the latest randoms of all.
    pub fn outdated(&self) -> Outdated {
        Outdated { ephemeral_keys: self.replaced, randoms: self.randoms.forgotten() }
    }

    /// Takes note of a handshake.
    pub fn observe(&mut self, sighting: &Sighting<'_>, findings: &mut Vec<Finding>) {
        let handshake = &sighting.observation.handshake;
        let Some(client_random) = sighting.gist.client_random else { return };
        add(findings, self.random(sighting, client_random));
        if handshake.resumed == Some(false) {
            add(findings, self.ephemeral(sighting, client_random));
        }
    }

    fn random(&mut self, sighting: &Sighting<'_>, client_random: u64) -> Option<Finding> {
        let key = sighting.gist.server_random?;
        let server = sighting.observation.ends.server;
        let (known, new) = self.randoms.entry(&key, || Random { client_random, server });
        let known = *known?;
        if new || known.client_random == client_random {
            return None;
        }
        let hello = sighting.observation.handshake.server_hello.as_deref()?;
        let place = Place::of(sighting);
        let text = |server: Endpoint| format!("{}:{}", client_text(server.address), server.port);
        let parts = [text(server)].into();
        let cause = Cause::Subject { rule: SERVER_RANDOM_REUSE.id, host: place.host.clone(), parts };
        let message = format!(
            "{} sent client {} a server random that {} had sent on another connection.",
            place.host,
            client_text(place.ends.client.address),
            text(known.server)
        );
        let mut finding = place.plain(&SERVER_RANDOM_REUSE, cause, message);
        finding.evidence.pro.push(Point {
            id: "random",
            points: 0,
            text: "the same 32 octets for different client randoms".to_owned(),
            observed: Some(hex(&hello.random)),
            expected: None,
        });
        Some(finding)
    }

    fn ephemeral(&mut self, sighting: &Sighting<'_>, client_random: u64) -> Option<Finding> {
        let (hash, finite_field) = sighting.gist.ephemeral?;
        let server = sighting.observation.ends.server;
        let (known, _) = self.servers.entry(&server, Values::default);
        let known = known?;
        let Some(value) = known.find(hash) else {
            let replaced = known.add(Value { hash, client_random, first: sighting.clock, count: 1 });
            self.replaced += u64::from(replaced);
            return None;
        };
        if value.client_random == client_random {
            return None;
        }
        value.client_random = client_random;
        value.count = value.count.saturating_add(1);
        let span = sighting.clock.since(value.first).nanos() / NANOS_PER_SECOND;
        let place = Place::of(sighting);
        let parts = [format!("{}:{}", client_text(server.address), server.port)].into();
        let cause = Cause::Subject { rule: EPHEMERAL_KEY_REUSE.id, host: place.host.clone(), parts };
        let message = format!(
            "{} used one ephemeral key in {} handshakes over {} s, last with client {}.",
            place.host,
            value.count,
            span,
            client_text(place.ends.client.address)
        );
        let mut finding = place.plain(&EPHEMERAL_KEY_REUSE, cause, message);
        if span > 86_400 || finite_field {
            finding.severity = Severity::Medium;
        }
        let text = format!("the same public value {} times", value.count);
        finding.evidence.pro.push(Point {
            id: "ephemeral",
            points: 0,
            text,
            observed: Some(format!("{span} s from first to last")),
            expected: Some("a fresh key for every handshake".to_owned()),
        });
        Some(finding)
    }
}

/// The server's ephemeral public value, and whether its group is a finite field.
pub(super) fn ephemeral_key(handshake: &Handshake) -> Option<(&[u8], bool)> {
    if let Some(exchange) = handshake.server_key_exchange.as_deref() {
        return match &exchange.kind {
            KeyExchange::Ecdhe { public, .. } => Some((exchange.params.get(public.clone())?, false)),
            KeyExchange::Dhe { public, .. } => Some((exchange.params.get(public.clone())?, true)),
            KeyExchange::Rsa { .. } | KeyExchange::Other => None,
        };
    }
    let hello = handshake.server_hello.as_deref()?;
    let share = hello.key_share.as_ref()?;
    let public = hello.raw.get(share.public.clone()).filter(|public| !public.is_empty())?;
    Some((public, (0x0100..=0x01ff).contains(&share.group)))
}

fn hex(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len().saturating_mul(2));
    for octet in octets {
        let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or('0');
        text.push(digit(octet >> 4));
        text.push(digit(octet & 15));
    }
    text
}

fn day(at: Timestamp) -> String {
    at.rfc3339().to_string().chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::detect::testing::{Ca, DAY, Plan, Scene, key};
    use crate::tls::server_hello::HELLO_RETRY_RANDOM;
    use crate::tls::{KeyShare, ServerKeyExchange};
    use crate::x509::Certificate;
    use crate::x509::chain::SignatureMemo;

    fn keys(scene: &mut Scene, chains: &[(&str, Vec<Arc<Certificate>>)]) -> Vec<Finding> {
        let mut table = CertificateKeys::default();
        let memo = SignatureMemo::new(1 << 20);
        let mut findings = Vec::new();
        for (host, chain) in chains {
            let observation = scene.handshake("10.0.0.1", "203.0.113.10", chain);
            scene.with(host, &observation, |sighting| {
                let new = Presented::of(sighting, &memo).unwrap();
                table.observe(sighting, &new, &mut findings);
            });
        }
        findings
    }

    #[test]
    fn shared_keys_of_unrelated_names() {
        let (public, private) = (Ca::new("Public Root"), Ca::new("Private Root"));
        let mut scene = Scene::new(&[&public]);
        let shared = Arc::new(key());
        let names = ["a.example.com", "b.example.net", "c.example.org"];
        let by = |ca: &Ca| names.map(|name| (name, ca.chain(&Plan::of(&[name]).keyed(&shared))));
        let severities = |found: &[Finding]| found.iter().map(|one| one.severity).collect::<Vec<_>>();
        assert_eq!(severities(&keys(&mut scene, &by(&public))), [Severity::Low; 3]);
        let found = keys(&mut scene, &by(&private));
        assert_eq!(severities(&found), [Severity::Medium, Severity::Medium, Severity::High], "the first one too");
        assert_eq!(
            found.iter().map(|one| &*one.host).collect::<Vec<_>>(),
            // The handshake at hand comes before what was remembered.
            ["b.example.net:443", "a.example.com:443", "c.example.org:443"]
        );
        assert!(matches!(found[0].cause, Cause::IssuerKey(_)));
        let found = keys(&mut scene, &names.map(|name| (name, Plan::of(&[name]).keyed(&shared).self_signed())));
        assert!(matches!(found[0].cause, Cause::LeafKey(_)));
        assert!(found[2].message.contains("example.com, example.net, example.org"), "{}", found[2].message);
        // A renewal, two hosts of one domain, and one owner with many names.
        let renewal = [1, 2].map(|_| (names[0], private.chain(&Plan::of(&[names[0]]).keyed(&shared))));
        assert!(keys(&mut scene, &renewal).is_empty());
        let siblings =
            ["a.example.com", "b.example.com"].map(|name| (name, private.chain(&Plan::of(&[name]).keyed(&shared))));
        assert!(keys(&mut scene, &siblings).is_empty());
        let owned = |name| Plan { organization: Some("Example Inc"), ..Plan::of(&[name]).keyed(&shared) };
        assert!(keys(&mut scene, &names.map(|name| (name, private.chain(&owned(name))))).is_empty());
        // No more are kept.
        let many: Vec<_> = (0..10).map(|number| format!("www.example{number}.net")).collect();
        let many: Vec<_> =
            many.iter().map(|name| (name.as_str(), private.chain(&Plan::of(&[name]).keyed(&shared)))).collect();
        let found = keys(&mut scene, &many);
        let last = found.last().unwrap();
        assert!(last.message.contains("whose key at least 8 certificates"), "{}", last.message);
        assert!(last.evidence.pro[0].text.starts_with("at least 8 certificates of at least 8 domains"));
        // Other keys.
        assert!(keys(&mut scene, &names.map(|name| (name, private.chain(&Plan::of(&[name]))))).is_empty());
    }

    #[test]
    fn key_of_a_leaf_and_of_a_ca() {
        let shared = Arc::new(key());
        let ca = Ca::with_key("CA", rcgen::KeyPair::try_from(shared.serialize_der()).unwrap());
        let mut scene = Scene::new(&[]);
        let chain = ca.chain(&Plan::of(&["www.example.com"]).keyed(&shared));
        let found = keys(&mut scene, &[("www.example.com", chain)]);
        assert!(found[0].message.contains("also that of a CA"));
        assert!(keys(&mut scene, &[("www.example.com", ca.chain(&Plan::of(&["www.example.com"])))]).is_empty());
    }

    #[test]
    fn a_certificate_sent_twice_is_not_its_own_ca() {
        let mut scene = Scene::new(&[]);
        let device = Ca::new("device.example.com").certificate;
        let twice = vec![Arc::clone(&device), Arc::clone(&device)];
        assert!(keys(&mut scene, &[("device.example.com", twice)]).is_empty());
    }

    #[test]
    fn serial_numbers_of_one_issuer() {
        let ca = Ca::new("CA");
        let mut scene = Scene::new(&[]);
        let with = |name: &'static str, serial: &[u8]| {
            let plan = Plan { serial: serial.to_vec(), ..Plan::of(&[name]) };
            (name, ca.chain(&plan))
        };
        let pair = |serial: &[u8]| [with("a.example.com", serial), with("b.example.com", serial)];
        let found = keys(&mut scene, &pair(&[1, 2, 3]));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].rule.id, ISSUER_SERIAL_COLLISION.id);
        assert!(found[0].message.contains("the one of a.example.com:443 has"), "{}", found[0].message);
        for serial in [&[1, 2][..], &[7, 7, 7]] {
            assert!(keys(&mut scene, &pair(serial)).is_empty());
        }
        let other = Ca::new("Other CA");
        let two = [
            with("a.example.com", &[1, 2, 3]),
            ("b.example.com", other.chain(&Plan { serial: vec![1, 2, 3], ..Plan::of(&["b"]) })),
        ];
        assert!(keys(&mut scene, &two).is_empty());
        let (name, chain) = with("a.example.com", &[1, 2, 3]);
        assert!(keys(&mut scene, &[(name, chain.clone()), (name, chain)]).is_empty());
    }

    proptest::proptest! {
        /// Hashes of which some have the same lower bits.
        #[test]
        fn values_behave_like_a_list(hashes in proptest::collection::vec((0_u64..40, 0_u64..3), 0..300)) {
            let mut values = Values::default();
            let mut model: Vec<(u64, u32)> = Vec::new();
            for (low, high) in hashes {
                let hash = low | high << 40;
                let known = model.iter_mut().find(|(known, _)| *known == hash);
                proptest::prop_assert_eq!(values.find(hash).map(|value| value.count), known.as_ref().map(|one| one.1));
                match (values.find(hash), known) {
                    (Some(value), Some(known)) => {
                        value.count += 1;
                        known.1 += 1;
                    }
                    _ => {
                        if model.len() == MAX_EPHEMERAL {
                            model.remove(0);
                        }
                        model.push((hash, 1));
                        values.add(Value { hash, client_random: 0, first: Timestamp(0), count: 1 });
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_compared_no_more_is_counted() {
        let mut scene = Scene::new(&[]);
        let mut table = Ephemeral { randoms: Memory::new(40), ..Ephemeral::default() };
        let mut show = |number: u8, server: &str| {
            let mut observation = scene.handshake("10.0.0.1", server, &[]);
            observation.handshake.server_key_exchange = Some(Box::new(ServerKeyExchange {
                params: vec![number; 8].into(),
                kind: KeyExchange::Ecdhe { group: 23, public: 4..8 },
                ..ServerKeyExchange::default()
            }));
            let mut findings = Vec::new();
            scene.with("a.example.com", &observation, |sighting| table.observe(sighting, &mut findings));
            (findings.len(), table.outdated())
        };
        for number in 0..32 {
            assert_eq!(show(number, "203.0.113.10"), (0, Outdated::default()));
        }
        // Each server has 32 of its own.
        assert_eq!(show(200, "203.0.113.11"), (0, Outdated::default()));
        // One that is known takes the place of none.
        assert_eq!(show(0, "203.0.113.10"), (1, Outdated::default()));
        assert_eq!(show(32, "203.0.113.10"), (0, Outdated { ephemeral_keys: 1, randoms: 0 }));
        for _ in 35..40 {
            show(32, "203.0.113.10");
        }
        // The first is compared no more; its place is that of the 34th, and the 41st random takes that of the first.
        assert_eq!(show(0, "203.0.113.10"), (0, Outdated { ephemeral_keys: 2, randoms: 1 }));
    }

    #[test]
    fn ephemeral_keys_and_randoms() {
        let mut scene = Scene::new(&[]);
        let mut table = Ephemeral::default();
        let mut show = |scene: &mut Scene, change: &dyn Fn(&mut Handshake)| {
            let mut observation = scene.handshake("10.0.0.1", "203.0.113.10", &[]);
            observation.handshake.server_key_exchange = Some(Box::new(ServerKeyExchange {
                params: vec![9; 8].into(),
                kind: KeyExchange::Ecdhe { group: 23, public: 4..8 },
                ..ServerKeyExchange::default()
            }));
            change(&mut observation.handshake);
            let mut findings = Vec::new();
            scene.with("a.example.com", &observation, |sighting| table.observe(sighting, &mut findings));
            findings
        };
        assert!(show(&mut scene, &|_| {}).is_empty());
        let found = show(&mut scene, &|_| {});
        assert_eq!((found[0].rule.id, found[0].severity), (EPHEMERAL_KEY_REUSE.id, Severity::Low));
        assert!(show(&mut scene, &|handshake| handshake.resumed = Some(true)).is_empty(), "no full handshake");
        let other = |handshake: &mut Handshake| {
            handshake.server_key_exchange.as_mut().unwrap().params = vec![8; 8].into();
        };
        assert!(show(&mut scene, &other).is_empty(), "a fresh key");
        scene.now += DAY + 1;
        assert_eq!(show(&mut scene, &|_| {})[0].severity, Severity::Medium);
        // A copy of the packets has the same client random.
        let random = |handshake: &mut Handshake| {
            handshake.client_hello.as_mut().unwrap().random = [5; 32];
            handshake.server_hello.as_mut().unwrap().random = [6; 32];
            handshake.server_key_exchange = None;
        };
        assert!(show(&mut scene, &random).is_empty());
        assert!(show(&mut scene, &random).is_empty(), "seen twice");
        let again = |handshake: &mut Handshake| {
            random(handshake);
            handshake.client_hello.as_mut().unwrap().random = [7; 32];
        };
        assert_eq!(show(&mut scene, &again)[0].rule.id, SERVER_RANDOM_REUSE.id);
        for client in 0..3 {
            let retry = |handshake: &mut Handshake| {
                random(handshake);
                handshake.client_hello.as_mut().unwrap().random = [client; 32];
                handshake.server_hello.as_mut().unwrap().random = HELLO_RETRY_RANDOM;
            };
            assert!(show(&mut scene, &retry).is_empty(), "the constant of a HelloRetryRequest");
        }
        // TLS 1.3: the key share, in a finite field.
        for round in 0..2 {
            let share = |handshake: &mut Handshake| {
                handshake.server_key_exchange = None;
                let hello = handshake.server_hello.as_mut().unwrap();
                hello.raw = vec![3; 40].into();
                hello.key_share = Some(KeyShare { group: 0x0101, public: 0..40 });
            };
            let found = show(&mut scene, &share);
            assert_eq!(found.first().map(|one| one.severity), (round == 1).then_some(Severity::Medium));
        }
    }
}
