//! An index file of rows that are in memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use streamdb_types::{BlockPlace, BucketId, Digests, Direction, ObjectRow, Reason, Tuple};

use super::class::Class;
use super::community::{community, short};
use super::continued::ContinuationsWriter;
use super::fold;
use super::layout::{
    ADDRESSES, BUCKETS, BY_MD5, BY_SHA1, Continuation, Coverage, DIGESTS, Kind, Lexicon, Order, Section, Table,
    object as o, of_time, stream as s,
};
use super::pack::{BLOCK, put_block};
use super::postings::ListWriter;
use super::write::FileWriter;
use crate::error::Result;
use crate::format::record::path_bytes;
use crate::read::stream::StreamInfo;
use crate::volume::Volume;

/// The objects of a connection that were found when it had its last record in this bucket.
#[derive(Clone, Debug)]
pub struct Group {
    /// The bucket.
    pub bucket: BucketId,
    /// The connection's last record in it.
    pub place: BlockPlace,
    /// Its objects.
    pub rows: Vec<ObjectRow>,
}

/// What an index file is made of.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// What is covered: at most once each bucket.
    pub coverage: Vec<Coverage>,
    /// Streams that ended, or were to go on, each as its record in the bucket of its oid says.
    pub streams: Vec<StreamInfo>,
    /// Objects by connection.
    pub groups: Vec<Group>,
}

/// An address as it is sorted.
pub(super) fn address_key(addr: IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V4(addr) => addr.to_ipv6_mapped().octets(),
        IpAddr::V6(addr) => addr.octets(),
    }
}

/// Zigzag, of a difference that may wrap.
pub(super) const fn zigzag(n: u64) -> u64 {
    (n << 1) ^ ((n as i64 >> 63) as u64)
}

/// Its inverse.
pub(super) const fn unzigzag(n: u64) -> u64 {
    (n >> 1) ^ (n & 1).wrapping_neg()
}

pub(super) const fn reason_code(reason: Option<Reason>) -> u64 {
    match reason {
        None => 0,
        Some(reason) => reason.letter() as u64,
    }
}

/// Writes an index file of rows in memory into this folder: whole and durable, or not at all.
pub(crate) fn build(volume: &dyn Volume, folder: &Path, contents: &Contents) -> Result<PathBuf> {
    let mut file = FileWriter::new(volume, folder)?;
    let mut coverage = contents.coverage.clone();
    coverage.sort_unstable();
    put_coverage(&mut file, &coverage)?;
    let mut words = Words { coverage, ..Words::default() };
    for stream in &contents.streams {
        words.tuple(&stream.tuple);
        words.string(Lexicon::Paths, path_bytes(&stream.path));
    }
    for row in contents.groups.iter().flat_map(|group| &group.rows) {
        words.tuple(&row.tuple);
        words.string(Lexicon::Classes, Class::encode(row));
        for text in texts(row).into_iter().flatten() {
            words.string(Lexicon::Texts, text.to_vec());
        }
        for digests in [&row.digests, &row.digests_encoded].into_iter().flatten() {
            words.digests.insert((digests.sha256, digests.md5, digests.sha1), 0);
        }
    }
    words.settle(&mut file)?;
    let mut streams: Vec<Row> = contents.streams.iter().map(|stream| words.stream(stream)).collect();
    let mut objects: Vec<Row> = contents
        .groups
        .iter()
        .flat_map(|group| group.rows.iter().map(move |row| (group, row)))
        .map(|(group, row)| words.object(group, row))
        .collect();
    table(&mut file, Table::Streams, &mut streams)?;
    let mut continuations = Vec::new();
    for (at, row) in streams.iter().enumerate() {
        let value = |column: usize| row.values.get(column).copied().unwrap_or_default();
        let covered = words.coverage.get(value(s::BUCKET) as usize);
        if let Some(continuation) = covered.and_then(|covered| continuation(&value, covered, at as u64)) {
            continuations.push(continuation);
        }
    }
    continuations.sort_unstable();
    let mut writer = ContinuationsWriter::begin(&mut file, continuations.len() as u64)?;
    continuations.into_iter().try_for_each(|continuation| writer.put(&mut file, continuation))?;
    writer.finish(&mut file)?;
    table(&mut file, Table::Objects, &mut objects)?;
    file.finish()
}

/// Whether a stream's row may take the place of an earlier one: it began in another bucket, or its bucket is not covered whole
/// by this file.
pub(super) fn continuation(value: &dyn Fn(usize) -> u64, covered: &Coverage, row: u64) -> Option<Continuation> {
    let bucket = covered.bucket.0;
    let whole = covered.from.is_none() && covered.to >= Coverage::WHOLE;
    (value(s::KEY_BUCKET) != bucket || !whole).then(|| Continuation {
        key_bucket: value(s::KEY_BUCKET),
        key_number: value(s::KEY_NUMBER) as u32,
        direction: value(s::DIRECTION) as u32,
        bucket,
        place: value(s::PLACE),
        row,
    })
}

pub(super) fn put_coverage(file: &mut FileWriter<'_>, coverage: &[Coverage]) -> Result<()> {
    file.begin(BUCKETS)?;
    for covered in coverage {
        let mut bytes = Vec::new();
        covered.encode(&mut bytes);
        file.put(&bytes)?;
    }
    Ok(())
}

/// The texts of an object that are in the lexicon, in the order of their columns.
fn texts(row: &ObjectRow) -> [Option<&[u8]>; 8] {
    [
        Some(row.protocol.as_bytes()).filter(|text| !text.is_empty()),
        row.method.as_deref().map(str::as_bytes),
        row.host.as_deref().map(str::as_bytes),
        row.uri.as_deref().map(str::as_bytes),
        row.filename.as_deref().map(str::as_bytes),
        row.reason.as_deref().map(str::as_bytes),
        row.xor_key.as_deref(),
        Some(row.facts.as_bytes()).filter(|text| !text.is_empty()),
    ]
}

struct Row {
    values: Vec<u64>,
    community: u32,
}

/// SHA-256, MD5 and SHA-1: as digests are sorted.
type DigestsRank = ([u8; 32], [u8; 16], [u8; 20]);

/// What rows refer to, by its number.
#[derive(Default)]
struct Words {
    coverage: Vec<Coverage>,
    addresses: HashMap<[u8; 16], u32>,
    strings: [HashMap<Vec<u8>, u32>; 3],
    digests: HashMap<DigestsRank, u32>,
}

impl Words {
    fn tuple(&mut self, tuple: &Tuple) {
        for end in [tuple.client, tuple.server] {
            self.addresses.insert(address_key(end.addr), 0);
        }
    }

    fn string(&mut self, lexicon: Lexicon, bytes: Vec<u8>) {
        if let Some(strings) = self.strings.get_mut(lexicon as usize) {
            strings.insert(bytes, 0);
        }
    }

    /// Gives everything its number, and writes it.
    fn settle(&mut self, file: &mut FileWriter<'_>) -> Result<()> {
        let mut addresses: Vec<_> = self.addresses.iter_mut().collect();
        addresses.sort_unstable();
        file.begin(ADDRESSES)?;
        for (at, (address, number)) in addresses.into_iter().enumerate() {
            *number = at as u32;
            file.put(address)?;
        }
        for (lexicon, strings) in Lexicon::ALL.into_iter().zip(&mut self.strings) {
            let mut strings: Vec<_> = strings.iter_mut().collect();
            strings.sort_unstable_by(|(a, _), (b, _)| order_of(lexicon)(a, b));
            let mut writer = StringsWriter::begin(file, lexicon)?;
            for (at, (string, number)) in strings.into_iter().enumerate() {
                *number = at as u32;
                writer.put(file, string)?;
            }
            writer.finish(file)?;
        }
        let mut digests: Vec<_> = self.digests.iter_mut().collect();
        digests.sort_unstable();
        let mut all = Vec::with_capacity(digests.len());
        file.begin(DIGESTS)?;
        for (at, ((sha256, md5, sha1), number)) in digests.into_iter().enumerate() {
            *number = at as u32;
            let digests = Digests { md5: *md5, sha1: *sha1, sha256: *sha256 };
            file.put(&digest_bytes(&digests))?;
            all.push(digests);
        }
        put_digest_orders(file, &all)
    }

    fn number(&self, lexicon: Lexicon, bytes: Option<&[u8]>) -> u64 {
        let found = bytes.and_then(|bytes| self.strings.get(lexicon as usize)?.get(bytes));
        found.map_or(0, |number| u64::from(*number) + 1)
    }

    fn address(&self, addr: IpAddr) -> u64 {
        self.addresses.get(&address_key(addr)).copied().unwrap_or_default().into()
    }

    fn digest(&self, digests: Option<&Digests>) -> u64 {
        let found = digests.and_then(|d| self.digests.get(&(d.sha256, d.md5, d.sha1)));
        found.map_or(0, |number| u64::from(*number) + 1)
    }

    fn bucket(&self, bucket: BucketId) -> u64 {
        self.coverage.partition_point(|covered| covered.bucket < bucket) as u64
    }

    fn stream(&self, stream: &StreamInfo) -> Row {
        let (oid, tuple) = (stream.oid, &stream.tuple);
        let mut values = vec![0; s::COLUMNS];
        let peer = stream.peer.map_or(0, |peer| zigzag(peer.place.0.wrapping_sub(oid.place.0)).wrapping_add(1));
        for (column, value) in [
            (s::TIME, of_time(stream.first)),
            (s::KEY_BUCKET, stream.key.bucket.0),
            (s::KEY_NUMBER, stream.key.number.into()),
            (s::DIRECTION, stream.direction as u64),
            (s::BUCKET, self.bucket(oid.bucket)),
            (s::PLACE, oid.place.0),
            (s::CLIENT, self.address(tuple.client.addr)),
            (s::SERVER, self.address(tuple.server.addr)),
            (s::CLIENT_PORT, tuple.client.port.into()),
            (s::SERVER_PORT, tuple.server.port.into()),
            (s::PROTOCOL, tuple.protocol.0.into()),
            (s::REASON, reason_code(stream.reason)),
            (s::LENGTH, oid.length),
            (s::PEER_PLACE, peer),
            (s::PEER_LENGTH, stream.peer.map_or(0, |peer| peer.length)),
            (s::PATH, self.number(Lexicon::Paths, Some(&path_bytes(&stream.path)))),
            (s::DURATION, zigzag(stream.last.0.wrapping_sub(stream.first.0) as u64)),
            (s::GAP_BYTES, stream.gap_bytes),
            (s::PACKETS, stream.packets),
            (s::MARKS, stream.marks.0.into()),
            (s::PART, stream.part.into()),
        ] {
            if let Some(place) = values.get_mut(column) {
                *place = value;
            }
        }
        Row { values, community: short(&community(tuple)) }
    }

    fn object(&self, group: &Group, row: &ObjectRow) -> Row {
        let mut values = vec![0; o::COLUMNS];
        let (oid, tuple) = (row.oid, &row.tuple);
        let text = texts(row).map(|text| self.number(Lexicon::Texts, text));
        for (column, value) in [
            (o::TIME, of_time(row.start)),
            (o::KEY_BUCKET, row.key.bucket.0),
            (o::KEY_NUMBER, row.key.number.into()),
            (o::DIRECTION, row.direction as u64),
            (o::BUCKET, self.bucket(group.bucket)),
            (o::PLACE, group.place.0),
            (o::CLIENT, self.address(tuple.client.addr)),
            (o::SERVER, self.address(tuple.server.addr)),
            (o::CLIENT_PORT, tuple.client.port.into()),
            (o::SERVER_PORT, tuple.server.port.into()),
            (o::PROTOCOL, tuple.protocol.0.into()),
            (o::BEGINS, row.begins.0),
            (o::INDEX, oid.index),
            (o::OID_BUCKET, group.bucket.0.wrapping_sub(oid.bucket.0)),
            (o::OID_PLACE, zigzag(oid.place.0.wrapping_sub(group.place.0))),
            (o::OID_LENGTH, oid.length),
            (o::CLASS, self.number(Lexicon::Classes, Some(&Class::encode(row)))),
            (o::SIZE, row.size),
            (o::ENCODED, zigzag(row.encoded_size.wrapping_sub(row.size))),
            (o::MISSING, row.missing_bytes),
            (o::DIGESTS, self.digest(row.digests.as_ref())),
            (o::DIGESTS_ENCODED, self.digest(row.digests_encoded.as_ref())),
        ] {
            if let Some(place) = values.get_mut(column) {
                *place = value;
            }
        }
        let columns = [o::FOUND_IN, o::METHOD, o::HOST, o::URI, o::FILENAME, o::WHY, o::XOR_KEY, o::FACTS];
        for (column, number) in columns.into_iter().zip(text) {
            if let Some(place) = values.get_mut(column) {
                *place = number;
            }
        }
        Row { values, community: short(&community(tuple)) }
    }
}

/// How a lexicon is sorted.
pub(super) fn order_of(lexicon: Lexicon) -> fn(&[u8], &[u8]) -> std::cmp::Ordering {
    match lexicon {
        Lexicon::Texts => fold::compare,
        Lexicon::Paths | Lexicon::Classes => |a, b| a.cmp(b),
    }
}

/// Bytes of digests in their section.
pub(super) const DIGEST_BYTES: usize = 68;

/// Digests as they lie in a file: SHA-256, MD5, SHA-1.
pub(super) fn digest_bytes(digests: &Digests) -> Vec<u8> {
    [&digests.sha256[..], &digests.md5, &digests.sha1].concat()
}

/// The numbers of digests by MD5 and by SHA-1; `all` are in the order of their numbers.
pub(super) fn put_digest_orders(file: &mut FileWriter<'_>, all: &[Digests]) -> Result<()> {
    let mut numbers: Vec<u32> = (0..all.len() as u32).collect();
    let of = |number: &u32| all.get(*number as usize);
    file.begin(BY_MD5)?;
    numbers.sort_unstable_by_key(|number| of(number).map(|digests| digests.md5));
    numbers.iter().try_for_each(|number| file.put(&number.to_le_bytes()))?;
    file.begin(BY_SHA1)?;
    numbers.sort_unstable_by_key(|number| of(number).map(|digests| digests.sha1));
    numbers.iter().try_for_each(|number| file.put(&number.to_le_bytes()))
}

/// Writes a lexicon: the strings, and where each ends.
pub(super) struct StringsWriter {
    lexicon: Lexicon,
    ends: Vec<u64>,
    end: u64,
}

impl StringsWriter {
    pub(super) fn begin(file: &mut FileWriter<'_>, lexicon: Lexicon) -> Result<Self> {
        file.begin(lexicon.bytes())?;
        Ok(Self { lexicon, ends: Vec::new(), end: 0 })
    }

    pub(super) fn put(&mut self, file: &mut FileWriter<'_>, string: &[u8]) -> Result<()> {
        self.end += string.len() as u64;
        self.ends.push(self.end);
        file.put(string)
    }

    pub(super) fn finish(self, file: &mut FileWriter<'_>) -> Result<()> {
        file.begin(self.lexicon.ends())?;
        self.ends.iter().try_for_each(|end| file.put(&end.to_le_bytes()))
    }
}

/// Writes the rows of a table, block by block.
pub(super) struct RowsWriter {
    table: Table,
    held: Vec<u64>,
    blocks: Vec<(u64, u64)>,
    start: u64,
    rows: u64,
    times: (u64, u64),
    bytes: Vec<u8>,
}

impl RowsWriter {
    pub(super) fn begin(file: &mut FileWriter<'_>, table: Table) -> Result<Self> {
        file.begin(table.rows())?;
        let (held, blocks, bytes) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { table, held, blocks, start: file.position(), rows: 0, times: (u64::MAX, 0), bytes })
    }

    /// Adds a row; its number.
    pub(super) fn push(&mut self, file: &mut FileWriter<'_>, values: &[u64]) -> Result<u32> {
        if self.held.len() == BLOCK * values.len() {
            self.put_block(file)?;
        }
        let time = values.first().copied().unwrap_or_default();
        self.times = (self.times.0.min(time), self.times.1.max(time));
        self.held.extend_from_slice(values);
        let number = self.rows as u32;
        self.rows += 1;
        Ok(number)
    }

    fn put_block(&mut self, file: &mut FileWriter<'_>) -> Result<()> {
        let first = self.held.first().copied().unwrap_or_default();
        self.blocks.push((file.position() - self.start, first));
        self.bytes.clear();
        put_block(&mut self.bytes, &self.held, self.table.columns().len());
        self.held.clear();
        file.put(&self.bytes)
    }

    pub(super) fn finish(mut self, file: &mut FileWriter<'_>) -> Result<()> {
        if !self.held.is_empty() {
            self.put_block(file)?;
        }
        file.begin(self.table.blocks())?;
        for (at, time) in &self.blocks {
            file.put(&at.to_le_bytes())?;
            file.put(&time.to_le_bytes())?;
        }
        let table = self.table as usize;
        if let (Some(rows), Some(times)) = (file.header.rows.get_mut(table), file.header.times.get_mut(table)) {
            (*rows, *times) = (self.rows, self.times);
        }
        Ok(())
    }
}

/// Writes an order: the lists of its keys, and the table of them.
pub(super) struct OrderWriter {
    table: Section,
    start: u64,
    entries: Vec<u8>,
    rows: u64,
    list: ListWriter,
    /// A row that is alone with its key so far lies in the table.
    alone: Option<u32>,
    begun: u64,
}

impl OrderWriter {
    /// Bytes of an entry: key u32, rows before u64, place u64.
    pub(super) const ENTRY: usize = 20;

    pub(super) fn begin(file: &mut FileWriter<'_>, table: Table, order: Order) -> Result<Self> {
        let (keys, lists) = order.sections(table);
        file.begin(lists)?;
        let (entries, list) = (Vec::new(), ListWriter::default());
        Ok(Self { table: keys, start: file.position(), entries, rows: 0, list, alone: None, begun: 0 })
    }

    /// Adds a row to the key at hand.
    pub(super) fn push(&mut self, file: &mut FileWriter<'_>, row: u32) -> Result<()> {
        match (self.alone, self.begun) {
            (None, 0) => self.alone = Some(row),
            (Some(first), 0) => {
                self.begun = file.position() + 1;
                self.alone = None;
                self.list.push(first, &mut |bytes| file.put(bytes))?;
                self.list.push(row, &mut |bytes| file.put(bytes))?;
            }
            _ => self.list.push(row, &mut |bytes| file.put(bytes))?,
        }
        Ok(())
    }

    /// The key at hand has all its rows; nothing happens when it has none.
    pub(super) fn key(&mut self, file: &mut FileWriter<'_>, key: u32) -> Result<()> {
        let (count, place) = match self.alone.take() {
            Some(row) => (1, u64::from(row)),
            None if self.begun == 0 => return Ok(()),
            None => {
                let (count, place) = self.list.finish(&mut |bytes| file.put(bytes))?;
                (count, self.begun - 1 - self.start + place)
            }
        };
        self.begun = 0;
        self.entry(key, place);
        self.rows += count;
        Ok(())
    }

    fn entry(&mut self, key: u32, place: u64) {
        self.entries.extend(key.to_le_bytes());
        self.entries.extend(self.rows.to_le_bytes());
        self.entries.extend(place.to_le_bytes());
    }

    pub(super) fn finish(mut self, file: &mut FileWriter<'_>) -> Result<()> {
        self.entry(u32::MAX, 0);
        file.begin(self.table)?;
        file.put(&self.entries)
    }
}

/// Writes a table with its orders.
fn table(file: &mut FileWriter<'_>, table: Table, rows: &mut [Row]) -> Result<()> {
    let sorted_by = table.sorted_by();
    let rank = |row: &Row| sorted_by.iter().map(|column| row.values.get(*column).copied()).collect::<Vec<_>>();
    rows.sort_by_cached_key(rank);
    let mut writer = RowsWriter::begin(file, table)?;
    for row in rows.iter() {
        writer.push(file, &row.values)?;
    }
    writer.finish(file)?;
    let mut communities: Vec<u64> =
        rows.iter().enumerate().map(|(at, row)| u64::from(row.community) << 32 | at as u64).collect();
    communities.sort_unstable();
    file.begin(table.communities())?;
    communities.iter().try_for_each(|entry| file.put(&entry.to_le_bytes()))?;
    for order in table.orders() {
        let kind = table.columns().get(order.column).copied().unwrap_or(Kind::Plain);
        let value = |row: &Row| row.values.get(order.column).copied().unwrap_or_default();
        let mut pairs: Vec<(u32, u32)> =
            rows.iter().enumerate().filter_map(|(at, row)| Some((order.key(kind, value(row))?, at as u32))).collect();
        pairs.sort_unstable();
        let mut writer = OrderWriter::begin(file, table, *order)?;
        for of_key in pairs.chunk_by(|a, b| a.0 == b.0) {
            for (_, row) in of_key {
                writer.push(file, *row)?;
            }
            writer.key(file, of_key.first().map_or(0, |(key, _)| *key))?;
        }
        writer.finish(file)?;
    }
    Ok(())
}

/// The direction of a column's number.
pub(super) const fn direction(n: u64) -> Direction {
    Direction::from_bit(n as u8)
}
