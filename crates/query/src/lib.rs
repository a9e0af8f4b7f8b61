//! One filter language for command line, API and pages, and the rows that it selects.
//!
//! - `parse` reads names and values into a `filter`; `address`, `set` and `moment` are its kinds of values
//! - `select` runs a filter over a store
//! - `row` is how a stream is shown; `community` its name in other tools

mod address;
mod community;
mod error;
mod filter;
mod moment;
mod nearest;
mod parse;
mod row;
mod select;
mod set;

pub use address::AddressSet;
pub use community::community_id;
pub use error::FilterError;
pub use filter::{End, Filter, Order};
pub use moment::parse_moment;
pub use nearest::nearest;
pub use parse::{ALIASES, PARAMETERS};
pub use row::{StreamRow, json_line, reason_word};
pub use select::{Page, page, rows};
pub use set::Set;
