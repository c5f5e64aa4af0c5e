//! How many different clients: a bitmap whose merge does not care for order or repetition (linear counting).

use std::net::IpAddr;

/// Bits of the map: counts up to some thousand with an error of a few percent.
const BITS: u16 = 512;
/// Positions up to which the list of them is shorter than the map.
const LISTED: usize = 31;

/// A set of client addresses that can be counted, about, and merged. Stored as a list of positions, or as the map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sketch([u64; 8]);

impl Sketch {
    pub(super) fn new() -> Self {
        Self([0; 8])
    }

    /// Adds an address.
    pub(super) fn add(&mut self, address: IpAddr) {
        let number = match address {
            IpAddr::V4(address) => u128::from(u32::from(address)),
            IpAddr::V6(address) => u128::from(address),
        };
        let [a, b, c, d, e, f, g, h, rest @ ..] = number.to_be_bytes();
        let hash = mix(mix(u64::from_be_bytes([a, b, c, d, e, f, g, h])) ^ u64::from_be_bytes(rest));
        self.set(u16::try_from(hash % u64::from(BITS)).unwrap_or(0));
    }

    /// Adds all of `other`.
    pub(super) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine |= theirs;
        }
    }

    /// About how many different addresses were added.
    #[expect(clippy::cast_possible_truncation, reason = "an estimate of at most 3,200")]
    pub(super) fn count(&self) -> i64 {
        let bits = f64::from(BITS);
        let free = bits - f64::from(self.set_bits());
        // A full map says only "very many".
        (bits * (bits / free.max(1.0)).ln()).round() as i64
    }

    /// The stored form.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        if self.set_bits() > u32::try_from(LISTED).unwrap_or(0) {
            return self.0.iter().flat_map(|word| word.to_be_bytes()).collect();
        }
        let set = (0..BITS).filter(|bit| self.word(*bit).is_some_and(|(word, mask)| word & mask != 0));
        set.flat_map(u16::to_be_bytes).collect()
    }

    /// Reads the stored form; what is no such form is empty.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let mut sketch = Self::new();
        if bytes.len() == 64 {
            for (word, chunk) in sketch.0.iter_mut().zip(bytes.as_chunks::<8>().0) {
                *word = u64::from_be_bytes(*chunk);
            }
        } else {
            bytes.as_chunks::<2>().0.iter().for_each(|pair| sketch.set(u16::from_be_bytes(*pair)));
        }
        sketch
    }

    fn set(&mut self, bit: u16) {
        if let Some(word) = self.0.get_mut(usize::from(bit / 64)) {
            *word |= 1 << (bit % 64);
        }
    }

    fn word(&self, bit: u16) -> Option<(u64, u64)> {
        Some((*self.0.get(usize::from(bit / 64))?, 1 << (bit % 64)))
    }

    fn set_bits(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): stored sketches must mean the same in every version, which
/// no hash of a library promises.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(range: std::ops::Range<u32>) -> Sketch {
        let mut sketch = Sketch::new();
        range.for_each(|number| sketch.add(IpAddr::V4(number.into())));
        sketch
    }

    #[test]
    fn counts_are_near() {
        for number in [0_u32, 1, 2, 5, 20, 100, 500, 1_000] {
            let count = of(10..10 + number).count();
            let off = (count - i64::from(number)).abs();
            assert!(off <= 1 + i64::from(number) / 10, "{number}: {count}");
        }
        // A full one is told as such.
        let many = i64::try_from(crate::detect::stored::MANY_CLIENTS).unwrap();
        assert!(of(0..1_000_000).count() >= many && of(0..10_000).count() >= many && of(0..1_500).count() < many);
    }

    #[test]
    fn both_forms_keep_everything_and_merging_is_a_union() {
        for number in [0, 1, 30, 31, 32, 33, 200, 5_000] {
            let sketch = of(0..number);
            assert!(sketch.to_bytes().len() <= 64);
            assert_eq!(Sketch::from_bytes(&sketch.to_bytes()), sketch, "{number}");
        }
        let mut merged = of(0..40);
        merged.merge(&of(20..80));
        merged.merge(&of(20..80));
        assert_eq!(merged, of(0..80));
        for junk in [&[0xff][..], &[0xff; 3], &[0xff; 63], &[0xff; 200]] {
            Sketch::from_bytes(junk);
        }
    }

    #[test]
    fn stored_positions_never_change_their_meaning() {
        let mut sketch = Sketch::new();
        sketch.add("10.0.0.7".parse().unwrap());
        sketch.add("2001:db8::1".parse().unwrap());
        assert_eq!(sketch.to_bytes(), STORED);
    }

    const STORED: [u8; 4] = [1, 179, 1, 213];
}
