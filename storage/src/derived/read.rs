//! Follows the file of a bucket's rows, mapped, up to its last commit.

use std::collections::HashMap;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use streamdb_types::{BucketId, ConnKey, ObjectRow};

use super::file::{self, FRAME, HEAD, Payload};
use super::{Covered, row};
use crate::error::{Error, Result};
use crate::map::Map;

/// Addresses (not memory) that are kept for a file, so that following it does not map it anew.
const ROOM_TO_GROW: u64 = 1 << 30;

/// The rows of one bucket.
pub(crate) struct Derived {
    path: PathBuf,
    map: Arc<Map>,
    /// Which file it is: a new one may take its name.
    inode: u64,
    /// When the file was changed last, by when it was looked at: seconds and nanoseconds.
    changed: (i64, i64),
    /// Where each connection's rows are: the position and length of a frame.
    rows: HashMap<ConnKey, (u64, usize)>,
    covered: Covered,
    /// Where the last commit ends.
    end: u64,
}

impl Derived {
    /// The rows at this path; `None` when there are none of today's derivation.
    pub(crate) fn open(path: &Path, bucket: BucketId) -> Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(path, "open the rows of a bucket")(error)),
        };
        let facts = file.metadata().map_err(Error::io(path, "ask for the length of the rows of a bucket"))?;
        if facts.len() < HEAD as u64 {
            return Ok(None);
        }
        let map =
            Map::follow(file, path, facts.len(), ROOM_TO_GROW).map_err(Error::io(path, "map the rows of a bucket"))?;
        // A file that cannot be read is as good as none: its rows are made again.
        if !map.read(0, HEAD, |head| file::is_head(head, bucket)).unwrap_or(false) {
            return Ok(None);
        }
        let mut derived = Self {
            path: path.to_owned(),
            map,
            inode: facts.ino(),
            changed: (facts.mtime(), facts.mtime_nsec()),
            rows: HashMap::new(),
            covered: Covered::default(),
            end: HEAD as u64,
        };
        derived.scan();
        Ok(Some(derived))
    }

    /// Whether this is still the file of that name, looking at what came to it since. A file that became shorter was cut at
    /// its last commit by another writer, and is to be opened anew; one that is as long may have been, and has gone on.
    pub(crate) fn refresh(&mut self) -> bool {
        let Ok(facts) = std::fs::metadata(&self.path) else { return false };
        if facts.ino() != self.inode || facts.len() < self.map.len() {
            return false;
        }
        if facts.len() > self.map.len() {
            let Ok(map) = self.map.covering(facts.len()) else { return false };
            self.map = map;
        }
        let changed = (facts.mtime(), facts.mtime_nsec());
        if changed != self.changed {
            self.changed = changed;
            self.scan();
        }
        true
    }

    /// How far the rows go, and where the last commit ends.
    pub(crate) const fn committed(&self) -> (Covered, u64) {
        (self.covered, self.end)
    }

    /// The connections that have rows.
    pub(crate) fn connections(&self) -> impl Iterator<Item = ConnKey> + '_ {
        self.rows.keys().copied()
    }

    /// The rows of a connection; `None` when there are none, or none that can be read.
    pub(crate) fn rows(&self, key: ConnKey) -> Option<Vec<ObjectRow>> {
        let (position, length) = *self.rows.get(&key)?;
        self.rows_at(position, length)
    }

    pub(super) fn map(&self) -> &Map {
        &self.map
    }

    /// The rows in the frame at this position; `None` when they cannot be read.
    pub(super) fn rows_at(&self, position: u64, length: usize) -> Option<Vec<ObjectRow>> {
        let decoded = self.map.read(position, length, |frame| match file::decode(frame, position) {
            Ok(Payload::Connection(rows)) => row::decode(rows).ok(),
            _ => None,
        });
        decoded.ok().flatten()
    }

    /// Takes in the frames after the last commit, if another commit follows them.
    fn scan(&mut self) {
        let mut at = self.end;
        let mut waiting = Vec::new();
        while let Some((frame, next)) = self.frame(at) {
            match frame {
                Found::Connection(key, length) => waiting.push((key, (at, length))),
                Found::Commit(covered) => {
                    self.rows.extend(waiting.drain(..));
                    (self.covered, self.end) = (covered, next);
                }
            }
            at = next;
        }
    }

    /// The frame at a position, and where the next one would begin; `None` when there is none that is whole.
    pub(super) fn frame(&self, at: u64) -> Option<(Found, u64)> {
        let length = FRAME + self.map.read(at, FRAME, |frame| file::length(frame).ok()).ok()??;
        let found = self.map.read(at, length, |frame| match file::decode(frame, at).ok()? {
            Payload::Connection(rows) => Some(Found::Connection(row::key(rows).ok()?, length)),
            Payload::Commit(covered) => Some(Found::Commit(covered)),
        });
        Some((found.ok()??, at + length as u64))
    }
}

/// A frame that is whole.
pub(super) enum Found {
    /// The rows of a connection, and the length of the frame.
    Connection(ConnKey, usize),
    Commit(Covered),
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::{row, tuple};
    use super::*;
    use crate::derived::DerivedWriter;
    use crate::volume::DiskVolume;
    use streamdb_testkit::TestFolder;
    use streamdb_types::BlockPlace;

    const BUCKET: BucketId = BucketId(7);

    const fn key(number: u32) -> ConnKey {
        ConnKey { bucket: BUCKET, number }
    }

    fn uris(derived: &Derived, number: u32) -> Option<Vec<String>> {
        Some(derived.rows(key(number))?.into_iter().map(|row| row.uri.unwrap()).collect())
    }

    /// Two commits; after the first one, connection 1 has other rows.
    fn made(path: &Path) -> (u64, u64) {
        let mut writer = DerivedWriter::open(&DiskVolume, path.to_owned(), BUCKET).unwrap();
        writer.connection(key(1), &tuple(), &[row(key(1), "/a"), row(key(1), "/b")]).unwrap();
        writer.connection(key(2), &tuple(), &[]).unwrap();
        writer.commit(Covered { to: BlockPlace(5), whole: false }).unwrap();
        let first = std::fs::metadata(path).unwrap().len();
        writer.connection(key(1), &tuple(), &[row(key(1), "/c")]).unwrap();
        writer.commit(Covered { to: BlockPlace(9), whole: true }).unwrap();
        (first, std::fs::metadata(path).unwrap().len())
    }

    #[test]
    fn rows_are_followed_and_gone_on_with() {
        let folder = TestFolder::new("derived");
        let path = folder.path().join("7.objects");
        let mut writer = DerivedWriter::open(&DiskVolume, path.clone(), BUCKET).unwrap();
        writer.commit(Covered::default()).unwrap();
        let mut derived = Derived::open(&path, BUCKET).unwrap().unwrap();
        writer.connection(key(1), &tuple(), &[row(key(1), "/a")]).unwrap();
        assert!(derived.refresh());
        assert_eq!(uris(&derived, 1), None, "not committed yet");
        writer.commit(Covered { to: BlockPlace(5), whole: false }).unwrap();
        assert!(derived.refresh());
        assert_eq!(uris(&derived, 1).unwrap(), ["/a"]);
        assert_eq!(derived.committed().0.to, BlockPlace(5));
        drop(writer);
        let mut writer = DerivedWriter::open(&DiskVolume, path.clone(), BUCKET).unwrap();
        assert_eq!(writer.covered().to, BlockPlace(5));
        writer.connection(key(2), &tuple(), &[row(key(2), "/b")]).unwrap();
        writer.commit(Covered { to: BlockPlace(6), whole: true }).unwrap();
        assert!(derived.refresh());
        assert_eq!((uris(&derived, 1).unwrap(), uris(&derived, 2).unwrap()), (vec!["/a".into()], vec!["/b".into()]));
        std::fs::remove_file(&path).unwrap();
        assert!(!derived.refresh());
        assert!(Derived::open(&path, BUCKET).unwrap().is_none());
    }

    #[test]
    fn a_file_that_was_cut_and_went_on_is_followed() {
        let folder = TestFolder::new("derived-cut");
        let path = folder.path().join("7.objects");
        let mut writer = DerivedWriter::open(&DiskVolume, path.clone(), BUCKET).unwrap();
        writer.commit(Covered { to: BlockPlace(1), whole: false }).unwrap();
        // As much as is written before a commit, and then the process dies.
        let many: Vec<ObjectRow> = (0..8000).map(|_| row(key(1), "/gone")).collect();
        writer.connection(key(1), &tuple(), &many).unwrap();
        drop(writer);
        let mut derived = Derived::open(&path, BUCKET).unwrap().unwrap();
        assert_eq!((derived.committed().0.to, uris(&derived, 1)), (BlockPlace(1), None));
        let before = std::fs::metadata(&path).unwrap().len();
        let mut writer = DerivedWriter::open(&DiskVolume, path.clone(), BUCKET).unwrap();
        writer.connection(key(2), &tuple(), &[row(key(2), "/b")]).unwrap();
        writer.commit(Covered { to: BlockPlace(2), whole: true }).unwrap();
        assert!(std::fs::metadata(&path).unwrap().len() < before);
        // What is shorter is opened anew.
        if !derived.refresh() {
            derived = Derived::open(&path, BUCKET).unwrap().unwrap();
        }
        assert_eq!((derived.committed().0.to, uris(&derived, 2)), (BlockPlace(2), Some(vec!["/b".to_owned()])));
        // As long as a reader does not look, it may even be as long as before, or longer.
        writer.connection(key(3), &tuple(), &many).unwrap();
        let long = std::fs::metadata(&path).unwrap().len();
        assert!(derived.refresh());
        drop(writer);
        let mut writer = DerivedWriter::open(&DiskVolume, path.clone(), BUCKET).unwrap();
        writer.connection(key(4), &tuple(), &[row(key(4), "/d")]).unwrap();
        writer.commit(Covered { to: BlockPlace(3), whole: true }).unwrap();
        while std::fs::metadata(&path).unwrap().len() < long {
            writer.connection(key(5), &tuple(), &many[..100]).unwrap();
            writer.commit(Covered { to: BlockPlace(4), whole: true }).unwrap();
        }
        assert!(derived.refresh());
        assert_eq!((derived.committed().0.to, uris(&derived, 4)), (BlockPlace(4), Some(vec!["/d".to_owned()])));
    }

    #[test]
    fn cut_or_changed_anywhere_only_whole_commits_count() {
        let folder = TestFolder::new("derived-damage");
        let path = folder.path().join("7.objects");
        let (first, whole) = made(&path);
        let bytes = std::fs::read(&path).unwrap();
        let check = |end: u64, bytes: &[u8], what: &str| {
            std::fs::write(&path, bytes).unwrap();
            let derived = Derived::open(&path, BUCKET).unwrap();
            let found = derived.as_ref().and_then(|derived| uris(derived, 1));
            let wanted = match end {
                end if end >= whole => Some(vec!["/c".to_owned()]),
                end if end >= first => Some(vec!["/a".to_owned(), "/b".to_owned()]),
                _ => None,
            };
            assert_eq!(found, wanted, "{what} {end}");
            // Going on from there works, and begins after what counts.
            let writer = DerivedWriter::open(&DiskVolume, path.clone(), BUCKET).unwrap();
            assert_eq!(writer.covered().whole, end >= whole);
        };
        for cut in 0..=bytes.len() {
            check(cut as u64, &bytes[..cut], "cut at");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            check(if at < HEAD { 0 } else { at as u64 }, &changed, "changed at");
        }
        assert!(Derived::open(&path, BucketId(8)).unwrap().is_none(), "another bucket's");
    }
}
