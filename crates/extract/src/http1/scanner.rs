//! One direction of a connection, message after message.
//!
//! ```text
//!            a whole head, its body's end known
//!          +---------------------------------------+
//!          v                                       |
//!       In step --- a hole in a head or a chunk size, bytes that are no head ---> Lost
//!          ^                                                                       |
//!          +--------------------- a sure head is found ----------------------------+
//!       In step, Lost --- the end, a tunnel, a limit, nothing found ---> Done
//! ```
//!
//! Every byte of the stream belongs to exactly one message, holes and blank lines included.

use streamdb_types::{Direction, GapKind, Marks, StreamOffset};

use super::chunked::{Broken, Step};
use super::facts::Facts;
use super::framing::{self, Asked, Then};
use super::head;
use super::line::{self, Role, Seen};
use super::search;
use super::split::{head_end, odd_head_end};
use crate::inside::is_open;
use crate::limits::Limits;
use crate::message::{Framing, Incomplete, Kind, Message, MessageIndex};
use crate::notes::Notes;
use crate::source::Source;
use crate::span::Span;
use crate::tls;
use crate::window::{Stop, Window};

/// How far to search for the next head in a stream that is known to carry HTTP.
const SEARCH_BYTES: u64 = 64 << 20;
/// How far to search in one of which nothing is known but that its beginning was not captured.
const PROBE_BYTES: u64 = 1 << 20;
/// With so many bytes of it, it is known whether a head is found there.
pub(crate) const SHOWN_BYTES: u64 = PROBE_BYTES + search::HEAD_BYTES as u64;
/// The least that is read at a time.
const READ: usize = 1 << 10;
/// What is read at first of a head; most are shorter.
pub(super) const HEAD_READ: usize = 2 << 10;

/// One direction, and how far it has been scanned.
pub(super) struct Scanner<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) other: &'a dyn Source,
    pub(super) direction: Direction,
    pub(super) role: Role,
    limits: Limits,
    pub(super) window: Window<'a>,
    state: State,
    /// Where the next message's span begins.
    from: StreamOffset,
    /// Where to look for the next head.
    pub(super) at: StreamOffset,
    /// No search begins before this place, so that none finds the same head twice.
    search_from: StreamOffset,
    /// Near misses that searches may still have.
    misses: u32,
    /// Bytes kept in memory.
    kept: usize,
    /// Whether messages may have been lost so far, so that counting them is no proof of which answers which.
    pub lossy: bool,
    /// Messages that are known to have lost their head to a hole.
    lost_heads: u32,
    /// Whether what comes is what an accepted CONNECT or Upgrade was for.
    in_tunnel: bool,
    /// What has been found.
    pub found: Vec<Message>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    InStep,
    /// With what the bytes up to the next sure head are then said to lack.
    Lost(Incomplete),
    Done,
}

/// What stands where a head should begin.
enum Start {
    /// A whole head of this many bytes.
    Whole(usize),
    /// A head of which this many bytes are there.
    Cut(usize, Stop),
    /// A first line that breaks off.
    Broken(Stop),
    /// No head.
    No,
    /// A head beyond the limit.
    TooLong,
}

/// What a scan has come to.
pub(super) struct Found {
    /// Its place in [`Scanner::found`].
    pub place: usize,
    /// What follows it.
    pub then: Then,
    /// What it asks, if it is a request; and whether nothing was lost before it.
    pub asks: Asked,
    /// How many messages before it lost their head.
    pub lost_heads: u32,
}

impl<'a> Scanner<'a> {
    /// A scan of the stream of `direction`, which carries what `role` says.
    pub(super) fn new(streams: [&'a dyn Source; 2], direction: Direction, role: Role, limits: &Limits) -> Self {
        let (source, other) = (*direction.of(&streams), *direction.flip().of(&streams));
        Self {
            source,
            other,
            direction,
            role,
            limits: *limits,
            window: Window::new(source, READ),
            state: State::InStep,
            from: StreamOffset(0),
            at: StreamOffset(0),
            search_from: StreamOffset(0),
            misses: search::MISSES,
            kept: 0,
            lossy: source.marks().contains(Marks::MIDSTREAM),
            lost_heads: 0,
            in_tunnel: false,
            found: Vec::new(),
        }
    }

    /// Whether the stream begins with a head of this role.
    pub(super) fn begins(&mut self) -> bool {
        self.skip_blanks();
        !matches!(self.start(), Start::No | Start::Broken(_))
    }

    /// Whether a head is found further on in a stream whose beginning was not captured.
    pub(super) fn found_in_the_middle(&mut self) -> bool {
        // In what is enciphered there is none.
        self.has_no_beginning()
            && !tls::begins(self.source)
            && search::find(&mut self.window, self.at, self.role, PROBE_BYTES, &mut self.misses).is_some()
    }

    /// Whether that may be found when more bytes come.
    pub(super) fn may_be_found_in_the_middle(&mut self) -> bool {
        is_open(self.source) && self.has_no_beginning() && self.source.end().since(self.at) < SHOWN_BYTES
    }

    /// Whether the beginning was not captured, or not all of the first line.
    fn has_no_beginning(&mut self) -> bool {
        self.skip_blanks();
        self.lossy || matches!(self.start(), Start::Broken(Stop::Hole(_)))
    }

    /// The next request or response. Messages of kind stream that lie before it are added without being told.
    pub(super) fn next(&mut self, asked: Asked) -> Option<Found> {
        loop {
            match self.state {
                State::Done => return None,
                // One place is kept for what lies before the next head, one for the rest.
                State::Lost(_) if self.found.len() + 2 >= self.limits.messages as usize => {
                    self.rest(Some(Incomplete::Limit), Notes::AFTER_LOSS);
                    return None;
                }
                State::Lost(why) => {
                    self.find_again(why);
                    continue;
                }
                State::InStep => {}
            }
            if !self.skip_blanks() {
                self.end_of_stream();
                return None;
            }
            // The last place is kept for the rest.
            if self.found.len() + 1 >= self.limits.messages as usize || self.kept > self.limits.kept {
                self.rest(Some(Incomplete::Limit), Notes::default());
                return None;
            }
            match self.start() {
                Start::Whole(length) => {
                    if let Some(found) = self.message(length, asked) {
                        return Some(found);
                    }
                }
                Start::Cut(length, stop) => {
                    if let Some(found) = self.cut_head(length, stop) {
                        return Some(found);
                    }
                }
                Start::Broken(Stop::Hole(gap)) => {
                    self.lost_heads += 1;
                    self.lose(Incomplete::Gap(gap.kind));
                }
                Start::Broken(Stop::End) => {
                    let why = Incomplete::at_end(self.source, self.other, self.direction);
                    self.rest(Some(why), Notes::default());
                }
                Start::No => {
                    let why = self.why_no_head();
                    self.lose(why);
                }
                Start::TooLong => self.rest(Some(Incomplete::Limit), Notes::default()),
            }
        }
    }

    /// Whether nothing is left but empty lines and holes.
    pub(super) fn is_at_end(&mut self) -> bool {
        !self.skip_blanks()
    }

    /// What follows is in a tunnel: more messages, or another protocol.
    pub(super) fn tunnel(&mut self, goes_on: bool) {
        self.in_tunnel = true;
        if !goes_on && self.state != State::Done {
            self.rest(None, Notes::default());
        }
    }

    /// Passes over empty lines (RFC 9112 §2.2) and holes before a head. False when nothing else is left.
    fn skip_blanks(&mut self) -> bool {
        loop {
            let view = self.window.look(self.at, 64);
            let blanks = view.bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
            let (more, stop) = (blanks < view.bytes.len(), view.stop);
            self.at = self.at.add(blanks as u64);
            match stop {
                _ if more => return true,
                Some(Stop::Hole(gap)) => {
                    self.at = gap.end();
                    self.lossy = true;
                }
                Some(Stop::End) => return false,
                None => {}
            }
        }
    }

    /// What stands at the place where a head should begin.
    fn start(&mut self) -> Start {
        let mut want = HEAD_READ;
        loop {
            let view = self.window.look(self.at, want);
            let (bytes, stop) = (view.bytes, view.stop);
            let too_long = bytes.len() >= self.limits.head;
            match (line::begins(bytes, self.role), stop) {
                (Seen::No, _) => return Start::No,
                (Seen::Unclear, Some(stop)) => return Start::Broken(stop),
                (Seen::Unclear, None) if too_long => return Start::No,
                (Seen::Unclear, None) => {}
                (Seen::Yes, stop) => match (head_end(bytes), stop) {
                    (Some(end), _) if end <= self.limits.head => return Start::Whole(end),
                    (Some(_), _) => return Start::TooLong,
                    (None, Some(Stop::End))
                        if self.role == Role::Responses
                            && let Some(end) = odd_head_end(bytes).filter(|end| *end <= self.limits.head) =>
                    {
                        return Start::Whole(end);
                    }
                    (None, Some(stop)) => return Start::Cut(bytes.len(), stop),
                    (None, None) if too_long => return Start::TooLong,
                    (None, None) => {}
                },
            }
            want = bytes.len().saturating_mul(2).min(self.limits.head).max(want);
        }
    }

    /// Takes the message whose head of `length` bytes begins here.
    fn message(&mut self, length: usize, asked: Asked) -> Option<Found> {
        let Some(facts) = self.facts(length) else {
            self.lose(Incomplete::Malformed);
            return None;
        };
        // Losses on the way to this head make the pairing a guess.
        let asked = Asked { sure: asked.sure && !self.lossy, ..asked };
        let head = Span::new(self.at, self.at.add(length as u64));
        let (mut framing, then) = framing::declared(&facts, asked);
        let mut notes = facts.notes;
        let without_body = framing != Framing::None && self.has_no_body(&facts, asked, head.end);
        if without_body {
            framing = Framing::None;
            notes.insert(Notes::GUESSED);
        }
        if framing == Framing::Chunked {
            match self.first_chunk(head.end) {
                Step::Broken { at, why: Broken::Malformed } if at == head.end => {
                    framing = framing::without_chunks(&facts, self.role);
                    notes.insert(Notes::NOT_CHUNKED);
                }
                Step::Broken { at, .. } if at == head.end && !facts.chunked => {
                    framing = framing::without_chunks(&facts, self.role);
                }
                _ if !facts.chunked => notes.insert(Notes::ODD_CHUNKED),
                _ => {}
            }
        }
        let asks = asks(&facts, self.lossy);
        let mut message = self.blank(head, facts);
        message.framing = framing;
        message.notes.insert(notes);
        message.count_gaps(self.source, head);
        self.find_body(&mut message);
        if without_body {
            message.incomplete.get_or_insert(Incomplete::Unsure);
        }
        Some(self.push(message, then, asks))
    }

    /// Takes a message of whose head only the first `length` bytes are there.
    fn cut_head(&mut self, length: usize, stop: Stop) -> Option<Found> {
        // A line that breaks off says nothing for sure.
        let view = self.window.look(self.at, length);
        let lines = view.bytes.iter().take(length).rposition(|b| *b == b'\n').map_or(length, |at| at + 1);
        let Some(facts) = self.facts(lines) else {
            self.lose(Incomplete::Malformed);
            return None;
        };
        let head = Span::new(self.at, self.at.add(length as u64));
        let asks = asks(&facts, self.lossy);
        let mut message = self.blank(head, facts);
        message.framing = Framing::Unknown;
        self.at = match stop {
            Stop::Hole(gap) => {
                message.missing = gap.length;
                message.incomplete = Some(Incomplete::Gap(gap.kind));
                self.lose(Incomplete::Gap(gap.kind));
                gap.end()
            }
            Stop::End => {
                self.ends_early(&mut message);
                self.source.end()
            }
        };
        Some(self.push(message, Then::Next, asks))
    }

    /// What the head of `length` bytes says.
    fn facts(&mut self, length: usize) -> Option<Facts> {
        let view = self.window.look(self.at, length);
        let parsed = head::parse(view.bytes.get(..length)?, self.role)?;
        let facts = Facts::new(&parsed);
        self.kept = self.kept.saturating_add(facts.kept);
        Some(facts)
    }

    /// A message of this head, with nothing yet said about its body.
    fn blank(&self, head: Span, facts: Facts) -> Message {
        let mut message = Message::stream(self.index(), self.direction, Span::new(self.from, head.end));
        message.kind = facts.kind;
        message.head = head;
        message.body = Span::empty(head.end);
        message.trailers = Span::empty(head.end);
        message.fields = facts.fields;
        message.host = facts.host;
        message.content_codings = facts.content_codings;
        message.transfer_codings = facts.transfer_codings;
        if self.found.last().is_some_and(|before| before.notes.contains(Notes::AFTER_LOSS)) {
            message.notes.insert(Notes::FOUND_AGAIN);
        }
        message
    }

    fn push(&mut self, mut message: Message, then: Then, asks: Asked) -> Found {
        self.note_tunnel(&mut message);
        message.span = Span::new(self.from, self.at);
        self.from = self.at;
        self.found.push(message);
        Found { place: self.found.len() - 1, then, asks, lost_heads: self.lost_heads }
    }

    fn index(&self) -> u32 {
        u32::try_from(self.found.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn lose(&mut self, why: Incomplete) {
        self.state = State::Lost(why);
        self.lossy = true;
    }

    /// Why there are bytes that are no head.
    fn why_no_head(&mut self) -> Incomplete {
        if self.found.is_empty() && self.source.marks().contains(Marks::MIDSTREAM) {
            return Incomplete::Gap(GapKind::Missing);
        }
        // A hole that was passed over just before took the head with it.
        let hole = crate::source::gaps(self.source, Span::new(self.from, self.at)).next();
        let Some(hole) = hole else { return Incomplete::Malformed };
        self.lost_heads += 1;
        Incomplete::Gap(hole.kind)
    }

    /// Searches for the next sure head; what lies before it is a message of kind stream.
    fn find_again(&mut self, why: Incomplete) {
        self.state = State::InStep;
        let from = self.at.max(self.search_from);
        let found = search::find(&mut self.window, from, self.role, SEARCH_BYTES, &mut self.misses);
        self.search_from = found.map_or(self.search_from, |head| head.add(1));
        match found {
            // Nothing but a hole, or blank lines, was in between.
            Some(head) if !self.holds_bytes(Span::new(self.from, head)) => self.at = head,
            Some(head) => self.piece(head, Some(why), Notes::AFTER_LOSS),
            // No head anywhere: a stream of something else, which lacks nothing that is known.
            None if self.found.is_empty() => self.rest(None, Notes::default()),
            None => self.rest(Some(why), Notes::AFTER_LOSS),
        }
    }

    /// Whether there is a byte in this span that is neither missing nor of an empty line.
    fn holds_bytes(&mut self, span: Span) -> bool {
        let at = std::mem::replace(&mut self.at, span.start);
        let holds = self.skip_blanks() && self.at < span.end;
        self.at = at;
        holds
    }

    /// All that is left is one message of kind stream.
    fn rest(&mut self, why: Option<Incomplete>, notes: Notes) {
        self.piece(self.source.end(), why, notes);
        self.state = State::Done;
    }

    /// What lies before `end` is one message of kind stream.
    fn piece(&mut self, end: StreamOffset, why: Option<Incomplete>, notes: Notes) {
        let span = Span::new(self.from, end);
        self.at = span.end;
        self.from = span.end;
        if span.is_empty() {
            return;
        }
        let mut message = Message::stream(self.index(), self.direction, span);
        message.notes = notes;
        self.note_tunnel(&mut message);
        message.count_gaps(self.source, span);
        if why.is_some() {
            message.incomplete = why;
        } else {
            let begin = Incomplete::unless_begun(self.source, span.start);
            message.incomplete = message.incomplete.or(begin);
            if end == self.source.end() {
                let close = Incomplete::unless_ended(self.source, self.other, self.direction);
                message.incomplete = message.incomplete.or(close);
            }
        }
        self.found.push(message);
    }

    fn note_tunnel(&self, message: &mut Message) {
        if self.in_tunnel {
            message.notes.insert(Notes::TUNNEL);
        }
    }

    /// Nothing is left but empty lines, which go with the last message, and holes, which are bytes of something.
    fn end_of_stream(&mut self) {
        let span = Span::new(self.from, self.source.end());
        let only_blanks = crate::source::gaps(self.source, span).next().is_none();
        match self.found.last_mut() {
            Some(last) if only_blanks => last.span.end = span.end,
            _ => self.piece(span.end, None, Notes::default()),
        }
        self.state = State::Done;
    }
}

/// What a request asks of its answer.
fn asks(facts: &Facts, lossy: bool) -> Asked {
    let method: &[u8] = match &facts.kind {
        Kind::Request { method, .. } => method,
        Kind::Response { .. } | Kind::Stream => b"",
    };
    Asked { sure: !lossy, head: method == b"HEAD", connect: method == b"CONNECT" }
}

impl Found {
    /// The ordinal of what was found.
    pub(super) fn index(&self) -> MessageIndex {
        MessageIndex(u32::try_from(self.place).unwrap_or(u32::MAX))
    }
}
