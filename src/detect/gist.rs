//! What rules ask of the hellos of every handshake: made out once, where the hellos are at hand, so that judging a usual
//! handshake does not read them again.

use std::sync::Arc;

use hashbrown::Equivalent;
use smallvec::SmallVec;

use super::client_kind::ClientKind;
use super::hosts::sketch::stable_hash;
use super::memory::{Memory, seeded_hash};
use super::observation::Ends;
use super::sighting::{HostKey, may_hide_name};
use super::{keys, negotiation, rejections};
use crate::policy::has_public_suffix;
use crate::tls::server_hello::HELLO_RETRY_RANDOM;
use crate::tls::{Handshake, KeyExchange};

/// Server names whose hosts are remembered.
const NAMES: usize = 50_000;
/// Octets of a server name beyond which it is none (RFC 1035 section 2.3.4, and a trailing dot).
const NAME_LENGTH: usize = 254;
const TLS_1_3: u16 = 0x0304;

/// A pure function of a handshake and its ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gist {
    /// Which host it was with.
    pub host: Arc<KnownHost>,
    /// What kind of client it is; `None` without a ClientHello.
    pub client_kind: Option<Arc<ClientKind>>,
    /// The version that the server chose, as [`Handshake::version`] has it.
    pub version: Option<u16>,
    /// The cipher suite that it chose.
    pub cipher: Option<u16>,
    /// Hash of how it answers, as [`negotiation::stack_of`] has it.
    pub stack: Option<u64>,
    /// Hash of the client's random.
    pub client_random: Option<u64>,
    /// Hash of the server's random; `None` where it is a constant or of another kind.
    pub server_random: Option<u64>,
    /// Hash of the server's ephemeral public value, and whether its group is a finite field.
    pub ephemeral: Option<(u64, bool)>,
    /// How the client refused the certificate.
    pub refusal: Option<&'static str>,
    /// The client offers TLS 1.3.
    pub offers_tls13: bool,
    /// The client or the server signals that the version was fallen back to.
    pub fallback: bool,
    /// What the server says or chose does not go with what the client offered.
    pub odd_choice: bool,
    /// The ServerHello brings signed certificate timestamps.
    pub scts: bool,
    /// The ClientHello asks for some.
    pub scts_offered: bool,
    /// There is a ServerKeyExchange with a group of a finite field.
    pub finite_field: bool,
    /// The server chose one of the groups that are looked at for post-quantum key exchange.
    pub hybrid: bool,
}

/// A host, and what follows from its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownHost {
    /// Its identity.
    pub key: HostKey,
    /// [`stable_hash`] of its name, be it hidden or not: a client shows it to one server in both ways.
    pub name_hash: u64,
    /// [`HostKey::text`].
    pub text: Arc<str>,
    /// The public registers names under the suffix of its server name.
    pub public_suffix: bool,
    form: Form,
}

/// What the name of a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A server name.
    Server,
    /// The outer one of an encrypted ClientHello.
    Outer,
    /// An address.
    Address,
}

/// Hosts by the server name as it stood in the hello: a memo of a pure function.
#[derive(Debug)]
pub struct HostMemo {
    known: Memory<Asked, Arc<KnownHost>>,
}

/// A server name as it stood in a hello, and what else tells the host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Asked {
    name: SmallVec<[u8; 24]>,
    port: u16,
    encrypted: bool,
}

/// [`Asked`] before it is known.
#[derive(Clone, Copy, Debug, Hash)]
struct AskedFor<'a> {
    name: &'a [u8],
    port: u16,
    encrypted: bool,
}

impl Equivalent<Asked> for AskedFor<'_> {
    fn equivalent(&self, known: &Asked) -> bool {
        self.name == &*known.name && self.port == known.port && self.encrypted == known.encrypted
    }
}

impl Gist {
    /// The gist of a handshake between these ends. `client_kind`: its kind of client, where that is known.
    pub fn of(
        handshake: &Handshake,
        ends: &Ends,
        (client_kind, hosts): (Option<Arc<ClientKind>>, &mut HostMemo),
    ) -> Self {
        let offer = handshake.client_hello.as_deref();
        let hello = handshake.server_hello.as_deref();
        let fresh = |offer| Arc::new(ClientKind::of(offer, handshake.protocol));
        let kind = offer.map(|offer| client_kind.unwrap_or_else(|| fresh(offer)));
        let random = hello.filter(|hello| hello.random != HELLO_RETRY_RANDOM && !hello.ssl2_format);
        let exchange = handshake.server_key_exchange.as_deref();
        Self {
            host: hosts.host(handshake, ends),
            client_kind: kind,
            version: handshake.version(),
            cipher: hello.and_then(|hello| hello.cipher_suite),
            stack: hello.map(|hello| negotiation::stack_of(handshake, hello)),
            client_random: offer.map(|offer| seeded_hash(&offer.random)),
            server_random: random.map(|hello| seeded_hash(&hello.random)),
            ephemeral: keys::ephemeral_key(handshake).map(|(public, finite)| (seeded_hash(public), finite)),
            refusal: rejections::refusal(handshake),
            offers_tls13: offer.is_some_and(|offer| offer.supported_versions.contains(&TLS_1_3)),
            fallback: negotiation::signals_fallback(handshake),
            odd_choice: negotiation::is_odd_choice(handshake),
            scts: hello.is_some_and(|hello| hello.scts.is_some()),
            scts_offered: offer.is_some_and(|offer| offer.signed_certificate_timestamp),
            finite_field: exchange.is_some_and(|exchange| matches!(exchange.kind, KeyExchange::Dhe { .. })),
            hybrid: hello.and_then(|hello| hello.key_share.as_ref()).is_some_and(|share| is_hybrid(share.group)),
        }
    }
}

impl HostMemo {
    /// The host of a handshake, remembered or made out.
    fn host(&mut self, handshake: &Handshake, ends: &Ends) -> Arc<KnownHost> {
        let hello = handshake.client_hello.as_deref();
        let name = hello.and_then(|hello| hello.server_name.as_deref()).filter(|name| name.len() <= NAME_LENGTH);
        let port = ends.server.port;
        let encrypted = may_hide_name(handshake);
        if let Some(known) = name.and_then(|name| self.known.get(&AskedFor { name, port, encrypted })) {
            return Arc::clone(known);
        }
        let host = Arc::new(KnownHost::of(HostKey::between(handshake, ends)));
        // What is no name says nothing of the host: its address does.
        if let Some(name) = name.filter(|_| host.key.server_name().is_some()) {
            self.known.insert(Asked { name: name.into(), port, encrypted }, Arc::clone(&host));
        }
        host
    }
}

impl Default for HostMemo {
    fn default() -> Self {
        Self { known: Memory::new(NAMES) }
    }
}

impl KnownHost {
    fn of(key: HostKey) -> Self {
        let public_suffix = key.server_name().is_some_and(has_public_suffix);
        let form = match (key.server_name(), key.certain_name()) {
            (None, _) => Form::Address,
            (Some(_), None) => Form::Outer,
            (Some(_), Some(_)) => Form::Server,
        };
        let name = key.server_name().unwrap_or(&key.name);
        Self { name_hash: stable_hash(name.as_bytes()), text: key.text().into(), public_suffix, form, key }
    }

    /// See [`HostKey::server_name`]; the name itself is not read.
    pub fn server_name(&self) -> Option<&str> {
        match self.form {
            Form::Server => Some(&self.key.name),
            Form::Outer => self.key.server_name(),
            Form::Address => None,
        }
    }

    /// See [`HostKey::certain_name`]; the name itself is not read.
    pub fn certain_name(&self) -> Option<&str> {
        Some(self.key.name.as_str()).filter(|_| self.form == Form::Server)
    }
}

/// Groups of ML-KEM together with an elliptic curve (draft-ietf-tls-ecdhe-mlkem).
pub(super) fn is_hybrid(group: u16) -> bool {
    matches!(group, 0x11eb..=0x11ed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::testing::Scene;

    /// What is remembered of a name is what would be made out, whatever came before.
    #[test]
    fn remembered_hosts_are_those_that_would_be_made_out() {
        let mut scene = Scene::new(&[]);
        let mut memo = HostMemo::default();
        let long = [b'a'; 300];
        let names: [Option<&[u8]>; 9] = [
            Some(b"www.example.com"),
            Some(b"WWW.example.com"),
            Some(b"www.example.com."),
            Some(b"printer.lan"),
            Some(b"192.0.2.1"),
            Some(b"not a name"),
            Some(b""),
            Some(&long),
            None,
        ];
        for _ in 0..2 {
            for name in names {
                for (server, encrypted) in [("203.0.113.10", false), ("203.0.113.11", true), ("203.0.113.12", false)] {
                    let mut observation = scene.handshake("10.0.0.1", server, &[]);
                    let hello = observation.handshake.client_hello.as_mut().unwrap();
                    hello.server_name = name.map(Into::into);
                    hello.encrypted_client_hello = encrypted;
                    observation.handshake.server_hello.as_mut().unwrap().selected_version = Some(TLS_1_3);
                    let gist = Gist::of(&observation.handshake, &observation.ends, (None, &mut memo));
                    assert_eq!(*gist.host, KnownHost::of(HostKey::of(&observation)));
                    assert_eq!(gist.host.server_name(), gist.host.key.server_name());
                    assert_eq!(gist.host.certain_name(), gist.host.key.certain_name());
                    let fresh = Gist::of(&observation.handshake, &observation.ends, (None, &mut HostMemo::default()));
                    assert_eq!(gist, fresh);
                }
            }
        }
        assert_eq!(memo.known.len(), 8, "four names, in clear or not");
    }
}
