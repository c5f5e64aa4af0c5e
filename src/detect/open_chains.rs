//! Findings about chains whose issuer was not seen (CERT-005, and where the policy may allow that issuer MITM-001 and
//! POL-001), held until it appears or the time is over: what is told as it happens cannot be taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::finding::{AlertId, Cause, Finding};
use super::hosts::sketch::stable_hash;
use super::memory::Memory;
use super::observation::Observation;
use crate::time::{Order, Timestamp};
use crate::x509::Certificate;

/// Findings held of all chains; beyond, they are told at once.
const MAX_FINDINGS: usize = 8_192;
/// Findings held of one cause; beyond, all of them are told.
const MAX_OF_ONE: usize = 256;
/// Causes whose ids are remembered.
const MAX_IDS: usize = 1_024;
/// Bytes of the handshakes that are held with them, one of each cause.
const MAX_BYTES: usize = 16 << 20;

/// The findings that are held.
#[derive(Debug)]
pub(super) struct OpenChains {
    chains: BTreeMap<AlertId, Open>,
    /// Hashes of the names of the issuers that are missing.
    missing: BTreeSet<(u64, AlertId)>,
    /// Ids of causes that were held.
    ids: Memory<Cause, AlertId>,
    findings: usize,
    bytes: usize,
    /// No chain is due before; `None` without chains.
    next: Option<Timestamp>,
}

/// A chain that waits for its issuer.
#[derive(Debug)]
struct Open {
    presented: Vec<Arc<Certificate>>,
    /// Hash of the normalised name of the issuer that is missing.
    missing: u64,
    until: Timestamp,
    findings: Kept,
}

/// Findings that are held: lists of them grow and are sorted, and a finding is large.
pub(super) type Kept = Vec<Box<Finding>>;

/// A chain whose findings are to be judged again: its cause, and the chain as it was presented.
pub(super) type Waiting = (AlertId, Vec<Arc<Certificate>>);

impl Default for OpenChains {
    fn default() -> Self {
        Self {
            chains: BTreeMap::new(),
            missing: BTreeSet::new(),
            ids: Memory::new(MAX_IDS),
            findings: 0,
            bytes: 0,
            next: None,
        }
    }
}

impl OpenChains {
    /// Holds a finding until its issuer appears or the clock says `until`. Adds what is to be told at once for want of room
    /// to `told`.
    pub(super) fn hold(
        &mut self,
        finding: Finding,
        observation: &Observation,
        (wait, told): ((&str, Timestamp), &mut Vec<Finding>),
    ) {
        let (id, _) = self.ids.entry(&finding.cause, || finding.cause.alert_id());
        let id = id.copied().unwrap_or_else(|| finding.cause.alert_id());
        self.hold_as(id, (finding, observation), (wait, told));
    }

    /// [`hold`](Self::hold), but with the leaf alone: who forges one may claim the issuer of another.
    pub(super) fn hold_leaf(
        &mut self,
        finding: Finding,
        observation: &Observation,
        (wait, told): ((&str, Timestamp), &mut Vec<Finding>),
    ) {
        let leaf = observation.server_chain.first().and_then(|leaf| leaf.sha256.0.first_chunk().copied());
        self.hold_as(AlertId(leaf.unwrap_or_default()), (finding, observation), (wait, told));
    }

    fn hold_as(
        &mut self,
        id: AlertId,
        (mut finding, observation): (Finding, &Observation),
        ((missing, until), told): ((&str, Timestamp), &mut Vec<Finding>),
    ) {
        let known = self.chains.get(&id).map_or(0, |open| open.findings.len());
        if self.findings >= MAX_FINDINGS || known >= MAX_OF_ONE {
            told.extend(self.take(&id).into_iter().map(|kept| *kept).chain([finding]));
            return;
        }
        if known == 0 {
            let weight = observation.weight();
            if self.bytes.saturating_add(weight) <= MAX_BYTES {
                self.bytes += weight;
                finding.observation = Some(observation.kept());
            }
        }
        let open = self.chains.entry(id).or_insert_with(|| {
            let missing = stable_hash(missing.as_bytes());
            self.missing.insert((missing, id));
            Open { presented: observation.server_chain.clone(), missing, until, findings: Kept::new() }
        });
        open.findings.push(Box::new(finding));
        self.findings += 1;
        self.next = Some(self.next.map_or(open.until, |next| next.min(open.until)));
    }

    /// The next chain, after this one, that waits for an issuer of this name (normalised).
    pub(super) fn next_waiting(&self, issuer: &str, after: Option<AlertId>) -> Option<Waiting> {
        let hash = stable_hash(issuer.as_bytes());
        let from = after.map_or(Bound::Included((hash, AlertId([0; 16]))), |after| Bound::Excluded((hash, after)));
        let (_, id) = self.missing.range((from, Bound::Unbounded)).next().filter(|(name, _)| *name == hash)?;
        self.chains.get(id).map(|open| (*id, open.presented.clone()))
    }

    /// Chains that waited long enough.
    pub(super) fn due(&mut self, clock: Timestamp) -> Vec<Waiting> {
        if self.next.is_none_or(|next| clock < next) {
            return Vec::new();
        }
        let due = self.chains.iter().filter(|(_, open)| open.until <= clock);
        let due = due.map(|(id, open)| (*id, open.presented.clone())).collect();
        self.next = self.chains.values().map(|open| open.until).filter(|until| *until > clock).min();
        due
    }

    /// All chains.
    pub(super) fn all(&self) -> Vec<Waiting> {
        self.chains.iter().map(|(id, open)| (*id, open.presented.clone())).collect()
    }

    /// The chain waits for another issuer now.
    pub(super) fn set_missing(&mut self, id: &AlertId, missing: &str) {
        if let Some(open) = self.chains.get_mut(id) {
            self.missing.remove(&(open.missing, *id));
            open.missing = stable_hash(missing.as_bytes());
            self.missing.insert((open.missing, *id));
        }
    }

    /// Forgets findings of a chain.
    pub(super) fn forget(&mut self, id: &AlertId, over: impl Fn(&Finding) -> bool) {
        let Some(open) = self.chains.get_mut(id) else { return };
        let findings = std::mem::take(&mut open.findings).into_iter();
        let (gone, kept): (Kept, Kept) = findings.partition(|one| over(one));
        open.findings = kept;
        self.findings = self.findings.saturating_sub(gone.len());
        self.bytes = self.bytes.saturating_sub(bytes(&gone));
        if open.findings.is_empty() {
            self.missing.remove(&(open.missing, *id));
            self.chains.remove(id);
        }
    }

    /// Takes the findings of a chain out, in order of the capture.
    pub(super) fn take(&mut self, id: &AlertId) -> Kept {
        let Some(open) = self.chains.remove(id) else { return Vec::new() };
        self.missing.remove(&(open.missing, *id));
        let mut findings = open.findings;
        self.findings = self.findings.saturating_sub(findings.len());
        self.bytes = self.bytes.saturating_sub(bytes(&findings));
        findings.sort_by_key(|one| order(one));
        findings
    }
}

/// Bytes of the handshakes that findings hold.
fn bytes(findings: &Kept) -> usize {
    findings.iter().filter_map(|one| one.observation.as_deref()).map(Observation::weight).sum()
}

/// Place of a finding in the capture.
pub(super) fn order(finding: &Finding) -> Order {
    finding.moment.order
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::UNTRUSTED_ISSUER;
    use super::super::finding::Cause;
    use super::super::testing::Scene;
    use super::*;
    use crate::x509::Sha256;

    fn hold(open: &mut OpenChains, cause: u16, missing: &str) -> Vec<Finding> {
        let observation = Scene::new(&[]).handshake("10.0.0.1", "10.9.0.9", &[]);
        let mut key = [0; 32];
        key[..2].copy_from_slice(&cause.to_be_bytes());
        let moment = observation.handshake.first;
        let finding = Finding::new(&UNTRUSTED_ISSUER, Cause::IssuerKey(Sha256(key)), moment, String::new());
        let mut told = Vec::new();
        open.hold(finding, &observation, ((missing, Timestamp::new(i64::from(cause), 0)), &mut told));
        told
    }

    /// How many chains wait for an issuer of this name.
    fn waiting(open: &OpenChains, name: &str) -> usize {
        let next = |after: &Option<Waiting>| open.next_waiting(name, after.as_ref().map(|(id, _)| *id)).map(Some);
        std::iter::successors(next(&None), next).count()
    }

    #[test]
    fn time_names_and_room() {
        let mut open = OpenChains::default();
        for cause in [10, 20, 20, 30] {
            assert!(hold(&mut open, cause, if cause == 20 { "b" } else { "a" }).is_empty());
        }
        assert_eq!([waiting(&open, "a"), waiting(&open, "b"), waiting(&open, "c")], [2, 1, 0]);
        let moved = open.next_waiting("b", None).unwrap().0;
        open.set_missing(&moved, "c");
        assert_eq!([waiting(&open, "a"), waiting(&open, "b"), waiting(&open, "c")], [2, 0, 1]);
        assert_eq!(open.due(Timestamp::new(9, 0)).len(), 0);
        let due = open.due(Timestamp::new(20, 0));
        assert_eq!(due.len(), 2);
        let told: Vec<usize> = due.iter().map(|(id, _)| open.take(id).len()).collect();
        assert_eq!(told.iter().sum::<usize>(), 3);
        assert_eq!(open.due(Timestamp::new(29, 0)).len(), 0);
        let last = open.due(Timestamp::new(30, 0));
        assert_eq!(open.take(&last[0].0).iter().filter(|one| one.observation.is_some()).count(), 1);
        assert_eq!((open.findings, open.bytes, open.all().len(), open.missing.len()), (0, 0, 0, 0));
    }

    #[test]
    fn too_much_is_told() {
        let mut open = OpenChains::default();
        let told: Vec<usize> = (0..=MAX_OF_ONE).map(|_| hold(&mut open, 1, "a").len()).collect();
        assert_eq!((told[MAX_OF_ONE - 1], told[MAX_OF_ONE]), (0, MAX_OF_ONE + 1));
        let told = (0..9_000).map(|cause| hold(&mut open, cause, "a").len()).sum::<usize>();
        assert_eq!((told, open.findings), (9_000 - MAX_FINDINGS, MAX_FINDINGS));
        assert!(open.bytes <= MAX_BYTES);
        assert_eq!(waiting(&open, "a"), open.chains.len());
    }
}
