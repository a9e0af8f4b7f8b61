//! OPEN and END records: how streams become records of shared blocks and blocks of their own.

use streamdb_types::{BlockPlace, BucketId, Direction, FrameNumber, Reason, StreamOffset};

use super::bucket_file::{BlockRef, CutBlock, CutEnd};
use super::buffer::LONG_MIN;
use super::track::{ConnTrack, RefChunk, StreamTrack};
use super::writer::Writer;
use crate::error::Result;
use crate::format::block::BlockKind;
use crate::format::directory::EndEntry;
use crate::format::record::{self, CHUNK_ENTRY, Chunk, LIST_AT, PEER_AT, PREV_AT, RECORD_HEADER, Standing, StreamHead};

/// A part of at most this many bytes may be written in one piece beside its END.
const INLINE_MAX: u64 = 64 << 10;
/// A part that was published in more chunks than this is written once more, in one piece.
const CHUNKS_BEFORE_REWRITE: usize = 4;
/// The most chunks that an END lists itself.
const CHUNKS_IN_END: usize = 3000;
/// The most datagrams of a part that is written in one piece.
const INLINE_DATAGRAMS: usize = 1024;

impl Writer {
    /// Writes OPENs for the directions that have bytes to write, or no record in this bucket yet.
    pub(super) fn emit_opens(&mut self, slot: u32) -> Result<()> {
        for direction in Direction::BOTH {
            let due = self.stream(slot, direction).is_some_and(|s| {
                s.in_bucket
                    && (!s.buffer.unflushed().is_empty() || !s.datagrams.is_empty() || s.newest == BlockRef::NONE)
            });
            if due {
                self.emit_open(slot, direction)?;
            }
        }
        Ok(())
    }

    /// Writes an OPEN with the bytes that are not in a block yet: into the shared block, or as a block of its own.
    pub(super) fn emit_open(&mut self, slot: u32, direction: Direction) -> Result<()> {
        if self.stream(slot, direction).is_some_and(|s| s.fills_a_block()) {
            self.cut_shared_before_long(slot, direction)?;
        }
        let bucket = self.bucket.as_ref().map_or(BucketId(0), |b| b.id);
        let (first_time, last_time) = self.times();
        let Some(conn) = self.conns.get_mut(slot as usize).and_then(Option::as_mut) else { return Ok(()) };
        let ordinal = conn.ordinal;
        let mut head = head_of(conn, direction, Standing::Open);
        let stream = conn.stream(direction);
        let (offset, len) = (stream.buffer.unflushed_at(), stream.buffer.unflushed().len());
        stream.stored += len as u64;
        head.stored = stream.stored;
        head.body_offset = offset;
        head.length = head.length.max(offset.add(len as u64));
        stream.known.length = head.length;
        let mut table = Vec::new();
        record::put_datagrams(&mut table, head.first, &stream.datagrams);
        head.table_len = table.len() as u32;
        stream.keep_datagrams();
        let body_len = (len + table.len()) as u32;
        let at = if stream.fills_a_block() {
            head.gaps_cut = !stream.known.gaps.is_empty();
            if self.shared.holds(BlockRef(head.peer.0)) {
                head.peer = BlockPlace::NONE;
            }
            let (mut bytes, body_at) = stream.buffer.give();
            bytes.extend_from_slice(&table);
            self.scratch.clear();
            head.encode(&mut self.scratch, bucket, ordinal, &[], body_len);
            let at = body_at - self.scratch.len();
            if let Some(room) = bytes.get_mut(at..body_at) {
                room.copy_from_slice(&self.scratch);
            }
            let id = self.take_id();
            self.send(CutBlock {
                id,
                kind: BlockKind::Long,
                bytes,
                at,
                records: 1,
                first_frame: FrameNumber(0),
                first_time,
                last_time,
                references: [PREV_AT, PEER_AT].map(|field| (RECORD_HEADER + field) as u32).to_vec(),
            })?;
            BlockRef::new(id, 0)
        } else {
            let (gaps, all) = stream.gaps_to_tell();
            head.gaps_cut = !all;
            self.scratch.clear();
            head.encode(&mut self.scratch, bucket, ordinal, &gaps, body_len);
            self.scratch.extend_from_slice(stream.buffer.unflushed());
            self.scratch.extend_from_slice(&table);
            stream.buffer.set_flushed();
            self.push_scratch(&[PREV_AT, PEER_AT].map(|field| RECORD_HEADER + field))?
        };
        if let Some(stream) = self.stream(slot, direction) {
            stream.open = at;
            stream.newest = at;
            if len > 0 {
                stream.chunks.push(RefChunk { at, offset, len: len as u32 });
            }
        }
        Ok(())
    }

    /// Writes the ENDs of both directions, side by side in one block, so that each can name the other.
    pub(super) fn emit_ends(&mut self, slot: u32, standing: Standing) -> Result<()> {
        for direction in Direction::BOTH {
            self.prepare_end(slot, direction)?;
        }
        let bucket = self.bucket.as_ref().map_or(BucketId(0), |b| b.id);
        let Some(conn) = self.conns.get_mut(slot as usize).and_then(Option::as_mut) else { return Ok(()) };
        conn.standing = standing;
        conn.changed = false;
        let mut images: [Option<EndImage>; 2] = [None, None];
        for direction in Direction::BOTH {
            if direction.of(&conn.streams).in_bucket {
                *direction.of_mut(&mut images) = Some(end_image(conn, direction, standing, bucket));
            }
        }
        let room: usize = images.iter().flatten().map(|image| image.bytes.len() + 8).sum();
        if !self.shared.has_room(room) {
            self.cut_shared()?;
        }
        let mut written: [Option<BlockRef>; 2] = [None, None];
        for direction in Direction::BOTH {
            let Some(image) = direction.of_mut(&mut images).take() else { continue };
            let Some(bucket) = &mut self.bucket else { continue };
            let at = self.shared.push(&image.bytes, &image.references, &mut bucket.next_id);
            *direction.of_mut(&mut written) = Some(at);
            self.note_end(slot, direction, at, &image);
        }
        if let [Some(first), Some(second)] = written {
            self.shared.set_reference(first, PEER_AT, second);
            self.shared.set_reference(second, PEER_AT, first);
        }
        Ok(())
    }

    /// References go backwards: a long block is written before the shared block at hand, so that one is written first when
    /// the long block would name a record in it.
    fn cut_shared_before_long(&mut self, slot: u32, direction: Direction) -> Result<()> {
        let open = self.stream(slot, direction).map(|s| s.open);
        if open.is_some_and(|open| self.shared.holds(open)) { self.cut_shared() } else { Ok(()) }
    }

    /// Writes what an END cannot hold itself: bytes beyond the inline bound, and all but the last chunks of a long list.
    fn prepare_end(&mut self, slot: u32, direction: Direction) -> Result<()> {
        let Some(stream) = self.stream(slot, direction).filter(|s| s.in_bucket) else { return Ok(()) };
        if !stream.can_inline() && (!stream.buffer.unflushed().is_empty() || !stream.datagrams.is_empty()) {
            self.emit_open(slot, direction)?;
        }
        let Some(stream) = self.stream(slot, direction) else { return Ok(()) };
        stream.listed = (0, BlockRef::NONE);
        if stream.can_inline() || stream.chunks.len() <= CHUNKS_IN_END {
            return Ok(());
        }
        let ordinal = self.conns.get(slot as usize).and_then(Option::as_ref).map_or(0, |c| c.ordinal);
        let mut listed = (0, BlockRef::NONE);
        while let Some(stream) = self.stream(slot, direction).filter(|s| s.chunks.len() - listed.0 > CHUNKS_IN_END) {
            let chunks: Vec<Chunk> = stream
                .chunks
                .get(listed.0..listed.0 + CHUNKS_IN_END)
                .unwrap_or_default()
                .iter()
                .map(RefChunk::unresolved)
                .collect();
            self.scratch.clear();
            record::put_list(&mut self.scratch, ordinal, BlockPlace(listed.1.0), &chunks);
            let body = self.scratch.len() - chunks.len() * CHUNK_ENTRY;
            let references: Vec<usize> =
                std::iter::once(RECORD_HEADER).chain((0..chunks.len()).map(|i| body + i * CHUNK_ENTRY)).collect();
            listed = (listed.0 + CHUNKS_IN_END, self.push_scratch(&references)?);
        }
        if let Some(stream) = self.stream(slot, direction) {
            stream.listed = listed;
        }
        Ok(())
    }

    /// Enters an END into the bucket's list and into what is known of the stream.
    fn note_end(&mut self, slot: u32, direction: Direction, at: BlockRef, image: &EndImage) {
        let Some(conn) = self.conns.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        let entry =
            EndEntry { key: conn.key, conn: conn.ordinal, direction, place: BlockPlace::NONE, length: image.length.0 };
        let stream = conn.stream(direction);
        stream.newest = at;
        // Should there be more, its OPENs lead back to here and no further.
        stream.open = at;
        if let Some((offset, len)) = image.inline {
            stream.chunks.clear();
            stream.chunks.extend((len > 0).then_some(RefChunk { at, offset, len }));
            stream.stored = len.into();
            stream.keep_datagrams();
            stream.buffer.set_flushed();
        }
        let Some(bucket) = &mut self.bucket else { return };
        match stream.end.and_then(|end| bucket.ends.get_mut(end)) {
            Some(end) => *end = CutEnd { entry, at },
            None => {
                stream.end = Some(bucket.ends.len());
                bucket.ends.push(CutEnd { entry, at });
            }
        }
    }
}

impl StreamTrack {
    /// Whether what is not in a block yet becomes a block of its own.
    fn fills_a_block(&self) -> bool {
        self.buffer.is_large() && self.buffer.unflushed().len() >= LONG_MIN
    }

    /// Whether END can hold the whole part in one piece, and should.
    fn can_inline(&self) -> bool {
        let whole = self.buffer.all().len() as u64;
        let rewritten = self.chunks.is_empty() || self.chunks.len() > CHUNKS_BEFORE_REWRITE;
        let in_memory = self.stored + self.buffer.unflushed().len() as u64 == whole;
        let ordered = self.chunks.is_sorted_by(|a, b| a.end() == b.offset)
            && self.chunks.first().is_none_or(|c| c.offset == self.buffer.start());
        let datagrams = self.written_datagrams.len() + self.datagrams.len();
        rewritten && in_memory && ordered && whole <= INLINE_MAX && datagrams <= INLINE_DATAGRAMS
    }

    /// The datagrams of the bytes that were just written; kept as long as the part may be written in one piece.
    fn keep_datagrams(&mut self) {
        self.written_datagrams.append(&mut self.datagrams);
        // One more than the bound is enough to know that it was passed.
        self.written_datagrams.truncate(INLINE_DATAGRAMS + 1);
    }
}

/// An END, ready to be put into a block.
struct EndImage {
    bytes: Vec<u8>,
    /// Where in it there are places to be resolved.
    references: Vec<usize>,
    length: StreamOffset,
    /// The bytes that it holds itself.
    inline: Option<(StreamOffset, u32)>,
}

fn end_image(conn: &mut ConnTrack, direction: Direction, standing: Standing, bucket: BucketId) -> EndImage {
    let ordinal = conn.ordinal;
    let mut head = head_of(conn, direction, standing);
    let stream = conn.stream(direction);
    if stream.known.limited && matches!(standing, Standing::Ended(_)) {
        head.standing = Standing::Ended(Reason::SizeCutoff);
    }
    let gaps = stream.gaps_of_part();
    let mut bytes = Vec::with_capacity(256);
    let mut references = vec![RECORD_HEADER + PREV_AT, RECORD_HEADER + PEER_AT];
    let inline = stream.can_inline();
    if inline {
        let body = stream.buffer.all();
        let mut table = Vec::new();
        let mut datagrams = stream.written_datagrams.clone();
        datagrams.extend_from_slice(&stream.datagrams);
        record::put_datagrams(&mut table, head.first, &datagrams);
        head.body_offset = stream.buffer.start();
        head.table_len = table.len() as u32;
        head.stored = body.len() as u64;
        head.length = head.length.max(stream.buffer.end());
        head.encode(&mut bytes, bucket, ordinal, &gaps, (body.len() + table.len()) as u32);
        bytes.extend_from_slice(body);
        bytes.extend_from_slice(&table);
    } else {
        head.chunked = true;
        head.stored = stream.stored;
        head.length = stream.chunks.iter().map(RefChunk::end).fold(head.length, Ord::max);
        head.list = BlockPlace(stream.listed.1.0);
        references.push(RECORD_HEADER + LIST_AT);
        let own = stream.chunks.get(stream.listed.0..).unwrap_or_default();
        head.encode(&mut bytes, bucket, ordinal, &gaps, (own.len() * CHUNK_ENTRY) as u32);
        for chunk in own {
            references.push(bytes.len());
            chunk.unresolved().put(&mut bytes);
        }
    }
    let body = (stream.buffer.start(), stream.buffer.all().len() as u32);
    EndImage { bytes, references, length: head.length, inline: inline.then_some(body) }
}

/// The head of a stream's next record; what depends on the record's body is filled in by the caller.
fn head_of(conn: &ConnTrack, direction: Direction, standing: Standing) -> StreamHead {
    let stream = direction.of(&conn.streams);
    let peer = direction.flip().of(&conn.streams);
    let known = &stream.known;
    // Before its first checkpoint a stream is known by its connection alone.
    let first = if known.packets == 0 { conn.opened } else { known.first };
    let span = if conn.first_frame > conn.last_frame { 0 } else { conn.last_frame.0 - conn.first_frame.0 + 1 };
    StreamHead {
        prev: BlockPlace(stream.open.0),
        peer: BlockPlace(peer.newest.0),
        list: BlockPlace::NONE,
        key: conn.key,
        direction,
        tuple: conn.tuple,
        path: conn.path,
        part: stream.part,
        base: stream.base,
        previous_bucket: stream.previous_bucket,
        first,
        last: known.last.max(first),
        length: known.length,
        stored: 0,
        packets: known.packets,
        marks: known.marks,
        frames: (if span == 0 { FrameNumber(0) } else { conn.first_frame }, span),
        standing,
        body_offset: StreamOffset(0),
        table_len: 0,
        chunked: false,
        gaps_cut: false,
    }
}
