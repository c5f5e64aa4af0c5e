//! Rules about versions, ciphers, keys and signatures (TLSW-CRYP).

use super::technique::{ADVERSARY_IN_THE_MIDDLE, FORGE_CERTIFICATES, PRIVATE_KEYS, WEAKEN_ENCRYPTION};
use super::{Category, Effect, Rule, Severity};

pub(super) static CRYPTO_RULES: &[&Rule] = &[
    &OBSOLETE_VERSION,
    &WEAK_CIPHER,
    &WEAK_KEY,
    &WEAK_DH_GROUP,
    &SKE_SIGNATURE_INVALID,
    &RSA_KEY_LEAKED_BY_FAULT,
    &ECDSA_NONCE_REUSE,
    &ROCA,
    &FERMAT,
    &PQ_STATUS,
];

/// TLSW-CRYP-001: a handshake chose an obsolete version of the protocol.
pub static OBSOLETE_VERSION: Rule = Rule {
    id: "TLSW-CRYP-001",
    slug: "obsolete-version",
    name: "A handshake chose an obsolete version of the protocol",
    category: Category::Crypto,
    severity: Severity::Medium,
    confidence: 95,
    effect: Effect::Alert,
    version: "1",
    techniques: &[WEAKEN_ENCRYPTION],
    description: "The ServerHello selects SSL 2.0 or SSL 3.0 (high), or TLS 1.0, TLS 1.1 or DTLS 1.0 (low). The negotiated \
        version counts, not what was offered. Low in any case for hosts that are neither internal nor owned.",
    false_positives: "Old devices are true findings.",
    remedy: "Switch the old versions off at the server; where a device knows nothing else, put it behind a gateway.",
    references: &["RFC 6176", "RFC 7568", "RFC 8996"],
    settings: &[],
};

/// TLSW-CRYP-002: a server chose a weak cipher suite.
pub static WEAK_CIPHER: Rule = Rule {
    id: "TLSW-CRYP-002",
    slug: "weak-cipher",
    name: "A server chose a weak cipher suite",
    category: Category::Crypto,
    severity: Severity::Medium,
    confidence: 95,
    effect: Effect::Alert,
    version: "1",
    techniques: &[WEAKEN_ENCRYPTION],
    description: "The selected cipher suite has no encryption, no authentication or export strength (high), RC4, DES, 3DES \
        or RC2 (medium), or static RSA key exchange (low). Critical when export strength was chosen although the \
        client did not offer it or offered better (then MITM-010 holds too). Offered suites alone do not count. \
        Low for hosts that are neither internal nor owned, export strength excepted.",
    false_positives: "Opportunistic mail transport with anonymous suites: suppress by server.",
    remedy: "Switch the suite off at the server.",
    references: &["RFC 7465", "RFC 9325 section 4"],
    settings: &[],
};

/// TLSW-CRYP-003: the certificate's key is too weak.
pub static WEAK_KEY: Rule = Rule {
    id: "TLSW-CRYP-003",
    slug: "weak-key",
    name: "The certificate's key is too weak",
    category: Category::Crypto,
    severity: Severity::Medium,
    confidence: 95,
    effect: Effect::Alert,
    version: "1",
    techniques: &[WEAKEN_ENCRYPTION],
    description: "An RSA modulus of less than 2048 bits (medium), less than 1024 bits or even (high); an RSA exponent of 1 \
        or an even one (high), of 3 or above 2^64 (low); an elliptic curve of less than 224 bits (medium); any \
        DSA key (medium). Low for hosts that are neither internal nor owned, the high forms excepted.",
    false_positives: "None; old appliances are true findings.",
    remedy: "Make a new key of at least 2048 (better 3072) bits RSA, or P-256, and have it certified.",
    references: &["NIST SP 800-131A", "RFC 9325 section 4.5"],
    settings: &[],
};

/// TLSW-CRYP-004: a server uses a weak Diffie-Hellman group.
pub static WEAK_DH_GROUP: Rule = Rule {
    id: "TLSW-CRYP-004",
    slug: "weak-dh-group",
    name: "A server uses a weak Diffie-Hellman group",
    category: Category::Crypto,
    severity: Severity::Medium,
    confidence: 95,
    effect: Effect::Alert,
    version: "1",
    techniques: &[WEAKEN_ENCRYPTION],
    description: "The prime of a DHE ServerKeyExchange has less than 2048 bits (medium) or less than 1024 bits (high), or \
        the group is none: an even prime, a generator of 0, 1 or p-1, or a public value of 0, 1 or p-1 \
        (critical). Well-known primes are named: RFC 2409, 3526, 5114 and 7919, those that servers shipped, and \
        the one that mitmproxy uses, which is evidence for MITM-002.",
    false_positives: "None; old software is a true finding.",
    remedy: "Switch DHE off in favour of ECDHE, or use a group of RFC 7919.",
    references: &["RFC 7919", "Adrian et al., Imperfect Forward Secrecy, CCS 2015"],
    settings: &[],
};

/// TLSW-CRYP-005: the signature of a key exchange is wrong.
pub static SKE_SIGNATURE_INVALID: Rule = Rule {
    id: "TLSW-CRYP-005",
    slug: "ske-signature-invalid",
    name: "The signature of a key exchange is wrong",
    category: Category::Crypto,
    severity: Severity::High,
    confidence: 85,
    effect: Effect::Alert,
    version: "1",
    techniques: &[ADVERSARY_IN_THE_MIDDLE, WEAKEN_ENCRYPTION],
    description: "In TLS 1.0 to 1.2 and DTLS, the signature in ServerKeyExchange over client random, server random and \
        parameters does not verify under the key of the leaf, with a handshake free of gaps, a known algorithm \
        and both randoms. Other hashes and byte orders were tried first. With a decrypt_error or \
        illegal_parameter alert of the client after it, somebody altered the parameters; a handshake that goes \
        on points to a faulty server or a damaged capture.",
    false_positives: "A damaged capture, hence the demand for complete messages; a second sight of the same segment is used if \
        there is one.",
    remedy: "If the client gave up, look for a device that alters handshakes. If it went on, check the server's \
        memory and crypto hardware, and see CRYP-006.",
    references: &["RFC 5246 section 7.4.3", "RFC 8422 section 5.4"],
    settings: &[],
};

/// TLSW-CRYP-006: a server gave its private RSA key away by a faulty signature.
pub static RSA_KEY_LEAKED_BY_FAULT: Rule = Rule {
    id: "TLSW-CRYP-006",
    slug: "rsa-key-leaked-by-fault",
    name: "A server gave its private RSA key away by a faulty signature",
    category: Category::Crypto,
    severity: Severity::Critical,
    confidence: 99,
    effect: Effect::Alert,
    version: "1",
    techniques: &[PRIVATE_KEYS, FORGE_CERTIFICATES],
    description: "For a PKCS#1 v1.5 signature that does not verify (CRYP-005), the greatest common divisor of s^e - EM and \
        the modulus n lies between 1 and n: the signature was computed wrongly modulo one prime, and everybody \
        who saw it can compute the private key. The evidence holds hashes of modulus, factor and signed bytes, \
        never the factor.",
    false_positives: "None: it is arithmetic. A damaged signature gives 1.",
    remedy: "Revoke the certificate, make a new key on other hardware, and update the software so that it checks \
        signatures before it sends them.",
    references: &[
        "Weimer, Factoring RSA Keys With TLS Perfect Forward Secrecy, 2015",
        "Sullivan et al., Open to a Fault, USENIX Security 2022",
    ],
    settings: &[],
};

/// TLSW-CRYP-007: a server used one ECDSA nonce for two signatures.
pub static ECDSA_NONCE_REUSE: Rule = Rule {
    id: "TLSW-CRYP-007",
    slug: "ecdsa-nonce-reuse",
    name: "A server used one ECDSA nonce for two signatures",
    category: Category::Crypto,
    severity: Severity::Critical,
    confidence: 99,
    effect: Effect::Alert,
    version: "1",
    techniques: &[PRIVATE_KEYS],
    description: "Two signatures under the same key (ServerKeyExchange or certificate) have the same r, and the signed \
        messages differ. The private key follows by algebra. A second sight of the same message does not count.",
    false_positives: "None: two sights of one message have equal bytes.",
    remedy: "Revoke the certificate, make a new key, and replace the random number generator or library of the \
        server.",
    references: &["RFC 6979 section 1"],
    settings: &[],
};

/// TLSW-CRYP-008: the RSA key was made by a chip whose keys can be factored.
pub static ROCA: Rule = Rule {
    id: "TLSW-CRYP-008",
    slug: "roca",
    name: "The RSA key was made by a chip whose keys can be factored",
    category: Category::Crypto,
    severity: Severity::Critical,
    confidence: 99,
    effect: Effect::Alert,
    version: "1",
    techniques: &[PRIVATE_KEYS, WEAKEN_ENCRYPTION],
    description: "The modulus has the fingerprint of CVE-2017-15361: modulo each of the small primes of the test it is a \
        power of 65537. The chance of another key of 512 bits or more to have it is below 2^-50.",
    false_positives: "None known.",
    remedy: "Make the key outside of the chip or on one with new firmware, and revoke the certificate.",
    references: &["CVE-2017-15361", "Nemec et al., The Return of Coppersmith's Attack, CCS 2017"],
    settings: &[],
};

/// TLSW-CRYP-009: the RSA key can be factored at once, because its primes are close together.
pub static FERMAT: Rule = Rule {
    id: "TLSW-CRYP-009",
    slug: "fermat",
    name: "The RSA key can be factored at once, because its primes are close together",
    category: Category::Crypto,
    severity: Severity::Critical,
    confidence: 99,
    effect: Effect::Alert,
    version: "1",
    techniques: &[PRIVATE_KEYS, WEAKEN_ENCRYPTION],
    description: "Fermat's method finds the factors of the modulus within 100 rounds. The factors are never shown.",
    false_positives: "None: it is arithmetic.",
    remedy: "Revoke the certificate and replace the software that made the key.",
    references: &["CVE-2022-26320"],
    settings: &[],
};

/// TLSW-CRYP-011: the handshake did, or did not, use a post-quantum key exchange.
pub static PQ_STATUS: Rule = Rule {
    id: "TLSW-CRYP-011",
    slug: "pq-status",
    name: "The handshake did, or did not, use a post-quantum key exchange",
    category: Category::Crypto,
    severity: Severity::Low,
    confidence: 99,
    effect: Effect::Mark,
    version: "1",
    techniques: &[],
    description: "Records whether the selected group is a hybrid with ML-KEM (X25519MLKEM768, SecP256r1MLKEM768, \
        SecP384r1MLKEM1024), and whether the client offered one. A mark.",
    false_positives: "None: it is a record.",
    remedy: "None; use it to see which servers are still to be moved.",
    references: &["FIPS 203"],
    settings: &[],
};
