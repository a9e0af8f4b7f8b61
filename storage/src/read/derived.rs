//! What derivation asks of a store: the streams that ended since it last looked, and the rows that it made of them.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::PoisonError;

use streamdb_types::{BlockPlace, BucketId, ConnKey, ObjectRow};

use super::store::{Store, info_at};
use super::stream::StreamInfo;
use crate::derived::{self, Covered, Derived, DerivedWriter, KeptMark};
use crate::error::{Error, Result};
use crate::format::record::Standing;
use crate::volume::Volume;

/// Most buckets whose rows are kept in mind.
const REMEMBERED: usize = 64;

/// The rows of the buckets that were asked for last.
#[derive(Default)]
pub(super) struct DerivedCache {
    files: HashMap<BucketId, (Derived, u64)>,
    asked: u64,
}

impl DerivedCache {
    /// Forgets the rows of buckets that are there no more.
    pub(super) fn let_go(&mut self, is_gone: &dyn Fn(&BucketId) -> bool) {
        self.files.retain(|id, _| !is_gone(id));
    }
}

/// The right to derive: one process at a time has it.
#[derive(Debug)]
pub struct DeriveLock(#[expect(dead_code, reason = "the lock lasts as long as the file is open")] File);

impl Store {
    /// The ids of the buckets that are there, oldest first.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn bucket_ids(&self) -> Result<Vec<BucketId>> {
        Ok(self.known_ids()?.to_vec())
    }

    /// Calls with each stream that ended in a bucket, by a record after `after`, in the order of their records. When the other
    /// direction's record in the same bucket comes later, the stream is left out: that one is called with.
    ///
    /// Returns how far that went: all of it is covered when the bucket is sealed.
    ///
    /// # Errors
    /// When the bucket cannot be read, or `visit` says so. A record that cannot be read is left out.
    pub fn ended_since(
        &self,
        id: BucketId,
        after: BlockPlace,
        visit: &mut dyn FnMut(StreamInfo) -> Result<()>,
    ) -> Result<Covered> {
        let bucket = self.bucket(id)?;
        // Asked before the contents are: a bucket that is sealed in between is looked at again.
        let whole = bucket.is_sealed();
        let contents = self.contents(&bucket)?;
        let mut ends: Vec<_> = contents.ends.iter().filter(|end| end.place > after).collect();
        ends.sort_by_key(|end| end.place);
        let to = ends.last().map_or(after, |end| end.place);
        for end in ends {
            let Ok((info, Standing::Ended(_))) = info_at(&bucket, &contents, end) else { continue };
            let later = contents.find(end.key, end.direction.flip()).filter(|peer| peer.place > end.place);
            let peer_ends = later.is_some_and(|peer| {
                info_at(&bucket, &contents, peer).is_ok_and(|(_, standing)| matches!(standing, Standing::Ended(_)))
            });
            if !peer_ends {
                visit(info)?;
            }
        }
        Ok(Covered { to, whole })
    }

    /// How far the rows of a bucket go.
    ///
    /// # Errors
    /// When their file cannot be opened.
    pub fn covered(&self, bucket: BucketId) -> Result<Covered> {
        self.with_derived(bucket, |derived| derived.committed().0).map(Option::unwrap_or_default)
    }

    /// The rows of a connection that ended in a bucket; `None` when none were made yet.
    ///
    /// # Errors
    /// When their file cannot be opened.
    pub fn derived_rows(&self, bucket: BucketId, key: ConnKey) -> Result<Option<Vec<ObjectRow>>> {
        self.with_derived(bucket, |derived| derived.rows(key)).map(Option::flatten)
    }

    /// The connections of which a bucket has rows, in no order.
    ///
    /// # Errors
    /// When their file cannot be opened.
    pub fn derived_connections(&self, bucket: BucketId) -> Result<Vec<ConnKey>> {
        self.with_derived(bucket, |derived| derived.connections().collect()).map(Option::unwrap_or_default)
    }

    /// Calls with the rows of each connection of a bucket that are kept since `mark`, and with the mark behind them, in the order
    /// in which they were kept, until `visit` breaks off. Returns the mark behind all that is kept, when it came so far. Rows
    /// that were made anew since are told apart by how far they go: a connection may come again then, and none is left out.
    /// `visit` is to be short, as others who ask for rows wait for it.
    ///
    /// # Errors
    /// When their file cannot be opened.
    pub fn kept_since(
        &self,
        bucket: BucketId,
        mark: KeptMark,
        visit: &mut dyn FnMut(Vec<ObjectRow>, KeptMark) -> ControlFlow<()>,
    ) -> Result<Option<KeptMark>> {
        Ok(self.with_derived(bucket, |derived| derived.since(mark, visit))?.unwrap_or(Some(mark)))
    }

    /// Whether the rows of a bucket, if there are any now, are those in which somebody came as far as `mark`, and were not made anew
    /// since.
    ///
    /// # Errors
    /// When their file cannot be opened.
    pub fn has_kept(&self, bucket: BucketId, mark: KeptMark) -> Result<bool> {
        Ok(self.with_derived(bucket, |derived| derived.has(&mark))?.unwrap_or(true))
    }

    /// The mark of somebody who has read all that is kept of a bucket now.
    ///
    /// # Errors
    /// When the file of its rows cannot be opened.
    pub fn kept_until_now(&self, bucket: BucketId) -> Result<KeptMark> {
        Ok(self.with_derived(bucket, Derived::end_mark)?.unwrap_or(KeptMark::NOTHING))
    }

    /// Where the rows of a bucket are kept.
    pub fn derived_path(&self, bucket: BucketId) -> PathBuf {
        derived::path(&self.derived_folder(), bucket)
    }

    /// Takes the right to derive.
    ///
    /// # Errors
    /// When another process has it, or the folder cannot be written.
    pub fn derive_lock(&self) -> Result<DeriveLock> {
        let folder = self.derived_folder();
        match std::fs::create_dir(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(Error::io(&folder, "make the folder of what is derived")(error));
            }
            _ => {}
        }
        let path = folder.join("lock");
        let open = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = open.map_err(Error::io(&path, "open the lock of what is derived"))?;
        match file.try_lock() {
            Ok(()) => Ok(DeriveLock(file)),
            Err(TryLockError::WouldBlock) => Err(Error::Deriving(self.path().to_owned())),
            Err(TryLockError::Error(error)) => Err(Error::io(&path, "lock what is derived")(error)),
        }
    }

    /// Goes on with the rows of a bucket.
    ///
    /// # Errors
    /// When their file cannot be written.
    pub fn derived_writer(&self, _lock: &DeriveLock, volume: &dyn Volume, bucket: BucketId) -> Result<DerivedWriter> {
        DerivedWriter::open(volume, self.derived_path(bucket), bucket)
    }

    /// Forgets the rows of a bucket, so that they are made anew.
    ///
    /// # Errors
    /// When their file cannot be removed.
    pub fn forget_derived(&self, _lock: &DeriveLock, volume: &dyn Volume, bucket: BucketId) -> Result<()> {
        let path = self.derived_path(bucket);
        match volume.unlink(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(&path, "remove the rows of a bucket")(error))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn derived_folder(&self) -> PathBuf {
        self.path().join(crate::folder::DERIVED)
    }

    pub(super) fn with_derived<T>(&self, bucket: BucketId, call: impl FnOnce(&Derived) -> T) -> Result<Option<T>> {
        let mut cache = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        cache.asked += 1;
        let asked = cache.asked;
        if let Some((derived, last)) = cache.files.get_mut(&bucket) {
            if derived.refresh() {
                *last = asked;
                return Ok(Some(call(derived)));
            }
            cache.files.remove(&bucket);
        }
        let Some(derived) = Derived::open(&self.derived_path(bucket), bucket)? else {
            return Ok(None);
        };
        if cache.files.len() >= REMEMBERED {
            let oldest = cache.files.iter().min_by_key(|(_, (_, last))| *last).map(|(id, _)| *id);
            if let Some(oldest) = oldest {
                cache.files.remove(&oldest);
            }
        }
        let result = call(&derived);
        cache.files.insert(bucket, (derived, asked));
        Ok(Some(result))
    }
}
