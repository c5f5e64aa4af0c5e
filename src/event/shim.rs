//! Stands in for functions of other modules until they exist.

use base64::Engine as _;
use sha1::{Digest, Sha1};

use crate::detect::observation::Ends;
use crate::tls::{ClientHello, Protocol, ServerHello};

pub(super) fn cipher_suite(code: u16) -> Option<&'static str> {
    tls_parser::TlsCipherSuite::from_id(code).map(|suite| suite.name)
}

pub(super) fn named_group(code: u16) -> Option<&'static str> {
    match code {
        23 => Some("secp256r1"),
        24 => Some("secp384r1"),
        29 => Some("x25519"),
        0x11ec => Some("X25519MLKEM768"),
        _ => None,
    }
}

pub(super) fn extension(_: u16) -> Option<&'static str> {
    None
}

pub(super) fn signature_scheme(_: u16) -> Option<&'static str> {
    None
}

pub(super) fn alert(code: u8) -> Option<&'static str> {
    match code {
        40 => Some("handshake_failure"),
        48 => Some("unknown_ca"),
        _ => None,
    }
}

pub(super) fn ja3(_: &ClientHello) -> [u8; 16] {
    [0x3a; 16]
}

pub(super) fn ja3s(_: &ServerHello) -> [u8; 16] {
    [0x35; 16]
}

pub(super) fn ja4(_: &ClientHello, _: Protocol) -> String {
    "t13d1516h2_8daaf6152771_b186095e22b6".to_owned()
}

pub(super) fn ja4_raw(_: &ClientHello, _: Protocol) -> String {
    "t13d1516h2_1301".to_owned()
}

pub(super) fn community_id(ends: &Ends, seed: u16) -> String {
    let (low, high) = if ends.client <= ends.server { (ends.client, ends.server) } else { (ends.server, ends.client) };
    let mut hash = Sha1::new();
    hash.update(seed.to_be_bytes());
    for end in [low, high] {
        match end.address {
            std::net::IpAddr::V4(address) => hash.update(address.octets()),
            std::net::IpAddr::V6(address) => hash.update(address.octets()),
        }
    }
    hash.update([ends.transport.number(), 0]);
    hash.update(low.port.to_be_bytes());
    hash.update(high.port.to_be_bytes());
    format!("1:{}", base64::engine::general_purpose::STANDARD.encode(hash.finalize()))
}

pub(super) fn name_text(der: &[u8]) -> String {
    let mut out = Vec::new();
    super::json::push_hex(&mut out, der, super::json::UPPER);
    String::from_utf8(out).unwrap_or_default()
}
