//! What is allowed but hardly meant: the warnings of `tlswatch policy check`.

use std::collections::BTreeSet;
use std::fmt;

use super::{Cidr, ClientMatch, Day, HostMatch, Policy, Suppression};

/// Something in a policy that is worth a second look.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// Line of the entry.
    pub line: usize,
    /// What is odd.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

/// All warnings in order of the file. `today` is the day against which dates are judged, if one is known.
pub fn warnings(policy: &Policy, today: Option<Day>) -> Vec<Warning> {
    let mut out = Vec::new();
    hosts(policy, today, &mut out);
    suppressions(policy, today, &mut out);
    others(policy, &mut out);
    out.sort();
    out
}

fn hosts(policy: &Policy, today: Option<Day>, out: &mut Vec<Warning>) {
    for entry in &policy.hosts {
        let mut warn = |message: String| out.push(Warning { line: entry.line, message });
        let pins: BTreeSet<_> = entry.pins.iter().collect();
        if pins.len() == 1 && entry.issuers.is_empty() {
            warn("host: one pin only; without a backup pin the next change of the key is an alert".to_owned());
        }
        let says_nothing = entry.pins.is_empty()
            && entry.issuers.is_empty()
            && entry.issuer_names.is_empty()
            && entry.caa.is_empty()
            && entry.certificates.is_empty()
            && entry.certificates_file.is_none()
            && !entry.is_owned()
            && entry.min_version.is_none()
            && entry.alpn.is_empty()
            && entry.ciphers.is_empty()
            && entry.key_types.is_empty()
            && entry.min_rsa_bits.is_none()
            && entry.max_days.is_none()
            && entry.key_reuse
            && entry.wildcards;
        if says_nothing {
            warn("host: the entry demands nothing".to_owned());
        }
        if entry.issuer_names.iter().any(super::NamePattern::matches_anything) {
            warn("host.issuer_names: a name of stars only allows every issuer".to_owned());
        }
        if is_everywhere(&entry.places) {
            warn("host.places: the server may stand anywhere".to_owned());
        }
        for pattern in &entry.patterns {
            match &pattern.host {
                HostMatch::Any => warn(format!("host.match: {pattern} matches every host")),
                HostMatch::Network(network) if network.prefix() == 0 => {
                    warn(format!("host.match: {pattern} matches every host"));
                }
                HostMatch::Wildcard(parent) if super::registrable_domain(parent).is_none() => {
                    warn(format!("host.match: {pattern} matches names of many owners"));
                }
                _ => {}
            }
        }
        if let (Some(last), Some(today)) = (entry.expires, today)
            && last < today
        {
            warn(format!("host.expires: since {last} the pins only mark"));
        }
        if entry.expires.is_some() && entry.pins.is_empty() && entry.issuers.is_empty() && entry.certificates.is_empty()
        {
            warn("host.expires: there are no pins that could expire".to_owned());
        }
    }
}

fn suppressions(policy: &Policy, today: Option<Day>, out: &mut Vec<Warning>) {
    for (place, entry) in policy.suppressions.iter().enumerate() {
        let mut warn = |message: String| out.push(Warning { line: entry.line, message });
        if let (Some(last), Some(today)) = (entry.until, today)
            && last < today
        {
            warn(format!("suppress.until: ended on {last}"));
        }
        let everywhere = entry.src.iter().chain(&entry.dst).all(|network| network.prefix() == 0)
            && entry.host.as_ref().is_none_or(|host| host.host == HostMatch::Any && host.port.is_none())
            && entry.client_certificate.is_none();
        if everywhere && entry.rule.is_all() {
            warn("suppress: silences every rule everywhere".to_owned());
        } else if everywhere {
            warn("suppress: silences the rule everywhere; [rules.\"ID\"] enabled = false says so plainly".to_owned());
        }
        let families = |networks: &[Cidr]| [true, false].map(|four| networks.iter().any(|one| one.is_ipv4() == four));
        let ([src4, src6], [dst4, dst6]) = (families(&entry.src), families(&entry.dst));
        if (src4 && !src6 && dst6 && !dst4) || (src6 && !src4 && dst4 && !dst6) {
            warn("suppress: never used, no connection has IPv4 on one side and IPv6 on the other".to_owned());
        }
        let earlier = policy.suppressions.iter().take(place).find(|earlier| covers(earlier, entry));
        if let Some(earlier) = earlier {
            warn(format!("suppress: never used, line {} holds as long for the same", earlier.line));
        }
    }
}

/// Whether everything that `narrow` silences is silenced by `wide` already.
fn covers(wide: &Suppression, narrow: &Suppression) -> bool {
    let networks = |wide: &[Cidr], narrow: &[Cidr]| {
        let within = |one: &Cidr| wide.iter().any(|other| other.covers(*one));
        wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(within))
    };
    wide.rule.covers(&narrow.rule)
        && networks(&wide.src, &narrow.src)
        && networks(&wide.dst, &narrow.dst)
        && (wide.host.is_none() || wide.host == narrow.host)
        && (wide.client_certificate.is_none() || wide.client_certificate == narrow.client_certificate)
        && wide.until.is_none_or(|last| narrow.until.is_some_and(|own| own <= last))
}

/// Networks that take every address of a family.
fn is_everywhere(networks: &[Cidr]) -> bool {
    networks.iter().any(|network| network.prefix() == 0)
}

fn others(policy: &Policy, out: &mut Vec<Warning>) {
    if policy.scanners.iter().any(|network| network.prefix() == 0) {
        let message = "scanners: every client counts as a scanner, so that no certificate is unexpected".to_owned();
        out.push(Warning { line: 1, message });
    }
    for entry in &policy.interceptions {
        let mut warn = |message: String| out.push(Warning { line: entry.line, message });
        if entry.clients.is_empty() {
            warn("interception: without clients the proxy may intercept everybody".to_owned());
        } else if is_everywhere(&entry.clients) {
            warn("interception.clients: the proxy may intercept everybody".to_owned());
        }
        if entry.ca.is_empty() {
            warn("interception: without ca it cannot be told what the proxy signed before its CA was seen".to_owned());
        }
        if entry.spki.iter().any(|key| policy.internal_ca_for(key).is_some()) {
            warn("interception: the key is an [[internal_ca]] too, so that one key signs for both".to_owned());
        }
    }
    for entry in &policy.internal_cas {
        if entry.names.is_empty() {
            let message = "internal_ca: without names it may sign for every host".to_owned();
            out.push(Warning { line: entry.line, message });
        } else if entry.names.iter().any(|name| name.host == HostMatch::Any) {
            let message = "internal_ca.names: it may sign for every host".to_owned();
            out.push(Warning { line: entry.line, message });
        }
    }
    for (place, entry) in policy.client_certificates.iter().enumerate() {
        let mut warn = |message: String| out.push(Warning { line: entry.line, message });
        if is_everywhere(&entry.allowed_from) {
            warn("client_certificate.allowed_from: it may be used anywhere".to_owned());
        }
        if matches!(&entry.matches, ClientMatch::Subject(pattern) if pattern.matches_anything()) {
            warn("client_certificate.match: matches every certificate".to_owned());
        }
        if let Some(earlier) = policy.client_certificates.iter().take(place).find(|e| e.matches == entry.matches) {
            warn(format!("client_certificate: never used, line {} has the same match", earlier.line));
        }
    }
    for (place, entry) in policy.severities.iter().enumerate() {
        let same = |later: &&super::SeverityOverride| later.rule == entry.rule && later.host == entry.host;
        if let Some(later) = policy.severities.iter().skip(place + 1).find(same) {
            let message = format!("severity: never used, line {} sets it again", later.line);
            out.push(Warning { line: entry.line, message });
        }
    }
    for entry in &policy.compromised {
        if entry.certificates.is_empty() && entry.keys.is_empty() && entry.serials.is_empty() {
            out.push(Warning { line: entry.line, message: "compromised: the entry names nothing".to_owned() });
        }
    }
}
