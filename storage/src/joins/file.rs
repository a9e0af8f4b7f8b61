//! The file: a head, and frames. What lies after the last commit does not count.
//!
//! ```text
//! FILE  := head frame*
//! head  : magic "SDBJOIN3", derivation u32, crc32 u32 of these 12 bytes
//! frame : length u32, crc32 u32 of the payload and the frame's position, payload
//! payload: kind u8, then what changes; FORMAT.md has the fields
//! ```

use std::ops::Range;

use streamdb_types::{BlockPlace, BucketId, ConnKey, Digests, Direction, Oid, StreamOffset, Timestamp};

use super::{Evidence, JoinChange, JoinId, JoinMade, JoinMore, JoinOf, JoinPart};
use crate::derived::{DERIVATION, KeptMark};
use crate::format::bytes::{Reader, Short, put_varint, put_zigzag};
use crate::format::record::{put_tuple, tuple};

const MAGIC: &[u8; 8] = b"SDBJOIN3";
pub(super) const HEAD: usize = 16;
/// Bytes before a payload.
pub(super) const FRAME: usize = 8;
/// Most bytes of a payload.
pub(super) const MOST: usize = 1 << 20;

const NEW: u8 = 1;
const PART: u8 = 2;
const MORE: u8 = 3;
const MADE: u8 = 4;
const GONE: u8 = 5;
const FORGET: u8 = 6;
const READ: u8 = 7;
const COMMIT: u8 = 8;

/// What a frame says.
#[derive(Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub(super) enum Payload {
    Change(JoinChange),
    /// All frames before it count.
    Commit,
}

/// The head of a file of today's derivation.
pub(super) fn head() -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    head.extend(DERIVATION.to_le_bytes());
    head.extend(crc32fast::hash(&head).to_le_bytes());
    head
}

/// Appends a frame that will lie at `position` of the file. What is too long for one is left out; nothing that the joiner makes is.
pub(super) fn put(out: &mut Vec<u8>, position: u64, payload: &Payload) {
    let mut bytes = Vec::new();
    match payload {
        Payload::Change(change) => put_change(&mut bytes, change),
        Payload::Commit => bytes.push(COMMIT),
    }
    if bytes.len() > MOST {
        return;
    }
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(checksum(&bytes, position).to_le_bytes());
    out.extend_from_slice(&bytes);
}

fn checksum(payload: &[u8], position: u64) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(payload);
    crc.update(&position.to_le_bytes());
    crc.finalize()
}

/// The frame at the beginning of `bytes`, which lie at `position` of the file, and how long it is: an error when there is none that is
/// whole and true.
pub(super) fn decode(bytes: &[u8], position: u64) -> Result<(Payload, usize), Short> {
    let mut r = Reader(bytes);
    let length = r.u32()? as usize;
    if length == 0 || length > MOST {
        return Err(Short);
    }
    let crc = r.u32()?;
    let payload = r.take(length)?;
    if checksum(payload, position) != crc {
        return Err(Short);
    }
    Ok((read(payload)?, FRAME + length))
}

/// For the fuzzer: any payload, and what is read is written again as it was.
#[cfg(feature = "fuzzing")]
pub(crate) fn decode_any(payload: &[u8]) -> Option<JoinChange> {
    let Ok(Payload::Change(change)) = read(payload) else { return None };
    let mut bytes = Vec::new();
    put_change(&mut bytes, &change);
    assert_eq!(read(&bytes).ok(), Some(Payload::Change(change.clone())));
    Some(change)
}

fn put_change(out: &mut Vec<u8>, change: &JoinChange) {
    match change {
        JoinChange::New(id, of) => {
            out.push(NEW);
            out.extend(id.0);
            put_of(out, of);
        }
        JoinChange::Part(id, part) => {
            out.push(PART);
            out.extend(id.0);
            put_part(out, part);
        }
        JoinChange::More(id, more) => {
            out.push(MORE);
            out.extend(id.0);
            put_varint(out, more.parts);
            put_varint(out, more.unchecked);
            put_runs(out, &more.conflicts);
        }
        JoinChange::Made(id, made) => {
            out.push(MADE);
            out.extend(id.0);
            out.push(u8::from(made.is_some()));
            if let Some(made) = made {
                put_made(out, made);
            }
        }
        JoinChange::Gone(id) => {
            out.push(GONE);
            out.extend(id.0);
        }
        JoinChange::Forget(bucket) => {
            out.push(FORGET);
            put_varint(out, bucket.0);
        }
        JoinChange::Read(bucket, read) => {
            out.push(READ);
            put_varint(out, bucket.0);
            read.put(out, 0);
        }
    }
}

fn read(payload: &[u8]) -> Result<Payload, Short> {
    let mut r = Reader(payload);
    let kind = r.u8()?;
    let id = |r: &mut Reader<'_>| r.array::<16>().map(JoinId);
    let change = match kind {
        NEW => JoinChange::New(id(&mut r)?, read_of(&mut r)?),
        PART => JoinChange::Part(id(&mut r)?, read_part(&mut r)?),
        MORE => {
            let id = id(&mut r)?;
            let (parts, unchecked) = (r.varint()?, r.varint()?);
            JoinChange::More(id, JoinMore { parts, unchecked, conflicts: runs(&mut r)? })
        }
        MADE => {
            let id = id(&mut r)?;
            let made = match r.u8()? {
                0 => None,
                1 => Some(read_made(&mut r)?),
                _ => return Err(Short),
            };
            JoinChange::Made(id, made)
        }
        GONE => JoinChange::Gone(id(&mut r)?),
        FORGET => JoinChange::Forget(BucketId(r.varint()?)),
        READ => {
            let bucket = BucketId(r.varint()?);
            JoinChange::Read(bucket, KeptMark::read(&mut r)?.0)
        }
        COMMIT if r.0.is_empty() => return Ok(Payload::Commit),
        _ => return Err(Short),
    };
    if r.0.is_empty() { Ok(Payload::Change(change)) } else { Err(Short) }
}

fn put_of(out: &mut Vec<u8>, of: &JoinOf) {
    for text in [&of.scheme, &of.host, &of.target] {
        put_text(out, text);
    }
    put_varint(out, of.codings.len() as u64);
    of.codings.iter().for_each(|coding| put_text(out, coding));
    put_optional(out, of.total, put_varint);
    out.push(of.evidence as u8);
    put_optional(out, of.etag.as_deref(), put_text);
    put_optional(out, of.modified, put_zigzag);
    put_optional(out, of.filename.as_deref(), put_text);
    put_optional(out, of.declared_type.as_deref(), put_text);
}

fn read_of(r: &mut Reader<'_>) -> Result<JoinOf, Short> {
    let (scheme, host, target) = (text(r)?, text(r)?, text(r)?);
    let codings = list(r, text)?;
    let total = optional(r, Reader::varint)?;
    let evidence = Evidence::ALL.get(usize::from(r.u8()?)).copied().ok_or(Short)?;
    let etag = optional(r, text)?;
    let modified = optional(r, Reader::zigzag)?;
    let (filename, declared_type) = (optional(r, text)?, optional(r, text)?);
    Ok(JoinOf { scheme, host, target, codings, total, evidence, etag, modified, filename, declared_type })
}

fn put_part(out: &mut Vec<u8>, part: &JoinPart) {
    let Oid { bucket, place, length, index } = part.oid;
    let to_client = u64::from(part.direction == Direction::ToClient);
    for n in [bucket.0, place.0, length, index, part.key.bucket.0, part.key.number.into(), to_client, part.begins.0] {
        put_varint(out, n);
    }
    put_tuple(out, &part.tuple);
    put_zigzag(out, part.start.0);
    put_varint(out, part.status.into());
    put_varint(out, part.first);
    put_runs(out, &part.runs);
    out.push(u8::from(part.conflict));
}

fn read_part(r: &mut Reader<'_>) -> Result<JoinPart, Short> {
    let oid =
        Oid { bucket: BucketId(r.varint()?), place: BlockPlace(r.varint()?), length: r.varint()?, index: r.varint()? };
    let key = ConnKey { bucket: BucketId(r.varint()?), number: r.varint_u32()? };
    let direction = match r.varint()? {
        0 => Direction::ToServer,
        1 => Direction::ToClient,
        _ => return Err(Short),
    };
    let begins = StreamOffset(r.varint()?);
    let tuple = tuple(r)?;
    let start = Timestamp(r.zigzag()?);
    let status = u16::try_from(r.varint()?).map_err(|_| Short)?;
    let (first, runs, conflict) = (r.varint()?, runs(r)?, flag(r)?);
    Ok(JoinPart { oid, key, direction, begins, tuple, start, status, first, runs, conflict })
}

fn put_made(out: &mut Vec<u8>, made: &JoinMade) {
    put_digests(out, &made.digests);
    put_optional(out, made.digests_encoded.as_ref(), put_digests);
    put_varint(out, made.size);
    put_text(out, &made.mime);
    put_text(out, &made.description);
    put_optional(out, made.problem.as_deref(), put_text);
    put_runs(out, &made.conflicts);
    out.push(u8::from(made.compared));
}

fn read_made(r: &mut Reader<'_>) -> Result<JoinMade, Short> {
    Ok(JoinMade {
        digests: digests(r)?,
        digests_encoded: optional(r, digests)?,
        size: r.varint()?,
        mime: text(r)?,
        description: text(r)?,
        problem: optional(r, text)?,
        conflicts: runs(r)?,
        compared: flag(r)?,
    })
}

fn flag(r: &mut Reader<'_>) -> Result<bool, Short> {
    match r.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Short),
    }
}

fn put_digests(out: &mut Vec<u8>, digests: &Digests) {
    out.extend(digests.md5);
    out.extend(digests.sha1);
    out.extend(digests.sha256);
}

fn digests(r: &mut Reader<'_>) -> Result<Digests, Short> {
    Ok(Digests { md5: r.array()?, sha1: r.array()?, sha256: r.array()? })
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn text(r: &mut Reader<'_>) -> Result<String, Short> {
    let length = usize::try_from(r.varint()?).map_err(|_| Short)?;
    String::from_utf8(r.take(length)?.to_vec()).map_err(|_| Short)
}

fn put_optional<T>(out: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(out, value);
    }
}

fn optional<'a, T>(
    r: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, Short>,
) -> Result<Option<T>, Short> {
    match r.u8()? {
        0 => Ok(None),
        1 => read(r).map(Some),
        _ => Err(Short),
    }
}

fn list<'a, T>(r: &mut Reader<'a>, read: impl Fn(&mut Reader<'a>) -> Result<T, Short>) -> Result<Vec<T>, Short> {
    let count = r.varint()?;
    // Each takes a byte at least, so that a number that lies costs no memory.
    if count > r.0.len() as u64 {
        return Err(Short);
    }
    (0..count).map(|_| read(r)).collect()
}

/// Each as the bytes since the end of the one before, and its length.
fn put_runs(out: &mut Vec<u8>, runs: &[Range<u64>]) {
    put_varint(out, runs.len() as u64);
    let mut before = 0u64;
    for run in runs {
        put_varint(out, run.start.wrapping_sub(before));
        put_varint(out, run.end.wrapping_sub(run.start));
        before = run.end;
    }
}

/// In order, apart from each other and not empty, or refused.
fn runs(r: &mut Reader<'_>) -> Result<Vec<Range<u64>>, Short> {
    let mut before: Option<u64> = None;
    let count = r.varint()?;
    if count > r.0.len() as u64 {
        return Err(Short);
    }
    (0..count)
        .map(|_| {
            let (skip, length) = (r.varint()?, r.varint()?);
            let start = before.unwrap_or(0).checked_add(skip).ok_or(Short)?;
            let end = start.checked_add(length).ok_or(Short)?;
            if length == 0 || (before.is_some() && skip == 0) {
                return Err(Short);
            }
            before = Some(end);
            Ok(start..end)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::joins::tests::{id, of, part};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranges_go_there_and_back(cuts in prop::collection::btree_set(any::<u64>(), 0..20)) {
            let cuts: Vec<u64> = cuts.into_iter().collect();
            let all: Vec<Range<u64>> = cuts.chunks_exact(2).map(|two| two[0]..two[1]).collect();
            let mut bytes = Vec::new();
            put_runs(&mut bytes, &all);
            prop_assert_eq!(runs(&mut Reader(&bytes)), Ok(all));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0u8..9) {
            let payload = [&[kind][..], &bytes].concat();
            if let Ok(Payload::Change(change)) = read(&payload) {
                let mut again = Vec::new();
                put_change(&mut again, &change);
                prop_assert_eq!(read(&again), Ok(Payload::Change(change)));
            }
        }
    }

    #[test]
    fn changes_go_there_and_back_and_nowhere_else() {
        let digests = Digests { md5: [1; 16], sha1: [2; 20], sha256: [3; 32] };
        let made = JoinMade {
            digests,
            digests_encoded: Some(Digests { md5: [4; 16], ..digests }),
            size: 9,
            mime: "text/plain".to_owned(),
            description: "ASCII text".to_owned(),
            problem: Some("gzip data ends early".to_owned()),
            conflicts: vec![1..2, 4..9],
            compared: false,
        };
        for change in [
            JoinChange::New(id(1), of()),
            JoinChange::Part(id(1), part(1, 0..7)),
            JoinChange::Part(id(1), JoinPart { conflict: true, ..part(1, 0..7) }),
            JoinChange::More(
                id(1),
                JoinMore { parts: 300, unchecked: 2, conflicts: vec![std::ops::Range { start: 3, end: 5 }] },
            ),
            JoinChange::Made(id(1), None),
            JoinChange::Made(id(1), Some(made)),
            JoinChange::Gone(id(1)),
            JoinChange::Forget(BucketId(7)),
            JoinChange::Read(BucketId(7), KeptMark { last: (99, 5), next: 120, silent: true, ..KeptMark::NOTHING }),
        ] {
            let mut bytes = Vec::new();
            put(&mut bytes, 77, &Payload::Change(change.clone()));
            let length = bytes.len();
            assert_eq!(decode(&bytes, 77), Ok((Payload::Change(change), length)));
            assert_eq!(decode(&bytes, 78), Err(Short), "it belongs to its place");
            for at in 0..length {
                assert_eq!(decode(&bytes[..at], 77), Err(Short));
                let mut other = bytes.clone();
                other[at] ^= 1;
                assert_eq!(decode(&other, 77), Err(Short), "{at}");
            }
        }
    }
}
