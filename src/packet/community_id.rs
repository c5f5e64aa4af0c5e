//! Community ID version 1: a hash of both ends of a flow that other tools compute too
//! (<https://github.com/corelight/community-id-spec>).
//!
//! Under tunnels the specification leaves open which header counts; here it is the innermost, whose flow it is.

use std::net::IpAddr;

use sha1::block_api::compress;

use super::{Endpoint, Transport};

/// Characters of an identifier: `1:` and the base64 of 20 bytes.
const LENGTH: usize = 30;

/// Bytes of a block of SHA-1 (RFC 3174): room for a seed, two addresses of 16 bytes, the protocol, padding and two ports,
/// which are 40, and for the 9 bytes that end every message.
const BLOCK: usize = 64;

/// What SHA-1 begins with (RFC 3174 section 6.1).
const INITIAL: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

/// The identifier of the flow between `ends`, in either order.
pub fn community_id(ends: [Endpoint; 2], transport: Transport, seed: u16) -> String {
    String::from_utf8(community_id_text(ends, transport, seed).to_vec()).unwrap_or_default()
}

/// Appends the 30 characters of [`community_id`] to `out`; no other allocation.
pub fn append_community_id(out: &mut Vec<u8>, ends: [Endpoint; 2], transport: Transport, seed: u16) {
    out.extend_from_slice(&community_id_text(ends, transport, seed));
}

/// The 30 characters of [`community_id`].
pub fn community_id_text(ends: [Endpoint; 2], transport: Transport, seed: u16) -> [u8; LENGTH] {
    let [first, second] = ends;
    // What is hashed always fits into one block of SHA-1, so the block is laid out here, padding (RFC 3174 section 4)
    // included: handing its parts to the hash would cost as much as hashing.
    let mut block = [0; BLOCK];
    // Order of addresses as numbers in network order, then of ports. Two families never meet in one packet.
    let length = match (first.address, second.address) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            // One number has all of it, and an end is one number too.
            let one = (u128::from(one.to_bits()) << 16) | u128::from(first.port);
            let other = (u128::from(other.to_bits()) << 16) | u128::from(second.port);
            let (low, high) = (one.min(other), one.max(other));
            let addresses = ((low >> 16) << 80) | ((high >> 16) << 48);
            let ports = ((low & 0xffff) << 16) | (high & 0xffff);
            let rest = (u128::from(seed) << 112) | (u128::from(transport.number()) << 40);
            if let Some(place) = block.first_chunk_mut() {
                *place = (addresses | ports | rest).to_be_bytes();
            }
            16
        }
        _ => {
            let (low, high) = if first <= second { (first, second) } else { (second, first) };
            let octets = |end: Endpoint| match end.address {
                IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                IpAddr::V6(address) => address.octets(),
            };
            lay_out(&mut block, (seed, transport), [(octets(low), low), (octets(high), high)])
        }
    };
    if let Some(end) = block.get_mut(length) {
        *end = 0x80;
    }
    if let Some(bits) = block.last_chunk_mut() {
        *bits = u64::try_from(8 * length).unwrap_or(0).to_be_bytes();
    }
    let mut state = INITIAL;
    compress(&mut state, &[block]);
    base64_text(state)
}

/// Writes seed, addresses, protocol, padding and ports; returns how many bytes these are.
fn lay_out(
    block: &mut [u8; BLOCK],
    (seed, transport): (u16, Transport),
    [(from, low), (to, high)]: [([u8; 16], Endpoint); 2],
) -> usize {
    let mut rest = block.as_mut_slice();
    put(&mut rest, seed.to_be_bytes());
    put(&mut rest, from);
    put(&mut rest, to);
    put(&mut rest, [transport.number(), 0]);
    put(&mut rest, low.port.to_be_bytes());
    put(&mut rest, high.port.to_be_bytes());
    BLOCK - rest.len()
}

#[inline]
fn put<const N: usize>(rest: &mut &mut [u8], bytes: [u8; N]) {
    // There is room for everything.
    if let Some((place, after)) = std::mem::take(rest).split_first_chunk_mut() {
        *place = bytes;
        *rest = after;
    }
}

/// `1:` and the base64 (RFC 4648 section 4) of a digest of five words.
fn base64_text(digest: [u32; 5]) -> [u8; LENGTH] {
    let [a, b, c, d, e] = digest.map(u64::from);
    // Six bytes a word, the last filled up with zeros.
    let sextets =
        [(a << 16) | (b >> 16), ((b & 0xffff) << 32) | c, (d << 16) | (e >> 16), (e & 0xffff) << 32].map(sextets);
    // Arithmetic instead of a table: the compiler makes vector code of it.
    let letter = |sextet: u8| match sextet {
        0..26 => sextet + b'A',
        26..52 => sextet + (b'a' - 26),
        52..62 => sextet - (52 - b'0'),
        62 => b'+',
        _ => b'/',
    };
    let mut letters = [0; 32];
    for (place, sextet) in letters.iter_mut().zip(sextets.as_flattened()) {
        *place = letter(*sextet);
    }
    let mut text = [b'='; LENGTH];
    if let (Some((start, rest)), Some(letters)) = (text.split_first_chunk_mut(), letters.first_chunk::<27>())
        && let Some(place) = rest.first_chunk_mut()
    {
        *start = *b"1:";
        *place = *letters;
    }
    text
}

/// The eight groups of six bits of the lower six bytes of `word`.
fn sextets(word: u64) -> [u8; 8] {
    // Halves, quarters and eighths, each in a lane of its own.
    let halves = ((word & 0xffff_ff00_0000) << 8) | (word & 0xff_ffff);
    let quarters = ((halves & 0x00ff_f000_00ff_f000) << 4) | (halves & 0x0000_0fff_0000_0fff);
    (((quarters & 0x0fc0_0fc0_0fc0_0fc0) << 2) | (quarters & 0x003f_003f_003f_003f)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ends, transport, identifiers with seed 0 and with seed 1.
    type Vector = ([(&'static str, u16); 2], Transport, [&'static str; 2]);

    /// From the baselines of corelight/community-id-spec (BSD 3-Clause).
    const VECTORS: [Vector; 3] = [
        (
            [("2001:470:e5bf:dead:4957:2174:e82c:4887", 63_943), ("2607:f8b0:400c:c03::1a", 25)],
            Transport::Tcp,
            ["1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=", "1:eJYTW6AOzFLlSUoESovMjnu7rMw="],
        ),
        (
            [("128.232.110.120", 34_855), ("66.35.250.204", 80)],
            Transport::Tcp,
            ["1:LQU9qZlK+B5F3KDmev6m5PMibrg=", "1:3V71V58M3Ksw/yuFALMcW0LAHvc="],
        ),
        (
            [("192.168.1.52", 54_585), ("8.8.8.8", 53)],
            Transport::Udp,
            ["1:d/FP5EW3wiY1vCndhwleRRKHowQ=", "1:Q9We8WO3piVF8yEQBNJF4uiSVrI="],
        ),
    ];

    #[test]
    fn published_vectors_in_both_directions() {
        for (ends, transport, expected) in VECTORS {
            let [first, second] = ends.map(|(address, port)| Endpoint { address: address.parse().unwrap(), port });
            for (seed, expected) in [0, 1].into_iter().zip(expected) {
                assert_eq!(community_id([first, second], transport, seed), expected);
                assert_eq!(community_id([second, first], transport, seed), expected);
            }
        }
    }

    #[test]
    fn every_letter_in_every_place() {
        use base64::Engine as _;
        for sextet in 0..64_u32 {
            for shift in 0..32 {
                let words = [sextet, !sextet, 0, u32::MAX, 0x1234_5678].map(|word: u32| word.rotate_left(shift));
                let bytes = words.map(u32::to_be_bytes);
                let text = format!("1:{}", base64::engine::general_purpose::STANDARD.encode(bytes.as_flattened()));
                assert_eq!(base64_text(words), text.as_bytes());
            }
        }
    }

    /// The same by way of the libraries.
    fn plain(ends: [Endpoint; 2], transport: Transport, seed: u16) -> String {
        use base64::Engine as _;
        use sha1::Digest as _;
        let (low, high) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
        let octets = |end: Endpoint| match end.address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let ports = [low.port.to_be_bytes(), high.port.to_be_bytes()].concat();
        let parts = [seed.to_be_bytes().to_vec(), octets(low), octets(high), vec![transport.number(), 0], ports];
        format!("1:{}", base64::engine::general_purpose::STANDARD.encode(sha1::Sha1::digest(parts.concat())))
    }

    proptest::proptest! {
        #[test]
        fn as_the_libraries_have_it(octets: [[u8; 4]; 2], groups: [[u8; 16]; 2], ports: [u16; 2], seed: u16) {
            let [one, other] = octets.map(IpAddr::from);
            let [long, longer] = groups.map(IpAddr::from);
            for [one, other] in [[one, other], [one, one], [long, longer], [long, long]] {
                let ends = [Endpoint { address: one, port: ports[0] }, Endpoint { address: other, port: ports[1] }];
                for transport in [Transport::Tcp, Transport::Udp] {
                    proptest::prop_assert_eq!(community_id(ends, transport, seed), plain(ends, transport, seed));
                }
            }
        }
    }

    #[test]
    fn appending_keeps_what_is_there() {
        let end = Endpoint { address: IpAddr::from([10, 0, 0, 1]), port: 1 };
        let mut out = b"x".to_vec();
        append_community_id(&mut out, [end, end], Transport::Tcp, 0);
        assert_eq!(out.len(), 1 + LENGTH);
        assert!(out.starts_with(b"x1:"));
    }
}
