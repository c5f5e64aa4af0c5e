//! An observation: one handshake with its ends, its certificates and where it was seen.

use std::sync::Arc;

pub use crate::flow::ConnectionFacts as Connection;
use crate::packet::{Endpoint, Transport};
use crate::tls::Handshake;
use crate::x509::Certificate;

pub use super::proof::{ClientProof, KeyExchangeVerdict};

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
    /// What the signature of the ServerKeyExchange says.
    pub key_exchange: KeyExchangeVerdict,
    /// What the signature of the client's CertificateVerify says.
    pub client_proof: ClientProof,
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
