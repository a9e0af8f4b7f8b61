//! TCP sequence numbers: a ring of 2^32 in which there is no order, only a distance (RFC 9293 §3.4).

/// A sequence number. It has no `Ord`, as the ring has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SeqNum(pub u32);

impl SeqNum {
    /// The number `n` further on.
    #[must_use]
    pub const fn add(self, n: u32) -> Self {
        Self(self.0.wrapping_add(n))
    }

    /// How far `self` lies beyond `from`, the shorter way round: negative when it lies before. A distance of exactly half
    /// the ring is negative.
    pub const fn distance(self, from: Self) -> i32 {
        self.0.wrapping_sub(from.0) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_wrap() {
        assert_eq!(SeqNum(5).distance(SeqNum(u32::MAX - 4)), 10);
        assert_eq!(SeqNum(u32::MAX - 4).distance(SeqNum(5)), -10);
        assert_eq!(SeqNum(0).distance(SeqNum(1 << 31)), i32::MIN);
        assert_eq!(SeqNum(u32::MAX).add(2), SeqNum(1));
    }
}
