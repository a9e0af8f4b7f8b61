//! What a search shows: connections, and the objects in them.

use streamdb_derive::{Extent, LossAround, StreamInfo};
use streamdb_query::Zone;
use streamdb_types::{Direction, ObjectRow, Timestamp};

/// The answer to a search.
pub(super) struct Listing {
    /// Streams found, shown or not.
    pub found: u64,
    /// How many of them were skipped.
    pub offset: u64,
    /// The time that the answer is about: from the first stream's begin to the last one's.
    pub times: (Timestamp, Timestamp),
    pub connections: Vec<Connection>,
    /// What could not be read, and what was left out: one sentence each.
    pub remarks: Vec<String>,
}

impl Listing {
    /// Objects shown.
    pub(super) fn objects(&self) -> usize {
        self.connections.iter().map(|connection| connection.objects.len()).sum()
    }
}

/// A connection with those of its streams that were found.
pub(super) struct Connection {
    /// The stream that its line is about: the one to the client, when that was found.
    pub shown: StreamInfo,
    /// When the first of its streams began, and the last one ended.
    pub times: (Timestamp, Timestamp),
    pub objects: Vec<Entry>,
    /// Those of its streams in which there is no object to show: mostly, as they have no byte.
    pub bare: Vec<Bare>,
    /// Why there are no objects, or not all.
    pub trouble: Option<String>,
    /// What was lost in its time, if anything was.
    pub loss: Option<LossAround>,
}

/// A stream without an object.
pub(super) struct Bare {
    pub stream: StreamInfo,
    /// Whether it is complete, as the stream that it is.
    pub complete: bool,
}

/// An object as a listing shows it.
pub(super) struct Entry {
    pub row: ObjectRow,
    pub stream: StreamInfo,
    /// The head of a message, printable.
    pub head: String,
    /// The content, printable.
    pub content: String,
    /// How much of it is there, when that is not all.
    pub extent: Extent,
    /// What scanners found in it, if they looked.
    pub verdicts: Vec<String>,
    /// What is to be said of the content: that it is cut here, or what is wrong with it.
    pub notes: Vec<String>,
    /// When retention dropped a bucket with part of its stream.
    pub dropped: Option<Timestamp>,
}

impl Connection {
    /// `2012-03-02 07:51:51 10.0.0.5:49211 <- 203.0.113.9:80 5s 22968 bytes Time cutoff`.
    pub(super) fn line(&self, zone: &Zone) -> String {
        line(&self.shown, self.times, zone)
    }

    /// Whole seconds from the first frame to the last.
    pub(super) const fn seconds(&self) -> i64 {
        let (first, last) = self.times;
        last.seconds().saturating_sub(first.seconds())
    }
}

/// The line of a stream.
pub(super) fn line(stream: &StreamInfo, (first, last): (Timestamp, Timestamp), zone: &Zone) -> String {
    let arrow = match stream.direction {
        Direction::ToServer => "->",
        Direction::ToClient => "<-",
    };
    let (client, server) = (stream.tuple.client, stream.tuple.server);
    let seconds = last.seconds().saturating_sub(first.seconds());
    format!("{} {client} {arrow} {server} {seconds}s {} bytes {}", zone.date(first), stream.length.0, reason(stream))
}

/// Why a stream ended, in the ancestor's words.
pub(super) fn reason(stream: &StreamInfo) -> String {
    stream.reason.map_or_else(|| "open".to_owned(), |reason| reason.to_string())
}
