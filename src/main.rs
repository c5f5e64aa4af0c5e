//! The command: parses arguments, calls the library, makes an exit code.

use std::process::ExitCode;

/// Handshakes are many small allocations that live for a moment.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tlswatch::cli::run(std::env::args_os())
}
