//! The index beside a running capture: what it answers is what a walk through all buckets gives, at every moment; nothing is
//! missing, and nothing is there twice, while buckets are sealed, files merged, damaged, made again, and dropped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::collections::BTreeSet;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Data, Made, Talk, wait};
use streamdb_derive::{Deriver, Rows, objects_of};
use streamdb_query::{Filter, Looking, Order, Position, Troubles, find_objects, find_streams};
use streamdb_storage::{DiskVolume, Holds, Store, StreamInfo};
use streamdb_types::{BucketId, ConnKey, Direction, ObjectRow};

/// Questions of every kind that small files have rows for.
const QUESTIONS: [&[&str]; 14] = [
    &[],
    &["sort=1"],
    &["port=40000"],
    &["reason=c", "sort=1"],
    &["reason=open"],
    &["reason=!c"],
    &["length=1K-", "direction=c"],
    &["host=b.example", "sort=1"],
    &["uri=/1"],
    &["method=GET", "port=40001,40002"],
    &["incomplete=1"],
    &["status=200", "size=600-800"],
    &["kind=stream", "sort=1"],
    &["filetype=data", "protocol=udp"],
];

/// What the connections of a second of packet time say: three go on and on, others are short, some say nothing after a while.
fn second(number: u64, talks: &mut Vec<Talk>) -> Vec<u8> {
    let mut made = Made::default();
    let at = number * 1000;
    let answer = |length: usize| {
        [format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes(), vec![b'x'; length]].concat()
    };
    if talks.is_empty() {
        talks.extend((0..3).map(|n| Talk::new(40_000 + n)));
        talks.iter_mut().for_each(|talk| _ = talk.open(&mut made, at));
    }
    for (n, talk) in talks.iter_mut().enumerate() {
        // The second one asks alone for a while.
        talk.ask(&mut made, at + 10, format!("GET /{number} HTTP/1.1\r\nHost: a.example\r\n\r\n").as_bytes());
        if n != 1 || number.is_multiple_of(5) {
            talk.answer(&mut made, at + 20, &answer(5_000));
        }
    }
    for n in 0..10 {
        let mut short = Talk::new(41_000 + (number * 10 + n) as u16 % 20_000);
        short.open(&mut made, at + 100 + n).ask(&mut made, at + 200, b"GET / HTTP/1.1\r\nHost: b.example\r\n\r\n");
        short.answer(&mut made, at + 300, &answer(600 + n as usize));
        if n > 1 {
            short.close(&mut made, at + 400);
        }
    }
    made.datagram(at + 500, 53, &[7; 300], 1480);
    made.frames.iter().flat_map(Made::record).collect()
}

fn streams(store: &Store, filter: &Filter) -> Vec<StreamInfo> {
    let (mut found, mut troubles) = (Vec::new(), Troubles::default());
    let looking = Looking { made: Rows::new(), go_on: &|| true, troubles: &mut troubles };
    find_streams(store, filter, looking, &mut |stream, _| {
        found.push(stream.clone());
        ControlFlow::Continue(())
    })
    .unwrap();
    found
}

fn objects(store: &Store, filter: &Filter) -> Vec<ObjectRow> {
    let (mut found, mut troubles) = (Vec::new(), Troubles::default());
    let looking = Looking { made: Rows::new(), go_on: &|| true, troubles: &mut troubles };
    find_objects(store, filter, looking, &mut |row| {
        found.push(row.clone());
        ControlFlow::Continue(())
    })
    .unwrap();
    found
}

/// What a walk through all buckets gives.
struct Plain(Vec<(StreamInfo, Vec<ObjectRow>)>);

impl Plain {
    fn look(store: &Store) -> Self {
        let mut all: Vec<(StreamInfo, BucketId)> = Vec::new();
        let each = &mut |stream, newest| {
            all.push((stream, newest));
            Ok(())
        };
        store.streams_of_connections(each, &mut |error| panic!("{error}")).unwrap();
        let mut rows = Rows::new();
        let of = |(stream, newest): (StreamInfo, BucketId)| {
            let mut objects = objects_of(store, &stream, newest, &mut rows).unwrap();
            objects.retain(|row| row.direction == stream.direction);
            (stream, objects)
        };
        Self(all.into_iter().map(of).collect())
    }

    fn agrees(&self, store: &Store, when: &str) {
        for words in QUESTIONS {
            let filter = Filter::parse_words(words).unwrap();
            let newest = filter.order == Order::NewestFirst;
            let mut wanted: Vec<&(StreamInfo, Vec<ObjectRow>)> = self
                .0
                .iter()
                .filter(|(stream, rows)| {
                    filter.matches(stream)
                        && (filter.objects.is_empty() || rows.iter().any(|row| filter.objects.matches(row)))
                })
                .collect();
            wanted.sort_by_key(|(stream, _)| Position::of_stream(stream));
            let rows = wanted.iter().flat_map(|(_, rows)| rows).filter(|row| filter.objects.matches(row));
            let mut rows: Vec<&ObjectRow> = rows.collect();
            rows.sort_by_key(|row| Position::of_object(row));
            if newest {
                wanted.reverse();
                rows.reverse();
            }
            let found = streams(store, &filter);
            let show = |stream: &StreamInfo| format!("{} {:?} {:?}", stream.oid, stream.reason, stream.peer);
            let (left, right): (Vec<_>, Vec<_>) =
                (found.iter().map(show).collect(), wanted.iter().map(|(stream, _)| show(stream)).collect());
            assert_eq!(left, right, "{when}: streams {words:?}");
            assert!(found.iter().eq(wanted.iter().map(|(stream, _)| stream)), "{when}: {words:?}");
            let found = objects(store, &filter);
            let show = |row: &ObjectRow| format!("{} {:?} {}", row.oid, row.uri, row.complete);
            let (left, right): (Vec<_>, Vec<_>) =
                (found.iter().map(show).collect(), rows.iter().map(|row| show(row)).collect());
            assert_eq!(left, right, "{when}: objects {words:?}");
            assert!(found.iter().eq(rows.iter().copied()), "{when}: {words:?}");
        }
    }
}

fn files(data: &Data) -> Vec<PathBuf> {
    let folder = data.path().join("derived/index");
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut all: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| path.extension().is_some_and(|ending| ending == "sdbx"));
    all.sort();
    all
}

fn derive_all(store: &Store, deriver: &mut Deriver) {
    deriver.catch_up(store, &|| false, &mut |error| panic!("{error}")).unwrap();
    while deriver.keeper().tidy(store, &|| false, &mut |what| panic!("{what}")).unwrap() {}
}

#[test]
fn the_index_beside_a_running_ingest_is_what_the_buckets_give() {
    let data = Data::new("index-runs");
    let mut command = data.command("ingest", &["--no-derive", "--bucket", "3s", "-"]);
    let mut child: Child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let mut talks = Vec::new();
    let mut number = 0;
    let mut feed = |seconds: u64, pipe: &mut dyn Write| {
        for _ in 0..seconds {
            pipe.write_all(&second(number, &mut talks)).unwrap();
            number += 1;
        }
        pipe.flush().unwrap();
    };
    // It is published within half a second of packet time, so what was fed last may not be there yet; but nothing changes any more.
    let settled = |store: &Store, pipe: &std::process::ChildStdin| {
        while rustix::io::ioctl_fionread(pipe).unwrap() > 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
        // A slow disk keeps it for a while.
        let (mut before, mut same) = (Plain::look(store), 0);
        while same < 6 {
            std::thread::sleep(Duration::from_millis(300));
            let now = Plain::look(store);
            same = if now.0 == before.0 { same + 1 } else { 0 };
            before = now;
        }
        before
    };
    pipe.write_all(&Made::header()).unwrap();
    feed(2, &mut pipe);
    let begun = Instant::now();
    let store = loop {
        match Store::open(&data.path()) {
            Ok(store) if store.bucket_ids().is_ok_and(|ids| !ids.is_empty()) => break store,
            _ => assert!(begun.elapsed() < Duration::from_secs(30), "nothing is written"),
        }
    };
    let mut deriver = Deriver::new(&store).unwrap().index_after(1 << 12);
    let mut most = 0;
    for round in 0..12 {
        feed(1 + round % 4, &mut pipe);
        let plain = settled(&store, &pipe);
        plain.agrees(&store, &format!("round {round}, before"));
        if round % 3 != 2 {
            derive_all(&store, &mut deriver);
            // Another process that has just begun finds the same.
            let fresh = Store::open(&data.path()).unwrap();
            Plain::look(&store).agrees(&fresh, &format!("round {round}, derived"));
            Plain::look(&store).agrees(&store, &format!("round {round}, derived, the same reader"));
        }
        most = most.max(files(&data).len());
    }
    assert!(most > 3, "{most} files: nothing was there to be merged");
    drop(pipe);
    assert!(wait(&mut child).success());
    let plain = Plain::look(&store);
    plain.agrees(&store, "at the end, not derived");
    derive_all(&store, &mut deriver);
    plain.agrees(&store, "at the end");
    assert_eq!(store.unsettled().unwrap(), []);

    // Damage is met by who reads, and by who keeps order.
    for path in files(&data) {
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.len() / 3;
        bytes[at] ^= 4;
        std::fs::write(&path, bytes).unwrap();
    }
    plain.agrees(&store, "damaged, the same reader");
    plain.agrees(&Store::open(&data.path()).unwrap(), "damaged");
    let mut said = Vec::new();
    store.verify_index(&mut |why| said.push(why)).unwrap();
    assert!(!said.is_empty() && said.iter().all(|why| why.contains("damaged at byte")), "{said:?}");
    let mut told = Vec::new();
    while deriver.keeper().tidy(&store, &|| false, &mut |what| told.push(what.to_owned())).unwrap() {}
    assert!(!told.is_empty() && told.iter().all(|what| what.contains("set aside")), "{told:?}");
    derive_all(&store, &mut deriver);
    plain.agrees(&store, "made again");
    assert_eq!(store.verify_index(&mut |why| panic!("{why}")).unwrap(), files(&data).len());

    // All is made again while somebody asks.
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let reader = Store::open(&data.path()).unwrap();
            while !done.load(Ordering::Relaxed) {
                plain.agrees(&reader, "while it is made again");
            }
        });
        for _ in 0..3 {
            deriver.reindex(&store, &|| false, &mut |error| panic!("{error}"), &mut |_, _| {}).unwrap();
            while deriver.keeper().tidy(&store, &|| false, &mut |what| panic!("{what}")).unwrap() {}
        }
        done.store(true, Ordering::Relaxed);
        asking.join().unwrap();
    });
    drop(deriver);

    // Retention takes rows with their buckets, and of what is left each object says that it is cut.
    let before = store.bucket_ids().unwrap().len();
    let bytes: u64 = store.buckets().unwrap().iter().flatten().map(|bucket| bucket.bytes).sum();
    data.run("retain", &["--max-bytes", &(bytes / 2).to_string()]).well();
    assert!(store.bucket_ids().unwrap().len() < before);
    Plain::look(&store).agrees(&store, "dropped");
    let mut deriver = Deriver::new(&store).unwrap();
    derive_all(&store, &mut deriver);
    Plain::look(&store).agrees(&store, "dropped and derived");
}

#[test]
fn nothing_is_missing_and_nothing_twice_at_full_speed() {
    let data = Data::new("index-speed");
    let mut command = data.command("ingest", &["--no-derive", "--bucket", "5s", "-"]);
    let mut child: Child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(&Made::header()).unwrap();
    let over = AtomicBool::new(false);
    let slowest = Mutex::new(Duration::ZERO);
    std::thread::scope(|scope| {
        let feeder = scope.spawn(move || {
            let mut talks = Vec::new();
            let begun = Instant::now();
            let mut number = 0;
            while begun.elapsed() < Duration::from_secs(6) {
                pipe.write_all(&second(number, &mut talks)).unwrap();
                number += 1;
            }
            number
        });
        let store = loop {
            match Store::open(&data.path()) {
                Ok(store) => break store,
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        let deriving = scope.spawn(|| {
            let store = Store::open(&data.path()).unwrap();
            let mut deriver = Deriver::new(&store).unwrap().index_after(1 << 14);
            while !over.load(Ordering::Relaxed) {
                derive_all(&store, &mut deriver);
            }
        });
        let mut seen: BTreeSet<(ConnKey, Direction)> = BTreeSet::new();
        let (newest, oldest) = (Filter::parse_words(&["sort=1"]).unwrap(), Filter::default());
        for round in 0.. {
            let filter = if round % 2 == 0 { &newest } else { &oldest };
            let begun = Instant::now();
            let found = streams(&store, filter);
            let mut slowest = slowest.lock().unwrap();
            *slowest = slowest.max(begun.elapsed());
            let positions: Vec<Position> = found.iter().map(Position::of_stream).collect();
            let sorted =
                positions.windows(2).all(|pair| if round % 2 == 0 { pair[0] > pair[1] } else { pair[0] < pair[1] });
            assert!(sorted, "round {round}: not in order, or twice");
            let now: BTreeSet<_> = found.iter().map(|stream| (stream.key, stream.direction)).collect();
            let missing: Vec<_> = seen.difference(&now).collect();
            assert!(missing.is_empty(), "round {round}: {missing:?} were there");
            seen = now;
            if feeder.is_finished() {
                break;
            }
        }
        let fed = feeder.join().unwrap();
        assert!(wait(&mut child).success());
        over.store(true, Ordering::Relaxed);
        deriving.join().unwrap();
        // 22 streams of 11 connections a second, and the three that went on.
        let all = streams(&store, &Filter::default()).len() as u64;
        let (least, most) = (fed * 20, fed * 22 + 6);
        assert!((least..=most).contains(&all), "{all} streams of {fed} seconds");
    });
}

/// Retention leaves a bucket that is held and takes those after it: what went on in those ends there, as far as anybody knows.
#[test]
fn what_went_on_in_buckets_that_are_gone_is_found_where_it_is_left() {
    let data = Data::new("index-held");
    let mut command = data.command("ingest", &["--no-derive", "--bucket", "3s", "-"]);
    let mut child: Child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(&Made::header()).unwrap();
    let mut talks = Vec::new();
    for number in 0..12 {
        pipe.write_all(&second(number, &mut talks)).unwrap();
    }
    drop(pipe);
    assert!(wait(&mut child).success());
    let store = Store::open(&data.path()).unwrap();
    let mut deriver = Deriver::new(&store).unwrap();
    derive_all(&store, &mut deriver);
    Plain::look(&store).agrees(&store, "all");
    drop(deriver);
    let buckets = store.bucket_ids().unwrap();
    assert!(buckets.len() > 3, "{buckets:?}");
    {
        let mut holds = Holds::open(&DiskVolume, &data.path()).unwrap();
        holds.hold(&[buckets[0]].into(), "case 7", "it is looked into").unwrap();
    }
    for left in (1..buckets.len()).rev() {
        let kept: u64 = store.buckets().unwrap().iter().flatten().map(|bucket| bucket.bytes).sum();
        data.run("retain", &["--max-bytes", &(kept - 1).to_string()]).well();
        let there = store.bucket_ids().unwrap();
        assert!(there.len() <= left && there[0] == buckets[0], "{there:?}");
        Plain::look(&store).agrees(&store, &format!("{there:?} are left"));
        let mut deriver = Deriver::new(&store).unwrap();
        derive_all(&store, &mut deriver);
        Plain::look(&store).agrees(&store, &format!("{there:?} are left, and derived"));
        // All of it from the beginning.
        deriver.reindex(&store, &|| false, &mut |error| panic!("{error}"), &mut |_, _| {}).unwrap();
        while deriver.keeper().tidy(&store, &|| false, &mut |what| panic!("{what}")).unwrap() {}
        Plain::look(&store).agrees(&store, &format!("{there:?} are left, and derived again"));
        if there.len() == 1 {
            return;
        }
    }
    panic!("retention left what is not held");
}
