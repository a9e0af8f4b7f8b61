//! Cutting what has come together into blocks, and sending them on their way.

use streamdb_types::{FrameNumber, Timestamp};

use super::bucket_file::{BlockRef, Compression, CutBlock};
use super::track::ConnTrack;
use super::trouble::Held;
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::format::block::{BlockKind, HEADER_LEN};

/// Rows are written at the latest when there are this many: with each commit the streams at hand get a record, which costs
/// room; and the more rows, the more memory is gone through.
pub(super) const fn max_rows(compression: Compression) -> usize {
    match compression {
        Compression::Full => 1 << 16,
        Compression::Fast => 1 << 15,
    }
}
/// Or when there are this many bytes of them.
const MAX_ROW_BYTES: usize = 16 << 20;
/// A journal block ends at about this many bytes.
const JOURNAL_TARGET: usize = 256 << 10;
/// No frame came yet: the first and last time.
pub(super) const NO_SPAN: (Timestamp, Timestamp) = (Timestamp(i64::MAX), Timestamp(i64::MIN));

impl Writer {
    /// Whether so much has come together that a flush and a [`commit`](Self::commit) are due before the next tick.
    pub fn wants_commit(&self) -> bool {
        self.bucket_is_full()
            || self.rows.len() >= max_rows(self.config.compression)
            || self.rows.bytes() >= MAX_ROW_BYTES
            || self.unflushed >= self.config.stream_memory / 4
    }

    /// Bytes of streams that are not in a block yet, as far as they were given since the last commit.
    pub const fn waiting(&self) -> usize {
        self.unflushed
    }

    /// Cuts everything at hand into blocks and has it published. All that was held back has been given before.
    ///
    /// # Errors
    /// When the store thread is gone.
    pub fn commit(&mut self) -> Result<()> {
        self.cut_shared()?;
        self.cut_journal()?;
        self.unflushed = 0;
        self.bound_memory();
        let (_, last) = self.times();
        if let Some(bucket) = &mut self.bucket {
            bucket.last_time = last;
            self.pipeline.publish(Held { frames: bucket.frames, payload: bucket.payload }, last)?;
        }
        self.span = NO_SPAN;
        Ok(())
    }

    /// Puts the record in `scratch` into the shared block.
    pub(super) fn push_scratch(&mut self, references: &[usize]) -> Result<BlockRef> {
        if !self.shared.has_room(self.scratch.len()) {
            self.cut_shared()?;
        }
        let Some(bucket) = &mut self.bucket else { return Ok(BlockRef::NONE) };
        Ok(self.shared.push(&self.scratch, references, &mut bucket.next_id))
    }

    /// Puts the record in `scratch`, which is of no stream, into the shared block.
    pub(super) fn push_note(&mut self) -> Result<()> {
        let at = self.push_scratch(&[])?;
        if let Some(bucket) = &mut self.bucket {
            bucket.notes.push(at);
        }
        Ok(())
    }

    /// The id for a block that is cut at once.
    pub(super) fn take_id(&mut self) -> u32 {
        let Some(bucket) = &mut self.bucket else { return 0 };
        bucket.next_id += 1;
        bucket.next_id - 1
    }

    /// Sends the shared block on its way.
    pub(super) fn cut_shared(&mut self) -> Result<()> {
        if self.shared.is_empty() {
            return Ok(());
        }
        let (first, last) = self.times();
        let block = self.shared.cut(first, last);
        self.send(block)
    }

    /// Times of the frames since the last commit; when there was none, that of the last frame before it.
    pub(super) fn times(&self) -> (Timestamp, Timestamp) {
        let (first, last) = self.span;
        if first > last {
            let last = self.bucket.as_ref().map_or(Timestamp(0), |b| b.last_time);
            (last, last)
        } else {
            (first, last)
        }
    }

    pub(super) fn send(&mut self, block: CutBlock) -> Result<()> {
        if let Some(bucket) = &mut self.bucket {
            bucket.bytes += (block.bytes.len() - block.at + HEADER_LEN) as u64;
        }
        self.pipeline.block(block)
    }

    pub(super) fn cut_journal(&mut self) -> Result<()> {
        let (first_time, last_time) = self.times();
        let mut from = 0;
        while from < self.rows.len() {
            let first_frame = FrameNumber(self.bucket.as_ref().map_or(0, |b| b.frames));
            let mut bytes = Vec::with_capacity(HEADER_LEN + JOURNAL_TARGET + 4096);
            bytes.resize(HEADER_LEN, 0);
            let taken = self.encoder.encode(&self.rows, from, first_frame, JOURNAL_TARGET, &mut self.scratch);
            if taken == 0 {
                let what = "a frame's payload was neither placed nor kept";
                return Err(Error::io(self.folder.path(), "write the journal")(std::io::Error::other(what)));
            }
            bytes.extend_from_slice(&self.scratch);
            from += taken;
            if let Some(bucket) = &mut self.bucket {
                bucket.frames += taken as u64;
            }
            let id = self.take_id();
            self.send(CutBlock {
                id,
                kind: BlockKind::Journal,
                bytes,
                at: HEADER_LEN,
                records: taken as u32,
                first_frame,
                first_time,
                last_time,
                references: Vec::new(),
            })?;
        }
        self.first_row += self.rows.len() as u64;
        self.rows.clear();
        Ok(())
    }

    /// Lets go of written bytes when all streams together hold more than they may.
    pub(super) fn bound_memory(&mut self) {
        let streams = |conns: &[Option<Box<ConnTrack>>]| -> usize {
            conns.iter().flatten().flat_map(|c| &c.streams).map(|s| s.buffer.footprint()).sum()
        };
        if streams(&self.conns) > self.config.stream_memory {
            for stream in self.conns.iter_mut().flatten().flat_map(|c| &mut c.streams) {
                stream.buffer.forget();
            }
        }
    }
}
