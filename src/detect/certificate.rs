//! Checks of the server's certificate (TLSW-CERT-001 to 014): pure functions of one sighting.

use crate::x509::chain::Ending;
use crate::x509::judge::{Problem, ProblemKind};

use super::case::{Case, date, lower_unless, mark_unless};
use super::catalogue::{EXPIRED, SELF_SIGNED, Severity};
use super::finding::{Cause, Finding};

/// Runs every check of this file.
pub(super) fn check(case: &Case<'_>, findings: &mut Vec<Finding>) {
    if case.leaf().is_none() || case.sighting.server.is_none() {
        return;
    }
    for check in [expired, self_signed] {
        findings.extend(check(case));
    }
}

fn problem(case: &Case<'_>, kind: ProblemKind) -> Option<Problem> {
    case.sighting.server?.judgement.problems.iter().find(|problem| problem.kind == kind).copied()
}

/// CERT-001.
fn expired(case: &Case<'_>) -> Option<Finding> {
    let problem = problem(case, ProblemKind::Expired)?;
    let path = case.sighting.server?.report.paths.first()?;
    let certificate = path.certificates.iter().find(|one| one.sha256 == problem.certificate)?;
    let facts = certificate.facts.as_deref()?;
    let (at, end) = (case.sighting.at?, facts.not_after?);
    let whose = if problem.depth == 0 { "a certificate" } else { "a certificate whose CA" };
    let message = format!("{} presented {whose} that expired on {}", case.sighting.host, date(end));
    let mut finding = case.leaf_finding(&EXPIRED, &[problem.certificate.to_string(), date(at)], message);
    if case.owned {
        finding.severity = Severity::High;
    }
    lower_unless(case.is_ours(), &mut finding);
    Some(finding)
}

/// CERT-006.
fn self_signed(case: &Case<'_>) -> Option<Finding> {
    let (_, facts) = case.leaf()?;
    if case.sighting.server?.judgement.ending != Ending::SelfSigned {
        return None;
    }
    let message = format!("{} presented a self-signed certificate of {}", case.sighting.host, name(&facts.subject.text));
    let mut finding = case.leaf_finding(&SELF_SIGNED, &[], message);
    finding.cause = Cause::LeafKey(facts.spki_sha256);
    if case.owned && !case.internal {
        finding.severity = Severity::Medium;
    }
    mark_unless(case.is_ours(), &mut finding);
    Some(finding)
}

/// A name from outside in a message: short, and visibly nothing where there is nothing.
pub(super) fn name(text: &str) -> String {
    match text.char_indices().nth(120) {
        _ if text.is_empty() => "an empty name".to_owned(),
        Some((end, _)) => format!("'{}..'", text.get(..end).unwrap_or_default()),
        None => format!("'{text}'"),
    }
}
