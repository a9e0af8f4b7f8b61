//! Keeps what scanners said, each content once, and how far the rows of each bucket were handed on.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use streamdb_types::{BucketId, Oid};

use super::file::{First, Frames, HEAD, MAGIC, PartyMark, Payload, Said, each, put};
use super::joined::{self, JoinsMet};
use super::known::{Bounds, Contents, Known};
use super::marks::Marks;
use super::{JoinMet, Parties, Scanned, anew};
use crate::derived::KeptMark;
use crate::error::{Error, Result};
use crate::joins::JoinId;
use crate::volume::{Volume, VolumeFile};

/// The file is written anew when so much of it counts no more, and that is more than half of it.
const WASTE: u64 = 16 << 20;

/// Appends what scanners say. One at a time, in one process.
#[derive(Debug)]
pub struct Keeper {
    _lock: File,
    volume: Arc<dyn Volume>,
    path: PathBuf,
    file: Box<dyn VolumeFile>,
    end: u64,
    said: InMemory,
    waste: u64,
    bounds: Bounds,
    parties: Parties,
}

/// What the file says.
#[derive(Debug, Default)]
pub(super) struct InMemory {
    pub(super) contents: Contents,
    pub(super) marks: Marks,
    pub(super) joins: JoinsMet,
    /// Which parties have begun.
    pub(super) begun: u8,
}

impl InMemory {
    /// Whether something earlier counts no more.
    fn take(&mut self, payload: Payload) -> bool {
        match payload {
            Payload::Scanned(said) => {
                let again = self.contents.met(&said.sha256).is_some();
                self.contents.take(said);
                return again;
            }
            Payload::Joined(met) => return self.joins.take(&met),
            Payload::Mark(bucket, mark) => return self.marks.take(bucket, mark),
            Payload::Begun(parties) => self.begun |= parties,
            Payload::Forgotten(forgotten) => self.contents.forgotten = forgotten,
        }
        false
    }
}

impl Keeper {
    /// Takes the right to scan, for these parties, and reads what is known. `None` when another process has the right.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn open(folder: &Path, volume: Arc<dyn Volume>, parties: Parties) -> Result<Option<Self>> {
        Self::with(folder, volume, parties, Bounds::DEFAULT)
    }

    fn with(folder: &Path, volume: Arc<dyn Volume>, parties: Parties, bounds: Bounds) -> Result<Option<Self>> {
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
        let said = InMemory::default();
        let mut keeper = Self { _lock: held, volume, path, file, end: 0, said, waste: 0, bounds, parties };
        keeper.read()?;
        Ok(Some(keeper))
    }

    /// Takes in what the file says, and cuts off what does not count.
    fn read(&mut self) -> Result<()> {
        let wrong = |action| Error::io(&self.path, action);
        let mut said = InMemory::default();
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

    /// Whether one of the parties was never here, or what it said is lost.
    pub const fn is_new(&self) -> bool {
        self.parties.without(self.said.begun) != 0
    }

    /// Begins for those that were never here: what lies before these marks is past, and not gone through for them. From now on
    /// none is new.
    ///
    /// # Errors
    /// When it cannot be written and made durable.
    pub fn begin(&mut self, marks: &[(BucketId, KeptMark)]) -> Result<()> {
        let parties = self.parties.without(self.said.begun);
        for (bucket, mark) in marks {
            self.append(Payload::Mark(*bucket, PartyMark { parties, mark: *mark, settled: false }))?;
        }
        self.append(Payload::Begun(parties))?;
        self.sync()
    }

    /// How far the rows of a bucket were gone through for all of the parties; `None` when nothing more comes to them.
    pub fn mark_of(&self, bucket: BucketId) -> Option<KeptMark> {
        self.said.marks.of(bucket, self.parties)
    }

    /// What is known of a content that `oid` has too; `None` when nobody met it.
    pub fn known(&self, sha256: &[u8; 32], oid: Oid) -> Option<Known> {
        self.said.contents.known(sha256, oid)
    }

    /// Keeps what was found in a content.
    ///
    /// # Errors
    /// When it cannot be written; it may be tried again.
    pub fn scanned(&mut self, scanned: Scanned) -> Result<()> {
        let Scanned { sha256, oid, first_seen, whole, by, looked, verdicts } = scanned;
        let first = match self.said.contents.met(&sha256) {
            Some(met) => met.first,
            None if first_seen => First::of(oid),
            None => First::default(),
        };
        let said = Said { sha256, first, whole, by, looked, verdicts };
        if !self.said.contents.says(&said) {
            self.append(Payload::Scanned(said))?;
        }
        if self.said.contents.is_over(&self.bounds) { self.write_anew() } else { Ok(()) }
    }

    /// Says how far the rows of a bucket were gone through for the parties; `settled`: nothing more comes to them.
    ///
    /// # Errors
    /// The same.
    pub fn mark(&mut self, bucket: BucketId, mark: KeptMark, settled: bool) -> Result<()> {
        self.append(Payload::Mark(bucket, PartyMark { parties: self.parties.0, mark, settled }))?;
        if self.waste > WASTE && self.waste > self.end / 2 { self.write_anew() } else { Ok(()) }
    }

    /// What is known of a join, if its content is this one; `None` when nobody met it so.
    pub fn joined(&self, id: JoinId, sha256: &[u8; 32]) -> Option<JoinMet> {
        self.said.joins.of(id, sha256)
    }

    /// Whether nothing more is to be done about a join for the parties: they did as it is now, or when it was complete.
    pub const fn is_done(&self, met: &JoinMet, complete: bool) -> bool {
        self.parties.without(met.done.0) == 0 && (met.complete || !complete)
    }

    /// Keeps that a joined content was met.
    ///
    /// # Errors
    /// The same.
    pub fn join(&mut self, met: JoinMet) -> Result<()> {
        if self.said.joins.counts(&met) {
            return Ok(());
        }
        self.append(Payload::Joined(met))?;
        if self.said.joins.len() > joined::MOST { self.write_anew() } else { Ok(()) }
    }

    /// Keeps that this was all for the parties: it was looked into and handed on.
    ///
    /// # Errors
    /// The same.
    pub fn join_done(&mut self, met: JoinMet) -> Result<()> {
        self.join(JoinMet { done: Parties(met.done.0 | self.parties.0), ..met })
    }

    /// Keeps that a joined content was there before those of the parties were that were never here: it is past for them, and for
    /// none of the others, who may have it before them still.
    ///
    /// # Errors
    /// The same.
    pub fn join_past(&mut self, met: JoinMet) -> Result<()> {
        self.join(JoinMet { done: Parties(met.done.0 | self.parties.without(self.said.begun)), ..met })
    }

    /// Forgets the marks of buckets that are there no more; they go from the file when that is written anew.
    pub fn keep_marks_of(&mut self, buckets: &[BucketId]) {
        self.said.marks.keep(buckets);
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

    /// Appends a frame, and takes what it says as it will be read: long texts are cut.
    fn append(&mut self, said: Payload) -> Result<()> {
        let mut bytes = Vec::new();
        put(&mut bytes, self.end, &said);
        let said = Frames::new(&bytes, self.end).next().unwrap_or(said);
        self.file.write_at(&bytes, self.end).map_err(Error::io(&self.path, "write the file of verdicts"))?;
        self.end += bytes.len() as u64;
        if self.said.take(said) {
            // As much as the earlier one, or nearly.
            self.waste += bytes.len() as u64;
        }
        Ok(())
    }

    /// Writes the file without what counts no more, and takes it in place of the old one.
    fn write_anew(&mut self) -> Result<()> {
        let path = self.path.with_extension("new");
        let result = anew::write(&*self.volume, &path, &*self.file, &self.said, &self.bounds);
        let wrong = |action| Error::io(&self.path, action);
        let (file, length) = result.map_err(wrong("write the file of verdicts anew"))?;
        self.volume.rename(&path, &self.path).map_err(wrong("take the new file of verdicts"))?;
        (self.file, self.end, self.waste) = (file, length, 0);
        self.read()?;
        self.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Forgotten, Verdicts};
    use super::*;
    use crate::derived::Covered;
    use crate::volume::DiskVolume;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use streamdb_testkit::TestFolder;
    use streamdb_types::{BlockPlace, Scanner, Verdict};

    const SCANNERS: Parties = Parties::new(7, false);
    const ALL: Parties = Parties::new(7, true);
    const MANY: Bounds = Bounds { clean: 1000, found: 1 << 20 };

    fn open(folder: &Path, bounds: Bounds) -> Keeper {
        Keeper::with(folder, Arc::new(DiskVolume), SCANNERS, bounds).unwrap().unwrap()
    }

    fn scanned_as(number: u8, names: &[&str]) -> Scanned {
        let verdict = |name: &&str| Verdict { scanner: Scanner::Yara, name: (*name).into(), details: "tags".into() };
        Scanned {
            sha256: [number; 32],
            oid: "7-11-13-0".parse().unwrap(),
            first_seen: number.is_multiple_of(2),
            whole: true,
            by: 5,
            looked: 3,
            verdicts: names.iter().map(verdict).collect(),
        }
    }

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
        assert!(keeper.is_new() && Keeper::open(folder.path(), Arc::new(DiskVolume), ALL).unwrap().is_none());
        keeper.begin(&[]).unwrap();
        let shown = Verdicts::open(folder.path());
        keeper.scanned(scanned_as(1, &["bad"])).unwrap();
        keeper.scanned(scanned_as(2, &[])).unwrap();
        assert_eq!(shown.of(&[1; 32])[0].to_string(), "yara:bad");
        assert!(shown.of(&[2; 32]).is_empty() && shown.of(&[3; 32]).is_empty());
        let first = scanned_as(2, &[]).oid;
        for _ in 0..2 {
            assert!(keeper.known(&[2; 32], first).unwrap().first_seen);
            assert!(!keeper.known(&[2; 32], first.with_index(9)).unwrap().first_seen);
            assert!(!keeper.known(&[1; 32], first).unwrap().first_seen, "as was said of it");
            assert_eq!(keeper.known(&[3; 32], first), None);
            drop(keeper);
            keeper = open(folder.path(), MANY);
            assert!(!keeper.is_new());
        }
        keeper.mark(BucketId(4), mark(9), false).unwrap();
        keeper.mark(BucketId(5), mark(3), true).unwrap();
        // By another object it is said anew, and which one was the first stays.
        keeper.scanned(Scanned { oid: first.with_index(9), looked: 7, ..scanned_as(2, &["bad"]) }).unwrap();
        keeper.write_anew().unwrap();
        drop(keeper);
        let keeper = open(folder.path(), MANY);
        assert!(keeper.known(&[2; 32], first).unwrap().first_seen);
        assert!(!keeper.known(&[2; 32], first.with_index(9)).unwrap().first_seen);
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
        keeper.join_done(JoinMet::new(id(2), &[1; 32])).unwrap();
        for step in 0..3 {
            // Marks of rows are another matter.
            keeper.mark(BucketId(4), mark(9), false).unwrap();
            if step == 1 {
                keeper.write_anew().unwrap();
            }
            assert_eq!(keeper.joined(id(1), &[1; 32]), Some(met));
            assert_eq!((keeper.joined(id(1), &[2; 32]), keeper.joined(id(3), &[1; 32])), (None, None));
            assert!(!keeper.is_done(&met, false));
            let other = keeper.joined(id(2), &[1; 32]).unwrap();
            assert!(keeper.is_done(&other, false) && !keeper.is_done(&other, true), "it was not complete then");
            drop(keeper);
            keeper = open(folder.path(), MANY);
        }
        keeper.join_done(JoinMet { complete: true, ..met }).unwrap();
        drop(keeper);
        let keeper = open(folder.path(), MANY);
        let done = keeper.joined(id(1), &[1; 32]).unwrap();
        assert_eq!((done.complete, done.first_seen), (true, true));
        assert!(keeper.is_done(&done, true) && keeper.is_done(&done, false));
        drop(keeper);
        let keeper = Keeper::with(folder.path(), Arc::new(DiskVolume), ALL, MANY).unwrap().unwrap();
        assert!(!keeper.is_done(&done, true), "nobody asked the rules");
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
    fn who_has_fewer_parties_moves_no_mark_of_the_others() {
        let folder = TestFolder::new("verdicts-parties");
        let open = |parties| Keeper::with(folder.path(), Arc::new(DiskVolume), parties, MANY).unwrap().unwrap();
        let mut keeper = open(ALL);
        keeper.begin(&[(BucketId(4), mark(9))]).unwrap();
        drop(keeper);
        let mut keeper = open(SCANNERS);
        assert!(!keeper.is_new());
        keeper.scanned(scanned_as(2, &["bad"])).unwrap();
        keeper.mark(BucketId(4), mark(20), false).unwrap();
        keeper.mark(BucketId(4), mark(30), true).unwrap();
        keeper.mark(BucketId(5), mark(3), false).unwrap();
        drop(keeper);
        for anew in [false, true] {
            let mut keeper = open(SCANNERS);
            assert_eq!([4, 5].map(|id| keeper.mark_of(BucketId(id))), [None, Some(mark(3))]);
            drop(keeper);
            keeper = open(ALL);
            assert_eq!([4, 5].map(|id| keeper.mark_of(BucketId(id))), [Some(mark(9)), Some(KeptMark::NOTHING)]);
            assert!(keeper.known(&[2; 32], scanned_as(2, &[]).oid).unwrap().first_seen, "nobody was told yet");
            if !anew {
                keeper.write_anew().unwrap();
            }
        }
        // Who comes later begins for itself, and the others go on where they were.
        std::fs::remove_file(folder.path().join("derived/verdicts")).unwrap();
        let mut keeper = open(SCANNERS);
        keeper.begin(&[(BucketId(4), mark(9))]).unwrap();
        drop(keeper);
        let mut keeper = open(ALL);
        assert!(keeper.is_new());
        keeper.begin(&[(BucketId(4), mark(20))]).unwrap();
        assert!(!keeper.is_new());
        drop(keeper);
        assert_eq!(open(SCANNERS).mark_of(BucketId(4)), Some(mark(9)));
        assert_eq!(open(Parties::new(0, true)).mark_of(BucketId(4)), Some(mark(20)));
    }

    #[test]
    fn beyond_a_bound_the_oldest_are_forgotten() {
        let folder = TestFolder::new("verdicts-bound");
        let shown = Verdicts::open(folder.path());
        let bounds = Bounds { clean: 4, found: 1 << 20 };
        let mut keeper = open(folder.path(), bounds);
        keeper.begin(&[]).unwrap();
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
        assert_eq!(shown.tally().forgotten, Forgotten { found: 0, clean: 3 });
        assert!(keeper.known(&[4; 32], scanned_as(4, &[]).oid).unwrap().first_seen);
        drop(keeper);
        let keeper = open(folder.path(), bounds);
        assert_eq!(known(&keeper), [3, 4]);
        assert!(keeper.known(&[4; 32], scanned_as(4, &[]).oid).unwrap().first_seen && !keeper.is_new());
        assert_eq!([keeper.mark_of(BucketId(4)), keeper.mark_of(BucketId(3))], [Some(mark(13)), None]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        /// Whatever is said in whatever order: there is never more than may be, what is forgotten is counted, what was found
        /// outlives all that is older and had nothing, and a quarter of the room always has the newest.
        #[test]
        fn what_was_found_outlives_what_was_not(
            words in proptest::collection::vec((any::<u8>(), prop_oneof![Just(0usize), 0..4usize]), 1..120),
            clean in 2..12usize,
            found in 1..8usize,
        ) {
            let folder = TestFolder::new("verdicts-outlives");
            let one = |names: usize| crate::verdicts::known::weight(&scanned_as(1, &["bad"].repeat(names)).verdicts);
            let bounds = Bounds { clean, found: one(3) * (found + 3) };
            let shown = Verdicts::open(folder.path());
            let mut keeper = open(folder.path(), bounds);
            // When each was said last, and how much was found.
            let mut said: BTreeMap<u8, (usize, usize)> = BTreeMap::new();
            let mut forgotten = [0, 0];
            for (time, (number, names)) in words.iter().enumerate() {
                // What is said of a content grows.
                let names = said.get(number).map_or(*names, |(_, before)| *names.max(before));
                let scanned = scanned_as(*number, &["bad"].repeat(names));
                if keeper.known(&scanned.sha256, scanned.oid).is_none_or(|known| known.verdicts != scanned.verdicts) {
                    said.insert(*number, (time, names));
                }
                keeper.scanned(scanned).unwrap();
                let gone: Vec<u8> = said.keys().copied().filter(|number| !is_known(&keeper, *number)).collect();
                let gone: Vec<(usize, usize)> = gone.iter().filter_map(|number| said.remove(number)).collect();
                gone.iter().for_each(|(_, names)| forgotten[usize::from(*names == 0)] += 1);
                let clean_left = || said.values().filter(|(_, names)| *names == 0);
                let found_left: usize = said.values().filter(|(_, names)| *names > 0).map(|(_, names)| one(*names)).sum();
                prop_assert!(clean_left().count() <= bounds.clean && found_left <= bounds.found);
                if let Some((youngest, _)) = gone.iter().filter(|(_, names)| *names > 0).max() {
                    prop_assert!(clean_left().all(|(time, _)| time > youngest));
                    prop_assert!(said.values().filter(|(_, names)| *names > 0).all(|(time, _)| time > youngest));
                    prop_assert!(found_left + one(3) > bounds.found / 4);
                }
                prop_assert!(said.contains_key(number), "the newest is known");
            }
            let known = said.values().filter(|(_, names)| *names > 0).count() as u64;
            let tally = shown.tally();
            prop_assert_eq!((tally.contents, [tally.forgotten.found, tally.forgotten.clean]), (known, forgotten));
            drop(keeper);
            let keeper = open(folder.path(), bounds);
            prop_assert!((0..=u8::MAX).all(|number| is_known(&keeper, number) == said.contains_key(&number)));
        }
    }
}
