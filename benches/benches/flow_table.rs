//! The flow table, with a sink that only counts: what finding a connection and putting its segments in order costs.
//!
//! Backs, each beside the alternative:
//! - the state in a slab, found through small entries by a seeded hash, both directions one entry. `finding/*` has the same
//!   100,000 connections in that shape (`ours`), in the standard map with its own seeded hash, in that map with our hash,
//!   with an entry a direction, and in an ordered map; `growing/*` is coming to know them all. A map with the states in it
//!   finds faster by the one miss of the cache that the entry is; the slab grows much faster, as it never moves a state to
//!   another place in the map, and its slots are names that the sink can use;
//! - who is silent for too long is known from lists in the order of last frames: `silent/a tick` against `silent/a look at
//!   each`, with nobody due;
//! - what is in order is the short way: `in order` against `swapped`, where each second segment comes before the first;
//! - one miss of the cache after the other is what many connections cost: `random among 100,000` against `in order`; `new`
//!   is a whole connection, first frame to last.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench that fails can only stop")]

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use ahash::RandomState;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hashbrown::HashTable;
use streamdb_benches::Random;
use streamdb_decode::{TcpFlags, TcpSegment};
use streamdb_reassembly::{Comparison, Config, FlowTable, FrameTag, Opened, Sink, Slot, StreamState};
use streamdb_types::{Direction, Endpoint, Path, Reason, SeqNum, StreamOffset, Timestamp};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FLOWS: u32 = 100_000;
const SEGMENTS: u32 = 100_000;
const NEW: u32 = 10_000;
const ACK: u8 = TcpFlags::ACK.0;

#[derive(Default)]
struct Counted {
    bytes: u64,
    calls: u64,
}

impl Sink for Counted {
    fn opened(&mut self, _: Slot, _: &Opened) {
        self.calls += 1;
    }

    fn data(&mut self, _: Slot, _: Direction, _: StreamOffset, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
    }

    fn datagram(&mut self, _: Slot, _: Direction, _: StreamOffset, bytes: &[u8], _: u32, _: Timestamp) {
        self.bytes += bytes.len() as u64;
    }

    fn compare(&mut self, _: Slot, _: Direction, _: StreamOffset, _: &[u8]) -> Comparison {
        Comparison::Same
    }

    fn placed(&mut self, _: FrameTag, _: Slot, _: Direction, _: StreamOffset, _: u32) {
        self.calls += 1;
    }

    fn kept(&mut self, _: FrameTag, _: &[u8]) {
        self.calls += 1;
    }

    fn checkpoint(&mut self, _: Slot, _: &[StreamState; 2], _: Option<Reason>) {
        self.calls += 1;
    }

    fn closed(&mut self, _: Slot) {
        self.calls += 1;
    }
}

/// A table, its sink, and a clock that goes on with each segment.
struct Bench {
    table: FlowTable,
    sink: Counted,
    tag: u64,
}

impl Bench {
    fn new() -> Self {
        Self { table: FlowTable::new(Config::default()), sink: Counted::default(), tag: 0 }
    }

    fn segment(&mut self, flow: u32, from_server: bool, seq: u32, ack: u32, flags: u8, payload: &[u8]) {
        let (client, server) = ends(flow);
        let (src, dst) = if from_server { (server, client) } else { (client, server) };
        let segment = TcpSegment {
            src,
            dst,
            seq: SeqNum(seq),
            ack: SeqNum(ack),
            flags: TcpFlags(flags),
            window: 65_535,
            window_scale: None,
            payload,
            wire_len: payload.len() as u32,
            checksum_ok: None,
        };
        self.tag += 1;
        // A microsecond a segment, so that nothing ever falls silent.
        let time = Timestamp(self.tag as i64 * 1000);
        let belongs = self.table.tcp(FrameTag(self.tag), time, &Path::default(), &segment, &mut self.sink);
        black_box(belongs);
    }

    fn open(&mut self, flow: u32) {
        self.segment(flow, false, 0, 0, TcpFlags::SYN.0, &[]);
        self.segment(flow, true, 0, 1, TcpFlags::SYN.0 | ACK, &[]);
        self.segment(flow, false, 1, 1, ACK, &[]);
    }

    fn tick(&mut self) {
        self.table.tick(Timestamp(self.tag as i64 * 1000), &mut self.sink);
        self.table.flush(&mut self.sink);
    }
}

/// Client and server of a connection.
fn ends(flow: u32) -> (Endpoint, Endpoint) {
    let client = Endpoint::new(IpAddr::V4(Ipv4Addr::from(0x0a00_0000 | flow)), 40_000);
    (client, Endpoint::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, (flow % 250) as u8)), 443))
}

/// What names a connection here; the smaller endpoint first, so that it is the same for both directions.
type Key = (Endpoint, Endpoint);

/// About what is kept of a connection.
type State = [u64; 48];

fn state(flow: usize) -> State {
    [flow as u64; 48]
}

fn ordered((a, b): Key) -> Key {
    if a <= b { (a, b) } else { (b, a) }
}

/// Finds one connection after the other by its endpoints, from either side, and counts in its state.
fn finding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("flow table/finding");
    group.sample_size(20).throughput(Throughput::Elements(SEGMENTS.into()));
    let mut random = Random(8);
    let frames: Vec<Key> = (0..SEGMENTS)
        .map(|_| {
            let (client, server) = ends(random.below(FLOWS.into()) as u32);
            if random.below(2) == 0 { (client, server) } else { (server, client) }
        })
        .collect();
    let keys: Vec<Key> = (0..FLOWS).map(|flow| ordered(ends(flow))).collect();
    let states: Vec<State> = (0..keys.len()).map(state).collect();

    let seed = RandomState::new();
    let of = |key: &Key| hash_of(&seed, key);
    let mut slab: Vec<(Key, State)> = keys.iter().copied().zip(states.iter().copied()).collect();
    let mut table: HashTable<(u32, u32)> = HashTable::new();
    for (slot, key) in keys.iter().enumerate() {
        let hash = of(key);
        table.insert_unique(spread(hash), (hash, slot as u32), |(hash, _)| spread(*hash));
    }
    group.bench_function("ours", |b| {
        b.iter(|| {
            each(&frames, |key| {
                let key = ordered(key);
                let hash = of(&key);
                let same = |(other, slot): &(u32, u32)| *other == hash && slab[*slot as usize].0 == key;
                let (_, slot) = *table.find(spread(hash), same).unwrap();
                touch(&mut slab[slot as usize].1)
            });
        });
    });

    let mut map: HashMap<Key, State> = keys.iter().copied().zip(states.iter().copied()).collect();
    group.bench_function("standard map", |b| {
        b.iter(|| each(&frames, |key| touch(map.get_mut(&ordered(key)).unwrap())));
    });
    let mut map: HashMap<Key, State, RandomState> = keys.iter().copied().zip(states.iter().copied()).collect();
    group.bench_function("standard map, our hash", |b| {
        b.iter(|| each(&frames, |key| touch(map.get_mut(&ordered(key)).unwrap())));
    });
    let mut map: HashMap<Key, u32, RandomState> = HashMap::default();
    for (slot, (a, b)) in (0..).zip(&keys) {
        map.insert((*a, *b), slot);
        map.insert((*b, *a), slot);
    }
    group.bench_function("an entry a direction", |b| {
        b.iter(|| each(&frames, |key| touch(&mut slab[map[&key] as usize].1)));
    });
    let map: BTreeMap<Key, u32> = keys.iter().copied().zip(0..).collect();
    group.bench_function("ordered map", |b| {
        b.iter(|| each(&frames, |key| touch(&mut slab[map[&ordered(key)] as usize].1)));
    });
    group.finish();

    // What it costs that there are more and more of them.
    let mut group = criterion.benchmark_group("flow table/growing");
    group.sample_size(10).throughput(Throughput::Elements(FLOWS.into()));
    group.bench_function("ours", |b| {
        b.iter(|| {
            let mut slab: Vec<(Key, State)> = Vec::new();
            let mut table: HashTable<(u32, u32)> = HashTable::new();
            for (key, state) in keys.iter().zip(&states) {
                let hash = of(key);
                table.insert_unique(spread(hash), (hash, slab.len() as u32), |(hash, _)| spread(*hash));
                slab.push((*key, *state));
            }
            black_box((table.len(), slab.len()))
        });
    });
    group.bench_function("standard map, our hash", |b| {
        b.iter(|| {
            let mut map: HashMap<Key, State, RandomState> = HashMap::default();
            for (key, state) in keys.iter().zip(&states) {
                map.insert(*key, *state);
            }
            black_box(map.len())
        });
    });
    group.finish();
}

/// Does this for one frame after the other, none before the one before it is done: as in the table, where much lies between
/// two look-ups, what is waited for in one does not overlap with the next.
fn each(frames: &[Key], mut find: impl FnMut(Key) -> u64) {
    let mut before = 0;
    for at in 0..frames.len() {
        // The highest bit is never set, which the compiler does not know.
        before = find(frames[at + (before >> 63) as usize]);
    }
}

/// A frame changes some of the state, here and there in it.
const fn touch(state: &mut State) -> u64 {
    state[0] += 1;
    state[24] += state[0];
    state[47] += 1;
    state[0]
}

fn hash_of(seed: &RandomState, key: &impl Hash) -> u32 {
    seed.hash_one(key) as u32
}

/// As in the table: 32 bits of the hash are kept, and spread for a table that wants 64.
const fn spread(hash: u32) -> u64 {
    (hash as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn silent(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("flow table/silent");
    let mut bench = Bench::new();
    (0..FLOWS).for_each(|flow| bench.open(flow));
    bench.tick();
    group.bench_function("a tick", |b| b.iter(|| bench.tick()));
    let mut states: Vec<State> = (0..FLOWS as usize).map(state).collect();
    group.bench_function("a look at each", |b| {
        b.iter(|| {
            let now = black_box(FLOWS.into());
            states.iter_mut().for_each(|state| state[1] += u64::from(state[0] > now));
        });
    });
    group.finish();
}

fn flow_table(criterion: &mut Criterion) {
    let payload = [7; 1448];
    let mut group = criterion.benchmark_group("flow table");
    group.sample_size(20);

    group.throughput(Throughput::Elements(SEGMENTS.into()));
    group.bench_function("in order", |b| {
        let mut bench = Bench::new();
        bench.open(0);
        let mut seq = 1u32;
        b.iter(|| {
            for _ in 0..SEGMENTS {
                bench.segment(0, true, seq, 1, ACK, &payload);
                seq = seq.wrapping_add(payload.len() as u32);
            }
            bench.tick();
        });
    });

    group.bench_function("swapped", |b| {
        let mut bench = Bench::new();
        bench.open(0);
        let mut seq = 1u32;
        let len = payload.len() as u32;
        b.iter(|| {
            for _ in 0..SEGMENTS / 2 {
                bench.segment(0, true, seq.wrapping_add(len), 1, ACK, &payload);
                bench.segment(0, true, seq, 1, ACK, &payload);
                seq = seq.wrapping_add(2 * len);
            }
            bench.tick();
        });
        assert_eq!(bench.table.held_bytes(), 0);
    });

    group.bench_function("random among 100,000", |b| {
        let mut bench = Bench::new();
        (0..FLOWS).for_each(|flow| bench.open(flow));
        bench.tick();
        let mut next = vec![1u32; FLOWS as usize];
        let mut random = Random(6);
        b.iter(|| {
            for _ in 0..SEGMENTS {
                let flow = random.below(FLOWS.into()) as u32;
                let seq = &mut next[flow as usize];
                bench.segment(flow, true, *seq, 1, ACK, &payload[..100]);
                *seq = seq.wrapping_add(100);
            }
            bench.tick();
        });
        assert_eq!(bench.table.open_connections(), FLOWS as usize);
    });

    group.throughput(Throughput::Elements(NEW.into()));
    group.bench_function("new", |b| {
        let mut bench = Bench::new();
        let mut first = 0u32;
        b.iter(|| {
            for flow in (0..NEW).map(|n| first.wrapping_add(n) & 0x00ff_ffff) {
                bench.open(flow);
                bench.segment(flow, false, 1, 1, ACK, &payload[..200]);
                bench.segment(flow, true, 1, 201, ACK, &payload);
                bench.segment(flow, true, 1449, 201, TcpFlags::FIN.0 | ACK, &[]);
                bench.segment(flow, false, 201, 1450, TcpFlags::FIN.0 | ACK, &[]);
                bench.segment(flow, true, 1450, 202, ACK, &[]);
            }
            first = first.wrapping_add(NEW);
            // Past the time that ended connections are still known, so that the table holds these alone.
            bench.tag += 20_000_000;
            bench.tick();
        });
        assert!(bench.table.open_connections() <= 2 * NEW as usize);
    });
    group.finish();
}

criterion_group!(benches, finding, silent, flow_table);
criterion_main!(benches);
