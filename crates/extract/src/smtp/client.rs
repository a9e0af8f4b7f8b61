//! What the client sends: commands line by line, and the mails between them.
//!
//! ```text
//!                 MAIL, RCPT, RSET ...                 354, or what follows is no command
//!            +--------------------------+     DATA    +----------------------------------+
//!            v                          |  ---------> v                                  |
//!        Commands ----------------------+           a mail, until a dot stands alone     |
//!         ^    |  BDAT n: n bytes, and on             |                                  |
//!         |    | a hole                               +------> Commands <----------------+
//!         |    v
//!   Lost: until a line that is surely a command, or a dot alone, which ends a mail whose beginning is not there
//! ```
//!
//! What was found by a command alone after a hole long enough to hide the beginning of a mail is unsure: mails can quote sessions.
//! In chunks they can quote a dot alone as well, so what was found by one counts only if the server, when all of it is there, asked for
//! so many mails by 354; or else if the client sends mails by DATA, as none was seen that uses both.

use std::ops::Range;
use std::sync::Arc;

use memchr::memchr;
use streamdb_types::{Direction, Gap, GapKind, Marks, StreamOffset};

use super::command::{Command, starts_with};
use super::envelope::Envelope;
use super::replies::{Replies, Reply};
use crate::limits::Limits;
use crate::mail::{EndOfData, Mail, Seen};
use crate::message::Incomplete;
use crate::part::Part;
use crate::source::{Source, gaps};
use crate::span::Span;
use crate::window::{Stop, Window};

/// Most parts of one stream.
const PARTS: usize = 10_000;
/// Most ranges of all mails of one stream: each chunk is one.
const RANGES: usize = 1 << 18;
/// The longest line that is looked at as a command: RFC 5321 §4.5.3.1.4 has 512 bytes.
const LINE_BYTES: usize = 4 << 10;
/// What is read at a time.
const READ_BYTES: usize = 64 << 10;
/// The shortest holes that can hide that a mail began: they take RCPT and most of DATA, and before a sender was named, MAIL too.
/// Once a recipient was named, any can.
const HIDES_RECIPIENT: u64 = 8;
const HIDES_MAIL: u64 = 24;
/// What begins the next mail.
const NEXT_MAIL: &[u8] = b"MAIL FROM:<";

/// A session, gone over from its beginning.
pub(super) struct Session<'s> {
    source: &'s dyn Source,
    other: &'s dyn Source,
    direction: Direction,
    window: Window<'s>,
    replies: Replies<'s>,
    host: Option<Arc<[u8]>>,
    at: StreamOffset,
    /// Where a hole, or the beginning of what was captured, left it unknown what follows.
    lost: Option<StreamOffset>,
    /// Whether commands were found again only by what they look like.
    unsure: bool,
    /// Whether commands were found again by a dot alone.
    blind: bool,
    /// The parts that were found since, and how many mails were sent by DATA.
    provisional: Vec<Range<usize>>,
    mails: usize,
    used: Used,
    /// Whether the next line answers the server, as in AUTH (RFC 4954 §4).
    answers: bool,
    envelope: Envelope,
    /// Recipients that the server took.
    taken: u32,
    chunks: Option<Mail>,
    /// Whether it is known that no chunk came before the next one of a mail that begins: a command was seen that ends one.
    begun: bool,
    most: usize,
    ranges: usize,
    /// Whether the client spoke LMTP.
    pub lmtp: bool,
    /// Whether TLS began, and where in both directions, if it was not taken off.
    pub starttls: bool,
    pub secret: Option<[StreamOffset; 2]>,
    /// The name that the client gave itself.
    pub helo: Option<Vec<u8>>,
    /// What was found.
    pub parts: Vec<Part>,
}

/// How mails were sent.
#[derive(Default)]
struct Used {
    /// One was surely sent by DATA.
    data: bool,
    /// One was sent in chunks.
    chunks: bool,
}

/// The next line of the client.
enum Line {
    /// Its first bytes without the line end, where the next begins, and whether it ended with LF alone.
    Whole { bytes: Vec<u8>, next: StreamOffset, lf: bool },
    /// A hole in it or before it, and how much of the line is before it.
    Hole(Gap, u64),
    /// It does not end.
    End,
}

impl<'s> Session<'s> {
    pub(super) fn new(
        source: &'s dyn Source,
        other: &'s dyn Source,
        direction: Direction,
        host: Option<&[u8]>,
        limits: &Limits,
    ) -> Self {
        Self {
            source,
            other,
            direction,
            window: Window::new(source, READ_BYTES),
            replies: Replies::new(other),
            host: host.map(Arc::from),
            at: StreamOffset(0),
            lost: None,
            unsure: false,
            blind: false,
            provisional: Vec::new(),
            mails: 0,
            used: Used::default(),
            answers: false,
            envelope: Envelope::default(),
            taken: 0,
            chunks: None,
            begun: !source.marks().contains(Marks::MIDSTREAM),
            most: PARTS.min(limits.messages.max(1) as usize),
            ranges: RANGES,
            lmtp: false,
            starttls: false,
            secret: None,
            helo: None,
            parts: Vec::new(),
        }
    }

    /// Goes over all of it.
    pub(super) fn run(mut self) -> Self {
        if self.source.marks().contains(Marks::MIDSTREAM) {
            self.replies.lose();
            let begins_with_command =
                matches!(self.line(), Line::Whole { bytes, .. } if Command::new(&bytes).is_sure());
            self.lost = (!begins_with_command).then_some(self.at);
            self.unsure = !begins_with_command;
        }
        loop {
            match self.line() {
                Line::End => break,
                Line::Hole(gap, before) => {
                    let hides = match self.envelope {
                        _ if self.taken > 0 || self.chunks.is_some() => 0,
                        Envelope { sender: Some(_), .. } => HIDES_RECIPIENT,
                        _ => HIDES_MAIL,
                    };
                    self.lose(gap);
                    if gap.length.saturating_add(before) >= hides {
                        self.unsure = true;
                        self.forget();
                    }
                }
                Line::Whole { bytes, next, lf } => {
                    let starts = std::mem::replace(&mut self.at, next);
                    let goes_on = match self.lost {
                        Some(from) => self.found_again(&bytes, from, starts, lf),
                        None => self.command(&bytes, lf),
                    };
                    if !goes_on {
                        break;
                    }
                }
            }
        }
        let why = self.at_end();
        self.end_chunks(why);
        if !self.provisional.is_empty() && !self.is_confirmed() {
            for range in std::mem::take(&mut self.provisional) {
                for part in self.parts.get_mut(range).unwrap_or_default() {
                    part.incomplete.get_or_insert(Incomplete::Unsure);
                }
            }
        }
        self
    }

    /// Whether dots alone ended mails, and are none that was quoted in a chunk.
    fn is_confirmed(&self) -> bool {
        let all = Span::new(StreamOffset(0), self.other.end());
        let whole = self.other.ended().is_some()
            && !all.is_empty()
            && !self.other.marks().contains(Marks::MIDSTREAM)
            && gaps(self.other, all).next().is_none();
        if !whole {
            return self.used.data && !self.used.chunks;
        }
        let mut replies = Replies::new(self.other);
        let asked = std::iter::from_fn(|| match replies.next() {
            Reply::Code(code) => Some(code),
            Reply::NotYet | Reply::Unknown => None,
        });
        asked.filter(|code| *code == 354).count() >= self.mails
    }

    /// The next line, without going on to what follows.
    fn line(&mut self) -> Line {
        let view = self.window.look(self.at, LINE_BYTES);
        if let Some(end) = memchr(b'\n', view.bytes) {
            let line = view.bytes.get(..end).unwrap_or_default();
            let (line, lf) = match line.strip_suffix(b"\r") {
                _ if line.len() >= LINE_BYTES => (line.get(..LINE_BYTES).unwrap_or(line), false),
                Some(line) => (line, false),
                None => (line, true),
            };
            return Line::Whole { bytes: line.to_vec(), next: self.at.add(end as u64 + 1), lf };
        }
        let first = view.bytes.get(..LINE_BYTES).unwrap_or(view.bytes).to_vec();
        // A line that is longer goes on until it ends.
        let mut at = self.at;
        loop {
            let view = self.window.look(at, 1);
            if let Some(end) = memchr(b'\n', view.bytes) {
                return Line::Whole { bytes: first, next: at.add(end as u64 + 1), lf: false };
            }
            at = at.add(view.bytes.len() as u64);
            match view.stop {
                Some(Stop::End) => return Line::End,
                Some(Stop::Hole(gap)) => {
                    let length = gap.end().since(at);
                    return Line::Hole(Gap { offset: at, length, kind: gap.kind }, at.since(self.at));
                }
                None if view.bytes.is_empty() => return Line::End,
                None => {}
            }
        }
    }

    /// What follows is not known.
    fn lose(&mut self, gap: Gap) {
        self.replies.lose();
        self.answers = false;
        self.at = gap.end();
        self.lost.get_or_insert(self.at);
        // Chunks may have come and gone.
        self.begun = false;
        self.end_chunks(Incomplete::Gap(gap.kind));
    }

    /// A line after a place where it was lost what is a command; the lines before it lie from `from` on.
    fn found_again(&mut self, line: &[u8], from: StreamOffset, starts: StreamOffset, lf: bool) -> bool {
        if line == b"." && !lf && self.follows_crlf(starts) {
            (self.lost, self.unsure, self.blind) = (None, false, true);
            self.mails += 1;
            if from < starts {
                let mut mail = mail(true, from, 0);
                mail.incomplete = Some(Incomplete::Gap(GapKind::Missing));
                self.copy(&mut mail, from, starts);
                if self.parts.len() < self.most {
                    self.add(mail, None, false);
                }
            }
            return true;
        }
        if !Command::new(line).is_sure() {
            return true;
        }
        self.lost = None;
        self.command(line, lf)
    }

    /// Whether the line that begins here is known to begin.
    fn follows_crlf(&mut self, starts: StreamOffset) -> bool {
        starts
            .0
            .checked_sub(2)
            .is_some_and(|before| self.window.look(StreamOffset(before), 2).bytes.starts_with(b"\r\n"))
    }

    /// Does what a command asks for; whether it goes on.
    fn command(&mut self, line: &[u8], lf: bool) -> bool {
        if self.answers {
            self.answers = self.replies.next() == Reply::Code(334);
            return true;
        }
        let command = Command::new(line);
        self.begun |= !matches!(command, Command::Chunk { .. } | Command::Other);
        match command {
            Command::Hello { name, lmtp } => {
                self.helo = Some(name.get(..255).unwrap_or(name).to_vec());
                self.lmtp |= lmtp;
                self.abandon();
                self.replies.next();
            }
            Command::Mail(address) => {
                self.abandon();
                self.envelope.sender = Some(address.to_vec());
                self.replies.next();
            }
            Command::Recipient(address) => {
                let refused = matches!(self.replies.next(), Reply::Code(400..));
                if !refused {
                    self.envelope.add(address);
                    self.taken = self.taken.saturating_add(1);
                }
            }
            Command::Data if self.chunks.is_none() => return self.data(lf),
            Command::Chunk { length, last } => return self.chunk(length, last),
            Command::Reset => {
                self.abandon();
                self.replies.next();
            }
            Command::StartTls => {
                // RFC 3207 §4: after 220 everything is TLS, unless somebody took it off before the capture: then EHLO comes again
                // (§4.2). Without a reply, the first record tells.
                let reply = self.replies.next();
                let next = self.window.look(self.at, 5).bytes;
                let begun = match reply {
                    Reply::Code(code) => code == 220,
                    Reply::NotYet => return false,
                    Reply::Unknown => next.starts_with(b"\x16\x03"),
                };
                self.starttls |= begun;
                let taken_off = starts_with(next, b"EHLO ");
                if begun && !taken_off {
                    let mut from = [self.at; 2];
                    *self.direction.flip().of_mut(&mut from) = self.replies.at();
                    self.secret = Some(from);
                }
                return !begun || taken_off;
            }
            Command::Data | Command::Quit | Command::Other => {
                self.answers = self.replies.next() == Reply::Code(334);
            }
        }
        true
    }

    /// A transaction that ends without its end; what follows begins a new one.
    fn abandon(&mut self) {
        self.end_chunks(Incomplete::ClosedEarly);
        self.forget();
    }

    fn forget(&mut self) {
        self.envelope = Envelope::default();
        self.taken = 0;
    }

    /// What follows DATA; whether it goes on.
    fn data(&mut self, lf: bool) -> bool {
        match self.replies.next() {
            Reply::Code(354) => {}
            // RFC 5321 §4.3.2: refused. Any other code answers something else, so the replies do not tell.
            Reply::Code(400..) => return true,
            // What follows is decided when the reply is there, so that nothing found before changes.
            Reply::NotYet => return false,
            Reply::Code(_) | Reply::Unknown => {
                self.replies.lose();
                match self.line() {
                    Line::Whole { bytes, .. } if Command::new(&bytes) != Command::Other => return true,
                    Line::End if self.is_open() && self.source.end().since(self.at) < LINE_BYTES as u64 => {
                        return false;
                    }
                    _ => {}
                }
            }
        }
        if self.at >= self.source.end() {
            return false;
        }
        let unsure = self.unsure;
        let Some(mut mail) = self.begin(true) else { return false };
        self.mails += 1;
        self.used.data |= !unsure && !self.blind;
        match self.until_dot(&mut mail, lf) {
            Ended::Dot => {
                self.unsure = false;
                // A hole in the mail may hide its end, and chunks; and so may one before it.
                self.blind |= unsure || mail.incomplete.is_some();
                mail.status = self.verdict();
                self.add(mail, None, unsure);
                true
            }
            Ended::Lost => {
                self.replies.lose();
                self.unsure = true;
                self.add(mail, Some(Incomplete::Gap(GapKind::Missing)), unsure);
                true
            }
            Ended::Stream => {
                let why = self.at_end();
                self.add(mail, Some(why), unsure);
                false
            }
        }
    }

    /// Gives a mail its bytes up to the dot alone, and goes on behind it.
    fn until_dot(&mut self, mail: &mut Mail, lf: bool) -> Ended {
        let mut data = EndOfData::new(lf, NEXT_MAIL);
        let ended = loop {
            let view = self.window.look(self.at, EndOfData::LOOK_BYTES);
            if view.bytes.is_empty() {
                let Some(Stop::Hole(gap)) = view.stop else { break Ended::Stream };
                let gap = Gap { offset: self.at, length: gap.end().since(self.at), ..gap };
                mail.hole(gap);
                data.lose();
                // The end of this mail may be in it, and others.
                self.replies.lose();
                self.at = gap.end();
                continue;
            }
            let more = view.bytes.len() >= EndOfData::LOOK_BYTES;
            let seen = data.find(view.bytes, more);
            let (length, next, ended) = match seen {
                Seen::End(end, next) => (end, next, Some(Ended::Dot)),
                Seen::Command(end) => (end, end, Some(Ended::Lost)),
                Seen::More(end) => (end, end, None),
            };
            mail.bytes(self.at, view.bytes.get(..length).unwrap_or(view.bytes));
            self.at = self.at.add(next as u64);
            if let Some(ended) = ended {
                break ended;
            }
        };
        if data.has_odd_dots() {
            mail.incomplete.get_or_insert(Incomplete::Malformed);
        }
        ended
    }

    /// The chunk that follows BDAT; whether it goes on.
    fn chunk(&mut self, length: u64, last: bool) -> bool {
        self.used.chunks = true;
        let mut mail = match self.chunks.take() {
            Some(mail) => mail,
            None => match self.begin(false) {
                Some(mail) => mail,
                None => return false,
            },
        };
        let end = StreamOffset(self.at.0.saturating_add(length));
        let there = end.min(self.source.end());
        if mail.ranges() < self.ranges {
            self.copy(&mut mail, self.at, there);
        } else if length > 0 {
            mail.over = true;
        }
        self.at = there;
        if there < end {
            mail.lacks(end.since(there));
            self.chunks = Some(mail);
            // The end of the stream says why.
            return false;
        }
        if last {
            mail.status = mail.status.or(self.verdict());
            // Chunks before those that were captured may belong to it.
            let begun = std::mem::replace(&mut self.begun, true);
            let (end, unsure) = (mail.over.then_some(Incomplete::Limit), self.unsure || !begun);
            self.ranges = self.ranges.saturating_sub(mail.ranges());
            self.add(mail, end, unsure);
        } else {
            // RFC 3030 §2: after a chunk that was refused, the mail is.
            if let Reply::Code(code @ 400..) = self.replies.next() {
                mail.status.get_or_insert(code);
            }
            self.chunks = Some(mail);
        }
        true
    }

    /// Ends a mail in chunks whose last one did not come.
    fn end_chunks(&mut self, why: Incomplete) {
        if let Some(mail) = self.chunks.take() {
            self.ranges = self.ranges.saturating_sub(mail.ranges());
            self.add(mail, Some(why), self.unsure);
        }
    }

    /// A mail that begins here, if there is room for one; if not, the rest of the stream is the last one.
    fn begin(&mut self, data: bool) -> Option<Mail> {
        let left = self.most.saturating_sub(self.parts.len());
        if left > 1 {
            return Some(mail(data, self.at, left - 1));
        }
        if left == 1 {
            let mut mail = mail(data, self.at, 0);
            mail.rest(self.source, self.at);
            self.add(mail, Some(Incomplete::Limit), false);
        } else if let Some(last) = self.parts.last_mut() {
            last.incomplete.get_or_insert(Incomplete::Limit);
        }
        None
    }

    /// Gives a mail what lies between two places.
    fn copy(&mut self, mail: &mut Mail, from: StreamOffset, to: StreamOffset) {
        let mut at = from;
        while at < to {
            let left = usize::try_from(to.since(at)).unwrap_or(usize::MAX);
            let view = self.window.look(at, 1);
            let bytes = view.bytes.get(..left).unwrap_or(view.bytes);
            if bytes.is_empty() {
                let Some(Stop::Hole(gap)) = view.stop else { return };
                let end = gap.end().min(to);
                mail.hole(Gap { offset: at, length: end.since(at), kind: gap.kind });
                at = end;
            } else {
                mail.bytes(at, bytes);
                at = at.add(bytes.len() as u64);
            }
        }
    }

    fn add(&mut self, mail: Mail, end: Option<Incomplete>, unsure: bool) {
        let number = u32::try_from(self.parts.len()).unwrap_or(u32::MAX).saturating_add(1);
        let before = self.parts.len();
        self.parts.extend(mail.finish(number, Some(self.envelope.target()), self.host.as_ref(), end, unsure));
        if self.blind {
            self.provisional.push(before..self.parts.len());
        }
    }

    /// What the server says of a mail: the first of its replies that accepts it, or else the first. There is one, but one for each
    /// recipient in LMTP (RFC 2033 §4.2).
    fn verdict(&mut self) -> Option<u16> {
        let replies = if self.lmtp { self.taken.max(1) } else { 1 };
        let mut verdict = None;
        for _ in 0..replies {
            let Reply::Code(code) = self.replies.next() else { break };
            if verdict.is_none() || code < 300 && verdict >= Some(300) {
                verdict = Some(code);
            }
        }
        verdict
    }

    fn is_open(&self) -> bool {
        self.source.ended().is_none()
    }

    fn at_end(&self) -> Incomplete {
        Incomplete::at_end(self.source, self.other, self.direction)
    }
}

/// A mail that begins here: by DATA, or else in chunks.
fn mail(data: bool, begins: StreamOffset, most: usize) -> Mail {
    let method: &[u8] = if data { b"DATA" } else { b"BDAT" };
    Mail::new("smtp", Some(method), data, begins, most)
}

/// What ended the bytes of a mail.
enum Ended {
    /// The dot alone.
    Dot,
    /// A command, after a hole that the dot must be in.
    Lost,
    /// The end of the stream.
    Stream,
}
