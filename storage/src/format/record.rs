//! Records: what shared and long blocks are made of.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use streamdb_types::{
    BlockPlace, BucketId, ConnKey, Direction, Endpoint, FrameNumber, Gap, GapKind, Hop, HopKind, Interface, LinkType,
    Marks, Path, Protocol, Reason, Resolution, StreamOffset, Timestamp, Tuple,
};

use super::bytes::{Reader, Short, align8, put_varint, put_zigzag};

/// Bytes of a record's header.
pub(crate) const RECORD_HEADER: usize = 16;
/// Bytes of an entry of a chunk list.
pub(crate) const CHUNK_ENTRY: usize = 20;
/// The three places at the front of a stream's head.
pub(crate) const PREV_AT: usize = 0;
pub(crate) const PEER_AT: usize = 8;
pub(crate) const LIST_AT: usize = 16;
/// The most gaps that a head lists.
pub(crate) const MAX_GAPS: usize = 1024;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum RecordKind {
    /// A stream that is still open: how it stands, and the newest run of its bytes.
    Open = 1,
    /// The last word on a stream in this bucket: how it stands, and its bytes or where they are.
    End = 2,
    /// A piece of a chunk list that is too long for its END.
    List = 3,
    /// An interface, before the first frame of it in this bucket.
    Interface = 4,
    /// Decryption secrets that the capture carried, as they stood.
    Secrets = 5,
    /// Names that the capture carried, as they stood.
    Names = 6,
    /// Frames that were dropped before they came to us.
    Loss = 7,
}

impl RecordKind {
    const fn from_u8(n: u8) -> Option<Self> {
        Some(match n {
            1 => Self::Open,
            2 => Self::End,
            3 => Self::List,
            4 => Self::Interface,
            5 => Self::Secrets,
            6 => Self::Names,
            7 => Self::Loss,
            _ => return None,
        })
    }
}

/// Flag: the bytes go to the client.
const TO_CLIENT: u8 = 1;
/// Flag of END: the body is a chunk list, not bytes.
const CHUNKED: u8 = 1 << 1;
/// Flag: there are more gaps than the head lists; the chunks tell.
const GAPS_CUT: u8 = 1 << 2;

/// One record in the uncompressed bytes of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) kind: RecordKind,
    flags: u8,
    /// The connection's ordinal in the bucket; 0 for records of no connection.
    pub(crate) conn: u32,
    /// Where in the block it begins.
    pub(crate) place: u32,
    head: &'a [u8],
    pub(crate) body: &'a [u8],
}

/// The record at a place of a block's uncompressed bytes.
pub(crate) fn record_at(block: &[u8], place: u32) -> Result<Record<'_>, Short> {
    let at = place as usize;
    if !at.is_multiple_of(8) {
        return Err(Short);
    }
    let mut r = Reader(block.get(at..).ok_or(Short)?);
    let (kind, flags, head_len, body_len, conn, reserved) = (r.u8()?, r.u8()?, r.u16()?, r.u32()?, r.u32()?, r.u32()?);
    let kind = RecordKind::from_u8(kind).ok_or(Short)?;
    if reserved != 0 {
        return Err(Short);
    }
    let head = r.take(head_len.into())?;
    let body = r.take(body_len as usize)?;
    Ok(Record { kind, flags, conn, place, head, body })
}

/// All records of a block's uncompressed bytes, in order; after the first bad one, an error and no more.
pub(crate) fn records(block: &[u8]) -> impl Iterator<Item = Result<Record<'_>, Short>> {
    let mut at = Some(0usize);
    std::iter::from_fn(move || {
        let place = at.filter(|at| *at < block.len())?;
        let record = u32::try_from(place).map_err(|_| Short).and_then(|place| record_at(block, place));
        at = record.ok().map(|r| align8(place + RECORD_HEADER + r.head.len() + r.body.len()));
        Some(record)
    })
}

impl<'a> Record<'a> {
    /// The stream's head, of OPEN and END.
    pub(crate) fn stream(&self, bucket: BucketId) -> Result<(StreamHead, Vec<Gap>), Short> {
        StreamHead::decode(self, bucket)
    }

    /// The stream's bytes in the body: without the datagram table, and nothing when the body is a chunk list.
    pub(crate) fn bytes(&self, head: &StreamHead) -> Result<&'a [u8], Short> {
        if head.chunked {
            return Ok(&[]);
        }
        let len = self.body.len().checked_sub(head.table_len as usize).ok_or(Short)?;
        self.body.get(..len).ok_or(Short)
    }

    /// The datagram table at the end of the body.
    pub(crate) fn table(&self, head: &StreamHead) -> Result<&'a [u8], Short> {
        let len = self.body.len().checked_sub(head.table_len as usize).ok_or(Short)?;
        self.body.get(len..).ok_or(Short)
    }

    /// The entries of a chunk list: the body of END (when it is one) and of LIST.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = Chunk> + 'a {
        self.body.chunks_exact(CHUNK_ENTRY).filter_map(|entry| {
            let mut r = Reader(entry);
            Some(Chunk { place: BlockPlace(r.u64().ok()?), offset: StreamOffset(r.u64().ok()?), len: r.u32().ok()? })
        })
    }

    /// The list before this one, of LIST.
    pub(crate) fn previous_list(&self) -> Result<BlockPlace, Short> {
        Reader(self.head).u64().map(BlockPlace)
    }

    /// The ordinal and description of an interface.
    pub(crate) fn interface(&self) -> Result<(u32, Interface), Short> {
        let mut r = Reader(self.head);
        let (index, link, resolution, fcs) = (r.u32()?, r.u16()?, r.u8()?, r.u8()?);
        let (snap_length, time_offset) = (r.u32()?, r.i64()?);
        let interface = Interface {
            link_type: LinkType(link),
            snap_length,
            resolution: Resolution(resolution),
            time_offset,
            fcs_length: (fcs != 0xff).then_some(fcs),
            options: self.body.to_vec(),
        };
        Ok((index, interface))
    }

    /// The kind of the secrets.
    pub(crate) fn secrets_kind(&self) -> Result<u32, Short> {
        Reader(self.head).u32()
    }

    /// The interval and what was dropped in it.
    pub(crate) fn loss(&self) -> Result<Loss, Short> {
        let mut r = Reader(self.head);
        Ok(Loss {
            from: Timestamp(r.i64()?),
            to: Timestamp(r.i64()?),
            kernel: r.varint()?,
            interface: r.varint()?,
            shed: r.varint()?,
        })
    }
}

/// How a stream stands in this bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is open; more may come in this bucket.
    Open,
    /// Its part in this bucket is over; it goes on in a later one, if it goes on.
    Continues,
    /// It is over.
    Ended(Reason),
}

/// What OPEN and END say of a stream, but for its gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StreamHead {
    /// The stream's OPEN or END before this record in this bucket.
    pub(crate) prev: BlockPlace,
    /// The newest record of the other direction in this bucket.
    pub(crate) peer: BlockPlace,
    /// END with a long chunk list: the last LIST of it.
    pub(crate) list: BlockPlace,
    pub(crate) key: ConnKey,
    pub(crate) direction: Direction,
    pub(crate) tuple: Tuple,
    pub(crate) path: Path,
    /// Which part of the stream this bucket has, from 0.
    pub(crate) part: u32,
    /// The stream's length when the part began.
    pub(crate) base: StreamOffset,
    /// The bucket of the part before this one.
    pub(crate) previous_bucket: Option<BucketId>,
    /// The time of the stream's first frame, in whichever bucket.
    pub(crate) first: Timestamp,
    /// The time of its last frame so far.
    pub(crate) last: Timestamp,
    /// Its length by now, from its very first byte, gaps included.
    pub(crate) length: StreamOffset,
    /// Bytes of it stored in this bucket.
    pub(crate) stored: u64,
    /// Frames of it so far, in whichever bucket.
    pub(crate) packets: u64,
    pub(crate) marks: Marks,
    /// The connection's first frame in this bucket, and how many frames of the bucket it takes from there to its last one
    /// so far; 0 when none is kept.
    pub(crate) frames: (FrameNumber, u64),
    pub(crate) standing: Standing,
    /// Where in the stream the bytes of the body belong.
    pub(crate) body_offset: StreamOffset,
    /// Bytes of the datagram table at the end of the body.
    pub(crate) table_len: u32,
    /// END: the body is a chunk list.
    pub(crate) chunked: bool,
    /// There are more gaps than are listed.
    pub(crate) gaps_cut: bool,
}

impl StreamHead {
    /// Appends a whole record but for its body, whose length it is told. `gaps` are those of this part.
    pub(crate) fn encode(&self, out: &mut Vec<u8>, bucket: BucketId, conn: u32, gaps: &[Gap], body_len: u32) {
        let start = out.len();
        let kind = if self.standing == Standing::Open { RecordKind::Open } else { RecordKind::End };
        let listed = gaps.get(..MAX_GAPS).unwrap_or(gaps);
        let mut flags = self.direction as u8;
        flags |= if self.chunked { CHUNKED } else { 0 };
        flags |= if self.gaps_cut || listed.len() < gaps.len() { GAPS_CUT } else { 0 };
        put_header(out, kind, flags, body_len, conn);
        for place in [self.prev, self.peer, self.list] {
            out.extend(place.0.to_le_bytes());
        }
        put_varint(out, bucket.0.wrapping_sub(self.key.bucket.0));
        put_varint(out, self.key.number.into());
        put_tuple(out, &self.tuple);
        put_path(out, &self.path);
        put_varint(out, self.part.into());
        if let Some(previous) = self.previous_bucket {
            put_varint(out, self.base.0);
            put_varint(out, bucket.0.wrapping_sub(previous.0));
        }
        out.extend(self.first.0.to_le_bytes());
        put_zigzag(out, time_between(self.first, self.last));
        put_varint(out, self.length.0);
        put_varint(out, self.stored);
        put_varint(out, self.packets);
        put_varint(out, self.marks.0.into());
        put_varint(out, self.frames.0.0);
        put_varint(out, self.frames.1);
        put_varint(out, self.body_offset.0);
        put_varint(out, self.table_len.into());
        out.push(match self.standing {
            Standing::Open => b'o',
            Standing::Continues => b'+',
            Standing::Ended(reason) => reason.letter() as u8,
        });
        put_varint(out, listed.len() as u64);
        let mut at = self.base;
        for gap in listed {
            out.push(gap.kind as u8);
            put_zigzag(out, gap.offset.0.wrapping_sub(at.0) as i64);
            put_varint(out, gap.length);
            at = gap.end();
        }
        finish_header(out, start);
    }

    fn decode(record: &Record<'_>, bucket: BucketId) -> Result<(Self, Vec<Gap>), Short> {
        let mut r = Reader(record.head);
        let (prev, peer, list) = (BlockPlace(r.u64()?), BlockPlace(r.u64()?), BlockPlace(r.u64()?));
        let key = ConnKey { bucket: BucketId(bucket.0.wrapping_sub(r.varint()?)), number: r.varint_u32()? };
        let tuple = tuple(&mut r)?;
        let path = path(&mut r)?;
        let part = r.varint_u32()?;
        let (base, previous_bucket) = if part == 0 {
            (StreamOffset(0), None)
        } else {
            (StreamOffset(r.varint()?), Some(BucketId(bucket.0.wrapping_sub(r.varint()?))))
        };
        let first = Timestamp(r.i64()?);
        let last = time_after(first, r.zigzag()?);
        let length = StreamOffset(r.varint()?);
        let (stored, packets) = (r.varint()?, r.varint()?);
        let marks = Marks(u16::try_from(r.varint()?).map_err(|_| Short)?);
        let frames = (FrameNumber(r.varint()?), r.varint()?);
        let body_offset = StreamOffset(r.varint()?);
        let table_len = r.varint_u32()?;
        let standing = match (record.kind, r.u8()?) {
            (RecordKind::Open, b'o') => Standing::Open,
            (RecordKind::End, b'+') => Standing::Continues,
            (RecordKind::End, letter) => Standing::Ended(Reason::from_letter(letter.into()).ok_or(Short)?),
            _ => return Err(Short),
        };
        let count = r.varint()?;
        if count > MAX_GAPS as u64 {
            return Err(Short);
        }
        let mut gaps = Vec::with_capacity(count as usize);
        let mut at = base;
        for _ in 0..count {
            let kind = GapKind::from_u8(r.u8()?).ok_or(Short)?;
            let offset = StreamOffset(at.0.wrapping_add(r.zigzag()? as u64));
            let gap = Gap { offset, length: r.varint()?, kind };
            offset.0.checked_add(gap.length).ok_or(Short)?;
            at = gap.end();
            gaps.push(gap);
        }
        let head = Self {
            prev,
            peer,
            list,
            key,
            direction: Direction::from_bit(record.flags & TO_CLIENT),
            tuple,
            path,
            part,
            base,
            previous_bucket,
            first,
            last,
            length,
            stored,
            packets,
            marks,
            frames,
            standing,
            body_offset,
            table_len,
            chunked: record.flags & CHUNKED != 0,
            gaps_cut: record.flags & GAPS_CUT != 0,
        };
        // A chunk list has no datagram table behind it.
        if head.chunked && head.table_len != 0 {
            return Err(Short);
        }
        let bytes = record.bytes(&head)?.len() as u64;
        head.body_offset.0.checked_add(bytes).ok_or(Short)?;
        Ok((head, gaps))
    }
}

/// Some bytes of a stream: which record has them, and where in the stream they belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) place: BlockPlace,
    pub(crate) offset: StreamOffset,
    pub(crate) len: u32,
}

impl Chunk {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.place.0.to_le_bytes());
        out.extend(self.offset.0.to_le_bytes());
        out.extend(self.len.to_le_bytes());
    }

    pub(crate) const fn end(&self) -> StreamOffset {
        self.offset.add(self.len as u64)
    }
}

/// Frames that were dropped before they came to us, in an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The interval's start.
    pub from: Timestamp,
    /// And end.
    pub to: Timestamp,
    /// Dropped by the kernel.
    pub kernel: u64,
    /// Dropped by the interface.
    pub interface: u64,
    /// Let go by ourselves, under load.
    pub shed: u64,
}

/// Appends a LIST record.
pub(crate) fn put_list(out: &mut Vec<u8>, conn: u32, previous: BlockPlace, chunks: &[Chunk]) {
    let start = out.len();
    put_header(out, RecordKind::List, 0, (chunks.len() * CHUNK_ENTRY) as u32, conn);
    out.extend(previous.0.to_le_bytes());
    finish_header(out, start);
    for chunk in chunks {
        chunk.put(out);
    }
}

/// Appends an INTERFACE record.
pub(crate) fn put_interface(out: &mut Vec<u8>, index: u32, interface: &Interface) {
    let start = out.len();
    put_header(out, RecordKind::Interface, 0, interface.options.len() as u32, 0);
    out.extend(index.to_le_bytes());
    out.extend(interface.link_type.0.to_le_bytes());
    out.extend([interface.resolution.0, interface.fcs_length.unwrap_or(0xff)]);
    out.extend(interface.snap_length.to_le_bytes());
    out.extend(interface.time_offset.to_le_bytes());
    finish_header(out, start);
    out.extend(&interface.options);
}

/// Appends a SECRETS record, or a NAMES record when there is no kind.
pub(crate) fn put_attachment(out: &mut Vec<u8>, kind: Option<u32>, bytes: &[u8]) {
    let start = out.len();
    let record = if kind.is_some() { RecordKind::Secrets } else { RecordKind::Names };
    put_header(out, record, 0, bytes.len() as u32, 0);
    if let Some(kind) = kind {
        out.extend(kind.to_le_bytes());
    }
    finish_header(out, start);
    out.extend(bytes);
}

/// Appends a LOSS record.
pub(crate) fn put_loss(out: &mut Vec<u8>, loss: &Loss) {
    let start = out.len();
    put_header(out, RecordKind::Loss, 0, 0, 0);
    out.extend(loss.from.0.to_le_bytes());
    out.extend(loss.to.0.to_le_bytes());
    for n in [loss.kernel, loss.interface, loss.shed] {
        put_varint(out, n);
    }
    finish_header(out, start);
}

/// Appends zeros up to the next place of a record.
pub(crate) fn pad(out: &mut Vec<u8>) {
    out.resize(align8(out.len()), 0);
}

/// Appends the table of some datagrams.
pub(crate) fn put_datagrams(out: &mut Vec<u8>, start: Timestamp, datagrams: &[Datagram]) {
    let mut time = start;
    for datagram in datagrams {
        let cut = datagram.captured < datagram.wire;
        put_varint(out, u64::from(datagram.wire) << 1 | u64::from(cut));
        if cut {
            put_varint(out, datagram.captured.into());
        }
        put_zigzag(out, time_between(time, datagram.time));
        time = datagram.time;
    }
}

/// Reads the table of some datagrams.
pub(crate) fn datagrams(table: &[u8], start: Timestamp) -> Result<Vec<Datagram>, Short> {
    let mut r = Reader(table);
    let mut time = start;
    let mut all = Vec::new();
    while !r.0.is_empty() {
        let n = r.varint()?;
        let wire = u32::try_from(n >> 1).map_err(|_| Short)?;
        let captured = if n & 1 == 1 { r.varint_u32()? } else { wire };
        if captured > wire {
            return Err(Short);
        }
        time = time_after(time, r.zigzag()?);
        all.push(Datagram { wire, captured, time });
    }
    Ok(all)
}

/// One datagram of a UDP stream: its bytes follow those of the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Bytes of payload on the wire.
    pub wire: u32,
    /// Bytes of payload in the stream; the rest is a gap after them.
    pub captured: u32,
    /// The time of its frame.
    pub time: Timestamp,
}

/// The difference of two times modulo 2^64, so that any two can be told apart.
const fn time_between(from: Timestamp, to: Timestamp) -> i64 {
    to.0.wrapping_sub(from.0)
}

/// The inverse of [`time_between`].
const fn time_after(from: Timestamp, difference: i64) -> Timestamp {
    Timestamp(from.0.wrapping_add(difference))
}

fn put_header(out: &mut Vec<u8>, kind: RecordKind, flags: u8, body_len: u32, conn: u32) {
    out.extend([kind as u8, flags, 0, 0]);
    out.extend(body_len.to_le_bytes());
    out.extend(conn.to_le_bytes());
    out.extend([0; 4]);
}

/// Writes the head's length into the header that began at `start`.
fn finish_header(out: &mut [u8], start: usize) {
    let head_len = (out.len() - start - RECORD_HEADER) as u16;
    if let Some(field) = out.get_mut(start + 2..start + 4) {
        field.copy_from_slice(&head_len.to_le_bytes());
    }
}

pub(crate) fn put_tuple(out: &mut Vec<u8>, tuple: &Tuple) {
    out.push(tuple.protocol.0);
    match (tuple.client.addr, tuple.server.addr) {
        (IpAddr::V4(client), IpAddr::V4(server)) => {
            out.push(4);
            out.extend(client.octets());
            out.extend(server.octets());
        }
        (client, server) => {
            out.push(6);
            for addr in [client, server] {
                let six = match addr {
                    IpAddr::V4(a) => a.to_ipv6_mapped(),
                    IpAddr::V6(a) => a,
                };
                out.extend(six.octets());
            }
        }
    }
    out.extend(tuple.client.port.to_le_bytes());
    out.extend(tuple.server.port.to_le_bytes());
}

pub(crate) fn tuple(r: &mut Reader<'_>) -> Result<Tuple, Short> {
    let protocol = Protocol(r.u8()?);
    let (client, server): (IpAddr, IpAddr) = match r.u8()? {
        4 => (Ipv4Addr::from_octets(r.array()?).into(), Ipv4Addr::from_octets(r.array()?).into()),
        6 => (Ipv6Addr::from_octets(r.array()?).into(), Ipv6Addr::from_octets(r.array()?).into()),
        _ => return Err(Short),
    };
    let (client_port, server_port) = (r.u16()?, r.u16()?);
    Ok(Tuple { protocol, client: Endpoint::new(client, client_port), server: Endpoint::new(server, server_port) })
}

/// VLANs and tunnels as in a stream's head.
pub(crate) fn path_bytes(path: &Path) -> Vec<u8> {
    let mut out = Vec::new();
    put_path(&mut out, path);
    out
}

/// Of such bytes.
pub(crate) fn path_of_bytes(bytes: &[u8]) -> Result<Path, Short> {
    path(&mut Reader(bytes))
}

fn put_path(out: &mut Vec<u8>, path: &Path) {
    out.push(path.hops().count() as u8);
    for hop in path.hops() {
        out.push(hop.kind as u8);
        put_varint(out, hop.id.into());
    }
}

fn path(r: &mut Reader<'_>) -> Result<Path, Short> {
    let mut path = Path::EMPTY;
    for _ in 0..r.u8()? {
        let hop = Hop { kind: HopKind::from_u8(r.u8()?).ok_or(Short)?, id: r.varint_u32()? };
        if !path.push(hop) {
            return Err(Short);
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head() -> StreamHead {
        let mut path = Path::EMPTY;
        assert!(path.push(Hop { kind: HopKind::Vlan, id: 7 }));
        StreamHead {
            prev: BlockPlace(11),
            peer: BlockPlace(12),
            list: BlockPlace::NONE,
            key: ConnKey { bucket: BucketId(5), number: 9 },
            direction: Direction::ToClient,
            tuple: Tuple {
                protocol: Protocol::TCP,
                client: Endpoint::new("10.0.0.5".parse().unwrap(), 49211),
                server: Endpoint::new("203.0.113.9".parse().unwrap(), 80),
            },
            path,
            part: 2,
            base: StreamOffset(1000),
            previous_bucket: Some(BucketId(6)),
            first: Timestamp::new(1_330_674_711, 0),
            last: Timestamp::new(1_330_674_716, 5),
            length: StreamOffset(22_968),
            stored: 20_000,
            packets: 30,
            marks: Marks::SYN.with(Marks::FIN),
            frames: (FrameNumber(3), 77),
            standing: Standing::Ended(Reason::Fin),
            body_offset: StreamOffset(1000),
            table_len: 0,
            chunked: false,
            gaps_cut: false,
        }
    }

    #[test]
    fn a_stream_record_goes_there_and_back() {
        let gaps = [Gap { offset: StreamOffset(1500), length: 10, kind: GapKind::Missing }];
        let mut block = Vec::new();
        head().encode(&mut block, BucketId(8), 4, &gaps, 5);
        block.extend(b"hello");
        pad(&mut block);
        put_list(&mut block, 4, BlockPlace(3), &[Chunk { place: BlockPlace(1), offset: StreamOffset(2), len: 3 }]);
        let all: Vec<_> = records(&block).map(Result::unwrap).collect();
        assert_eq!(all.len(), 2);
        let (got, got_gaps) = all[0].stream(BucketId(8)).unwrap();
        assert_eq!((got, got_gaps.as_slice()), (head(), gaps.as_slice()));
        assert_eq!(all[0].bytes(&head()).unwrap(), b"hello");
        assert_eq!(all[0].conn, 4);
        assert_eq!(all[1].previous_list(), Ok(BlockPlace(3)));
        assert_eq!(
            all[1].chunks().collect::<Vec<_>>(),
            [Chunk { place: BlockPlace(1), offset: StreamOffset(2), len: 3 }]
        );
    }

    #[test]
    fn a_chunk_list_has_no_datagram_table() {
        let mut block = Vec::new();
        StreamHead { chunked: true, table_len: 20, ..head() }.encode(&mut block, BucketId(8), 4, &[], 40);
        block.extend([0; 40]);
        assert_eq!(record_at(&block, 0).unwrap().stream(BucketId(8)), Err(Short));
    }

    #[test]
    fn other_records_go_there_and_back() {
        let interface = Interface {
            link_type: LinkType::ETHERNET,
            snap_length: 96,
            resolution: Resolution::NANOS,
            time_offset: -3,
            fcs_length: Some(4),
            options: vec![2, 0, 1, 0, b'x', 0, 0, 0],
        };
        let loss = Loss { from: Timestamp(1), to: Timestamp(2), kernel: 300, interface: 4, shed: 0 };
        let mut block = Vec::new();
        put_interface(&mut block, 3, &interface);
        pad(&mut block);
        put_attachment(&mut block, Some(0x544c_534b), b"CLIENT_RANDOM");
        pad(&mut block);
        put_attachment(&mut block, None, b"names");
        pad(&mut block);
        put_loss(&mut block, &loss);
        let all: Vec<_> = records(&block).map(Result::unwrap).collect();
        assert_eq!(all[0].interface(), Ok((3, interface)));
        assert_eq!((all[1].secrets_kind(), all[1].body), (Ok(0x544c_534b), &b"CLIENT_RANDOM"[..]));
        assert_eq!((all[2].kind, all[2].body), (RecordKind::Names, &b"names"[..]));
        assert_eq!(all[3].loss(), Ok(loss));
    }

    #[test]
    fn datagram_tables_go_there_and_back() {
        let all = [
            Datagram { wire: 100, captured: 100, time: Timestamp(50) },
            Datagram { wire: 70_000, captured: 10, time: Timestamp(40) },
            Datagram { wire: 0, captured: 0, time: Timestamp(90) },
            Datagram { wire: 1, captured: 1, time: Timestamp(i64::MIN) },
            Datagram { wire: 1, captured: 1, time: Timestamp(i64::MAX) },
        ];
        let mut out = Vec::new();
        put_datagrams(&mut out, Timestamp(45), &all);
        assert_eq!(datagrams(&out, Timestamp(45)).unwrap(), all);
        assert!(datagrams(&out[..out.len() - 1], Timestamp(45)).is_err());
    }

    proptest! {
        #[test]
        fn hostile_blocks_end(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            for record in records(&bytes) {
                let Ok(record) = record else { break };
                let _ = record.interface();
                let _ = record.loss();
                let _ = record.chunks().count();
                if let Ok((head, _)) = record.stream(BucketId(1)) {
                    let _ = record.bytes(&head).is_ok() && datagrams(record.table(&head).unwrap_or_default(), head.first).is_ok();
                }
            }
        }

        #[test]
        fn a_damaged_record_is_refused_or_read(at in 0usize..200, byte: u8) {
            let mut block = Vec::new();
            head().encode(&mut block, BucketId(8), 4, &[], 5);
            block.extend(b"hello");
            if let Some(b) = block.get_mut(at) {
                *b = byte;
            }
            for record in records(&block).flatten() {
                let _ = record.stream(BucketId(8)).map(|(head, _)| record.bytes(&head).map(<[u8]>::len));
            }
        }
    }
}
