//! HTTP/1 messages within a stream that is one message itself: as parts.

use std::ops::Range;

use streamdb_types::Direction;

use crate::disposition::disposition;
use crate::http1::{Chunks, Step};
use crate::limits::Limits;
use crate::message::{Framing, Incomplete, Kind, Message, Messages};
use crate::part::{Entity, Part, PartKind};
use crate::source::Source;
use crate::window::Window;

/// The word for it.
const PROTOCOL: &str = "http";
/// What is read at a time.
const READ: usize = 1 << 10;

/// The requests and responses of one direction, by their places in `source`, which is that direction's stream.
pub(super) fn parts(messages: &Messages, direction: Direction, source: &dyn Source, limits: &Limits) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut kept = 0usize;
    for message in messages.of(direction) {
        let peer = message.peer.and_then(|peer| messages.of(direction.flip()).get(usize::try_from(peer.0).ok()?));
        let Some(mut part) = head(message, peer) else { continue };
        let room = limits.kept.saturating_sub(kept) / size_of::<Range<u64>>();
        if !content(message, source, room, &mut part.content) {
            part.incomplete.get_or_insert(Incomplete::Limit);
        }
        part.number = u32::try_from(parts.len()).unwrap_or(u32::MAX).saturating_add(1);
        let texts = [&part.method, &part.target, &part.declared_type].into_iter().flatten().map(|text| text.len());
        let entity = part.entity.as_ref().map_or(0, |entity| entity.kept());
        kept = kept
            .saturating_add(entity)
            .saturating_add(size_of::<Part>() + texts.sum::<usize>() + part.content.len() * size_of::<Range<u64>>());
        parts.push(part);
        if kept > limits.kept {
            if let Some(last) = parts.last_mut() {
                last.incomplete.get_or_insert(Incomplete::Limit);
            }
            break;
        }
    }
    parts
}

/// What a message's head says; `None` for one of kind stream.
fn head(message: &Message, peer: Option<&Message>) -> Option<Part> {
    let asked = match (&message.kind, peer.map(|peer| &peer.kind)) {
        (Kind::Stream, _) => return None,
        (Kind::Request { method, target, .. }, _) => Some((method, target)),
        // Any number of interim answers may come to one request.
        (Kind::Response { status: 100..=199, .. }, _) => None,
        (Kind::Response { .. }, Some(Kind::Request { method, target, .. })) => Some((method, target)),
        (Kind::Response { .. }, _) => None,
    };
    let (kind, status) = match message.kind {
        Kind::Response { status, .. } => (PartKind::Response, Some(status)),
        _ => (PartKind::Request, None),
    };
    let mut part = Part::new(0, PROTOCOL, kind, Vec::new());
    part.method = asked.map(|(method, _)| method.clone());
    part.target = asked.map(|(_, target)| target.clone());
    part.host.clone_from(&message.host);
    part.status = status;
    part.declared_type = message.content_type().map(Into::into);
    part.filename = message.fields.get("content-disposition").and_then(disposition);
    part.begins = message.head.start.0;
    part.content_codings = message.content_codings.iter().chain(&message.transfer_codings).cloned().collect();
    let field = |name: &str| message.fields.get(name).map(Into::into);
    // Of an answer whose request is a guess nobody knows what it is a range of.
    let guess = Message::is_guess;
    let known = kind == PartKind::Response && !guess(message) && !peer.is_some_and(guess);
    part.entity = known.then(|| {
        Box::new(Entity {
            scheme: None,
            content_range: message.fields.combined("content-range"),
            length: match message.framing {
                Framing::Length(length) => Some(length),
                _ => None,
            },
            etag: message.fields.combined("etag"),
            last_modified: field("last-modified"),
            date: field("date"),
        })
    });
    part.incomplete = message.incomplete;
    part.missing = message.missing;
    Some(part)
}

/// Where the body lies, its framing left out; false when that takes more ranges than may be kept.
fn content(message: &Message, source: &dyn Source, most: usize, ranges: &mut Vec<Range<u64>>) -> bool {
    if message.framing != Framing::Chunked {
        ranges.extend(Some(message.body.start.0..message.body.end.0).filter(|range| !range.is_empty()));
        return true;
    }
    let mut window = Window::new(source, READ);
    let mut chunks = Chunks::new(message.body.start);
    while let Step::Data(data) = chunks.next(&mut window, message.span.end) {
        if ranges.len() >= most {
            return false;
        }
        ranges.push(data.start.0..data.end.0);
    }
    true
}
