//! What it costs to watch one handshake: both sides' bytes in, the finished handshake out. Floor: copying the same bytes.

mod common;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tlswatch::config::Limits;
use tlswatch::direction::Direction;
use tlswatch::time::Moment;
use tlswatch::tls::observer::Observer;

const FULL: usize = 1_400;

fn watch(session: &[(bool, Vec<u8>)], part: usize, limits: &Limits) -> bool {
    let mut observer = Observer::new(limits);
    let at = Moment::default();
    for (client, bytes) in session {
        let direction = if *client { Direction::HighToLow } else { Direction::LowToHigh };
        for piece in bytes.chunks(part) {
            observer.on_bytes(direction, black_box(piece), &at);
        }
    }
    observer.take().is_some_and(|handshake| handshake.established == Some(true))
}

fn handshake(criterion: &mut Criterion) {
    let session = common::session();
    let limits = Limits::default();
    let total: usize = session.iter().map(|(_, bytes)| bytes.len()).sum();
    let mut group = criterion.benchmark_group("handshake");
    group.throughput(Throughput::Elements(1));
    let mut copy = Vec::with_capacity(total);
    group.bench_function(format!("floor: copy {total} bytes"), |bencher| {
        bencher.iter(|| {
            copy.clear();
            for (_, bytes) in &session {
                copy.extend_from_slice(black_box(bytes));
            }
            copy.len()
        });
    });
    for (name, part) in [("full segments", FULL), ("segments of 100 bytes", 100), ("segments of one byte", 1)] {
        assert!(watch(&session, part, &limits), "the session is a whole handshake");
        group.bench_function(name, |bencher| bencher.iter(|| watch(&session, part, &limits)));
    }
    group.finish();
}

criterion_group!(benches, handshake);
criterion_main!(benches);
