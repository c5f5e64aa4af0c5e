//! The command as a user meets it: exit codes, spellings, damaged input, terminals.
#![cfg(test)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

const ONE: &str = "pcaps/tls12-ecdhe-p256.pcap";
const DEMO: &str = "pcaps/demo.pcap";

struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn events(&self, dataset: &str) -> Vec<Value> {
        let all = self.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        all.filter(|event| event["event"]["dataset"] == format!("tlswatch.{dataset}")).collect()
    }

    fn stats(&self) -> Value {
        let mut stats = self.events("stats");
        assert_eq!(stats.len(), 1, "one stats event: {}", self.stderr);
        stats.remove(0)["tlswatch"]["stats"].take()
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tlswatch"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn tlswatch(arguments: &[&str]) -> Ran {
    ran(command(arguments).output().unwrap())
}

fn ran(output: std::process::Output) -> Ran {
    Ran {
        code: output.status.code().expect("ended by a signal"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn with_input(arguments: &[&str], input: &[u8]) -> Ran {
    let mut child =
        command(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    ran(child.wait_with_output().unwrap())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A folder with a file in it.
fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[test]
fn events_go_to_a_pipe() {
    let run = tlswatch(&["read", ONE]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert_eq!(run.events("tls").len(), 1);
    assert_eq!(run.stats()["tls"]["handshakes"], 1);
    assert!(run.stdout.ends_with("}\n"));
}

#[test]
fn every_spelling_gives_the_same() {
    let expected = tlswatch(&["read", ONE]).stdout;
    let one_word = format!("-r{ONE}");
    for arguments in [
        &["-r", ONE][..],
        &["read", ONE, "-o", "-"],
        &["read", "-o-", ONE],
        &["-r", ONE, "--quiet"],
        &["-q", "-r", ONE],
        &["-o", "-", "-r", ONE],
        &[&one_word],
        &["--workers", "1", &one_word, "-q"],
    ] {
        let run = tlswatch(arguments);
        assert_eq!(run.code, 0, "{arguments:?}: {}", run.stderr);
        assert_eq!(run.stdout, expected, "{arguments:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.ndjson");
    let run = tlswatch(&["read", ONE, "-o", text(&path)]);
    assert_eq!((run.code, run.stdout.as_str()), (0, ""));
    assert_eq!(fs::read_to_string(path).unwrap(), expected);
}

#[test]
fn threads_and_batches_do_not_show() {
    let expected = tlswatch(&["read", DEMO, "--workers", "1"]).stdout;
    for arguments in [&["--workers", "3"][..], &["--workers", "2", "--batch", "1"], &[]] {
        let run = tlswatch(&[&["read", DEMO], arguments].concat());
        assert!(run.stdout == expected, "{arguments:?}");
    }
}

#[test]
fn standard_input_is_a_file_named_dash() {
    let run = with_input(&["read", "-"], &fs::read(ONE).unwrap());
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.events("tls")[0]["log"]["file"]["path"], "-");
    assert_eq!(with_input(&["read", "-"], b"").code, 0);
    assert_eq!(with_input(&["read", "-"], b"no capture at all").code, 1);
}

#[test]
fn a_folder_is_read_by_name_and_tells_what_it_skips() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(ONE, folder.path().join("b.pcap")).unwrap();
    fs::copy("pcaps/ipv6.pcap", folder.path().join("a.cap")).unwrap();
    fs::write(folder.path().join("notes.txt"), "buy milk").unwrap();
    fs::create_dir(folder.path().join("deeper")).unwrap();
    fs::copy(ONE, folder.path().join("deeper/c.pcap")).unwrap();
    let run = tlswatch(&["read", text(folder.path())]);
    assert_eq!(run.code, 0);
    assert!(run.stderr.contains("notes.txt: skipped"), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert_eq!(run.stats()["capture"]["files"], 2);
    assert_eq!(run.stats()["capture"]["unreadable"], 1);
}

#[test]
fn a_cut_file_gives_what_stands_before_the_cut() {
    let whole = fs::read(DEMO).unwrap();
    let (_folder, path) = file("cut.pcap", &whole[..whole.len() / 2]);
    let run = tlswatch(&["read", text(&path)]);
    assert_eq!(run.code, 0);
    assert!(run.stderr.contains("cut.pcap: damaged at byte"), "{}", run.stderr);
    assert_eq!(run.stats()["capture"]["damaged"], 1);
    let before = run.events("tls").len();
    assert!(before > 5, "{before}");

    let strict = tlswatch(&["read", text(&path), "--strict"]);
    assert_eq!(strict.code, 4);
    assert_eq!(strict.stdout, run.stdout);
    assert_eq!(tlswatch(&["read", ONE, "--strict"]).code, 0);
}

#[test]
fn what_is_no_capture_fails_but_hides_nothing() {
    let (_folder, path) = file("letter.pcap", b"Dear Sir or Madam, this is not a capture.");
    let run = tlswatch(&["read", text(&path), ONE]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("letter.pcap: not a capture file"), "{}", run.stderr);
    assert_eq!(run.events("tls").len(), 1);

    let run = tlswatch(&["read", "/nonexistent/x.pcap", ONE]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("/nonexistent/x.pcap: "), "{}", run.stderr);
    assert_eq!(run.events("tls").len(), 1);
    // A file that cannot be read weighs more than one that was cut.
    let whole = fs::read(ONE).unwrap();
    let (_folder, cut) = file("cut.pcap", &whole[..whole.len() - 1]);
    assert_eq!(tlswatch(&["read", text(&cut), text(&path), "--strict"]).code, 1);
}

/// A script that waits for alerts hears of one whatever else there is, and of the rest too.
#[test]
fn an_alert_is_graver_than_damage_and_both_are_told() {
    let attack = fs::read("pcaps/mitm-mitmproxy.pcap").unwrap();
    let (_folder, cut) = file("cut.pcap", &attack[..attack.len() - 1]);
    let (_other, letter) = file("letter.pcap", b"Dear Sir or Madam, this is not a capture.");
    let (cut, letter) = (text(&cut), text(&letter));
    for (arguments, code) in [
        (&["pcaps/mitm-mitmproxy.pcap", "--fail-on", "high"][..], 3),
        (&[cut], 0),
        (&[cut, "--strict"], 4),
        (&[cut, "--fail-on", "high"], 3),
        (&[cut, "--fail-on", "high", "--strict"], 3),
        (&[cut, letter, "--strict"], 1),
        (&[cut, letter, "--fail-on", "high", "--strict"], 3),
        // Where there is no such alert, all is as without the option.
        (&[ONE, "--fail-on", "critical"], 0),
        (&[ONE, cut, "--strict", "--no-judgement"], 4),
        (&[ONE, letter, "--fail-on", "critical"], 1),
        // What cannot be written is no answer.
        (&["pcaps/mitm-mitmproxy.pcap", "--fail-on", "high", "-o", "/dev/full"], 1),
    ] {
        if arguments.contains(&"/dev/full") && !Path::new("/dev/full").exists() {
            continue;
        }
        let run = tlswatch(&[&["read"], arguments].concat());
        assert_eq!(run.code, code, "{arguments:?}: {}", run.stderr);
        let [is_cut, is_letter] = [cut, letter].map(|path| arguments.contains(&path));
        assert_eq!(run.stderr.contains("cut.pcap: damaged at byte"), is_cut, "{arguments:?}");
        assert_eq!(run.stderr.contains("letter.pcap: not a capture file"), is_letter, "{arguments:?}");
        if code != 1 || is_letter {
            let counted = ["damaged", "unreadable"].map(|name| run.stats()["capture"][name].clone());
            assert_eq!(counted, [usize::from(is_cut), usize::from(is_letter)], "{arguments:?}");
        }
    }
}

#[test]
fn empty_and_header_only_files_are_fine() {
    let whole = fs::read(ONE).unwrap();
    for bytes in [&[][..], &whole[..24]] {
        let (_folder, path) = file("empty.pcap", bytes);
        let run = tlswatch(&["read", text(&path), "--strict"]);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""));
        assert_eq!(run.stats()["capture"]["packets"], 0);
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    for arguments in [&["read", DEMO][..], &["read", DEMO, "--workers", "3"]] {
        let mut child = command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let run = ran(child.wait_with_output().unwrap());
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{arguments:?}");
    }
}

#[test]
fn certificates_are_written_once_under_their_hash() {
    let folder = tempfile::tempdir().unwrap();
    let pems = folder.path().join("pems");
    let run = tlswatch(&["read", DEMO, "--certificates", text(&pems)]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let hashes: BTreeSet<String> = run
        .events("certificate")
        .iter()
        .map(|event| event["file"]["hash"]["sha256"].as_str().unwrap().to_lowercase() + ".pem")
        .collect();
    let files: BTreeSet<String> =
        fs::read_dir(&pems).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, hashes);
    let one = fs::read_to_string(pems.join(files.first().unwrap())).unwrap();
    assert!(one.starts_with("-----BEGIN CERTIFICATE-----\nMII"), "{one}");
}

#[test]
fn hosts_and_names_select_handshakes() {
    let all = tlswatch(&["read", DEMO]);
    let count = |arguments: &[&str], member: fn(&Value) -> &Value, wanted: &dyn Fn(&str) -> bool| {
        let run = tlswatch(&[&["read", DEMO], arguments].concat());
        assert_eq!(run.code, 0, "{}", run.stderr);
        let events = run.events("tls");
        let expected = all.events("tls").iter().filter(|event| member(event).as_str().is_some_and(wanted)).count();
        assert!(expected > 0, "{arguments:?} selects nothing");
        assert!(expected < all.events("tls").len(), "{arguments:?} selects everything");
        assert_eq!(events.len(), expected, "{arguments:?}");
        assert!(events.iter().all(|event| member(event).as_str().is_some_and(wanted)), "{arguments:?}");
        let (stats, left_out) = (run.stats(), all.events("tls").len() - expected);
        assert_eq!(stats["tls"]["handshakes"], all.events("tls").len(), "{arguments:?}");
        assert_eq!(stats["tls"]["unselected"], left_out, "{arguments:?}");
    };
    let name: fn(&Value) -> &Value = |event| &event["tls"]["client"]["server_name"];
    count(&["--sni", "www.example.com"], name, &|name| name == "www.example.com");
    count(&["--sni", "WWW.Example.COM."], name, &|name| name == "www.example.com");
    count(&["--sni", "*.example.com"], name, &|name| name.ends_with(".example.com"));
    count(&["--sni", ".example.com"], name, &|name| name.ends_with(".example.com"));
    for nothing in ["", "*", "*.", "w*.example.com", "*.*.com", "."] {
        assert_eq!(tlswatch(&["read", DEMO, "--sni", nothing]).code, 2, "{nothing:?}");
    }
    let source: fn(&Value) -> &Value = |event| &event["source"]["ip"];
    count(&["--host", "10.1.0.11"], source, &|address| address == "10.1.0.11");
    assert_eq!(tlswatch(&["read", DEMO, "--host", "not an address"]).code, 2);
}

#[test]
fn times_cut_the_capture() {
    let all = tlswatch(&["read", DEMO]);
    let stats = all.events("stats").remove(0);
    let [start, end] = ["start", "end"].map(|name| stats["event"][name].as_str().unwrap().to_owned());
    let packets = |run: &Ran| {
        let stats = run.stats();
        stats["capture"]["packets"].as_u64().unwrap() - stats["capture"]["filtered"].as_u64().unwrap()
    };
    let total = packets(&all);
    let middle = all.events("tls")[15]["event"]["start"].as_str().unwrap().to_owned();
    assert_eq!(packets(&tlswatch(&["read", DEMO, "--from", &start, "--to", &end])), total);
    let before = packets(&tlswatch(&["read", DEMO, "--to", &middle]));
    let behind = packets(&tlswatch(&["read", DEMO, "--from", &middle]));
    assert!(before < total && behind < total && before + behind > total, "{before} {behind} {total}");
    assert_eq!(tlswatch(&["read", DEMO, "--from", "yesterday"]).code, 2);
}

#[cfg(feature = "live")]
#[test]
fn a_filter_takes_what_tcpdump_takes() {
    let run = tlswatch(&["read", DEMO, "-f", "host 10.1.0.11"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let events = run.events("tls");
    assert!(!events.is_empty() && events.iter().all(|event| event["source"]["ip"] == "10.1.0.11"));
    assert!(run.stats()["capture"]["filtered"].as_u64().unwrap() > 0);
    let wrong = tlswatch(&["read", DEMO, "-f", "no such word"]);
    assert_eq!((wrong.code, wrong.stdout.as_str()), (2, ""));
    assert!(!wrong.stderr.is_empty());
}

#[cfg(not(feature = "live"))]
#[test]
fn a_filter_without_libpcap_is_a_mistake_in_the_usage() {
    let run = tlswatch(&["read", DEMO, "-f", "host 10.1.0.11"]);
    assert_eq!((run.code, run.stdout.as_str()), (2, ""));
    assert!(run.stderr.contains("libpcap"), "{}", run.stderr);
}

#[test]
fn mistakes_in_the_usage_are_2_and_help_is_0() {
    let wrong: [&[&str]; 7] = [
        &[],
        &["read"],
        &["no-such-command"],
        &["read", ONE, "--no-such-option"],
        &["read", ONE, "--workers", "0"],
        &["read", ONE, "--detail", "more"],
        &["read", ONE, "--from", "2030-01-02", "--to", "2030-01-01"],
    ];
    for arguments in wrong {
        let run = tlswatch(arguments);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(!run.stderr.is_empty(), "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["--version"], &["read", "--help"]] {
        let run = tlswatch(arguments);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{arguments:?}");
        assert!(run.stdout.contains("tlswatch"), "{arguments:?}");
    }
}

#[test]
fn everything_wrong_in_a_policy_is_told_at_once_with_its_place() {
    let policy = r#"version = 1
home_nets = ["10.0.0.0/8", "ten"]
[trust]
roots = ["no-roots.pem",
         "policy.toml"]
crls = ["no-crls"]
blocklists = [{ path = "no-list.csv", format = "sslbl" }]
compromised_keys = [{ path = "no-keys.dat", format = "badkeys" }, { path = "no-keys.txt", format = "spki" }]
[[host]]
match = ["a.example"]
certificates_file = "policy.toml"
min_version = "1.4"
"#;
    let (_folder, path) = file("policy.toml", policy.as_bytes());
    let expected = [
        (2, 28, "home_nets"),
        (4, 10, "trust.roots: cannot read"),
        (5, 10, "trust.roots: "),
        (6, 9, "trust.crls: cannot read"),
        (7, 24, "trust.blocklists: cannot read"),
        (8, 30, "trust.compromised_keys: cannot read"),
        (8, 76, "trust.compromised_keys: cannot read"),
        (11, 21, "host.certificates_file: "),
        (12, 15, "host.min_version"),
    ];
    for arguments in [&["policy", "check", text(&path)][..], &["read", ONE, "--policy", text(&path)]] {
        let run = tlswatch(arguments);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{arguments:?}");
        assert_eq!(run.stderr.lines().count(), expected.len(), "{}", run.stderr);
        for (line, (row, column, what)) in run.stderr.lines().zip(expected) {
            let place = format!("policy.toml: line {row}, column {column}: {what}");
            assert!(line.contains(&place), "{place}\n{line}");
        }
    }
    fs::write(&path, "version = 1\n[trust]\ncrls = [\"none\"]\n").unwrap();
    let run = tlswatch(&["policy", "check", text(&path)]);
    assert_eq!((run.code, run.stderr.lines().count()), (2, 1), "{}", run.stderr);
    fs::write(&path, "version = 1\n").unwrap();
    assert_eq!(tlswatch(&["policy", "check", text(&path)]).code, 0);
}

#[test]
fn unknown_keys_do_not_hide_each_other() {
    let policy = r#"version = 1
home_net = ["10.0.0.0/8"]
[trust]
roots = "roots.pem"
crl = []
[[host]]
match = ["a.example"]
pin = []
min_version = "1.4"
[[suppress]]
rule = "TLSW-CERT-006"
permanent = "yes"
reason = "lab"
[[host]]
owner = "me"
"#;
    let (_folder, path) = file("policy.toml", policy.as_bytes());
    let run = tlswatch(&["policy", "check", text(&path)]);
    let told: String = run.stderr.replace(text(&path), "policy.toml");
    insta::assert_snapshot!(told, @r#"
    tlswatch: error: policy.toml: line 2, column 1: unknown field `home_net`, expected one of `version`, `profile`, `home_nets`, `scanners`, `trust`, `internal_ca`, `interception`, `host`, `client_certificate`, `compromised`, `rules`, `suppress`, `severity`
    tlswatch: error: policy.toml: line 4, column 9: invalid type: string "roots.pem", expected a sequence
    tlswatch: error: policy.toml: line 5, column 1: unknown field `crl`, expected one of `builtin_roots`, `roots`, `crls`, `ct_logs`, `blocklists`, `compromised_keys`
    tlswatch: error: policy.toml: line 8, column 1: unknown field `pin`, expected one of `match`, `pins`, `issuers`, `issuer_names`, `caa`, `certificates`, `certificates_file`, `places`, `owner`, `min_version`, `alpn`, `ciphers`, `key_types`, `min_rsa_bits`, `key_reuse`, `wildcards`, `max_days`, `expires`
    tlswatch: error: policy.toml: line 9, column 15: host.min_version: expected "1.0", "1.1", "1.2" or "1.3", not "1.4"
    tlswatch: error: policy.toml: line 12, column 13: invalid type: string "yes", expected a boolean
    tlswatch: error: policy.toml: line 14, column 1: missing field `match`
    "#);
    let many: String = (0..30).map(|number| format!("x{number} = 1\n")).collect();
    fs::write(&path, format!("version = 1\n{many}")).unwrap();
    let run = tlswatch(&["policy", "check", text(&path)]);
    assert_eq!((run.code, run.stderr.lines().count()), (2, 21), "{}", run.stderr);
    assert!(run.stderr.lines().last().unwrap().ends_with("policy.toml: at least 1 more"), "{}", run.stderr);
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    for arguments in
        [&["read", ONE, "-o", "/nonexistent/out"][..], &["read", ONE, "--certificates", "/dev/null/certificates"]]
    {
        let run = tlswatch(arguments);
        assert_eq!(run.code, 1, "{arguments:?}");
        assert!(run.stderr.contains("cannot create /"), "{}", run.stderr);
    }
    #[cfg(target_os = "linux")]
    {
        let full = tlswatch(&["read", ONE, "-o", "/dev/full"]);
        assert_eq!(full.code, 1);
        assert!(full.stderr.contains("cannot write"), "{}", full.stderr);
    }
}

/// The standard library opens `/dev/null` in place of a closed standard output: without a look before, events are lost
/// and all is well.
#[cfg(target_os = "linux")]
#[test]
fn a_closed_standard_output_is_a_failure_and_dev_null_is_none() {
    let (_folder, file) = file("unused", b"");
    let shell = |redirection: &str, arguments: &[&str]| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec \"$@\" {redirection}"), "sh", env!("CARGO_BIN_EXE_tlswatch")]);
        ran(command.args(arguments).output().unwrap())
    };
    let needs: [&[&str]; 4] =
        [&["read", ONE, "-o", "-"], &["read", ONE], &["rules"], &["rules", "show", "TLSW-MITM-003"]];
    for arguments in needs {
        for closed in [">&-", "1</dev/null"] {
            let run = shell(closed, arguments);
            assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{arguments:?} {closed}");
            let told = "tlswatch: cannot write: standard output is not open for writing\n";
            assert_eq!(run.stderr, told, "{arguments:?} {closed}");
        }
        // As some process managers and Python's DEVNULL hand it over.
        for wanted in [">/dev/null", "1<>/dev/null"] {
            let run = shell(wanted, arguments);
            assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{arguments:?} {wanted}");
        }
    }
    let elsewhere = shell(">&-", &["read", ONE, "-o", text(&file)]);
    assert_eq!((elsewhere.code, elsewhere.stderr.as_str()), (0, ""));
    assert!(fs::read_to_string(&file).unwrap().ends_with("}\n"), "events go to a file as ever");
    let nothing = shell(">&- 2>&-", &["read", ONE]);
    assert_eq!(nothing.code, 1);
}

#[test]
fn rules_are_named_in_short_and_mistyped() {
    let whole = tlswatch(&["rules", "show", "TLSW-CERT-010"]);
    assert!(whole.stdout.starts_with("TLSW-CERT-010 "));
    for name in ["CERT-010", "cert-010", "tlsw-cert-010"] {
        assert_eq!(tlswatch(&["rules", "show", name]).stdout, whole.stdout, "{name}");
    }
    let told = |arguments: &[&str]| {
        let run = tlswatch(arguments);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""));
        run.stderr
    };
    let near = "there is no rule 'cert-10'; a similar one: CERT-010; `tlswatch rules` lists them\n";
    assert!(told(&["rules", "show", "cert-10"]).ends_with(near));
    assert!(told(&["rules", "show", "zzz"]).contains("there is no rule 'zzz'; `tlswatch rules` lists them\n"));
    assert!(told(&["explain", "cert-010"]).contains("`tlswatch rules show TLSW-CERT-010` explains it"));
}

#[test]
fn output_never_replaces_a_capture() {
    let capture = fs::read(ONE).unwrap();
    let (_folder, path) = file("evidence.pcap", &capture);
    for files in [text(&path), ONE] {
        let run = tlswatch(&["read", files, "-o", text(&path)]);
        assert_eq!(run.code, 1);
        assert!(run.stderr.contains("something else than events"), "{}", run.stderr);
        assert_eq!(fs::read(&path).unwrap(), capture, "the evidence is as it was");
    }
    let (_folder, events) = file("events.ndjson", b"{\"old\":1}\n");
    assert_eq!(tlswatch(&["read", ONE, "-o", text(&events)]).code, 0);
    assert!(!fs::read_to_string(&events).unwrap().contains("old"));
}

/// What README.md shows first: its command gives it. `  ..` stands for lines that are left out.
#[cfg(target_os = "linux")]
#[test]
fn the_first_screen_is_what_the_command_gives() {
    let readme = fs::read_to_string("README.md").unwrap();
    let block = readme.split("```").nth(1).unwrap();
    let (command, shown) = block.trim_start().split_once('\n').unwrap();
    let command = command.strip_prefix("$ tlswatch ").unwrap();
    // script(1) makes a terminal.
    let line = format!("export COLUMNS=100; '{}' {command} 2>/dev/null", env!("CARGO_BIN_EXE_tlswatch"));
    let mut script = Command::new("script");
    let Ok(output) = script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output() else { return };
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let told: Vec<&str> = text.lines().map(str::trim_end).collect();
    let mut rest = &told[..];
    for (number, part) in shown.trim_end_matches("  ..\n").split("\n  ..\n").enumerate() {
        let part: Vec<&str> = part.lines().map(str::trim_end).collect();
        let place = rest.windows(part.len()).position(|lines| lines == part);
        let place = place.unwrap_or_else(|| panic!("README.md shows\n{}\nand not\n{text}", part.join("\n")));
        assert!(number > 0 || place == 0, "lines are missing at the top");
        rest = &rest[place + part.len()..];
    }
}

#[test]
fn nothing_raw_reaches_the_terminal() {
    let evil = "\u{1b}[31mevil\u{7}\r\u{9b}2J\u{202e}\u{3164}\u{e0100}\u{2800}";
    let (_folder, path) = file(&format!("{evil}.pcap"), b"not a capture, but a name");
    let [missing, output] = ["missing", "output"].map(|kind| format!("/nonexistent/{kind}{evil}"));
    for arguments in [
        &["read", text(&path)][..],
        &["read", &missing],
        &["read", ONE, "-o", &output],
        &["read", ONE, "--certificates", &format!("/dev/null/{evil}")],
        &["read", ONE, "-f", evil],
        &["read", ONE, "--host", evil],
        &["read", ONE, "--from", evil],
        &["read", ONE, "--detail", evil],
        &["read", ONE, evil],
        &[evil],
    ] {
        let run = tlswatch(arguments);
        assert_ne!(run.code, 0, "{arguments:?}");
        assert!(!run.stderr.is_empty(), "{arguments:?}");
        let raw = |c: char| (c.is_control() && c != '\n') || "\u{202e}\u{3164}\u{e0100}\u{2800}".contains(c);
        assert!(!run.stderr.contains(raw), "{arguments:?}: {:?}", run.stderr);
    }
}

/// A CA below another one, or on its own.
fn authority(name: &str, above: Option<&rcgen::Issuer<'_, rcgen::KeyPair>>) -> (rcgen::Certificate, CaIssuer) {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = match above {
        Some(above) => params.signed_by(&key, above).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    (certificate, rcgen::Issuer::new(params, key))
}

#[test]
fn whose_signatures_a_file_of_ca_authorises_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (root, issuer) = authority("Corporate Root", None);
    let (proxy, _) = authority("Proxy CA", Some(&issuer));
    fs::write(folder.path().join("chain.pem"), format!("{}{}", proxy.pem(), root.pem())).unwrap();
    fs::write(folder.path().join("root.pem"), root.pem()).unwrap();
    let path = folder.path().join("policy.toml");
    let check = |trust: &str| {
        let proxy =
            "[[interception]]\nname = \"p\"\nca = [\"chain.pem\"]\nclients = [\"10.0.0.0/8\"]\nmode = \"authorised\"\n";
        fs::write(&path, format!("version = 1\n{trust}{proxy}")).unwrap();
        tlswatch(&["policy", "check", text(&path)])
    };
    let run = check("");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(
        run.stderr.ends_with(": line 2: interception: ca authorises what these sign: CN=Proxy CA\n"),
        "{}",
        run.stderr
    );
    let run = check("[trust]\nroots = [\"root.pem\"]\n");
    assert!(run.stderr.contains("policy.toml: line 6, column 7: interception.ca: "), "{}", run.stderr);
    assert!(
        run.stderr.ends_with("chain.pem: CN=Corporate Root is a trusted root, not a proxy's CA\n"),
        "{}",
        run.stderr
    );
    assert_eq!(run.code, 2);
}

/// Who gives a trusted root's key as that of his own CA authorises more than he means.
#[test]
fn keys_of_trusted_roots_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let mozilla = tlswatch::x509::Certificate::parse(webpki_root_certs::TLS_SERVER_ROOT_CERTS[0].as_ref());
    let mozilla = mozilla.facts.as_deref().unwrap();
    let (root, _) = authority("Corporate Root", None);
    let own = tlswatch::x509::Certificate::parse(root.der());
    let own = own.facts.as_deref().unwrap().spki_sha256;
    fs::write(folder.path().join("root.pem"), root.pem()).unwrap();
    let path = folder.path().join("policy.toml");
    let proxy = |key| format!("[[interception]]\nname = \"p\"\nspki = [\"{key}\"]\nmode = \"authorised\"\n");
    let check = |rest: &str| {
        fs::write(&path, format!("version = 1\n[trust]\nroots = [\"root.pem\"]\n{rest}")).unwrap();
        tlswatch(&["policy", "check", text(&path)])
    };
    let run = check(&proxy(mozilla.spki_sha256));
    let mistake = format!("line 4, column 1: interception.spki: this is the key of {}, a root", mozilla.subject.text);
    assert!(run.code == 2 && run.stderr.contains(&mistake), "{}", run.stderr);
    let run = check(&proxy(own));
    let warning = "line 4: interception.spki: CN=Corporate Root is a root of trust.roots: ";
    assert!(run.code == 0 && run.stderr.contains(warning), "{}", run.stderr);
    let run = check(&format!("[[internal_ca]]\nname = \"c\"\nspki = [\"{}\"]\n", mozilla.spki_sha256));
    let warning = format!("line 4: internal_ca.spki: {} is a root that browsers trust: ", mozilla.subject.text);
    assert!(run.code == 0 && run.stderr.contains(&warning), "{}", run.stderr);
}

type CaIssuer = rcgen::Issuer<'static, rcgen::KeyPair>;

/// As it happens, a chain whose issuer was not seen waits for it: what was told cannot be taken back.
#[test]
fn an_open_chain_is_told_when_it_is_certain() {
    use support::scene::{Connection, Scene};
    use support::tls::{ClientHello, server_names};
    let folder = tempfile::tempdir().unwrap();
    let (root, root_issuer) = authority("Root", None);
    let (intermediate, issuer) = authority("Intermediate", Some(&root_issuer));
    let leaf = |name: &str| {
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.use_authority_key_identifier_extension = true;
        params.signed_by(&rcgen::KeyPair::generate().unwrap(), &issuer).unwrap()
    };
    let (first, second) = (leaf("a.example.org"), leaf("b.example.org"));
    let hello = |name: &str| ClientHello::default().named(server_names(&[(0, name.as_bytes())]));
    let capture = |completed: bool| {
        let mut scene = Scene::new();
        let connection = Connection::between("10.0.0.1:40001", "10.9.0.9:443");
        scene.session(connection, &hello("a.example.org"), &[first.der().as_ref()]);
        scene.wait(1_000);
        if completed {
            let chain = [second.der().as_ref(), intermediate.der().as_ref(), root.der().as_ref()];
            let connection = Connection::between("10.0.0.2:40002", "10.9.0.10:443");
            scene.session(connection, &hello("b.example.org"), &chain);
        }
        scene.wait(899_000);
        let own = support::scene::certificate("c.example.org");
        scene.session(
            Connection::between("10.0.0.3:40003", "10.9.0.11:443"),
            &hello("c.example.org"),
            &[own.as_slice()],
        );
        let path = folder.path().join(if completed { "completed.pcap" } else { "open.pcap" });
        fs::write(&path, scene.pcap()).unwrap();
        path
    };
    let roots = folder.path().join("roots.pem");
    fs::write(&roots, root.pem()).unwrap();
    let (completed, open) = (capture(true), capture(false));
    let read = |path: &Path, more: &[&str]| {
        let ran = tlswatch(&[&["read", path.to_str().unwrap(), "--no-builtin-roots"], more].concat());
        assert!(matches!(ran.code, 0 | 3), "{}", ran.stderr);
        ran
    };
    let about = |ran: &Ran| {
        let alerts = ran.events("alert").into_iter();
        let held = |one: &Value| {
            let rules = one["tlswatch"]["alert"]["rules"].as_array().unwrap();
            rules.iter().any(|rule| rule == "TLSW-CERT-005")
        };
        alerts.filter(held).collect::<Vec<_>>()
    };
    let trusted = ["--roots", roots.to_str().unwrap()];
    for stream in [&[][..], &["--stream"]] {
        // The intermediate came: nothing was ever wrong.
        assert_eq!(about(&read(&completed, &[&trusted, stream].concat())).len(), 0, "{stream:?}");
        // Nobody trusts the root: one cause, two hosts.
        let alerts = about(&read(&completed, stream));
        // Both are in the first line, so nothing is left to tell.
        let statuses: Vec<_> = alerts.iter().map(|alert| &alert["tlswatch"]["alert"]["status"]).collect();
        assert_eq!(statuses, ["new"], "{stream:?}");
        let alert = &alerts[0];
        assert!(alert["message"].as_str().unwrap().ends_with("no trust anchor."), "{}", alert["message"]);
        assert_eq!(alert["source"]["ip"], "10.0.0.1");
        assert_eq!(alert["tlswatch"]["alert"]["hosts"]["count"], 2);
        // Nobody showed the intermediate.
        let alerts = about(&read(&open, stream));
        assert_eq!(alerts.len(), 1, "{stream:?}");
        assert!(alerts[0]["message"].as_str().unwrap().ends_with(", which was not seen."));
        assert_eq!((&alerts[0]["source"]["ip"], &alerts[0]["destination"]["port"]), (&"10.0.0.1".into(), &443.into()));
        assert!(alerts[0]["tls"]["server"]["certificate"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
        assert_eq!(alerts[0]["tlswatch"]["alert"]["status"], "new");
    }
    // It was told after fifteen minutes of packet time, not at the end: before the handshake that let them pass.
    let lines = read(&open, &["--stream"]).stdout;
    let place = |text: &str| lines.lines().position(|line| line.contains(text)).unwrap();
    assert!(place("TLSW-CERT-005") > place("a.example.org"));
    assert!(place("TLSW-CERT-005") < lines.lines().count() - 2);
}

#[test]
fn what_is_allowed_but_hardly_meant_is_told() {
    let policy = r#"version = 1
[[host]]
match = ["a.example.com"]
owner = "me"
ciphers = ["TLS_AES_128_GCM_SHA256", "AES"]
[[suppress]]
rule = "TLSW-CERT-006"
dst = ["10.0.0.0/8"]
until = 2026-03-01
reason = "lab"
[rules.unexpected-certificate]
medium = 70
high = 40
[rules.new-interception-ca]
domains = 3
public = 4
"#;
    let (_folder, path) = file("policy.toml", policy.as_bytes());
    let check = |more: &[&str]| {
        let run = tlswatch(&[&["policy", "check", text(&path)], more].concat());
        assert_eq!(run.code, 0);
        run.stderr.replace(text(&path), "policy.toml")
    };
    let told = check(&[]);
    insta::assert_snapshot!(told, @r#"
    tlswatch: policy.toml: line 1: rules.TLSW-MITM-002: medium is above high: no alert is medium
    tlswatch: policy.toml: line 1: rules.TLSW-MITM-007: public is above domains: domains never decides
    tlswatch: policy.toml: line 2: host.ciphers: no cipher suite is called "AES" (TLS_AES_128_GCM_SHA256, say)
    "#);
    assert_eq!(check(&["--at", "2026-03-01T23:59:59Z"]), told);
    assert!(check(&["--at", "2026-03-02"]).contains("line 6: suppress.until: ended on 2026-03-01"));
}

/// One use of a stolen certificate is found by three rules, the second graver than the first: told once, at once.
#[test]
fn what_is_found_at_once_is_told_at_once() {
    let roots = ["--roots", "pcaps/ca/public-roots.pem"];
    let ran = tlswatch(&[&["read", "--stream", "pcaps/client-cert-stolen.pcap"][..], &roots].concat());
    let alerts = ran.events("alert");
    let told = alerts.iter().map(|alert| {
        let about = &alert["tlswatch"]["alert"];
        (about["status"].as_str().unwrap(), about["count"].as_u64().unwrap(), about["rules"].as_array().unwrap().len())
    });
    assert_eq!(told.collect::<Vec<_>>(), [("new", 1, 3), ("update", 2, 3)]);
}
