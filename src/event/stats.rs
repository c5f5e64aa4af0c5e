//! The `tlswatch.stats` event: all counters, at an interval or at the end.

use crate::stats::Stats;
use crate::time::Timestamp;

use super::context::Context;
use super::id::EventId;
use super::json::Writer;
use super::tls::{event_head, observer};
use super::{Dataset, ECS_VERSION};

/// Counters and the time they cover.
#[derive(Clone, Copy, Debug)]
pub struct StatsView<'a> {
    /// The counters.
    pub stats: &'a Stats,
    /// Packet time of the first packet.
    pub start: Timestamp,
    /// Packet time of the last packet.
    pub end: Timestamp,
    /// Number of the event in its run, from 0.
    pub sequence: u64,
}

/// Appends the event of all counters as one line.
pub fn append_stats(out: &mut Vec<u8>, view: &StatsView<'_>, context: &Context) {
    let id = EventId::new(&mut Vec::new(), &context.name, Dataset::Stats)
        .part(&view.start.nanos().to_be_bytes())
        .part(&view.end.nanos().to_be_bytes())
        .part(&view.sequence.to_be_bytes())
        .finish();
    // Sorted names put every object's members side by side.
    let mut counters: Vec<_> = view.stats.entries().collect();
    counters.sort_unstable();
    Writer::line(out, |w| {
        w.append("@timestamp", |out| view.end.rfc3339().append_to(out));
        w.object("ecs", |w| w.text("version", ECS_VERSION));
        w.object("event", |w| {
            event_head(w, Dataset::Stats, "stats");
            w.raw("category", r#"["host"]"#);
            w.raw("type", r#"["info"]"#);
            w.append("start", |out| view.start.rfc3339().append_to(out));
            w.append("end", |out| view.end.rfc3339().append_to(out));
            if let Ok(duration) = u64::try_from(view.end.since(view.start).nanos()) {
                w.number("duration", duration);
            }
            w.number("sequence", view.sequence);
            w.hex_lower("id", &id);
        });
        observer(w, context, None);
        w.object("tlswatch", |w| w.object("stats", |w| nested(w, &counters, 0)));
    });
}

/// Writes counters whose names share their first `skip` bytes.
fn nested(w: &mut Writer<'_>, mut counters: &[(&str, u64)], skip: usize) {
    while let Some(((name, value), rest)) = counters.split_first() {
        let tail = name.get(skip..).unwrap_or_default();
        match tail.split_once('.') {
            None => {
                w.number(tail, *value);
                counters = rest;
            }
            Some((group, _)) => {
                let shared = skip + group.len() + 1;
                let prefix = name.get(..shared);
                let members = counters.iter().take_while(|(name, _)| name.get(..shared) == prefix).count();
                let (inside, after) = counters.split_at(members);
                w.object(group, |w| nested(w, inside, shared));
                counters = after;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_counter_is_where_its_name_says() {
        let stats = Stats { tls_version_1_2: 7, ..Stats::default() };
        let view = StatsView { stats: &stats, start: Timestamp(1), end: Timestamp(5), sequence: 3 };
        let mut out = Vec::new();
        append_stats(&mut out, &view, &Context::default());
        let event: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(event["event"]["duration"], 4);
        for (name, value) in stats.entries() {
            let pointer = format!("/tlswatch/stats/{}", name.replace('.', "/"));
            assert_eq!(event.pointer(&pointer), Some(&Value::from(value)), "{name}");
        }
        // serde_json drops members of the same name; a line must not have them.
        let text = String::from_utf8(out).unwrap();
        for group in ["\"tls\":", "\"capture\":", "\"flow\":"] {
            assert_eq!(text.matches(group).count(), 1, "{group}");
        }
    }

    #[test]
    fn time_that_goes_back_gives_no_duration() {
        let view = StatsView { stats: &Stats::default(), start: Timestamp(9), end: Timestamp(5), sequence: 0 };
        let mut out = Vec::new();
        append_stats(&mut out, &view, &Context::default());
        assert!(!String::from_utf8(out).unwrap().contains("duration"));
    }
}
