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
    /// How many there can have been: what the innermost header that states a length leaves room for.
    limit: usize,
}

impl<'a> Span<'a> {
    /// A whole frame. Its own length is no limit: tools that cut frames do not always keep it.
    pub fn frame(bytes: &'a [u8], wire: usize) -> Self {
        Self { bytes, at: 0, wire: wire.max(bytes.len()), limit: usize::MAX }
    }

    /// A packet put together from fragments, of which nothing is missing.
    pub const fn packet(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, wire: bytes.len(), limit: bytes.len() }
    }

    /// The beginning of a packet of which nobody knows how long it is.
    pub const fn begun(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, wire: usize::MAX, limit: usize::MAX }
    }

    /// The first `N` bytes and what follows; `None` when they are not there.
    #[inline]
    pub fn take<const N: usize>(self) -> Option<(&'a [u8; N], Self)> {
        let (head, bytes) = self.bytes.split_first_chunk::<N>()?;
        Some((head, self.rest(bytes, N)))
    }

    /// What follows the first `n` bytes; `None` when they are not there.
    #[inline]
    pub fn skip(self, n: usize) -> Option<Self> {
        Some(self.rest(self.bytes.get(n..)?, n))
    }

    /// What is left without the first `n` bytes, of which there are that many.
    #[inline]
    const fn rest(self, bytes: &'a [u8], n: usize) -> Self {
        Self { bytes, at: self.at + n, wire: self.wire - n, limit: self.limit - n }
    }

    /// The same with the wire length that a header states: less (what follows is padding) or more (bytes are missing), but
    /// not more than the header around it has room for.
    #[inline]
    pub fn with_wire(self, n: usize) -> Self {
        let wire = n.min(self.limit);
        Self { bytes: self.bytes.get(..wire).unwrap_or(self.bytes), at: self.at, wire, limit: wire }
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
        let span = Span::frame(&frame, 4);
        assert_eq!(span.wire, 6, "a wire length below what was captured is not believed");
        let (head, rest) = span.take::<2>().unwrap();
        assert_eq!((head, rest.at, rest.wire), (&[1, 2], 2, 4));
        assert_eq!(rest.with_wire(3).bytes, [3, 4, 5]);
        let more = rest.with_wire(9);
        assert!(more.is_cut() && more.bytes.len() == 4);
        assert_eq!(more.with_wire(12).wire, 9, "there is no room for more");
        assert_eq!(Span::packet(&frame).with_wire(7).wire, 6);
        assert!(rest.skip(5).is_none() && rest.skip(4).unwrap().bytes.is_empty());
    }
}
