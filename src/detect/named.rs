//! Names and addresses of indicators, found without walking through all of them.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use crate::policy::{Cidr, HostMatch, HostPattern};

use super::lists::Entry;

/// Server names; of those that match, the one that stands first in the list counts.
#[derive(Clone, Debug, Default)]
pub struct Names {
    entries: Vec<(HostPattern, Entry)>,
    exact: HashMap<String, usize>,
    parents: HashMap<String, usize>,
    others: Vec<usize>,
}

/// Addresses and networks; of those that match, the one that stands first in the list counts.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    entries: Vec<(Cidr, Entry)>,
    networks: HashMap<Cidr, usize>,
    /// Lengths of prefixes that there are.
    lengths: BTreeSet<u8>,
}

impl Names {
    /// Adds a pattern.
    pub fn push(&mut self, pattern: HostPattern, entry: Entry) {
        let place = self.entries.len();
        match &pattern.host {
            HostMatch::Name(name) => _ = self.exact.entry(name.clone()).or_insert(place),
            HostMatch::Wildcard(parent) => _ = self.parents.entry(parent.clone()).or_insert(place),
            _ => self.others.push(place),
        }
        self.entries.push((pattern, entry));
    }

    /// The pattern that a name matches.
    pub fn find(&self, name: &str) -> Option<(&HostPattern, &Entry)> {
        if self.entries.is_empty() {
            return None;
        }
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let parent = name.split_once('.').filter(|(label, _)| !label.is_empty());
        let exact = self.exact.get(&name).copied();
        let below = parent.and_then(|(_, parent)| self.parents.get(parent)).copied();
        let matches = |place: &usize| self.entries.get(*place).is_some_and(|(pattern, _)| pattern.matches_name(&name));
        let other = self.others.iter().copied().find(matches);
        let (pattern, entry) = self.entries.get([exact, below, other].into_iter().flatten().min()?)?;
        Some((pattern, entry))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Addresses {
    /// Adds a network.
    pub fn push(&mut self, network: Cidr, entry: Entry) {
        let place = self.entries.len();
        self.networks.entry(network).or_insert(place);
        self.lengths.insert(network.prefix());
        self.entries.push((network, entry));
    }

    /// The network that an address lies in.
    pub fn find(&self, address: IpAddr) -> Option<(Cidr, &Entry)> {
        let of = |length: &u8| {
            let network = Cidr::of(address, *length);
            self.networks.get(&network).filter(|_| network.prefix() == *length).copied()
        };
        let (network, entry) = self.entries.get(self.lengths.iter().filter_map(of).min()?)?;
        Some((*network, entry))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(line: usize) -> Entry {
        Entry { line, ..Entry::default() }
    }

    proptest! {
        #[test]
        fn the_first_that_matches_is_found(
            patterns in prop::collection::vec("(\\*\\.)?[ab](\\.[ab]){0,2}|\\*|10\\.0\\.0\\.[01]", 0..8),
            name in "[abA](\\.[ab]){0,3}\\.?|10\\.0\\.0\\.[01]",
        ) {
            let patterns: Vec<HostPattern> = patterns.iter().filter_map(|text| text.parse().ok()).collect();
            let mut names = Names::default();
            for (line, pattern) in patterns.iter().enumerate() {
                names.push(pattern.clone(), entry(line));
            }
            let wanted = patterns.iter().position(|pattern| pattern.matches_name(&name));
            prop_assert_eq!(names.find(&name).map(|(_, entry)| entry.line), wanted);
        }

        #[test]
        fn the_first_network_is_found(networks: Vec<(bool, u8, u8)>, address: (bool, u8)) {
            let of = |v4: bool, last: u8| {
                if v4 { IpAddr::from([10, 0, 0, last]) } else { IpAddr::from([0x2001, 0, 0, 0, 0, 0, 0, last.into()]) }
            };
            let networks: Vec<Cidr> =
                networks.iter().map(|(v4, last, bits)| Cidr::of(of(*v4, *last), bits % 129)).collect();
            let mut addresses = Addresses::default();
            for (line, network) in networks.iter().enumerate() {
                addresses.push(*network, entry(line));
            }
            let address = of(address.0, address.1);
            let wanted = networks.iter().position(|network| network.contains(address));
            prop_assert_eq!(addresses.find(address).map(|(_, entry)| entry.line), wanted);
        }
    }
}
