//! A data folder, to be read: also while another process writes to it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use streamdb_types::{BlockPlace, BucketId, ConnKey, Counters, Direction, Oid, Reason, Timestamp};

use super::bucket::{Bucket, Stamp, is_sealed};
use super::cache::BlockCache;
use super::chunks::Part;
use super::derived::DerivedCache;
use super::losses;
use super::made::Made;
use super::stream::{Stream, StreamInfo};
use super::tail::Remembered;
use crate::error::{Error, Result};
use crate::folder::{self, ReadFolder};
use crate::format::block::BlockKind;
use crate::format::directory::{BlockEntry, Directory, EndEntry};
use crate::format::record::Standing;
use crate::format::superblock::Superblock;
use crate::index::set::{self, Files};
use crate::joins::JoinsFile;
use crate::ledger::{Entry, Ledger};
use crate::live::writer_alive;
use crate::suspects;
use crate::verdicts::Verdicts;
use crate::write::bucket_file::file_name;

/// Memory for decompressed blocks.
const CACHE_BYTES: usize = 256 << 20;
/// No connection is kept longer that has been silent for so long.
const SILENT: i64 = 300_000_000_000;

/// Memory for the tables of sealed buckets, and the most buckets of which they are kept.
const TABLES: usize = 128 << 20;
const TABLES_KEPT: usize = 4096;
/// Unsealed buckets of which the scan is kept.
const SCANS_KEPT: usize = 64;

/// What is known of a bucket.
#[derive(Clone, Debug)]
pub struct BucketInfo {
    /// Its superblock.
    pub superblock: Superblock,
    /// The file.
    pub path: PathBuf,
    /// Bytes of the file.
    pub bytes: u64,
    /// Whether it will never change.
    pub sealed: bool,
    /// Whether recovery sealed it, not the writer.
    pub recovered: bool,
    /// Whether a living writer goes on with it.
    pub open: bool,
    /// Blocks in it, the directory's left out.
    pub blocks: usize,
    /// Connections that had a frame in it.
    pub connections: u32,
    /// Streams in it.
    pub streams: usize,
    /// Frames that come back from it.
    pub frames: u64,
    /// The time of its first and last frame, when there is one.
    pub times: Option<(Timestamp, Timestamp)>,
    /// What was counted while it was written; zero until it is sealed, and if recovery sealed it, but for the frames.
    pub counters: Counters,
}

/// How far a bucket has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketState {
    /// Its writer sealed it.
    Sealed,
    /// Its writer died, or the disk failed it, and the next start sealed it.
    Recovered,
    /// A living writer goes on with it.
    Open,
    /// Its writer died, or the disk failed it; the next start makes it whole.
    Unsealed,
}

impl BucketInfo {
    /// How far it has come.
    pub const fn state(&self) -> BucketState {
        match (self.sealed, self.recovered, self.open) {
            (true, false, _) => BucketState::Sealed,
            (true, true, _) => BucketState::Recovered,
            (false, _, true) => BucketState::Open,
            (false, _, false) => BucketState::Unsealed,
        }
    }
}

/// A data folder, open for reading.
pub struct Store {
    folder: ReadFolder,
    buckets: Mutex<BTreeMap<BucketId, Arc<Bucket>>>,
    cache: Arc<BlockCache>,
    pub(super) derived: Mutex<DerivedCache>,
    index: Files,
    pub(super) remembered: Mutex<Remembered>,
    pub(super) made: Mutex<Made>,
    pub(super) losses: Mutex<losses::Known>,
    pub(crate) suspects: suspects::Known,
    pub(crate) watching: Mutex<Option<Arc<suspects::Suspects>>>,
    pub(super) joins: Mutex<Option<JoinsFile>>,
    ids: Mutex<KnownIds>,
    tables: Mutex<Tables>,
    verdicts: Verdicts,
}

/// The sealed buckets whose tables are in memory, those that were read first in front.
#[derive(Default)]
struct Tables {
    order: VecDeque<(BucketId, usize)>,
    bytes: usize,
}

/// The buckets that were there, and when their folder had changed last by then.
#[derive(Default)]
struct KnownIds {
    changed: Option<SystemTime>,
    ids: Arc<Vec<BucketId>>,
}

/// A folder that changed more recently than this may change again without a later time.
const RECENT: Duration = Duration::from_millis(100);

impl Store {
    /// Opens a data folder.
    ///
    /// # Errors
    /// When there is none, or one of another version.
    pub fn open(path: &Path) -> Result<Self> {
        let folder = ReadFolder::open(path)?;
        let cache = Arc::new(BlockCache::new(CACHE_BYTES));
        let index = Files::new(set::folder(&path.join(folder::DERIVED)));
        Ok(Self {
            folder,
            buckets: Mutex::default(),
            cache,
            derived: Mutex::default(),
            index,
            remembered: Mutex::default(),
            made: Mutex::default(),
            losses: Mutex::default(),
            suspects: suspects::Known::default(),
            watching: Mutex::default(),
            joins: Mutex::default(),
            ids: Mutex::default(),
            tables: Mutex::default(),
            verdicts: Verdicts::open(path),
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What scanners said of contents.
    pub const fn verdicts(&self) -> &Verdicts {
        &self.verdicts
    }

    pub(crate) const fn folder(&self) -> &ReadFolder {
        &self.folder
    }

    /// What is known of each bucket, oldest first. A bucket that cannot be read is an error in its place.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn buckets(&self) -> Result<Vec<Result<BucketInfo>>> {
        let info = |id| match self.bucket(id).and_then(|bucket| self.bucket_info(&bucket)) {
            // Retention took it since the list was made.
            Err(Error::NoBucket(_)) => None,
            info => Some(info),
        };
        Ok(self.ids()?.into_iter().filter_map(info).collect())
    }

    /// Whether a living writer goes on with an unsealed bucket, or did until now.
    fn goes_on(&self, bucket: &Bucket, contents: &Directory) -> bool {
        let id = bucket.superblock.id;
        self.folder.published(id).is_some()
            || (writer_alive(self.path()).unwrap_or(false)
                // It has just been begun, and there is no mark yet; or it was sealed meanwhile, and there is none any more.
                && (contents.blocks.is_empty() || is_sealed(&bucket.path, id).unwrap_or(false)))
    }

    pub(super) fn bucket_info(&self, bucket: &Bucket) -> Result<BucketInfo> {
        let contents = self.contents(bucket)?;
        let first = contents.blocks.iter().map(|b| b.first_time).min();
        let last = contents.blocks.iter().map(|b| b.last_time).max();
        Ok(BucketInfo {
            superblock: bucket.superblock,
            path: bucket.path.clone(),
            bytes: bucket.file_len(),
            sealed: bucket.is_sealed(),
            recovered: contents.recovered,
            open: !bucket.is_sealed() && self.goes_on(bucket, &contents),
            blocks: contents.blocks.len(),
            connections: contents.connections,
            streams: contents.ends.len(),
            frames: contents.frames,
            times: first.zip(last),
            counters: contents.counters,
        })
    }

    /// Calls with each stream, once, as its newest record has it: in the order of buckets, and in each in the order in
    /// which streams ended. A bucket that cannot be read is told to `damaged`, and the others go on.
    ///
    /// # Errors
    /// When the folder cannot be listed, or `visit` says so.
    pub fn streams(
        &self,
        visit: &mut dyn FnMut(StreamInfo) -> Result<()>,
        damaged: &mut dyn FnMut(Error),
    ) -> Result<()> {
        self.streams_of_connections(&mut |stream, _| visit(stream), damaged)
    }

    /// As [`streams`](Self::streams), with the newest bucket that has anything of the stream's connection.
    ///
    /// # Errors
    /// The same.
    pub fn streams_of_connections(
        &self,
        visit: &mut dyn FnMut(StreamInfo, BucketId) -> Result<()>,
        damaged: &mut dyn FnMut(Error),
    ) -> Result<()> {
        // Streams that go on in later buckets: only their newest record counts.
        let mut later: HashMap<(ConnKey, Direction), BucketId> = HashMap::new();
        let ids = self.ids()?;
        for id in ids.iter().rev() {
            let Ok(contents) = self.bucket(*id).and_then(|bucket| self.contents(&bucket)) else { continue };
            for end in contents.ends.iter().filter(|end| end.key.bucket != *id) {
                later.entry((end.key, end.direction)).or_insert(*id);
            }
        }
        for id in ids {
            let result = self.bucket(id).and_then(|bucket| {
                let contents = self.contents(&bucket)?;
                let mut ends: Vec<&EndEntry> = contents.ends.iter().collect();
                ends.sort_by_key(|end| end.place);
                let mut may_go_on = None;
                for end in ends {
                    if later.get(&(end.key, end.direction)).is_some_and(|newest| *newest > id) {
                        continue;
                    }
                    match info_at(&bucket, &contents, end) {
                        Ok((mut info, standing)) => {
                            let peer = later.get(&(end.key, end.direction.flip())).filter(|newest| **newest > id);
                            if standing == Standing::Continues && bucket.is_sealed() {
                                let may_go_on = &mut || *may_go_on.get_or_insert_with(|| self.may_go_on(&bucket));
                                info.reason = self.how_it_went_on(end, peer.copied(), may_go_on);
                            }
                            visit(info, peer.copied().unwrap_or(id))?;
                        }
                        Err(error) => damaged(error),
                    }
                }
                Ok(())
            });
            match result {
                Err(error @ (Error::Damaged { .. } | Error::Unreadable { .. } | Error::Version { .. })) => {
                    damaged(error)
                }
                // Retention took it since the list was made.
                Err(Error::NoBucket(gone)) if gone == id => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Why a stream ended that was to go on in a later bucket than this one; `None` when it did.
    fn whether_it_went_on(
        &self,
        bucket: &Bucket,
        key: ConnKey,
        direction: Direction,
        contents: &Directory,
    ) -> Option<Reason> {
        let mut peer = None;
        for later in self.buckets_of(key).ok()?.into_iter().take_while(|later| *later > bucket.id()) {
            let Ok(found) = self.bucket(later).and_then(|bucket| self.contents(&bucket)) else { continue };
            if found.find(key, direction).is_some() {
                return None;
            }
            if found.find(key, direction.flip()).is_some() {
                peer = peer.or(Some(later));
            }
        }
        let end = contents.find(key, direction)?;
        self.how_it_went_on(end, peer, &mut || self.may_go_on(bucket))
    }

    /// Whether streams that were to go on after this sealed bucket, and did not so far, still may: a writer lives, and not
    /// more time has passed than a connection may be silent.
    fn may_go_on(&self, bucket: &Bucket) -> bool {
        self.sealed_lately(bucket.superblock.id) && writer_alive(self.path()).unwrap_or(false)
    }

    /// Why a stream ended that was to go on, and has nothing in any later bucket: as the other direction did, which has
    /// something in bucket `peer`; or else the connection fell silent, unless it may go on.
    fn how_it_went_on(
        &self,
        end: &EndEntry,
        peer: Option<BucketId>,
        may_go_on: &mut dyn FnMut() -> bool,
    ) -> Option<Reason> {
        let mut silent = || (!may_go_on()).then_some(Reason::TimeCutoff);
        let Some(id) = peer else { return silent() };
        let bucket = self.bucket(id).ok()?;
        let contents = self.contents(&bucket).ok()?;
        let peer = contents.find(end.key, end.direction.flip())?;
        match info_at(&bucket, &contents, peer).ok()? {
            (_, Standing::Continues) if bucket.is_sealed() => silent(),
            (info, _) => info.reason,
        }
    }

    /// The stream that an oid names, ready to be read: its first LENGTH bytes, over all parts up to that record.
    ///
    /// # Errors
    /// When there is none, when retention took it, or when it cannot be read.
    pub fn stream(&self, oid: Oid) -> Result<Stream> {
        let bucket = self.bucket(oid.bucket).map_err(|error| self.why_not(oid, error))?;
        let contents = self.contents(&bucket)?;
        // A place that was never vouched for is no place.
        let block = contents.blocks.binary_search_by_key(&oid.place.position(), |b| b.position);
        let block = block.ok().and_then(|at| contents.blocks.get(at)).ok_or(Error::NoSuchStream(oid))?;
        if !matches!(block.kind, BlockKind::Shared | BlockKind::Long) {
            return Err(Error::NoSuchStream(oid));
        }
        if !is_stream(&bucket, oid)? {
            return Err(Error::NoSuchStream(oid));
        }
        let part = Part::read(&bucket, oid.place)?;
        self.put_together(bucket, &contents, part)
    }

    /// A stream by its key, whole: up to its newest record.
    ///
    /// # Errors
    /// As [`stream`](Self::stream); `None` when there is no such stream.
    pub fn newest(&self, key: ConnKey, direction: Direction) -> Result<Option<Stream>> {
        for id in self.buckets_of(key)? {
            let bucket = match self.bucket(id) {
                Err(Error::NoBucket(_)) => continue,
                bucket => bucket?,
            };
            let contents = self.contents(&bucket)?;
            if let Some(end) = contents.find(key, direction) {
                let part = Part::read(&bucket, end.place)?;
                return self.put_together(bucket, &contents, part).map(Some);
            }
        }
        Ok(None)
    }

    /// Finds the parts before this one.
    fn put_together(&self, bucket: Arc<Bucket>, contents: &Directory, part: Part) -> Result<Stream> {
        let (key, direction) = (part.head.key, part.head.direction);
        let conn = contents.find(key, direction).map_or(0, |end| end.conn);
        let peer = contents.find(key, direction.flip()).map(|end| oid_of(bucket.id(), end));
        let oid = Oid { bucket: bucket.id(), place: part.place, length: part.head.length.0, index: 0 };
        let mut info = StreamInfo::of(oid, peer, &part.head, &part.gaps);
        if part.head.standing == Standing::Continues && bucket.is_sealed() {
            info.reason = self.whether_it_went_on(&bucket, key, direction, contents);
        }
        let mut previous = part.head.previous_bucket;
        let mut number = part.head.part;
        let mut parts = vec![(bucket, part)];
        let mut conns = vec![conn];
        let mut dropped = None;
        while let Some(id) = previous {
            let found = match self.bucket(id) {
                Ok(bucket) => {
                    let contents = self.contents(&bucket)?;
                    contents.find(key, direction).copied().map(|end| (bucket, end))
                }
                Err(Error::NoBucket(_)) => {
                    dropped = dropped.max(self.folder.dropped(id));
                    None
                }
                Err(error) => return Err(error),
            };
            // What is gone is a gap of its own kind; what is there goes on. A part that was lost in a failed write may have
            // others before it.
            let Some((bucket, end)) = found.or_else(|| self.part_before(id, key, direction)) else { break };
            let part = Part::read(&bucket, end.place)?;
            if part.head.part >= number {
                return Err(bucket.damaged(end.place.position(), "the parts of a stream are not in order"));
            }
            number = part.head.part;
            previous = part.head.previous_bucket;
            conns.push(end.conn);
            parts.push((bucket, part));
        }
        parts.reverse();
        conns.reverse();
        Ok(Stream::over(parts, info, &conns, dropped))
    }

    /// The newest part of a stream in the buckets before this one.
    fn part_before(&self, id: BucketId, key: ConnKey, direction: Direction) -> Option<(Arc<Bucket>, EndEntry)> {
        let mut before = self.buckets_of(key).ok()?.into_iter().skip_while(|other| *other >= id);
        before.find_map(|id| {
            let bucket = self.bucket(id).ok()?;
            let end = self.contents(&bucket).ok()?.find(key, direction).copied()?;
            Some((bucket, end))
        })
    }

    fn why_not(&self, oid: Oid, error: Error) -> Error {
        match error {
            Error::NoBucket(id) => match self.folder.dropped(id) {
                Some(time) => Error::Gone { oid, time },
                None => Error::NoSuchStream(oid),
            },
            other => other,
        }
    }

    /// The ids of the buckets, oldest first.
    pub(crate) fn ids(&self) -> Result<Vec<BucketId>> {
        let ids = folder::bucket_ids(&self.folder.buckets())?;
        self.let_go(&ids);
        Ok(ids)
    }

    /// The same, listed anew only when the folder changed: a site has tens of thousands of buckets.
    pub(crate) fn known_ids(&self) -> Result<Arc<Vec<BucketId>>> {
        let folder = self.folder.buckets();
        let failed = || Error::io(&folder, "list the buckets");
        let changed = std::fs::metadata(&folder).and_then(|facts| facts.modified()).map_err(failed())?;
        let mut known = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if known.changed != Some(changed) {
            let settled = changed.elapsed().is_ok_and(|since| since > RECENT);
            let ids = self.ids()?;
            if *known.ids != ids {
                known.ids = Arc::new(ids);
            }
            known.changed = settled.then_some(changed);
        }
        Ok(Arc::clone(&known.ids))
    }

    /// The index files.
    pub(crate) const fn index_files(&self) -> &Files {
        &self.index
    }

    /// Whether a bucket was sealed so lately that connections which were to go on after it may be silent still.
    pub fn sealed_lately(&self, id: BucketId) -> bool {
        let sealed = self.folder.with_facts(|facts| facts.sealed_bucket(id));
        sealed.is_some_and(|sealed| folder::now().since(sealed.time) <= SILENT)
    }

    /// Unmaps buckets that are there no more: as long as anybody has one mapped, the system keeps its room taken. Who reads
    /// from one goes on, and lets go of it at the end.
    fn let_go(&self, there: &[BucketId]) {
        let is_gone = |id: &BucketId| there.binary_search(id).is_err();
        let mut gone = Vec::new();
        {
            let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
            // One that was begun after the list was made is not in it, and is there.
            let ids: Vec<BucketId> = buckets.keys().copied().filter(is_gone).collect();
            let is_removed = |id: &BucketId| !self.folder.buckets().join(file_name(*id)).exists();
            gone.extend(ids.into_iter().filter(is_removed).filter_map(|id| buckets.remove(&id)));
        }
        let mut derived = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        derived.let_go(&is_gone);
    }

    /// Every entry of the ledger that can be read.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn ledger(&self) -> Result<Vec<Entry>> {
        Ledger::read(&self.path().join(folder::LEDGER))
    }

    /// The buckets that retention dropped, and when, oldest first.
    pub fn dropped(&self) -> Vec<(BucketId, Timestamp)> {
        self.folder.with_facts(|facts| facts.tombstones().collect())
    }

    /// A bucket, mapped. One that was open is looked at again, as it may be sealed by now; but as long as nobody writes to
    /// it, what a scan of it found is kept.
    pub(crate) fn bucket(&self, id: BucketId) -> Result<Arc<Bucket>> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.folder.buckets().join(file_name(id));
        // Retention may have taken it since it was mapped.
        let Ok(metadata) = std::fs::metadata(&path) else {
            buckets.remove(&id);
            return Err(Error::NoBucket(id));
        };
        if let Some(bucket) = buckets.get(&id)
            && (bucket.is_sealed() || bucket.stamp == Stamp::of(&metadata) || self.folder.published(id).is_some())
        {
            return Ok(Arc::clone(bucket));
        }
        let bucket = match Bucket::open(&path, id, Arc::clone(&self.cache)) {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::NoBucket(id));
            }
            bucket => Arc::new(bucket?),
        };
        if !bucket.is_sealed() {
            let mut others: Vec<BucketId> = buckets
                .iter()
                .filter(|(other, known)| **other != id && !known.is_sealed())
                .map(|(id, _)| *id)
                .collect();
            others.truncate((others.len() + 1).saturating_sub(SCANS_KEPT));
            for other in others {
                buckets.remove(&other);
            }
        }
        buckets.insert(id, Arc::clone(&bucket));
        Ok(bucket)
    }

    /// The table of contents, as far as readers may look.
    pub(crate) fn contents(&self, bucket: &Bucket) -> Result<Arc<Directory>> {
        let is_new = bucket.is_sealed() && !bucket.has_contents();
        let contents = bucket.contents(self.folder.published(bucket.id()))?;
        if is_new {
            self.make_room(bucket.id(), &contents);
        }
        Ok(contents)
    }

    /// Lets go of the sealed buckets whose tables were read longest ago, when there are too many of them.
    fn make_room(&self, id: BucketId, contents: &Directory) {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = contents.ends.len() * size_of::<EndEntry>() + contents.blocks.len() * size_of::<BlockEntry>();
        tables.bytes += bytes;
        tables.order.push_back((id, bytes));
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        while tables.order.len() > 1 && (tables.bytes > TABLES || tables.order.len() > TABLES_KEPT) {
            let Some((oldest, bytes)) = tables.order.pop_front() else { break };
            tables.bytes -= bytes;
            // Who has it goes on.
            if buckets.get(&oldest).is_some_and(|bucket| bucket.is_sealed()) {
                buckets.remove(&oldest);
            }
        }
    }
}

/// Whether a record of a stream begins where an oid says, and is as long: a place in the midst of a record is none, even
/// if bytes of a stream look like a record there.
fn is_stream(bucket: &Bucket, oid: Oid) -> Result<bool> {
    let position = oid.place.position();
    let block = bucket.block(position)?;
    let head = block.record(oid.place.place()).and_then(|record| record.stream(bucket.id()).ok());
    let is_stream = head.is_some_and(|(head, _)| head.length.0 == oid.length);
    bucket.still_whole(position)?;
    Ok(is_stream)
}

/// The oid of the stream with this END.
pub(crate) const fn oid_of(bucket: BucketId, end: &EndEntry) -> Oid {
    Oid { bucket, place: end.place, length: end.length, index: 0 }
}

pub(super) fn info_at(bucket: &Bucket, contents: &Directory, end: &EndEntry) -> Result<(StreamInfo, Standing)> {
    let place: BlockPlace = end.place;
    let (head, gaps) =
        bucket.with_record(place, |record, _| record.stream(bucket.id()).map_err(|_| bucket.no_record(place)))?;
    if head.key != end.key || head.direction != end.direction || head.length.0 != end.length {
        return Err(bucket.damaged(place.position(), "the directory and a stream's record differ"));
    }
    let peer = contents.find(end.key, end.direction.flip()).map(|peer| oid_of(bucket.id(), peer));
    Ok((StreamInfo::of(oid_of(bucket.id(), end), peer, &head, &gaps), head.standing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamdb_testkit::TestFolder;

    #[test]
    fn a_bucket_that_nobody_writes_is_scanned_once() {
        let folder = TestFolder::new("scan");
        let write = crate::WriteFolder::open(folder.path(), Box::new(crate::DiskVolume)).unwrap();
        drop(write);
        let ids: Vec<BucketId> = (1..=SCANS_KEPT as u64 + 2).map(BucketId).collect();
        let superblock = |id| Superblock { id, worker: 0, window_start: Timestamp(0), window_end: Timestamp(1) };
        let path = |id: BucketId| folder.path().join("buckets").join(format!("{id}.sdb"));
        for id in &ids {
            std::fs::write(path(*id), superblock(*id).encode()).unwrap();
        }
        let store = Store::open(folder.path()).unwrap();
        let first = store.bucket(ids[0]).unwrap();
        assert!(Arc::ptr_eq(&first, &store.bucket(ids[0]).unwrap()));
        // A file that changed is another one.
        let mut longer = superblock(ids[0]).encode().to_vec();
        longer.resize(8192, 0);
        std::fs::write(path(ids[0]), longer).unwrap();
        let second = store.bucket(ids[0]).unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&second, &store.bucket(ids[0]).unwrap()));
        // And so many are kept, not more.
        ids.iter().for_each(|id| drop(store.bucket(*id).unwrap()));
        assert_eq!(store.buckets.lock().unwrap().len(), SCANS_KEPT);
    }
}
