//! One run of all that writes to a data folder, on a volume that records it; and what it promised on the way.
//!
//! A [`Promise`] is made when the store told somebody that something is durable, or let readers see it. It is kept in
//! whatever a crash leaves from the next operation on. Who teaches the store to write something more adds it to [`run`],
//! and what it promises to [`What`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use streamdb::worker::{Worker, WorkerConfig};
use streamdb_capture::Frame;
use streamdb_derive::Deriver;
use streamdb_storage::{Event, LiveReader, Store, WriteFolder, Writer, WriterConfig, now};
use streamdb_testkit::{Fault, FaultVolume, QuickVolume, TestFolder};
use streamdb_types::{BucketId, Direction, Interface, LinkType, Resolution, Timestamp};

use crate::common::{Made, Talk};

/// The begin of packet time.
const BEGUN: i64 = 1_330_674_711_000_000_000;
/// Seconds of packet time that a bucket has.
const WINDOW: i64 = 3;
const SECONDS: u64 = 10;

/// What goes over the wire: the frames, and what each side of each connection says.
pub struct Wire {
    pub frames: Vec<(i64, Vec<u8>)>,
    pub said: BTreeMap<(u16, Direction), Vec<u8>>,
}

impl Wire {
    /// Conversations over some seconds: one that goes on all the time, and in each second one that comes and goes.
    pub fn new() -> Self {
        let mut made = Made::default();
        let mut said = BTreeMap::<_, Vec<u8>>::new();
        let noise: Vec<u8> = (0..4_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut exchange = |made: &mut Made, talk: &mut Talk, port: u16, at: u64, body: &[u8]| {
            let question = format!("GET /{port}/{at} HTTP/1.1\r\nHost: a.example\r\n\r\n").into_bytes();
            let answer =
                [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat();
            talk.ask(made, at, &question).answer(made, at + 50, &answer);
            said.entry((port, Direction::ToServer)).or_default().extend(question);
            said.entry((port, Direction::ToClient)).or_default().extend(answer);
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
        Self { frames: timed(&made), said }
    }

    /// Another connection, some time later.
    pub fn later() -> Self {
        let mut made = Made::default();
        let question = b"GET /later HTTP/1.1\r\nHost: b.example\r\n\r\n";
        let mut talk = Talk::new(42_000);
        talk.open(&mut made, 60_000).ask(&mut made, 60_010, question).close(&mut made, 60_100);
        let said = BTreeMap::from([((42_000, Direction::ToServer), question.to_vec())]);
        Self { frames: timed(&made), said }
    }
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
    /// This line is not in the ledger: who wanted it there was told so.
    Refused(Vec<u8>),
    /// The writer has ended, and said what was lost: all else is there, and that is not.
    Done,
}

#[derive(Clone, Debug)]
pub struct Promise {
    /// From this operation on.
    pub from: usize,
    pub what: What,
}

/// What came of a run.
pub struct Run {
    pub folder: TestFolder,
    pub volume: FaultVolume,
    pub promises: Vec<Promise>,
    /// Frames that it said were lost.
    pub lost: u64,
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

    /// Stores, derives, and enters into the ledger what was ingested. With `synced`, the sync thread comes to its turn, a
    /// second each.
    pub fn new(failing: Failing, synced: bool) -> Self {
        let folder = TestFolder::in_memory("crash-run");
        let volume = FaultVolume::recording(QuickVolume, folder.path()).noting_sites();
        let mut this = Self { folder, volume, promises: Vec::new(), lost: 0 };
        if let Failing::Operation(n, fault) = failing {
            this.volume.fail_at(n, fault);
        }
        // What fails here is told to who began the run; it did not begin, and what it promised is kept all the same.
        let _ = this.work(failing, synced);
        this.refused();
        if this.volume.log().iter().any(|o| o.name == "sync_data" && o.failed) {
            // What was published and not durable may be gone then.
            this.promises.retain(|promise| !matches!(promise.what, What::Published(..)));
        }
        this
    }

    fn work(&mut self, failing: Failing, synced: bool) -> Result<(), Box<dyn std::error::Error>> {
        let data = self.data();
        let write = Arc::new(WriteFolder::open(&data, Box::new(self.volume.clone()))?);
        self.look(&write, None);
        let live = LiveReader::open(&data)?.ok_or("no watermarks")?;
        let config = WriterConfig { bucket_window: WINDOW * 1_000_000_000, ..WriterConfig::default() };
        let mut worker = worker(Writer::new(Arc::clone(&write), 0, config)?);
        let store = Store::open(&data)?;
        let mut deriver = Deriver::on(&store, Box::new(self.volume.clone()))?;
        let wire = Wire::new();
        let mut second = 0;
        for (time, bytes) in &wire.frames {
            worker.frame(&frame(*time, bytes))?;
            if (time - BEGUN) / 1_000_000_000 == second {
                continue;
            }
            second += 1;
            self.idle();
            self.look(&write, Some(&live));
            if let Failing::Next(after, name, extension, fault) = failing
                && after == second
            {
                self.volume.fail_next_of(name, extension, fault);
            }
            // A disk that fails is told, and derived from again the next time.
            let _ = deriver.catch_up(&store, &|| false, &mut |_| {});
            if synced && second % 3 == 1 {
                self.synced(&live);
                self.look(&write, Some(&live));
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
        Ok(entered?)
    }

    fn promise(&mut self, from: usize, what: What) {
        self.promises.push(Promise { from, what });
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
            let known = self.promises.iter().any(|p| matches!(p.what, What::Sealed(other, _) if other == id));
            if let Some(bytes) = read(id, sealed.bytes).filter(|_| !known) {
                self.promise(from, What::Sealed(id, bytes));
            }
        }
    }

    /// The lines that were taken back after their sync had failed.
    fn refused(&mut self) {
        let log = self.volume.log();
        let on_ledger = |n: &usize| log[*n].path.ends_with("ledger");
        let failed = |n: &usize| log[*n].name == "sync_data" && log[*n].failed;
        for n in (0..log.len()).filter(|n| on_ledger(n) && failed(n)) {
            let written = (0..n).rev().filter(on_ledger).find_map(|n| self.volume.written(n));
            let mut after = (n + 1..log.len()).filter(on_ledger);
            let cut = after.next().is_some_and(|n| log[n].name == "truncate" && !log[n].failed);
            let synced = after.next().filter(|n| cut && log[*n].name == "sync_data" && !log[*n].failed);
            if let (Some(line), Some(synced)) = (written, synced) {
                self.promise(synced + 1, What::Refused(line));
            }
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
        while behind() && begun.elapsed() < Duration::from_secs(3) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Decoding, reassembly and this writer, with one interface.
pub fn worker(writer: Writer) -> Worker {
    let mut worker = Worker::new(writer, WorkerConfig { publish_at_ticks: true, ..WorkerConfig::default() });
    let interface = Interface {
        link_type: LinkType::ETHERNET,
        snap_length: 262_144,
        resolution: Resolution::NANOS,
        time_offset: 0,
        fcs_length: None,
        options: Vec::new(),
    };
    worker.interface(&interface).unwrap();
    worker
}

pub fn frame(time: i64, data: &[u8]) -> Frame<'_> {
    Frame { time: Timestamp(time), interface: 0, wire_len: data.len() as u32, data }
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
