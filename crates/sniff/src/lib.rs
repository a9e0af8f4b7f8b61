//! What bytes are: a MIME type, a sentence like file(1)'s in its present and its former wording, and a file name extension.
//!
//! Pure, bounded by [`HEAD_BYTES`], and cannot fail: what nothing knows is text or data. Nothing captured reaches a sentence
//! but as printable ASCII. Beside the sentence there are facts for those who look closer, out of up to [`FACTS_LOOK`] bytes.
//!
//! - `kind` is the answer, and asks the describers one after the other
//! - `pe`, `xor`, `elf`, `program`: what machines run, also under a key
//! - `image`, `packed`, `archive`, `zip`, `document`, `ole`, `pdf`, `media`: sentences of our own for what is met most
//! - `signature`: what else the `infer` package knows
//! - `text`, `encoding`, `script`: texts, their manner, and what they are written in
//! - `session`, `tls`: streams of protocols that nobody takes apart; `protocol` has a word for each
//! - `facts`: what is known beyond the sentence, of more than the head
//! - `wrapped`: executables in base64, digits or gzip
//! - `embedded`: what is inside of anything, as the bytes go by
//! - `bytes`: numbers, words and printable text out of bytes

mod archive;
mod bytes;
mod document;
mod elf;
mod embedded;
mod encoding;
mod facts;
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
mod wrapped;
mod xor;
mod zip;

pub use bytes::push_printable;
pub use embedded::{EMBEDDED_MOST, Embedded, EmbeddedKind, EmbeddedScanner, embedded};
pub use facts::{FACT_BYTES, FACTS_LOOK, FACTS_MOST, Fact, facts};
pub use kind::{Content, HEAD_BYTES, Kind, SENTENCE_BYTES, XorKey, sniff, sniff_content, sniff_stream};
pub use protocol::{protocol, protocols};
pub use wrapped::{Coding, TextDecoder, Wrapping, wrapped};
