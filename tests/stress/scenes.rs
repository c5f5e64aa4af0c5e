//! The scenes, and what each must come to.

use std::hash::{DefaultHasher, Hasher};
use std::sync::{Arc, Mutex};

use tlswatch::event::{Context, Detail, Observer};
use tlswatch::packet::ChecksumMode;
use tlswatch::pipeline::{Options, run};
use tlswatch::sink::{About, Event, Sink, SinkError};
use tlswatch::stats::Stats;
use tlswatch::tls::HandshakeEnd;

use crate::DIVISOR;
use crate::wire::{ACK, From, Generated, PUSH, RST, SYN, SYN_ACK, Tcp, Wire};

const MIB: u64 = 1 << 20;

/// Bytes of payload of a full segment.
const FULL: usize = 1_400;

const SECOND: i64 = 1_000_000_000;

/// One flood.
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    /// Most bytes of resident memory of the whole process.
    memory: u64,
    /// Most nanoseconds of CPU per frame in a release build; what is not linear in the input does not fit.
    nanos_per_frame: u64,
    play: fn(&Play) -> Result,
}

/// How a scene is played.
pub(crate) struct Play {
    workers: usize,
}

/// What a scene came to.
pub(crate) struct Result {
    stats: Stats,
    seen: Seen,
}

/// What came out.
#[derive(Clone, Debug, Default)]
struct Seen {
    handshakes: u64,
    evicted: u64,
    end_of_capture: u64,
    certificates: u64,
    bytes: u64,
    /// Of all lines in their order.
    digest: DefaultHasher,
}

pub(crate) const SCENES: &[Scene] = &[
    Scene { name: "idle", memory: 256_000_000, nanos_per_frame: 4_000, play: idle },
    Scene { name: "half_open_fast", memory: 400 * MIB, nanos_per_frame: 8_000, play: half_open_fast },
    Scene { name: "half_open_slow", memory: 400 * MIB, nanos_per_frame: 8_000, play: half_open_slow },
    Scene { name: "claims_too_much", memory: 400 * MIB, nanos_per_frame: 8_000, play: claims_too_much },
    Scene { name: "claims_all_allowed", memory: 400 * MIB, nanos_per_frame: 20_000, play: claims_all_allowed },
    Scene { name: "big_certificates", memory: 400 * MIB, nanos_per_frame: 40_000, play: big_certificates },
    Scene { name: "big_chains_at_once", memory: 400 * MIB, nanos_per_frame: 60_000, play: big_certificates_at_once },
    Scene { name: "many_names_at_once", memory: 400 * MIB, nanos_per_frame: 60_000, play: many_names_at_once },
    Scene { name: "out_of_order", memory: 400 * MIB, nanos_per_frame: 8_000, play: out_of_order },
    Scene { name: "one_byte_each", memory: 400 * MIB, nanos_per_frame: 12_000, play: one_byte_each },
    Scene { name: "swollen_hellos", memory: 400 * MIB, nanos_per_frame: 40_000, play: swollen_hellos },
    Scene { name: "fragments", memory: 400 * MIB, nanos_per_frame: 4_000, play: fragments },
    Scene { name: "fragments_backwards", memory: 400 * MIB, nanos_per_frame: 4_000, play: fragments_backwards },
    Scene { name: "one_tuple", memory: 400 * MIB, nanos_per_frame: 20_000, play: one_tuple },
    Scene { name: "doubtful_syns", memory: 400 * MIB, nanos_per_frame: 8_000, play: doubtful_syns },
    Scene { name: "distinct_names", memory: 400 * MIB, nanos_per_frame: 40_000, play: distinct_names },
    Scene { name: "time_backwards", memory: 400 * MIB, nanos_per_frame: 8_000, play: time_backwards },
    Scene { name: "endless_hellos", memory: 400 * MIB, nanos_per_frame: 20_000, play: endless_hellos },
    Scene { name: "tiny_records", memory: 400 * MIB, nanos_per_frame: 40_000, play: tiny_records },
    Scene { name: "tiny_segments", memory: 400 * MIB, nanos_per_frame: 8_000, play: tiny_segments },
    Scene { name: "every_second_byte", memory: 400 * MIB, nanos_per_frame: 20_000, play: every_second_byte },
    Scene { name: "known_hosts", memory: 250_000_000, nanos_per_frame: 4_000_000_000, play: known_hosts },
];

impl Scene {
    /// Plays it and checks the bounds.
    pub(crate) fn run(&self, workers: usize) {
        let result = (self.play)(&Play { workers });
        let cpu = cpu_ticks() * 10_000_000;
        let peak = status_kib("VmHWM:") * 1_024;
        let frames = result.stats.capture_packets.max(1);
        println!(
            "{:<20} {workers} workers: {frames} frames, {} MB in, {} MB out, peak {} MiB, {} ms CPU, {} ns per frame, {} digest={:016x}",
            self.name,
            result.stats.capture_bytes / 1_000_000,
            result.seen.bytes / 1_000_000,
            peak / MIB,
            cpu / 1_000_000,
            cpu / frames,
            counters(&result.stats),
            result.seen.digest.finish(),
        );
        let slow = if cfg!(debug_assertions) { 40 } else { 1 };
        assert!(peak <= self.memory, "{}: {peak} bytes of memory, allowed are {}", self.name, self.memory);
        let allowed = frames * self.nanos_per_frame * slow + SECOND.unsigned_abs();
        assert!(cpu <= allowed, "{}: {cpu} ns of CPU, allowed are {allowed}", self.name);
        assert_eq!(result.stats.flow_panic + result.stats.decode_panic, 0, "{}: panics", self.name);
        assert_eq!(result.seen.handshakes, result.stats.tls_handshakes, "{}: every handshake has its event", self.name);
    }
}

impl Play {
    fn frames(&self, write: impl FnMut(&mut Wire) -> bool) -> Result {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let options = Options { workers: self.workers, checksums: ChecksumMode::Off, ..Options::default() };
        let context = Context::new(&Observer::default(), Detail::Full);
        let sink = Box::new(Counting(Arc::clone(&seen)));
        let outcome = run(&mut Generated::new(write), vec![sink], (&options, context), |_| {}).unwrap();
        let seen = seen.lock().unwrap().clone();
        Result { stats: outcome.stats, seen }
    }
}

struct Counting(Arc<Mutex<Seen>>);

impl Sink for Counting {
    fn write(&mut self, event: &Event<'_>) -> std::result::Result<(), SinkError> {
        let mut seen = self.0.lock().unwrap();
        seen.bytes += event.line.len() as u64;
        seen.digest.write(event.line);
        match event.about {
            About::Handshake(observation) => {
                seen.handshakes += 1;
                seen.evicted += u64::from(observation.handshake.end == HandshakeEnd::Evicted);
                seen.end_of_capture += u64::from(observation.handshake.end == HandshakeEnd::EndOfCapture);
            }
            About::Certificate(_) | About::Alert(_) => seen.certificates += 1,
            About::Stats(_) => {}
        }
        Ok(())
    }

    fn flush(&mut self) -> std::result::Result<(), SinkError> {
        Ok(())
    }
}

/// A million connections that only open; half of them IPv6. None may be lost.
fn idle(play: &Play) -> Result {
    let flows = 1_000_000 / DIVISOR;
    let mut frame = 0_u32;
    let result = play.frames(|wire| {
        let (round, flow) = (frame / flows, frame % flows);
        frame += 1;
        wire.time += 20 * SECOND / i64::from(3 * flows);
        let tcp = match round {
            0 => Tcp { from: From::Client, flags: SYN, sequence: flow, acknowledgment: 0 },
            1 => Tcp { from: From::Server, flags: SYN_ACK, sequence: 7, acknowledgment: flow + 1 },
            2 => Tcp { from: From::Client, flags: ACK, sequence: flow + 1, acknowledgment: 8 },
            _ => return false,
        };
        if flow % 2 == 0 {
            wire.tcp4(flow, tcp, &[]);
        } else {
            wire.tcp6(flow, tcp, &[]);
        }
        true
    });
    let stats = &result.stats;
    assert_eq!(stats.decode_tcp, u64::from(3 * flows));
    assert_eq!((stats.flow_opened, stats.flow_evicted, stats.flow_expired), (u64::from(flows), 0, 0));
    result
}

/// SYNs faster than the half-open timeout empties the table.
fn half_open_fast(play: &Play) -> Result {
    let flows = 5_000_000 / DIVISOR;
    let result = half_open(play, flows, 25 * SECOND);
    // 256 slots of 5,120; so many flows fill each of them.
    let room = 256 * 5_120;
    assert_eq!(result.stats.flow_opened, u64::from(flows));
    assert_eq!(result.stats.flow_evicted, u64::from(flows).saturating_sub(room));
    assert_eq!(result.stats.flow_expired, 0);
    result
}

/// SYNs that the timeout keeps up with.
fn half_open_slow(play: &Play) -> Result {
    let flows = 5_000_000 / DIVISOR;
    let length = 250 * SECOND;
    let result = half_open(play, flows, length);
    let step = length / i64::from(flows);
    let expired = (1..=i64::from(flows)).filter(|flow| (i64::from(flows) - flow) * step >= 30 * SECOND).count();
    assert_eq!(result.stats.flow_opened, u64::from(flows));
    assert_eq!((result.stats.flow_evicted, result.stats.flow_expired), (0, expired as u64));
    result
}

fn half_open(play: &Play, flows: u32, length: i64) -> Result {
    let mut flow = 0;
    play.frames(|wire| {
        flow += 1;
        wire.time += length / i64::from(flows);
        wire.tcp4(flow, Tcp { from: From::Client, flags: SYN, sequence: flow, acknowledgment: 0 }, &[]);
        flow <= flows
    })
}

/// Handshakes that each claim a message of 16 MB and send 256 KiB of it: no byte of it is kept.
fn claims_too_much(play: &Play) -> Result {
    let flows = 10_000 / DIVISOR;
    let result = claims(play, flows, 0xff_ffff);
    let stats = &result.stats;
    assert_eq!(stats.tls_message_too_long, u64::from(flows));
    assert_eq!((stats.flow_memcap, stats.flow_evicted, stats.flow_opened), (0, 0, u64::from(flows)));
    assert_eq!((stats.tls_handshakes, result.seen.end_of_capture), (u64::from(flows), u64::from(flows)));
    result
}

/// The same with messages of the greatest length that is read: here the memory of the slots is what bounds.
fn claims_all_allowed(play: &Play) -> Result {
    let flows = 10_000 / DIVISOR;
    let result = claims(play, flows, 256 << 10);
    let stats = &result.stats;
    assert_eq!(stats.tls_message_too_long, 0);
    assert_eq!((stats.tls_handshakes, stats.flow_opened), (u64::from(flows), u64::from(flows)));
    assert_eq!(stats.flow_memcap, result.seen.evicted);
    assert_eq!(stats.flow_memcap + result.seen.end_of_capture, u64::from(flows));
    assert!(result.seen.end_of_capture <= 512, "at most two of 256 KiB fit in each of 256 slots");
    // Few flows do not meet every slot.
    let slots = if cfg!(debug_assertions) { 100 } else { 256 };
    assert!(result.seen.end_of_capture >= slots, "each slot holds at least one: {}", result.seen.end_of_capture);
    result
}

/// Open handshakes side by side whose servers claim a Certificate message of this length, and send 256 KiB less a bit.
fn claims(play: &Play, flows: u32, claim: u32) -> Result {
    let hello = record(22, &client_hello(b"big.example"));
    let mut server = handshake(2, &server_hello_body(0xc02f));
    server.push(11);
    server.extend_from_slice(&claim.to_be_bytes()[1..]);
    server.resize(255 << 10, 0x30);
    let server = records(22, &server);
    let rounds = server.len().div_ceil(FULL);
    let (mut flow, mut round) = (0, 0_usize);
    play.frames(move |wire| {
        if round == 3 + rounds {
            return false;
        }
        wire.time += SECOND / 100_000;
        let done = round.checked_sub(3);
        match done {
            None => {
                let (from, flags, payload): (_, _, &[u8]) =
                    [(From::Client, SYN, &[][..]), (From::Server, SYN_ACK, &[]), (From::Client, PUSH, &hello)][round];
                let sequence = if flags == PUSH { 101 } else { 100 };
                wire.tcp4(flow, Tcp { from, flags, sequence, acknowledgment: 101 }, payload);
            }
            Some(done) => {
                let payload = &server[done * FULL..server.len().min((done + 1) * FULL)];
                let sequence = 101 + (done * FULL) as u32;
                wire.tcp4(flow, Tcp { from: From::Server, flags: PUSH, sequence, acknowledgment: 500 }, payload);
            }
        }
        flow += 1;
        if flow == flows {
            (flow, round) = (0, round + 1);
        }
        true
    })
}

/// Distinct certificates of 200 KB in complete handshakes, one handshake after the other.
fn big_certificates(play: &Play) -> Result {
    let extra = vec![0x5a; 200_000];
    certificates(play, 10_000 / DIVISOR, &certificate(&extra, 1))
}

/// The same, but all handshakes wait for their last packets until so many are open that memory is full.
fn big_certificates_at_once(play: &Play) -> Result {
    let extra = vec![0x5a; 200_000];
    certificates_at_once(play, &certificate(&extra, 1))
}

/// Certificates whose bytes become many small objects.
fn many_names_at_once(play: &Play) -> Result {
    certificates_at_once(play, &certificate(&[], 12_000))
}

fn certificates_at_once(play: &Play, der: &[u8]) -> Result {
    const GROUP: u32 = 600;
    let flows = (3_000 / DIVISOR).max(GROUP);
    let scene = Certificates::new(der);
    let early = scene.frames - 3;
    let (mut group, mut part, mut at) = (0, 0, 0);
    let result = play.frames(|wire| {
        if group * GROUP >= flows {
            return false;
        }
        wire.time += SECOND / 100_000;
        let frame = if part == 0 { at % early } else { early + at % 3 };
        let flow = at / if part == 0 { early } else { 3 };
        scene.frame(wire, group * GROUP + flow as u32, frame);
        at += 1;
        let frames = if part == 0 { early } else { 3 };
        if at == GROUP as usize * frames {
            at = 0;
            group += part;
            part = 1 - part;
        }
        true
    });
    scene.check(&result, flows);
    result
}

fn certificates(play: &Play, flows: u32, der: &[u8]) -> Result {
    let scene = Certificates::new(der);
    let (mut flow, mut frame) = (0, 0);
    let result = play.frames(|wire| {
        wire.time += SECOND / 100_000;
        if flow == flows {
            return false;
        }
        scene.frame(wire, flow, frame);
        frame += 1;
        if frame == scene.frames {
            (flow, frame) = (flow + 1, 0);
        }
        true
    });
    scene.check(&result, flows);
    assert_eq!(result.stats.flow_memcap, 0);
    result
}

/// A handshake of TLS 1.2 whose certificate has the number of the flow in it.
struct Certificates {
    client: Vec<u8>,
    server: Vec<u8>,
    /// Where in `server` the number goes: of each byte, since a record header may lie between them.
    number_at: Vec<usize>,
    frames: usize,
}

impl Certificates {
    fn new(der: &[u8]) -> Self {
        let mut list = ((der.len() + 3) as u32).to_be_bytes()[1..].to_vec();
        list.extend_from_slice(&(der.len() as u32).to_be_bytes()[1..]);
        list.extend_from_slice(der);
        let mut server = handshake(2, &server_hello_body(0xc02f));
        server.extend_from_slice(&handshake(11, &list));
        server.extend_from_slice(&handshake(14, &[]));
        let number = server.windows(NUMBER.len()).position(|window| window == NUMBER).unwrap();
        let number_at = (number..number + 4).map(|at| at + 5 * (at / (1 << 14) + 1)).collect();
        let server = records(22, &server);
        let frames = 2 + server.len().div_ceil(FULL) + 3;
        Self { client: record(22, &client_hello(b"certificates.example")), server, number_at, frames }
    }

    fn frame(&self, wire: &mut Wire, flow: u32, frame: usize) {
        let last: Vec<u8> = [record(20, &[1]), record(22, &[0xee; 40])].concat();
        let client = 101 + self.client.len() as u32;
        let server = 101 + self.server.len() as u32;
        let (from, flags, sequence, payload) = match (frame, self.frames - frame) {
            (0, _) => (From::Client, SYN, 100, Vec::new()),
            (1, _) => (From::Client, PUSH, 101, self.client.clone()),
            (_, 3) => (From::Client, PUSH, client, record(22, &handshake(16, &[0xcc; 66]))),
            (_, 2) => (From::Client, PUSH, client + 75, last),
            (_, 1) => (From::Server, PUSH, server, last),
            _ => {
                let start = (frame - 2) * FULL;
                let mut payload = self.server[start..self.server.len().min(start + FULL)].to_vec();
                for (at, byte) in self.number_at.iter().zip(flow.to_be_bytes()) {
                    if let Some(place) = at.checked_sub(start).and_then(|at| payload.get_mut(at)) {
                        *place = byte;
                    }
                }
                (From::Server, PUSH, 101 + start as u32, payload)
            }
        };
        wire.tcp4(flow, Tcp { from, flags, sequence, acknowledgment: 101 }, &payload);
    }

    fn check(&self, result: &Result, flows: u32) {
        let stats = &result.stats;
        assert_eq!((stats.tls_handshakes, stats.tls_certificates), (u64::from(flows), u64::from(flows)));
        assert_eq!((stats.x509_unparsable, result.seen.certificates), (0, u64::from(flows)));
        assert_eq!(stats.flow_memcap, result.seen.evicted);
    }
}

/// Stands in a certificate where its number goes.
const NUMBER: &[u8] = b"<number here>";

/// A certificate with this many names and an unknown extension of these bytes.
fn certificate(extra: &[u8], names: usize) -> Vec<u8> {
    let names: Vec<String> = (0..names).map(|name| format!("n{name}.example")).collect();
    let mut parameters = rcgen::CertificateParams::new(names).unwrap();
    let content = [b"\x04\x83", &((extra.len() + NUMBER.len()) as u32).to_be_bytes()[1..], NUMBER, extra].concat();
    parameters.custom_extensions.push(rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999], content));
    // An Ed25519 key (RFC 8410 section 7), so that the certificate is the same in every process.
    let pkcs8 = [&b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20"[..], &[0x77; 32]].concat();
    let key = rcgen::KeyPair::try_from(pkcs8).unwrap();
    parameters.self_signed(&key).unwrap().der().to_vec()
}

/// 63 bytes out of order on each connection, each in a segment of its own, behind a byte that never comes.
fn out_of_order(play: &Play) -> Result {
    let flows = 100_000 / DIVISOR;
    let (mut flow, mut frame) = (0, 0);
    let result = play.frames(|wire| {
        wire.time += 4 * SECOND / i64::from(flows * 64);
        let (flags, payload): (_, &[u8]) = if frame == 0 { (SYN, &[]) } else { (PUSH, &[0x16]) };
        wire.tcp4(flow, Tcp { from: From::Client, flags, sequence: 100 + 2 * frame, acknowledgment: 1 }, payload);
        frame += 1;
        if frame == 64 {
            (flow, frame) = (flow + 1, 0);
        }
        flow < flows || frame == 0
    });
    assert_eq!((result.stats.flow_opened, result.stats.flow_evicted), (u64::from(flows), 0));
    // Each of these bytes is handed on behind a gap at the end, whatever ended the connection.
    assert_eq!((result.stats.tcp_gap, result.stats.tls_handshakes), (u64::from(flows) * 63, 0));
    result
}

/// A byte on each connection that may begin TLS, and nothing more.
fn one_byte_each(play: &Play) -> Result {
    let flows = 1_000_000 / DIVISOR;
    let mut flow = 0;
    let result = play.frames(|wire| {
        wire.time += 20 * SECOND / i64::from(flows);
        wire.tcp4(flow, Tcp { from: From::Client, flags: PUSH, sequence: 1, acknowledgment: 1 }, &[0x16]);
        flow += 1;
        flow <= flows
    });
    assert_eq!((result.stats.flow_opened, result.stats.flow_evicted), (u64::from(flows), 0));
    assert_eq!(result.stats.tls_handshakes, 0);
    result
}

/// ClientHellos whose lists take much more room than their bytes, all open at once.
fn swollen_hellos(play: &Play) -> Result {
    let flows = 10_000 / DIVISOR;
    let mut protocols = 30_000_u16.to_be_bytes().to_vec();
    protocols.extend_from_slice(&[1, b'a'].repeat(15_000));
    let mut extensions = [&16_u16.to_be_bytes()[..], &30_002_u16.to_be_bytes(), &protocols].concat();
    (0..7_000_u16).for_each(|kind| extensions.extend_from_slice(&[(kind >> 8) as u8 | 0x80, kind as u8, 0, 0]));
    let mut body = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0xc0, 0x2f, 1, 0]].concat();
    body.extend_from_slice(&u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend_from_slice(&extensions);
    let hello = records(22, &handshake(1, &body));
    let parts = hello.len().div_ceil(FULL);
    let (mut flow, mut part) = (0, 0);
    let result = play.frames(|wire| {
        wire.time += 40 * SECOND / i64::from(flows * parts as u32);
        let start = part * FULL;
        let payload = &hello[start..hello.len().min(start + FULL)];
        let sequence = 1 + start as u32;
        wire.tcp4(flow, Tcp { from: From::Client, flags: PUSH, sequence, acknowledgment: 1 }, payload);
        part += 1;
        if part == parts {
            (flow, part) = (flow + 1, 0);
        }
        flow < flows || part == 0
    });
    assert_eq!(result.stats.tls_handshakes, u64::from(flows));
    assert_eq!(result.stats.flow_memcap, result.seen.evicted);
    result
}

/// Each the only fragment of its datagram that ever comes.
fn fragments(play: &Play) -> Result {
    let datagrams = 2_000_000 / DIVISOR;
    let mut datagram = 0;
    let result = play.frames(|wire| {
        wire.time += 20 * SECOND / i64::from(datagrams);
        wire.fragment4(datagram, 7, 1);
        datagram += 1;
        datagram <= datagrams
    });
    assert_eq!(result.stats.fragment_seen, u64::from(datagrams));
    assert_eq!(result.stats.fragment_evicted, u64::from(datagrams) - 4_096);
    result
}

/// Datagrams side by side whose fragments of eight bytes come from the end to the beginning.
fn fragments_backwards(play: &Play) -> Result {
    let datagrams = 2_000 / DIVISOR;
    let (mut datagram, mut place) = (0, 1_000_u16);
    let result = play.frames(|wire| {
        if place == 0 {
            return false;
        }
        wire.time += 20 * SECOND / i64::from(datagrams * 1_000);
        wire.fragment4(datagram, 7, place);
        datagram += 1;
        if datagram == datagrams {
            (datagram, place) = (0, place - 1);
        }
        true
    });
    assert_eq!(result.stats.fragment_seen, u64::from(datagrams * 1_000));
    result
}

/// One connection after the other on the same addresses and ports, none of them closed.
fn one_tuple(play: &Play) -> Result {
    let connections = 300_000 / DIVISOR;
    let hello = record(22, &client_hello(b"again.example"));
    let mut frame = 0_u32;
    let result = play.frames(|wire| {
        wire.time += SECOND / 1_000;
        let begin = (frame / 3).wrapping_mul(100_000);
        let (from, flags, sequence, payload): (_, _, _, &[u8]) = match frame % 3 {
            0 => (From::Client, SYN, begin, &[]),
            1 => (From::Server, SYN_ACK, begin ^ 0x5555, &[]),
            _ => (From::Client, PUSH, begin.wrapping_add(1), &hello),
        };
        let acknowledgment = begin.wrapping_add(1);
        wire.tcp4(1, Tcp { from, flags, sequence, acknowledgment }, payload);
        frame = frame.wrapping_add(1);
        frame <= connections * 3
    });
    assert_eq!(result.stats.flow_opened, u64::from(connections));
    assert_eq!(result.stats.tls_handshakes, u64::from(connections));
    result
}

/// SYNs on connections that are open and stay so.
fn doubtful_syns(play: &Play) -> Result {
    let flows = 200_000 / DIVISOR;
    let mut frame = 0;
    let result = play.frames(|wire| {
        wire.time += SECOND / 100_000;
        let (round, flow) = (frame / flows, frame % flows);
        frame += 1;
        let (flags, payload): (_, &[u8]) = if round % 2 == 0 { (PUSH, b"GET / HTTP/1.1\r\n") } else { (SYN, &[]) };
        let sequence = round * 1_000;
        wire.tcp4(flow, Tcp { from: From::Client, flags, sequence, acknowledgment: 1 }, payload);
        frame <= 6 * flows
    });
    assert_eq!(result.stats.flow_opened, u64::from(flows));
    result
}

/// A connection for each of a million names.
fn distinct_names(play: &Play) -> Result {
    let names = 1_000_000 / DIVISOR;
    let mut frame = 0;
    let result = play.frames(|wire| {
        wire.time += SECOND / 20_000;
        let flow = frame / 2;
        let hello = record(22, &client_hello(format!("host-{flow}.example").as_bytes()));
        let (flags, sequence, payload): (_, _, &[u8]) =
            if frame % 2 == 0 { (PUSH, 1, &hello) } else { (RST, 1 + hello.len() as u32, &[]) };
        wire.tcp4(flow, Tcp { from: From::Client, flags, sequence, acknowledgment: 1 }, payload);
        frame += 1;
        flow < names
    });
    assert_eq!((result.stats.tls_handshakes, result.stats.flow_closed), (u64::from(names), u64::from(names)));
    result
}

/// Each packet is older than the one before.
fn time_backwards(play: &Play) -> Result {
    let flows = 1_000_000 / DIVISOR;
    let hello = record(22, &client_hello(b"earlier.example"));
    let mut flow = 0;
    let result = play.frames(|wire| {
        wire.time -= SECOND / 1_000;
        let payload: &[u8] = if flow % 10 == 0 { &hello } else { &[] };
        wire.tcp4(flow, Tcp { from: From::Client, flags: PUSH, sequence: 1, acknowledgment: 1 }, payload);
        flow += 1;
        flow <= flows
    });
    assert_eq!((result.stats.flow_opened, result.stats.flow_expired), (u64::from(flows), 0));
    assert_eq!(result.stats.tls_handshakes, u64::from(flows / 10));
    result
}

/// A connection that says hello again and again: only so many handshakes of it are told.
fn endless_hellos(play: &Play) -> Result {
    let hellos = 100_000 / DIVISOR;
    let mut sequence = 1;
    let mut hello = 0_u32;
    let result = play.frames(|wire| {
        wire.time += SECOND / 10_000;
        let mut message = client_hello(b"again.example");
        message[6..10].copy_from_slice(&(hello / 2).to_be_bytes());
        let payload = record(22, &message);
        wire.tcp4(1, Tcp { from: From::Client, flags: PUSH, sequence, acknowledgment: 1 }, &payload);
        sequence += payload.len() as u32;
        hello += 1;
        hello <= hellos
    });
    assert_eq!(result.stats.tls_handshakes, 64);
    result
}

/// Records of one byte and of none, for ever.
fn tiny_records(play: &Play) -> Result {
    let frames = 100_000 / DIVISOR;
    let mut begin = record(22, &client_hello(b"tiny.example"));
    begin.extend_from_slice(&record(22, &[16, 0, 0x7f, 0xff]));
    let tiny: Vec<u8> = (0..120).flat_map(|_| [record(22, &[1]), record(22, &[])].concat()).collect();
    let mut frame = 0;
    let mut sequence = 1;
    let result = play.frames(|wire| {
        wire.time += SECOND / 100_000;
        let payload = if frame < 10 { &begin } else { &tiny };
        wire.tcp4(frame % 10, Tcp { from: From::Client, flags: PUSH, sequence, acknowledgment: 1 }, payload);
        frame += 1;
        if frame % 10 == 0 {
            sequence += payload.len() as u32;
        }
        frame <= frames
    });
    assert_eq!(result.stats.tls_handshakes, 10);
    result
}

/// 256 KiB in segments of one byte, on several connections, every 32 of them in reverse order.
fn tiny_segments(play: &Play) -> Result {
    let hello = records(22, &[&client_hello(b"bytes.example")[..], &[16, 0, 0x7f, 0xff], &[0; 0x7fff]].concat());
    let length = (256 << 10) / DIVISOR;
    bytes(play, length, move |flow, number| {
        let at = number / 32 * 32 + if flow % 2 == 0 { number % 32 } else { 31 - number % 32 };
        (at, hello.get(at as usize).copied().unwrap_or(0x16))
    })
}

/// Every second byte of a connection never comes.
fn every_second_byte(play: &Play) -> Result {
    bytes(play, (256 << 10) / DIVISOR, |_, number| (number * 2, [0x16, 3, 1, 2, 0][number as usize % 5]))
}

/// Baselines of 200,000 hosts, and no packet.
fn known_hosts(_: &Play) -> Result {
    let hosts = crate::hosts::fill();
    assert_eq!(hosts.lost(), 0);
    Result { stats: Stats::default(), seen: Seen::default() }
}

fn bytes(play: &Play, length: u32, byte: impl Fn(u32, u32) -> (u32, u8)) -> Result {
    const FLOWS: u32 = 4;
    let mut frame = 0;
    let result = play.frames(|wire| {
        wire.time += SECOND / 100_000;
        let (flow, round) = (frame % FLOWS, frame / FLOWS);
        let (flags, sequence, payload) = match round.checked_sub(1) {
            None => (SYN, 100, None),
            Some(number) => {
                let (at, byte) = byte(flow, number);
                (PUSH, 101 + at, Some(byte))
            }
        };
        wire.tcp4(flow, Tcp { from: From::Client, flags, sequence, acknowledgment: 1 }, payload.as_slice());
        frame += 1;
        frame <= FLOWS * (length + 1)
    });
    assert_eq!(result.stats.flow_opened, u64::from(FLOWS));
    result
}

/// A handshake message.
fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = (body.len() as u32 | u32::from(kind) << 24).to_be_bytes().to_vec();
    message.extend_from_slice(body);
    message
}

/// One record.
fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut record = vec![kind, 3, 3];
    record.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
    record.extend_from_slice(payload);
    record
}

/// As many full records as are needed.
fn records(kind: u8, payload: &[u8]) -> Vec<u8> {
    payload.chunks(1 << 14).flat_map(|part| record(kind, part)).collect()
}

/// A ClientHello of TLS 1.2 with this server name.
fn client_hello(name: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend_from_slice(&[7; 32]);
    body.extend_from_slice(&[0, 0, 4, 0xc0, 0x2f, 0xc0, 0x30, 1, 0]);
    let length = name.len() as u16;
    let mut extension = vec![0, 0];
    extension.extend_from_slice(&(length + 5).to_be_bytes());
    extension.extend_from_slice(&(length + 3).to_be_bytes());
    extension.push(0);
    extension.extend_from_slice(&length.to_be_bytes());
    extension.extend_from_slice(name);
    body.extend_from_slice(&(extension.len() as u16).to_be_bytes());
    body.extend_from_slice(&extension);
    handshake(1, &body)
}

/// The body of a ServerHello of TLS 1.2.
fn server_hello_body(cipher_suite: u16) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend_from_slice(&[9; 32]);
    body.push(0);
    body.extend_from_slice(&cipher_suite.to_be_bytes());
    body.push(0);
    body
}

fn counters(stats: &Stats) -> String {
    let skip = |name: &str| name.starts_with("capture.") || name.starts_with("decode.");
    let entries = stats.entries().filter(|(name, value)| *value > 0 && !skip(name));
    entries.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

fn status_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// User and system time of this process in ticks of 10 ms.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let rest = stat.rsplit(')').next().unwrap();
    let field = |number: usize| rest.split_whitespace().nth(number).unwrap().parse::<u64>().unwrap();
    field(11) + field(12)
}
