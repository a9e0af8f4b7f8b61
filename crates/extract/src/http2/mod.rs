//! HTTP/2 in clear (RFC 9113), spoken from the first byte on or after an upgrade from HTTP/1: read it and RFC 7541 before touching
//! this folder.
//!
//! - `frame`: the headers of frames; `block`: those that carry header fields, put together
//! - `huffman`, `table`, `hpack`: header fields out of blocks; `head`: what they say
//! - `half`: one direction, frame after frame; `resync`: frames found again after a loss
//! - here: whether it is HTTP/2, and both directions together
//!
//! Each HTTP/2 stream gives a request and a response, as parts of the connection's two streams, numbered in the order in which their
//! heads begin. Interim responses and promises of responses are no parts of their own. Settings, priorities and flow control are
//! passed over: they say nothing about what was transferred.

mod block;
mod frame;
mod half;
mod head;
mod hpack;
mod huffman;
mod resync;
mod table;

use std::collections::HashMap;

use streamdb_types::{Direction, StreamOffset};

use self::frame::{Frame, HEADER_BYTES, Type};
use self::half::{Asked, Half};
use crate::inside::{Found, Opener};
use crate::limits::Limits;
use crate::message::Kind;
use crate::part::PartKind;
use crate::source::Source;
use crate::window::{Stop, Window};

/// The word for it.
const PROTOCOL: &str = "http2";
/// What a client begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The most settings that are believed at the beginning of a connection.
const SETTINGS: u32 = 64;

/// What is found in a connection that speaks HTTP/2 from the beginning on.
pub(crate) fn find(streams: [&dyn Source; 2], limits: &Limits) -> Option<Found> {
    let client = which_side_asks(streams)?;
    Some(both(streams, client, limits, None))
}

/// What is found behind `Upgrade: h2c` (RFC 7540 §3.2): the request that asked for it is stream 1's.
pub(crate) fn upgraded(streams: [&dyn Source; 2], opener: &Opener<'_>, limits: &Limits) -> Option<Found> {
    if !opener.upgrades_to(b"h2c") {
        return None;
    }
    let asked = opener.request.and_then(|request| match &request.kind {
        Kind::Request { method, target, .. } => {
            Some(Asked { method: Some(method.clone()), target: Some(target.clone()), host: request.host.clone() })
        }
        Kind::Response { .. } | Kind::Stream => None,
    });
    Some(both(streams, opener.response.direction.flip(), limits, Some(asked.unwrap_or_default())))
}

fn both(streams: [&dyn Source; 2], client: Direction, limits: &Limits, first: Option<Asked>) -> Found {
    let mut requests = Half::new(streams, client, PartKind::Request, PREFACE.len() as u64, limits);
    let mut responses = Half::new(streams, client.flip(), PartKind::Response, 0, limits);
    requests.run();
    responses.run();
    let places: HashMap<u32, usize> = requests.bodies.iter().enumerate().map(|(n, body)| (body.stream, n)).collect();
    for (part, body) in responses.parts.iter_mut().zip(&responses.bodies) {
        let request = places.get(&body.stream).and_then(|place| requests.parts.get(*place));
        let scheme = request.and_then(|request| request.entity.as_ref()?.scheme.clone());
        if let Some(entity) = &mut part.entity {
            entity.scheme = scheme;
        }
        let asked = match request {
            Some(request) => {
                Asked { method: request.method.clone(), target: request.target.clone(), host: request.host.clone() }
            }
            None => match &first {
                Some(first) if body.stream == 1 => first.clone(),
                _ => responses.promised.get(&body.stream).cloned().unwrap_or_default(),
            },
        };
        (part.method, part.target, part.host) = (asked.method, asked.target, asked.host);
    }
    requests.conclude(&responses.resets);
    responses.conclude(&requests.resets);
    let mut found = Found::default();
    for (half, one, many) in [(requests, "request", "requests"), (responses, "response", "responses")] {
        let sentence = match half.parts.len() {
            0 => "HTTP/2 session".to_owned(),
            1 => format!("HTTP/2 session, 1 {one}"),
            n => format!("HTTP/2 session, {n} {many}"),
        };
        *half.direction.of_mut(&mut found.sentences) = Some(sentence);
        *half.direction.of_mut(&mut found.parts) = half.parts;
    }
    found
}

/// The direction in which the client sends: it begins with the preface. Where that was not captured, the server's settings and what
/// follows them tell. `None` when this is no HTTP/2, or when more may come that would tell otherwise.
fn which_side_asks(streams: [&dyn Source; 2]) -> Option<Direction> {
    let [to_server, to_client] = streams;
    match (begins(to_server), begins(to_client)) {
        (Begins::Preface, _) => Some(Direction::ToServer),
        (Begins::Open, _) => None,
        (_, Begins::Preface) => Some(Direction::ToClient),
        (Begins::Unknown, _) if begins_with_settings(to_client) => Some(Direction::ToServer),
        (_, Begins::Unknown) if begins_with_settings(to_server) => Some(Direction::ToClient),
        _ => None,
    }
}

/// Whether an open stream begins as the preface does, so that nobody knows yet what this is.
pub(crate) fn may_begin(streams: [&dyn Source; 2]) -> bool {
    streams.iter().any(|stream| stream.end() > StreamOffset(0) && matches!(begins(*stream), Begins::Open))
}

/// How a stream begins.
enum Begins {
    Preface,
    /// With bytes that are not there.
    Unknown,
    /// It is still open, and may yet begin with the preface.
    Open,
    Otherwise,
}

fn begins(source: &dyn Source) -> Begins {
    let mut window = Window::new(source, PREFACE.len());
    let view = window.look(StreamOffset(0), PREFACE.len());
    if view.bytes.starts_with(PREFACE) {
        return Begins::Preface;
    }
    match view.stop {
        _ if !PREFACE.starts_with(view.bytes) => Begins::Otherwise,
        Some(Stop::Hole(_)) => Begins::Unknown,
        _ if source.ended().is_none() => Begins::Open,
        _ if view.bytes.is_empty() => Begins::Unknown,
        _ => Begins::Otherwise,
    }
}

/// Whether a stream begins with settings, with another frame behind them.
fn begins_with_settings(source: &dyn Source) -> bool {
    let mut window = Window::new(source, 64);
    let Some(first) = Frame::parse(window.look(StreamOffset(0), HEADER_BYTES).bytes) else { return false };
    let settings = first.kind == Type::Settings && first.is_likely(SETTINGS * 6, 0) && first.flags == 0;
    let second = Frame::parse(window.look(first.end(StreamOffset(0)), HEADER_BYTES).bytes);
    settings && second.is_some_and(|frame| frame.is_likely(frame::PAYLOAD_BYTES, u32::from(u16::MAX)))
}

#[cfg(test)]
mod tests;
