//! `tlswatch why-not`: why no alert was told about a host.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::Value;

use crate::capture::{Files, Options as CaptureOptions};
use crate::cli::baseline::host_at;
use crate::cli::judgement::KnowledgeArguments;
use crate::cli::memory::Memory;
use crate::cli::read::{finish, worker_count};
use crate::cli::{complain, exit, print_lines, tell};
use crate::detect::alerts::When;
use crate::detect::hosts::record::HostRecord;
use crate::detect::sighting::HostKey;
use crate::detect::why_not::{NAMED, alert_line, at_this_address, describe, review};
use crate::event::{Context, Detail, Observer};
use crate::inventory::{InventoryError, Store, stand_in};
use crate::pipeline::judgement::Judging;
use crate::pipeline::{self, Options, Selection};
use crate::text::printable;

#[derive(Debug, Args)]
pub(crate) struct WhyNotArguments {
    /// The host: a name, or an address for handshakes without a name. With :PORT only what the inventory has of that port;
    /// of captures all ports are told
    #[arg(value_name = "HOST[:PORT]", value_parser = host_at)]
    host: (String, Option<u16>),

    /// Captures to judge; without any, the certificate that is stored as presented last is judged again
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// What is known of hosts; it is not changed
    #[arg(short = 'i', long, value_name = "FILE", env = "TLSWATCH_INVENTORY")]
    inventory: Option<PathBuf>,

    #[command(flatten)]
    knowledge: KnowledgeArguments,
}

impl WhyNotArguments {
    pub(crate) fn run(&self) -> u8 {
        match (self.files.is_empty(), &self.inventory) {
            (true, None) => complain("from what? captures, or --inventory FILE"),
            (true, Some(inventory)) => self.ask_inventory(inventory).unwrap_or_else(|error| {
                tell(&printable(&format!("{}: {error}", inventory.display())));
                exit::FAILURE
            }),
            (false, _) => self.judge_captures(),
        }
    }

    fn judge_captures(&self) -> u8 {
        let knowledge = match self.knowledge.read() {
            Ok(knowledge) => knowledge,
            Err(errors) => return complain(&errors),
        };
        let mut files = Files::open(&self.files, CaptureOptions::default());
        let memory = self.inventory.as_deref().map(|path| {
            let mut memory = Memory::open(None, Some(path)).map_err(|error| error.to_string())?;
            memory.look_at(&files, false).map_err(|error| error.to_string())?;
            Ok::<_, String>(memory)
        });
        let memory = match memory.transpose() {
            Ok(memory) => memory,
            Err(error) => {
                tell(&printable(&error));
                return exit::FAILURE;
            }
        };
        let judging = Judging {
            knowledge: knowledge.into(),
            when: When::AtEnd,
            show_suppressed: false,
            offline: true,
            proofs: true,
            backing: memory.as_ref().map(|memory| memory.baselines(Selection::default())),
            renewal: None,
            past: Vec::new(),
            why_not: Some(self.host.0.clone()),
        };
        let options = Options { workers: worker_count(None), judging: Some(judging), ..Options::default() };
        let context = Context::new(&Observer::default(), Detail::Lean);
        let mut outcome = pipeline::run(&mut files, Vec::new(), (&options, context), |_| {});
        let text = outcome.as_mut().ok().and_then(|outcome| outcome.why_not.take());
        let code = finish(&files, outcome, false);
        let shown = text.map_or(0, |text| print_lines(&text));
        if code == 0 { shown } else { code }
    }

    fn ask_inventory(&self, path: &Path) -> Result<u8, InventoryError> {
        let store = Store::open_read_only(path)?;
        let knowledge = match self.knowledge.read() {
            Ok(knowledge) => Arc::new(knowledge),
            Err(errors) => return Ok(complain(&errors)),
        };
        let mut text = String::new();
        for key in self.hosts(&store)? {
            let record = store.baseline(&key)?.and_then(|bytes| HostRecord::from_bytes(&bytes));
            let record = record.filter(|record| record.key() == key);
            match &record {
                Some(record) => text.push_str(&describe(record)),
                None => text.push_str(&format!("{} port {}: no baseline\n", printable(&key.name), key.port)),
            }
            let client = stand_in(record.as_ref().map_or(&[], |record| &record.clients));
            let again = review(&knowledge, (record, store.accepted(&key)?), &store.presented(&key, client)?);
            // Which one it was is not stored.
            text.push_str(&again.replace(&format!("client {client} "), "a client "));
        }
        if text.is_empty() {
            text.push_str(&self.unknown(&store)?);
        }
        text.push_str(&self.alerts(&store)?);
        Ok(print_lines(&text))
    }

    /// What to say where nothing is known of the host itself.
    fn unknown(&self, store: &Store) -> Result<String, InventoryError> {
        let Some(address) = self.host.0.strip_prefix("ip:") else {
            return Ok("nothing is known of this host: no handshake with it was seen\n".to_owned());
        };
        let address = address.trim_matches(['[', ']']);
        let (mut named, port) = (BTreeSet::new(), self.host.1);
        let mut more = false;
        for host in store.names_at(address)?.iter().filter(|host| port.is_none_or(|port| port == host.port)) {
            if named.len() < NAMED {
                named.insert(host.to_string());
            } else {
                more = true;
            }
        }
        if named.is_empty() {
            let hidden = "servers that hide their certificate are known by name only";
            return Ok(format!("nothing is known of this address: no certificate from it was seen ({hidden})\n"));
        }
        let text =
            format!("no certificate came from it without a name being asked for; {}", at_this_address((&named, more)));
        Ok(format!("{}\n", printable(&text)))
    }

    /// What was told of it, and what may have been.
    fn alerts(&self, store: &Store) -> Result<String, InventoryError> {
        let mut text = String::new();
        let mut told = Vec::new();
        let mut about = store.alerts_about(&self.host.0)?;
        about.extend(self.outer().map(|outer| store.alerts_about(&outer)).transpose()?.unwrap_or_default());
        for (alert, hosts) in about {
            if told.contains(&alert.id) {
                continue;
            }
            let Ok(event) = serde_json::from_str::<Value>(&alert.json) else { continue };
            if hosts.iter().any(|host| self.is_host(host)) {
                let word = |pointer| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
                text.push_str(&alert_line(&alert.id, (word("/rule/id"), word("/message"))));
                told.push(alert.id);
            }
        }
        let many = store.alerts_about_many()?.into_iter().filter(|alert| !told.contains(alert));
        let many: Vec<String> =
            many.map(|alert| format!("alert {alert} is about more hosts than are kept: maybe it, too\n")).collect();
        if told.is_empty() && many.is_empty() {
            text.push_str("no alert names it\n");
        }
        text.extend(many);
        Ok(text)
    }

    /// The host with an encrypted ClientHello, of which only the outer name is seen: who asks for a name means it, too.
    fn outer(&self) -> Option<String> {
        let name = &self.host.0;
        (!name.starts_with("ip:") && !name.starts_with("ech:")).then(|| format!("ech:{name}"))
    }

    /// The hosts that the inventory has by this name and port.
    fn hosts(&self, store: &Store) -> Result<Vec<HostKey>, InventoryError> {
        let (name, port) = &self.host;
        let mut found = store.hosts_named(name)?;
        for key in self.outer().map(|outer| store.hosts_named(&outer)).transpose()?.unwrap_or_default() {
            // What is kept beside baselines does not tell the two apart.
            if store.baseline(&key)?.is_some() {
                found.push(key);
            }
        }
        found.retain(|key| port.is_none_or(|port| port == key.port));
        Ok(found)
    }

    /// Whether `name:port` of an alert is this host.
    fn is_host(&self, name: &str) -> bool {
        let (wanted, wanted_port) = &self.host;
        let is_port = |port: &str| wanted_port.is_none_or(|wanted| port == wanted.to_string());
        let is_name = |name: &str| name == wanted || self.outer().is_some_and(|outer| name == outer);
        name.rsplit_once(':').is_some_and(|(name, port)| is_name(name) && is_port(port))
    }
}
