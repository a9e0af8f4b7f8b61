//! HTTP/1.0 and HTTP/1.1 (RFC 9110, RFC 9112): read both before touching this folder.
//!
//! - `line`, `split`, `head`: bytes into first line and fields
//! - `facts`, `framing`, `chunked`: where a body ends
//! - `scanner`, `search`: one direction, message after message, also after a loss
//! - here: both directions in lockstep, as the framing of an answer depends on what was asked, and the meaning of what a
//!   client sends next on what was answered

mod chunked;
mod facts;
mod framing;
mod head;
mod line;
mod scanner;
mod search;
mod split;

use streamdb_types::Direction;

use self::framing::{Asked, Then, is_interim};
use self::line::Role;
use self::scanner::{Found, Scanner};
use crate::limits::Limits;
use crate::message::{Kind, Messages};
use crate::notes::Notes;
use crate::source::Source;

pub(crate) use self::chunked::{Chunks, Step};
pub use self::head::{Head, head, trailers};

/// The messages of a connection that speaks HTTP/1 in at least one direction.
pub(crate) fn dissect(streams: [&dyn Source; 2], limits: &Limits) -> Option<Messages> {
    let asking = which_side_asks(streams, limits)?;
    let mut requests = Scanner::new(streams, asking, Role::Requests, limits);
    let mut responses = Scanner::new(streams, asking.flip(), Role::Responses, limits);
    let mut seen = false;
    while let Some(request) = requests.next(Asked::default()) {
        seen = true;
        let sure = request.asks.sure && !responses.lossy;
        if answers(&request, sure, &mut requests, &mut responses) == Then::Tunnel {
            requests.tunnel();
            responses.tunnel();
        }
    }
    // Answers to requests that were not captured, or that nobody asked for (RFC 9110 §15.5.9).
    while let Some(response) = responses.next(Asked::default()) {
        if let Some(message) = responses.found.get_mut(response.place) {
            message.notes.insert(if seen && !requests.lossy { Notes::UNASKED } else { Notes::GUESSED });
        }
        if response.then == Then::Tunnel {
            responses.tunnel();
        }
    }
    let mut messages = Messages::default();
    *asking.of_mut(&mut messages.streams) = requests.found;
    *asking.flip().of_mut(&mut messages.streams) = responses.found;
    Some(messages)
}

/// Takes the answers to a request, interim ones and the final one; says what follows.
fn answers(request: &Found, sure: bool, requests: &mut Scanner<'_>, responses: &mut Scanner<'_>) -> Then {
    let asked = Asked { sure, ..request.asks };
    loop {
        let Some(response) = responses.next(asked) else {
            // Not captured. After CONNECT, bytes that are no request are the tunnel.
            let tunnel = asked.connect && !requests.begins();
            return if tunnel { Then::Tunnel } else { Then::Next };
        };
        let (peer, index) = (request.index(), response.index());
        // Messages may have been lost on the way to this very answer.
        let doubt = !sure || !response.asks.sure;
        let (Some(question), Some(answer)) =
            (requests.found.get_mut(request.place), responses.found.get_mut(response.place))
        else {
            return Then::Next;
        };
        answer.peer = Some(peer);
        answer.host.clone_from(&question.host);
        if doubt {
            answer.notes.insert(Notes::GUESSED);
        }
        let Kind::Response { status, .. } = answer.kind else { return Then::Next };
        if is_interim(status) {
            continue;
        }
        question.peer = Some(index);
        return response.then;
    }
}

/// The direction that carries requests: usually to the server, but a connection that was picked up in the middle may have
/// its sides the wrong way round. `None` when this is no HTTP/1.
fn which_side_asks(streams: [&dyn Source; 2], limits: &Limits) -> Option<Direction> {
    let begins = |direction, role| Scanner::new(streams, direction, role, limits).begins();
    let middle = |direction, role| Scanner::new(streams, direction, role, limits).found_in_the_middle();
    let (to_server, to_client) = (Direction::ToServer, Direction::ToClient);
    let straight = begins(to_server, Role::Requests) || begins(to_client, Role::Responses);
    if straight {
        return Some(to_server);
    }
    if begins(to_server, Role::Responses) || begins(to_client, Role::Requests) {
        return Some(to_client);
    }
    if middle(to_server, Role::Requests) || middle(to_client, Role::Responses) {
        return Some(to_server);
    }
    (middle(to_server, Role::Responses) || middle(to_client, Role::Requests)).then_some(to_client)
}
