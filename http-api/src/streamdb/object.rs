//! One object as a download: decoded, and its headers say what it is, whether it is whole, and where its holes are.

use std::io::{self, Write};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use axum::http::header::{ACCEPT_RANGES, ETAG};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use sha2::{Digest, Sha256};
use streamdb_derive::{Error, Object, Store, kept, object, other_object};
use streamdb_extract::{BodyLimits, BodyOutcome, Decode, Piece};
use streamdb_query::hex;
use streamdb_types::{Gap, ObjectRow, Oid};

use super::range::{asked_part, gaps_in, say_part};
use crate::answer::{attach, failed, header_text, say, say_dropped, say_gaps, whole};
use crate::channel::{BodyWriter, Maker};

/// An object of at most this size is decoded once, into memory. A larger one is decoded twice, as what the headers say of
/// it is known only at its end.
const HELD: u64 = 4 << 20;
/// Most holes that are remembered; few of them are named.
const HOLES: usize = 32;

/// Hands out an object, or this other version of it.
pub(crate) fn send(store: &Arc<Store>, oid: Oid, other: Option<usize>, asked: &HeaderMap, maker: Maker) {
    let found = match other {
        Some(version) => other_object(store, oid, version),
        None => object(store, oid),
    };
    let mut object = match found {
        Ok(object) => object,
        Err(error) => return maker.whole(failed(&error)),
    };
    // What is kept is of the bytes that came first.
    let row = if other.is_some() { Ok(None) } else { kept(store, object.conversation(), oid) };
    let look = match row.and_then(|row| look(row, &mut object)) {
        Ok(look) => look,
        Err(error) => return maker.whole(failed(&error)),
    };
    // The bytes of an oid never change, but what a later version makes of them may, and retention may take some.
    let dropped = object.conversation().dropped(object.message().direction);
    let dropped = dropped.map_or_else(String::new, |time| format!("-{}", time.0));
    let version = other.map_or_else(String::new, |version| format!("-other{version}"));
    let tag = format!("\"{oid}-{}{dropped}{version}\"", look.length);
    let range = match asked_part(asked, &tag, look.length) {
        Ok(range) => range,
        Err(refusal) => return maker.whole(*refusal),
    };
    let mut head = head(oid, &object, &look, range.as_ref());
    head.headers_mut().insert(ETAG, header_text(&tag));
    match look.held {
        Some(mut bytes) => {
            if let Some(Range { start, end }) = range {
                bytes.truncate(end as usize);
                bytes.drain(..start as usize);
            }
            let (parts, _) = head.into_parts();
            maker.whole(Response::from_parts(parts, bytes.into()));
        }
        None => {
            let range = range.unwrap_or(0..look.length);
            // A body that cannot be finished breaks off; the client sees that.
            let Some(writer) = maker.begin(head) else { return };
            let _ = body(&mut object, range, writer);
        }
    }
}

/// What the headers need.
struct Look {
    /// What is kept of it, if anything is.
    row: Option<ObjectRow>,
    /// Of what is handed out, when there is no hole in it and that is known.
    sha256: Option<[u8; 32]>,
    outcome: BodyOutcome,
    /// Of what is handed out, zeros for holes included.
    length: u64,
    complete: bool,
    /// Offset in what is handed out, and length.
    holes: Vec<(u64, u64)>,
    /// All of it, if it is not too much.
    held: Option<Vec<u8>>,
}

fn look(row: Option<ObjectRow>, object: &mut Object) -> Result<Look, Error> {
    let plain = object.plain();
    let mut held = Some(Vec::new());
    let mut holes = Vec::new();
    let mut length = 0u64;
    let outcome = object.body(Decode::Decoded, &BodyLimits::default(), &mut |piece| {
        let n = length_of(&piece);
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
    let (complete, length, holes) = match plain {
        Some((length, gaps)) if held.is_none() => {
            let holes = gaps.iter().take(HOLES).map(|gap| (gap.offset.0, gap.length)).collect();
            (object.named().incomplete().is_none(), length, holes)
        }
        _ => (outcome.complete, length, holes),
    };
    let sha256 = match &held {
        Some(held) => holes.is_empty().then(|| Sha256::digest(held).into()),
        None => row.as_ref().and_then(|row| row.digests).map(|digests| digests.sha256),
    };
    // What is said of it elsewhere counts too: that a transfer was refused in the end.
    let complete = complete && row.as_ref().is_none_or(|row| row.complete);
    Ok(Look { row, sha256, outcome, length, complete, holes, held })
}

fn head(oid: Oid, object: &Object, look: &Look, range: Option<&Range<u64>>) -> Response {
    let octets = HeaderValue::from_static("application/octet-stream");
    let mut head = whole(StatusCode::OK, octets, "");
    *head.status_mut() = say_part(head.headers_mut(), range, look.length);
    let headers = head.headers_mut();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let what = &look.outcome.what;
    attach(headers, oid, what.extension);
    say(headers, "x-streamdb-mime", what.mime);
    say(headers, "x-streamdb-description", &what.description);
    say(headers, "x-streamdb-complete", if look.complete { "true" } else { "false" });
    say(headers, "x-streamdb-missing", &look.outcome.missing.to_string());
    if let Some(sha256) = &look.sha256 {
        say(headers, "x-streamdb-sha256", &hex(sha256));
    }
    say_dropped(headers, object.conversation().dropped(object.message().direction));
    match range.zip(object.plain()) {
        Some((range, (_, gaps))) => say_gaps(headers, gaps_in(&gaps, range)),
        None => say_gaps(headers, look.holes.iter().copied()),
    }
    let why = object.named().incomplete().map(|why| why.words().to_owned());
    let why = why.or_else(|| look.row.as_ref().filter(|row| !row.complete).and_then(|row| row.reason.clone()));
    if let Some(why) = why {
        say(headers, "x-streamdb-incomplete", &why);
    }
    if let Some(problem) = look.outcome.problem.as_ref().filter(|_| look.held.is_some() || look.outcome.decoded) {
        say(headers, "x-streamdb-problem", &problem.to_string());
    }
    head
}

/// Writes a part of the body: what lies before it is read only where it has to be decoded.
fn body(object: &mut Object, part: Range<u64>, mut writer: BodyWriter) -> Result<(), Error> {
    let mut written: io::Result<()> = Ok(());
    let mut put = |piece: Piece<'_>| {
        written = match piece {
            Piece::Bytes(bytes) => writer.write_all(bytes),
            Piece::Hole(gap) => writer.zeros(gap.length),
        };
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    if object.plain().is_some() {
        object.plain_part(part, &mut put)?;
    } else {
        let mut at = 0_u64;
        object.body(Decode::Decoded, &BodyLimits::default(), &mut |piece| {
            let (from, to) = (at, at.saturating_add(length_of(&piece)));
            at = to;
            if from >= part.end {
                return ControlFlow::Break(());
            }
            let (from, to) = (part.start.max(from) - from, part.end.min(to).saturating_sub(from));
            if from >= to {
                return ControlFlow::Continue(());
            }
            put(match piece {
                Piece::Bytes(bytes) => Piece::Bytes(bytes.get(from as usize..to as usize).unwrap_or_default()),
                Piece::Hole(gap) => Piece::Hole(Gap { length: to - from, ..gap }),
            })
        })?;
    }
    written?;
    Ok(writer.finish()?)
}

const fn length_of(piece: &Piece<'_>) -> u64 {
    match piece {
        Piece::Bytes(bytes) => bytes.len() as u64,
        Piece::Hole(gap) => gap.length,
    }
}
