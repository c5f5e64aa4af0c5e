//! Counting without remembering: linear counting over a few words (Whang et al. 1990), and the hashes for it.

use std::net::IpAddr;

/// A hash that is the same in every run and version: it is stored with the baseline.
pub fn stable_hash(octets: &[u8]) -> u64 {
    stable_hash_of(octets.iter().copied())
}

/// [`stable_hash`] of octets that stand nowhere together.
pub fn stable_hash_of(octets: impl Iterator<Item = u8>) -> u64 {
    let fnv = octets
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3));
    // FNV spreads its low bits badly; the finaliser of SplitMix64 mixes them.
    let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Hash of an address; IPv4 and IPv4-mapped IPv6 are one.
pub fn address_hash(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => stable_hash(&v4.octets()),
        IpAddr::V6(v6) => stable_hash(&v6.octets()),
    }
}

/// Hash of the subnet of an address: its /24 or /64.
pub fn subnet_hash(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => stable_hash(v4.octets().first_chunk::<3>().map_or(&[][..], |prefix| prefix)),
        IpAddr::V6(v6) => stable_hash(v6.octets().first_chunk::<8>().map_or(&[][..], |prefix| prefix)),
    }
}

/// Notes a hash in a bitmap.
#[inline]
pub fn mark(words: &mut [u64], hash: u64) {
    let bits = u64::try_from(words.len()).unwrap_or(u64::MAX).saturating_mul(64).max(1);
    // Nearly all have a power of two.
    let bit = if bits.is_power_of_two() { hash & bits.wrapping_sub(1) } else { hash % bits };
    if let Some(word) = usize::try_from(bit / 64).ok().and_then(|index| words.get_mut(index)) {
        *word |= 1 << (bit % 64);
    }
}

/// Whether the hash may have been noted: never a wrong no.
pub fn is_marked(words: &[u64], hash: u64) -> bool {
    let mut probe = [0_u64; 8];
    let Some(probe) = probe.get_mut(..words.len()) else { return false };
    mark(probe, hash);
    words.iter().zip(probe).all(|(word, bit)| word & *bit == *bit)
}

/// About how many different hashes were noted. A full bitmap gives its size times its logarithm.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole, not negative, and at most 512 x ln(1024)"
)]
pub fn estimate(words: &[u64]) -> u32 {
    let bits = u32::try_from(words.len()).unwrap_or(u32::MAX).saturating_mul(64);
    let set: u32 = words.iter().map(|word| word.count_ones()).sum();
    let zeros = f64::from(bits.saturating_sub(set)).max(0.5);
    let count = (f64::from(bits) * (f64::from(bits) / zeros).ln()).round();
    count as u32
}

/// An [`estimate`] from a sketch of so many words in words: what a full one tells is only that there were many.
#[cold]
pub fn about(count: u32, words: u32) -> String {
    let bits = words.saturating_mul(64);
    if let Some(least) = least_of_full(count, words) {
        format!("more than {least}")
    } else if u64::from(count) * u64::from(count.saturating_sub(1)) * 16 > u64::from(bits) {
        // Two of so many share a bit in more than one of thirty cases.
        format!("about {count}")
    } else {
        count.to_string()
    }
}

/// What is certain where a sketch of so many words is full, so that the [`estimate`] says only that there were many.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and at most 512 x ln(512)")]
pub fn least_of_full(count: u32, words: u32) -> Option<u32> {
    let bits = words.saturating_mul(64);
    let last = (f64::from(bits) * f64::from(bits).ln()) as u32;
    // Nineteen of twenty bits are set by so many.
    (bits > 0 && count >= last).then(|| bits.saturating_mul(3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_no_more_than_a_sketch_knows() {
        for (clients, wanted) in
            [(3_u32, "3"), (5, "about "), (60, "about "), (300, "about "), (3_000, "more than 384"), (9_999, "more")]
        {
            let mut bitmap = [0_u64; 2];
            (0..clients).for_each(|client| mark(&mut bitmap, stable_hash(&client.to_be_bytes())));
            let told = about(estimate(&bitmap), 2);
            assert!(told.starts_with(wanted), "{told} for {clients}");
        }
    }

    #[test]
    fn counts_are_about_right() {
        for (words, most) in [(1_usize, 60_u32), (2, 150), (8, 800)] {
            for wanted in [0, 1, 2, 3, most / 2, most] {
                let mut bitmap = vec![0_u64; words];
                (0..wanted).for_each(|client| mark(&mut bitmap, stable_hash(&client.to_be_bytes())));
                let seen = estimate(&bitmap);
                let slack = 1 + wanted / 4;
                assert!(seen.abs_diff(wanted) <= slack, "{words} words: {seen} for {wanted}");
            }
        }
        assert_eq!(estimate(&[0; 8]), 0);
        assert!(estimate(&[u64::MAX; 8]) > 512);
    }

    #[test]
    fn marked_is_never_a_wrong_no() {
        let mut bitmap = [0_u64; 2];
        for client in 0_u32..50 {
            mark(&mut bitmap, stable_hash(&client.to_be_bytes()));
            assert!(is_marked(&bitmap, stable_hash(&client.to_be_bytes())));
        }
        assert!(!is_marked(&[0; 2], 7));
    }

    #[test]
    fn hashes_are_pinned() {
        // Stored baselines depend on these.
        assert_eq!(stable_hash(b""), 17_665_956_581_633_026_203);
        assert_eq!(address_hash("::ffff:10.0.0.1".parse().unwrap()), address_hash("10.0.0.1".parse().unwrap()));
        assert_eq!(subnet_hash("10.0.0.1".parse().unwrap()), subnet_hash("10.0.0.254".parse().unwrap()));
        assert_ne!(subnet_hash("10.0.0.1".parse().unwrap()), subnet_hash("10.0.1.1".parse().unwrap()));
        assert_eq!(subnet_hash("2001:db8::1".parse().unwrap()), subnet_hash("2001:db8::ffff".parse().unwrap()));
    }
}
