//! `tlswatch explain`: an alert in words.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use crate::cli::judgement::cannot_read;
use crate::cli::{complain, exit, print, tell};
use crate::inventory::{Store, StoredAlert};
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
        Ok(alerts.iter().filter_map(with_total).collect())
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

/// The event as it was last told, with what all runs together have counted.
fn with_total(alert: &StoredAlert) -> Option<Value> {
    let mut event: Value = serde_json::from_str(&alert.json).ok()?;
    let told = event.pointer_mut("/tlswatch/alert").and_then(Value::as_object_mut)?;
    told.insert("count".to_owned(), alert.count.into());
    told.insert("first_seen".to_owned(), alert.first.rfc3339().to_string().into());
    told.insert("last_seen".to_owned(), alert.last.rfc3339().to_string().into());
    Some(event)
}
