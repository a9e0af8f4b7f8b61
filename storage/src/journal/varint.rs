//! Numbers as bytes: LEB128, zigzag, and a token with raw bits beside it; readers that check every length.

use super::JournalError;

/// Signed to unsigned, small magnitudes to small numbers: 0, -1, 1, -2 become 0, 1, 2, 3.
pub(super) const fn zigzag(v: i64) -> u64 {
    ((v << 1) ^ (v >> 63)) as u64
}

/// What [`zigzag`] was made from.
pub(super) const fn unzigzag(v: u64) -> i64 {
    (v >> 1) as i64 ^ -((v & 1) as i64)
}

/// [`zigzag`] in 32 bits.
pub(super) const fn zigzag32(v: u32) -> u32 {
    (v << 1) ^ ((v as i32) >> 31) as u32
}

/// What [`zigzag32`] was made from.
pub(super) const fn unzigzag32(v: u32) -> u32 {
    (v >> 1) ^ (v & 1).wrapping_neg()
}

/// [`zigzag`] in 16 bits.
pub(super) const fn zigzag16(v: u16) -> u16 {
    (v << 1) ^ ((v as i16) >> 15) as u16
}

/// What [`zigzag16`] was made from.
pub(super) const fn unzigzag16(v: u16) -> u16 {
    (v >> 1) ^ (v & 1).wrapping_neg()
}

/// Appends a number as LEB128: seven bits a byte, the lowest first, the high bit set on all bytes but the last.
pub(super) fn put_varint(out: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

/// The token of a number and how many of its low bits follow as raw bits: numbers below 16 are their own token; else
/// the token has the place of the highest bit and the two bits below it.
pub(super) const fn token(v: u64) -> (u8, u32) {
    if v < 16 {
        return (v as u8, 0);
    }
    let high = 63 - v.leading_zeros();
    let rest = high - 2;
    ((16 + (high - 4) * 4) as u8 + (v >> rest & 3) as u8, rest)
}

/// What a token says of its number: the number with its raw bits zero, and how many those are.
pub(super) const fn untoken(token: u8) -> (u64, u32) {
    if token < 16 {
        return (token as u64, 0);
    }
    let rest = (token as u32 - 16) / 4 + 2;
    ((4 | (token as u64 & 3)) << rest, rest)
}

/// Raw bits, the first in the lowest bit of the first byte.
#[derive(Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    waiting: u64,
    count: u32,
}

impl BitWriter {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        (self.waiting, self.count) = (0, 0);
    }

    /// Appends the low `count` (at most 61) bits of `v`.
    pub(super) fn put(&mut self, v: u64, count: u32) {
        if count > 32 {
            self.put_few(v as u32 as u64, 32);
            self.put_few(v >> 32, count - 32);
        } else {
            self.put_few(v, count);
        }
    }

    fn put_few(&mut self, v: u64, count: u32) {
        self.waiting |= (v & ((1 << count) - 1)) << self.count;
        self.count += count;
        if self.count >= 32 {
            self.bytes.extend_from_slice(&(self.waiting as u32).to_le_bytes());
            self.waiting >>= 32;
            self.count -= 32;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() + 8
    }

    /// Fills up the last byte with zeros; the bytes.
    pub(super) fn finish(&mut self) -> &[u8] {
        let rest = self.waiting.to_le_bytes();
        self.bytes.extend(rest.iter().take(self.count.div_ceil(8) as usize));
        (self.waiting, self.count) = (0, 0);
        &self.bytes
    }
}

/// Appends a number as [`token`] and bits.
pub(super) fn put_number(tokens: &mut Vec<u8>, bits: &mut BitWriter, v: u64) {
    let (token, rest) = token(v);
    tokens.push(token);
    if rest > 0 {
        bits.put(v, rest);
    }
}

/// What is left of a column.
#[derive(Clone, Copy, Default)]
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn byte(&mut self) -> Result<u8, JournalError> {
        let (first, rest) = self.0.split_first().ok_or(JournalError::Short)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn take(&mut self, n: usize) -> Result<&'a [u8], JournalError> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(JournalError::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], JournalError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(JournalError::Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn varint(&mut self) -> Result<u64, JournalError> {
        let mut v = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            v |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(v);
            }
        }
        Err(JournalError::Bad("a varint of more than 64 bits"))
    }

    /// A varint that must fit 32 bits.
    pub(super) fn varint32(&mut self) -> Result<u32, JournalError> {
        u32::try_from(self.varint()?).map_err(|_| JournalError::Bad("a varint of more than 32 bits"))
    }
}

/// Reads what [`BitWriter`] wrote.
#[derive(Clone, Copy, Default)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    waiting: u64,
    count: u32,
}

impl<'a> BitReader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, waiting: 0, count: 0 }
    }

    fn few(&mut self, count: u32) -> Result<u64, JournalError> {
        while self.count < count {
            let byte = if let Some((four, rest)) = self.bytes.split_first_chunk::<4>() {
                self.bytes = rest;
                self.waiting |= u64::from(u32::from_le_bytes(*four)) << self.count;
                self.count += 32;
                continue;
            } else {
                let (first, rest) = self.bytes.split_first().ok_or(JournalError::Short)?;
                self.bytes = rest;
                *first
            };
            self.waiting |= u64::from(byte) << self.count;
            self.count += 8;
        }
        let v = self.waiting & ((1 << count) - 1);
        self.waiting >>= count;
        self.count -= count;
        Ok(v)
    }

    /// The next `count` (at most 61) bits.
    pub(super) fn get(&mut self, count: u32) -> Result<u64, JournalError> {
        if count <= 32 {
            return self.few(count);
        }
        let low = self.few(32)?;
        Ok(low | self.few(count - 32)? << 32)
    }

    /// Reads what [`put_number`] wrote.
    pub(super) fn number(&mut self, tokens: &mut Cursor<'_>) -> Result<u64, JournalError> {
        let (base, rest) = untoken(tokens.byte()?);
        if rest == 0 { Ok(base) } else { Ok(base | self.get(rest)?) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tokens_are_dense() {
        assert_eq!(token(15), (15, 0));
        assert_eq!(token(16), (16, 2));
        assert_eq!(token(u64::MAX), (255, 61));
        let mut next = 0;
        for t in 0..=255 {
            let (base, rest) = untoken(t);
            assert_eq!(u128::from(base), next, "token {t} begins where the last one ends");
            next = u128::from(base) + (1u128 << rest);
        }
        assert_eq!(next, 1 << 64);
    }

    #[test]
    fn hostile_varints_are_errors() {
        assert!(Cursor(&[0x80; 20]).varint().is_err());
        assert!(Cursor(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).varint().is_err());
        assert!(Cursor(&[0x80]).varint().is_err());
        assert!(Cursor(&[0x80, 0x80, 0x80, 0x80, 0x10]).varint32().is_err());
    }

    proptest! {
        #[test]
        fn numbers_come_back(values in prop::collection::vec(any::<u64>().prop_flat_map(|v| (0u32..64).prop_map(move |s| v >> s)), 0..50)) {
            let (mut tokens, mut bits, mut varints) = (Vec::new(), BitWriter::default(), Vec::new());
            for v in &values {
                put_number(&mut tokens, &mut bits, *v);
                put_varint(&mut varints, *v);
                prop_assert_eq!(unzigzag(zigzag(*v as i64)), *v as i64);
                prop_assert_eq!(unzigzag32(zigzag32(*v as u32)), *v as u32);
                prop_assert_eq!(unzigzag16(zigzag16(*v as u16)), *v as u16);
            }
            let bytes = bits.finish().to_vec();
            let (mut tokens, mut bits, mut varints) = (Cursor(&tokens), BitReader::new(&bytes), Cursor(&varints));
            for v in &values {
                prop_assert_eq!(bits.number(&mut tokens).unwrap(), *v);
                prop_assert_eq!(varints.varint().unwrap(), *v);
            }
            prop_assert!(varints.byte().is_err());
        }
    }
}
