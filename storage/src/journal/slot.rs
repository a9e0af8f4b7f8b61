//! What is remembered of one direction of a connection within a block, and what it lets one expect of the next frame.
//! Both sides learn from the same true bytes, so both expect the same.

use streamdb_types::Timestamp;

use super::layout::{HEAD, Head, Layout, turn};

/// TCP flags (RFC 9293 §3.1).
const FIN: u8 = 1;
const SYN: u8 = 2;
const PSH: u8 = 8;
const ACK: u8 = 16;

const MILLISECOND: u32 = 1_000_000;

/// The clocks of TCP time stamps, in nanoseconds a tick.
const TICKS: [u32; 6] = [1_000, 1_000_000, 4_000_000, 10_000_000, 100_000_000, 500_000_000];

/// One direction of a connection, or a frame without one that others may resemble.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    /// The last header's first bytes with all checksums zero.
    pub(super) head: Head,
    /// The last header's length.
    pub(super) header_len: u32,
    pub(super) layout: Layout,
    pub(super) past: Past,
}

/// What is known of a slot besides its last header.
#[derive(Clone, Copy)]
pub(super) struct Past {
    /// Whether there was a frame.
    pub(super) seen: bool,
    /// Index of the interface.
    pub(super) interface: u32,
    /// Trailer: literal bytes * 2, plus 1 when padded with zeros to 60 bytes before.
    pub(super) trailer: u32,
    /// How checksums are made.
    pub(super) sums: u8,
    /// The last transport checksum.
    pub(super) last_sum: u16,
    /// The last payload length.
    pub(super) payload_len: u32,
    /// The last payload length that was another and not zero.
    pub(super) other_len: u32,
    /// The stream offset after the furthest payload byte.
    pub(super) next_offset: u64,
    /// Sequence number of stream offset 0 (modulo 2^32), once a payload told.
    base_seq: Option<u32>,
    /// The sequence number after the furthest byte.
    pub(super) next_seq: u32,
    ack: u32,
    ack_step: u32,
    /// The last flags without and with payload.
    flags: [u8; 2],
    last_flags: u8,
    id_step: u16,
    outer_step: u16,
    /// Whether the sender counts its ids over all connections.
    host_ids: bool,
    /// The last echoed time stamp.
    pub(super) echo: u32,
    /// The last time stamp.
    pub(super) stamp: u32,
    /// A moment at which the clock was thought to turn to `anchor_stamp`.
    anchor: i64,
    anchor_stamp: u32,
    /// The first time stamp, to learn the clock's rate.
    first: i64,
    first_stamp: u32,
    tick: u32,
}

/// What a frame's header depends on besides the slot.
#[derive(Clone, Copy)]
pub(super) struct Facts {
    pub(super) time: Timestamp,
    pub(super) header_len: u32,
    pub(super) payload_len: u32,
    /// Where the payload lies in the stream, if there.
    pub(super) offset: Option<u64>,
    /// Bytes from the first to the payload's last, as they were on the wire.
    pub(super) size: u32,
    /// Whether the frame has no connection.
    pub(super) loose: bool,
}

/// What the other direction tells.
#[derive(Clone, Copy)]
pub(super) struct Peer {
    pub(super) next_seq: u32,
    pub(super) stamp: u32,
}

impl Slot {
    /// Nothing known.
    pub(super) fn new() -> Self {
        let past = Past {
            seen: false,
            interface: 0,
            trailer: 0,
            sums: 0,
            last_sum: 0,
            payload_len: 0,
            other_len: 0,
            next_offset: 0,
            base_seq: None,
            next_seq: 0,
            ack: 0,
            ack_step: 0,
            flags: [ACK, ACK | PSH],
            last_flags: 0,
            id_step: 1,
            outer_step: 1,
            host_ids: false,
            echo: 0,
            stamp: 0,
            anchor: 0,
            anchor_stamp: 0,
            first: 0,
            first_stamp: 0,
            tick: MILLISECOND,
        };
        Self { head: Head([0; HEAD]), header_len: 0, layout: Layout::default(), past }
    }

    /// Begins a slot like one of another connection.
    pub(super) fn begin_like(&mut self, other: &Self) {
        *self = *other;
        self.past.seen = false;
        // A reader that skips the other connection does not know its checksums.
        self.past.last_sum = 0;
        self.past.base_seq = None;
        self.past.next_offset = 0;
        self.past.ack_step = 0;
    }

    /// Begins a slot as the other direction of `peer`.
    pub(super) fn begin_as_peer(&mut self, peer: &Self) {
        self.begin_like(peer);
        turn(&mut self.head, &self.layout);
        let (past, peer) = (&mut self.past, &peer.past);
        past.next_seq = peer.ack;
        past.ack = peer.next_seq;
        past.flags = if peer.last_flags & (SYN | ACK) == SYN { [SYN | ACK; 2] } else { [ACK, ACK | PSH] };
        past.echo = peer.stamp;
        past.stamp = peer.echo;
        past.anchor_stamp = peer.echo;
        past.tick = MILLISECOND;
        past.id_step = 1;
        past.payload_len = 0;
        past.other_len = 0;
    }
}

impl Past {
    pub(super) fn peer(&self) -> Peer {
        Peer { next_seq: self.next_seq, stamp: self.stamp }
    }

    pub(super) fn expect_flags(&self, facts: &Facts) -> u8 {
        let [without, with] = self.flags;
        if facts.payload_len == 0 { without } else { with }
    }

    pub(super) fn expect_seq(&self, facts: &Facts) -> u32 {
        match (facts.offset, self.base_seq) {
            (Some(offset), Some(base)) => base.wrapping_add(offset as u32),
            _ => self.next_seq,
        }
    }

    /// The acknowledgement numbers to choose from, given the true flags: as last, all that the peer sent, the last step.
    pub(super) fn expect_ack(&self, flags: u8, peer: Peer) -> [u32; 3] {
        if flags & ACK == 0 {
            return [0, peer.next_seq, self.ack];
        }
        [self.ack, peer.next_seq, self.ack.wrapping_add(self.ack_step)]
    }

    pub(super) fn expect_stamp(&self, time: Timestamp) -> u32 {
        let ticks = time.0.saturating_sub(self.anchor).max(0) as u64 / u64::from(self.tick);
        self.anchor_stamp.wrapping_add(ticks as u32)
    }

    pub(super) fn expect_echo(&self, peer: Peer) -> [u32; 2] {
        [self.echo, peer.stamp]
    }

    /// The next IPv4 id, given the slot's last one and that of its sender's last frame.
    pub(super) fn expect_id(&self, last: u16, host: Option<u16>) -> u16 {
        match host {
            Some(host) if self.host_ids => host.wrapping_add(1),
            _ => last.wrapping_add(self.id_step),
        }
    }

    pub(super) fn expect_outer_id(&self, last: u16) -> u16 {
        last.wrapping_add(self.outer_step)
    }

    /// Takes in an id: how its sender counts. Only steps that counters make are believed.
    pub(super) fn learn_id(&mut self, id: u16, last: u16, host: Option<u16>) {
        if let Some(host) = host {
            let away = |expected: u16| (id.wrapping_sub(expected) as i16).unsigned_abs();
            let (own, shared) = (away(last.wrapping_add(self.id_step)), away(host.wrapping_add(1)));
            if own != shared {
                self.host_ids = shared < own;
            }
        }
        if let (true, step @ (0 | 1 | 0x100)) = (self.seen, id.wrapping_sub(last)) {
            self.id_step = step;
        }
    }

    pub(super) fn learn_outer_id(&mut self, id: u16, last: u16) {
        if let (true, step @ (0 | 1 | 0x100)) = (self.seen, id.wrapping_sub(last)) {
            self.outer_step = step;
        }
    }

    /// Takes in the lengths of a frame's payload and where it lay.
    pub(super) fn learn_payload(&mut self, facts: &Facts) {
        if facts.payload_len != self.payload_len {
            if self.payload_len != 0 {
                self.other_len = self.payload_len;
            }
            self.payload_len = facts.payload_len;
        }
        if let Some(offset) = facts.offset {
            self.next_offset = self.next_offset.max(offset.saturating_add(u64::from(facts.payload_len)));
        }
    }

    /// Takes in the fields of a TCP header at `tcp`.
    pub(super) fn learn_tcp(&mut self, head: &Head, tcp: u8, facts: &Facts) {
        let flags = head.byte(tcp + 13);
        let [without, with] = &mut self.flags;
        *(if facts.payload_len == 0 { without } else { with }) = flags;
        self.last_flags = flags;
        let seq = head.u32(tcp + 4);
        if let Some(offset) = facts.offset {
            self.base_seq = Some(seq.wrapping_sub(offset as u32));
        }
        // SYN and FIN take a number each (RFC 9293 §3.4).
        let taken = facts.payload_len + u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        let next = seq.wrapping_add(taken);
        if !self.seen || next.wrapping_sub(self.next_seq) as i32 > 0 {
            self.next_seq = next;
        }
        if flags & ACK != 0 {
            let ack = head.u32(tcp + 8);
            if ack != self.ack {
                self.ack_step = ack.wrapping_sub(self.ack);
                self.ack = ack;
            }
        }
    }

    /// Takes in a time stamp, and with it when the sender's clock turns and how fast it runs.
    pub(super) fn learn_stamp(&mut self, time: Timestamp, stamp: u32) {
        let time = time.0;
        let expected = self.expect_stamp(Timestamp(time));
        let off = stamp.wrapping_sub(expected) as i32;
        self.stamp = stamp;
        if !self.seen {
            (self.first, self.first_stamp) = (time, stamp);
        } else if off.unsigned_abs() >= 2 {
            let elapsed = time.saturating_sub(self.first).max(0) as u64;
            let ticks = u64::from(stamp.wrapping_sub(self.first_stamp));
            if ticks >= 2 && elapsed >= 5_000_000 {
                let seen = elapsed / ticks;
                // The nearest by ratio: below the geometric mean of a clock and the next one it is the former.
                let mut nearest = 500_000_000;
                for pair in TICKS.windows(2) {
                    let &[a, b] = pair else { continue };
                    if u128::from(seen) * u128::from(seen) < u128::from(a) * u128::from(b) {
                        nearest = a;
                        break;
                    }
                }
                self.tick = nearest;
            }
        }
        if off < 0 && off > -2 && self.seen {
            // It has not turned yet; half a tick on is where it is looked for next.
            (self.anchor, self.anchor_stamp) = (time.saturating_sub(i64::from(self.tick / 2)), stamp);
        } else if off != 0 || !self.seen {
            (self.anchor, self.anchor_stamp) = (time, stamp);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the last `of` time stamps of a clock were foreseen, a frame each `gap` nanoseconds with some jitter.
    fn foreseen(tick: u64, gap: u64, of: u64) -> u64 {
        let mut past = Slot::new().past;
        let mut right = 0;
        for i in 0..200 {
            let now = 77_000 + i * gap + (i * i * 7919) % (gap / 10);
            let stamp = (5_000_000_000 + now / tick) as u32;
            let time = Timestamp(1_700_000_000_000_000_000 + now as i64);
            right += u64::from(i >= 200 - of && past.expect_stamp(time) == stamp);
            past.learn_stamp(time, stamp);
            past.seen = true;
        }
        right
    }

    #[test]
    fn clocks_are_learnt() {
        for tick in [1_000_000, 4_000_000, 10_000_000, 100_000_000] {
            for gap in [130_000, 3_700_000, 41_000_000] {
                let right = foreseen(tick, gap, 100);
                assert!(right >= 70, "{right} of 100 stamps of a clock of {tick} ns, a frame each {gap} ns");
            }
        }
    }

    #[test]
    fn ids_are_counted_by_connection_or_by_host() {
        let mut past = Slot::new().past;
        assert_eq!(past.expect_id(7, None), 8);
        past.seen = true;
        past.learn_id(0, 0, None);
        assert_eq!(past.expect_id(0, None), 0, "some always send 0");
        past.learn_id(0x301, 0x201, Some(9));
        assert_eq!(past.expect_id(0x301, Some(9)), 0x401, "some count in the wrong byte order");
        past.learn_id(900, 0x301, Some(898));
        assert_eq!(past.expect_id(900, Some(950)), 951);
        assert_eq!(past.expect_id(900, None), 901 + 0xff);
    }
}
