//! Captures in: files of every common format, folders and standard input as one capture, or an interface.
//!
//! A [`Source`] lends one frame after the other. Damage never hides what is readable: it becomes a [`Problem`], and
//! reading goes on where it can.

mod blocks;
mod compress;
mod file;
mod filter;
#[cfg(feature = "live")]
pub mod live;
mod mapped;
mod merge;
mod packets;
mod pcap;
mod pcapng;
mod record;
mod run;

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::packet::{Frame, LinkType};
use crate::stats::Stats;
use crate::time::Timestamp;

pub use filter::Filter;
pub use mapped::Pages;
pub use merge::{Files, Options};
pub use packets::Packets;
pub use pcapng::Secrets;
pub use record::Damage;
pub use run::Run;

/// Where frames come from, one after the other.
pub trait Source {
    /// The next frame, lent until the next call.
    ///
    /// # Errors
    /// Only what ends the whole run; damage of one file is told by [`Self::problems`].
    fn next(&mut self) -> Result<Next<'_>, CaptureError>;

    /// The frames that are at hand without asking for each, if the source has such; others come with [`Self::next`].
    fn run(&mut self) -> Option<Run<'_>> {
        None
    }

    /// The pages in which the bytes of frames lie now, where other threads may read them too.
    fn pages(&self) -> Option<&Arc<Pages>> {
        None
    }

    /// To be called after every pause: while one waits, files may be changed.
    fn refresh(&mut self) {}

    /// The path of a file as the user gave it (`-` for standard input); `None` live.
    fn file_path(&self, file: u32) -> Option<&str>;

    /// The name of an interface of a file, if the capture tells it.
    fn interface_name(&self, file: u32, interface: u32) -> Option<&str>;

    /// The `capture.*` counters of this source; final after [`Next::End`].
    fn stats(&self) -> &Stats;

    /// Problems met so far, at most one for each file or link type.
    fn problems(&self) -> &[Problem];

    /// How much of the input is read.
    fn progress(&self) -> Progress;
}

impl<S: Source + ?Sized> Source for &mut S {
    fn next(&mut self) -> Result<Next<'_>, CaptureError> {
        (**self).next()
    }

    fn run(&mut self) -> Option<Run<'_>> {
        (**self).run()
    }

    fn pages(&self) -> Option<&Arc<Pages>> {
        (**self).pages()
    }

    fn refresh(&mut self) {
        (**self).refresh();
    }

    fn file_path(&self, file: u32) -> Option<&str> {
        (**self).file_path(file)
    }

    fn interface_name(&self, file: u32, interface: u32) -> Option<&str> {
        (**self).interface_name(file, interface)
    }

    fn stats(&self) -> &Stats {
        (**self).stats()
    }

    fn problems(&self) -> &[Problem] {
        (**self).problems()
    }

    fn progress(&self) -> Progress {
        (**self).progress()
    }
}

/// What a [`Source`] gives.
#[derive(Clone, Copy, Debug)]
pub enum Next<'a> {
    /// A frame.
    Frame(Frame<'a>),
    /// Nothing came for a while (live); all later frames are expected at or after this time.
    Idle(Timestamp),
    /// The capture is over; every later call says so again.
    End,
}

/// How much of the input is read, in bytes as stored (compressed where it is).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read.
    pub read: u64,
    /// Bytes there are, where that is known (not for pipes and interfaces).
    pub total: Option<u64>,
}

/// What ends a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The filter expression is wrong.
    #[error("filter \"{expression}\": {reason}")]
    Filter {
        /// The expression as given.
        expression: String,
        /// What libpcap says.
        reason: String,
    },
    /// Filters need libpcap, which this build does not have.
    #[error("packet filters need a build with the feature `live` (libpcap)")]
    FilterUnavailable,
    /// There is no such interface.
    #[error("no interface {name:?}; there are: {}", known.join(", "))]
    UnknownInterface {
        /// The name as given.
        name: String,
        /// Names that can be captured.
        known: Vec<String>,
    },
    /// The process may not capture.
    #[error("no right to capture on {name:?}: run as root, or `setcap cap_net_raw+ep` on the program ({reason})")]
    Permission {
        /// The interface.
        name: String,
        /// What libpcap says.
        reason: String,
    },
    /// The interface cannot be captured, or no longer.
    #[error("interface {name:?}: {reason}")]
    Interface {
        /// The interface.
        name: String,
        /// What libpcap or the system says.
        reason: String,
    },
}

/// Something that the user must know about the input, for standard error and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file as the user gave it; not escaped.
    pub path: String,
    /// What it is.
    pub kind: ProblemKind,
}

/// The kinds of [`Problem`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProblemKind {
    /// A file given by name is no capture.
    NotACapture,
    /// A file or folder cannot be read.
    Io {
        /// What the system says.
        kind: io::ErrorKind,
        /// The same in words.
        message: String,
    },
    /// A file is cut or corrupt; everything readable was read. Only the first place of a file is told.
    Damaged {
        /// Byte of the file, or of the decompressed stream.
        offset: u64,
        /// What is wrong there.
        damage: Damage,
    },
    /// A file of a folder is no capture and was skipped.
    Skipped,
    /// There is no file in a folder; folders in it are not read.
    Empty,
    /// The filter does not apply to a link type of the capture: its frames were left out.
    Filter {
        /// The link type.
        link_type: LinkType,
        /// What libpcap says.
        reason: String,
    },
    /// Frames of this link type are counted, but not followed; told once, with the first file that has some.
    UnsupportedLink {
        /// The link type.
        link_type: LinkType,
    },
    /// The interface, named by the path, can no longer be captured.
    Interface {
        /// What libpcap says.
        reason: String,
    },
}

/// How much a [`Problem`] weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Only told.
    Warning,
    /// A failure where the user asks for strictness.
    Damage,
    /// A failure.
    Failure,
}

impl ProblemKind {
    /// How much this weighs for the exit code.
    pub fn weight(&self) -> Weight {
        match self {
            Self::NotACapture | Self::Io { .. } | Self::Filter { .. } | Self::Interface { .. } => Weight::Failure,
            Self::Damaged { .. } => Weight::Damage,
            Self::Skipped | Self::Empty | Self::UnsupportedLink { .. } => Weight::Warning,
        }
    }
}

impl fmt::Display for Problem {
    /// One line for a terminal, with the path escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = crate::text::printable(&self.path);
        match &self.kind {
            ProblemKind::NotACapture => write!(f, "{path}: not a capture file"),
            ProblemKind::Io { message, .. } => write!(f, "{path}: {message}"),
            ProblemKind::Damaged { offset, damage } => write!(f, "{path}: damaged at byte {offset}: {damage}"),
            ProblemKind::UnsupportedLink { link_type } => {
                write!(f, "{path}: link type {} is not supported: its frames are only counted", link_type.0)
            }
            ProblemKind::Interface { reason } => {
                write!(f, "{path}: the capture ended: {}", crate::text::printable(reason))
            }
            ProblemKind::Skipped => write!(f, "{path}: skipped: not a capture file"),
            ProblemKind::Empty => write!(f, "{path}: no file in this folder (folders in it are not read)"),
            ProblemKind::Filter { link_type, reason } => {
                let reason = crate::text::printable(reason);
                write!(f, "{path}: the filter does not apply to link type {}: {reason}", link_type.0)
            }
        }
    }
}

#[cfg(test)]
mod tests;
