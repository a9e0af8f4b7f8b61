//! The queue's folder: `record`, and one file for each content that a target still needs.
//!
//! ```text
//! queue/
//!   record              what happened, line by line; the truth
//!   content/<sha256>    copies, whole and durable before a line names them
//!   about/<sha256>-<target>   what is told beside them, as JSON; likewise
//!   given/<target>/     what a program is working on, a folder for each try
//!   incoming/           copies that are being made
//!   lock                held for a moment by whoever changes anything
//!   sender              held by the one process that sends
//! ```
//!
//! A crash at any point is harmless: a copy without a line was never acknowledged, and goes; a line that was not written
//! whole is cut off; a try without a line about its end is in doubt, which the line about its beginning says.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use streamdb_types::{ObjectRow, Oid, Timestamp};

use crate::about::{About, Submitted};
use crate::error::Error;
use crate::hash::ContentHash;
use crate::incoming::{Incoming, sweep};
use crate::job::{Job, Jobs, State};
use crate::receipt::{Placed, Receipt};
use crate::record::{Entry, Event, MAX_LINE};
use crate::rule::Choice;
use crate::settings::TargetName;

/// Most bytes of what is told beside a content: its texts are bounded, so that it is never longer.
const MAX_ABOUT: u64 = 4 << 20;

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
    /// What is told beside it.
    pub about: About,
}

/// Held by the one process that sends.
pub(crate) struct SenderLock(#[expect(dead_code, reason = "held, not used: the lock goes with the file")] File);

impl Queue {
    /// Opens the queue below a data folder, and makes it if it is not there.
    ///
    /// # Errors
    /// When the system refuses something.
    pub fn open(data: &Path) -> Result<Self, Error> {
        // Programs get paths of it, and are run in a folder of their own.
        let folder = std::path::absolute(data).map_err(Error::io(data, "tell where it is"))?.join("queue");
        let mut new = false;
        for path in ["", "content", "about", "incoming", "given"].map(|name| folder.join(name)) {
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => new = true,
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::io(&path, "make the folder")(e)),
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
    /// When the copies of each target that wants it would exceed `room`, or when the system refuses something; then nothing was
    /// taken in. Where only some have no room, the receipt says so.
    pub fn put(
        &self,
        mut incoming: Incoming,
        item: &Item,
        targets: &[Choice],
        again: bool,
        room: u64,
    ) -> Result<Receipt, Error> {
        let digests = incoming.seal()?;
        let hash = ContentHash(digests.sha256);
        let size = incoming.size();
        let Item { oid, complete, extension, about } = item;
        let extension: String = extension.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
        self.locked(|known| {
            let mut placed = Vec::new();
            let mut entries = Vec::new();
            let mut told = Vec::new();
            let mut full = None;
            let time = now();
            for Choice { target, rule } in targets {
                let job = known.jobs.get(hash, target).filter(|job| !job.was_not_taken());
                let state = job.map(|job| job.state.clone());
                let free = match &state {
                    None => true,
                    Some(State::Waits { .. }) => false,
                    Some(State::Sent { .. } | State::Failed { .. }) => again,
                };
                if let Some(state) = state.filter(|_| !free) {
                    placed.push((target.clone(), Placed::Known(state)));
                    continue;
                }
                if let Some(held) = known.jobs.over(hash, target, size, room) {
                    full.get_or_insert((target.clone(), held));
                    placed.push((target.clone(), Placed::NoRoom));
                    continue;
                }
                let (extension, rule) = (extension.clone(), rule.clone());
                let submitted = Submitted { target: target.as_str(), rule: &rule, queued: time };
                told.push((target.clone(), about.json(*oid, &digests, size, *complete, &submitted)));
                let event = Event::Queued { oid: *oid, size, complete: *complete, extension, rule };
                entries.push(Entry { time, hash, target: target.clone(), event });
                placed.push((target.clone(), Placed::Queued));
            }
            if let Some((target, held)) = full.filter(|_| placed.iter().all(|(_, placed)| *placed == Placed::NoRoom)) {
                return Err(Error::Full { target, held, size, room });
            }
            if !entries.is_empty() {
                for (target, text) in told {
                    let path = self.told(hash, &target);
                    self.write(&path, &text).map_err(Error::io(&path, "write what is told beside the copy"))?;
                }
                incoming.place(&self.content(hash))?;
                ["about", "content"].into_iter().try_for_each(|name| sync_dir(&self.folder.join(name)))?;
                self.append(known, entries)?;
            }
            Ok(Receipt { oid: *oid, hash, size, complete: *complete, placed })
        })
    }

    /// Those of these targets for which a content was never taken in, or was forgotten: first those that have room for it.
    ///
    /// # Errors
    /// When the system refuses something.
    pub(crate) fn without(
        &self,
        hash: ContentHash,
        size: u64,
        mut targets: Vec<Choice>,
        room: u64,
    ) -> Result<(Vec<Choice>, Vec<Choice>), Error> {
        self.locked(|known| {
            targets.retain(|choice| known.jobs.get(hash, &choice.target).is_none_or(Job::was_not_taken));
            let fits = |choice: &Choice| known.jobs.over(hash, &choice.target, size, room).is_none();
            Ok(targets.into_iter().partition(fits))
        })
    }

    /// Bytes of the copies that are kept for a target.
    ///
    /// # Errors
    /// When the system refuses something.
    pub(crate) fn held(&self, target: &TargetName) -> Result<u64, Error> {
        self.locked(|known| Ok(known.jobs.held(target)))
    }

    /// Writes down that an object was not taken in for these targets, as they have no room; of each content once.
    ///
    /// # Errors
    /// When the system refuses something.
    pub(crate) fn not_taken(&self, hash: ContentHash, row: &ObjectRow, targets: &[Choice]) -> Result<(), Error> {
        self.locked(|known| {
            let time = now();
            let entry = |Choice { target, rule }: &Choice| {
                let (oid, size, complete) = (row.oid, row.size, row.complete);
                let event = Event::Full { oid, size, complete, extension: String::new(), rule: rule.clone() };
                Entry { time, hash, target: target.clone(), event }
            };
            let new = targets.iter().filter(|choice| known.jobs.get(hash, &choice.target).is_none());
            let entries = new.map(entry).collect();
            self.append(known, entries)
        })
    }

    /// What became of each of these contents, in their order, target by target.
    ///
    /// # Errors
    /// When the system refuses something.
    pub fn of(&self, hashes: &[ContentHash]) -> Result<Vec<Vec<Job>>, Error> {
        self.locked(|known| Ok(hashes.iter().map(|hash| known.jobs.of(*hash).cloned().collect()).collect()))
    }

    /// All that was ever taken in, but for what was dropped, oldest first; and how many lines of the record are damaged.
    ///
    /// # Errors
    /// When the system refuses something.
    pub fn jobs(&self) -> Result<(Vec<Job>, u64), Error> {
        self.locked(|known| {
            let mut jobs: Vec<Job> = known.jobs.iter().cloned().collect();
            jobs.sort_by(|a, b| (a.queued, a.hash, &a.target).cmp(&(b.queued, b.hash, &b.target)));
            Ok((jobs, known.damaged))
        })
    }

    /// Forgets what failed, and what waits for targets that are not among those that are `there`, if that is known; and removes
    /// the copies. Says how many there were.
    ///
    /// # Errors
    /// When the system refuses something.
    pub fn drop_failed(&self, there: Option<&[TargetName]>) -> Result<usize, Error> {
        self.locked(|known| {
            let failed = known.jobs.iter().filter(|job| match job.state {
                State::Failed { .. } => true,
                State::Waits { .. } => there.is_some_and(|names| !names.contains(&job.target)),
                State::Sent { .. } => false,
            });
            let time = now();
            let entry = |job: &Job| Entry { time, hash: job.hash, target: job.target.clone(), event: Event::Dropped };
            let entries: Vec<Entry> = failed.map(entry).collect();
            let dropped: Vec<_> = entries.iter().map(|entry| (entry.hash, entry.target.clone())).collect();
            let count = dropped.len();
            self.append(known, entries)?;
            dropped.iter().try_for_each(|(hash, target)| self.release(known, *hash, target))?;
            Ok(count)
        })
    }

    /// The job that is due first at this target. One whose try was broken off is not before its target had `settle` to come
    /// to an end with it.
    pub(crate) fn due(&self, target: &TargetName, now: Timestamp, settle: i64) -> Result<Option<Job>, Error> {
        self.locked(|known| Ok(known.jobs.due(target, now, settle).cloned()))
    }

    /// Writes down what became of a job.
    pub(crate) fn note(&self, job: &Job, event: Event) -> Result<(), Error> {
        self.locked(|known| {
            self.append(known, vec![Entry { time: now(), hash: job.hash, target: job.target.clone(), event }])?;
            self.release(known, job.hash, &job.target)
        })
    }

    /// The lock of the one who sends, unless another has it. Whoever gets it clears away what killed processes left.
    pub(crate) fn sender(&self) -> Result<Option<SenderLock>, Error> {
        let Some(file) = self.lock_file("sender").map(|file| file.try_lock().is_ok().then_some(file))? else {
            return Ok(None);
        };
        self.locked(|known| {
            sweep(&self.folder.join("incoming"))?;
            // A damaged line may have been the one that named a copy: then all are kept.
            if known.damaged > 0 {
                return Ok(());
            }
            for name in names(&self.folder.join("content"))? {
                if let Some(hash) = ContentHash::parse(&name) {
                    self.release_content(known, hash)?;
                }
            }
            for name in names(&self.folder.join("about"))? {
                let of = name
                    .split_once('-')
                    .and_then(|(hash, target)| Some((ContentHash::parse(hash)?, TargetName::parse(target)?)));
                match of {
                    Some((hash, target)) => self.release(known, hash, &target)?,
                    // One that was not finished.
                    None => remove(&self.folder.join("about").join(name))?,
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

    /// Where what is told beside it is.
    fn told(&self, hash: ContentHash, target: &TargetName) -> PathBuf {
        self.folder.join("about").join(format!("{hash}-{target}"))
    }

    /// What is told beside a content; what the record knows where nothing else is there.
    pub(crate) fn about(&self, job: &Job) -> io::Result<String> {
        let mut text = String::new();
        match File::open(self.told(job.hash, &job.target)) {
            Ok(file) => file.take(MAX_ABOUT).read_to_string(&mut text).map(|_| text),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(About::of(job)),
            Err(e) => Err(e),
        }
    }

    /// Where a program of this target finds what it is to take.
    pub(crate) fn given(&self, target: &TargetName) -> PathBuf {
        self.folder.join("given").join(target.as_str())
    }

    /// Writes a small file, whole or not at all.
    fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        // Names of its folder begin with a digest; nobody else writes, as the queue is locked.
        let unfinished = self.folder.join("about").join(".unfinished");
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished);
        file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))?;
        fs::rename(&unfinished, path)
    }

    /// Removes what this target does not need any more: what is told it, and a copy that no other needs.
    fn release(&self, known: &Known, hash: ContentHash, target: &TargetName) -> Result<(), Error> {
        if !known.jobs.get(hash, target).is_some_and(Job::holds) {
            remove(&self.told(hash, target))?;
        }
        self.release_content(known, hash)
    }

    /// Removes a copy that no target needs.
    fn release_content(&self, known: &Known, hash: ContentHash) -> Result<(), Error> {
        if known.jobs.needs(hash) { Ok(()) } else { remove(&self.content(hash)) }
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

/// The names in a folder, but for those that are no text, which are none of ours.
fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let entries = fs::read_dir(folder).map_err(Error::io(folder, "list the copies"))?;
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(Error::io(folder, "list the copies"))?.file_name().into_string());
    }
    Ok(names)
}

/// Removes a file that may be gone.
fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io(path, "remove the copy")(e)),
        _ => Ok(()),
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
