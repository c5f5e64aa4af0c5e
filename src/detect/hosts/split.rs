//! Some clients get another certificate from the same server than the others (MITM-008).

use super::key_choice::is_rsa;
use super::presented::Presented;
use super::record::{HostRecord, KnownCertificate, NameSet, Standing};
use super::report::Place;
use super::sketch::{about, estimate};
use super::views::{Apart, MINORITY_SUBNETS, Views};
use crate::detect::catalogue::{Effect, SPLIT_VIEW, Severity};
use crate::detect::finding::{Cause, Finding, Point};
use crate::detect::sighting::{HostKey, Sighting};
use crate::policy::Policy;
use crate::time::{NANOS_PER_SECOND, Timestamp};
use crate::x509::Sha256;

/// Clients of the majority, at least.
const MAJORITY_CLIENTS: u32 = 3;
/// Its handshakes, at least.
const MAJORITY_HANDSHAKES: u32 = 10;
/// Subnets that a certificate may have been in at any time, so that it is a minority's.
const WIDE: u32 = 8;

/// What the majority gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitView {
    /// Its certificate.
    pub majority: Sha256,
    /// Its clients, about.
    pub clients: u32,
    /// They were counted, not guessed from the sketch.
    pub counted: bool,
    /// Its handshakes.
    pub handshakes: u32,
    /// Both paths are public.
    pub public: bool,
    /// Both certificates are for the same names.
    pub same_names: bool,
    /// The minority's is trusted, the majority's is not.
    pub better: bool,
}

/// Where the clients of two certificates are asked about: the host, the views, the time and what the owner wants.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The host.
    pub host: &'a HostKey,
    /// Hash of its name.
    pub name_hash: u64,
    /// Who gets what.
    pub views: &'a Views,
    /// Now.
    pub at: Timestamp,
    /// The settings.
    pub policy: &'a Policy,
}

impl<'a> Scope<'a> {
    /// Of a handshake.
    pub fn of(sighting: &Sighting<'a>, views: &'a Views) -> Self {
        let (host, name_hash) = (sighting.host, sighting.name_hash);
        Self { host, name_hash, views, at: sighting.clock, policy: sighting.policy }
    }

    /// What the majority gets, where the clients of `new` are a minority that falls apart cleanly.
    ///
    /// # Errors
    /// Where more clients of the majority will tell whether they do.
    pub fn split(&self, record: &HostRecord, new: &Presented) -> Result<Option<SplitView>, TooEarly> {
        let Some(minority) = record.certificate(&new.leaf.sha256) else { return Ok(None) };
        if record.certificates.len() < 2 || new.authorised.is_some() {
            return Ok(None);
        }
        let few = minority.lately(self.at);
        if few.count == 0 || usize::try_from(estimate(&[few.subnets])).is_ok_and(|subnets| subnets > MINORITY_SUBNETS) {
            return Ok(None);
        }
        let mut early = false;
        for majority in &record.certificates {
            let better = new.is_trusted() && !majority.trusted;
            // What was all over the place is the server's own.
            let wide = estimate(&[minority.subnets]) > WIDE && !better;
            if wide || !self.is_majority((majority, minority), new) {
                continue;
            }
            let (clients, counted) = self.views.clients(self.name_hash, majority, self.at);
            // No roll-out begins with a certificate that nobody trusts: what falls apart need not be waited for.
            let lost = majority.trusted && !new.is_trusted();
            let replaced = majority.last <= minority.first;
            match self.views.apart(self.host, (minority, majority), (clients, lost, self.at)) {
                Apart::No => {}
                Apart::NotYet => early = true,
                // What was not seen again since the other came was replaced by it.
                Apart::Yes if replaced => early |= lost,
                Apart::Yes => {
                    return Ok(Some(SplitView {
                        majority: Sha256(majority.sha256),
                        clients,
                        counted,
                        handshakes: majority.lately(self.at).count,
                        public: majority.public && new.public,
                        same_names: majority.names == NameSet::of(&new.name_hashes()),
                        better,
                    }));
                }
            }
        }
        if early { Err(TooEarly) } else { Ok(None) }
    }

    /// Whether one has so many clients more than the other, at the same time, and may be compared with it.
    fn is_majority(&self, (majority, minority): (&KnownCertificate, &KnownCertificate), new: &Presented) -> bool {
        if majority.issuer == minority.issuer {
            return false;
        }
        let window = self.policy.number(&SPLIT_VIEW.known(), "window").saturating_mul(NANOS_PER_SECOND);
        let (many, few) = (majority.lately(self.at), minority.lately(self.at));
        let clients = estimate(&many.clients);
        let enough = clients >= MAJORITY_CLIENTS
            && many.count >= MAJORITY_HANDSHAKES
            && (many.count, clients) > (few.count, estimate(&few.clients));
        // A later capture may have been read before.
        let last = |known: &KnownCertificate| known.last.min(self.at.nanos());
        let near = last(majority).abs_diff(last(minority)) <= window.unsigned_abs();
        let same_host = !new.unasked || majority.is_for(new);
        // Who is trusted does not split off from what is in doubt.
        let sound = majority.trusted || majority.standing == Standing::Accepted || !new.is_trusted();
        enough && near && same_host && sound && is_comparable(majority, minority, new)
    }
}

/// Too few clients of the majority came since the minority did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooEarly;

/// Of different issuers, by the same server, to the same kind of client or with the same kind of key.
fn is_comparable(majority: &KnownCertificate, minority: &KnownCertificate, new: &Presented) -> bool {
    let same_kind = majority.rsa == is_rsa(new.kind);
    majority.issuer != minority.issuer
        && majority.servers & minority.servers != 0
        && (same_kind || majority.shapes & minority.shapes != 0)
}

impl SplitView {
    fn many(&self) -> String {
        if self.counted { format!("about {}", self.clients) } else { about(self.clients, 2) }
    }

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
            self.many()
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
                "{} clients got the other one in {}{} handshakes, none of them this one",
                self.many(),
                // Each of two hours is counted so far.
                if self.handshakes >= u32::from(u16::MAX) { "at least " } else { "" },
                self.handshakes
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
