//! What is concluded: observations, findings, rules.

pub mod catalogue;
pub mod client_certificates;
pub mod finding;
pub mod hosts;
pub mod interception_products;
pub mod interceptors;
pub mod keys;
pub mod lists;
pub mod memory;
pub mod negotiation;
pub mod observation;
pub mod popular;
pub mod rejections;
pub mod sighting;
pub mod watch;

#[cfg(test)]
pub(crate) mod stage;
