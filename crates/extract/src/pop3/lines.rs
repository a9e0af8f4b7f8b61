//! The lines of a stream, and the holes between them.

use memchr::memchr;
use streamdb_types::{Gap, StreamOffset};

use crate::source::Source;
use crate::window::{Stop, Window};

/// The longest line that is looked at: RFC 1939 §3 has 512 bytes for answers, RFC 2449 §4 255 for commands.
pub(super) const LINE_BYTES: usize = 4 << 10;
/// What is read at a time.
const READ_BYTES: usize = 64 << 10;

/// The lines of a stream.
pub(super) struct Lines<'s> {
    pub(super) window: Window<'s>,
    /// Where the next one begins.
    pub(super) at: StreamOffset,
    /// Where the bytes before a dot alone ended.
    pub(super) before: StreamOffset,
}

/// A line.
pub(super) enum Line {
    /// Its first bytes without the line end, and whether it ended with LF alone.
    Whole { bytes: Vec<u8>, lf: bool },
    /// A hole in it or before it.
    Hole(Gap),
    /// It does not end.
    End,
}

impl<'s> Lines<'s> {
    pub(super) fn new(source: &'s dyn Source) -> Self {
        Self { window: Window::new(source, READ_BYTES), at: StreamOffset(0), before: StreamOffset(0) }
    }

    /// The next line, which is gone over if it is whole; what lies before a hole is gone over, too.
    pub(super) fn next(&mut self) -> Line {
        let mut first: Vec<u8> = Vec::new();
        let mut at = self.at;
        loop {
            let view = self.window.look(at, 1);
            let end = memchr(b'\n', view.bytes);
            let taken = view.bytes.get(..end.unwrap_or(view.bytes.len())).unwrap_or_default();
            first.extend(taken.iter().take(LINE_BYTES.saturating_sub(first.len())));
            at = at.add(taken.len() as u64);
            if end.is_some() {
                self.at = at.add(1);
                let returned = first.last() == Some(&b'\r');
                if returned {
                    first.pop();
                }
                return Line::Whole { bytes: first, lf: !returned };
            }
            match view.stop {
                Some(Stop::Hole(gap)) if taken.is_empty() => {
                    self.at = gap.end();
                    return Line::Hole(Gap { offset: at, length: gap.end().since(at), kind: gap.kind });
                }
                _ if taken.is_empty() => return Line::End,
                _ => {}
            }
        }
    }
}
