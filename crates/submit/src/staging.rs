//! Where copies lie until the queue takes them in: a folder for each process, or thread, that makes some. It is locked while
//! they are made, so that what a killed process left can be told from it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Its lock, in it.
const LOCK: &str = "lock";

/// A folder for copies, which goes with what is still in it.
pub(crate) struct Staging {
    path: PathBuf,
    lock: File,
}

impl Staging {
    /// Makes one in `incoming`. The queue has to be locked, so that nobody sweeps there now.
    pub(crate) fn begin(incoming: &Path) -> Result<Self, Error> {
        let mut random = [0; 8];
        getrandom::fill(&mut random)?;
        let path = incoming.join(format!("{:016x}", u64::from_ne_bytes(random)));
        DirBuilder::new().mode(0o700).create(&path).map_err(Error::io(&path, "make the folder for copies"))?;
        let lock = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path.join(LOCK));
        let lock = lock.and_then(|lock| lock.lock().map(|()| lock)).map_err(|error| {
            let _ = fs::remove_dir_all(&path);
            Error::io(&path, "lock the folder for copies")(error)
        })?;
        Ok(Self { path, lock })
    }

    /// Where something in it is.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A file in it, opened before all others.
    pub(crate) const fn first(&self) -> &File {
        &self.lock
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // If it cannot be removed now, the next sender does it.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes what killed processes left in `incoming`. The queue has to be locked.
pub(crate) fn sweep(incoming: &Path) -> Result<(), Error> {
    let entries = fs::read_dir(incoming).map_err(Error::io(incoming, "list the copies"))?;
    for entry in entries {
        let path = entry.map_err(Error::io(incoming, "list the copies"))?.path();
        // Versions before this one had their copies here themselves, locked in the same way.
        let is_folder = path.is_dir();
        let lock = if is_folder { path.join(LOCK) } else { path.clone() };
        // One that is locked is being written, and one that is gone is finished; but for a folder without its lock, whose
        // process was killed as it made it.
        let left = match File::open(&lock) {
            Ok(file) => file.try_lock().is_ok(),
            Err(error) => is_folder && error.kind() == io::ErrorKind::NotFound && path.exists(),
        };
        if left {
            match if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) } {
                // Its process is just doing the same.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(Error::io(&path, "remove the unfinished copy"))?,
            }
        }
    }
    Ok(())
}
