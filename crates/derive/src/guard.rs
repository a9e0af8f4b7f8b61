//! One connection costs its own objects, and no other's: what comes of taking it apart is caught when it fails, what is in work is
//! written down in case the process ends, and is shown to who watches over how long it takes.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use streamdb_storage::{DeriveLock, Error as StoreError, Store, StreamInfo, Suspects, Volume};
use streamdb_types::ObjectRow;

use crate::error::Error;
use crate::rows::Rows;

/// What a deriver did so far: for other threads to see.
#[derive(Debug, Default)]
pub struct Tally {
    connections: AtomicU64,
    objects: AtomicU64,
    damaged: AtomicU64,
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

    pub(crate) fn made(&self, objects: u64) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.objects.fetch_add(objects, Ordering::Relaxed);
    }

    pub(crate) fn was_damaged(&self) {
        self.damaged.fetch_add(1, Ordering::Relaxed);
    }
}

/// What stands between a deriver and what it takes apart.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    /// Once they were asked for.
    suspects: Option<Arc<Suspects>>,
    pub(crate) tally: Arc<Tally>,
}

impl Guard {
    /// Who is suspected by now, with what the process before left.
    pub(crate) fn suspects(
        &mut self,
        store: &Store,
        lock: &DeriveLock,
        volume: &dyn Volume,
    ) -> Result<&Arc<Suspects>, StoreError> {
        match &mut self.suspects {
            Some(suspects) => Ok(suspects),
            none => Ok(none.insert(Suspects::open(store, lock, volume)?)),
        }
    }

    /// What `work` makes of a connection; nothing when that is given up, now or before.
    pub(crate) fn rows(
        &self,
        rows: &mut Rows,
        stream: &StreamInfo,
        work: impl FnOnce(&mut Rows) -> Result<Vec<ObjectRow>, Error>,
    ) -> Result<Vec<ObjectRow>, Error> {
        match guarded(self.suspects.as_ref(), stream, || work(rows)) {
            Err(Error::GivenUp { .. }) => {
                // Nobody knows what it left in there.
                *rows = Rows::new();
                Ok(Vec::new())
            }
            made => made,
        }
    }
}

/// What `work` makes of the connection of a stream, while it is written down that this one is being taken apart. One in which it
/// fails is given up.
pub(crate) fn guarded<T>(
    suspects: Option<&Arc<Suspects>>,
    stream: &StreamInfo,
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let begun = suspects.and_then(|suspects| Some((suspects, suspects.begin(stream.key, stream.length.0)?)));
    let Some((suspects, in_work)) = begun else { return work() };
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(made @ Err(Error::GivenUp { .. })) => made,
        Ok(made) => {
            in_work.done()?;
            made
        }
        Err(panic) => {
            let why = format!("taking it apart failed: {}", said(&*panic));
            suspects.give_up(stream.key, &why)?;
            Err(Error::GivenUp { oid: stream.oid, why })
        }
    }
}

/// What a panic said, in short.
fn said(panic: &(dyn Any + Send)) -> String {
    const LONGEST: usize = 200;
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("for no reason that it said").chars().take(LONGEST).collect()
}
