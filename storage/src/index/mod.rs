//! Index files: the rows of streams and objects, sorted, sealed, and found by what they have.
//!
//! - `layout` is what a file is made of, `view` how its pages are believed; `pack` and `postings` are how numbers lie in it, `fold`
//!   how texts are sorted, `class` what objects have in common, `community` a connection's name, `continued` what goes on
//! - `build` makes a file of rows in memory, `merge` one of several, both through `write`
//! - `segment` reads one
//! - `keep` writes new ones, merges and removes; `set` is which files there are, and what of each counts; `snapshot` is all of them while a question is answered

mod build;
mod class;
mod community;
mod continued;
mod fold;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub(crate) mod keep;
mod layout;
mod merge;
mod pack;
mod postings;
mod segment;
pub(crate) mod set;
pub(crate) mod snapshot;
mod view;
mod write;

pub use build::{Contents, Group};
pub use class::Class;
pub use community::community;
pub use layout::{Coverage, Lexicon, Order, Table, object, of_time, step_of, stream, time_of};
pub use segment::{Reading, Rows, Segment};
pub use snapshot::{Listed, Outcome, Reader, Snapshot, Unread};
pub use view::Bad;
