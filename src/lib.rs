//! tlswatch: a passive TLS inspection sensor.
//!
//! The modules follow the data:
//!
//! 1. words everybody uses: [`time`], [`direction`], [`stats`], [`config`], [`text`]
//! 2. frames to segments: [`packet`]
//! 3. records to handshakes: [`tls`]
//! 4. certificates: [`x509`]
//! 5. conclusions: [`detect`]
//! 6. output: [`event`], [`sink`], [`report`]
//! 7. the edges, where files and interfaces are: [`capture`]

pub mod config;
pub mod direction;
pub mod stats;
pub mod text;
pub mod time;

pub mod packet;

pub mod tls;

pub mod x509;

pub mod detect;

pub mod capture;

pub mod event;

pub mod sink;

pub mod report;
