//! Which protocol a connection speaks, and what to make of one that none knows.

use streamdb_types::Direction;

use crate::http1;
use crate::limits::Limits;
use crate::message::{Incomplete, Message, Messages};
use crate::source::Source;
use crate::span::Span;

/// A dissector looks at both streams of a connection (to the server, to the client) and answers with their messages, or
/// with nothing when they are not of its protocol.
type Dissector = fn([&dyn Source; 2], &Limits) -> Option<Messages>;

/// Asked in this order; the first answer counts.
const DISSECTORS: [Dissector; 1] = [http1::dissect];

/// The messages of a connection. A stream of no known protocol is one message of kind stream; an empty one has none.
pub fn messages(client_to_server: &dyn Source, server_to_client: &dyn Source, limits: &Limits) -> Messages {
    let streams = [client_to_server, server_to_client];
    DISSECTORS
        .iter()
        .find_map(|dissect| dissect(streams, limits))
        .unwrap_or_else(|| Messages { streams: Direction::BOTH.map(|direction| whole(streams, direction)) })
}

/// The whole stream as its own message 0.
fn whole(streams: [&dyn Source; 2], direction: Direction) -> Vec<Message> {
    let (stream, other) = (*direction.of(&streams), *direction.flip().of(&streams));
    let span = Span::new(Default::default(), stream.end());
    if span.is_empty() {
        return Vec::new();
    }
    let mut message = Message::stream(0, direction, span);
    message.count_gaps(stream, span);
    message.incomplete = Incomplete::of_stream(stream, other, direction);
    vec![message]
}
