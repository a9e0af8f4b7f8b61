//! Real kills: `kill -9` at random times under load, again and again in one data folder, while another process reads. What a
//! reader has seen is there afterwards, byte for byte; the next start goes on by itself.
//!
//! 20 kills, or 500 with STREAMDB_SOAK=1. The times are from a seed, but the machine has a part in what happens at them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Data, Made, Talk, soak, wait};
use streamdb_storage::{DiskVolume, FrameFilter, Read, Store, WriteFolder};
use streamdb_testkit::Random;
use streamdb_types::{ConnKey, Oid, StreamOffset};

/// Kills in one data folder, before another one is begun.
const A_FOLDER: usize = 20;

/// What the connections of a second of packet time say; the content tells which second and which connection.
fn second(number: u64, talks: &mut Vec<Talk>) -> Vec<u8> {
    let mut made = Made::default();
    let at = number * 1000;
    let body = |n: usize, length: usize| -> Vec<u8> {
        (0..length as u64)
            .map(|k| ((k ^ number << 8 ^ n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
            .collect()
    };
    if talks.is_empty() {
        talks.extend((0..3).map(|n| Talk::new(40_000 + n)));
        for talk in talks.iter_mut() {
            talk.open(&mut made, at);
        }
    }
    let answer = |body: Vec<u8>| {
        [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes(), body].concat()
    };
    for (n, talk) in talks.iter_mut().enumerate() {
        talk.ask(&mut made, at + 10, format!("GET /{number} HTTP/1.1\r\nHost: a.example\r\n\r\n").as_bytes());
        talk.answer(&mut made, at + 20, &answer(body(n, 5_000)));
    }
    for n in 0..10 {
        let mut short = Talk::new(41_000 + (number * 10 + n) as u16 % 20_000);
        short.open(&mut made, at + 100 + n).ask(&mut made, at + 200, b"GET / HTTP/1.1\r\nHost: b.example\r\n\r\n");
        short.answer(&mut made, at + 300, &answer(body(100 + n as usize, 700))).close(&mut made, at + 400);
    }
    made.datagram(at + 500, 53, &body(200, 300), 1480);
    made.frames.iter().flat_map(Made::record).collect()
}

/// What a reader saw.
#[derive(Default)]
struct Seen {
    /// Each stream by its oid, with its bytes.
    streams: BTreeMap<Oid, Vec<u8>>,
    /// Each frame by its time, with its bytes.
    frames: BTreeMap<i64, Vec<u8>>,
    /// Each object of a stream that ended, by its name, with its connection and what is said of it.
    objects: BTreeMap<String, (ConnKey, String)>,
}

/// The bytes of a stream.
fn bytes_of(store: &Store, oid: Oid) -> Result<Vec<u8>, streamdb_storage::Error> {
    let stream = store.stream(oid)?;
    let (mut all, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        match stream.read_at(StreamOffset(all.len() as u64), &mut buffer)? {
            Read::Bytes(n) => all.extend(&buffer[..n]),
            Read::Gap(length, kind) => panic!("{oid}: a gap of {length}, {kind:?}"),
            Read::End => return Ok(all),
        }
    }
}

impl Seen {
    /// Looks at what is published now.
    fn look(&mut self, store: &Store) {
        let mut infos = Vec::new();
        let each = &mut |info| {
            infos.push(info);
            Ok(())
        };
        store.streams(each, &mut |error| panic!("a reader met {error}")).unwrap();
        for info in infos {
            self.streams.entry(info.oid).or_insert_with(|| bytes_of(store, info.oid).unwrap());
            if info.reason.is_some() {
                for row in store.derived_rows(info.oid.bucket, info.key).unwrap().unwrap_or_default() {
                    self.objects.insert(row.oid.to_string(), (row.key, format!("{row:?}")));
                }
            }
        }
        let last = self.frames.keys().next_back().map(|time| streamdb_types::Timestamp(*time));
        let filter = FrameFilter { start: last, ..FrameFilter::default() };
        let each = &mut |frame: &streamdb_storage::StoredFrame<'_>| {
            self.frames.insert(frame.time.0, frame.data.to_vec());
            Ok(())
        };
        store.frames(&filter, each).unwrap();
    }

    /// That all of it is there.
    fn is_in(&self, data: &Data) {
        let store = Store::open(&data.path()).unwrap();
        for (oid, bytes) in &self.streams {
            let now = bytes_of(&store, *oid).unwrap_or_else(|error| panic!("{oid} was seen, and now: {error}"));
            assert!(now == *bytes, "{oid} is another");
        }
        let mut now = BTreeMap::new();
        let each = &mut |frame: &streamdb_storage::StoredFrame<'_>| {
            assert!(now.insert(frame.time.0, frame.data.to_vec()).is_none(), "a frame is there twice");
            Ok(())
        };
        store.frames(&FrameFilter::default(), each).unwrap();
        for (time, bytes) in &self.frames {
            assert!(now.get(time) == Some(bytes), "the frame at {time} was seen, and is gone");
        }
    }
}

/// Feeds a writer, second by second, until it is killed after this time; and reads meanwhile what it publishes.
fn killed_after(data: &Data, time: Duration, seen: &mut Seen, number: &mut u64) -> bool {
    let mut command = data.command("ingest", &["--bucket", "3s", "-"]);
    let mut child: Child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let feeder = scope.spawn(|| {
            let mut talks = Vec::new();
            let mut open = pipe.write_all(&Made::header()).is_ok();
            while open && !over.load(Ordering::Relaxed) {
                open = pipe.write_all(&second(*number, &mut talks)).is_ok();
                *number += 1;
                std::thread::sleep(Duration::from_millis(4));
            }
            // The seconds of the next writer come after these.
            *number += 10;
        });
        let reader = scope.spawn(|| {
            let mut store = None;
            while !over.load(Ordering::Relaxed) {
                // Before the first writer has made it there is nothing to read.
                store = store.or_else(|| Store::open(&data.path()).ok());
                store.iter().for_each(|store| seen.look(store));
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        std::thread::sleep(time);
        let alive = child.try_wait().unwrap().is_none();
        child.kill().unwrap();
        wait(&mut child);
        over.store(true, Ordering::Relaxed);
        feeder.join().unwrap();
        reader.join().unwrap();
        alive
    })
}

#[test]
fn kills_at_random_times_lose_nothing_that_was_published() {
    let begun = Instant::now();
    let kills = if soak() { 500 } else { 14 };
    let mut random = Random(9293);
    let (mut recovered, mut streams, mut frames, mut objects) = (0, 0, 0, 0);
    let mut done = 0;
    while done < kills {
        let data = Data::new("kills");
        let mut seen = Seen::default();
        let mut number = 0;
        for _ in 0..A_FOLDER.min(kills - done) {
            // Some while it begins or recovers, most under load.
            let most = if random.below(5) == 0 { 60 } else { 600 };
            let time = Duration::from_millis(random.below(most));
            assert!(killed_after(&data, time, &mut seen, &mut number), "the writer ended by itself before kill {done}");
            done += 1;
            if !data.path().join("ledger").exists() {
                continue;
            }
            // As the dead writer left it, readers find by themselves what is whole.
            seen.is_in(&data);
            if random.below(3) == 0 {
                // The next start is one that is let end: an empty capture.
                let empty = data.write("empty.pcap", &Made::default().file());
                let said = data.ingest(&["--again"], &[&empty]);
                assert_eq!(said.code, Some(0), "{said:?}");
                recovered +=
                    said.err.lines().filter(|line| line.contains("its writer died before it was sealed")).count();
                data.is_well();
                seen.is_in(&data);
                rows_are_there(&data, &seen);
            }
        }
        let empty = data.write("empty.pcap", &Made::default().file());
        let said = data.ingest(&["--again"], &[&empty]);
        assert_eq!(said.code, Some(0), "{said:?}");
        data.is_well();
        seen.is_in(&data);
        rows_are_there(&data, &seen);
        // Nothing is left to do, and nobody holds the lock.
        let write = WriteFolder::open(&data.path(), Box::new(DiskVolume)).unwrap();
        assert!(write.recovered().is_empty() && write.not_recovered().is_empty());
        (streams, frames) = (streams + seen.streams.len(), frames + seen.frames.len());
        objects += seen.objects.len();
    }
    println!(
        "killed: {done} times in {:.0} s; {streams} streams, {frames} frames and {objects} objects were seen before, and are \
         there; {recovered} buckets were recovered where that was told",
        begun.elapsed().as_secs_f64()
    );
    assert!(streams > kills * 10 && frames > kills * 50 && objects > kills, "there was hardly any load");
}

/// The rows of objects that a reader saw are those that are there now, each as it was. A connection that was taken apart at three kills
/// is taken for what ended the processes; its rows are there again when they are made anew.
fn rows_are_there(data: &Data, seen: &Seen) {
    let look = || {
        let said = data.run("derive", &["--once"]);
        assert_eq!(said.code, Some(0), "{said:?}");
        let mut now = Seen::default();
        now.look(&Store::open(&data.path()).unwrap());
        now
    };
    let mut now = look();
    let store = Store::open(&data.path()).unwrap();
    let gone = seen.objects.iter().filter(|(oid, _)| !now.objects.contains_key(*oid));
    let given_up: BTreeMap<_, _> = gone.filter_map(|(_, (key, _))| Some((*key, store.given_up(*key)?))).collect();
    if !given_up.is_empty() {
        println!("given up, and made anew: {given_up:?}");
        assert_eq!(data.run("reindex", &[]).code, Some(0));
        now = look();
    }
    for (oid, row) in &seen.objects {
        assert_eq!(now.objects.get(oid), Some(row), "object {oid} was seen, and is another now: {given_up:?}");
    }
}
