//! Rows to a block.

use std::convert::Infallible;

use streamdb_types::{FrameNumber, LinkType, Timestamp};

use super::block::{NO_TEMPLATE, State};
use super::columns::{Out, RECENT, VERSION, miss, odd, shape, who};
use super::index::Index;
use super::layout::{HEAD, Head, Kind, Layout, sum_offset, zero_sums};
use super::predict::{Side, header, sums};
use super::rows::{Payload, Row, Rows};
use super::slot::{Facts, Past, Peer, Slot};
use super::varint::{put_number, put_varint, zigzag, zigzag16, zigzag32};
use super::{MAX_BLOCK, MAX_CONNECTIONS, MAX_FRAME, MIN_ETHERNET};

/// Makes blocks of rows. What it keeps from one block to the next is memory, nothing else.
pub struct Encoder {
    state: State,
    out: Out,
    index: Index,
    /// Time differences to the row before, in nanoseconds.
    times: Vec<u64>,
    interfaces: Vec<(u32, LinkType)>,
    connections: Vec<u8>,
    scratch: Slot,
    whole: Head,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// An encoder.
    pub fn new() -> Self {
        Self {
            state: State::new(),
            out: Out::default(),
            index: Index::default(),
            times: Vec::new(),
            interfaces: Vec::new(),
            connections: Vec::new(),
            scratch: Slot::new(),
            whole: Head([0; HEAD]),
        }
    }

    /// Makes a block of the rows from number `from` on, into `out` (which is cleared first), and says how many rows it took.
    ///
    /// `first` is the number of the first one's frame; the others follow. The block ends where the next row might make it
    /// longer than about `target` bytes (more than 512 KiB are not taken for it), or after 16,384 connections, but it takes
    /// one row at least; it is never longer than [`MAX_BLOCK`]. It also ends before a row that is pending: 0 is returned when
    /// the very first one is, or when there are no rows.
    pub fn encode(&mut self, rows: &Rows, from: usize, first: FrameNumber, target: usize, out: &mut Vec<u8>) -> usize {
        let target = target.min(MAX_BLOCK - 2 * MAX_FRAME);
        self.state.clear();
        self.out.clear();
        self.index.clear();
        self.times.clear();
        self.interfaces.clear();
        self.connections.clear();
        let rest = rows.from(from);
        let base = rest.first().map_or(Timestamp(0), |row| row.time);
        let (mut last, mut last_connection) = (base, 0);
        let mut taken = 0;
        let mut bound = OUTLINE;
        for row in rest {
            if row.payload == Payload::Pending {
                break;
            }
            let most = most(row);
            if taken > 0 && bound + most > target {
                // The bound is far above what rows mostly take; what they did take says whether this one has room.
                bound = OUTLINE + self.out.len() + self.connections.len() + self.interfaces.len() * 8 + 3 * taken;
                if bound + most > target {
                    break;
                }
            }
            if self.state.connections() >= MAX_CONNECTIONS {
                break;
            }
            bound += most;
            self.row(rows, row, last, &mut last_connection);
            last = row.time;
            taken += 1;
        }
        out.clear();
        if taken > 0 {
            self.finish(taken, base, first, out);
        }
        taken
    }

    /// The block's header and its columns.
    fn finish(&mut self, taken: usize, base: Timestamp, first: FrameNumber, out: &mut Vec<u8>) {
        let unit = |nanos: u64| self.times.iter().all(|t| t % nanos == 0);
        let (code, nanos) = match () {
            () if !unit(1_000) => (0, 1),
            () if !unit(1_000_000) => (1, 1_000),
            () if !unit(1_000_000_000) => (2, 1_000_000),
            () => (3, 1_000_000_000),
        };
        for time in &self.times {
            put_number(&mut self.out.times, &mut self.out.time_bits, time / nanos);
        }
        out.push(VERSION);
        out.push(code);
        out.extend_from_slice(&first.0.to_le_bytes());
        out.extend_from_slice(&base.0.to_le_bytes());
        put_varint(out, taken as u64);
        put_varint(out, self.interfaces.len() as u64);
        for (number, link) in &self.interfaces {
            put_varint(out, u64::from(*number));
            put_varint(out, u64::from(link.0));
        }
        put_varint(out, self.state.connections() as u64);
        out.extend_from_slice(&self.connections);
        let columns = self.out.all();
        for column in columns {
            put_varint(out, column.len() as u64);
        }
        for column in columns {
            out.extend_from_slice(column);
        }
    }

    fn row(&mut self, rows: &Rows, row: &Row, last: Timestamp, last_connection: &mut u32) {
        let backwards = row.time < last;
        self.times.push(row.time.0.abs_diff(last.0));
        let truth = Head::new(rows.slice(row.header_at, row.header_len.min(HEAD as u32)));
        let interface = self.interface(rows, row.interface);
        let link = self.interfaces.get(interface as usize).map_or(LinkType::ETHERNET, |(_, link)| *link);
        let tail = rows.slice(row.header_at, row.header_len).get(HEAD..).unwrap_or_default();

        let slot;
        let mut peer = Peer { next_seq: 0, stamp: 0 };
        let shared;
        let mut keep = None;
        match row.connection {
            Some((conn, direction)) => {
                let turn = direction as u8;
                let index = self.who(conn, turn, last_connection);
                let Some((slots, openers, known)) = self.state.parts(index) else { return };
                let [to_server, to_client] = slots;
                let (own, other) = if turn == 0 { (to_server, to_client) } else { (to_client, to_server) };
                if other.past.seen {
                    peer = other.past.peer();
                }
                if !own.past.seen {
                    if other.past.seen {
                        own.begin_as_peer(other);
                    } else {
                        self.out.from.push(begin(own, openers, &truth, row.header_len));
                        keep = Some(openers);
                    }
                }
                (slot, shared) = (own, known);
            }
            None => {
                self.out.who.push(who::NONE);
                self.out.from.push(begin(&mut self.scratch, &self.state.loose, &truth, row.header_len));
                (slot, shared) = (&mut self.scratch, &mut self.state.shared);
                keep = Some(&mut self.state.loose);
            }
        }

        let mut side = Truth { out: &mut self.out, truth, tail, row, misses: 0, shape: 0, odd: 0 };
        if backwards {
            side.odd |= odd::BACKWARDS;
        }
        let facts = side.facts(rows, slot.header_len, &mut slot.past, interface);
        let Ok(()) = header(&mut side, slot, peer, shared, link, &facts, &mut self.whole);
        side.finish();
        if let Some(templates) = keep {
            templates.push(slot);
        }
    }

    /// Writes down whose frame it is; the connection's index in the block.
    fn who(&mut self, conn: u32, turn: u8, last: &mut u32) -> u32 {
        let next = self.state.connections() as u32;
        let index = self.index.find_or_add(conn, next);
        if index == next {
            put_varint(&mut self.connections, zigzag(i64::from(conn) - i64::from(*last)));
            *last = conn;
            self.state.add_connection(turn);
            self.out.who.push(who::NEW + turn);
            return index;
        }
        let turned = self.state.turn(index).map_or(0, |before| std::mem::replace(before, turn) ^ turn);
        match self.state.recent.rank(index) {
            Some(rank) => {
                self.state.recent.touch(rank);
                self.out.who.push(2 * rank as u8 + turned);
            }
            None => {
                self.state.recent.push(index);
                self.out.who.push(who::OLD + turned);
                put_varint(&mut self.out.index, u64::from(index));
            }
        }
        index
    }

    /// The index of an interface in the block.
    fn interface(&mut self, rows: &Rows, number: u32) -> u32 {
        if let Some(index) = self.interfaces.iter().position(|(known, _)| *known == number) {
            return index as u32;
        }
        self.interfaces.push((number, rows.link(number)));
        self.interfaces.len() as u32 - 1
    }
}

/// The most that the outline of a block takes besides its lists.
const OUTLINE: usize = 256;

/// The most that a row takes: what is not predicted at all, two patches that are all runs, a bit of every column.
fn most(row: &Row) -> usize {
    let head = row.header_len.min(HEAD as u32) as usize;
    let inline = if let Payload::Inline(_) = row.payload { row.payload_len } else { 0 };
    row.header_len as usize - head + inline as usize + row.trailer_len as usize + 4 * head + 128
}

/// Begins a slot from the template that is most like the true header; its number.
fn begin(slot: &mut Slot, templates: &super::block::Templates, truth: &Head, header_len: u32) -> u8 {
    let mut best = (u32::MAX, NO_TEMPLATE, None);
    for (back, template) in templates.iter().enumerate() {
        let other_len = if template.header_len == header_len { 0 } else { 12 };
        let differ = other_len + differing(&template.head, truth);
        if differ < best.0 {
            best = (differ, back as u8, Some(template));
        }
    }
    match best.2 {
        Some(template) => slot.begin_like(template),
        None => *slot = Slot::new(),
    }
    best.1
}

/// How many of the first 64 bytes differ.
fn differing(a: &Head, b: &Head) -> u32 {
    let (Some(a), Some(b)) = (a.0.first_chunk::<64>(), b.0.first_chunk::<64>()) else { return 0 };
    let mut count = 0u8;
    for (a, b) in a.iter().zip(b) {
        count += u8::from(a != b);
    }
    u32::from(count)
}

/// The encoder's side of a row.
struct Truth<'a> {
    out: &'a mut Out,
    truth: Head,
    tail: &'a [u8],
    row: &'a Row,
    misses: u8,
    shape: u8,
    odd: u8,
}

impl Truth<'_> {
    /// Writes down all but the header.
    fn facts(&mut self, rows: &Rows, header_len: u32, slot: &mut Past, interface: u32) -> Facts {
        let (row, out) = (self.row, &mut *self.out);
        let mut offset = None;
        self.shape |= match row.payload_len {
            n if n == slot.payload_len => 0,
            0 => 1,
            n if n == slot.other_len => 2,
            n => {
                put_varint(&mut out.length, u64::from(n));
                3
            }
        };
        if row.header_len != header_len {
            self.odd |= odd::HEADER;
            put_varint(&mut out.header, u64::from(row.header_len));
        }
        if interface != slot.interface {
            self.odd |= odd::INTERFACE;
            put_varint(&mut out.interface, u64::from(interface));
            slot.interface = interface;
        }
        let captured = row.len() as u32;
        if row.wire_len != captured {
            self.odd |= odd::WIRE;
            put_varint(&mut out.wire, zigzag(i64::from(row.wire_len) - i64::from(captured)));
        }
        out.inline.extend_from_slice(self.tail);
        match row.payload {
            Payload::Stream(at) => {
                offset = Some(at.0);
                if at.0 != slot.next_offset {
                    self.shape |= shape::OFFSET;
                    let step = at.0.wrapping_sub(slot.next_offset) as i64;
                    put_number(&mut out.offset, &mut out.bits, zigzag(step));
                }
            }
            Payload::Inline(at) => {
                self.odd |= odd::INLINE;
                out.inline.extend_from_slice(rows.slice(at, row.payload_len));
            }
            Payload::None | Payload::Pending => {}
        }
        let trailer = rows.slice(row.trailer_at, row.trailer_len);
        let room = MIN_ETHERNET.saturating_sub(row.header_len + row.payload_len);
        let padding = trailer.split_at_checked(room as usize).filter(|(pad, _)| pad.iter().all(|b| *b == 0));
        // Where there is no room, a slot that pads goes on padding.
        let (pads, literal) = match padding {
            Some((_, rest)) if room > 0 || slot.trailer & 1 == 1 => (1, rest),
            _ => (0, trailer),
        };
        let code = (literal.len() as u32) << 1 | pads;
        if code != slot.trailer {
            self.odd |= odd::TRAILER;
            put_varint(&mut out.trailer, u64::from(code));
            slot.trailer = code;
        }
        out.inline.extend_from_slice(literal);
        Facts {
            time: row.time,
            header_len: row.header_len,
            payload_len: row.payload_len,
            offset,
            size: row.header_len + row.payload_len + row.wire_len.saturating_sub(captured),
            loose: row.connection.is_none(),
        }
    }

    fn finish(mut self) {
        if self.misses != 0 {
            self.shape |= shape::MISSES;
            self.out.misses.push(self.misses);
        }
        if self.odd != 0 {
            self.shape |= shape::ODD;
            self.out.odd.push(self.odd);
        }
        self.out.shape.push(self.shape);
    }

    /// Writes down where `head` differs from the truth, and makes it true.
    fn runs(&mut self, head: &mut Head, truth: &Head, len: usize) {
        let out = &mut *self.out;
        let (mut count, mut end, mut at) = (0u8, 0, 0);
        let bytes = |from: usize, to: usize| truth.0.get(from..to).unwrap_or_default();
        let differs = |at: usize| head.0.get(at) != truth.0.get(at);
        while at < len {
            if !differs(at) {
                at += 1;
                continue;
            }
            let start = at;
            let mut stop = at + 1;
            // One equal byte between two others costs less than another run.
            while stop < len && (differs(stop) || (stop + 1 < len && differs(stop + 1))) {
                stop += 1;
            }
            out.gaps.push((start - end) as u8);
            out.run_lengths.push((stop - start) as u8);
            out.patches.extend_from_slice(bytes(start, stop));
            count += 1;
            (end, at) = (stop, stop);
        }
        out.runs.push(count);
        *head = *truth;
    }
}

impl Side for Truth<'_> {
    type Error = Infallible;

    fn flags(&mut self, expected: u8, at: u8) -> Result<u8, Infallible> {
        let truth = self.truth.byte(at);
        if truth != expected {
            self.misses |= miss::FLAGS;
            self.out.flags.push(truth);
        }
        Ok(truth)
    }

    fn seq(&mut self, expected: u32, at: u8) -> Result<u32, Infallible> {
        let truth = self.truth.u32(at);
        if truth != expected {
            self.misses |= miss::SEQ;
            put_number(&mut self.out.seq, &mut self.out.bits, zigzag32(truth.wrapping_sub(expected)).into());
        }
        Ok(truth)
    }

    fn ack(&mut self, expected: [u32; 3], at: u8) -> Result<u32, Infallible> {
        let truth = self.truth.u32(at);
        let [last, all, step] = expected;
        let code = match truth {
            n if n == last => 0,
            n if n == all => 1,
            n if n == step => 2,
            n => {
                put_number(&mut self.out.ack, &mut self.out.bits, zigzag32(n.wrapping_sub(last)).into());
                3
            }
        };
        self.shape |= code << shape::ACK_SHIFT;
        Ok(truth)
    }

    fn window(&mut self, expected: u16, at: u8) -> Result<u16, Infallible> {
        let truth = self.truth.u16(at);
        if truth != expected {
            self.misses |= miss::WINDOW;
            let [low, high] = zigzag16(truth.wrapping_sub(expected)).to_le_bytes();
            self.out.window_low.push(low);
            self.out.window_high.push(high);
        }
        Ok(truth)
    }

    fn stamp(&mut self, expected: u32, at: u8) -> Result<u32, Infallible> {
        let truth = self.truth.u32(at);
        if truth != expected {
            self.misses |= miss::STAMP;
            put_number(&mut self.out.stamp, &mut self.out.bits, zigzag32(truth.wrapping_sub(expected)).into());
        }
        Ok(truth)
    }

    fn echo(&mut self, expected: [u32; 2], at: u8) -> Result<u32, Infallible> {
        let truth = self.truth.u32(at);
        let [last, peers] = expected;
        if truth == peers && truth != last {
            self.shape |= shape::ECHO;
        } else if truth != last {
            self.misses |= miss::ECHO;
            put_number(&mut self.out.echo, &mut self.out.bits, zigzag32(truth.wrapping_sub(peers)).into());
        }
        Ok(truth)
    }

    fn id(&mut self, expected: u16, at: u8) -> Result<u16, Infallible> {
        let truth = self.truth.u16(at);
        if truth != expected {
            self.misses |= miss::ID;
            let [low, high] = zigzag16(truth.wrapping_sub(expected)).to_le_bytes();
            self.out.id_low.push(low);
            self.out.id_high.push(high);
        }
        Ok(truth)
    }

    fn patch(&mut self, head: &mut Head, len: usize, layout: &Layout) -> Result<bool, Infallible> {
        // The truth's id and checksums are lent to the head, so that equal means equal in all the rest.
        let id = layout.ipv4.map(|at| (at + 4, head.u16(at + 4)));
        if let Some((at, _)) = id {
            head.put(at, self.truth.u16(at).to_be_bytes());
        }
        for (kind, at) in layout.layers() {
            if let Some(offset) = sum_offset(*kind) {
                head.put(at + offset, self.truth.u16(at + offset).to_be_bytes());
            }
        }
        let differs = *head != self.truth;
        if differs {
            self.misses |= miss::PATCH;
            let truth = self.truth;
            self.runs(head, &truth, len);
        }
        if let Some((at, id)) = id {
            head.put(at, id.to_be_bytes());
        }
        zero_sums(head, layout);
        Ok(differs)
    }

    fn sums(
        &mut self,
        before: u8,
        layout: &Layout,
        at: Option<u8>,
        guess: impl Fn(&mut Self, u8) -> u16,
    ) -> Result<(u8, u16), Infallible> {
        let mut code = before;
        let mut set = |bit: u8, on: bool| code = if on { code | bit } else { code & !bit };
        if let Some(at) = layout.ipv4 {
            set(sums::NO_IPV4, self.truth.u16(at + 10) == 0);
        }
        for (kind, place) in layout.layers() {
            if *kind == Kind::Udp && sum_offset(*kind).map(|o| o + place) != at {
                set(sums::OUTER, self.truth.u16(place + 6) != 0);
            }
        }
        let mut value = 0;
        if let Some(at) = at {
            value = self.truth.u16(at);
            let as_before = before & sums::MASK;
            if as_before == sums::LITERAL || guess(self, as_before) != value {
                let fits = [sums::RIGHT, sums::PSEUDO, sums::ZERO, sums::AS_LAST]
                    .into_iter()
                    .find(|code| *code != as_before && guess(self, *code) == value);
                code = code & !sums::MASK | fits.unwrap_or(sums::LITERAL);
            }
            if code & sums::MASK == sums::LITERAL {
                self.out.sum_bytes.extend_from_slice(&value.to_be_bytes());
            }
        }
        if code != before {
            self.misses |= miss::SUMS;
            self.out.sums.push(code);
        }
        Ok((code, value))
    }

    fn late_patch(&mut self, head: &mut Head, len: usize) -> Result<bool, Infallible> {
        if *head == self.truth {
            return Ok(false);
        }
        self.odd |= odd::LATE_PATCH;
        let truth = self.truth;
        self.runs(head, &truth, len);
        Ok(true)
    }

    fn whole(&self) -> bool {
        true
    }

    fn payload_sum(&mut self) -> u16 {
        self.row.payload_sum
    }

    fn tail(&self) -> &[u8] {
        self.tail
    }
}

const _: () = assert!(2 * RECENT < 200);
