//! The queue's folder: `record`, and one file for each content that a target still needs.
//!
//! ```text
//! queue/
//!   record              what happened, line by line; the truth
//!   content/<sha256>    copies, whole and durable before a line names them
//!   incoming/           copies that are being made
//!   lock                held for a moment by whoever changes anything
//!   sender              held by the one process that sends
//! ```
//!
//! A crash at any point is harmless: a copy without a line was never acknowledged, and goes; a line that was not written
//! whole is cut off; a content that was sent without a line that says so is sent once more.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use streamdb_types::{Oid, Timestamp};

use crate::error::Error;
use crate::hash::ContentHash;
use crate::incoming::{Incoming, sweep};
use crate::job::{Job, Jobs, State, Target};
use crate::record::{Entry, Event, MAX_LINE};

/// The queue of a data folder. Any number of processes may have it open.
pub struct Queue {
    folder: PathBuf,
    known: Mutex<Known>,
}

/// The record as far as it was read.
struct Known {
    record: File,
    jobs: Jobs,
    /// Bytes of whole lines.
    read: u64,
    /// Lines that could not be read.
    damaged: u64,
}

/// What is put into the queue, besides its bytes.
#[derive(Clone, Debug)]
pub struct Item {
    /// The object.
    pub oid: Oid,
    /// Whether it is whole.
    pub complete: bool,
    /// What files of its kind usually end in, without the dot.
    pub extension: String,
}

/// What came of putting something into the queue. Displayed, it is a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The object.
    pub oid: Oid,
    /// Its content.
    pub hash: ContentHash,
    /// Bytes of it.
    pub size: u64,
    /// Whether the object is whole.
    pub complete: bool,
    /// What became of it, target by target.
    pub placed: Vec<(Target, Placed)>,
}

/// What became of it at one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It is in the queue, durable.
    Queued,
    /// It was there before.
    Known(State),
}

impl Receipt {
    /// Whether something new is in the queue.
    pub fn is_new(&self) -> bool {
        self.placed.iter().any(|(_, placed)| *placed == Placed::Queued)
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.oid)?;
        for (n, (target, placed)) in self.placed.iter().enumerate() {
            let separator = if n == 0 { "" } else { "; " };
            match placed {
                Placed::Queued => write!(f, "{separator}queued for the {target}")?,
                Placed::Known(State::Waits { .. }) => write!(f, "{separator}waits for the {target} already")?,
                Placed::Known(State::Sent { at, .. }) => {
                    write!(f, "{separator}the {target} got it at {at}, and gets nothing twice")?;
                }
                Placed::Known(State::Failed { at, why }) => {
                    write!(f, "{separator}the {target} was given up at {at} ({why})")?;
                }
            }
        }
        write!(f, "; {} bytes, sha256 {}", self.size, self.hash)?;
        if self.complete { Ok(()) } else { f.write_str("; it is incomplete, with zeros for what is missing") }
    }
}

/// Held by the one process that sends.
pub(crate) struct SenderLock(#[expect(dead_code, reason = "held, not used: the lock goes with the file")] File);

impl Queue {
    /// Opens the queue below a data folder, and makes it if it is not there.
    ///
    /// # Errors
    /// When the system refuses something.
    pub fn open(data: &Path) -> Result<Self, Error> {
        let folder = data.join("queue");
        let mut new = false;
        for path in [&folder, &folder.join("content"), &folder.join("incoming")] {
            match DirBuilder::new().mode(0o700).create(path) {
                Ok(()) => new = true,
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::io(path, "make the folder")(e)),
            }
        }
        let path = folder.join("record");
        let record = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path);
        let record = record.map_err(Error::io(&path, "open the record"))?;
        if new {
            [data, &folder].into_iter().try_for_each(sync_dir)?;
        }
        let known = Known { record, jobs: Jobs::default(), read: 0, damaged: 0 };
        Ok(Self { folder, known: Mutex::new(known) })
    }

    /// Whether a data folder has a queue.
    pub fn is_there(data: &Path) -> bool {
        data.join("queue/record").exists()
    }

    /// Begins a copy.
    ///
    /// # Errors
    /// When the system refuses something.
    pub fn begin(&self) -> Result<Incoming, Error> {
        self.locked(|_| Incoming::begin(&self.folder.join("incoming")))
    }

    /// Takes a copy in for these targets, and returns when it is durable. What a target has got, or is to get, is not taken in
    /// for it again, unless `again` asks for it.
    ///
    /// # Errors
    /// When the copies in the queue would exceed `room`, or when the system refuses something; then nothing was taken in.
    pub fn put(
        &self,
        mut incoming: Incoming,
        item: &Item,
        targets: &[Target],
        again: bool,
        room: u64,
    ) -> Result<Receipt, Error> {
        let hash = incoming.seal()?;
        let size = incoming.size();
        self.locked(|known| {
            let mut placed = Vec::new();
            let mut entries = Vec::new();
            let time = now();
            for target in targets {
                let state = known.jobs.get(hash, *target).map(|job| job.state.clone());
                let free = match &state {
                    None => true,
                    Some(State::Waits { .. }) => false,
                    Some(State::Sent { .. } | State::Failed { .. }) => again,
                };
                if let Some(state) = state.filter(|_| !free) {
                    placed.push((*target, Placed::Known(state)));
                    continue;
                }
                let Item { oid, complete, extension } = item;
                let extension = extension.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
                let event = Event::Queued { oid: *oid, size, complete: *complete, extension };
                entries.push(Entry { time, hash, target: *target, event });
                placed.push((*target, Placed::Queued));
            }
            if !entries.is_empty() {
                let held = known.jobs.held();
                if !known.jobs.needs(hash) && held.saturating_add(size) > room {
                    return Err(Error::Full { held, size, room });
                }
                incoming.place(&self.content(hash))?;
                sync_dir(&self.folder.join("content"))?;
                self.append(known, entries)?;
            }
            Ok(Receipt { oid: item.oid, hash, size, complete: item.complete, placed })
        })
    }

    /// All that was ever taken in, but for what was dropped, oldest first; and how many lines of the record are damaged.
    ///
    /// # Errors
    /// When the system refuses something.
    pub fn jobs(&self) -> Result<(Vec<Job>, u64), Error> {
        self.locked(|known| {
            let mut jobs: Vec<Job> = known.jobs.iter().cloned().collect();
            jobs.sort_by_key(|job| (job.queued, job.hash, job.target));
            Ok((jobs, known.damaged))
        })
    }

    /// Forgets what failed, and removes its copies. Says how many there were.
    ///
    /// # Errors
    /// When the system refuses something.
    pub fn drop_failed(&self) -> Result<usize, Error> {
        self.locked(|known| {
            let failed = known.jobs.iter().filter(|job| matches!(job.state, State::Failed { .. }));
            let time = now();
            let entry = |job: &Job| Entry { time, hash: job.hash, target: job.target, event: Event::Dropped };
            let entries: Vec<Entry> = failed.map(entry).collect();
            let (count, hashes) = (entries.len(), entries.iter().map(|entry| entry.hash).collect::<Vec<_>>());
            self.append(known, entries)?;
            hashes.into_iter().try_for_each(|hash| self.release(known, hash))?;
            Ok(count)
        })
    }

    /// The job that is due first at one of these targets.
    pub(crate) fn due(&self, targets: &[Target], now: Timestamp) -> Result<Option<Job>, Error> {
        self.locked(|known| {
            let waiting =
                known.jobs.iter().filter(|job| targets.contains(&job.target)).filter_map(|job| match job.state {
                    State::Waits { due, .. } if due <= now => Some((due, job)),
                    _ => None,
                });
            Ok(waiting.min_by_key(|(due, job)| (*due, job.queued)).map(|(_, job)| job.clone()))
        })
    }

    /// Writes down what became of a job.
    pub(crate) fn note(&self, job: &Job, event: Event) -> Result<(), Error> {
        self.locked(|known| {
            self.append(known, vec![Entry { time: now(), hash: job.hash, target: job.target, event }])?;
            self.release(known, job.hash)
        })
    }

    /// The lock of the one who sends, unless another has it. Whoever gets it clears away what killed processes left.
    pub(crate) fn sender(&self) -> Result<Option<SenderLock>, Error> {
        let Some(file) = self.lock_file("sender").map(|file| file.try_lock().is_ok().then_some(file))? else {
            return Ok(None);
        };
        self.locked(|known| {
            sweep(&self.folder.join("incoming"))?;
            let folder = self.folder.join("content");
            // A damaged line may have been the one that named a copy: then all are kept.
            for entry in fs::read_dir(&folder).map_err(Error::io(&folder, "list the copies"))? {
                let name = entry.map_err(Error::io(&folder, "list the copies"))?.file_name();
                let hash = name.to_str().and_then(ContentHash::parse);
                if let Some(hash) = hash.filter(|_| known.damaged == 0) {
                    self.release(known, hash)?;
                }
            }
            Ok(())
        })?;
        Ok(Some(SenderLock(file)))
    }

    /// Where the copy of a content is.
    pub(crate) fn content(&self, hash: ContentHash) -> PathBuf {
        self.folder.join("content").join(hash.to_string())
    }

    /// Removes a copy that no target needs.
    fn release(&self, known: &Known, hash: ContentHash) -> Result<(), Error> {
        if known.jobs.needs(hash) {
            return Ok(());
        }
        let path = self.content(hash);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io(&path, "remove the copy")(e)),
            _ => Ok(()),
        }
    }

    fn lock_file(&self, name: &str) -> Result<File, Error> {
        let path = self.folder.join(name);
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        file.map_err(Error::io(&path, "open the lock"))
    }

    /// Does something while nobody else does anything, knowing all that was written before.
    fn locked<T>(&self, work: impl FnOnce(&mut Known) -> Result<T, Error>) -> Result<T, Error> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let file = self.lock_file("lock")?;
        file.lock().map_err(Error::io(&self.folder, "lock the queue"))?;
        known.refresh().map_err(Error::io(&self.folder.join("record"), "read the record"))?;
        work(&mut known)
        // The lock goes with the file.
    }

    /// Writes lines, all or none, and takes them in when they are durable.
    fn append(&self, known: &mut Known, entries: Vec<Entry>) -> Result<(), Error> {
        if entries.is_empty() {
            return Ok(());
        }
        let lines: String = entries.iter().map(Entry::encode).collect();
        let record = &mut known.record;
        // A line that a killed process did not finish goes first.
        let written = record
            .set_len(known.read)
            .and_then(|()| record.write_all(lines.as_bytes()))
            .and_then(|()| record.sync_data());
        if let Err(error) = written {
            // What may be there of them must not count later: it was not acknowledged.
            let _ = record.set_len(known.read);
            return Err(Error::io(&self.folder.join("record"), "write the record")(error));
        }
        known.read += lines.len() as u64;
        entries.into_iter().for_each(|entry| known.jobs.apply(entry));
        Ok(())
    }
}

impl Known {
    /// Reads what others wrote.
    fn refresh(&mut self) -> io::Result<()> {
        if self.record.metadata()?.len() < self.read {
            // Somebody put an older record in its place.
            (self.jobs, self.read, self.damaged) = (Jobs::default(), 0, 0);
        }
        self.record.seek(SeekFrom::Start(self.read))?;
        let mut lines = BufReader::new(&self.record);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = lines.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut line)?;
            let whole = line.strip_suffix(b"\n");
            if whole.is_none() && read < MAX_LINE {
                return Ok(());
            }
            self.read += read as u64;
            match whole.and_then(Entry::decode) {
                Some(entry) => self.jobs.apply(entry),
                None => self.damaged += 1,
            }
        }
    }
}

/// The time on the clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// Makes the names in a folder durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(Error::io(path, "make the names durable"))
}
