//! Greatest common divisors of eight pairs at once: division steps (Bernstein, Yang 2019) without a branch.

use std::arch::x86_64::*;

use super::{BITS, LANES, Lanes, MASK, add, zero};

/// Division steps after which whole numbers are touched: their factors fit in a limb.
const STEPS: u32 = BITS - 1;

/// Whether one of eight numbers has a common factor with its odd one. Both have as many limbs, and their highest bit is zero.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn share_factors(odd: &[Lanes], numbers: &[Lanes]) -> bool {
    let (mut f, mut g) = (odd.to_vec(), numbers.to_vec());
    let mut delta = _mm512_set1_epi64(1);
    // Theorem 11.2: so many steps are enough. Should they not be, the caller looks closer.
    let most = (f.len() * BITS as usize * 49 + 80) / 17;
    for _ in 0..=most / STEPS as usize {
        if g.iter().all(|limb| all(_mm512_testn_epi64_mask(*limb, *limb))) {
            return !are_units(&f);
        }
        if let (Some(low_f), Some(low_g)) = (f.first(), g.first()) {
            let steps = Steps::new(&mut delta, *low_f, *low_g);
            steps.apply(&mut f, &mut g);
        }
        shorten(&mut f, &mut g);
    }
    true
}

/// What division steps do with two numbers, times a power of two: new f = (u f + v g), new g = (q f + r g).
#[derive(Clone, Copy, Debug)]
struct Steps {
    u: Lanes,
    v: Lanes,
    q: Lanes,
    r: Lanes,
}

impl Steps {
    /// So many steps that only the lowest limbs of both numbers decide.
    #[target_feature(enable = "avx512f")]
    fn new(delta: &mut Lanes, mut f: Lanes, mut g: Lanes) -> Self {
        let one = _mm512_set1_epi64(1);
        let (mut u, mut v, mut q, mut r) = (one, zero(), zero(), one);
        let mut turned = *delta;
        for _ in 0..STEPS {
            let odd = _mm512_test_epi64_mask(g, one);
            let swap = odd & _mm512_cmpgt_epi64_mask(turned, zero());
            turned = add(_mm512_mask_sub_epi64(turned, swap, zero(), turned), one);
            (f, g) = step(f, g, odd, swap);
            (u, q) = step(u, q, odd, swap);
            (v, r) = step(v, r, odd, swap);
            g = _mm512_srli_epi64::<1>(g);
            (u, v) = (add(u, u), add(v, v));
        }
        *delta = turned;
        Self { u, v, q, r }
    }

    /// Applies them to whole numbers.
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn apply(self, f: &mut [Lanes], g: &mut [Lanes]) {
        let (mut to_f, mut to_g) = (Sum::new(self.u, self.v), Sum::new(self.q, self.r));
        let signs = (sign(f), sign(g));
        let mut below: Option<(&mut Lanes, &mut Lanes)> = None;
        for (f, g) in f.iter_mut().zip(g.iter_mut()) {
            let limbs = (to_f.next(*f, *g), to_g.next(*f, *g));
            if let Some(below) = below.replace((f, g)) {
                (*below.0, *below.1) = limbs;
            }
        }
        if let Some(below) = below {
            (*below.0, *below.1) = (to_f.next(signs.0, signs.1), to_g.next(signs.0, signs.1));
        }
    }
}

/// If odd, the lower number gets the upper one added, or both change places and one of them its sign.
#[target_feature(enable = "avx512f")]
#[inline]
fn step(f: Lanes, g: Lanes, odd: __mmask8, swap: __mmask8) -> (Lanes, Lanes) {
    let sum = _mm512_mask_add_epi64(g, odd, g, f);
    (_mm512_mask_mov_epi64(f, swap, g), _mm512_mask_sub_epi64(sum, swap, g, f))
}

/// Two numbers times a factor each, summed up and divided by the power of two, limb by limb.
struct Sum {
    factors: (Lanes, Lanes),
    /// Lanes where a factor is below zero: as a limb it is 2^52 too large.
    negative: (__mmask8, __mmask8),
    carry: Lanes,
    /// What is left of the last limb.
    rest: Lanes,
}

impl Sum {
    #[target_feature(enable = "avx512f")]
    fn new(left: Lanes, right: Lanes) -> Self {
        let negative = (_mm512_cmplt_epi64_mask(left, zero()), _mm512_cmplt_epi64_mask(right, zero()));
        Self { factors: (left, right), negative, carry: zero(), rest: zero() }
    }

    /// Takes the next limbs and gives the limb below.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn next(&mut self, left: Lanes, right: Lanes) -> Lanes {
        let mask = _mm512_set1_epi64(MASK.cast_signed());
        let low = _mm512_madd52lo_epu64(self.carry, self.factors.0, left);
        let low = _mm512_madd52lo_epu64(low, self.factors.1, right);
        let high = _mm512_madd52hi_epu64(_mm512_srai_epi64::<BITS>(low), self.factors.0, left);
        let high = _mm512_mask_sub_epi64(high, self.negative.0, high, left);
        let high = _mm512_madd52hi_epu64(high, self.factors.1, right);
        self.carry = _mm512_mask_sub_epi64(high, self.negative.1, high, right);
        let limb = _mm512_and_si512(_mm512_slli_epi64::<{ BITS - STEPS }>(low), mask);
        let below = _mm512_or_si512(self.rest, limb);
        self.rest = _mm512_srli_epi64::<STEPS>(_mm512_and_si512(low, mask));
        below
    }
}

/// The limb that would be above: all ones where the number is below zero.
#[target_feature(enable = "avx512f")]
#[inline]
fn sign(number: &[Lanes]) -> Lanes {
    let top = number.last().copied().unwrap_or_else(|| zero());
    let top = _mm512_slli_epi64::<{ 64 - BITS }>(top);
    _mm512_srli_epi64::<{ 64 - BITS }>(_mm512_srai_epi64::<63>(top))
}

/// Drops top limbs that are only the signs.
#[target_feature(enable = "avx512f")]
fn shorten(f: &mut Vec<Lanes>, g: &mut Vec<Lanes>) {
    let is_sign = |number: &[Lanes]| match number.split_last() {
        Some((top, below)) => !below.is_empty() && all(_mm512_cmpeq_epi64_mask(*top, sign(below))),
        None => false,
    };
    while is_sign(f) && is_sign(g) {
        f.pop();
        g.pop();
    }
}

/// Each of the eight is one or minus one.
#[target_feature(enable = "avx512f")]
fn are_units(number: &[Lanes]) -> bool {
    let (mut plus, mut minus) = (u8::MAX, u8::MAX);
    let mut wanted = _mm512_set1_epi64(1);
    for limb in number {
        plus &= _mm512_cmpeq_epi64_mask(*limb, wanted);
        minus &= _mm512_cmpeq_epi64_mask(*limb, _mm512_set1_epi64(MASK.cast_signed()));
        wanted = zero();
    }
    all(plus | minus)
}

fn all(lanes: __mmask8) -> bool {
    lanes.count_ones() as usize == LANES
}
