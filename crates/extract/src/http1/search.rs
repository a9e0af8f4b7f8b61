//! Where the messages go on after a place where the framing was lost.
//!
//! The rule is part of the format, as the ordinals of later messages depend on it: the next message begins at the first
//! *sure head* at or after the loss. A sure head is one that `httparse` accepts as it is, with at least one field and at
//! most [`HEAD_BYTES`] long, that lies before any hole. A request line is taken to begin at the longest run of token
//! bytes that ends in a registered method. The search ends after a number of
//! bytes, or of near misses.

use streamdb_types::StreamOffset;

use super::head;
use super::line::Role;
use super::split::head_end;
use crate::window::{Stop, Window};

/// The longest head that is believed when found by searching.
pub(super) const HEAD_BYTES: usize = 16 << 10;
/// The longest request line that is believed when found by searching.
const LINE_BYTES: usize = 8 << 10;
/// How much is looked at in one go at most; more than a line.
const STEP_BYTES: usize = 64 << 10;
/// How much is looked at first: the next head is often near.
const FIRST_BYTES: usize = 1 << 10;
/// Near misses in a stream after which searching in it is given up: each costs as much as the longest head.
pub(super) const MISSES: u32 = 4096;
/// What every first line has.
const NEEDLE: &[u8; 7] = b"HTTP/1.";
/// The methods of RFC 9110, WebDAV and PATCH. A longer one comes before another that it ends in.
const METHODS: [&[u8]; 18] = [
    b"GET",
    b"HEAD",
    b"POST",
    b"PUT",
    b"DELETE",
    b"CONNECT",
    b"OPTIONS",
    b"TRACE",
    b"PROPPATCH",
    b"PATCH",
    b"PROPFIND",
    b"MKCOL",
    b"COPY",
    b"MOVE",
    b"UNLOCK",
    b"LOCK",
    b"REPORT",
    b"SEARCH",
];

/// The first sure head at or after `from`, searching at most `most` bytes and as long as `misses` last.
pub(super) fn find(
    window: &mut Window<'_>,
    from: StreamOffset,
    role: Role,
    most: u64,
    misses: &mut u32,
) -> Option<StreamOffset> {
    let mut at = from;
    let mut next = from;
    let mut want = FIRST_BYTES;
    while at.since(from) < most {
        let view = window.look(at, want);
        let (len, stop) = (view.bytes.len(), view.stop);
        let candidates: Vec<usize> = candidates(view.bytes, role).collect();
        for start in candidates {
            let start = at.add(start as u64);
            // Seen already, at the end of the step before.
            if start < next {
                continue;
            }
            if start.since(from) >= most {
                return None;
            }
            next = start.add(1);
            if is_sure(window, start, role) {
                return Some(start);
            }
            *misses = misses.saturating_sub(1);
            if *misses == 0 {
                return None;
            }
        }
        at = match stop {
            Some(Stop::Hole(gap)) => gap.end(),
            Some(Stop::End) => return None,
            None if want < STEP_BYTES => {
                want = want.saturating_mul(4).min(STEP_BYTES);
                continue;
            }
            // The last bytes are looked at again, with what follows them.
            None => at.add(len.saturating_sub(LINE_BYTES).max(1) as u64),
        };
    }
    None
}

/// Whether bytes begin with a registered method and a blank.
pub(super) fn begins_with_method(bytes: &[u8]) -> bool {
    METHODS.iter().any(|method| bytes.strip_prefix(*method).is_some_and(|rest| rest.starts_with(b" ")))
}

/// Whether a whole and valid head begins here.
fn is_sure(window: &mut Window<'_>, at: StreamOffset, role: Role) -> bool {
    let view = window.look(at, HEAD_BYTES);
    let bytes = view.bytes.get(..HEAD_BYTES).unwrap_or(view.bytes);
    let Some(end) = head_end(bytes) else { return false };
    let parsed = bytes.get(..end).and_then(|head| head::strict::<128>(head, role));
    parsed.is_some_and(|parsed| !parsed.fields.is_empty())
}

/// Where in `bytes` a first line could begin.
fn candidates(bytes: &[u8], role: Role) -> impl Iterator<Item = usize> + '_ {
    let needles = bytes.windows(NEEDLE.len()).enumerate().filter(|(_, w)| *w == NEEDLE).map(|(at, _)| at);
    needles.filter_map(move |at| match role {
        Role::Responses => Some(at),
        Role::Requests => request_start(bytes, at),
    })
}

/// The beginning of the request line whose version stands at `at`.
fn request_start(bytes: &[u8], at: usize) -> Option<usize> {
    let before = bytes.get(at.saturating_sub(LINE_BYTES)..at)?;
    let offset = at - before.len();
    let before = before.strip_suffix(b" ")?;
    let blank = before.iter().rposition(|b| matches!(b, b' ' | b'\n'))?;
    let words = before.get(..blank).filter(|_| before.get(blank) == Some(&b' '))?;
    let method = METHODS.iter().find(|method| words.ends_with(method))?;
    Some(offset + words.len() - method.len())
}

#[cfg(test)]
mod tests {
    use streamdb_types::GapKind;

    use super::*;
    use crate::memory::MemorySource;

    fn search(source: &MemorySource, from: u64, role: Role) -> Option<u64> {
        find(&mut Window::new(source, 16), StreamOffset(from), role, u64::MAX, &mut MISSES.clone()).map(|at| at.0)
    }

    #[test]
    fn heads_are_found_wherever_they_begin() {
        let response = b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n";
        for before in [0, 1, 50, STEP_BYTES - 10, STEP_BYTES, 3 * STEP_BYTES + 5] {
            let mut bytes = vec![b'x'; before];
            bytes.extend(response);
            bytes.extend(b"rest");
            assert_eq!(search(&MemorySource::new(bytes), 0, Role::Responses), Some(before as u64));

            let mut bytes = vec![b'x'; before];
            bytes.extend(b"GET / HTTP/1.1\r\nHost: y\r\n\r\n");
            assert_eq!(search(&MemorySource::new(bytes), 0, Role::Requests), Some(before as u64));
        }
    }

    #[test]
    fn what_only_looks_like_a_head_is_passed_over() {
        let bytes =
            b"see HTTP/1.1 or HTTP/1.1 200 OK\r\n\r\nor HTTP/1.0 200 OK\nbad header\n\nHTTP/1.1 200 OK\r\nA: b\r\n\r\n";
        let expected = bytes.len() as u64 - 25;
        assert_eq!(search(&MemorySource::new(*bytes), 0, Role::Responses), Some(expected));
        let bytes = b"log: \"GET / HTTP/1.1\" 200\nPOST /x HTTP/1.1\r\nA: b\r\n\r\n";
        assert_eq!(search(&MemorySource::new(*bytes), 0, Role::Requests), Some(26));
        assert_eq!(search(&MemorySource::new(*b"FOO / HTTP/1.1\r\nA: b\r\n\r\n"), 0, Role::Requests), None);
    }

    #[test]
    fn a_hole_is_stepped_over() {
        let bytes = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nHTTP/1.1 404 No\r\nA: b\r\n\r\n";
        let source = MemorySource::new(*bytes).with_gap(20, 3, GapKind::Missing);
        assert_eq!(search(&source, 0, Role::Responses), Some(25));
    }

    #[test]
    fn near_misses_are_counted() {
        let mut bytes = b"HTTP/1.1 200 OK\r\n".repeat(100_000);
        bytes.extend(b"A: b\r\n\r\n");
        assert_eq!(search(&MemorySource::new(bytes), 0, Role::Responses), None);
    }
}
