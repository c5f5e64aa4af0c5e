//! Finds the most specific host entry without walking through all.

use std::collections::HashMap;

use super::host::{HostMatch, HostPattern, Target};

/// Patterns of all host entries, each with the place of its entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct HostIndex {
    names: HashMap<String, HashMap<Option<u16>, usize>>,
    parents: HashMap<String, HashMap<Option<u16>, usize>>,
    others: Vec<(HostPattern, usize)>,
}

impl HostIndex {
    /// Adds a pattern; gives the place of the entry that has the same pattern already, if any.
    pub(super) fn insert(&mut self, pattern: &HostPattern, place: usize) -> Option<usize> {
        match &pattern.host {
            HostMatch::Name(name) => self.names.entry(name.clone()).or_default().insert(pattern.port, place),
            HostMatch::Wildcard(name) => self.parents.entry(name.clone()).or_default().insert(pattern.port, place),
            _ => {
                let earlier = self.others.iter().find(|(other, _)| other == pattern).map(|(_, place)| *place);
                self.others.push((pattern.clone(), place));
                earlier
            }
        }
    }

    /// Puts networks into the order in which they are tried.
    pub(super) fn sort(&mut self) {
        self.others.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.specificity()));
    }

    /// The place of the entry that holds for a host.
    pub(super) fn find(&self, target: &Target<'_>) -> Option<usize> {
        if self.names.is_empty() && self.parents.is_empty() && self.others.is_empty() {
            return None;
        }
        let by_port =
            |ports: &HashMap<Option<u16>, usize>| ports.get(&Some(target.port)).or_else(|| ports.get(&None)).copied();
        let lower = target.name.map(|name| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase());
        let exact = lower.as_deref().and_then(|name| self.names.get(name)).and_then(by_port);
        let parent = || {
            let (label, parent) = lower.as_deref()?.split_once('.')?;
            if label.is_empty() { None } else { self.parents.get(parent).and_then(by_port) }
        };
        let other = || self.others.iter().find(|(pattern, _)| pattern.matches(target)).map(|(_, place)| *place);
        exact.or_else(parent).or_else(other)
    }
}
