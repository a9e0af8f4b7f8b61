//! One direction of a connection, frame after frame: a part for each stream that has a head here.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use streamdb_types::{Direction, Gap, StreamOffset};

use super::PROTOCOL;
use super::block::{After, Block};
use super::frame::{END_STREAM, Frame, HEADER_BYTES, PADDED, PAYLOAD_BYTES, Type};
use super::head::Head;
use super::hpack::Decoder;
use super::resync::Search;
use crate::limits::Limits;
use crate::message::{Incomplete, Side};
use crate::part::{Entity, Part, PartKind};
use crate::source::{Source, gaps};
use crate::span::Span;
use crate::window::{Stop, Window};

/// The least that is read at a time.
const READ: usize = 1 << 10;
/// How far beyond the highest stream so far the next ones may be for a frame to look like one after a loss; and how many bytes of a
/// hole let them be one further.
const LEAP: (u32, u64) = (1000, 16);

/// What both requests and promises say: the head that a response has from elsewhere.
#[derive(Clone, Default)]
pub(super) struct Asked {
    pub method: Option<Box<[u8]>>,
    pub target: Option<Box<[u8]>>,
    pub host: Option<Arc<[u8]>>,
}

/// What one direction comes to.
pub(super) struct Half<'a> {
    source: &'a dyn Source,
    other: &'a dyn Source,
    pub direction: Direction,
    kind: PartKind,
    limits: Limits,
    window: Window<'a>,
    search: Search<'a>,
    at: StreamOffset,
    decoder: Decoder,
    /// Why fields may be unknown since.
    lost: Option<Incomplete>,
    /// Where the framing was lost and found again, so often: what was begun before that is not gone on with.
    losses: Vec<Incomplete>,
    /// The part of each stream that has a head here; none yet when only interim answers came.
    streams: HashMap<u32, Option<usize>>,
    pub bodies: Vec<Body>,
    pub parts: Vec<Part>,
    /// Streams that this side gave up.
    pub resets: HashSet<u32>,
    /// Requests that this side said it would answer unasked.
    pub promised: HashMap<u32, Asked>,
    /// Whether nothing but what may be the rest of a block has come since the framing was found again.
    found_again: bool,
    longest: u32,
    highest: u32,
    /// Bytes kept in memory.
    kept: usize,
    /// Why what is not ended at the end is not whole.
    pub ended: Incomplete,
}

/// What is known of a part's body.
pub(super) struct Body {
    pub stream: u32,
    /// The length that the head declares.
    length: Option<u64>,
    /// Bytes that came, holes included.
    came: u64,
    /// Bytes of a frame that was begun which never came.
    cut: u64,
    /// Whether the sender said that this was all.
    ended: bool,
    /// Whether its head is not known, so that a block after it may be the head.
    headless: bool,
    /// How often the framing had been lost before it.
    losses: usize,
    /// Whether what comes of it is not known to lie where it says, since a length is not known.
    broken: bool,
}

impl<'a> Half<'a> {
    /// The direction in which `kind` goes, from `at` on.
    pub(super) fn new(
        streams: [&'a dyn Source; 2],
        direction: Direction,
        kind: PartKind,
        at: u64,
        limits: &Limits,
    ) -> Self {
        let (source, other) = (*direction.of(&streams), *direction.flip().of(&streams));
        Self {
            source,
            other,
            direction,
            kind,
            limits: *limits,
            window: Window::new(source, READ),
            search: Search::new(source),
            at: StreamOffset(at),
            decoder: Decoder::new(),
            lost: None,
            losses: Vec::new(),
            streams: HashMap::new(),
            bodies: Vec::new(),
            parts: Vec::new(),
            resets: HashSet::new(),
            promised: HashMap::new(),
            found_again: false,
            longest: PAYLOAD_BYTES,
            highest: 0,
            kept: 0,
            ended: Incomplete::at_end(source, other, direction),
        }
    }

    /// Goes over all frames.
    pub(super) fn run(&mut self) {
        let end = self.source.end();
        let mut begins = true;
        while self.at < end {
            if self.is_beyond_limits() {
                self.ended = Incomplete::Limit;
                if let Some(last) = self.parts.last_mut() {
                    last.incomplete.get_or_insert(Incomplete::Limit);
                }
                return;
            }
            let view = self.window.look(self.at, HEADER_BYTES);
            let (frame, stop) = (Frame::parse(view.bytes), view.stop);
            let Some(frame) = frame else {
                match stop {
                    Some(Stop::Hole(gap)) if self.find_again(gap) => {
                        begins = false;
                        continue;
                    }
                    _ => return,
                }
            };
            // Each side begins with its settings (RFC 9113 §3.4).
            let first = begins && frame.kind != Type::Settings;
            // The rest of a block whose beginning was lost says nothing.
            let stray = frame.kind == Type::Continuation && !self.found_again;
            if first || stray || !frame.is_lawful() {
                self.ended = Incomplete::Malformed;
                return;
            }
            begins = false;
            self.found_again &= frame.kind == Type::Continuation;
            self.longest = self.longest.max(frame.length);
            self.highest = self.highest.max(frame.stream);
            let begin = self.at;
            self.at = frame.end(begin);
            let goes_on = match frame.kind {
                Type::Data => self.data(frame, begin.add(HEADER_BYTES as u64)),
                Type::Headers | Type::PushPromise => self.block(frame, begin),
                Type::RstStream => self.reset(frame.stream),
                _ => true,
            };
            if !goes_on {
                return;
            }
        }
    }

    fn is_beyond_limits(&self) -> bool {
        let most = self.limits.messages as usize;
        self.kept > self.limits.kept || self.streams.len() >= most || self.promised.len() >= most
    }

    /// After a hole over the header of a frame.
    fn find_again(&mut self, gap: Gap) -> bool {
        let why = Incomplete::Gap(gap.kind);
        self.ended = why;
        self.lost.get_or_insert(why);
        self.decoder.lose();
        self.losses.push(why);
        let hidden = u32::try_from(gap.length / LEAP.1).unwrap_or(u32::MAX);
        let highest = self.highest.saturating_add(LEAP.0).saturating_add(hidden);
        match self.search.find(gap.end(), self.longest, highest) {
            Some(at) => {
                (self.at, self.found_again) = (at, true);
                self.ended = Incomplete::at_end(self.source, self.other, self.direction);
                true
            }
            None => false,
        }
    }

    /// Notes that this side gave a stream up (RFC 9113 §6.4).
    fn reset(&mut self, stream: u32) -> bool {
        if self.resets.len() < self.limits.messages as usize {
            self.resets.insert(stream);
        }
        true
    }

    /// Takes the data of a frame whose payload begins at `start` (RFC 9113 §6.1). False when its padding is longer than it.
    fn data(&mut self, frame: Frame, start: StreamOffset) -> bool {
        let length = u64::from(frame.length);
        let padding = match frame.has(PADDED) {
            true => {
                let padding = self.window.look(start, 1).bytes.first().map(|padding| 1 + u64::from(*padding));
                if length == 0 || padding.is_some_and(|padding| padding > length) {
                    self.ended = Incomplete::Malformed;
                    return false;
                }
                padding
            }
            false => Some(0),
        };
        let place = self.streams.get(&frame.stream).copied().flatten();
        let found = place.and_then(|place| self.parts.get_mut(place).zip(self.bodies.get_mut(place)));
        let Some((part, body)) = found else { return true };
        if body.ended || body.broken || body.losses != self.losses.len() {
            return true;
        }
        let Some(padding) = padding else {
            let hole = gaps(self.source, Span::new(start, start.add(1))).next();
            part.incomplete = part.incomplete.or(hole.map(|gap| Incomplete::Gap(gap.kind)));
            body.broken = true;
            return true;
        };
        let data = Span::new(start.add(padding.min(1)), start.add(padding.min(1) + length - padding));
        let end = self.source.end();
        let there = Span::new(data.start.min(end), data.end.min(end));
        body.cut = data.len() - there.len();
        body.ended = frame.has(END_STREAM) && start.add(length) <= end;
        for gap in gaps(self.source, there) {
            part.missing = part.missing.saturating_add(gap.length);
            part.incomplete.get_or_insert(Incomplete::Gap(gap.kind));
        }
        if !there.is_empty() {
            body.came = body.came.saturating_add(there.len());
            part.content.push(there.start.0..there.end.0);
            self.kept = self.kept.saturating_add(size_of::<Range<u64>>());
        }
        true
    }

    /// Takes a block of fields, whose first frame begins at `begin`. False when nothing comes after it.
    fn block(&mut self, frame: Frame, begin: StreamOffset) -> bool {
        let block = Block::collect(&mut self.window, frame, begin, self.source.end(), self.limits.head);
        self.longest = self.longest.max(block.longest);
        if block.after == After::Malformed {
            self.ended = Incomplete::Malformed;
            return false;
        }
        // What the stream ends in may still go on.
        if block.after == After::End {
            return false;
        }
        let mut head = Head::default();
        let lost = self.lost.unwrap_or(Incomplete::Malformed);
        let decoded = self.decoder.decode(&block.bytes, &mut |name, value| head.field(name, value, lost));
        let why = block.incomplete.or(decoded.is_err().then_some(Incomplete::Malformed));
        if let Some(why) = why {
            head.incomplete.get_or_insert(why);
            self.lost.get_or_insert(why);
            self.decoder.lose();
        }
        match (frame.kind, block.promised) {
            (Type::PushPromise, Some(stream)) => {
                self.kept = self.kept.saturating_add(head.kept() + size_of::<Asked>());
                self.promised.entry(stream).or_insert_with(|| asked(&mut head));
            }
            (Type::PushPromise, None) => {}
            _ => self.head(frame, head, begin),
        }
        match block.after {
            After::Frame(at) => {
                self.at = at;
                true
            }
            After::Hole(gap) => self.find_again(gap),
            After::End | After::Malformed => false,
        }
    }

    /// Takes what the head, or the trailers, of a stream say.
    fn head(&mut self, frame: Frame, mut head: Head, begin: StreamOffset) {
        let ended = frame.has(END_STREAM);
        let known = self.streams.entry(frame.stream).or_insert(None);
        if let Some(place) = *known {
            let Some((part, body)) = self.parts.get_mut(place).zip(self.bodies.get_mut(place)) else { return };
            if body.losses != self.losses.len() {
                return;
            }
            // What was taken for the head may have been that of an interim answer.
            if body.headless && head.status.is_some() && !head.is_interim() {
                body.headless = head.incomplete.is_some();
                body.length = head.length;
                self.kept = self.kept.saturating_add(head.kept());
                fill(part, &mut head);
            }
            body.ended |= ended;
            return;
        }
        let says_what = match self.kind {
            PartKind::Response => head.status.is_some(),
            _ => head.method.is_some(),
        };
        if self.kind == PartKind::Response && head.is_interim() && !ended {
            return;
        }
        if !says_what && head.incomplete.is_none() {
            // The trailers of what was begun where bytes are missing; or a head that breaks the rules (RFC 9113 §8.3).
            if !self.losses.is_empty() {
                return;
            }
            head.incomplete = Some(Incomplete::Malformed);
        }
        *known = Some(self.parts.len());
        self.kept = self.kept.saturating_add(head.kept() + size_of::<Part>() + size_of::<Body>());
        let number = u32::try_from(self.parts.len()).unwrap_or(u32::MAX).saturating_add(1);
        let mut part = Part::new(number, PROTOCOL, self.kind, Vec::new());
        part.begins = begin.0;
        self.bodies.push(Body {
            stream: frame.stream,
            length: head.length,
            came: 0,
            cut: 0,
            ended,
            headless: !says_what,
            losses: self.losses.len(),
            broken: false,
        });
        fill(&mut part, &mut head);
        self.parts.push(part);
    }

    /// Says of each part whether it is whole, when it is known which streams the other side gave up.
    pub(super) fn conclude(&mut self, others: &HashSet<u32>) {
        for (part, body) in self.parts.iter_mut().zip(&self.bodies) {
            if let Some(length) = body.length.filter(|_| part.incomplete.is_none() || !body.ended) {
                body.lengths(part, length);
            } else if !body.ended {
                part.missing = part.missing.saturating_add(body.cut);
            }
            let sender = Side::sender(self.direction);
            let why = match self.losses.get(body.losses) {
                _ if body.ended => continue,
                Some(why) => *why,
                None if self.resets.contains(&body.stream) => Incomplete::Reset(Some(sender)),
                None if others.contains(&body.stream) => Incomplete::Reset(Some(Side::sender(self.direction.flip()))),
                None => self.ended,
            };
            part.incomplete.get_or_insert(why);
        }
    }
}

impl Body {
    /// Compares what came with the length that was declared (RFC 9113 §8.1.1).
    fn lengths(&self, part: &mut Part, length: u64) {
        // Answers to HEAD, and those that say that nothing has changed, declare what they do not have.
        let none = part.method.as_deref() == Some(b"HEAD") || part.status == Some(304);
        if self.ended && self.came == 0 && part.kind == PartKind::Response && (none || length == 0) {
            return;
        }
        if self.came > length {
            part.incomplete.get_or_insert(Incomplete::Malformed);
        } else if self.came < length {
            part.missing = part.missing.saturating_add(length - self.came);
            if self.ended {
                let unsure = self.came == 0 && part.kind == PartKind::Response && part.method.is_none();
                part.incomplete.get_or_insert(if unsure { Incomplete::Unsure } else { Incomplete::ClosedEarly });
            }
        }
    }
}

/// What a request, or a promise of an answer to one, says.
fn asked(head: &mut Head) -> Asked {
    let host = head.whom();
    let target = head
        .path
        .take()
        .or_else(|| host.as_deref().filter(|_| head.method.as_deref() == Some(b"CONNECT")).map(Into::into));
    Asked { method: head.method.take(), target, host }
}

/// Says in a part what its head says.
fn fill(part: &mut Part, head: &mut Head) {
    if part.kind == PartKind::Request {
        let asked = asked(head);
        (part.method, part.target, part.host) = (asked.method, asked.target, asked.host);
    }
    let entity = Entity { length: head.length, ..std::mem::take(&mut head.entity) };
    part.entity = (!entity.is_empty()).then(|| Box::new(entity));
    part.status = head.status.filter(|_| part.kind == PartKind::Response);
    part.declared_type = head.declared_type.take();
    part.filename = head.filename.take();
    part.content_codings = std::mem::take(&mut head.content_codings);
    part.incomplete = part.incomplete.or(head.incomplete);
}
