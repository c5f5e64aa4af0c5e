//! RSA keys that can be factored: ROCA, close primes, shared factors. What the factors are is never handed out.

use num_bigint_dig::BigUint;

use crate::x509::batch_gcd;
use crate::x509::coprime::{are_coprime, is_quick};
use crate::x509::long_root::square_root;

/// How an RSA key is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeakRsa {
    /// Its primes have the form of CVE-2017-15361.
    Roca,
    /// Its primes are close together (CVE-2022-26320).
    Fermat,
}

/// Rounds of Fermat's method.
const ROUNDS: u64 = 100;
/// Moduli of other sizes are not tested for close primes: shorter ones are weak anyway, longer ones cost too much.
const FERMAT_BITS: std::ops::RangeInclusive<usize> = 256..=8_192;
/// Shortest modulus that is tested for ROCA: with fewer bits chance would play a part.
const ROCA_OCTETS: usize = 64;

/// Tests a modulus (big-endian, without leading zeros).
pub fn test(modulus: &[u8]) -> Option<WeakRsa> {
    if is_roca(modulus) {
        return Some(WeakRsa::Roca);
    }
    has_close_primes(modulus).then_some(WeakRsa::Fermat)
}

/// Odd primes up to 167, in groups whose product is below 2^32: with primes of the form k * M + (65537^a mod M), where M is
/// the product of all, the modulus is a power of 65537 modulo each of them.
const PRIMES: [&[u64]; 8] = [
    &[3, 5, 7, 11, 13, 17, 19, 23, 29],
    &[31, 37, 41, 43, 47],
    &[53, 59, 61, 67],
    &[71, 73, 79, 83],
    &[89, 97, 101, 103],
    &[107, 109, 113, 127],
    &[131, 137, 139, 149],
    &[151, 157, 163, 167],
];

fn is_roca(modulus: &[u8]) -> bool {
    modulus.len() >= ROCA_OCTETS
        && PRIMES.iter().all(|primes| {
            let rest = remainder(modulus, primes.iter().product());
            primes.iter().all(|prime| is_power_of_65537(rest % prime, *prime))
        })
}

/// The remainder modulo a number of at most 40 bits.
fn remainder(number: &[u8], divisor: u64) -> u64 {
    // Three octets at once.
    number
        .rchunks(3)
        .rev()
        .fold(0, |rest, octets| octets.iter().fold(rest, |number, octet| (number << 8) | u64::from(*octet)) % divisor)
}

fn is_power_of_65537(value: u64, prime: u64) -> bool {
    let base = 65_537 % prime;
    let mut power = 1;
    for _ in 0..prime {
        if power == value {
            return true;
        }
        power = power * base % prime;
    }
    false
}

/// Fermat: n = a^2 - b^2 with a just above the root of n.
fn has_close_primes(modulus: &[u8]) -> bool {
    if modulus.last().is_none_or(|last| last & 1 == 0) {
        return false;
    }
    let zeros = modulus.iter().take_while(|octet| **octet == 0).count();
    let modulus = modulus.get(zeros..).unwrap_or_default();
    let unused = modulus.first().map_or(0, |top| top.leading_zeros());
    if !FERMAT_BITS.contains(&(modulus.len() * 8).saturating_sub(unused as usize)) {
        return false;
    }
    let (root, is_square) = square_root(modulus);
    // The square of a prime.
    if is_square {
        return true;
    }
    // a^2 - n modulo small numbers tells nearly always that it is no square.
    let rests = |octets: &[u8]| {
        let rest = remainder(octets, SIEVE_PRODUCT);
        SIEVE.map(|(modulus, _)| rest % modulus)
    };
    let (roots, rests) = (rests(&root), rests(modulus));
    let may_be_square = |step: u64| {
        SIEVE.iter().zip(roots).zip(rests).all(|(((modulus, squares), root), n)| {
            let a = root + step;
            squares >> ((a * a + modulus - n) % modulus) & 1 == 1
        })
    };
    (1..=ROUNDS).filter(|step| may_be_square(*step)).any(|step| {
        let a = BigUint::from_bytes_be(&root) + BigUint::from(step);
        square_root(&(&a * &a - BigUint::from_bytes_be(modulus)).to_bytes_be()).1
    })
}

/// Small numbers, the product of all of them, and which remainders squares have modulo each.
const SIEVE: [(u64, u128); 8] =
    [squares(16), squares(63), squares(65), squares(11), squares(17), squares(19), squares(23), squares(31)];
const SIEVE_PRODUCT: u64 = 16 * 63 * 65 * 11 * 17 * 19 * 23 * 31;

/// A number with the bits of those remainders that squares have modulo it.
const fn squares(modulus: u64) -> (u64, u128) {
    let (mut root, mut bits) = (0, 0);
    while root < modulus {
        bits |= 1 << (root * root % modulus);
        root += 1;
    }
    (modulus, bits)
}

/// Moduli that share a prime with another: their places in `moduli`. Equal moduli are one key, and share nothing.
///
/// Even ones are no RSA moduli and are left out, and so are those of less than 256 or more than 16,384 bits.
pub fn shared_factors(moduli: &[&[u8]]) -> Vec<usize> {
    let usable =
        |modulus: &&[u8]| (32..=2_048).contains(&modulus.len()) && modulus.last().is_some_and(|last| last & 1 == 1);
    let mut distinct: Vec<&[u8]> = moduli.iter().copied().filter(usable).collect();
    distinct.sort_unstable();
    distinct.dedup();
    if is_quick(&distinct) && are_coprime(&distinct) == Some(true) {
        return Vec::new();
    }
    let guilty: Vec<&[u8]> =
        batch_gcd::sharing(&distinct).into_iter().filter_map(|place| distinct.get(place).copied()).collect();
    let is_guilty = |modulus: &[u8]| guilty.binary_search(&modulus).is_ok();
    moduli.iter().enumerate().filter(|(_, modulus)| is_guilty(modulus)).map(|(place, _)| place).collect()
}

/// For each of the moduli at `guilty`, where those stand that it shares a prime with: the first few. Nothing where there are
/// too many to be compared in pairs.
#[cold]
pub fn partners(moduli: &[&[u8]], guilty: &[usize]) -> Vec<Vec<usize>> {
    /// So many are compared, each with each.
    const COMPARED: usize = 32;
    /// So many are named.
    const NAMED: usize = 4;
    let mut partners = vec![Vec::new(); guilty.len()];
    if guilty.len() > COMPARED {
        return partners;
    }
    for (own, named) in guilty.iter().zip(&mut partners) {
        let share = |other: &&usize| {
            let pair = [*own, **other].map(|place| moduli.get(place).copied().unwrap_or_default());
            *other != own && shared_factors(&pair).len() == pair.len()
        };
        named.extend(guilty.iter().filter(share).take(NAMED));
    }
    partners
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(factors: &[&str]) -> Vec<u8> {
        let number = |digits: &&str| BigUint::parse_bytes(digits.as_bytes(), 16).unwrap();
        factors.iter().map(number).fold(BigUint::from(1_u32), |product, factor| product * factor).to_bytes_be()
    }

    // Primes of 256 bits: 2^256 - 189, 2^256 - 357, 2^256 - 435, 2^255 - 19.
    const A: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff43";
    const B: &str = "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe9b";
    const C: &str = "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe4d";
    const D: &str = "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed";

    #[test]
    fn close_primes_are_found_and_others_not() {
        assert_eq!(test(&product(&[A, B])), Some(WeakRsa::Fermat));
        assert_eq!(test(&product(&[A, A])), Some(WeakRsa::Fermat));
        assert_eq!(test(&product(&[A, D])), None);
        for short in [&[][..], &[1], &[0xff; 8], &[0xfe; 64]] {
            assert_eq!(test(short), None);
        }
    }

    fn root(number: &BigUint) -> BigUint {
        BigUint::from_bytes_be(&square_root(&number.to_bytes_be()).0)
    }

    #[test]
    fn close_primes_are_found_at_every_round() {
        let a = product(&[A, "d"]);
        let a = BigUint::from_bytes_be(&a);
        let mut found = Vec::new();
        for wanted in 1..=ROUNDS + 3 {
            // a^2 - b^2 lies so many below the next square that its root is about `wanted` below a.
            let b = root(&(&a * BigUint::from(2 * wanted)));
            let even = (&a + &b) % 2_u32 == BigUint::from(0_u32);
            let b = if even { b + 1_u32 } else { b };
            let n = &a * &a - &b * &b;
            let step = &a - root(&n);
            let close = has_close_primes(&n.to_bytes_be());
            assert_eq!(close, step <= BigUint::from(ROUNDS), "{step}");
            found.push(close);
        }
        assert!(found.contains(&true) && found.contains(&false));
    }

    #[test]
    fn roca_has_its_form() {
        // Two primes are not needed: any number that is 65537^a modulo the primes has the fingerprint.
        let m = PRIMES.iter().copied().flatten().fold(BigUint::from(2_u32), |product, prime| product * *prime);
        let power = BigUint::from(65_537_u32).modpow(&BigUint::from(123_456_u32), &m);
        let form = |k: u32| (BigUint::from(k) << 400) * &m + &power;
        assert_eq!(test(&form(77_777).to_bytes_be()), Some(WeakRsa::Roca));
        assert_ne!(test(&(form(77_777) + 2_u32).to_bytes_be()), Some(WeakRsa::Roca));
    }

    #[test]
    fn remainders_are_exact() {
        for length in 0..9 {
            let octets = [0xff, 0xfe, 0, 0xff, 1, 0x80, 0xff, 0xff, 0xff].get(..length).unwrap().to_vec();
            for divisor in PRIMES.iter().map(|primes| primes.iter().product()).chain([1, 2, SIEVE_PRODUCT, 1 << 40]) {
                assert!(divisor <= 1 << 40);
                let exact =
                    octets.iter().fold(0_u128, |number, octet| number << 8 | u128::from(*octet)) % u128::from(divisor);
                assert_eq!(u128::from(remainder(&octets, divisor)), exact, "{length} {divisor}");
            }
        }
    }

    #[test]
    fn shared_primes_are_found_equal_moduli_are_not() {
        let (ab, cd, ac) = (product(&[A, B]), product(&[C, D]), product(&[A, C]));
        assert_eq!(shared_factors(&[&ab, &cd]), [0_usize; 0]);
        assert_eq!(shared_factors(&[&ab, &ab]), [0_usize; 0]);
        assert_eq!(shared_factors(&[&ab, &cd, &ac, &ab]), [0, 1, 2, 3]);
        assert_eq!(partners(&[&ab, &cd, &ac, &ab], &[0, 1, 2, 3]), [vec![2], vec![2], vec![0, 1, 3], vec![2]]);
        let many: Vec<usize> = (0..33).map(|place| place % 3).collect();
        assert!(partners(&[&ab, &cd, &ac], &many).iter().all(Vec::is_empty), "too many for pairs");
        let bd = product(&[B, D]);
        let alone = product(&["e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "3"]);
        assert_eq!(shared_factors(&[&alone, &ab, &bd]), [1, 2]);
        assert_eq!(shared_factors(&[]), [0_usize; 0]);
        let even = product(&[A, "2"]);
        assert_eq!(shared_factors(&[&even, &ab, &cd, &even]), [0_usize; 0]);
        assert_eq!(shared_factors(&[&even, &ab, &cd, &bd]), [1, 2, 3]);
    }
}
