//! Where lines go: files and standard output. The only place that writes events out.

pub mod ndjson;
pub mod pem;
pub mod pipe;
pub mod reopened;
pub mod stdout;

use std::io;

use crate::detect::observation::Observation;
use crate::event::{AlertView, CertificateView};
use crate::stats::Stats;

pub use ndjson::Ndjson;
pub use pem::PemFolder;
pub use reopened::ReopenedNdjson;

/// An event on its way to the sinks: its line, and what the line was made of.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// The NDJSON line with its line feed.
    pub line: &'a [u8],
    /// What it is about.
    pub about: About<'a>,
}

/// What an event is about.
#[derive(Clone, Copy, Debug)]
pub enum About<'a> {
    /// A handshake.
    Handshake(&'a Observation),
    /// A certificate in a role.
    Certificate(&'a CertificateView<'a>),
    /// An alert.
    Alert(&'a AlertView<'a>),
    /// Counters.
    Stats(&'a Stats),
}

/// Takes events in their final order.
pub trait Sink {
    /// Takes one event.
    ///
    /// # Errors
    /// [`SinkError::Closed`] when nobody reads any more, else what failed.
    fn write(&mut self, event: &Event<'_>) -> Result<(), SinkError>;

    /// Live: the capture's clock, which goes on while no event comes.
    ///
    /// # Errors
    /// As [`write`](Sink::write).
    fn tick(&mut self, _clock: crate::time::Timestamp) -> Result<(), SinkError> {
        Ok(())
    }

    /// Hands everything taken so far to the operating system.
    ///
    /// # Errors
    /// As [`write`](Sink::write).
    fn flush(&mut self) -> Result<(), SinkError>;

    /// The last [`flush`](Sink::flush) of a run: what cannot be written now will not be.
    ///
    /// # Errors
    /// As [`write`](Sink::write).
    fn finish(&mut self) -> Result<(), SinkError> {
        self.flush()
    }

    /// Events that were dropped so far because they could not be written and there was no room to keep them.
    fn lost(&self) -> Lost {
        Lost::default()
    }
}

/// Events that a sink dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Handshakes.
    pub handshakes: u64,
    /// Certificates.
    pub certificates: u64,
    /// Alerts and counters.
    pub alerts: u64,
    /// Of an inventory: handshakes, baselines and alerts.
    pub inventory: u64,
}

/// Why a sink cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// The reader of a pipe went away: the end of the run, and no failure.
    #[error("the reader of the output is gone")]
    Closed,
    /// Standard output was closed, or open for reading only, before the program started.
    #[error("cannot write: standard output is not open for writing")]
    NoOutput,
    /// The file or folder cannot be made.
    #[error("cannot create {path}: {source}")]
    Create {
        /// The path as the user gave it, escaped for terminals by whoever prints it.
        path: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file that is there already is no file of events: perhaps a capture.
    #[error("{path} holds something else than events and is not written over")]
    Foreign {
        /// The path as the user gave it.
        path: String,
    },
    /// Writing failed.
    #[error("cannot write: {0}")]
    Write(io::Error),
}

impl From<io::Error> for SinkError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Write(error),
        }
    }
}

/// How new files are opened: for the owner to write, the group to read, nobody else.
fn create_options() -> std::fs::OpenOptions {
    let mut options = std::fs::OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    options
}

/// A path may have become a pipe: to open it must not wait for its other end.
fn never_wait(options: &mut std::fs::OpenOptions) -> &mut std::fs::OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, libc::O_NONBLOCK);
    options
}
