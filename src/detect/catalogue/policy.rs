//! Rules about what the owner of the network decided (TLSW-POL).

use super::technique::{FORGE_CERTIFICATES, OBTAIN_CERTIFICATES};
use super::{Category, Effect, Rule, Setting, SettingKind, Severity};

pub(super) static POLICY_RULES: &[&Rule] = &[
    &ISSUER_NOT_ALLOWED,
    &UNLISTED_CERTIFICATE,
    &KEY_POLICY,
    &PROTOCOL_POLICY,
    &WRONG_PLACE,
    &WRONG_KIND_OF_CA,
    &CERTIFICATE_HYGIENE,
];

/// TLSW-POL-001: the certificate was issued by a CA that the policy does not allow for this host.
pub static ISSUER_NOT_ALLOWED: Rule = Rule {
    id: "TLSW-POL-001",
    slug: "issuer-not-allowed",
    name: "The certificate was issued by a CA that the policy does not allow for this host",
    category: Category::Policy,
    severity: Severity::High,
    confidence: 95,
    effect: Effect::Alert,
    version: "1",
    techniques: &[OBTAIN_CERTIFICATES],
    description: "The host matches a [[host]] entry with `issuers`, `issuer_names` or `caa`, and the verified path of the \
        leaf holds none of the issuer keys, no CA whose name has every attribute of an allowed name, and no CA \
        of an operator that the `caa` domains stand for. A name counts only where the signature under that CA's \
        key was verified. Where the path ends at an issuer that was not seen, the finding waits for it as that \
        of CERT-005 does; when it does not appear, it is low, and none where no issuer at all is known.",
    false_positives: "A change of CA that was not entered in the policy.",
    remedy: "Ask the owner of the host; check certificate transparency for certificates that nobody ordered.",
    references: &["RFC 8659"],
    settings: &[],
};

/// TLSW-POL-002: an owned host presented a certificate that is not in its owner's list.
pub static UNLISTED_CERTIFICATE: Rule = Rule {
    id: "TLSW-POL-002",
    slug: "unlisted-certificate",
    name: "An owned host presented a certificate that is not in its owner's list",
    category: Category::Policy,
    severity: Severity::High,
    confidence: 90,
    effect: Effect::Alert,
    version: "1",
    techniques: &[OBTAIN_CERTIFICATES, FORGE_CERTIFICATES],
    description: "The host matches a [[host]] entry with `certificates` or `certificates_file`, and the SHA-256 of the \
        leaf is in neither. It finds what a trusted CA issued to somebody else.",
    false_positives: "A renewal that is not in the list yet: keep the file in step with the renewal.",
    remedy: "Ask whoever renews this host's certificate. If nobody did, have the CA revoke it: somebody else proved \
        control over the name.",
    references: &["RFC 9162"],
    settings: &[],
};

/// TLSW-POL-003: the certificate's key is not what the policy asks for.
pub static KEY_POLICY: Rule = Rule {
    id: "TLSW-POL-003",
    slug: "key-policy",
    name: "The certificate's key is not what the policy asks for",
    category: Category::Policy,
    severity: Severity::Medium,
    confidence: 95,
    effect: Effect::Alert,
    version: "1",
    techniques: &[],
    description: "The host matches a [[host]] entry, and the leaf's key is of a kind that is not in `key_types`, or an RSA \
        key has less than `min_rsa_bits` bits, or a key was kept at renewal where `key_reuse = false`.",
    false_positives: "None: the policy says so.",
    remedy: "Make a key of the kind the policy asks for, or change the policy.",
    references: &["RFC 9325 section 4.5"],
    settings: &[],
};

/// TLSW-POL-004: the handshake is not what the policy asks for.
pub static PROTOCOL_POLICY: Rule = Rule {
    id: "TLSW-POL-004",
    slug: "protocol-policy",
    name: "The handshake is not what the policy asks for",
    category: Category::Policy,
    severity: Severity::Medium,
    confidence: 95,
    effect: Effect::Alert,
    version: "1",
    techniques: &[],
    description: "The host matches a [[host]] entry, and the negotiated version is below `min_version`, the application \
        protocol is not in `alpn`, or the cipher suite is not in `ciphers`.",
    false_positives: "None: the policy says so.",
    remedy: "Set the server as the policy says, or change the policy.",
    references: &["RFC 9325"],
    settings: &[],
};

/// TLSW-POL-005: an owned certificate was served from a place where it does not belong.
pub static WRONG_PLACE: Rule = Rule {
    id: "TLSW-POL-005",
    slug: "wrong-place",
    name: "An owned certificate was served from a place where it does not belong",
    category: Category::Policy,
    severity: Severity::High,
    confidence: 80,
    effect: Effect::Alert,
    version: "1",
    techniques: &[FORGE_CERTIFICATES, OBTAIN_CERTIFICATES],
    description: "A leaf of a host with `places` was served in a full handshake by a server address outside of all of \
        them. Where another name was asked for, the leaf has to be trusted, pinned or listed: anybody may name the host in \
        a certificate of his own.",
    false_positives: "A new location that was not entered in the policy; split DNS with addresses that the list lacks.",
    remedy: "Ask the owner for the address. If it is not theirs, the key was stolen or copied: revoke the \
        certificate.",
    references: &["RFC 5280"],
    settings: &[],
};

/// TLSW-POL-006: a public CA signed for an internal name, or a private CA for a public one.
pub static WRONG_KIND_OF_CA: Rule = Rule {
    id: "TLSW-POL-006",
    slug: "wrong-kind-of-ca",
    name: "A public CA signed for an internal name, or a private CA for a public one",
    category: Category::Policy,
    severity: Severity::Medium,
    confidence: 90,
    effect: Effect::Alert,
    version: "1",
    techniques: &[],
    description: "The leaf leads to a trusted root, without an [[internal_ca]] on the path, and holds a name without public suffix or an address of a private range; \
        or it was signed by an [[internal_ca]] key for a name or address outside of that entry's `names`.",
    false_positives: "Tests with real names: widen `names`, or suppress. A CA of the organisation that was added to the roots \
        counts as public until an [[internal_ca]] entry names it.",
    remedy: "Move internal names to the internal CA. A private CA that signs public names can intercept: ask its \
        owner why.",
    references: &["CA/Browser Forum Baseline Requirements section 4.2.2"],
    settings: &[],
};

/// TLSW-POL-007: the certificate breaks a house rule.
pub static CERTIFICATE_HYGIENE: Rule = Rule {
    id: "TLSW-POL-007",
    slug: "certificate-hygiene",
    name: "The certificate breaks a house rule",
    category: Category::Policy,
    severity: Severity::Low,
    confidence: 95,
    effect: Effect::Alert,
    version: "1",
    techniques: &[],
    description: "The host matches a [[host]] entry, and the leaf has a wildcard name where `wildcards = false`, is valid \
        for more than `max_days`, or the entry has no `owner` although the rule asks for one (`owner_required`).",
    false_positives: "None: the policy says so.",
    remedy: "Follow the house rule or change it.",
    references: &["RFC 9525 section 6.3"],
    settings: &[Setting {
        name: "owner_required",
        kind: SettingKind::Flag { default: false },
        meaning: "whether every [[host]] entry must name an owner",
    }],
};
