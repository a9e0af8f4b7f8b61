//! One message of a stream, by its oid.

use std::ops::{ControlFlow, Range};

use streamdb_extract::{BodyLimits, BodyOutcome, Decode, Framing, Head, Message, Piece};
use streamdb_sniff::{Content, HEAD_BYTES, XorKey, sniff_content};
use streamdb_storage::Store;
use streamdb_types::{Direction, Gap, Oid, StreamOffset};

use crate::conversation::{Conversation, conversation};
use crate::error::Error;
use crate::index::Index;
use crate::inside::Inside;
use crate::raw::raw;

/// A message, ready to be handed out.
#[derive(Debug)]
pub struct Object {
    conversation: Conversation,
    named: Named,
}

/// What an oid names in a connection that is taken apart already.
#[derive(Clone, Debug)]
pub struct Named {
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
    let named = conversation.named(conversation.asked(), oid)?;
    Ok(Object { conversation, named })
}

impl Conversation {
    /// Finds the message that an oid of the stream in this direction names, or what lies inside it.
    ///
    /// # Errors
    /// When there is no such message, or when a block is damaged.
    pub fn named(&mut self, direction: Direction, oid: Oid) -> Result<Named, Error> {
        let index = Index::read(oid.index);
        let message = self.names(direction).find(oid, index.message)?.clone();
        let under = match index.inside {
            0 => None,
            1 => Some(key_of(self, &message)?.ok_or(Error::NothingInside(oid))?),
            _ => return Err(Error::NothingInside(oid)),
        };
        Ok(Named { message, under })
    }

    /// Hands out the body of what an oid names, until it ends or `out` breaks off.
    ///
    /// # Errors
    /// When a block is damaged: what was handed out before is true, and not all.
    pub fn body_of(
        &mut self,
        named: &Named,
        decode: Decode,
        limits: &BodyLimits,
        out: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>,
    ) -> Result<BodyOutcome, Error> {
        let inside = named.under.and_then(|key| Inside::under(key.as_bytes(), key.begins_at() as u64));
        let Some((mut inside, key)) = inside.zip(named.under) else {
            return self.body(&named.message, decode, limits, out);
        };
        let mut head = Vec::new();
        let outer = self.body(&named.message, Decode::Decoded, limits, &mut |piece| {
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
}

impl Named {
    /// Whether it lies inside the message.
    pub const fn is_inside(&self) -> bool {
        self.under.is_some()
    }

    /// The message.
    pub const fn message(&self) -> &Message {
        &self.message
    }
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
        &self.named.message
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
        self.conversation.head(&self.named.message)
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
        self.conversation.body_of(&self.named, decode, limits, out)
    }

    /// Hands out a part of a body that is [`plain`](Self::plain), without reading what lies before it; holes have their offsets
    /// in the body. Nothing of one that is not.
    ///
    /// # Errors
    /// When a block is damaged: what was handed out before is true, and not all.
    pub fn plain_part(&self, part: Range<u64>, out: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        let body = &self.named.message.body;
        let Some(stream) = self.conversation.stream(self.named.message.direction).filter(|_| self.is_plain()) else {
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
        let message = &self.named.message;
        let coded =
            !message.content_codings.is_empty() || !message.transfer_codings.is_empty() || self.named.under.is_some();
        !coded && message.framing != Framing::Chunked
    }

    /// The length of the body as it is handed out, and the holes in it by their offsets there, when both are known without
    /// decoding: when it lies in the stream as it was meant.
    pub fn plain(&self) -> Option<(u64, Vec<Gap>)> {
        let message = &self.named.message;
        if !self.is_plain() {
            return None;
        }
        let start = message.body.start;
        let moved = |gap: Gap| Gap { offset: StreamOffset(gap.offset.since(start)), ..gap };
        Some((message.body.len(), self.conversation.body_gaps(message).map(moved).collect()))
    }
}
