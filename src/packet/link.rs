//! Link layers: from the first byte of a frame to an IP header.

use super::walk::{Next, Stop, Walk, u16_at};
use super::{Layer, LinkType, wlan};

/// EtherTypes of IEEE 802.1Q, 802.1ad and what was used before it was standardised.
const VLAN_TYPES: [u16; 4] = [0x8100, 0x88a8, 0x9100, 0x9200];

/// Whether frames of this link type are followed.
pub fn is_supported(link: LinkType) -> bool {
    matches!(
        link,
        LinkType::NULL
            | LinkType::ETHERNET
            | LinkType::PPP
            | LinkType::PPP_HDLC
            | LinkType::PPP_ETHER
            | LinkType::RAW_BSD
            | LinkType::RAW_OPENBSD
            | LinkType::RAW
            | LinkType::IEEE802_11
            | LinkType::LOOP
            | LinkType::LINUX_SLL
            | LinkType::IEEE802_11_RADIOTAP
            | LinkType::IPV4
            | LinkType::IPV6
            | LinkType::NFLOG
            | LinkType::LINUX_SLL2
    )
}

/// The first step: what the link type says.
pub(super) fn first(link: LinkType, walk: &mut Walk<'_>) -> Result<Next, Stop> {
    match link {
        LinkType::ETHERNET => Ok(Next::Ethernet),
        LinkType::RAW | LinkType::RAW_BSD | LinkType::RAW_OPENBSD | LinkType::IPV4 | LinkType::IPV6 => Ok(Next::Ip),
        LinkType::NULL | LinkType::LOOP => loopback(walk),
        LinkType::LINUX_SLL => {
            let [.., high, low] = *walk.take::<16>()?;
            Ok(cooked(u16::from_be_bytes([high, low])))
        }
        LinkType::LINUX_SLL2 => {
            let [high, low, ..] = *walk.take::<20>()?;
            Ok(cooked(u16::from_be_bytes([high, low])))
        }
        LinkType::PPP | LinkType::PPP_HDLC => hdlc(walk),
        LinkType::PPP_ETHER => pppoe(walk),
        LinkType::IEEE802_11 => wlan::frame(walk, wlan::Padding::None),
        LinkType::IEEE802_11_RADIOTAP => wlan::radiotap(walk),
        LinkType::NFLOG => nflog(walk),
        _ => Err(Stop::UnsupportedLink),
    }
}

/// Ethernet II or IEEE 802.3.
pub(super) fn ethernet(walk: &mut Walk<'_>) -> Result<Next, Stop> {
    walk.skip(12)?;
    walk.take_u16().map(Next::EtherType)
}

/// What an EtherType announces.
pub(super) fn ether_type(walk: &mut Walk<'_>, ether_type: u16) -> Result<Next, Stop> {
    match ether_type {
        0x0800 => ip_version(walk, 4),
        0x86dd => ip_version(walk, 6),
        _ if VLAN_TYPES.contains(&ether_type) => {
            let tag = walk.take_u16()?;
            walk.tag(Some(Layer::Vlan(tag & 0x0fff)))?;
            walk.take_u16().map(Next::EtherType)
        }
        0x8847 | 0x8848 => mpls(walk),
        0x8864 => pppoe(walk),
        0x880b => Ok(Next::Ppp),
        0x88e7 => {
            // Provider backbone bridging (IEEE 802.1ah): a service tag before a whole frame.
            walk.skip(4)?;
            walk.tag(None)?;
            Ok(Next::Ethernet)
        }
        // IEEE 802.3 section 3.2.6: up to 1,500 it is a length.
        0..=1_500 => {
            // A tag inside such a frame may give a length of its own, never a longer one.
            if usize::from(ether_type) <= walk.data.len() {
                walk.data = walk.data.get(..usize::from(ether_type)).unwrap_or_default();
                walk.missing = 0;
            }
            walk.tag(None)?;
            Ok(Next::Llc)
        }
        _ => Err(Stop::Other),
    }
}

/// IEEE 802.2 LLC, with the SNAP extension (RFC 1042).
pub(super) fn llc(walk: &mut Walk<'_>) -> Result<Next, Stop> {
    match *walk.take::<3>()? {
        [0xaa, 0xaa, 0x03] => match *walk.take::<3>()? {
            // RFC 1042, and the bridge-tunnel encapsulation of IEEE 802.1H.
            [0, 0, 0] | [0, 0, 0xf8] => walk.take_u16().map(Next::EtherType),
            _ => Err(Stop::Other),
        },
        [0x06, 0x06, 0x03] => ip_version(walk, 4),
        _ => Err(Stop::Other),
    }
}

/// The PPP protocol field (RFC 1661 section 2), one byte when compressed.
pub(super) fn ppp(walk: &mut Walk<'_>) -> Result<Next, Stop> {
    let [first] = *walk.take::<1>()?;
    let protocol = if first & 1 == 1 {
        u16::from(first)
    } else {
        let [second] = *walk.take::<1>()?;
        u16::from_be_bytes([first, second])
    };
    match protocol {
        0x0021 => ip_version(walk, 4),
        0x0057 => ip_version(walk, 6),
        0x0281 | 0x0283 => mpls(walk),
        _ => Err(Stop::Other),
    }
}

/// A label stack (RFC 3032), then IP or an Ethernet pseudo-wire (RFC 4448); nothing says which, so the first nibble is
/// asked (RFC 4928 section 3).
pub(super) fn mpls(walk: &mut Walk<'_>) -> Result<Next, Stop> {
    let label = loop {
        let entry = u32::from_be_bytes(*walk.take::<4>()?);
        if entry & 0x100 != 0 {
            break entry >> 12;
        }
        walk.tag(None)?;
    };
    walk.tag(Some(Layer::Mpls(label)))?;
    let wire = |at: usize| u16_at(walk.data, at).is_some_and(is_carried);
    match walk.nibble() {
        Some(4 | 6) => Ok(Next::Ip),
        // A control word begins with a zero nibble; so does an address of most vendors.
        Some(0) if wire(16) || !wire(12) => {
            walk.skip(4)?;
            Ok(Next::Ethernet)
        }
        Some(_) if wire(12) => Ok(Next::Ethernet),
        Some(_) => Err(Stop::Other),
        None => Err(walk.short()),
    }
}

/// Whether the EtherType is one that is followed.
fn is_carried(ether_type: u16) -> bool {
    matches!(ether_type, 0x0800 | 0x86dd | 0x8847 | 0x8848 | 0x8864) || VLAN_TYPES.contains(&ether_type)
}

/// An IP header whose version was announced.
fn ip_version(walk: &Walk<'_>, version: u8) -> Result<Next, Stop> {
    match walk.nibble() {
        Some(found) if found == version => Ok(Next::Ip),
        Some(_) => Err(Stop::Malformed),
        None => Err(walk.short()),
    }
}

/// An address family in the byte order of the host (LINKTYPE_NULL) or of the network (LINKTYPE_LOOP). Family numbers
/// are small, so the order shows; IPv6 has another number on every system.
fn loopback(walk: &mut Walk<'_>) -> Result<Next, Stop> {
    let bytes = *walk.take::<4>()?;
    match u32::from_be_bytes(bytes).min(u32::from_le_bytes(bytes)) {
        2 => ip_version(walk, 4),
        10 | 24 | 28 | 30 => ip_version(walk, 6),
        _ => Err(Stop::Other),
    }
}

/// The protocol field of a Linux cooked header: an EtherType, or one of the kernel's own numbers below 1,536.
fn cooked(protocol: u16) -> Next {
    match protocol {
        // ETH_P_802_2. ETH_P_802_3 (1) is Novell's raw IPX and falls through to what no one reads.
        4 => Next::Llc,
        1..1_536 => Next::EtherType(0xffff),
        _ => Next::EtherType(protocol),
    }
}

/// PPP with or without HDLC framing (RFC 1662), or Cisco HDLC, which carries an EtherType.
fn hdlc(walk: &mut Walk<'_>) -> Result<Next, Stop> {
    match walk.data.first_chunk() {
        Some([0xff, 0x03]) => {
            walk.skip(2)?;
            Ok(Next::Ppp)
        }
        Some([0x0f | 0x8f, 0x00]) => {
            walk.skip(2)?;
            walk.take_u16().map(Next::EtherType)
        }
        _ => Ok(Next::Ppp),
    }
}

/// A PPPoE session header (RFC 2516 section 4).
fn pppoe(walk: &mut Walk<'_>) -> Result<Next, Stop> {
    let [version_type, code, s0, s1, l0, l1] = *walk.take::<6>()?;
    if version_type != 0x11 {
        return Err(Stop::Malformed);
    }
    if code != 0 {
        return Err(Stop::Other);
    }
    walk.tag(Some(Layer::Pppoe(u16::from_be_bytes([s0, s1]))))?;
    // A wrong length must not hide the IP header, which has its own.
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    if length >= 22 {
        walk.end_after(length);
        walk.bounded = false;
    }
    Ok(Next::Ppp)
}

/// A message of Linux netfilter: attributes (length, type, value), one of which is the packet. Attributes are in the
/// byte order of the capturing host, which shows in the type: there are fewer than 256.
fn nflog(walk: &mut Walk<'_>) -> Result<Next, Stop> {
    const PAYLOAD: u16 = 9;
    walk.skip(4)?;
    // At least four bytes go with each step, so a frame ends this loop soon enough.
    loop {
        let [l0, l1, t0, t1] = *walk.take::<4>()?;
        let (length, kind) = if t1 == 0 || t1 == 0x80 {
            (u16::from_le_bytes([l0, l1]), u16::from_le_bytes([t0, t1]))
        } else {
            (u16::from_be_bytes([l0, l1]), u16::from_be_bytes([t0, t1]))
        };
        let length = usize::from(length).checked_sub(4).ok_or(Stop::Malformed)?;
        if kind & 0x7fff == PAYLOAD {
            walk.end_after(length);
            walk.bounded = false;
            return Ok(Next::Ip);
        }
        walk.skip(length.next_multiple_of(4))?;
    }
}
