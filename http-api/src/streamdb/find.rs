//! Which streams a search finds, and which of their objects.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use streamdb_derive::{
    BodyLimits, Conversation, Decode, Error, Head, INSIDE, Piece, Rows, Store, StreamInfo, conversation, object,
    objects,
};
use streamdb_query::{BytesExpression, Filter, page, rows};
use streamdb_types::{ConnKey, ObjectRow, Oid, Timestamp};

/// How long objects are looked through for one answer.
const LOOKING: Duration = Duration::from_secs(30);
/// Most bytes of one object that an expression is looked for in.
const SEARCHED: usize = 16 << 20;

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
    /// Time was up within a connection.
    late: bool,
    cut: u64,
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
            late: false,
            cut: 0,
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
        if self.cut > 0 {
            self.found.remarks.push(format!(
                "of {} objects only the first {} MiB were searched for the expression",
                self.cut,
                SEARCHED >> 20
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
            let says = match &wants.pcre {
                None => true,
                Some(_) if self.begun.elapsed() > LOOKING => {
                    self.late = true;
                    break;
                }
                Some(expression) => {
                    let conversation = match &mut opened {
                        Some(conversation) => conversation,
                        unopened => unopened.insert(conversation(self.store, stream.oid)?),
                    };
                    let (says, whole) = contains(self.store, conversation, row, expression)?;
                    self.cut += u64::from(!whole && !says);
                    says
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

/// Whether an object's head and content have what an expression says, and whether all of them was looked at.
fn contains(
    store: &Store,
    conversation: &mut Conversation,
    row: &ObjectRow,
    expression: &BytesExpression,
) -> Result<(bool, bool), Error> {
    let mut bytes = Vec::new();
    let mut whole = true;
    let limits = BodyLimits::default();
    let take = &mut |bytes: &mut Vec<u8>, piece: Piece<'_>| {
        if let Piece::Bytes(piece) = piece {
            let room = SEARCHED.saturating_sub(bytes.len());
            whole = piece.len() <= room;
            bytes.extend_from_slice(piece.get(..room).unwrap_or(piece));
        }
        if whole { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let place = usize::try_from(row.oid.index).ok().filter(|_| row.oid.index < INSIDE);
    let message = place.and_then(|at| conversation.messages().of(row.direction).get(at)).cloned();
    match message {
        Some(message) => {
            push_head(&mut bytes, conversation.head(&message)?);
            conversation.body(&message, Decode::Decoded, &limits, &mut |piece| take(&mut bytes, piece))?;
        }
        None => {
            let mut object = object(store, row.oid)?;
            push_head(&mut bytes, object.head()?);
            object.body(Decode::Decoded, &limits, &mut |piece| take(&mut bytes, piece))?;
        }
    }
    Ok((expression.is_in(&bytes), whole))
}

fn push_head(bytes: &mut Vec<u8>, head: Option<Head>) {
    let Some(head) = head else { return };
    bytes.extend_from_slice(head.first_line());
    for (name, value) in head.fields() {
        bytes.extend([b"\r\n", name, b": ", value].concat());
    }
    bytes.extend_from_slice(b"\r\n\r\n");
}
