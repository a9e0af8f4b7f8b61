//! The place of a row in the order of all rows: what a cursor says.

use std::fmt;
use std::str::FromStr;

use streamdb_storage::StreamInfo;
use streamdb_types::{BucketId, ConnKey, Direction, ObjectRow, StreamOffset, Timestamp};

/// Where a stream or an object stands among all others: by when its stream began, and between equals by its names. No two
/// have the same, and a row keeps it for ever, so that a list can be gone on with after any row, whatever came in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The time of the first frame of the stream.
    pub time: Timestamp,
    /// Its connection.
    pub key: ConnKey,
    /// Which of the connection's two.
    pub direction: Direction,
    /// Of an object: where in the stream its message begins; of a stream 0.
    pub begins: StreamOffset,
    /// Of an object: the INDEX of its oid; of a stream 0.
    pub index: u64,
}

impl Position {
    pub(crate) const LEAST: Self = Self {
        time: Timestamp(i64::MIN),
        key: ConnKey { bucket: BucketId(0), number: 0 },
        direction: Direction::ToServer,
        begins: StreamOffset(0),
        index: 0,
    };
    pub(crate) const GREATEST: Self = Self {
        time: Timestamp(i64::MAX),
        key: ConnKey { bucket: BucketId(u64::MAX), number: u32::MAX },
        direction: Direction::ToClient,
        begins: StreamOffset(u64::MAX),
        index: u64::MAX,
    };

    /// That of a stream.
    pub const fn of_stream(stream: &StreamInfo) -> Self {
        let (time, key, direction) = (stream.first, stream.key, stream.direction);
        Self { time, key, direction, begins: StreamOffset(0), index: 0 }
    }

    /// That of an object.
    pub const fn of_object(row: &ObjectRow) -> Self {
        Self { time: row.start, key: row.key, direction: row.direction, begins: row.begins, index: row.oid.index }
    }
}

/// Plain numbers with dots between them, and the direction's letter: fit for a query string.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { time, key, direction, begins, index } = self;
        write!(f, "{}.{}.{}.{}.{}.{index}", time.0, key.bucket, key.number, direction.letter(), begins.0)
    }
}

/// What is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPosition;

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let mut parts = text.split('.');
        let mut next = || parts.next().filter(|part| !part.starts_with('+')).ok_or(NoPosition);
        let time = Timestamp(next()?.parse().map_err(|_| NoPosition)?);
        let bucket = BucketId(next()?.parse().map_err(|_| NoPosition)?);
        let number = next()?.parse().map_err(|_| NoPosition)?;
        let letter = next()?;
        let direction = Direction::BOTH.into_iter().find(|d| letter.chars().eq([d.letter()])).ok_or(NoPosition)?;
        let begins = StreamOffset(next()?.parse().map_err(|_| NoPosition)?);
        let index = next()?.parse().map_err(|_| NoPosition)?;
        let position = Self { time, key: ConnKey { bucket, number }, direction, begins, index };
        if parts.next().is_none() { Ok(position) } else { Err(NoPosition) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::tests::stream;

    #[test]
    fn a_position_goes_there_and_back() {
        let of_stream = Position::of_stream(&stream());
        assert_eq!(of_stream.to_string(), "1330674711250000000.18043.3.c.0.0");
        let early = Position { time: Timestamp(-1), begins: StreamOffset(7), index: u64::MAX, ..of_stream };
        for position in [of_stream, early] {
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        assert!(early < of_stream);
        for bad in [
            "",
            "1",
            "1.2.3.c.0",
            "1.2.3.c.0.0.0",
            "1.2.3.x.0.0",
            "1.+2.3.c.0.0",
            "1.2.99999999999.c.0.0",
            "1.2.3.cs.0.0",
        ] {
            assert_eq!(bad.parse::<Position>(), Err(NoPosition), "{bad}");
        }
    }
}
