//! The packet journal: rows of frames to self-contained blocks of columns, and back to the very frames. *Predict, then
//! patch*: for each frame the header is predicted from what is known of its connection within the block, compared, and
//! what differs is stored; what the predictor does not know costs bytes, never truth. Payload is a reference into the
//! stream, or the bytes. FORMAT.md has every rule, in the order a reader needs them.

mod block;
mod columns;
mod decode;
mod encode;
mod index;
mod layout;
mod predict;
mod reading;
mod rows;
mod slot;
mod sum;
#[cfg(test)]
mod tests;
mod truth;
mod varint;

use std::fmt;

pub use decode::{JournalBlock, JournalFrame};
pub use encode::Encoder;
pub use rows::Rows;

/// The most bytes that are kept of a frame.
pub const MAX_FRAME: usize = 262_144;
/// The most bytes of a block.
pub const MAX_BLOCK: usize = 1 << 20;
/// The most connections that one block lists: what bounds a reader's memory.
const MAX_CONNECTIONS: usize = 16_384;
/// Ethernet frames are at least this long without their check sequence, so shorter ones are padded (IEEE 802.3 §3.2.8).
const MIN_ETHERNET: u32 = 60;

/// What is wrong with a journal block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalError {
    /// It, or one of its columns, ends too early.
    Short,
    /// Another version wrote it.
    Version(u8),
    /// It contradicts itself.
    Bad(&'static str),
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("the journal block ends too early"),
            Self::Version(found) => {
                write!(
                    f,
                    "the journal block is of version {found}, and this program reads version {}",
                    columns::VERSION
                )
            }
            Self::Bad(what) => write!(f, "the journal block has {what}"),
        }
    }
}

impl std::error::Error for JournalError {}
