//! The coding `br` (RFC 7932). It has no mark at its beginning and no check sum.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};

use super::{Coding, Decoder, Fault, Halt, Out, STEP_BYTES};

/// The coding `br`.
pub(super) const CODING: Coding = Coding { name: "br", start: || Box::new(Brotli::new()) };

const NAME: &str = "br";
/// How much input is decoded byte by byte, and kept while nothing has come out, so that it can be handed out as it is.
const START_BYTES: usize = 4 << 10;
/// How much input is decoded at a time after that. What the library has decoded but not yet handed over is lost when it
/// meets damage; as it is always given the same blocks, what comes out does not depend on how the input came in pieces.
const BLOCK_BYTES: usize = 4 << 10;

/// What the data is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Brotli data, or none: nothing has come out yet.
    Start,
    /// Brotli data.
    Data,
    /// Whatever follows.
    Left,
    /// No brotli at all.
    Plain,
}

struct Brotli {
    state: State,
    /// Its window has at most 16 MiB (RFC 7932 §9.1), as `new_strict` makes sure.
    decoder: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    buf: Box<[u8]>,
    /// At the start all input so far; then what has come of the next block.
    part: Vec<u8>,
    /// Bytes of the start that were decoded.
    started: usize,
}

impl Brotli {
    fn new() -> Self {
        let alloc = StandardAlloc::default;
        Self {
            state: State::Start,
            decoder: BrotliState::new_strict(alloc(), alloc(), alloc()),
            buf: vec![0; STEP_BYTES].into_boxed_slice(),
            part: Vec::new(),
            started: 0,
        }
    }

    /// Takes the first byte, as long as the start lasts.
    fn start(&mut self, input: &mut &[u8], out: Out<'_>) -> Result<(), Halt> {
        let Some((byte, rest)) = input.split_first() else { return Ok(()) };
        *input = rest;
        self.started += 1;
        if self.state == State::Start {
            self.part.push(*byte);
        }
        match self.decode(&[*byte], out) {
            Err(Halt::Fatal(..)) if self.state == State::Start => {
                self.state = State::Plain;
                return out(&std::mem::take(&mut self.part));
            }
            done => done?,
        }
        if self.state == State::Start && self.started == START_BYTES {
            self.state = State::Data;
            self.part.clear();
        }
        Ok(())
    }

    /// Takes what the next block lacks, or as much as there is.
    fn block(&mut self, input: &mut &[u8], out: Out<'_>) -> Result<(), Halt> {
        let missing = BLOCK_BYTES.saturating_sub(self.part.len()).min(input.len());
        let Some((taken, rest)) = input.split_at_checked(missing) else { return Ok(()) };
        *input = rest;
        self.part.extend_from_slice(taken);
        if self.part.len() < BLOCK_BYTES { Ok(()) } else { self.last_block(out) }
    }

    /// Decodes what has come of a block.
    fn last_block(&mut self, out: Out<'_>) -> Result<(), Halt> {
        let mut part = std::mem::take(&mut self.part);
        let done = self.decode(&part, out);
        part.clear();
        self.part = part;
        done
    }

    fn decode(&mut self, input: &[u8], out: Out<'_>) -> Result<(), Halt> {
        let (mut left, mut used) = (input.len(), 0);
        loop {
            let (mut room, mut made, mut total) = (self.buf.len(), 0, 0);
            let before = used;
            let result = BrotliDecompressStream(
                &mut left,
                &mut used,
                input,
                &mut room,
                &mut made,
                &mut self.buf,
                &mut total,
                &mut self.decoder,
            );
            if let Some(piece) = self.buf.get(..made).filter(|piece| !piece.is_empty()) {
                if self.state == State::Start {
                    self.state = State::Data;
                    self.part.clear();
                }
                out(piece)?;
            }
            match result {
                BrotliResult::ResultSuccess => {
                    self.state = State::Left;
                    return Ok(());
                }
                // It takes all that it is given before it wants more.
                BrotliResult::NeedsMoreInput => return Ok(()),
                // Neither taken nor made anything: it would stay so for ever.
                BrotliResult::NeedsMoreOutput if made > 0 || used > before => {}
                BrotliResult::ResultFailure | BrotliResult::NeedsMoreOutput => {
                    return Err(Halt::Fatal(NAME, Fault::Damaged));
                }
            }
        }
    }
}

impl Decoder for Brotli {
    fn push(&mut self, mut input: &[u8], out: Out<'_>) -> Result<(), Halt> {
        while !input.is_empty() {
            match self.state {
                State::Start => self.start(&mut input, out)?,
                State::Data if self.started < START_BYTES => self.start(&mut input, out)?,
                State::Data => self.block(&mut input, out)?,
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
        if self.state == State::Data {
            self.last_block(out)?;
        }
        Ok(match self.state {
            // An empty body is declared as coded by many servers.
            State::Start if self.started == 0 => None,
            State::Start | State::Data => Some(Fault::Truncated),
            State::Left => None,
            State::Plain => Some(Fault::NotCoded),
        })
    }
}
