//! Which handshakes of a capture are counted already, where only a part of it was read.

use std::collections::{HashMap, HashSet};

use sha2::Digest as _;

use crate::detect::observation::Ends;
use crate::time::Moment;

/// What earlier runs have counted of the captures of this run.
#[derive(Debug, Default)]
pub struct Counted {
    /// Files that were read to their end.
    pub files: HashSet<u32>,
    /// Handshakes of files that were read in part.
    pub handshakes: HashMap<u32, HashSet<u64>>,
}

impl Counted {
    /// Whether the handshake that begins at this moment is counted.
    pub fn has(&self, ends: Option<&Ends>, moment: &Moment) -> bool {
        if self.files.contains(&moment.file) {
            return true;
        }
        match (self.handshakes.get(&moment.file), ends) {
            (Some(handshakes), Some(ends)) if !handshakes.is_empty() => handshakes.contains(&number(ends, moment)),
            _ => false,
        }
    }
}

/// Tells a handshake from the others of its capture, whatever part of the capture is read: its ends, and when it begins.
pub(super) fn number(ends: &Ends, moment: &Moment) -> u64 {
    let mut hash = sha2::Sha256::new();
    for end in [ends.client, ends.server] {
        hash.update(end.address.to_string());
        hash.update(end.port.to_be_bytes());
    }
    hash.update(ends.transport.name());
    hash.update(ends.virtual_network.to_be_bytes());
    if moment.time_known {
        hash.update(moment.timestamp.0.to_be_bytes());
    } else {
        hash.update(moment.frame.to_be_bytes());
    }
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(hash.finalize());
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::sample;

    #[test]
    fn handshakes_are_told_apart_by_ends_and_time() {
        let observation = sample::observation();
        let (ends, moment) = (observation.ends, observation.handshake.first);
        let mut numbers = vec![number(&ends, &moment)];
        let mut other = ends;
        other.client.port ^= 1;
        numbers.push(number(&other, &moment));
        (other.client, other.server) = (ends.server, ends.client);
        numbers.push(number(&other, &moment));
        let mut later = moment;
        later.timestamp.0 += 1;
        numbers.push(number(&ends, &later));
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 4);
        // The frame differs where packets are left out.
        later.timestamp = moment.timestamp;
        later.frame += 9;
        assert_eq!(number(&ends, &later), number(&ends, &moment));
    }

    #[test]
    fn files_and_handshakes_are_counted_apart() {
        let observation = sample::observation();
        let (ends, mut moment) = (observation.ends, observation.handshake.first);
        let mut counted = Counted::default();
        assert!(!counted.has(Some(&ends), &moment));
        counted.handshakes.insert(moment.file, [number(&ends, &moment)].into());
        assert!(counted.has(Some(&ends), &moment) && !counted.has(None, &moment));
        moment.file += 1;
        assert!(!counted.has(Some(&ends), &moment));
        counted.files.insert(moment.file);
        assert!(counted.has(None, &moment));
    }
}
