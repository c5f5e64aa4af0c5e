//! What one thread remembers from event to event, so that the next costs less. None of it shows in the output.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::detect::client_kind::ClientKind;
use crate::time::{Moment, SecondText};

use super::context::Context;
use super::json::Writer;
use super::kinds::KindMemos;
use super::tls::{log, observer};

/// What one thread remembers from event to event; for one [`Context`] only.
#[derive(Debug, Default)]
pub struct Memo {
    /// Text of the last second.
    pub(super) times: SecondText,
    /// What files and interfaces put into events.
    pub(super) places: PlaceMemo,
    /// What hellos put into events.
    pub(super) kinds: KindMemos,
    /// Where what becomes an id is gathered.
    pub(super) id: Vec<u8>,
}

impl Memo {
    /// What kind of client the last handshake was with whose line was rendered.
    pub fn client_kind(&self) -> Option<&Arc<ClientKind>> {
        self.kinds.last.as_ref()
    }
}

/// Most places that are remembered; with more the memo starts anew.
const PLACES: usize = 64;

/// Fragments of places by file and interface.
#[derive(Debug, Default)]
pub(super) struct PlaceMemo {
    known: HashMap<(u32, u32), Place, RandomState>,
    /// [`Places::changes`](super::Places::changes) when they were rendered.
    changes: usize,
}

/// What the file and the interface of a handshake's first packet put into its event: JSON members.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// `observer`.
    pub(super) observer: String,
    /// `log`; empty where the file has no name.
    pub(super) log: String,
}

impl PlaceMemo {
    /// Of the packet at `at`.
    pub(super) fn of(&mut self, context: &Context, at: Moment) -> &Place {
        let changes = context.places.changes();
        if changes != self.changes || self.known.len() > PLACES {
            self.known.clear();
            self.changes = changes;
        }
        self.known.entry((at.file, at.interface)).or_insert_with(|| Place {
            observer: Writer::fragment(|w| observer(w, context, Some(at))),
            log: Writer::fragment(|w| log(w, context, at)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_name_is_told_and_the_memo_is_bounded() {
        let context = Context::default();
        let mut memo = PlaceMemo::default();
        let at = |file, interface| Moment { file, interface, ..Moment::default() };
        assert_eq!(memo.of(&context, at(0, 0)).log, "");
        context.places().name_file(0, "a\"b");
        assert_eq!(memo.of(&context, at(0, 0)).log, r#","log":{"file":{"path":"a\"b"}}"#);
        context.places().name_interface(0, 0, "eth0");
        assert!(memo.of(&context, at(0, 0)).observer.contains(r#""interface":{"name":"eth0"}"#));
        assert!(!memo.of(&context, at(0, 1)).observer.contains("eth0"));
        for file in 0..1_000 {
            memo.of(&context, at(file, 0));
            assert!(memo.known.len() <= PLACES + 1);
        }
    }
}
