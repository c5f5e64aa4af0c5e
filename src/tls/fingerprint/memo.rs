//! Fingerprints remembered by what they are made of: a network shows few kinds of hello, many times each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use foldhash::fast::RandomState;

use super::{ja3, ja4};
use crate::tls::{ClientHello, Protocol, is_grease};

/// Fingerprints of one kind of ClientHello.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HelloPrints {
    /// JA3.
    pub ja3: String,
    /// JA4.
    pub ja4: String,
    /// JA4 before its hashes.
    pub ja4_r: String,
}

impl HelloPrints {
    /// Computes them.
    pub fn of(hello: &ClientHello, protocol: Protocol) -> Self {
        Self { ja3: ja3::ja3(hello), ja4: ja4::ja4(hello, protocol), ja4_r: ja4::ja4_r(hello, protocol) }
    }
}

/// A memo of [`HelloPrints`], shared by the workers. Bounded: when it is full, what is not in it is computed each time.
#[derive(Debug, Default)]
pub struct FingerprintMemo {
    known: DashMap<Box<[u8]>, Arc<HelloPrints>, RandomState>,
    bytes: AtomicUsize,
}

/// Bytes of the memo.
const BYTES: usize = 8 << 20;

/// Ingredients longer than this are not remembered: no usual client has them.
const INGREDIENT_BYTES: usize = 2_048;

impl FingerprintMemo {
    /// The fingerprints of a hello.
    pub fn prints(&self, hello: &ClientHello, protocol: Protocol) -> Arc<HelloPrints> {
        let ingredients = ingredients(hello, protocol);
        if let Some(known) = self.known.get(ingredients.as_slice()) {
            return Arc::clone(&known);
        }
        let prints = Arc::new(HelloPrints::of(hello, protocol));
        let cost = ingredients.len() + prints.ja4_r.len() + 256;
        if ingredients.len() <= INGREDIENT_BYTES && self.bytes.fetch_add(cost, Ordering::Relaxed) + cost <= BYTES {
            self.known.insert(ingredients.into(), Arc::clone(&prints));
        } else {
            self.bytes.fetch_sub(cost.min(self.bytes.load(Ordering::Relaxed)), Ordering::Relaxed);
        }
        prints
    }
}

/// Everything that the fingerprints depend on, and nothing else: GREASE counts as one value.
fn ingredients(hello: &ClientHello, protocol: Protocol) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let kind = match protocol {
        Protocol::Tls => 0,
        Protocol::Dtls => 1,
        Protocol::Quic => 2,
    };
    out.extend([kind, u8::from(hello.ssl2_format), u8::from(hello.has_extensions)]);
    out.extend(hello.legacy_version.to_be_bytes());
    let extensions = hello.extensions.iter().map(|extension| extension.kind);
    numbers(&mut out, extensions);
    let versions = hello.supported_versions.as_slice();
    for list in [&*hello.cipher_suites, &*hello.groups, &*hello.signature_algorithms, versions] {
        numbers(&mut out, list.iter().copied());
    }
    bytes(&mut out, &hello.point_formats);
    out.push(u8::from(hello.server_name.is_some()));
    bytes(&mut out, hello.alpn.first().map(AsRef::as_ref).unwrap_or_default());
    out
}

fn numbers(out: &mut Vec<u8>, values: impl Iterator<Item = u16>) {
    let start = out.len();
    out.extend([0, 0]);
    let mut count: u16 = 0;
    for value in values {
        out.extend(if is_grease(value) { 0x0a0a } else { value }.to_be_bytes());
        count = count.wrapping_add(1);
    }
    if let Some(place) = out.get_mut(start..start + 2) {
        place.copy_from_slice(&count.to_be_bytes());
    }
}

fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    out.extend(u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Extension;

    fn hello(ciphers: &[u16], kinds: &[u16]) -> ClientHello {
        ClientHello {
            legacy_version: 0x0303,
            cipher_suites: ciphers.to_vec(),
            extensions: kinds.iter().map(|kind| Extension { kind: *kind, body: 0..0 }).collect(),
            has_extensions: true,
            ..ClientHello::default()
        }
    }

    #[test]
    fn what_is_remembered_is_what_would_be_computed() {
        let memo = FingerprintMemo::default();
        let hellos = [
            hello(&[0x1301, 0xc02f], &[0, 10]),
            hello(&[0x1301], &[0xc02f, 0, 10]),
            hello(&[0x0a0a, 0x1301, 0xc02f], &[0, 10]),
            hello(&[0x1301, 0xc02f], &[10, 0]),
            ClientHello { alpn: vec![b"h2".as_slice().into()], ..hello(&[0x1301, 0xc02f], &[0, 10]) },
            ClientHello { server_name: Some(b"a".as_slice().into()), ..hello(&[0x1301, 0xc02f], &[0, 10]) },
            ClientHello { supported_versions: vec![0x0304].into(), ..hello(&[0x1301, 0xc02f], &[0, 10]) },
        ];
        for _ in 0..2 {
            for hello in &hellos {
                for protocol in [Protocol::Tls, Protocol::Quic] {
                    assert_eq!(*memo.prints(hello, protocol), HelloPrints::of(hello, protocol));
                }
            }
        }
        assert_eq!(memo.known.len(), 2 * hellos.len());
    }
}
