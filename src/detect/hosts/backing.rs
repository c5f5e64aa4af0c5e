//! What is behind the memory of hosts and of alerts: a file, or nothing. Detection itself reads and writes none.

use std::fmt;
use std::net::IpAddr;

use super::record::HostRecord;
use crate::detect::alerts::Alert;
use crate::detect::alerts::kept::Before;
use crate::detect::finding::AlertId;
use crate::detect::observation::{Ends, Observation};
use crate::detect::sighting::HostKey;
use crate::policy::Severity;
use crate::time::{Moment, Timestamp};
use crate::x509::Sha256;

/// Keeps baselines beyond what memory holds and beyond the end of the run.
pub trait Backing: fmt::Debug + Send + Sync {
    /// The baseline of a host as it was last written, with what a person accepted since.
    fn read(&self, key: &HostKey) -> Option<HostRecord>;

    /// Certificates that a person accepted for a host, also for one that has no baseline yet.
    fn accepted(&self, _key: &HostKey) -> Vec<Sha256> {
        Vec::new()
    }

    /// What persons did to baselines since this was asked last, in order.
    fn edits(&self) -> Vec<Edit> {
        Vec::new()
    }

    /// Forgets the baseline of a host, also one that is on its way.
    fn forget(&self, _key: &HostKey) {}

    /// Keeps a baseline in place of an earlier one of the same host.
    fn write(&self, record: &HostRecord);

    /// All that was written is kept, or on its way.
    fn is_whole(&self) -> bool {
        true
    }

    /// Whether a certificate was seen before this run.
    fn knows(&self, _certificate: &Sha256) -> bool {
        false
    }

    /// Registrable domains, hashed, of hosts that were seen with a certificate of a public CA.
    fn public_domains(&self) -> Vec<u64> {
        Vec::new()
    }

    /// From where client certificates were used before this run.
    fn client_uses(&self) -> Vec<ClientUse> {
        Vec::new()
    }

    /// What was written goes on its way now, however little it is.
    fn flush(&self) {}

    /// The run is over: what is written from now on belongs together.
    fn finish(&self) {}

    /// Forgets the baselines of hosts that were last seen before this time.
    fn expire(&self, _before: Timestamp) {}

    /// Whether an earlier run read the handshake that begins at this moment.
    fn was_read(&self, _ends: Option<&Ends>, _moment: &Moment) -> bool {
        false
    }

    /// Whether this handshake adds nothing to the baselines: they have it already, or the run is not about it.
    fn is_old(&self, observation: &Observation) -> bool {
        self.was_read(Some(&observation.ends), &observation.handshake.first)
    }

    /// What earlier runs told of a cause.
    fn told(&self, _id: &AlertId) -> Option<ToldBefore> {
        None
    }

    /// What else earlier runs knew of a cause that they told.
    fn about(&self, _id: &AlertId) -> Before {
        Before::default()
    }

    /// Keeps what was counted of a cause that was told, with `lists` also what it is about; its line stays.
    fn counted(&self, _alert: &Alert, _lists: bool) {}
}

/// What a person did to the baseline of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Certificates were accepted.
    Accept(HostKey),
    /// It is to be learned anew.
    Forget(HostKey),
}

/// From where a client's key was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientUse {
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub key: Sha256,
    /// Address of the client.
    pub address: IpAddr,
    /// First packet time.
    pub first: Timestamp,
    /// Last packet time.
    pub last: Timestamp,
    /// Handshakes.
    pub count: u32,
}

/// What earlier runs told of a cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToldBefore {
    /// Packet time of the first handshake.
    pub first: Timestamp,
    /// Packet time of the last one that was told.
    pub last: Timestamp,
    /// Handshakes.
    pub count: u64,
    /// Gravest severity.
    pub severity: Severity,
}
