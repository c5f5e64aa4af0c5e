//! What a CRL is about: issuing distribution point, delta, and who issued the certificates of its entries.

use crate::x509::der::{self, Reader};
use crate::x509::name::{general_name, name_of};
use crate::x509::{AlternativeName, Facts};

/// issuingDistributionPoint (RFC 5280 section 5.2.5).
pub(super) const POINT: &[u8] = &[0x55, 0x1d, 0x1c];
/// deltaCRLIndicator (RFC 5280 section 5.2.4).
pub(super) const DELTA: &[u8] = &[0x55, 0x1d, 0x1b];
/// cRLNumber (RFC 5280 section 5.2.3).
pub(super) const NUMBER: &[u8] = &[0x55, 0x1d, 0x14];
/// certificateIssuer of an entry (RFC 5280 section 5.3.3).
pub(super) const CERTIFICATE_ISSUER: &[u8] = &[0x55, 0x1d, 0x1d];

/// Other extensions of a list that may be critical, for they change nothing of what is asked here: issuerAltName,
/// cRLNumber, authorityKeyIdentifier, freshestCRL.
pub(super) const EXTENSIONS: [&[u8]; 4] = [&[0x55, 0x1d, 0x12], NUMBER, &[0x55, 0x1d, 0x23], &[0x55, 0x1d, 0x2e]];
/// Other extensions of an entry that may be critical: cRLReason, holdInstructionCode, invalidityDate.
pub(super) const ENTRY_EXTENSIONS: [&[u8]; 3] = [&[0x55, 0x1d, 0x15], &[0x55, 0x1d, 0x17], &[0x55, 0x1d, 0x18]];

/// Names of a distribution point that are kept.
const MAX_NAMES: usize = 64;

/// Which certificates a list is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// onlyContainsUserCerts.
    pub only_users: bool,
    /// onlyContainsCACerts.
    pub only_cas: bool,
    /// onlyContainsAttributeCerts: no certificate of TLS.
    pub only_attributes: bool,
    /// URIs of the distribution point; empty where it has none.
    pub urls: Box<[String]>,
    /// deltaCRLIndicator: the number of the list that this one adds to.
    pub base: Option<Box<[u8]>>,
    /// The extension itself: lists with the same one take the place of each other.
    pub octets: Box<[u8]>,
}

/// The certificate that a list is asked about.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Content octets of its serial number.
    pub serial: &'a [u8],
    /// Whether it is a CA's.
    pub is_ca: bool,
    /// URIs of its distribution points; empty where it has none, or nobody knows them.
    pub urls: &'a [String],
}

impl<'a> About<'a> {
    /// This certificate.
    pub fn of(facts: &'a Facts) -> Self {
        let is_ca = facts.basic_constraints.is_some_and(|(is_ca, _)| is_ca);
        Self { serial: &facts.serial, is_ca, urls: &facts.crl_urls }
    }
}

impl Scope {
    /// Whether the list is about such a certificate (RFC 5280 section 6.3.3 b). Where certificate and list both name
    /// distribution points, one of them must be the same; whether it is, cannot be told where one of them names none.
    pub fn covers(&self, certificate: &About<'_>) -> bool {
        let kind = if certificate.is_ca { !self.only_users } else { !self.only_cas };
        let named = self.urls.is_empty() || certificate.urls.is_empty();
        kind && !self.only_attributes && (named || self.urls.iter().any(|url| certificate.urls.contains(url)))
    }

    /// Takes an issuingDistributionPoint in; `None` when it is broken.
    pub(super) fn point(&mut self, octets: &[u8]) -> Option<()> {
        self.octets = octets.into();
        let mut fields = sequence(octets)?;
        for field in fields.by_ref() {
            let flag = || flag(field.content);
            match field.tag {
                0xa0 => self.urls = urls(field.content)?,
                0x81 => self.only_users = flag()?,
                0x82 => self.only_cas = flag()?,
                // A list for some reasons only says nothing of the others, and what it says is true.
                0x83 => {}
                // Whether entries may be about others' certificates is told by the entries.
                0x84 => drop(flag()?),
                0x85 => self.only_attributes = flag()?,
                _ => return None,
            }
        }
        fields.rest().is_empty().then_some(())
    }
}

/// A BOOLEAN's contents.
fn flag(content: &[u8]) -> Option<bool> {
    let [octet] = content else { return None };
    Some(*octet != 0)
}

/// The elements of the one SEQUENCE that these octets are.
fn sequence(octets: &[u8]) -> Option<Reader<'_>> {
    let mut outer = Reader::new(octets);
    let found = outer.tagged(der::SEQUENCE)?;
    outer.rest().is_empty().then(|| found.reader())
}

/// URIs of a DistributionPointName; a name relative to the issuer has none.
fn urls(name: &[u8]) -> Option<Box<[String]>> {
    let mut outer = Reader::new(name);
    let name = outer.element()?;
    let mut names = match name.tag {
        0xa0 => name.reader(),
        0xa1 => return Some(Box::default()),
        _ => return None,
    };
    let found = names.by_ref().take(MAX_NAMES).filter_map(|name| match general_name(&name, &mut Vec::new()) {
        AlternativeName::Uri(uri) => Some(uri),
        _ => None,
    });
    Some(found.collect())
}

/// Normal forms of the names in a GeneralNames; `None` when it is broken.
pub(super) fn issuers(octets: &[u8]) -> Option<Vec<String>> {
    let mut names = sequence(octets)?;
    let directory = names.by_ref().take(MAX_NAMES).filter(|name| name.tag == 0xa4);
    let found: Option<Vec<String>> = directory.map(|name| Some(name_of(name.content)?.normalized)).collect();
    found.filter(|_| names.rest().is_empty())
}

/// Contents of a non-negative INTEGER without leading zeros.
pub(super) fn number(octets: &[u8]) -> Option<Box<[u8]>> {
    let mut outer = Reader::new(octets);
    let number = outer.tagged(der::INTEGER)?;
    outer.rest().is_empty().then(|| number.content.iter().copied().skip_while(|octet| *octet == 0).collect())
}
