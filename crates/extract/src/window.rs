//! A window that moves over a source: the only buffer through which a stream is seen.

use streamdb_types::{Gap, StreamOffset};

use crate::source::{Read, Source};

/// The bytes of a source around the last place that was looked at.
pub(crate) struct Window<'a> {
    source: &'a dyn Source,
    buf: Vec<u8>,
    /// The offset of the first byte of `buf`.
    start: StreamOffset,
    /// What comes right after `buf`, once it is known to be no bytes.
    stop: Option<Stop>,
    /// The least that is read at a time.
    refill: usize,
}

/// What ends a run of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// A hole, from here to its end.
    Hole(Gap),
    /// The end of the stream.
    End,
}

/// What is at a place.
pub(crate) struct View<'w> {
    /// The bytes from there on: as many as were asked for, or more, or all before `stop`.
    pub bytes: &'w [u8],
    /// What follows `bytes`, if that is no bytes.
    pub stop: Option<Stop>,
}

impl<'a> Window<'a> {
    /// A window that reads at least `refill` bytes at a time.
    pub(crate) const fn new(source: &'a dyn Source, refill: usize) -> Self {
        Self { source, buf: Vec::new(), start: StreamOffset(0), stop: None, refill }
    }

    /// The bytes at `at`: `want` of them or more, unless a hole or the end of the stream comes first.
    pub(crate) fn look(&mut self, at: StreamOffset, want: usize) -> View<'_> {
        let held = self.start.add(self.buf.len() as u64);
        if at < self.start || at > held {
            self.restart(at);
        }
        let mut skip = usize::try_from(at.since(self.start)).unwrap_or(usize::MAX).min(self.buf.len());
        if self.buf.len() - skip < want && self.stop.is_none() {
            self.buf.drain(..skip);
            self.start = at;
            skip = 0;
            self.fill(want.max(self.refill));
        }
        View { bytes: self.buf.get(skip..).unwrap_or_default(), stop: self.stop }
    }

    fn restart(&mut self, at: StreamOffset) {
        self.buf.clear();
        self.start = at;
        self.stop = None;
    }

    /// Reads until the window holds `target` bytes or meets what is no bytes.
    fn fill(&mut self, target: usize) {
        let mut filled = self.buf.len();
        self.buf.resize(target.max(filled), 0);
        while let Some(room) = self.buf.get_mut(filled..).filter(|room| !room.is_empty()) {
            let most = room.len();
            match self.source.read(self.start.add(filled as u64), room) {
                Read::Bytes(n) if n > 0 => filled += n.min(most),
                Read::Hole(gap) if gap.length > 0 => {
                    self.stop = Some(Stop::Hole(gap));
                    break;
                }
                // No bytes and no hole break the contract; taken as the end, so that every loop ends.
                Read::Bytes(_) | Read::Hole(_) | Read::End => {
                    self.stop = Some(Stop::End);
                    break;
                }
            }
        }
        self.buf.truncate(filled);
    }
}

#[cfg(test)]
mod tests {
    use streamdb_types::GapKind;

    use super::*;
    use crate::memory::MemorySource;

    #[test]
    fn it_shows_what_is_there_however_it_moves() {
        let bytes: Vec<u8> = (0..=255).collect();
        let source = MemorySource::new(bytes.clone()).with_gap(100, 20, GapKind::Missing).with_reads_of(3);
        let mut window = Window::new(&source, 16);
        for (at, want) in [(0u64, 4usize), (2, 50), (90, 30), (95, 2), (99, 1), (120, 10), (0, 5), (250, 100), (5, 3)] {
            let view = window.look(StreamOffset(at), want);
            let limit = if at < 100 { 100 } else { 256 };
            let end = at as usize + view.bytes.len();
            assert!(end <= limit && (view.bytes.len() >= want || end == limit), "{at} {want}");
            assert_eq!(view.bytes, &bytes[at as usize..end]);
            if view.bytes.len() < want {
                let hole = Gap { offset: StreamOffset(100), length: 20, kind: GapKind::Missing };
                assert_eq!(view.stop, Some(if limit == 100 { Stop::Hole(hole) } else { Stop::End }));
            }
        }
        let view = window.look(StreamOffset(110), 1);
        assert!(view.bytes.is_empty() && matches!(view.stop, Some(Stop::Hole(gap)) if gap.length == 10));
        assert!(matches!(window.look(StreamOffset(999), 1), View { bytes: [], stop: Some(Stop::End) }));
    }
}
