//! What people read: the summary on a terminal.

pub mod summary;

pub use summary::{AlertRow, Summary};
