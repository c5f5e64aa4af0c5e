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

/// Of base64 (RFC 4648 section 4).
const ALPHABET: [u8; 64] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

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
    // Order of addresses as numbers in network order, then of ports. Two families never meet in one packet.
    let (low, high) = if first <= second { (first, second) } else { (second, first) };
    // What is hashed always fits into one block of SHA-1, so the block is laid out here, padding (RFC 3174 section 4)
    // included: handing its parts to the hash would cost as much as hashing.
    let mut block = [0; BLOCK];
    let length = match (low.address, high.address) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            lay_out(&mut block, (seed, transport), [(from.octets(), low), (to.octets(), high)])
        }
        (from, to) => {
            let octets = |address| match address {
                IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                IpAddr::V6(address) => address.octets(),
            };
            lay_out(&mut block, (seed, transport), [(octets(from), low), (octets(to), high)])
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
    let mut digest = [0; 20];
    for (place, word) in digest.as_chunks_mut().0.iter_mut().zip(state) {
        *place = word.to_be_bytes();
    }
    base64_text(&digest)
}

/// Writes seed, addresses, protocol, padding and ports; returns how many bytes these are.
fn lay_out<const N: usize>(
    block: &mut [u8; BLOCK],
    (seed, transport): (u16, Transport),
    [(from, low), (to, high)]: [([u8; N], Endpoint); 2],
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

/// `1:` and the base64 (RFC 4648 section 4) of `digest`.
fn base64_text(digest: &[u8; 20]) -> [u8; LENGTH] {
    let mut text = [b'='; LENGTH];
    let Some((start, rest)) = text.split_first_chunk_mut() else { return text };
    *start = *b"1:";
    let (groups, last) = digest.as_chunks::<3>();
    let (places, _) = rest.as_chunks_mut::<4>();
    let letter = |sextet: u32| {
        let sextet = usize::try_from(sextet & 63).unwrap_or(0);
        ALPHABET.get(sextet).copied().unwrap_or(b'=')
    };
    let mut places = places.iter_mut();
    // The groups lead: a place that finds none stays for the rest.
    for ([a, b, c], place) in groups.iter().zip(places.by_ref()) {
        let bits = u32::from_be_bytes([0, *a, *b, *c]);
        *place = [letter(bits >> 18), letter(bits >> 12), letter(bits >> 6), letter(bits)];
    }
    if let ([a, b], Some(place)) = (last, places.next()) {
        let bits = u32::from_be_bytes([0, *a, *b, 0]);
        *place = [letter(bits >> 18), letter(bits >> 12), letter(bits >> 6), b'='];
    }
    text
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
            for addresses in [octets.map(IpAddr::from), groups.map(IpAddr::from)] {
                let [one, other] = addresses;
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
