//! What bytes are: a MIME type, a sentence like file(1)'s in its present and its former wording, and a file name extension.
//!
//! Pure, bounded by [`HEAD_BYTES`], and cannot fail: what nothing knows is text or data. Nothing captured reaches a sentence
//! but as printable ASCII.
//!
//! - `kind` is the answer, and asks the describers one after the other
//! - `pe`, `xor`, `elf`, `program`: what machines run, also under a key
//! - `image`, `packed`, `archive`, `zip`, `document`, `ole`, `pdf`, `media`: sentences of our own for what is met most
//! - `signature`: what else the `infer` package knows
//! - `text`, `encoding`, `script`: texts, their manner, and what they are written in
//! - `session`, `tls`: streams of protocols that nobody takes apart; `protocol` has a word for each
//! - `bytes`: numbers, words and printable text out of bytes

mod archive;
mod bytes;
mod document;
mod elf;
mod encoding;
mod image;
mod kind;
mod media;
mod ole;
mod packed;
mod pdf;
mod pe;
mod program;
mod protocol;
mod script;
mod session;
mod signature;
mod text;
mod tls;
mod xor;
mod zip;

pub use bytes::push_printable;
pub use kind::{Content, HEAD_BYTES, Kind, SENTENCE_BYTES, XorKey, sniff, sniff_content, sniff_stream};
pub use protocol::{protocol, protocols};
