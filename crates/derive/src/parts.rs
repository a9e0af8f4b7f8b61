//! What lies inside the messages of a connection, and its bytes.

use std::ops::{ControlFlow, Range};

use streamdb_extract::{
    BodyLimits, BodyOutcome, Decode, Framing, Incomplete, Kind, Message, Part, Piece, Problem, counted, multipart,
    part_body,
};
use streamdb_sniff::{HEAD_BYTES, XorKey};
use streamdb_types::{Gap, StreamOffset};

use crate::conversation::Conversation;
use crate::error::Error;
use crate::raw::raw;

/// Who takes pieces, each with where in the content it begins.
type Out<'o> = &'o mut dyn FnMut(u64, Piece<'_>) -> ControlFlow<()>;

impl Conversation {
    /// What lies inside a message.
    ///
    /// # Errors
    /// When a block is damaged.
    pub(crate) fn parts(&mut self, message: &Message) -> Result<Vec<Part>, Error> {
        let found = self.found_in(message);
        if !found.is_empty() {
            return Ok(found.to_vec());
        }
        let several = self.several(message, &BodyLimits::default())?;
        if !several.is_empty() {
            return Ok(several);
        }
        Ok(key_of(self, message)?.map(|key| under(message, &key)).into_iter().collect())
    }

    /// The parts of a body that is said to have several; none of any other.
    ///
    /// # Errors
    /// When a block is damaged.
    pub(crate) fn several(&mut self, message: &Message, limits: &BodyLimits) -> Result<Vec<Part>, Error> {
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

    /// Hands out the content of a part, as [`part_body`] does: `encoded`, where it is given, as it was sent.
    ///
    /// # Errors
    /// When a block is damaged: what was handed out before is true, and not all.
    pub(crate) fn part<'o>(
        &mut self,
        message: &Message,
        part: &Part,
        decode: Decode,
        limits: &BodyLimits,
        encoded: Option<&'o mut dyn FnMut(Piece<'_>)>,
        out: &'o mut dyn FnMut(Piece<'_>) -> ControlFlow<()>,
    ) -> Result<BodyOutcome, Error> {
        let mut walked: Result<Option<Problem>, Error> = Ok(None);
        let mut outcome = part_body(
            part,
            decode,
            limits,
            encoded,
            &mut |take| walked = self.ranges(message, &part.content, limits, take),
            out,
        );
        // What spoils the content spoils what lies in it.
        if let Some(problem) = walked?.filter(|problem| *problem != Problem::Stopped && problem.spoils()) {
            outcome.complete = false;
            outcome.problem.get_or_insert(problem);
        }
        Ok(outcome)
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
        let Some(stream) = self.stream(message.direction) else { return Ok(()) };
        let body = message.body;
        let place = |offset: u64| StreamOffset(body.start.0.saturating_add(offset).min(body.end.0));
        let mut out = |at: u64, piece: Piece<'_>| out(range.start.saturating_add(at), piece);
        Ok(raw(stream, place(range.start)..place(range.end), &mut counted(&mut out))?)
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

/// Whether a message's content lies in its stream as it was meant.
pub(crate) fn is_plain(message: &Message) -> bool {
    let coded = !message.content_codings.is_empty() || !message.transfer_codings.is_empty();
    !coded && message.framing != Framing::Chunked
}

/// The executable under a key in a message.
pub(crate) fn under(message: &Message, key: &XorKey) -> Part {
    let part = Part::under(key.as_bytes(), key.begins_at() as u64..u64::MAX);
    Part { incomplete: message.incomplete, missing: message.missing, ..part }
}

/// The key that the executable in a message lies under, if it does.
fn key_of(conversation: &mut Conversation, message: &Message) -> Result<Option<XorKey>, Error> {
    let mut taken = 0;
    let outcome = conversation.body(message, Decode::Decoded, &BodyLimits::default(), &mut |piece| {
        if let Piece::Bytes(bytes) = piece {
            taken += bytes.len();
        }
        if taken < HEAD_BYTES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(outcome.what.xor_key)
}
