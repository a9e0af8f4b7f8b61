//! The coding `base64` (RFC 2045 §6.8), read as mail readers read it: line ends and blanks anywhere, padding that lacks, and data
//! that goes on after padding.

use super::Coding;
use super::letters::{ByLetter, Letters};

/// The coding `base64`.
pub(super) const CODING: Coding = Coding { name: "base64", start: || Box::new(ByLetter::<Base64>::default()) };

/// Six bits of a quantum at a time.
#[derive(Default)]
struct Base64 {
    /// The bits of the quantum so far.
    bits: u32,
    /// How many characters they are of, 0 to 3.
    held: u8,
    /// Whether padding came: data after it is two codings in a row, which the rules do not know.
    padded: bool,
    /// Whether padding stands where none can be, data goes on after it, or a character is in no alphabet.
    damaged: bool,
    made: Vec<u8>,
}

impl Base64 {
    fn letter(&mut self, byte: u8) {
        match value(byte) {
            Some(six) => {
                self.damaged |= self.padded;
                self.bits = self.bits << 6 | u32::from(six);
                self.held += 1;
                if self.held == 4 {
                    let [_, a, b, c] = self.bits.to_be_bytes();
                    self.made.extend([a, b, c]);
                    (self.bits, self.held) = (0, 0);
                }
            }
            None if byte == b'=' => {
                // One that is too many is no harm; one after a single character is.
                self.damaged |= self.held == 1;
                self.end_quantum();
                self.padded = true;
            }
            // RFC 2045 §6.8: characters outside the alphabet are ignored, but may tell of damage.
            None => self.damaged |= !byte.is_ascii_whitespace(),
        }
    }

    /// Hands on the whole bytes of a quantum that is not full; whether what is left of it is more than filling.
    fn end_quantum(&mut self) -> bool {
        let (bits, held) = (self.bits, self.held);
        (self.bits, self.held) = (0, 0);
        match held {
            2 => {
                let [.., a] = (bits >> 4).to_be_bytes();
                self.made.push(a);
                bits & 0x0f != 0
            }
            3 => {
                let [.., a, b] = (bits >> 2).to_be_bytes();
                self.made.extend([a, b]);
                bits & 0x03 != 0
            }
            held => held != 0,
        }
    }
}

impl Letters for Base64 {
    fn take(&mut self, byte: u8) {
        self.letter(byte);
    }

    fn end(&mut self) -> (bool, bool) {
        // An encoder that leaves the padding away fills the last character with zeros all the same; a cut does not.
        let cut = self.end_quantum();
        (self.damaged, cut)
    }

    fn made(&mut self) -> &mut Vec<u8> {
        &mut self.made
    }
}

/// The value of a character of the alphabet (RFC 2045 §6.8, table 1).
const fn value(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Fault;
    use super::super::tests::decoded;
    use super::*;

    #[test]
    fn what_mail_readers_take_is_taken() {
        let cases: &[(&[u8], &[u8], Option<Fault>)] = &[
            (b"", b"", None),
            (b"Zm9v\r\nYmFy\r\n", b"foobar", None),
            (b"Zm9vYg==\r\n", b"foob", None),
            (b"Zm9vYmE=", b"fooba", None),
            (b"Zm9vYg", b"foob", None),
            (b"Zm9vYg=", b"foob", None),
            (b"Zm9vYg== \r\n\r\n", b"foob", None),
            (b"Z m\t9\nv", b"foo", None),
            (b"Zm9vY", b"foo", Some(Fault::Truncated)),
            (b"Zm9vYh", b"foob", Some(Fault::Truncated)),
            (b"Zm9vYg==Zm9v", b"foobfoo", Some(Fault::Damaged)),
            (b"Zm-9v", b"foo", Some(Fault::Damaged)),
            (b"Zm9vA===", b"foo", Some(Fault::Damaged)),
        ];
        for (sent, meant, fault) in cases {
            for size in 1..=sent.len().max(1) {
                assert_eq!(decoded(&CODING, sent, size), (meant.to_vec(), *fault), "{}", sent.escape_ascii());
            }
        }
    }

    /// The slow twin: all bits in a row.
    fn slow(sent: &[u8]) -> Vec<u8> {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let places = sent.iter().filter_map(|byte| alphabet.iter().position(|a| a == byte));
        let bits: Vec<u8> = places.flat_map(|place| (0..6).rev().map(move |n| (place >> n & 1) as u8)).collect();
        bits.chunks_exact(8).map(|eight| eight.iter().fold(0, |byte, bit| byte << 1 | bit)).collect()
    }

    proptest! {
        #[test]
        fn it_does_what_its_twin_does(sent in "[A-Za-z0-9+/ \r\n]{0,200}", size in 1usize..50) {
            prop_assert_eq!(decoded(&CODING, sent.as_bytes(), size).0, slow(sent.as_bytes()));
        }
    }
}
