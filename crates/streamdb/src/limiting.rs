//! What derivation may take in a process of its own: the processor when nobody else wants it, so much memory, and so long for one
//! connection. A process that is over a limit ends; the next one gives up the connection that it ended in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};
use streamdb_derive::{Tally, Work};
use streamdb_storage::{Accuser, DiskVolume, Store};

use crate::commands::Error;
use crate::output::complain;

/// The lowest priority there is; what the thread reads and writes comes last by that, too.
const LOWEST: i32 = 19;
/// Bytes that a process needs for its threads and its own work, whatever its limit.
const ROOM: u64 = 256 << 20;
/// How often it is looked how long a connection takes.
const LOOK: Duration = Duration::from_millis(250);
/// Bytes of a stream for which there is as much time again.
const MORE: u64 = 64 << 20;
/// With nothing to do for the processor a connection may wait this many times as long, for a disk that is busy.
const WAITING: u32 = 10;
/// How long what is in work may go on when the process is asked to end.
const DRAIN: Duration = Duration::from_secs(2);
/// How the process ends when a connection took too long (`EX_SOFTWARE` of sysexits.h).
const ENDS: i32 = 70;

/// This thread, and those that it begins, come after all others.
pub(crate) fn come_last() {
    // Of Linux' priorities each thread has its own. Without it all goes as well, but not as soon.
    _ = setpriority_process(None, LOWEST);
}

/// From now on the process gets no more memory than this for itself; files that it maps are not counted. It is left [`ROOM`] at
/// least beside what it has reserved by now.
pub(crate) fn bound_memory(bytes: u64) -> Result<(), Error> {
    let known = getrlimit(Resource::Data);
    // The allocator reserves a gibibyte before the first line of this program runs, and all of it counts.
    let bytes = bytes.max(reserved().unwrap_or(0).saturating_add(ROOM));
    let current = known.maximum.map_or(bytes, |most| most.min(bytes));
    setrlimit(Resource::Data, Rlimit { current: Some(current), maximum: known.maximum })
        .map_err(|error| Error::Other(format!("could not set the limit of memory: {error}")))
}

/// Bytes that the process has reserved for itself.
fn reserved() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmData:")?.trim().strip_suffix(" kB"))?;
    kibibytes.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// A thread that ends the process when a connection takes too long, or was begun when the process was asked to end, and goes on.
pub(crate) struct Watchdog {
    ending: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Watchdog {
    /// Begins to watch the thread that calls this, of which this is the tally: each connection may take so much of the processor's
    /// time, and as much again for each 64 MiB.
    pub(crate) fn start(
        store: &Store,
        tally: Arc<Tally>,
        most: Duration,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, Error> {
        let accuser = Accuser::open(store, &DiskVolume)?;
        let used = Clock(format!("/proc/self/task/{}/schedstat", rustix::thread::gettid().as_raw_pid()));
        let ending = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ending);
        let watch = move || {
            // The work that was seen last, and what the thread had used when it was first seen.
            let mut seen: Option<(Work, Option<Duration>)> = None;
            let mut asked = None;
            while !told.load(Ordering::Acquire) {
                if stop.load(Ordering::Acquire) {
                    // Whoever asked may end it before what is in work comes to its end, which may take hours.
                    _ = accuser.acquit();
                    if asked.get_or_insert_with(Instant::now).elapsed() > DRAIN {
                        std::process::exit(0);
                    }
                }
                let work = tally.work();
                match (work, seen) {
                    (Some(work), Some((known, before))) if work == known => {
                        let took = used.now().zip(before).map(|(now, before)| now.saturating_sub(before));
                        if let Some(why) = too_long(&work, took, most) {
                            let key = work.key;
                            // Without its word the next process finds out by trying.
                            _ = accuser.accuse(key, &why);
                            complain(&format!("connection {}-{}: {why}; this process ends", key.bucket, key.number));
                            std::process::exit(ENDS);
                        }
                    }
                    (work, _) => seen = work.map(|work| (work, used.now())),
                }
                thread::park_timeout(LOOK);
            }
        };
        let thread = thread::Builder::new().name("watchdog".into()).spawn(watch);
        let thread = thread.map_err(|e| Error::Other(format!("could not start the thread of the watchdog: {e}")))?;
        Ok(Self { ending, thread })
    }

    pub(crate) fn stop(self) {
        self.ending.store(true, Ordering::Release);
        self.thread.thread().unpark();
        _ = self.thread.join();
    }
}

/// Why a connection may not go on, if it may not: by the processor's time that it took, if that is known, and by how long ago it
/// began.
fn too_long(work: &Work, used: Option<Duration>, most: Duration) -> Option<String> {
    let times = u32::try_from(1 + work.length / MORE).unwrap_or(u32::MAX);
    let most = most.saturating_mul(times);
    let since = work.since.elapsed();
    if used.is_some_and(|used| used > most) || since > most.saturating_mul(WAITING) {
        return Some(format!("taking it apart took longer than {} s", most.as_secs()));
    }
    None
}

/// The file in which the system says what a thread took of the processor: its first number is in nanoseconds.
struct Clock(String);

impl Clock {
    fn now(&self) -> Option<Duration> {
        let text = std::fs::read_to_string(&self.0).ok()?;
        text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamdb_types::ConnKey;

    #[test]
    fn long_streams_have_longer() {
        let work = |length| Work { key: ConnKey::default(), length, since: Instant::now() };
        let second = Duration::from_secs(1);
        assert_eq!(too_long(&work(5), Some(second), second), None);
        let why = too_long(&work(5), Some(second * 2), second);
        assert_eq!(why.as_deref(), Some("taking it apart took longer than 1 s"));
        assert_eq!(too_long(&work(MORE), Some(second * 2), second), None);
        assert_eq!(too_long(&work(u64::MAX), Some(second * 1000), second), None);
        assert_eq!(too_long(&work(5), None, second), None);
        assert!(too_long(&work(5), None, Duration::ZERO).is_some());
    }

    #[test]
    fn the_system_says_what_a_thread_used() {
        let clock = Clock(format!("/proc/self/task/{}/schedstat", rustix::thread::gettid().as_raw_pid()));
        let Some(before) = clock.now() else { return };
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(50) {
            std::hint::spin_loop();
        }
        assert!(clock.now().unwrap() > before);
    }
}
