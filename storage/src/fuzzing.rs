//! Ways in for the fuzz targets, past the checksums: buckets sealed over any bytes, and each reader of hostile bytes by
//! itself. Only with the feature `fuzzing`.
#![expect(clippy::panic, reason = "a broken promise is what the fuzzer looks for")]

use crc32fast::Hasher;
use streamdb_types::{BucketId, Direction, FrameNumber, LinkType, StreamOffset, Timestamp};

use crate::format::block::{BlockHeader, BlockKind, Codec, HEADER_LEN};
use crate::format::directory::Directory;
use crate::format::record::{self, RecordKind};
use crate::format::superblock::{SUPERBLOCK_LEN, Superblock, Trailer};
use crate::journal::{Encoder, JournalBlock, JournalError, Rows};

/// A block as the fuzzer has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawBlock {
    /// The number of its kind: 1 to 4.
    pub kind: u8,
    /// Its uncompressed bytes.
    pub bytes: Vec<u8>,
}

/// A bucket file of these blocks, with right headers, chain and checksums, stored as they are; `seal` adds a trailer that
/// takes the directory blocks at the end for the directory. Blocks of an unknown kind, and bytes beyond what a block of its
/// kind may have, are left out.
pub fn seal_bytes(id: BucketId, blocks: &[RawBlock], seal: bool) -> Vec<u8> {
    let superblock = Superblock { id, worker: 0, window_start: Timestamp(0), window_end: Timestamp(i64::MAX) };
    let mut out = superblock.encode();
    let mut headers = Hasher::new();
    let (mut number, mut prev_len) = (0, 0);
    let (mut directory, mut directory_blocks) = (0, 0);
    for RawBlock { kind, bytes } in blocks {
        let Some(kind) = BlockKind::from_u8(*kind) else { continue };
        let bytes = bytes.get(..kind.max_raw()).unwrap_or(bytes);
        let position = out.len() as u64;
        let (records, first_frame) = match kind {
            BlockKind::Shared | BlockKind::Long => (record::records(bytes).count() as u32, FrameNumber(0)),
            BlockKind::Journal => JournalBlock::parse(bytes).map_or((0, FrameNumber(0)), |b| (b.len(), b.first())),
            BlockKind::Directory => (0, FrameNumber(0)),
        };
        (directory, directory_blocks) = match kind {
            BlockKind::Directory if directory_blocks > 0 => (directory, directory_blocks + 1),
            BlockKind::Directory => (position, 1),
            _ => (0, 0),
        };
        number += 1;
        let header = BlockHeader {
            kind,
            codec: Codec::Raw,
            number,
            stored_len: bytes.len() as u32,
            raw_len: bytes.len() as u32,
            prev_len,
            first_time: Timestamp(0),
            last_time: Timestamp(1_000_000_000),
            records,
            first_frame,
            payload_crc: crc32fast::hash(bytes),
        };
        let encoded = header.encode(id, position);
        headers.update(&encoded);
        out.extend_from_slice(&encoded);
        out.extend_from_slice(bytes);
        out.resize((position + header.span()) as usize, 0);
        prev_len = header.span() as u32;
    }
    if seal {
        let end = out.len() as u64;
        let trailer = Trailer { directory, directory_blocks, blocks: number, end, headers_crc: headers.finalize() };
        out.extend_from_slice(&trailer.encode(id));
    }
    out
}

/// The blocks of a bucket file as a writer made it, each with its position: what seeds are made of.
pub fn blocks_of(id: BucketId, file: &[u8]) -> Vec<(u64, RawBlock)> {
    let mut blocks = Vec::new();
    let mut at = SUPERBLOCK_LEN;
    while let Some(header) = file.get(at..).and_then(<[u8]>::first_chunk::<HEADER_LEN>) {
        let Ok(header) = BlockHeader::decode(header, id, at as u64) else { break };
        let stored = file.get(at + HEADER_LEN..).and_then(|rest| rest.get(..header.stored_len as usize));
        let bytes = match (header.codec, stored) {
            (Codec::Raw, Some(stored)) => stored.to_vec(),
            (Codec::Zstd, Some(stored)) => zstd::bulk::decompress(stored, header.raw_len as usize).unwrap_or_default(),
            (_, None) => break,
        };
        blocks.push((at as u64, RawBlock { kind: header.kind as u8, bytes }));
        at += header.span() as usize;
    }
    blocks
}

/// Reads the bytes as a block of records, every part of each; what a stream's record says is written and read again.
pub fn records(bucket: BucketId, bytes: &[u8]) {
    for record in record::records(bytes) {
        let Ok(record) = record else { return };
        match record.kind {
            RecordKind::Open | RecordKind::End => {
                let Ok((head, gaps)) = record.stream(bucket) else { continue };
                let (Ok(body), Ok(table)) = (record.bytes(&head), record.table(&head)) else {
                    panic!("a head that was read has a body: {head:?}");
                };
                assert!(head.chunked || body.len() + table.len() == record.body.len());
                let _ = record::datagrams(table, head.first).map(|all| all.len());
                let mut again = Vec::new();
                head.encode(&mut again, bucket, record.conn, &gaps, record.body.len() as u32);
                again.extend_from_slice(record.body);
                let read = record::record_at(&again, 0).and_then(|record| record.stream(bucket));
                assert_eq!(read, Ok((head, gaps)));
            }
            RecordKind::List => drop(record.previous_list()),
            RecordKind::Interface => drop(record.interface()),
            RecordKind::Secrets => drop(record.secrets_kind()),
            RecordKind::Names => {}
            RecordKind::Loss => drop(record.loss()),
        }
        assert!(record.chunks().count() <= record.body.len());
    }
}

/// Reads the bytes as a directory; one that can be read is written and read again.
pub fn directory(bytes: &[u8]) {
    if let Ok(directory) = Directory::decode(bytes) {
        assert_eq!(Directory::decode(&directory.encode()), Ok(directory));
    }
}

/// Why a journal block's frames end before its end.
enum Stop {
    Journal,
    Enough,
}

impl From<JournalError> for Stop {
    fn from(_: JournalError) -> Self {
        Self::Journal
    }
}

/// Reads the bytes as a journal block, its frames with payload of a pattern, up to `most` bytes. What is read of some
/// connections alone is what is read of them among all.
pub fn journal_block(bytes: &[u8], most: usize) {
    let Ok(block) = JournalBlock::parse(bytes) else { return };
    let all = frames(&block, None, most);
    if let Some(some) = all.0.iter().find_map(|frame| frame.connection).map(|(connection, _)| connection) {
        let only: Vec<Frame> = all.0.iter().filter(|f| f.connection.is_some_and(|(c, _)| c == some)).cloned().collect();
        let again = frames(&block, Some(&[some]), most);
        // What is wrong with a frame that nobody wants is not always seen.
        let both = only.len().min(again.0.len());
        assert_eq!(again.0.get(..both), only.get(..both));
        assert!(again.0.len() >= only.len());
        assert!(!all.1 || again.0.len() == only.len());
    }
    assert!(all.0.len() as u64 <= u64::from(block.len()));
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Frame {
    number: FrameNumber,
    time: Timestamp,
    interface: u32,
    wire_len: u32,
    data: Vec<u8>,
    connection: Option<(u32, Direction)>,
}

/// The frames, and whether all came.
fn frames(block: &JournalBlock<'_>, only: Option<&[u32]>, most: usize) -> (Vec<Frame>, bool) {
    let mut all = Vec::new();
    let mut left = most;
    let result = block.frames::<Stop>(
        only,
        &mut |connection, direction, offset, out| {
            left = left.checked_sub(out.len()).ok_or(Stop::Enough)?;
            out.copy_from_slice(&stream_bytes(connection, direction, offset.0, out.len()));
            Ok(())
        },
        &mut |number, frame| {
            assert!(frame.data.len() <= crate::journal::MAX_FRAME);
            all.push(Frame {
                number,
                time: frame.time,
                interface: frame.interface,
                wire_len: frame.wire_len,
                data: frame.data.to_vec(),
                connection: frame.connection,
            });
            Ok(())
        },
    );
    (all, result.is_ok())
}

/// The bytes of a stream from an offset on, as frames have them here.
pub fn stream_bytes(connection: u32, direction: Direction, offset: u64, len: usize) -> Vec<u8> {
    let byte = |at: u64| (at as u8).wrapping_mul(7) ^ (at >> 8) as u8 ^ connection as u8 ^ direction as u8;
    (0..len as u64).map(|at| byte(offset.wrapping_add(at))).collect()
}

/// A frame that goes into a journal and must come out of it.
#[derive(Clone, Debug)]
pub struct JournalRow<'a> {
    /// Its time.
    pub time: i64,
    /// Its interface; of those below 16 the link types are given.
    pub interface: u32,
    /// Its length on the wire.
    pub wire_len: u32,
    /// The bytes before its payload.
    pub header: &'a [u8],
    /// The bytes after its payload.
    pub trailer: &'a [u8],
    /// Its payload, which the journal keeps; used when it is not in a stream.
    pub payload: &'a [u8],
    /// Whose it is.
    pub connection: Option<(u32, Direction)>,
    /// Where in its stream its payload is, and how long it is there.
    pub stream: Option<(u64, usize)>,
}

/// Encodes the rows into blocks of about `target` bytes and reads them back: the very frames must come.
pub fn journal_round_trip(rows: &[JournalRow<'_>], links: &[u16], target: usize) {
    let mut table = Rows::default();
    for (interface, link) in (0..16).zip(links) {
        table.set_link(interface, LinkType(*link));
    }
    let mut expected = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        let (payload, from) = match (row.stream, row.connection) {
            (Some((offset, len)), Some((connection, direction))) => {
                (stream_bytes(connection, direction, offset, len), Some(StreamOffset(offset)))
            }
            _ => (row.payload.to_vec(), None),
        };
        let data = [row.header, &payload, row.trailer].concat();
        table.push(Timestamp(row.time), row.interface, row.wire_len, &data, row.header.len(), payload.len());
        if let Some((connection, direction)) = row.connection {
            table.set_connection(i, connection, direction);
        }
        match from {
            Some(offset) => table.set_stream(i, offset),
            None => table.set_inline(i, &payload),
        }
        expected.push(Frame {
            number: FrameNumber(i as u64),
            time: Timestamp(row.time),
            interface: row.interface,
            wire_len: row.wire_len,
            data,
            connection: row.connection,
        });
    }
    let mut encoder = Encoder::new();
    let mut from = 0;
    while from < rows.len() {
        let mut bytes = Vec::new();
        let taken = encoder.encode(&table, from, FrameNumber(from as u64), target, &mut bytes);
        assert!(taken > 0 && bytes.len() <= crate::journal::MAX_BLOCK);
        let Ok(block) = JournalBlock::parse(&bytes) else { panic!("a block that was made cannot be read") };
        let (made, whole) = frames(&block, None, usize::MAX);
        assert!(whole, "a block that was made cannot be read to its end");
        assert_eq!(Some(&*made), expected.get(from..from + taken));
        from += taken;
    }
}

/// Payloads of the file of joins, each behind its length in two bytes: what is read of one is written as it was, and what all of them
/// say holds together.
pub fn joins(mut bytes: &[u8]) {
    let mut known = crate::joins::Joins::default();
    while let Some(([low, high], rest)) = bytes.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (payload, rest) = rest.split_at_checked(length).unwrap_or_default();
        bytes = rest;
        if let Some(change) = crate::joins::decode_any(payload) {
            known.apply(change);
        }
    }
    let parts: usize = known.all().map(|join| join.parts.len()).sum();
    assert_eq!(parts, known.parts());
    for join in known.all() {
        for part in &join.parts {
            let found = known.with_part(part.key, part.direction, part.oid).any(|other| other.id == join.id);
            assert!(found, "a part is found by its stream");
        }
    }
    let mut again = crate::joins::Joins::default();
    known.changes().for_each(|change| again.apply(change));
    assert!(again.all().eq(known.all()) && again.read() == known.read(), "what is written anew says the same");
}

/// Reads bytes as the frames of a file of verdicts, as they are; and as payloads, each behind its length as a u16, with the
/// checksums that they should have. What was read is written and read again the same.
pub fn verdicts(bytes: &[u8]) {
    crate::verdicts::replay(bytes);
    let mut rest = bytes;
    let mut sealed = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(behind.len());
        let (payload, behind) = behind.split_at(length);
        crate::verdicts::seal(&mut sealed, payload);
        rest = behind;
    }
    crate::verdicts::replay(&sealed);
}
