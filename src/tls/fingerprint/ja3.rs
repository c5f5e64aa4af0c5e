//! JA3 and JA3S (BSD-3-Clause, Salesforce): decimal numbers in wire order without GREASE, hashed with MD5.

use md5::{Digest, Md5};

use super::{push_decimal, push_hex};
use crate::tls::{ClientHello, ServerHello, is_grease};

/// JA3 of a ClientHello: 32 lower-case hexadecimal digits.
pub fn ja3(hello: &ClientHello) -> String {
    md5_hex(&ja3_text(hello))
}

/// What JA3 hashes: `version,ciphers,extensions,groups,point formats`.
pub fn ja3_text(hello: &ClientHello) -> String {
    let mut out = String::with_capacity(256);
    push_decimal(&mut out, hello.legacy_version);
    out.push(',');
    push_list(&mut out, hello.cipher_suites.iter().copied());
    out.push(',');
    push_list(&mut out, hello.extensions.iter().map(|extension| extension.kind));
    out.push(',');
    push_list(&mut out, hello.groups.iter().copied());
    out.push(',');
    push_list(&mut out, hello.point_formats.iter().map(|format| u16::from(*format)));
    out
}

/// JA3S of a ServerHello: 32 lower-case hexadecimal digits; `None` for SSL 2, which chooses no cipher suite.
pub fn ja3s(hello: &ServerHello) -> Option<String> {
    ja3s_text(hello).map(|text| md5_hex(&text))
}

/// What JA3S hashes: `version,cipher,extensions`.
pub fn ja3s_text(hello: &ServerHello) -> Option<String> {
    let mut out = String::with_capacity(48);
    push_decimal(&mut out, hello.legacy_version);
    out.push(',');
    push_decimal(&mut out, hello.cipher_suite?);
    out.push(',');
    push_list(&mut out, hello.extensions.iter().map(|extension| extension.kind));
    Some(out)
}

fn push_list(out: &mut String, values: impl Iterator<Item = u16>) {
    let mut first = true;
    for value in values.filter(|value| !is_grease(*value)) {
        if !std::mem::take(&mut first) {
            out.push('-');
        }
        push_decimal(out, value);
    }
}

fn md5_hex(text: &str) -> String {
    let mut out = String::with_capacity(32);
    push_hex(&mut out, &Md5::digest(text.as_bytes()));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Extension;

    #[test]
    fn published_example_without_extensions() {
        // Both examples are those of the published description of JA3.
        let hello = ClientHello {
            legacy_version: 769,
            cipher_suites: vec![4, 5, 10, 9, 100, 98, 3, 6, 19, 18, 99].into(),
            ..Default::default()
        };
        assert_eq!(ja3_text(&hello), "769,4-5-10-9-100-98-3-6-19-18-99,,,");
        assert_eq!(ja3(&hello), "de350869b8c85de67a350c8d186f11e6");
    }

    #[test]
    fn published_example() {
        let kinds = [0, 10, 11];
        let hello = ClientHello {
            legacy_version: 769,
            cipher_suites: vec![0x0a0a, 47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4].into(),
            extensions: kinds.map(|kind| Extension { kind, body: 0..0 }).to_vec().into(),
            groups: vec![0xfafa, 23, 24, 25].into(),
            point_formats: vec![0].into(),
            ..Default::default()
        };
        assert_eq!(ja3_text(&hello), "769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0");
        assert_eq!(ja3(&hello), "ada70206e40642a3e4461f35503241d5");
    }

    #[test]
    fn equal_nibbles_alone_are_no_grease() {
        let hello = ClientHello {
            legacy_version: 771,
            cipher_suites: vec![0x0101, 0x1a0a, 0x1a1a].into(),
            ..Default::default()
        };
        assert_eq!(ja3_text(&hello), "771,257-6666,,,");
    }
}
