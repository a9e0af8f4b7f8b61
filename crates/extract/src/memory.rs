//! A stream in memory, with holes where one likes: for tests, and for what is small.

use streamdb_types::{Gap, GapKind, Marks, Reason, StreamOffset};

use crate::source::{Read, Source};

/// A stream whose bytes lie in memory.
#[derive(Clone, Debug)]
pub struct MemorySource {
    bytes: Vec<u8>,
    /// By offset, apart from one another.
    gaps: Vec<Gap>,
    ended: Option<Reason>,
    marks: Marks,
    datagrams: bool,
    most: usize,
}

impl MemorySource {
    /// A stream of these bytes that was closed by FIN.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            bytes: bytes.into(),
            gaps: Vec::new(),
            ended: Some(Reason::Fin),
            marks: Marks::SYN.with(Marks::FIN),
            datagrams: false,
            most: usize::MAX,
        }
    }

    /// The same, with the bytes from `offset` on missing. Holes that touch become one, of the earlier one's kind.
    #[must_use]
    pub fn with_gap(mut self, offset: u64, length: u64, kind: GapKind) -> Self {
        let end = offset.saturating_add(length).min(self.bytes.len() as u64);
        if offset >= end {
            return self;
        }
        self.gaps.push(Gap { offset: StreamOffset(offset), length: end - offset, kind });
        self.gaps.sort_by_key(|gap| gap.offset);
        self.gaps.dedup_by(|next, kept| {
            let touches = next.offset <= kept.end();
            if touches {
                kept.length = kept.end().max(next.end()).since(kept.offset);
            }
            touches
        });
        self
    }

    /// The same, ended for this reason, or still open, with these marks.
    #[must_use]
    pub fn with_end(mut self, ended: Option<Reason>, marks: Marks) -> Self {
        self.ended = ended;
        self.marks = marks;
        self
    }

    /// The same, as a stream of datagrams.
    #[must_use]
    pub const fn of_datagrams(mut self) -> Self {
        self.datagrams = true;
        self
    }

    /// The same, giving at most `most` bytes a read (at least 1), so that a reader meets every kind of short read.
    #[must_use]
    pub fn with_reads_of(mut self, most: usize) -> Self {
        self.most = most.max(1);
        self
    }
}

impl Source for MemorySource {
    fn end(&self) -> StreamOffset {
        StreamOffset(self.bytes.len() as u64)
    }

    fn read(&self, at: StreamOffset, buf: &mut [u8]) -> Read {
        let gap = self.next_gap(at);
        if let Some(gap) = gap
            && gap.offset <= at
        {
            return Read::Hole(Gap { offset: at, length: gap.end().since(at), kind: gap.kind });
        }
        let end = gap.map_or(self.end(), |gap| gap.offset);
        let place = |offset: StreamOffset| usize::try_from(offset.0).unwrap_or(usize::MAX);
        let there = self.bytes.get(place(at)..place(end)).unwrap_or_default();
        let n = there.len().min(buf.len()).min(self.most);
        match (buf.get_mut(..n), there.get(..n)) {
            (Some(to), Some(from)) if n > 0 => {
                to.copy_from_slice(from);
                Read::Bytes(n)
            }
            _ => Read::End,
        }
    }

    fn next_gap(&self, from: StreamOffset) -> Option<Gap> {
        let i = self.gaps.partition_point(|gap| gap.end() <= from);
        self.gaps.get(i).copied()
    }

    fn ended(&self) -> Option<Reason> {
        self.ended
    }

    fn marks(&self) -> Marks {
        self.marks
    }

    fn is_datagrams(&self) -> bool {
        self.datagrams
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::gaps;
    use crate::span::Span;

    #[test]
    fn bytes_and_holes_are_read_in_their_places() {
        let source = MemorySource::new(*b"0123456789").with_gap(3, 2, GapKind::Missing).with_gap(8, 9, GapKind::Shed);
        let mut buf = [0; 20];
        assert_eq!(source.read(StreamOffset(1), &mut buf), Read::Bytes(2));
        assert_eq!(&buf[..2], b"12");
        let hole = |offset, length, kind| Gap { offset: StreamOffset(offset), length, kind };
        assert_eq!(source.read(StreamOffset(4), &mut buf), Read::Hole(hole(4, 1, GapKind::Missing)));
        assert_eq!(source.read(StreamOffset(5), &mut buf[..1]), Read::Bytes(1));
        assert_eq!(source.read(StreamOffset(8), &mut buf), Read::Hole(hole(8, 2, GapKind::Shed)));
        assert_eq!(source.read(StreamOffset(10), &mut buf), Read::End);
        let span = Span::new(StreamOffset(4), StreamOffset(9));
        let found: Vec<Gap> = gaps(&source, span).collect();
        assert_eq!(found, [hole(4, 1, GapKind::Missing), hole(8, 1, GapKind::Shed)]);
    }

    #[test]
    fn holes_that_touch_are_one() {
        let source =
            MemorySource::new(*b"0123456789").with_gap(5, 2, GapKind::Missing).with_gap(3, 2, GapKind::Missing);
        assert_eq!(source.gaps, [Gap { offset: StreamOffset(3), length: 4, kind: GapKind::Missing }]);
    }
}
