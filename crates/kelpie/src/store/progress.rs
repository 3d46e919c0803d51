//! How far a long work has come, on the standard error.

use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use kelpie_storage::backup::{Progress, Report, Step};

/// A bar that a person sees and a script does not.
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// Of bytes whose number is not known.
    pub(super) fn counting(what: &'static str) -> Self {
        let bar = ProgressBar::new_spinner().with_message(what);
        let style = ProgressStyle::with_template("{msg} {bytes} ({bytes_per_sec})");
        Self(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner())))
    }

    /// More bytes are done.
    pub(super) fn add(&self, bytes: usize) {
        self.0.inc(bytes as u64);
    }

    /// Takes the bar away.
    pub(super) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

/// A bar per step of a restore.
pub(super) fn report() -> Report {
    let style = ProgressStyle::with_template("{msg} {bytes} of {total_bytes} ({eta} left)");
    let bar = ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    Arc::new(move |progress: Progress| {
        bar.set_message(match progress.step {
            Step::Verify => "checking",
            Step::Write => "writing",
        });
        bar.set_length(progress.total);
        bar.set_position(progress.done);
        if progress.done == progress.total {
            bar.finish_and_clear();
            bar.reset();
        }
    })
}
