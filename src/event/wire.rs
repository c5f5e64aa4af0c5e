//! Numbers of the wire as the names that events carry: unknown ones as `0x1A2B`, GREASE as `GREASE`.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::packet::Layer;
use crate::tls::{Alert, Protocol, is_grease, names};

use super::json::{LOWER, UPPER, hex_pair, push_first, push_hex, push_number};

/// Name of a cipher suite: IANA's, `GREASE`, or `0x1A2B`.
pub fn cipher_name(cipher: u16) -> String {
    let mut out = Vec::new();
    push_code(&mut out, cipher, names::cipher_suite);
    String::from_utf8(out).unwrap_or_default()
}

/// (`tls.version_protocol`, `tls.version`) of a version on the wire; `None` for numbers that are no version.
pub fn version_name(version: u16, protocol: Protocol) -> Option<(&'static str, &'static str)> {
    Some(match (protocol, version) {
        (_, 0x0002) => ("ssl", "2.0"),
        (_, 0x0300) => ("ssl", "3.0"),
        (Protocol::Dtls, 0xfeff | 0x0100) => ("dtls", "1.0"),
        (Protocol::Dtls, 0xfefd) => ("dtls", "1.2"),
        (Protocol::Dtls, 0xfefc | 0x0304) => ("dtls", "1.3"),
        (_, 0x0301) => ("tls", "1.0"),
        (_, 0x0302) => ("tls", "1.1"),
        (_, 0x0303) => ("tls", "1.2"),
        (_, 0x0304) => ("tls", "1.3"),
        _ => return None,
    })
}

/// `tls.version_protocol` where no version is known.
pub(super) fn default_protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tls | Protocol::Quic => "tls",
        Protocol::Dtls => "dtls",
    }
}

/// `network.protocol`.
pub(super) fn network_protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tls => "tls",
        Protocol::Dtls => "dtls",
        Protocol::Quic => "quic",
    }
}

/// Appends the name of `code`, `GREASE`, or `0x1A2B`.
pub(super) fn push_code(out: &mut Vec<u8>, code: u16, name: impl Fn(u16) -> Option<&'static str>) {
    if let Some(name) = name(code) {
        out.extend_from_slice(name.as_bytes());
    } else if is_grease(code) {
        out.extend_from_slice(b"GREASE");
    } else {
        out.extend_from_slice(b"0x");
        push_hex(out, &code.to_be_bytes(), UPPER);
    }
}

/// Appends the name of a number of one byte, or `0x1A`.
pub(super) fn push_small(out: &mut Vec<u8>, code: u8, name: impl Fn(u8) -> Option<&'static str>) {
    if let Some(name) = name(code) {
        out.extend_from_slice(name.as_bytes());
    } else {
        out.extend_from_slice(b"0x");
        push_hex(out, &[code], UPPER);
    }
}

/// Appends a cipher suite.
pub(super) fn push_cipher(out: &mut Vec<u8>, cipher: u16) {
    push_code(out, cipher, names::cipher_suite);
}

/// Appends a NamedGroup.
pub(super) fn push_group(out: &mut Vec<u8>, group: u16) {
    push_code(out, group, names::group);
}

/// Appends an ExtensionType.
pub(super) fn push_extension(out: &mut Vec<u8>, kind: u16) {
    push_code(out, kind, names::extension);
}

/// Appends a SignatureScheme or SignatureAndHashAlgorithm.
pub(super) fn push_signature(out: &mut Vec<u8>, scheme: u16) {
    push_code(out, scheme, names::signature_scheme);
}

/// Appends a version of TLS as offered: `1.3`, `draft-28`, `GREASE` or the number.
pub(super) fn push_version(out: &mut Vec<u8>, version: u16, protocol: Protocol) {
    match (version_name(version, protocol), version) {
        (Some((_, name)), _) => out.extend_from_slice(name.as_bytes()),
        (None, 0x7f00..=0x7fff) => {
            out.extend_from_slice(b"draft-");
            push_number(out, u64::from(version & 0xff));
        }
        _ => push_code(out, version, |_| None),
    }
}

/// Appends an algorithm of certificate compression (RFC 8879 section 7.3).
pub(super) fn push_compression(out: &mut Vec<u8>, algorithm: u16) {
    push_code(out, algorithm, names::certificate_compression);
}

/// Name of a compression method of TLS 1.2 and older (RFC 3749, RFC 3943).
pub(super) fn compression_method(method: u8) -> Option<&'static str> {
    match method {
        0 => Some("null"),
        1 => Some("deflate"),
        64 => Some("lzs"),
        _ => None,
    }
}

/// Name of an EC point format (RFC 8422 section 5.1.2).
pub(super) fn point_format(format: u8) -> Option<&'static str> {
    match format {
        0 => Some("uncompressed"),
        1 => Some("ansiX962_compressed_prime"),
        2 => Some("ansiX962_compressed_char2"),
        _ => None,
    }
}

/// Name of a PskKeyExchangeMode (RFC 8446 section 4.2.9).
pub(super) fn psk_mode(mode: u8) -> Option<&'static str> {
    match mode {
        0 => Some("psk_ke"),
        1 => Some("psk_dhe_ke"),
        _ => None,
    }
}

/// Name of a ClientCertificateType (RFC 5246 section 7.4.4, RFC 8422 section 5.5).
pub(super) fn certificate_type(kind: u8) -> Option<&'static str> {
    match kind {
        1 => Some("rsa_sign"),
        2 => Some("dss_sign"),
        3 => Some("rsa_fixed_dh"),
        4 => Some("dss_fixed_dh"),
        64 => Some("ecdsa_sign"),
        65 => Some("rsa_fixed_ecdh"),
        66 => Some("ecdsa_fixed_ecdh"),
        _ => None,
    }
}

/// Appends an alert as `side:level:description`.
pub(super) fn push_alert(out: &mut Vec<u8>, side: &str, alert: Alert) {
    out.extend_from_slice(side.as_bytes());
    out.push(b':');
    push_small(out, alert.level, names::alert_level);
    out.push(b':');
    push_small(out, alert.description, names::alert);
}

/// Appends a layer that is no VLAN tag: `vxlan:5001`, `erspan2:17`, `gre`.
pub(super) fn push_layer(out: &mut Vec<u8>, layer: Layer) {
    let mut numbered = |name: &str, number: u64| {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        push_number(out, number);
    };
    match layer {
        Layer::Vlan(id) => numbered("vlan", u64::from(id)),
        Layer::Mpls(label) => numbered("mpls", u64::from(label)),
        Layer::Pppoe(session) => numbered("pppoe", u64::from(session)),
        Layer::Gre(Some(key)) => numbered("gre", u64::from(key)),
        Layer::Gre(None) => out.extend_from_slice(b"gre"),
        Layer::Erspan(1, session) => numbered("erspan1", u64::from(session)),
        Layer::Erspan(2, session) => numbered("erspan2", u64::from(session)),
        Layer::Erspan(_, session) => numbered("erspan3", u64::from(session)),
        Layer::Vxlan(vni) => numbered("vxlan", u64::from(vni)),
        Layer::Geneve(vni) => numbered("geneve", u64::from(vni)),
        Layer::Gtpu(teid) => numbered("gtpu", u64::from(teid)),
        Layer::IpInIp => out.extend_from_slice(b"ipip"),
        Layer::Teredo => out.extend_from_slice(b"teredo"),
    }
}

/// The host name that raw bytes of `server_name` hold, in lower case without trailing dot; `None` when they are no name
/// (RFC 1123 section 2.1 with the underscores that are met in practice; an address is no name, RFC 6066 section 3).
pub(super) fn host_name(raw: &[u8]) -> Option<Cow<'_, [u8]>> {
    let name = raw.strip_suffix(b".").unwrap_or(raw);
    let seen = host_name_classes(name)?;
    Some(if seen & UPPER_CASE == 0 { name.into() } else { name.to_ascii_lowercase().into() })
}

/// Whether `text` is a host name without trailing dot: labels of 1 to 63 letters, digits, hyphens and underscores, hyphens
/// only inside.
pub(super) fn is_host_name(text: &[u8]) -> bool {
    host_name_classes(text).is_some()
}

/// The classes of all bytes of a host name; `None` where `text` is none.
fn host_name_classes(text: &[u8]) -> Option<u8> {
    // Without an early end and without branches: nearly all texts are names.
    let (mut seen, mut clash, mut previous) = (0, 0, class(b'.'));
    for byte in text {
        let class = class(*byte);
        seen |= class;
        clash |= previous >> 2 & class;
        previous = class;
    }
    let good = seen & NO_NAME == 0
        && clash & (DOT | HYPHEN) == 0
        && previous & (DOT | HYPHEN) == 0
        && text.len() <= 253
        && (text.len() <= 63 || text.split(|byte| *byte == b'.').all(|label| label.len() <= 63))
        // The last label of a name is never a number, that of an IPv4 address always is.
        && text.iter().rev().take_while(|byte| **byte != b'.').any(|byte| !byte.is_ascii_digit());
    good.then_some(seen)
}

/// A dot, which ends a label.
const DOT: u8 = 1;
/// A hyphen.
const HYPHEN: u8 = 2;
/// A capital letter.
const UPPER_CASE: u8 = 0x40;
/// Nothing that a host name holds.
const NO_NAME: u8 = 0x80;

fn class(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(NO_NAME)
}

/// What bytes are in a host name. Two bits further up: what may not follow them.
const CLASSES: [u8; 256] = {
    let mut table = [NO_NAME; 256];
    let mut rest = table.as_mut_slice();
    let mut byte = 0_u8;
    while let Some((place, after)) = rest.split_first_mut() {
        *place = match byte {
            b'.' => DOT | (DOT | HYPHEN) << 2,
            b'-' => HYPHEN | DOT << 2,
            b'A'..=b'Z' => UPPER_CASE,
            b'a'..=b'z' | b'0'..=b'9' | b'_' => 0,
            _ => NO_NAME,
        };
        byte = byte.wrapping_add(1);
        rest = after;
    }
    table
};

/// The text of an address, for an event that tells it more than once.
#[derive(Clone, Copy, Debug)]
pub(super) enum AddressText {
    /// The text and its length.
    Short([u8; 16], u32),
    /// The same of an IPv6 address.
    Long([u8; 48], u32),
}

impl AddressText {
    /// Of this address.
    #[inline]
    pub(super) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => {
                let (text, length) = ipv4_text(address);
                Self::Short(text, length)
            }
            IpAddr::V6(address) => {
                let (text, length) = ipv6_text(address);
                Self::Long(text, length)
            }
        }
    }

    /// Appends it.
    #[inline]
    pub(super) fn push(&self, out: &mut Vec<u8>) {
        match self {
            Self::Short(text, length) => push_first(out, *text, *length),
            Self::Long(text, length) => push_first(out, *text, *length),
        }
    }
}

/// The dotted text, and how long it is.
fn ipv4_text(address: Ipv4Addr) -> ([u8; 16], u32) {
    let [(a, a_bits), (b, b_bits), (c, c_bits), (d, d_bits)] = address.octets().map(|octet| {
        let text = OCTETS.get(usize::from(octet)).copied().unwrap_or(0);
        // A point leaves two bits of its byte free.
        (u64::from(text), 32 - (text.leading_zeros() & !7))
    });
    let (start, start_bits) = (a | b.wrapping_shl(a_bits), a_bits + b_bits);
    let (end, end_bits) = (c | d.wrapping_shl(c_bits), c_bits + d_bits);
    let text = u128::from(start) | u128::from(end).wrapping_shl(start_bits);
    // The last point is one too many.
    (text.to_le_bytes(), (start_bits + end_bits) / 8 - 1)
}

/// The digits of every octet with a point behind them; the first lies in the lowest byte.
const OCTETS: [u32; 256] = {
    let mut table = [0; 256];
    let mut rest = table.as_mut_slice();
    let mut octet = 0_u8;
    while let Some((place, after)) = rest.split_first_mut() {
        let (hundreds, tens, ones) = (b'0' + octet / 100, b'0' + octet / 10 % 10, b'0' + octet % 10);
        *place = u32::from_le_bytes(match octet {
            0..10 => [ones, b'.', 0, 0],
            10..100 => [tens, ones, b'.', 0],
            _ => [hundreds, tens, ones, b'.'],
        });
        octet = octet.wrapping_add(1);
        rest = after;
    }
    table
};

/// The text of RFC 5952 section 4, and how long it is: the first longest run of two or more zero groups becomes `::`.
fn ipv6_text(address: Ipv6Addr) -> ([u8; 48], u32) {
    let mut text = Text { bytes: [0; 48], length: 0 };
    if let Some(mapped) = address.to_ipv4_mapped() {
        let (dotted, length) = ipv4_text(mapped);
        text.put(*b"::ffff:", 7);
        text.put(dotted, length);
        return (text.bytes, text.length);
    }
    let groups = address.segments();
    let (mut longest, mut run) = (0..0, 0..0);
    for (place, group) in groups.into_iter().enumerate() {
        run = if group == 0 { run.start..place + 1 } else { place + 1..place + 1 };
        if run.len() > longest.len().max(1) {
            longest = run.clone();
        }
    }
    for (place, group) in groups.into_iter().enumerate() {
        if longest.contains(&place) {
            if place == longest.start {
                text.put(*b"::", 2);
            }
            continue;
        }
        if place > 0 && place != longest.end {
            text.put(*b":", 1);
        }
        let digits = u32::from_le_bytes(group_digits(group));
        // Without leading zeros; the last digit stays, whatever it is.
        let zeros = ((digits & !0x3030_3030) | (1 << 24)).trailing_zeros() & !7;
        let zeros = if group == 0 { 24 } else { zeros };
        text.put((digits >> zeros).to_le_bytes(), 4 - zeros / 8);
    }
    (text.bytes, text.length)
}

/// Four hexadecimal digits.
fn group_digits(group: u16) -> [u8; 4] {
    let [high, low] = group.to_be_bytes();
    let [[a, b], [c, d]] = [hex_pair(high, LOWER), hex_pair(low, LOWER)];
    [a, b, c, d]
}

/// A short text on the stack.
struct Text {
    bytes: [u8; 48],
    length: u32,
}

impl Text {
    /// Adds the first `length` of `bytes`; there is room for the longest address.
    #[inline]
    fn put<const N: usize>(&mut self, bytes: [u8; N], length: u32) {
        let start = usize::try_from(self.length).unwrap_or(0);
        if let Some(place) = self.bytes.get_mut(start..).and_then(<[u8]>::first_chunk_mut) {
            *place = bytes;
            self.length += length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::direction::Direction;

    fn text(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn host_names() {
        let long = format!("{}.com", "a".repeat(64));
        for bad in ["", ".", "a..b", "-a.com", "a-.com", "a b.com", "192.0.2.1", "::1", "é.fr", "a\0.com", "1", &long]
        {
            assert_eq!(host_name(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(host_name(b"a\xff.com"), None);
        for (good, name) in [("WWW.Example.com.", "www.example.com"), ("a_b.c1", "a_b.c1"), ("localhost", "localhost")]
        {
            assert_eq!(host_name(good.as_bytes()).as_deref(), Some(name.as_bytes()));
        }
    }

    #[test]
    fn every_octet_in_every_place() {
        for octet in 0..=255 {
            for octets in [[octet, 0, 10, 255], [9, octet, 99, 100], [199, 200, octet, 1], [255, 255, 255, octet]] {
                let address = IpAddr::from(octets);
                assert_eq!(text(|out| AddressText::of(address).push(out)), address.to_string());
            }
        }
        for group in 0..=u16::MAX {
            let address = IpAddr::from([0xfd00, group, 1, 2, 3, 4, 5, group]);
            assert_eq!(text(|out| AddressText::of(address).push(out)), address.to_string());
        }
    }

    #[test]
    fn addresses_are_as_usual() {
        for address in [
            "0.0.0.0",
            "255.255.255.255",
            "10.20.0.9",
            "::",
            "2001:db8::1",
            "::ffff:192.0.2.1",
            "::ffff:255.255.255.255",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(text(|out| AddressText::of(address).push(out)), address.to_string());
        }
    }

    proptest::proptest! {
        #[test]
        fn any_address_is_as_usual(
            octets: [u8; 4],
            groups in proptest::array::uniform8(proptest::sample::select(vec![0, 0, 0, 1, 0xab, 0xdb8, 0xffff])),
        ) {
            for address in [IpAddr::from(octets), IpAddr::from(groups)] {
                proptest::prop_assert_eq!(text(|out| AddressText::of(address).push(out)), address.to_string());
            }
        }

        #[test]
        fn host_names_are_lists_of_labels(name in "[a-zA-Z0-9._é-]{0,8}|([a-b0-1_-]{0,66}[.]?){0,5}") {
            let label = |label: &str| {
                (1..=63).contains(&label.len())
                    && !label.starts_with('-')
                    && !label.ends_with('-')
                    && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            };
            let last = name.rsplit('.').next().unwrap();
            let expected = name.len() <= 253 && name.split('.').all(label) && !last.bytes().all(|b| b.is_ascii_digit());
            proptest::prop_assert_eq!(is_host_name(name.as_bytes()), expected);
            let found = host_name(name.as_bytes()).map(|found| String::from_utf8(found.into_owned()).unwrap());
            let (without, dotted) = (name.to_ascii_lowercase(), format!("{name}."));
            let ends_with_dot = name.ends_with('.');
            proptest::prop_assert_eq!(found.filter(|_| !ends_with_dot), expected.then_some(without.clone()));
            let found = host_name(dotted.as_bytes()).map(|found| String::from_utf8(found.into_owned()).unwrap());
            proptest::prop_assert_eq!(found, expected.then_some(without));
        }
    }

    #[test]
    fn unknown_numbers_are_hexadecimal() {
        assert_eq!(text(|out| push_version(out, 0x7f1c, Protocol::Tls)), "draft-28");
        assert_eq!(text(|out| push_version(out, 0xfefd, Protocol::Dtls)), "1.2");
        assert_eq!(text(|out| push_version(out, 0x1234, Protocol::Tls)), "0x1234");
        assert_eq!(text(|out| push_version(out, 0x2a2a, Protocol::Tls)), "GREASE");
        assert_eq!(text(|out| push_group(out, 0xabcd)), "0xABCD");
        assert_eq!(cipher_name(0x0a0a), "GREASE");
        let alert = Alert { direction: Direction::LowToHigh, level: 9, description: 254 };
        assert_eq!(text(|out| push_alert(out, "client", alert)), "client:0x09:0xFE");
    }
}
