//! What is behind the memory of hosts: a file, or nothing. Detection itself reads and writes none.

use std::fmt;

use super::record::HostRecord;
use crate::detect::sighting::HostKey;
use crate::x509::Sha256;

/// Keeps baselines beyond what memory holds and beyond the end of the run.
pub trait Backing: fmt::Debug + Send + Sync {
    /// The baseline of a host as it was last written, with what a person accepted since.
    fn read(&self, key: &HostKey) -> Option<HostRecord>;

    /// Keeps a baseline in place of an earlier one of the same host.
    fn write(&self, record: &HostRecord);

    /// Whether this file of the run was read in an earlier one: its handshakes are in the baselines already.
    fn is_old(&self, file: u32) -> bool;

    /// Whether a certificate was seen before this run.
    fn knows(&self, certificate: &Sha256) -> bool;
}
