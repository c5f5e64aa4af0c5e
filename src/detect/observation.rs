//! An observation: one handshake with its ends, its certificates and where it was seen.

use std::sync::Arc;

use crate::packet::{Encapsulation, Endpoint, Transport};
use crate::tls::Handshake;
use crate::x509::Certificate;

/// One handshake on its way from a worker to the correlator.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Both ends, roles known.
    pub ends: Ends,
    /// Time and place of the connection's first packet (SYN where there is one).
    pub connection: Connection,
    /// What was said in clear.
    pub handshake: Box<Handshake>,
    /// Certificates of the server in wire order.
    pub server_chain: Vec<Arc<Certificate>>,
    /// Certificates of the client in wire order.
    pub client_chain: Vec<Arc<Certificate>>,
}

/// Client and server of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Who sent the ClientHello (or, with none in the capture, who did not send the server's flight).
    pub client: Endpoint,
    /// The other end.
    pub server: Endpoint,
    /// Transport protocol.
    pub transport: Transport,
    /// Tunnel identifier, 0 outside.
    pub virtual_network: u32,
}

/// Facts of the connection below TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// Tunnels and tags of the first packet.
    pub encapsulation: Encapsulation,
    /// Copies of packets already seen (mirror of both sides).
    pub duplicate_packets: u32,
    /// Packets of the server were seen, if only acknowledgments.
    pub server_seen: bool,
    /// Packets of the client were seen, if only acknowledgments.
    pub client_seen: bool,
    /// Time from SYN to SYN-ACK in nanoseconds, where both were seen.
    pub syn_rtt: Option<i64>,
}
