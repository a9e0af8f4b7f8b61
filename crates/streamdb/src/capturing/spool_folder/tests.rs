//! What becomes of a file when the disk fails, or when somebody writes to it meanwhile.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};

use clap::Parser;
use streamdb_capture::{CaptureFile, Item, fingerprint};
use streamdb_storage::{DiskVolume, FrameFilter, Store, Volume};
use streamdb_testkit::{Fault, FaultVolume, TestFolder};

use super::asking::{Asker, Cut, Reading};
use super::folders::ANSWERS;
use super::*;
use crate::cli::{Cli, Command};
use crate::config::Config;

const NO_SPACE: i32 = 28;
const CAPTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/lossy-path/capture.pcap");

/// A worker with a folder, into a store.
struct Case {
    folder: TestFolder,
    at_work: AtWork,
}

impl Case {
    fn new(name: &str, volume: impl Volume + 'static) -> Self {
        Self::with(name, volume, &["spool"])
    }

    fn with(name: &str, volume: impl Volume + 'static, spools: &[&str]) -> Self {
        let folder = TestFolder::new(name);
        let data = folder.path().join("data");
        let spools: Vec<_> = spools.iter().map(|name| folder.path().join(name)).collect();
        spools.iter().for_each(|spool| fs::create_dir(spool).unwrap());
        let command = ["streamdb", "capture", "--data", "d", "--spool", "s"];
        let Command::Capture(args) = Cli::parse_from(command).command else { panic!("{command:?}") };
        let settings = Settings::new(&args.storing, &Config::load(None).unwrap()).unwrap();
        let folders = Folders::open(&spools, &data, false).unwrap();
        let store = Arc::new(WriteFolder::open(&data, Box::new(volume)).unwrap());
        let (at_work, _) = AtWork::new(folders, true, &store, &settings).unwrap();
        Self { folder, at_work }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("spool").join(name)
    }

    /// Takes the next file, which is this one.
    fn take(&mut self, name: &str) -> Result<(), Error> {
        self.at_work.folders.hear();
        let (at, next, shape) = self.next();
        assert_eq!(next.to_str(), Some(name));
        self.at_work.take(at, &next, shape)
    }

    /// The next file that is complete.
    fn next(&self) -> (usize, PathBuf, Shape) {
        match self.at_work.folders.next() {
            Some((at, name, Next::Take(shape))) => (at, name, shape),
            other => panic!("{other:?}"),
        }
    }

    fn is_known(&self, name: &str) -> bool {
        let print = fingerprint(&self.path(name)).unwrap();
        self.at_work.store.ledger().lock().unwrap().facts().ingested(&print).is_some()
    }

    /// The times of all frames that are stored.
    fn frames(&self) -> Vec<i64> {
        let store = Store::open(&self.folder.path().join("data")).unwrap();
        let mut times = Vec::new();
        let mut visit = |frame: &streamdb_storage::StoredFrame<'_>| {
            times.push(frame.time.0);
            Ok(())
        };
        store.frames(&FrameFilter::default(), &mut visit).unwrap();
        times
    }
}

/// One that does nothing until it is told to end, as was seen last so long ago; and by what it is told.
pub(in crate::capturing) fn idle(said: Sender<Event>, silent: Duration) -> (SpoolFolders, Arc<AtomicBool>) {
    let ending = Arc::new(AtomicBool::new(false));
    let end = Arc::clone(&ending);
    let work = move || {
        while !end.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
        Ok(Done::default())
    };
    let thread = spawn("capture spool", said, work).unwrap();
    let (changes, _) = unbounded();
    let seen = Arc::new(Seen::silent_for(silent));
    (SpoolFolders { thread, ending: Arc::clone(&ending), changes, seen }, ending)
}

/// The first so many frames of the capture, and the times of them.
fn first(frames: usize) -> (Vec<u8>, Vec<i64>) {
    let bytes = fs::read(CAPTURE).unwrap();
    let mut end = 24;
    for _ in 0..frames {
        let length = u32::from_le_bytes(bytes[end + 8..end + 12].try_into().unwrap());
        end += 16 + length as usize;
    }
    let bytes = bytes[..end].to_vec();
    let mut capture = CaptureFile::from_reader("c".as_ref(), std::io::Cursor::new(bytes.clone())).unwrap();
    let mut times = Vec::new();
    while let Some(item) = capture.next().unwrap() {
        if let Item::Frame(frame) = item {
            times.push(frame.time.0);
        }
    }
    (bytes, times)
}

#[test]
fn one_that_cannot_be_taken_does_not_hold_up_the_others() {
    let mut case = Case::new("spool-folder-again", DiskVolume);
    let (bytes, _) = first(40);
    for name in ["a", "b"] {
        fs::write(case.path(name), &bytes).unwrap();
        case.at_work.folders.hear();
    }
    let names = |case: &Case| case.next().1;
    let (at, name, shape) = case.next();
    assert_eq!(name.to_str(), Some("a"));
    let found = case.at_work.found(at, &name, shape).unwrap();
    case.at_work.later(&found, Duration::ZERO);
    assert_eq!(names(&case).to_str(), Some("b"));
    case.take("b").unwrap();
    assert_eq!(names(&case).to_str(), Some("a"), "it is tried again");
    case.at_work.later(&found, Duration::ZERO);
    assert_eq!(names(&case).to_str(), Some("a"), "there is no other");
}

/// A capture may have much in it that is nothing to take.
#[test]
fn who_reads_a_file_goes_on_and_ends_in_time() {
    let folder = TestFolder::new("spool-folder-paced");
    let path = folder.path().join("a");
    let written: Vec<u8> = (0..1_000_003_u32).map(|n| (n % 251) as u8).collect();
    fs::write(&path, &written).unwrap();
    let waits = Waits { seen: Arc::new(Seen::silent_for(IDLE)), ending: Arc::default() };
    let asker = Asker::start(waits.clone()).unwrap();
    let mut read = Vec::new();
    Reading::new(&asker, File::open(&path).unwrap()).read_to_end(&mut read).unwrap();
    assert!(read == written && waits.seen.silent() < IDLE);
    let mut reading = Reading::new(&asker, File::open(&path).unwrap());
    reading.ends_at = Some(Instant::now());
    let mut bytes = [0; 2];
    assert_eq!(reading.read(&mut bytes).unwrap(), 2);
    waits.ending.store(true, Ordering::Relaxed);
    assert!(reading.read(&mut bytes).is_err());
    assert_eq!(reading.cut().lock().unwrap().take(), Some(Cut::Ends));
}

/// As one of a file server that is away for a while.
#[test]
fn a_folder_that_does_not_answer_any_more_keeps_no_other_waiting() {
    let mut case = Case::with("spool-folder-silent", DiskVolume, &["spool", "away"]);
    let (bytes, times) = first(40);
    fs::write(case.path("a"), &bytes).unwrap();
    fs::write(case.path("../away/b"), first(20).0).unwrap();
    case.at_work.folders.hear();
    assert_eq!(case.at_work.folders.waiting(), 2);
    let (answer, question) = unbounded::<()>();
    let asker = case.at_work.folders.all[1].asker.clone();
    let asked = asker.ask(move |_| _ = question.recv());
    let since = Instant::now();
    assert!(asked.wait().is_none() && since.elapsed() >= ANSWERS);
    let since = Instant::now();
    case.take("a").unwrap();
    assert!(case.at_work.folders.next().is_none(), "nobody asks there");
    fs::write(case.path("../away/c"), &bytes).unwrap();
    case.at_work.folders.hear();
    assert_eq!(case.at_work.folders.away(), (1, 1));
    assert!(since.elapsed() < ANSWERS, "nobody waits for it once more");
    assert!(!case.path("a").exists());
    drop(answer);
    // It is looked what came meanwhile.
    let since = Instant::now();
    while case.at_work.folders.waiting() < 2 {
        assert!(since.elapsed() < ANSWERS);
        case.at_work.folders.hear();
    }
    assert_eq!(case.at_work.folders.away(), (0, 0));
    case.at_work.end_worker(true).unwrap();
    assert_eq!(case.frames(), times);
}

/// What was read of it stays, as the rest may never come; and goes when all of it comes.
#[test]
fn a_file_whose_folder_does_not_answer_any_more_is_stored_anew_and_once() {
    let mut case = Case::new("spool-folder-cut", DiskVolume);
    let (bytes, times) = first(40);
    fs::write(case.path("a"), &bytes).unwrap();
    case.at_work.folders.hear();
    let (at, name, shape) = case.next();
    let found = case.at_work.found(at, &name, shape).unwrap();
    let print = fingerprint(&found.path).unwrap();
    let same = || File::open(&found.path).unwrap();
    // A pipe answers when somebody writes to it.
    let (pipe, mut writer) = std::io::pipe().unwrap();
    let part = first(20).0;
    writer.write_all(&part).unwrap();
    let since = Instant::now();
    let pipe = File::from(std::os::fd::OwnedFd::from(pipe));
    case.at_work.store_file(&found, print.clone(), pipe, same()).unwrap();
    assert!(since.elapsed() >= ANSWERS && !case.is_known("a"));
    assert_eq!(case.frames().len(), 20);
    assert!(case.at_work.folders.next().is_none());
    drop(writer);
    // What the system cannot read is no fault of the file, either.
    while case.at_work.folders.all[0].asker.is_silent() {
        thread::sleep(Duration::from_millis(1));
    }
    let no_file = File::open(case.folder.path()).unwrap();
    case.at_work.store_file(&found, print, no_file, same()).unwrap();
    assert!(case.path("a").exists() && !case.is_known("a"));
    case.at_work.later(&found, Duration::ZERO);
    case.take("a").unwrap();
    assert!(!case.path("a").exists());
    case.at_work.end_worker(true).unwrap();
    assert_eq!(case.frames(), times);
}

#[test]
fn what_the_disk_did_not_take_stays_and_is_stored_once_later() {
    let volume = FaultVolume::new(DiskVolume);
    let mut case = Case::new("spool-folder-disk", volume.clone());
    let (bytes, times) = first(40);
    fs::write(case.path("a"), &bytes).unwrap();
    // Once: the ledger can be written, and must not say that the file is in the store.
    volume.fail_next_of("write_at", "tmp", Fault { errno: NO_SPACE, ..Fault::default() });
    let error = case.take("a").unwrap_err().to_string();
    assert!(error.contains(" are not in the store"), "{error}");
    assert!(case.path("a").exists() && !case.is_known("a"));
    case.at_work.end_worker(false).unwrap();
    case.take("a").unwrap();
    assert!(!case.path("a").exists());
    case.at_work.end_worker(true).unwrap();
    assert_eq!(case.frames(), times);
}

#[test]
fn what_is_written_to_meanwhile_is_dropped_and_stored_when_it_is_complete() {
    let mut case = Case::new("spool-folder-changed", DiskVolume);
    let (bytes, times) = first(40);
    fs::write(case.path("a"), &bytes[..2000]).unwrap();
    case.at_work.folders.hear();
    let (at, name, shape) = case.next();
    let path = case.path("a");
    let found = Found { at, shown: path.display().to_string(), name, path: path.clone(), shape };
    let file = File::open(&path).unwrap();
    let same = file.try_clone().unwrap();
    let print = fingerprint(&path).unwrap();
    fs::write(&path, &bytes).unwrap();
    case.at_work.store_file(&found, print, file, same).unwrap();
    assert!(case.path("a").exists() && !case.is_known("a"));
    assert!(case.frames().is_empty());
    case.take("a").unwrap();
    assert!(!case.path("a").exists());
    case.at_work.end_worker(true).unwrap();
    assert_eq!(case.frames(), times);
}

/// One whose name stands for another content by now is not the one that is stored.
#[test]
fn only_what_is_stored_is_removed() {
    let mut case = Case::new("spool-folder-other", DiskVolume);
    let (bytes, times) = first(40);
    fs::write(case.path("a"), &bytes).unwrap();
    case.at_work.folders.hear();
    let (at, name, shape) = case.next();
    let path = case.path("a");
    let found = Found { at, shown: path.display().to_string(), name, path: path.clone(), shape };
    let file = File::open(&path).unwrap();
    let same = file.try_clone().unwrap();
    let print = fingerprint(&path).unwrap();
    fs::rename(&path, case.path("moved")).unwrap();
    fs::write(&path, b"another").unwrap();
    case.at_work.store_file(&found, print, file, same).unwrap();
    assert!(case.path("a").exists() && case.path("moved").exists());
    case.at_work.end_worker(true).unwrap();
    assert_eq!(case.frames(), times);
}

/// The buckets that are given to a worker are of the ingest that it began last; one that was interrupted is done anew later.
#[test]
fn the_ends_of_streams_are_of_no_interrupted_file() {
    let volume = FaultVolume::new(DiskVolume);
    let mut case = Case::new("spool-folder-ends", volume.clone());
    let ((whole, _), (begun, _)) = (first(40), first(20));
    fs::write(case.path("interrupted"), &whole).unwrap();
    volume.fail_next_of("write_at", "tmp", Fault { errno: NO_SPACE, forever: true, ..Fault::default() });
    case.take("interrupted").unwrap_err();
    volume.heal();
    case.at_work.end_worker(false).unwrap();
    let away = case.folder.path().join("away");
    fs::rename(case.path("interrupted"), &away).unwrap();
    fs::write(case.path("whole"), &begun).unwrap();
    case.take("whole").unwrap();
    assert!(case.at_work.worker.as_ref().unwrap().open_connections() > 0);
    let buckets = |case: &Case| -> BTreeSet<u64> {
        let ledger = case.at_work.store.ledger().lock().unwrap();
        ledger.facts().sealed().map(|(id, _)| id.0).collect()
    };
    let before = buckets(&case);
    case.at_work.end_worker(true).unwrap();
    let ends: BTreeSet<u64> = buckets(&case).difference(&before).copied().collect();
    assert_eq!(ends.len(), 1);
    fs::rename(&away, case.path("interrupted")).unwrap();
    case.take("interrupted").unwrap();
    assert!(ends.is_subset(&buckets(&case)));
}

#[test]
fn folders_that_cannot_be_used_are_refused() {
    let folder = TestFolder::new("spool-folder-refused");
    let data = folder.path().join("data");
    fs::create_dir_all(data.join("inside")).unwrap();
    fs::write(folder.path().join("file"), b"").unwrap();
    for (name, wanted) in [
        ("none", "there is no such folder"),
        ("file", "this is no folder"),
        ("data", "captures cannot appear in the data folder"),
        ("data/inside", "captures cannot appear in the data folder"),
    ] {
        let path = folder.path().join(name);
        let Err(error) = Folders::open(std::slice::from_ref(&path), &data, false) else { panic!("{name}") };
        assert!(error.to_string().starts_with(&format!("{}: {wanted}", path.display())), "{error}");
    }
    let path = folder.path().to_owned();
    let Err(error) = Folders::open(&[path.clone(), path.join(".")], &data, false) else { panic!("twice") };
    assert!(error.to_string().ends_with(": this folder is given twice"), "{error}");
    // Where others go on meanwhile, they keep nothing else from it.
    let some = [path.join("none"), path.clone(), path.join("."), data.clone()];
    let folders = Folders::open(&some, &data, true).unwrap();
    assert_eq!(folders.answering().collect::<Vec<_>>(), [path.as_path()]);
    assert_eq!(folders.away().len(), 3);
    let can = |folder: &str, others: &[PathBuf]| can_be_taken_from(&path.join(folder), others, &data, true).is_ok();
    assert!(can("", &[]) && !can("", &some) && !can("none", &[]) && !can("data", &[]));
}
