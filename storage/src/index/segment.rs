//! An index file that is read: `lists` has the rows of each key, `rows` what they say, `texts` the strings.

mod lists;
mod rows;
mod texts;

use std::cmp::Ordering;
use std::fs::File;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use streamdb_types::{BucketId, ConnKey, Digests, Direction};

pub use self::lists::Rows;
use super::build::{DIGEST_BYTES, direction};
use super::community::short;
use super::continued::Continued;
use super::layout::{
    ADDRESSES, BUCKETS, BY_MD5, BY_SHA1, CONTINUATIONS, CONTINUED, Continuation, Coverage, DIGESTS, FOOTER, Header,
    Kind, Section, Table, content, stream as s,
};
use super::pack::{BLOCK, Block, block_head, block_len};
use super::view::{Bad, Bytes, PAGE, View};
use crate::derived::DERIVATION;
use crate::error::{Error, Result as StoreResult};
use crate::format::bytes::{Reader, Short};
use crate::map::Map;

/// An index file, open.
#[derive(Debug)]
pub struct Segment {
    pub(super) path: PathBuf,
    pub(super) sequence: u64,
    map: Arc<Map>,
    content: u64,
    header: Header,
    pub(super) coverage: Vec<Coverage>,
    /// A few bits for each connection that is continued in it, so that most others are known not to be at once.
    continued: Continued,
}

impl Segment {
    /// Opens a file; `None` when it is of another version, or derived otherwise than today.
    pub(super) fn open(path: &Path, sequence: u64) -> StoreResult<Option<Self>> {
        let file = File::open(path).map_err(Error::io(path, "open an index file"))?;
        let len = file.metadata().map_err(Error::io(path, "ask for the length of an index file"))?.len();
        let map = Map::open(&file, path, len).map_err(Error::io(path, "map an index file"))?;
        map.expect_random();
        let end = len.saturating_sub(FOOTER as u64);
        let short = |position| Error::damaged(path, position, "this is no whole index file");
        let content =
            map.read(end, FOOTER.min(len as usize), |footer| content(footer, len))?.map_err(|_| short(end))?;
        let mut segment = Self {
            path: path.to_owned(),
            sequence,
            map,
            content,
            header: Header::default(),
            coverage: Vec::new(),
            continued: Continued::default(),
        };
        let found = {
            let map = Arc::clone(&segment.map);
            let view = View::new(&map, content);
            let reader = Reading { segment: &segment, view };
            let found = reader.opened();
            reader.view.check()?;
            found.map_err(|bad| segment.damaged(bad))?
        };
        let Some((header, coverage, continued)) = found else { return Ok(None) };
        (segment.header, segment.coverage, segment.continued) = (header, coverage, continued);
        Ok(Some(segment))
    }

    /// The error that names it.
    pub fn damaged(&self, bad: Bad) -> Error {
        Error::damaged(&self.path, bad.position, bad.what.to_owned())
    }

    /// Reads all of it.
    pub(super) fn verify(&self) -> StoreResult<()> {
        let reading = self.reading();
        let mut at = 0;
        while at < self.content {
            let len = (1 << 20).min(self.content - at);
            reading.view.bytes(at, len as usize).map_err(|bad| self.damaged(bad))?;
            at += len;
        }
        self.map.expect_nothing();
        reading.check()
    }

    /// Its number.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.map.len()
    }

    /// What this process holds in memory of it.
    pub fn resident(&self) -> usize {
        self.continued.bytes() + self.coverage.len() * size_of::<Coverage>() + size_of::<Self>()
    }

    /// Rows of a table.
    pub fn rows(&self, table: Table) -> u32 {
        self.header.rows.get(table as usize).copied().unwrap_or_default() as u32
    }

    /// The times of the first and the last row, as in their column.
    pub fn times(&self, table: Table) -> (u64, u64) {
        self.header.times.get(table as usize).copied().unwrap_or_default()
    }

    /// Begins to read.
    pub fn reading(&self) -> Reading<'_> {
        Reading { segment: self, view: View::new(&self.map, self.content) }
    }

    /// Whether it may have a continuation of this connection.
    pub(super) fn may_continue(&self, key: ConnKey) -> bool {
        self.continued.may_have(key)
    }
}

/// An index file while one question is answered from it.
pub struct Reading<'s> {
    /// The file.
    pub segment: &'s Segment,
    view: View<'s>,
}

impl<'s> Reading<'s> {
    /// What an open file has in memory.
    fn opened(&self) -> Result<Option<(Header, Vec<Coverage>, Continued)>, Bad> {
        let Some(header) = Header::decode(self.view.bytes(0, PAGE)?, self.view_len())? else { return Ok(None) };
        if header.derivation != DERIVATION {
            return Ok(None);
        }
        for section in [BUCKETS, CONTINUED] {
            let (at, len) = header.section(section);
            self.view.expect(at, len);
        }
        let (at, len) = header.section(BUCKETS);
        let mut r = Reader(self.view.bytes(at, len as usize)?);
        let count = len as usize / Coverage::BYTES;
        let coverage: Result<Vec<Coverage>, Short> = (0..count).map(|_| Coverage::decode(&mut r)).collect();
        let coverage = coverage.map_err(Bad::at(at))?;
        let (at, len) = header.section(CONTINUED);
        let continued = Continued::decode(self.view.bytes(at, len as usize)?).map_err(Bad::at(at))?;
        Ok(Some((header, coverage, continued)))
    }

    const fn view_len(&self) -> u64 {
        self.segment.content
    }

    /// What is wrong with the file, as an error that names it.
    pub fn error(&self, bad: Bad) -> Error {
        self.segment.damaged(bad)
    }

    /// Whether all could be read that was looked at.
    pub fn check(&self) -> StoreResult<()> {
        self.view.check()
    }

    /// Entry `n` of a section of entries of `size` bytes.
    fn entry(&self, section: Section, n: u64, size: usize) -> Result<&[u8], Bad> {
        let (start, len) = self.segment.header.section(section);
        let at = n.saturating_mul(size as u64);
        if at.saturating_add(size as u64) > len {
            return Err(Bad { position: start, what: "an entry is asked for that is not there" });
        }
        self.view.bytes(start + at, size)
    }

    fn entries(&self, section: Section, size: usize) -> u64 {
        self.segment.header.section(section).1 / size as u64
    }

    fn number(&self, section: Section, n: u64, size: usize) -> Result<u64, Bad> {
        let mut bytes = [0; 8];
        let entry = self.entry(section, n, size)?;
        bytes.iter_mut().zip(entry).for_each(|(to, from)| *to = *from);
        Ok(u64::from_le_bytes(bytes))
    }

    /// The first of `0..count` for which `before` is false; it is true up to there.
    fn partition(count: u64, mut before: impl FnMut(u64) -> Result<bool, Bad>) -> Result<u64, Bad> {
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = u64::midpoint(low, high);
            if before(middle)? { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    fn block(&self, table: Table, block: u64) -> Result<Block<'_>, Bad> {
        let columns = table.columns().len();
        let (start, len) = self.segment.header.section(table.rows());
        let at = self.number(table.blocks(), block, 16)?;
        let at = start.saturating_add(at.min(len));
        let head = self.view.bytes(at, block_head(columns))?;
        let len = block_len(head).map_err(Bad::at(at))?;
        Ok(Block::new(self.view.bytes(at, len)?, columns))
    }

    /// One value of a row.
    pub fn value(&self, table: Table, row: u32, column: usize) -> Result<u64, Bad> {
        let block = self.block(table, u64::from(row) / BLOCK as u64)?;
        block.get(column, row as usize % BLOCK).map_err(Bad::at(0))
    }

    /// All values of a row.
    pub fn values(&self, table: Table, row: u32, out: &mut Vec<u64>) -> Result<(), Bad> {
        out.resize(table.columns().len(), 0);
        let block = self.block(table, u64::from(row) / BLOCK as u64)?;
        block.row(row as usize % BLOCK, out).map_err(Bad::at(0))
    }

    /// The rows whose time is from the first on, and not after the last.
    pub fn between(&self, table: Table, first: u64, last: u64) -> Result<Range<u32>, Bad> {
        let from = self.row_at(table, |time| time < first)?;
        let to = self.row_at(table, |time| time <= last)?;
        Ok(from..to.max(from))
    }

    /// The first row for whose time `before` is false.
    pub fn row_at(&self, table: Table, before: impl Fn(u64) -> bool) -> Result<u32, Bad> {
        let blocks = self.entries(table.blocks(), 16);
        let first_of = |block: u64| {
            let (start, _) = self.segment.header.section(table.blocks());
            let bytes = self.view.bytes(start + block * 16 + 8, 8)?;
            Reader(bytes).u64().map_err(Bad::at(start))
        };
        let block = Self::partition(blocks, |block| Ok(before(first_of(block)?)))?;
        let Some(block) = block.checked_sub(1) else { return Ok(0) };
        let start = (block * BLOCK as u64) as u32;
        let rows = self.segment.rows(table).saturating_sub(start).min(BLOCK as u32);
        let inside = Self::partition(rows.into(), |row| Ok(before(self.value(table, start + row as u32, 0)?)))?;
        Ok(start + inside as u32)
    }

    /// The first row that does not stand before `rank`, where `rank` are the leading columns by which rows are sorted.
    pub fn row_of(&self, table: Table, rank: &[u64]) -> Result<u32, Bad> {
        let time = rank.first().copied().unwrap_or_default();
        let range = self.between(table, time, time)?;
        let row = Self::partition((range.end - range.start).into(), |n| {
            let row = range.start + n as u32;
            for (column, wanted) in table.sorted_by().iter().zip(rank) {
                match self.value(table, row, *column)?.cmp(wanted) {
                    Ordering::Less => return Ok(true),
                    Ordering::Greater => return Ok(false),
                    Ordering::Equal => {}
                }
            }
            Ok(false)
        })?;
        Ok(range.start + row as u32)
    }

    /// The rows of connections whose community id begins so.
    pub fn by_community(&self, table: Table, digest: &[u8; 20]) -> Result<Vec<u32>, Bad> {
        let short = short(digest);
        let count = self.entries(table.communities(), 8);
        let at = Self::partition(count, |n| Ok((self.number(table.communities(), n, 8)? >> 32) < short.into()))?;
        let mut rows = Vec::new();
        for n in at..count {
            let entry = self.number(table.communities(), n, 8)?;
            if entry >> 32 != u64::from(short) {
                break;
            }
            rows.push(entry as u32);
        }
        rows.sort_unstable();
        Ok(rows)
    }

    pub(super) fn community_at(&self, table: Table, n: u64) -> Result<u64, Bad> {
        self.number(table.communities(), n, 8)
    }

    /// How many distinct addresses there are.
    pub(super) fn addresses(&self) -> u64 {
        self.entries(ADDRESSES, 16)
    }

    pub(super) fn address_bytes(&self, n: u64) -> Result<[u8; 16], Bad> {
        let bytes = self.entry(ADDRESSES, n, 16)?;
        bytes.first_chunk().copied().ok_or(Bad { position: 0, what: "it ends too early" })
    }

    /// The numbers of the addresses from one to another, both included.
    pub fn addresses_between(&self, first: IpAddr, last: IpAddr) -> Result<Range<u32>, Bad> {
        let (first, last) = (super::build::address_key(first), super::build::address_key(last));
        let from = Self::partition(self.addresses(), |n| Ok(self.address_bytes(n)? < first))?;
        let to = Self::partition(self.addresses(), |n| Ok(self.address_bytes(n)? <= last))?;
        Ok(from as u32..(to as u32).max(from as u32))
    }

    fn address(&self, n: u64) -> Result<IpAddr, Bad> {
        Ok(IpAddr::V6(Ipv6Addr::from(self.address_bytes(n)?)).to_canonical())
    }

    /// How many distinct digests there are.
    pub(super) fn all_digests(&self) -> u64 {
        self.entries(DIGESTS, DIGEST_BYTES)
    }

    /// Digests, by their number.
    pub(super) fn digests(&self, n: u64) -> Result<Digests, Bad> {
        let mut r = Reader(self.entry(DIGESTS, n, DIGEST_BYTES)?);
        let mut all = || Ok(Digests { sha256: r.array()?, md5: r.array()?, sha1: r.array()? });
        all().map_err(Bad::at(0))
    }

    /// The numbers of the digests with this SHA-256.
    pub fn by_sha256(&self, sha256: &[u8; 32]) -> Result<Range<u32>, Bad> {
        let from = Self::partition(self.all_digests(), |n| Ok(self.digests(n)?.sha256 < *sha256))?;
        let to = Self::partition(self.all_digests(), |n| Ok(self.digests(n)?.sha256 <= *sha256))?;
        Ok(from as u32..(to as u32).max(from as u32))
    }

    /// The numbers of the digests with this MD5.
    pub fn by_md5(&self, md5: &[u8; 16]) -> Result<Vec<u32>, Bad> {
        self.by(BY_MD5, |digests| digests.md5.cmp(md5))
    }

    /// The numbers of the digests with this SHA-1.
    pub fn by_sha1(&self, sha1: &[u8; 20]) -> Result<Vec<u32>, Bad> {
        self.by(BY_SHA1, |digests| digests.sha1.cmp(sha1))
    }

    fn by(&self, section: Section, compare: impl Fn(&Digests) -> Ordering) -> Result<Vec<u32>, Bad> {
        let count = self.entries(section, 4);
        let number = |n: u64| Ok::<_, Bad>(self.number(section, n, 4)? as u32);
        let at = Self::partition(count, |n| Ok(compare(&self.digests(number(n)?.into())?) == Ordering::Less))?;
        let mut found = Vec::new();
        for n in at..count {
            let number = number(n)?;
            if compare(&self.digests(number.into())?) != Ordering::Equal {
                break;
            }
            found.push(number);
        }
        Ok(found)
    }

    fn digests_of(&self, value: u64) -> Result<Option<Digests>, Bad> {
        value.checked_sub(1).map(|n| self.digests(n)).transpose()
    }

    pub(super) fn continuations(&self) -> u64 {
        self.entries(CONTINUATIONS, Continuation::BYTES)
    }

    pub(super) fn continuation(&self, n: u64) -> Result<Continuation, Bad> {
        Continuation::decode(self.entry(CONTINUATIONS, n, Continuation::BYTES)?).map_err(Bad::at(0))
    }

    /// The continuations of a connection, the oldest first, those of either direction apart.
    pub(super) fn continuations_of(&self, key: ConnKey, each: &mut dyn FnMut(Continuation)) -> Result<(), Bad> {
        if !self.segment.may_continue(key) {
            return Ok(());
        }
        let wanted = (key.bucket.0, key.number);
        let of = |c: &Continuation| (c.key_bucket, c.key_number);
        let count = self.continuations();
        let at = Self::partition(count, |n| Ok(of(&self.continuation(n)?) < wanted))?;
        for n in at..count {
            let found = self.continuation(n)?;
            if of(&found) != wanted {
                break;
            }
            each(found);
        }
        Ok(())
    }

    /// Which entry of the coverage a row's bucket is.
    pub fn covered(&self, value: u64) -> Result<&'s Coverage, Bad> {
        self.segment.coverage.get(value as usize).ok_or(Bad { position: 0, what: "a row has no possible bucket" })
    }

    /// Calls with the values of each stream that was to go on after its bucket.
    pub(super) fn continuing(&self, each: &mut dyn FnMut(&[u64])) -> Result<(), Bad> {
        let table = Table::Streams;
        let Some(order) = table.orders().iter().find(|order| order.column == s::REASON) else { return Ok(()) };
        let (mut run, mut values) = (Vec::new(), Vec::new());
        for rows in self.lists(table, *order, 0..1)? {
            for at in 0..rows.runs() {
                rows.run(at, &mut run)?;
                for row in &run {
                    self.values(table, *row, &mut values)?;
                    each(&values);
                }
            }
        }
        Ok(())
    }

    /// What the numbers of a column are.
    pub(super) fn kind(table: Table, column: usize) -> Kind {
        table.columns().get(column).copied().unwrap_or(Kind::Plain)
    }
}

/// The connection of a row.
pub fn key(value: &dyn Fn(usize) -> u64) -> ConnKey {
    ConnKey { bucket: BucketId(value(s::KEY_BUCKET)), number: value(s::KEY_NUMBER) as u32 }
}

/// The direction of a row.
pub fn direction_of(value: &dyn Fn(usize) -> u64) -> Direction {
    direction(value(s::DIRECTION))
}
