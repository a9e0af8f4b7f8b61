//! What a search shows: connections, and the objects in them.

use streamdb_derive::StreamInfo;
use streamdb_types::{Direction, Oid, Timestamp};

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

/// A connection with those of its streams that were found.
pub(super) struct Connection {
    /// The stream that its line is about: the one to the client, when that was found.
    pub shown: StreamInfo,
    /// When the first of its streams began, and the last one ended.
    pub times: (Timestamp, Timestamp),
    pub objects: Vec<Entry>,
    /// Why there are no objects, or not all.
    pub trouble: Option<String>,
}

/// An object as a listing shows it.
pub(super) struct Entry {
    pub oid: Oid,
    pub stream: StreamInfo,
    pub meta: String,
    /// Printable.
    pub content: String,
    pub complete: bool,
    /// Bytes.
    pub missing: u64,
}

impl Connection {
    /// `2012-03-02 07:51:51 10.0.0.5:49211 <- 203.0.113.9:80 5s 22968 bytes Time cutoff`.
    pub(super) fn line(&self) -> String {
        line(&self.shown, self.times)
    }
}

/// The line of a stream.
pub(super) fn line(stream: &StreamInfo, (first, last): (Timestamp, Timestamp)) -> String {
    let arrow = match stream.direction {
        Direction::ToServer => "->",
        Direction::ToClient => "<-",
    };
    let (client, server) = (stream.tuple.client, stream.tuple.server);
    let seconds = last.seconds().saturating_sub(first.seconds());
    let reason = stream.reason.map_or_else(|| "open".to_owned(), |reason| reason.to_string());
    let length = stream.length.0;
    format!("{} {client} {arrow} {server} {seconds}s {length} bytes {reason}", date(first))
}

/// `2012-03-02 07:51:51`.
pub(super) fn date(moment: Timestamp) -> String {
    let (year, month, day, hour, minute, second) = moment.civil();
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// `Fri Mar  2 07:51:51 2012`, as asctime of C has it.
pub(super) fn long_date(moment: Timestamp) -> String {
    // 1970-01-01 was a Thursday.
    let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, day, hour, minute, second) = moment.civil();
    let weekday = usize::try_from(moment.seconds().div_euclid(86_400).rem_euclid(7)).unwrap_or(0);
    let weekday = days.get(weekday).unwrap_or(&"");
    let month = (month as usize).checked_sub(1).and_then(|month| months.get(month)).unwrap_or(&"");
    format!("{weekday} {month} {day:2} {hour:02}:{minute:02}:{second:02} {year}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (moment, short, long) in [
            ("2012-03-02T07:51:51.9Z", "2012-03-02 07:51:51", "Fri Mar  2 07:51:51 2012"),
            ("2026-11-23T23:59:59Z", "2026-11-23 23:59:59", "Mon Nov 23 23:59:59 2026"),
            ("1969-12-31T00:00:00Z", "1969-12-31 00:00:00", "Wed Dec 31 00:00:00 1969"),
        ] {
            let moment = moment.parse().unwrap();
            assert_eq!((date(moment).as_str(), long_date(moment).as_str()), (short, long));
        }
    }
}
