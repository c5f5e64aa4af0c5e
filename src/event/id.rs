//! `event.id`: the same on every run over the same capture, so that a store can make at-least-once exactly-once.

use std::net::IpAddr;

use sha2::block_api::compress256;

use crate::detect::observation::Observation;
use crate::packet::Endpoint;

use super::Dataset;

/// Gathers what tells an event from all others; lengths are hashed too, so that no two lists of parts are the same bytes.
///
/// Hashed in one go: the parts are small, and each would cost more to hand over than to hash.
pub(super) struct EventId<'a>(&'a mut Vec<u8>);

/// What SHA-256 begins with (FIPS 180-4 section 5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// Bytes that a handshake adds at most: nine lengths, two addresses and ports, and what else tells it apart.
const HANDSHAKE: usize = 9 * 8 + 2 * (16 + 2) + 1 + 4 + 8 + 8 + 4;

/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;

/// Bytes of the longest padding (FIPS 180-4 section 5.1.1): one bit, zeros, and the length.
const PADDING: usize = BLOCK + 8;

impl<'a> EventId<'a> {
    /// Begins the id of an event of `dataset` by the observer of this name; gathers in `buffer`, whatever was in it.
    pub(super) fn new(buffer: &'a mut Vec<u8>, observer: &str, dataset: Dataset) -> Self {
        buffer.clear();
        Self(buffer).part(observer.as_bytes()).part(dataset.name().as_bytes())
    }

    /// Adds both ends, the first packet's time and frame, and the ordinal on the connection.
    pub(super) fn handshake(self, observation: &Observation) -> Self {
        let (ends, first) = (&observation.ends, observation.handshake.first);
        // Room for all of it at once.
        self.0.reserve(HANDSHAKE);
        self.endpoint(ends.client)
            .endpoint(ends.server)
            .fixed([ends.transport.number()])
            .fixed(ends.virtual_network.to_be_bytes())
            .fixed(first.timestamp.nanos().to_be_bytes())
            .fixed(first.order.frame.to_be_bytes())
            .fixed(observation.handshake.ordinal.to_be_bytes())
    }

    /// Adds what the event is about.
    #[inline(always)]
    pub(super) fn part(self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    /// The first 128 bits.
    pub(super) fn finish(self) -> [u8; 16] {
        // The padding is laid out here: to hand a few blocks to the hash would cost as much as hashing them.
        let Self(buffer) = self;
        let length = buffer.len();
        buffer.reserve(PADDING);
        buffer.push(0x80);
        let zeros = (BLOCK - (length + 1 + 8) % BLOCK) % BLOCK;
        buffer.resize(length + 1 + zeros, 0);
        buffer.extend_from_slice(&u64::try_from(length).unwrap_or(u64::MAX).saturating_mul(8).to_be_bytes());
        let mut state = INITIAL;
        compress256(&mut state, buffer.as_chunks().0);
        let mut id = [0; 16];
        for (place, word) in id.as_chunks_mut().0.iter_mut().zip(state) {
            *place = word.to_be_bytes();
        }
        id
    }

    #[inline(always)]
    fn fixed<const N: usize>(self, bytes: [u8; N]) -> Self {
        // One piece of a length that is known: its own length first.
        let mut part = [[0; 8], [0; 8], [0; 8]];
        if let Some((length, rest)) = part.as_flattened_mut().split_first_chunk_mut()
            && let Some(place) = rest.first_chunk_mut()
        {
            *length = u64::try_from(N).unwrap_or(0).to_be_bytes();
            *place = bytes;
        }
        self.0.extend_from_slice(part.as_flattened().get(..8 + N).unwrap_or_default());
        self
    }

    #[inline(always)]
    fn endpoint(self, end: Endpoint) -> Self {
        match end.address {
            IpAddr::V4(address) => self.fixed(address.octets()),
            IpAddr::V6(address) => self.fixed(address.octets()),
        }
        .fixed(end.port.to_be_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::sample;

    fn id(observation: &Observation) -> [u8; 16] {
        EventId::new(&mut b"old".to_vec(), "one", Dataset::Tls).handshake(observation).finish()
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
        let buffer = &mut Vec::new();
        ids.push(EventId::new(buffer, "two", Dataset::Tls).handshake(&base).finish());
        ids.push(EventId::new(buffer, "one", Dataset::Certificate).handshake(&base).finish());
        ids.push(EventId::new(buffer, "one", Dataset::Tls).handshake(&base).part(b"").finish());
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
        assert_eq!(id(&base), id(&base.clone()));
    }

    #[test]
    fn the_digest_is_sha256_for_every_length() {
        for length in 0..200 {
            let part = vec![7; length];
            let mut buffer = Vec::new();
            let id = EventId::new(&mut buffer, "o", Dataset::Tls).part(&part).finish();
            let lengths = [1, 12, length].map(|length| u64::try_from(length).unwrap().to_be_bytes());
            let parts = [&lengths[0][..], b"o", &lengths[1], b"tlswatch.tls", &lengths[2], &part];
            let digest = <sha2::Sha256 as sha2::Digest>::digest(parts.concat());
            assert_eq!(id, digest[..16], "{length}");
        }
    }
}
