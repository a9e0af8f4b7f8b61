//! Retention: the oldest buckets go, whole, when the store has more, is older, or leaves less room free than it may.
//!
//! - `limits` is what the store may have
//! - `choose` says what has to go for it: a pure function of what is there
//! - `survey` is what is there: the ledger's facts, the files, the holds, the clock, the room
//! - `act` removes: tombstone, then file, so that dying in it at any point is repaired at the next start

mod act;
mod choose;
mod limits;
mod survey;

pub(crate) use act::remove;
pub use act::{Dropped, Retained, Retention};
pub use choose::{Cause, Choice, Chosen, Unmet};
pub use limits::{Limits, Room};
