//! From published streams to the objects in them.
//!
//! - `source` lets extraction read a stream of the store
//! - `conversation` is both directions of a connection and the messages in them
//! - `object` is one message, by its oid
//! - `raw` is a stream's bytes without a meaning, `capture` the frames they came in
//!
//! The types of the store and of extraction that these functions take and give are exported again, so that whoever shows
//! objects needs no other door to them.

mod capture;
mod conversation;
mod error;
mod object;
mod raw;
mod source;

pub use streamdb_extract::{
    BodyLimits, BodyOutcome, Decode, Framing, Head, Kind, Limits, Message, MessageIndex, Messages, Piece,
};
pub use streamdb_storage::{CaptureFormat, Error as StoreError, Store, Stream, StreamInfo};

pub use capture::{capture, capture_format};
pub use conversation::{Conversation, conversation};
pub use error::Error;
pub use object::{Object, object};
pub use raw::raw;
pub use source::StreamSource;
