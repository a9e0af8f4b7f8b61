//! The watermarks: how far readers may look into each open bucket, shared through one mapped page, and the lock that
//! makes one process the writer.
//!
//! File `live` of the data folder, 4096 bytes, 512 slots, each a little-endian `u64`:
//!
//! | slot | holds |
//! |---|---|
//! | 0 | magic `SDBLIVE1`, read as a little-endian number |
//! | 1 | version of this layout: 1 |
//! | 2 | how many writers have begun here; it changes when a new one takes over |
//! | 3 | process id of the writer |
//! | 4-15 | 0 |
//! | 16 + 8 n .. 24 + 8 n | worker n, n from 0 to 61 |
//!
//! and a worker's slots:
//!
//! | slot | holds |
//! |---|---|
//! | 0 | sequence: odd while the others are being changed |
//! | 1 | id of its open bucket, 0 when it has none |
//! | 2 | published: bytes of the bucket's file that readers may look at |
//! | 3 | durable: bytes of it that survive a power cut |
//! | 4 | frames in it so far |
//! | 5 | time of the last frame, ns since 1970 (two's complement) |
//! | 6, 7 | 0 |
//!
//! The page is no truth, only a shortcut: it is never synced, recovery does not read it, and a reader trusts it only while
//! somebody holds the lock ([`writer_alive`]); the files of a dead writer are scanned instead. So it is mended in place,
//! whatever it holds, and no crash can hurt it.
//!
//! File `lock`: locked (`flock`) by the writer as long as it lives, so that the system frees it however the writer ends. It
//! holds the writer's process id in decimal, for the error that the second writer gets.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use streamdb_types::{BucketId, Timestamp};

use crate::folder::has_ledger;
use crate::map::{MapError, SHARED_PAGE, SharedPage, SharedPageWriter};
use crate::volume::{Volume, read_full};
use crate::{Error, Result};

/// How many workers one data folder can have.
pub const MAX_WORKERS: usize = 62;

const FILE: &str = "live";
const LOCK: &str = "lock";
const MAGIC: u64 = u64::from_le_bytes(*b"SDBLIVE1");
const VERSION: u64 = 1;

const SLOT_MAGIC: usize = 0;
const SLOT_VERSION: usize = 1;
const SLOT_WRITERS: usize = 2;
const SLOT_PID: usize = 3;
const WORKERS: usize = 16;
const PER_WORKER: usize = 8;
const SEQUENCE: usize = 0;
const BUCKET: usize = 1;
const PUBLISHED: usize = 2;
const DURABLE: usize = 3;
const FRAMES: usize = 4;
const LAST_TIME: usize = 5;

/// How far a worker has come in its open bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The open bucket.
    pub bucket: BucketId,
    /// Bytes of its file that readers may look at.
    pub published: u64,
    /// Bytes of its file that survive a power cut.
    pub durable: u64,
    /// Frames in it so far.
    pub frames: u64,
    /// Time of the last of them.
    pub last_time: Timestamp,
}

/// The writer's side: it holds the lock of the data folder, until it is dropped or its process ends.
///
/// The store thread of a worker publishes and its sync thread tells what is durable, so each worker's slots have a lock
/// within the process. It is taken once a block; readers never wait for it.
#[derive(Debug)]
pub struct LiveWriter {
    page: SharedPageWriter,
    workers: Vec<Mutex<()>>,
    // Holds the lock as long as it is open; closed last.
    _lock: File,
}

impl LiveWriter {
    /// Takes the lock of a data folder and clears its page. [`Error::Locked`] when another process writes there.
    pub fn open(volume: &dyn Volume, folder: &Path) -> Result<Self> {
        let lock = lock(folder)?;
        let path = folder.join(FILE);
        let file = match volume.open(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => volume.create(&path).map_err(Error::io(&path, "make it"))?,
            result => result.map_err(Error::io(&path, "open it"))?,
        };
        // The file stays the same one, so that readers who have it mapped see the new writer. Its room is written now: a
        // mapped store to a full disk would be a SIGBUS.
        let mut page = [0; SHARED_PAGE as usize];
        file.read_at(&mut page, 0).map_err(Error::io(&path, "read it"))?;
        file.write_at(&page, 0).map_err(Error::io(&path, "write it"))?;
        file.truncate(SHARED_PAGE).map_err(Error::io(&path, "set its length"))?;
        let mapped = OpenOptions::new().read(true).write(true).open(&path);
        let page = mapped.and_then(|file| SharedPageWriter::open(&file, &path)).map_err(Error::io(&path, "map it"))?;

        let known = page.page().load(SLOT_MAGIC) == MAGIC && page.page().load(SLOT_VERSION) == VERSION;
        let writers = if known { page.page().load(SLOT_WRITERS) } else { 0 };
        page.store(SLOT_MAGIC, 0);
        let workers: Vec<_> = (0..MAX_WORKERS).map(|_| Mutex::new(())).collect();
        let this = Self { page, workers, _lock: lock };
        for worker in 0..MAX_WORKERS {
            this.change(worker, |slots| slots.set(&Mark::default()));
        }
        this.page.store(SLOT_WRITERS, writers.wrapping_add(1));
        this.page.store(SLOT_PID, std::process::id().into());
        this.page.store(SLOT_VERSION, VERSION);
        this.page.store(SLOT_MAGIC, MAGIC);
        Ok(this)
    }

    /// The worker has begun a bucket; `mark` says how much of it may be read already. A worker from [`MAX_WORKERS`] on has
    /// no place here: nothing is noted, and readers do not see its bucket until it is sealed.
    pub fn begin(&self, worker: usize, mark: &Mark) {
        self.change(worker, |slots| slots.set(mark));
    }

    /// The first `published` bytes of the open bucket may be read: to be called after the write returned. What is durable
    /// stays as it is.
    pub fn publish(&self, worker: usize, published: u64, frames: u64, last_time: Timestamp) {
        self.change(worker, |slots| {
            slots.store(PUBLISHED, published);
            slots.store(FRAMES, frames);
            slots.store(LAST_TIME, last_time.0.cast_unsigned());
        });
    }

    /// The first `durable` bytes of this bucket survive a power cut: to be called after the sync returned. Nothing is noted
    /// when the worker has another bucket by now, or when more was durable already.
    pub fn durable(&self, worker: usize, bucket: BucketId, durable: u64) {
        self.change(worker, |slots| {
            if slots.load(BUCKET) == bucket.0 && slots.load(DURABLE) < durable {
                slots.store(DURABLE, durable);
            }
        });
    }

    /// The worker has no open bucket any more: it is sealed.
    pub fn end(&self, worker: usize) {
        self.change(worker, |slots| slots.set(&Mark::default()));
    }

    /// Whether readers can still see what is noted here: an error when the page's file was cut or its medium fails.
    pub fn check(&self) -> std::result::Result<(), MapError> {
        self.page.page().check()
    }

    /// A sequence lock with one writer at a time: the sequence is odd while the other slots change. Every store is a
    /// release, so who sees one of the new values sees the odd sequence too.
    fn change(&self, worker: usize, change: impl FnOnce(&Slots<'_>)) {
        let Some(mutex) = self.workers.get(worker) else { return };
        let _guard = mutex.lock().unwrap_or_else(PoisonError::into_inner);
        let slots = Slots { page: &self.page, first: first_slot(worker) };
        // A writer that died in here left it odd; the next even number is where we begin.
        let sequence = slots.load(SEQUENCE).wrapping_add(1) & !1;
        slots.store(SEQUENCE, sequence.wrapping_add(1));
        change(&slots);
        slots.store(SEQUENCE, sequence.wrapping_add(2));
    }
}

/// One worker's slots, while they are being changed.
struct Slots<'a> {
    page: &'a SharedPageWriter,
    first: usize,
}

impl Slots<'_> {
    fn load(&self, slot: usize) -> u64 {
        self.page.page().load(self.first.saturating_add(slot))
    }

    fn store(&self, slot: usize, value: u64) {
        self.page.store(self.first.saturating_add(slot), value);
    }

    fn set(&self, mark: &Mark) {
        self.store(BUCKET, mark.bucket.0);
        self.store(PUBLISHED, mark.published);
        self.store(DURABLE, mark.durable);
        self.store(FRAMES, mark.frames);
        self.store(LAST_TIME, mark.last_time.0.cast_unsigned());
    }
}

fn first_slot(worker: usize) -> usize {
    worker.saturating_mul(PER_WORKER).saturating_add(WORKERS)
}

/// A reader's side. It needs no right to write.
#[derive(Debug)]
pub struct LiveReader {
    page: SharedPage,
}

impl LiveReader {
    /// Maps the page of a data folder; `None` when there is none that could be believed: nobody ever wrote here, or another
    /// version did.
    pub fn open(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(FILE);
        let page = match File::open(&path).and_then(|file| SharedPage::open(&file, &path)) {
            // Missing, or its first writer has not written it yet.
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof) => return Ok(None),
            result => result.map_err(Error::io(&path, "map it"))?,
        };
        let this = Self { page };
        Ok(if this.known() { Some(this) } else { None })
    }

    /// How far a worker has come; `None` when it has no open bucket, or when its slots stayed half changed (its writer has
    /// died, or has not run for a while). To be believed only while the [writer is alive](writer_alive).
    pub fn worker(&self, worker: usize) -> std::result::Result<Option<Mark>, MapError> {
        let mark = if worker < MAX_WORKERS { self.consistent(first_slot(worker)) } else { None };
        let known = self.known();
        self.page.check()?;
        Ok(mark.filter(|mark| known && mark.bucket != BucketId(0)))
    }

    /// How many writers have begun in this folder: a change means that another process took over.
    pub fn writers(&self) -> u64 {
        self.page.load(SLOT_WRITERS)
    }

    fn known(&self) -> bool {
        self.page.load(SLOT_MAGIC) == MAGIC && self.page.load(SLOT_VERSION) == VERSION
    }

    fn consistent(&self, first: usize) -> Option<Mark> {
        let load = |slot: usize| self.page.load(first.saturating_add(slot));
        // A change takes well under a microsecond, unless the writer is put off the processor in the middle.
        for attempt in 0..200 {
            let before = load(SEQUENCE);
            // Every load is an acquire, so the second look at the sequence comes after the values.
            let mark = Mark {
                bucket: BucketId(load(BUCKET)),
                published: load(PUBLISHED),
                durable: load(DURABLE),
                frames: load(FRAMES),
                last_time: Timestamp(load(LAST_TIME).cast_signed()),
            };
            if before & 1 == 0 && load(SEQUENCE) == before {
                return Some(mark);
            }
            match attempt {
                0..100 => std::hint::spin_loop(),
                100..150 => std::thread::yield_now(),
                _ => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        None
    }
}

/// Whether a process, this one included, writes to a data folder.
pub fn writer_alive(folder: &Path) -> Result<bool> {
    let path = folder.join(LOCK);
    let file = match File::open(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        Err(e) => {
            // When it is for the folder, that is what to say.
            has_ledger(folder)?;
            return Err(Error::io(&path, "open it")(e));
        }
        Ok(file) => file,
    };
    // The lock is shared and held for a moment only; `lock` below waits that moment out.
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(e)) => Err(Error::io(&path, "see whether it is locked")(e)),
    }
}

fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(LOCK);
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let file = options.map_err(Error::io(&path, "open it"))?;
    // Readers that look whether a writer lives lock it for some microseconds, so the first refusal is not the last word.
    for attempt in 0..50 {
        match file.try_lock() {
            Ok(()) => {
                let pid = format!("{}\n", std::process::id());
                let written = file.set_len(0).and_then(|()| file.write_all_at(pid.as_bytes(), 0));
                // Only the text of an error rests on it.
                return written.map(|()| file).map_err(Error::io(&path, "write to it"));
            }
            Err(TryLockError::WouldBlock) if attempt < 49 => std::thread::sleep(Duration::from_millis(2)),
            Err(TryLockError::WouldBlock) => break,
            Err(TryLockError::Error(e)) => return Err(Error::io(&path, "lock it")(e)),
        }
    }
    Err(Error::Locked { path: folder.to_owned(), pid: pid(&file).unwrap_or_default() })
}

/// The process id that the lock file holds.
fn pid(file: &File) -> io::Result<Option<u32>> {
    let mut text = [0; 16];
    let len = read_full(file, &mut text, 0)?;
    let text = text.get(..len).and_then(|text| std::str::from_utf8(text).ok());
    Ok(text.and_then(|text| text.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::DiskVolume;
    use std::sync::atomic::{AtomicBool, Ordering};
    use streamdb_testkit::TestFolder;

    fn open(folder: &TestFolder) -> LiveWriter {
        LiveWriter::open(&DiskVolume, folder.path()).unwrap()
    }

    fn reader(folder: &TestFolder) -> LiveReader {
        LiveReader::open(folder.path()).unwrap().unwrap()
    }

    #[test]
    fn marks_are_written_and_read() {
        let folder = TestFolder::new("live");
        assert!(LiveReader::open(folder.path()).unwrap().is_none());
        let writer = open(&folder);
        let reader = reader(&folder);
        assert_eq!(reader.worker(3).unwrap(), None);
        let mark = Mark { bucket: BucketId(7), published: 4096, ..Mark::default() };
        writer.begin(3, &mark);
        assert_eq!(reader.worker(3).unwrap(), Some(mark));
        writer.publish(3, 9000, 12, Timestamp(-5));
        writer.durable(3, BucketId(7), 8000);
        writer.durable(3, BucketId(7), 4096);
        writer.durable(3, BucketId(6), 9000);
        let mark = Mark { bucket: BucketId(7), published: 9000, durable: 8000, frames: 12, last_time: Timestamp(-5) };
        assert_eq!(reader.worker(3).unwrap(), Some(mark));
        for (other, bucket) in [(0, 1), (MAX_WORKERS - 1, 2), (MAX_WORKERS, 3), (usize::MAX, 4)] {
            writer.begin(other, &Mark { bucket: BucketId(bucket), ..Mark::default() });
        }
        assert_eq!(reader.worker(0).unwrap().map(|m| m.bucket), Some(BucketId(1)));
        assert_eq!(reader.worker(MAX_WORKERS - 1).unwrap().map(|m| m.bucket), Some(BucketId(2)));
        assert_eq!(reader.worker(MAX_WORKERS).unwrap(), None);
        assert_eq!(reader.worker(usize::MAX).unwrap(), None);
        assert_eq!(reader.worker(3).unwrap(), Some(mark));
        assert_eq!(reader.worker(4).unwrap(), None);
        writer.end(3);
        assert_eq!(reader.worker(3).unwrap(), None);
        writer.check().unwrap();
        assert_eq!(std::fs::metadata(folder.path().join(FILE)).unwrap().len(), 4096);
    }

    #[test]
    fn there_is_one_writer() {
        let folder = TestFolder::new("live-lock");
        assert!(!writer_alive(folder.path()).unwrap());
        let writer = open(&folder);
        assert!(writer_alive(folder.path()).unwrap());
        let Err(error) = LiveWriter::open(&DiskVolume, folder.path()) else { panic!("two writers") };
        assert!(matches!(error, Error::Locked { pid: Some(pid), .. } if pid == std::process::id()), "{error}");
        drop(writer);
        assert!(!writer_alive(folder.path()).unwrap());
        drop(open(&folder));
    }

    #[test]
    fn asking_for_the_writer_keeps_none_out() {
        let folder = TestFolder::new("live-ask");
        drop(open(&folder));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    writer_alive(folder.path()).unwrap();
                }
            });
            let opened: Vec<_> = (0..20).map(|_| LiveWriter::open(&DiskVolume, folder.path()).map(drop)).collect();
            stop.store(true, Ordering::Relaxed);
            assert!(opened.iter().all(|o| o.is_ok()), "{opened:?}");
        });
    }

    #[test]
    fn a_new_writer_is_seen_through_the_old_mapping() {
        let folder = TestFolder::new("live-again");
        let writer = open(&folder);
        let reader = reader(&folder);
        writer.begin(1, &Mark { bucket: BucketId(7), published: 4096, ..Mark::default() });
        assert_eq!(reader.writers(), 1);
        // As if it had died within a change.
        let slots = Slots { page: &writer.page, first: first_slot(1) };
        slots.store(SEQUENCE, slots.load(SEQUENCE) + 1);
        assert_eq!(reader.worker(1).unwrap(), None);
        drop(writer);
        let writer = open(&folder);
        assert_eq!(reader.writers(), 2);
        assert_eq!(reader.worker(1).unwrap(), None);
        writer.begin(1, &Mark { bucket: BucketId(8), published: 1, ..Mark::default() });
        assert_eq!(reader.worker(1).unwrap().map(|m| m.bucket), Some(BucketId(8)));
    }

    #[test]
    fn whatever_the_file_held_is_mended() {
        let folder = TestFolder::new("live-mend");
        let path = folder.path().join(FILE);
        for bytes in [vec![], vec![0xff; 100], vec![0xff; 4096], vec![0xff; 10_000]] {
            std::fs::write(&path, &bytes).unwrap();
            assert!(LiveReader::open(folder.path()).unwrap().is_none(), "{}", bytes.len());
            let writer = open(&folder);
            let reader = reader(&folder);
            assert!((0..MAX_WORKERS).all(|n| reader.worker(n).unwrap().is_none()));
            writer.begin(5, &Mark { bucket: BucketId(9), ..Mark::default() });
            assert_eq!(reader.worker(5).unwrap().map(|m| m.bucket), Some(BucketId(9)));
            assert_eq!(std::fs::metadata(&path).unwrap().len(), 4096);
        }
    }

    #[test]
    fn a_reader_never_sees_half_a_change() {
        let folder = TestFolder::new("live-race");
        let writer = open(&folder);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Everything in a mark follows from its frames.
            scope.spawn(|| {
                for n in 1_u64.. {
                    let mark = Mark { bucket: BucketId(n / 4 + 1), published: n * 3, frames: n, ..Mark::default() };
                    if n % 4 == 0 {
                        writer.begin(0, &mark)
                    } else {
                        writer.publish(0, n * 3, n, Timestamp(0))
                    }
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    // Real writers leave time between two changes, too.
                    (0..n % 64).for_each(|_| std::hint::spin_loop());
                }
            });
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let reader = reader(&folder);
                        let (mut seen, mut changes, mut last) = (0, 0, 0);
                        while seen < 500_000 || changes < 10_000 {
                            let Some(mark) = reader.worker(0).unwrap().filter(|mark| mark.frames > 3) else { continue };
                            assert_eq!(mark.published, mark.frames * 3);
                            assert_eq!(mark.bucket.0, mark.frames / 4 + 1);
                            assert!(mark.frames >= last);
                            changes += u64::from(mark.frames > last);
                            seen += 1;
                            last = mark.frames;
                        }
                    })
                })
                .collect();
            let outcomes: Vec<_> = readers.into_iter().map(|r| r.join()).collect();
            stop.store(true, Ordering::Relaxed);
            assert!(outcomes.iter().all(|o| o.is_ok()));
        });
    }
}
