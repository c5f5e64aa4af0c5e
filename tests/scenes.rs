//! Connections that no tool produces on demand: lost, doubled, reordered, cut and mixed-up packets.
#![cfg(test)]
#![allow(clippy::cast_possible_truncation, reason = "numbers of tests are small")]

mod support;

use proptest::prelude::*;
use serde_json::Value;
use tlswatch::config::Limits;
use tlswatch::pipeline::Options;

use support::scene::*;
use support::tls::*;

fn chain() -> Vec<u8> {
    static CHAIN: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    CHAIN.get_or_init(|| certificate("example.org")).clone()
}

fn has(event: &Value, anomaly: &str) -> bool {
    event["tlswatch"]["anomalies"].as_array().is_some_and(|all| all.iter().any(|name| name == anomaly))
}

/// Everything of a whole session is there.
fn whole(event: &Value) {
    assert_eq!(event["tls"]["client"]["server_name"], "example.org", "{event:#}");
    assert_eq!(event["tls"]["version"], "1.2");
    assert_eq!(event["tls"]["cipher"], "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
    assert_eq!(event["tls"]["server"]["hash"]["sha256"], sha256(&chain()));
    assert_eq!(event["tls"]["established"], true);
}

fn plain() -> Scene {
    let mut scene = Scene::new();
    scene.session(Connection::new(1), &ClientHello::default(), &[&chain()]);
    scene
}

#[test]
fn a_whole_session() {
    let event = plain().one();
    whole(&event);
    assert_eq!(event["tlswatch"]["complete"], true);
    assert_eq!(event["tlswatch"]["anomalies"], Value::Null);
    assert_eq!(event["tlswatch"]["syn_rtt"], 1_000_000);
    assert_eq!(event["tlswatch"]["frames"]["first"], 4);
}

#[test]
fn both_address_families_and_any_port() {
    for (client, server) in [("[2001:db8::1]:50000", "[2001:db8::2]:443"), ("10.0.0.9:443", "10.0.0.8:50001")] {
        let mut scene = Scene::new();
        scene.session(Connection::between(client, server), &ClientHello::default(), &[&chain()]);
        let event = scene.one();
        whole(&event);
        assert!(client.contains(event["source"]["ip"].as_str().unwrap()), "{event:#}");
    }
}

#[test]
fn segments_of_one_byte() {
    let mut scene = Scene::new();
    let connection = Connection { segment: 1, ..Connection::new(1) };
    scene.session(connection, &ClientHello::default(), &[&chain()]);
    let event = scene.one();
    whole(&event);
    assert_eq!(event["tlswatch"]["complete"], true);
}

#[test]
fn each_packet_twice() {
    let mut scene = plain();
    scene.frames = scene.frames.into_iter().flat_map(|frame| [frame.clone(), frame]).collect();
    let event = scene.one();
    whole(&event);
    assert_eq!(event["tlswatch"]["complete"], true);
    assert!(event["tlswatch"]["duplicate_packets"].as_u64().unwrap() >= 3, "{event:#}");
}

#[test]
fn a_lost_segment_is_told_and_costs_only_itself() {
    let whole_scene = plain();
    for lost in 3..whole_scene.frames.len() - 6 {
        let mut scene = whole_scene.clone();
        scene.frames.remove(lost);
        let run = scene.run();
        let events = run.events("tls");
        assert_eq!(events.len(), 1, "frame {lost} lost: {events:#?}");
        assert_eq!(events[0]["tlswatch"]["complete"], false, "frame {lost}: {:#}", events[0]);
        let gap = has(&events[0], "client_gap") || has(&events[0], "server_gap") || has(&events[0], "no_client_hello");
        assert!(gap, "frame {lost}: {:#}", events[0]);
    }
}

#[test]
fn an_overlap_with_other_bytes_is_told_and_the_first_copy_wins() {
    let mut scene = Scene::new();
    let mut connection = Connection::new(1);
    scene.open(&mut connection);
    let sequence = connection.next[0];
    let hello = ClientHello::default().record();
    scene.segment((&connection, Client), (sequence, ACK), &hello[..80]);
    let evil = ClientHello::default().named(server_names(&[(0, b"evil.invalid")])).record();
    scene.segment((&connection, Client), (sequence, ACK), &evil[..80]);
    scene.segment((&connection, Client), (sequence.wrapping_add(80), ACK), &hello[80..]);
    connection.next[0] = sequence.wrapping_add(hello.len() as u32);
    scene.send(&mut connection, Server, &server_flight(&[&chain()]));
    scene.send(&mut connection, Client, &client_finish());
    scene.send(&mut connection, Server, &finish());
    let run = scene.run();
    let event = &run.events("tls")[0];
    assert_eq!(event["tls"]["client"]["server_name"], "example.org");
    assert!(has(event, "overlap_conflict"), "{event:#}");
    assert_eq!(run.outcome.stats.tcp_overlap_conflict, 1);
}

#[test]
fn a_port_used_again_is_another_connection() {
    let mut scene = plain();
    scene.wait(1_000);
    let next = [7_000_000, 9_000_000];
    let other = Connection { next, ..Connection::new(1) };
    scene.session(other, &ClientHello { random: 77, ..ClientHello::default() }, &[&chain()]);
    let events = scene.handshakes();
    assert_eq!(events.len(), 2);
    events.iter().for_each(whole);
    assert_ne!(events[0]["event"]["id"], events[1]["event"]["id"]);
}

/// The first packets after a silence are as good as others, also where only the server's side is there.
#[test]
fn a_silence_of_hours_costs_no_time() {
    for whole_connection in [true, false] {
        let mut scene = plain();
        scene.wait(7_200_000);
        let mut connection = Connection::new(2);
        if whole_connection {
            scene.session(connection, &ClientHello { random: 77, ..ClientHello::default() }, &[&chain()]);
        } else {
            scene.send(&mut connection, Server, &server_flight(&[&chain()]));
            scene.send(&mut connection, Server, &finish());
        }
        let run = scene.run();
        let events = run.events("tls");
        assert_eq!(events.len(), 2);
        let [first, second] =
            [&events[0], &events[1]].map(|event| event["event"]["start"].as_str().unwrap().to_owned());
        assert!(second > first, "{first} {second}");
        assert!(events[1]["event"]["duration"].is_number(), "{:#}", events[1]);
        assert_eq!((run.outcome.stats.capture_time_jump, run.outcome.stats.capture_time_unknown), (0, 0));
    }
}

#[test]
fn an_open_connection_replaced_by_a_new_one_ends() {
    let mut scene = Scene::new();
    let mut first = Connection::new(1);
    scene.open(&mut first);
    scene.send(&mut first, Client, &ClientHello::default().record());
    let second = Connection { next: [70_000, 80_000], ..Connection::new(1) };
    scene.session(second, &ClientHello { random: 5, ..ClientHello::default() }, &[&chain()]);
    let events = scene.handshakes();
    assert_eq!(events.len(), 2, "{events:#?}");
    assert_eq!(events[0]["tlswatch"]["failure"], "superseded");
    whole(&events[1]);
}

#[test]
fn a_forged_syn_changes_nothing() {
    let mut scene = Scene::new();
    let mut connection = Connection::new(1);
    scene.open(&mut connection);
    scene.send(&mut connection, Client, &ClientHello::default().record());
    scene.segment((&connection, Client), (0x7777_7777, SYN), &[]);
    scene.send(&mut connection, Server, &server_flight(&[&chain()]));
    scene.send(&mut connection, Client, &client_finish());
    scene.send(&mut connection, Server, &finish());
    whole(&scene.one());
}

#[test]
fn a_reset_ends_what_was_not_over() {
    let mut scene = Scene::new();
    let mut connection = Connection::new(1);
    scene.open(&mut connection);
    scene.send(&mut connection, Client, &ClientHello::default().record());
    scene.control(&mut connection, Server, RST);
    let event = scene.one();
    assert_eq!(event["tlswatch"]["failure"], "reset");
    assert_eq!(event["tls"]["established"], false);
    assert_eq!(event["event"]["outcome"], "failure");
}

/// Only who sees the connection knows the next sequence number; a receiver takes no other (RFC 5961 section 3.2).
#[test]
fn a_forged_reset_ends_nothing() {
    for (side, forged_checksum) in [(Server, false), (Client, false), (Server, true), (Client, true)] {
        let mut scene = Scene::new();
        let mut connection = Connection::new(1);
        scene.open(&mut connection);
        scene.send(&mut connection, Client, &ClientHello::default().record());
        let expected = connection.next[usize::from(side == Server)];
        if forged_checksum {
            scene.segment((&connection, side), (expected, RST), &[]);
            scene.frames.last_mut().unwrap().data[14 + 20 + 16] ^= 0xff;
        } else {
            for far in [99, 1, u32::MAX, 10_000_000] {
                scene.segment((&connection, side), (expected.wrapping_add(far), RST), &[]);
            }
        }
        scene.wait(8_000);
        scene.send(&mut connection, Server, &server_flight(&[&chain()]));
        scene.send(&mut connection, Client, &client_finish());
        scene.send(&mut connection, Server, &finish());
        let event = scene.one();
        whole(&event);
        assert!(has(&event, "reset_out_of_place"), "{event:#}");
        assert_eq!(has(&event, "bad_checksum"), forged_checksum);
    }
}

/// It ends nothing either while both are silent, if it lies where no window is, or while they acknowledge.
#[test]
fn a_forged_reset_ends_nothing_in_a_long_silence() {
    for (far, alive) in [(0x4000_0000, false), (0x8000_0000, false), (0xc000_0000, true), (5_000_000, true), (99, true)]
    {
        let mut scene = Scene::new();
        let mut connection = Connection::new(1);
        scene.open(&mut connection);
        scene.send(&mut connection, Client, &ClientHello::default().record());
        let expected = connection.next[1];
        scene.segment((&connection, Server), (expected.wrapping_add(far), RST), &[]);
        for _ in 0..9 {
            scene.wait(5_000);
            if alive {
                scene.segment((&connection, Server), (expected, ACK), &[]);
            }
        }
        scene.send(&mut connection, Server, &server_flight(&[&chain()]));
        scene.send(&mut connection, Client, &client_finish());
        scene.send(&mut connection, Server, &finish());
        let event = scene.one();
        whole(&event);
        assert!(has(&event, "reset_out_of_place"), "{event:#}");
    }
}

/// Both ends forged: the place of the connection is given away while its handshake goes on.
#[test]
fn forged_ends_do_not_lose_a_handshake() {
    let mut scene = Scene::new();
    let mut connection = Connection::new(1);
    scene.open(&mut connection);
    scene.send(&mut connection, Client, &ClientHello::default().record());
    for (side, next) in [(Client, connection.next[0]), (Server, connection.next[1])] {
        scene.segment((&connection, side), (next.wrapping_add(0x4000_0000), FIN | ACK), &[]);
    }
    scene.wait(15_000);
    for number in 2..5_000 {
        scene.segment((&Connection::new(number), Client), (1, ACK), b"x");
    }
    assert_eq!(scene.one()["tlswatch"]["failure"], "timeout");
}

/// A stream does not jump over what is on its way to something that was put far ahead of it.
#[test]
fn a_forged_segment_far_ahead_makes_no_gap() {
    let mut scene = Scene::new();
    let mut connection = Connection::new(1);
    scene.open(&mut connection);
    scene.send(&mut connection, Client, &ClientHello::default().record());
    for far in [70_000, 500_000] {
        scene.segment((&connection, Server), (connection.next[1].wrapping_add(far), ACK), b"junk");
    }
    for part in server_flight(&[&chain()]).chunks(500) {
        scene.wait(6_000);
        scene.send(&mut connection, Server, part);
    }
    scene.send(&mut connection, Client, &client_finish());
    scene.send(&mut connection, Server, &finish());
    let event = scene.one();
    whole(&event);
    assert!(!has(&event, "server_gap"), "{event:#}");
}

/// What came before a reset may be captured after it.
#[test]
fn an_acknowledgment_that_a_reset_overtook_tells_nothing() {
    let mut scene = Scene::new();
    let mut connection = Connection::new(1);
    scene.open(&mut connection);
    scene.send(&mut connection, Client, &ClientHello::default().record());
    let expected = connection.next[1];
    scene.segment((&connection, Server), (expected.wrapping_add(1_400), RST), &[]);
    scene.segment((&connection, Server), (expected, ACK), &[]);
    let event = scene.one();
    assert_eq!(event["tlswatch"]["failure"], "reset");
    assert!(!has(&event, "reset_out_of_place"));
}

/// A reset may be real though it does not fit: the sensor missed what came before it. It counts when nothing follows.
#[test]
fn a_reset_behind_a_gap_counts_when_nothing_follows() {
    let mut scene = Scene::new();
    let mut connection = Connection::new(1);
    scene.open(&mut connection);
    scene.send(&mut connection, Client, &ClientHello::default().record());
    let expected = connection.next[1];
    scene.segment((&connection, Server), (expected.wrapping_add(1_400), RST), &[]);
    scene.wait(20_000);
    scene.session(Connection::new(2), &ClientHello::default(), &[&chain()]);
    let events = scene.handshakes();
    let event = events.iter().find(|event| event["source"]["port"] == 40_001).unwrap();
    assert_eq!(event["tlswatch"]["failure"], "reset");
    assert!(!has(event, "reset_out_of_place"));
}

/// A fast transfer that its sender ends with a reset, far from where it began within its first minute: the reset counts,
/// and the place in the table is free when the time of a handshake is over, also where somebody still acknowledges.
#[test]
fn a_reset_far_from_the_beginning_closes_when_nothing_follows() {
    // What the server says after the reset, and whether the flow is over 70 seconds later.
    for (says, over) in [(&b""[..], true), (b"more", false)] {
        let mut scene = Scene::new();
        let mut connection = Connection::new(1);
        scene.open(&mut connection);
        scene.send(&mut connection, Client, b"GET / HTTP/1.1\r\n\r\n");
        scene.send(&mut connection, Server, b"HTTP/1.1 200 OK\r\n\r\n");
        for _ in 0..10 {
            scene.wait(1_000);
            connection.next[1] = connection.next[1].wrapping_add(20_000_000);
            scene.segment((&connection, Server), (connection.next[1], ACK), b"part");
        }
        scene.segment((&connection, Server), (connection.next[1].wrapping_add(4), RST), &[]);
        scene.segment((&connection, Client), (connection.next[0], ACK), b"and then?");
        scene.segment((&connection, Server), (connection.next[1].wrapping_add(4), ACK), says);
        scene.wait(70_000);
        scene.segment((&Connection::new(2), Client), (1, ACK), b"the clock goes on");
        for workers in [1, 3] {
            let stats = scene.run_with(&support::with_workers(workers)).outcome.stats;
            let wanted = (2, u64::from(over), 2 - u64::from(over));
            assert_eq!((stats.flow_opened, stats.flow_closed, stats.flow_open), wanted, "{workers} workers");
        }
    }
}

/// Another packet with all marks of one that was seen is no copy of it when it says something else.
#[test]
fn a_copy_with_other_bytes_is_no_copy() {
    for stored in [false, true] {
        let mut scene = Scene::new();
        let mut connection = Connection::new(1);
        scene.open(&mut connection);
        let sequence = connection.next[0];
        let hello = ClientHello::default().record();
        let (first, rest) = hello.split_at(80);
        let second = sequence.wrapping_add(80);
        if stored {
            scene.segment((&connection, Client), (second, ACK), rest);
        } else {
            scene.segment((&connection, Client), (sequence, ACK), first);
        }
        let mut copy = scene.frames.last().unwrap().data.clone();
        scene.push(copy.clone());
        let end = copy.len() - 1;
        copy[end] ^= 1;
        scene.push(copy);
        scene.segment(
            (&connection, Client),
            if stored { (sequence, ACK) } else { (second, ACK) },
            if stored { first } else { rest },
        );
        connection.next[0] = sequence.wrapping_add(hello.len() as u32);
        scene.send(&mut connection, Server, &server_flight(&[&chain()]));
        scene.send(&mut connection, Client, &client_finish());
        scene.send(&mut connection, Server, &finish());
        let run = scene.run();
        let event = &run.events("tls")[0];
        assert_eq!(event["tls"]["client"]["server_name"], "example.org");
        assert!(has(event, "overlap_conflict"), "{event:#}");
        let stats = &run.outcome.stats;
        assert_eq!((stats.tcp_duplicate, stats.tcp_overlap_conflict), (1, 1));
    }
}

#[test]
fn a_silent_handshake_ends_by_time_in_its_place() {
    let mut scene = Scene::new();
    let mut silent = Connection::new(1);
    scene.open(&mut silent);
    scene.send(&mut silent, Client, &ClientHello::default().record());
    scene.wait(59_000);
    scene.session(Connection::new(2), &ClientHello::default(), &[&chain()]);
    scene.wait(5_000);
    scene.session(Connection::new(3), &ClientHello::default(), &[&chain()]);
    let events = scene.handshakes();
    let ports: Vec<_> = events.iter().map(|event| event["source"]["port"].as_u64().unwrap()).collect();
    assert_eq!(ports, [40_002, 40_001, 40_003]);
    assert_eq!(events[1]["tlswatch"]["failure"], "timeout");
}

/// A server may let its client wait: what it says after the deadline is an event of its own.
#[test]
fn a_late_answer_is_told_apart() {
    for (wait, events) in [(59_000, 1), (61_000, 2), (590_000, 2), (700_000, 1)] {
        let mut scene = Scene::new();
        let mut connection = Connection::new(1);
        scene.open(&mut connection);
        scene.send(&mut connection, Client, &ClientHello::default().record());
        scene.wait(wait);
        scene.send(&mut connection, Server, &server_flight(&[&chain()]));
        scene.send(&mut connection, Client, &client_finish());
        scene.send(&mut connection, Server, &finish());
        let run = scene.run();
        let found = run.events("tls");
        assert_eq!(found.len(), events, "{wait}");
        if let [first, late] = found.as_slice() {
            assert_eq!(first["tlswatch"]["failure"], "timeout");
            assert_eq!(late["tls"]["server"]["hash"]["sha256"], sha256(&chain()));
            assert!(has(late, "mid_stream") && has(late, "no_client_hello"), "{late:#}");
            assert_ne!(first["event"]["id"], late["event"]["id"]);
        }
        assert_eq!(run.outcome.stats.flow_opened, 1);
    }
}

/// Once a late answer came, the usual deadline holds again.
#[test]
fn a_late_answer_ends_at_its_own_deadline() {
    let mut scene = Scene::new();
    let mut connection = Connection::new(1);
    scene.open(&mut connection);
    scene.send(&mut connection, Client, &ClientHello::default().record());
    scene.wait(70_000);
    scene.session(Connection::new(9), &ClientHello::default(), &[&chain()]);
    scene.wait(30_000);
    scene.send(&mut connection, Server, &server_flight(&[&chain()]));
    for number in 2..5 {
        scene.wait(50_000);
        scene.session(Connection::new(number), &ClientHello::default(), &[&chain()]);
    }
    for batch in [1, 256] {
        let run = scene.run_with(&Options { batch, ..Options::default() });
        let ports: Vec<_> = run.events("tls").iter().map(|event| event["source"]["port"].as_u64().unwrap()).collect();
        assert_eq!(ports, [40_001, 40_009, 40_002, 40_001, 40_003, 40_004], "batches of {batch}");
    }
}

#[test]
fn a_wild_time_ends_nothing() {
    let mut scene = Scene::new();
    let mut connection = Connection::new(1);
    scene.open(&mut connection);
    scene.send(&mut connection, Client, &ClientHello::default().record());
    scene.segment((&Connection::new(9), Client), (1, SYN), &[]);
    scene.frames.last_mut().unwrap().time += 1_000_000_000_000_000_000;
    scene.send(&mut connection, Server, &server_flight(&[&chain()]));
    scene.send(&mut connection, Client, &client_finish());
    scene.send(&mut connection, Server, &finish());
    let run = scene.run();
    whole(&run.events("tls")[0]);
    assert_eq!(run.outcome.stats.capture_time_jump, 1);
}

/// Frame numbers count in a file each: where the last frame lies in another, that is named.
#[test]
fn a_handshake_over_two_files_names_both() {
    let scene = plain();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, frames: &[support::capture::Captured]| {
        let path = folder.path().join(name);
        std::fs::write(&path, support::capture::to_pcap(frames)).unwrap();
        path
    };
    let (first, second) = scene.frames.split_at(4);
    let paths = [write("a.pcap", first), write("b.pcap", second)];
    for paths in [paths.clone(), [paths[1].clone(), paths[0].clone()]] {
        let event =
            support::run_files(&paths, &Options::default(), tlswatch::event::Detail::Full).events("tls").remove(0);
        assert!(event["log"]["file"]["path"].as_str().unwrap().ends_with("a.pcap"), "{event:#}");
        let frames = &event["tlswatch"]["frames"];
        assert!(frames["last_file"].as_str().unwrap().ends_with("b.pcap"), "{event:#}");
        let last = usize::try_from(frames["last"].as_u64().unwrap()).unwrap();
        assert!(frames["first"] == 4 && last <= second.len(), "{frames}");
    }
    assert_eq!(scene.one()["tlswatch"]["frames"].get("last_file"), None);
}

/// A connection that begins like TLS is in an event or in a counter, wherever it ends.
#[test]
fn a_hello_that_is_cut_is_counted() {
    let hello = ClientHello::default().record();
    let session = |scene: &mut Scene, sent: &[u8]| {
        let mut connection = Connection::new(1);
        scene.open(&mut connection);
        scene.send(&mut connection, Client, sent);
        connection
    };
    for length in 1..=hello.len() {
        for flags in [None, Some((Client, FIN | ACK)), Some((Server, RST | ACK)), Some((Client, RST))] {
            let mut scene = Scene::new();
            let mut connection = session(&mut scene, &hello[..length]);
            if let Some((side, flags)) = flags {
                scene.control(&mut connection, side, flags);
                scene.control(&mut connection, if side == Client { Server } else { Client }, flags);
            }
            let run = scene.run();
            let stats = &run.outcome.stats;
            let told = (run.events("tls").len(), stats.tls_unread, stats.flow_not_tls);
            let whole = length == hello.len();
            assert_eq!(told, (usize::from(whole), u64::from(!whole), 0), "{length} {flags:?}");
        }
    }
    // What the snap length left out of the hello does not come any more.
    for snap_length in [100, 120] {
        let mut scene = Scene::new();
        let connection = session(&mut scene, &hello);
        scene.close(&mut { connection });
        scene.frames.iter_mut().for_each(|frame| frame.data.truncate(snap_length));
        let run = scene.run();
        assert_eq!((run.events("tls").len(), run.outcome.stats.tls_unread), (0, 1), "{snap_length}");
    }
    // Nobody said anything: nothing was lost.
    let mut scene = Scene::new();
    let connection = session(&mut scene, b"");
    scene.close(&mut { connection });
    assert_eq!(scene.run().outcome.stats.tls_unread, 0);
}

#[test]
fn packets_cut_by_the_snap_length_are_told() {
    let mut scene = plain();
    let longest = scene.frames.iter_mut().max_by_key(|frame| frame.data.len()).unwrap();
    longest.data.truncate(120);
    let event = scene.one();
    assert!(has(&event, "snapped"), "{event:#}");
    assert_eq!(event["tlswatch"]["complete"], false);
    assert_eq!(event["tls"]["client"]["server_name"], "example.org");
}

#[test]
fn wrong_checksums_are_told_and_hide_nothing() {
    let mut scene = plain();
    let hello = &mut scene.frames[3];
    hello.data[14 + 20 + 16] ^= 0xff;
    let event = scene.one();
    whole(&event);
    assert!(has(&event, "bad_checksum"), "{event:#}");
    let drop = Options { checksums: tlswatch::packet::ChecksumMode::Drop, ..Options::default() };
    let events = scene.run_with(&drop).events("tls");
    assert_eq!(events[0]["tls"]["client"]["server_name"], Value::Null);
}

#[test]
fn memory_of_a_slot_is_bounded_and_what_left_is_told() {
    let limits = Limits { slot_memory: 4_000, ..Limits::default() };
    let mut scene = Scene::new();
    let mut connection = Connection::new(1);
    scene.open(&mut connection);
    scene.send(&mut connection, Client, &ClientHello::default().record());
    let large = certificates(&[&vec![0x30; 60_000]]);
    let records: Vec<u8> = large.chunks(16_000).flat_map(|part| record(HANDSHAKE, part)).collect();
    scene.send(&mut connection, Server, &[handshake(&[ServerHello::default().message()]), records].concat());
    let run = scene.run_with(&Options { limits, ..Options::default() });
    let events = run.events("tls");
    assert_eq!(events.len(), 1, "{events:#?}");
    assert!(has(&events[0], "memory_limit"), "{:#}", events[0]);
    assert_eq!(events[0]["tls"]["client"]["server_name"], "example.org");
    assert_eq!(run.outcome.stats.flow_memcap, 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Packets of a flight in any order and any number of copies, cut anywhere, say the same.
    #[test]
    fn any_order_copies_and_cuts_of_a_flight(
        segment in 20_usize..900,
        keys in prop::collection::vec(any::<u64>(), 256),
        copies in prop::collection::vec(1_usize..3, 256),
    ) {
        let mut scene = Scene::new();
        let connection = Connection { segment, ..Connection::new(1) };
        scene.session(connection, &ClientHello::default(), &[&chain()]);
        // Flights stay in order; inside one, packets are shuffled: a permutation by sorting on random keys.
        let source = |frame: &support::capture::Captured| frame.data[26..30].to_vec();
        let mut flights: Vec<Vec<support::capture::Captured>> = Vec::new();
        for (at, frame) in scene.frames.iter().enumerate() {
            let fits = at > 3 && flights.last().is_some_and(|flight| source(&flight[0]) == source(frame));
            if fits { flights.last_mut().unwrap().push(frame.clone()) } else { flights.push(vec![frame.clone()]) }
        }
        let last = flights.len() - 3;
        for (number, flight) in flights.iter_mut().enumerate().take(last) {
            let mut doubled: Vec<_> = flight
                .iter()
                .zip(&copies)
                .flat_map(|(frame, copies)| std::iter::repeat_n(frame.clone(), *copies))
                .zip(keys.iter().cycle().skip(number * 17))
                .collect();
            doubled.sort_by_key(|(_, key)| **key);
            *flight = doubled.into_iter().map(|(frame, _)| frame).collect();
        }
        let mut time = START;
        scene.frames = flights.concat();
        for frame in &mut scene.frames {
            time += 1_000_000;
            frame.time = time;
        }
        let events = scene.handshakes();
        prop_assert_eq!(events.len(), 1);
        whole(&events[0]);
        prop_assert_eq!(&events[0]["tlswatch"]["complete"], true, "{:#}", events[0]);
    }
}
