//! Which messages of a connection are parts of a content that is more than they are.

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};

use streamdb_extract::{BodyLimits, Decode, Entity, Framing, Incomplete, Kind, Message, Part, PartKind, Piece};
use streamdb_storage::{JoinId, JoinOf, JoinPart, Store};
use streamdb_types::{Direction, ObjectKind, ObjectRow, Oid};

use crate::conversation::{Conversation, conversation};
use crate::error::Error;
use crate::index::Index;
use crate::join::append;
use crate::parts::Place;
use crate::range::{Asked, Said, content_range, join_of, shown};

/// Most runs of one part: what lies behind that many holes is left out.
const RUNS: usize = 64;

/// A part, and what it is one of.
pub(crate) type Found = (JoinId, JoinOf, JoinPart);

/// Whether an object may be, or have inside, a part of something: a part that was asked for, or a whole one that broke off.
pub(crate) fn is_piece(row: &ObjectRow) -> bool {
    let broke_off = row.status == Some(200) && !row.complete && row.encoded_size > 0;
    row.kind == ObjectKind::Response && row.method.as_deref() == Some("GET") && (row.status == Some(206) || broke_off)
}

/// The parts among the objects of a connection, which has these rows.
///
/// # Errors
/// When a block is damaged.
pub(crate) fn pieces(store: &Store, rows: &[ObjectRow]) -> Result<Vec<Found>, Error> {
    let mut found = Vec::new();
    for direction in Direction::BOTH {
        let Some(first) = rows.iter().find(|row| row.direction == direction && is_piece(row)) else { continue };
        let by_index: HashMap<u64, &ObjectRow> =
            rows.iter().filter(|row| row.direction == direction).map(|row| (row.oid.index, row)).collect();
        let mut conversation = conversation(store, first.oid)?;
        let messages = conversation.messages().of(direction).to_vec();
        for message in &messages {
            let Some(oid) = conversation.oid(message) else { continue };
            let mut pieces =
                Pieces { oid: Oid { index: oid.index, ..first.oid }, by_index: &by_index, found: &mut found };
            match message.kind {
                Kind::Response { status, .. } => pieces.response(&mut conversation, message, status)?,
                Kind::Stream => {
                    for part in conversation.found_in(message).to_vec() {
                        pieces.inside(&mut conversation, message, &part)?;
                    }
                }
                Kind::Request { .. } => {}
            }
        }
    }
    Ok(found)
}

/// What is gathered of a message.
struct Pieces<'p> {
    /// Its name.
    oid: Oid,
    by_index: &'p HashMap<u64, &'p ObjectRow>,
    found: &'p mut Vec<Found>,
}

impl Pieces<'_> {
    fn row(&self, index: u64) -> Option<&ObjectRow> {
        self.by_index.get(&index).copied()
    }

    /// A response of HTTP/1.
    fn response(&mut self, conversation: &mut Conversation, message: &Message, status: u16) -> Result<(), Error> {
        let Some(row) = self.row(self.oid.index).filter(|row| is_piece(row)).cloned() else { return Ok(()) };
        let target = message.peer.and_then(|peer| {
            let requests = conversation.messages().of(message.direction.flip());
            match &requests.get(usize::try_from(peer.0).ok()?)?.kind {
                Kind::Request { target, .. } => Some(target.clone()),
                _ => None,
            }
        });
        let Some(target) = target.filter(|_| message.transfer_codings.is_empty()) else { return Ok(()) };
        let server = row.tuple.server.to_string();
        let asked = Asked {
            scheme: "http",
            host: message.host.as_deref().unwrap_or(server.as_bytes()),
            target: &target,
            codings: &message.content_codings,
        };
        let said = Said {
            etag: message.fields.get("etag"),
            last_modified: message.fields.get("last-modified"),
            date: message.fields.get("date"),
        };
        let length = match message.framing {
            Framing::Length(length) => Some(length),
            _ => None,
        };
        let range = message.fields.get("content-range");
        if status == 206 && range.is_none() {
            return self.several(conversation, message, &asked, &said, &row);
        }
        let Some((range, total)) = said_range(status, range, length, message.incomplete) else { return Ok(()) };
        let plain = message.framing != Framing::Chunked;
        let runs = if plain {
            let body = 0..message.body.len();
            let holes = conversation.holes_in(message, &body);
            without(body.end, holes.iter().map(|hole| hole.offset.0..hole.offset.0.saturating_add(hole.length)), &range)
        } else {
            walked(&range, &mut |out| conversation.body(message, Decode::Raw, &BodyLimits::default(), out).map(|_| ()))?
        };
        self.add(join_of(&asked, &said, total), &row, status, range.start, runs);
        Ok(())
    }

    /// Several ranges in one response: the parts of its body (RFC 9110 §15.3.7.2).
    fn several(
        &mut self,
        conversation: &mut Conversation,
        message: &Message,
        asked: &Asked<'_>,
        said: &Said<'_>,
        outer: &ObjectRow,
    ) -> Result<(), Error> {
        let multipart = outer.declared_type.as_deref().is_some_and(|declared| {
            declared.get(..20).is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/byteranges"))
        });
        // Of coded bodies nobody says whether the whole body or each of its parts is.
        if !multipart || !message.content_codings.is_empty() {
            return Ok(());
        }
        for part in conversation.parts(message, &BodyLimits::default())? {
            let range = part.entity.as_ref().and_then(|entity| content_range(entity.content_range.as_deref()?));
            let Some((range, total)) = range.filter(|_| part.content_codings.is_empty()) else { continue };
            let index = Index::inside(self.oid.index, part.number);
            let Some(row) = index.and_then(|index| self.row(index)).cloned() else { continue };
            let runs = runs_of(conversation, message, &part, &range)?;
            self.add(join_of(asked, said, total), &row, 206, range.start, runs);
        }
        Ok(())
    }

    /// A response that lies inside a stream: of HTTP/2, or through a tunnel.
    fn inside(&mut self, conversation: &mut Conversation, message: &Message, part: &Part) -> Result<(), Error> {
        let index = Index::inside(self.oid.index, part.number);
        let Some(row) = index.and_then(|index| self.row(index)).filter(|row| is_piece(row)).cloned() else {
            return Ok(());
        };
        let (PartKind::Response, Some(status), Some(target), Some(entity)) =
            (part.kind, part.status, &part.target, &part.entity)
        else {
            return Ok(());
        };
        let Entity { scheme, content_range, length, etag, last_modified, date } = &**entity;
        let scheme = scheme.as_deref().map_or_else(|| "http".to_owned(), shown);
        let server = row.tuple.server.to_string();
        let asked = Asked {
            scheme: &scheme,
            host: part.host.as_deref().unwrap_or(server.as_bytes()),
            target,
            codings: &part.content_codings,
        };
        let said = Said { etag: etag.as_deref(), last_modified: last_modified.as_deref(), date: date.as_deref() };
        let range = said_range(status, content_range.as_deref(), *length, part.incomplete);
        let Some((range, total)) = range else { return Ok(()) };
        let runs = runs_of(conversation, message, part, &range)?;
        self.add(join_of(&asked, &said, total), &row, status, range.start, runs);
        Ok(())
    }

    fn add(&mut self, of: (JoinId, JoinOf), row: &ObjectRow, status: u16, first: u64, runs: Vec<Range<u64>>) {
        if runs.is_empty() {
            return;
        }
        let (id, of) = of;
        let of = JoinOf { filename: row.filename.clone(), declared_type: row.declared_type.clone(), ..of };
        let ObjectRow { oid, key, direction, begins, tuple, start, .. } = *row;
        self.found.push((id, of, JoinPart { oid, key, direction, begins, tuple, start, status, first, runs }));
    }
}

/// Which bytes of how many a response of this status has.
fn said_range(
    status: u16,
    range: Option<&[u8]>,
    length: Option<u64>,
    incomplete: Option<Incomplete>,
) -> Option<(Range<u64>, Option<u64>)> {
    if status == 206 {
        let (range, total) = content_range(range?)?;
        // A body of another length than its range is not what it says.
        let fits = length.is_none_or(|length| length == range.end - range.start);
        return Some((range, total)).filter(|_| fits);
    }
    let total = length.filter(|total| *total > 0 && incomplete.is_some())?;
    Some((0..total, Some(total)))
}

/// Where in the content there are bytes, of a body of this length with these holes, which is to be that range.
fn without(length: u64, holes: impl Iterator<Item = Range<u64>>, range: &Range<u64>) -> Vec<Range<u64>> {
    let length = length.min(range.end - range.start);
    let mut runs = Vec::new();
    let mut at = 0;
    for hole in holes.chain(std::iter::once(length..u64::MAX)) {
        let end = hole.start.min(length);
        if at < end && runs.len() < RUNS {
            append(&mut runs, range.start + at..range.start + end);
        }
        at = hole.end.max(at);
    }
    runs
}

/// Likewise of a part.
fn runs_of(
    conversation: &mut Conversation,
    message: &Message,
    part: &Part,
    range: &Range<u64>,
) -> Result<Vec<Range<u64>>, Error> {
    if part.missing == 0 && part.incomplete.is_none() && message.missing == 0 {
        return Ok(without(part.len(), std::iter::empty(), range));
    }
    walked(range, &mut |out| {
        conversation.place(Place::of(message).inside(part), Decode::Raw, &BodyLimits::default(), None, out).map(|_| ())
    })
}

/// Who hands out a body as it was sent.
type Walk<'w> = &'w mut dyn FnMut(&mut dyn FnMut(Piece<'_>) -> ControlFlow<()>) -> Result<(), Error>;

/// Likewise of what has to be walked for that.
fn walked(range: &Range<u64>, walk: Walk<'_>) -> Result<Vec<Range<u64>>, Error> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    let mut at = range.start;
    walk(&mut |piece| {
        let end = at.saturating_add(piece.len()).min(range.end);
        if matches!(piece, Piece::Bytes(_)) {
            append(&mut runs, at..end);
        }
        at = end;
        if at < range.end && runs.len() <= RUNS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    runs.truncate(RUNS);
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_left_out_and_a_body_never_goes_beyond_its_range() {
        let holes = [3..5, 5..6, 8..9];
        assert_eq!(without(12, holes.clone().into_iter(), &(100..112)), [100..103, 106..108, 109..112]);
        assert_eq!(without(12, holes.clone().into_iter(), &(100..104)), std::slice::from_ref(&(100..103)));
        assert_eq!(without(4, holes.into_iter(), &(100..112)), std::slice::from_ref(&(100..103)));
        assert_eq!(without(0, std::iter::empty(), &(0..5)), []);
        assert_eq!(without(5, std::iter::once(0..5), &(0..5)), []);
        let many = (0..200u64).map(|n| 2 * n..2 * n + 1);
        assert_eq!(without(400, many, &(0..400)).len(), RUNS);
    }

    #[test]
    fn a_body_of_another_length_than_its_range_is_no_part() {
        let range = Some(&b"bytes 2-4/10"[..]);
        assert_eq!(said_range(206, range, Some(3), None), Some((2..5, Some(10))));
        assert_eq!(said_range(206, range, None, None), Some((2..5, Some(10))));
        assert_eq!(said_range(206, range, Some(4), None), None);
        assert_eq!(said_range(206, None, Some(4), None), None);
        assert_eq!(said_range(200, None, Some(7), Some(Incomplete::ClosedEarly)), Some((0..7, Some(7))));
        assert_eq!(said_range(200, None, Some(7), None), None);
        assert_eq!(said_range(200, None, None, Some(Incomplete::ClosedEarly)), None);
    }
}
