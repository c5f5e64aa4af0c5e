//! Files that the owner gives: policy, lists, revocation lists, roots, and words of the command line.

use crate::detect::catalogue::known_rules;
use crate::detect::crl::{About, Crl, Scope};
use crate::detect::lists::{BADKEYS_ENTRY, List, badkeys_list};
use crate::policy::{
    CertificateHash, Cidr, Day, HostPattern, NamePattern, Policy, Target, digest, has_public_suffix, octets,
    registrable_domain, warnings,
};
use crate::report::explain::{alert_id, explain};
use crate::text::printable;
use crate::time::{Timestamp, ValidityTime};
use crate::x509::roots::{TrustAnchors, pem};
use crate::x509::signature::{Algorithm, verify};
use crate::x509::{KeyKind, PublicKey};

/// A policy file: it holds, or every mistake stands at a place in it; what holds answers every question.
///
/// # Panics
/// When an invariant does not hold.
pub fn policy(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match Policy::parse(&text, &known_rules()) {
        Ok(policy) => {
            let today = Day::of(Timestamp::new(1_717_243_200, 0));
            let _ = warnings(&policy, Some(today));
            for (name, address) in
                [(Some("www.example.com"), "192.0.2.1"), (None, "2001:db8::1"), (Some("a.b"), "10.0.0.1")]
            {
                let Ok(address) = address.parse() else { continue };
                let target = Target { name, address, port: 443 };
                let _ = (policy.host_entry(&target), policy.is_internal(&target), policy.is_owned(&target));
            }
            for rule in known_rules() {
                let _ = policy.is_enabled(&rule);
                for setting in rule.settings {
                    let _ = policy.setting(&rule, setting.name);
                }
            }
        }
        Err(errors) => {
            assert!(!errors.0.is_empty(), "refused for no reason");
            let lines = text.split('\n').count();
            for error in errors.0 {
                assert!(error.line >= 1 && error.line <= lines && error.column >= 1, "{error} in {lines} lines");
            }
        }
    }
}

/// Lists of every format: each line is an entry or a bad line, never both; badkeys' search ends.
///
/// # Panics
/// When an invariant does not hold.
pub fn lists(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let lines = text.lines().count();
    for read in [List::sslbl, List::certificates, List::keys, List::serials, List::indicators] {
        let list = read(&text);
        let entries = list.certificates.len()
            + list.keys.len()
            + list.serials.len()
            + list.bare_serials.len()
            + list.fingerprints.len()
            + list.names.len()
            + list.addresses.len();
        assert!(entries + list.bad_lines.len() <= lines, "{entries} entries in {lines} lines");
        assert!(list.bad_lines.is_sorted() && list.bad_lines.iter().all(|line| (1..=lines).contains(line)));
        for line in text.lines().take(8) {
            let _ = (list.name(line), list.serial(line.as_bytes()), line.parse().ok().map(|at| list.address(at)));
        }
    }
    let mut reads = 0;
    let hash = input.first_chunk::<32>().copied().unwrap_or_default();
    let _ = badkeys_list(&hash, u64::try_from(input.len() / BADKEYS_ENTRY).unwrap_or(0), |index| {
        reads += 1;
        let start = usize::try_from(index).ok()?.checked_mul(BADKEYS_ENTRY)?;
        input.get(start..)?.first_chunk().copied()
    });
    assert!(reads <= 64, "{reads} entries read");
}

/// A certificate revocation list, DER or PEM: bounded by its file; the signature check takes any bytes.
///
/// # Panics
/// When an invariant does not hold.
pub fn crl(input: &[u8]) {
    let key = PublicKey {
        kind: KeyKind::Rsa,
        modulus: [0xc5; 256].into(),
        exponent: [1, 0, 1].into(),
        ..PublicKey::default()
    };
    let Ok(crls) = Crl::read(input) else { return };
    for crl in crls {
        assert!(crl.unusable.is_none() || crl.scope == Scope::default(), "half of what it is about");
        let now = ValidityTime(1_717_243_200);
        for (serial, is_ca) in [(&[1][..], false), (&[], true)] {
            let _ = (crl.is_stale(now), crl.revoked(&About { serial, is_ca, urls: &[] }, now));
        }
        let forged = crl.is_signed(|signed, oid, signature| {
            matches!(
                verify(&key, Algorithm { oid, parameters: &[5, 0] }, signed, signature),
                crate::x509::signature::Verdict::Good
            )
        });
        assert!(!forged, "signed with a key that nobody has");
    }
}

/// Trust anchors in PEM or DER: as many as were found and no more.
///
/// # Panics
/// When an invariant does not hold.
pub fn roots(input: &[u8]) {
    let mut anchors = TrustAnchors::default();
    let added = anchors.add_file(input);
    assert!(anchors.len() <= added, "anchors from nowhere");
    let octets: usize = pem(input).iter().map(Vec::len).sum();
    assert!(octets <= input.len(), "PEM grows");
}

/// Words of the command line and of policy files, and events that `explain` reads: none is dangerous to print.
///
/// # Panics
/// When an invariant does not hold.
pub fn words(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let _ = Timestamp::parse(&text).map(|time| time.rfc3339().to_string());
    let _ = (CertificateHash::parse(&text), digest(&text), octets(&text));
    let _ = (registrable_domain(&text), has_public_suffix(&text));
    if let Ok(pattern) = text.parse::<HostPattern>() {
        let _ = pattern.matches_name(&text);
    }
    if let Ok(network) = text.parse::<Cidr>() {
        assert!(network.covers(network), "a network holds itself");
    }
    if let Ok(pattern) = NamePattern::parse(&text) {
        let values = [text.to_string()];
        let _ = pattern.matches(|_| &values);
    }
    let safe = printable(&text);
    assert!(!safe.chars().any(char::is_control), "a control character");
    assert_eq!(printable(&safe), safe, "what is safe stays as it is");
    if let Ok(event) = serde_json::from_slice::<serde_json::Value>(input) {
        let _ = alert_id(&event);
        let page = explain(&event);
        assert!(!page.chars().any(|one| one.is_control() && one != '\n'), "a control character in {page:?}");
    }
}
