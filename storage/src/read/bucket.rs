//! One bucket file, mapped: its superblock, its blocks, its table of contents.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use streamdb_types::{BlockPlace, BucketId, ConnKey, Direction};

use super::cache::{BlockCache, Owner};
use super::scan::Scan;
use crate::error::{Error, Result};
use crate::format::block::{BlockHeader, BlockKind, Codec, HEADER_LEN, HeaderProblem, LONG_MAX};
use crate::format::directory::Directory;
use crate::format::record::{Record, record_at, records};
use crate::format::superblock::{SUPERBLOCK_LEN, Superblock, SuperblockProblem, TRAILER_LEN, Trailer};
use crate::map::{Map, MapError};

/// Addresses (not memory) that are kept for an open bucket, so that following it does not map it anew.
const ROOM_TO_GROW: u64 = 5 << 30;

/// A block whose checksum was right when it was read.
pub(crate) struct Block {
    pub(crate) header: BlockHeader,
    bytes: Bytes,
    /// Where its records begin, up to the first bad one, once that was asked for.
    places: OnceLock<Vec<u32>>,
}

enum Bytes {
    /// In the file as they are: the map, and from where on.
    Mapped(Arc<Map>, u64),
    Owned(Vec<u8>),
}

impl Block {
    /// The uncompressed bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(map, at) => map.get(*at, self.header.stored_len as usize).unwrap_or_default(),
            Bytes::Owned(bytes) => bytes,
        }
    }

    /// The record at a place, when one begins there: what looks like one in the midst of another is none.
    pub(crate) fn record(&self, place: u32) -> Option<Record<'_>> {
        let all = || records(self.bytes()).map_while(std::result::Result::ok).map(|record| record.place);
        let places = self.places.get_or_init(|| all().collect());
        places.binary_search(&place).ok().and_then(|_| record_at(self.bytes(), place).ok())
    }

    /// Memory of its own, with that of the places of its records.
    pub(crate) fn footprint(&self) -> usize {
        let bytes = match &self.bytes {
            Bytes::Mapped(..) => 0,
            Bytes::Owned(bytes) => bytes.capacity(),
        };
        bytes.saturating_add(512).saturating_add(self.header.records as usize * size_of::<u32>())
    }
}

/// How a bucket can be read.
enum State {
    /// Sealed: the directory, once it was asked for.
    Sealed(Trailer, Option<Arc<Directory>>),
    /// Not sealed: what was found so far.
    Open(Box<Scan>),
}

/// What tells whether a file is the same as before: which it is, its length, and when it was changed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    file: (u64, u64),
    length: u64,
    changed: (i64, i64),
}

impl Stamp {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            length: metadata.len(),
            changed: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// A bucket, mapped.
pub(crate) struct Bucket {
    pub(crate) path: PathBuf,
    pub(crate) superblock: Superblock,
    map: Mutex<Arc<Map>>,
    state: Mutex<State>,
    cache: Arc<BlockCache>,
    /// What its blocks are cached as.
    owner: Owner,
    sealed: bool,
    /// The file as it was when it was opened.
    pub(crate) stamp: Stamp,
    /// Where its last bytes are, when they could not be read: whether it is sealed is not known then.
    unreadable_end: Option<MapError>,
}

impl Bucket {
    /// Maps a bucket and checks its superblock.
    pub(crate) fn open(path: &Path, id: BucketId, cache: Arc<BlockCache>) -> Result<Self> {
        // The writer cuts what it reserved when it seals the bucket, perhaps after we asked for the length; that happens
        // once in a bucket's life.
        match Self::open_once(path, id, Arc::clone(&cache)) {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::UnexpectedEof => {
                Self::open_once(path, id, cache)
            }
            Ok(bucket) if bucket.unreadable_end.is_some() => Self::open_once(path, id, cache),
            result => result,
        }
    }

    fn open_once(path: &Path, id: BucketId, cache: Arc<BlockCache>) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(path, "open the bucket"))?;
        let stamp = Stamp::of(&file.metadata().map_err(Error::io(path, "ask for the length of the bucket"))?);
        let length = stamp.length;
        if length < SUPERBLOCK_LEN as u64 {
            return Err(Error::damaged(path, length, format!("a bucket has {SUPERBLOCK_LEN} bytes at least")));
        }
        let mut map = Map::open(&file, path, length).map_err(Error::io(path, "map the bucket"))?;
        let superblock = Superblock::decode(map.get(0, SUPERBLOCK_LEN).unwrap_or_default());
        map.check(0, SUPERBLOCK_LEN as u64)?;
        let superblock = superblock.map_err(|problem| match problem {
            SuperblockProblem::NoBucket => Error::damaged(path, 0, "this is no StreamDB bucket"),
            SuperblockProblem::Checksum => Error::damaged(path, 0, "the checksum of the superblock is wrong"),
            SuperblockProblem::Version(found) => Error::Version { path: path.to_owned(), found },
        })?;
        if superblock.id != id {
            return Err(Error::damaged(
                path,
                0,
                format!("the file is named {id} and says that it is bucket {}", superblock.id),
            ));
        }
        let trailer = length
            .checked_sub(TRAILER_LEN as u64)
            .and_then(|at| Trailer::decode(map.get(at, TRAILER_LEN).ok()?, id).filter(|t| t.end == at));
        let end = length.saturating_sub(TRAILER_LEN as u64);
        let unreadable_end = map.check(end, TRAILER_LEN as u64).err();
        let sealed = trailer.is_some();
        if !sealed {
            map = Map::follow(file, path, length, ROOM_TO_GROW).map_err(Error::io(path, "map the bucket"))?;
        }
        let state = trailer.map_or_else(|| State::Open(Box::default()), |trailer| State::Sealed(trailer, None));
        Ok(Self {
            path: path.to_owned(),
            superblock,
            map: map.into(),
            state: state.into(),
            owner: cache.owner(),
            cache,
            sealed,
            stamp,
            unreadable_end,
        })
    }

    /// Whether the system gave the bytes of a bucket without trailer as far as they were looked at: its last ones, and
    /// those that a scan walked over.
    pub(crate) fn is_readable(&self) -> Result<()> {
        if let Some(error) = &self.unreadable_end {
            return Err(error.clone().into());
        }
        match &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Open(scan) => scan.is_readable(&self.path),
            State::Sealed(..) => Ok(()),
        }
    }

    pub(crate) const fn id(&self) -> BucketId {
        self.superblock.id
    }

    /// Whether it has directory and trailer, and so will never change.
    pub(crate) const fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// Bytes of the file.
    pub(crate) fn file_len(&self) -> u64 {
        self.map().len()
    }

    pub(crate) fn map(&self) -> Arc<Map> {
        Arc::clone(&self.map.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The file may have grown since it was mapped.
    fn map_covering(&self, end: u64) -> Result<Arc<Map>> {
        let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        if end > map.len() && !self.sealed {
            // Not yet so long: who asks for the bytes is told that they are not there.
            match map.covering(end) {
                Ok(longer) => *map = longer,
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
                Err(error) => return Err(Error::io(&self.path, "map the bucket")(error)),
            }
        }
        Ok(Arc::clone(&map))
    }

    /// The header of the block at a position: everything that it says of itself is checked.
    pub(crate) fn header(&self, position: u64) -> Result<BlockHeader> {
        let map = self.map_covering(position.saturating_add(HEADER_LEN as u64))?;
        let bytes = map.get(position, HEADER_LEN).ok().and_then(|b| b.first_chunk::<HEADER_LEN>()).copied();
        map.check(position, HEADER_LEN as u64)?;
        let bytes =
            bytes.ok_or_else(|| self.damaged(position, "a block is said to begin here, beyond the end of the file"))?;
        BlockHeader::decode(&bytes, self.id(), position).map_err(|problem| match problem {
            HeaderProblem::NoBlock => self.damaged(position, "a block was expected to begin here"),
            HeaderProblem::Checksum => self.damaged(position, "the checksum of the block's header is wrong"),
            HeaderProblem::Version(found) => Error::Version { path: self.path.clone(), found },
            HeaderProblem::Impossible => self.damaged(position, "the block's header is impossible"),
        })
    }

    /// The block at a position, its checksum verified, decompressed.
    pub(crate) fn block(&self, position: u64) -> Result<Arc<Block>> {
        if let Some(block) = self.cache.get(self.owner, position) {
            return Ok(block);
        }
        let header = self.header(position)?;
        let at = position + HEADER_LEN as u64;
        let len = header.stored_len as usize;
        let map = self.map_covering(at + len as u64)?;
        let stored =
            map.get(at, len).map_err(|_| self.damaged(position, "the block reaches beyond the end of the file"))?;
        let crc = crc32fast::hash(stored);
        let bytes = match header.codec {
            Codec::Raw => Bytes::Mapped(Arc::clone(&map), at),
            Codec::Zstd => {
                let raw = zstd::bulk::decompress(stored, header.raw_len as usize).ok();
                let raw = raw.filter(|raw| raw.len() == header.raw_len as usize);
                // A wrong checksum is the better explanation, so it is looked at first, below.
                Bytes::Owned(raw.unwrap_or_default())
            }
        };
        map.check(at, len as u64)?;
        if crc != header.payload_crc {
            return Err(self.damaged(position, format!("the checksum of the {} block is wrong", header.kind.word())));
        }
        if matches!(&bytes, Bytes::Owned(raw) if raw.len() != header.raw_len as usize) {
            return Err(self.damaged(position, "the block does not decompress to its length"));
        }
        let block = Arc::new(Block { header, bytes, places: OnceLock::new() });
        self.cache.put(self.owner, position, &block);
        Ok(block)
    }

    /// Calls with the record at a place.
    pub(crate) fn with_record<T>(
        &self,
        place: BlockPlace,
        call: impl FnOnce(&Record<'_>, &Block) -> Result<T>,
    ) -> Result<T> {
        let block = self.block(place.position())?;
        if !matches!(block.header.kind, BlockKind::Shared | BlockKind::Long) {
            return Err(self.damaged(place.position(), "a record is said to be in this block, which has none"));
        }
        let record = record_at(block.bytes(), place.place()).map_err(|_| self.no_record(place))?;
        let result = call(&record, &block)?;
        self.still_whole(place.position())?;
        Ok(result)
    }

    /// Bytes came from the map: were they really there?
    pub(crate) fn still_whole(&self, position: u64) -> Result<()> {
        Ok(self.map().check(position, (HEADER_LEN + LONG_MAX) as u64)?)
    }

    /// The table of contents: of a sealed bucket its directory, of another what a scan of it up to `published` yields
    /// (all that is whole, when nothing is said).
    pub(crate) fn contents(&self, published: Option<u64>) -> Result<Arc<Directory>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *state {
            State::Sealed(_, Some(directory)) => Ok(Arc::clone(directory)),
            State::Sealed(trailer, unread) => {
                let directory = Arc::new(self.read_directory(trailer)?);
                *unread = Some(Arc::clone(&directory));
                Ok(directory)
            }
            State::Open(scan) => {
                scan.follow(self, published)?;
                Ok(scan.contents())
            }
        }
    }

    /// Whether the directory of a sealed one is in memory.
    pub(crate) fn has_contents(&self) -> bool {
        matches!(&*self.state.lock().unwrap_or_else(PoisonError::into_inner), State::Sealed(_, Some(_)))
    }

    /// Whether a stream's newest record says that it is open.
    pub(crate) fn is_open(&self, key: ConnKey, direction: Direction) -> bool {
        match &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Sealed(..) => false,
            State::Open(scan) => scan.is_open(key, direction),
        }
    }

    /// What the trailer says.
    pub(crate) fn trailer(&self) -> Option<Trailer> {
        match &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Sealed(trailer, _) => Some(*trailer),
            State::Open(_) => None,
        }
    }

    fn read_directory(&self, trailer: &Trailer) -> Result<Directory> {
        let mut bytes = Vec::new();
        let mut position = trailer.directory;
        let mut most = 0;
        for n in 0..trailer.directory_blocks {
            let block = self.block(position)?;
            if block.header.kind != BlockKind::Directory {
                return Err(self.damaged(position, "a directory block was expected here"));
            }
            if n == 0 {
                let counts = Directory::most_bytes(block.bytes(), trailer.directory);
                most = counts.map_err(|_| self.damaged(position, "the directory lists more than there can be"))?;
            }
            if (bytes.len() + block.bytes().len()) as u64 > most {
                return Err(self.damaged(position, "the directory is longer than what it lists"));
            }
            bytes.extend_from_slice(block.bytes());
            self.still_whole(position)?;
            position += block.header.span();
        }
        Directory::decode(&bytes).map_err(|_| self.damaged(trailer.directory, "the directory is not readable"))
    }

    pub(crate) fn damaged(&self, position: u64, what: impl Into<String>) -> Error {
        Error::damaged(&self.path, position, what)
    }

    pub(crate) fn no_record(&self, place: BlockPlace) -> Error {
        self.damaged(place.position(), format!("no readable record at {} of the block", place.place()))
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.cache.forget(self.owner);
    }
}

/// Whether a bucket's file ends with a trailer of its own.
pub(crate) fn is_sealed(path: &Path, id: BucketId) -> Result<bool> {
    Bucket::open(path, id, Arc::new(BlockCache::new(0))).map(|bucket| bucket.is_sealed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DiskVolume;
    use crate::write::bucket_file::{BucketFile, Compression, CutBlock};
    use streamdb_testkit::TestFolder;
    use streamdb_types::{FrameNumber, Timestamp};

    #[test]
    fn a_directory_is_not_longer_than_what_it_lists() {
        let folder = TestFolder::new("bomb");
        let id = BucketId(1);
        let superblock = Superblock { id, worker: 0, window_start: Timestamp(0), window_end: Timestamp(1) };
        let mut file = BucketFile::create(&DiskVolume, folder.path(), &superblock, Compression::Full).unwrap();
        // A few bytes each, and 256 KiB for who reads them.
        for n in 0..40 {
            let mut bytes = vec![0; HEADER_LEN + (256 << 10)];
            bytes[HEADER_LEN..HEADER_LEN + 8].copy_from_slice(b"SDBDIR01");
            let (kind, first_frame) = (BlockKind::Directory, FrameNumber(0));
            let (first_time, last_time, at) = (Timestamp(0), Timestamp(0), HEADER_LEN);
            let references = Vec::new();
            file.write(&mut CutBlock {
                id: n,
                kind,
                bytes,
                at,
                records: 0,
                first_frame,
                first_time,
                last_time,
                references,
            })
            .unwrap();
        }
        let directory = SUPERBLOCK_LEN as u64;
        let trailer = Trailer { directory, directory_blocks: 40, blocks: 40, end: file.position, headers_crc: 0 };
        file.file.write_at(&trailer.encode(id), file.position).unwrap();
        file.file.truncate(file.position + TRAILER_LEN as u64).unwrap();
        let bucket = Bucket::open(&folder.path().join("1.sdb"), id, Arc::new(BlockCache::new(0))).unwrap();
        assert!(bucket.is_sealed());
        let error = bucket.contents(None).unwrap_err().to_string();
        assert!(error.contains("the directory is longer than what it lists"), "{error}");
    }
}
