//! The loop that follows what is published: for each connection that ended, the rows of its objects are made and kept.
//!
//! It reads nothing but buckets, in this process or another than the one that writes them. When it falls behind, nothing is
//! lost: it goes on where it was, and who asks for objects before they have rows gets them made at that moment
//! ([`objects`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use streamdb_storage::index::Contents;
use streamdb_storage::{Covered, DiskVolume, Error as StoreError, MadeOf, Stage, Store, StreamInfo, Suspects, Volume};
use streamdb_types::{BlockPlace, BucketId, ObjectRow, Oid};

use crate::conversation::Conversation;
use crate::error::Error;
use crate::guard::{Guard, Stretch, Tally, guarded};
use crate::indexing::IndexKeeper;
use crate::rows::Rows;
use crate::settled::Settled;

/// How long it is waited for what another connection may say: an FTP server's reply comes when the file is on its disk. What is said up to
/// a second before counts.
pub const PATIENCE: Duration = Duration::from_secs(4);

/// Connections between two commits: what is made again after a kill.
const COMMIT_AFTER: u64 = 4096;

/// Bytes of a bucket that is written to after which what ended in it goes into the index.
const INDEX_AFTER: u64 = 64 << 20;

/// What one round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Connections whose rows were made.
    pub connections: u64,
    /// Rows made.
    pub objects: u64,
    /// Connections that could not be read. They are damaged, and are tried again by a reindex alone.
    pub damaged: u64,
    /// Whether rows of some are not made yet, as another connection may say more.
    pub waits: bool,
}

impl Progress {
    /// Adds another round.
    pub const fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.objects += other.objects;
        self.damaged += other.damaged;
        self.waits |= other.waits;
    }
}

/// Makes and keeps the rows of a store. One at a time.
#[derive(Debug)]
pub struct Deriver {
    /// The right to derive, and where rows are kept.
    pub(crate) keeper: IndexKeeper,
    pub(crate) rows: Rows,
    pub(crate) guard: Guard,
    /// Buckets that cannot be read, as was said; a reindex tries them again.
    pub(crate) unreadable: BTreeSet<BucketId>,
    /// Every bucket before this one is covered.
    done: Option<BucketId>,
    /// After so many bytes of a bucket that is written to, what ended in it goes into the index.
    pub(crate) index_after: u64,
    /// What was kept by a round that ended with an error.
    untold: Progress,
    /// Whether more comes, so that it is waited for what another connection may say; and how far buckets are seen for long enough.
    more_comes: bool,
    settled: BTreeMap<BucketId, Settled<BlockPlace>>,
    /// How long the last round took: what it went through is as old when the next one begins.
    last_round: Duration,
}

impl Deriver {
    /// Takes the right to derive.
    ///
    /// # Errors
    /// When another process has it, or the folder cannot be written.
    pub fn new(store: &Store) -> Result<Self, Error> {
        Self::on(store, Arc::new(DiskVolume))
    }

    /// As [`new`](Self::new), with rows kept on this volume.
    ///
    /// # Errors
    /// When another process has the right to derive, or the folder cannot be written.
    pub fn on(store: &Store, volume: Arc<dyn Volume>) -> Result<Self, Error> {
        Ok(Self {
            keeper: IndexKeeper::new(store.derive_lock()?, volume),
            rows: Rows::new(),
            guard: Guard::default(),
            unreadable: BTreeSet::new(),
            done: None,
            index_after: INDEX_AFTER,
            untold: Progress::default(),
            more_comes: false,
            settled: BTreeMap::new(),
            last_round: Duration::ZERO,
        })
    }

    /// The same, but what ended in a bucket that is written to goes into the index after so many bytes of it.
    #[must_use]
    pub fn index_after(self, bytes: u64) -> Self {
        Self { index_after: bytes, ..self }
    }

    /// Who is suspected to end processes, with what the process before left.
    fn suspects(&mut self, store: &Store) -> Result<Arc<Suspects>, Error> {
        Ok(Arc::clone(self.guard.suspects(store, &self.keeper.lock, &*self.keeper.volume)?))
    }

    /// From here on what is taken apart is watched, also by who joins beside it; before, that is so when it has begun.
    ///
    /// # Errors
    /// When what the last process left cannot be read, or what is in work cannot be written down.
    pub fn watch(&mut self, store: &Store) -> Result<(), Error> {
        self.suspects(store).map(drop)
    }

    /// What it did so far.
    pub fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.guard.tally)
    }

    /// As [`catch_up`](Self::catch_up), while more comes: of a connection that ended a moment ago, and of which another one may say more
    /// soon, no rows are made yet.
    ///
    /// # Errors
    /// The same.
    pub fn keep_up(
        &mut self,
        store: &Store,
        stop: &dyn Fn() -> bool,
        damaged: &mut dyn FnMut(&Error),
    ) -> Result<Progress, Error> {
        let begun = Instant::now();
        // Who has that much to do loses no time.
        self.more_comes = self.last_round < PATIENCE;
        let result = self.make(store, stop, damaged);
        self.more_comes = false;
        self.last_round = begun.elapsed();
        result
    }

    /// Makes the rows of what ended since the last time, until all that is published is covered or `stop` says so. What
    /// cannot be read is told to `damaged`. After an error it may be tried again: what was kept until then is counted the next
    /// time.
    ///
    /// # Errors
    /// When the store cannot be listed, or rows cannot be written.
    pub fn catch_up(
        &mut self,
        store: &Store,
        stop: &dyn Fn() -> bool,
        damaged: &mut dyn FnMut(&Error),
    ) -> Result<Progress, Error> {
        self.settled.clear();
        self.rows.look_anew();
        self.make(store, stop, damaged)
    }

    fn make(
        &mut self,
        store: &Store,
        stop: &dyn Fn() -> bool,
        damaged: &mut dyn FnMut(&Error),
    ) -> Result<Progress, Error> {
        let mut progress = std::mem::take(&mut self.untold);
        let begun = self.watch(store);
        let result = begun.and_then(|()| self.go_on(store, stop, damaged, &mut progress));
        if result.is_err() {
            self.untold = progress;
        }
        result.map(|()| progress)
    }

    fn go_on(
        &mut self,
        store: &Store,
        stop: &dyn Fn() -> bool,
        damaged: &mut dyn FnMut(&Error),
        progress: &mut Progress,
    ) -> Result<(), Error> {
        let mut all_before = true;
        let ids = store.bucket_ids()?;
        self.settled.retain(|id, _| ids.contains(id));
        for id in ids {
            if self.done.is_some_and(|done| id <= done) {
                continue;
            }
            if stop() {
                break;
            }
            if self.unreadable.contains(&id) {
                continue;
            }
            let whole = match self.bucket(store, id, stop, damaged, progress) {
                Ok(whole) => whole,
                // Retention took it, or it cannot be read; the others go on.
                Err(Error::Store(StoreError::NoBucket(_))) => true,
                Err(error @ Error::Store(StoreError::Damaged { .. } | StoreError::Version { .. })) => {
                    self.unreadable.insert(id);
                    damaged(&error);
                    true
                }
                Err(error) => return Err(error),
            };
            all_before &= whole;
            if all_before {
                self.done = Some(id);
            }
        }
        self.index(store, stop, damaged)
    }

    /// Throws the rows of every bucket away, and makes them again one bucket after the other, so that the others' can be
    /// searched meanwhile. `each` is told of every bucket: how many are done, and how many there are.
    ///
    /// # Errors
    /// As [`catch_up`](Self::catch_up).
    pub fn reindex(
        &mut self,
        store: &Store,
        stop: &dyn Fn() -> bool,
        damaged: &mut dyn FnMut(&Error),
        each: &mut dyn FnMut(usize, usize),
    ) -> Result<Progress, Error> {
        // Whoever asks for it wants all of it tried again.
        self.suspects(store)?.forget(store, &*self.keeper.volume)?;
        let ids = store.bucket_ids()?;
        let mut progress = Progress::default();
        for (at, id) in ids.iter().enumerate() {
            if stop() {
                break;
            }
            store.forget_derived(&self.keeper.lock, &*self.keeper.volume, *id)?;
            let made = self.bucket(store, *id, stop, damaged, &mut progress);
            let mut contents = Contents::default();
            let made = made.and_then(|_| self.index_bucket(store, *id, BlockPlace::NONE, &mut contents, damaged));
            match made.and_then(|()| self.put(store, &mut contents)) {
                Ok(()) | Err(Error::Store(StoreError::NoBucket(_))) => {}
                Err(error @ Error::Store(StoreError::Damaged { .. } | StoreError::Version { .. })) => damaged(&error),
                Err(error) => return Err(error),
            }
            each(at + 1, ids.len());
        }
        self.done = None;
        self.unreadable.clear();
        Ok(progress)
    }

    /// Covers a bucket as far as it is published; whether that is all there will ever be.
    fn bucket(
        &mut self,
        store: &Store,
        id: BucketId,
        stop: &dyn Fn() -> bool,
        damaged: &mut dyn FnMut(&Error),
        progress: &mut Progress,
    ) -> Result<bool, Error> {
        let covered = store.covered(id)?;
        if covered.whole {
            return Ok(true);
        }
        let mut ended: Vec<StreamInfo> = Vec::new();
        let next = store.ended_since(id, covered.to, &mut |stream| {
            ended.push(stream);
            Ok(())
        })?;
        let settled = self.settled(store, &next, id);
        if next == covered {
            return Ok(false);
        }
        if self.waits(store, ended.first(), settled) {
            progress.waits = true;
            return Ok(false);
        }
        let mut writer = store.derived_writer(&self.keeper.lock, &*self.keeper.volume, id)?;
        let mut since = Progress::default();
        // Up to here, all are covered: they come in the order of their records.
        let mut to = covered.to;
        for (at, stream) in ended.iter().enumerate() {
            let waits = at > 0 && self.waits(store, Some(stream), settled);
            progress.waits |= waits;
            if waits || stop() {
                // What was made takes its time to make again.
                if since.connections > 0 {
                    writer.commit(Covered { to, whole: false })?;
                    progress.add(&since);
                }
                return Ok(false);
            }
            match self.guard.rows(&mut self.rows, stream, |rows| rows.of(store, stream)) {
                Ok(rows) => {
                    since.objects += rows.len() as u64;
                    self.guard.tally.made(rows.len() as u64);
                    writer.connection(stream.key, &stream.tuple, &rows)?;
                }
                Err(error) => {
                    since.damaged += 1;
                    self.guard.tally.was_damaged();
                    damaged(&error);
                }
            }
            since.connections += 1;
            to = stream.oid.place;
            if since.connections == COMMIT_AFTER {
                writer.commit(Covered { to, whole: false })?;
                progress.add(&std::mem::take(&mut since));
            }
        }
        writer.commit(next)?;
        progress.add(&since);
        if next.whole {
            self.settled.remove(&id);
        }
        Ok(next.whole)
    }

    /// Whether no rows are made yet of a connection, whose bucket is settled so far.
    fn waits(&mut self, store: &Store, stream: Option<&StreamInfo>, settled: Option<BlockPlace>) -> bool {
        let Some(stream) = stream.filter(|stream| settled.is_some_and(|settled| stream.oid.place > settled)) else {
            return false;
        };
        self.guard.waits(&mut self.rows, stream, |rows| rows.may_change(store, stream))
    }

    /// Up to where a bucket's records have been seen for so long that it is waited no more for what others say; nothing where it is not
    /// waited at all: when nothing more comes, and in a bucket that was sealed a while ago.
    fn settled(&mut self, store: &Store, next: &Covered, id: BucketId) -> Option<BlockPlace> {
        if !self.more_comes || next.whole && !store.sealed_lately(id) {
            return None;
        }
        Some(self.settled.entry(id).or_insert_with(|| Settled::after(PATIENCE)).up_to(next.to))
    }
}

/// The objects of a stream's connection: the rows that are kept, or else made now, or a moment ago of the same records. A
/// connection that is still open has none that are kept, and those of one that retention took a part of do not count.
///
/// # Errors
/// When a block is damaged.
pub fn objects(store: &Store, stream: &StreamInfo, rows: &mut Rows) -> Result<Vec<ObjectRow>, Error> {
    let in_full = rows.in_full();
    let mut make =
        |store: &Store| guarded(store.suspects().as_ref(), &Stretch::of(stream), Stage::ALL, || rows.of(store, stream));
    // What was made when all parts were there would call complete what is not so any more.
    if store.cut_at(stream).is_some() {
        return make(store);
    }
    let kept = match stream.reason {
        Some(_) => store.derived_rows(stream.oid.bucket, stream.key)?,
        None => None,
    };
    // Of this very record: a bucket that ended at a failed write may have others in its place by now.
    let same = |row: &ObjectRow| row.direction != stream.direction || row.oid.with_index(0) == stream.oid;
    if let Some(kept) = kept.filter(|kept| kept.iter().all(same)) {
        return Ok(kept);
    }
    let Some(of) = MadeOf::of(stream, in_full) else { return make(store) };
    if let Some(made) = store.made_rows(&of) {
        return Ok(made.to_vec());
    }
    let made = make(store)?;
    store.keep_made_rows(of, &made);
    Ok(made)
}

/// The row that is kept of an object, if one is: of these very bytes.
///
/// # Errors
/// When a block is damaged.
pub fn kept(store: &Store, conversation: &Conversation, oid: Oid) -> Result<Option<ObjectRow>, Error> {
    let Some(info) = conversation.info(conversation.asked()) else { return Ok(None) };
    let newest = [Some(info), conversation.info(conversation.asked().flip())].into_iter().flatten();
    for bucket in newest.map(|info| info.oid.bucket).collect::<BTreeSet<_>>() {
        let rows = store.derived_rows(bucket, info.key)?.unwrap_or_default();
        if let Some(row) = rows.into_iter().find(|row| row.oid == oid) {
            return Ok(Some(row).filter(|_| store.cut_at(info).is_none()));
        }
    }
    Ok(None)
}

/// As [`objects`], of a stream whose connection has something in bucket `newest` last: what was found of it lies there.
///
/// # Errors
/// The same.
pub fn objects_of(
    store: &Store,
    stream: &StreamInfo,
    newest: BucketId,
    rows: &mut Rows,
) -> Result<Vec<ObjectRow>, Error> {
    if newest == stream.oid.bucket {
        return objects(store, stream, rows);
    }
    let later = store.newest(stream.key, stream.direction.flip())?;
    objects(store, later.as_ref().map_or(stream, |later| later.info()), rows)
}
