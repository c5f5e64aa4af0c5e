//! Conditions of rules that would stay unseen if they were negated: what a message names, which entry of several counts.

use std::sync::Arc;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyUsagePurpose};

use super::alerts::When;
use super::catalogue::{Effect, Severity};
use super::judge::Afterthought;
use super::judge_tests::{Bench, HOME, NONE, WWW, how, named, spki};
use super::knowledge::KeyFile;
use super::lists::List;
use super::testing::{Ca, DAY, Plan, START, ids, key, of, parse};
use crate::policy::Policy;
use crate::time::Timestamp;
use crate::tls::{Protocol, ServerKeyExchange};
use crate::x509::Certificate;

fn policy_of(line: &str) -> String {
    format!("[[host]]\nmatch = [\"www.example.com\"]\n{line}\n")
}

#[test]
fn expired_names_the_certificate_that_expired() {
    let ca = Ca::new("Root");
    let chain = ca.chain(&Plan::of(&["www.example.com"]).dates(START - 10 * DAY, START - DAY));
    let found = Bench::new(&[&ca]).findings(HOME, &chain);
    let message = &of(&found, "CERT-001").unwrap().message;
    assert!(message.ends_with("a certificate that expired on 2026-02-28."), "{message}");
}

#[test]
fn names_of_a_mismatch_are_few() {
    let ca = Ca::new("Root");
    let message = |names: &[&str]| {
        let found = Bench::new(&[&ca]).findings(WWW, &ca.chain(&Plan::of(names)));
        of(&found, "CERT-004").unwrap().message.split(" but for ").nth(1).unwrap().to_owned()
    };
    assert_eq!(message(&["a.example"]), "'a.example'.");
    assert_eq!(message(&["a.example", "b.example", "c.example"]), "'a.example', 'b.example', 'c.example'.");
    assert_eq!(message(&["a.example", "b.example", "c.example", "d.example"]).matches("others").count(), 1);
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "only a name");
    let bare = parse(params.signed_by(&key(), &ca.issuer).unwrap().der());
    let found = Bench::new(&[&ca]).findings(WWW, &[bare]);
    assert!(of(&found, "CERT-004").unwrap().message.ends_with("but for 'CN=only a name'."));
}

#[test]
fn key_usage_must_fit_the_key_exchange() {
    let ca = Ca::new("Root");
    let fires = |usage: KeyUsagePurpose, cipher: u16, signed: bool| {
        let mut params = CertificateParams::new(vec!["www.example.com".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "www.example.com");
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2026, 2, 1), rcgen::date_time_ymd(2026, 6, 1));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![usage];
        let chain = [parse(params.signed_by(&key(), &ca.issuer).unwrap().der())];
        let found = Bench::new(&[&ca]).changed(HOME, &chain, |one| {
            one.handshake.server_hello.as_mut().unwrap().cipher_suite = Some(cipher);
            one.handshake.server_key_exchange = Some(Box::new(ServerKeyExchange {
                signature: if signed { vec![1].into() } else { Vec::new().into() },
                ..ServerKeyExchange::default()
            }));
        });
        how(&found, "CERT-010").is_some()
    };
    // ECDHE_RSA signs, RSA encrypts.
    assert!(fires(KeyUsagePurpose::KeyEncipherment, 0xc02f, true));
    assert!(!fires(KeyUsagePurpose::KeyEncipherment, 0xc02f, false));
    assert!(!fires(KeyUsagePurpose::DigitalSignature, 0xc02f, true));
    assert!(fires(KeyUsagePurpose::DigitalSignature, 0x009c, false));
    assert!(!fires(KeyUsagePurpose::KeyEncipherment, 0x009c, false));
}

/// As Windows makes them for remote desktops: with keyEncipherment and dataEncipherment, used with ECDHE.
#[test]
fn the_usage_of_what_signed_itself_is_of_little_weight() {
    let ca = Ca::new("Root");
    let desktop = key();
    let mut params = CertificateParams::new(vec!["printer.lan".to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "desktop");
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(2026, 2, 1), rcgen::date_time_ymd(2026, 6, 1));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::KeyEncipherment, KeyUsagePurpose::DataEncipherment];
    let itself = parse(params.self_signed(&desktop).unwrap().der());
    let issued = parse(params.signed_by(&desktop, &ca.issuer).unwrap().der());
    for (leaf, severity) in [(itself, Severity::Low), (issued, Severity::Medium)] {
        let found = Bench::new(&[&ca]).changed(HOME, &[leaf], |one| {
            one.handshake.server_hello.as_mut().unwrap().cipher_suite = Some(0xc02f);
            one.handshake.server_key_exchange =
                Some(Box::new(ServerKeyExchange { signature: vec![1].into(), ..ServerKeyExchange::default() }));
        });
        assert_eq!(how(&found, "CERT-010").unwrap().0, severity);
    }
}

/// WebRTC inside a company: a certificate for each call, on both sides.
#[test]
fn calls_are_no_self_signed_hosts() {
    let alerts = |protocol, named: bool, client: bool| {
        let own = Plan::of(&["WebRTC"]).dates(START - DAY, START + 29 * DAY);
        let found = Bench::new(&[]).changed(HOME, &own.self_signed(), |one| {
            one.handshake.protocol = protocol;
            if !named {
                one.handshake.client_hello.as_mut().unwrap().server_name = None;
            }
            if client {
                one.client_chain = own.self_signed();
            }
        });
        found
            .iter()
            .filter(|finding| finding.effect == Effect::Alert)
            .map(|finding| finding.rule.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(alerts(Protocol::Dtls, false, true), NONE);
    for (protocol, named, client) in
        [(Protocol::Tls, false, true), (Protocol::Dtls, true, true), (Protocol::Dtls, false, false)]
    {
        assert!(alerts(protocol, named, client).contains(&"TLSW-CERT-006"), "{protocol:?} {named} {client}");
    }
}

#[test]
fn export_ciphers_are_graver_where_better_ones_were_offered() {
    let ca = Ca::new("Root");
    let chain = ca.chain(&Plan::of(&["www.example.com"]));
    let severity = |offered: &[u16]| {
        let found = Bench::new(&[&ca]).changed(WWW, &chain, |one| {
            one.handshake.client_hello.as_mut().unwrap().cipher_suites = offered.to_vec().into();
            one.handshake.server_hello.as_mut().unwrap().cipher_suite = Some(0x0003);
        });
        how(&found, "CRYP-002").unwrap().0
    };
    assert_eq!(severity(&[0x0003, 0x0005]), Severity::High);
    assert_eq!(severity(&[0x0003, 0x0005, 0x00ff]), Severity::High, "a signaling value");
    assert_eq!(severity(&[0x0003, 0xc02f]), Severity::Critical);
    assert_eq!(severity(&[0x0005]), Severity::Critical);
}

#[test]
fn a_weak_cipher_is_told_with_its_weakness() {
    let ca = Ca::new("Root");
    let chain = ca.chain(&Plan::of(&["www.example.com"]));
    for (cipher, weakness) in [
        (0x0002, "no encryption"),
        (0x0018, "no authentication"),
        (0x0003, "export strength"),
        (0x0005, "RC4 is broken"),
        (0x0009, "keys of 56 bits"),
        (0x000a, "blocks of 64 bits"),
        (0x002f, "no forward secrecy"),
    ] {
        let found = Bench::new(&[&ca]).changed(WWW, &chain, |one| {
            one.handshake.client_hello.as_mut().unwrap().cipher_suites = vec![cipher].into();
            one.handshake.server_hello.as_mut().unwrap().cipher_suite = Some(cipher);
        });
        let told = found.iter().find(|finding| finding.rule.id.ends_with("CRYP-002")).unwrap();
        assert!(told.message.ends_with(&format!(": {weakness}.")), "{}", told.message);
    }
}

#[test]
fn a_common_name_that_does_not_count_is_told_as_such() {
    let ca = Ca::new("Root");
    let message = |common_name: &str, others: Option<&[u8]>| {
        let plan = Plan { common_name: common_name.to_owned(), ..Plan::of(&["api.example.com"]) };
        let mut params = plan.params();
        if let Some(others) = others {
            params.subject_alt_names.clear();
            let extension = rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 17], others.to_vec());
            params.custom_extensions.push(extension);
        }
        let leaf = parse(params.signed_by(&key(), &ca.issuer).unwrap().der());
        let found = Bench::new(&[&ca]).findings(WWW, &[leaf, Arc::clone(&ca.certificate)]);
        found.into_iter().find(|finding| finding.rule.id.ends_with("CERT-004")).unwrap().message
    };
    let only = "a certificate that names www.example.com only as its commonName, which does not count beside";
    assert!(message("www.example.com", None).ends_with(&format!("{only} a subjectAltName.")));
    assert!(message("www.example.com", Some(&[0x30, 0])).ends_with(&format!("{only} an empty subjectAltName.")));
    let other = "a certificate that is not for www.example.com but for";
    assert!(message("other.example.com", None).ends_with(&format!("{other} 'api.example.com'.")));
    assert!(message("other.example.com", Some(&[0x30, 0])).ends_with(&format!("{other} 'CN=other.example.com'.")));
}

/// Marlinspike, 2009: a CA looks at the end of a name, a client at its beginning.
#[test]
fn a_name_with_a_nul_is_told_as_what_it_is() {
    let ca = Ca::new("Root");
    let found = |name: &str, common: bool| {
        let mut plan = Plan::of(&["www.example.com"]);
        if common {
            name.clone_into(&mut plan.common_name);
        }
        let mut params = plan.params();
        params.subject_alt_names.clear();
        if !common {
            let length = u8::try_from(name.len()).unwrap();
            let content = [&[0x30, length + 2, 0x82, length][..], name.as_bytes()].concat();
            let extension = rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 17], content);
            params.custom_extensions.push(extension);
        }
        let leaf = parse(params.signed_by(&key(), &ca.issuer).unwrap().der());
        let found = Bench::new(&[&ca]).findings(WWW, &[leaf, Arc::clone(&ca.certificate)]);
        found.into_iter().find(|finding| finding.rule.id.ends_with("CERT-004")).unwrap()
    };
    for common in [false, true] {
        let told = found("www.example.com\0.evil.test", common);
        let end = "a certificate for 'www.example.com\\x00.evil.test', which clients that stop at the NUL take for www.example.com.";
        assert!(told.message.ends_with(end), "{}", told.message);
        assert_eq!((told.severity, told.evidence.proofs[0].id), (Severity::High, "nul"));
        let other = found("other.example.com\0.evil.test", common);
        assert_eq!((other.severity, other.evidence.proofs.len()), (Severity::Low, 0));
        // Four characters, no octet.
        assert_eq!(found("www.example.com\\x00.evil.test", common).severity, Severity::Low);
    }
}

#[test]
fn the_entry_that_fits_is_the_one_that_counts() {
    let ca = Ca::new("Root");
    let chain = ca.chain(&Plan::of(&["www.example.com"]));
    let (sha256, leaf, other) = (chain[0].sha256.to_string(), spki(&chain[0]), "ab".repeat(32));
    let entry = |what: &str, reason: &str| format!("[[compromised]]\n{what}\nreason = \"{reason}\"\n");
    let with = |policy: String| Bench::new(&[&ca]).policy(&policy).findings(WWW, &chain);
    let two = |kind: &str, fits: &str| {
        entry(&format!("{kind} = [\"{other}\"]"), "another") + &entry(&format!("{kind} = [\"{fits}\"]"), "this one")
    };
    for (kind, fits, id) in [("certificates", &sha256, "CERT-014"), ("keys", &leaf, "KEY-006")] {
        let found = with(two(kind, fits));
        assert_eq!(ids(&found), [id]);
        assert!(found[0].message.contains("this one"), "{}", found[0].message);
        assert_eq!(ids(&with(entry(&format!("{kind} = [\"{other}\"]"), "another"))), NONE);
    }
    // The reason in a list is told, an empty date is not.
    let mut bench = Bench::new(&[&ca]);
    bench.knowledge.blocklists = named(List::certificates(&format!("{sha256} stolen")));
    let found = bench.findings(WWW, &chain);
    assert!(found[0].message.ends_with("'list line 1, stolen'."), "{}", found[0].message);
}

#[test]
fn protocols_and_names_that_the_policy_asks_for() {
    let ca = Ca::new("Root");
    let chain = ca.chain(&Plan::of(&["www.example.com"]));
    let with = |policy: &str, alpn: Option<&[u8]>| {
        let found = Bench::new(&[&ca]).policy(policy).changed(WWW, &chain, |one| {
            one.handshake.server_hello.as_mut().unwrap().alpn = alpn.map(Into::into);
        });
        ids(&found)
    };
    let alpn = policy_of("alpn = [\"h2\", \"http/1.1\"]");
    assert_eq!(with(&alpn, Some(b"h2")), NONE);
    assert_eq!(with(&alpn, None), NONE);
    assert_eq!(with(&alpn, Some(b"spdy/3")), ["POL-004"]);
    assert_eq!(with(&policy_of("owner = \"me\""), Some(b"spdy/3")), NONE);
    let cipher = |name: &str| with(&policy_of(&format!("ciphers = [\"{name}\"]")), None);
    assert_eq!(cipher("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"), NONE);
    assert_eq!(cipher("TLS_AES_128_GCM_SHA256"), ["POL-004"]);
    let wildcards = policy_of("wildcards = false");
    let of = |name: &str| {
        let chain = ca.chain(&Plan::of(&[name]));
        ids(&Bench::new(&[&ca]).policy(&wildcards).findings(WWW, &chain))
    };
    assert_eq!((of("*.example.com"), of("www.example.com")), (vec!["POL-007"], vec![]));
    let owner = "[rules.\"TLSW-POL-007\"]\nowner_required = true\n";
    let with_owner = |line: &str| ids(&Bench::new(&[&ca]).policy(&(policy_of(line) + owner)).findings(WWW, &chain));
    assert_eq!((with_owner("max_days = 300"), with_owner("owner = \"me\"")), (vec!["POL-007"], vec![]));
}

#[test]
fn a_list_that_is_out_of_date_says_so() {
    let ca = Ca::new("Root");
    let chain = ca.chain(&Plan::of(&["www.example.com"]));
    let told = |next_month: u8| {
        let list = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2026, 1, 2),
            next_update: rcgen::date_time_ymd(2026, next_month, 2),
            crl_number: rcgen::SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: vec![rcgen::RevokedCertParams {
                serial_number: rcgen::SerialNumber::from_slice(&chain[0].facts.as_deref().unwrap().serial),
                revocation_time: rcgen::date_time_ymd(2026, 1, 1),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let mut bench = Bench::new(&[&ca]);
        bench.knowledge.crls = super::crl::Crl::read(list.signed_by(&ca.issuer).unwrap().der()).unwrap();
        of(&bench.findings(WWW, &chain), "CERT-013").unwrap().message.ends_with("(by a list that is out of date).")
    };
    assert_eq!((told(2), told(4)), (true, false));
}

/// A CRL of `ca` that was made on a day of 2026 (month, day), with this entry.
fn crl_of(ca: &Ca, (month, day): (u8, u8), entries: Vec<rcgen::RevokedCertParams>) -> super::crl::Crl {
    let list = rcgen::CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2026, month, day),
        next_update: rcgen::date_time_ymd(2026, 6, 1),
        crl_number: rcgen::SerialNumber::from_slice(&[month, day]),
        issuing_distribution_point: None,
        revoked_certs: entries,
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    super::crl::Crl::read(list.signed_by(&ca.issuer).unwrap().der()).unwrap().remove(0)
}

#[test]
fn revocation_is_judged_at_packet_time() {
    use rcgen::RevocationReason::{CertificateHold, KeyCompromise};
    let ca = Ca::new("Root");
    let chain = ca.chain(&Plan::of(&["www.example.com"]));
    let entry = |(month, day): (u8, u8), reason, invalid: Option<(u8, u8)>| rcgen::RevokedCertParams {
        serial_number: rcgen::SerialNumber::from_slice(&chain[0].facts.as_deref().unwrap().serial),
        revocation_time: rcgen::date_time_ymd(2026, month, day),
        reason_code: Some(reason),
        invalidity_date: invalid.map(|(month, day)| rcgen::date_time_ymd(2026, month, day)),
    };
    let hold = || vec![entry((2, 1), CertificateHold, None)];
    // The scene is on 2026-03-01.
    for (crls, wanted) in [
        (vec![((2, 2), hold())], Some((Severity::High, 99, "was on hold since 2026-02-01: "))),
        (vec![((2, 2), hold()), ((2, 20), vec![])], None),
        (
            vec![((3, 5), hold()), ((4, 1), vec![])],
            Some((Severity::Medium, 99, "was on hold since 2026-02-01 (lifted later, by 2026-04-01): ")),
        ),
        (
            vec![((2, 2), hold()), ((4, 1), vec![])],
            Some((Severity::Medium, 60, "if that had not been lifted: it was between 2026-02-02 and 2026-04-01: ")),
        ),
        (vec![((4, 1), vec![entry((3, 9), KeyCompromise, None)])], None),
        (
            vec![((4, 1), vec![entry((3, 9), KeyCompromise, Some((2, 20)))])],
            Some((Severity::Critical, 99, "was revoked later, on 2026-03-09, as invalid since 2026-02-20: ")),
        ),
        (vec![((4, 1), vec![entry((3, 9), KeyCompromise, Some((3, 2)))])], None),
    ] {
        let mut bench = Bench::new(&[&ca]);
        bench.knowledge.crls = crls.into_iter().map(|(made, entries)| crl_of(&ca, made, entries)).collect();
        let found = bench.findings(WWW, &chain);
        assert_eq!(found.len(), usize::from(wanted.is_some()), "{found:?}");
        if let Some((severity, confidence, words)) = wanted {
            assert!(found[0].message.contains(words), "{}", found[0].message);
            assert_eq!((found[0].severity, found[0].confidence), (severity, confidence), "{words}");
        }
    }
}

#[test]
fn stored_uses_during_a_hold_are_told_though_it_was_lifted() {
    let ca = Ca::new("Root");
    let chain = ca.chain(&Plan::of(&["www.example.com"]));
    let hold = rcgen::RevokedCertParams {
        serial_number: rcgen::SerialNumber::from_slice(&chain[0].facts.as_deref().unwrap().serial),
        revocation_time: rcgen::date_time_ymd(2026, 3, 1),
        reason_code: Some(rcgen::RevocationReason::CertificateHold),
        invalidity_date: None,
    };
    let mut bench = Bench::new(&[&ca]);
    bench.knowledge.crls = vec![crl_of(&ca, (3, 10), vec![hold]), crl_of(&ca, (3, 20), vec![])];
    let told = |days: &[i64]| {
        let times: Vec<_> = days.iter().map(|day| crate::time::ValidityTime(START + day * DAY)).collect();
        let hits = super::stored::hits(&bench.knowledge, (&chain[0], &[Arc::clone(&ca.certificate)]), (false, &times));
        hits.into_iter().map(|hit| hit.source).collect::<Vec<_>>()
    };
    // Day 0 is 2026-03-01.
    assert_eq!(told(&[-10, 40]), [""; 0]);
    assert_eq!(told(&[3, 40]), ["a CRL: on hold since 2026-03-01 (lifted later, by 2026-03-20), certificateHold"]);
}

#[test]
fn a_mismatch_that_a_portal_explains_is_taken_back() {
    use super::watch::Watch;
    let ca = Ca::new("Portal");
    let portal = ca.chain(&Plan::of(&["portal.example"]));
    let mut bench = Bench::new(&[]);
    let mut judge = Bench::new(&[]).judge();
    judge.add(Box::new(Watch::new(Arc::clone(&bench.scene.anchors), 100)));
    let mut told = Vec::new();
    for (number, name) in ["www.example.com", "www.example.net", "www.example.org"].into_iter().enumerate() {
        let observation = bench.handshake((name, "203.0.113.9"), &portal);
        let found = judge.observe(&observation, Timestamp::new(START + i64::try_from(number).unwrap(), 0));
        told.extend(found.into_iter().filter(|finding| finding.rule.id.ends_with("CERT-004")));
    }
    let taken = judge.completed();
    assert_eq!((told.len(), taken.len()), (2, 2));
    for finding in told {
        assert!(taken.contains(&(finding.cause.alert_id(), Afterthought::Retract("TLSW-CERT-004"))));
    }
    // Two names are no portal.
    let mut judge = Bench::new(&[]).judge();
    judge.add(Box::new(Watch::new(Arc::clone(&bench.scene.anchors), 100)));
    for name in ["www.example.com", "www.example.net"] {
        let observation = bench.handshake((name, "203.0.113.9"), &portal);
        judge.observe(&observation, Timestamp::new(START, 0));
    }
    assert_eq!(judge.completed(), []);
}

#[test]
fn a_remembered_judgement_ends_with_the_validity() {
    let ca = Ca::new("Root");
    let chain = ca.chain(&Plan::of(&["www.example.com"]).dates(START, START + 100 * DAY));
    let mut bench = Bench::new(&[&ca]);
    let times = [40, 101, 40, -1, 40, 101].map(|day| {
        bench.scene.now = START + day * DAY;
        bench.handshake(HOME, &chain)
    });
    let mut judge = Bench::new(&[&ca]).judge();
    let found = times.map(|observation| ids(&judge.observe(&observation, Timestamp(0))));
    let wanted: [&[&str]; 6] = [&[], &["CERT-001"], &[], &["CERT-003"], &[], &["CERT-001"]];
    assert_eq!(found, wanted);
}

#[test]
fn rsa_keys_have_the_bits_that_the_policy_asks_for() {
    let path = format!("{}/tests/data/x509/rsa2048-sha1.der", env!("CARGO_MANIFEST_DIR"));
    let own = [parse(&std::fs::read(path).unwrap())];
    for (bits, fires) in [(2_048, false), (2_049, true)] {
        let found = Bench::new(&[]).policy(&policy_of(&format!("min_rsa_bits = {bits}"))).findings(WWW, &own);
        assert_eq!(how(&found, "POL-003").is_some(), fires, "{bits}");
    }
}

/// Who may intercept a client need not be trusted by anybody else; another client's chain is that of an unknown issuer.
#[test]
fn an_authorised_proxy_is_no_untrusted_issuer() {
    let proxy = Ca::new("Proxy");
    let above = proxy.intermediate("Proxy for www");
    let entry = |clients: &str| {
        let spki = spki(&proxy.certificate);
        format!(
            "[[interception]]\nname = \"ours\"\nspki = [\"{spki}\"]\nclients = [\"{clients}\"]\nmode = \"authorised\"\n"
        )
    };
    let chain =
        [above.leaf(&Plan::of(&["www.example.com"])), Arc::clone(&above.certificate), Arc::clone(&proxy.certificate)];
    for (policy, told) in
        [(entry("10.1.0.0/16"), NONE.as_slice()), (entry("10.2.0.0/16"), &["CERT-005"]), (String::new(), &["CERT-005"])]
    {
        assert_eq!(ids(&Bench::new(&[]).policy(&policy).findings(HOME, &chain)), told, "{policy}");
    }
}

/// A forged leaf has one cause with what else is said of its issuer; a CA that nobody signed is its own.
#[test]
fn a_signature_that_fails_has_the_cause_of_who_did_not_sign() {
    let root = Ca::new("Root");
    let mut broken = root.intermediate("Issuing CA");
    let spoilt = |certificate: &Certificate| {
        let mut der = certificate.der.to_vec();
        *der.last_mut().unwrap() ^= 1;
        parse(&der)
    };
    let anchor = || Arc::clone(&root.certificate);
    let forged = [spoilt(&root.leaf(&Plan::of(&["www.example.com"]))), anchor()];
    let found = Bench::new(&[&root]).findings(WWW, &forged);
    let cause = &of(&found, "CERT-007").unwrap().cause;
    assert!(matches!(cause, super::finding::Cause::IssuerKey(_)), "{cause:?}");
    broken.certificate = spoilt(&broken.certificate);
    let below = ["www.example.com", "www.example.net"].map(|name| {
        let chain = [broken.leaf(&Plan::of(&[name])), Arc::clone(&broken.certificate), anchor()];
        let found = Bench::new(&[&root]).findings((name, WWW.1), &chain);
        of(&found, "CERT-007").unwrap().cause.clone()
    });
    assert_eq!(below[0], below[1]);
    assert!(!matches!(below[0], super::finding::Cause::IssuerKey(_)), "{:?}", below[0]);
}

/// A client certificate used twenty times from 10.1.0.11, and what is said when 10.2.0.22 uses it.
fn used_elsewhere(
    policy: &str,
    crls: Vec<super::crl::Crl>,
    chain: &[Arc<Certificate>],
) -> Vec<super::finding::Finding> {
    let mut scene = super::testing::Scene::new(&[]);
    scene.policy(&format!("version = 1\n{policy}"));
    scene.knowledge.crls = crls;
    let mut rules = super::client_certificates::ClientCertificates::default();
    let mut found = Vec::new();
    for client in ["10.1.0.11"; 20].into_iter().chain(["10.2.0.22"]) {
        scene.now += DAY / 4;
        let mut observation = scene.handshake(client, "203.0.113.10", &[]);
        observation.client_chain = chain.to_vec();
        found.clear();
        scene.with("api.example.com", &observation, |sighting| rules.observe(sighting, &mut found));
    }
    found
}

#[test]
fn a_new_place_is_told_beside_those_that_the_policy_or_habit_expects() {
    let chain = Ca::new("Client CA").chain(&Plan::of(&["backup-7"]));
    let entry = |rest: &str| format!("[[client_certificate]]\nmatch = {{ subject = \"CN=backup-*\" }}\n{rest}\n");
    for (policy, expected, sensitive) in [
        (entry("allowed_from = [\"10.1.0.0/16\", \"10.3.0.0/16\"]"), "10.1.0.0/16, 10.3.0.0/16", false),
        (entry("sensitive = true"), "10.1.0.0/24", true),
        (String::new(), "10.1.0.0/24", false),
    ] {
        let found = used_elsewhere(&policy, Vec::new(), &chain);
        let told = of(&found, "CERT-030").unwrap();
        assert_eq!(told.evidence.pro[0].expected.as_deref(), Some(expected));
        assert_eq!(told.severity == Severity::High, sensitive, "{policy}");
    }
}

#[test]
fn a_client_certificate_under_a_revoked_ca_is_told_from_one_that_is_revoked() {
    let root = Ca::new("Client Root");
    let issuer = root.intermediate("Client CA");
    let chain = [issuer.leaf(&Plan::of(&["backup-7"])), Arc::clone(&issuer.certificate), Arc::clone(&root.certificate)];
    for (place, by, what) in [(0, &issuer, "that was revoked"), (1, &root, "under a CA that was revoked")] {
        let entry = rcgen::RevokedCertParams {
            serial_number: rcgen::SerialNumber::from_slice(&chain[place].facts.as_deref().unwrap().serial),
            revocation_time: rcgen::date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let found = used_elsewhere("", vec![crl_of(by, (1, 2), vec![entry])], &chain);
        let message = &of(&found, "CERT-033").unwrap().message;
        assert!(message.contains(&format!("at api.example.com:443 {what} on 2026-01-01")), "{message}");
    }
}

/// What a host showed last, as an earlier run stored it.
#[derive(Debug)]
struct Before(super::hosts::record::HostRecord);

impl super::hosts::backing::Backing for Before {
    fn read(&self, _: &super::sighting::HostKey) -> Option<super::hosts::record::HostRecord> {
        Some(self.0.clone())
    }

    fn write(&self, _: &super::hosts::record::HostRecord) {}
}

/// A capture may be read after a later one: the key is compared with that of the certificate before, not of one that came later.
#[test]
fn the_certificate_before_is_none_that_came_later() {
    let ca = Ca::new("Root");
    let kept = Arc::new(key());
    let plan = || Plan::of(&["www.example.com"]);
    for (before, later, fires) in [(true, false, true), (false, true, false)] {
        let chain = |same: bool| ca.chain(&if same { plan().keyed(&kept) } else { plan() });
        let mut bench = Bench::new(&[&ca]).policy(&policy_of("key_reuse = false"));
        let mut hosts = super::hosts::Hosts::new(Arc::clone(&bench.scene.anchors), 10);
        for (day, same) in [(-10, before), (10, later)] {
            bench.scene.now = START + day * DAY;
            bench.scene.serve(&mut hosts, ("www.example.com", "10.1.0.1"), &chain(same));
        }
        let stored = hosts.table().iter().next().unwrap().clone();
        bench.scene.now = START;
        let observation = bench.handshake(WWW, &chain(true));
        let mut judge = bench.judge();
        judge.set_backing(Arc::new(Before(stored)));
        let found = judge.observe(&observation, Timestamp::new(START, 0));
        assert_eq!(how(&found, "POL-003").is_some(), fires, "{before} {later}");
    }
}

/// A chain that was looked at before is told again to whoever gets it next.
#[test]
fn every_client_of_a_shared_key_is_told() {
    use super::sighting::Detector as _;
    let shared = Arc::new(key());
    let (first, second) = (Ca::new("One CA"), Ca::new("Another CA"));
    let mut scene = super::testing::Scene::new(&[]);
    let mut watch = super::watch::Watch::new(Arc::clone(&scene.anchors), 100);
    let chain = first.chain(&Plan::of(&["www.example.org"]).keyed(&shared));
    scene.serve(&mut watch, ("www.example.org", "10.1.0.1"), &chain);
    let chain = second.chain(&Plan::of(&["www.example.com"]).keyed(&shared));
    let at = (Some(crate::time::ValidityTime(scene.now)), Some("www.example.com"));
    let known = scene.judged(&chain, at, crate::x509::judge::Purpose::Server).unwrap();
    for client in ["10.1.0.1", "10.1.0.2", "10.1.0.3"] {
        let observation = scene.handshake(client, "203.0.113.10", &chain);
        let mut found = Vec::new();
        scene.with_judged(("www.example.com", &observation), Some(&known), |sighting| {
            watch.observe(sighting, &mut found)
        });
        assert!(of(&found, "KEY-001").is_some(), "{client}: {:?}", ids(&found));
    }
}

/// A handshake of TLS 1.2 in which this is changed chose what was not offered, or shows that a better offer was lost.
fn is_odd(change: impl FnOnce(&mut crate::tls::Handshake)) -> bool {
    let mut observation = super::testing::Scene::new(&[]).handshake("10.1.0.1", "203.0.113.10", &[]);
    change(&mut observation.handshake);
    super::negotiation::is_odd_choice(&observation.handshake)
}

#[test]
fn sentinels_of_dtls_need_an_offer_of_dtls_1_3() {
    let odd = |offered: &[u16], chosen: u16, last: u8| {
        is_odd(|one| {
            one.protocol = Protocol::Dtls;
            one.client_hello.as_mut().unwrap().supported_versions = offered.to_vec().into();
            let hello = one.server_hello.as_mut().unwrap();
            hello.legacy_version = chosen;
            hello.random[24..].copy_from_slice(b"DOWNGRD\x01");
            hello.random[31] = last;
        })
    };
    assert!(odd(&[0xfefc, 0xfefd], 0xfefd, 1));
    assert!(odd(&[0xfefc, 0xfefd, 0xfeff], 0xfeff, 0));
    assert!(!odd(&[0xfefc, 0xfefd], 0xfefd, 2), "no sentinel");
    assert!(!odd(&[0xfefd], 0xfefd, 1), "the client offers no more");
    assert!(!odd(&[], 0xfefd, 1));
}

/// Extensions of large numbers, and groups of a client that names none (RFC 8422 section 4: then the server may choose).
#[test]
fn what_was_sent_or_left_open_is_no_odd_choice() {
    let extension = |kind| crate::tls::Extension { kind, body: 0..0 };
    for (sent, odd) in [(Some(0x754f), false), (Some(0x754e), true), (None, true)] {
        let found = is_odd(|one| {
            one.client_hello.as_mut().unwrap().extensions.extend(sent.map(extension));
            one.server_hello.as_mut().unwrap().extensions.push(extension(0x754f));
        });
        assert_eq!(found, odd, "{sent:?}");
    }
    for (groups, odd) in [(&[29][..], true), (&[23, 29], false), (&[], false)] {
        let found = is_odd(|one| {
            one.client_hello.as_mut().unwrap().groups = groups.to_vec().into();
            one.server_key_exchange = Some(Box::new(ServerKeyExchange {
                kind: crate::tls::KeyExchange::Ecdhe { group: 23, public: 0..0 },
                ..ServerKeyExchange::default()
            }));
        });
        assert_eq!(found, odd, "{groups:?}");
    }
}

/// The CA of a proxy that a new policy brings completes chains that wait for it, at once and not when their time is over.
#[test]
fn a_policy_that_is_read_anew_completes_what_waits() {
    let (root, proxy) = (Ca::new("Root"), Ca::new("Proxy CA"));
    let key = proxy.certificate.facts.as_ref().unwrap().spki_sha256;
    let good = root.chain(&Plan::of(&["mail.example.com"]));
    for brings in [true, false] {
        let mut bench = Bench::new(&[&root]);
        let first = bench.handshake(HOME, &[proxy.leaf(&Plan::of(&["www.example.com"]))]);
        let next = bench.handshake(("mail.example.com", "10.9.0.10"), &good);
        let mut renewed = Bench::new(&[&root]).knowledge;
        renewed.anchors = Arc::clone(&bench.knowledge.anchors);
        renewed.proxies = brings.then(|| Arc::clone(&proxy.certificate)).into_iter().collect();
        let mut judge = bench.judge();
        judge.hold_open_chains(When::AtOnce);
        let clock = Timestamp::new(START, 0);
        assert_eq!(ids(&judge.observe(&first, clock)), NONE, "it waits");
        judge.renew(Arc::new(renewed));
        let told = judge.observe(&next, clock);
        assert_eq!(ids(&told), if brings { vec!["CERT-005"] } else { vec![] });
        assert!(told.iter().all(|one| one.cause == super::finding::Cause::IssuerKey(key)));
    }
}

fn revokes(certificate: &Certificate) -> Vec<rcgen::RevokedCertParams> {
    vec![rcgen::RevokedCertParams {
        serial_number: rcgen::SerialNumber::from_slice(&certificate.facts.as_deref().unwrap().serial),
        revocation_time: rcgen::date_time_ymd(2026, 2, 1),
        reason_code: None,
        invalidity_date: None,
    }]
}

/// Certificates that were forgotten are read anew: nothing that is said of them depends on it.
#[test]
fn a_revoked_leaf_that_was_read_twice_is_one_cause() {
    let ca = Ca::new("Root");
    let chain = ca.chain(&Plan::of(&["www.example.com"]));
    let again: Vec<_> = chain.iter().map(|one| parse(&one.der)).collect();
    let mut bench = Bench::new(&[&ca]);
    bench.knowledge.crls = vec![crl_of(&ca, (2, 2), revokes(&chain[0]))];
    let shown = [chain, again].map(|chain| bench.handshake(WWW, &chain));
    let mut judge = bench.judge();
    let [first, second] = shown.map(|one| of(&judge.observe(&one, Timestamp(0)), "CERT-013").unwrap().clone());
    assert!(first.message.contains(" a certificate that was revoked on 2026-02-01: "), "{}", first.message);
    assert_eq!((second.message, second.cause), (first.message, first.cause));
}

/// A leaf is told at each host anew, a CA once.
#[test]
fn a_revoked_ca_is_one_cause_at_all_hosts() {
    let root = Ca::new("Root");
    let below = root.intermediate("Issuing CA");
    let mut chain = below.chain(&Plan::of(&["*.example.com"]));
    chain.push(Arc::clone(&root.certificate));
    for (crl, is_one, words) in [
        (crl_of(&root, (2, 2), revokes(&chain[1])), true, "a certificate under a CA that was revoked"),
        (crl_of(&below, (2, 2), revokes(&chain[0])), false, "a certificate that was revoked"),
    ] {
        let [one, other] = ["www.example.com", "mail.example.com"].map(|host| {
            let mut bench = Bench::new(&[&root]);
            bench.knowledge.crls = vec![crl.clone()];
            let found = bench.findings((host, "203.0.113.10"), &chain);
            let found = of(&found, "CERT-013").unwrap();
            assert!(found.message.contains(words), "{}", found.message);
            found.cause.clone()
        });
        assert_eq!(one == other, is_one, "{words}");
    }
}

/// CAs number the certificates of users and of CAs in one row, but a list may be about the ones only.
#[test]
fn a_list_about_cas_revokes_no_server() {
    use rcgen::CrlScope::{CaCertsOnly, UserCertsOnly};
    let root = Ca::new("Root");
    let below = root.intermediate("Issuing CA");
    let mut chain = below.chain(&Plan::of(&["www.example.com"]));
    chain.push(Arc::clone(&root.certificate));
    for (signer, listed, scope, told) in [
        (&below, 0, UserCertsOnly, true),
        (&below, 0, CaCertsOnly, false),
        (&root, 1, UserCertsOnly, false),
        (&root, 1, CaCertsOnly, true),
    ] {
        let point = rcgen::CrlIssuingDistributionPoint {
            distribution_point: rcgen::CrlDistributionPoint { uris: vec!["http://crl.example/1".to_owned()] },
            scope: Some(scope),
        };
        let list = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2026, 2, 2),
            next_update: rcgen::date_time_ymd(2026, 6, 1),
            crl_number: rcgen::SerialNumber::from_slice(&[1]),
            issuing_distribution_point: Some(point),
            revoked_certs: revokes(&chain[listed]),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let mut bench = Bench::new(&[&root]);
        bench.knowledge.crls = super::crl::Crl::read(list.signed_by(&signer.issuer).unwrap().der()).unwrap();
        assert_eq!(of(&bench.findings(WWW, &chain), "CERT-013").is_some(), told, "{scope:?}");
    }
}

/// One cause may have more open chains than are held: what was told of them is no untruth in the end.
#[test]
fn what_was_told_for_want_of_room_is_taken_back_too() {
    let root = Ca::new("Root");
    let chain = root.intermediate("Issuing CA").chain(&Plan::of(&["www.example.com"]));
    let mut bench = Bench::new(&[&root]);
    let shown: Vec<_> = (0..=256).map(|_| bench.handshake(HOME, &chain[..1])).collect();
    let whole = bench.handshake(HOME, &chain);
    let mut judge = bench.judge();
    judge.hold_open_chains(When::AtEnd);
    let told: Vec<_> = shown.iter().flat_map(|one| judge.observe(one, Timestamp(0))).collect();
    assert_eq!((told.len(), ids(&told)), (257, vec!["CERT-005"]));
    assert_eq!(ids(&judge.observe(&whole, Timestamp(0))), NONE);
    assert_eq!(judge.completed(), [(told[0].cause.alert_id(), Afterthought::Retract("TLSW-CERT-005"))]);
    assert_eq!(ids(&judge.finish()), NONE);
}

/// Of all lists of keys that others know the owner may load one.
#[test]
fn each_list_of_known_keys_counts_alone() {
    use sha2::Digest as _;
    let ca = Ca::new("Root");
    let chain = ca.chain(&Plan::of(&["www.example.com"]));
    let known = &chain[0].facts.as_deref().unwrap().key.bytes;
    let hash = sha2::Sha256::digest(&known[1..=known.len() / 2]);
    let told = |fill: &dyn Fn(&mut Bench)| {
        let mut bench = Bench::new(&[&ca]);
        fill(&mut bench);
        of(&bench.findings(WWW, &chain), "KEY-006").map(|found| found.evidence.proofs[0].text.clone())
    };
    let file = |hash: &[u8]| {
        let mut entry = [7; 16];
        entry[..15].copy_from_slice(&hash[..15]);
        KeyFile { name: "badkeys".to_owned(), entries: 1, read: Box::new(move |at| (at == 0).then_some(entry)) }
    };
    assert_eq!(told(&|_| ()), None);
    assert_eq!(told(&|bench| bench.knowledge.badkeys.push(file(&hash))).unwrap(), "badkeys list 7");
    assert_eq!(told(&|bench| bench.knowledge.badkeys.push(file(&[0; 15]))), None);
    let listed = told(&|bench| bench.knowledge.compromised = named(List::keys(&spki(&chain[0]))));
    assert!(listed.unwrap().starts_with("list line 1"));
    let policy = format!("version = 1\n[[compromised]]\nreason = \"stolen\"\nkeys = [\"{}\"]\n", spki(&chain[0]));
    let policy = Policy::parse(&policy, &super::catalogue::known_rules()).unwrap();
    assert_eq!(told(&|bench| bench.knowledge.policy = policy.clone()).unwrap(), "policy line 2: stolen");
}

#[test]
fn the_quiet_profile_marks_what_is_low() {
    let ca = Ca::new("Root");
    let chain = ca.chain(&Plan::of(&["www.example.com"]).dates(START - 10 * DAY, START - DAY));
    for (profile, place, expected) in [
        ("balanced", WWW, (Severity::Low, Effect::Alert)),
        ("quiet", WWW, (Severity::Low, Effect::Mark)),
        ("quiet", HOME, (Severity::Medium, Effect::Alert)),
    ] {
        let bench = Bench::new(&[&ca]).policy(&format!("profile = \"{profile}\"\n"));
        assert_eq!(how(&bench.findings(place, &chain), "CERT-001"), Some(expected), "{profile}");
    }
}
