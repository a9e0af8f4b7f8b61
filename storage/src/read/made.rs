//! Rows of objects that were made for a question, for the next one: those of connections of which none are kept yet.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use streamdb_types::{ConnKey, ObjectRow, Oid, Reason};

use super::store::Store;
use super::stream::StreamInfo;

/// Most rows that are remembered: some 50 MB.
const MOST: usize = 1 << 16;
/// For how long: that nothing more comes of a connection may show by the time that goes by alone.
const LASTS: Duration = Duration::from_secs(10);

/// Of what rows were made: of these records of both streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MadeOf {
    key: ConnKey,
    stream: Oid,
    peer: Option<Oid>,
    reason: Option<Reason>,
    in_full: bool,
}

impl MadeOf {
    /// Of a stream's connection; `in_full` when all content was read. `None` when what is found may change without another
    /// record of the two.
    pub fn of(stream: &StreamInfo, in_full: bool) -> Option<Self> {
        let StreamInfo { key, oid, peer, reason, goes_on, .. } = *stream;
        let begun_here = key.bucket == oid.bucket;
        (!goes_on && (peer.is_some() || begun_here)).then_some(Self { key, stream: oid, peer, reason, in_full })
    }
}

/// What was made.
#[derive(Default)]
pub(super) struct Made {
    rows: HashMap<ConnKey, Entry>,
    /// The connections, those that were added first in front, and how many rows each has.
    order: VecDeque<(ConnKey, Instant, usize)>,
    count: usize,
}

struct Entry {
    of: MadeOf,
    made: Instant,
    rows: Arc<[ObjectRow]>,
}

impl Made {
    fn get(&self, of: &MadeOf, now: Instant) -> Option<Arc<[ObjectRow]>> {
        let entry = self.rows.get(&of.key)?;
        let lasts = now.saturating_duration_since(entry.made) < LASTS;
        (lasts && entry.of == *of).then(|| Arc::clone(&entry.rows))
    }

    fn keep(&mut self, of: MadeOf, rows: Arc<[ObjectRow]>, now: Instant) {
        // One without objects takes room too.
        let count = rows.len() + 1;
        self.order.push_back((of.key, now, count));
        self.count += count;
        self.rows.insert(of.key, Entry { of, made: now, rows });
        while let Some((key, made, count)) = self.order.front().copied() {
            if self.count <= MOST && now.saturating_duration_since(made) < LASTS {
                break;
            }
            self.order.pop_front();
            self.count -= count;
            if self.rows.get(&key).is_some_and(|entry| entry.made == made) {
                self.rows.remove(&key);
            }
        }
    }
}

impl Store {
    /// The rows that were made of these records a moment ago.
    pub fn made_rows(&self, of: &MadeOf) -> Option<Arc<[ObjectRow]>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).get(of, Instant::now())
    }

    /// Remembers the rows that were made of these records, for a while and within bounds.
    pub fn keep_made_rows(&self, of: MadeOf, rows: &[ObjectRow]) {
        if rows.len() < MOST / 4 {
            self.made.lock().unwrap_or_else(PoisonError::into_inner).keep(of, rows.into(), Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamdb_types::{BlockPlace, BucketId};

    fn of(number: u32, length: u64) -> MadeOf {
        let stream = Oid { bucket: BucketId(1), place: BlockPlace(number.into()), length, index: 0 };
        let key = ConnKey { bucket: BucketId(1), number };
        MadeOf { key, stream, peer: None, reason: None, in_full: true }
    }

    #[test]
    fn rows_are_there_for_the_same_records_for_a_while() {
        let (mut made, began) = (Made::default(), Instant::now());
        made.keep(of(1, 5), Arc::from([]), began);
        assert!(made.get(&of(1, 5), began + LASTS / 2).is_some());
        for other in [
            of(2, 5),
            of(1, 6),
            MadeOf { in_full: false, ..of(1, 5) },
            MadeOf { reason: Some(Reason::Fin), ..of(1, 5) },
        ] {
            assert!(made.get(&other, began).is_none(), "{other:?}");
        }
        assert!(made.get(&of(1, 5), began + LASTS).is_none());
        made.keep(of(1, 6), Arc::from([]), began + LASTS / 2);
        assert!(made.get(&of(1, 5), began + LASTS / 2).is_none());
        assert!(made.get(&of(1, 6), began + LASTS).is_some());
    }

    #[test]
    fn there_are_never_more_than_so_many() {
        let (mut made, began) = (Made::default(), Instant::now());
        for number in 0..2 * MOST as u32 {
            made.keep(of(number % 70_000, 5), Arc::from([]), began + Duration::from_micros(number.into()));
            assert!(made.count <= MOST && made.order.len() <= MOST && made.rows.len() <= MOST);
        }
        made.keep(of(9, 9), Arc::from([]), began + 2 * LASTS);
        assert_eq!((made.count, made.order.len(), made.rows.len()), (1, 1, 1));
    }
}
