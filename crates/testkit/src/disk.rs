//! A model of a disk behind a page cache: what running programs see, what a power cut cannot take, and what lies between.
//!
//! The system promises little. A file's bytes and length are on disk after a sync of the file, a name after a sync of its
//! folder; of anything later any part may be there or not:
//!
//! - **bytes**, sector by sector: each sector is as it was synced last, or as any later change left it, whatever its
//!   neighbours are; so writes are torn, and overtake each other;
//! - **lengths**: the one that was synced, or any later one, whatever became of the bytes;
//! - **names**: made, moved and removed, any of them (a move as a whole), or the first few in their order;
//! - **a sync that fails** leaves any part of what it was for on disk, takes all of it for clean, so that the next sync is
//!   none for it, and may lose what programs saw of it, page by page.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::powercut::{Change, Survivors};
use crate::random::Random;

pub(crate) const SECTOR: usize = 512;
/// Sectors of a page of the cache.
const PAGE: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Folder,
    File(usize),
}

/// A file, under whatever name.
#[derive(Clone, Debug, Default)]
struct Node {
    /// As programs see it.
    seen: Vec<u8>,
    /// As it is on disk for sure; there may be more there than the length says.
    synced: Vec<u8>,
    length: usize,
    /// Of each sector that was changed since it was synced: what it was after each change.
    changed: BTreeMap<usize, Vec<Vec<u8>>>,
    /// The lengths since the one that was synced.
    lengths: Vec<usize>,
}

/// A change of a name that was not synced.
#[derive(Clone, Debug)]
enum Name {
    Put(PathBuf, Entry),
    Move(PathBuf, PathBuf, Entry),
    Remove(PathBuf),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    nodes: Vec<Node>,
    /// Which node an open file is.
    open: BTreeMap<usize, usize>,
    /// The names as programs see them.
    seen: BTreeMap<PathBuf, Entry>,
    /// The names on disk.
    synced: BTreeMap<PathBuf, Entry>,
    pending: Vec<Name>,
}

/// Files with their content, and folders without.
pub(crate) type Image = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// What lies below a folder, by the paths below it; the folder itself is there with an empty one.
pub(crate) fn image_of(root: &Path) -> io::Result<Image> {
    let mut image = Image::from([(PathBuf::new(), None)]);
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let inside = path.strip_prefix(root).unwrap_or(&path).to_owned();
            if path.is_dir() {
                folders.push(path);
                image.insert(inside, None);
            } else {
                image.insert(inside, Some(std::fs::read(&path)?));
            }
        }
    }
    Ok(image)
}

impl Disk {
    /// A disk that has all of this for sure.
    pub(crate) fn of(image: &Image) -> Self {
        let mut disk = Self::default();
        for (path, content) in image {
            let entry = match content {
                None => Entry::Folder,
                Some(bytes) => {
                    let (seen, synced, length) = (bytes.clone(), bytes.clone(), bytes.len());
                    disk.nodes.push(Node { seen, synced, length, ..Node::default() });
                    Entry::File(disk.nodes.len() - 1)
                }
            };
            disk.seen.insert(path.clone(), entry);
            disk.synced.insert(path.clone(), entry);
        }
        disk
    }

    /// What a change does. One whose file nobody has made is none of ours.
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Create { file, path } => {
                self.nodes.push(Node::default());
                let node = self.nodes.len() - 1;
                self.open.insert(*file, node);
                self.name(Name::Put(path.clone(), Entry::File(node)));
            }
            Change::Open { file, path } => {
                if let Some(Entry::File(node)) = self.seen.get(path) {
                    self.open.insert(*file, *node);
                }
            }
            Change::Rename { from, to } => {
                if let Some(entry) = self.seen.get(from) {
                    self.name(Name::Move(from.clone(), to.clone(), *entry));
                }
            }
            Change::Unlink { path } => self.name(Name::Remove(path.clone())),
            Change::CreateDir { path } => self.name(Name::Put(path.clone(), Entry::Folder)),
            Change::SyncDir { folder, .. } => {
                let (now, later) = std::mem::take(&mut self.pending).into_iter().partition(|name| name.is_in(folder));
                self.pending = later;
                let now: Vec<Name> = now;
                now.iter().for_each(|name| name.apply(&mut self.synced));
            }
            Change::Write { file, offset, bytes } => self.file(*file, |node| node.write(*offset as usize, bytes)),
            Change::Truncate { file, len } => self.file(*file, |node| node.truncate(*len as usize)),
            Change::Sync { file, .. } => self.file(*file, Node::sync),
            Change::FailedSync { file, seed } => {
                self.file(*file, |node| node.failed_sync(&mut Random(*seed)));
            }
        }
    }

    /// Whether a sync has anything to do.
    pub(crate) fn awaits(&self, sync: &Change) -> bool {
        match sync {
            Change::SyncDir { folder, .. } => self.pending.iter().any(|name| name.is_in(folder)),
            Change::Sync { file, .. } => {
                self.open.get(file).and_then(|node| self.nodes.get(*node)).is_some_and(Node::awaits_sync)
            }
            _ => false,
        }
    }

    /// What programs see of an open file.
    pub(crate) fn seen(&self, file: usize) -> &[u8] {
        self.open.get(&file).and_then(|node| self.nodes.get(*node)).map_or(&[], |node| &node.seen)
    }

    /// What a power cut leaves.
    pub(crate) fn cut(&self, survivors: Survivors) -> Image {
        let mut names = self.synced.clone();
        let mut luck = Luck::of(survivors);
        let pending = &self.pending;
        match luck.style {
            // As file systems do that keep a journal of names: the first few of them, in their order.
            _ if luck.names_in_order => {
                let first = luck.random.below(pending.len() as u64 + 1) as usize;
                pending.iter().take(first).for_each(|name| name.apply(&mut names));
            }
            _ => pending.iter().filter(|_| luck.keeps()).for_each(|name| name.apply(&mut names)),
        }
        let files = self.nodes.iter().map(|node| node.cut(&mut luck)).collect::<Vec<_>>();
        let content = |entry: &Entry| match entry {
            Entry::Folder => None,
            Entry::File(node) => Some(files.get(*node).cloned().unwrap_or_default()),
        };
        names.iter().map(|(path, entry)| (path.clone(), content(entry))).collect()
    }

    fn file(&mut self, file: usize, act: impl FnOnce(&mut Node)) {
        if let Some(node) = self.open.get(&file).and_then(|node| self.nodes.get_mut(*node)) {
            act(node);
        }
    }

    fn name(&mut self, name: Name) {
        name.apply(&mut self.seen);
        self.pending.push(name);
    }
}

impl Node {
    fn write(&mut self, at: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = at + bytes.len();
        if self.seen.len() < end {
            self.seen.resize(end, 0);
            self.lengths.push(end);
        }
        if let Some(place) = self.seen.get_mut(at..end) {
            place.copy_from_slice(bytes);
        }
        self.note(at / SECTOR..end.div_ceil(SECTOR));
    }

    fn truncate(&mut self, len: usize) {
        let before = self.seen.len();
        self.seen.resize(len, 0);
        self.lengths.push(len);
        // What lies behind is zeros from now on, if the file should become longer again.
        self.note(len.min(before) / SECTOR..before.div_ceil(SECTOR));
    }

    fn note(&mut self, sectors: std::ops::Range<usize>) {
        for sector in sectors {
            let now = sector_of(&self.seen, sector);
            self.changed.entry(sector).or_default().push(now);
        }
    }

    fn sync(&mut self) {
        self.length = self.lengths.last().copied().unwrap_or(self.length);
        self.lengths.clear();
        self.synced.resize(self.length, 0);
        for (sector, versions) in std::mem::take(&mut self.changed) {
            versions.last().into_iter().for_each(|version| put(&mut self.synced, sector, version));
        }
    }

    /// Whether anything of it is otherwise than on disk, or may be.
    fn awaits_sync(&self) -> bool {
        let other = |(sector, versions): (&usize, &Vec<Vec<u8>>)| {
            let on_disk = sector_of(&self.synced, *sector);
            versions.iter().any(|version| *version != on_disk)
        };
        self.lengths.iter().any(|length| *length != self.length) || self.changed.iter().any(other)
    }

    /// The length is the inode's, which is not lost with the pages: it is only not on disk for sure.
    fn failed_sync(&mut self, random: &mut Random) {
        let changed = std::mem::take(&mut self.changed);
        let most = changed.keys().next_back().map_or(0, |sector| (sector + 1) * SECTOR);
        self.synced.resize(self.synced.len().max(most), 0);
        for (sector, versions) in &changed {
            if random.below(2) == 0 {
                versions.last().into_iter().for_each(|version| put(&mut self.synced, *sector, version));
            }
        }
        let pages = changed.keys().map(|sector| sector / PAGE).collect::<BTreeSet<_>>();
        for page in pages.into_iter().filter(|_| random.below(2) == 0) {
            for sector in page * PAGE..(page + 1) * PAGE {
                let on_disk = sector_of(&self.synced, sector);
                put(&mut self.seen, sector, &on_disk);
            }
        }
    }

    fn cut(&self, luck: &mut Luck) -> Vec<u8> {
        luck.next_file();
        let later = self.lengths.iter().rev().find(|_| luck.keeps());
        let mut left = self.synced.clone();
        left.resize(later.copied().unwrap_or(self.length), 0);
        for (sector, versions) in &self.changed {
            let kept = versions.iter().rev().find(|_| luck.keeps());
            kept.into_iter().for_each(|version| put(&mut left, *sector, version));
        }
        left
    }
}

/// A sector, with zeros behind the end of the file.
fn sector_of(content: &[u8], sector: usize) -> Vec<u8> {
    let mut bytes = vec![0; SECTOR];
    let there = content.get(sector * SECTOR..).unwrap_or_default();
    bytes.iter_mut().zip(there).for_each(|(to, from)| *to = *from);
    bytes
}

/// Puts as much of a sector as the content has room for.
fn put(content: &mut [u8], sector: usize, bytes: &[u8]) {
    let place = content.get_mut(sector * SECTOR..).unwrap_or_default();
    place.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
}

impl Name {
    fn is_in(&self, folder: &Path) -> bool {
        match self {
            Self::Put(path, _) | Self::Remove(path) => path.parent() == Some(folder),
            Self::Move(from, to, _) => from.parent() == Some(folder) || to.parent() == Some(folder),
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, Entry>) {
        match self {
            Self::Put(path, entry) => {
                names.insert(path.clone(), *entry);
            }
            Self::Remove(path) => {
                names.remove(path);
            }
            Self::Move(from, to, entry) => {
                names.remove(from);
                names.insert(to.clone(), *entry);
            }
        }
    }
}

/// What is kept of that which was not synced, decided one thing after the other.
struct Luck {
    random: Random,
    style: Style,
    names_in_order: bool,
    /// Of [`Style::Files`], whether this file's changes are kept; of the others by one, how many to pass over before it.
    state: u64,
}

#[derive(Clone, Copy)]
enum Style {
    All,
    None,
    /// So many of sixteen.
    Sixteenths(u64),
    /// All of a file or nothing.
    Files,
    /// All but one of the first few dozen.
    AllButOne,
    /// One alone.
    One,
}

impl Luck {
    fn of(survivors: Survivors) -> Self {
        let Survivors::Some(seed) = survivors else {
            let style = if survivors == Survivors::All { Style::All } else { Style::None };
            return Self { random: Random(0), style, names_in_order: false, state: 0 };
        };
        let mut random = Random(seed);
        let style = match random.below(6) {
            0 => Style::Sixteenths(8),
            1 => Style::Sixteenths(15),
            2 => Style::Sixteenths(1),
            3 => Style::Files,
            4 => Style::AllButOne,
            _ => Style::One,
        };
        let names_in_order = random.below(2) == 0;
        let spread = 1 << random.below(7);
        let state = random.below(spread);
        Self { random, style, names_in_order, state }
    }

    fn next_file(&mut self) {
        if matches!(self.style, Style::Files) {
            self.state = self.random.below(2);
        }
    }

    fn keeps(&mut self) -> bool {
        match self.style {
            Style::All => true,
            Style::None => false,
            Style::Sixteenths(share) => self.random.below(16) < share,
            Style::Files => self.state == 1,
            Style::AllButOne | Style::One => {
                let this = self.state == 0;
                self.state = self.state.wrapping_sub(1);
                this == matches!(self.style, Style::One)
            }
        }
    }
}
