//! The text answer to a search, without a server.

use std::time::Instant;

use streamdb_derive::{Error, LossAround, Store, StreamInfo};
use streamdb_query::{Filter, Zone};
use streamdb_types::ObjectRow;

use super::params::{Search, Shape};
use super::search;
use super::text::{self, Detail};

/// One row of what a search finds, with what was lost in the time of its connection.
#[derive(Debug)]
pub enum SearchRow {
    /// An object.
    Object(Box<ObjectRow>, Option<LossAround>),
    /// A stream in which there is none, or none that could be read.
    Stream(Box<StreamInfo>, Option<LossAround>),
}

/// What a search finds.
#[derive(Debug)]
pub struct SearchAnswer {
    /// Streams found, shown or not.
    pub found: u64,
    /// The text: `Returning ...`, and the connections with their objects. Captured bytes are printable in it.
    pub text: String,
    /// What is in it, in the same order.
    pub rows: Vec<SearchRow>,
    /// What could not be read, and what was left out, one sentence each; the text has them too.
    pub troubles: Vec<String>,
}

/// The text answer of `GET /streamdb/` without a server, with as much of each object as wanted; dates are of the zone. What
/// the filter finds is shown up to its limit.
///
/// # Errors
/// When the store cannot be listed. What cannot be read in it is among the troubles.
pub fn search_text(store: &Store, filter: &Filter, detail: Detail, zone: &Zone) -> Result<SearchAnswer, Error> {
    let begun = Instant::now();
    let search = Search { filter: filter.clone(), raw: false, shape: Some(Shape::Text), submit: None };
    let listing = search::search(store, &search, (detail != Detail::Whole).then_some(0), &|| true)?;
    let text = text::render(&listing, begun.elapsed(), zone, detail);
    let mut answer = SearchAnswer { found: listing.found, text, rows: Vec::new(), troubles: Vec::new() };
    for connection in listing.connections {
        let loss = connection.loss;
        answer.rows.extend(connection.objects.into_iter().map(|entry| SearchRow::Object(entry.row.into(), loss)));
        answer.rows.extend(connection.bare.into_iter().map(|bare| SearchRow::Stream(bare.stream.into(), loss)));
        answer.troubles.extend(connection.trouble);
    }
    answer.troubles.extend(listing.remarks);
    Ok(answer)
}
