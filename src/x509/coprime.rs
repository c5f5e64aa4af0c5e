//! Whether RSA moduli share no factor, for the usual case that they do not: no division, hardly an allocation.
//!
//! The product of all earlier moduli is reduced modulo each one from its low end (Montgomery 1985). What comes out is
//! the remainder times a power of two, and powers of two do not matter for the common factors of odd numbers.

#[cfg(target_arch = "x86_64")]
mod ifma;

/// Moduli whose product is reduced at once: 512 limbs with keys of 2,048 bits stay in the nearest cache.
const BLOCK: usize = 16;

/// No two of these odd moduli (big-endian) have a common factor. `None` when one of them is even or empty.
///
/// Time grows with the square of all bits together: 250 keys of 2,048 bits take some 30 ms, and 6 where the processor
/// multiplies eight pairs of 52 bits at once (AVX-512 IFMA).
pub fn are_coprime(moduli: &[&[u8]]) -> Option<bool> {
    if moduli.iter().any(|modulus| modulus.last().is_none_or(|low| low & 1 == 0)) {
        return None;
    }
    Some(by_lanes(moduli).unwrap_or_else(|| by_columns(moduli)))
}

/// So few octets together that [`are_coprime`] is faster than trees of products are.
pub fn is_quick(moduli: &[&[u8]]) -> bool {
    let most = if has_lanes(moduli) { 2 << 20 } else { 384 << 10 };
    moduli.iter().map(|modulus| modulus.len()).sum::<usize>() <= most
}

/// The processor multiplies many limbs at once, and no modulus is too long for that.
#[cfg(target_arch = "x86_64")]
fn has_lanes(moduli: &[&[u8]]) -> bool {
    ifma::is_possible(moduli)
}

#[cfg(not(target_arch = "x86_64"))]
fn has_lanes(_: &[&[u8]]) -> bool {
    false
}

/// The answer of eight lanes, where they can be had.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "whether the processor has an instruction is known at run time only")]
fn by_lanes(moduli: &[&[u8]]) -> Option<bool> {
    // SAFETY: the function is safe where these instructions exist, which was asked just before.
    has_lanes(moduli).then(|| unsafe { ifma::are_coprime(moduli) })
}

#[cfg(not(target_arch = "x86_64"))]
fn by_lanes(_: &[&[u8]]) -> Option<bool> {
    None
}

/// The answer of any processor.
fn by_columns(moduli: &[&[u8]]) -> bool {
    let numbers: Vec<Vec<u64>> = moduli.iter().map(|modulus| limbs(modulus)).collect();
    let mut earlier: Vec<Vec<u64>> = Vec::new();
    for block in numbers.chunks(BLOCK) {
        let mut among: Vec<u64> = vec![1];
        for number in block {
            let modulus = Modulus::new(number);
            let common = earlier.iter().fold(modulus.reduced(&among), |product, block| {
                let block = modulus.reduced(block);
                modulus.reduced(&product_of(&product, &block))
            });
            if shares_factor(number, &common) {
                return false;
            }
            among = product_of(&among, number);
        }
        earlier.push(among);
    }
    true
}

/// The negated inverse of an odd limb.
fn negated_inverse(low: u64) -> u64 {
    // An odd number is its own inverse modulo 8; each step doubles the bits (Hensel).
    let inverse = (0..5).fold(low, |inverse, _| inverse.wrapping_mul(2_u64.wrapping_sub(low.wrapping_mul(inverse))));
    inverse.wrapping_neg()
}

/// An odd modulus with the negated inverse of its lowest limb.
struct Modulus<'a> {
    limbs: &'a [u64],
    /// All limbs but the lowest, the highest first.
    above: Vec<u64>,
    inverse: u64,
}

impl<'a> Modulus<'a> {
    fn new(limbs: &'a [u64]) -> Self {
        let low = limbs.first().copied().unwrap_or(1);
        let above = limbs.iter().skip(1).rev().copied().collect();
        Self { limbs, above, inverse: negated_inverse(low) }
    }

    /// `number` times a power of two modulo this, in as many limbs as this has; maybe not the least such number.
    ///
    /// By columns (Comba): what stands in a column is summed before anything is written, so that there is one chain of
    /// carries in three registers.
    fn reduced(&self, number: &[u64]) -> Vec<u64> {
        let length = self.limbs.len();
        let steps = number.len().saturating_sub(length);
        let low = self.limbs.first().copied().unwrap_or(1);
        let mut column = Column::default();
        // Factors of the modulus that clear the lowest limbs, one after the other.
        let mut factors: Vec<u64> = Vec::with_capacity(steps);
        let mut limbs = number.iter().copied();
        for limb in limbs.by_ref().take(steps) {
            column.add(limb);
            column.add_products(self.meeting(&factors, 0));
            let factor = column.low().wrapping_mul(self.inverse);
            column.add_products((&[factor], &[low]));
            factors.push(factor);
            column.shift();
        }
        let mut left: Vec<u64> = Vec::with_capacity(length.saturating_add(1));
        for (place, limb) in limbs.chain(std::iter::repeat(0)).take(length).enumerate() {
            column.add(limb);
            column.add_products(self.meeting(&factors, place));
            left.push(column.low());
            column.shift();
        }
        // Below the modulus plus a one above its limbs: one subtraction makes room.
        if column.low() != 0 {
            subtract(&mut left, self.limbs);
        }
        left
    }

    /// Factors and limbs that meet in the column `ahead` columns behind the one of the next factor.
    fn meeting<'b>(&'b self, factors: &'b [u64], ahead: usize) -> (&'b [u64], &'b [u64]) {
        let most = self.above.len().saturating_sub(ahead);
        let factors = factors.get(factors.len().saturating_sub(most)..).unwrap_or_default();
        // The last factor meets the limb that is `ahead + 1` above the lowest.
        let limbs = self.above.get(most.saturating_sub(factors.len())..most).unwrap_or_default();
        (factors, limbs)
    }
}

/// A sum of products: three limbs.
#[derive(Clone, Copy, Debug, Default)]
struct Column {
    sum: u128,
    top: u64,
}

impl Column {
    #[inline]
    fn add(&mut self, limb: u64) {
        self.add_product(limb, 1);
    }

    #[inline]
    fn add_product(&mut self, left: u64, right: u64) {
        let (sum, over) = self.sum.overflowing_add(u128::from(left).wrapping_mul(right.into()));
        (self.sum, self.top) = (sum, self.top.wrapping_add(over.into()));
    }

    /// Adds the products of limbs that stand at the same place; both lists are as long.
    #[inline]
    fn add_products(&mut self, (left, right): (&[u64], &[u64])) {
        // Two sums at once: each waits for its own carries only.
        let (mut sum, mut other) = (*self, Self::default());
        let ((left, last_left), (right, last_right)) = (left.as_chunks::<2>(), right.as_chunks::<2>());
        for ([a, b], [c, d]) in left.iter().zip(right) {
            sum.add_product(*a, *c);
            other.add_product(*b, *d);
        }
        last_left.iter().zip(last_right).for_each(|(left, right)| sum.add_product(*left, *right));
        let (total, over) = sum.sum.overflowing_add(other.sum);
        *self = Self { sum: total, top: sum.top.wrapping_add(other.top).wrapping_add(over.into()) };
    }

    #[inline]
    fn low(&self) -> u64 {
        halves(self.sum).0
    }

    /// On to the next column.
    #[inline]
    fn shift(&mut self) {
        *self = Self { sum: (self.sum >> 64) | (u128::from(self.top) << 64), top: 0 };
    }
}

/// Low and high limb.
#[expect(clippy::cast_possible_truncation, reason = "the limbs of a number of two")]
#[inline]
fn halves(number: u128) -> (u64, u64) {
    (number as u64, (number >> 64) as u64)
}

fn limbs(modulus: &[u8]) -> Vec<u64> {
    let limb = |octets: &[u8]| octets.iter().fold(0_u64, |sum, octet| (sum << 8) | u64::from(*octet));
    let mut number: Vec<u64> = modulus.rchunks(8).map(limb).collect();
    trim(&mut number);
    number
}

fn product_of(left: &[u64], right: &[u64]) -> Vec<u64> {
    let reversed: Vec<u64> = right.iter().rev().copied().collect();
    let columns = left.len().saturating_add(right.len());
    let mut product = Vec::with_capacity(columns);
    let mut column = Column::default();
    for place in 0..columns {
        // Limbs whose places add up to this one.
        let from = place.saturating_add(1).saturating_sub(right.len());
        let limbs = left.get(from..left.len().min(place.saturating_add(1))).unwrap_or_default();
        let skipped = right.len().saturating_sub(1).saturating_sub(place.saturating_sub(from));
        let others = reversed.get(skipped..skipped.saturating_add(limbs.len())).unwrap_or_default();
        column.add_products((limbs, others));
        product.push(column.low());
        column.shift();
    }
    product
}

/// Bits of a limb of a signed number; two stay free for sums.
const BITS: u32 = 62;
const MASK: i64 = i64::MAX >> 1;

/// Whether a number has a common factor with an odd one: division steps, 62 at a time on the lowest limbs alone
/// (Bernstein, Yang 2019).
fn shares_factor(odd: &[u64], number: &[u64]) -> bool {
    let length = odd.len().max(number.len()).saturating_mul(64).div_ceil(BITS as usize).saturating_add(1);
    let (mut f, mut g) = (signed(odd, length), signed(number, length));
    let mut delta = -1;
    // Theorem 11.2: so many steps are enough. Should they not be, the caller looks closer.
    let steps = length.saturating_mul(BITS as usize).saturating_mul(49).saturating_add(80) / 17;
    for _ in 0..=steps / BITS as usize {
        if g.iter().all(|limb| *limb == 0) {
            // Plus or minus one.
            let rest = f.get(1..).unwrap_or_default();
            return !matches!(f.first(), Some(1)) && !matches!(f.first(), Some(-1))
                || rest.iter().any(|limb| *limb != 0);
        }
        let low = |number: &[i64]| number.first().copied().unwrap_or(0).cast_unsigned();
        let steps = division_steps(&mut delta, (low(&f), low(&g)));
        step(&mut f, &mut g, steps);
        shorten(&mut f, &mut g);
    }
    true
}

/// A number in limbs of 62 bits, the top one with the sign.
fn signed(number: &[u64], length: usize) -> Vec<i64> {
    let limb = |place: usize| {
        let bit = place.saturating_mul(BITS as usize);
        let at = |place: usize| u128::from(number.get(place).copied().unwrap_or(0));
        let pair = at(bit / 64) | (at((bit / 64).saturating_add(1)) << 64);
        i64::try_from((pair >> (bit % 64)) & u128::from(MASK.cast_unsigned())).unwrap_or(0)
    };
    (0..length).map(limb).collect()
}

/// What 62 division steps do with two numbers, times 2^62: new f = (u f + v g), new g = (q f + r g).
#[derive(Clone, Copy, Debug)]
struct Steps {
    u: i64,
    v: i64,
    q: i64,
    r: i64,
}

/// 62 division steps, of which only the lowest 62 bits of both numbers decide. `delta` is the negated one of the paper.
fn division_steps(delta: &mut i64, (mut f, mut g): (u64, u64)) -> Steps {
    let (mut u, mut v, mut q, mut r) = (1_u64, 0_u64, 0_u64, 1_u64);
    let mut left = BITS;
    loop {
        // A one above: never more zeros than steps are left.
        let zeros = (g | (u64::MAX << left)).trailing_zeros();
        g >>= zeros;
        u <<= zeros;
        v <<= zeros;
        *delta = delta.wrapping_sub(i64::from(zeros));
        left = left.saturating_sub(zeros);
        if left == 0 {
            break;
        }
        if *delta < 0 {
            *delta = delta.wrapping_neg();
            (f, g) = (g, f.wrapping_neg());
            (u, q) = (q, u.wrapping_neg());
            (v, r) = (r, v.wrapping_neg());
        }
        // So many of the next steps add f or not, as the bits of g want it: f times one factor clears them all.
        let most = u32::try_from(delta.saturating_add(1)).unwrap_or(u32::MAX).min(left).min(4);
        let inverse = f.wrapping_add((f.wrapping_add(1) & 4) << 1);
        let factor = inverse.wrapping_neg().wrapping_mul(g) & (u64::MAX >> (64_u32.saturating_sub(most)));
        g = g.wrapping_add(f.wrapping_mul(factor));
        q = q.wrapping_add(u.wrapping_mul(factor));
        r = r.wrapping_add(v.wrapping_mul(factor));
    }
    Steps { u: u.cast_signed(), v: v.cast_signed(), q: q.cast_signed(), r: r.cast_signed() }
}

/// Applies steps to whole numbers.
fn step(f: &mut [i64], g: &mut [i64], by: Steps) {
    let (mut carry_f, mut carry_g) = (0_i128, 0_i128);
    let (u, v, q, r) = (i128::from(by.u), i128::from(by.v), i128::from(by.q), i128::from(by.r));
    let mut below: Option<(&mut i64, &mut i64)> = None;
    for (f, g) in f.iter_mut().zip(g.iter_mut()) {
        let (old_f, old_g) = (i128::from(*f), i128::from(*g));
        carry_f = carry_f.wrapping_add(u.wrapping_mul(old_f)).wrapping_add(v.wrapping_mul(old_g));
        carry_g = carry_g.wrapping_add(q.wrapping_mul(old_f)).wrapping_add(r.wrapping_mul(old_g));
        // The lowest limbs are zero now: all others move down by one.
        if let Some((f, g)) = below {
            (*f, *g) = (low_bits(carry_f), low_bits(carry_g));
        }
        carry_f >>= BITS;
        carry_g >>= BITS;
        below = Some((f, g));
    }
    if let Some((f, g)) = below {
        (*f, *g) = (whole(carry_f), whole(carry_g));
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lowest bits are wanted")]
fn low_bits(number: i128) -> i64 {
    number as i64 & MASK
}

#[expect(clippy::cast_possible_truncation, reason = "a top limb fits, as both numbers only get smaller")]
fn whole(number: i128) -> i64 {
    number as i64
}

/// Drops a top limb that is only the sign of both.
fn shorten(f: &mut Vec<i64>, g: &mut Vec<i64>) {
    let is_sign = |number: &[i64]| matches!(number.last(), Some(0 | -1));
    while f.len() > 1 && is_sign(f) && is_sign(g) {
        for number in [&mut *f, &mut *g] {
            let sign = number.pop().unwrap_or(0);
            if let Some(top) = number.last_mut() {
                *top |= sign << BITS;
            }
        }
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
        expect(numbers, coprime);
    }

    /// Every way comes to this answer.
    fn expect(numbers: &[BigUint], coprime: bool) {
        let moduli: Vec<Vec<u8>> = numbers.iter().map(octets).collect();
        let moduli: Vec<&[u8]> = moduli.iter().map(Vec::as_slice).collect();
        assert_eq!(are_coprime(&moduli), Some(coprime), "{numbers:?}");
        assert_eq!(by_columns(&moduli), coprime, "{numbers:?}");
        assert_eq!(by_lanes(&moduli).unwrap_or(coprime), coprime, "{numbers:?}");
    }

    /// A prime that two moduli get.
    const SHARED: u32 = 10_007;

    /// Products of as many terms of a sequence as wanted, no two of which have a common factor: of 1 + s, 1 + 2 s, 1 + 3 s ..
    /// where every difference of places divides s, and so does [`SHARED`].
    fn coprime_numbers(seed: &[u8], terms: &[usize]) -> Vec<BigUint> {
        let last = u32::try_from(terms.iter().sum::<usize>()).unwrap();
        let step = (1..=last).fold((BigUint::from_bytes_be(seed) + 1_u32) * (2 * SHARED), |step, place| {
            let known = common(&step, &place.into());
            step * (BigUint::from(place) / known)
        });
        let mut sequence = (1..=last).map(|place| &step * place + 1_u32);
        terms
            .iter()
            .map(|terms| sequence.by_ref().take(*terms).fold(1_u32.into(), |product: BigUint, n| product * n))
            .collect()
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

    #[test]
    fn many_moduli_make_blocks_of_every_size() {
        let numbers = coprime_numbers(&[0xa7; 228], &[1; 140]);
        assert!((2_000..2_080).contains(&numbers[0].bits()), "{}", numbers[0].bits());
        expect(&numbers, true);
        for (one, other) in [(0, 7), (3, 128), (138, 139)] {
            let mut shared = numbers.clone();
            for place in [one, other] {
                shared[place] *= SHARED;
            }
            expect(&shared, false);
        }
    }

    #[test]
    fn blocks_have_a_longest_length() {
        let mut numbers = coprime_numbers(&[0x5b; 1_080], &[1; 66]);
        assert!((8_740..8_840).contains(&numbers[0].bits()), "{}", numbers[0].bits());
        expect(&numbers, true);
        numbers[1] *= SHARED;
        numbers[65] *= SHARED;
        let moduli: Vec<Vec<u8>> = numbers.iter().map(octets).collect();
        assert_eq!(are_coprime(&moduli.iter().map(Vec::as_slice).collect::<Vec<_>>()), Some(false));
    }

    #[test]
    fn the_longest_moduli() {
        for octets in [2_040, 2_048, 2_049] {
            // A multiple of three.
            let full = (BigUint::from(1_u32) << (8 * octets)) - 1_u32;
            let numbers = [0_u32, 2, 6].map(|less| &full - less);
            expect(&numbers[..2], true);
            expect(&numbers, false);
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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn lengths_may_differ(
            seed in proptest::collection::vec(any::<u8>(), 0..60),
            terms in proptest::collection::vec(prop_oneof![8 => 0_usize..3, 2 => 0_usize..8], 2..60),
            shared in any::<[proptest::sample::Index; 2]>(),
        ) {
            let mut numbers = coprime_numbers(&seed, &terms);
            expect(&numbers, true);
            let [one, other] = shared.map(|place| place.index(numbers.len()));
            for place in [one, other] {
                numbers[place] *= SHARED;
            }
            expect(&numbers, one == other);
        }

        #[test]
        fn equal_moduli_are_found(seed in proptest::collection::vec(any::<u8>(), 0..60), at in 0_usize..20, length in 20_usize..40) {
            let mut numbers = coprime_numbers(&seed, &vec![1; length]);
            numbers.push(numbers[at].clone());
            expect(&numbers, false);
        }
    }
}
