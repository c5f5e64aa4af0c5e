//! One frame to its innermost segment, layer by layer. Plain frames need no decoding: see [`super::flow_packet`].

use std::mem;

use crate::config::Limits;
use crate::stats::Stats;
use crate::time::Timestamp;

use super::fragment::{Defragmenter, Fragment, Whole};
use super::ip::{After, FragmentHeader};
use super::transport::{self, Below, verify_checksum};
use super::walk::{Next, Stop, Walk};
use super::{Checksum, Frame, Packet, TransportPayload, ip, link, tunnel};

/// Reassembled datagrams that one frame may complete inside one another.
const MAX_NESTED_DATAGRAMS: usize = 2;

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

    /// The capture ended: datagrams that still wait for fragments are counted.
    pub fn finish(&mut self, stats: &mut Stats) {
        self.fragments.finish(stats);
    }

    /// The innermost segment or datagram of a frame; `None` is counted in `stats` by its reason.
    pub fn decode<'a>(&'a mut self, frame: &Frame<'a>, stats: &mut Stats) -> Option<Packet<'a>> {
        let checksums = self.checksums;
        let mut packet = match self.walk(frame, stats) {
            Ok(packet) => packet,
            Err(stop) => {
                count(stop, stats);
                return None;
            }
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

    fn walk<'a>(&'a mut self, frame: &Frame<'a>, stats: &mut Stats) -> Result<Packet<'a>, Stop> {
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

fn count(stop: Stop, stats: &mut Stats) {
    match stop {
        Stop::Truncated => stats.decode_truncated += 1,
        Stop::Malformed => stats.decode_malformed += 1,
        Stop::Other => stats.decode_other += 1,
        Stop::TooDeep => stats.decode_too_deep += 1,
        Stop::UnsupportedLink => stats.capture_unsupported_link += 1,
        Stop::Fragment => stats.decode_fragment += 1,
    }
}
