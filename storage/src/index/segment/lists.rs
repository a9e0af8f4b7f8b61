//! The lists of an index file: the rows of each key of an order.

use std::ops::Range;

use super::Reading;
use crate::format::bytes::Reader;
use crate::index::build::OrderWriter;
use crate::index::layout::{Order, Table};
use crate::index::postings::List;
use crate::index::view::{Bad, Bytes, View};

/// The rows of a key.
pub struct Rows<'r>(List<'r, View<'r>>);

impl Rows<'_> {
    /// How many there are; at least one.
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// In how many runs they come.
    pub const fn runs(&self) -> usize {
        self.0.runs()
    }

    /// The rows of a run, ascending, in place of what is in `out`.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn run(&self, run: usize, out: &mut Vec<u32>) -> Result<(), Bad> {
        self.0.run(run, out)
    }

    /// The last run that begins with this row or one before it, or the first run.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn run_of(&self, row: u32) -> Result<usize, Bad> {
        self.0.run_of(row)
    }

    /// The same, looked for from a run on that may be near it.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn run_near(&self, row: u32, run: usize) -> Result<usize, Bad> {
        self.0.run_near(row, run)
    }

    /// The first row of a run.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn first(&self, run: usize) -> Result<u32, Bad> {
        self.0.first(run)
    }
}

impl Reading<'_> {
    /// How many rows the keys of a range have, all together.
    pub fn count(&self, table: Table, order: Order, keys: Range<u32>) -> Result<u64, Bad> {
        let (section, _) = order.sections(table);
        let before = |key: u32| -> Result<u64, Bad> {
            let at = self.key_at(table, order, key)?;
            let (start, _) = self.segment.header.section(section);
            let bytes = self.view.bytes(start + at * OrderWriter::ENTRY as u64 + 4, 8)?;
            Reader(bytes).u64().map_err(Bad::at(start))
        };
        if self.keys(table, order) == 0 || keys.is_empty() {
            return Ok(0);
        }
        Ok(before(keys.end)?.saturating_sub(before(keys.start)?))
    }

    /// The lists of the keys of a range.
    pub fn lists(&self, table: Table, order: Order, keys: Range<u32>) -> Result<Vec<Rows<'_>>, Bad> {
        let mut all = Vec::new();
        self.each_list(table, order, keys, &mut |_, rows| {
            all.push(rows);
            Ok(())
        })?;
        Ok(all)
    }

    /// How many keys of a range have rows.
    pub fn keys_between(&self, table: Table, order: Order, keys: Range<u32>) -> Result<u64, Bad> {
        Ok(self.key_at(table, order, keys.end)?.saturating_sub(self.key_at(table, order, keys.start)?))
    }

    /// Calls with each key of a range that has rows, as long as `go_on` says so.
    pub fn each_key(
        &self,
        table: Table,
        order: Order,
        keys: Range<u32>,
        go_on: &dyn Fn() -> bool,
        each: &mut dyn FnMut(u32) -> Result<(), Bad>,
    ) -> Result<(), Bad> {
        let (section, _) = order.sections(table);
        for n in self.key_at(table, order, keys.start)?..self.key_at(table, order, keys.end)? {
            if !go_on() {
                break;
            }
            each(self.number(section, n, OrderWriter::ENTRY)? as u32)?;
        }
        Ok(())
    }

    /// The first entry of an order with this key or a greater one.
    fn key_at(&self, table: Table, order: Order, key: u32) -> Result<u64, Bad> {
        let (section, _) = order.sections(table);
        Self::partition(self.keys(table, order), |n| Ok((self.number(section, n, OrderWriter::ENTRY)? as u32) < key))
    }

    /// Calls with each key of a range, and the rows of it.
    fn each_list<'r>(
        &'r self,
        table: Table,
        order: Order,
        keys: Range<u32>,
        each: &mut dyn FnMut(u32, Rows<'r>) -> Result<(), Bad>,
    ) -> Result<(), Bad> {
        for n in self.key_at(table, order, keys.start)?..self.keys(table, order) {
            let (key, rows) = self.list_at(table, order, n)?;
            if key >= keys.end {
                break;
            }
            each(key, rows)?;
        }
        Ok(())
    }

    /// Entry `n` of an order: its key, and the rows.
    pub(in crate::index) fn list_at(&self, table: Table, order: Order, n: u64) -> Result<(u32, Rows<'_>), Bad> {
        let (section, lists) = order.sections(table);
        let read = |n: u64| -> Result<(u32, u64, u64), Bad> {
            let mut r = Reader(self.entry(section, n, OrderWriter::ENTRY)?);
            let mut all = || Ok((r.u32()?, r.u64()?, r.u64()?));
            all().map_err(Bad::at(self.segment.header.section(section).0))
        };
        let (key, before, place) = read(n)?;
        let (_, after, _) = read(n + 1)?;
        let (start, len) = self.segment.header.section(lists);
        let impossible = Bad { position: start, what: "a list has no possible place or length" };
        let rows = after.checked_sub(before).filter(|rows| *rows <= u64::from(self.segment.rows(table)));
        Ok(match rows.ok_or(impossible)? {
            0 => return Err(impossible),
            1 => (key, Rows(List::One(u32::try_from(place).map_err(|_| impossible)?))),
            _ if place > len => return Err(impossible),
            rows => (key, Rows(List::Many { bytes: &self.view, at: start + place, rows: rows as usize })),
        })
    }

    /// How many keys an order has.
    pub(in crate::index) fn keys(&self, table: Table, order: Order) -> u64 {
        self.entries(order.sections(table).0, OrderWriter::ENTRY).saturating_sub(1)
    }
}
