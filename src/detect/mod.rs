//! What is concluded: observations, findings, rules.

pub mod alerts;
#[cfg(test)]
mod boundary_tests;
mod case;
pub mod catalogue;
mod certificate;
pub mod client_certificates;
pub mod client_kind;
#[cfg(test)]
mod company_tests;
#[cfg(test)]
mod condition_tests;
pub mod crl;
mod crl_signers;
mod crypto;
mod dh_groups;
pub mod finding;
#[cfg(test)]
mod forged_path_tests;
pub mod gist;
#[cfg(test)]
mod hostile_tests;
pub mod hosts;
pub mod interception_products;
pub mod interceptors;
pub mod judge;
#[cfg(test)]
mod judge_tests;
pub mod keys;
pub mod knowledge;
mod listed;
pub mod lists;
pub mod memory;
#[cfg(test)]
mod month_tests;
pub mod named;
pub mod negotiation;
pub mod nonces;
pub mod observation;
#[cfg(test)]
mod one_cause_tests;
mod open_chains;
mod policy_rules;
pub mod popular;
pub mod proof;
mod recent;
pub mod rejections;
pub mod sighting;
#[cfg(test)]
mod spoofed_curve_tests;
pub mod stored;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod told_tests;
mod undecided;
pub mod watch;
pub mod weak_rsa;
pub mod why_not;
