//! Proofs of forgery that need no learning: pins (MITM-001), a leaf signed by its own key (003), copies of genuine
//! certificates (004), issuers that did not sign (005); and the names of interception products (006).

use std::sync::Arc;

use super::presented::{Presented, clipped, short_name, target};
use super::record::{HostRecord, KnownCertificate, Made, NameSet, Standing};
use super::report::{Place, Reporter, client_text};
use super::sketch::stable_hash;
use super::witness::Claimed;
use crate::detect::catalogue::{
    CLONED_CERTIFICATE, Effect, INTERCEPTION_PRODUCT_ISSUER, ISSUER_IMPERSONATION, LEAF_SIGNED_BY_OWN_KEY,
    PIN_MISMATCH, Severity,
};
use crate::detect::finding::{Doubt, Finding, Point};
use crate::detect::interception_products::{Product, product_of};
use crate::detect::sighting::{Sighting, note_quiet, was_quiet};
use crate::policy::{Attribute, Day, Digest, HostEntry};
use crate::time::Timestamp;
use crate::x509::chain::{ChainReport, Ending, SignatureMemo};
use crate::x509::curve;
use crate::x509::roots::{Pool, TrustAnchors};
use crate::x509::signature::Verdict;
use crate::x509::{Certificate, Facts, Name, Sha256};

/// How sure it is that a product intercepts where the certificate looks like that of its own service.
const OWN: u8 = 30;
/// How sure it is that a key was spoofed: nobody comes upon the same point by chance.
const SPOOFED: u8 = 99;

/// What the proofs are asked with.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The handshake.
    pub sighting: &'a Sighting<'a>,
    /// Its chain.
    pub new: &'a Presented,
    /// What is known of the host.
    pub record: Option<&'a HostRecord>,
    /// Trust anchors.
    pub anchors: &'a TrustAnchors,
    /// CAs learned on trusted paths.
    pub learned: &'a Pool,
    /// How often these or the anchors changed.
    pub changes: u64,
    /// Verdicts on signatures.
    pub memo: &'a SignatureMemo,
}

impl<'a> Question<'a> {
    fn known(&self) -> Known<'a> {
        Known { anchors: self.anchors, learned: self.learned, memo: self.memo }
    }
}

/// Finds what holds; gives the proofs for the score. A proxy that may intercept forges by order of the owner: only what
/// the policy pins speaks against it.
pub fn examine(question: &Question<'_>, findings: &mut Vec<Finding>) -> Vec<Point> {
    let mut proofs = Vec::new();
    let rules: &[fn(&Question<'_>) -> Found] = match question.new.authorised {
        Some(_) => &[pin, product],
        None => &[pin, own_key, clone, impersonation, product],
    };
    for rule in rules {
        if let Some((finding, proof)) = rule(question) {
            proofs.extend(proof.filter(|_| finding.effect == Effect::Alert && finding.undecided.is_none()));
            findings.push(finding);
        }
    }
    proofs
}

type Found = Option<(Finding, Option<Point>)>;

fn pin(question: &Question<'_>) -> Found {
    let (sighting, new) = (question.sighting, question.new);
    let entry = sighting.policy.host_entry(&target(sighting))?;
    let pinned = !(entry.pins.is_empty()
        && entry.issuers.is_empty()
        && entry.issuer_names.is_empty()
        && entry.certificates.is_empty());
    if !pinned || satisfies(entry, question) {
        return None;
    }
    let mut finding = Reporter::new(sighting, new).finding(
        &PIN_MISMATCH,
        new.cause(),
        format!("a certificate from {} that none of the pins in the policy allows", new.issuer_phrase()),
    );
    let at = sighting.observation.handshake.first;
    if at.time_known && !entry.pins_alert(Day::of(at.timestamp)) {
        finding.effect = Effect::Mark;
    }
    let proof = Point {
        id: "P1",
        points: 0,
        text: "none of the pins of the policy is in the verified path".to_owned(),
        observed: Some(format!("sha256:{}", new.spki)),
        expected: Some(format!("policy line {}", entry.line)),
    };
    finding.evidence.proofs.push(proof.clone());
    finding.undecided = doubt(entry, question);
    finding.evidence.next_steps.push(format!("If this key is right, add the pin sha256:{} to the policy.", new.spki));
    Some((finding, Some(proof)))
}

/// An issuer that was not seen may be one that the policy allows; not where it is known whose each of its keys is, since then
/// it would have been found.
fn doubt(entry: &HostEntry, question: &Question<'_>) -> Option<Doubt> {
    let mut keys = entry.pins.iter().chain(&entry.issuers).peekable();
    let by_issuer = keys.peek().is_some() || !entry.issuer_names.is_empty();
    let report = &question.sighting.server.filter(|_| by_issuer && !question.new.own_key)?.report;
    report.missing_issuer()?;
    let shown = |key: &Digest| {
        let mut accepted = question.record.into_iter().flat_map(HostRecord::accepted);
        accepted.any(|known| [known.spki, known.issuer].contains(key))
    };
    if entry.issuer_names.is_empty() && keys.all(|key| question.anchors.has_key(&Sha256(*key)) || shown(key)) {
        return None;
    }
    let seen = report.paths.first().map_or(0, |path| path.certificates.len());
    Some(if seen > 1 { Doubt::Above } else { Doubt::Leaf })
}

fn satisfies(entry: &HostEntry, question: &Question<'_>) -> bool {
    let new = question.new;
    let listed = || question.sighting.knowledge.is_listed(entry, &new.leaf.sha256);
    if entry.pins.contains(&new.spki.0) || entry.certificates.contains(&new.leaf.sha256.0) || listed() {
        return true;
    }
    question.sighting.server.is_some_and(|judged| allows_path(entry, &judged.report))
}

/// An issuer on a path is one that the entry pins or allows. Only keys whose signatures verified count: anybody can append
/// the genuine CA to a forged chain.
pub fn allows_path(entry: &HostEntry, report: &ChainReport) -> bool {
    let mut issuers =
        report.paths.iter().flat_map(|path| path.verified().iter().skip(1)).filter_map(|one| one.facts.as_deref());
    issuers.any(|facts| allows_issuer(entry, facts) || entry.pins.contains(&facts.spki_sha256.0))
}

/// The key or name of an issuer, whose signature was verified, is one that the entry allows.
pub fn allows_issuer(entry: &HostEntry, issuer: &Facts) -> bool {
    entry.issuers.contains(&issuer.spki_sha256.0)
        || entry.issuer_names.iter().any(|pattern| pattern.matches(|attribute| values(&issuer.subject, attribute)))
}

fn values(name: &Name, attribute: Attribute) -> &[String] {
    match attribute {
        Attribute::CommonName => &name.common_names,
        Attribute::Organization => &name.organizations,
        Attribute::OrganizationalUnit => &name.organizational_units,
        Attribute::Country => &name.countries,
        Attribute::Locality => &name.localities,
        Attribute::State => &name.states,
        Attribute::Email => &name.emails,
    }
}

fn own_key(question: &Question<'_>) -> Found {
    let (sighting, new) = (question.sighting, question.new);
    if !new.own_key || new.internal {
        return None;
    }
    let mut finding = Reporter::new(sighting, new).finding(
        &LEAF_SIGNED_BY_OWN_KEY,
        new.cause(),
        format!("a certificate that names \"{}\" as its issuer but was signed by its own key", new.issuer.text),
    );
    if question.record.is_none_or(|record| record.accepted().next().is_none())
        && sighting.policy.is_internal(&target(sighting))
    {
        finding.severity = Severity::Medium;
    }
    let proof = Point { id: "P2", text: "the leaf was signed by its own key".to_owned(), ..Point::default() };
    finding.evidence.proofs.push(proof.clone());
    Some((finding, Some(proof)))
}

fn clone(question: &Question<'_>) -> Found {
    let (sighting, new) = (question.sighting, question.new);
    // Where the genuine one comes second, the one before is judged again.
    let record = question.record.filter(|_| !new.is_trusted())?;
    let copies = record.accepted().filter_map(|known| Some((known, copied((record, known), new, sighting)?)));
    // The gravest, and the first of those.
    let (known, copied) = copies.min_by_key(|(_, copied)| copied.doubtful)?;
    let genuine = Sha256(known.sha256);
    if !copied.doubtful {
        let (finding, proof) = copy_finding(&Place::of(sighting), new, (copied.what, &genuine));
        return Some((finding, Some(proof)));
    }
    let accepted = record.certificate(&new.leaf.sha256).is_some_and(|known| known.standing == Standing::Accepted);
    (!accepted).then(|| (doubtful_copy(&Place::of(sighting), new, (copied.what, &genuine)), None))
}

/// What a certificate copied.
#[derive(Clone, Copy, Debug)]
pub struct Copied {
    /// For people.
    pub what: &'static str,
    /// Two CAs that nobody vouches for may have signed in the same second.
    pub doubtful: bool,
}

/// MITM-004 where it is no proof.
#[cold]
fn doubtful_copy(place: &Place, copy: &Presented, named: (&str, &Sha256)) -> Finding {
    let (mut finding, proof) = copy_finding(place, copy, named);
    (finding.severity, finding.confidence) = (Severity::Medium, 50);
    finding.evidence.proofs.clear();
    finding.evidence.pro.push(Point { id: "validity", ..proof });
    let text = "both are from CAs that nobody vouches for: one run may have made both".to_owned();
    finding.evidence.contra.push(Point { id: "private", text, ..Point::default() });
    let step = "If both CAs are yours, name them in [[internal_ca]] of the policy.";
    finding.evidence.next_steps.push(step.to_owned());
    finding
}

/// MITM-004 about `copy`, and the proof for the score: what it copied of which certificate.
#[cold]
pub fn copy_finding(place: &Place, copy: &Presented, (how, genuine): (&str, &Sha256)) -> (Finding, Point) {
    let what = format!("a certificate from {}; it copies the {how} of another one of this host", copy.issuer_phrase());
    let mut finding = place.finding((&CLONED_CERTIFICATE, copy.cause()), &what, copy);
    finding.evidence.observed = Some(copy.seen());
    let proof = Point {
        id: "P3",
        points: 0,
        text: format!("the same {how} under another key"),
        observed: Some(copy.leaf.sha256.to_string()),
        expected: Some(genuine.to_string()),
    };
    finding.evidence.proofs.push(proof.clone());
    (finding, proof)
}

/// What one certificate copied from the other.
pub fn copied(
    (record, known): (&HostRecord, &KnownCertificate),
    new: &Presented,
    sighting: &Sighting<'_>,
) -> Option<Copied> {
    let same_issuer = known.issuer == new.issuer.key.0
        || (!new.issuer.verified
            && new.issuer.authority != 0
            && record.issuers.iter().any(|one| one.key == known.issuer && one.authority == new.issuer.authority));
    // Two that browsers trust are a pair of RSA and ECDSA, ordered at once.
    if known.trusted && new.is_trusted() {
        return None;
    }
    if known.spki == new.spki.0 || same_issuer || !same_names(known, new, sighting) {
        return None;
    }
    let sure = |what| Some(Copied { what, doubtful: false });
    let private = !known.trusted && !new.is_trusted();
    let long = |serial: &[u8; 20]| serial.iter().take(13).any(|octet| *octet != 0);
    let timed = private && is_time(&known.serial, known.not_before) && is_time(&new.serial, new.not_before);
    if long(&known.serial) && long(&new.serial) && !timed {
        if known.serial == new.serial {
            return sure("serial number");
        }
        if close(&known.serial, &new.serial) {
            return sure("upper part of the serial number");
        }
    }
    // A device without a clock makes all its certificates at the same moment of its own.
    if known.self_signed && new.self_signed {
        return None;
    }
    let midnight = |seconds: i64| matches!(seconds.rem_euclid(86_400), 0 | 86_399);
    let dates = [new.not_before, new.not_after];
    if dates != [known.not_before, known.not_after] || dates.iter().all(|at| midnight(*at)) {
        return None;
    }
    let made = [known.made, new.made];
    if !private || new.own_key || made.contains(&Made::BeforeIssuer) {
        return sure("validity");
    }
    // Installers that make a CA and what it signs in one run may make two of both.
    (made != [Made::WithIssuer; 2]).then_some(Copied { what: "validity", doubtful: true })
}

/// Nanoseconds since the epoch, within a day of this second: some private CAs take them for a number.
fn is_time(serial: &[u8; 20], seconds: i64) -> bool {
    let [high @ .., a, b, c, d, e, f, g, h] = serial;
    let at = Timestamp(i64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h])).seconds();
    high.iter().all(|octet| *octet == 0) && at.abs_diff(seconds) <= 86_400
}

/// Equal sets, or the copy has a single name more: sslsplit adds the name asked for.
fn same_names(known: &KnownCertificate, new: &Presented, sighting: &Sighting<'_>) -> bool {
    let (hashes, is_copy) = (new.name_hashes(), !known.trusted && new.is_trusted());
    let known = &known.names;
    let set = NameSet::of(&hashes);
    let added = |copy: &NameSet, genuine: &NameSet| {
        (copy.count == genuine.count.saturating_add(1)).then(|| copy.sum.wrapping_sub(genuine.sum))
    };
    known.count > 0
        && (*known == set
            || added(&set, known).is_some_and(|name| hashes.contains(&name))
            || (is_copy && added(known, &set) == Some(sighting.name_hash)))
}

/// The difference is below 2^32.
fn close(left: &[u8; 20], right: &[u8; 20]) -> bool {
    let (high, low) = if left >= right { (left, right) } else { (right, left) };
    let mut borrow = 0_i16;
    let mut difference = [0_u8; 20];
    for ((place, high), low) in difference.iter_mut().zip(high).zip(low).rev() {
        let value = i16::from(*high) - i16::from(*low) - borrow;
        borrow = i16::from(value < 0);
        *place = u8::try_from(value.rem_euclid(256)).unwrap_or(0);
    }
    difference.iter().take(16).all(|octet| *octet == 0)
}

fn impersonation(question: &Question<'_>) -> Found {
    let (sighting, new) = (question.sighting, question.new);
    if new.is_trusted() || matches!(new.ending, Ending::Anchor | Ending::AnchorUnverified) {
        return None;
    }
    let quiet = sighting.server.map(|judged| &judged.quiet.issuers);
    if quiet.is_some_and(|quiet| was_quiet(quiet, question.changes)) {
        return None;
    }
    let found = question.known().claim(&sighting.observation.server_chain);
    if let Some(quiet) = quiet.filter(|_| found.is_none()) {
        note_quiet(quiet, question.changes);
    }
    let (finding, proof) = found?.finding(&Place::of(sighting), new);
    Some((finding, proof))
}

/// CAs whose keys are known.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Trust anchors.
    pub anchors: &'a TrustAnchors,
    /// CAs learned on trusted paths; those of public ones are proven.
    pub learned: &'a Pool,
    /// Verdicts on signatures.
    pub memo: &'a SignatureMemo,
}

/// A certificate that claims an issuer which is known and did not sign it.
#[derive(Clone, Debug)]
pub struct Claim {
    by: By,
    /// The issuer for people.
    claimed: String,
    /// All of the name that it claims, or which key is not the issuer's.
    observed: String,
    /// Which key would be.
    expected: Option<String>,
}

/// By what an issuer is claimed; the graver the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum By {
    Name,
    /// The identifier of its key.
    Key,
    /// Its public point, on a curve of the forger's own.
    Point,
}

impl Known<'_> {
    /// The gravest false claim of a chain.
    pub fn claim(&self, chain: &[Arc<Certificate>]) -> Option<Claim> {
        let chain = chain.iter().take(8);
        let is_explicit = |one: &&Arc<Certificate>| one.facts.as_deref().is_some_and(curve::is_explicit);
        let explicit: Vec<_> = chain.clone().filter(is_explicit).collect();
        let spoofed = if explicit.is_empty() { None } else { self.spoofed_by(&explicit) };
        spoofed.or_else(|| chain.filter_map(|child| self.claim_of(child)).max_by_key(|claim| claim.by))
    }

    /// The CA whose public key one of these certificates has on other parameters than it (CVE-2020-0601). All are looked for
    /// in one go: the CAs lie all over the memory, and whoever wants may send such certificates.
    #[cold]
    fn spoofed_by(&self, explicit: &[&Arc<Certificate>]) -> Option<Claim> {
        let mut known = self.anchors.all().chain(self.learned.proven());
        let spoof_of = |ca: &Arc<Certificate>| explicit.iter().find(|one| curve::is_spoof(one, ca));
        let (spoof, genuine) = known.find_map(|ca| Some((spoof_of(ca)?, ca)))?;
        let (own, facts) = (spoof.facts.as_deref()?, genuine.facts.as_deref()?);
        Some(Claim {
            by: By::Point,
            claimed: short_name(&facts.subject).to_owned(),
            observed: format!("sha256:{}", own.spki_sha256),
            expected: Some(format!("sha256:{} of {}", facts.spki_sha256, clipped(&facts.subject.text))),
        })
    }

    fn claim_of(&self, child: &Certificate) -> Option<Claim> {
        let facts = child.facts.as_deref()?;
        // Its own root may bear any name; what it signs is asked about.
        if facts.issuer.normalized == facts.subject.normalized {
            return None;
        }
        let known = self.anchors.issuers_of(facts).into_iter().chain(self.learned.issuers_of(facts));
        let known: Vec<_> = known.filter_map(|issuer| Some((issuer, issuer.facts.as_deref()?))).collect();
        let issuers: Vec<&Facts> = known.iter().map(|(_, facts)| *facts).collect();
        let verdicts: Vec<_> = issuers.iter().map(|issuer| self.memo.verify(child, issuer)).collect();
        if verdicts.is_empty() || verdicts.iter().any(|verdict| *verdict != Verdict::Bad) {
            return None;
        }
        let authority = facts.authority_key_identifier.as_deref();
        let by_key =
            authority.is_some() && issuers.iter().any(|issuer| issuer.subject_key_identifier.as_deref() == authority);
        // A private CA has its name to itself no more than others.
        let public = |issuer: &Certificate| self.anchors.is_anchor(issuer) || self.learned.is_proven(&issuer.sha256);
        let named = |issuer: &Facts| issuer.subject.normalized == facts.issuer.normalized;
        let by_name = known.iter().any(|(issuer, facts)| named(facts) && public(issuer));
        (by_key || by_name).then(|| Claim {
            by: if by_key { By::Key } else { By::Name },
            claimed: short_name(&facts.issuer).to_owned(),
            observed: clipped(&facts.issuer.text).to_owned(),
            expected: None,
        })
    }
}

impl Claim {
    /// By what it names the issuer.
    pub fn by(&self) -> Claimed {
        if self.by == By::Name { Claimed::Name } else { Claimed::Key }
    }

    /// MITM-005, and the proof for the score: the name alone is weak evidence until the CA's other generations are known.
    pub fn finding(&self, place: &Place, new: &Presented) -> (Finding, Option<Point>) {
        let what = match self.by {
            By::Point => format!(
                "a chain with the public key of \"{}\" on curve parameters of its own: whoever chose them can sign with it",
                self.claimed
            ),
            _ => format!("a certificate that claims to be from \"{}\", whose key did not sign it", self.claimed),
        };
        let mut finding = place.finding((&ISSUER_IMPERSONATION, new.cause()), &what, new);
        finding.evidence.observed = Some(new.seen());
        let proof = Point {
            id: "P4",
            points: 0,
            text: match self.by {
                By::Name => "no known key of this issuer signed it",
                By::Key => "the key that it names as its issuer's did not sign it",
                By::Point => {
                    "the point of the genuine key under another generator or curve, for which a private key was made up \
                     (CVE-2020-0601)"
                }
            }
            .to_owned(),
            observed: Some(self.observed.clone()),
            expected: self.expected.clone(),
        };
        match self.by {
            By::Name => (finding.severity, finding.confidence) = (Severity::Medium, 60),
            By::Key => {}
            By::Point => finding.confidence = SPOOFED,
        }
        finding.evidence.proofs.push(proof.clone());
        (finding, Some(proof).filter(|_| self.by != By::Name))
    }
}

fn product(question: &Question<'_>) -> Found {
    let (sighting, new) = (question.sighting, question.new);
    let message = |name: &str| format!("a certificate from {}: {name}", new.issuer_phrase());
    let reporter = Reporter::new(sighting, new);
    if let Some(name) = &new.authorised {
        let mut finding = reporter.finding(
            &INTERCEPTION_PRODUCT_ISSUER,
            new.cause(),
            message(&format!("the authorised proxy {name}")),
        );
        finding.effect = Effect::Mark;
        finding.severity = Severity::Low;
        return Some((finding, None));
    }
    let product = new.product.filter(|_| !new.internal)?;
    let own = is_of_the_product(sighting, (new, product));
    let what = format!("the CA of {} ({})", product.name, product.kind.name());
    let text = message(&if own { format!("{what}, for the product itself as it seems") } else { what });
    let mut finding = reporter.finding(&INTERCEPTION_PRODUCT_ISSUER, new.cause(), text);
    if own {
        (finding.severity, finding.confidence) = (Severity::Low, OWN);
        let text = format!("it names no host, its subject is {}'s, and nobody asked for a name", product.name);
        let subject = new.leaf.facts.as_deref().map(|facts| clipped(&facts.subject.text).to_owned());
        finding.evidence.contra.push(Point { observed: subject, ..Point::new("own_certificate", text) });
    }
    finding.evidence.pro.push(Point {
        id: "product",
        points: 0,
        text: format!("the issuer's name is that of {}", product.name),
        observed: Some(new.issuer.text.to_string()),
        expected: None,
    });
    Some((finding, None))
}

/// The certificate of the product's own service (administration, VPN): what a proxy makes for somebody else has the names of
/// that one.
fn is_of_the_product(sighting: &Sighting<'_>, (new, product): (&Presented, &Product)) -> bool {
    let subject = new.leaf.facts.as_deref().map(|facts| &facts.subject);
    sighting.host.server_name().is_none()
        && !new.names.iter().any(|name| name.contains(['.', ':']))
        && subject.and_then(product_of).is_some_and(|one| one == product)
}

/// Hash of a name, for sets.
pub fn name_hash(name: &str) -> u64 {
    stable_hash(name.as_bytes())
}

/// For messages about several clients.
pub fn clients_phrase(clients: &[std::net::IpAddr]) -> String {
    clients.iter().map(|address| client_text(*address)).collect::<Vec<_>>().join(", ")
}
