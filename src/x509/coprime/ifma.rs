//! The same with eight moduli side by side, for processors that multiply eight pairs of 52 bits at once (AVX-512 IFMA).
//!
//! A lane of a register belongs to a modulus, a register to a limb. Products of earlier moduli are reduced modulo all
//! eight at once.

use std::arch::x86_64::*;
use std::cell::Cell;

mod steps;

/// A limb of eight numbers.
type Lanes = __m512i;

/// How many numbers stand side by side.
const LANES: usize = 8;

/// Bits of a limb. Products are added up in 64 bits: 2^12 of them never overflow.
const BITS: u32 = 52;
const MASK: u64 = (1 << BITS) - 1;

/// Limbs that are worked off at once: the length of every number is a multiple.
const STEP: usize = 4;

/// Octets of the longest modulus whose sums of products do not overflow: 16,384 bits.
const MAX_OCTETS: usize = 2_048;

/// Limbs up to which moduli are multiplied with each other, to be reduced at once: 32 keys of 2,048 bits. Longer ones would
/// neither stay in the nearer caches nor keep sums of products below 2^64.
const BLOCK: usize = 1_300;

/// The processor can do this, and every modulus is short enough.
pub(super) fn is_possible(moduli: &[&[u8]]) -> bool {
    let has_features = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512ifma");
    has_features && moduli.iter().all(|modulus| modulus.len() <= MAX_OCTETS)
}

/// No two of these odd moduli have a common factor.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn are_coprime(moduli: &[&[u8]]) -> bool {
    let mut sorted = moduli.to_vec();
    // A group is as long as its longest modulus.
    sorted.sort_by_key(|modulus| modulus.len());
    let mut blocks: Vec<Vec<Lanes>> = Vec::new();
    for group in sorted.chunks(LANES) {
        let modulus = Modulus::new(group);
        let mut common = modulus.product_of_half_the_others();
        for block in &blocks {
            for lane in 0..LANES {
                common = modulus.times(&common, &modulus.reduced(broadcast(block, lane)));
            }
        }
        if steps::share_factors(modulus.number(), &common) {
            return false;
        }
        // Blocks of about the same length become one: lane by lane they are products of 1, 2, 4 .. moduli.
        let mut block = modulus.number().to_vec();
        while let Some(last) = blocks.pop_if(|last| last.len() < 2 * block.len() && last.len() + block.len() <= BLOCK) {
            block = product(&padded(&last), &block);
            normalize(&mut block);
        }
        blocks.push(block);
    }
    true
}

/// Eight odd moduli.
struct Modulus {
    /// The limbs, with zeros below and above as in [`padded`].
    padded: Vec<Lanes>,
    /// The lowest limbs.
    lowest: [Lanes; STEP],
    /// The negated inverse of the lowest limb.
    inverse: Lanes,
}

impl Modulus {
    /// Of at most eight numbers; ones fill up.
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn new(group: &[&[u8]]) -> Self {
        let octets = group.iter().map(|modulus| modulus.len()).max().unwrap_or(0);
        // Two bits stay free: remainders are below two moduli, and so are their products, reduced.
        let length = (octets * 8 + 2).div_ceil(BITS as usize).next_multiple_of(STEP);
        let mut limbs: [Vec<u64>; LANES] = std::array::from_fn(|lane| limbs_of(group.get(lane).unwrap_or(&&[1][..])));
        for limbs in &mut limbs {
            limbs.resize(length, 0);
        }
        let at = |place: usize| limbs.each_ref().map(|limbs| limbs.get(place).copied().unwrap_or(0));
        let number: Vec<Lanes> = (0..length).map(|place| from_limbs(at(place))).collect();
        let inverse = from_limbs(at(0).map(|low| super::negated_inverse(low) & MASK));
        let lowest = number.first_chunk().copied().unwrap_or_else(|| [zero(); STEP]);
        Self { padded: padded(&number), lowest, inverse }
    }

    fn number(&self) -> &[Lanes] {
        self.padded.get(STEP - 1..self.padded.len() - STEP).unwrap_or_default()
    }

    /// A product of other moduli of the group: each two of the eight meet in one of both lanes.
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn product_of_half_the_others(&self) -> Vec<Lanes> {
        let rotated = |by: i64| {
            let lanes = _mm512_and_si512(
                _mm512_add_epi64(_mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0), _mm512_set1_epi64(by)),
                _mm512_set1_epi64(7),
            );
            self.number().iter().map(|limb| _mm512_permutexvar_epi64(lanes, *limb)).collect::<Vec<Lanes>>()
        };
        (2..=4).fold(rotated(1), |product, by| self.times(&product, &rotated(by)))
    }

    /// The product times a power of two, reduced.
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn times(&self, left: &[Lanes], right: &[Lanes]) -> Vec<Lanes> {
        let product = product(&padded(left), right);
        let (low, high) = product.split_at_checked(right.len()).unwrap_or_default();
        let mut reduced = self.reduced(low.as_chunks().0.iter().copied());
        for (limb, high) in reduced.iter_mut().zip(high) {
            *limb = add(*limb, *high);
        }
        normalize(&mut reduced);
        reduced
    }

    /// A number, from its lowest limbs on, times a power of two, reduced: at most the modulus.
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn reduced(&self, number: impl Iterator<Item = [Lanes; STEP]>) -> Vec<Lanes> {
        let mut sums = vec![zero(); self.padded.len()];
        let cells = Cell::from_mut(sums.as_mut_slice()).as_slice_of_cells();
        let Some((lowest, above)) = cells.split_first_chunk::<STEP>() else { return Vec::new() };
        let [_, n1, n2, n3] = self.lowest;
        for limbs in number {
            // Factors of the modulus that clear the lowest limbs.
            let [s0, s1, s2, s3] = lowest.each_ref().map(Cell::get);
            let [x0, x1, x2, x3] = limbs;
            let (q0, carry) = self.factor((add(s0, x0), zero()));
            let (q1, carry) = self.factor(add_products(add(add(s1, x1), carry), [(q0, n1)]));
            let (q2, carry) = self.factor(add_products(add(add(s2, x2), carry), [(q0, n2), (q1, n1)]));
            let (q3, carry) = self.factor(add_products(add(add(s3, x3), carry), [(q0, n3), (q1, n2), (q2, n1)]));
            let mut high = carry;
            let windows = windows(&self.padded).skip(STEP);
            for (([m3, m2, m1, m0], sum), to) in windows.zip(above).zip(cells) {
                let column = add_products(add(sum.get(), high), [(q0, *m0), (q1, *m1), (q2, *m2), (q3, *m3)]);
                to.set(column.0);
                high = column.1;
            }
        }
        sums.truncate(self.number().len());
        normalize(&mut sums);
        sums
    }

    /// The multiple of the modulus that clears the lower part of a column, and what is left for the next column.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn factor(&self, (low, high): (Lanes, Lanes)) -> (Lanes, Lanes) {
        let [lowest, ..] = self.lowest;
        let factor = _mm512_madd52lo_epu64(zero(), low, self.inverse);
        let (low, high) = (_mm512_madd52lo_epu64(low, factor, lowest), _mm512_madd52hi_epu64(high, factor, lowest));
        (factor, add(high, _mm512_srli_epi64::<BITS>(low)))
    }
}

/// The product, as sums of up to 2^12 products in each limb; the first one is padded.
#[target_feature(enable = "avx512f,avx512ifma")]
fn product(padded: &[Lanes], other: &[Lanes]) -> Vec<Lanes> {
    let mut sums = vec![zero(); (padded.len() + other.len()).saturating_sub(2 * STEP - 1)];
    let mut left = sums.as_mut_slice();
    for [q0, q1, q2, q3] in other.as_chunks().0 {
        let mut high = zero();
        for ([m3, m2, m1, m0], sum) in windows(padded).zip(left.iter_mut()) {
            let column = add_products(add(*sum, high), [(*q0, *m0), (*q1, *m1), (*q2, *m2), (*q3, *m3)]);
            (*sum, high) = column;
        }
        left = left.get_mut(STEP..).unwrap_or_default();
    }
    sums
}

/// A column and the next one, with products of limbs that meet in the former.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn add_products<const N: usize>(column: Lanes, pairs: [(Lanes, Lanes); N]) -> (Lanes, Lanes) {
    let (mut low, mut high) = (column, zero());
    for (left, right) in pairs {
        low = _mm512_madd52lo_epu64(low, left, right);
        high = _mm512_madd52hi_epu64(high, left, right);
    }
    (low, high)
}

/// With so many zeros below and above that a window of [`STEP`] limbs can slide over all columns of a product.
#[target_feature(enable = "avx512f")]
fn padded(number: &[Lanes]) -> Vec<Lanes> {
    let mut padded = Vec::with_capacity(number.len() + 2 * STEP - 1);
    padded.extend([zero(); STEP - 1]);
    padded.extend_from_slice(number);
    padded.extend([zero(); STEP]);
    padded
}

/// All windows of a padded number.
fn windows(padded: &[Lanes]) -> impl Iterator<Item = &[Lanes; STEP]> {
    padded.windows(STEP).filter_map(<[Lanes]>::first_chunk)
}

/// Moves what limbs have above their bits to the next ones.
#[target_feature(enable = "avx512f")]
fn normalize(number: &mut [Lanes]) {
    let mask = _mm512_set1_epi64(MASK.cast_signed());
    let mut carry = zero();
    for limb in number {
        let sum = add(*limb, carry);
        *limb = _mm512_and_si512(sum, mask);
        carry = _mm512_srli_epi64::<BITS>(sum);
    }
}

/// The limbs of one lane, in all lanes.
#[target_feature(enable = "avx512f")]
fn broadcast(number: &[Lanes], lane: usize) -> impl Iterator<Item = [Lanes; STEP]> {
    let lane = _mm512_set1_epi64(i64::try_from(lane).unwrap_or(0));
    number.as_chunks().0.iter().map(move |limbs| limbs.map(|limb| _mm512_permutexvar_epi64(lane, limb)))
}

/// The number in limbs of 52 bits.
fn limbs_of(octets: &[u8]) -> Vec<u64> {
    // Two limbs are 13 octets.
    let pairs = octets.rchunks(13).map(|pair| pair.iter().fold(0_u128, |sum, octet| (sum << 8) | u128::from(*octet)));
    pairs
        .flat_map(|pair| [pair, pair >> BITS])
        .map(|limb| u64::try_from(limb & u128::from(MASK)).unwrap_or(0))
        .collect()
}

#[target_feature(enable = "avx512f")]
fn from_limbs(limbs: [u64; LANES]) -> Lanes {
    let [a, b, c, d, e, f, g, h] = limbs.map(u64::cast_signed);
    _mm512_set_epi64(h, g, f, e, d, c, b, a)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn add(left: Lanes, right: Lanes) -> Lanes {
    _mm512_add_epi64(left, right)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn zero() -> Lanes {
    _mm512_setzero_si512()
}
