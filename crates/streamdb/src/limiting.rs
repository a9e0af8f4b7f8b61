//! What a process may take that takes connections apart: so much memory, and so long for one connection; and who derives the processor
//! when nobody else wants it, as who captures has it first. A process that is over a limit ends; the next one gives up the connection that it ended in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getpriority_process, getrlimit, setpriority_process, setrlimit};
use streamdb_storage::{Store, Work};

use crate::commands::Error;
use crate::output::complain;

/// The lowest priority there is; what the thread reads and writes comes last by that, too.
const LOWEST: i32 = 19;
/// That of the threads that capture.
const FIRST: i32 = -10;
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
/// What is said when not all was done that was to be done.
pub(crate) const ASKED: &str = "it was asked to end before all was done; the next one goes on where this one ended";
/// How the process ends when a connection took too long (`EX_SOFTWARE` of sysexits.h).
const ENDS: i32 = 70;

/// This thread, and those that it begins, come after all others.
pub(crate) fn come_last() {
    // Of Linux' priorities each thread has its own. Without it all goes as well, but not as soon.
    _ = setpriority_process(None, LOWEST);
}

/// This thread, and those that it begins, come before others, where that is allowed, and nobody has said otherwise (`nice`): what
/// they do not do in time is lost.
pub(crate) fn come_first() {
    if getpriority_process(None) == Ok(0) {
        _ = setpriority_process(None, FIRST);
    }
}

/// This thread, and those that it begins, come before nobody any more.
pub(crate) fn come_as_others() {
    if getpriority_process(None) == Ok(FIRST) {
        _ = setpriority_process(None, 0);
    }
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
    /// Begins to watch: each connection may take so much of the processor's time, and as much again for each 64 MiB. From `stop` on
    /// nobody is to blame for how the process ends, and it does so soon, with this status.
    pub(crate) fn start(store: Arc<Store>, limit: Limit, stop: Option<(Arc<AtomicBool>, i32)>) -> Result<Self, Error> {
        let ending = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ending);
        let watch = move || {
            // What was in work when it was last looked, and what its thread had used when it was first seen.
            let mut seen: Vec<(Work, Option<Duration>)> = Vec::new();
            let mut asked = None;
            while !told.load(Ordering::Acquire) {
                // On a full disk there is none at first.
                let suspects = store.suspects();
                if let Some((_, status)) = stop.as_ref().filter(|(stop, _)| stop.load(Ordering::Acquire)) {
                    // Whoever asked may end it before what is in work comes to its end, which may take hours.
                    _ = suspects.as_ref().map(|suspects| suspects.acquit());
                    if asked.get_or_insert_with(Instant::now).elapsed() > DRAIN {
                        if *status != 0 {
                            complain(ASKED);
                        }
                        std::process::exit(*status);
                    }
                }
                let works = suspects.as_ref().map(|suspects| suspects.works()).unwrap_or_default();
                let first = |work: Work| {
                    let known = seen.iter().find(|(known, _)| known.number == work.number);
                    (work, known.map_or_else(|| used(&work), |(_, before)| *before))
                };
                seen = works.into_iter().map(first).collect();
                for (work, before) in &seen {
                    let took = used(work).zip(*before).map(|(now, before)| now.saturating_sub(before));
                    if let Some(why) = limit.exceeded(work, took) {
                        let key = work.key;
                        // Without its word the next process finds out by trying.
                        _ = suspects.as_ref().map(|suspects| suspects.accuse(key, &why));
                        complain(&format!("connection {}-{}: {why}; this process ends", key.bucket, key.number));
                        std::process::exit(ENDS);
                    }
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

/// How long a connection may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    /// Of the processor's time, and as much again for each 64 MiB.
    pub(crate) most: Duration,
    /// Whether it may wait, too, for as long as it likes: for whom it is handed to.
    pub(crate) waits: bool,
}

impl Limit {
    /// Why a connection may not go on, if it may not: by the processor's time that it took, if that is known, and by how long ago it
    /// began.
    fn exceeded(self, work: &Work, used: Option<Duration>) -> Option<String> {
        let times = u32::try_from(1 + work.length / MORE).unwrap_or(u32::MAX);
        let most = self.most.saturating_mul(times);
        let waited = !self.waits && work.since.elapsed() > most.saturating_mul(WAITING);
        if waited || used.is_some_and(|used| used > most) {
            return Some(format!("taking it apart took longer than {} s", most.as_secs()));
        }
        None
    }
}

/// What the system says that a work's thread took of the processor: the first number of that file is in nanoseconds.
fn used(work: &Work) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/self/task/{}/schedstat", work.thread)).ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use streamdb_storage::{DiskVolume, Stage, Suspects, WriteFolder};
    use streamdb_testkit::TestFolder;
    use streamdb_types::ConnKey;

    #[test]
    fn long_streams_have_longer_and_the_system_says_what_a_thread_used() {
        let folder = TestFolder::new("limiting");
        drop(WriteFolder::open(folder.path(), Box::new(DiskVolume)).unwrap());
        let store = Store::open(folder.path()).unwrap();
        let (suspects, _) = Suspects::of_server(&store);
        let in_work = suspects.begin(ConnKey::default(), Stage::ALL, 5).unwrap();
        let short = suspects.works()[0];
        let (mut long, mut longest) = (short, short);
        (long.length, longest.length) = (MORE, u64::MAX);
        let second = Duration::from_secs(1);
        let limit = Limit { most: second, waits: false };
        assert_eq!(limit.exceeded(&short, Some(second)), None);
        let why = limit.exceeded(&short, Some(second * 2));
        assert_eq!(why.as_deref(), Some("taking it apart took longer than 1 s"));
        assert_eq!(limit.exceeded(&long, Some(second * 2)), None);
        assert_eq!(limit.exceeded(&longest, Some(second * 1000)), None);
        assert_eq!(limit.exceeded(&short, None), None);
        let none = Limit { most: Duration::ZERO, waits: false };
        assert!(none.exceeded(&short, None).is_some());
        assert_eq!(Limit { waits: true, ..none }.exceeded(&short, None), None);
        // A kernel without schedstat does not say it.
        if Path::new("/proc/self/schedstat").exists() {
            let before = used(&short).unwrap();
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(50) {
                std::hint::spin_loop();
            }
            assert!(used(&short).unwrap() > before);
        }
        in_work.done();
    }
}
