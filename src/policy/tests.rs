//! Tests of the policy as a whole.

use proptest::prelude::*;

use super::*;

const RULES: [KnownRule; 3] = [
    KnownRule {
        id: "TLSW-CERT-002",
        slug: "expiring",
        settings: &[Setting {
            name: "days",
            kind: SettingKind::Numbers { default: &[30, 7], least: 1, most: 3_650 },
            meaning: "",
        }],
    },
    KnownRule {
        id: "TLSW-MITM-002",
        slug: "unexpected-certificate",
        settings: &[
            Setting { name: "medium", kind: SettingKind::Number { default: 40, least: 1, most: 1_000 }, meaning: "" },
            Setting { name: "hold", kind: SettingKind::Duration { default: 900 }, meaning: "" },
        ],
    },
    KnownRule { id: "TLSW-CERT-006", slug: "self-signed", settings: &[] },
];

fn policy(body: &str) -> Policy {
    Policy::parse(&format!("version = 1\n{body}"), &RULES).unwrap()
}

fn target<'a>(name: Option<&'a str>, address: &str, port: u16) -> Target<'a> {
    Target { name, address: address.parse().unwrap(), port }
}

fn line_of(policy: &Policy, target: &Target<'_>) -> Option<usize> {
    policy.host_entry(target).map(|entry| entry.line)
}

#[test]
fn every_bad_value_tells_its_place() {
    let pin = "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    for (text, line, column, part) in [
        ("", 1, 1, "version"),
        ("version = 2", 1, 11, "version"),
        ("version = 1\nvantage = \"client\"", 2, 1, "vantage"),
        ("version = 1\nversion = 1", 2, 1, "duplicate"),
        ("version = 1\nhome_nets = [\"10.0.0.0/8\", \"10.0.0.1/8\"]", 2, 28, "home_nets"),
        ("version = 1\nprofile = \"loud\"", 2, 11, "profile"),
        ("version = 1\n[[host]]\nmatch = []", 3, 9, "host.match"),
        ("version = 1\n[[host]]\nmatch = [\"a..b\"]", 3, 10, "host.match"),
        ("version = 1\n[[host]]\npins = []", 2, 1, "match"),
        ("version = 1\n[[host]]\nmatch = [\"a.example\"]\npins = [\"sha256/AAAA\"]", 4, 9, "host.pins"),
        ("version = 1\n[[host]]\nmatch = [\"a.example\"]\nexpires = 2027-02-01T00:00:00Z", 4, 11, "host.expires"),
        ("version = 1\n[[host]]\nmatch = [\"a.example\"]\nexpires = 2027-02-30", 4, 11, ""),
        ("version = 1\n[[host]]\nmatch = [\"a.example\"]\nmin_version = \"1.4\"", 4, 15, "host.min_version"),
        ("version = 1\n[[host]]\nmatch = [\"a.example\"]\nissuer_names = [\"R10\"]", 4, 17, "host.issuer_names"),
        ("version = 1\n[[host]]\nmatch = [\"a.example\"]\nmin_rsa_bits = -1", 4, 16, "host.min_rsa_bits"),
        ("version = 1\n[rules.nonsense]\nx = 1", 2, 8, "nonsense"),
        ("version = 1\n[rules.self-singed]\nx = 1", 2, 8, "a similar one: self-signed"),
        ("version = 1\n[rules.cert-002]\ndays = [7]\n[rules.expiring]\ndays = [7]", 5, 1, "two names"),
        ("version = 1\n[[severity]]\nrule = \"CERT-06\"\nset = 21", 3, 8, "a similar one: CERT-006"),
        ("version = 1\n[rules.expiring]\nmedium = 1", 3, 1, "medium"),
        ("version = 1\n[rules.expiring]\ndays = [7, 30]", 3, 8, "days"),
        ("version = 1\n[rules.expiring]\ndays = []", 3, 8, "days"),
        ("version = 1\n[rules.unexpected-certificate]\nhold = \"15 m\"", 3, 8, "hold"),
        ("version = 1\n[rules.unexpected-certificate]\nmedium = 0", 3, 10, "medium"),
        ("version = 1\n[rules.expiring]\nenabled = 0", 3, 11, "enabled"),
        ("version = 1\n[[suppress]]\nrule = \"self-signed\"\nreason = \"x\"", 2, 1, "until"),
        ("version = 1\n[[suppress]]\nrule = \"self-signed\"\npermanent = true", 2, 1, "reason"),
        ("version = 1\n[[suppress]]\nrule = \"self-signed\"\npermanent = true\nreason = \" \"", 5, 10, "reason"),
        ("version = 1\n[[suppress]]\nrule = \"other\"\npermanent = true\nreason = \"x\"", 3, 8, "suppress.rule"),
        ("version = 1\n[[severity]]\nrule = \"*\"\nset = 50", 4, 7, "severity.set"),
        ("version = 1\n[[client_certificate]]\nmatch = {}", 3, 9, "client_certificate.match"),
        ("version = 1\n[trust]\nblocklists = [{ path = \"a\", format = \"badkeys\" }]", 3, 38, "trust.blocklists"),
        (&format!("version = 1\n[[interception]]\nname = \"x\"\nspki = [\"{pin}\"]\nmode = \"on\""), 5, 8, "mode"),
        (
            &format!("version = 1\n[[internal_ca]]\nname = \"x\"\nspki = [\"{pin}\"]\nnames = [\"a.b:1\"]"),
            5,
            10,
            "port",
        ),
    ] {
        let errors = Policy::parse(text, &RULES).expect_err(text);
        let error = &errors.0[0];
        assert_eq!((error.line, error.column), (line, column), "{text}\n{errors}");
        assert!(error.message.contains(part), "{text}\n{errors}");
    }
}

#[test]
fn all_errors_are_told_at_once() {
    let errors = Policy::parse("version = 1\nprofile = \"loud\"\nhome_nets = [\"x\", \"y\"]", &RULES).unwrap_err();
    assert_eq!(errors.to_string().lines().count(), 3);
}

#[test]
fn reading_goes_on_behind_what_is_unknown() {
    for (text, places) in [
        ("version = 1\nx = 1\n[trust]\ny = 2\nroots = [3, \"r\"]\n", &[(2, 1), (4, 1), (5, 10)][..]),
        // What is missing because it was of the wrong type is one mistake.
        ("version = 1\n[[host]]\nmatch = 5\nwrong = 1\n[[host]]\npins = [\"p\"]\n", &[(3, 9), (4, 1), (5, 1)]),
        ("version = 1\n[[suppress]]\nrule = \"*\"\nreason = \"x\"\npermanent = \"yes\"\n", &[(5, 13)]),
        // Entries that could be read are judged.
        ("version = 1\nx = 1\n[[host]]\ny = 2\nmatch = [\"a..b\"]\n", &[(2, 1), (4, 1), (5, 10)]),
        ("x = 1\nprofile = \"loud\"\n", &[(1, 1), (1, 1), (2, 11)]),
        ("version = \"1\"\nx = 1\n", &[(1, 11), (2, 1)]),
        ("version = 1\ntrust = 5\nhost = 1\nrules = []\n", &[(2, 9), (3, 8), (4, 9)]),
        (
            "version = 1\n[trust]\nblocklists = [{ path = \"a\" }, { format = 1, path = \"b\", z = 1 }]\n",
            &[(3, 15), (3, 42), (3, 57)],
        ),
        // Nor is a list that lacks an element judged without it, but the tables of one that has something else in it are.
        ("version = 1\n[[host]]\nmatch = [7]\n", &[(3, 10)]),
        ("version = 1\nhost = [7, { match = [\"a..b\"] }, { match = 5 }]\n", &[(2, 9), (2, 23), (2, 44)]),
        (
            "version = 1\n[[compromised]]\nreason = \"x\"\nserials = [7, { issuer = \"CN=a\", serial = \"zz\" }]\n",
            &[(4, 12), (4, 43)],
        ),
        // A syntax error ends it.
        ("version = 1\nx = 1\ny = = 2\nz = 3\n", &[(3, 5)]),
    ] {
        let errors = Policy::parse(text, &RULES).expect_err(text);
        let found: Vec<_> = errors.0.iter().map(|error| (error.line, error.column)).collect();
        assert_eq!(found, places, "{text}\n{errors}");
    }
    // However many there are, it ends.
    let many = |count: usize| {
        let text: String = (0..count).map(|number| format!("x{number} = 1\n")).collect();
        Policy::parse(&format!("version = 1\n{text}"), &RULES).unwrap_err().0.len()
    };
    assert_eq!([1, 20, 21, 500].map(many), [1, 20, 21, 21]);
}

#[test]
fn a_tie_is_an_error() {
    for patterns in ["a.example", "*.a.example:443", "10.0.0.0/8", "[2001:db8::1]:443"] {
        let text = format!("version = 1\n[[host]]\nmatch = [\"{patterns}\"]\n[[host]]\nmatch = [\"{patterns}\"]");
        let errors = Policy::parse(&text, &RULES).unwrap_err();
        assert_eq!(errors.0[0].line, 4, "{errors}");
    }
}

#[test]
fn the_most_specific_entry_holds() {
    let policy = policy(
        "[[host]]\nmatch = [\"10.0.0.0/8\"]\n[[host]]\nmatch = [\"*.a.example\"]\n[[host]]\nmatch = [\"x.a.example\"]\n\
         [[host]]\nmatch = [\"x.a.example:25\"]\n[[host]]\nmatch = [\"10.1.0.0/16\"]\n[[host]]\nmatch = [\"*.a.example:25\"]\n\
         [[host]]\nmatch = [\"10.1.0.0/16:25\"]",
    );
    for (name, address, port, line) in [
        (Some("x.a.example"), "10.1.0.1", 443, Some(6)),
        (Some("X.A.Example."), "10.1.0.1", 443, Some(6)),
        (Some("x.a.example"), "10.1.0.1", 25, Some(8)),
        (Some("y.a.example"), "10.1.0.1", 443, Some(4)),
        (Some("y.a.example"), "10.1.0.1", 25, Some(12)),
        (Some("y.y.a.example"), "10.1.0.1", 443, Some(10)),
        (None, "10.1.0.1", 25, Some(14)),
        (None, "10.2.0.1", 25, Some(2)),
        (None, "11.0.0.1", 25, None),
    ] {
        assert_eq!(
            line_of(&policy, &target(name, address, port)),
            line.map(|line: usize| line),
            "{name:?} {address} {port}"
        );
    }
}

#[test]
fn internal_and_owned() {
    let policy = policy("[[host]]\nmatch = [\"a.example.com\"]\nowner = \"me\"\n[[host]]\nmatch = [\"b.example.com\"]");
    for (name, address, internal, owned) in [
        (Some("a.example.com"), "192.0.2.1", false, true),
        (Some("b.example.com"), "192.0.2.1", false, false),
        (Some("b.example.com"), "10.0.0.1", true, false),
        (Some("wiki.corp"), "192.0.2.1", true, false),
        (Some("localhost"), "192.0.2.1", true, false),
        (None, "192.0.2.1", false, false),
        (None, "fd00::1", true, false),
        (None, "::1", true, false),
    ] {
        let target = target(name, address, 443);
        assert_eq!((policy.is_internal(&target), policy.is_owned(&target)), (internal, owned), "{name:?} {address}");
    }
}

#[test]
fn suppressions_need_all_conditions_and_end() {
    let policy = policy(
        "[[suppress]]\nrule = \"tlsw-cert-*\"\nsrc = [\"10.0.0.0/8\"]\ndst = [\"192.0.2.0/24\"]\nhost = \"*.a.example\"\n\
         until = 2026-12-31\nreason = \"x\"",
    );
    let last = Day::of_date(2026, 12, 31);
    for (rule, client, name, address, day, held) in [
        (2, "10.0.0.1", "x.a.example", "192.0.2.1", Some(last), true),
        (0, "10.0.0.1", "x.a.example", "192.0.2.1", Some(Day(0)), true),
        (1, "10.0.0.1", "x.a.example", "192.0.2.1", Some(last), false),
        (2, "11.0.0.1", "x.a.example", "192.0.2.1", Some(last), false),
        (2, "10.0.0.1", "x.b.example", "192.0.2.1", Some(last), false),
        (2, "10.0.0.1", "x.a.example", "192.0.3.1", Some(last), false),
        (2, "10.0.0.1", "x.a.example", "192.0.2.1", Some(Day(last.0 + 1)), false),
        (2, "10.0.0.1", "x.a.example", "192.0.2.1", None, false),
    ] {
        let subject = Subject {
            rule: RULES[rule],
            client: client.parse().unwrap(),
            target: target(Some(name), address, 443),
            client_key: None,
            day,
        };
        assert_eq!(policy.suppression_for(&subject).is_some(), held, "{subject:?}");
    }
}

#[test]
fn a_suppression_for_a_client_certificate_needs_its_key() {
    let key = "07".repeat(32);
    let policy = policy(&format!(
        "[[suppress]]\nrule = \"*\"\nclient_certificate = \"{key}\"\npermanent = true\nreason = \"x\"\n"
    ));
    for (key, held) in [(Some([7; 32]), true), (Some([8; 32]), false), (None, false)] {
        let subject = Subject {
            rule: RULES[0],
            client: "10.0.0.1".parse().unwrap(),
            target: target(None, "192.0.2.1", 443),
            client_key: key.as_ref(),
            day: None,
        };
        assert_eq!(policy.suppression_for(&subject).is_some(), held, "{key:?}");
    }
}

#[test]
fn networks_match_names_that_are_addresses() {
    let pattern: HostPattern = "10.0.0.0/8".parse().unwrap();
    for (name, matches) in [("10.1.2.3", true), ("11.1.2.3", false), ("10.example", false), ("fd00::1", false)] {
        assert_eq!(pattern.matches_name(name), matches, "{name}");
    }
}

#[test]
fn severities_and_settings() {
    let policy = policy(
        "[[severity]]\nrule = \"cert-006\"\nset = \"high\"\n[[severity]]\nrule = \"*\"\nhost = \"*.a.example\"\nset = 99\n\
         [rules.expiring]\ndays = [10]\nenabled = false\n[rules.MITM-002]\nhold = \"2h\"",
    );
    let at = |name| target(Some(name), "192.0.2.1", 443);
    assert_eq!(policy.severity_for(&RULES[2], &at("x.b.example")), Some(Severity::High));
    assert_eq!(policy.severity_for(&RULES[2], &at("x.a.example")), Some(Severity::Critical));
    assert_eq!(policy.severity_for(&RULES[0], &at("x.b.example")), None);
    assert_eq!(policy.setting(&RULES[0], "days"), Some(SettingValue::Numbers(vec![10])));
    assert_eq!((policy.number(&RULES[1], "hold"), policy.number(&RULES[1], "medium")), (7_200, 40));
    assert_eq!(policy.setting(&RULES[1], "days"), None);
    assert!(!policy.is_enabled(&RULES[0]) && policy.is_enabled(&RULES[1]));
}

fn silenced(rule: &str, src: &str) -> String {
    format!("[[suppress]]\nrule = {rule}\npermanent = true\nsrc = [\"{src}\"]\nreason = \"x\"\n")
}

#[test]
fn a_wider_suppression_after_a_narrower_one_is_used() {
    for (first, second) in [
        (("\"TLSW-CERT-002\"", "10.1.0.0/16"), ("\"TLSW-CERT-*\"", "10.0.0.0/8")),
        (("\"TLSW-CERT-*\"", "10.1.0.0/16"), ("\"TLSW-CERT-002\"", "10.0.0.0/8")),
        (("\"TLSW-CERT-*\"", "10.0.0.0/8"), ("\"TLSW-MITM-002\"", "10.1.0.0/16")),
    ] {
        let body = format!("{}{}", silenced(first.0, first.1), silenced(second.0, second.1));
        assert_eq!(warnings(&policy(&body), Some(Day(0))), [], "{body}");
    }
}

#[test]
fn what_silences_everything_or_nothing_is_told() {
    let found = |body: &str| {
        let found = warnings(&policy(body), Some(Day::of_date(2026, 1, 1)));
        found.into_iter().map(|one| one.message).collect::<Vec<_>>().join("; ")
    };
    let key = format!("client_certificate = \"{}\"", "0".repeat(64));
    for (places, told) in [
        ("", "everywhere"),
        ("host = \"*\"", "everywhere"),
        ("src = [\"0.0.0.0/0\", \"::/0\"]", "everywhere"),
        ("host = \"*:443\"", ""),
        ("host = \"a.example.com\"", ""),
        (&key, ""),
        ("src = [\"10.0.0.0/8\"]\ndst = [\"10.0.0.0/8\"]", ""),
        ("src = [\"fd00::/8\"]\ndst = [\"10.0.0.0/8\"]", "no connection"),
        ("src = [\"10.0.0.0/8\"]\ndst = [\"fd00::/8\"]", "no connection"),
        ("src = [\"10.0.0.0/8\", \"fd00::/8\"]\ndst = [\"fd00::/8\"]", ""),
        ("src = [\"10.0.0.0/8\"]\ndst = [\"10.0.0.0/8\", \"fd00::/8\"]", ""),
    ] {
        let body = format!("[[suppress]]\nrule = \"*\"\n{places}\npermanent = true\nreason = \"x\"\n");
        let found = found(&body);
        assert!(if told.is_empty() { found.is_empty() } else { found.contains(told) }, "{places}: {found}");
    }
    // The later one is used where it holds longer.
    let until = |end: &str| format!("[[suppress]]\nrule = \"expiring\"\nhost = \"a.example\"\n{end}\nreason = \"x\"\n");
    let (june, december, ever) = ("until = 2026-06-30", "until = 2026-12-31", "permanent = true");
    for (first, second, is_used) in [
        (june, december, true),
        (june, june, false),
        (december, june, false),
        (june, ever, true),
        (ever, june, false),
        (ever, ever, false),
    ] {
        let found = found(&format!("{}{}", until(first), until(second)));
        assert_eq!(found.contains("never used, line 2 holds as long"), !is_used, "{first} {second}: {found}");
    }
}

/// What ends on a day still holds on it.
#[test]
fn the_last_day_counts() {
    let pins = format!("pins = [\"{}\", \"{}\"]", "0".repeat(64), "1".repeat(64));
    let host = policy(&format!("[[host]]\nmatch = [\"a.example\"]\n{pins}\nexpires = 2026-06-30\n"));
    let silent = policy("[[suppress]]\nrule = \"*\"\nhost = \"a.example\"\nuntil = 2026-06-30\nreason = \"x\"\n");
    for (today, holds) in [(Day::of_date(2026, 6, 30), true), (Day::of_date(2026, 7, 1), false)] {
        assert_eq!(host.hosts[0].pins_alert(today), holds);
        for policy in [&host, &silent] {
            assert_eq!(warnings(policy, Some(today)).is_empty(), holds, "{today}");
        }
    }
}

#[test]
fn warnings_name_line_and_reason() {
    let pin = "0".repeat(64);
    for (body, line, part) in [
        (format!("[[host]]\nmatch = [\"a.example.com\"]\npins = [\"{pin}\"]"), 2, "backup"),
        ("[[host]]\nmatch = [\"*\"]\nowner = \"me\"".to_owned(), 2, "every host"),
        ("[[host]]\nmatch = [\"0.0.0.0/0\"]\nowner = \"me\"".to_owned(), 2, "every host"),
        ("[[host]]\nmatch = [\"*.co.uk\"]\nowner = \"me\"".to_owned(), 2, "many owners"),
        ("[[host]]\nmatch = [\"a.example.com\"]".to_owned(), 2, "demands nothing"),
        (
            format!("[[host]]\nmatch = [\"a.example.com\"]\npins = [\"{pin}\", \"{pin}\"]\nexpires = 2020-01-01"),
            2,
            "only mark",
        ),
        (
            "[[suppress]]\nrule = \"expiring\"\nuntil = 2020-01-01\nsrc = [\"10.0.0.0/8\"]\nreason = \"x\"".to_owned(),
            2,
            "ended",
        ),
        ("[[suppress]]\nrule = \"*\"\npermanent = true\nreason = \"x\"".to_owned(), 2, "every rule"),
        ("[[severity]]\nrule = \"*\"\nset = 21\n[[severity]]\nrule = \"*\"\nset = 47".to_owned(), 2, "never used"),
        ("[[compromised]]\nreason = \"x\"".to_owned(), 2, "names nothing"),
        (format!("[[host]]\nmatch = [\"a.example.com\"]\npins = [\"{pin}\", \"{pin}\"]"), 2, "backup"),
        ("[[host]]\nmatch = [\"a.example.com\"]\nplaces = [\"0.0.0.0/0\"]".to_owned(), 2, "anywhere"),
        (
            "[[suppress]]\nrule = \"expiring\"\npermanent = true\nsrc = [\"10.0.0.0/8\"]\ndst = [\"fd00::/8\"]\nreason = \"x\""
                .to_owned(),
            2,
            "never used, no connection",
        ),
        (format!("{}{}", silenced("\"TLSW-CERT-*\"", "10.0.0.0/8"), silenced("\"TLSW-CERT-002\"", "10.1.0.0/16")), 7, "never used, line 2"),
        (
            format!("[[interception]]\nname = \"P\"\nspki = [\"{pin}\"]\nclients = [\"::/0\"]\nmode = \"authorised\""),
            2,
            "everybody",
        ),
        (format!("[[internal_ca]]\nname = \"C\"\nspki = [\"{pin}\"]\nnames = [\"*\"]"), 2, "every host"),
        (
            "[[client_certificate]]\nmatch = { subject = \"CN=a\" }\nallowed_from = [\"0.0.0.0/0\"]".to_owned(),
            2,
            "anywhere",
        ),
    ] {
        let found = warnings(&policy(&body), Some(Day::of_date(2026, 1, 1)));
        assert!(found.iter().any(|w| w.line == line && w.message.contains(part)), "{body}: {found:?}");
    }
    let fine = format!("[[host]]\nmatch = [\"a.example.com\"]\npins = [\"{pin}\", \"{}\"]", "1".repeat(64));
    assert_eq!(warnings(&policy(&fine), Some(Day(0))), []);
}

proptest! {
    #[test]
    fn any_text_is_safe(lines in prop::collection::vec(
        prop_oneof![
            Just("version = 1".to_owned()),
            "\\[\\[(host|suppress|severity|compromised|internal_ca|interception)\\]\\]",
            "(match|pins|src|dst|spki|names|rule|until|reason|set|expires|home_nets) = (\\[\"[a-z0-9*.:/\\[\\]]{0,12}\"\\]|\"[ -~]{0,12}\"|[0-9]{1,20}|20[0-9]{2}-[0-9]{2}-[0-9]{2}|true)",
            "\\PC{0,30}",
        ], 0..12)) {
        let text = lines.join("\n");
        match Policy::parse(&text, &RULES) {
            Ok(policy) => { warnings(&policy, Some(Day(20_000))); }
            Err(errors) => {
                prop_assert!(!errors.0.is_empty());
                let count = text.matches('\n').count() + 1;
                prop_assert!(errors.0.iter().all(|e| (1..=count).contains(&e.line) && e.column >= 1));
            }
        }
    }
}
