//! Whether RSA moduli share no factor, for the usual case that they do not: no division, hardly an allocation.
//!
//! The product of all earlier moduli is reduced modulo each one from its low end (Montgomery 1985). What comes out is
//! the remainder times a power of two, and powers of two do not matter for the common factors of odd numbers.

/// Moduli whose product is reduced at once: 512 limbs with keys of 2,048 bits stay in the nearest cache.
const BLOCK: usize = 16;

/// No two of these odd moduli (big-endian) have a common factor. `None` when one of them is even or empty.
///
/// Time grows with the square of all bits together: 250 keys of 2,048 bits take some 50 ms.
pub fn are_coprime(moduli: &[&[u8]]) -> Option<bool> {
    let numbers: Vec<Vec<u64>> = moduli.iter().map(|modulus| limbs(modulus)).collect();
    if numbers.iter().any(|number| number.first().is_none_or(|low| low & 1 == 0)) {
        return None;
    }
    let mut earlier: Vec<Vec<u64>> = Vec::new();
    for block in numbers.chunks(BLOCK) {
        let mut among: Vec<u64> = vec![1];
        for number in block {
            let modulus = Modulus::new(number);
            let common = earlier.iter().fold(modulus.reduced(&among), |product, block| {
                let block = modulus.reduced(block);
                modulus.reduced(&product_of(&product, &block))
            });
            if !is_one(&gcd(number.clone(), common)) {
                return Some(false);
            }
            among = product_of(&among, number);
        }
        earlier.push(among);
    }
    Some(true)
}

/// An odd modulus with the negated inverse of its lowest limb.
struct Modulus<'a> {
    limbs: &'a [u64],
    inverse: u64,
}

impl<'a> Modulus<'a> {
    fn new(limbs: &'a [u64]) -> Self {
        let low = limbs.first().copied().unwrap_or(1);
        // An odd number is its own inverse modulo 8; each step doubles the bits (Hensel).
        let inverse =
            (0..5).fold(low, |inverse, _| inverse.wrapping_mul(2_u64.wrapping_sub(low.wrapping_mul(inverse))));
        Self { limbs, inverse: inverse.wrapping_neg() }
    }

    /// `number` times a power of two modulo this, in as many limbs as this has; maybe not the least such number.
    fn reduced(&self, number: &[u64]) -> Vec<u64> {
        let length = self.limbs.len();
        let mut rest = Vec::with_capacity(number.len().max(length).saturating_add(1));
        rest.extend_from_slice(number);
        rest.resize(number.len().max(length), 0);
        rest.push(0);
        let steps = rest.len().saturating_sub(length).saturating_sub(1);
        for start in 0..steps {
            let Some(window) = rest.get_mut(start..) else { break };
            let factor = window.first().copied().unwrap_or(0).wrapping_mul(self.inverse);
            let mut carry = 0;
            let Some((low, high)) = window.split_at_mut_checked(length) else { break };
            for (to, limb) in low.iter_mut().zip(self.limbs) {
                (*to, carry) = multiply_add((factor, *limb), *to, carry);
            }
            for to in high {
                let (sum, over) = to.overflowing_add(carry);
                *to = sum;
                if !over {
                    break;
                }
                carry = 1;
            }
        }
        let mut left = rest.split_off(steps);
        // Below the modulus plus a one above its limbs: one subtraction makes room.
        if left.last().is_some_and(|top| *top != 0) {
            subtract(&mut left, self.limbs);
        }
        left.truncate(length);
        left
    }
}

/// a * b + c + d, low and high limb; that fits in two.
#[expect(clippy::cast_possible_truncation, reason = "the limbs of a number of two")]
#[inline]
fn multiply_add((a, b): (u64, u64), c: u64, d: u64) -> (u64, u64) {
    let sum = u128::from(a).wrapping_mul(b.into()).wrapping_add(c.into()).wrapping_add(d.into());
    (sum as u64, (sum >> 64) as u64)
}

fn limbs(modulus: &[u8]) -> Vec<u64> {
    let limb = |octets: &[u8]| octets.iter().fold(0_u64, |sum, octet| (sum << 8) | u64::from(*octet));
    let mut number: Vec<u64> = modulus.rchunks(8).map(limb).collect();
    trim(&mut number);
    number
}

fn product_of(left: &[u64], right: &[u64]) -> Vec<u64> {
    let mut product = vec![0; left.len().saturating_add(right.len())];
    for (start, factor) in left.iter().enumerate() {
        let Some(window) = product.get_mut(start..) else { break };
        let mut carry = 0;
        let Some((low, high)) = window.split_at_mut_checked(right.len()) else { break };
        for (to, limb) in low.iter_mut().zip(right) {
            (*to, carry) = multiply_add((*factor, *limb), *to, carry);
        }
        // Nothing was written there yet.
        if let Some(to) = high.first_mut() {
            *to = carry;
        }
    }
    product
}

/// The odd greatest common divisor by halving and subtracting (Stein 1967); `odd` is odd.
fn gcd(mut odd: Vec<u64>, mut other: Vec<u64>) -> Vec<u64> {
    loop {
        trim(&mut other);
        let zeros = other.iter().take_while(|limb| **limb == 0).count();
        other.drain(..zeros);
        let Some(low) = other.first().copied() else { return odd };
        halve(&mut other, low.trailing_zeros());
        trim(&mut other);
        if is_less(&other, &odd) {
            std::mem::swap(&mut odd, &mut other);
        }
        subtract(&mut other, &odd);
    }
}

/// Divides by two `times` (0 to 63).
fn halve(number: &mut [u64], times: u32) {
    if times == 0 {
        return;
    }
    let mut above = 0;
    for limb in number.iter_mut().rev() {
        let whole = *limb;
        *limb = (whole >> times) | above;
        above = whole << (64_u32.saturating_sub(times));
    }
}

/// `larger` becomes the difference; what is borrowed beyond its top is lost.
fn subtract(larger: &mut [u64], smaller: &[u64]) {
    let mut borrow = false;
    let padded = smaller.iter().copied().chain(std::iter::repeat(0));
    for (to, limb) in larger.iter_mut().zip(padded) {
        let (difference, under) = to.overflowing_sub(limb);
        let (difference, again) = difference.overflowing_sub(u64::from(borrow));
        *to = difference;
        borrow = under || again;
    }
}

/// Both without zeros at the top.
fn is_less(left: &[u64], right: &[u64]) -> bool {
    left.len().cmp(&right.len()).then_with(|| left.iter().rev().cmp(right.iter().rev())).is_lt()
}

fn is_one(number: &[u64]) -> bool {
    number == [1]
}

fn trim(number: &mut Vec<u64>) {
    while number.last() == Some(&0) {
        number.pop();
    }
}

#[cfg(test)]
mod tests {
    use num_bigint_dig::BigUint;
    use proptest::prelude::*;

    use super::*;

    fn octets(number: &BigUint) -> Vec<u8> {
        number.to_bytes_be()
    }

    fn common(left: &BigUint, right: &BigUint) -> BigUint {
        let zero = BigUint::from(0_u32);
        let (mut larger, mut smaller) = (left.clone(), right.clone());
        while smaller != zero {
            (larger, smaller) = (smaller.clone(), larger % smaller);
        }
        larger
    }

    fn check(numbers: &[BigUint]) {
        let one = BigUint::from(1_u32);
        let pairs = numbers.iter().enumerate();
        let coprime = pairs.clone().all(|(at, left)| {
            numbers.iter().enumerate().all(|(other, right)| at >= other || common(left, right) == one)
        });
        let moduli: Vec<Vec<u8>> = numbers.iter().map(octets).collect();
        let moduli: Vec<&[u8]> = moduli.iter().map(Vec::as_slice).collect();
        assert_eq!(are_coprime(&moduli), Some(coprime), "{numbers:?}");
    }

    #[test]
    fn odd_ones_only() {
        assert_eq!(are_coprime(&[]), Some(true));
        for bad in [&[][..], &[0], &[2], &[1, 0], &[0, 0, 0, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(are_coprime(&[&[3], bad]), None);
        }
        assert_eq!(are_coprime(&[&[3], &[5], &[1], &[1], &[7, 1]]), Some(true));
        assert_eq!(are_coprime(&[&[3], &[5], &[0, 0, 15]]), Some(false));
        assert_eq!(are_coprime(&[&[0xff; 300], &[0xff; 300]]), Some(false));
    }

    #[test]
    fn one_pair_among_many_blocks_is_found() {
        // 2^n + 1 and 2^m + 1 are coprime when n and m are different powers of two.
        let fermat = |power: usize| (BigUint::from(1_u32) << (1_usize << power)) + 1_u32;
        let mut numbers: Vec<BigUint> = (0..11).map(fermat).collect();
        let primes = [7_u32, 11, 13, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103];
        numbers.extend(primes.map(BigUint::from));
        check(&numbers);
        for place in [0, 1, 15, 16, 17, 33] {
            let mut shared = numbers.clone();
            shared[place] = &shared[place] * BigUint::from(107_u32);
            shared.push(BigUint::from(107_u32) * BigUint::from(109_u32));
            check(&shared);
        }
    }

    proptest! {
        #[test]
        fn agrees_with_pairs(seeds in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..80), 0..40)) {
            let odd = |seed: &Vec<u8>| BigUint::from_bytes_be(seed) * 2_u32 + 1_u32;
            check(&seeds.iter().map(odd).collect::<Vec<_>>());
        }

        #[test]
        fn full_limbs_agree(length in 1_usize..70, cut in 0_u8..16, other in proptest::collection::vec(any::<u8>(), 1..200)) {
            let full = BigUint::from_bytes_be(&vec![0xff; length]) - (cut & 0xfe);
            let other = BigUint::from_bytes_be(&other) * 2_u32 + 1_u32;
            check(&[full.clone(), other.clone()]);
            check(&[other, full]);
        }
    }
}
