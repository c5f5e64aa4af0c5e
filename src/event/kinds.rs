//! What all hellos of one kind say in events, rendered once: fingerprints, versions, names of extensions and groups.
//!
//! A fragment is a list of JSON members. It may only depend on what is in the kind ([`client_kind()`], [`server_kind`]); the
//! rest is written for every event, by `tls.rs` and `facts.rs`, which also say in what order the fragments come.

use std::sync::Arc;

use crate::detect::client_kind;
use crate::tls::fingerprint::ja3::ja3s;
use crate::tls::fingerprint::ja4::ja4_r;
use crate::tls::fingerprint::memo::{KindMemo, client_kind, request_kind, server_kind};
use crate::tls::{ClientHello, Handshake, Protocol, ServerHello, is_grease};

use super::context::Detail;
use super::facts::certificate_request;
use super::json::Writer;
use super::wire;

/// Fragments of a ClientHello.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientKind {
    /// What judgement asks of it.
    kind: Arc<client_kind::ClientKind>,
    /// JA3 as an item of `related.hash`: `,"<ja3>"`.
    pub(super) hash: String,
    /// Of `tls.client`: the fingerprints and the offered cipher suites.
    pub(super) prints: String,
    /// Of `tlswatch.client`: from the versions to ALPN.
    pub(super) offers: String,
    /// Of `tlswatch.client`: from the modes of PSK to the flag of an outer name.
    pub(super) modes: String,
    /// Of `tlswatch.client`: what is behind the name of the server.
    pub(super) extras: String,
}

impl ClientKind {
    /// Renders them.
    pub(super) fn of(hello: &ClientHello, protocol: Protocol, detail: Detail) -> Self {
        let full = detail == Detail::Full;
        let kind = Arc::new(client_kind::ClientKind::of(hello, protocol));
        let prints = Writer::fragment(|w| {
            w.plain("ja3", &kind.ja3);
            w.plain("ja4", &kind.ja4);
            if full {
                w.appended("supported_ciphers", hello.cipher_suites.iter().copied(), wire::push_cipher);
            }
        });
        let offers = Writer::fragment(|w| offers(w, hello, (protocol, full)));
        let modes = Writer::fragment(|w| {
            w.appended("psk_modes", hello.psk_modes.iter().copied(), |out, mode| {
                wire::push_small(out, mode, wire::psk_mode);
            });
            w.flag("early_data", hello.early_data);
            w.flag("ech", hello.encrypted_client_hello);
            // The name in clear is the one of the client-facing server; the real one is encrypted, or the extension is
            // GREASE.
            w.flag("server_name_outer", hello.encrypted_client_hello && hello.server_name.is_some());
        });
        let extras = Writer::fragment(|w| {
            let compression = hello.certificate_compression.iter().copied();
            w.appended("certificate_compression", compression, wire::push_compression);
            w.flag("status_request", hello.status_request);
            w.flag("signed_certificate_timestamp", hello.signed_certificate_timestamp);
            w.flag("grease", uses_grease(hello));
            w.flag("ssl2_hello", hello.ssl2_format);
            if full {
                w.plain("ja4_r", &ja4_r(hello, protocol));
            }
        });
        Self { hash: item(&kind.ja3), kind, prints, offers, modes, extras }
    }

    /// Bytes of all of them.
    pub(super) fn bytes(&self) -> usize {
        let texts = [&self.kind.ja4, &self.kind.ja3, &self.hash, &self.prints, &self.offers, &self.modes, &self.extras];
        size_of::<client_kind::ClientKind>() + texts.into_iter().map(String::len).sum::<usize>()
    }
}

fn offers(w: &mut Writer<'_>, hello: &ClientHello, (protocol, full): (Protocol, bool)) {
    let version = |out: &mut Vec<u8>, version: u16| wire::push_version(out, version, protocol);
    if hello.supported_versions.is_empty() {
        w.appended("versions", [hello.legacy_version], version);
    } else {
        w.appended("versions", hello.supported_versions.iter().copied(), version);
    }
    if full {
        w.appended("extensions", hello.extensions.iter().map(|extension| extension.kind), wire::push_extension);
        w.appended("groups", hello.groups.iter().copied(), wire::push_group);
        w.appended("signature_algorithms", hello.signature_algorithms.iter().copied(), wire::push_signature);
        w.appended("point_formats", hello.point_formats.iter().copied(), |out, format| {
            wire::push_small(out, format, wire::point_format);
        });
        w.appended("compression_methods", hello.compression_methods.iter().copied(), |out, method| {
            wire::push_small(out, method, wire::compression_method);
        });
    }
    w.appended("key_shares", hello.key_shares.iter().map(|share| share.group), wire::push_group);
    w.texts("alpn", hello.alpn.iter().map(|name| String::from_utf8_lossy(name)));
}

fn uses_grease(hello: &ClientHello) -> bool {
    hello.cipher_suites.iter().chain(&hello.groups).chain(&hello.supported_versions).copied().any(is_grease)
        || hello.extensions.iter().any(|extension| is_grease(extension.kind))
}

/// Fragments of a ServerHello.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ServerKind {
    /// JA3S as an item of `related.hash`; empty for SSL 2.
    pub(super) hash: String,
    /// Of `tls`: version and cipher suite.
    pub(super) choice: String,
    /// Of `tls`: the ALPN protocol.
    pub(super) next_protocol: String,
    /// Of `tls.server`: the fingerprint.
    pub(super) prints: String,
    /// Of `tlswatch.server`: from the version to ALPN.
    pub(super) answers: String,
}

impl ServerKind {
    /// Renders them.
    pub(super) fn of(hello: &ServerHello, protocol: Protocol, detail: Detail) -> Self {
        let ja3s = ja3s(hello).unwrap_or_default();
        let choice = Writer::fragment(|w| {
            let (name, version) = wire::version_name(hello.version(), protocol).unzip();
            w.plain("version", version.unwrap_or_default());
            w.plain("version_protocol", name.unwrap_or_else(|| wire::default_protocol(protocol)));
            if let Some(cipher) = hello.cipher_suite {
                w.append("cipher", |out| wire::push_cipher(out, cipher));
            }
        });
        let next_protocol =
            Writer::fragment(|w| w.wire_text("next_protocol", hello.alpn.as_deref().unwrap_or_default()));
        let answers = Writer::fragment(|w| {
            let chosen = hello.selected_version.unwrap_or(hello.legacy_version);
            w.appended("versions", [chosen], |out, version| wire::push_version(out, version, protocol));
            if detail == Detail::Full {
                w.appended("extensions", hello.extensions.iter().map(|extension| extension.kind), wire::push_extension);
            }
            w.appended("key_shares", hello.key_share.iter().map(|share| share.group), wire::push_group);
            w.texts("alpn", hello.alpn.iter().map(|name| String::from_utf8_lossy(name)));
        });
        let prints = Writer::fragment(|w| w.plain("ja3s", &ja3s));
        Self { hash: item(&ja3s), choice, next_protocol, prints, answers }
    }

    /// Bytes of all of them.
    pub(super) fn bytes(&self) -> usize {
        [&self.hash, &self.choice, &self.next_protocol, &self.prints, &self.answers].into_iter().map(String::len).sum()
    }
}

/// An item of a list, with its comma; nothing for an empty one.
fn item(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(",\"{text}\"") }
}

/// The kinds of both hellos of a handshake.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kinds<'a> {
    /// Of the ClientHello.
    pub(super) client: Option<&'a ClientKind>,
    /// Of the ServerHello.
    pub(super) server: Option<&'a ServerKind>,
    /// Members of `certificate_request`; empty without one.
    pub(super) request: &'a str,
}

/// Kinds that were rendered before, all in the same detail.
#[derive(Debug, Default)]
pub(super) struct KindMemos {
    clients: KindMemo<ClientKind>,
    servers: KindMemo<ServerKind>,
    requests: KindMemo<String>,
    /// The kind of client of the last handshake.
    pub(super) last: Option<Arc<client_kind::ClientKind>>,
}

impl KindMemos {
    /// The kinds of both hellos.
    pub(super) fn kinds(&mut self, handshake: &Handshake, detail: Detail) -> Kinds<'_> {
        let protocol = handshake.protocol;
        let client = handshake.client_hello.as_deref().map(|hello| {
            let make = || {
                let kind = ClientKind::of(hello, protocol, detail);
                let bytes = kind.bytes();
                (kind, bytes)
            };
            &**self.clients.look_up(|kind| client_kind(kind, hello, protocol), make)
        });
        let server = handshake.server_hello.as_deref().map(|hello| {
            let make = || {
                let kind = ServerKind::of(hello, protocol, detail);
                let bytes = kind.bytes();
                (kind, bytes)
            };
            &**self.servers.look_up(|kind| server_kind(kind, hello, protocol), make)
        });
        let request = handshake.certificate_request.as_deref().map_or("", |request| {
            let make = || {
                let members = Writer::fragment(|w| certificate_request(w, request));
                let bytes = members.len();
                (members, bytes)
            };
            self.requests.look_up(|kind| request_kind(kind, request), make).as_str()
        });
        self.last = client.as_ref().map(|client| Arc::clone(&client.kind));
        Kinds { client, server, request }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tls::{Extension, KeyShare};

    /// Few numbers, so that kinds are often the same: names, GREASE, what is unknown, what is nearly GREASE or a draft.
    fn numbers() -> impl Strategy<Value = Vec<u16>> {
        let number = prop::sample::select(vec![0x0a0a, 0x7a7a, 0xfafa, 0x0304, 0x7f1c, 29, 0, 0x1301, 0x0a1a]);
        prop::collection::vec(number, 0..3)
    }

    fn extensions(kinds: Vec<u16>) -> Vec<Extension> {
        kinds.into_iter().map(|kind| Extension { kind, body: 0..0 }).collect()
    }

    prop_compose! {
        fn client()(
            [cipher_suites, groups, supported_versions, signature_algorithms] in [numbers(), numbers(), numbers(), numbers()],
            [kinds, shares, certificate_compression] in [numbers(), numbers(), numbers()],
            [compression_methods, point_formats, psk_modes] in prop::array::uniform3(prop::collection::vec(0_u8..3, 0..2)),
            alpn in prop::collection::vec(prop::sample::select(vec![&b"h2"[..], b"\x1b[2J", b"\xff", b""]), 0..3),
            flags: [bool; 6],
        ) -> ClientHello {
            let [ssl2_format, named, early_data, encrypted_client_hello, status_request, sct] = flags;
            ClientHello {
                legacy_version: 0x0303,
                ssl2_format,
                server_name: named.then(|| b"a\0".as_slice().into()),
                early_data,
                encrypted_client_hello,
                status_request,
                signed_certificate_timestamp: sct,
                cipher_suites: cipher_suites.into(),
                groups: groups.into(),
                supported_versions: supported_versions.into(),
                signature_algorithms: signature_algorithms.into(),
                extensions: extensions(kinds).into(),
                key_shares: shares.into_iter().map(|group| KeyShare { group, public: 0..0 }).collect(),
                certificate_compression: certificate_compression.into(),
                compression_methods: compression_methods.into(),
                point_formats: point_formats.into(),
                psk_modes: psk_modes.into(),
                alpn: alpn.into_iter().map(Into::into).collect(),
                ..ClientHello::default()
            }
        }
    }

    prop_compose! {
        fn server()(
            legacy_version in prop::sample::select(vec![0x0303, 0x0002, 0x1234]),
            [suite, version, share, kinds] in [numbers(), numbers(), numbers(), numbers()],
            alpn in prop::option::of(prop::sample::select(vec![&b"h2"[..], b"\x1b[2J", b"\xff", b""])),
        ) -> ServerHello {
            ServerHello {
                legacy_version,
                cipher_suite: suite.first().copied(),
                selected_version: version.first().copied(),
                key_share: share.first().map(|group| KeyShare { group: *group, public: 0..0 }),
                extensions: extensions(kinds).into(),
                alpn: alpn.map(Into::into),
                ..ServerHello::default()
            }
        }
    }

    /// The same hello with all that its kind leaves out changed.
    fn of_same_kind(hello: &ClientHello) -> ClientHello {
        let other = |value: u16| if is_grease(value) { 0xdada } else { value };
        let mut same = hello.clone();
        for list in [
            &mut *same.cipher_suites,
            &mut *same.groups,
            &mut *same.supported_versions,
            &mut *same.signature_algorithms,
        ] {
            list.iter_mut().for_each(|value| *value = other(*value));
        }
        same.extensions.iter_mut().for_each(|extension| extension.kind = other(extension.kind));
        same.key_shares.iter_mut().for_each(|share| share.group = other(share.group));
        same.server_name = hello.server_name.as_ref().map(|_| b"other.example.com".as_slice().into());
        same.session_id = vec![1; 32].into();
        same.random = [7; 32];
        same.session_ticket = Some(0..0);
        same
    }

    proptest! {
        #[test]
        fn what_is_remembered_is_what_would_be_rendered(
            hellos in prop::collection::vec((client(), server()), 1..12),
            protocol in prop::sample::select(vec![Protocol::Tls, Protocol::Dtls, Protocol::Quic]),
            detail in prop::sample::select(vec![Detail::Full, Detail::Standard]),
        ) {
            let mut memos = KindMemos::default();
            for (client, server) in hellos {
                for client in [of_same_kind(&client), client] {
                    let fresh = (ClientKind::of(&client, protocol, detail), ServerKind::of(&server, protocol, detail));
                    let handshake = Handshake {
                        protocol,
                        client_hello: Some(Box::new(client)),
                        server_hello: Some(Box::new(server.clone())),
                        ..Handshake::default()
                    };
                    let kinds = memos.kinds(&handshake, detail);
                    prop_assert_eq!(kinds.request, "");
                    prop_assert_eq!((kinds.client, kinds.server), (Some(&fresh.0), Some(&fresh.1)));
                }
            }
        }
    }
}
