//! The handshakes of a connection that are over.

use std::collections::VecDeque;

use super::Handshake;

/// Handshakes that are over, oldest first. Nearly always there is one, which then takes no allocation.
#[derive(Debug, Default)]
pub(super) struct Finished {
    first: Option<Box<Handshake>>,
    others: VecDeque<Box<Handshake>>,
}

impl Finished {
    pub(super) fn push(&mut self, handshake: Box<Handshake>) {
        if self.first.is_none() && self.others.is_empty() {
            self.first = Some(handshake);
        } else {
            self.others.push_back(handshake);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Box<Handshake>> {
        self.first.take().or_else(|| self.others.pop_front())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_first_goes_first() {
        let mut finished = Finished::default();
        let mut taken = Vec::new();
        for ordinal in 0..6 {
            finished.push(Box::new(Handshake { ordinal, ..Handshake::default() }));
            if ordinal % 3 == 1 {
                taken.extend(finished.pop());
            }
        }
        taken.extend(std::iter::from_fn(|| finished.pop()));
        assert_eq!(taken.iter().map(|handshake| handshake.ordinal).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    }
}
