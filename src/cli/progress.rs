//! The progress bar of `read`, on a terminal only.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::capture::Progress;

/// A bar with rate and remaining time, or nothing.
pub(crate) struct Bar {
    bar: Option<ProgressBar>,
    known: bool,
}

impl Bar {
    /// Draws to standard error when `wanted`.
    pub(crate) fn new(wanted: bool) -> Self {
        let bar = wanted.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(4));
            if let Ok(style) = ProgressStyle::with_template("{bytes} read, {bytes_per_sec}") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, known: false }
    }

    /// Shows how far it got.
    pub(crate) fn show(&mut self, progress: Progress) {
        let Some(bar) = &self.bar else { return };
        if let Some(total) = progress.total
            && !self.known
        {
            self.known = true;
            bar.set_length(total);
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} left")
            {
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
