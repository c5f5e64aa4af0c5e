//! The output is the same bytes for any number of workers, any batch size, any timing, and any file format.
#![cfg(test)]

mod support;

use std::path::PathBuf;

use etherparse::PacketBuilder;
use serde_json::Value;
use tlswatch::capture::Files;
use tlswatch::config::Limits;
use tlswatch::event::Detail;
use tlswatch::pipeline::Options;

use support::capture::{Captured, gzip, parse_pcap, to_pcap, to_pcapng};
use support::{Run, captures, run_bytes, run_file, run_files, run_source};

const WORKERS: [usize; 3] = [1, 2, 5];
const BATCHES: [usize; 3] = [1, 7, 256];

fn matrix() -> impl Iterator<Item = (usize, usize)> {
    WORKERS.into_iter().flat_map(|workers| BATCHES.into_iter().map(move |batch| (workers, batch)))
}

fn same(expected: &Run, run: &Run, what: &str) {
    if expected.output == run.output {
        assert_eq!(expected.outcome.stats, run.outcome.stats, "{what}");
        return;
    }
    let differing = expected.lines().zip(run.lines()).position(|(one, other)| one != other);
    let at = differing.unwrap_or_else(|| expected.lines().count().min(run.lines().count()));
    let line = |run: &Run| run.lines().nth(at).unwrap_or("(nothing)").to_owned();
    panic!("{what}: line {at} differs\n expected {}\n got      {}", line(expected), line(run));
}

/// Every combination of workers and batch, plain and with sleeping workers behind queues of length 1.
fn any_run_is_the_same(what: &str, limits: &Limits, mut run: impl FnMut(&Options) -> Run) -> Run {
    let options = |workers, batch| Options { workers, batch, limits: limits.clone(), ..Options::default() };
    let expected = run(&options(1, 256));
    for (workers, batch) in matrix() {
        let what = format!("{what}, {workers} workers, batches of {batch}");
        same(&expected, &run(&options(workers, batch)), &what);
    }
    for (seed, (workers, batch)) in [(1, 1), (2, 1), (2, 256), (5, 7)].into_iter().enumerate() {
        let shaken = Options { queue: 1, jitter: Some(seed as u64), ..options(workers, batch) };
        same(&expected, &run(&shaken), &format!("{what}, {workers} workers asleep, batches of {batch}"));
    }
    expected
}

#[test]
fn every_capture_is_the_same_for_any_threads() {
    for path in captures() {
        let what = path.display().to_string();
        any_run_is_the_same(&what, &Limits::default(), |options| run_file(&path, options, Detail::Full));
    }
}

#[test]
fn all_captures_at_once_are_the_same_for_any_threads() {
    let paths = captures();
    let run = any_run_is_the_same("all files", &Limits::default(), |options| run_files(&paths, options, Detail::Lean));
    assert_eq!(run.outcome.stats.capture_files, paths.len() as u64);
}

#[test]
fn eviction_and_every_other_limit_are_the_same_for_any_threads() {
    let all = captures();
    let few: Vec<PathBuf> = all.iter().step_by(3).cloned().collect();
    let small = Limits {
        flows_per_slot: 1,
        slot_memory: 8 << 10,
        pending_bytes: 4 << 10,
        pending_segments: 2,
        message_bytes: 2 << 10,
        memo_bytes: 4 << 10,
        ..Limits::default()
    };
    let one_flow = Limits { flows_per_slot: 1, ..Limits::default() };
    for (paths, limits, name) in [(&all, one_flow, "one flow a slot"), (&few, small, "all small")] {
        let merged = to_pcapng(&interleaved(paths));
        let run = any_run_is_the_same(name, &limits, |options| {
            let input = Box::new(std::io::Cursor::new(merged.clone()));
            run_source(&mut Files::from_reader("merged", input, Default::default()), options, Detail::Lean)
        });
        let stats = &run.outcome.stats;
        assert!(stats.flow_evicted > 20, "{name}: only {} evictions", stats.flow_evicted);
        assert!(stats.tls_handshakes > 100, "{name}: only {} handshakes", stats.tls_handshakes);
    }
}

/// Flows that are not followed have many packets before a worker could have said so.
#[test]
fn flows_of_datagrams_are_the_same_for_any_threads() {
    let frames = (0_u16..600).map(|number| {
        let mut data = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([192, 0, 2, 1], [198, 51, 100, 1], 64)
            .udp(40_000 + number % 7, if number % 2 == 0 { 53 } else { 443 })
            .write(&mut data, &[7; 40])
            .unwrap();
        let original_len = u32::try_from(data.len()).unwrap();
        Captured { time: 1_700_000_000_000_000_000, link_type: 1, data, original_len }
    });
    let file = to_pcap(&frames.collect::<Vec<_>>());
    let run =
        any_run_is_the_same("datagrams", &Limits::default(), |options| run_bytes("udp.pcap", file.clone(), options));
    assert_eq!((run.outcome.stats.flow_not_tls, run.outcome.stats.decode_udp), (14, 600));
}

/// The first frame of a file may be the last one of a handshake, which names that file.
#[test]
fn captures_of_many_files_are_the_same_for_any_threads() {
    let frames = parse_pcap(&std::fs::read("pcaps/fail-protocol-version.pcap").unwrap());
    let port = frames[0].data[34..36].to_vec();
    let connections = (0..70_u16).flat_map(|number| {
        let with_port = |frame: &Captured| {
            let mut frame = frame.clone();
            let from = if frame.data[34..36] == port { 34 } else { 36 };
            frame.data[from..from + 2].copy_from_slice(&(10_000 + number).to_be_bytes());
            frame.time += i64::from(number) * 1_000_000_000;
            frame
        };
        frames.iter().take(9).map(with_port).collect::<Vec<_>>()
    });
    let folder = tempfile::tempdir().unwrap();
    let paths = connections.enumerate().map(|(number, frame)| {
        let path = folder.path().join(format!("{number:03}.pcap"));
        std::fs::write(&path, to_pcap(&[frame])).unwrap();
        path
    });
    let paths: Vec<_> = paths.collect();
    let run = |workers, batch| {
        let options = Options { workers, batch, ..Options::default() };
        run_files(&paths, &options, Detail::Standard)
    };
    let expected = run(2, 1);
    assert_eq!(expected.outcome.stats.tls_handshakes, 70);
    assert_eq!(expected.lines().filter(|line| line.contains("\"last_file\"")).count(), 70);
    for (workers, batch) in [(1, 1), (1, 256), (1, 4096), (2, 4096), (5, 256)] {
        same(&expected, &run(workers, batch), &format!("{workers} workers, batches of {batch}"));
    }
}

/// Large files lie in memory, and workers read the segments where they lie, from several windows.
#[test]
fn large_files_are_the_same_for_any_threads() {
    let filler = datagram(&[7; 1_400]);
    let frames = interleaved(&captures()).into_iter().flat_map(|frame| {
        let filler = Captured { time: frame.time, ..filler.clone() };
        [frame, filler]
    });
    let frames: Vec<_> = frames.collect();
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [("a.pcap", to_pcap(&frames)), ("a.pcapng", to_pcapng(&frames))] {
        assert!(bytes.len() > 9 << 20, "{name}: only {} bytes", bytes.len());
        let path = folder.path().join(name);
        std::fs::write(&path, &bytes).unwrap();
        let run = any_run_is_the_same(name, &Limits::default(), |options| run_file(&path, options, Detail::Full));
        let copied = run_bytes(path.to_str().unwrap(), bytes, &Options::default());
        same(&copied, &run, name);
        assert!(run.outcome.stats.tls_handshakes > 500);
    }
}

/// What is compared with later copies is not copied where it can be read again: in the window, or in the file.
#[test]
fn copies_with_other_bytes_are_the_same_in_large_files() {
    let filler = datagram(&[7; 1_400]);
    let plain = interleaved(&captures().into_iter().step_by(4).collect::<Vec<_>>());
    let folder = tempfile::tempdir().unwrap();
    for (delay, fillers, least) in [(3, 2, 100), (120, 30, 5)] {
        let contradicting = |frame: &Captured, time| {
            let mut copy = Captured { time, ..frame.clone() };
            // Another packet by its IP identification, with another last byte.
            let end = copy.data.len() - 1;
            copy.data[18] ^= 0x55;
            copy.data[end] ^= 0x55;
            copy
        };
        let is_ipv4 = |frame: &&Captured| frame.link_type == 1 && frame.data.get(12..15) == Some(&[8, 0, 0x45]);
        let frames = plain.iter().enumerate().flat_map(|(at, frame)| {
            let filler = Captured { time: frame.time, ..filler.clone() };
            let before = at.checked_sub(delay).and_then(|at| plain.get(at)).filter(is_ipv4);
            let copy = before.map(|before| contradicting(before, frame.time));
            std::iter::once(frame.clone()).chain(vec![filler; fillers]).chain(copy)
        });
        let bytes = to_pcap(&frames.collect::<Vec<_>>());
        assert!(bytes.len() > 9 << 20, "only {} bytes", bytes.len());
        let path = folder.path().join("a.pcap");
        std::fs::write(&path, &bytes).unwrap();
        let copied = run_bytes(path.to_str().unwrap(), bytes, &Options::default());
        for (workers, batch) in matrix() {
            let run = run_file(&path, &Options { workers, batch, ..Options::default() }, Detail::Full);
            same(&copied, &run, &format!("copies {delay} frames later, {workers} workers, batches of {batch}"));
        }
        let conflicts = copied.outcome.stats.tcp_overlap_conflict;
        assert!(conflicts > least, "{conflicts} with copies {delay} frames later");
    }
}

/// Somebody wants to cut the file while sinks are slow: workers get to bytes of which the reader is done long ago.
#[test]
fn a_large_file_may_be_cut_while_it_is_read() {
    let frames = interleaved(&captures());
    let filler = datagram(&[7; 1_400]);
    let frames: Vec<_> = frames
        .into_iter()
        .flat_map(|frame| {
            let filler = Captured { time: frame.time, ..filler.clone() };
            [frame, filler]
        })
        .collect();
    let bytes = to_pcap(&frames);
    let folder = tempfile::tempdir().unwrap();
    for number in 0..6_u64 {
        let path = folder.path().join(format!("{number}.pcap"));
        std::fs::write(&path, &bytes).unwrap();
        let cutter = std::thread::spawn({
            let path = path.clone();
            move || {
                std::thread::sleep(std::time::Duration::from_millis(20 * number));
                std::fs::OpenOptions::new().write(true).truncate(true).open(path).unwrap();
            }
        });
        let options = Options { workers: 3, queue: 8, jitter: Some(number), ..Options::default() };
        let run = run_file(&path, &options, Detail::Lean);
        cutter.join().unwrap();
        assert!(run.outcome.panics.is_empty());
        // Nothing is lost in silence: all of it, or nothing of a file that was empty already, or it is told.
        let stats = &run.outcome.stats;
        let (packets, all) = (stats.capture_packets, u64::try_from(frames.len()).unwrap());
        assert!(packets == all || packets == 0 || stats.capture_damaged == 1, "{number}: {packets} of {all}");
    }
}

fn datagram(payload: &[u8]) -> Captured {
    let mut data = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([192, 0, 2, 1], [198, 51, 100, 1], 64)
        .udp(40_000, 53)
        .write(&mut data, payload)
        .unwrap();
    let original_len = u32::try_from(data.len()).unwrap();
    Captured { time: 1_700_000_000_000_000_000, link_type: 1, data, original_len }
}

#[test]
fn the_file_format_does_not_show() {
    for path in captures() {
        let frames = parse_pcap(&std::fs::read(&path).unwrap());
        let [pcap, pcapng] = [to_pcap(&frames), to_pcapng(&frames)];
        let expected = without_place(&run_file(&path, &Options::default(), Detail::Full));
        let forms = [("pcap.gz", gzip(&pcap)), ("pcapng.gz", gzip(&pcapng)), ("pcap", pcap), ("pcapng", pcapng)];
        for (form, bytes) in forms {
            let run = without_place(&run_bytes(form, bytes, &Options::default()));
            assert!(expected == run, "{} as {form}", path.display());
        }
    }
}

#[test]
fn an_interface_is_named_in_every_event_of_it() {
    let frames = parse_pcap(&std::fs::read("pcaps/tls12-ecdhe-p256.pcap").unwrap());
    let run = run_bytes("named.pcapng", to_pcapng(&frames), &Options::default());
    for event in run.events("tls") {
        assert_eq!(event["observer"]["ingress"]["interface"]["name"], "port");
        assert_eq!(event["log"]["file"]["path"], "named.pcapng");
    }
}

/// All captures as if they had been taken at the same time, a microsecond apart.
fn interleaved(paths: &[PathBuf]) -> Vec<Captured> {
    let mut all = Vec::new();
    for (start, path) in (1_700_000_000_000_000_000_i64..).step_by(1_000).zip(paths) {
        let frames = parse_pcap(&std::fs::read(path).unwrap());
        let first = frames.iter().map(|frame| frame.time).min().unwrap_or(0);
        all.extend(frames.into_iter().map(|frame| Captured { time: frame.time - first + start, ..frame }));
    }
    all.sort_by_key(|frame| frame.time);
    all
}

/// The events without the names of the file and the interface.
fn without_place(run: &Run) -> Vec<Value> {
    run.lines()
        .map(|line| {
            let mut event: Value = serde_json::from_str(line).unwrap();
            event.as_object_mut().unwrap().remove("log");
            event["observer"].as_object_mut().unwrap().remove("ingress");
            event
        })
        .collect()
}
