//! Bytes in the letters of texts, as scripts carry programs: hexadecimal digits with what stands between and before them, and base64
//! in either alphabet (RFC 4648 §4, §5). They end at the first letter that is none of the coding.

use streamdb_sniff::{Coding as Letters, TextDecoder};

use super::{Coding, Decoder, Fault, Halt, Out, STEP_BYTES};

/// The coding `hex`.
pub(super) const HEX: Coding = Coding { name: "hex", start: || Text::decoder(Letters::Hex) };
/// The coding `base64url`, which takes the letters of `base64` too.
pub(super) const BASE64URL: Coding = Coding { name: "base64url", start: || Text::decoder(Letters::Base64) };

struct Text {
    decoder: Option<TextDecoder>,
    /// Whether a letter came that is none of the coding.
    ended: bool,
    made: Vec<u8>,
}

impl Text {
    fn decoder(coding: Letters) -> Box<dyn Decoder> {
        Box::new(Self { decoder: TextDecoder::new(coding), ended: false, made: Vec::new() })
    }

    fn hand_on(&mut self, out: Out<'_>) -> Result<(), Halt> {
        if self.made.is_empty() {
            return Ok(());
        }
        let done = out(&self.made);
        self.made.clear();
        done
    }
}

impl Decoder for Text {
    fn push(&mut self, input: &[u8], out: Out<'_>) -> Result<(), Halt> {
        for step in input.chunks(STEP_BYTES) {
            let ended = self.decoder.as_mut().and_then(|decoder| decoder.feed(step, &mut self.made));
            self.ended |= ended.is_some();
            self.hand_on(out)?;
        }
        Ok(())
    }

    fn finish(&mut self, out: Out<'_>) -> Result<Option<Fault>, Halt> {
        if let Some(decoder) = &mut self.decoder {
            decoder.finish(&mut self.made);
        }
        self.hand_on(out)?;
        Ok(self.ended.then_some(Fault::Damaged))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::decoded;
    use super::*;

    #[test]
    fn bytes_are_found_in_scripts() {
        type Case<'c> = (&'c Coding, &'c [u8], &'c [u8], Option<Fault>);
        let cases: &[Case<'_>] = &[
            (&HEX, b"", b"", None),
            (&HEX, b"4d5A90", b"MZ\x90", None),
            (&HEX, b"4d 5a\r\n90", b"MZ\x90", None),
            (&HEX, b"0x4d, 0x5a,0X00", b"MZ\0", None),
            (&HEX, b"\\x4d\\x5a&H9,", b"MZ\x09", None),
            (&HEX, b"4dZZ5a", b"M", Some(Fault::Damaged)),
            (&BASE64URL, b"TVqQ\r\nAA==", b"MZ\x90\0", None),
            (&BASE64URL, b"_-_-", b"\xff\xef\xfe", None),
            (&BASE64URL, b"TVqQ'TVqQ", b"MZ\x90", Some(Fault::Damaged)),
        ];
        for (coding, sent, meant, fault) in cases {
            for size in 1..=sent.len().max(1) {
                assert_eq!(decoded(coding, sent, size), (meant.to_vec(), *fault), "{}", sent.escape_ascii());
            }
        }
    }
}
