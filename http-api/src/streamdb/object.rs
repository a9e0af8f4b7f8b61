//! One object as a download: decoded, and its headers say what it is, whether it is whole, and where its holes are.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::Arc;

use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use streamdb_derive::{Error, Object, Store, object};
use streamdb_extract::{BodyLimits, BodyOutcome, Decode, Piece};
use streamdb_types::Oid;

use crate::answer::{attach, failed, say, say_gaps, whole};
use crate::channel::{BodyWriter, Maker};

/// An object of at most this size is decoded once, into memory. A larger one is decoded twice, as what the headers say of
/// it is known only at its end.
const HELD: u64 = 4 << 20;
/// Most holes that are remembered; few of them are named.
const HOLES: usize = 32;

pub(super) fn send(store: &Arc<Store>, oid: Oid, maker: Maker) {
    let mut object = match object(store, oid) {
        Ok(object) => object,
        Err(error) => return maker.whole(failed(&error)),
    };
    let look = match look(&mut object) {
        Ok(look) => look,
        Err(error) => return maker.whole(failed(&error)),
    };
    let head = head(oid, &object, &look);
    match look.held {
        Some(bytes) => {
            let (parts, _) = head.into_parts();
            maker.whole(Response::from_parts(parts, bytes.into()));
        }
        None => {
            // A body that cannot be finished breaks off; the client sees that.
            let Some(writer) = maker.begin(head) else { return };
            let _ = body(&mut object, writer);
        }
    }
}

/// What the headers need.
struct Look {
    outcome: BodyOutcome,
    /// Of what is handed out, zeros for holes included.
    length: u64,
    complete: bool,
    /// Offset in what is handed out, and length.
    holes: Vec<(u64, u64)>,
    /// All of it, if it is not too much.
    held: Option<Vec<u8>>,
}

fn look(object: &mut Object) -> Result<Look, Error> {
    let plain = object.plain();
    let mut held = Some(Vec::new());
    let mut holes = Vec::new();
    let mut length = 0u64;
    let outcome = object.body(Decode::Decoded, &BodyLimits::default(), &mut |piece| {
        let n = match piece {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::Hole(gap) => gap.length,
        };
        if length.saturating_add(n) > HELD {
            held = None;
            if plain.is_some() {
                return ControlFlow::Break(());
            }
        }
        match (piece, &mut held) {
            (Piece::Bytes(bytes), Some(held)) => held.extend_from_slice(bytes),
            (Piece::Hole(_), Some(held)) => held.resize(held.len() + n as usize, 0),
            (_, None) => {}
        }
        if matches!(piece, Piece::Hole(_)) && holes.len() < HOLES {
            holes.push((length, n));
        }
        length = length.saturating_add(n);
        ControlFlow::Continue(())
    })?;
    Ok(match plain {
        Some((length, gaps)) if held.is_none() => {
            let holes = gaps.iter().take(HOLES).map(|gap| (gap.offset.0, gap.length)).collect();
            Look { complete: object.message().is_complete(), outcome, length, holes, held }
        }
        _ => Look { complete: outcome.complete, outcome, length, holes, held },
    })
}

fn head(oid: Oid, object: &Object, look: &Look) -> Response {
    let octets = HeaderValue::from_static("application/octet-stream");
    let mut head = whole(StatusCode::OK, octets, "");
    let headers = head.headers_mut();
    headers.insert(CONTENT_LENGTH, look.length.into());
    let what = &look.outcome.what;
    attach(headers, oid, what.extension);
    say(headers, "x-streamdb-mime", what.mime);
    say(headers, "x-streamdb-description", &what.description);
    say(headers, "x-streamdb-complete", if look.complete { "true" } else { "false" });
    say(headers, "x-streamdb-missing", &look.outcome.missing.to_string());
    say_gaps(headers, look.holes.iter().copied());
    if let Some(why) = object.message().incomplete {
        say(headers, "x-streamdb-incomplete", why.words());
    }
    if let Some(problem) = look.outcome.problem.as_ref().filter(|_| look.held.is_some() || look.outcome.decoded) {
        say(headers, "x-streamdb-problem", &problem.to_string());
    }
    head
}

fn body(object: &mut Object, mut writer: BodyWriter) -> Result<(), Error> {
    let mut written: io::Result<()> = Ok(());
    object.body(Decode::Decoded, &BodyLimits::default(), &mut |piece| {
        written = match piece {
            Piece::Bytes(bytes) => writer.write_all(bytes),
            Piece::Hole(gap) => writer.zeros(gap.length),
        };
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    written?;
    Ok(writer.finish()?)
}
