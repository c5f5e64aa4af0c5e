//! Checks of the server's certificate (TLSW-CERT-001 to 011): pure functions of one sighting.

use crate::policy::SettingValue;
use crate::time::ValidityTime;
use crate::tls::Protocol;
use crate::x509::chain::Ending;
use crate::x509::judge::{Problem, ProblemKind};
use crate::x509::name::matches_pattern;
use crate::x509::{AlternativeName, Certificate, Facts};

use super::case::{Case, date, lower_unless, mark_unless, quoted};
use super::catalogue::{
    CHAIN_SIGNATURE_INVALID, EXPIRED, EXPIRING, NAME_MISMATCH, NO_SCT, NOT_YET_VALID, SELF_SIGNED, Severity,
    UNTRUSTED_ISSUER, VALIDITY_TOO_LONG, WEAK_SIGNATURE, WRONG_USAGE,
};
use super::finding::{Cause, Completion, Finding, Point, Seen, add};
use super::hosts::presented::is_of_browsers;
use super::sighting::{JudgedChain, claimed_issuer};

const DAY: i64 = 86_400;
/// What an issuer is that leads nowhere, and one that nobody presented.
const NO_ANCHOR: &str = "is no trust anchor";
const NOT_SEEN: &str = "was not seen";
/// What an issuer is that leads to an anchor, but not for this.
const MAY_NOT: &str = "may not sign it";
/// What a leaf is that says that it is a CA.
const CA_AS_SERVER: &str = "the certificate of the server says that it is a CA's";
/// Clocks may differ by so many seconds.
const CLOCK_SKEW: i64 = 300;

/// Runs every check of this file.
pub(super) fn check(case: &Case<'_>, findings: &mut Vec<Finding>) {
    if case.view().is_none() {
        return;
    }
    let checks = [
        expired,
        expiring,
        not_yet_valid,
        name_mismatch,
        untrusted_issuer,
        self_signed,
        chain_signature_invalid,
        weak_signature,
        validity_too_long,
        wrong_usage,
        wrong_usage_of_ca,
        no_sct,
    ];
    for check in checks {
        add(findings, check(case));
    }
}

fn problem(case: &Case<'_>, kind: ProblemKind) -> Option<Problem> {
    case.sighting.server?.judgement.problems.iter().find(|problem| problem.kind == kind).copied()
}

/// CERT-001.
fn expired(case: &Case<'_>) -> Option<Finding> {
    let expired = problem(case, ProblemKind::Expired)?;
    let certificate = case.path().iter().find(|one| one.sha256 == expired.certificate)?;
    certificate.facts.as_deref()?.not_after?;
    let parts = vec![expired.certificate.to_string(), date(case.sighting.at?)];
    let mut finding = case.brief((&EXPIRED, case.of_certificate(&EXPIRED, parts)), |case, finding| {
        let Some(expired) = problem(case, ProblemKind::Expired) else { return };
        let certificate = case.path().iter().find(|one| one.sha256 == expired.certificate);
        let Some(facts) = certificate.and_then(|one| one.facts.as_deref()) else { return };
        let end = facts.not_after.map(date).unwrap_or_default();
        let what = match expired.depth {
            0 => format!("a certificate that expired on {end}"),
            _ => format!("a certificate whose CA {} expired on {end}", quoted(&facts.subject.text)),
        };
        finding.message = format!("{} {what}.", case.gave());
        finding.evidence.observed = case.seen();
        if let (Some(at), Some(end)) = (case.sighting.at, facts.not_after) {
            let text = format!("it ended {} before this handshake", span(end, at));
            finding.evidence.pro.push(Point::new("validity", text).observed(at).expected(format!("not after {end}")));
        }
    });
    if case.owned {
        finding.severity = Severity::High;
    }
    lower_unless(case.is_ours(), &mut finding);
    Some(finding)
}

/// CERT-002.
fn expiring(case: &Case<'_>) -> Option<Finding> {
    let view = case.view()?;
    let (at, begin, end) = (case.sighting.at?, view.not_before?, view.not_after?);
    let (left, lifetime) = (end.seconds() - at.seconds(), end.seconds() - begin.seconds());
    // Whatever the policy says, it is not before the last third.
    if left < 0 || lifetime <= 0 || at < begin || left >= lifetime / 3 {
        return None;
    }
    let Some(SettingValue::Numbers(days)) = case.sighting.policy.setting(&EXPIRING.known(), "days") else {
        return None;
    };
    let short = lifetime <= 10 * DAY;
    let limit = if short { lifetime / 5 } else { (days.first()? * DAY).min(lifetime / 3) };
    if left >= limit {
        return None;
    }
    let (leaf, _) = case.leaf()?;
    let mut finding = case.brief_of((&EXPIRING, &case.sighting.server?.expiring), (&leaf.sha256, tell_expiring));
    if !short && left < days.last()? * DAY {
        finding.severity = Severity::Medium;
    }
    mark_unless(case.is_ours(), &mut finding);
    Some(finding)
}

/// Message and evidence of CERT-002.
fn tell_expiring(case: &Case<'_>, finding: &mut Finding) {
    let end = case.leaf().and_then(|(_, facts)| facts.not_after);
    let day = end.map(date).unwrap_or_default();
    finding.message = format!("{} a certificate that expires on {day}.", case.gave());
    finding.evidence.observed = case.seen();
    if let (Some(at), Some(end)) = (case.sighting.at, end) {
        let text = format!("it ends {} after this handshake", span(at, end));
        let point = Point::new("validity", text).observed(format!("valid until {end}"));
        finding.evidence.pro.push(point.expected("a new certificate before that"));
    }
}

/// CERT-003.
fn not_yet_valid(case: &Case<'_>) -> Option<Finding> {
    let (at, begin) = (case.sighting.at?, case.view()?.not_before?);
    if at.seconds() >= begin.seconds().saturating_sub(CLOCK_SKEW) {
        return None;
    }
    let (leaf, _) = case.leaf()?;
    let message = format!("{} a certificate that is not valid before {}.", case.gave(), date(begin));
    let mut finding = case.certificate_finding((&NOT_YET_VALID, &leaf.sha256), message);
    let text = format!("it begins {} after this handshake", span(at, begin));
    finding.evidence.pro.push(Point::new("validity", text).observed(at).expected(format!("not before {begin}")));
    lower_unless(case.is_ours(), &mut finding);
    Some(finding)
}

/// CERT-004. Whether the handshake was established, or this is the third time, is seen to by the judge.
fn name_mismatch(case: &Case<'_>) -> Option<Finding> {
    let (leaf, facts) = case.leaf()?;
    let name = case.sighting.host.certain_name()?;
    problem(case, ProblemKind::NameMismatch)?;
    if let Some(cut) = cut_by_nul(facts, name) {
        let what = format!("a certificate for {}, which clients that stop at the NUL take for {name}", quoted(cut));
        let mut finding =
            case.leaf_finding(&NAME_MISMATCH, &[leaf.sha256.to_string()], format!("{} {what}.", case.gave()));
        let text = "its name is that of the host up to a NUL octet, and another one behind it (CVE-2009-2408)";
        finding.evidence.proofs.push(Point::new("nul", text).observed(quoted(cut)).expected(name));
        finding.severity = Severity::High;
        return Some(finding);
    }
    let names = first_names(facts);
    let (what, text) = if facts.subject.common_names.iter().any(|one| matches_pattern(one, name)) {
        let beside = if facts.alternative_names.is_empty() { "an empty subjectAltName" } else { "a subjectAltName" };
        (
            format!("that names {name} only as its commonName, which does not count beside {beside}"),
            "no name of its subjectAltName is the one that the client asked for (RFC 9525)",
        )
    } else {
        (
            format!("that is not for {name} but for {names}"),
            "no name of the certificate is the one that the client asked for (RFC 9525)",
        )
    };
    let message = format!("{} a certificate {what}.", case.gave());
    let mut finding = case.leaf_finding(&NAME_MISMATCH, &[leaf.sha256.to_string()], message);
    finding.evidence.pro.push(Point::new("name", text).observed(names).expected(name));
    lower_unless(case.is_ours(), &mut finding);
    Some(finding)
}

/// A name that is the host's up to its first NUL.
fn cut_by_nul<'a>(facts: &'a Facts, host: &str) -> Option<&'a str> {
    if !facts.oddities.contains(&"nul_in_name") {
        return None;
    }
    let alternative = facts.alternative_names.iter().filter_map(|name| match name {
        AlternativeName::Dns(name) => Some(name),
        _ => None,
    });
    let is_cut = |name: &&String| name.split_once("\\x00").is_some_and(|(before, _)| matches_pattern(before, host));
    alternative.chain(&facts.subject.common_names).find(is_cut).map(String::as_str)
}

/// CERT-005.
fn untrusted_issuer(case: &Case<'_>) -> Option<Finding> {
    case.leaf()?;
    let chain = case.sighting.server?;
    let open = [Ending::PrivateRoot, Ending::Incomplete, Ending::TooLong, Ending::Budget];
    if !open.contains(&chain.judgement.ending) || case.is_internal_ca() || case.is_authorised_interception() {
        return None;
    }
    let mut finding = case.brief((&UNTRUSTED_ISSUER, chain.cause()?), |case, finding| {
        let missing = case.sighting.server.and_then(|chain| chain.report.missing_issuer());
        Untrusted::of(case, if missing.is_none() { NO_ANCHOR } else { NOT_SEEN }).write(finding);
    });
    if case.owned && !case.is_internal() {
        finding.severity = Severity::Medium;
    }
    mark_unless(case.is_ours(), &mut finding);
    Some(finding)
}

/// What a finding of CERT-005 is told with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Untrusted {
    /// What its issuer is.
    why: &'static str,
    /// See [`Seen`].
    sct: Option<bool>,
    chain_status: &'static str,
}

impl Untrusted {
    fn of(case: &Case<'_>, why: &'static str) -> Self {
        let chain_status = case.sighting.server.map_or("unparsable", |chain| chain.judgement.reason());
        Self { why, sct: Some(case.shows_sct()), chain_status }
    }

    /// Writes message and evidence.
    pub(super) fn write(self, finding: &mut Finding) {
        let client = finding.ends.map(|ends| ends.client.address.to_string()).unwrap_or_default();
        let Some(leaf) = finding.certificate.clone() else { return };
        let Some(facts) = leaf.facts.as_deref() else { return };
        let issuer = quoted(&facts.issuer.text);
        finding.message =
            format!("{} gave client {client} a certificate of {issuer}, which {}.", finding.host, self.why);
        let text = match self.why {
            NOT_SEEN => "nobody presented its issuer",
            MAY_NOT => "the only paths to a trust anchor lead over who may not sign it",
            _ => "no path leads to a trust anchor",
        };
        finding.evidence.pro = vec![Point::new("path", text).observed(issuer).expected("an issuer that is trusted")];
        let Self { sct, chain_status, .. } = self;
        finding.evidence.observed = Some(Seen { sha256: leaf.sha256, spki: facts.spki_sha256, sct, chain_status });
    }
}

/// A finding of CERT-005 waits for the issuer: what its case knows is noted; it is written when it is read.
pub(super) fn waits(case: &Case<'_>, finding: &mut Finding) {
    finding.completion = Some(Completion::Untrusted(Untrusted::of(case, NOT_SEEN)));
}

/// A finding of CERT-005 that waited for the issuer, now that the chain was judged again.
pub(super) fn retell(finding: &mut Finding, cause: &Cause, chain: &JudgedChain) {
    finding.cause = cause.clone();
    finding.id = None;
    if let Some(Completion::Untrusted(told)) = &mut finding.completion {
        told.chain_status = chain.judgement.ending.name();
        if chain.report.missing_issuer().is_none() {
            let anchored = matches!(chain.judgement.ending, Ending::Anchor | Ending::AnchorUnverified);
            told.why = if anchored { MAY_NOT } else { NO_ANCHOR };
        }
    }
}

/// CERT-006.
fn self_signed(case: &Case<'_>) -> Option<Finding> {
    let (_, facts) = case.leaf()?;
    if case.sighting.server?.judgement.ending != Ending::SelfSigned
        || case.sighting.policy.internal_ca_for(&facts.spki_sha256.0).is_some()
    {
        return None;
    }
    let subject = quoted(&facts.subject.text);
    let message = format!("{} a self-signed certificate of {subject}.", case.gave());
    let mut finding = case.leaf_finding(&SELF_SIGNED, &[], message);
    let text = "it names itself as its issuer, so nobody else vouches for it";
    finding.evidence.pro.push(Point::new("path", text).observed(subject).expected("an issuer that is trusted"));
    finding.cause = Cause::LeafKey(facts.spki_sha256);
    if case.owned && !case.is_internal() {
        finding.severity = Severity::Medium;
    }
    mark_unless(case.is_ours() && !is_call(case), &mut finding);
    Some(finding)
}

/// Media of a call: each side shows a certificate that it made for the call, and knows the other's from the signalling
/// (RFC 8827 section 6.5).
fn is_call(case: &Case<'_>) -> bool {
    let client = case.sighting.client.is_some_and(|chain| chain.judgement.ending == Ending::SelfSigned);
    client
        && case.sighting.observation.handshake.protocol == Protocol::Dtls
        && case.sighting.host.server_name().is_none()
}

/// CERT-007.
fn chain_signature_invalid(case: &Case<'_>) -> Option<Finding> {
    let (leaf, _) = case.leaf()?;
    let judgement = &case.sighting.server?.judgement;
    if judgement.ending != Ending::BadSignature {
        return None;
    }
    let (broken, accused) = judgement.broken_at?;
    let path = case.path();
    let child = path.iter().find(|one| one.sha256 == broken)?;
    let facts = child.facts.as_deref()?;
    let message = format!(
        "{} a chain in which the signature of {} is not that of its issuer {}.",
        case.gave(),
        quoted(&facts.subject.text),
        quoted(&facts.issuer.text)
    );
    let mut finding = case.certificate_finding((&CHAIN_SIGNATURE_INVALID, &broken), message);
    if broken == leaf.sha256 {
        // One cause with the rules about who it claims as its issuer.
        finding.cause = Cause::IssuerKey(claimed_issuer(facts));
    }
    let accused = accused.map(|accused| accused.to_string());
    finding.evidence.pro.push(Point {
        id: "signature",
        text: "the signature verifies under no key that was presented for its issuer".to_owned(),
        observed: Some(broken.to_string()),
        expected: accused,
        ..Point::default()
    });
    Some(finding)
}

/// CERT-008.
fn weak_signature(case: &Case<'_>) -> Option<Finding> {
    let chain = case.sighting.server?;
    let (depth, hash) = (*chain.weak_signature.get_or_init(|| first_weak_signature(case)))?;
    let certificate = case.path().get(depth)?;
    let facts = certificate.facts.as_deref()?;
    let subject = quoted(&facts.subject.text);
    let message = format!("{} a certificate of {subject} signed with {hash}.", case.gave());
    let mut finding = case.certificate_finding((&WEAK_SIGNATURE, &certificate.sha256), message);
    let whose = if depth == 0 { "the leaf" } else { "a CA above it" };
    let text = format!("whoever finds a collision of {hash} can forge {whose}");
    finding.evidence.pro.push(Point::new("signature", text).observed(hash).expected("SHA-256 or better"));
    lower_unless(case.is_ours(), &mut finding);
    Some(finding)
}

/// Depth and hash function of the first signature of the path that is weak.
fn first_weak_signature(case: &Case<'_>) -> Option<(usize, &'static str)> {
    let path = case.path();
    let last = path.len().saturating_sub(1);
    path.iter().enumerate().find_map(|(depth, certificate)| {
        let facts = certificate.facts.as_deref()?;
        // A root's signature of itself proves nothing, nor does that of an anchor.
        let of_itself = facts.issuer.normalized == facts.subject.normalized || (depth == last && case.ends_at_anchor());
        let hash = broken_hash(facts).filter(|_| !of_itself || (depth == 0 && last > 0))?;
        Some((depth, hash))
    })
}

fn broken_hash(facts: &Facts) -> Option<&'static str> {
    match &*facts.signature_oid {
        "1.2.840.113549.1.1.2" => Some("MD2"),
        "1.2.840.113549.1.1.3" | "1.3.14.3.2.2" => Some("MD4"),
        "1.2.840.113549.1.1.4" | "1.3.14.3.2.3" | "1.3.14.3.2.25" => Some("MD5"),
        "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" | "1.2.840.10045.4.1" | "1.2.840.10040.4.3" => Some("SHA-1"),
        _ => None,
    }
}

/// CERT-009.
fn validity_too_long(case: &Case<'_>) -> Option<Finding> {
    /// Seconds since the epoch of notBefore, and days allowed from then on.
    const PUBLIC: [(i64, i64); 4] =
        [(1_598_918_400, 398), (1_773_532_800, 200), (1_805_068_800, 100), (1_868_227_200, 47)];
    let view = case.view()?;
    let (begin, end) = (view.not_before?, view.not_after?);
    let allowed = if case.is_public() {
        PUBLIC.iter().rev().find(|(from, _)| begin.seconds() >= *from).map(|(_, days)| *days)?
    } else {
        Some(case.sighting.policy.number(&VALIDITY_TOO_LONG.known(), "private_days")).filter(|days| *days > 0)?
    };
    let lifetime = end.seconds().saturating_sub(begin.seconds());
    if lifetime <= allowed * DAY {
        return None;
    }
    let (leaf, _) = case.leaf()?;
    let days = lifetime / DAY;
    let message =
        format!("{} a certificate that is valid for {days} days, of which {allowed} are allowed.", case.gave());
    let mut finding = case.certificate_finding((&VALIDITY_TOO_LONG, &leaf.sha256), message);
    let text = format!("issued on {}, valid until {}", date(begin), date(end));
    let point = Point::new("validity", text).observed(format!("{days} days"));
    finding.evidence.pro.push(point.expected(format!("at most {allowed} days")));
    mark_unless(case.is_ours(), &mut finding);
    Some(finding)
}

/// CERT-010.
fn wrong_usage(case: &Case<'_>) -> Option<Finding> {
    let view = case.view()?;
    if !view.misused && view.key_usage.and_then(|usage| missing_usage(case, usage)).is_none() {
        return None;
    }
    let mut finding = case.brief_of_leaf((&WRONG_USAGE, &case.sighting.server?.wrong_usage), |case, finding| {
        let reasons = wrong_usages(case);
        let first = reasons.first().copied().unwrap_or_default();
        finding.message = format!("{} a certificate that is used for what it is not meant for: {first}.", case.gave());
        finding.evidence.observed = case.seen();
        let point = |reason: &&str| Point { id: "usage", text: (*reason).to_owned(), ..Point::default() };
        finding.evidence.pro = reasons.iter().map(point).collect();
    })?;
    // Nobody follows a path to one that signed itself: who accepts it knows it, and no device is without such faults.
    let signed_itself = case.sighting.server.is_some_and(|chain| chain.judgement.ending == Ending::SelfSigned);
    lower_unless(case.is_ours() && !signed_itself, &mut finding);
    Some(finding)
}

/// What the leaf is used for though it is not meant for it.
#[cold]
fn wrong_usages(case: &Case<'_>) -> Vec<&'static str> {
    let (Some(view), Some(server)) = (case.view(), case.sighting.server) else { return Vec::new() };
    let missing = view.key_usage.and_then(|usage| missing_usage(case, usage));
    let mut reasons = case.leaf().map(|(_, facts)| misuses(server, facts)).unwrap_or_default();
    if let Some(missing) = missing {
        // Behind what the leaf says of itself.
        let place = usize::from(reasons.first() == Some(&CA_AS_SERVER));
        reasons.insert(place, missing);
    }
    reasons
}

/// What is wrong with the use of a leaf whatever the handshake is.
pub(super) fn misuses(server: &JudgedChain, facts: &Facts) -> Vec<&'static str> {
    let mut reasons = Vec::new();
    let judgement = &server.judgement;
    // Who signs for himself is his own CA.
    let is_ca = facts.basic_constraints.is_some_and(|(ca, _)| ca);
    if is_ca && judgement.ending != Ending::SelfSigned && facts.issuer.normalized != facts.subject.normalized {
        reasons.push(CA_AS_SERVER);
    }
    if judgement.problems.iter().any(|problem| problem.kind == ProblemKind::Purpose && problem.depth == 0) {
        reasons.push("the extended key usage is not for servers");
    }
    reasons
}

/// What the CAs of a chain are used for though they are not meant for it, the most telling first.
pub(super) fn misused_cas(server: &JudgedChain) -> impl Iterator<Item = &Problem> {
    let about = |kind| {
        matches!(
            kind,
            ProblemKind::NotCa
                | ProblemKind::NotForSigning
                | ProblemKind::PathLength
                | ProblemKind::NameConstraint
                | ProblemKind::Purpose
        )
    };
    server.judgement.problems.iter().filter(move |problem| problem.depth > 0 && about(problem.kind))
}

/// CERT-010 of a CA: whatever stands below it, this is one cause.
fn wrong_usage_of_ca(case: &Case<'_>) -> Option<Finding> {
    if !case.view()?.misused_ca {
        return None;
    }
    let server = case.sighting.server?;
    let misused = misused_cas(server).next()?;
    let mut finding =
        case.brief_of((&WRONG_USAGE, &server.wrong_usage_of_ca), (&misused.certificate, tell_misused_cas));
    let forged = is_forged(case, misused);
    // One cause with whatever else the key signed.
    let by_key = forged || (misused.kind == ProblemKind::NotCa && case.ends_at_anchor());
    if let Some(cause) = server.cause().filter(|_| by_key) {
        (finding.cause, finding.id) = (cause, None);
    }
    if forged {
        finding.severity = Severity::High;
    } else {
        lower_unless(case.is_ours(), &mut finding);
    }
    Some(finding)
}

/// Below a root of browsers nobody signs who is no CA: whoever has the key of any certificate can, and some clients do not
/// look (CVE-2002-0862, CVE-2011-0228). Nor does a CA for other purposes sign for servers there; whoever shows what it
/// signed for its own purposes only misuses that.
fn is_forged(case: &Case<'_>, misused: &Problem) -> bool {
    let Some(server) = case.sighting.server.filter(|server| is_of_browsers(server, case.knowledge)) else {
        return false;
    };
    let own = |problem: &Problem| problem.kind == ProblemKind::Purpose && problem.depth == 0;
    match misused.kind {
        ProblemKind::NotCa => true,
        ProblemKind::Purpose => !server.judgement.problems.iter().any(own),
        _ => false,
    }
}

/// Message and evidence of CERT-010 of a CA.
fn tell_misused_cas(case: &Case<'_>, finding: &mut Finding) {
    let Some(server) = case.sighting.server else { return };
    let named = |problem: &Problem| {
        let ca = case.path().iter().find(|one| one.sha256 == problem.certificate);
        let name = quoted(ca.and_then(|one| one.facts.as_deref()).map_or("", |facts| &facts.subject.text));
        let reason = match problem.kind {
            ProblemKind::NotCa => format!("{name} is no CA"),
            ProblemKind::NotForSigning => format!("the key of {name} is not for signing certificates"),
            ProblemKind::PathLength => format!("more CAs follow than the path length constraint of {name} allows"),
            ProblemKind::NameConstraint => format!("a name is outside of the name constraints of {name}"),
            _ => format!("the extended key usage of {name} is not for servers"),
        };
        Point::new("usage", reason).observed(problem.certificate)
    };
    finding.evidence.pro = misused_cas(server).map(named).collect();
    let first = finding.evidence.pro.first().map_or("", |point| &*point.text);
    finding.message = format!("{} a chain with an issuer that may not sign it: {first}.", case.gave());
    if let Some(misused) = misused_cas(server).next().filter(|misused| is_forged(case, misused)) {
        let (id, text) = match misused.kind {
            ProblemKind::Purpose => (
                "ca_purpose",
                "a public CA certified this key for other purposes, and it signed a certificate for servers",
            ),
            _ => (
                "no_ca",
                "a public CA certified this key for its owner's names only, and its owner signed another certificate",
            ),
        };
        finding.evidence.proofs.push(Point::new(id, text).observed(misused.certificate));
    }
    finding.evidence.observed = case.seen();
}

/// The key usage lacks what the key exchange needs (RFC 8446 section 4.4.2.2, RFC 5246 section 7.4.2).
fn missing_usage(case: &Case<'_>, usage: u16) -> Option<&'static str> {
    const DIGITAL_SIGNATURE: u16 = 1;
    const KEY_ENCIPHERMENT: u16 = 1 << 2;
    let handshake = &case.sighting.observation.handshake;
    let signs = handshake.server_key_exchange.as_deref().is_some_and(|exchange| !exchange.signature.is_empty());
    if (signs || handshake.version() == Some(0x0304)) && usage & DIGITAL_SIGNATURE == 0 {
        return Some("the key usage does not allow digital signatures");
    }
    if usage & KEY_ENCIPHERMENT != 0 {
        return None;
    }
    let cipher = handshake.server_hello.as_deref()?.cipher_suite?;
    let encrypts = crate::tls::names::cipher_suite(cipher)?.starts_with("TLS_RSA_WITH_");
    encrypts.then_some("the key usage does not allow key encipherment")
}

/// CERT-011.
fn no_sct(case: &Case<'_>) -> Option<Finding> {
    /// 2018-05-01.
    const SINCE: i64 = 1_525_132_800;
    let (leaf, facts) = case.leaf()?;
    let public = case.sighting.server?.judgement.ending == Ending::Anchor && case.is_of_browsers();
    let handshake = &case.sighting.observation.handshake;
    let asked = handshake.client_hello.as_deref().is_some_and(|hello| hello.signed_certificate_timestamp);
    // A stapled response may hold them; what an encrypted flight holds is not seen.
    let hidden = handshake.ocsp_response.is_some() || handshake.version() == Some(0x0304);
    if !public || facts.not_before?.seconds() < SINCE || case.shows_sct() || !asked || hidden {
        return None;
    }
    let message = format!("{} a public certificate without any signed certificate timestamp.", case.gave());
    let mut finding = case.leaf_finding(&NO_SCT, &[leaf.sha256.to_string()], message);
    let text = "neither certificate nor handshake brought one, though the client asked (RFC 6962)";
    finding
        .evidence
        .pro
        .push(Point::new("sct", text).observed("none").expected("some, as browsers demand since May 2018"));
    Some(finding)
}

/// The time between two, for people.
#[cold]
fn span(from: ValidityTime, to: ValidityTime) -> String {
    let seconds = to.seconds().saturating_sub(from.seconds());
    let (number, unit) = match seconds {
        ..7_200 => (seconds / 60, "minute"),
        7_200..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / DAY, "day"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

fn first_names(facts: &Facts) -> String {
    use crate::x509::AlternativeName;
    let names = facts.alternative_names.iter().filter_map(|name| match name {
        AlternativeName::Dns(name) => Some(quoted(name)),
        AlternativeName::Ip(address) => Some(address.to_string()),
        _ => None,
    });
    let mut names: Vec<String> = names.take(4).collect();
    if names.is_empty() {
        return quoted(&facts.subject.text);
    }
    if names.len() > 3 {
        names.truncate(3);
        names.push("others".to_owned());
    }
    names.join(", ")
}

/// Certificates of the chain as presented.
pub(super) fn presented<'a>(case: &Case<'a>) -> impl Iterator<Item = (&'a Certificate, &'a Facts)> {
    let chain = case.sighting.observation.server_chain.iter();
    chain.filter_map(|certificate| Some((&**certificate, certificate.facts.as_deref()?)))
}
