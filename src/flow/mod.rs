//! Connections: the table that the reader keeps, and the reassembly that a worker keeps.
//!
//! The reader owns keys, generations, expiry and eviction ([`table`]); a worker owns what a connection says
//! ([`connection`], [`tcp`]), indexed by the same flow id. Neither knows threads.

pub mod connection;
mod end;
mod entries;
pub mod history;
mod index;
pub mod table;
pub mod tcp;

pub use connection::{Connection, ConnectionFacts, SegmentIn};
pub use table::{Beginning, FlowId, FlowRef, FlowTable};
