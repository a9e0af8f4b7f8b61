//! How a stream is read: the seam between extraction and whatever holds the bytes.

use streamdb_types::{Gap, Marks, Reason, StreamOffset};

use crate::span::Span;

/// A finished, or still open, stream: ordered bytes with holes, from offset 0 to [`end`](Self::end).
///
/// Nothing is assumed about size: a stream may be gigabytes long, and is read in windows. Reads go mostly forward, at times
/// a little back. What is read must not change between calls; an implementation over blocks may keep the last one open.
pub trait Source {
    /// The offset after the last byte, holes included. A hole may be the last thing before it.
    fn end(&self) -> StreamOffset;

    /// Copies bytes from `at` on into `buf`, as many as are there before the next hole, at least one; fewer than fit are
    /// allowed at any time. `buf` is never empty.
    fn read(&self, at: StreamOffset, buf: &mut [u8]) -> Read;

    /// The first hole that ends after `from`: the one that `from` lies in, or the next one.
    fn next_gap(&self, from: StreamOffset) -> Option<Gap>;

    /// Why the stream ended; `None` while it is open.
    fn ended(&self) -> Option<Reason>;

    /// What was seen of it. `FIN`, `RST` and `MIDSTREAM` are looked at.
    fn marks(&self) -> Marks;

    /// Whether it is a stream of datagrams, which nothing opens and nothing closes.
    fn is_datagrams(&self) -> bool;
}

/// What is at a place in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// This many bytes were copied.
    Bytes(usize),
    /// A hole: from the place asked for to the hole's end.
    Hole(Gap),
    /// Nothing: the stream ends here.
    End,
}

/// The holes in a stretch of a stream, each cut to lie within it.
pub fn gaps(source: &dyn Source, span: Span) -> impl Iterator<Item = Gap> + '_ {
    let mut from = span.start;
    std::iter::from_fn(move || {
        if from >= span.end {
            return None;
        }
        let gap = source.next_gap(from)?;
        let (start, end) = (gap.offset.max(from), gap.end().min(span.end));
        // A hole that does not end after `from` breaks the contract, and would be found for ever.
        if start >= end {
            return None;
        }
        from = end;
        Some(Gap { offset: start, length: end.since(start), kind: gap.kind })
    })
}
