//! Handshake messages of one direction, joined from the payload of records (RFC 8446 section 5.1).
//!
//! A message that lies whole in what was handed in is lent from there; only one that is cut is copied, once.

use super::Anomaly;
use crate::direction::Direction;
use crate::time::Moment;

/// One whole handshake message.
#[derive(Debug)]
pub(super) struct Message<'a> {
    /// HandshakeType.
    pub(super) kind: u8,
    /// Without the 4-byte header.
    pub(super) body: &'a [u8],
    /// Packet with its first byte.
    pub(super) start: &'a Moment,
}

/// What the joiner gives.
#[derive(Debug)]
pub(super) enum Joined<'a> {
    /// A whole message.
    Message(Message<'a>),
    /// The header announces a message that is not read because it is too long for its type.
    Odd(Anomaly),
}

/// Joins messages.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    header: [u8; 4],
    have: usize,
    body: Vec<u8>,
    start: Moment,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// At or in a header.
    #[default]
    Header,
    /// This many bytes of the body are still to come.
    Body(usize),
    /// The body was given; its buffer can be used again.
    Given,
    /// This many bytes of a message that is not read are still to come.
    Skipping(usize),
    /// Where the next message begins is not known.
    Lost,
}

impl Joiner {
    /// Takes the next message off `input`; `None` when more bytes are needed. `message_bytes` bounds certificate messages.
    pub(super) fn next<'a, 'p: 'a>(
        &'a mut self,
        input: &mut &'p [u8],
        message_bytes: usize,
        at: &Moment,
    ) -> Option<Joined<'a>> {
        loop {
            match self.state {
                State::Given => {
                    self.empty();
                    self.state = State::Header;
                }
                State::Header => {
                    if self.have == 0 {
                        self.start = *at;
                        if let Some((header, rest)) = input.split_first_chunk() {
                            (self.header, self.have, *input) = (*header, 4, rest);
                        }
                    }
                    while self.have < 4 {
                        let (byte, rest) = input.split_first()?;
                        *self.header.get_mut(self.have)? = *byte;
                        self.have += 1;
                        *input = rest;
                    }
                    self.have = 0;
                    let [kind, high, middle, low] = self.header;
                    let length = u24([high, middle, low]);
                    if length > limit(kind, message_bytes) {
                        self.state = State::Skipping(length);
                        return Some(Joined::Odd(Anomaly::MessageTooLong));
                    }
                    if let Some((body, rest)) = input.split_at_checked(length) {
                        *input = rest;
                        return Some(Joined::Message(Message { kind, body, start: &self.start }));
                    }
                    self.state = State::Body(length);
                }
                State::Body(missing) => {
                    let (part, rest) = input.split_at_checked(missing).unwrap_or((input, &[]));
                    self.append(part, missing);
                    *input = rest;
                    let missing = missing - part.len();
                    self.state = State::Body(missing);
                    if missing > 0 {
                        return None;
                    }
                    self.state = State::Given;
                    let [kind, ..] = self.header;
                    return Some(Joined::Message(Message { kind, body: &self.body, start: &self.start }));
                }
                State::Skipping(missing) => {
                    let (part, rest) = input.split_at_checked(missing).unwrap_or((input, &[]));
                    *input = rest;
                    let missing = missing - part.len();
                    if missing > 0 {
                        self.state = State::Skipping(missing);
                        return None;
                    }
                    self.state = State::Header;
                }
                State::Lost => {
                    *input = &[];
                    return None;
                }
            }
        }
    }

    /// Takes a message that lies whole in `input` off it, between two messages: what [`Self::next`] would give, without a
    /// change of state. Honest hellos nearly always do.
    #[inline]
    pub(super) fn whole<'p>(&self, input: &mut &'p [u8], message_bytes: usize) -> Option<(u8, &'p [u8])> {
        if self.have != 0 || self.state != State::Header {
            return None;
        }
        let ([kind, high, middle, low], rest) = input.split_first_chunk()?;
        let (body, rest) = rest.split_at_checked(u24([*high, *middle, *low]))?;
        if body.len() > limit(*kind, message_bytes) {
            return None;
        }
        *input = rest;
        Some((*kind, body))
    }

    /// `missing` bytes of the payload never came: the message they belong to is lost, later ones are not.
    pub(super) fn skip(&mut self, missing: usize) {
        if missing == 0 {
            return;
        }
        self.state = match self.state {
            State::Body(left) | State::Skipping(left) if missing < left => State::Skipping(left - missing),
            State::Body(left) | State::Skipping(left) if missing == left => State::Header,
            _ => State::Lost,
        };
        self.have = 0;
        self.empty();
    }

    /// Where the next message begins is no longer known.
    pub(super) fn lose(&mut self) {
        self.state = State::Lost;
        self.have = 0;
        self.body = Vec::new();
    }

    /// The next byte handed in begins a message.
    pub(super) fn resume(&mut self) {
        self.state = State::Header;
        self.have = 0;
        self.empty();
    }

    /// Whether it has to be found out where the next message begins.
    pub(super) fn is_lost(&self) -> bool {
        self.state == State::Lost
    }

    /// Part of a message has come.
    pub(super) fn is_inside(&self) -> bool {
        match self.state {
            State::Header => self.have > 0,
            State::Body(_) | State::Skipping(_) => true,
            State::Given | State::Lost => false,
        }
    }

    /// Adds a part of a body of which `missing` bytes are to come. Grows to four times what came, but never beyond the
    /// message: what a header only claims costs nothing, and a message takes no more than its length.
    fn append(&mut self, part: &[u8], missing: usize) {
        let length = self.body.len();
        if self.body.capacity() - length < part.len() {
            let wanted = (4 * (length + part.len())).min(length + missing);
            self.body.reserve_exact(wanted - length);
        }
        self.body.extend_from_slice(part);
    }

    /// Empties the buffer; one that a big message needed is not kept.
    fn empty(&mut self) {
        if self.body.capacity() > KEPT {
            self.body = Vec::new();
        } else {
            self.body.clear();
        }
    }

    /// Bytes of buffer held.
    pub(super) fn memory(&self) -> usize {
        self.body.capacity()
    }
}

fn u24([high, middle, low]: [u8; 3]) -> usize {
    usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)
}

/// Bytes of buffer that are kept from message to message.
const KEPT: usize = 4 << 10;

/// Most bytes of a message of type `kind`: hellos as OpenSSL and BoringSSL bound them, certificates by configuration.
pub(super) fn limit(kind: u8, message_bytes: usize) -> usize {
    match kind {
        11 | 22 | 25 => message_bytes,
        1 | 2 | 12 | 13 | 23 => message_bytes.min(64 << 10),
        _ => message_bytes.min(32 << 10),
    }
}

/// Who is the client, from a message that only one of the two sends.
pub(super) fn client_by_message(kind: u8, sender: Direction) -> Option<Direction> {
    match kind {
        1 | 15 | 16 => Some(sender),
        0 | 2 | 4 | 6 | 11 | 12 | 13 | 14 | 22 => Some(sender.reversed()),
        _ => None,
    }
}
