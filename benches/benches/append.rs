//! Appending bytes of streams, without reassembly and without the journal: what `Writer` and its store thread cost.
//!
//! Backs, each beside the alternative:
//! - bulk is written raw with `--compression fast`: `bulk/fast` against `bulk/full`, which compresses it;
//! - long streams are collected in blocks of up to a megabyte, and of a quarter where they are not compressed, written by one
//!   `pwrite` each, and no room is made ahead: `writing/*` writes the same bytes a segment, 64 KiB, 264 KiB and a megabyte at
//!   a time, with room from fallocate(2) and without. The best of them is the floor of `bulk/fast`;
//! - short streams share blocks of one file: `short/fast` against `short/a file each`, which only makes the files.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench that fails can only stop")]

mod common;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::FileExt;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rustix::fs::{FallocateFlags, fallocate};
use streamdb_benches::content;
use streamdb_storage::{Compression, FrameIn, Packets, StreamFacts, Writer};
use streamdb_testkit::TestFolder;
use streamdb_types::{Counters, Direction, Endpoint, Marks, Path, Protocol, Reason, StreamOffset, Timestamp, Tuple};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SEGMENT: usize = 1448;
const BULK: usize = 64 << 20;
const SHORT: u32 = 20_000;

/// Tells the writer what reassembly would.
struct Driver {
    writer: Writer,
    interface: u32,
    time: Timestamp,
}

impl Driver {
    fn new(folder: &TestFolder, compression: Compression) -> Self {
        let mut writer = common::writer(folder.path(), compression, Packets::Off);
        let interface = writer.interface(&common::interface());
        Self { writer, interface, time: Timestamp(1_767_225_600_000_000_000) }
    }

    fn open(&mut self, slot: u32, number: u32) {
        let client = Endpoint::new(IpAddr::V4(Ipv4Addr::from(0x0a00_0000 | number)), 40_000);
        let server = Endpoint::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)), 80);
        // The first frame begins the bucket.
        self.frame(&[]);
        self.writer.opened(slot, &Tuple { protocol: Protocol::TCP, client, server }, &Path::default(), self.time);
    }

    fn frame(&mut self, payload: &[u8]) -> u64 {
        self.time = self.time.plus(1000);
        let (time, interface) = (self.time, self.interface);
        let (wire_len, payload_len) = (payload.len() as u32, payload.len());
        let frame = FrameIn { time, interface, wire_len, data: payload, payload_at: 0, payload_len, is_tcp: true };
        self.writer.frame(&frame).unwrap()
    }

    fn segment(&mut self, slot: u32, direction: Direction, offset: u64, payload: &[u8]) {
        let tag = self.frame(payload);
        self.writer.data(slot, direction, StreamOffset(offset), payload).unwrap();
        self.writer.placed(tag, StreamOffset(offset));
        self.writer.belongs(tag, slot, direction);
        if self.writer.wants_commit() {
            self.writer.commit().unwrap();
        }
    }

    fn checkpoint(&mut self, slot: u32, lengths: [u64; 2], ended: Option<Reason>) {
        let facts = lengths.map(|length| StreamFacts {
            packets: 1 + length / SEGMENT as u64,
            first: self.time,
            last: self.time,
            length: StreamOffset(length),
            gaps: &[],
            marks: Marks::default(),
            limited: false,
        });
        self.writer.checkpoint(slot, facts, ended).unwrap();
        if ended.is_some() {
            self.writer.closed(slot);
        }
    }
}

/// Eight streams side by side, published 16 times.
fn bulk(mut driver: Driver, body: &[u8]) {
    const STREAMS: u32 = 8;
    for slot in 0..STREAMS {
        driver.open(slot, slot);
    }
    let mut length = 0;
    for part in body.chunks(body.len() / 16) {
        for piece in part.chunks(SEGMENT) {
            for slot in 0..STREAMS {
                driver.segment(slot, Direction::ToClient, length, piece);
            }
            length += piece.len() as u64;
        }
        for slot in 0..STREAMS {
            driver.checkpoint(slot, [0, length], None);
        }
        driver.writer.commit().unwrap();
    }
    for slot in 0..STREAMS {
        driver.checkpoint(slot, [0, length], Some(Reason::Fin));
    }
    black_box(driver.writer.finish(&Counters::default()).unwrap());
}

/// Connections of two small streams, 1,000 of them open at a time.
fn short(mut driver: Driver, body: &[u8]) {
    const OPEN: u32 = 1000;
    for first in (0..SHORT).step_by(OPEN as usize) {
        for slot in 0..OPEN {
            driver.open(slot, first + slot);
            let from = slot as usize * 700;
            driver.segment(slot, Direction::ToServer, 0, &body[from..from + 200]);
            driver.segment(slot, Direction::ToClient, 0, &body[from..from + SEGMENT]);
        }
        for slot in 0..OPEN {
            driver.checkpoint(slot, [200, SEGMENT as u64], Some(Reason::Fin));
        }
        driver.writer.commit().unwrap();
    }
    black_box(driver.writer.finish(&Counters::default()).unwrap());
}

/// The same streams, each a file of its own.
fn files(folder: &TestFolder, body: &[u8]) {
    for number in 0..SHORT as usize {
        let from = number % 1000 * 700;
        for (direction, len) in [("s", 200), ("c", SEGMENT)] {
            std::fs::write(folder.path().join(format!("{number}{direction}")), &body[from..from + len]).unwrap();
        }
    }
}

/// The bytes alone, so many at a time, into a file that gets so much room ahead.
fn plain(folder: &TestFolder, body: &[u8], at_once: usize, ahead: u64) {
    let file = std::fs::File::create_new(folder.path().join("file")).unwrap();
    let (mut position, mut allocated) = (0, 0);
    let mut buffer = Vec::with_capacity(at_once + SEGMENT);
    let mut write = |bytes: &[u8]| {
        if ahead > 0 && position + bytes.len() as u64 > allocated {
            fallocate(&file, FallocateFlags::empty(), allocated, ahead).unwrap();
            allocated += ahead;
        }
        file.write_all_at(bytes, position).unwrap();
        position += bytes.len() as u64;
    };
    for _ in 0..BULK / body.len() {
        for piece in body.chunks(SEGMENT) {
            buffer.extend_from_slice(piece);
            if buffer.len() >= at_once {
                write(&buffer);
                buffer.clear();
            }
        }
    }
    write(&buffer);
    file.set_len(position).unwrap();
}

fn append(criterion: &mut Criterion) {
    let body = content(4, BULK / 8);
    let mut group = criterion.benchmark_group("append");
    group.sample_size(10);
    // A folder for each run, removed outside the measured time.
    let folder = || TestFolder::in_memory("bench-append");

    group.throughput(Throughput::Bytes(BULK as u64));
    for (name, compression) in [("fast", Compression::Fast), ("full", Compression::Full)] {
        let run = |folder: &mut TestFolder| bulk(Driver::new(folder, compression), &body);
        group.bench_function(format!("bulk/{name}"), |b| b.iter_batched_ref(folder, run, BatchSize::PerIteration));
    }
    for (name, at_once) in [("a segment", 1), ("64 KiB", 64 << 10), ("264 KiB", 264 << 10), ("1 MiB", 1 << 20)] {
        for (room, ahead) in [("no room", 0), ("room", 64 << 20)] {
            let run = |folder: &mut TestFolder| plain(folder, &body, at_once, ahead);
            group.bench_function(format!("writing/{name}, {room}"), |b| {
                b.iter_batched_ref(folder, run, BatchSize::PerIteration);
            });
        }
    }

    group.throughput(Throughput::Elements(SHORT.into()));
    for (name, compression) in [("fast", Compression::Fast), ("full", Compression::Full)] {
        let run = |folder: &mut TestFolder| short(Driver::new(folder, compression), &body);
        group.bench_function(format!("short/{name}"), |b| b.iter_batched_ref(folder, run, BatchSize::PerIteration));
    }
    let run = |folder: &mut TestFolder| files(folder, &body);
    group.bench_function("short/a file each", |b| b.iter_batched_ref(folder, run, BatchSize::PerIteration));
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
