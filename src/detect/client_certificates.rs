//! Certificates of clients: where, with what and by whom they are used (CERT-030 to 034).

mod accepted;
#[cfg(test)]
mod forged_tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use accepted::{Accepted, KnownIssuer};

use super::catalogue::{
    CLIENT_CERT_NEW_LOCATION, CLIENT_CERT_NEW_SOFTWARE, CLIENT_CERT_REVOKED_OR_EXPIRED, CLIENT_CERT_TWO_PLACES,
    CLIENT_CERT_UNEXPECTED_ISSUER, Effect, Rule, Severity,
};
use super::finding::{Cause, Finding, Point, Seen};
use super::hosts::backing::{Backing, ClientUse};
use super::hosts::presented::{clipped, is_of_browsers, short_name};
use super::hosts::report::{Place, client_text};
use super::listed::{Lists, in_crl, since};
use super::memory::Memory;
use super::observation::ClientProof;
use super::policy_rules::listed;
use super::sighting::{HostKey, Sighting};
use crate::policy::{Attribute, Cidr};
use crate::time::{NANOS_PER_SECOND, Span, Timestamp};
use crate::x509::chain::{Ending, Path};
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
    /// Uses shortly after one in another known place.
    together: u32,
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
    /// A use of which the time is known: stored uses from before and after the one at hand tell no more than that they began.
    sure: Timestamp,
    /// Its use was doubted.
    strange: bool,
    /// Then the key had been used in another place shortly before.
    beside: bool,
}

#[derive(Clone, Debug)]
struct Software {
    /// JA4.
    fingerprint: Box<str>,
    first: Timestamp,
    last: Timestamp,
    /// It appeared in a known place after the key was known; an update if no other is seen again.
    update: bool,
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
            let others = others.filter(|spot| spot.network != place && spot.is_within(clock, window));
            let other = others.min_by_key(|spot| !spot.known).copied();
            let shared = i64::from(usage.together) >= least;
            let strange = known && !roaming && !shared && new_place && allowed != Some(true);
            let goes_on = other.filter(|other| strange && usage.goes_on(used, (place, other)));
            told.extend(goes_on.map(|other| used.two_places(&other)));
            if known && !roaming && !shared && !new_place {
                told.extend(usage.back(clock, window).map(|new| used.back(&new)));
            }
            usage.together = usage.together.saturating_add(u32::from(!new_place && other.is_some_and(|one| one.known)));
            if let Some(kind) = sighting.client_kind {
                told.extend(usage.software(used, &kind.ja4, (known, outside)));
            }
            usage.note(place, clock, (known, least));
            if let Some(spot) = usage.places.iter_mut().find(|spot| spot.network == place).filter(|_| strange) {
                spot.strange = true;
                spot.beside |= other.is_some() && goes_on.is_none();
            }
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
        let verified = path.map(Path::verified).and_then(|path| path.get(2)).and_then(|one| one.facts.as_deref());
        let issuer = KnownIssuer {
            name: Sha256(sha2_of(used.facts)),
            key: above.map(|facts| facts.spki_sha256),
            above: verified.map(|facts| facts.spki_sha256),
        };
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
        let forger = used.forger();
        if (!known || !stable) && forger.is_none() {
            return None;
        }
        let cause = used.cause(&CLIENT_CERT_UNEXPECTED_ISSUER, vec![issuer.key.unwrap_or(issuer.name).to_string()]);
        if let Some(forger) = forger {
            return Some(used.forged(cause, forger));
        }
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
        Self { first: clock, last: clock, uses: 0, places: Vec::new(), software: Vec::new(), together: 0 }
    }

    /// What earlier runs stored of a key: how it stood at the end of them.
    fn of_past(mut past: Vec<ClientUse>, (clock, least): (Timestamp, i64)) -> Self {
        past.retain(|one| one.first < clock);
        past.sort_by_key(|one| (one.first, one.address));
        let mut usage = Self::new(past.first().map_or(clock, |one| one.first));
        let mut spots: Vec<Spot> = Vec::new();
        for one in &past {
            let last = one.last.min(clock);
            let sure = if one.last < clock { one.last } else { one.first };
            usage.uses = usage.uses.saturating_add(one.count);
            usage.last = usage.last.max(last);
            let place = network(one.address);
            match spots.iter_mut().find(|spot| spot.network == place) {
                Some(spot) => {
                    spot.uses = spot.uses.saturating_add(one.count);
                    spot.last = spot.last.max(last);
                    spot.sure = spot.sure.max(sure);
                }
                None => {
                    let (first, uses) = (one.first, one.count);
                    spots.push(Spot { last, uses, sure, ..Spot::new(place, first) });
                }
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
        // Whether they took turns is not stored, only that they went on beside each other.
        let lasting = |spot: &&Spot| spot.known && i64::from(spot.uses) >= least;
        let beside =
            |one: &Spot, other: &Spot| one.last.min(other.last).since(one.first.max(other.first)) >= THREE_DAYS;
        let lasting: Vec<&Spot> = spots.iter().filter(lasting).collect();
        let is_shared =
            lasting.iter().zip(1..).any(|(one, next)| lasting.iter().skip(next).any(|two| beside(one, two)));
        usage.together = if is_shared { u32::try_from(least).unwrap_or(u32::MAX) } else { 0 };
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
            (spot.last, spot.sure) = (clock, clock);
            // A move that lasts is no theft.
            spot.known |= i64::from(spot.uses) >= least && clock.since(spot.first) >= THREE_DAYS;
            return;
        }
        if self.places.len() >= MAX_PLACES {
            let oldest = self.places.iter().enumerate().min_by_key(|(_, spot)| spot.last).map(|(index, _)| index);
            oldest.map(|oldest| self.places.remove(oldest));
        }
        self.places.push(Spot { known: !known, ..Spot::new(place, clock) });
    }

    /// Whether who used the key in `other` shortly before is not who uses it in this new place: one that only moved has the
    /// software that it had, and is not seen in the old place again.
    fn goes_on(&self, used: &Use<'_>, (place, other): (Cidr, &Spot)) -> bool {
        let own = self.places.iter().find(|spot| spot.network == place);
        // Nothing is known of the software of earlier runs.
        let kind = used.sighting.client_kind.map(|kind| kind.ja4.as_str());
        let same = kind.is_some_and(|kind| self.software.iter().any(|one| one.is(kind)));
        !same || own.is_some_and(|own| other.last > own.first)
    }

    /// In a known place: the new one whose use was near to one in a known place, so that both are in use.
    fn back(&mut self, clock: Timestamp, window: Span) -> Option<Spot> {
        let mut new = self.places.iter_mut().filter(|spot| spot.strange && !spot.known);
        let spot = new.find(|spot| spot.beside || spot.is_within(clock, window))?;
        spot.beside = false;
        Some(*spot)
    }

    fn software(&mut self, used: &Use<'_>, fingerprint: &str, (known, new_place): (bool, bool)) -> Option<Finding> {
        let clock = used.sighting.clock;
        if let Some(seen) = self.software.iter_mut().find(|software| software.is(fingerprint)) {
            seen.last = seen.last.max(clock);
            let is_update = seen.update;
            // All that there was is still there: what looked like an update of one was none.
            let newer = self.software.iter().position(|software| software.update).filter(|_| !is_update)?;
            let since = self.software.get(newer)?.first;
            if self.software.iter().any(|software| !software.update && software.last < since) {
                return None;
            }
            let newer = self.software.get_mut(newer)?;
            newer.update = false;
            let newer = newer.fingerprint.clone();
            return Some(used.new_software(&newer, (Severity::Medium, &self.software)));
        }
        self.replace(clock);
        // Nothing is known of the software of earlier runs: none of it is new.
        let steady = (1..=2).contains(&self.software.len());
        if self.software.len() >= MAX_SOFTWARE {
            self.software.remove(0);
        }
        let told = known && steady;
        let update = told && !new_place;
        self.software.push(Software { fingerprint: fingerprint.into(), first: clock, last: clock, update });
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

    /// An update that lasts takes the place of what was not seen again.
    fn replace(&mut self, clock: Timestamp) {
        let lasts = |software: &Software| software.update && clock.since(software.first) >= THREE_DAYS;
        let Some(since) = self.software.iter().find(|software| lasts(software)).map(|newer| newer.first) else {
            return;
        };
        let is_gone = |software: &Software| !software.update && software.last < since;
        if self.software.iter().filter(|software| is_gone(software)).count() == 1 {
            self.software.retain(|software| !is_gone(software));
            self.software.iter_mut().filter(|software| software.first == since).for_each(|newer| newer.update = false);
        }
    }
}

impl Software {
    /// Whether a JA4 is that of this software: with or without a server name, and whatever protocol it asks for, it is the
    /// same.
    fn is(&self, fingerprint: &str) -> bool {
        fn parts(ja4: &str) -> [Option<&str>; 3] {
            [ja4.get(..3), ja4.get(4..6), ja4.get(10..)]
        }
        *self.fingerprint == *fingerprint || parts(&self.fingerprint) == parts(fingerprint)
    }
}

impl Spot {
    /// One that was used once.
    fn new(network: Cidr, at: Timestamp) -> Self {
        Self { network, first: at, last: at, uses: 1, known: true, sure: at, strange: false, beside: false }
    }

    /// Whether a use of it is so near.
    fn is_within(&self, clock: Timestamp, window: Span) -> bool {
        clock.since(self.sure).nanos().unsigned_abs() <= window.nanos().unsigned_abs()
    }

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
    fn stolen(&self, network: Cidr) -> Cause {
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

    /// Who signed on its path without being a CA, below a trust anchor or an `[[internal_ca]]`.
    fn forger(&self) -> Option<&Arc<Certificate>> {
        let judged = self.sighting.client?;
        let problem = judged.judgement.problems.iter().find(|problem| problem.kind == ProblemKind::NotCa)?;
        let path = judged.path()?;
        let is_ours = |one: &Arc<Certificate>| {
            one.facts
                .as_deref()
                .is_some_and(|facts| self.sighting.policy.internal_ca_for(&facts.spki_sha256.0).is_some())
        };
        let mut above = path.certificates.iter().skip(problem.depth.saturating_add(1));
        let trusted = path.ending == Ending::Anchor || (path.unverified.is_none() && above.any(is_ours));
        path.certificates.get(problem.depth).filter(|_| trusted)
    }

    /// CERT-034 of a certificate that somebody made who may make none.
    #[cold]
    fn forged(&self, cause: Cause, forger: &Certificate) -> Finding {
        let name = forger.facts.as_deref().map_or("", |facts| short_name(&facts.subject));
        let what = format!("with a certificate below that of \"{name}\", who is no CA, and the server accepted it");
        let mut finding = self.finding(&CLIENT_CERT_UNEXPECTED_ISSUER, cause, &what);
        if self.sighting.client.is_some_and(|judged| is_of_browsers(judged, self.sighting.knowledge)) {
            finding.severity = Severity::High;
        }
        let text = "a CA certified this key for its owner's names only, and its owner signed another certificate";
        finding.evidence.proofs.push(Point::new("no_ca", text).observed(forger.sha256));
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
        let mut finding = self.finding(&CLIENT_CERT_NEW_LOCATION, self.stolen(network), &what);
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
        let here = network(self.place.ends.client.address);
        let mut finding = self.finding(&CLIENT_CERT_TWO_PLACES, self.stolen(here), &what);
        let text = format!("two places within {seconds} s, {} uses from {} before", other.uses, other.network);
        finding.evidence.pro.push(Point::new("places", text).observed(here).expected(other.network));
        finding
    }

    /// CERT-031 where its owner is seen again: it is told of the new place.
    fn back(&self, new: &Spot) -> Finding {
        let what = format!("again, and so was it from {}, where it was never used before", new.network);
        let mut finding = self.finding(&CLIENT_CERT_TWO_PLACES, self.stolen(new.network), &what);
        let uses = if new.uses == 1 { "1 use".to_owned() } else { format!("{} uses", new.uses) };
        let text = format!("{uses} from {} between those from here", new.network);
        let here = network(self.place.ends.client.address);
        finding.evidence.pro.push(Point::new("places", text).observed(new.network).expected(here));
        finding
    }

    fn new_software(&self, fingerprint: &str, (severity, before): (Severity, &[Software])) -> Finding {
        let what = format!("with other software than before (JA4 {fingerprint})");
        let here = network(self.place.ends.client.address);
        let mut finding = self.finding(&CLIENT_CERT_NEW_SOFTWARE, self.stolen(here), &what);
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
        let by_crl = in_crl.zip(sighting.at).map(|((certificate, _, standing), at)| {
            let own = certificate.sha256 == self.leaf.sha256;
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
mod tests;
