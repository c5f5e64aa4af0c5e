//! `tlswatch inventory`: questions to an inventory.

use std::io::{IsTerminal, Write};
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use console::Term;

use crate::capture::Progress;
use crate::cli::judgement::KnowledgeArguments;
use crate::cli::progress::Bar;
use crate::cli::{available, columns, complain, exit, print_with, tell};
use crate::detect::knowledge::Knowledge;
use crate::inventory::{Answer, Effort, Filter, InventoryError, Question, Store};
use crate::sink::pem::pem;
use crate::text::printable;
use crate::time::{Span, Timestamp};

#[derive(Debug, Args)]
pub(crate) struct InventoryArguments {
    /// The inventory
    #[arg(short = 'i', long, value_name = "FILE", env = "TLSWATCH_INVENTORY", global = true)]
    inventory: Option<PathBuf>,

    /// How the answer is written
    #[arg(long, value_enum, default_value_t = Format::Table, global = true)]
    format: Format,

    /// Only certificates whose issuer's name contains this
    #[arg(long, value_name = "TEXT", global = true)]
    issuer: Option<String>,

    /// Only hosts of this owner
    #[arg(long, value_name = "OWNER", global = true)]
    owner: Option<String>,

    /// Only this host: a name, *.name, an address or a network
    #[arg(long, value_name = "HOST", global = true, value_parser = host_wanted)]
    host: Option<String>,

    /// Only what was seen (or changed) since this time, or this long before the last packet (7d)
    #[arg(long, value_name = "TIME", global = true, value_parser = when)]
    since: Option<When>,

    /// The time that validity is judged at [default: the last packet]
    #[arg(long, value_name = "TIME", global = true, value_parser = time)]
    at: Option<Timestamp>,

    /// At most so many rows
    #[arg(long, value_name = "N", global = true, value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,

    #[command(subcommand)]
    command: InventoryCommand,
}

#[derive(Debug, Subcommand)]
enum InventoryCommand {
    /// Every certificate
    List,
    /// Everything about a certificate: its SHA-256, or the first digits of it
    Show {
        #[arg(value_name = "SHA256", value_parser = digits)]
        sha256: String,
    },
    /// Certificates that expire soon, and those shown although they have expired
    Expiring {
        /// How soon, such as 30d or 12h
        #[arg(long, value_name = "TIME", default_value = "30d", value_parser = span)]
        within: Span,
    },
    /// Who issued how many certificates
    Issuers,
    /// Public keys
    Keys,
    /// Keys that more than one certificate has
    Reused,
    /// Hosts and the certificate that each showed last
    Hosts,
    /// When hosts showed a certificate for the first time, and which it took the place of
    Changes,
    /// Client certificates and from where they were used
    Clients,
    /// RSA keys that share a prime factor: their private keys can be computed by anybody
    AuditKeys {
        /// Keys that are looked at, the most recently seen first: some five minutes and two gigabytes of memory for
        /// 100,000
        #[arg(long, value_name = "N", default_value_t = 100_000)]
        keys: u32,
    },
    /// Certificates, keys, names, addresses and fingerprints that lists name, and where they were seen: lists of a policy, and
    /// indicators
    AuditLists {
        #[command(flatten)]
        knowledge: Box<KnowledgeArguments>,
    },
    /// Every certificate, as PEM unless told otherwise
    Export,
    /// Who owns which hosts
    Owners {
        #[command(subcommand)]
        command: OwnersCommand,
    },
}

#[derive(Debug, Subcommand)]
enum OwnersCommand {
    /// Replace the list of owners by that of a CSV file with rows of pattern,owner
    Import {
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For reading: cut to the width of the terminal, if there is one
    Table,
    /// For spreadsheets
    Csv,
    /// For programs
    Json,
    /// The certificates themselves
    Pem,
}

/// A time, or a length of time before the last packet.
#[derive(Clone, Copy, Debug)]
enum When {
    At(Timestamp),
    Before(Span),
}

pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    match Timestamp::parse(text) {
        // Nanoseconds since 1970 end there: a later time would silently be taken for this one.
        Some(Timestamp::MAX | Timestamp::MIN) => Err("write a time from 1677-09-22 to 2262-04-11".to_owned()),
        time => time.ok_or_else(|| "write 2024-06-01T12:00:00Z, \"2024-06-01 12:00\" or seconds".to_owned()),
    }
}

fn when(text: &str) -> Result<When, String> {
    let at =
        |_| time(text).map(When::At).map_err(|wrong| format!("{wrong}, or 7d for the time before the last packet"));
    span(text).map(When::Before).or_else(at)
}

/// Hexadecimal digits, as openssl writes them too.
pub(crate) fn digits(text: &str) -> Result<String, String> {
    let text: String = text.chars().filter(|character| *character != ':').collect();
    let good = !text.is_empty() && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if good { Ok(text) } else { Err("write up to 64 hexadecimal digits".to_owned()) }
}

/// What can be a name, `*.name`, an address or a network: anything else would quietly find nothing.
fn host_wanted(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("ip:").unwrap_or(text);
    let (address, bits) = host.split_once('/').map_or((host, None), |(address, bits)| (address, Some(bits)));
    let wrong = match (address.parse::<IpAddr>(), bits) {
        (Ok(_), None) => None,
        (Ok(IpAddr::V4(_)), Some(bits)) if bits.parse::<u8>().is_ok_and(|bits| bits <= 32) => None,
        (Ok(IpAddr::V6(_)), Some(bits)) if bits.parse::<u8>().is_ok_and(|bits| bits <= 128) => None,
        (_, Some(_)) => Some("a network is written as 10.0.0.0/8 or fd00::/8"),
        (Err(_), None) if host.contains(['[', ']', ':']) => Some("it is given without a port"),
        (Err(_), None) if host.strip_prefix("*.").unwrap_or(host).contains('*') => {
            Some("a star stands only at the beginning, for all names below: *.example.org")
        }
        (Err(_), None) if host.trim_matches(['.', '*']).is_empty() => Some("there is nothing in it"),
        (Err(_), None) if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => {
            Some("that is a part of an address: 10.1.0.0/16 says which")
        }
        (Err(_), None) => None,
    };
    wrong.map_or_else(|| Ok(text.to_owned()), |wrong| Err(format!("a name, *.name, an address or a network: {wrong}")))
}

/// `30d`, `12h`, `2w`.
fn span(text: &str) -> Result<Span, String> {
    let wrong = || "write 30d, 12h or 2w".to_owned();
    let (number, seconds) = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400), ('w', 604_800)]
        .into_iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))
        .ok_or_else(wrong)?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: i64 = number.parse().map_err(|_| wrong())?;
    Ok(Span::seconds(number.saturating_mul(seconds)))
}

/// Keys from which on comparing them takes long enough to say so.
const MANY_KEYS: u64 = 2_000;

impl InventoryArguments {
    pub(crate) fn run(&self) -> u8 {
        let Some(path) = &self.inventory else { return complain("which inventory? --inventory FILE") };
        if let Err(wrong) = self.takes_filters() {
            return complain(&wrong);
        }
        let failed = |error: &dyn std::fmt::Display| {
            tell(&printable(&format!("{}: {error}", path.display())));
            exit::FAILURE
        };
        let store = match &self.command {
            InventoryCommand::Owners { .. } if path.exists() => Store::open(path),
            _ => Store::open_to_ask(path),
        };
        let store = match store {
            Ok(store) => store,
            Err(error) => return failed(&error),
        };
        if let InventoryCommand::AuditKeys { keys } = self.command {
            match store.effort_of_shared_factors(keys).map(|effort| affordable(effort, available::memory())) {
                Ok(Ok(Some(told))) => tell(&told),
                Ok(Ok(None)) => {}
                Ok(Err(refused)) => return failed(&refused),
                Err(error) => return failed(&error),
            }
        }
        let answered = match &self.command {
            InventoryCommand::Owners { command: OwnersCommand::Import { file } } => return import_owners(&store, file),
            InventoryCommand::AuditLists { knowledge } => match self.knowledge(knowledge) {
                Ok(knowledge) => self.listed(&store, &knowledge),
                Err(errors) => return complain(&errors),
            },
            _ => self.answer(&store),
        };
        match answered {
            Ok((answers, _)) if answers.len() > 1 && answers.iter().all(|answer| answer.rows.is_empty()) => {
                tell("no such certificate in the inventory");
                exit::FAILURE
            }
            Ok((answers, Format::Pem)) if answers.first().is_some_and(|first| !first.names_certificates()) => {
                complain("this answer names no certificates: --format table, csv or json")
            }
            Ok((answers, format)) => {
                if answers.iter().all(|answer| answer.rows.is_empty()) {
                    let unknown = self.owner.as_ref().filter(|owner| matches!(store.has_owner(owner), Ok(false)));
                    tell(&match (store.last_packet(), &self.command) {
                        (Ok(None), _) => "the inventory is empty".to_owned(),
                        (_, InventoryCommand::AuditKeys { .. }) => {
                            "no keys that were looked at share a factor".to_owned()
                        }
                        (_, InventoryCommand::AuditLists { .. }) => {
                            "no list names anything in the inventory".to_owned()
                        }
                        _ => match unknown {
                            Some(owner) => {
                                format!("the list of owners has no '{}' (inventory owners import)", printable(owner))
                            }
                            None => "nothing is in the inventory that fits".to_owned(),
                        },
                    });
                }
                print_with(|out| write_answers(&store, (&answers, format), out))
            }
            Err(error) => failed(&error),
        }
    }

    /// What a command does not heed is refused: its answer would be taken for another one's.
    fn takes_filters(&self) -> Result<(), String> {
        let filters = [&self.issuer, &self.owner, &self.host].into_iter().any(Option::is_some);
        let filters = filters || self.since.is_some() || self.at.is_some();
        let wrong = match &self.command {
            InventoryCommand::AuditLists { .. } if filters => {
                "audit-lists looks at everything: of the filters it takes --limit only"
            }
            InventoryCommand::AuditKeys { .. } if filters || self.limit.is_some() => {
                "audit-keys compares all keys: it takes no filters, and --keys N for how many"
            }
            InventoryCommand::Show { .. } if filters || self.limit.is_some() => {
                "show takes no filters: it shows the certificates whose SHA-256 begins so"
            }
            InventoryCommand::Owners { .. } if filters || self.limit.is_some() => "owners takes no filters",
            _ => return Ok(()),
        };
        Err(wrong.to_owned())
    }

    /// The lists to look things up in.
    fn knowledge(&self, arguments: &KnowledgeArguments) -> Result<Knowledge, String> {
        let knowledge = arguments.read()?;
        if knowledge.has_lists() {
            Ok(knowledge)
        } else {
            Err("which lists? --policy FILE, --indicators FILE".to_owned())
        }
    }

    fn listed(&self, store: &Store, knowledge: &Knowledge) -> Result<(Vec<Answer>, Format), InventoryError> {
        let found = store.listed(knowledge, None)?;
        for what in found.not_looked_at() {
            tell(&what);
        }
        Ok((vec![found.answer(self.limit)], self.format))
    }

    fn answer(&self, store: &Store) -> Result<(Vec<Answer>, Format), InventoryError> {
        let since = match self.since {
            Some(When::At(at)) => Some(at),
            Some(When::Before(span)) => {
                let now = self.at.or(store.last_packet()?).unwrap_or_default();
                Some(now.plus(Span(span.0.saturating_neg())))
            }
            None => None,
        };
        let filter = Filter {
            at: self.at,
            issuer: self.issuer.clone(),
            owner: self.owner.clone(),
            host: self.host.clone(),
            since,
            limit: self.limit,
        };
        let question = match &self.command {
            InventoryCommand::AuditKeys { keys } => {
                let mut bar = Bar::of_work(std::io::stderr().is_terminal());
                let tell_how_far = &mut |done, all| bar.show(Progress { read: done, total: Some(all) });
                let found = store.shared_factors(*keys, tell_how_far);
                bar.finish();
                let (answer, [left_out, more]) = found?;
                if left_out > 0 {
                    tell(&format!("{left_out} keys were not looked at: --keys"));
                }
                if more > 0 {
                    tell(&format!("{more} keys more share factors: too many to compare them one with another"));
                }
                return Ok((vec![answer], self.format));
            }
            InventoryCommand::Show { sha256 } => {
                let (answers, more) = store.show(sha256)?;
                if more {
                    tell("more certificates than these begin so: give more digits");
                }
                return Ok((answers, self.format));
            }
            InventoryCommand::Expiring { within } => Question::Expiring(*within),
            InventoryCommand::Issuers => Question::Issuers,
            InventoryCommand::Keys => Question::Keys,
            InventoryCommand::Reused => Question::Reused,
            InventoryCommand::Hosts => Question::Hosts,
            InventoryCommand::Changes => Question::Changes,
            InventoryCommand::Clients => Question::Clients,
            InventoryCommand::List
            | InventoryCommand::Export
            | InventoryCommand::AuditLists { .. }
            | InventoryCommand::Owners { .. } => Question::Certificates,
        };
        let format = match (&self.command, self.format) {
            (InventoryCommand::Export, Format::Table) => Format::Pem,
            (_, format) => format,
        };
        Ok((vec![store.ask(question, &filter)?], format))
    }
}

/// What to say before keys are compared, if that takes long; or why it is not done.
fn affordable(effort: Effort, available: Option<u64>) -> Result<Option<String>, String> {
    let Effort { keys, memory, minutes } = effort;
    let needed = available::bytes(memory);
    if let Some(available) = available.filter(|available| memory > *available) {
        let fitting = u128::from(keys) * u128::from(available) / u128::from(memory.max(1));
        // One key shares nothing with another.
        let way_out =
            if fitting > 1 { format!(": --keys {fitting} looks at the last seen only") } else { String::new() };
        return Err(format!(
            "to compare {keys} RSA keys takes up to {needed} of memory, and {} are available{way_out}",
            available::bytes(available)
        ));
    }
    let minutes = if minutes == 1 { "a minute".to_owned() } else { format!("{minutes} minutes") };
    Ok((keys >= MANY_KEYS).then(|| {
        format!(
            "comparing {keys} RSA keys takes some {minutes} of one core and up to {needed} of memory; Ctrl-C ends it"
        )
    }))
}

fn write_answers(store: &Store, (answers, format): (&[Answer], Format), out: &mut dyn Write) -> std::io::Result<()> {
    let several = answers.len() > 1;
    if format == Format::Pem {
        for digest in answers.first().map(Answer::digests).unwrap_or_default() {
            let der = store.der(&digest).map_err(std::io::Error::other)?;
            out.write_all(der.map(|der| pem(&der)).unwrap_or_default().as_bytes())?;
        }
        return Ok(());
    }
    for (number, answer) in answers.iter().enumerate() {
        match format {
            Format::Json if several => {
                write!(out, "{}\"{}\":", if number == 0 { "{" } else { "," }, answer.title)?;
                answer.write_json(out)?;
            }
            Format::Json => answer.write_json(out)?,
            _ if number > 0 => {
                writeln!(out)?;
                write_rows((answer, format), out)?;
            }
            _ => write_rows((answer, format), out)?,
        }
    }
    if several && format == Format::Json { writeln!(out, "}}") } else { Ok(()) }
}

fn write_rows((answer, format): (&Answer, Format), out: &mut dyn Write) -> std::io::Result<()> {
    match (format, answer.title) {
        (Format::Csv, _) => answer.write_csv(out, Term::stdout().is_term()),
        (_, "certificates") => answer.write_list(out, columns(&Term::stdout())),
        _ => answer.write_table(out, columns(&Term::stdout())),
    }
}

fn import_owners(store: &Store, file: &std::path::Path) -> u8 {
    let failed = |error: &dyn std::fmt::Display| {
        tell(&printable(&format!("{}: {error}", file.display())));
        exit::FAILURE
    };
    let list = match std::fs::File::open(file) {
        Ok(list) => list,
        Err(error) => return failed(&error),
    };
    match store.import_owners(list) {
        Ok(count) => {
            tell(&format!("{count} owners"));
            0
        }
        Err(error) => failed(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_into_memory_is_not_begun() {
        let effort = |keys, memory| Effort { keys, memory, minutes: 5 };
        assert_eq!(affordable(effort(1_999, 10), Some(10)), Ok(None));
        let told = affordable(effort(100_000, 2_560_000_000), None).unwrap().unwrap();
        assert!(told.contains("100000 RSA keys takes some 5 minutes of one core and up to 2.6 GB"), "{told}");
        let refused = affordable(effort(100_000, 2_560_000_000), Some(1_280_000_000)).unwrap_err();
        assert!(refused.contains("1.3 GB are available: --keys 50000 "), "{refused}");
        for available in [0, 25_599] {
            let refused = affordable(effort(100_000, 2_560_000_000), Some(available)).unwrap_err();
            assert!(refused.ends_with(" MB are available"), "{refused}");
        }
        assert!(affordable(effort(0, 0), Some(0)).is_ok());
    }

    #[test]
    fn times_that_do_not_fit_are_refused() {
        for fits in ["2024-06-01", "1677-09-22", "2262-04-11", "2262-04-11T23:47:16Z", "0", "9000000000"] {
            assert!(time(fits).is_ok(), "{fits}");
        }
        for beyond in ["9999-12-31", "2262-04-12", "1600-01-01", "99999999999"] {
            assert!(time(beyond).unwrap_err().contains("2262"), "{beyond}");
            assert!(when(beyond).unwrap_err().contains("2262"), "{beyond}");
        }
        assert!(time("yesterday").is_err());
    }
}
