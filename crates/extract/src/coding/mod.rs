//! Content and transfer codings (RFC 9110 §8.4.1), those of mail (RFC 2045 §6) and of scripts: a line in [`ALL`] each.
//!
//! A decoder is pushed pieces of any size and hands on what they decode to. Decoders are stacked; each one's output is
//! bounded.

mod base64;
mod brotli;
mod deflate;
mod gzip;
mod inflate;
mod letters;
pub(crate) mod permessage;
mod quoted_printable;
mod text;
mod zstandard;

use std::fmt;

use crate::limits::BodyLimits;

/// A coding that can be undone.
pub(crate) struct Coding {
    /// Its name, in lower case.
    pub name: &'static str,
    /// A decoder at the beginning of coded data.
    pub start: fn() -> Box<dyn Decoder>,
}

/// The codings of HTTP (RFC 9110 §8.4.1): a browser undoes no other.
const OF_HTTP: [&Coding; 4] = [&gzip::CODING, &deflate::CODING, &brotli::CODING, &zstandard::CODING];

/// Every coding that can be undone.
const ALL: [&Coding; 9] = [
    &gzip::CODING,
    &deflate::CODING,
    &brotli::CODING,
    &zstandard::CODING,
    &base64::CODING,
    &quoted_printable::CODING,
    &text::HEX,
    &text::BASE64URL,
    &permessage::CODING,
];

/// How much is decoded at a time.
const STEP_BYTES: usize = 32 << 10;

/// The coding of this name, of HTTP's or of all.
pub(crate) fn find(name: &str, is_http: bool) -> Option<&'static Coding> {
    let known: &[&'static Coding] = if is_http { &OF_HTTP } else { &ALL };
    known.iter().copied().find(|coding| coding.name == name)
}

/// Takes coded bytes in pieces of any size, in order, without holes.
pub(crate) trait Decoder {
    /// Before anything else: what the coded data may refer to as if it came right before it. Codings that refer to nothing outside
    /// pass over it.
    fn prime(&mut self, _window: &[u8]) {}

    /// Takes all of a piece, and hands on what it decodes to. After an error it is not called again.
    fn push(&mut self, input: &[u8], out: Out<'_>) -> Result<(), Halt>;

    /// There is no more. Says what was wrong, if it was not fatal.
    fn finish(&mut self, out: Out<'_>) -> Result<Option<Fault>, Halt>;
}

/// Where decoded bytes go.
pub(crate) type Out<'o> = &'o mut dyn FnMut(&[u8]) -> Result<(), Halt>;

/// Why decoding ends before its input does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    /// The receiver has had enough.
    Stopped,
    /// Too many bytes came out.
    Output,
    /// Too many bytes came out for those that went in.
    Ratio,
    /// This coding cannot go on, as this is wrong with its data.
    Fatal(&'static str, Fault),
}

/// What is wrong with coded data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It breaks the format; decoded up to there.
    Damaged,
    /// It ends before its own end; decoded up to there.
    Truncated,
    /// All of it is there but the check sum and length after it.
    NoTrailer,
    /// It asks for a larger window than the coding allows; decoded up to there.
    Window,
    /// Its check sum or length does not fit what was decoded.
    Checksum,
    /// It is not coded at all, whatever was declared; handed out as it is.
    NotCoded,
}

impl Fault {
    /// Whether content is missing or wrong because of it.
    pub const fn spoils(self) -> bool {
        match self {
            Self::Damaged | Self::Truncated | Self::Window | Self::Checksum => true,
            Self::NoTrailer | Self::NotCoded => false,
        }
    }
}

/// The end of a sentence that begins with the name of the coding.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Damaged => "data is damaged",
            Self::Truncated => "data ends early",
            Self::NoTrailer => "check sum is missing",
            Self::Window => "data asks for more memory than is allowed",
            Self::Checksum => "check sum is wrong",
            Self::NotCoded => "was declared, but the data is not coded",
        })
    }
}

/// Decoders stacked in the order in which they undo, with what each has handed on.
pub(crate) struct Stack {
    stages: Vec<Stage>,
    limits: BodyLimits,
    /// Coded bytes taken so far.
    taken: u64,
}

struct Stage {
    name: &'static str,
    decoder: Box<dyn Decoder>,
    made: u64,
}

impl Stack {
    /// Decoders that undo these codings, the first one first. None undo nothing.
    pub(crate) fn new(codings: &[&'static Coding], limits: &BodyLimits) -> Self {
        let stage = |coding: &&Coding| Stage { name: coding.name, decoder: (coding.start)(), made: 0 };
        Self { stages: codings.iter().map(stage).collect(), limits: *limits, taken: 0 }
    }

    /// What the data of the first to undo may refer to.
    pub(crate) fn prime(&mut self, window: &[u8]) {
        if let Some(stage) = self.stages.first_mut() {
            stage.decoder.prime(window);
        }
    }

    /// Takes a piece of coded bytes.
    pub(crate) fn push(&mut self, input: &[u8], out: Out<'_>) -> Result<(), Halt> {
        self.taken = self.taken.saturating_add(input.len() as u64);
        push(&mut self.stages, input, self.taken, &self.limits, out)
    }

    /// There is no more: what was wrong, by coding, the first to undo first.
    pub(crate) fn finish(&mut self, out: Out<'_>) -> Result<Option<(&'static str, Fault)>, Halt> {
        let mut first = None;
        let mut stages = self.stages.as_mut_slice();
        while let Some((stage, rest)) = stages.split_first_mut() {
            let mut made = stage.made;
            let fault =
                stage.decoder.finish(&mut |piece| hand_on(piece, &mut made, rest, self.taken, &self.limits, out))?;
            first = first.or(fault.map(|fault| (stage.name, fault)));
            stages = rest;
        }
        Ok(first)
    }
}

fn push(stages: &mut [Stage], input: &[u8], taken: u64, limits: &BodyLimits, out: Out<'_>) -> Result<(), Halt> {
    let Some((stage, rest)) = stages.split_first_mut() else { return out(input) };
    let Stage { decoder, made, .. } = stage;
    decoder.push(input, &mut |piece| hand_on(piece, made, rest, taken, limits, out))
}

/// Gives what one decoder made to the next one, within the limits.
fn hand_on(
    piece: &[u8],
    made: &mut u64,
    rest: &mut [Stage],
    taken: u64,
    limits: &BodyLimits,
    out: Out<'_>,
) -> Result<(), Halt> {
    let room = limits.output.saturating_sub(*made);
    let fits = piece.get(..usize::try_from(room).unwrap_or(usize::MAX)).unwrap_or(piece);
    *made = made.saturating_add(fits.len() as u64);
    if *made > limits.ratio_from && *made > taken.saturating_mul(limits.ratio) {
        return Err(Halt::Ratio);
    }
    if !fits.is_empty() {
        push(rest, fits, taken, limits, out)?;
    }
    if fits.len() < piece.len() { Err(Halt::Output) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of coded bytes in pieces of this size, and what is wrong with them.
    pub(super) fn decoded(coding: &Coding, sent: &[u8], size: usize) -> (Vec<u8>, Option<Fault>) {
        let mut decoder = (coding.start)();
        let mut all = Vec::new();
        let mut take = |piece: &[u8]| {
            assert!(!piece.is_empty());
            all.extend_from_slice(piece);
            Ok(())
        };
        for piece in sent.chunks(size) {
            decoder.push(piece, &mut take).unwrap();
        }
        let fault = decoder.finish(&mut take).unwrap();
        (all, fault)
    }
}
