//! Whatever the writer is told comes back: streams with their gaps, frames in their order; and the same input gives the
//! same bytes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails is a test that fails")]

mod common;

use common::{Driver, Op, Place, Random, bucket_bytes, check, soak};
use proptest::prelude::*;
use streamdb_storage::{Compression, Packets, WriterConfig};
use streamdb_testkit::TestFolder;
use streamdb_types::{Direction, Reason};

fn direction() -> impl Strategy<Value = Direction> {
    any::<bool>().prop_map(|b| if b { Direction::ToClient } else { Direction::ToServer })
}

fn length() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0u32..3000, 2 => Just(1448u32), 1 => 20_000u32..70_000, 1 => 100_000u32..200_000]
}

fn op() -> impl Strategy<Value = Op> {
    let slot = || 0usize..3;
    let place = prop_oneof![
        6 => Just(Place::Next),
        2 => (1u32..5000).prop_map(Place::Skip),
        1 => (100_000u32..300_000).prop_map(Place::Skip),
        2 => Just(Place::Fill),
    ];
    let trailer = prop_oneof![5 => Just(0u8), 1 => 1u8..20];
    prop_oneof![
        30 => (slot(), direction(), place, length(), prop::bool::weighted(0.2), trailer)
            .prop_map(|(slot, direction, place, len, held, trailer)| Op::Segment { slot, direction, place, len, held, trailer }),
        2 => (slot(), direction(), 1u32..200).prop_map(|(slot, direction, segments)| Op::Bulk { slot, direction, segments }),
        8 => (slot(), direction()).prop_map(|(slot, direction)| Op::Ack { slot, direction }),
        6 => (slot(), direction(), 1u32..5000, 1u32..2000, any::<bool>())
            .prop_map(|(slot, direction, back, len, differs)| Op::Again { slot, direction, back, len, differs }),
        3 => (slot(), direction(), 0u32..2000).prop_map(|(slot, direction, len)| Op::Fragments { slot, direction, len }),
        15 => (slot(), direction(), prop_oneof![Just(0u32), 1u32..600, 8000u32..60_000], prop_oneof![4 => Just(0u32), 1 => 1u32..500])
            .prop_map(|(slot, direction, len, cut)| Op::Datagram { slot, direction, len, cut }),
        4 => (0u32..2000).prop_map(|len| Op::Loose { len }),
        1 => (prop::option::of(any::<u32>()), 0u32..300_000).prop_map(|(kind, len)| Op::Attachment { kind, len }),
        1 => Just(Op::Loss),
        14 => Just(Op::Flush),
        4 => (0usize..7, prop::sample::select(Reason::ALL.to_vec())).prop_map(|(slot, reason)| Op::End { slot, reason }),
        3 => (0usize..7).prop_map(|slot| Op::Close { slot }),
        4 => Just(Op::EndBucket),
        3 => (-3_000_000_000i64..900_000_000_000).prop_map(Op::Time),
    ]
}

fn config() -> impl Strategy<Value = WriterConfig> {
    let compression = prop_oneof![Just(Compression::Fast), Just(Compression::Full)];
    let packets = prop_oneof![4 => Just(Packets::Full), 1 => Just(Packets::Tcp), 1 => Just(Packets::Off)];
    // Little memory: what was written is let go of early.
    let memory = prop_oneof![Just(512usize << 20), Just(100_000usize)];
    (compression, packets, memory).prop_map(|(compression, packets, stream_memory)| WriterConfig {
        compression,
        packets,
        stream_memory,
        ..WriterConfig::default()
    })
}

/// Runs a script and holds what is in the store against the model.
fn run(ops: &[Op], config: &WriterConfig) -> TestFolder {
    let folder = TestFolder::in_memory("roundtrip");
    let mut driver = Driver::new(folder.path(), config.clone());
    for op in ops {
        driver.act(op);
    }
    let model = driver.finish();
    check(folder.path(), &model, config.packets);
    folder
}

fn cases(n: u32) -> ProptestConfig {
    let cases = if soak() { n * 50 } else { n };
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 2000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn what_is_said_comes_back(ops in prop::collection::vec(op(), 1..120), config in config()) {
        run(&ops, &config);
    }
}

proptest! {
    #![proptest_config(cases(20))]

    #[test]
    fn the_same_script_gives_the_same_bytes(ops in prop::collection::vec(op(), 1..120), config in config()) {
        let (one, two) = (run(&ops, &config), run(&ops, &config));
        prop_assert!(bucket_bytes(one.path()) == bucket_bytes(two.path()));
    }
}

fn segment(place: Place, len: u32) -> Op {
    Op::Segment { slot: 0, direction: Direction::ToClient, place, len, held: false, trailer: 0 }
}

#[test]
fn a_long_stream_has_blocks_of_its_own() {
    for compression in [Compression::Fast, Compression::Full] {
        let config = WriterConfig { compression, ..WriterConfig::default() };
        let mut ops = Vec::new();
        for direction in Direction::BOTH {
            ops.push(Op::Bulk { slot: 0, direction, segments: 3000 });
            ops.push(Op::Flush);
            ops.push(Op::Bulk { slot: 0, direction, segments: 20 });
        }
        run(&ops, &config);
    }
}

#[test]
fn a_stream_of_very_many_chunks_needs_lists() {
    let mut ops = vec![segment(Place::Next, 100_000)];
    let mut random = Random(3);
    for _ in 0..6500 {
        let place = if random.below(8) == 0 { Place::Skip(3) } else { Place::Next };
        ops.push(segment(place, 1 + random.below(40) as u32));
        ops.push(Op::Flush);
    }
    run(&ops, &WriterConfig::default());
    // And each chunk with a hole before it: more than a record lists.
    let hole =
        Op::Segment { slot: 0, direction: Direction::ToServer, place: Place::Skip(9), len: 5, held: false, trailer: 0 };
    let holes = vec![hole; 3500];
    run(&holes, &WriterConfig::default());
}

#[test]
fn a_stream_goes_through_many_buckets() {
    let mut ops = Vec::new();
    for n in 0..30u32 {
        ops.push(segment(Place::Next, 100 * n));
        if n % 3 == 0 {
            ops.push(segment(Place::Skip(50), 10));
        }
        if n % 4 == 1 {
            ops.push(segment(Place::Fill, 20));
        }
        ops.push(Op::Datagram { slot: 1, direction: Direction::ToServer, len: n, cut: n % 2 });
        ops.push(Op::EndBucket);
    }
    run(&ops, &WriterConfig::default());
}

#[test]
fn bytes_after_the_end_are_kept_too() {
    for before in [0, 3, 6] {
        let mut ops = Vec::new();
        for _ in 0..before {
            ops.extend([segment(Place::Next, 40), Op::Flush]);
        }
        ops.extend([segment(Place::Skip(100), 30), Op::End { slot: 0, reason: Reason::Fin }, Op::Flush]);
        ops.extend([segment(Place::Fill, 50), Op::Flush, segment(Place::Fill, 1000), Op::Flush]);
        ops.extend([Op::Ack { slot: 0, direction: Direction::ToServer }, Op::Flush, Op::EndBucket]);
        ops.extend([segment(Place::Next, 10), Op::Flush]);
        run(&ops, &WriterConfig::default());
    }
}
