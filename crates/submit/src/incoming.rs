//! A copy that is being made for the queue: hashed as it is written, and gone if nobody finishes it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use streamdb_types::Digests;

use crate::error::Error;

/// A copy that is being made.
pub struct Incoming {
    path: PathBuf,
    file: BufWriter<File>,
    md5: Md5,
    sha1: Sha1,
    sha256: Sha256,
    size: u64,
    /// Whether the file is still there under its own name.
    ours: bool,
}

impl Incoming {
    /// Begins one. It is locked for as long as it is written, so that what a killed process left can be told from it.
    pub(crate) fn begin(folder: &Path) -> Result<Self, Error> {
        let mut random = [0; 8];
        getrandom::fill(&mut random)?;
        let path = folder.join(format!("{:016x}", u64::from_ne_bytes(random)));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.and_then(|file| file.lock().map(|()| file)).map_err(Error::io(&path, "make the copy"))?;
        let file = BufWriter::with_capacity(256 << 10, file);
        Ok(Self { path, file, md5: Md5::new(), sha1: Sha1::new(), sha256: Sha256::new(), size: 0, ours: true })
    }

    /// Bytes written so far.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// What an error of [`write`](Write::write) means.
    pub fn error(&self, source: io::Error) -> Error {
        Error::Io { path: self.path.clone(), doing: "write the copy", source }
    }

    /// Makes it durable, and says what is in it.
    pub(crate) fn seal(&mut self) -> Result<Digests, Error> {
        let synced = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        synced.map_err(|source| self.error(source))?;
        Ok(Digests {
            md5: self.md5.clone().finalize().into(),
            sha1: self.sha1.clone().finalize().into(),
            sha256: self.sha256.clone().finalize().into(),
        })
    }

    /// Gives it its place.
    pub(crate) fn place(mut self, to: &Path) -> Result<(), Error> {
        fs::rename(&self.path, to).map_err(Error::io(to, "give the copy its name"))?;
        self.ours = false;
        Ok(())
    }
}

impl Write for Incoming {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        let bytes = bytes.get(..written).unwrap_or_default();
        self.md5.update(bytes);
        self.sha1.update(bytes);
        self.sha256.update(bytes);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if self.ours {
            // If it cannot be removed now, the next sender does it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes what killed processes left half written.
pub(crate) fn sweep(folder: &Path) -> Result<(), Error> {
    let entries = fs::read_dir(folder).map_err(Error::io(folder, "list the copies"))?;
    for entry in entries {
        let path = entry.map_err(Error::io(folder, "list the copies"))?.path();
        // One that is gone is finished; one that is locked is being written.
        let Ok(file) = File::open(&path) else { continue };
        if file.try_lock().is_ok() {
            fs::remove_file(&path).map_err(Error::io(&path, "remove the unfinished copy"))?;
        }
    }
    Ok(())
}
