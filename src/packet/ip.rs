//! IPv4, IPv6 and their extension headers on the slow path, read with etherparse's header slices.

use std::net::IpAddr;

use etherparse::{
    IpAuthHeaderSlice, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice, Ipv6RawExtHeaderSlice, err,
};

use super::walk::{IpFacts, Next, Stop, Walk};

/// Extension headers that are followed behind one IP header; RFC 8504 section 5.3 lets hosts limit them to eight.
const MAX_EXTENSIONS: usize = 16;

/// What follows an IP header.
#[derive(Clone, Copy, Debug)]
pub(super) enum After {
    /// Read on.
    Next(Next),
    /// A piece of a datagram.
    Fragment(FragmentHeader),
}

/// Where a fragment belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct FragmentHeader {
    /// Identification: 16 bits in IPv4, 32 in IPv6.
    pub(super) id: u32,
    /// Position in bytes.
    pub(super) offset: usize,
    /// Whether more fragments follow.
    pub(super) more: bool,
    /// Protocol of the whole payload.
    pub(super) protocol: u8,
}

/// An IPv4 (RFC 791) or IPv6 (RFC 8200) header.
pub(super) fn header(walk: &mut Walk<'_>) -> Result<After, Stop> {
    match walk.nibble() {
        Some(4) => v4(walk),
        Some(6) => v6(walk).map(After::Next),
        Some(_) => Err(Stop::Malformed),
        None => Err(walk.short()),
    }
}

fn v4(walk: &mut Walk<'_>) -> Result<After, Stop> {
    let header = Ipv4HeaderSlice::from_slice(walk.data).map_err(|error| match error {
        err::ipv4::HeaderSliceError::Len(_) => walk.short(),
        err::ipv4::HeaderSliceError::Content(_) => Stop::Malformed,
    })?;
    let length = header.slice().len();
    match usize::from(header.total_len()) {
        // The capturing host leaves the length to its network card (segmentation offload): all there is.
        0 => {}
        total if total < length => return Err(Stop::Malformed),
        total => walk.end_after(total),
    }
    walk.skip(length)?;
    enter(
        walk,
        IpFacts {
            source: IpAddr::V4(header.source_addr()),
            destination: IpAddr::V4(header.destination_addr()),
            id: Some(header.identification()),
            hop_limit: header.ttl(),
            pseudo_header_known: true,
        },
    );
    let protocol = header.protocol().0;
    if header.is_fragmenting_payload() {
        return Ok(After::Fragment(FragmentHeader {
            id: u32::from(header.identification()),
            offset: usize::from(header.fragments_offset().value()) * 8,
            more: header.more_fragments(),
            protocol,
        }));
    }
    Ok(After::Next(Next::Protocol(protocol)))
}

fn v6(walk: &mut Walk<'_>) -> Result<Next, Stop> {
    let header = Ipv6HeaderSlice::from_slice(walk.data).map_err(|error| match error {
        err::ipv6::HeaderSliceError::Len(_) => walk.short(),
        err::ipv6::HeaderSliceError::Content(_) => Stop::Malformed,
    })?;
    walk.skip(header.slice().len())?;
    // Zero is a jumbogram (RFC 2675) or segmentation offload: all there is.
    let length = usize::from(header.payload_length());
    if length > 0 {
        walk.end_after(length);
    }
    enter(
        walk,
        IpFacts {
            source: IpAddr::V6(header.source_addr()),
            destination: IpAddr::V6(header.destination_addr()),
            id: None,
            hop_limit: header.hop_limit(),
            pseudo_header_known: true,
        },
    );
    Ok(Next::Protocol(header.next_header().0))
}

/// An IP header was read: what a UDP tunnel was guessed in is one.
fn enter(walk: &mut Walk<'_>, facts: IpFacts) {
    walk.ip = Some(facts);
    walk.extensions = 0;
    walk.plain = None;
}

/// Whether the protocol number is that of an extension header (RFC 8200 section 4.1, RFC 4302, RFC 6275).
pub(super) fn is_extension(protocol: u8) -> bool {
    matches!(protocol, 0 | 43 | 44 | 51 | 60 | 135)
}

/// One extension header.
pub(super) fn extension(walk: &mut Walk<'_>, protocol: u8) -> Result<After, Stop> {
    walk.extensions += 1;
    if walk.extensions > MAX_EXTENSIONS {
        return Err(Stop::TooDeep);
    }
    let is_v6 = walk.ip.is_some_and(|ip| ip.source.is_ipv6());
    match protocol {
        51 => {
            let header = IpAuthHeaderSlice::from_slice(walk.data).map_err(|error| match error {
                err::ip_auth::HeaderSliceError::Len(_) => walk.short(),
                err::ip_auth::HeaderSliceError::Content(_) => Stop::Malformed,
            })?;
            walk.skip(header.slice().len())?;
            Ok(After::Next(Next::Protocol(header.next_header().0)))
        }
        _ if !is_v6 => Err(Stop::Other),
        44 => {
            let header = Ipv6FragmentHeaderSlice::from_slice(walk.data).map_err(|_| walk.short())?;
            walk.skip(header.slice().len())?;
            let protocol = header.next_header().0;
            if !header.is_fragmenting_payload() {
                // An atomic fragment (RFC 6946) is whole.
                return Ok(After::Next(Next::Protocol(protocol)));
            }
            Ok(After::Fragment(FragmentHeader {
                id: header.identification(),
                offset: usize::from(header.fragment_offset().value()) * 8,
                more: header.more_fragments(),
                protocol,
            }))
        }
        _ => {
            let header = Ipv6RawExtHeaderSlice::from_slice(walk.data).map_err(|_| walk.short())?;
            walk.skip(header.slice().len())?;
            if protocol == 43 && header.payload().get(1).is_some_and(|segments_left| *segments_left > 0) {
                // The checksum covers the final destination, which stands in the routing header (RFC 8200 section 8.1).
                if let Some(ip) = walk.ip.as_mut() {
                    ip.pseudo_header_known = false;
                }
            }
            Ok(After::Next(Next::Protocol(header.next_header().0)))
        }
    }
}
