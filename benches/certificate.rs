//! Certificates: read cold, remembered, and the floor under both.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sha2::Digest as _;
use tlswatch::x509::Certificate;
use tlswatch::x509::cache::CertificateCache;
use tlswatch::x509::chain::SignatureMemo;
use tlswatch::x509::signature::verify_certificate;

fn certificates(criterion: &mut Criterion) {
    let der = std::fs::read(format!("{}/tests/data/x509/full.der", env!("CARGO_MANIFEST_DIR"))).unwrap_or_default();
    let mut group = criterion.benchmark_group("certificate");
    group.throughput(Throughput::Elements(1));
    group.bench_function("floor: SHA-256 of the DER", |bencher| {
        bencher.iter(|| sha2::Sha256::digest(black_box(&der)));
    });
    group.bench_function("cold: hashes, facts and JSON", |bencher| {
        bencher.iter(|| Certificate::parse(black_box(&der)));
    });
    let cache = CertificateCache::new(32 << 20);
    group.bench_function("remembered", |bencher| {
        bencher.iter(|| cache.get_or_parse(black_box(&der)));
    });
    let certificate = Certificate::parse(&der);
    if let Some(facts) = certificate.facts.as_deref() {
        group.bench_function("signature RSA-2048", |bencher| {
            bencher.iter(|| verify_certificate(black_box(&certificate), &facts.key));
        });
        let memo = SignatureMemo::new(1 << 20);
        group.bench_function("signature remembered", |bencher| {
            bencher.iter(|| memo.verify(black_box(&certificate), facts));
        });
    }
    group.finish();
}

criterion_group!(benches, certificates);
criterion_main!(benches);
