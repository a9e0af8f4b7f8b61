//! A disk for sweeps of thousands of files, which nothing waits for.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use streamdb_storage::{DiskVolume, Volume, VolumeFile};

/// The disk, but that nothing is synced: for what is written and read in thousands of runs, and survives no power cut.
#[derive(Clone, Copy, Debug)]
pub struct QuickVolume;

#[derive(Debug)]
struct QuickFile(Box<dyn VolumeFile>);

impl Volume for QuickVolume {
    fn create(&self, path: &Path) -> io::Result<Box<dyn VolumeFile>> {
        Ok(Box::new(QuickFile(DiskVolume.create(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn VolumeFile>> {
        Ok(Box::new(QuickFile(DiskVolume.open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        DiskVolume.rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        DiskVolume.unlink(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        DiskVolume.list(folder)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        DiskVolume.create_dir(path)
    }
}

impl VolumeFile for QuickFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn flush_behind(&self, _: u64, _: u64) {}

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.truncate(len)
    }
}
