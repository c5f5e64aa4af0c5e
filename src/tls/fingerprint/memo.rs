//! What is made of hellos, remembered by their kind: a network shows few kinds of hello, many times each.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::tls::{CertificateRequest, ClientHello, Protocol, ServerHello};

/// Values by the kind of hello that they are a pure function of. For one thread.
///
/// Bounded: when it is full it starts anew, so that no flood of strange hellos keeps the usual ones out for good.
#[derive(Debug)]
pub struct KindMemo<V> {
    known: HashTable<(Box<[u64]>, Arc<V>)>,
    seed: RandomState,
    /// The last value of a kind that is not remembered.
    other: Option<Arc<V>>,
    /// The kind that is looked up: kept for its allocation.
    kind: Vec<u64>,
    bytes: usize,
}

/// Bytes of one memo, at most one entry exceeded.
const BYTES: usize = 8 << 20;

/// Longer kinds (in words of four numbers) are not remembered: no usual hello has them.
const KIND_LENGTH: usize = 256;

/// Bytes of an entry besides the kind and the value's own.
const ENTRY_BYTES: usize = 256;

impl<V> Default for KindMemo<V> {
    fn default() -> Self {
        Self { known: HashTable::new(), seed: RandomState::default(), other: None, kind: Vec::new(), bytes: 0 }
    }
}

impl<V> KindMemo<V> {
    /// The value of the kind that `append_kind` writes; where it is new, what `make` makes of it, with the bytes that it
    /// holds.
    pub fn get(&mut self, append_kind: impl FnOnce(&mut Vec<u64>), make: impl FnOnce() -> (V, usize)) -> Arc<V> {
        Arc::clone(self.look_up(append_kind, make))
    }

    /// As [`get`](Self::get), for the time until the next one.
    pub fn look_up(&mut self, append_kind: impl FnOnce(&mut Vec<u64>), make: impl FnOnce() -> (V, usize)) -> &Arc<V> {
        self.kind.clear();
        append_kind(&mut self.kind);
        let kind = self.kind.as_slice();
        let hash = self.seed.hash_one(kind);
        if self.bytes > BYTES {
            self.known.clear();
            self.bytes = 0;
        }
        if kind.len() > KIND_LENGTH {
            return self.other.insert(Arc::new(make().0));
        }
        let found = self.known.entry(hash, |(known, _)| **known == *kind, |(known, _)| self.seed.hash_one(&**known));
        let entry = found.or_insert_with(|| {
            let (value, bytes) = make();
            self.bytes = self.bytes.saturating_add(bytes).saturating_add(8 * kind.len() + ENTRY_BYTES);
            (kind.into(), Arc::new(value))
        });
        &entry.into_mut().1
    }
}

/// Appends the kind of a ClientHello: all of it but what differs from one connection of a client to the next, which is
/// `random`, the session id, the name of the server, key shares, tickets and PSKs. GREASE counts as one value.
///
/// Words of four numbers; the lengths of all lists come first, so that no two kinds are the same words.
pub fn client_kind(kind: &mut Vec<u64>, hello: &ClientHello, protocol: Protocol) {
    let flags = [
        hello.ssl2_format,
        hello.server_name.is_some(),
        hello.early_data,
        hello.encrypted_client_hello,
        hello.status_request,
        hello.signed_certificate_timestamp,
    ];
    let flags = flags.into_iter().fold(0, |flags, flag| flags << 1 | u16::from(flag));
    let lists = [&*hello.cipher_suites, &*hello.groups, &*hello.signature_algorithms, &*hello.supported_versions];
    let bytes = [&*hello.compression_methods, &*hello.point_formats, &*hello.psk_modes];
    kind.reserve(32);
    kind.extend_from_slice(&[
        word([number(protocol), flags, hello.legacy_version, length(hello.alpn.len())]),
        word(lists.map(|list| length(list.len()))),
        word([
            length(hello.extensions.len()),
            length(hello.key_shares.len()),
            length(hello.certificate_compression.len()),
            0,
        ]),
    ]);
    let [first, second, third] = bytes.map(|list| length(list.len()));
    kind.push(word([first, second, third, 0]));
    for list in lists {
        append_numbers(kind, list);
    }
    append(kind, &hello.extensions, |extension| extension.kind, without_grease);
    append(kind, &hello.key_shares, |share| share.group, without_grease);
    append(kind, &hello.certificate_compression, |number| *number, |word| word);
    for list in bytes {
        append_bytes(kind, list);
    }
    for name in &hello.alpn {
        append_name(kind, name);
    }
}

/// Appends the kind of a ServerHello: its version, cipher suite, extensions, group and ALPN protocol.
pub fn server_kind(kind: &mut Vec<u64>, hello: &ServerHello, protocol: Protocol) {
    let share = hello.key_share.as_ref().map(|share| share.group);
    let choices = [hello.cipher_suite, hello.selected_version, share];
    let present = choices.into_iter().fold(0, |present, choice| present << 1 | u16::from(choice.is_some()));
    let [cipher, version, group] = choices.map(Option::unwrap_or_default);
    kind.reserve(8);
    kind.extend_from_slice(&[
        word([number(protocol), present << 1 | u16::from(hello.alpn.is_some()), hello.legacy_version, cipher]),
        word([version, group, length(hello.extensions.len()), 0]),
    ]);
    append(kind, &hello.extensions, |extension| extension.kind, |word| word);
    if let Some(name) = &hello.alpn {
        append_name(kind, name);
    }
}

/// Appends a CertificateRequest: all of it.
pub fn request_kind(kind: &mut Vec<u64>, request: &CertificateRequest) {
    kind.push(word([
        length(request.certificate_types.len()),
        length(request.signature_algorithms.len()),
        length(request.authorities.len()),
        0,
    ]));
    kind.push(request.authority_count.into());
    append_bytes(kind, &request.certificate_types);
    append(kind, &request.signature_algorithms, |number| *number, |word| word);
    for name in &request.authorities {
        append_name(kind, name);
    }
}

fn number(protocol: Protocol) -> u16 {
    match protocol {
        Protocol::Tls => 0,
        Protocol::Dtls => 1,
        Protocol::Quic => 2,
    }
}

/// Four numbers in one word.
#[inline]
fn word([a, b, c, d]: [u16; 4]) -> u64 {
    u64::from(a) | (u64::from(b) << 16) | (u64::from(c) << 32) | (u64::from(d) << 48)
}

/// The four numbers of `word`, with one value for all of GREASE (RFC 8701): both bytes the same, ending with 0xa.
#[inline(always)]
fn without_grease(word: u64) -> u64 {
    const ONES: u64 = 0x0001_0001_0001_0001;
    // In the low byte of each number, 0 for GREASE only.
    let different = ((word ^ (word >> 8)) & (0x00ff * ONES)) | ((word & (0x000f * ONES)) ^ (0x000a * ONES));
    // Only what takes away nothing keeps the bit above that byte.
    let grease = (0x0100 * ONES).wrapping_sub(different) & (0x0100 * ONES);
    if grease == 0 {
        return word;
    }
    let mask = (grease >> 8).wrapping_mul(0xffff);
    (word & !mask) | ((0x0a0a * ONES) & mask)
}

/// Appends the numbers of `items` in words, the last filled up with zeros.
#[inline(always)]
fn append<T>(kind: &mut Vec<u64>, items: &[T], number: impl Fn(&T) -> u16, change: impl Fn(u64) -> u64) {
    let (fours, rest) = items.as_chunks();
    for [a, b, c, d] in fours {
        kind.push(change(word([number(a), number(b), number(c), number(d)])));
    }
    let last = match rest {
        [] => return,
        [a] => [number(a), 0, 0, 0],
        [a, b] => [number(a), number(b), 0, 0],
        [a, b, c, ..] => [number(a), number(b), number(c), 0],
    };
    kind.push(change(word(last)));
}

/// The same of plain numbers. Not inlined: there are several lists of them.
#[inline(never)]
fn append_numbers(kind: &mut Vec<u64>, numbers: &[u16]) {
    append(kind, numbers, |number| *number, without_grease);
}

/// Appends bytes in words, the last filled up with zeros.
#[inline]
fn append_bytes(kind: &mut Vec<u64>, bytes: &[u8]) {
    let (eights, rest) = bytes.as_chunks();
    kind.extend(eights.iter().map(|eight| u64::from_le_bytes(*eight)));
    if !rest.is_empty() {
        kind.push(packed(rest));
    }
}

/// Appends a name and its length: one word for most.
#[inline]
fn append_name(kind: &mut Vec<u64>, name: &[u8]) {
    match u64::try_from(name.len()).unwrap_or(u64::MAX) {
        short @ 0..8 => kind.push(short << 56 | packed(name)),
        long => {
            kind.push(0xff << 56 | (long & u64::MAX >> 8));
            append_bytes(kind, name);
        }
    }
}

/// At most eight bytes, the first one lowest.
#[inline]
fn packed(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// A length of the wire: always fits.
fn length(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{Extension, KeyShare, is_grease};

    fn hello(ciphers: &[u16], kinds: &[u16]) -> ClientHello {
        ClientHello {
            legacy_version: 0x0303,
            cipher_suites: ciphers.to_vec().into(),
            extensions: kinds.iter().map(|kind| Extension { kind: *kind, body: 0..0 }).collect(),
            has_extensions: true,
            ..ClientHello::default()
        }
    }

    fn kind(hello: &ClientHello) -> Vec<u64> {
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
    fn grease_is_one_value_in_every_place() {
        for value in 0..=u16::MAX {
            let expected = if is_grease(value) { 0x0a0a } else { value };
            for place in 0..4 {
                let (mut numbers, mut plain) = ([0x0a1a, 0xffff, 0, 0x7a7a], [0x0a1a, 0xffff, 0, 0x0a0a]);
                (numbers[place], plain[place]) = (value, expected);
                assert_eq!(without_grease(word(numbers)), word(plain), "{value:x}");
            }
        }
    }

    #[test]
    fn every_part_of_a_request_counts() {
        let kind = |request: &CertificateRequest| {
            let mut kind = Vec::new();
            request_kind(&mut kind, request);
            kind
        };
        let request = CertificateRequest::default;
        let names = |names: &[&[u8]]| names.iter().map(|name| (*name).into()).collect();
        let mut kinds = vec![
            kind(&request()),
            kind(&CertificateRequest { certificate_types: vec![1], ..request() }),
            kind(&CertificateRequest { certificate_types: vec![1, 0], ..request() }),
            kind(&CertificateRequest { signature_algorithms: vec![1], ..request() }),
            kind(&CertificateRequest { authority_count: 1, ..request() }),
            kind(&CertificateRequest { authorities: names(&[b""]), ..request() }),
            kind(&CertificateRequest { authorities: names(&[b"a name of many bytes", b"b"]), ..request() }),
            kind(&CertificateRequest { authorities: names(&[b"a name of many byte", b"sb"]), ..request() }),
            kind(&CertificateRequest { authorities: names(&[b"b", b"a name of many bytes"]), ..request() }),
        ];
        let count = kinds.len();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), count);
    }

    #[test]
    fn lists_of_every_length_differ() {
        let names = ["", "h", "h\0", "h2", "http/1.", "http/1.1", "http/1.1\0", "a name of many bytes"];
        let mut kinds: Vec<_> = names
            .iter()
            .flat_map(|name| {
                let alone = ClientHello { alpn: smallvec::smallvec![name.as_bytes().into()], ..ClientHello::default() };
                let twice =
                    ClientHello { alpn: smallvec::smallvec![name.as_bytes().into(); 2], ..ClientHello::default() };
                [kind(&alone), kind(&twice)]
            })
            .collect();
        for length in 0..10 {
            let bytes = vec![0; length];
            kinds.push(kind(&hello(&vec![0; length + 1], &[])));
            kinds.push(kind(&hello(&[], &vec![0; length + 1])));
            kinds.push(kind(&ClientHello { point_formats: bytes.as_slice().into(), ..hello(&[], &[]) }));
            kinds.push(kind(&ClientHello { psk_modes: bytes.as_slice().into(), ..hello(&[1], &[]) }));
        }
        let count = kinds.len();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), count);
    }

    #[test]
    fn a_full_memo_starts_anew() {
        let mut memo = KindMemo::default();
        let mut made = 0;
        let mut get = |memo: &mut KindMemo<u64>, number: u64| {
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
        assert_eq!((memo.known.len(), get(&mut memo, 4)), (4, 5));
        assert_eq!((memo.known.len(), get(&mut memo, 4)), (1, 5));
        // What is longer than any usual hello is made each time.
        for _ in 0..2 {
            memo.get(|kind| kind.resize(KIND_LENGTH + 1, 7), || (9, 0));
        }
        assert_eq!(memo.known.len(), 1);
    }
}
