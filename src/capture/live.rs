//! Frames of an interface, through libpcap. The one place that asks the wall clock.
//!
//! Never in immediate mode: that costs the ring its blocks (TPACKET_V2) and loses frames under load. The ring is read
//! without blocking, and an empty one is waited for with poll(2): its time-out also comes where no frame ever does.

mod system;

use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use ::pcap::{Active, Capture, Device, Error, IfFlags, Precision};

use crate::packet::{Frame, LinkType};
use crate::stats::Stats;
use crate::time::{Span, Timestamp};

use super::{CaptureError, Next, Problem, ProblemKind, Progress, Source};

pub use system::host_name;

/// How an interface is captured.
#[derive(Clone, Debug)]
pub struct LiveOptions {
    /// Also frames that are not for this host.
    pub promiscuous: bool,
    /// Bytes of the kernel's ring.
    pub buffer_bytes: usize,
    /// Bytes of the longest frame that is taken whole.
    pub snap_length: u32,
    /// Only frames that this BPF expression takes; the kernel applies it.
    pub filter: Option<String>,
    /// Ends the capture when it becomes true: what the ring holds by then is still given.
    pub stop: Arc<AtomicBool>,
}

impl Default for LiveOptions {
    fn default() -> Self {
        Self { promiscuous: true, buffer_bytes: 64 << 20, snap_length: 256 << 10, filter: None, stop: Arc::default() }
    }
}

/// An interface of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// What libpcap says about it.
    pub description: Option<String>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Whether it is switched on.
    pub up: bool,
    /// Whether it has a link.
    pub running: bool,
}

/// What can be captured, in libpcap's order (the most usual one first).
///
/// # Errors
/// When the system does not tell.
pub fn interfaces() -> Result<Vec<Interface>, CaptureError> {
    let devices = Device::list().map_err(|error| refusal("", &error))?;
    let interfaces = devices.into_iter().map(|device| Interface {
        name: device.name,
        description: device.desc,
        addresses: device.addresses.into_iter().map(|address| address.addr).collect(),
        up: device.flags.contains(IfFlags::UP),
        running: device.flags.contains(IfFlags::RUNNING),
    });
    Ok(interfaces.collect())
}

/// Time after which the kernel gives a block of the ring that is not full.
const BLOCK_TIMEOUT: Duration = Duration::from_millis(50);
/// Longest wait for frames.
const WAIT: Duration = Duration::from_millis(100);
/// Wait after poll(2) came back without frames to read (an interface that is down): no busy loop.
const PAUSE: Duration = Duration::from_millis(20);
/// How far the clock of an empty ring stays behind the wall clock: frames younger than that may still be in a block.
const SETTLED: Span = Span::millis(200);
/// How long an empty ring is read on after the stop, for the block that is still open.
const DRAIN: Duration = Duration::from_millis(120);
/// Longest time for what the ring holds at the stop.
const DRAIN_FULL: Duration = Duration::from_secs(10);
/// Time and frames after which the kernel's counters are asked for: long before 32 bits overflow.
const COUNT_TIME: Duration = Duration::from_secs(1);
const COUNT_FRAMES: u64 = 1 << 16;

/// The frames of one interface.
pub struct Live {
    name: String,
    capture: Capture<Active>,
    link_type: LinkType,
    stop: Arc<AtomicBool>,
    phase: Phase,
    stopping: Option<Stopping>,
    drops: Drops,
    forward: Forward,
    counted: Instant,
    stats: Stats,
    problems: Vec<Problem>,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("name", &self.name).field("phase", &self.phase).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The ring may hold frames.
    Reading,
    /// The ring was empty.
    Empty,
    /// Nothing more is read; the last counters are missing.
    Ending,
    Ended,
}

/// When the stop was seen.
#[derive(Clone, Copy, Debug)]
struct Stopping {
    at: Timestamp,
    since: Instant,
}

/// The wall clock, but that it does not stand still when it is set back: windows, holds and saves go on, and what is late is
/// so by as much as before.
#[derive(Clone, Copy, Debug, Default)]
struct Forward {
    last: Option<(Timestamp, Instant)>,
}

impl Forward {
    fn at(&mut self, wall: Timestamp, now: Instant) -> Timestamp {
        let at = self.last.map_or(wall, |(last, then)| {
            let since = i64::try_from(now.saturating_duration_since(then).as_nanos()).unwrap_or(i64::MAX);
            wall.max(last.plus(Span(since)))
        });
        self.last = Some((at, now));
        at
    }
}

impl Live {
    /// Begins to capture on `interface`.
    ///
    /// # Errors
    /// When there is no such interface, it may not be captured, or the filter is wrong.
    pub fn open(interface: &str, options: LiveOptions) -> Result<Self, CaptureError> {
        let capture = match activate(interface, &options, options.promiscuous) {
            // Some devices (`any`) have no promiscuous mode; libpcap's warning of that arrives as an error.
            Err(Error::PcapError(reason)) if options.promiscuous && reason.to_lowercase().contains("promisc") => {
                activate(interface, &options, false)
            }
            capture => capture,
        };
        let mut capture = capture.map_err(|error| refusal(interface, &error))?;
        if let Some(expression) = &options.filter {
            let refused = |error: Error| CaptureError::Filter { expression: expression.clone(), reason: words(&error) };
            capture.filter(expression, true).map_err(refused)?;
        }
        let number = capture.get_datalink().0;
        let link_type = u16::try_from(number).map(LinkType).map_err(|_| CaptureError::Interface {
            name: interface.to_owned(),
            reason: format!("unknown link type {number}"),
        })?;
        Ok(Self {
            name: interface.to_owned(),
            capture,
            link_type,
            stop: options.stop,
            phase: Phase::Reading,
            stopping: None,
            drops: Drops::default(),
            forward: Forward::default(),
            counted: monotonic(),
            stats: Stats::default(),
            problems: Vec::new(),
        })
    }

    /// How the interface's frames are to be read.
    pub fn link_type(&self) -> LinkType {
        self.link_type
    }

    /// Waits until the ring holds frames, for a while.
    fn wait(&mut self) {
        let wait = if self.stopping.is_some() { PAUSE } else { WAIT };
        if system::wait_readable(self.capture.as_raw_fd(), wait) == system::Readiness::Failing {
            std::thread::sleep(PAUSE);
        }
        self.phase = Phase::Reading;
    }

    fn count_drops(&mut self) {
        self.counted = monotonic();
        if let Ok(stat) = self.capture.stats() {
            self.stats.capture_dropped = self.drops.kernel.sum(stat.dropped);
            self.stats.capture_interface_dropped = self.drops.interface.sum(stat.if_dropped);
        }
    }

    /// Everything that may need the capture besides the next frame.
    #[inline(never)]
    fn between(&mut self) {
        if self.phase == Phase::Empty {
            self.wait();
        }
        if self.stopping.is_none() && self.stop.load(Ordering::Relaxed) {
            self.stopping = Some(Stopping { at: wall_clock(), since: monotonic() });
        }
        if self.counted.elapsed() >= COUNT_TIME || self.stats.capture_packets.is_multiple_of(COUNT_FRAMES) {
            self.count_drops();
        }
    }
}

impl Source for Live {
    fn next(&mut self) -> Result<Next<'_>, CaptureError> {
        match self.phase {
            Phase::Ended => return Ok(Next::End),
            Phase::Ending => {
                self.count_drops();
                self.phase = Phase::Ended;
                return Ok(Next::End);
            }
            Phase::Empty => self.between(),
            Phase::Reading if self.stats.capture_packets.is_multiple_of(256) => self.between(),
            Phase::Reading => {}
        }
        match self.capture.next_packet() {
            Ok(packet) => {
                let timestamp = frame_time(packet.header.ts);
                if let Some(stopping) = self.stopping
                    && (timestamp > stopping.at || stopping.since.elapsed() > DRAIN_FULL)
                {
                    self.phase = Phase::Ending;
                    return Ok(Next::Idle(stopping.at.plus(Span(SETTLED.0.saturating_neg()))));
                }
                self.stats.capture_packets += 1;
                self.stats.capture_bytes += u64::try_from(packet.data.len()).unwrap_or(0);
                Ok(Next::Frame(Frame {
                    sequence: self.stats.capture_packets,
                    number: self.stats.capture_packets,
                    file: 0,
                    interface: 0,
                    timestamp,
                    time_known: true,
                    link_type: self.link_type,
                    original_len: packet.header.len,
                    data: packet.data,
                }))
            }
            Err(error) => {
                let drained = self.stopping.is_some_and(|stopping| stopping.since.elapsed() >= DRAIN);
                self.phase = if drained { Phase::Ending } else { Phase::Empty };
                if error != Error::TimeoutExpired {
                    self.phase = Phase::Ending;
                    let kind = ProblemKind::Interface { reason: words(&error) };
                    self.problems.push(Problem { path: self.name.clone(), kind });
                }
                let now = self.forward.at(wall_clock(), monotonic());
                Ok(Next::Idle(now.plus(Span(SETTLED.0.saturating_neg()))))
            }
        }
    }

    fn file_path(&self, _file: u32) -> Option<&str> {
        None
    }

    fn interface_name(&self, _file: u32, _interface: u32) -> Option<&str> {
        Some(&self.name)
    }

    fn stats(&self) -> &Stats {
        &self.stats
    }

    fn problems(&self) -> &[Problem] {
        &self.problems
    }

    fn progress(&self) -> Progress {
        Progress { read: self.stats.capture_bytes, total: None }
    }
}

/// The kernel's counters of 32 bits as sums of 64.
#[derive(Debug, Default)]
struct Drops {
    kernel: Widened,
    interface: Widened,
}

#[derive(Debug, Default)]
struct Widened {
    last: u32,
    sum: u64,
}

impl Widened {
    /// The sum, now that the counter stands at `now`; it may have wrapped once since the last time.
    fn sum(&mut self, now: u32) -> u64 {
        self.sum = self.sum.saturating_add(u64::from(now.wrapping_sub(self.last)));
        self.last = now;
        self.sum
    }
}

fn activate(interface: &str, options: &LiveOptions, promiscuous: bool) -> Result<Capture<Active>, Error> {
    let most = |bytes: usize| i32::try_from(bytes).unwrap_or(i32::MAX);
    Capture::from_device(interface)?
        .promisc(promiscuous)
        .buffer_size(most(options.buffer_bytes))
        .snaplen(i32::try_from(options.snap_length).unwrap_or(i32::MAX))
        .timeout(i32::try_from(BLOCK_TIMEOUT.as_millis()).unwrap_or(50))
        .precision(Precision::Nano)
        .open()?
        .setnonblock()
}

/// libpcap gives only words; what is wrong follows from them and from the interfaces there are.
fn refusal(interface: &str, error: &Error) -> CaptureError {
    let name = interface.to_owned();
    let reason = words(error);
    let known: Vec<String> = Device::list().unwrap_or_default().into_iter().map(|device| device.name).collect();
    if !interface.is_empty() && !known.is_empty() && !known.contains(&name) {
        return CaptureError::UnknownInterface { name, known };
    }
    let lower = reason.to_lowercase();
    if ["permi", "cap_net_raw", "eperm", "eacces"].iter().any(|word| lower.contains(word)) {
        return CaptureError::Permission { name, reason };
    }
    CaptureError::Interface { name, reason }
}

fn words(error: &Error) -> String {
    let words = match error {
        Error::PcapError(words) => words.clone(),
        other => other.to_string(),
    };
    if words.is_empty() { "libpcap gives no reason".to_owned() } else { words }
}

/// With nanosecond precision the field of microseconds holds nanoseconds.
fn frame_time(time: libc::timeval) -> Timestamp {
    Timestamp::new(time.tv_sec, u32::try_from(time.tv_usec).unwrap_or(0))
}

#[expect(clippy::disallowed_methods, reason = "the live edge: an empty ring has no packet time")]
fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::new(i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_nanos())
}

/// A clock that only goes ahead, for what the sensor itself does and no packet tells: draining the ring, signals.
#[expect(clippy::disallowed_methods, reason = "the live edge: bounds how long the ring is drained")]
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_goes_on() {
        let (mut forward, start) = (Forward::default(), monotonic());
        let mut at = |wall, after| forward.at(Timestamp::new(wall, 0), start + Duration::from_secs(after)).seconds();
        assert_eq!([at(1_000, 0), at(1_010, 10)], [1_000, 1_010]);
        // Back by an hour, and it is a minute later each time; then nearly right again, and right.
        assert_eq!([at(-2_530, 70), at(-2_470, 130), at(1_180, 190), at(1_250, 250)], [1_070, 1_130, 1_190, 1_250]);
        // Ahead by a day.
        assert_eq!([at(87_700, 300), at(1_360, 360)], [87_700, 87_760]);
    }

    #[test]
    fn counters_go_on_when_32_bits_overflow() {
        let mut counter = Widened::default();
        assert_eq!(counter.sum(5), 5);
        assert_eq!(counter.sum(u32::MAX), u64::from(u32::MAX));
        assert_eq!(counter.sum(9), u64::from(u32::MAX) + 10);
        assert_eq!(counter.sum(9), u64::from(u32::MAX) + 10);
    }

    #[test]
    fn frame_times_are_nanoseconds() {
        let time = libc::timeval { tv_sec: 3, tv_usec: 999_999_999 };
        assert_eq!(frame_time(time), Timestamp(3_999_999_999));
    }

    #[test]
    fn an_unknown_interface_is_told_with_those_there_are() {
        match Live::open("no-such-interface", LiveOptions::default()) {
            Err(CaptureError::UnknownInterface { name, known }) => {
                assert_eq!(name, "no-such-interface");
                assert!(!known.is_empty());
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn words_that_mean_a_missing_right() {
        let Some(name) = interfaces().unwrap().first().map(|interface| interface.name.clone()) else { return };
        for words in [
            "socket: Operation not permitted",
            "Attempt to create packet socket failed - CAP_NET_RAW may be required",
            "You don't have permission to perform this capture on that device",
        ] {
            let refused = refusal(&name, &Error::PcapError(words.to_owned()));
            assert!(matches!(refused, CaptureError::Permission { .. }), "{words}");
        }
        let refused = refusal(&name, &Error::PcapError(String::new()));
        assert!(refused.to_string().contains("no reason"), "{refused}");
    }
}
