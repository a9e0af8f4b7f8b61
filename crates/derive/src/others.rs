//! What else was captured for places of a stream: where two frames carried different bytes for one place, the stream has those that
//! the overlap policy chose, and the frames of its connection have the others.

use std::collections::BTreeMap;

use streamdb_decode::{Config, Content, Decoder};
use streamdb_storage::{Read, Store, Stream};
use streamdb_types::{Direction, SeqNum, StreamOffset};

use crate::error::Error;

/// Most bytes of payloads that are looked at.
const MOST: usize = 16 << 20;
/// Most frames between the first and the last one of a connection, those of other connections included.
const FRAMES: u64 = 1 << 20;

/// What came for places of a stream besides its own bytes: the first of it for each place, in stretches as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Others {
    /// By where in the stream they begin; apart from each other.
    runs: BTreeMap<u64, Vec<u8>>,
    /// Where they differ from the stream's own bytes: from the first to before the second.
    differing: BTreeMap<u64, u64>,
}

impl Others {
    /// What was captured for a stream besides its own bytes. Nothing when its frames are not kept, when its places cannot be told, or
    /// when looking would take too long.
    ///
    /// # Errors
    /// When a block is damaged.
    pub(crate) fn of(store: &Store, stream: &Stream) -> Result<Option<Self>, Error> {
        if stream.frames_between() > FRAMES {
            return Ok(None);
        }
        let gathered = gather(store, stream)?;
        let mut others = Self::default();
        for (offset, payload) in &gathered {
            others.compare(stream, *offset, payload)?;
        }
        Ok(Some(others).filter(|others| !others.runs.is_empty()))
    }

    /// Whether any byte from `start` to before `end` is another.
    pub(crate) fn touch(&self, start: StreamOffset, end: StreamOffset) -> bool {
        start < end && self.differing.range(..end.0).next_back().is_some_and(|(_, ends)| *ends > start.0)
    }

    /// Puts them into bytes of the stream that begin at `at`.
    pub(crate) fn put(&self, at: StreamOffset, bytes: &mut [u8]) {
        let end = at.0.saturating_add(bytes.len() as u64);
        for (begins, run) in self.runs.range(..end).rev() {
            let ends = begins.saturating_add(run.len() as u64);
            if ends <= at.0 {
                break;
            }
            let (from, to) = ((*begins).max(at.0), ends.min(end));
            let place = |offset: u64, base: u64| usize::try_from(offset - base).unwrap_or(usize::MAX);
            let own = run.get(place(from, *begins)..place(to, *begins));
            if let (Some(into), Some(own)) = (bytes.get_mut(place(from, at.0)..place(to, at.0)), own) {
                into.copy_from_slice(own);
            }
        }
    }

    /// Keeps what of a payload differs from the stream, where nothing is kept yet.
    fn compare(&mut self, stream: &Stream, offset: u64, payload: &[u8]) -> Result<(), Error> {
        let mut at = 0;
        let mut own = vec![0; payload.len()];
        while at < payload.len() {
            let place = StreamOffset(offset.saturating_add(at as u64));
            let room = own.get_mut(at..).unwrap_or_default();
            at += match stream.read_at(place, room)? {
                Read::Bytes(n) => {
                    let theirs = payload.get(at..at + n).unwrap_or_default();
                    self.differing(place.0, room.get(..n).unwrap_or_default(), theirs);
                    n
                }
                Read::Gap(length, _) => usize::try_from(length).unwrap_or(usize::MAX).min(payload.len() - at),
                Read::End => break,
            };
        }
        Ok(())
    }

    /// Takes a stretch of a payload where it differs from the stream: all of it for which nothing came before, so that what belongs
    /// together stays so.
    fn differing(&mut self, offset: u64, own: &[u8], theirs: &[u8]) {
        let length = own.len().min(theirs.len());
        if own == theirs {
            return;
        }
        let mut at = 0;
        while at < length {
            let place = offset.saturating_add(at as u64);
            let before = self.runs.range(..=place).next_back();
            let taken =
                before.map_or(0, |(begins, run)| (begins.saturating_add(run.len() as u64)).saturating_sub(place));
            if taken > 0 {
                at = at.saturating_add(usize::try_from(taken).unwrap_or(usize::MAX));
                continue;
            }
            let next = self.runs.range(place..).next().map_or(u64::MAX, |(begins, _)| begins - place);
            let end = at.saturating_add(usize::try_from(next).unwrap_or(usize::MAX)).min(length);
            let run = theirs.get(at..end).unwrap_or_default();
            for ((place, own), other) in (place..).zip(own.get(at..end).unwrap_or_default()).zip(run) {
                if own != other {
                    self.differ(place);
                }
            }
            self.runs.insert(place, run.to_vec());
            at = end;
        }
    }

    /// There is another byte at this place.
    fn differ(&mut self, place: u64) {
        match self.differing.range_mut(..=place).next_back() {
            Some((_, end)) if *end == place => *end = place + 1,
            _ => _ = self.differing.insert(place, place + 1),
        }
    }
}

/// A sequence number and where in the stream it is.
type Known = (SeqNum, u64);
/// A payload: its sequence number, what was known when it came, and its bytes.
type Found = (SeqNum, Option<Known>, Vec<u8>);

/// The payloads of a stream that are not in it as they came, each with where it belongs; in the order of their frames.
fn gather(store: &Store, stream: &Stream) -> Result<Vec<(u64, Vec<u8>)>, Error> {
    let info = stream.info();
    let (src, dst) = match info.direction {
        Direction::ToServer => (info.tuple.client, info.tuple.server),
        Direction::ToClient => (info.tuple.server, info.tuple.client),
    };
    let mut decoder = Decoder::new(Config::default());
    let mut known: Option<Known> = None;
    // Until a place is known, all wait.
    let mut found: Vec<Found> = Vec::new();
    let mut bytes = 0;
    store.stream_frames(stream, &mut |frame| {
        let decoded = decoder.decode(frame.interface.link_type, frame.data, frame.wire_len, frame.time, 0);
        let Content::Tcp(segment) = decoded.content else { return Ok(()) };
        if segment.src != src || segment.dst != dst || segment.payload.is_empty() {
            return Ok(());
        }
        match frame.placed {
            Some(offset) if decoded.pieces.is_empty() => known = Some((segment.seq, offset.0)),
            _ if bytes + segment.payload.len() <= MOST => {
                bytes += segment.payload.len();
                found.push((segment.seq, known, segment.payload.to_vec()));
            }
            _ => {}
        }
        Ok(())
    })?;
    let placed = found.into_iter().filter_map(|(seq, at_its_time, payload)| {
        let (of, offset) = at_its_time.or(known)?;
        let distance = i64::from(seq.0.wrapping_sub(of.0).cast_signed());
        let begins = offset.checked_add_signed(distance);
        // What lies before the stream's first byte is not of it.
        let cut = if begins.is_none() { distance.unsigned_abs() - offset } else { 0 };
        let rest = payload.get(usize::try_from(cut).ok()?..)?.to_vec();
        Some((begins.unwrap_or(0), rest))
    });
    Ok(placed.collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_belongs_together_stays_so() {
        let mut all = Others::default();
        all.differing(10, b"harmless", b"harmful.");
        all.differing(8, b"..harmless..", b"::nothing!!..");
        let mut bytes = *b"..harmless..";
        all.put(StreamOffset(8), &mut bytes);
        assert_eq!(&bytes, b"::harmful.!.");
        // It differs where it is another, not where it came again.
        let differing: Vec<_> = all.differing.iter().map(|(start, end)| *start..*end).collect();
        assert_eq!(differing, [8..10, 14..19]);
        assert!(all.touch(StreamOffset(9), StreamOffset(12)) && !all.touch(StreamOffset(10), StreamOffset(14)));
        assert!(all.touch(StreamOffset(13), StreamOffset(15)) && !all.touch(StreamOffset(20), StreamOffset(99)));
    }

    proptest! {
        /// Against a byte for each place: the first payload that differs from the stream, and reaches there.
        #[test]
        fn as_a_byte_for_each_place(
            payloads in prop::collection::vec((0_usize..40, prop::collection::vec(b'a'..=b'b', 1..12)), 0..8),
            (start, length) in (0_usize..60, 0_usize..20),
        ) {
            let own = [b'a'; 60];
            let mut twin: Vec<Option<u8>> = vec![None; 60];
            let mut all = Others::default();
            for (at, payload) in &payloads {
                let there = &own[*at..*at + payload.len()];
                all.differing(*at as u64, there, payload);
                if there != payload {
                    for (place, byte) in (*at..).zip(payload) {
                        twin[place].get_or_insert(*byte);
                    }
                }
            }
            let end = (start + length).min(60);
            let mut bytes = own[start..end].to_vec();
            all.put(StreamOffset(start as u64), &mut bytes);
            let wanted: Vec<u8> = twin[start..end].iter().map(|byte| byte.unwrap_or(b'a')).collect();
            prop_assert_eq!(&bytes, &wanted);
            let touched = wanted.iter().any(|byte| *byte != b'a');
            prop_assert_eq!(all.touch(StreamOffset(start as u64), StreamOffset(end as u64)), touched);
        }
    }
}
