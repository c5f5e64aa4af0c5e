//! The onlooker of one connection: bytes of both directions in, handshakes out.

use super::certificate::CertificateLimits;
use super::conversation::{Conversation, Mode, Place};
use super::finished::Finished;
use super::message::{Joined, Joiner, Message, limit};
use super::record::{
    ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, CLEAR_LIMIT, ENCRYPTED_LIMIT, HANDSHAKE, Item, RecordHeader,
    RecordLayer, Skipped,
};
use super::{Anomaly, Handshake, HandshakeEnd};
use crate::config::Limits;
use crate::direction::{Direction, PerDirection};
use crate::time::Moment;

/// Watches one connection until its handshakes are over; then it holds nothing.
///
/// The bytes of each direction come in order; how the two directions are interleaved does not matter.
#[derive(Debug)]
pub struct Observer {
    live: Option<Live>,
    finished: Finished,
    done: bool,
    /// A handshake was finished.
    told: bool,
}

impl Default for Observer {
    #[inline(always)] // Made where it is to stay, not moved there.
    fn default() -> Self {
        Self { live: Some(Live::default()), finished: Finished::default(), done: false, told: false }
    }
}

/// What is needed while a handshake is going on.
#[derive(Debug, Default)]
struct Live {
    halves: PerDirection<Half>,
    talk: Conversation,
}

/// One direction.
#[derive(Debug, Default)]
struct Half {
    records: RecordLayer,
    record: RecordHeader,
    mode: Mode,
    /// First bytes of the payload of a record that is peeked into, or all of an alert's.
    head: Head,
    joiner: Joiner,
    /// Bytes that are no record were passed.
    strayed: bool,
    /// The open record gave a message.
    gave: bool,
    /// Boxed, since SSL 2 is rare.
    ssl2: Option<Box<Ssl2>>,
}

/// An SSL 2 record whose message is read.
#[derive(Debug)]
struct Ssl2 {
    kind: u8,
    start: Moment,
    body: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Head {
    bytes: [u8; 20],
    length: usize,
}

impl Observer {
    /// An observer of a new connection; keeps of `limits` only what it needs.
    pub fn new(limits: &Limits) -> Self {
        let mut observer = Self::default();
        observer.set_limits(limits);
        observer
    }

    /// The same, made where it is to stay.
    pub fn boxed(limits: &Limits) -> Box<Self> {
        let mut observer = Box::<Self>::default();
        observer.set_limits(limits);
        observer
    }

    fn set_limits(&mut self, limits: &Limits) {
        let limits = CertificateLimits { message_bytes: limits.message_bytes, chain_length: limits.chain_length };
        if let Some(live) = &mut self.live {
            live.talk.set_limits(limits);
        }
    }

    /// Bytes of one sender, in order, lent; `at` is the packet they came in.
    pub fn on_bytes(&mut self, direction: Direction, bytes: &[u8], at: &Moment) {
        if bytes.is_empty() {
            return;
        }
        self.with(|live| live.on_bytes(direction, bytes, at));
    }

    /// `missing` bytes of one sender were never seen and are skipped; `at` is the packet that showed it.
    pub fn on_gap(&mut self, direction: Direction, missing: u64, at: &Moment) {
        if missing == 0 {
            return;
        }
        self.with(|live| live.on_gap(direction, missing, at));
    }

    /// One sender closed in order (FIN), or either reset the connection.
    pub fn on_close(&mut self, direction: Direction, reset: bool, at: &Moment) {
        self.with(|live| live.on_close(direction, reset, at));
    }

    /// Notes an anomaly from the layers below on the current handshake.
    pub fn note(&mut self, anomaly: Anomaly) {
        self.with(|live| live.talk.note(anomaly));
    }

    /// The beginning of this direction is in the capture (its SYN was seen).
    pub fn set_from_start(&mut self, direction: Direction) {
        self.with(|live| live.talk.set_from_start(direction));
    }

    /// Takes the next finished handshake, oldest first.
    pub fn take(&mut self) -> Option<Box<Handshake>> {
        self.finished.pop()
    }

    /// The connection is over: what there is of a handshake is finished. Does nothing after the end.
    pub fn finish(&mut self, end: HandshakeEnd, at: &Moment) {
        self.with(|live| {
            Direction::BOTH.into_iter().for_each(|direction| live.note_cut(direction));
            live.talk.end(end, at);
        });
        self.done = true;
        self.live = None;
    }

    /// What is sent from now on is encrypted to both sides, as far as can be told: none of it will be read.
    pub fn is_opaque(&self) -> bool {
        self.live.as_ref().is_none_or(|live| live.talk.is_opaque())
    }

    /// Everything is over and no handshake was finished: there was no hello, or none that was whole.
    pub fn is_unread(&self) -> bool {
        self.done && !self.told
    }

    /// Nothing more is looked for: the flow may be bypassed.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Bytes held, without the handshakes that wait to be taken.
    pub fn memory(&self) -> usize {
        self.live.as_ref().map_or(0, |live| live.memory())
    }

    fn with(&mut self, step: impl FnOnce(&mut Live)) {
        let Some(live) = &mut self.live else { return };
        step(live);
        while let Some(handshake) = live.talk.finished().pop() {
            self.finished.push(handshake);
            self.told = true;
        }
        if live.talk.is_over() {
            self.done = true;
            if let Some(last) = self.live.take().and_then(|live| live.talk.into_last()) {
                self.finished.push(last);
                self.told = true;
            }
        }
    }
}

impl Live {
    fn on_bytes(&mut self, direction: Direction, bytes: &[u8], at: &Moment) {
        self.read(direction, bytes, at);
        if self.talk.awaits_end_of_message() && !self.halves.of(direction).joiner.is_inside() {
            self.talk.end(HandshakeEnd::Reset, at);
        }
    }

    fn on_close(&mut self, direction: Direction, reset: bool, at: &Moment) {
        let other = self.halves.of(direction.reversed());
        if reset && other.joiner.is_inside() {
            // What the other side sent before it heard of the reset is still on its way past us: often its certificates.
            self.talk.on_early_reset(direction);
            return;
        }
        self.note_cut(direction);
        if reset {
            self.note_cut(direction.reversed());
        }
        self.talk.on_close(direction, reset, at);
    }

    fn read(&mut self, direction: Direction, bytes: &[u8], at: &Moment) {
        self.talk.see(direction);
        let half = self.halves.of_mut(direction);
        let mut input = bytes;
        while !self.talk.is_over() {
            if input.is_empty() && half.records.waits() {
                return;
            }
            if half.is_past_ssl2(&self.talk) {
                self.talk.on_ssl2_rest(Place { direction, record_version: 2, at });
                return;
            }
            if let Some((header, payload)) = half.records.whole(&mut input) {
                half.record((header, payload), &mut self.talk, Place { direction, record_version: header.version, at });
                continue;
            }
            let Some(item) = half.records.next(&mut input) else { return };
            let place = Place { direction, record_version: half.record.version, at };
            match item {
                Item::Begin(header) => half.begin(header, &mut self.talk, place),
                Item::Payload(payload) => half.payload(payload, &mut self.talk, place),
                Item::End => half.end(&mut self.talk, place),
                Item::Lost if half.record.ssl2_message.is_some() => {
                    // The client goes on in SSL 2, though the server's answer was not captured yet.
                    self.talk.on_ssl2_rest(Place { record_version: 2, ..place });
                }
                Item::Lost => {
                    half.joiner.lose();
                    half.strayed = true;
                }
            }
        }
    }

    fn on_gap(&mut self, direction: Direction, missing: u64, at: &Moment) {
        let half = self.halves.of_mut(direction);
        self.talk.see(direction);
        self.talk.on_gap(direction);
        let left = half.records.left();
        let skipped = half.records.skip(missing);
        half.ssl2 = None;
        if half.mode != Mode::Skip {
            match skipped {
                Skipped::Beyond => half.joiner.lose(),
                Skipped::Inside | Skipped::ToEnd if half.mode == Mode::Handshake => {
                    half.joiner.skip(usize::try_from(missing).unwrap_or(usize::MAX));
                }
                Skipped::Inside | Skipped::ToEnd => half.mode = Mode::Skip,
            }
        } else if skipped == Skipped::Beyond || left == 0 {
            half.joiner.lose();
        }
        if skipped == Skipped::ToEnd {
            half.end(&mut self.talk, Place { direction, record_version: half.record.version, at });
        }
    }

    /// A message or record that is not whole when its sender stops is cut.
    fn note_cut(&mut self, direction: Direction) {
        let half = self.halves.of(direction);
        let inside_clear = half.mode != Mode::Skip && !half.records.is_between();
        if half.joiner.is_inside() || half.ssl2.is_some() || inside_clear {
            self.talk.note(Anomaly::CutMessage);
        }
    }

    fn memory(&self) -> usize {
        let halves = Direction::BOTH.into_iter().map(|direction| {
            let half = self.halves.of(direction);
            half.joiner.memory() + half.ssl2.as_ref().map_or(0, |ssl2| size_of::<Ssl2>() + ssl2.body.capacity())
        });
        halves.sum::<usize>() + self.talk.memory()
    }
}

impl Half {
    /// An SSL 2 connection: what follows the hello of this direction is not read.
    fn is_past_ssl2(&self, talk: &Conversation) -> bool {
        talk.is_ssl2() && self.ssl2.is_none() && self.records.is_between() && self.record.version != 0
    }

    /// A record that is whole: all of its steps at once.
    fn record(&mut self, (header, payload): (RecordHeader, &[u8]), talk: &mut Conversation, place: Place<'_>) {
        if header.kind == APPLICATION_DATA && header.length <= ENCRYPTED_LIMIT && !self.strayed {
            // Only the header is used.
            self.record = header;
            self.mode = Mode::Skip;
            talk.on_application_record(header.length, place);
            return;
        }
        self.begin(header, talk, place);
        if talk.is_over() {
            return;
        }
        if self.mode == Mode::Handshake {
            self.messages(payload, talk, place);
            if !self.joiner.is_inside() {
                // Nothing is left to be done at the end of the record.
                self.mode = Mode::Skip;
                return;
            }
        } else if !payload.is_empty() {
            self.payload(payload, talk, place);
        }
        if !talk.is_over() {
            self.end(talk, place);
        }
    }

    fn begin(&mut self, header: RecordHeader, talk: &mut Conversation, place: Place<'_>) {
        self.record = header;
        self.head.length = 0;
        self.gave = false;
        if std::mem::take(&mut self.strayed) {
            talk.note(Anomaly::LeadingBytes);
        }
        let place = Place { record_version: header.version, ..place };
        if let Some(kind) = header.ssl2_message {
            self.ssl2 = Some(Box::new(Ssl2 { kind, start: *place.at, body: vec![kind] }));
            self.mode = Mode::Skip;
            return;
        }
        self.mode = match header.kind {
            HANDSHAKE
                if self.joiner.is_lost() || talk.may_be_encrypted(place.direction) && !self.joiner.is_inside() =>
            {
                Mode::Peek
            }
            HANDSHAKE => Mode::Handshake,
            ALERT if talk.is_clear_alert(place.direction, header.length) => Mode::Alert,
            _ => Mode::Skip,
        };
        match header.kind {
            CHANGE_CIPHER_SPEC | ALERT | HANDSHAKE if header.length == 0 => talk.note(Anomaly::EmptyRecord),
            CHANGE_CIPHER_SPEC..=25 => {}
            _ => talk.note(Anomaly::UnknownRecordType),
        }
        let longest = if self.mode == Mode::Handshake { CLEAR_LIMIT } else { ENCRYPTED_LIMIT };
        if header.length > longest {
            talk.note(Anomaly::RecordTooLong);
        }
        if header.kind == APPLICATION_DATA {
            talk.on_application_record(header.length, place);
        }
    }

    fn payload(&mut self, payload: &[u8], talk: &mut Conversation, place: Place<'_>) {
        if let Some(ssl2) = &mut self.ssl2 {
            ssl2.body.extend_from_slice(payload);
            return;
        }
        match self.mode {
            Mode::Skip => {}
            Mode::Handshake => self.messages(payload, talk, place),
            Mode::Alert => {
                self.head.fill(payload, 20);
            }
            Mode::Peek => {
                let rest = self.head.fill(payload, 6);
                if self.head.length == 6 {
                    self.decide(talk, place);
                    if self.mode == Mode::Handshake {
                        self.messages(rest, talk, place);
                    }
                }
            }
        }
    }

    fn end(&mut self, talk: &mut Conversation, place: Place<'_>) {
        if let Some(ssl2) = self.ssl2.take() {
            let message = Message { kind: ssl2.kind, body: &ssl2.body, start: &ssl2.start };
            talk.on_ssl2_message(&message, place);
            return;
        }
        if self.mode == Mode::Peek {
            self.decide(talk, place);
        }
        if self.gave && self.joiner.is_inside() && talk.may_be_encrypted(place.direction) {
            // What follows a message with a NULL cipher is its MAC.
            self.joiner.resume();
        }
        match (self.record.kind, self.mode) {
            (CHANGE_CIPHER_SPEC, _) => talk.on_change_cipher_spec(place),
            (ALERT, Mode::Alert) => {
                let (alerts, _) = self.head.bytes().as_chunks::<2>();
                for [level, description] in alerts {
                    if !talk.is_over() {
                        talk.on_alert(*level, *description, place);
                    }
                }
            }
            (ALERT | HANDSHAKE, Mode::Skip) => talk.on_encrypted(self.record.kind, place),
            _ => {}
        }
        self.mode = Mode::Skip;
    }

    /// Whether a record that may be encrypted begins like a handshake message in clear; reads its head if so.
    fn decide(&mut self, talk: &mut Conversation, place: Place<'_>) {
        let head = self.head;
        let clear = if talk.may_be_encrypted(place.direction) {
            is_hello_start(head.bytes(), self.record.length) || talk.is_hello_of_client(head.bytes())
        } else {
            is_message_start(head.bytes(), self.record.length)
        };
        if !clear {
            self.mode = Mode::Skip;
            return;
        }
        self.mode = Mode::Handshake;
        talk.on_clear_text(place.direction);
        if self.joiner.is_lost() {
            self.joiner.resume();
        }
        self.messages(head.bytes(), talk, place);
    }

    fn messages(&mut self, payload: &[u8], talk: &mut Conversation, place: Place<'_>) {
        let mut input = payload;
        while let Some((kind, body)) = self.joiner.whole(&mut input, talk.message_bytes()) {
            self.gave = true;
            talk.on_message(&Message { kind, body, start: place.at }, place);
            if talk.is_over() {
                return;
            }
        }
        if input.is_empty() {
            return;
        }
        while let Some(joined) = self.joiner.next(&mut input, talk.message_bytes(), place.at) {
            match joined {
                Joined::Message(message) => {
                    self.gave = true;
                    talk.on_message(&message, place);
                }
                Joined::Odd(anomaly) => talk.note(anomaly),
            }
            if talk.is_over() {
                return;
            }
        }
    }
}

impl Head {
    /// Takes bytes until there are `wanted`; gives the rest.
    fn fill<'a>(&mut self, payload: &'a [u8], wanted: usize) -> &'a [u8] {
        let take = wanted.saturating_sub(self.length).min(payload.len());
        let (taken, rest) = payload.split_at_checked(take).unwrap_or((payload, &[]));
        for byte in taken {
            if let Some(place) = self.bytes.get_mut(self.length) {
                *place = *byte;
                self.length += 1;
            }
        }
        rest
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// Whether the payload of a record begins with a hello in clear, where encrypted bytes are due.
fn is_hello_start(head: &[u8], record_length: u16) -> bool {
    let [1 | 2, 0, high, low, 3, 0..=4, ..] = head else { return false };
    let length = u16::from_be_bytes([*high, *low]);
    length >= 38 && (length.saturating_add(4) <= record_length || record_length >= 1024)
}

/// Whether the payload of a record can begin with a handshake message, after it was lost where one begins.
fn is_message_start(head: &[u8], record_length: u16) -> bool {
    let [kind, high, middle, low, ..] = head else { return false };
    let length = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
    let inside = length + 4 <= usize::from(record_length);
    match kind {
        0 | 14 => length == 0,
        1 | 2 => is_hello_start(head, record_length),
        11 | 22 => inside || record_length >= 1024 && length <= limit(*kind, 64 << 10),
        4 | 12 | 13 | 15 | 16 | 25 => inside,
        _ => false,
    }
}
