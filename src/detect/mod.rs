//! What is concluded: observations, findings, rules.

pub mod alerts;
mod case;
pub mod catalogue;
mod certificate;
pub mod crl;
pub mod finding;
pub mod interception_products;
pub mod judge;
pub mod lists;
pub mod memory;
pub mod observation;
pub mod proof;
pub mod sighting;
