//! A finding: a rule that holds for something seen, with the evidence for it.

use std::cmp::Reverse;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use sha2::Digest as _;

use crate::time::Moment;
use crate::x509::{Certificate, Sha256};

use super::case::Case;
use super::catalogue::{
    CLONED_CERTIFICATE, Effect, ISSUER_IMPERSONATION, LEAF_SIGNED_BY_OWN_KEY, NEW_INTERCEPTION_CA, PIN_MISMATCH, Rule,
    SHARED_PUBLIC_KEY, Severity,
};
use super::certificate::Untrusted;
use super::hosts::presented::clipped;
use super::observation::{Ends, Observation};

/// What a rule found in one observation. Alerts are made of the findings of one cause.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// Severity of this finding: the rule's, a step of its condition's, or the policy's.
    pub severity: Severity,
    /// 0 to 100; see [`Rule::confidence`].
    pub confidence: u8,
    /// Whether it alerts: a rule that alerts may only mark here (hosts that are not ours, authorised proxies).
    pub effect: Effect,
    /// What it is deduplicated by.
    pub cause: Cause,
    /// The host as people know it: `login.example.com:443`, `ip:192.0.2.1:443` without a server name.
    pub host: Arc<str>,
    /// Client and server; none where the finding is about keys over the whole run (KEY-007).
    pub ends: Option<Ends>,
    /// When and where it was seen.
    pub moment: Moment,
    /// The certificate it is about, given as PEM in the alert.
    pub certificate: Option<Arc<Certificate>>,
    /// The handshake it is about, where it is not the one at hand: what was held for more evidence comes later.
    pub observation: Option<Arc<Observation>>,
    /// Line of the suppression in the policy file that silences it, if one does.
    pub suppressed_by: Option<usize>,
    /// One sentence that a person understands: host, client, what was expected, what came.
    pub message: String,
    /// Why.
    pub evidence: Reasons,
    /// Its rule may not hold after all: an issuer was not seen that the policy may allow.
    pub(super) undecided: Option<Doubt>,
    /// Writes message and evidence, where they are not written yet: most findings are only counted.
    pub(super) completion: Option<Completion>,
    /// Id of the alert, once it was asked for.
    pub(super) id: Option<AlertId>,
}

/// Which issuer was not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// That of the leaf: nothing above it was sent, as by proxies whose CA every client has.
    Leaf,
    /// One above issuers that were sent: mostly a root, which servers need not send (RFC 8446 section 4.4.2).
    Above,
}

/// Writes what is not written yet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Completion {
    /// Message and evidence, from the case that it is about.
    OfCase(OfCase),
    /// Message and evidence of CERT-005, from what the finding itself holds.
    Untrusted(Untrusted),
}

impl Completion {
    /// It is written while the case is at hand or never.
    pub(super) fn needs_case(&self) -> bool {
        matches!(self, Self::OfCase(_))
    }
}

/// Writes message and evidence of a finding about a case.
pub(super) type OfCase = fn(&Case<'_>, &mut Finding);

impl Finding {
    /// A finding with the rule's own severity, confidence and effect, at `moment`, still without evidence.
    pub fn new(rule: &'static Rule, cause: Cause, moment: Moment, message: String) -> Self {
        Self {
            rule,
            severity: rule.severity,
            confidence: rule.confidence,
            effect: rule.effect,
            cause,
            host: Arc::default(),
            ends: None,
            moment,
            certificate: None,
            observation: None,
            suppressed_by: None,
            message,
            evidence: Reasons::default(),
            undecided: None,
            completion: None,
            id: None,
        }
    }

    /// Writes message and evidence, where they are not written yet though everything for them is there.
    pub fn complete(&mut self) {
        if let Some(Completion::Untrusted(one)) = self.completion.take_if(|one| matches!(one, Completion::Untrusted(_)))
        {
            one.write(self);
        }
    }

    /// Whether [`complete`](Self::complete) would write something.
    pub fn is_brief(&self) -> bool {
        matches!(self.completion, Some(Completion::Untrusted(_)))
    }

    /// The place of this finding among those of one cause: the lowest heads the alert. First the rule that rolls up a whole
    /// interception, then the proofs of one, then the rule that rolls up the places of a key; then by severity, confidence
    /// and id.
    pub fn precedence(&self) -> impl Ord + use<> {
        let proofs: [&'static Rule; 4] =
            [&PIN_MISMATCH, &LEAF_SIGNED_BY_OWN_KEY, &CLONED_CERTIFICATE, &ISSUER_IMPERSONATION];
        let tier = match self.rule {
            rule if rule == &NEW_INTERCEPTION_CA => 0,
            rule if proofs.contains(&rule) => 1,
            rule if rule == &SHARED_PUBLIC_KEY => 2,
            _ => 3,
        };
        (tier, Reverse(self.severity), Reverse(self.confidence), self.rule.id)
    }
}

/// Adds a finding, if there is one: what is absent is not copied about, as `extend` does it.
#[inline]
pub(super) fn add(findings: &mut Vec<Finding>, found: Option<Finding>) {
    if let Some(found) = found {
        findings.push(found);
    }
}

/// What findings have in common that belong into one alert: one cause, one alert.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// An issuer's key that nobody trusts: all rules, hosts and clients under it are one alert.
    IssuerKey(Sha256),
    /// The key of a leaf, where there is no issuer to blame.
    LeafKey(Sha256),
    /// Anything else: the rule, the host, and what the rule distinguishes by (address, key, serial number).
    Subject {
        /// Id of the rule.
        rule: &'static str,
        /// The host, as in [`Finding::host`]; empty where it is the same at all hosts, as the fault of a CA is.
        host: Arc<str>,
        /// Parts that the rule chooses, in its own order.
        parts: Arc<[String]>,
    },
}

impl Cause {
    /// The alert's id (`tlswatch.alert.id`): the same cause has the same id in every run.
    #[cold]
    pub fn alert_id(&self) -> AlertId {
        let mut hash = sha2::Sha256::new();
        // Lengths before the parts: no two lists of parts give the same octets.
        let mut part = |octets: &[u8]| {
            hash.update(u64::try_from(octets.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(octets);
        };
        match self {
            Self::IssuerKey(key) => {
                part(b"issuer-key");
                part(&key.0);
            }
            Self::LeafKey(key) => {
                part(b"leaf-key");
                part(&key.0);
            }
            Self::Subject { rule, host, parts } => {
                part(b"subject");
                part(rule.as_bytes());
                part(host.as_bytes());
                parts.iter().for_each(|text| part(text.as_bytes()));
            }
        }
        let digest: [u8; 32] = hash.finalize().into();
        let mut id = [0; 16];
        id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        AlertId(id)
    }
}

/// Id of an alert: the first 128 bits of SHA-256 over its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AlertId(pub [u8; 16]);

impl Hash for AlertId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from_le_bytes(self.0));
    }
}

impl fmt::Display for AlertId {
    /// 32 hexadecimal digits in lower case.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// [`Evidence`], on the heap once there is some: most findings are only counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasons(Option<Box<Evidence>>);

/// What stands for none.
static NO_EVIDENCE: Evidence = Evidence {
    verdict: String::new(),
    score: None,
    proofs: Vec::new(),
    pro: Vec::new(),
    contra: Vec::new(),
    baseline: None,
    observed: None,
    next_steps: Vec::new(),
};

impl Deref for Reasons {
    type Target = Evidence;

    fn deref(&self) -> &Evidence {
        self.0.as_deref().unwrap_or(&NO_EVIDENCE)
    }
}

impl DerefMut for Reasons {
    fn deref_mut(&mut self) -> &mut Evidence {
        self.0.get_or_insert_default()
    }
}

impl Reasons {
    /// Bytes held.
    pub fn weight(&self) -> usize {
        self.0.as_deref().map_or(0, |evidence| size_of_val(evidence).saturating_add(evidence.heap()))
    }

    /// Leaves the first reason, clipped, and what is short in any case: there are too many alerts for more.
    #[cold]
    pub fn shorten(&mut self) {
        let Some(evidence) = self.0.take().map(|evidence| *evidence) else { return };
        let Evidence { verdict, score, observed, mut proofs, mut pro, mut contra, .. } = evidence;
        let mut left = Evidence { verdict: clipped(&verdict).to_owned(), score, observed, ..Evidence::default() };
        for (from, to) in [(&mut proofs, &mut left.proofs), (&mut pro, &mut left.pro), (&mut contra, &mut left.contra)]
        {
            if !from.is_empty() {
                *to = vec![from.swap_remove(0).clipped()];
                break;
            }
        }
        self.0 = Some(Box::new(left));
    }
}

impl From<Evidence> for Reasons {
    fn from(evidence: Evidence) -> Self {
        Self(Some(Box::new(evidence)))
    }
}

/// Why a finding is one (`tlswatch.alert.evidence`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The conclusion in a few words.
    pub verdict: String,
    /// Points for minus points against, where the rule counts points.
    pub score: Option<i32>,
    /// Proofs that hold, as named in the documentation (P1 to P8).
    pub proofs: Vec<Point>,
    /// What speaks for the finding (`for`).
    pub pro: Vec<Point>,
    /// What speaks against it (`against`).
    pub contra: Vec<Point>,
    /// What was known of the host before.
    pub baseline: Option<KnownHost>,
    /// What came.
    pub observed: Option<Seen>,
    /// What to do, most urgent first.
    pub next_steps: Vec<String>,
}

impl Evidence {
    /// Bytes on the heap.
    fn heap(&self) -> usize {
        let points = [&self.proofs, &self.pro, &self.contra];
        let texts = points.into_iter().flatten().map(Point::heap).sum::<usize>();
        let places = points.into_iter().map(Vec::capacity).sum::<usize>() * size_of::<Point>();
        let strings = |all: &[String]| all.iter().map(|text| text.capacity() + size_of::<String>()).sum::<usize>();
        let known = self.baseline.as_ref();
        let known = known.map_or(0, |one| strings(&one.issuers) + one.certificates.capacity() * size_of::<Sha256>());
        self.verdict.capacity() + places + texts + known + strings(&self.next_steps)
    }
}

/// One piece of evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// Stable name: `H2a`, `B1`, `P3`, or one of the rule's own.
    pub id: &'static str,
    /// Points; negative where it speaks against. 0 where the rule counts none.
    pub points: i32,
    /// One phrase.
    pub text: String,
    /// What was seen.
    pub observed: Option<String>,
    /// What was expected.
    pub expected: Option<String>,
}

impl Point {
    /// A point of a rule that counts none.
    #[cold]
    pub fn new(id: &'static str, text: impl Into<String>) -> Self {
        Self { id, text: text.into(), ..Self::default() }
    }

    /// Bytes on the heap.
    fn heap(&self) -> usize {
        let texts = [Some(&self.text), self.observed.as_ref(), self.expected.as_ref()];
        texts.into_iter().flatten().map(String::capacity).sum()
    }

    /// With its texts clipped.
    fn clipped(self) -> Self {
        let short = |text: String| clipped(&text).to_owned();
        Self { text: short(self.text), observed: self.observed.map(short), expected: self.expected.map(short), ..self }
    }

    /// With what was seen.
    #[cold]
    #[must_use]
    pub fn observed(mut self, value: impl fmt::Display) -> Self {
        self.observed = Some(value.to_string());
        self
    }

    /// With what was expected.
    #[cold]
    #[must_use]
    pub fn expected(mut self, value: impl fmt::Display) -> Self {
        self.expected = Some(value.to_string());
        self
    }
}

/// What was known of the host (`evidence.baseline`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownHost {
    /// Handshakes with a certificate.
    pub support: u64,
    /// First of them.
    pub since: Option<crate::time::Timestamp>,
    /// Different clients, about; at least so many where `clients_more` says so.
    pub clients: u64,
    /// There were more clients than can be told apart.
    pub clients_more: bool,
    /// SHA-256 of its certificates, the most seen first.
    pub certificates: Vec<Sha256>,
    /// Its issuers as text.
    pub issuers: Vec<String>,
    /// `learning`, `established`, `volatile` or `multi`.
    pub phase: &'static str,
}

/// The certificate that came (`evidence.observed`): what is not in the certificate itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// SHA-256 of the leaf.
    pub sha256: Sha256,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub spki: Sha256,
    /// Whether there is a signed certificate timestamp; `None` where it could not be seen.
    pub sct: Option<bool>,
    /// Outcome of path building in a word (`trusted`, `incomplete`, `self_signed`).
    pub chain_status: &'static str,
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::{EXPIRED, UNEXPECTED_CERTIFICATE};
    use super::*;

    #[test]
    fn one_cause_one_id() {
        let subject = |parts: &[&str]| Cause::Subject {
            rule: EXPIRED.id,
            host: "a:443".into(),
            parts: parts.iter().map(|part| (*part).to_owned()).collect(),
        };
        let key = Sha256([7; 32]);
        let causes = [
            Cause::IssuerKey(key),
            Cause::LeafKey(key),
            subject(&[]),
            subject(&["ab", "c"]),
            subject(&["a", "bc"]),
            subject(&["abc"]),
            subject(&["abc", ""]),
        ];
        let ids: std::collections::BTreeSet<AlertId> = causes.iter().map(Cause::alert_id).collect();
        assert_eq!(ids.len(), causes.len());
        assert_eq!(causes[0].alert_id(), causes[0].clone().alert_id());
        assert_eq!(causes[0].alert_id().to_string().len(), 32);
    }

    #[test]
    fn parents_head_the_alert_then_severity() {
        let finding = |rule| Finding::new(rule, Cause::IssuerKey(Sha256([1; 32])), Moment::default(), String::new());
        let mut findings: Vec<Finding> = [
            &EXPIRED,
            &SHARED_PUBLIC_KEY,
            &LEAF_SIGNED_BY_OWN_KEY,
            &UNEXPECTED_CERTIFICATE,
            &ISSUER_IMPERSONATION,
            &NEW_INTERCEPTION_CA,
            &CLONED_CERTIFICATE,
            &PIN_MISMATCH,
        ]
        .map(finding)
        .into();
        findings.sort_by_key(Finding::precedence);
        let ids: Vec<&str> = findings.iter().map(|finding| finding.rule.id).collect();
        assert_eq!(ids.first(), Some(&"TLSW-MITM-007"));
        let mut proofs = ids[1..5].to_vec();
        proofs.sort_unstable();
        assert_eq!(proofs, ["TLSW-MITM-001", "TLSW-MITM-003", "TLSW-MITM-004", "TLSW-MITM-005"]);
        assert_eq!(ids[5], "TLSW-KEY-001");
    }
}
