//! tlswatch: a passive TLS inspection sensor.
//!
//! The modules follow the data:
//!
//! 1. words everybody uses: [`time`], [`direction`], [`stats`], [`config`], [`policy`], [`text`]
//! 2. files and interfaces to frames: [`capture`]
//! 3. frames to segments: [`packet`]
//! 4. records to handshakes: [`tls`]
//! 5. certificates: [`x509`]
//! 6. what carries TLS, and connections: [`session`], [`flow`]
//! 7. conclusions: [`detect`]
//! 8. output: [`event`], [`sink`], [`report`], [`inventory`]
//! 9. threads and order, and the command line: [`pipeline`], [`cli`]

pub mod config;
pub mod direction;
pub mod policy;
mod prefetch;
pub mod stats;
pub mod text;
pub mod time;

pub mod capture;

pub mod packet;

pub mod tls;

pub mod x509;

pub mod session;

pub mod flow;

pub mod detect;

pub mod event;

pub mod sink;

pub mod inventory;
pub mod report;

pub mod pipeline;

pub mod cli;

#[doc(hidden)]
pub mod fuzz;
