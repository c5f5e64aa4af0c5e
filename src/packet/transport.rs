//! The last step: a TCP segment (RFC 9293) or a UDP datagram (RFC 768), and its checksum.

use super::walk::{IpFacts, Stop};
use super::{Checksum, Encapsulation, FlowPacket, Packet, Segment, TcpFlags, TransportPayload};

/// What is below the transport header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Below {
    pub(super) ip: IpFacts,
    pub(super) encapsulation: Encapsulation,
    pub(super) virtual_network: u32,
    /// Bytes of the IP payload that were sent but not captured.
    pub(super) missing: u32,
}

/// A TCP segment.
#[inline]
pub(super) fn tcp<'a>(data: &'a [u8], below: &Below) -> Result<Packet<'a>, Stop> {
    let Some(header) = data.first_chunk::<20>() else { return Err(short(below)) };
    let length = usize::from(header[12] >> 4) * 4;
    if length < header.len() {
        return Err(Stop::Malformed);
    }
    let (payload, missing) = if let Some(payload) = data.get(length..) {
        (payload, below.missing)
    } else {
        // The options are cut: all that is told is the header. Beyond what was sent they are a lie.
        let cut = u32::try_from(length - data.len()).unwrap_or(u32::MAX);
        (&[][..], below.missing.checked_sub(cut).ok_or(Stop::Malformed)?)
    };
    let [s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, _, flags, ..] = *header;
    Ok(packet(
        below,
        [u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])],
        TransportPayload::Tcp(Segment {
            sequence: u32::from_be_bytes([q0, q1, q2, q3]),
            acknowledgment: u32::from_be_bytes([a0, a1, a2, a3]),
            flags: TcpFlags(flags),
            payload,
        }),
        Captured { transport: data, missing, complete: below.missing == 0 },
    ))
}

/// A UDP datagram.
#[inline]
pub(super) fn udp<'a>(data: &'a [u8], below: &Below) -> Result<Packet<'a>, Stop> {
    let Some((header, payload)) = data.split_first_chunk::<8>() else { return Err(short(below)) };
    let [s0, s1, d0, d1, l0, l1, ..] = *header;
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    let (transport, payload, missing) = match length {
        // A jumbogram (RFC 2675 section 4) or segmentation offload: all there is.
        0 => (data, payload, below.missing),
        1..8 => return Err(Stop::Malformed),
        _ => match (data.get(..length), payload.get(..length - 8)) {
            (Some(transport), Some(payload)) => (transport, payload, 0),
            // More than IP has room for is a lie; IP is believed.
            _ => (data, payload, u32::try_from(length - data.len()).unwrap_or(u32::MAX).min(below.missing)),
        },
    };
    Ok(packet(
        below,
        [u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])],
        TransportPayload::Udp(payload),
        Captured { transport, missing, complete: missing == 0 },
    ))
}

/// How much of the transport layer is there.
struct Captured<'a> {
    transport: &'a [u8],
    missing: u32,
    complete: bool,
}

#[inline]
fn packet<'a>(
    below: &Below,
    [source_port, destination_port]: [u16; 2],
    payload: TransportPayload<'a>,
    captured: Captured<'a>,
) -> Packet<'a> {
    Packet {
        source: below.ip.source,
        destination: below.ip.destination,
        source_port,
        destination_port,
        ip_id: below.ip.id,
        hop_limit: below.ip.hop_limit,
        virtual_network: below.virtual_network,
        encapsulation: below.encapsulation,
        payload,
        missing: captured.missing,
        checksum: Checksum::Unknown,
        transport: if captured.complete && below.ip.pseudo_header_known { captured.transport } else { &[] },
    }
}

/// A transport header does not fit into the IP payload.
fn short(below: &Below) -> Stop {
    if below.missing > 0 { Stop::Truncated } else { Stop::Malformed }
}

/// Computes the transport checksum of a packet (RFC 1071) from what it borrows; see [`FlowPacket::verify_checksum`].
pub fn verify_checksum(packet: &Packet<'_>) -> Checksum {
    FlowPacket::of(packet).verify_checksum()
}
