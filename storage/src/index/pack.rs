//! Numbers in as few bits as the widest of them needs.

use crate::format::bytes::Short;

/// Rows of a block.
pub(super) const BLOCK: usize = 128;
/// Bytes behind packed numbers, so that each is read by one load.
pub(super) const SLACK: usize = 16;

/// How many bits a number needs.
pub(super) const fn width(n: u64) -> u8 {
    (64 - n.leading_zeros()) as u8
}

/// Bytes that so many numbers of so many bits take.
pub(super) const fn packed_len(count: usize, width: u8) -> usize {
    (count * width as usize).div_ceil(8)
}

/// Appends numbers of `width` bits, the lowest bits first.
pub(super) fn put_packed(out: &mut Vec<u8>, numbers: impl Iterator<Item = u64>, width: u8) {
    let (mut held, mut bits) = (0u128, 0u32);
    for n in numbers {
        held |= u128::from(n) << bits;
        bits += u32::from(width);
        while bits >= 8 {
            out.push(held as u8);
            held >>= 8;
            bits -= 8;
        }
    }
    if bits > 0 {
        out.push(held as u8);
    }
}

/// The number at `at` of those that begin with these bytes, and have [`SLACK`] behind them.
pub(super) fn packed(bytes: &[u8], at: usize, width: u8) -> Result<u64, Short> {
    let bit = at * width as usize;
    let bytes = bytes.get(bit / 8..).and_then(|rest| rest.first_chunk::<16>()).ok_or(Short)?;
    let mask = if width >= 64 { u64::MAX } else { (1 << width) - 1 };
    Ok((u128::from_le_bytes(*bytes) >> (bit % 8)) as u64 & mask)
}

/// Rows of a table, column by column, each as its difference to the least of its block.
///
/// ```text
/// block  := (least u64, width u8) for each column, then for each column 128 numbers of `width` bits, then 16 bytes of 0
/// ```
///
/// The last block of a table is filled up with its own least numbers. `rows` are one after the other, all columns of each.
pub(super) fn put_block(out: &mut Vec<u8>, rows: &[u64], columns: usize) {
    let count = rows.len() / columns.max(1);
    let column = |column: usize| rows.iter().skip(column).step_by(columns).copied();
    let mut heads = Vec::with_capacity(columns);
    for at in 0..columns {
        let least = column(at).min().unwrap_or_default();
        let width = width(column(at).max().unwrap_or_default() - least);
        heads.push((least, width));
        out.extend(least.to_le_bytes());
        out.push(width);
    }
    for (at, (least, width)) in heads.into_iter().enumerate() {
        let values = column(at).map(|value| value - least);
        put_packed(out, values.chain(std::iter::repeat_n(0, BLOCK.saturating_sub(count))), width);
    }
    out.extend([0; SLACK]);
}

/// Bytes of a block's head.
pub(super) const fn block_head(columns: usize) -> usize {
    columns * 9
}

/// Bytes of the whole block that has this head.
pub(super) fn block_len(head: &[u8]) -> Result<usize, Short> {
    let mut bits = 0;
    for column in head.chunks_exact(9) {
        let width = *column.last().ok_or(Short)?;
        if width > 64 {
            return Err(Short);
        }
        bits += width as usize;
    }
    Ok(head.len() + bits * (BLOCK / 8) + SLACK)
}

/// A block that is read.
#[derive(Clone, Copy)]
pub(super) struct Block<'b> {
    bytes: &'b [u8],
    columns: usize,
}

impl<'b> Block<'b> {
    pub(super) const fn new(bytes: &'b [u8], columns: usize) -> Self {
        Self { bytes, columns }
    }

    /// Where a column's numbers begin, its least, and its width.
    fn column(&self, column: usize) -> Result<(usize, u64, u8), Short> {
        let head = self.bytes.get(..block_head(self.columns)).ok_or(Short)?;
        let before: usize =
            head.chunks_exact(9).take(column).map(|c| c.last().map_or(0, |width| *width as usize)).sum();
        let (least, rest) = head.get(column * 9..).and_then(|rest| rest.split_first_chunk::<8>()).ok_or(Short)?;
        let width = *rest.first().ok_or(Short)?;
        Ok((head.len() + before * (BLOCK / 8), u64::from_le_bytes(*least), width))
    }

    /// One value.
    pub(super) fn get(&self, column: usize, row: usize) -> Result<u64, Short> {
        let (start, least, width) = self.column(column)?;
        Ok(least.wrapping_add(packed(self.bytes.get(start..).ok_or(Short)?, row, width)?))
    }

    /// All columns of a row.
    pub(super) fn row(&self, row: usize, values: &mut [u64]) -> Result<(), Short> {
        let mut start = block_head(self.columns);
        let mut head = self.bytes.get(..start).ok_or(Short)?.chunks_exact(9);
        for value in values {
            let (least, width) = head.next().and_then(|c| c.split_first_chunk::<8>()).ok_or(Short)?;
            let width = *width.first().ok_or(Short)?;
            let packed = packed(self.bytes.get(start..).ok_or(Short)?, row, width)?;
            *value = u64::from_le_bytes(*least).wrapping_add(packed);
            start += width as usize * (BLOCK / 8);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_go_there_and_back(numbers in prop::collection::vec(any::<u64>(), 0..300), width in 0u8..=64) {
            let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
            let mut out = Vec::new();
            put_packed(&mut out, numbers.iter().map(|n| n & mask), width);
            prop_assert_eq!(out.len(), packed_len(numbers.len(), width));
            out.extend([0; SLACK]);
            for (at, n) in numbers.iter().enumerate() {
                prop_assert_eq!(packed(&out, at, width), Ok(n & mask));
            }
        }

        #[test]
        fn blocks_go_there_and_back(rows in prop::collection::vec(any::<[u64; 3]>(), 1..=BLOCK), small: bool) {
            let rows: Vec<[u64; 3]> = rows.into_iter().map(|row| if small { row.map(|n| n % 1000) } else { row }).collect();
            let mut out = Vec::new();
            put_block(&mut out, &rows.concat(), 3);
            prop_assert_eq!(block_len(&out[..block_head(3)]), Ok(out.len()));
            let block = Block::new(&out, 3);
            for (at, row) in rows.iter().enumerate() {
                let mut values = [0; 3];
                block.row(at, &mut values).unwrap();
                prop_assert_eq!(&values, row);
                for (column, value) in row.iter().enumerate() {
                    prop_assert_eq!(block.get(column, at), Ok(*value));
                }
            }
        }
    }

    #[test]
    fn what_is_short_is_refused() {
        assert_eq!(packed(&[0; 15], 0, 8), Err(Short));
        assert_eq!(block_len(&[65; 9]), Err(Short));
        assert_eq!(Block::new(&[0; 20], 3).get(0, 0), Err(Short));
    }
}
