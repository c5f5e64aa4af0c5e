//! What people read: the summary on a terminal, alerts in words.

pub mod explain;
pub mod summary;

pub use summary::{AlertRow, Summary};
