//! The file: a head, and frames. What lies behind the last frame that is whole does not count.
//!
//! ```text
//! FILE   := head frame*
//! head   : magic "SDBVERD1"
//! frame  : length u32, crc32 u32 of the payload and the frame's position, payload
//! payload: kind u8, then
//!   1 SCANNED  sha256 (32 bytes), oid (4 varints), by u64, flags u8 (1 first seen, 2 whole, and from 4 on which scanners
//!              looked), verdicts (varint), and for each: scanner u8, name and details (each a length as a varint, and UTF-8)
//!   2 MARK     how far the rows of a bucket were handed on: bucket (varint), last frame's begin (varint) and checksum u32, next
//!              frame's begin (varint), covered place (varint), flags u8 (1 whole, 2 silent, 4 nothing more comes)
//!   3 BEGUN    behind the marks of what was there before anybody scanned
//!   5 JOINED   a joined content was met: its name (16 bytes), the first half of its sha256 (16 bytes), flags u8 (1 complete, 2 first
//!              seen, 4 handed on)
//! ```

use std::io;

use streamdb_types::{BlockPlace, BucketId, Oid, Scanner, Verdict};

use super::{JoinMet, Scanned};
use crate::derived::{Covered, KeptMark};
use crate::format::bytes::{Reader, Short, put_varint};

pub(super) const MAGIC: &[u8; 8] = b"SDBVERD1";
pub(super) const HEAD: u64 = MAGIC.len() as u64;
/// Bytes before a payload.
const FRAME: usize = 8;
/// Most bytes of a payload.
pub(super) const MOST: usize = 1 << 20;
/// Bytes that are read at once.
const STEP: usize = 2 * (MOST + FRAME);
/// Most bytes of a name and of details; what is longer is cut.
const NAME: usize = 256;
const DETAILS: usize = 1024;

const SCANNED: u8 = 1;
const MARK: u8 = 2;
const BEGUN: u8 = 3;
const JOINED: u8 = 5;

/// Every scanner's bit.
const ALL: u8 = (1 << Scanner::ALL.len()) - 1;

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    Scanned(Scanned),
    Mark(BucketId, KeptMark, Settled),
    Begun,
    Joined(JoinMet),
}

/// Whether nothing more comes to the rows of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled(pub(crate) bool);

/// Appends a frame that will lie at `position` of the file.
pub(super) fn put(out: &mut Vec<u8>, position: u64, payload: &Payload) {
    let mut bytes = Vec::new();
    match payload {
        Payload::Scanned(scanned) => put_scanned(&mut bytes, scanned),
        Payload::Begun => bytes.push(BEGUN),
        Payload::Joined(met) => {
            bytes.push(JOINED);
            met.put(&mut bytes);
        }
        Payload::Mark(bucket, mark, settled) => {
            bytes.push(MARK);
            put_varint(&mut bytes, bucket.0);
            put_varint(&mut bytes, mark.last.0);
            bytes.extend(mark.last.1.to_le_bytes());
            put_varint(&mut bytes, mark.next);
            put_varint(&mut bytes, mark.covered.to.0);
            bytes.push(u8::from(mark.covered.whole) | u8::from(mark.silent) << 1 | u8::from(settled.0) << 2);
        }
    }
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(checksum(&bytes, position).to_le_bytes());
    out.extend(bytes);
}

fn put_scanned(bytes: &mut Vec<u8>, scanned: &Scanned) {
    bytes.push(SCANNED);
    bytes.extend(scanned.sha256);
    let Oid { bucket, place, length, index } = scanned.oid;
    for n in [bucket.0, place.0, length, index] {
        put_varint(bytes, n);
    }
    bytes.extend(scanned.by.to_le_bytes());
    let kept = scanned.verdicts.get(..Scanned::MOST).unwrap_or(&scanned.verdicts);
    let whole = scanned.whole && kept.len() == scanned.verdicts.len();
    bytes.push(u8::from(scanned.first_seen) | u8::from(whole) << 1 | (scanned.looked & ALL) << 2);
    put_varint(bytes, kept.len() as u64);
    for verdict in kept {
        bytes.push(Scanner::ALL.iter().position(|scanner| *scanner == verdict.scanner).unwrap_or_default() as u8);
        for (text, most) in [(&verdict.name, NAME), (&verdict.details, DETAILS)] {
            let text = text.get(..text.floor_char_boundary(most)).unwrap_or_default();
            put_varint(bytes, text.len() as u64);
            bytes.extend(text.bytes());
        }
    }
}

fn checksum(payload: &[u8], position: u64) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(payload);
    crc.update(&position.to_le_bytes());
    crc.finalize()
}

/// What the payload of a frame says.
pub(crate) fn decode(payload: &[u8]) -> Result<Payload, Short> {
    let mut r = Reader(payload);
    let said = match r.u8()? {
        SCANNED => Payload::Scanned(scanned(&mut r)?),
        BEGUN => Payload::Begun,
        JOINED => Payload::Joined(JoinMet::read(&mut r)?),
        MARK => {
            let bucket = BucketId(r.varint()?);
            let last = (r.varint()?, r.u32()?);
            let next = r.varint()?;
            let to = BlockPlace(r.varint()?);
            let flags = r.u8()?;
            let mark = KeptMark { last, next, covered: Covered { to, whole: flags & 1 != 0 }, silent: flags & 2 != 0 };
            Payload::Mark(bucket, mark, Settled(flags & 4 != 0))
        }
        _ => return Err(Short),
    };
    if r.0.is_empty() { Ok(said) } else { Err(Short) }
}

fn scanned(r: &mut Reader<'_>) -> Result<Scanned, Short> {
    let sha256 = r.array()?;
    let oid =
        Oid { bucket: BucketId(r.varint()?), place: BlockPlace(r.varint()?), length: r.varint()?, index: r.varint()? };
    let by = r.u64()?;
    let flags = r.u8()?;
    let count = usize::try_from(r.varint()?).map_err(|_| Short)?;
    if count > Scanned::MOST {
        return Err(Short);
    }
    let mut verdicts = Vec::new();
    for _ in 0..count {
        let scanner = *Scanner::ALL.get(usize::from(r.u8()?)).ok_or(Short)?;
        verdicts.push(Verdict { scanner, name: text(r, NAME)?, details: text(r, DETAILS)? });
    }
    let (first_seen, whole, looked) = (flags & 1 != 0, flags & 2 != 0, flags >> 2 & ALL);
    Ok(Scanned { sha256, oid, first_seen, whole, by, looked, verdicts })
}

fn text(r: &mut Reader<'_>, most: usize) -> Result<String, Short> {
    let length = usize::try_from(r.varint()?).ok().filter(|length| *length <= most).ok_or(Short)?;
    std::str::from_utf8(r.take(length)?).map(str::to_owned).map_err(|_| Short)
}

/// The frames in a run of bytes that lies at `at` of the file.
pub(crate) struct Frames<'b> {
    bytes: &'b [u8],
    at: u64,
}

impl<'b> Frames<'b> {
    pub(crate) const fn new(bytes: &'b [u8], at: u64) -> Self {
        Self { bytes, at }
    }

    /// Where the next frame begins.
    pub(crate) const fn at(&self) -> u64 {
        self.at
    }

    /// The next frame; `None` where there is none that is whole.
    pub(crate) fn next(&mut self) -> Option<Payload> {
        let mut r = Reader(self.bytes);
        let length = r.u32().ok()? as usize;
        let crc = r.u32().ok()?;
        let payload = r.take(length).ok().filter(|payload| payload.len() <= MOST)?;
        if checksum(payload, self.at) != crc {
            return None;
        }
        let said = decode(payload).ok()?;
        self.bytes = r.0;
        self.at += (FRAME + length) as u64;
        Some(said)
    }
}

/// Calls with what every frame says from `at` on, as far as they are whole; returns where that ends: 0 when the file has no head.
pub(super) fn each(
    read: &dyn Fn(&mut [u8], u64) -> io::Result<usize>,
    mut at: u64,
    visit: &mut dyn FnMut(Payload) -> io::Result<()>,
) -> io::Result<u64> {
    let mut bytes = vec![0; STEP];
    loop {
        let length = read(&mut bytes, at)?;
        let mut there = bytes.get(..length).unwrap_or_default();
        let begin = at;
        if at == 0 {
            let Some(behind) = there.strip_prefix(MAGIC) else { return Ok(0) };
            (there, at) = (behind, HEAD);
        }
        let mut frames = Frames::new(there, at);
        while let Some(said) = frames.next() {
            visit(said)?;
        }
        at = frames.at();
        if at == begin || length < bytes.len() {
            return Ok(at);
        }
    }
}

/// Appends any bytes as the payload of a frame, for the fuzz target.
#[cfg(feature = "fuzzing")]
pub(crate) fn seal(out: &mut Vec<u8>, payload: &[u8]) {
    let position = HEAD + out.len() as u64;
    out.extend((payload.len() as u32).to_le_bytes());
    out.extend(checksum(payload, position).to_le_bytes());
    out.extend(payload);
}

/// Reads frames, and holds that each is written as one that says the same.
#[cfg(feature = "fuzzing")]
pub(crate) fn replay(bytes: &[u8]) {
    let mut frames = Frames::new(bytes, HEAD);
    while let Some(said) = frames.next() {
        let mut again = Vec::new();
        put(&mut again, HEAD, &said);
        assert_eq!(Frames::new(&again, HEAD).next().as_ref(), Some(&said));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(in crate::verdicts) fn scanned_as(number: u8, names: &[&str]) -> Scanned {
        let verdict = |name: &&str| Verdict { scanner: Scanner::Yara, name: (*name).into(), details: "tags".into() };
        Scanned {
            sha256: [number; 32],
            oid: "7-11-13-0".parse().unwrap(),
            first_seen: number.is_multiple_of(2),
            whole: true,
            by: 5,
            looked: number & ALL,
            verdicts: names.iter().map(verdict).collect(),
        }
    }

    fn payloads() -> impl Strategy<Value = Payload> {
        let verdict = (0..3usize, "\\PC{0,40}", "\\PC{0,40}").prop_map(|(scanner, name, details)| Verdict {
            scanner: Scanner::ALL[scanner],
            name,
            details,
        });
        let scanned = (
            any::<[u8; 32]>(),
            any::<[u64; 5]>(),
            (any::<[bool; 2]>(), 0..=ALL),
            proptest::collection::vec(verdict, 0..4),
        );
        let scanned = scanned.prop_map(
            |(sha256, [bucket, place, length, index, by], ([first_seen, whole], looked), verdicts)| {
                let oid = Oid { bucket: BucketId(bucket), place: BlockPlace(place), length, index };
                Payload::Scanned(Scanned { sha256, oid, first_seen, whole, by, looked, verdicts })
            },
        );
        let mark = (any::<[u64; 4]>(), any::<u32>(), any::<[bool; 3]>());
        let mark = mark.prop_map(|([bucket, begin, next, to], crc, [whole, silent, settled])| {
            let covered = Covered { to: BlockPlace(to), whole };
            Payload::Mark(BucketId(bucket), KeptMark { last: (begin, crc), next, covered, silent }, Settled(settled))
        });
        let joined = (any::<[u8; 16]>(), any::<[u8; 16]>(), any::<[bool; 3]>());
        let joined = joined.prop_map(|(id, content, [complete, first_seen, handed])| {
            Payload::Joined(JoinMet { id: crate::joins::JoinId(id), content, complete, first_seen, handed })
        });
        prop_oneof![scanned, mark, joined, Just(Payload::Begun)]
    }

    proptest! {
        #[test]
        fn frames_go_there_and_back(payloads in proptest::collection::vec(payloads(), 0..6)) {
            let mut bytes = Vec::new();
            for payload in &payloads {
                let at = HEAD + bytes.len() as u64;
                put(&mut bytes, at, payload);
            }
            let read = |bytes: &[u8]| {
                let mut frames = Frames::new(bytes, HEAD);
                std::iter::from_fn(|| frames.next()).collect::<Vec<_>>()
            };
            prop_assert_eq!(read(&bytes), payloads.clone());
            // What is cut or changed ends it there, and nothing else is ever said.
            for at in 0..bytes.len() {
                prop_assert!(payloads.starts_with(&read(&bytes[..at])));
                let mut changed = bytes.clone();
                changed[at] ^= 1;
                prop_assert!(payloads.starts_with(&read(&changed)) && read(&changed).len() < payloads.len());
            }
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn long_texts_and_many_verdicts_are_cut() {
        let mut scanned = scanned_as(1, &[]);
        let verdict = Verdict { scanner: Scanner::Clamd, name: "é".repeat(200), details: "x".repeat(5000) };
        scanned.verdicts = vec![verdict; Scanned::MOST + 1];
        let mut bytes = Vec::new();
        put(&mut bytes, HEAD, &Payload::Scanned(scanned));
        let Some(Payload::Scanned(read)) = Frames::new(&bytes, HEAD).next() else { panic!("no frame") };
        assert_eq!((read.verdicts.len(), read.whole), (Scanned::MOST, false));
        assert_eq!((read.verdicts[0].name.as_str(), read.verdicts[0].details.len()), ("é".repeat(128).as_str(), 1024));
    }
}
