//! Segments and datagrams of a few connections, mostly sensible, at times absurd, with ticks and flushes between them: the
//! sink's contract holds, every frame's payload has exactly one fate, and the same input gives the same calls.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};

use streamdb_decode::{TcpFlags, TcpSegment, UdpDatagram};
use streamdb_reassembly::{
    Comparison, Config, FlowTable, FrameTag, Keep, Opened, OverlapPolicy, Sink, Slot, StreamState,
};
use streamdb_types::{Direction, Endpoint, Path, Reason, SeqNum, StreamOffset, Timestamp};

use super::script::Script;

/// The most frames of one input.
const FRAMES: u64 = 300;
const SECOND: i64 = 1_000_000_000;

/// A connection as the sink saw it.
#[derive(Default)]
struct Seen {
    bytes: [BTreeMap<u64, u8>; 2],
    datagram_gaps: [u64; 2],
    ended: Option<Reason>,
    /// Gap bytes, as its last checkpoint had them.
    gaps: u64,
}

/// Keeps everything, and holds the table to its contract.
#[derive(Default)]
struct Checking {
    live: BTreeMap<Slot, Seen>,
    /// Payloads of which nothing was said yet.
    waiting: BTreeMap<FrameTag, Vec<u8>>,
    calls: DefaultHasher,
    /// 0: nothing is forgotten; otherwise the state of a generator that decides.
    forgetful: u64,
    /// What is kept of each connection, and whether it is decided when the second payload of all comes, or at once.
    keep: Keep,
    late: bool,
    looks: u64,
    opened: u64,
    stored: u64,
    gaps: u64,
}

impl Checking {
    fn log(&mut self, call: &str, what: impl Debug) {
        (call, format!("{what:?}")).hash(&mut self.calls);
    }

    /// Something is to be said of this payload.
    fn wait(&mut self, tag: FrameTag, payload: &[u8]) {
        if !payload.is_empty() {
            self.waiting.insert(tag, payload.to_vec());
        }
    }

    fn live(&mut self, slot: Slot) -> &mut Seen {
        self.live.get_mut(&slot).expect("a call for a connection that is not open")
    }

    fn put(&mut self, slot: Slot, direction: Direction, offset: StreamOffset, bytes: &[u8]) {
        self.stored += bytes.len() as u64;
        let stream = &mut self.live(slot).bytes[direction.index()];
        for (at, &byte) in (offset.0..).zip(bytes) {
            assert_eq!(stream.insert(at, byte), None, "byte {at} was given twice");
        }
    }

    /// The bytes of a range, all of which was given.
    fn range(&mut self, slot: Slot, direction: Direction, offset: StreamOffset, len: u64) -> Vec<u8> {
        let stream = &self.live(slot).bytes[direction.index()];
        (offset.0..offset.0 + len).map(|at| *stream.get(&at).expect("a byte that was never given")).collect()
    }
}

impl Sink for Checking {
    fn opened(&mut self, slot: Slot, opened: &Opened) {
        self.log("opened", (slot, opened));
        self.opened += 1;
        assert!(self.live.insert(slot, Seen::default()).is_none(), "{slot:?} is in use");
    }

    fn keep(&mut self, _: Slot, _: &Opened) -> Keep {
        if self.late { Keep::Undecided } else { self.keep }
    }

    fn look(&mut self, slot: Slot, direction: Direction, offset: u64, payload: &[u8]) -> Keep {
        self.log("look", (slot, direction, offset, payload));
        assert!(!payload.is_empty());
        self.looks += 1;
        if self.looks.is_multiple_of(2) { self.keep } else { Keep::Undecided }
    }

    fn cut(&mut self, tag: FrameTag, bytes: &[u8]) {
        self.log("cut", (tag, bytes));
        let payload = self.waiting.remove(&tag).expect("what is cut is to be told of");
        assert!(bytes.len() < payload.len() && payload.starts_with(bytes));
        self.wait(tag, bytes);
    }

    fn turned(&mut self, slot: Slot) -> bool {
        self.log("turned", slot);
        let seen = self.live(slot);
        let turns = seen.bytes.iter().all(|bytes| bytes.len().is_multiple_of(2));
        if turns {
            seen.bytes.swap(0, 1);
        }
        turns
    }

    fn data(&mut self, slot: Slot, direction: Direction, offset: StreamOffset, bytes: &[u8]) {
        self.log("data", (slot, direction, offset, bytes));
        assert!(!bytes.is_empty());
        self.put(slot, direction, offset, bytes);
    }

    fn datagram(
        &mut self,
        slot: Slot,
        direction: Direction,
        offset: StreamOffset,
        bytes: &[u8],
        wire_len: u32,
        time: Timestamp,
    ) {
        self.log("datagram", (slot, direction, offset, bytes, wire_len, time));
        assert!(wire_len as usize >= bytes.len());
        let seen = self.live(slot);
        let before = seen.bytes[direction.index()].len() as u64 + seen.datagram_gaps[direction.index()];
        assert_eq!(offset.0, before, "datagrams lie one behind the other");
        seen.datagram_gaps[direction.index()] += u64::from(wire_len) - bytes.len() as u64;
        self.put(slot, direction, offset, bytes);
    }

    fn compare(&mut self, slot: Slot, direction: Direction, offset: StreamOffset, bytes: &[u8]) -> Comparison {
        self.log("compare", (slot, direction, offset, bytes));
        let given = self.range(slot, direction, offset, bytes.len() as u64);
        if self.forgetful != 0 {
            self.forgetful ^= self.forgetful << 13;
            self.forgetful ^= self.forgetful >> 7;
            self.forgetful ^= self.forgetful << 17;
            if self.forgetful.is_multiple_of(3) {
                return Comparison::Unknown;
            }
        }
        if given == bytes { Comparison::Same } else { Comparison::Differs }
    }

    fn placed(&mut self, tag: FrameTag, slot: Slot, direction: Direction, offset: StreamOffset, len: u32) {
        self.log("placed", (tag, slot, direction, offset, len));
        let given = self.range(slot, direction, offset, len.into());
        assert_eq!(self.waiting.remove(&tag), Some(given), "the stream holds what the frame {tag:?} had");
    }

    fn kept(&mut self, tag: FrameTag, bytes: &[u8]) {
        self.log("kept", (tag, bytes));
        assert_eq!(self.waiting.remove(&tag).as_deref(), Some(bytes), "what is kept is the payload of {tag:?}");
    }

    fn checkpoint(&mut self, slot: Slot, streams: &[StreamState; 2], ended: Option<Reason>) {
        self.log("checkpoint", (slot, streams, ended));
        let seen = self.live(slot);
        assert!(seen.ended.is_none() || seen.ended == ended, "an end is not taken back");
        seen.ended = ended;
        for (state, bytes) in streams.iter().zip(&seen.bytes) {
            assert!(state.last >= state.first);
            assert!(state.packets > 0 || bytes.is_empty());
            let gaps: u64 = state.gaps.iter().map(|gap| gap.length).sum();
            assert_eq!(state.length.0, bytes.len() as u64 + gaps + state.closed_gaps, "length is bytes and gaps");
            for gap in &state.gaps {
                assert!(gap.length > 0);
                assert_eq!(bytes.range(gap.offset.0..gap.end().0).next(), None, "{gap:?}");
            }
            for pair in state.gaps.windows(2) {
                assert!(pair[0].end() <= pair[1].offset);
                assert!(pair[0].end() < pair[1].offset || pair[0].kind != pair[1].kind);
            }
        }
        let gaps = |state: &StreamState| state.closed_gaps + state.gaps.iter().map(|gap| gap.length).sum::<u64>();
        seen.gaps = streams.iter().map(gaps).sum();
    }

    fn closed(&mut self, slot: Slot) {
        self.log("closed", slot);
        let seen = self.live.remove(&slot).expect("closed twice");
        assert!(seen.ended.is_some());
        self.gaps += seen.gaps;
    }
}

/// One side of a connection, as the script goes on.
#[derive(Clone, Copy)]
struct Side {
    next: u32,
}

/// Plays a script; see [`play`].
pub fn reassembly(data: &[u8]) {
    assert_eq!(play(data), play(data), "the same input gives the same calls");
}

/// Five bytes of settings, then steps of a kind each. Gives a hash of all calls.
fn play(data: &[u8]) -> u64 {
    let mut script = Script(data);
    let (setting, bounds) = (script.byte(), script.byte());
    let held = [1 << 20, 0, 150, 1500][usize::from(bounds & 3)];
    let config = Config {
        overlap: [OverlapPolicy::First, OverlapPolicy::Last, OverlapPolicy::Linux, OverlapPolicy::Windows]
            [usize::from(setting & 3)],
        reject_bad_checksums: setting & 4 != 0,
        max_connections: if bounds & 4 != 0 { 1 + usize::from(bounds >> 6) } else { 1000 },
        max_held_per_stream: held,
        max_held: held * 2,
        max_gaps_per_stream: if bounds & 8 != 0 { usize::from(bounds >> 4) } else { 4096 },
        ..Config::default()
    };
    let mut table = FlowTable::new(config.clone());
    let mut sink = Checking { forgetful: if setting & 8 != 0 { 0x9e37_79b9 } else { 0 }, ..Checking::default() };
    sink.keep = [Keep::All, Keep::First(100), Keep::First(0), Keep::First(64)][usize::from(setting >> 6)];
    sink.late = setting >> 6 == 3;
    let first = [0, 0xffff_fff0, 0x7fff_fff0, 1_000_000][usize::from(setting >> 4 & 3)];
    let mut sides = [[Side { next: first }; 2]; 3];
    let (mut time, mut tag, mut captured) = (1_000 * SECOND, 0, 0);
    while !script.is_over() && tag < FRAMES {
        let step = script.byte();
        match step & 7 {
            6 => {
                table.flush(&mut sink);
                settled(&table, &sink, captured);
                continue;
            }
            7 => {
                let by = script.byte();
                time += match step >> 3 & 3 {
                    0 => i64::from(by) * 1_000_000,
                    1 => i64::from(by) * SECOND,
                    2 => -i64::from(by) * SECOND,
                    _ => i64::from(by) * 60 * SECOND,
                };
                if step & 0x20 != 0 {
                    table.tick(Timestamp(time), &mut sink);
                }
                continue;
            }
            _ => {}
        }
        let (flow, back) = (usize::from(step >> 3 & 3) % 3, usize::from(step >> 5 & 1));
        let (client, server) = (host(1, 40_000 + flow as u16), host(2, 80));
        let (src, dst) = if back == 0 { (client, server) } else { (server, client) };
        let checksum_ok = [None, Some(true), None, Some(false)][usize::from(step >> 6)];
        tag += 1;
        time += 1000;
        let at = (FrameTag(tag), Timestamp(time));
        let mut side = sides[flow][back];
        let peer = sides[flow][back ^ 1];
        let taken;
        let payload;
        if step & 7 == 5 {
            let (len, cut) = (script.byte(), script.byte());
            payload = pattern(tag as u32, len / 4, len & 1 != 0);
            let wire_len = payload.len() as u32 + u32::from(cut / 64);
            sink.wait(at.0, &payload);
            let datagram = UdpDatagram { src, dst, payload: &payload, wire_len, checksum_ok, id: 0 };
            taken = table.udp(at.0, at.1, &Path::EMPTY, &datagram, &mut sink);
        } else {
            let mut flags = TcpFlags::ACK.0;
            let mut seq = side.next;
            let mut ack = peer.next;
            let (mut cut, mut wrong, mut window, mut window_scale) = (0, false, 8192, None);
            match step & 7 {
                // The next bytes.
                0 => {}
                // Near the next bytes: again, over what was sent, or out of order.
                1 | 2 => {
                    let from = script.byte();
                    seq = seq.wrapping_add_signed(i32::from(from as i8));
                    wrong = step & 7 == 2;
                }
                // Flags of one's own.
                3 => {
                    let chosen = script.byte();
                    flags = chosen & 0x3f;
                    if chosen & 0x40 != 0 {
                        seq = seq.wrapping_add_signed(i32::from(script.byte() as i8));
                    }
                    if chosen & 0x80 != 0 {
                        side.next = script.word();
                        seq = side.next;
                    }
                    window = script.byte().into();
                    window_scale = (flags & TcpFlags::SYN.0 != 0).then_some(window as u8 & 15);
                }
                // Numbers of one's own.
                _ => {
                    let how = script.byte();
                    if how & 1 != 0 {
                        seq = script.word();
                    }
                    if how & 2 != 0 {
                        ack = script.word();
                    }
                    if how & 4 != 0 {
                        ack = ack.wrapping_add_signed(i32::from(script.byte() as i8));
                    }
                    if how & 8 != 0 {
                        flags |= TcpFlags::FIN.0;
                    }
                    if how & 16 != 0 {
                        cut = u32::from(script.byte());
                    }
                    if how & 32 != 0 {
                        window = script.short();
                    }
                }
            }
            let len = script.byte();
            payload = pattern(seq, len / 4, wrong);
            let wire_len = payload.len() as u32 + cut;
            let takes = wire_len + u32::from(flags & TcpFlags::SYN.0 != 0) + u32::from(flags & TcpFlags::FIN.0 != 0);
            // The lowest bit says whether the sender goes on from here.
            if len & 1 == 0 {
                side.next = seq.wrapping_add(takes);
            }
            sides[flow][back] = side;
            sink.wait(at.0, &payload);
            let segment = TcpSegment {
                src,
                dst,
                seq: SeqNum(seq),
                ack: SeqNum(ack),
                flags: TcpFlags(flags),
                window,
                window_scale,
                payload: &payload,
                wire_len,
                checksum_ok,
            };
            taken = table.tcp(at.0, at.1, &Path::EMPTY, &segment, &mut sink);
        }
        let refused = config.reject_bad_checksums && checksum_ok == Some(false);
        assert_eq!(taken.is_none(), refused);
        if refused {
            assert_eq!(sink.waiting.remove(&at.0).is_some(), !payload.is_empty());
        } else {
            captured += payload.len() as u64;
        }
        assert!(table.open_connections() <= config.max_connections);
        assert!(table.held_bytes() <= config.max_held);
    }
    table.finish(&mut sink);
    settled(&table, &sink, captured);
    let counters = table.counters();
    assert_eq!(table.open_connections(), 0);
    assert!(sink.live.is_empty(), "every connection is closed at the end");
    assert_eq!(counters.connections, sink.opened);
    assert_eq!(counters.payload_stored, sink.stored);
    assert_eq!(counters.gap_missing + counters.gap_snaplen + counters.gap_cutoff, sink.gaps);
    sink.calls.finish()
}

/// What holds after each flush.
fn settled(table: &FlowTable, sink: &Checking, captured: u64) {
    let counters = table.counters();
    assert_eq!(counters.unaccounted(), 0);
    assert_eq!(counters.payload_captured, captured);
    assert_eq!(table.held_bytes(), 0);
    assert!(sink.waiting.is_empty(), "frames without a fate: {:?}", sink.waiting);
}

/// Bytes that follow from their sequence numbers, so that copies agree unless they are to differ.
fn pattern(seq: u32, len: u8, wrong: bool) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..u32::from(len)).map(|i| (seq.wrapping_add(i) % 251) as u8).collect();
    if wrong && let Some(byte) = bytes.get_mut(usize::from(len) / 2) {
        *byte ^= 0xff;
    }
    bytes
}

fn host(n: u8, port: u16) -> Endpoint {
    Endpoint::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, n)), port)
}
