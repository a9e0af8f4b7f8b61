//! SOCKS4, SOCKS4A and SOCKS5 (RFC 1928, RFC 1929): what goes through them is looked at as if it went straight.
//!
//! - `negotiation`: what the client asks for, and what the server answers
//! - `http`: HTTP/1 messages as parts
//! - here: whether it is SOCKS, through how many servers, and what is found behind them

mod http;
mod negotiation;

use std::sync::Arc;

use streamdb_sniff::{Content, HEAD_BYTES, sniff_stream};
use streamdb_types::{Direction, StreamOffset};

use self::negotiation::{Answer, Command, Negotiation};
use crate::dissect::messages;
use crate::inside::{Found, Rest, inside_tunnel, is_open};
use crate::limits::Limits;
use crate::part::Part;
use crate::source::Source;
use crate::window::Window;

/// Most servers one behind the other.
const SERVERS: usize = 4;
/// No server says more before what was asked for is done.
const ANSWER_BYTES: u64 = 1 << 10;
/// Longest user name that is told.
const USER_BYTES: usize = 64;

/// What is found in a connection to a SOCKS server.
pub(crate) fn find(streams: [&dyn Source; 2], limits: &Limits) -> Option<Found> {
    let (client, mut last) = first(streams)?;
    let mut sentence = told(&last);
    for _ in 1..SERVERS {
        if !goes_on(&last) {
            break;
        }
        let Some(next) = Negotiation::read(streams, client, last.rests) else { break };
        sentence = format!("{sentence}, {}", told(&next));
        last = next;
    }
    let from = last.rests;
    // What is found keeps its names, so it is waited for the answer.
    let may_come = last.answer == Answer::Unknown && is_open(*client.flip().of(&streams));
    if !goes_on(&last) || may_come {
        return Some(Found { sentences: [Some(sentence.clone()), Some(sentence)], ..Found::default() });
    }
    let host: Option<Arc<[u8]>> = last.request.map(|request| request.to.into_bytes().into());
    let rests = Direction::BOTH.map(|direction| {
        let (source, from) = (*direction.of(&streams), *direction.of(&from));
        Rest { source, from, begins: true }
    });
    let [to_server, to_client] = &rests;
    Some(behind([to_server, to_client], from, &sentence, host.as_ref(), limits))
}

/// What the streams begin with, and who is the client.
fn first(streams: [&dyn Source; 2]) -> Option<(Direction, Negotiation)> {
    let read = |client| Some((client, Negotiation::read(streams, client, [StreamOffset(0); 2])?));
    Direction::BOTH.into_iter().find_map(read)
}

/// Whether the streams begin with what a client asks for, and the server did it: then they are SOCKS from their first bytes on, also
/// where nobody knows whether these were the first ones.
pub(crate) fn is_accepted(streams: [&dyn Source; 2]) -> bool {
    first(streams).is_some_and(|(_, first)| first.answer == Answer::Accepted)
}

/// Whether that is so, or may show yet: what a client sends before it is answered goes through as well.
pub(crate) fn may_be_accepted(streams: [&dyn Source; 2]) -> bool {
    let Some((client, first)) = first(streams) else { return false };
    let server = *client.flip().of(&streams);
    let comes =
        || is_open(server) && server.end() < StreamOffset(ANSWER_BYTES) && server.next_gap(StreamOffset(0)).is_none();
    first.answer == Answer::Accepted || first.answer == Answer::Unknown && comes()
}

/// Whether what follows is between the client and the host that it asked for.
fn goes_on(negotiation: &Negotiation) -> bool {
    let command = negotiation.request.as_ref().map(|request| request.command);
    matches!(command, Some(Command::Connect | Command::Bind)) && negotiation.answer != Answer::Refused
}

/// What goes through.
fn behind(
    rests: [&dyn Source; 2],
    from: [StreamOffset; 2],
    sentence: &str,
    host: Option<&Arc<[u8]>>,
    limits: &Limits,
) -> Found {
    let [to_server, to_client] = rests;
    let messages = messages(to_server, to_client, limits);
    let inner = inside_tunnel(&messages, rests, limits);
    let mut found = Found::default();
    for direction in Direction::BOTH {
        let source = *direction.of(&rests);
        let offset = direction.of(&from).0;
        let mut parts = http::parts(&messages, direction, source, limits);
        let mut described = None;
        if let Some((which, inner)) = &inner {
            described.clone_from(direction.of(&inner.sentences));
            let message = direction
                .of(which)
                .and_then(|index| messages.of(direction).iter().find(|message| message.index == index));
            let begin = message.map_or(0, |message| message.span.start.0);
            parts.extend(direction.of(&inner.parts).iter().map(|part| moved(part.clone(), begin)));
        }
        let parts = parts.into_iter().zip(1u32..).map(|(part, number)| Part {
            number,
            host: part.host.clone().or_else(|| host.cloned()),
            ..moved(part, offset)
        });
        *direction.of_mut(&mut found.parts) = parts.collect();
        let described = described.or_else(|| what(source));
        *direction.of_mut(&mut found.sentences) = Some(match described {
            Some(described) => format!("{sentence}, {described}"),
            None => sentence.to_owned(),
        });
    }
    found
}

/// A part by its places in a stream of which the one that it was found in begins at `offset`.
fn moved(mut part: Part, offset: u64) -> Part {
    part.begins = part.begins.saturating_add(offset);
    for range in &mut part.content {
        *range = range.start.saturating_add(offset)..range.end.saturating_add(offset);
    }
    part
}

/// What the first bytes of a stream are, if that is known.
fn what(source: &dyn Source) -> Option<String> {
    let mut window = Window::new(source, HEAD_BYTES);
    let view = window.look(StreamOffset(0), HEAD_BYTES);
    let bytes = view.bytes.get(..HEAD_BYTES).unwrap_or(view.bytes);
    let kind = sniff_stream(Content::beginning(bytes));
    (!bytes.is_empty() && kind.description != "data").then(|| kind.description.to_string())
}

/// What was asked for, in words.
fn told(negotiation: &Negotiation) -> String {
    let Negotiation { version, user, request, answer, .. } = negotiation;
    let user = user
        .as_ref()
        .map_or_else(String::new, |user| format!(" as {}", user.get(..USER_BYTES).unwrap_or(user).escape_ascii()));
    let refused = if *answer == Answer::Refused { ", refused" } else { "" };
    match request {
        None => format!("{version} session{user}{refused}"),
        Some(request) => {
            let to = &request.to;
            match request.command {
                Command::Connect => format!("{version}{user} to {to}{refused}"),
                Command::Bind => format!("{version}{user} from {to}{refused}"),
                Command::Associate => format!("{version}{user} for datagrams{refused}"),
            }
        }
    }
}

#[cfg(test)]
mod tests;
