//! First sights of chains that nobody trusts: where they were seen, in case they are to be judged again.
//!
//! What comes later may show that the first one was forged: the trusted certificate of the host, a CA that did not sign,
//! the CA of a proxy that may intercept. Then the clients that got it are told, not those that brought it to light.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::presented::Presented;
use super::report::Place;
use super::sketch::stable_hash;
use crate::detect::observation::Observation;
use crate::detect::sighting::{HostKey, Sighting};
use crate::time::{Timestamp, ValidityTime};
use crate::x509::Sha256;
use crate::x509::chain::{ChainReport, Ending};
use crate::x509::curve;

/// Chains remembered.
const MAX_WITNESSES: usize = 4_096;
/// Bytes of their first handshakes, certificates included.
const MAX_BYTES: usize = 16 << 20;
/// Clients remembered of one.
const MAX_PLACES: usize = 16;
/// Certificates of a chain whose issuers are looked for.
const MAX_ISSUERS: usize = 8;

/// A chain that nobody trusts, at a host.
#[derive(Clone, Debug)]
pub struct Witness {
    /// The host.
    pub host: HostKey,
    /// The chain.
    pub new: Presented,
    /// The first sight with each client.
    pub places: Vec<Place>,
    /// The capture's clock at the first.
    pub at: Timestamp,
    /// Packet time, where it is known.
    pub seconds: Option<ValidityTime>,
    /// The first handshake.
    pub observation: Arc<Observation>,
    /// What it was accused of by MITM-005; `None` of nothing.
    pub accused: Option<Claimed>,
    weight: usize,
    /// Hashes of the names of issuers that it lacks.
    lacks: Vec<u64>,
}

/// By what a chain names an issuer that did not sign it; the graver the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claimed {
    /// Its name.
    Name,
    /// The identifier of its key.
    Key,
}

/// What is remembered of such chains; the oldest leaves.
#[derive(Debug, Default)]
pub struct Witnesses {
    list: BTreeMap<u64, Witness>,
    hosts: HashMap<HostKey, Vec<(Sha256, u64)>, RandomState>,
    /// Hashes of the names and of the key identifiers that their certificates give as issuers, and of points on curves of
    /// their own.
    issuers: BTreeSet<(u64, u64)>,
    /// Hashes of the names of issuers that they lack.
    lacking: BTreeSet<(u64, u64)>,
    next: u64,
    bytes: usize,
    forgotten: u64,
}

impl Witnesses {
    /// How many were forgotten.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Takes note of a handshake, and what its chain is accused of by MITM-005.
    pub fn note(&mut self, sighting: &Sighting<'_>, (new, accused): (&Presented, Option<Claimed>)) {
        if let Some(known) = self.find(sighting.host, &new.leaf.sha256).and_then(|id| self.list.get_mut(&id)) {
            let client = sighting.observation.ends.client.address;
            let full = known.places.len() >= MAX_PLACES;
            known.accused = known.accused.max(accused);
            if !full && known.places.iter().all(|place| place.ends.client.address != client) {
                known.places.push(Place::of(sighting));
            }
            return;
        }
        let observation = sighting.observation.kept();
        let weight = observation.weight();
        let (id, host) = (self.next, sighting.host.clone());
        self.next = self.next.saturating_add(1);
        self.issuers.extend(issuers(&observation).map(|issuer| (issuer, id)));
        self.hosts.entry(host.clone()).or_default().push((new.leaf.sha256, id));
        let place = Place::of(sighting);
        let (at, seconds) = (sighting.clock, sighting.at);
        self.bytes = self.bytes.saturating_add(weight);
        let new = new.clone();
        let witness =
            Witness { host, new, places: vec![place], at, seconds, observation, accused, weight, lacks: Vec::new() };
        self.list.insert(id, witness);
        if let Some(chain) = sighting.server {
            self.lacks(id, &chain.report);
        }
        while self.list.len() > MAX_WITNESSES || self.bytes > MAX_BYTES {
            let Some(oldest) = self.list.keys().next().copied() else { break };
            self.remove(oldest);
            self.forgotten = self.forgotten.saturating_add(1);
        }
    }

    /// What is known of a certificate at a host.
    pub fn get(&self, host: &HostKey, leaf: &Sha256) -> Option<&Witness> {
        self.list.get(&self.find(host, leaf)?)
    }

    /// By its number.
    pub fn numbered(&self, id: u64) -> Option<&Witness> {
        self.list.get(&id)
    }

    /// By its number, to change it.
    pub fn numbered_mut(&mut self, id: u64) -> Option<&mut Witness> {
        self.list.get_mut(&id)
    }

    /// The chain with the least number above `after` with a certificate of an issuer whose name (normalised), key
    /// identifier or public point (x) has this hash.
    pub fn claiming(&self, issuer: u64, after: Option<u64>) -> Option<u64> {
        next(&self.issuers, issuer, after)
    }

    /// The chain with the least number above `after` that lacks an issuer of this name (normalised).
    pub fn lacking(&self, issuer: &str, after: Option<u64>) -> Option<u64> {
        next(&self.lacking, stable_hash(issuer.as_bytes()), after)
    }

    /// This is known of the path of a chain.
    pub fn lacks(&mut self, id: u64, report: &ChainReport) {
        let Some(witness) = self.list.get_mut(&id) else { return };
        let is_open = report.ending() == Ending::Incomplete;
        let missing = report.missing_issuers().filter(|_| is_open).take(MAX_ISSUERS);
        let lacks: Vec<u64> = missing.map(|issuer| stable_hash(issuer.as_bytes())).collect();
        for gone in &witness.lacks {
            self.lacking.remove(&(*gone, id));
        }
        self.lacking.extend(lacks.iter().map(|issuer| (*issuer, id)));
        witness.lacks = lacks;
    }

    /// Forgets one.
    pub fn remove(&mut self, id: u64) {
        let Some(gone) = self.list.remove(&id) else { return };
        self.bytes = self.bytes.saturating_sub(gone.weight);
        issuers(&gone.observation).for_each(|issuer| {
            self.issuers.remove(&(issuer, id));
        });
        for issuer in &gone.lacks {
            self.lacking.remove(&(*issuer, id));
        }
        if let Some(known) = self.hosts.get_mut(&gone.host) {
            known.retain(|(_, other)| *other != id);
            if known.is_empty() {
                self.hosts.remove(&gone.host);
            }
        }
    }

    fn find(&self, host: &HostKey, leaf: &Sha256) -> Option<u64> {
        self.hosts.get(host)?.iter().find(|(known, _)| known == leaf).map(|(_, id)| *id)
    }
}

/// The least number above `after` that stands with this hash.
fn next(set: &BTreeSet<(u64, u64)>, hash: u64, after: Option<u64>) -> Option<u64> {
    let from = after.map_or(Some(0), |after| after.checked_add(1))?;
    set.range((hash, from)..=(hash, u64::MAX)).next().map(|(_, id)| *id)
}

/// Hashes of what a chain says of its issuers, and of public points that it may have taken from others.
fn issuers(observation: &Observation) -> impl Iterator<Item = u64> {
    let chain = observation.server_chain.iter().take(MAX_ISSUERS).filter_map(|one| one.facts.as_deref());
    chain.flat_map(|facts| {
        let key = facts.authority_key_identifier.as_deref().map(stable_hash);
        let point = curve::Point::of_key(&facts.key).filter(|_| curve::is_explicit(facts));
        let point = point.map(|point| stable_hash(point.x));
        [Some(stable_hash(facts.issuer.normalized.as_bytes())), key, point].into_iter().flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::testing::{Ca, Plan, Scene};
    use crate::x509::chain::SignatureMemo;

    #[test]
    fn a_flood_of_chains_pushes_out_the_oldest() {
        let (ca, mut scene, mut witnesses) = (Ca::new("CA"), Scene::new(&[]), Witnesses::default());
        let chain = ca.chain(&Plan::of(&["www.example.com"]));
        let count = u64::try_from(MAX_WITNESSES).unwrap() + 10;
        for host in 0..count {
            for client in ["10.0.0.1", "10.0.0.2", "10.0.0.1"] {
                let observation = scene.handshake(client, "203.0.113.10", &chain);
                scene.with(&format!("h{host}.example.com"), &observation, |sighting| {
                    let new = Presented::of(sighting, &SignatureMemo::new(1 << 12)).unwrap();
                    witnesses.note(sighting, (&new, None));
                });
            }
        }
        assert!(witnesses.list.len() <= MAX_WITNESSES && witnesses.bytes <= MAX_BYTES);
        assert_eq!(witnesses.forgotten() + u64::try_from(witnesses.list.len()).unwrap(), count);
        assert!(witnesses.list.values().all(|witness| witness.places.len() == 2));
        let name = &ca.certificate.facts.as_ref().unwrap().subject.normalized;
        let claiming = |after: Option<u64>| witnesses.claiming(stable_hash(name.as_bytes()), after);
        let all = std::iter::successors(claiming(None), |after| claiming(Some(*after)));
        assert_eq!(all.count(), witnesses.list.len());
        let ids: Vec<u64> = witnesses.list.keys().copied().collect();
        ids.into_iter().for_each(|id| witnesses.remove(id));
        assert_eq!((witnesses.bytes, witnesses.hosts.len(), witnesses.issuers.len()), (0, 0, 0));
        assert!(witnesses.lacking.is_empty());
    }
}
