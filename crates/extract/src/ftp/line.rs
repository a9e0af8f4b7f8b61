//! Lines of a control connection (RFC 959 §4.1.3, §4.2), which is Telnet underneath.

use streamdb_types::StreamOffset;

use crate::source::Source;
use crate::window::{Stop, Window};

/// How much of a line is kept.
const LINE: usize = 8 << 10;
/// What is read at a time.
const READ: usize = 4 << 10;

/// The lines of one direction.
pub(super) struct Lines<'s> {
    window: Window<'s>,
    /// Where the next line begins.
    at: StreamOffset,
    /// Whether bytes before `at` are missing.
    pub(super) lossy: bool,
    /// How many holes there are before `at`.
    pub(super) holes: u64,
}

/// A line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// Where it begins.
    pub(super) start: StreamOffset,
    /// Where the next one begins.
    pub(super) end: StreamOffset,
    /// Without its end, and without what Telnet says in between.
    pub(super) text: Vec<u8>,
    /// Whether it is longer than what is kept.
    pub(super) cut: bool,
    /// Whether bytes before it are missing, back to the line before it.
    pub(super) late: bool,
}

impl<'s> Lines<'s> {
    pub(super) fn new(source: &'s dyn Source) -> Self {
        Self { window: Window::new(source, READ), at: StreamOffset(0), lossy: false, holes: 0 }
    }

    /// Whether these bytes come next.
    pub(super) fn goes_on_with(&mut self, bytes: &[u8]) -> bool {
        self.window.look(self.at, bytes.len()).bytes.starts_with(bytes)
    }

    /// The next whole line; what lies around a hole is no line.
    pub(super) fn next(&mut self) -> Option<Line> {
        let mut line = Line { start: self.at, ..Line::default() };
        let mut broken = false;
        loop {
            let view = self.window.look(self.at, 1);
            if view.bytes.is_empty() {
                let Some(Stop::Hole(gap)) = view.stop else { return None };
                self.at = gap.end();
                self.lossy = true;
                self.holes += 1;
                broken = true;
                continue;
            }
            let end = view.bytes.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(view.bytes.len(), |end| end + 1);
            if !broken {
                let room = LINE.saturating_sub(line.text.len());
                let bytes = view.bytes.get(..taken).unwrap_or_default();
                line.text.extend(bytes.iter().take(room));
                line.cut |= bytes.len() > room;
            }
            self.at = self.at.add(taken as u64);
            if end.is_none() {
                continue;
            }
            if broken {
                broken = false;
                line = Line { start: self.at, late: true, ..Line::default() };
                continue;
            }
            line.end = self.at;
            let text = line.text.as_slice();
            let text = text.strip_suffix(b"\n").unwrap_or(text);
            line.text = without_telnet(text.strip_suffix(b"\r").unwrap_or(text));
            return Some(line);
        }
    }
}

/// Leaves out the commands of Telnet that stand before a line, as before ABOR (RFC 959 §4.1.3), and makes one of the doubled
/// byte that would begin one (RFC 854). Not all clients double it in names: alone it stays.
fn without_telnet(text: &[u8]) -> Vec<u8> {
    let mut rest = text;
    loop {
        rest = match rest {
            [0xff, 0xfb..=0xfe, _, after @ ..] | [0xff, 0xf0..=0xfa, after @ ..] => after,
            // The data mark may be sent alone, as urgent data.
            [0xf2, after @ ..] if rest.len() < text.len() => after,
            _ => break,
        };
    }
    let mut out = Vec::with_capacity(rest.len());
    let mut bytes = rest.iter().peekable();
    while let Some(byte) = bytes.next() {
        if *byte == 0xff {
            _ = bytes.next_if(|next| **next == 0xff);
        }
        out.push(*byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use streamdb_types::GapKind;

    use super::*;
    use crate::memory::MemorySource;

    fn all(source: &MemorySource) -> Vec<(u64, u64, String)> {
        let mut lines = Lines::new(source);
        std::iter::from_fn(|| lines.next())
            .map(|line| (line.start.0, line.end.0, String::from_utf8_lossy(&line.text).into_owned()))
            .collect()
    }

    #[test]
    fn lines_and_holes() {
        let source = MemorySource::new(*b"USER a\r\nPASS b\nLIST\r\nCWD x\r\nunended");
        let line = |start, end, text: &str| (start, end, text.to_owned());
        let whole = [line(0, 8, "USER a"), line(8, 15, "PASS b"), line(15, 21, "LIST"), line(21, 28, "CWD x")];
        assert_eq!(all(&source), whole);
        assert_eq!(all(&source.clone().with_reads_of(1)), whole);
        // A hole over the end of one line and the beginning of the next takes both.
        let holed = source.with_gap(12, 5, GapKind::Missing);
        assert_eq!(all(&holed), [line(0, 8, "USER a"), line(21, 28, "CWD x")]);
    }

    #[test]
    fn what_telnet_says_is_left_out() {
        assert_eq!(without_telnet(b"\xff\xf4\xff\xf2ABOR"), b"ABOR");
        assert_eq!(without_telnet(b"\xff\xf4\xf2ABOR"), b"ABOR");
        assert_eq!(without_telnet(b"RETR a\xff\xffb\xffc"), b"RETR a\xffb\xffc");
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_one_found() {
        let source = MemorySource::new([vec![b'x'; 100_000], b"\r\nQUIT\r\n".to_vec()].concat());
        let mut lines = Lines::new(&source);
        let long = lines.next().unwrap();
        assert!(long.cut && long.text.len() == LINE);
        assert_eq!(lines.next().unwrap().text, b"QUIT");
        assert_eq!(lines.next(), None);
    }
}
