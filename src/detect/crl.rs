//! Certificate revocation lists (RFC 5280 section 5). Octets in, tables out; the signature is checked by whoever has
//! the issuer's key.

use std::collections::HashMap;

use thiserror::Error;
use x509_parser::extensions::ParsedExtension;
use x509_parser::pem::Pem;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use crate::time::ValidityTime;

/// A CRL as its octets say; nothing in it counts before [`Crl::is_signed`] says so.
#[derive(Clone, Debug)]
pub struct Crl {
    /// DER of the issuer's name.
    pub issuer: Box<[u8]>,
    /// `authorityKeyIdentifier.keyIdentifier`.
    pub authority_key_identifier: Option<Box<[u8]>>,
    /// When it was made.
    pub this_update: ValidityTime,
    /// When the next one is due.
    pub next_update: Option<ValidityTime>,
    /// Content octets of serial numbers without leading zeros.
    revoked: HashMap<Vec<u8>, Revoked>,
    signed: Box<[u8]>,
    signature_oid: String,
    signature: Box<[u8]>,
}

/// One revoked certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Since when.
    pub date: ValidityTime,
    /// CRLReason (RFC 5280 section 5.3.1); 0 where none is given.
    pub reason: u8,
}

impl Revoked {
    /// keyCompromise, cACompromise or aACompromise.
    pub fn is_compromise(self) -> bool {
        matches!(self.reason, 1 | 2 | 10)
    }
}

/// Why octets are no CRL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CrlError {
    /// Neither DER nor PEM of a CRL.
    #[error("not a certificate revocation list in DER or PEM")]
    NotACrl,
}

impl Crl {
    /// Reads one CRL in DER or any number in PEM.
    ///
    /// # Errors
    /// [`CrlError::NotACrl`] where there is none, or one of them is broken.
    pub fn read(octets: &[u8]) -> Result<Vec<Self>, CrlError> {
        if octets.first() == Some(&0x30) {
            return Self::of_der(octets).map(|crl| vec![crl]);
        }
        let mut crls = Vec::new();
        for pem in Pem::iter_from_buffer(octets) {
            let pem = pem.map_err(|_| CrlError::NotACrl)?;
            if pem.label == "X509 CRL" {
                crls.push(Self::of_der(&pem.contents)?);
            }
        }
        if crls.is_empty() { Err(CrlError::NotACrl) } else { Ok(crls) }
    }

    fn of_der(der: &[u8]) -> Result<Self, CrlError> {
        let (_, crl) = CertificateRevocationList::from_der(der).map_err(|_| CrlError::NotACrl)?;
        let key_identifier = crl.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(identifier) => {
                identifier.key_identifier.as_ref().map(|id| id.0.into())
            }
            _ => None,
        });
        let mut revoked = HashMap::new();
        for entry in crl.iter_revoked_certificates() {
            let reason = entry.reason_code().map_or(0, |(_, reason)| reason.0);
            let date = ValidityTime(entry.revocation_date.timestamp());
            revoked.insert(without_zeros(entry.raw_serial()), Revoked { date, reason });
        }
        Ok(Self {
            issuer: crl.issuer().as_raw().into(),
            authority_key_identifier: key_identifier,
            this_update: ValidityTime(crl.last_update().timestamp()),
            next_update: crl.next_update().map(|time| ValidityTime(time.timestamp())),
            revoked,
            signed: crl.tbs_cert_list.as_ref().into(),
            signature_oid: crl.signature_algorithm.algorithm.to_id_string(),
            signature: crl.signature_value.data.as_ref().into(),
        })
    }

    /// Whether it is signed: `verify` gets the signed octets, the OID of the algorithm and the signature, and knows the
    /// issuer's key.
    pub fn is_signed(&self, verify: impl FnOnce(&[u8], &str, &[u8]) -> bool) -> bool {
        verify(&self.signed, &self.signature_oid, &self.signature)
    }

    /// The entry of a serial number (content octets) that holds at a time. Entries that take a certificate off the list
    /// (removeFromCRL) and such of a later date do not hold.
    pub fn revoked(&self, serial: &[u8], at: ValidityTime) -> Option<Revoked> {
        self.revoked.get(&without_zeros(serial)).copied().filter(|entry| entry.reason != 8 && entry.date <= at)
    }

    /// Whether a newer one should be there by now.
    pub fn is_stale(&self, at: ValidityTime) -> bool {
        self.next_update.is_some_and(|next| next < at)
    }
}

fn without_zeros(serial: &[u8]) -> Vec<u8> {
    serial.iter().copied().skip_while(|octet| *octet == 0).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer, KeyIdMethod, KeyPair,
        KeyUsagePurpose, RevocationReason, RevokedCertParams, SerialNumber, date_time_ymd,
    };

    use super::*;

    fn example() -> rcgen::CertificateRevocationList {
        let mut ca = CertificateParams::new(vec![]).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::CrlSign];
        let issuer = Issuer::new(ca, KeyPair::generate().unwrap());
        let entry = |serial: &[u8], reason| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: date_time_ymd(2024, 6, 1),
            reason_code: reason,
            invalidity_date: None,
        };
        CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 6, 2),
            next_update: date_time_ymd(2024, 7, 2),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: vec![
                entry(&[0x80, 1], Some(RevocationReason::KeyCompromise)),
                entry(&[2], None),
                entry(&[3], Some(RevocationReason::RemoveFromCrl)),
            ],
            key_identifier_method: KeyIdMethod::Sha256,
        }
        .signed_by(&issuer)
        .unwrap()
    }

    #[test]
    fn der_and_pem_say_the_same() {
        let example = example();
        let june = ValidityTime(1_717_200_000);
        for octets in [example.der().to_vec(), format!("text\n{}", example.pem().unwrap()).into_bytes()] {
            let crls = Crl::read(&octets).unwrap();
            let [crl] = crls.as_slice() else { panic!("one list") };
            assert!(crl.revoked(&[0x80, 1], june).is_some_and(Revoked::is_compromise));
            assert!(crl.revoked(&[0, 0x80, 1], june).is_some());
            assert!(crl.revoked(&[2], june).is_some_and(|entry| !entry.is_compromise()));
            assert_eq!(crl.revoked(&[3], june), None, "removed from the list");
            assert_eq!(crl.revoked(&[4], june), None, "not in the list");
            assert_eq!(crl.revoked(&[2], ValidityTime(june.0 - 1)), None, "not yet revoked");
            assert!(!crl.is_stale(ValidityTime(1_719_878_400)) && crl.is_stale(ValidityTime(1_719_878_401)));
            assert!(crl.is_signed(|signed, oid, signature| {
                !signature.is_empty() && oid == "1.2.840.10045.4.3.2" && octets_hold(example.der(), signed)
            }));
        }
    }

    fn octets_hold(all: &[u8], part: &[u8]) -> bool {
        all.windows(part.len()).any(|window| window == part)
    }

    #[test]
    fn truncated_everywhere() {
        let example = example();
        for length in 0..example.der().len() {
            assert_eq!(Crl::read(example.der().get(..length).unwrap()).err(), Some(CrlError::NotACrl));
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_safe(octets: Vec<u8>) {
            let _ = Crl::read(&octets);
        }
    }
}
