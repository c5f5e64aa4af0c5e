//! Scenes: connections as frames in memory, which can then be lost, doubled, cut or shuffled.

use std::net::{IpAddr, SocketAddr};

use etherparse::{IpHeaders, Ipv4Header, Ipv6Header, PacketBuilder, TcpHeader};
use tlswatch::pipeline::Options;

use super::capture::{Captured, to_pcap};
use super::{Run, run_bytes, tls};

/// Start of every scene: 2024-06-01 12:00:00 UTC, in nanoseconds.
pub const START: i64 = 1_717_243_200_000_000_000;

/// One of both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}
pub use Side::{Client, Server};

/// Control bits of a segment.
pub const FIN: u8 = 0x01;
/// Control bits of a segment.
pub const SYN: u8 = 0x02;
/// Control bits of a segment.
pub const RST: u8 = 0x04;
/// Control bits of a segment.
pub const PSH: u8 = 0x08;
/// Control bits of a segment.
pub const ACK: u8 = 0x10;

/// A connection of a scene; its sequence numbers count what was sent.
#[derive(Clone, Debug)]
pub struct Connection {
    pub client: SocketAddr,
    pub server: SocketAddr,
    /// Next sequence number of (client, server).
    pub next: [u32; 2],
    /// Most bytes of payload in a segment.
    pub segment: usize,
}

impl Connection {
    /// A connection to port 443 from a port of its own.
    pub fn new(number: u16) -> Self {
        Self::between(&format!("10.0.0.1:{}", 40_000 + number), "192.0.2.1:443")
    }

    /// A connection between these ends.
    pub fn between(client: &str, server: &str) -> Self {
        let [client, server] = [client, server].map(|end| end.parse().unwrap());
        Self { client, server, next: [1_000, 0xffff_ff00], segment: 1_400 }
    }

    fn next_of(&mut self, side: Side) -> &mut u32 {
        &mut self.next[usize::from(side == Server)]
    }
}

/// Frames in the order of their capture.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    pub frames: Vec<Captured>,
    /// Nanoseconds since [`START`].
    pub clock: i64,
    pub identification: u16,
}

impl Scene {
    /// An empty scene.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing happens for so many milliseconds.
    pub fn wait(&mut self, milliseconds: i64) {
        self.clock += milliseconds * 1_000_000;
    }

    /// A segment exactly as said; nothing is counted.
    pub fn segment(&mut self, (connection, side): (&Connection, Side), (sequence, flags): (u32, u8), payload: &[u8]) {
        let (from, to) = match side {
            Client => (connection.client, connection.server),
            Server => (connection.server, connection.client),
        };
        self.identification += 1;
        let mut tcp = TcpHeader::new(from.port(), to.port(), sequence, 0xffff);
        tcp.acknowledgment_number = connection.next[usize::from(side == Client)];
        (tcp.fin, tcp.syn, tcp.rst) = (flags & FIN != 0, flags & SYN != 0, flags & RST != 0);
        (tcp.psh, tcp.ack) = (flags & PSH != 0, flags & ACK != 0);
        let ip = match (from.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let mut header = Ipv4Header { time_to_live: 64, ..Ipv4Header::default() };
                (header.source, header.destination) = (from.octets(), to.octets());
                header.identification = self.identification;
                IpHeaders::Ipv4(header, Default::default())
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let (source, destination) = (from.octets(), to.octets());
                let header = Ipv6Header { source, destination, hop_limit: 64, ..Ipv6Header::default() };
                IpHeaders::Ipv6(header, Default::default())
            }
            _ => panic!("one end is IPv4, the other IPv6"),
        };
        let mut data = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6]).ip(ip).tcp_header(tcp).write(&mut data, payload).unwrap();
        self.push(data);
    }

    /// A frame of Ethernet, a millisecond after the one before.
    pub fn push(&mut self, data: Vec<u8>) {
        self.wait(1);
        let original_len = data.len() as u32;
        self.frames.push(Captured { time: START + self.clock, link_type: 1, data, original_len });
    }

    /// SYN, SYN-ACK, ACK.
    pub fn open(&mut self, connection: &mut Connection) {
        self.control(connection, Client, SYN);
        self.control(connection, Server, SYN | ACK);
        self.control(connection, Client, ACK);
    }

    /// A segment without payload; SYN and FIN count.
    pub fn control(&mut self, connection: &mut Connection, side: Side, flags: u8) {
        let sequence = *connection.next_of(side);
        self.segment((connection, side), (sequence, flags), &[]);
        let counts = u32::from(flags & (SYN | FIN) != 0);
        *connection.next_of(side) = sequence.wrapping_add(counts);
    }

    /// Bytes, in as many segments as they need.
    pub fn send(&mut self, connection: &mut Connection, side: Side, bytes: &[u8]) {
        for part in bytes.chunks(connection.segment) {
            let sequence = *connection.next_of(side);
            self.segment((connection, side), (sequence, PSH | ACK), part);
            *connection.next_of(side) = sequence.wrapping_add(part.len() as u32);
        }
    }

    /// Both sides say that they are done.
    pub fn close(&mut self, connection: &mut Connection) {
        self.control(connection, Client, FIN | ACK);
        self.control(connection, Server, FIN | ACK);
        self.control(connection, Client, ACK);
    }

    /// A whole handshake of TLS 1.2 on an open connection.
    pub fn handshake(&mut self, connection: &mut Connection, hello: &tls::ClientHello, chain: &[&[u8]]) {
        self.send(connection, Client, &hello.record());
        self.send(connection, Server, &tls::server_flight(chain));
        self.send(connection, Client, &tls::client_finish());
        self.send(connection, Server, &tls::finish());
        self.send(connection, Client, &tls::application_data(100));
        self.send(connection, Server, &tls::application_data(200));
    }

    /// A connection of TLS 1.2 from SYN to FIN.
    pub fn session(&mut self, mut connection: Connection, hello: &tls::ClientHello, chain: &[&[u8]]) {
        self.open(&mut connection);
        self.handshake(&mut connection, hello, chain);
        self.close(&mut connection);
    }

    /// A connection on which one side sends after the other, from SYN to FIN.
    pub fn talk(&mut self, mut connection: Connection, parts: &[(Side, Vec<u8>)]) {
        self.open(&mut connection);
        for (side, bytes) in parts {
            self.send(&mut connection, *side, bytes);
        }
        self.close(&mut connection);
    }

    /// The scene as a capture file.
    pub fn pcap(&self) -> Vec<u8> {
        to_pcap(&self.frames)
    }

    /// What the whole program makes of it: the same for one worker and for three.
    pub fn run(&self) -> Run {
        self.run_with(&Options::default())
    }

    /// The same with other options.
    pub fn run_with(&self, options: &Options) -> Run {
        let pcap = self.pcap();
        let run = run_bytes("scene.pcap", pcap.clone(), options);
        let options = Options {
            workers: 3,
            batch: 2,
            limits: options.limits.clone(),
            selection: options.selection.clone(),
            checksums: options.checksums,
            ..Options::default()
        };
        let other = run_bytes("scene.pcap", pcap, &options);
        assert!(run.output == other.output, "workers show in the output of a scene");
        run
    }

    /// The handshake events.
    pub fn handshakes(&self) -> Vec<serde_json::Value> {
        self.run().events("tls")
    }

    /// The one handshake event.
    pub fn one(&self) -> serde_json::Value {
        let mut events = self.handshakes();
        assert_eq!(events.len(), 1, "{events:#?}");
        events.remove(0)
    }
}

/// A certificate for this name, made once.
pub fn certificate(name: &str) -> Vec<u8> {
    let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    self_signed(params)
}

/// A self-signed certificate with these parameters.
pub fn self_signed(params: rcgen::CertificateParams) -> Vec<u8> {
    let key = rcgen::KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().der().to_vec()
}

/// The SHA-256 of a certificate as events write it.
pub fn sha256(der: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(der).iter().map(|byte| format!("{byte:02X}")).collect()
}
