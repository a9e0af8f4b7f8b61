//! A message's body, from the wire to what was meant: framing off, then the codings.

use std::fmt;
use std::ops::ControlFlow;

use streamdb_sniff::{Content, HEAD_BYTES, Kind as What, sniff_content, sniff_stream};
use streamdb_types::{Gap, StreamOffset};

use crate::coding::{self, Coding, Fault, Halt, Stack};
use crate::http1::{Chunks, Step};
use crate::limits::BodyLimits;
use crate::message::{Framing, Kind, Message};
use crate::part::{Context, Outer, Part, Picked, Taken};
use crate::source::Source;
use crate::span::Span;
use crate::window::{Stop, Window};

/// Most codings that are undone, one inside the other.
const STACKED: usize = 4;
/// What is read at a time.
const READ_BYTES: usize = 64 << 10;

/// How far a body is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decode {
    /// Only the framing is taken off: the content as it was sent, still coded.
    Raw,
    /// The transfer and content codings are undone too.
    Decoded,
}

/// What is handed out of a body, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes; never empty.
    Bytes(&'a [u8]),
    /// Bytes that are missing here. Whoever writes a file leaves them out of it as a hole, and shifts nothing.
    Hole(Gap),
}

impl Piece<'_> {
    /// Bytes, there or missing.
    pub const fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Hole(gap) => gap.length,
        }
    }

    /// Whether there are none; no piece that is handed out is so.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What came of handing out a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyOutcome {
    /// Whether all of it was handed out: the message is whole, and nothing went wrong that costs content.
    pub complete: bool,
    /// Bytes of the body as sent that are known to be missing.
    pub missing: u64,
    /// Length of the body as sent, without framing, coded; holes included. With a problem that stops decoding: what was
    /// taken up to there, or all of it from [`body_both`].
    pub encoded_length: u64,
    /// Length of what was handed out, holes included.
    pub length: u64,
    /// Whether a coding was undone.
    pub decoded: bool,
    /// What is wrong with it, or was not done.
    pub problem: Option<Problem>,
    /// What the bytes that were handed out are, by the first of them; data when none could be.
    pub what: What,
}

/// What is wrong with a body, or was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A coding that is not known here: handed out as sent.
    UnknownCoding(String),
    /// More codings one inside the other than are undone: handed out as sent.
    TooManyCodings(usize),
    /// Something about coded data.
    Coding {
        /// The coding's name.
        coding: &'static str,
        /// What about it.
        fault: Fault,
    },
    /// The data of this coding refers to what was sent before it and is missing: handed out as sent.
    NoContext(String),
    /// Coded data has a hole: decoded up to it.
    Hole(Gap),
    /// More came out than the limit on output: cut there.
    OutputLimit,
    /// Far more came out than went in: stopped.
    RatioLimit,
    /// The receiver wanted no more.
    Stopped,
}

impl Problem {
    /// Whether what was handed out lacks content, or has wrong content, because of it.
    pub const fn spoils(&self) -> bool {
        match self {
            Self::UnknownCoding(_) | Self::TooManyCodings(_) => false,
            Self::Coding { fault, .. } => fault.spoils(),
            Self::NoContext(_) | Self::Hole(_) | Self::OutputLimit | Self::RatioLimit | Self::Stopped => true,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownCoding(name) => write!(f, "coding {name:?} is not known; left as sent"),
            Self::TooManyCodings(n) => write!(f, "{n} codings one inside the other; left as sent"),
            Self::Coding { coding, fault } => write!(f, "{coding} {fault}"),
            Self::NoContext(name) => write!(f, "{name} data refers to earlier data that is missing; left as sent"),
            Self::Hole(gap) => write!(f, "coded data has a hole at offset {} of the stream", gap.offset.0),
            Self::OutputLimit => f.write_str("decodes to more than the limit"),
            Self::RatioLimit => f.write_str("decodes to far more than was sent"),
            Self::Stopped => f.write_str("not all was asked for"),
        }
    }
}

/// Hands out the body of a message, piece by piece, until it ends or `out` breaks off. `source` is the stream that the
/// message was found in.
pub fn body(
    message: &Message,
    source: &dyn Source,
    decode: Decode,
    limits: &BodyLimits,
    out: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>,
) -> BodyOutcome {
    let codings = match decode {
        Decode::Raw => (Vec::new(), None),
        Decode::Decoded => codings(message),
    };
    hand_out(message, source, codings, limits, None, out)
}

/// Hands out the body of a message in one pass both as it was sent and as it was meant. `encoded` is given each piece with
/// only the framing taken off, before `out` is given what it decodes to.
///
/// When no coding is undone ([`BodyOutcome::decoded`] is false), `encoded` is not called: `out` is given the body as sent.
/// When decoding ends before the body does, as it is damaged, has a hole or goes beyond a limit, `encoded` is given the rest
/// all the same. When `out` breaks off, both end.
pub fn body_both(
    message: &Message,
    source: &dyn Source,
    limits: &BodyLimits,
    encoded: &mut dyn FnMut(Piece<'_>),
    out: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>,
) -> BodyOutcome {
    hand_out(message, source, codings(message), limits, Some(encoded), out)
}

fn hand_out<'o>(
    message: &Message,
    source: &dyn Source,
    (codings, refused): (Vec<&'static Coding>, Option<Problem>),
    limits: &BodyLimits,
    as_sent: Option<&'o mut dyn FnMut(Piece<'_>)>,
    out: &'o mut dyn FnMut(Piece<'_>) -> ControlFlow<()>,
) -> BodyOutcome {
    let mut hand = Hand::new((codings, refused), limits, as_sent, out);
    let walked = hand.walk(message, source);
    if walked.is_continue() && !hand.ended {
        hand.finish();
    }
    let sniff = if message.kind == Kind::Stream { sniff_stream } else { sniff_content };
    hand.outcome(message.is_complete(), message.missing, sniff)
}

/// Hands out what lies inside a message, as [`body`] and [`body_both`] do a message's body: `encoded`, where it is given, as it
/// was sent; `out` as it was meant. `outer` walks the message's content, and is broken off when the part ends.
pub fn part_body<'o>(
    part: &Part,
    decode: Decode,
    limits: &BodyLimits,
    encoded: Option<&'o mut dyn FnMut(Piece<'_>)>,
    outer: Outer<'_>,
    out: &'o mut dyn FnMut(Piece<'_>) -> ControlFlow<()>,
) -> BodyOutcome {
    let codings = match decode {
        Decode::Raw => (Vec::new(), None),
        Decode::Decoded => match part.content_codings.last() {
            Some(coding) if part.context == Context::Lost => (Vec::new(), Some(Problem::NoContext(coding.clone()))),
            _ => undone(part.content_codings.iter().rev(), part.is_http()),
        },
    };
    let mut hand = Hand::new(codings, limits, encoded, out);
    if let Some(stack) = &mut hand.stack {
        stack.prime(part.context.window());
    }
    let mut picked = Picked::new(part);
    let mut last = Taken::More;
    outer(&mut |at, piece| {
        last = picked.take(at, piece, &mut |piece| match piece {
            Piece::Bytes(bytes) => hand.bytes(bytes),
            Piece::Hole(gap) => hand.hole(gap),
        });
        if last == Taken::More { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    // Where the message's content ends before the part does, there is no more of it.
    if last != Taken::Stopped && !hand.ended {
        hand.finish();
    }
    hand.outcome(part.incomplete.is_none(), part.missing, sniff_content)
}

/// The codings to undo, the last applied first: transfer codings lie outside content codings (RFC 9112 §6.1).
fn codings(message: &Message) -> (Vec<&'static Coding>, Option<Problem>) {
    undone(message.transfer_codings.iter().rev().chain(message.content_codings.iter().rev()), true)
}

/// These codings, of HTTP or of all that are known, or why they are not undone.
fn undone<'n>(names: impl Iterator<Item = &'n String>, is_http: bool) -> (Vec<&'static Coding>, Option<Problem>) {
    let names: Vec<&String> = names.collect();
    if names.len() > STACKED {
        return (Vec::new(), Some(Problem::TooManyCodings(names.len())));
    }
    let mut codings = Vec::with_capacity(names.len());
    for name in names {
        match coding::find(name, is_http) {
            Some(coding) => codings.push(coding),
            None => return (Vec::new(), Some(Problem::UnknownCoding(name.clone()))),
        }
    }
    (codings, None)
}

/// What takes pieces as sent and hands them out as meant.
struct Hand<'o> {
    stack: Option<Stack>,
    /// Who wants the pieces as sent, too.
    as_sent: Option<&'o mut dyn FnMut(Piece<'_>)>,
    /// Whether decoding has ended, and only `as_sent` is still given pieces.
    ended: bool,
    out: &'o mut dyn FnMut(Piece<'_>) -> ControlFlow<()>,
    /// The first bytes that were handed out.
    first: Vec<u8>,
    length: u64,
    encoded: u64,
    problem: Option<Problem>,
}

impl<'o> Hand<'o> {
    fn new(
        (codings, refused): (Vec<&'static Coding>, Option<Problem>),
        limits: &BodyLimits,
        as_sent: Option<&'o mut dyn FnMut(Piece<'_>)>,
        out: &'o mut dyn FnMut(Piece<'_>) -> ControlFlow<()>,
    ) -> Self {
        Self {
            stack: (!codings.is_empty()).then(|| Stack::new(&codings, limits)),
            // Without a coding both would be the same.
            as_sent: as_sent.filter(|_| !codings.is_empty()),
            ended: false,
            out,
            first: Vec::new(),
            length: 0,
            encoded: 0,
            problem: refused,
        }
    }

    /// What came of it, when what was walked is `whole`, or lacks `missing` bytes.
    fn outcome(self, whole: bool, missing: u64, sniff: fn(Content<'_>) -> What) -> BodyOutcome {
        let spoilt = self.problem.as_ref().is_some_and(Problem::spoils);
        let complete = whole && !spoilt;
        // No bytes because none could be had is not the same as an empty body.
        let what = if self.first.is_empty() && !complete {
            What::DATA
        } else {
            // What was cut off is not known by its length.
            sniff(match complete {
                true => Content::of_length(&self.first, self.length),
                false => Content::beginning(&self.first),
            })
        };
        BodyOutcome {
            complete,
            missing,
            encoded_length: self.encoded,
            length: self.length,
            decoded: self.stack.is_some(),
            what,
            problem: self.problem,
        }
    }

    /// Goes over the data of the body as framed on the wire.
    fn walk(&mut self, message: &Message, source: &dyn Source) -> ControlFlow<()> {
        let refill = usize::try_from(message.body.len()).map_or(READ_BYTES, |all| all.min(READ_BYTES));
        let mut window = Window::new(source, refill);
        if message.framing != Framing::Chunked {
            return self.span(&mut window, message.body);
        }
        let mut chunks = Chunks::new(message.body.start);
        loop {
            match chunks.next(&mut window, message.span.end) {
                Step::Data(data) => self.span(&mut window, data)?,
                Step::Last { .. } | Step::Broken { .. } => return ControlFlow::Continue(()),
            }
        }
    }

    /// Hands out a stretch of the stream.
    fn span(&mut self, window: &mut Window<'_>, span: Span) -> ControlFlow<()> {
        let mut at = span.start;
        while at < span.end {
            let left = usize::try_from(span.end.since(at)).unwrap_or(usize::MAX);
            let view = window.look(at, 1);
            let bytes = view.bytes.get(..left).unwrap_or(view.bytes);
            if bytes.is_empty() {
                let Some(Stop::Hole(gap)) = view.stop else { break };
                let end: StreamOffset = gap.end().min(span.end);
                self.hole(Gap { offset: at, length: end.since(at), kind: gap.kind })?;
                at = end;
            } else {
                at = at.add(bytes.len() as u64);
                self.bytes(bytes)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        self.encoded = self.encoded.saturating_add(bytes.len() as u64);
        if let Some(as_sent) = &mut self.as_sent {
            as_sent(Piece::Bytes(bytes));
        }
        if self.ended {
            return ControlFlow::Continue(());
        }
        let mut sink = Sink { out: self.out, first: &mut self.first, length: &mut self.length };
        let done = match &mut self.stack {
            Some(stack) => stack.push(bytes, &mut |piece| sink.take(piece)),
            None => sink.take(bytes),
        };
        self.halted(done)
    }

    fn hole(&mut self, gap: Gap) -> ControlFlow<()> {
        self.encoded = self.encoded.saturating_add(gap.length);
        if let Some(as_sent) = &mut self.as_sent {
            as_sent(Piece::Hole(gap));
        }
        if self.ended {
            return ControlFlow::Continue(());
        }
        if self.stack.is_some() {
            return self.end(Problem::Hole(gap));
        }
        self.length = self.length.saturating_add(gap.length);
        let flow = (self.out)(Piece::Hole(gap));
        if flow.is_break() {
            self.problem = Some(Problem::Stopped);
        }
        flow
    }

    fn finish(&mut self) {
        let Some(stack) = &mut self.stack else { return };
        let mut sink = Sink { out: self.out, first: &mut self.first, length: &mut self.length };
        match stack.finish(&mut |piece| sink.take(piece)) {
            Ok(Some((coding, fault))) => self.problem = Some(Problem::Coding { coding, fault }),
            Ok(None) => {}
            // What was wrong has been noted.
            Err(halt) => {
                let _ = self.halted(Err(halt));
            }
        }
    }

    fn halted(&mut self, done: Result<(), Halt>) -> ControlFlow<()> {
        let Err(halt) = done else { return ControlFlow::Continue(()) };
        self.end(match halt {
            Halt::Stopped => Problem::Stopped,
            Halt::Output => Problem::OutputLimit,
            Halt::Ratio => Problem::RatioLimit,
            Halt::Fatal(coding, fault) => Problem::Coding { coding, fault },
        })
    }

    /// Decoding ends here; the walk goes on for who wants the body as sent.
    fn end(&mut self, problem: Problem) -> ControlFlow<()> {
        let goes_on = self.as_sent.is_some() && problem != Problem::Stopped;
        self.problem = Some(problem);
        self.ended = true;
        if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// Counts what is handed out, and keeps the first of it.
struct Sink<'s> {
    out: &'s mut dyn FnMut(Piece<'_>) -> ControlFlow<()>,
    first: &'s mut Vec<u8>,
    length: &'s mut u64,
}

impl Sink<'_> {
    fn take(&mut self, piece: &[u8]) -> Result<(), Halt> {
        if piece.is_empty() {
            return Ok(());
        }
        // Bytes after a hole are no beginning.
        if *self.length == self.first.len() as u64 && self.first.len() < HEAD_BYTES {
            self.first.extend(piece.iter().take(HEAD_BYTES - self.first.len()));
        }
        *self.length = self.length.saturating_add(piece.len() as u64);
        match (self.out)(Piece::Bytes(piece)) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Halt::Stopped),
        }
    }
}
