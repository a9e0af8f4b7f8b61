//! A stretch of a stream.

use std::fmt;

use streamdb_types::StreamOffset;

/// The bytes of a stream from `start` to before `end`; never `end` before `start`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// The offset of the first byte.
    pub start: StreamOffset,
    /// The offset after the last byte.
    pub end: StreamOffset,
}

impl Span {
    /// From `start` to before `end`; empty at `start` when `end` lies before it.
    pub fn new(start: StreamOffset, end: StreamOffset) -> Self {
        Self { start, end: end.max(start) }
    }

    /// No bytes, at this place.
    pub const fn empty(at: StreamOffset) -> Self {
        Self { start: at, end: at }
    }

    /// How many bytes, holes included.
    pub const fn len(&self) -> u64 {
        self.end.since(self.start)
    }

    /// Whether there is no byte.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// `120..4096`.
impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start.0, self.end.0)
    }
}
