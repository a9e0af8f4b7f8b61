//! What the codings of mail have in common: they are texts, and go from letter to letter.

use super::{Decoder, Fault, Halt, Out, STEP_BYTES};

/// What letters stand for.
pub(super) trait Letters: Default {
    /// Takes the next letter.
    fn take(&mut self, byte: u8);

    /// There is no more: whether something was damaged, and whether the end is cut off.
    fn end(&mut self) -> (bool, bool);

    /// What they stood for since the last time.
    fn made(&mut self) -> &mut Vec<u8>;
}

/// The decoder of such a coding.
#[derive(Default)]
pub(super) struct ByLetter<L>(pub(super) L);

impl<L: Letters> ByLetter<L> {
    fn hand_on(&mut self, out: Out<'_>) -> Result<(), Halt> {
        let made = self.0.made();
        if made.is_empty() {
            return Ok(());
        }
        let done = out(made);
        made.clear();
        done
    }
}

impl<L: Letters> Decoder for ByLetter<L> {
    fn push(&mut self, input: &[u8], out: Out<'_>) -> Result<(), Halt> {
        for step in input.chunks(STEP_BYTES) {
            step.iter().for_each(|byte| self.0.take(*byte));
            self.hand_on(out)?;
        }
        Ok(())
    }

    fn finish(&mut self, out: Out<'_>) -> Result<Option<Fault>, Halt> {
        let (damaged, cut) = self.0.end();
        self.hand_on(out)?;
        Ok(match (damaged, cut) {
            (true, _) => Some(Fault::Damaged),
            (false, true) => Some(Fault::Truncated),
            (false, false) => None,
        })
    }
}
