//! The state of a connection: how it opens, ends, and whether a SYN or a reset is believed.
//!
//! Read before changing anything here: RFC 9293 §3.3.2 (states), §3.5 (opening, simultaneous open, resets), §3.6
//! (closing), §3.10.7 (arriving segments); RFC 5961 §3-4 (blind resets and SYNs); RFC 6191 (a new SYN in TIME-WAIT);
//! RFC 7323 §2 (window scale); RFC 7413 (data in a SYN).

use streamdb_decode::{TcpFlags, TcpSegment};
use streamdb_types::{Direction, Marks, Path, Protocol, Reason, SeqNum, Tuple};

use crate::ages::Class;
use crate::doubts::{Located, Sign};
use crate::held::Piece;
use crate::sink::{FrameTag, Keep, Sink};
use crate::stream::{Base, Context, Stream};

/// How far the first byte held may lie behind the SYN for the two to belong together.
const NEAR: i64 = 1 << 20;

/// With so many frames a connection is taken for one even when only one direction is seen.
const MANY: u64 = 16;

/// How a connection stands. A sensor sees less than either end, so these are fewer states than RFC 9293 has.
///
/// ```text
///      SYN or SYN+ACK           any segment without SYN
/// (new) ───────────► Opening ───────────────────► Open ◄─────────── (new) anything else
///                      │  │  FIN                   │  │
///                      │  └──────────► Closing ◄───┘  │ RST in window
///                  RST │                  │ FIN       │
///                      │                  │           │
///                      └────────────────► Ended ◄─────┘
///                        (reason)           │ linger, or a SYN with another number
///                                           ▼
///                                        (closed)
/// ```
///
/// From `Closing` a connection comes to `Ended` at the flush after both FINs, once nothing before them is to come. Time
/// limits close a connection from any state. A FIN or a reset that turns out not to have come to the other end is undone: `Closing`
/// and `Ended` become what they were, or if the sink knows of the end, the connection lives on with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// A SYN was seen, but neither the end of the handshake nor data after it.
    Opening,
    /// Data may flow both ways. UDP flows are always open.
    Open,
    /// At least one FIN was seen.
    Closing,
    /// It is over. Frames may trail.
    Ended(Reason),
}

/// What a SYN is to the connection that has its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syn {
    /// Its first, or the same again.
    Belongs,
    /// It is in the window of a live connection: the other end answers with a challenge ACK (RFC 5961 §4.2), so the
    /// frame is this connection's, but it changes nothing. Outside the window, too, as long as nothing answers it.
    Challenged,
    /// Another connection begins.
    Begins,
}

/// What became of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Taken {
    /// It is this connection's.
    Here,
    /// Nothing, as it is of another connection of the same two ends, whose beginning was not seen.
    Elsewhere,
}

/// A connection, or a UDP flow.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) tuple: Tuple,
    pub(crate) path: Path,
    pub(crate) state: State,
    pub(crate) streams: [Stream; 2],
    pub(crate) hash: u32,
    /// Its place among those that had a frame since the last flush.
    pub(crate) stirred: Option<u32>,
    /// At which age and in which class it was last put at the end of its list.
    pub(crate) touched: Option<(i64, Class)>,
    /// How much of it is kept depends on payload that is still to come.
    pub(crate) undecided: bool,
    /// Whether the sink knows that it is over.
    pub(crate) end_is_said: bool,
    /// Whether it turned out afterwards that it goes on.
    pub(crate) goes_on: bool,
    /// Whether the slot is in use.
    pub(crate) live: bool,
}

impl Connection {
    /// A direction's stream, and the other one.
    #[inline]
    pub(crate) const fn pair(&mut self, direction: Direction) -> (&mut Stream, &mut Stream) {
        let [to_server, to_client] = &mut self.streams;
        match direction {
            Direction::ToServer => (to_server, to_client),
            Direction::ToClient => (to_client, to_server),
        }
    }

    /// How much of it is kept.
    pub(crate) fn decide(&mut self, keep: Keep) {
        self.undecided = keep == Keep::Undecided;
        if let Keep::First(bytes) = keep {
            for stream in &mut self.streams {
                stream.keep_first(bytes);
            }
        }
    }

    /// Which time limit holds for it.
    #[inline]
    pub(crate) fn class(&self) -> Class {
        match self.state {
            State::Ended(_) if !self.goes_on => Class::Ended,
            State::Opening => Class::Opening,
            State::Open if self.tuple.protocol == Protocol::UDP => {
                if self.has_two_ends() || self.is_busy() {
                    Class::Udp
                } else {
                    Class::LoneUdp
                }
            }
            State::Closing => match (self.has_two_ends(), self.is_busy()) {
                (true, _) => Class::Closing,
                (_, true) => Class::BusyClosing,
                _ => Class::LoneClosing,
            },
            State::Open | State::Ended(_) => match (self.has_two_ends(), self.is_busy()) {
                (true, _) => Class::Open,
                (_, true) => Class::BusyOpen,
                _ => Class::LoneOpen,
            },
        }
    }

    /// Whether two ends agreed upon it, which nobody can make up who does not see what the other end sends: over TCP each has
    /// acknowledged the other's numbers. Over UDP both have spoken.
    #[inline]
    fn has_two_ends(&self) -> bool {
        let [to_server, to_client] = &self.streams;
        if self.tuple.protocol == Protocol::UDP {
            to_server.packets > 0 && to_client.packets > 0
        } else {
            to_server.heard && to_client.heard
        }
    }

    /// Where one direction is captured alone, many frames show that it is one, if not for sure.
    #[inline]
    fn is_busy(&self) -> bool {
        let [to_server, to_client] = &self.streams;
        to_server.packets + to_client.packets >= MANY
    }

    /// A TCP segment.
    #[inline]
    pub(crate) fn segment<S: Sink>(
        &mut self,
        cx: &mut Context<'_, S>,
        direction: Direction,
        tag: FrameTag,
        segment: &TcpSegment<'_>,
        syn: Syn,
    ) -> Taken {
        const RARE: u8 = TcpFlags::SYN.0 | TcpFlags::FIN.0 | TcpFlags::RST.0 | TcpFlags::URG.0;
        if segment.flags.0 & RARE != 0 || self.undecided {
            return self.rare_segment(cx, direction, tag, segment, syn);
        }
        if self.state == State::Opening {
            self.state = State::Open;
        }
        let (stream, other) = self.pair(direction);
        let mut sign = Sign::None;
        if segment.flags.contains(TcpFlags::ACK) {
            sign = other.acknowledged(segment.ack, stream);
        }
        if sign == Sign::Elsewhere {
            return Taken::Elsewhere;
        }
        stream.offers(segment.window);
        if segment.payload.is_empty() && segment.wire_len == 0 {
            stream.note(segment.seq);
        } else if stream.goes_on_with(segment) {
            stream.append(cx, direction, tag, segment.payload);
        } else if self.located(cx, direction, &piece(tag, segment), segment.seq) == Taken::Elsewhere {
            return Taken::Elsewhere;
        }
        if sign == Sign::GoesOn {
            self.not_over();
        }
        Taken::Here
    }

    /// Takes payload whose first byte has this sequence number.
    fn located<S: Sink>(
        &mut self,
        cx: &mut Context<'_, S>,
        direction: Direction,
        piece: &Piece<'_>,
        seq: SeqNum,
    ) -> Taken {
        let (stream, other) = self.pair(direction);
        let fin = stream.fin;
        match stream.locate(seq, piece.wire_len, other) {
            Located::At(start) => stream.receive(cx, direction, Piece { start, ..*piece }),
            Located::Outside => outside(cx, piece),
            Located::Elsewhere => return Taken::Elsewhere,
        }
        if fin.is_some() && stream.fin.is_none() {
            self.not_over();
        }
        Taken::Here
    }

    /// A FIN or a reset that had ended it was not for the other end.
    #[cold]
    fn not_over(&mut self) {
        match self.state {
            // What was said to the sink stays said.
            State::Ended(_) if self.end_is_said => self.goes_on = true,
            State::Ended(_) | State::Closing => {
                let closing = self.streams.iter().any(|stream| stream.fin.is_some());
                self.state = if closing { State::Closing } else { State::Open };
            }
            State::Opening | State::Open => {}
        }
    }

    /// Whether it is over, as far as is known.
    const fn is_over(&self) -> bool {
        matches!(self.state, State::Ended(_)) && !self.goes_on
    }

    /// A segment with SYN, FIN, RST or URG, or of a connection of which it is not decided how much is kept.
    #[cold]
    fn rare_segment<S: Sink>(
        &mut self,
        cx: &mut Context<'_, S>,
        direction: Direction,
        tag: FrameTag,
        segment: &TcpSegment<'_>,
        syn: Syn,
    ) -> Taken {
        let flags = segment.flags;
        let piece = piece(tag, segment);
        if flags.contains(TcpFlags::RST) {
            // A reset's payload is a diagnosis (RFC 1122 §4.2.2.12), not of the stream.
            outside(cx, &piece);
            self.reset(direction, segment);
            return Taken::Here;
        }
        let is_syn = flags.contains(TcpFlags::SYN);
        if is_syn && syn != Syn::Belongs {
            self.pair(direction).0.rivalled_by(segment.seq.add(1));
            outside(cx, &piece);
            return Taken::Here;
        }
        if !is_syn && self.state == State::Opening {
            self.state = State::Open;
        }
        if self.undecided && !segment.payload.is_empty() {
            let stream = direction.of(&self.streams);
            let known = !is_syn && stream.base != Base::Unseen;
            let offset = if known { stream.offset_of(segment.seq) } else { 0 };
            if let Ok(offset) = u64::try_from(offset) {
                let keep = cx.sink.look(cx.slot, direction, offset, segment.payload);
                self.decide(keep);
            }
        }
        let (stream, other) = self.pair(direction);
        let mut seq = segment.seq;
        if is_syn {
            // The SYN itself takes a sequence number.
            seq = seq.add(1);
            if stream.base != Base::Fixed || !stream.marks.contains(Marks::SYN) && stream.is_blank() {
                // Even if an acknowledgement had said otherwise: with data in the SYN it lies further on.
                stream.fix(seq);
            }
            stream.marks.insert(Marks::SYN);
            stream.scale = stream.scale.or(segment.window_scale);
            stream.offers(segment.window >> segment.window_scale.unwrap_or(0).min(14));
            if flags.contains(TcpFlags::ACK) && other.base == Base::Unseen {
                // The other SYN was not captured, but this acknowledges it.
                other.fix(segment.ack);
            }
            if piece.wire_len > 0 {
                stream.marks.insert(Marks::SYN_DATA);
            }
        } else {
            stream.offers(segment.window);
        }
        let mut sign = Sign::None;
        if flags.contains(TcpFlags::ACK) {
            sign = other.acknowledged(segment.ack, stream);
        }
        if sign == Sign::Elsewhere {
            return Taken::Elsewhere;
        }
        if flags.contains(TcpFlags::URG) {
            stream.marks.insert(Marks::URGENT);
        }
        if flags.contains(TcpFlags::FIN) {
            // The data comes before the FIN, and the FIN takes one sequence number more (RFC 9293 §3.4).
            match stream.locate(seq, piece.wire_len.saturating_add(1), other) {
                Located::At(start) => {
                    let piece = Piece { start, ..piece };
                    let closes = stream.finish_at(piece.wire_end());
                    if piece.wire_len > 0 {
                        stream.receive(cx, direction, piece);
                    }
                    if closes && !matches!(self.state, State::Ended(_)) {
                        self.state = State::Closing;
                    }
                }
                Located::Outside => outside(cx, &piece),
                Located::Elsewhere => return Taken::Elsewhere,
            }
        } else if piece.wire_len > 0 {
            if self.located(cx, direction, &piece, seq) == Taken::Elsewhere {
                return Taken::Elsewhere;
            }
        } else if !is_syn {
            stream.note(seq);
        }
        if sign == Sign::GoesOn {
            self.not_over();
        }
        Taken::Here
    }

    /// What a SYN (or SYN+ACK) is to this connection, which had its last frame `idle` nanoseconds ago.
    pub(crate) fn takes_syn(&mut self, direction: Direction, segment: &TcpSegment<'_>, idle: i64, long: i64) -> Syn {
        let opening = self.state == State::Opening;
        let over = self.is_over() || self.streams.iter().all(|stream| stream.fin.is_some());
        let begins_unless = |kept: bool, as_what: Syn| if kept && !over { as_what } else { Syn::Begins };
        let (stream, other) = self.pair(direction);
        let first = segment.seq.add(1);
        match stream.base {
            // The same again, which RFC 9293 §3.10.7.4 ignores; also after the end.
            Base::Fixed if stream.origin() == first => Syn::Belongs,
            Base::Fixed => {
                // A SYN that was captured after the data that follows it.
                let behind = i64::from(stream.origin().distance(first));
                let unsure = !stream.marks.contains(Marks::SYN) || stream.marks.contains(Marks::MIDSTREAM);
                if unsure && (0..1 << 16).contains(&behind) {
                    return begins_unless(true, Syn::Belongs);
                }
                // Another answer to the SYN that began this connection.
                let answers =
                    segment.flags.contains(TcpFlags::ACK) && other.base == Base::Fixed && segment.ack == other.origin();
                let is_answer = segment.flags.contains(TcpFlags::ACK);
                if is_answer && other.was_asked_with(segment.ack) {
                    return Syn::Begins;
                }
                // A SYN alone may never have come to the other end. Which SYN counts is known by the answer, if any is seen.
                let waits = !is_answer && (opening || other.packets > 0);
                begins_unless(
                    idle < long && (answers || waits || stream.in_window(segment.seq, other)),
                    Syn::Challenged,
                )
            }
            Base::Tentative => {
                let held = stream.disorder.as_ref().and_then(|disorder| disorder.queue.first()).unwrap_or(0);
                let ahead = held.saturating_sub(i64::from(first.distance(stream.origin())));
                begins_unless((0..NEAR).contains(&ahead), Syn::Belongs)
            }
            Base::Unseen if segment.flags.contains(TcpFlags::ACK) => {
                let acked = other.offset_of(segment.ack);
                let decides = other.base != Base::Fixed || other.may_begin_at(segment.ack);
                if !decides && other.was_asked_with(segment.ack) {
                    // Data had decided between two SYNs, and this answers the other one.
                    return Syn::Begins;
                }
                let fits = decides || (0..=other.top().saturating_add(1)).contains(&acked);
                let odd = acked != 0 && !other.marks.contains(Marks::SYN_DATA);
                if !decides && (odd || !fits) && other.was_asked_often() {
                    return Syn::Begins;
                }
                // One that acknowledges what was never sent is answered by a reset (RFC 9293 §3.10.7.3).
                begins_unless(true, if fits { Syn::Belongs } else { Syn::Challenged })
            }
            // Simultaneous open; or both directions of a connection whose first frames changed places; or one that was captured after
            // the answer to what follows it.
            Base::Unseen => {
                let known = other.marks.contains(Marks::SYN) || other.base != Base::Fixed;
                begins_unless(known || stream.is_awaited_after(first), Syn::Belongs)
            }
        }
    }

    /// Whether a SYN that belongs to it shows that the side was taken for the client that is not: without a handshake that was a
    /// guess. What went on for long is what it is, as whoever sends such a SYN then means to confuse.
    pub(crate) fn is_turned_by(&self, direction: Direction, segment: &TcpSegment<'_>) -> bool {
        let to = if segment.flags.contains(TcpFlags::ACK) { Direction::ToClient } else { Direction::ToServer };
        direction != to && self.streams.iter().all(|stream| !stream.marks.contains(Marks::SYN) && stream.top() < NEAR)
    }

    /// The two sides change places.
    pub(crate) const fn turn(&mut self) {
        let Self { tuple, streams: [to_server, to_client], .. } = self;
        std::mem::swap(&mut tuple.client, &mut tuple.server);
        std::mem::swap(to_server, to_client);
    }

    /// A reset.
    fn reset(&mut self, direction: Direction, segment: &TcpSegment<'_>) {
        let over = self.streams.iter().all(|stream| stream.fin.is_some());
        let state = self.state;
        let (stream, other) = self.pair(direction);
        let ack = segment.flags.contains(TcpFlags::ACK).then_some(segment.ack);
        let believed = match stream.base {
            Base::Fixed => stream.in_window(segment.seq, other),
            _ => match ack {
                // The answer to a SYN has no sequence number of its own yet (RFC 9293 §3.5.2, §3.10.7.3).
                Some(ack) if other.base == Base::Fixed => {
                    let slack = if state == State::Opening { 1 } else { NEAR };
                    (0..=other.top().saturating_add(slack)).contains(&other.offset_of(ack))
                }
                None if state == State::Opening => false,
                _ => stream.in_window(segment.seq, other),
            },
        };
        if !believed {
            stream.marks.insert(Marks::BAD_RST);
            return;
        }
        stream.marks.insert(Marks::RST);
        stream.reset_at(segment.seq);
        self.goes_on = false;
        if !matches!(self.state, State::Ended(_)) {
            self.state = State::Ended(if over { Reason::Fin } else { Reason::Rst });
        }
    }

    /// At a flush: whether the connection is over now.
    pub(crate) fn settle_end(&mut self) {
        if (self.state == State::Closing || self.goes_on) && self.streams.iter().all(Stream::is_finished) {
            self.goes_on = false;
            if self.state == State::Closing {
                self.state = State::Ended(Reason::Fin);
            }
        }
    }

    /// Why it ended, should it have to end now for this reason.
    pub(crate) fn end(&mut self, reason: Reason) -> Reason {
        self.settle_end();
        let reason = match self.state {
            State::Ended(reason) => reason,
            State::Closing if self.streams.iter().all(|stream| stream.fin.is_some()) => Reason::Fin,
            State::Opening if reason == Reason::TimeCutoff => Reason::SynTimeout,
            _ => reason,
        };
        self.state = State::Ended(reason);
        reason
    }
}

/// The payload of a segment, not located.
fn piece<'a>(tag: FrameTag, segment: &TcpSegment<'a>) -> Piece<'a> {
    let payload = segment.payload;
    Piece { tag, start: 0, payload, wire_len: segment.wire_len.max(u32::try_from(payload.len()).unwrap_or(u32::MAX)) }
}

/// Payload of no stream.
fn outside<S: Sink>(cx: &mut Context<'_, S>, piece: &Piece<'_>) {
    if !piece.payload.is_empty() {
        cx.counters.payload_outside += piece.payload.len() as u64;
        cx.sink.kept(piece.tag, piece.payload);
    }
}
