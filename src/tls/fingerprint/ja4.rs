//! JA4 of a ClientHello (BSD-3-Clause, FoxIO): a readable part, then hashes of the sorted cipher suites and extensions.

use sha2::{Digest, Sha256};

use super::push_hex;
use crate::tls::{ClientHello, Protocol, is_grease};

/// JA4: 36 characters such as `t13d1516h2_8daaf6152771_e5627efa2ab1`.
pub fn ja4(hello: &ClientHello, protocol: Protocol) -> String {
    let mut out = prefix(hello, protocol);
    let ciphers = sorted_ciphers(hello);
    out.push('_');
    push_hash(&mut out, &ciphers, ciphers.is_empty());
    let extensions = sorted_extensions(hello);
    out.push('_');
    push_hash(&mut out, &extensions, extensions.is_empty());
    out
}

/// JA4 in full (`ja4_r`): the lists instead of their hashes.
pub fn ja4_r(hello: &ClientHello, protocol: Protocol) -> String {
    let mut out = prefix(hello, protocol);
    out.push('_');
    out.push_str(&sorted_ciphers(hello));
    out.push('_');
    out.push_str(&sorted_extensions(hello));
    out
}

fn prefix(hello: &ClientHello, protocol: Protocol) -> String {
    let mut out = String::with_capacity(36);
    out.push(match protocol {
        Protocol::Tls => 't',
        Protocol::Dtls => 'd',
        Protocol::Quic => 'q',
    });
    out.push_str(version(hello));
    out.push(if hello.extensions.iter().any(|extension| extension.kind == SERVER_NAME) { 'd' } else { 'i' });
    push_count(&mut out, hello.cipher_suites.iter().filter(|suite| !is_grease(**suite)).count());
    push_count(&mut out, hello.extensions.iter().filter(|extension| !is_grease(extension.kind)).count());
    let (first, last) = alpn(hello);
    out.push(first);
    out.push(last);
    out
}

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;

fn version(hello: &ClientHello) -> &'static str {
    let offered = hello.supported_versions.iter().copied().filter(|version| !is_grease(*version));
    // DTLS counts downwards, so its highest version is the smallest number.
    let best = if hello.legacy_version >> 8 == 0xfe { offered.min() } else { offered.max() };
    match best.unwrap_or(hello.legacy_version) {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        0xfeff => "d1",
        0xfefd => "d2",
        0xfefc => "d3",
        _ => "00",
    }
}

fn push_count(out: &mut String, count: usize) {
    let count = u32::try_from(count.min(99)).unwrap_or(99);
    for digit in [count / 10, count % 10] {
        out.push(char::from_digit(digit, 10).unwrap_or('0'));
    }
}

/// First and last character of the first ALPN value; where one is no letter or digit, of its hexadecimal form instead.
fn alpn(hello: &ClientHello) -> (char, char) {
    let Some(value) = hello.alpn.first() else { return ('0', '0') };
    let (Some(first), Some(last)) = (value.first(), value.last()) else { return ('0', '0') };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return (char::from(*first), char::from(*last));
    }
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    (digit(first >> 4), digit(last & 0x0f))
}

fn sorted_ciphers(hello: &ClientHello) -> String {
    let mut list: Vec<u16> = hello.cipher_suites.iter().copied().filter(|suite| !is_grease(*suite)).collect();
    list.sort_unstable();
    let mut out = String::with_capacity(list.len() * 5);
    push_numbers(&mut out, &list);
    out
}

fn sorted_extensions(hello: &ClientHello) -> String {
    let kinds = hello.extensions.iter().map(|extension| extension.kind);
    let mut list: Vec<u16> = kinds.filter(|kind| !is_grease(*kind) && *kind != SERVER_NAME && *kind != ALPN).collect();
    list.sort_unstable();
    let algorithms: Vec<u16> =
        hello.signature_algorithms.iter().copied().filter(|algorithm| !is_grease(*algorithm)).collect();
    let mut out = String::with_capacity((list.len() + algorithms.len()) * 5);
    push_numbers(&mut out, &list);
    if !algorithms.is_empty() {
        out.push('_');
        push_numbers(&mut out, &algorithms);
    }
    out
}

fn push_numbers(out: &mut String, numbers: &[u16]) {
    for (index, number) in numbers.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        push_hex(out, &number.to_be_bytes());
    }
}

/// First 12 hexadecimal digits of SHA-256, or zeros for an empty list.
fn push_hash(out: &mut String, text: &str, empty: bool) {
    if empty {
        out.push_str("000000000000");
        return;
    }
    let digest = Sha256::digest(text.as_bytes());
    let (start, _) = digest.split_at_checked(6).unwrap_or((&digest, &[]));
    push_hex(out, start);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Extension;

    /// The worked example of FoxIO's technical description of JA4.
    fn example() -> ClientHello {
        let kinds = [
            0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012, 0x002b, 0xff01,
            0x000b, 0x000a, 0x0015, 0x9a9a,
        ];
        ClientHello {
            legacy_version: 0x0303,
            cipher_suites: vec![
                0x2a2a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c,
                0x009d, 0x002f, 0x0035,
            ]
            .into(),
            extensions: kinds.map(|kind| Extension { kind, body: 0..0 }).to_vec().into(),
            supported_versions: vec![0x1a1a, 0x0304, 0x0303].into(),
            signature_algorithms: vec![0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601].into(),
            alpn: vec![b"h2"[..].into(), b"http/1.1"[..].into()].into(),
            ..Default::default()
        }
    }

    #[test]
    fn published_example() {
        assert_eq!(ja4(&example(), Protocol::Tls), "t13d1516h2_8daaf6152771_e5627efa2ab1");
        assert_eq!(
            ja4_r(&example(), Protocol::Tls),
            "t13d1516h2_002f,0035,009c,009d,1301,1302,1303,c013,c014,c02b,c02c,c02f,c030,cca8,cca9_0005,000a,000b,000d,0012,\
             0015,0017,001b,0023,002b,002d,0033,4469,ff01_0403,0804,0401,0503,0805,0501,0806,0601"
        );
    }

    #[test]
    fn empty_lists_and_odd_alpn() {
        let bare = ClientHello { legacy_version: 0x0301, ..Default::default() };
        assert_eq!(ja4(&bare, Protocol::Tls), "t10i000000_000000000000_000000000000");
        let odd = |value: &[u8]| ClientHello { alpn: vec![value.into()].into(), ..Default::default() };
        assert_eq!(alpn(&odd(&[0xab])), ('a', 'b'));
        assert_eq!(alpn(&odd(&[0x30, 0xab])), ('3', 'b'));
        assert_eq!(alpn(&odd(&[0x30, 0x31, 0xab, 0xcd])), ('3', 'd'));
        assert_eq!(alpn(&odd(b"h")), ('h', 'h'));
        assert_eq!(alpn(&odd(b"")), ('0', '0'));
    }

    #[test]
    fn counts_stop_at_99() {
        let many = ClientHello { cipher_suites: (1..=300).collect(), ..Default::default() };
        assert!(ja4(&many, Protocol::Quic).starts_with("q00i9900"));
    }
}
