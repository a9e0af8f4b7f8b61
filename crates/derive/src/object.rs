//! One message of a stream, or a part of one, by its oid.

use std::ops::{ControlFlow, Range};

use streamdb_extract::{BodyLimits, BodyOutcome, Decode, Head, Incomplete, Message, Part, Piece, Span};
use streamdb_storage::Store;
use streamdb_types::{Direction, Gap, Oid, StreamOffset};

use crate::conversation::{Conversation, conversation};
use crate::error::Error;
use crate::index::Index;
use crate::others::FRAMES;
use crate::parts::{Place, is_plain};

/// An object, ready to be handed out.
#[derive(Debug)]
pub struct Object {
    conversation: Conversation,
    named: Named,
}

/// What an oid names in a connection that is taken apart already.
#[derive(Clone, Debug)]
pub struct Named {
    message: Message,
    /// The part of the message that it lies in, where it does not lie in the message itself.
    host: Option<Part>,
    /// It lies inside the message.
    part: Option<Part>,
}

/// Finds the message that an oid names, or what lies inside it: the INDEX of that is the message's and 2^32 times its number more.
///
/// # Errors
/// When there is no such stream or message, or when a block is damaged.
pub fn object(store: &Store, oid: Oid) -> Result<Object, Error> {
    let mut conversation = conversation(store, oid)?;
    let named = conversation.named(conversation.asked(), oid)?;
    Ok(Object { conversation, named })
}

/// As [`object`], in another version of its connection, from 1 on: with other bytes where two frames carried different ones for one
/// place of its streams. The INDEX counts what is found so: other bytes may be framed otherwise.
///
/// # Errors
/// As [`object`], and when there are no such bytes.
pub fn other_object(store: &Store, oid: Oid, version: usize) -> Result<Object, Error> {
    let conversation = conversation(store, oid)?;
    let others = conversation.others(store, &|_| FRAMES)?;
    let version = version.saturating_sub(1);
    let mut conversation = conversation.version(store, &others, version)?.ok_or(Error::NoOther(oid))?;
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
        if index.inside == 0 {
            return Ok(Named { message, host: None, part: None });
        }
        let number = u32::try_from(index.inside).map_err(|_| Error::NothingInside(oid))?;
        let (host, part) = self.numbered(&message, number)?.ok_or(Error::NothingInside(oid))?;
        Ok(Named { message, host, part: Some(part) })
    }

    /// Likewise, of what is known to be this part of its message.
    ///
    /// # Errors
    /// When there is no such message.
    pub(crate) fn named_inside(&self, direction: Direction, oid: Oid, part: Part) -> Result<Named, Error> {
        let message = self.names(direction).find(oid, Index::read(oid.index).message)?.clone();
        Ok(Named { message, host: None, part: Some(part) })
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
        self.place(named.place(), decode, limits, None, out)
    }
}

impl Named {
    /// Whether it lies inside the message.
    pub const fn is_inside(&self) -> bool {
        self.part.is_some()
    }

    /// The message.
    pub const fn message(&self) -> &Message {
        &self.message
    }

    /// Why it is not whole as it was sent; `None` when it is.
    pub fn incomplete(&self) -> Option<Incomplete> {
        self.place().incomplete()
    }

    /// Where in its stream it lies.
    pub(crate) fn spans(&self) -> Vec<Span> {
        self.place().spans()
    }

    /// Bytes as sent that are known to be missing.
    pub(crate) fn missing(&self) -> u64 {
        self.place().missing()
    }

    /// The part of the message that it is, or lies in.
    pub(crate) const fn outermost(&self) -> Option<&Part> {
        self.place().outermost()
    }

    const fn place(&self) -> Place<'_> {
        Place { message: &self.message, host: self.host.as_ref(), part: self.part.as_ref() }
    }
}

impl Object {
    /// What the oid names.
    pub const fn named(&self) -> &Named {
        &self.named
    }

    /// The message that it is, or lies in.
    pub const fn message(&self) -> &Message {
        &self.named.message
    }

    /// The connection that it is part of.
    pub const fn conversation(&self) -> &Conversation {
        &self.conversation
    }

    /// The head of the message, read again; `None` when it has none.
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
        let Some(body) = self.plain_range() else { return Ok(()) };
        let at = |offset: u64| body.start.saturating_add(offset).min(body.end);
        self.conversation.content(&self.named.message, at(part.start)..at(part.end), &mut |at, piece| {
            out(match piece {
                Piece::Hole(gap) => Piece::Hole(Gap { offset: StreamOffset(at - body.start), ..gap }),
                bytes @ Piece::Bytes(_) => bytes,
            })
        })
    }

    /// Where it lies in the content of a message that lies in its stream as it was meant, when it is nothing else.
    fn plain_range(&self) -> Option<Range<u64>> {
        let message = &self.named.message;
        let all = 0..message.body.len();
        let range = self.named.part.as_ref().map_or(Some(all), Part::plain);
        range.filter(|_| self.named.host.is_none() && is_plain(message))
    }

    /// The length of the body as it is handed out, and the holes in it by their offsets there, when both are known without
    /// decoding: when it lies in the stream as it was meant.
    pub fn plain(&self) -> Option<(u64, Vec<Gap>)> {
        let range = self.plain_range()?;
        let holes = self.conversation.holes_in(&self.named.message, &range);
        Some((range.end.saturating_sub(range.start), holes))
    }
}
