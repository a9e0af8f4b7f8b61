//! Which connections are being taken apart, and which were given up, as taking them apart ended the process: so that one connection
//! costs its own objects, and no other's.
//!
//! A process writes down which ones are in work, over what it wrote before, as each begins; whoever finds some there when it starts
//! knows in which its predecessor ended. Beside that stands how often it was so. Both have the form of a
//! [`Status`](crate::Status), and losing them costs no more than another try.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata, TryLockError};
use std::path::{Path, PathBuf};
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

/// What is done with a connection, by a number of who does it: that one thing came to its end says nothing of another in which the
/// process ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stage(pub u64);

impl Stage {
    /// All that there is to do with it.
    pub const ALL: Self = Self(0);
    const LAST: Self = Self(u64::MAX);
}

/// What is being taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// No other of this process has this number.
    pub number: u64,
    /// The connection.
    pub key: ConnKey,
    /// What is done with it.
    pub stage: Stage,
    /// Bytes of its streams, as far as they are known.
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

/// In how many processes that ended each was in work, and why it was given up, if it was.
type Tries = BTreeMap<(ConnKey, Stage), (u64, String)>;

/// Where it is kept.
#[derive(Debug)]
struct Memory {
    working: StatusWriter,
    given_up: StatusWriter,
    /// Of who serves: nobody else keeps there what it serves.
    serves: Option<Serves>,
}

/// The place of a server.
#[derive(Debug)]
struct Serves {
    folder: PathBuf,
    /// Who wrote last what is given up: another one is somebody who forgot all of it.
    wrote: u32,
    _lock: File,
}

#[derive(Debug, Default)]
struct State {
    /// None where nothing may be written.
    memory: Option<Memory>,
    known: Tries,
    /// Of each thread, that one last which it is at.
    works: Vec<Work>,
    /// How many there were.
    begun: u64,
    /// Nobody is to blame any more for how the process ends.
    closed: bool,
}

impl Suspects {
    /// Of who derives: goes on from what the last process left.
    ///
    /// # Errors
    /// When the files cannot be read or written.
    pub fn open(store: &Store, _lock: &DeriveLock, volume: &dyn Volume) -> Result<Arc<Self>> {
        Ok(Self::with(store, State::of(store.path(), volume, None)?))
    }

    /// Of who serves, which has a memory of its own: what it gives up is derived all the same, alone and with more time. Where it may
    /// not write there, or another server does, it knows what was given up until now, and says why it will keep nothing.
    pub fn of_server(store: &Store) -> (Arc<Self>, Result<()>) {
        let served = Serves::take(store.path()).and_then(|serves| State::of(store.path(), &DiskVolume, Some(serves)));
        match served {
            Ok(state) => (Self::with(store, state), Ok(())),
            Err(error) => {
                let known = known(store.path(), Teller::NotServed).unwrap_or_default();
                (Self::with(store, State { known, ..State::default() }), Err(error))
            }
        }
    }

    fn with(store: &Store, state: State) -> Arc<Self> {
        let this = Arc::new(Self { state: Mutex::new(state), ended: Condvar::new() });
        store.set_suspects(&this);
        this
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This is done with a connection from here on by this thread; `None` when it is at that connection already. One that is suspected
    /// is alone, as far as the others let it be.
    pub fn begin(self: &Arc<Self>, key: ConnKey, stage: Stage, length: u64) -> Option<InWork> {
        let by = thread::current().id();
        let mut state = self.state();
        let mine = state.works.iter_mut().rev().find(|work| work.by == by);
        let is_free = mine.is_none();
        if let Some(mine) = mine.filter(|work| work.key == key) {
            mine.length = mine.length.max(length);
            return None;
        }
        let suspected = state.known.get(&(key, stage)).is_some_and(|(_, why)| why.is_empty());
        // Who is at something already waits for nobody, who may wait for it.
        if is_free {
            let alone = state.works.iter().filter(|work| work.alone);
            let rests = alone.map(|work| ALONE.saturating_sub(work.since.elapsed())).max().unwrap_or_default();
            let patience = if suspected { ALONE } else { rests };
            let in_the_way =
                |state: &mut State| state.works.iter().any(|work| work.alone) || suspected && !state.works.is_empty();
            state =
                self.ended.wait_timeout_while(state, patience, in_the_way).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.begun += 1;
        let number = state.begun;
        let thread = thread_number();
        state.works.push(Work { number, key, stage, length, since: Instant::now(), thread, by, alone: suspected });
        // A disk that does not take it says so where something is kept. Until it does, who ends a process is not known to the next one.
        let noted = state.note().is_ok();
        Some(InWork { of: Arc::clone(self), number, what: (key, stage), noted })
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
        let state = self.state();
        let mut known = state.known.range((key, Stage::ALL)..=(key, Stage::LAST));
        known.find_map(|(_, (_, why))| Some(why.clone()).filter(|why| !why.is_empty()))
    }

    /// The process ends for this one, and the next is not to try it again. Nothing else is written from here on.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn accuse(&self, key: ConnKey, why: &str) -> Result<()> {
        let mut state = self.state();
        state.closed = true;
        let mut status = Status::default();
        status.set(WORK, name_of((key, Stage::ALL)));
        status.set(WHY, why);
        state.memory.as_ref().map_or(Ok(()), |memory| memory.working.write(status.values))
    }

    /// However this process ends from here on, what is in work is not to blame.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn acquit(&self) -> Result<()> {
        let mut state = self.state();
        state.closed = true;
        state.memory.as_ref().map_or(Ok(()), |memory| memory.working.write(BTreeMap::new()))
    }

    /// All are tried again, also by who serves, from when it starts.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn forget(&self, store: &Store, volume: &dyn Volume) -> Result<()> {
        let mut state = self.state();
        state.known.clear();
        state.keep(&BTreeSet::new())?;
        if Teller::NotServed.path(store.path()).exists() {
            StatusWriter::open(volume, store.path(), Teller::NotServed)?.write(BTreeMap::new())?;
        }
        Ok(())
    }

    /// How many were given up.
    pub fn given_up(&self) -> u64 {
        let state = self.state();
        let given_up = state.known.iter().filter(|(_, (_, why))| !why.is_empty());
        given_up.map(|((key, _), _)| key).collect::<BTreeSet<_>>().len() as u64
    }

    fn end(&self, number: u64) {
        let mut state = self.state();
        state.works.retain(|work| work.number != number);
        // Nobody is worse off when it stands there longer.
        _ = state.note();
        drop(state);
        self.ended.notify_all();
    }
}

impl Serves {
    fn take(folder: &Path) -> Result<Self> {
        let derived = folder.join(DERIVED);
        std::fs::create_dir_all(&derived).map_err(Error::io(&derived, "make it"))?;
        let path = Teller::Serving.path(folder);
        let lock = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let lock = lock.map_err(Error::io(&path, "open it"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Served { path }),
            Err(TryLockError::Error(error)) => return Err(Error::io(&path, "lock it")(error)),
        }
        let wrote = Status::read(folder, Teller::NotServed)?.map_or(0, |status| status.pid);
        Ok(Self { folder: folder.to_owned(), wrote, _lock: lock })
    }
}

impl State {
    /// Goes on from what the last process left in a data folder, of those that serve or that derive.
    fn of(folder: &Path, volume: &dyn Volume, serves: Option<Serves>) -> Result<Self> {
        let (working, given_up) = match serves {
            Some(_) => (Teller::Serving, Teller::NotServed),
            None => (Teller::Working, Teller::GivenUp),
        };
        let known = known(folder, given_up)?;
        let memory = Memory {
            working: StatusWriter::open(volume, folder, working)?,
            given_up: StatusWriter::open(volume, folder, given_up)?,
            serves,
        };
        let mut state = Self { memory: Some(memory), known, ..Self::default() };
        let left = Status::read(folder, working)?.unwrap_or_default();
        // Several threads may have been at one.
        let all: BTreeSet<(ConnKey, Stage)> =
            left.text(WORK).unwrap_or_default().split(' ').filter_map(what_of).collect();
        let several = all.iter().any(|(key, _)| all.iter().any(|(other, _)| other != key));
        if let Some(why) = left.text(WHY) {
            all.iter().try_for_each(|(key, _)| state.give_up(*key, why))?;
        } else if !all.is_empty() {
            for what in &all {
                let (tries, why) = state.known.entry(*what).or_default();
                *tries = tries.saturating_add(1);
                // Of several nobody knows which one it was. The next time each is alone, if the others end soon.
                if why.is_empty() && (*tries >= TRIES && !several || *tries >= MANY) {
                    *why = format!("the process that took it apart ended in it, {tries} times");
                }
            }
            state.keep(&all)?;
        }
        // On a full disk there is nothing to take back where nothing was left.
        if !all.is_empty() {
            state.note()?;
        }
        Ok(state)
    }

    /// What each thread is at.
    fn now(&self) -> impl Iterator<Item = &Work> {
        let later = |at: usize, work: &Work| self.works.iter().skip(at + 1).any(|other| other.by == work.by);
        self.works.iter().enumerate().filter(move |(at, work)| !later(*at, work)).map(|(_, work)| work)
    }

    /// Writes down what is in work.
    fn note(&self) -> Result<()> {
        let Some(memory) = self.memory.as_ref().filter(|_| !self.closed) else { return Ok(()) };
        let mut status = Status::default();
        let names: BTreeSet<String> = self.now().map(|work| name_of((work.key, work.stage))).collect();
        if !names.is_empty() {
            status.set(WORK, names.into_iter().collect::<Vec<_>>().join(" "));
        }
        memory.working.write(status.values)
    }

    fn give_up(&mut self, key: ConnKey, why: &str) -> Result<()> {
        let what = (key, Stage::ALL);
        let (tries, known) = self.known.entry(what).or_default();
        (*tries, *known) = (tries.saturating_add(1), why.to_owned());
        self.keep(&BTreeSet::from([what]))
    }

    /// Keeps what is known. When that is too much, those of the oldest buckets go that are given up, but not those that were just
    /// counted; and last those that are tried still, of which one may be who ends the processes.
    fn keep(&mut self, counted: &BTreeSet<(ConnKey, Stage)>) -> Result<()> {
        if let Some(serves) = self.memory.as_mut().and_then(|memory| memory.serves.as_mut()) {
            let wrote = Status::read(&serves.folder, Teller::NotServed).ok().flatten().map_or(0, |status| status.pid);
            if wrote != serves.wrote {
                self.known.retain(|what, _| counted.contains(what));
            }
            serves.wrote = std::process::id();
        }
        while self.known.len() > MOST {
            let others = || self.known.iter().filter(|(what, _)| !counted.contains(what));
            let first = others().find(|(_, (_, why))| !why.is_empty()).or_else(|| others().next());
            let Some(what) = first.map(|(what, _)| *what) else { break };
            self.known.remove(&what);
        }
        let mut status = Status::default();
        status.set(VERSION, DERIVATION);
        for (what, (tries, why)) in &self.known {
            status.set(&name_of(*what), format_args!("{tries} {why}"));
        }
        self.memory.as_ref().map_or(Ok(()), |memory| memory.given_up.write(status.values))
    }
}

/// A connection that is being taken apart; it is no more when this is dropped.
#[derive(Debug)]
pub struct InWork {
    of: Arc<Suspects>,
    number: u64,
    what: (ConnKey, Stage),
    noted: bool,
}

impl InWork {
    /// It was, and the process goes on: it is suspected no more. One that is given up stays so: what is not taken apart ends well.
    pub fn done(self) {
        let mut state = self.of.state();
        // Nearly none is known.
        if !self.noted || state.known.get(&self.what).is_none_or(|(_, why)| !why.is_empty()) {
            return;
        }
        state.known.remove(&self.what);
        // If that is not kept, it is done once more.
        _ = state.keep(&BTreeSet::new());
    }
}

impl Drop for InWork {
    fn drop(&mut self) {
        self.of.end(self.number);
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
                Some((what_of(name)?.0, why.to_owned()))
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

/// What is kept of those of this version.
fn known(folder: &Path, given_up: Teller) -> Result<Tries> {
    let read = Status::read(folder, given_up)?.filter(of_this_version).unwrap_or_default();
    let known = read.values.iter().filter_map(|(name, value)| {
        let (tries, why) = value.split_once(' ')?;
        Some((what_of(name)?, (tries.parse().ok()?, why.to_owned())))
    });
    Ok(known.collect())
}

fn name_of((key, stage): (ConnKey, Stage)) -> String {
    let name = format!("{}-{}", key.bucket, key.number);
    if stage == Stage::ALL { name } else { format!("{name}-{:x}", stage.0) }
}

fn what_of(name: &str) -> Option<(ConnKey, Stage)> {
    let mut words = name.split('-');
    let key = ConnKey { bucket: BucketId(words.next()?.parse().ok()?), number: words.next()?.parse().ok()? };
    let stage = words.next().map_or(Some(0), |stage| u64::from_str_radix(stage, 16).ok())?;
    words.next().is_none().then_some((key, Stage(stage)))
}

/// How the system numbers this thread.
fn thread_number() -> u32 {
    thread_local! {
        static NUMBER: u32 = std::fs::read_link("/proc/thread-self")
            .ok()
            .and_then(|link| link.file_name()?.to_str()?.parse().ok())
            .unwrap_or(0);
    }
    NUMBER.with(|number| *number)
}

#[cfg(test)]
mod tests;
