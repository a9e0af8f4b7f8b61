//! What a filter finds when it has terms about objects: streams by their objects, and objects, by their rows and by what is in
//! them.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::ControlFlow;

use streamdb_derive::{BodyLimits, Conversation, Decode, Error, Head, Piece, Rows, conversation, objects};
use streamdb_storage::{Store, StreamInfo};
use streamdb_types::{BucketId, ConnKey, Direction, ObjectRow};

use crate::content::{BytesExpression, ContentSearch, Decided};
use crate::filter::{Filter, Order};
use crate::select::rows;
use crate::troubles::Troubles;

const CONTINUE: ControlFlow<()> = ControlFlow::Continue(());
const BREAK: ControlFlow<()> = ControlFlow::Break(());

/// What a search goes by, besides a store and a filter.
pub struct Looking<'l> {
    /// Makes the rows that are not kept.
    pub made: Rows,
    /// Asked before each stream, and within contents after each KiB, whether to go on.
    pub go_on: &'l mut dyn FnMut() -> bool,
    /// Told what cannot be read; the rest goes on.
    pub troubles: &'l mut Troubles,
}

/// How far a search went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// Streams that were looked at.
    pub streams: u64,
    /// Whether it was told not to go on before it was done.
    pub stopped: bool,
}

/// Hands out each stream that the filter wants, with those of its objects that are wanted, after the first `offset` and at
/// most `limit` streams, until `visit` breaks off. Where the filter says nothing of objects, none are looked for.
///
/// # Errors
/// When the store cannot be listed.
pub fn find_streams(
    store: &Store,
    filter: &Filter,
    looking: Looking<'_>,
    visit: &mut dyn FnMut(&StreamInfo, Vec<ObjectRow>) -> ControlFlow<()>,
) -> Result<Looked, Error> {
    if filter.objects.is_empty() {
        return walk(store, filter, filter, looking, &mut |_, stream| Ok(visit(stream, Vec::new())));
    }
    let mut window = Window::of(filter);
    let streams = Filter { offset: 0, limit: None, ..filter.clone() };
    walk(store, filter, &streams, looking, &mut |finder, stream| {
        if window.is_full() {
            return Ok(BREAK);
        }
        let found = finder.wanted(stream, Some(stream.direction))?;
        if found.is_empty() || !window.takes_one() {
            return Ok(CONTINUE);
        }
        // Once it is full nothing more is looked for.
        Ok(if visit(stream, found).is_break() || window.is_full() { BREAK } else { CONTINUE })
    })
}

/// Hands out each object that the filter wants, after the first `offset` and at most `limit` objects, until `visit` breaks
/// off. Those of a connection come together, in the order in which it is read.
///
/// # Errors
/// When the store cannot be listed.
pub fn find_objects(
    store: &Store,
    filter: &Filter,
    looking: Looking<'_>,
    visit: &mut dyn FnMut(&ObjectRow) -> ControlFlow<()>,
) -> Result<Looked, Error> {
    let mut window = Window::of(filter);
    let mut seen = Seen::new(filter.order);
    // Either stream of a connection shows what is in both.
    let streams = Filter { offset: 0, limit: None, direction: None, ..filter.clone() };
    walk(store, filter, &streams, looking, &mut |finder, stream| {
        if window.is_full() {
            return Ok(BREAK);
        }
        if seen.is_new(stream) {
            for row in finder.wanted(stream, filter.direction)? {
                if window.takes_one() && (visit(&row).is_break() || window.is_full()) {
                    return Ok(BREAK);
                }
            }
        }
        Ok(CONTINUE)
    })
}

/// Who is told of each stream.
type Each<'e> = dyn FnMut(&mut Finder<'_, '_>, &StreamInfo) -> Result<ControlFlow<()>, Error> + 'e;

/// Goes through `streams`, and finds what `filter` wants of their objects.
fn walk(
    store: &Store,
    filter: &Filter,
    streams: &Filter,
    looking: Looking<'_>,
    each: &mut Each<'_>,
) -> Result<Looked, Error> {
    let Looking { made, go_on, troubles } = looking;
    let mut finder = Finder {
        store,
        filter,
        made,
        last: None,
        search: filter.objects.pcre.as_ref().map(BytesExpression::search),
        go_on,
        stopped: false,
    };
    // Both who visits and who lists have something to tell.
    let troubles = RefCell::new(troubles);
    let mut looked = 0;
    rows(
        store,
        streams,
        &mut |stream| {
            finder.stopped = finder.stopped || !(finder.go_on)();
            if finder.stopped {
                return BREAK;
            }
            looked += 1;
            each(&mut finder, stream).unwrap_or_else(|error| {
                troubles.borrow_mut().add(&error);
                CONTINUE
            })
        },
        &mut |error| troubles.borrow_mut().add(&error),
    )?;
    Ok(Looked { streams: looked, stopped: finder.stopped })
}

/// Finds the wanted objects of streams.
struct Finder<'s, 'g> {
    store: &'s Store,
    filter: &'s Filter,
    made: Rows,
    /// The objects of the last connection: both of its streams mostly come one after the other.
    last: Option<(ConnKey, Vec<ObjectRow>)>,
    /// The expression that contents are to have.
    search: Option<ContentSearch<'s>>,
    go_on: &'g mut (dyn FnMut() -> bool + 'g),
    /// It was told not to go on.
    stopped: bool,
}

impl Finder<'_, '_> {
    /// The wanted objects of a stream's connection, in one direction or both; those that were found until then when it is told
    /// not to go on.
    fn wanted(&mut self, stream: &StreamInfo, direction: Option<Direction>) -> Result<Vec<ObjectRow>, Error> {
        if self.last.as_ref().is_none_or(|(key, _)| *key != stream.key) {
            self.last = Some((stream.key, objects(self.store, stream, &mut self.made)?));
        }
        let rows = self.last.as_ref().map(|(_, rows)| rows.as_slice()).unwrap_or_default();
        let wants = &self.filter.objects;
        let candidates = rows.iter().filter(|row| direction.is_none_or(|d| d == row.direction) && wants.matches(row));
        let Some(search) = &mut self.search else { return Ok(candidates.cloned().collect()) };
        let mut wanted = Vec::new();
        // Taken apart once for all its objects, as there may be a hundred thousand of them.
        let mut opened: Option<Conversation> = None;
        for row in candidates {
            let conversation = match &mut opened {
                Some(conversation) => conversation,
                unopened => unopened.insert(conversation(self.store, stream.oid)?),
            };
            match decide(conversation, row, search, self.go_on)? {
                Decided::Found => wanted.push(row.clone()),
                Decided::Never => {}
                Decided::Stopped => {
                    self.stopped = true;
                    break;
                }
            }
        }
        Ok(wanted)
    }
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
            Piece::Hole(_) => search.hole(),
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

/// What is skipped of what is found, and how much of it there is room for.
struct Window {
    skip: u64,
    room: u64,
}

impl Window {
    fn of(filter: &Filter) -> Self {
        Self { skip: filter.offset, room: filter.limit.unwrap_or(u64::MAX) }
    }

    /// Whether the next that is found is within it.
    const fn takes_one(&mut self) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if self.room == 0 {
            return false;
        }
        self.room -= 1;
        true
    }

    const fn is_full(&self) -> bool {
        self.room == 0
    }
}

/// The connections that were looked at: both of their streams come along, in the same bucket mostly.
struct Seen {
    /// Those whose streams may be in different buckets.
    spread: HashSet<ConnKey>,
    /// Streams come bucket by bucket, so that no more than one bucket's need to be remembered.
    by_bucket: bool,
    bucket: BucketId,
    keys: HashSet<ConnKey>,
}

impl Seen {
    fn new(order: Order) -> Self {
        Self {
            spread: HashSet::new(),
            by_bucket: order == Order::Stored,
            bucket: BucketId::default(),
            keys: HashSet::new(),
        }
    }

    fn is_new(&mut self, stream: &StreamInfo) -> bool {
        if stream.goes_on || stream.key.bucket != stream.oid.bucket {
            return self.spread.insert(stream.key);
        }
        if stream.peer.is_none() {
            return true;
        }
        if self.by_bucket && self.bucket != stream.oid.bucket {
            self.bucket = stream.oid.bucket;
            self.keys.clear();
        }
        self.keys.insert(stream.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::tests::stream;

    #[test]
    fn a_window_skips_takes_and_is_full() {
        let mut window = Window::of(&Filter { offset: 2, limit: Some(2), ..Filter::default() });
        let taken: Vec<(bool, bool)> = (0..5).map(|_| (window.takes_one(), window.is_full())).collect();
        assert_eq!(taken, [(false, false), (false, false), (true, false), (true, true), (false, true)]);
    }

    #[test]
    fn a_connection_is_looked_at_once_in_either_order() {
        let peer = Some("9-8-7-0".parse().unwrap());
        let of = |bucket, number| {
            let oid = streamdb_types::Oid { bucket: BucketId(bucket), ..stream().oid };
            StreamInfo { oid, peer, key: ConnKey { bucket: BucketId(bucket), number }, ..stream() }
        };
        // Newest first, streams of several buckets lie between those of one connection.
        let mut seen = Seen::new(Order::NewestFirst);
        let new: Vec<bool> = [of(1, 3), of(2, 4), of(1, 3), of(2, 4)].iter().map(|info| seen.is_new(info)).collect();
        assert_eq!(new, [true, true, false, false]);
        let mut seen = Seen::new(Order::Stored);
        assert!(seen.is_new(&of(1, 3)) && !seen.is_new(&of(1, 3)) && seen.is_new(&of(2, 4)));
        assert_eq!(seen.keys.len(), 1, "only those of one bucket are remembered");
    }
}
