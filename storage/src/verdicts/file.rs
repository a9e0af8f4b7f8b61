//! The file: a head, and frames. What lies behind the last frame that is whole does not count.
//!
//! ```text
//! FILE   := head frame*
//! head   : magic "SDBVERD2"
//! frame  : length u32, crc32 u32 of the payload and the frame's position, payload
//! payload: kind u8, then
//!   1 SCANNED  sha256 (32 bytes), first (4 bytes), by u64, flags u8 (1 whole, and from 2 on which scanners looked), verdicts
//!              (varint), and for each: scanner u8, name and details (each a length as a varint, and UTF-8)
//!   2 MARK     how far some parties came in the rows of a bucket: parties u8, bucket (varint), last frame's begin (varint) and
//!              checksum u32, next frame's begin (varint), covered place (varint), flags u8 (1 whole, 2 silent, 4 nothing more comes)
//!   3 BEGUN    parties u8: behind their marks of what was there before they were
//!   4 FORGOTTEN contents until now, with a verdict (varint) and without (varint)
//!   5 JOINED   a joined content was met: its name (16 bytes), the first half of its sha256 (16 bytes), flags u8 (1 complete, 2 first
//!              seen), and for which parties that was all, u8
//! ```

use std::io;

use streamdb_types::{BucketId, Oid, Scanner, Verdict};

use super::{Forgotten, JoinMet, Scanned};
use crate::derived::KeptMark;
use crate::format::bytes::{Reader, Short, put_varint};

pub(super) const MAGIC: &[u8; 8] = b"SDBVERD2";
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
const FORGOTTEN: u8 = 4;
const JOINED: u8 = 5;

/// Every scanner's bit.
const ALL: u8 = (1 << Scanner::ALL.len()) - 1;

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    Scanned(Said),
    Mark(BucketId, PartyMark),
    Begun(u8),
    Forgotten(Forgotten),
    Joined(JoinMet),
}

/// What came of scanning a content, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) sha256: [u8; 32],
    pub(crate) first: First,
    pub(crate) whole: bool,
    pub(crate) by: u64,
    pub(crate) looked: u8,
    pub(crate) verdicts: Vec<Verdict>,
}

/// By what the first object with a content is known again: a checksum of its oid, or nothing, where that is not known, or was
/// there before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct First(pub(crate) [u8; 4]);

impl First {
    pub(super) fn of(oid: Oid) -> Self {
        let Oid { bucket, place, length, index } = oid;
        let mut crc = crc32fast::Hasher::new();
        [bucket.0, place.0, length, index].iter().for_each(|n| crc.update(&n.to_le_bytes()));
        Self(crc.finalize().max(1).to_le_bytes())
    }
}

/// How far some parties came in the rows of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartyMark {
    /// Bit by bit.
    pub(crate) parties: u8,
    pub(crate) mark: KeptMark,
    /// Whether nothing more comes to these rows.
    pub(crate) settled: bool,
}

/// Appends a frame that will lie at `position` of the file.
pub(super) fn put(out: &mut Vec<u8>, position: u64, payload: &Payload) {
    let mut bytes = Vec::new();
    match payload {
        Payload::Scanned(scanned) => put_scanned(&mut bytes, scanned),
        Payload::Begun(parties) => bytes.extend([BEGUN, *parties]),
        Payload::Forgotten(Forgotten { found, clean }) => {
            bytes.push(FORGOTTEN);
            put_varint(&mut bytes, *found);
            put_varint(&mut bytes, *clean);
        }
        Payload::Joined(met) => {
            bytes.push(JOINED);
            met.put(&mut bytes);
        }
        Payload::Mark(bucket, PartyMark { parties, mark, settled }) => {
            bytes.extend([MARK, *parties]);
            put_varint(&mut bytes, bucket.0);
            mark.put(&mut bytes, u8::from(*settled));
        }
    }
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(checksum(&bytes, position).to_le_bytes());
    out.extend(bytes);
}

fn put_scanned(bytes: &mut Vec<u8>, scanned: &Said) {
    bytes.push(SCANNED);
    bytes.extend(scanned.sha256);
    bytes.extend(scanned.first.0);
    bytes.extend(scanned.by.to_le_bytes());
    let kept = scanned.verdicts.get(..Scanned::MOST).unwrap_or(&scanned.verdicts);
    let whole = scanned.whole && kept.len() == scanned.verdicts.len();
    bytes.push(u8::from(whole) | (scanned.looked & ALL) << 1);
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
        BEGUN => Payload::Begun(r.u8()?),
        FORGOTTEN => Payload::Forgotten(Forgotten { found: r.varint()?, clean: r.varint()? }),
        JOINED => Payload::Joined(JoinMet::read(&mut r)?),
        MARK => {
            let parties = r.u8()?;
            let bucket = BucketId(r.varint()?);
            let (mark, settled) = KeptMark::read(&mut r)?;
            Payload::Mark(bucket, PartyMark { parties, mark, settled: settled & 1 != 0 })
        }
        _ => return Err(Short),
    };
    if r.0.is_empty() { Ok(said) } else { Err(Short) }
}

fn scanned(r: &mut Reader<'_>) -> Result<Said, Short> {
    let sha256 = r.array()?;
    let first = First(r.array()?);
    let by = r.u64()?;
    let flags = r.u8()?;
    let count = usize::try_from(r.varint()?).map_err(|_| Short)?;
    if count > Scanned::MOST {
        return Err(Short);
    }
    // As much as is needed: very many of them are in memory.
    let mut verdicts = Vec::with_capacity(count);
    for _ in 0..count {
        let scanner = *Scanner::ALL.get(usize::from(r.u8()?)).ok_or(Short)?;
        verdicts.push(Verdict { scanner, name: text(r, NAME)?, details: text(r, DETAILS)? });
    }
    let (whole, looked) = (flags & 1 != 0, flags >> 1 & ALL);
    Ok(Said { sha256, first, whole, by, looked, verdicts })
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
mod tests {
    use super::super::Parties;
    use super::*;
    use crate::derived::Covered;
    use proptest::prelude::*;
    use streamdb_types::BlockPlace;

    fn payloads() -> impl Strategy<Value = Payload> {
        let verdict = (0..3usize, "\\PC{0,40}", "\\PC{0,40}").prop_map(|(scanner, name, details)| Verdict {
            scanner: Scanner::ALL[scanner],
            name,
            details,
        });
        let scanned = (any::<([u8; 32], [u8; 4], u64, bool)>(), 0..=ALL, proptest::collection::vec(verdict, 0..4));
        let scanned = scanned.prop_map(|((sha256, first, by, whole), looked, verdicts)| {
            Payload::Scanned(Said { sha256, first: First(first), whole, by, looked, verdicts })
        });
        let joined = any::<([u8; 16], [u8; 16], [bool; 2], u8)>();
        let joined = joined.prop_map(|(id, content, [complete, first_seen], done)| {
            Payload::Joined(JoinMet {
                id: crate::joins::JoinId(id),
                content,
                complete,
                first_seen,
                done: Parties(done),
            })
        });
        let mark = (any::<[u64; 4]>(), any::<u32>(), any::<[bool; 3]>(), any::<u8>());
        let mark = mark.prop_map(|([bucket, begin, next, to], crc, [whole, silent, settled], parties)| {
            let covered = Covered { to: BlockPlace(to), whole };
            let mark = KeptMark { last: (begin, crc), next, covered, silent };
            Payload::Mark(BucketId(bucket), PartyMark { parties, mark, settled })
        });
        let forgotten = any::<[u64; 2]>().prop_map(|[found, clean]| Payload::Forgotten(Forgotten { found, clean }));
        prop_oneof![scanned, mark, any::<u8>().prop_map(Payload::Begun), forgotten, joined]
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
        let verdict = Verdict { scanner: Scanner::Clamd, name: "é".repeat(200), details: "x".repeat(5000) };
        let verdicts = vec![verdict; Scanned::MOST + 1];
        let (first, whole, by, looked) = (First::default(), true, 5, 1);
        let scanned = Said { sha256: [1; 32], first, whole, by, looked, verdicts };
        let mut bytes = Vec::new();
        put(&mut bytes, HEAD, &Payload::Scanned(scanned));
        let Some(Payload::Scanned(read)) = Frames::new(&bytes, HEAD).next() else { panic!("no frame") };
        assert_eq!((read.verdicts.len(), read.whole), (Scanned::MOST, false));
        assert_eq!((read.verdicts[0].name.as_str(), read.verdicts[0].details.len()), ("é".repeat(128).as_str(), 1024));
    }
}
