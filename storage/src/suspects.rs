//! Which connections are being taken apart, and which were given up, as taking them apart ended the process: so that one connection
//! costs its own objects, and no other's.
//!
//! A process writes down which ones are in work, over what it wrote before, as each begins; whoever finds some there when it starts
//! knows in which its predecessor ended. Beside that stands how often it was so. Both have the form of a
//! [`Status`](crate::Status), and losing them costs no more than another try.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant, SystemTime};

use streamdb_types::{BucketId, ConnKey};

use crate::derived::DERIVATION;
use crate::error::{Error, Result};
use crate::folder::DERIVED;
use crate::read::derived::DeriveLock;
use crate::read::store::Store;
use crate::status::{Status, StatusWriter, Teller};
use crate::volume::{DiskVolume, Volume};

/// In so many processes that ended a connection may be in work until it is given up: the first ones may have been ended by something
/// else, as by a power cut.
const TRIES: u64 = 3;
/// As many where others were in work, too, each time.
const MANY: u64 = 10;
/// A file that changed more recently than this may change again without a later time.
const RECENT: Duration = Duration::from_millis(100);
/// Most connections that are remembered.
const MOST: usize = 1024;
/// How long one that is suspected waits until no other is in work, so that it is known who ended the process; and how long from its
/// beginning on others wait for it, which may be sent to somebody who reads it slowly.
const ALONE: Duration = Duration::from_secs(10);

/// What is being taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// The connection.
    pub key: ConnKey,
    /// Bytes of its stream that is looked at.
    pub length: u64,
    /// Since when.
    pub since: Instant,
    /// By which thread, as the system numbers them; 0 when that is not known.
    pub thread: u32,
    by: ThreadId,
    /// Whether all others wait meanwhile.
    alone: bool,
}

/// The connections that are not taken apart, and why.
type GivenUp = Arc<BTreeMap<ConnKey, String>>;

/// What a reader knows of them, and of when the file was that it knows it from.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<(Option<SystemTime>, GivenUp)>);

/// The side of a process that takes connections apart, on whichever of its threads.
#[derive(Debug)]
pub struct Suspects {
    state: Mutex<State>,
    /// One came to its end.
    ended: Condvar,
}

#[derive(Debug)]
struct State {
    working: StatusWriter,
    given_up: StatusWriter,
    /// In how many processes that ended each was in work, and why it was given up, if it was.
    known: BTreeMap<ConnKey, (u64, String)>,
    /// Of each thread, that one last which it is at.
    works: Vec<Work>,
    /// Nobody is to blame any more for how the process ends.
    closed: bool,
}

impl Suspects {
    /// Of who derives: goes on from what the last process left.
    ///
    /// # Errors
    /// When the files cannot be read or written.
    pub fn open(store: &Store, _lock: &DeriveLock, volume: &dyn Volume) -> Result<Arc<Self>> {
        Self::of(store, Teller::Working, Teller::GivenUp, volume)
    }

    /// Of who serves, which has a memory of its own: what it gives up is derived all the same, alone and with more time.
    ///
    /// # Errors
    /// When the files cannot be read or written.
    pub fn of_server(store: &Store) -> Result<Arc<Self>> {
        let folder = store.path().join(DERIVED);
        std::fs::create_dir_all(&folder).map_err(Error::io(&folder, "make it"))?;
        Self::of(store, Teller::Serving, Teller::NotServed, &DiskVolume)
    }

    fn of(store: &Store, working: Teller, given_up: Teller, volume: &dyn Volume) -> Result<Arc<Self>> {
        let folder = store.path();
        let read = Status::read(folder, given_up)?.filter(of_this_version).unwrap_or_default();
        let known = read.values.iter().filter_map(|(name, value)| {
            let (tries, why) = value.split_once(' ')?;
            Some((key_of(name)?, (tries.parse().ok()?, why.to_owned())))
        });
        let mut state = State {
            working: StatusWriter::open(volume, folder, working)?,
            given_up: StatusWriter::open(volume, folder, given_up)?,
            known: known.collect(),
            works: Vec::new(),
            closed: false,
        };
        // One that lives has not ended in anything. Of those that derive there is but one.
        let others = working == Teller::Serving;
        let left = Status::read(folder, working)?.filter(|left| !(others && lives(left.pid))).unwrap_or_default();
        let keys: Vec<ConnKey> = left.text(WORK).unwrap_or_default().split(' ').filter_map(key_of).collect();
        match (left.text(WHY), keys.as_slice()) {
            (_, []) => {}
            (Some(why), [key, ..]) => state.give_up(*key, why)?,
            (None, keys) => {
                for key in keys {
                    let (tries, why) = state.known.entry(*key).or_default();
                    *tries = tries.saturating_add(1);
                    // Of several nobody knows which one it was. The next time each is alone, if the others end soon.
                    if why.is_empty() && (*tries >= TRIES && keys.len() == 1 || *tries >= MANY) {
                        *why = format!("the process that took it apart ended in it, {tries} times");
                    }
                }
                state.keep(keys)?;
            }
        }
        // On a full disk there is nothing to take back where nothing was left.
        if !keys.is_empty() {
            state.note()?;
        }
        let this = Arc::new(Self { state: Mutex::new(state), ended: Condvar::new() });
        store.set_suspects(&this);
        Ok(this)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This connection is taken apart from here on by this thread; `None` when it is at that already. One that is suspected is alone,
    /// as far as the others let it be.
    pub fn begin(self: &Arc<Self>, key: ConnKey, length: u64) -> Option<InWork> {
        let by = thread::current().id();
        let mut state = self.state();
        let mine = state.works.iter().rev().find(|work| work.by == by).map(|work| work.key);
        if mine == Some(key) {
            return None;
        }
        let suspected = state.known.get(&key).is_some_and(|(_, why)| why.is_empty());
        // Who is at something already waits for nobody, who may wait for it.
        if mine.is_none() {
            let alone = state.works.iter().filter(|work| work.alone);
            let rests = alone.map(|work| ALONE.saturating_sub(work.since.elapsed())).max().unwrap_or_default();
            let patience = if suspected { ALONE } else { rests };
            let in_the_way =
                |state: &mut State| state.works.iter().any(|work| work.alone) || suspected && !state.works.is_empty();
            state =
                self.ended.wait_timeout_while(state, patience, in_the_way).unwrap_or_else(PoisonError::into_inner).0;
        }
        let work = Work { key, length, since: Instant::now(), thread: number(), by, alone: suspected };
        state.works.push(work);
        // A disk that does not take it says so where something is kept. Until it does, who ends a process is not known to the next one.
        let noted = state.note().is_ok();
        Some(InWork { of: Arc::clone(self), work, noted })
    }

    /// What is in work: of each thread what it is at.
    pub fn works(&self) -> Vec<Work> {
        self.state().now().copied().collect()
    }

    /// It is not taken apart again by this version.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn give_up(&self, key: ConnKey, why: &str) -> Result<()> {
        self.state().give_up(key, why)
    }

    /// Why it was, if it was.
    pub fn why(&self, key: ConnKey) -> Option<String> {
        self.state().known.get(&key).map(|(_, why)| why.clone()).filter(|why| !why.is_empty())
    }

    /// The process ends for this one, and the next is not to try it again. Nothing else is written from here on.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn accuse(&self, key: ConnKey, why: &str) -> Result<()> {
        let mut state = self.state();
        state.closed = true;
        let mut status = Status::default();
        status.set(WORK, name_of(key));
        status.set(WHY, why);
        state.working.write(status.values)
    }

    /// However this process ends from here on, what is in work is not to blame.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn acquit(&self) -> Result<()> {
        let mut state = self.state();
        state.closed = true;
        state.working.write(BTreeMap::new())
    }

    /// All are tried again, also by who serves, from when it starts.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn forget(&self, store: &Store, volume: &dyn Volume) -> Result<()> {
        let mut state = self.state();
        state.known.clear();
        state.keep(&[])?;
        if Teller::NotServed.path(store.path()).exists() {
            StatusWriter::open(volume, store.path(), Teller::NotServed)?.write(BTreeMap::new())?;
        }
        Ok(())
    }

    /// How many were given up.
    pub fn given_up(&self) -> u64 {
        self.state().known.values().filter(|(_, why)| !why.is_empty()).count() as u64
    }

    fn end(&self, work: &Work) {
        let mut state = self.state();
        state.works.retain(|other| other != work);
        // Nobody is worse off when it stands there longer.
        _ = state.note();
        drop(state);
        self.ended.notify_all();
    }
}

impl State {
    /// What each thread is at.
    fn now(&self) -> impl Iterator<Item = &Work> {
        let later = |at: usize, work: &Work| self.works.iter().skip(at + 1).any(|other| other.by == work.by);
        self.works.iter().enumerate().filter(move |(at, work)| !later(*at, work)).map(|(_, work)| work)
    }

    /// Writes down what is in work.
    fn note(&self) -> Result<()> {
        if self.closed {
            return Ok(());
        }
        let mut status = Status::default();
        let names: Vec<String> = self.now().map(|work| name_of(work.key)).collect();
        if !names.is_empty() {
            status.set(WORK, names.join(" "));
        }
        self.working.write(status.values)
    }

    fn give_up(&mut self, key: ConnKey, why: &str) -> Result<()> {
        let (tries, known) = self.known.entry(key).or_default();
        (*tries, *known) = (tries.saturating_add(1), why.to_owned());
        self.keep(&[key])
    }

    /// Keeps what is known. When that is too much, those of the oldest buckets go that are given up, but not those that were just
    /// counted; and last those that are tried still, of which one may be who ends the processes.
    fn keep(&mut self, counted: &[ConnKey]) -> Result<()> {
        while self.known.len() > MOST {
            let others = || self.known.iter().filter(|(key, _)| !counted.contains(key));
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

/// A connection that is being taken apart; it is no more when this is dropped.
#[derive(Debug)]
pub struct InWork {
    of: Arc<Suspects>,
    work: Work,
    noted: bool,
}

impl InWork {
    /// It was, and the process goes on: it is suspected no more. One that is given up stays so: what is not taken apart ends well.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn done(self) -> Result<()> {
        let mut state = self.of.state();
        // Nearly none is known.
        if !self.noted || state.known.get(&self.work.key).is_none_or(|(_, why)| !why.is_empty()) {
            return Ok(());
        }
        state.known.remove(&self.work.key);
        state.keep(&[])
    }
}

impl Drop for InWork {
    fn drop(&mut self) {
        self.of.end(&self.work);
    }
}

impl Store {
    /// Why a connection is not taken apart, if it is one of those: as who derives says, and this process.
    pub fn given_up(&self, key: ConnKey) -> Option<String> {
        let path = Teller::GivenUp.path(self.path());
        self.told(&path, key).or_else(|| self.suspects()?.why(key))
    }

    /// What watches over what this process takes apart, if anything does.
    pub fn suspects(&self) -> Option<Arc<Suspects>> {
        self.watching.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_suspects(&self, suspects: &Arc<Suspects>) {
        *self.watching.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(suspects));
    }

    fn told(&self, path: &Path, key: ConnKey) -> Option<String> {
        let changed = std::fs::metadata(path).and_then(|facts: Metadata| facts.modified()).ok()?;
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

/// Whether this process runs, and is another one.
fn lives(pid: u32) -> bool {
    pid != std::process::id() && pid != 0 && Path::new("/proc").join(pid.to_string()).exists()
}

/// How the system numbers this thread.
fn number() -> u32 {
    thread_local! {
        static NUMBER: u32 = std::fs::read_link("/proc/thread-self")
            .ok()
            .and_then(|link| link.file_name()?.to_str()?.parse().ok())
            .unwrap_or(0);
    }
    NUMBER.with(|number| *number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DiskVolume, WriteFolder};
    use streamdb_testkit::TestFolder;

    fn working(folder: &Path) -> Status {
        Status::read(folder, Teller::Working).unwrap().unwrap_or_default()
    }

    /// The process ends with this in work.
    fn ends_in(suspects: &Arc<Suspects>, key: ConnKey) {
        std::mem::forget(suspects.begin(key, 0).unwrap());
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
            suspects.state().known.insert(key(number + 1), (1, "it failed".to_owned()));
        }
        suspects.state().keep(&[]).unwrap();
        // Before all of them in the order of buckets.
        for _ in 0..TRIES {
            ends_in(&suspects, key(0));
            drop(suspects);
            suspects = open();
        }
        assert!(store.given_up(key(0)).is_some_and(|why| why.contains("3 times")));
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
        ends_in(&suspects, key(1));
        assert_eq!(working(folder.path()).text(WORK), Some("4294967303-1"));
        drop(suspects);
        // Once it may have been by chance, and even twice.
        let suspects = open();
        assert_eq!((suspects.given_up(), store.given_up(key(1))), (0, None));
        ends_in(&suspects, key(1));
        drop(suspects);
        let suspects = open();
        assert_eq!((suspects.given_up(), store.given_up(key(1))), (0, None));
        // Others come before it once more.
        ends_in(&suspects, key(0));
        ends_in(&suspects, key(1));
        drop(suspects);
        let suspects = open();
        assert_eq!(suspects.given_up(), 1);
        assert!(store.given_up(key(1)).is_some_and(|why| why.contains("3 times")), "{:?}", store.given_up(key(1)));
        assert_eq!(store.given_up(key(0)), None);
        // One that came to its end is not suspected any more.
        ends_in(&suspects, key(2));
        drop(suspects);
        let next = open();
        let in_work = next.begin(key(2), 0).unwrap();
        assert!(next.begin(key(2), 0).is_none(), "this thread is at it already");
        in_work.done().unwrap();
        assert_eq!((working(folder.path()).text(WORK), next.works().len()), (None, 0));
        drop(next);
        let next = open();
        ends_in(&next, key(2));
        drop(next);
        let next = open();
        assert_eq!((next.given_up(), store.given_up(key(2))), (1, None));
        // Of one that is given up the rows that are kept go into the index, which ends well.
        next.begin(key(1), 0).unwrap().done().unwrap();
        assert_eq!(next.given_up(), 1);
        // Who is accused is not tried again.
        ends_in(&next, key(3));
        next.accuse(key(3), "it took too long").unwrap();
        ends_in(&next, key(4));
        let next = open();
        assert_eq!(store.given_up(key(3)).as_deref(), Some("it took too long"));
        next.forget(&store, &DiskVolume).unwrap();
        assert_eq!((next.given_up(), store.given_up(key(3))), (0, None));
        // A process that was asked to end blames nobody.
        for _ in 0..TRIES {
            let next = open();
            ends_in(&next, key(5));
            next.acquit().unwrap();
        }
        assert_eq!(open().given_up(), 0);
    }

    #[test]
    fn of_several_nobody_is_given_up_before_it_was_alone() {
        let folder = TestFolder::new("suspects-several");
        drop(WriteFolder::open(folder.path(), Box::new(DiskVolume)).unwrap());
        let store = Store::open(folder.path()).unwrap();
        for _ in 0..5 {
            let suspects = Suspects::of_server(&store).unwrap();
            assert_eq!(suspects.given_up(), 0);
            // As if none waited for another.
            for number in [1, 2] {
                let suspects = Arc::clone(&suspects);
                let thread = std::thread::spawn(move || {
                    let mut state = suspects.state();
                    let by = thread::current().id();
                    let since = Instant::now();
                    state.works.push(Work { key: key(number), length: 0, since, thread: 0, by, alone: false });
                    state.note().unwrap();
                });
                thread.join().unwrap();
            }
        }
        let suspects = Suspects::of_server(&store).unwrap();
        // One that is suspected waits for the others, and they for it.
        let one = suspects.begin(key(1), 0).unwrap();
        let others = Arc::clone(&suspects);
        let other = std::thread::spawn(move || others.begin(key(7), 0).map(drop));
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(suspects.works().len(), 1);
        one.done().unwrap();
        other.join().unwrap();
        ends_in(&suspects, key(2));
        let suspects = Suspects::of_server(&store).unwrap();
        assert_eq!((suspects.why(key(1)), suspects.given_up()), (None, 1));
        assert!(store.given_up(key(2)).is_some_and(|why| why.contains("6 times")));
        // Whoever derives has a memory of its own.
        assert_eq!(Store::open(folder.path()).unwrap().given_up(key(2)), None);
    }

    #[test]
    fn who_is_alone_for_long_keeps_nobody_waiting_and_is_given_up_though_others_are_there() {
        let folder = TestFolder::new("suspects-long");
        drop(WriteFolder::open(folder.path(), Box::new(DiskVolume)).unwrap());
        let store = Store::open(folder.path()).unwrap();
        let mut suspects = Suspects::of_server(&store).unwrap();
        for ends in 1..=MANY {
            assert_eq!(suspects.given_up(), 0, "{ends}");
            ends_in(&suspects, key(1));
            // It began so long ago.
            suspects.state().works[0].since = Instant::now().checked_sub(ALONE).unwrap();
            let begun = Instant::now();
            // Another one each time, of another thread.
            let others = Arc::clone(&suspects);
            std::thread::spawn(move || ends_in(&others, key(10 + ends as u32))).join().unwrap();
            assert!(begun.elapsed() < ALONE / 2, "{:?}", begun.elapsed());
            suspects = Suspects::of_server(&store).unwrap();
        }
        assert_eq!((suspects.why(key(11)), suspects.given_up()), (None, 1));
        assert!(suspects.why(key(1)).is_some_and(|why| why.contains("10 times")));
    }
}
