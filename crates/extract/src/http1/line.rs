//! The first line of a message: whether bytes begin with one, and what it says (RFC 9112 §3 and §4), with the leniency of
//! the programs that are really out there.

use crate::message::Version;

/// What one direction of a connection carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Requests.
    Requests,
    /// Responses.
    Responses,
}

/// Whether bytes begin with a first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// They do.
    Yes,
    /// They do not.
    No,
    /// So far they may; more of them would tell.
    Unclear,
}

/// A first line, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line<'b> {
    /// A request line.
    Request { method: &'b [u8], target: &'b [u8], version: Version },
    /// A status line.
    Response { status: u16, version: Version },
}

/// The longest method that is believed; registered ones have at most 17 bytes.
const METHOD_BYTES: usize = 32;
/// The longest version that is believed, `HTTP/` included.
const VERSION_BYTES: usize = 16;
/// The longest run of blanks between the parts of a status line.
const BLANKS: usize = 16;

/// Whether `bytes` begin with a first line of this role. Only line ends, versions and status codes are looked at, so that
/// a strange target or reason does not lose the stream.
pub(super) fn begins(bytes: &[u8], role: Role) -> Seen {
    match role {
        Role::Requests => begins_request(bytes),
        Role::Responses => begins_response(bytes),
    }
}

fn begins_request(bytes: &[u8]) -> Seen {
    let method = bytes.iter().take(METHOD_BYTES + 1).take_while(|b| is_token(**b)).count();
    match bytes.get(method) {
        None => return Seen::Unclear,
        Some(b' ' | b'\t') if method > 0 && method <= METHOD_BYTES => {}
        Some(_) => return Seen::No,
    }
    let Some(end) = bytes.iter().position(|b| *b == b'\n') else { return Seen::Unclear };
    if parse(bytes.get(..end).unwrap_or_default(), Role::Requests).is_some() { Seen::Yes } else { Seen::No }
}

fn begins_response(bytes: &[u8]) -> Seen {
    let starts = |name: &[u8]| bytes.iter().zip(name).all(|(b, n)| b.eq_ignore_ascii_case(n));
    if !starts(b"HTTP/") && !starts(b"ICY ") {
        return Seen::No;
    }
    // Version, blanks and status end long before this.
    let enough = VERSION_BYTES + BLANKS + 4;
    let line_ended = bytes.iter().any(|b| matches!(b, b'\r' | b'\n'));
    match status_line(first(bytes, Role::Responses)) {
        Some((_, Some(_))) if bytes.len() >= enough || line_ended => Seen::Yes,
        Some((_, None)) if line_ended => Seen::Yes,
        None if bytes.len() >= enough || line_ended => Seen::No,
        _ => Seen::Unclear,
    }
}

/// The first line of a head, without its end.
pub(super) fn first(head: &[u8], role: Role) -> &[u8] {
    let ends = |b: &u8| *b == b'\n' || (*b == b'\r' && role == Role::Responses);
    head.split(ends).next().unwrap_or_default().trim_ascii_end()
}

/// Takes a first line apart; what comes after its end is not looked at.
pub(super) fn parse(line: &[u8], role: Role) -> Option<Line<'_>> {
    let line = first(line, role);
    match role {
        Role::Requests => {
            let (method, rest) = split_at_blank(line)?;
            let cut = rest.iter().rposition(|b| is_blank(*b)).map_or(0, |at| at + 1);
            let (target, version) = rest.split_at_checked(cut)?;
            let version = parse_version(version).filter(|version| version.major <= 1)?;
            Some(Line::Request { method, target: target.trim_ascii(), version })
        }
        Role::Responses => {
            let (version, status) = status_line(line)?;
            Some(Line::Response { status: status.unwrap_or(200), version })
        }
    }
}

/// Whether bytes begin with a first line that has all its parts: where there may be something else as well.
pub(super) fn surely_begins(bytes: &[u8], role: Role) -> bool {
    begins(bytes, role) == Seen::Yes && !lacks_status(bytes, role)
}

/// Whether a response has no status code that is one; 200 is then assumed, as browsers do.
pub(super) fn lacks_status(head: &[u8], role: Role) -> bool {
    role == Role::Responses && matches!(status_line(first(head, role)), Some((_, None)))
}

/// Version and status code; the latter `None` when there is none of three digits.
fn status_line(line: &[u8]) -> Option<(Version, Option<u16>)> {
    let (name, rest) = split_at_blank(line).unwrap_or((line, b""));
    let icy = name.eq_ignore_ascii_case(b"ICY");
    let version = if icy { Version { major: 1, minor: 0 } } else { begins_version(name)? };
    let blanks = rest.iter().take_while(|b| is_blank(**b)).count();
    let code = rest.get(blanks..).filter(|_| blanks < BLANKS).unwrap_or_default();
    let status = code.split_first_chunk::<3>().and_then(|(digits, after)| {
        let is_code = digits.iter().all(u8::is_ascii_digit) && !after.first().is_some_and(u8::is_ascii_digit);
        is_code.then(|| digits.iter().fold(0, |n, digit| n * 10 + u16::from(digit - b'0')))
    });
    // Of the name alone nothing can be assumed.
    (!icy || status.is_some()).then_some((version, status))
}

/// What is before and after the first blank; both parts may be empty but the first.
fn split_at_blank(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = line.iter().position(|b| is_blank(*b)).filter(|at| *at > 0)?;
    Some((line.get(..at)?, line.get(at + 1..)?))
}

/// `HTTP/1.1`, in any case, with any digits.
fn parse_version(bytes: &[u8]) -> Option<Version> {
    let digits = bytes.get(5..).filter(|_| bytes.len() <= VERSION_BYTES)?;
    let all = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let whole = digits.splitn(2, |b| *b == b'.').all(all);
    begins_version(bytes).filter(|_| whole)
}

/// A version, and whatever follows it.
fn begins_version(bytes: &[u8]) -> Option<Version> {
    let (name, after) = bytes.split_first_chunk::<5>()?;
    if !name.eq_ignore_ascii_case(b"HTTP/") {
        return None;
    }
    let (major, after) = number(after)?;
    let minor = after.strip_prefix(b".").and_then(number).map_or(0, |(minor, _)| minor);
    Some(Version { major, minor })
}

/// The number that bytes begin with, and what follows it.
fn number(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let digits = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, after) = bytes.split_at_checked(digits).filter(|(digits, _)| !digits.is_empty())?;
    Some((digits.iter().fold(0u8, |n, digit| n.saturating_mul(10).saturating_add(digit - b'0')), after))
}

const fn is_blank(b: u8) -> bool {
    matches!(b, b' ' | b'\t')
}

/// RFC 9110 §5.6.2.
pub(super) const fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric()
        || matches!(
            b,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines_are_known() {
        let yes: &[(&[u8], Role)] = &[
            (b"GET / HTTP/1.1\r\n", Role::Requests),
            (b"GET / HTTP/1.0\n", Role::Requests),
            (b"M-SEARCH * HTTP/1.1\r\n", Role::Requests),
            (b"GET /with blanks in it HTTP/1.1\r\n", Role::Requests),
            (b"GET  /\xff\x01 HTTP/1.1 \r\n", Role::Requests),
            (b"HTTP/1.1 200 OK\r\n", Role::Responses),
            (b"HTTP/1.1 200\r\n", Role::Responses),
            (b"http/1.0  404  Not Found\n", Role::Responses),
            (b"HTTP/2.0 200 OK and a reason that goes on and on", Role::Responses),
            (b"ICY 200 OK\r\n", Role::Responses),
            (b"HTTP/1.1 200 OK\rA: b\r\n", Role::Responses),
            (b"HTTP/1.1 2000 OK\r\n", Role::Responses),
            (b"HTTP/1.1 OK\r\n", Role::Responses),
            (b"HTTP/1.1\r\n", Role::Responses),
            (b"HTTP/1.1odd\n", Role::Responses),
        ];
        let no: &[(&[u8], Role)] = &[
            (b"PRI * HTTP/2.0\r\n", Role::Requests),
            (b"OPTIONS rtsp://x RTSP/1.0\r\n", Role::Requests),
            (b"EHLO there\r\n", Role::Requests),
            (b"GET /\r\n", Role::Requests),
            (b"GET / HTTP/1.\r\n", Role::Requests),
            (b"GET / HTTP/1x1\r\n", Role::Requests),
            (b"GET / HTTP/1.1.1\r\n", Role::Requests),
            (b" GET / HTTP/1.1\r\n", Role::Requests),
            (b"\x16\x03\x01", Role::Requests),
            (b"SSH-2.0-OpenSSH\r\n", Role::Responses),
            (b"HTTP/x 200 OK\r\n", Role::Responses),
            (b"ICY water and more of it, enough to tell\r\n", Role::Responses),
            (b"220 ready\r\n", Role::Responses),
        ];
        let unclear: &[(&[u8], Role)] = &[
            (b"", Role::Requests),
            (b"GET", Role::Requests),
            (b"GET / HTTP/1.1", Role::Requests),
            (b"", Role::Responses),
            (b"HTT", Role::Responses),
            (b"HTTP/1.1 20", Role::Responses),
            (b"HTTP/1.1 200", Role::Responses),
            (b"HTTP/1.1 and a line without a code that does not end", Role::Responses),
        ];
        for (cases, seen) in [(yes, Seen::Yes), (no, Seen::No), (unclear, Seen::Unclear)] {
            for (bytes, role) in cases {
                assert_eq!(begins(bytes, *role), seen, "{}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn lines_are_taken_apart() {
        let version = Version { major: 1, minor: 1 };
        assert_eq!(
            parse(b"GET /a b HTTP/1.1\r\nHost: x", Role::Requests),
            Some(Line::Request { method: b"GET", target: b"/a b", version })
        );
        assert_eq!(parse(b"HTTP/1.1 304 Not", Role::Responses), Some(Line::Response { status: 304, version }));
        assert_eq!(parse(b"HTTP/1.1odd\rA: b", Role::Responses), Some(Line::Response { status: 200, version }));
        for (line, lacks) in [(&b"HTTP/1.1 2000 OK"[..], true), (b"HTTP/1.1", true), (b"HTTP/1.1 204 No", false)] {
            assert_eq!(lacks_status(line, Role::Responses), lacks);
        }
        let absurd = Version { major: 1, minor: 255 };
        assert_eq!(
            parse(b"HTTP/1.999 304 Not", Role::Responses),
            Some(Line::Response { status: 304, version: absurd })
        );
    }
}
