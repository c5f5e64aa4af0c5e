//! First bytes of a direction: could they begin a TLS or SSL stream?
//!
//! Strict, because other protocols look alike: an MQTT CONNACK begins with 0x20 0x02, a MongoDB message of 278 bytes with 0x16 0x01.

use super::record::{ALERT, ENCRYPTED_LIMIT, HANDSHAKE};

/// What the first bytes of a direction say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A TLS or SSL stream.
    Tls,
    /// Something else.
    No,
    /// Too few bytes to say.
    More,
}

/// Judges the first bytes of one direction. A record of handshake type with the beginning of a message that can be in clear, an alert
/// in clear, or an SSL 2 hello says yes. A direction that begins with application data or with ChangeCipherSpec says no: without the
/// hello of the other side there is nothing to report of it, and with it that side says yes.
pub fn probe(bytes: &[u8]) -> Probe {
    match bytes {
        [] => Probe::More,
        [HANDSHAKE, ..] => probe_handshake(bytes),
        [ALERT, ..] => probe_alert(bytes),
        [0x80..=0xff, ..] => probe_ssl2(bytes),
        _ => Probe::No,
    }
}

/// Whether `bytes` begin with a ClientHello in a TLS record or in SSL 2 format; `More` while that can still be.
pub fn is_client_hello_start(bytes: &[u8]) -> Probe {
    match (probe(bytes), bytes) {
        (Probe::Tls, [HANDSHAKE, _, _, _, _, 1, ..] | [0x80..=0xff, _, 1, ..]) => Probe::Tls,
        (Probe::More, _) => Probe::More,
        _ => Probe::No,
    }
}

/// Record header, then the 4-byte header of the message; the record may hold only a part of it.
fn probe_handshake(bytes: &[u8]) -> Probe {
    let mut rest = bytes.iter().copied().skip(1);
    let Some(major) = rest.next() else { return Probe::More };
    if major != 3 {
        return Probe::No;
    }
    let Some(minor) = rest.next() else { return Probe::More };
    if minor > 4 {
        return Probe::No;
    }
    let (Some(high), Some(low)) = (rest.next(), rest.next()) else { return Probe::More };
    let length = u16::from_be_bytes([high, low]);
    if length == 0 || length > ENCRYPTED_LIMIT {
        return Probe::No;
    }
    let Some(kind) = rest.next() else { return Probe::More };
    if !matches!(kind, 1 | 2 | 4 | 6 | 11..=16 | 22 | 25) {
        return Probe::No;
    }
    if length < 6 {
        return probe_short_record(bytes, length);
    }
    let (Some(top), Some(middle), Some(bottom)) = (rest.next(), rest.next(), rest.next()) else { return Probe::More };
    let message = u32::from(top) << 16 | u32::from(middle) << 8 | u32::from(bottom);
    let fits = match kind {
        14 => message == 0,
        // A hello that claims more than is read is still a hello: its limit is noted, not hidden.
        1 | 2 => message >= 34,
        11 | 22 | 25 => top < 16,
        _ => top == 0,
    };
    if !fits {
        return Probe::No;
    }
    match (kind, rest.next()) {
        (1 | 2, None) => Probe::More,
        (1, Some(3)) | (2, Some(3 | 0x7f)) => Probe::Tls,
        (1 | 2, Some(_)) => Probe::No,
        _ => Probe::Tls,
    }
}

/// The first record holds only a part of a hello's header and version: then the next record follows at once.
fn probe_short_record(bytes: &[u8], length: u16) -> Probe {
    let Some((payload, next)) = bytes.get(5..).and_then(|rest| rest.split_at_checked(length.into())) else {
        return Probe::More;
    };
    match (payload, next) {
        ([1 | 2] | [1 | 2, 0, ..], [HANDSHAKE, 3, ..]) => Probe::Tls,
        ([1 | 2] | [1 | 2, 0, ..], [] | [HANDSHAKE]) => Probe::More,
        _ => Probe::No,
    }
}

/// One alert of two bytes, and nothing else is an alert in clear.
fn probe_alert(bytes: &[u8]) -> Probe {
    let wanted = |place: usize, byte: u8| match place {
        0 => byte == ALERT,
        1 => byte == 3,
        2 => byte <= 4,
        3 => byte == 0,
        4 => byte == 2,
        _ => byte == 1 || byte == 2,
    };
    let head = bytes.iter().copied().take(6).enumerate();
    if !head.clone().all(|(place, byte)| wanted(place, byte)) {
        return Probe::No;
    }
    if head.len() < 6 { Probe::More } else { Probe::Tls }
}

/// SSL 2 hellos: a two-byte length, the type, the version; and the lengths of the parts must add up.
fn probe_ssl2(bytes: &[u8]) -> Probe {
    let Some(message) = bytes.get(2) else { return Probe::More };
    let fields: &[usize] = match message {
        1 => &[5, 7, 9],
        4 => &[7, 9, 11],
        _ => return Probe::No,
    };
    let version_at = if *message == 1 { 3 } else { 5 };
    let number = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    match number(version_at) {
        Some(0x0002 | 0x0300..=0x0304) => {}
        Some(_) => return Probe::No,
        None => return Probe::More,
    }
    let header = if *message == 1 { 9 } else { 11 };
    let mut sum = header;
    for at in fields {
        let Some(length) = number(*at) else { return Probe::More };
        sum += u32::from(length);
    }
    let length = number(0).map_or(0, |length| u32::from(length & 0x7fff));
    if sum == length { Probe::Tls } else { Probe::No }
}
