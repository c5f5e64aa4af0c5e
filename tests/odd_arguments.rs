//! What nobody should type and somebody does: it is told, and nothing hangs.
#![cfg(test)]
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output, Stdio};

const ONE: &str = "pcaps/tls13-rsa2048.pcap";

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tlswatch"));
    command.args(arguments).env_remove("TLSWATCH_INVENTORY").stdin(Stdio::null());
    command
}

/// Exit code and standard error.
fn told(output: Output) -> (i32, String) {
    (output.status.code().expect("ended by a signal"), String::from_utf8(output.stderr).unwrap())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn pipes_and_devices_are_no_inventories() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [text(&pipe), "/dev/null", "/dev/full"] {
        for arguments in [
            &["read", ONE, "-o", "/dev/null", "--inventory", path][..],
            &["read", ONE, "-o", "/dev/null", "--baseline", path],
            &["inventory", "list", "-i", path],
            &["baseline", "show", "-i", path],
            &["explain", "a", "-i", path],
            &["policy", "suggest", "-i", path],
        ] {
            let expected = (1, format!("tlswatch: {path}: not an inventory of tlswatch\n"));
            assert_eq!(told(command(arguments).output().unwrap()), expected, "{arguments:?}");
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_help_that_is_lost_is_a_failure() {
    for arguments in [&["--help"][..], &["--version"], &["read", "--help"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let (code, said) = told(command(arguments).stdout(full).output().unwrap());
        assert_eq!((code, said.starts_with("tlswatch: cannot write: ")), (1, true), "{arguments:?} {said}");
        assert_eq!(told(command(arguments).output().unwrap()), (0, String::new()));
    }
}

#[test]
fn a_folder_without_files_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("below")).unwrap();
    let path = text(folder.path());
    let expected = format!("tlswatch: {path}: no file in this folder (folders in it are not read)\n");
    assert_eq!(told(command(&["read", path]).output().unwrap()), (0, expected));
    fs::copy(ONE, folder.path().join("one.pcap")).unwrap();
    assert_eq!(told(command(&["read", path]).output().unwrap()), (0, String::new()));
}

#[test]
fn what_is_suggested_is_checked_through_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let inventory = folder.path().join("i.db");
    let read = command(&["read", "pcaps/demo.pcap", "-o", "/dev/null", "--inventory", text(&inventory)]).status();
    assert!(read.unwrap().success());
    let suggest = &["policy", "suggest", "-i", text(&inventory), "--handshakes", "1"];
    let mut suggested = command(suggest).stdout(Stdio::piped()).spawn().unwrap();
    let checked = command(&["policy", "check", "-"]).stdin(suggested.stdout.take().unwrap()).output().unwrap();
    assert_eq!(String::from_utf8(checked.stdout.clone()).unwrap(), "the policy is good\n");
    assert_eq!(told(checked), (0, String::new()));
    assert!(suggested.wait().unwrap().success());
}
