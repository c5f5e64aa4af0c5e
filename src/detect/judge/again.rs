//! Chains that lack an issuer are judged again when it appears; what is said about them waits for that.

use std::sync::Arc;

use super::{Judge, settle};
use crate::detect::alerts::When;
use crate::detect::case::Case;
use crate::detect::catalogue::{Effect, UNTRUSTED_ISSUER};
use crate::detect::certificate;
use crate::detect::finding::Finding;
use crate::detect::observation::Observation;
use crate::detect::open_chains::{self, Kept, Waiting};
use crate::detect::sighting::JudgedChain;
use crate::detect::undecided;
use crate::time::{Span, Timestamp};
use crate::x509::chain::Path;
use crate::x509::judge::Purpose;

impl Judge {
    /// Keeps back the finding about a chain whose issuer was not seen.
    pub(super) fn hold(
        &mut self,
        chain: &JudgedChain,
        (case, clock): (&Case<'_>, Timestamp),
        findings: &mut Vec<Finding>,
    ) {
        let observation = case.sighting.observation;
        let until = self.waits_until(clock);
        let Some(open) = &mut self.open else { return };
        let alerts = |finding: &Finding| finding.rule == &UNTRUSTED_ISSUER && finding.effect == Effect::Alert;
        let Some(place) = findings.iter().position(alerts) else { return };
        let Some(missing) = chain.report.missing_issuer().filter(|_| until > clock) else { return };
        let mut finding = findings.remove(place);
        // It is read when the case is gone.
        certificate::waits(case, &mut finding);
        open.hold(finding, observation, ((missing, until), findings));
    }

    /// How long a finding of now waits for an issuer.
    fn waits_until(&self, clock: Timestamp) -> Timestamp {
        match self.when {
            When::AtEnd => Timestamp::MAX,
            When::AtOnce => clock.plus(Span::seconds(self.knowledge.policy.number(&UNTRUSTED_ISSUER.known(), "hold"))),
        }
    }

    /// Keeps back what an issuer that was not seen may refute.
    pub(super) fn hold_undecided(
        &mut self,
        chain: &JudgedChain,
        (observation, clock): (&Observation, Timestamp),
        findings: &mut Vec<Finding>,
    ) {
        while let Some(place) = findings.iter().position(|finding| finding.undecided.is_some()) {
            let finding = findings.remove(place);
            let until = self.waits_until(clock);
            let wait = chain.report.missing_issuer().filter(|_| self.open.is_some() && until > clock);
            let mut told = Vec::new();
            match wait {
                Some(missing) => self.undecided.hold_leaf(finding, observation, ((missing, until), &mut told)),
                None => told.push(finding),
            }
            let told = told.into_iter().filter_map(undecided::left_open);
            findings.extend(told.filter_map(|finding| self.settled(finding)));
        }
    }

    fn settled(&self, mut finding: Finding) -> Option<Finding> {
        settle(&mut finding, &self.knowledge.policy).then_some(finding)
    }

    /// Judges chains again that findings of pins and allowed issuers wait for.
    pub(super) fn decide_again(&mut self, waiting: Vec<Waiting>, over: bool) -> Vec<Finding> {
        let mut told = Vec::new();
        for (id, presented) in waiting {
            let Some(judged) = self.judged(&presented, (None, None), Purpose::Server) else { continue };
            let chain = judged.chain;
            let knowledge = Arc::clone(&self.knowledge);
            self.undecided.forget(&id, |finding| undecided::is_refuted(finding, &chain, &knowledge.policy));
            if let Some(missing) = chain.report.missing_issuer().filter(|_| !over) {
                self.undecided.set_missing(&id, missing);
                continue;
            }
            let kept = self.undecided.take(&id).into_iter();
            let decided = kept.filter_map(|finding| undecided::told(*finding, &chain));
            told.extend(decided.filter_map(|finding| self.settled(finding)));
        }
        told.sort_by_cached_key(open_chains::order);
        told
    }

    /// Judges chains again: of those that are trusted now nothing is told, of those that are still open only when their
    /// time is over.
    pub(super) fn judge_again(&mut self, waiting: Vec<Waiting>, over: bool) -> Kept {
        if waiting.is_empty() {
            return Kept::new();
        }
        let mut told = Kept::new();
        for (id, presented) in waiting {
            let judged = self.judged(&presented, (None, None), Purpose::Server).map(|judged| judged.chain);
            let Some(open) = &mut self.open else { break };
            let Some(judged) = judged else { continue };
            if let Some(missing) = judged.report.missing_issuer().filter(|_| !over) {
                open.set_missing(&id, missing);
                continue;
            }
            let mut findings = open.take(&id);
            let Some(cause) = judged.cause() else { continue };
            let policy = &self.knowledge.policy;
            let path = judged.report.paths.first().map(Path::vouched).unwrap_or_default();
            let keys = || path.iter().filter_map(|one| Some(one.facts.as_deref()?.spki_sha256.0));
            let is_ours = |finding: &Finding| {
                let client = finding.ends.map(|ends| ends.client.address);
                keys().any(|key| {
                    policy.internal_ca_for(&key).is_some()
                        || client.is_some_and(|client| policy.interception_for(&key, client).is_some())
                })
            };
            findings.retain_mut(|finding| {
                certificate::retell(finding, &cause, &judged);
                !is_ours(finding)
            });
            told.append(&mut findings);
        }
        told.sort_by_key(|finding| open_chains::order(finding));
        told
    }
}
