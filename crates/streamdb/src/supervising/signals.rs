//! What came by signal: a byte for each.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use crate::commands::Error;

pub(super) struct Signals {
    ending: UnixStream,
    hanging_up: UnixStream,
    dying: UnixStream,
    ends: usize,
}

impl Signals {
    pub(super) fn new() -> Result<Self, Error> {
        let all = || {
            Ok(Self {
                ending: bytes_of(&[SIGINT, SIGTERM])?,
                hanging_up: bytes_of(&[SIGHUP])?,
                dying: bytes_of(&[SIGCHLD])?,
                ends: 0,
            })
        };
        all().map_err(|e: std::io::Error| Error::Other(format!("could not set up the signals: {e}")))
    }

    /// How many times it was said to end.
    pub(super) fn ends(&mut self) -> usize {
        self.ends += taken(&mut self.ending);
        self.ends
    }

    pub(super) fn hung_up(&mut self) -> bool {
        taken(&mut self.hanging_up) > 0
    }

    /// Waits for a signal, or for something on one of the lines, and no longer than this.
    pub(super) fn wait<'a>(&'a self, longest: Duration, lines: impl Iterator<Item = &'a UnixStream>) {
        let timeout = Timespec {
            tv_sec: i64::try_from(longest.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: longest.subsec_nanos().into(),
        };
        let all = [&self.ending, &self.hanging_up, &self.dying].into_iter().chain(lines);
        let mut all: Vec<_> = all.map(|bytes| PollFd::new(bytes, PollFlags::IN)).collect();
        // One that interrupts it left its byte.
        _ = poll(&mut all, Some(&timeout));
        drop(all);
        taken(&mut &self.dying);
    }
}

/// Gets a byte for each of these signals.
fn bytes_of(signals: &[i32]) -> std::io::Result<UnixStream> {
    let (bytes, writer) = UnixStream::pair()?;
    bytes.set_nonblocking(true)?;
    for signal in signals {
        pipe::register(*signal, writer.try_clone()?)?;
    }
    Ok(bytes)
}

/// How many bytes came.
fn taken(bytes: &mut impl Read) -> usize {
    let (mut all, mut buffer) = (0, [0; 64]);
    while let Ok(n @ 1..) = bytes.read(&mut buffer) {
        all += n;
    }
    all
}
