//! Segments held out of order, and which of them gives a byte where they overlap.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;

use crate::config::OverlapPolicy;
use crate::sink::FrameTag;

/// What a held segment is charged beside its payload: its entry, its allocation, its place in the tree.
const BOOKKEEPING: usize = 128;

/// A segment as it came, its payload in the caller's memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece<'a> {
    pub(crate) tag: FrameTag,
    /// The offset of its first byte; below 0 when it lies before the stream's first byte.
    pub(crate) start: i64,
    pub(crate) payload: &'a [u8],
    /// Payload bytes on the wire: more than `payload` when the snap length cut the frame.
    pub(crate) wire_len: u32,
}

impl Piece<'_> {
    /// The offset after its captured bytes.
    pub(crate) fn end(&self) -> i64 {
        self.start.saturating_add_unsigned(self.payload.len() as u64)
    }

    /// The offset after the bytes that it had on the wire.
    pub(crate) fn wire_end(&self) -> i64 {
        self.start.saturating_add(i64::from(self.wire_len))
    }
}

/// A segment in memory of its own.
#[derive(Debug)]
pub(crate) struct Held {
    tag: FrameTag,
    start: i64,
    bytes: Box<[u8]>,
    wire_len: u32,
    order: u64,
}

impl Held {
    pub(crate) fn piece(&self) -> Piece<'_> {
        Piece { tag: self.tag, start: self.start, payload: &self.bytes, wire_len: self.wire_len }
    }

    /// Lets go of all but its first bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        if len < self.bytes.len() {
            let mut bytes = std::mem::take(&mut self.bytes).into_vec();
            bytes.truncate(len);
            self.bytes = bytes.into_boxed_slice();
        }
    }

    /// How many bytes it counts for in the bounds.
    pub(crate) fn charge(&self) -> usize {
        charge(self.bytes.len())
    }
}

/// How many bytes a segment with this much payload counts for in the bounds.
pub(crate) const fn charge(payload: usize) -> usize {
    payload.saturating_add(BOOKKEEPING)
}

/// The held segments of one stream, in the order of their first bytes, then of arrival.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    segments: BTreeMap<(i64, u64), Held>,
    arrivals: u64,
    payload: usize,
    charged: usize,
    end: i64,
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.segments.len()
    }

    /// Payload bytes held.
    pub(crate) const fn payload(&self) -> usize {
        self.payload
    }

    /// What the held segments count for in the bounds.
    pub(crate) const fn charged(&self) -> usize {
        self.charged
    }

    /// The lowest offset held.
    pub(crate) fn first(&self) -> Option<i64> {
        self.segments.first_key_value().map(|(&(start, _), _)| start)
    }

    /// The furthest offset that a held segment reaches to.
    pub(crate) fn end(&self) -> Option<i64> {
        if self.is_empty() { None } else { Some(self.end) }
    }

    pub(crate) fn push(&mut self, piece: &Piece<'_>) {
        let order = self.arrivals;
        self.arrivals += 1;
        let Piece { tag, start, payload, wire_len } = *piece;
        let held = Held { tag, start, bytes: payload.into(), wire_len, order };
        self.payload += payload.len();
        self.charged += held.charge();
        self.end = if self.is_empty() { piece.wire_end() } else { self.end.max(piece.wire_end()) };
        self.segments.insert((start, order), held);
    }

    /// Takes the segment with the lowest offset.
    pub(crate) fn pop(&mut self) -> Option<Held> {
        let (_, held) = self.segments.pop_first()?;
        self.payload -= held.bytes.len();
        self.charged -= held.charge();
        Some(held)
    }

    /// Counts all offsets from `origin` on.
    pub(crate) fn rebase(&mut self, origin: i64) {
        let old = std::mem::take(&mut self.segments);
        self.end = self.end.saturating_sub(origin);
        for ((start, order), mut held) in old {
            held.start = start.saturating_sub(origin);
            self.segments.insert((held.start, order), held);
        }
    }
}

/// Memory for [`Scratch::resolve`], used again and again.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) cluster: Vec<Held>,
    /// Whether the segment of that place in `cluster` equals the stream.
    pub(crate) equal: Vec<bool>,
    /// The winning bytes of the cluster.
    pub(crate) bytes: Vec<u8>,
    ranked: Vec<usize>,
    covered: Vec<(i64, i64)>,
}

/// Bytes that more than one held segment had: how many were equal to the winner's, how many were in ranges that differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Overlapped {
    pub(crate) equal: u64,
    pub(crate) differing: u64,
}

impl Scratch {
    /// Lets the segments of `cluster`, which overlap and together cover `from..to`, decide about each byte in it:
    /// afterwards `bytes` has the winning ones and `equal` says which segments have no other.
    pub(crate) fn resolve(&mut self, policy: OverlapPolicy, from: i64, to: i64) -> Overlapped {
        let Self { cluster, equal, bytes, ranked, covered } = self;
        let mut overlapped = Overlapped::default();
        bytes.clear();
        bytes.resize(usize::try_from(to.saturating_sub(from)).unwrap_or(0), 0);
        ranked.clear();
        ranked.extend(0..cluster.len());
        ranked.sort_unstable_by(|&a, &b| match (cluster.get(a), cluster.get(b)) {
            (Some(a), Some(b)) => rank(policy, a, b),
            _ => Ordering::Equal,
        });
        covered.clear();
        // The best segment first: where a byte is covered already, the winner has it.
        for &i in ranked.iter() {
            let (Some(held), Some(equal)) = (cluster.get(i), equal.get_mut(i)) else { continue };
            let (start, end) = (held.start.max(from), held.piece().end().min(to));
            if start >= end {
                continue;
            }
            cover(covered, start, end, |a, b, taken| {
                let Some(own) = slice(&held.bytes, held.start, a, b) else { return };
                let (Ok(a), Ok(b)) = (usize::try_from(a - from), usize::try_from(b - from)) else { return };
                let Some(winning) = bytes.get_mut(a..b) else { return };
                if !taken {
                    winning.copy_from_slice(own);
                } else if winning == own {
                    overlapped.equal += own.len() as u64;
                } else {
                    overlapped.differing += own.len() as u64;
                    *equal = false;
                }
            });
        }
        overlapped
    }
}

/// The bytes of `a..b`, where `bytes` begin at `start`.
fn slice(bytes: &[u8], start: i64, a: i64, b: i64) -> Option<&[u8]> {
    bytes.get(usize::try_from(a.checked_sub(start)?).ok()?..usize::try_from(b.checked_sub(start)?).ok()?)
}

/// The better of two segments first.
fn rank(policy: OverlapPolicy, a: &Held, b: &Held) -> Ordering {
    match policy {
        OverlapPolicy::First => a.order.cmp(&b.order),
        OverlapPolicy::Last => b.order.cmp(&a.order),
        OverlapPolicy::Linux => {
            (a.start, Reverse(a.piece().wire_end()), a.order).cmp(&(b.start, Reverse(b.piece().wire_end()), b.order))
        }
        OverlapPolicy::Windows => (a.start, a.order).cmp(&(b.start, b.order)),
    }
}

/// Adds `start..end` to a list of ranges that do not touch, and says of each piece of it whether it was there.
fn cover(list: &mut Vec<(i64, i64)>, start: i64, end: i64, mut piece: impl FnMut(i64, i64, bool)) {
    let first = list.partition_point(|range| range.1 < start);
    let (mut behind, mut at, mut joined) = (first, start, (start, end));
    while let Some(&(from, to)) = list.get(behind)
        && from <= end
    {
        joined = (joined.0.min(from), joined.1.max(to));
        let (from, to) = (from.clamp(start, end), to.clamp(start, end));
        if at < from {
            piece(at, from, false);
        }
        if from < to {
            piece(from, to, true);
        }
        at = at.max(to);
        behind += 1;
    }
    if at < end {
        piece(at, end, false);
    }
    list.splice(first..behind, [joined]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(tag: u64, start: i64, text: &str) -> Piece<'_> {
        Piece { tag: FrameTag(tag), start, payload: text.as_bytes(), wire_len: text.len() as u32 }
    }

    fn winner(policy: OverlapPolicy, segments: &[(i64, &str)]) -> (String, Vec<bool>, Overlapped) {
        let mut queue = Queue::default();
        for (i, (start, text)) in segments.iter().enumerate() {
            queue.push(&piece(i as u64, *start, text));
        }
        let mut scratch = Scratch::default();
        while let Some(held) = queue.pop() {
            scratch.cluster.push(held);
        }
        assert_eq!((queue.payload(), queue.charged()), (0, 0));
        scratch.equal = vec![true; segments.len()];
        let end = scratch.cluster.iter().map(|held| held.piece().end()).max().unwrap();
        let overlapped = scratch.resolve(policy, scratch.cluster[0].start, end);
        let mut equal: Vec<(u64, bool)> =
            scratch.cluster.iter().map(|h| h.tag.0).zip(scratch.equal.iter().copied()).collect();
        equal.sort_unstable();
        let equal = equal.into_iter().map(|(_, equal)| equal).collect();
        (String::from_utf8(scratch.bytes).unwrap(), equal, overlapped)
    }

    #[test]
    fn the_policies_decide_as_published() {
        use OverlapPolicy::{First, Last, Linux, Windows};
        // The later one begins before, within, with and ends after, with and ends before, and covers.
        for (segments, first, last, linux, windows) in [
            ([(2, "aaaa"), (0, "bbbb")], "bbaaaa", "bbbbaa", "bbbbaa", "bbbbaa"),
            ([(0, "aaaa"), (2, "bbbb")], "aaaabb", "aabbbb", "aaaabb", "aaaabb"),
            ([(0, "aaaa"), (0, "bbbbbb")], "aaaabb", "bbbbbb", "bbbbbb", "aaaabb"),
            ([(0, "aaaaaa"), (0, "bbbb")], "aaaaaa", "bbbbaa", "aaaaaa", "aaaaaa"),
            ([(0, "aaaa"), (0, "bbbb")], "aaaa", "bbbb", "aaaa", "aaaa"),
            ([(1, "aa"), (0, "bbbb")], "baab", "bbbb", "bbbb", "bbbb"),
            ([(0, "aaaa"), (1, "bb")], "aaaa", "abba", "aaaa", "aaaa"),
        ] {
            for (policy, want) in [(First, first), (Last, last), (Linux, linux), (Windows, windows)] {
                assert_eq!(winner(policy, &segments).0, want, "{policy:?} {segments:?}");
            }
        }
    }

    #[test]
    fn a_cut_segment_ends_where_it_ended_on_the_wire() {
        let mut queue = Queue::default();
        queue.push(&piece(0, 0, "aaaa"));
        queue.push(&Piece { wire_len: 9, ..piece(1, 0, "bb") });
        let mut scratch = Scratch::default();
        scratch.cluster.extend(std::iter::from_fn(|| queue.pop()));
        scratch.equal = vec![true; 2];
        scratch.resolve(OverlapPolicy::Linux, 0, 4);
        assert_eq!(scratch.bytes, b"bbaa");
    }

    #[test]
    fn equal_copies_are_told_from_others() {
        let (bytes, equal, overlapped) =
            winner(OverlapPolicy::First, &[(0, "abcdef"), (2, "cd"), (3, "dXfg"), (6, "g")]);
        assert_eq!(bytes, "abcdefg");
        assert_eq!(equal, [true, true, false, true]);
        assert_eq!(overlapped, Overlapped { equal: 3, differing: 3 });
    }

    #[test]
    fn offsets_are_counted_anew() {
        let mut queue = Queue::default();
        queue.push(&Piece { wire_len: 4, ..piece(1, 50, "xx") });
        queue.push(&piece(2, -20, "y"));
        queue.rebase(-20);
        assert_eq!((queue.first(), queue.end(), queue.len()), (Some(0), Some(74), 2));
    }
}
