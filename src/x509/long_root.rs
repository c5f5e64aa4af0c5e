//! Square roots of long numbers, limb by limb as by hand: no division of long numbers, hardly an allocation.

/// The integer part of the square root, and whether nothing is left of the number; both big-endian, the root without
/// leading zeros.
pub fn square_root(number: &[u8]) -> (Vec<u8>, bool) {
    let Some((mut rest, shift)) = normalized(number) else { return (Vec::new(), true) };
    let mut base = rest.len();
    let mut root = Root { limbs: Vec::with_capacity(base / 2), twice: Vec::with_capacity(base / 2 + 1) };
    while let Some(next) = base.checked_sub(2) {
        base = next;
        root.extend(rest.get_mut(base..).unwrap_or_default());
    }
    (root.octets(shift / 2), rest.iter().all(|limb| *limb == 0))
}

/// Limbs, the lowest first: an even number of them, with a one among the two highest bits; and by how many bits, an even
/// number too, the number was moved up for that. `None` for zero.
fn normalized(number: &[u8]) -> Option<(Vec<u64>, u32)> {
    let zeros = number.iter().take_while(|octet| **octet == 0).count();
    let number = number.get(zeros..).filter(|number| !number.is_empty())?;
    let limbs = number.len().div_ceil(8).next_multiple_of(2);
    let mut out = Vec::with_capacity(limbs);
    // The lowest limb stays empty where their number is odd.
    out.extend((number.len().div_ceil(8)..limbs).map(|_| 0));
    let whole = u32::from(!out.is_empty()) * u64::BITS;
    let limb = |octets: &[u8]| octets.iter().fold(0_u64, |sum, octet| (sum << 8) | u64::from(*octet));
    out.extend(number.rchunks(8).map(limb));
    let bits = out.last().map_or(0, |top| top.leading_zeros() & !1);
    let mut below = 0;
    for limb in &mut out {
        let [moved, above] = halves(u128::from(*limb) << bits);
        (*limb, below) = (moved | below, above);
    }
    Some((out, whole + bits))
}

/// A root so far, the highest limb first.
#[derive(Debug)]
struct Root {
    limbs: Vec<u64>,
    /// Twice the root; its highest limb is one.
    twice: Vec<u64>,
}

impl Root {
    /// Finds the next limb. `rest` is what is left of the number, the lowest limb first, and two limbs more of it.
    fn extend(&mut self, rest: &mut [u64]) {
        let known = self.limbs.len();
        let at = |place: usize| rest.get(place).copied().unwrap_or(0);
        let Some(top) = self.limbs.first().copied() else {
            let pair = (u128::from(at(1)) << 64) | u128::from(at(0));
            let root = pair.isqrt();
            self.limbs.push(low(root));
            self.twice.extend([1, low(root << 1)]);
            rest.iter_mut().zip(halves(pair - root * root)).for_each(|(limb, left)| *limb = left);
            return;
        };
        // At most a few too large: the highest limbs of what is left, by twice the highest limb of the root. What was left
        // is at most twice the root, so its highest limb is a bit.
        let high = (u128::from(at(known + 2)) << 127) | (u128::from(at(known + 1)) << 63) | u128::from(at(known) >> 1);
        let rest = rest.get_mut(..known + 3).unwrap_or_default();
        let mut limb = u64::try_from(high / u128::from(top)).unwrap_or(u64::MAX);
        let mut below_zero = self.subtract(rest, limb);
        while below_zero {
            limb -= 1;
            below_zero = !self.add_back(rest, limb);
        }
        if let Some(above) = self.twice.last_mut() {
            // It is even.
            *above |= limb >> 63;
        }
        self.twice.push(limb << 1);
        self.limbs.push(limb);
    }

    /// Takes off what the limb adds to the square: (twice the root, then the limb) times the limb. Whether that was too much.
    fn subtract(&self, rest: &mut [u64], limb: u64) -> bool {
        let mut rest = rest.iter_mut();
        let mut carry = 0;
        for (factor, place) in std::iter::once(&limb).chain(self.twice.iter().rev()).zip(rest.by_ref()) {
            let [product, above] = halves(u128::from(*factor) * u128::from(limb) + u128::from(carry));
            let (left, under) = place.overflowing_sub(product);
            *place = left;
            // Above is the largest limb only where the product is zero: then nothing went under.
            carry = above + u64::from(under);
        }
        rest.next().is_none_or(|place| {
            let (left, under) = place.overflowing_sub(carry);
            *place = left;
            under
        })
    }

    /// Undoes [`subtract`](Self::subtract) in part: as if the limb had been this one, which is one less. Whether what is left
    /// is no longer below zero.
    fn add_back(&self, rest: &mut [u64], limb: u64) -> bool {
        // Twice the root, then twice the limb and one, whose highest bit is in the way of nothing: twice the root is even.
        let mut parts = self.twice.iter().rev().copied();
        let next = parts.next().unwrap_or(0) | (limb >> 63);
        let mut parts = [limb << 1 | 1, next].into_iter().chain(parts);
        let mut carry = false;
        for place in rest {
            let (sum, over) = place.overflowing_add(parts.next().unwrap_or(0));
            let (sum, again) = sum.overflowing_add(u64::from(carry));
            *place = sum;
            carry = over || again;
        }
        carry
    }

    /// Without the lowest bits, big-endian and without leading zeros.
    fn octets(&self, shift: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(size_of_val(self.limbs.as_slice()));
        let mut above = 0_u64;
        for limb in &self.limbs {
            let pair = (u128::from(above) << 64) | u128::from(*limb);
            above = *limb;
            out.extend_from_slice(&low(pair >> shift).to_be_bytes());
        }
        let zeros = out.iter().take_while(|octet| **octet == 0).count();
        out.drain(..zeros);
        out
    }
}

/// Low and high limb.
fn halves(number: u128) -> [u64; 2] {
    [low(number), low(number >> 64)]
}

#[expect(clippy::cast_possible_truncation, reason = "the lower limb is wanted")]
fn low(number: u128) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use num_bigint_dig::BigUint;
    use proptest::prelude::*;

    use super::*;

    fn check(number: &BigUint) -> Result<(), TestCaseError> {
        let (octets, exact) = square_root(&number.to_bytes_be());
        prop_assert!(octets.first() != Some(&0));
        let root = BigUint::from_bytes_be(&octets);
        prop_assert!(&root * &root <= *number);
        prop_assert_eq!(&root * &root == *number, exact);
        prop_assert!((&root + 1_u32) * (&root + 1_u32) > *number);
        Ok(())
    }

    #[test]
    fn short_numbers() {
        for number in (0..5_000).chain(u32::MAX - 5..=u32::MAX) {
            let root = number.isqrt();
            let (octets, exact) = square_root(&number.to_be_bytes());
            assert_eq!(BigUint::from_bytes_be(&octets), BigUint::from(root), "{number}");
            assert_eq!(exact, root * root == number, "{number}");
        }
        assert_eq!(square_root(&[]), (Vec::new(), true));
        assert_eq!(square_root(&[0; 99]), (Vec::new(), true));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Limbs of ones and of zeros alone make the first guess of a limb wrong most often.
        #[test]
        fn roots_are_exact(
            limbs in prop::collection::vec(prop::sample::select(vec![0, 1, 1 << 63, u64::MAX, u64::MAX - 1, 1 << 62]), 0..12),
            others in prop::collection::vec(any::<u64>(), 0..12),
            cut in 0_usize..8,
        ) {
            let mut octets: Vec<u8> = limbs.iter().chain(&others).flat_map(|limb| limb.to_be_bytes()).collect();
            octets.truncate(octets.len().saturating_sub(cut));
            let number = BigUint::from_bytes_be(&octets);
            check(&number)?;
            let square = &number * &number;
            check(&square)?;
            // The largest number with this root, and the largest with the one below.
            check(&(&square + &number + &number))?;
            if number > BigUint::from(0_u32) {
                check(&(&square - 1_u32))?;
            }
        }
    }
}
