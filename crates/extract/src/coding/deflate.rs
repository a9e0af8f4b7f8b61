//! The coding `deflate`: zlib data (RFC 1950) by the rules (RFC 9110 §8.4.1.2), raw deflate data by many servers.

use super::inflate::{Inflate, Inflated};
use super::{Coding, Decoder, Fault, Halt, Out};

/// The coding `deflate`.
pub(super) const CODING: Coding = Coding { name: "deflate", start: || Box::new(Deflate::new()) };

const NAME: &str = "deflate";
/// How much input is kept while nothing has come out, so that it can be tried in another way.
const RETRY_BYTES: usize = 64 << 10;

/// What the data is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The first two bytes are not there yet.
    Start,
    /// Deflate data after a zlib header.
    Zlib,
    /// Deflate data from the first byte on.
    Raw,
    /// The check sum after zlib data.
    Trailer,
    /// Whatever follows.
    Left,
    /// No deflate at all.
    Plain,
}

struct Deflate {
    state: State,
    inflate: Inflate,
    /// All input so far, while nothing has come out of it.
    tried: Vec<u8>,
    adler: Adler32,
    /// The check sum as it comes in.
    sum: Vec<u8>,
    wrong_sum: bool,
}

impl Deflate {
    const fn is_zlib([cmf, flags]: [u8; 2]) -> bool {
        // Method 8, a window of at most 32 KiB, no preset dictionary, and the check bits (RFC 1950 §2.2).
        cmf & 0x0f == 8 && cmf >> 4 <= 7 && flags & 0x20 == 0 && (cmf as u16 * 256 + flags as u16).is_multiple_of(31)
    }

    fn new() -> Self {
        Self {
            state: State::Start,
            inflate: Inflate::new(),
            tried: Vec::new(),
            adler: Adler32::default(),
            sum: Vec::with_capacity(4),
            wrong_sum: false,
        }
    }

    /// Decodes data of the present kind; where it is damaged before anything came out, as the next kind.
    fn data(&mut self, input: &[u8], out: Out<'_>) -> Result<(), Halt> {
        let adler = &mut self.adler;
        let step = self.inflate.push(input, &mut |piece| {
            adler.update(piece);
            out(piece)
        })?;
        match step {
            Inflated::More => {
                if !self.inflate.has_made_nothing() || self.tried.len() > RETRY_BYTES {
                    self.tried = Vec::new();
                }
                Ok(())
            }
            Inflated::End(used) => {
                self.tried = Vec::new();
                self.state = if self.state == State::Zlib { State::Trailer } else { State::Left };
                self.trailer(input.get(used..).unwrap_or_default());
                Ok(())
            }
            Inflated::Damaged if self.inflate.has_made_nothing() && !self.tried.is_empty() => self.retry(out),
            Inflated::Damaged => Err(Halt::Fatal(NAME, Fault::Damaged)),
        }
    }

    fn retry(&mut self, out: Out<'_>) -> Result<(), Halt> {
        let tried = std::mem::take(&mut self.tried);
        if self.state == State::Zlib {
            self.state = State::Raw;
            self.inflate.reset();
            self.tried.clone_from(&tried);
            // At most one level deeper: raw data that is damaged is plain.
            return self.data(&tried, out);
        }
        self.state = State::Plain;
        out(&tried)
    }

    fn trailer(&mut self, input: &[u8]) {
        if self.state != State::Trailer {
            return;
        }
        self.sum.extend(input.iter().take(4usize.saturating_sub(self.sum.len())));
        if let Ok(sum) = <[u8; 4]>::try_from(self.sum.as_slice()) {
            self.wrong_sum = u32::from_be_bytes(sum) != self.adler.sum();
            self.state = State::Left;
        }
    }
}

impl Decoder for Deflate {
    fn push(&mut self, input: &[u8], out: Out<'_>) -> Result<(), Halt> {
        match self.state {
            State::Start => {
                self.tried.extend_from_slice(input);
                let Some(first) = self.tried.first_chunk::<2>() else { return Ok(()) };
                let zlib = Self::is_zlib(*first);
                self.state = if zlib { State::Zlib } else { State::Raw };
                let start = self.tried.clone();
                self.data(start.get(if zlib { 2 } else { 0 }..).unwrap_or_default(), out)
            }
            State::Zlib | State::Raw => {
                if !self.tried.is_empty() {
                    self.tried.extend_from_slice(input);
                }
                self.data(input, out)
            }
            State::Trailer => {
                self.trailer(input);
                Ok(())
            }
            State::Left => Ok(()),
            State::Plain => out(input),
        }
    }

    fn finish(&mut self, out: Out<'_>) -> Result<Option<Fault>, Halt> {
        Ok(match self.state {
            _ if self.wrong_sum => Some(Fault::Checksum),
            State::Start if self.tried.is_empty() => None,
            // One byte is no deflate data.
            State::Start => {
                out(&self.tried)?;
                Some(Fault::NotCoded)
            }
            State::Zlib | State::Raw => Some(Fault::Truncated),
            State::Trailer => Some(Fault::NoTrailer),
            State::Left => None,
            State::Plain => Some(Fault::NotCoded),
        })
    }
}

/// The check sum of zlib data (RFC 1950 §8.2).
struct Adler32 {
    a: u32,
    b: u32,
}

impl Default for Adler32 {
    fn default() -> Self {
        Self { a: 1, b: 0 }
    }
}

impl Adler32 {
    const BASE: u32 = 65_521;
    /// The most bytes whose sums fit 32 bits before the remainder is taken.
    const MOST: usize = 5552;

    fn update(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(Self::MOST) {
            for byte in chunk {
                self.a += u32::from(*byte);
                self.b += self.a;
            }
            self.a %= Self::BASE;
            self.b %= Self::BASE;
        }
    }

    const fn sum(&self) -> u32 {
        self.b << 16 | self.a
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_sum_is_that_of_the_rfc() {
        let mut adler = Adler32::default();
        adler.update(b"Wikipedia");
        assert_eq!(adler.sum(), 0x11e6_0398);
        let mut adler = Adler32::default();
        adler.update(&vec![255; 1 << 20]);
        assert_eq!(adler.sum(), 0x8e88ef11);
    }
}
