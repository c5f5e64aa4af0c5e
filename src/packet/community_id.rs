//! Community ID version 1: a hash of both ends of a flow that other tools compute too
//! (<https://github.com/corelight/community-id-spec>).
//!
//! Under tunnels the specification leaves open which header counts; here it is the innermost, whose flow it is.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use super::{Endpoint, Transport};

/// Characters of an identifier: `1:` and the base64 of 20 bytes.
const LENGTH: usize = 30;

/// Most bytes that are hashed: a seed, two addresses of 16 bytes, the protocol, padding, two ports.
const HASHED: usize = 2 + 2 * 16 + 2 + 2 * 2;

/// The identifier of the flow between `ends`, in either order.
pub fn community_id(ends: [Endpoint; 2], transport: Transport, seed: u16) -> String {
    let mut out = Vec::with_capacity(LENGTH);
    append_community_id(&mut out, ends, transport, seed);
    String::from_utf8(out).unwrap_or_default()
}

/// Appends the 30 characters of [`community_id`] to `out`; no other allocation.
pub fn append_community_id(out: &mut Vec<u8>, ends: [Endpoint; 2], transport: Transport, seed: u16) {
    let [first, second] = ends;
    // Order of addresses as numbers in network order, then of ports. Two families never meet in one packet.
    let (low, high) = if first <= second { (first, second) } else { (second, first) };
    // Gathered and hashed in one go: that is half of the work for so few bytes.
    let mut hashed = [0; HASHED];
    let mut rest = hashed.as_mut_slice();
    let mut put = |bytes: &[u8]| {
        let room = std::mem::take(&mut rest);
        // There is room for everything.
        if let Some((place, after)) = room.split_at_mut_checked(bytes.len()) {
            place.copy_from_slice(bytes);
            rest = after;
        }
    };
    put(&seed.to_be_bytes());
    for end in [low, high] {
        match end.address {
            IpAddr::V4(address) => put(&address.octets()),
            IpAddr::V6(address) => put(&address.octets()),
        }
    }
    put(&[transport.number(), 0]);
    put(&low.port.to_be_bytes());
    put(&high.port.to_be_bytes());
    let length = HASHED - rest.len();
    let digest = Sha1::digest(hashed.get(..length).unwrap_or_default());
    let mut text = [0; LENGTH - 2];
    // 20 bytes always fit into 28 characters.
    let written = STANDARD.encode_slice(digest, &mut text).unwrap_or(0);
    out.extend_from_slice(b"1:");
    out.extend_from_slice(text.get(..written).unwrap_or_default());
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
    fn appending_keeps_what_is_there() {
        let end = Endpoint { address: IpAddr::from([10, 0, 0, 1]), port: 1 };
        let mut out = b"x".to_vec();
        append_community_id(&mut out, [end, end], Transport::Tcp, 0);
        assert_eq!(out.len(), 1 + LENGTH);
        assert!(out.starts_with(b"x1:"));
    }
}
