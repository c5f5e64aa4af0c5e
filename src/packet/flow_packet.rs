//! A packet as its flow sees it, and the short way to it.
//!
//! Following a flow needs the key, the direction, the TCP header and the payload. For what nearly all frames are, TCP or UDP
//! over Ethernet, these are at hand without decoding; everything unusual gives `None` and is decoded in full. Both ways tell the
//! same: a property test holds them together.

use crate::direction::Direction;

use super::flow_key::PackedKey;
use super::{Checksum, Encapsulation, FlowKey, Frame, Layer, LinkType, Packet, TcpFlags, TransportPayload, tunnel};

/// What following its flow needs of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowPacket<'a> {
    /// Key of the flow.
    pub key: PackedKey,
    /// Which way the packet goes.
    pub direction: Direction,
    /// Sequence number (TCP), else 0.
    pub sequence: u32,
    /// Acknowledgment number (TCP), else 0.
    pub acknowledgment: u32,
    /// Control bits (TCP), else none.
    pub flags: TcpFlags,
    /// Identification of the IPv4 header.
    pub ip_id: Option<u16>,
    /// The payload.
    pub payload: &'a [u8],
    /// Bytes of payload that the capture cut off.
    pub missing: u32,
    /// Verdict of the decoder on the checksum.
    pub checksum: Checksum,
    /// Transport header and payload for [`FlowPacket::verify_checksum`]; empty where the checksum cannot be computed.
    pub transport: &'a [u8],
}

/// VLAN tags that the short way follows.
const TAGS: usize = 4;

impl<'a> FlowPacket<'a> {
    /// What a decoded packet tells.
    pub fn of(packet: &Packet<'a>) -> Self {
        let (key, direction) = FlowKey::of(packet);
        let (sequence, acknowledgment, flags, payload) = match packet.payload {
            TransportPayload::Tcp(segment) => {
                (segment.sequence, segment.acknowledgment, segment.flags, segment.payload)
            }
            TransportPayload::Udp(payload) => (0, 0, TcpFlags::default(), payload),
        };
        Self {
            key: PackedKey::of(&key),
            direction,
            sequence,
            acknowledgment,
            flags,
            ip_id: packet.ip_id,
            payload,
            missing: packet.missing,
            checksum: packet.checksum,
            transport: packet.transport,
        }
    }

    /// Ethernet, VLAN tags, IPv4 or IPv6 without fragments and extensions, TCP or UDP that is no tunnel, all of it captured.
    /// `None` where only decoding can tell. Inlined, so that what its caller does not look at is not read.
    #[inline(always)]
    pub fn glance(frame: &Frame<'a>) -> Option<Self> {
        if frame.link_type != LinkType::ETHERNET {
            return None;
        }
        let ([.., e0, e1], mut rest) = frame.data.split_first_chunk::<14>()?;
        let mut ether_type = [*e0, *e1];
        for _ in 0..TAGS {
            if !matches!(ether_type, VLAN | SERVICE_VLAN) {
                break;
            }
            let ([_, _, e0, e1], inner) = rest.split_first_chunk::<4>()?;
            ether_type = [*e0, *e1];
            rest = inner;
        }
        match ether_type {
            [0x08, 0x00] => ipv4(rest),
            [0x86, 0xdd] => ipv6(rest),
            _ => None,
        }
    }

    /// Computes the transport checksum (RFC 1071), unless the decoder did. It costs several times what decoding does.
    ///
    /// A UDP datagram without a checksum is `Unknown`.
    pub fn verify_checksum(&self) -> Checksum {
        if self.checksum != Checksum::Unknown || self.transport.is_empty() {
            return self.checksum;
        }
        let protocol = self.key.transport().number();
        if protocol == UDP && self.transport.get(6..8).is_none_or(|field| field == [0, 0]) {
            return Checksum::Unknown;
        }
        // The length is the sender's, whatever the IP header claimed under segmentation offload.
        let length = u64::try_from(self.transport.len()).unwrap_or(0);
        let pseudo_header = self.key.address_sum() + u64::from(protocol) + (length & 0xffff) + (length >> 16);
        let mut total = pseudo_header + sum(self.transport);
        while total > 0xffff {
            total = (total & 0xffff) + (total >> 16);
        }
        if total == 0xffff { Checksum::Good } else { Checksum::Bad }
    }
}

/// The VLAN tags of a frame of which [`FlowPacket::glance`] told something: all that it can be wrapped in.
pub fn tags(frame: &Frame<'_>) -> Encapsulation {
    let mut encapsulation = Encapsulation::default();
    let Some(([.., e0, e1], mut rest)) = frame.data.split_first_chunk::<14>() else { return encapsulation };
    let mut ether_type = [*e0, *e1];
    while matches!(ether_type, VLAN | SERVICE_VLAN)
        && let Some(([t0, t1, e0, e1], inner)) = rest.split_first_chunk::<4>()
    {
        encapsulation.push(Layer::Vlan(u16::from_be_bytes([*t0, *t1]) & 0x0fff));
        ether_type = [*e0, *e1];
        rest = inner;
    }
    encapsulation
}

const VLAN: [u8; 2] = [0x81, 0x00];
const SERVICE_VLAN: [u8; 2] = [0x88, 0xa8];
const UDP: u8 = 17;

#[inline(always)]
fn ipv4(bytes: &[u8]) -> Option<FlowPacket<'_>> {
    let header = bytes.first_chunk::<20>()?;
    let [start, _, t0, t1, i0, i1, o0, o1, _, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = *header;
    let header_length = usize::from(start & 0x0f) << 2;
    // Neither more fragments nor an offset; "don't fragment" does not matter.
    let fragment = u16::from_be_bytes([o0, o1]) & 0x3fff;
    let total = usize::from(u16::from_be_bytes([t0, t1]));
    if start >> 4 != 4 || header_length < 20 || fragment != 0 {
        return None;
    }
    let transport = Transport::read(bytes.get(header_length..total)?, protocol)?;
    let (from, to) = (u32::from_be_bytes([s0, s1, s2, s3]), u32::from_be_bytes([d0, d1, d2, d3]));
    let [from_port, to_port] = transport.ports;
    let end = |address: u32, port: u16| u64::from(address) << 16 | u64::from(port);
    let upwards = end(from, from_port) <= end(to, to_port);
    let key = if upwards {
        PackedKey::v4([from, to], [from_port, to_port], protocol)
    } else {
        PackedKey::v4([to, from], [to_port, from_port], protocol)
    };
    Some(transport.with(key, upwards, Some(u16::from_be_bytes([i0, i1]))))
}

#[inline(always)]
fn ipv6(bytes: &[u8]) -> Option<FlowPacket<'_>> {
    let (header, rest) = bytes.split_first_chunk::<40>()?;
    let [start, _, _, _, l0, l1, next, _, addresses @ ..] = header;
    let length = usize::from(u16::from_be_bytes([*l0, *l1]));
    if start >> 4 != 6 || length == 0 {
        return None;
    }
    let transport = Transport::read(rest.get(..length)?, *next)?;
    let (from, to) = addresses.split_first_chunk::<16>()?;
    let (from, to) = (u128::from_be_bytes(*from), u128::from_be_bytes(*to.first_chunk::<16>()?));
    let [from_port, to_port] = transport.ports;
    let upwards = (from, from_port) <= (to, to_port);
    let key = if upwards {
        PackedKey::v6([from, to], [from_port, to_port], *next)
    } else {
        PackedKey::v6([to, from], [to_port, from_port], *next)
    };
    Some(transport.with(key, upwards, None))
}

/// What the transport header tells.
struct Transport<'a> {
    ports: [u16; 2],
    sequence: u32,
    acknowledgment: u32,
    flags: TcpFlags,
    payload: &'a [u8],
    /// Header and payload.
    bytes: &'a [u8],
}

impl<'a> Transport<'a> {
    #[inline(always)]
    fn read(bytes: &'a [u8], protocol: u8) -> Option<Self> {
        match protocol {
            6 => {
                let header = bytes.first_chunk::<20>()?;
                let [s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, offset, flags, ..] = *header;
                let length = usize::from(offset >> 4) << 2;
                if length < header.len() {
                    return None;
                }
                Some(Self {
                    ports: [u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])],
                    sequence: u32::from_be_bytes([q0, q1, q2, q3]),
                    acknowledgment: u32::from_be_bytes([a0, a1, a2, a3]),
                    flags: TcpFlags(flags),
                    payload: bytes.get(length..)?,
                    bytes,
                })
            }
            UDP => {
                let header = bytes.first_chunk::<8>()?;
                let [s0, s1, d0, d1, l0, l1, ..] = *header;
                let ports = [u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])];
                let length = usize::from(u16::from_be_bytes([l0, l1]));
                if ports.into_iter().any(tunnel::is_port) {
                    return None;
                }
                let bytes = bytes.get(..length)?;
                let payload = bytes.get(header.len()..)?;
                Some(Self { ports, sequence: 0, acknowledgment: 0, flags: TcpFlags::default(), payload, bytes })
            }
            _ => None,
        }
    }

    #[inline(always)]
    fn with(self, key: PackedKey, upwards: bool, ip_id: Option<u16>) -> FlowPacket<'a> {
        FlowPacket {
            key,
            direction: if upwards { Direction::LowToHigh } else { Direction::HighToLow },
            sequence: self.sequence,
            acknowledgment: self.acknowledgment,
            flags: self.flags,
            ip_id,
            payload: self.payload,
            missing: 0,
            checksum: Checksum::Unknown,
            transport: self.bytes,
        }
    }
}

/// Sum of 16-bit words in network order, folded late: eight bytes at a time add up to the same modulo 2^16 - 1, and so do
/// bytes in any order as long as the sum is swapped at the end (RFC 1071 section 2). Two sums, so that neither waits for the
/// carry of the other. Nothing is long enough to overflow 128 bits, nor the sum of the folded halves 64.
fn sum(data: &[u8]) -> u64 {
    let (blocks, rest) = data.as_chunks::<32>();
    let (mut even, mut odd) = (0_u128, 0_u128);
    for block in blocks {
        let ([a, b, c, d], _) = block.as_chunks::<8>() else { continue };
        even = even.wrapping_add(u128::from(u64::from_ne_bytes(*a)));
        odd = odd.wrapping_add(u128::from(u64::from_ne_bytes(*b)));
        even = even.wrapping_add(u128::from(u64::from_ne_bytes(*c)));
        odd = odd.wrapping_add(u128::from(u64::from_ne_bytes(*d)));
    }
    let (words, rest) = rest.as_chunks::<4>();
    let mut total = halves(even).wrapping_add(halves(odd));
    for word in words {
        total = total.wrapping_add(u64::from(u32::from_ne_bytes(*word)));
    }
    let last = match *rest {
        [a, b, c, ..] => [a, b, c, 0],
        [a, b] => [a, b, 0, 0],
        [a] => [a, 0, 0, 0],
        [] => [0; 4],
    };
    total = total.wrapping_add(u64::from(u32::from_ne_bytes(last)));
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    let folded = u16::try_from(total).unwrap_or(0);
    u64::from(u16::from_be_bytes(folded.to_ne_bytes()))
}

/// The 32-bit words of a sum, added up.
fn halves(sum: u128) -> u64 {
    let word = |shift: u32| u64::try_from(sum >> shift & 0xffff_ffff).unwrap_or(0);
    word(0) + word(32) + word(64) + word(96)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As RFC 1071 section 4.1 has it: one 16-bit word after the other.
    fn plain(data: &[u8]) -> u64 {
        let mut total = 0_u64;
        for pair in data.chunks(2) {
            total += u64::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u64::from);
        }
        while total > 0xffff {
            total = (total & 0xffff) + (total >> 16);
        }
        total
    }

    #[test]
    fn sums_of_the_longest_and_of_ones_do_not_overflow() {
        for length in (0..140).chain([1_460, 65_535, 1 << 18]) {
            let ones = vec![0xff; length];
            assert_eq!(sum(&ones), plain(&ones), "{length}");
        }
    }

    proptest! {
        #[test]
        fn sums_are_those_of_words(data in proptest::collection::vec(any::<u8>(), 0..1_600), from in 0_usize..40) {
            let data = data.get(from..).unwrap_or_default();
            prop_assert_eq!(sum(data), plain(data));
        }
    }
}
