//! What an index file is made of: its first page, its sections, and the columns and orders of its two tables.

use streamdb_types::{BlockPlace, BucketId, Timestamp};

use super::view::{Bad, PAGE};
use crate::format::bytes::{Reader, Short};

pub(super) const MAGIC: &[u8; 8] = b"SDBINDX1";
/// What an index file is made of today. Files of another number are made again.
pub(super) const VERSION: u32 = 3;
/// Most sections of a file.
const SECTIONS: usize = 96;

/// A section, by its number in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Section(pub(super) u32);

/// What is covered: (bucket, from, to) as u64 each.
pub(super) const BUCKETS: Section = Section(1);
/// Distinct addresses, 16 bytes each, IPv4 ones as RFC 4291 §2.5.5.2 maps them; ascending.
pub(super) const ADDRESSES: Section = Section(2);
/// Distinct digests: MD5, SHA-1, SHA-256 of the same content; ascending by SHA-256.
pub(super) const DIGESTS: Section = Section(3);
/// The numbers of digests in the order of their MD5, and of their SHA-1; u32 each.
pub(super) const BY_MD5: Section = Section(4);
pub(super) const BY_SHA1: Section = Section(5);
/// Streams that may take the place of others: see [`Continuation`].
pub(super) const CONTINUATIONS: Section = Section(6);

/// A filter over their connections: see `continued`.
pub(super) const CONTINUED: Section = Section(7);

/// Distinct byte strings: where each ends (u64), and the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lexicon {
    /// VLANs and tunnels, as in a stream's record.
    Paths,
    /// Texts of objects, and XOR keys; ascending by what they are in lower case.
    Texts,
    /// What objects are: see `class`.
    Classes,
}

impl Lexicon {
    pub(super) const ALL: [Self; 3] = [Self::Paths, Self::Texts, Self::Classes];

    pub(super) const fn ends(self) -> Section {
        Section(8 + 2 * self as u32)
    }

    pub(super) const fn bytes(self) -> Section {
        Section(9 + 2 * self as u32)
    }
}

/// What a column's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Themselves.
    Plain,
    /// Which entry of [`BUCKETS`] has the bucket first.
    Bucket,
    /// Which address.
    Address,
    /// Which string of a lexicon; 0 is none, then from 1 on.
    String(Lexicon),
    /// Which digests; 0 is none, then from 1 on.
    Digests,
}

/// One of the two tables of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// A row is a stream's part in one bucket.
    Streams,
    /// A row is an object.
    Objects,
}

/// The columns of [`Table::Streams`].
pub mod stream {
    /// The time of its first frame: see [`of_time`](super::of_time).
    pub const TIME: usize = 0;
    /// Its connection's key: the bucket,
    pub const KEY_BUCKET: usize = 1;
    /// and the ordinal there.
    pub const KEY_NUMBER: usize = 2;
    /// 0 to the server, 1 to the client.
    pub const DIRECTION: usize = 3;
    /// Which entry of the coverage its bucket is.
    pub const BUCKET: usize = 4;
    /// The place of its record.
    pub const PLACE: usize = 5;
    /// Which address the client's is.
    pub const CLIENT: usize = 6;
    /// Which the server's is.
    pub const SERVER: usize = 7;
    /// The client's port.
    pub const CLIENT_PORT: usize = 8;
    /// The server's port.
    pub const SERVER_PORT: usize = 9;
    /// The IP protocol.
    pub const PROTOCOL: usize = 10;
    /// 0: was to go on; else the letter of its reason.
    pub const REASON: usize = 11;
    /// Bytes, gaps included.
    pub const LENGTH: usize = 12;
    /// 0: no peer; else 1 + zigzag of its place less this one's.
    pub const PEER_PLACE: usize = 13;
    /// The peer's length.
    pub const PEER_LENGTH: usize = 14;
    /// Which VLANs and tunnels; 0 for none.
    pub const PATH: usize = 15;
    /// Zigzag of the time of its last frame less that of the first.
    pub const DURATION: usize = 16;
    /// Bytes that are not there.
    pub const GAP_BYTES: usize = 17;
    /// Frames.
    pub const PACKETS: usize = 18;
    /// What was seen of it.
    pub const MARKS: usize = 19;
    /// Which part of the stream it is.
    pub const PART: usize = 20;
    /// How many there are.
    pub const COLUMNS: usize = 21;
}

/// The columns of [`Table::Objects`]; the first of both tables are the same.
pub mod object {
    pub use super::stream::{
        BUCKET, CLIENT, CLIENT_PORT, DIRECTION, KEY_BUCKET, KEY_NUMBER, PLACE, PROTOCOL, SERVER, SERVER_PORT, TIME,
    };
    /// Where in the stream its message begins.
    pub const BEGINS: usize = 11;
    /// The INDEX of its oid.
    pub const INDEX: usize = 12;
    /// How many ids the oid's bucket is before that of [`BUCKET`], in which its connection was last when it was found; [`PLACE`]
    /// is that of the connection's last record.
    pub const OID_BUCKET: usize = 13;
    /// Zigzag of the oid's place less [`PLACE`].
    pub const OID_PLACE: usize = 14;
    /// The LENGTH of its oid.
    pub const OID_LENGTH: usize = 15;
    /// What it is: see [`Class`](crate::index::Class).
    pub const CLASS: usize = 16;
    /// The protocol it was found in.
    pub const FOUND_IN: usize = 17;
    /// The request's method.
    pub const METHOD: usize = 18;
    /// The host.
    pub const HOST: usize = 19;
    /// The request target.
    pub const URI: usize = 20;
    /// The file name.
    pub const FILENAME: usize = 21;
    /// Why it is not complete.
    pub const WHY: usize = 22;
    /// The key of an executable under XOR.
    pub const XOR_KEY: usize = 23;
    /// Bytes of content.
    pub const SIZE: usize = 24;
    /// Zigzag of the bytes as sent less [`SIZE`].
    pub const ENCODED: usize = 25;
    /// Bytes missing.
    pub const MISSING: usize = 26;
    /// Of the content.
    pub const DIGESTS: usize = 27;
    /// Of the bytes as sent.
    pub const DIGESTS_ENCODED: usize = 28;
    /// What more is known of it, as its row has it.
    pub const FACTS: usize = 29;
    /// How many there are.
    pub const COLUMNS: usize = 30;
}

/// Rows by what they have in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    pub(super) number: u32,
    /// Of which column.
    pub column: usize,
    /// Whether a value stands for all of its step: see [`step_of`].
    pub(super) by_step: bool,
}

const fn order(number: u32, column: usize) -> Order {
    Order { number, column, by_step: false }
}

impl Order {
    /// The keys and places of the lists, and the lists.
    pub(super) const fn sections(self, table: Table) -> (Section, Section) {
        let base = table.base() + 4 + 2 * self.number;
        (Section(base), Section(base + 1))
    }

    /// Under which key a value's rows are; none where the value is an absent one.
    pub(super) const fn key(self, kind: Kind, value: u64) -> Option<u32> {
        match kind {
            Kind::String(_) | Kind::Digests if value == 0 => None,
            _ if self.by_step => Some(step_of(value)),
            _ => Some(value as u32),
        }
    }
}

impl Table {
    pub(super) const ALL: [Self; 2] = [Self::Streams, Self::Objects];

    const fn base(self) -> u32 {
        match self {
            Self::Streams => 16,
            Self::Objects => 48,
        }
    }

    /// Blocks of rows.
    pub(super) const fn rows(self) -> Section {
        Section(self.base())
    }

    /// For each block: where it begins, and the time of its first row.
    pub(super) const fn blocks(self) -> Section {
        Section(self.base() + 1)
    }

    /// For each row: 32 bits of its community id and its number in the lower half of a u64; ascending.
    pub(super) const fn communities(self) -> Section {
        Section(self.base() + 2)
    }

    /// What each column's numbers are.
    pub(super) const fn columns(self) -> &'static [Kind] {
        const P: Kind = Kind::Plain;
        const TEXT: Kind = Kind::String(Lexicon::Texts);
        const CLASS: Kind = Kind::String(Lexicon::Classes);
        const PATH: Kind = Kind::String(Lexicon::Paths);
        const D: Kind = Kind::Digests;
        const A: Kind = Kind::Address;
        const B: Kind = Kind::Bucket;
        match self {
            Self::Streams => {
                const COLUMNS: [Kind; stream::COLUMNS] =
                    [P, P, P, P, B, P, A, A, P, P, P, P, P, P, P, PATH, P, P, P, P, P];
                &COLUMNS
            }
            Self::Objects => {
                const COLUMNS: [Kind; object::COLUMNS] = [
                    P, P, P, P, B, P, A, A, P, P, P, P, P, P, P, P, CLASS, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, P,
                    P, P, D, D, TEXT,
                ];
                &COLUMNS
            }
        }
    }

    /// By which of them rows are found.
    pub(super) const fn orders(self) -> &'static [Order] {
        use {object as o, stream as s};
        match self {
            Self::Streams => {
                const ORDERS: [Order; 7] = [
                    order(0, s::CLIENT),
                    order(1, s::SERVER),
                    order(2, s::CLIENT_PORT),
                    order(3, s::SERVER_PORT),
                    order(4, s::PROTOCOL),
                    order(5, s::REASON),
                    Order { by_step: true, ..order(6, s::LENGTH) },
                ];
                &ORDERS
            }
            Self::Objects => {
                const ORDERS: [Order; 13] = [
                    order(0, o::CLIENT),
                    order(1, o::SERVER),
                    order(2, o::CLIENT_PORT),
                    order(3, o::SERVER_PORT),
                    order(4, o::METHOD),
                    order(5, o::HOST),
                    order(6, o::URI),
                    order(7, o::FILENAME),
                    order(8, o::CLASS),
                    order(9, o::DIGESTS),
                    order(10, o::DIGESTS_ENCODED),
                    Order { by_step: true, ..order(11, o::SIZE) },
                    order(12, o::FACTS),
                ];
                &ORDERS
            }
        }
    }

    /// The order by a column, if there is one.
    pub fn order_of(self, column: usize) -> Option<Order> {
        self.orders().iter().find(|order| order.column == column).copied()
    }

    /// By how many of the first columns rows are sorted: those of a position, and after them the bucket and the place.
    pub const fn sorted_by(self) -> &'static [usize] {
        use {object as o, stream as s};
        match self {
            Self::Streams => &[s::TIME, s::KEY_BUCKET, s::KEY_NUMBER, s::DIRECTION, s::BUCKET, s::PLACE],
            Self::Objects => {
                &[o::TIME, o::KEY_BUCKET, o::KEY_NUMBER, o::DIRECTION, o::BEGINS, o::INDEX, o::BUCKET, o::PLACE]
            }
        }
    }
}

/// A moment as an unsigned number in the same order.
pub const fn of_time(time: Timestamp) -> u64 {
    (time.0 as u64) ^ (1 << 63)
}

/// On which step of a scale a number stands: each below 8 on one of its own, and above them eight steps from each power of two
/// to the next one, so that the numbers of a step differ by less than an eighth.
pub const fn step_of(n: u64) -> u32 {
    match (64 - n.leading_zeros()).checked_sub(4) {
        Some(shift) => (shift + 1) * 8 + ((n >> shift) & 7) as u32,
        None => n as u32,
    }
}

/// The moment of such a number.
pub const fn time_of(n: u64) -> Timestamp {
    Timestamp((n ^ (1 << 63)) as i64)
}

/// What of a bucket a file has: everything that ended by a record behind `from` and not behind `to`. [`WHOLE`](Self::WHOLE)
/// is all of a sealed bucket, [`SETTLED`](Self::SETTLED) besides the objects of what fell silent at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Coverage {
    /// The bucket.
    pub bucket: BucketId,
    /// From behind this record; 0: from its beginning.
    pub from: BlockPlace,
    /// To this record.
    pub to: BlockPlace,
}

impl Coverage {
    /// The bucket is sealed, and all of its streams are there.
    pub const WHOLE: BlockPlace = BlockPlace(u64::MAX - 1);
    /// And all of their objects.
    pub const SETTLED: BlockPlace = BlockPlace(u64::MAX);

    pub(super) const BYTES: usize = 24;

    pub(super) fn encode(self, out: &mut Vec<u8>) {
        for n in [self.bucket.0, self.from.0, self.to.0] {
            out.extend(n.to_le_bytes());
        }
    }

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, Short> {
        let (bucket, from, to) = (BucketId(r.u64()?), BlockPlace(r.u64()?), BlockPlace(r.u64()?));
        if from < to { Ok(Self { bucket, from, to }) } else { Err(Short) }
    }
}

/// A stream that began in an earlier bucket, or may be a later word on one in the same bucket: its row takes the place of
/// earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Continuation {
    pub(super) key_bucket: u64,
    pub(super) key_number: u32,
    /// As in the column.
    pub(super) direction: u32,
    pub(super) bucket: u64,
    pub(super) place: u64,
    pub(super) row: u64,
}

impl Continuation {
    pub(super) const BYTES: usize = 40;

    pub(super) fn encode(self, out: &mut Vec<u8>) {
        out.extend(self.key_bucket.to_le_bytes());
        out.extend(self.key_number.to_le_bytes());
        out.extend(self.direction.to_le_bytes());
        for n in [self.bucket, self.place, self.row] {
            out.extend(n.to_le_bytes());
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Short> {
        let mut r = Reader(bytes);
        Ok(Self {
            key_bucket: r.u64()?,
            key_number: r.u32()?,
            direction: r.u32()?,
            bucket: r.u64()?,
            place: r.u64()?,
            row: r.u64()?,
        })
    }
}

/// What the first page says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) derivation: u32,
    /// Rows of each table.
    pub(super) rows: [u64; 2],
    /// The times of their first and last row, as in the column.
    pub(super) times: [(u64, u64); 2],
    /// Where each section begins, and its bytes.
    pub(super) sections: Vec<(u32, u64, u64)>,
}

/// Bytes at the end of the file: those of its pages as u64, the checksum of these 8 bytes, the magic.
pub(super) const FOOTER: usize = 20;

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(VERSION.to_le_bytes());
        out.extend(self.derivation.to_le_bytes());
        for n in self.rows {
            out.extend(n.to_le_bytes());
        }
        for (first, last) in self.times {
            out.extend(first.to_le_bytes());
            out.extend(last.to_le_bytes());
        }
        out.extend((self.sections.len() as u64).to_le_bytes());
        for (section, at, len) in &self.sections {
            out.extend(section.to_le_bytes());
            out.extend(at.to_le_bytes());
            out.extend(len.to_le_bytes());
        }
        out.resize(PAGE, 0);
        out
    }

    /// `None` when another version wrote it; sections within `content`.
    pub(super) fn decode(page: &[u8], content: u64) -> Result<Option<Self>, Bad> {
        Self::read(&mut Reader(page), content).map_err(Bad::at(0))
    }

    fn read(r: &mut Reader<'_>, content: u64) -> Result<Option<Self>, Short> {
        if r.take(8)? != MAGIC {
            return Err(Short);
        }
        if r.u32()? != VERSION {
            return Ok(None);
        }
        let derivation = r.u32()?;
        let rows = [r.u64()?, r.u64()?];
        let times = [(r.u64()?, r.u64()?), (r.u64()?, r.u64()?)];
        let count = r.u64()?;
        if count > SECTIONS as u64 || rows.iter().any(|rows| *rows > MOST_ROWS) {
            return Err(Short);
        }
        let mut sections = Vec::new();
        for _ in 0..count {
            let (section, at, len) = (r.u32()?, r.u64()?, r.u64()?);
            if at.checked_add(len).is_none_or(|end| end > content) {
                return Err(Short);
            }
            sections.push((section, at, len));
        }
        Ok(Some(Self { derivation, rows, times, sections }))
    }

    pub(super) fn section(&self, section: Section) -> (u64, u64) {
        let found = self.sections.iter().find(|(id, _, _)| *id == section.0);
        found.map_or((0, 0), |(_, at, len)| (*at, *len))
    }
}

/// Most rows of a table of one file.
pub(super) const MOST_ROWS: u64 = 1 << 31;

/// The end of a file.
pub(super) fn footer(content: u64) -> Vec<u8> {
    let mut out = content.to_le_bytes().to_vec();
    out.extend(crc32fast::hash(&out).to_le_bytes());
    out.extend(MAGIC);
    out
}

/// How many bytes of pages a file of this length has that ends so.
pub(super) fn content(footer: &[u8], file: u64) -> Result<u64, Short> {
    let mut r = Reader(footer);
    let content = r.u64()?;
    let sum = r.u32()?;
    let pages = content / PAGE as u64;
    let len = content.checked_add(pages * 4).and_then(|n| n.checked_add(FOOTER as u64)).ok_or(Short)?;
    let whole = crc32fast::hash(&content.to_le_bytes()) == sum && r.take(8)? == MAGIC && content % PAGE as u64 == 0;
    if whole && len == file && pages > 0 { Ok(content) } else { Err(Short) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn steps_follow_each_other() {
        for (n, step) in
            [(0, 0), (7, 7), (8, 8), (15, 15), (16, 16), (17, 16), (18, 17), (31, 23), (32, 24), (u64::MAX, 495)]
        {
            assert_eq!(step_of(n), step, "{n}");
        }
    }

    proptest! {
        #[test]
        fn a_greater_number_is_on_no_lower_step(digits in 0u32..64, n: u64, more in 0u64..1 << 20) {
            let n = n >> digits;
            let greater = n.saturating_add(more);
            prop_assert!(step_of(n) <= step_of(greater));
            prop_assert!(step_of(n) < step_of(greater) || greater - n <= n / 8);
        }
    }
}
