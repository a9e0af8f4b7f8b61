//! How much of what a stranger sent is worth doing.

/// Bounds on the messages of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most messages of a stream; the last one is then the rest, of kind stream.
    pub messages: u32,
    /// Most bytes of a head; what a longer one begins is one message of kind stream.
    pub head: usize,
    /// Most bytes of names and values kept in memory for all messages of a stream; beyond, the rest is one message.
    pub kept: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { messages: 100_000, head: 256 << 10, kept: 64 << 20 }
    }
}

/// Bounds on the decoding of one body. They hold for each of its codings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// Most bytes out.
    pub output: u64,
    /// Most bytes out for each byte in, once more than [`ratio_from`](Self::ratio_from) came out.
    pub ratio: u64,
    /// Bytes out up to which the ratio is not looked at.
    pub ratio_from: u64,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self { output: 4 << 30, ratio: 2000, ratio_from: 64 << 20 }
    }
}
