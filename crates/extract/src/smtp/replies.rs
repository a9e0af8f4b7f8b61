//! The server's replies, in the order of the commands that they answer (RFC 5321 §4.2, RFC 2920 §3.1).
//!
//! Where bytes of the server are missing, or are no replies, the later ones answer nobody knows what, and are not used.

use streamdb_types::{Marks, StreamOffset};

use crate::source::Source;
use crate::window::{Stop, Window};

/// The longest line: RFC 5321 §4.5.3.1.5 has 512 bytes.
const LINE_BYTES: usize = 8 << 10;

/// What the server said next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// A reply with this code.
    Code(u16),
    /// Nothing so far, but more may come.
    NotYet,
    /// It is not known.
    Unknown,
}

pub(super) struct Replies<'s> {
    source: &'s dyn Source,
    window: Window<'s>,
    at: StreamOffset,
    /// What will be said from now on, whatever was sent.
    stopped: Option<Reply>,
}

impl<'s> Replies<'s> {
    /// Those after the greeting, if the beginning was captured.
    pub(super) fn new(source: &'s dyn Source) -> Self {
        let begun = source.end() > StreamOffset(0) && !source.marks().contains(Marks::MIDSTREAM);
        let stopped = (!begun).then_some(Reply::Unknown);
        let mut replies = Self { source, window: Window::new(source, 512), at: StreamOffset(0), stopped };
        replies.next();
        replies
    }

    /// It is no longer known what the next one answers.
    pub(super) const fn lose(&mut self) {
        self.stopped = Some(Reply::Unknown);
    }

    /// Where the next reply begins; the end of the stream where that is not known.
    pub(super) fn at(&self) -> StreamOffset {
        if self.stopped.is_some() { self.source.end() } else { self.at }
    }

    /// The next reply: all its lines, by the code of the last.
    pub(super) fn next(&mut self) -> Reply {
        if let Some(stopped) = self.stopped {
            return stopped;
        }
        let mut at = self.at;
        let stopped = loop {
            let (line, end) = match self.line(at) {
                Ok(found) => found,
                Err(why) => break why,
            };
            at = end;
            match line {
                Line::Last(code) => {
                    self.at = at;
                    return Reply::Code(code);
                }
                Line::GoesOn => {}
                Line::None => break Reply::Unknown,
            }
        };
        self.stopped = Some(stopped);
        stopped
    }

    /// The line at a place, and where the next one begins.
    fn line(&mut self, at: StreamOffset) -> Result<(Line, StreamOffset), Reply> {
        let mut want = 512;
        loop {
            let view = self.window.look(at, want);
            if let Some(end) = view.bytes.iter().position(|b| *b == b'\n') {
                return Ok((Line::new(view.bytes.get(..end).unwrap_or_default()), at.add(end as u64 + 1)));
            }
            match view.stop {
                Some(Stop::End) if self.source.ended().is_none() => return Err(Reply::NotYet),
                Some(_) => return Err(Reply::Unknown),
                None if view.bytes.len() >= LINE_BYTES => return Err(Reply::Unknown),
                None => want = LINE_BYTES,
            }
        }
    }
}

/// A line of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Last(u16),
    GoesOn,
    None,
}

impl Line {
    fn new(line: &[u8]) -> Self {
        let Some((digits, rest)) = line.split_first_chunk::<3>() else { return Self::None };
        let [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9'] = digits else { return Self::None };
        match rest.first() {
            Some(b'-') => Self::GoesOn,
            None | Some(b' ' | b'\t' | b'\r') => {
                Self::Last(digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0')))
            }
            Some(_) => Self::None,
        }
    }
}

/// The first line of the server.
pub(super) struct Greeting {
    line: Vec<u8>,
    midstream: bool,
}

impl Greeting {
    pub(super) fn read(server: &dyn Source) -> Self {
        let mut window = Window::new(server, 512);
        let bytes = window.look(StreamOffset(0), 512).bytes;
        let bytes = bytes.get(..512).unwrap_or(bytes);
        let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
        Self { line: line.trim_ascii_end().to_vec(), midstream: server.marks().contains(Marks::MIDSTREAM) }
    }

    /// Whether there is any.
    pub(super) const fn is_there(&self) -> bool {
        !self.line.is_empty()
    }

    /// Whether it is a reply.
    pub(super) fn is_reply(&self) -> bool {
        Line::new(&self.line) != Line::None
    }

    /// Whether it can only be that of a server of mail.
    pub(super) fn is_of_mail(&self) -> bool {
        let has = |word: &[u8]| self.line.windows(word.len()).any(|bytes| bytes.eq_ignore_ascii_case(word));
        self.greets() && (has(b"SMTP") || has(b"LMTP")) && !has(b"FTP ")
    }

    fn greets(&self) -> bool {
        self.line.starts_with(b"220") && self.is_reply() && !self.midstream
    }

    /// What it says behind its code.
    pub(super) fn text(&self) -> &[u8] {
        self.line.get(4..).filter(|_| self.greets()).unwrap_or_default().trim_ascii()
    }

    /// The name that the server gives itself (RFC 5321 §4.2, `Greeting`).
    pub(super) fn host(&self) -> Option<&[u8]> {
        let word = self.text().split(u8::is_ascii_whitespace).next()?;
        let sound = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'[' | b']' | b':');
        let named = word.contains(&b'.') || word.starts_with(b"[") || word == b"localhost";
        (named && word.len() <= 255 && word.iter().all(sound)).then_some(word)
    }
}
