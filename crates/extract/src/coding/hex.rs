//! Bytes as pairs of hexadecimal digits, with what stands between and before them in dumps and scripts: blanks, line ends, commas,
//! `0x` and `\x`.

use super::Coding;
use super::letters::{ByLetter, Letters};

/// The coding `hex`.
pub(super) const CODING: Coding = Coding { name: "hex", start: || Box::new(ByLetter::<Hex>::default()) };

#[derive(Default)]
struct Hex {
    /// The first digit of a pair.
    high: Option<u8>,
    /// Whether something stands there that is neither a digit nor between digits.
    damaged: bool,
    made: Vec<u8>,
}

impl Hex {
    fn letter(&mut self, byte: u8) {
        let digit = char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match (digit, self.high) {
            (Some(low), Some(high)) => {
                self.made.push(high << 4 | low);
                self.high = None;
            }
            (Some(high), None) => self.high = Some(high),
            (None, Some(0)) if matches!(byte, b'x' | b'X') => self.high = None,
            (None, None) if matches!(byte, b'x' | b'X' | b'\\' | b'%') => {}
            (None, _) => {
                let between = byte.is_ascii_whitespace() || matches!(byte, b',' | b';' | b':' | b'-');
                self.damaged |= !between;
            }
        }
    }
}

impl Letters for Hex {
    fn take(&mut self, byte: u8) {
        self.letter(byte);
    }

    fn end(&mut self) -> (bool, bool) {
        (self.damaged, self.high.is_some())
    }

    fn made(&mut self) -> &mut Vec<u8> {
        &mut self.made
    }
}

#[cfg(test)]
mod tests {
    use super::super::Fault;
    use super::super::tests::decoded;
    use super::*;

    #[test]
    fn digits_are_found_in_dumps_and_scripts() {
        let cases: &[(&[u8], &[u8], Option<Fault>)] = &[
            (b"", b"", None),
            (b"4d5A90", b"MZ\x90", None),
            (b"4d 5a\r\n9 0", b"MZ\x90", None),
            (b"0x4d, 0x5a,0X00", b"MZ\0", None),
            (b"\\x4d\\x5a", b"MZ", None),
            (b"4d:5a-90;00", b"MZ\x90\0", None),
            (b"4d5", b"M", Some(Fault::Truncated)),
            (b"4dZZ5a", b"MZ", Some(Fault::Damaged)),
        ];
        for (sent, meant, fault) in cases {
            for size in 1..=sent.len().max(1) {
                assert_eq!(decoded(&CODING, sent, size), (meant.to_vec(), *fault), "{}", sent.escape_ascii());
            }
        }
    }
}
