//! Bodies of handshake messages, alone and in the order of a conversation.

use std::ops::Range;

use super::{chunk, taken};
use crate::config::Limits;
use crate::direction::Direction;
use crate::time::{Moment, Order};
use crate::tls::certificate::CertificateLimits;
use crate::tls::observer::Observer;
use crate::tls::probe::probe;
use crate::tls::{
    CertificateForm, CertificateList, CertificateRequest, CertificateVerify, HandshakeEnd, KeyExchange, ServerHello,
    ServerKeyExchange,
};

/// Versions by a byte of the input: what a message holds depends on it.
const VERSIONS: [u16; 6] = [0x0300, 0x0301, 0x0302, 0x0303, 0x0304, 0x7f12];

/// One cipher suite for each kind of key exchange: ECDHE, DHE, static RSA, export RSA, PSK, DHE-PSK, ECDHE-PSK, anonymous,
/// SRP, TLS 1.3.
const CIPHER_SUITES: [u16; 12] =
    [0xc02f, 0xc02b, 0x009e, 0x002f, 0x0003, 0x00a8, 0x00aa, 0xc035, 0x0034, 0xc01a, 0x1301, 0xffff];

fn pick(from: &[u16], by: u8) -> u16 {
    from.get(usize::from(by) % from.len()).copied().unwrap_or_default()
}

/// The body of one message of the server, or of a CertificateVerify: `parser, version, cipher suite, body`. Ranges lie
/// inside what they are about, and nothing is kept that was not there.
///
/// # Panics
/// When an invariant does not hold.
pub fn message(input: &[u8]) {
    let Some((&[parser, version, cipher_suite], body)) = input.split_first_chunk::<3>() else { return };
    let version = pick(&VERSIONS, version);
    let odd = &mut Vec::new();
    let limits = CertificateLimits { message_bytes: 64 << 10, chain_length: 16 };
    match parser % 9 {
        0 => server_hello(&ServerHello::parse(body, odd)),
        1 => server_hello(&ServerHello::parse_draft_retry(body, odd)),
        2 => server_hello(&ServerHello::parse_ssl2(body, odd).0),
        3 => certificates(&CertificateList::parse(body, limits.chain_length, odd), body.len()),
        4 => certificates(&CertificateList::parse_tls13(body, limits.chain_length, odd), body.len()),
        5 => certificates(&CertificateList::parse_compressed(body, limits, odd), limits.message_bytes),
        6 => certificates(&CertificateList::parse_single(body, CertificateForm::RawPublicKey, odd), body.len()),
        7 => {
            let exchange = ServerKeyExchange::parse(body, Some(pick(&CIPHER_SUITES, cipher_suite)), version, odd);
            key_exchange(&exchange, body);
        }
        _ => {
            let request = CertificateRequest::parse(body, version, odd);
            let octets: usize = request.authorities.iter().map(|authority| authority.len()).sum();
            assert!(octets + 2 * request.authorities.len() <= body.len(), "authorities from nowhere");
            assert!(request.authorities.len() <= usize::try_from(request.authority_count).unwrap_or(usize::MAX));
            let verify = CertificateVerify::parse(body, version, odd);
            assert!(verify.signature.len() <= body.len(), "a signature from nowhere");
            let _ = probe(body);
        }
    }
    assert!(odd.len() <= 2 + body.len(), "more oddities than bytes");
}

fn server_hello(hello: &ServerHello) {
    let inside = |range: &Range<usize>| hello.raw.get(range.clone()).is_some();
    assert!(
        hello.extensions.iter().all(|extension| extension.body_in(&hello.raw).is_some()),
        "an extension outside the hello"
    );
    assert!(hello.key_share.iter().all(|share| inside(&share.public)), "a key share outside the hello");
    assert!(hello.scts.iter().all(inside), "an SCT list outside the hello");
    let _ = (hello.version(), hello.draft(), hello.is_hello_retry_request());
}

fn certificates(list: &CertificateList, most: usize) {
    assert!(list.bytes.len() <= most, "{} bytes of certificates", list.bytes.len());
    assert!(list.ranges.len() <= 16, "{} certificates", list.ranges.len());
    assert_eq!(list.iter().count(), list.ranges.len(), "a certificate outside the message");
}

fn key_exchange(exchange: &ServerKeyExchange, body: &[u8]) {
    assert!(body.starts_with(&exchange.params), "parameters from elsewhere");
    assert!(exchange.params.len() + exchange.signature.len() <= body.len(), "a signature from nowhere");
    let ranges = match exchange.kind.clone() {
        KeyExchange::Other => Vec::new(),
        KeyExchange::Ecdhe { public, .. } => vec![public],
        KeyExchange::Dhe { prime, generator, public } => vec![prime, generator, public],
        KeyExchange::Rsa { modulus, exponent } => vec![modulus, exponent],
    };
    assert!(ranges.into_iter().all(|range| exchange.params.get(range).is_some()), "a parameter outside");
}

/// A conversation behind a good pair of hellos: `version, cipher suite, (side and type: u8, length: u16, body)*`. Reaches
/// what bytes at random do not: stapled responses, certificate requests, the transcript under CertificateVerify.
///
/// # Panics
/// When an invariant does not hold.
pub fn conversation(input: &[u8]) {
    let Some((&[version, cipher_suite], mut rest)) = input.split_first_chunk::<2>() else { return };
    let (version, cipher_suite) = (pick(&VERSIONS, version), pick(&CIPHER_SUITES, cipher_suite));
    let limits = Limits { message_bytes: 16 << 10, ..Limits::default() };
    let mut observer = Observer::new(&limits);
    let mut frame = 0;
    let mut told = 0;
    let hellos = [(0x80 | 1, client_hello(cipher_suite)), (2, server_hello_of(version, cipher_suite))];
    let behind = std::iter::from_fn(|| {
        let (kind, after) = rest.split_first()?;
        let (body, after) = chunk(after)?;
        rest = after;
        Some((*kind, body.to_vec()))
    });
    for (kind, body) in hellos.into_iter().chain(behind) {
        frame += 1;
        let at = Moment { order: Order { frame, ..Order::default() }, frame, ..Moment::default() };
        let direction = if kind & 0x80 != 0 { Direction::LowToHigh } else { Direction::HighToLow };
        // Types above those of messages are records of other types.
        match kind & 0x7f {
            0x70 => observer.on_bytes(direction, &record(20, &body), &at),
            0x71 => observer.on_bytes(direction, &record(21, &body), &at),
            0x72 => observer.on_bytes(direction, &record(23, &body), &at),
            0x73 => observer.on_gap(direction, u64::try_from(body.len()).unwrap_or(0), &at),
            kind => {
                for part in message_of(kind, &body).chunks(16_384) {
                    observer.on_bytes(direction, &record(22, part), &at);
                }
            }
        }
        told += taken(&mut observer, frame);
        assert!(observer.memory() <= 1 << 20, "{} bytes held", observer.memory());
    }
    observer.finish(HandshakeEnd::EndOfCapture, &Moment { frame: frame + 1, ..Moment::default() });
    told += taken(&mut observer, frame + 1);
    assert!(told >= 1, "the hellos are a handshake");
}

fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    let mut record = vec![kind, 3, 3];
    record.extend(length.to_be_bytes());
    record.extend(payload);
    record
}

fn message_of(kind: u8, body: &[u8]) -> Vec<u8> {
    let [.., high, middle, low] = body.len().to_be_bytes();
    let mut message = vec![kind, high, middle, low];
    message.extend(body);
    message
}

/// A ClientHello that offers TLS 1.3, a stapled response and certificate types.
fn client_hello(cipher_suite: u16) -> Vec<u8> {
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    hello.push(0);
    hello.extend([0, 4]);
    hello.extend(cipher_suite.to_be_bytes());
    hello.extend([0x13, 0x01, 1, 0]);
    let extensions: [&[u8]; 4] = [
        &[0, 43, 0, 5, 4, 3, 4, 3, 3],
        &[0, 5, 0, 5, 1, 0, 0, 0, 0],
        &[0, 20, 0, 4, 3, 0, 1, 2],
        &[0, 27, 0, 7, 6, 0, 1, 0, 2, 0, 3],
    ];
    hello.extend(u16::try_from(extensions.concat().len()).unwrap_or_default().to_be_bytes());
    hello.extend(extensions.concat());
    hello
}

fn server_hello_of(version: u16, cipher_suite: u16) -> Vec<u8> {
    let mut hello = version.min(0x0303).to_be_bytes().to_vec();
    hello.extend([9; 32]);
    hello.push(0);
    hello.extend(cipher_suite.to_be_bytes());
    hello.push(0);
    if version > 0x0303 {
        hello.extend([0, 6, 0, 43, 0, 2]);
        hello.extend(version.to_be_bytes());
    } else {
        hello.extend([0, 4, 0, 5, 0, 0]);
    }
    hello
}
