//! Rules about interception (TLSW-MITM).

use super::technique::{ADVERSARY_IN_THE_MIDDLE, DEVELOP_CERTIFICATES, DOWNGRADE, INSTALL_ROOT, OBTAIN_CERTIFICATES};
use super::{Category, Effect, Rule, Setting, SettingKind, Severity};

pub(super) static MITM_RULES: &[&Rule] = &[
    &PIN_MISMATCH,
    &UNEXPECTED_CERTIFICATE,
    &LEAF_SIGNED_BY_OWN_KEY,
    &CLONED_CERTIFICATE,
    &ISSUER_IMPERSONATION,
    &INTERCEPTION_PRODUCT_ISSUER,
    &NEW_INTERCEPTION_CA,
    &SPLIT_VIEW,
    &DOWNGRADE_SENTINEL,
    &SERVER_CHOICE_NOT_OFFERED,
    &CLIENTS_REJECT_CERTIFICATE,
    &VERSION_REGRESSION,
    &FALLBACK_SIGNAL,
    &CAPTIVE_PORTAL,
];

/// TLSW-MITM-001: a pinned host presented a certificate that none of its pins allows.
pub static PIN_MISMATCH: Rule = Rule {
    id: "TLSW-MITM-001",
    slug: "pin-mismatch",
    name: "A pinned host presented a certificate that none of its pins allows",
    category: Category::Mitm,
    severity: Severity::Critical,
    confidence: 95,
    effect: Effect::Alert,
    version: "1",
    techniques: &[ADVERSARY_IN_THE_MIDDLE],
    description: "The host matches a [[host]] entry with pins, issuers, issuer_names or certificates that has not expired \
        at packet time, and neither a certificate of the presented chain nor one of the path built from it \
        satisfies any of them. A pin is the SHA-256 of a SubjectPublicKeyInfo, of the leaf or of any certificate \
        above it. Keys of issuers and names of issuers count only where the signature under that issuer's key \
        was verified. Where the path ends at an issuer that was not seen, that may be the one allowed: the finding \
        waits for it as that of CERT-005 does. When it does not appear, the alert has less confidence, and is high instead \
        of critical where other issuers were sent: what is missing then may be a root, which servers need not send. Resumed \
        handshakes carry no certificate and are skipped. An entry past its `expires` date \
        gives a mark instead of an alert.",
    false_positives: "A private CA that no server sends and that is no anchor: name it in `trust.roots`. A rotation of \
        key or CA that nobody entered in the policy. The evidence holds the new pin ready to be pasted, and `policy check` warns of entries without a backup pin.",
    remedy: "Ask the owner of the host whether the certificate was changed. If so, add the new pin; if not, treat \
        every login through this connection as read by somebody else, and find the box between client and \
        server.",
    references: &["RFC 7469"],
    settings: &[],
};

/// TLSW-MITM-002: a known host presented a certificate that does not fit what is known of it.
pub static UNEXPECTED_CERTIFICATE: Rule = Rule {
    id: "TLSW-MITM-002",
    slug: "unexpected-certificate",
    name: "A known host presented a certificate that does not fit what is known of it",
    category: Category::Mitm,
    severity: Severity::Medium,
    confidence: 60,
    effect: Effect::Alert,
    version: "2",
    techniques: &[ADVERSARY_IN_THE_MIDDLE],
    description: "Evidence against and for the new certificate is added up against the host's baseline: loss of public \
        trust, an issuer key never seen, the old certificate still valid and still served to others, one client \
        only, minted just now, missing SCTs, a weaker key, another way to answer or a far slower answer than \
        always before, refusals; and on the other side the same key, the same issuer, an old certificate near its \
        end or revoked, many clients, a path to a public root, an issuer that the policy allows, a client among \
        its `scanners`. The path of the packets (hop limits, options of the SYN-ACK, addresses of the link layer) \
        and DNS are not asked, and a signed certificate timestamp counts little by its \
        presence, and more where a log that the policy names (`trust.ct_logs`) signed it. Against a certificate of \
        a public CA, another or slower way to answer counts only where others still get the old one, and that one \
        client alone got it only where its server stands with the old ones: else the host moved. What others get counts against no client \
        that can take no key of the old one's kind, unless trust was lost. That the same server goes on to serve the old one \
        does not count against another trusted one where two clients got both, the old one later: the server has both (B13). \
        A score from \
        `medium` is an alert of severity medium, from `high` one of severity high. The confidence is 40 plus \
        half of the score, at most 95. Between 25 and `high`, while evidence about other clients is still open, \
        the case is held for `hold` of packet time or 20 handshakes of the host, unless more may show that the server has \
        both. Where a certificate that nobody \
        trusts was the first of a host and a trusted one comes that was valid by then, the first is judged as if it \
        had come second, and told with its clients, if it comes again, copied the other or splits the clients \
        (MITM-008); else it is taken for what the other replaced. Where many got the one that nobody trusts for days, \
        the trusted one is the new one and judged as such, but the message and the evidence (B12) say that the former \
        one was not trusted. Where the ClientHello was not captured, an address may have been asked for any name: \
        only certificates that one name fits are compared, here and by MITM-008 (of one with more than eight names, \
        eight are known). A host is judged from 30 handshakes over 24 hours on; in a capture read from a file from the \
        first.",
    false_positives: "An unannounced change of a private CA; an appliance that makes itself a new certificate (once medium, \
        then the host counts as volatile). The evidence lists every point for and against.",
    remedy: "Compare the certificate with the one in the baseline, which stands beside it in the evidence. If the \
        change is right, `tlswatch baseline accept` it; if not, look for what stands between this client and the \
        host.",
    references: &[
        "Durumeric et al., The Security Impact of HTTPS Interception, NDSS 2017",
        "Wendlandt et al., Perspectives, USENIX ATC 2008",
    ],
    settings: &[
        Setting {
            name: "medium",
            kind: SettingKind::Number { default: 40, least: 1, most: 1_000 },
            meaning: "score from which the alert is medium",
        },
        Setting {
            name: "high",
            kind: SettingKind::Number { default: 70, least: 1, most: 1_000 },
            meaning: "score from which the alert is high",
        },
        Setting {
            name: "hold",
            kind: SettingKind::Duration { default: 900 },
            meaning: "how long a case may wait for the sight of other clients; 0 never waits",
        },
    ],
};

/// TLSW-MITM-003: the leaf names another issuer, yet its own key signed it.
pub static LEAF_SIGNED_BY_OWN_KEY: Rule = Rule {
    id: "TLSW-MITM-003",
    slug: "leaf-signed-by-own-key",
    name: "The leaf names another issuer, yet its own key signed it",
    category: Category::Mitm,
    severity: Severity::High,
    confidence: 95,
    effect: Effect::Alert,
    version: "1",
    techniques: &[ADVERSARY_IN_THE_MIDDLE, DEVELOP_CERTIFICATES],
    description: "The issuer's name differs from the subject's after normalisation (RFC 5280 section 7.1), and the \
        signature of the leaf verifies under the leaf's own public key. An authority key identifier equal to the \
        SHA-1 of the leaf's own key is the cheap sign that it is worth testing; the signature decides. \
        Interception proxies do this because they use the CA's key for every certificate they forge. Medium \
        instead of high when the host is internal and seen for the first time.",
    false_positives: "A home-made PKI in which CA and server share one key. It never holds for a certificate of a public CA.",
    remedy: "Find out which proxy signs for this client (the issuer's name is chosen by it and proves nothing). If it \
        is the organisation's own, give its CA in [[interception]]; if it is a home-made PKI, in \
        [[internal_ca]].",
    references: &["RFC 5280 section 7.1"],
    settings: &[],
};

/// TLSW-MITM-004: a certificate copies serial number or validity of the host's genuine one, under another key.
pub static CLONED_CERTIFICATE: Rule = Rule {
    id: "TLSW-MITM-004",
    slug: "cloned-certificate",
    name: "A certificate copies serial number or validity of the host's genuine one, under another key",
    category: Category::Mitm,
    severity: Severity::Critical,
    confidence: 95,
    effect: Effect::Alert,
    version: "2",
    techniques: &[ADVERSARY_IN_THE_MIDDLE, OBTAIN_CERTIFICATES],
    description: "Against a certificate known for this host: the keys differ, the issuer keys differ, the sets of names \
        are equal or one has a single name more, and one of these holds: (a) the serial numbers are equal and \
        have at least 64 bits; (b) they have at least 64 bits each and differ by less than 2^32; (c) notBefore \
        and notAfter are both equal to the second, and at least one of them is not at midnight. Of two of which \
        one is trusted the other is the copy, also where it came first; then its clients are told. Where nobody \
        vouches for either, (c) is critical only if the new one was signed by its own key, or if the validity of one \
        begins more than a day before that of its own CA; else it is medium and no proof, for two private CAs may \
        sign in one run. It is nothing where both were made within ten minutes of their CAs, as installers do.",
    false_positives: "A CA that signs one request with two keys (cross-certification) keeps serial numbers rarely. Private CAs \
        that give whole days are excluded from (c); those that take the time for a serial number from (a) and (b). \
        Two private CAs that sign for one name in the same second, years after they were made, give one medium alert.",
    remedy: "Both certificates are in the evidence: the expected one is the genuine one. Treat the connection as \
        intercepted, and look at the path between this client and the server. Where it is medium, ask first whether \
        both CAs are yours, and name them in [[internal_ca]].",
    references: &["RFC 5280 section 4.1.2.2"],
    settings: &[],
};

/// TLSW-MITM-005: the certificate claims a known issuer that did not sign it.
pub static ISSUER_IMPERSONATION: Rule = Rule {
    id: "TLSW-MITM-005",
    slug: "issuer-impersonation",
    name: "The certificate claims a known issuer that did not sign it",
    category: Category::Mitm,
    severity: Severity::Critical,
    confidence: 90,
    effect: Effect::Alert,
    version: "1",
    techniques: &[ADVERSARY_IN_THE_MIDDLE, DEVELOP_CERTIFICATES],
    description: "Either the authority key identifier equals the subject key identifier of a known issuer (a built-in \
        root, an anchor of the policy, or a CA learned here) and the signature does not verify under that \
        issuer's key; or the issuer's name is that of a known public issuer, no known key of that name verifies \
        the signature, and no path leads to a trust anchor. All keys of one name are tried. The second form is \
        medium while only roots and learned issuers are known, because a new generation of the CA looks alike. A \
        signature that cannot be checked is no evidence. Or a certificate of the chain has the public point of such an \
        issuer's elliptic curve key on parameters that it spells out itself, and these are not those of the genuine \
        curve: a client that compares points only takes it for the issuer's (99 % sure). The same parameters in other \
        words are no evidence. An issuer that is learned later counts too: the latest \
        chains that nobody trusts are asked again.",
    false_positives: "A new generation of a public CA under the old name, in the second form.",
    remedy: "The issuer's name was typed by whoever made this certificate. Treat the connection as intercepted and \
        find out where the path leaves the network.",
    references: &[
        "RFC 5280 section 4.2.1.1",
        "RFC 5480 section 2.1.1",
        "CVE-2020-0601: clients that compared points only",
    ],
    settings: &[],
};

/// TLSW-MITM-006: the certificate comes from the CA of an interception product.
pub static INTERCEPTION_PRODUCT_ISSUER: Rule = Rule {
    id: "TLSW-MITM-006",
    slug: "interception-product-issuer",
    name: "The certificate comes from the CA of an interception product",
    category: Category::Mitm,
    severity: Severity::Medium,
    confidence: 85,
    effect: Effect::Alert,
    version: "1",
    techniques: &[ADVERSARY_IN_THE_MIDDLE],
    description: "The chain does not lead to a public root, and the issuer of the leaf or a name of a CA above it is one \
        that an interception product, a debugging proxy or known adware uses. An [[interception]] entry with \
        this key for this client turns it into a mark. Low where it looks like the certificate of the product's own \
        administration or VPN: a server called by its address, and a leaf that has the product's name and that of no host.",
    false_positives: "The organisation's own proxy that is not in the policy. A public certificate of such a vendor's own site \
        never counts, because its chain is public.",
    remedy: "If the proxy is the organisation's, enter its CA and the clients it may serve in [[interception]]. If a \
        single computer runs the product, ask its user. Otherwise treat the connection as intercepted.",
    references: &["Huang et al., Analyzing Forged SSL Certificates in the Wild, IEEE S&P 2014"],
    settings: &[],
};

/// TLSW-MITM-007: an unknown CA signs for many unrelated domains.
pub static NEW_INTERCEPTION_CA: Rule = Rule {
    id: "TLSW-MITM-007",
    slug: "new-interception-ca",
    name: "An unknown CA signs for many unrelated domains",
    category: Category::Mitm,
    severity: Severity::High,
    confidence: 90,
    effect: Effect::Alert,
    version: "1",
    techniques: &[ADVERSARY_IN_THE_MIDDLE, INSTALL_ROOT],
    description: "Within `window`, one issuer key that neither leads to a trust anchor nor stands in [[internal_ca]] \
        signed leaves that are valid for the name asked for, of at least `domains` unrelated registrable \
        domains, of which at least `public` were seen here with a publicly trusted certificate (before, or within `window` after) or are in \
        the list of popular domains. It heads the alert of everything else that this key causes (MITM-002, 003, \
        006). Medium with confidence 40 for clients that a proxy of the policy may intercept of which only the key is \
        given, while neither its CA nor whose signature it is was seen.",
    false_positives: "A company CA signs internal names, which have no public history and do not count. Laboratories belong in \
        the policy.",
    remedy: "Find out who holds this CA and which computers trust it. The evidence lists domains and clients, and \
        whether all leaves share one key.",
    references: &["Raman et al., Investigating Large Scale HTTPS Interception in Kazakhstan, IMC 2020"],
    settings: &[
        Setting {
            name: "domains",
            kind: SettingKind::Number { default: 5, least: 2, most: 64 },
            meaning: "unrelated registrable domains from which it fires",
        },
        Setting {
            name: "public",
            kind: SettingKind::Number { default: 3, least: 0, most: 64 },
            meaning: "of these, how many must be known as public",
        },
        Setting {
            name: "window",
            kind: SettingKind::Duration { default: 86_400 },
            meaning: "time in which they must be seen",
        },
    ],
};

/// TLSW-MITM-008: some clients get another certificate from the same server than the others.
pub static SPLIT_VIEW: Rule = Rule {
    id: "TLSW-MITM-008",
    slug: "split-view",
    name: "Some clients get another certificate from the same server than the others",
    category: Category::Mitm,
    severity: Severity::High,
    confidence: 80,
    effect: Effect::Alert,
    version: "2",
    techniques: &[ADVERSARY_IN_THE_MIDDLE],
    description: "Within `window` the same host at the same server address (or its /24 or /64) serves leaves of different \
        issuer keys, and the clients fall apart cleanly: each saw one of them only, the majority goes on to get \
        its own when the minority has come, it has at least 3 clients and 10 handshakes, the minority lies in at most \
        2 subnets. Only clients whose JA4 occurs on both \
        sides, or leaves of the same kind of key, are compared. Medium when both chains are public. Where the majority \
        has 16 clients or more in two hours and trust is not lost, it is told only when so many others have come since \
        the minority did that a share of one in a hundred would not be so small by chance: 460 beside one client, 650 \
        beside two, fewer in proportion where fewer than 920 come in two hours. What the minority got until then is told with it. A certificate \
        that was in more than 8 subnets at any time is no minority's, unless it is the trusted one.",
    false_positives: "Anycast and global load balancing (hence the same address), a choice between RSA and ECDSA, a canary \
        with public chains of one operator (mark only). A balancer that binds each client to a backend makes a canary of \
        few clients look the same as an attack on them.",
    remedy: "Compare the path of the minority with that of the majority: what stands in the way of these clients \
        only?",
    references: &["Wendlandt et al., Perspectives, USENIX ATC 2008"],
    settings: &[Setting {
        name: "window",
        kind: SettingKind::Duration { default: 3_600 },
        meaning: "time in which both views must be seen",
    }],
};

/// TLSW-MITM-009: the server says that the client offered less than it did.
pub static DOWNGRADE_SENTINEL: Rule = Rule {
    id: "TLSW-MITM-009",
    slug: "downgrade-sentinel",
    name: "The server says that the client offered less than it did",
    category: Category::Mitm,
    severity: Severity::Critical,
    confidence: 90,
    effect: Effect::Alert,
    version: "1",
    techniques: &[ADVERSARY_IN_THE_MIDDLE, DOWNGRADE],
    description: "The ClientHello of this connection offers TLS 1.3 in supported_versions (or, in DTLS, DTLS 1.3), the \
        ServerHello selects 1.2 or less, and the last eight octets of its random are 44 4F 57 4E 47 52 44 01 or \
        .. 00; or the client's highest version is 1.2, the server selects 1.1 or less, and the tail is .. 00. \
        The random that marks a HelloRetryRequest never counts. Somebody rewrote the hello on its way to the \
        server, or ends TLS in between and copied the server's random. With an illegal_parameter alert of the \
        client after it the confidence is 99.",
    false_positives: "A broken server or balancer: then all clients that offer 1.3 see it and go on; after three clients the \
        message says so. Seen from the server's side the sentinel is normal, because the hello there offers \
        less.",
    remedy: "Capture on the server's side as well: the two hellos show what was changed and between which points. \
        Update the device that ends or rewrites TLS.",
    references: &["RFC 8446 section 4.1.3"],
    settings: &[],
};

/// TLSW-MITM-010: the server chose something that the client did not offer.
pub static SERVER_CHOICE_NOT_OFFERED: Rule = Rule {
    id: "TLSW-MITM-010",
    slug: "server-choice-not-offered",
    name: "The server chose something that the client did not offer",
    category: Category::Mitm,
    severity: Severity::High,
    confidence: 85,
    effect: Effect::Alert,
    version: "1",
    techniques: &[ADVERSARY_IN_THE_MIDDLE],
    description: "With both hellos complete and without a gap: the selected version, cipher suite, compression method, \
        application protocol or key share group was not offered; or an extension of the ServerHello was not sent \
        by the client (renegotiation_info after the SCSV and cookie of a HelloRetryRequest excepted); or the \
        session id echoed in TLS 1.3 differs. The message names which.",
    false_positives: "A capture with losses: the rule asks for gap-free hellos. Version negotiation of QUIC and cookies of \
        DTLS are known to it.",
    remedy: "Compare the hello on both sides of every device on the path. A server that does this alone is broken and \
        interoperates with nobody.",
    references: &["RFC 8446 section 4.1.3", "RFC 5246 section 7.4.1.3"],
    settings: &[],
};

/// TLSW-MITM-013: several clients rejected the certificate of a host.
pub static CLIENTS_REJECT_CERTIFICATE: Rule = Rule {
    id: "TLSW-MITM-013",
    slug: "clients-reject-certificate",
    name: "Several clients rejected the certificate of a host",
    category: Category::Mitm,
    severity: Severity::Medium,
    confidence: 70,
    effect: Effect::Alert,
    version: "1",
    techniques: &[ADVERSARY_IN_THE_MIDDLE],
    description: "Within `window`, fatal alerts bad_certificate (42), unsupported_certificate (43), certificate_unknown \
        (46), unknown_ca (48) or bad_certificate_status_response (113), or in TLS 1.3 a first encrypted record of \
        a client that is neither Finished nor a certificate flight but as short as an alert (19 or 35 octets) and \
        the last that the client sends before the connection ends, come from at least `clients` clients of one host, \
        or from one client in at least half of five or more handshakes, where the host's rate over the last 7 \
        days was below 1 %. One client that refuses several hosts whose certificates nothing speaks against is one \
        alert, about it. Certificate_revoked (44) and certificate_expired (45) belong to CERT-013 and \
        CERT-001. High together with evidence of MITM-002. A level less with confidence 40 where it may be a proxy \
        of the policy of which only the key is given, as in MITM-007.",
    false_positives: "Apps with pins behind an authorised proxy, devices that fail always (they are in the baseline), clients \
        with a wrong clock.",
    remedy: "Look at the certificate in the evidence: if it is the genuine one, the clients lack a root or an \
        intermediate; if not, the clients noticed an interception.",
    references: &["RFC 8446 section 6.2", "Acer et al., Where the Wild Warnings Are, CCS 2017"],
    settings: &[
        Setting {
            name: "clients",
            kind: SettingKind::Number { default: 3, least: 1, most: 1_000 },
            meaning: "clients from which it fires",
        },
        Setting {
            name: "window",
            kind: SettingKind::Duration { default: 600 },
            meaning: "time in which they must reject",
        },
    ],
};

/// TLSW-MITM-014: a host that spoke TLS 1.3 with this kind of client now speaks less.
pub static VERSION_REGRESSION: Rule = Rule {
    id: "TLSW-MITM-014",
    slug: "version-regression",
    name: "A host that spoke TLS 1.3 with this kind of client now speaks less",
    category: Category::Mitm,
    severity: Severity::Medium,
    confidence: 60,
    effect: Effect::Alert,
    version: "1",
    techniques: &[DOWNGRADE],
    description: "The host made at least 50 handshakes of TLS 1.3 with clients of the same JA4 that offer 1.3, and now \
        selects 1.2 or less for the same JA4 from one of the last eight server prefixes (/24, /64) that spoke 1.3 with it, \
        three times or once together with evidence about its certificate.",
    false_positives: "Servers in maintenance, hosts with several operators (no alert on hosts that are known as multi).",
    remedy: "Ask the operator for the change. If there was none, compare with a capture close to the server.",
    references: &["RFC 8446 appendix D"],
    settings: &[],
};

/// TLSW-MITM-015: a client fell back to an older version and said so.
pub static FALLBACK_SIGNAL: Rule = Rule {
    id: "TLSW-MITM-015",
    slug: "fallback-signal",
    name: "A client fell back to an older version and said so",
    category: Category::Mitm,
    severity: Severity::Low,
    confidence: 60,
    effect: Effect::Alert,
    version: "1",
    techniques: &[DOWNGRADE],
    description: "A ClientHello contains TLS_FALLBACK_SCSV (0x5600), or the server answered with a fatal \
        inappropriate_fallback (86). Medium when the host normally speaks TLS 1.3 with this client. Resets and \
        timeouts to the same host within the 30 seconds before are evidence for somebody who breaks connections.",
    false_positives: "Scanners and old software: current clients do not fall back any more.",
    remedy: "See whether connections to this host were broken just before. Retire the client that still falls back.",
    references: &["RFC 7507", "RFC 8996"],
    settings: &[],
};

/// TLSW-MITM-031: one certificate answers for unrelated names that it does not hold.
pub static CAPTIVE_PORTAL: Rule = Rule {
    id: "TLSW-MITM-031",
    slug: "captive-portal",
    name: "One certificate answers for unrelated names that it does not hold",
    category: Category::Mitm,
    severity: Severity::Low,
    confidence: 70,
    effect: Effect::Alert,
    version: "1",
    techniques: &[],
    description: "One leaf answered at least `names` server names of unrelated registrable domains from one client within \
        `window`, and matches none of them.",
    false_positives: "A captive portal is what this rule is for; it keeps such portals from raising MITM-002 and CERT-004. A \
        hosting server with a default certificate behaves alike.",
    remedy: "None if the client sits in a guest network. Otherwise find the gateway that answers for everybody.",
    references: &["RFC 8952"],
    settings: &[
        Setting {
            name: "names",
            kind: SettingKind::Number { default: 3, least: 2, most: 100 },
            meaning: "unrelated names from which it fires",
        },
        Setting {
            name: "window",
            kind: SettingKind::Duration { default: 300 },
            meaning: "time in which they must be asked for",
        },
    ],
};
