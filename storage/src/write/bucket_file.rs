//! A bucket while it is written: blocks go to its end, one after the other, and at last the directory and the trailer.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crc32fast::Hasher;
use streamdb_types::{BlockPlace, BucketId, Counters, FrameNumber, Timestamp};
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

use crate::error::{Error, Result};
use crate::format::block::{BlockHeader, BlockKind, Codec, HEADER_LEN, LONG_MAX, SHARED_MAX};
use crate::format::bytes::align64;
use crate::format::directory::{BlockEntry, Directory, EndEntry};
use crate::format::superblock::{SUPERBLOCK_LEN, Superblock, Trailer};
use crate::volume::{Volume, VolumeFile};

/// How hard blocks are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Compression {
    /// Journal, records and short streams quickly; long streams not at all.
    Fast,
    /// Every block that shrinks by 3 %.
    #[default]
    Full,
}

/// A block that is cut and not yet written.
#[derive(Debug)]
pub(crate) struct CutBlock {
    /// What references name it by.
    pub(crate) id: u32,
    pub(crate) kind: BlockKind,
    /// The uncompressed bytes begin at `at`, which leaves room for the header before them.
    pub(crate) bytes: Vec<u8>,
    pub(crate) at: usize,
    pub(crate) records: u32,
    pub(crate) first_frame: FrameNumber,
    pub(crate) first_time: Timestamp,
    pub(crate) last_time: Timestamp,
    /// Where in the uncompressed bytes there are places that still name blocks by number.
    pub(crate) references: Vec<u32>,
}

/// A record's place while its block is not written: `id << 15 | place / 8`, as [`BlockPlace`] with the block's id for its
/// position. Ids are given when a block is begun, from 1; blocks are written in the order in which they are cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BlockRef(pub(crate) u64);

impl BlockRef {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn new(id: u32, place: usize) -> Self {
        Self((id as u64) << 15 | (place as u64 / 8) & 0x7fff)
    }

    pub(crate) const fn id(self) -> u32 {
        (self.0 >> 15) as u32
    }

    pub(crate) const fn place(self) -> usize {
        (self.0 & 0x7fff) as usize * 8
    }
}

/// One END, before its place is known; or with its place in the entry, and no reference.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CutEnd {
    pub(crate) entry: EndEntry,
    pub(crate) at: BlockRef,
}

impl CutEnd {
    const fn entry_at(self, place: BlockPlace) -> EndEntry {
        if place.is_none() { self.entry } else { EndEntry { place, ..self.entry } }
    }
}

/// What the directory of a bucket says beside its blocks.
#[derive(Debug, Default)]
pub(crate) struct Seal {
    pub(crate) ends: Vec<CutEnd>,
    pub(crate) notes: Vec<BlockRef>,
    /// Notes whose places are known already; they come first.
    pub(crate) known_notes: Vec<BlockPlace>,
    pub(crate) connections: u32,
    pub(crate) frames: u64,
    pub(crate) counters: Counters,
    /// Recovery does it.
    pub(crate) recovered: bool,
}

/// A bucket being written.
pub(crate) struct BucketFile {
    path: PathBuf,
    pub(crate) file: Arc<dyn VolumeFile>,
    id: BucketId,
    compression: Compression,
    /// Where the next block goes.
    pub(crate) position: u64,
    prev_len: u32,
    blocks: Vec<BlockEntry>,
    /// Where the block with each id lies; 0 when it is not written.
    positions: Vec<u64>,
    headers: Hasher,
    quick: Compressor<'static>,
    bulk: Compressor<'static>,
    full: Compressor<'static>,
    out: Vec<u8>,
    /// A sync failed: no later one of this file proves anything.
    pub(crate) sync_failed: bool,
    /// Bytes that sealing has made durable.
    pub(crate) synced: u64,
    /// Where the trailer begins, once it may be there.
    pub(crate) trailer: Option<u64>,
}

impl BucketFile {
    /// Makes the file: its superblock under a temporary name, synced, then its real one.
    pub(crate) fn create(
        volume: &dyn Volume,
        folder: &Path,
        superblock: &Superblock,
        compression: Compression,
    ) -> Result<Self> {
        let path = folder.join(file_name(superblock.id));
        let temporary = folder.join(format!("{}.tmp", superblock.id));
        let file = volume.create(&temporary).map_err(Error::io(&temporary, "create the bucket"))?;
        let act = |result: std::io::Result<()>, action| result.map_err(Error::io(&temporary, action));
        let named = act(file.write_at(&superblock.encode(), 0), "write the superblock")
            .and_then(|()| act(file.sync_data(), "sync the superblock"))
            .and_then(|()| act(volume.rename(&temporary, &path), "give the bucket its name"))
            .and_then(|()| act(volume.sync_dir(folder), "sync the folder of the bucket"));
        if let Err(error) = named {
            // There is nothing in it under either name. What stays is taken away, or sealed, by the next start.
            let _ = volume.unlink(&temporary);
            let _ = volume.unlink(&path);
            return Err(error);
        }
        Self::over(path, file.into(), superblock.id, compression)
    }

    /// Goes on with a bucket whose blocks are known: recovery does.
    pub(crate) fn resume(
        path: PathBuf,
        file: Arc<dyn VolumeFile>,
        id: BucketId,
        blocks: Vec<(BlockHeader, u64)>,
        compression: Compression,
    ) -> Result<Self> {
        let mut bucket = Self::over(path, file, id, compression)?;
        for (header, position) in blocks {
            bucket.headers.update(&header.encode(id, position));
            bucket.blocks.push(BlockEntry::of(&header, position));
            bucket.prev_len = header.span() as u32;
            bucket.position = position + header.span();
        }
        Ok(bucket)
    }

    fn over(path: PathBuf, file: Arc<dyn VolumeFile>, id: BucketId, compression: Compression) -> Result<Self> {
        let compressor = |level, parameters: &[CParameter]| {
            let mut compressor = Compressor::new(level)?;
            parameters.iter().try_for_each(|parameter| compressor.set_parameter(*parameter))?;
            Ok(compressor)
        };
        let compressor =
            |level, parameters| compressor(level, parameters).map_err(Error::io(&path, "set up compression"));
        Ok(Self {
            file,
            id,
            compression,
            position: SUPERBLOCK_LEN as u64,
            prev_len: 0,
            blocks: Vec::new(),
            positions: Vec::new(),
            headers: Hasher::new(),
            quick: compressor(1, &[])?,
            // The tables of these two stay in the processor's nearest cache, which is worth more than what is found by
            // larger ones: for bulk a third less time than level 3 takes, for 2.5 % more room.
            bulk: compressor(1, &[CParameter::HashLog(14), CParameter::MinMatch(5)])?,
            full: compressor(3, &[CParameter::HashLog(15), CParameter::ChainLog(14)])?,
            out: vec![0; HEADER_LEN + zstd::zstd_safe::compress_bound(LONG_MAX) + 64],
            path,
            sync_failed: false,
            synced: 0,
            trailer: None,
        })
    }

    pub(crate) const fn id(&self) -> BucketId {
        self.id
    }

    /// Writes a block to the end.
    pub(crate) fn write(&mut self, block: &mut CutBlock) -> Result<()> {
        self.give_place(block.id);
        self.resolve_references(block);
        let at = block.at;
        let raw = block.bytes.get(at..).unwrap_or_default();
        let raw_len = raw.len();
        let compressor = match (self.compression, block.kind) {
            (Compression::Fast, BlockKind::Long) => None,
            (Compression::Fast, _) => Some(&mut self.quick),
            (Compression::Full, BlockKind::Long) => Some(&mut self.bulk),
            (Compression::Full, _) => Some(&mut self.full),
        };
        let compressed = compressor.and_then(|compressor| {
            // What does not shrink by 3 % is not worth the reader's time.
            let limit = raw_len.saturating_sub(raw_len / 32 + 1);
            let room = self.out.get_mut(HEADER_LEN..HEADER_LEN + limit).unwrap_or_default();
            compressor.compress_to_buffer(raw, room).ok()
        });
        let (codec, stored_len) = match compressed {
            Some(len) => (Codec::Zstd, len),
            None => (Codec::Raw, raw_len),
        };
        let (image, start) = match codec {
            Codec::Zstd => (&mut self.out, 0),
            Codec::Raw => (&mut block.bytes, at - HEADER_LEN),
        };
        let end = start + HEADER_LEN + stored_len;
        let padded = start + align64((HEADER_LEN + stored_len) as u64) as usize;
        if codec == Codec::Raw {
            image.resize(padded, 0);
        }
        let payload_crc = crc32fast::hash(image.get(start + HEADER_LEN..end).unwrap_or_default());
        let header = BlockHeader {
            kind: block.kind,
            codec,
            number: self.blocks.len() as u32 + 1,
            stored_len: stored_len as u32,
            raw_len: raw_len as u32,
            prev_len: self.prev_len,
            first_time: block.first_time,
            last_time: block.last_time,
            records: block.records,
            first_frame: block.first_frame,
            payload_crc,
        };
        let encoded = header.encode(self.id, self.position);
        if let Some(room) = image.get_mut(start..start + HEADER_LEN) {
            room.copy_from_slice(&encoded);
        }
        image.get_mut(end..padded).unwrap_or_default().fill(0);
        let image = image.get(start..padded).unwrap_or_default();
        self.file.write_at(image, self.position).map_err(Error::io(&self.path, "write a block"))?;
        self.headers.update(&encoded);
        self.blocks.push(BlockEntry::of(&header, self.position));
        self.position += header.span();
        self.prev_len = header.span() as u32;
        Ok(())
    }

    /// The block with this id is the next one in the file.
    fn give_place(&mut self, id: u32) {
        let at = id as usize;
        if self.positions.len() <= at {
            self.positions.resize(at + 1, 0);
        }
        if let Some(position) = self.positions.get_mut(at) {
            *position = self.position;
        }
    }

    /// Where a record lies, now that its block has a place.
    fn place_of(&self, reference: BlockRef) -> BlockPlace {
        match self.positions.get(reference.id() as usize) {
            Some(position) if reference != BlockRef::NONE => BlockPlace((position / 64) << 15 | reference.0 & 0x7fff),
            _ => BlockPlace::NONE,
        }
    }

    fn resolve_references(&self, block: &mut CutBlock) {
        for reference in std::mem::take(&mut block.references) {
            let at = block.at + reference as usize;
            if let Some(field) = block.bytes.get_mut(at..).and_then(|b| b.first_chunk_mut::<8>()) {
                let place = self.place_of(BlockRef(u64::from_le_bytes(*field)));
                *field = place.0.to_le_bytes();
            }
        }
    }

    /// Writes directory and trailer, cuts the file to its length and syncs it. Returns the whole length.
    pub(crate) fn seal(&mut self, seal: Seal) -> Result<u64> {
        let Seal { ends, notes, known_notes, connections, frames, counters, recovered } = seal;
        let notes = known_notes.into_iter().chain(notes.into_iter().map(|note| self.place_of(note))).collect();
        let mut ends: Vec<EndEntry> = ends.into_iter().map(|end| end.entry_at(self.place_of(end.at))).collect();
        ends.sort_unstable_by_key(|e| (e.key, e.direction));
        let directory =
            Directory { blocks: self.blocks.clone(), ends, notes, connections, frames, counters, recovered };
        let (first, before) = (self.position, self.blocks.len());
        let (from, to) = (directory.blocks.first(), directory.blocks.last());
        let first_time = from.map_or(Timestamp(0), |b| b.first_time);
        let last_time = to.map_or(Timestamp(0), |b| b.last_time);
        for piece in directory.encode().chunks(SHARED_MAX) {
            let mut bytes = vec![0; HEADER_LEN];
            bytes.extend_from_slice(piece);
            self.write(&mut CutBlock {
                id: self.positions.len() as u32,
                kind: BlockKind::Directory,
                bytes,
                at: HEADER_LEN,
                records: 0,
                first_frame: FrameNumber(0),
                first_time,
                last_time,
                references: Vec::new(),
            })?;
        }
        let trailer = Trailer {
            directory: first,
            directory_blocks: (self.blocks.len() - before) as u32,
            blocks: self.blocks.len() as u32,
            end: self.position,
            headers_crc: self.headers.clone().finalize(),
        };
        let bytes = trailer.encode(self.id);
        let length = self.position + bytes.len() as u64;
        // All that the trailer vouches for is durable before the trailer is there.
        self.sync()?;
        self.synced = self.position;
        let act = |result: std::io::Result<()>, action| result.map_err(Error::io(&self.path, action));
        self.trailer = Some(self.position);
        act(self.file.write_at(&bytes, self.position), "write the trailer")?;
        act(self.file.truncate(length), "cut the bucket to its length")?;
        self.sync()?;
        Ok(length)
    }

    fn sync(&mut self) -> Result<()> {
        let result = self.file.sync_data();
        self.sync_failed |= result.is_err();
        result.map_err(Error::io(&self.path, "sync the bucket"))
    }
}

/// The name of a bucket's file.
pub(crate) fn file_name(id: BucketId) -> String {
    format!("{id}.sdb")
}
