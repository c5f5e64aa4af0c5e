//! What is concluded: observations, findings, rules.

pub mod observation;
