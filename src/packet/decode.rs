//! One frame to its innermost segment: a straight path for what nearly all frames are, and a walk for the rest.

use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::Limits;
use crate::stats::Stats;
use crate::time::Timestamp;

use super::fragment::{Defragmenter, Fragment, Whole};
use super::ip::{After, FragmentHeader};
use super::transport::{self, Below, verify_checksum};
use super::walk::{IpFacts, Next, Stop, Walk};
use super::{Checksum, Encapsulation, Frame, Layer, LinkType, Packet, TransportPayload, ip, link, tunnel};

/// Reassembled datagrams that one frame may complete inside one another.
const MAX_NESTED_DATAGRAMS: usize = 2;

/// VLAN tags that the straight path follows.
const FAST_TAGS: usize = 4;

/// What is done about transport checksums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChecksumMode {
    /// Nothing.
    Off,
    /// Decoding computes none; whoever sees that a packet belongs to a handshake calls [`verify_checksum`] and counts.
    #[default]
    Count,
    /// Every packet is verified and counted.
    All,
    /// Every packet is verified and counted; those whose checksum does not hold are dropped.
    Drop,
}

/// Decodes frames; holds the fragments of datagrams that are not whole yet.
#[derive(Debug)]
pub struct Decoder {
    tunnel_limit: usize,
    checksums: ChecksumMode,
    fragments: Defragmenter,
    whole: [Vec<u8>; MAX_NESTED_DATAGRAMS],
}

impl Decoder {
    /// A decoder without fragments.
    pub fn new(limits: &Limits, checksums: ChecksumMode) -> Self {
        Self {
            tunnel_limit: limits.tunnel_depth,
            checksums,
            fragments: Defragmenter::new(limits),
            whole: Default::default(),
        }
    }

    /// The innermost segment or datagram of a frame; `None` is counted in `stats` by its reason.
    pub fn decode<'a>(&'a mut self, frame: &Frame<'a>, stats: &mut Stats) -> Option<Packet<'a>> {
        let checksums = self.checksums;
        let mut packet = match fast(frame) {
            Some(packet) => packet,
            None => match self.slow(frame, stats) {
                Ok(packet) => packet,
                Err(stop) => {
                    count(stop, stats);
                    return None;
                }
            },
        };
        match packet.payload {
            TransportPayload::Tcp(_) => stats.decode_tcp += 1,
            TransportPayload::Udp(_) => stats.decode_udp += 1,
        }
        stats.decode_snapped += u64::from(packet.missing > 0);
        if matches!(checksums, ChecksumMode::All | ChecksumMode::Drop) {
            packet.checksum = verify_checksum(&packet);
            if packet.checksum == Checksum::Bad {
                stats.decode_bad_checksum += 1;
                if checksums == ChecksumMode::Drop {
                    return None;
                }
            }
        }
        Some(packet)
    }

    fn slow<'a>(&'a mut self, frame: &Frame<'a>, stats: &mut Stats) -> Result<Packet<'a>, Stop> {
        let original = usize::try_from(frame.original_len).unwrap_or(usize::MAX);
        let missing = u32::try_from(original.saturating_sub(frame.data.len())).unwrap_or(u32::MAX);
        let mut walk = Walk::new(frame.data, missing, self.tunnel_limit);
        let mut next = link::first(frame.link_type, &mut walk)?;
        let mut whole = self.whole.as_mut_slice();
        // Every turn takes bytes away or counts against a limit, so this ends.
        let outcome = loop {
            let after = match step(&mut walk, next) {
                Ok(Step::Done(packet)) => break Ok(packet),
                Ok(Step::After(after)) => after,
                Err(stop) => break Err(stop),
            };
            next = match after {
                After::Next(next) => next,
                After::Fragment(header) => {
                    stats.fragment_seen += 1;
                    let Some((buffer, rest)) = mem::take(&mut whole).split_first_mut() else {
                        break Err(Stop::TooDeep);
                    };
                    whole = rest;
                    let found = fragment(&walk, header, frame.timestamp)
                        .and_then(|fragment| self.fragments.add(&fragment, buffer, stats));
                    match found {
                        Ok(found) => resume(&mut walk, found, buffer),
                        Err(stop) => break Err(stop),
                    }
                }
            };
        };
        if walk.tunnels > 0 && !matches!(outcome, Err(Stop::TooDeep)) && walk.plain.is_none() {
            stats.decode_tunnelled += 1;
        }
        match (outcome, walk.plain) {
            (Err(Stop::Truncated | Stop::Malformed | Stop::Other), Some(plain)) => Ok(plain),
            (outcome, _) => outcome,
        }
    }
}

/// What one layer led to.
enum Step<'a> {
    Done(Packet<'a>),
    After(After),
}

fn step<'a>(walk: &mut Walk<'a>, next: Next) -> Result<Step<'a>, Stop> {
    let next = match next {
        Next::Ethernet => link::ethernet(walk)?,
        Next::EtherType(ether_type) => link::ether_type(walk, ether_type)?,
        Next::Llc => link::llc(walk)?,
        Next::Ppp => link::ppp(walk)?,
        Next::Ip => return ip::header(walk).map(Step::After),
        Next::Protocol(6) => return transport::tcp(walk.data, &below(walk)?).map(Step::Done),
        Next::Protocol(17) => return udp(walk),
        Next::Protocol(protocol) if ip::is_extension(protocol) => {
            return ip::extension(walk, protocol).map(Step::After);
        }
        Next::Protocol(protocol) => tunnel::in_ip(walk, protocol)?,
    };
    Ok(Step::After(After::Next(next)))
}

/// A datagram, or what is in it if it is a tunnel.
fn udp<'a>(walk: &mut Walk<'a>) -> Result<Step<'a>, Stop> {
    let packet = transport::udp(walk.data, &below(walk)?)?;
    let ports = [packet.destination_port, packet.source_port];
    let TransportPayload::Udp(payload) = packet.payload else { return Ok(Step::Done(packet)) };
    if !ports.into_iter().any(tunnel::is_port) {
        return Ok(Step::Done(packet));
    }
    let before = *walk;
    walk.data = payload;
    walk.missing = packet.missing;
    match tunnel::in_udp(walk, ports) {
        Ok(next) => {
            walk.plain = Some(packet);
            Ok(Step::After(After::Next(next)))
        }
        Err(Stop::TooDeep) => Err(Stop::TooDeep),
        Err(_) => {
            *walk = before;
            Ok(Step::Done(packet))
        }
    }
}

fn below(walk: &Walk<'_>) -> Result<Below, Stop> {
    Ok(Below {
        ip: walk.ip.ok_or(Stop::Malformed)?,
        encapsulation: walk.encapsulation,
        virtual_network: walk.virtual_network,
        missing: walk.missing,
    })
}

fn fragment<'w>(walk: &Walk<'w>, header: FragmentHeader, now: Timestamp) -> Result<Fragment<'w>, Stop> {
    if walk.missing > 0 {
        // The rest of the fragment is nowhere, so the datagram can never be whole.
        return Err(Stop::Truncated);
    }
    let ip = walk.ip.ok_or(Stop::Malformed)?;
    Ok(Fragment { ip, header, virtual_network: walk.virtual_network, data: walk.data, now })
}

/// Goes on inside a datagram that has become whole.
fn resume<'a>(walk: &mut Walk<'a>, whole: Whole, buffer: &'a [u8]) -> Next {
    walk.data = buffer;
    walk.missing = 0;
    walk.bounded = true;
    if let Some(ip) = walk.ip.as_mut() {
        ip.hop_limit = whole.hop_limit;
    }
    Next::Protocol(whole.protocol)
}

/// Ethernet, VLAN tags, IPv4 or IPv6 without fragments and extensions, TCP or UDP, all of it captured. Anything else,
/// damage too, is `None`: the slow path knows what to make of it.
#[inline]
fn fast<'a>(frame: &Frame<'a>) -> Option<Packet<'a>> {
    if frame.link_type != LinkType::ETHERNET {
        return None;
    }
    let ([.., high, low], mut rest) = frame.data.split_first_chunk::<14>()?;
    let mut ether_type = u16::from_be_bytes([*high, *low]);
    let mut encapsulation = Encapsulation::default();
    for _ in 0..FAST_TAGS {
        if !matches!(ether_type, 0x8100 | 0x88a8) {
            break;
        }
        let ([t0, t1, e0, e1], inner) = rest.split_first_chunk::<4>()?;
        encapsulation.push(Layer::Vlan(u16::from_be_bytes([*t0, *t1]) & 0x0fff));
        ether_type = u16::from_be_bytes([*e0, *e1]);
        rest = inner;
    }
    let (protocol, data, ip) = match ether_type {
        0x0800 => fast_v4(rest)?,
        0x86dd => fast_v6(rest)?,
        _ => return None,
    };
    let below = Below { ip, encapsulation, virtual_network: 0, missing: 0 };
    match protocol {
        6 => transport::tcp(data, &below).ok(),
        17 => {
            let packet = transport::udp(data, &below).ok()?;
            let tunnel = tunnel::is_port(packet.destination_port) || tunnel::is_port(packet.source_port);
            (!tunnel).then_some(packet)
        }
        _ => None,
    }
}

#[inline]
fn fast_v4(data: &[u8]) -> Option<(u8, &[u8], IpFacts)> {
    let header = data.first_chunk::<20>()?;
    let [first, _, l0, l1, i0, i1, f0, f1, ttl, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = *header;
    let length = usize::from(first & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([l0, l1]));
    // Neither more fragments nor an offset; "don't fragment" does not matter.
    let fragmented = u16::from_be_bytes([f0, f1]) & 0x3fff != 0;
    if first >> 4 != 4 || length < 20 || fragmented {
        return None;
    }
    let payload = data.get(length..total)?;
    let ip = IpFacts {
        source: IpAddr::V4(Ipv4Addr::new(s0, s1, s2, s3)),
        destination: IpAddr::V4(Ipv4Addr::new(d0, d1, d2, d3)),
        id: Some(u16::from_be_bytes([i0, i1])),
        hop_limit: ttl,
        pseudo_header_known: true,
    };
    Some((protocol, payload, ip))
}

#[inline]
fn fast_v6(data: &[u8]) -> Option<(u8, &[u8], IpFacts)> {
    let (header, rest) = data.split_first_chunk::<40>()?;
    let [first, _, _, _, l0, l1, next_header, hop_limit, addresses @ ..] = header;
    let length = usize::from(u16::from_be_bytes([*l0, *l1]));
    if first >> 4 != 6 || length == 0 {
        return None;
    }
    let payload = rest.get(..length)?;
    let (source, destination) = addresses.split_first_chunk::<16>()?;
    let destination = destination.first_chunk::<16>()?;
    let ip = IpFacts {
        source: IpAddr::V6(Ipv6Addr::from(*source)),
        destination: IpAddr::V6(Ipv6Addr::from(*destination)),
        id: None,
        hop_limit: *hop_limit,
        pseudo_header_known: true,
    };
    Some((*next_header, payload, ip))
}

fn count(stop: Stop, stats: &mut Stats) {
    match stop {
        Stop::Truncated => stats.decode_truncated += 1,
        Stop::Malformed => stats.decode_malformed += 1,
        Stop::Other => stats.decode_other += 1,
        Stop::TooDeep => stats.decode_too_deep += 1,
        Stop::UnsupportedLink => stats.capture_unsupported_link += 1,
        Stop::Fragment => {}
    }
}
