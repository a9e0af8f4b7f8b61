//! Frames (RFC 9113 §4, §6): their headers, and what these may say.

use streamdb_types::StreamOffset;

/// A frame begins with a header of this length.
pub(super) const HEADER_BYTES: usize = 9;
/// The largest payload that may be sent without asking (RFC 9113 §6.5.2, SETTINGS_MAX_FRAME_SIZE).
pub(super) const PAYLOAD_BYTES: u32 = 16 << 10;

/// The flag on DATA and HEADERS: the sender's last of this stream.
pub(super) const END_STREAM: u8 = 1;
/// The flag on HEADERS, PUSH_PROMISE and CONTINUATION: the last of this block.
pub(super) const END_HEADERS: u8 = 4;
/// The flag on DATA, HEADERS and PUSH_PROMISE: a length first, padding last.
pub(super) const PADDED: u8 = 8;
/// The flag on HEADERS: five bytes of priority before the block.
pub(super) const PRIORITY: u8 = 0x20;
const ACK: u8 = 1;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Data,
    Headers,
    Priority,
    RstStream,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    /// Of an extension: passed over (RFC 9113 §5.5).
    Other,
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Bytes of its payload.
    pub length: u32,
    pub kind: Type,
    pub flags: u8,
    /// The stream; 0 for the connection.
    pub stream: u32,
    /// Whether the bit that must not be set is.
    reserved: bool,
}

impl Frame {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, kind, flags, s @ ..] = bytes.first_chunk::<HEADER_BYTES>()?;
        let stream = u32::from_be_bytes(*s);
        Some(Self {
            length: u32::from_be_bytes([0, *a, *b, *c]),
            kind: match kind {
                0 => Type::Data,
                1 => Type::Headers,
                2 => Type::Priority,
                3 => Type::RstStream,
                4 => Type::Settings,
                5 => Type::PushPromise,
                6 => Type::Ping,
                7 => Type::GoAway,
                8 => Type::WindowUpdate,
                9 => Type::Continuation,
                _ => Type::Other,
            },
            flags: *flags,
            stream: stream & 0x7fff_ffff,
            reserved: stream >> 31 != 0,
        })
    }

    pub(super) const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Where a frame ends whose header is at `at`.
    pub(super) const fn end(&self, at: StreamOffset) -> StreamOffset {
        at.add(HEADER_BYTES as u64 + self.length as u64)
    }

    /// Whether the connection goes on after it (RFC 9113 §6). Sizes are believed whatever was agreed upon.
    pub(super) const fn is_lawful(&self) -> bool {
        match self.kind {
            Type::Data | Type::Headers | Type::PushPromise | Type::Continuation | Type::Priority => self.stream != 0,
            Type::RstStream => self.stream != 0 && self.length == 4,
            Type::Settings => self.stream == 0 && self.length.is_multiple_of(6) && (!self.has(ACK) || self.length == 0),
            Type::Ping => self.stream == 0 && self.length == 8,
            Type::GoAway => self.stream == 0 && self.length >= 8,
            Type::WindowUpdate => self.length == 4,
            Type::Other => true,
        }
    }

    /// Whether it looks like a frame where there may be other bytes: lawful, and without anything that programs do not send.
    pub(super) const fn is_likely(&self, longest: u32, highest: u32) -> bool {
        let flags = match self.kind {
            Type::Data => END_STREAM | PADDED,
            Type::Headers => END_STREAM | END_HEADERS | PADDED | PRIORITY,
            Type::PushPromise => END_HEADERS | PADDED,
            Type::Continuation => END_HEADERS,
            Type::Settings | Type::Ping => ACK,
            Type::Priority | Type::RstStream | Type::GoAway | Type::WindowUpdate => 0,
            Type::Other => return false,
        };
        let fits = !matches!(self.kind, Type::Priority) || self.length == 5;
        self.is_lawful()
            && fits
            && self.flags & !flags == 0
            && !self.reserved
            && self.length <= longest
            && self.stream <= highest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_judged() {
        let parse = |bytes: [u8; 9]| Frame::parse(&bytes).unwrap();
        let data = parse([0, 1, 2, 0, 9, 0x80, 0, 0, 3]);
        assert_eq!((data.length, data.kind, data.stream), (258, Type::Data, 3));
        assert!(data.has(END_STREAM) && data.has(PADDED) && data.is_lawful() && !data.is_likely(PAYLOAD_BYTES, 100));
        assert_eq!(data.end(StreamOffset(1)), StreamOffset(268));
        assert!(parse([0, 1, 2, 0, 9, 0, 0, 0, 3]).is_likely(258, 3));
        assert!(!parse([0, 1, 2, 0, 9, 0, 0, 0, 3]).is_likely(257, 3));
        assert!(!parse([0, 1, 2, 0, 9, 0, 0, 0, 3]).is_likely(258, 2));
        assert!(!parse([0, 1, 2, 0, 2, 0, 0, 0, 3]).is_likely(258, 3));
        for wrong in [
            [0, 0, 0, 0, 0, 0, 0, 0, 0],
            [0, 0, 5, 3, 0, 0, 0, 0, 1],
            [0, 0, 5, 4, 0, 0, 0, 0, 0],
            [0, 0, 6, 4, 1, 0, 0, 0, 0],
            [0, 0, 6, 4, 0, 0, 0, 0, 1],
            [0, 0, 7, 6, 0, 0, 0, 0, 0],
            [0, 0, 7, 7, 0, 0, 0, 0, 0],
            [0, 0, 3, 8, 0, 0, 0, 0, 0],
        ] {
            assert!(!parse(wrong).is_lawful(), "{wrong:?}");
        }
        assert_eq!(Frame::parse(&[0; 8]), None);
    }
}
