//! A content that came in several responses as a download: its headers say how it stands.

use std::io::{self, Write};
use std::ops::{ControlFlow, Range};

use axum::http::header::{ACCEPT_RANGES, ETAG};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use streamdb_derive::{BodyLimits, Decode, Error, JoinState, Joined, Piece};
use streamdb_query::hex;

use super::range::{asked_part, say_part};
use crate::answer::{header_text, refuse, say, whole};
use crate::channel::{BodyWriter, Maker};

/// Hands out the content with this SHA-256, or the bytes as sent that have it.
pub(crate) fn send(mut joined: Joined<'_>, digest: &[u8; 32], asked: &HeaderMap, maker: Maker) {
    let state = joined.state();
    let Some(made) = joined.join().made.clone() else { return maker.whole(gone()) };
    if !state.is_here() {
        return maker.whole(gone());
    }
    let as_sent = made.digests.sha256 != *digest;
    let length = if as_sent { joined.sent_len() } else { made.size };
    let tag = format!("\"{}-{}\"", hex(digest), state.word());
    let range = match asked_part(asked, &tag, length) {
        Ok(range) => range,
        Err(refusal) => return maker.whole(*refusal),
    };
    let mut head = whole(StatusCode::OK, HeaderValue::from_static("application/octet-stream"), "");
    *head.status_mut() = say_part(head.headers_mut(), range.as_ref(), length);
    let headers = head.headers_mut();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(ETAG, header_text(&tag));
    say(headers, "content-disposition", &format!("attachment; filename=\"streamdb-{}\"", hex(digest)));
    say(headers, "x-streamdb-mime", &made.mime);
    say(headers, "x-streamdb-description", &made.description);
    say(headers, "x-streamdb-complete", if state == JoinState::Complete { "true" } else { "false" });
    say(headers, "x-streamdb-missing", "0");
    say(headers, "x-streamdb-joined", state.word());
    say(headers, "x-streamdb-parts", &joined.join().parts.len().to_string());
    if let Some(problem) = &made.problem {
        say(headers, "x-streamdb-problem", problem);
    }
    let range = range.unwrap_or(0..length);
    // A body that cannot be finished breaks off; the client sees that.
    let Some(writer) = maker.begin(head) else { return };
    let _ = body(&mut joined, as_sent, range, writer);
}

fn gone() -> Response {
    refuse(StatusCode::GONE, "A part of this content is not here any more; /api/v1/joins?sha256=... says which.")
}

/// Writes a part of it: what lies before that is read only where it has to be decoded.
fn body(joined: &mut Joined<'_>, as_sent: bool, part: Range<u64>, mut writer: BodyWriter) -> Result<(), Error> {
    let mut written: io::Result<()> = Ok(());
    let mut put = |bytes: &[u8]| {
        written = writer.write_all(bytes);
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    // A hole by now was none when this began: what is sent is not whole then, and must not look so.
    let mut whole = true;
    if as_sent || joined.is_plain() {
        joined.sent(part, &mut |piece| match piece {
            Piece::Bytes(bytes) => put(bytes),
            Piece::Hole(_) => {
                whole = false;
                ControlFlow::Break(())
            }
        })?;
    } else {
        let mut at = 0_u64;
        let outcome = joined.body(Decode::Decoded, &BodyLimits::default(), None, &mut |piece| {
            let Piece::Bytes(bytes) = piece else { return ControlFlow::Break(()) };
            let (from, to) = (at, at.saturating_add(bytes.len() as u64));
            at = to;
            if from >= part.end {
                return ControlFlow::Break(());
            }
            let (start, end) = (part.start.max(from) - from, part.end.min(to).saturating_sub(from));
            match bytes.get(start as usize..end as usize) {
                Some(bytes) if !bytes.is_empty() => put(bytes),
                _ => ControlFlow::Continue(()),
            }
        })?;
        whole = at >= part.end || outcome.length >= part.end;
    }
    written?;
    if whole { Ok(writer.finish()?) } else { Ok(()) }
}
