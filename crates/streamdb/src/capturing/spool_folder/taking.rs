//! One file of a folder into the store.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use streamdb_capture::{CaptureFile, Error as CaptureError};
use streamdb_storage::{CaptureName, Claim, Event, FOLDER, Held, WriteFolder, WriterSummary, now};
use streamdb_types::Counters;

use super::asking::Asker;
use super::files::Shape;
use super::questions::{self, Opened};
use super::reading::{Cut, Reading};
use super::{AGAIN, AtWork, Found, INTERFACES, REMEMBERED, Unread};
use crate::commands::Error;
use crate::commands::storing::{self, Summary};
use crate::ingesting::nothing_in;
use crate::output::{complain, inform, printable};
use crate::worker::Worker;

/// How soon it is asked again whether somebody else is done with a capture.
const SOON: Duration = Duration::from_secs(1);
/// After so many frames it is looked up.
const AT_A_TIME: u32 = 4096;
/// After so many times a file that the system does not read to its end is taken as it is.
const TIMES: u32 = 3;

/// How the reading of a file ended.
enum End {
    /// With the file, or where it is damaged.
    Over(Option<CaptureError>),
    /// There was no time for more.
    Stopped,
}

impl AtWork {
    /// Stores a file, if it is still as it was.
    ///
    /// # Errors
    /// When nothing can be stored.
    pub(super) fn take(&mut self, at: usize, name: &Path, shape: Shape) -> Result<(), Error> {
        let Some(found) = self.found(at, name, shape) else { return Ok(()) };
        match self.open(&found) {
            None => Ok(()),
            Some(Ok(Some(opened))) => self.store_file(&found, opened),
            // It is another one by now, or none.
            Some(Ok(None)) => {
                self.later(&found, SOON);
                self.see(&found);
                Ok(())
            }
            Some(Err(error)) => {
                if error.kind() != ErrorKind::NotFound {
                    let text = format!("{}: could not be read: {error}; it is tried again each minute", found.shown);
                    self.say_once(found.path.clone(), text);
                }
                self.later(&found, AGAIN);
                self.see(&found);
                Ok(())
            }
        }
    }

    /// Looks whether the store has a file that may be not complete.
    pub(super) fn ask(&mut self, at: usize, name: &Path, shape: Shape) {
        let Some(found) = self.found(at, name, shape) else { return };
        match self.open(&found) {
            None => return,
            Some(Ok(Some(opened))) if self.is_known(&opened.fingerprint) => self.taken(&found),
            Some(Ok(None)) => self.see(&found),
            // What cannot be read is told when it is to be taken.
            _ => {}
        }
        if let Some(folder) = self.folders.all.get_mut(at) {
            folder.files.is_new(found.name.as_os_str(), shape);
        }
    }

    /// The file, open; nothing when it is another one by now, or none. `None` where its folder does not answer.
    fn open(&mut self, found: &Found) -> Option<io::Result<Option<Opened>>> {
        let (path, shape) = (found.path.clone(), found.shape);
        let (asker, holds) = (self.asker(found)?, self.asker(found)?.clone());
        let asked = asker.ask(move |pace| questions::open(&path, shape, &holds, pace));
        let opened = asked.wait(self.folders.patience(found.at));
        if opened.is_none() {
            self.folders.gave_up(found.at);
        }
        opened
    }

    fn asker(&self, found: &Found) -> Option<&Asker> {
        self.folders.all.get(found.at).map(|folder| &folder.asker)
    }

    pub(super) fn found(&self, at: usize, name: &Path, shape: Shape) -> Option<Found> {
        let path = self.folders.all.get(at)?.path.join(name);
        Some(Found { at, name: name.to_owned(), shown: printable(&path.to_string_lossy()), path, shape })
    }

    fn is_known(&self, fingerprint: &str) -> bool {
        let ledger = self.store.ledger().lock().unwrap_or_else(PoisonError::into_inner);
        ledger.facts().ingested(fingerprint).is_some()
    }

    pub(super) fn store_file(&mut self, found: &Found, opened: Opened) -> Result<(), Error> {
        let Some(asker) = self.asker(found).cloned() else { return Ok(()) };
        let Opened { file, same, fingerprint } = opened;
        let begun = Instant::now();
        let name = found.name.to_string_lossy().into_owned();
        let captures = [CaptureName { fingerprint: Some(fingerprint.clone()), name }];
        let store = Arc::clone(&self.store);
        let Some(claim) = store.claim(&captures) else {
            // Somebody hands over the same just now.
            self.later(found, SOON);
            return Ok(());
        };
        self.drop_other(found, &captures)?;
        if self.is_known(&fingerprint) {
            if self.removes {
                // By its fingerprint alone nobody can be sure that all of its bytes are.
                let text = format!("{}: it was stored before, so it is left where it is", found.shown);
                self.say_once(found.path.clone(), text);
            }
            self.taken(found);
            return Ok(());
        }
        let patience = self.folders.patience(found.at);
        let reading = Reading::new(&asker, file, patience);
        let cut = reading.cut();
        let mut capture = match CaptureFile::from_reader(&found.path, reading) {
            Ok(capture) => capture,
            Err(_) if self.was_cut(found, &cut, &captures) => return Ok(()),
            Err(error) => {
                complain(&printable(&error.to_string()));
                self.taken(found);
                return Ok(());
            }
        };
        let dropped = store.begin_ingest(FOLDER, &claim)?;
        if !dropped.is_empty() {
            inform(&format!(
                "{}: when this was stored before it was interrupted; what was left of it is dropped, and all is stored anew",
                found.shown
            ));
        }
        let left_out = self.left_out();
        self.folders.reading = Some(found.at);
        let end = self.read(&mut capture);
        self.folders.reading = None;
        let end = end?;
        // What was cut off here is no fault of the file.
        let was_cut = self.was_cut(found, &cut, &captures);
        let End::Over(damage) = end else { return self.end_worker(false) };
        if was_cut {
            return self.end_worker(false);
        }
        let Some(worker) = &mut self.worker else { return Ok(()) };
        let (counters, written) = worker.end_capture()?;
        storing::complain_of(&written.troubles);
        let counted = counters.since(&self.given);
        self.given = counters;
        self.last = Instant::now();
        if written.lost != Held::default() {
            return Err(Error::NotTaken(format!("{}: {}", found.shown, storing::lost(&written))));
        }
        match asker.ask(move |_| same.shape()).wait(patience) {
            Some(Ok(shape)) if shape == Some(found.shape) => {}
            Some(Ok(_)) => return self.changed_meanwhile(found, &claim),
            // Nobody knows whether somebody wrote to it.
            unknown => {
                let cut = unknown.and_then(Result::err).map_or(Cut::Silent, |error| Cut::Failed(error.to_string()));
                self.unread(found, &captures, &cut);
                return self.end_worker(false);
            }
        }
        let nothing = damage.as_ref().is_some_and(|error| nothing_in(error, &found.path));
        if !nothing {
            remember(&store, &captures, &counted, &written)?;
            let line = Summary::new(&counted, &written, None, begun.elapsed()).line();
            inform(&format!("stored {}: {line}", found.shown));
        }
        self.went_well();
        let is_whole = damage.is_none() && self.left_out() == left_out;
        if let Some(error) = damage {
            complain(&printable(&format!("{error}; the file stays where it is")));
        } else if !is_whole {
            complain(&format!(
                "{}: {} blocks of names or secrets are not stored: more than 16 MiB of them came before the first frame",
                found.shown,
                self.left_out() - left_out
            ));
        }
        self.taken(found);
        if self.removes && is_whole {
            self.remove(found, &asker);
        }
        if self.worker.as_ref().is_some_and(|worker| worker.known_interfaces() > INTERFACES) {
            self.end_worker(true)?;
        }
        Ok(())
    }

    /// Gives everything in the capture to the worker.
    fn read(&mut self, capture: &mut CaptureFile) -> Result<End, Error> {
        self.frames.begin_capture();
        loop {
            self.between();
            if self.waits.time_is_up() {
                return Ok(End::Stopped);
            }
            self.begin_worker()?;
            let Self { worker: Some(worker), frames, .. } = self else { return Ok(End::Stopped) };
            for _ in 0..AT_A_TIME {
                match capture.next() {
                    Ok(None) => return Ok(End::Over(None)),
                    Err(error) => return Ok(End::Over(Some(error))),
                    Ok(Some(item)) => frames.take(worker, &item)?,
                }
            }
            storing::complain_of(&worker.take_troubles());
        }
    }

    /// Whether the reading of a file was cut off, which is no fault of the file: it is tried again. What is stored of it stays until then.
    /// What the system does not read time and again is damaged.
    fn was_cut(&mut self, found: &Found, cut: &Mutex<Option<Cut>>, captures: &[CaptureName; 1]) -> bool {
        let Some(cut) = cut.lock().unwrap_or_else(PoisonError::into_inner).take() else { return false };
        if cut == Cut::Ends {
            return true;
        }
        self.unread(found, captures, &cut) < TIMES
    }

    /// A file could not be read to its end, which is said, and is tried again; how often the system failed with it.
    fn unread(&mut self, found: &Found, [capture]: &[CaptureName; 1], cut: &Cut) -> u32 {
        if self.unread.len() >= REMEMBERED {
            self.unread.clear();
        }
        let new = || Unread { capture: capture.clone(), failed: 0 };
        let unread = self.unread.entry(found.path.clone()).or_insert_with(new);
        let (why, again) = match cut {
            Cut::Failed(why) => {
                unread.failed += 1;
                (why.as_str(), AGAIN)
            }
            _ => {
                self.folders.gave_up(found.at);
                ("its folder does not answer", SOON)
            }
        };
        let failed = unread.failed;
        if failed < TIMES {
            let text =
                format!("{}: could not be read to its end: {why}; all of it is taken anew when it can be", found.shown);
            self.say_once(found.path.clone(), text);
        }
        self.later(found, again);
        failed
    }

    /// Drops what is stored of a file that could not be read to its end, if it is another one by now.
    fn drop_other(&mut self, found: &Found, [capture]: &[CaptureName; 1]) -> Result<(), Error> {
        let Some(unread) = self.unread.get(&found.path).filter(|unread| unread.capture != *capture) else {
            return Ok(());
        };
        let before = [unread.capture.clone()];
        if let Some(claim) = self.store.claim(&before) {
            self.store.begin_ingest(FOLDER, &claim)?;
        }
        self.unread.remove(&found.path);
        Ok(())
    }

    /// Somebody wrote to the file while it was read. What is stored of it may be of both, and goes; with it the connections that
    /// it left open.
    fn changed_meanwhile(&mut self, found: &Found, claim: &Claim<'_>) -> Result<(), Error> {
        complain(&format!(
            "{}: it was written to while it was read; what is stored of it is dropped, and it is taken when it is complete",
            found.shown
        ));
        self.end_worker(false)?;
        self.store.begin_ingest(FOLDER, claim)?;
        self.see(found);
        Ok(())
    }

    /// Removes a file that is in the store, if it is the one that is.
    fn remove(&mut self, found: &Found, asker: &Asker) {
        let (path, shape) = (found.path.clone(), found.shape);
        let removed = asker.ask(move |_| questions::remove(&path, shape)).wait(self.folders.patience(found.at));
        let text = match removed {
            Some(Ok(())) => return,
            Some(Err(error)) => format!("{}: it is stored, and could not be removed: {error}", found.shown),
            None => format!(
                "{}: it is stored, and is removed when its folder answers, if that is before the end",
                found.shown
            ),
        };
        self.say_once(found.path.clone(), text);
    }

    fn left_out(&self) -> u64 {
        self.worker.as_ref().map_or(0, Worker::left_out)
    }

    fn taken(&mut self, found: &Found) {
        if let Some(folder) = self.folders.all.get_mut(found.at) {
            folder.files.taken(found.name.as_os_str(), found.shape);
        }
        self.unread.remove(&found.path);
        self.folders.was_taken_from(found.at);
        self.folders.failed_last = false;
    }

    pub(super) fn later(&mut self, found: &Found, after: Duration) {
        let then = self.folders.now().since + after;
        if let Some(folder) = self.folders.all.get_mut(found.at) {
            folder.files.not_before(found.name.as_os_str(), then);
        }
        self.folders.failed_last = true;
    }

    fn see(&mut self, found: &Found) {
        if let Some(folder) = self.folders.all.get_mut(found.at) {
            folder.see(found.name.as_os_str());
        }
    }
}

/// Enters into the ledger that a file is in the store, so that it is recognised.
fn remember(
    store: &WriteFolder,
    captures: &[CaptureName],
    counted: &Counters,
    written: &WriterSummary,
) -> Result<(), Error> {
    let mut ledger = store.ledger().lock().unwrap_or_else(PoisonError::into_inner);
    for CaptureName { fingerprint, name } in captures {
        let Some(fingerprint) = fingerprint.clone() else { continue };
        let event = Event::Ingested {
            fingerprint,
            name: name.clone(),
            frames: counted.frames,
            first: written.first_bucket,
            last: written.last_bucket,
        };
        ledger.append(now(), &event)?;
    }
    Ok(())
}
