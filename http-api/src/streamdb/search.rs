//! Runs a search and takes apart what it finds.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use streamdb_derive::{
    BodyLimits, Conversation, Decode, Error, Extent, Joined, Kind, Message, Piece, Rows, Store, StreamInfo,
    conversation, incomplete, now, objects, raw,
};
use streamdb_query::{Filter, JoinLine, Order, is_join_shown};
use streamdb_sniff::{Content, HEAD_BYTES, sniff_stream};
use streamdb_types::{Marks, ObjectKind, ObjectRow, Oid, StreamOffset, Timestamp};

use super::entry::{Bare, Connection, Entry, Listing};
use super::find::{Found, find};
use super::hex::Dump;
use super::params::{Search, Shape};
use super::printable;

/// Most bytes of an object that a listing shows.
const SHOWN: usize = 1 << 20;
/// Most bytes of an answer; what comes after is counted, not shown.
const ANSWER: usize = 64 << 20;
/// What an object takes of that besides its texts: memory, and markup around it.
const ENTRY: usize = 1 << 10;
/// Most contents that an object is said to be a part of.
const JOINS: usize = 4;
/// Most sentences about what could not be read.
const REMARKS: usize = 20;

/// Searches, and shows what is found; of each object at most `shown` bytes, when that is less than usual.
pub(super) fn search(
    store: &Store,
    search: &Search,
    shown: Option<usize>,
    go_on: &(dyn Fn() -> bool + Sync),
) -> Result<Listing, Error> {
    let filter = &search.filter;
    let Found { tally, streams, wanted, mut remarks } = find(store, filter, go_on)?;
    if remarks.len() > REMARKS {
        let more = remarks.len() - REMARKS;
        remarks.truncate(REMARKS);
        remarks.push(format!("and {more} more could not be read"));
    }
    let mut shower = Shower {
        store,
        rows: Rows::in_a_hurry(),
        wanted,
        raw: search.raw,
        hex: search.shape == Some(Shape::Hex),
        most: shown.map_or(SHOWN, |shown| shown.min(SHOWN)),
        room: ANSWER,
    };
    let mut connections = Vec::new();
    let mut left_out = 0u64;
    for group in grouped(streams, filter.order) {
        if shower.room == 0 {
            left_out += group.len() as u64;
            continue;
        }
        connections.extend(shower.connection(group));
    }
    if shower.room == 0 {
        remarks.push(format!(
            "this answer ends at {} MiB: {left_out} more streams, and perhaps objects of the last connection, are not \
             shown; narrow the search, or use offset and limit",
            ANSWER >> 20
        ));
    }
    let times = tally.times.unwrap_or_else(|| looked_at(store, filter));
    Ok(Listing { found: tally.found, offset: filter.offset, times, connections, remarks })
}

/// What the first line says when nothing is found: the time that was asked for. Where the search leaves that open, it is from
/// the first frame stored until now.
fn looked_at(store: &Store, filter: &Filter) -> (Timestamp, Timestamp) {
    let end = filter.end.unwrap_or_else(now);
    let stored = || {
        let buckets = store.buckets().unwrap_or_default();
        buckets.iter().flatten().filter_map(|bucket| bucket.times).map(|(first, _)| first).min()
    };
    match filter.start {
        Some(start) => (start, end.max(start)),
        None => (stored().unwrap_or(end).min(end), end),
    }
}

/// The streams of each connection together; in time, unless asked for otherwise.
fn grouped(streams: Vec<StreamInfo>, order: Order) -> Vec<Vec<StreamInfo>> {
    let mut places = HashMap::new();
    let mut groups: Vec<Vec<StreamInfo>> = Vec::new();
    for stream in streams {
        let place = *places.entry(stream.key).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.push(stream),
            None => groups.push(vec![stream]),
        }
    }
    if order == Order::OldestFirst {
        groups.sort_by_key(|group| {
            let begun = group.iter().map(|stream| stream.first).min();
            (begun, group.first().map(|stream| (stream.tuple.client, stream.tuple.server)))
        });
    }
    groups
}

/// Takes connections apart, as long as the answer has room.
struct Shower<'s> {
    store: &'s Store,
    rows: Rows,
    wanted: Option<HashSet<Oid>>,
    /// Streams as they are.
    raw: bool,
    /// Contents as hex dumps.
    hex: bool,
    /// Most bytes of an object.
    most: usize,
    room: usize,
}

impl Shower<'_> {
    /// A connection of which these streams were found.
    fn connection(&mut self, mut group: Vec<StreamInfo>) -> Option<Connection> {
        group.sort_by_key(|stream| stream.direction);
        let shown = group.last()?.clone();
        let first = group.iter().map(|stream| stream.first).min()?;
        let last = group.iter().map(|stream| stream.last).max()?;
        // Of both directions: the time of either lies in that of the connection.
        let loss = self.store.loss_around(&StreamInfo { first, last, ..shown.clone() }).ok().flatten();
        let mut connection =
            Connection { shown, times: (first, last), objects: Vec::new(), bare: Vec::new(), trouble: None, loss };
        let result = if self.raw {
            group.iter().try_for_each(|stream| self.whole_stream(stream, &mut connection.objects))
        } else {
            self.messages(&group, &mut connection)
        };
        connection.trouble = result.err().map(|error| error.to_string());
        // When the answer is full, what is not shown is not missing.
        if self.room > 0 {
            let read = connection.trouble.is_none();
            let has_none =
                |stream: &StreamInfo| !connection.objects.iter().any(|e| e.row.direction == stream.direction);
            connection.bare = group.into_iter().filter(has_none).map(|stream| self.bare(stream, read)).collect();
        }
        Some(connection)
    }

    /// A stream without an object; `read`: not because it could not be read. Of one that could not, nobody knows that it is
    /// whole.
    fn bare(&self, stream: StreamInfo, read: bool) -> Bare {
        let complete = read && incomplete(self.store, &stream).is_ok_and(|why| why.is_none());
        Bare { stream, complete }
    }

    /// The wanted objects of the streams that were found, each request followed by its answers.
    fn messages(&mut self, group: &[StreamInfo], connection: &mut Connection) -> Result<(), Error> {
        let rows = objects(self.store, &connection.shown, &mut self.rows)?;
        let mut conversation = conversation(self.store, connection.shown.oid)?;
        for row in rows {
            if self.room == 0 {
                break;
            }
            let Some(stream) = group.iter().find(|stream| stream.direction == row.direction) else { continue };
            if self.wanted.as_ref().is_some_and(|wanted| !wanted.contains(&row.oid)) {
                continue;
            }
            let entry = self.entry(&mut conversation, row, stream)?;
            self.push(&mut connection.objects, entry);
        }
        Ok(())
    }

    fn push(&mut self, entries: &mut Vec<Entry>, entry: Entry) {
        let row = &entry.row;
        let texts = [&row.method, &row.host, &row.uri, &row.declared_type].into_iter().flatten().map(String::len);
        let size = ENTRY + texts.sum::<usize>() + row.description.len() + entry.content.len() + entry.head.len();
        self.room = self.room.saturating_sub(size);
        entries.push(entry);
    }

    fn entry(&self, conversation: &mut Conversation, row: ObjectRow, stream: &StreamInfo) -> Result<Entry, Error> {
        let mut head = String::new();
        let mut shown = Shown::new(self.most, self.hex);
        let named = conversation.named(row.direction, row.oid)?;
        let message = named.message();
        if let Some(found) = conversation.head(message)?.filter(|_| !named.is_inside()) {
            push_head(&mut head, message, found.first_line(), found.fields());
        }
        let outcome =
            conversation.body_of(&named, Decode::Decoded, &BodyLimits::default(), &mut |piece| shown.take(piece))?;
        let (content, cut) = shown.finish();
        let mut notes = Vec::new();
        if cut {
            notes.push(format!("cut after {} bytes; /streamdb/?oid={} has all of it", self.most, row.oid));
        }
        if let Some(problem) = outcome.problem.as_ref().filter(|_| !cut) {
            // It may name a coding as captured.
            notes.push(printable::line(problem.to_string().as_bytes(), printable::LINE));
        }
        let dropped = conversation.dropped(row.direction);
        notes.extend(dropped.map(was_dropped));
        notes.extend(self.joins(&row)?);
        let extent = if row.complete { Extent::default() } else { conversation.extent(&named) };
        let verdicts = row.digests.map(|digests| self.store.verdicts().of(&digests.sha256)).unwrap_or_default();
        let verdicts = verdicts.iter().map(ToString::to_string).collect();
        Ok(Entry { row, stream: stream.clone(), head, content, extent, verdicts, notes, dropped })
    }

    /// What an object is a part of, a sentence each.
    fn joins(&self, row: &ObjectRow) -> Result<Vec<String>, Error> {
        let joins = self.store.joins()?;
        let of = joins.with_part(row.key, row.direction, row.oid).filter(|join| is_join_shown(join));
        let sentence = |join| {
            let says = JoinLine::of(&Joined::new(self.store, join)?).sentence();
            Ok(printable::line(says.as_bytes(), printable::LINE))
        };
        of.take(JOINS).map(sentence).collect()
    }

    /// A stream's own bytes as one object.
    fn whole_stream(&mut self, info: &StreamInfo, entries: &mut Vec<Entry>) -> Result<(), Error> {
        if self.room == 0 || info.length.0 == 0 {
            return Ok(());
        }
        let stream = self.store.stream(info.oid)?;
        let mut shown = Shown::new(self.most, self.hex);
        let mut begin = Vec::new();
        raw(&stream, StreamOffset(0)..stream.len(), &mut |piece| {
            if let Piece::Bytes(bytes) = piece {
                begin.extend(bytes.iter().take(HEAD_BYTES - begin.len().min(HEAD_BYTES)));
            }
            shown.take(piece)
        })?;
        let what = sniff_stream(Content::of_length(&begin, info.length.0));
        let missing = stream.info().gap_bytes;
        let incomplete = incomplete(self.store, info)?;
        let (content, cut) = shown.finish();
        let mut notes = Vec::new();
        if cut {
            notes.push(format!("cut after {} bytes; /streamdb/?oid={}&raw=1 has all of it", self.most, info.oid));
        }
        let dropped = stream.dropped();
        notes.extend(dropped.map(was_dropped));
        let row = ObjectRow {
            oid: info.oid,
            key: info.key,
            direction: info.direction,
            begins: StreamOffset(0),
            tuple: info.tuple,
            start: info.first,
            kind: ObjectKind::Stream,
            protocol: String::new(),
            method: None,
            host: None,
            uri: None,
            status: None,
            declared_type: None,
            mime: what.mime.to_owned(),
            legacy: what.legacy().to_owned(),
            description: what.description.into_owned(),
            facts: String::new(),
            xor_key: None,
            filename: None,
            size: info.length.0,
            encoded_size: info.length.0,
            complete: incomplete.is_none(),
            missing_bytes: missing,
            reason: incomplete.map(|why| why.words().to_owned()),
            conflict: info.marks.contains(Marks::CONFLICT),
            digests: None,
            digests_encoded: None,
        };
        let holes = stream.gaps().iter().map(|gap| gap.offset.0..gap.end().0).collect();
        let extent = Extent { length: info.length.0, holes };
        let (head, verdicts) = (String::new(), Vec::new());
        self.push(entries, Entry { row, stream: info.clone(), head, content, extent, verdicts, notes, dropped });
        Ok(())
    }
}

fn was_dropped(time: Timestamp) -> String {
    format!("retention dropped a bucket with part of this stream at {time}; the rest is here")
}

/// The head as the ancestor wrote it: no version in the first line, but in a field of its own.
fn push_head<'h>(
    out: &mut String,
    message: &Message,
    first_line: &[u8],
    fields: impl Iterator<Item = (&'h [u8], &'h [u8])>,
) {
    let version = match &message.kind {
        Kind::Request { method, target, version } => {
            printable::push(out, &[method.as_ref(), b" ", target.as_ref()].concat());
            version
        }
        Kind::Response { version, .. } => {
            let mut parts = first_line.splitn(2, |byte| *byte == b' ');
            printable::push(out, parts.nth(1).unwrap_or_default().trim_ascii_start());
            version
        }
        Kind::Stream => return,
    };
    for (name, value) in fields {
        out.push('\n');
        printable::push(out, &[name, b": ", value].concat());
    }
    out.push_str(&format!("\nX-HTTP-Version: {}.{}\n", version.major, version.minor));
}

/// What is shown of a body.
struct Shown {
    text: String,
    dump: Option<Dump>,
    bytes: usize,
    most: usize,
    /// Whether there was more than is shown.
    cut: bool,
}

impl Shown {
    fn new(most: usize, hex: bool) -> Self {
        // A line of a dump takes about five times the bytes that it shows.
        let most = if hex { most / 4 } else { most };
        Self { text: String::new(), dump: hex.then(Dump::default), bytes: 0, most, cut: false }
    }

    fn take(&mut self, piece: Piece<'_>) -> ControlFlow<()> {
        match piece {
            Piece::Hole(gap) => match &mut self.dump {
                Some(dump) => dump.hole(gap.length, gap.kind.word(), &mut self.text),
                None => self.text.push_str(&format!("\n[{} bytes missing: {}]\n", gap.length, gap.kind.word())),
            },
            Piece::Bytes(bytes) => {
                let room = self.most - self.bytes.min(self.most);
                let shown = bytes.get(..room).unwrap_or(bytes);
                match &mut self.dump {
                    Some(dump) => dump.bytes(shown, &mut self.text),
                    None => printable::push(&mut self.text, shown),
                }
                self.bytes += shown.len();
                self.cut = shown.len() < bytes.len();
            }
        }
        // A stream of holes alone has an end too.
        if self.cut || self.text.len() > 8 * SHOWN {
            self.cut = true;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// The text, and whether there was more.
    fn finish(mut self) -> (String, bool) {
        if let Some(dump) = &mut self.dump {
            dump.end_line(&mut self.text);
        }
        (self.text, self.cut)
    }
}
