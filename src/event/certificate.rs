//! The `tlswatch.certificate` event: a certificate seen for the first time, or in a new role or place.

use crate::detect::observation::Observation;
use crate::time::{Moment, NANOS_PER_SECOND};
use crate::x509::{AlternativeName, Authority, Certificate, Facts, Validation};

use super::context::Context;
use super::id::EventId;
use super::json::{UPPER, Writer, push_hex};
use super::tls::{Common, begin, connection, event_head, hashes, log, observer};
use super::{Dataset, tls};

/// Seconds of one day.
const DAY: i64 = 86_400;

/// Most alternative names of each kind that an event lists; `file.x509.alternative_names` has all that were read.
const NAMES: usize = 256;

/// Which side of a handshake showed a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The client.
    Client,
    /// The server.
    Server,
}

impl Side {
    /// Value of `tlswatch.certificate.side`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// Role of a certificate in the chain it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The first of the chain: the end entity's.
    Leaf,
    /// A CA certificate issued by another.
    Intermediate,
    /// A CA certificate that names itself as its issuer.
    Root,
    /// Further up the chain, but no CA certificate.
    Other,
}

impl Role {
    /// The role of the certificate at this position of a chain (from 0).
    pub fn of(certificate: &Certificate, position: usize) -> Self {
        match certificate.authority() {
            _ if position == 0 => Self::Leaf,
            Authority::SelfIssued => Self::Root,
            Authority::Issued => Self::Intermediate,
            Authority::No => Self::Other,
        }
    }

    /// Value of `tlswatch.certificate.role`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Leaf => "leaf",
            Self::Intermediate => "intermediate",
            Self::Root => "root",
            Self::Other => "other",
        }
    }
}

/// A certificate and how it was seen.
#[derive(Clone, Copy, Debug)]
pub struct CertificateView<'a> {
    /// The certificate.
    pub certificate: &'a Certificate,
    /// The handshake it was seen in.
    pub observation: &'a Observation,
    /// Who showed it.
    pub side: Side,
    /// Role in the chain.
    pub role: Role,
    /// Position in the chain, from 0.
    pub position: usize,
    /// First packet of the first handshake of this run (or of the inventory) that showed it.
    pub first_seen: Moment,
    /// Handshakes that showed it up to now, this one included.
    pub sightings: u64,
    /// Servers (or clients) that showed it up to now.
    pub endpoints: u64,
    /// The signature verifies with the certificate's own key; `None` where nobody checked.
    pub self_signed: Option<bool>,
    /// Ids of rules that hold and do not alert.
    pub marks: &'a [&'static str],
    /// How it took the place of another, where the host is known: `renewal_same_key`, `rotation_same_issuer` and so on.
    pub change: Option<&'a str>,
}

impl<'a> CertificateView<'a> {
    /// The first sighting of the certificate at `position` of one side's chain; `None` past its end.
    pub fn first(observation: &'a Observation, side: Side, position: usize) -> Option<Self> {
        let chain = match side {
            Side::Client => &observation.client_chain,
            Side::Server => &observation.server_chain,
        };
        let certificate = chain.get(position)?;
        let role = Role::of(certificate, position);
        let first_seen = observation.handshake.first;
        let self_signed = None;
        Some(Self {
            certificate,
            observation,
            side,
            role,
            position,
            first_seen,
            sightings: 1,
            endpoints: 1,
            self_signed,
            marks: &[],
            change: None,
        })
    }
}

/// Appends the event of one certificate as one line.
pub fn append_certificate(out: &mut Vec<u8>, view: &CertificateView<'_>, context: &Context) {
    let CertificateView { certificate, observation, .. } = *view;
    let first = observation.handshake.first;
    let names = Common::of(observation);
    let id = EventId::new(&mut Vec::new(), &context.name, Dataset::Certificate)
        .handshake(observation)
        .part(&certificate.sha256.0)
        .part(view.side.name().as_bytes())
        .part(view.role.name().as_bytes())
        .finish();
    Writer::line(out, |w| {
        begin(w, first);
        w.text("message", &message(view));
        w.object("event", |w| {
            let new = view.sightings <= 1;
            event_head(w, Dataset::Certificate, if new { "certificate-first-seen" } else { "certificate-seen" });
            w.raw("category", r#"["network"]"#);
            w.raw("type", r#"["info"]"#);
            w.hex_lower("id", &id);
        });
        observer(w, context, Some(first));
        connection(w, observation, &names, context);
        w.object("file", |w| {
            hashes(w, certificate);
            w.count("size", certificate.der.len());
            w.text("mime_type", "application/pkix-cert");
            w.raw("x509", &certificate.x509_json);
        });
        tls::related_certificate(w, &names, certificate);
        log(w, context, first);
        w.object("tlswatch", |w| w.object("certificate", |w| facts(w, view)));
    });
}

fn message(view: &CertificateView<'_>) -> String {
    let sha256 = view.certificate.sha256.to_string();
    let Some(facts) = view.certificate.facts.as_deref() else {
        return format!("certificate first seen: {sha256}, which does not parse");
    };
    let short = |name: &crate::x509::Name| match name.common_names.first() {
        Some(common_name) => common_name.clone(),
        None if name.text.is_empty() => "(no name)".to_owned(),
        None => name.text.clone(),
    };
    let word = if view.sightings <= 1 { "first seen" } else { "seen" };
    format!("certificate {word}: {} issued by {}", short(&facts.subject), short(&facts.issuer))
}

fn facts(w: &mut Writer<'_>, view: &CertificateView<'_>) {
    let chain = match view.side {
        Side::Client => &view.observation.client_chain,
        Side::Server => &view.observation.server_chain,
    };
    w.text("role", view.role.name());
    w.text("side", view.side.name());
    w.number("position", u64::try_from(view.position).unwrap_or(u64::MAX));
    w.count("chain_length", chain.len());
    w.append("first_seen", |out| view.first_seen.timestamp.rfc3339().append_to(out));
    w.append("last_seen", |out| view.observation.handshake.first.timestamp.rfc3339().append_to(out));
    w.number("sightings", view.sightings);
    w.number("endpoints", view.endpoints);
    if let Some(self_signed) = view.self_signed {
        w.boolean("self_signed", self_signed);
    }
    w.texts("marks", view.marks);
    w.object("change", |w| w.text("kind", view.change.unwrap_or_default()));
    match view.certificate.facts.as_deref() {
        Some(facts) => {
            parsed(w, facts);
            validity(w, facts, view.observation.handshake.first);
        }
        None => w.boolean("unparsable", true),
    }
}

fn parsed(w: &mut Writer<'_>, facts: &Facts) {
    w.hex_upper("spki_sha256", &facts.spki_sha256.0);
    w.boolean("is_ca", is_ca(facts));
    // Equal names only: whether the signature verifies is judged elsewhere.
    w.boolean("self_issued", self_issued(facts));
    if let Some((_, Some(length))) = facts.basic_constraints {
        w.number("path_length", length);
    }
    w.texts("key_usage", facts.key_usage.into_iter().flat_map(key_usages));
    w.texts("extended_key_usage", facts.extended_key_usage.iter().flatten().map(|oid| purpose(oid)));
    w.text("signature_oid", &facts.signature_oid);
    w.text("public_key_oid", &facts.key.oid);
    w.hex_upper("subject_key_identifier", facts.subject_key_identifier.as_deref().unwrap_or_default());
    w.hex_upper("authority_key_identifier", facts.authority_key_identifier.as_deref().unwrap_or_default());
    w.hex_upper("authority_serial_number", facts.authority_serial.as_deref().unwrap_or_default());
    w.texts("ocsp_urls", &facts.ocsp_urls);
    w.texts("ca_issuer_urls", &facts.ca_issuer_urls);
    w.texts("crl_urls", &facts.crl_urls);
    w.texts("policies", &facts.policies);
    w.text(
        "validation",
        match facts.validation {
            None => "",
            Some(Validation::DomainValidated) => "domain",
            Some(Validation::OrganizationValidated) => "organization",
            Some(Validation::IndividualValidated) => "individual",
            Some(Validation::ExtendedValidation) => "extended",
        },
    );
    w.count("scts", facts.scts.len());
    w.appended("sct_logs", &facts.scts, |out, sct| push_hex(out, &sct.log_id.0, UPPER));
    w.flag("precertificate", facts.precertificate);
    w.flag("must_staple", facts.must_staple);
    w.flag("name_constraints", facts.name_constraints.is_some());
    alternative_names(w, facts);
    w.texts("emails", &facts.subject.emails);
    w.texts("extensions", facts.extensions.iter().map(|(oid, _)| oid));
    w.texts("critical_extensions", facts.extensions.iter().filter(|(_, critical)| *critical).map(|(oid, _)| oid));
    w.texts("bad_extensions", &facts.bad_extensions);
    w.texts("oddities", &facts.oddities);
}

fn alternative_names(w: &mut Writer<'_>, facts: &Facts) {
    let names = &facts.alternative_names;
    w.object("alternative_names", |w| {
        let mut kind = |key, pick: fn(&AlternativeName) -> Option<String>| {
            w.texts(key, names.iter().filter_map(pick).take(NAMES));
        };
        kind("dns", |name| match name {
            AlternativeName::Dns(name) => Some(name.clone()),
            _ => None,
        });
        kind("ip", |name| match name {
            AlternativeName::Ip(address) => Some(address.to_string()),
            _ => None,
        });
        kind("email", |name| match name {
            AlternativeName::Email(name) => Some(name.clone()),
            _ => None,
        });
        kind("uri", |name| match name {
            AlternativeName::Uri(name) => Some(name.clone()),
            _ => None,
        });
        kind("directory", |name| match name {
            AlternativeName::Directory(name) => Some(name.clone()),
            _ => None,
        });
        kind("other", |name| match name {
            AlternativeName::Other(name) => Some(name.clone()),
            _ => None,
        });
    });
}

/// Validity is told at the time of the packet; how long it runs from now is for the reader to work out.
fn validity(w: &mut Writer<'_>, facts: &Facts, at: Moment) {
    let (Some(from), Some(to)) = (facts.not_before, facts.not_after) else { return };
    if let Ok(days) = u64::try_from(to.seconds().saturating_sub(from.seconds()).div_euclid(DAY)) {
        w.number("validity_days", days);
    }
    if at.time_known {
        w.boolean("valid_when_seen", (from.seconds()..=to.seconds()).contains(&at.timestamp.seconds()));
        w.signed("days_left", days_left(to.seconds(), at));
    }
}

/// Whole days from a packet to the end of validity, negative when it was over.
fn days_left(not_after: i64, at: Moment) -> i64 {
    not_after.saturating_sub(at.timestamp.nanos().div_euclid(NANOS_PER_SECOND)).div_euclid(DAY)
}

fn is_ca(facts: &Facts) -> bool {
    facts.basic_constraints.is_some_and(|(ca, _)| ca)
}

fn self_issued(facts: &Facts) -> bool {
    facts.subject.normalized == facts.issuer.normalized
}

/// Names of `keyUsage` bits (RFC 5280 section 4.2.1.3).
fn key_usages(bits: u16) -> impl Iterator<Item = &'static str> {
    const NAMES: [&str; 9] = [
        "digitalSignature",
        "nonRepudiation",
        "keyEncipherment",
        "dataEncipherment",
        "keyAgreement",
        "keyCertSign",
        "cRLSign",
        "encipherOnly",
        "decipherOnly",
    ];
    NAMES.into_iter().enumerate().filter(move |(bit, _)| bits >> bit & 1 == 1).map(|(_, name)| name)
}

/// Name of an extended key usage (RFC 5280 section 4.2.1.12), or the OID.
fn purpose(oid: &str) -> &str {
    match oid {
        "2.5.29.37.0" => "anyExtendedKeyUsage",
        "1.3.6.1.5.5.7.3.1" => "serverAuth",
        "1.3.6.1.5.5.7.3.2" => "clientAuth",
        "1.3.6.1.5.5.7.3.3" => "codeSigning",
        "1.3.6.1.5.5.7.3.4" => "emailProtection",
        "1.3.6.1.5.5.7.3.8" => "timeStamping",
        "1.3.6.1.5.5.7.3.9" => "OCSPSigning",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::event::sample;

    fn render(view: &CertificateView<'_>) -> Value {
        let mut out = Vec::new();
        append_certificate(&mut out, view, &Context::default());
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn chain_positions_have_roles() {
        let observation = sample::observation();
        let view = CertificateView::first(&observation, Side::Server, 1).unwrap();
        let event = render(&view);
        assert_eq!(event["tlswatch"]["certificate"]["role"], "intermediate");
        assert_eq!(event["tlswatch"]["certificate"]["chain_length"], 2);
        assert_eq!(event["file"]["hash"]["sha256"], "22".repeat(32));
        assert_eq!(event["message"], "certificate first seen: www.example.com issued by Example CA");
        assert!(CertificateView::first(&observation, Side::Server, 2).is_none());
        let mut own = sample::certificate(1);
        let facts = own.facts.as_mut().unwrap();
        facts.issuer = facts.subject.clone();
        assert_eq!(Role::of(&own, 1), Role::Root);
        assert_eq!(Role::of(&own, 0), Role::Leaf);
        own.facts = None;
        assert_eq!(Role::of(&own, 1), Role::Other);
    }

    #[test]
    fn sides_and_roles_have_other_ids() {
        let observation = sample::observation();
        let mut view = CertificateView::first(&observation, Side::Server, 0).unwrap();
        let one = render(&view);
        view.side = Side::Client;
        let two = render(&view);
        view.role = Role::Root;
        let three = render(&view);
        assert_ne!(one["event"]["id"], two["event"]["id"]);
        assert_ne!(two["event"]["id"], three["event"]["id"]);
    }

    #[test]
    fn what_does_not_parse_is_hashed_all_the_same() {
        let mut observation = sample::observation();
        let broken = Certificate { facts: None, x509_json: "".into(), ..sample::certificate(9) };
        observation.server_chain = vec![std::sync::Arc::new(broken)];
        let event = render(&CertificateView::first(&observation, Side::Server, 0).unwrap());
        assert_eq!(event["file"]["hash"]["md5"], "09".repeat(16));
        assert_eq!(event["tlswatch"]["certificate"]["unparsable"], true);
        assert!(event["file"]["x509"].is_null());
    }

    #[test]
    fn key_usage_bits() {
        assert_eq!(key_usages(0b1_0000_0001).collect::<Vec<_>>(), ["digitalSignature", "decipherOnly"]);
        assert_eq!(key_usages(0xfe00).count(), 0);
    }
}
