//! Checks of versions, ciphers, keys and signatures (TLSW-CRYP-001 to 009): pure functions of one sighting.

use crate::tls::names::{self, cipher_suite};
use crate::tls::{Handshake, KeyExchange, Protocol};
use crate::x509::{Facts, KeyKind, Sha256};
use sha2::Digest as _;

use super::case::{Case, lower_unless};
use super::catalogue::{
    FERMAT, OBSOLETE_VERSION, PQ_STATUS, ROCA, RSA_KEY_LEAKED_BY_FAULT, Rule, SKE_SIGNATURE_INVALID, Severity,
    WEAK_CIPHER, WEAK_DH_GROUP, WEAK_KEY,
};
use super::dh_groups;
use super::finding::{Cause, Finding, Point, add};
use super::proof::{KeyExchangeFault, KeyExchangeVerdict};
use super::weak_rsa::WeakRsa;

/// What is the same whenever a key or a cipher suite is seen again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lasting {
    /// How the leaf's RSA key can be factored.
    pub(super) factorable: Option<WeakRsa>,
    /// How weak the cipher suite is, and why.
    pub(super) cipher: Option<CipherWeakness>,
}

/// How weak a cipher suite is, and why.
pub(super) type CipherWeakness = (Severity, &'static str);

/// Runs every check of this file. What was found out once for all is handed in.
pub(super) fn check(case: &Case<'_>, lasting: Lasting, findings: &mut Vec<Finding>) {
    add(findings, obsolete_version(case));
    if let Some(weakness) = lasting.cipher {
        add(findings, weak_cipher(case, weakness));
    }
    for check in [weak_key, weak_dh_group, ske_signature_invalid, pq_status, leaked_by_fault] {
        add(findings, check(case));
    }
    if let Some(weak) = lasting.factorable {
        add(findings, factorable(case, weak));
    }
}

/// CRYP-001.
fn obsolete_version(case: &Case<'_>) -> Option<Finding> {
    let handshake = &case.sighting.observation.handshake;
    let (name, severity) = match (handshake.protocol, case.sighting.gist.version?) {
        (_, 0x0002) => ("SSL 2.0", Severity::High),
        (_, 0x0300) => ("SSL 3.0", Severity::High),
        (Protocol::Dtls, 0xfeff | 0x0100) => ("DTLS 1.0", Severity::Low),
        (_, 0x0301) => ("TLS 1.0", Severity::Low),
        (_, 0x0302) => ("TLS 1.1", Severity::Low),
        _ => return None,
    };
    let client = case.sighting.observation.ends.client.address;
    let message = format!("{} chose {name} with client {client}.", case.sighting.host);
    let mut finding = case.finding(&OBSOLETE_VERSION, &[name.to_owned()], message);
    finding.severity = severity;
    finding.evidence.pro.push(chosen_version(handshake, name));
    lower_unless(case.is_ours(), &mut finding);
    Some(finding)
}

/// What the client offered, and what the server made of it.
#[cold]
fn chosen_version(handshake: &Handshake, name: &str) -> Point {
    let best = handshake.client_hello.as_deref().and_then(|hello| {
        let datagrams = handshake.protocol == Protocol::Dtls;
        let is_version = |version: &u16| names::version(*version).is_some() && (*version >= 0xfe00) == datagrams;
        let offered = hello.supported_versions.iter().copied().chain([hello.legacy_version]).filter(is_version);
        // Versions of DTLS count down.
        let best = if datagrams { offered.min() } else { offered.max() };
        best.or(Some(hello.legacy_version))
    });
    let text = match best {
        Some(best) => format!("the best that the client offered is {}", names::version_text(best)),
        None => "what the client offered is not in the capture".to_owned(),
    };
    let better = if handshake.protocol == Protocol::Dtls { "DTLS 1.2 or 1.3" } else { "TLS 1.2 or 1.3" };
    Point::new("version", text).observed(name).expected(better)
}

/// CRYP-002.
fn weak_cipher(case: &Case<'_>, (mut severity, why): CipherWeakness) -> Option<Finding> {
    let handshake = &case.sighting.observation.handshake;
    let number = handshake.server_hello.as_deref()?.cipher_suite?;
    let name = cipher_suite(number)?;
    let offered = handshake.client_hello.as_deref().map(|hello| &hello.cipher_suites);
    // A signaling value is no suite.
    let is_suite = |name: &str| !name.ends_with("_SCSV");
    let better = |number: &u16| cipher_suite(*number).filter(|name| is_suite(name) && weakness(name).is_none());
    let best = offered.and_then(|offered| offered.iter().find_map(better));
    let export = name.contains("EXPORT");
    if export && offered.is_some_and(|offered| !offered.contains(&number) || best.is_some()) {
        severity = Severity::Critical;
    }
    let client = case.sighting.observation.ends.client.address;
    let message = format!("{} chose {name} with client {client}: {why}.", case.sighting.host);
    let mut finding = case.finding(&WEAK_CIPHER, &[name.to_owned()], message);
    finding.severity = severity;
    finding.evidence.pro.push(match (offered, best) {
        (_, Some(best)) => Point::new("cipher", "the client offered better").observed(name).expected(best),
        (Some(_), None) => Point::new("cipher", "the client offered nothing better").observed(name),
        (None, None) => Point::new("cipher", "what the client offered is not in the capture").observed(name),
    });
    lower_unless(export || case.is_ours(), &mut finding);
    Some(finding)
}

/// How weak a cipher suite is, by its number.
pub(super) fn cipher_weakness(number: u16) -> Option<CipherWeakness> {
    weakness(cipher_suite(number)?)
}

/// How weak a cipher suite is by its name, and why.
fn weakness(name: &str) -> Option<CipherWeakness> {
    let has = |part| name.contains(part);
    Some(if has("_NULL_") || name.ends_with("_NULL") || matches!(name, "TLS_SHA256_SHA256" | "TLS_SHA384_SHA384") {
        (Severity::High, "no encryption")
    } else if has("_anon_") {
        (Severity::High, "no authentication")
    } else if has("EXPORT") {
        (Severity::High, "export strength")
    } else if has("_RC4_") {
        (Severity::Medium, "RC4 is broken")
    } else if has("_DES_") {
        (Severity::Medium, "keys of 56 bits")
    } else if has("_3DES_") {
        (Severity::Medium, "blocks of 64 bits")
    } else if has("_RC2_") {
        (Severity::Medium, "RC2 is broken")
    } else if name.starts_with("TLS_RSA_WITH_") {
        (Severity::Low, "no forward secrecy")
    } else {
        return None;
    })
}

/// CRYP-003.
fn weak_key(case: &Case<'_>) -> Option<Finding> {
    if case.view().is_some_and(|view| !view.weak_key) {
        return None;
    }
    let (_, facts) = case.leaf()?;
    let (severity, why, (text, expected)) = key_weakness(facts)?;
    let message = format!("{} a certificate with a weak key: {why}.", case.gave());
    let mut finding = case.leaf_finding(&WEAK_KEY, &[], message);
    finding.evidence.pro.push(Point::new("key", text).observed(why).expected(expected));
    finding.cause = Cause::LeafKey(facts.spki_sha256);
    finding.severity = severity;
    lower_unless(severity >= Severity::High || case.is_ours(), &mut finding);
    Some(finding)
}

/// What a key lacks, and what it ought to have.
type Lack = (&'static str, &'static str);

/// How weak a key is, why, and what it lacks.
pub(super) fn key_weakness(facts: &Facts) -> Option<(Severity, String, Lack)> {
    const SHORT: Lack = ("less than NIST SP 800-57 asks for", "RSA with 2048 bits, or an elliptic curve of 256");
    const EVEN: Lack = ("2 is a factor of it", "an odd modulus");
    const EXPONENT: Lack = ("not the exponent that is usual and has no known weakness", "an exponent of 65537");
    const OLD: Lack = ("no client takes it any more", "RSA with 2048 bits, or an elliptic curve of 256");
    let key = &facts.key;
    match key.kind {
        KeyKind::Rsa | KeyKind::RsaPss => {
            let even = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 0);
            let (bits, exponent) = (key.bits, &*key.exponent);
            let (severity, why, lack) = match bits {
                0 => return None,
                _ if even(&key.modulus) => (Severity::High, "an even RSA modulus".to_owned(), EVEN),
                _ if exponent == [1] || even(exponent) => {
                    (Severity::High, "an RSA exponent that encrypts nothing".to_owned(), EXPONENT)
                }
                1..1_024 => (Severity::High, format!("RSA with {bits} bits"), SHORT),
                1_024..2_048 => (Severity::Medium, format!("RSA with {bits} bits"), SHORT),
                _ if exponent == [3] || exponent.len() > 8 => {
                    (Severity::Low, "an unusual RSA exponent".to_owned(), EXPONENT)
                }
                _ => return None,
            };
            Some((severity, why, lack))
        }
        KeyKind::Ec if (1..224).contains(&key.bits) => {
            Some((Severity::Medium, format!("an elliptic curve of {} bits", key.bits), SHORT))
        }
        KeyKind::Dsa => Some((Severity::Medium, "DSA".to_owned(), OLD)),
        _ => None,
    }
}

/// CRYP-004.
fn weak_dh_group(case: &Case<'_>) -> Option<Finding> {
    if !case.sighting.gist.finite_field {
        return None;
    }
    let exchange = case.sighting.observation.handshake.server_key_exchange.as_deref()?;
    let KeyExchange::Dhe { prime, generator, public } = &exchange.kind else { return None };
    let number = |range: &std::ops::Range<usize>| exchange.params.get(range.clone()).map(without_zeros);
    let (prime, generator, public) = (number(prime)?, number(generator)?, number(public)?);
    let bits = bit_length(prime);
    let label = dh_groups::name(&Sha256(sha2::Sha256::digest(prime).into()));
    let trivial = |value: &[u8]| matches!(value, [] | [1]) || is_one_less(value, prime);
    let (severity, why, expected) = if prime.last().is_none_or(|last| last & 1 == 0) {
        (Severity::Critical, "its prime is even".to_owned(), "an odd prime of a group of RFC 7919, or ECDHE")
    } else if trivial(generator) || trivial(public) {
        let why = "its numbers give the secret away".to_owned();
        (Severity::Critical, why, "numbers between 1 and the prime less 1 (RFC 7919), or ECDHE")
    } else {
        let severity = match bits {
            0..1_024 => Severity::High,
            1_024..2_048 => Severity::Medium,
            _ => return None,
        };
        (severity, format!("its prime has {bits} bits"), "2048 bits or more (RFC 7919), or ECDHE")
    };
    let client = case.sighting.observation.ends.client.address;
    let message = format!("{} offered client {client} a weak Diffie-Hellman group: {why}.", case.sighting.host);
    let mut finding = case.finding(&WEAK_DH_GROUP, std::slice::from_ref(&why), message);
    finding.severity = severity;
    let point = Point::new("parameters", why).observed(format!("a prime of {bits} bits"));
    finding.evidence.pro.push(point.expected(expected));
    if let Some(label) = label {
        finding.evidence.pro.push(Point::new("group", "a well-known prime").observed(label));
    }
    lower_unless(severity == Severity::Critical || case.is_ours(), &mut finding);
    Some(finding)
}

/// CRYP-005.
fn ske_signature_invalid(case: &Case<'_>) -> Option<Finding> {
    let observation = case.sighting.observation;
    let KeyExchangeVerdict::Bad { fault, signed } = observation.key_exchange else { return None };
    let (leaf, facts) = case.leaf()?;
    // decrypt_error, illegal_parameter: the client noticed.
    let noticed = observation
        .handshake
        .alerts
        .iter()
        .any(|alert| matches!(alert.description, 51 | 47) && Some(alert.direction) == observation.handshake.client);
    let then = match (noticed, observation.handshake.established) {
        (true, _) => "the client gave up: somebody altered the parameters on the way",
        (false, Some(true)) => "the client went on: a faulty server or a damaged capture",
        (false, _) => "how the client took it is not seen",
    };
    let message = format!(
        "The signature of {}'s key exchange with client {} is wrong; {then}.",
        case.sighting.host, observation.ends.client.address
    );
    let mut finding = case.leaf_finding(&SKE_SIGNATURE_INVALID, &[leaf.sha256.to_string()], message);
    if fault != KeyExchangeFault::None {
        finding.cause = Cause::LeafKey(facts.spki_sha256);
    }
    finding.evidence.pro.push(Point {
        id: "signed",
        text: "SHA-256 of the signed octets".to_owned(),
        observed: Some(signed.to_string()),
        ..Point::default()
    });
    Some(finding)
}

/// CRYP-006.
fn leaked_by_fault(case: &Case<'_>) -> Option<Finding> {
    let KeyExchangeVerdict::Bad { fault: KeyExchangeFault::Leaked(factor), signed } =
        case.sighting.observation.key_exchange
    else {
        return None;
    };
    let (_, facts) = case.leaf()?;
    let message = format!(
        "{} gave its RSA private key away: a wrong signature to client {} shows a factor of the modulus.",
        case.sighting.host, case.sighting.observation.ends.client.address
    );
    let mut finding = case.leaf_finding(&RSA_KEY_LEAKED_BY_FAULT, &[], message);
    finding.cause = Cause::LeafKey(facts.spki_sha256);
    let modulus = Sha256(sha2::Sha256::digest(&facts.key.modulus).into());
    let hashes = [("modulus", "modulus", modulus), ("factor", "factor", factor), ("signed", "signed octets", signed)];
    finding.evidence.pro = hashes
        .into_iter()
        .map(|(id, what, hash)| Point {
            id,
            text: format!("SHA-256 of the {what}"),
            observed: Some(hash.to_string()),
            ..Point::default()
        })
        .collect();
    Some(finding)
}

/// CRYP-008 and CRYP-009.
fn factorable(case: &Case<'_>, weak: WeakRsa) -> Option<Finding> {
    let (_, facts) = case.leaf()?;
    let (rule, why, proof): (&'static Rule, _, _) = match weak {
        WeakRsa::Roca => (
            &ROCA,
            "the chip that made it gives its factors away (ROCA)",
            "the modulus has the residues of Infineon's key generation (CVE-2017-15361)",
        ),
        WeakRsa::Fermat => (
            &FERMAT,
            "its primes are so close together that anybody finds them",
            "Fermat's method finds the primes of the modulus within a hundred rounds (CVE-2022-26320)",
        ),
    };
    let message = format!("{} a certificate whose RSA key is broken: {why}.", case.gave());
    let mut finding = case.leaf_finding(rule, &[], message);
    let point = Point::new("modulus", proof).observed(format!("RSA with {} bits", facts.key.bits));
    finding.evidence.proofs.push(point.expected("random primes"));
    finding.cause = Cause::LeafKey(facts.spki_sha256);
    Some(finding)
}

/// CRYP-011.
fn pq_status(case: &Case<'_>) -> Option<Finding> {
    if !case.sighting.gist.hybrid {
        return None;
    }
    Some(case.finding(&PQ_STATUS, &[], format!("{} uses a post-quantum key exchange.", case.sighting.host)))
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|octet| **octet == 0).count();
    number.get(zeros..).unwrap_or_default()
}

fn bit_length(number: &[u8]) -> usize {
    let top =
        number.first().map_or(0, |first| 8_usize.saturating_sub(usize::try_from(first.leading_zeros()).unwrap_or(8)));
    number.len().saturating_sub(1) * 8 + top
}

/// `value` is `odd` less one.
fn is_one_less(value: &[u8], odd: &[u8]) -> bool {
    match (value.split_last(), odd.split_last()) {
        (Some((low, rest)), Some((last, same))) => rest == same && low.checked_add(1) == Some(*last),
        _ => false,
    }
}
