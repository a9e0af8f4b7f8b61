//! The coding `permessage-deflate` of WebSocket messages (RFC 7692 §7.2): raw deflate data without its last four bytes, which may refer
//! to what the messages before it held.

use super::inflate::{Inflate, Inflated};
use super::{Coding, Decoder, Fault, Halt, Out};

/// The coding `permessage-deflate`.
pub(super) const CODING: Coding = Coding { name: NAME, start: || Box::new(Permessage::new()) };

const NAME: &str = "permessage-deflate";
/// As far back as deflate data can refer (RFC 1951 §2).
pub(crate) const WINDOW_BYTES: usize = 32 << 10;
/// What is taken off the end of a message (RFC 7692 §7.2.1).
const TAIL: &[u8] = &[0, 0, 0xff, 0xff];
/// An empty block, the last of its data: only where a block may begin does it end the data.
const LAST: &[u8] = &[1, 0, 0, 0xff, 0xff];
/// Most times that a message may say that its data ends, and go on (RFC 7692 §7.2.3.4). Each costs a window.
const ENDS: u32 = 16;

/// A decoder of one message.
pub(crate) struct Permessage {
    inflate: Inflate,
    /// The last bytes that came out, and what was before the message: all that can be referred to.
    window: Vec<u8>,
    /// Whether the data has ended, so that what comes next begins anew.
    ended: bool,
    ends: u32,
    begun: bool,
}

impl Permessage {
    pub(crate) fn new() -> Self {
        Self { inflate: Inflate::new(), window: Vec::new(), ended: false, ends: 0, begun: false }
    }

    /// Another message, which may refer to those before it.
    pub(crate) fn goes_on(&mut self, out: Out<'_>) -> Result<(), Halt> {
        let begun = std::mem::take(&mut self.begun);
        if begun { self.data(TAIL, out) } else { Ok(()) }
    }

    /// Takes plain data, in a block that is stored as it is (RFC 1951 §3.2.4), so that what follows can refer to it.
    fn show(&mut self, plain: &[u8]) -> Result<(), Halt> {
        for part in plain.chunks(usize::from(u16::MAX)) {
            let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
            let [a, b] = length.to_le_bytes();
            self.inflate.push(&[0, a, b, !a, !b], &mut |_| Ok(()))?;
            self.inflate.push(part, &mut |_| Ok(()))?;
        }
        Ok(())
    }

    fn data(&mut self, input: &[u8], out: Out<'_>) -> Result<(), Halt> {
        let mut rest = input;
        while !rest.is_empty() {
            if std::mem::take(&mut self.ended) {
                self.inflate.reset();
                let window = std::mem::take(&mut self.window);
                self.show(&window)?;
                self.window = window;
            }
            let window = &mut self.window;
            let step = self.inflate.push(rest, &mut |piece| {
                remember(window, piece);
                out(piece)
            })?;
            match step {
                Inflated::More => break,
                Inflated::Damaged => return Err(Halt::Fatal(NAME, Fault::Damaged)),
                Inflated::End(used) => {
                    self.ends += 1;
                    if self.ends > ENDS {
                        return Err(Halt::Fatal(NAME, Fault::Damaged));
                    }
                    self.ended = true;
                    rest = rest.get(used..).unwrap_or_default();
                }
            }
        }
        Ok(())
    }
}

/// Adds to what can be referred to.
pub(crate) fn remember(window: &mut Vec<u8>, piece: &[u8]) {
    let kept = piece.get(piece.len().saturating_sub(WINDOW_BYTES)..).unwrap_or_default();
    window.extend_from_slice(kept);
    // Now and then, so that each byte is moved few times.
    if window.len() > 2 * WINDOW_BYTES {
        window.drain(..window.len() - WINDOW_BYTES);
    }
}

impl Decoder for Permessage {
    fn prime(&mut self, window: &[u8]) {
        // Nothing comes out, and stored data cannot be damaged.
        let _ = self.show(window);
        remember(&mut self.window, window);
    }

    fn push(&mut self, input: &[u8], out: Out<'_>) -> Result<(), Halt> {
        self.begun |= !input.is_empty();
        self.data(input, out)
    }

    fn finish(&mut self, out: Out<'_>) -> Result<Option<Fault>, Halt> {
        // An empty message needs no data at all.
        if !self.begun {
            return Ok(None);
        }
        self.data(TAIL, out)?;
        let mut odd = false;
        let step = self.inflate.push(LAST, &mut |_| {
            odd = true;
            Ok(())
        })?;
        Ok((odd || step != Inflated::End(LAST.len())).then_some(Fault::Truncated))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn decode(window: &[u8], coded: &[&[u8]]) -> (Vec<u8>, Result<Option<Fault>, Halt>) {
        let mut decoder = Permessage::new();
        decoder.prime(window);
        let mut plain = Vec::new();
        let mut take = |piece: &[u8]| {
            plain.extend_from_slice(piece);
            Ok(())
        };
        for piece in coded {
            if let Err(halt) = decoder.push(piece, &mut take) {
                return (plain, Err(halt));
            }
        }
        let end = decoder.finish(&mut take);
        (plain, end)
    }

    #[test]
    fn messages_of_the_rfc_are_decoded() {
        // RFC 7692 §7.2.3: one block; the second message of a context; stored; a last block; two blocks.
        let first = &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..];
        let cases: &[(&[u8], &[u8])] = &[
            (b"", first),
            (b"Hello", &[0xf2, 0x00, 0x11, 0x00, 0x00]),
            (b"", &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00]),
            (b"", &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]),
            (b"", &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00]),
        ];
        for (window, coded) in cases {
            for cut in 0..coded.len() {
                let found = decode(window, &[&coded[..cut], &coded[cut..]]);
                assert_eq!(found, (b"Hello".to_vec(), Ok(None)), "{coded:x?} {cut}");
            }
        }
        assert_eq!(decode(b"", &[]), (vec![], Ok(None)));
        for cut in 1..first.len() {
            assert!(!matches!(decode(b"", &[&first[..cut]]).1, Ok(None)), "{cut}");
        }
    }

    #[test]
    fn data_goes_on_after_it_says_that_it_ended() {
        let part = |text: &[u8]| {
            let mut coder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
            coder.write_all(text).unwrap();
            coder.finish().unwrap()
        };
        let coded = [part(b"one "), part(b"two "), vec![0]].concat();
        assert_eq!(decode(b"", &[&coded]), (b"one two ".to_vec(), Ok(None)));
        let many = part(b"").repeat(1000);
        assert_eq!(decode(&[1; WINDOW_BYTES], &[&many]).1, Err(Halt::Fatal(NAME, Fault::Damaged)));
    }
}
