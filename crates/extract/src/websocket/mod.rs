//! WebSocket (RFC 6455) behind its handshake: each message is a part, whatever frames it came in.
//!
//! - `frame`: the headers of frames; `extension`: what was agreed upon beyond them
//! - `half`: one direction, message after message; `context`: what compressed messages refer to (RFC 7692)
//! - here: whether it is a WebSocket, and both directions together
//!
//! Control frames are passed over. Frames cannot be told from other bytes: once a frame's header is missing, the rest is lost.

mod context;
mod extension;
mod frame;
mod half;

use streamdb_types::Direction;

use self::extension::Extension;
use self::half::Half;
use crate::inside::{Found, Opener};
use crate::limits::Limits;
use crate::message::Incomplete;
use crate::source::Source;

/// The word for it.
const PROTOCOL: &str = "websocket";

/// What is found behind an accepted `Upgrade: websocket` (RFC 6455 §4.2.2).
pub(crate) fn find(streams: [&dyn Source; 2], opener: &Opener<'_>, limits: &Limits) -> Option<Found> {
    if !opener.upgrades_to(b"websocket") {
        return None;
    }
    // What the server says of extensions counts.
    let agreed = opener.response.fields.get("sec-websocket-extensions").unwrap_or_default();
    let server = opener.response.direction;
    let mut found = Found::default();
    for direction in Direction::BOTH {
        let extension = Extension::agreed(agreed, direction == server);
        let mut parts = Half::new(streams, direction, extension, opener.request, limits).run();
        // Without the request it is not known where the client's first frame begins.
        if direction != server && opener.request.is_none() {
            for part in &mut parts {
                part.incomplete.get_or_insert(Incomplete::Unsure);
            }
        }
        *direction.of_mut(&mut found.sentences) = Some(match parts.len() {
            0 => "WebSocket session".to_owned(),
            1 => "WebSocket session, 1 message".to_owned(),
            n => format!("WebSocket session, {n} messages"),
        });
        *direction.of_mut(&mut found.parts) = parts;
    }
    Some(found)
}

#[cfg(test)]
mod tests;
