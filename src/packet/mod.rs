//! Frames to segments: link layers, tunnels, fragments, and the key of a flow.
//!
//! Pure: takes the bytes of one frame, gives the innermost TCP segment or UDP datagram, borrowed from the frame.

pub mod community_id;
pub mod decode;
pub mod flow_key;
pub mod flow_packet;
mod fragment;
mod ip;
mod link;
mod transport;
mod tunnel;
mod walk;
mod wlan;

use std::net::IpAddr;

use crate::time::Timestamp;

pub use crate::direction::Direction;
pub use decode::{ChecksumMode, Decoder};
pub use flow_key::{Endpoint, FlowKey, Transport};
pub use flow_packet::{FlowPacket, PendingChecksum};
pub use link::is_supported;
pub use transport::verify_checksum;

/// A link layer type as capture files number it (the `LINKTYPE_` registry of tcpdump.org).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback with a host-order address family (LINKTYPE_NULL).
    pub const NULL: Self = Self(0);
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// PPP with optional HDLC framing (LINKTYPE_PPP).
    pub const PPP: Self = Self(9);
    /// PPP in HDLC-like framing (LINKTYPE_PPP_HDLC).
    pub const PPP_HDLC: Self = Self(50);
    /// PPPoE session packets without Ethernet (LINKTYPE_PPP_ETHER).
    pub const PPP_ETHER: Self = Self(51);
    /// Raw IP as some systems number DLT_RAW in files.
    pub const RAW_BSD: Self = Self(12);
    /// Raw IP as OpenBSD numbers DLT_RAW in files.
    pub const RAW_OPENBSD: Self = Self(14);
    /// Raw IPv4 or IPv6 (LINKTYPE_RAW).
    pub const RAW: Self = Self(101);
    /// IEEE 802.11 without radiotap.
    pub const IEEE802_11: Self = Self(105);
    /// OpenBSD loopback with a network-order address family (LINKTYPE_LOOP).
    pub const LOOP: Self = Self(108);
    /// Linux cooked capture v1.
    pub const LINUX_SLL: Self = Self(113);
    /// IEEE 802.11 with radiotap.
    pub const IEEE802_11_RADIOTAP: Self = Self(127);
    /// Raw IPv4.
    pub const IPV4: Self = Self(228);
    /// Raw IPv6.
    pub const IPV6: Self = Self(229);
    /// Linux netfilter log messages.
    pub const NFLOG: Self = Self(239);
    /// Linux cooked capture v2.
    pub const LINUX_SLL2: Self = Self(276);
}

/// One captured frame, lent by its source until the next is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Number in the whole run, from 1, over all files in the order they are merged.
    pub sequence: u64,
    /// Number in its own file, from 1, as Wireshark counts (packet blocks only).
    pub number: u64,
    /// Index of the file in the run; resolved to a path by the source.
    pub file: u32,
    /// Index of the interface inside the file (pcapng), else 0.
    pub interface: u32,
    /// Packet time.
    pub timestamp: Timestamp,
    /// `false` for blocks that carry no time (Simple Packet Block): `timestamp` then repeats the last one's.
    pub time_known: bool,
    /// How to read `data`.
    pub link_type: LinkType,
    /// Length of the frame on the wire in bytes; `data` may be shorter (snap length).
    pub original_len: u32,
    /// The captured bytes.
    pub data: &'a [u8],
}

/// What `decode` found in one frame: the innermost segment or datagram, borrowed from the frame (or from the defragmenter).
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Source of the innermost IP header.
    pub source: IpAddr,
    /// Destination of the innermost IP header.
    pub destination: IpAddr,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Identification field of the innermost IPv4 header; `None` for IPv6.
    pub ip_id: Option<u16>,
    /// Time to live or hop limit of the innermost IP header.
    pub hop_limit: u8,
    /// Identifier of the innermost VXLAN or GENEVE (overlapping private nets stay apart), else 0. GTP has one per
    /// direction, so it is only named in `encapsulation`.
    pub virtual_network: u32,
    /// Tunnels and tags the packet came through, outermost first.
    pub encapsulation: Encapsulation,
    /// TCP segment or UDP datagram.
    pub payload: TransportPayload<'a>,
    /// Bytes of payload that the sender sent but the capture cut off (snap length).
    pub missing: u32,
    /// Whether the transport checksum holds; `Unknown` unless asked for, or where bytes are missing.
    pub checksum: Checksum,
    /// Transport header and payload, for [`verify_checksum`]; empty where the checksum cannot be computed.
    pub transport: &'a [u8],
}

/// The transport layer of a [`Packet`].
#[derive(Clone, Copy, Debug)]
pub enum TransportPayload<'a> {
    /// A TCP segment (RFC 9293).
    Tcp(Segment<'a>),
    /// A UDP datagram (RFC 768).
    Udp(&'a [u8]),
}

/// A TCP segment (RFC 9293 section 3.1).
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Sequence number of the first payload byte (of the SYN, when that flag is set).
    pub sequence: u32,
    /// Acknowledgment number; meaningless unless ACK is set.
    pub acknowledgment: u32,
    /// Control bits.
    pub flags: TcpFlags,
    /// The payload.
    pub payload: &'a [u8],
}

/// Control bits of a TCP header (RFC 9293 section 3.1), as in byte 13.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgment field is meaningful.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer is meaningful.
    pub const URG: u8 = 0x20;

    /// Whether all bits of `mask` are set.
    pub fn has(self, mask: u8) -> bool {
        self.0 & mask == mask
    }

    /// Whether any bit of `mask` is set.
    pub fn any(self, mask: u8) -> bool {
        self.0 & mask != 0
    }
}

/// Verdict on a transport checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// Not computed, or not computable.
    #[default]
    Unknown,
    /// It holds.
    Good,
    /// It does not hold (often offloading on the capturing host).
    Bad,
}

/// One layer that wrapped the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layer {
    /// IEEE 802.1Q or 802.1ad tag with its VLAN id.
    Vlan(u16),
    /// MPLS label stack, bottom label.
    Mpls(u32),
    /// PPPoE session id.
    Pppoe(u16),
    /// GRE with its key, if it has one (RFC 2784, RFC 2890).
    Gre(Option<u32>),
    /// ERSPAN with version (1, 2 or 3) and session id.
    Erspan(u8, u16),
    /// VXLAN network identifier (RFC 7348).
    Vxlan(u32),
    /// GENEVE virtual network identifier (RFC 8926).
    Geneve(u32),
    /// GTP-U tunnel endpoint identifier (3GPP TS 29.281).
    Gtpu(u32),
    /// IP in IP (RFC 2003, RFC 2473, RFC 4213).
    IpInIp,
    /// Teredo (RFC 4380).
    Teredo,
}

/// The layers of a packet, outermost first; bounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Encapsulation {
    layers: [Option<Layer>; Self::MAX],
}

impl Encapsulation {
    /// Most layers that are remembered; what is deeper is not named.
    pub const MAX: usize = 6;

    /// Adds an inner layer; ignored when full.
    pub fn push(&mut self, layer: Layer) {
        if let Some(free) = self.layers.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(layer);
        }
    }

    /// The layers, outermost first.
    pub fn iter(&self) -> impl Iterator<Item = Layer> + '_ {
        self.layers.iter().map_while(|layer| *layer)
    }

    /// Whether the packet came plain.
    pub fn is_empty(&self) -> bool {
        self.layers.first().is_none_or(Option::is_none)
    }
}

#[cfg(test)]
mod tests;
