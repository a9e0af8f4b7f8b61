//! What a power cut leaves of the work that a recording [`FaultVolume`] has seen, at any point of it. What may survive is
//! the model's in `disk.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::FaultVolume;
use crate::disk::Disk;

/// A change of the disk. A sync's *site* is the place in the code that asked for it.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Create { file: usize, path: PathBuf },
    Open { file: usize, path: PathBuf },
    Rename { from: PathBuf, to: PathBuf },
    Unlink { path: PathBuf },
    SyncDir { folder: PathBuf, site: String },
    CreateDir { path: PathBuf },
    Write { file: usize, offset: u64, bytes: Arc<[u8]> },
    Sync { file: usize, site: String },
    FailedSync { file: usize, seed: u64 },
    Truncate { file: usize, len: u64 },
}

impl Change {
    fn site(&self) -> Option<&str> {
        match self {
            Self::SyncDir { site, .. } | Self::Sync { site, .. } => Some(site),
            _ => None,
        }
    }
}

/// What survives of that which was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivors {
    /// Everything: the process was killed, the system went on.
    All,
    /// Nothing.
    Synced,
    /// Some of it, by chance from this seed.
    Some(u64),
}

/// The disk at every point of the work.
///
/// It knows what was in the folder when recording began, which is taken to be on disk, and what was done through the volume
/// since. What else was done there leaves nothing.
#[derive(Clone, Debug)]
pub struct PowerCut {
    begun: Disk,
    /// With the number of its operation, in the order in which they took effect. Paths are below the recording's folder.
    changes: Vec<(usize, Change)>,
    left_out: BTreeSet<String>,
}

impl PowerCut {
    /// Of what this recording volume has done until now.
    pub fn of(volume: &FaultVolume) -> Self {
        let (before, changes) = volume.recorded();
        Self { begun: Disk::of(&before), changes, left_out: BTreeSet::new() }
    }

    /// Of what this recording volume has done until now, after another process had been killed before its operation `before`:
    /// its folder began as [`leave`](Self::leave) had left it with all that was written, but no more of that is on disk than
    /// the other one had synced.
    pub fn after_kill(volume: &FaultVolume, killed: &Self, before: usize) -> Self {
        let (_, changes) = volume.recorded();
        Self { begun: killed.disk(before), changes, left_out: killed.left_out.clone() }
    }

    /// The same work with one sync taken out of the code: those from this site say that all is well, and do nothing.
    #[must_use]
    pub fn without(&self, site: &str) -> Self {
        let mut this = self.clone();
        this.left_out.insert(site.to_owned());
        this
    }

    /// The places in the code that asked for syncs, and the operations in which they did; of a volume that
    /// [notes them](FaultVolume::noting_sites).
    pub fn sites(&self) -> BTreeMap<String, Vec<usize>> {
        let mut sites = BTreeMap::<String, Vec<usize>>::new();
        for (n, change) in &self.changes {
            change.site().into_iter().for_each(|site| sites.entry(site.to_owned()).or_default().push(*n));
        }
        sites
    }

    /// The operations in which this place asked for a sync that was not for nothing.
    pub fn awaited(&self, site: &str) -> Vec<usize> {
        let mut disk = self.begun.clone();
        let mut awaited = Vec::new();
        for (n, change) in &self.changes {
            if change.site() == Some(site) && disk.awaits(change) {
                awaited.push(*n);
            }
            if self.is_done(change) {
                disk.apply(change);
            }
        }
        awaited
    }

    /// Writes into the empty folder `to` what is left of the recording's folder when the power goes before operation `before`.
    pub fn leave(&self, before: usize, survivors: Survivors, to: &Path) -> io::Result<()> {
        for (path, content) in self.disk(before).cut(survivors) {
            let path = to.join(path);
            // A folder whose own name did not last takes what is in it along.
            match content {
                _ if !path.parent().is_some_and(Path::is_dir) => {}
                None if path.is_dir() => {}
                None => std::fs::create_dir(path)?,
                Some(content) => std::fs::write(path, content)?,
            }
        }
        Ok(())
    }

    fn disk(&self, before: usize) -> Disk {
        let mut disk = self.begun.clone();
        for (n, change) in &self.changes {
            if *n < before && self.is_done(change) {
                disk.apply(change);
            }
        }
        disk
    }

    fn is_done(&self, change: &Change) -> bool {
        change.site().is_none_or(|site| !self.left_out.contains(site))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SECTOR;
    use crate::{Fault, TestFolder};
    use streamdb_storage::{DiskVolume, Volume};

    fn left(volume: &FaultVolume, before: usize, survivors: Survivors) -> BTreeMap<String, Vec<u8>> {
        let to = TestFolder::new("left");
        PowerCut::of(volume).leave(before, survivors, to.path()).unwrap();
        let names = DiskVolume.list(to.path()).unwrap().into_iter();
        names
            .map(|name| {
                let bytes = std::fs::read(to.path().join(&name)).unwrap();
                (name.into_string().unwrap(), bytes)
            })
            .collect()
    }

    fn map<const N: usize>(files: [(&str, &[u8]); N]) -> BTreeMap<String, Vec<u8>> {
        files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes.to_owned())).collect()
    }

    #[test]
    fn only_what_is_synced_is_sure() {
        let folder = TestFolder::new("powercut");
        let root = folder.path();
        let volume = FaultVolume::recording(DiskVolume, folder.path());
        let file = volume.create(&root.join("a")).unwrap(); // 0
        file.write_at(b"one", 0).unwrap();
        file.sync_data().unwrap(); // 2
        volume.sync_dir(root).unwrap();
        file.write_at(b"two", 3).unwrap(); // 4
        volume.rename(&root.join("a"), &root.join("b")).unwrap();
        file.sync_data().unwrap(); // 6
        volume.sync_dir(root).unwrap();
        volume.unlink(&root.join("b")).unwrap(); // 8
        let synced = |n| left(&volume, n, Survivors::Synced);
        assert_eq!(synced(3), map([]));
        assert_eq!(synced(4), map([("a", b"one")]));
        assert_eq!(synced(6), map([("a", b"one")]));
        assert_eq!(synced(7), map([("a", b"onetwo")]));
        assert_eq!(synced(8), map([("b", b"onetwo")]));
        assert_eq!(synced(9), map([("b", b"onetwo")]));
        let all = |n| left(&volume, n, Survivors::All);
        assert_eq!(all(1), map([("a", b"")]));
        assert_eq!(all(5), map([("a", b"onetwo")]));
        assert_eq!(all(6), map([("b", b"onetwo")]));
        assert_eq!(all(9), map([]));
    }

    #[test]
    fn a_write_loses_any_of_its_sectors() {
        let folder = TestFolder::new("powercut");
        let volume = FaultVolume::recording(DiskVolume, folder.path());
        let file = volume.create(&folder.path().join("a")).unwrap();
        volume.sync_dir(folder.path()).unwrap();
        file.write_at(&[7; 2 * SECTOR], 0).unwrap();
        let mut seen: Vec<_> = (0..100)
            .filter_map(|seed| left(&volume, 9, Survivors::Some(seed)).remove("a"))
            .map(|bytes| bytes.chunks(SECTOR).map(|sector| sector.iter().all(|b| *b == 7)).collect::<Vec<_>>())
            .collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen, [vec![], vec![false, false], vec![false, true], vec![true, false], vec![true, true]]);
    }

    /// All that 400 seeds leave of a file `a`.
    fn all_left(volume: &FaultVolume, before: usize) -> BTreeSet<Option<Vec<u8>>> {
        (0..400).map(|seed| left(volume, before, Survivors::Some(seed)).remove("a")).collect()
    }

    #[test]
    fn writes_overtake_each_other_and_lengths_go_alone() {
        let folder = TestFolder::new("powercut");
        let volume = FaultVolume::recording(DiskVolume, folder.path());
        let file = volume.create(&folder.path().join("a")).unwrap();
        volume.sync_dir(folder.path()).unwrap();
        file.write_at(b"old", 0).unwrap();
        file.sync_data().unwrap(); // 3
        file.write_at(b"new", 0).unwrap();
        file.write_at(b"later", 600).unwrap();
        file.truncate(2).unwrap(); // 6
        let all = all_left(&volume, 6);
        let long = |first: &[u8], last: &[u8]| {
            let mut bytes = vec![0; 605];
            bytes[..3].copy_from_slice(first);
            bytes[600..600 + last.len()].copy_from_slice(last);
            Some(bytes)
        };
        let wanted = [
            Some(b"old".to_vec()),
            Some(b"new".to_vec()),
            long(b"old", b""),
            long(b"old", b"later"),
            long(b"new", b""),
            long(b"new", b"later"),
        ];
        assert_eq!(all, BTreeSet::from(wanted));
        // The cut may be on disk and the write before it not, and the other way.
        let all = all_left(&volume, 7);
        assert!(
            [Some(b"ol".to_vec()), Some(b"ne".to_vec()), Some(b"old".to_vec())].iter().all(|bytes| all.contains(bytes))
        );
    }

    #[test]
    fn of_names_any_may_last() {
        let folder = TestFolder::new("powercut");
        let volume = FaultVolume::recording(DiskVolume, folder.path());
        for name in ["a", "b"] {
            volume.create(&folder.path().join(name)).unwrap();
        }
        let all: BTreeSet<Vec<String>> =
            (0..100).map(|seed| left(&volume, 9, Survivors::Some(seed)).into_keys().collect::<Vec<_>>()).collect();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(all, BTreeSet::from([names(&[]), names(&["a"]), names(&["b"]), names(&["a", "b"])]));
    }

    #[test]
    fn after_a_failed_sync_the_next_one_proves_nothing() {
        let mut seen = BTreeSet::new();
        for seed in 0..50 {
            let folder = TestFolder::new("powercut");
            let path = folder.path().join("a");
            let volume = FaultVolume::recording(DiskVolume, folder.path());
            let file = volume.create(&path).unwrap();
            volume.sync_dir(folder.path()).unwrap();
            file.write_at(&[1; 100], 0).unwrap();
            file.sync_data().unwrap();
            file.write_at(&[2; 100], 0).unwrap();
            volume.fail_next(Fault { errno: 5, pages: Some(seed), ..Fault::default() });
            file.sync_data().unwrap_err();
            let read = std::fs::read(&path).unwrap();
            // It says that all is well, and has nothing to do.
            file.sync_data().unwrap();
            let left = left(&volume, 9, Survivors::Synced).remove("a").unwrap();
            assert_eq!((read.len(), left.len()), (100, 100));
            seen.insert((read[0], left[0]));
            // What is written again is a change again.
            file.write_at(&[3; 100], 0).unwrap();
            file.sync_data().unwrap();
            assert_eq!(self::left(&volume, 9, Survivors::Synced)["a"], [3; 100]);
        }
        // It can be read though it is not on disk; or else what can be read is what is on disk.
        assert_eq!(seen, BTreeSet::from([(2, 1), (1, 1), (2, 2)]));
    }

    #[test]
    fn a_sync_taken_out_does_nothing() {
        let folder = TestFolder::new("powercut");
        let volume = FaultVolume::recording(DiskVolume, folder.path()).noting_sites();
        let mut ledger = streamdb_storage::Ledger::open(&volume, &folder.path().join("a")).unwrap();
        ledger.append(streamdb_types::Timestamp(0), &streamdb_storage::Event::Store { format: 1, sensor: 0 }).unwrap();
        let cut = PowerCut::of(&volume);
        let lasts = |cut: &PowerCut| {
            let to = TestFolder::new("left");
            cut.leave(volume.operations(), Survivors::Synced, to.path()).unwrap();
            std::fs::read(to.path().join("a")).ok().map(|bytes| !bytes.is_empty())
        };
        let ends: BTreeSet<_> = cut.sites().keys().map(|site| lasts(&cut.without(site))).collect();
        let awaited: Vec<_> =
            cut.sites().keys().map(|site| (lasts(&cut.without(site)), cut.awaited(site).len())).collect();
        let for_nothing = |(left, awaited): &(Option<bool>, usize)| (*awaited == 0) == (*left == Some(true));
        assert!(awaited.iter().all(for_nothing), "{awaited:?}");
        // Its name, or its line; and one that has nothing to do here.
        assert_eq!((lasts(&cut), ends), (Some(true), BTreeSet::from([None, Some(false), Some(true)])));
    }
}
