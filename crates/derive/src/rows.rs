//! The objects of a connection as rows: what each is, whether it is whole, and its digests.

use std::ops::ControlFlow;

use streamdb_extract::{BodyLimits, BodyOutcome, Decode, Incomplete, Kind, Message, Part, Piece, Problem};
use streamdb_sniff::{HEAD_BYTES, XorKey};
use streamdb_storage::{Store, StreamInfo};
use streamdb_types::{Digests, ObjectRow};

use crate::allowance::Allowance;
use crate::conversation::{Conversation, conversation_of};
use crate::digest::{Known, Taken, Taking};
use crate::error::Error;
use crate::facts::{blank, of_part};
use crate::ftp::Controls;
use crate::parts::{is_plain, under};

/// Content of at most this size is held in memory while its digests are made; larger content is read again for them.
const HELD: usize = 4 << 20;
/// Most contents whose digests are remembered.
const KNOWN: usize = 1 << 18;
/// Longest body that is read whole while somebody waits.
const HURRY: u64 = 32 << 20;

/// Makes rows; keeps what makes the next ones cheaper.
#[derive(Debug)]
pub struct Rows {
    known: Known,
    /// Memory for content, and for content as sent.
    buffers: [Vec<u8>; 2],
    /// Bodies of more bytes as sent are looked at by their beginning alone.
    longest: u64,
    controls: Controls,
}

/// Who takes pieces.
type Out<'o> = &'o mut dyn FnMut(Piece<'_>) -> ControlFlow<()>;

/// What came of reading an object.
struct Read {
    outcome: BodyOutcome,
    content: Taken,
    encoded: Option<Taken>,
}

impl Rows {
    /// Of all content.
    pub fn new() -> Self {
        Self { known: Known::new(KNOWN), buffers: Default::default(), longest: u64::MAX, controls: Controls::default() }
    }

    /// Of content that somebody waits for: of long bodies only the beginning is read. Their rows have no digests, and
    /// whether such a body decodes is not known.
    pub fn in_a_hurry() -> Self {
        Self { longest: HURRY, ..Self::new() }
    }

    /// Whether all content is read, however long it is.
    pub(crate) const fn in_full(&self) -> bool {
        self.longest == u64::MAX
    }

    /// The objects of a stream's connection, in the order in which it is read.
    ///
    /// # Errors
    /// When a block is damaged.
    pub fn of(&mut self, store: &Store, stream: &StreamInfo) -> Result<Vec<ObjectRow>, Error> {
        let mut conversation = conversation_of(store, stream)?;
        let messages: Vec<Message> = conversation.messages().in_order().cloned().collect();
        let mut rows = Vec::with_capacity(messages.len());
        let mut allowance = Allowance::new();
        for message in &messages {
            let nothing = matches!(message.kind, Kind::Stream) && message.span.is_empty();
            let Some(base) = (if nothing { None } else { blank(&conversation, message) }) else { continue };
            let body = Body { message, part: None };
            let (row, key) = self.row(&mut conversation, body, base, &mut allowance)?;
            let mut parts = conversation.found_in(message).to_vec();
            if parts.is_empty() && message.body.len() <= self.longest {
                parts = conversation.several(message, &allowance.limits())?;
            }
            if parts.is_empty() {
                parts.extend(key.map(|key| under(message, &key)));
            }
            let row = match self.controls.carried(store, &conversation)? {
                Some(carried) => carried.say(row),
                None => row,
            };
            let outer = row.clone();
            rows.push(row);
            for part in &parts {
                let base = of_part(&outer, message, part);
                // To come to it, all before it is decoded once more.
                let way = part.content.last().filter(|_| !is_plain(message)).map_or(0, |last| last.start);
                rows.push(if allowance.goes(way) {
                    let body = Body { message, part: Some(part) };
                    self.row(&mut conversation, body, base, &mut allowance)?.0
                } else {
                    unread(base, part)
                });
            }
        }
        Ok(rows)
    }

    /// Fills in what only the content tells.
    fn row(
        &mut self,
        conversation: &mut Conversation,
        body: Body<'_>,
        base: ObjectRow,
        allowance: &mut Allowance,
    ) -> Result<(ObjectRow, Option<XorKey>), Error> {
        let limits = &allowance.limits();
        let (mut row, key) = if body.len() > self.longest {
            beginning(conversation, body, base)?
        } else {
            let read = self.read(conversation, body, limits)?;
            allowance.decoded(&read.outcome);
            let mut walk = |decode, out: Out<'_>| body.walk(conversation, decode, limits, out).map(|_| ());
            let digests = self.digests(read.content, &mut |out| walk(Decode::Decoded, out))?;
            let digests_encoded = match read.encoded {
                Some(encoded) => self.digests(encoded, &mut |out| walk(Decode::Raw, out))?,
                None => None,
            };
            let outcome = read.outcome;
            let row = ObjectRow {
                mime: outcome.what.mime.to_owned(),
                legacy: outcome.what.legacy().to_owned(),
                xor_key: outcome.what.xor_key.map(|key| key.as_bytes().to_vec()),
                size: outcome.length,
                encoded_size: outcome.encoded_length,
                complete: outcome.complete,
                missing_bytes: outcome.missing,
                reason: why(body, &outcome),
                digests,
                digests_encoded,
                description: outcome.what.description.into_owned(),
                ..base
            };
            (row, outcome.what.xor_key)
        };
        allowance.texts(&mut row);
        Ok((row, key))
    }

    fn read(&mut self, conversation: &mut Conversation, body: Body<'_>, limits: &BodyLimits) -> Result<Read, Error> {
        let (mut content, mut encoded) = (self.taking(0), self.taking(1));
        let outcome = body.both(conversation, limits, &mut |piece| encoded.piece(piece, HELD), &mut |piece| {
            content.piece(piece, HELD);
            ControlFlow::Continue(())
        })?;
        let encoded = outcome.decoded.then(|| encoded.finish());
        Ok(Read { outcome, content: content.finish(), encoded })
    }

    fn taking(&mut self, buffer: usize) -> Taking {
        Taking::holding(self.buffers.get_mut(buffer).map(std::mem::take).unwrap_or_default())
    }

    /// The digests of what was taken; `again` walks the same bytes once more.
    fn digests(
        &mut self,
        taken: Taken,
        again: &mut dyn FnMut(Out<'_>) -> Result<(), Error>,
    ) -> Result<Option<Digests>, Error> {
        let Some(sha256) = taken.sha256 else { return Ok(None) };
        let digests = self.known.digests(sha256, |others| match &taken.held {
            Some(held) => {
                others.update(held);
                Ok(())
            }
            None => again(&mut |piece| {
                if let Piece::Bytes(bytes) = piece {
                    others.update(bytes);
                }
                ControlFlow::Continue(())
            }),
        })?;
        // The memory is used again.
        if let (Some(held), Some(buffer)) = (taken.held, self.buffers.iter_mut().find(|buffer| buffer.capacity() == 0))
        {
            *buffer = held;
        }
        Ok(Some(digests))
    }
}

impl Default for Rows {
    fn default() -> Self {
        Self::new()
    }
}

/// What a row is made of: a message, or a part of one.
#[derive(Clone, Copy)]
struct Body<'m> {
    message: &'m Message,
    part: Option<&'m Part>,
}

impl Body<'_> {
    /// Bytes as sent.
    fn len(self) -> u64 {
        match self.part {
            // What lies under a key has no end of its own.
            Some(part) => part.len().min(self.message.body.len()),
            None => self.message.body.len(),
        }
    }

    fn incomplete(self) -> Option<Incomplete> {
        self.part.map_or(self.message.incomplete, |part| part.incomplete)
    }

    fn missing(self) -> u64 {
        self.part.map_or(self.message.missing, |part| part.missing)
    }

    /// Hands it out as it was sent, where that is another thing, and as it was meant.
    fn both(
        self,
        conversation: &mut Conversation,
        limits: &BodyLimits,
        encoded: &mut dyn FnMut(Piece<'_>),
        out: Out<'_>,
    ) -> Result<BodyOutcome, Error> {
        match self.part {
            None => conversation.body_both(self.message, limits, encoded, out),
            Some(part) => conversation.part(self.message, part, Decode::Decoded, limits, Some(encoded), out),
        }
    }

    fn walk(
        self,
        conversation: &mut Conversation,
        decode: Decode,
        limits: &BodyLimits,
        out: Out<'_>,
    ) -> Result<BodyOutcome, Error> {
        match self.part {
            None => conversation.body(self.message, decode, limits, out),
            Some(part) => conversation.part(self.message, part, decode, limits, None, out),
        }
    }
}

/// Of a part that is not read, as that would take too long.
fn unread(base: ObjectRow, part: &Part) -> ObjectRow {
    ObjectRow {
        mime: "application/octet-stream".to_owned(),
        description: "data".to_owned(),
        legacy: "data".to_owned(),
        size: part.len(),
        encoded_size: part.len(),
        missing_bytes: part.missing,
        complete: false,
        reason: Some(Incomplete::Limit.words().to_owned()),
        ..base
    }
}

/// Fills in what the beginning of the content tells, and the framing.
fn beginning(
    conversation: &mut Conversation,
    body: Body<'_>,
    base: ObjectRow,
) -> Result<(ObjectRow, Option<XorKey>), Error> {
    let mut taken = 0;
    let outcome = body.walk(conversation, Decode::Decoded, &BodyLimits::default(), &mut |piece| {
        taken += match piece {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::Hole(gap) => gap.length,
        };
        if taken < HEAD_BYTES as u64 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    let incomplete = body.incomplete();
    let row = ObjectRow {
        mime: outcome.what.mime.to_owned(),
        legacy: outcome.what.legacy().to_owned(),
        size: body.len(),
        encoded_size: body.len(),
        complete: incomplete.is_none(),
        missing_bytes: body.missing(),
        reason: incomplete.map(|why| why.words().to_owned()),
        description: outcome.what.description.into_owned(),
        ..base
    };
    Ok((row, None))
}

/// Why an object is not complete, in a word.
fn why(body: Body<'_>, outcome: &BodyOutcome) -> Option<String> {
    if outcome.complete {
        return None;
    }
    let word = match (body.incomplete(), &outcome.problem) {
        (Some(why), _) => why.words(),
        (None, Some(Problem::Hole(_))) => "gap",
        (None, Some(Problem::OutputLimit | Problem::RatioLimit)) => "limit",
        (None, Some(Problem::Coding { .. })) => "decoder-error",
        (None, _) => "unknown",
    };
    Some(word.to_owned())
}
