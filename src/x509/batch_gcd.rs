//! RSA moduli that share a prime factor (Heninger, Durumeric, Wustrow, Halderman 2012): a product tree, and down again
//! the scaled remainders of Bernstein ("Scaled remainder trees", 2004), which need one division for all.

use num_bigint_dig::BigUint;

use super::long_product::multiply;

/// Longest modulus that is looked at, octets: 16,384 bits.
const MAX_OCTETS: usize = 2_048;

/// Moduli with a common factor that are compared one with another; a swamp of small factors would take for ever.
const MAX_SUSPECTS: usize = 300;

/// Bits that a scaled remainder has beyond its modulus: each step down may lose a unit in the last place.
const GUARD: usize = 64;

/// Bits of a divisor from which a reciprocal is found by Newton's method; below, schoolbook division is as fast.
const NEWTON: usize = 4_096;

/// What was found among moduli.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shared {
    /// Pairs of moduli that have a common factor, as places in what was given, the lower first, in order.
    pub pairs: Vec<(usize, usize)>,
    /// Moduli that have a factor in common with another one, and that were not compared because there are too many.
    pub left_out: usize,
}

/// Looks which moduli (big-endian) have a common factor.
///
/// Moduli that are empty, even or longer than 16,384 bits are left out. Time grows little faster than the number of bits;
/// memory is up to a hundred times the moduli: 20,000 keys of 2,048 bits take half a minute of one core and half a gigabyte,
/// 100,000 some five minutes and two.
///
/// `tell` hears from time to time how much of the work is done, and how much there is.
pub fn shared_factors(moduli: &[&[u8]], tell: &mut dyn FnMut(u64, u64)) -> Shared {
    let mut suspects = suspects(moduli, tell);
    let left_out = suspects.len().saturating_sub(MAX_SUSPECTS);
    suspects.truncate(MAX_SUSPECTS);
    let mut pairs = Vec::new();
    let mut rest = suspects.as_slice();
    while let Some(((place, part), others)) = rest.split_first() {
        for (other_place, other) in others {
            if gcd(part, other) != one() {
                pairs.push((*place, *other_place));
            }
        }
        rest = others;
    }
    Shared { pairs, left_out }
}

/// Places of the moduli that have a factor in common with another one, in order. Takes what [`shared_factors`] takes.
pub fn sharing(moduli: &[&[u8]]) -> Vec<usize> {
    suspects(moduli, &mut |_, _| {}).into_iter().map(|(place, _)| place).collect()
}

/// Moduli that have a factor in common with another one, and what they have in common with all others.
fn suspects(moduli: &[&[u8]], tell: &mut dyn FnMut(u64, u64)) -> Vec<(usize, BigUint)> {
    let odd = |modulus: &&[u8]| modulus.len() <= MAX_OCTETS && modulus.last().is_some_and(|last| last & 1 == 1);
    let numbers: Vec<(usize, BigUint)> = moduli
        .iter()
        .enumerate()
        .filter(|(_, modulus)| odd(modulus))
        .map(|(place, modulus)| (place, BigUint::from_bytes_be(modulus)))
        .filter(|(_, number)| number.bits() > 1)
        .collect();
    let all: u64 = numbers.iter().map(|(_, number)| weight(number)).sum();
    let levels = u64::from(numbers.len().max(1).next_power_of_two().ilog2());
    let per_level = UP.saturating_add(DOWN).saturating_mul(levels);
    let mut work = Work { all, done: 0, units: per_level.saturating_add(DIVIDE).saturating_add(COMPARE), tell };
    let others = products_of_others(numbers.iter().map(|(_, number)| number.clone()).collect(), &mut work);
    // Two have a factor in common where these parts do, which are shorter.
    let parts = numbers.iter().zip(&others).map(|((place, number), others)| {
        work.did(weight(number), COMPARE);
        (*place, gcd(number, others))
    });
    parts.filter(|(_, part)| *part != one()).collect()
}

/// Parts of the work, for each bit of the moduli: a level of the tree upwards, the division, a level downwards, and the
/// comparison of each with its remainder. Rough: they only say how far it is.
const UP: u64 = 3;
const DIVIDE: u64 = 24;
const DOWN: u64 = 3;
const COMPARE: u64 = 6;

/// How far it got.
struct Work<'a> {
    /// Bits of all moduli.
    all: u64,
    /// Bits times parts.
    done: u64,
    /// Parts for each bit.
    units: u64,
    tell: &'a mut dyn FnMut(u64, u64),
}

impl Work<'_> {
    /// So many bits went through a part of so much weight.
    fn did(&mut self, bits: u64, weight: u64) {
        self.done = self.done.saturating_add(bits.saturating_mul(weight));
        let all = self.all.saturating_mul(self.units);
        (self.tell)(self.done.min(all), all);
    }
}

fn weight(number: &BigUint) -> u64 {
    u64::try_from(number.bits()).unwrap_or(u64::MAX)
}

/// For each number the product of all others modulo the number.
fn products_of_others(numbers: Vec<BigUint>, work: &mut Work<'_>) -> Vec<BigUint> {
    if numbers.len() < 2 {
        return vec![one(); numbers.len()];
    }
    // With P the product, the sum of all P / n is, modulo each n, the product of the others.
    let mut sums = vec![one(); numbers.len()];
    let mut levels = vec![numbers];
    while let Some(level) = levels.last().filter(|level| level.len() > 1) {
        let join = |(sums, products): (&[BigUint], &[BigUint])| match (sums, products) {
            ([left, right], [one, other]) => multiply(left, other) + multiply(right, one),
            (sums, _) => sums.iter().cloned().sum(),
        };
        sums = sums.chunks(2).zip(level.chunks(2)).map(join).collect();
        let next = level
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => {
                    let product = multiply(left, right);
                    work.did(weight(&product), UP);
                    product
                }
                rest => rest.iter().fold(one(), |product, number| product * number),
            })
            .collect();
        levels.push(next);
    }
    let (Some(root), Some(sum)) = (levels.pop().and_then(|mut level| level.pop()), sums.pop()) else {
        return Vec::new();
    };
    // The fraction sum / P, of which only what is behind the point counts.
    let scale = root.bits() + GUARD;
    let mut bits = vec![scale];
    let mut fractions = vec![low_bits(divide_scaled(&sum, &root, scale), scale)];
    work.did(work.all, DIVIDE);
    drop((root, sum));
    while let Some(level) = levels.pop() {
        let mut next = Vec::with_capacity(level.len());
        let mut next_bits = Vec::with_capacity(level.len());
        for ((pair, fraction), bits) in level.chunks(2).zip(fractions).zip(bits) {
            match pair {
                [left, right] => {
                    for (mine, sibling) in [(left, right), (right, left)] {
                        let kept = mine.bits() + GUARD;
                        let scaled = low_bits(multiply(&fraction, sibling), bits);
                        next.push(scaled >> (bits.saturating_sub(kept)));
                        next_bits.push(kept.min(bits));
                        work.did(weight(mine), DOWN);
                    }
                }
                _ => {
                    next.push(fraction);
                    next_bits.push(bits);
                }
            }
        }
        (fractions, bits) = (next, next_bits);
        if levels.is_empty() {
            // Back from fractions to remainders: to the nearest whole number.
            let whole = |((fraction, bits), number): ((BigUint, usize), &BigUint)| {
                let rounded = (fraction * number + (one() << (bits - 1))) >> bits;
                if rounded == *number { BigUint::from(0_u32) } else { rounded }
            };
            return fractions.into_iter().zip(bits).zip(&level).map(whole).collect();
        }
    }
    Vec::new()
}

fn low_bits(number: BigUint, bits: usize) -> BigUint {
    if number.bits() <= bits {
        return number;
    }
    let high = (&number >> bits) << bits;
    number - high
}

/// `number * 2^bits / divisor`, too small by a few units at most.
fn divide_scaled(number: &BigUint, divisor: &BigUint, bits: usize) -> BigUint {
    let size = divisor.bits();
    // As many bits of the reciprocal as the quotient has.
    let precision = bits + number.bits().saturating_sub(size) + GUARD;
    multiply(number, &reciprocal(divisor, precision)) >> (size + precision - bits)
}

/// `2^(size + precision) / divisor` of a divisor of `size` bits, too small by a few units at most.
fn reciprocal(divisor: &BigUint, precision: usize) -> BigUint {
    let size = divisor.bits();
    if precision <= NEWTON {
        // No more bits of the divisor than count.
        let cut = size.saturating_sub(precision + GUARD);
        let top = (divisor >> cut) + if cut > 0 { one() } else { BigUint::from(0_u32) };
        return (one() << (size - cut + precision)) / top;
    }
    let half = precision / 2 + GUARD;
    let cut = size.saturating_sub(precision + GUARD);
    let top = (divisor >> cut) + if cut > 0 { one() } else { BigUint::from(0_u32) };
    let near = reciprocal(&top, half);
    // x (2 - d x): near is below, and so is what comes of it.
    let top_size = top.bits();
    let product = multiply(&top, &near);
    let two = one() << (top_size + half + 1);
    // A carry may have made it one bit longer.
    let shift = top_size + cut - size;
    let better = multiply(&near, &(two - product)) >> (top_size + 2 * half - precision);
    better >> shift
}

fn one() -> BigUint {
    BigUint::from(1_u32)
}

/// Greatest common divisor (Euclid).
fn gcd(number: &BigUint, other: &BigUint) -> BigUint {
    let zero = BigUint::from(0_u32);
    let (mut larger, mut smaller) = (number.clone(), other.clone());
    while smaller != zero {
        let remainder = larger % &smaller;
        larger = smaller;
        smaller = remainder;
    }
    larger
}
#[cfg(test)]
mod tests {
    use super::*;

    fn found_among(moduli: &[&[u8]]) -> Shared {
        shared_factors(moduli, &mut |_, _| {})
    }

    #[test]
    fn how_far_it_got_is_told_up_to_the_end() {
        let moduli: Vec<Vec<u8>> =
            (0..1_000_u32).map(|number| (number * 2 + 0xff00_0001).to_be_bytes().to_vec()).collect();
        let mut told = Vec::new();
        shared_factors(&moduli.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut |done, all| told.push((done, all)));
        let all = told[0].1;
        assert!(told.is_sorted() && told.iter().all(|(done, one)| *one == all && *done <= all));
        // Odd ones out go up a level for nothing, and products may lack a bit.
        assert!(told.len() > 2_000 && told.last().unwrap().0 > all / 10 * 9, "{:?} of {all}", told.last());
    }

    use proptest::prelude::*;

    /// Odd primes below 2,000.
    fn primes() -> Vec<u32> {
        (3..2_000).filter(|number| (2..*number).take_while(|d| d * d <= *number).all(|d| number % d != 0)).collect()
    }

    fn plain(moduli: &[u32]) -> Vec<(usize, usize)> {
        let mut pairs = Vec::new();
        for (at, one) in moduli.iter().enumerate() {
            for (other_at, other) in moduli.iter().enumerate().skip(at + 1) {
                if one % 2 == 1 && other % 2 == 1 && divisor(*one, *other) > 1 {
                    pairs.push((at, other_at));
                }
            }
        }
        pairs
    }

    fn divisor(one: u32, other: u32) -> u32 {
        if other == 0 { one } else { divisor(other, one % other) }
    }

    fn find(moduli: &[u32]) -> Vec<(usize, usize)> {
        let bytes: Vec<_> = moduli.iter().map(|modulus| modulus.to_be_bytes()).collect();
        found_among(&bytes.iter().map(<[u8; 4]>::as_slice).collect::<Vec<_>>()).pairs
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn the_same_pairs_as_one_by_one(chosen in prop::collection::vec((0..300_usize, 0..300_usize, 0..20_u8), 0..40)) {
            let primes = primes();
            let moduli: Vec<u32> = chosen
                .iter()
                .map(|(p, q, kind)| match kind {
                    0 => 0,
                    1 => 1,
                    2 => primes[*p] * 2,
                    3 => primes[*p] * primes[*p],
                    _ => primes[*p] * primes[*q],
                })
                .collect();
            prop_assert_eq!(find(&moduli), plain(&moduli));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn products_of_the_others_are_exact(moduli in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..90), 1..60)) {
            let odd = |bytes: &Vec<u8>| BigUint::from_bytes_be(bytes) * 2_u32 + 3_u32;
            let numbers: Vec<BigUint> = moduli.iter().map(odd).collect();
            let all = numbers.iter().fold(one(), |product, number| product * number);
            let plain: Vec<BigUint> = numbers.iter().map(|number| &all / number % number).collect();
            prop_assert_eq!(products_of_others(numbers, &mut Work { all: 0, done: 0, units: 0, tell: &mut |_, _| {} }), plain);
        }

        #[test]
        fn reciprocals_are_below_by_little(
            octets in prop::collection::vec(any::<u8>(), 1..3_000),
            precision in 1_usize..20_000,
        ) {
            let divisor = BigUint::from_bytes_be(&octets) + 1_u32;
            let exact = (one() << (divisor.bits() + precision)) / &divisor;
            let near = reciprocal(&divisor, precision);
            prop_assert!(near <= exact && exact - near < BigUint::from(16_u32));
        }
    }

    #[test]
    fn a_divisor_of_ones_only_has_a_reciprocal() {
        for octets in [1, 511, 700, 2_000] {
            for precision in [1, 100, 4_096, 4_097, 9_000] {
                let divisor = BigUint::from_bytes_be(&vec![0xff; octets]);
                let exact = (one() << (divisor.bits() + precision)) / &divisor;
                let near = reciprocal(&divisor, precision);
                assert!(near <= exact && exact - near < BigUint::from(16_u32), "{octets} {precision}");
            }
        }
    }

    #[test]
    fn a_pair_among_many_is_found() {
        let primes = primes();
        // Each modulus has its own primes, until the last ones.
        let mut moduli: Vec<BigUint> = Vec::new();
        let mut candidate = 1_000_003_u64;
        while moduli.len() < 533 {
            candidate += 2;
            if (3..1_100).step_by(2).all(|divisor| !candidate.is_multiple_of(divisor)) {
                moduli.push(BigUint::from(candidate));
            }
        }
        let shared = BigUint::from(primes[200]);
        moduli[5] *= &shared;
        moduli[523] *= &shared;
        let bytes: Vec<Vec<u8>> = moduli.iter().map(BigUint::to_bytes_be).collect();
        let slices: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
        assert_eq!(found_among(&slices), Shared { pairs: vec![(5, 523)], left_out: 0 });
    }

    #[test]
    fn too_many_are_counted() {
        let moduli: Vec<Vec<u8>> = (0..u32::try_from(MAX_SUSPECTS).unwrap() + 7)
            .map(|number| BigUint::from(3 * (2 * u64::from(number) + 1_000_001)).to_bytes_be())
            .collect();
        let found = found_among(&moduli.iter().map(Vec::as_slice).collect::<Vec<_>>());
        assert_eq!((found.pairs.len(), found.left_out), (MAX_SUSPECTS * (MAX_SUSPECTS - 1) / 2, 7));
    }

    #[test]
    fn hostile_moduli_are_left_out() {
        let long = vec![0xff; MAX_OCTETS + 1];
        let all: [&[u8]; 7] = [&[], &[0], &[1], &[0, 0, 1], &long, &long, &[15]];
        assert_eq!(found_among(&all), Shared::default());
        assert_eq!(found_among(&[]), Shared::default());
        assert_eq!(found_among(&[&[15], &[0, 15], &[21]]).pairs, [(0, 1), (0, 2), (1, 2)]);
    }
}
