//! Every question to the index has the answer that a plain look at all rows gives: random rows in random index files, merged at
//! random, against a twin that goes through a list.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use proptest::prelude::*;
use streamdb_derive::Rows;
use streamdb_query::{Filter, Looking, Order, Position, Troubles, community_id, find_objects, find_streams};
use streamdb_storage::index::{Contents, Coverage, Group};
use streamdb_storage::{DiskVolume, Parties, Scanned, Store, StreamInfo, Superblock, VerdictKeeper, WriteFolder};
use streamdb_testkit::{Random, TestFolder};
use streamdb_types::{
    BlockPlace, BucketId, ConnKey, Digests, Direction, Endpoint, Hop, HopKind, Marks, ObjectKind, ObjectRow, Oid, Path,
    Protocol, Reason, Scanner, StreamOffset, Timestamp, Tuple, Verdict,
};

const HOSTS: [&str; 6] =
    ["www.example.com", "WWW.example.com:8080", "a.example", "b.example", "[2001:db8::1]:80", "\u{212a}.example"];
const URIS: [&str; 6] = ["/", "/index.html", "/a,b", "/Index", "http://a.example/x", "/down/setup.exe?x=1"];
const FACTS: [&str; 3] = ["machine: exe\nsigned: no\n", "type: exe\nmachine: a\nimphash: 0000\n", "imphash: 00001\n"];
const NAMES: [&str; 4] = ["setup.exe", "SETUP.EXE", "report.pdf", "x"];
const MIMES: [&str; 4] = ["text/html", "image/png", "application/vnd.microsoft.portable-executable", "application/pdf"];
const SENTENCES: [&str; 3] = ["HTML document", "PNG image data", "PE32 executable"];
const ADDRESSES: [&str; 8] =
    ["10.0.0.5", "10.0.0.6", "10.0.1.7", "192.168.3.4", "203.0.113.9", "2001:db8::1", "2001:db8::2", "::1"];
const PORTS: [u16; 4] = [80, 443, 49152, 50000];
/// Buckets are 1 to this.
const LAST: u64 = 6;

/// What random numbers make of a connection.
#[derive(Clone, Debug)]
struct Conversation {
    numbers: Vec<u32>,
    /// In which bucket it begins, and how many later ones it reaches into.
    bucket: u64,
    parts: u64,
    objects: usize,
}

fn conversations() -> impl Strategy<Value = Vec<Conversation>> {
    let one = (prop::collection::vec(any::<u32>(), 64), 1..=LAST, 0u64..=2, 0usize..=4);
    let one = one.prop_map(|(numbers, bucket, parts, objects)| Conversation { numbers, bucket, parts, objects });
    prop::collection::vec(one, 1..60)
}

/// Numbers as they come, the first ones again when there are no more.
struct Dice<'n>(&'n [u32], usize);

impl Dice<'_> {
    fn roll(&mut self, sides: usize) -> usize {
        self.1 += 1;
        self.0[self.1 % self.0.len()] as usize % sides
    }

    fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.roll(items.len())]
    }

    fn text(&mut self, items: &[&str]) -> Option<String> {
        (self.roll(3) > 0).then(|| self.of(items).to_owned())
    }

    fn digests(&mut self) -> Option<Digests> {
        // A few contents are met again and again, and many once.
        let n = if self.roll(4) > 0 { self.roll(5) } else { self.roll(250) } as u8;
        (n > 0).then_some(Digests { md5: [n ^ 7; 16], sha1: [n ^ 2; 20], sha256: [n; 32] })
    }

    fn end(&mut self) -> Endpoint {
        Endpoint::new(self.of(&ADDRESSES).parse().unwrap(), self.of(&PORTS))
    }
}

/// The rows of both streams in each bucket, and the objects that were found in the last one.
fn rows(number: u32, conversation: &Conversation) -> (Vec<StreamInfo>, Group) {
    let mut dice = Dice(&conversation.numbers, 0);
    let key = ConnKey { bucket: BucketId(conversation.bucket), number };
    let protocol = dice.of(&[Protocol::TCP, Protocol::UDP, Protocol(47)]);
    let tuple = Tuple { protocol, client: dice.end(), server: dice.end() };
    let mut path = Path::EMPTY;
    if dice.roll(3) == 0 {
        assert!(path.push(Hop { kind: HopKind::Vlan, id: dice.roll(9) as u32 }));
    }
    let first = [0, 1].map(|_| Timestamp::new(1000 + dice.roll(50) as i64, 0));
    let last = (conversation.bucket + conversation.parts).min(LAST);
    let sides = if dice.roll(4) == 0 { &Direction::BOTH[..1] } else { &Direction::BOTH[..] };
    let oid = |bucket: u64, direction: Direction, length: u64| Oid {
        bucket: BucketId(bucket),
        place: BlockPlace(u64::from(number) * 16 + 8 + direction as u64),
        length,
        index: 0,
    };
    let (mut streams, mut newest) = (Vec::new(), BTreeMap::new());
    for bucket in conversation.bucket..=last {
        let lengths = [0, 1].map(|_| 1u64 << dice.roll(20));
        for direction in sides {
            let other = direction.flip();
            let info = StreamInfo {
                oid: oid(bucket, *direction, *direction.of(&lengths)),
                peer: (sides.len() == 2).then(|| oid(bucket, other, *other.of(&lengths))),
                key,
                direction: *direction,
                tuple,
                path,
                first: *direction.of(&first),
                last: Timestamp::new(1100 + dice.roll(50) as i64, 5),
                length: StreamOffset(*direction.of(&lengths)),
                gap_bytes: dice.roll(3) as u64,
                packets: dice.roll(1000) as u64,
                marks: Marks(dice.roll(8) as u16),
                reason: (bucket == last).then(|| dice.of(&Reason::ALL)),
                part: (bucket - conversation.bucket) as u32,
                goes_on: bucket != last,
            };
            newest.insert(*direction, info.oid);
            streams.push(info);
        }
    }
    let object = |at: usize| {
        let direction = sides[dice.roll(sides.len())];
        let description = dice.of(&SENTENCES).to_owned();
        ObjectRow {
            oid: newest[&direction].with_index(at as u64),
            key,
            direction,
            begins: StreamOffset(at as u64 * 10),
            tuple,
            start: *direction.of(&first),
            kind: dice.of(&ObjectKind::ALL),
            protocol: dice.of(&["http", ""]).to_owned(),
            method: dice.text(&["GET", "POST", "get"]),
            host: dice.text(&HOSTS),
            uri: match dice.roll(4) {
                0 => Some(format!("/n{}/{number}.php?{:0200}", dice.roll(90), dice.roll(9))),
                _ => dice.text(&URIS),
            },
            status: (dice.roll(2) == 0).then(|| dice.of(&[200, 404])),
            declared_type: dice.text(&MIMES),
            mime: dice.of(&MIMES).to_owned(),
            legacy: if dice.roll(2) == 0 { description.clone() } else { "data".to_owned() },
            description,
            xor_key: (dice.roll(5) == 0).then(|| vec![1, 255]),
            filename: dice.text(&NAMES),
            facts: dice.text(&FACTS).unwrap_or_default(),
            size: 1 << dice.roll(16),
            encoded_size: 1 << dice.roll(16),
            complete: dice.roll(3) > 0,
            missing_bytes: dice.roll(3) as u64,
            reason: dice.text(&["gap", "reset"]),
            conflict: dice.roll(5) == 0,
            digests: dice.digests(),
            digests_encoded: dice.digests(),
        }
    };
    let place = newest.values().map(|oid| oid.place).max().unwrap();
    (streams, Group { bucket: BucketId(last), place, rows: (0..conversation.objects).map(object).collect() })
}

/// A term, as a user writes it.
fn term(which: usize, negated: bool, dice: &mut Dice<'_>) -> String {
    let networks = ["10.0.0.0/24", "10.0.0.0/8", "0.0.0.0/0", "::/0", "2001:db8::/32", "10.0.0.5,::1", "9.9.9.9"];
    let address = if dice.roll(2) == 0 { dice.of(&ADDRESSES) } else { dice.of(&networks) };
    let hosts = ["www.example.com", "*.example", "a.example", "k.example", "[2001:db8::1]", "nobody"];
    let (name, value) = match which {
        0 => return format!("start={}", 1000 + dice.roll(60)),
        1 => return format!("end={}", 1010 + dice.roll(60)),
        2 => return format!("direction={}", dice.of(&["c", "s"])),
        3 => return format!("length={}", dice.of(&["0-100", "1K-", "64", "-5"])),
        4 => return format!("size={}", dice.of(&["0-100", "1K-", "64"])),
        5 => return format!("incomplete={}", dice.roll(2)),
        6 => return format!("mismatch={}", dice.roll(2)),
        7 => ("srcip", address.to_owned()),
        8 => ("dstip", address.to_owned()),
        9 | 10 => ("ip", address.to_owned()),
        11 => ("srcport", dice.of(&PORTS).to_string()),
        12 => ("dstport", format!("{},443", dice.of(&PORTS))),
        13 | 14 => ("port", dice.of(&PORTS).to_string()),
        15 => ("reason", dice.of(&["c", "r,t", "open", "i", "l"]).to_owned()),
        16 => ("protocol", dice.of(&["tcp", "udp", "47,6"]).to_owned()),
        17 => ("kind", dice.of(&["request", "response,file"]).to_owned()),
        18 => ("method", dice.of(&["GET", "post"]).to_owned()),
        19 | 20 => ("host", dice.of(&hosts).to_owned()),
        21 | 22 => {
            let uris = ["/", "/index", "*setup*", "/a,b", "*.html", "HTTP://A", "*N7*", "/n*8", "*.php*", "*7/1*"];
            ("uri", dice.of(&uris).to_owned())
        }
        23 => ("status", dice.of(&["200", "404,500"]).to_owned()),
        24 => ("mime", dice.of(&["text/html", "image/*", "*executable"]).to_owned()),
        25 => {
            let lines = ["html", "^200 ", "GET .*index", "INCOMPLETE", "data", "n12/", "com/n7", "n[0-9]+/7", "POST a"];
            ("filetype", dice.of(&lines).to_owned())
        }
        26 => ("name", dice.of(&["setup.exe", "*.pdf", "x"]).to_owned()),
        27 => ("md5", format!("{:02x}", dice.roll(6) ^ 7).repeat(16)),
        28 => ("sha1", format!("{:02x}", dice.roll(6) ^ 2).repeat(20)),
        29 => ("sha256", format!("{:02x}", dice.roll(6)).repeat(32)),
        30 => ("verdict", dice.of(&["*", "yara:*", "*eicar*", "hash-list:bad.txt,r1", "nobody", "clamd:*"]).to_owned()),
        _ => ("fact", dice.of(&["^imphash: 0+$", "signed: no", "a$", "(?s)exe.machine", "."]).to_owned()),
    };
    format!("{name}={}{value}", if negated { "!" } else { "" })
}

fn filters() -> impl Strategy<Value = Vec<String>> {
    let one = (0usize..32, any::<bool>(), prop::collection::vec(any::<u32>(), 4));
    let one = one.prop_map(|(which, negated, numbers)| term(which, negated, &mut Dice(&numbers, 0)));
    prop::collection::vec(one, 0..4)
}

fn store(folder: &TestFolder) -> Store {
    let path = folder.path().join("data");
    drop(WriteFolder::open(&path, Box::new(DiskVolume)).unwrap());
    for id in (1..=LAST).map(BucketId) {
        let superblock = Superblock { id, worker: 0, window_start: Timestamp(0), window_end: Timestamp(1) };
        std::fs::write(path.join("buckets").join(format!("{id}.sdb")), superblock.encode()).unwrap();
    }
    Store::open(&path).unwrap()
}

/// What scanners said, of some contents: nothing at all in one store of four, and of one content in four in the others.
fn judge(store: &Store, dice: &mut Dice<'_>) -> HashMap<[u8; 32], Vec<Verdict>> {
    let mut said = HashMap::new();
    if dice.roll(4) == 0 {
        return said;
    }
    let mut keeper = VerdictKeeper::open(store.path(), Arc::new(DiskVolume), Parties::new(7, false)).unwrap().unwrap();
    for sha256 in (0..250).map(|n| [n; 32]) {
        let verdict = |dice: &mut Dice<'_>| Verdict {
            scanner: dice.of(&Scanner::ALL),
            name: dice.of(&["Win.Test.EICAR_HDB-1", "bad.txt", "r1", "r2"]).to_owned(),
            details: String::new(),
        };
        let verdicts: Vec<Verdict> = match dice.roll(8) {
            0 => vec![verdict(dice)],
            1 => vec![verdict(dice), verdict(dice)],
            2 => Vec::new(),
            _ => continue,
        };
        let (oid, by) = ("1-2-3-0".parse().unwrap(), 7);
        let scanned = Scanned { sha256, oid, first_seen: true, whole: true, by, looked: 7, verdicts: verdicts.clone() };
        keeper.scanned(scanned).unwrap();
        said.insert(sha256, verdicts);
    }
    said
}

/// Everything found, page by page, each page after the position of the last row before.
fn all<R>(filter: &Filter, page: u64, find: impl Fn(&Filter) -> Vec<R>, position: impl Fn(&R) -> Position) -> Vec<R> {
    let mut found: Vec<R> = Vec::new();
    let mut filter = Filter { limit: Some(page), ..filter.clone() };
    loop {
        let more = find(&filter);
        assert!(more.len() as u64 <= page);
        let done = (more.len() as u64) < page;
        found.extend(more);
        if done {
            return found;
        }
        filter.after = found.last().map(&position);
    }
}

/// Streams that a search finds that may ask so many times whether to go on.
fn streams(store: &Store, filter: &Filter, may_ask: u64) -> Vec<(StreamInfo, Vec<ObjectRow>)> {
    let (mut found, mut troubles) = (Vec::new(), Troubles::default());
    let asked = AtomicU64::new(0);
    let go_on = &|| asked.fetch_add(1, Relaxed) < may_ask;
    let looking = Looking { made: Rows::new(), go_on, troubles: &mut troubles };
    find_streams(store, filter, looking, &mut |stream, rows| {
        found.push((stream.clone(), rows));
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(troubles.is_empty(), "{:?}", troubles.sentences().collect::<Vec<_>>());
    found
}

fn objects(store: &Store, filter: &Filter, may_ask: u64) -> Vec<ObjectRow> {
    let (mut found, mut troubles) = (Vec::new(), Troubles::default());
    let asked = AtomicU64::new(0);
    let go_on = &|| asked.fetch_add(1, Relaxed) < may_ask;
    let looking = Looking { made: Rows::new(), go_on, troubles: &mut troubles };
    find_objects(store, filter, looking, &mut |row| {
        found.push(row.clone());
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(troubles.is_empty(), "{:?}", troubles.sentences().collect::<Vec<_>>());
    found
}

/// The rows go into files, buckets in their order, so many of them at a time.
fn fill(store: &Store, made: &[(Vec<StreamInfo>, Group)], sizes: &[u64]) {
    let lock = store.derive_lock().unwrap();
    let mut sizes = sizes.iter().cycle();
    let mut next = 1;
    while next <= LAST {
        let buckets = next..=(next + *sizes.next().unwrap() - 1).min(LAST);
        next = buckets.end() + 1;
        let covered = |bucket| Coverage { bucket: BucketId(bucket), from: BlockPlace::NONE, to: Coverage::SETTLED };
        let of_it = |id: BucketId| buckets.contains(&id.0);
        let contents = Contents {
            coverage: buckets.clone().map(covered).collect(),
            streams: made.iter().flat_map(|(streams, _)| streams).filter(|s| of_it(s.oid.bucket)).cloned().collect(),
            groups: made.iter().map(|(_, group)| group).filter(|group| of_it(group.bucket)).cloned().collect(),
        };
        store.add_to_index(&lock, &DiskVolume, &contents).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_index_answers_as_a_plain_look_does(
        conversations in conversations(),
        sizes in prop::collection::vec(1u64..4, 1..6),
        tidy: bool,
        questions in prop::collection::vec((filters(), any::<bool>(), 1u64..20), 8),
        by_community in any::<usize>(),
    ) {
        agree(&conversations, &sizes, tidy, questions, by_community)?;
    }
}

/// So many rows that what few of them are not worth is done too: lists are gone through side by side, and texts all at once.
#[test]
fn the_index_answers_as_a_plain_look_does_where_there_are_many_rows() {
    for seed in 0..3u64 {
        let mut random = Random(seed);
        let mut numbers = |many: usize| (0..many).map(|_| random.below(1 << 32) as u32).collect::<Vec<u32>>();
        let conversation = |numbers: Vec<u32>| Conversation {
            bucket: 1 + u64::from(numbers[0]) % LAST,
            parts: u64::from(numbers[1]) % 3,
            objects: numbers[2] as usize % 5,
            numbers,
        };
        let conversations: Vec<Conversation> = (0..4000).map(|_| conversation(numbers(64))).collect();
        let mut question = |n: usize| {
            let terms = 1 + n % 3;
            let words = (0..terms).map(|_| {
                let numbers = numbers(6);
                term(numbers[5] as usize % 32, numbers[4] % 4 == 0, &mut Dice(&numbers, 0))
            });
            (words.collect(), n.is_multiple_of(2), 1500)
        };
        let mut questions: Vec<Question> = (0..120).map(&mut question).collect();
        for word in ["uri=*N7*", "uri=*.php?0*", "uri=*7.php?*4", "filetype=com/n7", "filetype=n12/", "uri=*7/1*"] {
            questions.push((vec![word.to_owned()], true, 1500));
        }
        agree(&conversations, &[3, 1, 2], seed == 1, questions, 7).unwrap();
    }
}

/// Terms, whether the newest come first, and how many rows a page has.
type Question = (Vec<String>, bool, u64);

/// Asks an index of these conversations, and a list of them.
fn agree(
    conversations: &[Conversation],
    sizes: &[u64],
    tidy: bool,
    mut questions: Vec<Question>,
    by_community: usize,
) -> Result<(), TestCaseError> {
    let folder = TestFolder::new("index-twin");
    let store = store(&folder);
    let made: Vec<_> = conversations.iter().enumerate().map(|(n, c)| rows(n as u32, c)).collect();
    fill(&store, &made, sizes);
    if tidy {
        let lock = store.derive_lock().unwrap();
        while store.tidy_index(&lock, &DiskVolume, &|| false, &mut |_| {}).unwrap() {}
    }
    prop_assert_eq!(store.verify_index(&mut |why| panic!("{why}")).unwrap(), store.snapshot().unwrap().size().0);

    // The twin: the newest row of each stream, and the objects.
    let all_streams: Vec<&StreamInfo> =
        made.iter().flat_map(|(streams, _)| streams.iter().filter(|stream| !stream.goes_on)).collect();
    let mut all_objects: HashMap<(ConnKey, Direction), Vec<&ObjectRow>> = HashMap::new();
    for row in made.iter().flat_map(|(_, group)| &group.rows) {
        all_objects.entry((row.key, row.direction)).or_default().push(row);
    }
    let community = community_id(&all_streams[by_community % all_streams.len()].tuple);
    questions.push((vec![format!("community_id={community}")], true, 3));
    questions.push((vec![format!("community_id={community}"), "srcport=80,443".to_owned()], false, 3));
    questions.push((vec![format!("community_id={community}"), "uri=*n*".to_owned()], false, 3));
    questions.push((Vec::new(), false, 1 + conversations.len() as u64 / 5));
    let mut dice = Dice(&conversations[0].numbers, 0);
    let said = judge(&store, &mut dice);
    let nothing = Vec::new();
    for (words, newest, page) in questions {
        // A name that is given twice.
        let Ok(mut filter) = Filter::parse_words(&words) else { continue };
        filter.order = if newest { Order::NewestFirst } else { Order::OldestFirst };
        let objects_of = |stream: &StreamInfo| -> Vec<ObjectRow> {
            let rows = all_objects.get(&(stream.key, stream.direction)).into_iter().flatten();
            let rows = rows.filter(|row| filter.objects.matches(row)).filter(|row| {
                let said = row.digests.and_then(|digests| said.get(&digests.sha256)).unwrap_or(&nothing);
                let verdict = filter.objects.verdict.as_ref();
                verdict.is_none_or(|set| set.wants(|pattern| said.iter().any(|verdict| pattern.is_like(verdict))))
            });
            let mut rows: Vec<ObjectRow> = rows.map(|row| (*row).clone()).collect();
            rows.sort_by_key(Position::of_object);
            if newest {
                rows.reverse();
            }
            rows
        };
        let mut wanted: Vec<&StreamInfo> =
            all_streams.iter().copied().filter(|stream| filter.matches(stream)).collect();
        wanted.sort_by_key(|stream| Position::of_stream(stream));
        if newest {
            wanted.reverse();
        }
        let plain = filter.objects.is_empty();
        let expected: Vec<(StreamInfo, Vec<ObjectRow>)> = wanted
            .iter()
            .map(|stream| ((*stream).clone(), if plain { Vec::new() } else { objects_of(stream) }))
            .filter(|(_, rows)| plain || !rows.is_empty())
            .collect();
        let found =
            all(&filter, page, |filter| streams(&store, filter, u64::MAX), |(stream, _)| Position::of_stream(stream));
        let names = |rows: &[(StreamInfo, Vec<ObjectRow>)]| -> Vec<(Oid, Vec<u64>)> {
            rows.iter().map(|(stream, rows)| (stream.oid, rows.iter().map(|row| row.oid.index).collect())).collect()
        };
        // The short form first, as it can be read.
        prop_assert_eq!(names(&found), names(&expected), "streams {:?} newest {}", &words, newest);
        prop_assert_eq!(&found, &expected);
        // One that is told to stop has found the first of them, none left out.
        let stop = dice.roll(40) as u64;
        let found = streams(&store, &filter, stop);
        prop_assert_eq!(names(&found), names(&expected[..found.len()]), "streams {:?} stopped after {}", &words, stop);
        let expected: Vec<ObjectRow> = wanted.iter().flat_map(|stream| objects_of(stream)).collect();
        let found = all(&filter, page, |filter| objects(&store, filter, u64::MAX), Position::of_object);
        let names = |rows: &[ObjectRow]| -> Vec<Oid> { rows.iter().map(|row| row.oid).collect() };
        prop_assert_eq!(names(&found), names(&expected), "objects {:?} newest {}", &words, newest);
        prop_assert_eq!(&found, &expected);
        let found = objects(&store, &filter, stop);
        prop_assert_eq!(names(&found), names(&expected[..found.len()]), "objects {:?} stopped after {}", &words, stop);
    }
    Ok(())
}
