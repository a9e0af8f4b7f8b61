//! The columns of a block, and the block's own header.

use super::JournalError;
use super::varint::{BitReader, BitWriter, Cursor};

/// The first byte of a block: the version of this description.
pub(super) const VERSION: u8 = 1;
/// The most connections back that `who` names by how lately they were seen.
pub(super) const RECENT: usize = 48;

/// Values of `who`; below `2 * RECENT` it is rank and turn.
pub(super) mod who {
    /// A connection seen in this block, its index in column `index`; plus 1 when it turned.
    pub(in super::super) const OLD: u8 = 2 * super::RECENT as u8;
    /// The next connection of the list, to the server; plus 1: to the client.
    pub(in super::super) const NEW: u8 = OLD + 2;
    /// No connection.
    pub(in super::super) const NONE: u8 = NEW + 2;
}

/// Bits of `shape`.
pub(super) mod shape {
    /// Payload length: 0 as last, 1 zero, 2 the other one, 3 in column `length`.
    pub(in super::super) const LENGTH: u8 = 3;
    /// The payload is a piece of the stream that is not the next one; column `offset`.
    pub(in super::super) const OFFSET: u8 = 1 << 2;
    /// Acknowledgement number: 0 as last, 1 all that the peer sent, 2 the last step again, 3 in column `ack`.
    pub(in super::super) const ACK_SHIFT: u32 = 3;
    /// Echoed time stamp: clear as last, set the peer's last one.
    pub(in super::super) const ECHO: u8 = 1 << 5;
    /// Column `misses` has a byte.
    pub(in super::super) const MISSES: u8 = 1 << 6;
    /// Column `odd` has a byte.
    pub(in super::super) const ODD: u8 = 1 << 7;
}

/// Bits of `misses`: what was not as predicted, each with its column.
pub(super) mod miss {
    pub(in super::super) const FLAGS: u8 = 1;
    pub(in super::super) const SEQ: u8 = 1 << 1;
    pub(in super::super) const WINDOW: u8 = 1 << 2;
    pub(in super::super) const STAMP: u8 = 1 << 3;
    pub(in super::super) const ECHO: u8 = 1 << 4;
    pub(in super::super) const ID: u8 = 1 << 5;
    pub(in super::super) const SUMS: u8 = 1 << 6;
    pub(in super::super) const PATCH: u8 = 1 << 7;
}

/// Bits of `odd`.
pub(super) mod odd {
    pub(in super::super) const HEADER: u8 = 1;
    pub(in super::super) const INTERFACE: u8 = 1 << 1;
    pub(in super::super) const WIRE: u8 = 1 << 2;
    pub(in super::super) const TRAILER: u8 = 1 << 3;
    pub(in super::super) const INLINE: u8 = 1 << 4;
    pub(in super::super) const BACKWARDS: u8 = 1 << 5;
    pub(in super::super) const LATE_PATCH: u8 = 1 << 6;
    /// Never set.
    pub(in super::super) const UNKNOWN: u8 = 1 << 7;
}

macro_rules! columns {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The columns while a block is made.
        #[derive(Default)]
        pub(super) struct Out {
            $($(#[$doc])* pub(super) $name: Vec<u8>,)*
            /// Raw bits of `times`.
            pub(super) time_bits: BitWriter,
            /// Raw bits of the other numbers.
            pub(super) bits: BitWriter,
        }

        impl Out {
            pub(super) fn clear(&mut self) {
                $(self.$name.clear();)*
                self.time_bits.clear();
                self.bits.clear();
            }

            /// Bytes so far.
            pub(super) fn len(&self) -> usize {
                0 $(+ self.$name.len())* + self.time_bits.len() + self.bits.len()
            }

            /// The columns in their order.
            pub(super) fn all(&mut self) -> [&[u8]; COLUMNS] {
                [$(&self.$name,)* self.time_bits.finish(), self.bits.finish()]
            }
        }

        /// The columns while a block is read.
        #[derive(Clone, Copy, Default)]
        pub(super) struct In<'a> {
            $(pub(super) $name: Cursor<'a>,)*
            pub(super) time_bits: BitReader<'a>,
            pub(super) bits: BitReader<'a>,
        }

        /// How many there are.
        pub(super) const COLUMNS: usize = [$(stringify!($name)),*].len() + 2;

        impl<'a> In<'a> {
            /// Splits the columns off.
            pub(super) fn split(lengths: &[u32; COLUMNS], mut bytes: Cursor<'a>) -> Result<Self, JournalError> {
                let [$($name,)* time_bits, bits] = lengths;
                let columns = Self {
                    $($name: Cursor(bytes.take(*$name as usize)?),)*
                    time_bits: BitReader::new(bytes.take(*time_bits as usize)?),
                    bits: BitReader::new(bytes.take(*bits as usize)?),
                };
                if bytes.0.is_empty() { Ok(columns) } else { Err(JournalError::Bad("bytes after the last column")) }
            }
        }
    };
}

columns! {
    /// Each row: whose frame it is.
    who,
    /// Index of a connection seen in this block, but not lately.
    index,
    /// Which header a new slot begins from.
    from,
    /// Each row: what is as usual.
    shape,
    /// What was not as predicted.
    misses,
    /// What is out of the ordinary.
    odd,
    /// Each row: token of the time since the row before.
    times,
    /// Payload lengths.
    length,
    /// Tokens of stream offsets.
    offset,
    /// TCP flags.
    flags,
    /// Tokens of sequence numbers.
    seq,
    /// Tokens of acknowledgement numbers.
    ack,
    /// Windows, low bytes.
    window_low,
    /// Windows, high bytes.
    window_high,
    /// Tokens of time stamps.
    stamp,
    /// Tokens of echoed time stamps.
    echo,
    /// IPv4 ids, low bytes.
    id_low,
    /// IPv4 ids, high bytes.
    id_high,
    /// How checksums are made.
    sums,
    /// Checksums that are not made.
    sum_bytes,
    /// Header lengths.
    header,
    /// Interfaces.
    interface,
    /// Lengths on the wire.
    wire,
    /// What follows the payload.
    trailer,
    /// Patches: how many runs.
    runs,
    /// Patches: equal bytes before a run.
    gaps,
    /// Patches: bytes in a run.
    run_lengths,
    /// Patches: the bytes.
    patches,
    /// Bytes that nothing predicts.
    inline,
}
