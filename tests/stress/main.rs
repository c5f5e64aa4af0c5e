//! Floods: peak memory, counters and time under what an enemy may send.
//!
//! `make stress` runs it optimised, at full size; a debug build runs the same scenes at a fiftieth of the size. Every scene
//! runs in a process of its own, so that peaks do not mix, with one worker and with two. A name as argument runs only the
//! scenes that contain it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "a test program: it ends with a message, and its numbers are its own"
)]

mod hosts;
mod scenes;
mod wire;

use std::process::{Command, ExitCode, Stdio};

use scenes::SCENES;

/// A fiftieth of the size in debug builds.
const DIVISOR: u32 = if cfg!(debug_assertions) { 50 } else { 1 };

const SCENE: &str = "TLSWATCH_STRESS_SCENE";
const WORKERS: &str = "TLSWATCH_STRESS_WORKERS";

fn main() -> ExitCode {
    if let Ok(name) = std::env::var(SCENE) {
        let scene = SCENES.iter().find(|scene| scene.name == name).unwrap();
        scene.run(std::env::var(WORKERS).unwrap().parse().unwrap());
        return ExitCode::SUCCESS;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        SCENES.iter().for_each(|scene| println!("{}: test", scene.name));
        return ExitCode::SUCCESS;
    }
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let mut failed = Vec::new();
    for scene in SCENES.iter().filter(|scene| wanted.is_empty() || wanted.iter().any(|name| scene.name.contains(*name)))
    {
        let outputs = ["1", "2"].map(|workers| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            let output =
                command.env(SCENE, scene.name).env(WORKERS, workers).stderr(Stdio::inherit()).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            print!("{text}");
            if !output.status.success() {
                failed.push(format!("{} with {workers} workers", scene.name));
            }
            text.rsplit_once("digest=").map(|(_, digest)| digest.to_owned())
        });
        if outputs[0] != outputs[1] {
            failed.push(format!("{}: the output depends on the number of workers", scene.name));
        }
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("failed: {}", failed.join(", "));
    ExitCode::FAILURE
}
