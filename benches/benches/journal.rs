//! The packet journal: what it costs that every frame comes back.
//!
//! Backs the journal being on by default, and frames being predicted from their connection. `full` beside `off` is its
//! time, of whole frames through decoding, reassembly and the writer. The bytes printed first are its room, beside what the
//! alternatives take for the same: the headers as they are, compressed like the journal (`headers`, whose time is that of
//! packing them alone), and a capture file of the whole frames beside the streams (`capture`). At most 2 bytes a frame are
//! wanted for bulk and 11 for small mixed traffic. `frames back` is reading them all.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench that fails can only stop")]

mod common;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use streamdb_benches::{Timed, Traffic, bulk, mixed, short};
use streamdb_decode::{Config, Content, Decoder};
use streamdb_storage::{Compression, FrameFilter, Packets, Store};
use streamdb_testkit::TestFolder;
use streamdb_types::{LinkType, Timestamp};
use zstd::bulk::Compressor;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bytes that are compressed as one, as in the journal.
const BLOCK: usize = 256 << 10;

/// Packs the first bytes of every frame, as many as `kept` says, each behind time and lengths as in a capture file.
fn packed(traffic: &Traffic, mut kept: impl FnMut(&Timed<'_>) -> usize) -> usize {
    let mut zstd = Compressor::new(1).unwrap();
    let mut block = Vec::with_capacity(2 * BLOCK);
    let mut bytes = 0;
    let mut pack = |block: &mut Vec<u8>| {
        bytes += zstd.compress(block).unwrap().len();
        block.clear();
    };
    for frame in traffic.frames() {
        let kept = kept(&frame);
        block.extend_from_slice(&frame.time.to_le_bytes());
        block.extend_from_slice(&(kept as u32).to_le_bytes());
        block.extend_from_slice(&(frame.data.len() as u32).to_le_bytes());
        block.extend_from_slice(&frame.data[..kept]);
        if block.len() >= BLOCK {
            pack(&mut block);
        }
    }
    pack(&mut block);
    bytes
}

fn headers(traffic: &Traffic) -> usize {
    let mut decoder = Decoder::new(Config::default());
    packed(traffic, |frame| {
        let decoded = decoder.decode(LinkType::ETHERNET, frame.data, frame.data.len() as u32, Timestamp(0), 0);
        match decoded.content {
            Content::Tcp(_) | Content::Udp(_) => decoded.payload_at,
            _ => frame.data.len(),
        }
    })
}

fn frames_back(folder: &TestFolder) -> usize {
    let store = Store::open(&folder.path().join("data")).unwrap();
    let mut bytes = 0;
    let visit = &mut |frame: &streamdb_storage::StoredFrame<'_>| {
        bytes += black_box(frame.data).len();
        Ok(())
    };
    store.frames(&FrameFilter::default(), visit).unwrap();
    bytes
}

fn journal(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("journal");
    group.sample_size(10);
    let folder = || TestFolder::in_memory("bench-journal");
    for (name, traffic) in [("bulk", bulk(20, 32 << 20)), ("short", short(10_000)), ("mixed", mixed(100_000))] {
        let count = traffic.frames().len();
        let stored = folder();
        let store = |folder: &TestFolder, packets| {
            common::ingest(&traffic, common::writer(folder.path(), Compression::Fast, packets)).bytes
        };
        let off = store(&folder(), Packets::Off);
        let full = store(&stored, Packets::Full);
        let each = |bytes: u64| bytes as f64 / count as f64;
        println!(
            "journal/{name}: {count} frames, {} bytes; of room a frame: streams {:.2}, journal {:.2}, headers {:.2}, capture {:.2}",
            traffic.len(),
            each(off),
            each(full.saturating_sub(off)),
            each(headers(&traffic) as u64),
            each(packed(&traffic, |frame| frame.data.len()) as u64),
        );

        group.throughput(Throughput::Elements(count as u64));
        for (way, packets) in [("off", Packets::Off), ("full", Packets::Full)] {
            group.bench_function(format!("{name}/{way}"), |b| {
                b.iter_batched_ref(folder, |folder| black_box(store(folder, packets)), BatchSize::PerIteration);
            });
        }
        group.bench_function(format!("{name}/headers"), |b| b.iter(|| black_box(headers(&traffic))));
        group.bench_function(format!("{name}/capture"), |b| {
            b.iter(|| black_box(packed(&traffic, |frame| frame.data.len())));
        });
        assert_eq!(frames_back(&stored), traffic.len());
        group.bench_function(format!("{name}/frames back"), |b| b.iter(|| frames_back(&stored)));
    }
    group.finish();
}

criterion_group!(benches, journal);
criterion_main!(benches);
