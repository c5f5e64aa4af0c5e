//! Rules about certificates of servers (TLSW-CERT-001 to 029) and of lists (TLSW-CERT-040).

use super::technique::{ASYMMETRIC_CHANNEL, OBTAIN_CERTIFICATES, WEAKEN_ENCRYPTION, WEB_PROTOCOLS};
use super::{Category, Effect, Rule, Setting, SettingKind, Severity};

pub(super) static CERTIFICATE_RULES: &[&Rule] = &[
    &EXPIRED,
    &EXPIRING,
    &NOT_YET_VALID,
    &NAME_MISMATCH,
    &UNTRUSTED_ISSUER,
    &SELF_SIGNED,
    &CHAIN_SIGNATURE_INVALID,
    &WEAK_SIGNATURE,
    &VALIDITY_TOO_LONG,
    &WRONG_USAGE,
    &NO_SCT,
    &REVOKED_BY_CRL,
    &BLOCKLISTED,
    &NEW_CERTIFICATE,
    &ROTATED_CERTIFICATE,
    &INDICATOR_MATCH,
];

/// TLSW-CERT-001: the certificate, or a CA that its path needs, had expired.
pub static EXPIRED: Rule = Rule {
    id: "TLSW-CERT-001",
    slug: "expired",
    name: "The certificate, or a CA that its path needs, had expired",
    category: Category::Certificate,
    severity: Severity::Medium,
    confidence: 95,
    effect: Effect::Alert,
    version: "1",
    techniques: &[],
    description: "The packet time is later than notAfter of the leaf, or of a CA certificate without which no path leads \
        to a trust anchor. High for owned hosts, low for hosts that are neither internal nor owned. Once per \
        certificate, host and day. Needs a packet time that is known.",
    false_positives: "A wrong clock of the sensor: only packet time is used, so it shows in every event.",
    remedy: "Renew the certificate, and see why the renewal did not happen by itself.",
    references: &["RFC 5280 section 4.1.2.5"],
    settings: &[],
};

/// TLSW-CERT-002: the certificate expires soon.
pub static EXPIRING: Rule = Rule {
    id: "TLSW-CERT-002",
    slug: "expiring",
    name: "The certificate expires soon",
    category: Category::Certificate,
    severity: Severity::Low,
    confidence: 99,
    effect: Effect::Alert,
    version: "1",
    techniques: &[],
    description: "The time left at packet time is shorter than the first of `days` and than a third of the certificate's \
        lifetime; medium when it is shorter than the last of `days`. For lifetimes of ten days or less the limit \
        is a fifth of the lifetime and there is no second step. A mark, not an alert, for hosts that are neither \
        internal nor owned.",
    false_positives: "Short-lived certificates, hence the limit by lifetime.",
    remedy: "Renew the certificate; let it be renewed by a program.",
    references: &["RFC 8555"],
    settings: &[Setting {
        name: "days",
        kind: SettingKind::Numbers { default: &[30, 7], least: 1, most: 3_650 },
        meaning: "days left from which it is low and medium",
    }],
};

/// TLSW-CERT-003: the certificate was not valid yet.
pub static NOT_YET_VALID: Rule = Rule {
    id: "TLSW-CERT-003",
    slug: "not-yet-valid",
    name: "The certificate was not valid yet",
    category: Category::Certificate,
    severity: Severity::Medium,
    confidence: 80,
    effect: Effect::Alert,
    version: "1",
    techniques: &[],
    description: "The packet time is more than five minutes before notBefore of the leaf. Low for hosts that are neither \
        internal nor owned. Needs a packet time that is known.",
    false_positives: "Clocks that differ, hence the five minutes.",
    remedy: "Set the clock of the CA or of the server, or of the sensor if every event is off.",
    references: &["RFC 5280 section 4.1.2.5"],
    settings: &[],
};

/// TLSW-CERT-004: the certificate is not for the name that the client asked for.
pub static NAME_MISMATCH: Rule = Rule {
    id: "TLSW-CERT-004",
    slug: "name-mismatch",
    name: "The certificate is not for the name that the client asked for",
    category: Category::Certificate,
    severity: Severity::Medium,
    confidence: 80,
    effect: Effect::Alert,
    version: "1",
    techniques: &[],
    description: "The client sent a server name, and no dNSName of the leaf matches it by RFC 9525 (a wildcard stands for \
        one whole label; for a host given as an address an iPAddress must be equal; the common name counts only \
        in a certificate without alternative names), and the handshake was established or this happened three \
        times. Low for hosts that are neither internal nor owned. High, whatever the host, where a name of the leaf is \
        that of the host up to a NUL octet: clients that stop there take it for the host.",
    false_positives: "Default certificates that answer scanners, hence the wait for an established handshake or a third sight. \
        Clients that go on in spite of the mismatch are worth a look by themselves.",
    remedy: "Add the name to the certificate, or correct the name in the client.",
    references: &["RFC 9525 section 6", "CVE-2009-2408"],
    settings: &[],
};

/// TLSW-CERT-005: no path leads from the certificate to a trust anchor.
pub static UNTRUSTED_ISSUER: Rule = Rule {
    id: "TLSW-CERT-005",
    slug: "untrusted-issuer",
    name: "No path leads from the certificate to a trust anchor",
    category: Category::Certificate,
    severity: Severity::Low,
    confidence: 70,
    effect: Effect::Alert,
    version: "1",
    techniques: &[],
    description: "Neither the chain as presented nor one rebuilt with verified intermediates seen before reaches a trust \
        anchor or an [[internal_ca]] key. An issuer that has not been seen makes the chain incomplete, and it is \
        judged again when the issuer appears; as it happens, nothing is told before that or the end of `hold`. \
        Medium for public names that are owned; a mark for hosts that are \
        neither internal nor owned. Self-signed leaves are CERT-006.",
    false_positives: "A private PKI that is not in the policy.",
    remedy: "Let the server send its intermediates, or enter the CA in [[internal_ca]] or `trust.roots`.",
    references: &["RFC 5280 section 6"],
    settings: &[Setting {
        name: "hold",
        kind: SettingKind::Duration { default: 900 },
        meaning: "as it happens, how long an incomplete chain waits for its issuer; 0 never waits",
    }],
};

/// TLSW-CERT-006: the certificate is self-signed.
pub static SELF_SIGNED: Rule = Rule {
    id: "TLSW-CERT-006",
    slug: "self-signed",
    name: "The certificate is self-signed",
    category: Category::Certificate,
    severity: Severity::Low,
    confidence: 70,
    effect: Effect::Alert,
    version: "1",
    techniques: &[],
    description: "Subject and issuer are the same name, the signature verifies under the certificate's own key, and it is \
        no trust anchor. Two names that are the same text under different keys are not self-signed. Medium for \
        public names that are owned; a mark for hosts that are neither internal nor owned, and in calls: DTLS without a \
        server name where the client's certificate is self-signed too.",
    false_positives: "Devices that make their own certificate: suppress them by address.",
    remedy: "Give the host a certificate of the internal CA, so that clients can tell it from an impostor.",
    references: &["RFC 5280 section 3.2", "RFC 8827 section 6.5"],
    settings: &[],
};

/// TLSW-CERT-007: a signature in the chain is wrong.
pub static CHAIN_SIGNATURE_INVALID: Rule = Rule {
    id: "TLSW-CERT-007",
    slug: "chain-signature-invalid",
    name: "A signature in the chain is wrong",
    category: Category::Certificate,
    severity: Severity::High,
    confidence: 95,
    effect: Effect::Alert,
    version: "1",
    techniques: &[],
    description: "A certificate names an issuer whose certificate is present, every key present under that name (or key \
        identifier) was tried, and the signature verifies under none of them although its algorithm is known. \
        What cannot be checked is unknown, never invalid. Unordered and superfluous certificates are no fault.",
    false_positives: "A damaged capture would have to keep the DER well-formed.",
    remedy: "Compare the certificate with the CA's own copy: it was altered, forged, or assembled from the wrong \
        parts.",
    references: &["RFC 5280 section 6.1.3"],
    settings: &[],
};

/// TLSW-CERT-008: the certificate is signed with a broken hash.
pub static WEAK_SIGNATURE: Rule = Rule {
    id: "TLSW-CERT-008",
    slug: "weak-signature",
    name: "The certificate is signed with a broken hash",
    category: Category::Certificate,
    severity: Severity::Medium,
    confidence: 95,
    effect: Effect::Alert,
    version: "1",
    techniques: &[WEAKEN_ENCRYPTION],
    description: "The signature algorithm of the leaf or of an intermediate uses MD2, MD4, MD5 or SHA-1. The signature of \
        a self-signed root proves nothing and does not count. Low for hosts that are neither internal nor owned.",
    false_positives: "None; old appliances are true findings.",
    remedy: "Have the certificate issued again with SHA-256 or better.",
    references: &["RFC 6194", "RFC 6151"],
    settings: &[],
};

/// TLSW-CERT-009: the certificate is valid for longer than public CAs may give.
pub static VALIDITY_TOO_LONG: Rule = Rule {
    id: "TLSW-CERT-009",
    slug: "validity-too-long",
    name: "The certificate is valid for longer than public CAs may give",
    category: Category::Certificate,
    severity: Severity::Low,
    confidence: 90,
    effect: Effect::Alert,
    version: "1",
    techniques: &[],
    description: "A publicly trusted leaf was issued (notBefore) from 2020-09-01 on for more than 398 days, from \
        2026-03-15 on for more than 200, from 2027-03-15 on for more than 100, or from 2029-03-15 on for more \
        than 47; the last second is inclusive. Private certificates are measured against `private_days` if that \
        is not 0. A mark for hosts that are neither internal nor owned.",
    false_positives: "A CA of the organisation that was added to the roots counts as public until an [[internal_ca]] entry \
        names it.",
    remedy: "Have the CA issue a shorter one, and renew by program.",
    references: &["CA/Browser Forum Baseline Requirements section 6.3.2, ballot SC-081v3"],
    settings: &[Setting {
        name: "private_days",
        kind: SettingKind::Number { default: 0, least: 0, most: 36_500 },
        meaning: "longest validity of private certificates in days; 0 is any",
    }],
};

/// TLSW-CERT-010: the certificate is used for what it is not meant for.
pub static WRONG_USAGE: Rule = Rule {
    id: "TLSW-CERT-010",
    slug: "wrong-usage",
    name: "The certificate is used for what it is not meant for",
    category: Category::Certificate,
    severity: Severity::Medium,
    confidence: 90,
    effect: Effect::Alert,
    version: "1",
    techniques: &[],
    description: "The leaf of a server says that it is a CA although another signed it; or it has an extended key usage without serverAuth (or \
        anyExtendedKeyUsage); or a key usage without the bit that the key exchange needs (digitalSignature for \
        (EC)DHE and TLS 1.3, keyEncipherment for RSA key exchange); or a CA on the path lacks cA or keyCertSign, \
        or has an extended key usage without serverAuth (or anyExtendedKeyUsage, or the server gated purposes of old), \
        or its path length or name constraints are violated. Low for hosts that are neither internal nor owned, and \
        where the leaf signed itself. High, whatever the host, below a root of browsers where who signed is no CA, or one \
        that is not for servers and signed a leaf that is: a forgery, and one cause with everything else that this key \
        signed. A proxy \
        certificate, which says that it is one and has the name of its issuer with one common name more, needs no CA \
        above it, unless it names the host.",
    false_positives: "Old appliances with one certificate for everything. The certificates that Windows makes for remote desktops \
        do not allow the signatures that they are used for; they sign themselves, so this is low.",
    remedy: "Have the certificate issued with the right profile. A violated name constraint deserves a question to \
        the CA. If who signed is no CA below a public root, or one for other purposes, its key is in the hands of a forger: \
        tell the CA, and find out which clients went on. A private CA that signs for servers needs serverAuth where it has \
        an extended key usage; until then name its own key in [[internal_ca]].",
    references: &[
        "RFC 5280 sections 4.2.1.3, 4.2.1.9, 4.2.1.10, 4.2.1.12",
        "CA/Browser Forum Baseline Requirements 7.1.2: what subordinate CAs are for",
        "RFC 3820 section 3",
        "CVE-2002-0862 and CVE-2011-0228: clients that did not look for cA",
    ],
    settings: &[],
};

/// TLSW-CERT-011: a publicly trusted certificate shows no sign of having been logged.
pub static NO_SCT: Rule = Rule {
    id: "TLSW-CERT-011",
    slug: "no-sct",
    name: "A publicly trusted certificate shows no sign of having been logged",
    category: Category::Certificate,
    severity: Severity::Medium,
    confidence: 85,
    effect: Effect::Alert,
    version: "1",
    techniques: &[OBTAIN_CERTIFICATES],
    description: "The path leads to a built-in root, notBefore is 2018-05-01 or later, and there is no signed certificate \
        timestamp in the certificate; and none in the TLS extension or the stapled response either, where the \
        client asked for them and the capture shows the answer. Presence is tested, not the log's signature.",
    false_positives: "A CA of the organisation that was added to the roots is no built-in root and does not count. A server \
        that sends timestamps only by TLS is judged only where the client asked.",
    remedy: "Ask the CA for the certificate's log entries. Current browsers refuse it.",
    references: &["RFC 6962 section 3.3"],
    settings: &[],
};

/// TLSW-CERT-013: the certificate was revoked.
pub static REVOKED_BY_CRL: Rule = Rule {
    id: "TLSW-CERT-013",
    slug: "revoked-by-crl",
    name: "The certificate is revoked, or listed by issuer and serial number",
    category: Category::Certificate,
    severity: Severity::High,
    confidence: 99,
    effect: Effect::Alert,
    version: "2",
    techniques: &[OBTAIN_CERTIFICATES],
    description: "The serial number stands in a CRL of [trust] crls whose issuer is the certificate's and whose signature \
        verified under that issuer's key, or under another key of the same CA (one of the keys signed the other's certificate, \
        or one CA signed both), with a revocation date or an invalidityDate not later than the packet time; or \
        issuer and serial number stand in a list. Critical when the reason is keyCompromise, cACompromise or aACompromise. \
        With a CRL past its nextUpdate the confidence is 60 and the message says so. The reason removeFromCRL \
        does not count. A CRL counts for the certificates of its issuingDistributionPoint only: those of users or \
        of CAs, and where certificate and CRL both name URIs, one must be the same. Of an indirect CRL only the \
        entries about its own issuer's certificates count. A CRL with a critical extension that is not understood \
        is left out, and the program says so. Of several CRLs with the same issuingDistributionPoint the newest \
        decides, together with the delta CRLs that are newer still; an older one counts for reasons that are \
        permanent, and for a hold that had not ended at the packet time: a list that was made later says nothing of \
        the time before. A hold that was lifted later is medium, with confidence 60 where it may have been lifted \
        before the packet time already: between which lists that was is in the message.",
    false_positives: "A stale CRL, hence the lower confidence.",
    remedy: "Take the certificate off the server. With keyCompromise, treat everything that was sent to it as read.",
    references: &["RFC 5280 section 5"],
    settings: &[],
};

/// TLSW-CERT-014: the certificate stands in a block list.
pub static BLOCKLISTED: Rule = Rule {
    id: "TLSW-CERT-014",
    slug: "blocklisted",
    name: "The certificate stands in a block list",
    category: Category::Certificate,
    severity: Severity::Critical,
    confidence: 95,
    effect: Effect::Alert,
    version: "1",
    techniques: &[OBTAIN_CERTIFICATES, WEB_PROTOCOLS, ASYMMETRIC_CHANNEL],
    description: "SHA-1 or SHA-256 of a certificate of the chain, or the SHA-256 of its SubjectPublicKeyInfo, stands in a \
        list of [trust] blocklists (SSLBL CSV or text) or in a [[compromised]] entry. The evidence has the list, \
        the entry's reason and its date.",
    false_positives: "Addresses that were cleaned long ago: the date of the entry is in the evidence.",
    remedy: "Find the process behind the client's connection; the reason in the evidence tells the malware's family \
        where the list knows it.",
    references: &["abuse.ch SSLBL"],
    settings: &[],
};

/// TLSW-CERT-017: a certificate was seen for the first time.
pub static NEW_CERTIFICATE: Rule = Rule {
    id: "TLSW-CERT-017",
    slug: "new-certificate",
    name: "A certificate was seen for the first time",
    category: Category::Certificate,
    severity: Severity::Low,
    confidence: 99,
    effect: Effect::Mark,
    version: "1",
    techniques: &[],
    description: "The SHA-256 of the certificate was not seen before in this run, in this role, and is in no inventory of \
        earlier runs (`--inventory`, `--baseline`): the certificate event that bears the mark is its first.",
    false_positives: "Every new certificate is one.",
    remedy: "None.",
    references: &["RFC 5280"],
    settings: &[],
};

/// TLSW-CERT-018: a host changed its certificate in an ordinary way.
pub static ROTATED_CERTIFICATE: Rule = Rule {
    id: "TLSW-CERT-018",
    slug: "rotated-certificate",
    name: "A host changed its certificate in an ordinary way",
    category: Category::Certificate,
    severity: Severity::Low,
    confidence: 99,
    effect: Effect::Mark,
    version: "1",
    techniques: &[],
    description: "A host of the baseline presented another certificate than before and the score of MITM-002 stayed below \
        an alert. A mark with `change.kind`: renewal_same_key, rotation_same_issuer, issuer_change_public, \
        cdn_variant or unknown.",
    false_positives: "None: it is a record.",
    remedy: "None.",
    references: &["RFC 5280"],
    settings: &[],
};

/// TLSW-CERT-040: a handshake matches an indicator.
pub static INDICATOR_MATCH: Rule = Rule {
    id: "TLSW-CERT-040",
    slug: "indicator-match",
    name: "A handshake matches an indicator",
    category: Category::Certificate,
    severity: Severity::High,
    confidence: 90,
    effect: Effect::Alert,
    version: "2",
    techniques: &[WEB_PROTOCOLS, ASYMMETRIC_CHANNEL],
    description: "Certificate, key, JA3, JA4, name, serial number or address of a handshake stands in a file given by \
        `--indicators`. Low for JA3 and JA4 alone, because fingerprints are shared by unrelated software; medium \
        for an address or a name alone. Where the client named no host, the names of the leaf count as its name; \
        not where its ClientHello was not seen. \
        All kinds that match are in the evidence, with the comments of the file. A file that comes later is applied \
        to the inventory too: to all kinds, by client and host where it names a fingerprint.",
    false_positives: "As good as the file: old addresses and fingerprints of common libraries err most.",
    remedy: "Follow the source of the indicator: its comment is in the evidence.",
    references: &["RFC 9424"],
    settings: &[],
};
