//! One message of a stream, by its oid.

use std::ops::ControlFlow;

use streamdb_extract::{BodyLimits, BodyOutcome, Decode, Framing, Head, Message, Piece};
use streamdb_storage::Store;
use streamdb_types::{Gap, Oid, StreamOffset};

use crate::conversation::{Conversation, conversation};
use crate::error::Error;

/// A message, ready to be handed out.
#[derive(Debug)]
pub struct Object {
    conversation: Conversation,
    message: Message,
}

/// Finds the message that an oid names.
///
/// # Errors
/// When there is no such stream or message, or when a block is damaged.
pub fn object(store: &Store, oid: Oid) -> Result<Object, Error> {
    let conversation = conversation(store, oid)?;
    let messages = conversation.messages().of(conversation.asked());
    let message = usize::try_from(oid.index).ok().and_then(|index| messages.get(index)).cloned();
    let message = message.ok_or(Error::NoSuchMessage { oid, messages: messages.len() })?;
    Ok(Object { conversation, message })
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
        self.conversation.body(&self.message, decode, limits, out)
    }

    /// The length of the body as it is handed out, and the holes in it by their offsets there, when both are known without
    /// decoding: when it lies in the stream as it was meant.
    pub fn plain(&self) -> Option<(u64, Vec<Gap>)> {
        let message = &self.message;
        let coded = !message.content_codings.is_empty() || !message.transfer_codings.is_empty();
        if coded || message.framing == Framing::Chunked {
            return None;
        }
        let start = message.body.start;
        let moved = |gap: Gap| Gap { offset: StreamOffset(gap.offset.since(start)), ..gap };
        Some((message.body.len(), self.conversation.body_gaps(message).map(moved).collect()))
    }
}
