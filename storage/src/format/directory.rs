//! The table of contents that a sealed bucket ends with.

use streamdb_types::{BlockPlace, BucketId, ConnKey, Counters, Direction, FrameNumber, Timestamp};

use super::block::{BlockHeader, BlockKind, HEADER_LEN, SHARED_MAX};
use super::bytes::{Reader, Short, put_varint};
use super::superblock::SUPERBLOCK_LEN;

const MAGIC: &[u8; 8] = b"SDBDIR01";
const BLOCK_ENTRY: usize = 40;
const END_ENTRY: usize = 40;

const FIXED: usize = 32;
/// The fewest bytes of a stream's record.
const MIN_RECORD: usize = 80;
/// The most notes, and the most counters that are read.
const MAX_NOTES: u64 = 1 << 17;
const MAX_COUNTERS: u64 = 1024;
/// The most bytes of a directory.
const MAX_BYTES: u64 = 256 << 20;

/// One block, as the directory lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockEntry {
    pub(crate) position: u64,
    pub(crate) kind: BlockKind,
    pub(crate) raw_len: u32,
    pub(crate) records: u32,
    pub(crate) first_frame: FrameNumber,
    pub(crate) first_time: Timestamp,
    pub(crate) last_time: Timestamp,
}

impl BlockEntry {
    pub(crate) const fn of(header: &BlockHeader, position: u64) -> Self {
        Self {
            position,
            kind: header.kind,
            raw_len: header.raw_len,
            records: header.records,
            first_frame: header.first_frame,
            first_time: header.first_time,
            last_time: header.last_time,
        }
    }
}

/// One stream's END: the last one, should there be several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndEntry {
    pub(crate) key: ConnKey,
    pub(crate) conn: u32,
    pub(crate) direction: Direction,
    pub(crate) place: BlockPlace,
    pub(crate) length: u64,
}

/// Everything that the directory says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) blocks: Vec<BlockEntry>,
    /// Ascending by key and direction.
    pub(crate) ends: Vec<EndEntry>,
    /// Records of no stream: interfaces, secrets, names, losses; in the order of the file.
    pub(crate) notes: Vec<BlockPlace>,
    pub(crate) connections: u32,
    pub(crate) frames: u64,
    pub(crate) counters: Counters,
    /// Written by recovery, not by the writer: what came after the cut is not there.
    pub(crate) recovered: bool,
}

impl Directory {
    /// The uncompressed bytes, to be cut into directory blocks.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.blocks.len() * BLOCK_ENTRY + self.ends.len() * END_ENTRY);
        out.extend(MAGIC);
        out.extend((self.blocks.len() as u32).to_le_bytes());
        out.extend((self.ends.len() as u32).to_le_bytes());
        out.extend(self.connections.to_le_bytes());
        out.extend(u32::from(self.recovered).to_le_bytes());
        out.extend(self.frames.to_le_bytes());
        for block in &self.blocks {
            out.extend(block.position.to_le_bytes());
            out.extend((u32::from(block.kind as u8) << 24 | (block.raw_len & 0x00ff_ffff)).to_le_bytes());
            out.extend(block.records.to_le_bytes());
            out.extend(block.first_frame.0.to_le_bytes());
            out.extend(block.first_time.0.to_le_bytes());
            out.extend(block.last_time.0.to_le_bytes());
        }
        for end in &self.ends {
            out.extend(end.key.bucket.0.to_le_bytes());
            out.extend(end.key.number.to_le_bytes());
            out.extend(end.conn.to_le_bytes());
            out.extend(end.place.0.to_le_bytes());
            out.extend(end.length.to_le_bytes());
            out.extend((end.direction as u64).to_le_bytes());
        }
        put_varint(&mut out, self.notes.len() as u64);
        for place in &self.notes {
            out.extend(place.0.to_le_bytes());
        }
        let values: Vec<u64> = self.counters.values().collect();
        put_varint(&mut out, values.len() as u64);
        for value in values {
            put_varint(&mut out, value);
        }
        out
    }

    /// How many bytes the directory with this beginning may have, in a bucket with so many bytes before it: its counts are
    /// not more than what can be there.
    pub(crate) fn most_bytes(beginning: &[u8], before: u64) -> Result<u64, Short> {
        let mut r = Reader(beginning);
        if r.take(8)? != MAGIC {
            return Err(Short);
        }
        let (blocks, ends) = (u64::from(r.u32()?), u64::from(r.u32()?));
        let most_blocks = before.saturating_sub(SUPERBLOCK_LEN as u64) / HEADER_LEN as u64;
        if blocks > most_blocks || ends > blocks * (SHARED_MAX / MIN_RECORD) as u64 {
            return Err(Short);
        }
        let rest = FIXED as u64 + 10 + 8 * MAX_NOTES + 10 + 10 * MAX_COUNTERS;
        Ok(MAX_BYTES.min(blocks * BLOCK_ENTRY as u64 + ends * END_ENTRY as u64 + rest))
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Short> {
        let mut r = Reader(bytes);
        if r.take(8)? != MAGIC {
            return Err(Short);
        }
        let (blocks, ends, connections, recovered) = (r.u32()?, r.u32()?, r.u32()?, r.u32()?);
        let frames = r.u64()?;
        let mut table = Reader(r.take((blocks as usize).checked_mul(BLOCK_ENTRY).ok_or(Short)?)?);
        let mut all_blocks = Vec::with_capacity(blocks as usize);
        for _ in 0..blocks {
            let position = table.u64()?;
            let kind_len = table.u32()?;
            let kind = BlockKind::from_u8((kind_len >> 24) as u8).ok_or(Short)?;
            all_blocks.push(BlockEntry {
                position,
                kind,
                raw_len: kind_len & 0x00ff_ffff,
                records: table.u32()?,
                first_frame: FrameNumber(table.u64()?),
                first_time: Timestamp(table.i64()?),
                last_time: Timestamp(table.i64()?),
            });
        }
        let mut table = Reader(r.take((ends as usize).checked_mul(END_ENTRY).ok_or(Short)?)?);
        let mut all_ends = Vec::with_capacity(ends as usize);
        for _ in 0..ends {
            let key = ConnKey { bucket: BucketId(table.u64()?), number: table.u32()? };
            let conn = table.u32()?;
            let place = BlockPlace(table.u64()?);
            let length = table.u64()?;
            let direction = Direction::from_bit(table.u64()? as u8);
            all_ends.push(EndEntry { key, conn, direction, place, length });
        }
        if !all_ends.is_sorted_by_key(|e| (e.key, e.direction)) || !all_blocks.is_sorted_by_key(|b| b.position) {
            return Err(Short);
        }
        let mut notes = Vec::new();
        let count = r.varint()?;
        if count > MAX_NOTES {
            return Err(Short);
        }
        for _ in 0..count {
            notes.push(BlockPlace(r.u64()?));
        }
        let mut values = Vec::new();
        for _ in 0..r.varint()?.min(MAX_COUNTERS) {
            values.push(r.varint()?);
        }
        let counters = Counters::from_values(values);
        let recovered = recovered != 0;
        Ok(Self { blocks: all_blocks, ends: all_ends, notes, connections, frames, counters, recovered })
    }

    /// The END of a stream.
    pub(crate) fn find(&self, key: ConnKey, direction: Direction) -> Option<&EndEntry> {
        let at = self.ends.binary_search_by_key(&(key, direction), |e| (e.key, e.direction)).ok()?;
        self.ends.get(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn directory() -> Directory {
        let end = |number, direction| EndEntry {
            key: ConnKey { bucket: BucketId(1), number },
            conn: number,
            direction,
            place: BlockPlace(u64::from(number) + 9),
            length: 7,
        };
        let block = |position, kind| BlockEntry {
            position,
            kind,
            raw_len: 0x10_0000,
            records: 3,
            first_frame: FrameNumber(4),
            first_time: Timestamp(-1),
            last_time: Timestamp(5),
        };
        Directory {
            blocks: vec![block(4096, BlockKind::Long), block(8192, BlockKind::Journal)],
            ends: vec![end(0, Direction::ToServer), end(0, Direction::ToClient), end(4, Direction::ToClient)],
            notes: vec![BlockPlace(77)],
            connections: 5,
            frames: 12,
            counters: Counters { frames: 12, ..Counters::default() },
            recovered: true,
        }
    }

    #[test]
    fn directories_go_there_and_back() {
        let bytes = directory().encode();
        assert_eq!(Directory::decode(&bytes), Ok(directory()));
        for cut in 0..bytes.len() {
            assert!(Directory::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        let key = ConnKey { bucket: BucketId(1), number: 4 };
        assert_eq!(directory().find(key, Direction::ToClient), Some(&directory().ends[2]));
        assert_eq!(directory().find(key, Direction::ToServer), None);
    }

    #[test]
    fn no_more_is_read_than_there_can_be() {
        let bytes = directory().encode();
        let before = 4096 + 2 * 64;
        assert!(Directory::most_bytes(&bytes, before).is_ok_and(|most| bytes.len() as u64 <= most && most < 2 << 20));
        assert_eq!(Directory::most_bytes(&bytes, before - 1), Err(Short), "two blocks have no room there");
        let mut many = bytes.clone();
        many[12..16].copy_from_slice(&7000u32.to_le_bytes());
        assert_eq!(Directory::most_bytes(&many, before), Err(Short), "two blocks do not hold 7000 records");
        many[8..16].copy_from_slice(&[0xff; 8]);
        assert_eq!(Directory::most_bytes(&many, 1 << 30), Err(Short));
        assert!(Directory::most_bytes(&many, u64::MAX).is_ok_and(|most| most == MAX_BYTES));
    }

    proptest! {
        #[test]
        fn hostile_directories_end(at in 0usize..300, byte: u8) {
            let mut bytes = directory().encode();
            if let Some(b) = bytes.get_mut(at) {
                *b = byte;
            }
            let _ = Directory::decode(&bytes).map(|d| d.ends.len());
        }
    }
}
