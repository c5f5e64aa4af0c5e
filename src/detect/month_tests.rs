//! What a month of networks brings: hosts that go over to another CA server by server, and back.

use std::sync::Arc;

use super::catalogue::Severity;
use super::company_tests::{Chain, Company, client};
use super::testing::{Ca, Plan, key};

const HOUR: i64 = 3_600;
const SHOP: (&str, &str) = ("shop.example.com", "203.0.113.10");

/// With a timestamp.
fn logged(ca: &Ca, plan: &Plan) -> Chain {
    let above = ca.certificate.facts.as_deref().unwrap().spki_sha256;
    let by = (&key(), &ca.issuer, &above);
    let leaf = crate::x509::sct::tests::logged(&plan.params(), by, (&key(), 1_700_000_000_000));
    vec![Arc::new(leaf), Arc::clone(&ca.certificate)]
}

/// A host behind a balancer that so many clients know for a week, and its certificates of two public CAs.
fn balanced(clients: i64) -> (Company, Chain, Chain) {
    let (one, other) = (Ca::new("Public Root A"), Ca::new("Public Root B"));
    let mut company = Company::new(&[&one, &other], "");
    let [old, new] = [&one, &other].map(|ca| logged(ca, &Plan::of(&[SHOP.0])));
    for visit in 0..400 {
        company.serve(SHOP, &client(visit * 13 % clients), &old);
        company.pass(HOUR / 2);
    }
    (company, old, new)
}

/// All certificates of a public CA are replaced: one server after the other has that of another CA. Of each visit the
/// connections go to servers in turn.
#[test]
fn a_balancer_whose_servers_go_over_to_another_public_ca() {
    for (clients, servers) in [(5, 4), (12, 4), (40, 4), (40, 10), (300, 10)] {
        let (mut company, old, new) = balanced(clients);
        let mut turn = 0_i64;
        for visit in 0..480_i64 {
            let done = visit * servers / 480;
            for _ in 0..4 {
                turn += 1;
                let chain = if turn * 7 % servers <= done { &new } else { &old };
                company.serve(SHOP, &client((visit * 13 + visit / 7) % clients), chain);
            }
            company.pass(8);
        }
        company.assert_quiet(0);
    }
}

/// A new release brings the certificate of another public CA, is taken back, and comes for good.
#[test]
fn a_release_that_is_taken_back() {
    for clients in [3, 12, 40] {
        let (mut company, old, new) = balanced(clients);
        for visit in 0..200_i64 {
            let chain = if (20..30).contains(&visit) || visit > 120 { &new } else { &old };
            for _ in 0..3 {
                company.serve(SHOP, &client((visit * 13 + visit / 7) % clients), chain);
            }
            company.pass(60);
        }
        company.assert_quiet(0);
    }
}

/// Who gets another CA's certificate each time, or alone, is told as before.
#[test]
fn a_certificate_of_another_ca_for_some_is_told() {
    for (victims, passed) in [(1, false), (1, true), (3, false)] {
        let (mut company, old, new) = balanced(12);
        for visit in 0..60_i64 {
            let number = visit * 5 % 12;
            let forged = number < victims && (visit % 8 != 0 || !passed);
            company.serve(SHOP, &client(number), if forged { &new } else { &old });
            company.pass(60);
        }
        for live in [false, true] {
            let told = company.told(live);
            assert!(told.iter().any(|one| one.severity >= Severity::Medium), "{victims} {passed} {live}");
        }
    }
}
