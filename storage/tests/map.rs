//! Mapped files that are cut under their readers: real SIGBUS, in this process.
#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::Duration;

use streamdb_storage::{DiskVolume, LiveReader, LiveWriter, Map, MapError, Mark, SharedPage, SharedPageWriter};
use streamdb_testkit::TestFolder;
use streamdb_types::BucketId;

/// Enough for every page size that Linux has.
const PAGE: u64 = 65_536;

/// A file of so many pages, each byte of page n being n + 1.
fn file(folder: &TestFolder, pages: u8) -> (PathBuf, File) {
    let path = folder.path().join("file");
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
    for page in 1..=pages {
        file.write_all(&[page; PAGE as usize]).unwrap();
    }
    (path, file)
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|b| u64::from(*b)).sum()
}

#[test]
fn bytes_are_read_within_bounds_only() {
    let folder = TestFolder::new("map");
    let (path, file) = file(&folder, 2);
    let map = Map::open(&file, &path, PAGE + 10).unwrap();
    drop(file);
    assert_eq!(map.get(PAGE - 1, 2).unwrap(), [1, 2]);
    assert_eq!(map.get(PAGE + 10, 0).unwrap(), []);
    assert_eq!((map.len(), map.is_empty(), map.path()), (PAGE + 10, false, path.as_path()));
    for (offset, len) in
        [(PAGE + 10, 1), (PAGE, 11), (u64::MAX, 1), (1, usize::MAX), (u64::MAX, usize::MAX), (1 << 63, 0)]
    {
        let error = map.get(offset, len).unwrap_err();
        assert!(matches!(error, MapError::Outside { .. }), "{error}");
    }
    map.expect_random();
    map.expect_range(3, u64::MAX);
    map.expect_range(u64::MAX, 1);
    map.expect_nothing();
    assert_eq!(map.read(PAGE, 10, sum).unwrap(), 20);
}

#[test]
fn an_empty_file_is_mapped_too() {
    let folder = TestFolder::new("map");
    let (path, file) = file(&folder, 0);
    let map = Map::open(&file, &path, 0).unwrap();
    assert_eq!(map.get(0, 0).unwrap(), []);
    assert!(map.is_empty() && map.get(0, 1).is_err());
    map.check(0, 0).unwrap();
    assert_eq!(Map::open(&file, &path, 1).unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn a_file_that_is_cut_is_an_error_and_no_crash() {
    let folder = TestFolder::new("map");
    let (path, file) = file(&folder, 4);
    let map = Map::open(&file, &path, 4 * PAGE).unwrap();
    assert_eq!(map.read(0, 4 * PAGE as usize, sum).unwrap(), 10 * PAGE);
    file.set_len(2 * PAGE).unwrap();
    // Nobody has looked yet.
    map.check(0, 4 * PAGE).unwrap();
    let error = map.read(PAGE, 2 * PAGE as usize, sum).unwrap_err();
    let MapError::Damaged { path: named, first, .. } = &error else { panic!("{error}") };
    assert_eq!((named, *first), (&path, 2 * PAGE));
    assert_eq!(map.get(2 * PAGE, 3).unwrap(), [0; 3]);
    assert!(map.check(2 * PAGE, 1).is_err());
    // What is still there is as good as before.
    assert_eq!(map.read(0, 2 * PAGE as usize, sum).unwrap(), 3 * PAGE);
    // Another mapping knows nothing of it, and one made anew is good again.
    file.set_len(4 * PAGE).unwrap();
    let again = Map::open(&file, &path, 4 * PAGE).unwrap();
    assert_eq!(again.read(0, 4 * PAGE as usize, sum).unwrap(), 3 * PAGE);
    assert!(map.read(2 * PAGE, 1, sum).is_err());
}

#[test]
fn many_threads_meet_the_cut_at_once() {
    for _ in 0..20 {
        let folder = TestFolder::in_memory("map");
        let (path, file) = file(&folder, 8);
        let map = Map::open(&file, &path, 8 * PAGE).unwrap();
        let start = Barrier::new(5);
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let readers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        loop {
                            // A sum over zeros must never pass for the file's.
                            match map.read(0, 8 * PAGE as usize, sum) {
                                Ok(found) => assert_eq!(found, 36 * PAGE),
                                Err(error) => return error,
                            }
                        }
                    })
                })
                .collect();
            start.wait();
            file.set_len(3 * PAGE).unwrap();
            readers.into_iter().map(|r| r.join().unwrap()).collect()
        });
        for error in outcomes {
            assert!(matches!(error, MapError::Damaged { first, .. } if first >= 3 * PAGE), "{error}");
        }
        assert_eq!(map.read(0, 3 * PAGE as usize, sum).unwrap(), 6 * PAGE);
    }
}

#[test]
fn mappings_come_and_go_while_others_are_damaged() {
    let folder = TestFolder::in_memory("map");
    let (path, file) = file(&folder, 2);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let map = Map::open(&file, &path, PAGE).unwrap();
                    assert_eq!(map.read(0, PAGE as usize, sum).unwrap(), PAGE);
                }
            });
        }
        for n in 0..100 {
            let path = folder.path().join(n.to_string());
            std::fs::write(&path, vec![1; 3 * PAGE as usize]).unwrap();
            let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
            let map = Map::open(&file, &path, 3 * PAGE).unwrap();
            file.set_len(0).unwrap();
            assert!(map.read(0, 3 * PAGE as usize, sum).is_err());
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn a_file_that_grows_is_followed() {
    let folder = TestFolder::new("map");
    let (path, mut file) = file(&folder, 1);
    let read = || File::open(&path).unwrap();
    let map = Map::follow(read(), &path, 10, 2 * PAGE).unwrap();
    assert!(map.get(10, 1).is_err());
    let more = map.covering(PAGE).unwrap();
    assert_eq!(more.read(0, PAGE as usize, sum).unwrap(), PAGE);
    assert_eq!(more.covering(5).unwrap().len(), PAGE);
    assert_eq!(map.covering(PAGE + 1).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    // Within what was reserved, then beyond it.
    file.write_all(&[2; PAGE as usize]).unwrap();
    let two = more.covering(2 * PAGE).unwrap();
    assert_eq!(two.read(0, 2 * PAGE as usize, sum).unwrap(), 3 * PAGE);
    assert_eq!(two.get(0, 1).unwrap().as_ptr(), map.get(0, 1).unwrap().as_ptr());
    file.write_all(&[3; PAGE as usize]).unwrap();
    let three = two.covering(3 * PAGE).unwrap();
    drop((map, more, two));
    assert_eq!(three.read(0, 3 * PAGE as usize, sum).unwrap(), 6 * PAGE);
    let fixed = Map::open(&read(), &path, 1).unwrap();
    assert_eq!(fixed.covering(2).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(fixed.covering(1).unwrap().len(), 1);
}

#[test]
fn a_shared_page_is_shared() {
    let folder = TestFolder::new("page");
    let (path, file) = file(&folder, 0);
    assert_eq!(SharedPage::open(&file, &path).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    file.set_len(4096).unwrap();
    let writer = SharedPageWriter::open(&file, &path).unwrap();
    let reader = SharedPage::open(&File::open(&path).unwrap(), &path).unwrap();
    writer.store(0, 0x0102_0304_0506_0708);
    writer.store(511, u64::MAX);
    writer.store(512, 5);
    writer.store(usize::MAX, 5);
    let loaded = [0, 1, 511, 512, usize::MAX].map(|slot| reader.load(slot));
    assert_eq!(loaded, [0x0102_0304_0506_0708, 0, u64::MAX, 0, 0]);
    assert_eq!(std::fs::read(&path).unwrap()[..8], [8, 7, 6, 5, 4, 3, 2, 1]);
    writer.page().check().unwrap();
    reader.check().unwrap();
    file.set_len(0).unwrap();
    assert_eq!(reader.load(511), 0);
    writer.store(3, 7);
    assert!(reader.check().is_err() && writer.page().check().is_err());
    // It goes on, alone.
    assert_eq!(writer.page().load(3), 7);
}

#[test]
fn watermarks_that_are_cut_are_an_error() {
    let folder = TestFolder::new("page");
    let writer = LiveWriter::open(&DiskVolume, folder.path()).unwrap();
    let reader = LiveReader::open(folder.path()).unwrap().unwrap();
    let mark = Mark { bucket: BucketId(1), published: 5, ..Mark::default() };
    writer.begin(0, &mark);
    assert_eq!(reader.worker(0), Ok(Some(mark)));
    OpenOptions::new().write(true).open(folder.path().join("live")).unwrap().set_len(0).unwrap();
    assert!(matches!(reader.worker(0), Err(MapError::Damaged { .. })));
    writer.begin(0, &mark);
    assert!(writer.check().is_err());
    drop(writer);
    let writer = LiveWriter::open(&DiskVolume, folder.path()).unwrap();
    writer.begin(0, &mark);
    assert_eq!(LiveReader::open(folder.path()).unwrap().unwrap().worker(0), Ok(Some(mark)));
}

const CHILD: &str = "STREAMDB_TEST_CHILD";

/// What the next test runs in a process of its own.
#[test]
fn child_with_a_mapping() {
    if let Some(path) = std::env::var_os(CHILD) {
        let path = Path::new(&path);
        let map = Map::open(&File::open(path).unwrap(), path, PAGE).unwrap();
        std::fs::write(path.with_extension("ready"), "").unwrap();
        std::thread::sleep(Duration::from_secs(20));
        map.check(0, PAGE).unwrap();
    }
}

/// A SIGBUS that somebody sends is not ours: it ends the process as it would without us.
#[test]
fn a_signal_that_is_sent_still_kills() {
    let folder = TestFolder::new("map");
    let (path, _) = file(&folder, 1);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_with_a_mapping"])
        .env(CHILD, &path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while !path.with_extension("ready").exists() {
        assert!(child.try_wait().unwrap().is_none(), "the child ended too soon");
        std::thread::sleep(Duration::from_millis(5));
    }
    // Rust's own handler, which is behind ours, lets the first one pass and takes itself away.
    let status = loop {
        Command::new("kill").args(["-BUS", &child.id().to_string()]).stderr(Stdio::null()).status().unwrap();
        std::thread::sleep(Duration::from_millis(20));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
    };
    assert_eq!(status.signal(), Some(7), "{status}");
}
