//! A stream's own bytes, or a range of them. Zeros stand for what is missing, so that every byte stays at its offset, and
//! the headers say where.

use std::io::Write;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use axum::http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, RANGE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use streamdb_derive::{Error, Incomplete, Store, Stream, incomplete, raw};
use streamdb_extract::Piece;
use streamdb_query::reason_word;
use streamdb_types::{Oid, StreamOffset};

use super::range::{Part, part};
use crate::answer::{attach, failed, header_text, refuse, say, say_gaps, whole};
use crate::channel::{BodyWriter, Maker};

pub(super) fn send(store: &Arc<Store>, oid: Oid, asked: &HeaderMap, maker: Maker) {
    let stream = match store.stream(oid) {
        Ok(stream) => stream,
        Err(error) => return maker.whole(failed(&error.into())),
    };
    let length = stream.len().0;
    // The bytes of an oid never change, so the oid is their validator. Its message has no part in it.
    let tag = format!("\"{}-raw\"", oid.with_index(0));
    let text = |name| asked.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let range_counts = !asked.contains_key(IF_RANGE) || text(IF_RANGE) == Some(&tag);
    let range = match part(text(RANGE).filter(|_| range_counts), length) {
        Part::None => {
            let mut refusal = refuse(StatusCode::RANGE_NOT_SATISFIABLE, "The stream has no bytes in this range.");
            refusal.headers_mut().insert(CONTENT_RANGE, header_text(&format!("bytes */{length}")));
            return maker.whole(refusal);
        }
        Part::Some(range) => Some(range),
        Part::Whole => None,
    };
    let incomplete = match incomplete(store, stream.info()) {
        Ok(incomplete) => incomplete,
        Err(error) => return maker.whole(failed(&error)),
    };
    let mut head = head(&stream, oid, range.as_ref(), incomplete);
    head.headers_mut().insert(ETAG, header_text(&tag));
    let Some(writer) = maker.begin(head) else { return };
    // A body that cannot be finished breaks off; the client sees that.
    let _ = body(&stream, range.unwrap_or(0..length), writer);
}

fn head(stream: &Stream, oid: Oid, range: Option<&Range<u64>>, incomplete: Option<Incomplete>) -> Response {
    let length = stream.len().0;
    let octets = HeaderValue::from_static("application/octet-stream");
    let mut head = whole(StatusCode::OK, octets, "");
    let headers = head.headers_mut();
    attach(headers, oid, "raw");
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let info = stream.info();
    say(headers, "x-streamdb-complete", if incomplete.is_none() { "true" } else { "false" });
    say(headers, "x-streamdb-missing", &info.gap_bytes.to_string());
    if let Some(why) = incomplete {
        say(headers, "x-streamdb-incomplete", why.words());
    }
    say(headers, "x-streamdb-reason", reason_word(info.reason));
    say_gaps(headers, stream.gaps().iter().map(|gap| (gap.offset.0, gap.length)));
    match range {
        None => {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        Some(Range { start, end }) => {
            headers.insert(CONTENT_LENGTH, end.saturating_sub(*start).into());
            let said = format!("bytes {start}-{}/{length}", end.saturating_sub(1));
            headers.insert(CONTENT_RANGE, header_text(&said));
            *head.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
    }
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
