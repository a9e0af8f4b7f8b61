//! What a bucket and its records may cost, whatever the traffic; and what is said of a connection that ends without a frame.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails is a test that fails")]

mod common;

use std::time::Duration;

use common::{Driver, Op, Place, Random, check, list};
use streamdb_storage::{Compression, Loss, Packets, Store, WriterConfig};
use streamdb_testkit::TestFolder;
use streamdb_types::{Direction, GapKind, Reason, Timestamp};

fn segment(slot: usize, direction: Direction, place: Place, len: u32) -> Op {
    Op::Segment { slot, direction, place, len, held: false, trailer: 0 }
}

#[test]
fn a_bucket_of_very_many_connections_ends_early() {
    let folder = TestFolder::in_memory("connections");
    let config = WriterConfig { bucket_connections: 10, ..WriterConfig::default() };
    let mut driver = Driver::new(folder.path(), config);
    for _ in 0..35 {
        driver.act(&segment(0, Direction::ToServer, Place::Next, 0));
        driver.act(&Op::Close { slot: 0 });
        driver.flush();
        if driver.writer.bucket_is_full() {
            assert!(driver.writer.wants_commit(), "who feeds it would not look before the next tick");
            driver.end_bucket();
        }
    }
    let model = driver.finish();
    check(folder.path(), &model, Packets::Full);
    let buckets: Vec<_> =
        Store::open(folder.path()).unwrap().buckets().unwrap().into_iter().map(|b| b.unwrap()).collect();
    assert_eq!(buckets.iter().map(|b| b.connections).collect::<Vec<_>>(), [10, 10, 10, 5]);
    assert_eq!(buckets.iter().map(|b| b.counters.full_buckets).collect::<Vec<_>>(), [1, 1, 1, 0]);
}

/// Datagrams fill a block and more, and the longest come when there is the least room.
#[test]
fn datagrams_of_any_length_lie_whole_in_their_records() {
    for compression in [Compression::Fast, Compression::Full] {
        let folder = TestFolder::in_memory("datagrams");
        let mut driver = Driver::new(folder.path(), WriterConfig { compression, ..WriterConfig::default() });
        let direction = Direction::ToServer;
        for len in [1400, 65_507, 65_507, 261_000, 60_000, 131_072, 131_073, 262_090, 262_090, 0, 1] {
            driver.act(&Op::Datagram { slot: 0, direction, len, cut: 0 });
        }
        driver.flush();
        for len in [130_000, 262_090, 5] {
            driver.act(&Op::Datagram { slot: 0, direction, len, cut: 0 });
            driver.flush();
        }
        let model = driver.finish();
        check(folder.path(), &model, Packets::Full);
    }
}

#[test]
fn what_comes_before_the_first_frame_waits_for_it() {
    let folder = TestFolder::in_memory("attachments");
    let mut driver = Driver::new(folder.path(), WriterConfig::default());
    let mut random = Random(3);
    let noise: Vec<u8> = (0..300_000).map(|_| random.next() as u8).collect();
    assert!(driver.writer.attachment(None, &noise).unwrap());
    let never = Timestamp(i64::MAX);
    driver.writer.loss(&Loss { from: never, to: never, kernel: 1, interface: 2, shed: 0 }).unwrap();
    driver.act(&segment(0, Direction::ToServer, Place::Next, 100));
    let time = driver.time;
    let model = driver.finish();
    check(folder.path(), &model, Packets::Full);
    let buckets: Vec<_> =
        Store::open(folder.path()).unwrap().buckets().unwrap().into_iter().map(|b| b.unwrap()).collect();
    assert_eq!(buckets.len(), 1);
    assert!(buckets[0].superblock.window_start <= time && time < buckets[0].superblock.window_end);
    assert!(buckets[0].bytes > 300_000, "what waited is not there");

    // Not for ever more of it, and not without a frame.
    let folder = TestFolder::in_memory("attachments");
    let driver = &mut Driver::new(folder.path(), WriterConfig::default());
    let kept = (0..100).filter(|_| driver.writer.attachment(Some(7), &noise).unwrap()).count();
    assert_eq!(kept, (16 << 20) / (noise.len() + 64));
    assert_eq!(Store::open(folder.path()).unwrap().buckets().unwrap().len(), 0);
}

#[test]
fn gaps_cost_the_same_at_each_tick() {
    let folder = TestFolder::in_memory("gaps");
    let config = WriterConfig { bucket_bytes: 1 << 20, ..WriterConfig::default() };
    let mut driver = Driver::new(folder.path(), config);
    // The kind of this stream's gaps is one that has to be said.
    driver.act(&segment(0, Direction::ToServer, Place::Next, 0));
    for n in 0..1000 {
        driver.act(&segment(0, Direction::ToClient, Place::Skip(9), 5));
        if n % 7 == 0 {
            driver.act(&segment(0, Direction::ToClient, Place::Fill, 3));
        }
        driver.flush();
    }
    assert!(!driver.writer.bucket_is_full(), "the records grow with their number");
    let frames = driver.model.frames.len() as u64;
    let store = Store::open(folder.path()).unwrap();
    // The store thread is behind.
    while store.buckets().unwrap()[0].as_ref().map_or(0, |b| b.frames) < frames {
        std::thread::sleep(Duration::from_millis(5));
    }
    let info = list(&store).0.into_iter().find(|info| info.direction == Direction::ToClient).unwrap();
    assert_eq!(info.reason, None);
    let gaps = driver.model.conns[0].streams[1].gaps();
    assert_eq!(gaps[0].kind, GapKind::SnapLength);
    assert!(store.stream(info.oid).unwrap().gaps() == gaps, "gaps of a stream that is open");
    let model = driver.finish();
    check(folder.path(), &model, Packets::Full);
}

#[test]
fn a_connection_that_ends_without_a_frame_says_why() {
    for reason in [Reason::SynTimeout, Reason::Exiting, Reason::TimeCutoff] {
        let folder = TestFolder::in_memory("reasons");
        let mut driver = Driver::new(folder.path(), WriterConfig::default());
        driver.act(&segment(0, Direction::ToServer, Place::Next, 0));
        driver.act(&segment(1, Direction::ToServer, Place::Next, 7));
        driver.act(&segment(1, Direction::ToClient, Place::Next, 70));
        driver.end_bucket();
        driver.act(&Op::Time(300_000_000_000));
        driver.act(&Op::Loose { len: 60 });
        driver.act(&Op::End { slot: 0, reason });
        driver.act(&Op::End { slot: 1, reason });
        driver.flush();
        let model = driver.finish();
        check(folder.path(), &model, Packets::Full);
        let (infos, _) = list(&Store::open(folder.path()).unwrap());
        assert_eq!(infos.iter().map(|info| info.reason).collect::<Vec<_>>(), [Some(reason); 3]);
    }
}
