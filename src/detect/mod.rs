//! What is concluded: observations, findings, rules.

pub mod catalogue;
pub mod memory;
pub mod observation;
