//! The command: parses arguments, calls the library, makes an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    tlswatch::cli::run(std::env::args_os())
}
