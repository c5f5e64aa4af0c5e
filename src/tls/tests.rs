//! Whole sessions, built by hand, through the observer.

use proptest::prelude::*;

mod certificate_forms;
mod odd_hellos;

use super::observer::Observer;
use super::probe::{Probe, probe, probe_odd_hello};
use super::server_hello::HELLO_RETRY_RANDOM;
use super::*;
use crate::config::Limits;
use crate::time::{Order, Timestamp};

const CLIENT: Direction = Direction::HighToLow;
const SERVER: Direction = Direction::LowToHigh;
const ECDHE_RSA: u16 = 0xc02f;

fn at(frame: u64) -> Moment {
    let order = Order { clock: Timestamp(0), frame, ordinal: 0 };
    Moment { order, frame, time_known: true, ..Moment::default() }
}

fn vector8(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

fn vector16(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn vector24(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[1..], bytes].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], &vector24(body)[..]].concat()
}

fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3], &vector16(payload)[..]].concat()
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector16(body)].concat()
}

fn server_name(name: &[u8]) -> Vec<u8> {
    extension(0, &vector16(&[&[0], &vector16(name)[..]].concat()))
}

fn client_hello_of(random: u8, extensions: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([random; 32]);
    body.extend(vector8(&[9; 32]));
    body.extend(vector16(&[0x13, 0x01, 0xc0, 0x2f]));
    body.extend([1, 0]);
    body.extend(vector16(&extensions.concat()));
    message(1, &body)
}

fn client_hello() -> Vec<u8> {
    client_hello_of(
        1,
        &[server_name(b"example.org"), extension(10, &[0, 2, 0, 29]), extension(16, &[0, 3, 2, b'h', b'2'])],
    )
}

fn server_hello_of(random: &[u8; 32], cipher_suite: u16, extensions: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend(random);
    body.extend(vector8(&[9; 32]));
    body.extend(cipher_suite.to_be_bytes());
    body.push(0);
    body.extend(vector16(&extensions.concat()));
    message(2, &body)
}

fn server_hello13() -> Vec<u8> {
    server_hello_of(&[2; 32], 0x1301, &[extension(43, &[3, 4]), extension(51, &[0, 29, 0, 2, 7, 7])])
}

fn certificates(list: &[&[u8]]) -> Vec<u8> {
    let entries: Vec<u8> = list.iter().flat_map(|der| vector24(der)).collect();
    message(11, &vector24(&entries))
}

/// Both directions of a full TLS 1.2 handshake as (clear messages, what follows them in records).
struct Session {
    client: [Vec<Vec<u8>>; 2],
    server: Vec<Vec<u8>>,
    client_end: Vec<u8>,
    server_end: Vec<u8>,
}

fn key_exchange() -> Vec<u8> {
    let mut body = vec![3, 0, 29];
    body.extend(vector8(&[5; 32]));
    body.extend([4, 1]);
    body.extend(vector16(&[6; 64]));
    message(12, &body)
}

fn change_and_finish() -> Vec<u8> {
    [record(20, &[1]), record(22, &[0xee; 40]), record(23, &[0xdd; 60])].concat()
}

fn session12(client_certificate: bool) -> Session {
    let mut server = vec![
        server_hello_of(&[2; 32], ECDHE_RSA, &[extension(0xff01, &[0]), extension(5, &[])]),
        certificates(&[&[0x30; 700], &[0x31; 900]]),
        message(22, &[&[1], &vector24(&[0x77; 50])[..]].concat()),
        key_exchange(),
    ];
    let mut client = vec![message(16, &vector8(&[4; 32]))];
    if client_certificate {
        server.push(message(13, &[&[1, 1, 0, 2, 4, 1][..], &vector16(&vector16(b"CA"))].concat()));
        client.insert(0, certificates(&[&[0x32; 500]]));
        client.push(message(15, &[&[4, 1][..], &vector16(&[8; 64])].concat()));
    }
    server.push(message(14, &[]));
    Session {
        client: [vec![client_hello()], client],
        server,
        client_end: change_and_finish(),
        server_end: change_and_finish(),
    }
}

impl Session {
    fn client_bytes(&self) -> Vec<u8> {
        let mut bytes = record(22, &self.client[0].concat());
        bytes.extend(record(22, &self.client[1].concat()));
        bytes.extend(&self.client_end);
        bytes
    }

    fn server_bytes(&self) -> Vec<u8> {
        let mut bytes = record(22, &self.server.concat());
        bytes.extend(&self.server_end);
        bytes
    }
}

fn observe(parts: &[(Direction, &[u8])]) -> Vec<Handshake> {
    let mut observer = Observer::new(&Limits::default());
    for (frame, (direction, bytes)) in (1..).zip(parts) {
        observer.on_bytes(*direction, bytes, &at(frame));
    }
    finish(observer, parts.len())
}

fn finish(mut observer: Observer, frames: usize) -> Vec<Handshake> {
    let mut all: Vec<Handshake> = std::iter::from_fn(|| observer.take()).map(|handshake| *handshake).collect();
    observer.finish(HandshakeEnd::EndOfCapture, &at(u64::try_from(frames).unwrap() + 1));
    all.extend(std::iter::from_fn(|| observer.take()).map(|handshake| *handshake));
    assert!(observer.is_done());
    assert_eq!(observer.memory(), 0);
    all
}

fn only(handshakes: Vec<Handshake>) -> Handshake {
    assert_eq!(handshakes.len(), 1, "{handshakes:#?}");
    handshakes.into_iter().next().unwrap()
}

/// The handshakes are equal but for what may depend on how the bytes came; shows the first difference only.
fn assert_same(one: &Handshake, other: &Handshake) {
    let [one, other] = [one, other].map(|handshake| {
        let mut same = handshake.clone();
        (same.first, same.last, same.ended) = Default::default();
        same.answered_after = None;
        // How much data is counted before the end depends on the order.
        same.client_progress.application_data = 0;
        same.server_progress.application_data = 0;
        format!("{same:#?}")
    });
    for (left, right) in one.lines().zip(other.lines()) {
        assert_eq!(left, right);
    }
    assert_eq!(one.lines().count(), other.lines().count());
}

#[test]
fn grease_needs_equal_bytes() {
    assert!(is_grease(0x0a0a) && is_grease(0xfafa));
    assert!(!is_grease(0x0a1a) && !is_grease(0x0101) && !is_grease(0x1a0a));
}

#[test]
fn full_handshake_of_tls12() {
    let session = session12(false);
    let handshake = only(observe(&[(CLIENT, &session.client_bytes()), (SERVER, &session.server_bytes())]));
    assert_eq!(handshake.client, Some(CLIENT));
    assert_eq!(handshake.end, HandshakeEnd::Done);
    assert_eq!(handshake.version(), Some(0x0303));
    assert_eq!((handshake.established, handshake.resumed, handshake.complete), (Some(true), Some(false), true));
    let hello = handshake.client_hello.as_ref().unwrap();
    assert_eq!(hello.server_name.as_deref(), Some(&b"example.org"[..]));
    assert_eq!(hello.alpn[0][..], b"h2"[..]);
    let chain: Vec<_> = handshake.server_certificates.as_ref().unwrap().iter().map(<[u8]>::len).collect();
    assert_eq!(chain, [700, 900]);
    let exchange = handshake.server_key_exchange.as_ref().unwrap();
    assert_eq!(exchange.kind, KeyExchange::Ecdhe { group: 29, public: 4..36 });
    assert_eq!((exchange.params.len(), exchange.signature_algorithm, exchange.signature.len()), (36, Some(0x0401), 64));
    assert_eq!(handshake.ocsp_response.as_deref(), Some(&[0x77; 50][..]));
    assert_eq!(handshake.transcript, None);
    assert_eq!(handshake.anomalies, []);
    assert_eq!((handshake.first.frame, handshake.ended.frame), (1, 2));
}

#[test]
fn server_flight_before_the_client_hello_is_one_handshake() {
    let session = session12(false);
    let straight = only(observe(&[(CLIENT, &session.client_bytes()), (SERVER, &session.server_bytes())]));
    let swapped = only(observe(&[(SERVER, &session.server_bytes()), (CLIENT, &session.client_bytes())]));
    assert_same(&straight, &swapped);
}

#[test]
fn the_answer_is_timed_from_the_last_byte_to_the_first() {
    let session = session12(false);
    let (client, server) = (session.client_bytes(), session.server_bytes());
    let hello = session.client[0].concat().len();
    let (first, rest) = client.split_at(hello / 2);
    let (start, end) = server.split_at(7);
    let mut observer = Observer::new(&Limits::default());
    for (frame, (direction, bytes)) in (1..).zip([(CLIENT, first), (CLIENT, rest), (SERVER, start), (SERVER, end)]) {
        let timestamp = Timestamp(1_000 * i64::try_from(frame * frame).unwrap());
        observer.on_bytes(direction, bytes, &Moment { timestamp, ..at(frame) });
    }
    // The second frame has the rest of the hello, the third the beginning of the answer.
    assert_eq!(only(finish(observer, 4)).answered_after, Some(5_000));
    // An answer that was captured before the question tells nothing.
    assert_eq!(only(observe(&[(SERVER, &server), (CLIENT, &client)])).answered_after, None);
}

#[test]
fn client_certificate_gives_a_transcript() {
    let session = session12(true);
    let handshake = only(observe(&[(CLIENT, &session.client_bytes()), (SERVER, &session.server_bytes())]));
    let swapped = only(observe(&[(SERVER, &session.server_bytes()), (CLIENT, &session.client_bytes())]));
    let wanted = [&session.client[0].concat(), &session.server.concat(), &session.client[1][..2].concat()]
        .map(|part| &part[..])
        .concat();
    assert_eq!(swapped.transcript.as_deref(), Some(&wanted[..]));
    assert_eq!(swapped.client_certificates.as_ref().unwrap().ranges.len(), 1);
    assert_eq!(swapped.certificate_verify.as_ref().unwrap().signature_algorithm, Some(0x0401));
    assert_eq!(swapped.certificate_request.as_ref().unwrap().authorities, [b"CA"[..].into()]);
    // The client's certificate was captured before the server asked for it: the transcript has its own order all the same.
    assert_same(&handshake, &swapped);
    assert_eq!(swapped.end, HandshakeEnd::Done);
}

#[test]
fn abbreviated_handshake_is_resumed() {
    let hello = record(22, &server_hello_of(&[2; 32], ECDHE_RSA, &[]));
    let server = [hello, change_and_finish()].concat();
    let client = [record(22, &client_hello()), change_and_finish()].concat();
    let handshake = only(observe(&[(CLIENT, &client), (SERVER, &server)]));
    assert_eq!((handshake.resumed, handshake.established), (Some(true), Some(true)));
}

fn tls13_client_end() -> Vec<u8> {
    [record(20, &[1]), record(23, &[1; 53]), record(23, &[1; 90])].concat()
}

fn tls13_server() -> Vec<u8> {
    [record(22, &server_hello13()), record(20, &[1]), record(23, &[1; 900]), record(23, &[1; 40])].concat()
}

#[test]
fn tls13_is_over_after_two_client_records_and_an_answer() {
    let client = record(22, &client_hello());
    let end = tls13_client_end();
    let answer = record(23, &[1; 300]);
    let mut observer = Observer::new(&Limits::default());
    for (frame, (direction, bytes)) in (1..).zip([(CLIENT, &client), (SERVER, &tls13_server()), (CLIENT, &end)]) {
        observer.on_bytes(direction, bytes, &at(frame));
        assert!(!observer.is_done());
    }
    assert!(observer.memory() > 0);
    observer.on_bytes(SERVER, &answer[..5], &at(4));
    assert!(observer.is_done() && observer.memory() == 0);
    let handshake = only(finish(observer, 4));
    assert_eq!((handshake.version(), handshake.end), (Some(0x0304), HandshakeEnd::Done));
    // ChangeCipherSpec right after the ServerHello says nothing in TLS 1.3, and the echoed session id neither.
    assert_eq!((handshake.resumed, handshake.established, handshake.complete), (Some(false), Some(true), true));
    assert_eq!(*handshake.encrypted_lengths, [900, 40]);
    assert_eq!(*handshake.client_encrypted_lengths, [53, 90]);
    assert_eq!(handshake.server_hello.as_ref().unwrap().key_share.as_ref().unwrap().group, 29);
}

#[test]
fn hello_retry_request_is_one_handshake_in_any_order() {
    let retry = server_hello_of(&HELLO_RETRY_RANDOM, 0x1301, &[extension(43, &[3, 4]), extension(51, &[0, 23])]);
    let second = client_hello_of(1, &[server_name(b"example.org"), extension(44, &[0, 1, 5])]);
    let client = [record(22, &client_hello()), record(20, &[1]), record(22, &second), tls13_client_end()].concat();
    let server = [record(22, &retry), record(20, &[1]), tls13_server(), record(23, &[1; 99])].concat();
    for parts in [[(CLIENT, &client), (SERVER, &server)], [(SERVER, &server), (CLIENT, &client)]] {
        let handshake = only(observe(&parts.map(|(direction, bytes)| (direction, &bytes[..]))));
        assert_eq!(handshake.hello_retry_request.as_ref().unwrap().key_share.as_ref().unwrap().group, 23);
        assert_eq!(handshake.client_hello.as_ref().unwrap().extensions.len(), 3);
        assert_eq!(handshake.second_client_hello.as_ref().unwrap().extensions.len(), 2);
        assert_eq!(handshake.server_hello.as_ref().unwrap().random, [2; 32]);
        assert_eq!(handshake.anomalies, []);
    }
}

#[test]
fn early_data_does_not_end_anything() {
    let hello = client_hello_of(1, &[extension(42, &[]), extension(43, &[2, 3, 4])]);
    let client = [record(22, &hello), record(20, &[1]), record(23, &[1; 500]), record(23, &[1; 500])].concat();
    let handshake = only(observe(&[(CLIENT, &client), (SERVER, &tls13_server()), (CLIENT, &tls13_client_end())]));
    assert!(handshake.client_hello.as_ref().unwrap().early_data && handshake.server_hello.is_some());
    assert_eq!(*handshake.client_encrypted_lengths, [53, 90]);
}

#[test]
fn one_side_only() {
    let session = session12(false);
    let client = only(observe(&[(CLIENT, &session.client_bytes())]));
    assert_eq!((client.client, client.established, client.complete), (Some(CLIENT), Some(false), false));
    assert!(client.anomalies.contains(&Anomaly::OneSided));
    let server = only(observe(&[(SERVER, &session.server_bytes())]));
    assert_eq!((server.client, server.established, server.resumed), (Some(CLIENT), None, Some(false)));
    assert_eq!(server.anomalies, [Anomaly::NoClientHello, Anomaly::OneSided]);
    assert!(server.server_certificates.is_some());
}

#[test]
fn bulk_of_one_side_ends() {
    let session = session12(false);
    let mut observer = Observer::new(&Limits::default());
    observer.on_bytes(SERVER, &session.server_bytes(), &at(1));
    for frame in 2..200 {
        observer.on_bytes(SERVER, &record(23, &[0; 100]), &at(frame));
    }
    assert!(observer.is_done());
}

#[test]
fn fatal_alert_ends_and_certificates_stay() {
    let session = session12(false);
    let server = record(22, &session.server.concat());
    let alert = record(21, &[2, 48]);
    let handshake = only(observe(&[(CLIENT, &record(22, &client_hello())), (SERVER, &server), (CLIENT, &alert)]));
    assert_eq!(handshake.alerts, [Alert { direction: CLIENT, level: 2, description: 48 }]);
    assert_eq!((handshake.end, handshake.established), (HandshakeEnd::Alert, Some(false)));
    assert_eq!(handshake.server_certificates.as_ref().unwrap().ranges.len(), 2);
    // The same packets with the server's after the client's.
    let client = [record(22, &client_hello()), alert].concat();
    let swapped = only(observe(&[(CLIENT, &client), (SERVER, &server)]));
    assert!(swapped.server_hello.is_some());
    assert_eq!((swapped.end, swapped.established), (HandshakeEnd::Alert, Some(false)));
}

#[test]
fn refused_hello() {
    let refusal = record(21, &[2, 40]);
    for parts in [
        [(CLIENT, &record(22, &client_hello())[..]), (SERVER, &refusal[..])],
        [(SERVER, &refusal), (CLIENT, &record(22, &client_hello()))],
    ] {
        let handshake = only(observe(&parts));
        assert_eq!(
            (handshake.end, handshake.established, handshake.complete),
            (HandshakeEnd::Alert, Some(false), true)
        );
    }
}

#[test]
fn encrypted_alert_is_no_clear_alert() {
    let session = session12(false);
    let server = [record(22, &session.server.concat()), record(20, &[1]), record(21, &[2; 26])].concat();
    let handshake = only(observe(&[(CLIENT, &session.client_bytes()), (SERVER, &server)]));
    assert_eq!(handshake.alerts, []);
    assert_eq!((handshake.established, handshake.end), (None, HandshakeEnd::Done));
}

#[test]
fn another_random_is_another_handshake_and_the_same_is_not() {
    let first = record(22, &client_hello());
    let repeated = only(observe(&[(CLIENT, &first), (CLIENT, &first)]));
    assert!(repeated.anomalies.contains(&Anomaly::RepeatedClientHello));
    let second = record(22, &client_hello_of(7, &[]));
    let both = observe(&[(CLIENT, &first), (CLIENT, &second)]);
    assert_eq!(both.len(), 2);
    assert_eq!((both[0].end, both[0].ordinal, both[1].ordinal), (HandshakeEnd::Superseded, 0, 1));
    assert_eq!(both[1].client_hello.as_ref().unwrap().random, [7; 32]);
}

#[test]
fn a_flood_of_hellos_is_bounded() {
    let hellos: Vec<u8> = (0..200).flat_map(|random| record(22, &client_hello_of(random, &[]))).collect();
    let count = observe(&[(CLIENT, &hellos)]).len();
    assert!((2..=64).contains(&count), "{count}");
}

#[test]
fn hole_in_the_certificate_leaves_the_later_messages() {
    let session = session12(false);
    let bytes = session.server_bytes();
    let hole = 150..900;
    let mut observer = Observer::new(&Limits::default());
    observer.on_bytes(CLIENT, &session.client_bytes(), &at(1));
    observer.on_bytes(SERVER, &bytes[..hole.start], &at(2));
    observer.on_gap(SERVER, u64::try_from(hole.len()).unwrap(), &at(3));
    observer.on_bytes(SERVER, &bytes[hole.end..], &at(3));
    let handshake = only(finish(observer, 3));
    assert_eq!(handshake.server_certificates, None);
    assert!(handshake.server_key_exchange.is_some() && handshake.ocsp_response.is_some());
    assert_eq!((handshake.end, handshake.complete, handshake.resumed), (HandshakeEnd::Done, false, Some(false)));
    assert_eq!(handshake.anomalies, [Anomaly::ServerGap]);
}

#[test]
fn hole_over_records_is_resynchronised() {
    let session = session12(false);
    let bytes: Vec<u8> =
        session.server.iter().flat_map(|message| record(22, message)).chain(session.server_end.clone()).collect();
    // From inside the Certificate message into the CertificateStatus message of the next record.
    let start = record(22, &session.server[0]).len() + 100;
    let end = start + record(22, &session.server[1]).len() - 80;
    let mut observer = Observer::new(&Limits::default());
    observer.on_bytes(CLIENT, &session.client_bytes(), &at(1));
    observer.on_bytes(SERVER, &bytes[..start], &at(2));
    observer.on_gap(SERVER, u64::try_from(end - start).unwrap(), &at(3));
    observer.on_bytes(SERVER, &bytes[end..], &at(3));
    let handshake = only(finish(observer, 3));
    assert_eq!((&handshake.server_certificates, &handshake.ocsp_response), (&None, &None));
    assert!(handshake.server_key_exchange.is_some());
    assert_eq!((handshake.end, handshake.resumed), (HandshakeEnd::Done, Some(false)));
}

#[test]
fn too_long_message_is_counted_past() {
    let long = message(11, &vec![0; 300_000]);
    let mut server: Vec<u8> = record(22, &server_hello_of(&[2; 32], ECDHE_RSA, &[]));
    server.extend(long.chunks(16_384).flat_map(|part| record(22, part)));
    server.extend(record(22, &key_exchange()));
    let mut observer = Observer::new(&Limits::default());
    for (frame, part) in (1..).zip(server.chunks(1_400)) {
        observer.on_bytes(SERVER, part, &at(frame));
        assert!(observer.memory() < 8_192, "{}", observer.memory());
    }
    let handshake = only(finish(observer, 300));
    assert!(handshake.anomalies.contains(&Anomaly::MessageTooLong));
    assert!(handshake.server_key_exchange.is_some());
}

#[test]
fn more_than_255_records_hold_one_hello() {
    let hello = client_hello_of(1, &[extension(21, &[0; 400]), server_name(b"late.example")]);
    let bytes: Vec<u8> = hello.chunks(1).flat_map(|part| [record(22, part), record(22, &[])].concat()).collect();
    let handshake = only(observe(&[(CLIENT, &bytes)]));
    assert_eq!(handshake.client_hello.as_ref().unwrap().server_name.as_deref(), Some(&b"late.example"[..]));
    assert!(handshake.anomalies.contains(&Anomaly::EmptyRecord));
}

#[test]
fn odd_cipher_suites_do_not_hide_the_name() {
    let mut body = vec![3, 3];
    body.extend([1; 32]);
    body.push(0);
    body.extend(vector16(&[0x13, 0x01, 0x02]));
    body.extend([1, 0]);
    body.extend(vector16(&[extension(10, &[0, 9, 1]), server_name(b"odd.example")].concat()));
    let handshake = only(observe(&[(CLIENT, &record(22, &message(1, &body)))]));
    let hello = handshake.client_hello.as_ref().unwrap();
    assert_eq!(hello.server_name.as_deref(), Some(&b"odd.example"[..]));
    assert_eq!(*hello.cipher_suites, [0x1301]);
    assert!(
        handshake.anomalies.contains(&Anomaly::OddCipherSuites)
            && handshake.anomalies.contains(&Anomaly::MalformedExtension)
    );
}

#[test]
fn long_lists_do_not_grow_in_memory() {
    let many = |entry: &[u8], count: usize| vector16(&entry.repeat(count));
    let cases = [
        vec![extension(16, &many(&[1, b'x'], 15_000))],
        vec![extension(51, &many(&[0, 29, 0, 0], 8_000))],
        vec![extension(41, &many(&[0, 0, 0, 0, 0, 0], 5_000))],
        vec![[0x99, 0x99, 0, 0].repeat(15_000)],
    ];
    for extensions in cases {
        let clear = client_hello_of(1, &extensions);
        let bytes: Vec<u8> = clear.chunks(16_000).flat_map(|part| record(22, part)).collect();
        let hello = only(observe(&[(CLIENT, &bytes)])).client_hello.unwrap();
        let kept = hello.alpn.len() + hello.key_shares.len() + hello.psk_identities.len();
        assert!((1..=1024).contains(&hello.extensions.len()) && kept <= 256, "{kept} {}", hello.extensions.len());
    }
}

#[test]
fn certificates_alone_are_reported_if_they_look_like_some() {
    let real = [record(22, &certificates(&[&[0x30; 300]])), record(22, &message(14, &[]))].concat();
    let handshake = only(observe(&[(SERVER, &real)]));
    assert_eq!((handshake.client, handshake.resumed, handshake.complete), (Some(CLIENT), None, false));
    assert!(handshake.anomalies.contains(&Anomaly::NoClientHello) && handshake.anomalies.contains(&Anomaly::MidStream));
    assert!(observe(&[(SERVER, &record(22, &certificates(&[&[0; 300]])))]).is_empty());
}

#[test]
fn several_and_strange_names() {
    let two = extension(0, &vector16(&[&[0, 0, 1, b'a'][..], &[0, 0, 1, b'b']].concat()));
    let other = extension(0, &vector16(&[5, 0, 1, b'x']));
    let cases = [
        (vec![two], Some(&b"a"[..]), Anomaly::MultipleServerNames),
        (vec![other], None, Anomaly::InvalidServerName),
        (vec![extension(0, &[0, 200, 0, 0, 1, b'c'])], Some(b"c"), Anomaly::InvalidServerName),
        (vec![server_name(b"a"), server_name(b"b")], Some(b"a"), Anomaly::DuplicateExtension),
        (vec![extension(0, &[])], None, Anomaly::InvalidServerName),
    ];
    for (extensions, name, anomaly) in cases {
        let handshake = only(observe(&[(CLIENT, &record(22, &client_hello_of(1, &extensions)))]));
        assert_eq!(handshake.client_hello.as_ref().unwrap().server_name.as_deref(), name);
        assert!(handshake.anomalies.contains(&anomaly), "{anomaly:?} {:?}", handshake.anomalies);
    }
}

fn ssl2_record(body: &[u8]) -> Vec<u8> {
    [&(0x8000 | u16::try_from(body.len()).unwrap()).to_be_bytes()[..], body].concat()
}

fn ssl2_hello(version: u16) -> Vec<u8> {
    let mut body = vec![1];
    body.extend(version.to_be_bytes());
    body.extend([0, 6, 0, 0, 0, 16, 0, 0, 0x2f, 1, 0, 0x80]);
    body.extend([3; 16]);
    ssl2_record(&body)
}

#[test]
fn ssl2_format_hello_leads_into_tls() {
    let session = session12(false);
    let client = [ssl2_hello(0x0301), record(22, &session.client[1].concat()), session.client_end.clone()].concat();
    let handshake = only(observe(&[(CLIENT, &client), (SERVER, &session.server_bytes())]));
    let hello = handshake.client_hello.as_ref().unwrap();
    assert!(hello.ssl2_format);
    assert_eq!((hello.legacy_version, &hello.cipher_suites[..]), (0x0301, &[0x2f][..]));
    assert_eq!(hello.random[..16], [0; 16]);
    assert_eq!(hello.random[16..], [3; 16]);
    assert_eq!((handshake.version(), handshake.established), (Some(0x0303), Some(true)));
}

#[test]
fn ssl2_server_shows_its_certificate() {
    let mut body = vec![4, 0, 1, 0, 2];
    body.extend([0, 5, 0, 3, 0, 2]);
    body.extend([0x30; 5]);
    body.extend([1, 0, 0x80, 7, 7]);
    let server = [ssl2_record(&body), vec![0x80, 3, 9, 9, 9]].concat();
    let client = [ssl2_hello(2), vec![0x80, 3, 2, 9, 9]].concat();
    for parts in [[(CLIENT, &client), (SERVER, &server)], [(SERVER, &server), (CLIENT, &client)]] {
        let handshake = only(observe(&parts.map(|(direction, bytes)| (direction, &bytes[..]))));
        assert_eq!((handshake.version(), handshake.resumed, handshake.end), (Some(2), Some(false), HandshakeEnd::Done));
        assert_eq!(handshake.server_certificates.as_ref().unwrap().iter().next(), Some(&[0x30; 5][..]));
        assert!(handshake.complete);
    }
}

#[test]
fn closing_ends() {
    let mut observer = Observer::new(&Limits::default());
    observer.on_bytes(CLIENT, &record(22, &client_hello()), &at(1));
    observer.on_close(CLIENT, false, &at(2));
    assert!(!observer.is_done());
    observer.on_close(SERVER, false, &at(3));
    let handshake = only(finish(observer, 3));
    assert_eq!((handshake.end, handshake.ended.frame, handshake.last.frame), (HandshakeEnd::Fin, 3, 1));

    let mut observer = Observer::new(&Limits::default());
    observer.on_bytes(CLIENT, &record(22, &client_hello()), &at(1));
    observer.on_close(SERVER, true, &at(2));
    assert!(observer.is_done());
    assert_eq!(only(finish(observer, 2)).end, HandshakeEnd::Reset);
}

#[test]
fn a_reset_does_not_cut_the_certificate_that_is_on_its_way() {
    let server = record(22, &session12(false).server.concat());
    let mut observer = Observer::new(&Limits::default());
    observer.on_bytes(CLIENT, &record(22, &client_hello()), &at(1));
    observer.on_bytes(SERVER, &server[..500], &at(2));
    observer.on_close(CLIENT, true, &at(3));
    observer.on_close(CLIENT, true, &at(4));
    assert!(!observer.is_done());
    observer.on_bytes(SERVER, &server[500..], &at(5));
    assert!(observer.is_done());
    let handshake = only(finish(observer, 5));
    assert_eq!((handshake.end, handshake.ended.frame), (HandshakeEnd::Reset, 5));
    assert!(handshake.server_certificates.is_some() && handshake.server_key_exchange.is_some());
}

#[test]
fn key_exchange_of_an_unknown_cipher_suite_is_not_guessed() {
    let server = [record(22, &server_hello_of(&[2; 32], 0xe0ff, &[])), record(22, &key_exchange())].concat();
    let exchange = only(observe(&[(SERVER, &server)])).server_key_exchange.unwrap();
    assert_eq!((&exchange.kind, exchange.params.len()), (&KeyExchange::Other, 104));
}

#[test]
fn cut_message_is_told() {
    let session = session12(false);
    let server = session.server_bytes();
    let handshake = only(observe(&[(CLIENT, &record(22, &client_hello())), (SERVER, &server[..300])]));
    assert!(handshake.anomalies.contains(&Anomaly::CutMessage) && !handshake.complete);
    assert_eq!(handshake.resumed, None);
}

#[test]
fn probe_tells_tls_from_look_alikes() {
    let hello = record(22, &client_hello());
    for length in 0..10 {
        assert_eq!(probe(&hello[..length]), Probe::More, "{length}");
    }
    assert_eq!(probe(&hello), Probe::Tls);
    // The first record holds only two bytes of the message header.
    assert_eq!(probe(&[record(22, &client_hello()[..2]), record(22, &client_hello()[2..])].concat()), Probe::Tls);
    assert_eq!(probe(&record(22, &server_hello13())), Probe::Tls);
    assert_eq!(probe(&record(21, &[2, 40])), Probe::Tls);
    assert_eq!(probe(&ssl2_hello(2)), Probe::Tls);
    assert_eq!(probe(&ssl2_hello(0x0301)), Probe::Tls);
    let others: [&[u8]; 8] = [
        b"GET / HTTP/1.1\r\n",
        // MQTT CONNECT and CONNACK.
        &[0x10, 0x16, 0, 4, b'M', b'Q', b'T', b'T', 4, 2],
        &[0x20, 2, 0, 0],
        // MongoDB messages of 0x0116 and 0x0316 bytes.
        &[0x16, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xd4, 7, 0, 0],
        &[0x16, 3, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xd4, 7, 0, 0],
        &record(23, &[1; 40]),
        &record(21, &[9; 26]),
        b"\x80\x00\x01\x00\x02hello world",
    ];
    for other in others {
        assert_eq!(probe(other), Probe::No, "{other:?}");
    }
}

#[test]
fn truncation_at_every_byte() {
    for session in [session12(true), session12(false)] {
        let (client, server) = (session.client_bytes(), session.server_bytes());
        for cut in 0..client.len() {
            observe(&[(CLIENT, &client[..cut]), (SERVER, &server)]);
        }
        for cut in 0..server.len() {
            let seen = observe(&[(CLIENT, &client), (SERVER, &server[..cut])]);
            assert_eq!(seen.len(), 1);
        }
    }
}

#[test]
fn compressed_certificate_is_unpacked() {
    let entry = [vector24(&[0x30; 400]), vec![0, 0]].concat();
    let plain = [vec![0], vector24(&entry)].concat();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut zlib, &plain).unwrap();
    let packed = zlib.finish().unwrap();
    let length = &u32::try_from(plain.len()).unwrap().to_be_bytes()[1..];
    let body = [&[0, 1], length, &vector24(&packed)].concat();
    let limits = certificate::CertificateLimits { message_bytes: 4_096, chain_length: 4 };
    let mut odd = Vec::new();
    let list = CertificateList::parse_compressed(&body, limits, &mut odd);
    assert_eq!(
        (list.iter().map(<[u8]>::len).collect::<Vec<_>>(), list.form),
        (vec![400], CertificateForm::Compressed(1))
    );
    assert_eq!(odd, []);
    // A bomb: the length does not fit, or what comes out is longer than claimed.
    for claimed in [[0, 0x7f, 0xff], [0xff, 0xff, 0xff], [0, 0, 9]] {
        let mut odd = Vec::new();
        let body = [&[0, 1], &claimed[..], &vector24(&packed)].concat();
        assert_eq!(CertificateList::parse_compressed(&body, limits, &mut odd).ranges.len(), 0);
        assert_eq!(odd, [Anomaly::CompressedCertificate]);
    }
    // A zstd frame that asks for a window of gigabytes.
    let body = [&[0, 3, 0, 4, 0], &vector24(&[0x28, 0xb5, 0x2f, 0xfd, 0, 0xff, 0, 0])[..]].concat();
    assert_eq!(CertificateList::parse_compressed(&body, limits, &mut odd).ranges.len(), 0);
}

/// Cuts the clear messages of one side into records at any places.
fn records(clear: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (clear.len() + 1)).collect();
    places.extend([0, clear.len()]);
    places.sort_unstable();
    places.dedup();
    places.windows(2).flat_map(|pair| record(22, &clear[pair[0]..pair[1]])).collect()
}

proptest! {
    #[test]
    fn any_records_and_chunks_give_the_same_handshake(
        with_certificate: bool,
        client_cuts in prop::collection::vec(any::<usize>(), 0..12),
        server_cuts in prop::collection::vec(any::<usize>(), 0..40),
        chunks in prop::collection::vec((any::<bool>(), 1_usize..400), 1..200),
    ) {
        let session = session12(with_certificate);
        let client = [records(&session.client[0].concat(), &client_cuts), records(&session.client[1].concat(), &client_cuts), session.client_end.clone()].concat();
        let server = [records(&session.server.concat(), &server_cuts), session.server_end.clone()].concat();
        let expected = only(observe(&[(SERVER, &session.server_bytes()), (CLIENT, &session.client_bytes())]));
        let (mut client, mut server) = (&client[..], &server[..]);
        let mut observer = Observer::new(&Limits::default());
        let mut chunks = chunks.into_iter().cycle();
        let mut frame = 0;
        while !client.is_empty() || !server.is_empty() {
            let (from_client, length) = chunks.next().unwrap();
            let (direction, rest) = if from_client && !client.is_empty() || server.is_empty() { (CLIENT, &mut client) } else { (SERVER, &mut server) };
            let (part, left) = rest.split_at(length.min(rest.len()));
            *rest = left;
            frame += 1;
            observer.on_bytes(direction, part, &at(frame));
            prop_assert!(observer.memory() < 32 << 10);
        }
        let handshake = only(finish(observer, 1_000));
        assert_same(&handshake, &expected);
    }

    #[test]
    fn random_bytes_never_panic(
        parts in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..600), 0_u64..2_000), 0..20),
    ) {
        let mut observer = Observer::new(&Limits::default());
        for (side, bytes, gap) in &parts {
            let direction = if *side { CLIENT } else { SERVER };
            observer.on_bytes(direction, bytes, &at(1));
            observer.on_gap(direction, gap.saturating_sub(1_000), &at(1));
            prop_assert!(observer.memory() < 64 << 10);
        }
        finish(observer, 1);
    }

    #[test]
    fn damaged_sessions_never_panic(
        flips in prop::collection::vec((any::<usize>(), any::<u8>()), 1..8),
        hole in (any::<usize>(), 0_usize..3_000),
        split in any::<usize>(),
    ) {
        let session = session12(true);
        let (client, mut server) = (session.client_bytes(), session.server_bytes());
        for (place, byte) in flips {
            let place = place % server.len();
            server[place] = byte;
        }
        let start = hole.0 % server.len();
        let end = (start + hole.1).min(server.len());
        let split = split % (client.len() + 1);
        let mut observer = Observer::new(&Limits::default());
        observer.on_bytes(CLIENT, &client[..split], &at(1));
        observer.on_bytes(SERVER, &server[..start], &at(2));
        observer.on_gap(SERVER, u64::try_from(end - start).unwrap(), &at(3));
        observer.on_bytes(SERVER, &server[end..], &at(4));
        observer.on_bytes(CLIENT, &client[split..], &at(5));
        prop_assert!(!finish(observer, 5).is_empty());
    }
}
