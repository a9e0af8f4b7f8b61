//! One direction of a TCP connection: where its bytes belong.

use streamdb_decode::TcpSegment;
use streamdb_types::{Counters, Direction, Gap, GapKind, Marks, SeqNum, StreamOffset, Timestamp};

use crate::config::Config;
use crate::doubts::{Doubts, Located, Sign};
use crate::held::{Queue, Scratch};
use crate::holes::Holes;
use crate::sink::{FrameTag, Sink, Slot, StreamState};

/// A segment that lies further than this from the bytes known is not of this stream (RFC 7323 §2.3: no window is larger).
const FAR: i64 = 1 << 30;
/// How far beyond the bytes known an acknowledgement is believed, and a segment beyond the window.
pub(crate) const SLACK: i64 = 16 << 20;
/// So many holes each stream may have whatever the others have: who fills the table of holes takes nobody else's retransmissions.
const OWN_HOLES: usize = 8;
/// At a pick-up in the middle this much is held until the first byte is decided ...
const PICK_UP_BYTES: usize = 64 << 10;
/// ... or this many segments.
const PICK_UP_SEGMENTS: usize = 16;

/// What the stream tells, counts and borrows while it takes a frame.
pub(crate) struct Context<'a, S> {
    pub(crate) sink: &'a mut S,
    pub(crate) config: &'a Config,
    pub(crate) counters: &'a mut Counters,
    /// Bytes held for all streams.
    pub(crate) held: &'a mut usize,
    /// Holes known of all streams, beside those that each may have.
    pub(crate) gaps: &'a mut usize,
    pub(crate) scratch: &'a mut Scratch,
    pub(crate) slot: Slot,
}

/// Whether it is known which sequence number offset 0 has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Base {
    /// No frame of the direction came.
    #[default]
    Unseen,
    /// Picked up in the middle: offsets are counted from `origin`, but offset 0 is not decided.
    Tentative,
    /// `origin` is offset 0.
    Fixed,
}

/// What only a stream with losses, reordering or cut frames has.
#[derive(Debug, Default)]
pub(crate) struct Disorder {
    pub(crate) holes: Holes,
    /// How many of them count among those of all streams.
    counted: usize,
    pub(crate) queue: Queue,
}

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// The offset after the furthest byte given (or cut).
    pub(crate) next: u64,
    /// No byte from this offset on is kept: `u64::MAX` unless there is a limit.
    pub(crate) limit: u64,
    /// The sequence number from which offsets are counted; of a direction of which nothing came, the one that the other side first
    /// said it expects.
    origin: u32,
    pub(crate) base: Base,
    /// The shift of the window field; `None` when this side's SYN had no such option or was not seen.
    pub(crate) scale: Option<u8>,
    pub(crate) marks: Marks,
    /// The window that this side offered last, as in a header without SYN.
    window: u16,
    /// Whether the other side acknowledged what this one sent, if only its SYN.
    pub(crate) heard: bool,
    /// Whether it did so before anything of this one came.
    awaited: bool,
    /// The furthest that the other side acknowledged and that can be believed.
    pub(crate) acked: u64,
    /// The offset of the FIN.
    pub(crate) fin: Option<i64>,
    /// Should more than this be acknowledged, a FIN or a reset was not what it seemed.
    pub(crate) end: i64,
    /// What was said of it and may not be so.
    pub(crate) doubts: Option<Box<Doubts>>,
    pub(crate) packets: u64,
    first: Timestamp,
    last: Timestamp,
    pub(crate) disorder: Option<Box<Disorder>>,
}

impl Stream {
    /// A stream of which nothing was seen, and all is kept.
    pub(crate) fn new() -> Self {
        Self { limit: u64::MAX, end: i64::MAX, ..Self::default() }
    }

    /// From now on only the first so many bytes are kept, and those that were given already.
    pub(crate) fn keep_first(&mut self, bytes: u64) {
        self.limit = bytes.max(self.next);
    }

    /// A frame of this direction.
    #[inline]
    pub(crate) fn frame(&mut self, time: Timestamp) {
        if self.packets == 0 {
            self.first = time;
            self.last = time;
        }
        self.packets += 1;
        self.last = self.last.max(time);
    }

    /// The sequence number of the byte expected next.
    #[inline]
    pub(crate) const fn expected(&self) -> SeqNum {
        // Cut on purpose: sequence numbers are offsets modulo 2^32.
        SeqNum(self.origin.wrapping_add(self.next as u32))
    }

    /// The sequence number of offset 0.
    pub(crate) const fn origin(&self) -> SeqNum {
        SeqNum(self.origin)
    }

    /// The offset of a sequence number: of those that it can mean the one nearest to the byte expected next.
    #[inline]
    pub(crate) fn offset_of(&self, seq: SeqNum) -> i64 {
        (self.next as i64).saturating_add(i64::from(seq.distance(self.expected())))
    }

    /// Whether this segment is the next one and nothing about it needs a second look. Its flags are not looked at.
    #[inline]
    pub(crate) fn goes_on_with(&self, segment: &TcpSegment<'_>) -> bool {
        self.base == Base::Fixed
            && segment.seq == self.expected()
            && segment.wire_len as usize == segment.payload.len()
            && self.next.saturating_add(segment.payload.len() as u64) <= self.limit
            && self.fin.is_none()
            && self.disorder.as_ref().is_none_or(|disorder| disorder.queue.is_empty())
    }

    /// Takes the next segment.
    #[inline]
    pub(crate) fn append<S: Sink>(
        &mut self,
        cx: &mut Context<'_, S>,
        direction: Direction,
        tag: FrameTag,
        payload: &[u8],
    ) {
        let offset = StreamOffset(self.next);
        self.next += payload.len() as u64;
        cx.counters.payload_stored += payload.len() as u64;
        cx.sink.data(cx.slot, direction, offset, payload);
        cx.sink.placed(tag, cx.slot, direction, offset, payload.len() as u32);
    }

    /// Whether nothing of it is known but where it begins.
    pub(crate) fn is_blank(&self) -> bool {
        self.next == 0 && self.acked == 0 && self.fin.is_none() && self.disorder.is_none()
    }

    /// The furthest offset of what was given or is held.
    pub(crate) fn top(&self) -> i64 {
        let held = self.disorder.as_ref().and_then(|disorder| disorder.queue.end());
        held.map_or(self.next as i64, |end| end.max(self.next as i64))
    }

    /// The window field of this side's last frame; not scaled in a SYN (RFC 7323 §2.2).
    #[inline]
    pub(crate) const fn offers(&mut self, window: u16) {
        self.window = window;
    }

    /// The window that `receiver` offers to this side, in bytes; `None` when its scale is not known.
    pub(crate) fn window_of(&self, receiver: &Self) -> Option<i64> {
        if !self.marks.contains(Marks::SYN) || !receiver.marks.contains(Marks::SYN) {
            return None;
        }
        // RFC 7323 §2.2: both sides must have sent the option; §2.3: at most 14.
        let shift = if self.scale.is_some() { receiver.scale.unwrap_or(0).min(14) } else { 0 };
        Some(i64::from(receiver.window) << shift)
    }

    /// The other side, whose window is the receiver's, has acknowledged everything before this.
    #[inline]
    pub(crate) fn acknowledged(&mut self, ack: SeqNum, receiver: &Self) -> Sign {
        if self.doubts.is_some() && self.is_elsewhere_by(ack) {
            return Sign::Elsewhere;
        }
        let offset = self.offset_of(ack);
        if !self.heard {
            self.hear(ack, offset);
        }
        if offset > self.acked as i64 && self.base == Base::Fixed {
            if offset > self.next as i64 && !self.may_be_acknowledged(offset, ack, receiver) {
                return Sign::None;
            }
            self.acked = offset as u64;
            if offset > self.end && self.goes_on_by(offset) {
                return Sign::GoesOn;
            }
        }
        Sign::None
    }

    /// The other side acknowledged this, and nothing that can be believed before.
    #[inline(never)]
    fn hear(&mut self, ack: SeqNum, offset: i64) {
        if self.base == Base::Unseen && !self.awaited {
            (self.origin, self.awaited) = (ack.0, true);
        }
        self.heard = self.base == Base::Fixed && self.packets > 0 && (0..=self.top()).contains(&offset);
    }

    /// Whether this is the number before what the other side expects of this one, or somewhat earlier.
    pub(crate) fn is_awaited_after(&self, first: SeqNum) -> bool {
        self.awaited && (0..1 << 16).contains(&self.origin().distance(first))
    }

    /// Whether a sequence number of this side is what the other side, whose window is given, expects or would take
    /// (RFC 9293 §3.10.7.4).
    pub(crate) fn in_window(&self, seq: SeqNum, receiver: &Self) -> bool {
        let window = self.window_of(receiver).unwrap_or(i64::from(receiver.window));
        let (low, high) = match self.base {
            Base::Unseen => return true,
            // Only an acknowledgement was seen, or what is held.
            Base::Tentative => (-SLACK, self.top().saturating_add(SLACK)),
            Base::Fixed => {
                let acked = if self.acked > 0 { self.acked.min(self.next) } else { self.next };
                (acked as i64, self.top().max(self.acked as i64).max(self.fin.map_or(0, |fin| fin.saturating_add(1))))
            }
        };
        let offset = self.offset_of(seq);
        low <= offset && offset <= high.saturating_add(window)
    }

    /// A frame without payload, SYN and FIN: where the numbers are, if nothing else is known.
    pub(crate) fn note(&mut self, seq: SeqNum) {
        if self.base == Base::Unseen {
            self.base = Base::Tentative;
            self.origin = seq.0;
        }
    }

    /// Of two first bytes, both known, this is the one.
    pub(crate) const fn begin_at(&mut self, first: SeqNum) {
        self.origin = first.0;
    }

    /// The first byte has this sequence number.
    pub(crate) fn fix(&mut self, first: SeqNum) {
        if self.base == Base::Tentative {
            let shift = i64::from(first.distance(self.origin()));
            self.fin = self.fin.map(|fin| fin.saturating_sub(shift)).filter(|&fin| fin >= 0);
            self.shift_doubts(shift);
            if let Some(disorder) = &mut self.disorder {
                disorder.queue.rebase(shift);
            }
        }
        self.origin = first.0;
        self.base = Base::Fixed;
        self.look_for_end();
    }

    /// Picked up in the middle: the lowest sequence number held is the first byte's. Nothing when there is none.
    pub(crate) fn fix_to_lowest(&mut self) {
        if self.base != Base::Tentative {
            return;
        }
        let held = self.disorder.as_ref().and_then(|disorder| disorder.queue.first());
        if let Some(lowest) = held.into_iter().chain(self.fin).min() {
            self.pick_up_at(lowest);
        }
    }

    /// Picked up in the middle: what was counted as `lowest` is the first byte.
    pub(crate) fn pick_up_at(&mut self, lowest: i64) {
        // Within 2^31 of the origin, so the cut loses nothing.
        self.fix(self.origin().add(lowest as u32));
        self.marks.insert(Marks::MIDSTREAM);
    }

    /// Where a segment's first byte belongs.
    ///
    /// Two segments far ahead in a row, the second where the first ended, are believed: then it was the capture that lost what
    /// is between. What lies before the first byte, or far behind, can have no place here; but if the other side acknowledges
    /// it, or two in a row go on there and no other side is seen, this is not the connection that is under way.
    pub(crate) fn locate(&mut self, seq: SeqNum, wire_len: u32, receiver: &Self) -> Located {
        if self.doubts.is_some() {
            // The other side is not seen, or not yet.
            self.guess(seq);
        }
        let offset = match self.base {
            Base::Fixed => self.offset_of(seq),
            Base::Unseen | Base::Tentative => {
                if self.disorder.as_ref().is_none_or(|disorder| disorder.queue.is_empty()) && self.fin.is_none() {
                    self.base = Base::Tentative;
                    self.origin = seq.0;
                }
                self.offset_of(seq)
            }
        };
        let limit = self.window_of(receiver).map_or(FAR, |window| window.saturating_add(SLACK).min(FAR));
        let ahead = offset.saturating_sub(self.top());
        // Where the first byte is known no more than a keep-alive comes before it. Picked up in the middle, what overtook does.
        let before = self.base == Base::Fixed
            && !self.marks.contains(Marks::MIDSTREAM)
            && offset.saturating_add(wire_len.into()) < 0;
        if ahead <= limit && ahead > -limit && !before {
            self.no_stray();
            return Located::At(offset);
        }
        if self.base == Base::Fixed {
            self.stray(offset, seq, wire_len, ahead > 0, receiver.packets == 0)
        } else {
            Located::Outside
        }
    }

    /// Whether enough is held to decide about the first byte.
    pub(crate) fn pick_up_is_due(&self) -> bool {
        self.base == Base::Tentative
            && self.disorder.as_ref().is_some_and(|disorder| {
                disorder.queue.len() >= PICK_UP_SEGMENTS || disorder.queue.payload() >= PICK_UP_BYTES
            })
    }

    /// Whether there is a FIN and nothing before it is still to come.
    pub(crate) fn is_finished(&self) -> bool {
        let Some(fin) = self.fin else { return false };
        let complete = self.next as i64 >= fin
            && self.disorder.as_ref().is_none_or(|disorder| !disorder.holes.any_missing() && disorder.queue.is_empty());
        self.base == Base::Fixed && (complete || self.acked as i64 >= fin)
    }

    /// Closes the lowest holes beyond the bounds of this stream and of all.
    pub(crate) fn limit_holes(&mut self, config: &Config, gaps: &mut usize, counters: &mut Counters) {
        let Some(disorder) = &mut self.disorder else { return };
        let others = gaps.saturating_sub(disorder.counted);
        let shared = config.max_gaps.saturating_sub(others).saturating_add(OWN_HOLES);
        let most = config.max_gaps_per_stream.max(1).min(shared);
        counters.closed_gaps += disorder.holes.limit(most);
        disorder.counted = disorder.holes.len().saturating_sub(OWN_HOLES);
        *gaps = others.saturating_add(disorder.counted);
    }

    /// Its connection is closed: its holes are of the past.
    pub(crate) fn let_go(&mut self, gaps: &mut usize) {
        if let Some(disorder) = self.disorder.take() {
            *gaps = gaps.saturating_sub(disorder.counted);
        }
    }

    /// A UDP datagram: its offset, and how many of its captured bytes are kept.
    pub(crate) fn datagram(&mut self, len: u32, wire_len: u32) -> (StreamOffset, u32) {
        let offset = self.next;
        let end = offset.saturating_add(len.into());
        self.next = offset.saturating_add(wire_len.max(len).into());
        let known = self.next.min(self.limit);
        if known > end {
            let holes = &mut self.disorder.get_or_insert_default().holes;
            holes.push(end, known, GapKind::SnapLength);
        }
        let room = u32::try_from(self.limit.saturating_sub(offset)).unwrap_or(u32::MAX);
        (StreamOffset(offset), len.min(room))
    }

    /// The end of the stream as far as it is known; at last, or while frames may still come.
    fn length(&self, is_over: bool) -> u64 {
        match self.fin {
            _ if self.base != Base::Fixed => self.next,
            Some(fin) => self.next.max(u64::try_from(fin).unwrap_or(0)),
            // Of what was acknowledged before it came, the last may turn out to be a FIN, which is no byte.
            None if !is_over => self.next.max(self.acked.saturating_sub(1)),
            None => self.next.max(self.acked),
        }
    }

    /// How the stream stands.
    pub(crate) fn state(&self, state: &mut StreamState, is_over: bool) {
        state.packets = self.packets;
        state.first = self.first;
        state.last = self.last;
        state.marks = self.marks;
        let length = self.length(is_over);
        state.length = StreamOffset(length);
        state.gaps.clear();
        state.closed_gaps = 0;
        if let Some(disorder) = &self.disorder {
            let (missing, cut) = disorder.holes.closed();
            state.closed_gaps = missing + cut;
            state.gaps.extend(disorder.holes.iter());
        }
        let known = length.min(self.limit);
        if known > self.next {
            let length = known - self.next;
            match state.gaps.last_mut() {
                Some(gap) if gap.end().0 == self.next && gap.kind == GapKind::Missing => gap.length += length,
                _ => state.gaps.push(Gap { offset: StreamOffset(self.next), length, kind: GapKind::Missing }),
            }
        }
        state.limited = length > self.limit;
        if state.limited {
            let length = length - self.limit;
            state.gaps.push(Gap { offset: StreamOffset(self.limit), length, kind: GapKind::Cutoff });
        }
    }

    /// Counts the bytes in gaps.
    pub(crate) fn count_gaps(&self, counters: &mut Counters) {
        let length = self.length(true);
        let (mut missing, mut cut) = (length.min(self.limit).saturating_sub(self.next), 0);
        if let Some(disorder) = &self.disorder {
            (missing, cut) = (missing + disorder.holes.closed().0, disorder.holes.closed().1);
            for gap in disorder.holes.iter() {
                *(if gap.kind == GapKind::Missing { &mut missing } else { &mut cut }) += gap.length;
            }
        }
        counters.gap_missing += missing;
        counters.gap_snaplen += cut;
        counters.gap_cutoff += length.saturating_sub(self.limit);
    }
}
