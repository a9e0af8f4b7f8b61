//! One filter language for command line, API and pages, and the rows that it selects.
//!
//! - `parse` reads names and values into a `filter` (`object` has its terms about objects); `address`, `set`, `pattern`,
//!   `content` and `moment` are its kinds of values
//! - `find` runs a filter over a store: `scan` lists streams in order, of which each has a `position`, `contents` looks into
//!   them, on the threads of a `crew`, with `existence` and `required` for what need not be looked at; `troubles` is what could not be read
//! - `search` runs a filter over index files: of each, `terms` says which lists have the rows for each term, `plan` by which of them
//!   it is gone, `walk` goes through these, and `sieve` looks for rows in the others; `objects` are made where none are kept
//! - `seen` is where a content was seen
//! - `row` is how a stream is shown, `object_row` how an object is, `join_line` how a content is that came in several; `community` is a connection's name in other tools
//! - `loss` is what was lost around a stream
//! - `verdict` is by which verdicts objects are looked for
//! - `before` asks the index alone whether a content was seen

mod address;
mod before;
mod community;
mod content;
mod contents;
mod crew;
mod error;
mod existence;
mod filter;
mod find;
mod join_line;
mod loss;
mod mismatch;
mod moment;
mod nearest;
mod object;
mod object_row;
mod objects;
mod parse;
mod pattern;
mod plan;
mod position;
mod required;
mod row;
mod scan;
mod search;
mod seen;
mod set;
mod sieve;
mod terms;
mod troubles;
mod verdict;
mod walk;

pub use address::{AddressSet, Network};
pub use before::seen_before;
pub use community::community_id;
pub use content::{BytesExpression, ContentSearch, Decided};
pub use contents::Searched;
pub use error::FilterError;
pub use filter::{End, Filter, Order};
pub use find::{Looked, Looking, Tally, find_objects, find_streams};
pub use join_line::{
    JoinLine, JoinPartLine, NOT_OF_JOINS, best_join, find_joins, is_shown as is_join_shown, join_row, joined_row,
    not_of_joins,
};
pub use loss::LossLine;
pub use mismatch::of as is_mismatch;
pub use moment::{ACCEPTED as MOMENT_ACCEPTED, Zone, parse_moment};
pub use nearest::nearest;
pub use object::{ObjectFilter, Wording, meta};
pub use object_row::{ObjectLine, hex};
pub use parse::{ALIASES, PARAMETERS};
pub use pattern::Expression;
pub use position::Position;
pub use row::{StreamRow, json_line, reason_word};
pub use seen::{Names, Pair, Seen, TOLD, first_sighting, seen, sightings, whole_object};
pub use set::Set;
pub use troubles::Troubles;
pub use verdict::VerdictPattern;
