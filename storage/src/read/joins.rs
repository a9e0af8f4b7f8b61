//! What a store knows of contents that came in several responses.

use std::sync::{Arc, PoisonError};

use super::derived::DeriveLock;
use super::store::Store;
use crate::error::{Error, Result};
use crate::joins::{self, Joins, JoinsFile, JoinsWriter};
use crate::volume::Volume;

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
}
