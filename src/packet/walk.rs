//! The state of walking down one frame, layer by layer, on the slow path.

use std::net::IpAddr;

use super::{Encapsulation, Layer, Packet};

/// VLAN tags, MPLS stacks, PPPoE headers and the like that are followed in one frame; a real one has at most three or
/// four.
const MAX_TAGS: usize = 16;

/// Why a frame gave no segment; each has a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The captured bytes end inside a header.
    Truncated,
    /// A header contradicts itself or the one around it.
    Malformed,
    /// Neither TCP nor UDP.
    Other,
    /// More layers than are followed.
    TooDeep,
    /// A link type that is not known.
    UnsupportedLink,
    /// A fragment, kept or dropped by the defragmenter, which has counted it.
    Fragment,
}

/// How to read the bytes that are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// An Ethernet header.
    Ethernet,
    /// What an EtherType says (or the length of an IEEE 802.3 frame, up to 1,500).
    EtherType(u16),
    /// An IEEE 802.2 LLC header.
    Llc,
    /// A PPP protocol field.
    Ppp,
    /// An IPv4 or IPv6 header, by its version.
    Ip,
    /// The payload of IP with this protocol number.
    Protocol(u8),
}

/// What later layers need of the innermost IP header.
#[derive(Clone, Copy, Debug)]
pub(super) struct IpFacts {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// Identification field; `None` for IPv6.
    pub(super) id: Option<u16>,
    pub(super) hop_limit: u8,
    /// `false` where the pseudo-header cannot be told from this header (a routing header not yet used up).
    pub(super) pseudo_header_known: bool,
}

/// The bytes that are left of a frame and what was learned on the way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk<'a> {
    /// What is left.
    pub(super) data: &'a [u8],
    /// Bytes that were sent after the end of `data` but not captured.
    pub(super) missing: u32,
    /// Whether the end of `data` is the end that a header gave: then a shortage is a lie of the sender and not of the
    /// capture.
    pub(super) bounded: bool,
    /// Tunnels entered.
    pub(super) tunnels: usize,
    /// Tunnels that may be entered.
    pub(super) tunnel_limit: usize,
    /// Extension headers since the last IP header.
    pub(super) extensions: usize,
    /// Names of what was passed.
    pub(super) encapsulation: Encapsulation,
    /// Identifier of the innermost VXLAN or GENEVE, else 0.
    pub(super) virtual_network: u32,
    /// The innermost IP header.
    pub(super) ip: Option<IpFacts>,
    /// The UDP datagram that a tunnel was guessed in, to be given if the guess was wrong.
    pub(super) plain: Option<Packet<'a>>,
    tags: usize,
}

impl<'a> Walk<'a> {
    /// The beginning of a frame, of which `missing` bytes were not captured.
    pub(super) fn new(data: &'a [u8], missing: u32, tunnel_limit: usize) -> Self {
        Self {
            data,
            missing,
            bounded: false,
            tunnels: 0,
            tunnel_limit,
            extensions: 0,
            encapsulation: Encapsulation::default(),
            virtual_network: 0,
            ip: None,
            plain: None,
            tags: 0,
        }
    }

    /// What it means that a header does not fit.
    pub(super) fn short(&self) -> Stop {
        if self.bounded && self.missing == 0 { Stop::Malformed } else { Stop::Truncated }
    }

    /// Takes the first `N` bytes.
    pub(super) fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], Stop> {
        let (head, rest) = self.data.split_first_chunk::<N>().ok_or_else(|| self.short())?;
        self.data = rest;
        Ok(head)
    }

    /// Takes the next two bytes as a number in network order.
    pub(super) fn take_u16(&mut self) -> Result<u16, Stop> {
        self.take().map(|bytes| u16::from_be_bytes(*bytes))
    }

    /// Passes over `count` bytes.
    pub(super) fn skip(&mut self, count: usize) -> Result<(), Stop> {
        self.data = self.data.get(count..).ok_or_else(|| self.short())?;
        Ok(())
    }

    /// A header said that `length` bytes are left: forgets padding, or learns what is missing.
    pub(super) fn end_after(&mut self, length: usize) {
        if let Some(inside) = self.data.get(..length) {
            self.data = inside;
            self.missing = 0;
        } else {
            self.missing = u32::try_from(length.saturating_sub(self.data.len())).unwrap_or(u32::MAX);
        }
        self.bounded = true;
    }

    /// Bytes that were sent from here on, captured or not.
    pub(super) fn sent(&self) -> usize {
        self.data.len().saturating_add(usize::try_from(self.missing).unwrap_or(usize::MAX))
    }

    /// Notes a tag or shim that is no tunnel.
    pub(super) fn tag(&mut self, layer: Option<Layer>) -> Result<(), Stop> {
        self.tags += 1;
        if self.tags > MAX_TAGS {
            return Err(Stop::TooDeep);
        }
        if let Some(layer) = layer {
            self.encapsulation.push(layer);
        }
        Ok(())
    }

    /// Enters a tunnel.
    pub(super) fn tunnel(&mut self, layer: Layer) -> Result<(), Stop> {
        if self.tunnels >= self.tunnel_limit {
            // What is inside is not known to be a tunnel, but whoever nests this deep has no say as plain data either.
            self.plain = None;
            return Err(Stop::TooDeep);
        }
        self.tunnels += 1;
        self.encapsulation.push(layer);
        Ok(())
    }

    /// The version in the next byte: 4, 6, or something else.
    pub(super) fn nibble(&self) -> Option<u8> {
        self.data.first().map(|first| first >> 4)
    }
}

/// The big-endian number at `at`.
pub(super) fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// The 24-bit number in three bytes.
pub(super) fn u24(bytes: [u8; 3]) -> u32 {
    let [high, middle, low] = bytes;
    u32::from_be_bytes([0, high, middle, low])
}
