//! What interrupted ingests left: which buckets those are, and that they go when the same captures come again.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "only tests")]

use std::collections::BTreeSet;

use streamdb_storage::{CaptureName, Event, Holds, INGEST, SPOOL, WriteFolder, now};
use streamdb_testkit::{Fault, FaultVolume, QuickVolume, TestFolder};
use streamdb_types::BucketId;

fn names(files: &[&str]) -> Vec<CaptureName> {
    let name = |file: &&str| CaptureName {
        fingerprint: (*file != "-").then(|| format!("print of {file}")),
        name: (*file).to_owned(),
    };
    files.iter().map(name).collect()
}

/// A data folder without a writer's thread: what is in the buckets does not matter here.
struct Store {
    test: TestFolder,
    folder: WriteFolder,
}

impl Store {
    fn new() -> Self {
        let test = TestFolder::in_memory("ingests");
        let folder = WriteFolder::open(test.path(), Box::new(QuickVolume)).unwrap();
        Self { test, folder }
    }

    /// The buckets that go when these begin.
    fn begin(&self, worker: u16, files: &[&str]) -> Vec<u64> {
        let names = names(files);
        let claim = self.folder.claim(&names).unwrap();
        self.folder.begin_ingest(worker, &claim).unwrap().into_iter().map(|id| id.0).collect()
    }

    fn bucket(&self, worker: u16) -> u64 {
        let id = self.folder.ledger().lock().unwrap().give_bucket(now(), worker).unwrap();
        std::fs::write(self.path(id.0), b"bucket").unwrap();
        id.0
    }

    fn ended(&self, file: &str) {
        let event = Event::Ingested {
            fingerprint: format!("print of {file}"),
            name: file.to_owned(),
            frames: 1,
            first: None,
            last: None,
        };
        self.folder.ledger().lock().unwrap().append(now(), &event).unwrap();
    }

    fn path(&self, id: u64) -> std::path::PathBuf {
        self.test.path().join(format!("buckets/{id}.sdb"))
    }

    fn ids(&self) -> BTreeSet<u64> {
        (1..100).filter(|id| self.path(*id).exists()).collect()
    }
}

#[test]
fn what_was_interrupted_goes_when_it_comes_again() {
    let store = Store::new();
    assert!(store.begin(INGEST, &["a", "b"]).is_empty());
    let (first, _capture, last) = (store.bucket(INGEST), store.bucket(0), store.bucket(INGEST));
    // Another ingest, and one of one of them alone: b would be gone.
    assert!(store.begin(SPOOL, &["c"]).is_empty());
    store.bucket(SPOOL);
    store.ended("c");
    assert!(store.begin(INGEST, &["a"]).is_empty());
    let alone = store.bucket(INGEST);
    // In another order, with another one, by another worker.
    assert_eq!(store.begin(SPOOL, &["b", "d", "a"]), [first, last, alone]);
    assert_eq!(store.ids(), [2, 4].into());
    let again = store.bucket(SPOOL);
    store.ended("b");
    store.ended("d");
    store.ended("a");
    // What came to its end stays.
    assert!(store.begin(INGEST, &["a", "b", "d"]).is_empty());
    assert!(store.path(again).exists());
}

#[test]
fn a_pipe_never_comes_again() {
    let store = Store::new();
    for files in [&["-"][..], &["a", "-"]] {
        store.begin(INGEST, files);
        let id = store.bucket(INGEST);
        assert!(store.begin(INGEST, &["a"]).is_empty());
        assert!(store.begin(INGEST, files).is_empty());
        assert!(store.path(id).exists(), "{files:?}");
    }
    // Nor is what comes through one taken for what was interrupted before.
    store.begin(INGEST, &["b"]);
    let left = store.bucket(INGEST);
    store.begin(INGEST, &["-"]);
    let id = store.bucket(INGEST);
    assert_eq!(store.begin(INGEST, &["b"]), [left]);
    assert!(store.path(id).exists());
}

#[test]
fn what_goes_on_is_not_taken_for_what_was_interrupted() {
    let store = Store::new();
    let (both, one, other) = (names(&["a", "b"]), names(&["b"]), names(&["c", "-"]));
    let claim = store.folder.claim(&both).unwrap();
    store.folder.begin_ingest(INGEST, &claim).unwrap();
    let id = store.bucket(INGEST);
    // Nobody can begin with what it has, so nobody drops its buckets.
    assert!(store.folder.claim(&one).is_none() && store.folder.claim(&both).is_none());
    assert!(store.folder.claim(&other).is_some());
    assert!(store.path(id).exists());
    drop(claim);
    // It was interrupted.
    assert!(store.folder.claim(&one).is_some());
    assert_eq!(store.begin(SPOOL, &["a", "b"]), [id]);
}

#[test]
fn what_is_held_stays() {
    let store = Store::new();
    store.begin(INGEST, &["a"]);
    let (held, other) = (store.bucket(INGEST), store.bucket(INGEST));
    Holds::open(&QuickVolume, store.test.path()).unwrap().hold(&[BucketId(held)].into(), "x", "").unwrap();
    assert_eq!(store.begin(INGEST, &["a"]), [other]);
    assert_eq!(store.ids(), [held].into());
}

/// Which line cannot be read, and whether what is stored then is of the ingest before, or of more files than its own.
#[test]
fn what_a_damaged_line_leaves_in_doubt_stays() {
    for (files, damaged) in [(&["c"][..], "c"), (&["a", "c"], "c"), (&["c", "a"], "c")] {
        let store = Store::new();
        store.begin(INGEST, &["a"]);
        store.bucket(INGEST);
        store.begin(INGEST, files);
        let id = store.bucket(INGEST);
        let Store { test, folder } = store;
        drop(folder);
        let path = test.path().join("ledger");
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches(&format!("name={damaged}\n")).count(), 1, "{text}");
        std::fs::write(&path, text.replace(&format!("name={damaged}\n"), "name=?\n")).unwrap();
        let store = Store { folder: WriteFolder::open(test.path(), Box::new(QuickVolume)).unwrap(), test };
        store.begin(INGEST, &["a"]);
        assert!(store.path(id).exists(), "{files:?}: what was stored of {damaged} is gone");
    }
}

/// Whatever fails, and when: the buckets go in the end, each after its tombstone, and nothing else does.
#[test]
fn a_drop_that_fails_is_done_later() {
    let again = names(&["a"]);
    for n in 0.. {
        let store = Store::new();
        store.begin(INGEST, &["a"]);
        let left: BTreeSet<u64> = (0..3).map(|_| store.bucket(INGEST)).collect();
        let other = store.bucket(0);
        let Store { test, folder } = store;
        drop(folder);
        let volume = FaultVolume::new(QuickVolume);
        let folder = WriteFolder::open(test.path(), Box::new(volume.clone())).unwrap();
        let begun = volume.operations();
        volume.fail_at(begun + n, Fault { errno: 5, forever: true, ..Fault::default() });
        let failed = folder.begin_ingest(INGEST, &folder.claim(&again).unwrap()).is_err();
        drop(folder);
        let store = Store { folder: WriteFolder::open(test.path(), Box::new(QuickVolume)).unwrap(), test };
        let told: BTreeSet<u64> = {
            let ledger = store.folder.ledger().lock().unwrap();
            ledger.facts().tombstones().map(|(id, _)| id.0).collect()
        };
        let there: BTreeSet<u64> = left.difference(&told).copied().chain([other]).collect();
        assert_eq!(store.ids(), there, "operation {n}");
        store.begin(INGEST, &["a"]);
        assert_eq!(store.ids(), [other].into(), "operation {n}");
        if !failed {
            assert!(n > 8, "hardly any operation");
            return;
        }
    }
}
