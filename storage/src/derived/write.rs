//! Appends rows to a bucket's file.

use std::io::ErrorKind;
use std::path::PathBuf;

use streamdb_types::{BucketId, ConnKey, ObjectRow, Tuple};

use super::file::{self, Payload};
use super::read::Derived;
use super::{Covered, row};
use crate::error::{Error, Result};
use crate::volume::{Volume, VolumeFile};

/// Rows that wait for their commit are written when there are so many bytes of them.
const BUFFER: usize = 1 << 20;

/// The file of a bucket's rows, open for appending. One writer at a time.
pub struct DerivedWriter {
    path: PathBuf,
    file: Box<dyn VolumeFile>,
    end: u64,
    buffer: Vec<u8>,
    covered: Covered,
}

impl DerivedWriter {
    /// Goes on with the rows of a bucket, after the last commit; begins anew where there are none, or stale ones.
    pub(crate) fn open(volume: &dyn Volume, path: PathBuf, bucket: BucketId) -> Result<Self> {
        if let Some(known) = Derived::open(&path, bucket)? {
            let (covered, end) = known.committed();
            let file = volume.open(&path).map_err(Error::io(&path, "open the rows of a bucket"))?;
            if file.len().map_err(Error::io(&path, "ask for the length of the rows of a bucket"))? > end {
                file.truncate(end).map_err(Error::io(&path, "cut the rows of a bucket at their last commit"))?;
            }
            return Ok(Self { path, file, end, buffer: Vec::new(), covered });
        }
        match volume.unlink(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::io(&path, "remove the stale rows of a bucket")(error));
            }
            _ => {}
        }
        let file = volume.create(&path).map_err(Error::io(&path, "make a file for the rows of a bucket"))?;
        Ok(Self { path, file, end: 0, buffer: file::head(bucket), covered: Covered::default() })
    }

    /// How far the rows go.
    pub const fn covered(&self) -> Covered {
        self.covered
    }

    /// Adds the rows of a connection. They count from the next [`commit`](Self::commit) on, in place of earlier ones.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn connection(&mut self, key: ConnKey, tuple: &Tuple, rows: &[ObjectRow]) -> Result<()> {
        let bytes = row::encode(key, tuple, rows);
        if bytes.len() < file::MOST {
            let position = self.end + self.buffer.len() as u64;
            file::put(&mut self.buffer, position, &Payload::Connection(&bytes));
        }
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    /// Says how far the rows go now.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn commit(&mut self, covered: Covered) -> Result<()> {
        let position = self.end + self.buffer.len() as u64;
        file::put(&mut self.buffer, position, &Payload::Commit(covered));
        self.flush()?;
        self.covered = covered;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.file.write_at(&self.buffer, self.end).map_err(Error::io(&self.path, "write the rows of a bucket"))?;
        self.end += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl std::fmt::Debug for DerivedWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DerivedWriter")
            .field("path", &self.path)
            .field("covered", &self.covered)
            .finish_non_exhaustive()
    }
}
