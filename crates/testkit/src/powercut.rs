//! What a power cut leaves of the work that a recording [`FaultVolume`] has seen, at any point of it.
//!
//! The system promises little: a file's bytes are on disk after a sync of the file, a name after a sync of its folder, and
//! of anything later any part may be there or not. The model: each write that was not synced survives, or not, or some of
//! its sectors do, in any combination with the others; of the changes of names in a folder that was not synced the first
//! few survive, as file systems keep those in order; a file's length survives on its own.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::FaultVolume;

const SECTOR: usize = 512;

/// A change of the disk.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Create { file: usize, path: PathBuf },
    Open { file: usize, path: PathBuf },
    Rename { from: PathBuf, to: PathBuf },
    Unlink { path: PathBuf },
    SyncDir { folder: PathBuf },
    CreateDir { path: PathBuf },
    Write { file: usize, offset: u64, bytes: Arc<[u8]> },
    Sync { file: usize },
    Truncate { file: usize, len: u64 },
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

/// The disk at a point of the work.
///
/// It knows what was made through the volume; files and folders that were there before are taken to be as they are when
/// [`leave`](Self::leave) is called, so work should begin in an empty folder.
#[derive(Debug)]
pub struct PowerCut {
    changes: Vec<(usize, Change)>,
    root: PathBuf,
}

impl PowerCut {
    /// Of what this volume has done in the folder `root` until now.
    pub fn of(volume: &FaultVolume, root: &Path) -> Self {
        Self { changes: volume.changes(), root: root.to_owned() }
    }

    /// Writes into the empty folder `to` what is left under `root` when the power goes before operation `before`.
    pub fn leave(&self, before: usize, survivors: Survivors, to: &Path) -> io::Result<()> {
        let mut disk = Disk::default();
        for (_, change) in self.changes.iter().take_while(|(n, _)| *n < before) {
            disk.apply(change)?;
        }
        disk.cut(survivors);
        for (path, entry) in &disk.lasting {
            let Ok(inside) = path.strip_prefix(&self.root) else { continue };
            match entry {
                Entry::Folder => std::fs::create_dir_all(to.join(inside))?,
                Entry::File(node) => {
                    // A folder whose own name did not last takes its files with it.
                    let path = to.join(inside);
                    if path.parent().is_some_and(Path::is_dir) {
                        std::fs::write(path, disk.nodes.get(*node).map_or(&[][..], |node| &node.lasting))?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
enum Entry {
    Folder,
    File(usize),
}

#[derive(Debug, Default)]
struct Node {
    lasting: Vec<u8>,
    pending: Vec<Bytes>,
}

#[derive(Debug)]
enum Bytes {
    Write(u64, Arc<[u8]>),
    Truncate(u64),
}

#[derive(Debug)]
enum Name {
    Make(PathBuf, Entry),
    Move(PathBuf, PathBuf),
    Remove(PathBuf),
}

#[derive(Debug, Default)]
struct Disk {
    nodes: Vec<Node>,
    /// Which node an open file is.
    open: BTreeMap<usize, usize>,
    /// The names as running programs see them.
    seen: BTreeMap<PathBuf, Entry>,
    /// The names on disk.
    lasting: BTreeMap<PathBuf, Entry>,
    pending: Vec<Name>,
}

impl Disk {
    fn apply(&mut self, change: &Change) -> io::Result<()> {
        match change {
            Change::Create { file, path } => {
                let node = self.node(*file, Node::default());
                self.name(Name::Make(path.clone(), Entry::File(node)));
            }
            Change::Open { file, path } => {
                if let Some(Entry::File(node)) = self.seen.get(path) {
                    self.open.insert(*file, *node);
                } else {
                    let node = self.node(*file, Node { lasting: std::fs::read(path)?, pending: Vec::new() });
                    self.seen.insert(path.clone(), Entry::File(node));
                    self.lasting.insert(path.clone(), Entry::File(node));
                }
            }
            Change::Rename { from, to } => self.name(Name::Move(from.clone(), to.clone())),
            Change::Unlink { path } => self.name(Name::Remove(path.clone())),
            Change::CreateDir { path } => self.name(Name::Make(path.clone(), Entry::Folder)),
            Change::SyncDir { folder } => {
                let (now, later) = std::mem::take(&mut self.pending).into_iter().partition(|name| name.is_in(folder));
                self.pending = later;
                let now: Vec<Name> = now;
                now.iter().for_each(|name| name.apply(&mut self.lasting));
            }
            Change::Write { file, offset, bytes } => self.bytes(*file, Bytes::Write(*offset, bytes.clone())),
            Change::Truncate { file, len } => self.bytes(*file, Bytes::Truncate(*len)),
            Change::Sync { file } => {
                if let Some(node) = self.open.get(file).and_then(|node| self.nodes.get_mut(*node)) {
                    let pending = std::mem::take(&mut node.pending);
                    pending.iter().for_each(|bytes| bytes.apply(&mut node.lasting, || true));
                }
            }
        }
        Ok(())
    }

    fn node(&mut self, file: usize, node: Node) -> usize {
        self.nodes.push(node);
        self.open.insert(file, self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    fn name(&mut self, name: Name) {
        name.apply(&mut self.seen);
        self.pending.push(name);
    }

    fn bytes(&mut self, file: usize, bytes: Bytes) {
        if let Some(node) = self.open.get(&file).and_then(|node| self.nodes.get_mut(*node)) {
            node.pending.push(bytes);
        }
    }

    /// Makes `lasting` what is left.
    fn cut(&mut self, survivors: Survivors) {
        let mut random = Random(if let Survivors::Some(seed) = survivors { seed } else { 0 });
        let names = match survivors {
            Survivors::All => self.pending.len(),
            Survivors::Synced => 0,
            Survivors::Some(_) => random.below(self.pending.len() as u64 + 1) as usize,
        };
        self.pending.iter().take(names).for_each(|name| name.apply(&mut self.lasting));
        for node in &mut self.nodes {
            for bytes in &node.pending {
                match survivors {
                    Survivors::All => bytes.apply(&mut node.lasting, || true),
                    Survivors::Synced => {}
                    Survivors::Some(_) => match random.below(3) {
                        0 => {}
                        1 => bytes.apply(&mut node.lasting, || true),
                        _ => bytes.apply(&mut node.lasting, || random.below(2) == 0),
                    },
                }
            }
        }
    }
}

impl Name {
    fn is_in(&self, folder: &Path) -> bool {
        match self {
            Self::Make(path, _) | Self::Remove(path) => path.parent() == Some(folder),
            Self::Move(from, to) => from.parent() == Some(folder) || to.parent() == Some(folder),
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, Entry>) {
        match self {
            Self::Make(path, entry) => {
                names.insert(path.clone(), *entry);
            }
            Self::Remove(path) => {
                names.remove(path);
            }
            Self::Move(from, to) => {
                if let Some(entry) = names.remove(from) {
                    names.insert(to.clone(), entry);
                }
            }
        }
    }
}

impl Bytes {
    /// Applies the change, but of a write only the sectors for which `keep` says so; the others are zeros where the file was
    /// shorter.
    fn apply(&self, content: &mut Vec<u8>, mut keep: impl FnMut() -> bool) {
        match self {
            Self::Truncate(len) => content.resize(*len as usize, 0),
            Self::Write(offset, bytes) => {
                let start = *offset as usize;
                content.resize(content.len().max(start + bytes.len()), 0);
                let (mut at, mut rest) = (start, &**bytes);
                while !rest.is_empty() {
                    let (sector, after) = rest.split_at((SECTOR - at % SECTOR).min(rest.len()));
                    if keep()
                        && let Some(place) = content.get_mut(at..at + sector.len())
                    {
                        place.copy_from_slice(sector);
                    }
                    at += sector.len();
                    rest = after;
                }
            }
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood, 2014): enough for choosing what is lost.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % end.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TestFolder;
    use streamdb_storage::{DiskVolume, Volume};

    fn left(volume: &FaultVolume, root: &Path, before: usize, survivors: Survivors) -> BTreeMap<String, Vec<u8>> {
        let to = TestFolder::new("left");
        PowerCut::of(volume, root).leave(before, survivors, to.path()).unwrap();
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
        let volume = FaultVolume::recording(DiskVolume);
        let file = volume.create(&root.join("a")).unwrap(); // 0
        file.write_at(b"one", 0).unwrap();
        file.sync_data().unwrap(); // 2
        volume.sync_dir(root).unwrap();
        file.write_at(b"two", 3).unwrap(); // 4
        volume.rename(&root.join("a"), &root.join("b")).unwrap();
        file.sync_data().unwrap(); // 6
        volume.sync_dir(root).unwrap();
        volume.unlink(&root.join("b")).unwrap(); // 8
        let synced = |n| left(&volume, root, n, Survivors::Synced);
        assert_eq!(synced(3), map([]));
        assert_eq!(synced(4), map([("a", b"one")]));
        assert_eq!(synced(6), map([("a", b"one")]));
        assert_eq!(synced(7), map([("a", b"onetwo")]));
        assert_eq!(synced(8), map([("b", b"onetwo")]));
        assert_eq!(synced(9), map([("b", b"onetwo")]));
        let all = |n| left(&volume, root, n, Survivors::All);
        assert_eq!(all(1), map([("a", b"")]));
        assert_eq!(all(5), map([("a", b"onetwo")]));
        assert_eq!(all(6), map([("b", b"onetwo")]));
        assert_eq!(all(9), map([]));
    }

    #[test]
    fn a_write_loses_any_of_its_sectors() {
        let folder = TestFolder::new("powercut");
        let volume = FaultVolume::recording(DiskVolume);
        let file = volume.create(&folder.path().join("a")).unwrap();
        volume.sync_dir(folder.path()).unwrap();
        file.write_at(&[7; 2 * SECTOR], 0).unwrap();
        let mut seen: Vec<_> = (0..100)
            .filter_map(|seed| left(&volume, folder.path(), 9, Survivors::Some(seed)).remove("a"))
            .map(|bytes| bytes.chunks(SECTOR).map(|sector| sector.iter().all(|b| *b == 7)).collect::<Vec<_>>())
            .collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen, [vec![], vec![false, false], vec![false, true], vec![true, false], vec![true, true]]);
    }
}
