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
/// Bytes kept for comparison after they are written.
pub(crate) const HISTORY: usize = 64 << 10;

/// A run of one stream's bytes.
#[derive(Debug, Default)]
pub(crate) struct StreamBuffer {
    bytes: Vec<u8>,
    /// Bytes of `bytes` before the first of the stream.
    front: usize,
    /// Where in the stream the first byte belongs.
    start: StreamOffset,
    /// How many of the stream's bytes here are in a block already.
    flushed: usize,
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

    /// Where the first byte here belongs.
    pub(crate) const fn start(&self) -> StreamOffset {
        self.start
    }

    /// Everything here.
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
        self.bytes.capacity()
    }

    /// Appends as many of these bytes as there is room for; says how many. The room is used up when this is less than all.
    pub(crate) fn append(&mut self, bytes: &[u8], large: &Pool) -> usize {
        if self.front == 0 && self.bytes.len() + bytes.len() > LONG_MIN {
            self.enlarge(large.take());
        }
        let room = if self.front == 0 { bytes.len() } else { large.body_max().saturating_sub(self.len()) };
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.bytes.extend_from_slice(taken);
        taken.len()
    }

    /// Moves what is not in a block yet, and some of what is, to a large buffer with room at its front.
    fn enlarge(&mut self, mut large: Vec<u8>) {
        let keep = self.flushed.min(HISTORY);
        large.clear();
        large.resize(FRONT, 0);
        large.extend_from_slice(self.bytes.get(self.front + self.flushed - keep..).unwrap_or_default());
        self.start = self.start.add((self.flushed - keep) as u64);
        self.flushed = keep;
        self.front = FRONT;
        self.bytes = large;
    }

    /// Whether what is not in a block yet lies in a buffer that can become a block.
    pub(crate) const fn is_large(&self) -> bool {
        self.front > 0
    }

    /// Everything here is in a block now.
    pub(crate) fn set_flushed(&mut self) {
        self.flushed = self.len();
        // Only the newest bytes are worth their memory once a part cannot be written in one piece any more.
        if self.flushed > 2 * HISTORY {
            let cut = self.flushed - HISTORY;
            self.bytes.drain(self.front..self.front + cut);
            self.start = self.start.add(cut as u64);
            self.flushed = HISTORY;
        }
    }

    /// Gives the bytes away to become a block: the buffer, and where in it those begin that are not in a block yet. At
    /// least [`FRONT`] bytes are free before them. What is kept for comparison is copied; a large buffer is taken when more
    /// bytes come, as for many streams none do.
    pub(crate) fn give(&mut self) -> (Vec<u8>, usize) {
        let at = self.front + self.flushed;
        let end = self.end();
        let keep = self.len().min(HISTORY);
        let history = self.bytes.get(self.bytes.len() - keep..).unwrap_or_default().to_vec();
        let bytes = std::mem::replace(&mut self.bytes, history);
        self.front = 0;
        self.flushed = keep;
        self.start = StreamOffset(end.0 - keep as u64);
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
            self.bytes.drain(self.front..self.front + self.flushed);
            self.bytes.shrink_to_fit();
            self.start = self.start.add(self.flushed as u64);
            self.flushed = 0;
        }
    }

    /// Compares: `Some(equal)` for bytes that are all here, or of which those that are here already differ.
    pub(crate) fn compare(&self, offset: StreamOffset, bytes: &[u8]) -> Option<bool> {
        let skip = self.start.since(offset) as usize;
        let at = offset.since(self.start) as usize;
        let (theirs, ours) = bytes.get(skip..).zip(self.all().get(at..))?;
        let shared = theirs.len().min(ours.len());
        let equal = theirs.get(..shared) == ours.get(..shared);
        match equal {
            false => Some(false),
            true if skip == 0 && shared == bytes.len() => Some(true),
            true => None,
        }
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
        assert_eq!(buffer.unflushed(), [4; 70]);
        let (bytes, at) = buffer.give();
        assert_eq!(&bytes[at..], [4; 70]);
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
        assert!(buffer.all().len() <= 2 * HISTORY);
        assert_eq!(buffer.end(), StreamOffset(40 * 8192));
        assert_eq!(buffer.compare(StreamOffset(39 * 8192), &[39; 8192]), Some(true));
        assert_eq!(buffer.compare(StreamOffset(0), &[0; 10]), None);
        buffer.append(b"new", &large);
        buffer.forget();
        assert_eq!((buffer.unflushed(), buffer.all()), (&b"new"[..], &b"new"[..]));
        assert_eq!(buffer.unflushed_at(), StreamOffset(40 * 8192));
    }
}
