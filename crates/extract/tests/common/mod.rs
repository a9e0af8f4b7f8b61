//! What the tests share: bodies collected, invariants checked, messages written as text.

#![allow(dead_code, reason = "each test program uses its part of it")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

pub mod bomb;
pub mod coders;
pub mod conversation;

use std::fmt::Write as _;
use std::ops::ControlFlow;

use streamdb_extract::{
    BodyLimits, BodyOutcome, Decode, Kind, Limits, MemorySource, Message, Messages, Piece, Source, body, gaps, head,
    messages,
};
use streamdb_types::Direction;

/// Messages within the usual limits.
pub fn scan(to_server: &MemorySource, to_client: &MemorySource) -> Messages {
    let found = messages(to_server, to_client, &Limits::default());
    check(&found, to_server, to_client);
    found
}

/// What must hold whatever the bytes are: messages lie side by side over the whole stream, in order, their parts lie within
/// them, pairs are mutual, and holes make them incomplete.
pub fn check(found: &Messages, to_server: &MemorySource, to_client: &MemorySource) {
    for (direction, source) in [(Direction::ToServer, to_server), (Direction::ToClient, to_client)] {
        let mut at = 0;
        for (i, message) in found.of(direction).iter().enumerate() {
            assert_eq!(message.index.0 as usize, i);
            assert_eq!(message.direction, direction);
            assert_eq!(message.span.start.0, at, "{message:?}");
            assert!(!message.span.is_empty(), "{message:?}");
            at = message.span.end.0;
            assert!(message.span.start <= message.head.start && message.head.end <= message.body.start);
            assert!(
                message.body.end <= message.trailers.start && message.trailers.end <= message.span.end,
                "{message:?}"
            );
            for part in [message.head, message.body] {
                if gaps(source, part).next().is_some() {
                    assert!(message.missing > 0 && !message.is_complete(), "{message:?}");
                }
            }
            if let (Kind::Request { .. }, Some(peer)) = (&message.kind, message.peer) {
                assert_eq!(found.of(direction.flip())[peer.0 as usize].peer, Some(message.index));
            }
        }
        assert_eq!(at, source.end().0, "messages cover the stream: {found:?}");
    }
    assert_eq!(found.in_order().count(), found.streams.iter().map(Vec::len).sum::<usize>());
}

/// A body, holes as `?`.
pub fn collect(message: &Message, source: &dyn Source, decode: Decode) -> (Vec<u8>, BodyOutcome) {
    let mut bytes = Vec::new();
    let outcome = body(message, source, decode, &BodyLimits::default(), &mut |piece| {
        match piece {
            Piece::Bytes(piece) => bytes.extend_from_slice(piece),
            Piece::Hole(gap) => bytes.extend(std::iter::repeat_n(b'?', gap.length as usize)),
        }
        ControlFlow::Continue(())
    });
    assert_eq!(outcome.length, bytes.len() as u64);
    (bytes, outcome)
}

/// Bytes as ASCII, at most `most` of them.
pub fn text(bytes: &[u8], most: usize) -> String {
    let more = if bytes.len() > most { "..." } else { "" };
    format!("{}{more}", bytes[..bytes.len().min(most)].escape_ascii())
}

/// All messages of a connection as text, a few lines each.
pub fn view(found: &Messages, to_server: &MemorySource, to_client: &MemorySource) -> String {
    let mut out = String::new();
    for message in found.in_order() {
        let source = *message.direction.of(&[to_server, to_client]);
        let _ = write!(out, "{}{} ", message.direction.letter(), message.index.0);
        let _ = match &message.kind {
            Kind::Request { method, target, version } => {
                let (method, target) = (text(method, 40), text(target, 60));
                write!(out, "request {method} {target} HTTP/{}.{}", version.major, version.minor)
            }
            Kind::Response { status, version } => {
                write!(out, "response {status} HTTP/{}.{}", version.major, version.minor)
            }
            Kind::Stream => write!(out, "stream"),
        };
        if let Some(host) = &message.host {
            let _ = write!(out, " host={}", text(host, 60));
        }
        if let Some(peer) = message.peer {
            let _ = write!(out, " peer={}", peer.0);
        }
        let _ = write!(
            out,
            "\n   {:?} head {:?} body {:?} {:?}",
            message.span, message.head, message.body, message.framing
        );
        let _ = match message.incomplete {
            None => write!(out, " complete"),
            Some(why) => write!(out, " incomplete: {}, {} bytes missing", why.words(), message.missing),
        };
        for note in message.notes.words() {
            let _ = write!(out, " [{note}]");
        }
        out.push('\n');
        if let Some(head) = head(message, source) {
            for (name, value) in head.fields() {
                let _ = writeln!(out, "   | {}: {}", text(name, 40), text(value, 60));
            }
        }
        for (name, value) in streamdb_extract::trailers(message, source) {
            let _ = writeln!(out, "   + {}: {}", text(&name, 40), text(&value, 60));
        }
        if !message.body.is_empty() {
            let (bytes, outcome) = collect(message, source, Decode::Decoded);
            let _ = writeln!(
                out,
                "   {} of {} bytes as sent: {}",
                outcome.length,
                outcome.encoded_length,
                text(&bytes, 60)
            );
            let _ = write!(out, "   {}", outcome.what.description);
            if let Some(problem) = &outcome.problem {
                let _ = write!(out, "; {problem}");
            }
            let _ = writeln!(out, "{}", if outcome.complete { "" } else { " (INCOMPLETE)" });
        }
    }
    out
}
