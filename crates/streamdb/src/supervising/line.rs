//! The line from a process to the one that looks after it: its standard input, a socket, into which it writes a byte now and then.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// It does what it is there for; also again, after it read its configuration.
const READY: u8 = b'r';
/// It goes on doing it. One that never says so is not expected to: to take a stream apart takes as long as it takes.
const ALIVE: u8 = b'a';
/// How often it says so.
const OFTEN: Duration = Duration::from_secs(5);

/// Whether anybody listens.
static LISTENED_TO: AtomicBool = AtomicBool::new(false);

/// From here on somebody listens.
pub(super) fn begin() {
    LISTENED_TO.store(true, Ordering::Relaxed);
}

/// This process does what it is there for, with the configuration as it is. Without anybody who looks after it, nothing is said.
pub(crate) fn ready() {
    write(READY);
}

/// The loop of this process turns. It may be called as often as it does.
pub(crate) fn alive() {
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    /// In milliseconds since the first call.
    static NEXT: AtomicU64 = AtomicU64::new(0);
    if !LISTENED_TO.load(Ordering::Relaxed) {
        return;
    }
    let now = millis(BEGUN.get_or_init(Instant::now).elapsed());
    if now >= NEXT.load(Ordering::Relaxed) {
        NEXT.store(now + millis(OFTEN), Ordering::Relaxed);
        write(ALIVE);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 2)
}

fn write(byte: u8) {
    if LISTENED_TO.load(Ordering::Relaxed) {
        // It waits for nothing: where there is no room, much has been said that nobody has heard yet.
        _ = rustix::io::write(io::stdin(), &[byte]);
    }
}

/// The other end.
#[derive(Debug)]
pub(super) struct Line(pub(super) UnixStream);

/// What was heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) ready: bool,
    pub(super) alive: bool,
    /// Nobody is at the other end any more.
    pub(super) over: bool,
}

impl Line {
    /// A line, and what the process gets as its standard input.
    pub(super) fn new() -> io::Result<(Self, Stdio)> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        Ok((Self(ours), OwnedFd::from(theirs).into()))
    }

    /// What came since the last time.
    pub(super) fn hear(&mut self) -> Heard {
        let (mut heard, mut buffer) = (Heard::default(), [0; 64]);
        // One that writes without end keeps nobody here.
        for _ in 0..16 {
            let Ok(n) = self.0.read(&mut buffer) else { break };
            if n == 0 {
                heard.over = true;
                break;
            }
            for byte in buffer.iter().take(n) {
                heard.ready |= *byte == READY;
                heard.alive |= *byte == ALIVE;
            }
        }
        heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_is_written_is_heard_once() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut line = Line(ours);
        assert_eq!(line.hear(), Heard::default());
        theirs.write_all(&[ALIVE; 100]).unwrap();
        assert_eq!(line.hear(), Heard { alive: true, ..Heard::default() });
        theirs.write_all(&[ALIVE, READY, ALIVE]).unwrap();
        assert_eq!(line.hear(), Heard { alive: true, ready: true, over: false });
        assert_eq!(line.hear(), Heard::default());
        drop(theirs);
        assert_eq!(line.hear(), Heard { over: true, ..Heard::default() });
    }
}
