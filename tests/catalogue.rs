//! Each rule of the catalogue has a test in which it fires and one in which something near it does not.
#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};

use tlswatch::detect::catalogue::rules;

const JUDGE: &str = "src/detect/judge_tests.rs";
const HOSTS: &str = "src/detect/hosts/tests.rs";
const KEYS: &str = "src/detect/keys.rs";
const CLIENTS: &str = "src/detect/client_certificates/tests.rs";
const NEGOTIATION: &str = "src/detect/negotiation.rs";
const INTERCEPTORS: &str = "src/detect/interceptors.rs";
const WATCH: &str = "src/detect/watch.rs";
const REJECTIONS: &str = "src/detect/rejections.rs";
const NONCES: &str = "src/detect/nonces.rs";
const CAPTURES: &str = "tests/judgement.rs";

/// A test: its file and its name.
type Test = (&'static str, &'static str);

/// Rule, where it fires, where something near it does not. Both may be one test.
const PROVEN: &[(&str, Test, Test)] = &[
    ("MITM-001", (HOSTS, "pins_hold_only_what_is_verified"), (HOSTS, "pins_hold_only_what_is_verified")),
    ("MITM-002", (WATCH, "portal_raises_no_case_per_host"), (HOSTS, "worked_change_of_ca_in_mid_life")),
    ("MITM-003", (HOSTS, "own_key_fires_and_a_ca_does_not"), (HOSTS, "own_key_fires_and_a_ca_does_not")),
    ("MITM-004", (HOSTS, "clones_fire_and_renewals_do_not"), (HOSTS, "clones_fire_and_renewals_do_not")),
    (
        "MITM-005",
        (HOSTS, "impersonated_issuer_fires_and_an_honest_stranger_does_not"),
        (HOSTS, "impersonated_issuer_fires_and_an_honest_stranger_does_not"),
    ),
    (
        "MITM-006",
        (HOSTS, "product_fires_unless_authorised_or_public"),
        (HOSTS, "product_fires_unless_authorised_or_public"),
    ),
    (
        "MITM-007",
        (WATCH, "mitmproxy_on_six_hosts_is_one_cause"),
        (INTERCEPTORS, "five_domains_of_which_three_are_public"),
    ),
    (
        "MITM-008",
        (HOSTS, "split_view_fires_only_where_clients_fall_apart"),
        (HOSTS, "split_view_fires_only_where_clients_fall_apart"),
    ),
    ("MITM-009", (NEGOTIATION, "sentinel_needs_a_better_offer"), (NEGOTIATION, "sentinel_needs_a_better_offer")),
    ("MITM-010", (NEGOTIATION, "choices_must_be_offered"), (NEGOTIATION, "choices_must_be_offered")),
    ("MITM-013", (REJECTIONS, "three_clients_within_the_window"), (REJECTIONS, "one_client_needs_half_of_five")),
    (
        "MITM-014",
        (NEGOTIATION, "regression_after_fifty_handshakes"),
        (NEGOTIATION, "regression_after_fifty_handshakes"),
    ),
    ("MITM-015", (NEGOTIATION, "fallback_is_told"), (NEGOTIATION, "fallback_is_told")),
    ("MITM-031", (WATCH, "portal_raises_no_case_per_host"), (INTERCEPTORS, "one_certificate_for_three_domains")),
    (
        "KEY-001",
        (CAPTURES, "every_attack_is_told_as_promised_and_nothing_beside_it"),
        (KEYS, "shared_keys_of_unrelated_names"),
    ),
    (
        "KEY-002",
        (CAPTURES, "every_attack_is_told_as_promised_and_nothing_beside_it"),
        (KEYS, "serial_numbers_of_one_issuer"),
    ),
    (
        "KEY-003",
        (CAPTURES, "every_attack_is_told_as_promised_and_nothing_beside_it"),
        (KEYS, "ephemeral_keys_and_randoms"),
    ),
    ("KEY-005", (KEYS, "ephemeral_keys_and_randoms"), (KEYS, "ephemeral_keys_and_randoms")),
    ("KEY-006", (JUDGE, "lists_of_certificates_keys_and_serials"), (JUDGE, "lists_of_certificates_keys_and_serials")),
    ("KEY-007", (JUDGE, "primes_that_two_keys_share"), (JUDGE, "primes_that_two_keys_share")),
    ("CERT-001", (JUDGE, "expired_expiring_and_early"), (JUDGE, "expired_expiring_and_early")),
    ("CERT-002", (JUDGE, "expired_expiring_and_early"), (JUDGE, "expired_expiring_and_early")),
    ("CERT-003", (JUDGE, "expired_expiring_and_early"), (JUDGE, "expired_expiring_and_early")),
    (
        "CERT-004",
        (JUDGE, "other_names_count_when_the_client_goes_on_or_at_the_third_time"),
        (JUDGE, "other_names_count_when_the_client_goes_on_or_at_the_third_time"),
    ),
    ("CERT-005", (JUDGE, "untrusted_and_self_signed"), (JUDGE, "untrusted_and_self_signed")),
    ("CERT-006", (JUDGE, "untrusted_and_self_signed"), (JUDGE, "untrusted_and_self_signed")),
    ("CERT-007", (JUDGE, "a_signature_that_is_not_the_issuers"), (JUDGE, "a_signature_that_is_not_the_issuers")),
    (
        "CERT-008",
        (JUDGE, "broken_hashes_count_on_leaves_not_on_who_signs_himself"),
        (JUDGE, "broken_hashes_count_on_leaves_not_on_who_signs_himself"),
    ),
    ("CERT-009", (JUDGE, "validity_has_limits_by_day_of_issue"), (JUDGE, "validity_has_limits_by_day_of_issue")),
    ("CERT-010", (JUDGE, "usage"), (JUDGE, "usage")),
    ("CERT-011", (JUDGE, "timestamps_of_public_certificates"), (JUDGE, "timestamps_of_public_certificates")),
    (
        "CERT-013",
        (JUDGE, "revoked_by_a_list_that_the_issuer_signed"),
        (JUDGE, "revoked_by_a_list_that_the_issuer_signed"),
    ),
    ("CERT-014", (JUDGE, "lists_of_certificates_keys_and_serials"), (JUDGE, "lists_of_certificates_keys_and_serials")),
    ("CERT-017", (CAPTURES, "each_certificate_is_new_once"), (CAPTURES, "each_certificate_is_new_once")),
    ("CERT-018", (CAPTURES, "a_renewal_is_a_mark"), (CAPTURES, "a_renewal_is_a_mark")),
    ("CERT-030", (CLIENTS, "new_location_of_a_known_certificate"), (CLIENTS, "new_location_of_a_known_certificate")),
    ("CERT-031", (CLIENTS, "two_places_at_once"), (CLIENTS, "two_places_at_once")),
    ("CERT-032", (CLIENTS, "new_software"), (CLIENTS, "new_software")),
    ("CERT-033", (CLIENTS, "expired_and_accepted"), (CLIENTS, "expired_and_accepted")),
    ("CERT-034", (CLIENTS, "unexpected_issuer"), (CLIENTS, "unexpected_issuer")),
    (
        "CERT-040",
        (JUDGE, "indicators_of_every_kind_match_what_they_name"),
        (JUDGE, "indicators_of_every_kind_match_what_they_name"),
    ),
    ("CRYP-001", (JUDGE, "versions_and_ciphers"), (JUDGE, "versions_and_ciphers")),
    ("CRYP-002", (JUDGE, "versions_and_ciphers"), (JUDGE, "versions_and_ciphers")),
    ("CRYP-003", (JUDGE, "weak_keys"), (JUDGE, "weak_keys")),
    ("CRYP-004", (JUDGE, "groups_and_shares"), (JUDGE, "groups_and_shares")),
    ("CRYP-005", (JUDGE, "wrong_signatures_and_what_they_leak"), (JUDGE, "wrong_signatures_and_what_they_leak")),
    ("CRYP-006", (JUDGE, "wrong_signatures_and_what_they_leak"), (JUDGE, "wrong_signatures_and_what_they_leak")),
    ("CRYP-007", (NONCES, "one_nonce_for_two_messages"), (NONCES, "the_same_message_twice_is_one_signature")),
    ("CRYP-008", (JUDGE, "keys_that_anybody_can_factor"), (JUDGE, "keys_that_anybody_can_factor")),
    ("CRYP-009", (JUDGE, "keys_that_anybody_can_factor"), (JUDGE, "keys_that_anybody_can_factor")),
    ("CRYP-011", (JUDGE, "groups_and_shares"), (JUDGE, "groups_and_shares")),
    ("POL-001", (JUDGE, "what_the_policy_asks_of_a_host"), (JUDGE, "what_the_policy_asks_of_a_host")),
    ("POL-002", (JUDGE, "what_the_policy_asks_of_a_host"), (JUDGE, "what_the_policy_asks_of_a_host")),
    ("POL-003", (JUDGE, "what_the_policy_asks_of_a_host"), (JUDGE, "a_key_kept_at_renewal")),
    ("POL-004", (JUDGE, "what_the_policy_asks_of_a_host"), (JUDGE, "what_the_policy_asks_of_a_host")),
    ("POL-005", (JUDGE, "what_the_policy_asks_of_a_host"), (JUDGE, "what_the_policy_asks_of_a_host")),
    ("POL-006", (JUDGE, "internal_names_and_addresses_of_public_cas"), (JUDGE, "kinds_of_cas")),
    ("POL-007", (JUDGE, "what_the_policy_asks_of_a_host"), (JUDGE, "what_the_policy_asks_of_a_host")),
];

#[test]
fn every_rule_is_proven() {
    let proven: Vec<String> = PROVEN.iter().map(|(id, ..)| format!("TLSW-{id}")).collect();
    let all: BTreeSet<&str> = rules().map(|rule| rule.id).collect();
    assert_eq!(proven.iter().map(String::as_str).collect::<BTreeSet<_>>(), all);
    assert_eq!(proven.len(), all.len(), "a rule stands here twice");
}

#[test]
fn the_tests_exist_and_speak_of_their_rules() {
    let mut silent = Vec::new();
    let mut sources: BTreeMap<&str, String> = BTreeMap::new();
    for (id, fires, near) in PROVEN {
        for (place, (file, name)) in [fires, near].into_iter().enumerate() {
            let source = sources.entry(file).or_insert_with(|| std::fs::read_to_string(file).unwrap());
            let body = body(source, name).unwrap_or_else(|| panic!("{id}: no test {name} in {file}"));
            assert!(body.contains("assert"), "{id}: {name} asserts nothing");
            // The name of the rule, or of the static that is the rule, where it fires.
            let spoken = [*id, statics(id).as_str()].iter().any(|name| source_of(body, file, source).contains(name));
            if place == 0 && !spoken {
                silent.push(format!("{id}: {name} in {file}"));
            }
        }
    }
    assert!(silent.is_empty(), "tests that do not name their rule: {silent:#?}");
}

/// The test's own text; for those over captures the tables of their file too.
fn source_of<'a>(body: &'a str, file: &str, source: &'a str) -> &'a str {
    if file == CAPTURES { source } else { body }
}

/// A test function's text, up to the next one.
fn body<'a>(source: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = source
        .split_once(&format!("#[test]\nfn {name}() {{"))
        .or_else(|| source.split_once(&format!("#[test]\n    fn {name}() {{")))?;
    rest.split("#[test]").next()
}

/// The static of a rule: `SERVER_RANDOM_REUSE`.
fn statics(id: &str) -> String {
    let files = ["certificate", "client_certificate", "crypto", "key_reuse", "mitm", "policy"];
    let catalogue = files.map(|file| std::fs::read_to_string(format!("src/detect/catalogue/{file}.rs")).unwrap());
    let all = catalogue.concat();
    let (before, _) = all.split_once(&format!("id: \"TLSW-{id}\"")).unwrap();
    let (_, last) = before.rsplit_once("pub static ").unwrap();
    last.split(':').next().unwrap().to_owned()
}
