//! Judgement of verified paths at a time, for a name and a purpose (RFC 5280 section 6, RFC 9525).

use std::net::IpAddr;

use super::chain::{ChainReport, Ending, Path};
use super::{AlternativeName, Certificate, Facts, Sha256, Subtree, name, roots};
use crate::time::ValidityTime;

/// What a chain should be good for.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// When; `None` leaves validity aside (the packet had no time).
    pub at: Option<ValidityTime>,
    /// Host name or address; `None` leaves the name aside.
    pub name: Option<&'a str>,
    /// For a server or a client.
    pub purpose: Purpose,
}

/// Side that presents a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Server authentication.
    Server,
    /// Client authentication.
    Client,
}

/// Something wrong with one certificate of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What.
    pub kind: ProblemKind,
    /// Place on the path, 0 = leaf.
    pub depth: usize,
    /// Which certificate.
    pub certificate: Sha256,
}

/// Kinds of problems, the most telling first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProblemKind {
    /// An issuer is no CA.
    NotCa,
    /// An issuer's key usage lacks keyCertSign.
    NotForSigning,
    /// More CAs follow than a path length constraint allows.
    PathLength,
    /// A name is outside the name constraints of a CA.
    NameConstraint,
    /// The leaf is not for this name.
    NameMismatch,
    /// notAfter has passed.
    Expired,
    /// notBefore is to come.
    NotYetValid,
    /// The validity does not parse.
    NoValidity,
    /// The extended key usage excludes the purpose.
    Purpose,
    /// The leaf's key usage fits no key exchange.
    KeyUsage,
    /// A critical extension is not understood.
    UnknownCritical,
}

impl ProblemKind {
    /// Stable name for events.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotCa => "issuer_not_ca",
            Self::NotForSigning => "issuer_key_usage",
            Self::PathLength => "path_length",
            Self::NameConstraint => "name_constraint",
            Self::NameMismatch => "name_mismatch",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::NoValidity => "no_validity",
            Self::Purpose => "extended_key_usage",
            Self::KeyUsage => "key_usage",
            Self::UnknownCritical => "unknown_critical_extension",
        }
    }
}

/// The answer to a [`Question`].
#[derive(Clone, Debug)]
pub struct Judgement {
    /// How the chosen path ends.
    pub ending: Ending,
    /// Fingerprints of the chosen path, leaf first.
    pub path: Vec<Sha256>,
    /// What is wrong on it, the most telling first.
    pub problems: Vec<Problem>,
    /// The certificate that a bad signature or a missing issuer concerns, and for the former the accused issuer.
    pub broken_at: Option<(Sha256, Option<Sha256>)>,
}

impl Judgement {
    /// A client that trusts the anchors would accept.
    pub fn is_trusted(&self) -> bool {
        self.ending == Ending::Anchor && self.problems.is_empty()
    }

    /// `trusted`, or the most telling reason against it.
    pub fn reason(&self) -> &'static str {
        match (self.ending, self.problems.first()) {
            (Ending::Anchor, Some(problem)) => problem.kind.name(),
            (ending, _) => ending.name(),
        }
    }
}

/// Judges every path of a report and answers with the best one.
pub fn judge(report: &ChainReport, question: Question<'_>) -> Judgement {
    let judged = report.paths.iter().map(|path| (path, problems_of(path, question)));
    // The report has the better path first.
    let best = judged.min_by_key(|(path, problems)| (path.ending, problems.len()));
    let Some((path, problems)) = best else {
        return Judgement { ending: Ending::Unparsable, path: Vec::new(), problems: Vec::new(), broken_at: None };
    };
    let broken = matches!(path.ending, Ending::BadSignature | Ending::Incomplete);
    let accused = path.accused.as_ref().map(|accused| accused.sha256);
    Judgement {
        ending: path.ending,
        path: path.certificates.iter().map(|certificate| certificate.sha256).collect(),
        problems,
        broken_at: path.certificates.last().filter(|_| broken).map(|last| (last.sha256, accused)),
    }
}

fn problems_of(path: &Path, question: Question<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let anchored = matches!(path.ending, Ending::Anchor | Ending::AnchorUnverified);
    let last = path.certificates.len().saturating_sub(1);
    let mut cas_below = 0;
    for (depth, certificate) in path.certificates.iter().enumerate() {
        let Some(facts) = certificate.facts.as_deref() else { continue };
        let mut report = |kind| problems.push(Problem { kind, depth, certificate: certificate.sha256 });
        // An anchor is trusted as it is (RFC 5280 section 6.1.1); only what it forbids to others counts.
        let is_anchor = anchored && depth == last;
        if !is_anchor || depth == 0 {
            if let Some(at) = question.at {
                check_validity(facts, at, &mut report);
            }
            if facts.extensions.iter().any(|(oid, critical)| *critical && !understood(oid)) {
                report(ProblemKind::UnknownCritical);
            }
        }
        if depth == 0 {
            check_usage(facts, question.purpose, &mut report);
            if question.name.is_some_and(|host| !name::matches_host(facts, host)) {
                report(ProblemKind::NameMismatch);
            }
            continue;
        }
        for kind in oversteps(path, question.purpose, (depth, cas_below)) {
            let proxy = matches!(kind, ProblemKind::NotCa | ProblemKind::NotForSigning)
                && below(path, depth).is_some_and(|child| is_proxy_of(child, facts, question.name));
            if !proxy {
                report(kind);
            }
        }
        // Self-issued certificates do not count (RFC 5280 section 6.1.4 (l)).
        cas_below += u32::from(!is_self_issued(facts));
    }
    problems.sort_by_key(|problem| (problem.kind, problem.depth));
    problems
}

/// What the issuer at this depth, with so many CAs below it, must not have signed, by RFC 5280 section 6.1.4 (k) to (n) and
/// 6.1.3 (b), (c); and what its certificate is for, as clients and the CA/Browser Forum (Baseline Requirements 7.1.2) have it.
fn oversteps(
    path: &Path,
    purpose: Purpose,
    (depth, cas_below): (usize, u32),
) -> impl Iterator<Item = ProblemKind> + use<> {
    let facts = path.certificates.get(depth).and_then(|one| one.facts.as_deref());
    let anchored = matches!(path.ending, Ending::Anchor | Ending::AnchorUnverified);
    // An anchor is trusted as it is (RFC 5280 section 6.1.1); only what it forbids to others counts.
    let is_anchor = anchored && depth.saturating_add(1) == path.certificates.len();
    let lower = || path.certificates.get(..depth).unwrap_or_default().iter().enumerate();
    let found = facts.map(|facts| {
        [
            (ProblemKind::NotCa, !is_anchor && !roots::may_be_ca(facts)),
            (ProblemKind::NotForSigning, !is_anchor && facts.key_usage.is_some_and(|usage| usage & KEY_CERT_SIGN == 0)),
            (
                ProblemKind::PathLength,
                facts.basic_constraints.is_some_and(|(_, most)| most.is_some_and(|most| cas_below > most)),
            ),
            (ProblemKind::NameConstraint, lower().any(|(place, lower)| violates(facts, lower, place))),
            (ProblemKind::Purpose, !is_anchor && excludes(facts, purpose, depth)),
        ]
    });
    found.into_iter().flatten().filter_map(|(kind, oversteps)| oversteps.then_some(kind))
}

/// How many certificates of a path answer for its leaf, the leaf among them.
pub(super) fn vouched(path: &Path) -> usize {
    let mut cas_below = 0;
    for (depth, certificate) in path.certificates.iter().enumerate().skip(1) {
        // Servers show their own certificate as clients of others (SMTP, XMPP), and those of public CAs are for servers alone.
        let for_servers = || path.purpose == Purpose::Client && is_for(certificate, Purpose::Server);
        let mut oversteps = oversteps(path, path.purpose, (depth, cas_below));
        match oversteps.find(|kind| *kind != ProblemKind::Purpose || !for_servers()) {
            // It signed, and answers for that itself.
            Some(ProblemKind::NotCa | ProblemKind::NotForSigning | ProblemKind::Purpose) => {
                return depth.saturating_add(1);
            }
            // It did not allow it.
            Some(_) => return depth,
            None => cas_below += u32::from(!certificate.facts.as_deref().is_some_and(is_self_issued)),
        }
    }
    path.certificates.len()
}

/// The certificate that the one at this depth signed.
fn below(path: &Path, depth: usize) -> Option<&Facts> {
    path.certificates.get(depth.checked_sub(1)?)?.facts.as_deref()
}

fn is_self_issued(facts: &Facts) -> bool {
    facts.subject.normalized == facts.issuer.normalized
}

const DIGITAL_SIGNATURE: u16 = 1;
const KEY_ENCIPHERMENT: u16 = 1 << 2;
const KEY_AGREEMENT: u16 = 1 << 4;
const KEY_CERT_SIGN: u16 = 1 << 5;

fn check_validity(facts: &Facts, at: ValidityTime, report: &mut impl FnMut(ProblemKind)) {
    let (Some(first), Some(last)) = (facts.not_before, facts.not_after) else {
        return report(ProblemKind::NoValidity);
    };
    if at > last {
        report(ProblemKind::Expired);
    } else if at < first {
        report(ProblemKind::NotYetValid);
    }
}

/// The leaf is for the purpose.
fn check_usage(facts: &Facts, purpose: Purpose, report: &mut impl FnMut(ProblemKind)) {
    if excludes(facts, purpose, 0) {
        report(ProblemKind::Purpose);
    }
    let exchange = DIGITAL_SIGNATURE | KEY_ENCIPHERMENT | KEY_AGREEMENT;
    if facts.key_usage.is_some_and(|usage| usage & exchange == 0) {
        report(ProblemKind::KeyUsage);
    }
}

/// The CA may sign for the purpose.
fn is_for(ca: &Certificate, purpose: Purpose) -> bool {
    ca.facts.as_deref().is_some_and(|facts| !excludes(facts, purpose, 1))
}

/// It says what it is for (RFC 5280 section 4.2.1.12), and this is not among it.
fn excludes(facts: &Facts, purpose: Purpose, depth: usize) -> bool {
    let wanted = match purpose {
        Purpose::Server => "1.3.6.1.5.5.7.3.1",
        Purpose::Client => "1.3.6.1.5.5.7.3.2",
    };
    // anyExtendedKeyUsage; on CAs also the two "server gated" purposes of old, which browsers take for serverAuth.
    let fits = |oid: &String| {
        oid == wanted
            || oid == "2.5.29.37.0"
            || (depth > 0
                && purpose == Purpose::Server
                && matches!(oid.as_str(), "1.3.6.1.4.1.311.10.3.3" | "2.16.840.1.113730.4.1"))
    };
    facts.extended_key_usage.as_ref().is_some_and(|purposes| !purposes.iter().any(fits))
}

/// A proxy certificate (RFC 3820), with which somebody lets a job act for him: whoever has a certificate may sign it, a CA
/// or not, and it has the name of its issuer with one common name more. It stands for nobody else, least of all for a
/// `host`.
fn is_proxy_of(child: &Facts, issuer: &Facts, host: Option<&str>) -> bool {
    let has = |wanted: &str| child.extensions.iter().find(|(oid, _)| oid == wanted);
    let longer = child.subject.normalized.strip_prefix(&*issuer.subject.normalized);
    has("1.3.6.1.5.5.7.1.14").is_some_and(|(_, critical)| *critical)
        && has("2.5.29.17").is_none()
        && longer.and_then(|more| more.strip_prefix(COMMON_NAME)).is_some_and(|more| !more.contains([',', '+']))
        && issuer.key_usage.is_none_or(|usage| usage & DIGITAL_SIGNATURE != 0)
        && !host.is_some_and(|host| name::matches_host(child, host))
}

/// One more commonName, as [`Name::normalized`](super::Name::normalized) has it.
const COMMON_NAME: &str = ",550403=";

/// Extensions that a client processes, or whose neglect harms nobody here.
fn understood(oid: &str) -> bool {
    matches!(
        oid,
        "2.5.29.14"
            | "2.5.29.15"
            | "2.5.29.17"
            | "2.5.29.18"
            | "2.5.29.19"
            | "2.5.29.30"
            | "2.5.29.31"
            | "2.5.29.32"
            | "2.5.29.33"
            | "2.5.29.35"
            | "2.5.29.36"
            | "2.5.29.37"
            | "2.5.29.54"
            | "1.3.6.1.5.5.7.1.1"
            | "1.3.6.1.5.5.7.1.24"
            | "1.3.6.1.4.1.11129.2.4.2"
            | "2.16.840.1.113730.1.1"
    )
}

/// A certificate below `authority` has a name that its constraints forbid (RFC 5280 section 4.2.1.10).
fn violates(authority: &Facts, lower: &Certificate, place: usize) -> bool {
    let (Some(constraints), Some(facts)) = (&authority.name_constraints, lower.facts.as_deref()) else {
        return false;
    };
    // Self-issued CAs are exempt, the leaf never is.
    if place > 0 && is_self_issued(facts) {
        return false;
    }
    let mut names: Vec<Given<'_>> = facts.alternative_names.iter().filter_map(Given::of).collect();
    names.extend(facts.alternative_directories.iter().map(|name| Given::Directory(name)));
    if !facts.subject.normalized.is_empty() {
        names.push(Given::Directory(&facts.subject.normalized));
    }
    if facts.alternative_names.is_empty() && place == 0 {
        names.extend(facts.subject.common_names.iter().map(|common| Given::Dns(common)));
    }
    names.extend(facts.subject.emails.iter().map(|mailbox| Given::Email(mailbox)));
    names.iter().any(|given| {
        let mut permitted = constraints.permitted.iter().filter_map(|subtree| given.within(subtree)).peekable();
        let outside = permitted.peek().is_some() && !permitted.any(|inside| inside);
        outside || constraints.excluded.iter().any(|subtree| given.within(subtree) == Some(true))
    })
}

/// A name that a certificate bears.
enum Given<'a> {
    Dns(&'a str),
    Ip(IpAddr),
    Email(&'a str),
    Directory(&'a str),
}

impl<'a> Given<'a> {
    fn of(name: &'a AlternativeName) -> Option<Self> {
        match name {
            AlternativeName::Dns(host) => Some(Self::Dns(host)),
            AlternativeName::Ip(address) => Some(Self::Ip(*address)),
            AlternativeName::Email(mailbox) => Some(Self::Email(mailbox)),
            _ => None,
        }
    }

    /// Inside the subtree; `None` when the subtree is of another kind.
    fn within(&self, subtree: &Subtree) -> Option<bool> {
        match (self, subtree) {
            (Self::Dns(host), Subtree::Dns(suffix)) => Some(host_within(host, suffix)),
            (Self::Ip(address), Subtree::Ip(network, mask)) => match (address, network, mask) {
                (IpAddr::V4(address), IpAddr::V4(network), IpAddr::V4(mask)) => {
                    Some(address.to_bits() & mask.to_bits() == network.to_bits() & mask.to_bits())
                }
                (IpAddr::V6(address), IpAddr::V6(network), IpAddr::V6(mask)) => {
                    Some(address.to_bits() & mask.to_bits() == network.to_bits() & mask.to_bits())
                }
                _ => Some(false),
            },
            (Self::Email(mailbox), Subtree::Email(wanted)) => Some(mailbox_within(mailbox, wanted)),
            (Self::Directory(name), Subtree::Directory(prefix)) => {
                let rest = name.strip_prefix(prefix.as_str());
                Some(prefix.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(',')))
            }
            _ => None,
        }
    }
}

fn host_within(host: &str, suffix: &str) -> bool {
    let (host, suffix) = (host.trim_end_matches('.').to_ascii_lowercase(), suffix.to_ascii_lowercase());
    if suffix.is_empty() {
        return true;
    }
    match suffix.strip_prefix('.') {
        Some(_) => host.ends_with(&suffix),
        None => host == suffix || host.strip_suffix(&suffix).is_some_and(|before| before.ends_with('.')),
    }
}

fn mailbox_within(mailbox: &str, wanted: &str) -> bool {
    let host = mailbox.rsplit_once('@').map_or(mailbox, |(_, host)| host);
    if wanted.contains('@') {
        mailbox.eq_ignore_ascii_case(wanted)
    } else if wanted.starts_with('.') {
        host.to_ascii_lowercase().ends_with(&wanted.to_ascii_lowercase())
    } else {
        host.eq_ignore_ascii_case(wanted)
    }
}
