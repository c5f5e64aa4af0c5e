//! What other systems got wrong, item by item: the table at the top names the test that shows each. Here are those of
//! packets, records and handshakes.
#![cfg(test)]
#![allow(clippy::cast_possible_truncation, reason = "numbers of tests are small")]

mod support;

use std::fs;

use serde_json::Value;
use tlswatch::pipeline::Options;

use support::run_bytes;
use support::scene::*;
use support::session::*;
use support::tls::*;

/// Number, what it is about, and the tests: a function of this file, or `file::function`.
const ITEMS: &[(u8, &str, &[&str])] = &[
    (1, "messages over records, several in one", &["messages_and_records_do_not_coincide"]),
    (2, "record boundary inside the message header", &["messages_and_records_do_not_coincide"]),
    (3, "ClientHello over several segments", &["a_post_quantum_hello_needs_two_segments"]),
    (
        4,
        "segments of one byte, copies, overlaps, disorder",
        &[
            "tests/scenes.rs::segments_of_one_byte",
            "tests/scenes.rs::each_packet_twice",
            "tests/scenes.rs::any_order_copies_and_cuts_of_a_flight",
            "tests/scenes.rs::an_overlap_with_other_bytes_is_told_and_the_first_copy_wins",
            "src/flow/tcp.rs::copies_do_not_grow_the_queue",
        ],
    ),
    (
        5,
        "messages bounded by what they claim",
        &["a_claim_of_16_megabytes_is_counted_and_not_kept", "src/tls/tests.rs::too_long_message_is_counted_past"],
    ),
    (6, "no copy of everything per fragment", &["work_grows_with_the_bytes_not_with_their_square"]),
    (7, "a buffer per direction", &["both_directions_at_once"]),
    (
        8,
        "arithmetic of lengths",
        &[
            "arithmetic_is_checked_in_release_too",
            "src/tls/tests.rs::random_bytes_never_panic",
            "src/tls/tests.rs::truncation_at_every_byte",
        ],
    ),
    (
        10,
        "more than 255 records",
        &["thousands_of_records_in_one_packet", "src/tls/tests.rs::more_than_255_records_hold_one_hello"],
    ),
    (11, "empty, oversized and unknown records", &["odd_records", "src/tls/tests/odd_hellos.rs::they_hide_nothing"]),
    (12, "data with FIN, data on the third packet", &["data_with_fin_and_on_the_third_packet"]),
    (13, "one side only, server first", &["one_side_only", "the_server_first"]),
    (14, "no SYN, or SYN-ACK first", &["midstream"]),
    (15, "client and server not swapped", &["roles_come_from_the_hello"]),
    (
        16,
        "GREASE",
        &["grease_is_listed_but_not_hashed", "src/tls/fingerprint/ja3.rs::equal_nibbles_alone_are_no_grease"],
    ),
    (17, "HelloRetryRequest is one handshake", &["a_retry_is_one_handshake"]),
    (
        18,
        "ChangeCipherSpec of the middleboxes",
        &["compatibility_is_no_resumption", "a_ticket_offered_is_no_resumption"],
    ),
    (19, "session id echo of TLS 1.3", &["compatibility_is_no_resumption"]),
    (20, "early data", &["early_data_ends_nothing"]),
    (21, "version from supported_versions", &["the_version_comes_from_the_extension"]),
    (22, "renegotiation", &["a_second_handshake_is_a_second_event"]),
    (23, "client certificates", &["the_clients_certificate_is_the_clients"]),
    (
        24,
        "CertificateRequest and NewSessionTicket",
        &["the_clients_certificate_is_the_clients", "a_ticket_has_a_lifetime"],
    ),
    (
        25,
        "several alerts, encrypted alerts",
        &["alerts_in_clear_and_not", "src/tls/tests.rs::encrypted_alert_is_no_clear_alert"],
    ),
    (26, "certificates of handshakes that fail", &["certificates_outlive_the_handshake"]),
    (
        27,
        "hello in SSL 2 format",
        &["an_ssl2_hello_leads_into_tls", "src/tls/tests.rs::ssl2_server_shows_its_certificate"],
    ),
    (
        28,
        "odd lengths",
        &[
            "odd_lengths_hide_nothing",
            "src/tls/tests.rs::odd_cipher_suites_do_not_hide_the_name",
            "src/tls/fingerprint/ja4.rs::counts_stop_at_99",
        ],
    ),
    (29, "empty lists", &["empty_lists_have_fingerprints"]),
    (30, "server names of every kind", &["server_names_of_every_kind", "src/tls/tests.rs::several_and_strange_names"]),
    (
        31,
        "look-alikes",
        &[
            "look_alikes",
            "src/tls/tests.rs::probe_tells_tls_from_look_alikes",
            "src/tls/tests/odd_hellos.rs::lengths_that_do_not_fit_are_no_hello",
        ],
    ),
    (41, "dates", &["tests/edge_cases_certificates.rs::dates_of_every_kind"]),
    (43, "serial numbers", &["tests/edge_cases_certificates.rs::serial_numbers_of_every_kind"]),
    (
        44,
        "strings",
        &["tests/edge_cases_certificates.rs::strings_of_every_kind", "src/x509/text.rs::every_string_type_is_decoded"],
    ),
    (45, "one bad certificate", &["tests/edge_cases_certificates.rs::a_bad_certificate_hides_no_other"]),
    (46, "long chains", &["tests/edge_cases_certificates.rs::long_chains_are_told"]),
    (48, "CA flag", &["tests/edge_cases_certificates.rs::only_cert_sign_makes_a_ca"]),
    (54, "form of hashes", &["tests/edge_cases_certificates.rs::hashes_are_upper_case_without_colons"]),
    (
        55,
        "every table has a bound",
        &[
            "tests/scenes.rs::memory_of_a_slot_is_bounded_and_what_left_is_told",
            "tests/determinism.rs::eviction_and_every_other_limit_are_the_same_for_any_threads",
            "src/x509/cache.rs::a_flood_stays_within_the_limit",
        ],
    ),
    (57, "certificates told once", &["tests/edge_cases_certificates.rs::a_certificate_is_told_once_and_referred_to"]),
    (
        58,
        "empty or absent, control characters",
        &[
            "tests/edge_cases_certificates.rs::strings_of_every_kind",
            "tests/edge_cases_certificates.rs::empty_is_absent",
            "src/event/json.rs::any_text_is_valid_json_without_controls",
        ],
    ),
    (
        59,
        "no dependence on threads",
        &[
            "tests/determinism.rs::every_capture_is_the_same_for_any_threads",
            "tests/determinism.rs::all_captures_at_once_are_the_same_for_any_threads",
        ],
    ),
    (
        61,
        "private data",
        &[
            "tests/edge_cases_certificates.rs::secrets_of_a_capture_are_never_told",
            "tests/cli.rs::certificates_are_written_once_under_their_hash",
        ],
    ),
    (62, "outer name", &["tests/edge_cases_certificates.rs::the_outer_name_is_marked"]),
];

#[test]
fn every_item_has_its_test() {
    let required: Vec<u8> =
        [1..=8, 10..=31, 41..=41, 43..=46, 48..=48, 54..=55, 57..=59, 61..=62].into_iter().flatten().collect();
    assert_eq!(ITEMS.iter().map(|item| item.0).collect::<Vec<_>>(), required);
    for (number, what, tests) in ITEMS {
        assert!(!tests.is_empty(), "{number}: {what}");
        for test in *tests {
            let (file, function) = test.rsplit_once("::").unwrap_or(("tests/edge_cases.rs", test));
            let text = fs::read_to_string(file).unwrap();
            let at = text.find(&format!("fn {function}(")).unwrap_or_else(|| panic!("{number}: no {test}"));
            let before: Vec<&str> = text.split_at(at).0.lines().rev().take(3).collect();
            assert!(before.iter().any(|line| line.contains("#[test]")), "{number}: {test} is no test");
        }
    }
}

fn tls13_end() -> [(Side, Vec<u8>); 3] {
    let ccs = record(CHANGE_CIPHER_SPEC, &[1]);
    [
        (Server, [ccs.clone(), application_data(900)].concat()),
        (Client, [ccs, application_data(60), application_data(120)].concat()),
        (Server, application_data(300)),
    ]
}

#[test]
fn messages_and_records_do_not_coincide() {
    let chain = chain();
    let flight =
        [ServerHello::default().message(), certificates(&[&chain, &chain]), server_key_exchange(), server_hello_done()]
            .concat();
    let hello = ClientHello::default().message();
    let cut = |bytes: &[u8], first: usize, size: usize| {
        let (head, rest) = bytes.split_at(first);
        let parts = std::iter::once(head).chain(rest.chunks(size)).filter(|part| !part.is_empty());
        parts.flat_map(|part| record(HANDSHAKE, part)).collect::<Vec<u8>>()
    };
    let mut expected = None;
    let sizes = [(0, 16_000), (0, 1), (0, 7), (1, 16_000), (2, 16_000), (3, 16_000), (4, 16_000), (5, 3), (90, 100)];
    for (first, size) in sizes {
        let scene = talk(&[
            (Client, cut(&hello, first, size)),
            (Server, cut(&flight, first, size)),
            (Client, client_finish()),
            (Server, finish()),
        ]);
        let mut event = scene.one();
        assert_eq!(event["tlswatch"]["complete"], true, "{first} {size}");
        assert_eq!(event["tls"]["established"], true);
        for member in ["event", "tlswatch"] {
            let part = event[member].as_object_mut().unwrap();
            for name in ["id", "start", "end", "duration", "frames"] {
                part.remove(name);
            }
        }
        event.as_object_mut().unwrap().remove("@timestamp");
        assert_eq!(*expected.get_or_insert_with(|| event.clone()), event, "{first} {size}");
    }
}

#[test]
fn a_post_quantum_hello_needs_two_segments() {
    let mut hello = ClientHello::tls13();
    let share = [numbers(&[0x11ec]), vector16(&[5; 1216]), numbers(&[29]), vector16(&[7; 32])].concat();
    hello.extensions.pop();
    hello.extensions.push(extension(51, &vector16(&share)));
    assert!(hello.record().len() > 1_400);
    let parts = [&[(Client, hello.record()), (Server, handshake(&[ServerHello::tls13().message()]))], &tls13_end()[..]];
    let event = talk(&parts.concat()).one();
    assert_eq!(texts(&event["tlswatch"]["client"]["key_shares"]), ["X25519MLKEM768", "x25519"]);
    assert_eq!(event["tls"]["client"]["server_name"], "example.org");
    assert_eq!(event["tls"]["established"], true);
}

#[test]
fn a_claim_of_16_megabytes_is_counted_and_not_kept() {
    let mut claim = message(11, &vec![0x30; 256 << 10]);
    claim[1..4].copy_from_slice(&[0xff; 3]);
    let records: Vec<u8> = claim.chunks(16_000).flat_map(|part| record(HANDSHAKE, part)).collect();
    let hello = ClientHello::default().record();
    let scene = talk(&[(Client, hello), (Server, [handshake(&[ServerHello::default().message()]), records].concat())]);
    let run = scene.run();
    let event = &run.events("tls")[0];
    assert!(has(event, "message_too_long"), "{event:#}");
    assert_eq!(event["tls"]["cipher"], "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
    assert_eq!(run.outcome.stats.tls_message_too_long, 1);
}

#[test]
fn work_grows_with_the_bytes_not_with_their_square() {
    #[expect(clippy::disallowed_methods, reason = "this test measures")]
    let now = std::time::Instant::now;
    let cost = |bytes: usize| {
        let body = message(11, &vector24(&vector24(&vec![0x30; bytes])));
        let records: Vec<u8> = body.iter().flat_map(|byte| record(HANDSHAKE, &[*byte])).collect();
        let hello = handshake(&[ServerHello::default().message()]);
        let mut scene = Scene::new();
        let mut connection = Connection { segment: 60_000, ..Connection::new(1) };
        scene.open(&mut connection);
        scene.send(&mut connection, Client, &ClientHello::default().record());
        scene.send(&mut connection, Server, &[hello, records].concat());
        let pcap = scene.pcap();
        (0..3)
            .map(|_| {
                let start = now();
                let run = run_bytes("cost.pcap", pcap.clone(), &Options::default());
                assert_eq!(run.events("tls").len(), 1);
                start.elapsed()
            })
            .min()
            .unwrap()
    };
    let (small, large) = (cost(25_000), cost(200_000));
    // Eight times the bytes: 64 times the work if each were copied again with each record.
    assert!(large < small * 30, "{small:?} for 25,000 bytes, {large:?} for 200,000");
}

#[test]
fn both_directions_at_once() {
    let mut scene = Scene::new();
    let mut connection = Connection::new(1);
    scene.open(&mut connection);
    let hello = ClientHello::default().record();
    let client = [hello.clone(), client_finish()].concat();
    let server = [server_flight(&[&chain()]), finish()].concat();
    let (mut left, mut right) = (client.chunks(11), server.chunks(13));
    loop {
        let (one, other) = (left.next(), right.next());
        if let Some(bytes) = one {
            scene.send(&mut connection, Client, bytes);
        }
        if let Some(bytes) = other {
            scene.send(&mut connection, Server, bytes);
        }
        if one.is_none() && other.is_none() {
            break;
        }
    }
    let event = scene.one();
    assert_eq!(event["tls"]["client"]["server_name"], "example.org");
    assert_eq!(texts(&event["tlswatch"]["server"]["chain"]), [sha256(&chain())]);
    assert_eq!(event["tls"]["established"], true);
}

#[test]
fn arithmetic_is_checked_in_release_too() {
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    let release = manifest.split("[profile.release]").nth(1).unwrap().split("\n[").next().unwrap();
    assert!(release.contains("overflow-checks = true"));
}

#[test]
fn thousands_of_records_in_one_packet() {
    let warnings: Vec<u8> = std::iter::repeat_n(alert(1, 90), 2_000).flatten().collect();
    let mut scene = Scene::new();
    let mut connection = Connection { segment: 60_000, ..Connection::new(1) };
    scene.open(&mut connection);
    scene.send(&mut connection, Client, &ClientHello::default().record());
    scene.send(&mut connection, Server, &[warnings, server_flight(&[&chain()])].concat());
    scene.send(&mut connection, Client, &client_finish());
    scene.send(&mut connection, Server, &finish());
    let event = scene.one();
    assert_eq!(texts(&event["tlswatch"]["server"]["chain"]).len(), 1);
    assert!(has(&event, "many_alerts"), "{event:#}");
    assert!(texts(&event["tlswatch"]["alerts"]).len() <= 10);
}

#[test]
fn odd_records() {
    let odd = [
        (record(HANDSHAKE, &[]), "empty_record"),
        (record(HANDSHAKE, &vec![0; (1 << 14) + 2_500]), "record_too_long"),
        (record(99, &[1, 2, 3]), "unknown_record_type"),
    ];
    for (bytes, anomaly) in odd {
        let hello = handshake(&[ServerHello::default().message()]);
        let event = talk(&[(Client, ClientHello::default().record()), (Server, [hello, bytes].concat())]).one();
        assert!(has(&event, anomaly), "{anomaly}: {event:#}");
        assert_eq!(event["tls"]["cipher"], "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "{anomaly}");
    }
    let with_empty = [record(APPLICATION_DATA, &[]), application_data(60), application_data(120)].concat();
    let parts = [
        (Client, ClientHello::tls13().record()),
        (Server, [handshake(&[ServerHello::tls13().message()]), application_data(900)].concat()),
        (Client, with_empty),
        (Server, application_data(300)),
    ];
    assert_eq!(talk(&parts).one()["tls"]["established"], true);
}

#[test]
fn data_with_fin_and_on_the_third_packet() {
    let mut scene = Scene::new();
    let mut connection = Connection::new(1);
    scene.control(&mut connection, Client, SYN);
    scene.control(&mut connection, Server, SYN | ACK);
    scene.send(&mut connection, Client, &ClientHello::default().record());
    let flight = server_flight(&[&chain()]);
    let sequence = connection.next[1];
    scene.segment((&connection, Server), (sequence, FIN | PSH | ACK), &flight);
    let event = scene.one();
    assert_eq!(texts(&event["tlswatch"]["server"]["chain"]).len(), 1, "{event:#}");

    let mut fast_open = Scene::new();
    let mut connection = Connection::new(2);
    let hello = ClientHello::default().record();
    let sequence = connection.next[0];
    fast_open.segment((&connection, Client), (sequence, SYN), &hello);
    connection.next[0] = sequence.wrapping_add(1 + hello.len() as u32);
    fast_open.control(&mut connection, Server, SYN | ACK);
    fast_open.send(&mut connection, Server, &flight);
    let event = fast_open.one();
    assert_eq!(event["tls"]["client"]["server_name"], "example.org", "{event:#}");
    assert_eq!(texts(&event["tlswatch"]["server"]["chain"]).len(), 1);
}

/// The same scene with the frames of one side only.
fn only(scene: &Scene, side: Side) -> Scene {
    let from: &[u8] = if side == Client { &[10, 0, 0, 1] } else { &[192, 0, 2, 1] };
    let frames = scene.frames.iter().filter(|frame| &frame.data[26..30] == from).cloned().collect();
    Scene { frames, ..scene.clone() }
}

#[test]
fn one_side_only() {
    let whole = session(&ClientHello::default());
    let client = only(&whole, Client).one();
    assert_eq!(client["tls"]["client"]["server_name"], "example.org");
    assert_eq!(client["tlswatch"]["server"], Value::Null);
    let server = only(&whole, Server).one();
    assert_eq!(texts(&server["tlswatch"]["server"]["chain"]).len(), 1);
    for event in [client, server] {
        assert_eq!(event["source"]["ip"], "10.0.0.1", "{event:#}");
        assert_eq!(event["destination"]["ip"], "192.0.2.1");
        assert_eq!(event["tlswatch"]["complete"], false);
    }
}

#[test]
fn the_server_first() {
    let mut scene = session(&ClientHello::default());
    // Frames 0 to 2 open the connection, 3 is the ClientHello, 4 and following the server's flight.
    scene.frames.swap(3, 4);
    let times: Vec<i64> = (0..).map(|at| START + at * 1_000_000).take(scene.frames.len()).collect();
    scene.frames.iter_mut().zip(times).for_each(|(frame, time)| frame.time = time);
    let event = scene.one();
    assert_eq!(event["tls"]["client"]["server_name"], "example.org");
    assert_eq!(texts(&event["tlswatch"]["server"]["chain"]).len(), 1);
    assert_eq!(event["tls"]["established"], true);
}

#[test]
fn midstream() {
    let whole = session(&ClientHello::default());
    for skipped in 1..=3 {
        let mut scene = whole.clone();
        scene.frames.drain(..skipped);
        let event = scene.one();
        assert_eq!(event["tls"]["client"]["server_name"], "example.org", "{skipped}");
        assert_eq!(texts(&event["tlswatch"]["server"]["chain"]).len(), 1, "{skipped}");
        assert_eq!(event["source"]["ip"], "10.0.0.1", "{skipped}");
        // Without the client's SYN it is not known what came before.
        assert!(has(&event, "mid_stream"), "{skipped}");
        assert_eq!(event["tlswatch"]["complete"], false, "{skipped}");
    }
    let mut late = whole;
    late.frames.drain(..4);
    let event = late.one();
    assert_eq!(texts(&event["tlswatch"]["server"]["chain"]).len(), 1, "{event:#}");
    assert!(has(&event, "no_client_hello"), "{event:#}");
    assert_eq!(event["tlswatch"]["complete"], false);
    assert_eq!(event["source"]["ip"], "10.0.0.1");
}

#[test]
fn roles_come_from_the_hello() {
    for (client, server) in [
        ("10.0.0.1:443", "10.0.0.2:60000"),
        ("10.0.0.2:443", "10.0.0.1:60000"),
        ("10.0.0.1:60000", "10.0.0.1:443"),
        ("10.0.0.1:7", "10.0.0.1:8"),
    ] {
        let mut scene = Scene::new();
        scene.session(Connection::between(client, server), &ClientHello::default(), &[&chain()]);
        let event = scene.one();
        let end =
            |name: &str| format!("{}:{}", event[name]["ip"].as_str().unwrap(), event[name]["port"].as_u64().unwrap());
        assert_eq!((end("source").as_str(), end("destination").as_str()), (client, server));
    }
}

#[test]
fn grease_is_listed_but_not_hashed() {
    let plain = session(&ClientHello::default()).one();
    let mut hello = ClientHello::default();
    hello.cipher_suites.splice(0..0, numbers(&[0x0a0a]));
    hello.extensions[1] = extension(10, &vector16(&numbers(&[0x1a1a, 29, 23])));
    hello.extensions.insert(0, extension(0x2a2a, &[]));
    hello.extensions.push(extension(0xfafa, &[0]));
    let greased = session(&hello).one();
    for name in ["ja3", "ja4"] {
        assert_eq!(greased["tls"]["client"][name], plain["tls"]["client"][name], "{name}");
    }
    assert_eq!(texts(&greased["tlswatch"]["client"]["groups"]), ["GREASE", "x25519", "secp256r1"]);
    assert_eq!(greased["tlswatch"]["client"]["grease"], true);
    assert_eq!(plain["tlswatch"]["client"]["grease"], Value::Null);
    // 0x0101 looks like GREASE to a test of the nibbles alone.
    let hello = ClientHello { cipher_suites: numbers(&[0x0101, 0xc02f, 0xc02b, 0x009c]), ..ClientHello::default() };
    assert_ne!(session(&hello).one()["tls"]["client"]["ja3"], plain["tls"]["client"]["ja3"]);
}

#[test]
fn a_retry_is_one_handshake() {
    let first = ClientHello::tls13();
    let second = ClientHello::tls13().with(44, &vector16(&[3; 8]));
    let parts = [
        &[
            (Client, first.record()),
            (Server, handshake(&[ServerHello::retry(24).message()])),
            (Client, second.record()),
            (Server, handshake(&[ServerHello::tls13().message()])),
        ],
        &tls13_end()[..],
    ];
    let event = talk(&parts.concat()).one();
    assert_eq!(event["tls"]["established"], true, "{event:#}");
    assert_eq!(event["tlswatch"]["server"]["hello_retry_group"], "secp384r1");
    let plain = [&[(Client, first.record()), (Server, handshake(&[ServerHello::tls13().message()]))], &tls13_end()[..]];
    let plain = talk(&plain.concat()).one();
    for name in ["ja3", "ja4"] {
        assert_eq!(event["tls"]["client"][name], plain["tls"]["client"][name], "{name} is of the first hello");
    }
    assert_eq!(event["tls"]["server"]["ja3s"], plain["tls"]["server"]["ja3s"]);
}

#[test]
fn compatibility_is_no_resumption() {
    let hello = [(Client, ClientHello::tls13().record()), (Server, handshake(&[ServerHello::tls13().message()]))];
    let event = talk(&[&hello, &tls13_end()[..]].concat()).one();
    assert_eq!(event["tls"]["version"], "1.3");
    assert_eq!(event["tls"]["resumed"], false);
    assert_eq!(event["tls"]["established"], true);
    let without_ccs = [
        (Server, application_data(900)),
        (Client, [application_data(60), application_data(120)].concat()),
        (Server, application_data(300)),
    ];
    let event = talk(&[&hello, &without_ccs[..]].concat()).one();
    assert_eq!((&event["tls"]["resumed"], &event["tls"]["established"]), (&false.into(), &true.into()));
}

#[test]
fn a_ticket_offered_is_no_resumption() {
    let hello = ClientHello { session_id: vec![8; 32], ..ClientHello::default() }.with(35, &[0x55; 180]);
    let event = session(&hello).one();
    assert_eq!(event["tls"]["resumed"], false);
    assert_eq!(event["tlswatch"]["client"]["ticket_length"], 180);
    let echoed = ServerHello { session_id: vec![8; 32], ..ServerHello::default() };
    let resumed = talk(&[
        (Client, hello.record()),
        (Server, [handshake(&[echoed.message()]), finish()].concat()),
        (Client, finish()),
        (Client, application_data(100)),
    ]);
    let event = resumed.one();
    assert_eq!(event["tls"]["resumed"], true, "{event:#}");
    assert_eq!(event["tls"]["established"], true);
}

#[test]
fn early_data_ends_nothing() {
    let hello = ClientHello::tls13().with(42, &[]);
    let early = [hello.record(), record(CHANGE_CIPHER_SPEC, &[1]), application_data(400), application_data(400)];
    let parts = [(Client, early.concat()), (Server, handshake(&[ServerHello::tls13().message()]))];
    let event = talk(&[&parts, &tls13_end()[..]].concat()).one();
    assert_eq!(event["tls"]["version"], "1.3");
    assert_eq!(event["tlswatch"]["client"]["early_data"], true);
    assert_eq!(event["tls"]["established"], true);
}

#[test]
fn the_version_comes_from_the_extension() {
    for (chosen, version, told) in [(0x0304, "1.3", "1.3"), (0x7f1c, "1.3", "draft-28")] {
        let mut server = ServerHello::tls13();
        server.extensions[0] = extension(43, &numbers(&[chosen]));
        let parts = [(Client, ClientHello::tls13().record()), (Server, handshake(&[server.message()]))];
        let event = talk(&[&parts, &tls13_end()[..]].concat()).one();
        assert_eq!(event["tls"]["version"], version);
        assert_eq!(texts(&event["tlswatch"]["server"]["versions"]), [told]);
    }
    for (number, version) in [(0x0301, "1.0"), (0x0302, "1.1"), (0x0303, "1.2")] {
        let server = ServerHello { version: number, ..ServerHello::default() };
        let parts = [(Client, ClientHello::tls13().record()), (Server, handshake(&[server.message()]))];
        assert_eq!(talk(&parts).one()["tls"]["version"], version);
    }
}

#[test]
fn a_second_handshake_is_a_second_event() {
    let mut scene = Scene::new();
    let mut connection = Connection::new(1);
    scene.open(&mut connection);
    scene.send(&mut connection, Client, &ClientHello::default().record());
    scene.send(&mut connection, Server, &server_flight(&[&chain()]));
    let other = certificate("other.example.org");
    let hello = ClientHello { random: 99, ..ClientHello::default() }.named(server_names(&[(0, b"other.example.org")]));
    scene.send(&mut connection, Client, &hello.record());
    let flight = server_flight(&[&other]);
    scene.send(&mut connection, Server, &flight);
    let events = scene.handshakes();
    assert_eq!(events.len(), 2, "{events:#?}");
    assert_eq!(texts(&events[0]["tlswatch"]["server"]["chain"]), [sha256(&chain())]);
    assert_eq!(texts(&events[1]["tlswatch"]["server"]["chain"]), [sha256(&other)]);
    assert_eq!(events[1]["tls"]["client"]["server_name"], "other.example.org");
}

fn mutual(client_chain: &[&[u8]]) -> Scene {
    let request = message(13, &[&[1, 1][..], &vector16(&numbers(&[0x0403])), &vector16(&[])].concat());
    let flight = [
        ServerHello::default().message(),
        certificates(&[&chain()]),
        server_key_exchange(),
        request,
        server_hello_done(),
    ];
    let exchange = message(16, &vector8(&[3; 32]));
    let verify = message(15, &[&[4, 3][..], &vector16(&[7; 70])].concat());
    let answer = [certificates(client_chain), exchange, verify];
    talk(&[
        (Client, ClientHello::default().record()),
        (Server, handshake(&flight)),
        (Client, [handshake(&answer), finish()].concat()),
        (Server, finish()),
    ])
}

#[test]
fn the_clients_certificate_is_the_clients() {
    let client = certificate("client.example.org");
    let event = mutual(&[&client]).one();
    assert_eq!(event["tls"]["server"]["hash"]["sha256"], sha256(&chain()));
    assert_eq!(event["tls"]["client"]["hash"]["sha256"], sha256(&client));
    assert_eq!(event["tls"]["client"]["server_name"], "example.org");
    let request = &event["tlswatch"]["server"]["certificate_request"];
    assert_eq!(texts(&request["signature_algorithms"]), ["ecdsa_secp256r1_sha256"]);
    assert_eq!(texts(&event["tlswatch"]["client"]["signature_algorithms"]).len(), 2);
    assert_eq!(texts(&event["tlswatch"]["server"]["extensions"]), ["renegotiation_info"]);
}

#[test]
fn a_ticket_has_a_lifetime() {
    let ticket = message(4, &[&7_200_u32.to_be_bytes()[..], &vector16(&[9; 160])].concat());
    let event = talk(&[
        (Client, ClientHello::default().with(35, &[]).record()),
        (Server, server_flight(&[&chain()])),
        (Client, client_finish()),
        (Server, [handshake(&[ticket]), finish()].concat()),
    ])
    .one();
    assert_eq!(event["tlswatch"]["server"]["new_session_ticket"]["lifetime"], 7_200, "{event:#}");
    assert_eq!(event["tlswatch"]["server"]["new_session_ticket"]["length"], 160);
}

#[test]
fn alerts_in_clear_and_not() {
    let two = record(ALERT, &[1, 112, 2, 40]);
    let event = talk(&[(Client, ClientHello::default().record()), (Server, two)]).one();
    assert_eq!(
        texts(&event["tlswatch"]["alerts"]),
        ["server:warning:unrecognized_name", "server:fatal:handshake_failure"]
    );
    let encrypted = record(ALERT, &[0x5a; 26]);
    let event = talk(&[
        (Client, ClientHello::default().record()),
        (Server, server_flight(&[&chain()])),
        (Client, [client_finish(), encrypted].concat()),
        (Server, finish()),
    ])
    .one();
    assert_eq!(event["tlswatch"]["alerts"], Value::Null, "{event:#}");
}

#[test]
fn certificates_outlive_the_handshake() {
    let hello = (Client, ClientHello::default().record());
    let flight = (Server, server_flight(&[&chain()]));
    let refused = talk(&[hello.clone(), flight.clone(), (Client, alert(2, 48))]);
    let run = refused.run();
    let event = &run.events("tls")[0];
    assert_eq!(event["tls"]["server"]["hash"]["sha256"], sha256(&chain()));
    assert_eq!(event["tlswatch"]["failure"], "fatal_alert");
    assert_eq!(texts(&event["tlswatch"]["alerts"]), ["client:fatal:unknown_ca"]);
    assert_eq!(run.events("certificate").len(), 1);
    let event = talk(&[hello, flight]).one();
    assert_eq!(event["tls"]["server"]["hash"]["sha256"], sha256(&chain()));
    assert_eq!(event["tlswatch"]["failure"], "closed");
}

#[test]
fn an_ssl2_hello_leads_into_tls() {
    let ciphers = [0, 0xc0, 0x2f, 0, 0x00, 0x9c, 1, 0, 0x80];
    let body = [&[1, 3, 3][..], &numbers(&[ciphers.len() as u16, 0, 16]), &ciphers, &[7; 16]].concat();
    let hello = [&(0x8000 | body.len() as u16).to_be_bytes()[..], &body].concat();
    let scene =
        talk(&[(Client, hello), (Server, server_flight(&[&chain()])), (Client, client_finish()), (Server, finish())]);
    let event = scene.one();
    assert_eq!(event["tlswatch"]["client"]["ssl2_hello"], true);
    assert_eq!(texts(&event["tlswatch"]["client"]["versions"]), ["1.2"]);
    assert_eq!(event["tls"]["version"], "1.2");
    assert_eq!(event["tls"]["established"], true);
}

#[test]
fn odd_lengths_hide_nothing() {
    let mut odd = ClientHello::default();
    odd.cipher_suites.push(0xc0);
    let event = session(&odd).one();
    assert_eq!(event["tls"]["client"]["server_name"], "example.org");
    assert!(has(&event, "odd_cipher_suites"), "{event:#}");

    let cipher_suites = (0x5000..0x5000 + 300).flat_map(u16::to_be_bytes).collect();
    let many = ClientHello { cipher_suites, ..ClientHello::default() };
    let event = session(&many).one();
    assert_eq!(texts(&event["tls"]["client"]["supported_ciphers"]).len(), 300);
    assert!(event["tls"]["client"]["ja4"].as_str().unwrap().starts_with("t12d9904"), "{event:#}");

    // The header of a last extension, cut: it must not count as one.
    let whole = ServerHello::default();
    let cut = ServerHello { extensions: vec![extension(0xff01, &[0]), vec![0, 0x23, 0]], ..ServerHello::default() };
    let [whole, cut] = [whole, cut].map(|server| {
        talk(&[(Client, ClientHello::default().record()), (Server, handshake(&[server.message()]))]).one()
    });
    assert_eq!(cut["tls"]["server"]["ja3s"], whole["tls"]["server"]["ja3s"]);
    assert!(has(&cut, "malformed_server_hello"), "{cut:#}");

    // One number and a half in supported_versions.
    let hello = ClientHello::default().with(43, &[3, 3, 4, 3]);
    assert_eq!(session(&hello).one()["tls"]["client"]["server_name"], "example.org");
}

#[test]
fn empty_lists_have_fingerprints() {
    let mut hello = ClientHello::default();
    hello.extensions[1] = extension(10, &vector16(&[]));
    hello.extensions[2] = extension(11, &vector8(&[]));
    let empty = session(&hello).one();
    let none = session(&ClientHello { extensions: Vec::new(), ..ClientHello::default() }).one();
    // Version 771, the three ciphers, and what there is of the rest.
    let ja3 = |text: &str| {
        use md5::Digest;
        md5::Md5::digest(text).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    assert_eq!(empty["tls"]["client"]["ja3"], ja3("771,49199-49195-156,0-10-11-13,,"));
    assert_eq!(none["tls"]["client"]["ja3"], ja3("771,49199-49195-156,,,"));
}

#[test]
fn server_names_of_every_kind() {
    let name = |extension: Vec<u8>| session(&ClientHello::default().named(extension)).one();
    for (bytes, shown, domain) in [
        (&b"EXAMPLE.org"[..], "EXAMPLE.org", Some("example.org")),
        (b"example.org.", "example.org.", Some("example.org")),
        (b"192.0.2.7", "192.0.2.7", None),
        (b"example.org/path?x", "example.org/path?x", None),
    ] {
        let event = name(server_names(&[(0, bytes)]));
        assert_eq!(event["tls"]["client"]["server_name"], shown);
        match domain {
            Some(domain) => assert_eq!(event["destination"]["domain"], domain, "{shown}"),
            None => assert!(event["destination"]["domain"].is_null(), "{shown}: {}", event["destination"]),
        }
    }
    let two = name(server_names(&[(0, b"first.example"), (0, b"second.example")]));
    assert_eq!(two["tls"]["client"]["server_name"], "first.example");
    assert!(has(&two, "multiple_server_names"), "{two:#}");
    for odd in [server_names(&[(7, b"x")]), server_names(&[(0, b"")]), extension(0, &[0, 9, 0, 0, 2, b'a', b'b'])] {
        let event = name(odd);
        assert!(has(&event, "invalid_server_name") || has(&event, "malformed_extension"), "{event:#}");
        assert_eq!(event["tls"]["established"], true);
    }
    let hostile = name(server_names(&[(0, b"a\x1b[31m\xff\x00b")]));
    assert_eq!(hostile["tlswatch"]["client"]["server_name_hex"], "611b5b33316dff0062");
    let twice = ClientHello::default().with(0, &vector16(&[&[0][..], &vector16(b"again.example")].concat()));
    let event = session(&twice).one();
    assert_eq!(event["tls"]["client"]["server_name"], "example.org");
    assert!(has(&event, "duplicate_extension"), "{event:#}");
    let mut in_server = ServerHello::default();
    in_server.extensions.push(extension(0, &[]));
    let parts = [(Client, ClientHello::default().record()), (Server, handshake(&[in_server.message()]))];
    assert_eq!(talk(&parts).one()["tls"]["client"]["server_name"], "example.org");
}

#[test]
fn look_alikes() {
    for bytes in [
        &b"\x10\x16\x00\x04MQTT\x04\x02\x00\x3c\x00\x0aclient-one"[..],
        b"\x16\x03MQIsdp\x03\x02",
        b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"\x3a\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xd4\x07\x00\x00\x00\x00\x00\x00admin.$cmd\x00",
        b"\x16\x03\x01\x00\x05hello world, this is no handshake",
    ] {
        let run = talk(&[(Client, bytes.to_vec()), (Server, b"* OK ready\r\n".to_vec())]).run();
        assert!(run.events("tls").is_empty(), "{:?}", String::from_utf8_lossy(bytes));
        assert_eq!(run.outcome.stats.flow_not_tls, 1, "{:?}", String::from_utf8_lossy(bytes));
    }
}
