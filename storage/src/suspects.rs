//! Which connection is being taken apart, and which were given up, as taking them apart ended the process: so that one connection
//! costs its own objects, and no other's.
//!
//! `derived/working` says which one is in work, written over in place before each begins; whoever finds it there when it starts
//! knows in which one its predecessor ended. `derived/given-up` says how often that was so. Both have the form of a
//! [`Status`](crate::Status), and losing them costs no more than another try.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use streamdb_types::{BucketId, ConnKey};

use crate::derived::DERIVATION;
use crate::error::Result;
use crate::read::derived::DeriveLock;
use crate::read::store::Store;
use crate::status::{Status, StatusWriter, Teller};
use crate::volume::Volume;

/// In so many processes that ended a connection may be in work until it is given up: the first ones may have been ended by something
/// else, as by a power cut.
const TRIES: u64 = 3;
/// A file that changed more recently than this may change again without a later time.
const RECENT: Duration = Duration::from_millis(100);
/// Most connections that are remembered.
const MOST: usize = 1024;

/// The connections that are not taken apart, and why.
type GivenUp = Arc<BTreeMap<ConnKey, String>>;

/// What a reader knows of them, and of when the file was that it knows it from.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<(Option<SystemTime>, GivenUp)>);

/// The deriver's side.
#[derive(Debug)]
pub struct Suspects {
    working: StatusWriter,
    given_up: StatusWriter,
    /// In how many processes that ended each was in work, and why it was given up, if it was.
    known: BTreeMap<ConnKey, (u64, String)>,
}

impl Suspects {
    /// Goes on from what the last process left.
    ///
    /// # Errors
    /// When the files cannot be read or written.
    pub fn open(store: &Store, _lock: &DeriveLock, volume: &dyn Volume) -> Result<Self> {
        let folder = store.path();
        let read = Status::read(folder, Teller::GivenUp)?.filter(of_this_version).unwrap_or_default();
        let known = read.values.iter().filter_map(|(name, value)| {
            let (tries, why) = value.split_once(' ')?;
            Some((key_of(name)?, (tries.parse().ok()?, why.to_owned())))
        });
        let mut this = Self {
            working: StatusWriter::open(volume, folder, Teller::Working)?,
            given_up: StatusWriter::open(volume, folder, Teller::GivenUp)?,
            known: known.collect(),
        };
        let left = Status::read(folder, Teller::Working)?.unwrap_or_default();
        if let Some(key) = left.text(WORK).and_then(key_of) {
            match left.text(WHY) {
                Some(why) => this.give_up(key, why)?,
                None => {
                    let (tries, why) = this.known.entry(key).or_default();
                    *tries += 1;
                    if *tries >= TRIES && why.is_empty() {
                        *why = "the process that took it apart ended in it, three times".to_owned();
                    }
                    this.keep(Some(key))?;
                }
            }
            this.rest()?;
        }
        Ok(this)
    }

    /// This connection is taken apart from here on.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn begin(&self, key: ConnKey) -> Result<()> {
        self.working.write(BTreeMap::from([(WORK.to_owned(), name_of(key))]))
    }

    /// It was, and the process goes on: it is suspected no more. One that is given up stays so: what is not taken apart ends well.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn done(&mut self, key: ConnKey) -> Result<()> {
        // Nearly none is known.
        if self.known.get(&key).is_none_or(|(_, why)| !why.is_empty()) {
            return Ok(());
        }
        self.known.remove(&key);
        self.keep(None)
    }

    /// None is in work.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn rest(&self) -> Result<()> {
        self.working.write(BTreeMap::new())
    }

    /// It is not taken apart again by this version.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn give_up(&mut self, key: ConnKey, why: &str) -> Result<()> {
        let (tries, known) = self.known.entry(key).or_default();
        (*tries, *known) = (tries.saturating_add(1), why.to_owned());
        self.keep(Some(key))
    }

    /// All are tried again.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn forget(&mut self) -> Result<()> {
        self.known.clear();
        self.keep(None)
    }

    /// How many were given up.
    pub fn given_up(&self) -> u64 {
        self.known.values().filter(|(_, why)| !why.is_empty()).count() as u64
    }

    /// Keeps what is known. When that is too much, those of the oldest buckets go that are given up, but not the one that was just
    /// counted; and last those that are tried still, of which one may be who ends the processes.
    fn keep(&mut self, counted: Option<ConnKey>) -> Result<()> {
        while self.known.len() > MOST {
            let others = || self.known.iter().filter(|(key, _)| Some(**key) != counted);
            let first = others().find(|(_, (_, why))| !why.is_empty()).or_else(|| others().next());
            let Some(key) = first.map(|(key, _)| *key) else { break };
            self.known.remove(&key);
        }
        let mut status = Status::default();
        status.set(VERSION, DERIVATION);
        for (key, (tries, why)) in &self.known {
            status.set(&name_of(*key), format_args!("{tries} {why}"));
        }
        self.given_up.write(status.values)
    }
}

/// Somebody else who watches the deriver from the same process, and ends it.
#[derive(Debug)]
pub struct Accuser(StatusWriter);

impl Accuser {
    /// Of this store.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(store: &Store, volume: &dyn Volume) -> Result<Self> {
        StatusWriter::open(volume, store.path(), Teller::Working).map(Self)
    }

    /// The next process is not to try this one again.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn accuse(&self, key: ConnKey, why: &str) -> Result<()> {
        let mut status = Status::default();
        status.set(WORK, name_of(key));
        status.set(WHY, why);
        self.0.write(status.values)
    }

    /// However this process ends, what is in work is not to blame.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn acquit(&self) -> Result<()> {
        self.0.write(BTreeMap::new())
    }
}

impl Store {
    /// Why a connection is not taken apart, if it is one of those.
    pub fn given_up(&self, key: ConnKey) -> Option<String> {
        let path = Teller::GivenUp.path(self.path());
        let changed = std::fs::metadata(&path).and_then(|facts: Metadata| facts.modified()).ok()?;
        let mut known = self.suspects.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One that changed just now may change again without a later time.
        let settled = changed.elapsed().is_ok_and(|since| since > RECENT);
        if known.0 != Some(changed) {
            let read = Status::read(self.path(), Teller::GivenUp).ok().flatten().filter(of_this_version);
            let all = read.unwrap_or_default();
            let all = all.values.iter().filter_map(|(name, value)| {
                let why = value.split_once(' ').map(|(_, why)| why).filter(|why| !why.is_empty())?;
                Some((key_of(name)?, why.to_owned()))
            });
            *known = (settled.then_some(changed), Arc::new(all.collect()));
        }
        known.1.get(&key).cloned()
    }
}

const WORK: &str = "work";
const WHY: &str = "why";
const VERSION: &str = "version";

/// Another version may take apart what this one could not.
fn of_this_version(status: &Status) -> bool {
    status.number(VERSION) == u64::from(DERIVATION)
}

fn name_of(key: ConnKey) -> String {
    format!("{}-{}", key.bucket, key.number)
}

fn key_of(name: &str) -> Option<ConnKey> {
    let (bucket, number) = name.split_once('-')?;
    Some(ConnKey { bucket: BucketId(bucket.parse().ok()?), number: number.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DiskVolume, WriteFolder};
    use std::path::Path;
    use streamdb_testkit::TestFolder;

    fn working(folder: &Path) -> Status {
        Status::read(folder, Teller::Working).unwrap().unwrap_or_default()
    }

    fn key(number: u32) -> ConnKey {
        ConnKey { bucket: BucketId(1 << 32 | 7), number }
    }

    #[test]
    fn whoever_ends_processes_is_counted_beside_many_that_are_given_up() {
        let folder = TestFolder::new("suspects-many");
        drop(WriteFolder::open(folder.path(), Box::new(DiskVolume)).unwrap());
        let store = Store::open(folder.path()).unwrap();
        let open = || Suspects::open(&store, &store.derive_lock().unwrap(), &DiskVolume).unwrap();
        let mut suspects = open();
        let many = MOST as u32;
        for number in 0..many {
            suspects.known.insert(key(number + 1), (1, "it failed".to_owned()));
        }
        suspects.keep(None).unwrap();
        // Before all of them in the order of buckets.
        for _ in 0..TRIES {
            suspects.begin(key(0)).unwrap();
            drop(suspects);
            suspects = open();
        }
        assert!(store.given_up(key(0)).is_some_and(|why| why.contains("three times")));
        assert_eq!((suspects.given_up(), store.given_up(key(1))), (MOST as u64, None));
        assert!(store.given_up(key(many)).is_some());
    }

    #[test]
    fn whoever_ends_processes_is_given_up() {
        let folder = TestFolder::new("suspects");
        drop(WriteFolder::open(folder.path(), Box::new(DiskVolume)).unwrap());
        let store = Store::open(folder.path()).unwrap();
        let open = || Suspects::open(&store, &store.derive_lock().unwrap(), &DiskVolume).unwrap();
        let suspects = open();
        suspects.begin(key(1)).unwrap();
        assert_eq!(working(folder.path()).text(WORK), Some("4294967303-1"));
        drop(suspects);
        // Once it may have been by chance, and even twice.
        let suspects = open();
        assert_eq!((suspects.given_up(), store.given_up(key(1))), (0, None));
        suspects.begin(key(1)).unwrap();
        drop(suspects);
        let suspects = open();
        assert_eq!((suspects.given_up(), store.given_up(key(1))), (0, None));
        // Others come before it once more.
        suspects.begin(key(0)).unwrap();
        suspects.begin(key(1)).unwrap();
        drop(suspects);
        let suspects = open();
        assert_eq!(suspects.given_up(), 1);
        assert!(store.given_up(key(1)).is_some_and(|why| why.contains("three times")), "{:?}", store.given_up(key(1)));
        assert_eq!(store.given_up(key(0)), None);
        // One that came to its end is not suspected any more.
        suspects.begin(key(2)).unwrap();
        drop(suspects);
        let mut next = open();
        next.begin(key(2)).unwrap();
        next.done(key(2)).unwrap();
        next.rest().unwrap();
        drop(next);
        let next = open();
        next.begin(key(2)).unwrap();
        drop(next);
        let mut next = open();
        assert_eq!((next.given_up(), store.given_up(key(2))), (1, None));
        // Of one that is given up the rows that are kept go into the index, which ends well.
        next.begin(key(1)).unwrap();
        next.done(key(1)).unwrap();
        assert_eq!(next.given_up(), 1);
        // Who is accused is not tried again.
        next.begin(key(3)).unwrap();
        Accuser::open(&store, &DiskVolume).unwrap().accuse(key(3), "it took too long").unwrap();
        drop(next);
        let mut next = open();
        assert_eq!(store.given_up(key(3)).as_deref(), Some("it took too long"));
        next.forget().unwrap();
        assert_eq!((next.given_up(), store.given_up(key(3))), (0, None));
    }
}
