//! An index file that is read.

use std::cmp::Ordering;
use std::fs::File;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use streamdb_types::{
    BlockPlace, BucketId, ConnKey, Digests, Direction, Endpoint, Marks, ObjectRow, Oid, Protocol, Reason, StreamOffset,
    Timestamp, Tuple,
};

use super::build::{DIGEST_BYTES, OrderWriter, direction, unzigzag};
use super::class::Class;
use super::community::short;
use super::continued::Continued;
use super::fold;
use super::layout::{
    ADDRESSES, BUCKETS, BY_MD5, BY_SHA1, CONTINUATIONS, CONTINUED, Continuation, Coverage, DIGESTS, FOOTER, Header,
    Kind, Lexicon, Order, Section, Table, content, object as o, stream as s, time_of,
};
use super::pack::{BLOCK, Block, block_head, block_len};
use super::postings::List;
use super::view::{Bad, Bytes, PAGE, View};
use crate::derived::DERIVATION;
use crate::error::{Error, Result as StoreResult};
use crate::format::bytes::{Reader, Short};
use crate::format::record::path_of_bytes;
use crate::map::Map;
use crate::read::stream::StreamInfo;

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

/// The rows of a key.
pub struct Rows<'r>(List<'r, View<'r>>);

impl Rows<'_> {
    /// How many there are; at least one.
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// In how many runs they come.
    pub const fn runs(&self) -> usize {
        self.0.runs()
    }

    /// The rows of a run, ascending, in place of what is in `out`.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn run(&self, run: usize, out: &mut Vec<u32>) -> Result<(), Bad> {
        self.0.run(run, out)
    }

    /// The last run that begins with this row or one before it, or the first run.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn run_of(&self, row: u32) -> Result<usize, Bad> {
        self.0.run_of(row)
    }

    /// The same, looked for from a run on that may be near it.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn run_near(&self, row: u32, run: usize) -> Result<usize, Bad> {
        self.0.run_near(row, run)
    }

    /// The first row of a run.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn first(&self, run: usize) -> Result<u32, Bad> {
        self.0.first(run)
    }
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

    /// How many rows the keys of a range have, all together.
    pub fn count(&self, table: Table, order: Order, keys: Range<u32>) -> Result<u64, Bad> {
        let (section, _) = order.sections(table);
        let before = |key: u32| -> Result<u64, Bad> {
            let at = self.key_at(table, order, key)?;
            let (start, _) = self.segment.header.section(section);
            let bytes = self.view.bytes(start + at * OrderWriter::ENTRY as u64 + 4, 8)?;
            Reader(bytes).u64().map_err(Bad::at(start))
        };
        if self.keys(table, order) == 0 || keys.is_empty() {
            return Ok(0);
        }
        Ok(before(keys.end)?.saturating_sub(before(keys.start)?))
    }

    /// The lists of the keys of a range.
    pub fn lists(&self, table: Table, order: Order, keys: Range<u32>) -> Result<Vec<Rows<'_>>, Bad> {
        let mut all = Vec::new();
        self.each_list(table, order, keys, &mut |_, rows| {
            all.push(rows);
            Ok(())
        })?;
        Ok(all)
    }

    /// How many keys of a range have rows.
    pub fn keys_between(&self, table: Table, order: Order, keys: Range<u32>) -> Result<u64, Bad> {
        Ok(self.key_at(table, order, keys.end)?.saturating_sub(self.key_at(table, order, keys.start)?))
    }

    /// Calls with each key of a range that has rows, as long as `go_on` says so.
    pub fn each_key(
        &self,
        table: Table,
        order: Order,
        keys: Range<u32>,
        go_on: &dyn Fn() -> bool,
        each: &mut dyn FnMut(u32) -> Result<(), Bad>,
    ) -> Result<(), Bad> {
        let (section, _) = order.sections(table);
        for n in self.key_at(table, order, keys.start)?..self.key_at(table, order, keys.end)? {
            if !go_on() {
                break;
            }
            each(self.number(section, n, OrderWriter::ENTRY)? as u32)?;
        }
        Ok(())
    }

    /// The first entry of an order with this key or a greater one.
    fn key_at(&self, table: Table, order: Order, key: u32) -> Result<u64, Bad> {
        let (section, _) = order.sections(table);
        Self::partition(self.keys(table, order), |n| Ok((self.number(section, n, OrderWriter::ENTRY)? as u32) < key))
    }

    /// Calls with each key of a range, and the rows of it.
    fn each_list<'r>(
        &'r self,
        table: Table,
        order: Order,
        keys: Range<u32>,
        each: &mut dyn FnMut(u32, Rows<'r>) -> Result<(), Bad>,
    ) -> Result<(), Bad> {
        for n in self.key_at(table, order, keys.start)?..self.keys(table, order) {
            let (key, rows) = self.list_at(table, order, n)?;
            if key >= keys.end {
                break;
            }
            each(key, rows)?;
        }
        Ok(())
    }

    /// Entry `n` of an order: its key, and the rows.
    pub(super) fn list_at(&self, table: Table, order: Order, n: u64) -> Result<(u32, Rows<'_>), Bad> {
        let (section, lists) = order.sections(table);
        let read = |n: u64| -> Result<(u32, u64, u64), Bad> {
            let mut r = Reader(self.entry(section, n, OrderWriter::ENTRY)?);
            let mut all = || Ok((r.u32()?, r.u64()?, r.u64()?));
            all().map_err(Bad::at(self.segment.header.section(section).0))
        };
        let (key, before, place) = read(n)?;
        let (_, after, _) = read(n + 1)?;
        let (start, len) = self.segment.header.section(lists);
        let impossible = Bad { position: start, what: "a list has no possible place or length" };
        let rows = after.checked_sub(before).filter(|rows| *rows <= u64::from(self.segment.rows(table)));
        Ok(match rows.ok_or(impossible)? {
            0 => return Err(impossible),
            1 => (key, Rows(List::One(u32::try_from(place).map_err(|_| impossible)?))),
            _ if place > len => return Err(impossible),
            rows => (key, Rows(List::Many { bytes: &self.view, at: start + place, rows: rows as usize })),
        })
    }

    /// How many keys an order has.
    pub(super) fn keys(&self, table: Table, order: Order) -> u64 {
        self.entries(order.sections(table).0, OrderWriter::ENTRY).saturating_sub(1)
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

    /// How many strings a lexicon has.
    pub fn strings(&self, lexicon: Lexicon) -> u32 {
        self.entries(lexicon.ends(), 8) as u32
    }

    /// A string of a lexicon.
    pub fn string(&self, lexicon: Lexicon, n: u32) -> Result<&[u8], Bad> {
        let (at, len) = self.place_of(lexicon, n..n.saturating_add(1))?;
        self.view.bytes(at, len as usize)
    }

    /// Where the strings of a range begin, and how many bytes they have.
    fn place_of(&self, lexicon: Lexicon, strings: Range<u32>) -> Result<(u64, u64), Bad> {
        let end = |n: u32| match n.checked_sub(1) {
            Some(before) => self.number(lexicon.ends(), before.into(), 8),
            None => Ok(0),
        };
        let (start, end) = (end(strings.start)?, end(strings.end)?);
        let (at, len) = self.segment.header.section(lexicon.bytes());
        if start > end || end > len {
            return Err(Bad { position: at, what: "a text has no possible place or length" });
        }
        Ok((at + start, end - start))
    }

    /// How many bytes the texts of a range have.
    pub fn text_bytes(&self, texts: Range<u32>) -> Result<u64, Bad> {
        Ok(self.place_of(Lexicon::Texts, texts)?.1)
    }

    /// Calls with the texts of a range in whose bytes, or those from them to later ones, `find` finds something, as long as
    /// it says to go on, and so does `go_on`, which is asked all the while. `find` is given the bytes of many texts, one behind
    /// the other, and where to begin.
    pub fn texts_with(
        &self,
        texts: Range<u32>,
        find: &dyn Fn(&[u8], usize) -> Option<usize>,
        go_on: &dyn Fn() -> bool,
        each: &mut dyn FnMut(u32, &[u8]) -> bool,
    ) -> Result<(), Bad> {
        let (mut from, mut asked_for) = (texts.start, 0);
        while from < texts.end && go_on() {
            let (at, _) = self.place_of(Lexicon::Texts, from..from)?;
            let to = self.texts_until(from..texts.end, at + Self::STRETCH)?.max(from + 1);
            let (at, len) = self.place_of(Lexicon::Texts, from..to)?;
            // What comes then is read from the disk while this is gone through.
            if at + len > asked_for {
                asked_for = at + len + Self::AHEAD;
                self.view.expect(at, asked_for - at);
            }
            let bytes = self.view.bytes(at, len as usize)?;
            let mut begin = 0;
            while let Some(found) = find(bytes, begin) {
                let n = self.texts_until(from..to, at + found as u64)?;
                let (start, len) = self.place_of(Lexicon::Texts, n..n.saturating_add(1))?;
                let start = start.saturating_sub(at) as usize;
                let end = start.saturating_add(len as usize);
                let text = bytes.get(start..end).filter(|_| end > begin);
                if !each(n, text.ok_or(Bad { position: at, what: "a text has no possible place or length" })?) {
                    return Ok(());
                }
                begin = end;
            }
            from = to;
        }
        Ok(())
    }

    /// Bytes of texts that are gone through at once, and of those behind them that are asked for.
    const STRETCH: u64 = 64 << 10;
    const AHEAD: u64 = 1 << 20;

    /// The first text of a range that ends behind this place in the file.
    fn texts_until(&self, texts: Range<u32>, at: u64) -> Result<u32, Bad> {
        let (start, _) = self.segment.header.section(Lexicon::Texts.bytes());
        let n = Self::partition((texts.end - texts.start).into(), |n| {
            let end = self.number(Lexicon::Texts.ends(), u64::from(texts.start) + n, 8)?;
            Ok(start.saturating_add(end) <= at)
        })?;
        Ok(texts.start + n as u32)
    }

    /// The numbers of the texts that begin with these bytes, upper and lower case alike; they are in lower case.
    pub fn texts_with_prefix(&self, prefix: &[u8]) -> Result<Range<u32>, Bad> {
        let count = u64::from(self.strings(Lexicon::Texts));
        let beside = |n: u64| Ok::<_, Bad>(fold::beside_prefix(self.string(Lexicon::Texts, n as u32)?, prefix));
        let from = Self::partition(count, |n| Ok(beside(n)? == Ordering::Less))?;
        let to = Self::partition(count, |n| Ok(beside(n)? != Ordering::Greater))?;
        Ok(from as u32..(to as u32).max(from as u32))
    }

    fn text(&self, value: u64) -> Result<Option<String>, Bad> {
        let Some(n) = value.checked_sub(1) else { return Ok(None) };
        Ok(Some(String::from_utf8_lossy(self.string(Lexicon::Texts, n as u32)?).into_owned()))
    }

    /// A class, by its number.
    pub fn class(&self, n: u32) -> Result<Class, Bad> {
        Class::decode(self.string(Lexicon::Classes, n)?).map_err(Bad::at(0))
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

    fn tuple(&self, value: &dyn Fn(usize) -> u64) -> Result<Tuple, Bad> {
        let end = |address: usize, port: usize| {
            Ok::<_, Bad>(Endpoint::new(self.address(value(address))?, value(port) as u16))
        };
        Ok(Tuple {
            protocol: Protocol(value(s::PROTOCOL) as u8),
            client: end(s::CLIENT, s::CLIENT_PORT)?,
            server: end(s::SERVER, s::SERVER_PORT)?,
        })
    }

    /// A stream's row as it was given. `goes_on` when it was to go on after its bucket.
    pub fn stream(&self, values: &[u64]) -> Result<StreamInfo, Bad> {
        let value = &|column: usize| values.get(column).copied().unwrap_or_default();
        let bucket = self.covered(value(s::BUCKET))?.bucket;
        let place = BlockPlace(value(s::PLACE));
        let oid = Oid { bucket, place, length: value(s::LENGTH), index: 0 };
        let peer = value(s::PEER_PLACE).checked_sub(1).map(|n| Oid {
            place: BlockPlace(place.0.wrapping_add(unzigzag(n))),
            length: value(s::PEER_LENGTH),
            ..oid
        });
        let first = time_of(value(s::TIME));
        let reason = match value(s::REASON) {
            0 => None,
            letter => {
                let found = u8::try_from(letter).ok().and_then(|letter| Reason::from_letter(letter.into()));
                Some(found.ok_or(Bad { position: 0, what: "a stream has no possible reason" })?)
            }
        };
        let path = match value(s::PATH).checked_sub(1) {
            Some(n) => path_of_bytes(self.string(Lexicon::Paths, n as u32)?).map_err(Bad::at(0))?,
            None => streamdb_types::Path::EMPTY,
        };
        Ok(StreamInfo {
            oid,
            peer,
            key: key(value),
            direction: direction(value(s::DIRECTION)),
            tuple: self.tuple(value)?,
            path,
            first,
            last: Timestamp(first.0.wrapping_add(unzigzag(value(s::DURATION)) as i64)),
            length: StreamOffset(oid.length),
            gap_bytes: value(s::GAP_BYTES),
            packets: value(s::PACKETS),
            marks: Marks(value(s::MARKS) as u16),
            reason,
            part: value(s::PART) as u32,
            goes_on: reason.is_none(),
        })
    }

    /// An object's row as it was given.
    pub fn object(&self, values: &[u64]) -> Result<ObjectRow, Bad> {
        let value = &|column: usize| values.get(column).copied().unwrap_or_default();
        let group = self.covered(value(o::BUCKET))?.bucket;
        let class = value(o::CLASS).checked_sub(1).ok_or(Bad { position: 0, what: "an object is nothing" })?;
        let Class { kind, status, complete, conflict, declared_type, mime, description, legacy } =
            self.class(class as u32)?;
        let xor_key = match value(o::XOR_KEY).checked_sub(1) {
            Some(n) => Some(self.string(Lexicon::Texts, n as u32)?.to_vec()),
            None => None,
        };
        Ok(ObjectRow {
            oid: Oid {
                bucket: BucketId(group.0.wrapping_sub(value(o::OID_BUCKET))),
                place: BlockPlace(value(o::PLACE).wrapping_add(unzigzag(value(o::OID_PLACE)))),
                length: value(o::OID_LENGTH),
                index: value(o::INDEX),
            },
            key: key(value),
            direction: direction(value(o::DIRECTION)),
            begins: StreamOffset(value(o::BEGINS)),
            tuple: self.tuple(value)?,
            start: time_of(value(o::TIME)),
            kind,
            protocol: self.text(value(o::FOUND_IN))?.unwrap_or_default(),
            method: self.text(value(o::METHOD))?,
            host: self.text(value(o::HOST))?,
            uri: self.text(value(o::URI))?,
            status,
            declared_type,
            mime,
            description,
            legacy,
            xor_key,
            filename: self.text(value(o::FILENAME))?,
            size: value(o::SIZE),
            encoded_size: value(o::SIZE).wrapping_add(unzigzag(value(o::ENCODED))),
            complete,
            missing_bytes: value(o::MISSING),
            reason: self.text(value(o::WHY))?,
            conflict,
            digests: self.digests_of(value(o::DIGESTS))?,
            digests_encoded: self.digests_of(value(o::DIGESTS_ENCODED))?,
        })
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
