//! What the writer knows of a live connection and of its two streams.

use streamdb_types::{
    BlockPlace, BucketId, ConnKey, Direction, FrameNumber, Gap, Marks, Path, StreamOffset, Timestamp, Tuple,
};

use super::bucket_file::BlockRef;
use super::buffer::StreamBuffer;
use crate::format::record::{Chunk, Datagram, Standing};

/// The most gaps that an OPEN lists: so a stream with many gaps costs no more at each tick than one with few.
const GAPS_IN_OPEN: usize = 64;

/// A run of bytes in a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RefChunk {
    pub(crate) at: BlockRef,
    pub(crate) offset: StreamOffset,
    pub(crate) len: u32,
}

impl RefChunk {
    pub(crate) const fn end(&self) -> StreamOffset {
        self.offset.add(self.len as u64)
    }

    /// As an entry of a chunk list, its place still to be resolved.
    pub(crate) fn unresolved(&self) -> Chunk {
        Chunk { place: BlockPlace(self.at.0), offset: self.offset, len: self.len }
    }
}

/// How a stream stands, as its last checkpoint said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) packets: u64,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) length: StreamOffset,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) marks: Marks,
    pub(crate) limited: bool,
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub(crate) struct StreamTrack {
    pub(crate) buffer: StreamBuffer,
    pub(crate) known: Known,
    /// Which part this bucket has.
    pub(crate) part: u32,
    /// The stream's length when the part began.
    pub(crate) base: StreamOffset,
    /// The bucket of the part before.
    pub(crate) previous_bucket: Option<BucketId>,
    /// It had a frame in this bucket.
    pub(crate) in_bucket: bool,
    /// It had a frame while there was no bucket to write to.
    pub(crate) lost: bool,
    /// The bytes of the part that are in blocks.
    pub(crate) chunks: Vec<RefChunk>,
    pub(crate) stored: u64,
    /// The newest OPEN or END of this direction, for the next one to name.
    pub(crate) open: BlockRef,
    /// The same, for the peer to name.
    pub(crate) newest: BlockRef,
    /// The first of the chunks that the next END lists itself; those before are in LISTs, the last of which is here.
    pub(crate) listed: (usize, BlockRef),
    /// OPENs of this part have listed all gaps that end before this.
    told: StreamOffset,
    /// Where the bucket's list of ENDs has this one.
    pub(crate) end: Option<usize>,
    /// UDP: the datagrams of the bytes that are not in a block yet.
    pub(crate) datagrams: Vec<Datagram>,
    /// UDP: those of the part that are, while the part may still be written in one piece.
    pub(crate) written_datagrams: Vec<Datagram>,
}

impl StreamTrack {
    /// The end of what was given so far.
    pub(crate) fn end_offset(&self) -> StreamOffset {
        self.buffer.end().max(self.known.length)
    }

    /// Another bucket begins: what is in memory belongs to the one before.
    pub(crate) fn next_part(&mut self, previous: BucketId) {
        let end = self.end_offset();
        self.buffer = StreamBuffer::starting_at(self.buffer.end());
        if self.in_bucket || std::mem::take(&mut self.lost) {
            self.lost = false;
            self.part += 1;
            self.previous_bucket = Some(previous);
            self.base = end;
        }
        self.in_bucket = false;
        self.chunks.clear();
        self.stored = 0;
        self.open = BlockRef::NONE;
        self.newest = BlockRef::NONE;
        self.listed = (0, BlockRef::NONE);
        self.end = None;
        self.told = StreamOffset(0);
        self.datagrams.clear();
        self.written_datagrams.clear();
    }

    /// Bytes up to `end` came while there was no bucket.
    pub(crate) fn lose(&mut self, end: StreamOffset) {
        self.lost = true;
        self.known.length = self.known.length.max(end);
        self.forget_all(end);
    }

    /// What was in memory is lost with the bucket; bytes up to `end` are not kept.
    pub(crate) fn forget_all(&mut self, end: StreamOffset) {
        self.buffer = StreamBuffer::starting_at(end);
        self.datagrams.clear();
        self.written_datagrams.clear();
    }

    /// The gaps that the next OPEN of this part lists: those that no OPEN listed before, and of these the newest; and
    /// whether that is all of the part.
    pub(crate) fn gaps_to_tell(&mut self) -> (Vec<Gap>, bool) {
        let from = self.told.max(self.base);
        let gaps = &self.known.gaps;
        let of_part = gaps.len() - gaps.partition_point(|gap| gap.end() <= self.base);
        let new = gaps.len() - gaps.partition_point(|gap| gap.end() <= from);
        let listed: Vec<Gap> =
            gaps.iter().skip(gaps.len() - new.min(GAPS_IN_OPEN)).map(|gap| clipped(gap, self.base)).collect();
        // A gap that the stream ends with may still turn out to be another one: it is told again until there is more.
        self.told = match listed.last() {
            Some(gap) if gap.end() >= self.known.length => gap.offset,
            Some(gap) => gap.end(),
            None => from,
        };
        let all = listed.len() == of_part;
        (listed, all)
    }

    /// The gaps of this part.
    pub(crate) fn gaps_of_part(&self) -> Vec<Gap> {
        self.known.gaps.iter().filter(|gap| gap.end() > self.base).map(|gap| clipped(gap, self.base)).collect()
    }
}

/// What of a gap lies from `base` on.
fn clipped(gap: &Gap, base: StreamOffset) -> Gap {
    let offset = gap.offset.max(base);
    Gap { offset, length: gap.end().since(offset), kind: gap.kind }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct ConnTrack {
    pub(crate) key: ConnKey,
    pub(crate) tuple: Tuple,
    pub(crate) path: Path,
    pub(crate) opened: Timestamp,
    /// The bucket that the fields below are about; 0 while it never was in one.
    pub(crate) bucket: BucketId,
    pub(crate) ordinal: u32,
    pub(crate) first_frame: FrameNumber,
    pub(crate) last_frame: FrameNumber,
    /// How it stood when END was last written, and that it was.
    pub(crate) standing: Standing,
    /// There are frames or bytes that the last END does not know of.
    pub(crate) changed: bool,
    pub(crate) streams: [StreamTrack; 2],
}

impl ConnTrack {
    pub(crate) fn stream(&mut self, direction: Direction) -> &mut StreamTrack {
        direction.of_mut(&mut self.streams)
    }
}
