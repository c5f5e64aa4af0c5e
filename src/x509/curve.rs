//! Curves whose parameters a key spells out (RFC 3279 section 2.3.5), where RFC 5480 section 2.1.1 wants their name.
//!
//! The point of a public key is a multiple of the generator, and the factor is the private key. Whoever may choose the
//! generator has a private key for any point: for the point itself as generator it is 1 (CVE-2020-0601).

use super::der::{self, Element, Reader};
use super::key::unsigned;
use super::{Certificate, Facts, KeyKind, PublicKey};

/// What [`PublicKey::curve`] says where the parameters are spelled out.
pub(super) const EXPLICIT: &str = "explicit";

/// Prime, a, b, x of the generator, order: upper-case hexadecimal without leading zeros; y of the generator is odd. By SEC 2
/// version 2.0 and RFC 5639.
const NAMED: [(&str, [&str; 5], bool); 7] = [
    (
        "secp256r1",
        [
            "FFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF",
            "FFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFC",
            "5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B",
            "6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296",
            "FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551",
        ],
        true,
    ),
    (
        "secp384r1",
        [
            "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFFFF0000000000000000FFFFFFFF",
            "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFFFF0000000000000000FFFFFFFC",
            "B3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF",
            "AA87CA22BE8B05378EB1C71EF320AD746E1D3B628BA79B9859F741E082542A385502F25DBF55296C3A545E3872760AB7",
            "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973",
        ],
        true,
    ),
    (
        "secp521r1",
        [
            "1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF\
                FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
            "1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF\
                FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC",
            "51953EB9618E1C9A1F929A21A0B68540EEA2DA725B99B315F3B8B489918EF109E156193951EC7E937B1652C0BD3BB1BF\
                073573DF883D2C34F1EF451FD46B503F00",
            "C6858E06B70404E9CD9E3ECB662395B4429C648139053FB521F828AF606B4D3DBAA14B5E77EFE75928FE1DC127A2FFA8\
                DE3348B3C1856A429BF97E7E31C2E5BD66",
            "1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFA51868783BF2F966B7FCC0148F709A\
                5D03BB5C9B8899C47AEBB6FB71E91386409",
        ],
        false,
    ),
    (
        "secp256k1",
        [
            "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFC2F",
            "",
            "7",
            "79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798",
            "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141",
        ],
        false,
    ),
    (
        "brainpoolP256r1",
        [
            "A9FB57DBA1EEA9BC3E660A909D838D726E3BF623D52620282013481D1F6E5377",
            "7D5A0975FC2C3057EEF67530417AFFE7FB8055C126DC5C6CE94A4B44F330B5D9",
            "26DC5C6CE94A4B44F330B5D9BBD77CBF958416295CF7E1CE6BCCDC18FF8C07B6",
            "8BD2AEB9CB7E57CB2C4B482FFC81B7AFB9DE27E1E3BD23C23A4453BD9ACE3262",
            "A9FB57DBA1EEA9BC3E660A909D838D718C397AA3B561A6F7901E0E82974856A7",
        ],
        true,
    ),
    (
        "brainpoolP384r1",
        [
            "8CB91E82A3386D280F5D6F7E50E641DF152F7109ED5456B412B1DA197FB71123ACD3A729901D1A71874700133107EC53",
            "7BC382C63D8C150C3C72080ACE05AFA0C2BEA28E4FB22787139165EFBA91F90F8AA5814A503AD4EB04A8C7DD22CE2826",
            "4A8C7DD22CE28268B39B55416F0447C2FB77DE107DCD2A62E880EA53EEB62D57CB4390295DBC9943AB78696FA504C11",
            "1D1C64F068CF45FFA2A63A81B7C13F6B8847A3E77EF14FE3DB7FCAFE0CBD10E8E826E03436D646AAEF87B2E247D4AF1E",
            "8CB91E82A3386D280F5D6F7E50E641DF152F7109ED5456B31F166E6CAC0425A7CF3AB6AF6B7FC3103B883202E9046565",
        ],
        true,
    ),
    (
        "brainpoolP512r1",
        [
            "AADD9DB8DBE9C48B3FD4E6AE33C9FC07CB308DB3B3C9D20ED6639CCA703308717D4D9B009BC66842AECDA12AE6A380E6\
                2881FF2F2D82C68528AA6056583A48F3",
            "7830A3318B603B89E2327145AC234CC594CBDD8D3DF91610A83441CAEA9863BC2DED5D5AA8253AA10A2EF1C98B9AC8B5\
                7F1117A72BF2C7B9E7C1AC4D77FC94CA",
            "3DF91610A83441CAEA9863BC2DED5D5AA8253AA10A2EF1C98B9AC8B57F1117A72BF2C7B9E7C1AC4D77FC94CADC083E67\
                984050B75EBAE5DD2809BD638016F723",
            "81AEE4BDD82ED9645A21322E9C4C6A9385ED9F70B5D916C1B43B62EEF4D0098EFF3B1F78E2D0D48D50D1687B93B97D5F\
                7C6D5047406A5E688B352209BCB9F822",
            "AADD9DB8DBE9C48B3FD4E6AE33C9FC07CB308DB3B3C9D20ED6639CCA70330870553E5C414CA92619418661197FAC1047\
                1DB1D381085DDADDB58796829CA90069",
        ],
        false,
    ),
];

/// A point of a curve over a prime field, however it is encoded (SEC 1 section 2.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point<'a> {
    /// Big-endian without leading zeros.
    pub x: &'a [u8],
    /// Lowest bit of y.
    odd: bool,
}

impl<'a> Point<'a> {
    /// The point of a key; `None` for keys of other kinds.
    pub fn of_key(key: &'a PublicKey) -> Option<Self> {
        if key.kind == KeyKind::Ec { Self::of(&key.bytes) } else { None }
    }

    fn of(octets: &'a [u8]) -> Option<Self> {
        let (form, rest) = octets.split_first()?;
        let (x, sign) = match form {
            2 | 3 => (rest, form),
            4 | 6 | 7 => {
                let (x, y) = rest.split_at_checked(rest.len() / 2)?;
                (x, y.last()?)
            }
            _ => return None,
        };
        Some(Self { x: unsigned(x), odd: sign & 1 == 1 })
    }
}

/// What defines a curve and its generator. The cofactor follows from it, and a seed proves nothing.
#[derive(Debug, PartialEq, Eq)]
struct Domain {
    numbers: [String; 5],
    odd: bool,
}

impl Domain {
    fn of(certificate: &Certificate) -> Option<Self> {
        let facts = certificate.facts.as_deref()?;
        if is_explicit(facts) {
            return Self::spelled_out(certificate.der.get(facts.spki.clone())?);
        }
        let name = facts.key.curve.as_deref()?;
        let (_, numbers, odd) = NAMED.iter().find(|(known, _, _)| *known == name)?;
        Some(Self { numbers: numbers.map(str::to_owned), odd: *odd })
    }

    fn spelled_out(spki: &[u8]) -> Option<Self> {
        let mut algorithm = Reader::new(spki).tagged(der::SEQUENCE)?.reader().tagged(der::SEQUENCE)?.reader();
        algorithm.tagged(der::OID)?;
        let mut fields = algorithm.tagged(der::SEQUENCE)?.reader();
        fields.tagged(der::INTEGER)?;
        let mut field = fields.tagged(der::SEQUENCE)?.reader();
        field.tagged(der::OID)?;
        let prime = field.tagged(der::INTEGER)?;
        let mut curve = fields.tagged(der::SEQUENCE)?.reader();
        let (a, b) = (curve.tagged(der::OCTET_STRING)?, curve.tagged(der::OCTET_STRING)?);
        let generator = Point::of(fields.tagged(der::OCTET_STRING)?.content)?;
        let order = fields.tagged(der::INTEGER)?;
        let number = |element: Element<'_>| hexadecimal(element.content);
        let numbers = [number(prime), number(a), number(b), hexadecimal(generator.x), number(order)];
        Some(Self { numbers, odd: generator.odd })
    }
}

fn hexadecimal(number: &[u8]) -> String {
    let mut text = String::with_capacity(number.len().saturating_mul(2));
    der::push_hex(&mut text, number);
    text.trim_start_matches('0').to_owned()
}

/// The key spells the parameters of its curve out.
pub fn is_explicit(facts: &Facts) -> bool {
    facts.key.kind == KeyKind::Ec && facts.key.curve.as_deref() == Some(EXPLICIT)
}

/// The key has the point of the genuine one, on parameters of its own. With the same parameters it is the same key; where
/// those of the genuine one are not known, nothing is said.
#[cold]
pub fn is_spoof(spoof: &Certificate, genuine: &Certificate) -> bool {
    let (Some(own), Some(other)) = (spoof.facts.as_deref(), genuine.facts.as_deref()) else { return false };
    let point = Point::of_key(&own.key);
    if !is_explicit(own) || point.is_none() || point != Point::of_key(&other.key) {
        return false;
    }
    Domain::of(spoof).zip(Domain::of(genuine)).is_some_and(|(own, known)| own != known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint_dig::BigUint;

    /// Each generator lies on its curve, and prime and order are what the group of such a curve can have: no digit is wrong.
    #[test]
    fn the_parameters_are_those_of_curves() {
        for (name, numbers, _) in NAMED {
            let number = |text: &str| BigUint::parse_bytes(format!("0{text}").as_bytes(), 16).unwrap();
            let [p, a, b, x, n] = numbers.map(number);
            let is_prime = |one: &BigUint| BigUint::from(2_u32).modpow(&(one - 1_u32), one) == BigUint::from(1_u32);
            assert!(is_prime(&p) && is_prime(&n), "{name}");
            assert!(numbers.iter().all(|text| !text.starts_with('0') && text.to_ascii_uppercase() == **text), "{name}");
            // All these primes are 3 modulo 4.
            let square = (&x * &x * &x + &a * &x + b) % &p;
            let root = square.modpow(&((&p + 1_u32) >> 2), &p);
            assert_eq!(&root * &root % &p, square, "{name}");
            // Hasse: the order is near p + 1.
            let distance = if n > p { &n - &p } else { &p - &n };
            assert!(&distance * &distance < (&p << 2) + 10_000_u32, "{name}");
        }
    }

    #[test]
    fn generators_are_those_of_other_libraries() {
        use p256::elliptic_curve::group::GroupEncoding as _;
        let p256 = p256::AffinePoint::GENERATOR.to_bytes().to_vec();
        let p384 = p384::AffinePoint::GENERATOR.to_bytes().to_vec();
        let p521 = p521::AffinePoint::GENERATOR.to_bytes().to_vec();
        for ((name, numbers, odd), octets) in NAMED.into_iter().zip([p256, p384, p521]) {
            let point = Point::of(&octets).unwrap();
            assert_eq!((&*hexadecimal(point.x), point.odd), (numbers[3], odd), "{name}");
        }
    }

    #[test]
    fn a_point_is_the_same_in_every_form() {
        let point = |octets: &[u8]| Point::of(octets).map(|point| (point.x.to_vec(), point.odd));
        for (octets, expected) in [
            (&[4, 0, 7, 1, 2][..], Some((vec![7], false))),
            (&[2, 0, 7], Some((vec![7], false))),
            (&[3, 7], Some((vec![7], true))),
            (&[4, 7, 3], Some((vec![7], true))),
            (&[6, 7, 2], Some((vec![7], false))),
            (&[7, 7, 3], Some((vec![7], true))),
            (&[0], None),
            (&[5, 7, 3], None),
            (&[4], None),
            (&[], None),
        ] {
            assert_eq!(point(octets), expected, "{octets:?}");
        }
    }
}
