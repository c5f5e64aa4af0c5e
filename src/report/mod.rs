//! What people read: the summary on a terminal, alerts in words, a policy to begin with.

pub mod explain;
pub mod suggest;
pub mod summary;

pub use summary::{AlertRow, NAMED, Summary};
