//! The bytes of a file, decompressed, in one buffer in which records are read where they lie.

use std::io::{self, Read};

use crate::error::{Checked, Compression, Fault};
use crate::item::Span;
use crate::unpack::Unpacker;

/// The first read is small, so that looking at a file's first frame costs little.
const FIRST: usize = 64 * 1024;

/// The buffer from the second read on: large enough that system calls do not count, small enough that what was read is
/// still in the processor's cache when it is looked at. It grows beyond only for a record that is larger.
const BUFFER: usize = 256 * 1024;

/// A file that is being read. `start..end` of the buffer is what is there and not yet used.
pub(crate) struct Input {
    reader: Box<dyn Read + Send>,
    unpacker: Option<Unpacker>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Where in the uncompressed data the buffer begins.
    base: u64,
    ended: bool,
    /// What stopped the reading; said when the bytes before it are used up.
    failure: Option<Box<Fault>>,
}

impl Input {
    /// Reads the beginning and finds out whether it is compressed; by zstd, with what window at most.
    pub(crate) fn new(reader: Box<dyn Read + Send>, window_log: u32) -> Checked<Self> {
        let mut input =
            Self { reader, unpacker: None, buffer: Vec::new(), start: 0, end: 0, base: 0, ended: false, failure: None };
        input.need(4)?;
        if let Some(compression) = Compression::of(input.rest()) {
            input.unpacker = Some(Unpacker::new(compression, input.rest(), window_log)?);
            input.end = 0;
            input.ended = false;
        }
        Ok(input)
    }

    /// How the file is compressed.
    pub(crate) fn compression(&self) -> Option<Compression> {
        self.unpacker.as_ref().map(Unpacker::compression)
    }

    /// Bytes of the uncompressed data used up.
    pub(crate) const fn offset(&self) -> u64 {
        self.base + self.start as u64
    }

    /// Where the uncompressed data that was read so far ends.
    pub(crate) const fn end_offset(&self) -> u64 {
        self.base + self.end as u64
    }

    /// Bytes of the file used up.
    pub(crate) fn position(&self) -> u64 {
        self.unpacker.as_ref().map_or(self.offset(), Unpacker::used)
    }

    /// What is there and not yet used.
    #[inline]
    pub(crate) fn rest(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// The bytes of a place that was used up since the last [`need`](Self::need).
    #[inline]
    pub(crate) fn bytes(&self, span: Span) -> &[u8] {
        self.buffer.get(span.start..).and_then(|rest| rest.get(..span.length)).unwrap_or_default()
    }

    /// The same, to change.
    pub(crate) fn bytes_mut(&mut self, span: Span) -> &mut [u8] {
        self.buffer.get_mut(span.start..).and_then(|rest| rest.get_mut(..span.length)).unwrap_or_default()
    }

    /// Makes sure that `length` bytes are in [`rest`](Self::rest); false when the data ends before.
    #[inline]
    pub(crate) fn need(&mut self, length: usize) -> Checked<bool> {
        if self.end - self.start >= length { Ok(true) } else { self.refill(length) }
    }

    /// Uses up `length` bytes that are there, and says where they lie.
    #[inline]
    pub(crate) fn take(&mut self, length: usize) -> Span {
        let length = length.min(self.end - self.start);
        let span = Span { start: self.start, length };
        self.start += length;
        span
    }

    /// Uses up bytes without keeping them; says how many the data still had.
    pub(crate) fn skip(&mut self, length: u64) -> Checked<u64> {
        let mut left = length;
        while left > 0 && self.need(1)? {
            left -= self.take(usize::try_from(left).unwrap_or(usize::MAX)).length as u64;
        }
        Ok(length - left)
    }

    #[cold]
    fn refill(&mut self, length: usize) -> Checked<bool> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.base += self.start as u64;
            self.end -= self.start;
            self.start = 0;
        }
        while self.end < length {
            if self.ended {
                return match self.failure.take() {
                    Some(fault) => Err(fault),
                    None => Ok(false),
                };
            }
            if self.buffer.is_empty() {
                self.buffer.resize(FIRST, 0);
            } else if self.buffer.len() < BUFFER {
                self.buffer.resize(BUFFER, 0);
            } else if self.end == self.buffer.len() {
                // By doubling, so that a length that a damaged file claims costs no memory before the bytes are there.
                self.buffer.resize((self.buffer.len() * 2).min(length), 0);
            }
            let room = self.buffer.get_mut(self.end..).unwrap_or_default();
            let read = match &mut self.unpacker {
                None => self.reader.read(room).map_err(Box::from),
                Some(unpacker) => unpacker.read(&mut *self.reader, room),
            };
            match read {
                Ok(0) => self.ended = true,
                Ok(n) => self.end += n,
                Err(fault) => match *fault {
                    Fault::Read(ref error) if error.kind() == io::ErrorKind::Interrupted => {}
                    _ => {
                        self.ended = true;
                        self.failure = Some(fault);
                    }
                },
            }
        }
        Ok(true)
    }
}
