//! Tunnels: from the payload of IP or UDP to the frame or packet inside.

use super::Layer;
use super::link;
use super::walk::{Next, Stop, Walk, u24};

/// UDP ports of VXLAN: IANA's, and the one that Linux used before.
const VXLAN: [u16; 2] = [4_789, 8_472];
/// UDP port of GENEVE (RFC 8926).
const GENEVE: u16 = 6_081;
/// UDP port of GTP-U (3GPP TS 29.281).
const GTP_U: u16 = 2_152;
/// UDP port of Teredo servers and relays (RFC 4380).
const TEREDO: u16 = 3_544;

/// Extension headers of one GTP-U packet that are followed.
const MAX_GTP_EXTENSIONS: usize = 8;

/// Whether a port is one on which a tunnel is looked for.
#[inline]
pub(super) fn is_port(port: u16) -> bool {
    matches!(port, 4_789 | 8_472 | GENEVE | GTP_U | TEREDO)
}

/// A tunnel directly in IP.
pub(super) fn in_ip(walk: &mut Walk<'_>, protocol: u8) -> Result<Next, Stop> {
    match protocol {
        4 | 41 => {
            let version = if protocol == 4 { 4 } else { 6 };
            match walk.nibble() {
                Some(found) if found == version => {}
                Some(_) => return Err(Stop::Malformed),
                None => return Err(walk.short()),
            }
            walk.tunnel(Layer::IpInIp)?;
            Ok(Next::Ip)
        }
        47 => gre(walk),
        137 => link::mpls(walk),
        _ => Err(Stop::Other),
    }
}

/// A tunnel in UDP by one of its ports. `Err(Stop::Other)` and the like mean: it is a plain datagram.
pub(super) fn in_udp(walk: &mut Walk<'_>, ports: [u16; 2]) -> Result<Next, Stop> {
    let any = |wanted: u16| ports.contains(&wanted);
    if VXLAN.into_iter().any(any) {
        vxlan(walk)
    } else if any(GENEVE) {
        geneve(walk)
    } else if any(GTP_U) {
        gtp_u(walk)
    } else {
        teredo(walk)
    }
}

/// GRE (RFC 2784, RFC 2890), and version 1 of PPTP (RFC 2637). Each end of a tunnel may set a key of its own, and those of PPTP
/// always differ, so a key never becomes the virtual network of a flow key; no more does ERSPAN's session, of which there may be
/// one for each direction.
fn gre(walk: &mut Walk<'_>) -> Result<Next, Stop> {
    let flags = walk.take_u16()?;
    let protocol = walk.take_u16()?;
    let has = |bit: u16| flags & bit != 0;
    let version = flags & 0x0007;
    // Source routes (RFC 1701) are not in use.
    if has(0x4000) || version > 1 {
        return Err(Stop::Other);
    }
    if has(0x8000) {
        walk.skip(4)?;
    }
    let key = if has(0x2000) { Some(u32::from_be_bytes(*walk.take::<4>()?)) } else { None };
    if has(0x1000) {
        walk.skip(4)?;
    }
    if version == 1 {
        if has(0x0080) {
            walk.skip(4)?;
        }
        if protocol != 0x880b {
            return Err(Stop::Other);
        }
        // The upper half is the length of the payload, the lower one the call (RFC 2637 section 4.1).
        walk.tunnel(Layer::Gre(key.map(|key| key & 0xffff)))?;
        // PPP in PPTP may keep its address and control bytes.
        if walk.data.first_chunk() == Some(&[0xff, 0x03]) {
            walk.skip(2)?;
        }
        return Ok(Next::Ppp);
    }
    match protocol {
        // Type I has no header of its own and no sequence number.
        0x88be if !has(0x1000) => {
            walk.tunnel(Layer::Erspan(1, 0))?;
            Ok(Next::Ethernet)
        }
        0x88be | 0x22eb => erspan(walk),
        0x6558 => {
            walk.tunnel(Layer::Gre(key))?;
            Ok(Next::Ethernet)
        }
        0..=1_535 => Err(Stop::Other),
        _ => {
            walk.tunnel(Layer::Gre(key))?;
            Ok(Next::EtherType(protocol))
        }
    }
}

/// ERSPAN types II and III (draft-foschiano-erspan-03), by the version in the header.
fn erspan(walk: &mut Walk<'_>) -> Result<Next, Stop> {
    let [version, _, s0, s1, ..] = *walk.take::<8>()?;
    let session = u16::from_be_bytes([s0, s1]) & 0x03ff;
    match version >> 4 {
        1 => {
            walk.tunnel(Layer::Erspan(2, session))?;
            Ok(Next::Ethernet)
        }
        2 => {
            let [_, _, high, low] = *walk.take::<4>()?;
            walk.tunnel(Layer::Erspan(3, session))?;
            if low & 1 != 0 {
                walk.skip(8)?;
            }
            // The frame type: Ethernet or IP.
            match high >> 2 & 0x1f {
                0 => Ok(Next::Ethernet),
                2 => Ok(Next::Ip),
                _ => Err(Stop::Other),
            }
        }
        _ => Err(Stop::Other),
    }
}

/// VXLAN (RFC 7348 section 5). The I flag must be set; bits beside it belong to the group policy extension.
fn vxlan(walk: &mut Walk<'_>) -> Result<Next, Stop> {
    let [flags, _, _, _, v0, v1, v2, _] = *walk.take::<8>()?;
    if flags & 0x7f != 0x08 {
        return Err(Stop::Other);
    }
    let network = u24([v0, v1, v2]);
    walk.tunnel(Layer::Vxlan(network))?;
    walk.virtual_network = network;
    Ok(Next::Ethernet)
}

/// GENEVE (RFC 8926 section 3.4).
fn geneve(walk: &mut Walk<'_>) -> Result<Next, Stop> {
    let [options, control, p0, p1, v0, v1, v2, _] = *walk.take::<8>()?;
    // Another version, or a control packet.
    if options & 0xc0 != 0 || control & 0x80 != 0 {
        return Err(Stop::Other);
    }
    walk.skip(usize::from(options & 0x3f) * 4)?;
    let network = u24([v0, v1, v2]);
    walk.tunnel(Layer::Geneve(network))?;
    walk.virtual_network = network;
    match u16::from_be_bytes([p0, p1]) {
        0x6558 => Ok(Next::Ethernet),
        0..=1_535 => Err(Stop::Other),
        protocol => Ok(Next::EtherType(protocol)),
    }
}

/// GTP-U (3GPP TS 29.281 section 5). The tunnel endpoint identifier is chosen by each receiver, so the two directions
/// of one flow carry two of them: it is named, and never becomes the virtual network of a flow key.
fn gtp_u(walk: &mut Walk<'_>) -> Result<Next, Stop> {
    const USER_DATA: u8 = 0xff;
    let [flags, kind, l0, l1, t0, t1, t2, t3] = *walk.take::<8>()?;
    if flags >> 4 != 0b0011 || kind != USER_DATA {
        return Err(Stop::Other);
    }
    walk.end_after(usize::from(u16::from_be_bytes([l0, l1])).min(walk.sent()));
    if flags & 0x07 != 0 {
        let [.., mut extension] = *walk.take::<4>()?;
        let mut passed = 0;
        while flags & 0x04 != 0 && extension != 0 {
            passed += 1;
            if passed > MAX_GTP_EXTENSIONS {
                return Err(Stop::TooDeep);
            }
            let [units] = *walk.take::<1>()?;
            // The length counts itself and the type of the next one at the end.
            walk.skip((usize::from(units) * 4).checked_sub(2).ok_or(Stop::Malformed)?)?;
            [extension] = *walk.take::<1>()?;
        }
    }
    if !matches!(walk.nibble(), Some(4 | 6)) {
        return Err(Stop::Other);
    }
    walk.tunnel(Layer::Gtpu(u32::from_be_bytes([t0, t1, t2, t3])))?;
    Ok(Next::Ip)
}

/// Teredo (RFC 4380 section 5.1.1): IPv6, perhaps behind an authentication and an origin indication.
fn teredo(walk: &mut Walk<'_>) -> Result<Next, Stop> {
    if walk.data.first_chunk() == Some(&[0, 1]) {
        let [_, _, id, value] = *walk.take::<4>()?;
        // Client identifier, authentication value, nonce and confirmation byte.
        walk.skip(usize::from(id) + usize::from(value) + 9)?;
    }
    if walk.data.first_chunk() == Some(&[0, 0]) {
        walk.skip(8)?;
    }
    if walk.nibble() != Some(6) {
        return Err(Stop::Other);
    }
    walk.tunnel(Layer::Teredo)?;
    Ok(Next::Ip)
}
