//! First bytes of a direction: could they begin a TLS or SSL stream?
//!
//! Strict, because other protocols look alike: an MQTT CONNACK begins with 0x20 0x02, a MongoDB message of 278 bytes with 0x16 0x01.

use super::reader::Reader;
use super::record::{ALERT, CHANGE_CIPHER_SPEC, ENCRYPTED_LIMIT, HANDSHAKE};
use smallvec::SmallVec;

/// Empty records before a ClientHello that are passed over: as many as OpenSSL takes.
const EMPTY_RECORDS: u32 = 32;

/// The beginning of a ClientHello up to the length of its cipher suites: header, version, random, session id, length.
const HELLO_HEAD: usize = 4 + 2 + 32 + 33 + 2;

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
/// in clear, or an SSL 2 hello says yes, and so does a hello that only a server takes for one ([`probe_odd_hello`]). A direction that
/// begins with application data or with a ChangeCipherSpec that no ClientHello follows says no: without the hello of the other side
/// there is nothing to report of it, and with it that side says yes.
pub fn probe(bytes: &[u8]) -> Probe {
    match bytes {
        [] => Probe::More,
        [HANDSHAKE, ..] => match probe_handshake(bytes) {
            Probe::No => probe_odd_hello(bytes),
            verdict => verdict,
        },
        [CHANGE_CIPHER_SPEC, ..] => probe_odd_hello(bytes),
        [ALERT, ..] => probe_alert(bytes),
        [0x80..=0xff, ..] => probe_ssl2(bytes),
        _ => Probe::No,
    }
}

/// A ClientHello that servers take whatever its versions say: the record's minor version and `legacy_version` may be anything, and a
/// ChangeCipherSpec or empty records may come first. It is told by its inner lengths, which must fit (RFC 8446 section 4.1.2).
pub fn probe_odd_hello(bytes: &[u8]) -> Probe {
    let mut rest = match skip_change_cipher_spec(bytes) {
        Ok(rest) => rest,
        Err(verdict) => return verdict,
    };
    let mut head = SmallVec::<[u8; 96]>::new();
    let mut empty = 0;
    loop {
        let [HANDSHAKE, 3, _, high, low, after @ ..] = rest else {
            return if matches!(rest, [] | [HANDSHAKE] | [HANDSHAKE, 3] | [HANDSHAKE, 3, _] | [HANDSHAKE, 3, _, _]) {
                Probe::More
            } else {
                Probe::No
            };
        };
        let length = u16::from_be_bytes([*high, *low]);
        empty += u32::from(length == 0);
        if length > ENCRYPTED_LIMIT || empty > EMPTY_RECORDS {
            return Probe::No;
        }
        let (payload, next) = after.split_at_checked(length.into()).unwrap_or((after, &[]));
        head.extend(payload.iter().copied().take(HELLO_HEAD - head.len()));
        match judge_hello_head(&head) {
            Probe::More => rest = next,
            verdict => return verdict,
        }
    }
}

/// What follows a ChangeCipherSpec, if there is one.
fn skip_change_cipher_spec(bytes: &[u8]) -> Result<&[u8], Probe> {
    match bytes {
        [CHANGE_CIPHER_SPEC, 3, _, 0, 1, 1, rest @ ..] => Ok(rest),
        [CHANGE_CIPHER_SPEC] | [CHANGE_CIPHER_SPEC, 3] | [CHANGE_CIPHER_SPEC, 3, _] => Err(Probe::More),
        [CHANGE_CIPHER_SPEC, 3, _, 0] | [CHANGE_CIPHER_SPEC, 3, _, 0, 1] => Err(Probe::More),
        [CHANGE_CIPHER_SPEC, ..] => Err(Probe::No),
        _ => Ok(bytes),
    }
}

/// Whether the head of a message is that of a ClientHello whose lengths fit into each other.
fn judge_hello_head(head: &[u8]) -> Probe {
    let mut reader = Reader::new(head);
    if reader.u8().is_some_and(|kind| kind != 1) {
        return Probe::No;
    }
    let Some(length) = reader.u24() else { return Probe::More };
    // Version, random, three lengths, a cipher suite and a compression method.
    if !(2 + 32 + 1 + 2 + 2 + 1 + 1..=usize::from(u16::MAX)).contains(&length) {
        return Probe::No;
    }
    let Some(session_id) = reader.take(2 + 32).and_then(|_| reader.u8()) else { return Probe::More };
    if session_id > 32 {
        return Probe::No;
    }
    let Some(suites) = reader.take(session_id.into()).and_then(|_| reader.u16()) else { return Probe::More };
    let least = 2 + 32 + 1 + usize::from(session_id) + 2 + usize::from(suites) + 1 + 1;
    if suites >= 2 && suites.is_multiple_of(2) && least <= length { Probe::Tls } else { Probe::No }
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
