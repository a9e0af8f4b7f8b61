//! What else was captured for places of a stream: where two frames carried different bytes for one place, the stream has those that
//! the overlap policy chose, and the frames of its connection have the others.

use std::collections::BTreeMap;

use streamdb_decode::{Config, Content, Decoder, TcpFlags};
use streamdb_storage::{Read, Store, Stream};
use streamdb_types::{Direction, SeqNum, StreamOffset};

use crate::error::Error;

/// Most other versions that are told apart.
pub(crate) const VERSIONS: usize = 4;
/// Most bytes that are kept, and most that wait for a place to be known.
const KEPT: usize = 16 << 20;
const WAITING: usize = 1 << 20;
/// Most frames that are gone through, those of other connections included, when somebody asks for one connection.
pub(crate) const FRAMES: u64 = 1 << 20;

/// What came for places of a stream besides its own bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Others {
    /// Versions, by where in the stream their bytes begin, apart from each other: what of each payload differs went to the first
    /// version that nothing in the payload contradicts.
    versions: Vec<BTreeMap<u64, Vec<u8>>>,
    /// Where any payload differs from the stream's own bytes: from the first to before the second.
    differing: BTreeMap<u64, u64>,
    /// Bytes that are kept.
    kept: usize,
    /// Whether something could not be kept, or its place told.
    cut: bool,
}

impl Others {
    /// What was captured for a stream besides its own bytes. Nothing when looking would take more than so many frames, and when
    /// nothing is found, as when its frames are not kept.
    ///
    /// # Errors
    /// When a block is damaged.
    pub(crate) fn of(store: &Store, stream: &Stream, frames: u64) -> Result<Option<Self>, Error> {
        if stream.frames_between() > frames {
            return Ok(None);
        }
        let mut others = Self::default();
        others.gather(store, stream)?;
        Ok(Some(others).filter(|others| !others.differing.is_empty()))
    }

    /// Whether any byte from `start` to before `end` is another; nothing when that is not known, as not all could be looked at.
    pub(crate) fn touch(&self, start: StreamOffset, end: StreamOffset) -> Option<bool> {
        let touched = self.differing.range(..end.0).next_back().is_some_and(|(_, ends)| *ends > start.0);
        if touched && start < end { Some(true) } else { (!self.cut).then_some(false) }
    }

    /// Whether a version has bytes of its own from `start` to before `end`.
    pub(crate) fn has(&self, version: usize, start: StreamOffset, end: StreamOffset) -> bool {
        let last = self.versions.get(version).and_then(|runs| runs.range(..end.0).next_back());
        start < end && last.is_some_and(|(at, run)| at.saturating_add(run.len() as u64) > start.0)
    }

    /// How many versions there are.
    pub(crate) fn versions(&self) -> usize {
        self.versions.len()
    }

    /// Puts a version's own into bytes of the stream that begin at `at`.
    pub(crate) fn put(&self, version: usize, at: StreamOffset, bytes: &mut [u8]) {
        let Some(runs) = self.versions.get(version) else { return };
        let end = at.0.saturating_add(bytes.len() as u64);
        each(runs, at.0, end, &mut |from, own| {
            let place = usize::try_from(from - at.0).unwrap_or(usize::MAX);
            if let Some(into) = bytes.get_mut(place..).and_then(|bytes| bytes.get_mut(..own.len())) {
                into.copy_from_slice(own);
            }
        });
    }

    /// Goes through the frames of the connection.
    fn gather(&mut self, store: &Store, stream: &Stream) -> Result<(), Error> {
        let info = stream.info();
        let (src, dst) = match info.direction {
            Direction::ToServer => (info.tuple.client, info.tuple.server),
            Direction::ToClient => (info.tuple.server, info.tuple.client),
        };
        let mut decoder = Decoder::new(Config::default());
        let mut known: Option<Known> = None;
        let (mut waiting, mut bytes): (Vec<(SeqNum, Vec<u8>)>, usize) = (Vec::new(), 0);
        let mut next = 0;
        store.stream_frames(stream, &mut |frame| {
            let decoded = decoder.decode(frame.interface.link_type, frame.data, frame.wire_len, frame.time, 0);
            let Content::Tcp(segment) = decoded.content else { return Ok(()) };
            if segment.src != src || segment.dst != dst || segment.payload.is_empty() {
                return Ok(());
            }
            // The SYN has a number of its own (RFC 9293 §3.4).
            let syn = u32::from(segment.flags.contains(TcpFlags::SYN));
            let seq = SeqNum(segment.seq.0.wrapping_add(syn));
            let length = segment.payload.len() as u64;
            if let Some(offset) = frame.placed.filter(|_| decoded.pieces.is_empty()) {
                known = Some((seq, offset.0));
                next = next.max(offset.0.saturating_add(length));
                return Ok(());
            }
            let Some(known) = known else {
                bytes += segment.payload.len();
                match bytes <= WAITING {
                    true => waiting.push((seq, segment.payload.to_vec())),
                    false => self.cut = true,
                }
                return Ok(());
            };
            let begins = place(known, seq);
            // What keeps a connection alive is garbage perhaps, and contradicts nothing (RFC 9293 §3.8.4).
            if segment.wire_len == 1 && u64::try_from(begins).is_ok_and(|at| at.saturating_add(1) == next) {
                return Ok(());
            }
            if let Ok(at) = u64::try_from(begins) {
                next = next.max(at.saturating_add(length).min(stream.len().0));
            }
            self.take(stream, begins, segment.payload)
        })?;
        let Some(known) = known else {
            self.cut |= !waiting.is_empty();
            return Ok(());
        };
        waiting
            .iter()
            .try_for_each(|(seq, payload)| self.take(stream, place(known, *seq), payload))
            .map_err(Error::from)
    }

    /// Compares a payload that belongs there with the stream.
    fn take(&mut self, stream: &Stream, begins: i64, payload: &[u8]) -> Result<(), streamdb_storage::Error> {
        // What lies before the stream's first byte is not of it.
        let before = usize::try_from(begins.min(0).unsigned_abs()).unwrap_or(usize::MAX);
        let payload = payload.get(before..).unwrap_or_default();
        let mut at = u64::try_from(begins.max(0)).unwrap_or_default();
        let mut rest = payload;
        let mut own = vec![0; payload.len()];
        while !rest.is_empty() {
            let room = own.get_mut(..rest.len()).unwrap_or_default();
            let taken = match stream.read_at(StreamOffset(at), room)? {
                Read::Bytes(n) => {
                    self.differing(at, room.get(..n).unwrap_or_default(), rest.get(..n).unwrap_or_default());
                    n
                }
                Read::Gap(length, _) => usize::try_from(length).unwrap_or(usize::MAX).min(rest.len()),
                Read::End => break,
            };
            at = at.saturating_add(taken as u64);
            rest = rest.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    /// Takes a stretch of a payload beside the stream's own bytes there.
    fn differing(&mut self, offset: u64, own: &[u8], theirs: &[u8]) {
        let differs = |(own, other): (&u8, &u8)| own != other;
        let Some(first) = own.iter().zip(theirs).position(differs) else { return };
        let last = own.iter().zip(theirs).rposition(differs).unwrap_or(first);
        for ((place, own), other) in (offset..).zip(own).zip(theirs) {
            if own != other {
                self.differ(place);
            }
        }
        let contradicted = |runs: &BTreeMap<u64, Vec<u8>>| {
            let end = offset.saturating_add(theirs.len() as u64);
            let mut other = false;
            each(runs, offset, end, &mut |from, run| {
                let place = usize::try_from(from - offset).unwrap_or(usize::MAX);
                other |= theirs.get(place..).and_then(|theirs| theirs.get(..run.len())) != Some(run);
            });
            other
        };
        let version = match self.versions.iter().position(|runs| !contradicted(runs)) {
            Some(version) => version,
            None if self.versions.len() < VERSIONS => {
                self.versions.push(BTreeMap::new());
                self.versions.len() - 1
            }
            None => return self.cut = true,
        };
        let begins = offset.saturating_add(first as u64);
        self.keep(version, begins, theirs.get(first..=last).unwrap_or_default());
    }

    /// Adds bytes to a version that has none there, or the same.
    fn keep(&mut self, version: usize, begins: u64, mut bytes: &[u8]) {
        let Some(runs) = self.versions.get_mut(version) else { return };
        let mut at = begins;
        while !bytes.is_empty() {
            let before = runs.range(..=at).next_back();
            let there = before.map_or(0, |(from, run)| from.saturating_add(run.len() as u64).saturating_sub(at));
            let free = runs.range(at..).next().map_or(u64::MAX, |(from, _)| from - at);
            let step = usize::try_from(if there > 0 { there } else { free }).unwrap_or(usize::MAX).min(bytes.len());
            let (part, rest) = bytes.split_at_checked(step).unwrap_or((bytes, &[]));
            if there == 0 {
                if self.kept + part.len() > KEPT {
                    self.cut = true;
                    return;
                }
                self.kept += part.len();
                runs.insert(at, part.to_vec());
            }
            (at, bytes) = (at.saturating_add(step as u64), rest);
        }
    }

    /// There is another byte at this place.
    fn differ(&mut self, place: u64) {
        match self.differing.range_mut(..=place).next_back() {
            Some((_, end)) if *end > place => {}
            Some((_, end)) if *end == place => *end = place + 1,
            _ => _ = self.differing.insert(place, place + 1),
        }
    }
}

/// A sequence number, and where in the stream it is.
type Known = (SeqNum, u64);

/// Where in the stream another sequence number is.
fn place((known, offset): Known, seq: SeqNum) -> i64 {
    let distance = i64::from(seq.0.wrapping_sub(known.0).cast_signed());
    i64::try_from(offset).unwrap_or(i64::MAX).saturating_add(distance)
}

/// Calls with what lies from `start` to before `end`.
fn each(runs: &BTreeMap<u64, Vec<u8>>, start: u64, end: u64, call: &mut dyn FnMut(u64, &[u8])) {
    for (begins, run) in runs.range(..end).rev() {
        let ends = begins.saturating_add(run.len() as u64);
        if ends <= start {
            break;
        }
        let (from, to) = ((*begins).max(start), ends.min(end));
        let place = |offset: u64| usize::try_from(offset - begins).unwrap_or(usize::MAX);
        if let Some(part) = run.get(place(from)..place(to)) {
            call(from, part);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn put(all: &Others, version: usize, at: u64, own: &[u8]) -> Vec<u8> {
        let mut bytes = own.to_vec();
        all.put(version, StreamOffset(at), &mut bytes);
        bytes
    }

    #[test]
    fn versions_are_told_apart() {
        let mut all = Others::default();
        let own = b"harmless bytes";
        all.differing(10, own, b"harmful  bytes");
        // Nothing contradicts these, so that they go there too.
        all.differing(18, &own[8..], b"_bytes");
        all.differing(10, &own[..9], b"nothing..");
        assert_eq!(put(&all, 0, 10, own), b"harmful _bytes");
        assert_eq!(put(&all, 1, 10, own), b"nothing..bytes");
        assert_eq!(all.versions(), 2);
        // A difference in front hides none behind it.
        all.differing(30, b"first harmless", b"fIrst harmless");
        all.differing(36, b"harmless", b"MALWARE!");
        assert_eq!(put(&all, 0, 30, b"first harmless"), b"fIrst MALWARE!");
        let touch = |start, end| all.touch(StreamOffset(start), StreamOffset(end));
        assert_eq!(
            [touch(0, 10), touch(10, 11), touch(24, 31), touch(31, 32), touch(32, 36)],
            [Some(false), Some(true), Some(false), Some(true), Some(false)]
        );
        assert!(all.has(0, StreamOffset(31), StreamOffset(32)) && !all.has(1, StreamOffset(31), StreamOffset(32)));
        // More than are told apart are noticed all the same, and said not to be all.
        for version in b'0'..=b'9' {
            all.differing(60, b"a", &[version]);
        }
        assert_eq!((all.versions(), all.touch(StreamOffset(60), StreamOffset(61))), (VERSIONS, Some(true)));
        assert_eq!(all.touch(StreamOffset(70), StreamOffset(71)), None);
    }

    proptest! {
        /// Against a byte for each place and version.
        #[test]
        fn as_a_byte_for_each_place(
            payloads in prop::collection::vec((0_usize..40, prop::collection::vec(b'a'..=b'c', 1..12)), 0..10),
            (start, length) in (0_usize..60, 0_usize..20),
        ) {
            let own = [b'a'; 60];
            let mut twin: Vec<Vec<Option<u8>>> = Vec::new();
            let (mut touched, mut cut) = ([false; 60], false);
            let mut all = Others::default();
            for (at, payload) in &payloads {
                let there = *at..*at + payload.len();
                all.differing(*at as u64, &own[there.clone()], payload);
                let differs: Vec<usize> = there.clone().filter(|place| payload[place - at] != b'a').collect();
                differs.iter().for_each(|place| touched[*place] = true);
                let Some((first, last)) = differs.first().zip(differs.last()) else { continue };
                let fits = |version: &Vec<Option<u8>>| there.clone().all(|p| version[p].is_none_or(|byte| byte == payload[p - at]));
                let version = match twin.iter().position(fits) {
                    Some(version) => version,
                    None if twin.len() < VERSIONS => {
                        twin.push(vec![None; 60]);
                        twin.len() - 1
                    }
                    None => {
                        cut = true;
                        continue;
                    }
                };
                (*first..=*last).for_each(|place| twin[version][place] = Some(payload[place - at]));
            }
            let end = (start + length).min(60);
            for (version, bytes) in twin.iter().enumerate() {
                let wanted: Vec<u8> = bytes[start..end].iter().map(|byte| byte.unwrap_or(b'a')).collect();
                prop_assert_eq!(put(&all, version, start as u64, &own[start..end]), wanted);
                let has = bytes[start..end].iter().any(Option::is_some);
                prop_assert_eq!(all.has(version, StreamOffset(start as u64), StreamOffset(end as u64)), has);
            }
            prop_assert_eq!(all.versions(), twin.len());
            let wanted = if touched[start..end].contains(&true) { Some(true) } else { (!cut).then_some(false) };
            prop_assert_eq!(all.touch(StreamOffset(start as u64), StreamOffset(end as u64)), wanted);
        }
    }
}
