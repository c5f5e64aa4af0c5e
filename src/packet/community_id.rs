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
    let mut hash = Sha1::new();
    hash.update(seed.to_be_bytes());
    for end in [low, high] {
        match end.address {
            IpAddr::V4(address) => hash.update(address.octets()),
            IpAddr::V6(address) => hash.update(address.octets()),
        }
    }
    hash.update([transport.number(), 0]);
    hash.update(low.port.to_be_bytes());
    hash.update(high.port.to_be_bytes());
    let mut text = [0; LENGTH - 2];
    // 20 bytes always fit into 28 characters.
    let written = STANDARD.encode_slice(hash.finalize(), &mut text).unwrap_or(0);
    out.extend_from_slice(b"1:");
    out.extend_from_slice(text.get(..written).unwrap_or_default());
}
