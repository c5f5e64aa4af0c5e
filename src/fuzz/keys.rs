//! Keys, signatures and chains that somebody else made up.

use std::sync::Arc;

use super::chunk;
use crate::time::ValidityTime;
use crate::x509::batch_gcd::{Shared, shared_factors};
use crate::x509::chain::{Budget, SignatureMemo, Verifier};
use crate::x509::coprime::are_coprime;
use crate::x509::judge::{Purpose, Question, judge};
use crate::x509::name::{matches_host, matches_pattern};
use crate::x509::roots::{Pool, TrustAnchors};
use crate::x509::rsa::fault;
use crate::x509::signature::{Algorithm, Verdict, ecdsa_r, verify, verify_tls};
use crate::x509::{Certificate, KeyKind, PublicKey};

const OIDS: [&str; 8] = [
    "1.2.840.113549.1.1.4",
    "1.2.840.113549.1.1.5",
    "1.2.840.113549.1.1.11",
    "1.2.840.113549.1.1.10",
    "1.2.840.10045.4.1",
    "1.2.840.10045.4.3.2",
    "1.2.840.10045.4.3.4",
    "1.3.101.112",
];

const CURVES: [&str; 4] = ["secp256r1", "secp384r1", "secp521r1", "x25519"];

const SCHEMES: [Option<u16>; 10] = [
    None,
    Some(0x0101),
    Some(0x0201),
    Some(0x0401),
    Some(0x0601),
    Some(0x0403),
    Some(0x0503),
    Some(0x0804),
    Some(0x0807),
    Some(0x0203),
];

/// A key, a message and a signature: `kind, scheme, curve, (length: u16, bytes)*` with modulus, exponent, point,
/// parameters, signature, and the rest as message. Ends in bounded time, gives the same verdict twice.
///
/// # Panics
/// When an invariant does not hold.
pub fn signature(input: &[u8]) {
    let Some((&[kind, scheme, curve], mut rest)) = input.split_first_chunk::<3>() else { return };
    let mut next = || {
        let Some((part, behind)) = chunk(rest) else { return Vec::new() };
        rest = behind;
        part.to_vec()
    };
    let kinds = [KeyKind::Rsa, KeyKind::RsaPss, KeyKind::Ec, KeyKind::Ed25519, KeyKind::Dsa];
    let stripped = |number: Vec<u8>| number.into_iter().skip_while(|octet| *octet == 0).collect::<Box<[u8]>>();
    let modulus = stripped(next());
    let key = PublicKey {
        kind: kinds.get(usize::from(kind) % kinds.len()).copied().unwrap_or_default(),
        bits: u32::try_from(modulus.len() * 8).unwrap_or(0),
        curve: CURVES.get(usize::from(curve) % CURVES.len()).map(|curve| (*curve).to_owned()),
        modulus,
        exponent: stripped(next()),
        bytes: next().into(),
        ..PublicKey::default()
    };
    let (parameters, signature) = (next(), next());
    let oid = OIDS.get(usize::from(scheme) % OIDS.len()).copied().unwrap_or_default();
    let code = SCHEMES.get(usize::from(scheme) % SCHEMES.len()).copied().flatten();
    let ask = || {
        let algorithm = Algorithm { oid, parameters: &parameters };
        [verify(&key, algorithm, rest, &signature), verify_tls(&key, code, rest, &signature)]
    };
    assert_eq!(ask(), ask());
    let _ = (fault(&key, code, rest, &signature), ecdsa_r(&signature), key.exponent_number());
}

/// RSA moduli: `(length: u16, bytes)*`. The quick answer and the thorough one agree, and every pair has a common factor.
///
/// # Panics
/// When an invariant does not hold.
pub fn factors(input: &[u8]) {
    let mut moduli: Vec<&[u8]> = Vec::new();
    let mut rest = input;
    while let Some((modulus, behind)) = chunk(rest) {
        rest = behind;
        moduli.push(modulus);
        if moduli.len() >= 64 {
            break;
        }
    }
    let Shared { pairs, left_out } = shared_factors(&moduli, &mut |_, _| {});
    assert_eq!(left_out, 0);
    assert!(pairs.is_sorted() && pairs.iter().all(|(one, other)| one < other && *other < moduli.len()), "{pairs:?}");
    if moduli.iter().all(|modulus| modulus.len() <= 2_048)
        && let Some(coprime) = are_coprime(&moduli)
    {
        assert_eq!(coprime, pairs.is_empty(), "the quick answer differs");
    }
}

/// A chain: `(length: u16, certificate)*`. Ends within the budget, does not depend on being asked twice, and nothing is
/// trusted without an anchor.
///
/// # Panics
/// When an invariant does not hold.
pub fn chain(input: &[u8]) {
    let mut presented = Vec::new();
    let mut rest = input;
    while let Some((der, behind)) = chunk(rest) {
        rest = behind;
        presented.push(Arc::new(Certificate::parse(der)));
        if presented.len() >= 12 {
            break;
        }
    }
    let mut pool = Pool::new(1 << 20);
    for certificate in &presented {
        pool.add(certificate);
    }
    let (nobody, memo) = (TrustAnchors::default(), SignatureMemo::new(1 << 20));
    let (budget, purpose) = (Budget::default(), Purpose::Server);
    let verifier = |anchors| Verifier { anchors, pool: &pool, memo: &memo, budget, purpose };
    let question =
        Question { at: Some(ValidityTime(1_717_243_200)), name: Some("www.example.com"), purpose: Purpose::Server };
    let judged = judge(&verifier(&nobody).verify_chain(&presented), question);
    assert!(!judged.is_trusted(), "trusted by nobody");
    let mut last = TrustAnchors::default();
    if let Some(certificate) = presented.last() {
        last.add(certificate.clone());
    }
    let [one, other] =
        [verifier(&last), verifier(&last)].map(|verifier| judge(&verifier.verify_chain(&presented), question));
    assert_eq!((one.reason(), one.path), (other.reason(), other.path));
    for certificate in &presented {
        let Some(facts) = certificate.facts.as_deref() else { continue };
        let _ = matches_host(facts, "www.example.com");
        let own = crate::x509::signature::verify_certificate(certificate, &facts.key);
        assert!(own != Verdict::Good || facts.tbs.end <= certificate.der.len());
        let _ = matches_pattern(&facts.subject.normalized, "www.example.com");
    }
}
