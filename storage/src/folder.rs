//! The data folder: what lies where in it, who may write to it, and what is made whole before anybody does.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use streamdb_types::{BucketId, Timestamp};

use crate::FORMAT_VERSION;
use crate::error::{Error, Result};
use crate::ledger::{Event, Facts, Ledger, LedgerReader, SealedBucket};
use crate::live::{LiveReader, LiveWriter, MAX_WORKERS, writer_alive};
use crate::read::bucket::Bucket;
use crate::read::cache::BlockCache;
use crate::recover::{Recovered, Unsealed, recover};
use crate::status::{StatusWriter, Teller};
use crate::volume::Volume;

pub(crate) const LEDGER: &str = "ledger";
pub(crate) const BUCKETS: &str = "buckets";
pub(crate) const DERIVED: &str = "derived";

/// A data folder that this process, and no other, writes to.
pub struct WriteFolder {
    path: PathBuf,
    volume: Box<dyn Volume>,
    ledger: Mutex<Ledger>,
    live: Arc<LiveWriter>,
    recovered: Vec<Recovered>,
    not_recovered: Vec<Error>,
    /// The fingerprints of the captures that are being ingested.
    claimed: Mutex<BTreeSet<String>>,
}

impl WriteFolder {
    /// Opens a data folder for writing, or makes one of an empty or new folder. What an earlier writer left unsealed is
    /// recovered; but a bucket that the disk does not give to be read is left as it is.
    ///
    /// # Errors
    /// When the folder is not ours, when another process writes to it, or when the system refuses something.
    pub fn open(path: &Path, volume: Box<dyn Volume>) -> Result<Self> {
        let is_new = Self::make(path, &*volume)?;
        let ledger_path = path.join(LEDGER);
        for name in [BUCKETS, DERIVED] {
            let path = path.join(name);
            match volume.create_dir(&path) {
                // One that is no folder shows at once: nothing can be made in it.
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                result => result.map_err(Error::io(&path, "make the folder"))?,
            }
        }
        let live = Arc::new(LiveWriter::open(&*volume, path)?);
        // That makes the names of the folders durable too.
        let mut ledger = Ledger::open(&*volume, &ledger_path)?;
        match ledger.facts().store().map(|entry| entry.event.clone()) {
            Some(Event::Store { format, .. }) if format == FORMAT_VERSION => {}
            Some(Event::Store { format, .. }) => return Err(Error::Version { path: ledger_path, found: format }),
            // Without the line that says what store this is, a made-up one could give ids a second time.
            _ if ledger.facts().damage() > 0 => Ledger::verify(&ledger_path)?,
            _ => {
                // From this line on the folder has something to lose. Until then nobody knows whether its own name is
                // durable, as who made it may have been killed.
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
                match volume.sync_dir(parent) {
                    // Who made it for us may have rights there that we have not.
                    Err(e) if e.kind() == ErrorKind::PermissionDenied && !is_new => {}
                    result => result.map_err(Error::io(parent, "make the folder's name durable"))?,
                }
                ledger.append(now(), &Event::Store { format: FORMAT_VERSION, sensor: 0 })?;
            }
        }
        for id in bucket_ids(&path.join(BUCKETS))? {
            ledger.note_existing(id);
        }
        let mut folder = Self {
            path: path.to_owned(),
            volume,
            ledger: ledger.into(),
            live,
            recovered: Vec::new(),
            not_recovered: Vec::new(),
            claimed: Mutex::default(),
        };
        folder.recover()?;
        Ok(folder)
    }

    /// Makes the folder for a store, if it is not there, and says whether it was not.
    fn make(path: &Path, volume: &dyn Volume) -> Result<bool> {
        match volume.create_private_dir(path) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Self::looks_like_one(path, volume).map(|()| false),
            result => result.map(|()| true).map_err(Error::io(path, "make the folder")),
        }
    }

    /// Whether a folder that is there is a store, as its ledger says, or can become one as it is empty.
    ///
    /// # Errors
    /// When it is neither, or cannot be looked into, or its ledger is damaged.
    pub fn may_be(path: &Path, volume: &dyn Volume) -> Result<()> {
        Self::looks_like_one(path, volume)?;
        let ledger = path.join(LEDGER);
        if !has_ledger(path)? || LedgerReader::open(&ledger)?.facts().store().is_some() {
            return Ok(());
        }
        // A start that was broken off leaves no line, or a part of one.
        Ledger::verify(&ledger)?;
        if is_fresh(volume, path)? { Ok(()) } else { Err(Error::ForeignFolder(path.to_owned())) }
    }

    /// Whether there is a ledger in it, whatever that says, or nothing.
    fn looks_like_one(path: &Path, volume: &dyn Volume) -> Result<()> {
        if has_ledger(path)? || is_fresh(volume, path)? { Ok(()) } else { Err(Error::ForeignFolder(path.to_owned())) }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of the buckets.
    pub(crate) fn buckets(&self) -> PathBuf {
        self.path.join(BUCKETS)
    }

    /// Begins to say how the writing goes.
    ///
    /// # Errors
    /// When the file for that cannot be made.
    pub fn status(&self) -> Result<StatusWriter> {
        StatusWriter::open(&*self.volume, &self.path, Teller::Capture)
    }

    /// What recovery did when the folder was opened.
    pub fn recovered(&self) -> &[Recovered] {
        &self.recovered
    }

    /// The buckets that could not be read when the folder was opened, and so are left as they are, and what of dropped ones
    /// could not be removed; each names its file.
    pub fn not_recovered(&self) -> &[Error] {
        &self.not_recovered
    }

    /// The ledger.
    pub const fn ledger(&self) -> &Mutex<Ledger> {
        &self.ledger
    }

    pub(crate) const fn claimed(&self) -> &Mutex<BTreeSet<String>> {
        &self.claimed
    }

    pub(crate) fn volume(&self) -> &dyn Volume {
        &*self.volume
    }

    pub(crate) const fn live(&self) -> &Arc<LiveWriter> {
        &self.live
    }

    /// The ledger says of each bucket when it was sealed. The writer may have died before it could, or in recovery.
    fn note_sealed(&self, path: &Path, id: BucketId) -> Result<()> {
        let bucket = Bucket::open(path, id, Arc::new(BlockCache::new(0)))?;
        // One whose directory cannot be read is damaged, which is for verification to tell, and sealed all the same.
        let frames = bucket.contents(None).map_or(0, |contents| contents.frames);
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.append(now(), &Event::Sealed { id, bytes: bucket.file_len(), frames })
    }

    /// Seals a bucket that was left open, and notes that it is sealed. What cannot be read is left as it is: the inner
    /// result says why.
    fn make_whole(&self, path: &Path, id: BucketId) -> Result<Result<Option<Recovered>>> {
        let unsealed = match crate::read::bucket::is_sealed(path, id) {
            Ok(true) => {
                // Who sealed it may have been killed before the trailer was durable.
                let synced = self.volume.open(path).and_then(|file| file.sync_data());
                synced.map_err(Error::io(path, "sync the sealed bucket"))?;
                None
            }
            Ok(false) => match Unsealed::read(&*self.volume, path, id) {
                Ok(unsealed) => Some(unsealed),
                Err(error) => return Ok(Err(error)),
            },
            Err(error) => return Ok(Err(error)),
        };
        if unsealed.is_some() {
            // What was derived from it may be of what is cut now.
            let derived = self.path.join(DERIVED);
            let rows = crate::derived::path(&derived, id);
            match self.volume.unlink(&rows) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Error::io(&rows, "remove the rows of a bucket that is recovered")(error));
                }
                _ => {}
            }
            crate::index::keep::forget(&*self.volume, &derived, id)?;
            // They must not come back to the bucket that is sealed now; nor those that were removed by who was killed then.
            self.volume.sync_dir(&derived).map_err(Error::io(&derived, "make it durable that rows are removed"))?;
        }
        let recovered = unsealed.map(recover).transpose()?;
        self.note_sealed(path, id)?;
        Ok(Ok(recovered))
    }

    /// A writer that died between a bucket's tombstone and the end of its files left them. What cannot be removed now is no
    /// reason not to write.
    fn finish_dropping(&mut self) -> Result<()> {
        let (buckets, rows) = (self.buckets(), self.path.join(DERIVED));
        let mut ids: BTreeSet<BucketId> = bucket_ids(&buckets)?.into_iter().collect();
        for name in self.volume.list(&rows).map_err(Error::io(&rows, "list what is derived"))? {
            let id = name.to_str().and_then(|name| name.strip_suffix(".objects")).and_then(|id| id.parse().ok());
            ids.extend(id.map(BucketId));
        }
        let anything_dropped = {
            let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
            ids.retain(|id| ledger.facts().tombstone(*id).is_some());
            ledger.facts().tombstones().next().is_some()
        };
        if !anything_dropped {
            return Ok(());
        }
        for id in ids {
            self.not_recovered.extend(crate::retention::remove(&*self.volume, &self.path, id).err());
        }
        // Also when none of them is left: who removed the last one may have been killed before that was durable.
        let synced = self.volume.sync_dir(&buckets).map_err(Error::io(&buckets, "make durable what was removed"));
        self.not_recovered.extend(synced.err());
        Ok(())
    }

    fn recover(&mut self) -> Result<()> {
        self.finish_dropping()?;
        let folder = self.buckets();
        for name in self.volume.list(&folder).map_err(Error::io(&folder, "list the buckets"))? {
            if Path::new(&name).extension().is_some_and(|e| e == "tmp") {
                // A bucket that never got its name holds nothing.
                let path = folder.join(name);
                self.volume.unlink(&path).map_err(Error::io(&path, "remove the unfinished bucket"))?;
            }
        }
        let noted: BTreeSet<BucketId> = {
            let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
            let (sealed, dropped) = (ledger.facts().sealed(), ledger.facts().tombstones());
            sealed.map(|(id, _)| id).chain(dropped.map(|(id, _)| id)).collect()
        };
        let ids = bucket_ids(&folder)?;
        if ids.iter().any(|id| !noted.contains(id)) {
            // Who gave the last of them its name may have been killed before the name was durable.
            self.volume.sync_dir(&folder).map_err(Error::io(&folder, "make the names of the buckets durable"))?;
        }
        for id in ids {
            let path = folder.join(crate::write::bucket_file::file_name(id));
            // What the ledger calls sealed is never written again, whatever has become of its file since: damage in it is
            // for verification to tell, and cutting it would make it worse.
            if noted.contains(&id) {
                match crate::read::bucket::is_sealed(&path, id) {
                    Err(error @ Error::Version { .. }) => return Err(error),
                    _ => continue,
                }
            }
            match self.make_whole(&path, id)? {
                Ok(recovered) => self.recovered.extend(recovered),
                Err(error @ Error::Version { .. }) => return Err(error),
                // A bucket that cannot be read stays as it is, and is no reason not to write others.
                Err(error) => self.not_recovered.push(Error::NotRecovered { source: error.into() }),
            }
        }
        Ok(())
    }
}

/// A data folder, for reading.
pub(crate) struct ReadFolder {
    path: PathBuf,
    live: Option<LiveReader>,
    ledger: Mutex<LedgerReader>,
}

impl ReadFolder {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let ledger = path.join(LEDGER);
        if !has_ledger(path)? {
            return Err(Error::NoFolder(path.to_owned()));
        }
        let reader = LedgerReader::open(&ledger)?;
        match reader.facts().store().map(|entry| entry.event.clone()) {
            Some(Event::Store { format, .. }) if format != FORMAT_VERSION => {
                Err(Error::Version { path: ledger, found: format })
            }
            _ => Ok(Self { path: path.to_owned(), live: LiveReader::open(path)?, ledger: reader.into() }),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn buckets(&self) -> PathBuf {
        self.path.join(BUCKETS)
    }

    /// Whether every line of the ledger can be read.
    pub(crate) fn verify_ledger(&self) -> Result<()> {
        Ledger::verify(&self.path.join(LEDGER))
    }

    /// How far the open bucket with this id may be read: what is published while its writer lives, and everything that
    /// is whole (`None`) when there is no writer.
    pub(crate) fn published(&self, id: BucketId) -> Option<u64> {
        let live = self.live.as_ref().filter(|_| writer_alive(&self.path).unwrap_or(false))?;
        // A page that cannot be read is no page: readers scan, as they do for a dead writer.
        let marks = (0..MAX_WORKERS).filter_map(|worker| live.worker(worker).ok().flatten());
        marks.into_iter().find(|mark| mark.bucket == id).map(|mark| mark.published)
    }

    /// The buckets that the ledger has as sealed and not dropped.
    pub(crate) fn sealed(&self) -> Vec<(BucketId, SealedBucket)> {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        // A ledger that cannot be read now says what it said before.
        let _ = ledger.refresh();
        ledger.facts().sealed().collect()
    }

    /// When retention dropped a bucket.
    pub(crate) fn dropped(&self, id: BucketId) -> Option<Timestamp> {
        self.with_facts(|facts| facts.tombstone(id))
    }

    /// What the ledger says now.
    pub(crate) fn with_facts<T>(&self, ask: impl FnOnce(&Facts) -> T) -> T {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        // A ledger that cannot be read now says what it said before.
        let _ = ledger.refresh();
        ask(ledger.facts())
    }
}

/// Whether a folder is a data folder: it has a ledger. That there is no folder is no error, that nobody can tell is one.
pub(crate) fn has_ledger(path: &Path) -> Result<bool> {
    let ledger = path.join(LEDGER);
    match std::fs::metadata(&ledger) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) if e.kind() == ErrorKind::NotADirectory => Err(Error::NoDirectory(path.to_owned())),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => Err(Error::NotAllowed(path.to_owned())),
        Err(e) => Err(Error::io(&ledger, "look for it")(e)),
    }
}

/// The ids of the buckets in a folder, ascending.
pub(crate) fn bucket_ids(folder: &Path) -> Result<Vec<BucketId>> {
    let entries = std::fs::read_dir(folder).map_err(Error::io(folder, "list the buckets"))?;
    let mut ids = Vec::new();
    for entry in entries {
        let name = entry.map_err(Error::io(folder, "list the buckets"))?.file_name();
        let id = name.to_str().and_then(|name| name.strip_suffix(".sdb")).and_then(|id| id.parse().ok());
        ids.extend(id.map(BucketId));
    }
    ids.sort_unstable();
    Ok(ids)
}

/// The time on the clock: for the ledger alone, as nothing in a bucket depends on it.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// Whether there is nothing in a folder but what a start that was broken off leaves.
fn is_fresh(volume: &dyn Volume, path: &Path) -> Result<bool> {
    let names = volume.list(path).map_err(Error::io(path, "list the folder"))?;
    Ok(names.iter().all(|name| [LEDGER, BUCKETS, DERIVED, "live", "lock"].iter().any(|ours| name == ours)))
}
