//! The chunked transfer coding (RFC 9112 §7.1): from one chunk to the next.

use streamdb_types::{Gap, StreamOffset};

use super::line::{self, Role};
use crate::span::Span;
use crate::window::{Stop, Window};

/// The longest line of a chunk's size and extensions.
const SIZE_LINE_BYTES: usize = 16 << 10;
/// The longest trailer section.
const TRAILER_BYTES: usize = 64 << 10;

/// Walks from chunk to chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunks {
    at: StreamOffset,
    /// Whether the line end after a chunk's data is still to come.
    after_data: bool,
    /// Whether what was met so far breaks the grammar in a way that does not hide where chunks end.
    odd: bool,
}

/// What the walk meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The data of a chunk, as far as the stream goes; never empty. Holes in it do not stop the walk.
    Data(Span),
    /// The last chunk: where the trailer section lies.
    Last { trailers: Span },
    /// The walk cannot go on from `at`.
    Broken { at: StreamOffset, why: Broken },
}

/// Why the walk cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// A hole where a chunk's size should be.
    Hole(Gap),
    /// No chunk size where one should be.
    Malformed,
    /// The stream ends; this many bytes of the chunk that was begun are known to be missing.
    Ended { missing: u64 },
}

impl Chunks {
    /// A walk over a chunked body that begins at `at`.
    pub(crate) const fn new(at: StreamOffset) -> Self {
        Self { at, after_data: false, odd: false }
    }

    /// Whether blanks or line ends so far were not where they should be.
    pub(crate) const fn is_odd(&self) -> bool {
        self.odd
    }

    /// The next thing. After `Last` and `Broken` there is none, and the answer repeats or is `Broken`.
    pub(crate) fn next(&mut self, window: &mut Window<'_>, end: StreamOffset) -> Step {
        if self.after_data {
            if self.at > end {
                return Step::Broken { at: end, why: Broken::Ended { missing: self.at.since(end) } };
            }
            if let Some(step) = self.line_end(window) {
                return step;
            }
        }
        let (size, line) = match self.size(window) {
            Ok(found) => found,
            Err(why) => return Step::Broken { at: self.at, why },
        };
        let data = self.at.add(line);
        if size == 0 {
            return self.trailers(window, data);
        }
        if data >= end {
            // The size came whole, none of the data did.
            return Step::Broken { at: data, why: Broken::Ended { missing: size } };
        }
        // What is there is handed out; the next step says what is not.
        self.at = data.add(size);
        self.after_data = true;
        Step::Data(Span::new(data, self.at.min(end)))
    }

    /// The line end after a chunk's data. It may be missing when the next size follows at once, as broken senders do.
    fn line_end(&mut self, window: &mut Window<'_>) -> Option<Step> {
        let at = self.at;
        let view = window.look(at, 2);
        let skip = match (view.bytes, view.stop) {
            ([b'\r', b'\n', ..], _) => 2,
            ([b'\n', ..], _) => 1,
            ([b'\r'] | [], Some(Stop::Hole(gap))) => return Some(Step::Broken { at, why: Broken::Hole(gap) }),
            ([b'\r'] | [], Some(Stop::End)) => {
                return Some(Step::Broken { at, why: Broken::Ended { missing: 0 } });
            }
            _ => 0,
        };
        self.odd |= skip == 0;
        self.at = at.add(skip);
        self.after_data = false;
        None
    }

    /// The size of the chunk that begins here, and the length of its line. Firefox passes over empty lines before it, and over
    /// whatever stands behind the digits, as curl does; that is believed where a line ends behind the data.
    fn size(&mut self, window: &mut Window<'_>) -> Result<(u64, u64), Broken> {
        let mut want = 64;
        loop {
            let view = window.look(self.at, want);
            let empty = empty_lines(view.bytes);
            let rest = view.bytes.get(empty..).unwrap_or_default();
            if let Some(end) = rest.iter().position(|b| *b == b'\n') {
                let line = rest.get(..end).unwrap_or_default();
                let size = parse_size(line).ok_or(Broken::Malformed)?;
                let (stray, doubtful) = (has_stray_blanks(line), empty > 0 || has_more(line));
                let length = (empty + end) as u64 + 1;
                let after = self.at.add(length).add(size);
                if doubtful && !matches!(window.look(after, 2).bytes, [b'\r', b'\n', ..] | [b'\n', ..]) {
                    return Err(Broken::Malformed);
                }
                self.odd |= stray || doubtful;
                return Ok((size, length));
            }
            // Not a size, however the line goes on.
            if !rest.is_empty() && parse_size(rest).is_none() {
                return Err(Broken::Malformed);
            }
            match view.stop {
                Some(Stop::Hole(gap)) => return Err(Broken::Hole(gap)),
                Some(Stop::End) if empty > 0 => return Err(Broken::Malformed),
                Some(Stop::End) => return Err(Broken::Ended { missing: 0 }),
                None if view.bytes.len() >= SIZE_LINE_BYTES => return Err(Broken::Malformed),
                None => want = view.bytes.len().saturating_mul(2).max(want),
            }
        }
    }

    /// The trailer section, which begins at `start`. A stream that ends in it, or goes on with a new message without the
    /// empty line, has the whole body all the same.
    fn trailers(&self, window: &mut Window<'_>, start: StreamOffset) -> Step {
        let mut want = 64;
        loop {
            let view = window.look(start, want);
            let mut at = 0;
            while let Some(line) = view.bytes.get(at..)
                && let Some(length) = line.iter().position(|b| *b == b'\n')
            {
                if line::surely_begins(line, Role::Responses) {
                    return Step::Last { trailers: Span::new(start, start.add(at as u64)) };
                }
                at += length + 1;
                if line.iter().take(length).all(|b| *b == b'\r') {
                    return Step::Last { trailers: Span::new(start, start.add(at as u64)) };
                }
            }
            let len = view.bytes.len() as u64;
            match view.stop {
                Some(Stop::Hole(gap)) => return Step::Broken { at: start.add(len), why: Broken::Hole(gap) },
                Some(Stop::End) => return Step::Last { trailers: Span::new(start, start.add(len)) },
                None if view.bytes.len() >= TRAILER_BYTES => {
                    return Step::Broken { at: start, why: Broken::Malformed };
                }
                None => want = view.bytes.len().saturating_mul(2).max(want),
            }
        }
    }
}

/// Whether there are blanks before a size, or after one that no extension follows.
fn has_stray_blanks(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    digits == 0 || (digits < line.len() && !line.contains(&b';'))
}

/// How many bytes of empty lines there are first.
fn empty_lines(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at += match bytes.get(at..) {
            Some([b'\n', ..]) => 1,
            Some([b'\r', b'\n', ..]) => 2,
            _ => return at,
        };
    }
}

/// Whether there is something else around a size than blanks, a semicolon with extensions, and the end of the line.
fn has_more(line: &[u8]) -> bool {
    let after = line.trim_ascii_start().iter().find(|b| !b.is_ascii_hexdigit());
    !matches!(after, None | Some(b' ' | b'\t' | b'\r' | b';'))
}

/// The hexadecimal digits that come first in a line, behind what C takes for blanks.
fn parse_size(line: &[u8]) -> Option<u64> {
    let blanks = line.iter().take_while(|b| b.is_ascii_whitespace() || **b == 0x0b).count();
    let line = line.get(blanks..)?;
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    line.get(..digits).filter(|digits| !digits.is_empty())?.iter().try_fold(0u64, |n, digit| {
        let value = char::from(*digit).to_digit(16)?;
        n.checked_mul(16)?.checked_add(u64::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemorySource;
    use crate::source::Source;

    fn walk(source: &MemorySource) -> (Vec<Step>, Step) {
        let mut window = Window::new(source, 8);
        let mut chunks = Chunks::new(StreamOffset(0));
        let mut data = Vec::new();
        loop {
            match chunks.next(&mut window, source.end()) {
                step @ Step::Data(_) => data.push(step),
                step => return (data, step),
            }
        }
    }

    fn span(start: u64, end: u64) -> Span {
        Span::new(StreamOffset(start), StreamOffset(end))
    }

    #[test]
    fn chunks_follow_one_another() {
        let cases: &[(&[u8], &[Span], Step)] = &[
            (b"0\r\n\r\nX", &[], Step::Last { trailers: span(3, 5) }),
            (b"3\r\nabc\r\n0\r\n\r\n", &[span(3, 6)], Step::Last { trailers: span(11, 13) }),
            (b"3;x=\"y\"\nabc\n00\nA: b\n\nX", &[span(8, 11)], Step::Last { trailers: span(15, 21) }),
            (b"  2 \r\nab3\r\nabc\r\n0\r\n", &[span(6, 8), span(11, 14)], Step::Last { trailers: span(19, 19) }),
            (b"0\r\nHTTP/1.1 200 OK\r\n", &[], Step::Last { trailers: span(3, 3) }),
            (b"5\r\nabc", &[span(3, 6)], Step::Broken { at: StreamOffset(6), why: Broken::Ended { missing: 2 } }),
            (b"5\r\n", &[], Step::Broken { at: StreamOffset(3), why: Broken::Ended { missing: 5 } }),
            (b"5", &[], Step::Broken { at: StreamOffset(0), why: Broken::Ended { missing: 0 } }),
            (b"x\r\n", &[], Step::Broken { at: StreamOffset(0), why: Broken::Malformed }),
            // Behind the digits anything, where what follows bears it out.
            (b"3x\r\nabc\r\n0\x0c\r\n\r\n", &[span(4, 7)], Step::Last { trailers: span(13, 15) }),
            (b"3\x0b\nabc\n0\n\n", &[span(3, 6)], Step::Last { trailers: span(9, 10) }),
            (b"3x\r\nabcd\r\n", &[], Step::Broken { at: StreamOffset(0), why: Broken::Malformed }),
            (b"3x\r\nabc", &[], Step::Broken { at: StreamOffset(0), why: Broken::Malformed }),
            (b"\n3\r\nabc\r\n\r\n0\r\n\r\n", &[span(4, 7)], Step::Last { trailers: span(14, 16) }),
            (b"\x0b3\r\nabc\r\n0\r\n\r\n", &[span(4, 7)], Step::Last { trailers: span(12, 14) }),
            (b"\r\n3\r\nabcd\r\n", &[], Step::Broken { at: StreamOffset(0), why: Broken::Malformed }),
            (b"0x\r\nA: b\r\n\r\n", &[], Step::Broken { at: StreamOffset(0), why: Broken::Malformed }),
            (b"\r\n", &[], Step::Broken { at: StreamOffset(0), why: Broken::Malformed }),
            (b"11111111111111111\r\n", &[], Step::Broken { at: StreamOffset(0), why: Broken::Malformed }),
        ];
        for (bytes, data, last) in cases {
            let (found, end) = walk(&MemorySource::new(*bytes));
            let data: Vec<Step> = data.iter().map(|span| Step::Data(*span)).collect();
            assert_eq!((found, end), (data, *last), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn stray_blanks_and_missing_line_ends_are_odd() {
        let cases: &[(&[u8], bool)] = &[
            (b"2\r\nab\r\n0\r\n\r\n", false),
            (b"2 ;a=b\nab\n0\n\n", false),
            (b"2 \r\nab\r\n0\r\n\r\n", true),
            (b" 2\r\nab\r\n0\r\n\r\n", true),
            (b"2\r\r\nab\r\n0\r\n\r\n", true),
            (b"\n2\r\nab\r\n0\r\n\r\n", true),
            (b"2x;y\r\nab\r\n0\r\n\r\n", true),
            (b"2\r\nab0\r\n\r\n", true),
        ];
        for (bytes, odd) in cases {
            let source = MemorySource::new(*bytes);
            let mut window = Window::new(&source, 8);
            let mut chunks = Chunks::new(StreamOffset(0));
            while let Step::Data(_) = chunks.next(&mut window, source.end()) {}
            assert_eq!(chunks.is_odd(), *odd, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_huge_size_runs_to_the_end_of_the_stream() {
        let (data, end) = walk(&MemorySource::new(*b"ffffffffffffffff\r\nabc"));
        assert_eq!(data, [Step::Data(span(18, 21))]);
        assert!(matches!(end, Step::Broken { why: Broken::Ended { .. }, .. }));
    }
}
