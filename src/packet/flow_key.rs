//! The key of a flow: both ends in canonical order, so that both directions share it.

use std::net::IpAddr;

use crate::direction::Direction;

use super::{Packet, TransportPayload};

/// Number of slots that flows are dealt to; fixed, so that no outcome depends on the number of workers.
pub const SLOTS: usize = 256;

/// Transport protocol of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP, protocol number 6.
    Tcp,
    /// UDP, protocol number 17.
    Udp,
}

impl Transport {
    /// The IANA protocol number.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    /// `tcp` or `udp`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// An address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

/// Both ends of a flow, the lower (address, port) first; the same for both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// The lower end.
    pub low: Endpoint,
    /// The upper end.
    pub high: Endpoint,
    /// Transport protocol.
    pub transport: Transport,
    /// Tunnel identifier (VXLAN, GENEVE), 0 outside: private nets behind two tunnels may use the same addresses. Only of tunnels
    /// whose two directions have the same.
    pub virtual_network: u32,
}

impl FlowKey {
    /// The key of a packet and which way the packet goes.
    pub fn of(packet: &Packet<'_>) -> (Self, Direction) {
        let from = Endpoint { address: packet.source, port: packet.source_port };
        let to = Endpoint { address: packet.destination, port: packet.destination_port };
        let transport = match packet.payload {
            TransportPayload::Tcp(_) => Transport::Tcp,
            TransportPayload::Udp(_) => Transport::Udp,
        };
        let (low, high, direction) =
            if from <= to { (from, to, Direction::LowToHigh) } else { (to, from, Direction::HighToLow) };
        (Self { low, high, transport, virtual_network: packet.virtual_network }, direction)
    }

    /// The end that sends in `direction`.
    pub fn sender(&self, direction: Direction) -> Endpoint {
        match direction {
            Direction::LowToHigh => self.low,
            Direction::HighToLow => self.high,
        }
    }

    /// The end that receives in `direction`.
    pub fn receiver(&self, direction: Direction) -> Endpoint {
        self.sender(direction.reversed())
    }
}

/// A [`FlowKey`] as the table compares and hashes it: six words without a branch.
#[derive(Clone, Copy, Debug, Eq)]
pub struct PackedKey {
    addresses: [u64; 4],
    ports: u64,
    network: u32,
}

/// What hashes of keys depend on beside the keys: unknown to who sends packets, where that matters.
#[derive(Clone, Copy, Debug)]
pub struct Seeds([u64; 2]);

impl Seeds {
    /// Made of any number, also one with few bits set.
    pub fn new(seed: u64) -> Self {
        // The finaliser of SplitMix64 (Steele, Lea and Flood 2014).
        let mix = |number: u64| {
            let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            number ^ number >> 31
        };
        let step = 0x9e37_79b9_7f4a_7c15_u64;
        Self([mix(seed.wrapping_add(step)), mix(seed.wrapping_add(step.wrapping_mul(2)))])
    }
}

/// Both halves of a product, one over the other: each bit depends on all bits of both numbers.
#[inline(always)]
fn fold(one: u64, two: u64) -> u64 {
    let product = u128::from(one).wrapping_mul(u128::from(two));
    half(product >> 64) ^ half(product)
}

#[inline(always)]
fn half(bits: u128) -> u64 {
    u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0)
}

impl PartialEq for PackedKey {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        let ([a, low @ ..], [b, high @ ..]) = (&self.addresses, &other.addresses);
        // IPv4 addresses leave the other words empty.
        self.ports == other.ports && a == b && self.network == other.network && (self.is_v4() || low == high)
    }
}

impl PackedKey {
    /// Packs a key.
    #[inline]
    pub fn of(key: &FlowKey) -> Self {
        let (addresses, version) = match (key.low.address, key.high.address) {
            (IpAddr::V4(low), IpAddr::V4(high)) => {
                ([u64::from(u32::from(low)) << 32 | u64::from(u32::from(high)), 0, 0, 0], 0)
            }
            (low, high) => {
                let halves = |address: IpAddr| match address {
                    IpAddr::V4(address) => (0, u64::from(u32::from(address))),
                    IpAddr::V6(address) => {
                        let bits = u128::from(address);
                        (half(bits >> 64), half(bits))
                    }
                };
                let ((a, b), (c, d)) = (halves(low), halves(high));
                ([a, b, c, d], 1)
            }
        };
        let ports = u64::from(key.low.port) << 48 | u64::from(key.high.port) << 32;
        Self {
            addresses,
            ports: ports | u64::from(key.transport.number()) << 8 | version,
            network: key.virtual_network,
        }
    }

    /// The key it was made of.
    pub fn unpack(&self) -> FlowKey {
        let [a, b, c, d] = self.addresses;
        let address = |high: u64, low: u64| IpAddr::from((u128::from(high) << 64 | u128::from(low)).to_be_bytes());
        let v4 = |value: u64| IpAddr::from(u32::try_from(value & 0xffff_ffff).unwrap_or(0).to_be_bytes());
        let (low, high) = if self.is_v4() { (v4(a >> 32), v4(a)) } else { (address(a, b), address(c, d)) };
        let port = |shift: u32| u16::try_from(self.ports >> shift & 0xffff).unwrap_or(0);
        FlowKey {
            low: Endpoint { address: low, port: port(48) },
            high: Endpoint { address: high, port: port(32) },
            transport: self.transport(),
            virtual_network: self.network,
        }
    }

    /// Hash of the key: one multiplication for IPv4, as every packet pays for it.
    #[inline(always)]
    pub fn hash(&self, seeds: &Seeds) -> u64 {
        let Seeds([first, second]) = *seeds;
        let [a, b, c, d] = self.addresses;
        let mut high = a ^ first;
        if !self.is_v4() {
            high = fold(fold(high, b ^ second) ^ c, d ^ second);
        }
        if self.network != 0 {
            high = fold(high, u64::from(self.network) ^ second);
        }
        fold(high, self.ports ^ second)
    }

    #[inline(always)]
    fn is_v4(&self) -> bool {
        self.ports & 1 == 0
    }

    /// The key of a flow of `protocol` (6 or 17) between IPv4 addresses outside tunnels, and which way a packet from the first
    /// to the second end goes.
    #[inline(always)]
    pub fn v4([from, to]: [u32; 2], [from_port, to_port]: [u16; 2], protocol: u8) -> (Self, Direction) {
        let end = |address: u32, port: u16| u64::from(address) << 16 | u64::from(port);
        let addresses = u64::from(from) << 32 | u64::from(to);
        let ports = u32::from(from_port) << 16 | u32::from(to_port);
        let (addresses, ports, direction) = if end(from, from_port) <= end(to, to_port) {
            (addresses, ports, Direction::LowToHigh)
        } else {
            (addresses.rotate_left(32), ports.rotate_left(16), Direction::HighToLow)
        };
        let ports = u64::from(ports) << 32 | u64::from(protocol) << 8;
        (Self { addresses: [addresses, 0, 0, 0], ports, network: 0 }, direction)
    }

    /// The same of IPv6 addresses.
    #[inline(always)]
    pub fn v6([from, to]: [u128; 2], [from_port, to_port]: [u16; 2], protocol: u8) -> (Self, Direction) {
        let upwards = (from, from_port) <= (to, to_port);
        let (low, high) = if upwards { (from, to) } else { (to, from) };
        let (low_port, high_port) = if upwards { (from_port, to_port) } else { (to_port, from_port) };
        let ports = u64::from(low_port) << 48 | u64::from(high_port) << 32;
        let key = Self {
            addresses: [half(low >> 64), half(low), half(high >> 64), half(high)],
            ports: ports | u64::from(protocol) << 8 | 1,
            network: 0,
        };
        (key, if upwards { Direction::LowToHigh } else { Direction::HighToLow })
    }

    /// Transport protocol.
    #[inline]
    pub fn transport(&self) -> Transport {
        if self.ports >> 8 & 0xff == 6 { Transport::Tcp } else { Transport::Udp }
    }

    /// Sum of the 16-bit words of both addresses, as the pseudo-header of a checksum takes them (RFC 9293 section 3.1).
    pub fn address_sum(&self) -> u64 {
        self.addresses.iter().map(|word| (word >> 32) + (word & 0xffff_ffff)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Flows that differ in one field only, as those of one client or to one server do, fill all slots alike.
    #[test]
    fn similar_keys_go_to_all_slots_and_places() {
        let v4 = |number: u32| PackedKey::v4([0x0a00_0001 + number, 0xc0a8_0001], [40_000, 443], 6).0;
        let ports = |number: u32| {
            let port = u16::try_from(number % 60_000 + 1).unwrap_or(0);
            PackedKey::v4([0x0a00_0001, 0xc0a8_0001], [port, 443], 17).0
        };
        let v6 = |number: u32| PackedKey::v6([0x2001_0db8 << 96 | u128::from(number), 1], [40_000, 443], 6).0;
        let network = |number: u32| PackedKey { network: number, ..v4(0) };
        let families: [&dyn Fn(u32) -> PackedKey; 4] = [&v4, &ports, &v6, &network];
        for (family, key) in families.into_iter().enumerate() {
            for seed in [0, 1, u64::MAX] {
                let seeds = Seeds::new(seed);
                let (mut slots, mut places) = ([0_u32; 256], [0_u32; 256]);
                for number in 0..25_600 {
                    let [slot, _, place, ..] = key(number).hash(&seeds).to_be_bytes();
                    slots[usize::from(slot)] += 1;
                    places[usize::from(place)] += 1;
                }
                // 100 on average; further than six deviations away is no accident.
                for count in slots.iter().chain(&places) {
                    assert!((40..=160).contains(count), "family {family}, seed {seed}: {count}");
                }
            }
        }
    }
}
