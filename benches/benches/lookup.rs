//! From an oid to the first 64 KiB of its stream, everything in the page cache.
//!
//! Backs an oid being a place: a block or two are read (`kept open`), where the alternative is a name that has to be found
//! among all of them first (`by a walk`). Under 1 ms for 99 of 100 is wanted, of compressed blocks too (`full`). `opened
//! anew` is a process that has just begun: its time grows with the streams of the bucket, as the directory is read whole.
//! The quantiles are printed first.
#![allow(clippy::unwrap_used, reason = "a bench that fails can only stop")]

mod common;

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use streamdb_benches::{Random, Traffic, bulk, short};
use streamdb_storage::{Compression, Packets, Read, Store, StreamInfo};
use streamdb_testkit::TestFolder;
use streamdb_types::{Oid, StreamOffset};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const WANTED: usize = 64 << 10;

fn look_up(store: &Store, oid: Oid, out: &mut [u8]) -> usize {
    let stream = store.stream(oid).unwrap();
    let mut at = 0;
    while let Some(room) = out.get_mut(at..).filter(|room| !room.is_empty()) {
        match stream.read_at(StreamOffset(at as u64), room).unwrap() {
            Read::Bytes(n) => at += n,
            Read::Gap(..) | Read::End => break,
        }
    }
    black_box(at)
}

/// Finds the stream of this place among all, as it would have to be for a name that says no place.
fn walk(store: &Store, wanted: Oid) -> Option<Oid> {
    let mut found = None;
    let visit = &mut |info: StreamInfo| {
        found = found.or((info.oid.place == wanted.place).then_some(info.oid));
        Ok(())
    };
    store.streams(visit, &mut |error| println!("{error}")).unwrap();
    found
}

fn oids(path: &Path) -> Vec<Oid> {
    let mut all = Vec::new();
    let store = Store::open(path).unwrap();
    store
        .streams(
            &mut |info| {
                all.extend((info.length.0 > 0).then_some(info.oid));
                Ok(())
            },
            &mut |error| println!("{error}"),
        )
        .unwrap();
    all
}

/// Prints the quantiles of `count` calls.
fn quantiles(name: &str, count: usize, mut call: impl FnMut()) {
    let mut times: Vec<Duration> = (0..count)
        .map(|_| {
            let begun = Instant::now();
            call();
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    let at = |part: usize| times.get(part * (count - 1) / 1000).copied().unwrap_or_default();
    println!("{name}: p50 {:?}, p99 {:?}, p99.9 {:?}, most {:?}", at(500), at(990), at(999), at(1000));
}

fn lookup(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("look-up");
    group.sample_size(20);
    let mut out = vec![0; WANTED];
    let kinds: [(&str, Traffic); 2] = [("long", bulk(200, 64 << 20)), ("short", short(20_000))];
    for (kind, traffic) in &kinds {
        for (name, compression) in [("fast", Compression::Fast), ("full", Compression::Full)] {
            let folder = TestFolder::in_memory("bench-lookup");
            common::ingest(traffic, common::writer(folder.path(), compression, Packets::Full));
            let path = folder.path().join("data");
            let oids = oids(&path);
            let mut random = Random(7);
            let mut next = || oids.get(random.below(oids.len() as u64) as usize).copied().unwrap();

            let store = Store::open(&path).unwrap();
            let name = format!("{kind}/{name}");
            quantiles(&format!("look-up/{name}/kept open"), 20_000, || {
                look_up(&store, next(), &mut out);
            });
            quantiles(&format!("look-up/{name}/opened anew"), 500, || {
                look_up(&Store::open(&path).unwrap(), next(), &mut out);
            });
            group.bench_function(format!("{name}/kept open"), |b| b.iter(|| look_up(&store, next(), &mut out)));
            group.bench_function(format!("{name}/opened anew"), |b| {
                b.iter(|| look_up(&Store::open(&path).unwrap(), next(), &mut out));
            });
            group.bench_function(format!("{name}/by a walk"), |b| {
                b.iter(|| look_up(&store, walk(&store, next()).unwrap(), &mut out));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, lookup);
criterion_main!(benches);
