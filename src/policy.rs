//! What the owner of the network allows, expects and knows: the policy file.
//!
//! docs/POLICY.md describes the file. Entries never merge: the most specific one that matches holds alone.

mod check;
mod day;
mod digest;
mod distinguished_name;
mod domain;
mod entry;
mod file;
mod host;
mod index;
mod network;
mod read;
mod rule_name;
mod setting;
mod severity;
mod tolerant;

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Mistakes of a file that are told; of more, how many there are.
pub const MISTAKES: usize = 20;

pub use check::{Warning, warnings};
pub use day::Day;
pub use digest::{CertificateHash, Digest, digest, hexadecimal, octets};
pub use distinguished_name::{Attribute, NamePattern, NamePatternError};
pub use domain::{has_public_suffix, registrable_domain};
pub use entry::{
    ClientCertificate, ClientMatch, Compromised, HostEntry, Interception, InternalCa, ListFile, ListFormat, NamedFile,
    Profile, SeverityOverride, Suppression, Trust,
};
pub use host::{HostMatch, HostPattern, HostPatternError, Target};
use index::HostIndex;
pub use network::{Cidr, CidrError};
pub use read::{PolicyError, PolicyErrors};
pub use rule_name::{RulePattern, or_nearest};
pub use setting::{KnownRule, Setting, SettingKind, SettingValue};
pub use severity::Severity;

/// The policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How much is said.
    pub profile: Profile,
    /// Networks of the organisation.
    pub home_nets: Vec<Cidr>,
    /// Clients that are our own scanners and proxies: what they get counts for little (MITM-002, B10).
    pub scanners: Vec<Cidr>,
    /// Anchors and lists.
    pub trust: Trust,
    /// Private PKIs.
    pub internal_cas: Vec<InternalCa>,
    /// Proxies of the organisation.
    pub interceptions: Vec<Interception>,
    /// Hosts, in order of the file.
    pub hosts: Vec<HostEntry>,
    /// Client certificates.
    pub client_certificates: Vec<ClientCertificate>,
    /// What others know.
    pub compromised: Vec<Compromised>,
    /// Findings that shall not alert.
    pub suppressions: Vec<Suppression>,
    /// Other severities.
    pub severities: Vec<SeverityOverride>,
    settings: BTreeMap<(&'static str, &'static str), SettingValue>,
    index: HostIndex,
}

/// What a suppression is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The rule.
    pub rule: KnownRule,
    /// The client.
    pub client: IpAddr,
    /// The server.
    pub target: Target<'a>,
    /// Key of the client certificate, where there is one.
    pub client_key: Option<&'a Digest>,
    /// Day of the packet; `None` when its time is unknown: then only permanent suppressions hold.
    pub day: Option<Day>,
}

impl Policy {
    /// Reads a policy file. `known` are the rules there are.
    ///
    /// # Errors
    /// Everything that is wrong, each with line and column.
    pub fn parse(text: &str, known: &[KnownRule]) -> Result<Self, PolicyErrors> {
        match read::read(text, known) {
            (policy, errors) if errors.is_empty() => Ok(policy),
            (_, errors) => Err(PolicyErrors(errors)),
        }
    }

    /// [`parse`](Self::parse) that goes on: what could be understood, and everything that is wrong, in order of the file.
    pub fn parse_partly(text: &str, known: &[KnownRule]) -> (Self, Vec<PolicyError>) {
        read::read(text, known)
    }

    /// The entry for a host: exact names before wildcards before networks, longer before shorter, with a port before
    /// without.
    pub fn host_entry(&self, target: &Target<'_>) -> Option<&HostEntry> {
        self.hosts.get(self.index.find(target)?)
    }

    /// Whether the server stands in the home networks, or the name has no public suffix.
    pub fn is_internal(&self, target: &Target<'_>) -> bool {
        self.is_home(target.address) || target.name.is_some_and(|name| !has_public_suffix(name))
    }

    /// Whether an address lies in the home networks.
    pub fn is_home(&self, address: IpAddr) -> bool {
        self.home_nets.iter().any(|network| network.contains(address))
    }

    /// Whether a client is one of the owner's own scanners or proxies.
    pub fn is_scanner(&self, client: IpAddr) -> bool {
        self.scanners.iter().any(|network| network.contains(client))
    }

    /// Whether a `[[host]]` entry with owner or places is about this host.
    pub fn is_owned(&self, target: &Target<'_>) -> bool {
        self.host_entry(target).is_some_and(HostEntry::is_owned)
    }

    /// The internal CA with this key.
    pub fn internal_ca_for(&self, spki: &Digest) -> Option<&InternalCa> {
        self.internal_cas.iter().find(|ca| ca.spki.contains(spki))
    }

    /// The proxy with this key that may intercept this client.
    pub fn interception_for(&self, spki: &Digest, client: IpAddr) -> Option<&Interception> {
        self.interceptions_of(client).find(|proxy| proxy.spki.contains(spki))
    }

    /// The proxies that may intercept this client.
    pub fn interceptions_of(&self, client: IpAddr) -> impl Iterator<Item = &Interception> {
        self.interceptions
            .iter()
            .filter(move |proxy| proxy.clients.is_empty() || proxy.clients.iter().any(|n| n.contains(client)))
    }

    /// The entry for a client certificate: by key before by subject, then in order of the file. `subject` gives the
    /// values of an attribute.
    pub fn client_certificate_for<'a>(
        &self,
        spki: &Digest,
        subject: impl Fn(Attribute) -> &'a [String],
    ) -> Option<&ClientCertificate> {
        let by_key = |entry: &&ClientCertificate| matches!(&entry.matches, ClientMatch::Key(key) if key == spki);
        let by_subject = |entry: &&ClientCertificate| match &entry.matches {
            ClientMatch::Subject(pattern) => pattern.matches(&subject),
            ClientMatch::Key(_) => false,
        };
        let entries = &self.client_certificates;
        entries.iter().find(by_key).or_else(|| entries.iter().find(by_subject))
    }

    /// The first suppression that holds for a finding.
    pub fn suppression_for(&self, subject: &Subject<'_>) -> Option<&Suppression> {
        let among = |networks: &[Cidr], address| networks.is_empty() || networks.iter().any(|n| n.contains(address));
        self.suppressions.iter().find(|entry| {
            entry.until.is_none_or(|last| subject.day.is_some_and(|day| day <= last))
                && among(&entry.src, subject.client)
                && among(&entry.dst, subject.target.address)
                && entry.host.as_ref().is_none_or(|host| host.matches(&subject.target))
                && entry.client_certificate.as_ref().is_none_or(|key| subject.client_key == Some(key))
                && entry.rule.matches(&subject.rule)
        })
    }

    /// The severity that the policy sets: the most specific host decides, then the most specific rule, then the later
    /// entry.
    pub fn severity_for(&self, rule: &KnownRule, target: &Target<'_>) -> Option<Severity> {
        self.severities
            .iter()
            .filter(|entry| entry.host.as_ref().is_none_or(|host| host.matches(target)) && entry.rule.matches(rule))
            .max_by_key(|entry| (entry.host.as_ref().map(HostPattern::specificity), entry.rule.rank()))
            .map(|entry| entry.set)
    }

    /// Whether a rule runs.
    pub fn is_enabled(&self, rule: &KnownRule) -> bool {
        self.settings.get(&(rule.id, "enabled")) != Some(&SettingValue::Flag(false))
    }

    /// A setting of a rule: what the policy says, else the rule's default; `None` for a setting that the rule does not
    /// have.
    pub fn setting(&self, rule: &KnownRule, name: &str) -> Option<SettingValue> {
        let setting = rule.settings.iter().find(|setting| setting.name == name)?;
        let set = self.settings.get(&(rule.id, setting.name)).cloned();
        Some(set.unwrap_or_else(|| setting.kind.default_value()))
    }

    /// A setting that is a number, or a duration in seconds; 0 for one that the rule does not have.
    pub fn number(&self, rule: &KnownRule, name: &str) -> i64 {
        match self.setting(rule, name) {
            Some(SettingValue::Number(number) | SettingValue::Duration(number)) => number,
            _ => 0,
        }
    }
}

impl Default for Policy {
    /// What holds without a file: private, unique local, link-local and loopback addresses are home.
    fn default() -> Self {
        let home = [
            (IpAddr::from([10, 0, 0, 0]), 8),
            (IpAddr::from([172, 16, 0, 0]), 12),
            (IpAddr::from([192, 168, 0, 0]), 16),
            (IpAddr::from([169, 254, 0, 0]), 16),
            (IpAddr::from([127, 0, 0, 0]), 8),
            (IpAddr::from([0xfc00, 0, 0, 0, 0, 0, 0, 0]), 7),
            (IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 0]), 10),
            (IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), 128),
        ];
        Self {
            profile: Profile::Balanced,
            home_nets: home.into_iter().map(|(address, prefix)| Cidr::of(address, prefix)).collect(),
            scanners: Vec::new(),
            trust: Trust::default(),
            internal_cas: Vec::new(),
            interceptions: Vec::new(),
            hosts: Vec::new(),
            client_certificates: Vec::new(),
            compromised: Vec::new(),
            suppressions: Vec::new(),
            severities: Vec::new(),
            settings: BTreeMap::new(),
            index: HostIndex::default(),
        }
    }
}

#[cfg(test)]
mod tests;
