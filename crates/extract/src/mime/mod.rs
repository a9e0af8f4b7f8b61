//! MIME: bodies of several parts (RFC 2046), in HTTP messages and in mails, and what the heads of parts say.
//!
//! - `head` takes a part's head apart; `parameters` has the parameters of its fields, and their charsets
//! - `multipart` finds the parts in content that comes in pieces

mod head;
mod multipart;
mod parameters;

pub use head::PartHead;
pub use multipart::{Multipart, multipart};
