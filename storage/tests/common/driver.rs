//! Works a writer as reassembly does, and keeps the model beside it.

use std::path::Path;
use std::sync::Arc;

use streamdb_storage::{FrameIn, Loss, Packets, StreamFacts, Volume, WriteFolder, Writer, WriterConfig};
use streamdb_types::{
    Counters, Direction, Endpoint, GapKind, Hop, HopKind, Interface, LinkType, Marks, Path as Hops, Protocol, Reason,
    Resolution, StreamOffset, Timestamp, Tuple,
};

use super::model::{ConnModel, FrameModel, Model, StreamModel};
use super::{QuickVolume, Random, content};

/// What a segment's offset is.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// The next one.
    Next,
    /// So many bytes further on.
    Skip(u32),
    /// Into the first hole.
    Fill,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum Op {
    /// A TCP segment with new bytes; `held`: they are given at the next flush.
    Segment { slot: usize, direction: Direction, place: Place, len: u32, held: bool, trailer: u8 },
    /// Many full segments.
    Bulk { slot: usize, direction: Direction, segments: u32 },
    /// A segment without bytes.
    Ack { slot: usize, direction: Direction },
    /// Old bytes again.
    Again { slot: usize, direction: Direction, back: u32, len: u32, differs: bool },
    /// A segment in two IP fragments.
    Fragments { slot: usize, direction: Direction, len: u32 },
    /// A UDP datagram; `cut` of its bytes were not captured.
    Datagram { slot: usize, direction: Direction, len: u32, cut: u32 },
    /// A frame of no connection.
    Loose { len: u32 },
    /// Secrets or names.
    Attachment { kind: Option<u32>, len: u32 },
    /// Frames were dropped.
    Loss,
    /// Checkpoints and commit.
    Flush,
    /// A connection ends.
    End { slot: usize, reason: Reason },
    /// And is forgotten at the next flush.
    Close { slot: usize },
    /// The bucket ends.
    EndBucket,
    /// Time goes on, or back.
    Time(i64),
}

/// Slots from here on are UDP.
pub const UDP_SLOTS: usize = 5;
/// Slots in all.
pub const SLOTS: usize = 7;
/// The most bytes of a stream.
const LONGEST: u64 = 24 << 20;
const HEADER: usize = 54;

/// Tells the writer and keeps the model.
pub struct Driver {
    pub writer: Writer,
    pub model: Model,
    slots: [Option<usize>; SLOTS],
    packets: Packets,
    pub time: Timestamp,
    bucket: u64,
    random: Random,
    interfaces: Vec<u32>,
    counters: Counters,
}

impl Driver {
    pub fn new(folder: &Path, config: WriterConfig) -> Self {
        Self::on(folder, config, Box::new(QuickVolume))
    }

    pub fn on(folder: &Path, config: WriterConfig, volume: Box<dyn Volume>) -> Self {
        let folder = Arc::new(WriteFolder::open(folder, volume).unwrap());
        let packets = config.packets;
        let mut writer = Writer::new(folder, 0, config).unwrap();
        let plain = Interface {
            link_type: LinkType::ETHERNET,
            snap_length: 262_144,
            resolution: Resolution::NANOS,
            time_offset: 0,
            fcs_length: None,
            options: Vec::new(),
        };
        let named =
            Interface { options: vec![2, 0, 4, 0, b'e', b't', b'h', b'0'], fcs_length: Some(4), ..plain.clone() };
        let interfaces = [&plain, &named].map(|i| writer.interface(i)).to_vec();
        Self {
            writer,
            model: Model { interfaces: vec![plain, named], ..Model::default() },
            slots: [None; SLOTS],
            packets,
            time: Timestamp::new(1_330_674_711, 46_917),
            bucket: 1,
            random: Random(7),
            interfaces,
            counters: Counters::default(),
        }
    }

    /// A connection's number, whether it is new.
    fn conn(&mut self, slot: usize) -> (usize, bool) {
        if let Some(conn) = self.slots[slot] {
            return (conn, false);
        }
        let number = self.model.conns.len();
        let udp = slot >= UDP_SLOTS;
        let port = 1024 + number as u16;
        let mut path = Hops::EMPTY;
        if number % 3 == 1 {
            assert!(path.push(Hop { kind: HopKind::Vlan, id: 7 + number as u32 }));
        }
        let (client, server) = match number % 4 {
            3 => ("fd00::5".parse().unwrap(), "2001:db8::80".parse().unwrap()),
            _ => ("10.0.0.5".parse().unwrap(), "203.0.113.9".parse().unwrap()),
        };
        let tuple = Tuple {
            protocol: if udp { Protocol::UDP } else { Protocol::TCP },
            client: Endpoint::new(client, port),
            server: Endpoint::new(server, if udp { 53 } else { 80 }),
        };
        let kinds = [GapKind::Missing, GapKind::SnapLength, GapKind::Shed, GapKind::Cutoff];
        self.model.conns.push(ConnModel {
            tuple,
            path,
            streams: [0, 1].map(|d| StreamModel::new(kinds[(number + d) % 4])),
            held: Vec::new(),
            changed: false,
            ended: None,
            close: false,
            written: false,
            said: None,
            bucket: 0,
        });
        self.slots[slot] = Some(number);
        (number, true)
    }

    fn frame(
        &mut self,
        conn: Option<(usize, Direction)>,
        data: Vec<u8>,
        payload: (usize, usize),
        more: u32,
        tcp: bool,
    ) -> u64 {
        self.time = self.time.plus(self.random.below(900_000) as i64);
        let interface = self.random.below(2) as usize;
        let wire_len = data.len() as u32 + more;
        let (payload_at, payload_len) = payload;
        let input = FrameIn {
            time: self.time,
            interface: self.interfaces[interface],
            wire_len,
            data: &data,
            payload_at,
            payload_len,
            is_tcp: tcp,
        };
        let tag = self.writer.frame(&input).unwrap();
        let wanted = match self.packets {
            Packets::Full => true,
            Packets::Tcp => tcp,
            Packets::Off => false,
        };
        if wanted {
            let conn = conn.map(|c| c.0);
            let (time, interface, bucket) = (self.time, interface as u32, self.bucket);
            self.model.frames.push(FrameModel { time, interface, wire_len, data, conn, bucket });
        }
        if let Some((conn, direction)) = conn {
            let conn = &mut self.model.conns[conn];
            direction.of_mut(&mut conn.streams).frame(self.time, self.bucket);
            conn.changed = true;
            conn.bucket = self.bucket;
            conn.said = None;
            conn.written = false;
        }
        self.counters.frames += 1;
        tag
    }

    fn header(&mut self, conn: usize, direction: Direction, offset: u64, flags: u8) -> Vec<u8> {
        let tuple = self.model.conns[conn].tuple;
        let (from, to) = tuple.ends(direction);
        let mut h = vec![2, 0, 0, 0, 0, 1 + direction as u8, 2, 0, 0, 0, 0, 2 - direction as u8, 8, 0];
        h.extend([0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, tuple.protocol.0, 0, 0, 10, 0, 0, 5, 203, 0, 113, 9]);
        h.extend(from.port.to_be_bytes());
        h.extend(to.port.to_be_bytes());
        h.extend((offset as u32).wrapping_add(77).to_be_bytes());
        h.extend([0, 0, 0, 9, 0x50, flags, 1, 2, self.random.below(3) as u8, 4, 0, 0]);
        if self.random.below(10) == 0 {
            let at = self.random.below(HEADER as u64) as usize;
            h[at] ^= 1 << self.random.below(8);
        }
        h
    }

    fn open(&mut self, slot: usize, conn: usize, new: bool) {
        if new {
            let model = &self.model.conns[conn];
            let (tuple, path) = (model.tuple, model.path);
            self.writer.opened(slot as u32, &tuple, &path, self.time);
        }
    }

    /// Does one thing.
    pub fn act(&mut self, op: &Op) {
        match *op {
            Op::Segment { slot, direction, place, len, held, trailer } => {
                self.segment(slot, direction, place, len, held, trailer);
            }
            Op::Bulk { slot, direction, segments } => {
                for _ in 0..segments {
                    self.segment(slot, direction, Place::Next, 1448, false, 0);
                }
            }
            Op::Ack { slot, direction } => self.segment(slot, direction, Place::Next, 0, false, 0),
            Op::Again { slot, direction, back, len, differs } => self.again(slot, direction, back, len, differs),
            Op::Fragments { slot, direction, len } => self.fragments(slot, direction, len),
            Op::Datagram { slot, direction, len, cut } => self.datagram(slot, direction, len, cut),
            Op::Loose { len } => {
                let data = content(99, Direction::ToServer, self.time.0.unsigned_abs(), len as usize);
                self.frame(None, data, (0, 0), len / 3, false);
            }
            Op::Attachment { kind, len } => {
                self.writer.attachment(kind, &vec![b'k'; len as usize]).unwrap();
            }
            Op::Loss => {
                let loss = Loss { from: self.time.plus(-1_000), to: self.time, kernel: 300, interface: 2, shed: 1 };
                self.writer.loss(&loss).unwrap();
            }
            Op::Flush => self.flush(),
            Op::End { slot, reason } => {
                if let Some(conn) = self.slots[slot] {
                    let conn = &mut self.model.conns[conn];
                    conn.ended.get_or_insert(reason);
                    conn.changed = true;
                }
            }
            Op::Close { slot } => {
                if let Some(conn) = self.slots[slot] {
                    let conn = &mut self.model.conns[conn];
                    conn.ended.get_or_insert(Reason::Rst);
                    conn.changed = true;
                    conn.close = true;
                }
            }
            Op::EndBucket => self.end_bucket(),
            Op::Time(nanos) => self.time = self.time.plus(nanos),
        }
    }

    fn segment(&mut self, slot: usize, direction: Direction, place: Place, len: u32, held: bool, trailer: u8) {
        let slot = slot % UDP_SLOTS;
        let (conn, new) = self.conn(slot);
        let stream = direction.of(&self.model.conns[conn].streams);
        let end = self.model.conns[conn].held.iter().filter(|h| h.1 == direction).map(|h| h.3).max();
        let end = end.unwrap_or(0).max(stream.length);
        let (offset, len) = match place {
            Place::Next => (end, len.into()),
            Place::Skip(n) => (end + u64::from(n), len.into()),
            Place::Fill => match stream.gaps().first() {
                Some(gap) if self.model.conns[conn].held.is_empty() => {
                    (gap.offset.0 + gap.length / 3, u64::from(len).min(gap.length - gap.length / 3))
                }
                _ => (end, len.into()),
            },
        };
        if offset + len > LONGEST {
            return;
        }
        let bytes = content(conn, direction, offset, len as usize);
        let mut data = self.header(conn, direction, offset, if new { 2 } else { 16 });
        data.extend_from_slice(&bytes);
        data.extend((0..trailer).map(|b| b ^ 0x5a));
        let tag = self.frame(Some((conn, direction)), data, (HEADER, bytes.len()), 0, true);
        self.open(slot, conn, new);
        if held && !new {
            self.model.conns[conn].held.push((tag, direction, offset, offset + len));
        } else if len > 0 {
            self.writer.data(slot as u32, direction, StreamOffset(offset), &bytes).unwrap();
            self.writer.placed(tag, StreamOffset(offset));
            direction.of_mut(&mut self.model.conns[conn].streams).give(offset, offset + len);
        }
        if new {
            direction.of_mut(&mut self.model.conns[conn].streams).marks.insert(Marks::SYN);
        }
        self.writer.belongs(tag, slot as u32, direction);
    }

    fn again(&mut self, slot: usize, direction: Direction, back: u32, len: u32, differs: bool) {
        let slot = slot % UDP_SLOTS;
        let Some(conn) = self.slots[slot] else { return };
        let stream = direction.of(&self.model.conns[conn].streams);
        let offset = stream.length.saturating_sub(back.into());
        let end = (offset + u64::from(len)).min(stream.length);
        if !stream.has(offset, end) || offset == end {
            return;
        }
        let mut bytes = content(conn, direction, offset, (end - offset) as usize);
        if differs {
            bytes[0] ^= 1;
        }
        let mut data = self.header(conn, direction, offset, 16);
        data.extend_from_slice(&bytes);
        let tag = self.frame(Some((conn, direction)), data, (HEADER, bytes.len()), 5, true);
        match self.writer.compare(slot as u32, direction, StreamOffset(offset), &bytes) {
            Some(true) => {
                assert!(!differs, "bytes that differ were said to be the same");
                self.writer.placed(tag, StreamOffset(offset));
            }
            Some(false) => {
                assert!(differs, "equal bytes were said to differ");
                self.writer.kept(tag, &bytes);
            }
            None => self.writer.kept(tag, &bytes),
        }
        self.writer.belongs(tag, slot as u32, direction);
    }

    fn fragments(&mut self, slot: usize, direction: Direction, len: u32) {
        let slot = slot % UDP_SLOTS;
        if self.slots[slot].is_none() {
            self.segment(slot, direction, Place::Next, 3, false, 0);
        }
        let (conn, _) = self.conn(slot);
        if !self.model.conns[conn].held.is_empty() {
            return;
        }
        let offset = direction.of(&self.model.conns[conn].streams).length;
        let bytes = content(conn, direction, offset, len as usize + 16);
        let (one, two) = bytes.split_at(16);
        let mut tags = Vec::new();
        for piece in [one, two] {
            let mut data = self.header(conn, direction, offset, 16);
            data.extend_from_slice(piece);
            tags.push(self.frame(Some((conn, direction)), data, (0, 0), 0, true));
        }
        self.writer.data(slot as u32, direction, StreamOffset(offset), &bytes).unwrap();
        direction.of_mut(&mut self.model.conns[conn].streams).give(offset, offset + bytes.len() as u64);
        let second = StreamOffset(offset + 16);
        self.writer.placed_later(tags[0], HEADER, 16, slot as u32, direction, StreamOffset(offset));
        self.writer.placed_later(tags[1], HEADER, two.len(), slot as u32, direction, second);
        for tag in tags {
            self.writer.belongs(tag, slot as u32, direction);
        }
    }

    fn datagram(&mut self, slot: usize, direction: Direction, len: u32, cut: u32) {
        let slot = UDP_SLOTS + slot % (SLOTS - UDP_SLOTS);
        let (conn, new) = self.conn(slot);
        let offset = direction.of(&self.model.conns[conn].streams).length;
        let bytes = content(conn, direction, offset, len as usize);
        let mut data = self.header(conn, direction, 0, 0);
        data.truncate(42);
        data.extend_from_slice(&bytes);
        let tag = self.frame(Some((conn, direction)), data, (42, bytes.len()), cut, false);
        self.open(slot, conn, new);
        let at = StreamOffset(offset);
        self.writer.datagram(slot as u32, direction, at, &bytes, len + cut, self.time).unwrap();
        if len > 0 {
            self.writer.placed(tag, at);
        }
        let time = self.time;
        let stream = direction.of_mut(&mut self.model.conns[conn].streams);
        stream.give(offset, offset + u64::from(len));
        stream.length = offset + u64::from(len + cut);
        stream.datagrams.push((offset, len + cut, len, time));
        self.writer.belongs(tag, slot as u32, direction);
    }

    /// Gives what is held, says how every connection stands, and has it published.
    pub fn flush(&mut self) {
        for slot in 0..SLOTS {
            let Some(number) = self.slots[slot] else { continue };
            for (tag, direction, start, end) in std::mem::take(&mut self.model.conns[number].held) {
                if start < end {
                    let bytes = content(number, direction, start, (end - start) as usize);
                    self.writer.data(slot as u32, direction, StreamOffset(start), &bytes).unwrap();
                    self.writer.placed(tag, StreamOffset(start));
                    direction.of_mut(&mut self.model.conns[number].streams).give(start, end);
                }
            }
            let conn = &mut self.model.conns[number];
            if !std::mem::take(&mut conn.changed) {
                continue;
            }
            let gaps = conn.streams.each_ref().map(StreamModel::gaps);
            let [a, b] = [0, 1].map(|d| {
                let stream = &conn.streams[d];
                StreamFacts {
                    packets: stream.packets,
                    first: stream.first,
                    last: stream.last,
                    length: StreamOffset(stream.length),
                    gaps: &gaps[d],
                    marks: stream.marks,
                    limited: false,
                }
            });
            self.writer.checkpoint(slot as u32, [a, b], conn.ended).unwrap();
            if conn.ended.is_some() && !conn.written && conn.bucket != self.bucket {
                // It ends where it had no frame, and has a part there for that.
                conn.bucket = self.bucket;
                for stream in conn.streams.iter_mut().filter(|stream| stream.packets > 0) {
                    stream.buckets.push(self.bucket);
                }
            }
            conn.written = conn.ended.is_some();
            if conn.bucket == self.bucket {
                conn.said = conn.ended;
            }
            if conn.close {
                self.writer.closed(slot as u32);
                self.slots[slot] = None;
            }
        }
        self.writer.commit().unwrap();
    }

    pub fn end_bucket(&mut self) {
        self.flush();
        self.writer.end_bucket(&self.counters).unwrap();
        for conn in &mut self.model.conns {
            if conn.bucket == self.bucket && conn.said.is_none() {
                // It goes on; if it never does, it fell silent.
                conn.said = Some(Reason::TimeCutoff);
            }
        }
        self.bucket += 1;
    }

    /// The end of the run.
    pub fn finish(mut self) -> Model {
        self.flush();
        for conn in self.slots.iter().flatten() {
            let conn = &mut self.model.conns[*conn];
            conn.ended.get_or_insert(Reason::Exiting);
            conn.changed = true;
        }
        self.flush();
        for conn in &mut self.model.conns {
            if conn.bucket == self.bucket && conn.said.is_none() {
                conn.said = Some(Reason::TimeCutoff);
            }
        }
        self.writer.finish(&self.counters).unwrap();
        self.model
    }
}
