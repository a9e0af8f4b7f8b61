//! What compressed messages of one direction refer to (RFC 7692 §7.1.1): the last 32 KiB of all that was compressed before, which is
//! decoded here to be known. What is kept is enough for each message, and shared by all.

use std::ops::Range;

use streamdb_types::StreamOffset;

use crate::body::Piece;
use crate::coding::Halt;
use crate::coding::permessage::{Permessage, WINDOW_BYTES};
use crate::message::Incomplete;
use crate::part::{Part, Undo};
use crate::window::Window;
use crate::xor::Xor;

/// Most bytes that are decoded of one direction.
const DECODED: u64 = 1 << 30;

/// What was compressed so far.
pub(super) struct Contexts {
    decoder: Permessage,
    /// The last 32 KiB, or all, of what each message held.
    pub kept: Vec<u8>,
    decoded: u64,
    /// Why the rest cannot be decoded.
    pub lost: Option<Incomplete>,
}

impl Contexts {
    pub(super) fn new() -> Self {
        Self { decoder: Permessage::new(), kept: Vec::new(), decoded: 0, lost: None }
    }

    /// What the next message refers to, in what is kept.
    pub(super) fn window(&self) -> Range<usize> {
        self.kept.len().saturating_sub(WINDOW_BYTES)..self.kept.len()
    }

    /// Goes over a whole message; `most` is how many bytes may be kept.
    pub(super) fn pass(&mut self, part: &Part, window: &mut Window<'_>, most: usize) {
        if self.lost.is_some() {
            return;
        }
        if let Some(why) = part.incomplete {
            self.lost = Some(why);
            return;
        }
        let mut plain = Vec::new();
        self.lost = match self.decode(part, window, &mut plain) {
            Ok(()) => None,
            Err(Halt::Output) => Some(Incomplete::Limit),
            Err(_) => Some(Incomplete::Malformed),
        };
        self.kept.extend(plain.get(plain.len().saturating_sub(WINDOW_BYTES)..).unwrap_or_default());
        if self.kept.len() > most {
            self.lost = Some(Incomplete::Limit);
        }
    }

    fn decode(&mut self, part: &Part, window: &mut Window<'_>, plain: &mut Vec<u8>) -> Result<(), Halt> {
        use crate::coding::Decoder as _;
        let Self { decoder, decoded, .. } = self;
        let mut take = |piece: &[u8]| {
            crate::coding::permessage::remember(plain, piece);
            *decoded = decoded.saturating_add(piece.len() as u64);
            if *decoded > DECODED { Err(Halt::Output) } else { Ok(()) }
        };
        for (n, range) in part.content.iter().enumerate() {
            let mut xor = match &part.undo {
                Undo::Masks(masks) => masks.get(n).and_then(|mask| Xor::new(mask)),
                _ => None,
            };
            let mut at = range.start;
            while at < range.end {
                let left = usize::try_from(range.end - at).unwrap_or(usize::MAX);
                let view = window.look(StreamOffset(at), 1);
                let bytes = view.bytes.get(..left).unwrap_or(view.bytes);
                if bytes.is_empty() {
                    return Err(Halt::Stopped);
                }
                at += bytes.len() as u64;
                match xor.as_mut().map(|xor| xor.undo(Piece::Bytes(bytes))) {
                    Some(Piece::Bytes(bytes)) => decoder.push(bytes, &mut take)?,
                    _ => decoder.push(bytes, &mut take)?,
                }
            }
        }
        decoder.goes_on(&mut take)
    }
}
