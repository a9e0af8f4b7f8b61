//! A stream as a whole: over all its parts, with its gaps, readable at any offset.

use std::sync::Arc;

use streamdb_types::{
    BucketId, ConnKey, Direction, FrameNumber, Gap, GapKind, Marks, Oid, Path, Reason, StreamOffset, Timestamp, Tuple,
};

use super::bucket::Bucket;
use super::chunks::{Part, read_chunk};
use crate::error::Result;
use crate::format::record::{Chunk, Standing, StreamHead};

/// What the store says of a stream without reading its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its name. The index is 0.
    pub oid: Oid,
    /// The name of the other direction, if that had a frame.
    pub peer: Option<Oid>,
    /// Its connection.
    pub key: ConnKey,
    /// Which of the connection's two.
    pub direction: Direction,
    /// The ends.
    pub tuple: Tuple,
    /// VLANs and tunnels.
    pub path: Path,
    /// The time of its first frame.
    pub first: Timestamp,
    /// The time of its last frame.
    pub last: Timestamp,
    /// Its length in bytes, gaps included.
    pub length: StreamOffset,
    /// Bytes that are not there. Exact for the part of the newest bucket alone when the stream has several parts.
    pub gap_bytes: u64,
    /// Frames.
    pub packets: u64,
    /// What was seen of it.
    pub marks: Marks,
    /// Why it ended; `None` while it is open, and of a record whose bucket ended first when the stream went on in a later
    /// bucket.
    pub reason: Option<Reason>,
    /// Which part of the stream the newest bucket has, from 0.
    pub part: u32,
    /// Whether the newest record leaves open that more of the stream comes: it is still being written, or was to go on in a
    /// later bucket. That it [ended](Self::reason) all the same is then concluded from what later buckets have not.
    pub goes_on: bool,
}

impl StreamInfo {
    pub(crate) fn of(oid: Oid, peer: Option<Oid>, head: &StreamHead, gaps: &[Gap]) -> Self {
        Self {
            oid,
            peer,
            key: head.key,
            direction: head.direction,
            tuple: head.tuple,
            path: head.path,
            first: head.first,
            last: head.last,
            length: head.length,
            gap_bytes: if head.gaps_cut {
                head.length.since(head.base).saturating_sub(head.stored)
            } else {
                gaps.iter().map(|g| g.length).fold(0, u64::saturating_add)
            },
            packets: head.packets,
            marks: head.marks,
            reason: match head.standing {
                Standing::Ended(reason) => Some(reason),
                Standing::Open | Standing::Continues => None,
            },
            part: head.part,
            goes_on: !matches!(head.standing, Standing::Ended(_)),
        }
    }
}

/// What a read found at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// This many bytes were copied; at least one.
    Bytes(usize),
    /// There is a gap here of this many bytes.
    Gap(u64, GapKind),
    /// The stream ends here.
    End,
}

/// A stream, ready to be read.
pub struct Stream {
    info: StreamInfo,
    /// Ascending by offset, without overlaps; each with its bucket's place in `buckets`.
    chunks: Vec<(Chunk, usize)>,
    buckets: Vec<Arc<Bucket>>,
    /// How long it was at the end of its part in each of `buckets`.
    lengths: Vec<StreamOffset>,
    gaps: Vec<Gap>,
    /// The connection's frames, by bucket: the first, and the span.
    frames: Vec<(BucketId, u32, FrameNumber, u64)>,
    /// When retention took a bucket with a part of it.
    dropped: Option<Timestamp>,
}

impl Stream {
    /// Puts the parts together, the first one first.
    pub(crate) fn over(
        parts: Vec<(Arc<Bucket>, Part)>,
        info: StreamInfo,
        conns: &[u32],
        dropped: Option<Timestamp>,
    ) -> Self {
        let mut chunks: Vec<(Chunk, usize)> = Vec::new();
        let mut buckets = Vec::new();
        let mut lengths = Vec::new();
        let mut said: Vec<Gap> = Vec::new();
        let mut unlisted = Vec::new();
        let mut frames = Vec::new();
        for ((at, (bucket, part)), conn) in parts.into_iter().enumerate().zip(conns) {
            let (first, span) = part.head.frames;
            // The frames of a stream that is open go on beyond what its newest record could know.
            let span = if part.head.standing == Standing::Open { u64::MAX } else { span };
            frames.push((bucket.id(), *conn, first, span));
            if part.head.gaps_cut {
                unlisted.push((part.head.base, part.head.length));
            }
            said.extend_from_slice(&part.gaps);
            chunks.extend(part.chunks.into_iter().map(|chunk| (chunk, at)));
            buckets.push(bucket);
            lengths.push(part.head.length);
        }
        chunks.sort_by_key(|(chunk, bucket)| (chunk.offset, *bucket));
        let mut end = StreamOffset(0);
        chunks.retain(|(chunk, _)| {
            let fits = chunk.offset >= end;
            if fits {
                end = chunk.end();
            }
            fits
        });
        let gaps = gaps_between(&chunks, info.length, &mut said, &unlisted);
        let info = StreamInfo { gap_bytes: gaps.iter().map(|g| g.length).fold(0, u64::saturating_add), ..info };
        Self { info, chunks, buckets, lengths, gaps, frames, dropped }
    }

    /// What is known of it.
    pub const fn info(&self) -> &StreamInfo {
        &self.info
    }

    /// Its length, gaps included.
    pub const fn len(&self) -> StreamOffset {
        self.info.length
    }

    /// Whether it has no byte and no gap.
    pub const fn is_empty(&self) -> bool {
        self.info.length.0 == 0
    }

    /// Its gaps, ascending, not touching but where their kinds differ.
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// When retention dropped a bucket with a part of it, if it did; the last time if it did so more than once. That part is a
    /// gap of kind lost.
    pub const fn dropped(&self) -> Option<Timestamp> {
        self.dropped
    }

    /// Where the connection's frames are: bucket, ordinal in it, first frame, and how many frames of the bucket it takes
    /// from there to the last.
    /// Frames of all connections from the first to the last one of its own: what is gone through to read these.
    pub fn frames_between(&self) -> u64 {
        self.frames.iter().map(|(.., span)| *span).fold(0, u64::saturating_add)
    }

    pub(crate) fn frames(&self) -> &[(BucketId, u32, FrameNumber, u64)] {
        &self.frames
    }

    /// The buckets that its parts lie in, the first one first; they stay readable as long as the stream is there, also when
    /// retention drops them meanwhile.
    pub(crate) fn buckets(&self) -> &[Arc<Bucket>] {
        &self.buckets
    }

    /// The ids of the buckets that its parts lie in, the first one first.
    pub fn bucket_ids(&self) -> Vec<BucketId> {
        self.buckets.iter().map(|bucket| bucket.id()).collect()
    }

    /// How long this stream was when what comes at this offset of another one had not come yet, as far as the buckets tell: at
    /// the end of the last one in which the other has something that lies before.
    pub fn length_before(&self, other: &Self, offset: StreamOffset) -> StreamOffset {
        let parts = |stream: &'_ Self| -> Vec<(BucketId, StreamOffset)> {
            stream.buckets.iter().map(|bucket| bucket.id()).zip(stream.lengths.iter().copied()).collect()
        };
        let last = parts(other).into_iter().rev().find(|(_, length)| *length <= offset);
        let length = last.and_then(|(last, _)| parts(self).into_iter().rev().find(|(id, _)| *id <= last));
        length.map_or(StreamOffset(0), |(_, length)| length)
    }

    /// Copies bytes from `offset` on into `out`, which is not empty.
    ///
    /// # Errors
    /// When a block that has them is damaged.
    pub fn read_at(&self, offset: StreamOffset, out: &mut [u8]) -> Result<Read> {
        if offset >= self.info.length {
            return Ok(Read::End);
        }
        let after = self.chunks.partition_point(|(chunk, _)| chunk.offset <= offset);
        if let Some((chunk, bucket)) = after.checked_sub(1).and_then(|at| self.chunks.get(at))
            && offset < chunk.end()
            && let Some(bucket) = self.buckets.get(*bucket)
        {
            let room = usize::try_from(self.info.length.since(offset)).unwrap_or(usize::MAX).min(out.len());
            let n = read_chunk(bucket, chunk, offset, out.get_mut(..room).unwrap_or_default())?;
            return Ok(Read::Bytes(n));
        }
        let after = self.gaps.partition_point(|gap| gap.offset <= offset);
        Ok(match after.checked_sub(1).and_then(|at| self.gaps.get(at)) {
            Some(gap) if gap.end() > offset => Read::Gap(gap.end().since(offset), gap.kind),
            _ => Read::End,
        })
    }
}

/// What lies between the chunks, up to the length, with the kinds that the parts said where they said one. `unlisted`:
/// ranges of parts that had more gaps than they could list.
fn gaps_between(
    chunks: &[(Chunk, usize)],
    length: StreamOffset,
    said: &mut [Gap],
    unlisted: &[(StreamOffset, StreamOffset)],
) -> Vec<Gap> {
    said.sort_by_key(|gap| gap.offset);
    let mut gaps: Vec<Gap> = Vec::new();
    let mut at = StreamOffset(0);
    let mut hint = 0;
    let runs = chunks.iter().map(|(chunk, _)| (chunk.offset, chunk.end()));
    for (start, end) in runs.chain([(length, length)]) {
        let start = start.min(length);
        while at < start {
            while said.get(hint).is_some_and(|gap| gap.end() <= at) {
                hint += 1;
            }
            let (kind, until) = match said.get(hint) {
                Some(gap) if gap.offset <= at => (gap.kind, gap.end()),
                next => {
                    let until = next.map_or(start, |gap| gap.offset);
                    let edges = unlisted.iter().flat_map(|(from, to)| [*from, *to]).filter(|edge| *edge > at);
                    let until = edges.fold(until, Ord::min);
                    if unlisted.iter().any(|(from, to)| *from <= at && at < *to) {
                        // Nobody had it, as far as anybody knows.
                        (GapKind::Missing, until)
                    } else {
                        // Neither bytes nor a word on them: they went with a part that is not there, or in a crash.
                        (GapKind::Lost, until)
                    }
                }
            };
            let until = until.min(start);
            match gaps.last_mut() {
                Some(last) if last.kind == kind && last.end() == at => last.length += until.since(at),
                _ => gaps.push(Gap { offset: at, length: until.since(at), kind }),
            }
            at = until;
        }
        at = at.max(end);
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamdb_types::BlockPlace;

    fn chunk(offset: u64, len: u32) -> (Chunk, usize) {
        (Chunk { place: BlockPlace(1), offset: StreamOffset(offset), len }, 0)
    }

    fn gap(offset: u64, length: u64, kind: GapKind) -> Gap {
        Gap { offset: StreamOffset(offset), length, kind }
    }

    #[test]
    fn what_nobody_speaks_of_is_lost() {
        let chunks = [chunk(10, 10), chunk(30, 5)];
        let mut said = [gap(20, 4, GapKind::SnapLength), gap(24, 6, GapKind::Missing), gap(35, 5, GapKind::Missing)];
        assert_eq!(
            gaps_between(&chunks, StreamOffset(40), &mut said, &[]),
            [
                gap(0, 10, GapKind::Lost),
                gap(20, 4, GapKind::SnapLength),
                gap(24, 6, GapKind::Missing),
                gap(35, 5, GapKind::Missing)
            ]
        );
        assert_eq!(gaps_between(&[], StreamOffset(0), &mut [], &[]), []);
        assert_eq!(gaps_between(&chunks, StreamOffset(15), &mut [], &[]), [gap(0, 10, GapKind::Lost)]);
        assert_eq!(
            gaps_between(&chunks, StreamOffset(40), &mut said, &[(StreamOffset(5), StreamOffset(38))])
                .into_iter()
                .map(|gap| (gap.offset.0, gap.kind))
                .collect::<Vec<_>>(),
            [
                (0, GapKind::Lost),
                (5, GapKind::Missing),
                (20, GapKind::SnapLength),
                (24, GapKind::Missing),
                (35, GapKind::Missing)
            ]
        );
    }
}
