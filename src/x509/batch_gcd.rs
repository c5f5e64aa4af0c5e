//! RSA moduli that share a prime factor (Heninger, Durumeric, Wustrow, Halderman 2012): product and remainder trees.

use num_bigint_dig::BigUint;

/// Moduli of a block: its product is divided by the product of every other block, so that no number grows beyond it.
const BLOCK: usize = 512;

/// Longest modulus that is looked at, octets: 16,384 bits.
const MAX_OCTETS: usize = 2_048;

/// Moduli with a common factor that are compared one with another; a swamp of small factors would take for ever.
const MAX_SUSPECTS: usize = 300;

/// Pairs of moduli that have a common factor, as places in `moduli` (big-endian), the lower first, in order.
///
/// Moduli that are empty, even or longer than 16,384 bits are left out. Time grows with the square of all bits together:
/// a thousand keys of 2,048 bits take about a second.
pub fn shared_factors(moduli: &[&[u8]]) -> Vec<(usize, usize)> {
    let odd = |modulus: &&[u8]| modulus.len() <= MAX_OCTETS && modulus.last().is_some_and(|last| last & 1 == 1);
    let numbers: Vec<(usize, BigUint)> = moduli
        .iter()
        .enumerate()
        .filter(|(_, modulus)| odd(modulus))
        .map(|(place, modulus)| (place, BigUint::from_bytes_be(modulus)))
        .filter(|(_, number)| number.bits() > 1)
        .collect();
    let trees: Vec<Tree<'_>> = numbers.chunks(BLOCK).map(Tree::new).collect();
    let mut suspects = Vec::new();
    for (at, tree) in trees.iter().enumerate() {
        let mut common = vec![one(); tree.leaves.len()];
        for (other_at, other) in trees.iter().enumerate() {
            let remainders = if at == other_at { tree.among_itself() } else { tree.with(other) };
            for ((common, remainder), (_, number)) in common.iter_mut().zip(remainders).zip(tree.leaves) {
                *common = &*common * remainder % number;
            }
        }
        let found = tree.leaves.iter().zip(common).filter(|((_, number), common)| gcd(number, common) != one());
        suspects.extend(found.map(|(leaf, _)| leaf));
    }
    suspects.truncate(MAX_SUSPECTS);
    let mut pairs = Vec::new();
    let mut rest = suspects.as_slice();
    while let Some(((place, number), others)) = rest.split_first().map(|(first, others)| (*first, others)) {
        for (other_place, other) in others {
            if gcd(number, other) != one() {
                pairs.push((*place, *other_place));
            }
        }
        rest = others;
    }
    pairs
}

/// Products of a block: the first level is of the moduli, the last one has the product of all.
struct Tree<'a> {
    leaves: &'a [(usize, BigUint)],
    levels: Vec<Vec<BigUint>>,
}

impl<'a> Tree<'a> {
    fn new(leaves: &'a [(usize, BigUint)]) -> Self {
        let mut levels = vec![leaves.iter().map(|(_, number)| number.clone()).collect::<Vec<_>>()];
        while let Some(last) = levels.last().filter(|last| last.len() > 1) {
            let next = last.chunks(2).map(|pair| pair.iter().fold(one(), |product, number| product * number)).collect();
            levels.push(next);
        }
        Self { leaves, levels }
    }

    fn product(&self) -> Option<&BigUint> {
        self.levels.last().and_then(|level| level.first())
    }

    /// For each modulus the product of the others of the block, up to a multiple of the modulus.
    fn among_itself(&self) -> Vec<BigUint> {
        let Some(product) = self.product() else { return Vec::new() };
        let remainders = self.descend(product.clone(), |number| number * number);
        remainders.into_iter().zip(self.leaves).map(|(remainder, (_, number))| remainder / number).collect()
    }

    /// For each modulus the product of the other block, up to a multiple of the modulus.
    fn with(&self, other: &Tree<'_>) -> Vec<BigUint> {
        other.product().map(|product| self.descend(product.clone(), Clone::clone)).unwrap_or_default()
    }

    /// `value` modulo `modulus` of each leaf, level by level.
    fn descend(&self, value: BigUint, modulus: impl Fn(&BigUint) -> BigUint) -> Vec<BigUint> {
        let mut values = vec![value];
        for level in self.levels.iter().rev() {
            // The top has one parent, which is not two.
            let next = match level.as_slice() {
                [top] => values.first().map(|value| value % modulus(top)).into_iter().collect(),
                level => values
                    .iter()
                    .flat_map(|value| [value, value])
                    .zip(level)
                    .map(|(value, node)| value % modulus(node))
                    .collect(),
            };
            values = next;
        }
        values
    }
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
        shared_factors(&bytes.iter().map(<[u8; 4]>::as_slice).collect::<Vec<_>>())
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

    #[test]
    fn pairs_in_different_blocks_are_found() {
        let primes = primes();
        // Each modulus has its own two primes, until the last ones.
        let mut moduli: Vec<BigUint> = Vec::new();
        let mut candidate = 1_000_003_u64;
        while moduli.len() < BLOCK + 20 {
            candidate += 2;
            if (3..1_100).step_by(2).all(|divisor| !candidate.is_multiple_of(divisor)) {
                moduli.push(BigUint::from(candidate));
            }
        }
        let shared = BigUint::from(primes[200]);
        let (first, last) = (5, BLOCK + 11);
        moduli[first] *= &shared;
        moduli[last] *= &shared;
        let bytes: Vec<Vec<u8>> = moduli.iter().map(BigUint::to_bytes_be).collect();
        let slices: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
        assert_eq!(shared_factors(&slices), [(first, last)]);
    }

    #[test]
    fn hostile_moduli_are_left_out() {
        let long = vec![0xff; MAX_OCTETS + 1];
        let all: [&[u8]; 7] = [&[], &[0], &[1], &[0, 0, 1], &long, &long, &[15]];
        assert_eq!(shared_factors(&all), []);
        assert_eq!(shared_factors(&[]), []);
        assert_eq!(shared_factors(&[&[15], &[0, 15], &[21]]), [(0, 1), (0, 2), (1, 2)]);
    }
}
