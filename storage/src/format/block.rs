//! Block headers: 64 bytes before the stored bytes of each block.

use crc32fast::Hasher;
use streamdb_types::{BucketId, FrameNumber, Timestamp};

use super::FORMAT_VERSION;
use super::bytes::{Reader, align64};

/// Bytes of a block header.
pub(crate) const HEADER_LEN: usize = 64;
/// The most uncompressed bytes of a shared or directory block.
pub(crate) const SHARED_MAX: usize = 256 << 10;
/// The most uncompressed bytes of a long or journal block.
pub(crate) const LONG_MAX: usize = 1 << 20;

const MAGIC: u32 = u32::from_le_bytes(*b"SDBK");

/// What is in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum BlockKind {
    /// Records of many streams.
    Shared = 1,
    /// One record with many bytes.
    Long = 2,
    /// Frames.
    Journal = 3,
    /// The table of contents.
    Directory = 4,
}

impl BlockKind {
    pub(crate) const fn from_u8(n: u8) -> Option<Self> {
        Some(match n {
            1 => Self::Shared,
            2 => Self::Long,
            3 => Self::Journal,
            4 => Self::Directory,
            _ => return None,
        })
    }

    /// The most uncompressed bytes that a block of this kind has.
    pub(crate) const fn max_raw(self) -> usize {
        match self {
            Self::Shared | Self::Directory => SHARED_MAX,
            Self::Long | Self::Journal => LONG_MAX,
        }
    }

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Long => "long",
            Self::Journal => "journal",
            Self::Directory => "directory",
        }
    }
}

/// How a block's bytes are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Codec {
    Raw = 0,
    Zstd = 1,
}

/// A header whose own checksum, magic, version and lengths are right: the only kind there is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    pub(crate) kind: BlockKind,
    pub(crate) codec: Codec,
    /// From 1 on, in the order of the file.
    pub(crate) number: u32,
    pub(crate) stored_len: u32,
    pub(crate) raw_len: u32,
    /// Bytes from the start of the block before this one to the start of this one; 0 for the first.
    pub(crate) prev_len: u32,
    /// Times of the frames that the block is about.
    pub(crate) first_time: Timestamp,
    pub(crate) last_time: Timestamp,
    /// Records, or frames of a journal block.
    pub(crate) records: u32,
    /// The first frame of a journal block; 0 for others.
    pub(crate) first_frame: FrameNumber,
    /// crc32 of the stored bytes.
    pub(crate) payload_crc: u32,
}

/// Why 64 bytes are no header of a block at that place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderProblem {
    /// No magic: nothing was written here, or something else.
    NoBlock,
    /// The checksum over the header, its position and its bucket does not fit.
    Checksum,
    /// A version that this program does not read.
    Version(u16),
    /// The checksum fits, and yet a field is impossible.
    Impossible,
}

impl BlockHeader {
    /// Bytes from the start of this block to the start of the next.
    pub(crate) const fn span(&self) -> u64 {
        align64(HEADER_LEN as u64 + self.stored_len as u64)
    }

    pub(crate) fn encode(&self, bucket: BucketId, position: u64) -> [u8; HEADER_LEN] {
        let mut out = Vec::with_capacity(HEADER_LEN);
        out.extend(MAGIC.to_le_bytes());
        out.extend([self.kind as u8, self.codec as u8]);
        out.extend(FORMAT_VERSION.to_le_bytes());
        out.extend(self.number.to_le_bytes());
        out.extend(self.stored_len.to_le_bytes());
        out.extend(self.raw_len.to_le_bytes());
        out.extend(self.prev_len.to_le_bytes());
        out.extend(self.first_time.0.to_le_bytes());
        out.extend(self.last_time.0.to_le_bytes());
        out.extend(self.records.to_le_bytes());
        out.extend((bucket.0 as u32).to_le_bytes());
        out.extend(self.first_frame.0.to_le_bytes());
        out.extend(self.payload_crc.to_le_bytes());
        let crc = header_crc(&out, bucket, position);
        out.extend(crc.to_le_bytes());
        let mut header = [0; HEADER_LEN];
        header.copy_from_slice(&out);
        header
    }

    pub(crate) fn decode(bytes: &[u8; HEADER_LEN], bucket: BucketId, position: u64) -> Result<Self, HeaderProblem> {
        let mut r = Reader(bytes);
        let fields = || -> Result<_, super::bytes::Short> {
            let magic = r.u32()?;
            let (kind, codec, version) = (r.u8()?, r.u8()?, r.u16()?);
            let (number, stored_len, raw_len, prev_len) = (r.u32()?, r.u32()?, r.u32()?, r.u32()?);
            let (first_time, last_time) = (Timestamp(r.i64()?), Timestamp(r.i64()?));
            let (records, bucket_low) = (r.u32()?, r.u32()?);
            let first_frame = FrameNumber(r.u64()?);
            let (payload_crc, crc) = (r.u32()?, r.u32()?);
            let rest =
                (number, stored_len, raw_len, prev_len, first_time, last_time, records, first_frame, payload_crc);
            Ok((magic, kind, codec, version, bucket_low, crc, rest))
        };
        let mut fields = fields;
        let (magic, kind, codec, version, bucket_low, crc, rest) = fields().map_err(|_| HeaderProblem::NoBlock)?;
        if magic != MAGIC {
            return Err(HeaderProblem::NoBlock);
        }
        let [covered @ .., _, _, _, _] = bytes;
        if crc != header_crc(covered, bucket, position) || bucket_low != bucket.0 as u32 {
            return Err(HeaderProblem::Checksum);
        }
        if version != FORMAT_VERSION {
            return Err(HeaderProblem::Version(version));
        }
        let (number, stored_len, raw_len, prev_len, first_time, last_time, records, first_frame, payload_crc) = rest;
        let kind = BlockKind::from_u8(kind).ok_or(HeaderProblem::Impossible)?;
        let codec = match codec {
            0 => Codec::Raw,
            1 => Codec::Zstd,
            _ => return Err(HeaderProblem::Impossible),
        };
        let lengths_fit = raw_len as usize <= kind.max_raw()
            && match codec {
                Codec::Raw => stored_len == raw_len,
                Codec::Zstd => stored_len < raw_len,
            };
        if !lengths_fit || number == 0 {
            return Err(HeaderProblem::Impossible);
        }
        Ok(Self {
            kind,
            codec,
            number,
            stored_len,
            raw_len,
            prev_len,
            first_time,
            last_time,
            records,
            first_frame,
            payload_crc,
        })
    }
}

/// Covers the header, and where it stands: a block copied elsewhere, or left over from another bucket, does not fit.
fn header_crc(covered: &[u8], bucket: BucketId, position: u64) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(covered);
    hasher.update(&position.to_le_bytes());
    hasher.update(&bucket.0.to_le_bytes());
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> BlockHeader {
        BlockHeader {
            kind: BlockKind::Journal,
            codec: Codec::Zstd,
            number: 7,
            stored_len: 100,
            raw_len: 1000,
            prev_len: 4096,
            first_time: Timestamp(-5),
            last_time: Timestamp(6),
            records: 12,
            first_frame: FrameNumber(99),
            payload_crc: 0xdead_beef,
        }
    }

    #[test]
    fn a_header_is_only_right_in_its_place() {
        let id = BucketId(1 << 32 | 3);
        let bytes = header().encode(id, 4096);
        assert_eq!(BlockHeader::decode(&bytes, id, 4096), Ok(header()));
        assert_eq!(BlockHeader::decode(&bytes, id, 4160), Err(HeaderProblem::Checksum));
        assert_eq!(BlockHeader::decode(&bytes, BucketId(3), 4096), Err(HeaderProblem::Checksum));
        assert_eq!(BlockHeader::decode(&[0; 64], id, 4096), Err(HeaderProblem::NoBlock));
    }

    #[test]
    fn no_flipped_bit_passes() {
        let id = BucketId(9);
        let good = header().encode(id, 64);
        for bit in 0..HEADER_LEN * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(BlockHeader::decode(&bad, id, 64).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn impossible_lengths_are_refused() {
        let id = BucketId(9);
        for bad in [
            BlockHeader { raw_len: LONG_MAX as u32 + 1, ..header() },
            BlockHeader { stored_len: 1001, ..header() },
            BlockHeader { codec: Codec::Raw, ..header() },
            BlockHeader { number: 0, ..header() },
            BlockHeader { kind: BlockKind::Shared, raw_len: SHARED_MAX as u32 + 8, ..header() },
        ] {
            assert_eq!(BlockHeader::decode(&bad.encode(id, 64), id, 64), Err(HeaderProblem::Impossible), "{bad:?}");
        }
    }
}
