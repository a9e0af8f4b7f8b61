//! One connection costs its own objects, and no other's: what comes of taking it apart is caught when it fails, what is in work is
//! written down in case the process ends, and is shown to who watches over how long it takes.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use streamdb_extract::{Decode, MessageIndex, Source};
use streamdb_storage::{DeriveLock, Error as StoreError, Stage, Store, StreamInfo, Suspects, Volume};
use streamdb_types::{ConnKey, Direction, ObjectRow, Oid};

use crate::error::Error;
use crate::rows::Rows;
use crate::source::StreamSource;

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
        match guarded(self.suspects.as_ref(), &Stretch::of(stream), Stage::ALL, || work(rows)) {
            Err(Error::GivenUp { .. }) => {
                // Nobody knows what it left in there.
                *rows = Rows::new();
                Ok(Vec::new())
            }
            made => made,
        }
    }

    /// Whether `work` says that a connection waits; not when that cannot be told. What is made of the connection later is another matter,
    /// for which it is suspected apart.
    pub(crate) fn waits(
        &self,
        rows: &mut Rows,
        stream: &StreamInfo,
        work: impl FnOnce(&mut Rows) -> Result<bool, Error>,
    ) -> bool {
        let waits = guarded(self.suspects.as_ref(), &Stretch::of(stream), WAITS, || work(rows));
        if matches!(waits, Err(Error::GivenUp { .. })) {
            *rows = Rows::new();
        }
        waits.unwrap_or(false)
    }
}

/// What is said in a connection.
pub(crate) const READ: Stage = Stage(1);
/// The same in another version.
pub(crate) const VERSION: Stage = Stage(2);
/// What else was captured for places of it.
pub(crate) const OTHERS: Stage = Stage(3);
/// The parts of one content in it.
pub(crate) const PIECES: Stage = Stage(4);
/// Whether others say more of it soon.
const WAITS: Stage = Stage(5);
/// A bit of each of the many below, so that they are none of those above.
const CONTENT: u64 = 1 << 63;
/// And one of those that are joined.
const JOINED: u64 = 1 << 62;

/// A message of a direction, or this part of it, where it is not 0; as it was sent, or as it was meant.
pub(crate) fn content(direction: Direction, message: MessageIndex, part: u32, decode: Decode) -> Stage {
    let bits = (direction.index() as u64) << 1 | u64::from(decode == Decode::Decoded);
    Stage(CONTENT | u64::from(message.0) << 30 | u64::from(part) << 2 & ((1 << 30) - 1) | bits)
}

/// What is joined of the object with this number in a direction.
pub(crate) fn joined(direction: Direction, index: u64) -> Stage {
    Stage(CONTENT | JOINED | (index << 1 & (JOINED - 1)) | direction.index() as u64)
}

/// What of the store is taken apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch {
    pub(crate) key: ConnKey,
    pub(crate) oid: Oid,
    /// Bytes of both directions, as far as they are known.
    pub(crate) length: u64,
}

impl Stretch {
    /// The connection of a stream whose other direction is not known yet.
    pub(crate) fn of(stream: &StreamInfo) -> Self {
        Self { key: stream.key, oid: stream.oid, length: stream.length.0 }
    }

    /// The connection of a stream, with both directions.
    pub(crate) fn of_both(stream: &StreamInfo, sources: &[StreamSource; 2]) -> Self {
        let lengths = sources.iter().map(|source| source.end().0);
        Self { length: lengths.fold(0, u64::saturating_add), ..Self::of(stream) }
    }
}

/// What `work` makes of a connection, while it is written down that this one is being taken apart. One in which it fails is given up.
pub(crate) fn guarded<T>(
    suspects: Option<&Arc<Suspects>>,
    of: &Stretch,
    stage: Stage,
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let begun = suspects.and_then(|suspects| Some((suspects, suspects.begin(of.key, stage, of.length)?)));
    let Some((suspects, in_work)) = begun else { return work() };
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(made @ Err(Error::GivenUp { .. })) => made,
        Ok(made) => {
            in_work.done();
            made
        }
        Err(panic) => {
            let why = format!("taking it apart failed: {}", said(&*panic));
            // On a disk that does not take it this process knows it, and the next one finds out again.
            _ = suspects.give_up(of.key, &why);
            Err(Error::GivenUp { oid: of.oid, why })
        }
    }
}

/// The same, where it is known who is told and of what.
pub(crate) fn watched<T>(
    by: Option<&(Arc<Suspects>, Stretch)>,
    stage: Stage,
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    match by {
        Some((suspects, of)) => guarded(Some(suspects), of, stage, work),
        None => work(),
    }
}

/// What a panic said, in short.
fn said(panic: &(dyn Any + Send)) -> String {
    const LONGEST: usize = 200;
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("for no reason that it said").chars().take(LONGEST).collect()
}
