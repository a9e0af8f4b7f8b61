//! What becomes of a file when the disk fails, or when somebody writes to it meanwhile.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use clap::Parser;
use streamdb_capture::{CaptureFile, Item, fingerprint};
use streamdb_storage::{DiskVolume, FrameFilter, Store, Volume};
use streamdb_testkit::{Fault, FaultVolume, TestFolder};

use super::asking::{Asker, Held};
use super::folders::ANSWERS;
use super::questions::{Listing, Opened};
use super::reading::{Cut, Reading};
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
        self.hear();
        let (at, next, shape) = self.next();
        assert_eq!(next.to_str(), Some(name));
        self.at_work.take(at, &next, shape)
    }

    /// Hears until no folder has anything to say.
    fn hear(&mut self) {
        self.at_work.folders.hear();
        let since = Instant::now();
        while !self.at_work.folders.is_settled() {
            assert!(since.elapsed() < ANSWERS);
            self.at_work.folders.hear();
        }
    }

    fn asker(&self, at: usize) -> Asker {
        self.at_work.folders.all[at].asker.clone()
    }

    /// This file, as one that is opened as what the next one is.
    fn opened(&self, file: File, found: &Found) -> Opened {
        let asker = self.asker(found.at);
        let same = Held::new(File::open(&found.path).unwrap(), &asker);
        Opened { file: Held::new(file, &asker), same, fingerprint: fingerprint(&found.path).unwrap() }
    }

    /// The next file that is complete, and the same as it is opened.
    fn open_next(&self) -> (Found, Opened) {
        let (at, name, shape) = self.next();
        let found = self.at_work.found(at, &name, shape).unwrap();
        let opened = self.opened(File::open(&found.path).unwrap(), &found);
        (found, opened)
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
        case.hear();
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
    let waits = Waits { seen: Arc::new(Seen::silent_for(IDLE)), ..Waits::default() };
    let asker = Asker::start(folder.path(), waits.clone()).unwrap();
    let reading = || Reading::new(&asker, Held::new(File::open(&path).unwrap(), &asker), ANSWERS);
    let mut read = Vec::new();
    reading().read_to_end(&mut read).unwrap();
    assert!(read == written && waits.seen.silent() < IDLE);
    let mut reading = reading();
    let mut bytes = [0; 2];
    waits.ending.store(true, Ordering::Relaxed);
    let since = Instant::now();
    while since.elapsed() < GRACE {
        assert_eq!(reading.read(&mut bytes).unwrap(), 2, "there is some time left");
        thread::sleep(PAUSE);
    }
    thread::sleep(PAUSE);
    assert!(reading.read(&mut bytes).is_err());
    assert_eq!(reading.cut().lock().unwrap().take(), Some(Cut::Ends));
    // At the end nobody waits for long.
    let (_answer, question) = unbounded::<()>();
    let since = Instant::now();
    assert!(asker.ask(move |_| question.recv()).wait(IDLE).is_none() && since.elapsed() < Duration::from_secs(1));
}

/// As one of a file server that is away for a while.
#[test]
fn a_folder_that_does_not_answer_any_more_keeps_no_other_waiting() {
    let mut case = Case::with("spool-folder-silent", DiskVolume, &["spool", "away"]);
    let (bytes, times) = first(40);
    fs::write(case.path("a"), &bytes).unwrap();
    fs::write(case.path("../away/b"), first(20).0).unwrap();
    case.hear();
    assert_eq!(case.at_work.folders.waiting(), 2);
    let (answer, question) = unbounded::<()>();
    let asked = case.asker(1).ask(move |_| _ = question.recv());
    let since = Instant::now();
    assert!(asked.wait(ANSWERS).is_none() && since.elapsed() >= ANSWERS);
    let since = Instant::now();
    let (at, name, shape) = case.next();
    case.at_work.take(at, &name, shape).unwrap();
    assert!(case.at_work.folders.next().is_none(), "nobody asks there");
    fs::write(case.path("../away/c"), &bytes).unwrap();
    case.at_work.folders.hear();
    assert_eq!((case.at_work.waits.away(), case.at_work.waits.seen.last().silent), ((1, 1), 1));
    assert!(since.elapsed() < Duration::from_secs(1), "nobody waits for it once more");
    assert!(!case.path("a").exists());
    drop(answer);
    // It is looked what came meanwhile.
    let since = Instant::now();
    while case.at_work.folders.waiting() < 2 {
        assert!(since.elapsed() < Duration::from_secs(2));
        case.at_work.folders.hear();
    }
    assert_eq!((case.at_work.waits.away(), case.at_work.waits.seen.last().silent), ((0, 0), 0));
    case.at_work.end_worker(true).unwrap();
    assert_eq!(case.frames(), times);
}

/// One that is listed for long keeps nobody waiting, either; and what is heard meanwhile counts more than what is listed.
#[test]
fn what_is_heard_while_a_folder_is_listed_is_not_forgotten() {
    let mut case = Case::with("spool-folder-listed", DiskVolume, &["spool", "slow"]);
    let bytes = first(40).0;
    for name in ["../slow/a", "../slow/b", "c"] {
        fs::write(case.path(name), &bytes).unwrap();
    }
    case.hear();
    assert_eq!(case.next().0, 1);
    // What it says is said later, as of a listing that takes long.
    let (answer, question) = unbounded::<()>();
    let listed: Vec<_> = ["a", "b"].map(|name| (name.into(), shape_of(&case.path(&format!("../slow/{name}"))))).into();
    let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata(case.path("../slow")).unwrap());
    case.at_work.folders.all[1].list_as(move || {
        _ = question.recv();
        Listing { inode, files: listed, crowded: false }
    });
    case.at_work.folders.hear();
    fs::remove_file(case.path("../slow/a")).unwrap();
    fs::write(case.path("../slow/d"), &bytes).unwrap();
    let (at, name, shape) = loop {
        case.at_work.folders.hear();
        if let Some((at, name, Next::Take(shape))) = case.at_work.folders.next() {
            break (at, name, shape);
        }
    };
    assert_eq!((at, name.to_str()), (0, Some("c")));
    case.at_work.take(at, &name, shape).unwrap();
    assert!(case.at_work.folders.next().is_none(), "the other one is at something");
    drop(answer);
    let since = Instant::now();
    while case.at_work.folders.waiting() < 2 {
        assert!(since.elapsed() < Duration::from_secs(2));
        case.at_work.folders.hear();
    }
    case.hear();
    for wanted in ["b", "d"] {
        let (at, name, shape) = case.next();
        assert_eq!((at, name.to_str()), (1, Some(wanted)), "it was heard that it is complete");
        case.at_work.take(at, &name, shape).unwrap();
    }
    assert_eq!(case.at_work.folders.waiting(), 0);
}

fn shape_of(path: &std::path::Path) -> Shape {
    Shape::of(&fs::metadata(path).unwrap())
}

/// What was read of it stays, as the rest may never come; and goes when all of it comes.
#[test]
fn a_file_whose_folder_does_not_answer_any_more_is_stored_anew_and_once() {
    let mut case = Case::with("spool-folder-cut", DiskVolume, &["spool", "other"]);
    let (bytes, times) = first(40);
    fs::write(case.path("a"), &bytes).unwrap();
    case.hear();
    let (found, _) = case.open_next();
    // A pipe answers when somebody writes to it.
    let (pipe, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&first(20).0).unwrap();
    let since = Instant::now();
    let opened = case.opened(File::from(OwnedFd::from(pipe)), &found);
    case.at_work.store_file(&found, opened).unwrap();
    assert!(since.elapsed() >= ANSWERS && !case.is_known("a"));
    assert_eq!(case.frames().len(), 20);
    assert!(case.at_work.folders.next().is_none());
    drop(writer);
    while case.asker(0).is_silent() {
        thread::sleep(Duration::from_millis(1));
    }
    case.hear();
    // Others come first, and it is waited for longer.
    assert!(case.at_work.folders.next().is_none());
    assert_eq!(case.at_work.folders.patience(0), 2 * ANSWERS);
    case.at_work.folders.all[0].rests_until = None;
    case.at_work.later(&found, Duration::ZERO);
    case.take("a").unwrap();
    assert!(!case.path("a").exists());
    case.at_work.end_worker(true).unwrap();
    assert_eq!(case.frames(), times);
}

/// A file of which the system reads only so much: another end is closed with something left in it.
fn failing(bytes: &[u8]) -> File {
    let (mut here, mut there) = UnixStream::pair().unwrap();
    here.write_all(b"left").unwrap();
    there.write_all(bytes).unwrap();
    drop(there);
    File::from(OwnedFd::from(here))
}

/// A file server may fail for a while; a disk that is broken does for good.
#[test]
fn what_the_system_does_not_read_is_tried_again_and_in_the_end_damaged() {
    let mut case = Case::new("spool-folder-unread", DiskVolume);
    fs::write(case.path("a"), first(40).0).unwrap();
    case.hear();
    let (found, _) = case.open_next();
    for time in 1..=3 {
        let opened = case.opened(failing(&first(20).0), &found);
        case.at_work.store_file(&found, opened).unwrap();
        assert_eq!((case.frames().len(), case.is_known("a")), (20, time == 3), "{time}");
    }
    assert!(case.path("a").exists() && case.at_work.folders.waiting() == 0);
    // Another one goes on with what is stored of it.
    fs::write(case.path("b"), &first(30).0).unwrap();
    case.hear();
    let (found, _) = case.open_next();
    let opened = case.opened(failing(&first(20).0), &found);
    case.at_work.store_file(&found, opened).unwrap();
    assert_eq!(case.frames().len(), 40);
    fs::write(case.path("b"), &first(39).0).unwrap();
    case.take("b").unwrap();
    case.at_work.end_worker(true).unwrap();
    assert_eq!(case.frames().len(), 20 + 39, "nothing is left of it as it was before");
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
    case.hear();
    let (found, opened) = case.open_next();
    let path = case.path("a");
    fs::write(&path, &bytes).unwrap();
    case.at_work.store_file(&found, opened).unwrap();
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
    case.hear();
    let (found, opened) = case.open_next();
    let path = case.path("a");
    fs::rename(&path, case.path("moved")).unwrap();
    fs::write(&path, b"another").unwrap();
    case.at_work.store_file(&found, opened).unwrap();
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
