//! The same packets by other ways in: through a pipe, compressed, in a thousand files.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

fn capture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps").join(name)
}

fn tlswatch() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tlswatch"));
    command.args(["read", "--no-judgement", "--quiet", "-o", "-", "--workers", "1"]).stdin(Stdio::null());
    command
}

/// Standard output of a run that went well, and what it told.
fn good(output: Output) -> (String, String) {
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
    (String::from_utf8(output.stdout).unwrap(), told)
}

/// Events without where they come from.
fn placeless(events: &str) -> Vec<Value> {
    let event = |line| {
        let mut event: Value = serde_json::from_str(line).unwrap();
        event.as_object_mut().unwrap().remove("log");
        event
    };
    events.lines().map(event).collect()
}

#[test]
fn a_pipe_gives_what_the_file_gives() {
    let path = capture("demo.pcap");
    let (from_file, _) = good(tlswatch().arg(&path).output().unwrap());
    assert!(from_file.lines().count() > 10);
    let from_file = placeless(&from_file);

    let mut cat = Command::new("cat").arg(&path).stdout(Stdio::piped()).spawn().unwrap();
    let (piped, _) = good(tlswatch().arg("-").stdin(cat.stdout.take().unwrap()).output().unwrap());
    assert!(cat.wait().unwrap().success());
    assert_eq!(placeless(&piped), from_file);

    let mut gzip = Command::new("gzip").arg("-c").arg(&path).stdout(Stdio::piped()).spawn().unwrap();
    let (piped, _) = good(tlswatch().arg("-").stdin(gzip.stdout.take().unwrap()).output().unwrap());
    assert!(gzip.wait().unwrap().success());
    assert_eq!(placeless(&piped), from_file);
}

#[test]
fn a_thousand_files_give_what_one_gives() {
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(capture("mitm-mitmproxy.pcap")).unwrap();
    let mut place = 24;
    let mut frames = Vec::new();
    while place < whole.len() {
        let length = u32::from_le_bytes(whole[place + 8..place + 12].try_into().unwrap());
        let end = place + 16 + usize::try_from(length).unwrap();
        frames.push(&whole[place..end]);
        place = end;
    }
    // One frame each; the rest have only a header.
    let mut parts: Vec<Vec<u8>> = frames.iter().map(|frame| frame.to_vec()).collect();
    parts.resize(1_000, Vec::new());
    for (number, part) in parts.iter().enumerate() {
        fs::write(folder.path().join(format!("{number:04}.pcap")), [&whole[..24], part].concat()).unwrap();
    }
    let (one, _) = good(tlswatch().arg(capture("mitm-mitmproxy.pcap")).output().unwrap());
    let (many, _) = good(tlswatch().arg(folder.path()).output().unwrap());
    assert_eq!(facts(&many), facts(&one));
    assert_eq!(counters(&many)["files"], 1_000);
    assert_eq!(counters(&many)["packets"], counters(&one)["packets"]);
}

/// What does not depend on the numbers of frames in their files.
fn facts(events: &str) -> Vec<Value> {
    let mut events = placeless(events);
    events.pop();
    for event in &mut events {
        event["event"].as_object_mut().unwrap().remove("id");
        event["tlswatch"].as_object_mut().unwrap().remove("frames");
    }
    events
}

fn counters(events: &str) -> Value {
    placeless(events).pop().unwrap()["tlswatch"]["stats"]["capture"].take()
}

#[test]
fn an_unsupported_link_type_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("user0.pcap");
    let mut bytes = fs::read(capture("tls13-p256.pcap")).unwrap();
    bytes[20] = 147;
    fs::write(&path, bytes).unwrap();
    let output = tlswatch().args(["--strict"]).arg(&path).arg(&path).output().unwrap();
    let (events, told) = good(output);
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.contains("link type 147"), "{told}");
    let counters = counters(&events);
    assert_eq!(counters["unsupported_link"], counters["packets"]);
}

#[test]
fn a_cut_file_gives_what_is_before_the_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.pcap");
    fs::copy(capture("demo.pcap"), &path).unwrap();
    let length = fs::metadata(&path).unwrap().len();
    File::options().write(true).open(&path).unwrap().set_len(length - 1).unwrap();
    let (events, told) = good(tlswatch().arg(&path).output().unwrap());
    assert!(told.contains("cut.pcap: damaged at byte "), "{told}");
    assert_eq!(counters(&events)["damaged"], 1);
    let strict = tlswatch().arg("--strict").arg(&path).output().unwrap();
    assert_eq!(strict.status.code(), Some(4));
    assert_eq!(String::from_utf8(strict.stdout).unwrap(), events);
}

#[test]
fn a_reader_that_goes_away_ends_the_run_quietly() {
    for workers in ["1", "2", "5"] {
        // Far more events than all buffers hold.
        let files = vec![capture("demo.pcap"); 60];
        let mut command = Command::new(env!("CARGO_BIN_EXE_tlswatch"));
        command.args(["read", "--no-judgement", "--quiet", "-o", "-", "--workers", workers]).args(files);
        let mut run = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = [0];
        run.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let mut left = 1_000;
        while run.try_wait().unwrap().is_none() && left > 0 {
            sleep(Duration::from_millis(20));
            left -= 1;
        }
        let _ = run.kill();
        let output = run.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{workers} workers: {output:?}");
        assert_eq!(output.stderr, b"");
    }
}
