//! What bytes are: a MIME type, a sentence like file(1)'s, and a file name extension, from the first bytes alone.
//!
//! Pure, bounded by the length of its input, and cannot fail: what nothing knows is text or data.
//!
//! - `kind` asks the describers one after the other
//! - `program`, `document`, `image`, `packed`: sentences of our own for what an analyst meets most
//! - `signature`: what else the `infer` package knows
//! - `text`: scripts, markup and plain text

mod document;
mod image;
mod kind;
mod packed;
mod program;
mod signature;
mod text;

pub use kind::{HEAD_BYTES, Kind, sniff};
