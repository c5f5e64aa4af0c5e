//! SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7): algorithm, size, curve, numbers.

use super::curve::EXPLICIT;
use super::der::{self, Element, Reader};
use super::{KeyKind, PublicKey};

/// OID, name and field size in bits of the curves met in certificates.
const CURVES: [(&str, &str, u32); 13] = [
    ("1.2.840.10045.3.1.7", "secp256r1", 256),
    ("1.3.132.0.34", "secp384r1", 384),
    ("1.3.132.0.35", "secp521r1", 521),
    ("1.3.132.0.10", "secp256k1", 256),
    ("1.3.132.0.33", "secp224r1", 224),
    ("1.2.840.10045.3.1.1", "secp192r1", 192),
    ("1.3.36.3.3.2.8.1.1.7", "brainpoolP256r1", 256),
    ("1.3.36.3.3.2.8.1.1.11", "brainpoolP384r1", 384),
    ("1.3.36.3.3.2.8.1.1.13", "brainpoolP512r1", 512),
    ("1.2.156.10197.1.301", "curveSM2", 256),
    ("1.3.132.0.8", "secp160r1", 160),
    ("1.3.132.0.31", "secp192k1", 192),
    ("1.3.132.0.32", "secp224k1", 224),
];

/// Reads a SubjectPublicKeyInfo. Never fails: what cannot be read is left empty, and `odd` is told.
pub(crate) fn parse(spki: &Element<'_>, odd: &mut Vec<&'static str>) -> PublicKey {
    let mut key = PublicKey::default();
    let mut fields = spki.reader();
    let Some(algorithm) = fields.tagged(der::SEQUENCE) else {
        super::note(odd, "malformed_key");
        return key;
    };
    let mut algorithm = algorithm.reader();
    let parameters = algorithm.tagged(der::OID).and_then(|oid| {
        key.oid = der::dotted(oid.content);
        algorithm.element()
    });
    match fields.element().and_then(|bits| bits.bits()) {
        Some(bits) => key.bytes = bits.into(),
        None => super::note(odd, "malformed_key"),
    }
    match key.oid.as_str() {
        "1.2.840.113549.1.1.1" | "2.5.8.1.1" => key.read_rsa(KeyKind::Rsa, odd),
        "1.2.840.113549.1.1.10" => key.read_rsa(KeyKind::RsaPss, odd),
        "1.2.840.10045.2.1" => key.read_curve(parameters),
        "1.2.840.10040.4.1" => {
            key.kind = KeyKind::Dsa;
            let prime = parameters.and_then(|sequence| sequence.reader().tagged(der::INTEGER));
            key.bits = prime.map_or(0, |prime| bit_length(unsigned(prime.content)));
        }
        "1.3.101.112" => key.become_edwards(KeyKind::Ed25519, 256),
        "1.3.101.113" => key.become_edwards(KeyKind::Ed448, 456),
        "1.3.101.110" => key.curve = Some("x25519".to_owned()),
        "1.3.101.111" => key.curve = Some("x448".to_owned()),
        _ => {}
    }
    key
}

impl PublicKey {
    /// Name of the algorithm as Go's library and ECS have it (`RSA`, `ECDSA`), or the OID.
    pub fn algorithm_name(&self) -> &str {
        match self.kind {
            KeyKind::Rsa => "RSA",
            KeyKind::RsaPss => "RSASSA-PSS",
            KeyKind::Ec => "ECDSA",
            KeyKind::Ed25519 => "Ed25519",
            KeyKind::Ed448 => "Ed448",
            KeyKind::Dsa => "DSA",
            KeyKind::Other => match self.oid.as_str() {
                "1.3.101.110" => "X25519",
                "1.3.101.111" => "X448",
                "2.16.840.1.101.3.4.3.17" => "ML-DSA-44",
                "2.16.840.1.101.3.4.3.18" => "ML-DSA-65",
                "2.16.840.1.101.3.4.3.19" => "ML-DSA-87",
                oid => oid,
            },
        }
    }

    /// The RSA exponent as a number; `None` for other keys, for exponents beyond 63 bits and for negative ones.
    pub fn exponent_number(&self) -> Option<i64> {
        if self.exponent.is_empty() || self.exponent.len() > 8 || self.negative_exponent {
            return None;
        }
        i64::try_from(self.exponent.iter().fold(0_u64, |sum, octet| (sum << 8) | u64::from(*octet))).ok()
    }

    fn read_rsa(&mut self, kind: KeyKind, odd: &mut Vec<&'static str>) {
        self.kind = kind;
        let mut numbers = Reader::new(&self.bytes).tagged(der::SEQUENCE).map(|sequence| sequence.reader());
        let mut number = || {
            numbers.as_mut()?.tagged(der::INTEGER).map(|integer| {
                let negative = integer.content.first().is_some_and(|first| first & 0x80 != 0);
                (Box::from(unsigned(integer.content)), negative)
            })
        };
        if let (Some((modulus, negative)), Some((exponent, negative_exponent))) = (number(), number()) {
            if negative {
                super::note(odd, "negative_modulus");
            }
            if negative_exponent {
                super::note(odd, "negative_exponent");
            }
            self.negative_exponent = negative_exponent;
            self.bits = bit_length(&modulus);
            self.modulus = modulus;
            self.exponent = exponent;
        } else {
            super::note(odd, "malformed_key");
        }
    }

    fn read_curve(&mut self, parameters: Option<Element<'_>>) {
        self.kind = KeyKind::Ec;
        let known = parameters.filter(|parameters| parameters.tag == der::OID).map(|oid| der::dotted(oid.content));
        match known {
            Some(oid) => match CURVES.iter().find(|(known, _, _)| *known == oid) {
                Some((_, name, bits)) => {
                    self.bits = *bits;
                    self.curve = Some((*name).to_owned());
                }
                None => self.curve = Some(oid),
            },
            None => {
                self.bits = parameters.and_then(|explicit| explicit_field(&explicit)).unwrap_or(0);
                self.curve = parameters.map(|_| EXPLICIT.to_owned());
            }
        }
    }

    fn become_edwards(&mut self, kind: KeyKind, bits: u32) {
        self.kind = kind;
        self.bits = bits;
        self.curve = Some(if kind == KeyKind::Ed25519 { "ed25519" } else { "ed448" }.to_owned());
    }
}

/// Field size of ECParameters spelled out (RFC 3279 section 2.3.5): bits of the prime.
fn explicit_field(parameters: &Element<'_>) -> Option<u32> {
    let mut fields = parameters.reader();
    fields.tagged(der::INTEGER)?;
    let mut field = fields.tagged(der::SEQUENCE)?.reader();
    field.tagged(der::OID)?;
    field.tagged(der::INTEGER).map(|prime| bit_length(unsigned(prime.content)))
}

/// Contents of an INTEGER without leading zeros.
pub(crate) fn unsigned(content: &[u8]) -> &[u8] {
    let zeros = content.iter().take_while(|octet| **octet == 0).count();
    content.get(zeros..).unwrap_or_default()
}

/// Bits of a big-endian number.
pub(crate) fn bit_length(number: &[u8]) -> u32 {
    let number = unsigned(number);
    let Some(first) = number.first() else { return 0 };
    u32::try_from(number.len()).unwrap_or(u32::MAX).saturating_mul(8).saturating_sub(first.leading_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_exponent_is_no_other_number() {
        for (exponent, number, oddities) in [(0x03, Some(3), &[][..]), (0xfd, None, &["negative_exponent"])] {
            let numbers = [0x30, 6, 2, 1, 0x7f, 2, 1, exponent];
            let algorithm = [0x30, 11, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
            let spki = [&[0x30, 24][..], &algorithm, &[3, 9, 0], &numbers].concat();
            let mut odd = Vec::new();
            let key = parse(&Reader::new(&spki).tagged(der::SEQUENCE).unwrap(), &mut odd);
            assert_eq!((key.exponent_number(), odd.as_slice()), (number, oddities), "{key:?}");
            assert_eq!(*key.exponent, [exponent]);
        }
    }

    #[test]
    fn bit_lengths_ignore_leading_zeros() {
        for (number, bits) in [(&[][..], 0), (&[0], 0), (&[1], 1), (&[0, 0x80], 8), (&[1, 0], 9), (&[0xff; 256], 2048)]
        {
            assert_eq!(bit_length(number), bits);
        }
    }

    #[test]
    fn exponents_beyond_63_bits_are_no_number() {
        let key = |exponent: &[u8]| PublicKey { exponent: exponent.into(), ..PublicKey::default() }.exponent_number();
        assert_eq!(key(&[1, 0, 1]), Some(65_537));
        assert_eq!(key(&[0x7f, 255, 255, 255, 255, 255, 255, 255]), Some(i64::MAX));
        assert_eq!(key(&[0x80, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(key(&[1; 9]), None);
        assert_eq!(key(&[]), None);
    }
}
