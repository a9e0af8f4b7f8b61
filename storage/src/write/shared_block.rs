//! The block under construction that short streams share.

use streamdb_types::{FrameNumber, Timestamp};

use super::bucket_file::{BlockRef, CutBlock};
use crate::format::block::{BlockKind, HEADER_LEN, SHARED_MAX};
use crate::format::record::{RECORD_HEADER, pad};

/// Records that are collected until there is a block of them.
#[derive(Debug, Default)]
pub(crate) struct SharedBlock {
    id: u32,
    bytes: Vec<u8>,
    records: u32,
    references: Vec<u32>,
}

impl SharedBlock {
    pub(crate) const fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Whether this many more bytes of records fit.
    pub(crate) fn has_room(&self, more: usize) -> bool {
        self.bytes.len().saturating_sub(HEADER_LEN) + more + 16 <= SHARED_MAX
    }

    /// Whether a reference is to a record in here.
    pub(crate) const fn holds(&self, reference: BlockRef) -> bool {
        !self.is_empty() && reference.id() == self.id
    }

    /// Appends one record, given as its bytes, and says where it is. `references`: where in the record there are places to
    /// be resolved. `next_id` gives the block its id with its first record.
    pub(crate) fn push(&mut self, record: &[u8], references: &[usize], next_id: &mut u32) -> BlockRef {
        if self.bytes.is_empty() {
            self.id = *next_id;
            *next_id += 1;
            self.bytes.reserve(HEADER_LEN + SHARED_MAX + 64);
            self.bytes.resize(HEADER_LEN, 0);
        }
        pad(&mut self.bytes);
        let place = self.bytes.len() - HEADER_LEN;
        self.bytes.extend_from_slice(record);
        self.records += 1;
        self.references.extend(references.iter().map(|at| (place + at) as u32));
        BlockRef::new(self.id, place)
    }

    /// Sets one of the places in the head of a stream's record that is in this block already and named that place as one
    /// to be resolved.
    pub(crate) fn set_reference(&mut self, record: BlockRef, field: usize, to: BlockRef) {
        let at = HEADER_LEN + record.place() + RECORD_HEADER + field;
        if let Some(room) = self.bytes.get_mut(at..).and_then(|b| b.first_chunk_mut::<8>()) {
            *room = to.0.to_le_bytes();
        }
    }

    /// Takes the block away.
    pub(crate) fn cut(&mut self, first_time: Timestamp, last_time: Timestamp) -> CutBlock {
        let Self { id, bytes, records, references } = std::mem::take(self);
        let (kind, at, first_frame) = (BlockKind::Shared, HEADER_LEN, FrameNumber(0));
        CutBlock { id, kind, bytes, at, records, first_frame, first_time, last_time, references }
    }
}
