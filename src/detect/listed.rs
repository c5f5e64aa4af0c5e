//! Checks against lists: revocation (CERT-013), block lists (CERT-014), indicators (CERT-040), known keys (KEY-006).

use std::sync::Arc;

use crate::policy::{CertificateHash, Compromised, Policy};
use crate::time::ValidityTime;
use crate::tls::fingerprint::ja3::ja3;
use crate::tls::fingerprint::ja4::ja4;
use crate::x509::{AlternativeName, Certificate, Facts};

use super::case::{Case, date, quoted};
use super::catalogue::{BLOCKLISTED, INDICATOR_MATCH, KNOWN_COMPROMISED_KEY, REVOKED_BY_CRL, Rule, Severity};
use super::certificate::presented;
use super::crl::Standing;
use super::crl_signers::IssuedBy;
use super::finding::{Cause, Finding, Point, add};
use super::knowledge::{Knowledge, attributes};
use super::lists::Entry;
use super::sighting::Sighting;

/// Confidence in a CRL whose successor should be there.
const STALE: u8 = 60;

/// Names of a certificate that are looked up among the indicators, as many as the inventory keeps.
const MAX_NAMES: usize = 256;

/// Runs every check of this file.
pub(super) fn check(case: &Case<'_>, findings: &mut Vec<Finding>) {
    add(findings, revoked(case));
    add(findings, blocklisted(case));
    add(findings, known_key(case));
    add(findings, indicator(case));
}

/// CERT-013.
fn revoked(case: &Case<'_>) -> Option<Finding> {
    by_crl(case).or_else(|| by_serial(case))
}

fn by_crl(case: &Case<'_>) -> Option<Finding> {
    let at = case.sighting.at?;
    let (certificate, facts, standing) = in_crl(case.knowledge, case.path(), at)?;
    let entry = standing.entry;
    let depth = depth(case, certificate);
    let what = if depth == 0 { "a certificate that" } else { "a certificate under a CA that" };
    let mut message = format!("{} {what} was {}: {}", case.gave(), since(&standing, at), quoted(&facts.subject.text));
    let stale = standing.list.is_stale(at);
    if stale {
        message.push_str(STALE_WORDS);
    }
    message.push('.');
    let mut finding = case.leaf_finding(&REVOKED_BY_CRL, &[], message);
    finding.cause = cause(case, &REVOKED_BY_CRL, (depth, serial(facts)));
    if entry.is_compromise() {
        finding.severity = Severity::Critical;
    } else if standing.lifted.is_some() {
        finding.severity = Severity::Medium;
    }
    if stale || standing.is_uncertain(at) {
        finding.confidence = STALE;
    }
    let text = format!("reason {} ({}) of RFC 5280 section 5.3.1", entry.reason, reason(entry.reason));
    finding.evidence.pro.push(Point { id: "crl", text, observed: Some(serial(facts)), ..Point::default() });
    Some(finding)
}

/// Whether a certificate is the leaf (0) or one of its CAs (1): a CA that is listed is one cause at all hosts below it.
fn depth(case: &Case<'_>, certificate: &Certificate) -> usize {
    usize::from(case.leaf().is_none_or(|(leaf, _)| leaf.sha256 != certificate.sha256))
}

/// A leaf that is listed is told at each host anew: where else it comes up is what one wants to know at once.
fn cause(case: &Case<'_>, rule: &'static Rule, (depth, subject): (usize, String)) -> Cause {
    if depth == 0 { case.subject(rule, vec![subject]) } else { case.of_certificate(rule, vec![subject]) }
}

/// Which certificate of a chain it is, for a sentence.
fn named(depth: usize, facts: &Facts) -> String {
    if depth == 0 {
        "a certificate".to_owned()
    } else {
        format!("a chain with the CA {},", quoted(&facts.subject.text))
    }
}

/// What is said of a list whose successor should be there.
pub(super) const STALE_WORDS: &str = " (by a list that is out of date)";

/// What a CRL says of a certificate at a time, behind "was".
pub(super) fn since(standing: &Standing<'_>, at: ValidityTime) -> String {
    let Standing { entry, list, lifted } = standing;
    match lifted {
        Some(by) if standing.is_uncertain(at) => {
            let (from, by) = (date(list.this_update), date(*by));
            format!("on hold since {}, if that had not been lifted: it was between {from} and {by}", date(entry.date))
        }
        Some(by) => format!("on hold since {} (lifted later, by {})", date(entry.date), date(*by)),
        None if !entry.is_permanent() => format!("on hold since {}", date(entry.date)),
        None if entry.date > at => {
            format!("revoked later, on {}, as invalid since {}", date(entry.date), date(entry.since()))
        }
        None => format!("revoked on {}", date(entry.date)),
    }
}

/// CRLReason as RFC 5280 section 5.3.1 names it.
pub(super) fn reason(code: u8) -> &'static str {
    match code {
        0 => "unspecified",
        1 => "keyCompromise",
        2 => "cACompromise",
        3 => "affiliationChanged",
        4 => "superseded",
        5 => "cessationOfOperation",
        6 => "certificateHold",
        8 => "removeFromCRL",
        9 => "privilegeWithdrawn",
        10 => "aACompromise",
        _ => "unknown",
    }
}

/// The first certificate of a path that a CRL of its issuer lists, by whichever of its keys, and what it says.
pub(super) fn in_crl<'a>(
    knowledge: &'a Knowledge,
    path: &'a [Arc<Certificate>],
    at: ValidityTime,
) -> Option<(&'a Certificate, &'a Facts, Standing<'a>)> {
    if knowledge.crls.is_empty() {
        return None;
    }
    path.iter().zip(1_usize..).find_map(|(child, above)| {
        let facts = child.facts.as_deref()?;
        let issuer = path.get(above)?;
        let above = path.get(above.saturating_add(1)).and_then(|one| one.facts.as_deref());
        Some((&**child, facts, knowledge.revoked(IssuedBy { issuer, above }, facts, at)?))
    })
}

fn by_serial(case: &Case<'_>) -> Option<Finding> {
    let lists = Lists::of(case.sighting);
    if lists.has_no_certificates() {
        return None;
    }
    let found = presented(case).find_map(|(one, facts)| Some((one, facts, lists.serial(facts)?)));
    let (certificate, facts, source) = found?;
    let (depth, words) = (depth(case, certificate), source.kind.words(""));
    let message = format!("{} {} {words}: {}.", case.gave(), named(depth, facts), quoted(&source.text));
    let mut finding = case.leaf_finding(&REVOKED_BY_CRL, &[], message);
    finding.cause = cause(case, &REVOKED_BY_CRL, (depth, serial(facts)));
    let observed = Some(serial(facts));
    finding.evidence.pro.push(Point { id: "list", text: source.text, observed, ..Point::default() });
    Some(finding)
}

/// What kind of list has an entry: not all of them say that something was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A CRL.
    Crl,
    /// A CRL, by a hold.
    Hold,
    /// A list of issuers with serial numbers.
    Serials,
    /// A list of certificates or keys that are to be blocked.
    Blocked,
    /// `[[compromised]]` of the policy.
    Policy,
}

impl Kind {
    /// What this says of a certificate, behind the word; `now` may be `"now "`.
    pub(super) fn words(self, now: &str) -> String {
        match self {
            Self::Crl => format!("which is {now}known to be revoked"),
            Self::Hold => format!("which is {now}known to have been on hold"),
            Self::Serials => format!("whose issuer and serial number {now}stand in a list"),
            Self::Blocked => format!("which {now}stands in a block list"),
            Self::Policy => format!("which the policy {now}names as compromised"),
        }
    }
}

/// A list that has an entry, and what the entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) kind: Kind,
    pub(super) text: String,
}

impl Source {
    fn policy(entry: &Compromised) -> Self {
        Self { kind: Kind::Policy, text: format!("policy line {}: {}", entry.line, entry.reason) }
    }
}

/// What the owner loaded to look certificates and keys up in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lists<'a> {
    pub(super) knowledge: &'a Knowledge,
    pub(super) policy: &'a Policy,
}

impl<'a> Lists<'a> {
    /// Those that a handshake is judged by.
    pub(super) fn of(sighting: &Sighting<'a>) -> Self {
        Self { knowledge: sighting.knowledge, policy: sighting.policy }
    }

    /// There is no list of certificates: they need not be looked at.
    fn has_no_certificates(self) -> bool {
        self.knowledge.blocklists.is_empty() && self.policy.compromised.is_empty()
    }

    /// Where issuer and serial number of a certificate are listed.
    pub(super) fn serial(self, facts: &Facts) -> Option<Source> {
        let number = without_zeros(&facts.serial);
        let in_list = self.knowledge.blocklists.iter().find_map(|named| {
            let mut entries = named.list.serials.iter();
            let (_, _, entry) =
                entries.find(|(issuer, serial, _)| **serial == *number && issuer.matches(attributes(&facts.issuer)))?;
            Some(Source { kind: Kind::Serials, text: format!("{} line {}", named.name, entry.line) })
        });
        in_list.or_else(|| {
            let mut entries = self.policy.compromised.iter();
            let entry = entries.find(|entry| {
                let mut serials = entry.serials.iter();
                serials.any(|(issuer, serial)| {
                    without_zeros(serial) == number && issuer.matches(attributes(&facts.issuer))
                })
            })?;
            Some(Source::policy(entry))
        })
    }

    /// Where the hash of a certificate or of its key is listed.
    pub(super) fn hash(self, certificate: &Certificate, facts: &Facts) -> Option<Source> {
        let hashes = hashes(certificate);
        let in_list = self.knowledge.blocklists.iter().find_map(|named| {
            let by_hash = hashes.iter().find_map(|hash| named.list.certificates.get(hash));
            let entry = by_hash.or_else(|| named.list.keys.get(&facts.spki_sha256.0))?;
            Some(Source { kind: Kind::Blocked, text: told(&named.name, entry) })
        });
        in_list.or_else(|| {
            let mut entries = self.policy.compromised.iter();
            let entry = entries.find(|entry| hashes.iter().any(|hash| entry.certificates.contains(hash)))?;
            Some(Source::policy(entry))
        })
    }

    /// Where a key is listed as known to others.
    pub(super) fn key(self, facts: &Facts) -> Option<String> {
        let key = facts.spki_sha256.0;
        let lists = &self.knowledge.compromised;
        let in_list = lists.iter().find_map(|named| Some(told(&named.name, named.list.keys.get(&key)?)));
        let in_policy = || {
            let entry = self.policy.compromised.iter().find(|entry| entry.keys.contains(&key))?;
            Some(format!("policy line {}: {}", entry.line, entry.reason))
        };
        let in_file = || {
            let mut files = self.knowledge.badkeys.iter();
            files.find_map(|file| Some(format!("{} list {}", file.name, file.find(&facts.key)?)))
        };
        in_list.or_else(in_policy).or_else(in_file)
    }

    /// Which indicators a certificate is: the kind, where it stands, and the value.
    pub(super) fn indicators(self, certificate: &Certificate) -> impl Iterator<Item = (&'static str, String, String)> {
        self.knowledge.indicators.iter().flat_map(move |named| {
            let list = &named.list;
            let mut found = Vec::new();
            let mut hit = |kind, entry: Option<&Entry>, observed: String| {
                found.extend(entry.map(|entry| (kind, told(&named.name, entry), observed)));
            };
            for hash in hashes(certificate) {
                hit("certificate", list.certificates.get(&hash), certificate.sha256.to_string());
            }
            if let Some(facts) = certificate.facts.as_deref() {
                hit("key", list.keys.get(&facts.spki_sha256.0), facts.spki_sha256.to_string());
                hit("serial", list.serial(&facts.serial), serial(facts));
            }
            found
        })
    }
}

/// CERT-014.
fn blocklisted(case: &Case<'_>) -> Option<Finding> {
    let lists = Lists::of(case.sighting);
    if lists.has_no_certificates() {
        return None;
    }
    let found = presented(case).find_map(|(one, facts)| Some((one, facts, lists.hash(one, facts)?)));
    let (certificate, facts, source) = found?;
    let (depth, words) = (depth(case, certificate), source.kind.words(""));
    let message = format!("{} {} {words}: {}.", case.gave(), named(depth, facts), quoted(&source.text));
    let mut finding = case.leaf_finding(&BLOCKLISTED, &[], message);
    finding.cause = cause(case, &BLOCKLISTED, (depth, certificate.sha256.to_string()));
    let observed = Some(certificate.sha256.to_string());
    finding.evidence.pro.push(Point { id: "list", text: source.text, observed, ..Point::default() });
    Some(finding)
}

/// KEY-006.
fn known_key(case: &Case<'_>) -> Option<Finding> {
    let knowledge = case.knowledge;
    let compromised = &case.sighting.policy.compromised;
    if knowledge.compromised.is_empty() && knowledge.badkeys.is_empty() && compromised.is_empty() {
        return None;
    }
    let lists = Lists::of(case.sighting);
    let found = presented(case).find_map(|(one, facts)| Some((one, facts, lists.key(facts)?)));
    let (certificate, facts, source) = found?;
    let which = named(depth(case, certificate), facts);
    let message = format!("{} {which} whose private key others know: {}.", case.gave(), quoted(&source));
    let mut finding = case.leaf_finding(&KNOWN_COMPROMISED_KEY, &[], message);
    finding.cause = Cause::LeafKey(facts.spki_sha256);
    let observed = Some(facts.spki_sha256.to_string());
    finding.evidence.proofs.push(Point { id: "P5", text: source, observed, ..Point::default() });
    Some(finding)
}

/// CERT-040.
fn indicator(case: &Case<'_>) -> Option<Finding> {
    let mut points: Vec<(Severity, Point)> = Vec::new();
    let observation = case.sighting.observation;
    let hello = observation.handshake.client_hello.as_deref();
    if case.knowledge.indicators.is_empty() {
        return None;
    }
    let lists = Lists::of(case.sighting);
    // Who asks for no name gets to know the server by its certificate. What is not captured may have asked for one.
    let nameless = case.leaf().filter(|_| hello.is_some() && case.target.name.is_none());
    let of = |id: &str| if id == "name" && nameless.is_some() { " (a name of its certificate)" } else { "" };
    for certificate in observation.server_chain.iter().chain(&observation.client_chain) {
        points.extend(lists.indicators(certificate).map(|(id, text, observed)| {
            (Severity::High, Point { id, text, observed: Some(observed), ..Point::default() })
        }));
    }
    for named in &case.knowledge.indicators {
        let list = &named.list;
        let mut hit = |severity, id, entry: Option<&Entry>, observed: String| {
            if let Some(entry) = entry {
                let point = Point { id, text: told(&named.name, entry), observed: Some(observed), ..Point::default() };
                points.push((severity, point));
            }
        };
        if let Some(hello) = hello.filter(|_| !list.fingerprints.is_empty()) {
            let (ja3, ja4) = (ja3(hello), ja4(hello, observation.handshake.protocol));
            let entry_of = |value: &str| list.fingerprint(value).map(|(_, entry)| entry);
            hit(Severity::Low, "ja3", entry_of(&ja3), ja3.clone());
            hit(Severity::Low, "ja4", entry_of(&ja4), ja4.clone());
        }
        if let Some(name) = case.target.name {
            hit(Severity::Medium, "name", list.name(name), name.to_owned());
        } else if let Some((_, facts)) = nameless.filter(|_| !list.names.is_empty()) {
            for name in facts.alternative_names.iter().take(MAX_NAMES) {
                if let AlternativeName::Dns(name) = name {
                    hit(Severity::Medium, "name", list.name(name), name.to_ascii_lowercase());
                }
            }
        }
        for address in [observation.ends.server.address, observation.ends.client.address] {
            hit(Severity::Medium, "address", list.address(address), address.to_string());
        }
    }
    points.sort_by(|(a, first), (b, second)| (b, first.id, &first.observed).cmp(&(a, second.id, &second.observed)));
    points.dedup_by(|(_, a), (_, b)| (a.id, &a.observed) == (b.id, &b.observed));
    let (severity, first) = points.first()?;
    let client = observation.ends.client.address;
    let what = first.observed.as_deref().unwrap_or_default();
    let message = format!(
        "{} and client {client}: the {} {}{} is an indicator ({}).",
        case.sighting.host,
        first.id,
        quoted(what),
        of(first.id),
        first.text
    );
    let parts = [first.id.to_owned(), what.to_owned()];
    let severity = *severity;
    let mut finding = case.leaf_finding(&INDICATOR_MATCH, &parts, message);
    finding.severity = severity;
    let points = points.into_iter().map(|(_, point)| Point { text: point.text + of(point.id), ..point });
    finding.evidence.pro = points.collect();
    Some(finding)
}

fn hashes(certificate: &Certificate) -> [CertificateHash; 2] {
    [CertificateHash::Sha256(certificate.sha256.0), CertificateHash::Sha1(certificate.sha1)]
}

/// Where an entry stands and what it says.
pub(super) fn told(list: &str, entry: &Entry) -> String {
    let mut text = format!("{list} line {}", entry.line);
    for part in [&entry.date, &entry.reason] {
        if !part.is_empty() {
            text.push_str(", ");
            text.push_str(part);
        }
    }
    text
}

pub(super) fn serial(facts: &Facts) -> String {
    facts.serial.iter().map(|octet| format!("{octet:02X}")).collect()
}

fn without_zeros(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|octet| **octet == 0).count();
    serial.get(zeros..).unwrap_or_default()
}
