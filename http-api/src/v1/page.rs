//! A list as JSON: so many rows, where the next ones begin, and how many there are in all.

use std::ops::ControlFlow;

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use streamdb_derive::{Error, Store};
use streamdb_query::{Filter, Position, Tally};
use utoipa::ToSchema;

use super::asked::LIMIT;
use super::find::{Found, Kind, in_time};
use crate::answer::{JSON, broken, whole};

/// Rows of more bytes are for the next answer.
const BYTES: usize = 32 << 20;

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page<Row> {
    /// What was found, in order.
    rows: Vec<Row>,
    /// When there may be more: the value of `after` with which the same search goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// How many there are; left out with `after`, as it was said with the first page.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<Count>,
    /// Whether the search ended before it was done, as it took too long; a remark then says how far it came.
    stopped: bool,
    /// Streams that were looked at.
    streams_looked_at: u64,
    /// What could not be read, and what was left out: one sentence each.
    remarks: Vec<String>,
}

/// How many there are.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Count {
    /// So many were counted.
    found: u64,
    /// Whether that is all of them; where it is not, there are at least so many.
    exact: bool,
}

impl Count {
    pub(super) const fn of(tally: &Tally) -> Self {
        Self { found: tally.found, exact: tally.exact }
    }
}

/// Rows of an answer, as far as there is room for them.
pub(super) struct Taken {
    pub(super) rows: Vec<Box<RawValue>>,
    limit: u64,
    bytes: usize,
    last: Option<Position>,
}

impl Taken {
    pub(super) const fn new(limit: u64) -> Self {
        Self { rows: Vec::new(), limit, bytes: 0, last: None }
    }

    /// Takes one where there is room.
    pub(super) fn take(&mut self, found: &Found<'_>) -> serde_json::Result<()> {
        if self.is_full() {
            return Ok(());
        }
        let row = to_raw_value(found)?;
        self.bytes += row.get().len();
        self.last = Some(found.position());
        self.rows.push(row);
        Ok(())
    }

    /// Whether there is no room for another.
    pub(super) const fn is_full(&self) -> bool {
        self.rows.len() as u64 >= self.limit || self.bytes >= BYTES
    }

    /// Where the list goes on.
    pub(super) fn next(&self) -> Option<String> {
        self.last.map(|position| position.to_string())
    }

    /// Where a search goes on that took too long, and had come to `until` by then, or else nowhere.
    fn next_when_stopped(&self, until: Option<Position>, filter: &Filter) -> Option<String> {
        if self.is_full() {
            return self.next();
        }
        filter.order.later(self.last, until).or(filter.after).map(|position| position.to_string())
    }
}

/// The answer: the page that the filter asks for.
pub(super) fn answer(
    store: &Store,
    kind: Kind,
    filter: &Filter,
    waits: &(dyn Fn() -> bool + Sync),
) -> Result<Response, Error> {
    let mut taken = Taken::new(filter.limit.unwrap_or(LIMIT));
    // What comes after a position was counted with the first page.
    let counts = filter.after.is_none();
    let (skipped, asked) = match counts {
        true => (filter.offset, Filter { offset: 0, limit: None, ..filter.clone() }),
        false => (0, filter.clone()),
    };
    let counted = skipped.saturating_add(taken.limit).saturating_add(Tally::MOST);
    let mut tally = Tally { exact: true, ..Tally::default() };
    let mut unsaid = Ok(());
    let searched = in_time(store, kind, &asked, waits, &mut |found| {
        if counts && tally.found == counted {
            tally.exact = false;
            return ControlFlow::Break(());
        }
        tally.add(found.began());
        if tally.found > skipped {
            unsaid = taken.take(&found);
        }
        if unsaid.is_err() || !counts && taken.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if unsaid.is_err() {
        return Ok(broken());
    }
    let mut remarks = searched.remarks;
    if !tally.exact {
        remarks.push(format!("there are more than {counted} {}: they were not counted further", kind.word()));
    }
    tally.exact &= !searched.stopped;
    let shown = skipped.saturating_add(taken.rows.len() as u64);
    let more = if counts { tally.found > shown || !tally.exact } else { taken.is_full() || searched.stopped };
    let next = match searched.stopped {
        _ if !more => None,
        // As long as some are still to be skipped, it does not go on anywhere.
        true if tally.found < skipped => None,
        true => taken.next_when_stopped(searched.until, filter),
        false => taken.next(),
    };
    let page = Page {
        next,
        rows: taken.rows,
        count: counts.then(|| Count::of(&tally)),
        stopped: searched.stopped,
        streams_looked_at: searched.streams,
        remarks,
    };
    Ok(json(&page))
}

/// An answer as JSON.
pub(super) fn json(answer: &impl Serialize) -> Response {
    match serde_json::to_vec(answer) {
        Ok(body) => whole(StatusCode::OK, JSON, body),
        Err(_) => broken(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_that_was_stopped_goes_on_behind_what_it_found_and_what_it_looked_into() {
        let at = |second: u64| format!("{}.18043.7.c.0.0", second * 1_000_000_000);
        let position = |second: u64| at(second).parse::<Position>().unwrap();
        let next = |words: &[&str], limit: u64, last: Option<u64>, until: Option<u64>| {
            let filter = Filter::parse_words(words).unwrap();
            let taken = Taken { last: last.map(position), ..Taken::new(limit) };
            taken.next_when_stopped(until.map(position), &filter)
        };
        assert_eq!(next(&[], 9, Some(5), Some(3)), Some(at(5)));
        assert_eq!(next(&[], 9, Some(5), Some(7)), Some(at(7)));
        assert_eq!(next(&[], 9, None, Some(7)), Some(at(7)));
        assert_eq!(next(&["sort=1"], 9, Some(5), Some(7)), Some(at(5)));
        // There is no room: the rows behind the last one were not taken.
        assert_eq!(next(&[], 0, Some(5), Some(7)), Some(at(5)));
        // It came nowhere.
        assert_eq!(next(&[], 9, None, None), None);
        let after = format!("after={}", at(4));
        assert_eq!(next(&[&after], 9, None, None), Some(at(4)));
    }
}
