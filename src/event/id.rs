//! `event.id`: the same on every run over the same capture, so that a store can make at-least-once exactly-once.

use std::net::IpAddr;

use sha2::{Digest, Sha256};

use crate::detect::observation::Observation;
use crate::packet::Endpoint;
use crate::time::Moment;

use super::Dataset;

/// Gathers what tells an event from all others; lengths are hashed too, so that no two lists of parts are the same bytes.
///
/// Hashed in one go: the parts are small, and each would cost more to hand over than to hash.
pub(super) struct EventId(Vec<u8>);

/// Bytes of the usual parts.
const BYTES: usize = 256;

impl EventId {
    /// Begins the id of an event of `dataset` by the observer of this name.
    pub(super) fn new(observer: &str, dataset: Dataset) -> Self {
        Self(Vec::with_capacity(BYTES)).part(observer.as_bytes()).part(dataset.name().as_bytes())
    }

    /// Adds both ends, the first packet's time and frame, and the ordinal on the connection.
    pub(super) fn handshake(self, observation: &Observation) -> Self {
        let ends = &observation.ends;
        self.endpoint(ends.client)
            .endpoint(ends.server)
            .part(&[ends.transport.number()])
            .part(&ends.virtual_network.to_be_bytes())
            .moment(observation.handshake.first)
            .part(&observation.handshake.ordinal.to_be_bytes())
    }

    /// Adds what the event is about.
    #[inline]
    pub(super) fn part(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    /// The first 128 bits.
    pub(super) fn finish(self) -> [u8; 16] {
        let digest: [u8; 32] = Sha256::digest(&self.0).into();
        digest.first_chunk().copied().unwrap_or_default()
    }

    fn moment(self, moment: Moment) -> Self {
        self.part(&moment.timestamp.nanos().to_be_bytes()).part(&moment.order.frame.to_be_bytes())
    }

    fn endpoint(self, end: Endpoint) -> Self {
        match end.address {
            IpAddr::V4(address) => self.part(&address.octets()),
            IpAddr::V6(address) => self.part(&address.octets()),
        }
        .part(&end.port.to_be_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::sample;

    fn id(observation: &Observation) -> [u8; 16] {
        EventId::new("one", Dataset::Tls).handshake(observation).finish()
    }

    #[test]
    fn every_part_counts() {
        let base = sample::observation();
        let mut others = vec![base.clone(); 5];
        others[0].ends.client.port += 1;
        others[1].ends.virtual_network = 99;
        others[2].handshake.first.timestamp.0 += 1;
        others[3].handshake.first.order.frame += 1;
        others[4].handshake.ordinal += 1;
        let mut ids: Vec<_> = others.iter().map(id).collect();
        ids.push(id(&base));
        ids.push(EventId::new("two", Dataset::Tls).handshake(&base).finish());
        ids.push(EventId::new("one", Dataset::Certificate).handshake(&base).finish());
        ids.push(EventId::new("one", Dataset::Tls).handshake(&base).part(b"").finish());
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
        assert_eq!(id(&base), id(&base.clone()));
    }
}
