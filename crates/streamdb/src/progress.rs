//! What one sees of a long run on a terminal: a bar with a rate, or a line each second; nothing anywhere else.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use streamdb_types::Counters;

use crate::units;

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
            return Self::silent();
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

    /// None, whatever there is to see.
    pub(crate) const fn silent() -> Self {
        Self { bar: None, shown: 0 }
    }

    /// A bar of buckets done of buckets in all.
    pub(crate) fn buckets() -> Self {
        let mut bar = Self::new(Some(0));
        if let (Some(bar), Ok(style)) =
            (&mut bar.bar, ProgressStyle::with_template("{bar:40} {pos}/{len} buckets {eta}"))
        {
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

/// How a capture goes, each second.
pub(crate) struct Pulse {
    line: Option<ProgressBar>,
    last: Instant,
    counters: Counters,
}

impl Pulse {
    /// A line, when standard error is a terminal.
    pub(crate) fn new() -> Self {
        let line = std::io::stderr().is_terminal().then(|| {
            let line = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{msg}") {
                line.set_style(style);
            }
            line
        });
        Self { line, last: Instant::now(), counters: Counters::default() }
    }

    /// Shows the rates since the last second, when one is over; asks for the counters and the open connections then.
    pub(crate) fn show(&mut self, ask: impl FnOnce() -> (Counters, usize)) {
        let Some(line) = &self.line else { return };
        let elapsed = self.last.elapsed();
        if elapsed < Duration::from_secs(1) {
            return;
        }
        let (counters, open) = ask();
        line.set_message(pulse(&counters.since(&self.counters), &counters, open, elapsed));
        line.tick();
        self.last = Instant::now();
        self.counters = counters;
    }

    /// Takes the line away.
    pub(crate) fn finish(self) {
        if let Some(line) = self.line {
            line.finish_and_clear();
        }
    }
}

fn pulse(since: &Counters, all: &Counters, open: usize, time: Duration) -> String {
    let rate = |n: u64| (n as f64 / time.as_secs_f64()) as u64;
    format!(
        "{} frames/s, {}, {} dropped by the kernel, {} by the interface, {open} connections open",
        rate(since.frames),
        units::bits(rate(since.wire_bytes.saturating_mul(8))),
        all.dropped_kernel,
        all.dropped_interface,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_a_capture_in_one_line() {
        let since = Counters { frames: 3000, wire_bytes: 375_000, ..Counters::default() };
        let all = Counters { dropped_kernel: 7, dropped_interface: 1, ..since };
        let wanted = "2000 frames/s, 2.0 Mbit/s, 7 dropped by the kernel, 1 by the interface, 12 connections open";
        assert_eq!(pulse(&since, &all, 12, Duration::from_millis(1500)), wanted);
    }
}
