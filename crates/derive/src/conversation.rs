//! Both directions of a connection, and the messages in them.

use std::ops::ControlFlow;
use std::sync::Arc;

use streamdb_extract::{
    BodyLimits, BodyOutcome, Decode, Found, Head, Incomplete, Limits, Message, MessageIndex, Messages, Part, Piece,
    Source, Span, Transfer,
};
use streamdb_storage::{Stage, Store, Stream, StreamInfo, Suspects};
use streamdb_types::{Direction, Gap, Marks, Oid, StreamOffset, Timestamp};

use crate::error::Error;
use crate::guard::{OTHERS, READ, Stretch, VERSION, content, guarded, watched};
use crate::index::{Cut, Naming, begins};
use crate::others::Others;
use crate::source::{StreamSource, Version};

/// A connection: what was said in it. Only for the thread that opened it, as reading may leave an error behind.
pub struct Conversation {
    sources: [StreamSource; 2],
    asked: Direction,
    messages: Messages,
    /// What lies inside messages of kind stream, and inside which.
    inside: Option<([Option<MessageIndex>; 2], Found)>,
    /// What retention took, by direction.
    cuts: [Option<Cut>; 2],
    /// Who is told what is being taken apart.
    suspects: Option<Arc<Suspects>>,
}

/// Reads the connection of a stream: the stream as the oid names it, the other direction as it is now, and the messages in
/// both. Bodies are not decoded yet.
///
/// # Errors
/// When there is no such stream, or when a block of either direction is damaged.
pub fn conversation(store: &Store, oid: Oid) -> Result<Conversation, Error> {
    let stream = store.stream(oid)?;
    let other = store.newest(stream.info().key, stream.info().direction.flip())?;
    both(store, stream, other)
}

/// The connection of a stream whose newest record this is: what [`conversation`] finds, without looking for it in every
/// bucket since the connection began.
pub(crate) fn conversation_of(store: &Store, info: &StreamInfo) -> Result<Conversation, Error> {
    let stream = store.stream(info.oid)?;
    let other = other_of(store, info)?;
    both(store, stream, other)
}

/// Why a stream as a whole is not complete, by the one rule for it ([`Incomplete::of_stream`]); `None` when it is. No byte of
/// it is read.
///
/// # Errors
/// When there is no such stream, or when either direction cannot be read.
pub fn incomplete(store: &Store, info: &StreamInfo) -> Result<Option<Incomplete>, Error> {
    let (stream, other) = side_by_side(store.stream(info.oid)?, other_of(store, info)?);
    Ok(Incomplete::of_stream(&stream, &other, info.direction))
}

/// The other direction of a stream whose newest record this is.
fn other_of(store: &Store, info: &StreamInfo) -> Result<Option<Stream>, Error> {
    Ok(match info.peer {
        // The other direction may have gone on in a later bucket.
        _ if info.goes_on => store.newest(info.key, info.direction.flip())?,
        Some(peer) => Some(store.stream(peer)?),
        // It began and ended in this bucket, so that the other direction would be here too.
        None if info.key.bucket == info.oid.bucket => None,
        None => store.newest(info.key, info.direction.flip())?,
    })
}

fn side_by_side(stream: Stream, other: Option<Stream>) -> (StreamSource, StreamSource) {
    let reason = stream.info().reason;
    (StreamSource::new(stream), other.map_or_else(|| StreamSource::absent(reason), StreamSource::new))
}

fn both(store: &Store, stream: Stream, other: Option<Stream>) -> Result<Conversation, Error> {
    if let Some(why) = store.given_up(stream.info().key) {
        return Err(Error::GivenUp { oid: stream.info().oid, why });
    }
    let (direction, info, suspects) = (stream.info().direction, stream.info().clone(), store.suspects());
    let cut_of_other = other.as_ref().map(|other| Cut::of(store, other, Some(&stream))).transpose()?;
    let cuts = (Cut::of(store, &stream, other.as_ref())?, cut_of_other.flatten());
    let (stream, other) = side_by_side(stream, other);
    let (sources, cuts) = match direction {
        Direction::ToServer => ([stream, other], [cuts.0, cuts.1]),
        Direction::ToClient => ([other, stream], [cuts.1, cuts.0]),
    };
    let of = Stretch::of_both(&info, &sources);
    let read = guarded(suspects.as_ref(), &of, READ, || Conversation::read(sources, direction, cuts))?;
    Ok(Conversation { suspects, ..read })
}

impl Conversation {
    fn read(sources: [StreamSource; 2], asked: Direction, cuts: [Option<Cut>; 2]) -> Result<Self, Error> {
        let [to_server, to_client] = &sources;
        #[cfg(feature = "misbehave")]
        crate::misbehave::misbehave(to_server, b"MISBEHAVE ");
        let limits = Limits::default();
        let messages = streamdb_extract::messages(to_server, to_client, &limits);
        let inside = streamdb_extract::inside(&messages, [to_server, to_client], &limits);
        let mut conversation = Self { sources, asked, messages, inside, cuts, suspects: None };
        conversation.checked()?;
        Ok(conversation)
    }

    /// What else was captured for places of the streams, by direction: see [`Others`]. A connection of few frames between which so many
    /// others lie that `frames` says no is not looked at.
    ///
    /// # Errors
    /// When a block is damaged.
    pub(crate) fn others(&self, store: &Store, frames: &dyn Fn(u64) -> u64) -> Result<[Option<Arc<Others>>; 2], Error> {
        let [to_server, to_client] = &self.sources;
        let of = |source: &StreamSource| {
            let conflict = |stream: &&Stream| stream.info().marks.contains(Marks::CONFLICT);
            let Some(stream) = source.stream().filter(conflict) else { return Ok::<_, Error>(None) };
            let own = self.sources.iter().filter_map(StreamSource::info).map(|info| info.packets).sum();
            Ok(Others::of(store, stream, frames(own))?.map(Arc::new))
        };
        self.guarded(OTHERS, || Ok([of(to_server)?, of(to_client)?]))
    }

    /// The same connection as this version of it has it; nothing when there is no such version.
    ///
    /// # Errors
    /// When a block is damaged.
    pub(crate) fn version(
        &self,
        store: &Store,
        others: &[Option<Arc<Others>>; 2],
        version: usize,
    ) -> Result<Option<Self>, Error> {
        let has = |others: &&Arc<Others>| others.versions() > version;
        if !others.iter().flatten().any(|others| has(&others)) {
            return Ok(None);
        }
        let again = |source: &StreamSource, others: &Option<Arc<Others>>| {
            let Some(stream) = source.stream() else { return Ok(StreamSource::absent(source.ended())) };
            let others = others.as_ref().filter(has).map(|others| Version(Arc::clone(others), version));
            Ok::<_, Error>(StreamSource::new(store.stream(stream.info().oid)?).with(others))
        };
        let ([to_server, to_client], [theirs, others]) = (&self.sources, others);
        let sources = [again(to_server, theirs)?, again(to_client, others)?];
        let read = || Self::read(sources, self.asked, self.cuts.clone());
        let read = self.guarded(VERSION, read)?;
        Ok(Some(Self { suspects: self.suspects.clone(), ..read }))
    }

    /// Whether this version has bytes of its own in a stretch of a direction's stream.
    pub(crate) fn is_other(&self, direction: Direction, span: Span) -> bool {
        self.source(direction)
            .others()
            .is_some_and(|Version(others, version)| others.has(*version, span.start, span.end))
    }

    /// Where the bytes of a direction are not the stream's own, if there are such.
    pub(crate) fn put_others(&self, direction: Direction) -> Option<&Version> {
        self.source(direction).others()
    }

    /// The direction of the stream that was asked for.
    pub const fn asked(&self) -> Direction {
        self.asked
    }

    /// What is known of one direction; `None` when it had no frame.
    pub fn info(&self, direction: Direction) -> Option<&StreamInfo> {
        self.source(direction).info()
    }

    /// When retention dropped a bucket with a part of one direction, if it did.
    pub fn dropped(&self, direction: Direction) -> Option<Timestamp> {
        self.stream(direction)?.dropped()
    }

    /// The messages of both directions.
    pub const fn messages(&self) -> &Messages {
        &self.messages
    }

    /// The name of a message.
    pub fn oid(&self, message: &Message) -> Option<Oid> {
        let info = self.info(message.direction)?;
        Some(info.oid.with_index(self.names(message.direction).index(message)))
    }

    /// How the messages of a direction are named.
    pub(crate) fn names(&self, direction: Direction) -> Naming<'_> {
        let cut = direction.of::<Option<Cut>>(&self.cuts).as_ref();
        Naming { messages: self.messages.of(direction), cut }
    }

    /// Where a message begins.
    pub(crate) fn begins(&self, message: &Message) -> StreamOffset {
        let gaps = self.source(message.direction).stream().map_or(&[][..], Stream::gaps);
        begins(message, gaps)
    }

    /// The head of a message, read again; `None` when it has none.
    ///
    /// # Errors
    /// When a block is damaged.
    pub fn head(&mut self, message: &Message) -> Result<Option<Head>, Error> {
        let head = streamdb_extract::head(message, self.source(message.direction));
        self.checked()?;
        Ok(head)
    }

    /// Hands out the body of a message until it ends or `out` breaks off.
    ///
    /// # Errors
    /// When a block is damaged: what was handed out before is true, and not all.
    pub fn body(
        &mut self,
        message: &Message,
        decode: Decode,
        limits: &BodyLimits,
        out: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>,
    ) -> Result<BodyOutcome, Error> {
        let stage = content(message.direction, message.index, 0, decode);
        let source = self.source(message.direction);
        let mut outcome = self.guarded(stage, || {
            #[cfg(feature = "misbehave")]
            crate::misbehave::misbehave(source, b"MISBEHAVE-BODY ");
            Ok(streamdb_extract::body(message, source, decode, limits, out))
        })?;
        self.checked()?;
        self.told(message, &mut outcome);
        Ok(outcome)
    }

    /// Hands out the body of a message both as it was sent and as it was meant, as
    /// [`body_both`](streamdb_extract::body_both) does.
    ///
    /// # Errors
    /// When a block is damaged: what was handed out before is true, and not all.
    pub(crate) fn body_both(
        &mut self,
        message: &Message,
        limits: &BodyLimits,
        encoded: &mut dyn FnMut(Piece<'_>),
        out: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>,
    ) -> Result<BodyOutcome, Error> {
        let stage = content(message.direction, message.index, 0, Decode::Decoded);
        let source = self.source(message.direction);
        let mut outcome =
            self.guarded(stage, || Ok(streamdb_extract::body_both(message, source, limits, encoded, out)))?;
        self.checked()?;
        self.told(message, &mut outcome);
        Ok(outcome)
    }

    /// What was found inside a message of kind stream.
    fn found(&self, message: &Message) -> Option<&Found> {
        let (which, found) = self.inside.as_ref()?;
        let index = *message.direction.of::<Option<MessageIndex>>(which);
        (index == Some(message.index)).then_some(found)
    }

    /// The parts that were found inside a message of kind stream.
    pub(crate) fn found_in(&self, message: &Message) -> &[Part] {
        self.found(message).map_or(&[], |found| message.direction.of::<Vec<Part>>(&found.parts))
    }

    /// Whether it is known what a message of kind stream is.
    pub(crate) fn is_known(&self, message: &Message) -> bool {
        self.found(message).is_some()
    }

    /// What is said in the connection of data connections of FTP.
    pub(crate) fn transfers(&self) -> &[Transfer] {
        self.inside.as_ref().map_or(&[], |(_, found)| &found.transfers)
    }

    /// Says of a stream what it is by all that was found in it, where that is known, instead of by its first bytes.
    fn told(&self, message: &Message, outcome: &mut BodyOutcome) {
        let sentence = self.found(message).and_then(|found| message.direction.of(&found.sentences).clone());
        if let Some(sentence) = sentence {
            outcome.what.description = sentence.into();
        }
    }

    /// The holes in the body of a message as it lies in the stream, framing included.
    pub fn body_gaps(&self, message: &Message) -> impl Iterator<Item = Gap> + '_ {
        streamdb_extract::gaps(self.source(message.direction), message.body)
    }

    /// One direction as a stream; `None` when it had no frame.
    pub(crate) fn stream(&self, direction: Direction) -> Option<&Stream> {
        self.source(direction).stream()
    }

    /// Whatever is taken apart is so while that is written down.
    pub(crate) fn guarded<T>(&self, stage: Stage, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        watched(self.watch().as_ref(), stage, work)
    }

    /// The same for work that changes the conversation: who is told, and of what.
    pub(crate) fn watch(&self) -> Option<(Arc<Suspects>, Stretch)> {
        let info = self.info(self.asked)?;
        Some((Arc::clone(self.suspects.as_ref()?), Stretch::of_both(info, &self.sources)))
    }

    fn source(&self, direction: Direction) -> &StreamSource {
        direction.of::<StreamSource>(&self.sources)
    }

    /// Turns what reading left behind into an error.
    fn checked(&mut self) -> Result<(), Error> {
        match self.sources.iter_mut().find_map(StreamSource::take_error) {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for Conversation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lengths = self.sources.each_ref().map(|source| source.end());
        f.debug_struct("Conversation").field("lengths", &lengths).field("messages", &self.messages).finish()
    }
}
