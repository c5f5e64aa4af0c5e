//! The summary as a sink: it sees the same events as the files do.

use std::sync::{Arc, Mutex, PoisonError};

use crate::event::display_filter;
use crate::report::{AlertRow, NAMED, Summary};
use crate::sink::{About, Event, Sink, SinkError};

/// Collects events for the summary; its text is there after the last event.
pub(crate) struct SummarySink {
    summary: Summary,
    text: SummaryText,
}

/// Where the text appears at the end of the run.
#[derive(Clone, Default)]
pub(crate) struct SummaryText(Arc<Mutex<String>>);

impl SummarySink {
    /// Its text goes to `text`, for a terminal of so many columns.
    pub(crate) fn new(text: &SummaryText, columns: usize) -> Self {
        Self { summary: Summary::new(columns), text: text.clone() }
    }
}

impl SummaryText {
    /// The text, empty before the end of the run.
    pub(crate) fn take(&self) -> String {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sink for SummarySink {
    fn write(&mut self, event: &Event<'_>) -> Result<(), SinkError> {
        match event.about {
            About::Handshake(observation) => self.summary.observe(observation),
            About::Stats(stats) => {
                *self.text.0.lock().unwrap_or_else(PoisonError::into_inner) = self.summary.finish(stats);
            }
            About::Alert(view) => self.summary.alert(AlertRow {
                id: view.alert.id.to_string(),
                severity: view.alert.severity.number(),
                rule: view.alert.head.rule.id.to_owned(),
                message: view.alert.head.message.clone(),
                count: view.alert.count,
                times: [view.alert.first_seen, view.alert.last_seen],
                about: [
                    (
                        view.alert.hosts.iter().take(NAMED).map(ToString::to_string).collect(),
                        view.alert.hosts.len(),
                        view.alert.hosts.is_full(),
                    ),
                    (
                        view.alert.clients.iter().take(NAMED).map(ToString::to_string).collect(),
                        view.alert.clients.len(),
                        view.alert.clients.is_full(),
                    ),
                ],
                display_filter: display_filter(view.alert),
            }),
            About::Certificate(_) => {}
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}
