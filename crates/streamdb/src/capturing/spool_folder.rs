//! A worker for captures that appear as files in folders. It lives on from one file to the next, so that connections do: whoever
//! captures in turns, as `tcpdump -G` does, cuts them in two. Each file has buckets of its own all the same, so that what is stored
//! of one that was interrupted can go as a whole.

mod asking;
mod away;
mod files;
mod folders;
mod questions;
mod reading;
mod taking;
#[cfg(test)]
pub(super) mod tests;
mod watching;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use streamdb_storage::{CaptureName, FOLDER, WriteFolder, Writer, WriterConfig};
use streamdb_types::Counters;

use self::asking::Waits;
pub(crate) use self::away::Away;
use self::files::{Next, Shape};
pub(crate) use self::folders::{Folders, can_be_taken_from};
use self::watching::Watching;
use super::given::Given;
use super::{Change, Done, Event, spawn};
use crate::commands::{Error, storing};
use crate::limiting::come_as_others;
use crate::output::{complain, inform, printable};
use crate::reporting::{Going, Seen};
use crate::settings::Settings;
use crate::worker::{Worker, WorkerConfig};

/// What it is called among the interfaces.
pub(crate) const NAME: &str = "spool";
/// How often it is looked for what is heard.
const PAUSE: Duration = Duration::from_millis(200);
/// How often it is told how things stand.
const SECOND: Duration = Duration::from_secs(1);
/// What could not be stored is tried again after this long.
const AGAIN: Duration = Duration::from_secs(60);
/// When no file came for so long, no connection goes on any more.
const IDLE: Duration = Duration::from_secs(5 * 60);
/// When it is told to end, the file at hand may go on for so long.
const GRACE: Duration = Duration::from_secs(4);
/// So many files are remembered that could not be taken as they should; of more it may be said again.
const REMEMBERED: usize = 10_000;
/// The most interfaces that are told apart while connections go on.
const INTERFACES: usize = 1024;

/// The worker's thread.
pub(crate) struct SpoolFolders {
    thread: JoinHandle<Result<Done, Error>>,
    ending: Arc<AtomicBool>,
    changes: Sender<Change>,
    seen: Arc<Seen>,
}

impl SpoolFolders {
    /// Begins to store what appears in these folders, and removes it then if that is wanted.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub(super) fn start(
        folders: Folders,
        removes: bool,
        store: &Arc<WriteFolder>,
        settings: &Settings,
        said: Sender<Event>,
    ) -> Result<Self, Error> {
        let (at_work, changes) = AtWork::new(folders, removes, store, settings)?;
        let (seen, ending) = (Arc::clone(&at_work.waits.seen), Arc::clone(&at_work.waits.ending));
        let work = move || {
            // Files wait for it.
            come_as_others();
            at_work.run()
        };
        let thread = spawn("capture spool", said, work)?;
        Ok(Self { thread, ending, changes, seen })
    }

    /// It is to go on by this.
    pub(super) fn change(&self, change: Change) {
        // Who has ended needs none.
        _ = self.changes.send(change);
    }

    pub(crate) fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.seen)
    }

    /// Whether a folder does not answer that did at the start: then a thread waits for it, and may keep this process from ending.
    pub(super) fn has_silent_ones(&self) -> bool {
        self.seen.last().silent > 0
    }

    /// It is to end, with the file at hand if that does not take long.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Stores the file at hand, if that does not take long, ends all streams and seals what is stored.
    ///
    /// # Errors
    /// When the worker could not go on.
    pub(crate) fn finish(self) -> Result<Done, Error> {
        self.end();
        let died = |_| Err(Error::Other("the thread that takes captures from folders died".into()));
        self.thread.join().unwrap_or_else(died)
    }
}

struct AtWork {
    folders: Watching,
    removes: bool,
    store: Arc<WriteFolder>,
    config: WorkerConfig,
    writer: WriterConfig,
    frames: Given,
    /// `None` before the first file, and when nothing came for a while.
    worker: Option<Worker>,
    /// What those before it did.
    done: Done,
    /// What it counted until the end of the last file.
    given: Counters,
    /// When a file was taken last.
    last: Instant,
    /// What was said of files that could not be read, so that it is said once.
    said: BTreeMap<PathBuf, String>,
    /// Files that could not be read to their end.
    unread: BTreeMap<PathBuf, Unread>,
    /// What was said of why nothing could be stored.
    trouble: String,
    /// When it was told how things stand.
    told: Instant,
    changed: Receiver<Change>,
    waits: Waits,
}

impl AtWork {
    /// # Errors
    /// When the system has no more threads.
    fn new(
        folders: Folders,
        removes: bool,
        store: &Arc<WriteFolder>,
        settings: &Settings,
    ) -> Result<(Self, Sender<Change>), Error> {
        let (changes, changed) = unbounded();
        let waits = Waits { away: folders.away().len(), ..Waits::default() };
        let at_work = Self {
            folders: Watching::new(folders, &waits)?,
            removes,
            store: Arc::clone(store),
            // Files are all there, and nobody waits for their first seconds.
            config: WorkerConfig { publish_at_ticks: false, ..settings.worker() },
            writer: settings.writer(),
            frames: Given::new(settings.filter.clone()),
            worker: None,
            done: Done::default(),
            given: Counters::default(),
            last: Instant::now(),
            said: BTreeMap::new(),
            unread: BTreeMap::new(),
            trouble: String::new(),
            told: Instant::now(),
            changed,
            waits,
        };
        Ok((at_work, changes))
    }

    fn run(mut self) -> Result<Done, Error> {
        while !self.waits.is_ending() {
            self.between();
            match self.folders.next() {
                Some((at, name, Next::Take(shape))) => {
                    if let Err(error) = self.take(at, &name, shape) {
                        self.failed(&error);
                    }
                    continue;
                }
                Some((at, name, Next::Ask(shape))) => {
                    self.ask(at, &name, shape);
                    continue;
                }
                None => {}
            }
            if self.worker.is_some() && self.last.elapsed() >= IDLE {
                self.end_worker(true)?;
            }
            thread::sleep(PAUSE);
        }
        self.end_worker(true)?;
        self.waits.seen.say(Going { counters: self.done.counters, ..Going::default() });
        Ok(self.done)
    }

    /// What is to be done now and then: hear, change, and tell.
    fn between(&mut self) {
        self.folders.hear();
        while let Ok(Change { filter, cutoffs, taken }) = self.changed.try_recv() {
            if let Some(filter) = filter {
                self.frames.set_filter(filter);
            }
            self.config.cutoffs.clone_from(&cutoffs);
            let held = self.worker.as_mut().map_or(Ok(()), |worker| worker.set_cutoffs(cutoffs));
            // Who does not wait any more needs no answer.
            _ = taken.send(held.is_ok());
            if let Err(error) = held {
                complain(&printable(&error.to_string()));
            }
        }
        if self.told.elapsed() >= SECOND {
            self.told = Instant::now();
            let (waiting, (away, silent)) = (Some(self.folders.waiting()), self.waits.away());
            let mut going = Going { counters: self.done.counters, waiting, away, silent, ..Going::default() };
            if let Some(worker) = &self.worker {
                going.counters.add(&worker.counters());
                (going.open, going.held) = (worker.open_connections(), worker.held_bytes());
            }
            self.waits.seen.say(going);
        }
    }

    /// Begins a worker, if there is none.
    fn begin_worker(&mut self) -> Result<(), Error> {
        if self.worker.is_none() {
            self.given = Counters::default();
            let writer = Writer::new(Arc::clone(&self.store), FOLDER, self.writer.clone())?;
            self.worker = Some(Worker::new(writer, self.config.clone()));
        }
        Ok(())
    }

    /// All streams end. Where the last file was stored, their ends belong to none; else they go with what is stored of it.
    ///
    /// # Errors
    /// When the store thread is gone.
    fn end_worker(&mut self, is_between: bool) -> Result<(), Error> {
        let Some(worker) = self.worker.take() else { return Ok(()) };
        if is_between && worker.open_connections() > 0 {
            // Without a name, as nobody can ask for this again: so it is never taken for an interrupted one.
            let ends = [CaptureName { fingerprint: None, name: "the ends of streams".into() }];
            if let Some(claim) = self.store.claim(&ends)
                && let Err(error) = self.store.begin_ingest(FOLDER, &claim)
            {
                complain(&error.to_string());
            }
        }
        let (counters, written) = worker.finish()?;
        storing::complain_of(&written.troubles);
        self.done.counters.add(&counters);
        self.done.written.add(&written);
        Ok(())
    }

    /// Nothing can be stored, which is no fault of the file: it is tried again after a while, with connections that begin anew.
    fn failed(&mut self, error: &Error) {
        let text = error.to_string();
        if text != self.trouble {
            complain(&format!(
                "{text}; the captures in the folders stay where they are, and it is tried again each {} s",
                AGAIN.as_secs()
            ));
            self.trouble = text;
        }
        if let Err(error) = self.end_worker(false) {
            complain(&error.to_string());
        }
        let since = Instant::now();
        while since.elapsed() < AGAIN && !self.waits.is_ending() {
            thread::sleep(PAUSE);
            self.between();
        }
    }

    /// A file was stored.
    fn went_well(&mut self) {
        if !self.trouble.is_empty() {
            self.trouble.clear();
            inform("captures from the folders are stored again");
        }
    }

    /// Says something of a file, once; it may be tried again often.
    fn say_once(&mut self, path: PathBuf, text: String) {
        if self.said.get(&path) == Some(&text) {
            return;
        }
        if self.said.len() >= REMEMBERED {
            self.said.clear();
        }
        complain(&text);
        self.said.insert(path, text);
    }
}

/// A file that could not be read to its end.
struct Unread {
    /// What is stored of it.
    capture: CaptureName,
    /// How often the system failed to read it.
    failed: u32,
}

/// A file in one of the folders.
#[derive(Clone, Debug)]
struct Found {
    /// Which folder.
    at: usize,
    name: PathBuf,
    path: PathBuf,
    /// How messages call it.
    shown: String,
    shape: Shape,
}
