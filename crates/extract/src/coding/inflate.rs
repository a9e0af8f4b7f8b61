//! Deflate data without any wrapping (RFC 1951), which gzip and deflate share.

use flate2::{Decompress, FlushDecompress, Status};

use super::{Halt, Out, STEP_BYTES};

/// A decoder of raw deflate data.
pub(super) struct Inflate {
    state: Decompress,
    buf: Box<[u8]>,
}

/// How far a piece of input led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inflated {
    /// All of it was taken, and there is more to come.
    More,
    /// The data ended after this many bytes of it.
    End(usize),
    /// It is damaged. What had been decoded before was handed on.
    Damaged,
}

impl Inflate {
    /// At the beginning of deflate data.
    pub(super) fn new() -> Self {
        Self { state: Decompress::new(false), buf: vec![0; STEP_BYTES].into_boxed_slice() }
    }

    /// At the beginning of other deflate data.
    pub(super) fn reset(&mut self) {
        self.state.reset(false);
    }

    /// Whether anything was decoded so far.
    pub(super) fn has_made_nothing(&self) -> bool {
        self.state.total_out() == 0
    }

    /// Decodes a piece.
    pub(super) fn push(&mut self, input: &[u8], out: Out<'_>) -> Result<Inflated, Halt> {
        let mut used = 0;
        loop {
            let rest = input.get(used..).unwrap_or_default();
            let (before_in, before_out) = (self.state.total_in(), self.state.total_out());
            let status = self.state.decompress(rest, &mut self.buf, FlushDecompress::None);
            let taken = usize::try_from(self.state.total_in().saturating_sub(before_in)).unwrap_or(rest.len());
            let made = usize::try_from(self.state.total_out().saturating_sub(before_out)).unwrap_or(0);
            used = used.saturating_add(taken).min(input.len());
            if let Some(piece) = self.buf.get(..made).filter(|piece| !piece.is_empty()) {
                out(piece)?;
            }
            match status {
                Ok(Status::StreamEnd) => return Ok(Inflated::End(used)),
                Err(_) => return Ok(Inflated::Damaged),
                // A full buffer may hide more to come out of what was taken already.
                Ok(_) if made == self.buf.len() => {}
                Ok(_) if used >= input.len() => return Ok(Inflated::More),
                // Neither taken nor made anything, with input left: it would stay so for ever.
                Ok(_) if taken == 0 && made == 0 => return Ok(Inflated::Damaged),
                Ok(_) => {}
            }
        }
    }
}
