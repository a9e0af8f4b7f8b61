//! An object as a row: what is derived from a stream and can be searched without reading it again.

use crate::{ConnKey, Direction, Oid, StreamOffset, Timestamp, Tuple};

/// Digests of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digests {
    /// RFC 1321.
    pub md5: [u8; 16],
    /// RFC 3174.
    pub sha1: [u8; 20],
    /// FIPS 180-4.
    pub sha256: [u8; 32],
}

/// What an object is to the connection that it was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ObjectKind {
    /// A request and its body.
    Request = 0,
    /// A response and its body.
    Response = 1,
    /// One part of a body that has several.
    Part = 2,
    /// A file inside another object, unwrapped.
    File = 3,
    /// The bytes of a whole stream, or of the rest of one, of no protocol that is known.
    Stream = 4,
}

impl ObjectKind {
    /// Every kind, in the order of its number.
    pub const ALL: [Self; 5] = [Self::Request, Self::Response, Self::Part, Self::File, Self::Stream];

    /// The word: in JSON and in queries.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
            Self::Part => "part",
            Self::File => "file",
            Self::Stream => "stream",
        }
    }
}

/// What is known of one object.
///
/// Texts that come from the wire are as captured, but for bytes that are no UTF-8, which are replaced; they may hold control
/// characters, so whoever shows them escapes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRow {
    /// Its name.
    pub oid: Oid,
    /// The connection it was found in.
    pub key: ConnKey,
    /// Which way it went.
    pub direction: Direction,
    /// Where in its stream its message begins.
    pub begins: StreamOffset,
    /// The ends of the connection.
    pub tuple: Tuple,
    /// When its stream began.
    pub start: Timestamp,
    /// What it is to its connection.
    pub kind: ObjectKind,
    /// The protocol it was found in: `http`; empty where that is not known.
    pub protocol: String,
    /// The request's method; a response has that of its request.
    pub method: Option<String>,
    /// Whom the request was for; a response has that of its request.
    pub host: Option<String>,
    /// The request target as sent; a response has that of its request.
    pub uri: Option<String>,
    /// The status code of a response, or of the response to a request.
    pub status: Option<u16>,
    /// The media type that its sender declared.
    pub declared_type: Option<String>,
    /// The MIME type by content.
    pub mime: String,
    /// What it is, as file(1) says it today.
    pub description: String,
    /// What it is, as the StreamDB of 2012 said it.
    pub legacy: String,
    /// What more is known of it: a line `name: value` for each fact, as `imphash: 0f…`, without line ends or control
    /// characters in names and values.
    pub facts: String,
    /// The key of an executable found under XOR.
    pub xor_key: Option<Vec<u8>>,
    /// The name that its sender gave it, without any folder.
    pub filename: Option<String>,
    /// Bytes, content codings undone, holes included.
    pub size: u64,
    /// Bytes as sent, framing off, holes included.
    pub encoded_size: u64,
    /// Whether every byte that was sent is here, and decodes.
    pub complete: bool,
    /// Bytes as sent that are known to be missing.
    pub missing_bytes: u64,
    /// Why it is not complete, in a word.
    pub reason: Option<String>,
    /// Whether other bytes than these were captured too, for some place of its stream. These are what came first, unless the
    /// overlap policy says otherwise; the others are in their frames.
    pub conflict: bool,
    /// Of the content with codings undone. `None` where it has none, and where it has holes.
    pub digests: Option<Digests>,
    /// Of the bytes as sent, where a content coding makes them differ.
    pub digests_encoded: Option<Digests>,
}

impl ObjectRow {
    /// Its facts: names and values. A name may come several times.
    pub fn each_fact(&self) -> impl Iterator<Item = (&str, &str)> {
        self.facts.lines().filter_map(|line| line.split_once(": "))
    }
}
