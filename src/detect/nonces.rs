//! ECDSA nonces that were used twice (CRYP-007): two signatures with one `r` under one key give the key away.

use std::collections::BTreeSet;

use sha2::Digest as _;

use super::catalogue::ECDSA_NONCE_REUSE;
use super::finding::{Cause, Finding, Point};
use super::hosts::report::{Place, client_text};
use super::memory::Memory;
use super::proof::KeyExchangeVerdict;
use super::sighting::{Sighting, note_quiet, was_quiet};
use crate::x509::signature::ecdsa_r;
use crate::x509::{Certificate, Facts, KeyKind, Sha256};

/// Signatures remembered.
const MAX_SIGNATURES: usize = 200_000;

/// The first message of each key and `r`.
#[derive(Debug)]
pub struct Nonces {
    messages: Memory<Sha256, Sha256>,
    /// Certificates whose signatures were noted.
    certificates: Memory<Sha256, ()>,
}

/// A signature that verified.
#[derive(Clone, Copy, Debug)]
struct Signed {
    key: Sha256,
    /// Hash of key and `r`.
    nonce: Sha256,
    message: Sha256,
}

impl Default for Nonces {
    fn default() -> Self {
        Self { messages: Memory::new(MAX_SIGNATURES), certificates: Memory::new(MAX_SIGNATURES) }
    }
}

impl Nonces {
    /// How many entries were forgotten.
    pub fn forgotten(&self) -> u64 {
        self.messages.forgotten()
    }

    /// Takes note of the signatures of a handshake.
    pub fn observe(&mut self, sighting: &Sighting<'_>, findings: &mut Vec<Finding>) {
        let mut told = BTreeSet::new();
        for signed in key_exchange(sighting).into_iter().chain(self.certificates(sighting)) {
            let Some(first) = self.messages.get(&signed.nonce).copied() else {
                self.messages.insert(signed.nonce, signed.message);
                continue;
            };
            if first != signed.message && told.insert(signed.key) {
                findings.push(reused(sighting, (signed, first)));
            }
        }
    }

    /// Signatures of certificates that verified along a path, each certificate once.
    fn certificates(&mut self, sighting: &Sighting<'_>) -> Vec<Signed> {
        let Some(judged) = sighting.server else { return Vec::new() };
        // What was noted stays so until it is forgotten.
        if was_quiet(&judged.quiet.nonces, self.certificates.forgotten()) {
            return Vec::new();
        }
        let mut quiet = true;
        let leaf = sighting.observation.server_chain.first().filter(|_| judged.signed_by_own_key);
        let own = leaf.map(|leaf| (leaf, leaf));
        let links = judged.report.paths.iter().flat_map(|path| {
            let verified = path.unverified.map_or(usize::MAX, |(child, _)| child);
            path.certificates.iter().zip(path.certificates.iter().skip(1)).take(verified)
        });
        let mut signatures = Vec::new();
        for (child, issuer) in own.into_iter().chain(links) {
            if !self.certificates.contains(&child.sha256) {
                self.certificates.insert(child.sha256, ());
                quiet = false;
                signatures.extend(issuer.facts.as_deref().and_then(|issuer| of_certificate(child, issuer)));
            }
        }
        if quiet {
            note_quiet(&judged.quiet.nonces, self.certificates.forgotten());
        }
        signatures
    }
}

fn reused(sighting: &Sighting<'_>, (signed, first): (Signed, Sha256)) -> Finding {
    let place = Place::of(sighting);
    let message = format!(
        "{} gave client {} a signature whose nonce another signature under the same ECDSA key has: anybody can compute \
        the private key.",
        place.host,
        client_text(place.ends.client.address)
    );
    let mut finding = place.plain(&ECDSA_NONCE_REUSE, Cause::LeafKey(signed.key), message);
    finding.certificate = sighting.observation.server_chain.first().cloned();
    finding.evidence.pro.push(Point {
        id: "nonce",
        points: 0,
        text: "SHA-256 of the two messages that were signed".to_owned(),
        observed: Some(signed.message.to_string()),
        expected: Some(first.to_string()),
    });
    finding
}

/// The signature of the ServerKeyExchange: only where it was checked and is good, since anybody can write a wrong one.
fn key_exchange(sighting: &Sighting<'_>) -> Option<Signed> {
    let observation = sighting.observation;
    if observation.key_exchange != KeyExchangeVerdict::Good {
        return None;
    }
    let handshake = &observation.handshake;
    let exchange = handshake.server_key_exchange.as_deref()?;
    let client = handshake.second_client_hello.as_deref().or(handshake.client_hello.as_deref())?;
    let server = handshake.server_hello.as_deref()?;
    let key = observation.server_chain.first()?.facts.as_deref()?;
    signed(key, &exchange.signature, &[&client.random, &server.random, &exchange.params])
}

fn of_certificate(child: &Certificate, issuer: &Facts) -> Option<Signed> {
    let facts = child.facts.as_deref()?;
    signed(issuer, &facts.signature, &[child.der.get(facts.tbs.clone())?])
}

fn signed(key: &Facts, signature: &[u8], message: &[&[u8]]) -> Option<Signed> {
    if key.key.kind != KeyKind::Ec {
        return None;
    }
    let r = ecdsa_r(signature)?;
    let hash = |parts: &[&[u8]]| {
        let mut hash = sha2::Sha256::new();
        parts.iter().for_each(|part| hash.update(part));
        Sha256(hash.finalize().into())
    };
    Some(Signed { key: key.spki_sha256, nonce: hash(&[&key.spki_sha256.0, r]), message: hash(message) })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::detect::observation::Observation;
    use crate::detect::testing::{Ca, Plan, Scene, ids, key};
    use crate::tls::ServerKeyExchange;

    /// Ecdsa-Sig-Value of small numbers.
    fn numbers(r: u8, s: u8) -> Vec<u8> {
        vec![0x30, 6, 2, 1, r, 2, 1, s]
    }

    fn show(
        scene: &mut Scene,
        rules: &mut Nonces,
        chain: &[Arc<Certificate>],
        change: &dyn Fn(&mut Observation),
    ) -> Vec<Finding> {
        let mut observation = scene.handshake("10.0.0.1", "203.0.113.10", chain);
        observation.key_exchange = KeyExchangeVerdict::Good;
        observation.handshake.server_key_exchange =
            Some(Box::new(ServerKeyExchange { signature: numbers(5, 7).into(), ..ServerKeyExchange::default() }));
        change(&mut observation);
        let mut findings = Vec::new();
        scene.with("www.example.com", &observation, |sighting| rules.observe(sighting, &mut findings));
        findings
    }

    fn signature(octets: Vec<u8>) -> impl Fn(&mut Observation) {
        move |one| one.handshake.server_key_exchange.as_mut().unwrap().signature = octets.clone().into()
    }

    #[test]
    fn one_nonce_for_two_messages() {
        let (ca, other) = (Ca::new("Root"), Ca::new("Other"));
        let chain = ca.chain(&Plan::of(&["www.example.com"]));
        let stranger = other.chain(&Plan::of(&["www.example.com"]));
        let mut scene = Scene::new(&[&ca]);
        let with = |scene: &mut Scene, chain: &[Arc<Certificate>], change: &dyn Fn(&mut Observation)| {
            let mut rules = Nonces::default();
            assert!(show(scene, &mut rules, &stranger, &|_| ()).is_empty());
            assert!(show(scene, &mut rules, &ca.chain(&Plan::of(&["a.example"])), &|_| ()).is_empty());
            assert!(show(scene, &mut rules, chain, &|_| ()).is_empty());
            show(scene, &mut rules, chain, change)
        };
        let found = with(&mut scene, &chain, &|_| ());
        assert_eq!(ids(&found), ["CRYP-007"]);
        assert_eq!(found[0].cause, Cause::LeafKey(chain[0].facts.as_ref().unwrap().spki_sha256));
        assert!(with(&mut scene, &chain, &signature(numbers(6, 7))).is_empty(), "another nonce");
        assert!(with(&mut scene, &chain, &signature(vec![0x30, 0])).is_empty(), "no numbers");
        assert!(with(&mut scene, &chain, &|one| one.key_exchange = KeyExchangeVerdict::NotChecked).is_empty());
        let mut rsa = (*chain[0]).clone();
        rsa.facts.as_mut().unwrap().key.kind = KeyKind::Rsa;
        assert!(with(&mut scene, &[Arc::new(rsa)], &|_| ()).is_empty(), "no numbers in RSA");
    }

    #[test]
    fn the_same_message_twice_is_one_signature() {
        let ca = Ca::new("Root");
        let chain = ca.chain(&Plan::of(&["www.example.com"]));
        let (mut scene, mut rules) = (Scene::new(&[&ca]), Nonces::default());
        let random = |octet: u8| {
            move |one: &mut Observation| {
                one.handshake.client_hello.as_mut().unwrap().random = [octet; 32];
                one.handshake.server_hello.as_mut().unwrap().random = [9; 32];
            }
        };
        assert!(show(&mut scene, &mut rules, &chain, &random(1)).is_empty());
        assert!(show(&mut scene, &mut rules, &chain, &random(1)).is_empty());
        assert_eq!(ids(&show(&mut scene, &mut rules, &chain, &random(2))), ["CRYP-007"]);
    }

    #[test]
    fn certificate_and_key_exchange_under_one_key() {
        let shared = Arc::new(key());
        let ca = Ca::with_key("CA", rcgen::KeyPair::try_from(shared.serialize_der()).unwrap());
        let own = ca.chain(&Plan::of(&["www.example.com"]).keyed(&shared));
        let ordinary = ca.chain(&Plan::of(&["www.example.com"]));
        for (chain, fires) in [(&own, true), (&ordinary, false)] {
            let mut scene = Scene::new(&[]);
            let certificate = chain[0].facts.as_ref().unwrap().signature.to_vec();
            let found = show(&mut scene, &mut Nonces::default(), chain, &signature(certificate));
            assert_eq!(ids(&found) == ["CRYP-007"], fires);
        }
    }
}
