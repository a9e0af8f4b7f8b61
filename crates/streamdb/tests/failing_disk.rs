//! A disk that fails while a capture is stored: the bucket ends, the capture goes on, and every byte is stored or counted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{Made, Talk, worker};
use streamdb_capture::Frame;
use streamdb_storage::{
    DiskVolume, Held, Read, Store, Trouble, Verify, Volume, VolumeFile, WriteFolder, Writer, WriterConfig,
    WriterSummary,
};
use streamdb_testkit::{Fault, FaultVolume, Operation, TestFolder};
use streamdb_types::{Counters, Direction, GapKind, StreamOffset, Timestamp};

const NO_SPACE: i32 = 28;

/// Conversations over 60 seconds; some go on all the time, and each second one comes and goes.
fn made() -> Made {
    let mut made = Made::default();
    let mut long: Vec<Talk> = (0..4).map(|n| Talk::new(40_000 + n)).collect();
    for talk in &mut long {
        talk.open(&mut made, 0);
    }
    let body: Vec<u8> = (0..9_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for second in 0..60_u64 {
        let at = second * 1000;
        for talk in &mut long {
            talk.ask(&mut made, at + 100, format!("GET /{second} HTTP/1.1\r\n\r\n").as_bytes());
            talk.answer(&mut made, at + 200, &body[second as usize..]);
        }
        let mut short = Talk::new(41_000 + second as u16);
        short.open(&mut made, at + 300).ask(&mut made, at + 400, b"GET / HTTP/1.1\r\n\r\n");
        short.answer(&mut made, at + 500, &body[..1000]).close(&mut made, at + 600);
        made.datagram(at + 700, 53, &body[..300], 1400);
    }
    made
}

/// What came of a run.
struct Run {
    folder: TestFolder,
    counters: Counters,
    summary: WriterSummary,
    troubles: Vec<Trouble>,
}

/// Stores it all; `before` is told the number of each frame.
fn store(volume: impl Volume + 'static, before: &mut dyn FnMut(usize)) -> Run {
    let folder = TestFolder::in_memory("failing");
    let data = folder.path().join("data");
    let write = Arc::new(WriteFolder::open(&data, Box::new(volume)).unwrap());
    let config = WriterConfig { bucket_window: 10_000_000_000, ..WriterConfig::default() };
    let writer = Writer::new(write, 0, config).unwrap();
    let mut worker = worker(writer);
    let mut troubles = Vec::new();
    for (n, (time, data)) in made().frames.iter().enumerate() {
        before(n);
        let time = Timestamp(1_330_674_710_000_000_000 + *time as i64);
        worker.frame(&Frame { time, interface: 0, wire_len: data.len() as u32, data }).unwrap();
        troubles.extend(worker.take_troubles());
    }
    let (counters, mut summary) = worker.finish().unwrap();
    troubles.append(&mut summary.troubles);
    Run { folder, counters, summary, troubles }
}

type Streams = HashMap<(u16, Direction), Vec<(u64, Vec<u8>)>>;

/// The runs of bytes of every stream.
fn streams(store: &Store) -> Streams {
    let mut all = Streams::new();
    let mut infos = Vec::new();
    let mut keep = |info| {
        infos.push(info);
        Ok(())
    };
    store.streams(&mut keep, &mut |error| panic!("{error}")).unwrap();
    let mut buffer = vec![0; 1 << 16];
    for info in infos {
        let key = (info.tuple.client.port, info.direction);
        let stream = store.stream(info.oid).unwrap();
        let mut runs: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut at = 0;
        loop {
            match stream.read_at(StreamOffset(at), &mut buffer).unwrap() {
                Read::Bytes(n) => {
                    match runs.last_mut() {
                        Some((start, run)) if *start + run.len() as u64 == at => run.extend_from_slice(&buffer[..n]),
                        _ => runs.push((at, buffer[..n].to_vec())),
                    }
                    at += n as u64;
                }
                Read::Gap(length, kind) => {
                    assert_eq!(kind, GapKind::Lost, "{key:?} at {at}");
                    at += length;
                }
                Read::End => break,
            }
        }
        assert!(all.insert(key, runs).is_none(), "{key:?} is listed twice");
    }
    all
}

/// Every byte and frame is in the store or counted as lost, and what is in the store is true.
fn check(run: &Run, healthy: &Streams, what: &str) {
    let data = run.folder.path().join("data");
    // The next start makes whole what was left.
    drop(WriteFolder::open(&data, Box::new(DiskVolume)).unwrap());
    let store = Store::open(&data).unwrap();
    let verified = store.verify(Verify::Deep, &mut |_, _| {}).unwrap();
    assert_eq!(verified.findings, [], "{what}");
    assert_eq!(verified.unsealed, 0, "{what}");
    let counters = &run.counters;
    assert_eq!(counters.unaccounted(), 0, "{what}");
    assert_eq!((counters.lost_frames, counters.payload_lost), (run.summary.lost.frames, run.summary.lost.payload));
    assert_eq!(verified.frames + counters.lost_frames, counters.frames, "{what}");
    // Whoever adds up what the buckets say misses nothing of the worst moment, as long as there was a bucket after it.
    let buckets = store.newest_buckets(&mut |_| true).unwrap();
    let failed = run.troubles.iter().any(|trouble| matches!(trouble, Trouble::Failed { .. }));
    let resumed = run.troubles.iter().any(|trouble| matches!(trouble, Trouble::Resumed { .. }));
    if (resumed || !failed)
        && buckets.iter().max_by_key(|bucket| bucket.superblock.id).is_some_and(|last| !last.recovered)
    {
        let mut all = Counters::default();
        buckets.iter().for_each(|bucket| all.add(&bucket.counters));
        let told = |of: &Counters| (of.frames, of.lost_frames, of.payload_lost, of.unaccounted());
        assert_eq!(told(&all), told(counters), "{what}");
    }
    let mut stored = 0;
    for (key, runs) in streams(&store) {
        for (at, run) in runs {
            stored += run.len() as u64;
            let whole = &healthy[&key];
            let (start, true_run) = whole.iter().rfind(|(start, _)| *start <= at).expect("bytes that were never there");
            let skip = (at - start) as usize;
            assert!(true_run.get(skip..skip + run.len()) == Some(&run[..]), "{what}: wrong bytes in {key:?}");
        }
    }
    assert_eq!(stored, counters.payload_stored, "{what}: bytes counted as stored");
}

fn healthy() -> (FaultVolume, Streams) {
    let volume = FaultVolume::new(DiskVolume);
    let run = store(volume.clone(), &mut |_| {});
    assert_eq!((run.summary.lost, run.troubles.as_slice()), (Held::default(), [].as_slice()));
    let streams = streams(&Store::open(&run.folder.path().join("data")).unwrap());
    check(&run, &streams, "healthy");
    assert!(run.counters.payload_stored > 2_000_000);
    (volume, streams)
}

/// The operations of this kind on buckets.
fn operations(volume: &FaultVolume, wanted: impl Fn(&Operation) -> bool) -> Vec<usize> {
    let log = volume.log();
    let is_bucket =
        |o: &Operation| o.path.extension().is_some_and(|e| e == "tmp" || e == "sdb") || o.name == "sync_dir";
    let setup = log.iter().position(|o| o.name == "create" && is_bucket(o)).unwrap();
    (setup..log.len()).filter(|n| is_bucket(&log[*n]) && wanted(&log[*n])).collect()
}

/// Some of these operations fail, each in a run of its own; all of them in a long run.
fn fails_once(wanted: impl Fn(&Operation) -> bool) {
    let most = if std::env::var_os("STREAMDB_SOAK").is_some_and(|v| v == "1") { usize::MAX } else { 12 };
    let (volume, streams) = healthy();
    let all = operations(&volume, wanted);
    assert!(!all.is_empty());
    let last = *all.last().unwrap();
    for n in all.iter().copied().step_by(all.len().div_ceil(most)).chain([last]) {
        for torn in [0, 70] {
            let what =
                format!("operation {n} of {} ({}) fails after {torn}", volume.operations(), volume.log()[n].name);
            let failing = FaultVolume::new(DiskVolume);
            failing.fail_at(n, Fault { errno: NO_SPACE, torn, ..Fault::default() });
            // So slow that the worker hears of it while there are frames to come.
            let run = store(failing.clone(), &mut |frame| {
                if frame % 50 == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            assert!(failing.log().iter().any(|o| o.failed), "{what}");
            check(&run, &streams, &what);
            let failed = run.troubles.iter().filter(|t| matches!(t, Trouble::Failed { .. })).count();
            assert_eq!(failed, 1, "{what}: {:?}", run.troubles);
            // One bucket's seconds at most are lost, not what comes after.
            assert!(run.counters.payload_lost < run.counters.payload_captured / 2, "{what}: {:?}", run.summary.lost);
        }
    }
}

#[test]
fn a_write_fails_once() {
    fails_once(|o| o.name == "write_at");
}

#[test]
fn a_sync_fails_once() {
    fails_once(|o| o.name == "sync_data");
}

#[test]
fn a_name_cannot_be_given_once() {
    fails_once(|o| matches!(o.name, "create" | "rename" | "sync_dir" | "truncate"));
}

/// A disk that is full for a while.
#[derive(Clone, Debug)]
struct Full(Arc<AtomicBool>);

#[derive(Debug)]
struct FullFile(Full, Box<dyn VolumeFile>);

impl Full {
    fn room(&self) -> io::Result<()> {
        if self.0.load(Ordering::SeqCst) { Err(io::Error::from_raw_os_error(NO_SPACE)) } else { Ok(()) }
    }
}

impl Volume for Full {
    fn create(&self, path: &Path) -> io::Result<Box<dyn VolumeFile>> {
        self.room()?;
        Ok(Box::new(FullFile(self.clone(), DiskVolume.create(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn VolumeFile>> {
        Ok(Box::new(FullFile(self.clone(), DiskVolume.open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        DiskVolume.rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        DiskVolume.unlink(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        DiskVolume.list(folder)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        DiskVolume.create_dir(path)
    }
}

impl VolumeFile for FullFile {
    fn len(&self) -> io::Result<u64> {
        self.1.len()
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.room()?;
        self.1.write_at(bytes, offset)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.1.read_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn flush_behind(&self, _: u64, _: u64) {}

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.1.truncate(len)
    }
}

#[test]
fn a_full_disk_is_waited_out() {
    let (_, streams) = healthy();
    let frames = made().frames.len();
    // From the first frame on; in the middle; to the end.
    for (from, to) in [(0, frames / 4), (frames / 3, frames / 2), (frames / 2, frames)] {
        let what = format!("full from frame {from} to {to} of {frames}");
        let full = Full(Arc::default());
        let flag = Arc::clone(&full.0);
        let run = store(full, &mut |frame| {
            // The store thread is to be where the worker is.
            if frame == from || frame == to || frame % 100 == 0 {
                std::thread::sleep(Duration::from_millis(20));
            }
            flag.store((from..to).contains(&frame) || to == frames && frame >= from, Ordering::SeqCst);
        });
        flag.store(false, Ordering::SeqCst);
        check(&run, &streams, &what);
        let lost = run.summary.lost;
        let kinds: Vec<bool> = run.troubles.iter().map(|t| matches!(t, Trouble::Failed { .. })).collect();
        if to == frames {
            assert_eq!(kinds, [true], "{what}: {:?}", run.troubles);
        } else {
            assert_eq!(run.troubles.last(), Some(&Trouble::Resumed { lost }), "{what}");
            assert_eq!(kinds, [true, false], "{what}: {:?}", run.troubles);
        }
        let share = lost.payload as f64 / run.counters.payload_captured as f64;
        let expected = (to - from) as f64 / frames as f64;
        assert!((share - expected).abs() < 0.1, "{what}: {share} of it was lost");
    }
}
