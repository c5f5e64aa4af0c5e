//! `tlswatch why-not`: why no alert was told about a host.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::Value;

use crate::capture::{Files, Options as CaptureOptions};
use crate::cli::baseline::host_at;
use crate::cli::judgement::KnowledgeArguments;
use crate::cli::memory::Memory;
use crate::cli::read::{finish, worker_count};
use crate::cli::{complain, exit, print, tell};
use crate::detect::alerts::When;
use crate::detect::hosts::record::HostRecord;
use crate::detect::why_not::{describe, review};
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
        let shown = text.map_or(0, |text| print(&text));
        if code == 0 { shown } else { code }
    }

    fn ask_inventory(&self, path: &Path) -> Result<u8, InventoryError> {
        let store = Store::open_to_ask(path)?;
        let knowledge = match self.knowledge.read() {
            Ok(knowledge) => Arc::new(knowledge),
            Err(errors) => return Ok(complain(&errors)),
        };
        let mut text = String::new();
        let (name, port) = &self.host;
        for key in store.hosts_named(name)?.into_iter().filter(|key| port.is_none_or(|port| port == key.port)) {
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
            text.push_str("nothing is known of this host: no handshake with it was seen\n");
        }
        let mut told = 0_u32;
        for alert in store.alerts(None)? {
            let Ok(event) = serde_json::from_str::<Value>(&alert.json) else { continue };
            let names = event.pointer("/tlswatch/alert/hosts/names").and_then(Value::as_array);
            let about = |name: &Value| name.as_str().is_some_and(|name| self.is_host(name));
            if names.is_some_and(|names| names.iter().any(about)) {
                told += 1;
                let word = |pointer| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
                let line = format!("alert {} {}: {}", alert.id, word("/rule/id"), word("/message"));
                text.push_str(&printable(&line));
                text.push('\n');
            }
        }
        if told == 0 {
            text.push_str("no alert names it\n");
        }
        Ok(print(&text))
    }

    /// Whether `name:port` of an alert is this host.
    fn is_host(&self, name: &str) -> bool {
        let (wanted, wanted_port) = &self.host;
        let is_port = |port: &str| wanted_port.is_none_or(|wanted| port == wanted.to_string());
        name.rsplit_once(':').is_some_and(|(name, port)| name == wanted && is_port(port))
    }
}
