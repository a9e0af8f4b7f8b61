//! The line that ends a mail: a dot alone (RFC 5321 §4.1.1.4, RFC 1939 §3).
//!
//! A line ends with CRLF. Only where the line before the mail ended with LF alone does LF alone count in the mail as well; else it
//! would be in the sender's hands where one mail ends and the next begins.

use memchr::memchr;

pub(crate) struct EndOfData {
    /// What begins a line behind the mail.
    next: &'static [u8],
    /// Whether LF alone ends a line.
    lf: bool,
    /// Whether a line begins at the next byte.
    begins: bool,
    /// Whether the byte before was CR.
    returned: bool,
    /// Whether the line began after LF alone.
    bare: bool,
    /// Whether bytes were missing: the end may have been among them.
    lost: bool,
    odd_dots: bool,
}

/// What is in some bytes of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The mail ends before the first of these places, and what follows begins at the second one.
    End(usize, usize),
    /// Bytes were missing, and a line that begins here is surely a command.
    Command(usize),
    /// So many bytes belong to the mail; those after them are to be looked at again, with more.
    More(usize),
}

impl EndOfData {
    /// How many bytes are needed to tell what a line is.
    pub(crate) const LOOK_BYTES: usize = 16;
    /// At the beginning of a mail. After a hole, a line that begins with `next`, which is no longer than
    /// [`LOOK_BYTES`](Self::LOOK_BYTES), is surely none of the mail; an empty one is never asked for.
    pub(crate) const fn new(lf: bool, next: &'static [u8]) -> Self {
        Self { next, lf, begins: true, returned: false, bare: false, lost: false, odd_dots: false }
    }

    /// Bytes are missing here.
    pub(crate) const fn lose(&mut self) {
        (self.begins, self.returned, self.lost) = (false, false, true);
    }

    /// Whether lines begin with a dot after LF alone, where it is not known who takes it off.
    pub(crate) const fn has_odd_dots(&self) -> bool {
        self.odd_dots
    }

    /// Looks at the next bytes: [`LOOK_BYTES`](Self::LOOK_BYTES) at least where there are more.
    pub(crate) fn find(&mut self, bytes: &[u8], more: bool) -> Seen {
        let mut at = 0;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            if self.begins {
                match rest {
                    [b'.', b'\r', b'\n', ..] => return Seen::End(at, at + 3),
                    [b'.', b'\n', ..] if self.lf => return Seen::End(at, at + 2),
                    [] => return Seen::More(at),
                    [b'.'] | [b'.', b'\r'] if more => return Seen::More(at),
                    _ => {}
                }
                if self.lost && !self.next.is_empty() {
                    let shown = rest.get(..self.next.len()).unwrap_or(rest);
                    if self.next.get(..shown.len()).is_some_and(|next| next.eq_ignore_ascii_case(shown)) {
                        match shown.len() == self.next.len() {
                            true => return Seen::Command(at),
                            false if more => return Seen::More(at),
                            false => {}
                        }
                    }
                }
                self.odd_dots |= self.bare && rest.starts_with(b".");
                self.begins = false;
            }
            let Some(end) = memchr(b'\n', rest) else {
                if let Some(last) = rest.last() {
                    self.returned = *last == b'\r';
                }
                return Seen::More(bytes.len());
            };
            let before = end.checked_sub(1).and_then(|end| rest.get(end));
            let returned = before.map_or(self.returned, |before| *before == b'\r');
            (self.begins, self.bare, self.returned) = (returned || self.lf, !returned, false);
            at += end + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Where the mail ends and what follows begins, with pieces of this size.
    fn ends(bytes: &[u8], lf: bool, size: usize) -> Option<(usize, usize)> {
        let mut data = EndOfData::new(lf, b"");
        let mut at = 0;
        while at < bytes.len() {
            let piece = &bytes[at..bytes.len().min(at + size.max(3))];
            match data.find(piece, at + piece.len() < bytes.len()) {
                Seen::End(end, after) => return Some((at + end, at + after)),
                Seen::Command(_) => unreachable!("nothing was missing"),
                Seen::More(n) => {
                    assert!(n > 0);
                    at += n;
                }
            }
        }
        None
    }

    /// The slow twin.
    fn slow(bytes: &[u8], lf: bool) -> Option<(usize, usize)> {
        let ends: &[&[u8]] = if lf { &[b".\r\n", b".\n"] } else { &[b".\r\n"] };
        (0..bytes.len()).find_map(|at| {
            let begins = at == 0 || bytes[..at].ends_with(b"\r\n") || lf && bytes[..at].ends_with(b"\n");
            let end = ends.iter().find(|end| begins && bytes[at..].starts_with(end))?;
            Some((at, at + end.len()))
        })
    }

    proptest! {
        #[test]
        fn it_finds_what_its_twin_finds(mail in "[.\r\na]{0,40}", lf: bool, size in 3usize..12) {
            prop_assert_eq!(ends(mail.as_bytes(), lf, size), slow(mail.as_bytes(), lf));
        }
    }
}
