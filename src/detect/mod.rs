//! What is concluded: observations, findings, rules.

pub mod catalogue;
pub mod observation;
