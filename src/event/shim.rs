//! Stands in for functions of other modules until they exist.

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

pub(super) fn ja3(_: &ClientHello) -> String {
    "3a".repeat(16)
}

pub(super) fn ja3s(_: &ServerHello) -> Option<String> {
    Some("35".repeat(16))
}

pub(super) fn ja4(_: &ClientHello, _: Protocol) -> String {
    "t13d1516h2_8daaf6152771_b186095e22b6".to_owned()
}

pub(super) fn ja4_raw(_: &ClientHello, _: Protocol) -> String {
    "t13d1516h2_1301".to_owned()
}
