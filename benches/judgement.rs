//! What checking a ServerKeyExchange costs beside the bare check of the library.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ring::signature as bare;
use tlswatch::detect::proof::KeyExchangeVerdict;
use tlswatch::tls::{ClientHello, Handshake, ServerHello, ServerKeyExchange};
use tlswatch::x509::Certificate;

/// A handshake whose signed octets are the TBSCertificate of a self-signed certificate: so its signature is at hand.
fn handshake(certificate: &Certificate, scheme: u16) -> Option<Handshake> {
    let facts = certificate.facts.as_deref()?;
    let signed = certificate.der.get(facts.tbs.clone())?;
    let (client, rest) = signed.split_first_chunk()?;
    let (server, params) = rest.split_first_chunk()?;
    Some(Handshake {
        client_hello: Some(Box::new(ClientHello { random: *client, ..ClientHello::default() })),
        server_hello: Some(Box::new(ServerHello { random: *server, ..ServerHello::default() })),
        server_key_exchange: Some(Box::new(ServerKeyExchange {
            params: params.into(),
            signature_algorithm: Some(scheme),
            signature: facts.signature.clone(),
            ..ServerKeyExchange::default()
        })),
        complete: true,
        ..Handshake::default()
    })
}

fn key_exchange(criterion: &mut Criterion) {
    let rsa = std::fs::read(format!("{}/tests/data/x509/full.der", env!("CARGO_MANIFEST_DIR"))).unwrap_or_default();
    let ecdsa = rcgen::generate_simple_self_signed(["www.example.com".to_owned()]);
    let ecdsa = ecdsa.map(|made| made.cert.der().to_vec()).unwrap_or_default();
    let mut group = criterion.benchmark_group("key exchange");
    group.throughput(Throughput::Elements(1));
    for (name, der, scheme) in [("RSA-2048", rsa, 0x0401), ("P-256", ecdsa, 0x0403)] {
        let certificate = Certificate::parse(&der);
        let (Some(handshake), Some(facts)) = (handshake(&certificate, scheme), certificate.facts.as_deref()) else {
            continue;
        };
        assert_eq!(KeyExchangeVerdict::of(&handshake, Some(&certificate)), KeyExchangeVerdict::Good);
        let signed = certificate.der.get(facts.tbs.clone()).unwrap_or_default();
        group.bench_function(format!("floor: ring, {name}"), |bencher| {
            bencher.iter(|| match scheme {
                0x0401 => bare::RsaPublicKeyComponents { n: &facts.key.modulus, e: &facts.key.exponent }
                    .verify(&bare::RSA_PKCS1_2048_8192_SHA256, black_box(signed), &facts.signature)
                    .is_ok(),
                _ => bare::UnparsedPublicKey::new(&bare::ECDSA_P256_SHA256_ASN1, &facts.key.bytes)
                    .verify(black_box(signed), &facts.signature)
                    .is_ok(),
            });
        });
        group.bench_function(format!("verdict, {name}"), |bencher| {
            bencher.iter(|| KeyExchangeVerdict::of(black_box(&handshake), Some(&certificate)));
        });
    }
    group.finish();
}

criterion_group!(benches, key_exchange);
criterion_main!(benches);
