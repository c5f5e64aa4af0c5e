//! What is made of hellos, remembered by their kind: a network shows few kinds of hello, many times each.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::tls::{ClientHello, Protocol, ServerHello, is_grease};

/// Values by the kind of hello that they are a pure function of. For one thread.
///
/// Bounded: when it is full it starts anew, so that no flood of strange hellos keeps the usual ones out for good.
#[derive(Debug)]
pub struct KindMemo<V> {
    known: HashMap<Box<[u16]>, Arc<V>, RandomState>,
    /// The kind that is looked up: kept for its allocation.
    kind: Vec<u16>,
    bytes: usize,
}

/// Bytes of one memo.
const BYTES: usize = 8 << 20;

/// Longer kinds (in numbers) are not remembered: no usual hello has them.
const KIND_LENGTH: usize = 1_024;

/// Bytes of an entry besides the kind and the value's own.
const ENTRY_BYTES: usize = 256;

impl<V> Default for KindMemo<V> {
    fn default() -> Self {
        Self { known: HashMap::default(), kind: Vec::new(), bytes: 0 }
    }
}

impl<V> KindMemo<V> {
    /// The value of the kind that `append_kind` writes; where it is new, what `make` makes of it, with the bytes that it
    /// holds.
    pub fn get(&mut self, append_kind: impl FnOnce(&mut Vec<u16>), make: impl FnOnce() -> (V, usize)) -> Arc<V> {
        self.kind.clear();
        append_kind(&mut self.kind);
        if let Some(known) = self.known.get(self.kind.as_slice()) {
            return Arc::clone(known);
        }
        let (value, bytes) = make();
        let value = Arc::new(value);
        let cost = bytes.saturating_add(2 * self.kind.len() + ENTRY_BYTES);
        if self.kind.len() <= KIND_LENGTH && cost <= BYTES {
            if self.bytes + cost > BYTES {
                self.known.clear();
                self.bytes = 0;
            }
            self.bytes += cost;
            self.known.insert(self.kind.as_slice().into(), Arc::clone(&value));
        }
        value
    }
}

/// Appends the kind of a ClientHello: all of it but what differs from one connection of a client to the next, which is
/// `random`, the session id, the name of the server, key shares, tickets and PSKs. GREASE counts as one value.
///
/// Lists are led by their lengths, so that no two kinds are the same numbers.
pub fn client_kind(kind: &mut Vec<u16>, hello: &ClientHello, protocol: Protocol) {
    let flags = [
        hello.ssl2_format,
        hello.server_name.is_some(),
        hello.early_data,
        hello.encrypted_client_hello,
        hello.status_request,
        hello.signed_certificate_timestamp,
    ];
    let flags = flags.into_iter().fold(0, |flags, flag| flags << 1 | u16::from(flag));
    kind.extend([number(protocol), flags, hello.legacy_version]);
    let versions = hello.supported_versions.as_slice();
    for list in [&*hello.cipher_suites, &*hello.groups, &*hello.signature_algorithms, versions] {
        append(kind, list.iter().copied().map(without_grease));
    }
    append(kind, hello.extensions.iter().map(|extension| without_grease(extension.kind)));
    append(kind, hello.key_shares.iter().map(|share| without_grease(share.group)));
    append(kind, hello.certificate_compression.iter().copied());
    for list in [&hello.compression_methods, &hello.point_formats, &hello.psk_modes] {
        append(kind, list.iter().copied().map(u16::from));
    }
    kind.push(length(hello.alpn.len()));
    for name in &hello.alpn {
        append(kind, name.iter().copied().map(u16::from));
    }
}

/// Appends the kind of a ServerHello: its version, cipher suite, extensions, group and ALPN protocol.
pub fn server_kind(kind: &mut Vec<u16>, hello: &ServerHello, protocol: Protocol) {
    kind.extend([number(protocol), hello.legacy_version]);
    for choice in [hello.cipher_suite, hello.selected_version, hello.key_share.as_ref().map(|share| share.group)] {
        append(kind, choice.into_iter());
    }
    append(kind, hello.extensions.iter().map(|extension| extension.kind));
    kind.push(hello.alpn.is_some().into());
    append(kind, hello.alpn.iter().flatten().copied().map(u16::from));
}

fn number(protocol: Protocol) -> u16 {
    match protocol {
        Protocol::Tls => 0,
        Protocol::Dtls => 1,
        Protocol::Quic => 2,
    }
}

fn without_grease(value: u16) -> u16 {
    if is_grease(value) { 0x0a0a } else { value }
}

fn append(kind: &mut Vec<u16>, values: impl Iterator<Item = u16>) {
    let place = kind.len();
    kind.push(0);
    kind.extend(values);
    let count = length(kind.len() - place - 1);
    if let Some(place) = kind.get_mut(place) {
        *place = count;
    }
}

/// A length of the wire: always fits.
fn length(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{Extension, KeyShare};

    fn hello(ciphers: &[u16], kinds: &[u16]) -> ClientHello {
        ClientHello {
            legacy_version: 0x0303,
            cipher_suites: ciphers.to_vec().into(),
            extensions: kinds.iter().map(|kind| Extension { kind: *kind, body: 0..0 }).collect(),
            has_extensions: true,
            ..ClientHello::default()
        }
    }

    fn kind(hello: &ClientHello) -> Vec<u16> {
        let mut kind = Vec::new();
        client_kind(&mut kind, hello, Protocol::Tls);
        kind
    }

    #[test]
    fn every_part_of_a_client_kind_counts() {
        let base = || hello(&[0x1301, 0xc02f], &[0, 10]);
        let name = |name: &[u8]| Some(name.into());
        let mut kinds = vec![
            kind(&base()),
            kind(&hello(&[0x1301], &[0xc02f, 0, 10])),
            kind(&hello(&[0x0a0a, 0x1301, 0xc02f], &[0, 10])),
            kind(&hello(&[0x1301, 0xc02f], &[10, 0])),
            kind(&ClientHello { alpn: vec![b"h2".as_slice().into()].into(), ..base() }),
            kind(&ClientHello { alpn: vec![b"h".as_slice().into(), b"2".as_slice().into()].into(), ..base() }),
            kind(&ClientHello { server_name: name(b"a"), ..base() }),
            kind(&ClientHello { supported_versions: vec![0x0304].into(), ..base() }),
            kind(&ClientHello { groups: vec![0x0304].into(), ..base() }),
            kind(&ClientHello { signature_algorithms: vec![0x0304].into(), ..base() }),
            kind(&ClientHello { certificate_compression: vec![0x0304].into(), ..base() }),
            kind(&ClientHello { key_shares: vec![KeyShare { group: 0x0304, public: 0..0 }].into(), ..base() }),
            kind(&ClientHello { compression_methods: vec![1].into(), ..base() }),
            kind(&ClientHello { point_formats: vec![1].into(), ..base() }),
            kind(&ClientHello { psk_modes: vec![1].into(), ..base() }),
            kind(&ClientHello { early_data: true, ..base() }),
            kind(&ClientHello { ssl2_format: true, ..base() }),
            kind(&ClientHello { encrypted_client_hello: true, ..base() }),
            kind(&ClientHello { status_request: true, ..base() }),
            kind(&ClientHello { signed_certificate_timestamp: true, ..base() }),
            kind(&ClientHello { legacy_version: 0x0302, ..base() }),
        ];
        let count = kinds.len();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), count);
        // The name itself does not, nor which value of GREASE it is.
        let named = |text: &[u8]| kind(&ClientHello { server_name: name(text), ..base() });
        assert_eq!(named(b"a"), named(b"b.example.com"));
        assert_eq!(kind(&hello(&[0x0a0a], &[0xfafa])), kind(&hello(&[0x3a3a], &[0x1a1a])));
    }

    #[test]
    fn every_part_of_a_server_kind_counts() {
        let kind = |hello: &ServerHello, protocol| {
            let mut kind = Vec::new();
            server_kind(&mut kind, hello, protocol);
            kind
        };
        let extensions = vec![Extension { kind: 0x0304, body: 0..0 }];
        let mut kinds = vec![
            kind(&ServerHello::default(), Protocol::Tls),
            kind(&ServerHello::default(), Protocol::Quic),
            kind(&ServerHello { legacy_version: 0x0303, ..Default::default() }, Protocol::Tls),
            kind(&ServerHello { cipher_suite: Some(0x0304), ..Default::default() }, Protocol::Tls),
            kind(&ServerHello { cipher_suite: Some(0), ..Default::default() }, Protocol::Tls),
            kind(&ServerHello { selected_version: Some(0x0304), ..Default::default() }, Protocol::Tls),
            kind(&ServerHello { alpn: Some(b"h2".as_slice().into()), ..Default::default() }, Protocol::Tls),
            kind(&ServerHello { alpn: Some(b"".as_slice().into()), ..Default::default() }, Protocol::Tls),
            kind(
                &ServerHello { key_share: Some(KeyShare { group: 0x0304, public: 0..0 }), ..Default::default() },
                Protocol::Tls,
            ),
            kind(&ServerHello { extensions: extensions.into(), ..Default::default() }, Protocol::Tls),
        ];
        let count = kinds.len();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), count);
    }

    #[test]
    fn a_full_memo_starts_anew() {
        let mut memo = KindMemo::default();
        let mut made = 0;
        let mut get = |memo: &mut KindMemo<u16>, number: u16| {
            let value = memo.get(
                |kind| kind.push(number),
                || {
                    made += 1;
                    (number, BYTES / 4)
                },
            );
            assert_eq!(*value, number);
            made
        };
        for number in 0..3 {
            get(&mut memo, number);
        }
        assert_eq!(get(&mut memo, 0), 3);
        assert_eq!(get(&mut memo, 3), 4);
        assert_eq!((memo.known.len(), get(&mut memo, 3)), (1, 4));
        // What is longer than any usual hello is made each time.
        for _ in 0..2 {
            memo.get(|kind| kind.resize(KIND_LENGTH + 1, 7), || (9, 0));
        }
        assert_eq!(memo.known.len(), 1);
    }
}
