//! What is concluded: observations, findings, rules.

pub mod alerts;
mod case;
pub mod catalogue;
mod certificate;
pub mod crl;
mod crypto;
mod dh_groups;
pub mod finding;
pub mod hosts;
pub mod interception_products;
pub mod judge;
#[cfg(test)]
mod judge_tests;
pub mod keys;
pub mod knowledge;
mod listed;
pub mod lists;
pub mod memory;
pub mod negotiation;
pub mod observation;
mod policy_rules;
pub mod proof;
pub mod sighting;
#[cfg(test)]
pub(crate) mod testing;
pub mod weak_rsa;
