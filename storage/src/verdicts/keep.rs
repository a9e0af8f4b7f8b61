//! Keeps what scanners said, each content once, and how far the rows of each bucket were handed on.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use streamdb_types::{BucketId, Oid, Verdict};

use super::file::{Frames, HEAD, MAGIC, Payload, Settled, each, put};
use super::joined::{self, JoinsMet};
use super::{JoinMet, Scanned};
use crate::derived::KeptMark;
use crate::error::{Error, Result};
use crate::joins::JoinId;
use crate::volume::{Volume, VolumeFile};

/// Most contents in which nothing was found that are known: beyond, half of them are forgotten, the oldest first, and would be
/// scanned again. 17 bytes of each are in memory.
const CLEAN: usize = 1 << 22;
/// Most contents in which something was found; likewise.
const FOUND: usize = 1 << 17;
/// The file is written anew when so much of it counts no more, and that is more than half of it.
const WASTE: u64 = 16 << 20;

/// What is known of a content that was scanned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// What was found in it.
    pub verdicts: Vec<Verdict>,
    /// Which scanners looked at it, [`Scanner::bit`](streamdb_types::Scanner::bit) by bit.
    pub looked: u8,
    /// Whether they looked at all of it.
    pub whole: bool,
    /// Whether the object that is asked for is the first one with it. That is known until the next mark.
    pub first_seen: bool,
}

/// Appends what scanners say. One at a time, in one process.
#[derive(Debug)]
pub struct Keeper {
    _lock: File,
    volume: Arc<dyn Volume>,
    path: PathBuf,
    file: Box<dyn VolumeFile>,
    end: u64,
    said: Said,
    waste: u64,
    most: (usize, usize),
}

/// What the file says.
#[derive(Debug, Default)]
struct Said {
    /// By the first half of each SHA-256.
    clean: HashMap<[u8; 16], Looked>,
    found: HashMap<[u8; 32], (Looked, Vec<Verdict>)>,
    /// What was scanned since the last mark, and whether it was seen first in this object.
    pending: HashMap<[u8; 32], (Oid, bool)>,
    marks: BTreeMap<BucketId, (KeptMark, bool)>,
    joins: JoinsMet,
    begun: bool,
}

/// Who looked at a content, and whether at all of it, in one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Looked(u8);

impl Looked {
    const WHOLE: u8 = 1 << 7;

    fn of(scanned: &Scanned) -> Self {
        Self(scanned.looked | if scanned.whole { Self::WHOLE } else { 0 })
    }

    const fn known(self, verdicts: Vec<Verdict>, first_seen: bool) -> Known {
        Known { verdicts, looked: self.0 & !Self::WHOLE, whole: self.0 & Self::WHOLE != 0, first_seen }
    }
}

impl Said {
    fn take(&mut self, said: Payload) {
        match said {
            Payload::Scanned(scanned) => {
                self.pending.insert(scanned.sha256, (scanned.oid, scanned.first_seen));
                let looked = Looked::of(&scanned);
                if scanned.verdicts.is_empty() {
                    self.found.remove(&scanned.sha256);
                    self.clean.insert(half(&scanned.sha256), looked);
                } else {
                    self.clean.remove(&half(&scanned.sha256));
                    self.found.insert(scanned.sha256, (looked, scanned.verdicts));
                }
            }
            Payload::Mark(bucket, mark, Settled(settled)) => {
                self.pending.clear();
                self.marks.insert(bucket, (mark, settled));
            }
            Payload::Joined(met) => _ = self.joins.take(&met),
            Payload::Begun => self.begun = true,
        }
    }
}

impl Keeper {
    /// Takes the right to scan, and reads what is known. `None` when another process has the right.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn open(folder: &Path, volume: Arc<dyn Volume>) -> Result<Option<Self>> {
        Self::with(folder, volume, (CLEAN, FOUND))
    }

    fn with(folder: &Path, volume: Arc<dyn Volume>, most: (usize, usize)) -> Result<Option<Self>> {
        let derived = folder.join(crate::folder::DERIVED);
        match std::fs::create_dir(&derived) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(Error::io(&derived, "make the folder of what is derived")(error));
            }
            _ => {}
        }
        let lock = derived.join("scanning");
        let open = OpenOptions::new().write(true).create(true).truncate(false).open(&lock);
        let held = open.map_err(Error::io(&lock, "open the lock of who scans"))?;
        match held.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(Error::io(&lock, "lock the scanning of contents")(error)),
        }
        let path = super::path(folder);
        let file = match volume.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                volume.create(&path).map_err(Error::io(&path, "make the file of verdicts"))?
            }
            Err(error) => return Err(Error::io(&path, "open the file of verdicts")(error)),
        };
        let mut keeper = Self { _lock: held, volume, path, file, end: 0, said: Said::default(), waste: 0, most };
        keeper.read()?;
        Ok(Some(keeper))
    }

    /// Takes in what the file says, and cuts off what does not count.
    fn read(&mut self) -> Result<()> {
        let wrong = |action| Error::io(&self.path, action);
        let mut said = Said::default();
        let end = each(&|buffer, at| self.file.read_at(buffer, at), 0, &mut |payload| {
            said.take(payload);
            Ok(())
        });
        let end = end.map_err(wrong("read the file of verdicts"))?;
        self.said = said;
        if end == 0 {
            // Nothing of it can be believed.
            self.file.truncate(0).map_err(wrong("cut the file of verdicts"))?;
            self.file.write_at(MAGIC, 0).map_err(wrong("write the file of verdicts"))?;
        }
        self.end = end.max(HEAD);
        if self.file.len().map_err(wrong("ask for the length of the file of verdicts"))? > self.end {
            self.file.truncate(self.end).map_err(wrong("cut the file of verdicts"))?;
        }
        Ok(())
    }

    /// Whether nobody has scanned here, or what they said is lost.
    pub const fn is_new(&self) -> bool {
        !self.said.begun
    }

    /// Begins: what lies before these marks is past, and is not scanned. From now on this is not new.
    ///
    /// # Errors
    /// When it cannot be written and made durable.
    pub fn begin(&mut self, marks: &[(BucketId, KeptMark)]) -> Result<()> {
        for (bucket, mark) in marks {
            self.mark(*bucket, *mark, false)?;
        }
        let said = self.append(Payload::Begun)?;
        self.said.take(said);
        self.sync()
    }

    /// How far the rows of a bucket were handed on; `None` when nothing more comes to them.
    pub fn mark_of(&self, bucket: BucketId) -> Option<KeptMark> {
        match self.said.marks.get(&bucket) {
            None => Some(KeptMark::NOTHING),
            Some((mark, false)) => Some(*mark),
            Some((_, true)) => None,
        }
    }

    /// What is known of a content that `oid` has too; `None` when nobody met it.
    pub fn known(&self, sha256: &[u8; 32], oid: Oid) -> Option<Known> {
        let first_seen = self.said.pending.get(sha256).is_some_and(|(first, first_seen)| *first_seen && *first == oid);
        match self.said.found.get(sha256) {
            Some((looked, verdicts)) => Some(looked.known(verdicts.clone(), first_seen)),
            None => self.said.clean.get(&half(sha256)).map(|looked| looked.known(Vec::new(), first_seen)),
        }
    }

    /// Keeps what was found in a content.
    ///
    /// # Errors
    /// When it cannot be written; it may be tried again.
    pub fn scanned(&mut self, scanned: Scanned) -> Result<()> {
        let before = self.end;
        let again = self.known(&scanned.sha256, scanned.oid).is_some();
        let said = self.append(Payload::Scanned(scanned))?;
        if again {
            // As much as the earlier one, or nearly.
            self.waste += self.end - before;
        }
        self.said.take(said);
        if self.said.clean.len() > self.most.0 || self.said.found.len() > self.most.1 {
            self.write_anew()?;
        }
        Ok(())
    }

    /// Says how far the rows of a bucket were handed on; `settled`: nothing more comes to them.
    ///
    /// # Errors
    /// The same.
    pub fn mark(&mut self, bucket: BucketId, mark: KeptMark, settled: bool) -> Result<()> {
        let before = self.end;
        let said = self.append(Payload::Mark(bucket, mark, Settled(settled)))?;
        if self.said.marks.contains_key(&bucket) {
            self.waste += self.end - before;
        }
        self.said.take(said);
        if self.waste > WASTE && self.waste > self.end / 2 { self.write_anew() } else { Ok(()) }
    }

    /// What is known of a join, if its content is this one; `None` when nobody met it so.
    pub fn joined(&self, id: JoinId, sha256: &[u8; 32]) -> Option<JoinMet> {
        self.said.joins.of(id, sha256)
    }

    /// Keeps that a joined content was met, or handed on.
    ///
    /// # Errors
    /// The same.
    pub fn join(&mut self, met: JoinMet) -> Result<()> {
        let before = self.end;
        self.append(Payload::Joined(met))?;
        if self.said.joins.take(&met) {
            self.waste += self.end - before;
        }
        if self.said.joins.len() > joined::MOST { self.write_anew() } else { Ok(()) }
    }

    /// Forgets the marks of buckets that are there no more; they go from the file when that is written anew.
    pub fn keep_marks_of(&mut self, buckets: &[BucketId]) {
        self.said.marks.retain(|id, _| buckets.binary_search(id).is_ok());
    }

    /// Makes durable what was kept.
    ///
    /// # Errors
    /// When that fails.
    pub fn sync(&mut self) -> Result<()> {
        self.file.sync_data().map_err(Error::io(&self.path, "sync the file of verdicts"))?;
        let folder = self.path.parent().unwrap_or(&self.path);
        self.volume.sync_dir(folder).map_err(Error::io(folder, "sync the folder of what is derived"))
    }

    /// Appends a frame. What it says, as it will be read: long texts are cut.
    fn append(&mut self, said: Payload) -> Result<Payload> {
        let mut bytes = Vec::new();
        put(&mut bytes, self.end, &said);
        let said = Frames::new(&bytes, self.end).next().unwrap_or(said);
        self.file.write_at(&bytes, self.end).map_err(Error::io(&self.path, "write the file of verdicts"))?;
        self.end += bytes.len() as u64;
        Ok(said)
    }

    /// Writes the file without what counts no more, and takes it in place of the old one.
    fn write_anew(&mut self) -> Result<()> {
        let path = self.path.with_extension("new");
        let result = self.copy(&path);
        let wrong = |action| Error::io(&self.path, action);
        let (file, length) = result.map_err(wrong("write the file of verdicts anew"))?;
        self.volume.rename(&path, &self.path).map_err(wrong("take the new file of verdicts"))?;
        (self.file, self.end, self.waste) = (file, length, 0);
        self.read()?;
        self.sync()
    }

    fn copy(&self, path: &Path) -> io::Result<(Box<dyn VolumeFile>, u64)> {
        match self.volume.unlink(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.volume.create(path)?;
        let surplus = |there: usize, most: usize| if there > most { there - most / 2 } else { 0 };
        let mut clean = surplus(self.said.clean.len(), self.most.0);
        let mut found = surplus(self.said.found.len(), self.most.1);
        let mut out = Out { file: &*file, at: 0, bytes: MAGIC.to_vec() };
        if self.said.begun {
            out.put(&Payload::Begun)?;
        }
        let mut scanned = |pending: bool, out: &mut Out<'_>| {
            each(&|buffer, at| self.file.read_at(buffer, at), 0, &mut |said| {
                let Payload::Scanned(scanned) = &said else { return Ok(()) };
                // What a later one took the place of goes.
                let counts = match self.said.found.get(&scanned.sha256) {
                    Some((looked, verdicts)) => *looked == Looked::of(scanned) && *verdicts == scanned.verdicts,
                    None => self.said.clean.get(&half(&scanned.sha256)) == Some(&Looked::of(scanned)),
                };
                if !counts || self.said.pending.contains_key(&scanned.sha256) != pending {
                    return Ok(());
                }
                let left = if scanned.verdicts.is_empty() { &mut clean } else { &mut found };
                if *left > 0 && !pending {
                    *left -= 1;
                    return Ok(());
                }
                out.put(&said)
            })
        };
        scanned(false, &mut out)?;
        let mut joins = surplus(self.said.joins.len(), joined::MOST);
        each(&|buffer, at| self.file.read_at(buffer, at), 0, &mut |said| match &said {
            Payload::Joined(met) if self.said.joins.counts(met) => {
                // What is not handed on yet is met again with the same word on it.
                if joins > 0 && met.handed {
                    joins -= 1;
                    return Ok(());
                }
                out.put(&said)
            }
            _ => Ok(()),
        })?;
        for (bucket, (mark, settled)) in &self.said.marks {
            out.put(&Payload::Mark(*bucket, *mark, Settled(*settled)))?;
        }
        // What comes behind the marks waits for the next one.
        scanned(true, &mut out)?;
        out.flush()?;
        let length = out.at;
        file.sync_data()?;
        Ok((file, length))
    }
}

/// A file that is being written.
struct Out<'f> {
    file: &'f dyn VolumeFile,
    at: u64,
    bytes: Vec<u8>,
}

impl Out<'_> {
    fn put(&mut self, said: &Payload) -> io::Result<()> {
        let position = self.at + self.bytes.len() as u64;
        put(&mut self.bytes, position, said);
        if self.bytes.len() < 1 << 20 { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(&self.bytes, self.at)?;
        self.at += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(())
    }
}

/// As much of a digest as tells contents apart.
pub(super) fn half(sha256: &[u8; 32]) -> [u8; 16] {
    sha256.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::Verdicts;
    use super::super::file::tests::scanned_as;
    use super::*;
    use crate::derived::Covered;
    use crate::volume::DiskVolume;
    use streamdb_testkit::TestFolder;
    use streamdb_types::BlockPlace;

    fn open(folder: &Path, most: (usize, usize)) -> Keeper {
        Keeper::with(folder, Arc::new(DiskVolume), most).unwrap().unwrap()
    }

    const MANY: (usize, usize) = (1000, 1000);

    fn mark(to: u64) -> KeptMark {
        let covered = Covered { to: BlockPlace(to), whole: false };
        KeptMark { last: (to, 7), next: to + 50, covered, silent: false }
    }

    fn is_known(keeper: &Keeper, number: u8) -> bool {
        keeper.known(&[number; 32], scanned_as(number, &[]).oid).is_some()
    }

    #[test]
    fn what_was_scanned_is_known_and_shown() {
        let folder = TestFolder::new("verdicts");
        let mut keeper = open(folder.path(), MANY);
        assert!(keeper.is_new() && Keeper::open(folder.path(), Arc::new(DiskVolume)).unwrap().is_none());
        keeper.begin(&[]).unwrap();
        let shown = Verdicts::open(folder.path());
        keeper.scanned(scanned_as(1, &["bad"])).unwrap();
        keeper.scanned(scanned_as(2, &[])).unwrap();
        assert_eq!(shown.of(&[1; 32])[0].to_string(), "yara:bad");
        assert!(shown.of(&[2; 32]).is_empty() && shown.of(&[3; 32]).is_empty());
        let first = scanned_as(2, &[]).oid;
        for _ in 0..2 {
            assert!(keeper.known(&[2; 32], first).unwrap().first_seen, "its object was not handed on yet");
            assert!(!keeper.known(&[2; 32], first.with_index(9)).unwrap().first_seen);
            assert!(!keeper.known(&[1; 32], first).unwrap().first_seen, "as was said of it");
            assert_eq!(keeper.known(&[3; 32], first), None);
            drop(keeper);
            keeper = open(folder.path(), MANY);
            assert!(!keeper.is_new());
        }
        keeper.mark(BucketId(4), mark(9), false).unwrap();
        keeper.mark(BucketId(5), mark(3), true).unwrap();
        assert!(!keeper.known(&[2; 32], first).unwrap().first_seen);
        drop(keeper);
        let keeper = open(folder.path(), MANY);
        assert_eq!([4, 5, 6].map(|id| keeper.mark_of(BucketId(id))), [Some(mark(9)), None, Some(KeptMark::NOTHING)]);
        std::fs::remove_file(folder.path().join("derived/verdicts")).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert!(shown.of(&[1; 32]).is_empty());
    }

    #[test]
    fn a_later_word_on_a_content_takes_the_place_of_an_earlier_one() {
        let folder = TestFolder::new("verdicts-later");
        let mut keeper = open(folder.path(), MANY);
        keeper.begin(&[]).unwrap();
        let oid = scanned_as(1, &[]).oid;
        keeper.scanned(Scanned { looked: 0, ..scanned_as(1, &[]) }).unwrap();
        assert_eq!(keeper.known(&[1; 32], oid).unwrap().looked, 0);
        keeper.scanned(Scanned { looked: 3, whole: false, ..scanned_as(1, &["bad"]) }).unwrap();
        for number in 0..3 {
            let known = keeper.known(&[1; 32], oid).unwrap();
            assert_eq!((known.looked, known.whole, known.verdicts.len()), (3, false, 1), "{number}");
            if number == 0 {
                keeper.write_anew().unwrap();
                let Some(Payload::Scanned(first)) = first_of(&keeper) else { panic!("nothing was kept") };
                assert_eq!(first.looked, 3, "the earlier one is gone");
            }
            drop(keeper);
            keeper = open(folder.path(), MANY);
        }
        keeper.scanned(Scanned { looked: 7, ..scanned_as(1, &[]) }).unwrap();
        let known = keeper.known(&[1; 32], oid).unwrap();
        assert_eq!((known.looked, known.whole, known.verdicts.len()), (7, true, 0));
    }

    fn first_of(keeper: &Keeper) -> Option<Payload> {
        let mut first = None;
        let each = each(&|buffer, at| keeper.file.read_at(buffer, at), 0, &mut |said| {
            if first.is_none() && matches!(said, Payload::Scanned(_)) {
                first = Some(said);
            }
            Ok(())
        });
        each.unwrap();
        first
    }

    #[test]
    fn joined_contents_are_met_once_and_handed_on_once() {
        let folder = TestFolder::new("verdicts-joined");
        let mut keeper = open(folder.path(), MANY);
        keeper.begin(&[]).unwrap();
        let id = |number| JoinId([number; 16]);
        assert_eq!(keeper.joined(id(1), &[1; 32]), None);
        let met = JoinMet { first_seen: true, ..JoinMet::new(id(1), &[1; 32]) };
        keeper.join(met).unwrap();
        keeper.join(JoinMet { handed: true, ..JoinMet::new(id(2), &[1; 32]) }).unwrap();
        for step in 0..3 {
            // Marks of rows are another matter.
            keeper.mark(BucketId(4), mark(9), false).unwrap();
            if step == 1 {
                keeper.write_anew().unwrap();
            }
            assert_eq!(keeper.joined(id(1), &[1; 32]), Some(met));
            assert_eq!((keeper.joined(id(1), &[2; 32]), keeper.joined(id(3), &[1; 32])), (None, None));
            assert!(!met.is_done(false));
            let other = keeper.joined(id(2), &[1; 32]).unwrap();
            assert!(other.is_done(false) && !other.is_done(true), "it was not complete then");
            drop(keeper);
            keeper = open(folder.path(), MANY);
        }
        let done = JoinMet { complete: true, handed: true, ..met };
        keeper.join(done).unwrap();
        drop(keeper);
        let keeper = open(folder.path(), MANY);
        assert_eq!(keeper.joined(id(1), &[1; 32]), Some(done));
        assert!(done.is_done(true) && done.is_done(false));
    }

    #[test]
    fn any_prefix_of_the_file_is_gone_on_with() {
        let folder = TestFolder::new("verdicts-cut");
        let path = folder.path().join("derived/verdicts");
        let mut ends = Vec::new();
        let mut keeper = open(folder.path(), MANY);
        keeper.begin(&[(BucketId(4), mark(9))]).unwrap();
        let begun = keeper.end;
        for number in 0..4 {
            keeper.scanned(scanned_as(number, &["bad"])).unwrap();
            ends.push(keeper.end);
        }
        drop(keeper);
        let bytes = std::fs::read(&path).unwrap();
        for cut in 0..=bytes.len() {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let mut keeper = open(folder.path(), MANY);
            let there = ends.iter().filter(|end| **end <= cut as u64).count() as u8;
            assert_eq!(keeper.is_new(), (cut as u64) < begun);
            assert!((0..4).all(|number| is_known(&keeper, number) == (number < there)), "cut at {cut}");
            keeper.scanned(scanned_as(9, &[])).unwrap();
            drop(keeper);
            assert!(is_known(&open(folder.path(), MANY), 9));
        }
    }

    #[test]
    fn beyond_a_bound_the_oldest_are_forgotten() {
        let folder = TestFolder::new("verdicts-bound");
        let shown = Verdicts::open(folder.path());
        let mut keeper = open(folder.path(), (4, 2));
        keeper.mark(BucketId(4), mark(9), false).unwrap();
        keeper.mark(BucketId(3), mark(9), true).unwrap();
        keeper.scanned(scanned_as(100, &["bad"])).unwrap();
        for number in 0..5 {
            keeper.mark(BucketId(4), mark(9 + u64::from(number)), false).unwrap();
            keeper.scanned(scanned_as(number, &[])).unwrap();
        }
        let known = |keeper: &Keeper| (0..5).filter(|number| is_known(keeper, *number)).collect::<Vec<_>>();
        assert_eq!(known(&keeper), [3, 4]);
        assert_eq!(shown.of(&[100; 32]).len(), 1, "the new file is followed");
        assert!(keeper.known(&[4; 32], scanned_as(4, &[]).oid).unwrap().first_seen, "it still waits for its mark");
        drop(keeper);
        let keeper = open(folder.path(), (4, 2));
        assert_eq!(known(&keeper), [3, 4]);
        assert!(keeper.known(&[4; 32], scanned_as(4, &[]).oid).unwrap().first_seen);
        assert_eq!([keeper.mark_of(BucketId(4)), keeper.mark_of(BucketId(3))], [Some(mark(13)), None]);
    }
}
