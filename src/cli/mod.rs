//! The command line: clap structs (as typed) to options (as meant). Nothing else sees clap.

mod available;
mod baseline;
mod explain;
mod inventory;
mod judgement;
mod lists;
mod live;
mod memory;
mod progress;
mod read;
mod rules;
mod summary;
mod why_not;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::text::printable;

/// Exit codes.
pub(crate) mod exit {
    /// Something could not be read or written.
    pub(crate) const FAILURE: u8 = 1;
    /// Bad usage or configuration, as clap's own.
    pub(crate) const USAGE: u8 = 2;
    /// With `--fail-on`: there is an alert of that severity or above.
    pub(crate) const ALERT: u8 = 3;
    /// With `--strict`: a capture was cut or corrupt.
    pub(crate) const DAMAGED: u8 = 4;
}

/// Watches TLS without touching it: who talks to whom, with which certificate, and what looks like interception.
#[derive(Debug, Parser)]
#[command(name = "tlswatch", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read capture files (pcap, pcapng; also .gz .zst .lz4 .xz), folders or standard input (-)
    Read(Box<read::ReadArguments>),
    /// Watch an interface until SIGINT or SIGTERM
    Live(Box<live::LiveArguments>),
    /// List what can be captured
    Interfaces,
    /// What is known of hosts: show it, accept a certificate, forget a host
    Baseline(baseline::BaselineArguments),
    /// Ask an inventory: certificates, keys, hosts, what expires, what changed
    Inventory(Box<inventory::InventoryArguments>),
    /// An alert in words: what speaks for it and against it, what to do
    Explain(explain::ExplainArguments),
    /// Why no alert was told about a host
    WhyNot(Box<why_not::WhyNotArguments>),
    /// What is looked for
    Rules {
        #[command(subcommand)]
        command: Option<rules::RulesCommand>,
    },
    /// The policy file
    Policy {
        #[command(subcommand)]
        command: rules::PolicyCommand,
    },
}

/// Runs the command of these arguments and gives its exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(with_habits(arguments)) {
        Ok(arguments) => arguments,
        Err(error) => {
            if !error.use_stderr() {
                // Help that was asked for.
                return ExitCode::from(print_with(|out| {
                    error.print()?;
                    out.flush()
                }));
            }
            use std::io::Write;
            // clap quotes arguments as they are, and a file name may hold anything.
            for line in error.render().to_string().lines() {
                let _ = writeln!(std::io::stderr(), "{}", printable(line));
            }
            return ExitCode::from(exit::USAGE);
        }
    };
    let code = match arguments.command {
        Command::Read(read) => read.run(),
        Command::Live(live) => live::run(&live),
        Command::Interfaces => live::interfaces(),
        Command::Baseline(baseline) => baseline.run(),
        Command::Inventory(inventory) => inventory.run(),
        Command::Explain(explain) => explain.run(),
        Command::WhyNot(why_not) => why_not.run(),
        Command::Rules { command } => rules::rules(command.as_ref()),
        Command::Policy { command } => rules::policy(&command),
    };
    ExitCode::from(code)
}

/// People type what they type for tcpdump and Suricata: `-r FILE` is `read FILE`, `-i IF` is `live -i IF`, in any place and
/// also in one word.
fn with_habits(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let word = |place: usize| arguments.get(place).and_then(|word| word.to_str()).unwrap_or_default();
    if !word(1).starts_with('-') {
        return arguments;
    }
    let spelled = |with| (1..arguments.len()).find(|place| word(*place).starts_with(with));
    if let Some(place) = spelled("-r") {
        let file = word(place).strip_prefix("-r").unwrap_or_default().to_owned();
        arguments.remove(place);
        if !file.is_empty() {
            arguments.insert(place, file.into());
        }
        arguments.insert(1, "read".into());
    } else if spelled("-i").is_some() {
        arguments.insert(1, "live".into());
    }
    arguments
}

/// A server name, or `*.` or a dot and a name for all names below it. Anything else would quietly select nothing.
pub(crate) fn name_wanted(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("*.").or_else(|| text.strip_prefix('.')).unwrap_or(text);
    if name.trim_end_matches('.').is_empty() || name.contains('*') {
        return Err("a name, or *.NAME for all names below it".to_owned());
    }
    Ok(text.to_owned())
}

/// Columns of a terminal; `None` where there is none: what goes to files and programs is not cut.
pub(crate) fn columns(term: &console::Term) -> Option<usize> {
    /// Where the terminal does not say: as wide as most at least.
    const USUAL: usize = 80;
    if !term.is_term() {
        return None;
    }
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).filter(|columns| *columns > 0);
    Some(told.or_else(|| term.size_checked().map(|(_, columns)| columns.into())).unwrap_or(USUAL))
}

/// Writes to standard output; a closed pipe is a quiet success.
pub(crate) fn print(text: &str) -> u8 {
    print_with(|out| out.write_all(text.as_bytes()))
}

/// [`print()`] of text in lines, which are folded where the terminal is too narrow.
pub(crate) fn print_lines(text: &str) -> u8 {
    match columns(&console::Term::stdout()) {
        Some(width) => print(&crate::text::hung(text, width)),
        None => print(text),
    }
}

/// [`print()`] of what is too long to be held in memory.
pub(crate) fn print_with(write: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>) -> u8 {
    use std::io::Write;
    let stdout = match crate::sink::stdout::stdout() {
        Ok(stdout) => stdout,
        Err(error) => {
            tell(&error.to_string());
            return exit::FAILURE;
        }
    };
    let mut out = std::io::BufWriter::with_capacity(1 << 16, stdout.lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Ok(()) => 0,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => 0,
        Err(error) => {
            tell(&format!("cannot write: {error}"));
            exit::FAILURE
        }
    }
}

/// Writes a mistake in the usage to standard error.
pub(crate) fn complain(text: &str) -> u8 {
    tell(&format!("error: {text}"));
    exit::USAGE
}

/// Writes a line to standard error.
pub(crate) fn tell(line: &str) {
    use std::io::Write;
    // Nothing can be done when even standard error is gone.
    let _ = writeln!(std::io::stderr(), "tlswatch: {line}");
}
