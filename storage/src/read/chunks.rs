//! Where the bytes of one part of a stream are: from the record that an oid names, by its chunk list or backwards from one
//! OPEN to the one before.

use streamdb_types::{BlockPlace, StreamOffset};

use super::bucket::Bucket;
use crate::error::Result;
use crate::format::record::{Chunk, RecordKind, Standing, StreamHead};
use streamdb_types::Gap;

/// One part of a stream: what its record says, and where its bytes are.
pub(crate) struct Part {
    pub(crate) place: BlockPlace,
    pub(crate) head: StreamHead,
    pub(crate) gaps: Vec<Gap>,
    /// Ascending; they do not overlap.
    pub(crate) chunks: Vec<Chunk>,
}

impl Part {
    /// Reads the record at a place and follows it.
    pub(crate) fn read(bucket: &Bucket, place: BlockPlace) -> Result<Self> {
        let (head, mut gaps, mut chunks) = bucket.with_record(place, |record, _| {
            if !matches!(record.kind, RecordKind::Open | RecordKind::End) {
                return Err(bucket.no_record(place));
            }
            let (head, gaps) = record.stream(bucket.id()).map_err(|_| bucket.no_record(place))?;
            let chunks: Vec<Chunk> = if head.chunked {
                record.chunks().collect()
            } else {
                let len = record.bytes(&head).map_err(|_| bucket.no_record(place))?.len() as u32;
                (len > 0).then_some(Chunk { place, offset: head.body_offset, len }).into_iter().collect()
            };
            Ok((head, gaps, chunks))
        })?;
        follow_lists(bucket, head.list, place, &mut chunks)?;
        if head.standing == Standing::Open {
            follow_opens(bucket, &head, place, &mut chunks, &mut gaps)?;
            gaps.sort_by_key(|gap| gap.offset);
            gaps.dedup();
        }
        chunks.sort_by_key(|c| (c.offset, c.place));
        let whole = chunks.iter().zip(chunks.iter().skip(1)).all(|(a, b)| a.end() <= b.offset);
        if !whole || chunks.iter().any(|c| c.offset.0.checked_add(c.len.into()).is_none()) {
            return Err(bucket.damaged(place.position(), "the chunks of a stream overlap"));
        }
        Ok(Self { place, head, gaps, chunks })
    }
}

/// The most chunks of a part. Each has a record of its own, of about a hundred bytes.
const MAX_CHUNKS: u64 = 1 << 25;

/// A part cannot have more chunks than its file has bytes, whatever its lists decompress to.
fn enough(bucket: &Bucket, at: BlockPlace, count: usize) -> Result<()> {
    if count as u64 <= bucket.file_len().min(MAX_CHUNKS) {
        return Ok(());
    }
    Err(bucket.damaged(at.position(), "a stream lists more chunks than there can be"))
}

/// The pieces of a chunk list, each of which names the one before.
fn follow_lists(bucket: &Bucket, mut list: BlockPlace, mut before: BlockPlace, chunks: &mut Vec<Chunk>) -> Result<()> {
    while !list.is_none() {
        // References go backwards, so a ring of them cannot be.
        if list >= before {
            return Err(bucket.no_record(list));
        }
        before = list;
        list = bucket.with_record(list, |record, _| {
            if record.kind != RecordKind::List {
                return Err(bucket.no_record(before));
            }
            chunks.extend(record.chunks());
            enough(bucket, before, chunks.len())?;
            record.previous_list().map_err(|_| bucket.no_record(before))
        })?;
    }
    Ok(())
}

/// An open stream's bytes are in its OPENs, each of which names the record before, and so are its gaps. An END among those, written before more
/// frames came, says all that was there by then.
fn follow_opens(
    bucket: &Bucket,
    newest: &StreamHead,
    mut before: BlockPlace,
    chunks: &mut Vec<Chunk>,
    gaps: &mut Vec<Gap>,
) -> Result<()> {
    let mut at = newest.prev;
    while !at.is_none() {
        if at >= before {
            return Err(bucket.no_record(at));
        }
        before = at;
        let end = bucket.with_record(at, |record, _| {
            let (head, listed) = record.stream(bucket.id()).map_err(|_| bucket.no_record(before))?;
            if head.key != newest.key || head.direction != newest.direction {
                return Err(bucket.no_record(before));
            }
            let len = record.bytes(&head).map_err(|_| bucket.no_record(before))?.len() as u32;
            chunks.extend((len > 0).then_some(Chunk { place: before, offset: head.body_offset, len }));
            if head.chunked {
                chunks.extend(record.chunks());
            }
            // A gap that the stream ended with then is what the records after it say.
            gaps.extend(listed.into_iter().filter(|gap| gap.end() < head.length));
            enough(bucket, before, chunks.len().max(gaps.len()))?;
            at = head.prev;
            Ok((head.standing != Standing::Open).then_some(head.list))
        })?;
        if let Some(list) = end {
            return follow_lists(bucket, list, before, chunks);
        }
    }
    Ok(())
}

/// Copies bytes of a chunk from `offset` of the stream on; says how many: all there are, at most `out.len()`.
pub(crate) fn read_chunk(bucket: &Bucket, chunk: &Chunk, offset: StreamOffset, out: &mut [u8]) -> Result<usize> {
    let skip = offset.since(chunk.offset) as usize;
    bucket.with_record(chunk.place, |record, _| {
        let no_record = |_| bucket.no_record(chunk.place);
        let (head, _) = record.stream(bucket.id()).map_err(no_record)?;
        let bytes = record.bytes(&head).map_err(no_record)?;
        // An inline END that was written again counts as the chunk of all its bytes.
        if head.body_offset != chunk.offset || bytes.len() != chunk.len as usize {
            return Err(bucket.damaged(chunk.place.position(), "a chunk list and the record that it names differ"));
        }
        let bytes = bytes.get(skip..).unwrap_or_default();
        let n = bytes.len().min(out.len());
        if let Some((to, from)) = out.get_mut(..n).zip(bytes.get(..n)) {
            to.copy_from_slice(from);
        }
        Ok(n)
    })
}
