//! Rows of objects that were made for a question, for the next one: those of connections of which none are kept yet.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use streamdb_types::{ConnKey, Direction, ObjectRow, Oid, Reason};

use super::store::Store;
use super::stream::StreamInfo;

/// Most bytes of rows that are remembered; of one connection a quarter of them.
const MOST: usize = 64 << 20;
/// For how long: that nothing more comes of a connection may show by the time that goes by alone.
const LASTS: Duration = Duration::from_secs(10);

/// Of what rows were made: of these records of both streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MadeOf {
    key: (ConnKey, Direction),
    stream: Oid,
    peer: Option<Oid>,
    reason: Option<Reason>,
    in_full: bool,
}

impl MadeOf {
    /// Of a stream's connection; `in_full` when all content was read. `None` when what is found may change without another
    /// record of the two.
    pub fn of(stream: &StreamInfo, in_full: bool) -> Option<Self> {
        let StreamInfo { key, direction, oid, peer, reason, goes_on, .. } = *stream;
        let known = !goes_on && (peer.is_some() || key.bucket == oid.bucket);
        known.then_some(Self { key: (key, direction), stream: oid, peer, reason, in_full })
    }
}

/// What was made.
#[derive(Default)]
pub(super) struct Made {
    rows: HashMap<(ConnKey, Direction), Entry>,
    /// Those that were added first in front, and how many bytes each takes.
    order: VecDeque<((ConnKey, Direction), Instant, usize)>,
    bytes: usize,
}

struct Entry {
    of: MadeOf,
    made: Instant,
    rows: Arc<[ObjectRow]>,
}

impl Made {
    fn get(&mut self, of: &MadeOf, now: Instant) -> Option<Arc<[ObjectRow]>> {
        self.let_go(now);
        let entry = self.rows.get(&of.key)?;
        let lasts = now.saturating_duration_since(entry.made) < LASTS;
        (lasts && entry.of == *of).then(|| Arc::clone(&entry.rows))
    }

    fn keep(&mut self, of: MadeOf, rows: Arc<[ObjectRow]>, now: Instant) {
        let bytes = size_of_rows(&rows);
        if bytes > MOST / 4 {
            return;
        }
        self.order.push_back((of.key, now, bytes));
        self.bytes += bytes;
        self.rows.insert(of.key, Entry { of, made: now, rows });
        self.let_go(now);
    }

    /// Lets go of what is too old, or too much.
    fn let_go(&mut self, now: Instant) {
        while let Some((key, made, bytes)) = self.order.front().copied() {
            if self.bytes <= MOST && now.saturating_duration_since(made) < LASTS {
                break;
            }
            self.order.pop_front();
            self.bytes -= bytes;
            if self.rows.get(&key).is_some_and(|entry| entry.made == made) {
                self.rows.remove(&key);
            }
        }
    }
}

/// What some rows take in memory, and their entry.
fn size_of_rows(rows: &[ObjectRow]) -> usize {
    let texts = |row: &ObjectRow| {
        let may_be = [&row.method, &row.host, &row.uri, &row.declared_type, &row.filename, &row.reason];
        let always = [&row.protocol, &row.mime, &row.description, &row.legacy, &row.facts];
        may_be.into_iter().flatten().chain(always).map(String::len).sum::<usize>()
    };
    size_of::<Entry>() + rows.iter().map(|row| size_of::<ObjectRow>() + texts(row)).sum::<usize>()
}

impl Store {
    /// The rows that were made of these records a moment ago.
    pub fn made_rows(&self, of: &MadeOf) -> Option<Arc<[ObjectRow]>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).get(of, Instant::now())
    }

    /// Remembers the rows that were made of these records, for a while and within bounds.
    pub fn keep_made_rows(&self, of: MadeOf, rows: &[ObjectRow]) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).keep(of, rows.into(), Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamdb_types::{BlockPlace, BucketId};

    fn of(number: u32, length: u64) -> MadeOf {
        let stream = Oid { bucket: BucketId(1), place: BlockPlace(number.into()), length, index: 0 };
        let key = (ConnKey { bucket: BucketId(1), number }, Direction::ToServer);
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
    fn they_never_take_more_than_so_much() {
        let row = ObjectRow {
            oid: of(1, 1).stream,
            key: of(1, 1).key.0,
            direction: Direction::ToServer,
            begins: streamdb_types::StreamOffset(0),
            tuple: streamdb_types::Tuple {
                protocol: streamdb_types::Protocol::TCP,
                client: streamdb_types::Endpoint::new([10, 0, 0, 5].into(), 1),
                server: streamdb_types::Endpoint::new([10, 0, 0, 6].into(), 80),
            },
            start: streamdb_types::Timestamp(0),
            kind: streamdb_types::ObjectKind::Request,
            protocol: String::new(),
            method: None,
            host: None,
            uri: Some("/".repeat(16 << 10)),
            status: None,
            declared_type: None,
            mime: String::new(),
            description: String::new(),
            legacy: String::new(),
            facts: String::new(),
            xor_key: None,
            filename: None,
            size: 0,
            encoded_size: 0,
            complete: true,
            missing_bytes: 0,
            reason: None,
            conflict: false,
            digests: None,
            digests_encoded: None,
        };
        let (mut made, began) = (Made::default(), Instant::now());
        let few: Arc<[ObjectRow]> = vec![row.clone(); 100].into();
        for number in 0..200 {
            made.keep(of(number, 5), Arc::clone(&few), began + Duration::from_micros(number.into()));
            assert!(made.bytes <= MOST && made.bytes >= made.rows.len() * 100 * (16 << 10), "{}", made.bytes);
        }
        assert!(made.rows.len() > 30 && made.rows.len() == made.order.len(), "{}", made.rows.len());
        // That of one connection alone is too much.
        made.keep(of(999, 5), vec![row; 2000].into(), began);
        assert!(made.get(&of(999, 5), began).is_none() && made.get(&of(199, 5), began).is_some());
        // Nobody asks for it any more.
        assert!(made.get(&of(199, 5), began + 2 * LASTS).is_none());
        assert_eq!((made.bytes, made.order.len(), made.rows.len()), (0, 0, 0));
    }
}
