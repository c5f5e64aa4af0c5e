//! The whole way from frames to lines, per frame: connections with a handshake each, and data after it. Floor: reading the
//! frames from their source.
#![expect(clippy::indexing_slicing, reason = "two sides, numbered 0 and 1")]

mod common;
#[path = "../tests/stress/wire.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "the stress tests need more of it, and fail when it does")]
mod wire;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tlswatch::capture::{CaptureError, Next, Problem, Progress, Source};
use tlswatch::event::{Context, Detail, Observer};
use tlswatch::packet::{Frame, LinkType};
use tlswatch::pipeline::{Options, run};
use tlswatch::sink::Ndjson;
use tlswatch::stats::Stats;
use tlswatch::time::Timestamp;

const FULL: usize = 1_400;
const CONNECTIONS: u32 = 200;

/// Frames in memory.
struct Frames<'a> {
    frames: &'a [Vec<u8>],
    at: usize,
    stats: Stats,
}

impl<'a> Frames<'a> {
    fn new(frames: &'a [Vec<u8>]) -> Self {
        Self { frames, at: 0, stats: Stats::default() }
    }
}

impl Source for Frames<'_> {
    fn next(&mut self) -> Result<Next<'_>, CaptureError> {
        let Some(data) = self.frames.get(self.at) else { return Ok(Next::End) };
        self.at += 1;
        let number = self.at as u64;
        let timestamp = Timestamp(i64::try_from(number).unwrap_or(0) * 10_000);
        let original_len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        Ok(Next::Frame(Frame {
            sequence: number,
            number,
            file: 0,
            interface: 0,
            timestamp,
            time_known: true,
            link_type: LinkType::RAW,
            original_len,
            data,
        }))
    }

    fn file_path(&self, _: u32) -> Option<&str> {
        None
    }

    fn interface_name(&self, _: u32, _: u32) -> Option<&str> {
        None
    }

    fn stats(&self) -> &Stats {
        &self.stats
    }

    fn problems(&self) -> &[Problem] {
        &[]
    }

    fn progress(&self) -> Progress {
        Progress::default()
    }
}

/// The segments of all connections, with this many full segments of data behind each handshake.
fn frames(data: usize) -> Vec<Vec<u8>> {
    let session = common::session();
    let bulk = common::record(23, &[0xdd; FULL - 5]);
    let mut frames = Vec::new();
    let mut wire = wire::Wire::default();
    for connection in 0..CONNECTIONS {
        let mut sequences = [1_u32, 1];
        let tail = std::iter::repeat_n((false, &bulk), data);
        for (client, bytes) in session.iter().map(|(client, bytes)| (*client, bytes)).chain(tail) {
            for payload in bytes.chunks(FULL) {
                let [mine, other] = if client { [0, 1] } else { [1, 0] };
                let from = if client { wire::From::Client } else { wire::From::Server };
                let [sequence, acknowledgment] = [sequences[mine], sequences[other]];
                let tcp = wire::Tcp { from, flags: wire::PUSH, sequence, acknowledgment };
                wire.tcp4(connection, tcp, payload);
                frames.push(wire.bytes.clone());
                sequences[mine] += u32::try_from(payload.len()).unwrap_or(0);
            }
        }
    }
    frames
}

fn pipeline(criterion: &mut Criterion) {
    for (scene, data) in [("handshakes", 0), ("bulk", 100)] {
        let frames = frames(data);
        let mut group = criterion.benchmark_group(format!("pipeline/{scene}"));
        group.throughput(Throughput::Elements(frames.len() as u64)).sample_size(20);
        group.bench_function("floor: read", |bencher| {
            bencher.iter(|| {
                let mut source = Frames::new(&frames);
                let mut sum = 0;
                while let Ok(Next::Frame(frame)) = source.next() {
                    sum += black_box(frame.data).len();
                }
                sum
            });
        });
        for workers in [1, 2] {
            group.bench_function(format!("{workers} workers"), |bencher| {
                bencher.iter(|| {
                    let options = Options { workers, ..Options::default() };
                    let context = Context::new(&Observer::default(), Detail::Standard);
                    let sink = Box::new(Ndjson::new(std::io::sink()));
                    let outcome = run(&mut Frames::new(&frames), vec![sink], (&options, context), |_| {});
                    assert_eq!(outcome.map(|outcome| outcome.stats.tls_handshakes).ok(), Some(CONNECTIONS.into()));
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, pipeline);
criterion_main!(benches);
