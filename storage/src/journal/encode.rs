//! Rows to a block.

use streamdb_types::{FrameNumber, LinkType, Timestamp};

use super::block::{NO_TEMPLATE, State};
use super::columns::{Out, RECENT, VERSION, who};
use super::index::Index;
use super::layout::{HEAD, Head};
use super::predict::header;
use super::rows::{Payload, Row, Rows};
use super::slot::{Peer, Slot};
use super::truth::Truth;
use super::varint::{put_number, put_varint, zigzag};
use super::{MAX_BLOCK, MAX_CONNECTIONS, MAX_FRAME};

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

        let mut side = Truth::new(&mut self.out, &truth, tail, row, row.time < last);
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

/// So few bytes differ between connections of the same two hosts: ports, numbers, checksums.
const ENOUGH: u32 = 12;

/// Begins a slot from the template that is most like the true header; its number.
fn begin(slot: &mut Slot, templates: &super::block::Templates, truth: &Head, header_len: u32) -> u8 {
    let mut best = (u32::MAX, NO_TEMPLATE, None);
    for (back, template) in templates.iter().enumerate() {
        let other_len = if template.header_len == header_len { 0 } else { 12 };
        let differ = other_len + differing(&template.head, truth);
        if differ < best.0 {
            best = (differ, back as u8, Some(template));
            if differ <= ENOUGH {
                break;
            }
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

const _: () = assert!(2 * RECENT < 200);
