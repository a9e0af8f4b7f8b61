//! A head: its first line and its fields, by `httparse`, and by the tolerant splitter where that refuses.

use streamdb_types::StreamOffset;

use super::line::{self, Line, Role};
use super::split::{after_first_line, has_bare_return, split};
use crate::message::{Kind, Message, Version};
use crate::notes::Notes;
use crate::source::{Read, Source};
use crate::span::Span;

/// A head, taken apart; it borrows the bytes.
pub(super) struct Parsed<'b> {
    pub line: Line<'b>,
    /// Names and values in order.
    pub fields: Vec<(&'b [u8], &'b [u8])>,
    /// How the grammar was broken.
    pub notes: Notes,
}

/// Takes a head apart, whole or cut short. `None` when its first line is none.
pub(super) fn parse(head: &[u8], role: Role) -> Option<Parsed<'_>> {
    strict::<128>(head, role).or_else(|| strict::<512>(head, role)).or_else(|| {
        let line = line::parse(head, role)?;
        let mut notes = Notes::TOLERANT;
        if has_bare_return(head) {
            notes.insert(Notes::BARE_RETURN);
        }
        if line::lacks_status(head, role) {
            notes.insert(Notes::NO_STATUS);
        }
        Some(Parsed { line, fields: after_first_line(head, role).collect(), notes })
    })
}

/// By `httparse`, with room for `N` fields.
pub(super) fn strict<const N: usize>(head: &[u8], role: Role) -> Option<Parsed<'_>> {
    let mut room = [httparse::EMPTY_HEADER; N];
    let (line, n, fields) = match role {
        Role::Requests => {
            let mut request = httparse::Request::new(&mut room);
            let Ok(httparse::Status::Complete(n)) = request.parse(head) else { return None };
            let version = Version { major: 1, minor: request.version? };
            let line = Line::Request { method: request.method?.as_bytes(), target: request.path?.as_bytes(), version };
            (line, n, request.headers)
        }
        Role::Responses => {
            let mut response = httparse::Response::new(&mut room);
            let mut config = httparse::ParserConfig::default();
            config.allow_obsolete_multiline_headers_in_responses(true);
            let Ok(httparse::Status::Complete(n)) = config.parse_response(&mut response, head) else { return None };
            let version = Version { major: 1, minor: response.version? };
            (Line::Response { status: response.code?, version }, n, response.headers)
        }
    };
    // Two opinions on where the head ends would frame the body wrongly.
    (n == head.len()).then(|| Parsed {
        line,
        fields: fields.iter().map(|field| (field.name.as_bytes(), field.value.trim_ascii())).collect(),
        notes: Notes::default(),
    })
}

/// The head of a message, read again: every byte of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    bytes: Vec<u8>,
    role: Role,
}

impl Head {
    /// The bytes as sent, empty line included.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The first line without its end.
    pub fn first_line(&self) -> &[u8] {
        line::first(&self.bytes, self.role)
    }

    /// Names and values as sent, in order, without the blanks around them.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        after_first_line(&self.bytes, self.role)
    }
}

/// Reads the head of a message from the stream that it was found in; `None` for a message of kind stream.
pub fn head(message: &Message, source: &dyn Source) -> Option<Head> {
    Some(Head { role: role(message)?, bytes: read(source, message.head) })
}

/// What a message is; `None` for one of kind stream.
const fn role(message: &Message) -> Option<Role> {
    match message.kind {
        Kind::Request { .. } => Some(Role::Requests),
        Kind::Response { .. } => Some(Role::Responses),
        Kind::Stream => None,
    }
}

/// Reads the trailer fields of a message (RFC 9112 §7.1.2): names and values as sent, in order.
pub fn trailers(message: &Message, source: &dyn Source) -> Vec<(Vec<u8>, Vec<u8>)> {
    let Some(role) = role(message) else { return Vec::new() };
    let bytes = read(source, message.trailers);
    split(&bytes, role).map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
}

/// The bytes of a short span, up to the first hole in it.
fn read(source: &dyn Source, span: Span) -> Vec<u8> {
    /// Above every limit on heads; a span that claims more is not one of ours.
    const MOST: u64 = 16 << 20;
    let mut bytes = vec![0; usize::try_from(span.len().min(MOST)).unwrap_or(0)];
    let mut filled = 0;
    while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
        let at: StreamOffset = span.start.add(filled as u64);
        match source.read(at, room) {
            Read::Bytes(n) if n > 0 => filled += n,
            _ => break,
        }
    }
    bytes.truncate(filled);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tolerant splitter is the twin of `httparse`: where the latter accepts, both say the same.
    #[test]
    fn both_parsers_agree_on_what_is_valid() {
        let heads: &[(&[u8], Role)] = &[
            (b"GET /a?b HTTP/1.1\r\nHost: x\r\nAccept:*/*\r\nEmpty:\r\n\r\n", Role::Requests),
            (b"POST / HTTP/1.0\nA: b\nC:   d  \n\n", Role::Requests),
            (b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n", Role::Responses),
            (b"HTTP/1.0 404\r\n\r\n", Role::Responses),
            (b"HTTP/1.1 200 OK\r\nA: b;\r\n c\r\nD: e\r\n\r\n", Role::Responses),
        ];
        for (bytes, role) in heads {
            let strictly = strict::<128>(bytes, *role).unwrap();
            assert_eq!(Some(strictly.line), line::parse(bytes, *role));
            assert_eq!(strictly.fields, after_first_line(bytes, *role).collect::<Vec<_>>(), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn absurd_heads_are_still_taken_apart() {
        let mut many = b"GET / HTTP/1.1\r\n".to_vec();
        for i in 0..600 {
            many.extend(format!("X-{i}: {i}\r\n").bytes());
        }
        many.extend(b"\r\n");
        let parsed = parse(&many, Role::Requests).unwrap();
        assert!(parsed.notes == Notes::TOLERANT && parsed.fields.len() == 600);

        let parsed =
            parse(b"HTTP/1.1 200 \x01\x02\r\nBad Name: \0\r\nContent-Length: 5\r\n\r\n", Role::Responses).unwrap();
        assert_eq!(parsed.notes, Notes::TOLERANT);
        assert_eq!(parsed.fields[1], (&b"Content-Length"[..], &b"5"[..]));
    }
}
