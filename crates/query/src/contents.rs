//! Candidates, of which those stay whose contents have what is searched for.

use std::ops::ControlFlow;
use std::thread::available_parallelism;

use streamdb_derive::{BodyLimits, Conversation, Decode, Error, Head, Piece, conversation};
use streamdb_storage::{Store, StreamInfo};
use streamdb_types::ObjectRow;

use crate::content::{BytesExpression, ContentSearch, Decided};
use crate::crew::{Looker, search_on};
use crate::position::Position;

/// A stream, and those of its objects that are wanted by their rows.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) stream: StreamInfo,
    pub(crate) rows: Vec<ObjectRow>,
}

/// What takes candidates, and breaks off when it has enough.
pub(crate) type Taker<'t> = dyn FnMut(Candidate) -> ControlFlow<()> + 't;

/// What makes candidates: it asks before each stream whether to go on, and gives those on that it makes.
pub(crate) type Producer<'p> = dyn FnMut(&dyn Fn() -> bool, &mut Taker<'_>) -> Result<(), Error> + 'p;

/// What a search looked into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Searched {
    /// Streams with objects that were looked into.
    pub streams: u64,
    /// Objects that were looked into until it was known whether they have what is searched for.
    pub objects: u64,
    /// Bytes of them that were gone over: heads, and contents as they were meant.
    pub bytes: u64,
    /// Objects that could not be read.
    pub unread: u64,
    /// Streams whose objects were still to be looked into when the search ended.
    pub(crate) undecided: u64,
    /// The last stream up to which all were looked into.
    pub(crate) until: Option<Position>,
}

/// Looks into the contents of every candidate that `produce` hands out, and hands those on that have objects with the
/// expression in them, with those objects alone: on the calling thread, in their order, each as soon as all before it are
/// decided, at the latest when `produce` comes to its next stream. What cannot be read is told to `trouble`. When `go_on` says
/// no, what was found until then is handed out: all up to the object that was being looked into, and nothing behind it.
///
/// As many threads as the machine has cores look into contents; one connection is looked into by one of them, however long
/// its contents are. They end soon when `go_on` says no, or `take` breaks off.
///
/// # Errors
/// Those of `produce`.
pub(crate) fn search(
    store: &Store,
    expression: &BytesExpression,
    go_on: &(dyn Fn() -> bool + Sync),
    produce: &mut Producer<'_>,
    take: &mut Taker<'_>,
    trouble: &mut dyn FnMut(&Error),
) -> Result<Searched, Error> {
    let threads = available_parallelism().map_or(1, usize::from);
    let make = || {
        let mut inside = Inside { store, search: expression.search(), last: None };
        let look = move |candidate, go_on: &mut dyn FnMut() -> bool| inside.look_into(candidate, go_on);
        Box::new(look) as Looker<'_>
    };
    search_on(threads, &make, go_on, produce, take, trouble)
}

/// What came of a candidate.
pub(crate) struct Outcome {
    /// With those objects alone that have what is searched for.
    pub(crate) found: Candidate,
    pub(crate) searched: Searched,
    /// The first that could not be read, and why.
    pub(crate) trouble: Option<Error>,
    /// Whether it ended before all its objects were decided.
    pub(crate) stopped: bool,
}

/// Looks into contents, on one thread.
struct Inside<'i> {
    store: &'i Store,
    search: ContentSearch<'i>,
    /// The connection that was looked into last: its other stream may come next.
    last: Option<Conversation>,
}

impl Inside<'_> {
    /// Looks for the objects of a candidate that have what is searched for, until `go_on` says no. Those that can be read are
    /// looked into, whatever becomes of the others.
    fn look_into(&mut self, candidate: Candidate, go_on: &mut dyn FnMut() -> bool) -> Outcome {
        let Candidate { stream, rows } = candidate;
        let found = Candidate { stream, rows: Vec::new() };
        let mut outcome = Outcome { found, searched: Searched::default(), trouble: None, stopped: false };
        if !go_on() {
            outcome.searched.undecided = 1;
            return Outcome { stopped: true, ..outcome };
        }
        outcome.searched.streams = 1;
        // Taken apart once for all its objects, as there may be a hundred thousand of them.
        let conversation = match self.conversation(&outcome.found.stream) {
            Ok(conversation) => self.last.insert(conversation),
            Err(error) => {
                outcome.searched.unread = rows.len() as u64;
                return Outcome { trouble: Some(error), ..outcome };
            }
        };
        for row in rows {
            match decide(conversation, &row, &mut self.search, &mut outcome.searched.bytes, go_on) {
                Ok(Decided::Stopped) => {
                    outcome.stopped = true;
                    break;
                }
                Ok(decided) => {
                    outcome.searched.objects += 1;
                    outcome.found.rows.extend((decided == Decided::Found).then_some(row));
                }
                Err(error) => {
                    outcome.searched.unread += 1;
                    outcome.trouble.get_or_insert(error);
                }
            }
        }
        outcome
    }

    /// The connection of a stream.
    fn conversation(&mut self, stream: &StreamInfo) -> Result<Conversation, Error> {
        let same = |last: &Conversation| {
            // When the stream that it was opened by is over, it looks the same from the other one.
            let asked = last.asked();
            let over = asked == stream.direction || last.info(asked).is_some_and(|info| info.reason.is_some());
            over && last.info(stream.direction).is_some_and(|info| info.oid == stream.oid)
        };
        match self.last.take().filter(same) {
            Some(last) => Ok(last),
            None => conversation(self.store, stream.oid),
        }
    }
}

/// Whether an object's head and content, as one run of bytes, have what is searched for; `bytes` counts those gone over.
fn decide(
    conversation: &mut Conversation,
    row: &ObjectRow,
    search: &mut ContentSearch<'_>,
    bytes: &mut u64,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Decided, Error> {
    let named = conversation.named(row.direction, row.oid)?;
    let mut head = Vec::new();
    // The head belongs to all of the message.
    if !named.is_inside() {
        push_head(&mut head, conversation.head(named.message())?);
    }
    search.begin();
    *bytes += head.len() as u64;
    let mut told = search.feed(&head, go_on);
    let mut take = |piece: Piece<'_>| {
        match piece {
            _ if told.is_break() => {}
            Piece::Bytes(piece) => {
                *bytes += piece.len() as u64;
                told = search.feed(piece, go_on);
            }
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
