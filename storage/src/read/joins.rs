//! What a store knows of contents that came in several responses, and the rows of a bucket since they were read last.

use std::sync::{Arc, PoisonError};

use streamdb_types::{BucketId, ConnKey};

use super::derived::DeriveLock;
use super::store::Store;
use crate::error::{Error, Result};
use crate::joins::{self, Joins, JoinsFile, JoinsWriter, RowsRead};
use crate::volume::Volume;

/// Which connections have rows that were not read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRows {
    /// In the order in which their rows were made.
    pub connections: Vec<ConnKey>,
    /// How far they were read with these.
    pub read: RowsRead,
    /// Whether this is another file than the one that was read: all rows of the bucket are here.
    pub anew: bool,
}

impl Store {
    /// All joins that are known.
    ///
    /// # Errors
    /// When their file cannot be opened.
    pub fn joins(&self) -> Result<Arc<Joins>> {
        let mut cached = self.joins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = cached.as_mut()
            && file.refresh()
        {
            return Ok(Arc::clone(file.known()));
        }
        *cached = JoinsFile::open(&joins::path(&self.derived_folder()))?;
        Ok(cached.as_ref().map(|file| Arc::clone(file.known())).unwrap_or_default())
    }

    /// Goes on with the joins that are known.
    ///
    /// # Errors
    /// When their file cannot be written.
    pub fn joins_writer(&self, _lock: &DeriveLock, volume: Arc<dyn Volume>) -> Result<JoinsWriter> {
        JoinsWriter::open(volume, &self.derived_folder())
    }

    /// Forgets all joins, so that they are found anew.
    ///
    /// # Errors
    /// When their file cannot be removed.
    pub fn forget_joins(&self, _lock: &DeriveLock, volume: &dyn Volume) -> Result<()> {
        let path = joins::path(&self.derived_folder());
        match volume.unlink(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(&path, "remove the known joins")(error))
            }
            _ => Ok(()),
        }
    }

    /// The connections of a bucket whose rows were kept since they were read last; `None` when there are none.
    ///
    /// # Errors
    /// When the file of rows cannot be opened.
    pub fn new_rows(&self, bucket: BucketId, read: Option<RowsRead>) -> Result<Option<NewRows>> {
        let found = self.with_derived(bucket, |derived| {
            let (end, sum) = derived.last_commit()?;
            let read = read.filter(|read| derived.has_commit(read.to, read.sum));
            if read.is_some_and(|read| read.to == end) {
                return None;
            }
            let from = read.map_or(0, |read| read.to);
            let connections = derived.connections_since(from);
            Some(NewRows { connections, read: RowsRead { to: end, sum }, anew: read.is_none() })
        })?;
        Ok(found.flatten())
    }
}
