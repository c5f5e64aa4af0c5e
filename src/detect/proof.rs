//! Proofs of possession seen in clear: the signature of the ServerKeyExchange and of the client's CertificateVerify.
//!
//! Pure and never memoised: every handshake signs something else. Runs in the workers.

use crate::tls::Handshake;
use crate::x509::rsa::{self, Fault};
use crate::x509::signature::{Verdict, verify_tls};
use crate::x509::{Certificate, Sha256};
use sha2::Digest as _;

/// What the signature over the server's key exchange parameters says (RFC 5246 section 7.4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyExchangeVerdict {
    /// There was none, or something that it covers is missing.
    #[default]
    NotChecked,
    /// The leaf's key made it.
    Good,
    /// The leaf's key did not make it, and no misreading explains it.
    Bad {
        /// What an RSA signature gives away.
        fault: KeyExchangeFault,
        /// SHA-256 of the signed octets.
        signed: Sha256,
    },
    /// It cannot be checked; why.
    Unknown(&'static str),
}

/// What a bad signature over a key exchange gives away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyExchangeFault {
    /// A factor of the modulus; SHA-256 of the smaller one. The factor itself is never kept.
    Leaked(Sha256),
    /// Nothing.
    None,
}

/// What the client's CertificateVerify says (RFC 5246 section 7.4.8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientProof {
    /// There was none, or the transcript is incomplete.
    #[default]
    NotChecked,
    /// The client holds the key of its certificate.
    Good,
    /// The signature was made by another key or over another transcript.
    Bad,
    /// It cannot be checked; why.
    Unknown(&'static str),
}

impl KeyExchangeVerdict {
    /// Checks the ServerKeyExchange of a handshake against the server's leaf.
    pub fn of(handshake: &Handshake, leaf: Option<&Certificate>) -> Self {
        let Some(exchange) = handshake.server_key_exchange.as_deref().filter(|exchange| !exchange.signature.is_empty())
        else {
            return Self::NotChecked;
        };
        let (Some(hello), Some(server), true) =
            (last_client_hello(handshake), handshake.server_hello.as_deref(), handshake.complete)
        else {
            return Self::NotChecked;
        };
        let Some(facts) = leaf.and_then(|leaf| leaf.facts.as_deref()) else { return Self::NotChecked };
        let mut message = Vec::with_capacity(64 + exchange.params.len());
        message.extend_from_slice(&hello.random);
        message.extend_from_slice(&server.random);
        message.extend_from_slice(&exchange.params);
        match verify_tls(&facts.key, exchange.signature_algorithm, &message, &exchange.signature) {
            Verdict::Good => Self::Good,
            Verdict::Unknown(why) => Self::Unknown(why),
            Verdict::Bad => {
                let fault = match rsa::fault(&facts.key, exchange.signature_algorithm, &message, &exchange.signature) {
                    Fault::Explained(why) => return Self::Unknown(why),
                    Fault::Leaked(factor) => KeyExchangeFault::Leaked(factor),
                    Fault::NoLeak | Fault::Untestable(_) => KeyExchangeFault::None,
                };
                Self::Bad { fault, signed: Sha256(sha2::Sha256::digest(&message).into()) }
            }
        }
    }
}

impl ClientProof {
    /// Checks the CertificateVerify of a handshake against the client's leaf.
    pub fn of(handshake: &Handshake, leaf: Option<&Certificate>) -> Self {
        let (Some(proof), Some(transcript)) =
            (handshake.certificate_verify.as_deref(), handshake.transcript.as_deref())
        else {
            return Self::NotChecked;
        };
        // SSL 3 signs with the master secret inside (RFC 6101 section 5.6.8).
        let visible = handshake.complete && handshake.version().is_some_and(|version| version > 0x0300);
        let Some(facts) = leaf.and_then(|leaf| leaf.facts.as_deref()).filter(|_| visible) else {
            return Self::NotChecked;
        };
        match verify_tls(&facts.key, proof.signature_algorithm, transcript, &proof.signature) {
            Verdict::Good => Self::Good,
            Verdict::Unknown(why) => Self::Unknown(why),
            Verdict::Bad => Self::Bad,
        }
    }
}

/// The ClientHello whose random counts: the last one.
fn last_client_hello(handshake: &Handshake) -> Option<&crate::tls::ClientHello> {
    handshake.second_client_hello.as_deref().or(handshake.client_hello.as_deref())
}
