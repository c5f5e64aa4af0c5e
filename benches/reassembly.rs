//! What it costs to put one direction of a connection in order: 1 MiB in full segments. Floor: copying the same bytes.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tlswatch::flow::tcp::{Placed, TcpHalf};
use tlswatch::time::{Moment, Order, Timestamp};

const FULL: usize = 1_400;
const SEGMENTS: usize = 750;

fn segments() -> Vec<(u32, Vec<u8>)> {
    let bytes: Vec<u8> = (0..FULL * SEGMENTS).map(|at| u8::try_from(at % 251).unwrap_or(0)).collect();
    let mut sequence = 1_u32;
    bytes
        .chunks(FULL)
        .map(|part| {
            let begin = sequence;
            sequence += u32::try_from(part.len()).unwrap_or(0);
            (begin, part.to_vec())
        })
        .collect()
}

fn place_all(segments: &[(u32, Vec<u8>)]) -> usize {
    let mut half = TcpHalf::default();
    half.set_initial_sequence(0);
    let mut handed_on = 0;
    for (number, (sequence, payload)) in (0_u64..).zip(segments) {
        let order = Order { clock: Timestamp::new(1, 0), frame: number, ordinal: 0 };
        let at = Moment { order, ..Moment::default() };
        if let (Placed::Now(bytes), _) = half.place((*sequence, payload), &at, |_| true) {
            handed_on += black_box(bytes).len();
            half.remember(bytes, false, None);
        }
        while let Some((bytes, _)) = half.next_stored() {
            handed_on += black_box(&bytes).len();
            half.remember(&bytes, false, None);
        }
    }
    handed_on
}

fn reassembly(criterion: &mut Criterion) {
    let in_order = segments();
    let swapped: Vec<_> = in_order.chunks(2).flat_map(|pair| pair.iter().rev().cloned()).collect();
    let far: Vec<_> = in_order.chunks(50).flat_map(|run| run.iter().rev().cloned()).collect();
    let twice: Vec<_> = in_order.iter().flat_map(|segment| [segment.clone(), segment.clone()]).collect();
    let total = FULL * SEGMENTS;
    let mut group = criterion.benchmark_group("reassembly");
    group.throughput(Throughput::Bytes(total as u64));
    let mut copy = Vec::with_capacity(total);
    group.bench_function("floor: copy", |bencher| {
        bencher.iter(|| {
            copy.clear();
            for (_, payload) in &in_order {
                copy.extend_from_slice(black_box(payload));
            }
            copy.len()
        });
    });
    for (name, segments) in
        [("in order", &in_order), ("pairs swapped", &swapped), ("runs of 50 reversed", &far), ("each twice", &twice)]
    {
        assert_eq!(place_all(segments), total);
        group.bench_function(name, |bencher| bencher.iter(|| place_all(segments)));
    }
    group.finish();
}

criterion_group!(benches, reassembly);
criterion_main!(benches);
