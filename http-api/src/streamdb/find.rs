//! Which streams a search finds, and which of their objects.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use streamdb_derive::{
    BodyLimits, Conversation, Decode, Error, Head, Piece, Rows, Store, StreamInfo, conversation, objects,
};
use streamdb_query::{BytesExpression, ContentSearch, Decided, Filter, page, rows};
use streamdb_types::{ConnKey, ObjectRow, Oid, Timestamp};

/// How long objects are looked through for one answer.
const LOOKING: Duration = Duration::from_secs(30);

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    /// Streams, shown or not.
    pub count: u64,
    /// When the first and the last of them began.
    pub times: Option<(Timestamp, Timestamp)>,
    /// Those that are shown.
    pub streams: Vec<StreamInfo>,
    /// Their objects that are wanted; `None`: all.
    pub wanted: Option<HashSet<Oid>>,
    /// What could not be read, and what was not looked at: one sentence each.
    pub remarks: Vec<String>,
}

/// Finds; when there is nothing, once more with the two ends exchanged, as logs disagree on who is the source.
pub(super) fn find(store: &Store, filter: &Filter) -> Result<Found, Error> {
    let mut found = find_once(store, filter)?;
    if found.count == 0
        && let Some(swapped) = filter.swapped()
    {
        let remarks = std::mem::take(&mut found.remarks);
        found = find_once(store, &swapped)?;
        if found.remarks.is_empty() {
            found.remarks = remarks;
        }
    }
    Ok(found)
}

fn find_once(store: &Store, filter: &Filter) -> Result<Found, Error> {
    if !filter.objects.is_empty() {
        return Looking::new(store, filter).look();
    }
    let page = page(store, filter, filter.limit.unwrap_or(u64::MAX))?;
    Ok(Found {
        count: page.found,
        times: page.times,
        streams: page.streams,
        wanted: None,
        remarks: page.damaged.iter().map(ToString::to_string).collect(),
    })
}

/// Going through the objects of every stream that the other terms select.
struct Looking<'s> {
    store: &'s Store,
    filter: &'s Filter,
    begun: Instant,
    made: Rows,
    /// The objects of the last connection: both of its streams mostly come one after the other.
    last: Option<(ConnKey, Vec<ObjectRow>)>,
    looked: u64,
    /// The expression that contents are to have.
    search: Option<ContentSearch<'s>>,
    /// Time was up within a connection.
    late: bool,
    found: Found,
    wanted: HashSet<Oid>,
}

impl<'s> Looking<'s> {
    fn new(store: &'s Store, filter: &'s Filter) -> Self {
        Self {
            store,
            filter,
            begun: Instant::now(),
            made: Rows::in_a_hurry(),
            last: None,
            looked: 0,
            search: filter.objects.pcre.as_ref().map(BytesExpression::search),
            late: false,
            found: Found::default(),
            wanted: HashSet::new(),
        }
    }

    fn look(mut self) -> Result<Found, Error> {
        let streams = Filter { offset: 0, limit: None, ..self.filter.clone() };
        let mut damaged = Vec::new();
        let mut stopped = false;
        rows(
            self.store,
            &streams,
            &mut |stream| {
                stopped = self.late || self.begun.elapsed() > LOOKING;
                if stopped {
                    return ControlFlow::Break(());
                }
                if let Err(error) = self.stream(stream) {
                    self.found.remarks.push(error.to_string());
                }
                ControlFlow::Continue(())
            },
            &mut |error| damaged.push(error.to_string()),
        )?;
        self.found.remarks.append(&mut damaged);
        if stopped || self.late {
            self.found.remarks.push(format!(
                "only the first {} streams were looked at, in {} seconds; narrow the search by address or time",
                self.looked,
                LOOKING.as_secs()
            ));
        }
        self.found.wanted = Some(self.wanted);
        Ok(self.found)
    }

    fn stream(&mut self, stream: &StreamInfo) -> Result<(), Error> {
        self.looked += 1;
        if self.last.as_ref().is_none_or(|(key, _)| *key != stream.key) {
            self.last = Some((stream.key, objects(self.store, stream, &mut self.made)?));
        }
        let rows = self.last.as_ref().map(|(_, rows)| rows.as_slice()).unwrap_or_default();
        let wants = &self.filter.objects;
        let candidates = rows.iter().filter(|row| row.direction == stream.direction && wants.matches(row));
        let mut matching: Vec<Oid> = Vec::new();
        // Taken apart once for all its objects, as there may be a hundred thousand of them.
        let mut opened: Option<Conversation> = None;
        for row in candidates {
            let says = match &mut self.search {
                None => true,
                Some(search) => {
                    let conversation = match &mut opened {
                        Some(conversation) => conversation,
                        unopened => unopened.insert(conversation(self.store, stream.oid)?),
                    };
                    let begun = self.begun;
                    match decide(conversation, row, search, &mut || begun.elapsed() <= LOOKING)? {
                        Decided::Found => true,
                        Decided::Never => false,
                        Decided::Stopped => {
                            self.late = true;
                            break;
                        }
                    }
                }
            };
            if says {
                matching.push(row.oid);
            }
        }
        if matching.is_empty() {
            return Ok(());
        }
        let found = &mut self.found;
        found.count += 1;
        let (first, last) = found.times.unwrap_or((stream.first, stream.first));
        found.times = Some((first.min(stream.first), last.max(stream.first)));
        let room = self.filter.limit.is_none_or(|limit| (found.streams.len() as u64) < limit);
        if found.count > self.filter.offset && room {
            found.streams.push(stream.clone());
            self.wanted.extend(matching);
        }
        Ok(())
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
