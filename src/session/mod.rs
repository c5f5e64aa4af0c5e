//! What a connection carries, told by its content and never by its port.
//!
//! Bytes in order come in; once they begin like TLS they go to the [`Observer`]. DTLS, QUIC and protocols that switch to
//! TLS (STARTTLS) are further variants of [`Session`]: the compiler then shows every place that must know them.

use crate::config::Limits;
use crate::direction::{Direction, PerDirection};
use crate::time::Moment;
use crate::tls::observer::Observer;
use crate::tls::probe::{Probe, probe, probe_odd_hello};
use crate::tls::{Anomaly, Handshake, HandshakeEnd};

/// Pieces of a direction that cannot begin anything we follow after which the connection is given up. Not the first, since
/// some protocols talk before they switch to TLS.
const SILENT_PIECES: u8 = 8;

/// Bytes kept of a direction whose beginning cannot be told yet: enough for the empty records that a server passes over.
const PROBE_BYTES: usize = 512;

/// The least that an undecided piece takes apart from its place in the list: pieces are small, allocations are not.
const PIECE_BYTES: usize = 32;

/// The state of one connection above its transport.
#[derive(Debug)]
pub enum Session {
    /// It is not known yet what it carries.
    Probing(Probing),
    /// TLS over TCP.
    Tls(Box<Observer>),
    /// Nothing that is followed, or nothing more.
    Ignored,
}

/// What is known before the protocol is.
#[derive(Debug, Default)]
pub struct Probing {
    first: PerDirection<Beginning>,
    from_start: PerDirection<bool>,
    anomalies: Vec<Anomaly>,
}

#[derive(Debug, Default)]
struct Beginning {
    /// Pieces not yet judged, with their packets.
    held: Vec<(Vec<u8>, Moment)>,
    refused: bool,
    pieces: u8,
}

impl Default for Session {
    fn default() -> Self {
        Self::Probing(Probing::default())
    }
}

impl Session {
    /// The direction's bytes begin with the first byte of the connection.
    pub fn set_from_start(&mut self, direction: Direction) {
        match self {
            Self::Probing(probing) => *probing.from_start.of_mut(direction) = true,
            Self::Tls(observer) => observer.set_from_start(direction),
            Self::Ignored => {}
        }
    }

    /// Takes the next bytes of one direction. Returns `true` when this found out that the connection is not followed.
    pub fn on_bytes(&mut self, direction: Direction, bytes: &[u8], (at, limits): (&Moment, &Limits)) -> bool {
        match self {
            Self::Tls(observer) => observer.on_bytes(direction, bytes, at),
            Self::Ignored => {}
            Self::Probing(probing) => match probing.judge(direction, bytes, at) {
                Verdict::Undecided => {}
                Verdict::Tls => {
                    let mut observer = Observer::boxed(limits);
                    std::mem::take(probing).hand_over(&mut observer);
                    observer.on_bytes(direction, bytes, at);
                    *self = Self::Tls(observer);
                }
                Verdict::Other => {
                    *self = Self::Ignored;
                    return true;
                }
            },
        }
        false
    }

    /// `missing` bytes of one direction were never seen.
    pub fn on_gap(&mut self, direction: Direction, missing: u64, at: &Moment) {
        match self {
            Self::Tls(observer) => observer.on_gap(direction, missing, at),
            Self::Probing(probing) => *probing.from_start.of_mut(direction) = false,
            Self::Ignored => {}
        }
    }

    /// The direction was closed, or the connection reset by it.
    pub fn on_close(&mut self, direction: Direction, reset: bool, at: &Moment) {
        if let Self::Tls(observer) = self {
            observer.on_close(direction, reset, at);
        }
    }

    /// Notes something that happened below.
    pub fn note(&mut self, anomaly: Anomaly) {
        match self {
            Self::Tls(observer) => observer.note(anomaly),
            Self::Probing(probing) if !probing.anomalies.contains(&anomaly) => probing.anomalies.push(anomaly),
            Self::Probing(_) | Self::Ignored => {}
        }
    }

    /// The connection is over: what there is becomes a handshake. Returns `true` when it ended without ever beginning
    /// anything that is followed.
    pub fn finish(&mut self, end: HandshakeEnd, at: &Moment) -> bool {
        match self {
            Self::Tls(observer) => {
                observer.finish(end, at);
                false
            }
            Self::Probing(probing) => Direction::BOTH.into_iter().any(|direction| probing.first.of(direction).refused),
            Self::Ignored => false,
        }
    }

    /// At the end: it began like TLS, but there was no hello that was whole, so no handshake tells of it.
    pub fn is_unread(&self) -> bool {
        match self {
            Self::Tls(observer) => observer.is_unread(),
            Self::Probing(probing) => {
                let first = Direction::BOTH.map(|direction| probing.first.of(direction));
                first.iter().any(|first| !first.held.is_empty()) && !first.iter().any(|first| first.refused)
            }
            Self::Ignored => false,
        }
    }

    /// The next finished handshake.
    pub fn take(&mut self) -> Option<Box<Handshake>> {
        match self {
            Self::Tls(observer) => observer.take(),
            Self::Probing(_) | Self::Ignored => None,
        }
    }

    /// Whether nothing more will be looked for.
    pub fn is_done(&self) -> bool {
        match self {
            Self::Tls(observer) => observer.is_done(),
            Self::Ignored => true,
            Self::Probing(_) => false,
        }
    }

    /// Whether it is known to carry TLS.
    pub fn is_followed(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Whether what comes from now on is encrypted and will not be read.
    pub fn is_opaque(&self) -> bool {
        match self {
            Self::Tls(observer) => observer.is_opaque(),
            Self::Probing(_) => false,
            Self::Ignored => true,
        }
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        match self {
            Self::Tls(observer) => size_of::<Observer>() + observer.memory(),
            Self::Probing(probing) => probing.memory(),
            Self::Ignored => 0,
        }
    }
}

impl Beginning {
    fn refuse(&mut self) {
        self.refused = true;
        self.held = Vec::new();
    }
}

/// Whether a piece begins with a record that begins with a ClientHello (RFC 8446 sections 4, 4.1.2 and 5.1). Asked of pieces
/// inside a connection, so it is stricter than the probe of its beginning.
fn is_hello_record(bytes: &[u8]) -> bool {
    match bytes {
        [0x16, 3, 0..=4, _, _, 1, 0, _, _, 3, 0..=4, ..] => true,
        [0x14 | 0x16, 3, ..] => probe_odd_hello(bytes) == Probe::Tls,
        _ => false,
    }
}

enum Verdict {
    Undecided,
    Tls,
    Other,
}

impl Probing {
    fn judge(&mut self, direction: Direction, bytes: &[u8], at: &Moment) -> Verdict {
        let mine = self.first.of_mut(direction);
        mine.pieces = mine.pieces.saturating_add(1);
        if !mine.refused {
            let verdict = if mine.held.is_empty() {
                probe(bytes)
            } else {
                let mut all: Vec<u8> = mine.held.iter().flat_map(|(piece, _)| piece.iter().copied()).collect();
                all.extend(bytes.iter().take(PROBE_BYTES));
                probe(&all)
            };
            match verdict {
                Probe::Tls => return Verdict::Tls,
                Probe::More => {
                    let held: usize = mine.held.iter().map(|(piece, _)| piece.len()).sum();
                    if held + bytes.len() < PROBE_BYTES {
                        if mine.held.is_empty() {
                            // Nearly always the next piece decides, and room for four would be most of what is held.
                            mine.held.reserve_exact(1);
                        }
                        mine.held.push((bytes.to_vec(), *at));
                        return Verdict::Undecided;
                    }
                    mine.refuse();
                }
                Probe::No => mine.refuse(),
            }
        } else if is_hello_record(bytes) {
            // TLS after something else: a command that asked for it, or bytes that were to hide it.
            mine.refused = false;
            self.anomalies.push(Anomaly::LeadingBytes);
            return Verdict::Tls;
        }
        let pieces = self.first.of(direction).pieces;
        let other = self.first.of(direction.reversed());
        if pieces >= SILENT_PIECES && (other.refused || other.held.is_empty()) {
            return Verdict::Other;
        }
        Verdict::Undecided
    }

    fn memory(&self) -> usize {
        let held = Direction::BOTH.into_iter().map(|direction| {
            let held = &self.first.of(direction).held;
            let bytes: usize = held.iter().map(|(piece, _)| piece.capacity().max(PIECE_BYTES)).sum();
            held.capacity() * size_of::<(Vec<u8>, Moment)>() + bytes
        });
        held.sum::<usize>() + self.anomalies.capacity() * size_of::<Anomaly>()
    }

    /// Tells an observer what was seen so far.
    fn hand_over(self, observer: &mut Observer) {
        for direction in Direction::BOTH {
            if *self.from_start.of(direction) && !self.first.of(direction).refused {
                observer.set_from_start(direction);
            }
        }
        for anomaly in &self.anomalies {
            observer.note(*anomaly);
        }
        for direction in Direction::BOTH {
            for (piece, at) in &self.first.of(direction).held {
                observer.on_bytes(direction, piece, at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record that begins with a ClientHello, cut after its random.
    fn hello() -> Vec<u8> {
        let mut bytes = vec![0x16, 3, 1, 0, 0x80, 1, 0, 0, 0x7c, 3, 3];
        bytes.resize(60, 7);
        bytes
    }

    fn followed(pieces: &[(Direction, &[u8])]) -> (bool, bool) {
        let mut session = Session::default();
        let mut given_up = false;
        for (direction, piece) in pieces {
            given_up |= session.on_bytes(*direction, piece, (&Moment::default(), &Limits::default()));
        }
        (session.is_followed(), given_up)
    }

    #[test]
    fn tls_after_something_else_is_found() {
        use Direction::{HighToLow, LowToHigh};
        let hello = hello();
        assert_eq!(followed(&[(LowToHigh, &hello)]), (true, false));
        assert_eq!(followed(&[(LowToHigh, b"deadbeef"), (LowToHigh, &hello)]), (true, false));
        let switched: [(_, &[u8]); 4] = [
            (HighToLow, b"220 ready\r\n"),
            (LowToHigh, b"STARTTLS\r\n"),
            (HighToLow, b"220 go\r\n"),
            (LowToHigh, &hello),
        ];
        assert_eq!(followed(&switched), (true, false));
        let almost = [&hello[..9], &[9]].concat();
        assert_eq!(followed(&[(LowToHigh, b"deadbeef"), (LowToHigh, &almost)]), (false, false));
    }

    #[test]
    fn what_never_becomes_tls_is_given_up() {
        let pieces = [(Direction::LowToHigh, b"GET / HTTP/1.1\r\n".as_slice()); SILENT_PIECES as usize];
        assert_eq!(followed(&pieces), (false, true));
    }
}
