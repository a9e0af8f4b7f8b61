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
use crate::inside::{Found, Rest, inside_tunnel};
use crate::limits::Limits;
use crate::part::Part;
use crate::source::Source;
use crate::window::Window;

/// Most servers one behind the other.
const SERVERS: usize = 4;
/// Longest user name that is told.
const USER_BYTES: usize = 64;

/// What is found in a connection to a SOCKS server.
pub(crate) fn find(streams: [&dyn Source; 2], limits: &Limits) -> Option<Found> {
    let mut from = [StreamOffset(0); 2];
    let first = |client| Some((client, Negotiation::read(streams, client, from)?));
    let (client, mut last) = Direction::BOTH.into_iter().find_map(first)?;
    let mut sentence = told(&last);
    for _ in 1..SERVERS {
        from = last.rests;
        if !goes_on(&last) {
            break;
        }
        let Some(next) = Negotiation::read(streams, client, from) else { break };
        sentence = format!("{sentence}, {}", told(&next));
        last = next;
    }
    from = last.rests;
    if !goes_on(&last) {
        return Some(Found { sentences: [Some(sentence.clone()), Some(sentence)], ..Found::default() });
    }
    let host: Option<Arc<[u8]>> = last.request.map(|request| request.to.into_bytes().into());
    let rests = [0, 1].map(|n| Some(Rest { source: *streams.get(n)?, from: *from.get(n)? }));
    let [Some(to_server), Some(to_client)] = &rests else { return None };
    Some(behind([to_server, to_client], from, &sentence, host.as_ref(), limits))
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
