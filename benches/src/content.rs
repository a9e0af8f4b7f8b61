//! Bytes: numbers by chance, and content that shrinks about as much as what networks carry.

/// Numbers by chance, the same for the same seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 when that is 0.
    pub const fn below(&mut self, n: u64) -> u64 {
        match self.draw().checked_rem(n) {
            Some(rest) => rest,
            None => 0,
        }
    }
}

const WORDS: [&[u8]; 16] = [
    b"<div class=\"",
    b"</div>\n",
    b"the ",
    b"stream ",
    b"of ",
    b"bytes ",
    b"function(",
    b") { return ",
    b"; }\n",
    b"\"name\": ",
    b"network ",
    b"defenders ",
    b"http://example.org/",
    b"index.html",
    b"    ",
    b"0123456789",
];

/// `len` bytes: stretches of 16 KiB of words and of noise take turns, so that half of it shrinks well and half not at all.
pub fn content(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random(seed);
    let mut bytes = Vec::with_capacity(len + 32);
    while bytes.len() < len {
        let draw = random.draw();
        if (bytes.len() >> 14) & 1 == 0 {
            bytes.extend_from_slice(WORDS.get((draw & 15) as usize).copied().unwrap_or_default());
        } else {
            bytes.extend_from_slice(&draw.to_le_bytes());
        }
    }
    bytes.truncate(len);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_the_same_each_time_and_differs_by_seed() {
        let one = content(1, 100_000);
        assert_eq!(one.len(), 100_000);
        assert_eq!(one, content(1, 100_000));
        assert_ne!(one, content(2, 100_000));
        assert_eq!(Random(1).below(0), 0);
    }
}
