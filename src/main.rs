//! The command: parses arguments, calls the library, makes an exit code.

fn main() {}
