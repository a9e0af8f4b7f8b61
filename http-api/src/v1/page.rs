//! A list as JSON: so many rows, where the next ones begin, and how many there are in all.

use std::ops::ControlFlow;

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use streamdb_derive::{Error, Store};
use streamdb_query::{Filter, Order, Position, Tally};
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

    /// Where a search goes on that had come to `until` when it took too long.
    fn next_after(&self, until: Option<Position>, order: Order) -> Option<String> {
        if self.is_full() { self.next() } else { order.later(self.last, until).map(|position| position.to_string()) }
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
    let page = Page {
        next: if more { taken.next_after(searched.until, filter.order) } else { None },
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
