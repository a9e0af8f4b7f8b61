//! The tolerant splitter: lines into names and values, whatever they hold. It never gives up, and loses no byte of a value.

use std::iter::FusedIterator;

use super::line::Role;

/// Name and value of each field of a head or trailer section, in order: without blanks around them, folds (RFC 9112 §5.2)
/// left in the value. A line without a colon is a name without a value.
#[derive(Clone, Debug)]
pub(super) struct Split<'b> {
    rest: &'b [u8],
    role: Role,
}

/// Splits field lines; `lines` begins after the first line of a head.
pub(super) const fn split(lines: &[u8], role: Role) -> Split<'_> {
    Split { rest: lines, role }
}

/// Splits the field lines of a head, its first line left out.
pub(super) fn after_first_line(head: &[u8], role: Role) -> Split<'_> {
    split(head.get(line_end(head, 0, role)..).unwrap_or_default(), role)
}

impl<'b> Iterator for Split<'b> {
    type Item = (&'b [u8], &'b [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut end = line_end(self.rest, 0, self.role);
            if end == 0 {
                return None;
            }
            // A line that begins with a blank goes on with the value of the one before it.
            while matches!(self.rest.get(end), Some(b' ' | b'\t'))
                && !is_empty(self.rest.get(..end).unwrap_or_default())
            {
                end = line_end(self.rest, end, self.role);
            }
            let (line, rest) = self.rest.split_at_checked(end)?;
            self.rest = rest;
            if is_empty(line) {
                continue;
            }
            let colon = line.iter().position(|b| *b == b':').unwrap_or(line.len());
            let (name, value) = line.split_at_checked(colon)?;
            return Some((name.trim_ascii(), value.get(1..).unwrap_or_default().trim_ascii()));
        }
    }
}

impl FusedIterator for Split<'_> {}

/// The place after the line that begins at `from`. In responses a carriage return alone ends a line, as it does for
/// browsers; in requests it does not, as it does not for servers (RFC 9112 §2.2 has it made a blank).
fn line_end(bytes: &[u8], from: usize, role: Role) -> usize {
    let after = bytes.get(from..).unwrap_or_default();
    let ends = |b: &u8| *b == b'\n' || (*b == b'\r' && role == Role::Responses);
    let Some(at) = after.iter().position(ends) else { return bytes.len() };
    from + at + if after.get(at..).is_some_and(|end| end.starts_with(b"\r\n")) { 2 } else { 1 }
}

/// Whether there is a carriage return that no line feed follows.
pub(super) fn has_bare_return(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| matches!(pair, [b'\r', after] if *after != b'\n'))
}

/// Whether there is nothing on a line but its end.
fn is_empty(line: &[u8]) -> bool {
    line.iter().all(|b| matches!(b, b'\r' | b'\n'))
}

/// The place after the first empty line: where a head ends. Bare LF ends a line too (RFC 9112 §2.2). A line of two carriage
/// returns is not empty: programs take off one, if any, and go on.
pub(super) fn head_end(bytes: &[u8]) -> Option<usize> {
    end_behind_returns(bytes, 1)
}

/// The place after the first line of nothing but carriage returns: where a head ends for some programs, curl among them. Asked
/// only where there is no empty line.
pub(super) fn odd_head_end(bytes: &[u8]) -> Option<usize> {
    end_behind_returns(bytes, usize::MAX)
}

/// The place after the first line of at most so many carriage returns.
fn end_behind_returns(bytes: &[u8], most: usize) -> Option<usize> {
    let mut at = 0;
    loop {
        let after = bytes.get(at..)?;
        at += after.iter().position(|b| *b == b'\n')? + 1;
        let line = bytes.get(at..)?;
        let returns = line.iter().take(most).take_while(|b| **b == b'\r').count();
        if line.get(returns) == Some(&b'\n') {
            return Some(at + returns + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_split_whatever_they_hold() {
        let lines = b"Host: a\r\nX : b \nno colon\r\n:empty name\r\nFold: c;\r\n\td\r\n  e\r\nNul: \0\xff:\r\r\nLast:";
        let found: Vec<_> = split(lines, Role::Requests).collect();
        let expected: [(&[u8], &[u8]); 7] = [
            (b"Host", b"a"),
            (b"X", b"b"),
            (b"no colon", b""),
            (b"", b"empty name"),
            (b"Fold", b"c;\r\n\td\r\n  e"),
            (b"Nul", b"\0\xff:"),
            (b"Last", b""),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_return_alone_ends_a_line_of_a_response() {
        let head = b"HTTP/1.1 200 OK\rA: b\r\rC: d\r e\r\r\nF: g\r\n\r\n";
        let expected: [(&[u8], &[u8]); 3] = [(b"A", b"b"), (b"C", b"d\r e"), (b"F", b"g")];
        assert_eq!(after_first_line(head, Role::Responses).collect::<Vec<_>>(), expected);
        let found: Vec<_> = split(b"A: b\rC: d\r\n", Role::Requests).collect();
        assert_eq!(found, [(&b"A"[..], &b"b\rC: d"[..])]);
        assert!(has_bare_return(head) && !has_bare_return(b"a\r\nb\n\r\n"));
    }

    #[test]
    fn a_head_ends_at_its_first_empty_line() {
        let cases: &[(&[u8], Option<usize>)] = &[
            (b"a\r\n\r\nb\r\n\r\n", Some(5)),
            (b"a\n\nb", Some(3)),
            (b"a\n\r\r\nb\n\nc", Some(8)),
            (b"a\n\r\r\n\r\nb", Some(7)),
            (b"a\r\n \r\n\r\n", Some(8)),
            (b"a\r\n", None),
            (b"a\r\n\r", None),
            (b"", None),
        ];
        for (bytes, end) in cases {
            assert_eq!(head_end(bytes), *end, "{}", bytes.escape_ascii());
        }
        assert_eq!(odd_head_end(b"a\n\r\r\nb"), Some(5));
        assert_eq!(odd_head_end(b"a\r\n\r"), None);
    }
}
