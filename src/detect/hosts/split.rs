//! Some clients get another certificate from the same server than the others (MITM-008).

use super::key_choice::is_rsa;
use super::presented::Presented;
use super::record::{HostRecord, KnownCertificate, NameSet, Standing};
use super::report::Place;
use super::sketch::estimate;
use crate::detect::catalogue::{Effect, SPLIT_VIEW, Severity};
use crate::detect::finding::{Cause, Finding, Point};
use crate::detect::sighting::Sighting;
use crate::policy::Policy;
use crate::time::{NANOS_PER_SECOND, Timestamp};
use crate::x509::Sha256;

/// Clients of the majority, at least.
const MAJORITY_CLIENTS: u32 = 3;
/// Its handshakes, at least.
const MAJORITY_HANDSHAKES: u32 = 10;
/// Subnets of the minority, at most.
const MINORITY_SUBNETS: u32 = 2;

/// What the majority gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitView {
    /// Its certificate.
    pub majority: Sha256,
    /// Its clients.
    pub clients: u32,
    /// Its handshakes.
    pub handshakes: u32,
    /// Both paths are public.
    pub public: bool,
    /// Both certificates are for the same names.
    pub same_names: bool,
    /// The minority's is trusted, the majority's is not.
    pub better: bool,
}

/// A finding where this handshake belongs to the minority.
pub fn observe(sighting: &Sighting<'_>, new: &Presented, record: &HostRecord) -> Option<Finding> {
    let view = view(record, new, (sighting.clock, sighting.policy))?;
    Some(view.finding(&Place::of(sighting), new))
}

/// What the majority gets, where the clients of `new` are a minority that falls apart cleanly.
pub fn view(record: &HostRecord, new: &Presented, (at, policy): (Timestamp, &Policy)) -> Option<SplitView> {
    if record.certificates.len() < 2 || new.authorised.is_some() {
        return None;
    }
    let window = policy.number(&SPLIT_VIEW.known(), "window").saturating_mul(NANOS_PER_SECOND);
    let minority = record.certificate(&new.leaf.sha256)?;
    let few = minority.lately(at);
    if few.count == 0 || estimate(&[few.subnets]) > MINORITY_SUBNETS {
        return None;
    }
    record.certificates.iter().find_map(|majority| {
        let many = majority.lately(at);
        let clients = estimate(&many.clients);
        let enough = clients >= MAJORITY_CLIENTS
            && many.count >= MAJORITY_HANDSHAKES
            && (many.count, clients) > (few.count, estimate(&few.clients));
        let apart = many.clients.iter().zip(few.clients).all(|(left, right)| left & right == 0);
        // A later capture may have been read before.
        let last = |known: &KnownCertificate| known.last.min(at.nanos());
        let near = last(majority).abs_diff(last(minority)) <= window.unsigned_abs();
        // What was not seen again since the other came was replaced by it.
        let both = majority.last > minority.first;
        let same_host = !new.unasked || majority.is_for(new);
        // Who is trusted does not split off from what is in doubt.
        let sound = majority.trusted || majority.standing == Standing::Accepted || !new.is_trusted();
        (enough && apart && near && both && same_host && sound && is_comparable(majority, minority, new)).then(|| {
            SplitView {
                majority: Sha256(majority.sha256),
                clients,
                handshakes: many.count,
                public: majority.public && new.public,
                same_names: majority.names == NameSet::of(&new.name_hashes()),
                better: new.is_trusted() && !majority.trusted,
            }
        })
    })
}

/// Of different issuers, by the same server, to the same kind of client or with the same kind of key.
fn is_comparable(majority: &KnownCertificate, minority: &KnownCertificate, new: &Presented) -> bool {
    let same_kind = majority.rsa == is_rsa(new.kind);
    majority.issuer != minority.issuer
        && majority.servers & minority.servers != 0
        && (same_kind || majority.shapes & minority.shapes != 0)
}

impl SplitView {
    /// For a client of the minority.
    pub fn finding(&self, place: &Place, new: &Presented) -> Finding {
        let cause = if new.is_trusted() {
            Cause::Subject { rule: SPLIT_VIEW.id, host: place.host.clone(), parts: std::sync::Arc::default() }
        } else {
            new.cause()
        };
        let (trusted, untrusted) = if self.better { (" that is trusted", ", which is not") } else { ("", "") };
        let what = format!(
            "a certificate{trusted} from {} while {} clients got another one from the same server{untrusted}",
            new.issuer_phrase(),
            self.clients
        );
        let mut finding = place.finding((&SPLIT_VIEW, cause), &what, new);
        if self.public {
            finding.severity = Severity::Medium;
        }
        if self.public && self.same_names {
            finding.effect = Effect::Mark;
        }
        finding.evidence.observed = Some(new.seen());
        finding.evidence.pro.push(Point {
            id: "view",
            points: 0,
            text: format!(
                "{} clients got the other one in {} handshakes, none of them this one",
                self.clients, self.handshakes
            ),
            observed: Some(new.leaf.sha256.to_string()),
            expected: Some(self.majority.to_string()),
        });
        if self.better {
            let text = "it leads to a trust anchor, the other one to none: it need not be the strange one".to_owned();
            finding.evidence.contra.push(Point { id: "B12", text, ..Point::default() });
            let step = "Compare both with the server's own certificate: who is intercepted may be the many.";
            finding.evidence.next_steps.push(step.to_owned());
        }
        finding
    }
}
