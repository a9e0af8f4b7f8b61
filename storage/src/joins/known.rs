//! What a file of joins says, in memory; and the file followed by those who read.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::ErrorKind;
use std::ops::Bound;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use streamdb_types::{BucketId, ConnKey, Direction, Oid};

use super::file::{self, FRAME, HEAD, MOST, Payload};
use super::{Join, JoinChange, JoinId, JoinMore, JoinPart};
use crate::derived::KeptMark;
use crate::error::{Error, Result};

/// What is read of a file at a time.
const READ: usize = 256 << 10;

/// The last number that was given to what was made. Each is given once in a process, so that whoever remembers one goes on behind it
/// also when the file was read anew.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// All joins that are known.
#[derive(Clone, Debug, Default)]
pub struct Joins {
    joins: BTreeMap<JoinId, Join>,
    /// Which have a part that came this way over a connection.
    by_stream: HashMap<(ConnKey, Direction), Vec<JoinId>>,
    /// Those of which is known what they are, in the order in which that was found.
    made: BTreeMap<u64, JoinId>,
    /// The number of each of these.
    numbers: HashMap<JoinId, u64>,
    read: BTreeMap<BucketId, KeptMark>,
    bytes: usize,
    parts: usize,
}

impl Joins {
    /// All, in the order of their names.
    pub fn all(&self) -> impl Iterator<Item = &Join> {
        self.joins.values()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.joins.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.joins.is_empty()
    }

    /// How many parts all of them have.
    pub const fn parts(&self) -> usize {
        self.parts
    }

    /// About what they take in memory, in bytes.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The one with this name.
    pub fn get(&self, id: JoinId) -> Option<&Join> {
        self.joins.get(&id)
    }

    /// Those of which it was found later than at this number (0 is the beginning) what they are, or that it is otherwise; each with its
    /// own, in the order in which that was found.
    pub fn made_since(&self, number: u64) -> impl Iterator<Item = (u64, &Join)> {
        let behind = self.made.range((Bound::Excluded(number), Bound::Unbounded));
        behind.filter_map(|(number, id)| Some((*number, self.joins.get(id)?)))
    }

    /// Those whose content, or its bytes as sent, has this SHA-256.
    pub fn with_sha256(&self, sha256: &[u8; 32]) -> impl Iterator<Item = &Join> {
        self.all().filter(move |join| {
            let made = join.made.as_ref();
            let both = made.map(|made| [Some(made.digests), made.digests_encoded]);
            both.into_iter().flatten().flatten().any(|digests| digests.sha256 == *sha256)
        })
    }

    /// Those that have a part of the stream with this key, so that one of them may have an object in it.
    fn of_stream(&self, key: ConnKey, direction: Direction) -> impl Iterator<Item = &Join> {
        let ids = self.by_stream.get(&(key, direction)).map_or(&[][..], Vec::as_slice);
        ids.iter().filter_map(|id| self.joins.get(id))
    }

    /// Those that an object of this connection is a part of: as its oid names it, or by an earlier or later record.
    pub fn with_part(&self, key: ConnKey, direction: Direction, oid: Oid) -> impl Iterator<Item = &Join> {
        let is = move |part: &JoinPart| (part.key, part.direction, part.oid.index) == (key, direction, oid.index);
        self.of_stream(key, direction).filter(move |join| join.parts.iter().any(is))
    }

    /// How far the rows of each bucket were read.
    pub const fn read(&self) -> &BTreeMap<BucketId, KeptMark> {
        &self.read
    }

    /// Everything again, as changes from nothing; what they are in the order in which that was found.
    pub fn changes(&self) -> impl Iterator<Item = JoinChange> + '_ {
        let joins = self.joins.values().flat_map(|join| {
            let parts = join.parts.iter().map(|part| JoinChange::Part(join.id, part.clone()));
            let more = (join.more != JoinMore::default()).then(|| JoinChange::More(join.id, join.more.clone()));
            [JoinChange::New(join.id, join.of.clone())].into_iter().chain(parts).chain(more)
        });
        let made = self.made_since(0).map(|(_, join)| JoinChange::Made(join.id, join.made.clone()));
        joins.chain(made).chain(self.read.iter().map(|(bucket, read)| JoinChange::Read(*bucket, *read)))
    }

    /// Takes in a change. What speaks of a join that is not known does nothing.
    pub fn apply(&mut self, change: JoinChange) {
        match change {
            JoinChange::New(id, of) => {
                self.forget(id);
                let join = Join { id, of, parts: Vec::new(), more: JoinMore::default(), made: None };
                self.bytes += join.size();
                self.joins.insert(id, join);
            }
            JoinChange::Part(id, part) => self.part(id, part),
            JoinChange::More(id, more) => self.change(id, |join| join.more = more),
            JoinChange::Made(id, made) => {
                self.number(id, made.is_some());
                self.change(id, |join| join.made = made);
            }
            JoinChange::Gone(id) => self.forget(id),
            JoinChange::Forget(bucket) => {
                self.read.remove(&bucket);
                let with: Vec<JoinId> = self
                    .all()
                    .filter(|join| join.parts.iter().any(|part| part.oid.bucket == bucket))
                    .map(|join| join.id)
                    .collect();
                for id in with {
                    self.change(id, |join| {
                        join.parts.retain(|part| part.oid.bucket != bucket);
                        join.made = None;
                    });
                    self.number(id, false);
                    if self.get(id).is_some_and(|join| join.parts.is_empty()) {
                        self.forget(id);
                    }
                }
            }
            JoinChange::Read(bucket, read) => _ = self.read.insert(bucket, read),
        }
    }

    /// Adds a part, or puts it in place of itself. Joins may have thousands: what is known of the others is not gone through.
    fn part(&mut self, id: JoinId, part: JoinPart) {
        let Some(join) = self.joins.get_mut(&id) else { return };
        self.bytes += part.size();
        let ids = self.by_stream.entry((part.key, part.direction)).or_default();
        let known = ids.contains(&id).then(|| join.parts.iter_mut().find(|known| known.is(&part))).flatten();
        if let Some(known) = known {
            self.bytes = self.bytes.saturating_sub(known.size());
            *known = part;
            return;
        }
        if !ids.contains(&id) {
            ids.push(id);
        }
        join.parts.push(part);
        self.parts += 1;
    }

    /// Puts a join behind all others of which is known what they are, or takes it from among them.
    fn number(&mut self, id: JoinId, made: bool) {
        if let Some(old) = self.numbers.remove(&id) {
            self.made.remove(&old);
        }
        if made && self.joins.contains_key(&id) {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed) + 1;
            self.made.insert(number, id);
            self.numbers.insert(id, number);
        }
    }

    fn change(&mut self, id: JoinId, with: impl FnOnce(&mut Join)) {
        let Some(join) = self.joins.get_mut(&id) else { return };
        let (bytes, parts) = (join.size(), join.parts.len());
        with(join);
        self.bytes = (self.bytes + join.size()).saturating_sub(bytes);
        self.parts = (self.parts + join.parts.len()).saturating_sub(parts);
    }

    fn forget(&mut self, id: JoinId) {
        self.number(id, false);
        let Some(join) = self.joins.remove(&id) else { return };
        self.bytes = self.bytes.saturating_sub(join.size());
        self.parts = self.parts.saturating_sub(join.parts.len());
        for part in &join.parts {
            let stream = (part.key, part.direction);
            if let Some(ids) = self.by_stream.get_mut(&stream) {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    self.by_stream.remove(&stream);
                }
            }
        }
    }
}

/// The file, and what it says up to its last commit.
#[derive(Debug)]
pub(crate) struct JoinsFile {
    path: PathBuf,
    /// Which file it is: a new one may take its name.
    inode: u64,
    /// When it was changed last, by when it was looked at, and how long it was.
    changed: (i64, i64, u64),
    /// Where the last commit ends.
    end: u64,
    known: Arc<Joins>,
}

impl JoinsFile {
    /// The file at this path; `None` when there is none of today's derivation.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>> {
        let Some(file) = opened(path)? else { return Ok(None) };
        let facts = file.metadata().map_err(Error::io(path, "ask for the length of the known joins"))?;
        let mut head = [0; HEAD];
        if file.read_exact_at(&mut head, 0).is_err() || file::head() != head {
            return Ok(None);
        }
        let mut known = Self {
            path: path.to_owned(),
            inode: facts.ino(),
            changed: (0, 0, 0),
            end: HEAD as u64,
            known: Arc::default(),
        };
        known.scan(&file);
        known.changed = (facts.mtime(), facts.mtime_nsec(), facts.len());
        Ok(Some(known))
    }

    /// Whether this is still the file of that name, taking in what came to it since. One that became shorter was cut at its last commit
    /// by another writer, and is to be opened anew.
    pub(crate) fn refresh(&mut self) -> bool {
        let Ok(Some(file)) = opened(&self.path) else { return false };
        let Ok(facts) = file.metadata() else { return false };
        if facts.ino() != self.inode || facts.len() < self.end {
            return false;
        }
        let changed = (facts.mtime(), facts.mtime_nsec(), facts.len());
        if changed != self.changed {
            self.changed = changed;
            self.scan(&file);
        }
        true
    }

    pub(crate) fn known(&self) -> &Arc<Joins> {
        &self.known
    }

    /// Where the last commit ends.
    pub(super) const fn end(&self) -> u64 {
        self.end
    }

    /// Takes in the frames after the last commit, if another commit follows them. What cannot be read is as good as not there.
    fn scan(&mut self, file: &File) {
        let mut waiting = Vec::new();
        let mut buffer = Vec::new();
        let (mut start, mut at) = (self.end, 0usize);
        loop {
            let bytes = buffer.get(at..).unwrap_or_default();
            match file::decode(bytes, start + at as u64) {
                Ok((payload, length)) => {
                    at += length;
                    match payload {
                        Payload::Change(change) => waiting.push(change),
                        Payload::Commit => {
                            let known = Arc::make_mut(&mut self.known);
                            waiting.drain(..).for_each(|change| known.apply(change));
                            self.end = start + at as u64;
                        }
                    }
                }
                Err(_) if bytes.len() >= FRAME + MOST => return,
                // There may be more of it.
                Err(_) => {
                    buffer.drain(..at);
                    (start, at) = (start + at as u64, 0);
                    let had = buffer.len();
                    buffer.resize(had + READ, 0);
                    let room = buffer.get_mut(had..).unwrap_or_default();
                    let Ok(n) = read_some(file, room, start + had as u64) else { return };
                    buffer.truncate(had + n);
                    if n == 0 {
                        return;
                    }
                }
            }
        }
    }
}

fn opened(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(path, "open the known joins")(error)),
    }
}

fn read_some(file: &File, room: &mut [u8], at: u64) -> std::io::Result<usize> {
    loop {
        match file.read_at(room, at) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
