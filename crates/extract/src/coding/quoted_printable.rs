//! The coding `quoted-printable` (RFC 2045 §6.7), read as mail readers read it: small digits, line ends of LF alone, and escapes that
//! are none, left as they are.

use super::Coding;
use super::letters::{ByLetter, Letters};

/// The coding `quoted-printable`.
pub(super) const CODING: Coding =
    Coding { name: "quoted-printable", start: || Box::new(ByLetter::<QuotedPrintable>::default()) };

/// The longest run of blanks that is kept until it is known whether the line ends after it. A line has at most 76 characters
/// (RFC 2045 §6.7 (5)).
const BLANKS: usize = 4 << 10;

#[derive(Default)]
struct QuotedPrintable {
    /// What may come to nothing, or to something else: blanks before a line end, or what began with `=`.
    held: Vec<u8>,
    damaged: bool,
    made: Vec<u8>,
}

impl QuotedPrintable {
    fn letter(&mut self, byte: u8) {
        match self.held.as_slice() {
            [] => self.begin(byte),
            [b'=', rest @ ..] => self.escaped(rest.first().copied(), byte),
            // Blanks, and perhaps a return after them.
            [.., b'\r'] => {
                if byte == b'\n' {
                    // RFC 2045 §6.7 (3): blanks at the end of a line were not sent.
                    self.held.clear();
                    self.made.extend(b"\r\n");
                } else {
                    self.give_back();
                    self.begin(byte);
                }
            }
            _ => match byte {
                b'\n' => {
                    self.held.clear();
                    self.made.push(b'\n');
                }
                b' ' | b'\t' if self.held.len() >= BLANKS => {
                    self.give_back();
                    self.held.push(byte);
                }
                b' ' | b'\t' | b'\r' => self.held.push(byte),
                _ => {
                    self.give_back();
                    self.begin(byte);
                }
            },
        }
    }

    fn begin(&mut self, byte: u8) {
        match byte {
            b'=' | b' ' | b'\t' | b'\r' => self.held.push(byte),
            _ => self.made.push(byte),
        }
    }

    /// A byte after `=`, or after `=` and `first`.
    fn escaped(&mut self, first: Option<u8>, byte: u8) {
        let blank = |byte: u8| matches!(byte, b' ' | b'\t' | b'\r');
        match first {
            None if byte == b'\n' => self.held.clear(),
            None if byte.is_ascii_hexdigit() || blank(byte) => self.held.push(byte),
            Some(first) if blank(first) => match byte {
                // A soft line break, with blanks that were added on the way (RFC 2045 §6.7 (3), (5)).
                b'\n' => self.held.clear(),
                _ if blank(byte) && self.held.len() < BLANKS => self.held.push(byte),
                _ => self.left_as_is(byte),
            },
            Some(first) if byte.is_ascii_hexdigit() => {
                self.made.push(digit(first) << 4 | digit(byte));
                self.held.clear();
            }
            _ => self.left_as_is(byte),
        }
    }

    /// What begins with `=` and is no escape.
    fn left_as_is(&mut self, byte: u8) {
        self.damaged = true;
        self.give_back();
        self.begin(byte);
    }

    fn give_back(&mut self) {
        self.made.append(&mut self.held);
    }
}

impl Letters for QuotedPrintable {
    fn take(&mut self, byte: u8) {
        self.letter(byte);
    }

    fn end(&mut self) -> (bool, bool) {
        let mut cut = false;
        match self.held.as_slice() {
            // The line end of a last soft break belongs to the delimiter after it.
            [b'='] | [b'=', b' ' | b'\t' | b'\r', ..] => self.held.clear(),
            [b'=', ..] => {
                cut = true;
                self.give_back();
            }
            // A return that is no line end is kept, and so is what is before it.
            [.., b'\r'] => self.give_back(),
            _ => self.held.clear(),
        }
        (self.damaged, cut)
    }

    fn made(&mut self) -> &mut Vec<u8> {
        &mut self.made
    }
}

/// The value of a hexadecimal digit.
const fn digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::decoded;
    use super::super::{Decoder, Fault};
    use super::*;

    #[test]
    fn what_mail_readers_take_is_taken() {
        let cases: &[(&[u8], &[u8], Option<Fault>)] = &[
            (b"", b"", None),
            (b"a=3Db\r\nc", b"a=b\r\nc", None),
            (b"J=c3=BCrgen", "J\u{fc}rgen".as_bytes(), None),
            (b"one=\r\nline=\n!", b"oneline!", None),
            (b"one= \t\r\nline", b"oneline", None),
            (b"blanks \t \r\nare gone \nhere ", b"blanks\r\nare gone\nhere", None),
            (b"blanks  stay", b"blanks  stay", None),
            (b"a return\rstays \r.", b"a return\rstays \r.", None),
            (b"last=", b"last", None),
            (b"last=\r", b"last", None),
            (b"last=4", b"last=4", Some(Fault::Truncated)),
            (b"a=zb == =4", b"a=zb == =4", Some(Fault::Damaged)),
            (b"==41", b"=A", Some(Fault::Damaged)),
            (b"=4=41", b"=4A", Some(Fault::Damaged)),
            (b"\xff\0", b"\xff\0", None),
        ];
        for (sent, meant, fault) in cases {
            for size in 1..=sent.len().max(1) {
                assert_eq!(decoded(&CODING, sent, size), (meant.to_vec(), *fault), "{}", sent.escape_ascii());
            }
        }
    }

    #[test]
    fn blanks_without_end_are_not_kept() {
        let sent = [b' '; 3 * BLANKS];
        let mut decoder = ByLetter::<QuotedPrintable>::default();
        decoder.push(&sent, &mut |_| Ok(())).unwrap();
        assert!(decoder.0.held.len() <= BLANKS + 1);
    }
}
