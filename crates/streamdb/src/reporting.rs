//! What a capture says of itself each second, for other processes to show: see `Status` of the store.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use streamdb_storage::{Status, StatusWriter};
use streamdb_types::Counters;

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
}

/// The workers by their number: the interface of each, and how it goes.
type Workers = Arc<Mutex<BTreeMap<u16, (String, Going)>>>;

/// The thread that says it, until it is told to end.
pub(crate) struct Reporting {
    workers: Workers,
    ending: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Reporting {
    /// Begins to say how the workers go.
    pub(crate) fn start(writer: StatusWriter) -> std::io::Result<Self> {
        let (workers, ending) = (Workers::default(), Arc::new(AtomicBool::new(false)));
        let (told, end) = (Arc::clone(&workers), Arc::clone(&ending));
        let thread = thread::Builder::new().name("status".into()).spawn(move || {
            let mut failing = false;
            while !end.load(Ordering::Acquire) {
                say(&writer, &told, &mut failing);
                thread::park_timeout(EACH);
            }
            say(&writer, &told, &mut failing);
        })?;
        Ok(Self { workers, ending, thread })
    }

    /// What this worker is to say how it goes with.
    pub(crate) fn worker(&self, number: u16, interface: &str) -> Reporter {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.insert(number, (interface.to_owned(), Going::default()));
        Reporter { workers: Arc::clone(&self.workers), number, next: Instant::now() }
    }

    /// All is said once more.
    pub(crate) fn finish(self) {
        self.ending.store(true, Ordering::Release);
        self.thread.thread().unpark();
        // What it says is not what the capture is for.
        _ = self.thread.join();
    }
}

fn say(writer: &StatusWriter, workers: &Workers, failing: &mut bool) {
    let workers = workers.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut status = Status::default();
    for (number, (interface, going)) in &workers {
        let mut set = |name: &str, value: u64| status.set(&format!("worker.{number}.{name}"), value);
        Counters::NAMES.iter().zip(going.counters.values()).for_each(|(name, value)| set(name, value));
        set("open", going.open as u64);
        set("held", going.held as u64);
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

/// A worker's side.
pub(crate) struct Reporter {
    workers: Workers,
    number: u16,
    next: Instant,
}

impl Reporter {
    /// Says how it goes, when a second is over since the last time.
    pub(crate) fn tell(&mut self, going: impl FnOnce() -> Going) {
        if Instant::now() >= self.next {
            self.next = Instant::now() + EACH;
            self.tell_now(going());
        }
    }

    /// Says it now.
    pub(crate) fn tell_now(&self, going: Going) {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = workers.get_mut(&self.number) {
            *known = going;
        }
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
        let reporting = Reporting::start(writer).unwrap();
        let mut first = reporting.worker(0, "eth0");
        let second = reporting.worker(1, "eth0");
        let going = |frames| Going { counters: Counters { frames, ..Counters::default() }, open: 3, held: 4 };
        first.tell(|| going(5));
        first.tell(|| panic!("a second is not over"));
        second.tell_now(going(7));
        reporting.finish();
        let status = Status::read(folder.path(), Teller::Capture).unwrap().unwrap();
        let numbers = ["worker.0.frames", "worker.1.frames", "worker.1.open", "worker.1.held"];
        assert_eq!(numbers.map(|name| status.number(name)), [5, 7, 3, 4]);
        assert_eq!(status.text("worker.1.interface"), Some("eth0"));
    }
}
