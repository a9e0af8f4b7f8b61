//! A repeating XOR key taken off the pieces of a body.

use std::fmt;

use crate::body::Piece;

/// Longest key.
const KEY_BYTES: usize = 32;

/// Takes a key off pieces that are given in order from the beginning of what it lies on.
#[derive(Clone)]
pub struct Xor {
    key: Box<[u8]>,
    /// Which byte of the key the next byte was combined with.
    phase: usize,
    plain: Vec<u8>,
}

impl Xor {
    /// A key of 1 to 32 bytes, at its first byte; `None` for another length.
    pub fn new(key: &[u8]) -> Option<Self> {
        let fits = (1..=KEY_BYTES).contains(&key.len());
        fits.then(|| Self { key: key.into(), phase: 0, plain: Vec::new() })
    }

    /// The same piece without the key. A hole stays one, and the key runs on under it.
    pub fn undo(&mut self, piece: Piece<'_>) -> Piece<'_> {
        match piece {
            Piece::Bytes(bytes) => {
                let key = self.key.iter().cycle().skip(self.phase);
                self.plain.clear();
                self.plain.extend(bytes.iter().zip(key).map(|(byte, key)| byte ^ key));
                self.pass(bytes.len() as u64);
                Piece::Bytes(&self.plain)
            }
            Piece::Hole(gap) => {
                self.pass(gap.length);
                Piece::Hole(gap)
            }
        }
    }

    fn pass(&mut self, bytes: u64) {
        let around = self.key.len() as u64;
        // The remainder is below the length of the key.
        self.phase = ((self.phase as u64 + bytes % around) % around) as usize;
    }
}

/// Without the key and the bytes.
impl fmt::Debug for Xor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Xor").field("length", &self.key.len()).field("phase", &self.phase).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use streamdb_types::{Gap, GapKind, StreamOffset};

    use super::*;

    #[test]
    fn keys_have_a_length() {
        for (length, fits) in [(0, false), (1, true), (32, true), (33, false)] {
            assert_eq!(Xor::new(&vec![7; length]).is_some(), fits, "{length}");
        }
    }

    proptest! {
        /// However the bytes are cut, and whatever is missing of them, each byte meets its own byte of the key.
        #[test]
        fn a_key_is_taken_off_in_its_places(
            plain in prop::collection::vec(any::<u8>(), 0..500),
            key in prop::collection::vec(any::<u8>(), 1..=32),
            cuts in prop::collection::vec((1usize..80, any::<bool>()), 1..20),
        ) {
            let coded: Vec<u8> = plain.iter().enumerate().map(|(i, b)| b ^ key[i % key.len()]).collect();
            let mut xor = Xor::new(&key).unwrap();
            let mut at = 0;
            for (length, hole) in cuts.into_iter().cycle() {
                if at == plain.len() {
                    break;
                }
                let end = plain.len().min(at + length);
                let gap = Gap { offset: StreamOffset(at as u64), length: (end - at) as u64, kind: GapKind::Missing };
                let piece = if hole { Piece::Hole(gap) } else { Piece::Bytes(&coded[at..end]) };
                let expected = if hole { Piece::Hole(gap) } else { Piece::Bytes(&plain[at..end]) };
                prop_assert_eq!(xor.undo(piece), expected);
                at = end;
            }
        }

        #[test]
        fn a_hole_longer_than_any_stream_does_not_overflow(length in any::<u64>(), key in 1usize..=32) {
            let key: Vec<u8> = (0..key as u8).collect();
            let mut xor = Xor::new(&key).unwrap();
            xor.undo(Piece::Bytes(b"x"));
            xor.undo(Piece::Hole(Gap { offset: StreamOffset(1), length, kind: GapKind::Missing }));
            let place = (u128::from(length) + 1) % key.len() as u128;
            prop_assert_eq!(xor.undo(Piece::Bytes(b"\0")), Piece::Bytes(&[key[place as usize]]));
        }
    }
}
