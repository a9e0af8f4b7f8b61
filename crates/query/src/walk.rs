//! Rows of an index file, one after the other: all of a range, or those of some lists.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use streamdb_storage::index::{Bad, Rows};

use crate::filter::Order;

/// Rows in order.
pub(crate) enum Walk<'r> {
    /// All of these.
    All(Range<u32>, Order),
    /// These, the next one last.
    Some(Vec<u32>),
    /// Those of several long lists.
    Lists(Lists<'r>),
}

impl Walk<'_> {
    /// The next row.
    pub(crate) fn next(&mut self) -> Result<Option<u32>, Bad> {
        match self {
            Self::All(rows, Order::OldestFirst) => Ok(rows.next()),
            Self::All(rows, Order::NewestFirst) => Ok(rows.next_back()),
            Self::Some(rows) => Ok(rows.pop()),
            Self::Lists(lists) => lists.next(),
        }
    }
}

/// Most rows that are gathered: 16 MiB.
const GATHERED: usize = 1 << 22;

/// The rows of these lists within a range, in no order; nothing when there are too many of them, and some when `go_on` says no.
pub(crate) fn gathered(
    lists: &[Rows<'_>],
    range: &Range<u32>,
    go_on: &dyn Fn() -> bool,
) -> Result<Option<Vec<u32>>, Bad> {
    let (mut rows, mut run) = (Vec::new(), Vec::new());
    for list in lists {
        if range.is_empty() || !go_on() {
            break;
        }
        for at in list.run_of(range.start)?..list.runs() {
            list.run(at, &mut run)?;
            rows.extend(run.iter().filter(|row| range.contains(row)));
            if rows.len() > GATHERED {
                return Ok(None);
            }
            if run.last().is_some_and(|last| *last >= range.end) {
                break;
            }
        }
    }
    Ok(Some(rows))
}

/// These rows, in order, each once.
pub(crate) fn some<'r>(mut rows: Vec<u32>, order: Order) -> Walk<'r> {
    rows.sort_unstable();
    rows.dedup();
    if order == Order::OldestFirst {
        rows.reverse();
    }
    Walk::Some(rows)
}

/// Long lists that are gone through together, run by run.
pub(crate) struct Lists<'r> {
    lists: Vec<OneList<'r>>,
    /// The next row of each, turned around for the newest first.
    heads: BinaryHeap<Reverse<(u32, usize)>>,
    last: Option<u32>,
    order: Order,
}

struct OneList<'r> {
    rows: Rows<'r>,
    /// The run after the one at hand; none when that was the last.
    next: Option<usize>,
    /// The rows of the run at hand, the next one last.
    held: Vec<u32>,
    range: Range<u32>,
}

impl<'r> Lists<'r> {
    pub(crate) fn new(lists: Vec<Rows<'r>>, range: &Range<u32>, order: Order) -> Result<Self, Bad> {
        let mut all = Self { lists: Vec::new(), heads: BinaryHeap::new(), last: None, order };
        for rows in lists {
            let first = match order {
                Order::OldestFirst => rows.run_of(range.start)?,
                Order::NewestFirst => rows.run_of(range.end)?,
            };
            all.lists.push(OneList { rows, next: Some(first), held: Vec::new(), range: range.clone() });
            all.advance(all.lists.len() - 1)?;
        }
        Ok(all)
    }

    fn key(&self, row: u32) -> u32 {
        if self.order == Order::OldestFirst { row } else { u32::MAX - row }
    }

    fn advance(&mut self, at: usize) -> Result<(), Bad> {
        let next = match self.lists.get_mut(at) {
            Some(list) => list.next(self.order)?,
            None => None,
        };
        if let Some(row) = next {
            self.heads.push(Reverse((self.key(row), at)));
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<u32>, Bad> {
        while let Some(Reverse((key, at))) = self.heads.pop() {
            self.advance(at)?;
            // A row may be in two of them.
            if self.last != Some(key) {
                self.last = Some(key);
                return Ok(Some(self.key(key)));
            }
        }
        Ok(None)
    }
}

impl OneList<'_> {
    fn next(&mut self, order: Order) -> Result<Option<u32>, Bad> {
        loop {
            if let Some(row) = self.held.pop() {
                return Ok(Some(row));
            }
            let Some(at) = self.next else { return Ok(None) };
            self.rows.run(at, &mut self.held)?;
            let beyond = match order {
                Order::OldestFirst => self.held.last().is_none_or(|row| *row >= self.range.end),
                Order::NewestFirst => self.held.first().is_none_or(|row| *row < self.range.start),
            };
            self.next = match order {
                _ if beyond => None,
                Order::OldestFirst => Some(at + 1).filter(|next| *next < self.rows.runs()),
                Order::NewestFirst => at.checked_sub(1),
            };
            self.held.retain(|row| self.range.contains(row));
            if order == Order::OldestFirst {
                self.held.reverse();
            }
        }
    }
}
