//! Stores of every version of the format stay readable: `fixtures/v1` was written by this version, and what is read from it
//! is compared with `fixtures/v1.txt`.
//!
//! `STREAMDB_BLESS=1` writes both anew. That is for a format that was never released; a released one stays as it is.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails is a test that fails")]

mod common;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Once;

use common::{Driver, Op, Place, QuickVolume, list, read_all};
use streamdb_storage::{FrameFilter, Store, Verify, WriteFolder, WriterConfig};
use streamdb_testkit::TestFolder;
use streamdb_types::{Direction, Reason};

fn fixtures() -> PathBuf {
    static WRITTEN: Once = Once::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    WRITTEN.call_once(|| {
        if std::env::var_os("STREAMDB_BLESS").is_some_and(|v| v == "1") {
            bless(&folder.join("v1"));
            std::fs::write(folder.join("v1.txt"), told(&folder.join("v1"))).unwrap();
        }
    });
    folder
}

fn script() -> Vec<Op> {
    let (s, c) = (Direction::ToServer, Direction::ToClient);
    let segment = |slot, direction, place, len| Op::Segment { slot, direction, place, len, held: false, trailer: 0 };
    vec![
        // TCP with gaps, one of them filled late, and an end.
        segment(0, s, Place::Next, 0),
        segment(0, c, Place::Next, 0),
        segment(0, s, Place::Next, 47),
        Op::Segment { slot: 0, direction: c, place: Place::Skip(300), len: 200, held: true, trailer: 0 },
        segment(0, c, Place::Skip(1000), 500),
        Op::Flush,
        segment(0, c, Place::Fill, 100),
        Op::Again { slot: 0, direction: c, back: 300, len: 200, differs: false },
        Op::Again { slot: 0, direction: c, back: 300, len: 200, differs: true },
        Op::End { slot: 0, reason: Reason::Fin },
        Op::Flush,
        Op::Close { slot: 0 },
        // A long stream: blocks of its own, and a fragmented request.
        segment(1, s, Place::Next, 30),
        Op::Fragments { slot: 1, direction: s, len: 60 },
        Op::Bulk { slot: 1, direction: c, segments: 60 },
        Op::Flush,
        Op::Bulk { slot: 1, direction: c, segments: 60 },
        Op::End { slot: 1, reason: Reason::Rst },
        Op::Flush,
        // UDP, cut and empty datagrams too.
        Op::Datagram { slot: 0, direction: s, len: 33, cut: 0 },
        Op::Datagram { slot: 0, direction: c, len: 120, cut: 40 },
        Op::Datagram { slot: 0, direction: c, len: 0, cut: 0 },
        Op::Flush,
        // Published in many chunks, and written once more in one piece.
        segment(2, s, Place::Next, 10),
        Op::Flush,
        segment(2, s, Place::Next, 11),
        Op::Flush,
        segment(2, s, Place::Next, 12),
        Op::Flush,
        segment(2, s, Place::Next, 13),
        Op::Flush,
        segment(2, s, Place::Next, 14),
        Op::Flush,
        Op::Attachment { kind: Some(0x544c_534b), len: 60 },
        Op::Attachment { kind: None, len: 20 },
        Op::Loss,
        Op::Loose { len: 70 },
        // Over two buckets.
        Op::EndBucket,
        Op::Time(300_000_000_000),
        segment(2, s, Place::Next, 400),
        Op::Flush,
        segment(2, c, Place::Next, 90),
        Op::Datagram { slot: 0, direction: s, len: 50, cut: 0 },
        Op::End { slot: 2, reason: Reason::Fin },
        Op::Flush,
        // Bytes after the end.
        segment(2, c, Place::Next, 5),
        Op::EndBucket,
        Op::Time(300_000_000_000),
        // This bucket will be cut.
        segment(3, s, Place::Next, 300),
        segment(3, c, Place::Next, 900),
        Op::Flush,
        segment(3, c, Place::Next, 800),
        segment(2, s, Place::Next, 77),
        Op::Flush,
        segment(3, s, Place::Next, 60),
        Op::Flush,
    ]
}

/// The position of each block, by the lengths in the headers, and of the end of the last one.
fn blocks(bytes: &[u8]) -> Vec<usize> {
    let mut all = vec![4096];
    while let Some(header) = bytes.get(all[all.len() - 1]..).filter(|rest| rest.starts_with(b"SDBK")) {
        let stored = u32::from_le_bytes(header[12..16].try_into().unwrap()) as usize;
        all.push(all[all.len() - 1] + (64 + stored).next_multiple_of(64));
    }
    all
}

/// Writes the store: three buckets, the last of which its writer left behind in the middle of a block.
fn bless(to: &Path) {
    let folder = TestFolder::in_memory("fixture");
    let mut driver = Driver::new(folder.path(), WriterConfig::default());
    for op in script() {
        driver.act(&op);
    }
    driver.finish();
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to.join("buckets")).unwrap();
    for (name, bytes) in common::bucket_bytes(folder.path()) {
        let blocks = blocks(&bytes);
        // The ENDs, the directory and the trailer go, and half of the block before them.
        let kept =
            if name == "3.sdb" { (blocks[blocks.len() - 4] + blocks[blocks.len() - 3]) / 2 } else { bytes.len() };
        std::fs::write(to.join("buckets").join(name), &bytes[..kept]).unwrap();
    }
    let ledger = std::fs::read_to_string(folder.path().join("ledger")).unwrap();
    let lines: Vec<&str> = ledger.split_inclusive('\n').filter(|line| !line.contains(" sealed id=3 ")).collect();
    std::fs::write(to.join("ledger"), lines.concat()).unwrap();
}

/// All that can be read from a store, as text.
fn told(folder: &Path) -> String {
    let mut text = String::new();
    let store = Store::open(folder).unwrap();
    for bucket in store.buckets().unwrap() {
        let b = bucket.unwrap();
        let (id, from, to) = (b.superblock.id, b.superblock.window_start, b.superblock.window_end);
        writeln!(text, "bucket {id} worker {} window {from} {to}", b.superblock.worker).unwrap();
        let (first, last) = b.times.unwrap();
        writeln!(
            text,
            "  sealed {} recovered {} blocks {} connections {} streams {} frames {} times {first} {last} counted {}",
            b.sealed, b.recovered, b.blocks, b.connections, b.streams, b.frames, b.counters.frames
        )
        .unwrap();
    }
    let (streams, errors) = list(&store);
    assert!(errors.is_empty(), "{errors:?}");
    for info in streams {
        let (from, to) = info.tuple.ends(info.direction);
        let reason = info.reason.map_or("open".to_owned(), |r| r.letter().to_string());
        let (key, part, packets, length) = (info.key, info.part, info.packets, info.length.0);
        writeln!(text, "stream {} key {key} {} {from} -> {to} [{}]", info.oid, info.tuple.protocol, info.path).unwrap();
        writeln!(
            text,
            "  part {part} {} {} packets {packets} length {length} reason {reason} marks {:?} peer {}",
            info.first,
            info.last,
            info.marks,
            info.peer.map_or("none".to_owned(), |peer| peer.to_string())
        )
        .unwrap();
        let stream = store.stream(info.oid).unwrap();
        let (runs, gaps) = read_all(&stream, 4096).unwrap();
        for (at, bytes) in runs {
            writeln!(text, "  bytes {at}..{} crc32 {:08x}", at + bytes.len() as u64, crc32fast::hash(&bytes)).unwrap();
        }
        for gap in gaps {
            writeln!(text, "  gap {}..{} {}", gap.offset.0, gap.end().0, gap.kind.word()).unwrap();
        }
        let mut own = crc32fast::Hasher::new();
        let mut count = 0;
        store
            .stream_frames(&stream, &mut |frame| {
                own.update(frame.data);
                count += 1;
                Ok(())
            })
            .unwrap();
        writeln!(text, "  frames {count} crc32 {:08x}", own.finalize()).unwrap();
    }
    store
        .frames(&FrameFilter::default(), &mut |f| {
            let (link, crc) = (f.interface.link_type.0, crc32fast::hash(f.data));
            let (time, wire, captured) = (f.time, f.wire_len, f.data.len());
            let options = f.interface.options.len();
            writeln!(
                text,
                "frame {time} link {link} options {options} wire {wire} captured {captured} crc32 {crc:08x}"
            )
            .unwrap();
            Ok(())
        })
        .unwrap();
    let verified = store.verify(Verify::Deep, &mut |_, _| {}).unwrap();
    assert_eq!(verified.findings, []);
    let (buckets, unsealed, blocks) = (verified.buckets, verified.unsealed, verified.blocks);
    writeln!(text, "verified {buckets} buckets, {unsealed} unsealed, {blocks} blocks, {} frames", verified.frames)
        .unwrap();
    text
}

#[test]
fn version_1_is_read() {
    let (folder, golden) = (fixtures().join("v1"), fixtures().join("v1.txt"));
    let (expected, found) = (std::fs::read_to_string(golden).unwrap(), told(&folder));
    for (expected, found) in expected.lines().zip(found.lines()) {
        assert_eq!(expected, found);
    }
    assert_eq!(expected.lines().count(), found.lines().count());
}

#[test]
fn version_1_is_recovered() {
    let folder = TestFolder::in_memory("v1");
    std::fs::create_dir(folder.path().join("buckets")).unwrap();
    for name in ["ledger", "buckets/1.sdb", "buckets/2.sdb", "buckets/3.sdb"] {
        std::fs::copy(fixtures().join("v1").join(name), folder.path().join(name)).unwrap();
    }
    let before = told(folder.path());
    let writer = WriteFolder::open(folder.path(), Box::new(QuickVolume)).unwrap();
    let recovered: Vec<_> = writer.recovered().iter().map(|r| r.id.0).collect();
    assert_eq!(recovered, [3]);
    drop(writer);
    let after = told(folder.path());
    // The same bytes and frames, in sealed buckets.
    let same = |text: &str| -> Vec<String> {
        let kept = ["  bytes", "  gap", "frame "];
        let lines = text.lines().filter(|line| kept.iter().any(|k| line.starts_with(k)));
        let mut lines: Vec<String> = lines.map(str::to_owned).collect();
        // Streams come in the order of their records, and recovery wrote new ones.
        lines.sort();
        lines
    };
    assert_eq!(same(&before), same(&after));
    assert!(after.contains("sealed true recovered true"));
    assert!(!after.contains("sealed false"));
}
