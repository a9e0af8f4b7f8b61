//! Captures with known truth, damaged frame by frame: frames lost, doubled, out of order, cut off at the end, and copies with
//! other bytes. Nothing that is called complete may have a wrong digest, and what lost no byte is found whole.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::{Data, soak, testdata, text};
use serde_json::Value;

/// A source of numbers that is the same each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // xorshift64 (Marsaglia 2003).
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }
}

/// A classic capture file: its header, and its records as they are.
struct File {
    header: Vec<u8>,
    records: Vec<Vec<u8>>,
}

impl File {
    fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let (header, mut rest) = bytes.split_at(24);
        let mut records = Vec::new();
        while rest.len() >= 16 {
            let length = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
            let (record, after) = rest.split_at(16 + length);
            records.push(record.to_vec());
            rest = after;
        }
        Self { header: header.to_vec(), records }
    }
}

/// What was sent: the digests of each request target's bodies.
type Truth = BTreeMap<(String, String, String), BTreeSet<String>>;

fn truth(case: &str) -> Truth {
    let mut truth = Truth::new();
    let table = std::fs::read_to_string(testdata(case, "expected.tsv")).unwrap();
    for row in table.lines().filter(|line| !line.starts_with('#')) {
        let row: Vec<&str> = row.split('\t').collect();
        if row[11] == "yes" && row[10] != "-" {
            let key = (row[0].to_owned(), row[4].to_owned(), row[5].to_owned());
            truth.entry(key).or_default().insert(row[10].to_owned());
        }
    }
    assert!(truth.len() > 5, "{case}");
    truth
}

fn key(object: &Value) -> (String, String, String) {
    let field = |name| object[name].as_str().unwrap_or_default().to_owned();
    (field("kind"), field("host"), field("uri"))
}

/// The objects that are called complete and have content. Those of datagrams are left out: no number in them tells that one
/// was lost, doubled or late, so that complete is said of what came.
fn called_complete(objects: &[Value]) -> impl Iterator<Item = &Value> {
    objects.iter().filter(|object| object["complete"] == true && object["size"] != 0 && object["protocol"] != "udp")
}

/// Their digests, by what was asked for.
fn complete(objects: &[Value]) -> Truth {
    let mut found = Truth::new();
    for object in called_complete(objects) {
        found.entry(key(object)).or_default().insert(text(object, "sha256").to_owned());
    }
    found
}

/// When a record was captured.
fn seconds(record: &[u8]) -> u32 {
    u32::from_le_bytes(record[..4].try_into().unwrap())
}

/// Where the payload of a record of TCP over IPv4 over Ethernet begins, when it has any.
fn payload_at(record: &[u8]) -> Option<usize> {
    let ip = 16 + 14;
    if record.len() < ip + 40 || record[ip - 2..ip] != [8, 0] || record[ip + 9] != 6 {
        return None;
    }
    let tcp = ip + usize::from(record[ip] & 15) * 4;
    let at = tcp + usize::from(record[tcp + 12] >> 4) * 4;
    let end = ip + usize::from(u16::from_be_bytes([record[ip + 2], record[ip + 3]]));
    (at < end).then_some(at)
}

/// A copy that says something else at some places; its checksum does not know.
fn forged(record: &[u8], at: usize, random: &mut Random) -> Vec<u8> {
    let mut copy = record.to_vec();
    for _ in 0..=random.below(3) {
        let place = at + random.below(copy.len() - at);
        copy[place] ^= 1 + random.below(255) as u8;
    }
    copy
}

fn objects(file: &File, records: &[Vec<u8>]) -> Vec<Value> {
    let data = Data::new("damage");
    let capture = data.write("damaged.pcap", &[file.header.clone(), records.concat()].concat());
    data.ingest(&[], &[&capture]).well();
    data.json("objects", &[])
}

fn trials(case: &str, seed: u64) {
    let file = File::read(&testdata(case, "capture.pcap"));
    let truth = truth(case);
    let whole = complete(&objects(&file, &file.records));
    // Where a request is lost, which one an answer belongs to is a guess, so its content is looked for among all.
    let sent: BTreeSet<&String> = truth.values().chain(whole.values()).flatten().collect();
    let mut random = Random(seed);
    for trial in 0..if soak() { 5000 } else { 12 } {
        let mut records = file.records.clone();
        // Frames that change places keep their times, as they do when a path delays one of them; doubled ones too. No path
        // holds a frame back for more than seconds: after minutes, what ended is forgotten, and a late FIN is a stranger.
        for _ in 0..random.below(30) {
            let at = random.below(records.len() - 1);
            let (a, b) = (records[at].clone(), records[at + 1].clone());
            if seconds(&b) > seconds(&a) + 1 {
                continue;
            }
            records[at] = [&a[..8], &b[8..]].concat();
            records[at + 1] = [&b[..8], &a[8..]].concat();
        }
        for _ in 0..random.below(20) {
            let at = random.below(records.len());
            records.insert(at, records[at].clone());
        }
        let lossless = random.one_in(2);
        if !lossless {
            let one_in = 20 + random.below(400) as u64;
            records.retain(|_| !random.one_in(one_in));
            if random.one_in(2) {
                records.truncate(random.below(records.len() - 1) + 1);
            }
        }
        // Copies with other bytes: what came first counts, be it what was sent or not.
        let (forged_later, forged_first) = (random.below(3), random.below(3).saturating_sub(1));
        for n in 0..forged_later + forged_first {
            let at = random.below(records.len());
            if let Some(payload) = payload_at(&records[at]) {
                let copy = forged(&records[at], payload, &mut random);
                records.insert(at + usize::from(n < forged_later), copy);
            }
        }
        let objects = objects(&file, &records);
        let found = complete(&objects);
        for object in called_complete(&objects) {
            let known = sent.contains(&text(object, "sha256").to_owned());
            let said = object["conflict"] == true;
            assert!(known || forged_first > 0 && said, "{case}, trial {trial}: called complete, and is not: {object}");
        }
        if lossless && forged_first == 0 {
            assert_eq!(found, whole, "{case}, trial {trial}: no byte is lost, and not all is found");
        }
    }
}

#[test]
fn downloads_from_nginx() {
    trials("nginx-downloads", 0x5eed_0001);
}

#[test]
fn a_download_among_browsing() {
    trials("imagedump", 0x5eed_0002);
}
