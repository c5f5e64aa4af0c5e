//! The counters of a run add up: each flow, frame, datagram and loss has one name.
#![cfg(test)]

mod support;

use support::scene::{ACK, Client, Connection, FIN, RST, SYN, Scene, Server};
use support::tls::{ClientHello, finish, server_flight};
use support::{captures, run_file};
use tlswatch::config::Limits;
use tlswatch::event::Detail;
use tlswatch::packet::ChecksumMode;
use tlswatch::pipeline::Options;
use tlswatch::stats::Stats;

/// (opened, closed, expired, evicted, superseded, open).
fn flows(stats: &Stats) -> [u64; 6] {
    [
        stats.flow_opened,
        stats.flow_closed,
        stats.flow_expired,
        stats.flow_evicted,
        stats.flow_superseded,
        stats.flow_open,
    ]
}

fn assert_sums(stats: &Stats, name: &str) {
    let [opened, ends @ ..] = flows(stats);
    assert_eq!(opened, ends.iter().sum::<u64>(), "{name}: {:?}", flows(stats));
    assert_eq!(stats.flow_open, stats.flows_left(), "{name}");
    let frames = stats.capture_filtered
        + stats.capture_unsupported_link
        + stats.decode_tcp
        + stats.decode_udp
        + stats.decode_other
        + stats.decode_fragment
        + stats.decode_truncated
        + stats.decode_malformed
        + stats.decode_too_deep
        + stats.decode_panic;
    assert_eq!(frames, stats.capture_packets, "{name}");
    let versions: u64 =
        stats.entries().filter(|(name, _)| name.starts_with("tls.version.")).map(|(_, value)| value).sum();
    assert_eq!(versions, stats.tls_handshakes, "{name}");
}

#[test]
fn the_counters_of_every_capture_add_up() {
    let mut ends = [0; 6];
    for path in captures() {
        let stats = run_file(&path, &Options::default(), Detail::Lean).outcome.stats;
        assert_sums(&stats, &path.display().to_string());
        ends.iter_mut().zip(flows(&stats)).for_each(|(sum, one)| *sum += one);
    }
    assert!(ends[1] > 100 && ends[2] > 10 && ends[5] > 10, "{ends:?}");
}

fn stats_of(scene: &Scene, limits: &Limits) -> Stats {
    let options = Options { limits: limits.clone(), ..Options::default() };
    let stats = scene.run_with(&options).outcome.stats;
    assert_sums(&stats, "scene");
    stats
}

/// A connection on which both sides have said something.
fn talking(scene: &mut Scene, number: u16) -> Connection {
    let mut connection = Connection::new(number);
    scene.open(&mut connection);
    scene.send(&mut connection, Client, b"GET / HTTP/1.1\r\n\r\n");
    scene.send(&mut connection, Server, b"HTTP/1.1 200 OK\r\n\r\n");
    connection
}

/// The clock goes on; one more flow, which is open at the end.
fn later(scene: &mut Scene, milliseconds: i64) {
    scene.wait(milliseconds);
    scene.segment((&Connection::new(99), Client), (1, ACK), b"later");
}

#[test]
fn every_flow_ends_under_one_name() {
    type Play = fn(&mut Scene, &mut Connection);
    let scenes: [(&str, Play, [u64; 6]); 9] = [
        ("closed, long ago", |scene, one| (scene.close(one), later(scene, 70_000)).1, [2, 1, 0, 0, 0, 1]),
        ("closed, just now", |scene, one| (scene.close(one), later(scene, 1)).1, [2, 1, 0, 0, 0, 1]),
        ("reset", |scene, one| (scene.control(one, Server, RST), later(scene, 70_000)).1, [2, 1, 0, 0, 0, 1]),
        (
            "one side closed",
            |scene, one| (scene.control(one, Client, FIN | ACK), later(scene, 2_000_000), later(scene, 2_000_000)).1,
            [2, 0, 1, 0, 0, 1],
        ),
        ("silent", |scene, _| (later(scene, 2_000_000), later(scene, 2_000_000)).0, [2, 0, 1, 0, 0, 1]),
        ("open", |scene, _| later(scene, 1_000), [2, 0, 0, 0, 0, 2]),
        (
            "a doubtful reset and silence",
            |scene, one| {
                scene.segment((one, Server), (one.next[1].wrapping_add(200_000_000), RST), &[]);
                later(scene, 70_000);
            },
            [2, 1, 0, 0, 0, 1],
        ),
        (
            "a doubtful reset that was not the sender's",
            |scene, one| {
                scene.segment((one, Server), (one.next[1].wrapping_add(200_000_000), RST), &[]);
                scene.send(one, Server, b"more");
                later(scene, 70_000);
            },
            [2, 0, 0, 0, 0, 2],
        ),
        (
            "another connection between the same ports",
            |scene, one| {
                one.next = [77_000, 88_000];
                scene.open(one);
                scene.close(one);
                later(scene, 70_000);
            },
            [3, 1, 0, 0, 1, 1],
        ),
    ];
    for (name, play, wanted) in scenes {
        let mut scene = Scene::new();
        let mut connection = talking(&mut scene, 1);
        play(&mut scene, &mut connection);
        assert_eq!(flows(&stats_of(&scene, &Limits::default())), wanted, "{name}");
    }
}

/// A place for one flow: who has closed makes room, and is not lost.
#[test]
fn room_is_made_by_what_is_counted_as_closed_or_as_evicted() {
    let limits = Limits { flows_per_slot: 1, ..Limits::default() };
    let mut ends = Vec::new();
    for close in [true, false] {
        let mut scene = Scene::new();
        for number in 0..1_000 {
            let mut connection = talking(&mut scene, number);
            if close {
                scene.close(&mut connection);
            }
        }
        ends.push(flows(&stats_of(&scene, &limits)));
    }
    assert_eq!(ends[0], [1_000, 1_000, 0, 0, 0, 0]);
    let [opened, closed, expired, evicted, superseded, open] = ends[1];
    assert_eq!((opened, closed, expired, superseded), (1_000, 0, 0, 0));
    assert!(evicted > 700 && open > 200 && open <= 256, "{:?}", ends[1]);
}

#[test]
fn a_segment_that_was_cut_or_damaged_is_counted_once() {
    let mut scene = Scene::new();
    let mut connection = Connection::new(1);
    scene.open(&mut connection);
    scene.send(&mut connection, Client, &ClientHello::default().record());
    scene.send(&mut connection, Server, &server_flight(&[b"no certificate"]));
    scene.send(&mut connection, Server, &finish());
    scene.close(&mut connection);
    let mut cut = scene.clone();
    let frame = cut.frames.iter_mut().find(|frame| frame.data.len() > 100).unwrap();
    frame.data.truncate(90);
    assert_eq!(stats_of(&cut, &Limits::default()).decode_snapped, 1);
    let frame = scene.frames.iter_mut().find(|frame| frame.data.len() > 100).unwrap();
    frame.data[95] ^= 0xff;
    for checksums in [ChecksumMode::default(), ChecksumMode::All, ChecksumMode::Drop] {
        let stats = scene.run_with(&Options { checksums, ..Options::default() }).outcome.stats;
        assert_eq!(stats.decode_bad_checksum, 1, "{checksums:?}");
    }
}

#[test]
fn a_direction_that_holds_too_much_is_counted() {
    for (segments, full) in [(10, 0), (80, 1)] {
        let mut scene = Scene::new();
        let mut connection = Connection::new(1);
        scene.open(&mut connection);
        scene.send(&mut connection, Client, &ClientHello::default().record());
        // What comes first is missing.
        connection.next[1] = connection.next[1].wrapping_add(1_000);
        for _ in 0..segments {
            scene.send(&mut connection, Server, &[0x16; 10]);
        }
        let stats = stats_of(&scene, &Limits::default());
        assert_eq!((stats.tcp_pending_full, stats.tcp_gap), (full, 1), "{segments}");
    }
    let mut scene = Scene::new();
    let mut connection = Connection::new(1);
    scene.control(&mut connection, Client, SYN);
    assert_eq!(stats_of(&scene, &Limits::default()).tcp_pending_full, 0);
}
