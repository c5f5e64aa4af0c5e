//! The scenes, and what each must come to.

use std::sync::{Arc, Mutex};

use tlswatch::event::{Context, Detail, Observer};
use tlswatch::packet::ChecksumMode;
use tlswatch::pipeline::{Options, run};
use tlswatch::sink::{About, Event, Sink, SinkError};
use tlswatch::stats::Stats;
use tlswatch::tls::HandshakeEnd;

use crate::DIVISOR;
use crate::wire::{ACK, From, Generated, PUSH, SYN, SYN_ACK, Tcp, Wire};

const MIB: u64 = 1 << 20;

/// Bytes of payload of a full segment.
const FULL: usize = 1_400;

const SECOND: i64 = 1_000_000_000;

/// One flood.
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    /// Most bytes that resident memory may grow by.
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
}

pub(crate) const SCENES: &[Scene] = &[
    Scene { name: "idle", memory: 256_000_000, nanos_per_frame: 4_000, play: idle },
    Scene { name: "half_open_fast", memory: 400 * MIB, nanos_per_frame: 8_000, play: half_open_fast },
    Scene { name: "half_open_slow", memory: 400 * MIB, nanos_per_frame: 8_000, play: half_open_slow },
    Scene { name: "claims_too_much", memory: 400 * MIB, nanos_per_frame: 8_000, play: claims_too_much },
    Scene { name: "claims_all_allowed", memory: 400 * MIB, nanos_per_frame: 20_000, play: claims_all_allowed },
];

impl Scene {
    /// Plays it and checks the bounds.
    pub(crate) fn run(&self, workers: usize) {
        let before = status_kib("VmRSS:") * 1_024;
        let result = (self.play)(&Play { workers });
        let cpu = cpu_ticks() * 10_000_000;
        let growth = (status_kib("VmHWM:") * 1_024).saturating_sub(before);
        let frames = result.stats.capture_packets.max(1);
        println!(
            "{:<20} {workers} workers: {frames} frames, {} MB in, {} MB out, peak +{} MiB, {} ms CPU, {} ns per frame, {}",
            self.name,
            result.stats.capture_bytes / 1_000_000,
            result.seen.bytes / 1_000_000,
            growth / MIB,
            cpu / 1_000_000,
            cpu / frames,
            counters(&result.stats),
        );
        let slow = if cfg!(debug_assertions) { 40 } else { 1 };
        assert!(growth <= self.memory, "{}: grew by {growth} bytes, allowed are {}", self.name, self.memory);
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
        match event.about {
            About::Handshake(observation) => {
                seen.handshakes += 1;
                seen.evicted += u64::from(observation.handshake.end == HandshakeEnd::Evicted);
                seen.end_of_capture += u64::from(observation.handshake.end == HandshakeEnd::EndOfCapture);
            }
            About::Certificate(_) => seen.certificates += 1,
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
    assert!(result.seen.end_of_capture >= slots, "each slot holds at least one");
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
