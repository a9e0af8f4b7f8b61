//! How much is stored, and how much of it is not derived yet, without reading what is in it.

use streamdb_types::{BucketId, Timestamp};

use super::store::{BucketInfo, Store};
use crate::error::{Error, Result};
use crate::live::MAX_WORKERS;
use crate::volume::Space;
use crate::write::bucket_file::file_name;

/// How much is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreExtent {
    /// Buckets.
    pub buckets: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// When the oldest of them begins.
    pub oldest: Option<Timestamp>,
    /// Buckets that retention dropped so far.
    pub dropped: u64,
}

impl Store {
    /// How much is stored.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn extent(&self) -> Result<StoreExtent> {
        let ids = self.known_ids()?;
        let mut extent = StoreExtent { dropped: self.dropped().len() as u64, ..StoreExtent::default() };
        for id in ids.iter() {
            // What is gone meanwhile is not there.
            if let Ok(facts) = std::fs::metadata(self.folder().buckets().join(file_name(*id))) {
                extent.buckets += 1;
                extent.bytes = extent.bytes.saturating_add(facts.len());
            }
        }
        extent.oldest = ids.first().and_then(|id| self.bucket(*id).ok()).map(|bucket| bucket.superblock.window_start);
        Ok(extent)
    }

    /// The room of the file system that it is on.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn room(&self) -> Result<Space> {
        Space::of(self.path()).map_err(Error::io(self.path(), "ask for the room of its file system"))
    }

    /// The buckets of which the objects are not all known: how far the rows of each go, and how far it is published. They are looked
    /// for from the newest on back, until as many are whole as there can be workers.
    ///
    /// # Errors
    /// When the folder cannot be listed, or the rows of a bucket cannot be opened.
    pub fn not_derived(&self) -> Result<Vec<(BucketId, u64, u64)>> {
        let (mut found, mut whole) = (Vec::new(), 0);
        for id in self.known_ids()?.iter().rev() {
            let covered = self.covered(*id)?;
            if covered.whole {
                whole += 1;
                if whole == MAX_WORKERS {
                    break;
                }
                continue;
            }
            let Ok(bucket) = self.bucket(*id) else { continue };
            let published = self.folder().published(*id).unwrap_or_else(|| bucket.file_len());
            found.push((*id, covered.to.position(), published));
        }
        Ok(found)
    }

    /// What is known of the newest buckets, newest first, as long as `wanted` says so. One that cannot be read is left out.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn newest_buckets(&self, wanted: &mut dyn FnMut(&BucketInfo) -> bool) -> Result<Vec<BucketInfo>> {
        let mut found = Vec::new();
        for id in self.known_ids()?.iter().rev() {
            let Ok(info) = self.bucket(*id).and_then(|bucket| self.bucket_info(&bucket)) else { continue };
            if !wanted(&info) {
                break;
            }
            found.push(info);
        }
        Ok(found)
    }
}
