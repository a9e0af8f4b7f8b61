//! A copy that is being made for the queue: hashed as it is written, and gone if nobody finishes it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

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
    /// Whether it is still to go when this goes.
    unfinished: bool,
}

/// A copy that was made: where it is, and what is in it.
pub(crate) struct Finished {
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
    pub(crate) digests: Digests,
}

impl Incoming {
    pub(crate) fn begin(path: PathBuf) -> Result<Self, Error> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = BufWriter::with_capacity(256 << 10, file.map_err(Error::io(&path, "make the copy"))?);
        Ok(Self { path, file, md5: Md5::new(), sha1: Sha1::new(), sha256: Sha256::new(), size: 0, unfinished: true })
    }

    /// Bytes written so far.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// What an error of [`write`](Write::write) means.
    pub fn error(&self, source: io::Error) -> Error {
        Error::Io { path: self.path.clone(), doing: "write the copy", source }
    }

    /// It is all there; made `durable`, if nobody else does that.
    pub(crate) fn finish(mut self, durable: bool) -> Result<Finished, Error> {
        let flushed = self.file.flush();
        let synced = flushed.and_then(|()| if durable { self.file.get_ref().sync_all() } else { Ok(()) });
        synced.map_err(|source| self.error(source))?;
        self.unfinished = false;
        let digests = Digests {
            md5: self.md5.clone().finalize().into(),
            sha1: self.sha1.clone().finalize().into(),
            sha256: self.sha256.clone().finalize().into(),
        };
        Ok(Finished { path: self.path.clone(), size: self.size, digests })
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
        if self.unfinished {
            // If it cannot be removed now, it goes with its folder.
            let _ = fs::remove_file(&self.path);
        }
    }
}
