//! Which buckets connections lie in: for whoever needs all of them.

use std::collections::{BTreeSet, HashSet};

use streamdb_types::{BucketId, ConnKey, Timestamp};

use super::store::Store;
use super::stream::StreamInfo;
use crate::error::{Error, Result};

/// The buckets that some connections lie in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Those that are there.
    pub buckets: BTreeSet<BucketId>,
    /// Those in which the connections began and that are not there any more.
    pub missing: BTreeSet<BucketId>,
    /// One of them is still being written, so more of a connection may come.
    pub goes_on: bool,
}

impl Store {
    /// When retention took what may be a part of this stream, or of the other one of its connection: it dropped a bucket
    /// between the one in which the connection began and the one of this record. Of several, the last time.
    pub fn cut_at(&self, stream: &StreamInfo) -> Option<Timestamp> {
        let (first, last) = (stream.key.bucket, stream.oid.bucket);
        (first < last).then(|| self.folder().with_facts(|facts| facts.dropped_between(first, last)))?
    }

    /// The buckets that have anything of these connections. A bucket that cannot be read is told to `damaged`, and the
    /// others go on.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn parts(&self, connections: &HashSet<ConnKey>, damaged: &mut dyn FnMut(Error)) -> Result<Parts> {
        let mut parts = Parts::default();
        let Some(first) = connections.iter().map(|key| key.bucket).min() else { return Ok(parts) };
        for id in self.ids()?.into_iter().filter(|id| *id >= first) {
            let looked = self.bucket(id).and_then(|bucket| Ok((self.contents(&bucket)?, bucket.is_sealed())));
            match looked {
                Ok((contents, sealed)) => {
                    if contents.ends.iter().any(|end| connections.contains(&end.key)) {
                        parts.buckets.insert(id);
                        parts.goes_on |= !sealed;
                    }
                }
                Err(Error::NoBucket(_)) => {}
                Err(error) => damaged(error),
            }
        }
        let begun = connections.iter().map(|key| key.bucket);
        parts.missing = begun.filter(|id| self.folder().dropped(*id).is_some()).collect();
        Ok(parts)
    }
}
