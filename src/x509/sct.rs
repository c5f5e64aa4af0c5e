//! Signed certificate timestamps embedded in a certificate (RFC 6962 section 3): whether a log that is known made one.
//!
//! A log signs the certificate as it was before the timestamps were put into it, together with the key of its issuer. A
//! timestamp copied from another certificate verifies for nothing else.

use std::collections::HashMap;

use sha2::Digest as _;

use super::der::{self, Element, Reader};
use super::signature::{Verdict, verify_tls};
use super::{Certificate, PublicKey, Sha256, key};

/// Timestamps of a certificate that are verified.
const MAX_TIMESTAMPS: usize = 16;
/// OID 1.3.6.1.4.1.11129.2.4.2 as encoded: the list of timestamps.
const LIST: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xd6, 0x79, 0x02, 0x04, 0x02];
/// Extensions of a TBSCertificate: `[3]`, constructed.
const EXTENSIONS: u8 = 0xa3;

/// Keys of logs by their id, the SHA-256 of the key.
#[derive(Clone, Debug, Default)]
pub struct Logs(HashMap<[u8; 32], Log>);

#[derive(Clone, Debug)]
struct Log {
    key: PublicKey,
    /// Milliseconds since the epoch from which on its timestamps count for nothing.
    until: u64,
}

impl Logs {
    /// Adds the key of a log (SubjectPublicKeyInfo, DER), whose timestamps count up to a time (milliseconds since the
    /// epoch, exclusive). `false` when it is no key.
    pub fn add(&mut self, spki: &[u8], until: Option<u64>) -> bool {
        let Some(element) = Reader::new(spki).tagged(der::SEQUENCE).filter(|one| one.whole.len() == spki.len()) else {
            return false;
        };
        let mut odd = Vec::new();
        let key = key::parse(&element, &mut odd);
        if !odd.is_empty() || key.bytes.is_empty() {
            return false;
        }
        self.0.insert(sha2::Sha256::digest(spki).into(), Log { key, until: until.unwrap_or(u64::MAX) });
        true
    }

    /// Number of logs.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// There are none: no timestamp verifies.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of these logs signed a timestamp in this certificate of the issuer with this key.
    pub fn vouch_for(&self, certificate: &Certificate, issuer: &Sha256) -> bool {
        if self.is_empty() {
            return false;
        }
        let Some((before, list)) = without_timestamps(certificate) else { return false };
        let good = |timestamp: &Timestamp<'_>| {
            let log = self.0.get(timestamp.log).filter(|log| timestamp.milliseconds < log.until);
            let message = timestamp.signed(issuer, &before);
            log.zip(message).is_some_and(|(log, message)| {
                verify_tls(&log.key, Some(timestamp.scheme), &message, timestamp.signature) == Verdict::Good
            })
        };
        timestamps(list).iter().any(good)
    }
}

/// One entry of the list.
struct Timestamp<'a> {
    log: &'a [u8; 32],
    milliseconds: u64,
    extensions: &'a [u8],
    /// Hash and signature algorithm of TLS 1.2.
    scheme: u16,
    signature: &'a [u8],
}

impl Timestamp<'_> {
    /// What the log signed; `None` when it is too long.
    fn signed(&self, issuer: &Sha256, before: &[u8]) -> Option<Vec<u8>> {
        let [0, length @ ..] = u32::try_from(before.len()).ok()?.to_be_bytes() else { return None };
        // Version 1, certificate_timestamp; precert_entry behind the time.
        let mut message = vec![0, 0];
        message.extend_from_slice(&self.milliseconds.to_be_bytes());
        message.extend_from_slice(&[0, 1]);
        message.extend_from_slice(&issuer.0);
        message.extend_from_slice(&length);
        message.extend_from_slice(before);
        message.extend_from_slice(&u16::try_from(self.extensions.len()).ok()?.to_be_bytes());
        message.extend_from_slice(self.extensions);
        Some(message)
    }
}

/// The entries of a SignedCertificateTimestampList that are of version 1 and whole.
fn timestamps(list: &[u8]) -> Vec<Timestamp<'_>> {
    let Some((mut entries, _)) = vector(list) else { return Vec::new() };
    let mut found = Vec::new();
    while let Some((entry, rest)) = vector(entries).filter(|_| found.len() < MAX_TIMESTAMPS) {
        found.extend(timestamp(entry));
        entries = rest;
    }
    found
}

fn timestamp(entry: &[u8]) -> Option<Timestamp<'_>> {
    let (&version, rest) = entry.split_first()?;
    let (log, rest) = rest.split_first_chunk()?;
    let (milliseconds, rest) = rest.split_first_chunk()?;
    let (extensions, rest) = vector(rest)?;
    let (scheme, rest) = rest.split_first_chunk()?;
    let (signature, rest) = vector(rest)?;
    (version == 0 && rest.is_empty()).then_some(Timestamp {
        log,
        milliseconds: u64::from_be_bytes(*milliseconds),
        extensions,
        scheme: u16::from_be_bytes(*scheme),
        signature,
    })
}

/// Octets behind their length in two octets, and what follows.
fn vector(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = octets.split_first_chunk()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}

/// The TBSCertificate without its timestamps, and their list.
fn without_timestamps(certificate: &Certificate) -> Option<(Vec<u8>, &[u8])> {
    let facts = certificate.facts.as_deref()?;
    let tbs = Reader::new(certificate.der.get(facts.tbs.clone())?).tagged(der::SEQUENCE)?;
    let mut list = None;
    let mut fields = Vec::with_capacity(tbs.content.len());
    for field in tbs.reader() {
        if field.tag != EXTENSIONS {
            fields.extend_from_slice(field.whole);
            continue;
        }
        let mut kept = Vec::with_capacity(field.content.len());
        for extension in field.reader().tagged(der::SEQUENCE)?.reader() {
            match list_of(&extension) {
                Some(found) => list = Some(found),
                None => kept.extend_from_slice(extension.whole),
            }
        }
        fields.extend(element(EXTENSIONS, &element(der::SEQUENCE, &kept)));
    }
    Some((element(der::SEQUENCE, &fields), list?))
}

/// The list in an extension of timestamps.
fn list_of<'a>(extension: &Element<'a>) -> Option<&'a [u8]> {
    let mut fields = extension.reader();
    fields.tagged(der::OID).filter(|oid| oid.content == LIST)?;
    let _critical = fields.tagged(der::BOOLEAN);
    Some(fields.tagged(der::OCTET_STRING)?.reader().tagged(der::OCTET_STRING)?.content)
}

/// DER of one value.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant: Vec<u8> = length.into_iter().skip_while(|octet| *octet == 0).collect();
    let mut whole = Vec::with_capacity(content.len() + 10);
    whole.push(tag);
    match (significant.as_slice(), u8::try_from(significant.len())) {
        ([], _) => whole.push(0),
        ([short], _) if *short < 0x80 => whole.push(*short),
        (long, count) => {
            whole.push(0x80 | count.unwrap_or(8));
            whole.extend_from_slice(long);
        }
    }
    whole.extend_from_slice(content);
    whole
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rcgen::{CertificateParams, CustomExtension, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

    /// The list of one timestamp that a log makes of this TBSCertificate.
    fn list(log: &KeyPair, (issuer, before): (&Sha256, &[u8]), milliseconds: u64) -> Vec<u8> {
        let id: [u8; 32] = sha2::Sha256::digest(log.subject_public_key_info()).into();
        let unsigned = Timestamp { log: &id, milliseconds, extensions: b"ext", scheme: 0x0403, signature: &[] };
        let message = unsigned.signed(issuer, before).unwrap();
        let random = ring::rand::SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &log.serialize_der(), &random).unwrap();
        let signature = key.sign(&random, &message).unwrap();
        let vector = |octets: &[u8]| [&u16::try_from(octets.len()).unwrap().to_be_bytes(), octets].concat();
        let entry = [
            &[0][..],
            &id,
            &milliseconds.to_be_bytes(),
            &vector(b"ext"),
            &0x0403_u16.to_be_bytes(),
            &vector(signature.as_ref()),
        ];
        vector(&vector(&entry.concat()))
    }

    /// A certificate with a timestamp of this log, made at this time.
    pub(crate) fn logged(
        params: &CertificateParams,
        (key, issuer, above): (&KeyPair, &Issuer<'_, KeyPair>, &Sha256),
        (log, milliseconds): (&KeyPair, u64),
    ) -> Certificate {
        let before = Certificate::parse(params.signed_by(key, issuer).unwrap().der());
        let tbs = before.der.get(before.facts.as_ref().unwrap().tbs.clone()).unwrap();
        let list = element(der::OCTET_STRING, &list(log, (above, tbs), milliseconds));
        let mut params = params.clone();
        params.custom_extensions.push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 11_129, 2, 4, 2], list));
        Certificate::parse(params.signed_by(key, issuer).unwrap().der())
    }

    struct World {
        ca: KeyPair,
        ca_params: CertificateParams,
        above: Sha256,
        log: KeyPair,
        leaf: KeyPair,
    }

    fn world() -> World {
        let key = || KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut ca_params = CertificateParams::default();
        ca_params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca = key();
        let above = Sha256(sha2::Sha256::digest(ca.subject_public_key_info()).into());
        World { ca, ca_params, above, log: key(), leaf: key() }
    }

    fn params(names: usize) -> CertificateParams {
        let names: Vec<String> = (0..names).map(|number| format!("host-{number}.example.com")).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[7; 16]));
        params
    }

    #[test]
    fn a_timestamp_counts_for_its_certificate_issuer_log_and_time() {
        let world = world();
        let issuer = Issuer::new(world.ca_params.clone(), KeyPair::try_from(world.ca.serialize_der()).unwrap());
        let mut logs = Logs::default();
        assert!(logs.add(&world.log.subject_public_key_info(), Some(1_000)));
        // Lengths of one, two and three octets around what is taken out.
        for names in [1, 3, 20, 3_000] {
            let by = (&world.leaf, &issuer, &world.above);
            let good = logged(&params(names), by, (&world.log, 999));
            assert_eq!(good.facts.as_ref().unwrap().scts.len(), 1);
            assert!(logs.vouch_for(&good, &world.above), "{names}");
            assert!(!logs.vouch_for(&good, &Sha256([1; 32])), "another issuer");
            assert!(!logs.vouch_for(&logged(&params(names), by, (&world.log, 1_000)), &world.above), "retired");
            assert!(!logs.vouch_for(&logged(&params(names), by, (&world.leaf, 999)), &world.above), "no log");
        }
        assert!(
            !Logs::default()
                .vouch_for(&logged(&params(1), (&world.leaf, &issuer, &world.above), (&world.log, 1)), &world.above)
        );
        // Copied into another certificate.
        let good = logged(&params(1), (&world.leaf, &issuer, &world.above), (&world.log, 999));
        let (_, list) = without_timestamps(&good).unwrap();
        let mut other = params(2);
        let list = element(der::OCTET_STRING, list);
        other.custom_extensions.push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 11_129, 2, 4, 2], list));
        let copied = Certificate::parse(other.signed_by(&world.leaf, &issuer).unwrap().der());
        assert!(copied.facts.as_ref().unwrap().scts.len() == 1 && !logs.vouch_for(&copied, &world.above));
        // None at all.
        let bare = Certificate::parse(params(1).signed_by(&world.leaf, &issuer).unwrap().der());
        assert!(!logs.vouch_for(&bare, &world.above));
    }

    #[test]
    fn damage_is_no_timestamp() {
        let world = world();
        let issuer = Issuer::new(world.ca_params.clone(), KeyPair::try_from(world.ca.serialize_der()).unwrap());
        let mut logs = Logs::default();
        logs.add(&world.log.subject_public_key_info(), None);
        let good = logged(&params(1), (&world.leaf, &issuer, &world.above), (&world.log, 5));
        let (_, list) = without_timestamps(&good).unwrap();
        assert_eq!(timestamps(list).len(), 1);
        for length in 0..list.len() {
            assert!(timestamps(&list[..length]).is_empty(), "{length}");
        }
        // Any bit of what is signed, and of the signature; what was changed may not parse at all.
        for place in (0..good.der.len()).step_by(3) {
            let mut octets = good.der.to_vec();
            octets[place] ^= 1;
            let changed = Certificate::parse(&octets);
            let tbs = changed.facts.as_ref().map(|facts| facts.tbs.clone());
            let inside = tbs.is_some_and(|tbs| tbs.contains(&place));
            assert!(!(inside && logs.vouch_for(&changed, &world.above)), "{place}");
        }
        let many = list.get(2..).unwrap().repeat(MAX_TIMESTAMPS + 9);
        let many = [&u16::try_from(many.len()).unwrap().to_be_bytes(), &many[..]].concat();
        assert_eq!(timestamps(&many).len(), MAX_TIMESTAMPS);
    }

    #[test]
    fn only_keys_are_logs() {
        let mut logs = Logs::default();
        let spki = world().log.subject_public_key_info();
        for bad in [&[][..], &[0x30, 0], &spki[1..], &[&spki[..], &[0]].concat()] {
            assert!(!logs.add(bad, None));
        }
        assert!(logs.is_empty() && logs.add(&spki, None) && logs.len() == 1);
    }
}
