//! `tlswatch read`: capture files to events.

use std::io::IsTerminal;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::capture::{Files, Filter, Source, Weight};
use crate::cli::judgement::JudgementArguments;
use crate::cli::memory::Memory;
use crate::cli::progress::Bar;
use crate::cli::summary::{SummarySink, SummaryText};
use crate::cli::{complain, exit, tell};
use crate::event::{Context, Detail, Observer};
use crate::packet::ChecksumMode;
use crate::pipeline::judgement::Judging;
use crate::pipeline::{self, Options, Outcome, PipelineError, Selection};
use crate::sink::{Ndjson, PemFolder, Sink, SinkError};
use crate::text::{counted, printable};
use crate::time::Timestamp;

/// Most workers by default: beyond, the reader is what takes the time.
const DEFAULT_WORKERS: usize = 4;

#[derive(Debug, Args)]
pub(crate) struct ReadArguments {
    /// Capture files, folders, or - for standard input; several are one capture in time order
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Write events (NDJSON) to this file, or - for standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Only packets that this BPF expression takes (outer headers, as in tcpdump)
    #[arg(short = 'f', long, value_name = "BPF")]
    filter: Option<String>,

    /// Only packets from this time on (2024-06-01T12:00:00Z, "2024-06-01 12:00", or seconds since 1970)
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Timestamp>,

    /// Only packets up to this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<Timestamp>,

    /// How much each event tells
    #[arg(long, value_enum, default_value_t = DetailArgument::Full)]
    detail: DetailArgument,

    /// Only handshakes of this client or server address (repeatable)
    #[arg(long, value_name = "ADDRESS")]
    host: Vec<IpAddr>,

    /// Only handshakes for this server name (repeatable; *.example.org takes all names below)
    #[arg(long, value_name = "NAME", value_parser = crate::cli::name_wanted)]
    sni: Vec<String>,

    /// Write each certificate once as PEM into this folder
    #[arg(long, value_name = "DIR")]
    certificates: Option<PathBuf>,

    /// Keep certificates, hosts and places in this file (SQLite), made if there is none
    #[arg(long, value_name = "FILE")]
    inventory: Option<PathBuf>,

    /// Take hosts as known that this inventory knows; it is not changed
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,

    /// Count captures that were read into the inventory before once more
    #[arg(long, requires = "inventory")]
    again: bool,

    /// Handshakes that are written to the inventory together
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..), hide = true)]
    inventory_batch: u32,

    /// Wrong transport checksums: read all, drop such packets, or do not look
    #[arg(long, value_enum, default_value_t = ChecksumArgument::All)]
    checksums: ChecksumArgument,

    /// Exit with 4 when a capture was cut or corrupt (with 3 when --fail-on asks for that too)
    #[arg(long)]
    strict: bool,

    /// Threads that follow connections [default: cores, at most 4]; the output does not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,

    /// Segments handed over at a time; the output does not depend on it
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65536), hide = true)]
    batch: u32,

    /// Flows that one of the 256 slots of the table holds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000), hide = true)]
    flows_per_slot: Option<u32>,

    /// Name of this sensor in events
    #[arg(long, value_name = "NAME", default_value = "tlswatch")]
    sensor_name: String,

    /// Seed of the Community ID
    #[arg(long, value_name = "N", default_value_t = 0)]
    community_id_seed: u16,

    #[command(flatten)]
    judgement: JudgementArguments,

    /// No summary and no progress
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum DetailArgument {
    /// Everything
    Full,
    /// No lists of ciphers, extensions and groups
    Standard,
    /// Nor the certificates' fields: certificate events have them
    Lean,
}

impl From<DetailArgument> for Detail {
    fn from(detail: DetailArgument) -> Self {
        match detail {
            DetailArgument::Full => Self::Full,
            DetailArgument::Standard => Self::Standard,
            DetailArgument::Lean => Self::Lean,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ChecksumArgument {
    /// Read packets with wrong checksums, and count them on handshakes
    All,
    /// Drop packets with wrong checksums
    Drop,
    /// Do not look
    Off,
}

impl From<ChecksumArgument> for ChecksumMode {
    fn from(checksums: ChecksumArgument) -> Self {
        match checksums {
            ChecksumArgument::All => Self::Count,
            ChecksumArgument::Drop => Self::Drop,
            ChecksumArgument::Off => Self::Off,
        }
    }
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "write 2024-06-01T12:00:00Z, \"2024-06-01 12:00\" or seconds".to_owned())
}

impl ReadArguments {
    pub(crate) fn run(&self) -> u8 {
        let filter = match self.filter.as_deref().map(Filter::new).transpose() {
            Ok(filter) => filter,
            Err(error) => return complain(&printable(&error.to_string())),
        };
        if self.from.zip(self.to).is_some_and(|(from, to)| from > to) {
            return complain("--from is later than --to: no packet lies between");
        }
        let options = crate::capture::Options { filter, from: self.from, to: self.to };
        let mut files = Files::open(&self.files, options);
        let to_terminal = self.output.is_none() && std::io::stdout().is_terminal();
        let text = SummaryText::default();
        let mut sinks = match self.sinks(to_terminal, &text) {
            Ok(sinks) => sinks,
            Err(error) => {
                tell(&printable(&error.to_string()));
                return exit::FAILURE;
            }
        };
        let memory = match self.memory(&files) {
            Ok(memory) => memory,
            Err(message) => {
                tell(&printable(&message));
                return exit::FAILURE;
            }
        };
        files.note_uncounted(memory.as_ref().map_or(0, Memory::uncounted));
        if let Some(memory) = memory.as_ref().filter(|_| self.inventory.is_some()) {
            sinks.push(Box::new(memory.sink(self.inventory_batch, self.takes_everything())));
        }
        let observer = Observer { name: self.sensor_name.clone(), ..Observer::default() };
        let context = Context::new(&observer, self.detail.into()).with_community_seed(self.community_id_seed);
        let mut judging = match self.judgement.judging() {
            Ok(judging) => judging,
            Err(errors) => return complain(&errors),
        };
        if let (Some(judging), Some(memory)) = (&mut judging, &memory) {
            judging.backing = Some(memory.baselines(Selection::new(&self.host, &self.sni)));
            // A run about some hosts says nothing of others.
            if self.inventory.is_some() && self.host.is_empty() && self.sni.is_empty() {
                judging.past = match self.judgement.past(&memory.retrospect(), &judging.knowledge) {
                    Ok(past) => past,
                    Err(error) => {
                        tell(&printable(&format!("inventory: {error}")));
                        return exit::FAILURE;
                    }
                };
            }
        }
        let watched = !self.quiet && std::io::stderr().is_terminal();
        if let Some(memory) = memory.as_ref().filter(|_| watched && self.inventory.is_some()) {
            let (known, all) = memory.known();
            if known > 0 {
                let all = counted(u64::try_from(all).unwrap_or(u64::MAX), "capture");
                tell(&format!("already in the inventory, not counted again (--again): {known} of {all}"));
            }
        }
        let mut bar = Bar::new(watched);
        let run = (&self.options(judging), context);
        let outcome = pipeline::run(&mut files, sinks, run, |source| bar.show(source.progress()));
        bar.finish();
        let gravest = outcome.as_ref().ok().map(|outcome| outcome.gravest);
        let code = finish(&files, outcome, self.strict);
        let Some(gravest) = gravest else { return code };
        match memory.map(|memory| memory.complete(self.takes_everything(), |file| files.content_length(file))) {
            Some(Err(error)) => {
                tell(&printable(&format!("inventory: {error}")));
                return exit::FAILURE;
            }
            Some(Ok(twice)) => {
                if let Some((first, more)) = twice.split_first() {
                    let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
                    let why = "counted twice, for another run has read the same into the inventory meanwhile";
                    tell(&printable(&format!("{first}{more}: {why}")));
                }
            }
            None => {}
        }
        let code = self.judgement.graver(code, gravest);
        let shown = self.show(&text.take(), to_terminal);
        if code == 0 { shown } else { code }
    }

    fn sinks(&self, to_terminal: bool, text: &SummaryText) -> Result<Vec<Box<dyn Sink + Send>>, SinkError> {
        let mut sinks: Vec<Box<dyn Sink + Send>> = Vec::new();
        match self.output.as_deref() {
            Some(path) if path.as_os_str() != "-" => sinks.push(Box::new(Ndjson::create(path)?)),
            None if to_terminal => {}
            _ => sinks.push(Box::new(Ndjson::stdout()?)),
        }
        if self.wants_summary(to_terminal) {
            let terminal = if to_terminal { console::Term::stdout() } else { console::Term::stderr() };
            sinks.push(Box::new(SummarySink::new(text, crate::cli::columns(&terminal).unwrap_or(usize::MAX))));
        }
        if let Some(folder) = &self.certificates {
            sinks.push(Box::new(PemFolder::create(folder)?));
        }
        Ok(sinks)
    }

    fn wants_summary(&self, to_terminal: bool) -> bool {
        let to_file = self.output.as_ref().is_some_and(|path| path.as_os_str() != "-");
        to_terminal || (to_file && !self.quiet && std::io::stderr().is_terminal())
    }

    /// Shows the summary: on standard output, or beside the events on standard error.
    fn show(&self, text: &str, to_terminal: bool) -> u8 {
        if to_terminal {
            return crate::cli::print(text);
        }
        use std::io::Write;
        // The events are what was asked for; a lost summary is no failure.
        let _ = std::io::stderr().write_all(text.as_bytes());
        0
    }

    fn memory(&self, files: &Files) -> Result<Option<Memory>, String> {
        if self.inventory.is_none() && self.baseline.is_none() {
            return Ok(None);
        }
        let opened = Memory::open(self.inventory.as_deref(), self.baseline.as_deref());
        let mut memory = opened.map_err(|error| error.to_string())?;
        memory.look_at(files, self.again).map_err(|error| format!("inventory: {error}"))?;
        Ok(Some(memory))
    }

    /// Nothing of the captures is left out on purpose.
    fn takes_everything(&self) -> bool {
        self.filter.is_none() && self.from.is_none() && self.to.is_none() && self.host.is_empty() && self.sni.is_empty()
    }

    fn options(&self, judging: Option<Judging>) -> Options {
        let mut limits = crate::config::Limits::default();
        if let Some(flows) = self.flows_per_slot {
            limits.flows_per_slot = usize::try_from(flows).unwrap_or(limits.flows_per_slot);
        }
        Options {
            limits,
            checksums: self.checksums.into(),
            workers: worker_count(self.workers),
            batch: usize::try_from(self.batch).unwrap_or(256),
            judging,
            selection: Selection::new(&self.host, &self.sni),
            ..Options::default()
        }
    }
}

/// Threads that follow connections: as asked for, else by the cores there are.
pub(crate) fn worker_count(wanted: Option<u16>) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    wanted.map_or_else(|| cores.min(DEFAULT_WORKERS), usize::from)
}

/// Tells what went wrong in a run and gives the exit code.
pub(crate) fn finish(source: &dyn Source, outcome: Result<Outcome, PipelineError>, strict: bool) -> u8 {
    let code = tell_problems(source, strict);
    match outcome {
        Ok(outcome) => {
            for frame in &outcome.panics {
                tell(&format!("a parser failed at frame {frame} (over all files): a bug, please report it"));
            }
            code
        }
        Err(PipelineError::Sink(SinkError::Closed)) => 0,
        Err(error) => {
            tell(&printable(&error.to_string()));
            exit::FAILURE
        }
    }
}

fn tell_problems(source: &dyn Source, strict: bool) -> u8 {
    let mut code = 0;
    for problem in source.problems() {
        let of_this = match problem.kind.weight() {
            Weight::Failure => exit::FAILURE,
            Weight::Damage if strict => exit::DAMAGED,
            Weight::Damage | Weight::Warning => 0,
        };
        // A file that could not be read at all weighs more than one that was cut.
        if code != exit::FAILURE && of_this != 0 {
            code = of_this;
        }
        tell(&problem.to_string());
    }
    code
}
