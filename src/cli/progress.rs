//! The progress bar of what takes long, on a terminal only.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::capture::Progress;

/// A bar with rate and remaining time, or nothing.
pub(crate) struct Bar {
    bar: Option<ProgressBar>,
    known: bool,
    /// Where the end is known.
    style: &'static str,
}

impl Bar {
    /// Draws to standard error when `wanted`.
    pub(crate) fn new(wanted: bool) -> Self {
        Self::styled(
            wanted,
            ["{bytes} read, {bytes_per_sec}", "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} left"],
        )
    }

    /// Of work that is no reading.
    pub(crate) fn of_work(wanted: bool) -> Self {
        Self::styled(wanted, ["", "{bar:30} {percent}% {eta} left"])
    }

    fn styled(wanted: bool, [unknown, known]: [&'static str; 2]) -> Self {
        let bar = wanted.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(4));
            if let Ok(style) = ProgressStyle::with_template(unknown) {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, known: false, style: known }
    }

    /// Shows how far it got.
    pub(crate) fn show(&mut self, progress: Progress) {
        let Some(bar) = &self.bar else { return };
        if let Some(total) = progress.total
            && !self.known
        {
            self.known = true;
            bar.set_length(total);
            if let Ok(style) = ProgressStyle::with_template(self.style) {
                bar.set_style(style);
            }
        }
        bar.set_position(progress.read);
    }

    /// Takes the bar away.
    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
