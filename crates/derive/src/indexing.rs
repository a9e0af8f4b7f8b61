//! Puts rows into the index: of a bucket that is written to each time that enough came, of a sealed one all that is left, and
//! the objects of what fell silent at its end when it is known that it did.

use std::sync::{Arc, Mutex, PoisonError};

use streamdb_storage::index::{Contents, Coverage, Group};
use streamdb_storage::{Covered, DeriveLock, Error as StoreError, Store, StreamInfo, Volume};
use streamdb_types::{BlockPlace, BucketId, ObjectRow, Reason};

use crate::deriver::{Deriver, objects};
use crate::error::Error;

/// Most streams of one index file that was not merged.
const STREAMS: usize = 1 << 17;

impl Deriver {
    /// Puts into the index what is not in it.
    pub(crate) fn index(
        &mut self,
        store: &Store,
        stop: &dyn Fn() -> bool,
        damaged: &mut dyn FnMut(&Error),
    ) -> Result<(), Error> {
        self.keeper.clean(store)?;
        let mut whole = Contents::default();
        for (id, from) in store.unsettled()? {
            if self.unreadable.contains(&id) {
                continue;
            }
            if stop() {
                break;
            }
            match self.index_bucket(store, id, from, &mut whole, damaged) {
                // Retention took it.
                Ok(()) | Err(Error::Store(StoreError::NoBucket(_))) => {}
                Err(
                    error @ Error::Store(
                        StoreError::Damaged { .. } | StoreError::Unreadable { .. } | StoreError::Version { .. },
                    ),
                ) => {
                    self.unreadable.insert(id);
                    damaged(&error);
                }
                Err(error) => return Err(error),
            }
        }
        self.put(store, &mut whole)
    }

    /// Puts a bucket into the index from `from` on. What is settled by that goes into `whole`, with that of other buckets.
    pub(crate) fn index_bucket(
        &mut self,
        store: &Store,
        bucket: BucketId,
        mut from: BlockPlace,
        whole: &mut Contents,
        damaged: &mut dyn FnMut(&Error),
    ) -> Result<(), Error> {
        let derived = store.covered(bucket)?;
        let mut contents = Contents::default();
        while from < Coverage::WHOLE {
            let found = store.unindexed(bucket, from, derived, STREAMS)?;
            let enough =
                found.to == Coverage::WHOLE || found.bytes >= self.index_after || found.streams.len() >= STREAMS;
            if found.to == from || !enough {
                return Ok(());
            }
            contents.coverage = vec![Coverage { bucket, from, to: found.to }];
            contents.streams = found.streams;
            contents.groups = self.groups(store, bucket, &found.ended, damaged);
            from = found.to;
            if from < Coverage::WHOLE {
                self.put(store, &mut contents)?;
            }
        }
        match store.fallen_silent(bucket)? {
            // They may go on, so that the streams are there without them.
            None => self.put(store, &mut contents),
            Some(silent) => {
                self.keep(store, bucket, &silent, damaged)?;
                contents.groups.extend(self.groups(store, bucket, &silent, damaged));
                match contents.coverage.first_mut() {
                    Some(covered) => covered.to = Coverage::SETTLED,
                    None => contents.coverage.push(Coverage { bucket, from, to: Coverage::SETTLED }),
                }
                whole.coverage.append(&mut contents.coverage);
                whole.streams.append(&mut contents.streams);
                whole.groups.append(&mut contents.groups);
                let objects: usize = whole.groups.iter().map(|group| group.rows.len()).sum();
                if whole.streams.len() + objects >= STREAMS { self.put(store, whole) } else { Ok(()) }
            }
        }
    }

    /// The objects of connections with these last records.
    fn groups(
        &mut self,
        store: &Store,
        bucket: BucketId,
        ended: &[StreamInfo],
        damaged: &mut dyn FnMut(&Error),
    ) -> Vec<Group> {
        let mut groups = Vec::with_capacity(ended.len());
        for stream in ended {
            // That of a concluded end is kept like any other.
            let kept = StreamInfo { reason: stream.reason.or(Some(Reason::TimeCutoff)), ..stream.clone() };
            match self.guard.rows(&mut self.rows, &kept, |rows| objects(store, &kept, rows)) {
                Ok(rows) => groups.push(Group { bucket, place: stream.oid.place, rows }),
                Err(error) => damaged(&error),
            }
        }
        groups
    }

    /// Makes and keeps the rows of connections that fell silent.
    fn keep(
        &mut self,
        store: &Store,
        bucket: BucketId,
        silent: &[StreamInfo],
        damaged: &mut dyn FnMut(&Error),
    ) -> Result<(), Error> {
        let mut writer = None;
        for stream in silent {
            let known = store.derived_rows(bucket, stream.key)?;
            let same = |row: &ObjectRow| row.direction != stream.direction || row.oid.with_index(0) == stream.oid;
            if known.is_some_and(|known| known.iter().all(same)) {
                continue;
            }
            match self.guard.rows(&mut self.rows, stream, |rows| rows.of(store, stream)) {
                Ok(rows) => {
                    self.guard.tally.made(rows.len() as u64);
                    let writer = match &mut writer {
                        Some(writer) => writer,
                        none => none.insert(store.derived_writer(&self.keeper.lock, &*self.keeper.volume, bucket)?),
                    };
                    writer.connection(stream.key, &stream.tuple, &rows)?;
                }
                Err(error) => damaged(&error),
            }
        }
        if let Some(mut writer) = writer {
            let Covered { to, whole } = writer.covered();
            writer.commit(Covered { to, whole })?;
        }
        Ok(())
    }

    /// Writes what is there, if anything is.
    pub(crate) fn put(&mut self, store: &Store, contents: &mut Contents) -> Result<(), Error> {
        let contents = std::mem::take(contents);
        if contents.coverage.is_empty() {
            return Ok(());
        }
        let IndexKeeper { lock, volume, .. } = &self.keeper;
        self.keeper.clean(store)?;
        store.add_to_index(lock, &**volume, &contents)?;
        Ok(())
    }

    /// Who keeps the index in order, beside this deriver.
    pub fn keeper(&self) -> IndexKeeper {
        self.keeper.clone()
    }
}

/// Makes few index files of many, and removes what counts no more.
#[derive(Clone, Debug)]
pub struct IndexKeeper {
    pub(crate) lock: Arc<DeriveLock>,
    pub(crate) volume: Arc<dyn Volume>,
    /// Whether what a killed process left half written is gone: before anybody writes, as it looks the same.
    cleaned: Arc<Mutex<bool>>,
}

impl IndexKeeper {
    pub(crate) fn new(lock: DeriveLock, volume: Arc<dyn Volume>) -> Self {
        Self { lock: Arc::new(lock), volume, cleaned: Arc::default() }
    }

    fn clean(&self, store: &Store) -> Result<(), Error> {
        let mut cleaned = self.cleaned.lock().unwrap_or_else(PoisonError::into_inner);
        if !*cleaned {
            store.clean_index(&self.lock, &*self.volume)?;
            *cleaned = true;
        }
        Ok(())
    }

    /// Does one thing that is due, unless `stop` says so meanwhile; whether there was anything. Nothing is before the deriver has
    /// caught up for the first time.
    ///
    /// # Errors
    /// When files cannot be written or removed.
    pub fn tidy(&self, store: &Store, stop: &dyn Fn() -> bool, say: &mut dyn FnMut(&str)) -> Result<bool, Error> {
        if !*self.cleaned.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(false);
        }
        Ok(store.tidy_index(&self.lock, &*self.volume, stop, say)?)
    }
}
