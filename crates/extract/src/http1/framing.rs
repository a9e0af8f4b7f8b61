//! How the end of a body is told: RFC 9112 §6.3, rule by rule, with what real programs do where the rules say "error".

use super::facts::Facts;
use super::line::Role;
use crate::message::{Framing, Kind};

/// What is known of the request that a response answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// Whether there is such a request, and no doubt that it is the one.
    pub sure: bool,
    /// HEAD: the answer has no body, whatever it declares.
    pub head: bool,
    /// CONNECT: a 2xx answer begins a tunnel.
    pub connect: bool,
}

/// What follows a message in its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Another message.
    Next,
    /// Another protocol, in both directions.
    Tunnel,
}

/// Whether a status code is an interim one (RFC 9110 §15.2). 101 is the last HTTP/1 answer of its connection.
pub(super) const fn is_interim(status: u16) -> bool {
    status >= 100 && status < 200 && status != 101
}

/// The framing that the head declares.
pub(super) fn declared(facts: &Facts, asked: Asked) -> (Framing, Then) {
    match facts.kind {
        Kind::Response { status, .. } => response(facts, status, asked),
        Kind::Request { .. } | Kind::Stream => (by_fields(facts, Role::Requests), Then::Next),
    }
}

fn response(facts: &Facts, status: u16, asked: Asked) -> (Framing, Then) {
    match status {
        101 => (Framing::None, Then::Tunnel),
        // Rule 1.
        100..=199 | 204 | 304 => (Framing::None, Then::Next),
        _ if asked.head && asked.sure => (Framing::None, Then::Next),
        // Rule 2.
        200..=299 if asked.connect && (asked.sure || (facts.length.is_none() && !facts.chunked)) => {
            (Framing::None, Then::Tunnel)
        }
        _ => (by_fields(facts, Role::Responses), Then::Next),
    }
}

/// Rules 4 to 8.
fn by_fields(facts: &Facts, role: Role) -> Framing {
    if facts.chunked || facts.perhaps_chunked { Framing::Chunked } else { without_chunks(facts, role) }
}

/// What counts when there is no chunk, declared or not.
pub(super) fn without_chunks(facts: &Facts, role: Role) -> Framing {
    match (facts.length, role) {
        // Without a body it is the same as none at all.
        (Some(0), _) | (None, Role::Requests) => Framing::None,
        (Some(length), _) => Framing::Length(length),
        (None, Role::Responses) => Framing::UntilClose,
    }
}
