//! The path that frames take, what it does to them, and what reassembly makes of those that come.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use streamdb_decode::{TcpFlags, TcpSegment};
use streamdb_extract::MemorySource;
use streamdb_reassembly::{Comparison, Config, FlowTable, FrameTag, Opened, Sink, Slot, StreamState};
use streamdb_types::{Direction, Endpoint, Path, Reason, SeqNum, StreamOffset, Timestamp};

use super::sessions::Session;

/// A source of numbers that is the same each time.
pub struct Random(u64);

impl Random {
    /// Any seed will do.
    pub fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        (0..4).for_each(|_| _ = random.below(2));
        random
    }

    pub fn below(&mut self, n: usize) -> usize {
        // xorshift64 (Marsaglia 2003); its upper bits are the better ones.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % n
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = 1 + self.below(most);
        (0..length).map(|_| self.below(256) as u8).collect()
    }
}

/// What a path does, each in so many of a hundred frames; and how many frames are missing at the beginning and the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Damage {
    lost: usize,
    doubled: usize,
    late: usize,
    before: usize,
    after: usize,
}

impl Damage {
    pub fn draw(random: &mut Random) -> Self {
        let mut damage = Self { doubled: random.below(20), late: random.below(20), ..Self::default() };
        if random.one_in(4) {
            return damage;
        }
        // Mostly one frame or a few, as that is what hides best.
        damage.lost = [1, 3, 10, 30][random.below(4)];
        if random.one_in(3) {
            damage.before = random.below(12);
        }
        if random.one_in(3) {
            damage.after = random.below(12);
        }
        damage
    }

    pub const fn is_lossless(&self) -> bool {
        self.lost == 0 && self.before == 0 && self.after == 0
    }
}

struct Frame {
    from_client: bool,
    port: [u16; 2],
    seq: u32,
    ack: u32,
    flags: TcpFlags,
    payload: Vec<u8>,
}

/// Both streams of a connection; which of them is which is by [`Direction::index`].
pub struct Connection {
    pub ports: [u16; 2],
    pub streams: [MemorySource; 2],
}

fn frames(session: &Session, random: &mut Random) -> Vec<Frame> {
    let mut frames = Vec::new();
    // Where each side of each connection is; opened when first spoken of.
    let mut at: BTreeMap<[u16; 2], [u32; 2]> = BTreeMap::new();
    let mut order: Vec<[u16; 2]> = Vec::new();
    for turn in &session.turns {
        let port = turn.ports;
        let mut push = |from_client: bool, seqs: [u32; 2], flags: u8, payload: &[u8]| {
            let (seq, ack) = if from_client { (seqs[0], seqs[1]) } else { (seqs[1], seqs[0]) };
            frames.push(Frame { from_client, port, seq, ack, flags: TcpFlags(flags), payload: payload.to_vec() });
        };
        let (fin, syn, ack) = (TcpFlags::FIN.0, TcpFlags::SYN.0, TcpFlags::ACK.0);
        let seqs = at.entry(port).or_insert_with(|| {
            let first = [random.below(1 << 32) as u32, random.below(1 << 32) as u32];
            push(true, [first[0], 0], syn, b"");
            push(false, [first[0].wrapping_add(1), first[1]], syn | ack, b"");
            push(true, first.map(|seq| seq.wrapping_add(1)), ack, b"");
            order.push(port);
            first.map(|seq| seq.wrapping_add(1))
        });
        let mut rest = &turn.bytes[..];
        let side = usize::from(!turn.from_client);
        while !rest.is_empty() {
            let (now, after) = rest.split_at((1 + random.below(300)).min(rest.len()));
            push(turn.from_client, *seqs, ack, now);
            seqs[side] = seqs[side].wrapping_add(now.len() as u32);
            rest = after;
            if random.one_in(3) {
                push(!turn.from_client, *seqs, ack, b"");
            }
        }
        if turn.closes {
            push(turn.from_client, *seqs, fin | ack, b"");
            seqs[side] = seqs[side].wrapping_add(1);
            push(!turn.from_client, *seqs, fin | ack, b"");
            seqs[1 - side] = seqs[1 - side].wrapping_add(1);
            push(turn.from_client, *seqs, ack, b"");
        }
    }
    frames
}

/// What a capture behind the path has of a session.
pub fn travel(session: &Session, damage: &Damage, random: &mut Random) -> Vec<Connection> {
    let frames = frames(session, random);
    let mut order: Vec<usize> = (damage.before..frames.len().saturating_sub(damage.after)).collect();
    order.retain(|_| random.below(100) >= damage.lost);
    for at in 1..order.len() {
        // SYN and FIN keep their places: what comes before the one and after the other is of another connection.
        let is_data = |n: usize| !frames[n].flags.contains(TcpFlags::SYN) && !frames[n].flags.contains(TcpFlags::FIN);
        if random.below(100) < damage.late && is_data(order[at]) && is_data(order[at - 1]) {
            order.swap(at - 1, at);
        }
    }
    let mut sink = Keeper::default();
    let mut table = FlowTable::new(Config::default());
    let mut tag = 0;
    for at in order {
        let frame = &frames[at];
        let ends = [1, 2].map(|n| IpAddr::V4(Ipv4Addr::new(10, 0, 0, n)));
        let [client, server] = [0, 1].map(|side| Endpoint::new(ends[side], frame.port[side]));
        let (src, dst) = if frame.from_client { (client, server) } else { (server, client) };
        let segment = TcpSegment {
            src,
            dst,
            seq: SeqNum(frame.seq),
            ack: SeqNum(frame.ack),
            flags: frame.flags,
            window: 60_000,
            window_scale: None,
            payload: &frame.payload,
            wire_len: frame.payload.len() as u32,
            checksum_ok: None,
        };
        for _ in 0..=usize::from(random.below(100) < damage.doubled) {
            tag += 1;
            let time = Timestamp(1_000_000_000_000 + tag as i64 * 1_000_000);
            table.tcp(FrameTag(tag), time, &Path::EMPTY, &segment, &mut sink);
        }
        if random.one_in(10) {
            table.flush(&mut sink);
        }
    }
    table.flush(&mut sink);
    table.finish(&mut sink);
    sink.all.into_iter().map(Seen::connection).collect()
}

/// A connection as reassembly tells of it.
struct Seen {
    ports: [u16; 2],
    bytes: [BTreeMap<u64, Vec<u8>>; 2],
    states: [StreamState; 2],
    ended: Option<Reason>,
}

impl Seen {
    fn connection(self) -> Connection {
        let streams = Direction::BOTH.map(|direction| {
            let state = direction.of(&self.states);
            let mut all = vec![0; state.length.0 as usize];
            for (at, bytes) in direction.of(&self.bytes) {
                all[*at as usize..][..bytes.len()].copy_from_slice(bytes);
            }
            let source = MemorySource::new(all).with_end(self.ended, state.marks);
            state.gaps.iter().fold(source, |source, gap| source.with_gap(gap.offset.0, gap.length, gap.kind))
        });
        Connection { ports: self.ports, streams }
    }
}

#[derive(Default)]
struct Keeper {
    all: Vec<Seen>,
    live: BTreeMap<Slot, usize>,
}

impl Keeper {
    fn live(&mut self, slot: Slot) -> &mut Seen {
        &mut self.all[self.live[&slot]]
    }
}

impl Sink for Keeper {
    fn opened(&mut self, slot: Slot, opened: &Opened) {
        self.live.insert(slot, self.all.len());
        let ports = [opened.tuple.client.port, opened.tuple.server.port];
        self.all.push(Seen { ports, bytes: Default::default(), states: Default::default(), ended: None });
    }

    fn data(&mut self, slot: Slot, direction: Direction, offset: StreamOffset, bytes: &[u8]) {
        direction.of_mut(&mut self.live(slot).bytes).insert(offset.0, bytes.to_vec());
    }

    fn datagram(&mut self, _: Slot, _: Direction, _: StreamOffset, _: &[u8], _: u32, _: Timestamp) {}

    // Copies never differ here.
    fn compare(&mut self, _: Slot, _: Direction, _: StreamOffset, _: &[u8]) -> Comparison {
        Comparison::Same
    }

    fn placed(&mut self, _: FrameTag, _: Slot, _: Direction, _: StreamOffset, _: u32) {}

    fn kept(&mut self, _: FrameTag, _: &[u8]) {}

    fn checkpoint(&mut self, slot: Slot, streams: &[StreamState; 2], ended: Option<Reason>) {
        let seen = self.live(slot);
        (seen.states, seen.ended) = (streams.clone(), ended);
    }

    fn closed(&mut self, slot: Slot) {
        self.live.remove(&slot);
    }
}
