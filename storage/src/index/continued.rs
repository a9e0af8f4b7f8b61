//! Which connections a file has continuations of, in a few bits for each: those that it has not are mostly known not to be
//! there without a look. A Bloom filter whose bits of one connection lie in one word.

use streamdb_types::{BucketId, ConnKey};

use super::layout::{CONTINUATIONS, CONTINUED, Continuation};
use super::write::FileWriter;
use crate::error::Result;
use crate::format::bytes::Short;

/// Bits for each.
const BITS: u64 = 12;
/// Most words that are read: 1 GiB.
const MOST: usize = 1 << 27;

#[derive(Debug, Default)]
pub(super) struct Continued {
    words: Vec<u64>,
}

impl Continued {
    pub(super) fn with_room_for(connections: u64) -> Self {
        let words = connections.saturating_mul(BITS).div_ceil(64).next_power_of_two().min(MOST as u64);
        Self { words: vec![0; if connections == 0 { 0 } else { words as usize }] }
    }

    /// Which word, and which of its bits.
    fn place(&self, key: ConnKey) -> (usize, u64) {
        let mut n = key.bucket.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ u64::from(key.number).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        n = (n ^ n >> 31).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^= n >> 29;
        let mask = [n, n >> 6, n >> 12, n >> 18].into_iter().fold(0, |mask, n| mask | 1 << (n & 63));
        ((n >> 32) as usize & self.words.len().saturating_sub(1), mask)
    }

    fn insert(&mut self, key: ConnKey) {
        let (at, mask) = self.place(key);
        if let Some(word) = self.words.get_mut(at) {
            *word |= mask;
        }
    }

    pub(super) fn may_have(&self, key: ConnKey) -> bool {
        let (at, mask) = self.place(key);
        self.words.get(at).is_some_and(|word| word & mask == mask)
    }

    pub(super) fn decode(bytes: &[u8]) -> std::result::Result<Self, Short> {
        let words: Vec<u64> = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        // Any other number would leave some of them out.
        if words.is_empty() || words.len().is_power_of_two() { Ok(Self { words }) } else { Err(Short) }
    }

    /// What it takes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.words.len() * 8
    }
}

/// Writes continuations, ascending, at most so many.
pub(super) struct ContinuationsWriter(Continued);

impl ContinuationsWriter {
    pub(super) fn begin(file: &mut FileWriter<'_>, most: u64) -> Result<Self> {
        file.begin(CONTINUATIONS)?;
        Ok(Self(Continued::with_room_for(most)))
    }

    pub(super) fn put(&mut self, file: &mut FileWriter<'_>, continuation: Continuation) -> Result<()> {
        self.0.insert(ConnKey { bucket: BucketId(continuation.key_bucket), number: continuation.key_number });
        let mut bytes = Vec::with_capacity(Continuation::BYTES);
        continuation.encode(&mut bytes);
        file.put(&bytes)
    }

    pub(super) fn finish(self, file: &mut FileWriter<'_>) -> Result<()> {
        file.begin(CONTINUED)?;
        self.0.words.iter().try_for_each(|word| file.put(&word.to_le_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_there_are_found_and_few_others() {
        let key = |n: u64| ConnKey { bucket: BucketId(n / 7), number: (n % 7) as u32 };
        let mut continued = Continued::with_room_for(10_000);
        (0..10_000).for_each(|n| continued.insert(key(n)));
        assert!((0..10_000).all(|n| continued.may_have(key(n))));
        let wrong = (10_000..110_000).filter(|n| continued.may_have(key(*n))).count();
        assert!(wrong < 5_000, "{wrong} of 100,000");
        assert!(!Continued::default().may_have(key(1)));
        assert!(Continued::decode(&[0; 24]).is_err());
    }
}
