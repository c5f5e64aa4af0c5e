//! Signatures: good, bad, or not to be judged, under a given key.
//!
//! Three libraries share the work: ring where it can (fast), the p256/p384/p521 crates for the pairs of curve and hash
//! that ring lacks, and [`super::rsa`] over big integers for keys and hashes that ring refuses. What none of them can
//! judge is [`Verdict::Unknown`]: a sensor must never call a signature forged because its library is choosy.

use ring::signature as fast;

use super::der::{self, Reader};
use super::{Certificate, KeyKind, PublicKey, key, rsa};
use md5::Digest as _;

/// What can be said about a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The key made it over this message.
    Good,
    /// The key did not make it over this message.
    Bad,
    /// It cannot be checked here; why.
    Unknown(&'static str),
}

impl Verdict {
    fn of(good: bool) -> Self {
        if good { Self::Good } else { Self::Bad }
    }
}

/// A hash function under a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Hash {
    /// MD5.
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Hash {
    /// All of them, for trying.
    pub(crate) const ALL: [Self; 6] = [Self::Sha256, Self::Sha1, Self::Sha384, Self::Sha512, Self::Sha224, Self::Md5];

    /// The digest of `message`.
    pub(crate) fn digest(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Md5 => md5::Md5::digest(message).to_vec(),
            Self::Sha1 => sha1::Sha1::digest(message).to_vec(),
            Self::Sha224 => sha2::Sha224::digest(message).to_vec(),
            Self::Sha256 => sha2::Sha256::digest(message).to_vec(),
            Self::Sha384 => sha2::Sha384::digest(message).to_vec(),
            Self::Sha512 => sha2::Sha512::digest(message).to_vec(),
        }
    }

    fn of_oid(oid: &str) -> Option<Self> {
        match oid {
            "1.2.840.113549.2.5" => Some(Self::Md5),
            "1.3.14.3.2.26" => Some(Self::Sha1),
            "2.16.840.1.101.3.4.2.4" => Some(Self::Sha224),
            "2.16.840.1.101.3.4.2.1" => Some(Self::Sha256),
            "2.16.840.1.101.3.4.2.2" => Some(Self::Sha384),
            "2.16.840.1.101.3.4.2.3" => Some(Self::Sha512),
            _ => None,
        }
    }
}

/// How a signature was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// RSASSA-PKCS1-v1_5.
    Pkcs1(Hash),
    /// RSA over MD5 and SHA-1 side by side without DigestInfo (RFC 4346 section 7.4.3).
    Md5Sha1,
    /// RSASSA-PSS: hash, hash of MGF1, octets of salt.
    Pss(Hash, Hash, usize),
    /// ECDSA with a DER signature.
    Ecdsa(Hash),
    /// Ed25519.
    Ed25519,
}

/// Judges the signature of a certificate under the key of its issuer. The signed bytes are the TBSCertificate as it
/// was on the wire.
pub fn verify_certificate(certificate: &Certificate, key: &PublicKey) -> Verdict {
    let Some(facts) = certificate.facts.as_deref() else {
        return Verdict::Unknown("the certificate does not parse");
    };
    let Some(message) = certificate.der.get(facts.tbs.clone()) else {
        return Verdict::Unknown("the certificate does not parse");
    };
    let algorithm = Algorithm { oid: &facts.signature_oid, parameters: &facts.signature_parameters };
    verify(key, algorithm, message, &facts.signature)
}

/// An AlgorithmIdentifier.
#[derive(Clone, Copy, Debug)]
pub struct Algorithm<'a> {
    /// OID, dotted.
    pub oid: &'a str,
    /// Parameters as DER, empty without.
    pub parameters: &'a [u8],
}

/// Judges a signature made by an X.509 signature algorithm (RFC 3279, RFC 4055, RFC 5758, RFC 8410).
pub fn verify(key: &PublicKey, algorithm: Algorithm<'_>, message: &[u8], signature: &[u8]) -> Verdict {
    let scheme = match algorithm.oid {
        "1.2.840.113549.1.1.4" | "1.3.14.3.2.3" | "1.3.14.3.2.25" => Scheme::Pkcs1(Hash::Md5),
        "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" => Scheme::Pkcs1(Hash::Sha1),
        "1.2.840.113549.1.1.14" => Scheme::Pkcs1(Hash::Sha224),
        "1.2.840.113549.1.1.11" => Scheme::Pkcs1(Hash::Sha256),
        "1.2.840.113549.1.1.12" => Scheme::Pkcs1(Hash::Sha384),
        "1.2.840.113549.1.1.13" => Scheme::Pkcs1(Hash::Sha512),
        "1.2.840.113549.1.1.10" => match pss_parameters(algorithm.parameters) {
            Some(scheme) => scheme,
            None => return Verdict::Unknown("RSASSA-PSS parameters are not understood"),
        },
        "1.2.840.10045.4.1" => Scheme::Ecdsa(Hash::Sha1),
        "1.2.840.10045.4.3.1" => Scheme::Ecdsa(Hash::Sha224),
        "1.2.840.10045.4.3.2" => Scheme::Ecdsa(Hash::Sha256),
        "1.2.840.10045.4.3.3" => Scheme::Ecdsa(Hash::Sha384),
        "1.2.840.10045.4.3.4" => Scheme::Ecdsa(Hash::Sha512),
        "1.3.101.112" => Scheme::Ed25519,
        _ => return Verdict::Unknown("the signature algorithm is not supported"),
    };
    check(key, scheme, message, signature)
}

/// Judges the signature of a ServerKeyExchange or CertificateVerify: by SignatureScheme from TLS 1.2 on, else (`None`)
/// as RFC 4346 section 7.4.3 says for the kind of key.
pub fn verify_tls(key: &PublicKey, scheme: Option<u16>, message: &[u8], signature: &[u8]) -> Verdict {
    match tls_scheme(key, scheme) {
        Ok(scheme) => check(key, scheme, message, signature),
        Err(reason) => Verdict::Unknown(reason),
    }
}

/// The scheme behind a SignatureScheme code (RFC 5246 section 7.4.1.4.1, RFC 8446 section 4.2.3).
pub(crate) fn tls_scheme(key: &PublicKey, scheme: Option<u16>) -> Result<Scheme, &'static str> {
    let Some(code) = scheme else {
        return match key.kind {
            KeyKind::Rsa | KeyKind::RsaPss => Ok(Scheme::Md5Sha1),
            KeyKind::Ec => Ok(Scheme::Ecdsa(Hash::Sha1)),
            _ => Err("the kind of key is not supported"),
        };
    };
    match code {
        0x0804 | 0x0809 => return Ok(Scheme::Pss(Hash::Sha256, Hash::Sha256, 32)),
        0x0805 | 0x080a => return Ok(Scheme::Pss(Hash::Sha384, Hash::Sha384, 48)),
        0x0806 | 0x080b => return Ok(Scheme::Pss(Hash::Sha512, Hash::Sha512, 64)),
        0x0807 => return Ok(Scheme::Ed25519),
        _ => {}
    }
    let [hash, kind] = code.to_be_bytes();
    let hash = match hash {
        1 => Hash::Md5,
        2 => Hash::Sha1,
        3 => Hash::Sha224,
        4 => Hash::Sha256,
        5 => Hash::Sha384,
        6 => Hash::Sha512,
        _ => return Err("the signature scheme is not supported"),
    };
    match kind {
        1 => Ok(Scheme::Pkcs1(hash)),
        3 => Ok(Scheme::Ecdsa(hash)),
        _ => Err("the signature scheme is not supported"),
    }
}

fn check(key: &PublicKey, scheme: Scheme, message: &[u8], signature: &[u8]) -> Verdict {
    match (scheme, key.kind) {
        (Scheme::Pkcs1(_) | Scheme::Md5Sha1 | Scheme::Pss(..), KeyKind::Rsa | KeyKind::RsaPss) => {
            if key.modulus.is_empty() || key.exponent.is_empty() {
                return Verdict::Unknown("the key does not parse");
            }
            // ring says no to much that is only unusual: the slow way has the last word.
            match ring_rsa(key, scheme, message, signature) {
                true => Verdict::Good,
                false => rsa::verify(key, scheme, message, signature),
            }
        }
        (Scheme::Ecdsa(hash), KeyKind::Ec) => ecdsa(key, hash, message, signature),
        (Scheme::Ed25519, KeyKind::Ed25519) => {
            if key.bytes.len() != 32 {
                return Verdict::Unknown("the key does not parse");
            }
            Verdict::of(fast::UnparsedPublicKey::new(&fast::ED25519, &key.bytes).verify(message, signature).is_ok())
        }
        (_, KeyKind::Rsa | KeyKind::RsaPss | KeyKind::Ec | KeyKind::Ed25519) => Verdict::Bad,
        _ => Verdict::Unknown("the kind of key is not supported"),
    }
}

fn ring_rsa(key: &PublicKey, scheme: Scheme, message: &[u8], signature: &[u8]) -> bool {
    let algorithm = match scheme {
        Scheme::Pkcs1(Hash::Sha1) => &fast::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
        Scheme::Pkcs1(Hash::Sha256) => &fast::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        Scheme::Pkcs1(Hash::Sha384) => &fast::RSA_PKCS1_2048_8192_SHA384,
        Scheme::Pkcs1(Hash::Sha512) => &fast::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
        Scheme::Pss(Hash::Sha256, Hash::Sha256, 32) => &fast::RSA_PSS_2048_8192_SHA256,
        Scheme::Pss(Hash::Sha384, Hash::Sha384, 48) => &fast::RSA_PSS_2048_8192_SHA384,
        Scheme::Pss(Hash::Sha512, Hash::Sha512, 64) => &fast::RSA_PSS_2048_8192_SHA512,
        _ => return false,
    };
    let components = fast::RsaPublicKeyComponents { n: &key.modulus, e: &key.exponent };
    components.verify(algorithm, message, signature).is_ok()
}

/// RSASSA-PSS-params of RFC 4055 section 3.1 with its defaults.
fn pss_parameters(parameters: &[u8]) -> Option<Scheme> {
    let algorithm_hash = |element: der::Element<'_>| {
        let algorithm = element.reader().tagged(der::SEQUENCE)?;
        Hash::of_oid(&der::dotted(algorithm.reader().tagged(der::OID)?.content))
    };
    let mut fields = Reader::new(parameters).tagged(der::SEQUENCE)?.reader();
    let hash = match fields.tagged(0xa0) {
        Some(element) => algorithm_hash(element)?,
        None => Hash::Sha1,
    };
    let mask = match fields.tagged(0xa1) {
        Some(element) => {
            let mut algorithm = element.reader().tagged(der::SEQUENCE)?.reader();
            // id-mgf1; its parameters are an AlgorithmIdentifier.
            if der::dotted(algorithm.tagged(der::OID)?.content) != "1.2.840.113549.1.1.8" {
                return None;
            }
            Hash::of_oid(&der::dotted(algorithm.tagged(der::SEQUENCE)?.reader().tagged(der::OID)?.content))?
        }
        None => Hash::Sha1,
    };
    let salt = match fields.tagged(0xa2) {
        Some(element) => match key::unsigned(element.reader().tagged(der::INTEGER)?.content) {
            [] => 0,
            [length] => usize::from(*length),
            [high, low] => usize::from(u16::from_be_bytes([*high, *low])),
            _ => return None,
        },
        None => 20,
    };
    match fields.tagged(0xa3) {
        Some(trailer) if trailer.reader().tagged(der::INTEGER)?.content != [1] => None,
        _ => Some(Scheme::Pss(hash, mask, salt)),
    }
}

fn ecdsa(key: &PublicKey, hash: Hash, message: &[u8], signature: &[u8]) -> Verdict {
    let ring_algorithm = match (key.curve.as_deref(), hash) {
        (Some("secp256r1"), Hash::Sha256) => Some(&fast::ECDSA_P256_SHA256_ASN1),
        (Some("secp256r1"), Hash::Sha384) => Some(&fast::ECDSA_P256_SHA384_ASN1),
        (Some("secp384r1"), Hash::Sha256) => Some(&fast::ECDSA_P384_SHA256_ASN1),
        (Some("secp384r1"), Hash::Sha384) => Some(&fast::ECDSA_P384_SHA384_ASN1),
        _ => None,
    };
    if let Some(algorithm) = ring_algorithm
        && fast::UnparsedPublicKey::new(algorithm, &key.bytes).verify(message, signature).is_ok()
    {
        return Verdict::Good;
    }
    let digest = hash.digest(message);
    let Some((r, s)) = ecdsa_numbers(signature) else {
        return Verdict::Bad;
    };
    // Where nothing is unusual, ring's no is the last word.
    let settled = ring_algorithm.is_some() && key.bytes.first() == Some(&4) && is_canonical(signature, r, s);
    match key.curve.as_deref() {
        Some("secp256r1") => p256_verdict(&key.bytes, (&digest, settled), r, s),
        Some("secp384r1") => p384_verdict(&key.bytes, (&digest, settled), r, s),
        Some("secp521r1") => p521_verdict(&key.bytes, (&digest, settled), r, s),
        _ => Verdict::Unknown("the curve is not supported"),
    }
}

macro_rules! curve_verdict {
    ($name:ident, $curve:ident, $octets:literal) => {
        fn $name(point: &[u8], (digest, settled): (&[u8], bool), r: &[u8], s: &[u8]) -> Verdict {
            use $curve::ecdsa::signature::hazmat::PrehashVerifier;

            let Ok(key) = $curve::ecdsa::VerifyingKey::from_sec1_bytes(point) else {
                return Verdict::Unknown("the key is no point of its curve");
            };
            let (Some(r), Some(s)) = (left_padded::<$octets>(r), left_padded::<$octets>(s)) else {
                return Verdict::Bad;
            };
            let Ok(signature) = $curve::ecdsa::Signature::from_scalars(r, s) else {
                return Verdict::Bad;
            };
            if settled {
                return Verdict::Bad;
            }
            // The crates refuse hashes shorter than half the field, so the number is spelled out: the leftmost bits of
            // a long digest, a short one with zeros before it (FIPS 186-5 section 6.4.2).
            let leftmost = digest.get(..$octets).unwrap_or(digest);
            let Some(number) = left_padded::<$octets>(leftmost) else {
                return Verdict::Bad;
            };
            Verdict::of(key.verify_prehash(&number, &signature).is_ok())
        }
    };
}

curve_verdict!(p256_verdict, p256, 32);
curve_verdict!(p384_verdict, p384, 48);
curve_verdict!(p521_verdict, p521, 66);

/// `r` of an Ecdsa-Sig-Value (RFC 3279 section 2.2.3): it stands for the nonce.
pub fn ecdsa_r(signature: &[u8]) -> Option<&[u8]> {
    ecdsa_numbers(signature).map(|(r, _)| r)
}

/// Ecdsa-Sig-Value (RFC 3279 section 2.2.3) as two numbers.
fn ecdsa_numbers(signature: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut numbers = Reader::new(signature).tagged(der::SEQUENCE)?.reader();
    let r = numbers.tagged(der::INTEGER)?;
    let s = numbers.tagged(der::INTEGER)?;
    let positive = |number: &[u8]| number.first().is_some_and(|first| *first < 0x80);
    if !positive(r.content) || !positive(s.content) {
        return None;
    }
    Some((key::unsigned(r.content), key::unsigned(s.content)))
}

/// The signature is the DER of these numbers and nothing else.
fn is_canonical(signature: &[u8], r: &[u8], s: &[u8]) -> bool {
    let mut integers = Vec::with_capacity(signature.len());
    for number in [r, s] {
        let sign = number.first().is_none_or(|first| *first >= 0x80);
        let Ok(length) = u8::try_from(number.len() + usize::from(sign)) else { return false };
        integers.extend([der::INTEGER, length]);
        integers.extend(sign.then_some(0));
        integers.extend_from_slice(number);
    }
    // Both numbers of every curve that ring has fit in a length of one octet.
    let [tag, length, rest @ ..] = signature else { return false };
    *tag == der::SEQUENCE && *length < 0x80 && usize::from(*length) == rest.len() && rest == integers
}

fn left_padded<const N: usize>(number: &[u8]) -> Option<[u8; N]> {
    let mut octets = [0; N];
    octets.get_mut(N.checked_sub(number.len())?..)?.copy_from_slice(number);
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str) -> Certificate {
        let path = format!("{}/tests/data/x509/{name}.der", env!("CARGO_MANIFEST_DIR"));
        Certificate::parse(&std::fs::read(path).unwrap())
    }

    fn own_verdict(certificate: &Certificate) -> Verdict {
        verify_certificate(certificate, &certificate.facts.as_ref().unwrap().key)
    }

    const VERIFIABLE: [&str; 40] = [
        "full",
        "ca",
        "rsa512-md5",
        "rsa512-sha1",
        "rsa1024-md5",
        "rsa1024-sha1",
        "rsa1024-sha256",
        "rsa1024-sha512",
        "rsa1031-sha256",
        "rsa2048-md5",
        "rsa2048-sha1",
        "rsa2048-sha224",
        "rsa2048-sha384",
        "rsa2048-sha512",
        "rsa8192-sha256",
        "rsa-e3",
        "rsa-big-e",
        "pss-sha1",
        "pss-sha256",
        "pss-sha384",
        "pss-sha512",
        "pss-digestsalt",
        "pss-1025",
        "pss-mgf1-sha1",
        "ec-P-256-sha1",
        "ec-P-256-sha224",
        "ec-P-256-sha256",
        "ec-P-256-sha384",
        "ec-P-256-sha512",
        "ec-P-384-sha1",
        "ec-P-384-sha224",
        "ec-P-384-sha256",
        "ec-P-384-sha384",
        "ec-P-384-sha512",
        "ec-P-521-sha1",
        "ec-P-521-sha224",
        "ec-P-521-sha256",
        "ec-P-521-sha384",
        "ec-P-521-sha512",
        "ed25519",
    ];

    #[test]
    fn every_kind_verifies_and_a_changed_one_does_not() {
        for name in VERIFIABLE.into_iter().chain(["psskey", "v1-negative-serial", "names-bmp"]) {
            let mut certificate = sample(name);
            assert_eq!(own_verdict(&certificate), Verdict::Good, "{name}");
            let tbs = certificate.facts.as_ref().unwrap().tbs.clone();
            certificate.der[tbs.start + 20] ^= 1;
            assert_eq!(own_verdict(&certificate), Verdict::Bad, "{name}: message changed");
            certificate.der[tbs.start + 20] ^= 1;
            let facts = certificate.facts.as_mut().unwrap();
            let last = facts.signature.len() - 1;
            facts.signature[last] ^= 1;
            assert_eq!(own_verdict(&certificate), Verdict::Bad, "{name}: signature changed");
        }
    }

    #[test]
    fn parameters_of_pss_have_defaults_and_one_trailer() {
        let sha1 = Some(Scheme::Pss(Hash::Sha1, Hash::Sha1, 20));
        for (parameters, scheme) in [
            (&[0x30, 0][..], sha1),
            (&[0x30, 5, 0xa3, 3, 2, 1, 1], sha1),
            (&[0x30, 5, 0xa3, 3, 2, 1, 2], None),
            (&[0x30, 5, 0xa2, 3, 2, 1, 32], Some(Scheme::Pss(Hash::Sha1, Hash::Sha1, 32))),
            (&[5, 0], None),
        ] {
            assert_eq!(pss_parameters(parameters), scheme, "{parameters:02x?}");
        }
    }

    #[test]
    fn what_cannot_be_checked_is_not_called_bad() {
        for name in ["ec-secp256k1", "ec-explicit", "ed448", "dsa"] {
            assert!(matches!(own_verdict(&sample(name)), Verdict::Unknown(_)), "{name}");
        }
    }

    #[test]
    fn another_key_is_bad_and_no_input_panics() {
        let certificates: Vec<_> = VERIFIABLE.map(sample).into_iter().collect();
        let other = &sample("rsa2048-sha1").facts.unwrap().key;
        for (name, certificate) in VERIFIABLE.iter().zip(&certificates) {
            if *name != "rsa2048-sha1" {
                assert_eq!(verify_certificate(certificate, other), Verdict::Bad, "{name}");
            }
            let key = &certificate.facts.as_ref().unwrap().key;
            for scheme in [None, Some(0x0401), Some(0x0403), Some(0x0804), Some(0x0807), Some(0x0202), Some(0xffff)] {
                for signature in [&[][..], &[0; 64], &[0xff; 256], &[0x30, 0x06, 2, 1, 1, 2, 1, 1]] {
                    assert_ne!(verify_tls(key, scheme, b"message", signature), Verdict::Good, "{name} {scheme:?}");
                }
            }
        }
    }

    /// What is right is no forgery, however unusual: ring refuses such encodings and such keys.
    #[test]
    fn unusual_encodings_and_keys_verify_as_well() {
        let verdict = |certificate: &Certificate, change: &dyn Fn(&mut crate::x509::Facts)| {
            let mut changed = certificate.clone();
            change(changed.facts.as_mut().unwrap());
            own_verdict(&changed)
        };
        for name in ["ec-P-256-sha256", "ec-P-384-sha384"] {
            let certificate = sample(name);
            let facts = certificate.facts.as_ref().unwrap();
            let (r, s) = ecdsa_numbers(&facts.signature).unwrap();
            assert!(is_canonical(&facts.signature, r, s));
            let integer = |number: &[u8], zeros: usize| {
                let content = [&vec![0; zeros + usize::from(number[0] >= 0x80)][..], number].concat();
                [&[der::INTEGER, u8::try_from(content.len()).unwrap()][..], &content].concat()
            };
            let signature = |length: &[u8], zeros: usize, behind: &[u8]| {
                let numbers = [integer(r, zeros), integer(s, 0), behind.to_vec()].concat();
                let short = u8::try_from(numbers.len()).unwrap();
                [&[der::SEQUENCE][..], length, &[short], &numbers].concat()
            };
            assert_eq!(signature(&[], 0, &[]), *facts.signature);
            for unusual in [signature(&[0x81], 0, &[]), signature(&[], 1, &[]), signature(&[], 0, &[5, 0])] {
                assert!(!is_canonical(&unusual, r, s));
                assert_eq!(verdict(&certificate, &|facts| facts.signature = unusual.clone().into()), Verdict::Good);
                let forged = |facts: &mut crate::x509::Facts| {
                    facts.signature = unusual.clone().into();
                    facts.signature[12] ^= 1;
                };
                assert_eq!(verdict(&certificate, &forged), Verdict::Bad);
            }
            // The point compressed (SEC 1 section 2.3.3).
            let half = facts.key.bytes.len() / 2;
            let compressed = [&[2 + (facts.key.bytes[2 * half] & 1)][..], &facts.key.bytes[1..=half]].concat();
            assert_eq!(verdict(&certificate, &|facts| facts.key.bytes = compressed.clone().into()), Verdict::Good);
        }
    }
}
