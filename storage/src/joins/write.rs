//! Goes on with the file of joins.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::{self, Payload};
use super::known::{Joins, JoinsFile};
use super::{JoinChange, path};
use crate::error::{Error, Result};
use crate::volume::{Volume, VolumeFile};

/// A file that is longer than this, and than four times what is known takes in memory, is made short again.
const LONG: u64 = 1 << 20;

/// The file of joins, open for appending; and what is known by it. One writer at a time. After an error it is to be opened anew.
#[derive(Debug)]
pub struct JoinsWriter {
    volume: Arc<dyn Volume>,
    path: PathBuf,
    /// `None` until there is something to be kept.
    file: Option<Box<dyn VolumeFile>>,
    end: u64,
    buffer: Vec<u8>,
    known: Joins,
}

impl JoinsWriter {
    /// Goes on with what is known in a folder of what is derived, after the last commit; begins anew where there is nothing, or what is
    /// stale.
    pub(crate) fn open(volume: Arc<dyn Volume>, derived: &Path) -> Result<Self> {
        let path = path(derived);
        if let Some(known) = JoinsFile::open(&path)? {
            let file = volume.open(&path).map_err(Error::io(&path, "open the known joins"))?;
            let end = known.end();
            if file.len().map_err(Error::io(&path, "ask for the length of the known joins"))? > end {
                file.truncate(end).map_err(Error::io(&path, "cut the known joins at their last commit"))?;
            }
            let known = Joins::clone(known.known());
            return Ok(Self { volume, path, file: Some(file), end, buffer: Vec::new(), known });
        }
        Ok(Self { volume, path, file: None, end: 0, buffer: file::head(), known: Joins::default() })
    }

    /// What is known, the changes since the last commit with it.
    pub const fn known(&self) -> &Joins {
        &self.known
    }

    /// Changes what is known. For others it counts from the next [`commit`](Self::commit) on.
    pub fn change(&mut self, change: JoinChange) {
        let position = self.end + self.buffer.len() as u64;
        self.known.apply(change.clone());
        file::put(&mut self.buffer, position, &Payload::Change(change));
    }

    /// All changes until now count.
    ///
    /// # Errors
    /// When the file cannot be written: what is known may be more than what is kept then.
    pub fn commit(&mut self) -> Result<()> {
        let position = self.end + self.buffer.len() as u64;
        file::put(&mut self.buffer, position, &Payload::Commit);
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(fresh(&*self.volume, &self.path)?),
        };
        file.write_at(&self.buffer, self.end).map_err(Error::io(&self.path, "write the known joins"))?;
        self.end += self.buffer.len() as u64;
        self.buffer.clear();
        if self.end > LONG && self.end > 4 * self.known.bytes() as u64 { self.shorten() } else { Ok(()) }
    }

    /// Writes what is known into a new file, which takes the place of the old one in one step.
    pub(super) fn shorten(&mut self) -> Result<()> {
        let other = self.path.with_extension("part");
        let file = fresh(&*self.volume, &other)?;
        let mut buffer = file::head();
        let mut end = 0;
        for change in self.known.changes().map(Payload::Change).chain([Payload::Commit]) {
            let position = end + buffer.len() as u64;
            file::put(&mut buffer, position, &change);
            if buffer.len() as u64 > LONG || change == Payload::Commit {
                file.write_at(&buffer, end).map_err(Error::io(&other, "write the known joins"))?;
                end += buffer.len() as u64;
                buffer.clear();
            }
        }
        self.volume.rename(&other, &self.path).map_err(Error::io(&other, "rename the known joins"))?;
        (self.file, self.end) = (Some(file), end);
        Ok(())
    }
}

/// A new file in place of what may be there.
fn fresh(volume: &dyn Volume, path: &Path) -> Result<Box<dyn VolumeFile>> {
    match volume.unlink(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(Error::io(path, "remove the stale joins")(error));
        }
        _ => {}
    }
    volume.create(path).map_err(Error::io(path, "make a file for the known joins"))
}
