//! Whether rows are among those of some lists, for rows that come in order.

use std::ops::Range;

use streamdb_storage::index::{Bad, Rows};

/// The rows of some lists.
pub(crate) enum Sieve<'r> {
    /// Of few lists, of which as much is read as rows lie in.
    Lists(Vec<Cursor<'r>>),
    /// Ascending.
    Rows(Vec<u32>),
}

/// A list, and the run of it in which a row was looked for last.
pub(crate) struct Cursor<'r> {
    rows: Rows<'r>,
    run: usize,
    held: Vec<u32>,
    /// The rows that can be in that run alone.
    within: Range<u32>,
}

impl<'r> Sieve<'r> {
    /// Of these lists.
    pub(crate) fn of(lists: Vec<Rows<'r>>) -> Self {
        Self::Lists(lists.into_iter().map(Cursor::new).collect())
    }

    /// Whether it has a row.
    pub(crate) fn has(&mut self, row: u32) -> Result<bool, Bad> {
        match self {
            Self::Rows(rows) => Ok(rows.binary_search(&row).is_ok()),
            Self::Lists(lists) => {
                for list in lists {
                    if list.has(row)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }
}

impl<'r> Cursor<'r> {
    const fn new(rows: Rows<'r>) -> Self {
        Self { rows, run: 0, held: Vec::new(), within: 0..0 }
    }

    fn has(&mut self, row: u32) -> Result<bool, Bad> {
        if !self.within.contains(&row) {
            self.run = self.rows.run_near(row, self.run)?;
            self.rows.run(self.run, &mut self.held)?;
            let start = if self.run == 0 { 0 } else { self.rows.first(self.run)? };
            let next = self.run + 1;
            let end = if next < self.rows.runs() { self.rows.first(next)? } else { u32::MAX };
            self.within = start..end;
        }
        Ok(self.held.binary_search(&row).is_ok())
    }
}
