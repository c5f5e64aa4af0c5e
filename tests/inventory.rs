//! The inventory as a user meets it: written by `read`, asked by `inventory`, and killed in between.

#![expect(clippy::unwrap_used, reason = "the helpers of these tests fail like the tests")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use rusqlite::Connection;
use rusqlite::types::Value;

/// Captures that together have everything: client certificates, changes, several clients, no server names.
const CAPTURES: [&str; 6] = [
    "benign-cdn.pcap",
    "benign-client-cert.pcap",
    "benign-no-sni.pcap",
    "benign-renewal-new-key.pcap",
    "key-shared.pcap",
    "mitm-mitmproxy.pcap",
];

/// Columns that count sightings: those that a killed run has written are counted again by the next one. Baselines, alerts
/// and captures are written together at the end of a run, so that theirs are equal to the octet.
const COUNTING: [&str; 1] = ["count"];

fn captures() -> Vec<PathBuf> {
    CAPTURES.iter().map(|name| Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps").join(name)).collect()
}

fn tlswatch() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tlswatch"));
    command.env_remove("TLSWATCH_INVENTORY").stdin(Stdio::null());
    command
}

fn read(inventory: &Path, batch: u32, more: &[&str]) -> Command {
    let mut command = tlswatch();
    command.arg("read").args(captures()).arg("--inventory").arg(inventory).args(more);
    command.args(["--quiet", "--inventory-batch", &batch.to_string()]).stdout(Stdio::null());
    command
}

fn ask(inventory: &Path, arguments: &[&str]) -> Output {
    tlswatch().arg("inventory").arg("--inventory").arg(inventory).args(arguments).output().unwrap()
}

fn text(inventory: &Path, arguments: &[&str]) -> String {
    let output = ask(inventory, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Every row of every table; without the columns that count, if so wanted.
fn content(inventory: &Path, counts: bool) -> Vec<String> {
    let connection = Connection::open(inventory).unwrap();
    let names = |sql: &str| -> Vec<String> {
        let mut statement = connection.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let mut all = Vec::new();
    for table in names("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY 1") {
        let columns = names(&format!("SELECT name FROM pragma_table_info('{table}')"));
        let columns: Vec<_> = columns.into_iter().filter(|column| counts || !COUNTING.contains(&&**column)).collect();
        let mut statement = connection.prepare(&format!("SELECT {} FROM {table}", columns.join(", "))).unwrap();
        let width = columns.len();
        let rows = statement.query_map([], |row| (0..width).map(|at| row.get::<_, Value>(at)).collect());
        let mut rows: Vec<String> =
            rows.unwrap().map(|row: rusqlite::Result<Vec<Value>>| format!("{table} {:?}", row.unwrap())).collect();
        rows.sort();
        all.extend(rows);
    }
    all
}

fn whole(inventory: &Path) {
    let connection = Connection::open(inventory).unwrap();
    let verdict: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}

#[test]
fn killed_at_any_moment_it_is_whole_and_can_be_finished() {
    let folder = tempfile::tempdir().unwrap();
    let calm = folder.path().join("calm.db");
    #[expect(clippy::disallowed_methods, reason = "how long a run takes, to kill others within that time")]
    let began = Instant::now();
    assert!(read(&calm, 1, &[]).status().unwrap().success());
    let full = began.elapsed();
    let expected = content(&calm, false);
    assert!(expected.iter().any(|row| row.starts_with("client ")));
    let mut state = 0x9e37_79b9_u64;
    let mut unfinished = 0;
    let mut partial = 0;
    for number in 0..100 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let moment = full.mul_f64((state >> 40) as f64 / f64::from(1 << 24));
        let inventory = folder.path().join(format!("{number}.db"));
        let mut child = read(&inventory, 1, &[]).spawn().unwrap();
        std::thread::sleep(moment);
        child.kill().unwrap();
        let ended = child.wait().unwrap();
        unfinished += u32::from(!ended.success());
        if inventory.exists() {
            whole(&inventory);
            let has_tables = Connection::open(&inventory).unwrap().table_exists(None, "certificate").unwrap();
            let rows = if has_tables { content(&inventory, false).len() } else { 0 };
            partial += u32::from(rows > 8 && rows < expected.len());
        }
        // Read on with other batches: what a batch holds leaves no trace.
        assert!(read(&inventory, [1, 7, 1_000][number % 3], &[]).status().unwrap().success());
        whole(&inventory);
        assert_eq!(content(&inventory, false), expected, "killed after {moment:?} of {full:?}");
    }
    // Else the moments tell nothing.
    assert!(unfinished >= 30 && partial >= 10, "{unfinished} killed, {partial} of them half written");
}

/// What was counted of a capture read in part is known up to a bound; beyond, nothing of it is counted twice, and that is
/// told and counted.
#[test]
fn too_many_parts_of_a_capture_are_told_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let inventory = folder.path().join("i.db");
    let run = |more: &[&str]| {
        let mut command = tlswatch();
        command.arg("read").arg(&captures()[0]).arg("--inventory").arg(&inventory).args(more);
        let output = command.output().unwrap();
        assert!(output.status.success());
        let last = String::from_utf8(output.stdout).unwrap().lines().last().unwrap().to_owned();
        let stats: serde_json::Value = serde_json::from_str(&last).unwrap();
        let uncounted = stats["tlswatch"]["stats"]["capture"]["uncounted"].as_u64().unwrap();
        (uncounted, String::from_utf8(output.stderr).unwrap())
    };
    let seen = || -> i64 {
        Connection::open(&inventory).unwrap().query_row("SELECT sum(count) FROM host", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(run(&["--to", "2026-11-18T21:50:00Z"]), (0, String::new()));
    let before = seen();
    let stored = Connection::open(&inventory).unwrap();
    let octets: i64 = (8 << 20) * 8;
    // As many as are held in memory, then one more.
    for (octets, uncounted) in [(octets, 0), (octets + 8, 1)] {
        stored.execute("DELETE FROM capture_part WHERE id > (SELECT min(id) FROM capture_part)", []).unwrap();
        assert_eq!(stored.execute("UPDATE capture_part SET handshakes = zeroblob(?)", [octets]).unwrap(), 1);
        let (count, told) = run(&["--to", "2026-11-18T21:45:00Z"]);
        assert_eq!((count, told.contains("nothing of it is counted again")), (uncounted, uncounted == 1), "{told}");
    }
    let between = seen();
    assert!(between >= before);
    assert_eq!(run(&[]).0, 1);
    assert_eq!(seen(), between, "rather nothing than twice");
}

/// What is asked, and the columns that 80 characters have room for.
const QUESTIONS: [(&[&str], &str); 9] = [
    (&["list"], "SHA256 SUBJECT ISSUER NOT_AFTER HOSTS"),
    (&["show"], "SIDE ROLE HOST IP PORT LAST COUNT CLIENTS"),
    (&["expiring", "--within", "9999d"], "NOT_AFTER DAYS_LEFT SHA256 SUBJECT ISSUER HOSTS"),
    (&["issuers"], "ISSUER CERTIFICATES KEYS FIRST LAST COUNT"),
    (&["keys"], "SPKI_SHA256 KEY CERTIFICATES SUBJECTS LAST EXAMPLES"),
    (&["reused"], "SPKI_SHA256 KEY CERTIFICATES SUBJECTS LAST EXAMPLES"),
    (&["hosts"], "HOST PORT LAST SHA256 ISSUER NOT_AFTER"),
    (&["changes"], "AT HOST CHANGE SHA256 ISSUER BEFORE_ISSUER"),
    (&["clients"], "SHA256 SUBJECT ADDRESS LAST HOSTS"),
];

/// script(1) makes a terminal; stty(1) tells its width.
#[cfg(target_os = "linux")]
#[test]
fn tables_fit_the_terminal_and_are_whole_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let inventory = folder.path().join("i.db");
    assert!(read(&inventory, 100, &[]).status().unwrap().success());
    let client = text(&inventory, &["clients", "--format", "csv"]).lines().nth(1).unwrap().split_at(64).0.to_owned();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    for (question, telling) in QUESTIONS {
        let sha256 = (question[0] == "show").then_some(client.as_str());
        let arguments: Vec<&str> = question.iter().copied().chain(sha256).collect();
        let whole = text(&inventory, &arguments);
        let table = whole.split("\n\n").last().unwrap();
        assert!(!whole.contains('…') && table.lines().any(|line| line.chars().count() > 100), "{whole}");
        // A terminal that does not tell how many lines it has, as under script(1), counts as one of 80 columns.
        for (setting, width) in [
            ("stty rows 24 cols 66; unset COLUMNS", 66),
            ("stty cols 80; unset COLUMNS", 80),
            ("stty rows 24 cols 90; unset COLUMNS", 90),
            ("stty rows 24 cols 90; export COLUMNS=70", 70),
            ("stty rows 24 cols 120; unset COLUMNS", 120),
        ] {
            let (program, inventory) = (env!("CARGO_BIN_EXE_tlswatch"), inventory.display());
            let line = format!("{setting}; exec '{program}' inventory {} -i '{inventory}'", arguments.join(" "));
            let mut script = Command::new("script");
            let Ok(output) = script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output() else { return };
            let shown = String::from_utf8(output.stdout).unwrap().replace('\r', "");
            assert!(output.status.success(), "{shown}");
            let longest = shown.lines().map(|line| line.chars().count()).max().unwrap();
            assert!((width - 20..=width).contains(&longest), "{longest} {width}\n{shown}");
            if let Some(sha256) = sha256 {
                assert!(shown.contains(sha256), "what is asked for is whole: {shown}");
            }
            let mut parts = shown.split("\n\n").skip(usize::from(sha256.is_some()));
            let lines: Vec<&str> = parts.next().unwrap().lines().collect();
            assert_eq!(lines.len(), table.lines().count(), "{shown}");
            let mut heads = words(lines[0]);
            if width == 80 {
                assert_eq!(heads.join(" "), telling);
            }
            if width < 80 {
                continue;
            }
            // Names are cut, hashes are shortened, and days and numbers neither.
            let cells = lines.iter().flat_map(|line| line.split("  ").map(str::trim));
            for cell in cells.filter(|cell| cell.contains('…')) {
                assert!(!cell.starts_with("202") && cell.chars().count() > 8, "{cell}\n{shown}");
            }
            // What is left out is named.
            let left_out = words(parts.next().unwrap_or_default()).join(" ");
            let left_out = left_out.split_once(": ").map_or("", |(_, names)| names.split_once(" (").unwrap().0);
            heads.extend(left_out.split(", ").filter(|name| !name.is_empty()).map(str::to_uppercase));
            heads.sort();
            let mut all = words(table.lines().next().unwrap());
            all.sort();
            assert_eq!(heads, all, "{width} {shown}");
        }
        // A width that somebody exported is not asked for.
        let mut piped = tlswatch();
        piped.args(["inventory", "--inventory"]).arg(&inventory).args(&arguments).env("COLUMNS", "40");
        assert_eq!(String::from_utf8(piped.output().unwrap().stdout).unwrap(), whole);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn no_format_moves_the_cursor() {
    let folder = tempfile::tempdir().unwrap();
    let inventory = folder.path().join("i.db");
    assert!(read(&inventory, 100, &[]).status().unwrap().success());
    let hostile = "a\u{1b}]0;x\u{7}\u{9b}31m\u{7f}\u{202e}\u{feff}b";
    Connection::open(&inventory).unwrap().execute("UPDATE certificate SET subject = ?", [hostile]).unwrap();
    for (format, shown) in [("table", r"\u{9b}31m"), ("csv", r"\u{9b}31m"), ("json", r"\u009b31m")] {
        let command = format!(
            "exec '{}' inventory list --format {format} --inventory '{}'",
            env!("CARGO_BIN_EXE_tlswatch"),
            inventory.display()
        );
        let mut script = Command::new("script");
        script.args(["-qec", &command, "/dev/null"]).stdin(Stdio::null()).env("COLUMNS", "1000");
        let Ok(output) = script.output() else { return };
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(shown), "{format}: {text:?}");
        let raw =
            |one: char| (one.is_control() && one != '\n' && one != '\r') || matches!(one, '\u{202e}' | '\u{feff}');
        assert!(!text.contains(raw), "{format}: {text:?}");
    }
    // A file is for programs, which get what was there.
    assert!(text(&inventory, &["list", "--format", "csv"]).contains(hostile));
    let list: serde_json::Value = serde_json::from_str(&text(&inventory, &["list", "--format", "json"])).unwrap();
    assert_eq!(list[0]["subject"], hostile);
}

/// The golden files are of the captures of this package: `INSTA_UPDATE=always cargo test` when they are made anew.
#[test]
fn every_question_has_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let inventory = folder.path().join("i.db");
    assert!(read(&inventory, 100, &[]).status().unwrap().success());
    for question in ["list", "issuers", "keys", "reused", "hosts", "changes", "clients"] {
        insta::assert_snapshot!(format!("{question}.csv"), text(&inventory, &[question, "--format", "csv"]));
    }
    let expiring = ["expiring", "--within", "60d", "--format", "json"];
    insta::assert_snapshot!("expiring.json", text(&inventory, &expiring));
    insta::assert_snapshot!("list.txt", text(&inventory, &["list"]));
    let list: serde_json::Value = serde_json::from_str(&text(&inventory, &["list", "--format", "json"])).unwrap();
    let first = list[0]["sha256"].as_str().unwrap().get(..20).unwrap();
    insta::assert_snapshot!("show.txt", text(&inventory, &["show", first]));
    let show: serde_json::Value =
        serde_json::from_str(&text(&inventory, &["show", first, "--format", "json"])).unwrap();
    assert_eq!(show["certificates"][0]["sha256"], list[0]["sha256"]);
    assert!(!show["places"].as_array().unwrap().is_empty());
    let pem = text(&inventory, &["export"]);
    assert_eq!(pem.matches("BEGIN CERTIFICATE").count(), list.as_array().unwrap().len());
    assert_eq!(text(&inventory, &["show", first, "--format", "pem"]).matches("BEGIN").count(), 1);
    assert_eq!(ask(&inventory, &["show", "ffffffffffffffffffff"]).status.code(), Some(1));
    assert!(text(&inventory, &["audit-keys"]).starts_with("SPKI_SHA256"));
    // No PEM where there are no certificates.
    for question in ["issuers", "keys", "reused", "audit-keys"] {
        assert_eq!(ask(&inventory, &[question, "--format", "pem"]).status.code(), Some(2), "{question}");
    }
    // Validity is judged at packet time: after the end of the captures nothing is left that could still expire.
    let later = text(&inventory, &["expiring", "--at", "2060-01-01", "--within", "1d", "--format", "json"]);
    assert_eq!(later, "[\n]\n");
}

#[test]
fn filters_take_less() {
    let folder = tempfile::tempdir().unwrap();
    let inventory = folder.path().join("i.db");
    assert!(read(&inventory, 100, &[]).status().unwrap().success());
    let rows = |arguments: &[&str]| {
        let json = text(&inventory, &[arguments, &["--format", "json"]].concat());
        serde_json::from_str::<serde_json::Value>(&json).unwrap().as_array().unwrap().clone()
    };
    let all = rows(&["list"]);
    let mitm = rows(&["list", "--issuer", "MITMPROXY"]);
    assert!(!mitm.is_empty() && mitm.len() < all.len());
    assert!(mitm.iter().all(|row| row["issuer"].as_str().unwrap().contains("mitmproxy")));
    let hosts = rows(&["hosts", "--host", "*.example.com"]);
    assert!(!hosts.is_empty() && hosts.len() < rows(&["hosts"]).len());
    assert!(hosts.iter().all(|row| row["host"].as_str().unwrap().ends_with(".example.com")));
    let late = rows(&["changes", "--since", "1d"]);
    assert!(!late.is_empty() && late.len() < rows(&["changes"]).len());
    let owners = folder.path().join("owners.csv");
    std::fs::write(&owners, "pattern,owner\n*.example.com,web team\n").unwrap();
    assert!(ask(&inventory, &["owners", "import", owners.to_str().unwrap()]).status.success());
    let owned = rows(&["hosts", "--owner", "web team"]);
    assert_eq!(owned.len(), hosts.len());
    assert!(owned.iter().all(|row| row["owner"] == "web team"));
    assert!(rows(&["list", "--owner", "nobody"]).is_empty());
    let told = ask(&inventory, &["list", "--owner", "nobody"]).stderr;
    assert!(String::from_utf8_lossy(&told).contains("the list of owners has no 'nobody'"));
}

#[test]
fn a_filter_that_finds_nothing_or_is_not_heeded_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let inventory = folder.path().join("i.db");
    assert!(read(&inventory, 100, &[]).status().unwrap().success());
    for (host, why) in [
        ("www.example.com:443", "without a port"),
        ("[2001:db8::1]:443", "without a port"),
        ("*", "a star"),
        (".", "there is nothing"),
        ("www.*.com", "a star"),
        ("192.168.1", "10.1.0.0/16"),
        ("10.0.0.0/33", "a network"),
        ("", "there is nothing"),
    ] {
        let output = ask(&inventory, &["list", "--host", host]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && told.contains(why), "{host}: {told}");
    }
    for host in
        ["www.example.com", "*.example.com", "WWW.example.com.", "203.0.113.10", "ip:203.0.113.10", "::/0", "0.0.0.0/0"]
    {
        assert!(ask(&inventory, &["list", "--host", host]).status.success(), "{host}");
    }
    for arguments in [
        &["show", "a", "--issuer", "x"][..],
        &["show", "a", "--limit", "1"],
        &["audit-keys", "--host", "www.example.com"],
        &["list", "--limit", "0"],
    ] {
        assert_eq!(ask(&inventory, arguments).status.code(), Some(2), "{arguments:?}");
    }
}

/// What a host showed lately is not what others showed lately of what it once showed.
#[test]
fn what_was_seen_since_was_seen_at_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let inventory = folder.path().join("i.db");
    assert!(read(&inventory, 100, &[]).status().unwrap().success());
    let count = |question: &str, host: &str, since: &str| {
        let json = text(&inventory, &[question, "--host", host, "--since", since, "--format", "json"]);
        serde_json::from_str::<serde_json::Value>(&json).unwrap().as_array().unwrap().len()
    };
    let connection = Connection::open(&inventory).unwrap();
    let (name, ip): (String, String) = connection
        .query_row(
            "SELECT name.name, endpoint.ip FROM sighting AS s JOIN name ON name.id = s.name
             JOIN endpoint ON endpoint.id = s.endpoint WHERE name.name = 'www.example.com' AND s.role = 0 LIMIT 1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    let since = "2100-01-01";
    // Others show all of it later.
    connection.execute("UPDATE certificate SET last = 4200000000000000000", []).unwrap();
    connection.execute("UPDATE host SET last = 4200000000000000000", []).unwrap();
    for question in ["list", "issuers", "keys"] {
        assert!(count(question, &name, "2000-01-01") > 0);
        assert_eq!((count(question, &name, since), count(question, &ip, since)), (0, 0), "{question}");
    }
    // Found by its name it is there, by the address only if a certificate came from there since.
    let all = count("hosts", &ip, "2000-01-01");
    assert!(count("hosts", &name, since) == 1 && count("hosts", &ip, since) < all);
    connection.execute("UPDATE sighting SET last = 4200000000000000000", []).unwrap();
    assert!(count("list", &name, since) > 0 && count("list", &ip, since) > 0);
    assert_eq!(count("hosts", &ip, since), all);
}

#[test]
fn a_capture_counts_once_unless_told() {
    let folder = tempfile::tempdir().unwrap();
    let inventory = folder.path().join("i.db");
    let run = |more: &[&str]| assert!(read(&inventory, 100, more).status().unwrap().success());
    // A part of the capture is not the capture.
    run(&["--sni", "nowhere.example"]);
    run(&[]);
    let once = content(&inventory, true);
    run(&[]);
    assert_eq!(content(&inventory, true), once);
    run(&["--again"]);
    assert_ne!(content(&inventory, true), once);
    assert_eq!(content(&inventory, false).len(), once.len());
}

/// How many certificate events there are, and how many of them are marked as new (CERT-017).
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

/// Compressed or not, it is the same capture: in an inventory of an older version too, once it was read again.
#[test]
fn a_compressed_copy_of_a_capture_counts_as_the_capture() {
    let folder = tempfile::tempdir().unwrap();
    let capture = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps/demo.pcap")).unwrap();
    let cut = &capture[..capture.len() - 1];
    for (name, bytes) in [
        ("whole.pcap", capture.clone()),
        ("whole.pcap.gz", gzip(&capture)),
        ("cut.pcap", cut.to_vec()),
        ("cut.pcap.gz", gzip(cut)),
        ("damaged.pcap.gz", gzip(&capture).split_last_chunk::<2_000>().unwrap().0.to_vec()),
        ("unended.pcap.gz", gzip(&capture).split_last_chunk::<8>().unwrap().0.to_vec()),
    ] {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let inventory = folder.path().join("i.db");
    let run = |names: &[&str]| {
        let mut command = tlswatch();
        command.arg("read").args(names.iter().map(|name| folder.path().join(name)));
        let output = command.arg("--inventory").arg(&inventory).args(["-q", "-o", "/dev/null"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let connection = Connection::open(&inventory).unwrap();
        let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        (count("SELECT sum(count) FROM sighting"), count("SELECT count(*) FROM capture"))
    };
    let clear = || std::fs::remove_file(&inventory).unwrap();
    for [one, other] in [["whole.pcap", "whole.pcap.gz"], ["whole.pcap.gz", "whole.pcap"], ["cut.pcap.gz", "cut.pcap"]]
    {
        let (handshakes, captures) = run(&[one]);
        assert_eq!((run(&[other]), captures), ((handshakes, 2), 1), "{one}");
        clear();
        assert_eq!(run(&[one, other]), (handshakes, 2), "both in one run: {one}");
        if one.starts_with("whole") {
            assert_eq!(run(&["unended.pcap.gz"]).0, handshakes, "all packets are there");
        }
        assert!(run(&["damaged.pcap.gz"]).0 > handshakes, "where packets are missing, nobody knows which");
        clear();
    }
    let (handshakes, _) = run(&["whole.pcap"]);
    let older = "DROP TABLE capture_frames; PRAGMA user_version = 5";
    Connection::open(&inventory).unwrap().execute_batch(older).unwrap();
    assert_eq!(run(&["whole.pcap"]), (handshakes, 1), "known as before");
    assert_eq!(run(&["whole.pcap.gz"]), (handshakes, 2));
}

fn new_certificates(arguments: &[&str]) -> (usize, usize) {
    let output = tlswatch().arg("read").args(captures()).args(["--quiet"]).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let events = text.lines().filter(|line| line.contains("\"dataset\":\"tlswatch.certificate\""));
    let marked = events.clone().filter(|line| line.contains("TLSW-CERT-017"));
    (events.count(), marked.count())
}

#[test]
fn a_certificate_of_an_earlier_run_is_not_new() {
    let folder = tempfile::tempdir().unwrap();
    let inventory = folder.path().join("i.db");
    let inventory = inventory.to_str().unwrap();
    let (all, marked) = new_certificates(&[]);
    assert!(all > 10 && all == marked, "{all} {marked}");
    // Batches of one: what the run itself writes is not known from before.
    let written = ["--inventory", inventory, "--inventory-batch", "1"];
    assert_eq!(new_certificates(&written), (all, all));
    assert_eq!(new_certificates(&written), (all, 0));
    assert_eq!(new_certificates(&["--baseline", inventory]), (all, 0));
}

#[test]
fn hosts_are_shown_accepted_and_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let inventory = folder.path().join("i.db");
    assert!(read(&inventory, 100, &[]).status().unwrap().success());
    let baseline = |arguments: &[&str]| {
        let output = tlswatch().arg("baseline").arg("-i").arg(&inventory).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, seen) = baseline(&["show", "www.example.com"]);
    assert!(code == Some(0) && seen.contains(" seen\n") && !seen.contains(" accepted\n"));
    let digest = seen.lines().find(|line| line.ends_with(" seen")).unwrap().split(' ').next().unwrap();
    // As openssl writes digits, too.
    let colons = digest.as_bytes().chunks(2).take(8).map(|pair| std::str::from_utf8(pair).unwrap().to_uppercase());
    let colons = colons.collect::<Vec<_>>().join(":");
    assert_eq!(baseline(&["accept", "www.example.com", "--certificate", &colons]).0, Some(0));
    let (_, accepted) = baseline(&["show", "www.example.com"]);
    assert!(accepted.contains(&format!("{digest} accepted\n")));
    assert_eq!(baseline(&["forget", "www.example.com"]).0, Some(0));
    assert_eq!(baseline(&["forget", "www.example.com"]).0, Some(1));
    let (_, left) = baseline(&["show", "www.example.com"]);
    assert!(seen.contains("  phase ") && !left.contains("  phase ") && left.contains(&format!("{digest} seen\n")));
    assert_eq!(baseline(&["accept", "nowhere.example"]).0, Some(1));
    assert_eq!(baseline(&["accept", "www.example.com", "--certificate", ""]).0, Some(2));
}

#[test]
#[cfg(unix)]
fn a_long_question_says_so_and_can_be_ended() {
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::process::ExitStatusExt as _;
    let folder = tempfile::tempdir().unwrap();
    let inventory = folder.path().join("inventory");
    assert!(read(&inventory, 100_000, &[]).status().unwrap().success());
    let connection = Connection::open(&inventory).unwrap();
    let many = "INSERT INTO key (spki_sha256, algorithm, bits, modulus)
        WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 20000)
        SELECT randomblob(32), 'RSA', 2048, CAST(randomblob(255) || x'01' AS BLOB) FROM number";
    connection.execute_batch(many).unwrap();
    drop(connection);
    // Who starts the tests in the background has them ignore what Ctrl-C sends, and so would the program.
    let mut asked = Command::new("env");
    asked.arg("--default-signal=INT").arg(tlswatch().get_program()).env_remove("TLSWATCH_INVENTORY");
    asked
        .stdin(Stdio::null())
        .arg("inventory")
        .arg("-i")
        .arg(&inventory)
        .arg("audit-keys")
        .stderr(Stdio::piped())
        .stdout(Stdio::piped());
    let mut asked = asked.spawn().unwrap();
    let mut told = String::new();
    BufReader::new(asked.stderr.take().unwrap()).read_line(&mut told).unwrap();
    assert!(told.contains("RSA keys takes some ") && told.contains("memory; Ctrl-C ends it"), "{told}");
    assert!(Command::new("kill").args(["-INT", &asked.id().to_string()]).status().unwrap().success());
    assert_eq!(asked.wait().unwrap().signal(), Some(2));
    assert!(text(&inventory, &["keys", "--limit", "3"]).lines().count() > 3, "the file is as it was");
    // Fewer keys are no matter.
    let output = ask(&inventory, &["audit-keys", "--keys", "20"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !told.contains("takes"), "{told}");
}
