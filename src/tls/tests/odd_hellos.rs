//! ClientHellos that servers answer though their versions or what comes before them are odd.

use super::*;

/// The bytes of a client whose hello has `version`, in a record of version `record_version`.
fn client_bytes(session: &Session, version: u16, record_version: u16) -> Vec<u8> {
    let mut bytes = session.client_bytes();
    bytes.splice(1..3, record_version.to_be_bytes());
    bytes.splice(9..11, version.to_be_bytes());
    bytes
}

fn after(before: &[u8], bytes: &[u8]) -> Vec<u8> {
    [before, bytes].concat()
}

/// What OpenSSL, GnuTLS or nginx were seen to answer with a full flight.
fn answered(session: &Session) -> Vec<(&'static str, Vec<u8>, Vec<Anomaly>)> {
    let empty = record(22, &[]);
    let change = record(20, &[1]);
    let plain = session.client_bytes();
    let beyond = client_bytes(session, 0x0400, 0x0305);
    let version = |version, record_version| client_bytes(session, version, record_version);
    // A record that ends within the lengths by which an odd hello is told.
    let cut = [record(22, &beyond[5..50]), record(22, &[]), record(22, &beyond[50..][..20])].concat();
    let mut cut = after(&cut, &record(22, &session.client[0].concat()[65..]));
    cut.extend(&plain[5 + session.client[0].concat().len()..]);
    vec![
        ("version 4.0", version(0x0400, 0x0301), vec![Anomaly::UnknownVersion]),
        ("version ffff", version(0xffff, 0x0301), vec![Anomaly::UnknownVersion]),
        ("draft", version(0x7f1c, 0x0303), vec![Anomaly::UnknownVersion]),
        ("record 3.5", version(0x0303, 0x0305), vec![Anomaly::UnknownVersion]),
        ("record 3.255", version(0x0303, 0x03ff), vec![Anomaly::UnknownVersion]),
        ("both", beyond.clone(), vec![Anomaly::UnknownVersion]),
        ("empty record", after(&empty, &plain), vec![Anomaly::EmptyRecord]),
        ("32 empty records", after(&empty.repeat(32), &plain), vec![Anomaly::EmptyRecord]),
        ("change first", after(&change, &plain), vec![Anomaly::UnexpectedMessage]),
        ("change and version", after(&change, &beyond), vec![Anomaly::UnexpectedMessage, Anomaly::UnknownVersion]),
        ("cut", cut, vec![Anomaly::EmptyRecord, Anomaly::UnknownVersion]),
    ]
}

fn watch(parts: &[(Direction, &[u8])]) -> Handshake {
    let mut observer = Observer::new(&Limits::default());
    for direction in Direction::BOTH {
        observer.set_from_start(direction);
    }
    for (frame, (direction, bytes)) in (1..).zip(parts) {
        observer.on_bytes(*direction, bytes, &at(frame));
    }
    only(finish(observer, parts.len()))
}

#[test]
fn they_are_told_from_their_first_bytes() {
    for (case, bytes, _) in answered(&session12(true)) {
        let verdicts: Vec<Probe> = (0..bytes.len()).map(|length| probe(&bytes[..length])).collect();
        let wait = verdicts.iter().take_while(|verdict| **verdict == Probe::More).count();
        assert!(wait < 300, "{case}: {wait}");
        assert!(verdicts[wait..].iter().all(|verdict| *verdict == Probe::Tls), "{case}");
    }
}

#[test]
fn they_hide_nothing() {
    for session in [session12(false), session12(true)] {
        let straight = watch(&[(CLIENT, &session.client_bytes()), (SERVER, &session.server_bytes())]);
        for (case, bytes, anomalies) in answered(&session) {
            let server = session.server_bytes();
            let mut handshake = watch(&[(CLIENT, &bytes), (SERVER, &server)]);
            for size in [1, 7, 60] {
                let pieces: Vec<_> = bytes.chunks(size).map(|piece| (CLIENT, piece)).collect();
                let pieces = [&pieces[..], &[(SERVER, &server[..])]].concat();
                let pieces: Vec<(Direction, &[u8])> = pieces.into_iter().collect();
                assert_same(&watch(&pieces), &handshake);
            }
            let mut noted = std::mem::take(&mut handshake.anomalies);
            noted.sort_unstable();
            assert_eq!(noted, anomalies, "{case}");
            let hello = handshake.client_hello.as_mut().unwrap();
            let of_straight = straight.client_hello.as_ref().unwrap();
            hello.legacy_version = of_straight.legacy_version;
            hello.raw = of_straight.raw.clone();
            handshake.record_version = straight.record_version;
            handshake.transcript.clone_from(&straight.transcript);
            assert_same(&handshake, &straight);
        }
    }
}

/// The ChangeCipherSpec of the handshake before may still come when the next one has begun.
#[test]
fn a_late_change_belongs_to_the_handshake_before() {
    let session = session12(false);
    let second = record(22, &client_hello_of(7, &[server_name(b"second.example")]));
    let client = [record(22, &session.client[1].concat()), record(20, &[1]), record(22, &[0xee; 40])].concat();
    let mut observer = Observer::new(&Limits::default());
    for direction in Direction::BOTH {
        observer.set_from_start(direction);
    }
    // What is encrypted begins like a message that is longer than all that follows.
    let finished = record(22, &[&[11, 0, 0xff, 0xff][..], &[0xee; 36]].concat());
    for (direction, bytes) in [
        (CLIENT, record(22, &session.client[0].concat())),
        (SERVER, record(22, &session.server.concat())),
        (CLIENT, client),
        (CLIENT, second),
        (SERVER, [record(20, &[1]), finished].concat()),
        (SERVER, record(22, &session.server.concat())),
    ] {
        observer.on_bytes(direction, &bytes, &at(1));
    }
    let seen = finish(observer, 1);
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|handshake| handshake.server_certificates.is_some()), "{seen:#?}");
}

#[test]
fn a_retried_hello_keeps_its_odd_version() {
    let hello = client_bytes(&session12(false), 0x0400, 0x0301);
    let hello = &hello[..5 + client_hello().len()];
    let retry = record(22, &server_hello_of(&HELLO_RETRY_RANDOM, 0x1301, &[extension(43, &[3, 4])]));
    let handshake = watch(&[(CLIENT, hello), (SERVER, &retry), (CLIENT, &record(20, &[1])), (CLIENT, hello)]);
    assert_eq!(handshake.second_client_hello.as_ref().unwrap().legacy_version, 0x0400);
}

/// What begins like an odd hello, but with lengths that do not fit, is none: other protocols' bytes do that by chance.
#[test]
fn lengths_that_do_not_fit_are_no_hello() {
    let hello = &client_bytes(&session12(false), 0x0400, 0x0305)[..120];
    assert_eq!(probe(hello), Probe::Tls);
    let changes: [(usize, u8); 9] = [
        (0, 23),
        (1, 4),
        (3, 0x60),
        (5, 3),
        (6, 1),
        (43, 33), // session identifier
        (76, 0xff),
        (77, 5), // cipher suites: odd
        (77, 0), // none
    ];
    for (place, value) in changes {
        let mut other = hello.to_vec();
        other[place] = value;
        assert_eq!(probe(&other), Probe::No, "{place}");
        let mut change = record(20, &[1]);
        change.extend(&other);
        assert_eq!(probe(&change), Probe::No, "{place} after a ChangeCipherSpec");
    }
    for other in [&record(22, &[]).repeat(33)[..], &record(20, &[2]), &record(20, &[1, 1]), b"\x16\x03\0\0GET / HTTP"] {
        assert_eq!(probe(other), Probe::No, "{other:?}");
    }
    // A server's answer to a hello that is not in the capture: encrypted from here on.
    assert_eq!(probe(&change_and_finish()), Probe::No);
    assert_eq!(probe_odd_hello(&record(22, &server_hello13())), Probe::No);
}

proptest! {
    /// One in ten millions of those that begin with these two bytes would pass by chance.
    #[test]
    fn random_bytes_are_no_hello(first in prop_oneof![Just(20_u8), Just(22)], rest in prop::collection::vec(any::<u8>(), 120)) {
        let mut bytes = vec![first, 3];
        bytes.extend(rest);
        prop_assert_eq!(probe_odd_hello(&bytes), Probe::No);
    }
}
