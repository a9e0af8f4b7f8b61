//! The parts of a body of several, and of a mail, found in content that comes in pieces (RFC 2046 §5.1).
//!
//! A part is whole when a delimiter ends it, or, if it is the last one, when what it lies in says that it ended. Delimiters are known
//! only where a line is known to begin: not in the line after a hole. Parts within parts are listed with those around them, in the
//! order in which they begin; what only holds parts is no part itself, but a mail in a mail is.

use memchr::memchr;

use super::head::{PartHead, boundary};
use crate::body::Piece;
use crate::message::Incomplete;
use crate::part::{Entity, Part, PartKind, Undo};

/// Most parts of one body.
const PARTS: usize = 1000;
/// How many bodies and mails may lie one inside the other.
const DEPTH: usize = 16;
/// Most bytes of a part's head that are looked at.
const HEAD_BYTES: usize = 64 << 10;
/// Where so many bytes are missing of a mail that was sent by DATA, it may have ended there, and another one begun that was sent in
/// chunks (RFC 3030 §2): then no dots are added, and commands stand between any two bytes of it.
const HIDES_CHUNKS: u64 = 16;
/// How much of a line tells whether it is a delimiter: more than two hyphens around the longest boundary.
const LINE_BYTES: usize = 512;

/// Finds the parts of one body as its content comes.
pub struct Multipart {
    protocol: &'static str,
    /// Whether a line that begins with a dot has one that was added (RFC 5321 §4.5.2).
    dots: bool,
    /// Most parts.
    most: usize,
    parts: Vec<Part>,
    /// What the next byte lies in, from the outside in.
    levels: Vec<Level>,
    place: Place,
    /// Where in the content the next byte lies.
    at: u64,
    line: Line,
    /// Where the line before this one ended, without its end.
    before: u64,
    /// What the head of a mail says, once it is there.
    top: Option<PartHead>,
    /// How many bytes were missing so far.
    missing: u64,
}

/// What parts lie in.
enum Level {
    /// Between delimiters; parts without a type are mails in a digest (RFC 2046 §5.1.5).
    Parts { boundary: Vec<u8>, digest: bool },
    /// A mail; which part it is, unless it is what all lies in.
    Mail(Option<usize>),
}

/// What is being gone through.
enum Place {
    /// What belongs to no part: before the first delimiter, or after the last.
    Between,
    /// The head of a part, as far as it is kept.
    Head { begins: u64, bytes: Vec<u8>, over: bool },
    /// The body of this part, which begins there.
    Body { part: usize, start: u64 },
    /// Beyond a limit.
    Done,
}

/// The line that is being gone through.
struct Line {
    starts: u64,
    /// The first bytes of it.
    first: Vec<u8>,
    /// The last byte before the next one, if that is not after a hole.
    last: Option<u8>,
    /// Whether its beginning is known to be one.
    known: bool,
}

/// The parts of a message's content of this type, if it has several: forms, byte ranges and the like.
pub fn multipart(content_type: &[u8]) -> Option<Multipart> {
    let level = Level::Parts { boundary: boundary(content_type)?, digest: is_digest(content_type) };
    Some(Multipart::new("", false, PARTS, vec![level], Place::Between))
}

fn is_digest(content_type: &[u8]) -> bool {
    super::head::media_type(content_type) == "multipart/digest"
}

impl Multipart {
    /// The parts of a mail, its only one if it has no more; at most so many.
    pub(crate) fn mail(protocol: &'static str, dots: bool, most: usize) -> Self {
        let head = Place::Head { begins: 0, bytes: Vec::new(), over: false };
        Self::new(protocol, dots, most.min(PARTS), vec![Level::Mail(None)], head)
    }

    fn new(protocol: &'static str, dots: bool, most: usize, levels: Vec<Level>, place: Place) -> Self {
        let line = Line { starts: 0, first: Vec::new(), last: Some(b'\n'), known: true };
        Self { protocol, dots, most, parts: Vec::new(), levels, place, at: 0, line, before: 0, top: None, missing: 0 }
    }

    /// What the head of a mail says, once it is over.
    pub(crate) const fn top(&self) -> Option<&PartHead> {
        self.top.as_ref()
    }

    /// Takes the next piece of the content.
    pub fn push(&mut self, piece: Piece<'_>) {
        match piece {
            Piece::Bytes(bytes) => self.bytes(bytes),
            Piece::Hole(gap) => {
                self.lose(gap.length, Incomplete::Gap(gap.kind));
                self.at = self.at.saturating_add(gap.length);
                self.line.first.clear();
                (self.line.known, self.line.last) = (false, None);
            }
        }
    }

    /// There is no more content: the parts, numbered from 1. `incomplete` says why the content is not whole; `None` that it is, and
    /// so its end is the end of what is still open.
    pub fn finish(mut self, incomplete: Option<Incomplete>) -> Vec<Part> {
        self.end(incomplete)
    }

    /// The same, for who wants to know more.
    pub(crate) fn end(&mut self, incomplete: Option<Incomplete>) -> Vec<Part> {
        if incomplete.is_none() && self.line.known && self.line.starts < self.at {
            let line = std::mem::take(&mut self.line.first);
            self.line_ended(&line, self.at);
            self.before = self.at;
        }
        if let Place::Head { begins, bytes, over } = &mut self.place {
            // While more may come, it is not known what this will be.
            if incomplete.is_none() && !bytes.is_empty() {
                let (begins, bytes, over) = (*begins, std::mem::take(bytes), *over);
                let head = PartHead::new(&bytes);
                self.begin_leaf(&head, begins, self.at, over.then_some(Incomplete::Limit));
                self.top.get_or_insert(head);
            }
        }
        self.close_to(0, self.at, incomplete);
        let mut parts = std::mem::take(&mut self.parts);
        for (number, part) in (1u32..).zip(&mut parts) {
            part.number = number;
        }
        parts
    }

    fn bytes(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if matches!(self.place, Place::Done) {
                self.at = self.at.saturating_add(bytes.len() as u64);
                return;
            }
            let end = memchr(b'\n', bytes);
            let (piece, rest) = end.and_then(|at| bytes.split_at_checked(at + 1)).unwrap_or((bytes, b""));
            self.line_piece(piece, end.is_some());
            bytes = rest;
        }
    }

    /// Takes some bytes of a line, perhaps its last.
    fn line_piece(&mut self, piece: &[u8], ends: bool) {
        if self.line.starts == self.at && self.line.known {
            self.check_dot(piece);
        }
        if let Place::Head { bytes, over, .. } = &mut self.place {
            let added = self.dots && self.line.starts == self.at && self.line.known && piece.starts_with(b".");
            let kept = piece.get(usize::from(added)..).unwrap_or_default();
            if bytes.len() + kept.len() > HEAD_BYTES {
                *over = true;
            }
            if !*over {
                bytes.extend_from_slice(kept);
            }
        }
        let before = match piece {
            [.., last, b'\n'] => Some(*last),
            [b'\n'] => self.line.last.filter(|_| self.line.starts < self.at),
            _ => None,
        };
        let room = LINE_BYTES.saturating_sub(self.line.first.len());
        let whole = ends && self.line.first.is_empty() && self.line.starts == self.at;
        if !whole {
            self.line.first.extend(piece.iter().take(room));
        }
        self.at = self.at.saturating_add(piece.len() as u64);
        self.line.last = piece.last().copied();
        if !ends {
            return;
        }
        let end = self.at - if before == Some(b'\r') { 2 } else { 1 };
        if self.line.known {
            if whole {
                self.line_ended(piece.get(..LINE_BYTES).unwrap_or(piece), end);
            } else {
                let mut line = std::mem::take(&mut self.line.first);
                self.line_ended(&line, end);
                line.clear();
                self.line.first = line;
            }
        }
        self.line.first.clear();
        (self.line.starts, self.line.known, self.before) = (self.at, true, end);
    }

    /// Whether a dot is taken off at the beginning of a part's body that was not added: where its line begins only for those who
    /// take LF alone for a line end.
    fn check_dot(&mut self, piece: &[u8]) {
        let bare = self.at > 0 && self.at - self.before == 1;
        if let Place::Body { part, start } = self.place
            && self.dots
            && bare
            && start == self.at
            && piece.starts_with(b".")
            && let Some(part) = self.parts.get_mut(part)
        {
            part.incomplete.get_or_insert(Incomplete::Malformed);
        }
    }

    /// A line that ended at `end`, without its end; the next byte is the first after it.
    fn line_ended(&mut self, line: &[u8], end: u64) {
        let starts = self.line.starts;
        if let Some((level, closes)) = self.delimiter(line) {
            return self.delimited(level, closes, starts);
        }
        let Place::Head { begins, .. } = &self.place else { return };
        if *begins == starts
            && let Some(part) = self.coded_mail()
        {
            // A mail must not be coded (RFC 2045 §6.4): some that are said to be are not, as their first line shows.
            if !is_field(line) {
                return self.leave_coded(part, starts);
            }
            if let Some(part) = self.parts.get_mut(part) {
                part.content_codings.clear();
            }
        }
        let Place::Head { begins, bytes, over } = &mut self.place else { return };
        let empty = starts == end;
        // A part without any head, not even the empty line.
        let none = *begins == starts && !is_field(line);
        if !empty && !none {
            return;
        }
        let (begins, mut head, over) = (*begins, std::mem::take(bytes), *over);
        if none && !empty {
            head.clear();
        }
        let start = if none && !empty { starts } else { self.at };
        self.head_ended(begins, &head, start, over.then_some(Incomplete::Limit));
    }

    /// The delimiter that a line is: of which level, and whether it is the last one there.
    fn delimiter(&self, line: &[u8]) -> Option<(usize, bool)> {
        let line = line.strip_prefix(b"--")?;
        let ends = |rest: &[u8]| !rest.first().is_some_and(|b| is_boundary(*b));
        let mut found = None;
        let mut longest = 0;
        for (level, here) in self.levels.iter().enumerate() {
            let Level::Parts { boundary, .. } = here else { continue };
            let Some(rest) = line.strip_prefix(boundary.as_slice()) else { continue };
            // RFC 2046 §5.1.1: what follows the boundary does not matter, unless it makes it another one.
            let closes = rest.strip_prefix(b"--").is_some_and(ends);
            if (closes || ends(rest)) && boundary.len() >= longest {
                (found, longest) = (Some((level, closes)), boundary.len());
            }
        }
        found
    }

    /// A delimiter of this level, in a line that began at `starts`.
    fn delimited(&mut self, level: usize, closes: bool, starts: u64) {
        let end = self.before.min(starts);
        if let Place::Head { begins, bytes, over } = &mut self.place {
            // A head without an empty line and a body. What of it was kept goes up to this line.
            let (begins, bytes, over) = (*begins, std::mem::take(bytes), *over);
            let length = usize::try_from(starts - begins).unwrap_or(usize::MAX);
            let head = bytes.get(..length).unwrap_or(&bytes);
            if !head.is_empty() {
                self.begin_leaf(&PartHead::new(head), begins, starts, over.then_some(Incomplete::Limit));
            }
        }
        if matches!(self.place, Place::Done) {
            return;
        }
        // RFC 2046 §5.1.2: a delimiter of what lies around ends what lies within.
        self.close_to(level + 1, end, None);
        self.levels.truncate(if closes { level } else { level + 1 });
        self.place =
            if closes { Place::Between } else { Place::Head { begins: self.at, bytes: Vec::new(), over: false } };
    }

    /// The parts that are open within the levels from this one on.
    fn open_within(&self, level: usize) -> Vec<usize> {
        let mails = self.levels.iter().skip(level).filter_map(|level| match level {
            Level::Mail(part) => *part,
            Level::Parts { .. } => None,
        });
        let leaf = match self.place {
            Place::Body { part, .. } => Some(part),
            _ => None,
        };
        mails.chain(leaf).collect()
    }

    /// Ends what is open within the levels from this one on.
    fn close_to(&mut self, level: usize, end: u64, incomplete: Option<Incomplete>) {
        for part in self.open_within(level) {
            if let Some(part) = self.parts.get_mut(part) {
                part.incomplete = part.incomplete.or(incomplete);
                let start = part.content.first().map_or(end, |range| range.start);
                part.content = Some(start..end).filter(|range| !range.is_empty()).into_iter().collect();
            }
        }
    }

    /// The head of a part is over; its body begins at `start`.
    fn head_ended(&mut self, begins: u64, bytes: &[u8], start: u64, incomplete: Option<Incomplete>) {
        let bytes = if incomplete.is_some() { without_last_field(bytes) } else { bytes };
        let head = PartHead::new(bytes);
        if matches!(self.levels.as_slice(), [Level::Mail(None)]) && self.top.is_none() {
            self.top = Some(head.clone());
        }
        let room = self.levels.len() < DEPTH;
        let digest = matches!(self.levels.last(), Some(Level::Parts { digest: true, .. }));
        if let Some(boundary) = head.boundary().filter(|_| room) {
            let digest = head.get("content-type").is_some_and(is_digest);
            self.levels.push(Level::Parts { boundary, digest });
            self.place = Place::Between;
            return;
        }
        let is_mail = match head.media_type() {
            Some(media) => matches!(media.as_str(), "message/rfc822" | "message/global" | "message/news"),
            None => digest,
        };
        let mail = is_mail && room;
        self.begin_leaf(&head, begins, start, incomplete);
        if let Place::Body { part, .. } = self.place
            && mail
        {
            self.levels.push(Level::Mail(Some(part)));
            self.place = Place::Head { begins: start, bytes: Vec::new(), over: false };
        }
    }

    /// The mail whose head is being gone through, as long as it may be coded.
    fn coded_mail(&self) -> Option<usize> {
        let Some(Level::Mail(Some(part))) = self.levels.last() else { return None };
        self.parts.get(*part).filter(|part| !part.content_codings.is_empty()).map(|_| *part)
    }

    /// What was taken for a mail is bytes in a coding.
    fn leave_coded(&mut self, part: usize, start: u64) {
        self.levels.pop();
        self.place = Place::Body { part, start };
    }

    fn begin_leaf(&mut self, head: &PartHead, begins: u64, start: u64, incomplete: Option<Incomplete>) {
        let number = self.parts.len();
        if number >= self.most {
            if let Some(last) = self.parts.last_mut() {
                last.incomplete.get_or_insert(Incomplete::Limit);
            }
            // What is still open has no end that was looked for.
            self.close_to(0, self.at, Some(Incomplete::Limit));
            self.levels.clear();
            self.place = Place::Done;
            return;
        }
        let empty = start..start;
        let mut part = Part::new(0, self.protocol, PartKind::Part, vec![empty]);
        part.begins = begins;
        part.declared_type = head.get("content-type").map(|value| value.get(..1024).unwrap_or(value).into());
        part.filename = head.filename();
        let content_range = head.get("content-range").map(Into::into);
        part.entity = content_range.map(|range| Box::new(Entity { content_range: Some(range), ..Entity::default() }));
        part.content_codings = head.codings();
        part.incomplete = incomplete;
        if self.dots && self.protocol == "smtp" && self.missing >= HIDES_CHUNKS {
            part.incomplete.get_or_insert(Incomplete::Unsure);
        }
        if self.dots {
            part.undo = Undo::Dots;
        }
        self.parts.push(part);
        self.place = Place::Body { part: number, start };
    }

    /// Bytes that are missing here.
    fn lose(&mut self, length: u64, why: Incomplete) {
        self.missing = self.missing.saturating_add(length);
        if let Place::Head { begins, bytes, .. } = &mut self.place {
            let (begins, bytes) = (*begins, std::mem::take(bytes));
            match self.coded_mail() {
                Some(part) => self.leave_coded(part, begins),
                None => self.head_ended(begins, &bytes, self.at, Some(why)),
            }
            if let Place::Head { .. } = self.place {
                // A mail in a mail, of whose head nothing is there.
                match self.coded_mail() {
                    Some(part) => self.leave_coded(part, self.at),
                    None => self.head_ended(self.at, b"", self.at, Some(why)),
                }
            }
        }
        for part in self.open_within(0) {
            if let Some(part) = self.parts.get_mut(part) {
                part.missing = part.missing.saturating_add(length);
                part.incomplete.get_or_insert(why);
            }
        }
    }
}

/// Whether a line may be a header field.
fn is_field(line: &[u8]) -> bool {
    let name = line.split(|b| *b == b':').next().unwrap_or_default();
    name.len() < line.len() && !name.is_empty() && name.trim_ascii_end().iter().all(u8::is_ascii_graphic)
        || line.starts_with(b"From ")
}

/// Whether a boundary may have this character, blanks apart (RFC 2046 §5.1.1).
const fn is_boundary(b: u8) -> bool {
    b.is_ascii_alphanumeric()
        || matches!(b, b'\'' | b'(' | b')' | b'+' | b'_' | b',' | b'-' | b'.' | b'/' | b':' | b'=' | b'?')
}

/// A head that was cut short, without the field that the cut may have gone through.
fn without_last_field(head: &[u8]) -> &[u8] {
    let mut end = head.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    // The last whole line may go on after the cut, so its field is not sure either.
    while let Some(lines) = head.get(..end.saturating_sub(1)) {
        let start = lines.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let goes_on = matches!(head.get(start), Some(b' ' | b'\t'));
        end = start;
        if !goes_on || start == 0 {
            break;
        }
    }
    head.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests;
