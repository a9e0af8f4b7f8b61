//! Frames (RFC 6455 §5.2).

use crate::window::{Stop, Window};
use streamdb_types::StreamOffset;

/// The longest header.
const HEADER_BYTES: usize = 14;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// Goes on with a message.
    Continuation,
    /// Begins a message.
    Data,
    Close,
    /// Ping and pong.
    Control,
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub kind: Type,
    /// The last of its message.
    pub last: bool,
    /// The three bits that extensions use.
    pub reserved: u8,
    /// The key that its payload lies under; of zeros when there is none.
    pub mask: [u8; 4],
    /// Bytes of the header.
    pub header: u64,
    /// Bytes of the payload.
    pub length: u64,
}

/// What stands where a frame should begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Frame(Frame),
    /// The header breaks off.
    Cut(Stop),
    /// What no frame begins with.
    No,
}

/// The bit before a message's first frame's payload that says that it is compressed (RFC 7692 §6).
pub(super) const RSV1: u8 = 4;

impl Frame {
    pub(super) fn read(window: &mut Window<'_>, at: StreamOffset) -> Seen {
        let view = window.look(at, HEADER_BYTES);
        let (seen, stop) = (Self::parse(view.bytes), view.stop);
        match (seen, stop) {
            (Some(seen), _) => seen,
            (None, Some(stop)) => Seen::Cut(stop),
            (None, None) => Seen::No,
        }
    }

    /// `None` when more bytes are needed.
    fn parse(bytes: &[u8]) -> Option<Seen> {
        let [first, second, rest @ ..] = bytes else { return None };
        let (length, rest, extended) = match second & 0x7f {
            126 => {
                let (length, rest) = rest.split_first_chunk::<2>()?;
                (u64::from(u16::from_be_bytes(*length)), rest, 2)
            }
            127 => {
                let (length, rest) = rest.split_first_chunk::<8>()?;
                (u64::from_be_bytes(*length), rest, 8)
            }
            length => (u64::from(length), rest, 0),
        };
        let (mask, key) = match second & 0x80 {
            0 => ([0; 4], 0),
            _ => (*rest.first_chunk::<4>()?, 4),
        };
        let kind = match first & 0xf {
            0 => Type::Continuation,
            1 | 2 => Type::Data,
            8 => Type::Close,
            9 | 10 => Type::Control,
            _ => return Some(Seen::No),
        };
        let last = first & 0x80 != 0;
        let control = matches!(kind, Type::Close | Type::Control);
        // RFC 6455 §5.5; and lengths whose highest bit is set are none (§5.2).
        if (control && (!last || second & 0x7f > 125)) || length >> 63 != 0 {
            return Some(Seen::No);
        }
        Some(Seen::Frame(Self { kind, last, reserved: first >> 4 & 7, mask, header: 2 + extended + key, length }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemorySource;

    #[test]
    fn headers_are_read() {
        let read = |bytes: &[u8]| Frame::read(&mut Window::new(&MemorySource::new(bytes), 8), StreamOffset(0));
        let frame =
            |kind, last, mask, header, length| Seen::Frame(Frame { kind, last, reserved: 0, mask, header, length });
        assert_eq!(read(b"\x81\x05Hello"), frame(Type::Data, true, [0; 4], 2, 5));
        assert_eq!(read(b"\x01\x83\x37\xfa\x21\x3d\x7f"), frame(Type::Data, false, [0x37, 0xfa, 0x21, 0x3d], 6, 3));
        assert_eq!(read(b"\x80\x7e\x01\x00"), frame(Type::Continuation, true, [0; 4], 4, 256));
        assert_eq!(read(b"\x82\x7f\0\0\0\0\0\x01\0\0"), frame(Type::Data, true, [0; 4], 10, 65_536));
        assert!(matches!(read(b"\xc1\x00"), Seen::Frame(Frame { reserved: RSV1, .. })));
        for cut in [&b""[..], b"\x81", b"\x81\x7e\x01", b"\x81\x85abc"] {
            assert_eq!(read(cut), Seen::Cut(Stop::End));
        }
        for wrong in [&b"\x83\x00"[..], b"\x09\x00", b"\x89\x7e\x00\x01", b"\x82\x7f\x80\0\0\0\0\0\0\0"] {
            assert_eq!(read(wrong), Seen::No, "{}", wrong.escape_ascii());
        }
    }
}
