//! The first 4096 bytes of a bucket, written once, and the last 64 of a sealed one.

use streamdb_types::{BucketId, Timestamp};

use super::FORMAT_VERSION;
use super::bytes::Reader;

/// Bytes of the superblock: the first block begins here.
pub(crate) const SUPERBLOCK_LEN: usize = 4096;
/// Bytes of the trailer.
pub(crate) const TRAILER_LEN: usize = 64;

const MAGIC: &[u8; 8] = b"SDBUCKT1";
const TRAILER_MAGIC: &[u8; 8] = b"SDBSEAL1";

/// What a bucket says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Its id.
    pub id: BucketId,
    /// The worker that wrote it.
    pub worker: u16,
    /// The time window that it was opened for.
    pub window_start: Timestamp,
    /// The end of that window: frames of this time and later belong to another bucket.
    pub window_end: Timestamp,
}

/// Why a file does not begin like a bucket of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SuperblockProblem {
    NoBucket,
    Checksum,
    Version(u16),
}

impl Superblock {
    /// The bytes that a bucket begins with.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SUPERBLOCK_LEN);
        out.extend(MAGIC);
        out.extend(FORMAT_VERSION.to_le_bytes());
        out.extend(self.worker.to_le_bytes());
        out.extend((SUPERBLOCK_LEN as u32).to_le_bytes());
        out.extend(self.id.0.to_le_bytes());
        out.extend(self.window_start.0.to_le_bytes());
        out.extend(self.window_end.0.to_le_bytes());
        out.resize(SUPERBLOCK_LEN - 4, 0);
        let crc = crc32fast::hash(&out);
        out.extend(crc.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, SuperblockProblem> {
        let bytes = bytes.get(..SUPERBLOCK_LEN).ok_or(SuperblockProblem::NoBucket)?;
        let mut r = Reader(bytes);
        if r.take(8) != Ok(MAGIC) {
            return Err(SuperblockProblem::NoBucket);
        }
        let (covered, crc) = bytes.split_last_chunk::<4>().ok_or(SuperblockProblem::NoBucket)?;
        if crc32fast::hash(covered) != u32::from_le_bytes(*crc) {
            return Err(SuperblockProblem::Checksum);
        }
        let mut fields = || -> Result<_, super::bytes::Short> {
            let (version, worker, _len) = (r.u16()?, r.u16()?, r.u32()?);
            let id = BucketId(r.u64()?);
            Ok((version, Self { id, worker, window_start: Timestamp(r.i64()?), window_end: Timestamp(r.i64()?) }))
        };
        let (version, superblock) = fields().map_err(|_| SuperblockProblem::NoBucket)?;
        if version == FORMAT_VERSION { Ok(superblock) } else { Err(SuperblockProblem::Version(version)) }
    }
}

/// The last 64 bytes of a sealed bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    /// Where the first directory block begins.
    pub(crate) directory: u64,
    /// Directory blocks, one after the other.
    pub(crate) directory_blocks: u32,
    /// All blocks, the directory's included.
    pub(crate) blocks: u32,
    /// Bytes of the file before the trailer.
    pub(crate) end: u64,
    /// crc32 of all block headers in order.
    pub(crate) headers_crc: u32,
}

impl Trailer {
    pub(crate) fn encode(&self, bucket: BucketId) -> [u8; TRAILER_LEN] {
        let mut out = Vec::with_capacity(TRAILER_LEN);
        out.extend(TRAILER_MAGIC);
        out.extend(bucket.0.to_le_bytes());
        out.extend(self.directory.to_le_bytes());
        out.extend(self.end.to_le_bytes());
        out.extend(self.directory_blocks.to_le_bytes());
        out.extend(self.blocks.to_le_bytes());
        out.extend(self.headers_crc.to_le_bytes());
        out.resize(TRAILER_LEN - 4, 0);
        let crc = crc32fast::hash(&out);
        out.extend(crc.to_le_bytes());
        let mut trailer = [0; TRAILER_LEN];
        trailer.copy_from_slice(&out);
        trailer
    }

    /// The trailer, if these are the bytes of one of this bucket.
    pub(crate) fn decode(bytes: &[u8], bucket: BucketId) -> Option<Self> {
        let (covered, crc) = bytes.split_last_chunk::<4>()?;
        if bytes.len() != TRAILER_LEN || crc32fast::hash(covered) != u32::from_le_bytes(*crc) {
            return None;
        }
        let mut r = Reader(bytes);
        let mut fields = || -> Result<_, super::bytes::Short> {
            let magic = r.take(8)?;
            let id = BucketId(r.u64()?);
            let (directory, end) = (r.u64()?, r.u64()?);
            let (directory_blocks, blocks, headers_crc) = (r.u32()?, r.u32()?, r.u32()?);
            Ok((magic, id, Self { directory, directory_blocks, blocks, end, headers_crc }))
        };
        let (magic, id, trailer) = fields().ok()?;
        (magic == TRAILER_MAGIC && id == bucket).then_some(trailer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn superblocks_go_there_and_back() {
        let superblock = Superblock {
            id: BucketId(1 << 32 | 5),
            worker: 2,
            window_start: Timestamp(-1),
            window_end: Timestamp(300),
        };
        let bytes = superblock.encode();
        assert_eq!(bytes.len(), SUPERBLOCK_LEN);
        assert_eq!(Superblock::decode(&bytes), Ok(superblock));
        for at in [8, 20, 4000, 4095] {
            let mut bad = bytes.clone();
            bad[at] ^= 4;
            assert_eq!(Superblock::decode(&bad), Err(SuperblockProblem::Checksum));
        }
        assert_eq!(Superblock::decode(&bytes[..4095]), Err(SuperblockProblem::NoBucket));
        assert_eq!(Superblock::decode(&[0; SUPERBLOCK_LEN]), Err(SuperblockProblem::NoBucket));
    }

    #[test]
    fn trailers_go_there_and_back() {
        let trailer = Trailer { directory: 8192, directory_blocks: 2, blocks: 11, end: 9000, headers_crc: 77 };
        let bytes = trailer.encode(BucketId(5));
        assert_eq!(Trailer::decode(&bytes, BucketId(5)), Some(trailer));
        assert_eq!(Trailer::decode(&bytes, BucketId(6)), None);
        assert_eq!(Trailer::decode(&bytes[1..], BucketId(5)), None);
    }
}
