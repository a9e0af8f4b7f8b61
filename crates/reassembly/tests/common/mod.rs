//! A sink that keeps everything and holds reassembly to its contract, and short words for conversations.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use streamdb_decode::{TcpFlags, TcpSegment, UdpDatagram};
use streamdb_reassembly::{Comparison, Config, FlowTable, FrameTag, Keep, Opened, Sink, Slot, StreamState};
use streamdb_types::{Direction, Endpoint, GapKind, Marks, Path, Reason, SeqNum, StreamOffset, Timestamp, Tuple};

pub const SECOND: i64 = 1_000_000_000;
pub const SYN: u8 = TcpFlags::SYN.0;
pub const ACK: u8 = TcpFlags::ACK.0;
pub const FIN: u8 = TcpFlags::FIN.0;
pub const RST: u8 = TcpFlags::RST.0;
pub const URG: u8 = TcpFlags::URG.0;

/// What became of a frame's payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    Placed(Direction, u64, u32),
    Kept(Vec<u8>),
}

/// A connection as the sink saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub tuple: Tuple,
    pub opened: Timestamp,
    pub slot: Slot,
    /// Bytes by offset.
    pub bytes: [BTreeMap<u64, u8>; 2],
    pub datagrams: Vec<(Direction, u64, Vec<u8>, u32)>,
    pub states: [StreamState; 2],
    pub ended: Option<Reason>,
    pub checkpoints: usize,
    pub closed: bool,
}

impl Seen {
    /// The bytes of a stream as text, `.` for those that are missing.
    pub fn text(&self, direction: Direction) -> String {
        let bytes = &self.bytes[direction.index()];
        let end = bytes.last_key_value().map_or(0, |(&at, _)| at + 1);
        (0..end).map(|at| bytes.get(&at).map_or('.', |&byte| byte as char)).collect()
    }

    pub fn marks(&self, direction: Direction) -> Marks {
        self.states[direction.index()].marks
    }

    pub fn gaps(&self, direction: Direction) -> Vec<(u64, u64, GapKind)> {
        self.states[direction.index()].gaps.iter().map(|gap| (gap.offset.0, gap.length, gap.kind)).collect()
    }
}

#[derive(Default)]
pub struct Keeper {
    pub seen: Vec<Seen>,
    live: BTreeMap<Slot, usize>,
    pub fates: BTreeMap<FrameTag, Fate>,
    /// Each call in one line, to compare runs.
    pub log: Vec<String>,
    /// 0: nothing is forgotten; otherwise the state of a generator that decides.
    pub forgetful: u64,
    /// Calls of `data`.
    pub pieces: usize,
    /// What is kept of each connection, and after how many looks at its payload that is decided.
    pub keep: Keep,
    pub looks: usize,
    /// What was asked with: direction, offset, payload.
    pub looked: Vec<(Direction, u64, Vec<u8>)>,
    /// What was left of payloads that were cut.
    pub cuts: BTreeMap<FrameTag, Vec<u8>>,
}

impl Keeper {
    fn live(&mut self, slot: Slot) -> &mut Seen {
        let at = self.live[&slot];
        &mut self.seen[at]
    }
}

impl Sink for Keeper {
    fn opened(&mut self, slot: Slot, opened: &Opened) {
        self.log.push(format!("opened {slot:?} {opened:?}"));
        let before = self.live.insert(slot, self.seen.len());
        assert_eq!(before, None, "{slot:?} is in use");
        self.seen.push(Seen {
            tuple: opened.tuple,
            opened: opened.time,
            slot,
            bytes: Default::default(),
            datagrams: Vec::new(),
            states: Default::default(),
            ended: None,
            checkpoints: 0,
            closed: false,
        });
    }

    fn keep(&mut self, _: Slot, _: &Opened) -> Keep {
        if self.looks > 0 { Keep::Undecided } else { self.keep }
    }

    fn look(&mut self, slot: Slot, direction: Direction, offset: u64, payload: &[u8]) -> Keep {
        self.log.push(format!("look {slot:?} {direction:?} {offset:?} {payload:?}"));
        assert!(!payload.is_empty());
        self.looked.push((direction, offset, payload.to_vec()));
        if self.looked.len() < self.looks { Keep::Undecided } else { self.keep }
    }

    fn cut(&mut self, tag: FrameTag, bytes: &[u8]) {
        self.log.push(format!("cut {tag:?} {bytes:?}"));
        assert!(!self.fates.contains_key(&tag));
        assert_eq!(self.cuts.insert(tag, bytes.to_vec()), None);
    }

    fn turned(&mut self, slot: Slot) -> bool {
        self.log.push(format!("turned {slot:?}"));
        let seen = self.live(slot);
        let turns = seen.checkpoints == 0 && seen.bytes.iter().all(BTreeMap::is_empty);
        if turns {
            std::mem::swap(&mut seen.tuple.client, &mut seen.tuple.server);
        }
        turns
    }

    fn data(&mut self, slot: Slot, direction: Direction, offset: StreamOffset, bytes: &[u8]) {
        self.log.push(format!("data {slot:?} {direction:?} {offset:?} {bytes:?}"));
        self.pieces += 1;
        assert!(!bytes.is_empty());
        let stream = &mut self.live(slot).bytes[direction.index()];
        for (at, &byte) in (offset.0..).zip(bytes) {
            assert_eq!(stream.insert(at, byte), None, "byte {at} was given twice");
        }
    }

    fn datagram(
        &mut self,
        slot: Slot,
        direction: Direction,
        offset: StreamOffset,
        bytes: &[u8],
        wire_len: u32,
        _: Timestamp,
    ) {
        self.log.push(format!("datagram {slot:?} {direction:?} {offset:?} {bytes:?} {wire_len}"));
        let seen = self.live(slot);
        seen.datagrams.push((direction, offset.0, bytes.to_vec(), wire_len));
        for (at, &byte) in (offset.0..).zip(bytes) {
            assert_eq!(seen.bytes[direction.index()].insert(at, byte), None);
        }
    }

    fn compare(&mut self, slot: Slot, direction: Direction, offset: StreamOffset, bytes: &[u8]) -> Comparison {
        self.log.push(format!("compare {slot:?} {direction:?} {offset:?} {bytes:?}"));
        if self.forgetful != 0 {
            self.forgetful ^= self.forgetful << 13;
            self.forgetful ^= self.forgetful >> 7;
            self.forgetful ^= self.forgetful << 17;
            if self.forgetful.is_multiple_of(3) {
                return Comparison::Unknown;
            }
        }
        let stream = &self.live(slot).bytes[direction.index()];
        if (offset.0..).zip(bytes).all(|(at, byte)| stream[&at] == *byte) {
            Comparison::Same
        } else {
            Comparison::Differs
        }
    }

    fn placed(&mut self, tag: FrameTag, slot: Slot, direction: Direction, offset: StreamOffset, len: u32) {
        self.log.push(format!("placed {tag:?} {slot:?} {direction:?} {offset:?} {len}"));
        let stream = &self.live(slot).bytes[direction.index()];
        assert!((offset.0..offset.0 + u64::from(len)).all(|at| stream.contains_key(&at)));
        assert!(len > 0 && self.cuts.get(&tag).is_none_or(|left| left.len() == len as usize));
        assert_eq!(self.fates.insert(tag, Fate::Placed(direction, offset.0, len)), None);
    }

    fn kept(&mut self, tag: FrameTag, bytes: &[u8]) {
        self.log.push(format!("kept {tag:?} {bytes:?}"));
        assert!(!bytes.is_empty() && self.cuts.get(&tag).is_none_or(|left| left == bytes));
        assert_eq!(self.fates.insert(tag, Fate::Kept(bytes.to_vec())), None);
    }

    fn checkpoint(&mut self, slot: Slot, streams: &[StreamState; 2], ended: Option<Reason>) {
        self.log.push(format!("checkpoint {slot:?} {streams:?} {ended:?}"));
        let seen = self.live(slot);
        assert!(seen.ended.is_none() || seen.ended == ended, "an end is not taken back");
        seen.states = streams.clone();
        seen.ended = ended;
        seen.checkpoints += 1;
        for (state, bytes) in streams.iter().zip(&seen.bytes) {
            assert!(state.last >= state.first);
            let gaps: u64 = state.gaps.iter().map(|gap| gap.length).sum();
            assert_eq!(state.length.0, bytes.len() as u64 + gaps + state.closed_gaps, "length is bytes and gaps");
            for gap in &state.gaps {
                assert!(gap.length > 0);
                assert_eq!(bytes.range(gap.offset.0..gap.end().0).next(), None, "{gap:?}");
            }
            let last = state.gaps.last();
            assert_eq!(state.limited, last.is_some_and(|gap| gap.kind == GapKind::Cutoff), "only the last one");
            assert!(!state.limited || last.is_some_and(|gap| gap.end() == state.length), "{last:?}");
            for pair in state.gaps.windows(2) {
                assert!(pair[0].end() <= pair[1].offset);
                assert!(pair[0].end() < pair[1].offset || pair[0].kind != pair[1].kind);
            }
        }
    }

    fn closed(&mut self, slot: Slot) {
        self.log.push(format!("closed {slot:?}"));
        let seen = self.live(slot);
        assert!(seen.ended.is_some());
        seen.closed = true;
        self.live.remove(&slot);
    }
}

/// A table, a sink that keeps everything, and two ends.
pub struct Wire {
    pub table: FlowTable,
    pub keeper: Keeper,
    pub tag: u64,
    pub time: i64,
    pub client: Endpoint,
    pub server: Endpoint,
    pub path: Path,
    /// The window in each header.
    pub window: u16,
    pub captured: u64,
}

/// What a scripted frame carries.
#[derive(Clone, Copy)]
pub struct Frame<'a> {
    pub flags: u8,
    pub seq: u32,
    pub ack: u32,
    pub text: &'a str,
    pub cut: u32,
    pub scale: Option<u8>,
    pub checksum_ok: Option<bool>,
}

/// A frame with these flags and nothing else.
pub const fn frame(flags: u8, seq: u32) -> Frame<'static> {
    Frame { flags, seq, ack: 0, text: "", cut: 0, scale: None, checksum_ok: None }
}

/// Data with an acknowledgement.
pub const fn data(seq: u32, ack: u32, text: &str) -> Frame<'_> {
    Frame { ack, text, ..frame(ACK, seq) }
}

pub fn host(n: u8, port: u16) -> Endpoint {
    Endpoint::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, n)), port)
}

impl Wire {
    pub fn new(config: Config) -> Self {
        Self {
            table: FlowTable::new(config),
            keeper: Keeper::default(),
            tag: 0,
            time: 1_000 * SECOND,
            client: host(1, 40_000),
            server: host(2, 80),
            path: Path::EMPTY,
            window: 10_000,
            captured: 0,
        }
    }

    /// After SYN, SYN+ACK, ACK: the client's first byte has sequence number 1001, the server's 5001.
    pub fn open(config: Config) -> Self {
        let mut wire = Self::new(config);
        wire.handshake();
        wire
    }

    pub fn handshake(&mut self) {
        self.c(frame(SYN, 1000));
        self.s(Frame { ack: 1001, ..frame(SYN | ACK, 5000) });
        self.c(data(1001, 5001, ""));
    }

    /// A frame of the client.
    pub fn c(&mut self, frame: Frame<'_>) -> Option<(Slot, Direction)> {
        self.send(frame, self.client, self.server)
    }

    /// A frame of the server.
    pub fn s(&mut self, frame: Frame<'_>) -> Option<(Slot, Direction)> {
        self.send(frame, self.server, self.client)
    }

    pub fn send(&mut self, frame: Frame<'_>, src: Endpoint, dst: Endpoint) -> Option<(Slot, Direction)> {
        let segment = TcpSegment {
            src,
            dst,
            seq: SeqNum(frame.seq),
            ack: SeqNum(frame.ack),
            flags: TcpFlags(frame.flags),
            window: self.window,
            window_scale: frame.scale,
            payload: frame.text.as_bytes(),
            wire_len: frame.text.len() as u32 + frame.cut,
            checksum_ok: frame.checksum_ok,
        };
        self.tag += 1;
        self.time += 1000;
        self.captured += frame.text.len() as u64;
        self.table.tcp(FrameTag(self.tag), Timestamp(self.time), &self.path, &segment, &mut self.keeper)
    }

    pub fn udp(&mut self, from_client: bool, text: &str, cut: u32) -> Option<(Slot, Direction)> {
        // Each packet has an identification of its own.
        self.udp_with(from_client, text, cut, self.tag as u16 + 1)
    }

    pub fn udp_with(&mut self, from_client: bool, text: &str, cut: u32, id: u16) -> Option<(Slot, Direction)> {
        let (src, dst) = if from_client { (self.client, self.server) } else { (self.server, self.client) };
        let (payload, wire_len) = (text.as_bytes(), text.len() as u32 + cut);
        let datagram = UdpDatagram { src, dst, payload, wire_len, checksum_ok: None, id };
        self.tag += 1;
        self.time += 1000;
        self.captured += text.len() as u64;
        self.table.udp(FrameTag(self.tag), Timestamp(self.time), &self.path, &datagram, &mut self.keeper)
    }

    pub fn flush(&mut self) {
        self.table.flush(&mut self.keeper);
        assert_eq!(self.table.counters().unaccounted(), 0);
        assert_eq!(self.table.counters().payload_captured, self.captured);
        assert_eq!(self.table.held_bytes(), 0);
    }

    /// Seconds pass, with a tick and a flush each.
    pub fn wait(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.time += SECOND;
            self.table.tick(Timestamp(self.time), &mut self.keeper);
            self.flush();
        }
    }

    pub fn finish(&mut self) {
        self.table.finish(&mut self.keeper);
        assert_eq!(self.table.counters().unaccounted(), 0);
        assert_eq!((self.table.open_connections(), self.table.held_bytes()), (0, 0));
        assert!(self.keeper.seen.iter().all(|seen| seen.closed));
    }

    /// The only connection.
    pub fn only(&self) -> &Seen {
        assert_eq!(self.keeper.seen.len(), 1);
        &self.keeper.seen[0]
    }

    /// What the client sent in the only connection.
    pub fn said(&self) -> String {
        self.only().text(Direction::ToServer)
    }

    pub fn fate(&self, tag: u64) -> Option<&Fate> {
        self.keeper.fates.get(&FrameTag(tag))
    }

    pub fn kept(&self, tag: u64) -> bool {
        matches!(self.fate(tag), Some(Fate::Kept(_)))
    }

    pub fn placed(&self, tag: u64) -> bool {
        matches!(self.fate(tag), Some(Fate::Placed(..)))
    }
}
