//! The example in FORMAT.md is a bucket: what the page says of its bytes is so, the reader reads it, and the writer still
//! makes such records.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is a test that fails"
)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use common::{QuickVolume, list, read_all};
use streamdb_storage::{FrameFilter, FrameIn, Store, StreamFacts, Verify, WriteFolder, Writer, WriterConfig};
use streamdb_testkit::TestFolder;
use streamdb_types::{
    Counters, Direction, Endpoint, Gap, GapKind, Interface, LinkType, Marks, Path as Hops, Protocol, Reason,
    Resolution, StreamOffset, Timestamp, Tuple,
};

/// The example: the file, the uncompressed bytes of blocks by their position, and how many values were checked.
#[derive(Default)]
struct Example {
    file: Vec<u8>,
    raw: BTreeMap<usize, Vec<u8>>,
    checked: usize,
}

fn varint(bytes: &[u8]) -> u64 {
    bytes.iter().enumerate().map(|(at, byte)| u64::from(byte & 0x7f) << (7 * at)).sum()
}

fn number(bytes: &[u8]) -> u64 {
    let mut all = [0; 8];
    all[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(all)
}

/// What the bytes say, in the terms of the page.
fn said(kind: &str, bytes: &[u8]) -> Option<String> {
    let widths = [("u8", 1), ("u16", 2), ("u32", 4), ("u64", 8), ("i64", 8), ("place", 8), ("ip", 4)];
    if let Some((_, width)) = widths.iter().find(|(name, _)| *name == kind) {
        assert_eq!(bytes.len(), *width, "{kind}");
    }
    Some(match kind {
        "u8" | "u16" | "u32" | "u64" => number(bytes).to_string(),
        "i64" => number(bytes).cast_signed().to_string(),
        "varint" => varint(bytes).to_string(),
        "zigzag" => ((varint(bytes) >> 1).cast_signed() ^ -(varint(bytes) & 1).cast_signed()).to_string(),
        "place" => format!("{}/{}", (number(bytes) >> 15) * 64, (number(bytes) & 0x7fff) * 8),
        "ip" => std::net::Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).to_string(),
        "text" => format!("{:?}", std::str::from_utf8(bytes).unwrap()),
        _ => return None,
    })
}

fn example() -> Example {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("FORMAT.md")).unwrap();
    let mut example = Example::default();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(tag) = line.strip_prefix("```sdb") else { continue };
        let mut bytes = Vec::new();
        for line in lines.by_ref().take_while(|line| *line != "```") {
            let (hex, comment) = line.split_once(';').unwrap_or((line, ""));
            let start = bytes.len();
            for word in hex.split_whitespace() {
                match word.strip_prefix("00*") {
                    Some(count) => bytes.resize(bytes.len() + count.parse::<usize>().unwrap(), 0),
                    None => bytes.push(u8::from_str_radix(word, 16).unwrap()),
                }
            }
            let comment = comment.trim();
            let (kind, rest) = comment.split_once(' ').unwrap_or((comment, ""));
            if let Some(said) = said(kind, &bytes[start..]) {
                assert!(rest == said || rest.starts_with(&format!("{said} ")), "{line}: the bytes say {said}");
                example.checked += 1;
            }
        }
        match tag.strip_prefix("-raw ") {
            Some(position) => drop(example.raw.insert(position.parse().unwrap(), bytes)),
            None => example.file.extend(bytes),
        }
    }
    example
}

const START: Timestamp = Timestamp::new(1_330_674_711, 46_000);

/// The two frames: Ethernet, IPv4 and TCP without checksums.
fn frames() -> [Vec<u8>; 2] {
    let frame = |hosts: [u8; 12], addresses: [u8; 8], ports: [u8; 4], seq: u8, ack: u8, payload: &[u8; 4]| {
        let mut bytes = hosts.to_vec();
        bytes.extend([8, 0, 0x45, 0, 0, 44, 0, 1, 0x40, 0, 64, 6, 0, 0]);
        bytes.extend(addresses);
        bytes.extend(ports);
        bytes.extend([0, 0, 0, seq, 0, 0, 0, ack, 0x50, 0x18, 4, 0, 0, 0, 0, 0]);
        bytes.extend(payload);
        bytes
    };
    [
        frame([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1], [10, 0, 0, 5, 203, 0, 113, 9], [0xc0, 0x3b, 0, 80], 1, 9, b"GET?"),
        frame([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], [203, 0, 113, 9, 10, 0, 0, 5], [0, 80, 0xc0, 0x3b], 9, 5, b"no.\n"),
    ]
}

fn write_it(folder: &Path) {
    let folder = Arc::new(WriteFolder::open(folder, Box::new(QuickVolume)).unwrap());
    let mut writer = Writer::new(folder, 0, WriterConfig::default()).unwrap();
    let interface = writer.interface(&Interface {
        link_type: LinkType::ETHERNET,
        snap_length: 262_144,
        resolution: Resolution::MICROS,
        time_offset: 0,
        fcs_length: None,
        options: Vec::new(),
    });
    let tuple = Tuple {
        protocol: Protocol::TCP,
        client: Endpoint::new("10.0.0.5".parse().unwrap(), 49_211),
        server: Endpoint::new("203.0.113.9".parse().unwrap(), 80),
    };
    for (direction, data) in Direction::BOTH.into_iter().zip(frames()) {
        let time = START.plus(direction as i64 * 2000);
        let wire_len = data.len() as u32;
        let frame = FrameIn { time, interface, wire_len, data: &data, payload_at: 54, payload_len: 4, is_tcp: true };
        let tag = writer.frame(&frame).unwrap();
        if direction == Direction::ToServer {
            writer.opened(0, &tuple, &Hops::EMPTY, time);
        }
        writer.data(0, direction, StreamOffset(0), &data[54..]).unwrap();
        writer.placed(tag, StreamOffset(0));
        writer.belongs(tag, 0, direction);
    }
    let gap = [Gap { offset: StreamOffset(4), length: 3, kind: GapKind::Missing }];
    let facts = [(START, 4, &gap[..0]), (START.plus(2000), 7, &gap[..])].map(|(time, length, gaps)| StreamFacts {
        packets: 1,
        first: time,
        last: time,
        length: StreamOffset(length),
        gaps,
        marks: Marks::MIDSTREAM,
        limited: false,
    });
    writer.checkpoint(0, facts, Some(Reason::Exiting)).unwrap();
    writer.closed(0);
    let counters = Counters {
        frames: 2,
        captured_bytes: 116,
        wire_bytes: 116,
        connections: 1,
        streams: 2,
        tcp_frames: 2,
        payload_captured: 8,
        payload_stored: 8,
        ..Counters::default()
    };
    writer.finish(&counters).unwrap();
}

/// The uncompressed bytes of the block at a position.
fn block(file: &[u8], position: usize) -> Vec<u8> {
    let field = |at: usize| u32::from_le_bytes(file[position + at..position + at + 4].try_into().unwrap()) as usize;
    let stored = &file[position + 64..position + 64 + field(12)];
    if file[position + 5] == 0 { stored.to_vec() } else { zstd::bulk::decompress(stored, field(16)).unwrap() }
}

#[test]
fn the_page_says_what_the_bytes_are() {
    let example = example();
    assert!(example.checked > 150, "{} values were checked", example.checked);
    assert_eq!(example.raw.len(), 2);
    for (position, raw) in &example.raw {
        assert!(block(&example.file, *position) == *raw, "the block at {position}");
    }
}

#[test]
fn the_reader_reads_the_example() {
    let folder = TestFolder::in_memory("example");
    std::fs::create_dir(folder.path().join("buckets")).unwrap();
    drop(WriteFolder::open(folder.path(), Box::new(QuickVolume)).unwrap());
    std::fs::write(folder.path().join("buckets").join("1.sdb"), example().file).unwrap();
    let store = Store::open(folder.path()).unwrap();
    let verified = store.verify(Verify::Deep, &mut |_, _| {}).unwrap();
    assert_eq!((verified.findings.as_slice(), verified.unsealed, verified.blocks), (&[][..], 0, 3));
    let (streams, errors) = list(&store);
    assert!(errors.is_empty());
    let oids: Vec<String> = streams.iter().map(|info| info.oid.to_string()).collect();
    assert_eq!(oids, ["1-2097157-4-0", "1-2097168-7-0"]);
    let gap = Gap { offset: StreamOffset(4), length: 3, kind: GapKind::Missing };
    for (info, (bytes, gaps)) in streams.iter().zip([(b"GET?", vec![]), (b"no.\n", vec![gap])]) {
        assert_eq!((info.reason, info.packets, info.marks), (Some(Reason::Exiting), 1, Marks::MIDSTREAM));
        assert_eq!(read_all(&store.stream(info.oid).unwrap(), 10).unwrap(), (vec![(0, bytes.to_vec())], gaps));
    }
    let mut all = Vec::new();
    store
        .frames(&FrameFilter::default(), &mut |frame| {
            all.push((frame.time, frame.data.to_vec()));
            Ok(())
        })
        .unwrap();
    let [one, two] = frames();
    assert_eq!(all, [(START, one), (START.plus(2000), two)]);
}

#[test]
fn the_writer_still_makes_such_records() {
    let folder = TestFolder::in_memory("example");
    write_it(folder.path());
    let written = std::fs::read(folder.path().join("buckets").join("1.sdb")).unwrap();
    let example = example();
    // How it is compressed, and with that where later blocks lie, is the library's choice.
    assert!(written[..4096] == example.file[..4096]);
    assert!(block(&written, 4096) == example.raw[&4096]);
}
