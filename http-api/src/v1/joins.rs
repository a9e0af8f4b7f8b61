//! Contents that came in several responses, as JSON.

use axum::response::Response;
use serde::Serialize;
use streamdb_derive::{Error, Store};
use streamdb_query::{Filter, FilterError, JoinLine, Zone, find_joins};
use streamdb_types::{Oid, Timestamp};
use utoipa::ToSchema;

use super::asked::{LIMIT, misused};
use super::page::json;
use super::problem::wrong;

/// The parameter that names a part.
pub(super) const PART: &str = "part";
/// Most of an answer.
pub(super) const MOST: u64 = 1000;
/// What of the filter language does not go here: they are gone through in one answer, and their bytes are not looked into.
pub(super) const NOT_HERE: [&str; 6] = ["after", "pcre", "direction", "reason", "length", "mismatch"];

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
        if let Some((name, _)) = terms.iter().find(|(name, _)| NOT_HERE.contains(&name.trim_end_matches('!'))) {
            let why = format!("{name}: it does not go with joined contents");
            return Err(Box::new(wrong(&why, Some(name))));
        }
        let terms = terms.into_iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut filter = Filter::parse_at(terms, now, zone).map_err(|error| Box::new(misused(error)))?;
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
    let (found, more) = find_joins(store, &asked.filter, asked.part, waits)?;
    Ok(json(&JoinPage { rows: found.iter().map(JoinLine::of).collect::<Vec<_>>(), more }))
}
