//! What lies inside the messages of a connection, and its bytes.

use std::ops::{ControlFlow, Range};

use streamdb_extract::{
    BodyLimits, BodyOutcome, Decode, Framing, Incomplete, Kind, Message, Part, Piece, Problem, Span, counted,
    multipart, part_body,
};
use streamdb_types::{Gap, StreamOffset};

use crate::conversation::Conversation;
use crate::error::Error;
use crate::guard::{content, watched};
use crate::index::{PARTS, host_of};
use crate::range::content_range;
use crate::raw::raw;

/// Who takes pieces, each with where in the content it begins.
type Out<'o> = &'o mut dyn FnMut(u64, Piece<'_>) -> ControlFlow<()>;

/// A message, or something in it: what content is walked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'m> {
    pub(crate) message: &'m Message,
    /// The part of the message that it lies in, where that is not the message itself.
    pub(crate) host: Option<&'m Part>,
    /// What lies there.
    pub(crate) part: Option<&'m Part>,
}

impl<'m> Place<'m> {
    /// A message.
    pub(crate) const fn of(message: &'m Message) -> Self {
        Self { message, host: None, part: None }
    }

    /// A part of this message, or of this part.
    pub(crate) const fn inside(self, part: &'m Part) -> Self {
        Self { message: self.message, host: self.part, part: Some(part) }
    }

    /// Bytes as sent.
    pub(crate) fn len(self) -> u64 {
        let whole = self.host.map_or(self.message.body.len(), Part::len);
        match self.part {
            // What lies under a key has no end of its own.
            Some(part) => part.len().min(whole),
            None => whole,
        }
    }

    /// Why it is not whole. A range of something longer, or of unknown length (RFC 9110 §14.4), is not, even where all that was sent
    /// is there: it is not the file.
    pub(crate) fn incomplete(self) -> Option<Incomplete> {
        let incomplete = self.part.map_or(self.message.incomplete, |part| part.incomplete);
        incomplete.or_else(|| self.range().filter(|range| !is_whole(range)).map(|_| Incomplete::Partial))
    }

    /// Which bytes of how many its sender says that it is, as it says so.
    pub(crate) fn range(self) -> Option<&'m [u8]> {
        match (self.part, &self.message.kind) {
            (Some(part), _) if matches!(part.status, None | Some(206)) => {
                part.entity.as_ref()?.content_range.as_deref()
            }
            (None, Kind::Response { status: 206, .. }) => self.message.fields.get("content-range"),
            _ => None,
        }
    }

    pub(crate) fn missing(self) -> u64 {
        self.part.map_or(self.message.missing, |part| part.missing)
    }

    /// The part of the message that it is, or lies in.
    pub(crate) const fn outermost(self) -> Option<&'m Part> {
        match self.host {
            Some(host) => Some(host),
            None => self.part,
        }
    }

    /// Where in its stream it lies.
    pub(crate) fn spans(self) -> Vec<Span> {
        let message = self.message;
        let at = |offset: u64| StreamOffset(message.body.start.0.saturating_add(offset).min(message.body.end.0));
        match self.outermost().filter(|_| is_plain(message)) {
            Some(part) => part.content.iter().map(|range| Span::new(at(range.start), at(range.end))).collect(),
            None => Vec::from([message.span]),
        }
    }
}

impl Conversation {
    /// What lies inside a message by its number, and in which of its parts, where it does not lie in itself.
    ///
    /// # Errors
    /// When a block is damaged.
    pub(crate) fn numbered(&mut self, message: &Message, number: u32) -> Result<Option<(Option<Part>, Part)>, Error> {
        let mut parts = self.parts(message, &BodyLimits::default())?;
        let of = |number: u32| move |part: &Part| part.number == number;
        if number <= PARTS {
            if parts.is_empty() {
                parts = self.unwrapped(Place::of(message))?;
            }
            return Ok(parts.into_iter().find(of(number)).map(|part| (None, part)));
        }
        let Some(host) = parts.into_iter().find(of(host_of(number))) else { return Ok(None) };
        let inside = self.unwrapped(Place::of(message).inside(&host))?;
        Ok(inside.into_iter().find(of(number)).map(|part| (Some(host), part)))
    }

    /// The parts of a message, by its protocol.
    ///
    /// # Errors
    /// When a block is damaged.
    pub(crate) fn parts(&mut self, message: &Message, limits: &BodyLimits) -> Result<Vec<Part>, Error> {
        let found = self.found_in(message);
        if found.is_empty() { self.several(message, limits) } else { Ok(found.to_vec()) }
    }

    /// Hands out the content of a place: `encoded`, where it is given, as it was sent, where that is another thing.
    ///
    /// # Errors
    /// When a block is damaged: what was handed out before is true, and not all.
    pub(crate) fn place<'o>(
        &mut self,
        place: Place<'_>,
        decode: Decode,
        limits: &BodyLimits,
        encoded: Option<&'o mut dyn FnMut(Piece<'_>)>,
        out: &'o mut dyn FnMut(Piece<'_>) -> ControlFlow<()>,
    ) -> Result<BodyOutcome, Error> {
        let number = place.part.map_or(0, |part| part.number);
        let stage = content(place.message.direction, place.message.index, number, decode);
        watched(self.watch().as_ref(), stage, || {
            let message = place.message;
            let mut outcome = match (place.host, place.part) {
                (_, None) => match encoded {
                    Some(encoded) => self.body_both(message, limits, encoded, out)?,
                    None => self.body(message, decode, limits, out)?,
                },
                (None, Some(part)) => {
                    let ranges = &part.content;
                    lying(part, decode, limits, (encoded, out), &mut |take| self.ranges(message, ranges, limits, take))?
                }
                (Some(host), Some(part)) => lying(part, decode, limits, (encoded, out), &mut |take| {
                    let mut take = counted(take);
                    let host = Place::of(message).inside(host);
                    Ok(self.place(host, Decode::Decoded, limits, None, &mut take)?.problem)
                })?,
            };
            outcome.complete &= place.incomplete().is_none();
            Ok(outcome)
        })
    }

    /// The parts of a body that is said to have several; none of any other.
    ///
    /// # Errors
    /// When a block is damaged.
    fn several(&mut self, message: &Message, limits: &BodyLimits) -> Result<Vec<Part>, Error> {
        let declared = message.content_type().filter(|_| message.kind != Kind::Stream);
        let Some(mut parts) = declared.and_then(multipart) else { return Ok(Vec::new()) };
        let outcome = self.body(message, Decode::Decoded, limits, &mut |piece| {
            parts.push(piece);
            ControlFlow::Continue(())
        })?;
        let spoilt = match outcome.problem {
            Some(Problem::Hole(gap)) => Some(Incomplete::Gap(gap.kind)),
            Some(Problem::OutputLimit | Problem::RatioLimit) => Some(Incomplete::Limit),
            Some(problem) if problem.spoils() => Some(Incomplete::Malformed),
            _ => None,
        };
        Ok(parts.finish(message.incomplete.or(spoilt)))
    }

    /// Hands out ranges of a message's content: of one that lies in its stream as it was meant they alone are read, of others all
    /// up to them. Says what was wrong with it.
    fn ranges(
        &mut self,
        message: &Message,
        ranges: &[Range<u64>],
        limits: &BodyLimits,
        out: Out<'_>,
    ) -> Result<Option<Problem>, Error> {
        if is_plain(message) {
            let mut flow = ControlFlow::Continue(());
            for range in ranges {
                self.content(message, range.clone(), &mut |at, piece| {
                    flow = out(at, piece);
                    flow
                })?;
                if flow.is_break() {
                    break;
                }
            }
            return Ok(None);
        }
        Ok(self.body(message, Decode::Decoded, limits, &mut counted(out))?.problem)
    }

    /// Hands out a range of the content of a message that lies in its stream as it was meant.
    pub(crate) fn content(&self, message: &Message, range: Range<u64>, out: Out<'_>) -> Result<(), Error> {
        let stage = content(message.direction, message.index, 0, Decode::Raw);
        self.guarded(stage, || {
            let Some(stream) = self.stream(message.direction) else { return Ok(()) };
            let body = message.body;
            let place = |offset: u64| StreamOffset(body.start.0.saturating_add(offset).min(body.end.0));
            let others = self.put_others(message.direction);
            let mut own = Vec::new();
            let mut out = |at: u64, piece: Piece<'_>| {
                let at = range.start.saturating_add(at);
                match (piece, others) {
                    (Piece::Bytes(bytes), Some(others)) => {
                        own.clear();
                        own.extend_from_slice(bytes);
                        others.put(place(at), &mut own);
                        out(at, Piece::Bytes(&own))
                    }
                    _ => out(at, piece),
                }
            };
            Ok(raw(stream, place(range.start)..place(range.end), &mut counted(&mut out))?)
        })
    }

    /// The holes in a range of the content of a message that lies in its stream as it was meant, by their offsets in the range.
    pub(crate) fn holes_in(&self, message: &Message, range: &Range<u64>) -> Vec<Gap> {
        let start = message.body.start.add(range.start);
        let moved = |gap: Gap| {
            let from = gap.offset.max(start);
            let end = gap.end().min(start.add(range.end.saturating_sub(range.start)));
            (from < end).then(|| Gap { offset: StreamOffset(from.since(start)), length: end.since(from), ..gap })
        };
        self.body_gaps(message).filter_map(moved).collect()
    }
}

/// Whether this range is all that there is.
fn is_whole(range: &[u8]) -> bool {
    content_range(range).is_some_and(|(range, total)| range.start == 0 && Some(range.end) == total)
}

/// Whether a message's content lies in its stream as it was meant.
pub(crate) fn is_plain(message: &Message) -> bool {
    let coded = !message.content_codings.is_empty() || !message.transfer_codings.is_empty();
    !coded && message.framing != Framing::Chunked
}

/// Who takes pieces as they were sent, where that is another thing, and who takes them as they were meant.
type Both<'o> = (Option<&'o mut dyn FnMut(Piece<'_>)>, &'o mut dyn FnMut(Piece<'_>) -> ControlFlow<()>);
/// Hands out a part of what `walk` walks over, which says what was wrong with that.
fn lying(
    part: &Part,
    decode: Decode,
    limits: &BodyLimits,
    (encoded, out): Both<'_>,
    walk: &mut dyn FnMut(Out<'_>) -> Result<Option<Problem>, Error>,
) -> Result<BodyOutcome, Error> {
    let mut walked: Result<Option<Problem>, Error> = Ok(None);
    let mut outcome = part_body(part, decode, limits, encoded, &mut |take| walked = walk(take), out);
    // What spoils the content spoils what lies in it.
    if let Some(problem) = walked?.filter(|problem| *problem != Problem::Stopped && problem.spoils()) {
        outcome.complete = false;
        outcome.problem.get_or_insert(problem);
    }
    Ok(outcome)
}
