//! What kind of client a hello comes from.

use super::hosts::sketch::stable_hash;
use crate::tls::fingerprint::ja3::ja3;
use crate::tls::fingerprint::ja4::{ja4, ja4_r};
use crate::tls::{ClientHello, Protocol};

/// What kind of client it is: rules ask for its JA4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientKind {
    /// Its hash: of what JA4 hashes, which is equal when JA4 is and cheaper to make. The same on every machine.
    pub hash: u64,
    /// JA4.
    pub ja4: String,
    /// JA3: hellos of one JA4 may differ in it.
    pub ja3: String,
}

impl ClientKind {
    /// The kind of a hello.
    pub fn of(hello: &ClientHello, protocol: Protocol) -> Self {
        Self { hash: stable_hash(ja4_r(hello, protocol).as_bytes()), ja4: ja4(hello, protocol), ja3: ja3(hello) }
    }
}
