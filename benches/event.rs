//! What it costs to render a handshake as an event. The goal is 5 us in full detail.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tlswatch::detect::observation::{Connection, Ends, Observation};
use tlswatch::event::{Context, Detail, Memo, Observer, append_tls};
use tlswatch::packet::{Endpoint, Transport};
use tlswatch::tls::{ClientHello, Extension, Handshake, KeyShare, ServerHello};
use tlswatch::x509::{AlternativeName, Certificate, Facts};

fn observation() -> Observation {
    let extension = |kind| Extension { kind, body: 0..0 };
    let hello = ClientHello {
        legacy_version: 0x0303,
        session_id: vec![1; 32].into(),
        cipher_suites: vec![
            0x0a0a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c,
            0x009d, 0x002f, 0x0035,
        ]
        .into(),
        compression_methods: vec![0].into(),
        extensions: [0x1a1a, 0, 23, 65281, 10, 11, 35, 16, 5, 13, 18, 51, 45, 43, 27, 0x2a2a]
            .map(extension)
            .to_vec()
            .into(),
        has_extensions: true,
        server_name: Some(b"p130-contacts.example.com".to_vec().into()),
        supported_versions: vec![0x3a3a, 0x0304, 0x0303].into(),
        groups: vec![0x4a4a, 0x11ec, 29, 23, 24].into(),
        point_formats: vec![0].into(),
        signature_algorithms: vec![0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601].into(),
        key_shares: vec![KeyShare { group: 0x11ec, public: 0..0 }, KeyShare { group: 29, public: 0..0 }].into(),
        alpn: vec![b"h2".to_vec().into(), b"http/1.1".to_vec().into()].into(),
        psk_modes: vec![1].into(),
        certificate_compression: vec![2].into(),
        ..ClientHello::default()
    };
    let answer = ServerHello {
        legacy_version: 0x0303,
        cipher_suite: Some(0xc02b),
        extensions: [65281, 11, 16, 23].map(extension).to_vec().into(),
        has_extensions: true,
        ..ServerHello::default()
    };
    let facts = Facts {
        alternative_names: (0..16).map(|n| AlternativeName::Dns(format!("p{n}-contacts.example.com"))).collect(),
        ..Facts::default()
    };
    // About the length of the object of a certificate with 16 names.
    let x509_json = format!("{{\"serial_number\":\"{}\"}}", "4A".repeat(700)).into();
    let certificate = Arc::new(Certificate { facts: Some(Box::new(facts)), x509_json, ..Certificate::default() });
    Observation {
        ends: Ends {
            client: Endpoint { address: [10, 84, 1, 49].into(), port: 55_349 },
            server: Endpoint { address: [17, 248, 236, 64].into(), port: 443 },
            transport: Transport::Tcp,
            virtual_network: 0,
        },
        connection: Connection { server_seen: true, client_seen: true, ..Connection::default() },
        key_exchange: Default::default(),
        client_proof: Default::default(),
        gist: None,
        copy: Default::default(),
        handshake: Box::new(Handshake {
            client_hello: Some(Box::new(hello)),
            server_hello: Some(Box::new(answer)),
            established: Some(true),
            resumed: Some(false),
            complete: true,
            ..Handshake::default()
        }),
        server_chain: vec![Arc::clone(&certificate), certificate],
        client_chain: Vec::new(),
    }
}

fn render(criterion: &mut Criterion) {
    let observation = observation();
    let mut out = Vec::new();
    let mut group = criterion.benchmark_group("event");
    group.throughput(Throughput::Elements(1));
    append_tls(&mut out, &observation, &Context::new(&Observer::default(), Detail::Full), &mut Memo::default());
    let line = out.clone();
    group.bench_function("floor: copy the full line", |bencher| {
        bencher.iter(|| {
            out.clear();
            out.extend_from_slice(black_box(&line));
            out.len()
        });
    });
    for (name, detail) in [("full", Detail::Full), ("standard", Detail::Standard), ("lean", Detail::Lean)] {
        let context = Context::new(&Observer::default(), detail);
        let mut memo = Memo::default();
        group.bench_function(format!("tls/{name}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                append_tls(&mut out, black_box(&observation), &context, &mut memo);
                out.len()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, render);
criterion_main!(benches);
