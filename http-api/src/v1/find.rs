//! A search for streams or objects: what it finds, as rows.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};
use streamdb_derive::{Error, Rows, Store, StreamInfo};
use streamdb_query::{Filter, Looked, Looking, ObjectLine, Position, StreamRow, Troubles, find_objects, find_streams};
use streamdb_types::{ObjectRow, Timestamp};

/// How long is looked for an answer that is made whole.
const LOOKING: Duration = Duration::from_secs(30);

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Streams,
    Objects,
}

impl Kind {
    /// The word for several of them.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Streams => "streams",
            Self::Objects => "objects",
        }
    }
}

/// One of them. It is serialised as the command line's `--json` has it.
pub(super) enum Found<'f> {
    /// A stream, and the store that knows more of it.
    Stream(&'f StreamInfo, &'f Store),
    /// An object, and the store that knows what scanners said of it.
    Object(&'f ObjectRow, &'f Store),
}

impl Found<'_> {
    /// Where a list goes on after it.
    pub(super) const fn position(&self) -> Position {
        match self {
            Self::Stream(stream, _) => Position::of_stream(stream),
            Self::Object(row, _) => Position::of_object(row),
        }
    }

    /// When its stream began.
    pub(super) const fn began(&self) -> Timestamp {
        match self {
            Self::Stream(stream, _) => stream.first,
            Self::Object(row, _) => row.start,
        }
    }
}

impl Serialize for Found<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Stream(stream, store) => StreamRow::whole(store, stream).serialize(serializer),
            Self::Object(row, store) => ObjectLine::with_verdicts(row, store.verdicts()).serialize(serializer),
        }
    }
}

/// Hands out each that the filter wants.
pub(super) fn each(
    store: &Store,
    kind: Kind,
    filter: &Filter,
    looking: Looking<'_>,
    visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
) -> Result<Looked, Error> {
    match kind {
        Kind::Streams => find_streams(store, filter, looking, &mut |stream, _| visit(Found::Stream(stream, store))),
        Kind::Objects => find_objects(store, filter, looking, &mut |row| visit(Found::Object(row, store))),
    }
}

/// How far a search came.
pub(super) struct Searched {
    /// Streams that were looked at.
    pub(super) streams: u64,
    /// Whether it took too long.
    pub(super) stopped: bool,
    /// All up to there were looked at, where it took too long and that is known.
    pub(super) until: Option<Position>,
    /// What could not be read, and how far it came where it took too long: one sentence each.
    pub(super) remarks: Vec<String>,
}

/// Hands out each that the filter wants, for as long as somebody waits for a whole answer.
pub(super) fn in_time(
    store: &Store,
    kind: Kind,
    filter: &Filter,
    waits: &(dyn Fn() -> bool + Sync),
    visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
) -> Result<Searched, Error> {
    let begun = Instant::now();
    let late = AtomicBool::new(false);
    let go_on = &|| {
        late.fetch_or(begun.elapsed() > LOOKING, Ordering::Relaxed);
        !late.load(Ordering::Relaxed) && waits()
    };
    let mut troubles = Troubles::default();
    let looking = Looking { made: Rows::in_a_hurry(), go_on, troubles: &mut troubles };
    let looked = each(store, kind, filter, looking, visit)?;
    let mut remarks: Vec<String> = troubles.sentences().collect();
    if looked.stopped {
        remarks.push(format!(
            "only the first {} streams were looked at, in {} seconds; narrow the search by address or time, or ask for \
             application/x-ndjson, which takes as long as it takes",
            looked.streams,
            LOOKING.as_secs()
        ));
    }
    Ok(Searched { streams: looked.streams, stopped: looked.stopped, until: looked.until, remarks })
}
