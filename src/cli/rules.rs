//! `tlswatch rules` and `tlswatch policy`: what is looked for, and whether a policy file is good.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use crate::cli::judgement::{folder_of, in_words, read_policy};
use crate::cli::lists::{proxies, read_all};
use crate::cli::{complain, exit, print, tell};
use crate::detect::catalogue::{rule, rule_text, rules_table};
use crate::detect::hosts::record::HostRecord;
use crate::detect::knowledge::Knowledge;
use crate::inventory::{InventoryError, Store};
use crate::policy::warnings;
use crate::report::suggest::suggest;
use crate::text::printable;
use crate::x509::Sha256;
use crate::x509::roots::TrustAnchors;

#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// All that is known of one rule
    Show {
        /// Id (TLSW-MITM-003) or short name (leaf-signed-by-own-key)
        rule: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Read a policy file and what it names; tell mistakes, and what is allowed but hardly meant
    Check {
        /// Policy file
        file: PathBuf,
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
    match command {
        None => print(&rules_table()),
        Some(RulesCommand::Show { rule: name }) => match rule(name) {
            Some(found) => print(&rule_text(found)),
            None => complain(&format!("there is no rule '{}'; `tlswatch rules` lists them", printable(name))),
        },
    }
}

/// `policy check`: 0 when the file is good, 2 when it is not; `policy suggest`.
pub(crate) fn policy(command: &PolicyCommand) -> u8 {
    let file = match command {
        PolicyCommand::Check { file } => file,
        PolicyCommand::Suggest { inventory, handshakes } => return suggestions(inventory, *handshakes),
    };
    let (policy, mut mistakes) = match read_policy(file) {
        Ok(read) => read,
        Err(error) => return complain(&error),
    };
    // Of what was not understood, nobody knows whether it is meant.
    for warning in warnings(&policy, None).iter().filter(|_| mistakes.is_empty()) {
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
    for (line, names) in proxies(&knowledge) {
        tell(&printable(&format!(
            "{}: line {line}: interception: ca authorises what these sign: {names}",
            file.display()
        )));
    }
    if print("the policy is good\n") == 0 { 0 } else { exit::FAILURE }
}

fn suggestions(inventory: &Path, handshakes: u32) -> u8 {
    let read = || {
        let store = Store::open_to_ask(inventory)?;
        let mut records = Vec::new();
        for (key, ..) in store.baselines(None)? {
            let record = store.baseline(&key)?.and_then(|bytes| HostRecord::from_bytes(&bytes));
            records.extend(record.filter(|record| record.support >= handshakes));
        }
        let mut keys = HashSet::new();
        for issuer in records.iter().flat_map(|record| record.accepted().map(|known| known.issuer)) {
            if store.has_key(&Sha256(issuer))? {
                keys.insert(issuer);
            }
        }
        Ok::<_, InventoryError>(suggest(&records, |key| keys.contains(key)))
    };
    match read() {
        Ok(text) => print(&text),
        Err(error) => {
            tell(&printable(&format!("{}: {error}", inventory.display())));
            exit::FAILURE
        }
    }
}
