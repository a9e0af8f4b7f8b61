//! What is asked for. Nothing is guessed: what is not understood is a refusal that says what is accepted.

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use streamdb_query::{ALIASES, Filter, FilterError, PARAMETERS, Zone};
use streamdb_types::Timestamp;

use super::accept::Shape;
use super::problem::wrong;
use crate::answer::refuse;

/// The parameter that is ours and not the filter language's.
pub(super) const FORMAT: &str = "format";
/// Rows of an answer as JSON when no limit is given.
pub(super) const LIMIT: u64 = 100;
/// Most rows of an answer as JSON, and those of one in lines when no limit is given.
pub(super) const MOST: u64 = 10_000;

const NEITHER: &str =
    "The rows are to be had as application/json and as application/x-ndjson; the request accepts neither.";
const NO_JSON: &str = "This is to be had as application/json alone; the request does not accept that.";

/// A list that is asked for.
#[derive(Debug)]
pub(super) struct Asked {
    /// Its limit is set.
    pub(super) filter: Filter,
    /// The form of the answer.
    pub(super) shape: Shape,
}

impl Asked {
    /// Reads a query string's pairs.
    pub(super) fn read(
        pairs: &[(String, String)],
        headers: &HeaderMap,
        now: Timestamp,
        zone: &Zone,
    ) -> Result<Self, Box<Response>> {
        let (ours, terms): (Vec<_>, Vec<_>) = pairs.iter().partition(|(name, _)| name == FORMAT);
        let shape = shape(&ours, headers)?;
        let terms = terms.into_iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut filter = Filter::parse_at(terms, now, zone).map_err(|error| Box::new(misused(error)))?;
        let limit = match (shape, filter.limit) {
            (Shape::Json, None) => LIMIT,
            (Shape::Json, Some(limit)) if limit > MOST => {
                let accepted = format!("at most {MOST}; after goes on, and with format=ndjson there may be any number");
                let error = FilterError::Value { name: "limit", given: limit.to_string(), accepted: accepted.into() };
                return Err(Box::new(misused(error)));
            }
            (Shape::Lines, None) => MOST,
            (_, Some(limit)) => limit,
        };
        filter.limit = Some(limit);
        // What was to be skipped was skipped on the first page.
        if filter.after.is_some() {
            filter.offset = 0;
        }
        Ok(Self { filter, shape })
    }
}

/// The form: as `format` says, or else as the client likes it best.
fn shape(given: &[&(String, String)], headers: &HeaderMap) -> Result<Shape, Box<Response>> {
    match given {
        [] => Shape::liked(headers).ok_or_else(|| Box::new(refuse(StatusCode::NOT_ACCEPTABLE, NEITHER))),
        [(_, word)] => match word.as_str() {
            "json" => Ok(Shape::Json),
            "ndjson" => Ok(Shape::Lines),
            _ => {
                let accepted = "json or ndjson".into();
                Err(Box::new(misused(FilterError::Value { name: FORMAT, given: word.clone(), accepted })))
            }
        },
        [(_, first), (_, second), ..] => {
            Err(Box::new(misused(FilterError::twice(FORMAT, (FORMAT, first), (FORMAT, second)))))
        }
    }
}

/// The objects with this SHA-256, newest first. Nothing else can be asked for beside it.
pub(super) fn digest(text: &str, pairs: &[(String, String)], headers: &HeaderMap) -> Result<[u8; 32], Box<Response>> {
    json_alone(headers)?;
    named(text, pairs)
}

/// Whether the client takes JSON.
pub(super) fn json_alone(headers: &HeaderMap) -> Result<(), Box<Response>> {
    if Shape::Json.quality(headers) == 0 {
        return Err(Box::new(refuse(StatusCode::NOT_ACCEPTABLE, NO_JSON)));
    }
    Ok(())
}

/// A content that is named by its SHA-256 alone.
pub(super) fn named(text: &str, pairs: &[(String, String)]) -> Result<[u8; 32], Box<Response>> {
    if let Some((name, _)) = pairs.first() {
        let why = format!("there is no parameter {name:?} here: a content is named by its digest alone");
        return Err(Box::new(wrong(&why, Some(name))));
    }
    let read = Filter::parse([("sha256", text)]).ok().and_then(|filter| filter.objects.sha256);
    match read.as_ref().map(|set| (set.negated, set.values.as_slice())) {
        Some((false, [digest])) => Ok(*digest),
        _ => {
            let accepted = "one SHA-256 digest, 64 hexadecimal digits".into();
            Err(Box::new(misused(FilterError::Value { name: "sha256", given: text.to_owned(), accepted })))
        }
    }
}

/// The refusal of a question, in the filter language's own sentence.
pub(super) fn misused(error: FilterError) -> Response {
    let error = match error {
        FilterError::Unknown { name, .. } => {
            let aliases = ALIASES.iter().map(|(alias, _)| *alias);
            FilterError::unknown(&name, PARAMETERS.iter().copied().chain(aliases).chain([FORMAT]))
        }
        error => error,
    };
    let parameter = match &error {
        FilterError::Unknown { name, .. } => Some(name.as_str()),
        FilterError::Twice { name, .. } | FilterError::Value { name, .. } => Some(*name),
        FilterError::Backwards { .. } => Some("start"),
        FilterError::NoPair(_) => None,
    };
    wrong(&error.to_string(), parameter)
}
