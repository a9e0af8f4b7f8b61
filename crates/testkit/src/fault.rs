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

use crate::disk::{Disk, Image, image_of};
use crate::powercut::Change;
use crate::site;

/// How an operation fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// The system's error number, as in `libc::ENOSPC`.
    pub errno: i32,
    /// If it is a write: so many of its bytes reach the file before it fails.
    pub torn: usize,
    /// Whether every later operation fails too, as when the process or the disk has died.
    pub forever: bool,
    /// If it is a sync of a file, and the volume a recording one: by this seed, what was written since the last one is on
    /// disk or not, page by page it can still be read or not, and the next sync has nothing to do for it.
    pub pages: Option<u64>,
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
    /// Faults of the next operation of this name on a file with this extension.
    awaiting: Vec<(&'static str, &'static str, Fault)>,
    recording: Option<Recording>,
    sites: bool,
    files: usize,
}

#[derive(Debug)]
struct Recording {
    root: PathBuf,
    /// What was there when it began.
    before: Image,
    /// What changed the disk, and in which operation; in the order in which it did.
    changes: Vec<(usize, Change)>,
}

impl FaultVolume {
    /// Nothing fails yet.
    pub fn new(inner: impl Volume + 'static) -> Self {
        Self { inner: Arc::new(inner), state: Arc::default() }
    }

    /// As [`new`](Self::new), but what is in the folder `root`, and all that is done there, is kept in memory too, for a
    /// [`PowerCut`](crate::PowerCut).
    ///
    /// # Panics
    /// When the folder cannot be read.
    #[expect(clippy::panic, reason = "a test without its folder can only fail")]
    pub fn recording(inner: impl Volume + 'static, root: &Path) -> Self {
        let this = Self::new(inner);
        let before = image_of(root).unwrap_or_else(|e| panic!("{}: could not read it: {e}", root.display()));
        this.state().recording = Some(Recording { root: root.to_owned(), before, changes: Vec::new() });
        this
    }

    /// Notes of each sync which place in the code asked for it. That takes some milliseconds each.
    #[must_use]
    pub fn noting_sites(self) -> Self {
        self.state().sites = true;
        self
    }

    /// Makes operation `n` fail; the first one of this volume is 0. A `flush_behind` cannot fail and is not counted.
    pub fn fail_at(&self, n: usize, fault: Fault) {
        self.state().faults.push((n, fault));
    }

    /// Makes the next operation fail.
    pub fn fail_next(&self, fault: Fault) {
        self.fail_at(self.operations(), fault);
    }

    /// Makes the next operation of this name fail that is on a file with this extension, or on one without when it is "".
    pub fn fail_next_of(&self, name: &'static str, extension: &'static str, fault: Fault) {
        self.state().awaiting.push((name, extension, fault));
    }

    /// From here on nothing fails.
    pub fn heal(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.awaiting.clear();
    }

    /// How many operations were asked for.
    pub fn operations(&self) -> usize {
        self.state().log.len()
    }

    /// The operations that were asked for, in order.
    pub fn log(&self) -> Vec<Operation> {
        self.state().log.clone()
    }

    /// The bytes that a recording volume wrote in operation `n`, if it is a write.
    pub fn written(&self, n: usize) -> Option<Vec<u8>> {
        let state = self.state();
        state.recording.as_ref()?.changes.iter().find_map(|(at, change)| match change {
            Change::Write { bytes, .. } if *at == n => Some(bytes.to_vec()),
            _ => None,
        })
    }

    /// What was there, and what was done since; nothing of a volume that does not record.
    pub(crate) fn recorded(&self) -> (Image, Vec<(usize, Change)>) {
        let state = self.state();
        state.recording.as_ref().map(|r| (r.before.clone(), r.changes.clone())).unwrap_or_default()
    }

    /// A path below the folder that is recorded.
    fn inside(&self, path: &Path) -> PathBuf {
        let state = self.state();
        let root = state.recording.as_ref().map(|recording| recording.root.as_path());
        root.and_then(|root| path.strip_prefix(root).ok()).unwrap_or(path).to_owned()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an operation; its number, or how it is to fail.
    fn begin(&self, name: &'static str, path: &Path) -> Result<usize, (usize, Fault)> {
        let mut state = self.state();
        let n = state.log.len();
        let mut fault = state.faults.iter().find(|(at, fault)| *at == n || fault.forever && *at < n).copied();
        let extension = path.extension().unwrap_or_default();
        if let Some(at) = state.awaiting.iter().position(|(of, on, _)| *of == name && extension == *on) {
            let (.., awaited) = state.awaiting.remove(at);
            state.faults.push((n, awaited));
            fault = Some((n, awaited));
        }
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
        self.run(name, path, |n| self.make(n, act, change))
    }

    /// Makes a change and notes it; in one step, so that the order of the notes is that of the changes.
    fn make(&self, n: usize, act: impl FnOnce() -> io::Result<()>, change: impl FnOnce() -> Change) -> io::Result<()> {
        let mut state = self.state();
        act()?;
        if let Some(recording) = &mut state.recording {
            recording.changes.push((n, change()));
        }
        Ok(())
    }

    /// The place in the code that asks for a sync.
    fn site(&self) -> String {
        let wanted = self.state().sites;
        if wanted { site::here() } else { String::new() }
    }

    /// What a sync that fails does to the file.
    fn lose_pages(&self, n: usize, id: usize, file: &dyn VolumeFile, seed: u64) -> io::Result<()> {
        let mut state = self.state();
        let Some(recording) = &mut state.recording else { return Ok(()) };
        recording.changes.push((n, Change::FailedSync { file: id, seed }));
        let mut disk = Disk::of(&recording.before);
        recording.changes.iter().for_each(|(_, change)| disk.apply(change));
        file.write_at(disk.seen(id), 0)
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
        let change = change(id, self.inside(path));
        let noted = self.make(n, || Ok(()), || change);
        debug_assert!(noted.is_ok(), "there is nothing in it that fails");
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
        let change = Change::Rename { from: self.inside(from), to: self.inside(to) };
        self.change("rename", from, act, || change)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let change = Change::Unlink { path: self.inside(path) };
        self.change("unlink", path, || self.inner.unlink(path), || change)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        self.run("list", folder, |_| self.inner.list(folder))
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        let change = Change::SyncDir { folder: self.inside(folder), site: self.site() };
        self.change("sync_dir", folder, || Ok(()), || change)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let change = Change::CreateDir { path: self.inside(path) };
        self.change("create_dir", path, || self.inner.create_dir(path), || change)
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
            let act = || self.inner.write_at(bytes, offset);
            self.volume.make(n, act, || Change::Write { file: self.id, offset, bytes: bytes.into() })
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
        let site = self.volume.site();
        match self.volume.begin("sync_data", &self.path) {
            Ok(n) => self.volume.make(n, || Ok(()), || Change::Sync { file: self.id, site }),
            Err((n, fault)) => {
                if let Some(seed) = fault.pages {
                    self.volume.lose_pages(n, self.id, &*self.inner, seed)?;
                }
                Err(io::Error::from_raw_os_error(fault.errno))
            }
        }
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
        volume.fail_at(1, Fault { errno: NO_SPACE, torn: 4, forever: true, pages: None });
        work(&volume, folder.path()).unwrap_err();
        assert_eq!(std::fs::read(folder.path().join("new")).unwrap(), b"0123");
        assert!(volume.list(folder.path()).is_err());
        assert!(volume.unlink(&folder.path().join("new")).is_err());
        volume.heal();
        volume.unlink(&folder.path().join("new")).unwrap();
    }
}
