//! The one seam through which the store changes the disk, so that every failure is an error code and a crash sweep
//! sees every operation.
//!
//! Whoever writes goes through a [`Volume`]; readers map the files instead. Nothing becomes durable by itself: bytes are
//! after [`VolumeFile::sync_data`], names (made, changed, removed) after [`Volume::sync_dir`] of their folder.

use std::ffi::OsString;
use std::fmt::Debug;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::Path;

use crate::map;

/// Where files are made, renamed and removed.
pub trait Volume: Send + Sync + Debug {
    /// Makes a new file, empty and open for reading and writing; an error when the name is taken.
    fn create(&self, path: &Path) -> io::Result<Box<dyn VolumeFile>>;
    /// Opens a file that exists, for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn VolumeFile>>;
    /// Gives a file another name, in one step; what had that name is gone.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// The names in a folder, in no order, without `.` and `..`.
    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, folder: &Path) -> io::Result<()>;
    /// Makes a folder, in one that exists; an error when the name is taken.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes a folder that others than its owner and its group may not look into; otherwise as
    /// [`create_dir`](Self::create_dir).
    fn create_private_dir(&self, path: &Path) -> io::Result<()> {
        self.create_dir(path)
    }
    /// The room of the file system that a folder is on.
    fn space(&self, folder: &Path) -> io::Result<Space> {
        Space::of(folder)
    }
}

/// The room of a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What may still be written.
    pub available: u64,
    /// All there is.
    pub total: u64,
}

impl Space {
    /// That of the file system that a folder is on, as the system says.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let said = rustix::fs::statvfs(folder)?;
        let bytes = |blocks: u64| blocks.saturating_mul(said.f_frsize);
        Ok(Self { available: bytes(said.f_bavail), total: bytes(said.f_blocks) })
    }
}

/// A file open for reading and writing.
pub trait VolumeFile: Send + Sync + Debug {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether it has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Writes all the bytes at `offset`. After an error any prefix of them may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Reads from `offset` on until `buf` is full or the file ends; how many bytes were read.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Makes durable what was written before, and the length. After an error nothing written since the last success
    /// may be believed to be on disk, even if it can be read back, and syncing again proves nothing.
    fn sync_data(&self) -> io::Result<()>;
    /// Lets the system begin to write these bytes out, without waiting; a hint that keeps the next sync short.
    fn flush_behind(&self, offset: u64, len: u64);
    /// Cuts the file, or grows it with zeros, to `len` bytes.
    fn truncate(&self, len: u64) -> io::Result<()>;
}

/// The file systems of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskVolume;

impl Volume for DiskVolume {
    fn create(&self, path: &Path) -> io::Result<Box<dyn VolumeFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Box::new(DiskFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn VolumeFile>> {
        Ok(Box::new(DiskFile(OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir(path)
    }

    fn create_private_dir(&self, path: &Path) -> io::Result<()> {
        // What the umask takes away besides stays away.
        DirBuilder::new().mode(0o750).create(path)
    }
}

/// A file of [`DiskVolume`].
#[derive(Debug)]
struct DiskFile(File);

impl VolumeFile for DiskFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        read_full(&self.0, buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn flush_behind(&self, offset: u64, len: u64) {
        map::write_behind(&self.0, offset, len);
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}

/// Reads from `offset` on until `buf` is full or the file ends.
pub(crate) fn read_full(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset.saturating_add(done as u64)) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamdb_testkit::TestFolder;

    #[test]
    fn a_file_is_made_written_read_and_cut() {
        let folder = TestFolder::new("volume");
        let (path, other) = (folder.path().join("a"), folder.path().join("b"));
        let file = DiskVolume.create(&path).unwrap();
        assert_eq!(DiskVolume.create(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(file.is_empty().unwrap());
        file.truncate(1 << 20).unwrap();
        assert_eq!(file.len().unwrap(), 1 << 20);
        file.write_at(b"frames", 1000).unwrap();
        file.flush_behind(0, 4096);
        file.sync_data().unwrap();
        let mut buf = [1; 10];
        assert_eq!(file.read_at(&mut buf, 998).unwrap(), 10);
        assert_eq!(&buf, b"\0\0frames\0\0");
        file.truncate(1004).unwrap();
        assert_eq!(file.read_at(&mut buf, 1000).unwrap(), 4);
        assert_eq!(file.read_at(&mut buf, u64::MAX).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        DiskVolume.rename(&path, &other).unwrap();
        DiskVolume.sync_dir(folder.path()).unwrap();
        assert_eq!(DiskVolume.open(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(DiskVolume.open(&other).unwrap().len().unwrap(), 1004);
        DiskVolume.create_dir(&path).unwrap();
        let mut names = DiskVolume.list(folder.path()).unwrap();
        names.sort();
        assert_eq!(names, ["a", "b"]);
        DiskVolume.unlink(&other).unwrap();
        assert_eq!(DiskVolume.list(folder.path()).unwrap(), ["a"]);
    }
}
