//! What a capture says of itself each second, for other processes to show: see `Status` of the store.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use streamdb_storage::{Status, StatusWriter};
use streamdb_types::Counters;

use crate::capturing::STANDS_STILL;
use crate::output::complain;

/// How often it is said.
const EACH: Duration = Duration::from_secs(1);

/// How a worker goes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Going {
    /// All since it began.
    pub(crate) counters: Counters,
    /// Connections in its table.
    pub(crate) open: usize,
    /// Bytes that it holds out of order.
    pub(crate) held: usize,
    /// Of one that takes files: those that are to be taken.
    pub(crate) waiting: Option<usize>,
    /// And the folders from which it cannot take any.
    pub(crate) away: usize,
    /// Of those, the ones that do not answer any more.
    pub(crate) silent: usize,
}

/// How a worker went a short while ago, as it said itself, and when it did.
#[derive(Debug)]
pub(crate) struct Seen(Mutex<(Going, Instant)>);

impl Default for Seen {
    fn default() -> Self {
        Self(Mutex::new((Going::default(), Instant::now())))
    }
}

impl Seen {
    /// What it said last.
    pub(crate) fn last(&self) -> Going {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// How long it has said nothing.
    pub(crate) fn silent(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.elapsed()
    }

    /// Says that it goes on, and no more than that.
    pub(crate) fn goes_on(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = Instant::now();
    }

    /// Says from how many folders nothing can be taken, and how many of them do not answer, and no more than that.
    pub(crate) fn say_away(&self, away: usize, silent: usize) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (last.0.away, last.0.silent) = (away, silent);
    }

    /// One that has said nothing for so long.
    #[cfg(test)]
    pub(crate) fn silent_for(time: Duration) -> Self {
        Self(Mutex::new((Going::default(), Instant::now().checked_sub(time).unwrap())))
    }

    /// Says how it goes.
    pub(crate) fn say(&self, now: Going) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (now, Instant::now());
    }
}

/// A worker of whom it is told how it goes.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// Its number in the store.
    pub(crate) number: u16,
    /// The interface by which frames come to it.
    pub(crate) interface: String,
    /// What it says.
    pub(crate) seen: Arc<Seen>,
    /// Whether frames come by that interface, where that can be told.
    pub(crate) up: Option<Arc<AtomicBool>>,
}

/// The thread that tells it, until it is told to end.
pub(crate) struct Reporting {
    ending: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Reporting {
    /// Begins to tell how these workers go.
    pub(crate) fn start(writer: StatusWriter, workers: Vec<Told>) -> std::io::Result<Self> {
        let ending = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ending);
        let thread = thread::Builder::new().name("status".into()).spawn(move || {
            let mut failing = false;
            while !end.load(Ordering::Acquire) {
                say(&writer, &workers, &mut failing);
                thread::park_timeout(EACH);
            }
            say(&writer, &workers, &mut failing);
        })?;
        Ok(Self { ending, thread })
    }

    /// All is told once more.
    pub(crate) fn finish(self) {
        self.ending.store(true, Ordering::Release);
        self.thread.thread().unpark();
        // What it tells is not what the capture is for.
        _ = self.thread.join();
    }
}

fn say(writer: &StatusWriter, workers: &[Told], failing: &mut bool) {
    let mut status = Status::default();
    for Told { number, interface, seen, up } in workers {
        let going = seen.last();
        let mut set = |name: &str, value: u64| status.set(&format!("worker.{number}.{name}"), value);
        Counters::NAMES.iter().zip(going.counters.values()).for_each(|(name, value)| set(name, value));
        set("open", going.open as u64);
        set("held", going.held as u64);
        if let Some(waiting) = going.waiting {
            set("waiting", waiting as u64);
            set("away", going.away as u64);
        }
        let silent = seen.silent();
        if silent >= STANDS_STILL {
            set("silent", silent.as_secs());
        }
        if let Some(up) = up {
            set("up", up.load(Ordering::Relaxed).into());
        }
        status.set(&format!("worker.{number}.interface"), interface);
    }
    match writer.write(status.values) {
        Ok(()) => *failing = false,
        Err(error) if !*failing => {
            complain(&format!("{error}; others cannot see how the capture goes until that works"));
            *failing = true;
        }
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamdb_storage::{DiskVolume, Teller};
    use streamdb_testkit::TestFolder;

    #[test]
    fn what_workers_say_last_can_be_read() {
        let folder = TestFolder::new("reporting");
        let writer = StatusWriter::open(&DiskVolume, folder.path(), Teller::Capture).unwrap();
        let told = |number, up: Option<bool>| {
            let up = up.map(|up| Arc::new(AtomicBool::new(up)));
            Told { number, interface: "eth0".into(), seen: Arc::default(), up }
        };
        let workers = vec![told(0, Some(false)), told(3, None)];
        let going = |frames, waiting| {
            let counters = Counters { frames, ..Counters::default() };
            Going { counters, open: 3, held: 4, waiting, away: 2, silent: 1 }
        };
        let reporting = Reporting::start(writer, workers.clone()).unwrap();
        workers[0].seen.say(going(5, None));
        workers[1].seen.say(going(7, Some(6)));
        reporting.finish();
        let status = Status::read(folder.path(), Teller::Capture).unwrap().unwrap();
        let numbers = ["worker.0.frames", "worker.3.frames", "worker.3.open", "worker.3.held"];
        assert_eq!(numbers.map(|name| status.number(name)), [5, 7, 3, 4]);
        assert_eq!(status.text("worker.3.interface"), Some("eth0"));
        assert_eq!((status.text("worker.0.up"), status.text("worker.3.up")), (Some("0"), None));
        assert_eq!((status.text("worker.0.waiting"), status.text("worker.3.waiting")), (None, Some("6")));
        assert_eq!((status.text("worker.0.away"), status.text("worker.3.away")), (None, Some("2")));
    }
}
