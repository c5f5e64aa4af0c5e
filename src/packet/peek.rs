//! A glance at a frame: enough to tell that it does not matter.
//!
//! Most frames of a busy link belong to flows whose handshake is over, or acknowledge without saying anything. For a plain
//! TCP segment over Ethernet the key of its flow, its control bits and the length of its payload are at hand without
//! decoding; everything unusual gives `None` and is decoded in full. What is told here is what decoding tells: a property
//! test holds the two together.

use crate::direction::Direction;

use super::flow_key::PackedKey;
use super::{Frame, LinkType, TcpFlags};

/// What a glance tells of a TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peek {
    /// Key of the flow.
    pub key: PackedKey,
    /// Which way the segment goes.
    pub direction: Direction,
    /// Control bits.
    pub flags: TcpFlags,
    /// Bytes of payload.
    pub payload_len: usize,
}

const ETHERNET_HEADER: usize = 14;

/// Looks at the frame; `None` where only decoding can tell.
#[inline]
pub fn peek(frame: &Frame<'_>) -> Option<Peek> {
    if frame.link_type != LinkType::ETHERNET {
        return None;
    }
    let ether_type = frame.data.get(12..ETHERNET_HEADER)?;
    let ip = frame.data.get(ETHERNET_HEADER..)?;
    match ether_type {
        [0x08, 0x00] => ipv4(ip),
        [0x86, 0xdd] => ipv6(ip),
        [0x81, 0x00] => {
            let (tag, rest) = ip.split_first_chunk::<4>()?;
            match tag {
                [_, _, 0x08, 0x00] => ipv4(rest),
                [_, _, 0x86, 0xdd] => ipv6(rest),
                _ => None,
            }
        }
        _ => None,
    }
}

#[inline]
fn ipv4(bytes: &[u8]) -> Option<Peek> {
    let header = bytes.first_chunk::<20>()?;
    let [start, _, t0, t1, _, _, o0, o1, _, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = *header;
    let header_len = usize::from(start & 0x0f) << 2;
    let fragment = u16::from_be_bytes([o0, o1]) & 0x3fff;
    let total = usize::from(u16::from_be_bytes([t0, t1]));
    if start >> 4 != 4 || header_len < 20 || fragment != 0 || protocol != 6 || total > bytes.len() {
        return None;
    }
    let (ports, flags, payload_len) = tcp(bytes.get(header_len..total)?)?;
    let (from, to) = (u32::from_be_bytes([s0, s1, s2, s3]), u32::from_be_bytes([d0, d1, d2, d3]));
    let upwards = (from, ports[0]) <= (to, ports[1]);
    let (low, high, [low_port, high_port]) = if upwards { (from, to, ports) } else { (to, from, [ports[1], ports[0]]) };
    Some(Peek {
        key: PackedKey::v4([low, high], [low_port, high_port]),
        direction: if upwards { Direction::LowToHigh } else { Direction::HighToLow },
        flags,
        payload_len,
    })
}

#[inline]
fn ipv6(bytes: &[u8]) -> Option<Peek> {
    let (header, rest) = bytes.split_first_chunk::<40>()?;
    let [start, _, _, _, l0, l1, next, _, addresses @ ..] = header;
    let length = usize::from(u16::from_be_bytes([*l0, *l1]));
    if start >> 4 != 6 || *next != 6 || length == 0 {
        return None;
    }
    let (ports, flags, payload_len) = tcp(rest.get(..length)?)?;
    let (from, to) = addresses.split_first_chunk::<16>()?;
    let (from, to) = (u128::from_be_bytes(*from), u128::from_be_bytes(*to.first_chunk::<16>()?));
    let upwards = (from, ports[0]) <= (to, ports[1]);
    let (low, high, [low_port, high_port]) = if upwards { (from, to, ports) } else { (to, from, [ports[1], ports[0]]) };
    Some(Peek {
        key: PackedKey::v6([low, high], [low_port, high_port]),
        direction: if upwards { Direction::LowToHigh } else { Direction::HighToLow },
        flags,
        payload_len,
    })
}

#[inline]
fn tcp(bytes: &[u8]) -> Option<([u16; 2], TcpFlags, usize)> {
    let header = bytes.first_chunk::<14>()?;
    let [s0, s1, d0, d1, .., offset, flags] = *header;
    let header_len = usize::from(offset >> 4) << 2;
    if header_len < 20 {
        return None;
    }
    let payload_len = bytes.len().checked_sub(header_len)?;
    Some(([u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])], TcpFlags(flags), payload_len))
}
