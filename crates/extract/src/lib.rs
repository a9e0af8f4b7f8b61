//! Finished streams in, messages and their bodies out: pure, bounded, without files, and it cannot fail.
//!
//! - `source` is how a stream is read: ordered bytes with holes, perhaps gigabytes, never whole in memory
//! - `dissect` asks one dissector per protocol (`http1` so far) and knows what to do when none answers
//! - `message` is what they all answer with
//! - `body` walks a message's body: framing off, then the content codings, one file each in `coding`
//! - `inside` asks one finder per protocol (`http2`, `websocket`, `socks`, `tls`, `smtp`, `pop3`, `ftp`) what lies inside streams
//!   that are one message; `part` is what they answer with
//! - `handover` knows which other protocols hand their connection over to TLS, and where
//! - `mail` is one mail as it comes; `mime` finds the parts of bodies that have several
//! - `disposition` is the name that a sender gives a file
//! - `xor` takes a repeating key off pieces of a body
//!
//! A new protocol is a new file or folder and a line in `inside`; a new coding is a new file and a line in `coding`.

mod body;
mod coding;
mod disposition;
mod dissect;
mod fields;
mod ftp;
mod handover;
mod http1;
mod http2;
mod inside;
mod limits;
mod mail;
mod memory;
mod message;
mod mime;
mod notes;
mod part;
mod pop3;
mod smtp;
mod socks;
mod source;
mod span;
mod tls;
mod websocket;
mod window;
mod xor;

pub use body::{BodyOutcome, Decode, Piece, Problem, body, body_both, part_body};
pub use coding::Fault;
pub use disposition::{disposition, percent};
pub use dissect::messages;
pub use fields::Fields;
pub use ftp::{Address, Representation, Transfer, TransferCommand};
pub use http1::{Head, head, trailers};
pub use inside::{Found, inside};
pub use limits::{BodyLimits, Limits};
pub use memory::MemorySource;
pub use message::{Framing, Incomplete, Kind, Message, MessageIndex, Messages, Side, Version};
pub use mime::{Multipart, PartHead, multipart};
pub use notes::Notes;
pub use part::{Context, Entity, Outer, Part, PartKind, Undo, counted};
pub use source::{Read, Source, gaps};
pub use span::Span;
pub use xor::Xor;
