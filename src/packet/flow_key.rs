//! The key of a flow: both ends in canonical order, so that both directions share it.

use std::hash::{BuildHasher, Hasher};
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
    /// Tunnel identifier (VXLAN, GENEVE), 0 outside: private nets behind two tunnels may use the same addresses.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedKey {
    addresses: [u64; 4],
    ports: u64,
    network: u32,
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
                        let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0);
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
        let (low, high) = if self.ports & 1 == 0 { (v4(a >> 32), v4(a)) } else { (address(a, b), address(c, d)) };
        let port = |shift: u32| u16::try_from(self.ports >> shift & 0xffff).unwrap_or(0);
        FlowKey {
            low: Endpoint { address: low, port: port(48) },
            high: Endpoint { address: high, port: port(32) },
            transport: self.transport(),
            virtual_network: self.network,
        }
    }

    /// Hash of the key.
    #[inline]
    pub fn hash_with<S: BuildHasher>(&self, state: &S) -> u64 {
        let mut hasher = state.build_hasher();
        let [a, b, c, d] = self.addresses;
        hasher.write_u64(a);
        if self.ports & 1 != 0 {
            hasher.write_u64(b);
            hasher.write_u64(c);
            hasher.write_u64(d);
        }
        hasher.write_u64(self.ports);
        hasher.write_u32(self.network);
        hasher.finish()
    }

    /// The key of a flow of `protocol` (6 or 17) between IPv4 addresses outside tunnels, lower end first.
    #[inline]
    pub fn v4([low, high]: [u32; 2], [low_port, high_port]: [u16; 2], protocol: u8) -> Self {
        let ports = u64::from(low_port) << 48 | u64::from(high_port) << 32;
        Self {
            addresses: [u64::from(low) << 32 | u64::from(high), 0, 0, 0],
            ports: ports | u64::from(protocol) << 8,
            network: 0,
        }
    }

    /// The key of a flow of `protocol` (6 or 17) between IPv6 addresses outside tunnels, lower end first.
    #[inline]
    pub fn v6([low, high]: [u128; 2], [low_port, high_port]: [u16; 2], protocol: u8) -> Self {
        let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0);
        let ports = u64::from(low_port) << 48 | u64::from(high_port) << 32;
        Self {
            addresses: [half(low >> 64), half(low), half(high >> 64), half(high)],
            ports: ports | u64::from(protocol) << 8 | 1,
            network: 0,
        }
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
