//! Entries of a policy file from what is known of hosts (`tlswatch policy suggest`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::detect::hosts::record::{HostRecord, KnownCertificate};
use crate::policy::{HostMatch, HostPattern, registrable_domain};
use crate::text::{counted, printable};
use crate::time::Timestamp;

/// Names of one private CA that are written out.
const NAMES: usize = 200;

/// Writes entries for these hosts; `is_key` says whether a digest is that of a key that was seen: the issuer of a
/// certificate that came alone is not known by its key. `names_of` gives the names in a certificate: its CA may sign
/// them all. Everything is to be looked at before it is used.
pub fn suggest(
    records: &[HostRecord],
    is_key: impl Fn(&[u8; 32]) -> bool,
    names_of: impl Fn(&[u8; 32]) -> Vec<String>,
) -> String {
    let mut out = String::from(
        "# Made from an inventory. It says what was seen, not what is right: read every entry before you use it.\n\
         version = 1\n",
    );
    let mut left_out = 0_u64;
    let mut private: BTreeMap<[u8; 32], (String, BTreeSet<String>)> = BTreeMap::new();
    let mut hosts = String::new();
    for record in records {
        let Some(pattern) = pattern(record) else {
            left_out = left_out.saturating_add(1);
            continue;
        };
        let (mut issuers, mut pins) = (BTreeSet::new(), BTreeSet::new());
        for known in record.accepted() {
            if known.self_signed {
                pins.insert(known.spki);
            } else if is_key(&known.issuer) {
                issuers.insert(known.issuer);
                if !known.public {
                    let text = issuer_text(record, known);
                    let names = &mut private.entry(known.issuer).or_insert_with(|| (text, BTreeSet::new())).1;
                    names.insert(name(&pattern));
                    // What is no pattern no entry can allow.
                    names.extend(names_of(&known.sha256).into_iter().filter(|name| is_pattern(name)));
                }
            }
        }
        if issuers.is_empty() && pins.is_empty() {
            left_out = left_out.saturating_add(1);
            continue;
        }
        let known = record.known_host(Timestamp(record.last));
        // Writing to a String cannot fail.
        let (support, clients) = (counted(record.support.into(), "handshake"), counted(known.clients, "client"));
        let about = if known.clients_more { "more than" } else { "about" };
        let _ = writeln!(hosts, "\n# {support}, {about} {clients}, {}", known.phase);
        for issuer in &record.issuers {
            let _ = writeln!(hosts, "# issuer: {}", printable(&issuer.text));
        }
        let _ = writeln!(hosts, "[[host]]\nmatch = [{}]", string(&pattern));
        for (key, digests) in [("issuers", issuers), ("pins", pins)] {
            if !digests.is_empty() {
                let _ = writeln!(hosts, "{key} = [{}]", list(digests.iter().map(pin)));
            }
        }
    }
    for (key, (text, names)) in private {
        let _ = writeln!(out, "\n# not a public CA: is it yours?");
        let _ = writeln!(out, "[[internal_ca]]\nname = {}\nspki = [{}]", string(&text), string(&pin(&key)));
        let names = if names.len() > NAMES { names.iter().map(|name| level(name)).collect() } else { names };
        if names.len() > NAMES {
            // A part of them would make an alert of every other one.
            let _ = writeln!(
                out,
                "# names = []  # it signed for more than {NAMES} domains: without names it may sign for all"
            );
        } else {
            let _ = writeln!(out, "names = [{}]", list(names.into_iter()));
        }
    }
    if left_out > 0 {
        let why = "no issuer by its key, or a name that may be only the outer one";
        let _ = writeln!(out, "\n# left out: {}, of which there is {why}", counted(left_out, "host"));
    }
    out.push_str(&hosts);
    out
}

/// The pattern of a host; none where the name is only the outer one of an encrypted ClientHello.
fn pattern(record: &HostRecord) -> Option<String> {
    if record.name.starts_with("ech:") {
        return None;
    }
    let name = record.name.strip_prefix("ip:").unwrap_or(&record.name);
    Some(format!("{name}:{}", record.port))
}

/// A pattern without its port.
fn name(pattern: &str) -> String {
    let name = pattern.rsplit_once(':').map_or(pattern, |(name, _)| name);
    name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name).to_owned()
}

fn is_pattern(name: &str) -> bool {
    name.parse::<HostPattern>().is_ok_and(|pattern| pattern.port.is_none() && pattern.host != HostMatch::Any)
}

/// All names beside this one, where they belong to one owner.
fn level(name: &str) -> String {
    let parent = name.split_once('.').map(|(_, parent)| parent).filter(|_| name.parse::<IpAddr>().is_err());
    match parent.filter(|parent| registrable_domain(parent).is_some()) {
        Some(parent) => format!("*.{parent}"),
        None => name.to_owned(),
    }
}

fn issuer_text(record: &HostRecord, known: &KnownCertificate) -> String {
    let issuer = record.issuers.iter().find(|issuer| issuer.key == known.issuer);
    issuer.map_or_else(|| "unknown".to_owned(), |issuer| issuer.text.as_ref().to_owned())
}

fn pin(digest: &[u8; 32]) -> String {
    format!("sha256/{}", STANDARD.encode(digest))
}

fn list(texts: impl Iterator<Item = String>) -> String {
    texts.map(|text| string(&text)).collect::<Vec<_>>().join(", ")
}

/// A TOML string in which nothing moves the cursor.
fn string(text: &str) -> String {
    toml::Value::String(printable(text).into_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::detect::catalogue::known_rules;
    use crate::detect::testing::{Ca, Plan, Scene};
    use crate::detect::watch::Watch;
    use crate::policy::Policy;

    #[test]
    fn it_is_a_policy_that_allows_what_was_seen() {
        let public = Ca::new("Public Root");
        let private = Ca::new("Priv\"ate \u{1b}[2J\n[[suppress]]");
        let mut scene = Scene::new(&[&public]);
        let mut watch = Watch::new(Arc::clone(&scene.anchors), 10);
        for (site, ca) in [("www.example.com", &public), ("intra.corp.example", &private)] {
            scene.serve(&mut watch, (site, "10.1.0.1"), &ca.chain(&Plan::of(&[site])));
        }
        let records: Vec<HostRecord> = watch.hosts().table().iter().cloned().collect();
        let text = suggest(&records, |_| true, |_| Vec::new());
        assert!(!text.contains('\u{1b}'), "{text}");
        let policy = Policy::parse(&text, &known_rules()).unwrap();
        assert_eq!((policy.hosts.len(), policy.internal_cas.len(), policy.suppressions.len()), (2, 1, 0), "{text}");
        assert!(policy.hosts.iter().all(|host| !host.issuers.is_empty()), "{text}");
        // Keys that nobody has seen are not suggested.
        let policy = Policy::parse(&suggest(&records, |_| false, |_| Vec::new()), &known_rules()).unwrap();
        assert!(policy.hosts.is_empty() && policy.internal_cas.is_empty());
        assert!(suggest(&records, |_| false, |_| Vec::new()).contains("# left out: 2 hosts"));
        // What its certificates name, the CA may sign; what is no pattern is not written.
        let names = ["*.corp.example", "10.1.0.1", "*", "a b", "x:443", "2001:db8::1"].map(str::to_owned).to_vec();
        let policy = Policy::parse(&suggest(&records, |_| true, |_| names.clone()), &known_rules()).unwrap();
        let [ca] = policy.internal_cas.as_slice() else { panic!("one") };
        let allowed = ["intra.corp.example", "*.corp.example", "10.1.0.1", "2001:db8::1"].map(|name| ca.allows(name));
        assert_eq!((allowed, ca.allows("www.example.com")), ([true; 4], false));
        // Of very many none is left to alert.
        let many: Vec<String> = (0..5_000).map(|number| format!("h{number}.corp.example")).collect();
        let policy = Policy::parse(&suggest(&records, |_| true, |_| many.clone()), &known_rules()).unwrap();
        assert!(many.iter().all(|name| policy.internal_cas[0].allows(name)) && policy.internal_cas[0].names.len() < 5);
        let many: Vec<String> = (0..5_000).map(|number| format!("www.h{number}.example")).collect();
        let policy = Policy::parse(&suggest(&records, |_| true, |_| many.clone()), &known_rules()).unwrap();
        assert!(policy.internal_cas[0].names.is_empty());
    }

    #[test]
    fn addresses_are_patterns_too() {
        let record = |name: &str| {
            HostRecord::new(&crate::detect::sighting::HostKey { name: name.to_owned(), port: 8443 }, Timestamp(0))
        };
        assert_eq!(pattern(&record("ip:[2001:db8::1]")).as_deref(), Some("[2001:db8::1]:8443"));
        assert_eq!(name("[2001:db8::1]:8443"), "2001:db8::1");
        assert_eq!(pattern(&record("ip:192.0.2.1")).as_deref(), Some("192.0.2.1:8443"));
        assert_eq!(pattern(&record("ech:a.example")), None);
    }
}
