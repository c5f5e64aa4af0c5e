//! RSA keys that share a prime (KEY-007): gathered during the run, compared at its end.

use super::{Judge, MODULUS_BYTES, note_quiet, was_quiet};
use crate::detect::case::Case;
use crate::detect::catalogue::RSA_SHARED_FACTOR;
use crate::detect::finding::{Cause, Finding, Point};
use crate::detect::weak_rsa;
use crate::x509::{Certificate, Facts};

impl Judge {
    /// Remembers an RSA key for the test at the end.
    pub(super) fn note_modulus(&mut self, case: &Case<'_>) {
        let Some(quiet) = case.sighting.server.map(|chain| &chain.quiet.moduli) else { return };
        if was_quiet(quiet, self.moduli.forgotten()) {
            return;
        }
        let known = |facts: &Facts| facts.key.modulus.is_empty() || self.moduli.contains(&facts.spki_sha256);
        // The finding holds the certificate.
        let usual = |leaf: &Certificate| leaf.weight() <= MODULUS_BYTES;
        let Some((_, facts)) = case.leaf().filter(|(leaf, facts)| usual(leaf) && !known(facts)) else {
            note_quiet(quiet, self.moduli.forgotten());
            return;
        };
        let message =
            format!("{} has an RSA key that shares a prime with another: both are broken.", case.sighting.host);
        let mut finding = case.leaf_finding(&RSA_SHARED_FACTOR, &[], message);
        finding.cause = Cause::LeafKey(facts.spki_sha256);
        self.moduli.insert(facts.spki_sha256, finding);
    }

    /// KEY-007.
    pub(super) fn shared_factors(&self) -> Vec<Finding> {
        let findings: Vec<&Finding> = self.moduli.iter().map(|(_, finding)| finding).collect();
        let modulus = |finding: &Finding| {
            let facts = finding.certificate.as_ref().and_then(|certificate| certificate.facts.as_deref());
            facts.map(|facts| facts.key.modulus.clone()).unwrap_or_default()
        };
        let moduli: Vec<Box<[u8]>> = findings.iter().map(|finding| modulus(finding)).collect();
        let moduli: Vec<&[u8]> = moduli.iter().map(|modulus| &**modulus).collect();
        let guilty = weak_rsa::shared_factors(&moduli);
        let partners = weak_rsa::partners(&moduli, &guilty);
        let told = guilty.iter().zip(partners).filter_map(|(place, partners)| {
            let mut finding = (*findings.get(*place)?).clone();
            let key = |other: &Finding| other.evidence.observed.as_ref().map(|seen| seen.spki.to_string());
            let others = partners.iter().filter_map(|other| findings.get(*other).copied());
            finding.evidence.proofs = others
                .map(|other| {
                    let text = format!("its modulus and that of {} have a prime in common", other.host);
                    Point::new("factor", text).observed(key(other).unwrap_or_default())
                })
                .collect();
            if finding.evidence.proofs.is_empty() {
                let others = guilty.len().saturating_sub(1);
                let text = format!("its modulus has a prime in common with one of {others} other broken keys");
                finding.evidence.proofs.push(Point::new("factor", text));
            }
            Some(finding)
        });
        told.collect()
    }
}
