//! A stream's own bytes, or a range of them. Zeros stand for what is missing, so that every byte stays at its offset, and
//! the headers say where.

use std::io::Write;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use axum::http::header::{ACCEPT_RANGES, ETAG};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use streamdb_derive::{Error, Incomplete, Store, Stream, incomplete, raw};
use streamdb_extract::Piece;
use streamdb_query::reason_word;
use streamdb_types::{Oid, StreamOffset};

use super::range::{asked_part, gaps_in, say_part};
use crate::answer::{attach, failed, header_text, say, say_dropped, say_gaps, whole};
use crate::channel::{BodyWriter, Maker};

pub(super) fn send(store: &Arc<Store>, oid: Oid, asked: &HeaderMap, maker: Maker) {
    let stream = match store.stream(oid) {
        Ok(stream) => stream,
        Err(error) => return maker.whole(failed(&error.into())),
    };
    let length = stream.len().0;
    // The bytes of an oid never change, but that retention may take some; so it is their validator, with when that was. Its
    // message has no part in it.
    let dropped = stream.dropped().map_or_else(String::new, |time| format!("-{}", time.0));
    let tag = format!("\"{}-raw{dropped}\"", oid.with_index(0));
    let range = match asked_part(asked, &tag, length) {
        Ok(range) => range,
        Err(refusal) => return maker.whole(*refusal),
    };
    let incomplete = match incomplete(store, stream.info()) {
        Ok(incomplete) => incomplete,
        Err(error) => return maker.whole(failed(&error)),
    };
    let mut head = head(&stream, newer(store, &stream), range.as_ref(), incomplete);
    head.headers_mut().insert(ETAG, header_text(&tag));
    let Some(writer) = maker.begin(head) else { return };
    // A body that cannot be finished breaks off; the client sees that.
    let _ = body(&stream, range.unwrap_or(0..length), writer);
}

/// The oid that this stream has by now, if it was open and has gone on.
fn newer(store: &Store, stream: &Stream) -> Option<Oid> {
    let info = stream.info();
    if info.reason.is_some() {
        return None;
    }
    let newest = store.newest(info.key, info.direction).ok()??.info().oid;
    (newest != info.oid).then_some(newest)
}

fn head(stream: &Stream, newest: Option<Oid>, range: Option<&Range<u64>>, incomplete: Option<Incomplete>) -> Response {
    let mut head = describe(stream, range.cloned().unwrap_or(0..u64::MAX), incomplete);
    let headers = head.headers_mut();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(newest) = newest {
        say(headers, "x-streamdb-newest", &newest.to_string());
    }
    let status = say_part(headers, range, stream.len().0);
    *head.status_mut() = status;
    head
}

/// What the headers say of a stream; of its gaps they name those in this part of it.
pub(super) fn describe(stream: &Stream, part: Range<u64>, incomplete: Option<Incomplete>) -> Response {
    let octets = HeaderValue::from_static("application/octet-stream");
    let mut head = whole(StatusCode::OK, octets, "");
    let headers = head.headers_mut();
    let info = stream.info();
    attach(headers, info.oid, "raw");
    say(headers, "x-streamdb-oid", &info.oid.to_string());
    say(headers, "x-streamdb-complete", if incomplete.is_none() { "true" } else { "false" });
    say(headers, "x-streamdb-missing", &info.gap_bytes.to_string());
    if let Some(why) = incomplete {
        say(headers, "x-streamdb-incomplete", why.words());
    }
    say(headers, "x-streamdb-reason", reason_word(info.reason));
    say_dropped(headers, stream.dropped());
    say_gaps(headers, gaps_in(stream.gaps(), &part));
    head
}

fn body(stream: &Stream, range: Range<u64>, mut writer: BodyWriter) -> Result<(), Error> {
    let mut written = Ok(());
    raw(stream, StreamOffset(range.start)..StreamOffset(range.end), &mut |piece| {
        written = match piece {
            Piece::Bytes(bytes) => writer.write_all(bytes),
            Piece::Hole(gap) => writer.zeros(gap.length),
        };
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    written?;
    Ok(writer.finish()?)
}
