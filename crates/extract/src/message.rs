//! What a dissector finds in a stream: messages, and how whole they are.

use std::sync::Arc;

use streamdb_types::{Direction, GapKind, Marks, Reason, StreamOffset};

use crate::fields::Fields;
use crate::notes::Notes;
use crate::source::{Source, gaps};
use crate::span::Span;

/// The ordinal of a message in its direction as framed on the wire, from 0: the INDEX of an oid. Interim replies and
/// messages without a body count. Part of the format: a later version may find more inside a message, never renumber.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageIndex(pub u32);

/// The messages of both directions of a connection. Those of one direction lie side by side and cover the whole stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    /// By [`Direction::index`], each in the order of the wire.
    pub streams: [Vec<Message>; 2],
}

impl Messages {
    /// The messages of one direction.
    pub fn of(&self, direction: Direction) -> &[Message] {
        direction.of::<Vec<Message>>(&self.streams)
    }

    /// All messages, each request followed by its answers.
    pub fn in_order(&self) -> impl Iterator<Item = &Message> {
        let asks = |m: &&Message| matches!(m.kind, Kind::Request { .. });
        let leads = Direction::BOTH.into_iter().find(|d| self.of(*d).iter().any(|m| asks(&m)));
        let leads = leads.unwrap_or(Direction::ToServer);
        let mut answers = self.of(leads.flip()).iter().peekable();
        let mut order = Vec::with_capacity(self.streams.iter().map(Vec::len).sum());
        for message in self.of(leads) {
            order.push(message);
            while let Some(answer) = answers.next_if(|a| message.peer.is_some_and(|peer| a.index <= peer)) {
                order.push(answer);
            }
        }
        order.extend(answers);
        order.into_iter()
    }
}

/// One message of a stream, as framed on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its ordinal in its direction.
    pub index: MessageIndex,
    /// Which way it went.
    pub direction: Direction,
    /// What it is, with what its first line says.
    pub kind: Kind,
    /// All that belongs to it: from the end of the previous message (blank lines and holes before the head included) to
    /// the start of the next one.
    pub span: Span,
    /// The head, from the first byte of the first line to after the empty line.
    pub head: Span,
    /// The body as it is on the wire: with chunk sizes, without trailers.
    pub body: Span,
    /// The trailer section of a chunked body, up to and with its empty line; empty where there is none.
    pub trailers: Span,
    /// How the body's end is told.
    pub framing: Framing,
    /// The header fields that are kept.
    pub fields: Fields,
    /// Whom a request is for: from its target or its Host field; a response has that of its request. Shared, as a request
    /// may have any number of interim answers.
    pub host: Option<Arc<[u8]>>,
    /// Content codings in the order in which they were applied, in lower case, without `identity`.
    pub content_codings: Vec<String>,
    /// Transfer codings in the order in which they were applied, in lower case, without `chunked` and `identity`.
    pub transfer_codings: Vec<String>,
    /// Why it is not whole; `None` when it is.
    pub incomplete: Option<Incomplete>,
    /// Bytes that are known to be missing of head and body: holes, and what its framing says was still to come. With
    /// [`Framing::Chunked`] and [`Framing::UntilClose`] cut short there may be more.
    pub missing: u64,
    /// The request of a response, or the final response of a request: a message of the other direction.
    pub peer: Option<MessageIndex>,
    /// What was odd about it.
    pub notes: Notes,
}

impl Message {
    /// Whether all of it is there.
    pub const fn is_complete(&self) -> bool {
        self.incomplete.is_none()
    }

    /// Whether what it is, or what it answers, was guessed: part of the conversation was not captured.
    pub const fn is_guess(&self) -> bool {
        self.notes.contains(Notes::GUESSED) || self.notes.contains(Notes::AFTER_LOSS)
    }

    /// The declared media type, as sent.
    pub fn content_type(&self) -> Option<&[u8]> {
        self.fields.get("content-type")
    }

    /// A message of kind stream: bytes of which nothing more is known.
    pub(crate) fn stream(index: u32, direction: Direction, span: Span) -> Self {
        Self {
            index: MessageIndex(index),
            direction,
            kind: Kind::Stream,
            span,
            head: Span::empty(span.start),
            body: span,
            trailers: Span::empty(span.end),
            framing: Framing::Stream,
            fields: Fields::default(),
            host: None,
            content_codings: Vec::new(),
            transfer_codings: Vec::new(),
            incomplete: None,
            missing: 0,
            peer: None,
            notes: Notes::default(),
        }
    }

    /// Adds the holes in a part of this message to what is missing of it.
    pub(crate) fn count_gaps(&mut self, source: &dyn Source, span: Span) {
        for gap in gaps(source, span) {
            self.missing = self.missing.saturating_add(gap.length);
            self.incomplete.get_or_insert(Incomplete::Gap(gap.kind));
        }
    }
}

/// What a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request.
    Request {
        /// As sent.
        method: Box<[u8]>,
        /// The request target, as sent: usually path and query (RFC 9112 §3.2).
        target: Box<[u8]>,
        /// As sent.
        version: Version,
    },
    /// A response, interim ones included.
    Response {
        /// The status code.
        status: u16,
        /// As sent.
        version: Version,
    },
    /// Bytes of no protocol that is known here, or the rest after a place where it was lost.
    Stream,
}

/// A protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version {
    /// Before the dot.
    pub major: u8,
    /// After the dot.
    pub minor: u8,
}

/// How the end of a body is told (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// By its length in bytes.
    Length(u64),
    /// By the last chunk.
    Chunked,
    /// By the end of the stream.
    UntilClose,
    /// Unknown: the head is not whole.
    Unknown,
    /// All bytes of a message of kind stream.
    Stream,
}

/// One side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The side that opened it.
    Client,
    /// The other one.
    Server,
}

impl Side {
    /// The side whose bytes go in this direction.
    pub const fn sender(direction: Direction) -> Self {
        match direction {
            Direction::ToServer => Self::Client,
            Direction::ToClient => Self::Server,
        }
    }
}

/// Why a message is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incomplete {
    /// Bytes of it are not in the store.
    Gap(GapKind),
    /// The stream was cut at the size limit.
    Cutoff,
    /// The stream is still open.
    Open,
    /// The sensor, or the capture file, ended first.
    CaptureEnded,
    /// The stream was idle, or open, for longer than the time limit.
    TimedOut,
    /// The connection was reset, by this side if that is known.
    Reset(Option<Side>),
    /// The sender closed before the end that it had announced.
    ClosedEarly,
    /// Its bytes break the protocol in a way that hides its end.
    Malformed,
    /// It goes beyond a limit.
    Limit,
    /// Its head tells of a body, but what follows looks like another message: an answer to HEAD, or a body that was held
    /// back, if what would tell was not captured.
    Unsure,
    /// It is a part of something, as it was asked for.
    Partial,
}

impl Incomplete {
    /// A few words without blanks, as JSON and pages show them.
    pub const fn words(self) -> &'static str {
        match self {
            // What is not kept on purpose is no loss.
            Self::Gap(GapKind::Cutoff) | Self::Cutoff => "cutoff",
            Self::Gap(_) => "gap",
            Self::Open => "open",
            Self::CaptureEnded => "capture-ended",
            Self::TimedOut => "timed-out",
            Self::Reset(Some(Side::Client)) => "reset-by-client",
            Self::Reset(Some(Side::Server)) => "reset-by-server",
            Self::Reset(None) => "reset",
            Self::ClosedEarly => "closed-early",
            Self::Malformed => "malformed",
            Self::Limit => "limit",
            Self::Unsure => "unsure",
            Self::Partial => "partial",
        }
    }

    /// Why bytes that should follow the end of `stream` never came; `other` is the opposite direction.
    pub(crate) fn at_end(stream: &dyn Source, other: &dyn Source, direction: Direction) -> Self {
        let ended = stream.ended();
        if stream.marks().contains(Marks::FIN) && ended != Some(Reason::SizeCutoff) {
            return Self::ClosedEarly;
        }
        match ended {
            None => Self::Open,
            Some(Reason::Fin) => Self::ClosedEarly,
            Some(Reason::Rst) => Self::Reset(if stream.marks().contains(Marks::RST) {
                Some(Side::sender(direction))
            } else if other.marks().contains(Marks::RST) {
                Some(Side::sender(direction.flip()))
            } else {
                None
            }),
            Some(Reason::Exiting) => Self::CaptureEnded,
            Some(Reason::SizeCutoff) => Self::Cutoff,
            Some(Reason::TimeCutoff | Reason::SynTimeout) => Self::TimedOut,
        }
    }

    /// Why a stream as a whole is not complete; `None` when it is. This is the one rule for streams, whoever says it of them:
    ///
    /// - Its beginning was seen: it was not picked up in the middle. A stream of datagrams begins with the first one.
    /// - No byte of it is missing, of whatever kind the gap is.
    /// - It came to its end. A TCP stream has when its own FIN was seen, with every byte before it (RFC 9293 §3.6), whatever
    ///   came of the connection later: a reset after the FIN, as many clients send it, takes nothing away, and neither does the
    ///   other direction when it stays open. A reset before a FIN tells that the sender gave up, not that it had said all. A
    ///   stream of datagrams has no end of its own, and each datagram is whole in itself: once it has ended, by whatever
    ///   time limit or with the capture, all that came until then is there; only a size limit cuts it. (A datagram that no
    ///   frame had leaves no trace, as nothing counts them.)
    ///
    /// So a stream that is still open is not complete yet, and one that was never answered (SYN time-out) never is. An object
    /// in a stream has the framing of its message to tell instead, and its stream's end only where that framing ends with it.
    pub fn of_stream(stream: &dyn Source, other: &dyn Source, direction: Direction) -> Option<Self> {
        let begin = StreamOffset(0);
        let gap = gaps(stream, Span::new(begin, stream.end())).next();
        gap.map(|gap| Self::Gap(gap.kind))
            .or_else(|| Self::unless_begun(stream, begin))
            .or_else(|| Self::unless_ended(stream, other, direction))
    }

    /// Why what begins at `start` as bytes of nothing known is not whole; `None` when it does not begin in the middle.
    pub(crate) fn unless_begun(stream: &dyn Source, start: StreamOffset) -> Option<Self> {
        let late = start == StreamOffset(0) && stream.marks().contains(Marks::MIDSTREAM);
        late.then_some(Self::Gap(GapKind::Missing))
    }

    /// Why what lasts until the stream ends is not whole; `None` when the stream came to its end, as
    /// [`of_stream`](Self::of_stream) has it.
    pub(crate) fn unless_ended(stream: &dyn Source, other: &dyn Source, direction: Direction) -> Option<Self> {
        if stream.is_datagrams() {
            return match stream.ended() {
                None => Some(Self::Open),
                Some(Reason::SizeCutoff) => Some(Self::Cutoff),
                Some(_) => None,
            };
        }
        match Self::at_end(stream, other, direction) {
            Self::ClosedEarly => None,
            why => Some(why),
        }
    }
}
