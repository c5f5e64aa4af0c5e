//! Rules about keys that are in more places than one, or known to others (TLSW-KEY).

use super::technique::{ADVERSARY_IN_THE_MIDDLE, DEVELOP_CERTIFICATES, PRIVATE_KEYS, WEAKEN_ENCRYPTION};
use super::{Category, Effect, Rule, Severity};

pub(super) static KEY_REUSE_RULES: &[&Rule] = &[
    &SHARED_PUBLIC_KEY,
    &ISSUER_SERIAL_COLLISION,
    &EPHEMERAL_KEY_REUSE,
    &SERVER_RANDOM_REUSE,
    &KNOWN_COMPROMISED_KEY,
    &RSA_SHARED_FACTOR,
];

/// TLSW-KEY-001: one key serves unrelated certificates.
pub static SHARED_PUBLIC_KEY: Rule = Rule {
    id: "TLSW-KEY-001",
    slug: "shared-public-key",
    name: "One key serves unrelated certificates",
    category: Category::KeyReuse,
    severity: Severity::Medium,
    confidence: 80,
    effect: Effect::Alert,
    version: "1",
    techniques: &[PRIVATE_KEYS, ADVERSARY_IN_THE_MIDDLE],
    description: "The SHA-256 of a SubjectPublicKeyInfo (or, for RSA, the modulus alone) occurs in two or more different \
        leaves whose subject organisations or common names and whose registrable domains are both disjoint, or \
        whose issuer keys differ while their names are disjoint; or it is the key of a leaf and of a CA. High \
        when the issuers are private and three or more unrelated domains are concerned, low when all chains are \
        public. A new certificate of the same names with the old key is a renewal and only marked.",
    false_positives: "One operator with many names (same organisation, or the same certificates on the same addresses), \
        hosting panels and CDNs: low. Factory keys of appliances are true findings.",
    remedy: "Whoever holds this key can speak for all names listed. Make a new key for each owner; if it is a factory \
        key, replace it on every device.",
    references: &["Heninger et al., Mining Your Ps and Qs, USENIX Security 2012"],
    settings: &[],
};

/// TLSW-KEY-002: one issuer gave the same serial number to two certificates.
pub static ISSUER_SERIAL_COLLISION: Rule = Rule {
    id: "TLSW-KEY-002",
    slug: "issuer-serial-collision",
    name: "One issuer gave the same serial number to two certificates",
    category: Category::KeyReuse,
    severity: Severity::Medium,
    confidence: 80,
    effect: Effect::Alert,
    version: "1",
    techniques: &[DEVELOP_CERTIFICATES],
    description: "Two certificates have the same issuer name, authority key identifier and serial number, and different \
        contents; a precertificate and its certificate, or two encodings of one TBSCertificate, do not count. \
        Serial numbers below 2^16 and such of one repeated octet are ignored. A certificate that only claims the issuer does not \
        count: one key signed both. High when both are public. \
        One alert per issuer and day.",
    false_positives: "Private CAs with dummy serial numbers, hence the lower limit.",
    remedy: "Ask the CA which of the two it issued: one of them may be forged. A private CA must be set to random \
        serial numbers of at least 64 bits.",
    references: &["RFC 5280 section 4.1.2.2"],
    settings: &[],
};

/// TLSW-KEY-003: a server used one ephemeral key in several handshakes.
pub static EPHEMERAL_KEY_REUSE: Rule = Rule {
    id: "TLSW-KEY-003",
    slug: "ephemeral-key-reuse",
    name: "A server used one ephemeral key in several handshakes",
    category: Category::KeyReuse,
    severity: Severity::Low,
    confidence: 70,
    effect: Effect::Alert,
    version: "1",
    techniques: &[WEAKEN_ENCRYPTION],
    description: "The same ECDHE or DHE public value of a server (ServerKeyExchange or key_share) occurs in two or more \
        full handshakes of the same server address and port with different client randoms; it is compared with the last \
        32 of that server. Medium when they are more than 24 hours apart, or when the group is a finite field. A \
        retransmission has the same client random and does not count.",
    false_positives: "Schannel and some accelerators keep ephemeral keys for a while; that is what the rule tells.",
    remedy: "Set the server to a fresh key for every handshake (Schannel: EphemKeyReuseTime 0). Until then one stolen \
        key opens all sessions of that time.",
    references: &["Springall et al., Measuring the Security Harm of TLS Crypto Shortcuts, IMC 2016"],
    settings: &[],
};

/// TLSW-KEY-005: a server sent the same random twice.
pub static SERVER_RANDOM_REUSE: Rule = Rule {
    id: "TLSW-KEY-005",
    slug: "server-random-reuse",
    name: "A server sent the same random twice",
    category: Category::KeyReuse,
    severity: Severity::High,
    confidence: 90,
    effect: Effect::Alert,
    version: "1",
    techniques: &[WEAKEN_ENCRYPTION],
    description: "The same 32 octets of ServerHello.random occur in two connections with different client randoms; it is \
        compared with the last 500,000 of all servers. The random that marks a HelloRetryRequest (CF21AD74..C8A8339C) never counts, and two sights of one \
        connection have the same client random and do not count.",
    false_positives: "None known for full randoms; the count and the addresses are in the evidence.",
    remedy: "Look for a virtual machine restored from a snapshot, a broken random number generator, or replayed \
        traffic. Replace the keys made on that machine.",
    references: &["RFC 8446 section 4.1.3"],
    settings: &[],
};

/// TLSW-KEY-006: the private key of this certificate is public knowledge.
pub static KNOWN_COMPROMISED_KEY: Rule = Rule {
    id: "TLSW-KEY-006",
    slug: "known-compromised-key",
    name: "The private key of this certificate is public knowledge",
    category: Category::KeyReuse,
    severity: Severity::Critical,
    confidence: 99,
    effect: Effect::Alert,
    version: "1",
    techniques: &[PRIVATE_KEYS],
    description: "The key (SHA-256 of the SubjectPublicKeyInfo, or the hash that badkeys makes of modulus or point) of any \
        certificate of the chain stands in a list of compromised keys: a list of [trust] compromised_keys or a \
        [[compromised]] entry. The evidence names list and entry.",
    false_positives: "None known; the list may be wrong.",
    remedy: "Everybody can speak for this name. Revoke the certificate and make a new key, not only a new \
        certificate.",
    references: &["Heninger et al., Mining Your Ps and Qs, USENIX Security 2012"],
    settings: &[],
};

/// TLSW-KEY-007: two RSA keys share a prime factor.
pub static RSA_SHARED_FACTOR: Rule = Rule {
    id: "TLSW-KEY-007",
    slug: "rsa-shared-factor",
    name: "Two RSA keys share a prime factor",
    category: Category::KeyReuse,
    severity: Severity::Critical,
    confidence: 99,
    effect: Effect::Alert,
    version: "1",
    techniques: &[WEAKEN_ENCRYPTION, PRIVATE_KEYS],
    description: "The greatest common divisor of an RSA modulus and the product of all other moduli that were seen is \
        neither 1 nor the modulus itself. Tested over all keys at the end of a capture, and by `inventory \
        audit-keys`. Both private keys follow; the factor itself is never shown.",
    false_positives: "None: it is arithmetic. A modulus damaged in the capture would have to be one that a signature verified.",
    remedy: "Revoke both certificates, and replace the generator of the devices that made these keys: they had too \
        little entropy.",
    references: &["Heninger et al., Mining Your Ps and Qs, USENIX Security 2012"],
    settings: &[],
};
