//! One run of all that writes to a data folder, on a volume that records it; and what it promised on the way.
//!
//! A [`Promise`] is made when the store told somebody that something is durable, or let readers see it. It is kept in
//! whatever a crash leaves from the next operation on. Who teaches the store to write something more adds it to [`run`],
//! and what it promises to [`What`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use streamdb_capture::Frame;
use streamdb_derive::Deriver;
use streamdb_storage::{Event, Holds, Limits, LiveReader, Retention, Store, WriteFolder, Writer, WriterConfig, now};
use streamdb_testkit::{Fault, FaultVolume, QuickVolume, TestFolder};
use streamdb_types::{BlockPlace, BucketId, Direction, Oid, Timestamp};

use crate::common::{Made, Talk, worker};

/// The begin of packet time.
const BEGUN: i64 = 1_330_674_711_000_000_000;
/// Seconds of packet time that a bucket has.
const WINDOW: i64 = 2;
/// The first bucket gets one of them, as windows begin at even seconds; four more come then, of which the last one is short.
const SECONDS: u64 = 8;

/// What goes over the wire: the frames, and what each side of each connection says.
pub struct Wire {
    pub frames: Vec<(i64, Vec<u8>)>,
    pub said: BTreeMap<(u16, Direction), Vec<u8>>,
    /// How far that goes with each message, and the bucket which has it when nothing fails.
    pub told: BTreeMap<(u16, Direction), Vec<(usize, BucketId)>>,
}

impl Wire {
    /// Conversations over some seconds: one that goes on all the time, and in each second one that comes and goes.
    pub fn new() -> Self {
        let mut made = Made::default();
        let mut said = BTreeMap::<_, Vec<u8>>::new();
        let mut told = BTreeMap::<_, Vec<_>>::new();
        let noise: Vec<u8> = (0..4_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut exchange = |made: &mut Made, talk: &mut Talk, port: u16, at: u64, body: &[u8]| {
            let question = format!("GET /{port}/{at} HTTP/1.1\r\nHost: a.example\r\n\r\n").into_bytes();
            let answer =
                [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat();
            talk.ask(made, at, &question).answer(made, at + 50, &answer);
            for (direction, message) in [(Direction::ToServer, question), (Direction::ToClient, answer)] {
                let said = said.entry((port, direction)).or_default();
                said.extend(message);
                told.entry((port, direction)).or_default().push((said.len(), bucket_of(at)));
            }
        };
        let mut long = Talk::new(40_000);
        long.open(&mut made, 0);
        for second in 0..SECONDS {
            let at = second * 1000;
            exchange(&mut made, &mut long, 40_000, at + 100, &noise[..1_000 + second as usize]);
            let port = 41_000 + second as u16;
            let mut short = Talk::new(port);
            short.open(&mut made, at + 300);
            exchange(&mut made, &mut short, port, at + 400, &noise[second as usize..2_000]);
            short.close(&mut made, at + 600);
        }
        Self { frames: timed(&made), said, told }
    }

    /// Another connection, some time later.
    pub fn later() -> Self {
        let mut made = Made::default();
        let question = b"GET /later HTTP/1.1\r\nHost: b.example\r\n\r\n";
        let mut talk = Talk::new(42_000);
        talk.open(&mut made, 60_000).ask(&mut made, 60_010, question).close(&mut made, 60_100);
        let said = BTreeMap::from([((42_000, Direction::ToServer), question.to_vec())]);
        Self { frames: timed(&made), said, told: BTreeMap::new() }
    }
}

/// The bucket of what happens so many milliseconds after the begin, when nothing fails.
const fn bucket_of(millis: u64) -> BucketId {
    let begun = BEGUN / 1_000_000_000;
    BucketId(((begun + millis as i64 / 1000) / WINDOW - begun / WINDOW) as u64 + 1)
}

fn timed(made: &Made) -> Vec<(i64, Vec<u8>)> {
    made.frames.iter().map(|(time, bytes)| (BEGUN + *time as i64, bytes.clone())).collect()
}

/// What must be there after a crash.
#[derive(Clone, Debug)]
pub enum What {
    /// The ledger begins with this.
    Ledger(Vec<u8>),
    /// The bucket begins with this; it was called durable.
    Durable(BucketId, Vec<u8>),
    /// The bucket is this; it is sealed.
    Sealed(BucketId, Vec<u8>),
    /// The bucket begins with this; it was published, which a power cut may take.
    Published(BucketId, Vec<u8>),
    /// This line is not in this file: who wanted it there was told so.
    Refused(&'static str, Vec<u8>),
    /// The hold of this number keeps these buckets.
    Held(u64, BTreeSet<BucketId>),
    /// The hold of this number is over.
    Released(u64),
    /// The bucket of this stream was dropped then, and says so to who asks for it.
    Dropped(Oid, Timestamp),
    /// The file of a dropped bucket is removed: not even who reads before the next start meets it.
    Removed(BucketId),
    /// The writer has ended, and said what was lost: all else is there, and that is not.
    Done,
}

impl What {
    /// The bucket whose bytes are promised.
    pub const fn bucket(&self) -> Option<BucketId> {
        match self {
            Self::Durable(id, _) | Self::Sealed(id, _) | Self::Published(id, _) => Some(*id),
            _ => None,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Promise {
    /// From this operation on.
    pub from: usize,
    /// When this operation is done it is no promise any more, if there is one.
    pub until: Option<usize>,
    pub what: What,
}

impl Promise {
    pub const fn new(from: usize, what: What) -> Self {
        Self { from, until: None, what }
    }

    /// Whether it is to be kept by what is left before an operation.
    pub fn is_due(&self, before: usize) -> bool {
        self.from <= before && self.is_open(before)
    }

    /// Whether nothing had taken it back before an operation.
    pub fn is_open(&self, before: usize) -> bool {
        self.until.is_none_or(|until| before <= until)
    }

    /// Ends with the operation that begins to write a line which takes it back, if there is one from `from` on.
    pub fn end_with_line(&mut self, volume: &FaultVolume, from: usize) {
        let (file, line) = match (&self.what, self.what.bucket()) {
            (_, Some(id)) => ("ledger", format!(" dropped id={id} ")),
            (What::Held(number, _), None) => ("holds", format!(" released hold={number}\n")),
            _ => return,
        };
        let log = volume.log();
        let writes = (from..log.len()).filter(|n| log[*n].name == "write_at" && log[*n].path.ends_with(file));
        let is_it = |n: &usize| volume.written(*n).is_some_and(|bytes| contains(&bytes, line.as_bytes()));
        self.until = self.until.or_else(|| writes.into_iter().find(is_it));
    }
}

pub fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// What came of a run.
pub struct Run {
    pub folder: TestFolder,
    pub volume: FaultVolume,
    pub promises: Vec<Promise>,
    /// Frames that it said were lost.
    pub lost: u64,
    /// Whether nothing failed.
    pub healthy: bool,
}

/// What is to fail.
#[derive(Clone, Copy, Debug)]
pub enum Failing {
    Nothing,
    /// After a second of packet time, the next operation of this name on a file with this extension.
    Next(i64, &'static str, &'static str, Fault),
    /// The operation of this number.
    Operation(usize, Fault),
}

impl Run {
    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Stores, derives, holds and drops, and enters into the ledger what was ingested. With `synced`, the sync thread comes to
    /// its turn in the midst of it.
    pub fn new(failing: Failing, synced: bool) -> Self {
        let folder = TestFolder::in_memory("crash-run");
        let volume = FaultVolume::recording(QuickVolume, folder.path()).noting_sites();
        let mut this = Self { folder, volume, promises: Vec::new(), lost: 0, healthy: true };
        if let Failing::Operation(n, fault) = failing {
            this.volume.fail_at(n, fault);
        }
        // What fails here is told to who began the run; it did not begin, and what it promised is kept all the same.
        let _ = this.work(failing, synced);
        this.refused();
        let log = this.volume.log();
        this.healthy = log.iter().all(|o| !o.failed);
        if log.iter().any(|o| o.name == "sync_data" && o.failed) {
            // What was published and not durable may be gone then.
            this.promises.retain(|promise| !matches!(promise.what, What::Published(..)));
        }
        this
    }

    /// The buckets that it dropped.
    pub fn dropped(&self) -> Vec<u64> {
        let dropped =
            |promise: &Promise| if let What::Dropped(oid, _) = promise.what { Some(oid.bucket.0) } else { None };
        self.promises.iter().filter_map(dropped).collect::<BTreeSet<u64>>().into_iter().collect()
    }

    fn work(&mut self, failing: Failing, synced: bool) -> Result<(), Box<dyn std::error::Error>> {
        let data = self.data();
        let write = Arc::new(WriteFolder::open(&data, Box::new(self.volume.clone()))?);
        self.look(&write, None);
        let live = LiveReader::open(&data)?.ok_or("no watermarks")?;
        let config = WriterConfig { bucket_window: WINDOW * 1_000_000_000, ..WriterConfig::default() };
        let mut worker = worker(Writer::new(Arc::clone(&write), 0, config)?);
        let store = Store::open(&data)?;
        let mut deriver = Deriver::on(&store, std::sync::Arc::new(self.volume.clone()))?.index_after(2048);
        let wire = Wire::new();
        let (mut second, mut hold) = (0, None);
        let times = [BEGUN].into_iter().chain(wire.frames.iter().map(|(time, _)| *time));
        for ((time, bytes), before) in wire.frames.iter().zip(times) {
            worker.frame(&frame(*time, bytes))?;
            if (time - BEGUN) / 1_000_000_000 == second {
                continue;
            }
            second += 1;
            self.stored(&live, before, bucket_of(second as u64 * 1000));
            self.idle();
            self.look(&write, Some(&live));
            // A disk that fails is told, and derived from again the next time.
            let _ = deriver.catch_up(&store, &|| false, &mut |_| {});
            // In the midst of a bucket.
            if synced && second == 4 {
                self.synced(&live);
                self.look(&write, Some(&live));
            }
            // A disk that fails is told, and derived from again the next time.
            let _ = deriver.catch_up(&store, &|| false, &mut |_| {});
            self.retain(second, &write, &store, &mut hold);
            self.look(&write, Some(&live));
            if let Failing::Next(after, name, extension, fault) = failing
                && after == second
            {
                self.volume.fail_next_of(name, extension, fault);
            }
        }
        let (counters, summary) = worker.finish()?;
        self.lost = summary.lost.frames;
        let _ = deriver.catch_up(&store, &|| false, &mut |_| {});
        self.look(&write, None);
        // The lock is held: nobody else appends.
        let mut ledger = write.ledger().lock().unwrap_or_else(PoisonError::into_inner);
        let event = Event::Ingested {
            fingerprint: "print".to_owned(),
            name: "made.pcap".to_owned(),
            frames: counters.frames,
            first: summary.first_bucket,
            last: summary.last_bucket,
        };
        let entered = ledger.append(now(), &event);
        drop(ledger);
        self.promise(self.volume.operations(), What::Done);
        self.look(&write, None);
        // Now that nothing is being written, the first bucket goes.
        hold.into_iter().for_each(|number| self.release(number));
        self.drop_all(&write, &store);
        self.look(&write, None);
        Ok(entered?)
    }

    fn promise(&mut self, from: usize, what: What) {
        self.promises.push(Promise::new(from, what));
    }

    /// What others do to the store meanwhile: they hold the first bucket; let what is sealed go when that are two more; and
    /// hold the last two, of which one is being written.
    fn retain(&mut self, second: i64, write: &WriteFolder, store: &Store, hold: &mut Option<u64>) {
        match second {
            2 => *hold = self.hold(&[1]),
            6 => self.drop_all(write, store),
            7 => drop(self.hold(&[4, 5])),
            _ => {}
        }
    }

    /// The number of the new hold, if there is one.
    fn hold(&mut self, ids: &[u64]) -> Option<u64> {
        let ids = ids.iter().copied().map(BucketId).collect();
        let hold = Holds::open(&self.volume, &self.data()).and_then(|mut holds| holds.hold(&ids, "a case", "a note"));
        let hold = hold.ok()?;
        self.promise(self.volume.operations(), What::Held(hold.number, hold.buckets));
        Some(hold.number)
    }

    fn release(&mut self, number: u64) {
        let begun = self.volume.operations();
        let released = Holds::open(&self.volume, &self.data()).and_then(|mut holds| holds.release(number));
        let now = self.volume.operations();
        self.end(begun);
        match released {
            Ok(_) => self.promise(now, What::Released(number)),
            // It goes on.
            Err(_) => {
                let is_held = |p: &&Promise| matches!(p.what, What::Held(other, _) if other == number);
                let held = self.promises.iter().find(is_held).map(|p| p.what.clone());
                held.into_iter().for_each(|what| self.promise(now, what));
            }
        }
    }

    /// Lets retention drop whatever may go.
    fn drop_all(&mut self, write: &WriteFolder, store: &Store) {
        let buckets = self.data().join("buckets");
        let is_there = |id: &BucketId| buckets.join(format!("{id}.sdb")).exists();
        let mut oids = BTreeMap::new();
        let each = &mut |info: streamdb_storage::StreamInfo| {
            oids.insert(info.oid.bucket, info.oid);
            Ok(())
        };
        store.streams(each, &mut |_| {}).unwrap();
        let before: BTreeSet<BucketId> = store.bucket_ids().unwrap().into_iter().collect();
        let tombstones = || -> BTreeMap<BucketId, Timestamp> { store.dropped().into_iter().collect() };
        let (begun, had) = (self.volume.operations(), tombstones());
        let mut told = Vec::new();
        let limits = Limits { max_bytes: Some(1), ..Limits::default() };
        let retained = Retention::new(limits).look(write, &mut |dropped| told.push(*dropped));
        let now = self.volume.operations();
        self.end(begun);
        for dropped in &told {
            let oid = oids.get(&dropped.id).copied().unwrap_or_else(|| oid_in(dropped.id));
            self.promise(now, What::Dropped(oid, dropped.time));
        }
        let dropped: BTreeMap<_, _> = tombstones().into_iter().filter(|(id, _)| !had.contains_key(id)).collect();
        let told: BTreeMap<_, _> = told.into_iter().map(|dropped| (dropped.id, dropped.time)).collect();
        assert_eq!(dropped, told, "what has a tombstone was told: {retained:?}");
        if retained.is_ok_and(|retained| retained.not_removed.is_empty()) {
            for id in tombstones().into_keys().filter(|id| before.contains(id)) {
                assert!(!is_there(&id), "bucket {id} is dropped, and there");
                self.promise(now, What::Removed(id));
            }
        }
    }

    /// Ends what was promised and is taken back since this operation.
    fn end(&mut self, begun: usize) {
        let Self { promises, volume, .. } = self;
        promises.iter_mut().filter(|p| p.until.is_none()).for_each(|p| p.end_with_line(volume, begun));
    }

    /// Notes all that the store says now.
    fn look(&mut self, write: &WriteFolder, live: Option<&LiveReader>) {
        let buckets = self.data().join("buckets");
        let read = |id: BucketId, len: u64| {
            let bytes = std::fs::read(buckets.join(format!("{id}.sdb"))).unwrap_or_default();
            bytes.get(..len as usize).map(<[u8]>::to_vec)
        };
        if let Some(mark) = live.and_then(|live| live.worker(0).ok().flatten()) {
            // Looked at before the operations are counted: the store may be at work.
            // One that has nothing but its superblock may go again.
            let some = |len: u64| if len > 4096 { read(mark.bucket, len) } else { None };
            let (durable, published) = (some(mark.durable), some(mark.published));
            let from = self.volume.operations();
            durable.into_iter().for_each(|bytes| self.promise(from, What::Durable(mark.bucket, bytes)));
            published.into_iter().for_each(|bytes| self.promise(from, What::Published(mark.bucket, bytes)));
        }
        // Nobody appends meanwhile.
        let ledger = write.ledger().lock().unwrap_or_else(PoisonError::into_inner);
        let sealed: Vec<_> = ledger.facts().sealed().collect();
        let lines = std::fs::read(self.data().join("ledger")).unwrap_or_default();
        let from = self.volume.operations();
        drop(ledger);
        self.promise(from, What::Ledger(lines));
        for (id, sealed) in sealed {
            let is_of = |p: &Promise| p.until.is_none() && matches!(p.what, What::Sealed(other, _) if other == id);
            let known = self.promises.iter().any(is_of);
            if let Some(bytes) = read(id, sealed.bytes).filter(|_| !known) {
                self.promise(from, What::Sealed(id, bytes));
            }
        }
    }

    /// The lines that were taken back after their sync had failed.
    fn refused(&mut self) {
        let log = self.volume.log();
        for file in ["ledger", "holds"] {
            let on_it = |n: &usize| log[*n].path.ends_with(file);
            let failed = |n: &usize| log[*n].name == "sync_data" && log[*n].failed;
            for n in (0..log.len()).filter(|n| on_it(n) && failed(n)) {
                let written = (0..n).rev().filter(on_it).find_map(|n| self.volume.written(n));
                let mut after = (n + 1..log.len()).filter(on_it);
                let cut = after.next().is_some_and(|n| log[n].name == "truncate" && !log[n].failed);
                let synced = after.next().filter(|n| cut && log[*n].name == "sync_data" && !log[*n].failed);
                if let (Some(line), Some(synced)) = (written, synced) {
                    self.promise(synced + 1, What::Refused(file, line));
                }
            }
        }
    }

    /// Waits until what came until this time is published, and that bucket begun; where something failed, not for long.
    fn stored(&self, live: &LiveReader, time: i64, bucket: BucketId) {
        let begun = Instant::now();
        let is_stored = || live.worker(0).ok().flatten().is_some_and(|m| m.bucket >= bucket && m.last_time.0 >= time);
        while !is_stored() {
            let patience = if self.volume.log().iter().any(|o| o.failed) { 100 } else { 10_000 };
            if begun.elapsed() > Duration::from_millis(patience) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until the store thread has nothing to do.
    fn idle(&self) {
        let mut before = usize::MAX;
        while before != self.volume.operations() {
            before = self.volume.operations();
            std::thread::sleep(Duration::from_millis(4));
        }
    }

    /// Waits until all that is published is durable; not for ever, as what fails is not.
    fn synced(&self, live: &LiveReader) {
        let begun = Instant::now();
        let behind = || live.worker(0).ok().flatten().is_some_and(|mark| mark.durable < mark.published);
        while behind() && begun.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

pub fn frame(time: i64, data: &[u8]) -> Frame<'_> {
    Frame { time: Timestamp(time), interface: 0, wire_len: data.len() as u32, data }
}

/// Where a stream of this bucket might be.
pub const fn oid_in(bucket: BucketId) -> Oid {
    Oid { bucket, place: BlockPlace(1 << 20), length: 1, index: 0 }
}

/// The ids under which something was made in the buckets' folder before an operation.
pub fn ids_used(volume: &FaultVolume, before: usize) -> Vec<BucketId> {
    let log = volume.log();
    let made = log.iter().take(before).filter(|o| o.name == "create" && !o.failed && is_new_bucket(&o.path));
    made.filter_map(|o| o.path.file_stem()?.to_str()?.parse().ok()).map(BucketId).collect()
}

fn is_new_bucket(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "tmp")
}
