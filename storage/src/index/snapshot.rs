//! All that is known of a store's streams at one moment: its index files, and what no index has yet.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use streamdb_types::{BucketId, ConnKey, Direction, Reason, Timestamp, Tuple};

use super::layout::{Continuation, Coverage, Table, object as o, of_time, stream as s};
use super::segment::{Reading, Segment, direction_of, key};
use super::set::Counting;
use super::view::Bad;
use crate::error::Error;
use crate::read::store::Store;
use crate::read::stream::StreamInfo;

/// Most runs of a host's streams that are looked through for those with another one.
const RUNS: usize = 64;

/// A stream as it is now.
#[derive(Clone, Debug)]
pub struct Listed {
    /// What its newest record says, and why it ended.
    pub stream: StreamInfo,
    /// The newest bucket that has anything of its connection.
    pub newest: BucketId,
}

/// A stream that no index has.
#[derive(Clone, Debug)]
pub(crate) struct Fresh {
    pub(crate) stream: StreamInfo,
    /// It was to go on after its bucket, which is sealed.
    pub(crate) continues: bool,
}

/// What of a store no index file has.
#[derive(Default)]
pub(crate) struct Tail {
    /// Streams by connection and direction: the newest record of each.
    pub(crate) streams: HashMap<ConnKey, Vec<Fresh>>,
    pub(crate) damaged: Vec<Error>,
    /// There is more than is held in memory.
    pub(crate) too_long: bool,
}

/// The streams and objects of a store at one moment.
pub struct Snapshot<'s> {
    store: &'s Store,
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) counting: Arc<Counting>,
    pub(crate) tail: Tail,
    /// Index files that are not believed, each in a sentence.
    pub damaged: Vec<String>,
    alive: OnceCell<bool>,
}

/// What a record of a connection says, newer than another one.
struct Record {
    direction: Direction,
    at: (BucketId, u64),
    from: Where,
}

enum Where {
    Fresh,
    Row(usize, u32),
}

impl<'s> Snapshot<'s> {
    pub(crate) fn new(
        store: &'s Store,
        segments: Vec<Arc<Segment>>,
        counting: Arc<Counting>,
        tail: Tail,
        damaged: Vec<String>,
    ) -> Self {
        Self { store, segments, counting, tail, damaged, alive: OnceCell::new() }
    }

    /// Begins to read.
    pub fn read(&self) -> Reader<'_> {
        Reader { snapshot: self, files: self.segments.iter().map(|segment| segment.reading()).collect() }
    }

    /// Believes a file no more, and says why.
    pub fn refuse(&self, file: usize, bad: Bad) -> Option<Error> {
        let segment = self.segments.get(file)?;
        let error = segment.damaged(bad);
        self.store.index_files().refuse(segment.sequence, error.to_string());
        Some(error)
    }

    /// What could not be read of what no index has.
    pub fn unread(&self) -> impl Iterator<Item = &Error> {
        self.tail.damaged.iter()
    }

    /// Whether so much is in no index that it was not gathered: then only a walk through the buckets finds everything.
    pub const fn is_partial(&self) -> bool {
        self.tail.too_long
    }

    /// Index files, their bytes, and what of them is held in memory.
    pub fn size(&self) -> (usize, u64, u64) {
        let bytes = self.segments.iter().map(|segment| segment.bytes()).sum();
        let resident = self.segments.iter().map(|segment| segment.resident() as u64).sum();
        (self.segments.len(), bytes, resident)
    }

    fn writer_alive(&self) -> bool {
        *self.alive.get_or_init(|| crate::live::writer_alive(self.store.path()).unwrap_or(false))
    }

    /// Whether what was to go on after this bucket, and did not so far, still may.
    fn may_go_on(&self, bucket: BucketId) -> bool {
        self.store.sealed_lately(bucket) && self.writer_alive()
    }
}

/// A snapshot that a question is answered from.
pub struct Reader<'r> {
    snapshot: &'r Snapshot<'r>,
    /// Its files, the older ones first.
    pub files: Vec<Reading<'r>>,
}

/// Why something could not be answered.
#[derive(Debug)]
pub enum Unread {
    /// Something in one of the files is not as it was written.
    File(usize, Bad),
    /// The store could not be read.
    Other(Error),
}

impl From<Error> for Unread {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// What is read, or why not.
pub type Outcome<T> = std::result::Result<T, Unread>;

impl Reader<'_> {
    /// Whether the bucket of a row of this file is there, and covered by this file.
    pub fn counts(&self, file: usize, bucket: u64) -> bool {
        let live = self.snapshot.counting.live.get(file).and_then(|live| live.get(bucket as usize));
        live.copied().unwrap_or(false)
    }

    /// All records of a connection that may be newer than another one.
    fn records(&self, key: ConnKey) -> Outcome<Vec<Record>> {
        let mut records = Vec::new();
        for (file, reading) in self.files.iter().enumerate() {
            let mut found: Vec<Continuation> = Vec::new();
            reading.continuations_of(key, &mut |c| found.push(c)).map_err(|bad| Unread::File(file, bad))?;
            for c in found {
                let covered = &reading.segment.coverage;
                let at = covered.partition_point(|covered| covered.bucket.0 < c.bucket);
                let of_bucket = covered.iter().skip(at).take_while(|covered| covered.bucket.0 == c.bucket).count();
                if (at..at + of_bucket).any(|at| self.counts(file, at as u64)) {
                    records.push(Record {
                        direction: super::build::direction(c.direction.into()),
                        at: (BucketId(c.bucket), c.place),
                        from: Where::Row(file, c.row as u32),
                    });
                }
            }
        }
        for fresh in self.snapshot.tail.streams.get(&key).into_iter().flatten() {
            let oid = fresh.stream.oid;
            let at = (oid.bucket, oid.place.0);
            records.push(Record { direction: fresh.stream.direction, at, from: Where::Fresh });
        }
        Ok(records)
    }

    /// The buckets in which a connection went on, as far as the files say.
    pub(crate) fn buckets_of(&self, key: ConnKey) -> Outcome<Vec<BucketId>> {
        Ok(self.records(key)?.iter().map(|record| record.at.0).collect())
    }

    /// Whether a connection has anything in a bucket later than this one.
    ///
    /// # Errors
    /// When a file is damaged.
    pub fn went_on(&self, key: ConnKey, bucket: BucketId) -> Outcome<bool> {
        Ok(self.records(key)?.iter().any(|record| record.at.0 > bucket))
    }

    /// A row of a file as a stream: nothing when there is a newer record of it, or when its bucket is gone.
    ///
    /// # Errors
    /// When a file is damaged.
    pub fn stream(&self, file: usize, values: &[u64]) -> Outcome<Option<Listed>> {
        let Some(reading) = self.files.get(file) else { return Ok(None) };
        let value = &|column: usize| values.get(column).copied().unwrap_or_default();
        if !self.counts(file, value(s::BUCKET)) {
            return Ok(None);
        }
        let bucket = reading.covered(value(s::BUCKET)).map_err(|bad| Unread::File(file, bad))?.bucket;
        let records = self.records(key(value))?;
        let (direction, at) = (direction_of(value), (bucket, value(s::PLACE)));
        if records.iter().any(|record| record.direction == direction && record.at > at) {
            return Ok(None);
        }
        let stream = reading.stream(values).map_err(|bad| Unread::File(file, bad))?;
        let continues = stream.reason.is_none();
        self.listed(stream, continues, &records).map(Some)
    }

    /// How a stream is listed, of whose connection these are the records.
    fn listed(&self, mut stream: StreamInfo, continues: bool, records: &[Record]) -> Outcome<Listed> {
        let later = |record: &&Record| record.direction != stream.direction && record.at.0 > stream.oid.bucket;
        let peer = records.iter().filter(later).max_by_key(|record| record.at);
        let newest = peer.map_or(stream.oid.bucket, |peer| peer.at.0);
        if continues {
            let silent = || (!self.snapshot.may_go_on(stream.oid.bucket)).then_some(Reason::TimeCutoff);
            stream.reason = match peer {
                None => silent(),
                Some(Record { direction, from: Where::Fresh, .. }) => {
                    let mut fresh = self.snapshot.tail.streams.get(&stream.key).into_iter().flatten();
                    match fresh.find(|fresh| fresh.stream.direction == *direction) {
                        Some(fresh) if fresh.continues => silent(),
                        Some(fresh) => fresh.stream.reason,
                        None => None,
                    }
                }
                Some(Record { from: Where::Row(file, row), .. }) => {
                    let refused = |bad| Unread::File(*file, bad);
                    let Some(reading) = self.files.get(*file) else { return Ok(Listed { stream, newest }) };
                    match reading.value(Table::Streams, *row, s::REASON).map_err(refused)? {
                        0 => silent(),
                        letter => u8::try_from(letter).ok().and_then(|letter| Reason::from_letter(letter.into())),
                    }
                }
            };
        }
        Ok(Listed { stream, newest })
    }

    /// The stream of a connection that began then, looked for in this file first.
    ///
    /// # Errors
    /// When a file is damaged.
    pub fn find(&self, first: usize, rank: [u64; 4]) -> Outcome<Option<Listed>> {
        let others = (0..self.files.len()).rev().filter(|file| *file != first);
        for file in std::iter::once(first).chain(others) {
            let Some(reading) = self.files.get(file) else { continue };
            let refused = |bad| Unread::File(file, bad);
            let mut row = reading.row_of(Table::Streams, &rank).map_err(refused)?;
            let mut values = Vec::new();
            while row < reading.segment.rows(Table::Streams) {
                reading.values(Table::Streams, row, &mut values).map_err(refused)?;
                let of_it = Table::Streams.sorted_by().iter().zip(rank);
                if of_it.into_iter().any(|(column, wanted)| values.get(*column) != Some(&wanted)) {
                    break;
                }
                if let Some(listed) = self.stream(file, &values)? {
                    return Ok(Some(listed));
                }
                row += 1;
            }
        }
        Ok(None)
    }

    /// Of what the index has: the streams to the server of the connections between two hosts, whichever opened them, that began
    /// within a time; the newest first, at most `most`.
    ///
    /// # Errors
    /// When a file is damaged, or a bucket cannot be read.
    pub fn between(
        &self,
        [one, other]: [IpAddr; 2],
        from: Timestamp,
        until: Timestamp,
        most: usize,
    ) -> Outcome<Vec<StreamInfo>> {
        let mut found = Vec::new();
        for file in 0..self.files.len() {
            for (client, server) in [(one, other), (other, one)] {
                self.between_in(file, client, server, [from, until], most, &mut found)?;
            }
        }
        found.sort_by_key(|stream| std::cmp::Reverse((stream.first, stream.key)));
        found.truncate(most);
        Ok(found)
    }

    /// The same of one file and one way round, in addition to what was found.
    fn between_in(
        &self,
        file: usize,
        client: IpAddr,
        server: IpAddr,
        [from, until]: [Timestamp; 2],
        most: usize,
        found: &mut Vec<StreamInfo>,
    ) -> Outcome<()> {
        let table = Table::Streams;
        let (Some(reading), Some(order)) = (self.files.get(file), table.order_of(s::CLIENT)) else { return Ok(()) };
        let refused = |bad| Unread::File(file, bad);
        let servers = reading.addresses_between(server, server).map_err(refused)?;
        let clients = reading.addresses_between(client, client).map_err(refused)?;
        let range = reading.between(table, of_time(from), of_time(until)).map_err(refused)?;
        if servers.is_empty() || range.is_empty() {
            return Ok(());
        }
        let (mut run, mut values, mut count) = (Vec::new(), Vec::new(), 0);
        for rows in reading.lists(table, order, clients).map_err(refused)? {
            let last = rows.run_of(range.end).map_err(refused)?;
            for at in (0..=last).rev().take(RUNS) {
                rows.run(at, &mut run).map_err(refused)?;
                for row in run.iter().rev().filter(|row| range.contains(row)) {
                    let value = |column: usize| reading.value(table, *row, column).map_err(refused);
                    let is_between = servers.contains(&(value(s::SERVER)? as u32));
                    if !is_between || value(s::DIRECTION)? != Direction::ToServer as u64 {
                        continue;
                    }
                    reading.values(table, *row, &mut values).map_err(refused)?;
                    found.extend(self.stream(file, &values)?.map(|listed| listed.stream));
                    count += 1;
                    if count == most {
                        return Ok(());
                    }
                }
                if run.first().is_none_or(|first| *first < range.start) {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Whether a row of a file is an object of the last word on its connection.
    ///
    /// # Errors
    /// When a file is damaged.
    pub fn is_newest(&self, file: usize, values: &[u64]) -> Outcome<bool> {
        let Some(reading) = self.files.get(file) else { return Ok(false) };
        let value = &|column: usize| values.get(column).copied().unwrap_or_default();
        if !self.counts(file, value(o::BUCKET)) {
            return Ok(false);
        }
        let bucket = reading.covered(value(o::BUCKET)).map_err(|bad| Unread::File(file, bad))?.bucket;
        let at = (bucket, value(o::PLACE));
        Ok(self.records(key(value))?.iter().all(|record| record.at <= at))
    }

    /// The streams that no index has, in no order.
    ///
    /// # Errors
    /// When a file is damaged.
    pub fn fresh(&self, each: &mut dyn FnMut(Listed)) -> Outcome<()> {
        for (key, streams) in &self.snapshot.tail.streams {
            let records = self.records(*key)?;
            for fresh in streams {
                let at = (fresh.stream.oid.bucket, fresh.stream.oid.place.0);
                let newer = |record: &Record| record.direction == fresh.stream.direction && record.at > at;
                if !records.iter().any(newer) {
                    each(self.listed(fresh.stream.clone(), fresh.continues, &records)?);
                }
            }
        }
        Ok(())
    }

    /// The connections whose objects no index has, or has no more: streams of theirs that were not over when they were looked
    /// at last, and those that retention took a part of. Of those between ends that may not be wanted, some may be left out.
    ///
    /// # Errors
    /// When a file is damaged, or a bucket cannot be read.
    pub fn unsettled(&self, may_be: &dyn Fn(&Tuple) -> bool) -> Outcome<HashMap<ConnKey, Vec<Listed>>> {
        let fresh = self.snapshot.tail.streams.iter();
        let fresh = fresh.filter(|(_, streams)| streams.first().is_some_and(|fresh| may_be(&fresh.stream.tuple)));
        let mut keys: Vec<ConnKey> = fresh.map(|(key, _)| *key).collect();
        self.not_over(&mut keys)?;
        self.cut(&mut keys)?;
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().map(|key| Ok((key, self.streams_of(key)?))).collect()
    }

    /// Adds the connections that were to go on after buckets that are not settled, or after ones that stayed when later ones
    /// were dropped: what went on then had its objects where it ended, which may be gone.
    fn not_over(&self, keys: &mut Vec<ConnKey>) -> Outcome<()> {
        let dropped = self.snapshot.store.dropped().last().map(|(id, _)| *id);
        for (file, reading) in self.files.iter().enumerate() {
            let unsettled = |at: usize, covered: &Coverage| {
                let to = self.snapshot.counting.covered.get(&covered.bucket);
                let stayed = dropped.is_some_and(|dropped| covered.bucket < dropped);
                self.counts(file, at as u64) && (stayed || to.is_some_and(|to| *to == Coverage::WHOLE))
            };
            let buckets: Vec<u64> = reading
                .segment
                .coverage
                .iter()
                .enumerate()
                .filter(|(at, c)| unsettled(*at, c))
                .map(|(at, _)| at as u64)
                .collect();
            if buckets.is_empty() {
                continue;
            }
            reading
                .continuing(&mut |values| {
                    let value = |column: usize| values.get(column).copied().unwrap_or_default();
                    if buckets.binary_search(&value(s::BUCKET)).is_ok() {
                        keys.push(key(&value));
                    }
                })
                .map_err(|bad| Unread::File(file, bad))?;
        }
        Ok(())
    }

    /// Adds the connections that retention took a part of.
    fn cut(&self, keys: &mut Vec<ConnKey>) -> Outcome<()> {
        let dropped = self.snapshot.store.dropped();
        let Some((last, _)) = dropped.last() else { return Ok(()) };
        for (file, reading) in self.files.iter().enumerate() {
            for n in 0..reading.continuations() {
                let c = reading.continuation(n).map_err(|bad| Unread::File(file, bad))?;
                if c.key_bucket > last.0 {
                    break;
                }
                let at = dropped.partition_point(|(id, _)| id.0 < c.key_bucket);
                if dropped.get(at).is_some_and(|(id, _)| id.0 < c.bucket) {
                    keys.push(ConnKey { bucket: BucketId(c.key_bucket), number: c.key_number });
                }
            }
        }
        Ok(())
    }

    /// Both streams of a connection, as they are now.
    fn streams_of(&self, key: ConnKey) -> Outcome<Vec<Listed>> {
        let records = self.records(key)?;
        let mut found = Vec::new();
        for direction in Direction::BOTH {
            let newest = records.iter().filter(|record| record.direction == direction).max_by_key(|record| record.at);
            let listed = match newest {
                Some(Record { from: Where::Row(file, row), .. }) => {
                    let mut values = Vec::new();
                    let Some(reading) = self.files.get(*file) else { continue };
                    let refused = |bad| Unread::File(*file, bad);
                    reading.values(Table::Streams, *row, &mut values).map_err(refused)?;
                    self.stream(*file, &values)?
                }
                Some(Record { from: Where::Fresh, .. }) => {
                    let mut fresh = self.snapshot.tail.streams.get(&key).into_iter().flatten();
                    let fresh = fresh.find(|fresh| fresh.stream.direction == direction);
                    fresh.map(|fresh| self.listed(fresh.stream.clone(), fresh.continues, &records)).transpose()?
                }
                // It began in its connection's first bucket, and nothing of it came later.
                None => {
                    let found = self.snapshot.store.record_in(key.bucket, key, direction)?;
                    found.map(|(stream, continues)| self.listed(stream, continues, &records)).transpose()?
                }
            };
            found.extend(listed);
        }
        Ok(found)
    }
}
