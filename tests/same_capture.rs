//! One capture in several formats is one capture to an inventory.
#![cfg(test)]

mod support;

use std::path::Path;
use std::process::Command;

use rusqlite::Connection;
use support::capture::{gzip, parse_pcap, to_pcap, to_pcapng};

/// What the inventory has counted: handshakes, records of hosts, captures.
fn counted(inventory: &Path) -> (i64, Vec<(String, Vec<u8>)>, i64) {
    let connection = Connection::open(inventory).unwrap();
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get(0)).unwrap();
    let mut statement = connection.prepare("SELECT key, record FROM baseline ORDER BY key, port").unwrap();
    let records = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    (number("SELECT sum(count) FROM sighting"), records, number("SELECT count(*) FROM capture"))
}

#[test]
fn what_was_read_in_one_format_counts_in_none_of_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let frames = parse_pcap(&std::fs::read("pcaps/demo.pcap").unwrap());
    let part = &frames[..frames.len() - frames.len() / 4];
    for (name, bytes) in [
        ("part.pcapng", to_pcapng(part)),
        ("whole.pcap", to_pcap(&frames)),
        ("whole.pcapng", to_pcapng(&frames)),
        ("whole.pcapng.gz", gzip(&to_pcapng(&frames))),
    ] {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let read = |inventory: &str, names: &[&str], more: &[&str]| {
        let path = folder.path().join(inventory);
        let mut command = Command::new(env!("CARGO_BIN_EXE_tlswatch"));
        command.arg("read").args(names.iter().map(|name| folder.path().join(name))).args(more);
        command.args(["-q", "-o", "/dev/null", "--inventory"]).arg(&path).current_dir(folder.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        counted(&path)
    };
    let all = ["whole.pcap", "whole.pcapng", "whole.pcapng.gz"];
    for first in all {
        let (handshakes, records, captures) = read(&format!("{first}.db"), &[first], &[]);
        assert_eq!(captures, 1);
        for (number, other) in (1..).zip(all) {
            let (again, same, _) = read(&format!("{first}.db"), &[other], &[]);
            assert_eq!((again, &same), (handshakes, &records), "{first} {other} {number}");
        }
        let (more, other_records, captures) = read(&format!("{first}.db"), &["part.pcapng"], &[]);
        assert!(more > handshakes && other_records != records && captures == 4, "another capture is one");
        let (together, same, _) = read(&format!("{first} together"), &all, &[]);
        assert_eq!((together, &same), (handshakes, &records), "all in one run");
        let (twice, _, _) = read(&format!("{first}.db"), &[first], &["--again"]);
        assert_eq!(twice, more + handshakes);
    }
    // A capture that grew is another one.
    let (less, _, _) = read("growing", &["part.pcapng"], &[]);
    let (sum, _, _) = read("growing", &["whole.pcap"], &[]);
    let (whole, _, _) = read("once", &["whole.pcap"], &[]);
    assert_eq!(sum, less + whole);
}
