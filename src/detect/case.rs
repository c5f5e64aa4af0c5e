//! What a check has at hand: the sighting, and what the policy says of its host.

use std::sync::{Arc, OnceLock};

use crate::policy::{HostEntry, Target};
use crate::time::{NANOS_PER_SECOND, ValidityTime};
use crate::x509::chain::{Ending, Path};
use crate::x509::{Certificate, Facts, Sha256};

use super::catalogue::{Effect, Rule, Severity};
use super::finding::{Cause, Completion, Evidence, Finding, OfCase, Seen};
use super::gist::KnownHost;
use super::knowledge::Knowledge;
use super::sighting::{JudgedChain, KnownCause, LeafView, Sighting};
use super::{certificate, crypto};

/// A sighting with the policy's view of its host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case<'a> {
    pub(super) sighting: &'a Sighting<'a>,
    pub(super) knowledge: &'a Knowledge,
    pub(super) target: Target<'a>,
    /// The host for people.
    pub(super) host: &'a Arc<str>,
    /// The server name has a public suffix.
    public_suffix: bool,
    /// A `[[host]]` entry with owner or places is about it.
    pub(super) owned: bool,
    /// The `[[host]]` entry.
    pub(super) entry: Option<&'a HostEntry>,
}

impl<'a> Case<'a> {
    /// The case of a handshake with this host.
    pub(super) fn new(sighting: &'a Sighting<'a>, knowledge: &'a Knowledge, host: &'a KnownHost) -> Self {
        let server = sighting.observation.ends.server;
        let target = Target { name: host.server_name(), address: server.address, port: server.port };
        let entry = sighting.policy.host_entry(&target);
        Self {
            sighting,
            knowledge,
            target,
            host: &host.text,
            public_suffix: host.public_suffix,
            owned: entry.is_some_and(HostEntry::is_owned),
            entry,
        }
    }

    /// The server stands in the home networks, or its name has no public suffix. Asked only where something was found.
    pub(super) fn is_internal(&self) -> bool {
        self.sighting.policy.is_home(self.target.address) || (self.target.name.is_some() && !self.public_suffix)
    }

    /// The host is internal or owned.
    pub(super) fn is_ours(&self) -> bool {
        self.owned || self.is_internal()
    }

    /// The server's leaf.
    pub(super) fn leaf(&self) -> Option<(&'a Arc<Certificate>, &'a Facts)> {
        let leaf = self.sighting.observation.server_chain.first()?;
        Some((leaf, leaf.facts.as_deref()?))
    }

    /// Who gave whom: the beginning of most messages.
    #[cold]
    pub(super) fn gave(&self) -> String {
        format!("{} gave client {}", self.sighting.host, self.sighting.observation.ends.client.address)
    }

    /// What most checks ask of the server's leaf.
    pub(super) fn view(&self) -> Option<&'a LeafView> {
        let chain = self.sighting.server?;
        match chain.leaf.get() {
            Some(known) => Some(known),
            None => {
                let (_, facts) = self.leaf()?;
                Some(chain.leaf.get_or_init(|| LeafView {
                    not_before: facts.not_before,
                    not_after: facts.not_after,
                    key_usage: facts.key_usage,
                    misused: !certificate::misuses(chain, facts).is_empty(),
                    misused_ca: certificate::misused_cas(chain).next().is_some(),
                    weak_key: crypto::key_weakness(facts).is_some(),
                    scts: !facts.scts.is_empty(),
                }))
            }
        }
    }

    /// The best path of the server's leaf, leaf first.
    pub(super) fn path(&self) -> &'a [Arc<Certificate>] {
        let path = self.sighting.server.and_then(|chain| chain.report.paths.first());
        path.map_or(&[], |path| &path.certificates)
    }

    /// A proxy of the policy that may intercept this client signed the leaf, or a CA above it is its.
    pub(super) fn is_authorised_interception(&self) -> bool {
        if self.sighting.policy.interceptions.is_empty() {
            return false;
        }
        let client = self.sighting.observation.ends.client.address;
        let mut keys = self.vouched().iter().filter_map(|certificate| certificate.facts.as_deref());
        keys.any(|facts| self.sighting.policy.interception_for(&facts.spki_sha256.0, client).is_some())
    }

    /// A finding about the server's leaf whose message and evidence are written by `completion` if they are needed.
    pub(super) fn brief(&self, (rule, cause): (&'static Rule, Cause), completion: OfCase) -> Finding {
        let moment = self.sighting.observation.handshake.first;
        let mut finding = Finding::new(rule, cause, moment, String::new());
        finding.host = Arc::clone(self.host);
        finding.ends = Some(self.sighting.observation.ends);
        finding.certificate = self.sighting.observation.server_chain.first().cloned();
        finding.completion = Some(Completion::OfCase(completion));
        finding
    }

    /// What a rule distinguishes by besides the host.
    #[cold]
    pub(super) fn subject(&self, rule: &'static Rule, parts: Vec<String>) -> Cause {
        Cause::Subject { rule: rule.id, host: Arc::clone(self.host), parts: parts.into() }
    }

    /// What is wrong with a certificate itself is one cause at all hosts that show it.
    #[cold]
    pub(super) fn of_certificate(&self, rule: &'static Rule, parts: Vec<String>) -> Cause {
        Cause::Subject { rule: rule.id, host: Arc::default(), parts: parts.into() }
    }

    /// A [`brief`](Self::brief) finding about this certificate of the chain; its cause is remembered with the chain.
    pub(super) fn brief_of(
        &self,
        (rule, known): (&'static Rule, &OnceLock<Box<KnownCause>>),
        (certificate, completion): (&Sha256, OfCase),
    ) -> Finding {
        let known = known.get_or_init(|| {
            let cause = self.of_certificate(rule, vec![certificate.to_string()]);
            Box::new(KnownCause { host: Arc::default(), id: cause.alert_id(), cause })
        });
        let mut finding = self.brief((rule, known.cause.clone()), completion);
        finding.id = Some(known.id);
        finding
    }

    /// A [`brief`](Self::brief) finding whose cause is rule, host and leaf; remembered with the chain.
    pub(super) fn brief_of_leaf(
        &self,
        (rule, known): (&'static Rule, &OnceLock<Box<KnownCause>>),
        completion: OfCase,
    ) -> Option<Finding> {
        let (leaf, _) = self.leaf()?;
        let make = || {
            let cause = self.subject(rule, vec![leaf.sha256.to_string()]);
            Box::new(KnownCause { host: Arc::clone(self.host), id: cause.alert_id(), cause })
        };
        let known = known.get_or_init(make);
        let fresh;
        let known = if Arc::ptr_eq(&known.host, self.host) || known.host == *self.host {
            known
        } else {
            fresh = make();
            &fresh
        };
        let mut finding = self.brief((rule, known.cause.clone()), completion);
        finding.id = Some(known.id);
        Some(finding)
    }

    /// A finding about the host. Its cause is rule, host and `parts`.
    #[cold]
    pub(super) fn finding(&self, rule: &'static Rule, parts: &[String], message: String) -> Finding {
        let cause = Cause::Subject { rule: rule.id, host: Arc::clone(self.host), parts: parts.into() };
        let mut finding = Finding::new(rule, cause, self.sighting.observation.handshake.first, message);
        finding.host = Arc::clone(self.host);
        finding.ends = Some(self.sighting.observation.ends);
        finding
    }

    /// A finding about the server's leaf, with what the leaf is as evidence.
    #[cold]
    pub(super) fn leaf_finding(&self, rule: &'static Rule, parts: &[String], message: String) -> Finding {
        let mut finding = self.finding(rule, parts, message);
        finding.certificate = self.sighting.observation.server_chain.first().cloned();
        finding.evidence = Evidence { observed: self.seen(), ..Evidence::default() }.into();
        finding
    }

    /// A finding about a leaf that somebody issued who should not: below an issuer that nobody trusts one cause with all else
    /// that it does.
    #[cold]
    pub(super) fn issued_finding(&self, rule: &'static Rule, leaf: &Certificate, message: String) -> Finding {
        let mut finding = self.leaf_finding(rule, &[leaf.sha256.to_string()], message);
        if let Some(cause) = self.sighting.server.and_then(JudgedChain::cause) {
            finding.cause = cause;
        }
        finding
    }

    /// A finding about a certificate of the chain, whatever host shows it.
    #[cold]
    pub(super) fn certificate_finding(
        &self,
        (rule, certificate): (&'static Rule, &Sha256),
        message: String,
    ) -> Finding {
        let mut finding = self.leaf_finding(rule, &[], message);
        finding.cause = self.of_certificate(rule, vec![certificate.to_string()]);
        finding
    }

    /// What came.
    pub(super) fn seen(&self) -> Option<Seen> {
        let (leaf, facts) = self.leaf()?;
        let chain_status = self.sighting.server.map_or("unparsable", |chain| chain.judgement.reason());
        Some(Seen { sha256: leaf.sha256, spki: facts.spki_sha256, sct: Some(self.shows_sct()), chain_status })
    }

    /// A signed certificate timestamp in the certificate or beside it.
    pub(super) fn shows_sct(&self) -> bool {
        self.sighting.gist.scts || self.leaf().is_some_and(|(_, facts)| !facts.scts.is_empty())
    }

    /// Of that path, who answers for the leaf, and the leaf.
    pub(super) fn vouched(&self) -> &'a [Arc<Certificate>] {
        let path = self.sighting.server.and_then(|chain| chain.report.paths.first());
        path.map_or(&[], Path::vouched)
    }

    /// The path ends at a trust anchor, whoever signed below it.
    pub(super) fn ends_at_anchor(&self) -> bool {
        let ending = self.sighting.server.map(|chain| chain.judgement.ending);
        matches!(ending, Some(Ending::Anchor | Ending::AnchorUnverified))
    }

    /// The path leads to a trust anchor, and nobody on it signed what it must not.
    pub(super) fn is_anchored(&self) -> bool {
        self.ends_at_anchor() && self.sighting.server.and_then(JudgedChain::path).is_some_and(Path::is_vouched)
    }

    /// The path leads to a trust anchor, whoever named it, and no CA on it is an `[[internal_ca]]`.
    pub(super) fn is_public(&self) -> bool {
        self.is_anchored() && !self.is_internal_ca()
    }

    /// The path leads to one of Mozilla's roots: what browsers demand holds for it.
    pub(super) fn is_of_browsers(&self) -> bool {
        self.is_public() && self.path().last().is_some_and(|root| self.knowledge.builtin.is_anchor(root))
    }

    /// An `[[internal_ca]]` key stands in the path.
    pub(super) fn is_internal_ca(&self) -> bool {
        if self.sighting.policy.internal_cas.is_empty() {
            return false;
        }
        let mut issuers = self.vouched().iter().skip(1).filter_map(|certificate| certificate.facts.as_deref());
        issuers.any(|facts| self.sighting.policy.internal_ca_for(&facts.spki_sha256.0).is_some())
    }
}

/// A name from outside in a message: short, and visibly nothing where there is nothing.
#[cold]
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(120) {
        _ if text.is_empty() => "an empty name".to_owned(),
        Some((end, _)) => format!("'{}..'", text.get(..end).unwrap_or_default()),
        None => format!("'{text}'"),
    }
}

/// Low for hosts that are neither internal nor owned.
pub(super) fn lower_unless(ours: bool, finding: &mut Finding) {
    if !ours {
        finding.severity = Severity::Low;
    }
}

/// A mark for hosts that are neither internal nor owned.
pub(super) fn mark_unless(ours: bool, finding: &mut Finding) {
    if !ours {
        finding.effect = Effect::Mark;
    }
}

/// Day of a time, for "once a day" and for people.
#[cold]
pub(super) fn date(at: ValidityTime) -> String {
    let text = at.to_string();
    text.get(..10).unwrap_or(&text).to_owned()
}

/// Packet time in seconds; `None` where it is not known.
pub(super) fn validity_time(moment: &crate::time::Moment) -> Option<ValidityTime> {
    moment.time_known.then(|| ValidityTime(moment.timestamp.nanos().div_euclid(NANOS_PER_SECOND)))
}
