//! What a writer that died leaves, and what damage does: never a wrong byte, never a panic; what is served is part of what
//! was there, or there is an error that names file and place. And recovery can die at each of its operations.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is a test that fails"
)]

mod common;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use common::{Driver, Model, Op, Place, QuickVolume, Random, content, frame_of, list, read_all, soak};
use streamdb_storage::{Error, FrameFilter, Store, Verify, Volume, VolumeFile, WriteFolder, WriterConfig};
use streamdb_testkit::{Fault, FaultVolume, TestFolder};
use streamdb_types::{Direction, Reason};

const SUPERBLOCK: usize = 4096;
const HEADER: usize = 64;

/// A data folder with one bucket, as the writer had it before it ended the bucket, and after.
struct Case {
    /// The ledger of the writer that did not get to say that the bucket is sealed.
    ledger: String,
    name: String,
    /// The file as it was, and zeros behind it.
    open: Vec<u8>,
    sealed: Vec<u8>,
    model: Model,
}

fn segment(slot: usize, direction: Direction, place: Place, len: u32) -> Op {
    Op::Segment { slot, direction, place, len, held: false, trailer: 0 }
}

/// Conversations of all kinds: short, long, with gaps, with ends, with bytes after the end, UDP, frames of nothing.
fn script(small: bool) -> Vec<Op> {
    let (s, c) = (Direction::ToServer, Direction::ToClient);
    let mut ops = vec![Op::Attachment { kind: Some(5), len: 40 }, Op::Attachment { kind: None, len: 10 }, Op::Loss];
    ops.extend([segment(0, s, Place::Next, 0), segment(0, c, Place::Next, 0), segment(0, s, Place::Next, 300)]);
    ops.extend([segment(0, c, Place::Next, 1448), segment(0, c, Place::Skip(500), 1000), Op::Flush]);
    ops.extend([segment(1, s, Place::Next, 80), segment(1, c, Place::Next, 200), Op::Loose { len: 90 }]);
    ops.extend([Op::End { slot: 1, reason: Reason::Fin }, Op::Flush]);
    ops.extend([segment(1, c, Place::Next, 50), Op::Flush, Op::Close { slot: 1 }, Op::Flush]);
    for len in [20, 0, 300] {
        ops.push(Op::Datagram { slot: 0, direction: s, len, cut: len / 20 });
        ops.push(Op::Datagram { slot: 0, direction: c, len: len * 2, cut: 0 });
    }
    ops.push(Op::Flush);
    if !small {
        ops.extend([Op::Bulk { slot: 2, direction: c, segments: 900 }, segment(2, s, Place::Next, 700), Op::Flush]);
        ops.extend([
            Op::Bulk { slot: 2, direction: c, segments: 100 },
            Op::Fragments { slot: 2, direction: s, len: 60 },
        ]);
        ops.extend((0..7).flat_map(|n| [segment(3, c, Place::Next, 100 + n), Op::Flush]));
        ops.extend([Op::Close { slot: 3 }, Op::Flush]);
    }
    ops.extend([
        segment(0, c, Place::Fill, 100),
        Op::Again { slot: 0, direction: c, back: 900, len: 500, differs: false },
    ]);
    ops.extend([Op::Ack { slot: 0, direction: s }, Op::Flush]);
    ops.extend([segment(0, s, Place::Next, 33), Op::Flush]);
    ops
}

fn make(small: bool) -> Case {
    let folder = TestFolder::in_memory("recovery");
    let mut driver = Driver::new(folder.path(), WriterConfig::default());
    for op in script(small) {
        driver.act(&op);
    }
    let name = "1.sdb".to_owned();
    let path = folder.path().join("buckets").join(&name);
    // The store thread is behind; what is published says when it is not.
    let whole = || {
        let store = Store::open(folder.path()).unwrap();
        store.buckets().unwrap().first().and_then(|info| info.as_ref().ok()).map_or(0, |info| info.frames)
    };
    while whole() < driver.model.frames.len() as u64 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let mut open = std::fs::read(&path).unwrap();
    let model = driver.model.clone();
    drop(driver.finish());
    let sealed = std::fs::read(&path).unwrap();
    let end = open.iter().rposition(|b| *b != 0).unwrap() + 1;
    open.resize(end.next_multiple_of(64) + 8192, 0);
    let ledger = std::fs::read_to_string(folder.path().join("ledger")).unwrap();
    let ledger = ledger.split_inclusive('\n').filter(|line| !line.contains(" sealed ")).collect();
    Case { ledger, name, open, sealed, model }
}

fn case(small: bool) -> &'static Case {
    static CASES: [OnceLock<Case>; 2] = [OnceLock::new(), OnceLock::new()];
    CASES[usize::from(small)].get_or_init(|| make(small))
}

/// Where the blocks of a bucket begin, and after the last one where they end; by the lengths in their headers alone.
fn blocks(bytes: &[u8]) -> Vec<usize> {
    let mut at = SUPERBLOCK;
    let mut all = vec![at];
    while bytes.get(at..at + 4).is_some_and(|magic| magic == b"SDBK") {
        let stored = u32::from_le_bytes(bytes[at + 12..at + 16].try_into().unwrap()) as usize;
        at += (HEADER + stored).next_multiple_of(64);
        all.push(at);
    }
    all
}

/// Where the bytes of each block end, its padding left out.
fn stored_ends(bytes: &[u8]) -> Vec<usize> {
    let starts = blocks(bytes);
    let stored = |at: usize| u32::from_le_bytes(bytes[at + 12..at + 16].try_into().unwrap()) as usize;
    starts[..starts.len() - 1].iter().map(|at| at + HEADER + stored(*at)).collect()
}

/// A data folder with this bucket in it, whose writer died before it could say that the bucket is sealed.
fn folder_with(case: &Case, bytes: &[u8]) -> TestFolder {
    let folder = TestFolder::in_memory("damaged");
    std::fs::create_dir(folder.path().join("buckets")).unwrap();
    std::fs::write(folder.path().join("ledger"), &case.ledger).unwrap();
    std::fs::write(folder.path().join("buckets").join(&case.name), bytes).unwrap();
    folder
}

/// What a store serves.
#[derive(Debug, Default, PartialEq, Eq)]
struct Served {
    streams: usize,
    bytes: u64,
    frames: usize,
    errors: usize,
}

/// Errors that say where.
fn is_named(error: &Error) -> bool {
    match error {
        Error::Damaged { path, what, .. } => path.is_absolute() && !what.is_empty(),
        Error::Version { path, .. } => path.is_absolute(),
        _ => false,
    }
}

/// Everything that is served is what was there; everything else is a named error.
fn serve(folder: &Path, model: &Model, what: &str) -> Served {
    serve_by(&Store::open(folder).unwrap(), model, what)
}

fn serve_by(store: &Store, model: &Model, what: &str) -> Served {
    let mut served = Served::default();
    let refuse = |served: &mut Served, error: &Error| {
        assert!(is_named(error), "{what}: {error:?}");
        served.errors += 1;
    };
    for info in store.buckets().unwrap() {
        if let Err(error) = info {
            refuse(&mut served, &error);
        }
    }
    let (infos, errors) = list(store);
    errors.iter().for_each(|error| refuse(&mut served, error));
    for info in infos {
        let number = usize::from(info.tuple.client.port - 1024);
        let conn = &model.conns[number];
        let stream = info.direction.of(&conn.streams);
        assert_eq!((info.tuple, info.path), (conn.tuple, conn.path), "{what}");
        assert!(info.length.0 <= stream.length && info.packets <= stream.packets, "{what}: more than there was");
        served.streams += 1;
        let read = match store.stream(info.oid) {
            Ok(stream) => stream,
            Err(error) => {
                refuse(&mut served, &error);
                continue;
            }
        };
        match read_all(&read, 1 << 20) {
            Ok((runs, _)) => {
                for (at, bytes) in runs {
                    let end = at + bytes.len() as u64;
                    assert!(stream.has(at, end), "{what}: {number} has bytes {at}..{end} that were never there");
                    assert!(content(number, info.direction, at, bytes.len()) == bytes, "{what}: wrong bytes");
                    served.bytes += bytes.len() as u64;
                }
            }
            Err(error) => refuse(&mut served, &error),
        }
        let mut own = 0;
        let result = store.stream_frames(&read, &mut |frame| {
            let frame = frame_of(model, frame);
            assert!(
                model.frames.iter().any(|f| f.conn == Some(number) && f.data == frame.data && f.time == frame.time),
                "{what}: a frame that was not there"
            );
            own += 1;
            Ok(())
        });
        if let Err(error) = result {
            refuse(&mut served, &error);
        }
    }
    let result = store.frames(&FrameFilter::default(), &mut |frame| {
        let expected = &model.frames[served.frames];
        assert_eq!(frame_of(model, frame), common::bare(expected), "{what}: frame {}", served.frames);
        served.frames += 1;
        Ok(())
    });
    if let Err(error) = result {
        refuse(&mut served, &error);
    }
    served
}

/// Recovers a folder; how many streams it then has.
fn recover(folder: &Path, model: &Model, what: &str) -> Option<Served> {
    match WriteFolder::open(folder, Box::new(QuickVolume)) {
        Ok(_) => {}
        Err(error) => {
            assert!(is_named(&error), "{what}: {error:?}");
            return None;
        }
    }
    let store = Store::open(folder).unwrap();
    let verified = store.verify(Verify::Deep, &mut |_, _| {}).unwrap();
    if verified.buckets == 0 {
        // It cannot even be opened: it is left as it is, and named.
        assert!(!verified.findings.is_empty(), "{what}");
        return None;
    }
    assert_eq!(verified.unsealed, 0, "{what}");
    assert_eq!(verified.findings, [], "{what}");
    Some(serve(folder, model, what))
}

fn bucket(folder: &Path, case: &Case) -> PathBuf {
    folder.join("buckets").join(&case.name)
}

#[test]
fn an_open_bucket_is_served_and_recovered_whole() {
    for small in [false, true] {
        let case = case(small);
        let folder = folder_with(case, &case.open);
        let before = serve(folder.path(), &case.model, "open");
        let all: u64 =
            case.model.conns.iter().flat_map(|c| &c.streams).flat_map(|s| &s.ranges).map(|r| r.1 - r.0).sum();
        let streams = case.model.conns.iter().flat_map(|c| &c.streams).filter(|s| s.packets > 0).count();
        assert_eq!(before, Served { streams, bytes: all, frames: case.model.frames.len(), errors: 0 });
        assert_eq!(recover(folder.path(), &case.model, "open"), Some(before));
        // Streams that were open have all the frames of their connections.
        let store = Store::open(folder.path()).unwrap();
        for info in list(&store).0 {
            let stream = store.stream(info.oid).unwrap();
            let mut frames = 0;
            store
                .stream_frames(&stream, &mut |_| {
                    frames += 1;
                    Ok(())
                })
                .unwrap();
            let number = usize::from(info.tuple.client.port - 1024);
            assert_eq!(frames, case.model.frames.iter().filter(|f| f.conn == Some(number)).count());
            let model = info.direction.of(&case.model.conns[number].streams);
            assert_eq!((info.length.0, info.gap_bytes), (model.length, model.gaps().iter().map(|g| g.length).sum()));
        }
        let ledger = streamdb_storage::Ledger::read(&folder.path().join("ledger")).unwrap();
        let sealed = ledger.iter().filter(|e| matches!(e.event, streamdb_storage::Event::Sealed { .. })).count();
        assert_eq!(sealed, 1, "the ledger knows when the bucket was sealed");
    }
}

#[test]
fn every_cut_is_a_part_of_the_whole() {
    for small in [false, true] {
        let case = case(small);
        let ends = blocks(&case.open);
        let stored = stored_ends(&case.open);
        let (first, last) = (ends[ends.len() - 2], ends[ends.len() - 1]);
        let step = if small || soak() { 1 } else { 13 };
        let cuts = (first..=last).step_by(step).chain(ends.iter().flat_map(|end| [end - 1, *end, end + 1]));
        let mut least: BTreeMap<usize, Served> = BTreeMap::new();
        for cut in cuts {
            let folder = folder_with(case, &case.open[..cut]);
            let what = format!("cut at {cut}");
            let served = serve(folder.path(), &case.model, &what);
            if cut < SUPERBLOCK {
                assert!(served.errors > 0, "{what}");
                continue;
            }
            assert_eq!(served.errors, 0, "{what}");
            // As much as the blocks before the cut hold, wherever in the block the cut is.
            let whole = stored.partition_point(|end| *end <= cut);
            if let Some(other) = least.get(&whole) {
                assert_eq!(*other, served, "{what}");
            }
            if cut % 16 == 0 || small {
                assert_eq!(recover(folder.path(), &case.model, &what).as_ref(), Some(&served), "{what}");
            }
            least.insert(whole, served);
        }
        let bytes: Vec<u64> = least.values().map(|served| served.bytes).collect();
        assert!(bytes.is_sorted(), "{bytes:?}");
    }
}

#[test]
fn no_flipped_bit_is_served() {
    for (small, sealed) in [(true, false), (true, true), (false, false), (false, true)] {
        let case = case(small);
        let bytes = if sealed { &case.sealed } else { &case.open };
        let ends = blocks(bytes);
        let used = ends[ends.len() - 1] + if sealed { 64 } else { 0 };
        let mut random = Random(11);
        let mut bits: Vec<usize> = Vec::new();
        let per_place = match (soak(), small) {
            (true, true) => 20_000,
            (true, false) => 2_000,
            (false, true) => 100,
            (false, false) => 30,
        };
        bits.extend((0..per_place).map(|_| random.below(used as u64 * 8) as usize));
        for at in &ends {
            match (soak(), small) {
                (true, _) => bits.extend(at * 8..(at + HEADER) * 8),
                (false, true) => bits.extend((0..24).map(|_| at * 8 + random.below(HEADER as u64 * 8) as usize)),
                (false, false) => bits.extend((0..4).map(|_| at * 8 + random.below(HEADER as u64 * 8) as usize)),
            }
        }
        bits.extend((0..40).map(|_| random.below(64 * 8) as usize));
        for bit in bits {
            let mut bad = bytes.clone();
            let Some(byte) = bad.get_mut(bit / 8) else { continue };
            *byte ^= 1 << (bit % 8);
            let what = format!("bit {bit} of byte {}, sealed {sealed}", bit / 8);
            let folder = folder_with(case, &bad);
            let model = &case.model;
            let before = serve(folder.path(), model, &what);
            let found = Store::open(folder.path()).unwrap().verify(Verify::Deep, &mut |_, _| {}).unwrap();
            let in_padding = before.errors == 0 && found.findings.is_empty() && found.unsealed == 0;
            if sealed && in_padding {
                // Only what lies between a block's bytes and the next block can be changed without anybody's knowing.
                let block = ends[ends.partition_point(|end| *end <= bit / 8).saturating_sub(1)];
                let stored = u32::from_le_bytes(bytes[block + 12..block + 16].try_into().unwrap()) as usize;
                assert!(bit / 8 >= block + HEADER + stored, "{what}: damage went unseen");
            }
            if !sealed {
                recover(folder.path(), model, &what);
            }
        }
    }
}

#[test]
fn whatever_follows_the_last_block_is_cut() {
    let case = case(true);
    let end = *blocks(&case.open).last().unwrap();
    let other = self::case(false);
    let foreign = blocks(&other.open);
    let whole = serve(folder_with(case, &case.open[..end]).path(), &case.model, "whole");
    let mut random = Random(5);
    let noise: Vec<u8> = (0..5000).map(|_| random.next() as u8).collect();
    let stale = other.open[foreign[0]..foreign[1]].to_vec();
    // A block of the same bucket, in another place.
    let moved = case.open[SUPERBLOCK..blocks(&case.open)[1]].to_vec();
    // The very block that would follow, of a bucket with another id.
    let mut renamed = case.sealed[end..case.sealed.len() - 64].to_vec();
    renamed[44] ^= 2;
    for (what, tail) in [
        ("zeros", vec![0; 1 << 16]),
        ("one zero", vec![0]),
        ("noise", noise),
        ("a stale block", stale),
        ("a moved block", moved),
        ("a block of another bucket", renamed),
        ("half a block", case.sealed[end..end + 100].to_vec()),
        ("magic alone", b"SDBK".to_vec()),
    ] {
        let mut bytes = case.open[..end].to_vec();
        let written = tail.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
        bytes.extend(tail);
        let folder = folder_with(case, &bytes);
        assert_eq!(serve(folder.path(), &case.model, what), whole, "{what}");
        let writer = WriteFolder::open(folder.path(), Box::new(QuickVolume)).unwrap();
        assert_eq!(writer.recovered()[0].cut_bytes, written as u64, "{what}");
        drop(writer);
        assert_eq!(recover(folder.path(), &case.model, what).as_ref(), Some(&whole), "{what}");
    }
}

#[test]
fn recovery_can_die_anywhere_and_begin_again() {
    for small in [true, false] {
        let case = case(small);
        let ends = blocks(&case.open);
        for cut in [case.open.len(), ends[ends.len() - 1], ends[ends.len() - 1] - 70, ends[2]] {
            let once = folder_with(case, &case.open[..cut]);
            let volume = FaultVolume::new(QuickVolume);
            drop(WriteFolder::open(once.path(), Box::new(volume.clone())).unwrap());
            let operations = volume.operations();
            let expected = std::fs::read(bucket(once.path(), case)).unwrap();
            // A second time there is nothing to do.
            assert_eq!(WriteFolder::open(once.path(), Box::new(QuickVolume)).unwrap().recovered(), []);
            assert!(std::fs::read(bucket(once.path(), case)).unwrap() == expected);
            for n in 0..operations {
                for torn in [0, 1, 64, 200, 1 << 20] {
                    let name = volume.log()[n].name;
                    if torn > 0 && name != "write_at" {
                        continue;
                    }
                    let what = format!("cut at {cut}, operation {n} ({name}) fails after {torn}");
                    let folder = folder_with(case, &case.open[..cut]);
                    let failing = FaultVolume::new(QuickVolume);
                    failing.fail_at(n, Fault { errno: 5, torn, forever: true, ..Fault::default() });
                    // The watermarks and the lock can do without some operations, so not every failure is an end.
                    let _ = WriteFolder::open(folder.path(), Box::new(failing));
                    serve(folder.path(), &case.model, &what);
                    drop(WriteFolder::open(folder.path(), Box::new(QuickVolume)).unwrap());
                    assert!(std::fs::read(bucket(folder.path(), case)).unwrap() == expected, "{what}");
                }
            }
        }
    }
}

#[test]
fn a_power_cut_in_a_run_leaves_what_was_there() {
    let folder = TestFolder::in_memory("power");
    let root = folder.path().join("data");
    let volume = FaultVolume::recording(QuickVolume, folder.path());
    let mut driver = Driver::on(&root, WriterConfig::default(), Box::new(volume.clone()));
    for op in script(true) {
        driver.act(&op);
    }
    driver.end_bucket();
    for op in script(true) {
        driver.act(&op);
    }
    let model = driver.finish();
    let cut = streamdb_testkit::PowerCut::of(&volume);
    for before in 0..=volume.operations() {
        for survivors in [
            streamdb_testkit::Survivors::All,
            streamdb_testkit::Survivors::Synced,
            streamdb_testkit::Survivors::Some(before as u64),
            streamdb_testkit::Survivors::Some(!before as u64),
        ] {
            let left = TestFolder::in_memory("left");
            cut.leave(before, survivors, left.path()).unwrap();
            let data = left.path().join("data");
            let what = format!("power cut before operation {before}, {survivors:?}");
            drop(WriteFolder::open(&data, Box::new(QuickVolume)).unwrap_or_else(|error| panic!("{what}: {error}")));
            let store = Store::open(&data).unwrap();
            let verified = store.verify(Verify::Deep, &mut |_, _| {}).unwrap();
            assert_eq!(verified.findings, [], "{what}");
            if before == volume.operations() {
                // The run was over: all of it is on disk.
                assert_eq!(verified.frames, model.frames.len() as u64, "{what}");
            }
            for info in list(&store).0 {
                let number = usize::from(info.tuple.client.port - 1024);
                let (runs, _) = read_all(&store.stream(info.oid).unwrap(), 1 << 20).unwrap();
                let stream = info.direction.of(&model.conns[number].streams);
                for (at, bytes) in runs {
                    assert!(stream.has(at, at + bytes.len() as u64), "{what}");
                    assert!(content(number, info.direction, at, bytes.len()) == bytes, "{what}");
                }
            }
        }
    }
}

/// A disk that loses bytes of a bucket, from `cut` on, between the moment in which it is mapped and the one in which it is
/// read.
#[derive(Debug)]
struct Failing {
    cut: u64,
}

impl Volume for Failing {
    fn create(&self, path: &Path) -> io::Result<Box<dyn VolumeFile>> {
        QuickVolume.create(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn VolumeFile>> {
        if path.extension().is_some_and(|e| e == "sdb") {
            std::fs::OpenOptions::new().write(true).open(path)?.set_len(self.cut)?;
        }
        QuickVolume.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        QuickVolume.rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        QuickVolume.unlink(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        QuickVolume.list(folder)
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        QuickVolume.sync_dir(folder)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        QuickVolume.create_dir(path)
    }
}

#[test]
fn what_cannot_be_read_is_not_the_end() {
    let case = case(false);
    let ends = blocks(&case.open);
    let expected = {
        let folder = folder_with(case, &case.open);
        drop(WriteFolder::open(folder.path(), Box::new(QuickVolume)).unwrap());
        std::fs::read(bucket(folder.path(), case)).unwrap()
    };
    // Pages within the blocks that give a signal instead of bytes.
    let last = *ends.last().unwrap() as u64;
    let pages = [ends[1], ends[ends.len() / 2], ends[ends.len() - 2]].map(|at| at as u64 / 4096 * 4096);
    for cut in pages.into_iter().chain([last / 4096 * 4096]) {
        let folder = folder_with(case, &case.open);
        let writer = WriteFolder::open(folder.path(), Box::new(Failing { cut })).unwrap();
        assert_eq!(writer.recovered(), []);
        let [error @ Error::NotRecovered { .. }] = writer.not_recovered() else {
            panic!("{:?}", writer.not_recovered())
        };
        assert!(error.to_string().contains("1.sdb: bytes "), "{error}");
        drop(writer);
        let left = std::fs::read(bucket(folder.path(), case)).unwrap();
        assert!(left == case.open[..cut as usize], "the bucket was changed");
        // The disk has the bytes again, and nothing is lost.
        std::fs::write(bucket(folder.path(), case), &case.open).unwrap();
        drop(WriteFolder::open(folder.path(), Box::new(QuickVolume)).unwrap());
        assert!(std::fs::read(bucket(folder.path(), case)).unwrap() == expected);
    }
    // What follows the last whole block cannot be read.
    let folder = folder_with(case, &case.open);
    let volume = FaultVolume::new(QuickVolume);
    drop(WriteFolder::open(folder.path(), Box::new(volume.clone())).unwrap());
    let is_read =
        |o: &streamdb_testkit::Operation| o.name == "read_at" && o.path.extension().is_some_and(|e| e == "sdb");
    let reads: Vec<usize> = (0..volume.operations()).filter(|n| is_read(&volume.log()[*n])).collect();
    assert!(!reads.is_empty());
    for n in reads {
        let folder = folder_with(case, &case.open);
        let failing = FaultVolume::new(QuickVolume);
        failing.fail_at(n, Fault { errno: 5, ..Fault::default() });
        let mut driver = Driver::on(folder.path(), WriterConfig::default(), Box::new(failing));
        assert_eq!(driver.writer.folder().not_recovered().len(), 1);
        assert!(std::fs::read(bucket(folder.path(), case)).unwrap() == case.open, "the bucket was changed");
        // Others are written all the same, and what can be read is served.
        driver.act(&segment(0, Direction::ToServer, Place::Next, 300));
        driver.finish();
        let store = Store::open(folder.path()).unwrap();
        let infos: Vec<_> = store.buckets().unwrap().into_iter().map(|info| info.unwrap()).collect();
        assert_eq!(infos.iter().map(|i| (i.sealed, i.frames > 0)).collect::<Vec<_>>(), [(false, true), (true, true)]);
    }
}

#[test]
fn a_reader_that_saw_what_was_cut_serves_what_took_its_place() {
    let case = case(true);
    let bounds = blocks(&case.open);
    for cut in &bounds[1..bounds.len() - 1] {
        let folder = folder_with(case, &case.open);
        let store = Store::open(folder.path()).unwrap();
        let before = serve_by(&store, &case.model, "all of it");
        assert_eq!((before.errors, before.frames), (0, case.model.frames.len()));
        // A sync fails, and the bucket is cut where it was durable; then another writer seals it.
        let path = folder.path().join("buckets").join(&case.name);
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(*cut as u64).unwrap();
        drop(WriteFolder::open(folder.path(), Box::new(QuickVolume)).unwrap());
        let what = format!("cut at {cut}");
        assert_eq!(serve_by(&store, &case.model, &what), serve(folder.path(), &case.model, &what), "{what}");
    }
}
