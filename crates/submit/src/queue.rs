//! The queue's folder: `record`, and one file for each content that a target still needs.
//!
//! ```text
//! queue/
//!   record              what happened, line by line; the truth. record.new is one that is being written without what is forgotten
//!   content/<sha256>    copies, whole and durable before a line names them
//!   about/<sha256>-<target>   what is told beside them, as JSON; likewise
//!   given/<target>/     what a program is working on, a folder for each try
//!   incoming/<random>/  copies that are being made, and their lock
//!   lock                held for a moment by whoever changes anything
//!   sender              held by the one process that sends
//! ```
//!
//! A crash at any point is harmless: a copy without a line was never acknowledged, and goes; a line that was not written
//! whole is cut off; a try without a line about its end is in doubt, which the line about its beginning says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use streamdb_types::{ObjectRow, Timestamp};

use crate::about::About;
use crate::disk::{names, remove, sync_dir};
use crate::error::Error;
use crate::hash::ContentHash;
use crate::job::{Job, MOST, State, Tally};
use crate::known::{Known, NEW};
use crate::record::{Entry, Event, Taken};
use crate::rule::Choice;
use crate::settings::TargetName;
use crate::staging::{Staging, sweep};

/// Most bytes of what is told beside a content: its texts are bounded, so that it is never longer.
const MAX_ABOUT: u64 = 4 << 20;

/// The queue of a data folder. Any number of processes may have it open.
pub struct Queue {
    folder: PathBuf,
    known: Mutex<Known>,
}

/// An object that was not taken in, and for whom.
pub(crate) struct NotTaken<'n> {
    /// Its content, if that is known.
    pub(crate) hash: Option<ContentHash>,
    pub(crate) row: &'n ObjectRow,
    /// Whether it is joined of this and others.
    pub(crate) joined: bool,
    pub(crate) targets: Vec<Choice>,
}

/// Which job may be the next that is tried at a target.
pub(crate) struct Next<'n> {
    /// As for [`due`](Queue::due).
    pub(crate) now: Timestamp,
    pub(crate) settle: i64,
    pub(crate) may: &'n dyn Fn(&Job) -> bool,
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
        let known = Known::open(folder.join("record"))?;
        // Also what was made by one that was killed before it could do this.
        if new || known.is_empty() {
            [data, &folder].into_iter().try_for_each(sync_dir)?;
        }
        Ok(Self { folder, known: Mutex::new(known) })
    }

    /// Whether a data folder has a queue.
    pub fn is_there(data: &Path) -> bool {
        data.join("queue/record").exists()
    }

    /// A folder for copies that are being made.
    pub(crate) fn stage(&self) -> Result<Staging, Error> {
        self.locked(|_| Staging::begin(&self.at("incoming")))
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
            let fits = |choice: &Choice| known.jobs.over(hash, &choice.target, size, room, (0, 0)).is_none();
            Ok(targets.into_iter().partition(fits))
        })
    }

    /// Whether what is kept for a target takes half of its room or less.
    ///
    /// # Errors
    /// When the system refuses something.
    pub(crate) fn is_half_empty(&self, target: &TargetName, room: u64) -> Result<bool, Error> {
        self.locked(|known| Ok(known.jobs.held(target) <= room / 2 && known.jobs.copies(target) <= MOST / 2))
    }

    /// Writes down that these objects were not taken in for these targets, as they have no room; of each content once, and with
    /// one sync.
    ///
    /// # Errors
    /// When the system refuses something.
    pub(crate) fn not_taken(&self, objects: &[NotTaken<'_>]) -> Result<(), Error> {
        self.locked(|known| {
            let (time, mut entries, mut met) = (now(), Vec::new(), BTreeSet::new());
            for NotTaken { hash, row, joined, targets } in objects {
                let Some(hash) = *hash else { continue };
                for Choice { target, rule } in targets {
                    if known.jobs.get(hash, target).is_some() || !met.insert((hash, target)) {
                        continue;
                    }
                    let (oid, size, complete) = (row.oid, row.size, row.complete);
                    let (extension, rule) = (String::new(), rule.clone());
                    let event = Event::Full(Taken { oid, joined: *joined, size, complete, extension, rule });
                    entries.push(Entry { time, hash, target: target.clone(), event });
                }
            }
            known.append(entries)
        })
    }

    /// What became of each of these contents, in their order, target by target.
    ///
    /// # Errors
    /// When the system refuses something.
    pub fn of(&self, hashes: &[ContentHash]) -> Result<Vec<Vec<Job>>, Error> {
        self.locked(|known| Ok(hashes.iter().map(|hash| known.jobs.of(*hash).cloned().collect()).collect()))
    }

    /// All that was taken in and is remembered, oldest first; and how many lines of the record are damaged.
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

    /// How it stands with each target that something was submitted to.
    ///
    /// # Errors
    /// When the system refuses something.
    pub(crate) fn tally(&self) -> Result<BTreeMap<TargetName, Tally>, Error> {
        self.locked(|known| Ok(known.jobs.tally()))
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
            let entries: Vec<Entry> = failed.map(|job| line(job, Event::Dropped)).collect();
            let dropped: Vec<_> = entries.iter().map(|entry| (entry.hash, entry.target.clone())).collect();
            let count = dropped.len();
            known.append(entries)?;
            dropped.iter().try_for_each(|(hash, target)| self.release(known, *hash, target))?;
            Ok(count)
        })
    }

    /// The job that is due first at this target. One whose try was broken off is not before its target had `settle` to come
    /// to an end with it.
    pub(crate) fn due(&self, target: &TargetName, now: Timestamp, settle: i64) -> Result<Option<Job>, Error> {
        self.locked(|known| Ok(known.jobs.due(target, now, settle, None).cloned()))
    }

    /// Writes down that a try begins.
    pub(crate) fn begins(&self, job: &Job) -> Result<(), Error> {
        self.locked(|known| known.append(vec![line(job, Event::Trying)]))
    }

    /// Writes down what became of a job; and with the same sync, which is most of what sending a small content costs here,
    /// that the try of the next one begins, if `next` says that it may. Gives that one, as it was before.
    pub(crate) fn ends(&self, job: &Job, event: Event, next: Option<Next<'_>>) -> Result<Option<Job>, Error> {
        self.locked(|known| {
            let due = |next: &Next<'_>| known.jobs.due(&job.target, next.now, next.settle, Some(job.hash));
            let next = next.and_then(|next| due(&next).filter(|job| (next.may)(job)).cloned());
            let begins = next.as_ref().map(|next| line(next, Event::Trying));
            known.append([line(job, event)].into_iter().chain(begins).collect())?;
            // It is written down. What cannot be removed now goes when somebody begins to send.
            let _ = self.release(known, job.hash, &job.target);
            Ok(next)
        })
    }

    /// The lock of the one who sends, unless another has it. Whoever gets it clears away what killed processes left.
    pub(crate) fn sender(&self) -> Result<Option<SenderLock>, Error> {
        let Some(file) = self.lock_file("sender").map(|file| file.try_lock().is_ok().then_some(file))? else {
            return Ok(None);
        };
        self.locked(|known| {
            sweep(&self.at("incoming"))?;
            remove(&self.at(NEW))?;
            // A damaged line may have been the one that named a copy: then all are kept.
            if known.damaged > 0 {
                return Ok(());
            }
            for name in names(&self.at("content"))? {
                if let Some(hash) = ContentHash::parse(&name) {
                    self.release_content(known, hash)?;
                }
            }
            for name in names(&self.at("about"))? {
                let of = name
                    .split_once('-')
                    .and_then(|(hash, target)| Some((ContentHash::parse(hash)?, TargetName::parse(target)?)));
                match of {
                    Some((hash, target)) => self.release(known, hash, &target)?,
                    // One that was not finished.
                    None => remove(&self.at("about").join(name))?,
                }
            }
            Ok(())
        })?;
        Ok(Some(SenderLock(file)))
    }

    /// Where something of it is.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Where the copy of a content is.
    pub(crate) fn content(&self, hash: ContentHash) -> PathBuf {
        self.at("content").join(hash.to_string())
    }

    /// Where what is told beside it is.
    pub(crate) fn told(&self, hash: ContentHash, target: &TargetName) -> PathBuf {
        self.at("about").join(format!("{hash}-{target}"))
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
        self.at("given").join(target.as_str())
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

    pub(crate) fn lock_file(&self, name: &str) -> Result<File, Error> {
        let path = self.at(name);
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        file.map_err(Error::io(&path, "open the lock"))
    }

    /// Does something while nobody else does anything, knowing all that was written before.
    pub(crate) fn locked<T>(&self, work: impl FnOnce(&mut Known) -> Result<T, Error>) -> Result<T, Error> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let file = self.lock_file("lock")?;
        file.lock().map_err(Error::io(&self.folder, "lock the queue"))?;
        known.refresh()?;
        work(&mut known)
        // The lock goes with the file.
    }
}

/// The line on what happens to a job now.
fn line(job: &Job, event: Event) -> Entry {
    Entry { time: now(), hash: job.hash, target: job.target.clone(), event }
}

/// The time on the clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
