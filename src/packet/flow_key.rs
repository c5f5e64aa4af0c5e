//! The key of a flow: both ends in canonical order, so that both directions share it.

use std::hash::{BuildHasher, Hash, Hasher};
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

    /// Hash of the key; the same for both directions.
    pub fn hash_with<S: BuildHasher>(&self, state: &S) -> u64 {
        let mut hasher = state.build_hasher();
        match (self.low.address, self.high.address) {
            (IpAddr::V4(low), IpAddr::V4(high)) => {
                hasher.write_u64(u64::from(u32::from(low)) << 32 | u64::from(u32::from(high)));
            }
            (low, high) => {
                low.hash(&mut hasher);
                high.hash(&mut hasher);
            }
        }
        let ports = u64::from(self.low.port) << 48 | u64::from(self.high.port) << 32;
        hasher.write_u64(ports | u64::from(self.virtual_network));
        hasher.write_u8(self.transport.number());
        hasher.finish()
    }
}
