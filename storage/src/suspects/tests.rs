//! Processes that end in the middle of something, and what the next ones know of it.

use super::*;
use crate::{DiskVolume, WriteFolder};
use streamdb_testkit::TestFolder;

fn working(folder: &Path) -> Status {
    Status::read(folder, Teller::Working).unwrap().unwrap_or_default()
}

/// The process ends with this in work.
fn ends_in(suspects: &Arc<Suspects>, key: ConnKey) {
    std::mem::forget(suspects.begin(key, Stage::ALL, 0).unwrap());
}

fn key(number: u32) -> ConnKey {
    ConnKey { bucket: BucketId(1 << 32 | 7), number }
}

#[test]
fn whoever_ends_processes_is_counted_beside_many_that_are_given_up() {
    let folder = TestFolder::new("suspects-many");
    drop(WriteFolder::open(folder.path(), Box::new(DiskVolume)).unwrap());
    let store = Store::open(folder.path()).unwrap();
    let open = || Suspects::open(&store, &store.derive_lock().unwrap(), &DiskVolume).unwrap();
    let mut suspects = open();
    let many = MOST as u32;
    for number in 0..many {
        suspects.state().known.insert((key(number + 1), Stage::ALL), (1, "it failed".to_owned()));
    }
    suspects.state().keep(&BTreeSet::new()).unwrap();
    // Before all of them in the order of buckets.
    for _ in 0..TRIES {
        ends_in(&suspects, key(0));
        drop(suspects);
        suspects = open();
    }
    assert!(store.given_up(key(0)).is_some_and(|why| why.contains("3 times")));
    assert_eq!((suspects.given_up(), store.given_up(key(1))), (MOST as u64, None));
    assert!(store.given_up(key(many)).is_some());
}

#[test]
fn whoever_ends_processes_is_given_up() {
    let folder = TestFolder::new("suspects");
    drop(WriteFolder::open(folder.path(), Box::new(DiskVolume)).unwrap());
    let store = Store::open(folder.path()).unwrap();
    let open = || Suspects::open(&store, &store.derive_lock().unwrap(), &DiskVolume).unwrap();
    let suspects = open();
    ends_in(&suspects, key(1));
    assert_eq!(working(folder.path()).text(WORK), Some("4294967303-1"));
    drop(suspects);
    // Once it may have been by chance, and even twice.
    let suspects = open();
    assert_eq!((suspects.given_up(), store.given_up(key(1))), (0, None));
    ends_in(&suspects, key(1));
    drop(suspects);
    let suspects = open();
    assert_eq!((suspects.given_up(), store.given_up(key(1))), (0, None));
    // Others come before it once more.
    ends_in(&suspects, key(0));
    ends_in(&suspects, key(1));
    drop(suspects);
    let suspects = open();
    assert_eq!(suspects.given_up(), 1);
    assert!(store.given_up(key(1)).is_some_and(|why| why.contains("3 times")), "{:?}", store.given_up(key(1)));
    assert_eq!(store.given_up(key(0)), None);
    // One that came to its end is not suspected any more.
    ends_in(&suspects, key(2));
    drop(suspects);
    let next = open();
    let in_work = next.begin(key(2), Stage::ALL, 0).unwrap();
    assert!(next.begin(key(2), Stage(1), 5).is_none(), "this thread is at it already");
    assert_eq!(next.works()[0].length, 5);
    in_work.done();
    assert_eq!((working(folder.path()).text(WORK), next.works().len()), (None, 0));
    drop(next);
    let next = open();
    ends_in(&next, key(2));
    drop(next);
    let next = open();
    assert_eq!((next.given_up(), store.given_up(key(2))), (1, None));
    // Of one that is given up the rows that are kept go into the index, which ends well.
    next.begin(key(1), Stage::ALL, 0).unwrap().done();
    assert_eq!(next.given_up(), 1);
    // Who is accused is not tried again.
    ends_in(&next, key(3));
    next.accuse(key(3), "it took too long").unwrap();
    ends_in(&next, key(4));
    let next = open();
    assert_eq!(store.given_up(key(3)).as_deref(), Some("it took too long"));
    next.forget(&store, &DiskVolume).unwrap();
    assert_eq!((next.given_up(), store.given_up(key(3))), (0, None));
    // A process that was asked to end blames nobody.
    for _ in 0..TRIES {
        let next = open();
        ends_in(&next, key(5));
        next.acquit().unwrap();
    }
    assert_eq!(open().given_up(), 0);
}

#[test]
fn that_one_thing_ends_well_says_nothing_of_another() {
    let folder = TestFolder::new("suspects-stages");
    drop(WriteFolder::open(folder.path(), Box::new(DiskVolume)).unwrap());
    let store = Store::open(folder.path()).unwrap();
    let open = || Suspects::open(&store, &store.derive_lock().unwrap(), &DiskVolume).unwrap();
    for ends in 0..TRIES {
        let suspects = open();
        assert_eq!(suspects.given_up(), 0, "{ends}");
        // Read well each time; also within something else.
        suspects.begin(key(1), Stage(1), 0).unwrap().done();
        let outer = suspects.begin(key(2), Stage::ALL, 0).unwrap();
        suspects.begin(key(1), Stage(1), 0).unwrap().done();
        outer.done();
        std::mem::forget(suspects.begin(key(1), Stage(0xab), 0).unwrap());
        assert_eq!(working(folder.path()).text(WORK), Some("4294967303-1-ab"));
    }
    let suspects = open();
    assert_eq!(suspects.given_up(), 1);
    assert!(store.given_up(key(1)).is_some_and(|why| why.contains("3 times")));
    // Whatever else fails in it, it is one connection.
    suspects.give_up(key(1), "it failed").unwrap();
    assert_eq!(suspects.given_up(), 1);
}

/// What becomes of what a process holds when it ends.
fn over(suspects: &Arc<Suspects>) {
    suspects.state().memory = None;
}

/// All of them are at something while the process ends, as if none waited for another.
fn end_at_once(suspects: &Arc<Suspects>, works: &[(ConnKey, Stage)]) {
    for (key, stage) in works {
        let mut state = suspects.state();
        // Each on a thread of its own.
        let by = std::thread::spawn(|| thread::current().id()).join().unwrap();
        let (since, number) = (Instant::now(), state.works.len() as u64 + 1000);
        let work = Work { number, key: *key, stage: *stage, length: 0, since, thread: 0, by, alone: false };
        state.works.push(work);
        state.note().unwrap();
    }
}

#[test]
fn who_is_in_work_many_times_when_a_process_ends_is_counted_once() {
    let folder = TestFolder::new("suspects-often");
    drop(WriteFolder::open(folder.path(), Box::new(DiskVolume)).unwrap());
    let store = Store::open(folder.path()).unwrap();
    for ends in 0..TRIES {
        let (suspects, kept) = Suspects::of_server(&store);
        kept.unwrap();
        assert_eq!(suspects.given_up(), 0, "{ends}");
        end_at_once(&suspects, &[(key(1), Stage(5)); 12]);
        over(&suspects);
    }
    // And as nobody else was there, it is known who it was.
    assert_eq!(Suspects::of_server(&store).0.given_up(), 1);
}

#[test]
fn who_may_not_write_watches_all_the_same() {
    let folder = TestFolder::new("suspects-two");
    drop(WriteFolder::open(folder.path(), Box::new(DiskVolume)).unwrap());
    let (first, second) = (Store::open(folder.path()).unwrap(), Store::open(folder.path()).unwrap());
    let (one, kept) = Suspects::of_server(&first);
    kept.unwrap();
    ends_in(&one, key(1));
    one.give_up(key(4), "it failed").unwrap();
    let (two, kept) = Suspects::of_server(&second);
    assert!(matches!(kept, Err(Error::Served { .. })), "{kept:?}");
    ends_in(&two, key(2));
    two.give_up(key(3), "it failed").unwrap();
    assert_eq!((two.works().len(), second.given_up(key(3)).as_deref()), (1, Some("it failed")));
    assert_eq!(second.given_up(key(4)).as_deref(), Some("it failed"));
    two.accuse(key(2), "it took too long").unwrap();
    // What was given up until now it knows; and nothing of its own is where the first one keeps what it knows.
    let left = Status::read(folder.path(), Teller::Serving).unwrap().unwrap_or_default();
    assert_eq!(left.text(WORK), Some("4294967303-1"));
    assert_eq!(first.given_up(key(3)), None);
    over(&one);
    let (next, kept) = Suspects::of_server(&first);
    kept.unwrap();
    assert_eq!((next.given_up(), next.state().known.len()), (1, 2));
}

#[test]
fn what_is_forgotten_while_a_server_runs_is_not_written_again() {
    let folder = TestFolder::new("suspects-forgotten");
    drop(WriteFolder::open(folder.path(), Box::new(DiskVolume)).unwrap());
    let store = Store::open(folder.path()).unwrap();
    let (before, _) = Suspects::of_server(&store);
    before.give_up(key(1), "it failed").unwrap();
    over(&before);
    let (server, kept) = Suspects::of_server(&store);
    kept.unwrap();
    assert_eq!(server.given_up(), 1);
    // As another process does it.
    let mut forgotten = Status { pid: std::process::id() + 1, ..Status::default() };
    forgotten.set(VERSION, DERIVATION);
    std::fs::write(Teller::NotServed.path(folder.path()), forgotten.encode()).unwrap();
    server.give_up(key(2), "it failed").unwrap();
    assert_eq!((server.why(key(1)), server.given_up()), (None, 1));
    server.give_up(key(3), "it failed").unwrap();
    assert_eq!(server.given_up(), 2);
}

#[test]
fn of_several_nobody_is_given_up_before_it_was_alone() {
    let folder = TestFolder::new("suspects-several");
    drop(WriteFolder::open(folder.path(), Box::new(DiskVolume)).unwrap());
    let store = Store::open(folder.path()).unwrap();
    for _ in 0..5 {
        let (suspects, _) = Suspects::of_server(&store);
        assert_eq!(suspects.given_up(), 0);
        end_at_once(&suspects, &[(key(1), Stage::ALL), (key(2), Stage::ALL)]);
        over(&suspects);
    }
    let (suspects, _) = Suspects::of_server(&store);
    // One that is suspected waits for the others, and they for it.
    let one = suspects.begin(key(1), Stage::ALL, 0).unwrap();
    let others = Arc::clone(&suspects);
    let other = std::thread::spawn(move || others.begin(key(7), Stage::ALL, 0).map(drop));
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(suspects.works().len(), 1);
    one.done();
    other.join().unwrap();
    ends_in(&suspects, key(2));
    over(&suspects);
    let (suspects, _) = Suspects::of_server(&store);
    assert_eq!((suspects.why(key(1)), suspects.given_up()), (None, 1));
    assert!(store.given_up(key(2)).is_some_and(|why| why.contains("6 times")));
    // Whoever derives has a memory of its own.
    assert_eq!(Store::open(folder.path()).unwrap().given_up(key(2)), None);
}

#[test]
fn who_is_alone_for_long_keeps_nobody_waiting_and_is_given_up_though_others_are_there() {
    let folder = TestFolder::new("suspects-long");
    drop(WriteFolder::open(folder.path(), Box::new(DiskVolume)).unwrap());
    let store = Store::open(folder.path()).unwrap();
    let (mut suspects, _) = Suspects::of_server(&store);
    for ends in 1..=MANY {
        assert_eq!(suspects.given_up(), 0, "{ends}");
        ends_in(&suspects, key(1));
        // It began so long ago.
        suspects.state().works[0].since = Instant::now().checked_sub(ALONE).unwrap();
        let begun = Instant::now();
        // Another one each time, of another thread.
        let others = Arc::clone(&suspects);
        std::thread::spawn(move || ends_in(&others, key(10 + ends as u32))).join().unwrap();
        assert!(begun.elapsed() < ALONE / 2, "{:?}", begun.elapsed());
        over(&suspects);
        (suspects, _) = Suspects::of_server(&store);
    }
    assert_eq!((suspects.why(key(11)), suspects.given_up()), (None, 1));
    assert!(suspects.why(key(1)).is_some_and(|why| why.contains("10 times")));
}
