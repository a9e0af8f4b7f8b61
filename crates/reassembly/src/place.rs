//! Payload into its place: what is new goes to the sink, what was there is compared, what came early waits.

use streamdb_types::{Direction, GapKind, Marks, StreamOffset};

use crate::held::{Held, Piece, charge};
use crate::holes::Region;
use crate::sink::{Comparison, Sink};
use crate::stream::{Base, Context, Disorder, Stream};

/// A stream that holds no more than this may use the last quarter of what may be held at all.
const LITTLE: usize = 64 << 10;

/// What is known of the bytes being settled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bytes {
    /// Data of the stream.
    Data,
    /// The one byte of a keep-alive: garbage perhaps (RFC 9293 §3.8.4), so it fills no hole and contradicts nothing.
    KeepAlive,
}

impl Stream {
    /// Takes a segment with payload, captured or not, that was located.
    pub(crate) fn receive<S: Sink>(&mut self, cx: &mut Context<'_, S>, direction: Direction, mut piece: Piece<'_>) {
        self.reaches(piece.wire_end());
        piece = self.within_limit(cx, piece);
        let (start, end, next) = (piece.start, piece.wire_end(), self.next as i64);
        let first_held = self.disorder.as_ref().and_then(|disorder| disorder.queue.first());
        if self.base == Base::Fixed {
            if piece.wire_len == 1 && end == next && self.has_all_acknowledged() {
                self.place(cx, direction, &piece, Bytes::KeepAlive);
                return;
            }
            let is_beyond = self.fin.is_some_and(|fin| start >= fin);
            if end <= next
                || is_beyond
                || self.is_full()
                || start <= next && first_held.is_none_or(|first| end <= first)
            {
                self.place(cx, direction, &piece, Bytes::Data);
                self.release(cx, direction, false);
                return;
            }
            if start < self.top() {
                self.marks.insert(Marks::REORDERED);
            }
        }
        if !self.may_hold(cx, piece.payload.len()) {
            cx.counters.released_early += 1;
            if self.base != Base::Fixed {
                // This segment has a say in which byte is the first.
                let lowest = first_held.map_or(start, |first| first.min(start));
                self.pick_up_at(lowest);
                piece.start = start.saturating_sub(lowest);
                piece = self.within_limit(cx, piece);
            }
            self.release(cx, direction, true);
            self.place(cx, direction, &piece, Bytes::Data);
            return;
        }
        *cx.held = cx.held.saturating_add(charge(piece.payload.len()));
        self.disorder.get_or_insert_default().queue.push(&piece);
        if self.pick_up_is_due() {
            self.fix_to_lowest();
        }
        self.release(cx, direction, false);
    }

    /// Whether the other side has all that was given, as far as it is seen: before, nobody asks whether it is alive (RFC 9293
    /// §3.8.4), and a byte sent again is one that may differ.
    const fn has_all_acknowledged(&self) -> bool {
        !self.heard || self.acked >= self.next
    }

    /// Whether everything that is kept of the stream came, or what follows did: then nothing waits for anything.
    const fn is_full(&self) -> bool {
        self.next >= self.limit
    }

    /// Takes away what of a segment lies beyond the limit.
    fn within_limit<'a, S: Sink>(&self, cx: &mut Context<'_, S>, piece: Piece<'a>) -> Piece<'a> {
        let limit = i64::try_from(self.limit).unwrap_or(i64::MAX);
        if piece.end() <= limit || piece.payload.is_empty() || self.base != Base::Fixed {
            return piece;
        }
        let room = usize::try_from(limit.saturating_sub(piece.start)).unwrap_or(0);
        let (payload, beyond) = piece.payload.split_at_checked(room).unwrap_or((piece.payload, &[]));
        cx.counters.payload_not_kept += beyond.len() as u64;
        cx.sink.cut(piece.tag, payload);
        Piece { payload, ..piece }
    }

    /// Whether the bounds leave room for one more held segment.
    fn may_hold<S>(&self, cx: &Context<'_, S>, payload: usize) -> bool {
        let charge = charge(payload);
        let (count, charged) =
            self.disorder.as_ref().map_or((0, 0), |disorder| (disorder.queue.len(), disorder.queue.charged()));
        let charged = charged.saturating_add(charge);
        let most = if charged > LITTLE { cx.config.max_held - cx.config.max_held / 4 } else { cx.config.max_held };
        count < cx.config.max_gaps_per_stream.max(1)
            && charged <= cx.config.max_held_per_stream
            && cx.held.saturating_add(charge) <= most
    }

    /// Everything held goes to its place, holes or not.
    pub(crate) fn flush<S: Sink>(&mut self, cx: &mut Context<'_, S>, direction: Direction) {
        self.fix_to_lowest();
        self.release(cx, direction, true);
    }

    /// Held segments go to their places: those that follow on what was given, or all.
    fn release<S: Sink>(&mut self, cx: &mut Context<'_, S>, direction: Direction, all: bool) {
        if self.base != Base::Fixed {
            return;
        }
        while let Some(held) = self.pop(cx, |start, stream| all || start <= stream.next as i64 || stream.is_full()) {
            let mut end = held.piece().end();
            // Nearly always there is no overlap.
            let Some(second) = self.pop(cx, |start, _| start < end) else {
                self.place(cx, direction, &held.piece(), Bytes::Data);
                continue;
            };
            end = end.max(second.piece().end());
            cx.scratch.cluster.extend([held, second]);
            while let Some(held) = self.pop(cx, |start, _| start < end) {
                end = end.max(held.piece().end());
                cx.scratch.cluster.push(held);
            }
            self.place_cluster(cx, direction, end);
        }
    }

    fn pop<S: Sink>(&mut self, cx: &mut Context<'_, S>, wanted: impl FnOnce(i64, &Self) -> bool) -> Option<Held> {
        let first = self.disorder.as_ref()?.queue.first()?;
        if !wanted(first, self) {
            return None;
        }
        let mut held = self.disorder.as_mut()?.queue.pop()?;
        *cx.held = cx.held.saturating_sub(held.charge());
        let kept = self.within_limit(cx, held.piece()).payload.len();
        held.truncate(kept);
        Some(held)
    }

    /// Segments that overlap and reach to `end`: the policy decides, then the winning bytes are placed as one.
    fn place_cluster<S: Sink>(&mut self, cx: &mut Context<'_, S>, direction: Direction, end: i64) {
        let mut scratch = std::mem::take(cx.scratch);
        let next = self.next as i64;
        let to = end.min(self.fin.unwrap_or(i64::MAX));
        let from = scratch.cluster.first().map_or(to, |held| held.piece().start.max(0));
        scratch.equal.clear();
        for held in &scratch.cluster {
            let (inside, ..) = self.inside(cx, &held.piece());
            scratch.equal.push(inside);
        }
        if from < to {
            let overlapped = scratch.resolve(cx.config.overlap, from, to);
            cx.counters.payload_duplicate += overlapped.equal;
            cx.counters.payload_conflicting += overlapped.differing;
            self.marks.insert(Marks::RETRANSMITTED);
            if overlapped.differing > 0 {
                self.marks.insert(Marks::CONFLICT);
            }
            if !self.settle(cx, direction, from as u64, &scratch.bytes, Bytes::Data) {
                // Only the segment that filled the hole before the others reaches into what was given.
                for (held, equal) in scratch.cluster.iter().zip(&mut scratch.equal) {
                    *equal &= held.piece().start >= next;
                }
            }
        }
        for (piece, &equal) in scratch.cluster.iter().map(Held::piece).zip(&scratch.equal) {
            self.cut(piece.end(), piece.wire_end());
            report(cx, direction, &piece, equal);
        }
        scratch.cluster.clear();
        self.limit(cx);
        *cx.scratch = scratch;
    }

    /// One segment, by itself.
    fn place<S: Sink>(&mut self, cx: &mut Context<'_, S>, direction: Direction, piece: &Piece<'_>, kind: Bytes) {
        let (inside, at, bytes) = self.inside(cx, piece);
        let equal = self.settle(cx, direction, at, bytes, kind) && inside;
        if kind == Bytes::Data {
            self.cut(piece.end(), piece.wire_end());
        }
        self.limit(cx);
        report(cx, direction, piece, equal);
    }

    /// The part of a payload that lies in the stream, where it begins, and whether it is all of it; the rest is counted.
    fn inside<'a, S>(&self, cx: &mut Context<'_, S>, piece: &Piece<'a>) -> (bool, u64, &'a [u8]) {
        let Piece { start, payload, .. } = *piece;
        let before = usize::try_from(start.saturating_neg()).unwrap_or(0).min(payload.len());
        let at = u64::try_from(start).unwrap_or(0);
        let bytes = payload.get(before..).unwrap_or_default();
        let room = self.fin.map_or(u64::MAX, |fin| u64::try_from(fin).unwrap_or(0).saturating_sub(at));
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let bytes = bytes.get(..room).unwrap_or(bytes);
        cx.counters.payload_outside += (payload.len() - bytes.len()) as u64;
        (bytes.len() == payload.len(), at, bytes)
    }

    /// Gives what is new of these bytes and compares the rest; whether the stream now has all of them.
    fn settle<S: Sink>(
        &mut self,
        cx: &mut Context<'_, S>,
        direction: Direction,
        start: u64,
        bytes: &[u8],
        kind: Bytes,
    ) -> bool {
        let (mut at, mut bytes, mut equal) = (start, bytes, true);
        while !bytes.is_empty() {
            let below = self.next.saturating_sub(at);
            let region = match (&self.disorder, below) {
                (_, 0) => None,
                (None, _) => Some(Region::Given(below)),
                (Some(disorder), _) => Some(disorder.holes.region(at)),
            };
            let len = match region {
                None => usize::MAX,
                Some(Region::Given(len) | Region::Hole(len) | Region::Closed(len)) => {
                    usize::try_from(len.min(below)).unwrap_or(usize::MAX)
                }
            };
            let (part, rest) = bytes.split_at_checked(len).unwrap_or((bytes, &[]));
            let (len, offset) = (part.len() as u64, StreamOffset(at));
            match region {
                Some(Region::Given(_)) => {
                    let comparison = cx.sink.compare(cx.slot, direction, offset, part);
                    let counter = match comparison {
                        Comparison::Same => &mut cx.counters.payload_duplicate,
                        Comparison::Differs => &mut cx.counters.payload_conflicting,
                        Comparison::Unknown => &mut cx.counters.payload_unchecked,
                    };
                    *counter += len;
                    equal &= comparison == Comparison::Same;
                    if kind == Bytes::Data {
                        self.marks.insert(Marks::RETRANSMITTED);
                        if comparison == Comparison::Differs {
                            self.marks.insert(Marks::CONFLICT);
                        }
                    }
                }
                Some(Region::Closed(_)) => {
                    cx.counters.payload_outside += len;
                    equal = false;
                }
                Some(Region::Hole(_)) if kind == Bytes::KeepAlive => {
                    cx.counters.payload_outside += len;
                    equal = false;
                }
                Some(Region::Hole(_)) => {
                    self.marks.insert(Marks::REORDERED);
                    self.holes(|disorder| disorder.holes.fill(at, at + len));
                    cx.counters.payload_stored += len;
                    cx.sink.data(cx.slot, direction, offset, part);
                }
                None => {
                    let next = self.next;
                    if at > next {
                        self.holes(|disorder| disorder.holes.push(next, at, GapKind::Missing));
                    }
                    self.next = at + len;
                    cx.counters.payload_stored += len;
                    cx.sink.data(cx.slot, direction, offset, part);
                }
            }
            at += len;
            bytes = rest;
        }
        equal
    }

    /// The snap length cut what belongs from `start` to `end`.
    fn cut(&mut self, start: i64, end: i64) {
        let end = end.min(self.fin.unwrap_or(i64::MAX));
        let (start, end) = (u64::try_from(start).unwrap_or(0), u64::try_from(end).unwrap_or(0));
        if start >= end {
            return;
        }
        let next = self.next;
        // What lies beyond the limit is one gap of its own, wherever it comes from.
        let (from, to) = (start.min(self.limit), end.min(self.limit));
        if from < to || from > next {
            self.holes(|disorder| {
                if from > next {
                    disorder.holes.push(next, from, GapKind::Missing);
                }
                disorder.holes.turn_to_cut(from, to.min(next));
                if to > next {
                    disorder.holes.push(from.max(next), to, GapKind::SnapLength);
                }
            });
        }
        self.next = next.max(end);
    }

    fn limit<S>(&mut self, cx: &mut Context<'_, S>) {
        self.limit_holes(cx.config, cx.gaps, cx.counters);
    }

    fn holes(&mut self, change: impl FnOnce(&mut Disorder)) {
        change(self.disorder.get_or_insert_default());
    }
}

/// What became of a frame's payload.
fn report<S: Sink>(cx: &mut Context<'_, S>, direction: Direction, piece: &Piece<'_>, equal: bool) {
    if piece.payload.is_empty() {
        return;
    }
    match u64::try_from(piece.start) {
        Ok(offset) if equal => {
            let len = u32::try_from(piece.payload.len()).unwrap_or(u32::MAX);
            cx.sink.placed(piece.tag, cx.slot, direction, StreamOffset(offset), len);
        }
        _ => cx.sink.kept(piece.tag, piece.payload),
    }
}
