//! The Internet checksum (RFC 1071): one's complement sums of 16-bit big-endian words.

/// The sum of all words, folded to 16 bits and not complemented; an odd last byte counts as the high half of a word.
pub(super) fn sum(bytes: &[u8]) -> u16 {
    // The sum does not mind the byte order of the words (RFC 1071 §2 B), nor their width as long as carries are kept: whole
    // little-endian u64 are split in halves that have room for 2^32 carries, which compilers turn into vector adds.
    let (chunks, rest) = bytes.as_chunks::<64>();
    let mut total = if chunks.is_empty() { 0 } else { sum_chunks(chunks) };
    let (words, rest) = rest.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word);
        total += (word & 0xffff_ffff) + (word >> 32);
    }
    let rest = match rest.split_first_chunk::<4>() {
        Some((word, rest)) => {
            total += u64::from(u32::from_le_bytes(*word));
            rest
        }
        None => rest,
    };
    total += match *rest {
        [a] => u64::from(a),
        [a, b] => u64::from(u16::from_le_bytes([a, b])),
        [a, b, c] => u64::from(u32::from_le_bytes([a, b, c, 0])),
        _ => 0,
    };
    total = (total & 0xffff_ffff) + (total >> 32);
    total = (total & 0xffff_ffff) + (total >> 32);
    fold(total as u32).swap_bytes()
}

fn sum_chunks(chunks: &[[u8; 64]]) -> u64 {
    let mut lanes = [0u64; 8];
    for chunk in chunks {
        let (words, _) = chunk.as_chunks::<8>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            let word = u64::from_le_bytes(*word);
            *lane += (word & 0xffff_ffff) + (word >> 32);
        }
    }
    lanes.iter().sum()
}

/// A sum with its carries added in.
pub(super) const fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum + (sum >> 16)) as u16
}

/// The sum of bytes whose first one lies at an odd distance from where counting began.
pub(super) const fn shifted(sum: u16, odd: bool) -> u32 {
    (if odd { sum.swap_bytes() } else { sum }) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slow(bytes: &[u8]) -> u16 {
        let mut total = 0u32;
        for pair in bytes.chunks(2) {
            total += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            total = (total & 0xffff) + (total >> 16);
        }
        total as u16
    }

    proptest! {
        #[test]
        fn sums_are_as_defined(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(255)], 0..400), cut in 0usize..400) {
            // 0 and 0xffff are the same number in one's complement; sums of something not zero never fold to 0.
            prop_assert_eq!(sum(&bytes), slow(&bytes));
            let cut = cut.min(bytes.len());
            let parts = u32::from(sum(&bytes[..cut])) + shifted(sum(&bytes[cut..]), cut % 2 == 1);
            prop_assert_eq!(fold(parts), slow(&bytes));
        }
    }

    #[test]
    fn the_example_of_rfc_1071() {
        assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
        assert_eq!(sum(&[]), 0);
        assert_eq!(sum(&[0xff; 262_144]), 0xffff);
    }
}
