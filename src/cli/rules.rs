//! `tlswatch rules` and `tlswatch policy`: what is looked for, and whether a policy file is good.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use console::Term;

use crate::cli::inventory::time;
use crate::cli::judgement::{folder_of, in_words, read_policy};
use crate::cli::lists::{proxies, read_all};
use crate::cli::{columns, complain, exit, print, tell};
use crate::detect::catalogue::{
    NEW_INTERCEPTION_CA, Rule, UNEXPECTED_CERTIFICATE, known_rules, rule, rule_text, rules_table,
};
use crate::detect::hosts::record::HostRecord;
use crate::detect::knowledge::Knowledge;
use crate::inventory::{InventoryError, Store};
use crate::policy::{Day, HostEntry, Policy, Warning, or_nearest, warnings};
use crate::report::suggest::suggest;
use crate::text::{counted, printable};
use crate::time::Timestamp;
use crate::tls::names::cipher_suite;
use crate::x509::Sha256;
use crate::x509::roots::TrustAnchors;

#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// All that is known of one rule
    Show {
        /// Id (TLSW-MITM-003 or MITM-003) or short name (leaf-signed-by-own-key)
        rule: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Read a policy file and what it names; tell mistakes, and what is allowed but hardly meant
    Check {
        /// Policy file, or - for standard input
        file: PathBuf,
        /// Also tell what is over by then: pins that only mark, suppressions that ended
        #[arg(long, value_name = "TIME", value_parser = time)]
        at: Option<Timestamp>,
    },
    /// Write entries for the hosts and private CAs of an inventory, to begin with
    Suggest {
        /// The inventory
        #[arg(short = 'i', long, value_name = "FILE", env = "TLSWATCH_INVENTORY")]
        inventory: PathBuf,
        /// Only hosts with so many handshakes
        #[arg(long, value_name = "N", default_value_t = 10)]
        handshakes: u32,
    },
}

/// `rules` and `rules show`.
pub(crate) fn rules(command: Option<&RulesCommand>) -> u8 {
    let width = columns(&Term::stdout());
    match command {
        None => print(&rules_table(width)),
        Some(RulesCommand::Show { rule: name }) => match rule(name) {
            Some(found) => print(&rule_text(found, width)),
            None => {
                let near = or_nearest(name, &known_rules());
                complain(&format!("there is no rule '{}'{near}; `tlswatch rules` lists them", printable(name)))
            }
        },
    }
}

/// `policy check`: 0 when the file is good, 2 when it is not; `policy suggest`.
pub(crate) fn policy(command: &PolicyCommand) -> u8 {
    let (file, at) = match command {
        PolicyCommand::Check { file, at } => (file, *at),
        PolicyCommand::Suggest { inventory, handshakes } => return suggestions(inventory, *handshakes),
    };
    let source = if file == Path::new("-") { Path::new("/dev/stdin") } else { file };
    let (policy, mut mistakes) = match read_policy(source) {
        Ok(read) => read,
        Err(error) => return complain(&error),
    };
    // Of what was not understood, nobody knows whether it is meant.
    let mut odd = warnings(&policy, at.map(Day::of));
    odd.extend(unheard_of(&policy));
    odd.extend(thresholds(&policy));
    odd.sort();
    for warning in odd.iter().filter(|_| mistakes.is_empty()) {
        tell(&printable(&format!("{}: {warning}", file.display())));
    }
    let mut knowledge = Knowledge { policy, builtin: TrustAnchors::mozilla(), ..Knowledge::default() };
    mistakes.extend(read_all(&mut knowledge, folder_of(file)));
    if !mistakes.is_empty() {
        for mistake in in_words(file, mistakes) {
            complain(&mistake);
        }
        return exit::USAGE;
    }
    for warning in trusted_keys(&knowledge) {
        tell(&printable(&format!("{}: {warning}", file.display())));
    }
    for (line, names) in proxies(&knowledge) {
        tell(&printable(&format!(
            "{}: line {line}: interception: ca authorises what these sign: {names}",
            file.display()
        )));
    }
    if print("the policy is good\n") == 0 { 0 } else { exit::FAILURE }
}

/// Keys of trusted roots that an entry takes for those of a CA of the owner's own.
fn trusted_keys(knowledge: &Knowledge) -> Vec<Warning> {
    let policy = &knowledge.policy;
    let proxies = policy.interceptions.iter().flat_map(|entry| entry.spki.iter().map(move |key| (entry.line, key)));
    let proxies = proxies.filter_map(|(line, key)| {
        let root = knowledge.anchors.with_key(&Sha256(*key))?.facts.as_deref()?;
        let message = format!(
            "interception.spki: {} is a root of trust.roots: what the proxy signs for other clients is trusted too",
            root.subject.text
        );
        Some(Warning { line, message })
    });
    let internal = policy.internal_cas.iter().flat_map(|entry| entry.spki.iter().map(move |key| (entry.line, key)));
    let internal = internal.filter_map(|(line, key)| {
        let root = knowledge.builtin.with_key(&Sha256(*key))?.facts.as_deref()?;
        let message = format!(
            "internal_ca.spki: {} is a root that browsers trust: all that it signs for anybody counts as yours",
            root.subject.text
        );
        Some(Warning { line, message })
    });
    let mut all: Vec<Warning> = proxies.chain(internal).collect();
    all.sort();
    all
}

/// Cipher suites that no server can choose: every handshake with the host would be against the policy.
fn unheard_of(policy: &Policy) -> Vec<Warning> {
    if policy.hosts.iter().all(|entry| entry.ciphers.is_empty()) {
        return Vec::new();
    }
    let known: HashSet<&str> = (0..=u16::MAX).filter_map(cipher_suite).collect();
    let unknown = |entry: &HostEntry| {
        let line = entry.line;
        let names: Vec<String> = entry.ciphers.iter().filter(|name| !known.contains(name.as_str())).cloned().collect();
        names.into_iter().map(move |name| {
            let message = format!("host.ciphers: no cipher suite is called \"{name}\" (TLS_AES_128_GCM_SHA256, say)");
            Warning { line, message }
        })
    };
    policy.hosts.iter().flat_map(unknown).collect()
}

/// Settings that contradict each other.
fn thresholds(policy: &Policy) -> Vec<Warning> {
    let number = |rule: &Rule, name| policy.number(&rule.known(), name);
    let mut out = Vec::new();
    for (rule, [less, more], what) in [
        (&UNEXPECTED_CERTIFICATE, ["medium", "high"], "no alert is medium"),
        (&NEW_INTERCEPTION_CA, ["public", "domains"], "domains never decides"),
    ] {
        if number(rule, less) > number(rule, more) {
            let message = format!("rules.{}: {less} is above {more}: {what}", rule.id);
            out.push(Warning { line: 1, message });
        }
    }
    out
}

fn suggestions(inventory: &Path, handshakes: u32) -> u8 {
    let read = || {
        let store = Store::open_to_ask(inventory)?;
        let (mut records, mut few) = (Vec::new(), 0_u64);
        for (key, ..) in store.baselines(None)? {
            let record = store.baseline(&key)?.and_then(|bytes| HostRecord::from_bytes(&bytes));
            match record {
                Some(record) if record.support >= handshakes => records.push(record),
                _ => few += 1,
            }
        }
        let mut keys = HashSet::new();
        let mut names = HashMap::new();
        for known in records.iter().flat_map(HostRecord::accepted) {
            if store.has_key(&Sha256(known.issuer))? {
                keys.insert(known.issuer);
            }
            if !known.public {
                names.insert(known.sha256, store.names_in(&Sha256(known.sha256))?);
            }
        }
        let of = |certificate: &[u8; 32]| names.get(certificate).cloned().unwrap_or_default();
        let mut text = suggest(&records, |key| keys.contains(key), of);
        if few > 0 {
            let hosts = counted(few, "host");
            text.push_str(&format!("\n# left out: {hosts} with fewer than {handshakes} handshakes (--handshakes N)\n"));
        }
        Ok::<_, InventoryError>(text)
    };
    match read() {
        Ok(text) => print(&text),
        Err(error) => {
            tell(&printable(&format!("{}: {error}", inventory.display())));
            exit::FAILURE
        }
    }
}
