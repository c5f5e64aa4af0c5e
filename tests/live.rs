//! `tlswatch live` on a veth pair in a network namespace: replayed captures give what `tlswatch read` gives.
//!
//! Needs root, `ip` and `tcpreplay`. Where these are missing the tests say so and pass, but not for root in CI
//! (`CI=true`) or with `TLSWATCH_REQUIRE_LIVE=1`: there they must run.

#![cfg(all(feature = "live", target_os = "linux"))]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::string_slice,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tlswatch");

/// A namespace of its own with the veth pair `in0`, `out0`: what is sent on `out0` is received on `in0`.
struct Namespace {
    name: String,
}

impl Namespace {
    /// `None`, with a word why, where namespaces are not allowed and not required.
    fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let namespace =
            Self { name: format!("tlswatch-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)) };
        match namespace.set_up() {
            Ok(()) => Some(namespace),
            Err(reason) => {
                assert!(!required(), "live tests are required here, but {reason}");
                println!("SKIPPED: {reason}");
                None
            }
        }
    }

    fn set_up(&self) -> Result<(), String> {
        outcome("tcpreplay", Command::new("tcpreplay").arg("--version").output())?;
        ip(&["netns", "add", &self.name])?;
        let inside = |arguments: &str| {
            let mut words = vec!["-n", &self.name];
            words.extend(arguments.split(' '));
            ip(&words)
        };
        inside("link add in0 mtu 65535 type veth peer name out0 mtu 65535")?;
        for interface in ["in0", "out0"] {
            // A link that is really idle; without IPv6 it is that anyway.
            let _ = inside(&format!("link set {interface} addrgenmode none"));
            inside(&format!("link set {interface} up"))?;
        }
        Ok(())
    }

    /// A command inside; `ip netns exec` becomes the program, so its process id is that of the program.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]).stdin(Stdio::null());
        command
    }

    fn watch(&self, output: &Path, arguments: &[&str]) -> Sensor {
        let mut command = self.command(PROGRAM);
        command.args(["live", "-i", "in0", "-o"]).arg(output).args(arguments).stderr(Stdio::piped());
        if !arguments.contains(&"--inventory") {
            command.arg("--no-inventory");
        }
        let mut child = command.spawn().unwrap();
        let mut first = String::new();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        errors.read_line(&mut first).unwrap();
        let sensor = Sensor { child, output: output.to_owned(), errors };
        assert!(first.starts_with("tlswatch: watching in0 (link type 1,"), "{first}");
        sensor
    }

    fn replay(&self, capture: &Path, packets_per_second: u32) -> Child {
        let mut command = self.command("tcpreplay");
        command.arg("--quiet").arg(format!("--pps={packets_per_second}")).arg("--intf1=out0").arg(capture);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn replay_all(&self, capture: &Path) {
        let mut child = self.replay(capture, 4_000);
        assert!(ended_within(&mut child, Duration::from_secs(60)).success(), "tcpreplay failed on {capture:?}");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Also takes the veth pair away; fails where it was never made.
        let _ = ip(&["netns", "del", &self.name]);
    }
}

/// A running `tlswatch live`.
struct Sensor {
    child: Child,
    output: PathBuf,
    errors: BufReader<std::process::ChildStderr>,
}

impl Sensor {
    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Ends it in order and gives its events.
    fn stop(mut self, signal: &str) -> Vec<Value> {
        self.signal(signal);
        let status = ended_within(&mut self.child, Duration::from_secs(20));
        assert_eq!(status.code(), Some(0), "{status}");
        events(&self.output)
    }

    /// Waits until `wanted` is true of the events so far.
    fn wait_for(&self, seconds: u64, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        for _ in 0..seconds * 20 {
            let events = events(&self.output);
            if wanted(&events) {
                return events;
            }
            sleep(Duration::from_millis(50));
        }
        let said: Vec<_> = events(&self.output)
            .iter()
            .map(|event| (dataset(event).to_owned(), event["message"].to_string()))
            .collect();
        panic!("not within {seconds} s: {said:?}");
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn ended_within(child: &mut Child, time: Duration) -> ExitStatus {
    for _ in 0..time.as_millis() / 20 {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        sleep(Duration::from_millis(20));
    }
    end(child);
    panic!("still running after {time:?}");
}

fn outcome(name: &str, output: std::io::Result<Output>) -> Result<(), String> {
    let output = output.map_err(|error| format!("{name} cannot be run: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{name} failed: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    outcome(&format!("`ip {}`", arguments.join(" ")), Command::new("ip").args(arguments).output())
}

fn required() -> bool {
    let set = |name: &str, value: &str| std::env::var(name).is_ok_and(|set| set == value);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let root = status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"));
    root && (set("CI", "true") || set("TLSWATCH_REQUIRE_LIVE", "1"))
}

fn capture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps").join(name)
}

/// Whole lines of an output; it may be growing.
fn events(output: &Path) -> Vec<Value> {
    let text = fs::read_to_string(output).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn dataset(event: &Value) -> &str {
    event["event"]["dataset"].as_str().unwrap()
}

/// Handshakes and certificates without what differs between a file and an interface, in one order.
fn comparable(mut events: Vec<Value>) -> Vec<String> {
    // Captures are judged from the first handshake on, networks after a time of learning.
    events.retain(|event| !["tlswatch.stats", "tlswatch.alert"].contains(&dataset(event)));
    for event in &mut events {
        let Value::Object(members) = &mut *event else { panic!("{event}") };
        members.remove("@timestamp").expect("a time");
        members.remove("log");
        for (object, names) in
            [("event", &["id", "start", "end", "duration"][..]), ("observer", &["ingress", "name", "hostname"][..])]
        {
            let object = members.get_mut(object).and_then(Value::as_object_mut).unwrap();
            object.retain(|name, _| !names.contains(&name.as_str()));
        }
        let tlswatch = members.get_mut("tlswatch").and_then(Value::as_object_mut).unwrap();
        tlswatch.remove("syn_rtt");
        if let Some(certificate) = tlswatch.get_mut("certificate").and_then(Value::as_object_mut) {
            certificate.retain(|name, _| !["days_left", "first_seen", "last_seen"].contains(&name.as_str()));
        }
    }
    let mut lines: Vec<String> = events.iter().map(Value::to_string).collect();
    lines.sort();
    lines
}

fn read(capture: &Path) -> Vec<Value> {
    let output = Command::new(PROGRAM)
        .args(["read", "--no-judgement", "--detail", "standard", "-o", "-"])
        .arg(capture)
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The first `frames` frames of a capture, as a new file.
fn beginning_of(name: &str, frames: usize, to: &Path) {
    let whole = fs::read(capture(name)).unwrap();
    let mut end = 24;
    for _ in 0..frames {
        let length = u32::from_le_bytes(whole[end + 8..end + 12].try_into().unwrap());
        end += 16 + usize::try_from(length).unwrap();
    }
    fs::File::create(to).unwrap().write_all(&whole[..end]).unwrap();
}

#[test]
fn replayed_captures_give_what_reading_them_gives() {
    let Some(namespace) = Namespace::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    for (name, workers) in CAPTURES {
        let output = folder.path().join(format!("{name}-{workers}"));
        let sensor = namespace.watch(&output, &["--workers", workers, "--no-judgement"]);
        namespace.replay_all(&capture(name));
        // Without a pause: what the ring holds must come out too.
        let live = sensor.stop("-INT");
        let counters = &live.last().unwrap()["tlswatch"]["stats"]["capture"];
        assert_eq!(counters["dropped"], 0, "{name}: {counters}");
        let (live, read) = (comparable(live), comparable(read(&capture(name))));
        for (live, read) in live.iter().zip(&read) {
            assert_eq!(live, read, "{name}");
        }
        assert_eq!(live.len(), read.len(), "{name}");
    }
}

/// With workers. All of them took less time than any time-out, so that replaying them faster changes nothing.
const CAPTURES: [(&str, &str); 16] = [
    ("demo.pcap", "1"),
    ("demo.pcap", "2"),
    ("ipv6.pcap", "2"),
    ("vlan-tagged.pcap", "1"),
    ("mitm-mitmproxy-lossy.pcap", "2"),
    ("captive-portal.pcap", "1"),
    ("cert-faults.pcap", "2"),
    ("client-cert-stolen.pcap", "1"),
    ("fail-client-cert-required-tls13.pcap", "1"),
    ("gnutls-server-client.pcap", "2"),
    ("lossy-server-second-segment.pcap", "1"),
    ("not-tls.pcap", "1"),
    ("reordered-duplicated.pcap", "1"),
    ("small-segments.pcap", "1"),
    ("tls12-big-chain.pcap", "1"),
    ("tls13-hello-retry-request.pcap", "1"),
];

#[test]
fn an_idle_link_stops_at_once() {
    let Some(namespace) = Namespace::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    for signal in ["-TERM", "-INT"] {
        let output = folder.path().join(signal);
        let mut sensor = namespace.watch(&output, &[]);
        sleep(Duration::from_millis(300));
        sensor.signal(signal);
        assert!(ended_within(&mut sensor.child, Duration::from_secs(2)).success());
        let datasets: Vec<String> = events(&output).iter().map(|event| dataset(event).to_owned()).collect();
        assert_eq!(datasets, ["tlswatch.stats"]);
    }
}

#[test]
fn a_signal_that_comes_twice_is_one() {
    let Some(namespace) = Namespace::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    for (number, signals) in
        [["-TERM", "-TERM"], ["-INT", "-INT"], ["-TERM", "-INT"], ["-USR1", "-INT"]].iter().enumerate()
    {
        let output = folder.path().join(number.to_string());
        let sensor = namespace.watch(&output, &[]);
        sleep(Duration::from_millis(300));
        // As timeout(1) does: to the program, then to the group it is in.
        sensor.signal(signals[0]);
        let told = sensor.stop(signals[1]);
        assert_eq!(told.last().map(dataset), Some("tlswatch.stats"), "{signals:?}");
    }
}

#[test]
fn an_open_handshake_is_told_when_its_time_is_over_on_an_idle_link() {
    let Some(namespace) = Namespace::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    // TCP's handshake and the ClientHello.
    let half = folder.path().join("half.pcap");
    beginning_of("demo.pcap", 4, &half);
    let sensor = namespace.watch(&folder.path().join("events"), &["--handshake-timeout", "4"]);
    namespace.replay_all(&half);
    sleep(Duration::from_millis(700));
    assert_eq!(events(&sensor.output).len(), 0, "too early");
    let events = sensor.wait_for(10, |events| !events.is_empty());
    assert_eq!(dataset(&events[0]), "tlswatch.tls");
    assert_ne!(events[0]["tls"]["established"], true);
    assert_eq!(sensor.stop("-TERM").len(), 2);
}

#[test]
fn events_of_a_slow_link_are_not_held_back() {
    let Some(namespace) = Namespace::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    for workers in ["1", "2"] {
        let sensor = namespace.watch(&folder.path().join(workers), &["--workers", workers]);
        let mut slow = namespace.replay(&capture("demo.pcap"), 20);
        sensor.wait_for(10, |events| events.iter().any(|event| dataset(event) == "tlswatch.tls"));
        let still_sending = slow.try_wait().unwrap().is_none();
        end(&mut slow);
        assert!(still_sending);
    }
}

#[test]
fn counters_are_told_when_they_are_asked_for() {
    let Some(namespace) = Namespace::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    for workers in ["1", "2"] {
        let sensor = namespace.watch(&folder.path().join(workers), &["--workers", workers]);
        let told = |events: &[Value]| events.iter().filter(|event| dataset(event) == "tlswatch.stats").count();
        sensor.signal("-USR1");
        sensor.wait_for(5, |events| told(events) == 1);
        namespace.replay_all(&capture("ipv6.pcap"));
        sensor.wait_for(10, |events| events.iter().any(|event| dataset(event) == "tlswatch.tls"));
        sensor.signal("-USR1");
        sensor.wait_for(5, |events| told(events) == 2);
        let events = sensor.stop("-TERM");
        let told: Vec<&Value> = events.iter().filter(|event| dataset(event) == "tlswatch.stats").collect();
        let numbers = |pointer: &str| {
            told.iter().map(|event| event.pointer(pointer).unwrap().as_u64().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(numbers("/event/sequence"), [0, 1, 2]);
        let handshakes = numbers("/tlswatch/stats/tls/handshakes");
        assert!(handshakes[0] == 0 && handshakes[1] > 0 && handshakes[1] <= handshakes[2], "{handshakes:?}");
        let packets = numbers("/tlswatch/stats/capture/packets");
        assert!(packets[0] == 0 && packets[1] > 0, "{packets:?}");
        assert_eq!(events.last().map(dataset), Some("tlswatch.stats"));
    }
}

#[test]
fn a_file_that_was_moved_away_is_opened_anew() {
    let Some(namespace) = Namespace::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("events"), folder.path().join("events.1"));
    let sensor = namespace.watch(&path, &[]);
    namespace.replay_all(&capture("ipv6.pcap"));
    let before = sensor.wait_for(5, |events| !events.is_empty()).len();
    fs::rename(&path, &moved).unwrap();
    sensor.signal("-HUP");
    for _ in 0..100 {
        sleep(Duration::from_millis(20));
        if path.exists() {
            break;
        }
    }
    let after = sensor.stop("-TERM");
    assert!(events(&moved).len() >= before);
    assert_eq!(after.last().map(dataset), Some("tlswatch.stats"));
}

/// Whoever stops to read the events, or all that is said, does not keep the sensor from its end.
#[test]
fn an_output_that_nobody_reads_is_not_waited_for_at_the_end() {
    let Some(namespace) = Namespace::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for (output, said) in [("-", true), ("-", false), (fifo.to_str().unwrap(), true)] {
        let inventory = folder.path().join(format!("{said}{}.db", output.len()));
        let (out, to_out) = std::io::pipe().unwrap();
        let (mut err, to_err) = std::io::pipe().unwrap();
        let mut command = namespace.command(PROGRAM);
        command.args(["live", "-i", "in0", "-o", output, "--inventory"]).arg(&inventory);
        command.stderr(if said { to_err.try_clone().unwrap() } else { to_out.try_clone().unwrap() });
        command.stdout(to_out);
        drop(to_err);
        // One end of the fifo, which nobody reads from.
        let held = (output != "-").then(|| {
            let fifo = fifo.clone();
            std::thread::spawn(move || fs::File::open(fifo).unwrap())
        });
        let mut child = command.spawn().unwrap();
        drop(command);
        let held = held.map(|held| held.join().unwrap());
        sleep(Duration::from_millis(1_000));
        for name in ["demo.pcap", "mitm-mitmproxy.pcap", "cert-faults.pcap"] {
            namespace.replay_all(&capture(name));
        }
        sleep(Duration::from_millis(500));
        assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
        let status = ended_within(&mut child, Duration::from_secs(20));
        assert_eq!(status.code(), Some(1), "{output}");
        drop((out, held));
        let mut told = String::new();
        err.read_to_string(&mut told).unwrap();
        let name = if output == "-" { "standard output" } else { output };
        let expected = [&format!("cannot write to {name}: nobody reads it"), "events are not in"];
        assert!(!said || expected.iter().all(|words| told.contains(words)), "{told}");
        // What was learned is there.
        let asked =
            Command::new(PROGRAM).args(["inventory", "hosts", "--format", "csv", "-i"]).arg(&inventory).output();
        let hosts = String::from_utf8(asked.unwrap().stdout).unwrap();
        assert!(hosts.lines().count() > 6, "{hosts}");
        let known = Command::new(PROGRAM).args(["baseline", "show", "-i"]).arg(&inventory).output().unwrap().stdout;
        assert!(String::from_utf8(known).unwrap().contains("www.example.com"));
    }
}

#[test]
fn an_output_folder_that_goes_does_not_end_the_run() {
    let Some(namespace) = Namespace::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    fs::create_dir(&here).unwrap();
    let mut sensor = namespace.watch(&here.join("events"), &[]);
    fs::rename(&here, &there).unwrap();
    sensor.output = there.join("events");
    sensor.signal("-HUP");
    // What else SIGHUP does is told too, in no order.
    let mut told = String::new();
    while !told.contains("the file that is open is written on") && told.lines().count() < 3 {
        assert_ne!(sensor.errors.read_line(&mut told).unwrap(), 0, "{told}");
    }
    namespace.replay_all(&capture("ipv6.pcap"));
    let events = sensor.stop("-TERM");
    assert!(events.iter().any(|event| dataset(event) == "tlswatch.tls"), "{events:?}");
    assert_eq!(events.last().map(dataset), Some("tlswatch.stats"));
}

#[test]
fn alerts_are_told_at_once_kept_and_judged_by_the_policy_of_now() {
    let Some(namespace) = Namespace::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let name = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (output, policy, inventory) = (name("events"), name("policy"), name("inventory"));
    fs::write(&policy, "version = 1\n[rules.TLSW-MITM-003]\nenabled = false\n").unwrap();
    let sensor = namespace.watch(Path::new(&output), &["--policy", &policy, "--inventory", &inventory]);
    let rules = |event: &Value| event["tlswatch"]["alert"]["rules"].to_string();
    let proofs = |events: &[Value]| events.iter().filter(|event| rules(event).contains("TLSW-MITM-003")).count();
    let stored = capture("mitm-mitmproxy.pcap");
    let handshakes = read(&stored).iter().filter(|event| dataset(event) == "tlswatch.tls").count();
    let seen = |events: &[Value]| events.iter().filter(|event| dataset(event) == "tlswatch.tls").count();
    namespace.replay_all(&stored);
    let before = sensor.wait_for(10, |events| seen(events) >= handshakes);
    assert_eq!(proofs(&before), 0);
    fs::write(&policy, "version = 1\n").unwrap();
    sensor.signal("-HUP");
    sleep(Duration::from_millis(200));
    // Another proxy of the same make: a cause of its own.
    namespace.replay_all(&capture("demo.pcap"));
    sensor.wait_for(10, |events| proofs(events) > 0);
    let told = sensor.stop("-TERM");
    let alert =
        told.iter().find(|event| rules(event).contains("TLSW-MITM-003")).map(|event| &event["tlswatch"]["alert"]);
    let connection = rusqlite::Connection::open(&inventory).unwrap();
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert!(count("SELECT count(*) FROM baseline") > 0);
    assert!(count("SELECT count(*) FROM sighting") > 0);
    let id = alert.unwrap()["id"].as_str().unwrap();
    assert_eq!(count(&format!("SELECT count(*) FROM alert WHERE id = '{id}'")), 1);
}

#[test]
fn an_inventory_that_cannot_be_written_for_a_while_ends_nothing() {
    let Some(namespace) = Namespace::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let name = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (output, inventory) = (name("events"), name("inventory"));
    let mut sensor = namespace.watch(Path::new(&output), &["--inventory", &inventory]);
    let other = rusqlite::Connection::open(&inventory).unwrap();
    other.busy_timeout(Duration::from_secs(10)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    namespace.replay_all(&capture("mitm-mitmproxy.pcap"));
    let mut told = String::new();
    sensor.errors.read_line(&mut told).unwrap();
    assert!(told.contains("database is locked; it is tried again"), "{told}");
    namespace.replay_all(&capture("ipv6.pcap"));
    other.execute_batch("ROLLBACK").unwrap();
    sensor.errors.read_line(&mut told).unwrap();
    assert!(told.contains("it can be written again"), "{told}");
    sensor.signal("-TERM");
    assert_eq!(ended_within(&mut sensor.child, Duration::from_secs(20)).code(), Some(0));
    let events = events(&sensor.output);
    let count = |sql: &str| other.query_row(sql, [], |row| row.get::<_, u32>(0)).map(usize::try_from).unwrap().unwrap();
    let alerts: std::collections::BTreeSet<_> =
        events.iter().filter_map(|event| event["tlswatch"]["alert"]["id"].as_str()).collect();
    assert_eq!(count("SELECT count(*) FROM alert"), alerts.len());
    let handshakes = events.iter().filter(|event| dataset(event) == "tlswatch.tls").count();
    assert_eq!(count("SELECT sum(count) FROM host"), handshakes);
    assert_eq!(events.last().unwrap()["tlswatch"]["stats"]["output"]["lost"]["inventory"], 0);
}

#[test]
fn a_fingerprint_that_becomes_an_indicator_is_looked_up_in_what_is_stored() {
    let Some(namespace) = Namespace::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let name = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (output, list, inventory) = (name("events"), name("indicators"), name("inventory"));
    fs::write(&list, "").unwrap();
    let sensor = namespace.watch(Path::new(&output), &["--indicators", &list, "--inventory", &inventory]);
    let stored = capture("tls13-p256.pcap");
    let seen = |events: &[Value]| events.iter().any(|event| dataset(event) == "tlswatch.tls");
    namespace.replay_all(&stored);
    let before = sensor.wait_for(10, seen);
    // It is written by and by, while nothing comes.
    let uses = || -> i64 {
        let connection = rusqlite::Connection::open(&inventory).unwrap();
        connection.query_row("SELECT count(*) FROM fingerprint_use", [], |row| row.get(0)).unwrap()
    };
    for _ in 0..400 {
        if uses() > 0 {
            break;
        }
        sleep(Duration::from_millis(50));
    }
    assert_eq!(uses(), 1);
    let client = &before.iter().find(|event| dataset(event) == "tlswatch.tls").unwrap()["tls"]["client"];
    fs::write(&list, format!("ja4 {} C2\n", client["ja4"].as_str().unwrap())).unwrap();
    sensor.signal("-HUP");
    let message = |event: &Value| event["message"].as_str().unwrap_or_default().to_owned();
    let told = |events: &[Value]| events.iter().any(|event| message(event).contains("is now an indicator"));
    sensor.wait_for(10, told);
    // It goes on.
    namespace.replay_all(&capture("ipv6.pcap"));
    let other = |events: &[Value]| events.iter().filter(|event| dataset(event) == "tlswatch.tls").count() > 1;
    sensor.wait_for(10, other);
    assert_eq!(sensor.stop("-TERM").last().map(dataset), Some("tlswatch.stats"));
}

#[test]
fn an_interface_that_disappears_ends_the_run_with_all_that_was_seen() {
    let Some(namespace) = Namespace::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut sensor = namespace.watch(&folder.path().join("events"), &[]);
    namespace.replay_all(&capture("ipv6.pcap"));
    sensor.wait_for(5, |events| !events.is_empty());
    ip(&["-n", &namespace.name, "link", "del", "in0"]).unwrap();
    assert_eq!(ended_within(&mut sensor.child, Duration::from_secs(5)).code(), Some(1));
    assert_eq!(events(&sensor.output).last().map(dataset), Some("tlswatch.stats"));
    let mut told = String::new();
    sensor.errors.read_line(&mut told).unwrap();
    assert!(told.starts_with("tlswatch: in0: the capture ended: "), "{told}");
}

#[test]
fn the_any_device_is_watched() {
    let Some(namespace) = Namespace::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("events");
    let mut command = namespace.command(PROGRAM);
    let child =
        command.args(["-i", "any", "--quiet", "--no-inventory", "-o"]).arg(&output).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap();
    let errors = BufReader::new(child.stderr.take().unwrap());
    let sensor = Sensor { child, output, errors };
    sleep(Duration::from_millis(500));
    namespace.replay_all(&capture("ipv6.pcap"));
    let events = sensor.stop("-INT");
    assert!(events.iter().any(|event| dataset(event) == "tlswatch.tls"), "{events:?}");
}

#[test]
fn a_missing_interface_is_told_with_those_there_are() {
    let output = Command::new(PROGRAM).args(["live", "-i", "nosuch0"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("no interface \"nosuch0\"; there are: "), "{told}");
    let listed = Command::new(PROGRAM).arg("interfaces").output().unwrap();
    assert!(listed.status.success());
    let listed = String::from_utf8_lossy(&listed.stdout);
    let first = listed.split_whitespace().next().unwrap();
    assert!(told.contains(first), "{told} {listed}");
}
