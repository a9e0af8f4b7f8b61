//! The coding `zstd` (RFC 8878): any number of frames, whatever follows the last one left out.

use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, ResetDirective, is_error_kind, zstd_sys::ZSTD_ErrorCode};

use super::{Coding, Decoder, Fault, Halt, Out, STEP_BYTES};

/// The coding `zstd`.
pub(super) const CODING: Coding = Coding { name: "zstd", start: || Box::new(Zstd::new()) };

const NAME: &str = "zstd";
/// The largest window, as a power of two: 8 MiB (RFC 9659 §3).
const WINDOW_LOG: u32 = 23;
/// RFC 8878 §3.1.1.2.
const BLOCK_HEADER_BYTES: usize = 3;
/// The largest block (RFC 8878 §3.1.1.2.4). Of a frame to be skipped the decoder wants more, up to 4 GiB.
const BLOCK_BYTES: usize = 128 << 10;

/// Where in the coded data the next byte lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The first four bytes of a frame.
    Magic,
    /// The rest of a frame.
    Frame,
    /// Whatever follows the last frame.
    Left,
    /// No zstd at all.
    Plain,
}

struct Zstd {
    state: State,
    /// What has come so far of a frame's first bytes, or of what the decoder is given next.
    part: Vec<u8>,
    /// Frames that began as they should.
    frames: u64,
    /// How much of a frame the decoder is given next; at least one byte.
    wanted: usize,
    /// `None` when there was no memory for it.
    decoder: Option<DCtx<'static>>,
    buf: Box<[u8]>,
}

impl Zstd {
    fn new() -> Self {
        let decoder = DCtx::try_create().and_then(|mut decoder| {
            decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG)).ok()?;
            Some(decoder)
        });
        Self {
            state: State::Magic,
            part: Vec::with_capacity(4),
            frames: 0,
            wanted: 1,
            decoder,
            buf: vec![0; STEP_BYTES].into_boxed_slice(),
        }
    }

    /// Whether a frame can begin like this: one of data (RFC 8878 §3.1.1), or one to be skipped (§3.1.2).
    fn fits(&self) -> bool {
        let frame = self.part.iter().zip([0x28, 0xb5, 0x2f, 0xfd]).all(|(byte, wanted)| *byte == wanted);
        let skipped = self.part.iter().zip([0x50, 0x2a, 0x4d, 0x18]).enumerate();
        frame
            || skipped
                .into_iter()
                .all(|(i, (byte, wanted))| if i == 0 { byte & 0xf0 == wanted } else { *byte == wanted })
    }

    fn magic(&mut self, input: &mut &[u8], out: Out<'_>) -> Result<(), Halt> {
        let missing = 4usize.saturating_sub(self.part.len()).min(input.len());
        let Some((taken, rest)) = input.split_at_checked(missing) else { return Ok(()) };
        self.part.extend_from_slice(taken);
        *input = rest;
        if !self.fits() {
            // After a frame: padding or garbage. At the beginning: the declaration was wrong.
            self.state = if self.frames > 0 { State::Left } else { State::Plain };
            if self.state == State::Plain {
                out(&self.part)?;
            }
            self.part.clear();
        } else if self.part.len() == 4 {
            self.frames += 1;
            self.state = State::Frame;
            self.gathered(out)?;
        }
        Ok(())
    }

    /// Takes what the decoder is given next, or as much of it as there is: the rest of a header, or of a block. What it has
    /// made of more than that is lost when it meets damage, and less would be decoded in parts; as it is always given the
    /// same, what comes out does not depend on how the input came in pieces.
    fn frame(&mut self, input: &mut &[u8], out: Out<'_>) -> Result<(), Halt> {
        let missing = self.wanted.saturating_sub(self.part.len()).min(input.len());
        let Some((taken, rest)) = input.split_at_checked(missing) else { return Ok(()) };
        *input = rest;
        if taken.len() == self.wanted {
            return self.decode(taken, out);
        }
        self.part.extend_from_slice(taken);
        if self.part.len() < self.wanted { Ok(()) } else { self.gathered(out) }
    }

    /// Decodes what has come.
    fn gathered(&mut self, out: Out<'_>) -> Result<(), Halt> {
        let mut part = std::mem::take(&mut self.part);
        let done = self.decode(&part, out);
        part.clear();
        self.part = part;
        done
    }

    fn decode(&mut self, mut input: &[u8], out: Out<'_>) -> Result<(), Halt> {
        let damaged = Halt::Fatal(NAME, Fault::Damaged);
        let decoder = self.decoder.as_mut().ok_or(damaged)?;
        loop {
            let (mut from, mut to) = (InBuffer::around(input), OutBuffer::around(&mut *self.buf));
            let result = decoder.decompress_stream(&mut to, &mut from);
            let (used, made) = (from.pos(), to.pos());
            input = input.get(used..).unwrap_or_default();
            if let Some(piece) = self.buf.get(..made).filter(|piece| !piece.is_empty()) {
                out(piece)?;
            }
            match result {
                Ok(0) if input.is_empty() => {
                    self.state = State::Magic;
                    return decoder.reset(ResetDirective::SessionOnly).map(|_| ()).map_err(|_| damaged);
                }
                Err(code) => return Err(Halt::Fatal(NAME, fault(code))),
                // A full buffer may hide more to come out of what was taken already.
                Ok(_) if made == self.buf.len() => {}
                Ok(hint) if input.is_empty() => {
                    // A block and the header of the next one, or a part of the latter.
                    let block = if hint > BLOCK_HEADER_BYTES { hint - BLOCK_HEADER_BYTES } else { hint };
                    self.wanted = block.min(BLOCK_BYTES);
                    return Ok(());
                }
                // Neither taken nor made anything, with input left: it would stay so for ever.
                Ok(_) if used == 0 && made == 0 => return Err(damaged),
                Ok(_) => {}
            }
        }
    }
}

/// What the library's error means.
fn fault(code: usize) -> Fault {
    if is_error_kind(code, ZSTD_ErrorCode::ZSTD_error_checksum_wrong) {
        Fault::Checksum
    } else if is_error_kind(code, ZSTD_ErrorCode::ZSTD_error_frameParameter_windowTooLarge) {
        Fault::Window
    } else {
        Fault::Damaged
    }
}

impl Decoder for Zstd {
    fn push(&mut self, mut input: &[u8], out: Out<'_>) -> Result<(), Halt> {
        while !input.is_empty() {
            match self.state {
                State::Magic => self.magic(&mut input, out)?,
                State::Frame => self.frame(&mut input, out)?,
                State::Left => input = &[],
                State::Plain => {
                    out(input)?;
                    input = &[];
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, out: Out<'_>) -> Result<Option<Fault>, Halt> {
        if self.state == State::Frame && !self.part.is_empty() {
            self.gathered(out)?;
        }
        Ok(match self.state {
            // An empty body is declared as coded by many servers.
            State::Magic if self.frames == 0 && self.part.is_empty() => None,
            State::Magic if self.frames == 0 => Some(Fault::Truncated),
            State::Magic | State::Left => None,
            State::Frame => Some(Fault::Truncated),
            State::Plain => Some(Fault::NotCoded),
        })
    }
}
