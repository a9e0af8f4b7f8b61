//! What a source gives: frames, and what is said beside them.

use streamdb_types::{Interface, Timestamp};

/// The most bytes of one frame that are accepted (libpcap's MAXIMUM_SNAPLEN); a record that claims more is damaged.
pub const MAX_FRAME: usize = 262_144;

/// The most interfaces of one capture file.
pub const MAX_INTERFACES: u32 = 65_536;

/// A frame as read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// When it was captured, as the capture says.
    pub time: Timestamp,
    /// The reader's running number of the interface, announced by an [`Item::Interface`] before.
    pub interface: u32,
    /// How many bytes it had on the wire, as the capture says; a few captures claim fewer than were captured.
    pub wire_len: u32,
    /// The bytes that were captured; at most [`MAX_FRAME`].
    pub data: &'a [u8],
}

/// Frames that were lost before they reached the capture file, since the last item of this kind about the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drops {
    /// The reader's running number of the interface.
    pub interface: u32,
    /// Frames dropped by the kernel (pcapng `isb_osdrop`, `epb_dropcount`, the drops of an obsolete packet block).
    pub by_kernel: u64,
    /// Frames dropped by the interface (pcapng `isb_ifdrop`).
    pub by_interface: u64,
    /// From when until when, by the clock of the frames; `None` where that is since the last item of this kind.
    pub between: Option<(Timestamp, Timestamp)>,
}

/// One thing that a capture says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// The interface of this running number; numbers come in order, from 0.
    Interface(u32, &'a Interface),
    /// A frame.
    Frame(Frame<'a>),
    /// Keys for decryption: the body of a pcapng decryption secrets block.
    Secrets {
        /// What they are: the number of the pcapng specification, e.g. 0x544c534b for a TLS key log.
        kind: u32,
        /// The keys as they stood; at most 16 MiB.
        data: &'a [u8],
    },
    /// The body of a pcapng name resolution block, its record headers turned to little-endian; at most 16 MiB. It is
    /// handed on as it stood, its records not checked.
    Names(&'a [u8]),
    /// Frames lost before the capture file. Never both 0.
    Drops(Drops),
}

/// A place in the input's buffer, good until more is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) length: usize,
}

impl Span {
    /// What begins `skip` bytes further on, of `length` bytes.
    pub(crate) const fn part(self, skip: usize, length: usize) -> Self {
        Self { start: self.start + skip, length }
    }
}

/// An [`Item`] that does not borrow.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found {
    Interface(u32),
    Frame { time: Timestamp, interface: u32, wire_len: u32, data: Span },
    Secrets { kind: u32, data: Span },
    Names(Span),
    Drops(Drops),
}
