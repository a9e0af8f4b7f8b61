//! What is left of a frame: its bytes, where they lie, and how many there were on the wire.

/// The rest of a frame (or of a packet put together from fragments) from some header on.
///
/// `wire` is never less than `bytes.len()`; the difference is what the snap length, or a lying header, left out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span<'a> {
    /// The bytes that are there.
    pub bytes: &'a [u8],
    /// Where they begin in the frame.
    pub at: usize,
    /// How many there were on the wire, as far as the headers so far tell.
    pub wire: usize,
}

impl<'a> Span<'a> {
    /// A whole frame.
    pub fn new(bytes: &'a [u8], wire: usize) -> Self {
        Self { bytes, at: 0, wire: wire.max(bytes.len()) }
    }

    /// The first `N` bytes and what follows; `None` when they are not there.
    #[inline]
    pub fn take<const N: usize>(self) -> Option<(&'a [u8; N], Self)> {
        let (head, bytes) = self.bytes.split_first_chunk::<N>()?;
        Some((head, Self { bytes, at: self.at + N, wire: self.wire - N }))
    }

    /// What follows the first `n` bytes; `None` when they are not there.
    #[inline]
    pub fn skip(self, n: usize) -> Option<Self> {
        Some(Self { bytes: self.bytes.get(n..)?, at: self.at + n, wire: self.wire - n })
    }

    /// The same with the wire length that a header states: less (what follows is padding) or more (bytes are missing).
    #[inline]
    pub fn with_wire(self, n: usize) -> Self {
        Self { bytes: self.bytes.get(..n).unwrap_or(self.bytes), at: self.at, wire: n }
    }

    /// Whether bytes of it are missing.
    pub const fn is_cut(&self) -> bool {
        self.bytes.len() < self.wire
    }

    /// The high four bits of the first byte: of an IP packet, its version.
    pub fn nibble(&self) -> Option<u8> {
        self.bytes.first().map(|b| b >> 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_lengths_follow_the_headers() {
        let frame = [1, 2, 3, 4, 5, 6];
        let span = Span::new(&frame, 4);
        assert_eq!(span.wire, 6, "a wire length below what was captured is not believed");
        let (head, rest) = span.take::<2>().unwrap();
        assert_eq!((head, rest.at, rest.wire), (&[1, 2], 2, 4));
        assert_eq!(rest.with_wire(3).bytes, [3, 4, 5]);
        let more = rest.with_wire(9);
        assert!(more.is_cut() && more.bytes.len() == 4);
        assert!(rest.skip(5).is_none() && rest.skip(4).unwrap().bytes.is_empty());
    }
}
