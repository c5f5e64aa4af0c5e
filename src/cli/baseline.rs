//! `tlswatch baseline`: what is known of hosts, in the hands of a person.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use console::Term;

use crate::cli::inventory::digits;
use crate::cli::{columns, complain, exit, print_lines, print_with, tell};
use crate::detect::hosts::record::HostRecord;
use crate::detect::sighting::HostKey;
use crate::detect::why_not::describe;
use crate::inventory::{Answer, Cell, InventoryError, Rows, Store};
use crate::policy::digest;
use crate::text::printable;
use crate::x509::Sha256;

#[derive(Debug, Args)]
pub(crate) struct BaselineArguments {
    /// The inventory
    #[arg(short = 'i', long, value_name = "FILE", env = "TLSWATCH_INVENTORY", global = true)]
    inventory: Option<PathBuf>,

    #[command(subcommand)]
    command: BaselineCommand,
}

#[derive(Debug, Subcommand)]
enum BaselineCommand {
    /// Hosts that are known, or one of them with its certificates
    Show {
        #[arg(value_name = "HOST[:PORT]", value_parser = host)]
        host: Option<HostKey>,
    },
    /// Take the certificates of a host as its own, whatever was said of them
    Accept {
        #[arg(value_name = "HOST[:PORT]", value_parser = host)]
        host: HostKey,
        /// Only this certificate: its SHA-256, or the first digits of one in the inventory; also one that the host has not
        /// shown yet [default: all that the host showed]
        #[arg(long, value_name = "SHA256", value_parser = digits)]
        certificate: Option<String>,
    },
    /// Forget a host: it will be learned anew
    Forget {
        #[arg(value_name = "HOST[:PORT]", value_parser = host)]
        host: HostKey,
    },
}

/// Port of a host that is written without one.
const HTTPS: u16 = 443;

/// A [`host_at`], at port 443 unless another one is written.
fn host(text: &str) -> Result<HostKey, String> {
    host_at(text).map(|(name, port)| HostKey { name, port: port.unwrap_or(HTTPS) })
}

/// `name`, `name:8443`, `192.0.2.1:993`, `[2001:db8::1]:443`, with or without `ip:` or `ech:` before it: the name as in
/// [`HostKey`] and the port, if there is one.
pub(crate) fn host_at(text: &str) -> Result<(String, Option<u16>), String> {
    let wrong = || "write a name or an address, and :PORT unless it is 443".to_owned();
    let text = text.trim().to_lowercase();
    let (prefix, rest) = match text.split_once(':') {
        Some(("ech", rest)) => ("ech:", rest),
        Some(("ip", rest)) => ("", rest),
        _ => ("", text.as_str()),
    };
    let (name, port) = match (rest.parse::<IpAddr>(), rest.rsplit_once(':')) {
        (Err(_), Some((name, port))) => (name, Some(port.parse().map_err(|_| wrong())?)),
        _ => (rest, None),
    };
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name).trim_end_matches('.');
    let is_address = name.parse::<IpAddr>().is_ok();
    if name.is_empty() || (!is_address && name.contains(['[', ']', ':'])) {
        return Err(wrong());
    }
    let name = match name.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => format!("ip:{address}"),
        Ok(IpAddr::V6(address)) => format!("ip:[{address}]"),
        Err(_) => format!("{prefix}{name}"),
    };
    Ok((name, port))
}

impl BaselineArguments {
    pub(crate) fn run(&self) -> u8 {
        let Some(path) = &self.inventory else { return complain("which inventory? --inventory FILE") };
        let done = Store::open_to_ask(path).and_then(|store| match &self.command {
            BaselineCommand::Show { host: None } => listed(&store),
            BaselineCommand::Show { host: Some(host) } => show(&store, host),
            BaselineCommand::Accept { host, certificate } => accept(&store, host, certificate.as_deref()),
            BaselineCommand::Forget { host } => Ok(if store.forget(host)? { 0 } else { unknown(host) }),
        });
        done.unwrap_or_else(|error| {
            tell(&printable(&format!("{}: {error}", path.display())));
            exit::FAILURE
        })
    }
}

fn unknown(host: &HostKey) -> u8 {
    tell(&printable(&format!("nothing is known of {} port {}", host.name, host.port)));
    exit::FAILURE
}

fn listed(store: &Store) -> Result<u8, InventoryError> {
    let answer = all(store)?;
    if answer.rows.is_empty() {
        tell("no host is known yet");
    }
    Ok(print_with(|out| answer.write_table(out, columns(&Term::stdout()))))
}

fn all(store: &Store) -> Result<Answer, InventoryError> {
    let rows = store.baselines(None)?.into_iter().map(|(host, bytes, last_seen)| {
        let bytes = Cell::Number(i64::try_from(bytes).unwrap_or(i64::MAX));
        vec![Cell::Text(host.name.into()), Cell::Number(host.port.into()), Cell::Time(last_seen), bytes]
    });
    let columns = vec!["host", "port", "last", "bytes"];
    Ok(Answer { title: "hosts", columns, rows: Rows::Made(rows.collect()), ..Answer::default() })
}

fn show(store: &Store, host: &HostKey) -> Result<u8, InventoryError> {
    let accepted = store.accepted(host)?;
    let leaves = store.leaves(host)?;
    let known = store.baselines(Some(&host.name))?.into_iter().find(|(key, ..)| key == host);
    if known.is_none() && leaves.is_empty() && accepted.is_empty() {
        return Ok(unknown(host));
    }
    let mut text = format!("{} port {}\n", printable(&host.name), host.port);
    if let Some((_, bytes, last_seen)) = known {
        let record = store.baseline(host)?.and_then(|record| HostRecord::from_bytes(&record));
        match record {
            Some(record) => text = describe(&record),
            None => {
                let last = Cell::Time(last_seen).text();
                text.push_str(&format!("a record of {bytes} bytes that this version cannot read, last seen {last}\n"));
            }
        }
    }
    let others = accepted.iter().filter(|digest| !leaves.contains(digest));
    for digest in leaves.iter().chain(others) {
        let word = match (accepted.contains(digest), leaves.contains(digest)) {
            (true, true) => "accepted",
            (true, false) => "accepted, not shown yet",
            _ => "seen",
        };
        text.push_str(&format!("{} {word}\n", digest.to_string().to_lowercase()));
    }
    Ok(print_lines(&text))
}

fn accept(store: &Store, host: &HostKey, digits: Option<&str>) -> Result<u8, InventoryError> {
    let shown = store.leaves(host)?;
    let digits = digits.map(|digits| digits.replace(':', ""));
    let certificates = match digits.as_deref() {
        None => shown.clone(),
        Some(digits) => store.certificates_like(digits)?,
    };
    // One that will come may be accepted before anybody has shown it, by all of its digits.
    let certificates = match (certificates.as_slice(), digits.as_deref()) {
        ([], None) => return Ok(unknown(host)),
        ([], Some(digits)) => match digest(digits) {
            Some(digest) => vec![Sha256(digest)],
            None => {
                tell("no such certificate in the inventory: one that nobody has shown yet needs all 64 digits");
                return Ok(exit::FAILURE);
            }
        },
        ([_, _, ..], Some(_)) => return Ok(complain("several certificates begin with these digits")),
        _ => certificates,
    };
    store.accept(host, &certificates)?;
    if !certificates.iter().all(|certificate| shown.contains(certificate)) {
        let name = printable(&host.name);
        tell(&if shown.is_empty() && store.baseline(host)?.is_none() {
            format!(
                "nothing is known of {name} port {}: is the name right? It is accepted for when it comes",
                host.port
            )
        } else {
            format!("{name} port {} has not shown it yet: it is accepted for when it comes", host.port)
        });
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_written_in_many_ways() {
        for (text, name, port) in [
            ("Example.ORG.", "example.org", 443),
            ("example.org:8443", "example.org", 8443),
            ("192.0.2.1", "ip:192.0.2.1", 443),
            ("ip:192.0.2.1:993", "ip:192.0.2.1", 993),
            ("2001:DB8::1", "ip:[2001:db8::1]", 443),
            ("ip:2001:db8::1", "ip:[2001:db8::1]", 443),
            ("[2001:db8::1]:993", "ip:[2001:db8::1]", 993),
            ("ech:example.org:444", "ech:example.org", 444),
        ] {
            assert_eq!(host(text), Ok(HostKey { name: name.to_owned(), port }), "{text}");
        }
        for text in ["", ":443", "a:b", "a:65536", "ip:", "[::1", "[::1]]:1", "fe80::12345", "a:b:1"] {
            assert!(host(text).is_err(), "{text}");
        }
    }
}
