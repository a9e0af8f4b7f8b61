//! A volume whose operations can be made to fail, one after the other, and that remembers what was done.
//!
//! A sweep runs a piece of work once, asks how many [`operations`](FaultVolume::operations) it took, and runs it again as
//! often, with the first, the second, ... of them failing. What a power cut leaves is [`PowerCut`](crate::PowerCut)'s.
//!
//! Syncs are counted, remembered and can fail, but nothing waits for the disk: no test looks at it after a real power cut,
//! and a sweep has thousands of them.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use streamdb_storage::{Space, Volume, VolumeFile};

use crate::powercut::Change;

/// How an operation fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// The system's error number, as in `libc::ENOSPC`.
    pub errno: i32,
    /// If it is a write: so many of its bytes reach the file before it fails.
    pub torn: usize,
    /// Whether every later operation fails too, as when the process or the disk has died.
    pub forever: bool,
}

/// An operation that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The method of `Volume` or `VolumeFile`.
    pub name: &'static str,
    /// The file or folder; of a file that was renamed, the name it was opened by.
    pub path: PathBuf,
    /// Whether it was made to fail.
    pub failed: bool,
}

/// A volume around another one; its clones share everything.
#[derive(Clone, Debug)]
pub struct FaultVolume {
    inner: Arc<dyn Volume>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    log: Vec<Operation>,
    faults: Vec<(usize, Fault)>,
    recording: bool,
    /// What changed the disk, and in which operation.
    changes: Vec<(usize, Change)>,
    files: usize,
}

impl FaultVolume {
    /// Nothing fails yet.
    pub fn new(inner: impl Volume + 'static) -> Self {
        Self { inner: Arc::new(inner), state: Arc::default() }
    }

    /// As [`new`](Self::new), but all that is written is kept in memory too, for a [`PowerCut`](crate::PowerCut).
    pub fn recording(inner: impl Volume + 'static) -> Self {
        let this = Self::new(inner);
        this.state().recording = true;
        this
    }

    /// Makes operation `n` fail; the first one of this volume is 0. A `flush_behind` cannot fail and is not counted.
    pub fn fail_at(&self, n: usize, fault: Fault) {
        self.state().faults.push((n, fault));
    }

    /// Makes the next operation fail.
    pub fn fail_next(&self, fault: Fault) {
        self.fail_at(self.operations(), fault);
    }

    /// From here on nothing fails.
    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// How many operations were asked for.
    pub fn operations(&self) -> usize {
        self.state().log.len()
    }

    /// The operations that were asked for, in order.
    pub fn log(&self) -> Vec<Operation> {
        self.state().log.clone()
    }

    pub(crate) fn changes(&self) -> Vec<(usize, Change)> {
        self.state().changes.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an operation; its number, or how it is to fail.
    fn begin(&self, name: &'static str, path: &Path) -> Result<usize, (usize, Fault)> {
        let mut state = self.state();
        let n = state.log.len();
        let fault = state.faults.iter().find(|(at, fault)| *at == n || fault.forever && *at < n).copied();
        state.log.push(Operation { name, path: path.to_owned(), failed: fault.is_some() });
        match fault {
            // Only the operation itself is torn; after it nothing happens any more.
            Some((at, fault)) => Err((n, Fault { torn: if at == n { fault.torn } else { 0 }, ..fault })),
            None => Ok(n),
        }
    }

    fn run<T>(&self, name: &'static str, path: &Path, act: impl FnOnce(usize) -> io::Result<T>) -> io::Result<T> {
        match self.begin(name, path) {
            Ok(n) => act(n),
            Err((_, fault)) => Err(io::Error::from_raw_os_error(fault.errno)),
        }
    }

    /// As [`run`](Self::run), and notes the change if it was made.
    fn change(
        &self,
        name: &'static str,
        path: &Path,
        act: impl FnOnce() -> io::Result<()>,
        change: impl FnOnce() -> Change,
    ) -> io::Result<()> {
        self.run(name, path, |n| {
            act()?;
            self.note(n, change);
            Ok(())
        })
    }

    fn note(&self, n: usize, change: impl FnOnce() -> Change) {
        let mut state = self.state();
        if state.recording {
            state.changes.push((n, change()));
        }
    }

    fn file(
        &self,
        n: usize,
        path: &Path,
        inner: Box<dyn VolumeFile>,
        change: impl FnOnce(usize, PathBuf) -> Change,
    ) -> Box<dyn VolumeFile> {
        let id = {
            let mut state = self.state();
            state.files += 1;
            state.files
        };
        self.note(n, || change(id, path.to_owned()));
        Box::new(FaultFile { volume: self.clone(), inner, id, path: path.to_owned() })
    }
}

impl Volume for FaultVolume {
    fn create(&self, path: &Path) -> io::Result<Box<dyn VolumeFile>> {
        self.run("create", path, |n| {
            Ok(self.file(n, path, self.inner.create(path)?, |file, path| Change::Create { file, path }))
        })
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn VolumeFile>> {
        self.run("open", path, |n| {
            Ok(self.file(n, path, self.inner.open(path)?, |file, path| Change::Open { file, path }))
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let act = || self.inner.rename(from, to);
        self.change("rename", from, act, || Change::Rename { from: from.to_owned(), to: to.to_owned() })
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.change("unlink", path, || self.inner.unlink(path), || Change::Unlink { path: path.to_owned() })
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        self.run("list", folder, |_| self.inner.list(folder))
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        self.change("sync_dir", folder, || Ok(()), || Change::SyncDir { folder: folder.to_owned() })
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.change("create_dir", path, || self.inner.create_dir(path), || Change::CreateDir { path: path.to_owned() })
    }

    fn space(&self, folder: &Path) -> io::Result<Space> {
        self.run("space", folder, |_| self.inner.space(folder))
    }
}

#[derive(Debug)]
struct FaultFile {
    volume: FaultVolume,
    inner: Box<dyn VolumeFile>,
    id: usize,
    path: PathBuf,
}

impl VolumeFile for FaultFile {
    fn len(&self) -> io::Result<u64> {
        self.volume.run("len", &self.path, |_| self.inner.len())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let written = |n, bytes: &[u8]| {
            self.inner.write_at(bytes, offset)?;
            self.volume.note(n, || Change::Write { file: self.id, offset, bytes: bytes.into() });
            Ok(())
        };
        match self.volume.begin("write_at", &self.path) {
            Ok(n) => written(n, bytes),
            Err((n, fault)) => {
                let prefix = bytes.get(..fault.torn).unwrap_or(bytes);
                if !prefix.is_empty() {
                    written(n, prefix)?;
                }
                Err(io::Error::from_raw_os_error(fault.errno))
            }
        }
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.volume.run("read_at", &self.path, |_| self.inner.read_at(buf, offset))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.volume.change("sync_data", &self.path, || Ok(()), || Change::Sync { file: self.id })
    }

    fn flush_behind(&self, offset: u64, len: u64) {
        self.inner.flush_behind(offset, len);
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let act = || self.inner.truncate(len);
        self.volume.change("truncate", &self.path, act, || Change::Truncate { file: self.id, len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TestFolder;
    use streamdb_storage::DiskVolume;

    const NO_SPACE: i32 = 28;

    fn work(volume: &FaultVolume, folder: &Path) -> io::Result<()> {
        let file = volume.create(&folder.join("new"))?;
        file.write_at(b"0123456789", 0)?;
        file.flush_behind(0, 10);
        file.truncate(10)?;
        file.sync_data()?;
        volume.rename(&folder.join("new"), &folder.join("file"))?;
        volume.sync_dir(folder)
    }

    #[test]
    fn every_operation_can_fail() {
        let folder = TestFolder::new("fault");
        let whole = FaultVolume::new(DiskVolume);
        work(&whole, folder.path()).unwrap();
        let names: Vec<_> = whole.log().iter().map(|o| o.name).collect();
        assert_eq!(names, ["create", "write_at", "truncate", "sync_data", "rename", "sync_dir"]);
        for n in 0..names.len() {
            let folder = TestFolder::new("fault");
            let volume = FaultVolume::new(DiskVolume);
            volume.fail_at(n, Fault { errno: NO_SPACE, ..Fault::default() });
            let error = work(&volume, folder.path()).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(NO_SPACE));
            assert_eq!(volume.operations(), n + 1);
            assert!(volume.log()[n].failed);
            volume.heal();
            volume.list(folder.path()).unwrap();
        }
    }

    #[test]
    fn a_write_can_be_torn_and_the_disk_can_die() {
        let folder = TestFolder::new("fault");
        let volume = FaultVolume::new(DiskVolume);
        volume.fail_at(1, Fault { errno: NO_SPACE, torn: 4, forever: true });
        work(&volume, folder.path()).unwrap_err();
        assert_eq!(std::fs::read(folder.path().join("new")).unwrap(), b"0123");
        assert!(volume.list(folder.path()).is_err());
        assert!(volume.unlink(&folder.path().join("new")).is_err());
        volume.heal();
        volume.unlink(&folder.path().join("new")).unwrap();
    }
}
