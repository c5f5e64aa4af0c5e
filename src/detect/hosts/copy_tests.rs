//! Copies of certificates (MITM-004), and certificates that only look like copies.

use std::sync::Arc;

use super::*;
use crate::detect::testing::{Ca, DAY, Plan, START, Scene, key, of};

const NAME: &str = "api.cluster.example";
const SERVER: &str = "203.0.113.10";

/// When an installer ran: at no whole day.
const RUN: i64 = START - 40 * DAY - 123;

/// What the second of two chains of one host is told for, and how gravely, where nobody trusts either.
fn told(first: &[Arc<Certificate>], second: &[Arc<Certificate>], offline: bool) -> Vec<Severity> {
    let mut scene = Scene::new(&[]);
    scene.offline = offline;
    let mut hosts = Hosts::new(Arc::clone(&scene.anchors), 10);
    let mut found = Vec::new();
    for (client, chain) in [("10.0.0.1", first), ("10.0.0.2", first), ("10.9.0.9", second), ("10.0.0.3", first)] {
        scene.now += 60;
        let observation = scene.handshake(client, SERVER, chain);
        found.extend(scene.show(&mut hosts, NAME, &observation));
    }
    found.iter().filter(|one| one.rule.id.ends_with("MITM-004")).map(|one| one.severity).collect()
}

fn plan() -> Plan {
    Plan::of(&[NAME]).dates(RUN, RUN + 365 * DAY)
}

/// Installers and devices make a CA and what it signs in one run, and some make two of both.
#[test]
fn two_private_cas_made_with_what_they_sign_copy_nothing() {
    let made = |seconds: i64| Ca::since("Cluster CA", RUN + seconds).chain(&plan());
    let own = plan().self_signed();
    for offline in [true, false] {
        for (first, second) in
            [(made(0), made(-2)), (made(-300), made(1)), (own.clone(), made(0)), (made(0), own.clone())]
        {
            assert_eq!(told(&first, &second, offline), [], "{offline}");
        }
    }
}

/// Two CAs that have been there for years sign in one run: so does a proxy that copies dates.
#[test]
fn equal_dates_alone_prove_nothing_between_private_cas() {
    let old = |name: &str| Ca::new(name).chain(&plan());
    let fresh = Ca::since("Cluster CA", RUN).chain(&plan());
    let alone = |chain: Vec<Arc<Certificate>>| chain[..1].to_vec();
    for (first, second) in [
        (old("One"), old("Two")),
        (fresh.clone(), old("Two")),
        (old("One"), fresh.clone()),
        (alone(old("One")), alone(old("Two"))),
        (fresh.clone(), alone(fresh_twin())),
    ] {
        assert_eq!(told(&first, &second, true), [Severity::Medium]);
    }
}

fn fresh_twin() -> Vec<Arc<Certificate>> {
    Ca::since("Cluster CA", RUN).chain(&plan())
}

/// A certificate that was valid before its own CA was: the dates are another one's.
#[test]
fn dates_before_those_of_the_own_ca_are_copied() {
    let genuine = Ca::since("Cluster CA", RUN).chain(&plan());
    let older = Ca::new("Our CA").chain(&plan());
    for (seconds, severity) in [(DAY + 1, Severity::Critical), (DAY - 1, Severity::Medium)] {
        let proxy = Ca::since("Proxy", RUN + seconds).chain(&plan());
        for first in [&genuine, &older] {
            assert_eq!(told(first, &proxy, true), [severity], "{seconds}");
            assert_eq!(told(&proxy, first, true), [severity], "whoever comes first, {seconds}");
        }
    }
}

/// Squid: the CA's key is the leaf's, too.
#[test]
fn equal_dates_and_the_own_key_are_a_copy() {
    let genuine = Ca::since("Cluster CA", RUN).chain(&plan());
    let own = Arc::new(key());
    let proxy = Ca::with_key("Squid", rcgen::KeyPair::try_from(own.serialize_der()).unwrap());
    assert_eq!(told(&genuine, &[proxy.leaf(&plan().keyed(&own))], true), [Severity::Critical]);
}

/// Serial numbers are random, so equal ones are copied; but some take the clock for one.
#[test]
fn serial_numbers_prove_a_copy_unless_they_are_the_time() {
    let clock = |seconds: i64| (seconds * 1_000_000_000 + 123_456_789).to_be_bytes().to_vec();
    let with = |serial: &[u8], by: &Ca| by.chain(&Plan { serial: serial.to_vec(), ..plan() });
    let (one, two) = (Ca::new("One"), Ca::since("Two", RUN));
    let dated = |serial: &[u8], by: &Ca| {
        by.chain(&Plan { serial: serial.to_vec(), ..Plan::of(&[NAME]).dates(RUN + 2, RUN + 100 * DAY) })
    };
    let random = [0x11; 8];
    let mut next = random;
    next[7] += 9;
    for (first, second, wanted) in [
        (random.to_vec(), next.to_vec(), vec![Severity::Critical]),
        (random.to_vec(), random.to_vec(), vec![Severity::Critical]),
        (clock(RUN), clock(RUN + 2), vec![]),
        (clock(RUN), clock(RUN), vec![]),
        // Not the time of these certificates.
        (clock(RUN - 300 * DAY), clock(RUN - 300 * DAY), vec![Severity::Critical]),
    ] {
        assert_eq!(told(&with(&first, &one), &dated(&second, &two), true), wanted, "{first:?} {second:?}");
    }
}

/// Where a public CA or one of ours signed the other one, dates are proof enough.
#[test]
fn equal_dates_with_a_trusted_certificate_are_a_copy() {
    let (public, ours) = (Ca::new("Public Root"), Ca::since("Our CA", RUN));
    let spki = ours.certificate.facts.as_ref().unwrap().spki_sha256;
    let policy = format!("version = 1\n[[internal_ca]]\nname = \"ours\"\nspki = [\"{spki}\"]\n");
    for (by, trusted) in [(&public, true), (&ours, true), (&Ca::new("Nobody's"), false)] {
        let mut scene = Scene::new(&[&public]);
        scene.policy(&policy);
        let mut hosts = Hosts::new(Arc::clone(&scene.anchors), 10);
        let (genuine, forged) = (by.chain(&plan()), Ca::since("Proxy", RUN).chain(&plan()));
        let mut found = scene.serve(&mut hosts, (NAME, "10.0.0.1"), &genuine);
        found.extend(scene.serve(&mut hosts, (NAME, "10.9.0.9"), &forged));
        let severity = if trusted { Severity::Critical } else { Severity::Medium };
        assert_eq!(of(&found, "MITM-004").unwrap().severity, severity);
        found.extend(scene.finish(&mut hosts));
        assert_eq!(of(&found, "MITM-002").unwrap().severity, severity);
    }
}

/// A server with certificates of two private CAs, one for RSA and one for ECDSA, gives each client what it can take: that others
/// got the other one says nothing.
#[test]
fn who_could_not_take_the_other_certificate_is_not_split_off() {
    // Suites of the second client, of a third one with the same certificate, whether the first key is of another kind, and
    // whether a trusted CA signed the first.
    for (suites, later, other_kind, trusted, counts) in [
        (&[0xc02b_u16][..], &[0xc02b_u16][..], true, false, false),
        (&[0xc02b, 0xc02f], &[0xc02b], true, false, true),
        (&[0xc02b], &[0xc02b, 0xc02f], true, false, true),
        (&[0xc02b], &[0xc02b], false, false, true),
        (&[0xc02b], &[0xc02b], true, true, true),
    ] {
        let (one, two) = (Ca::new("One"), Ca::new("Two"));
        let roots: &[&Ca] = if trusted { &[&one] } else { &[] };
        let mut scene = Scene::new(roots);
        let mut hosts = Hosts::new(Arc::clone(&scene.anchors), 10);
        let (first, second) = (one.chain(&Plan::of(&[NAME])), two.chain(&Plan::of(&[NAME])));
        for (client, suites) in [("10.9.0.1", None), ("10.9.0.9", Some(suites)), ("10.9.0.8", Some(later))] {
            let others = (1..7).map(|number| (format!("10.0.{number}.1"), None));
            for (client, suites) in std::iter::once((client.to_owned(), suites)).chain(others) {
                scene.now += 30;
                let chain = if suites.is_some() { &second } else { &first };
                let mut observation = scene.handshake(&client, SERVER, chain);
                let hello = observation.handshake.client_hello.as_mut().unwrap();
                hello.cipher_suites = suites.unwrap_or(&[0xc02b, 0xc02f]).iter().copied().collect();
                scene.show(&mut hosts, NAME, &observation);
            }
            let key = HostKey { name: NAME.to_owned(), port: 443 };
            hosts.table.get_mut(&key).unwrap().certificates[0].rsa = other_kind;
        }
        let found = scene.finish(&mut hosts);
        let case = of(&found, "MITM-002").unwrap();
        let ids: Vec<&str> = case.evidence.pro.iter().map(|point| point.id).collect();
        assert_eq!([ids.contains(&"H5"), ids.contains(&"H6")], [counts; 2], "{suites:x?} {later:x?} {trusted} {ids:?}");
        assert!(counts || case.severity == Severity::Medium);
    }
}

/// Whoever accepted it, or waited until it was known, does not hear of it again.
#[test]
fn a_doubtful_copy_that_was_accepted_is_not_told_again() {
    for accepted in [false, true] {
        let mut scene = Scene::new(&[]);
        let mut hosts = Hosts::new(Arc::clone(&scene.anchors), 10);
        let (one, two) = (Ca::new("One").chain(&plan()), Ca::new("Two").chain(&plan()));
        scene.serve(&mut hosts, (NAME, "10.0.0.1"), &one);
        assert!(of(&scene.serve(&mut hosts, (NAME, "10.9.0.9"), &two), "MITM-004").is_some());
        scene.finish(&mut hosts);
        let key = HostKey { name: NAME.to_owned(), port: 443 };
        assert!(!accepted || hosts.accept(&key, &two[0].sha256));
        let again = scene.serve(&mut hosts, (NAME, "10.9.0.9"), &two);
        assert_eq!(of(&again, "MITM-004").is_none(), accepted);
    }
}
