//! The byte order of a file, and numbers in it.

/// The order of the bytes of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Little,
    Big,
}

impl Order {
    pub(crate) const fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    pub(crate) const fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    pub(crate) const fn u64(self, bytes: [u8; 8]) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(bytes),
            Self::Big => u64::from_be_bytes(bytes),
        }
    }
}

/// The first `N` numbers of 32 bits, and the bytes after them; `None` when there are fewer.
#[inline]
pub(crate) fn words<const N: usize>(bytes: &[u8], order: Order) -> Option<([u32; N], &[u8])> {
    let (head, rest) = bytes.split_at_checked(N.checked_mul(4)?)?;
    let mut numbers = [0; N];
    for (number, word) in numbers.iter_mut().zip(head.as_chunks::<4>().0) {
        *number = order.u32(*word);
    }
    Some((numbers, rest))
}

/// `length` rounded up to whole words of four bytes, as pcapng pads what it holds.
pub(crate) const fn padded(length: usize) -> usize {
    length.saturating_add(3) & !3
}
