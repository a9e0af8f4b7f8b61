//! What a writer does with its spool: stores what was handed to it, beside whatever else it does.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use streamdb_capture::Merged;
use streamdb_storage::{Held, SPOOL, WriteFolder};

use crate::commands::Error;
use crate::commands::storing::{self, Summary};
use crate::ingesting::{Report, Source, Task};
use crate::output::{complain, inform};
use crate::progress::Progress;
use crate::spool::{Job, Outcome, Spool};

/// How often it is looked for new jobs.
const PAUSE: Duration = Duration::from_millis(200);
/// What could not be stored is tried again after this long.
const AGAIN: Duration = Duration::from_secs(60);

/// The thread, until it is told to end.
pub(crate) struct Spooling {
    ending: Arc<Ending>,
    thread: JoinHandle<()>,
}

/// How it is to end.
#[derive(Debug, Default)]
struct Ending {
    /// When all that is in the spool is stored.
    done: AtomicBool,
    /// Now.
    now: AtomicBool,
}

impl Spooling {
    /// Begins to look after the spool of a data folder.
    pub(crate) fn start(folder: &Arc<WriteFolder>) -> Result<Self, Error> {
        let spool = Spool::of(folder.path());
        let ending = Arc::new(Ending::default());
        let (told, folder) = (Arc::clone(&ending), Arc::clone(folder));
        let thread = thread::Builder::new().name("spool".into()).spawn(move || follow(&folder, &spool, &told));
        let thread = thread.map_err(|e| Error::Other(format!("could not start the thread of the spool: {e}")))?;
        Ok(Self { ending, thread })
    }

    /// A job that is being done is broken off, and waits for the next start.
    pub(crate) fn stop(self) {
        self.ending.now.store(true, Ordering::Release);
        self.finish();
    }

    /// What was handed over until now is stored first.
    pub(crate) fn finish(self) {
        self.ending.done.store(true, Ordering::Release);
        if self.thread.join().is_err() {
            complain("the thread that stores what was handed over died");
        }
    }
}

fn follow(folder: &Arc<WriteFolder>, spool: &Spool, ending: &Ending) {
    let mut trouble = String::new();
    loop {
        // Asked before: what was handed over until then is still stored.
        let last = ending.done.load(Ordering::Acquire);
        let result = spool.sweep().and_then(|()| take(folder, spool, &ending.now));
        let wait = match result {
            Ok(()) => PAUSE,
            Err(error) => {
                // Once, however often it is tried.
                let text = error.to_string();
                if text != trouble {
                    complain(&text);
                    trouble = text;
                }
                AGAIN
            }
        };
        if last {
            return;
        }
        let since = Instant::now();
        while since.elapsed() < wait && !ending.done.load(Ordering::Acquire) {
            thread::sleep(PAUSE);
        }
    }
}

/// Stores everything that is in the spool now, until it is told to stop.
///
/// # Errors
/// When something could not be stored that may be later: it stays, with all that comes after it.
fn take(folder: &Arc<WriteFolder>, spool: &Spool, stop: &AtomicBool) -> Result<(), Error> {
    for name in spool.jobs()? {
        if stop.load(Ordering::Acquire) {
            break;
        }
        let mut waits = true;
        let job = spool.read(&name);
        let stored = job.and_then(|(job, sources)| {
            waits = job.waits;
            store(folder, &job, &sources, stop)
        });
        let outcome = match stored {
            Ok(Some(outcome)) => outcome,
            Ok(None) => break,
            Err(error @ Error::Store(streamdb_storage::Error::Ingested { .. })) => refused(&error),
            // The disk may have room later, or what is wrong with the store may be put right: that is no fault of the captures.
            Err(error @ (Error::Store(_) | Error::NotTaken(_))) => return Err(error),
            Err(error) => refused(&error),
        };
        if waits {
            spool.done(&name, &outcome)?;
        } else {
            spool.done_for_nobody(&name, &outcome)?;
        }
        outcome.errors.iter().for_each(|error| complain(error));
    }
    Ok(())
}

/// A job of which nothing is stored.
fn refused(why: &Error) -> Outcome {
    Outcome { report: None, summary: None, errors: vec![why.to_string()] }
}

/// Stores one job; nothing when it was told to stop before its end.
fn store(
    folder: &Arc<WriteFolder>,
    job: &Job,
    sources: &[Source],
    stop: &AtomicBool,
) -> Result<Option<Outcome>, Error> {
    let begun = Instant::now();
    let paths: Vec<PathBuf> = sources.iter().map(|source| source.path.clone()).collect();
    let merged = Merged::open(&paths)?;
    let task = Task { worker: SPOOL, sources, settings: &job.settings, again: job.again, stop };
    let stored = task.store(folder, merged, Progress::silent())?;
    if stored.stopped {
        return Ok(None);
    }
    let names = job.names.join(", ");
    if stored.written.lost != Held::default() {
        return Err(Error::NotTaken(format!(
            "{names}: {}; it is tried again each minute",
            storing::lost(&stored.written)
        )));
    }
    let summary = Summary::new(&stored.counters, &stored.written, None, begun.elapsed());
    inform(&format!("stored {names} from the spool: {}", summary.line()));
    let report = Report { files: sources.len(), summary: &summary, errors: &stored.errors };
    let report = serde_json::to_value(report).map_err(|e| Error::Other(format!("{names}: {e}")))?;
    Ok(Some(Outcome { report: Some(report), summary: Some(summary.line()), errors: stored.errors }))
}
