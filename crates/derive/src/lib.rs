//! From published streams to the objects in them.
//!
//! - `source` lets extraction read a stream of the store
//! - `others` is what else was captured for places of a stream
//! - `conversation` is both directions of a connection and the messages in them
//! - `parts` is what lies inside messages, and its bytes; `unwrapped` is what lies in those or anywhere, files in other content
//! - `index` says which message an INDEX is; `object` is one message or part, by its oid, `extent` how much of it is there; `together` many of them, each connection taken apart once
//! - `raw` is a stream's bytes without a meaning, `follow` reads on in one that is open; `capture` is the frames they came in
//! - `rows` says what all objects of a connection are, with `fields`, `more`, `digest`, `name` and `ftp`, and `allowance` what they may cost; `deriver` keeps those rows, `settled` tells it, and `follow`, what has been known for a while, and `indexing` puts them into the index, and
//!   follows what is published, with `guard` between it and what it takes apart; `check` compares them with the buckets
//! - `joining` follows those rows, and finds in them what is part of one content: `pieces` of a connection, `range` is what their heads
//!   say, `join` lays them over each other; `joined` is what comes of it
//!
//! The types of the store and of extraction that these functions take and give are exported again, so that whoever shows
//! objects needs no other door to them.

mod allowance;
mod capture;
mod check;
mod conversation;
mod deriver;
mod digest;
mod error;
mod extent;
mod fields;
mod follow;
mod ftp;
mod guard;
mod index;
mod indexing;
mod join;
mod joined;
mod joining;
#[cfg(feature = "misbehave")]
mod misbehave;
mod more;
mod name;
mod object;
mod others;
mod parts;
mod pieces;
mod range;
mod raw;
mod rows;
mod settled;
mod source;
mod together;
mod unwrapped;

pub use streamdb_extract::{
    BodyLimits, BodyOutcome, Decode, Framing, Head, Incomplete, Kind, Limits, Message, MessageIndex, Messages, Piece,
};
pub use streamdb_storage::{
    BucketInfo, BucketState, CaptureFormat, Error as StoreError, Evidence, Join, JoinId, JoinMade, JoinOf, JoinPart,
    Joins, LossAround, Status, Store, StoreExtent, Stream, StreamInfo, Teller, now, writer_alive,
};

pub use capture::{capture, capture_format};
pub use check::{Checked, check};
pub use conversation::{Conversation, conversation, incomplete};
pub use deriver::{Deriver, PATIENCE, Progress, kept, objects, objects_of};
pub use error::Error;
pub use extent::Extent;
pub use follow::{Follow, Followed, newest};
pub use guard::Tally;
pub use indexing::IndexKeeper;
pub use joined::{JoinState, Joined};
pub use joining::{JoinProgress, Joiner};
pub use object::{Named, Object, object, other_object};
pub use raw::raw;
pub use rows::Rows;
pub use source::StreamSource;
pub use together::each_object;
