//! What lies inside an object: so far an executable under a repeating XOR key.

use std::ops::ControlFlow;

use streamdb_extract::{Piece, Xor};
use streamdb_types::Gap;

/// Takes the outer layer off pieces that come in order.
#[derive(Debug)]
pub(crate) struct Inside {
    xor: Xor,
    /// Bytes of the outer object that are still to be left out.
    skip: u64,
}

impl Inside {
    /// What lies under a key, after the first `begins` bytes; `None` for a key that cannot be.
    pub(crate) fn under(key: &[u8], begins: u64) -> Option<Self> {
        Some(Self { xor: Xor::new(key)?, skip: begins })
    }

    /// Hands on a piece of the outer object as one of the inner.
    pub(crate) fn piece(
        &mut self,
        piece: Piece<'_>,
        out: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let skipped;
        let rest = match piece {
            Piece::Bytes(bytes) => {
                skipped = self.skip.min(bytes.len() as u64);
                Piece::Bytes(usize::try_from(skipped).ok().and_then(|at| bytes.get(at..)).unwrap_or_default())
            }
            Piece::Hole(gap) => {
                skipped = self.skip.min(gap.length);
                Piece::Hole(Gap { offset: gap.offset.add(skipped), length: gap.length - skipped, ..gap })
            }
        };
        self.skip -= skipped;
        match rest {
            Piece::Bytes([]) | Piece::Hole(Gap { length: 0, .. }) => ControlFlow::Continue(()),
            rest => out(self.xor.undo(rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamdb_types::{GapKind, StreamOffset};

    #[test]
    fn what_comes_before_is_left_out_and_the_key_runs_under_holes() {
        let plain = b"MZ and the rest of it";
        let hidden: Vec<u8> = plain.iter().enumerate().map(|(i, b)| b ^ b"ab"[i % 2]).collect();
        let outer = [&b"abab"[..], &hidden].concat();
        for cut in 0..outer.len() {
            let mut inside = Inside::under(b"ab", 4).unwrap();
            let mut out = Vec::new();
            let mut take = |piece: Piece<'_>| {
                match piece {
                    Piece::Bytes(bytes) => out.extend_from_slice(bytes),
                    Piece::Hole(gap) => out.extend(std::iter::repeat_n(b'?', gap.length as usize)),
                }
                ControlFlow::Continue(())
            };
            let hole = Gap { offset: StreamOffset(cut as u64), length: 1, kind: GapKind::Missing };
            for piece in [Piece::Bytes(&outer[..cut]), Piece::Hole(hole), Piece::Bytes(&outer[cut + 1..])] {
                assert!(inside.piece(piece, &mut take).is_continue());
            }
            let mut wanted = plain.to_vec();
            if cut >= 4 {
                wanted[cut - 4] = b'?';
            }
            assert_eq!(out, wanted, "{cut}");
        }
    }
}
