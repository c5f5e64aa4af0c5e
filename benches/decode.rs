//! Cost of decoding one frame, against the floor of touching its headers.
#![allow(missing_docs, reason = "criterion's macros make public functions")]
#![expect(clippy::expect_used, reason = "building frames in memory cannot fail")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use etherparse::{LaxSlicedPacket, PacketBuilder};
use tlswatch::config::Limits;
use tlswatch::packet::{ChecksumMode, Decoder, FlowPacket, Frame, LinkType, verify_checksum};
use tlswatch::stats::Stats;
use tlswatch::time::Timestamp;

const FRAMES: u16 = 512;

fn frames(wrap: impl Fn(u16) -> Vec<u8>) -> Vec<Vec<u8>> {
    (0..FRAMES).map(wrap).collect()
}

fn tcp4(port: u16) -> Vec<u8> {
    let mut out = Vec::new();
    let builder = PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
    builder.tcp(port, 443, 1, 64_000).write(&mut out, &[7; 1_000]).expect("writing to memory");
    out
}

fn tcp6(port: u16) -> Vec<u8> {
    let mut out = Vec::new();
    let builder = PacketBuilder::ethernet2([1; 6], [2; 6]).ipv6([1; 16], [2; 16], 64);
    builder.tcp(port, 443, 1, 64_000).write(&mut out, &[7; 1_000]).expect("writing to memory");
    out
}

fn vxlan(port: u16) -> Vec<u8> {
    let mut out = Vec::new();
    let inner = [&[8, 0, 0, 0, 0, 0, 1, 0][..], &tcp4(port)].concat();
    let builder = PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4([10, 0, 0, 3], [10, 0, 0, 4], 64);
    builder.udp(50_000, 4_789).write(&mut out, &inner).expect("writing to memory");
    out
}

fn frame(data: &[u8]) -> Frame<'_> {
    Frame {
        sequence: 1,
        number: 1,
        file: 0,
        interface: 0,
        timestamp: Timestamp::new(1_700_000_000, 0),
        time_known: true,
        link_type: LinkType::ETHERNET,
        original_len: u32::try_from(data.len()).unwrap_or(u32::MAX),
        data,
    }
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(u64::from(FRAMES)));
    let plain = frames(tcp4);
    group.bench_function("floor: touch the headers", |b| {
        b.iter(|| {
            for data in &plain {
                black_box(data.first_chunk::<54>().map(|header| u64::from(header[13]) + u64::from(header[53])));
            }
        });
    });
    for (name, data) in [("glance, ipv4 tcp", frames(tcp4)), ("glance, ipv6 tcp", frames(tcp6))] {
        group.bench_function(name, |b| {
            b.iter(|| {
                for data in &data {
                    black_box(FlowPacket::glance(&frame(data)));
                }
            });
        });
    }
    let mut decoder = Decoder::new(&Limits::default(), ChecksumMode::Count);
    for (name, data) in [("ipv4 tcp", frames(tcp4)), ("ipv6 tcp", frames(tcp6)), ("vxlan", frames(vxlan))] {
        let mut stats = Stats::default();
        group.bench_function(name, |b| {
            b.iter(|| {
                for data in &data {
                    black_box(decoder.decode(&frame(data), &mut stats));
                }
            });
        });
    }
    let mut stats = Stats::default();
    group.bench_function("ipv4 tcp with checksum", |b| {
        b.iter(|| {
            for data in &plain {
                black_box(decoder.decode(&frame(data), &mut stats).map(|packet| verify_checksum(&packet)));
            }
        });
    });
    group.bench_function("etherparse, for comparison", |b| {
        b.iter(|| {
            for data in &plain {
                black_box(LaxSlicedPacket::from_ethernet(data).ok());
            }
        });
    });
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
