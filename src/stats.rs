//! Counters as plain numbers with dotted names, in one table.
//!
//! Every loss has exactly one name here. Each thread owns a [`Stats`]; they are added up at the end. Only what the
//! capture determines is counted here, so that the final stats event is the same for any number of threads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::time::Timestamp;

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $field:ident = $name:literal,)+) => {
        /// All counters of one thread, or their sum.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Stats {
            $($(#[doc = $doc])+ pub $field: u64,)+
        }

        impl Stats {
            /// Every counter as (dotted name, value), in the order of the table.
            pub fn entries(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
                [$(($name, self.$field),)+].into_iter()
            }

            /// What each counter counts, as (dotted name, description), in the order of the table.
            pub fn descriptions() -> impl Iterator<Item = (&'static str, String)> {
                [$(($name, concat!($($doc),+).trim().to_owned()),)+].into_iter()
            }

            /// Adds the counters of another thread.
            pub fn add(&mut self, other: &Self) {
                $(self.$field = self.$field.saturating_add(other.$field);)+
            }
        }
    };
}

counters! {
    /// Files read, also those that gave an error later.
    capture_files = "capture.files",
    /// Frames read. Each is also in capture.filtered, capture.unsupported_link, or decode.tcp, .udp, .other, .fragment, .truncated,
    /// .malformed, .too_deep or .panic.
    capture_packets = "capture.packets",
    /// Captured bytes of these frames.
    capture_bytes = "capture.bytes",
    /// Frames left out by the BPF filter or the time window.
    capture_filtered = "capture.filtered",
    /// Files that were cut or corrupt: read up to the damage.
    capture_damaged = "capture.damaged",
    /// Damaged places in these files; a pcapng file is read on behind them.
    capture_bad_places = "capture.bad_places",
    /// Files that are no capture, cannot be opened or cannot be read to their end; the latter are in capture.files too.
    capture_unreadable = "capture.unreadable",
    /// Frames whose link type is not followed.
    capture_unsupported_link = "capture.unsupported_link",
    /// Frames whose time lies more than an hour ahead and was not confirmed by the next frames (they wait until that is known): their time is not used.
    capture_time_jump = "capture.time_jump",
    /// Frames without a time of their own (Simple Packet Blocks).
    capture_time_unknown = "capture.time_unknown",
    /// Frames that the kernel dropped because the ring was full (live).
    capture_dropped = "capture.dropped",
    /// Frames that the interface or its driver dropped, as far as it counts them (live).
    capture_interface_dropped = "capture.interface_dropped",
    /// Files of which nothing is counted in the inventory, because too much of them was read in part before.
    capture_uncounted = "capture.uncounted",
    /// Decryption Secrets Blocks kept for later use.
    capture_secrets = "capture.secrets",
    /// TCP segments.
    decode_tcp = "decode.tcp",
    /// UDP datagrams.
    decode_udp = "decode.udp",
    /// Frames that carry neither TCP nor UDP.
    decode_other = "decode.other",
    /// Frames with a fragment that makes no datagram whole, or belongs to one that was dropped.
    decode_fragment = "decode.fragment",
    /// Frames cut inside a header.
    decode_truncated = "decode.truncated",
    /// Frames with a header that contradicts itself.
    decode_malformed = "decode.malformed",
    /// Frames with more nested tunnels than are followed.
    decode_too_deep = "decode.too_deep",
    /// Frames that came through at least one tunnel.
    decode_tunnelled = "decode.tunnelled",
    /// Segments and datagrams cut by the snap length.
    decode_snapped = "decode.snapped",
    /// Packets with a wrong transport checksum (of handshakes only, unless all are to be verified).
    decode_bad_checksum = "decode.bad_checksum",
    /// Frames whose decoding panicked.
    decode_panic = "decode.panic",
    /// IP fragments, each a part of a datagram that is counted as reassembled, overlap, evicted, expired or unfinished.
    fragment_seen = "fragment.seen",
    /// Datagrams put together from fragments.
    fragment_reassembled = "fragment.reassembled",
    /// Datagrams dropped because fragments overlapped (RFC 8900, RFC 5722), lay behind the end, or were more than 1,024.
    fragment_overlap = "fragment.overlap",
    /// Unfinished datagrams given up for room.
    fragment_evicted = "fragment.evicted",
    /// Unfinished datagrams given up after their time.
    fragment_expired = "fragment.expired",
    /// Unfinished datagrams when the capture ended.
    fragment_unfinished = "fragment.unfinished",
    /// Flows opened. Each is counted once more, by its end, in flow.closed, flow.expired, flow.evicted, flow.superseded or flow.open.
    flow_opened = "flow.opened",
    /// Flows that closed by FIN of both sides or RST, also by one that counts since its sender said nothing more.
    flow_closed = "flow.closed",
    /// Flows that ended by time without having closed.
    flow_expired = "flow.expired",
    /// Flows that ended for room in the table without having closed.
    flow_evicted = "flow.evicted",
    /// Flows that ended without having closed because a new connection began between the same ports.
    flow_superseded = "flow.superseded",
    /// Flows that were open when the capture ended, or, while a sensor runs, when the counters were told.
    flow_open = "flow.open",
    /// Handshakes that ended because a shard's reassembly memory was full.
    flow_memcap = "flow.memcap",
    /// Flows found not to carry TLS.
    flow_not_tls = "flow.not_tls",
    /// Flows whose parser panicked.
    flow_panic = "flow.panic",
    /// Copies of a packet already seen (mirror of both sides), on handshakes.
    tcp_duplicate = "tcp.duplicate",
    /// Retransmitted segments on handshakes.
    tcp_retransmission = "tcp.retransmission",
    /// Overlapping segments with other bytes on handshakes: the first copy won.
    tcp_overlap_conflict = "tcp.overlap_conflict",
    /// Gaps that were skipped on handshakes.
    tcp_gap = "tcp.gap",
    /// Gaps that were skipped since too much was held behind them, on handshakes; where bytes are missing, tcp.gap counts them too.
    tcp_pending_full = "tcp.pending_full",
    /// Handshakes: each is an event, but for those of tls.unselected.
    tls_handshakes = "tls.handshakes",
    /// Handshakes that --host or --sni left out: they are counted, and there is no event of them.
    tls_unselected = "tls.unselected",
    /// Handshakes of SSL 2.
    tls_version_ssl2 = "tls.version.ssl2",
    /// Handshakes of SSL 3.
    tls_version_ssl3 = "tls.version.ssl3",
    /// Handshakes of TLS 1.0.
    tls_version_1_0 = "tls.version.1_0",
    /// Handshakes of TLS 1.1.
    tls_version_1_1 = "tls.version.1_1",
    /// Handshakes of TLS 1.2.
    tls_version_1_2 = "tls.version.1_2",
    /// Handshakes of TLS 1.3 and its drafts.
    tls_version_1_3 = "tls.version.1_3",
    /// Handshakes whose version is not known: no server hello seen.
    tls_version_unknown = "tls.version.unknown",
    /// Handshakes whose server certificate was seen in clear.
    tls_certificate_seen = "tls.certificate.seen",
    /// Handshakes whose certificates are encrypted (TLS 1.3).
    tls_certificate_hidden = "tls.certificate.hidden",
    /// Resumed handshakes: no certificate is sent.
    tls_resumed = "tls.resumed",
    /// Handshakes of which only one side was captured.
    tls_one_sided = "tls.one_sided",
    /// Handshakes with bytes missing.
    tls_incomplete = "tls.incomplete",
    /// Connections that begin like TLS but show no hello that is whole (cut, or captured in part): no event tells of them.
    tls_unread = "tls.unread",
    /// Handshakes with a message longer than the limit.
    tls_message_too_long = "tls.message_too_long",
    /// Certificates of all handshakes, in any role, as often as they were shown.
    tls_certificates = "tls.certificates",
    /// Handshakes that could not be written out and were dropped (live).
    output_lost_handshakes = "output.lost.handshakes",
    /// Certificates that could not be written out and were dropped (live).
    output_lost_certificates = "output.lost.certificates",
    /// Alerts that could not be written out and were dropped (live).
    output_lost_alerts = "output.lost.alerts",
    /// Handshakes, baselines and alerts that could not be written into the inventory and had no room to wait (live).
    output_lost_inventory = "output.lost.inventory",
    /// Certificates that could not be parsed; they are hashed and reported all the same.
    x509_unparsable = "x509.unparsable",
    /// Extensions of certificates that could not be parsed.
    x509_bad_extension = "x509.bad_extension",
    /// Chains whose search for a path ran out of its budget.
    x509_budget = "x509.budget",
    /// ServerKeyExchange signatures that the leaf's key made.
    detect_key_exchange_good = "detect.key_exchange.good",
    /// ServerKeyExchange signatures that the leaf's key did not make.
    detect_key_exchange_bad = "detect.key_exchange.bad",
    /// ServerKeyExchange signatures that could not be checked.
    detect_key_exchange_unknown = "detect.key_exchange.unknown",
    /// CertificateVerify signatures that the client's key made.
    detect_client_proof_good = "detect.client_proof.good",
    /// CertificateVerify signatures that the client's key did not make.
    detect_client_proof_bad = "detect.client_proof.bad",
    /// CertificateVerify signatures that could not be checked.
    detect_client_proof_unknown = "detect.client_proof.unknown",
    /// Findings of all rules, marks included.
    detect_findings = "detect.findings",
    /// Findings that mark an event and do not alert.
    detect_marks = "detect.marks",
    /// Findings that a suppression of the policy silenced.
    detect_suppressed = "detect.suppressed",
    /// Alerts: causes with at least one finding that is not silenced; one that left for want of room and came again counts twice.
    detect_alerts = "detect.alerts",
    /// Findings of causes for which there was no room, or that left, before they were told, for graver ones or for those of a
    /// rule with far fewer: no alert names them.
    detect_overflow = "detect.overflow",
    /// Lines of alerts that the brake of a rule (100 in a minute) held back; they are told when it lets go, the gravest first.
    detect_braked = "detect.braked",
    /// Handshakes whose judgement panicked.
    detect_panic = "detect.panic",
    /// Hosts, keys and issuers that left memory for want of room; a host's baseline goes to the inventory, if there is one.
    /// CAs that were not compared with all chains that waited for an issuer of their name count too, and hosts forgotten by
    /// hand that had been seen since the run looked for such edits last: what they showed meanwhile is in no baseline. So do
    /// records of who got which certificate, without which MITM-008 is silent about a host for up to two hours.
    detect_forgotten = "detect.forgotten",
    /// Ephemeral keys of servers that KEY-003 compares no more, since 32 later ones of their server came: usual where a server
    /// is busy.
    detect_outdated_ephemeral_keys = "detect.outdated.ephemeral_keys",
    /// Server randoms that KEY-005 compares no more, since 500,000 later ones came: usual on a busy network.
    detect_outdated_randoms = "detect.outdated.randoms",
}

impl Stats {
    /// Flows that were opened and have not ended.
    pub fn flows_left(&self) -> u64 {
        [self.flow_closed, self.flow_expired, self.flow_evicted, self.flow_superseded]
            .into_iter()
            .fold(self.flow_opened, u64::saturating_sub)
    }
}

/// Counters that somebody asks for while a sensor runs. Who counts looks after each round whether they are asked for, and hands
/// a copy over.
#[derive(Debug, Default)]
pub struct Demand {
    asked: AtomicU64,
    given: Mutex<Given>,
}

#[derive(Debug, Default)]
struct Given {
    /// Of the reader and of each worker: which demand it answers, and the counters.
    parts: Vec<(u64, Stats)>,
    span: (Timestamp, Timestamp),
}

/// Who counts.
#[derive(Clone, Copy, Debug)]
pub enum Counting {
    /// The reader, which also tells the time of the first and the last packet.
    Reader((Timestamp, Timestamp)),
    /// The worker of this number.
    Worker(usize),
}

impl Demand {
    /// Asks for the counters.
    pub fn ask(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    /// How often was asked so far.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Answers the demand of this number.
    pub fn give(&self, asked: u64, who: Counting, stats: Stats) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let place = match who {
            Counting::Reader(span) => {
                given.span = span;
                0
            }
            Counting::Worker(number) => number.saturating_add(1),
        };
        if given.parts.len() <= place {
            given.parts.resize_with(place.saturating_add(1), Default::default);
        }
        if let Some(part) = given.parts.get_mut(place) {
            *part = (asked, stats);
        }
    }

    /// The sum and the time it covers, once the reader and so many workers have answered a demand later than `answered`,
    /// which then is the last that all of them have answered. Not all need answer the same one: under load there may always be
    /// one that has yet to answer the newest.
    pub fn sum(&self, answered: &mut u64, workers: usize) -> Option<(Stats, (Timestamp, Timestamp))> {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = given.parts.iter().map(|part| part.0).min().filter(|oldest| *oldest > *answered)?;
        if given.parts.len() <= workers {
            return None;
        }
        *answered = oldest;
        let mut sum = Stats::default();
        given.parts.iter().for_each(|part| sum.add(&part.1));
        Some((sum, given.span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_told_when_all_have_answered() {
        let demand = Demand::default();
        let mut answered = 0;
        let one = Stats { flow_opened: 1, ..Stats::default() };
        let span = (Timestamp(3), Timestamp(5));
        demand.ask();
        demand.give(1, Counting::Worker(1), one.clone());
        demand.give(1, Counting::Reader(span), one.clone());
        assert!(demand.sum(&mut answered, 2).is_none());
        demand.give(1, Counting::Worker(0), one.clone());
        let (stats, covered) = demand.sum(&mut answered, 2).unwrap();
        assert_eq!((stats.flow_opened, covered, answered), (3, span, 1));
        demand.ask();
        assert!(demand.sum(&mut answered, 2).is_none());
    }

    /// Whoever is behind never answers the newest.
    #[test]
    fn counters_are_told_while_demands_outrun_the_answers() {
        let demand = Demand::default();
        let (mut answered, mut told) = (0, 0);
        for newest in 1..=20 {
            demand.ask();
            demand.give(newest, Counting::Reader(<(Timestamp, Timestamp)>::default()), Stats::default());
            demand.give(newest / 3, Counting::Worker(0), Stats::default());
            told += u64::from(demand.sum(&mut answered, 1).is_some());
            assert!(demand.sum(&mut answered, 1).is_none(), "told twice");
            assert_eq!((answered, told), (newest / 3, newest / 3));
        }
    }

    #[test]
    fn names_are_unique() {
        let names: Vec<_> = Stats::default().entries().map(|(name, _)| name).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), names.len());
    }

    #[test]
    fn adding_sums_every_counter() {
        let one = Stats { flow_opened: 2, ..Stats::default() };
        let mut sum = one.clone();
        sum.add(&one);
        assert_eq!(sum.flow_opened, 4);
    }
}
