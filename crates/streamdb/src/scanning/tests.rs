//! What is handed on, in which order, and with which words on it.

#[allow(dead_code, reason = "other tests need more of it")]
#[path = "../../tests/common/made.rs"]
mod made;

use std::sync::Mutex;

use clap::Parser;
use made::{Made, Talk};
use sha2::{Digest, Sha256};
use streamdb_capture::Frame;
use streamdb_derive::{Deriver, Joiner};
use streamdb_scan::Settings;
use streamdb_storage::{JoinChange, JoinMade, WriteFolder, Writer, WriterConfig};
use streamdb_testkit::TestFolder;
use streamdb_types::{Interface, LinkType, Oid, Resolution, Scanner, Timestamp};

use super::*;
use crate::worker::{Worker, WorkerConfig};

/// An object, its content, whether it was seen first, and how much was found in it.
type Taken = (Oid, Option<[u8; 32]>, bool, usize);

/// Remembers what it is handed, and refuses one of them.
#[derive(Clone, Default)]
struct Taker {
    taken: Arc<Mutex<Vec<Taken>>>,
    refuses: Arc<Mutex<Option<usize>>>,
    /// Whether it is nobody, to whom nothing is of use.
    is_nobody: bool,
}

impl Handed for Taker {
    fn handed(&mut self, _: &Store, objects: &[Fresh<'_>]) -> Result<(), String> {
        let mut taken = self.taken.lock().unwrap();
        for Fresh { row, first_seen, verdicts, .. } in objects {
            if self.refuses.lock().unwrap().take_if(|at| *at == taken.len()).is_some() {
                return Err("the queue is full".to_owned());
            }
            taken.push((row.oid, row.digests.map(|digests| digests.sha256), *first_seen, verdicts.len()));
        }
        Ok(())
    }

    fn is_somebody(&self) -> bool {
        !self.is_nobody
    }
}

fn ingest(data: &Path, capture: &str, more: &[&str]) {
    let capture = format!("{}/../../testdata/{capture}/capture.pcap", env!("CARGO_MANIFEST_DIR"));
    let arguments = [&["streamdb", "ingest", "--no-derive", "--data", data.to_str().unwrap(), &capture], more].concat();
    crate::commands::run(crate::cli::Cli::parse_from(arguments)).unwrap();
}

/// Derives what is there, and scans it once; what was said.
fn scan(store: &Store, list: &Path, past: bool, taker: &Taker) -> (Tally, Vec<String>) {
    let mut keeper = None;
    take_right(store, past, parties(taker), &mut keeper).unwrap();
    derive(store);
    follow(store, list, past, taker, keeper)
}

fn parties(taker: &Taker) -> Parties {
    Parties::new(Scanner::HashList.bit(), taker.is_somebody())
}

fn derive(store: &Store) {
    let mut deriver = Deriver::new(store).unwrap();
    deriver.catch_up(store, &|| false, &mut |error| panic!("{error}")).unwrap();
    let mut joiner = Joiner::new(&deriver.keeper());
    joiner.catch_up(store, &|| false, &mut |error| panic!("{error}")).unwrap();
}

/// Scans what is derived.
fn follow(
    store: &Store,
    list: &Path,
    past: bool,
    taker: &Taker,
    keeper: Option<VerdictKeeper>,
) -> (Tally, Vec<String>) {
    let mut said = Vec::new();
    let (ending, at_once) = (AtomicBool::new(true), AtomicBool::new(false));
    let say = &mut |what: &str| said.push(what.to_owned());
    let steps = AtomicU64::new(0);
    let parties = parties(taker);
    let follow = Follow { store, past, parties, ending: &ending, at_once: &at_once, steps: &steps, say };
    let settings = Settings { hash_lists: vec![list.to_owned()], past, ..Settings::default() };
    let tally = follow.run(Scanners::open(settings).unwrap(), Box::new(taker.clone()), keeper);
    (tally, said)
}

fn all_objects(store: &Store) -> BTreeSet<Oid> {
    let mut all = BTreeSet::new();
    for id in store.bucket_ids().unwrap() {
        for key in store.derived_connections(id).unwrap() {
            all.extend(store.derived_rows(id, key).unwrap().unwrap().iter().map(|row| row.oid));
        }
    }
    all
}

#[test]
fn each_object_is_handed_on_once_and_one_of_each_content_is_the_first() {
    let folder = TestFolder::new("scanning-handed");
    let data = folder.path().join("data");
    let list = folder.path().join("bad.txt");
    std::fs::write(&list, "ec2a3622af18a8dfad692c3e7a81ca1b069cbb71d47be31ff227185213251e9c\n").unwrap();
    ingest(&data, "imagedump", &[]);
    let store = Store::open(&data).unwrap();
    let taker = Taker::default();
    *taker.refuses.lock().unwrap() = Some(20);
    let (_, said) = scan(&store, &list, false, &taker);
    assert_eq!(said, ["the queue is full; what is not scanned yet is when somebody scans here again"]);
    assert_eq!(taker.taken.lock().unwrap().len(), 20);
    let (_, said) = scan(&store, &list, false, &taker);
    assert!(said.is_empty(), "{said:?}");
    let taken = taker.taken.lock().unwrap().clone();
    // Of the connection in which one was refused, those before it come again, with the same word on them.
    let mut words: BTreeMap<Oid, BTreeSet<(bool, usize)>> = BTreeMap::new();
    for (oid, _, first, verdicts) in &taken {
        words.entry(*oid).or_default().insert((*first, *verdicts));
    }
    assert!(words.values().all(|words| words.len() == 1));
    assert_eq!(words.keys().copied().collect::<BTreeSet<_>>(), all_objects(&store));
    let firsts: Vec<[u8; 32]> = words
        .keys()
        .filter_map(|oid| taken.iter().find(|(other, ..)| other == oid))
        .filter(|t| t.2)
        .map(|t| t.1.unwrap())
        .collect();
    let contents: BTreeSet<[u8; 32]> = taken.iter().filter_map(|t| t.1).collect();
    assert_eq!(firsts.len(), contents.len(), "one of each content");
    assert!(taken.iter().any(|t| t.3 == 1));

    // Again, everything, made anew or not: nothing comes twice.
    Deriver::new(&store).unwrap().reindex(&store, &|| false, &mut |_| {}, &mut |_, _| {}).unwrap();
    assert_eq!(scan(&store, &list, false, &taker).0, Tally::default());
    // The same capture again has new objects, of which no content is new.
    ingest(&data, "imagedump", &["--again"]);
    let (tally, _) = scan(&store, &list, false, &taker);
    assert_eq!((tally.contents, tally.objects as usize), (0, words.len()));
    assert!(taker.taken.lock().unwrap()[taken.len()..].iter().all(|t| !t.2));
}

/// A process without rules scans, and then one with rules comes: it is handed all that it would have been, with the same
/// words, and nothing is scanned twice.
#[test]
fn what_one_without_rules_scanned_is_handed_on_by_the_next_that_has_some() {
    let folder = TestFolder::new("scanning-without-rules");
    let list = folder.path().join("bad.txt");
    std::fs::write(&list, "ec2a3622af18a8dfad692c3e7a81ca1b069cbb71d47be31ff227185213251e9c\n").unwrap();
    let words = |name: &str, without: bool| {
        let data = folder.path().join(name);
        ingest(&data, "nginx-downloads", &[]);
        let store = Store::open(&data).unwrap();
        let (taker, nobody) = (Taker::default(), Taker { is_nobody: true, ..Taker::default() });
        scan(&store, &list, true, &taker);
        let before = taker.taken.lock().unwrap().len();
        ingest(&data, "imagedump", &[]);
        let mut scanned = 0;
        if without {
            scanned += scan(&store, &list, true, &nobody).0.contents;
            assert_eq!(scan(&store, &list, true, &nobody).0, Tally::default());
            assert!(scanned > 0 && !nobody.taken.lock().unwrap().is_empty());
        }
        scanned += scan(&store, &list, true, &taker).0.contents;
        assert_eq!(scan(&store, &list, true, &taker).0, Tally::default());
        assert_eq!(scan(&store, &list, true, &nobody).0, Tally::default(), "it went on where the other was");
        let taken = taker.taken.lock().unwrap()[before..].to_vec();
        let distinct: BTreeSet<Taken> = taken.into_iter().collect();
        (scanned, distinct)
    };
    let wanted = words("with", false);
    assert!(wanted.1.iter().any(|taken| taken.2) && wanted.1.iter().any(|taken| taken.3 == 1));
    assert_eq!(words("without", true), wanted);
}

#[test]
fn what_was_seen_before_anybody_scanned_is_not_seen_first() {
    let folder = TestFolder::new("scanning-past");
    let data = folder.path().join("data");
    let list = folder.path().join("none.txt");
    std::fs::write(&list, "").unwrap();
    ingest(&data, "imagedump", &[]);
    let store = Store::open(&data).unwrap();
    Deriver::new(&store).unwrap().catch_up(&store, &|| false, &mut |_| {}).unwrap();
    let taker = Taker::default();
    assert_eq!(scan(&store, &list, false, &taker).0, Tally::default());
    ingest(&data, "imagedump", &["--again"]);
    ingest(&data, "nginx-downloads", &[]);
    let (tally, _) = scan(&store, &list, false, &taker);
    assert!(tally.contents > 0);
    let taken = taker.taken.lock().unwrap();
    let old: BTreeSet<Oid> = taken.iter().filter(|t| !t.2).map(|t| t.0).collect();
    let new = taken.iter().filter(|t| t.2).count();
    assert!(old.len() > 50 && new > 3, "{} {new}", old.len());
}

/// A store that is written to, with one bucket, which stays open.
struct Growing {
    folder: TestFolder,
    worker: Worker,
    store: Store,
    /// Connections until now.
    count: u16,
}

impl Growing {
    fn new(name: &str) -> Self {
        let folder = TestFolder::new(name);
        let data = folder.path().join("data");
        let write = Arc::new(WriteFolder::open(&data, Box::new(DiskVolume)).unwrap());
        let writer = Writer::new(write, 0, WriterConfig::default()).unwrap();
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
        Self { store: Store::open(&data).unwrap(), folder, worker, count: 0 }
    }

    /// A server answers with this, and it is published.
    fn answers(&mut self, status: &str, fields: &str, body: &[u8]) {
        let mut made = Made::default();
        let millis = u64::from(self.count) * 1000;
        self.count += 1;
        let mut talk = Talk::new(4000 + self.count);
        let head = format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
        talk.open(&mut made, millis).ask(&mut made, millis, b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n");
        talk.answer(&mut made, millis, &[head.as_bytes(), body].concat()).close(&mut made, millis);
        let time = |nanos: u64| Timestamp(1_330_674_711_000_000_000 + nanos as i64);
        for (nanos, data) in &made.frames {
            let frame = Frame { time: time(*nanos), interface: 0, wire_len: data.len() as u32, data };
            self.worker.frame(&frame).unwrap();
        }
        self.worker.clock(time((millis + 600) * 1_000_000)).unwrap();
        // The store thread writes it.
        let begun = Instant::now();
        loop {
            let mut ended = 0;
            let visit = &mut |info: streamdb_storage::StreamInfo| {
                ended += u16::from(info.reason.is_some());
                Ok(())
            };
            self.store.streams(visit, &mut |error| panic!("{error}")).unwrap();
            if ended == 2 * self.count {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{ended} of {}", self.count);
            thread::sleep(PAUSE / 20);
        }
    }

    fn body(&mut self, body: &[u8]) {
        self.answers("200 OK", "", body);
    }

    fn part(&mut self, body: &[u8], range: std::ops::Range<usize>) {
        let fields =
            format!("ETag: \"a\"\r\nContent-Range: bytes {}-{}/{}\r\n", range.start, range.end - 1, body.len());
        self.answers("206 Partial Content", &fields, &body[range]);
    }

    /// What a scan hands on now, of what has a body: whether each was seen first.
    fn scan(&self, past: bool) -> Vec<bool> {
        assert!(self.store.unsettled().unwrap().len() < 2);
        let list = self.folder.path().join("none.txt");
        std::fs::write(&list, "").unwrap();
        let taker = Taker::default();
        let (_, said) = scan(&self.store, &list, past, &taker);
        assert!(said.is_empty(), "{said:?}");
        let nothing: [u8; 32] = Sha256::digest(b"").into();
        let taken = taker.taken.lock().unwrap();
        taken.iter().filter(|taken| taken.1.is_some_and(|sha256| sha256 != nothing)).map(|taken| taken.2).collect()
    }
}

#[test]
fn a_content_is_first_once_also_while_its_bucket_grows() {
    let mut growing = Growing::new("scanning-growing");
    growing.body(b"one");
    let derived =
        Deriver::new(&growing.store).unwrap().catch_up(&growing.store, &|| false, &mut |error| panic!("{error}"));
    derived.unwrap();
    assert_eq!(growing.scan(false), [false; 0], "it was there before");
    growing.body(b"one");
    growing.body(b"two");
    assert_eq!(growing.scan(false), [false, true], "no index has either yet");
    // Each scan is another process.
    growing.body(b"two");
    growing.body(b"three");
    growing.body(b"three");
    growing.body(b"one");
    assert_eq!(growing.scan(false), [false, true, false, false]);
    assert_eq!(growing.scan(false), [false; 0]);
    growing.worker.finish().unwrap();
}

#[test]
fn what_is_joined_in_a_growing_bucket_is_handed_on_when_it_is_whole() {
    let mut growing = Growing::new("scanning-growing-joins");
    let (whole, other) = (b"this came in parts", b"and this at once, first");
    growing.part(whole, 0..9);
    growing.body(other);
    // The first part is a new content, too, if a part of something.
    assert_eq!(growing.scan(true), [true, true]);
    growing.part(whole, 9..18);
    assert_eq!(growing.scan(true), [true, true], "a part, and what it makes whole");
    growing.part(other, 0..7);
    growing.part(other, 7..23);
    growing.body(whole);
    assert_eq!(growing.scan(true), [true, true, false, false], "whole is known, and so is other");
    assert_eq!(growing.scan(true), [false; 0]);
    growing.worker.finish().unwrap();
}

/// Rules that were never here begin with what comes; scanners that were here lose nothing by it.
#[test]
fn what_waits_for_scanners_is_not_past_when_rules_begin() {
    let mut growing = Growing::new("scanning-joins-wait");
    let whole = b"this came in parts";
    let digest: String = Sha256::digest(whole).iter().map(|byte| format!("{byte:02x}")).collect();
    let list = growing.folder.path().join("bad.txt");
    std::fs::write(&list, format!("{digest}\n")).unwrap();
    growing.body(b"before");
    let (taker, nobody) = (Taker::default(), Taker { is_nobody: true, ..Taker::default() });
    assert_eq!(scan(&growing.store, &list, false, &nobody).0, Tally::default());
    growing.part(whole, 0..9);
    growing.part(whole, 9..18);
    // It is joined, and whoever scanned was killed before that.
    derive(&growing.store);
    assert_eq!(scan(&growing.store, &list, false, &taker).0.found, 1);
    assert_eq!(scan(&growing.store, &list, false, &taker).0, Tally::default());
    growing.worker.finish().unwrap();
}

#[test]
fn rows_that_are_taken_at_once_are_bounded_by_their_number_too() {
    let mut growing = Growing::new("scanning-batch");
    growing.body(b"one");
    let mut rows = Vec::new();
    derive(&growing.store);
    for bucket in growing.store.bucket_ids().unwrap() {
        let visit = &mut |found: Vec<_>, _| {
            rows.extend(found);
            ControlFlow::Continue(())
        };
        growing.store.kept_since(bucket, KeptMark::NOTHING, visit).unwrap();
    }
    let many = vec![rows[0].clone(); 300];
    let mut batch = round::Batch::default();
    let taken = (1..).find(|_| batch.take(many.clone(), KeptMark::NOTHING).is_break()).unwrap();
    assert_eq!(taken, 4);
    growing.worker.finish().unwrap();
}

/// Whoever is killed behind the word that it is complete now, and before it was handed on as that, hands it on all the same.
#[test]
fn what_was_likely_is_handed_on_again_when_it_is_certain() {
    let mut growing = Growing::new("scanning-likely");
    let (list, whole) = (growing.folder.path().join("none.txt"), b"this came in parts");
    std::fs::write(&list, "").unwrap();
    growing.part(whole, 0..9);
    growing.part(whole, 9..18);
    derive(&growing.store);
    let compared = |compared| {
        let lock = growing.store.derive_lock().unwrap();
        let mut writer = growing.store.joins_writer(&lock, Arc::new(DiskVolume)).unwrap();
        let (id, made) = writer.known().all().find_map(|join| Some((join.id, join.made.clone()?))).unwrap();
        writer.change(JoinChange::Made(id, Some(JoinMade { compared, ..made })));
        writer.commit().unwrap();
    };
    let taker = Taker::default();
    let handed = |taker: &Taker| {
        let digest: [u8; 32] = Sha256::digest(whole).into();
        let taken = taker.taken.lock().unwrap();
        taken.iter().filter(|taken| taken.1 == Some(digest)).map(|taken| taken.2).collect::<Vec<bool>>()
    };
    compared(false);
    assert_eq!(follow(&growing.store, &list, true, &taker, None).1, [""; 0]);
    assert_eq!(handed(&taker), [true]);
    compared(true);
    *taker.refuses.lock().unwrap() = Some(taker.taken.lock().unwrap().len());
    assert_eq!(follow(&growing.store, &list, true, &taker, None).1.len(), 1);
    assert_eq!(handed(&taker), [true]);
    for _ in 0..2 {
        assert_eq!(follow(&growing.store, &list, true, &taker, None).1, [""; 0]);
        assert_eq!(handed(&taker), [true, true]);
    }
    growing.worker.finish().unwrap();
}
