//! Baselines of as many hosts as are remembered.

use std::sync::Arc;

use tlswatch::detect::hosts::Hosts;
use tlswatch::detect::hosts::record::{HostRecord, KnownCertificate, KnownIssuer, Made, NameSet, Standing};
use tlswatch::detect::hosts::table::MAX_HOSTS;
use tlswatch::detect::sighting::HostKey;
use tlswatch::time::Timestamp;
use tlswatch::x509::roots::TrustAnchors;

use crate::DIVISOR;

/// Issuers that all hosts have together.
const ISSUERS: u64 = 300;

/// Fills the memory of hosts beyond its bound with typical ones: an old and a new certificate of one issuer.
pub(crate) fn fill() -> Hosts {
    let mut hosts = Hosts::new(Arc::new(TrustAnchors::mozilla()), MAX_HOSTS);
    let most = MAX_HOSTS / DIVISOR as usize;
    for number in 0..most as u64 {
        hosts.restore(typical(number));
    }
    assert_eq!(hosts.table().len(), most);
    let counted = hosts.table().memory() / most;
    assert!(counted < 1_024, "{counted} bytes for a host");
    hosts
}

fn typical(number: u64) -> HostRecord {
    let key = HostKey { name: format!("host-number-{number}.example.com"), port: 443 };
    let mut record = HostRecord::new(&key, Timestamp::new(1_700_000_000, 0));
    let issuer = hash(number % ISSUERS);
    record.support = 40;
    record.certificates = [0, 1].map(|place| certificate(number * 2 + place, issuer)).into();
    let text = format!("CN=A Public Certification Authority {},O=Example Trust,C=US", number % ISSUERS);
    record.issuers = vec![KnownIssuer { key: issuer, authority: number % ISSUERS, text: text.into() }];
    record
}

fn certificate(number: u64, issuer: [u8; 32]) -> KnownCertificate {
    KnownCertificate {
        sha256: hash(number),
        spki: hash(!number),
        issuer,
        names: NameSet::of(&[number, number + 1]),
        serial: [7; 20],
        not_before: 1_690_000_000,
        not_after: 1_720_000_000,
        first: 0,
        last: 0,
        count: 20,
        strength: 112,
        standing: Standing::Accepted,
        trusted: true,
        public: true,
        self_signed: false,
        sct: true,
        name_matches: true,
        rsa: false,
        made: Made::Otherwise,
        clients: [number; 2],
        subnets: 1,
        servers: 1,
        shapes: 1,
        hour: 0,
        hour_clients: [[0; 2]; 2],
        hour_subnets: [0; 2],
        hour_counts: [0; 2],
        crowd: 0,
    }
}

/// Octets that differ from number to number.
fn hash(number: u64) -> [u8; 32] {
    let mut octets = [0; 32];
    octets[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    octets
}
