//! What is known before the first packet: policy, trust anchors, lists. Read elsewhere; here it only answers.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use dashmap::DashMap;

use crate::policy::{Attribute, Digest, HostEntry, Policy};
use crate::time::ValidityTime;
use crate::x509::chain::SignatureMemo;
use crate::x509::roots::TrustAnchors;
use crate::x509::sct::Logs;
use crate::x509::{Certificate, KeyKind, Name, PublicKey, Sha256};
use sha2::Digest as _;

use super::crl::{About, Crl, revoked_by};
use super::lists::{BADKEYS_ENTRY, List, badkeys_list};

/// Everything that is known before the first packet.
#[derive(Debug, Default)]
pub struct Knowledge {
    /// What the owner allows.
    pub policy: Policy,
    /// Trust anchors.
    pub anchors: Arc<TrustAnchors>,
    /// Mozilla's roots, trusted here or not: what public CAs are.
    pub builtin: TrustAnchors,
    /// `[trust] blocklists`.
    pub blocklists: Vec<NamedList>,
    /// `[trust] compromised_keys` in text.
    pub compromised: Vec<NamedList>,
    /// `[trust] compromised_keys` in badkeys' form.
    pub badkeys: Vec<KeyFile>,
    /// `--indicators`.
    pub indicators: Vec<NamedList>,
    /// `[trust] crls`.
    pub crls: Vec<Crl>,
    /// `ca` of `[[interception]]`: not trusted, but known before a server sends them.
    pub proxies: Vec<Arc<Certificate>>,
    /// `[trust] ct_logs`.
    pub logs: Logs,
    /// Certificates of each `[[host]]` entry's `certificates_file`, by the entry's line.
    pub certificates: BTreeMap<usize, HashSet<Digest>>,
    /// Which CRL is signed by which key: found once.
    pub crl_signatures: DashMap<(usize, Sha256), bool>,
    /// Certificates of CAs whose key signed a CRL, as they were seen.
    pub crl_signers: DashMap<usize, Vec<Arc<Certificate>>>,
    /// Signatures among those and the issuers of certificates.
    pub signatures: SignatureMemo,
}

/// A list and what to call it.
#[derive(Debug)]
pub struct NamedList {
    /// Name of its file.
    pub name: String,
    /// Its entries.
    pub list: List,
}

/// badkeys' block list, of which single entries are read when asked for.
pub struct KeyFile {
    /// Name of the file.
    pub name: String,
    /// Entries in it.
    pub entries: u64,
    /// Reads the entry at an index.
    pub read: Box<ReadEntry>,
}

/// Reads the entry at an index of a [`KeyFile`]; `None` when that fails.
pub type ReadEntry = dyn Fn(u64) -> Option<[u8; BADKEYS_ENTRY]> + Send + Sync;

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFile").field("name", &self.name).field("entries", &self.entries).finish_non_exhaustive()
    }
}

impl KeyFile {
    /// The number of the list in which the key stands.
    pub fn find(&self, key: &PublicKey) -> Option<u8> {
        let octets = match key.kind {
            KeyKind::Rsa | KeyKind::RsaPss => &*key.modulus,
            // The x coordinate of an uncompressed point.
            KeyKind::Ec => {
                let (form, coordinates) = key.bytes.split_first()?;
                if *form != 4 {
                    return None;
                }
                coordinates.get(..coordinates.len() / 2)?
            }
            KeyKind::Ed25519 | KeyKind::Ed448 => &*key.bytes,
            _ => return None,
        };
        if octets.is_empty() {
            return None;
        }
        badkeys_list(&sha2::Sha256::digest(octets).into(), self.entries, &*self.read)
    }
}

impl Knowledge {
    /// Whether CRLs that this key is known to have signed list the leaf of this serial number at a time.
    pub fn is_revoked(&self, (issuer, serial): (&Sha256, &[u8]), at: ValidityTime) -> bool {
        let is_signed = |place| self.crl_signatures.get(&(place, *issuer)).is_some_and(|signed| *signed);
        let signed = || self.crls.iter().enumerate().filter(|(place, _)| is_signed(*place)).map(|(_, crl)| crl);
        revoked_by(signed, &About { serial, is_ca: false, urls: &[] }, at).is_some()
    }

    /// Whether the policy gives the certificate of a proxy's CA with this key.
    pub fn has_proxy(&self, spki: &Sha256) -> bool {
        self.proxies.iter().any(|ca| ca.facts.as_deref().is_some_and(|facts| facts.spki_sha256 == *spki))
    }

    /// Whether the owner of a host lists this certificate in its `certificates_file`.
    pub fn is_listed(&self, entry: &HostEntry, sha256: &Sha256) -> bool {
        self.certificates.get(&entry.line).is_some_and(|file| file.contains(&sha256.0))
    }
}

/// Values of an attribute of a name, for patterns of the policy.
pub fn attributes<'a>(name: &'a Name) -> impl Fn(Attribute) -> &'a [String] {
    move |attribute| match attribute {
        Attribute::CommonName => &name.common_names,
        Attribute::Organization => &name.organizations,
        Attribute::OrganizationalUnit => &name.organizational_units,
        Attribute::Country => &name.countries,
        Attribute::Locality => &name.localities,
        Attribute::State => &name.states,
        Attribute::Email => &name.emails,
    }
}
