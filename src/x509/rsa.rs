//! RSA with public values only (RFC 8017), for the sizes and hashes that ring refuses, and the test for a leaked factor.

use num_bigint_dig::BigUint;
use sha2::Digest as _;

use super::signature::{Hash, Scheme, Verdict, tls_scheme};
use super::{PublicKey, Sha256, key};

/// Longest modulus that is worked with, bits: OpenSSL's own limit.
const MAX_MODULUS_BITS: u32 = 16_384;
/// Shortest modulus: nothing smaller holds a digest.
const MIN_MODULUS_BITS: u32 = 256;
/// Work that one exponentiation may cost, as bits of the exponent times squared bits of the modulus: a 64-bit exponent
/// with an 8,192-bit modulus, some milliseconds. Key and exponent are the sender's choice.
const MAX_WORK: u64 = 64 * 8_192 * 8_192;

/// What a bad RSA signature gives away (Lenstra 1996: one faulty CRT signature and its message give a factor).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// gcd(s^e - EM, n) is a factor of the modulus: the private key is lost. SHA-256 of the smaller factor, big-endian;
    /// the factor itself is never handed out.
    Leaked(Sha256),
    /// The signature is bad and gives nothing away.
    NoLeak,
    /// It is a good signature of something near: read backwards, or with another hash. No fault of the signer.
    Explained(&'static str),
    /// Not PKCS #1 v1.5, or a key that is not worked with.
    Untestable(&'static str),
}

/// Tests a signature that [`super::signature::verify_tls`] called bad for a leaked factor.
pub fn fault(public: &PublicKey, scheme: Option<u16>, message: &[u8], signature: &[u8]) -> Fault {
    let scheme = match tls_scheme(public, scheme) {
        Ok(scheme @ (Scheme::Pkcs1(_) | Scheme::Md5Sha1)) => scheme,
        Ok(_) => return Fault::Untestable("the scheme has no fixed padding"),
        Err(reason) => return Fault::Untestable(reason),
    };
    let numbers = match Numbers::of(public) {
        Ok(numbers) => numbers,
        Err(reason) => return Fault::Untestable(reason),
    };
    let Some(expected) = encode(scheme, message, numbers.octets).into_iter().next() else {
        return Fault::Untestable("the modulus is too short for this hash");
    };
    let others = Hash::ALL.into_iter().map(Scheme::Pkcs1).chain([Scheme::Md5Sha1]);
    if let Some(opened) = numbers.open(signature) {
        if others.flat_map(|other| encode(other, message, numbers.octets)).any(|other| other == opened) {
            return Fault::Explained("signed with another hash");
        }
        let backwards: Vec<u8> = signature.iter().rev().copied().collect();
        if numbers.open(&backwards).is_some_and(|opened| opened == expected) {
            return Fault::Explained("octets in reverse order");
        }
        return numbers.common_factor(&opened, &expected);
    }
    // A leading zero lost, or an octet too many: some signers do so.
    let mut padded = vec![0];
    padded.extend_from_slice(signature);
    let shorter = signature.strip_prefix(&[0]).unwrap_or_default();
    if [padded.as_slice(), shorter].into_iter().any(|near| numbers.open(near).is_some_and(|opened| opened == expected))
    {
        return Fault::Explained("length off by one");
    }
    Fault::NoLeak
}

/// Judges an RSA signature with big integers.
pub(crate) fn verify(public: &PublicKey, scheme: Scheme, message: &[u8], signature: &[u8]) -> Verdict {
    let numbers = match Numbers::of(public) {
        Ok(numbers) => numbers,
        Err(reason) => return Verdict::Unknown(reason),
    };
    let Some(opened) = numbers.open(signature) else {
        return Verdict::Bad;
    };
    let good = match scheme {
        Scheme::Pss(hash, mask, salt) => {
            let bits = usize::try_from(numbers.bits.saturating_sub(1)).unwrap_or(0);
            let Some(digest) = (Pss { hash, mask, salt, bits }).verify(message, &opened) else {
                return Verdict::Unknown("the modulus is too short for this hash");
            };
            digest
        }
        _ => {
            let encoded = encode(scheme, message, numbers.octets);
            if encoded.is_empty() {
                return Verdict::Unknown("the modulus is too short for this hash");
            }
            encoded.contains(&opened)
        }
    };
    if good { Verdict::Good } else { Verdict::Bad }
}

struct Numbers {
    modulus: BigUint,
    exponent: BigUint,
    bits: u32,
    octets: usize,
}

impl Numbers {
    fn of(public: &PublicKey) -> Result<Self, &'static str> {
        let (bits, exponent_bits) = (key::bit_length(&public.modulus), key::bit_length(&public.exponent));
        if bits > MAX_MODULUS_BITS {
            return Err("the modulus is too long to work with");
        }
        if bits < MIN_MODULUS_BITS {
            return Err("the modulus is too short to hold a digest");
        }
        if u64::from(exponent_bits) * u64::from(bits) * u64::from(bits) > MAX_WORK {
            return Err("the exponent is too long to work with");
        }
        if public.modulus.last().is_none_or(|last| last % 2 == 0) || exponent_bits == 0 {
            return Err("the key is no RSA key");
        }
        let octets = usize::try_from(bits.div_ceil(8)).map_err(|_| "the modulus is too long to work with")?;
        let (modulus, exponent) = (BigUint::from_bytes_be(&public.modulus), BigUint::from_bytes_be(&public.exponent));
        Ok(Self { modulus, exponent, bits, octets })
    }

    /// s^e mod n with the length of the modulus (RSAVP1, I2OSP); `None` when the signature has another length or is no
    /// number below the modulus.
    fn open(&self, signature: &[u8]) -> Option<Vec<u8>> {
        if signature.len() != self.octets {
            return None;
        }
        let signature = BigUint::from_bytes_be(signature);
        if signature >= self.modulus {
            return None;
        }
        let opened = signature.modpow(&self.exponent, &self.modulus).to_bytes_be();
        // Zero is one octet in the library and none here; the padding is the same.
        let opened = key::unsigned(&opened);
        let mut octets = vec![0; self.octets.checked_sub(opened.len())?];
        octets.extend_from_slice(opened);
        Some(octets)
    }

    fn common_factor(&self, opened: &[u8], expected: &[u8]) -> Fault {
        let (opened, expected) = (BigUint::from_bytes_be(opened), BigUint::from_bytes_be(expected));
        let difference = if opened > expected { opened - expected } else { expected - opened };
        let zero = BigUint::from_bytes_be(&[]);
        let (mut larger, mut smaller) = (self.modulus.clone(), difference);
        while smaller != zero {
            let remainder = larger % &smaller;
            larger = smaller;
            smaller = remainder;
        }
        let factor = larger;
        if factor <= BigUint::from_bytes_be(&[1]) || factor >= self.modulus {
            return Fault::NoLeak;
        }
        let cofactor = &self.modulus / &factor;
        let smaller = factor.min(cofactor).to_bytes_be();
        Fault::Leaked(Sha256(sha2::Sha256::digest(key::unsigned(&smaller)).into()))
    }
}

/// The encoded messages that are right (EMSA-PKCS1-v1_5, RFC 8017 section 9.2): the parameters of DigestInfo may be NULL
/// or left out. None when the modulus is too short.
fn encode(scheme: Scheme, message: &[u8], octets: usize) -> Vec<Vec<u8>> {
    let contents: Vec<Vec<u8>> = match scheme {
        Scheme::Pkcs1(hash) => {
            let digest = hash.digest(message);
            [true, false].into_iter().map(|null| digest_info(hash, &digest, null)).collect()
        }
        Scheme::Md5Sha1 => vec![[Hash::Md5.digest(message), Hash::Sha1.digest(message)].concat()],
        _ => Vec::new(),
    };
    let padded = contents.into_iter().filter_map(|content| {
        let fill = octets.checked_sub(content.len() + 3)?;
        if fill < 8 {
            return None;
        }
        let mut encoded = vec![0, 1];
        encoded.resize(fill + 2, 0xff);
        encoded.push(0);
        encoded.extend(content);
        Some(encoded)
    });
    padded.collect()
}

/// DigestInfo in DER.
fn digest_info(hash: Hash, digest: &[u8], null: bool) -> Vec<u8> {
    let oid: &[u8] = match hash {
        Hash::Md5 => &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 5],
        Hash::Sha1 => &[0x2b, 14, 3, 2, 26],
        Hash::Sha224 => &[0x60, 0x86, 0x48, 1, 101, 3, 4, 2, 4],
        Hash::Sha256 => &[0x60, 0x86, 0x48, 1, 101, 3, 4, 2, 1],
        Hash::Sha384 => &[0x60, 0x86, 0x48, 1, 101, 3, 4, 2, 2],
        Hash::Sha512 => &[0x60, 0x86, 0x48, 1, 101, 3, 4, 2, 3],
    };
    // Every length here is far below 128.
    let value = |tag: u8, content: &[u8]| {
        let mut element = vec![tag, u8::try_from(content.len()).unwrap_or(0)];
        element.extend_from_slice(content);
        element
    };
    let mut algorithm = value(0x06, oid);
    if null {
        algorithm.extend([0x05, 0x00]);
    }
    let mut info = value(0x30, &algorithm);
    info.extend(value(0x04, digest));
    value(0x30, &info)
}

struct Pss {
    hash: Hash,
    mask: Hash,
    salt: usize,
    /// Bits of the encoded message: one less than the modulus has.
    bits: usize,
}

impl Pss {
    /// EMSA-PSS-VERIFY (RFC 8017 section 9.1.2); `None` when hash and salt do not fit.
    fn verify(&self, message: &[u8], opened: &[u8]) -> Option<bool> {
        let length = self.bits.div_ceil(8);
        let digest = self.hash.digest(message);
        let masked_length = length.checked_sub(digest.len() + 1)?;
        let padding = masked_length.checked_sub(self.salt + 1)?;
        // With a modulus of 8k + 1 bits the encoded message is one octet shorter than the modulus.
        let (before, encoded) = opened.split_at_checked(opened.len().checked_sub(length)?)?;
        let (masked, rest) = encoded.split_at_checked(masked_length)?;
        let (hash, trailer) = rest.split_at_checked(digest.len())?;
        let unused = length * 8 - self.bits;
        let top = 0xff_u8.checked_shr(u32::try_from(unused).ok()?).unwrap_or(0);
        if trailer != [0xbc]
            || before.iter().any(|octet| *octet != 0)
            || masked.first().is_none_or(|first| first & !top != 0)
        {
            return Some(false);
        }
        let mut block: Vec<u8> = masked.iter().zip(self.mask(hash, masked_length)).map(|(a, b)| a ^ b).collect();
        if let Some(first) = block.first_mut() {
            *first &= top;
        }
        let (zeros, salted) = block.split_at_checked(padding)?;
        let (one, salt) = salted.split_first()?;
        if zeros.iter().any(|octet| *octet != 0) || *one != 1 {
            return Some(false);
        }
        let rebuilt = self.hash.digest(&[&[0; 8][..], &digest, salt].concat());
        Some(rebuilt == hash)
    }

    /// MGF1 (RFC 8017 appendix B.2.1).
    fn mask(&self, seed: &[u8], length: usize) -> Vec<u8> {
        let mut mask = Vec::with_capacity(length + 64);
        for counter in 0_u32.. {
            if mask.len() >= length {
                break;
            }
            mask.extend(self.mask.digest(&[seed, &counter.to_be_bytes()].concat()));
        }
        mask.truncate(length);
        mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::KeyKind;
    use crate::x509::signature::verify_tls;

    /// A toy key made of two known primes: 2^521 - 1 and 2^607 - 1.
    struct Toy {
        p: BigUint,
        q: BigUint,
        public: PublicKey,
    }

    impl Toy {
        fn new() -> Self {
            let one = BigUint::from_bytes_be(&[1]);
            let (p, q) = ((&one << 521_usize) - &one, (&one << 607_usize) - &one);
            let modulus = (&p * &q).to_bytes_be();
            let public = PublicKey {
                kind: KeyKind::Rsa,
                bits: key::bit_length(&modulus),
                modulus: modulus.into(),
                exponent: [1, 0, 1].into(),
                ..PublicKey::default()
            };
            Self { p, q, public }
        }

        /// em^d modulo `prime`, d = e^-1 mod (prime - 1) by Fermat on a search that e's small size makes short.
        fn root(prime: &BigUint, em: &BigUint) -> BigUint {
            let one = BigUint::from_bytes_be(&[1]);
            let e = BigUint::from(65_537_u32);
            let order = prime - &one;
            let d = (1_u32..65_537)
                .map(|k| &order * BigUint::from(k) + &one)
                .find(|candidate| candidate % &e == BigUint::from_bytes_be(&[]))
                .unwrap()
                / e;
            em.modpow(&d, prime)
        }

        /// Signs by the Chinese remainder theorem; `fault` is added to the half of q.
        fn sign(&self, em: &[u8], fault: u32) -> Vec<u8> {
            let em = BigUint::from_bytes_be(em);
            let (sp, sq) = (Self::root(&self.p, &em), (Self::root(&self.q, &em) + BigUint::from(fault)) % &self.q);
            let two = BigUint::from(2_u32);
            let inverse = self.q.modpow(&(&self.p - two), &self.p);
            let h = ((&sp + &self.p * BigUint::from_bytes_be(&[0xff; 12]) - (&sq % &self.p)) * inverse) % &self.p;
            let signature = (sq + h * &self.q).to_bytes_be();
            let octets = usize::try_from(self.public.bits.div_ceil(8)).unwrap();
            [vec![0; octets - signature.len()], signature].concat()
        }

        fn encoded(&self, scheme: Scheme, message: &[u8]) -> Vec<u8> {
            encode(scheme, message, usize::try_from(self.public.bits.div_ceil(8)).unwrap()).remove(0)
        }
    }

    #[test]
    fn a_faulty_half_gives_the_factor_away() {
        let toy = Toy::new();
        for (scheme, code) in [(Scheme::Pkcs1(Hash::Sha256), Some(0x0401)), (Scheme::Md5Sha1, None)] {
            let em = toy.encoded(scheme, b"params");
            let good = toy.sign(&em, 0);
            assert_eq!(verify_tls(&toy.public, code, b"params", &good), Verdict::Good);
            let bad = toy.sign(&em, 1);
            assert_eq!(verify_tls(&toy.public, code, b"params", &bad), Verdict::Bad);
            let factor = Sha256(sha2::Sha256::digest(toy.p.to_bytes_be()).into());
            assert_eq!(fault(&toy.public, code, b"params", &bad), Fault::Leaked(factor));
        }
    }

    #[test]
    fn other_mistakes_are_no_fault() {
        let toy = Toy::new();
        let em = toy.encoded(Scheme::Pkcs1(Hash::Sha1), b"params");
        let other_hash = toy.sign(&em, 0);
        assert_eq!(
            fault(&toy.public, Some(0x0401), b"params", &other_hash),
            Fault::Explained("signed with another hash")
        );
        let em = toy.encoded(Scheme::Pkcs1(Hash::Sha256), b"params");
        let mut damaged = toy.sign(&em, 0);
        damaged[70] ^= 4;
        assert_eq!(fault(&toy.public, Some(0x0401), b"params", &damaged), Fault::NoLeak);
        assert_eq!(fault(&toy.public, Some(0x0401), b"params", &[]), Fault::NoLeak);
        assert!(matches!(fault(&toy.public, Some(0x0804), b"params", &damaged), Fault::Untestable(_)));
    }

    #[test]
    fn hostile_keys_cost_little_and_are_not_judged() {
        let key = |modulus: Vec<u8>, exponent: Vec<u8>| PublicKey {
            kind: KeyKind::Rsa,
            modulus: modulus.into(),
            exponent: exponent.into(),
            ..PublicKey::default()
        };
        for (modulus, exponent) in [
            (vec![0xff; 100_000], vec![1, 0, 1]),
            (vec![0xff; 2_049], vec![1, 0, 1]),
            (vec![0xff; 512], vec![0xff; 512]),
            (vec![0xfe; 256], vec![1, 0, 1]),
            (vec![], vec![3]),
            (vec![0xff; 256], vec![]),
            (vec![0x0f], vec![3]),
        ] {
            let length = modulus.len();
            let verdict = verify_tls(&key(modulus, exponent), Some(0x0401), b"m", &vec![0x55; length]);
            assert!(matches!(verdict, Verdict::Unknown(_)), "{length}: {verdict:?}");
        }
    }
}
