//! Several index files as one: rows of buckets that are gone are left out, and of a stream or a connection that two files have
//! a word on in the same bucket the later one counts.
//!
//! No rows are sorted anew: every order of the files is already there, and where each old row went is written into a file of its
//! own for as long as it takes. What is held in memory grows with what is distinct: the numbers of strings and addresses, and
//! digests whole, as their orders are made again.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use streamdb_types::{BucketId, ConnKey, Digests};

use super::build::{
    OrderWriter, RowsWriter, StringsWriter, continuation, digest_bytes, order_of, put_coverage, put_digest_orders,
};
use super::continued::ContinuationsWriter;
use super::layout::{ADDRESSES, Continuation, Coverage, DIGESTS, Kind, Lexicon, Table, object as o, stream as s};
use super::segment::{Reading, Rows, Segment, key};
use super::view::Bad;
use super::write::FileWriter;
use crate::error::{Error, Result};
use crate::format::bytes::Reader;
use crate::map::Map;
use crate::volume::{Volume, VolumeFile};

/// An index file that goes into another, and which of its [`Segment::coverage`] still counts.
pub(super) struct Input<'s> {
    pub(super) segment: &'s Segment,
    pub(super) live: Vec<bool>,
}

/// Why a merge did not come to its end.
pub(super) enum Failure {
    /// This one of the inputs is damaged.
    Damaged(usize, Error),
    /// It was told to stop.
    Stopped,
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

type Outcome<T> = std::result::Result<T, Failure>;

/// Writes one file of several, the older ones first, into this folder: whole and durable, or not at all.
pub(super) fn merge(
    volume: &dyn Volume,
    folder: &Path,
    inputs: &[Input<'_>],
    stop: &dyn Fn() -> bool,
) -> Outcome<PathBuf> {
    let coverage = together(inputs);
    let readings: Vec<Reading<'_>> = inputs.iter().map(|input| input.segment.reading()).collect();
    let mut file = FileWriter::new(volume, folder)?;
    let temporary = file.temporary().to_owned();
    let (maps, newest) = (Vec::new(), HashMap::new());
    let mut merge = Merge { volume, temporary: &temporary, inputs, readings, coverage, maps, newest, stop };
    put_coverage(&mut file, &merge.coverage)?;
    merge.words(&mut file)?;
    merge.find_newest()?;
    let rows = merge.rows(&mut file, Table::Streams)?;
    merge.continuations(&mut file, &rows)?;
    merge.orders(&mut file, Table::Streams, &rows)?;
    let rows = merge.rows(&mut file, Table::Objects)?;
    merge.orders(&mut file, Table::Objects, &rows)?;
    for (at, reading) in merge.readings.iter().enumerate() {
        reading.check().map_err(|error| Failure::Damaged(at, error))?;
    }
    Ok(file.finish()?)
}

/// What is covered by all of them, without what does not count any more: ranges of a bucket that touch are one.
pub(super) fn together(inputs: &[Input<'_>]) -> Vec<Coverage> {
    let live = |input: &Input<'_>| {
        let covered = input.segment.coverage.iter().copied().zip(input.live.iter().copied());
        covered.filter(|(_, live)| *live).map(|(covered, _)| covered).collect::<Vec<_>>()
    };
    let mut all: Vec<Coverage> = inputs.iter().flat_map(live).collect();
    all.sort_unstable();
    let mut joined: Vec<Coverage> = Vec::new();
    for covered in all {
        match joined.last_mut() {
            Some(last) if last.bucket == covered.bucket && last.to >= covered.from => last.to = last.to.max(covered.to),
            _ => joined.push(covered),
        }
    }
    joined
}

/// Where the numbers of an input went.
#[derive(Default)]
struct Numbers {
    buckets: Vec<Option<u32>>,
    addresses: Vec<u32>,
    strings: [Vec<u32>; 3],
    digests: Vec<u32>,
}

struct Merge<'m, 's> {
    volume: &'m dyn Volume,
    temporary: &'m Path,
    inputs: &'m [Input<'s>],
    readings: Vec<Reading<'s>>,
    coverage: Vec<Coverage>,
    maps: Vec<Numbers>,
    /// The last record of connections in buckets that several inputs cover parts of.
    newest: HashMap<(BucketId, ConnKey), u64>,
    stop: &'m dyn Fn() -> bool,
}

impl Merge<'_, '_> {
    fn bad(&self, input: usize) -> impl Fn(Bad) -> Failure + '_ {
        move |bad| match self.readings.get(input) {
            Some(reading) => Failure::Damaged(input, reading.error(bad)),
            None => Failure::Other(Error::damaged(self.temporary, bad.position, bad.what)),
        }
    }

    /// Strings, addresses and digests: each distinct one once.
    fn words(&mut self, file: &mut FileWriter<'_>) -> Outcome<()> {
        let mut maps: Vec<Numbers> = self.inputs.iter().map(|input| self.buckets(input)).collect();
        file.begin(ADDRESSES)?;
        let counts: Vec<u64> = self.readings.iter().map(Reading::addresses).collect();
        let mut next = 0u32;
        self.union(&counts, &|reading, n| reading.address_bytes(n), &|a, b| a.cmp(b), &mut |address, from| {
            file.put(address)?;
            for input in from {
                push(maps.get_mut(*input).map(|map| &mut map.addresses), next);
            }
            next += 1;
            Ok(())
        })?;
        for lexicon in Lexicon::ALL {
            let counts: Vec<u64> = self.readings.iter().map(|reading| reading.strings(lexicon).into()).collect();
            let mut writer = StringsWriter::begin(file, lexicon)?;
            let mut next = 0u32;
            self.union(
                &counts,
                &|reading, n| reading.string(lexicon, n as u32).map(<[u8]>::to_vec),
                &|a, b| order_of(lexicon)(a, b),
                &mut |string, from| {
                    writer.put(file, string)?;
                    for input in from {
                        push(maps.get_mut(*input).and_then(|map| map.strings.get_mut(lexicon as usize)), next);
                    }
                    next += 1;
                    Ok(())
                },
            )?;
            writer.finish(file)?;
        }
        let counts: Vec<u64> = self.readings.iter().map(Reading::all_digests).collect();
        let mut all: Vec<Digests> = Vec::new();
        file.begin(DIGESTS)?;
        let rank = |d: &Digests| (d.sha256, d.md5, d.sha1);
        self.union(&counts, &|reading, n| reading.digests(n), &|a, b| rank(a).cmp(&rank(b)), &mut |digests, from| {
            file.put(&digest_bytes(digests))?;
            for input in from {
                push(maps.get_mut(*input).map(|map| &mut map.digests), all.len() as u32);
            }
            all.push(*digests);
            Ok(())
        })?;
        put_digest_orders(file, &all)?;
        self.maps = maps;
        Ok(())
    }

    fn buckets(&self, input: &Input<'_>) -> Numbers {
        let number = |(covered, live): (&Coverage, &bool)| {
            let wanted = |merged: &Coverage| {
                merged.bucket == covered.bucket && merged.to >= covered.to && merged.from <= covered.from
            };
            let before = self.coverage.partition_point(|merged| merged.bucket < covered.bucket);
            let at = self.of_bucket(covered.bucket).iter().position(wanted);
            at.filter(|_| *live).map(|at| (before + at) as u32)
        };
        Numbers { buckets: input.segment.coverage.iter().zip(&input.live).map(number).collect(), ..Numbers::default() }
    }

    /// What is covered of a bucket: they are in the order of buckets, of which a site has tens of thousands.
    fn of_bucket(&self, bucket: BucketId) -> &[Coverage] {
        let before = self.coverage.partition_point(|merged| merged.bucket < bucket);
        let behind = self.coverage.partition_point(|merged| merged.bucket <= bucket);
        self.coverage.get(before..behind).unwrap_or_default()
    }

    /// Calls with each distinct item of all inputs, ascending, and the inputs that have it.
    fn union<T>(
        &self,
        counts: &[u64],
        item: &dyn Fn(&Reading<'_>, u64) -> std::result::Result<T, Bad>,
        compare: &dyn Fn(&T, &T) -> std::cmp::Ordering,
        each: &mut dyn FnMut(&T, &[usize]) -> Result<()>,
    ) -> Outcome<()> {
        let read = |input: usize, n: u64| match (self.readings.get(input), counts.get(input)) {
            (Some(reading), Some(count)) if n < *count => item(reading, n).map(Some).map_err(self.bad(input)),
            _ => Ok(None),
        };
        let mut heads: Vec<(u64, Option<T>)> = Vec::new();
        for input in 0..counts.len() {
            heads.push((0, read(input, 0)?));
        }
        loop {
            let least = heads.iter().filter_map(|(_, head)| head.as_ref()).min_by(|a, b| compare(a, b));
            let Some(least) = least else { return Ok(()) };
            let same = |head: &Option<T>| head.as_ref().is_some_and(|head| compare(head, least).is_eq());
            let from: Vec<usize> = (0..heads.len()).filter(|at| heads.get(*at).is_some_and(|(_, h)| same(h))).collect();
            each(least, &from)?;
            for input in from {
                if let Some(head) = heads.get_mut(input) {
                    *head = (head.0 + 1, read(input, head.0 + 1)?);
                }
            }
        }
    }

    /// Finds the last records of connections in buckets of which several parts come together.
    fn find_newest(&mut self) -> Outcome<()> {
        let mut parts: HashMap<BucketId, usize> = HashMap::new();
        for covered in self.inputs.iter().flat_map(|input| &input.segment.coverage) {
            *parts.entry(covered.bucket).or_default() += 1;
        }
        let several = self.coverage.iter().map(|covered| covered.bucket);
        let several: HashSet<BucketId> = several.filter(|bucket| parts.get(bucket).is_some_and(|n| *n > 1)).collect();
        let mut newest = HashMap::new();
        if several.is_empty() {
            return Ok(());
        }
        for (input, reading) in self.readings.iter().enumerate() {
            for n in 0..reading.continuations() {
                let c = reading.continuation(n).map_err(self.bad(input))?;
                if several.contains(&BucketId(c.bucket)) {
                    let key = ConnKey { bucket: BucketId(c.key_bucket), number: c.key_number };
                    let place = newest.entry((BucketId(c.bucket), key)).or_insert(0);
                    *place = c.place.max(*place);
                }
            }
        }
        self.newest = newest;
        Ok(())
    }

    /// Where an input's number of a column went; `None` when its bucket does not count.
    fn number(&self, input: usize, kind: Kind, value: u64) -> std::result::Result<Option<u64>, Bad> {
        let Some(map) = self.maps.get(input) else { return Ok(None) };
        let wrong = Bad { position: 0, what: "a row refers to what is not there" };
        let of = |numbers: &[u32], value: u64| numbers.get(value as usize).copied().map(u64::from).ok_or(wrong);
        let optional = |numbers: &[u32], value: u64| match value.checked_sub(1) {
            Some(n) => of(numbers, n).map(|n| n + 1),
            None => Ok(0),
        };
        Ok(Some(match kind {
            Kind::Plain => value,
            Kind::Bucket => return map.buckets.get(value as usize).copied().ok_or(wrong).map(|n| n.map(u64::from)),
            Kind::Address => of(&map.addresses, value)?,
            Kind::String(lexicon) => optional(map.strings.get(lexicon as usize).map_or(&[], Vec::as_slice), value)?,
            Kind::Digests => optional(&map.digests, value)?,
        }))
    }

    /// The next row of an input that counts, from `row` on, with its new numbers.
    fn next_row(&self, table: Table, input: usize, mut row: u32) -> Outcome<Option<Head>> {
        let Some(reading) = self.readings.get(input) else { return Ok(None) };
        let bad = self.bad(input);
        let mut values = Vec::new();
        while row < reading.segment.rows(table) {
            reading.values(table, row, &mut values).map_err(&bad)?;
            if self.renumber(table, input, &mut values).map_err(&bad)? {
                let mut rank = [0; RANK];
                let sorted_by = table.sorted_by().iter().filter_map(|column| values.get(*column).copied());
                rank.iter_mut().zip(sorted_by).for_each(|(to, from)| *to = from);
                return Ok(Some(Head { rank, input, row, values }));
            }
            row += 1;
        }
        Ok(None)
    }

    /// Gives a row its new numbers; whether it counts.
    fn renumber(&self, table: Table, input: usize, values: &mut [u64]) -> std::result::Result<bool, Bad> {
        for (kind, value) in table.columns().iter().zip(values.iter_mut()) {
            match self.number(input, *kind, *value)? {
                Some(n) => *value = n,
                None => return Ok(false),
            }
        }
        let value = |column: usize| values.get(column).copied().unwrap_or_default();
        if table == Table::Objects && !self.newest.is_empty() {
            let bucket = self.coverage.get(value(o::BUCKET) as usize).map(|covered| covered.bucket);
            let newest = bucket.and_then(|bucket| self.newest.get(&(bucket, key(&value))));
            return Ok(newest.is_none_or(|newest| value(o::PLACE) >= *newest));
        }
        Ok(true)
    }

    /// Writes the rows of a table; where those of each input went.
    fn rows(&self, file: &mut FileWriter<'_>, table: Table) -> Outcome<Vec<Moved>> {
        let mut moving = Vec::new();
        let mut heads: BinaryHeap<Reverse<Head>> = BinaryHeap::new();
        for (input, reading) in self.readings.iter().enumerate() {
            moving.push(Moving::new(self.volume, self.temporary, input, reading.segment.rows(table))?);
            heads.extend(self.next_row(table, input, 0)?.map(Reverse));
        }
        let mut writer = RowsWriter::begin(file, table)?;
        // The row before, which counts unless the next one takes its place.
        let mut held: Option<Head> = None;
        // All that a row is sorted by but its place, which comes last.
        let place = table.sorted_by().len().saturating_sub(1);
        while let Some(Reverse(head)) = heads.pop() {
            if head.row % ASKED == 0 && (self.stop)() {
                return Err(Failure::Stopped);
            }
            heads.extend(self.next_row(table, head.input, head.row + 1)?.map(Reverse));
            if let Some(before) = held.take()
                && before.rank.get(..place) != head.rank.get(..place)
            {
                keep(&mut moving, &mut writer, file, &before)?;
            }
            held = Some(head);
        }
        if let Some(before) = held {
            keep(&mut moving, &mut writer, file, &before)?;
        }
        writer.finish(file)?;
        Ok(moving.into_iter().map(Moving::finish).collect::<Result<_>>()?)
    }

    /// Writes the continuations that still are ones.
    fn continuations(&self, file: &mut FileWriter<'_>, moved: &[Moved]) -> Outcome<()> {
        let most = self.readings.iter().map(Reading::continuations).sum();
        let mut writer = ContinuationsWriter::begin(file, most)?;
        let mut heads: BinaryHeap<Reverse<(Continuation, usize, u64)>> = BinaryHeap::new();
        let next = |input: usize, mut n: u64| -> Outcome<Option<Reverse<(Continuation, usize, u64)>>> {
            let (Some(reading), Some(moved)) = (self.readings.get(input), moved.get(input)) else { return Ok(None) };
            let bad = self.bad(input);
            while n < reading.continuations() {
                let found = reading.continuation(n).map_err(&bad)?;
                if let Some(row) = moved.to(found.row as u32)? {
                    return Ok(Some(Reverse((Continuation { row: row.into(), ..found }, input, n))));
                }
                n += 1;
            }
            Ok(None)
        };
        for input in 0..self.readings.len() {
            heads.extend(next(input, 0)?);
        }
        while let Some(Reverse((found, input, n))) = heads.pop() {
            heads.extend(next(input, n + 1)?);
            let covered = self.of_bucket(BucketId(found.bucket)).first();
            let value = |column: usize| match column {
                s::KEY_BUCKET => found.key_bucket,
                s::KEY_NUMBER => found.key_number.into(),
                s::DIRECTION => found.direction.into(),
                s::PLACE => found.place,
                _ => 0,
            };
            if let Some(found) = covered.and_then(|covered| continuation(&value, covered, found.row)) {
                writer.put(file, found)?;
            }
        }
        Ok(writer.finish(file)?)
    }

    /// Writes the orders of a table.
    fn orders(&self, file: &mut FileWriter<'_>, table: Table, moved: &[Moved]) -> Outcome<()> {
        file.begin(table.communities())?;
        let mut heads: BinaryHeap<Reverse<(u64, usize, u64)>> = BinaryHeap::new();
        let next = |input: usize, mut n: u64| -> Outcome<Option<Reverse<(u64, usize, u64)>>> {
            let (Some(reading), Some(moved)) = (self.readings.get(input), moved.get(input)) else { return Ok(None) };
            while n < u64::from(reading.segment.rows(table)) {
                let entry = reading.community_at(table, n).map_err(self.bad(input))?;
                if let Some(row) = moved.to(entry as u32)? {
                    return Ok(Some(Reverse((entry >> 32 << 32 | u64::from(row), input, n))));
                }
                n += 1;
            }
            Ok(None)
        };
        for input in 0..self.readings.len() {
            heads.extend(next(input, 0)?);
        }
        while let Some(Reverse((entry, input, n))) = heads.pop() {
            heads.extend(next(input, n + 1)?);
            file.put(&entry.to_le_bytes())?;
        }
        for order in table.orders() {
            let kind = Reading::kind(table, order.column);
            let mut writer = OrderWriter::begin(file, table, *order)?;
            // The next key of each input, by its new number.
            let head = |input: usize, n: u64| -> Outcome<Option<(u32, Rows<'_>)>> {
                let Some(reading) = self.readings.get(input).filter(|reading| n < reading.keys(table, *order)) else {
                    return Ok(None);
                };
                let (key, rows) = reading.list_at(table, *order, n).map_err(self.bad(input))?;
                // What is found by its step keeps it.
                let kind = if order.by_step { Kind::Plain } else { kind };
                let key = self.number(input, kind, key.into()).map_err(self.bad(input))?;
                Ok(key.map(|key| (key as u32, rows)))
            };
            let mut heads = Vec::new();
            for input in 0..self.readings.len() {
                heads.push((0, head(input, 0)?));
            }
            while let Some(key) = heads.iter().filter_map(|(_, head)| Some(head.as_ref()?.0)).min() {
                let mut lists = Vec::new();
                for (input, (n, at_hand)) in heads.iter_mut().enumerate() {
                    if let Some((_, rows)) = at_hand.take_if(|(of, _)| *of == key) {
                        lists.push(MovedRows::new(input, rows));
                        *n += 1;
                        *at_hand = head(input, *n)?;
                    }
                }
                if (self.stop)() {
                    return Err(Failure::Stopped);
                }
                self.list(file, &mut writer, lists, moved)?;
                writer.key(file, key)?;
            }
            writer.finish(file)?;
        }
        Ok(())
    }

    /// Writes the list of a key: those of the inputs, ascending.
    fn list(
        &self,
        file: &mut FileWriter<'_>,
        writer: &mut OrderWriter,
        mut lists: Vec<MovedRows<'_>>,
        moved: &[Moved],
    ) -> Outcome<()> {
        let mut heads = Vec::with_capacity(lists.len());
        for list in &mut lists {
            heads.push(list.next(moved).map_err(self.bad(list.input))?);
        }
        loop {
            let least = heads.iter().enumerate().filter_map(|(at, head)| Some(((*head)?, at))).min();
            let Some((row, at)) = least else { return Ok(()) };
            writer.push(file, row)?;
            if let (Some(head), Some(list)) = (heads.get_mut(at), lists.get_mut(at)) {
                *head = list.next(moved).map_err(self.bad(list.input))?;
            }
        }
    }
}

/// After so many rows of an input it is asked whether to stop.
const ASKED: u32 = 1 << 14;
/// So many columns a row is sorted by, at most.
const RANK: usize = 8;

/// A row of an input with its new numbers.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    rank: [u64; RANK],
    input: usize,
    row: u32,
    values: Vec<u64>,
}

fn push(numbers: Option<&mut Vec<u32>>, number: u32) {
    if let Some(numbers) = numbers {
        numbers.push(number);
    }
}

/// Writes a row, and notes where it went.
fn keep(moving: &mut [Moving], writer: &mut RowsWriter, file: &mut FileWriter<'_>, head: &Head) -> Result<()> {
    let number = writer.push(file, &head.values)?;
    match moving.get_mut(head.input) {
        Some(moving) => moving.set(head.row, number),
        None => Ok(()),
    }
}

/// A row that does not count.
const NOWHERE: u32 = u32::MAX;
/// Bytes that are held before they are written.
const HELD: usize = 1 << 20;

/// Where the rows of an input go, in a file without a name.
struct Moving {
    path: PathBuf,
    file: Box<dyn VolumeFile>,
    /// For reading; the name is gone once it is whole.
    read: File,
    held: Vec<u8>,
    written: u64,
    next: u32,
    rows: u32,
}

impl Moving {
    fn new(volume: &dyn Volume, temporary: &Path, input: usize, rows: u32) -> Result<Self> {
        let path = temporary.with_extension(format!("{input}.moved"));
        let file = volume.create(&path).map_err(Error::io(&path, "make a file for a merge of index files"))?;
        let read = File::open(&path).map_err(Error::io(&path, "open a file for a merge of index files"))?;
        // It lasts as long as it is open, also when this process is killed.
        volume.unlink(&path).map_err(Error::io(&path, "remove the name of a file for a merge of index files"))?;
        Ok(Self { path, file, read, held: Vec::new(), written: 0, next: 0, rows })
    }

    /// A row went there; those before it that were not named went nowhere.
    fn set(&mut self, row: u32, number: u32) -> Result<()> {
        while self.next < row {
            self.put(NOWHERE)?;
        }
        self.put(number)
    }

    fn put(&mut self, number: u32) -> Result<()> {
        self.held.extend(number.to_le_bytes());
        self.next += 1;
        if self.held.len() >= HELD { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let failed = Error::io(&self.path, "write a file for a merge of index files");
        self.file.write_at(&self.held, self.written).map_err(failed)?;
        self.written += self.held.len() as u64;
        self.held.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<Moved> {
        self.set(self.rows, NOWHERE)?;
        self.flush()?;
        let map = Map::open(&self.read, &self.path, self.written);
        Ok(Moved(map.map_err(Error::io(&self.path, "map a file for a merge of index files"))?))
    }
}

/// Where the rows of an input went.
struct Moved(Arc<Map>);

impl Moved {
    fn to(&self, row: u32) -> Result<Option<u32>> {
        let number = self.0.read(u64::from(row) * 4, 4, |bytes| Reader(bytes).u32().unwrap_or(NOWHERE))?;
        Ok(Some(number).filter(|number| *number != NOWHERE))
    }
}

/// The rows of a list, where they went.
struct MovedRows<'r> {
    input: usize,
    rows: Rows<'r>,
    run: usize,
    held: std::vec::IntoIter<u32>,
}

impl<'r> MovedRows<'r> {
    fn new(input: usize, rows: Rows<'r>) -> Self {
        Self { input, rows, run: 0, held: Vec::new().into_iter() }
    }

    fn next(&mut self, moved: &[Moved]) -> std::result::Result<Option<u32>, Bad> {
        loop {
            let Some(row) = self.held.next() else {
                if self.run == self.rows.runs() {
                    return Ok(None);
                }
                let mut held = Vec::new();
                self.rows.run(self.run, &mut held)?;
                self.run += 1;
                self.held = held.into_iter();
                continue;
            };
            let to = moved.get(self.input).map(|moved| moved.to(row));
            match to {
                Some(Ok(Some(row))) => return Ok(Some(row)),
                Some(Ok(None)) => {}
                _ => return Err(Bad { position: 0, what: "a list has a row that is not there" }),
            }
        }
    }
}
