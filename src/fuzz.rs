//! What the fuzz targets call, with the invariants beside the code that must hold them.
//!
//! Any bytes at all may come in. `fuzz/fuzz_targets` has one line for each function; `tests/fuzz_corpus.rs` replays the
//! corpora through the same functions.

mod keys;
mod messages;
mod texts;

use std::io::Cursor;
use std::sync::Arc;

use crate::capture::{Files, Next, Source};
use crate::config::Limits;
use crate::detect::alerts::When;
use crate::direction::Direction;
use crate::event::{Context, Detail, Observer as Sensor};
use crate::flow::tcp::{Placed, TcpHalf, TcpLimits};
use crate::packet::flow_packet::tags;
use crate::packet::{ChecksumMode, Decoder, FlowPacket, Frame, LinkType, TransportPayload, verify_checksum};
use crate::pipeline::judgement::Judging;
use crate::pipeline::{self, Options};
use crate::report::Summary;
use crate::sink::{About, Event, Ndjson, Sink, SinkError};
use crate::stats::Stats;
use crate::time::{Moment, Order, Span, Timestamp};
use crate::tls::fingerprint::{ja3, ja4};
use crate::tls::observer::Observer;
use crate::tls::{ClientHello, HandshakeEnd, Protocol};
use crate::x509::Certificate;

pub use keys::{chain, factors, signature};
pub use messages::{conversation, message};
pub use texts::{crl, lists, policy, roots, words};

/// Link types by the first byte of the input of [`decode`].
const LINK_TYPES: [LinkType; 16] = [
    LinkType::ETHERNET,
    LinkType::RAW,
    LinkType::LINUX_SLL,
    LinkType::LINUX_SLL2,
    LinkType::NULL,
    LinkType::PPP,
    LinkType::IEEE802_11_RADIOTAP,
    LinkType::NFLOG,
    LinkType::IEEE802_11,
    LinkType::IPV6,
    LinkType::IPV4,
    LinkType::LOOP,
    LinkType::PPP_HDLC,
    LinkType::PPP_ETHER,
    LinkType::RAW_BSD,
    LinkType::RAW_OPENBSD,
];

/// Longest datagram that fragments can make up.
const MAX_DATAGRAM: usize = 65_535;

/// What a frame may come to: exactly one of these.
const OUTCOMES: [&str; 8] = [
    "decode.tcp",
    "decode.udp",
    "decode.other",
    "decode.fragment",
    "decode.truncated",
    "decode.malformed",
    "decode.too_deep",
    "capture.unsupported_link",
];

/// Frames: `link type, (length: u16, bytes)*`. No payload is longer than a datagram, no frame opens more than one packet.
///
/// # Panics
/// When an invariant does not hold.
pub fn decode(input: &[u8]) {
    let (frames, packets) = packets(input);
    assert!(packets <= frames, "more packets than frames");
}

/// How many frames the input of [`decode`] holds, and how many TCP segments and UDP datagrams come out of them.
///
/// # Panics
/// When an invariant does not hold.
pub fn packets(input: &[u8]) -> (u64, u64) {
    let Some((link, mut rest)) = input.split_first() else { return (0, 0) };
    let link_type = LINK_TYPES.get(usize::from(*link) % LINK_TYPES.len()).copied().unwrap_or(LinkType::ETHERNET);
    let limits = Limits { fragment_bytes: 1 << 20, fragmented_datagrams: 64, ..Limits::default() };
    let mut decoder = Decoder::new(&limits, ChecksumMode::All);
    let mut stats = Stats::default();
    let mut frames = 0;
    while let Some((data, behind)) = chunk(rest) {
        rest = behind;
        frames += 1;
        let frame = Frame {
            sequence: frames,
            number: frames,
            file: 0,
            interface: 0,
            timestamp: Timestamp::new(i64::try_from(frames).unwrap_or(0), 0),
            time_known: true,
            link_type,
            original_len: u32::try_from(data.len()).unwrap_or(u32::MAX),
            data,
        };
        let packet = decoder.decode(&frame, &mut stats);
        if let Some(glance) = FlowPacket::glance(&frame) {
            let decoded = packet.as_ref().map(|packet| (FlowPacket::of(packet), packet.encapsulation));
            let checksum = glance.verify_checksum();
            let glanced = (FlowPacket { checksum, ..glance }, tags(&frame));
            assert_eq!(decoded, Some(glanced), "a glance tells something else than decoding");
        }
        if let Some(packet) = packet {
            let payload = match packet.payload {
                TransportPayload::Tcp(segment) => segment.payload,
                TransportPayload::Udp(payload) => payload,
            };
            let most = if stats.fragment_seen > 0 { MAX_DATAGRAM } else { data.len() };
            assert!(payload.len() <= most && packet.transport.len() <= most, "a payload outside its packet");
            let _ = verify_checksum(&packet);
        }
    }
    let outcomes = stats.entries().filter(|(name, _)| OUTCOMES.contains(name)).map(|(_, count)| count).sum::<u64>();
    assert_eq!(outcomes, frames, "one outcome per frame");
    decoder.finish(&mut stats);
    let given_up = stats.fragment_overlap + stats.fragment_evicted + stats.fragment_expired + stats.fragment_unfinished;
    assert!(stats.fragment_reassembled + given_up <= stats.fragment_seen, "more datagrams than fragments");
    (frames, stats.decode_tcp + stats.decode_udp)
}

/// Segments of one direction: `(distance: u16, length: u8, flags: u8)*`. Every byte of the stream is a function of its
/// place, so that what comes out must be the stream, with holes exactly where they are told.
///
/// # Panics
/// When an invariant does not hold.
pub fn tcp_half(input: &[u8]) {
    const START: u32 = 0xffff_f000;
    let limits = TcpLimits { pending_bytes: 4_096, pending_segments: 16, gap_wait: Span::seconds(5) };
    let byte = |place: u32| u8::try_from(place.wrapping_mul(0x9e37_79b1) >> 24).unwrap_or(0);
    let mut half = TcpHalf::default();
    half.set_initial_sequence(START.wrapping_sub(1));
    let mut place = START;
    let take = |place: &mut u32, bytes: &[u8]| {
        for got in bytes {
            assert_eq!(*got, byte(*place), "a byte from elsewhere");
            *place = place.wrapping_add(1);
        }
    };
    for (number, step) in (0_u64..).zip(input.chunks_exact(4)) {
        let &[high, low, length, flags] = step else { return };
        let sequence = START.wrapping_add(u32::from(u16::from_be_bytes([high, low])));
        let payload: Vec<u8> = (0..u32::from(length)).map(|at| byte(sequence.wrapping_add(at))).collect();
        let clock = Timestamp::new(i64::try_from(number).unwrap_or(0), 0);
        let at = Moment { order: Order { clock, frame: number, ordinal: 0 }, ..Moment::default() };
        if flags & 1 != 0 {
            half.note_fin(sequence.wrapping_add(u32::from(length)));
        }
        let (placed, odd) = half.place((sequence, &payload), &at, |_| true);
        assert!(!odd.conflict, "equal copies do not contradict each other");
        if let Placed::Now(bytes) = placed {
            take(&mut place, bytes);
            half.remember(bytes, flags & 2 != 0, None);
        }
        loop {
            while let Some((bytes, _)) = half.next_stored() {
                take(&mut place, &bytes);
                half.remember(&bytes, flags & 2 != 0, None);
            }
            if !half.gap_is_due(clock, &limits) {
                break;
            }
            let Some(missing) = half.skip_gap() else { break };
            place = place.wrapping_add(u32::try_from(missing).unwrap_or(0));
        }
        assert!(half.memory() <= 64 << 10, "{} bytes held", half.memory());
    }
}

/// Both directions of a connection: `(direction and kind: u8, length: u16, bytes)*`. Bounded memory, handshakes in order.
///
/// # Panics
/// When an invariant does not hold.
pub fn observer(input: &[u8]) {
    let limits = Limits { message_bytes: 16 << 10, ..Limits::default() };
    let mut observer = Observer::new(&limits);
    let mut rest = input;
    let mut frame = 0;
    let mut told = 0;
    while let Some((kind, behind)) = rest.split_first() {
        let Some((bytes, behind)) = chunk(behind) else { break };
        rest = behind;
        frame += 1;
        let order = Order { frame, ..Order::default() };
        let at = Moment { order, frame, ..Moment::default() };
        let direction = if kind & 1 == 0 { Direction::LowToHigh } else { Direction::HighToLow };
        match kind >> 1 & 7 {
            6 => observer.on_gap(direction, u64::try_from(bytes.len()).unwrap_or(0), &at),
            7 => observer.on_close(direction, kind & 0x10 != 0, &at),
            _ => observer.on_bytes(direction, bytes, &at),
        }
        told += taken(&mut observer, frame);
        assert!(observer.memory() <= 1 << 20, "{} bytes held", observer.memory());
    }
    observer.finish(HandshakeEnd::EndOfCapture, &Moment { frame: frame + 1, ..Moment::default() });
    told += taken(&mut observer, frame + 1);
    assert!(told <= input.len(), "more handshakes than bytes");
}

fn taken(observer: &mut Observer, frame: u64) -> usize {
    let mut count = 0;
    while let Some(handshake) = observer.take() {
        assert!(handshake.first.frame <= handshake.last.frame, "a handshake that ends before it begins");
        assert!(handshake.last.frame <= frame, "a handshake from the future");
        assert!(handshake.alerts.len() <= crate::tls::Handshake::MAX_ALERTS, "too many alerts are kept");
        count += 1;
        assert!(count <= 64, "handshakes without end");
    }
    count
}

/// The body of a ClientHello: every range lies inside it, and every hello has its fingerprints.
///
/// # Panics
/// When an invariant does not hold.
pub fn client_hello(input: &[u8]) {
    for hello in [ClientHello::parse(input, &mut Vec::new()), ClientHello::parse_ssl2(input, &mut Vec::new())] {
        let inside = |range: &std::ops::Range<usize>| hello.raw.get(range.clone()).is_some();
        assert!(
            hello.extensions.iter().all(|extension| extension.body_in(&hello.raw).is_some()),
            "an extension outside the hello"
        );
        assert!(hello.key_shares.iter().all(|share| inside(&share.public)), "a key share outside the hello");
        assert!(hello.psk_identities.iter().all(inside), "an identity outside the hello");
        assert!(hello.session_ticket.iter().all(inside), "a ticket outside the hello");
        assert_eq!(ja3::ja3(&hello).len(), 32);
        let ja4 = ja4::ja4(&hello, Protocol::Tls);
        assert_eq!(ja4.len(), 36, "{ja4}");
        assert!(ja4.bytes().all(|byte| byte.is_ascii_graphic()), "{ja4}");
    }
}

/// A certificate: any bytes have hashes, and the same facts each time.
///
/// # Panics
/// When an invariant does not hold.
pub fn certificate(input: &[u8]) {
    let [one, other] = [Certificate::parse(input), Certificate::parse(input)];
    assert_eq!(one.sha256, other.sha256);
    assert_eq!(one.der.as_ref(), input);
    assert_eq!(one.facts.is_some(), other.facts.is_some());
    assert!(one.weight() <= (64 << 10) + 64 * input.len(), "{} bytes of facts", one.weight());
    let _ = crate::sink::pem::pem(input);
}

/// A capture file of any format, also compressed: reading ends, frames are bounded and numbered.
///
/// # Panics
/// When an invariant does not hold.
pub fn capture(input: &[u8]) {
    let mut files = Files::from_reader("fuzz", Box::new(Cursor::new(input.to_vec())), Default::default());
    let mut frames = 0;
    while let Ok(Next::Frame(frame)) = files.next() {
        frames += 1;
        assert_eq!(frame.sequence, frames);
        assert!(frame.data.len() <= 256 << 10, "a frame of {} bytes", frame.data.len());
        if frames > 1_000_000 {
            // What a small compressed file may unpack to.
            return;
        }
    }
    assert!(matches!(files.next(), Ok(Next::End)), "an end that is none");
    // Damage and an end, and the link types that are told.
    assert!(files.problems().len() <= 2 + 16, "many problems of one file");
}

/// The whole program over a capture file, with judgement and summary: no parser fails, every line is JSON that a terminal
/// shows as it is, nothing in the summary moves the cursor, and the size of batches does not show.
///
/// # Panics
/// When an invariant does not hold.
pub fn pipeline(input: &[u8]) {
    let run = |batch: usize, detail: Detail| {
        let mut files = Files::from_reader("fuzz", Box::new(Cursor::new(input.to_vec())), Default::default());
        let limits = Limits { flows_per_slot: 2, slot_memory: 32 << 10, memo_bytes: 1 << 20, ..Limits::default() };
        let judging = Judging {
            knowledge: Arc::default(),
            when: if detail == Detail::Full { When::AtEnd } else { When::AtOnce },
            show_suppressed: true,
            offline: true,
            proofs: true,
            backing: None,
            renewal: None,
            past: Vec::new(),
            why_not: Some("www.example.com".to_owned()),
        };
        let options = Options { batch, limits, judging: Some(judging), ..Options::default() };
        let (mut output, mut page) = (Vec::new(), String::new());
        let summary = Page { summary: Summary::new(80), page: &mut page };
        let sinks: Vec<Box<dyn Sink + Send + '_>> = vec![Box::new(Ndjson::new(&mut output)), Box::new(summary)];
        let outcome = pipeline::run(&mut files, sinks, (&options, Context::new(&Sensor::default(), detail)), |_| {});
        assert!(outcome.is_ok_and(|outcome| outcome.panics.is_empty()), "a parser failed");
        assert!(!page.chars().any(|one| one.is_control() && one != '\n'), "a control character in {page:?}");
        output
    };
    let [one, other] = [1, 256].map(|batch| run(batch, Detail::Full));
    assert!(one == other, "the size of batches shows");
    for line in one.split_inclusive(|byte| *byte == b'\n') {
        assert!(serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok(), "a line is no JSON");
        let text = std::str::from_utf8(line).unwrap_or_default().trim_end_matches('\n');
        assert!(!text.contains(crate::text::is_unsafe), "a character that a terminal obeys");
    }
}

/// The summary of a run.
struct Page<'a> {
    summary: Summary,
    page: &'a mut String,
}

impl Sink for Page<'_> {
    fn write(&mut self, event: &Event<'_>) -> Result<(), SinkError> {
        match event.about {
            About::Handshake(observation) => self.summary.observe(observation),
            About::Stats(stats) => *self.page = self.summary.finish(stats),
            About::Alert(_) | About::Certificate(_) => {}
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// The next `(length: u16, bytes)`; the last one may be short.
fn chunk(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = input.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
    rest.split_at_checked(length)
}
