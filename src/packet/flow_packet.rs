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

/// What looks at a packet.
pub trait Visitor<'a> {
    /// What it says.
    type Answer;

    /// Looks at it. To be inlined by all means.
    fn visit(self, packet: FlowPacket<'a>) -> Self::Answer;
}

/// Gives back the packet.
struct Itself;

impl<'a> Visitor<'a> for Itself {
    type Answer = FlowPacket<'a>;

    #[inline(always)]
    fn visit(self, packet: FlowPacket<'a>) -> FlowPacket<'a> {
        packet
    }
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
        Self::glance_for(frame, Itself)
    }

    /// Gives what [`FlowPacket::glance`] tells to `visitor`, whose code is made for each kind of packet of its own: what is
    /// known of the kind need not be asked again.
    #[inline(always)]
    pub fn glance_for<V: Visitor<'a>>(frame: &Frame<'a>, visitor: V) -> Option<V::Answer> {
        if frame.link_type != LinkType::ETHERNET {
            return None;
        }
        let (head, mut rest) = frame.data.split_first_chunk::<14>()?;
        let mut ether_type = last_two(head);
        for _ in 0..TAGS {
            if !matches!(ether_type, VLAN | SERVICE_VLAN) {
                break;
            }
            let (tag, inner) = rest.split_first_chunk::<4>()?;
            ether_type = last_two(tag);
            rest = inner;
        }
        match ether_type {
            IPV4 => ipv4(rest, visitor),
            IPV6 => ipv6(rest, visitor),
            _ => None,
        }
    }

    /// Computes the transport checksum (RFC 1071), unless the decoder did. It costs several times what decoding does.
    ///
    /// A UDP datagram without a checksum is `Unknown`.
    pub fn verify_checksum(&self) -> Checksum {
        self.pending_checksum().verify(self.transport)
    }

    /// The same without what it costs, for whoever has time for that later.
    pub fn pending_checksum(&self) -> PendingChecksum {
        if self.checksum != Checksum::Unknown || self.transport.is_empty() {
            return PendingChecksum::Known(self.checksum);
        }
        let protocol = self.key.transport().number();
        if protocol == UDP && self.transport.get(6..8).is_none_or(|field| field == [0, 0]) {
            return PendingChecksum::Known(Checksum::Unknown);
        }
        // The length is the sender's, whatever the IP header claimed under segmentation offload.
        let length = u64::try_from(self.transport.len()).unwrap_or(0);
        PendingChecksum::Open(folded(self.key.address_sum() + u64::from(protocol) + (length & 0xffff) + (length >> 16)))
    }
}

/// A transport checksum that may still have to be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingChecksum {
    /// The verdict.
    Known(Checksum),
    /// The sum of the pseudo-header (RFC 9293 section 3.1); transport header and payload are to be added.
    Open(u16),
}

impl PendingChecksum {
    /// The verdict; `transport` is the transport header and the payload.
    pub fn verify(self, transport: &[u8]) -> Checksum {
        match self {
            Self::Known(verdict) => verdict,
            Self::Open(pseudo_header) if folded(u64::from(pseudo_header) + sum(transport)) == 0xffff => Checksum::Good,
            Self::Open(_) => Checksum::Bad,
        }
    }
}

/// A sum of 16-bit words with its carries added in.
fn folded(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    u16::try_from(total).unwrap_or(0)
}

/// The VLAN tags of a frame of which [`FlowPacket::glance`] told something: all that it can be wrapped in.
pub fn tags(frame: &Frame<'_>) -> Encapsulation {
    let mut encapsulation = Encapsulation::default();
    let Some((head, mut rest)) = frame.data.split_first_chunk::<14>() else { return encapsulation };
    let mut ether_type = last_two(head);
    while matches!(ether_type, VLAN | SERVICE_VLAN)
        && let Some((tag, inner)) = rest.split_first_chunk::<4>()
    {
        let [t0, t1, ..] = *tag;
        encapsulation.push(Layer::Vlan(u16::from_be_bytes([t0, t1]) & 0x0fff));
        ether_type = last_two(tag);
        rest = inner;
    }
    encapsulation
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;
const TCP: u8 = 6;
const UDP: u8 = 17;

#[inline(always)]
fn last_two<const N: usize>(bytes: &[u8; N]) -> u16 {
    bytes.last_chunk().map_or(0, |two| u16::from_be_bytes(*two))
}

/// A header as 32-bit words in host order; `N` is a quarter of its length.
#[inline(always)]
fn words<const N: usize>(bytes: &[u8]) -> Option<[u32; N]> {
    let (words, _) = bytes.as_chunks::<4>();
    words.first_chunk::<N>().map(|words| words.map(u32::from_be_bytes))
}

/// Upper and lower half of a word.
#[inline(always)]
fn halves(word: u32) -> [u16; 2] {
    let [a, b, c, d] = word.to_be_bytes();
    [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
}

#[inline(always)]
fn ipv4<'a, V: Visitor<'a>>(bytes: &'a [u8], visitor: V) -> Option<V::Answer> {
    let [first, second, third, from, to] = words(bytes)?;
    let [start, ..] = first.to_be_bytes();
    let [_, total] = halves(first);
    let [id, fragment] = halves(second);
    let [_, protocol, ..] = third.to_be_bytes();
    // Version 4 without options, neither more fragments nor an offset; "don't fragment" does not matter.
    if start != 0x45 || fragment & 0x3fff != 0 {
        return None;
    }
    let bytes = bytes.get(20..usize::from(total))?;
    let (ends, id) = ([from, to], Some(id));
    match protocol {
        TCP => {
            let transport = Transport::tcp(bytes)?;
            Some(visitor.visit(transport.with(PackedKey::v4(ends, transport.ports, TCP), id)))
        }
        UDP => {
            let transport = Transport::udp(bytes)?;
            Some(visitor.visit(transport.with(PackedKey::v4(ends, transport.ports, UDP), id)))
        }
        _ => None,
    }
}

#[inline(always)]
fn ipv6<'a, V: Visitor<'a>>(bytes: &'a [u8], visitor: V) -> Option<V::Answer> {
    let [first, second, f0, f1, f2, f3, t0, t1, t2, t3] = words(bytes)?;
    let [length, _] = halves(second);
    let [_, _, next, _] = second.to_be_bytes();
    if first >> 28 != 6 || length == 0 {
        return None;
    }
    let bytes = bytes.get(40..usize::from(length) + 40)?;
    let ends = [address([f0, f1, f2, f3]), address([t0, t1, t2, t3])];
    match next {
        TCP => {
            let transport = Transport::tcp(bytes)?;
            Some(visitor.visit(transport.with(PackedKey::v6(ends, transport.ports, TCP), None)))
        }
        UDP => {
            let transport = Transport::udp(bytes)?;
            Some(visitor.visit(transport.with(PackedKey::v6(ends, transport.ports, UDP), None)))
        }
        _ => None,
    }
}

#[inline(always)]
fn address(words: [u32; 4]) -> u128 {
    words.into_iter().fold(0, |bits, word| bits << 32 | u128::from(word))
}

/// What the transport header tells.
#[derive(Clone, Copy)]
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
    fn tcp(bytes: &'a [u8]) -> Option<Self> {
        let [ports, sequence, acknowledgment, fourth, _] = words(bytes)?;
        let [offset, flags, ..] = fourth.to_be_bytes();
        let length = usize::from(offset >> 4) << 2;
        if length < 20 {
            return None;
        }
        let payload = bytes.get(length..)?;
        Some(Self { ports: halves(ports), sequence, acknowledgment, flags: TcpFlags(flags), payload, bytes })
    }

    #[inline(always)]
    fn udp(bytes: &'a [u8]) -> Option<Self> {
        let [ports, second] = words(bytes)?;
        let ports = halves(ports);
        let [length, _] = halves(second);
        if ports.into_iter().any(tunnel::is_port) {
            return None;
        }
        let bytes = bytes.get(..usize::from(length))?;
        let payload = bytes.get(8..)?;
        Some(Self { ports, sequence: 0, acknowledgment: 0, flags: TcpFlags::default(), payload, bytes })
    }

    #[inline(always)]
    fn with(self, (key, direction): (PackedKey, Direction), ip_id: Option<u16>) -> FlowPacket<'a> {
        FlowPacket {
            key,
            direction,
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
    let mut total = both_halves(even).wrapping_add(both_halves(odd));
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
    u64::from(u16::from_be_bytes(folded(total).to_ne_bytes()))
}

/// The 32-bit words of a sum, added up.
fn both_halves(sum: u128) -> u64 {
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
