//! What is said of a stream and may not be so: a SYN, a FIN or a reset that never came to the other end, segments of elsewhere.
//!
//! A sensor sees what the other end does not: frames whose TTL is too low to get there, whose checksum is wrong, whom a firewall
//! drops. What the other end takes it acknowledges, so that decides wherever it is seen.

use streamdb_types::{Marks, SeqNum};

use crate::stream::{Base, SLACK, Stream};

/// How far beyond the window that was seen an acknowledgement is believed at once: a later offer of the window may have been lost.
const UNSEEN: i64 = 64 << 10;

/// Where the first byte of a segment belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Located {
    /// At this offset.
    At(i64),
    /// So far away that it is not believed.
    Outside,
    /// In another connection of the same two ends, whose beginning was not seen.
    Elsewhere,
}

/// What an acknowledgement shows beside how far the other side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    None,
    /// The stream was not over, though a FIN or a reset had said so.
    GoesOn,
    /// The other side takes another stream than this one.
    Elsewhere,
}

/// What only a stream has of which something doubtful was seen.
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    /// The first byte's sequence number by another SYN or SYN+ACK: it counts if it is the one that the other side acknowledges.
    rival: Option<u32>,
    /// How many such came.
    rivals: u8,
    /// Whether data decided between them, before the other side said anything.
    guessed: bool,
    /// The first byte's sequence number by a SYN that changed nothing: should it be answered, another connection begins.
    asked: Option<u32>,
    /// Where a segment far ahead ended: should the next one go on there, the stream is there now.
    ahead: Option<u32>,
    /// Where a segment ended that can have no place, as it lies before the first byte, or far behind.
    behind: Option<u32>,
    /// What was acknowledged last beyond what the window allows.
    acked: Option<u32>,
    /// The offset of a second FIN, behind that of the first.
    later_fin: Option<i64>,
    /// The furthest offset when a reset came that was believed.
    reset: Option<i64>,
}

impl Stream {
    fn doubts(&mut self) -> &mut Doubts {
        self.doubts.get_or_insert_default()
    }

    /// Another SYN+ACK answers the same SYN with another first sequence number: two machines behind one address, or one
    /// that forgot its first answer. Or another SYN came before any answer: one of them may never have come to the other end. Which
    /// of the two counts, the other side's acknowledgement tells.
    pub(crate) fn rivalled_by(&mut self, first: SeqNum) {
        let is_blank = self.is_blank();
        let doubts = self.doubts();
        doubts.asked = Some(first.0);
        if is_blank {
            doubts.rival = Some(first.0);
            doubts.rivals = doubts.rivals.saturating_add(1);
        }
    }

    /// Whether an answer that acknowledges this may be to one of several SYNs. Not all are remembered.
    pub(crate) fn may_begin_at(&self, first: SeqNum) -> bool {
        self.is_blank()
            && self
                .doubts
                .as_ref()
                .is_some_and(|doubts| doubts.rival == Some(first.0) || doubts.rival.is_some() && doubts.rivals > 1)
    }

    /// Whether a SYN came with this number that changed nothing.
    pub(crate) fn was_asked_with(&self, first: SeqNum) -> bool {
        self.origin() != first && self.doubts.as_ref().is_some_and(|doubts| doubts.asked == Some(first.0))
    }

    /// Whether more SYNs came than are remembered, and none was answered yet.
    pub(crate) fn was_asked_often(&self) -> bool {
        self.doubts.as_ref().is_some_and(|doubts| doubts.rivals > 1 && (doubts.guessed || doubts.rival.is_some()))
    }

    fn decide(&mut self, first: SeqNum) {
        if self.may_begin_at(first) {
            self.begin_at(first);
        }
        self.doubts().rival = None;
    }

    /// Data comes before any answer: it is of the SYN that it follows. But the answer may be to another one.
    #[cold]
    pub(crate) fn guess(&mut self, first: SeqNum) {
        if self.doubts.as_ref().is_some_and(|doubts| doubts.rival == Some(first.0)) {
            let before = self.origin();
            self.decide(first);
            let doubts = self.doubts();
            (doubts.asked, doubts.guessed) = (Some(before.0), true);
        }
    }

    /// What an acknowledgement tells of the doubts about this stream; whether it is of another connection.
    #[cold]
    pub(crate) fn is_elsewhere_by(&mut self, ack: SeqNum) -> bool {
        let Some(doubts) = &self.doubts else { return false };
        let elsewhere = self.base == Base::Fixed && doubts.behind == Some(ack.0);
        if doubts.rival.is_some() {
            self.decide(ack);
        }
        elsewhere
    }

    /// Whether so much may have been sent although it was not captured. Beyond what the window allows, and not far, only what
    /// is said twice.
    #[cold]
    pub(crate) fn may_be_acknowledged(&mut self, offset: i64, ack: SeqNum, receiver: &Self) -> bool {
        let top = self.top();
        let furthest = top.saturating_add(SLACK);
        let known = top.max(self.acked as i64);
        let allowed = self.window_of(receiver).map_or(furthest, |window| known.saturating_add(window + UNSEEN));
        if offset <= allowed.min(furthest) {
            return true;
        }
        if offset > furthest {
            return false;
        }
        let before = self.doubts().acked.replace(ack.0);
        before.is_some_and(|before| ack.distance(SeqNum(before)) >= 0)
    }

    /// A segment that lies far from the bytes known, or before the first of them.
    #[cold]
    pub(crate) fn stray(&mut self, offset: i64, seq: SeqNum, wire_len: u32, is_ahead: bool, is_alone: bool) -> Located {
        let end = Some(seq.0.wrapping_add(wire_len));
        let doubts = self.doubts();
        if is_ahead {
            if doubts.ahead.take() == Some(seq.0) {
                return Located::At(offset);
            }
            doubts.ahead = end;
        } else {
            if is_alone && doubts.behind == Some(seq.0) {
                return Located::Elsewhere;
            }
            doubts.behind = end;
        }
        Located::Outside
    }

    /// A segment lies where it should.
    pub(crate) fn no_stray(&mut self) {
        if let Some(doubts) = &mut self.doubts {
            doubts.ahead = None;
        }
    }

    /// A FIN at this offset; whether it is the first. Only one that lies not before what was given, waits, or was acknowledged
    /// counts. Of two the first in the stream counts until more is sent or acknowledged.
    pub(crate) fn finish_at(&mut self, offset: i64) -> bool {
        let held = self.disorder.as_ref().and_then(|disorder| disorder.queue.end());
        let known = self.next.max(self.acked.saturating_sub(1)) as i64;
        let possible = held.is_none_or(|end| offset >= end) && (self.base != Base::Fixed || offset >= known);
        if !possible {
            return false;
        }
        let Some(fin) = self.fin else {
            self.fin = Some(offset);
            self.marks.insert(Marks::FIN);
            self.look_for_end();
            return true;
        };
        if fin != offset && !self.has_acknowledged_fin(fin) {
            self.marks.insert(Marks::CONFLICT);
            self.fin = Some(fin.min(offset));
            self.doubts().later_fin = Some(fin.max(offset));
            self.look_for_end();
        }
        false
    }

    /// Payload reaches to `end`. Nobody sends any after a FIN (RFC 9293 §3.6), so one that the other side did not acknowledge is
    /// not believed any more.
    #[inline]
    pub(crate) fn reaches(&mut self, end: i64) {
        if let Some(fin) = self.fin
            && end > fin
            && !self.has_acknowledged_fin(fin)
        {
            self.take_back_fin(end);
        }
    }

    fn has_acknowledged_fin(&self, fin: i64) -> bool {
        self.base == Base::Fixed && self.acked as i64 > fin
    }

    /// The stream goes on to `end` at least.
    #[cold]
    fn take_back_fin(&mut self, end: i64) {
        self.marks.insert(Marks::CONFLICT);
        self.fin = self.doubts.as_mut().and_then(|doubts| doubts.later_fin.take()).filter(|&fin| fin >= end);
        self.look_for_end();
    }

    /// A reset with this number was believed.
    pub(crate) fn reset_at(&mut self, seq: SeqNum) {
        if self.base == Base::Fixed {
            let fin = self.fin.map_or(0, |fin| fin.saturating_add(1));
            let furthest = self.top().max(self.offset_of(seq)).max(fin);
            self.doubts().reset = Some(furthest);
            self.look_for_end();
        }
    }

    /// More was acknowledged than a FIN or a reset left room for: whether the stream goes on.
    #[cold]
    pub(crate) fn goes_on_by(&mut self, acked: i64) -> bool {
        let mut goes_on = false;
        if self.fin.is_some_and(|fin| acked > fin.saturating_add(1)) {
            self.take_back_fin(acked.saturating_sub(1));
            goes_on = true;
        }
        // What was captured after the reset, and taken. What is acknowledged and was not captured may have been sent before.
        let top = self.top();
        if let Some(doubts) = &mut self.doubts
            && doubts.reset.is_some_and(|reset| reset < acked && acked <= top)
        {
            doubts.reset = None;
            self.marks.insert(Marks::BAD_RST);
            goes_on = true;
        }
        self.look_for_end();
        goes_on
    }

    /// From which acknowledgement on something was not what it seemed.
    pub(crate) fn look_for_end(&mut self) {
        let fin = self.fin.filter(|_| self.base == Base::Fixed).map(|fin| fin.saturating_add(1));
        let reset = self.doubts.as_ref().and_then(|doubts| doubts.reset);
        self.end = fin.into_iter().chain(reset).min().unwrap_or(i64::MAX);
    }

    /// Offsets are counted from another byte.
    pub(crate) fn shift_doubts(&mut self, shift: i64) {
        if let Some(doubts) = &mut self.doubts {
            doubts.later_fin = doubts.later_fin.map(|fin| fin.saturating_sub(shift)).filter(|&fin| fin >= 0);
        }
    }
}
