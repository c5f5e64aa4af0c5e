//! `tlswatch explain`: an alert in words.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use crate::cli::judgement::cannot_read;
use crate::cli::{complain, exit, print, tell};
use crate::detect::catalogue::rule;
use crate::inventory::{InventoryError, Named, Store, StoredAlert};
use crate::report::explain::{alert_id, explain};
use crate::text::printable;

/// Longest line of a file of events that is looked at: no event of ours is longer.
const LINE: u64 = 16 << 20;

#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// Id of the alert (tlswatch.alert.id), or the first digits of it
    #[arg(value_name = "ALERT", value_parser = digits)]
    alert: String,

    /// Look in this inventory
    #[arg(short = 'i', long, value_name = "FILE", env = "TLSWATCH_INVENTORY")]
    inventory: Option<PathBuf>,

    /// Look in this file of events (NDJSON) instead, or - for standard input; the last event of the alert counts
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
}

fn digits(text: &str) -> Result<String, String> {
    if let Some(rule) = rule(text) {
        return Err(format!("a rule and no alert: `tlswatch rules show {}` explains it", rule.id));
    }
    let text = text.to_ascii_lowercase();
    let good = !text.is_empty() && text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if good { Ok(text) } else { Err("write up to 32 hexadecimal digits".to_owned()) }
}

impl ExplainArguments {
    pub(crate) fn run(&self) -> u8 {
        let found = match (&self.events, &self.inventory) {
            (Some(events), _) => self.in_events(events),
            (None, Some(inventory)) => self.in_inventory(inventory),
            (None, None) => return complain("where? --inventory FILE or --events FILE"),
        };
        match found.as_deref() {
            Ok([]) => {
                tell("no such alert");
                exit::FAILURE
            }
            Ok([event]) => print(&explain(event)),
            Ok(_) => complain("several alerts begin with these digits"),
            Err(message) => {
                tell(message);
                exit::FAILURE
            }
        }
    }

    fn in_inventory(&self, path: &Path) -> Result<Vec<Value>, String> {
        let failed = |error: &dyn std::fmt::Display| printable(&format!("{}: {error}", path.display())).into_owned();
        let store = Store::open_to_ask(path).map_err(|error| failed(&error))?;
        let alerts = store.alerts(Some(&self.alert)).map_err(|error| failed(&error))?;
        let events = alerts.iter().filter_map(|alert| with_total(&store, alert).transpose());
        events.collect::<Result<_, _>>().map_err(|error| failed(&error))
    }

    fn in_events(&self, path: &Path) -> Result<Vec<Value>, String> {
        let failed = |error: std::io::Error| cannot_read(path, &error);
        let mut input: Box<dyn BufRead> = if path == Path::new("-") {
            Box::new(BufReader::new(std::io::stdin()))
        } else {
            Box::new(BufReader::new(File::open(path).map_err(failed)?))
        };
        let mut found: Vec<Value> = Vec::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            if input.by_ref().take(LINE).read_until(b'\n', &mut line).map_err(failed)? == 0 {
                return Ok(found);
            }
            let Ok(event) = serde_json::from_slice::<Value>(&line) else { continue };
            let Some(id) = alert_id(&event).filter(|id| id.starts_with(&self.alert)) else { continue };
            let several = found.len() > 1;
            match found.iter_mut().find(|other| alert_id(other) == Some(id)) {
                Some(earlier) => *earlier = event,
                // Two are enough to say that there are several.
                None if !several => found.push(event),
                None => {}
            }
        }
    }
}

/// The event as it was last told, with what all runs together have counted; `None` if it is none.
fn with_total(store: &Store, alert: &StoredAlert) -> Result<Option<Value>, InventoryError> {
    let Ok(mut event) = serde_json::from_str::<Value>(&alert.json) else { return Ok(None) };
    let Some(told) = event.pointer_mut("/tlswatch/alert").and_then(Value::as_object_mut) else { return Ok(None) };
    told.insert("count".to_owned(), alert.count.into());
    told.insert("first_seen".to_owned(), alert.first.rfc3339().to_string().into());
    told.insert("last_seen".to_owned(), alert.last.rfc3339().to_string().into());
    told.insert("rules".to_owned(), store.about(&alert.id, Named::Rule)?.0.into());
    for (named, member, list) in [(Named::Host, "hosts", "names"), (Named::Client, "clients", "ip")] {
        let (all, full) = store.about(&alert.id, named)?;
        let Some(one) = told.get_mut(member).and_then(Value::as_object_mut) else { continue };
        let last = one.get("count").and_then(Value::as_u64).unwrap_or(0);
        let count = u64::try_from(all.len()).unwrap_or(u64::MAX);
        if full {
            one.insert("more".to_owned(), true.into());
        }
        one.insert("count".to_owned(), count.max(last).into());
        one.insert(list.to_owned(), all.into());
    }
    Ok(Some(event))
}
