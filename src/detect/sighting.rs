//! What a detector is asked about: one handshake with everything that was already found out about it.

use crate::detect::finding::Finding;
use crate::detect::observation::Observation;
use crate::policy::Policy;
use crate::time::{Timestamp, ValidityTime};
use crate::x509::chain::ChainReport;
use crate::x509::judge::Judgement;

/// One handshake on its way past the detectors, in capture order.
#[derive(Clone, Copy, Debug)]
pub struct Sighting<'a> {
    /// The handshake.
    pub observation: &'a Observation,
    /// Which host it was with.
    pub host: &'a HostKey,
    /// The capture's clock at its place: the time that memory ages by.
    pub clock: Timestamp,
    /// Packet time for rules about validity; `None` where the packet's time is not known.
    pub at: Option<ValidityTime>,
    /// The server's chain, judged at packet time; `None` without certificates.
    pub server: Option<&'a JudgedChain>,
    /// The client's chain.
    pub client: Option<&'a JudgedChain>,
    /// What the owner allows.
    pub policy: &'a Policy,
    /// Reading captures, not watching: memory begins empty and trust on first use is all there is.
    pub offline: bool,
}

/// A chain with its verdict.
#[derive(Clone, Debug)]
pub struct JudgedChain {
    /// Paths and signatures; no time in it.
    pub report: ChainReport,
    /// Validity, name and usage at packet time.
    pub judgement: Judgement,
}

/// Identity of a host: what its baseline is kept under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostKey {
    /// Lower-case server name, `ech:<outer name>` with encrypted ClientHello, or `ip:<address>` without a name.
    pub name: String,
    /// Server port.
    pub port: u16,
}

/// A rule with memory, or a family of them. Sees every handshake in capture order, in one thread.
pub trait Detector {
    /// Takes note of a handshake and says what is wrong with it.
    fn observe(&mut self, sighting: &Sighting<'_>, findings: &mut Vec<Finding>);

    /// The clock moved on: cases that were held for more evidence may be over.
    fn advance(&mut self, clock: Timestamp, policy: &Policy, findings: &mut Vec<Finding>);

    /// The capture is over: what is still held is decided.
    fn finish(&mut self, policy: &Policy, findings: &mut Vec<Finding>);
}
