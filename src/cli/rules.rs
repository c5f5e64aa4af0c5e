//! `tlswatch rules` and `tlswatch policy`: what is looked for, and whether a policy file is good.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use crate::cli::judgement::read_policy;
use crate::cli::{complain, exit, print, tell};
use crate::detect::catalogue::{rule, rule_text, rules_table};
use crate::detect::knowledge::Knowledge;
use crate::policy::warnings;
use crate::text::printable;

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

/// `policy check`: 0 when the file is good, 2 when it is not.
pub(crate) fn policy(command: &PolicyCommand) -> u8 {
    let PolicyCommand::Check { file } = command;
    let policy = match read_policy(file) {
        Ok(policy) => policy,
        Err(errors) => return complain(&errors),
    };
    for warning in warnings(&policy, None) {
        tell(&printable(&format!("{}: {warning}", file.display())));
    }
    let mut knowledge = Knowledge { policy, ..Knowledge::default() };
    let folder = file.parent().unwrap_or_else(|| Path::new(""));
    if let Err(error) = crate::cli::lists::read_all(&mut knowledge, folder) {
        return complain(&error);
    }
    if print("the policy is good\n") == 0 { 0 } else { exit::FAILURE }
}
