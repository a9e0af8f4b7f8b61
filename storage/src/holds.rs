//! Holds: buckets that an investigation needs stay, whatever the limits of the store say.
//!
//! `holds` is a file of lines like the ledger's, apart from it because any process may add to it, also while another one
//! captures. Who does has the file locked (`flock`), and retention has, too, while it chooses and writes its tombstones: so
//! what was held when it chose is not dropped, and what was dropped before is not held.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use streamdb_types::{BucketId, Timestamp};

use crate::error::{Error, Result};
use crate::folder::{BUCKETS, LEDGER, has_ledger, now};
use crate::ledger::{Event, Facts, Hold, Ledger, LedgerReader};
use crate::read::store::Store;
use crate::volume::Volume;
use crate::write::bucket_file::file_name;

pub(crate) const HOLDS: &str = "holds";
/// Buckets of one line.
const A_LINE: usize = 1000;
/// Longer texts are not kept.
const LONGEST: usize = 4000;
/// How long others may have the file locked.
const PATIENCE: Duration = Duration::from_secs(10);

/// The holds of a data folder, which nobody else changes meanwhile.
#[derive(Debug)]
pub struct Holds {
    folder: PathBuf,
    ledger: Ledger,
    // Locked as long as it is open; closed last.
    _lock: File,
}

/// A hold that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewHold {
    /// Its number.
    pub number: u64,
    /// The buckets that it keeps.
    pub buckets: BTreeSet<BucketId>,
    /// Those that were dropped before, and when.
    pub gone: BTreeMap<BucketId, Timestamp>,
}

impl Holds {
    /// Opens them, and waits for others to be done with them.
    ///
    /// # Errors
    /// When it is no data folder, when the file cannot be written, or another process does not let go of it.
    pub fn open(volume: &dyn Volume, folder: &Path) -> Result<Self> {
        if !has_ledger(folder)? {
            return Err(Error::NoFolder(folder.to_owned()));
        }
        let path = folder.join(HOLDS);
        let lock = lock(volume, &path)?;
        Ok(Self { folder: folder.to_owned(), ledger: Ledger::open(volume, &path)?, _lock: lock })
    }

    /// Holds those of these buckets that are still there. When this returns they stay until the hold is released.
    ///
    /// # Errors
    /// When none of them is there, or the hold could not be made durable.
    pub fn hold(&mut self, buckets: &BTreeSet<BucketId>, what: &str, note: &str) -> Result<NewHold> {
        let told = LedgerReader::open(&self.folder.join(LEDGER))?;
        let dropped = |id: &BucketId| Some((*id, told.facts().tombstone(*id)?));
        let gone: BTreeMap<_, _> = buckets.iter().filter_map(dropped).collect();
        let is_there =
            |id: &&BucketId| !gone.contains_key(*id) && self.folder.join(BUCKETS).join(file_name(**id)).exists();
        let there: Vec<BucketId> = buckets.iter().filter(is_there).copied().collect();
        if there.is_empty() {
            return Err(Error::NothingToHold { dropped: gone.values().max().copied() });
        }
        let number = self.ledger.facts().next_hold();
        let (what, note) = (shortened(what), shortened(note));
        for buckets in there.chunks(A_LINE) {
            let event = Event::Held { hold: number, buckets: buckets.to_vec(), what: what.clone(), note: note.clone() };
            self.ledger.append(now(), &event)?;
        }
        Ok(NewHold { number, buckets: there.into_iter().collect(), gone })
    }

    /// Ends a hold.
    ///
    /// # Errors
    /// When there is none of this number, or that could not be made durable.
    pub fn release(&mut self, number: u64) -> Result<Hold> {
        let hold = self.ledger.facts().holds().get(&number).cloned().ok_or(Error::NoHold(number))?;
        self.ledger.append(now(), &Event::Released { hold: number })?;
        Ok(hold)
    }

    /// The buckets that are held.
    ///
    /// # Errors
    /// When a line cannot be read: it may have named any bucket.
    pub fn held(&self) -> Result<BTreeSet<BucketId>> {
        held(self.ledger.path(), self.ledger.facts())
    }
}

impl Store {
    /// The holds that are not over, by number.
    ///
    /// # Errors
    /// When the file cannot be read. A line of it that is damaged is passed over.
    pub fn holds(&self) -> Result<BTreeMap<u64, Hold>> {
        let path = self.path().join(HOLDS);
        if !path.exists() {
            return Ok(BTreeMap::new());
        }
        Ok(LedgerReader::open(&path)?.facts().holds().clone())
    }

    /// The buckets that are held.
    ///
    /// # Errors
    /// When the file or a line of it cannot be read.
    pub fn held(&self) -> Result<BTreeSet<BucketId>> {
        let path = self.path().join(HOLDS);
        if !path.exists() {
            return Ok(BTreeSet::new());
        }
        held(&path, LedgerReader::open(&path)?.facts())
    }
}

fn held(path: &Path, facts: &Facts) -> Result<BTreeSet<BucketId>> {
    match facts.damaged().first() {
        Some(line) => Err(Error::HoldsDamaged { path: path.to_owned(), line: line.line, what: line.what }),
        None => Ok(facts.holds().values().flat_map(|hold| hold.buckets.iter().copied()).collect()),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

fn lock(volume: &dyn Volume, path: &Path) -> Result<File> {
    match volume.create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(Error::io(path, "make the holds")(error)),
        _ => {}
    }
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(Error::io(path, "open the holds"))?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(TryLockError::WouldBlock) => return Err(Error::HoldsLocked(path.to_owned())),
            Err(TryLockError::Error(e)) => return Err(Error::io(path, "lock the holds")(e)),
        }
    }
}
