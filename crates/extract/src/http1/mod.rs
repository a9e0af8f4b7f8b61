//! HTTP/1.0 and HTTP/1.1 (RFC 9110, RFC 9112): read both before touching this folder.
//!
//! - `line`, `split`, `head`: bytes into first line and fields
//! - `facts`, `framing`, `chunked`: where a body ends
//! - `scanner`, `extent`, `search`: one direction, message after message, also after a loss
//! - here: both directions in lockstep, as the framing of an answer depends on what was asked, and the meaning of what a
//!   client sends next on what was answered

mod chunked;
mod extent;
mod facts;
mod framing;
mod head;
mod line;
mod scanner;
mod search;
mod split;

use streamdb_types::{Direction, Marks};

use self::framing::{Asked, Then, is_interim};
use self::line::Role;
use self::scanner::{Found, Scanner};
use crate::limits::Limits;
use crate::message::{Kind, Messages};
use crate::notes::Notes;
use crate::socks;
use crate::source::Source;

pub(crate) use self::chunked::{Chunks, Step};
pub(crate) use self::facts::codings;
pub use self::head::{Head, head, trailers};
#[cfg(test)]
pub(crate) use self::scanner::SHOWN_BYTES;

/// The messages of a connection that speaks HTTP/1 in at least one direction.
pub(crate) fn dissect(streams: [&dyn Source; 2], limits: &Limits) -> Option<Messages> {
    let asking = which_side_asks(streams, limits)?;
    let (messages, left) = paired(streams, asking, 0, limits);
    // A connection that was picked up in the middle may begin with answers to requests that nobody captured. That shows at
    // its end, where as many answers are left: so the first ones are those without a request.
    let midstream = asking.of(&streams).marks().contains(Marks::MIDSTREAM);
    if midstream && left > 0 { Some(paired(streams, asking, left, limits).0) } else { Some(messages) }
}

/// Whether two streams in which no HTTP/1 was found may show it when more bytes come.
pub(crate) fn may_show(streams: [&dyn Source; 2], limits: &Limits) -> bool {
    let may = |direction, role| Scanner::new(streams, direction, role, limits).may_be_found_in_the_middle();
    let middle = |direction| may(direction, Role::Requests) || may(direction, Role::Responses);
    Direction::BOTH.into_iter().any(middle) && !socks::is_accepted(streams)
}

/// The messages, when `before` requests came before those that are there; and how many final answers are left at the end.
fn paired(streams: [&dyn Source; 2], asking: Direction, before: u32, limits: &Limits) -> (Messages, u32) {
    let mut requests = Scanner::new(streams, asking, Role::Requests, limits);
    let mut responses = Scanner::new(streams, asking.flip(), Role::Responses, limits);
    let mut answers = Answers::default();
    let mut asked = before;
    while let Some(request) = requests.next(Asked::default()) {
        let turn = request.lost_heads.saturating_add(asked);
        asked += 1;
        if answers.take(&request, turn, &mut requests, &mut responses) == Then::Tunnel {
            // Plain HTTP through a proxy is asked for like this too; then both sides speak it from here on.
            let goes_on = requests.begins() && (responses.begins() || responses.is_at_end());
            requests.tunnel(goes_on);
            responses.tunnel(goes_on);
        }
    }
    // Answers to requests that were not captured, or that nobody asked for (RFC 9110 §15.5.9).
    let mut left = 0;
    let unasked = if asked > before && !requests.lossy { Notes::UNASKED } else { Notes::GUESSED };
    while let Some(response) = answers.next(Asked::default(), &mut responses) {
        if let Some(message) = responses.found.get_mut(response.place) {
            message.notes.insert(unasked);
            let interim = matches!(message.kind, Kind::Response { status, .. } if is_interim(status));
            left += u32::from(!interim);
        }
        if response.then == Then::Tunnel {
            let goes_on = responses.begins();
            responses.tunnel(goes_on);
        }
    }
    let mut messages = Messages::default();
    *asking.of_mut(&mut messages.streams) = requests.found;
    *asking.flip().of_mut(&mut messages.streams) = responses.found;
    (messages, left)
}

/// Answers in turn. Requests and final responses are counted, those that lost their head to a hole as well, so that the
/// pairs are right again after a loss on one side.
#[derive(Default)]
struct Answers {
    /// Final responses found so far.
    given: u32,
    /// One that turned out to answer a later request.
    early: Option<Found>,
}

impl Answers {
    /// The next response.
    fn next(&mut self, asked: Asked, responses: &mut Scanner<'_>) -> Option<Found> {
        self.early.take().or_else(|| responses.next(asked))
    }

    /// Takes the answers to the request whose turn it is, interim ones and the final one; says what follows.
    fn take(&mut self, request: &Found, turn: u32, requests: &mut Scanner<'_>, responses: &mut Scanner<'_>) -> Then {
        let sure = request.asks.sure && !responses.lossy;
        let asked = Asked { sure, ..request.asks };
        loop {
            let Some(response) = self.next(asked, responses) else {
                // Not captured. After CONNECT, bytes that are no request are the tunnel.
                let tunnel = asked.connect && !requests.begins();
                return if tunnel { Then::Tunnel } else { Then::Next };
            };
            let position = self.given.saturating_add(response.lost_heads);
            if position > turn {
                self.early = Some(response);
                return Then::Next;
            }
            let Some(answer) = responses.found.get_mut(response.place) else { return Then::Next };
            // Messages may have been lost on the way to this very answer.
            if !sure || !response.asks.sure {
                answer.notes.insert(Notes::GUESSED);
            }
            let interim = matches!(answer.kind, Kind::Response { status, .. } if is_interim(status));
            self.given = self.given.saturating_add(u32::from(!interim));
            if position < turn {
                // The answer to a request that was lost.
                continue;
            }
            let Some(question) = requests.found.get_mut(request.place) else { return Then::Next };
            answer.peer = Some(request.index());
            answer.host.clone_from(&question.host);
            if !interim {
                question.peer = Some(response.index());
                return response.then;
            }
        }
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
    // What goes through a SOCKS server is found there.
    if socks::may_be_accepted(streams) {
        return None;
    }
    if middle(to_server, Role::Requests) || middle(to_client, Role::Responses) {
        return Some(to_server);
    }
    (middle(to_server, Role::Responses) || middle(to_client, Role::Requests)).then_some(to_client)
}
