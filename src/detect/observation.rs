//! An observation: one handshake with its ends, its certificates and where it was seen.

use std::sync::{Arc, OnceLock};

use crate::direction::Direction;
pub use crate::flow::ConnectionFacts as Connection;
use crate::packet::{Endpoint, Transport};
use crate::time::Moment;
use crate::tls::{ClientHello, Handshake, ServerHello};
use crate::x509::Certificate;

use super::gist::Gist;
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
    /// What rules ask of its hellos, where that was made out already.
    pub gist: Option<Gist>,
    /// See [`kept`](Self::kept).
    pub copy: OnceLock<Arc<Self>>,
}

impl Observation {
    /// The plainest handshake of TLS 1.2 with nothing odd in it, finished at this moment, without certificates; the
    /// randoms are the client's and the server's.
    pub fn plain(ends: Ends, moment: Moment, [client, server]: [[u8; 32]; 2]) -> Self {
        let hello = ClientHello {
            legacy_version: 0x0303,
            random: client,
            cipher_suites: vec![0xc02b, 0xc02f].into(),
            compression_methods: vec![0].into(),
            ..ClientHello::default()
        };
        let answer = ServerHello {
            legacy_version: 0x0303,
            random: server,
            cipher_suite: Some(0xc02b),
            ..ServerHello::default()
        };
        let handshake = Handshake {
            client: Some(Direction::LowToHigh),
            first: moment,
            last: moment,
            ended: moment,
            client_hello: Some(Box::new(hello)),
            server_hello: Some(Box::new(answer)),
            resumed: Some(false),
            established: Some(true),
            complete: true,
            ..Handshake::default()
        };
        Self {
            ends,
            connection: Connection::default(),
            handshake: Box::new(handshake),
            server_chain: Vec::new(),
            client_chain: Vec::new(),
            key_exchange: KeyExchangeVerdict::NotChecked,
            client_proof: ClientProof::NotChecked,
            gist: None,
            copy: OnceLock::new(),
        }
    }

    /// A copy of what an alert needs of it, without its longest messages; one for all who keep it.
    #[cold]
    pub fn kept(&self) -> Arc<Self> {
        let slim = || Self {
            ends: self.ends,
            connection: self.connection,
            handshake: Box::new(self.handshake.slim()),
            server_chain: self.server_chain.clone(),
            client_chain: self.client_chain.clone(),
            key_exchange: self.key_exchange,
            client_proof: self.client_proof,
            gist: self.gist.clone(),
            copy: OnceLock::new(),
        };
        Arc::clone(self.copy.get_or_init(|| Arc::new(slim())))
    }

    /// About the bytes that [`kept`](Self::kept) holds, certificates included.
    #[cold]
    pub fn weight(&self) -> usize {
        let handshake = &self.handshake;
        let clients = [handshake.client_hello.as_deref(), handshake.second_client_hello.as_deref()];
        // What was read of a hello takes less than three times its octets.
        let clients: usize = clients.into_iter().flatten().map(|hello| size_of_val(hello) + 4 * hello.raw.len()).sum();
        let servers = [handshake.server_hello.as_deref(), handshake.hello_retry_request.as_deref()];
        let servers: usize = servers.into_iter().flatten().map(|hello| size_of_val(hello) + 4 * hello.raw.len()).sum();
        let exchange = handshake.server_key_exchange.as_deref();
        let exchange = exchange.map_or(0, |one| size_of_val(one) + 2 * one.params.len() + one.signature.len());
        let certificates: usize =
            self.server_chain.iter().chain(&self.client_chain).map(|certificate| certificate.weight()).sum();
        size_of::<Self>() + size_of::<Handshake>() + clients + servers + exchange + certificates
    }
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
