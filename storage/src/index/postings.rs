//! The rows that have a value, ascending: runs of 128, each as its first row and the differences in as few bits as they need.
//!
//! ```text
//! list := first u32, differences                            of at most 128 rows; its place is where it begins
//!       | differences of each run, (first u32, back u32)... of more; its place is where the table behind the runs begins
//! differences := width u8, packed (difference - 1)
//! back        := bytes from the run's differences to the table
//! ```
//!
//! How many rows there are is said where the list's place is.

use super::pack::{BLOCK, SLACK, packed, packed_len, put_packed, width};
use super::view::{Bad, Bytes};
use crate::error::Result as StoreResult;
use crate::format::bytes::{Reader, Short};

/// A list that is being written, row after row.
#[derive(Default)]
pub(super) struct ListWriter {
    run: Vec<u32>,
    /// First row, and where in the list its differences are.
    table: Vec<(u32, u64)>,
    bytes: Vec<u8>,
    /// Bytes of runs that were handed on.
    before: u64,
    rows: u64,
}

/// Who takes the bytes of a list.
type Out<'o> = &'o mut dyn FnMut(&[u8]) -> StoreResult<()>;

impl ListWriter {
    /// Bytes that are held before they are handed on.
    const HELD: usize = 1 << 16;

    /// Adds a row, which is greater than the one before.
    pub(super) fn push(&mut self, row: u32, out: Out<'_>) -> StoreResult<()> {
        if self.run.len() == BLOCK {
            self.put_run();
            if self.bytes.len() >= Self::HELD {
                self.hand_on(out)?;
            }
        }
        self.run.push(row);
        self.rows += 1;
        Ok(())
    }

    /// Ends the list, and is ready for another: how many rows it has, and its place counted from where it began.
    pub(super) fn finish(&mut self, out: Out<'_>) -> StoreResult<(u64, u64)> {
        let mut place = 0;
        if self.table.is_empty() {
            let first = self.run.first().copied().unwrap_or_default();
            self.bytes.extend(first.to_le_bytes());
            put_differences(&mut self.bytes, &self.run);
        } else {
            self.put_run();
            place = self.before + self.bytes.len() as u64;
            for (first, at) in &self.table {
                let back = u32::try_from(place - at).unwrap_or(u32::MAX);
                self.bytes.extend(first.to_le_bytes());
                self.bytes.extend(back.to_le_bytes());
            }
        }
        self.hand_on(out)?;
        let rows = self.rows;
        self.run.clear();
        self.table.clear();
        (self.before, self.rows) = (0, 0);
        Ok((rows, place))
    }

    fn put_run(&mut self) {
        self.table.push((self.run.first().copied().unwrap_or_default(), self.before + self.bytes.len() as u64));
        put_differences(&mut self.bytes, &self.run);
        self.run.clear();
    }

    fn hand_on(&mut self, out: Out<'_>) -> StoreResult<()> {
        out(&self.bytes)?;
        self.before += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(())
    }
}

fn put_differences(out: &mut Vec<u8>, run: &[u32]) {
    let differences = || {
        run.windows(2).map(|pair| match pair {
            [a, b] => u64::from(b - a - 1),
            _ => 0,
        })
    };
    let width = width(differences().max().unwrap_or_default());
    out.push(width);
    put_packed(out, differences(), width);
}

/// The most bytes that a run's differences take, with those that have to lie behind.
const RUN_MAX: usize = 1 + packed_len(BLOCK, 32) + SLACK;

/// A list that is read.
#[derive(Clone, Copy)]
pub(super) enum List<'b, B: ?Sized> {
    /// One row, which lies where the list's place would be.
    One(u32),
    /// Several, at this place.
    Many { bytes: &'b B, at: u64, rows: usize },
}

impl<B: Bytes + ?Sized> List<'_, B> {
    pub(super) const fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many { rows, .. } => *rows,
        }
    }

    pub(super) const fn runs(&self) -> usize {
        self.len().div_ceil(BLOCK)
    }

    /// The first row of a run.
    pub(super) fn first(&self, run: usize) -> Result<u32, Bad> {
        match self {
            Self::One(row) => Ok(*row),
            Self::Many { bytes, at, .. } => {
                let at = at + run as u64 * 8;
                Reader(bytes.bytes(at, 4)?).u32().map_err(Bad::at(at))
            }
        }
    }

    /// The rows of a run, ascending, into `out`.
    pub(super) fn run(&self, run: usize, out: &mut Vec<u32>) -> Result<(), Bad> {
        out.clear();
        let (bytes, at, rows) = match self {
            Self::One(row) => {
                out.push(*row);
                return Ok(());
            }
            Self::Many { bytes, at, rows } => (*bytes, *at, *rows),
        };
        let (first, at) = if rows <= BLOCK {
            (self.first(0)?, at + 4)
        } else {
            let entry = at + run as u64 * 8;
            let back = Reader(bytes.bytes(entry + 4, 4)?).u32().map_err(Bad::at(entry))?;
            let back = at.checked_sub(back.into()).ok_or(Bad { position: entry, what: "a list begins nowhere" })?;
            (self.first(run)?, back)
        };
        let count = rows.saturating_sub(run * BLOCK).min(BLOCK);
        differences(bytes.up_to(at, RUN_MAX)?, first, count, out).map_err(Bad::at(at))
    }

    /// The run in which a row would be: the last one that begins with it or before it, or the first one.
    pub(super) fn run_of(&self, row: u32) -> Result<usize, Bad> {
        self.run_between(row, 0, self.runs())
    }

    /// The same, looked for from a run on that may be near it.
    pub(super) fn run_near(&self, row: u32, run: usize) -> Result<usize, Bad> {
        let (mut low, mut high, mut step) = (run.min(self.runs()), run.min(self.runs()), 1);
        while low > 0 && self.first(low - 1)? > row {
            (high, low) = (low - 1, low.saturating_sub(step));
            step *= 2;
        }
        step = 1;
        while high < self.runs() && self.first(high)? <= row {
            (low, high) = (high + 1, high.saturating_add(step).min(self.runs()));
            step *= 2;
        }
        self.run_between(row, low, high)
    }

    /// The same, where the first run that begins behind the row is one from `low` to `high`.
    fn run_between(&self, row: u32, mut low: usize, mut high: usize) -> Result<usize, Bad> {
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.first(middle)? <= row { low = middle + 1 } else { high = middle }
        }
        Ok(low.saturating_sub(1))
    }
}

fn differences(bytes: &[u8], first: u32, count: usize, out: &mut Vec<u32>) -> Result<(), Short> {
    let mut r = Reader(bytes);
    let width = r.u8()?;
    if width > 32 {
        return Err(Short);
    }
    let mut row = u64::from(first);
    out.push(first);
    for at in 0..count.saturating_sub(1) {
        row += packed(r.0, at, width)? + 1;
        out.push(u32::try_from(row).map_err(|_| Short)?);
    }
    Ok(())
}

/// Bytes of a run's differences.
#[cfg(test)]
fn differences_len(run: &[u32]) -> usize {
    let widest = run.windows(2).map(|pair| width(u64::from(pair[1] - pair[0] - 1))).max().unwrap_or_default();
    1 + packed_len(run.len() - 1, widest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lists_go_there_and_back(mut steps in prop::collection::vec(1u32..100_000, 2..2000), from in 0u32..1000, dense: bool) {
            if dense {
                steps.iter_mut().for_each(|step| *step = 1 + *step % 3);
            }
            let rows: Vec<u32> = steps.iter().scan(from, |row, step| { *row += step; Some(*row) }).collect();
            let mut bytes = vec![7; 3];
            let mut writer = ListWriter::default();
            let mut place = 0;
            // The second time as if nothing had been written before.
            for _ in 0..2 {
                bytes.truncate(3);
                let out = &mut |more: &[u8]| { bytes.extend_from_slice(more); Ok(()) };
                rows.iter().for_each(|row| writer.push(*row, out).unwrap());
                let (count, at) = writer.finish(out).unwrap();
                prop_assert_eq!(count, rows.len() as u64);
                place = 3 + at;
            }
            if rows.len() <= BLOCK {
                prop_assert_eq!(bytes.len(), 3 + 4 + differences_len(&rows));
            }
            bytes.extend([0; SLACK]);
            let list = List::Many { bytes: bytes.as_slice(), at: place, rows: rows.len() };
            let mut all: Vec<u32> = Vec::new();
            let mut run = Vec::new();
            for at in 0..list.runs() {
                list.run(at, &mut run).unwrap();
                prop_assert_eq!(list.first(at).unwrap(), run[0]);
                all.extend(&run);
            }
            prop_assert_eq!(&all, &rows);
            for row in [0, rows[0], rows[rows.len() / 2], rows[rows.len() / 2] + 1, u32::MAX] {
                let before = rows.iter().filter(|r| **r <= row).count();
                prop_assert_eq!(list.run_of(row).unwrap(), before.saturating_sub(1) / BLOCK);
                for near in [0, 1, list.runs() / 2, list.runs(), usize::MAX] {
                    prop_assert_eq!(list.run_near(row, near).unwrap(), before.saturating_sub(1) / BLOCK);
                }
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600), rows in 2usize..1000, run in 0usize..9) {
            let list = List::Many { bytes: bytes.as_slice(), at: 0, rows };
            let mut out = Vec::new();
            let _ = list.run(run, &mut out);
            prop_assert!(out.len() <= BLOCK);
            let _ = list.run_of(7);
            let _ = list.run_near(7, run);
        }
    }
}
