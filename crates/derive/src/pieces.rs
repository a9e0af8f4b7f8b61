//! Which messages of a connection are parts of a content that is more than they are.

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};

use streamdb_extract::{BodyLimits, Decode, Entity, Framing, Incomplete, Kind, Message, Notes, Part, PartKind, Piece};
use streamdb_storage::{JoinId, JoinOf, JoinPart, Store};
use streamdb_types::{Direction, ObjectKind, ObjectRow, Oid};

use crate::allowance::Allowance;
use crate::conversation::{Conversation, conversation};
use crate::error::Error;
use crate::index::Index;
use crate::join::append;
use crate::parts::{Place, is_plain};
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
    let mut allowance = Allowance::new();
    for direction in Direction::BOTH {
        let Some(first) = rows.iter().find(|row| row.direction == direction && is_piece(row)) else { continue };
        let by_index: HashMap<u64, &ObjectRow> =
            rows.iter().filter(|row| row.direction == direction).map(|row| (row.oid.index, row)).collect();
        let mut conversation = conversation(store, first.oid)?;
        let messages = conversation.messages().of(direction).to_vec();
        for message in &messages {
            let Some(oid) = conversation.oid(message) else { continue };
            let oid = Oid { index: oid.index, ..first.oid };
            let mut pieces = Pieces { oid, by_index: &by_index, allowance: &mut allowance, found: &mut found };
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
    /// What is left for the ways to parts of bodies that are not plain.
    allowance: &'p mut Allowance,
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
            let request = requests.get(usize::try_from(peer.0).ok()?).filter(|request| !request.is_guess())?;
            match &request.kind {
                Kind::Request { target, .. } => Some(target.clone()),
                _ => None,
            }
        });
        // Of an answer whose request is a guess, or that has several lengths, nobody knows what its bytes are.
        if message.is_guess() || message.notes.contains(Notes::CONFLICTING_LENGTHS) {
            return Ok(());
        }
        let Some(target) = target.filter(|_| message.transfer_codings.is_empty()) else { return Ok(()) };
        let server = row.tuple.server.to_string();
        let asked = Asked {
            scheme: "http",
            host: message.host.as_deref().unwrap_or(server.as_bytes()),
            target: &target,
            codings: &message.content_codings,
        };
        let etag = message.fields.combined("etag");
        if is_several(etag.as_deref()) {
            return Ok(());
        }
        let said = Said {
            etag: etag.as_deref(),
            last_modified: message.fields.get("last-modified"),
            date: message.fields.get("date"),
        };
        let length = match message.framing {
            Framing::Length(length) => Some(length),
            _ => None,
        };
        let range = message.fields.combined("content-range");
        if status == 206 && range.is_none() {
            return self.several(conversation, message, &asked, &said, &row);
        }
        let Some((range, total)) = said_range(status, range.as_deref(), length, message.incomplete) else {
            return Ok(());
        };
        let (runs, length) = if message.framing == Framing::Chunked {
            walked(&range, &mut |out| conversation.body(message, Decode::Raw, &BodyLimits::default(), out).map(|_| ()))?
        } else {
            let body = 0..message.body.len();
            let holes = conversation.holes_in(message, &body);
            let holes = holes.iter().map(|hole| hole.offset.0..hole.offset.0.saturating_add(hole.length));
            (without(body.end, holes, &range), body.end)
        };
        // A body that ends with its connection may have been cut short without a sign.
        if !fits(length, &range, message.incomplete.is_none() && message.framing != Framing::UntilClose) {
            return Ok(());
        }
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
        #[cfg(feature = "misbehave")]
        crate::misbehave::misbehave_as(outer.uri.as_deref().unwrap_or_default().as_bytes(), b"/JOIN-");
        // Of coded bodies nobody says whether the whole body or each of its parts is.
        if !multipart || !message.content_codings.is_empty() {
            return Ok(());
        }
        for part in conversation.parts(message, &BodyLimits::default())? {
            let range = part.entity.as_ref().and_then(|entity| content_range(entity.content_range.as_deref()?));
            let Some((range, total)) = range.filter(|_| part.content_codings.is_empty()) else { continue };
            let index = Index::inside(self.oid.index, part.number);
            let Some(row) = index.and_then(|index| self.row(index)).cloned() else { continue };
            // To come to it, all before it is read once more, each time.
            let way = part.content.last().filter(|_| !is_plain(message)).map_or(0, |last| last.end);
            if !fits(part.len(), &range, part.incomplete.is_none()) || !self.allowance.goes(way) {
                continue;
            }
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
        let whole = part.incomplete.is_none();
        let fitting = range.filter(|(range, _)| !is_several(etag.as_deref()) && fits(part.len(), range, whole));
        let Some((range, total)) = fitting else { return Ok(()) };
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
        let ObjectRow { oid, key, direction, begins, tuple, start, conflict, .. } = *row;
        let part = JoinPart { oid, key, direction, begins, tuple, start, status, first, runs, conflict };
        self.found.push((id, of, part));
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

/// Whether a body of this length, whole or cut short, is that range.
const fn fits(length: u64, range: &Range<u64>, whole: bool) -> bool {
    let said = range.end - range.start;
    if whole { length == said } else { length <= said }
}

/// Whether several entity tags are one value: an entity tag has two quotes at most (RFC 9110 §8.8.3).
fn is_several(etag: Option<&[u8]>) -> bool {
    etag.is_some_and(|etag| etag.iter().filter(|byte| **byte == b'"').count() > 2)
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
    .map(|(runs, _)| runs)
}

/// Who hands out a body as it was sent.
type Walk<'w> = &'w mut dyn FnMut(&mut dyn FnMut(Piece<'_>) -> ControlFlow<()>) -> Result<(), Error>;

/// Likewise of what has to be walked for that; and how long the body is, or more than its range when it is longer.
fn walked(range: &Range<u64>, walk: Walk<'_>) -> Result<(Vec<Range<u64>>, u64), Error> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    let mut at = range.start;
    walk(&mut |piece| {
        let end = at.saturating_add(piece.len());
        if matches!(piece, Piece::Bytes(_)) {
            append(&mut runs, at..end.min(range.end));
        }
        at = end;
        if at <= range.end && runs.len() <= RUNS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    runs.truncate(RUNS);
    Ok((runs, at - range.start))
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
    fn a_body_is_as_long_as_its_range_or_was_cut_short() {
        assert!(fits(3, &(2..5), true) && fits(3, &(2..5), false) && fits(2, &(2..5), false));
        assert!(!fits(2, &(2..5), true) && !fits(4, &(2..5), true) && !fits(4, &(2..5), false));
        let walk = |length: u64| {
            let mut walk = |out: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>| {
                let _ = (0..length).try_for_each(|_| out(Piece::Bytes(b"x")));
                Ok(())
            };
            walked(&(2..5), &mut walk).unwrap()
        };
        assert_eq!(walk(2), (vec![Range { start: 2, end: 4 }], 2));
        assert_eq!(walk(3), (vec![Range { start: 2, end: 5 }], 3));
        assert_eq!(walk(9), (vec![Range { start: 2, end: 5 }], 4));
        assert!(is_several(Some(b"\"a\", \"b\"")) && !is_several(Some(b"W/\"a\"")) && !is_several(None));
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
