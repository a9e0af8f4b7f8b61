//! Retention on disk: what limits drop, what holds keep, what a crash at any point leaves, and who reads meanwhile.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "only tests")]

mod common;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use common::{Driver, Model, Op, Place, QuickVolume, list, read_all};
use streamdb_storage::{
    Cause, Compression, DiskVolume, Error, Event, FrameFilter, Holds, Ledger, Limits, Retained, Retention, Room, Space,
    Store, Verify, Volume, VolumeFile, WriteFolder, WriterConfig,
};
use streamdb_testkit::{Fault, FaultVolume, PowerCut, Survivors, TestFolder};
use streamdb_types::{BucketId, Direction, Oid};

/// A stream that goes on over all buckets, and one for each bucket.
fn fill(folder: &Path, volume: Box<dyn Volume>, buckets: usize) -> Model {
    let mut driver = Driver::on(folder, WriterConfig::default(), volume);
    for n in 0..buckets {
        let segment = |slot, len| Op::Segment {
            slot,
            direction: Direction::ToClient,
            place: Place::Next,
            len,
            held: false,
            trailer: 0,
        };
        driver.act(&segment(0, 900));
        driver.act(&segment(1 + n % 4, 700));
        driver.act(&Op::Flush);
        driver.act(&Op::End { slot: 1 + n % 4, reason: streamdb_types::Reason::Fin });
        driver.act(&Op::Close { slot: 1 + n % 4 });
        driver.act(&Op::Flush);
        // The last one ends with the run.
        if n + 1 < buckets {
            driver.act(&Op::EndBucket);
        }
    }
    driver.finish()
}

fn filled(name: &str, buckets: usize) -> TestFolder {
    let folder = TestFolder::in_memory(name);
    fill(folder.path(), Box::new(QuickVolume), buckets);
    for id in ids(folder.path()) {
        std::fs::write(rows(folder.path(), id), b"rows").unwrap();
    }
    folder
}

fn rows(folder: &Path, id: u64) -> std::path::PathBuf {
    folder.join(format!("derived/{id}.objects"))
}

/// The buckets that are there.
fn ids(folder: &Path) -> Vec<u64> {
    Store::open(folder).unwrap().bucket_ids().unwrap().into_iter().map(|id| id.0).collect()
}

/// Those of which there are rows.
fn derived(folder: &Path) -> Vec<u64> {
    let names = DiskVolume.list(&folder.join("derived")).unwrap();
    let ids = names.iter().filter_map(|name| name.to_str()?.strip_suffix(".objects")?.parse().ok());
    let mut ids: Vec<u64> = ids.collect();
    ids.sort_unstable();
    ids
}

fn size(folder: &Path, id: u64) -> u64 {
    std::fs::metadata(folder.join(format!("buckets/{id}.sdb"))).unwrap().len()
}

/// A limit that lets the last `n` buckets stay.
fn last(folder: &Path, n: usize) -> Limits {
    let all = ids(folder);
    let bytes = all[all.len() - n..].iter().map(|id| size(folder, *id)).sum();
    Limits { max_bytes: Some(bytes), ..Limits::default() }
}

fn look_on(folder: &Path, volume: Box<dyn Volume>, limits: Limits) -> Result<Retained, Error> {
    let folder = WriteFolder::open(folder, volume)?;
    Retention::new(limits).look(&folder, &mut |_| {})
}

fn look(folder: &Path, limits: Limits) -> Retained {
    let retained = look_on(folder, Box::new(QuickVolume), limits).unwrap();
    assert!(retained.not_removed.is_empty(), "{:?}", retained.not_removed);
    retained
}

fn hold(folder: &Path, buckets: &[u64]) -> Result<u64, Error> {
    let buckets: BTreeSet<BucketId> = buckets.iter().copied().map(BucketId).collect();
    let mut holds = Holds::open(&DiskVolume, folder)?;
    holds.hold(&buckets, "case 7", "a note").map(|hold| hold.number)
}

/// All is there and in order; every dropped bucket is gone, with its rows, and says so.
fn is_sound(folder: &Path, dropped: &[u64], what: &str) {
    let store = Store::open(folder).unwrap();
    let verified = store.verify(Verify::Deep, &mut |_, _| {}).unwrap();
    assert_eq!(verified.findings, [], "{what}");
    let told: Vec<u64> = store.dropped().iter().map(|(id, _)| id.0).collect();
    assert_eq!(told, dropped, "{what}");
    assert!(ids(folder).iter().all(|id| !dropped.contains(id)), "{what}: a dropped bucket is there");
    assert!(derived(folder).iter().all(|id| ids(folder).contains(id)), "{what}: rows of a dropped bucket are there");
}

#[test]
fn the_oldest_buckets_go_with_their_rows() {
    let folder = filled("retention", 5);
    let folder = folder.path();
    assert_eq!(ids(folder), [1, 2, 3, 4, 5]);
    assert_eq!(look(folder, Limits::default()).dropped, []);
    let would = Store::open(folder).unwrap().would_drop(&last(folder, 3)).unwrap();
    assert_eq!(ids(folder).len(), 5);
    let retained = look(folder, last(folder, 3));
    let dropped: Vec<_> = retained.dropped.iter().map(|d| (d.id.0, d.cause)).collect();
    assert_eq!(dropped, [(1, Cause::Bytes), (2, Cause::Bytes)]);
    assert_eq!(would.chosen.iter().map(|c| c.id).collect::<Vec<_>>(), [BucketId(1), BucketId(2)]);
    is_sound(folder, &[1, 2], "bytes");
    let reasons = Ledger::read(&folder.join("ledger")).unwrap().into_iter().filter_map(|entry| match entry.event {
        Event::Dropped { reason, .. } => Some(reason),
        _ => None,
    });
    assert_eq!(reasons.collect::<Vec<_>>(), ["max-bytes", "max-bytes"]);
    // Sealed just now, although the frames are of 2012.
    assert_eq!(look(folder, Limits { max_age: Some(3_600_000_000_000), ..Limits::default() }).dropped, []);
    assert_eq!(look(folder, Limits { max_age: Some(0), ..Limits::default() }).dropped.len(), 3);
    is_sound(folder, &[1, 2, 3, 4, 5], "age");
    // No id is given again.
    fill(folder, Box::new(QuickVolume), 1);
    assert_eq!(ids(folder), [6]);
}

#[test]
fn an_open_bucket_stays_and_counts() {
    let folder = TestFolder::in_memory("open");
    let mut driver = Driver::on(folder.path(), WriterConfig::default(), Box::new(QuickVolume));
    let segment =
        Op::Segment { slot: 0, direction: Direction::ToClient, place: Place::Next, len: 900, held: false, trailer: 0 };
    driver.act(&segment);
    driver.end_bucket();
    driver.act(&segment);
    driver.act(&Op::Flush);
    while !folder.path().join("buckets/2.sdb").exists() {
        std::thread::yield_now();
    }
    let limits = Limits { max_bytes: Some(1), ..Limits::default() };
    // The writer has the lock, so this asks as a reader; it waits for the first bucket to be sealed.
    let store = Store::open(folder.path()).unwrap();
    let choice = loop {
        let choice = store.would_drop(&limits).unwrap();
        if !choice.chosen.is_empty() {
            break choice;
        }
    };
    assert_eq!(choice.chosen.iter().map(|c| c.id.0).collect::<Vec<_>>(), [1]);
    let unmet = choice.unmet[0];
    assert_eq!((unmet.cause, unmet.held, unmet.found), (Cause::Bytes, 0, unmet.unsealed));
    assert!(unmet.unsealed >= 4096);
    driver.finish();
}

#[test]
fn what_is_held_stays_until_it_is_released() {
    let folder = filled("hold", 5);
    let folder = folder.path();
    assert!(matches!(Holds::open(&DiskVolume, &folder.join("nowhere")), Err(Error::NoFolder(_))));
    let number = hold(folder, &[2, 4, 77]).unwrap();
    assert_eq!(number, 1);
    let store = Store::open(folder).unwrap();
    let known = store.holds().unwrap();
    let one = &known[&1];
    assert_eq!((one.what.as_str(), one.note.as_str()), ("case 7", "a note"));
    assert_eq!(one.buckets, [BucketId(2), BucketId(4)].into());
    let limits = Limits { max_bytes: Some(1), ..Limits::default() };
    let retained = look(folder, limits);
    assert_eq!(retained.dropped.iter().map(|d| d.id.0).collect::<Vec<_>>(), [1, 3, 5]);
    let held = size(folder, 2) + size(folder, 4);
    assert_eq!((retained.unmet[0].held, retained.unmet[0].found), (held, held));
    is_sound(folder, &[1, 3, 5], "held");
    // What is gone cannot be held; what of it is there can.
    assert!(matches!(hold(folder, &[1, 3]), Err(Error::NothingToHold { dropped: Some(_) })));
    assert!(matches!(hold(folder, &[77]), Err(Error::NothingToHold { dropped: None })));
    let mut holds = Holds::open(&DiskVolume, folder).unwrap();
    let new = holds.hold(&[BucketId(1), BucketId(4)].into(), "again", "").unwrap();
    assert_eq!((new.number, new.buckets, new.gone.len()), (2, [BucketId(4)].into(), 1));
    assert!(matches!(holds.release(7), Err(Error::NoHold(7))));
    assert_eq!(holds.release(1).unwrap().what, "case 7");
    assert!(matches!(holds.release(1), Err(Error::NoHold(1))));
    drop(holds);
    look(folder, limits);
    is_sound(folder, &[1, 2, 3, 5], "one is released, the other holds");
    Holds::open(&DiskVolume, folder).unwrap().release(2).unwrap();
    look(folder, limits);
    is_sound(folder, &[1, 2, 3, 4, 5], "all are released");
    assert_eq!(Store::open(folder).unwrap().holds().unwrap(), [].into());
}

#[test]
fn a_hold_of_many_buckets_is_whole() {
    let folder = filled("many", 1);
    let folder = folder.path();
    let ids: BTreeSet<BucketId> = (1..=2500).map(BucketId).collect();
    for id in &ids {
        std::fs::write(folder.join(format!("buckets/{id}.sdb")), b"x").unwrap();
    }
    let mut holds = Holds::open(&DiskVolume, folder).unwrap();
    let long = "\u{1f980}".repeat(5000);
    assert_eq!(holds.hold(&ids, &long, "").unwrap().buckets, ids);
    drop(holds);
    assert_eq!(Store::open(folder).unwrap().held().unwrap(), ids);
}

#[test]
fn a_hold_that_cannot_be_read_stops_all_dropping() {
    let folder = filled("unreadable", 3);
    let folder = folder.path();
    hold(folder, &[1]).unwrap();
    hold(folder, &[2]).unwrap();
    let mut bytes = std::fs::read(folder.join("holds")).unwrap();
    bytes[30] ^= 1;
    std::fs::write(folder.join("holds"), bytes).unwrap();
    let limits = Limits { max_bytes: Some(1), ..Limits::default() };
    let error = look_on(folder, Box::new(QuickVolume), limits).unwrap_err();
    assert!(error.to_string().contains("holds: line 1 cannot be read"), "{error}");
    assert_eq!(ids(folder), [1, 2, 3]);
    let store = Store::open(folder).unwrap();
    assert!(matches!(store.would_drop(&limits), Err(Error::HoldsDamaged { .. })));
    assert_eq!(store.verify(Verify::Quick, &mut |_, _| {}).unwrap().findings.len(), 1);
    // The number that the line may have had is not given again.
    assert_eq!(hold(folder, &[1]).unwrap(), 4);
}

/// The name of a hold's file and its line survive a power cut from the moment on in which the hold is told to be made.
#[test]
fn a_hold_survives_a_power_cut() {
    let folder = TestFolder::in_memory("hold-power");
    let root = folder.path().join("data");
    let volume = FaultVolume::recording(QuickVolume, folder.path());
    fill(&root, Box::new(volume.clone()), 2);
    let mut holds = Holds::open(&volume, &root).unwrap();
    holds.hold(&[BucketId(1)].into(), "x", "").unwrap();
    drop(holds);
    let cut = PowerCut::of(&volume);
    let left = TestFolder::in_memory("hold-left");
    cut.leave(volume.operations(), Survivors::Synced, left.path()).unwrap();
    let data = left.path().join("data");
    look(&data, Limits { max_bytes: Some(1), ..Limits::default() });
    assert_eq!(ids(&data), [1]);
}

#[test]
fn a_drop_can_die_anywhere() {
    let count = filled("count", 4);
    let limits = last(count.path(), 2);
    let volume = FaultVolume::new(QuickVolume);
    look_on(count.path(), Box::new(volume.clone()), limits).unwrap();
    assert!(volume.log().iter().any(|operation| operation.name == "unlink"));
    for n in 0..volume.operations() {
        for torn in [0, 1, 40, 1 << 20] {
            let name = volume.log()[n].name;
            if torn > 0 && name != "write_at" {
                continue;
            }
            for forever in [true, false] {
                let what = format!("operation {n} ({name}) fails after {torn}, forever: {forever}");
                let folder = filled("die", 4);
                let failing = FaultVolume::new(QuickVolume);
                failing.fail_at(n, Fault { errno: 5, torn, forever, ..Fault::default() });
                let mut done = Vec::new();
                let result = WriteFolder::open(folder.path(), Box::new(failing.clone()))
                    .and_then(|folder| Retention::new(limits).look(&folder, &mut |dropped| done.push(dropped.id.0)));
                let told: Vec<u64> = Store::open(folder.path()).unwrap().dropped().iter().map(|(id, _)| id.0).collect();
                // Nor does any go unsaid; only a line that can be neither synced nor taken back is there all the same.
                assert!(
                    done == told || forever && told.starts_with(&done),
                    "{what}: {done:?} are said, {told:?} dropped"
                );
                // No file goes without its tombstone.
                for id in 1..=4 {
                    assert!(ids(folder.path()).contains(&id) || told.contains(&id), "{what}: {id} is lost");
                }
                if let Ok(retained) = &result
                    && retained.not_removed.is_empty()
                {
                    assert_eq!(told, [1, 2], "{what}");
                }
                // The next start makes it whole, and what was not yet dropped goes at its first look.
                drop(WriteFolder::open(folder.path(), Box::new(QuickVolume)).unwrap());
                let told: Vec<u64> = Store::open(folder.path()).unwrap().dropped().iter().map(|(id, _)| id.0).collect();
                is_sound(folder.path(), &told, &what);
                look(folder.path(), limits);
                is_sound(folder.path(), &[1, 2], &what);
            }
        }
    }
}

#[test]
fn a_power_cut_in_a_drop_loses_no_tombstone() {
    let folder = TestFolder::in_memory("drop-power");
    let root = folder.path().join("data");
    let volume = FaultVolume::recording(QuickVolume, folder.path());
    fill(&root, Box::new(volume.clone()), 4);
    let limits = last(&root, 2);
    let begun = volume.operations();
    look_on(&root, Box::new(volume.clone()), limits).unwrap();
    let cut = PowerCut::of(&volume);
    for before in begun..=volume.operations() {
        let all = [Survivors::All, Survivors::Synced, Survivors::Some(before as u64), Survivors::Some(!before as u64)];
        for survivors in all {
            let left = TestFolder::in_memory("drop-left");
            cut.leave(before, survivors, left.path()).unwrap();
            let data = left.path().join("data");
            let what = format!("power cut before operation {before}, {survivors:?}");
            drop(WriteFolder::open(&data, Box::new(QuickVolume)).unwrap_or_else(|error| panic!("{what}: {error}")));
            let told: Vec<u64> = Store::open(&data).unwrap().dropped().iter().map(|(id, _)| id.0).collect();
            for id in 1..=4 {
                assert!(ids(&data).contains(&id) != told.contains(&id), "{what}: {id}");
            }
            look(&data, limits);
            is_sound(&data, &[1, 2], &what);
        }
    }
}

/// A file system of a fixed size on which nothing lies but buckets; those that `mapped` readers have count, too.
#[derive(Debug)]
struct Small {
    total: u64,
    keeps: Arc<Mutex<u64>>,
    mapped: bool,
}

impl Volume for Small {
    fn create(&self, path: &Path) -> io::Result<Box<dyn VolumeFile>> {
        QuickVolume.create(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn VolumeFile>> {
        QuickVolume.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        QuickVolume.rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let bytes = std::fs::metadata(path)?.len();
        if self.mapped && path.extension().is_some_and(|e| e == "sdb") {
            *self.keeps.lock().unwrap() += bytes;
        }
        QuickVolume.unlink(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<std::ffi::OsString>> {
        QuickVolume.list(folder)
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        QuickVolume.sync_dir(folder)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        QuickVolume.create_dir(path)
    }

    fn space(&self, folder: &Path) -> io::Result<Space> {
        let taken: u64 = ids(folder).iter().map(|id| size(folder, *id)).sum();
        let available = self.total - taken - *self.keeps.lock().unwrap();
        Ok(Space { available, total: self.total })
    }
}

#[test]
fn room_is_made_and_not_twice() {
    for mapped in [false, true] {
        let folder = filled("room", 5);
        let folder = folder.path();
        let taken: u64 = ids(folder).iter().map(|id| size(folder, *id)).sum();
        let wanted = size(folder, 1) + size(folder, 2) - 1;
        let volume = Small { total: taken, keeps: Arc::default(), mapped };
        let limits = Limits { min_free: Some(Room::Bytes(wanted)), ..Limits::default() };
        let write = WriteFolder::open(folder, Box::new(volume)).unwrap();
        let mut retention = Retention::new(limits);
        let retained = retention.look(&write, &mut |_| {}).unwrap();
        let dropped: Vec<_> = retained.dropped.iter().map(|d| (d.id.0, d.cause)).collect();
        assert_eq!(dropped, [(1, Cause::Free), (2, Cause::Free)], "mapped: {mapped}");
        let again = retention.look(&write, &mut |_| {}).unwrap();
        assert_eq!((again.dropped.len(), again.unmet.len()), (0, 0), "mapped: {mapped}");
    }
}

#[test]
fn who_reads_goes_on_and_who_asks_is_told_when() {
    let folder = filled("reading", 4);
    let folder = folder.path();
    let store = Store::open(folder).unwrap();
    let (streams, _) = list(&store);
    // The stream that goes on has its newest record in the last bucket; another one lies in the first.
    let long = streams.iter().find(|info| info.part == 3).unwrap().oid;
    let short = streams.iter().find(|info| info.oid.bucket == BucketId(1)).unwrap().oid;
    let (reading, read_long) = (store.stream(short).unwrap(), store.stream(long).unwrap());
    assert_eq!(read_long.bucket_ids(), [1, 2, 3, 4].map(BucketId));
    let frames = |store: &Store, stream| {
        let mut count = 0;
        store.stream_frames(stream, &mut |_| {
            count += 1;
            Ok(())
        })?;
        Ok::<_, Error>(count)
    };
    let (before, frames_before) = (read_all(&reading, 64).unwrap(), frames(&store, &reading).unwrap());
    let long_before = frames(&store, &read_long).unwrap();
    let interfaces = store.interfaces_of(&reading).unwrap();
    look(folder, last(folder, 2));

    assert!(read_all(&reading, 64).unwrap() == before);
    assert_eq!(frames(&store, &reading).unwrap(), frames_before);
    assert_eq!(frames(&store, &read_long).unwrap(), long_before);
    let after = store.interfaces_of(&reading).unwrap();
    assert!(after.len() == interfaces.len() && interfaces.iter().all(|interface| after.contains(interface)));
    let gone = |oid: Oid| match store.stream(oid) {
        Err(Error::Gone { oid: named, time }) => named == oid && time == store.dropped()[0].1,
        other => panic!("{:?}", other.map(|stream| stream.info().clone())),
    };
    assert!(gone(short));
    // The stream that goes on has what is left, and says how much is missing.
    let rest = store.stream(long).unwrap();
    assert_eq!(rest.bucket_ids(), [3, 4].map(BucketId));
    assert_eq!((rest.len(), rest.info().gap_bytes), (read_long.len(), 1800));
    assert!(matches!(
        rest.read_at(streamdb_types::StreamOffset(0), &mut [0; 10]).unwrap(),
        streamdb_storage::Read::Gap(1800, _)
    ));
    let (left, damaged) = list(&store);
    assert!(damaged.is_empty() && left.len() < streams.len());
    let mut count = 0;
    let all = FrameFilter { start: None, end: None, connections: None };
    store
        .frames(&all, &mut |_| {
            count += 1;
            Ok(())
        })
        .unwrap();
    assert!(count > 0);

    // Nobody has the file mapped any more once the last reader of it is gone, so its room is free.
    assert!(is_mapped(folder, 1));
    drop((reading, read_long));
    store.bucket_ids().unwrap();
    assert!(!is_mapped(folder, 1));
}

/// Blocks that lie in the file as they are stay mapped while they are in the cache.
#[test]
fn what_was_read_a_moment_ago_keeps_no_room() {
    let folder = TestFolder::in_memory("cached");
    let folder = folder.path();
    let config = WriterConfig { compression: Compression::Fast, ..WriterConfig::default() };
    let mut driver = Driver::on(folder, config, Box::new(QuickVolume));
    driver.act(&Op::Bulk { slot: 0, direction: Direction::ToClient, segments: 2000 });
    driver.finish();
    let store = Store::open(folder).unwrap();
    for info in list(&store).0 {
        read_all(&store.stream(info.oid).unwrap(), 1 << 20).unwrap();
    }
    look(folder, Limits { max_bytes: Some(1), ..Limits::default() });
    assert!(is_mapped(folder, 1));
    assert!(store.bucket_ids().unwrap().is_empty());
    assert!(!is_mapped(folder, 1));
}

fn is_mapped(folder: &Path, id: u64) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.contains(&format!("{}/buckets/{id}.sdb", folder.display()))
}

/// Many hold while one drops: whatever a hold was told to keep is there, whatever came first.
#[test]
fn a_hold_that_was_told_is_never_dropped() {
    for round in 0..if common::soak() { 200 } else { 10 } {
        let folder = filled("race", 24);
        let folder = folder.path();
        let write = WriteFolder::open(folder, Box::new(QuickVolume)).unwrap();
        let kept = std::thread::scope(|scope| {
            let holding = |from: u64| {
                let hold = move |id: u64| match hold(folder, &[id, id + 1]) {
                    Ok(number) => Store::open(folder).unwrap().holds().unwrap()[&number].buckets.clone(),
                    Err(Error::NothingToHold { .. }) => BTreeSet::new(),
                    Err(error) => panic!("{error}"),
                };
                scope.spawn(move || (from..24).step_by(3).flat_map(hold).collect::<BTreeSet<_>>())
            };
            let holders: Vec<_> = (1..=3).map(|from| holding(from + round % 3)).collect();
            let all = size_of_all(folder);
            for most in (0..24).rev() {
                let limits = Limits { max_bytes: Some(most * all / 24), ..Limits::default() };
                let retained = Retention::new(limits).look(&write, &mut |_| {}).unwrap();
                assert!(retained.not_removed.is_empty());
            }
            holders.into_iter().flat_map(|holder| holder.join().unwrap()).collect::<BTreeSet<_>>()
        });
        let there = ids(folder);
        assert!(kept.iter().all(|id| there.contains(&id.0)), "held {kept:?}, there {there:?}");
        // And nothing else is, once the holders are done.
        Retention::new(Limits { max_bytes: Some(0), ..Limits::default() }).look(&write, &mut |_| {}).unwrap();
        assert_eq!(ids(folder), kept.iter().map(|id| id.0).collect::<Vec<_>>());
    }
}

fn size_of_all(folder: &Path) -> u64 {
    ids(folder).iter().map(|id| size(folder, *id)).sum()
}
