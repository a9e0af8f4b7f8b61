//! A progress bar with a rate, on a terminal; nothing anywhere else.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Bytes done of bytes in all.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    shown: u64,
}

/// The bar is told again after this many more bytes.
const STEP: u64 = 8 << 20;

impl Progress {
    /// A bar, when standard error is a terminal. Without a total it only counts.
    pub(crate) fn new(total: Option<u64>) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self { bar: None, shown: 0 };
        }
        let (bar, template) = match total {
            Some(total) => (ProgressBar::new(total), "{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}"),
            None => (ProgressBar::new_spinner(), "{spinner} {bytes} {bytes_per_sec}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar: Some(bar), shown: 0 }
    }

    /// A bar of buckets done of buckets in all.
    pub(crate) fn buckets() -> Self {
        let mut bar = Self::new(Some(0));
        if let (Some(bar), Ok(style)) = (&mut bar.bar, ProgressStyle::with_template("{bar:40} {pos}/{len} buckets {eta}")) {
            bar.set_style(style);
        }
        bar
    }

    /// This many buckets of all are done.
    pub(crate) fn step(&self, done: usize, all: usize) {
        if let Some(bar) = &self.bar {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        }
    }

    /// This many bytes are done.
    pub(crate) fn set(&mut self, done: u64) {
        if let Some(bar) = &self.bar
            && done.abs_diff(self.shown) >= STEP
        {
            bar.set_position(done);
            self.shown = done;
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
