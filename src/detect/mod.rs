//! What is concluded: observations, findings, rules.

pub mod catalogue;
pub mod finding;
pub mod hosts;
pub mod interception_products;
pub mod keys;
pub mod lists;
pub mod memory;
pub mod negotiation;
pub mod observation;
pub mod sighting;

#[cfg(test)]
pub(crate) mod testing;
