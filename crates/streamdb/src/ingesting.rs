//! Capture files into the store: what `ingest` does itself, and what a writer does with what it finds in its spool.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;

use serde::Serialize;
use streamdb_capture::{Error as CaptureError, Filter, Item, Merged, fingerprint};
use streamdb_storage::{CaptureName, Event, Facts, Held, WriteFolder, Writer, WriterSummary, now};
use streamdb_types::Counters;

use crate::commands::Error;
use crate::commands::storing::{self, Summary};
use crate::output::{complain, printable};
use crate::progress::Progress;
use crate::settings::Settings;
use crate::worker::Worker;

/// How often it is asked whether somebody else is done with a capture.
const PAUSE: Duration = Duration::from_millis(200);

/// One capture file, or a pipe.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What messages and the ledger call it.
    pub(crate) name: String,
    /// What tells its content from any other; `None` of a pipe.
    fingerprint: Option<String>,
}

impl Source {
    /// The file at `path`, which users know as `name`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn new(path: PathBuf, name: String) -> Result<Self, Error> {
        let print =
            |path: &PathBuf| fingerprint(path).map_err(|e| Error::Other(format!("{name}: could not read it: {e}")));
        let fingerprint = path.is_file().then(|| print(&path)).transpose()?;
        Ok(Self { path, name, fingerprint })
    }

    fn capture_name(&self) -> CaptureName {
        let path = Path::new(&self.name);
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        CaptureName { fingerprint: self.fingerprint.clone(), name }
    }
}

/// An error when the ledger says that one of the captures was ingested before.
pub(crate) fn not_yet_ingested(facts: &Facts, sources: &[Source]) -> Result<(), Error> {
    for source in sources {
        if let Some(entry) = source.fingerprint.as_ref().and_then(|print| facts.ingested(print)) {
            return Err(streamdb_storage::Error::Ingested { name: source.name.clone(), time: entry.time }.into());
        }
    }
    Ok(())
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) counters: Counters,
    pub(crate) written: WriterSummary,
    /// What is not as it should be, a sentence each.
    pub(crate) errors: Vec<String>,
    /// It was told to stop before the end of the captures.
    pub(crate) stopped: bool,
}

impl Stored {
    /// It was told to stop before it began.
    fn stopped() -> Self {
        let (counters, written) = (Counters::default(), WriterSummary::default());
        Self { counters, written, errors: Vec::new(), stopped: true }
    }
}

/// What `--json` prints of it.
#[derive(Serialize)]
pub(crate) struct Report<'a> {
    /// Captures.
    pub(crate) files: usize,
    #[serde(flatten)]
    pub(crate) summary: &'a Summary,
    pub(crate) errors: &'a [String],
}

/// What is to be stored, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task<'a> {
    /// Whose buckets it comes into.
    pub(crate) worker: u16,
    pub(crate) sources: &'a [Source],
    pub(crate) settings: &'a Settings,
    /// Whether they may have been ingested before.
    pub(crate) again: bool,
    pub(crate) stop: &'a AtomicBool,
}

impl Task<'_> {
    /// Stores the captures, with their frames merged by time, once nobody else in this process is at one of them. What an
    /// interrupted ingest of them left is dropped.
    ///
    /// # Errors
    /// When one of them was ingested before, a filter cannot be used, or the ledger cannot be written. What is wrong inside a
    /// capture is among the [`errors`](Stored::errors).
    pub(crate) fn store(
        self,
        folder: &Arc<WriteFolder>,
        mut merged: Merged,
        mut progress: Progress,
    ) -> Result<Stored, Error> {
        let Self { worker, sources, settings, again, stop } = self;
        let names: Vec<CaptureName> = sources.iter().map(Source::capture_name).collect();
        // The other worker of this process may be at one of them.
        let claim = loop {
            match folder.claim(&names) {
                Some(claim) => break claim,
                None if stop.load(Ordering::Relaxed) => return Ok(Stored::stopped()),
                None => thread::sleep(PAUSE),
            }
        };
        if !again {
            let ledger = folder.ledger().lock().unwrap_or_else(PoisonError::into_inner);
            not_yet_ingested(ledger.facts(), sources)?;
        }
        let dropped = folder.begin_ingest(worker, &claim)?;
        if let (Some(first), Some(last)) = (dropped.first(), dropped.last()) {
            let buckets = if first == last { format!("bucket {first}") } else { format!("buckets {first} to {last}") };
            complain(&format!(
                "an ingest of this was interrupted; what it left in {buckets} is dropped, and all is stored anew"
            ));
        }
        let mut config = settings.worker();
        // A pipe may be a capture that goes on; a file is all there, and nobody waits for its first seconds.
        config.publish_at_ticks = !sources.iter().all(|source| source.path.is_file());
        let writer = Writer::new(Arc::clone(folder), worker, settings.writer())?;
        let mut worker = Worker::new(writer, config);
        let (damage, stopped) = feed(&mut merged, &mut worker, settings.filter.as_deref(), stop, &mut progress)?;
        progress.finish();
        let left_out = worker.left_out();
        let (counters, written) = worker.finish()?;
        storing::complain_of(&written.troubles);
        let mut errors: Vec<String> = damage.iter().map(|error| printable(&named(error, sources))).collect();
        if left_out > 0 {
            errors.push(format!(
            "{left_out} blocks of names or secrets are not stored: more than 16 MiB of them came before the first frame"
        ));
        }
        if written.lost != Held::default() {
            errors.push(format!(
                "{}; then ingest the captures again, which replaces what is stored of them",
                storing::lost(&written)
            ));
        } else if !stopped {
            let whole = sources.iter().filter(|source| !damage.iter().any(|error| nothing_in(error, &source.path)));
            remember(folder, whole, &counters, &written)?;
        }
        Ok(Stored { counters, written, errors, stopped })
    }
}

/// The sentence, with the capture's own name where it lies somewhere else.
fn named(error: &CaptureError, sources: &[Source]) -> String {
    let text = error.to_string();
    sources.iter().fold(text, |text, source| text.replace(&*source.path.to_string_lossy(), &source.name))
}

/// Whether the error says that no frame of this file could be read: nothing of it is in the store.
pub(crate) fn nothing_in(error: &CaptureError, file: &Path) -> bool {
    use CaptureError as E;
    match error {
        E::Open { path, .. } | E::Empty { path, .. } | E::NotCapture { path, .. } => path == file,
        E::Read { path, frames, .. }
        | E::Truncated { path, frames, .. }
        | E::Damaged { path, frames, .. }
        | E::Decompress { path, frames, .. } => path == file && *frames == 0,
        E::Filter { .. } => false,
    }
}

/// Gives everything in the captures to the worker, until it is told to stop; then that is said, too. Damage in one of them is
/// kept for the end; the others go on.
fn feed(
    merged: &mut Merged,
    worker: &mut Worker,
    filter: Option<&str>,
    stop: &AtomicBool,
    progress: &mut Progress,
) -> Result<(Vec<CaptureError>, bool), Error> {
    let mut filters: Vec<Option<Filter>> = Vec::new();
    let mut errors = Vec::new();
    let mut count = 0u32;
    loop {
        count = count.wrapping_add(1);
        if count.is_multiple_of(4096) {
            progress.set(merged.progress().0);
            if stop.load(Ordering::Relaxed) {
                return Ok((errors, true));
            }
        }
        match merged.next() {
            Ok(None) => return Ok((errors, false)),
            Err(error) => errors.push(error),
            Ok(Some(Item::Frame(frame))) => {
                let filter = filters.get(frame.interface as usize).and_then(Option::as_ref);
                if filter.is_none_or(|filter| filter.matches(frame.data)) {
                    worker.frame(&frame)?;
                    storing::complain_of(&worker.take_troubles());
                } else {
                    worker.filtered();
                }
            }
            Ok(Some(Item::Interface(_, interface))) => {
                worker.interface(interface)?;
                filters.push(filter.map(|expression| Filter::compile(expression, interface.link_type)).transpose()?);
            }
            Ok(Some(Item::Secrets { kind, data })) => worker.attachment(Some(kind), data)?,
            Ok(Some(Item::Names(data))) => worker.attachment(None, data)?,
            Ok(Some(Item::Drops(drops))) => worker.dropped(drops.by_kernel, drops.by_interface, drops.between)?,
        }
    }
}

/// Enters into the ledger what was ingested, so that it is recognised.
fn remember<'s>(
    folder: &WriteFolder,
    sources: impl Iterator<Item = &'s Source>,
    counters: &Counters,
    written: &WriterSummary,
) -> Result<(), Error> {
    let mut ledger = folder.ledger().lock().unwrap_or_else(PoisonError::into_inner);
    for source in sources {
        let CaptureName { fingerprint: Some(fingerprint), name } = source.capture_name() else { continue };
        let event = Event::Ingested {
            fingerprint,
            name,
            frames: counters.frames,
            first: written.first_bucket,
            last: written.last_bucket,
        };
        ledger.append(now(), &event)?;
    }
    Ok(())
}
