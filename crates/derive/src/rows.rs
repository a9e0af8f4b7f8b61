//! The objects of a connection as rows: what each is, whether it is whole, and its digests.

use std::ops::ControlFlow;
use std::sync::Arc;

use streamdb_extract::{BodyLimits, BodyOutcome, Decode, Incomplete, Kind, Message, Part, Piece, Problem};
use streamdb_sniff::{HEAD_BYTES, wrapped};
use streamdb_storage::{Store, StreamInfo};
use streamdb_types::{Digests, ObjectRow};

use crate::allowance::Allowance;
use crate::conversation::{Conversation, conversation_of};
use crate::digest::{Known, Taken, Taking};
use crate::error::Error;
use crate::fields::{blank, of_part};
use crate::ftp::Controls;
use crate::index::Index;
use crate::more::{Hex, LOOK, add_fact, more};
use crate::others::{FRAMES, Others, VERSIONS};
use crate::parts::{Place, is_plain};

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

/// Most objects of a connection of which it is said what they are with other bytes.
const BOTH: usize = 256;
/// Files inside one content have at most this many times its bytes, and a few more, that are read.
const OVERLAID: u64 = 2;
/// The fact that says so.
const OTHER: &str = "other version";

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

    /// Whether another connection may say more of this one soon, which has ended.
    ///
    /// # Errors
    /// When a folder of the store cannot be listed.
    pub(crate) fn may_change(&mut self, store: &Store, stream: &StreamInfo) -> Result<bool, Error> {
        self.controls.may_say_more(store, stream)
    }

    /// What other connections say is looked up anew.
    pub(crate) fn look_anew(&mut self) {
        self.controls.look_anew();
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
        let others = if self.in_full() { conversation.others(store, &frames)? } else { [None, None] };
        for message in &messages {
            let nothing = matches!(message.kind, Kind::Stream) && message.span.is_empty();
            let Some(base) = (if nothing { None } else { blank(&conversation, message) }) else { continue };
            let place = Place::of(message);
            let (row, may_wrap) = self.row(&mut conversation, place, base, &mut allowance)?;
            let row = match self.controls.carried(store, &conversation)? {
                Some(carried) => carried.say(row),
                None => row,
            };
            let row = conflicting(row, place, &others);
            let outer = row.clone();
            rows.push(row);
            let known = !conversation.found_in(message).is_empty();
            let parts = match known || place.len() <= self.longest {
                true => conversation.parts(message, &allowance.limits())?,
                false => Vec::new(),
            };
            if parts.is_empty() && may_wrap {
                self.unwrapped(&mut conversation, place, (&outer, outer.oid.index), &mut allowance, &mut rows)?;
            }
            for part in &parts {
                let Some(index) = Index::inside(outer.oid.index, part.number) else { continue };
                let base = of_part(&outer, place, part, index);
                // To come to it, all before it is decoded once more.
                let way = part.content.last().filter(|_| !is_plain(message)).map_or(0, |last| last.start);
                if !allowance.goes(way) {
                    rows.push(unread(base, part));
                    continue;
                }
                let place = place.inside(part);
                let (row, may_wrap) = self.row(&mut conversation, place, base, &mut allowance)?;
                let row = conflicting(row, place, &others);
                if may_wrap && allowance.goes(way) {
                    let mut inside = Vec::new();
                    self.unwrapped(&mut conversation, place, (&row, outer.oid.index), &mut allowance, &mut inside)?;
                    rows.push(row);
                    rows.append(&mut inside);
                } else {
                    rows.push(row);
                }
            }
        }
        for version in 0..VERSIONS {
            let Some(mut other) = conversation.version(store, &others, version)? else { break };
            for row in rows.iter_mut().filter(|row| row.conflict).take(BOTH) {
                // To come to it, its message may be gone through, which is no longer than its stream.
                let way = conversation.info(row.direction).map_or(0, |info| info.length.0);
                if allowance.goes(way.saturating_add(row.size)) {
                    say_other(&mut other, row)?;
                }
            }
        }
        Ok(rows)
    }

    /// The rows of files inside a place, which has this row, in the message with this INDEX.
    fn unwrapped(
        &mut self,
        conversation: &mut Conversation,
        place: Place<'_>,
        (outer, message): (&ObjectRow, u64),
        allowance: &mut Allowance,
        rows: &mut Vec<ObjectRow>,
    ) -> Result<(), Error> {
        // They may lie one in the other, so that each byte is in many.
        let mut room = place.len().saturating_mul(OVERLAID).saturating_add(HELD as u64);
        for part in &conversation.unwrapped(place)? {
            let Some(index) = Index::inside(message, part.number) else { continue };
            let base = of_part(outer, place, part, index);
            let inner = place.inside(part);
            let left = room.checked_sub(inner.len());
            room = left.unwrap_or(room);
            rows.push(match left.is_some() {
                true => self.row(conversation, inner, base, allowance)?.0,
                false => unread(base, part),
            });
        }
        Ok(())
    }

    /// Fills in what only the content tells. Says besides whether something may be wrapped in it.
    fn row(
        &mut self,
        conversation: &mut Conversation,
        place: Place<'_>,
        base: ObjectRow,
        allowance: &mut Allowance,
    ) -> Result<(ObjectRow, bool), Error> {
        let limits = &allowance.limits();
        let (mut row, may_wrap) = if place.len() > self.longest {
            (beginning(conversation, place, base)?, false)
        } else {
            let read = self.read(conversation, place, limits)?;
            allowance.decoded(&read.outcome);
            let may_wrap = place.message.kind == Kind::Stream && place.part.is_none()
                || read.outcome.what.xor_key.is_some()
                || read.content.held.as_ref().is_none_or(|held| wrapped(held).is_some());
            let mut walk = |decode, out: Out<'_>| conversation.place(place, decode, limits, None, out).map(|_| ());
            let facts = facts(place, &read, &mut |out| walk(Decode::Decoded, out))?;
            let digests = self.digests(read.content, &mut |out| walk(Decode::Decoded, out))?;
            let digests_encoded = match read.encoded {
                Some(encoded) => self.digests(encoded, &mut |out| walk(Decode::Raw, out))?,
                None => None,
            };
            let outcome = read.outcome;
            let row = ObjectRow {
                mime: outcome.what.mime.to_owned(),
                legacy: outcome.what.legacy().to_owned(),
                facts,
                xor_key: outcome.what.xor_key.map(|key| key.as_bytes().to_vec()),
                size: outcome.length,
                encoded_size: outcome.encoded_length,
                complete: outcome.complete,
                missing_bytes: outcome.missing,
                reason: why(place, &outcome),
                digests,
                digests_encoded,
                description: outcome.what.description.into_owned(),
                ..base
            };
            (row, may_wrap)
        };
        allowance.texts(&mut row);
        Ok((row, may_wrap))
    }

    fn read(&mut self, conversation: &mut Conversation, place: Place<'_>, limits: &BodyLimits) -> Result<Read, Error> {
        let (mut content, mut encoded) = (self.taking(0), self.taking(1));
        let mut as_sent = |piece: Piece<'_>| encoded.piece(piece, HELD);
        let outcome = conversation.place(place, Decode::Decoded, limits, Some(&mut as_sent), &mut |piece| {
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

/// Frames that are gone through for the other bytes of a connection of so many.
const fn frames(own: u64) -> u64 {
    let bound = own.saturating_mul(64).saturating_add(4096);
    if bound < FRAMES { bound } else { FRAMES }
}

/// The row of a place that has other bytes in it or has not, when it is known where they are.
fn conflicting(row: ObjectRow, place: Place<'_>, others: &[Option<Arc<Others>>; 2]) -> ObjectRow {
    let touched = row.direction.of::<Option<Arc<Others>>>(others).as_ref().and_then(|others| {
        let spans = place.spans();
        let touched: Vec<Option<bool>> = spans.iter().map(|span| others.touch(span.start, span.end)).collect();
        if touched.contains(&Some(true)) { Some(true) } else { touched.iter().all(Option::is_some).then_some(false) }
    });
    let conflict = touched.unwrap_or(row.conflict);
    ObjectRow { conflict, ..row }
}

/// Says of an object what it is with the other bytes, where it has some.
fn say_other(other: &mut Conversation, row: &mut ObjectRow) -> Result<(), Error> {
    let named = match other.named(row.direction, row.oid) {
        Ok(named) => named,
        // Framed otherwise, there is none.
        Err(Error::NoSuchMessage { .. } | Error::NothingInside(_)) => {
            add_fact(row, OTHER, "no such object");
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    if !named.spans().iter().any(|span| other.is_other(row.direction, *span)) {
        return Ok(());
    }
    let mut content = Taking::holding(Vec::new());
    let outcome = other.body_of(&named, Decode::Decoded, &BodyLimits::default(), &mut |piece| {
        content.piece(piece, 0);
        ControlFlow::Continue(())
    })?;
    let whole = if outcome.complete { "" } else { ", incomplete" };
    let digest = content.finish().sha256.map(|sha256| format!(", SHA-256 {}", Hex(&sha256)));
    add_fact(row, OTHER, format_args!("{} bytes{}{whole}", outcome.length, digest.unwrap_or_default()));
    Ok(())
}

/// What more is known of what was read; `again` walks its content once more.
fn facts(place: Place<'_>, read: &Read, again: &mut dyn FnMut(Out<'_>) -> Result<(), Error>) -> Result<String, Error> {
    if let Some(held) = &read.content.held {
        return Ok(more(place, &read.outcome, held));
    }
    let mut first = Vec::new();
    again(&mut |piece| {
        let Piece::Bytes(bytes) = piece else { return ControlFlow::Break(()) };
        let room = LOOK.saturating_sub(first.len());
        first.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        if first.len() < LOOK { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(more(place, &read.outcome, &first))
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
fn beginning(conversation: &mut Conversation, place: Place<'_>, base: ObjectRow) -> Result<ObjectRow, Error> {
    let mut taken = 0;
    let outcome = conversation.place(place, Decode::Decoded, &BodyLimits::default(), None, &mut |piece| {
        taken += match piece {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::Hole(gap) => gap.length,
        };
        if taken < HEAD_BYTES as u64 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    let incomplete = place.incomplete();
    let row = ObjectRow {
        mime: outcome.what.mime.to_owned(),
        legacy: outcome.what.legacy().to_owned(),
        size: place.len(),
        encoded_size: place.len(),
        complete: incomplete.is_none(),
        missing_bytes: place.missing(),
        reason: incomplete.map(|why| why.words().to_owned()),
        description: outcome.what.description.into_owned(),
        ..base
    };
    Ok(row)
}

/// Why an object is not complete, in a word.
fn why(place: Place<'_>, outcome: &BodyOutcome) -> Option<String> {
    if outcome.complete {
        return None;
    }
    let word = match (place.incomplete(), &outcome.problem) {
        (Some(why), _) => why.words(),
        (None, Some(Problem::Hole(_))) => "gap",
        (None, Some(Problem::OutputLimit | Problem::RatioLimit)) => "limit",
        (None, Some(Problem::Coding { .. })) => "decoder-error",
        (None, _) => "unknown",
    };
    Some(word.to_owned())
}
