//! What comes later tells of what came before: the trusted certificate of a host second, a CA that did not sign after the
//! chain that claims it, the rest of a path.

use std::sync::Arc;

use super::forgery::{self, Known};
use super::hold::Held;
use super::presented::{Asked, Presented, is_of_browsers};
use super::record::{KnownCertificate, Phase, Standing};
use super::report::Place;
use super::sketch::{estimate, is_marked, stable_hash, subnet_hash};
use super::witness::{Claimed, Witness};
use super::{Hosts, bring_to_first};
use crate::detect::catalogue::{CLONED_CERTIFICATE, ISSUER_IMPERSONATION, UNEXPECTED_CERTIFICATE};
use crate::detect::finding::{Cause, Finding, Point};
use crate::detect::knowledge::Knowledge;
use crate::detect::observation::Observation;
use crate::detect::sighting::{HostKey, JudgedChain, Sighting, WaitingChain};
use crate::time::{Span, Timestamp};
use crate::x509::chain::Ending;
use crate::x509::curve;
use crate::x509::{Certificate, Sha256};

/// Names and key identifiers of CAs that became known and may have been claimed before.
const MAX_ACCUSING: usize = 4_096;
/// Chains that are asked about them for each handshake, and at the end: whose issuers they are is for a forger to choose.
pub(super) const ACCUSED_AT_ONCE: usize = 4;
pub(super) const ACCUSED_AT_END: usize = 8_192;

impl Hosts {
    /// A trusted certificate comes to a host for the first time: of what was accepted there before, what nobody trusts is
    /// judged as if it had come second.
    pub(super) fn overturn(&mut self, sighting: &Sighting<'_>, new: &Presented, findings: &mut Vec<Finding>) {
        let Some(record) = self.table.get(sighting.host).filter(|_| new.name_matches != Some(false)) else { return };
        // What many got over days does not fall by one certificate.
        let steady = record.phase(sighting.clock) != Phase::Learning;
        let doubtful = record.certificates.iter().filter(|known| !new.unasked || known.is_for(new));
        let doubtful = doubtful.filter(|known| !known.trusted).map(|known| {
            let how = forgery::copied((record, known), new, sighting).map(|copied| copied.what);
            (Sha256(known.sha256), Sha256(known.issuer), how, known.standing == Standing::Accepted && !steady)
        });
        let doubtful: Vec<_> = doubtful.filter(|(_, _, how, accepted)| *accepted || how.is_some()).collect();
        for (leaf, issuer, how, accepted) in doubtful {
            if self.is_accepted(sighting.host, &leaf) {
                continue;
            }
            if let Some(how) = how
                && let Some(held) = self.holding.get_mut(sighting.host, &leaf)
            {
                let (copies, proof) =
                    copies((&held.places, &held.new), (how, &new.leaf.sha256), held.observation.as_ref());
                let is_known = held.proofs.iter().any(|known| known.id == "P3");
                held.proofs.extend(proof.filter(|_| !is_known));
                findings.extend(copies);
                continue;
            }
            match self.witnesses.get(sighting.host, &leaf).cloned() {
                Some(witness) if how.is_some() || (accepted && could_be_served(new, &witness)) => {
                    self.judge_first(sighting, (&witness, new, how), findings);
                }
                None => findings.extend(how.map(|how| unseen_copy(sighting, new, (leaf, issuer, how)))),
                Some(_) => {}
            }
            if how.is_some() {
                self.doubt(sighting, &leaf, Standing::Suspect);
            }
        }
    }

    /// The certificate of `witness` was accepted for want of the trusted one.
    fn judge_first(
        &mut self,
        sighting: &Sighting<'_>,
        (witness, trusted, how): (&Witness, &Presented, Option<&'static str>),
        findings: &mut Vec<Finding>,
    ) {
        let mut proofs: Vec<Point> = Vec::new();
        if let Some(how) = how {
            let of = (witness.places.as_slice(), &witness.new);
            let (copies, proof) = copies(of, (how, &trusted.leaf.sha256), Some(&witness.observation));
            proofs.extend(proof);
            findings.extend(copies);
        }
        let (here, first) = (sighting.observation.ends, witness.places.first().map(|place| place.ends));
        let same = first.is_some_and(|first| {
            first.server.address == here.server.address && first.client.address != here.client.address
        });
        let held = Held::overturned(sighting, (witness, &trusted.leaf.sha256, same), proofs);
        if trusted.public {
            self.rotated = Some((trusted.leaf.sha256, "issuer_change_public"));
        }
        self.reconsider(sighting, (witness, held), findings);
    }

    /// A certificate that nobody trusts comes again, to a host that has had a trusted one since; whether it does.
    pub(super) fn returns(&mut self, sighting: &Sighting<'_>, new: &Presented, findings: &mut Vec<Finding>) -> bool {
        let Some(record) = self.table.get(sighting.host) else { return false };
        let Some(known) = record.certificate(&new.leaf.sha256) else { return false };
        let named = sighting.host.certain_name().is_some();
        let since = |one: &&KnownCertificate| {
            let later = one.first > known.first && sighting.clock.nanos() > one.first;
            let could_be_served = one.not_before <= Timestamp(known.first).seconds();
            let same_host = !new.unasked || one.is_for(new);
            one.trusted && (one.name_matches || !named) && later && could_be_served && same_host
        };
        let Some(trusted) = record.accepted().find(since) else { return false };
        let same = is_marked(&[trusted.servers], subnet_hash(sighting.observation.ends.server.address));
        // Two backends of which one is not renewed yet, or two views of one name, look like this too.
        let learning = record.phase(sighting.clock) == Phase::Learning;
        if trusted.count <= known.count || (learning && !same) {
            return false;
        }
        let Some(witness) = self.witnesses.get(sighting.host, &new.leaf.sha256).cloned() else { return false };
        if self.is_accepted(sighting.host, &new.leaf.sha256) {
            return false;
        }
        let mut held = Held::overturned(sighting, (&witness, &Sha256(trusted.sha256), same), Vec::new());
        held.returned = true;
        self.reconsider(sighting, (&witness, held), findings);
        true
    }

    /// Whether a certificate that nobody trusts came again, though most got the trusted one, from the same server. Two backends
    /// of which one is not renewed yet, or two views of one name, look alike otherwise.
    pub(super) fn is_outweighed(&self, host: &HostKey, held: &Held) -> bool {
        let Some(record) = self.table.get(host).filter(|_| held.returned) else { return false };
        let weight = |leaf: &Sha256| record.certificate(leaf).map(|known| (known.count, estimate(&known.clients)));
        let trusted = held.expected().and_then(|expected| weight(&expected));
        held.others().old_again_same_server && trusted > weight(&held.new.leaf.sha256)
    }

    /// Makes a case of a certificate that was accepted.
    fn reconsider(&mut self, sighting: &Sighting<'_>, (witness, held): (&Witness, Held), findings: &mut Vec<Finding>) {
        self.doubt(sighting, &witness.new.leaf.sha256, Standing::Held);
        let hold = sighting.policy.number(&UNEXPECTED_CERTIFICATE.known(), "hold");
        let left = if sighting.offline || hold > 0 {
            let until = sighting.clock.plus(Span::seconds(hold));
            self.holding.insert((sighting.host, &witness.observation), held, until)
        } else {
            Some(held)
        };
        if let Some(held) = left {
            self.decide((sighting.host, held), sighting.policy, findings);
        }
    }

    fn doubt(&mut self, sighting: &Sighting<'_>, leaf: &Sha256, standing: Standing) {
        let is_held = self.holding.get_mut(sighting.host, leaf).is_some();
        let standing = if is_held { Standing::Held } else { standing };
        if let Some(record) = self.table.get_mut(sighting.host) {
            record.doubt(leaf, standing);
        }
    }

    /// A CA is known from now on: whoever claimed it before, and was not signed by it, is found out.
    pub(super) fn accuse_of(&mut self, ca: &Certificate) {
        let Some(facts) = ca.facts.as_deref() else { return };
        let name = facts.subject.normalized.as_bytes();
        let point = curve::Point::of_key(&facts.key).map(|point| point.x);
        for issuer in [Some(name), facts.subject_key_identifier.as_deref(), point].into_iter().flatten() {
            let issuer = stable_hash(issuer);
            if self.witnesses.claiming(issuer, None).is_none() {
                continue;
            }
            if self.accusing.len() < MAX_ACCUSING {
                self.accusing.push_back((issuer, None));
            } else {
                self.unaccused = self.unaccused.saturating_add(1);
            }
        }
    }

    /// Asks of so many chains whether the CAs that they claim signed them.
    pub(super) fn go_on_accusing(&mut self, most: usize, findings: &mut Vec<Finding>) {
        let mut left = most;
        while left > 0
            && let Some((issuer, after)) = self.accusing.pop_front()
        {
            let Some(number) = self.witnesses.claiming(issuer, after) else { continue };
            self.accusing.push_front((issuer, Some(number)));
            self.accuse(number, findings);
            left -= 1;
        }
    }

    fn accuse(&mut self, number: u64, findings: &mut Vec<Finding>) {
        let known = Known { anchors: &self.anchors, learned: &self.learned, memo: &self.memo };
        let Some(witness) = self.witnesses.numbered(number) else { return };
        let is_open = !matches!(witness.new.ending, Ending::Anchor | Ending::AnchorUnverified);
        let claim = known.claim(&witness.observation.server_chain).filter(|_| is_open);
        let Some(claim) = claim.filter(|claim| Some(claim.by()) > witness.accused) else { return };
        let found = witness.places.iter().map(|place| claim.finding(place, &witness.new));
        let (mut found, proofs): (Vec<Finding>, Vec<Option<Point>>) = found.unzip();
        bring_to_first(Some(&witness.observation), &mut found);
        findings.extend(found);
        let (host, leaf) = (witness.host.clone(), witness.new.leaf.sha256);
        if let Some(witness) = self.witnesses.numbered_mut(number) {
            witness.accused = Some(claim.by());
        }
        let Some(proof) = proofs.into_iter().flatten().next() else { return };
        match self.holding.get_mut(&host, &leaf) {
            Some(held) => held.proofs.push(proof),
            None => {
                if let Some(record) = self.table.get_mut(&host) {
                    record.doubt(&leaf, Standing::Suspect);
                }
            }
        }
    }

    /// The next chain, after this number, that lacks an issuer of this name.
    pub(super) fn lacking(&self, issuer: &str, after: Option<u64>) -> Option<WaitingChain> {
        let number = self.witnesses.lacking(issuer, after)?;
        let witness = self.witnesses.numbered(number)?;
        Some(WaitingChain {
            number,
            observation: Arc::clone(&witness.observation),
            name: witness.host.certain_name().map(str::to_owned),
            at: witness.seconds,
        })
    }

    /// More is known of the path of a chain: it may be a trusted one, or that of a proxy that may intercept.
    pub(super) fn complete(&mut self, waiting: &WaitingChain, chain: &JudgedChain, knowledge: &Knowledge) {
        let policy = &knowledge.policy;
        let Some(witness) = self.witnesses.numbered(waiting.number) else { return };
        let (host, leaf) = (witness.host.clone(), witness.new.leaf.sha256);
        let asked = Asked { chain, presented: &waiting.observation.server_chain, host: &host, policy };
        let Some(again) = witness.new.again(&asked, &self.memo) else { return };
        let keys: Vec<Sha256> =
            if is_of_browsers(chain, knowledge) { Vec::new() } else { again.signers(chain).collect() };
        let is_authorised = |place: &Place| {
            let client = place.ends.client.address;
            keys.iter().any(|key| policy.interception_for(&key.0, client).is_some())
        };
        let others: Vec<Place> = witness.places.iter().filter(|place| !is_authorised(place)).cloned().collect();
        let mut is_over = again.is_trusted() && self.holding.get_mut(&host, &leaf).is_some_and(|held| held.overturned);
        if let Some(held) = self.holding.get_mut(&host, &leaf) {
            held.new = again.clone();
            held.places.retain(|place| !is_authorised(place));
            match held.places.first() {
                Some(first) => held.place = first.clone(),
                None => is_over = true,
            }
        }
        if is_over {
            self.holding.remove(&host, &leaf);
        }
        if let Some(record) = self.table.get_mut(&host) {
            if others.is_empty() {
                record.forget(&leaf);
            } else {
                record.judged_again(&again);
            }
            if is_over {
                record.set_standing(&again, Standing::Accepted);
            }
        }
        if others.is_empty() || again.is_trusted() {
            self.witnesses.remove(waiting.number);
        } else if let Some(witness) = self.witnesses.numbered_mut(waiting.number) {
            (witness.new, witness.places) = (again, others);
            self.witnesses.lacks(waiting.number, &chain.report);
        }
    }
}

/// What MITM-005 says among these findings.
pub(super) fn claimed(findings: &[Finding]) -> Option<Claimed> {
    let finding = findings.iter().find(|finding| finding.rule == &ISSUER_IMPERSONATION)?;
    Some(if finding.severity == ISSUER_IMPERSONATION.severity { Claimed::Key } else { Claimed::Name })
}

/// The trusted certificate was there to be served when the other one was seen: it is no newer.
fn could_be_served(trusted: &Presented, witness: &Witness) -> bool {
    witness.seconds.is_none_or(|at| trusted.not_before <= at.seconds())
}

/// MITM-004 for each client that got a copy, and the proof for its case: what it copied of which certificate.
fn copies(
    (places, copy): (&[Place], &Presented),
    named: (&str, &Sha256),
    first: Option<&Arc<Observation>>,
) -> (Vec<Finding>, Option<Point>) {
    let found = places.iter().map(|place| forgery::copy_finding(place, copy, named));
    let (mut found, mut proofs): (Vec<Finding>, Vec<Point>) = found.unzip();
    bring_to_first(first, &mut found);
    (found, proofs.pop())
}

/// MITM-004 where it is not known any more who got the copy.
fn unseen_copy(sighting: &Sighting<'_>, new: &Presented, (leaf, issuer, how): (Sha256, Sha256, &str)) -> Finding {
    let what =
        format!("a certificate from {}; one seen before, for others, copies the {how} of it", new.issuer_phrase());
    let mut finding = Place::of(sighting).finding((&CLONED_CERTIFICATE, Cause::IssuerKey(issuer)), &what, new);
    finding.evidence.proofs.push(Point {
        id: "P3",
        points: 0,
        text: format!("the same {how} under another key"),
        observed: Some(leaf.to_string()),
        expected: Some(new.leaf.sha256.to_string()),
    });
    finding
}
