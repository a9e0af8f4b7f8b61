//! The ledger on disk: what lasts, what a crash leaves, what damage does.
#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::path::Path;

use streamdb_storage::{DiskVolume, Entry, Error, Event, Ledger, LedgerReader};
use streamdb_testkit::{Fault, FaultVolume, PowerCut, Survivors, TestFolder};
use streamdb_types::{BucketId, Timestamp};

const SENSOR: u64 = 3 << 32;
/// ENOSPC.
const NO_SPACE: i32 = 28;

fn time(n: usize) -> Timestamp {
    Timestamp::new(1_700_000_000 + n as i64, 5)
}

fn events() -> Vec<Event> {
    let id = |n| BucketId(SENSOR | n);
    vec![
        Event::Store { format: 1, sensor: 3 },
        Event::Bucket { id: id(1), worker: 0 },
        Event::Bucket { id: id(2), worker: 1 },
        Event::Sealed { id: id(1), bytes: 1 << 33, frames: 10 },
        Event::Ingested {
            fingerprint: "f00d".to_owned(),
            name: "a b=c%\n\u{1f980}.pcap".to_owned(),
            frames: 10,
            first: Some(id(1)),
            last: Some(id(2)),
        },
        Event::Other { name: "token".to_owned(), fields: vec![("name".to_owned(), String::new())] },
        Event::Sealed { id: id(2), bytes: 4096, frames: 0 },
        Event::Dropped { id: id(1), reason: "age".to_owned() },
        Event::Bucket { id: id(3), worker: 0 },
    ]
}

fn entries() -> Vec<Entry> {
    events().into_iter().enumerate().map(|(n, event)| Entry { time: time(n), event }).collect()
}

/// A ledger with all of them; its bytes.
fn written(path: &Path) -> Vec<u8> {
    let mut ledger = Ledger::open(&DiskVolume, path).unwrap();
    for entry in entries() {
        ledger.append(entry.time, &entry.event).unwrap();
    }
    std::fs::read(path).unwrap()
}

/// What a ledger of so many of the events gives next, and whether it knows the rest.
fn assert_knows(ledger: &Ledger, count: usize) {
    let has = |n: usize| count > n;
    let facts = ledger.facts();
    assert_eq!(facts.store().is_some(), has(0));
    let next = SENSOR
        | if has(8) {
            4
        } else if has(2) {
            3
        } else if has(1) {
            2
        } else {
            1
        };
    assert_eq!(facts.next_bucket(), Some(BucketId(if has(0) { next } else { 1 })));
    assert_eq!(facts.tombstone(BucketId(SENSOR | 1)), has(7).then(|| time(7)));
    assert_eq!(facts.tombstones().count(), usize::from(has(7)));
    assert_eq!(facts.sealed().count(), if has(7) { 1 } else { usize::from(has(3)) + usize::from(has(6)) });
    assert_eq!(facts.ingested("f00d").map(|entry| entry.time), has(4).then(|| time(4)));
    assert_eq!(facts.ingested("beef"), None);
    assert_eq!(facts.damage(), 0);
}

#[test]
fn what_is_appended_lasts() {
    let folder = TestFolder::in_memory("ledger");
    let path = folder.path().join("ledger");
    let bytes = written(&path);
    assert!(bytes.iter().all(|b| *b == b'\n' || *b == b' ' || b.is_ascii_graphic()));
    let ledger = Ledger::open(&DiskVolume, &path).unwrap();
    assert_knows(&ledger, entries().len());
    assert_eq!(ledger.cut(), 0);
    assert_eq!(Ledger::read(&path).unwrap(), entries());
    Ledger::verify(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert!(matches!(Ledger::read(&folder.path().join("none")), Err(Error::Io { .. })));
}

#[test]
fn ids_are_given_once() {
    let folder = TestFolder::in_memory("ledger");
    let path = folder.path().join("ledger");
    let open = || Ledger::open(&DiskVolume, &path).unwrap();
    let mut ledger = open();
    assert_eq!(ledger.give_bucket(time(0), 0).unwrap(), BucketId(1));
    ledger.append(time(0), &Event::Store { format: 1, sensor: 3 }).unwrap();
    assert_eq!(ledger.give_bucket(time(0), 0).unwrap(), BucketId(SENSOR | 1));
    drop(ledger);
    let mut ledger = open();
    assert_eq!(ledger.give_bucket(time(0), 1).unwrap(), BucketId(SENSOR | 2));
    // Another sensor's buckets, brought here, do not count; ours that the ledger does not know do.
    ledger.append(time(0), &Event::Bucket { id: BucketId(4 << 32 | 100), worker: 0 }).unwrap();
    assert_eq!(ledger.give_bucket(time(0), 1).unwrap(), BucketId(SENSOR | 3));
    ledger.note_existing(BucketId(SENSOR | 9));
    ledger.note_existing(BucketId(SENSOR | 2));
    assert_eq!(ledger.give_bucket(time(0), 1).unwrap(), BucketId(SENSOR | 10));
    ledger.note_existing(BucketId(SENSOR | u64::from(u32::MAX)));
    assert!(ledger.give_bucket(time(0), 1).is_err());
}

#[test]
fn a_torn_tail_is_cut_off_at_any_byte() {
    let folder = TestFolder::in_memory("ledger");
    let path = folder.path().join("ledger");
    let bytes = written(&path);
    let volume = FaultVolume::new(DiskVolume);
    let ends: Vec<_> = bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at + 1).collect();
    for cut in 0..=bytes.len() {
        let whole = ends.iter().filter(|end| **end <= cut).count();
        let end = if whole == 0 { 0 } else { ends[whole - 1] };
        let line_end = ends.get(whole).copied().unwrap_or(cut);
        // Cut; or as long as it should be, with zeros for what never reached the disk; or the other way round.
        let zeros = vec![0; line_end - cut];
        let late_zeros = [&bytes[..cut], &zeros].concat();
        let early_zeros = [&bytes[..end], &vec![0; cut - end], &bytes[cut..line_end]].concat();
        for (n, torn) in [bytes[..cut].to_vec(), late_zeros, early_zeros].iter().enumerate() {
            // Where nothing is missing the line is whole.
            let whole =
                if torn[..] == bytes[..line_end] { ends.iter().filter(|e| **e <= line_end).count() } else { whole };
            let end = if whole == 0 { 0 } else { ends[whole - 1] };
            std::fs::write(&path, torn).unwrap();
            assert_eq!(Ledger::read(&path).unwrap(), entries()[..whole], "{cut} {n}");
            Ledger::verify(&path).unwrap();
            assert_eq!(&std::fs::read(&path).unwrap(), torn, "reading changes nothing");
            let mut ledger = Ledger::open(&volume, &path).unwrap();
            assert_eq!(ledger.cut(), (torn.len() - end) as u64);
            assert_knows(&ledger, whole);
            ledger.append(time(99), &Event::Dropped { id: BucketId(5), reason: String::new() }).unwrap();
            let now = Ledger::read(&path).unwrap();
            assert_eq!((now.len(), &now[..whole]), (whole + 1, &entries()[..whole]));
        }
    }
}

#[test]
fn damage_in_the_middle_is_named_and_the_rest_is_read() {
    let folder = TestFolder::in_memory("ledger");
    let path = folder.path().join("ledger");
    let bytes = written(&path);
    let mut begin = 0;
    for (n, line) in bytes.split_inclusive(|b| *b == b'\n').enumerate() {
        let mut damaged = bytes.clone();
        damaged[begin + 12] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        let error = Ledger::verify(&path).unwrap_err();
        assert!(
            matches!(&error, Error::Damaged { position, what, .. }
            if *position == begin as u64 && what.contains(&format!("line {} ", n + 1))),
            "{error}"
        );
        let mut rest = entries();
        rest.remove(n);
        assert_eq!(Ledger::read(&path).unwrap(), rest);
        let mut ledger = Ledger::open(&DiskVolume, &path).unwrap();
        assert_eq!((ledger.facts().damage(), ledger.facts().damaged()[0].line), (1, n as u64 + 1));
        assert_eq!(ledger.cut(), 0);
        assert_eq!(std::fs::read(&path).unwrap(), damaged, "damage is not made worse");
        // The line may have given an id.
        let id = ledger.give_bucket(time(99), 0).unwrap();
        assert!(n == 0 || id > BucketId(SENSOR | 3), "{id}");
        begin += line.len();
    }
}

#[test]
fn what_failed_did_not_happen() {
    let faults = [0, 1, 40, usize::MAX].map(|torn| Fault { errno: NO_SPACE, torn, ..Fault::default() });
    for fault in faults.into_iter().chain(faults.map(|fault| Fault { forever: true, ..fault })) {
        for n in 0.. {
            let folder = TestFolder::in_memory("ledger");
            let path = folder.path().join("ledger");
            let volume = FaultVolume::new(DiskVolume);
            volume.fail_at(n, fault);
            let mut done = Vec::new();
            let mut failed = 0;
            if let Ok(mut ledger) = Ledger::open(&volume, &path) {
                for entry in entries() {
                    match ledger.append(entry.time, &entry.event) {
                        Ok(()) => done.push(entry),
                        Err(error) => {
                            assert!(error.to_string().contains("ledger"), "{error}");
                            failed += 1;
                        }
                    }
                }
                if !fault.forever {
                    let reader = LedgerReader::open(&path).unwrap();
                    assert_eq!(ledger.facts().next_bucket(), reader.facts().next_bucket());
                    assert_eq!(ledger.facts().sealed().count(), reader.facts().sealed().count());
                }
            }
            if !fault.forever {
                // One failure costs one event at most.
                assert!(failed <= 1, "{failed}");
                if path.exists() {
                    assert_eq!(Ledger::read(&path).unwrap(), done, "{n} {fault:?}");
                }
            } else if path.exists() {
                // A line that could neither be synced nor taken back may be there.
                let there = Ledger::read(&path).unwrap();
                assert!(there.starts_with(&done) && there.len() <= done.len() + 1, "{n} {fault:?}");
            }
            if volume.operations() <= n {
                assert_eq!(failed, 0);
                break;
            }
        }
    }
}

#[test]
fn a_power_cut_leaves_what_was_told_to_be_there() {
    let folder = TestFolder::in_memory("ledger");
    let volume = FaultVolume::recording(DiskVolume, folder.path());
    let path = folder.path().join("ledger");
    let mut ledger = Ledger::open(&volume, &path).unwrap();
    let mut told = vec![];
    // Long enough to lie in several sectors.
    for n in 0..8 {
        let reason = "x".repeat(n * 400);
        let event = Event::Dropped { id: BucketId(n as u64), reason };
        ledger.append(time(n), &event).unwrap();
        told.push((volume.operations(), Entry { time: time(n), event }));
    }
    drop(ledger);
    let all: Vec<_> = told.iter().map(|(_, entry)| entry.clone()).collect();
    let cut = PowerCut::of(&volume);
    for before in 0..=volume.operations() {
        let seeds = (0..30).map(Survivors::Some);
        for survivors in [Survivors::All, Survivors::Synced].into_iter().chain(seeds) {
            let left = TestFolder::in_memory("left");
            cut.leave(before, survivors, left.path()).unwrap();
            let path = left.path().join("ledger");
            let sure = told.iter().filter(|(done, _)| *done <= before).count();
            let ledger = Ledger::open(&FaultVolume::new(DiskVolume), &path).unwrap();
            assert_eq!(ledger.facts().damage(), 0, "{before} {survivors:?}");
            let there = Ledger::read(&path).unwrap();
            assert!(there.len() >= sure && all.starts_with(&there), "{before} {survivors:?}");
        }
    }
}

#[test]
fn a_reader_follows() {
    let folder = TestFolder::in_memory("ledger");
    let path = folder.path().join("ledger");
    assert!(LedgerReader::open(&path).is_err());
    let mut ledger = Ledger::open(&DiskVolume, &path).unwrap();
    let mut reader = LedgerReader::open(&path).unwrap();
    for (n, entry) in entries().into_iter().enumerate() {
        ledger.append(entry.time, &entry.event).unwrap();
        reader.refresh().unwrap();
        reader.refresh().unwrap();
        assert_eq!(reader.facts().next_bucket(), ledger.facts().next_bucket(), "{n}");
        assert_eq!(reader.facts().sealed().count(), ledger.facts().sealed().count(), "{n}");
    }
    // Half a line is no line; a line that is taken back is forgotten.
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&bytes[..], b"0123"].concat()).unwrap();
    reader.refresh().unwrap();
    assert_eq!(reader.facts().damage(), 0);
    let first_lines: Vec<_> = bytes.split_inclusive(|b| *b == b'\n').take(4).collect();
    std::fs::write(&path, first_lines.concat()).unwrap();
    reader.refresh().unwrap();
    assert_eq!(reader.facts().next_bucket(), Some(BucketId(SENSOR | 3)));
    assert_eq!((reader.facts().damage(), reader.facts().sealed().count()), (0, 1));
    // Another line in the place of one that was taken back.
    let other = [&first_lines[..3], &[&bytes[first_lines.concat().len()..]]].concat().concat();
    std::fs::write(&path, other).unwrap();
    reader.refresh().unwrap();
    assert_eq!((reader.facts().damage(), reader.facts().next_bucket()), (0, Some(BucketId(SENSOR | 4))));
}
