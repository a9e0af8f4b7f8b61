//! The objects of a connection as rows: what each is, whether it is whole, and its digests.

use std::ops::ControlFlow;

use streamdb_extract::{BodyLimits, BodyOutcome, Decode, Kind, Message, Piece, Problem};
use streamdb_sniff::{Content, HEAD_BYTES, XorKey, sniff_content};
use streamdb_storage::{Store, StreamInfo};
use streamdb_types::{Digests, Marks, ObjectKind, ObjectRow};

use crate::allowance::Allowance;
use crate::conversation::{Conversation, conversation_of};
use crate::digest::{Known, Taken, Taking};
use crate::error::Error;
use crate::index::Index;
use crate::inside::Inside;
use crate::name;

/// Content of at most this size is held in memory while its digests are made; larger content is read again for them.
const HELD: usize = 4 << 20;
/// Most contents whose digests are remembered.
const KNOWN: usize = 1 << 18;
/// Longest body that is read whole while somebody waits.
const HURRY: u64 = 32 << 20;
/// Most bytes of a text in a row.
const TEXT: usize = 16 << 10;

/// Makes rows; keeps what makes the next ones cheaper.
#[derive(Debug)]
pub struct Rows {
    known: Known,
    /// Memory for content, and for content as sent.
    buffers: [Vec<u8>; 2],
    /// Bodies of more bytes as sent are looked at by their beginning alone.
    longest: u64,
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
        Self { known: Known::new(KNOWN), buffers: Default::default(), longest: u64::MAX }
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
            let limits = allowance.limits();
            let (mut row, key) = self.row(&mut conversation, message, &limits, base, &mut allowance)?;
            allowance.texts(&mut row);
            let inside = match key {
                Some(key) => Some(self.inside(&mut conversation, message, &limits, &key, row.clone())?),
                None => None,
            };
            rows.push(row);
            rows.extend(inside);
        }
        Ok(rows)
    }

    /// Fills in what only the content tells.
    fn row(
        &mut self,
        conversation: &mut Conversation,
        message: &Message,
        limits: &BodyLimits,
        base: ObjectRow,
        allowance: &mut Allowance,
    ) -> Result<(ObjectRow, Option<XorKey>), Error> {
        if message.body.len() > self.longest {
            return beginning(conversation, message, base);
        }
        let read = self.read(conversation, message, limits)?;
        allowance.decoded(&read.outcome);
        let digests = self
            .digests(read.content, &mut |out| conversation.body(message, Decode::Decoded, limits, out).map(|_| ()))?;
        let digests_encoded = match read.encoded {
            Some(encoded) => {
                self.digests(encoded, &mut |out| conversation.body(message, Decode::Raw, limits, out).map(|_| ()))?
            }
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
            reason: why(message, &outcome),
            digests,
            digests_encoded,
            description: outcome.what.description.into_owned(),
            ..base
        };
        Ok((row, outcome.what.xor_key))
    }

    /// The row of what lies under a key in an object.
    fn inside(
        &mut self,
        conversation: &mut Conversation,
        message: &Message,
        limits: &BodyLimits,
        key: &XorKey,
        outer: ObjectRow,
    ) -> Result<ObjectRow, Error> {
        let mut content = self.taking(0);
        let mut head = Vec::new();
        let walk = |conversation: &mut Conversation, out: Out<'_>| {
            let Some(mut inside) = Inside::under(key.as_bytes(), key.begins_at() as u64) else { return Ok(()) };
            conversation.body(message, Decode::Decoded, limits, &mut |piece| inside.piece(piece, out)).map(|_| ())
        };
        walk(conversation, &mut |piece| {
            if let Piece::Bytes(bytes) = piece {
                head.extend(bytes.iter().take(HEAD_BYTES - head.len().min(HEAD_BYTES)));
            }
            content.piece(piece, HELD);
            ControlFlow::Continue(())
        })?;
        let digests = self.digests(content.finish(), &mut |out| walk(conversation, out))?;
        let size = outer.size.saturating_sub(key.begins_at() as u64);
        let what = sniff_content(Content::of_length(&head, size));
        Ok(ObjectRow {
            oid: outer.oid.with_index(Index::inside(outer.oid.index)),
            kind: ObjectKind::File,
            mime: what.mime.to_owned(),
            legacy: what.legacy().to_owned(),
            description: what.description.into_owned(),
            xor_key: None,
            declared_type: None,
            filename: None,
            size,
            encoded_size: size,
            digests,
            digests_encoded: None,
            ..outer
        })
    }

    fn read(&mut self, conversation: &mut Conversation, message: &Message, limits: &BodyLimits) -> Result<Read, Error> {
        let (mut content, mut encoded) = (self.taking(0), self.taking(1));
        let outcome =
            conversation.body_both(message, limits, &mut |piece| encoded.piece(piece, HELD), &mut |piece| {
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

/// Fills in what the beginning of the content tells, and the framing.
fn beginning(
    conversation: &mut Conversation,
    message: &Message,
    base: ObjectRow,
) -> Result<(ObjectRow, Option<XorKey>), Error> {
    let mut taken = 0;
    let outcome = conversation.body(message, Decode::Decoded, &BodyLimits::default(), &mut |piece| {
        taken += match piece {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::Hole(gap) => gap.length,
        };
        if taken < HEAD_BYTES as u64 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    let row = ObjectRow {
        mime: outcome.what.mime.to_owned(),
        legacy: outcome.what.legacy().to_owned(),
        size: message.body.len(),
        encoded_size: message.body.len(),
        complete: message.is_complete(),
        missing_bytes: message.missing,
        reason: message.incomplete.map(|why| why.words().to_owned()),
        description: outcome.what.description.into_owned(),
        ..base
    };
    Ok((row, None))
}

/// What is known of an object without its content.
fn blank(conversation: &Conversation, message: &Message) -> Option<ObjectRow> {
    let info = conversation.info(message.direction)?;
    let peer = message.peer.and_then(|peer| {
        let others = conversation.messages().of(message.direction.flip());
        others.get(usize::try_from(peer.0).ok()?)
    });
    let request = [Some(message), peer].into_iter().flatten().find_map(|message| match &message.kind {
        Kind::Request { method, target, .. } => Some((text(method), text(target))),
        _ => None,
    });
    let status = [Some(message), peer].into_iter().flatten().find_map(|message| match message.kind {
        Kind::Response { status, .. } => Some(status),
        _ => None,
    });
    let kind = match message.kind {
        Kind::Request { .. } => ObjectKind::Request,
        Kind::Response { .. } => ObjectKind::Response,
        Kind::Stream => ObjectKind::Stream,
    };
    let is_http = kind != ObjectKind::Stream;
    let (method, uri) = request.unzip();
    let given = message.fields.get("content-disposition").and_then(name::disposition);
    // An answer is named by what was asked for, and what is put somewhere by where it is put.
    let named = kind == ObjectKind::Response || (is_http && method.as_deref() == Some("PUT"));
    let asked = || uri.as_deref().filter(|_| named).and_then(|uri| name::target(uri.as_bytes()));
    Some(ObjectRow {
        oid: conversation.oid(message)?,
        key: info.key,
        direction: message.direction,
        begins: conversation.begins(message),
        tuple: info.tuple,
        start: info.first,
        kind,
        protocol: if is_http { "http".to_owned() } else { String::new() },
        filename: given.or_else(asked),
        method: method.filter(|_| is_http),
        uri: uri.filter(|_| is_http),
        host: message.host.as_deref().map(text),
        status: status.filter(|_| is_http),
        declared_type: message.content_type().map(text),
        mime: String::new(),
        description: String::new(),
        legacy: String::new(),
        xor_key: None,
        size: 0,
        encoded_size: 0,
        complete: false,
        missing_bytes: 0,
        reason: None,
        conflict: info.marks.contains(Marks::CONFLICT),
        digests: None,
        digests_encoded: None,
    })
}

/// Why an object is not complete, in a word.
fn why(message: &Message, outcome: &BodyOutcome) -> Option<String> {
    if outcome.complete {
        return None;
    }
    let word = match (message.incomplete, &outcome.problem) {
        (Some(why), _) => why.words(),
        (None, Some(Problem::Hole(_))) => "gap",
        (None, Some(Problem::OutputLimit | Problem::RatioLimit)) => "limit",
        (None, Some(Problem::Coding { .. })) => "decoder-error",
        (None, _) => "unknown",
    };
    Some(word.to_owned())
}

fn text(bytes: &[u8]) -> String {
    let cut = bytes.get(..TEXT).unwrap_or(bytes);
    String::from_utf8_lossy(cut).into_owned()
}
