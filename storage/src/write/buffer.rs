//! The bytes of one stream that are still in memory: those not yet in a block, and before them some that are, so that
//! copies which come later can be compared.

use streamdb_types::StreamOffset;

use super::bucket_file::Compression;
use super::pool::Pool;
use crate::format::block::{HEADER_LEN, LONG_MAX};

/// Room before the bytes of a large buffer: for the header of the block and the head of its one record, so that a long
/// block is written from where its bytes were collected.
pub(crate) const FRONT: usize = HEADER_LEN + 1024;
/// The most bytes of one stream in one block. Blocks that are compressed gain by their size; those that are not only keep
/// more memory in use, and cost more to write as they have left the caches by then.
pub(crate) const fn body_max(compression: Compression) -> usize {
    match compression {
        Compression::Full => LONG_MAX - 1024,
        Compression::Fast => LONG_MAX / 4 + (8 << 10),
    }
}
/// A stream with at least this much to write gets a block of its own.
pub(crate) const LONG_MIN: usize = 64 << 10;
/// Bytes kept for comparison after they are written: some twenty full segments. Each block costs a copy of as many.
const HISTORY: usize = 32 << 10;
/// The most bytes in a buffer that are in a block already. A part with more is not written in one piece any more.
pub(crate) const FLUSHED_MAX: usize = LONG_MIN + HISTORY;

/// A run of one stream's bytes.
#[derive(Debug, Default)]
pub(crate) struct StreamBuffer {
    /// Those before `bytes`, all in a block already.
    history: Vec<u8>,
    bytes: Vec<u8>,
    /// Bytes of `bytes` before the first of the stream.
    front: usize,
    /// Where in the stream the first byte of `bytes` belongs.
    start: StreamOffset,
    /// How many of the stream's bytes in `bytes` are in a block already.
    flushed: usize,
    /// There were more bytes than are written in one piece.
    long: bool,
    /// A block was made of the bytes before.
    gave: bool,
}

impl StreamBuffer {
    /// An empty buffer for the bytes from `start` on.
    pub(crate) fn starting_at(start: StreamOffset) -> Self {
        Self { start, ..Self::default() }
    }

    fn len(&self) -> usize {
        self.bytes.len() - self.front
    }

    /// Where the next byte in order belongs.
    pub(crate) fn end(&self) -> StreamOffset {
        self.start.add(self.len() as u64)
    }

    /// Where the first byte of [`all`](Self::all) belongs.
    pub(crate) const fn start(&self) -> StreamOffset {
        self.start
    }

    /// Everything since a block was made of the buffer.
    pub(crate) fn all(&self) -> &[u8] {
        self.bytes.get(self.front..).unwrap_or_default()
    }

    /// What is not in a block yet.
    pub(crate) fn unflushed(&self) -> &[u8] {
        self.bytes.get(self.front + self.flushed..).unwrap_or_default()
    }

    /// Where the first byte that is not in a block yet belongs.
    pub(crate) fn unflushed_at(&self) -> StreamOffset {
        self.start.add(self.flushed as u64)
    }

    /// Bytes of memory.
    pub(crate) fn footprint(&self) -> usize {
        self.history.capacity() + self.bytes.capacity()
    }

    /// Appends as many of these bytes as there is room for; says how many. The room is used up when this is less than all.
    pub(crate) fn append(&mut self, bytes: &[u8], large: &Pool) -> usize {
        if self.front == 0 {
            self.make_room(bytes.len(), large);
        }
        let room = if self.front == 0 { bytes.len() } else { large.body_max().saturating_sub(self.len()) };
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.bytes.extend_from_slice(taken);
        taken.len()
    }

    /// Sees to it that so many bytes may come. A stream of which a block was made goes on in a large buffer, and one with enough
    /// for a block moves there. What is written little by little stays in a small one, as there may be thousands of such
    /// streams; only that it was more than fits into one piece is remembered.
    fn make_room(&mut self, more: usize, large: &Pool) {
        if !self.long && self.len() + more > LONG_MIN {
            self.long = true;
            if self.flushed > 0 {
                self.remember(self.flushed);
                self.bytes.drain(..self.flushed);
                self.start = self.unflushed_at();
                self.flushed = 0;
            }
        }
        if self.gave || self.long && self.len() - self.flushed + more >= LONG_MIN {
            let mut buffer = large.take();
            buffer.clear();
            buffer.resize(FRONT, 0);
            buffer.extend_from_slice(&self.bytes);
            self.front = FRONT;
            self.bytes = buffer;
        }
    }

    /// Keeps for comparison the last of the bytes before `end` in `bytes`.
    fn remember(&mut self, end: usize) {
        let from = end.saturating_sub(HISTORY).max(self.front);
        self.history.clear();
        self.history.extend_from_slice(self.bytes.get(from..end).unwrap_or_default());
    }

    /// Whether what is not in a block yet lies in a buffer that can become a block.
    pub(crate) const fn is_large(&self) -> bool {
        self.front > 0
    }

    /// Everything here is in a block now.
    pub(crate) fn set_flushed(&mut self) {
        self.flushed = self.len();
        // Beyond, only the newest are worth their memory.
        if self.flushed > FLUSHED_MAX {
            let cut = self.flushed - HISTORY;
            self.bytes.drain(self.front..self.front + cut);
            self.start = self.start.add(cut as u64);
            self.flushed = HISTORY;
            self.history = Vec::new();
        }
    }

    /// Gives the bytes away to become a block: the buffer, and where in it those begin that are not in a block yet. At
    /// least [`FRONT`] bytes are free before them. What is kept for comparison is copied; a large buffer is taken when more
    /// bytes come, as for many streams none do.
    pub(crate) fn give(&mut self) -> (Vec<u8>, usize) {
        let at = self.front + self.flushed;
        let end = self.end();
        self.remember(self.bytes.len());
        let bytes = std::mem::take(&mut self.bytes);
        self.front = 0;
        self.flushed = 0;
        self.start = end;
        self.gave = true;
        (bytes, at)
    }

    /// The memory, for use by others.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Lets go of what is in a block already.
    pub(crate) fn forget(&mut self) {
        let end = self.end();
        if self.flushed == self.len() {
            *self = Self::starting_at(end);
        } else {
            self.history = Vec::new();
            self.bytes.drain(self.front..self.front + self.flushed);
            self.bytes.shrink_to_fit();
            self.start = self.start.add(self.flushed as u64);
            self.flushed = 0;
        }
    }

    /// Compares: `Some(equal)` for bytes that are all here, or of which those that are here already differ.
    pub(crate) fn compare(&self, offset: StreamOffset, bytes: &[u8]) -> Option<bool> {
        let known = StreamOffset(self.start.0 - self.history.len() as u64);
        let mut compared = 0;
        for (start, ours) in [(known, self.history.as_slice()), (self.start, self.all())] {
            let theirs = bytes.get(start.since(offset) as usize..).unwrap_or_default();
            let ours = ours.get(offset.since(start) as usize..).unwrap_or_default();
            let shared = theirs.len().min(ours.len());
            if theirs.get(..shared) != ours.get(..shared) {
                return Some(false);
            }
            compared += shared;
        }
        (compared == bytes.len()).then_some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: usize = body_max(Compression::Full);

    #[test]
    fn a_buffer_grows_and_is_given_away() {
        let large = Pool::new(BODY);
        let mut buffer = StreamBuffer::starting_at(StreamOffset(10));
        assert_eq!(buffer.append(&[1; 100], &large), 100);
        assert!(!buffer.is_large());
        assert_eq!(buffer.append(&[2; LONG_MIN], &large), LONG_MIN);
        assert!(buffer.is_large());
        assert_eq!(buffer.append(&[3; 2 << 20], &large), BODY - 100 - LONG_MIN);
        assert_eq!(buffer.append(&[3; 1], &large), 0);
        let (bytes, at) = buffer.give();
        assert_eq!((at, bytes.len()), (FRONT, FRONT + BODY));
        assert_eq!(bytes[at..at + 100], [1; 100]);
        assert_eq!(buffer.end(), StreamOffset(10 + BODY as u64));
        assert_eq!(buffer.unflushed(), &[] as &[u8]);
        assert_eq!(buffer.compare(StreamOffset(10 + BODY as u64 - 5), &[3; 5]), Some(true));
        assert_eq!(buffer.append(&[4; 70], &large), 70);
        assert!(buffer.is_large());
        assert_eq!(buffer.unflushed(), [4; 70]);
        // What was written before and what was not are compared as one run.
        let seam = StreamOffset(10 + BODY as u64 - 2);
        assert_eq!(buffer.compare(seam, &[3, 3, 4, 4]), Some(true));
        assert_eq!(buffer.compare(seam, &[3, 3, 4, 5]), Some(false));
        assert_eq!(buffer.compare(seam, &[3, 5, 4, 4]), Some(false));
        assert_eq!(buffer.compare(seam, &[[3; 2].as_slice(), &[4; 71]].concat()), None);
        assert_eq!(buffer.compare(StreamOffset(10 + (BODY - HISTORY) as u64 - 1), &[3; 2]), None);
        assert_eq!(buffer.compare(StreamOffset(10 + (BODY - HISTORY) as u64), &[3; HISTORY]), Some(true));
        let (bytes, at) = buffer.give();
        assert_eq!(&bytes[at..], [4; 70]);
    }

    #[test]
    fn a_small_buffer_that_was_flushed_becomes_a_large_one() {
        let large = Pool::new(BODY);
        let mut buffer = StreamBuffer::starting_at(StreamOffset(0));
        buffer.append(&[1; 40_000], &large);
        buffer.set_flushed();
        buffer.append(&[2; 30_000], &large);
        assert!(!buffer.is_large());
        buffer.append(&[3; 40_000], &large);
        assert!(buffer.is_large());
        assert_eq!((buffer.unflushed_at(), buffer.unflushed().len()), (StreamOffset(40_000), 70_000));
        assert_eq!(buffer.compare(StreamOffset(39_999), &[1, 2]), Some(true));
        assert_eq!(buffer.compare(StreamOffset(40_000 - HISTORY as u64 - 1), &[1; 9]), None);
        let (bytes, at) = buffer.give();
        assert_eq!(bytes[at..], [[2; 30_000].as_slice(), &[3; 40_000]].concat());
    }

    #[test]
    fn what_is_written_little_by_little_stays_small() {
        let large = Pool::new(BODY);
        let mut buffer = StreamBuffer::starting_at(StreamOffset(0));
        for i in 0..200u8 {
            buffer.append(&[i; 12_000], &large);
            assert!(!buffer.is_large() && buffer.unflushed() == [i; 12_000]);
            let seam = StreamOffset((u64::from(i) * 12_000).saturating_sub(12_000));
            assert_eq!(buffer.compare(seam, &[i.saturating_sub(1); 12_000]), Some(true));
            buffer.set_flushed();
            assert!(buffer.footprint() < 8 * LONG_MIN, "{}", buffer.footprint());
        }
        // Should it become a fast one after all, it gets its block.
        let all = [1; LONG_MIN];
        assert_eq!(buffer.append(&all, &large), LONG_MIN);
        assert!(buffer.is_large());
        assert_eq!(buffer.compare(StreamOffset(200 * 12_000 - 2), &[199, 199, 1]), Some(true));
        let (bytes, at) = buffer.give();
        assert_eq!(bytes[at..], all);
    }

    #[test]
    fn comparison_knows_what_it_knows() {
        let large = Pool::new(BODY);
        let mut buffer = StreamBuffer::starting_at(StreamOffset(100));
        buffer.append(b"abcdef", &large);
        let compare = |at, bytes: &[u8]| buffer.compare(StreamOffset(at), bytes);
        assert_eq!(compare(100, b"abc"), Some(true));
        assert_eq!(compare(103, b"def"), Some(true));
        assert_eq!(compare(103, b"dXf"), Some(false));
        assert_eq!(compare(98, b"??ab"), None);
        assert_eq!(compare(98, b"??aX"), Some(false));
        assert_eq!(compare(104, b"ef??"), None);
        assert_eq!(compare(90, b"ab"), None);
        assert_eq!(compare(200, b"ab"), None);
    }

    #[test]
    fn history_is_trimmed_and_forgotten() {
        let large = Pool::new(BODY);
        let mut buffer = StreamBuffer::starting_at(StreamOffset(0));
        for i in 0..40u8 {
            buffer.append(&[i; 8192], &large);
            buffer.set_flushed();
        }
        assert!(buffer.all().len() <= FLUSHED_MAX);
        assert_eq!(buffer.end(), StreamOffset(40 * 8192));
        assert_eq!(buffer.compare(StreamOffset(39 * 8192), &[39; 8192]), Some(true));
        assert_eq!(buffer.compare(StreamOffset(0), &[0; 10]), None);
        buffer.append(b"new", &large);
        buffer.forget();
        assert_eq!((buffer.unflushed(), buffer.all()), (&b"new"[..], &b"new"[..]));
        assert_eq!(buffer.unflushed_at(), StreamOffset(40 * 8192));
    }
}
