//! How the rows of one index file are found that a filter may want: by the lists of the term that has the fewest, and what is
//! asked of each row before it is looked at whole.
//!
//! A plan may let through rows that are not wanted, and never leaves out one that is: whoever goes by it asks the filter of
//! every row that it gives.

use std::ops::Range;

use streamdb_storage::index::{Bad, Reading, Rows, Table, of_time};

use crate::filter::Filter;
use crate::scan::{Rank, Start};
use crate::sieve::Sieve;
use crate::terms::{Asked, Lists, Term, Terms, Test};
use crate::walk::{self, Walk, gathered, some};

/// Up to so many rows are gathered from their lists and sorted.
const GATHERED: u64 = 100_000;
/// Up to so many lists are gone through together.
const LISTS: usize = 64;
/// Up to so many are gathered.
const MOST_LISTS: usize = 1 << 17;
/// In up to so many lists it is looked for a row one after the other.
const FEW_LISTS: usize = 8;
/// Fewer rows than these are looked at rather than looked for in lists.
const FEW_ROWS: u64 = 16;
/// Where more than one of so many rows is in a term's lists, it is asked of the row itself.
const MANY: u64 = 4;
/// Lists with up to so many times the rows that are looked for in them are gathered for that.
const WORTH: u64 = 16;

/// How to find rows.
pub(crate) struct Plan<'r> {
    pub(crate) walk: Walk<'r>,
    sieves: Vec<Sieve<'r>>,
    tests: Vec<Test>,
    table: Table,
}

impl Plan<'_> {
    /// Whether a row may be wanted.
    pub(crate) fn passes(&mut self, reading: &Reading<'_>, row: u32) -> Result<bool, Bad> {
        for sieve in &mut self.sieves {
            if !sieve.has(row)? {
                return Ok(false);
            }
        }
        for test in &self.tests {
            if !test.passes(reading, self.table, row)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A plan for the rows of a table that stand in the order at `from` or behind it. When `go_on` says no while it is made, it is
/// one for some of the rows.
pub(crate) fn plan<'r>(
    reading: &'r Reading<'r>,
    table: Table,
    asked: Asked<'_>,
    from: Option<Start>,
    go_on: &dyn Fn() -> bool,
) -> Result<Plan<'r>, Bad> {
    let filter = asked.filter;
    let range = range(reading, table, filter, from)?;
    if range.is_empty() {
        return Ok(Plan { walk: Walk::All(range, filter.order), sieves: Vec::new(), tests: Vec::new(), table });
    }
    let Terms { communities, mut all } = Terms::of(reading, table, asked, &range, go_on)?;
    let planner = Planner { reading, table, filter, range, go_on };
    if let Some(rows) = communities {
        let rows = rows.into_iter().filter(|row| planner.range.contains(row)).collect();
        let tests = all.into_iter().map(|term| term.test).collect();
        return Ok(Plan { walk: some(rows, filter.order), sieves: Vec::new(), tests, table });
    }
    all.sort_by_key(|term| term.lists.as_ref().map_or(u64::MAX, |lists| lists.rows));
    let (walk, by_first) = match all.first().and_then(|term| term.lists.as_ref()) {
        Some(lists) => planner.walk(lists)?,
        None => (planner.all(), false),
    };
    let (mut sieves, mut tests) = (Vec::new(), Vec::new());
    let rows = if by_first { all.first().and_then(|term| term.lists.as_ref()).map(|lists| lists.rows) } else { None };
    for (n, Term { lists, test, exact }) in all.into_iter().enumerate() {
        let by_lists = match (rows, lists) {
            (Some(_), _) if n == 0 => true,
            (Some(rows), Some(lists)) => planner.sieve(rows, &lists)?.map(|sieve| sieves.push(sieve)).is_some(),
            _ => false,
        };
        if !by_lists || !exact {
            tests.push(test);
        }
    }
    Ok(Plan { walk, sieves, tests, table })
}

/// The rows that the time and the position leave.
fn range(reading: &Reading<'_>, table: Table, filter: &Filter, from: Option<Start>) -> Result<Range<u32>, Bad> {
    let first = filter.start.map_or(0, of_time);
    let last = filter.end.map_or(u64::MAX, of_time);
    let mut range = match (filter.start, filter.end) {
        (None, None) => 0..reading.segment.rows(table),
        _ => reading.between(table, first, last)?,
    };
    match from.map(|from| from.rank) {
        None => {}
        Some(Rank::Ascending(position)) => {
            let rank =
                [of_time(position.time), position.key.bucket.0, position.key.number.into(), position.direction as u64];
            range.start = range.start.max(reading.row_of(table, &rank)?);
        }
        Some(Rank::Descending(std::cmp::Reverse(position))) => {
            let after = position.direction as u64 + 1;
            let rank = [of_time(position.time), position.key.bucket.0, position.key.number.into(), after];
            range.end = range.end.min(reading.row_of(table, &rank)?);
        }
    }
    Ok(range.start..range.end.max(range.start))
}

struct Planner<'r, 'f> {
    reading: &'r Reading<'r>,
    table: Table,
    filter: &'f Filter,
    /// The rows that the time and the position leave.
    range: Range<u32>,
    go_on: &'f dyn Fn() -> bool,
}

impl<'r> Planner<'r, '_> {
    fn all(&self) -> Walk<'r> {
        Walk::All(self.range.clone(), self.filter.order)
    }

    /// So many rows of lists are likely within the range, of which it leaves a part of all rows.
    fn inside(&self, rows: u64) -> u64 {
        let all = u64::from(self.range.end - self.range.start);
        let inside = u128::from(rows) * u128::from(all) / u128::from(self.reading.segment.rows(self.table).max(1));
        u64::try_from(inside).unwrap_or(u64::MAX)
    }

    /// The rows of a term's lists, or all when there are fewer of those; and whether they are the former.
    fn walk(&self, lists: &Lists) -> Result<(Walk<'r>, bool), Bad> {
        let all = u64::from(self.range.end - self.range.start);
        let inside = self.inside(lists.rows);
        // Each list is a place to look at: with more of them, a quarter of all rows is looked at sooner.
        let most = if inside > all / 4 { LISTS } else { MOST_LISTS };
        let Some(found) = self.lists(lists, most)? else { return Ok((self.all(), false)) };
        if found.len() > FEW_LISTS && (found.len() > LISTS || lists.rows <= GATHERED) {
            if lists.rows > GATHERED && inside > all / 8 {
                return Ok((self.all(), false));
            }
            let rows = gathered(&found, &self.range, self.go_on)?;
            return Ok(rows.map_or_else(|| (self.all(), false), |rows| (some(rows, self.filter.order), true)));
        }
        Ok((Walk::Lists(walk::Lists::new(found, &self.range, self.filter.order)?), true))
    }

    /// Looks for rows, of which there are so many, in the lists of a term; `None` where that is no sooner done than to look at
    /// the rows.
    fn sieve(&self, rows: u64, lists: &Lists) -> Result<Option<Sieve<'r>>, Bad> {
        let rows = self.inside(rows);
        if rows <= FEW_ROWS || lists.rows > u64::from(self.reading.segment.rows(self.table)) / MANY {
            return Ok(None);
        }
        if let Some(few) = self.lists(lists, FEW_LISTS)? {
            return Ok(Some(Sieve::of(few)));
        }
        if self.inside(lists.rows) > rows.saturating_mul(WORTH) {
            return Ok(None);
        }
        let Some(many) = self.lists(lists, MOST_LISTS)? else { return Ok(None) };
        let mut rows = gathered(&many, &self.range, self.go_on)?;
        if let Some(rows) = &mut rows {
            rows.sort_unstable();
        }
        Ok(rows.map(Sieve::Rows))
    }

    /// The lists of a term, if they are no more than these.
    fn lists(&self, lists: &Lists, most: usize) -> Result<Option<Vec<Rows<'r>>>, Bad> {
        let mut all = Vec::new();
        for (order, keys) in &lists.parts {
            for keys in keys {
                let count = self.reading.keys_between(self.table, *order, keys.clone())?;
                if all.len() as u64 + count > most as u64 {
                    return Ok(None);
                }
                all.extend(self.reading.lists(self.table, *order, keys.clone())?);
            }
        }
        Ok(Some(all))
    }
}
