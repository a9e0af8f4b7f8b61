//! Candidates, of which those stay whose contents have what is searched for.

use std::ops::ControlFlow;

use streamdb_derive::{BodyLimits, Conversation, Decode, Error, Head, Piece, conversation};
use streamdb_storage::{Store, StreamInfo};
use streamdb_types::ObjectRow;

use crate::content::{BytesExpression, ContentSearch, Decided};

/// A stream, and those of its objects that are wanted by their rows.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) stream: StreamInfo,
    pub(crate) rows: Vec<ObjectRow>,
}

/// What takes candidates, and breaks off when it has enough.
pub(crate) type Taker<'t> = dyn FnMut(Candidate) -> ControlFlow<()> + 't;

/// Looks into the contents of every candidate that `produce` hands out, and hands those on, in the same order, that have
/// objects with the expression in them, with those objects alone. What cannot be read is told to `trouble`. When `go_on` says
/// no, what was found until then is handed out.
///
/// # Errors
/// Those of `produce`.
pub(crate) fn search(
    store: &Store,
    expression: &BytesExpression,
    go_on: &(dyn Fn() -> bool + Sync),
    produce: &mut dyn FnMut(&mut Taker<'_>) -> Result<(), Error>,
    take: &mut Taker<'_>,
    trouble: &mut dyn FnMut(&Error),
) -> Result<(), Error> {
    let mut search = expression.search();
    produce(&mut |candidate| {
        match found(store, candidate, &mut search, &mut || go_on()) {
            Ok(found) if found.rows.is_empty() => {}
            Ok(found) => take(found)?,
            Err(error) => trouble(&error),
        }
        if go_on() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
}

/// The candidate with those objects alone that have what is searched for; those that were found until then when `go_on` says
/// no.
fn found(
    store: &Store,
    candidate: Candidate,
    search: &mut ContentSearch<'_>,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Candidate, Error> {
    let Candidate { stream, rows } = candidate;
    let mut found = Vec::new();
    // Taken apart once for all its objects, as there may be a hundred thousand of them.
    let mut conversation = conversation(store, stream.oid)?;
    for row in rows {
        match decide(&mut conversation, &row, search, go_on)? {
            Decided::Found => found.push(row),
            Decided::Never => {}
            Decided::Stopped => break,
        }
    }
    Ok(Candidate { stream, rows: found })
}

/// Whether an object's head and content, as one run of bytes, have what is searched for.
fn decide(
    conversation: &mut Conversation,
    row: &ObjectRow,
    search: &mut ContentSearch<'_>,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Decided, Error> {
    let named = conversation.named(row.direction, row.oid)?;
    let mut head = Vec::new();
    push_head(&mut head, conversation.head(named.message())?);
    search.begin();
    let mut told = search.feed(&head, go_on);
    let mut take = |piece: Piece<'_>| {
        match piece {
            _ if told.is_break() => {}
            Piece::Bytes(piece) => told = search.feed(piece, go_on),
            Piece::Hole(_) => told = search.hole(),
        }
        told.map_break(|_| ())
    };
    conversation.body_of(&named, Decode::Decoded, &BodyLimits::default(), &mut take)?;
    Ok(match told {
        ControlFlow::Break(decided) => decided,
        ControlFlow::Continue(()) if search.end() => Decided::Found,
        ControlFlow::Continue(()) => Decided::Never,
    })
}

fn push_head(bytes: &mut Vec<u8>, head: Option<Head>) {
    let Some(head) = head else { return };
    bytes.extend_from_slice(head.first_line());
    for (name, value) in head.fields() {
        bytes.extend([b"\r\n", name, b": ", value].concat());
    }
    bytes.extend_from_slice(b"\r\n\r\n");
}
