//! Certificate revocation lists (RFC 5280 section 5). Octets in, tables out; the signature is checked by whoever has
//! the issuer's key.

mod scope;

use std::collections::HashMap;

use thiserror::Error;
use x509_parser::extensions::{ParsedExtension, X509Extension};
use x509_parser::pem::Pem;
use x509_parser::prelude::{CertificateRevocationList, FromDer};
use x509_parser::revocation_list::RevokedCertificate;

use crate::time::ValidityTime;
use crate::x509::name::name_of;

pub use scope::{About, Scope};
use scope::{CERTIFICATE_ISSUER, DELTA, ENTRY_EXTENSIONS, EXTENSIONS, NUMBER, POINT, issuers, number};

/// A CRL as its octets say; nothing in it counts before [`Crl::is_signed`] says so.
#[derive(Clone, Debug)]
pub struct Crl {
    /// Normal form of the issuer's name (RFC 5280 section 7.1).
    pub issuer: Box<str>,
    /// `authorityKeyIdentifier.keyIdentifier`.
    pub authority_key_identifier: Option<Box<[u8]>>,
    /// cRLNumber without leading zeros; empty where it has none.
    pub number: Box<[u8]>,
    /// When it was made.
    pub this_update: ValidityTime,
    /// When the next one is due.
    pub next_update: Option<ValidityTime>,
    /// Which certificates it is about.
    pub scope: Scope,
    /// Why it must not be used; it lists nothing then.
    pub unusable: Option<Unusable>,
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
    /// invalidityDate (RFC 5280 section 5.3.2): since when the certificate is known or suspected to be invalid.
    pub invalid: Option<ValidityTime>,
}

impl Revoked {
    /// keyCompromise, cACompromise or aACompromise.
    pub fn is_compromise(self) -> bool {
        matches!(self.reason, 1 | 2 | 10)
    }

    /// All but certificateHold and removeFromCRL (RFC 5280 section 5.3.1): what is revoked so stays revoked, although
    /// later lists may leave it out once it has expired.
    pub fn is_permanent(self) -> bool {
        !matches!(self.reason, 6 | 8)
    }

    /// Since when it must not be relied upon: its revocation, or when it became invalid before that. A hold only says that
    /// something is looked into.
    pub fn since(self) -> ValidityTime {
        let invalid = self.invalid.filter(|_| self.is_permanent());
        invalid.map_or(self.date, |invalid| invalid.min(self.date))
    }
}

/// Why a CRL must not be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unusable {
    /// It has a critical extension that is not known here (RFC 5280 section 5.2).
    #[error("a critical extension of this revocation list is not understood ({0}): it must not be used")]
    Extension(String),
    /// One of its entries has such an extension (RFC 5280 section 5.3).
    #[error("a critical extension of an entry of this revocation list is not understood ({0}): it must not be used")]
    EntryExtension(String),
    /// What an extension says about the scope cannot be read.
    #[error("the extension {0} of this revocation list is broken: what it is about is not known")]
    Broken(String),
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
        let issuer = name_of(crl.issuer().as_raw()).ok_or(CrlError::NotACrl)?.normalized;
        let number_of =
            |extension: &X509Extension<'_>| number(extension.value).filter(|_| extension.oid.as_bytes() == NUMBER);
        let number = crl.extensions().iter().find_map(number_of).unwrap_or_default();
        let read = scope_of(crl.extensions())
            .and_then(|scope| Ok((entries(crl.iter_revoked_certificates(), &issuer)?, scope)));
        let (revoked, scope, unusable) = match read {
            Ok((revoked, scope)) => (revoked, scope, None),
            Err(unusable) => (HashMap::new(), Scope::default(), Some(unusable)),
        };
        Ok(Self {
            issuer: issuer.into(),
            authority_key_identifier: key_identifier,
            number,
            this_update: ValidityTime(crl.last_update().timestamp()),
            next_update: crl.next_update().map(|time| ValidityTime(time.timestamp())),
            scope,
            unusable,
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

    /// The entry of a certificate that holds at a time. Entries that take a certificate off the list (removeFromCRL) and
    /// such of a later date do not hold, nor does any where the list is not about such certificates.
    pub fn revoked(&self, certificate: &About<'_>, at: ValidityTime) -> Option<Revoked> {
        let entry = self.revoked.get(&without_zeros(certificate.serial)).copied();
        entry.filter(|entry| entry.reason != 8 && entry.since() <= at && self.scope.covers(certificate))
    }

    /// Whether it has an entry of this serial number (content octets), whatever it says.
    pub fn lists(&self, serial: &[u8]) -> bool {
        self.revoked.contains_key(&without_zeros(serial))
    }

    /// Whether this list tells that a hold of `old` ended: it is newer, about the same certificates, and has no entry any
    /// more or one that takes the certificate off; without an entry it must be complete, or add to the same list as `old`.
    /// Any other entry means that the certificate is revoked still, for whatever reason and since whenever.
    fn lifts(&self, old: &Self, certificate: &About<'_>) -> bool {
        let same = self.scope.octets.is_empty() || self.scope.octets == old.scope.octets;
        if !same || self.age() <= old.age() {
            return false;
        }
        if let Some(entry) = self.revoked.get(&without_zeros(certificate.serial)) {
            return entry.reason == 8;
        }
        self.scope.base.as_ref().is_none_or(|base| {
            let added_to = old.scope.base.as_ref();
            added_to.is_some_and(|old| magnitude(base) <= magnitude(old))
        })
    }

    /// In order of making.
    fn age(&self) -> (ValidityTime, (usize, &[u8])) {
        (self.this_update, magnitude(&self.number))
    }

    /// Whether a newer one should be there by now.
    pub fn is_stale(&self, at: ValidityTime) -> bool {
        self.next_update.is_some_and(|next| next < at)
    }
}

/// What lists say of a certificate at a time.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// The entry.
    pub entry: Revoked,
    /// The list that has it.
    pub list: &'a Crl,
    /// When the list was made that ended the hold, after the time that is asked about.
    pub lifted: Option<ValidityTime>,
}

impl Standing<'_> {
    /// Whether the hold may have ended before this time: no list tells when, only between which lists.
    pub fn is_uncertain(&self, at: ValidityTime) -> bool {
        self.lifted.is_some() && self.list.this_update < at
    }
}

/// What lists of one issuer say together of a certificate at a time: the newest of each scope counts, an older one for
/// reasons that are permanent, and for a hold that had not been lifted at that time: what lists that were made later leave
/// out says nothing of the time before.
pub fn revoked_by<'a, I: Iterator<Item = &'a Crl>>(
    lists: impl Fn() -> I,
    certificate: &About<'_>,
    at: ValidityTime,
) -> Option<Standing<'a>> {
    let standing = |list: &'a Crl| {
        let entry = list.revoked(certificate, at)?;
        let ends = || lists().filter(|other| other.lifts(list, certificate)).map(|other| other.this_update).min();
        let lifted = if entry.is_permanent() { None } else { ends() };
        Some(Standing { entry, list, lifted }).filter(|_| lifted.is_none_or(|lifted| at < lifted))
    };
    lists().filter_map(standing).max_by_key(|standing| (standing.lifted.is_none(), standing.list.age()))
}

/// Orders numbers without leading zeros.
fn magnitude(number: &[u8]) -> (usize, &[u8]) {
    (number.len(), number)
}

/// What the extensions of a list say of what it is about.
fn scope_of(extensions: &[X509Extension<'_>]) -> Result<Scope, Unusable> {
    let mut scope = Scope::default();
    for extension in extensions {
        let oid = extension.oid.as_bytes();
        let broken = || Unusable::Broken(extension.oid.to_id_string());
        match oid {
            POINT => scope.point(extension.value).ok_or_else(broken)?,
            DELTA => scope.base = Some(number(extension.value).ok_or_else(broken)?),
            _ if extension.critical && !EXTENSIONS.contains(&oid) => {
                return Err(Unusable::Extension(extension.oid.to_id_string()));
            }
            _ => {}
        }
    }
    Ok(scope)
}

/// The entries about certificates of the issuer of the list itself: who else's an indirect list names has to be looked up
/// by that name, and by a key that is not known here.
///
/// An entry without a name is about the issuer of the one before (RFC 5280 section 5.3.3), also where a list names issuers
/// though it does not say that it is indirect: what may be about another CA's certificate must revoke none of this one's.
fn entries<'a, 'b: 'a>(
    all: impl Iterator<Item = &'a RevokedCertificate<'b>>,
    issuer: &str,
) -> Result<HashMap<Vec<u8>, Revoked>, Unusable> {
    let mut revoked = HashMap::new();
    let mut is_own = true;
    for entry in all {
        let mut named = None;
        for extension in entry.extensions() {
            let oid = extension.oid.as_bytes();
            let broken = || Unusable::Broken(extension.oid.to_id_string());
            match oid {
                CERTIFICATE_ISSUER => named = Some(issuers(extension.value).ok_or_else(broken)?),
                _ if extension.critical && !ENTRY_EXTENSIONS.contains(&oid) => {
                    return Err(Unusable::EntryExtension(extension.oid.to_id_string()));
                }
                _ => {}
            }
        }
        if let Some(named) = named {
            is_own = named.iter().any(|name| **name == *issuer);
        }
        if is_own {
            let reason = entry.reason_code().map_or(0, |(_, reason)| reason.0);
            let date = ValidityTime(entry.revocation_date.timestamp());
            let invalid = entry.extensions().iter().find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::InvalidityDate(date) => Some(ValidityTime(date.timestamp())),
                _ => None,
            });
            revoked.insert(without_zeros(entry.raw_serial()), Revoked { date, reason, invalid });
        }
    }
    Ok(revoked)
}

fn without_zeros(serial: &[u8]) -> Vec<u8> {
    serial.iter().copied().skip_while(|octet| *octet == 0).collect()
}

#[cfg(test)]
pub(crate) mod tests;
