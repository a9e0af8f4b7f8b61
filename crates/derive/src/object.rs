//! One message of a stream, by its oid.

use std::ops::{ControlFlow, Range};

use streamdb_extract::{BodyLimits, BodyOutcome, Decode, Framing, Head, Message, Piece};
use streamdb_sniff::{Content, HEAD_BYTES, XorKey, sniff_content};
use streamdb_storage::Store;
use streamdb_types::{Gap, Oid, StreamOffset};

use crate::conversation::{Conversation, conversation};
use crate::error::Error;
use crate::inside::{INSIDE, Inside};
use crate::raw::raw;

/// A message, ready to be handed out.
#[derive(Debug)]
pub struct Object {
    conversation: Conversation,
    message: Message,
    /// It lies inside the message, under this key.
    under: Option<XorKey>,
}

/// Finds the message that an oid names, or what lies inside it: the INDEX of that is the message's and 2^32 more.
///
/// # Errors
/// When there is no such stream or message, or when a block is damaged.
pub fn object(store: &Store, oid: Oid) -> Result<Object, Error> {
    let mut conversation = conversation(store, oid)?;
    let messages = conversation.messages().of(conversation.asked());
    let message = usize::try_from(oid.index % INSIDE).ok().and_then(|index| messages.get(index)).cloned();
    let message = message.ok_or(Error::NoSuchMessage { oid, messages: messages.len() })?;
    let under = match oid.index / INSIDE {
        0 => None,
        1 => Some(key_of(&mut conversation, &message)?.ok_or(Error::NothingInside(oid))?),
        _ => return Err(Error::NothingInside(oid)),
    };
    Ok(Object { conversation, message, under })
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

impl Object {
    /// The message.
    pub const fn message(&self) -> &Message {
        &self.message
    }

    /// The connection that it is part of.
    pub const fn conversation(&self) -> &Conversation {
        &self.conversation
    }

    /// Its head, read again; `None` when it has none.
    ///
    /// # Errors
    /// When a block is damaged.
    pub fn head(&mut self) -> Result<Option<Head>, Error> {
        self.conversation.head(&self.message)
    }

    /// Hands out its body until it ends or `out` breaks off.
    ///
    /// # Errors
    /// When a block is damaged: what was handed out before is true, and not all.
    pub fn body(
        &mut self,
        decode: Decode,
        limits: &BodyLimits,
        out: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>,
    ) -> Result<BodyOutcome, Error> {
        let inside = self.under.and_then(|key| Inside::under(key.as_bytes(), key.begins_at() as u64));
        let Some((mut inside, key)) = inside.zip(self.under) else {
            return self.conversation.body(&self.message, decode, limits, out);
        };
        let mut head = Vec::new();
        let outer = self.conversation.body(&self.message, Decode::Decoded, limits, &mut |piece| {
            inside.piece(piece, &mut |piece| {
                if let Piece::Bytes(bytes) = piece {
                    head.extend(bytes.iter().take(HEAD_BYTES - head.len().min(HEAD_BYTES)));
                }
                out(piece)
            })
        })?;
        let length = outer.length.saturating_sub(key.begins_at() as u64);
        let content = if outer.complete { Content::of_length(&head, length) } else { Content::beginning(&head) };
        Ok(BodyOutcome { length, encoded_length: length, decoded: true, what: sniff_content(content), ..outer })
    }

    /// Hands out a part of a body that is [`plain`](Self::plain), without reading what lies before it; holes have their offsets
    /// in the body. Nothing of one that is not.
    ///
    /// # Errors
    /// When a block is damaged: what was handed out before is true, and not all.
    pub fn plain_part(&self, part: Range<u64>, out: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        let body = &self.message.body;
        let Some(stream) = self.conversation.stream(self.message.direction).filter(|_| self.is_plain()) else {
            return Ok(());
        };
        let at = |offset: u64| StreamOffset(body.start.0.saturating_add(offset).min(body.end.0));
        Ok(raw(stream, at(part.start)..at(part.end), &mut |piece| {
            out(match piece {
                Piece::Hole(gap) => Piece::Hole(Gap { offset: StreamOffset(gap.offset.since(body.start)), ..gap }),
                bytes @ Piece::Bytes(_) => bytes,
            })
        })?)
    }

    fn is_plain(&self) -> bool {
        let message = &self.message;
        let coded = !message.content_codings.is_empty() || !message.transfer_codings.is_empty() || self.under.is_some();
        !coded && message.framing != Framing::Chunked
    }

    /// The length of the body as it is handed out, and the holes in it by their offsets there, when both are known without
    /// decoding: when it lies in the stream as it was meant.
    pub fn plain(&self) -> Option<(u64, Vec<Gap>)> {
        let message = &self.message;
        if !self.is_plain() {
            return None;
        }
        let start = message.body.start;
        let moved = |gap: Gap| Gap { offset: StreamOffset(gap.offset.since(start)), ..gap };
        Some((message.body.len(), self.conversation.body_gaps(message).map(moved).collect()))
    }
}
