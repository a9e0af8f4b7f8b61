//! Contents that came in several responses, as JSON.

use std::ops::ControlFlow;

use axum::response::Response;
use serde::Serialize;
use streamdb_derive::{Error, Store};
use streamdb_query::{Filter, FilterError, JoinLine, Zone, find_joins, not_of_joins};
use streamdb_types::{Oid, Timestamp};
use utoipa::ToSchema;

use super::asked::{LIMIT, misused};
use super::page::json;
use super::problem::wrong;

/// The parameter that names a part.
pub(super) const PART: &str = "part";
/// Most of an answer.
pub(super) const MOST: u64 = 1000;

/// A list of them.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JoinPage<Row> {
    /// What was found, by when the first part of each was seen.
    rows: Vec<Row>,
    /// Whether there are more.
    more: bool,
}

/// Which are asked for.
pub(super) struct Asked {
    filter: Filter,
    part: Option<Oid>,
}

impl Asked {
    /// Reads a query string's pairs.
    pub(super) fn read(pairs: &[(String, String)], now: Timestamp, zone: &Zone) -> Result<Self, Box<Response>> {
        let (ours, terms): (Vec<_>, Vec<_>) = pairs.iter().partition(|(name, _)| name == PART);
        let part = match ours.as_slice() {
            [] => None,
            [(_, oid)] => {
                let read = oid.parse::<Oid>();
                Some(read.map_err(|error| Box::new(wrong(&error.to_string(), Some(PART))))?)
            }
            [(_, first), (_, second), ..] => {
                return Err(Box::new(misused(FilterError::twice(PART, (PART, first), (PART, second)))));
            }
        };
        let terms = terms.into_iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut filter = Filter::parse_at(terms, now, zone).map_err(|error| Box::new(misused(error)))?;
        if let Some(name) = not_of_joins(&filter) {
            return Err(Box::new(wrong(&format!("{name}: it does not go with joined contents"), Some(name))));
        }
        let limit = filter.limit.unwrap_or(LIMIT);
        if limit > MOST {
            let accepted = format!("at most {MOST}; offset goes on").into();
            let error = FilterError::Value { name: "limit", given: limit.to_string(), accepted };
            return Err(Box::new(misused(error)));
        }
        filter.limit = Some(limit);
        Ok(Self { filter, part })
    }
}

/// The answer.
pub(super) fn answer(store: &Store, asked: &Asked, waits: &dyn Fn() -> bool) -> Result<Response, Error> {
    let mut rows = Vec::new();
    let more = find_joins(store, &asked.filter, asked.part, waits, &mut |joined| {
        rows.push(JoinLine::of(&joined));
        ControlFlow::Continue(())
    })?;
    Ok(json(&JoinPage { rows, more }))
}
