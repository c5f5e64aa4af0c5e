//! Rules about certificates of clients (TLSW-CERT-030 to 039).

use super::technique::{FORGE_CERTIFICATES, TRUSTED_RELATIONSHIP, VALID_ACCOUNTS};
use super::{Category, Effect, Rule, Setting, SettingKind, Severity};

pub(super) static CLIENT_CERTIFICATE_RULES: &[&Rule] = &[
    &CLIENT_CERT_NEW_LOCATION,
    &CLIENT_CERT_TWO_PLACES,
    &CLIENT_CERT_NEW_SOFTWARE,
    &CLIENT_CERT_REVOKED_OR_EXPIRED,
    &CLIENT_CERT_UNEXPECTED_ISSUER,
];

/// TLSW-CERT-030: a client certificate was used from a place it never came from.
pub static CLIENT_CERT_NEW_LOCATION: Rule = Rule {
    id: "TLSW-CERT-030",
    slug: "client-cert-new-location",
    name: "A client certificate was used from a place it never came from",
    category: Category::Certificate,
    severity: Severity::Medium,
    confidence: 65,
    effect: Effect::Alert,
    version: "1",
    techniques: &[FORGE_CERTIFICATES, TRUSTED_RELATIONSHIP, VALID_ACCOUNTS],
    description: "A client certificate (by its key) with at least `uses` uses over at least three days from known prefixes \
        is used from a /24 or /48 that is not among them, or, with allowed_from in the policy, from outside of \
        it (then at once, without a history), and the handshake is established. High for certificates marked \
        sensitive. A handshake that was not established is a try: low. Certificates seen from more than four \
        prefixes are roaming: only allowed_from judges them. What CERT-030, 031 and 032 say of one key used from one \
        prefix is one alert, at however many hosts.",
    false_positives: "Laptops and roaming VPN clients, which are learned as roaming.",
    remedy: "Ask the owner of the certificate whether the client moved. If not, revoke it at once: somebody else \
        holds its key.",
    references: &["RFC 8446 section 4.4.2"],
    settings: &[Setting {
        name: "uses",
        kind: SettingKind::Number { default: 10, least: 1, most: 100_000 },
        meaning: "uses from which the certificate counts as known",
    }],
};

/// TLSW-CERT-031: a client certificate was used from two places at once.
pub static CLIENT_CERT_TWO_PLACES: Rule = Rule {
    id: "TLSW-CERT-031",
    slug: "client-cert-two-places",
    name: "A client certificate was used from two places at once",
    category: Category::Certificate,
    severity: Severity::High,
    confidence: 75,
    effect: Effect::Alert,
    version: "2",
    techniques: &[FORGE_CERTIFICATES, VALID_ACCOUNTS],
    description: "Established sessions of one client key begin no more than `window` apart and come from two prefixes, of \
        which one is new, whichever comes first, while the certificate is neither roaming nor shared. Where the new place \
        comes second, with software (JA4) that the key was used with before, it may have moved: it is told when the old \
        place is seen again. One alert with CERT-030.",
    false_positives: "Address pools and pairs of machines that share a certificate: prefixes that were used together before \
        are learned, and a key that was used ten times within the window of a use in another known prefix is shared: then \
        it is always in several places, and a new one of them is CERT-030 alone. What moves and comes back.",
    remedy: "Ask the owner which of the two is theirs, and revoke the certificate if one is not.",
    references: &["RFC 8446 section 4.4.2"],
    settings: &[Setting {
        name: "window",
        kind: SettingKind::Duration { default: 600 },
        meaning: "longest time between the two uses",
    }],
};

/// TLSW-CERT-032: a client certificate was used by software that never used it.
pub static CLIENT_CERT_NEW_SOFTWARE: Rule = Rule {
    id: "TLSW-CERT-032",
    slug: "client-cert-new-software",
    name: "A client certificate was used by software that never used it",
    category: Category::Certificate,
    severity: Severity::Medium,
    confidence: 60,
    effect: Effect::Alert,
    version: "2",
    techniques: &[FORGE_CERTIFICATES, VALID_ACCOUNTS],
    description: "A client certificate that was established with at most two JA4 fingerprints is used with another one. \
        High when the place is new as well (CERT-030). A mark when the place is the same and one of the old fingerprints \
        is not seen again: an update, which takes its place after three days. Fingerprints that differ only in whether a \
        server name and which protocol (ALPN) is asked for are one. One alert with CERT-030.",
    false_positives: "Updates of the client.",
    remedy: "Ask the owner of the certificate for the change; see CERT-030 when the place is new too.",
    references: &["RFC 8446 section 4.4.2"],
    settings: &[],
};

/// TLSW-CERT-033: a client certificate that is revoked, listed, or expired and accepted.
pub static CLIENT_CERT_REVOKED_OR_EXPIRED: Rule = Rule {
    id: "TLSW-CERT-033",
    slug: "client-cert-revoked-or-expired",
    name: "A client used a certificate that is revoked, listed or expired",
    category: Category::Certificate,
    severity: Severity::Medium,
    confidence: 85,
    effect: Effect::Alert,
    version: "1",
    techniques: &[FORGE_CERTIFICATES, VALID_ACCOUNTS],
    description: "The client certificate is expired at packet time and the handshake was established all the same; or it \
        stands in a CRL or a list (high, established or not; the message says which, for only a CRL says that it \
        was revoked). Expired certificates of issuers whose clients are \
        known to carry them for years (device certificates of Apple and Microsoft services) do not count.",
    false_positives: "Platforms that never renew device certificates, hence the exemption.",
    remedy: "Let the server check dates and revocation. Revoked: find out who still has the key.",
    references: &["RFC 5280 section 6.1.3"],
    settings: &[],
};

/// TLSW-CERT-034: a server accepted a client certificate of an issuer it never accepted.
pub static CLIENT_CERT_UNEXPECTED_ISSUER: Rule = Rule {
    id: "TLSW-CERT-034",
    slug: "client-cert-unexpected-issuer",
    name: "A server accepted a client certificate of an issuer it never accepted",
    category: Category::Certificate,
    severity: Severity::Medium,
    confidence: 70,
    effect: Effect::Alert,
    version: "1",
    techniques: &[FORGE_CERTIFICATES, TRUSTED_RELATIONSHIP],
    description: "A server accepted client certificates of a stable set of issuer keys (at least 30 established handshakes \
        over 24 hours), and an established handshake carries one of another issuer key, of which was not seen that the CA \
        that signed an accepted issuer signed it, too. Or an established handshake carries, as the first one of its issuer \
        at this server, a certificate below one that is no CA's, and that below a trust anchor or an [[internal_ca]]: then \
        at once, without a history, and high below a root of browsers. Proxy certificates (RFC 3820) are signed so by \
        design and do not count.",
    false_positives: "A planned change of the client CA: once per server and issuer. A private CA whose certificate does not \
        say that it is one. A server that asks for certificates and does not look at them.",
    remedy: "Look at the server's list of client CAs: who added this one? Where who signed is no CA, the server does not look \
        for cA: anybody with a certificate can be anybody else there. Have that mended, and find out what was done.",
    references: &["RFC 8446 section 4.3.2", "RFC 5280 section 4.2.1.9"],
    settings: &[],
};
