//! A driver that tells a [`Writer`] of invented conversations as reassembly would, and a simple model of what must come
//! back. What every stream holds is a pure function of its connection, direction and offset.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a helper that fails is a test that fails"
)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;

use streamdb_storage::{
    DiskVolume, FrameFilter, FrameIn, Loss, Packets, Read, Store, Stream, StreamFacts, StreamInfo, Verify, Volume,
    VolumeFile, WriteFolder, Writer, WriterConfig,
};
use streamdb_types::{
    Counters, Direction, Endpoint, Gap, GapKind, Hop, HopKind, Interface, LinkType, Marks, Path as Hops, Protocol,
    Reason, Resolution, StreamOffset, Timestamp, Tuple,
};

/// Whether long runs are wanted.
pub fn soak() -> bool {
    std::env::var_os("STREAMDB_SOAK").is_some_and(|v| v == "1")
}

/// Numbers by chance, the same for the same seed (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
}

/// The bytes of a stream: text, and now and then a stretch of noise.
pub fn content(conn: usize, direction: Direction, offset: u64, len: usize) -> Vec<u8> {
    let salt = (conn as u64) << 48 | (direction as u64) << 40;
    let byte = |at: u64| match at >> 10 & 7 {
        0..=6 => b"GET /index.html HTTP/1.1\r\nHost: example.org\r\n\r\n"[((at + salt) % 47) as usize],
        _ => Random(at ^ salt).next() as u8,
    };
    (offset..offset + len as u64).map(byte).collect()
}

/// What one direction must be.
#[derive(Clone, Debug)]
pub struct StreamModel {
    /// Ranges that were given: start and end; ascending, not touching.
    pub ranges: Vec<(u64, u64)>,
    pub packets: u64,
    pub first: Timestamp,
    pub last: Timestamp,
    pub length: u64,
    pub marks: Marks,
    pub kind: GapKind,
    /// Those that it had a frame in.
    pub buckets: Vec<u64>,
    /// UDP: offset, wire, captured, time.
    pub datagrams: Vec<(u64, u32, u32, Timestamp)>,
}

impl StreamModel {
    fn new(kind: GapKind) -> Self {
        let (first, last) = (Timestamp(0), Timestamp(0));
        let (ranges, datagrams, buckets) = (Vec::new(), Vec::new(), Vec::new());
        Self { ranges, packets: 0, first, last, length: 0, marks: Marks::default(), kind, buckets, datagrams }
    }

    fn give(&mut self, start: u64, end: u64) {
        if start == end {
            return;
        }
        let at = self.ranges.partition_point(|r| r.1 < start);
        let mut new = (start, end);
        while self.ranges.get(at).is_some_and(|r| r.0 <= new.1) {
            let old = self.ranges.remove(at);
            new = (new.0.min(old.0), new.1.max(old.1));
        }
        self.ranges.insert(at, new);
        self.length = self.length.max(end);
    }

    pub fn has(&self, start: u64, end: u64) -> bool {
        self.ranges.iter().any(|r| r.0 <= start && end <= r.1)
    }

    pub fn gaps(&self) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let mut at = 0;
        for (start, end) in self.ranges.iter().copied().chain([(self.length, self.length)]) {
            if at < start {
                gaps.push(Gap { offset: StreamOffset(at), length: start - at, kind: self.kind });
            }
            at = at.max(end);
        }
        gaps
    }

    fn frame(&mut self, time: Timestamp, bucket: u64) {
        if self.buckets.last() != Some(&bucket) {
            self.buckets.push(bucket);
        }
        if self.packets == 0 {
            (self.first, self.last) = (time, time);
        }
        self.packets += 1;
        self.first = self.first.min(time);
        self.last = self.last.max(time);
    }
}

/// What one connection must be.
#[derive(Clone, Debug)]
pub struct ConnModel {
    pub tuple: Tuple,
    pub path: Hops,
    pub streams: [StreamModel; 2],
    /// Bytes of it held out of order: the frame's tag, its place in `frames`, direction, range.
    held: Vec<(u64, Direction, u64, u64)>,
    changed: bool,
    ended: Option<Reason>,
    close: bool,
    /// Its end was said, and nothing came since.
    written: bool,
    /// How its newest record says that it ended.
    pub said: Option<Reason>,
    /// The bucket it was last seen in.
    bucket: u64,
}

/// A frame that must come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameModel {
    pub time: Timestamp,
    pub interface: u32,
    pub wire_len: u32,
    pub data: Vec<u8>,
    pub conn: Option<usize>,
    /// Buckets are counted from 1.
    pub bucket: u64,
}

/// Everything that must come back.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub conns: Vec<ConnModel>,
    pub frames: Vec<FrameModel>,
    pub interfaces: Vec<Interface>,
}

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

/// A run of a stream's bytes, and where it begins.
pub type Run = (u64, Vec<u8>);

/// A whole stream, as it is read: its runs of bytes and its gaps.
pub fn read_all(stream: &Stream, step: usize) -> Result<(Vec<Run>, Vec<Gap>), streamdb_storage::Error> {
    let mut runs: Vec<Run> = Vec::new();
    let mut gaps = Vec::new();
    let mut at = 0;
    let mut buffer = vec![0; step];
    loop {
        match stream.read_at(StreamOffset(at), &mut buffer)? {
            Read::Bytes(n) => {
                assert!(n > 0);
                match runs.last_mut() {
                    Some((start, bytes)) if *start + bytes.len() as u64 == at => bytes.extend_from_slice(&buffer[..n]),
                    _ => runs.push((at, buffer[..n].to_vec())),
                }
                at += n as u64;
            }
            Read::Gap(length, kind) => {
                assert!(length > 0);
                gaps.push(Gap { offset: StreamOffset(at), length, kind });
                at += length;
            }
            Read::End => {
                assert_eq!(at, stream.len().0, "a stream ends before its length");
                return Ok((runs, gaps));
            }
        }
    }
}

/// A disk that nothing waits for.
#[derive(Clone, Copy, Debug)]
pub struct QuickVolume;

#[derive(Debug)]
struct QuickFile(Box<dyn VolumeFile>);

impl Volume for QuickVolume {
    fn create(&self, path: &Path) -> io::Result<Box<dyn VolumeFile>> {
        Ok(Box::new(QuickFile(DiskVolume.create(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn VolumeFile>> {
        Ok(Box::new(QuickFile(DiskVolume.open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        DiskVolume.rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        DiskVolume.unlink(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        DiskVolume.list(folder)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        DiskVolume.create_dir(path)
    }
}

impl VolumeFile for QuickFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn flush_behind(&self, _: u64, _: u64) {}

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.truncate(len)
    }
}

/// All streams of a store, and what could not be read.
pub fn list(store: &Store) -> (Vec<StreamInfo>, Vec<streamdb_storage::Error>) {
    let (mut streams, mut errors) = (Vec::new(), Vec::new());
    store
        .streams(
            &mut |info| {
                streams.push(info);
                Ok(())
            },
            &mut |error| errors.push(error),
        )
        .unwrap();
    (streams, errors)
}

/// A frame as the store gives it, in the model's terms; the connection is not told.
pub fn frame_of(model: &Model, frame: &streamdb_storage::StoredFrame<'_>) -> FrameModel {
    let interface = model.interfaces.iter().position(|i| i == &**frame.interface).unwrap() as u32;
    FrameModel {
        time: frame.time,
        interface,
        wire_len: frame.wire_len,
        data: frame.data.to_vec(),
        conn: None,
        bucket: 0,
    }
}

/// A frame without what the store does not tell of it.
pub fn bare(frame: &FrameModel) -> FrameModel {
    FrameModel { conn: None, bucket: 0, ..frame.clone() }
}

/// Holds a whole store against the model.
pub fn check(folder: &Path, model: &Model, packets: Packets) {
    let store = Store::open(folder).unwrap();
    let verified = store.verify(Verify::Deep, &mut |_, _| {}).unwrap();
    assert_eq!(verified.findings, []);
    assert_eq!(verified.frames, model.frames.len() as u64);
    let (infos, errors) = list(&store);
    assert!(errors.is_empty(), "{errors:?}");
    let mut seen = BTreeMap::new();
    for info in infos {
        let port = info.tuple.client.port;
        let number = usize::from(port - 1024);
        let conn = &model.conns[number];
        let model_stream = info.direction.of(&conn.streams);
        assert!(seen.insert((port, info.direction), info.key).is_none(), "{port} is listed twice");
        assert_eq!(info.tuple, conn.tuple);
        assert_eq!(info.path, conn.path);
        assert_eq!(
            (info.packets, info.first, info.last, info.length.0, info.marks),
            (model_stream.packets, model_stream.first, model_stream.last, model_stream.length, model_stream.marks),
            "connection {number} {:?}",
            info.direction
        );
        assert_eq!(info.reason, conn.said, "connection {number} {:?}", info.direction);
        let stream = store.stream(info.oid).unwrap();
        let newest = store.newest(info.key, info.direction).unwrap().unwrap();
        assert_eq!(stream.info(), newest.info());
        let step = if number % 2 == 0 { 1 << 20 } else { 1000 };
        if let Some(peer) = info.peer {
            let peer = store.stream(peer).unwrap();
            assert_eq!((peer.info().key, peer.info().direction), (info.key, info.direction.flip()));
        }
        let (runs, gaps) = read_all(&stream, step).unwrap();
        assert!(stream.gaps() == model_stream.gaps(), "gaps of connection {number} {:?}", info.direction);
        assert!(gaps == model_stream.gaps(), "gaps as read of connection {number}");
        let ranges: Vec<_> = runs.iter().map(|(at, bytes)| (*at, at + bytes.len() as u64)).collect();
        assert!(ranges == model_stream.ranges, "connection {number} {:?}", info.direction);
        for (at, bytes) in &runs {
            assert!(content(number, info.direction, *at, bytes.len()) == *bytes, "wrong bytes in run at {at}");
        }
        let mut frames = Vec::new();
        store
            .stream_frames(&stream, &mut |frame| {
                frames.push(frame_of(model, frame));
                Ok(())
            })
            .unwrap();
        let is_its = |f: &&FrameModel| f.conn == Some(number) && model_stream.buckets.contains(&f.bucket);
        let expected: Vec<_> = model.frames.iter().filter(is_its).map(bare).collect();
        if packets == Packets::Off {
            assert!(frames.is_empty());
        }
        assert!(frames == expected, "frames of {number}: {} and not {}", frames.len(), expected.len());
    }
    for (number, conn) in model.conns.iter().enumerate() {
        for direction in Direction::BOTH {
            let there = seen.contains_key(&(1024 + number as u16, direction));
            assert_eq!(there, direction.of(&conn.streams).packets > 0, "connection {number} {direction:?}");
        }
    }
    let mut at = 0;
    store
        .frames(&FrameFilter::default(), &mut |frame| {
            let expected = &model.frames[at];
            assert_eq!(frame.connected, expected.conn.is_some());
            assert_eq!(frame_of(model, frame), bare(expected), "frame {at}");
            at += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(at, model.frames.len());
}

/// The bytes of all buckets, by name.
pub fn bucket_bytes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(folder.join("buckets"))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
        })
        .collect()
}
