//! gzip (RFC 1952): any number of members, whatever follows the last one left out.

use flate2::Crc;

use super::inflate::{Inflate, Inflated};
use super::{Coding, Decoder, Fault, Halt, Out};

/// The coding `gzip`.
pub(super) const CODING: Coding = Coding { name: "gzip", start: || Box::new(Gzip::new()) };

const NAME: &str = "gzip";

/// The flags of a member's header (RFC 1952 §2.3.1).
const FHCRC: u8 = 1 << 1;
const FEXTRA: u8 = 1 << 2;
const FNAME: u8 = 1 << 3;
const FCOMMENT: u8 = 1 << 4;

/// Where in the coded data the next byte lies. The parts of a header follow one another as listed; those whose flag is not
/// set are passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The fixed header.
    Header,
    /// The length of the extra field.
    ExtraLength,
    /// The extra field, with the bytes that are left of it.
    Extra(usize),
    /// The name, up to its zero byte.
    Name,
    /// The comment, up to its zero byte.
    Comment,
    /// The header's check sum, with the bytes that are left of it.
    HeaderCrc(usize),
    /// Deflate data.
    Data,
    /// Check sum and length.
    Trailer,
    /// Whatever follows the last member.
    Left,
    /// No gzip at all.
    Plain,
}

struct Gzip {
    state: State,
    /// The part of a header or trailer that has come so far.
    part: Vec<u8>,
    flags: u8,
    /// Members that began with a valid header.
    members: u64,
    wrong_sum: bool,
    inflate: Inflate,
    crc: Crc,
}

impl Gzip {
    fn new() -> Self {
        Self {
            state: State::Header,
            part: Vec::with_capacity(10),
            flags: 0,
            members: 0,
            wrong_sum: false,
            inflate: Inflate::new(),
            crc: Crc::new(),
        }
    }

    /// Collects the next `want` bytes; gives them once they are all there.
    fn collect<const N: usize>(&mut self, input: &mut &[u8]) -> Option<[u8; N]> {
        let missing = N.saturating_sub(self.part.len()).min(input.len());
        let (taken, rest) = input.split_at_checked(missing)?;
        self.part.extend_from_slice(taken);
        *input = rest;
        let whole = self.part.as_slice().try_into().ok()?;
        self.part.clear();
        Some(whole)
    }

    /// The fixed header, as far as it has come; false when it is none.
    fn header_fits(&self) -> bool {
        self.part.iter().zip([0x1f, 0x8b, 8]).all(|(byte, wanted)| *byte == wanted)
    }

    fn header(&mut self, input: &mut &[u8], out: Out<'_>) -> Result<(), Halt> {
        let whole = self.collect::<10>(input);
        if let Some(whole) = whole {
            self.part.extend_from_slice(&whole);
        }
        if !self.header_fits() {
            // After a member: padding or garbage. At the beginning: the declaration was wrong.
            self.state = if self.members > 0 { State::Left } else { State::Plain };
            if self.state == State::Plain {
                out(&self.part)?;
            }
            self.part.clear();
        } else if let Some([_, _, _, flags, ..]) = whole {
            self.part.clear();
            self.flags = flags;
            self.members += 1;
            self.after_header_part(FEXTRA);
        }
        Ok(())
    }

    /// The next part of the header from the one that `flag` stands for on.
    fn after_header_part(&mut self, flag: u8) {
        let parts = [
            (FEXTRA, State::ExtraLength),
            (FNAME, State::Name),
            (FCOMMENT, State::Comment),
            (FHCRC, State::HeaderCrc(2)),
        ];
        let next = parts.iter().skip_while(|(f, _)| *f != flag).find(|(f, _)| self.flags & f != 0);
        self.state = next.map_or(State::Data, |(_, state)| *state);
    }

    /// Skips up to `left` bytes; what is still left then.
    fn skip(input: &mut &[u8], left: usize) -> usize {
        let n = left.min(input.len());
        *input = input.get(n..).unwrap_or_default();
        left - n
    }

    /// Skips up to and with the next zero byte; whether it was there.
    fn skip_text(input: &mut &[u8]) -> bool {
        let zero = input.iter().position(|b| *b == 0);
        *input = zero.and_then(|at| input.get(at + 1..)).unwrap_or_default();
        zero.is_some()
    }

    fn data(&mut self, input: &mut &[u8], out: Out<'_>) -> Result<(), Halt> {
        let crc = &mut self.crc;
        let step = self.inflate.push(input, &mut |piece| {
            crc.update(piece);
            out(piece)
        })?;
        match step {
            Inflated::More => *input = &[],
            Inflated::End(used) => {
                *input = input.get(used..).unwrap_or_default();
                self.state = State::Trailer;
            }
            Inflated::Damaged => return Err(Halt::Fatal(NAME, Fault::Damaged)),
        }
        Ok(())
    }

    fn trailer(&mut self, input: &mut &[u8]) {
        if let Some([a, b, c, d, e, f, g, h]) = self.collect::<8>(input) {
            let sum = u32::from_le_bytes([a, b, c, d]);
            let length = u32::from_le_bytes([e, f, g, h]);
            self.wrong_sum |= sum != self.crc.sum() || length != self.crc.amount();
            self.crc.reset();
            self.inflate.reset();
            self.state = State::Header;
        }
    }
}

impl Decoder for Gzip {
    fn push(&mut self, mut input: &[u8], out: Out<'_>) -> Result<(), Halt> {
        while !input.is_empty() {
            match self.state {
                State::Header => self.header(&mut input, out)?,
                State::ExtraLength => {
                    if let Some(length) = self.collect::<2>(&mut input) {
                        self.state = State::Extra(usize::from(u16::from_le_bytes(length)));
                    }
                }
                State::Extra(left) => match Self::skip(&mut input, left) {
                    0 => self.after_header_part(FNAME),
                    left => self.state = State::Extra(left),
                },
                State::Name => {
                    if Self::skip_text(&mut input) {
                        self.after_header_part(FCOMMENT);
                    }
                }
                State::Comment => {
                    if Self::skip_text(&mut input) {
                        self.after_header_part(FHCRC);
                    }
                }
                State::HeaderCrc(left) => match Self::skip(&mut input, left) {
                    0 => self.state = State::Data,
                    left => self.state = State::HeaderCrc(left),
                },
                State::Data => self.data(&mut input, out)?,
                State::Trailer => self.trailer(&mut input),
                State::Left => input = &[],
                State::Plain => {
                    out(input)?;
                    input = &[];
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, _out: Out<'_>) -> Result<Option<Fault>, Halt> {
        let fault = match self.state {
            // An empty body is declared as coded by many servers.
            State::Header if self.members == 0 && self.part.is_empty() => None,
            State::Header if self.members == 0 => Some(Fault::Truncated),
            State::Header | State::Left => None,
            State::Trailer => Some(Fault::NoTrailer),
            State::Plain => Some(Fault::NotCoded),
            _ => Some(Fault::Truncated),
        };
        Ok(if self.wrong_sum { Some(Fault::Checksum) } else { fault })
    }
}
