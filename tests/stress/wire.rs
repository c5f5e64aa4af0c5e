//! Frames made while they are asked for: no capture is ever in memory.

use std::net::Ipv6Addr;

use tlswatch::capture::{CaptureError, Next, Problem, Progress, Source};
use tlswatch::packet::{Frame, LinkType};
use tlswatch::stats::Stats;
use tlswatch::time::Timestamp;

pub(crate) const SYN: u8 = 0x02;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const SYN_ACK: u8 = SYN | ACK;
pub(crate) const PUSH: u8 = 0x18;
pub(crate) const RST: u8 = 0x14;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Client,
    Server,
}

/// The frame that is being written.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    pub(crate) bytes: Vec<u8>,
    /// Packet time in nanoseconds.
    pub(crate) time: i64,
    id: u16,
}

/// The numbers of a TCP header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tcp {
    pub(crate) from: From,
    pub(crate) flags: u8,
    pub(crate) sequence: u32,
    pub(crate) acknowledgment: u32,
}

impl Wire {
    /// A segment of the IPv4 flow with this number (24 bits).
    pub(crate) fn tcp4(&mut self, flow: u32, tcp: Tcp, payload: &[u8]) {
        let length = u16::try_from(40 + payload.len()).unwrap();
        self.ipv4((flow, tcp.from), (6, length), 0);
        self.tcp(tcp, payload);
    }

    /// A segment of the IPv6 flow with this number.
    pub(crate) fn tcp6(&mut self, flow: u32, tcp: Tcp, payload: &[u8]) {
        let client = Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(flow)).octets();
        let server = Ipv6Addr::from(0x2001_0db8_0001 << 80 | 1).octets();
        let (source, destination) = if tcp.from == From::Client { (client, server) } else { (server, client) };
        self.bytes.clear();
        self.bytes.extend_from_slice(&[0x60, 0, 0, 0]);
        self.bytes.extend_from_slice(&u16::try_from(20 + payload.len()).unwrap().to_be_bytes());
        self.bytes.extend_from_slice(&[6, 64]);
        self.bytes.extend_from_slice(&source);
        self.bytes.extend_from_slice(&destination);
        self.tcp(tcp, payload);
    }

    /// A fragment of eight bytes of a datagram that never gets whole.
    pub(crate) fn fragment4(&mut self, flow: u32, id: u16, place: u16) {
        self.ipv4((flow, From::Client), (17, 28), 0x2000 | place);
        self.bytes[4..6].copy_from_slice(&id.to_be_bytes());
        self.bytes.extend_from_slice(&[0; 8]);
    }

    fn ipv4(&mut self, (flow, from): (u32, From), (protocol, length): (u8, u16), fragment: u16) {
        let [_, a, b, c] = flow.to_be_bytes();
        let (client, server) = ([10, a, b, c], [192, 0, 2, 1]);
        let (source, destination) = if from == From::Client { (client, server) } else { (server, client) };
        // Never 0, so that equal segments are told by it.
        self.id = self.id.checked_add(1).unwrap_or(1);
        self.bytes.clear();
        self.bytes.extend_from_slice(&[0x45, 0]);
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(&self.id.to_be_bytes());
        self.bytes.extend_from_slice(&fragment.to_be_bytes());
        self.bytes.extend_from_slice(&[64, protocol, 0, 0]);
        self.bytes.extend_from_slice(&source);
        self.bytes.extend_from_slice(&destination);
    }

    fn tcp(&mut self, tcp: Tcp, payload: &[u8]) {
        let (client, server) = (50_000_u16.to_be_bytes(), 443_u16.to_be_bytes());
        let (source, destination) = if tcp.from == From::Client { (client, server) } else { (server, client) };
        self.bytes.extend_from_slice(&source);
        self.bytes.extend_from_slice(&destination);
        self.bytes.extend_from_slice(&tcp.sequence.to_be_bytes());
        self.bytes.extend_from_slice(&tcp.acknowledgment.to_be_bytes());
        self.bytes.extend_from_slice(&[0x50, tcp.flags, 0xff, 0xff, 0, 0, 0, 0]);
        self.bytes.extend_from_slice(payload);
    }
}

/// A source whose frames a closure writes one after the other; `false` ends it.
pub(crate) struct Generated<F> {
    write: F,
    wire: Wire,
    stats: Stats,
}

/// Where the time of a scene begins: 2026-01-01.
const BEGIN: i64 = 1_767_225_600_000_000_000;

impl<F: FnMut(&mut Wire) -> bool> Generated<F> {
    pub(crate) fn new(write: F) -> Self {
        Self { write, wire: Wire { time: BEGIN, ..Wire::default() }, stats: Stats::default() }
    }
}

impl<F: FnMut(&mut Wire) -> bool> Source for Generated<F> {
    fn next(&mut self) -> Result<Next<'_>, CaptureError> {
        if !(self.write)(&mut self.wire) {
            return Ok(Next::End);
        }
        self.stats.capture_packets += 1;
        self.stats.capture_bytes += self.wire.bytes.len() as u64;
        Ok(Next::Frame(Frame {
            sequence: self.stats.capture_packets,
            number: self.stats.capture_packets,
            file: 0,
            interface: 0,
            timestamp: Timestamp(self.wire.time),
            time_known: true,
            link_type: LinkType::RAW,
            original_len: u32::try_from(self.wire.bytes.len()).unwrap(),
            data: &self.wire.bytes,
        }))
    }

    fn file_path(&self, _: u32) -> Option<&str> {
        None
    }

    fn interface_name(&self, _: u32, _: u32) -> Option<&str> {
        None
    }

    fn stats(&self) -> &Stats {
        &self.stats
    }

    fn problems(&self) -> &[Problem] {
        &[]
    }

    fn progress(&self) -> Progress {
        Progress::default()
    }
}
