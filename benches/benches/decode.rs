//! Decoding: what a frame costs before its connection is known.
//!
//! Backs the short way for plain Ethernet, IPv4 and IPv6 (`short way`) beside what it replaces: the way through every layer
//! (`long way`, which the same packets take as raw IP) and etherparse's own walk over all layers (`etherparse`). `checksums`
//! is why checksums are looked at only when that is asked for.
#![allow(clippy::indexing_slicing, reason = "a bench that fails can only stop")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use etherparse::{SlicedPacket, TransportSlice};
use streamdb_benches::{bulk, mixed};
use streamdb_decode::{Config, Content, Decoder};
use streamdb_types::{LinkType, Timestamp};

const ETHERNET_HEADER: usize = 14;

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for (name, traffic) in [("bulk", bulk(20, 8 << 20)), ("mixed", mixed(20_000))] {
        let frames: Vec<&[u8]> = traffic.frames().map(|frame| frame.data).collect();
        let packets: Vec<&[u8]> = frames.iter().map(|frame| &frame[ETHERNET_HEADER..]).collect();
        group.throughput(Throughput::Elements(frames.len() as u64));
        for (way, link, frames, verify_checksums) in [
            ("short way", LinkType::ETHERNET, &frames, false),
            ("long way", LinkType::RAW, &packets, false),
            ("checksums", LinkType::ETHERNET, &frames, true),
        ] {
            let mut decoder = Decoder::new(Config { verify_checksums, ..Config::default() });
            assert_eq!(count(&mut decoder, link, frames), frames.len());
            group.bench_function(format!("{name}/{way}"), |b| b.iter(|| count(&mut decoder, link, frames)));
        }
        assert_eq!(count_sliced(&frames), frames.len());
        group.bench_function(format!("{name}/etherparse"), |b| b.iter(|| count_sliced(&frames)));
    }
    group.finish();
}

/// How many of the frames carry TCP or UDP.
fn count(decoder: &mut Decoder, link: LinkType, frames: &[&[u8]]) -> usize {
    let mut found = 0;
    for frame in frames {
        let decoded = decoder.decode(link, frame, frame.len() as u32, Timestamp(0), 0);
        found += usize::from(matches!(black_box(&decoded).content, Content::Tcp(_) | Content::Udp(_)));
    }
    found
}

fn count_sliced(frames: &[&[u8]]) -> usize {
    let transport = |frame: &&&[u8]| {
        let sliced = black_box(SlicedPacket::from_ethernet(frame));
        matches!(sliced, Ok(SlicedPacket { transport: Some(TransportSlice::Tcp(_) | TransportSlice::Udp(_)), .. }))
    };
    frames.iter().filter(transport).count()
}

criterion_group!(benches, decode);
criterion_main!(benches);
