//! Runs a search and takes apart what it finds.

use std::ops::ControlFlow;

use streamdb_derive::{Conversation, Error, Store, StreamInfo, conversation, raw};
use streamdb_extract::{BodyLimits, Decode, Kind, Message, Piece};
use streamdb_query::{Filter, Order, Page, page};
use streamdb_sniff::{HEAD_BYTES, sniff};
use streamdb_types::{Direction, Marks, Reason, StreamOffset, Timestamp};

use super::entry::{Connection, Entry, Listing};
use super::params::Search;
use super::printable;

/// Most bytes of an object that a listing shows.
const SHOWN: usize = 1 << 20;
/// Most bytes of an answer; what comes after is counted, not shown.
const ANSWER: usize = 64 << 20;
/// Most bytes of a host and target in a meta line.
const META: usize = 4096;
/// Most sentences about what could not be read.
const REMARKS: usize = 20;

/// Searches; when nothing is found, once more with the two ends exchanged, as logs disagree on who is the source.
pub(super) fn search(store: &Store, search: &Search) -> Result<Listing, Error> {
    let filter = &search.filter;
    let most = filter.limit.unwrap_or(u64::MAX);
    let mut found = page(store, filter, most)?;
    if found.found == 0
        && let Some(swapped) = filter.swapped()
    {
        let damaged = std::mem::take(&mut found.damaged);
        found = page(store, &swapped, most)?;
        if found.damaged.is_empty() {
            found.damaged = damaged;
        }
    }
    let mut room = ANSWER;
    let mut left_out = 0u64;
    let mut remarks: Vec<String> = found.damaged.iter().take(REMARKS).map(ToString::to_string).collect();
    if found.damaged.len() > REMARKS {
        remarks.push(format!("and {} more could not be read", found.damaged.len() - REMARKS));
    }
    let times = times(filter, &found);
    let mut connections = Vec::new();
    for group in grouped(found.streams, filter.order) {
        if room == 0 {
            left_out += group.len() as u64;
            continue;
        }
        connections.extend(taken_apart(store, group, search.raw, &mut room));
    }
    if room == 0 {
        remarks.push(format!(
            "this answer ends at {} MiB: {left_out} more streams, and perhaps objects of the last connection, are not \
             shown; narrow the search, or use offset and limit",
            ANSWER >> 20
        ));
    }
    Ok(Listing { found: found.found, offset: filter.offset, times, connections, remarks })
}

/// What the first line says: the streams' own times, or, when nothing is found, those that were asked for.
fn times(filter: &Filter, found: &Page) -> (Timestamp, Timestamp) {
    let first = filter.start.unwrap_or_default();
    found.times.unwrap_or((first, filter.end.unwrap_or(first).max(first)))
}

/// The streams of each connection together; in time, unless asked for otherwise.
fn grouped(streams: Vec<StreamInfo>, order: Order) -> Vec<Vec<StreamInfo>> {
    let mut places = std::collections::HashMap::new();
    let mut groups: Vec<Vec<StreamInfo>> = Vec::new();
    for stream in streams {
        let place = *places.entry(stream.key).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.push(stream),
            None => groups.push(vec![stream]),
        }
    }
    if order == Order::Stored {
        groups.sort_by_key(|group| {
            let begun = group.iter().map(|stream| stream.first).min();
            (begun, group.first().map(|stream| (stream.tuple.client, stream.tuple.server)))
        });
    }
    groups
}

/// A connection of which these streams were found.
fn taken_apart(store: &Store, mut group: Vec<StreamInfo>, as_is: bool, room: &mut usize) -> Option<Connection> {
    group.sort_by_key(|stream| stream.direction);
    let shown = group.last()?.clone();
    let first = group.iter().map(|stream| stream.first).min()?;
    let last = group.iter().map(|stream| stream.last).max()?;
    let mut connection = Connection { shown, times: (first, last), objects: Vec::new(), trouble: None };
    let result = if as_is {
        group.iter().try_for_each(|stream| whole_stream(store, stream, &mut connection.objects, room))
    } else {
        messages(store, &group, &mut connection, room)
    };
    connection.trouble = result.err().map(|error| error.to_string());
    Some(connection)
}

/// The messages of the streams that were found, each request followed by its answers.
fn messages(store: &Store, group: &[StreamInfo], connection: &mut Connection, room: &mut usize) -> Result<(), Error> {
    let mut conversation = conversation(store, connection.shown.oid)?;
    let wanted = |direction: Direction| group.iter().find(|stream| stream.direction == direction);
    let messages: Vec<Message> =
        conversation.messages().in_order().filter(|message| wanted(message.direction).is_some()).cloned().collect();
    for message in messages {
        if *room == 0 {
            break;
        }
        let Some(stream) = wanted(message.direction) else { continue };
        let entry = entry(&mut conversation, &message, stream)?;
        *room = room.saturating_sub(entry.content.len() + entry.meta.len());
        connection.objects.push(entry);
    }
    Ok(())
}

fn entry(conversation: &mut Conversation, message: &Message, stream: &StreamInfo) -> Result<Entry, Error> {
    let mut content = String::new();
    if let Some(head) = conversation.head(message)? {
        push_head(&mut content, message, head.first_line(), head.fields());
    }
    let mut shown = Shown::default();
    let outcome =
        conversation.body(message, Decode::Decoded, &BodyLimits::default(), &mut |piece| shown.take(piece))?;
    let complete = if shown.cut { message.is_complete() } else { outcome.complete };
    let meta = meta(message, &outcome.what.description, complete);
    let oid = conversation.oid(message).unwrap_or(stream.oid);
    if !content.is_empty() && !shown.text.is_empty() {
        content.push('\n');
    }
    content.push_str(&shown.text);
    shown.say_cut(&mut content, &format!("/streamdb/?oid={oid} has all of it"));
    if let Some(problem) = outcome.problem.as_ref().filter(|_| !shown.cut) {
        // It may name a coding as captured.
        content.push_str(&format!("\n[{}]\n", printable::line(problem.to_string().as_bytes(), META)));
    }
    Ok(Entry { oid, stream: stream.clone(), meta, content, complete, missing: outcome.missing })
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

/// The line over an object.
fn meta(message: &Message, description: &str, complete: bool) -> String {
    let incomplete = if complete { "" } else { " (INCOMPLETE)" };
    match &message.kind {
        Kind::Request { method, target, .. } => {
            let host = message.host.as_deref().filter(|_| target.starts_with(b"/")).unwrap_or_default();
            let line = [method.as_ref(), b" ", host, target.as_ref()].concat();
            format!("{}{incomplete}", printable::line(&line, META))
        }
        Kind::Response { status, .. } => {
            format!("{status} {}{incomplete}", printable::line(description.as_bytes(), META))
        }
        Kind::Stream => {
            let incomplete = if message.missing > 0 { " (INCOMPLETE)" } else { "" };
            format!("{}{incomplete}", printable::line(description.as_bytes(), META))
        }
    }
}

/// A stream's own bytes as one object.
fn whole_stream(store: &Store, info: &StreamInfo, objects: &mut Vec<Entry>, room: &mut usize) -> Result<(), Error> {
    if *room == 0 || info.length.0 == 0 {
        return Ok(());
    }
    let stream = store.stream(info.oid)?;
    let mut shown = Shown::default();
    let mut head = Vec::new();
    raw(&stream, StreamOffset(0)..stream.len(), &mut |piece| {
        if let Piece::Bytes(bytes) = piece {
            head.extend(bytes.iter().take(HEAD_BYTES - head.len().min(HEAD_BYTES)));
        }
        shown.take(piece)
    })?;
    let missing = stream.info().gap_bytes;
    let complete = missing == 0 && info.reason == Some(Reason::Fin) && !info.marks.contains(Marks::MIDSTREAM);
    let mut content = std::mem::take(&mut shown.text);
    shown.say_cut(&mut content, &format!("/streamdb/?oid={}&raw=1 has all of it", info.oid));
    let incomplete = if missing > 0 { " (INCOMPLETE)" } else { "" };
    let meta = format!("{}{incomplete}", printable::line(sniff(&head).description.as_bytes(), META));
    *room = room.saturating_sub(content.len() + meta.len());
    objects.push(Entry { oid: info.oid, stream: info.clone(), meta, content, complete, missing });
    Ok(())
}

/// What is shown of a body.
#[derive(Default)]
struct Shown {
    text: String,
    bytes: usize,
    /// Whether there was more than is shown.
    cut: bool,
}

impl Shown {
    fn take(&mut self, piece: Piece<'_>) -> ControlFlow<()> {
        match piece {
            Piece::Hole(gap) => {
                self.text.push_str(&format!("\n[{} bytes missing: {}]\n", gap.length, gap.kind.word()));
            }
            Piece::Bytes(bytes) => {
                let room = SHOWN - self.bytes.min(SHOWN);
                let shown = bytes.get(..room).unwrap_or(bytes);
                printable::push(&mut self.text, shown);
                self.bytes += shown.len();
                self.cut = shown.len() < bytes.len();
            }
        }
        // A stream of holes alone has an end too.
        if self.cut || self.text.len() > 2 * SHOWN {
            self.cut = true;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn say_cut(&self, out: &mut String, rest: &str) {
        if self.cut {
            out.push_str(&format!("\n[cut after {} bytes; {rest}]\n", self.bytes));
        }
    }
}
