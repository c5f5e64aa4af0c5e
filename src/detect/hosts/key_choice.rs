//! Servers with an RSA and an ECDSA certificate choose by what the client can verify.

use crate::tls::{ClientHello, names};
use crate::x509::KeyKind;

/// Whether a key is an RSA key.
pub fn is_rsa(kind: KeyKind) -> bool {
    matches!(kind, KeyKind::Rsa | KeyKind::RsaPss)
}

/// Whether a client can take a certificate with an RSA key, or with one for ECDSA or EdDSA. What is not known of its cipher
/// suites and algorithms counts for neither.
pub fn takes(hello: &ClientHello, rsa: bool) -> bool {
    // Those of TLS 1.3 leave it to the signature algorithms.
    let fits = |suite: u16| match names::cipher_suite(suite).and_then(|name| name.split_once("_WITH_")) {
        Some((exchange, _)) => exchange.ends_with(if rsa { "_RSA" } else { "_ECDSA" }),
        None => (0x1301..=0x1305).contains(&suite),
    };
    let signs = |algorithm: u16| match algorithm.to_be_bytes() {
        [8, low] => matches!(low, 7 | 8 | 26..=28) != rsa,
        [_, low] => low == if rsa { 1 } else { 3 },
    };
    let algorithms = &hello.signature_algorithms;
    hello.cipher_suites.iter().copied().any(fits) && (algorithms.is_empty() || algorithms.iter().copied().any(signs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_and_algorithms_say_what_a_client_takes() {
        for (suites, algorithms, wanted) in [
            // By suites: TLS_RSA_WITH_AES_128_CBC_SHA, ECDHE_RSA, ECDHE_ECDSA.
            (vec![0x002f], vec![], [true, false]),
            (vec![0xc02f], vec![0x0403, 0x0401], [true, false]),
            (vec![0xc02b], vec![0x0403, 0x0401], [false, true]),
            (vec![0xc02b, 0xc02f], vec![], [true, true]),
            // By algorithms.
            (vec![0xc02b, 0xc02f], vec![0x0401], [true, false]),
            (vec![0xc02b, 0xc02f], vec![0x0503], [false, true]),
            (vec![0x1301], vec![0x0804, 0x0809], [true, false]),
            (vec![0x1302], vec![0x0807], [false, true]),
            (vec![0x1302], vec![0x0403, 0x0804], [true, true]),
            // GREASE, and without any signature: an anonymous exchange, a key known before.
            (vec![0x0a0a, 0x0034, 0x008c], vec![], [false, false]),
        ] {
            let hello = ClientHello {
                cipher_suites: suites.iter().copied().collect(),
                signature_algorithms: algorithms.iter().copied().collect(),
                ..ClientHello::default()
            };
            assert_eq!([true, false].map(|rsa| takes(&hello, rsa)), wanted, "{suites:x?} {algorithms:x?}");
        }
    }
}
