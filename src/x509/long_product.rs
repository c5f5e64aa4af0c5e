//! Products of long numbers by a number-theoretic transform (Pollard 1971) modulo 2^64 - 2^32 + 1.
//!
//! The bignum crate's Toom-3 takes time of the power 1.46 of the length: too much for the products of ten thousands of
//! RSA moduli.

use num_bigint_dig::BigUint;

/// The prime: 2^32 divides it less one, so that transforms of up to 2^32 places exist.
const PRIME: u64 = 0xffff_ffff_0000_0001;
/// A generator of its multiplicative group.
const GENERATOR: u64 = 7;
/// Octets of a place: sums of 2^25 products of two places are below the prime.
const PLACE: usize = 2;
/// Numbers shorter than this many bits are multiplied as ever.
const SHORT: usize = 1_000_000;
/// Places of the longest transform: a product of 500 million bits.
const PLACES: usize = 1 << 25;

/// The product of two numbers.
pub(super) fn multiply(one: &BigUint, other: &BigUint) -> BigUint {
    let long = one.bits().min(other.bits()) >= SHORT;
    long.then(|| by_transform(one, other)).flatten().unwrap_or_else(|| one * other)
}

/// `None` when they are too long.
fn by_transform(one: &BigUint, other: &BigUint) -> Option<BigUint> {
    let (left, right) = (places(one), places(other));
    let wanted = left.len() + right.len();
    let size = wanted.next_power_of_two();
    if size > PLACES {
        return None;
    }
    let mut left = transformed(left, size);
    let right = transformed(right, size);
    for (left, right) in left.iter_mut().zip(right) {
        *left = times(*left, right);
    }
    backward(&mut left);
    let scale = power(u64::try_from(size).unwrap_or(1), PRIME - 2);
    let mut octets = Vec::with_capacity(size * PLACE + 8);
    let mut carry = 0_u64;
    for place in left {
        // Below 2^57 and below 2^48.
        carry += times(place, scale);
        let [low, high, ..] = carry.to_le_bytes();
        octets.extend([low, high]);
        carry >>= 8 * PLACE;
    }
    Some(BigUint::from_bytes_le(&octets))
}

fn places(number: &BigUint) -> Vec<u64> {
    let octets = number.to_bytes_le();
    octets
        .chunks(PLACE)
        .map(|chunk| chunk.iter().rev().fold(0, |place, octet| place << 8 | u64::from(*octet)))
        .collect()
}

fn transformed(mut places: Vec<u64>, size: usize) -> Vec<u64> {
    places.resize(size, 0);
    forward(&mut places);
    places
}

/// From places to values, in the order of reversed bits.
fn forward(values: &mut [u64]) {
    let mut half = values.len() / 2;
    while half > 0 {
        let roots = roots(half, false);
        for block in values.chunks_exact_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            for ((low, high), root) in low.iter_mut().zip(high).zip(&roots) {
                let (sum, difference) = (plus(*low, *high), minus(*low, *high));
                (*low, *high) = (sum, times(difference, *root));
            }
        }
        half /= 2;
    }
}

/// Back, up to the factor of their number.
fn backward(values: &mut [u64]) {
    let mut half = 1;
    while half < values.len() {
        let roots = roots(half, true);
        for block in values.chunks_exact_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            for ((low, high), root) in low.iter_mut().zip(high).zip(&roots) {
                let turned = times(*high, *root);
                (*low, *high) = (plus(*low, turned), minus(*low, turned));
            }
        }
        half *= 2;
    }
}

/// The first half of all powers of a root of order `2 * half`.
fn roots(half: usize, inverse: bool) -> Vec<u64> {
    let order = u64::try_from(2 * half).unwrap_or(2);
    let root = power(GENERATOR, (PRIME - 1) / order);
    let root = if inverse { power(root, PRIME - 2) } else { root };
    std::iter::successors(Some(1), |before| Some(times(*before, root))).take(half).collect()
}

fn power(base: u64, mut exponent: u64) -> u64 {
    let (mut result, mut square) = (1, base);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = times(result, square);
        }
        square = times(square, square);
        exponent >>= 1;
    }
    result
}

#[inline]
fn plus(one: u64, other: u64) -> u64 {
    let (sum, over) = one.overflowing_add(other);
    let (reduced, below) = sum.overflowing_sub(PRIME);
    if over || !below { reduced } else { sum }
}

#[inline]
fn minus(one: u64, other: u64) -> u64 {
    let (difference, below) = one.overflowing_sub(other);
    if below { difference.wrapping_add(PRIME) } else { difference }
}

/// The product modulo the prime: 2^64 is 2^32 - 1, and 2^96 is -1.
#[inline]
fn times(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    let [low, high] = [product & u128::from(u64::MAX), product >> 64].map(|half| u64::try_from(half).unwrap_or(0));
    let (top, middle) = (high >> 32, high & 0xffff_ffff);
    let (mut rest, below) = low.overflowing_sub(top);
    if below {
        rest = rest.wrapping_sub(0xffff_ffff);
    }
    let (sum, over) = rest.overflowing_add(middle * 0xffff_ffff);
    let sum = if over { sum.wrapping_add(0xffff_ffff) } else { sum };
    if sum >= PRIME { sum - PRIME } else { sum }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn transform_product(one: &[u8], other: &[u8]) -> BigUint {
        by_transform(&BigUint::from_bytes_be(one), &BigUint::from_bytes_be(other)).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn products_are_those_of_the_crate(
            one in prop::collection::vec(any::<u8>(), 0..600),
            other in prop::collection::vec(any::<u8>(), 0..600),
        ) {
            let plain = BigUint::from_bytes_be(&one) * BigUint::from_bytes_be(&other);
            prop_assert_eq!(transform_product(&one, &other), plain);
        }

        #[test]
        fn arithmetic_is_modulo_the_prime(one in 0..PRIME, other in 0..PRIME) {
            let [wide, more] = [one, other].map(u128::from);
            let prime = u128::from(PRIME);
            prop_assert_eq!(u128::from(times(one, other)), wide * more % prime);
            prop_assert_eq!(u128::from(plus(one, other)), (wide + more) % prime);
            prop_assert_eq!(u128::from(minus(one, other)), (wide + prime - more) % prime);
        }
    }

    #[test]
    fn edges_of_the_prime() {
        let edges = [0, 1, 2, 0xffff_fffe, 0xffff_ffff, 1 << 32, (1 << 32) + 1, PRIME - 2, PRIME - 1];
        for one in edges {
            for other in edges {
                let product = u128::from(one) * u128::from(other) % u128::from(PRIME);
                assert_eq!(u128::from(times(one, other)), product, "{one} {other}");
            }
        }
    }

    #[test]
    fn the_largest_places_carry() {
        for octets in [1, 2, 3, 1_000, 70_001] {
            let full = vec![0xff; octets];
            let number = BigUint::from_bytes_be(&full);
            assert_eq!(transform_product(&full, &full), &number * &number);
        }
        let long = BigUint::from_bytes_be(&vec![0xa5; SHORT / 8 + 9]);
        assert_eq!(multiply(&long, &long), &long * &long);
    }
}
