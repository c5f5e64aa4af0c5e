//! Checks of what the owner of the network decided (TLSW-POL): pure functions of one sighting.

use std::net::IpAddr;

use crate::policy::{HostEntry, SettingValue, Target, has_public_suffix};
use crate::tls::Protocol;
use crate::tls::names::{self, cipher_suite};
use crate::x509::chain::{Ending, Path};
use crate::x509::{AlternativeName, Facts, KeyKind, Name, Sha256};

use super::case::{Case, quoted};
use super::catalogue::{
    CERTIFICATE_HYGIENE, Effect, ISSUER_NOT_ALLOWED, KEY_POLICY, PROTOCOL_POLICY, UNLISTED_CERTIFICATE,
    WRONG_KIND_OF_CA, WRONG_PLACE,
};
use super::finding::{Doubt, Finding, Point, add};
use super::knowledge::attributes;

/// Alternative names of one certificate that are looked up.
const NAMES: usize = 32;
/// What the policy allows, in the evidence: so many of it.
const LISTED: usize = 8;
const DAY: i64 = 86_400;

/// Runs every check of this file. `before` is the leaf and its key that the host showed last.
pub(super) fn check(case: &Case<'_>, before: Option<(Sha256, Sha256)>, findings: &mut Vec<Finding>) {
    if let Some(entry) = case.entry {
        let checks = [issuer_not_allowed, unlisted_certificate, protocol_policy, certificate_hygiene];
        for check in checks {
            add(findings, check(case, entry));
        }
        add(findings, key_policy(case, entry, before));
    }
    add(findings, wrong_place(case));
    add(findings, wrong_kind_of_ca(case));
}

/// POL-001.
fn issuer_not_allowed(case: &Case<'_>, entry: &HostEntry) -> Option<Finding> {
    let (leaf, facts) = case.leaf()?;
    if entry.issuers.is_empty() && entry.issuer_names.is_empty() && entry.caa.is_empty() {
        return None;
    }
    let chain = case.sighting.server?;
    let unverified = chain.report.paths.first()?.unverified.is_some();
    let broken = matches!(chain.judgement.ending, Ending::BadSignature | Ending::Unparsable | Ending::Budget);
    let issuers: Vec<&Facts> = match case.vouched() {
        [only] if chain.judgement.ending == Ending::SelfSigned => vec![only.facts.as_deref()?],
        [_, issuers @ ..] => issuers.iter().filter_map(|one| one.facts.as_deref()).collect(),
        [] => return None,
    };
    // The issuer that was not sent may be one that is allowed.
    let undecided = chain.report.missing_issuer().map(|_| if issuers.is_empty() { Doubt::Leaf } else { Doubt::Above });
    let alone = case.path().len() == 1;
    if (issuers.is_empty() && alone && undecided.is_none()) || broken || unverified {
        return None;
    }
    let allowed = issuers.iter().any(|issuer| {
        entry.issuers.contains(&issuer.spki_sha256.0)
            || entry.issuer_names.iter().any(|pattern| pattern.matches(attributes(&issuer.subject)))
            || entry.caa.iter().any(|domain| stands_for(domain, &issuer.subject))
    });
    if allowed {
        return None;
    }
    let message = format!(
        "{} a certificate of {}, an issuer that the policy does not allow.",
        case.gave(),
        quoted(&facts.issuer.text)
    );
    let mut finding = case.issued_finding(&ISSUER_NOT_ALLOWED, leaf, message);
    let point = Point::new("policy", "no issuer of its path is one that the policy names for this host");
    finding.evidence.pro.push(point.observed(quoted(&facts.issuer.text)).expected(allowed_issuers(entry)));
    finding.undecided = undecided;
    if issuers.is_empty() && alone {
        finding.effect = Effect::Mark;
    }
    Some(finding)
}

/// Which issuers the policy allows, for people.
#[cold]
fn allowed_issuers(entry: &HostEntry) -> String {
    let keys = entry.issuers.iter().map(|key| format!("the key {}", Sha256(*key)));
    let domains = entry.caa.iter().map(|domain| format!("a CA of {domain}"));
    let all = keys.chain(domains).chain(entry.issuer_names.iter().map(|pattern| format!("a CA named {pattern}")));
    listed(all)
}

/// The first of many, and how many more there are.
pub(super) fn listed(all: impl Iterator<Item = String>) -> String {
    let mut all = all.fuse();
    let first: Vec<String> = all.by_ref().take(LISTED).collect();
    let more = all.count();
    let mut text = first.join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// Whether a CAA domain stands for the operator of a CA: the operator's name without spaces and punctuation contains
/// the domain's first label, or is one of those known to have another.
pub(super) fn stands_for(domain: &str, ca: &Name) -> bool {
    let label = domain.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let known: &[&str] = match domain {
        "letsencrypt.org" => &["letsencrypt", "internetsecurityresearchgroup"],
        "pki.goog" => &["googletrustservices"],
        "amazon.com" | "amazontrust.com" | "awstrust.com" | "amazonaws.com" => &["amazon"],
        "sectigo.com" | "comodoca.com" | "usertrust.com" | "trust-provider.com" => {
            &["sectigo", "comodo", "theusertrustnetwork"]
        }
        "digicert.com" | "symantec.com" | "geotrust.com" | "thawte.com" | "rapidssl.com" => {
            &["digicert", "cybertrust", "geotrust", "thawte", "symantec"]
        }
        "godaddy.com" | "starfieldtech.com" => &["godaddy", "starfield"],
        "microsoft.com" => &["microsoft"],
        _ => &[],
    };
    ca.organizations.iter().any(|organization| {
        let plain: String =
            organization.chars().filter(char::is_ascii_alphanumeric).map(|one| one.to_ascii_lowercase()).collect();
        known.iter().any(|name| plain.contains(name)) || (known.is_empty() && label.len() > 2 && plain.contains(&label))
    })
}

/// POL-002.
fn unlisted_certificate(case: &Case<'_>, entry: &HostEntry) -> Option<Finding> {
    let (leaf, facts) = case.leaf()?;
    let none = entry.certificates.is_empty() && entry.certificates_file.is_none();
    let listed = entry.certificates.contains(&leaf.sha256.0) || case.knowledge.is_listed(entry, &leaf.sha256);
    if none || listed {
        return None;
    }
    let message =
        format!("{} a certificate of {} that its owner does not list.", case.gave(), quoted(&facts.issuer.text));
    let mut finding = case.issued_finding(&UNLISTED_CERTIFICATE, leaf, message);
    let listed = match &entry.certificates_file {
        Some(file) => format!("one of {}", file.path),
        None => format!("one of the {} that the policy lists", entry.certificates.len()),
    };
    let point = Point::new("policy", "the owner's list does not have it").observed(leaf.sha256);
    finding.evidence.pro.push(point.expected(listed));
    Some(finding)
}

/// POL-003.
fn key_policy(case: &Case<'_>, entry: &HostEntry, before: Option<(Sha256, Sha256)>) -> Option<Finding> {
    let (leaf, facts) = case.leaf()?;
    let key = &facts.key;
    let kind = match key.kind {
        KeyKind::Rsa | KeyKind::RsaPss => "rsa",
        KeyKind::Ec => "ec",
        KeyKind::Ed25519 => "ed25519",
        KeyKind::Ed448 => "ed448",
        KeyKind::Dsa => "dsa",
        KeyKind::Other => "other",
    };
    let kept = before.is_some_and(|(sha256, spki)| sha256 != leaf.sha256 && spki == facts.spki_sha256);
    let (why, expected) = if !entry.key_types.is_empty() && !entry.key_types.iter().any(|allowed| allowed == kind) {
        (format!("a key of kind {kind}"), listed(entry.key_types.iter().cloned()))
    } else if let Some(least) = entry.min_rsa_bits.filter(|least| kind == "rsa" && key.bits < *least) {
        (format!("an RSA key of {} bits", key.bits), format!("{least} bits or more"))
    } else if kept && !entry.key_reuse {
        ("the key of the certificate before".to_owned(), "a new key with each certificate".to_owned())
    } else {
        return None;
    };
    let message = format!("{} a certificate with {why}, against the policy.", case.gave());
    let mut finding = case.leaf_finding(&KEY_POLICY, &[facts.spki_sha256.to_string()], message);
    finding.evidence.pro.push(against_policy(why, expected));
    Some(finding)
}

/// POL-004.
fn protocol_policy(case: &Case<'_>, entry: &HostEntry) -> Option<Finding> {
    let handshake = &case.sighting.observation.handshake;
    let hello = handshake.server_hello.as_deref()?;
    let version = match hello.version() {
        // DTLS counts down from there.
        0xfeff => 0x0302,
        0xfefd => 0x0303,
        0xfefc => 0x0304,
        version => version,
    };
    let alpn = hello.alpn.as_deref().map(String::from_utf8_lossy);
    let cipher = hello.cipher_suite.map(|number| cipher_suite(number).unwrap_or("an unknown cipher suite"));
    let (why, expected) = if let Some(least) = entry.min_version.filter(|least| version < *least) {
        let least = names::version_text(least);
        let datagrams = if handshake.protocol == Protocol::Dtls { "D" } else { "" };
        ("a version that is too old".to_owned(), format!("{datagrams}{least} or newer"))
    } else if let Some(alpn) = alpn.filter(|alpn| !entry.alpn.is_empty() && !entry.alpn.iter().any(|one| one == alpn)) {
        (format!("the application protocol {}", quoted(&alpn)), listed(entry.alpn.iter().cloned()))
    } else if let Some(cipher) =
        cipher.filter(|name| !entry.ciphers.is_empty() && !entry.ciphers.iter().any(|one| one == name))
    {
        (cipher.to_owned(), listed(entry.ciphers.iter().cloned()))
    } else {
        return None;
    };
    let client = case.sighting.observation.ends.client.address;
    let message = format!("{} chose {why} with client {client}, against the policy.", case.sighting.host);
    let mut finding = case.finding(&PROTOCOL_POLICY, std::slice::from_ref(&why), message);
    let seen =
        if entry.min_version.is_some_and(|least| version < least) { names::version_text(hello.version()) } else { why };
    finding.evidence.pro.push(against_policy(seen, expected));
    Some(finding)
}

/// POL-005.
fn wrong_place(case: &Case<'_>) -> Option<Finding> {
    let policy = case.sighting.policy;
    if policy.hosts.iter().all(|entry| entry.places.is_empty()) {
        return None;
    }
    let (leaf, facts) = case.leaf()?;
    let address = case.target.address;
    let of_name = |name: &str| {
        let target = Target { name: Some(name), ..case.target };
        policy.host_entry(&target)
    };
    let named = dns_names(facts).take(NAMES).find_map(|name| {
        // Some host below a wildcard stands for all of them.
        let name = name.strip_prefix("*.").map_or_else(|| name.to_owned(), |parent| format!("any.{parent}"));
        of_name(&name).filter(|entry| !entry.places.is_empty() && is_owners(case, entry))
    });
    let entry = case.entry.filter(|entry| !entry.places.is_empty()).or(named)?;
    if entry.places.iter().any(|place| place.contains(address)) {
        return None;
    }
    let message = format!(
        "{} a certificate of {} from {address}, outside of its places.",
        case.gave(),
        quoted(&facts.subject.text)
    );
    let mut finding = case.leaf_finding(&WRONG_PLACE, &[leaf.sha256.to_string(), address.to_string()], message);
    let places = listed(entry.places.iter().map(ToString::to_string));
    finding.evidence.pro.push(against_policy(address, places));
    Some(finding)
}

/// The certificate may be the owner's, and does not only name a host of his as anybody's may.
fn is_owners(case: &Case<'_>, entry: &HostEntry) -> bool {
    let Some((leaf, facts)) = case.leaf() else { return false };
    case.is_anchored()
        || case.is_internal_ca()
        || entry.pins.contains(&facts.spki_sha256.0)
        || entry.certificates.contains(&leaf.sha256.0)
        || case.knowledge.is_listed(entry, &leaf.sha256)
}

/// POL-006.
fn wrong_kind_of_ca(case: &Case<'_>) -> Option<Finding> {
    if case.sighting.policy.internal_cas.is_empty() && !case.is_anchored() {
        return None;
    }
    let (leaf, facts) = case.leaf()?;
    let path = case.sighting.server?.report.paths.first().map(Path::verified).unwrap_or_default();
    let mut keys = path.iter().skip(1).filter_map(|one| one.facts.as_deref());
    let internal = keys.find_map(|issuer| case.sighting.policy.internal_ca_for(&issuer.spki_sha256.0));
    let mut names = names(facts);
    let (message, observed, expected) = if let Some(ca) = internal {
        let name = names.find(|name| !ca.allows(name))?;
        let message = format!(
            "{} a certificate for {} of the internal CA {}, which may not sign that.",
            case.gave(),
            quoted(&name),
            quoted(&ca.name)
        );
        (message, name, "only names that the policy allows this CA")
    } else if case.is_public() {
        let internal_name = |name: &String| match name.parse::<IpAddr>() {
            Ok(address) => is_private(address),
            Err(_) => !has_public_suffix(name),
        };
        let name = names.find(internal_name)?;
        let message = format!("{} a certificate of a public CA for the internal name {}.", case.gave(), quoted(&name));
        (message, name, "an internal CA for internal names")
    } else {
        return None;
    };
    let mut finding = case.leaf_finding(&WRONG_KIND_OF_CA, &[leaf.sha256.to_string()], message);
    finding.evidence.pro.push(against_policy(quoted(&observed), expected));
    Some(finding)
}

/// POL-007.
fn certificate_hygiene(case: &Case<'_>, entry: &HostEntry) -> Option<Finding> {
    let (leaf, facts) = case.leaf()?;
    let lifetime = facts.not_after?.seconds().saturating_sub(facts.not_before?.seconds());
    let wants_owner =
        case.sighting.policy.setting(&CERTIFICATE_HYGIENE.known(), "owner_required") == Some(SettingValue::Flag(true));
    let wildcard = || dns_names(facts).find(|name| name.starts_with("*."));
    let (why, observed, expected) = if let Some(name) = (!entry.wildcards).then(wildcard).flatten() {
        ("has a wildcard name".to_owned(), quoted(name), "no wildcard".to_owned())
    } else if let Some(most) = entry.max_days.filter(|days| lifetime > i64::from(*days) * DAY) {
        let days = lifetime / DAY;
        (format!("is valid for {days} days"), format!("{days} days"), format!("at most {most} days"))
    } else if wants_owner && entry.owner.is_none() {
        ("has no owner in the policy".to_owned(), "no `owner`".to_owned(), "an `owner` in its [[host]]".to_owned())
    } else {
        return None;
    };
    let message = format!("{} a certificate that {why}, against the house rules.", case.gave());
    let mut finding = case.leaf_finding(&CERTIFICATE_HYGIENE, &[leaf.sha256.to_string()], message);
    finding.evidence.pro.push(against_policy(observed, expected));
    Some(finding)
}

/// What the policy says of it.
#[cold]
fn against_policy(observed: impl std::fmt::Display, expected: impl std::fmt::Display) -> Point {
    Point::new("policy", "the policy has it otherwise").observed(observed).expected(expected)
}

fn dns_names(facts: &Facts) -> impl Iterator<Item = &str> {
    facts.alternative_names.iter().filter_map(|name| match name {
        AlternativeName::Dns(name) => Some(name.as_str()),
        _ => None,
    })
}

/// Names and addresses as text.
fn names(facts: &Facts) -> impl Iterator<Item = String> {
    facts.alternative_names.iter().filter_map(|name| match name {
        AlternativeName::Dns(name) => Some(name.to_ascii_lowercase()),
        AlternativeName::Ip(address) => Some(address.to_string()),
        _ => None,
    })
}

/// Addresses that nobody has to himself (RFC 1918, RFC 4193, RFC 3927, loopback).
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private() || address.is_link_local() || address.is_loopback(),
        IpAddr::V6(address) => address.is_unique_local() || address.is_unicast_link_local() || address.is_loopback(),
    }
}
