//! A stream that is read on while it comes: whatever oid of it was known, what comes later is found by the connection's key.

use std::ops::ControlFlow;
use std::time::Duration;

use streamdb_extract::Piece;
use streamdb_storage::{Error, Store, Stream, writer_alive};
use streamdb_types::{ConnKey, Direction, Gap, GapKind, Oid, Reason, StreamOffset};

use crate::raw::raw;
use crate::settled::Settled;

/// How long a hole in a stream that goes on may still be filled: by a segment that is sent again, or that took another way.
const PATIENCE: Duration = Duration::from_secs(3);

/// How a stream stands of which everything was handed out that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// More may come.
    Open,
    /// It has ended, for this reason.
    Ended(Reason),
    /// Nobody writes to the store any more, and no record says how it ended.
    Left,
}

/// A stream that is being followed.
pub struct Follow<'s> {
    store: &'s Store,
    key: ConnKey,
    direction: Direction,
    stream: Stream,
    at: StreamOffset,
    /// How long it was a while ago: a hole in that stays one.
    settled: Settled<StreamOffset>,
}

impl<'s> Follow<'s> {
    /// Follows the stream that this oid names, from `at` on: at its first byte, or where an earlier reader stopped.
    ///
    /// # Errors
    /// When there is no such stream, or when it cannot be read.
    pub fn new(store: &'s Store, oid: Oid, at: StreamOffset) -> Result<Self, Error> {
        let stream = newest(store, oid)?;
        let (key, direction) = (stream.info().key, stream.info().direction);
        Ok(Self { store, key, direction, stream, at, settled: Settled::after(PATIENCE) })
    }

    /// The newest oid that is known.
    pub const fn oid(&self) -> Oid {
        self.stream.info().oid
    }

    /// What is known of it.
    pub const fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Hands out what has come since the last call, and says how the stream stands then; `Open` when `out` broke off. A hole
    /// is handed out when the stream has ended, or has gone on for some seconds without filling it.
    ///
    /// # Errors
    /// When a block is damaged: what was handed out before is true, and not all.
    pub fn step(&mut self, out: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>) -> Result<Followed, Error> {
        // In this order: what a writer wrote before it went away is seen.
        let alive = writer_alive(self.store.path())?;
        if let Some(stream) = self.store.newest(self.key, self.direction)? {
            self.stream = stream;
        }
        let standing = match self.stream.info().reason {
            // It is silent for so long that it has nothing in the newest bucket.
            Some(Reason::TimeCutoff) if alive && self.stream.info().goes_on => Followed::Open,
            Some(reason) => Followed::Ended(reason),
            None if alive => Followed::Open,
            None => Followed::Left,
        };
        let end = if standing == Followed::Open { self.before_hole() } else { self.stream.len() };
        let mut broke = false;
        let (stream, at) = (&self.stream, &mut self.at);
        raw(stream, *at..end, &mut |piece| {
            let taken = match &piece {
                Piece::Bytes(bytes) => bytes.len() as u64,
                Piece::Hole(gap) => gap.length,
            };
            *at = at.add(taken);
            let flow = out(piece);
            broke = flow.is_break();
            flow
        })?;
        Ok(if broke { Followed::Open } else { standing })
    }

    /// Where the first hole begins that may still be filled, or the stream's end.
    fn before_hole(&mut self) -> StreamOffset {
        let length = self.stream.len();
        let settled = self.settled.up_to(length);
        let fills = |gap: &&Gap| matches!(gap.kind, GapKind::Missing | GapKind::Lost) && gap.end() > settled;
        let hole = self.stream.gaps().iter().find(fills);
        hole.map_or(length, |gap| gap.offset).max(self.at)
    }
}

/// The stream that this oid names, as long as it is by now.
///
/// # Errors
/// As [`Store::stream`].
pub fn newest(store: &Store, oid: Oid) -> Result<Stream, Error> {
    let stream = store.stream(oid)?;
    let newest = store.newest(stream.info().key, stream.info().direction)?;
    Ok(newest.unwrap_or(stream))
}
