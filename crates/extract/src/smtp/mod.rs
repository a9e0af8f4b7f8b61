//! Mail on its way: SMTP (RFC 5321) with pipelining (RFC 2920) and chunks (RFC 3030), submission (RFC 6409) and LMTP (RFC 2033).
//!
//! - `client` goes over what the client sends: commands, and the mails between them
//! - `replies` pairs the server's replies with the commands
//! - `command` takes a command apart; `envelope` is whom a mail is for
//!
//! A mail is one part of kind file; what lies in it follows as parts of kind part. All are in the client's direction. Whom a mail was
//! for, the host, is the server by the name with which it greets; the name that the client gives itself is in the sentence.
//! The status is the server's last word on the mail. It does not matter for whether the mail is whole: that is told by its end.

mod client;
mod command;
mod envelope;
mod replies;

use streamdb_types::{Direction, Marks, StreamOffset};

use crate::handover;
use crate::inside::{Found, TELL_BYTES, is_open};
use crate::limits::Limits;
use crate::source::Source;
use crate::window::Window;
use client::Session;
use command::starts_with;
use replies::Greeting;

/// How much is looked at first.
const FIRST_BYTES: usize = 1 << 10;
/// Most bytes of names and banners in sentences.
const SHOWN_BYTES: usize = 80;

/// What is found in a session of mail.
pub(crate) fn find(streams: [&dyn Source; 2], limits: &Limits) -> Option<Found> {
    Direction::BOTH.into_iter().find_map(|client| session(streams, client, limits))
}

/// The same, where this direction is the client's.
fn session(streams: [&dyn Source; 2], client: Direction, limits: &Limits) -> Option<Found> {
    let (source, other) = (*client.of(&streams), *client.flip().of(&streams));
    if source.is_datagrams() || other.is_datagrams() {
        return None;
    }
    let greeting = Greeting::read(other);
    if !is_mail(source, other, &greeting) {
        return None;
    }
    let session = Session::new(source, other, client, greeting.host(), limits).run();
    let protocol = if session.lmtp { "LMTP" } else { "SMTP" };
    let mut found = Found::default();
    let sentence = |named: &str, name: &[u8]| {
        let mut sentence = format!("{protocol} session");
        if !name.is_empty() {
            let name = name.get(..SHOWN_BYTES).unwrap_or(name);
            sentence.push_str(&format!(", {named}{}", name.escape_ascii()));
        }
        if session.starttls {
            sentence.push_str(", STARTTLS");
        }
        sentence
    };
    for (direction, there, named, name) in [
        (client, source.end(), "client ", session.helo.as_deref().unwrap_or_default()),
        (client.flip(), other.end(), "", greeting.text()),
    ] {
        if there > StreamOffset(0)
            && let Some(slot) = found.sentences.get_mut(direction.index())
        {
            *slot = Some(sentence(named, name));
        }
    }
    if let Some(parts) = found.parts.get_mut(client.index()) {
        *parts = session.parts;
    }
    if let Some(from) = session.secret {
        handover::then(&mut found, streams, from);
    }
    Some(found)
}

/// Whether these are the streams of a client of mail and its server.
fn is_mail(client: &dyn Source, server: &dyn Source, greeting: &Greeting) -> bool {
    // What is found keeps its names, so it is waited for what tells.
    if !greeting.is_there() && is_open(server) {
        return false;
    }
    let mut window = Window::new(client, FIRST_BYTES);
    let first = window.look(StreamOffset(0), FIRST_BYTES).bytes;
    if [&b"EHLO "[..], b"HELO ", b"LHLO ", b"MAIL FROM:"].iter().any(|word| starts_with(first, word)) {
        return server.end() == StreamOffset(0) || greeting.is_reply() || !greeting.is_there();
    }
    // FTP greets with the same number; it begins with a user.
    let is_text = !first.first().is_some_and(|b| !b.is_ascii_graphic() && !b.is_ascii_whitespace());
    let midstream = client.marks().contains(Marks::MIDSTREAM)
        || client.next_gap(StreamOffset(0)).is_some_and(|gap| gap.offset == StreamOffset(0));
    if greeting.is_of_mail() && is_text && !midstream {
        return !starts_with(first, b"USER ");
    }
    midstream && (greeting.is_reply() || !greeting.is_there()) && has_commands(client)
}

/// Whether the first bytes that were captured have lines that only a client of mail sends.
fn has_commands(client: &dyn Source) -> bool {
    let start = client.next_gap(StreamOffset(0)).filter(|gap| gap.offset == StreamOffset(0));
    let start = start.map_or(StreamOffset(0), |gap| gap.end());
    let mut window = Window::new(client, TELL_BYTES);
    let bytes = window.look(start, TELL_BYTES).bytes;
    let bytes = bytes.get(..TELL_BYTES).unwrap_or(bytes);
    let mut ended = false;
    bytes.split_inclusive(|b| *b == b'\n').any(|line| {
        let after_end = std::mem::replace(&mut ended, line == b".\r\n");
        starts_with(line, b"MAIL FROM:<")
            || starts_with(line, b"RCPT TO:<")
            || after_end && [&b"QUIT\r\n"[..], b"RSET\r\n"].iter().any(|word| starts_with(line, word))
    })
}

#[cfg(test)]
mod tests;
