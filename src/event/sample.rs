//! Observations with every field filled, for tests.

use std::sync::Arc;

use crate::detect::alerts::{self, AlertStatus, Alerts, When};
use crate::detect::catalogue::UNEXPECTED_CERTIFICATE;
use crate::detect::finding::{Cause, Evidence, Finding, KnownHost, Point, Seen};
use crate::detect::observation::{ClientProof, Connection, Ends, KeyExchangeVerdict, Observation};
use crate::direction::Direction;
use crate::event::{
    AlertView, CertificateView, Context, Dataset, Detail, Memo, Observer, Side, StatsView, append_alert,
    append_certificate, append_stats, append_tls,
};
use crate::packet::{Encapsulation, Endpoint, Layer, Transport};
use crate::stats::Stats;
use crate::time::{Moment, Order, Timestamp, ValidityTime};
use crate::tls::{
    Alert, Anomaly, CertificateForm, CertificateList, CertificateRequest, CertificateVerify, ClientHello, Extension,
    Handshake, HandshakeEnd, KeyExchange, KeyShare, Progress, Protocol, ServerHello, ServerKeyExchange,
};
use crate::x509::{
    AlternativeName, Certificate, Facts, KeyKind, Name, NameConstraints, PublicKey, Sct, Sha256, Validation,
};

/// A TLS 1.2 handshake with everything that can be in an event, hostile names included.
pub(crate) fn observation() -> Observation {
    let moment = |nanos: u32, frame: u64| {
        let timestamp = Timestamp::new(1_717_221_305, nanos);
        let order = Order { clock: timestamp, frame, ordinal: 0 };
        Moment { order, timestamp, time_known: true, frame, file: 0, interface: 1 }
    };
    let mut encapsulation = Encapsulation::default();
    for layer in [Layer::Vlan(100), Layer::Vlan(200), Layer::Vxlan(5001), Layer::Vlan(300)] {
        encapsulation.push(layer);
    }
    let handshake = Handshake {
        protocol: Protocol::Tls,
        client: Some(Direction::LowToHigh),
        ordinal: 1,
        first: moment(298_706_000, 4),
        last: moment(347_345_000, 11),
        ended: moment(350_000_000, 12),
        end: HandshakeEnd::Done,
        client_hello: Some(Box::new(client_hello())),
        second_client_hello: Some(Box::new(client_hello())),
        hello_retry_request: Some(Box::new(ServerHello {
            key_share: Some(KeyShare { group: 24, public: 0..0 }),
            encrypted_client_hello: true,
            ..ServerHello::default()
        })),
        answered_after: Some(1_000_000),
        server_hello: Some(Box::new(server_hello())),
        server_certificates: Some(CertificateList { form: CertificateForm::Compressed(2), ..Default::default() }),
        client_certificates: Some(CertificateList { form: CertificateForm::RawPublicKey, ..Default::default() }),
        server_key_exchange: Some(Box::new(ServerKeyExchange {
            params: vec![0xff; 128].into(),
            kind: KeyExchange::Ecdhe { group: 29, public: 0..32 },
            signature_algorithm: Some(0x0403),
            signature: vec![].into(),
        })),
        certificate_request: Some(Box::new(CertificateRequest {
            certificate_types: vec![1, 64],
            signature_algorithms: vec![0x0403, 0x0804],
            authorities: vec![AUTHORITY.into()],
            authority_count: 1,
        })),
        ocsp_response: Some(vec![0x30].into()),
        certificate_verify: Some(Box::new(CertificateVerify {
            signature_algorithm: Some(0x0804),
            signature: vec![1].into(),
        })),
        transcript: None,
        new_session_ticket: Some((7_200, 192)),
        alerts: vec![
            Alert { direction: Direction::LowToHigh, level: 1, description: 90 },
            Alert { direction: Direction::HighToLow, level: 2, description: 48 },
        ],
        anomalies: vec![Anomaly::ServerGap, Anomaly::MultipleServerNames],
        client_progress: Progress { seen: true, ..Progress::default() },
        server_progress: Progress { seen: true, ..Progress::default() },
        resumed: Some(true),
        established: Some(false),
        complete: true,
        record_version: 0x0301,
        encrypted_lengths: Default::default(),
        client_encrypted_lengths: Default::default(),
    };
    Observation {
        ends: Ends {
            client: Endpoint { address: "10.84.1.49".parse().unwrap(), port: 55_349 },
            server: Endpoint { address: "17.248.236.64".parse().unwrap(), port: 443 },
            transport: Transport::Tcp,
            virtual_network: 5001,
        },
        connection: Connection {
            encapsulation,
            duplicate_packets: 3,
            server_seen: true,
            client_seen: true,
            syn_rtt: Some(1_000_000),
        },
        handshake: Box::new(handshake),
        server_chain: vec![Arc::new(certificate(0x11)), Arc::new(certificate(0x22))],
        client_chain: vec![Arc::new(certificate(0x33))],
        key_exchange: KeyExchangeVerdict::Good,
        client_proof: ClientProof::NotChecked,
        gist: None,
        copy: Default::default(),
    }
}

/// One event of each kind, with every field filled.
pub(crate) fn lines() -> Vec<(Dataset, String)> {
    let observer = Observer { hostname: Some("sensor.example.com".to_owned()), ..Observer::default() };
    let context = Context::new(&observer, Detail::Full);
    context.places().name_file(0, "captures/a.pcapng");
    context.places().name_file(1, "captures/b.pcapng");
    context.places().name_interface(0, 1, "eth1");
    let observation = observation();
    let mut unknown_time = observation.clone();
    unknown_time.handshake.first.time_known = false;
    unknown_time.handshake.last.file = 1;
    let handshake = &mut *unknown_time.handshake;
    std::mem::swap(&mut handshake.server_certificates, &mut handshake.client_certificates);
    let mut dhe = observation.clone();
    if let Some(exchange) = dhe.handshake.server_key_exchange.as_mut() {
        exchange.kind = KeyExchange::Dhe { prime: 0..128, generator: 0..1, public: 0..1 };
    }
    if let Some(hello) = dhe.handshake.client_hello.as_mut() {
        hello.server_name = Some(b"a\0\xff".to_vec().into());
    }
    let stats = Stats::default();
    let stats = StatsView { stats: &stats, start: Timestamp(0), end: Timestamp(9), sequence: 1 };
    let mut certificate = CertificateView::first(&observation, Side::Server, 0).unwrap();
    certificate.self_signed = Some(false);
    certificate.marks = &["TLSW-CERT-002"];
    certificate.change = Some("renewal_same_key");
    let broken = Certificate { facts: None, ..self::certificate(9) };
    let broken = CertificateView { certificate: &broken, ..certificate };

    let mut lines = Vec::new();
    let mut add = |dataset, append: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        append(&mut out);
        lines.push((dataset, String::from_utf8(out).unwrap()));
    };
    add(Dataset::Tls, &|out| append_tls(out, &observation, &context, &mut Memo::default()));
    add(Dataset::Tls, &|out| append_tls(out, &unknown_time, &context, &mut Memo::default()));
    add(Dataset::Tls, &|out| append_tls(out, &dhe, &context, &mut Memo::default()));
    add(Dataset::Certificate, &|out| append_certificate(out, &certificate, &context));
    add(Dataset::Certificate, &|out| append_certificate(out, &broken, &context));
    let alert = alert(observation.clone());
    let alert = AlertView { alert: &alert, status: AlertStatus::New };
    add(Dataset::Alert, &|out| append_alert(out, &alert, &context, &mut Memo::default()));
    add(Dataset::Stats, &|out| append_stats(out, &stats, &context));
    lines
}

/// DER of the name `CN=a`.
const AUTHORITY: &[u8] = &[0x30, 0x0c, 0x31, 0x0a, 0x30, 0x08, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, 0x01, b'a'];

fn client_hello() -> ClientHello {
    let extension = |kind| Extension { kind, body: 0..0 };
    ClientHello {
        raw: vec![0; 300].into(),
        ssl2_format: true,
        legacy_version: 0x0303,
        random: [7; 32],
        session_id: vec![1; 32].into(),
        cipher_suites: vec![0x0a0a, 0x1301, 0xc02b, 0xfff0].into(),
        compression_methods: vec![0, 1, 200].into(),
        extensions: vec![extension(0x1a1a), extension(0), extension(43), extension(0xfe99)].into(),
        has_extensions: true,
        server_name: Some(b"www.example.com".to_vec().into()),
        supported_versions: vec![0x2a2a, 0x0304, 0x7f1c, 0x0303].into(),
        groups: vec![0x3a3a, 0x11ec, 29, 23].into(),
        point_formats: vec![0, 9].into(),
        signature_algorithms: vec![0x0403, 0x0804].into(),
        key_shares: vec![KeyShare { group: 0x11ec, public: 0..0 }, KeyShare { group: 29, public: 0..0 }].into(),
        alpn: vec![b"h2".to_vec().into(), b"http/1.1".to_vec().into()].into(),
        psk_identities: vec![0..1, 1..2],
        psk_modes: vec![1].into(),
        session_ticket: Some(0..160),
        early_data: true,
        encrypted_client_hello: true,
        certificate_compression: vec![2].into(),
        status_request: true,
        signed_certificate_timestamp: true,
    }
}

fn server_hello() -> ServerHello {
    ServerHello {
        raw: vec![0; 80].into(),
        legacy_version: 0x0303,
        cipher_suite: Some(0xc02b),
        session_id: vec![1; 32].into(),
        compression_method: 1,
        extensions: vec![Extension { kind: 16, body: 0..0 }].into(),
        has_extensions: true,
        key_share: Some(KeyShare { group: 29, public: 0..0 }),
        selected_psk: Some(0),
        selected_version: Some(0x7f1c),
        alpn: Some(b"h2".to_vec().into()),
        session_ticket: true,
        status_request: true,
        scts: Some(0..10),
        ..ServerHello::default()
    }
}

/// An alert with every field filled.
pub(crate) fn alert(observation: Observation) -> alerts::Alert {
    let point = |id| Point {
        id,
        points: -5,
        text: "an issuer \u{1b}[2J never seen".to_owned(),
        observed: Some("CN=a".to_owned()),
        expected: Some("CN=b".to_owned()),
    };
    let cause = Cause::IssuerKey(Sha256([7; 32]));
    let message = "www.example.com gave client 10.84.1.49 a certificate of an issuer never seen".to_owned();
    let mut finding = Finding::new(&UNEXPECTED_CERTIFICATE, cause, observation.handshake.first, message);
    finding.host = "www.example.com:443".into();
    finding.ends = Some(observation.ends);
    finding.certificate = observation.server_chain.first().cloned();
    finding.suppressed_by = Some(3);
    finding.evidence = Evidence {
        verdict: "unexpected".to_owned(),
        score: Some(75),
        proofs: vec![point("P3")],
        pro: vec![point("H1")],
        contra: vec![point("B1")],
        baseline: Some(KnownHost {
            support: 3,
            since: Some(Timestamp(0)),
            clients: 2,
            clients_more: true,
            certificates: vec![Sha256([1; 32])],
            issuers: vec!["CN=b".to_owned()],
            phase: "learning",
        }),
        observed: Some(Seen { sct: Some(false), chain_status: "incomplete", ..Seen::default() }),
        next_steps: vec!["look".to_owned()],
    }
    .into();
    let mut alerts = Alerts::new(When::AtOnce);
    let observation = Arc::new(observation);
    let (key, _) = alerts.take(&finding, || Some(Arc::clone(&observation)), Timestamp(0)).unwrap();
    for host in 0..5_000 {
        finding.host = format!("h{host}.example.com:443").into();
        finding.moment.order.frame += 1;
        if let Some(ends) = &mut finding.ends {
            ends.client.address = std::net::IpAddr::V4((0x0a54_0131 + host).into());
        }
        alerts.take(&finding, || None, Timestamp(0));
    }
    alerts.get(&key).unwrap().clone()
}

/// A certificate with every fact, its digests made of `seed`.
pub(crate) fn certificate(seed: u8) -> Certificate {
    let name = |text: &str| Name {
        der: AUTHORITY.into(),
        text: text.to_owned(),
        normalized: text.to_owned(),
        common_names: vec!["www.example.com".to_owned()],
        emails: vec!["a@example.com".to_owned()],
        ..Name::default()
    };
    let facts = Facts {
        version: 3,
        serial: vec![0x4a, 0x96].into(),
        subject: name("CN=www.example.com,O=Example \u{202e}Org"),
        issuer: Name { common_names: vec!["Example CA".to_owned()], ..name("CN=Example CA,O=Example") },
        not_before: Some(ValidityTime(1_698_061_354)),
        not_after: Some(ValidityTime(1_732_189_353)),
        key: PublicKey { kind: KeyKind::Rsa, oid: "1.2.840.113549.1.1.1".to_owned(), bits: 2048, ..Default::default() },
        spki_sha256: Sha256([seed ^ 0xff; 32]),
        signature_oid: "1.2.840.113549.1.1.11".to_owned(),
        signature_algorithm: "SHA256-RSA".to_owned(),
        alternative_names: vec![
            AlternativeName::Dns("www.example.com".to_owned()),
            AlternativeName::Dns("*.example.com".to_owned()),
            AlternativeName::Dns("mail.example.com".to_owned()),
            AlternativeName::Ip("192.0.2.1".parse().unwrap()),
            AlternativeName::Email("a@example.com".to_owned()),
            AlternativeName::Uri("spiffe://example.com/a".to_owned()),
            AlternativeName::Directory("CN=a".to_owned()),
            AlternativeName::Other("otherName:1.2.3".to_owned()),
        ],
        basic_constraints: Some((true, Some(0))),
        key_usage: Some(0b1_0110_0001),
        extended_key_usage: Some(vec!["1.3.6.1.5.5.7.3.1".to_owned(), "1.2.3.4".to_owned()]),
        subject_key_identifier: Some(vec![1; 20].into()),
        authority_key_identifier: Some(vec![2; 20].into()),
        authority_serial: Some(vec![3].into()),
        ocsp_urls: vec!["http://ocsp.example.com".to_owned()],
        ca_issuer_urls: vec!["http://ca.example.com/ca.crt".to_owned()],
        crl_urls: vec!["http://ca.example.com/ca.crl".to_owned()],
        policies: vec!["2.23.140.1.2.1".to_owned()],
        validation: Some(Validation::DomainValidated),
        scts: vec![Sct::default(), Sct::default()],
        precertificate: true,
        must_staple: true,
        name_constraints: Some(NameConstraints::default()),
        extensions: vec![("2.5.29.19".to_owned(), true), ("2.5.29.15".to_owned(), false)],
        bad_extensions: vec!["2.5.29.14".to_owned()],
        oddities: vec!["negative_serial"],
        ..Facts::default()
    };
    Certificate {
        der: vec![0x30, seed].into(),
        sha256: Sha256([seed; 32]),
        sha1: [seed; 20],
        md5: [seed; 16],
        facts: Some(Box::new(facts)),
        x509_json: X509.into(),
        ..Certificate::default()
    }
}

const X509: &str = r#"{"version_number":"3","serial_number":"4A96","issuer":{"distinguished_name":"CN=Example CA,O=Example","common_name":["Example CA"],"organization":["Example"]},"subject":{"distinguished_name":"CN=www.example.com","common_name":["www.example.com"]},"not_before":"2023-10-23T11:42:34.000Z","not_after":"2024-11-21T11:42:33.000Z","signature_algorithm":"SHA256-RSA","public_key_algorithm":"RSA","public_key_size":2048,"public_key_exponent":65537,"alternative_names":["www.example.com"]}"#;
