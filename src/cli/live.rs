//! `tlswatch live`: an interface to events, until a signal ends it; `tlswatch interfaces`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

#[cfg(feature = "live")]
pub(crate) use capture::{interfaces, run};

use crate::cli::judgement::JudgementArguments;
use crate::cli::read::{ChecksumArgument, DetailArgument};

#[derive(Debug, Args)]
pub(crate) struct LiveArguments {
    /// Interface to capture on (tlswatch interfaces lists them; any takes all)
    #[arg(short, long, value_name = "IF")]
    interface: String,

    /// Write events (NDJSON) to this file, appending, or - for standard output; SIGHUP opens the file anew and reads the policy anew, SIGUSR1 writes the counters so far
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: PathBuf,

    /// Only packets that this BPF expression takes
    #[arg(short = 'f', long, value_name = "BPF")]
    filter: Option<String>,

    /// How much each event tells
    #[arg(long, value_enum, default_value_t = DetailArgument::Standard)]
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

    /// Keep certificates, hosts, places and alerts in this file (SQLite), made if there is none: what was learned of hosts
    /// is known after the next start [default: tlswatch.db in the working directory if it can be written, else memory]
    #[arg(long, value_name = "FILE", env = "TLSWATCH_INVENTORY")]
    inventory: Option<PathBuf>,

    /// Keep nothing beyond the end of the run
    #[arg(long, conflicts_with = "inventory")]
    no_inventory: bool,

    /// Wrong transport checksums: read all, drop such packets, or do not look
    #[arg(long, value_enum, default_value_t = ChecksumArgument::All)]
    checksums: ChecksumArgument,

    /// Size of the kernel's ring in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=2_047))]
    buffer: u16,

    /// Leave the interface's mode alone: only frames that this host gets anyway
    #[arg(long)]
    no_promiscuous: bool,

    /// Threads that follow connections [default: cores, at most 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,

    /// Name of this sensor in events [default: the name of the host]
    #[arg(long, value_name = "NAME")]
    sensor_name: Option<String>,

    /// Seed of the Community ID
    #[arg(long, value_name = "N", default_value_t = 0)]
    community_id_seed: u16,

    #[command(flatten)]
    judgement: JudgementArguments,

    /// Say nothing at the start
    #[arg(short, long)]
    quiet: bool,

    /// Seconds after which a handshake without progress is over
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(1..), hide = true)]
    handshake_timeout: Option<u16>,
}

#[cfg(not(feature = "live"))]
const NOT_BUILT: &str =
    "this build reads files only; for interfaces build with libpcap: cargo build --release --features live";

#[cfg(not(feature = "live"))]
pub(crate) fn run(_: &LiveArguments) -> u8 {
    crate::cli::complain(NOT_BUILT)
}

#[cfg(not(feature = "live"))]
pub(crate) fn interfaces() -> u8 {
    crate::cli::complain(NOT_BUILT)
}

#[cfg(feature = "live")]
mod capture {
    use std::fmt::Write;
    use std::hash::{BuildHasher, Hasher};
    use std::io;
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;
    use std::time::{Duration, Instant};

    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
    use signal_hook::iterator;

    use crate::capture::live::{self, Interface, Live, LiveOptions};
    use crate::capture::{CaptureError, Filter};
    use crate::cli::memory::{Memory, MemoryError};
    use crate::cli::read::{finish, worker_count};
    use crate::cli::{complain, exit, print, tell};
    use crate::event::{Context, Observer};
    use crate::packet::is_supported;
    use crate::pipeline::{self, Options, Selection};
    use crate::sink::{PemFolder, ReopenedNdjson, Sink, SinkError, pipe};
    use crate::stats::Demand;
    use crate::text::{columns, printable};
    use crate::time::Span;

    use super::LiveArguments;

    /// The inventory unless another one is named.
    const INVENTORY: &str = "tlswatch.db";

    /// What a shell gives for a program that SIGINT ended.
    const INTERRUPTED: i32 = 130;

    /// A SIGINT sooner after the first signal is not a second wish: timeout(1) sends its signal to the program and to its group.
    const ONE_WISH: Duration = Duration::from_secs(1);

    pub(crate) fn run(arguments: &LiveArguments) -> u8 {
        if let Some(Err(error)) = arguments.filter.as_deref().map(Filter::new) {
            return complain(&printable(&error.to_string()));
        }
        let signals = match Signals::register() {
            Ok(signals) => signals,
            Err(error) => {
                tell(&format!("cannot handle signals: {error}"));
                return exit::FAILURE;
            }
        };
        let options = LiveOptions {
            promiscuous: !arguments.no_promiscuous,
            buffer_bytes: usize::from(arguments.buffer) << 20,
            filter: arguments.filter.clone(),
            stop: Arc::clone(&signals.stop),
            ..LiveOptions::default()
        };
        let mut source = match Live::open(&arguments.interface, options) {
            Ok(source) => source,
            Err(error @ CaptureError::Filter { .. }) => return complain(&printable(&error.to_string())),
            Err(error) => return fail(&error),
        };
        let mut sinks = match sinks(arguments, &signals) {
            Ok(sinks) => sinks,
            Err(error) => return fail(&error),
        };
        let mut judging = match arguments.judgement.judging_live() {
            Ok(judging) => judging,
            Err(errors) => return complain(&errors),
        };
        let memory = match memory(arguments) {
            Ok(memory) => memory,
            Err(error) => return fail(&error),
        };
        if let Some(memory) = &memory {
            sinks.push(Box::new(memory.live_sink()));
            if let Some(judging) = &mut judging {
                judging.backing = Some(memory.baselines(Selection::default()));
                judging.past = match arguments.judgement.past(&memory.retrospect(), &judging.knowledge) {
                    Ok(past) => past,
                    Err(error) => return fail(&format!("inventory: {error}")),
                };
            }
        }
        if let Some(judging) = &mut judging {
            let stored = memory.as_ref().map(Memory::retrospect);
            judging.renewal = Some(arguments.judgement.renewal(Arc::clone(&signals.reload), stored));
        }
        if !arguments.quiet {
            let link = source.link_type().0;
            let name = printable(&arguments.interface);
            tell(&format!("watching {name} (link type {link}, ring of {} MiB)", arguments.buffer));
        }
        if !is_supported(source.link_type()) {
            let (name, link) = (printable(&arguments.interface), source.link_type().0);
            tell(&format!("{name}: link type {link} is not supported: its frames are only counted"));
        }
        let host = live::host_name();
        let name = arguments.sensor_name.clone().or_else(|| host.clone()).unwrap_or_else(|| "tlswatch".to_owned());
        let observer = Observer { name, hostname: host, ..Observer::default() };
        let context = Context::new(&observer, arguments.detail.into())
            .with_community_seed(arguments.community_id_seed)
            .with_demand(Arc::clone(&signals.counters));
        let options = Options { judging, ..pipeline_options(arguments) };
        let outcome = pipeline::run(&mut source, sinks, (&options, context), |_| {});
        let gravest = outcome.as_ref().ok().and_then(|outcome| outcome.gravest);
        pipe::wait_for_stderr();
        let code = finish(&source, outcome, true);
        if let Some(Err(error)) = memory.map(|memory| memory.complete(false, |_| None)) {
            return fail(&format!("inventory: {error}"));
        }
        arguments.judgement.graver(code, gravest)
    }

    pub(crate) fn interfaces() -> u8 {
        match live::interfaces() {
            Ok(interfaces) => print(&table(&interfaces)),
            Err(error) => fail(&error),
        }
    }

    fn fail(error: &impl ToString) -> u8 {
        tell(&printable(&error.to_string()));
        exit::FAILURE
    }

    /// The inventory; the one that nobody asked for is done without where it cannot be written.
    fn memory(arguments: &LiveArguments) -> Result<Option<Memory>, MemoryError> {
        if arguments.no_inventory {
            return Ok(None);
        }
        if let Some(path) = &arguments.inventory {
            return Memory::open(Some(path), None).map(Some);
        }
        match Memory::open(Some(Path::new(INVENTORY)), None) {
            Ok(memory) => Ok(Some(memory)),
            Err(error) => {
                tell(&printable(&format!("nothing is kept beyond this run: {error}")));
                Ok(None)
            }
        }
    }

    fn pipeline_options(arguments: &LiveArguments) -> Options {
        let mut options = Options {
            checksums: arguments.checksums.into(),
            workers: worker_count(arguments.workers),
            // An attacker must not be able to aim flows at one slot.
            seed: std::hash::RandomState::new().build_hasher().finish(),
            selection: Selection::new(&arguments.host, &arguments.sni),
            flush_rounds: true,
            ..Options::default()
        };
        if let Some(seconds) = arguments.handshake_timeout {
            options.limits.handshake_timeout = Span::seconds(seconds.into());
        }
        options
    }

    fn say(line: &str) {
        // While somebody reads it: the capture goes on, and the end comes.
        if pipe::stderr_takes_a_line() {
            tell(&printable(line));
        }
    }

    fn sinks(arguments: &LiveArguments, signals: &Signals) -> Result<Vec<Box<dyn Sink + Send>>, SinkError> {
        let events: Box<dyn Sink + Send> = if arguments.output == Path::new("-") {
            Box::new(ReopenedNdjson::stdout(Arc::clone(&signals.stop), say)?)
        } else {
            let flags = (Arc::clone(&signals.reopen), Arc::clone(&signals.stop));
            Box::new(ReopenedNdjson::append(&arguments.output, flags, say)?)
        };
        let mut sinks = vec![events];
        if let Some(folder) = &arguments.certificates {
            sinks.push(Box::new(PemFolder::create(folder)?));
        }
        Ok(sinks)
    }

    /// What signals ask for.
    #[derive(Clone, Default)]
    struct Signals {
        stop: Arc<AtomicBool>,
        reopen: Arc<AtomicBool>,
        reload: Arc<AtomicBool>,
        counters: Arc<Demand>,
    }

    impl Signals {
        /// The first SIGINT or SIGTERM ends the capture in order, a later SIGINT ends the program.
        fn register() -> io::Result<Self> {
            let signals = Self::default();
            let flags = signals.clone();
            let mut caught = iterator::Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1])?;
            thread::Builder::new().name("signals".to_owned()).spawn(move || {
                let mut stopped = None;
                for signal in caught.forever() {
                    flags.on(signal, &mut stopped, live::monotonic());
                }
            })?;
            Ok(signals)
        }

        fn on(&self, signal: i32, stopped: &mut Option<Instant>, now: Instant) {
            match wish(signal, *stopped, now) {
                Wish::Stop => {
                    *stopped = Some(now);
                    self.stop.store(true, Ordering::Relaxed);
                }
                Wish::Quit => signal_hook::low_level::exit(INTERRUPTED),
                Wish::Renew => {
                    self.reopen.store(true, Ordering::Relaxed);
                    self.reload.store(true, Ordering::Relaxed);
                }
                Wish::Counters => self.counters.ask(),
                Wish::Nothing => {}
            }
        }
    }

    /// What a signal asks for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Wish {
        /// To end the capture, write everything out and end.
        Stop,
        /// To end at once.
        Quit,
        /// To open the output anew and to read the policy anew.
        Renew,
        /// To tell the counters.
        Counters,
        /// What is under way already.
        Nothing,
    }

    /// What this signal asks for, after the first that asked to stop.
    fn wish(signal: i32, stopped: Option<Instant>, now: Instant) -> Wish {
        match (signal, stopped) {
            (SIGHUP, _) => Wish::Renew,
            (SIGUSR1, _) => Wish::Counters,
            (_, None) => Wish::Stop,
            (SIGINT, Some(first)) if now.duration_since(first) >= ONE_WISH => Wish::Quit,
            _ => Wish::Nothing,
        }
    }

    /// One line for each interface.
    fn table(interfaces: &[Interface]) -> String {
        let width = interfaces.iter().map(|interface| columns(&printable(&interface.name))).max().unwrap_or(0);
        let mut text = String::new();
        for interface in interfaces {
            let state = match (interface.up, interface.running) {
                (true, true) => "running",
                (true, false) => "no link",
                (false, _) => "down",
            };
            let name = printable(&interface.name);
            let mut line = format!("{name}{:blank$}  {state:7}", "", blank = width.saturating_sub(columns(&name)));
            for address in &interface.addresses {
                // Writing to a String cannot fail.
                let _ = write!(line, "  {address}");
            }
            if let Some(description) = &interface.description {
                let _ = write!(line, "  {}", printable(description));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn only_a_later_interrupt_ends_at_once() {
            let first = live::monotonic();
            let (soon, later) = (first + Duration::from_millis(900), first + ONE_WISH);
            for signal in [SIGINT, SIGTERM] {
                assert_eq!(wish(signal, None, first), Wish::Stop);
                assert_eq!(wish(signal, Some(first), soon), Wish::Nothing);
            }
            assert_eq!(wish(SIGINT, Some(first), later), Wish::Quit);
            assert_eq!(wish(SIGTERM, Some(first), later), Wish::Nothing);
            assert_eq!(wish(SIGHUP, Some(first), later), Wish::Renew);
            assert_eq!(wish(SIGUSR1, None, first), Wish::Counters);
        }

        #[test]
        fn interfaces_are_a_table_that_a_terminal_survives() {
            let lo = Interface {
                name: "lo".into(),
                description: None,
                addresses: vec!["127.0.0.1".parse().unwrap()],
                up: true,
                running: true,
            };
            let odd = Interface {
                name: "x\u{1b}[2J".into(),
                description: Some("a\nb".into()),
                addresses: Vec::new(),
                up: false,
                running: false,
            };
            assert_eq!(
                table(&[lo, odd]),
                "lo             running  127.0.0.1\nx\\u{1b}[2J  down     a\\u{a}b\n"
                    .replace("lo             ", "lo          ")
            );
        }
    }
}
