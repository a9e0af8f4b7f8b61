//! One connection costs its own objects, and no other's: what comes of taking it apart is caught when it fails, what is in work is
//! written down in case the process ends, and is shown to who watches over how long it takes.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use streamdb_storage::{DeriveLock, Error as StoreError, Store, StreamInfo, Suspects, Volume};
use streamdb_types::{ConnKey, ObjectRow};

use crate::error::Error;
use crate::rows::Rows;

/// What is being taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// The connection.
    pub key: ConnKey,
    /// Bytes of its stream that ended last.
    pub length: u64,
    /// Since when.
    pub since: Instant,
}

/// What a deriver did so far, and what it is at: for other threads to see.
#[derive(Debug, Default)]
pub struct Tally {
    connections: AtomicU64,
    objects: AtomicU64,
    damaged: AtomicU64,
    given_up: AtomicU64,
    work: Mutex<Option<Work>>,
}

impl Tally {
    /// Connections whose rows were made.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Rows made.
    pub fn objects(&self) -> u64 {
        self.objects.load(Ordering::Relaxed)
    }

    /// Connections that could not be read.
    pub fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Connections that are given up, by this process or one before it.
    pub fn given_up(&self) -> u64 {
        self.given_up.load(Ordering::Relaxed)
    }

    /// What is being taken apart now.
    pub fn work(&self) -> Option<Work> {
        *self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn made(&self, objects: u64) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.objects.fetch_add(objects, Ordering::Relaxed);
    }

    pub(crate) fn was_damaged(&self) {
        self.damaged.fetch_add(1, Ordering::Relaxed);
    }

    fn set(&self, work: Option<Work>) {
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = work;
    }
}

/// What stands between a deriver and what it takes apart.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    /// Once they were asked for.
    suspects: Option<Suspects>,
    pub(crate) tally: Arc<Tally>,
}

impl Guard {
    /// Who is suspected by now, with what the process before left.
    pub(crate) fn suspects(
        &mut self,
        store: &Store,
        lock: &DeriveLock,
        volume: &dyn Volume,
    ) -> Result<&mut Suspects, StoreError> {
        match &mut self.suspects {
            Some(suspects) => Ok(suspects),
            none => {
                let suspects = Suspects::open(store, lock, volume)?;
                self.tally.given_up.store(suspects.given_up(), Ordering::Relaxed);
                Ok(none.insert(suspects))
            }
        }
    }

    /// Nothing is in work for now.
    pub(crate) fn rest(&self) -> Result<(), StoreError> {
        self.suspects.as_ref().map_or(Ok(()), Suspects::rest)
    }

    /// What `work` makes of a connection; nothing when that is given up, now or before.
    pub(crate) fn rows(
        &mut self,
        rows: &mut Rows,
        stream: &StreamInfo,
        work: impl FnOnce(&mut Rows) -> Result<Vec<ObjectRow>, Error>,
    ) -> Result<Vec<ObjectRow>, Error> {
        let Some(suspects) = &mut self.suspects else { return work(rows) };
        let key = stream.key;
        suspects.begin(key)?;
        self.tally.set(Some(Work { key, length: stream.length.0, since: Instant::now() }));
        let made = catch_unwind(AssertUnwindSafe(|| work(rows)));
        self.tally.set(None);
        match made {
            Ok(Err(Error::GivenUp { .. })) => Ok(Vec::new()),
            Ok(made) => {
                suspects.done(key)?;
                made
            }
            Err(panic) => {
                // Nobody knows what it left in there.
                *rows = Rows::new();
                suspects.give_up(key, &format!("taking it apart failed: {}", said(&*panic)))?;
                self.tally.given_up.store(suspects.given_up(), Ordering::Relaxed);
                Ok(Vec::new())
            }
        }
    }
}

/// What a panic said, in short.
fn said(panic: &(dyn Any + Send)) -> String {
    const LONGEST: usize = 200;
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("for no reason that it said").chars().take(LONGEST).collect()
}
