//! Every limit and timeout: unit, default, reason.

use crate::time::Span;

/// Limits of memory, depth and time. All have defaults that hold on a SPAN port; a file may change them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Flows in one of the 256 slots; beyond, the least recently seen one ends. 5,120 x 256 = 1.3 million, so that one
    /// million evenly spread flows fit.
    pub flows_per_slot: usize,
    /// Bytes of reassembly memory of one slot; beyond, its least recently seen handshake ends (`flow.memcap`).
    pub slot_memory: usize,
    /// Bytes that one direction may hold out of order before its gap is skipped.
    pub pending_bytes: usize,
    /// Segments that one direction may hold out of order before its gap is skipped.
    pub pending_segments: usize,
    /// How long a gap is waited for.
    pub gap_wait: Span,
    /// Bytes of the longest handshake message that is read.
    pub message_bytes: usize,
    /// Certificates of one chain that are kept.
    pub chain_length: usize,
    /// Nested tunnels that are followed.
    pub tunnel_depth: usize,
    /// Datagrams that wait for fragments.
    pub fragmented_datagrams: usize,
    /// Bytes of all datagrams that wait for fragments; beyond, the oldest leaves (`fragment.evicted`).
    pub fragment_bytes: usize,
    /// How long fragments wait (RFC 8200 section 4.5 says 60 s from the first; captures repeat identifiers sooner).
    pub fragment_timeout: Span,
    /// End of a flow without payload after its last packet.
    pub half_open_timeout: Span,
    /// End of a handshake without progress.
    pub handshake_timeout: Span,
    /// How much longer a connection whose handshake ended in silence may go on: what comes then is a flow of its own.
    pub late_wait: Span,
    /// End of a flow that had payload, after its last packet.
    pub idle_timeout: Span,
    /// End of a closed flow, so that stragglers do not open a new one.
    pub closing_timeout: Span,
    /// End of a UDP flow after its last datagram.
    pub udp_timeout: Span,
    /// Bytes of each memo (certificates, signatures).
    pub memo_bytes: usize,
    /// Frames further ahead than this move the clock only when others agree.
    pub time_jump: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            flows_per_slot: 5_120,
            slot_memory: 512 << 10,
            pending_bytes: 256 << 10,
            pending_segments: 64,
            gap_wait: Span::seconds(5),
            message_bytes: 256 << 10,
            chain_length: 32,
            tunnel_depth: 4,
            fragmented_datagrams: 4_096,
            fragment_bytes: 64 << 20,
            fragment_timeout: Span::seconds(30),
            half_open_timeout: Span::seconds(30),
            handshake_timeout: Span::seconds(60),
            late_wait: Span::seconds(600),
            idle_timeout: Span::seconds(3_600),
            closing_timeout: Span::seconds(10),
            udp_timeout: Span::seconds(60),
            memo_bytes: 32 << 20,
            time_jump: Span::seconds(3_600),
        }
    }
}
