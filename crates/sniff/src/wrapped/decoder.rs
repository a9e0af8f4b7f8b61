//! Base64 and hexadecimal digits out of a text, piece by piece.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::Coding;
use crate::bytes::first;

/// Whatever the last letter's unused bits are: decoders that droppers use do not look at them.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// Takes a text as it comes and gives the bytes that it stands for, up to the first letter that is none of the coding. White
/// space, and between bytes in digits commas, are passed over.
#[derive(Clone, Debug)]
pub struct TextDecoder(State);

#[derive(Clone, Debug)]
enum State {
    /// Letters that are not decoded: fewer than four between pieces. Whether padding was seen.
    Base64(Vec<u8>, bool),
    Hex(Digits),
    Ended,
}

/// What comes next.
#[derive(Clone, Copy, Debug)]
enum Digits {
    /// A byte's first digit, or what may stand before it.
    First {
        /// Whether `0x` or the like did.
        marked: bool,
    },
    /// The rest of a mark, after its first letter.
    Mark,
    Second {
        digit: u8,
        marked: bool,
    },
}

impl TextDecoder {
    /// For one of the codings of texts; there is none for gzip.
    pub fn new(coding: Coding) -> Option<Self> {
        match coding {
            Coding::Base64 => Some(Self(State::Base64(Vec::new(), false))),
            Coding::Hex => Some(Self(State::Hex(Digits::First { marked: false }))),
            Coding::Gzip => None,
        }
    }

    /// Appends what the next piece of the text stands for. Answers with the offset in it of the first letter that is none of the
    /// coding; after that, nothing more comes, whatever is fed.
    pub fn feed(&mut self, piece: &[u8], plain: &mut Vec<u8>) -> Option<usize> {
        let ended = match &mut self.0 {
            State::Base64(letters, padded) => {
                let ended = piece.iter().position(|byte| {
                    match byte {
                        b' ' | b'\t' | b'\r' | b'\n' => {}
                        b'=' => *padded = true,
                        _ if *padded => return true,
                        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => letters.push(*byte),
                        b'-' => letters.push(b'+'),
                        b'_' => letters.push(b'/'),
                        _ => return true,
                    }
                    false
                });
                let whole = letters.len() / 4 * 4;
                decode(first(letters, whole), plain);
                letters.drain(..whole);
                ended
            }
            State::Hex(digits) => piece.iter().position(|byte| match digits.next(*byte, plain) {
                Some(next) => {
                    *digits = next;
                    false
                }
                None => true,
            }),
            State::Ended => Some(0),
        };
        if ended.is_some() {
            self.finish(plain);
        }
        ended
    }

    /// Appends what the text ends with.
    pub fn finish(&mut self, plain: &mut Vec<u8>) {
        match std::mem::replace(&mut self.0, State::Ended) {
            // One letter alone is not a byte.
            State::Base64(letters, _) if letters.len() > 1 => decode(&letters, plain),
            State::Hex(Digits::Second { digit, marked: true }) => plain.push(digit),
            _ => {}
        }
    }
}

/// All of these letters are of the alphabet, and not one more than a multiple of four, so it cannot fail.
fn decode(letters: &[u8], plain: &mut Vec<u8>) {
    _ = ENGINE.decode_vec(letters, plain);
}

impl Digits {
    fn next(self, byte: u8, plain: &mut Vec<u8>) -> Option<Self> {
        let digit = char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match (self, byte) {
            (Self::First { .. }, b' ' | b'\t' | b'\r' | b'\n' | b',') => Some(Self::First { marked: false }),
            (Self::First { marked: false }, b'\\' | b'&') => Some(Self::Mark),
            (Self::First { marked }, _) => Some(Self::Second { digit: digit?, marked }),
            (Self::Mark, b'x' | b'X' | b'h' | b'H') => Some(Self::First { marked: true }),
            (Self::Mark, _) => None,
            (Self::Second { digit: 0, marked: false }, b'x' | b'X') => Some(Self::First { marked: true }),
            // With a mark before it, a byte may have one digit.
            (Self::Second { digit, marked: true }, b' ' | b'\t' | b'\r' | b'\n' | b',') => {
                plain.push(digit);
                Some(Self::First { marked: false })
            }
            (Self::Second { digit: high, .. }, _) => {
                plain.push(high << 4 | digit?);
                Some(Self::First { marked: false })
            }
        }
    }
}
